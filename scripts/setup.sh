#!/bin/bash
# Makes sure that everything is there to build, run, test or check the project, and installs what is missing.
#
#   scripts/setup.sh [build|demo|test|check|kernels|sonic-cli|automation|capabilities|deb|vm|cross|all]     default: all, which is build to check
#
# What is missing comes from apt (Debian 12 or later, Ubuntu; as root), from PyPI into target/venv*, and from crates.io
# into target/tools. If nothing is missing it uses no network, no root and no apt. It starts and enables no service.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly CARGO_DENY_VERSION=0.20.2
readonly VENV=target/venv
readonly TOOLS=target/tools
readonly POLICY=/usr/sbin/policy-rc.d

# <what it is for> <a command, or a file that begins with /> <apt packages that have it, the first that exists is taken>
readonly NEEDS='
build clang clang
build llvm-strip llvm
build gcc gcc
build make make
build git git
build pkg-config pkg-config|pkgconf
build /usr/include/stdio.h libc6-dev
build /usr/include/libelf.h libelf-dev
build /usr/include/gelf.h libelf-dev
build /usr/include/zlib.h zlib1g-dev
demo redis-server redis-server
demo redis-cli redis-tools
demo ip iproute2
demo tc iproute2
demo bpftool bpftool|linux-tools-common
demo curl curl
demo python3 python3
test tshark tshark
test @sanitizers libclang-rt-dev|libclang-common-14-dev
test yanglint libyang-tools|libyang2-tools
test @venv python3-venv
check clang-format clang-format
check shellcheck shellcheck
check yanglint libyang-tools|libyang2-tools
check python3 python3
check @venv python3-venv
sonic-cli python3 python3
sonic-cli @venv python3-venv
sonic-cli @python.h python3-dev
sonic-cli @libyang cmake
sonic-cli @libyang libpcre2-dev
sonic-cli @libyang xz-utils
automation python3 python3
automation @venv python3-venv
kernels qemu-system-x86_64 qemu-system-x86
kernels busybox busybox-static|busybox
kernels cpio cpio
kernels xz xz-utils
kernels zstd zstd
kernels objcopy binutils
kernels dpkg-deb dpkg
kernels ip iproute2
kernels tc iproute2
kernels python3 python3
kernels /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
deb dpkg-buildpackage dpkg-dev
deb dh debhelper
deb fakeroot fakeroot
deb lintian lintian
vm systemd-nspawn systemd-container
vm mmdebstrap mmdebstrap
vm python3 python3
capabilities setpriv util-linux
capabilities systemd-analyze systemd
capabilities @seccomp python3-seccomp
cross aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
cross /usr/aarch64-linux-gnu/include/stdio.h libc6-dev-arm64-cross
cross qemu-aarch64 qemu-user|qemu-user-static
cross dpkg-deb dpkg
cross /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
'

fail() {
	printf 'setup: %s\n' "$1" >&2
	exit 1
}

say() {
	printf 'setup: %s\n' "$1"
}

# The steps that a goal includes.
steps_of() {
	case "$1" in
	build) echo build ;;
	demo) echo build demo ;;
	test) echo build demo test ;;
	capabilities) echo build demo test capabilities ;;
	check) echo build check ;;
	kernels) echo build kernels ;;
	deb) echo build deb ;;
	vm) echo build demo deb vm ;;
	cross) echo build demo cross ;;
	sonic-cli) echo build demo sonic-cli ;;
	automation) echo build demo automation ;;
	all) echo build demo test check ;;
	*) fail "unknown goal '$1': give build, demo, test, check, kernels, sonic-cli, automation, capabilities, deb, vm, cross or all" ;;
	esac
}

# The Python that makes the environment: the system's if it can, else any that can.
python_with_venv() {
	local candidate
	for candidate in /usr/bin/python3 python3; do
		if command -v "$candidate" >/dev/null && "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
			command -v "$candidate"
			return
		fi
	done
	return 1
}

