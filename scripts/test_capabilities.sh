#!/bin/bash
# Runs the end-to-end suite with a daemon that has the capabilities of its systemd unit, and none besides: read from the unit, so that
# the two cannot differ. As root, which the daemon stays by number only: Redis's socket is root's in the virtual switch.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly UNIT=debian/telegen-sonic.service

if [[ $EUID -ne 0 ]]; then
	echo "SKIPPED: test-capabilities: the virtual switch needs root"
	exit 0
fi
command -v setpriv >/dev/null || {
	echo "SKIPPED: test-capabilities: setpriv is missing (util-linux)"
	exit 0
}
names=$(sed -n 's/^CapabilityBoundingSet=//p' "$UNIT" | tr '[:upper:]' '[:lower:]' | sed 's/cap_/+/g; s/ /,/g')
[[ -n $names ]] || {
	echo "test_capabilities: $UNIT has no CapabilityBoundingSet" >&2
	exit 1
}
export TELEGEN_DAEMON_WRAPPER="setpriv --no-new-privs --bounding-set=-all,$names --inh-caps=-all,$names --ambient-caps=-all,$names"
echo "test_capabilities: $TELEGEN_DAEMON_WRAPPER"
exec cargo test --test e2e "$@"
