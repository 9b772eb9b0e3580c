#!/bin/bash
# Brings one Debian kernel package to DIR/kernel.deb, without touching the host's apt: sources, lists and cache are DIR/apt.
#
#   scripts/kernels/fetch.sh DIR SUITE PACKAGE VERSION SHA256
#
# The mirror is the one that the host's apt uses for Debian, or TELEGEN_DEBIAN_MIRROR. apt verifies the suite's signature with
# Debian's keyring, and the package by the hash that the suite says. Where the suite still has VERSION, the hash must also be SHA256.
# Where it has moved on, the kernel that it recommends now is taken, and DIR/note says so. A kernel that is here and has
# the hash that it was fetched with is not fetched again. If there is none, the last line on stderr says why.
set -euo pipefail

mkdir -p "$1"
DIR=$(realpath "$1")
readonly DIR SUITE=$2 PACKAGE=$3 VERSION=$4 SHA256=$5
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly APT=$DIR/apt
# Longer than this nothing may take: a mirror that does not answer, and the whole package.
readonly CONNECT_SEC=20 DOWNLOAD_SEC=900

fail() {
	printf '%s\n' "$1" >&2
	exit 1
}

is_there() {
	[[ -e $DIR/kernel.deb && $(cat "$DIR/wanted" 2>/dev/null) == "$SUITE $PACKAGE $VERSION $SHA256" ]] &&
		(cd "$DIR" && sha256sum --check --status kernel.sha256)
}

# The address of the archive proper, of which Debian's suites are parts.
mirror() {
	if [[ -n ${TELEGEN_DEBIAN_MIRROR:-} ]]; then
		echo "$TELEGEN_DEBIAN_MIRROR"
		return
	fi
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 == "Debian" && $2 == "Debian" && !seen++ {print $3}'
}

# An apt that knows nothing but this suite, and of it only what is needed here.
private() {
	local tool=$1
	shift
	timeout "$DOWNLOAD_SEC" "$tool" -q \
		-o Dir::Etc::SourceList="$APT/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		-o Dir::State="$APT/state" -o Dir::State::status="$APT/status" -o Dir::Cache="$APT/cache" \
		-o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User=root \
		-o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
		-o Acquire::Retries=2 -o Acquire::http::Timeout="$CONNECT_SEC" -o Acquire::https::Timeout="$CONNECT_SEC" "$@"
}

# A field of a package's record: field PACKAGE[=VERSION] NAME
field() {
	private apt-cache show --no-all-versions "$1" 2>/dev/null | awk -v name="$2:" '$1 == name && !seen++ {print $2}'
}

prepare_apt() {
	local address
	address=$(mirror)
	[[ -n $address ]] || fail "the host's apt lists no Debian archive: apt-get update, or set TELEGEN_DEBIAN_MIRROR"
	[[ -r $KEYRING ]] || fail "$KEYRING is missing"
	mkdir -p "$APT/state/lists/partial" "$APT/cache/archives/partial"
	: >"$APT/status"
	echo "deb [signed-by=$KEYRING] $address $SUITE main" >"$APT/sources.list"
	private apt-get update >"$DIR/apt.log" 2>&1 || fail "apt cannot read the suite $SUITE: $(grep -m1 '^[EW]:' "$DIR/apt.log")"
}

if is_there; then
	exit
fi
# `wanted` comes back last: nothing half-done looks like a kernel.
rm -rf "$DIR/kernel.deb" "$DIR/kernel.sha256" "$DIR/wanted" "$DIR/note" "$DIR/download"
prepare_apt

package=$PACKAGE version=$VERSION sha256=$(field "$PACKAGE=$VERSION" SHA256)
if [[ -n $sha256 ]]; then
	[[ $sha256 == "$SHA256" ]] || fail "$SUITE has $PACKAGE $VERSION with sha256 $sha256, recorded is $SHA256"
else
	package=$(private apt-cache depends --no-recommends linux-image-amd64 2>/dev/null | awk '$1 == "Depends:" && !seen++ {print $2}')
	[[ -n $package ]] || fail "$SUITE has neither $PACKAGE $VERSION nor any linux-image-amd64"
	version=$(field "$package" Version)
	sha256=$(field "$package" SHA256)
	[[ -n $version && -n $sha256 ]] || fail "$SUITE does not say the version and the hash of $package"
	echo "$SUITE no longer has $PACKAGE $VERSION: took $package $version, sha256 $sha256, on apt's word" >"$DIR/note"
fi
mkdir "$DIR/download"
(cd "$DIR/download" && private apt-get download "$package=$version" >>"$DIR/apt.log" 2>&1) ||
	fail "apt cannot download $package $version: $(grep -m1 '^E:' "$DIR/apt.log")"
mv "$DIR"/download/*.deb "$DIR/kernel.deb"
rmdir "$DIR/download"
echo "$sha256  kernel.deb" >"$DIR/kernel.sha256"
(cd "$DIR" && sha256sum --check --status kernel.sha256) || fail "$package $version does not have the sha256 $sha256"
rm -rf "$APT"
echo "$SUITE $PACKAGE $VERSION $SHA256" >"$DIR/wanted"