is_there() {
	case "$1" in
	@venv) [[ -x $VENV/bin/python ]] || python_with_venv >/dev/null ;;
	@sanitizers) echo 'int main(void) { return 0; }' | clang -fsanitize=address,undefined -x c - -o /dev/null 2>/dev/null ;;
	@seccomp) /usr/bin/python3 -c 'import seccomp' 2>/dev/null ;;
	@python.h) "$(python_with_venv || echo false)" -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2>/dev/null ;;
	# A libyang for Python's binding, or what it takes to build one.
	@libyang) has_libyang || { command -v cmake && command -v xz && [[ -e /usr/include/pcre2.h ]]; } >/dev/null ;;
	/*) [[ -e $1 ]] ;;
	# LLVM's tools also come with a version behind the name only, and Debian keeps sbin out of a user's PATH.
	llvm-strip) command -v llvm-strip >/dev/null || compgen -c llvm-strip- >/dev/null ;;
	*) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
	esac
}

# Prints "<need> <packages>" for all that the steps need and that is not there.
missing_needs() {
	local step need packages wanted=" $* "
	while read -r step need packages; do
		if [[ -n $step && $wanted == *" $step "* ]] && ! is_there "$need"; then
			echo "$need $packages"
		fi
	done <<<"$NEEDS"
}

os_release() {
	# shellcheck source=/dev/null
	(. /etc/os-release && echo "${!1:-}")
}

# Fails unless apt can bring "$1" here.
require_debian() {
	local id='' id_like='' version=''
	if [[ -r /etc/os-release ]]; then
		id=$(os_release ID)
		id_like=$(os_release ID_LIKE)
		version=$(os_release VERSION_ID)
	fi
	# Debian's testing has no version; it is later than 12.
	if [[ $id == debian && -n $version && ${version%%.*} -lt 12 ]]; then
		fail "$1 missing, and Debian $version is too old: Debian 12 or later is needed"
	fi
	if [[ " $id $id_like " != *" debian "* && " $id $id_like " != *" ubuntu "* ]] || ! command -v apt-get >/dev/null; then
		fail "$1 missing, and this is not Debian 12 or later or Ubuntu: install it in your system's way"
	fi
}

# apt with services kept down: maintainer scripts ask policy-rc.d before they start one (Debian Policy 9.3.3.1). An
# existing policy-rc.d (containers have one) is left alone; ours goes away with the sub-shell.
apt_install() (
	if [[ ! -e $POLICY ]]; then
		trap 'rm -f "$POLICY"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$POLICY"
		chmod 755 "$POLICY"
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q update
	local -a chosen=()
	local alternatives package
	for alternatives in "$@"; do
		for package in ${alternatives//|/ }; do
			if [[ -n $(apt-cache policy "$package" | awk '$1 == "Candidate:" && $2 != "(none)"') ]]; then
				chosen+=("$package")
				break
			fi
		done
	done
	apt-get -q install -y --no-install-recommends "${chosen[@]}"
)

install_packages() {
	local missing names
	missing=$(missing_needs "$@")
	[[ -n $missing ]] || return 0
	names=$(awk '{print $1 ~ /^@/ ? $2 : $1}' <<<"$missing" | paste -sd' ')
	require_debian "$names"
	if [[ $EUID -ne 0 ]]; then
		fail "missing: $names. Run this as root, or install: $(cut -d' ' -f2 <<<"$missing" | cut -d'|' -f1 | sort -u | paste -sd' ')"
	fi
	say "installing: $names"
	local had_redis=yes
	is_there redis-server || had_redis=no
	local -a packages
	mapfile -t packages < <(cut -d' ' -f2 <<<"$missing" | sort -u)
	apt_install "${packages[@]}" || fail "apt could not install: ${packages[*]}"
	# The package enables its service for the next boot; whoever only tests telegen did not ask for that.
	if [[ $had_redis == no && -d /run/systemd/system ]] && is_there redis-server; then
		systemctl disable --quiet redis-server.service
	fi
	missing=$(missing_needs "$@")
	[[ -z $missing ]] || fail "still missing after apt: $(cut -d' ' -f1 <<<"$missing" | paste -sd' ')"
}

require_rust() {
	local wanted have
	wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
	cargo --version >/dev/null 2>&1 ||
		fail "no Rust toolchain in PATH: install Rust $wanted or later (https://rustup.rs); sudo drops PATH, so use: sudo env PATH=\"\$PATH\" make …"
	have=$(rustc --version | cut -d' ' -f2)
	[[ $(printf '%s\n%s\n' "$wanted" "${have%%-*}" | sort -V | head -n1) == "$wanted" ]] ||
		fail "Rust $have is too old: $wanted or later is needed (rustup update stable)"
}

require_lints() {
	local component
	for component in fmt clippy; do
		cargo "$component" --version >/dev/null 2>&1 ||
			fail "cargo $component is missing: rustup component add rustfmt clippy"
	done
}

# make_venv FOLDER REQUIREMENTS
make_venv() {
	local venv=$1 requirements=$2 stamp=$1/requirements.installed
	if [[ -x $venv/bin/python ]] && cmp -s "$requirements" "$stamp"; then
		return
	fi
	local python
	python=$(python_with_venv) || fail "no Python with the venv module"
	say "Python environment in $venv, with $python"
	rm -rf "$venv"
	"$python" -m venv "$venv"
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements" ||
		fail "pip could not install $requirements"
	cp "$requirements" "$stamp"
}

# The system's, or the one that the user names.
has_libyang() {
	[[ -n ${LIBYANG_HEADERS:-} ]] || pkg-config --atleast-version=3.12 libyang 2>/dev/null
}

# Python's binding for libyang 3, by the system's libyang or one of our own (scripts/libyang.sh). Where neither can be had, the tests
# that validate are skipped.
add_libyang() {
	local venv=$1
	if "$venv/bin/python" -c 'import libyang' 2>/dev/null; then
		return
	fi
	if ! has_libyang; then
		say "building libyang 3 into target/libyang (once)"
		if ! scripts/libyang.sh; then
			say "no libyang 3.12 or later (libyang-dev, or LIBYANG_HEADERS and LIBYANG_LIBRARIES): nothing will be validated by YANG"
			return
		fi
		local own=$PWD/target/libyang
		export LIBYANG_HEADERS=$own/include LIBYANG_LIBRARIES=$own/lib LIBYANG_EXTRA_LDFLAGS=-Wl,-rpath,$own/lib
	fi
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r scripts/requirements-libyang.txt ||
		fail "pip could not build libyang's binding"
}

install_cargo_deny() {
	local installed
	installed=$("$TOOLS/bin/cargo-deny" --version 2>/dev/null || true)
	if [[ $installed == "cargo-deny $CARGO_DENY_VERSION" ]]; then
		return
	fi
	say "building cargo-deny $CARGO_DENY_VERSION into $TOOLS (once, some minutes)"
	cargo install --quiet --locked --root "$TOOLS" --target-dir "$TOOLS/build" --version "$CARGO_DENY_VERSION" cargo-deny ||
		fail "cargo could not install cargo-deny $CARGO_DENY_VERSION"
	rm -rf "$TOOLS/build"
}

main() {
	local steps
	steps=$(steps_of "${1:-all}")
	# shellcheck disable=SC2086 # a list of words
	install_packages $steps
	require_rust
	mkdir -p target
	case " $steps " in
	*" test "* | *" check "*) make_venv "$VENV" scripts/requirements.txt ;;
	*" sonic-cli "*)
		make_venv "$VENV-sonic-cli" scripts/requirements-sonic-cli.txt
		add_libyang "$VENV-sonic-cli"
		;;
	*" automation "*) make_venv "$VENV-automation" scripts/requirements-automation.txt ;;
	esac
	case " $steps " in
	*" check "*)
		require_lints
		install_cargo_deny
		;;
	esac
}

main "$@"
