#!/bin/bash
# Puts telegen into a checkout of sonic-buildimage: rules, container, source and YANG module. `git status` there shows what it did.
#
#   sonic/buildimage/overlay.sh CHECKOUT
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
	printf 'overlay: %s\n' "$1" >&2
	exit 1
}

[[ $# -eq 1 ]] || fail "give the checkout of sonic-buildimage"
readonly TO=$1
readonly DOCKER=$TO/dockers/docker-telegen YANG=$TO/src/sonic-yang-models
[[ -e $TO/slave.mk && -e $YANG/setup.py ]] || fail "$TO is no checkout of sonic-buildimage"

cp sonic/buildimage/rules/* "$TO/rules/"
mkdir -p "$DOCKER"
cp sonic/buildimage/dockers/docker-telegen/* "$DOCKER/"
cp sonic/image/critical_processes "$DOCKER/"
cp sonic/manifest.json "$DOCKER/manifest.part.json.j2"
for command in config show clear; do
	mkdir -p "$DOCKER/cli/$command/plugins"
	cp "sonic/cli/$command/plugins/telegen.py" "$DOCKER/cli/$command/plugins/"
done

# setup.py names every module, and refuses to build if one is missing.
cp yang/sonic-telegen.yang "$YANG/yang-models/"
grep -q "'sonic-telegen.yang'" "$YANG/setup.py" ||
	sed -i "s/^\( *\)'sonic-telemetry.yang',/\1'sonic-telegen.yang',\n&/" "$YANG/setup.py"
grep -q "'sonic-telegen.yang'" "$YANG/setup.py" || fail "$YANG/setup.py has changed: add sonic-telegen.yang to yang_files by hand"

rm -rf "$TO/src/telegen-sonic"
git clone --quiet --no-hardlinks . "$TO/src/telegen-sonic"

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
have=$(sed -n 's/.*--default-toolchain \([0-9.]*\).*/\1/p' "$TO/sonic-slave-trixie/Dockerfile.j2" 2>/dev/null | head -n1)
if [[ -n $have && $(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n1) != "$wanted" ]]; then
	echo "overlay: sonic-slave-trixie/Dockerfile.j2 has Rust $have, and $wanted or later is needed: change --default-toolchain there"
fi
echo "overlay: done; INCLUDE_TELEGEN = y in rules/config.user builds it into the image"
