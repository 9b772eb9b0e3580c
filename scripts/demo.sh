#!/bin/bash
# A job on a switch in a box, from start to clean-up: what was sent beside what was counted, the same job through every door,
# a refusal with its reason, and the proof that nothing is left. As root; under ten seconds once built.
#
# It runs the release binaries (TELEGEN_BIN_DIR for others), keeps everything below target/demo, and ends what it started.
set -euo pipefail
cd "$(dirname "$0")/.."

BIN=$(realpath "${TELEGEN_BIN_DIR:-target/release}")
DIR=target/demo
PORT=Ethernet16
PORTS=32

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
# Shows a command as a user would type it on the switch, and runs it there.
on_switch() { printf '\033[36mswitch# %s\033[0m\n' "${*//"$BIN/"/}"; run "$@"; }
run() { "$BIN/telegen-lab" run --dir "$DIR" -- "$@"; }
# Waits up to ten seconds until a command succeeds.
until_true() {
	for _ in {1..200}; do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.05
	done
	echo "demo: gave up waiting for: $*" >&2
	return 1
}

pids=()
finish() {
	status=$?
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	"$BIN/telegen-lab" down --dir "$DIR" >/dev/null 2>&1 || true
	if [[ $status -ne 0 ]]; then
		echo "demo: failed; the daemon's log:" >&2
		tail -n 20 "$DIR/daemon.log" >&2 || true
	fi
	exit "$status"
}
trap finish EXIT

if [[ $EUID -ne 0 ]]; then
	echo "make demo needs root: it makes network namespaces and loads BPF programs" >&2
	exit 1
fi
rm -rf "$DIR"
mkdir -p "$DIR"
# The host's namespaces and qdiscs, to compare at the end.
snapshot() {
	ip netns list
	tc qdisc show | grep clsact || true
}
# The BPF programs that a process holds, and their maps, as `prog N` and `map N`.
held() {
	local id
	grep -h '^prog_id' "/proc/$1/fdinfo/"* | grep -o '[0-9]*$' | sort -u | while read -r id; do
		echo "prog $id"
		bpftool prog show id "$id" | grep -o 'map_ids [0-9,]*' | cut -d' ' -f2 | tr ',' '\n' | sed 's/^/map /'
	done
}
# Those of them that the kernel has still. Others' are none of this demo's business.
still_there() {
	local object
	for object in "$@"; do
		if bpftool "${object% *}" show id "${object#* }" >/dev/null 2>&1; then echo "$object"; fi
	done
}
# Processes in the switch's network namespace, and those that name its directory.
processes() {
	local process
	for process in /proc/[0-9]*; do
		[[ $(readlink "$process/ns/net") == "$1" ]] && echo "${process#/proc/} $(tr '\0' ' ' <"$process/cmdline")"
	done
	pgrep -af -- "--dir $DIR " || true
}
before=$(snapshot)

title "A SONiC switch in a box: $PORTS ports, its own Redis, a virtual orchagent, an ASIC that the host cannot see into"
"$BIN/telegen-lab" up --dir "$DIR" --ports "$PORTS" --detach
run redis-cli -n 4 HSET 'TELEGEN|global' otlp_endpoint localhost:4318 otlp_protocol http/protobuf export_interval 1 default_sample_rate 1 >/dev/null
# Not through the function: `$!` shall be the program's own pid.
"$BIN/telegen-lab" run --dir "$DIR" -- "$BIN/telegen-lab" collect >"$DIR/otlp.log" &
pids+=($!)
"$BIN/telegen-lab" run --dir "$DIR" -- "$BIN/telegen-sonic" daemon >"$DIR/daemon.log" 2>&1 &
pids+=($!)
until_true run redis-cli -n 6 HGET 'TELEGEN_DAEMON_TABLE|localhost' pid
until_true run "$BIN/telegen-sonic" status

