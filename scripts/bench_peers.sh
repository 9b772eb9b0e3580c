#!/bin/bash
# Installs the collectors that `make bench-peers` puts beside telegen-sonic. One that cannot be had is skipped there, with a message here.
set -euo pipefail

readonly POLICY=/usr/sbin/policy-rc.d

# <program> <package>
readonly PEERS='softflowd softflowd
pmacctd pmacct'

missing=()
while read -r program package; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("$package")
done <<<"$PEERS"
if [[ ${#missing[@]} -eq 0 ]]; then
	exit 0
fi
if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
	echo "bench-peers: ${missing[*]}: not installed, and only root can install packages, with apt" >&2
	exit 0
fi
# Their packages would start them: maintainer scripts ask policy-rc.d before (Debian Policy 9.3.3.1).
if [[ ! -e $POLICY ]]; then
	trap 'rm -f "$POLICY"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$POLICY"
	chmod 755 "$POLICY"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q update || true
for package in "${missing[@]}"; do
	apt-get -q install -y --no-install-recommends "$package" ||
		echo "bench-peers: apt has no $package here" >&2
done
