#!/bin/bash
# Builds libyang 3 into target/libyang from Debian 13's source package, which is what SONiC's releases since 202511 have: Debian 12 has
# libyang 2 only. The source comes from the Debian archive that the host's apt uses, by an apt with lists of its own; the host stays as
# it is.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly SUITE=trixie
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
HOME_DIR=$PWD/target/libyang
readonly HOME_DIR

fail() {
	printf 'libyang: %s\n' "$1" >&2
	exit 1
}

private_apt() {
	apt-get -q -o Dir::State="$HOME_DIR/apt/state" -o Dir::State::status="$HOME_DIR/apt/status" -o Dir::Cache="$HOME_DIR/apt/cache" \
		-o Dir::Etc::SourceList="$HOME_DIR/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root \
		-o Acquire::Languages=none -o Acquire::Retries=2 "$@" >>"$HOME_DIR/log" 2>&1
}

[[ ! -e $HOME_DIR/complete ]] || exit 0
rm -rf "$HOME_DIR"
mkdir -p "$HOME_DIR/apt"/{state/lists/partial,cache/archives/partial} "$HOME_DIR/source"
: >"$HOME_DIR/apt/status"
# shellcheck disable=SC2016 # apt's own variables
archive=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
	awk '$1 == "Debian" && $2 == "Debian" && !seen++ {print $3}')
[[ -n $archive ]] || fail "the host's apt lists no Debian archive: apt-get update"
[[ -e $KEYRING ]] || fail "$KEYRING is missing: debian-archive-keyring"
echo "deb-src [signed-by=$KEYRING] $archive $SUITE main" >"$HOME_DIR/apt/sources.list"
private_apt update || fail "apt cannot read the list of $SUITE's sources: $(grep -m1 '^[EW]:' "$HOME_DIR/log")"
(cd "$HOME_DIR/apt" && private_apt source --download-only libyang3) ||
	fail "apt cannot download the source of libyang3: $(grep -m1 '^E:' "$HOME_DIR/log")"
tar -x --strip-components=1 -C "$HOME_DIR/source" -f "$HOME_DIR"/apt/libyang_*.orig.tar.xz
{
	cmake -S "$HOME_DIR/source" -B "$HOME_DIR/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$HOME_DIR" \
		-DCMAKE_INSTALL_LIBDIR=lib -DENABLE_TESTS=OFF -DENABLE_TOOLS=OFF
	cmake --build "$HOME_DIR/build" --parallel "$(nproc)"
	cmake --install "$HOME_DIR/build"
} >>"$HOME_DIR/log" 2>&1 || fail "it does not build, see $HOME_DIR/log"
rm -rf "$HOME_DIR"/{apt,source,build}
touch "$HOME_DIR/complete"
