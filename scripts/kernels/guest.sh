#!/bin/bash
# Makes DIR/vmlinuz and DIR/initramfs from DIR/kernel.deb and a folder of test binaries.
#
#   scripts/kernels/guest.sh DIR TESTS SECONDS      SECONDS: what a suite may take in the guest
#
# The guest has busybox, the test binaries, ip and tc with the libraries that they all need, and the modules that the tests need
# with all that these depend on. Nothing is installed anywhere.
set -euo pipefail

readonly DIR=$1 TESTS=$2 SUITE_SEC=$3
readonly TREE=$DIR/tree GUEST=$DIR/guest
readonly MODULES='veth sch_ingress cls_bpf cls_u32'
HERE=$(dirname "$(realpath "$0")")
readonly HERE

fail() {
	printf '%s\n' "$1" >&2
	exit 1
}

# Of the package only what can be needed: the whole of it takes half a gigabyte. The stamp is the package's hash.
unpack() {
	if cmp -s "$DIR/kernel.sha256" "$TREE/unpacked"; then
		return
	fi
	rm -rf "$TREE"
	mkdir -p "$TREE"
	dpkg-deb --fsys-tarfile "$DIR/kernel.deb" | tar -x -C "$TREE" --wildcards --no-anchored \
		'boot/vmlinuz-*' 'modules.builtin' 'kernel/net/*' 'kernel/drivers/net/veth.ko*' || fail "cannot unpack $DIR/kernel.deb"
	cp "$DIR/kernel.sha256" "$TREE/unpacked"
}

# Puts a module into the guest, after all that it depends on; `order` has each once.
add_module() {
	local name=$1 file needed
	grep -qsx "$name" "$GUEST/modules/order" && return
	# File names have either - or _ where module names have _.
	file=$(find "$TREE" -name "${name//_/[-_]}.ko*" -print -quit)
	if [[ -z $file ]]; then
		find "$TREE" -name modules.builtin -exec cat {} + | tr - _ | grep -q "/$name\\.ko$" && return
		fail "the kernel has no module $name"
	fi
	case $file in
	*.ko) cp "$file" "$GUEST/modules/$name.ko" ;;
	*.xz) xz -dc "$file" >"$GUEST/modules/$name.ko" ;;
	*.zst) zstd -qdc "$file" >"$GUEST/modules/$name.ko" ;;
	*) fail "do not know how to unpack $file" ;;
	esac
	for needed in $(tr '\0' '\n' <"$GUEST/modules/$name.ko" | sed -n 's/^depends=//p' | tr ',-' ' _'); do
		add_module "$needed"
	done
	echo "$name" >>"$GUEST/modules/order"
}

# Puts a host's program, or library, with the libraries that it needs where it is on the host.
add_with_libraries() {
	local file
	for file in "$@"; do
		{ ldd "$file" 2>/dev/null || true; } | grep -o '/[^ ]*' || true
	done | sort -u | while read -r file; do
		mkdir -p "$GUEST$(dirname "$file")"
		cp -L "$file" "$GUEST$file"
	done
}

add_program() {
	local found
	found=$(PATH=$PATH:/usr/sbin:/sbin command -v "$1") || fail "the host has no $1"
	mkdir -p "$GUEST$(dirname "$2")"
	cp -L "$found" "$GUEST$2"
	add_with_libraries "$found"
}

unpack
rm -rf "$GUEST"
mkdir -p "$GUEST"/{modules,tests,dev,proc,sys,bin}
# The kernel opens it before there is a devtmpfs.
mknod -m 600 "$GUEST/dev/console" c 5 1
for module in $MODULES; do
	add_module "$module"
done
add_program busybox /bin/busybox
add_program ip /usr/sbin/ip
add_program tc /usr/sbin/tc
cp "$TESTS"/* "$GUEST/tests/"
add_with_libraries "$GUEST"/tests/*
install -m 755 "$HERE/init" "$GUEST/init"
cp "$HERE/suites.sh" "$GUEST/suites.sh"
echo "$SUITE_SEC" >"$GUEST/suite_limit"
cp -f "$TREE"/boot/vmlinuz-* "$DIR/vmlinuz"
# Not compressed: an emulated CPU would take longer to unpack it than the disk to read it.
(cd "$GUEST" && find . -print0 | cpio --quiet --null --create --format=newc) >"$DIR/initramfs"
rm -rf "$GUEST"
