#!/bin/bash
# Builds the package into target/deb and shows it to lintian, which must have nothing to say.
#
#   scripts/deb.sh [ARCH]      default: the architecture that this is; arm64 elsewhere is cross-compiled (scripts/cross.sh)
#
# TELEGEN_BINARY names a binary that has been built already; without it debian/rules asks cargo, as `make build` does.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly OUT=target/deb
native=$(dpkg --print-architecture)
arch=${1:-$native}

# Everything that dpkg-buildpackage leaves in the tree goes, also when it fails; its products stand above the tree, until they are moved.
cleanup() {
	rm -rf debian/.debhelper debian/telegen-sonic debian/files debian/crates.txt debian/debhelper-build-stamp debian/*.substvars \
		debian/*.debhelper debian/*.debhelper.log
}
trap cleanup EXIT

options=(--build=binary --no-sign --no-pre-clean --buildinfo-option=-u"$OUT" --changes-option=-u"$OUT" --changes-file="$OUT/telegen-sonic_$arch.changes"
	--buildinfo-file="$OUT/telegen-sonic_$arch.buildinfo")
if [[ $arch != "$native" ]]; then
	# The libraries of the other architecture are in target/cross, where dpkg does not see them.
	options+=(--host-arch="$arch" --no-check-builddeps)
fi
mkdir -p "$OUT"
rm -f "$OUT"/telegen-sonic_*_"$arch".deb
export DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:-} nocheck"
# debian/rules puts the package where this says.
export TELEGEN_DEB_DIR=$OUT
dpkg-buildpackage "${options[@]}"
lintian --no-cfg --fail-on error,warning --allow-root "$OUT"/telegen-sonic_*_"$arch".deb
echo "deb: $(ls "$OUT"/telegen-sonic_*_"$arch".deb)"
