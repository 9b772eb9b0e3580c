"""Records what the earlier daemon leaves on a switch, for tests/e2e/compat.rs to replay."""

import datetime
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import APPL, CONFIG, STATE, Bench, until
from builds import COMPARED, ROOT
from upgrade import LONG, LONG_QUEUED, SAMPLED

FIXTURE = ROOT / "tests" / "compat" / f"{COMPARED}.json"
# What holds for the recorded jobs: every setting that a switch without a collector can show the meaning of.
SETTINGS = {
    "max_queue": "2",
    "queue_ttl": "600",
    "settle_ms": "500",
    "default_duration": "300",
    "default_sample_rate": "10",
    "topk_flows": "4096",
    "state_flows": "3",
    "result_interval": "1",
    "flow_interval": "1",
    "result_retention": "7200",
    "memory_limit": "128",
    "cpu_limit": "30",
    "allow_unprobed": "true",
    "erspan_gre_type": "0x22eb",
    "erspan_dscp": "10",
    "erspan_ttl": "64",
    "export_interval": "5",
}
# Traffic by name, and the fields of the job that counts it.
TRAFFIC = {
    "mixed": {},
    "ipv6": {},
    "vlan": {},
    "malformed": {},
    "tunnels": {"inner": "true"},
    "rocev2": {},
    "tcp-health": {},
    "health": {},
}
FRAMES = 300
TABLES = {
    "CONFIG_DB": (CONFIG, ("TELEGEN*", "MIRROR_SESSION|telegen_*", "LOGGER|telegen-sonic")),
    "STATE_DB": (STATE, ("TELEGEN_*", "MIRROR_SESSION_TABLE|telegen_*")),
    "APPL_DB": (APPL, ("*TELEGEN_JOB_TABLE*",)),
}


def rows_at(bench, number, patterns):
    """The rows whose keys match, by key."""
    keys = sorted(key for pattern in patterns for key in bench.db[number].keys(pattern))
    return {key: bench.db[number].hgetall(key) for key in keys}


def numbers_of(bench, profile, fields):
    """What is said of a job that analyses every packet of this traffic."""
    job = f"counts-{profile}"
    bench.run_job(job, "Ethernet0", sample_rate="1", **fields)
    bench.traffic("Ethernet0", profile, FRAMES)
    bench.stop_job(job)
    patterns = (f"TELEGEN_RESULT_TABLE|{job}", f"TELEGEN_FLOW_TABLE|{job}|*", f"TELEGEN_HISTOGRAM_TABLE|{job}|*")
    rows = rows_at(bench, STATE, patterns)
    bench.db[STATE].delete(*rows, f"TELEGEN_JOB_TABLE|{job}")
    return {"job": fields, "frames": FRAMES, "rows": rows}


def jobs(bench):
    """Jobs at every point of their lives, so that all kinds of rows are there."""
    bench.run_job("over", "Ethernet0", sample_rate="1", owner="ann", description="who, why")
    bench.traffic("Ethernet0", count=FRAMES)
    bench.stop_job("over")
    bench.run_job(
        "filtered", "Ethernet0,Ethernet4", duration="1", **{"ip_proto@": "tcp,17", "l4_dport@": "1-1000,4791"}
    )
    bench.await_status("filtered", "done")
    bench.write_job("refused", "Ethernet99")
    bench.await_status("refused", "rejected")
    bench.run_job("thin", "Ethernet0,Ethernet8", direction="both", mirror_truncate="128", **SAMPLED)
    bench.traffic("Ethernet0", count=FRAMES)
    bench.send_to_appl(LONG, {"port": "Ethernet4", "direction": "egress", "vlan": "100", "src_cidr": "192.0.2.0/24"})
    bench.await_status(LONG, "running")
    bench.write_job("waits", "Ethernet12", duration="60")
    bench.await_status("waits", "queued")
    bench.write_job(LONG_QUEUED, "Ethernet16")
    bench.await_status(LONG_QUEUED, "queued")
    has_flows = bench.db[STATE].exists
    until(lambda: has_flows("TELEGEN_HISTOGRAM_TABLE|thin|packet_size"), "the numbers of a job that runs")


def limits(commit):
    """What each field may hold there, as tests/yang/schema.py says it of the YANG module."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in ("yang/sonic-telegen.yang", "tests/yang/schema.py"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            text = subprocess.run(["git", "show", f"{commit}:{name}"], cwd=ROOT, capture_output=True, check=True).stdout
            (tree / name).write_bytes(text)
        shutil.copytree(ROOT / "tests" / "yang" / "modules", tree / "tests" / "yang" / "modules")
        command = [sys.executable, "-B", tree / "tests" / "yang" / "schema.py", "table"]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def write(binaries):
    """Runs the earlier daemon, kills it, and writes what is there then."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder, binaries)
        try:
            bench.db[CONFIG].hset("TELEGEN|global", mapping=SETTINGS)
            bench.begin("old", "--attach", "clsact")
            traffic = {profile: numbers_of(bench, profile, fields) for profile, fields in TRAFFIC.items()}
            jobs(bench)
            bench.kill()
            recorded = {
                "commit": bench.db[STATE].hget("TELEGEN_DAEMON_TABLE|localhost", "commit"),
                "recorded_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
                "limits": limits(COMPARED),
                "notes": {path.name: path.read_text() for path in state_files(bench)},
                "rows": {name: rows_at(bench, *where) for name, where in TABLES.items()},
                "traffic": traffic,
            }
        finally:
            bench.end()
    FIXTURE.parent.mkdir(exist_ok=True)
    FIXTURE.write_text(json.dumps(recorded, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


def state_files(bench):
    """The notes in the state directory; not its lock and its socket."""
    folder = Path(f"{bench.root}/run/telegen")
    return sorted(path for path in folder.iterdir() if path.is_file() and "lock" not in path.name)