title "What the switch's own Linux sees of 3,000 packets through $PORT without telegen: nothing"
cpu_packets() { run cat /proc/net/dev | awk -v port="$PORT:" '$1 == port {print $3}'; }
"$BIN/telegen-lab" send --dir "$DIR" --port "$PORT" --profile mixed --count 3000 --seed 7 >/dev/null
echo "$PORT netdev: $(cpu_packets) packets received"
# Port counters are polled every second; the job's coverage should not begin with these packets.
port_counted() {
	local oid
	oid=$(run redis-cli -n 2 --raw HGET COUNTERS_PORT_NAME_MAP "$PORT")
	[[ $(run redis-cli -n 2 --raw HGET "COUNTERS:$oid" SAI_PORT_STAT_IF_IN_OCTETS) -gt 0 ]]
}
until_true port_counted

title "A job"
on_switch "$BIN/telegen-sonic" start "$PORT" --duration 120 --id demo --description "why is this port busy"

title "Mixed traffic, and the job's live status"
"$BIN/telegen-lab" send --dir "$DIR" --port "$PORT" --profile mixed --count 20000 --pps 5000 --seed 42 >"$DIR/sent.json" &
sender=$!
on_switch timeout 4 "$BIN/telegen-sonic" watch demo || true
wait "$sender"
namespace=$(run readlink /proc/self/ns/net)
bpf=()
if bpftool prog show >/dev/null 2>&1; then
	mapfile -t bpf < <(held "${pids[1]}")
	if [[ ${#bpf[@]} -lt 2 ]]; then
		echo "the daemon holds no BPF program with maps: ${bpf[*]}" >&2
		exit 1
	fi
fi

title "A third job is refused, and says why"
run "$BIN/telegen-sonic" start Ethernet0 --id second >/dev/null
on_switch "$BIN/telegen-sonic" start Ethernet8 --id third || echo "(exit code $?)"
run "$BIN/telegen-sonic" stop second >/dev/null

title "The same job through the other doors"
on_switch redis-cli -n 6 HMGET 'TELEGEN_JOB_TABLE|demo' status port tap mirror_session
on_switch curl -s --unix-socket /var/run/telegen/rest.sock http://localhost/v1/monitor/jobs/demo
echo
until_true grep -q 'network.packets .*telegen.job.id=demo' "$DIR/otlp.log"
echo "at the collector (OTLP):"
grep 'network.packets .*telegen.job.id=demo' "$DIR/otlp.log" | tail -n 1 | cut -c1-220

title "The end: the session is deleted first, the tap is read last, so that the last packet counts"
on_switch "$BIN/telegen-sonic" stop demo
on_switch "$BIN/telegen-sonic" results demo

title "What was sent beside what was counted"
run "$BIN/telegen-sonic" results demo --json >"$DIR/counted.json"
python3 scripts/compare.py "$DIR/sent.json" "$DIR/counted.json"

title "Nothing is left"
kill "${pids[1]}"
wait "${pids[1]}" || true
echo "rows of jobs in CONFIG_DB:            $(run redis-cli -n 4 --raw KEYS 'TELEGEN_JOB|*' | wc -w)"
echo "mirror sessions in CONFIG_DB:         $(run redis-cli -n 4 --raw KEYS 'MIRROR_SESSION|*' | wc -w)"
echo "mirror sessions known to orchagent:   $(run redis-cli -n 6 --raw KEYS 'MIRROR_SESSION_TABLE|*' | wc -w)"
echo "mirror sessions in ASIC_DB:           $(run redis-cli -n 1 --raw KEYS 'ASIC_STATE:SAI_OBJECT_TYPE_MIRROR_SESSION:*' | wc -w)"
kill "${pids[0]}"
wait "${pids[0]}" || true
pids=()
"$BIN/telegen-lab" down --dir "$DIR"
after=$(snapshot)
if [[ $before != "$after" ]]; then
	echo "namespaces and qdiscs differ:" >&2
	diff <(echo "$before") <(echo "$after") >&2
	exit 1
fi
left=$(still_there "${bpf[@]}" && processes "$namespace")
if [[ -n $left ]]; then
	echo "still there: $left" >&2
	exit 1
fi
echo "namespaces and qdiscs of the host: as before; processes of the switch: none"
if [[ ${#bpf[@]} -gt 0 ]]; then
	echo "of the job's ${#bpf[@]} BPF programs and maps: none"
else
	echo "BPF programs and maps: not looked at, because bpftool does not work here"
fi
