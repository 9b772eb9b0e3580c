#!/bin/bash
# Runs the tap's tests on the kernels that SONiC releases are built on, under qemu, beside the host's kernel, and prints a table.
#
#   scripts/test_kernels.sh [NAME…]      default: host, and all kernels of scripts/kernels/debian.txt
#
# As root, for the host's part. A kernel that cannot be had is skipped with its reason; a test that fails, a guest that hangs and a
# tap that chooses another way to attach than the list says are failures. All files are below target/kernels. The network is used
# only for a kernel that is not there yet. docs/kernels.md says more.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly LIST=scripts/kernels/debian.txt
readonly DIR=target/kernels
readonly TESTS=$DIR/tests
# Tests of two ways through one program, packet by packet, and of millions of packets: minutes and minutes of emulation, for an answer that does not
# depend on the kernel.
readonly LEFT_OUT=' tap_agreement tap_captures tap_changes tap_topk '
# Nested, /dev/kvm may open and then run nothing: KVM is taken only where it is asked for.
readonly ACCEL=${TELEGEN_KERNEL_ACCEL:-tcg}
# Emulation takes ten times the host's time, and what is slow on a busy machine is not wrong.
readonly SUITE_SEC=${TELEGEN_KERNEL_SUITE_SEC:-600} BOOT_SEC=180 GUEST_SEC=3600

say() {
	printf 'test_kernels: %s\n' "$1"
}

guest=
finish() {
	if [[ -n $guest ]]; then
		kill "$guest" 2>/dev/null || true
		wait "$guest" 2>/dev/null || true
	fi
}
trap finish EXIT
trap 'exit 130' INT TERM

# The tests of tests/tap_*.rs, without what only a debugger needs: a guest keeps them in memory.
build_tests() {
	local -a targets=()
	local source name binary
	for source in tests/tap_*.rs; do
		name=$(basename "$source" .rs)
		[[ $LEFT_OUT == *" $name "* ]] || targets+=(--test "$name")
	done
	say "building the tests"
	cargo test --no-run --quiet --message-format=json "${targets[@]}" >"$DIR/cargo.json"
	rm -rf "$TESTS"
	mkdir -p "$TESTS"
	while read -r name binary; do
		objcopy --strip-debug "$binary" "$TESTS/$name"
	done < <(python3 scripts/kernels/report.py binaries "$DIR/cargo.json")
	[[ $(find "$TESTS" -type f | wc -l) -eq $((${#targets[@]} / 2)) ]] || {
		say "cargo did not say where all test binaries are"
		return 1
	}
}

# run_host OUT
run_host() {
	sh scripts/kernels/suites.sh "$TESTS" "$SUITE_SEC" >"$1/suites.log" 2>&1 || true
}

# Boots DIR/vmlinuz; the guest ends by itself, or is ended. run_guest OUT
run_guest() {
	local started=$SECONDS
	# `max` has a random number generator, without which old kernels wait for entropy.
	timeout --kill-after=10 "$GUEST_SEC" nice -n 5 qemu-system-x86_64 \
		-machine "pc,accel=$ACCEL" -cpu max,la57=off -smp 2 -m 1G -no-reboot -nodefaults -display none -net none \
		-kernel "$1/vmlinuz" -initrd "$1/initramfs" -append 'console=ttyS0 panic=-1 random.trust_cpu=on loglevel=5' \
		-serial "file:$1/console.log" -serial "file:$1/suites.log" >"$1/qemu.log" 2>&1 &
	guest=$!
	while kill -0 "$guest" 2>/dev/null && [[ ! -s $1/suites.log ]]; do
		if ((SECONDS - started > BOOT_SEC)); then
			kill "$guest"
			break
		fi
		sleep 0.2
	done
	if [[ -s $1/suites.log ]]; then
		echo "$((SECONDS - started))" >"$1/boot_seconds"
	fi
	wait "$guest" || true
	guest=
}

# run_kernel NAME SUITE PACKAGE VERSION SHA256: what became of it is in target/kernels/NAME for report.py.
run_kernel() {
	local out=$DIR/$1
	say "$1: fetching, unless it is there"
	if ! scripts/kernels/fetch.sh "$out" "${@:2}" 2>"$out/fetch.log"; then
		tail -n 1 "$out/fetch.log" >"$out/skipped"
		return
	fi
	say "$1: making the guest"
	if ! scripts/kernels/guest.sh "$out" "$TESTS" "$SUITE_SEC" 2>"$out/guest.log"; then
		tail -n 1 "$out/guest.log" >"$out/failed"
		return
	fi
	say "$1: booting; $out/suites.log grows"
	run_guest "$out"
}

wanted() {
	local name
	[[ $# -gt 1 ]] || return 0
	for name in "${@:2}"; do
		[[ $name != "$1" ]] || return 0
	done
	return 1
}

main() {
	local name attach suite package version sha256
	local -a rows=()
	if [[ $EUID -ne 0 ]]; then
		say "the host's tests make network namespaces and load BPF programs: run as root (sudo env PATH=\"\$PATH\" …)"
		return 1
	fi
	mkdir -p "$DIR"
	build_tests
	# Not by stdin: what runs in the loop might read that.
	while read -r -u 3 name attach suite package version sha256; do
		wanted "$name" "$@" || continue
		rows+=("$name=$attach")
		mkdir -p "$DIR/$name"
		rm -f "$DIR/$name"/{suites.log,console.log,boot_seconds,skipped,failed}
		if [[ $name == host ]]; then
			say "host: $(uname -r)"
			run_host "$DIR/host"
		elif [[ $(uname -m) != x86_64 ]]; then
			echo "the packages are for x86_64, the tests were built for $(uname -m)" >"$DIR/$name/skipped"
		else
			run_kernel "$name" "$suite" "$package" "$version" "$sha256"
		fi
	done 3< <(echo 'host any' && grep -v '^#' "$LIST")
	if [[ ${#rows[@]} -eq 0 ]]; then
		say "no such kernel: $*"
		return 1
	fi
	python3 scripts/kernels/report.py table "$DIR" "${rows[@]}"
}

main "$@"
