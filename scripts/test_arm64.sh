#!/bin/bash
# Runs the arm64 command line under qemu-user on a virtual switch: what it prints and writes must be what it is anywhere. The daemon
# is not run: qemu-user does not hand on bpf(2).
#
#   scripts/test_arm64.sh PROGRAM LAB      LAB: the telegen-lab program of this machine
set -euo pipefail
cd "$(dirname "$0")/.."

PROGRAM=$(realpath "$1")
LAB=$(realpath "$2")
readonly PROGRAM LAB

skip() {
	echo "SKIPPED: test-arm64: $1"
	exit 0
}

fail() {
	echo "test_arm64: $1" >&2
	exit 1
}

emulator=$(command -v qemu-aarch64 || command -v qemu-aarch64-static) || skip "qemu-aarch64 is missing (scripts/setup.sh cross)"
libraries=$PWD/target/cross/arm64/usr/lib/aarch64-linux-gnu
arm64=("$emulator" -L /usr/aarch64-linux-gnu -E "LD_LIBRARY_PATH=$libraries" "$PROGRAM")

version=$("${arm64[@]}" --version)
wanted=$(sed -n '0,/^version = /s/^version = "\(.*\)"/telegen-sonic \1/p' Cargo.toml)
[[ $version == "$wanted (commit "* ]] || fail "--version says '$version'"
echo "test --version ... ok: $version"

[[ $EUID -eq 0 ]] || skip "the rest: the virtual switch needs root"
home=$(mktemp -d /tmp/tgarm-XXXXXX)
trap '"$LAB" down --dir "$home/lab" || true; rm -rf "$home"' EXIT
"$LAB" up --dir "$home/lab" --ports 8 --detach
switch=("$LAB" run --dir "$home/lab" --)

row=$("${switch[@]}" "${arm64[@]}" start Ethernet0 60 --filter l4_dport=53,400-8080 --id arm --dry-run --json)
[[ $row == *'"port"'*'"Ethernet0"'* && $row == *400-8080* ]] || fail "start --dry-run says '$row'"
echo "test start --dry-run ... ok"

if message=$("${switch[@]}" "${arm64[@]}" start Ethernet0 0 --dry-run 2>&1); then
	fail "a duration of 0 was taken"
fi
[[ $message == *invalid_field*duration* ]] || fail "a duration of 0 is refused with '$message'"
echo "test a wrong value is refused ... ok"

"${switch[@]}" "${arm64[@]}" drain >/dev/null || fail "drain without a daemon"
"${switch[@]}" "${arm64[@]}" dump | python3 -c 'import json, sys; assert "databases" in json.load(sys.stdin)' || fail "dump is no JSON"
echo "test drain and dump ... ok"
