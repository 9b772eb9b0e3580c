#!/usr/bin/env python3
"""Measures the release build on a virtual switch: HSET to running, DEL to clean, idle CPU and memory, sizes.

measure.py [--jobs N] [--idle SECONDS]       as root, with target/venv's python; `make build` first
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / "target" / "release"
CLOCK_TICKS_PER_SEC = 100


def wait_for(condition, what, seconds=10):
    """Returns as soon as `condition()` is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"gave up waiting for {what}")
        time.sleep(0.0005)


def quantiles(milliseconds):
    ordered = sorted(milliseconds)
    median, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"median {median:.1f} ms, p99 {p99:.1f} ms (n={len(ordered)})"


def start_and_stop(config, state, job):
    """Milliseconds from HSET to `running`, and from DEL to a final status with no session left."""
    status, session = f"TELEGEN_JOB_TABLE|{job}", f"MIRROR_SESSION_TABLE|telegen_{job}"
    row = {"port": "Ethernet0", "duration": "60", "expires_at": "2099-01-01T00:00:00Z"}
    began = time.monotonic()
    config.hset(f"TELEGEN_JOB|{job}", mapping=row)
    wait_for(lambda: state.hget(status, "status") == "running", f"{job} to run")
    running = time.monotonic()
    config.delete(f"TELEGEN_JOB|{job}")
    wait_for(lambda: state.hget(status, "status") == "stopped", f"{job} to stop")
    wait_for(lambda: not state.exists(session), f"{session} to go")
    return 1000 * (running - began), 1000 * (time.monotonic() - running)


def cpu_ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def memory_kib(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--idle", type=int, default=30)
    options = parser.parse_args()
    lab = [str(BIN / "telegen-lab")]
    with tempfile.TemporaryDirectory() as folder:
        where = ["--dir", f"{folder}/lab"]
        subprocess.run([*lab, "up", *where, "--detach"], check=True, stdout=subprocess.DEVNULL)
        daemon = subprocess.Popen(
            [*lab, "run", *where, "--", str(BIN / "telegen-sonic"), "daemon"], stderr=subprocess.DEVNULL
        )
        try:
            pid = json.loads(Path(f"{folder}/lab/lab.json").read_text(encoding="utf-8"))["process"]["pid"]
            socket = f"/proc/{pid}/root/run/redis/redis.sock"
            config, state = (
                redis.Redis(unix_socket_path=socket, db=number, decode_responses=True) for number in (4, 6)
            )
            wait_for(lambda: state.exists("TELEGEN_DAEMON_TABLE|localhost"), "the daemon")
            before = cpu_ticks(daemon.pid)
            time.sleep(options.idle)
            idle = (cpu_ticks(daemon.pid) - before) / CLOCK_TICKS_PER_SEC / options.idle
            print(f"idle: {100 * idle:.2f} % of one core, RSS {memory_kib(daemon.pid, 'VmRSS')} KiB")
            measured = [start_and_stop(config, state, f"measure{number}") for number in range(options.jobs)]
            starts, stops = zip(*measured, strict=True)
            print(f"HSET to running: {quantiles(starts)}")
            print(f"DEL to clean:    {quantiles(stops)}")
            print(f"after {options.jobs} jobs: peak RSS {memory_kib(daemon.pid, 'VmHWM')} KiB")
        finally:
            daemon.terminate()
            daemon.wait(timeout=10)
            subprocess.run([*lab, "down", *where], check=True)
    for name in ("telegen-sonic", "telegen-lab"):
        print(f"{name}: {(BIN / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
