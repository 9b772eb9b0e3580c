#!/bin/bash
# Builds the application-extension image `telegen:VERSION` from the package in target/deb, with sonic-package-manager's labels, and
# saves it to target/image/telegen-VERSION-ARCH.tar.gz, which `sonic-package-manager install --from-tarball` takes.
#
#   scripts/image.sh [ARCH]      default: the architecture that this is
#
# TELEGEN_IMAGE_BASE: another base than Debian, e.g. an image of SONiC's own. TELEGEN_IMAGE_OPTIONS: more options of `docker build`. Built by
# docker or podman; without one that answers this collects and checks the context, and says SKIPPED.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly CONTEXT=target/image/context
arch=${1:-$(dpkg --print-architecture)}
version=$(dpkg-parsechangelog --show-field Version)
deb=target/deb/telegen-sonic_${version}_$arch.deb

[[ -e $deb ]] || {
	echo "image: $deb is missing: make deb" >&2
	exit 1
}
[[ $(python3 -c 'import json; print(json.load(open("sonic/manifest.json"))["package"]["version"])') == "$version" ]] || {
	echo "image: sonic/manifest.json and debian/changelog differ in the version" >&2
	exit 1
}
rm -rf "$CONTEXT" "target/image/telegen-$version-$arch.tar.gz"
mkdir -p "$CONTEXT/cli"
cp "$deb" "$CONTEXT/telegen-sonic.deb"
cp sonic/Dockerfile sonic/image/* "$CONTEXT/"
for command in config show clear; do
	mkdir -p "$CONTEXT/cli/$command/plugins"
	cp "sonic/cli/$command/plugins/telegen.py" "$CONTEXT/cli/$command/plugins/"
done

# The first that answers.
builder() {
	local tool
	for tool in docker podman; do
		if command -v "$tool" >/dev/null && "$tool" info >/dev/null 2>&1; then
			echo "$tool"
			return
		fi
	done
	return 1
}

BUILDER=$(builder) || {
	echo "SKIPPED: image: neither docker nor podman answers; the context is in $CONTEXT"
	exit 0
}
readonly BUILDER
read -ra options <<<"${TELEGEN_IMAGE_OPTIONS:-}"
"$BUILDER" build --platform "linux/$arch" --tag "telegen:$version" "${options[@]}" \
	${TELEGEN_IMAGE_BASE:+--build-arg "BASE=$TELEGEN_IMAGE_BASE"} \
	--label "com.azure.sonic.manifest=$(cat sonic/manifest.json)" \
	--label "com.azure.sonic.yang-module=$(cat yang/sonic-telegen.yang)" \
	"$CONTEXT"
"$BUILDER" save "telegen:$version" | gzip >"target/image/telegen-$version-$arch.tar.gz"
echo "image: target/image/telegen-$version-$arch.tar.gz"
