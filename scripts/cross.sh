#!/bin/bash
# Runs cargo for another Debian architecture, with Debian's cross compiler and its libraries unpacked into target/cross.
#
#   scripts/cross.sh arm64 CARGO-COMMAND [ARGUMENT…]      e.g. scripts/cross.sh arm64 build --release
#
# The libraries that the program links (libelf, and zlib, which libelf needs) come from the Debian archive that the host's apt uses,
# by an apt with lists and status of its own: the host's dpkg learns no architecture. libc is the cross compiler's.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ARCH=$1
shift
case $ARCH in
arm64) MACHINE=aarch64 ;;
*)
	echo "cross: '$ARCH' is not known here: arm64 is" >&2
	exit 2
	;;
esac
readonly TRIPLE=$MACHINE-linux-gnu TARGET=$MACHINE-unknown-linux-gnu
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly PACKAGES='libelf1 libelf-dev zlib1g zlib1g-dev'
SYSROOT=$PWD/target/cross/$ARCH
readonly SYSROOT

fail() {
	printf 'cross: %s\n' "$1" >&2
	exit 1
}

# What the host's apt knows of Debian, for the other architecture only.
private() {
	local tool=$1
	shift
	"$tool" -q -o Dir::State="$SYSROOT/apt/state" -o Dir::State::status="$SYSROOT/apt/status" -o Dir::Cache="$SYSROOT/apt/cache" \
		-o Dir::Etc::SourceList="$SYSROOT/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o APT::Architecture="$ARCH" \
		-o APT::Architectures="$ARCH" -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=2 "$@"
}

# A line of sources.list for the Debian that runs here, from the archive that the host's apt uses.
debian_source() {
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(ORIGIN) $(LABEL) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
		awk -v codename="$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)" -v keyring="$KEYRING" '
			$1 == "Debian" && $2 == "Debian" && $3 == codename && !seen++ {print "deb [signed-by=" keyring "] " $4 " " $3 " main"}'
}

# libelf1 became libelf1t64 with Debian 13; it provides the old name, but apt-get download wants a real one.
real_packages() {
	local package
	for package in $PACKAGES; do
		if [[ -n $(private apt-cache show "${package}t64" 2>/dev/null) ]]; then
			echo "${package}t64"
		else
			echo "$package"
		fi
	done
}

make_sysroot() {
	[[ ! -e $SYSROOT/complete ]] || return 0
	rm -rf "$SYSROOT"
	mkdir -p "$SYSROOT/apt"/{state/lists/partial,cache/archives/partial,debs}
	: >"$SYSROOT/apt/status"
	debian_source >"$SYSROOT/apt/sources.list"
	[[ -s $SYSROOT/apt/sources.list ]] || fail "the host's apt lists no Debian archive of this Debian: apt-get update"
	private apt-get update >"$SYSROOT/apt.log" 2>&1 || fail "apt cannot read the lists of $ARCH: $(grep -m1 '^[EW]:' "$SYSROOT/apt.log")"
	local -a packages
	mapfile -t packages < <(real_packages)
	(cd "$SYSROOT/apt/debs" && private apt-get download "${packages[@]}" >>"$SYSROOT/apt.log" 2>&1) ||
		fail "apt cannot download ${packages[*]} for $ARCH: $(grep -m1 '^E:' "$SYSROOT/apt.log")"
	local deb
	for deb in "$SYSROOT"/apt/debs/*.deb; do
		dpkg-deb -x "$deb" "$SYSROOT"
	done
	rm -rf "$SYSROOT/apt"
	# Debian 12 has libz.so.1 in /lib, which is /usr/lib on a system that is installed.
	if [[ -d $SYSROOT/lib ]]; then
		cp -a "$SYSROOT/lib/." "$SYSROOT/usr/lib/"
		rm -rf "${SYSROOT:?}/lib"
	fi
	# A link that begins with / would lead to the host's libraries.
	local link to
	find "$SYSROOT/usr/lib" -type l -lname '/*' -printf '%p %l\n' | while read -r link to; do
		ln -sf "$SYSROOT/usr/${to#/usr}" "$link"
	done
	touch "$SYSROOT/complete"
}

command -v "$TRIPLE-gcc" >/dev/null || fail "$TRIPLE-gcc is missing: scripts/setup.sh cross"
make_sysroot
if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx "$TARGET"; then
	rustup target add "$TARGET"
fi

# libbpf-sys compiles libbpf with make and the C compiler of these names, and finds libelf and zlib by pkg-config.
variable=${TARGET//-/_}
export "CARGO_TARGET_${variable^^}_LINKER=$TRIPLE-gcc" "CC_$variable=$TRIPLE-gcc" "AR_$variable=$TRIPLE-ar"
export "CFLAGS_$variable=-idirafter $SYSROOT/usr/include"
export "CARGO_TARGET_${variable^^}_RUSTFLAGS=-L native=$SYSROOT/usr/lib/$TRIPLE -C link-arg=-Wl,-rpath-link,$SYSROOT/usr/lib/$TRIPLE"
export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_SYSROOT_DIR=$SYSROOT PKG_CONFIG_LIBDIR=$SYSROOT/usr/lib/$TRIPLE/pkgconfig
exec cargo "$1" --target "$TARGET" "${@:2}"
