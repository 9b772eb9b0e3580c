#!/bin/bash
# Runs the end-to-end suite with a daemon that has the capabilities of its systemd unit, and none besides, under the unit's filters of
# system calls and address families: read from the unit, so that the two cannot differ; and before, that no job runs without any one of the
# capabilities. As root, which the daemon stays by number only: Redis's socket is root's in the virtual switch.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly UNIT=debian/telegen-sonic.service
readonly ONE_JOB=two_jobs_at_once_count_each_their_own_port

if [[ $EUID -ne 0 ]]; then
	echo "SKIPPED: test-capabilities: the virtual switch needs root"
	exit 0
fi
command -v setpriv >/dev/null || {
	echo "SKIPPED: test-capabilities: setpriv is missing (util-linux)"
	exit 0
}
mapfile -t names < <(sed -n 's/^CapabilityBoundingSet=//p' "$UNIT" | tr '[:upper:] ' '[:lower:]\n' | sed 's/^cap_/+/')
[[ ${#names[@]} -gt 0 ]] || {
	echo "test_capabilities: $UNIT has no CapabilityBoundingSet" >&2
	exit 1
}

# The daemon's command begins with this, for the capabilities that are given.
wrapper() {
	local set
	set=$(printf ',%s' "$@")
	echo "setpriv --no-new-privs --bounding-set=-all$set --inh-caps=-all$set --ambient-caps=-all$set"
}

cargo test --no-run --test e2e
for without in "${names[@]}"; do
	mapfile -t rest < <(printf '%s\n' "${names[@]}" | grep -vxF -e "$without")
	if said=$(TELEGEN_DAEMON_WRAPPER=$(wrapper "${rest[@]}") cargo test --quiet --test e2e -- "$ONE_JOB" 2>&1); then
		echo "test_capabilities: a job runs without ${without#+} too: the unit need not have it" >&2
		exit 1
	fi
	[[ $said == *"the kernel does not load the tap's program"* ]] || {
		printf 'test_capabilities: without %s something else went wrong:\n%s\n' "${without#+}" "$said" >&2
		exit 1
	}
	echo "test no job runs without ${without#+} ... ok"
done

TELEGEN_DAEMON_WRAPPER="$(wrapper "${names[@]}") /usr/bin/python3 $PWD/scripts/in_syscall_filter.py $PWD/$UNIT"
export TELEGEN_DAEMON_WRAPPER
read -ra words <<<"$TELEGEN_DAEMON_WRAPPER"
[[ $("${words[@]}" sed -n 's/^Seccomp:\t//p' /proc/self/status) == 2 ]] || {
	echo "test_capabilities: the system calls are not filtered" >&2
	exit 1
}
echo "test_capabilities: the whole suite with $TELEGEN_DAEMON_WRAPPER"
exec cargo test --test e2e "$@"
