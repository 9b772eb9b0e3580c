#!/usr/bin/env python3
"""What it costs to overrun REST: 1,100 idle connections, 200 parallel results, 16 clients that never read.

rest.py [--bin DIR] [--idle N] [--after SECONDS]         on a virtual switch of its own, as root
rest.py --pid PID --socket PATH --job ID [--after SEC]   on a daemon that runs, with a job that runs

The daemon of the virtual switch has 1,024 descriptors, as systemd's default is. Prints JSON.
"""

import argparse
import json
import os
import resource
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from switch import Switch, wait

ROOT = Path(__file__).resolve().parents[2]
IDLE, PARALLEL, UNREAD = 1100, 200, 16
DESCRIPTORS = 1024
# What this program needs of its own, more than a shell has.
OWN_DESCRIPTORS = 2048
SETTINGS = ("topk_flows", "4096", "flow_interval", "1", "memory_limit", "256")
ANSWER_SEC = 30


class Watcher(threading.Thread):
    """Looks at the daemon every 20 ms."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.rss_kib, self.descriptors, self.over = pid, 0, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.02):
            self.rss_kib = max(self.rss_kib, rss_kib(self.pid))
            self.descriptors = max(self.descriptors, descriptors(self.pid))


def rss_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no VmRSS")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def take_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < OWN_DESCRIPTORS:
        raise RuntimeError(f"this program needs {OWN_DESCRIPTORS} descriptors and may have {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connect(path):
    """A connection; `OSError` is the server's word. What this program itself lacks is another thing."""
    try:
        client = socket.socket(socket.AF_UNIX)
    except OSError as error:
        raise RuntimeError(f"no socket for a client: {error}") from error
    client.settimeout(ANSWER_SEC)
    try:
        client.connect(path)
    except OSError:
        client.close()
        raise
    return client


def request(path):
    return f"GET {path} HTTP/1.1\r\nHost: telegen\r\nConnection: close\r\n\r\n".encode()


def get(door, path):
    """Status, body and seconds; status 0 if no answer came."""
    began = time.monotonic()
    try:
        client = connect(door)
        with client:
            try:
                client.sendall(request(path))
            except OSError:
                pass  # the answer may be there all the same
            parts = []
            try:
                while part := client.recv(1 << 16):
                    parts.append(part)
            except ConnectionResetError:
                pass
    except OSError:
        return 0, b"", time.monotonic() - began
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 else 0, body, time.monotonic() - began


def in_parallel(door, path, count):
    """The statuses of so many requests at once, counted."""
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda _: get(door, path)[0], range(count)))
    return {str(status): answers.count(status) for status in sorted(set(answers))}


def figures(pid, door, job, after=60, is_running=lambda: None, idle_count=IDLE):
    """The load, and what it does. `is_running` says in the middle of it whether the job runs."""
    take_descriptors()
    results = f"/v1/monitor/jobs/{job}/results"
    status, body, _ = get(door, results)
    if status != 200:
        raise RuntimeError(f"{door}: {results}: {status}")
    said = {"results_bytes": len(body)}
    time.sleep(10)
    said["rss_base_kib"], said["descriptors_base"] = rss_kib(pid), descriptors(pid)
    watcher = Watcher(pid)
    watcher.start()
    idle, unread = [], []
    try:
        for _ in range(idle_count):
            try:
                idle.append(connect(door))
            except BlockingIOError:
                break  # the backlog is full: nobody accepts
        said["idle_connected"] = len(idle)
        for index in range(UNREAD):
            try:
                client = connect(door)
                client.settimeout(1)
                # Half of them ask again and again, half follow events.
                path = results if index % 2 else results.replace("results", "events")
                client.sendall(request(path).replace(b"Connection: close\r\n", b"") * (64 if index % 2 else 1))
                unread.append(client)
            except OSError:
                pass
        said["unread_connected"] = len(unread)
        time.sleep(2)
        status, _, seconds = get(door, "/healthz")
        said["next_status"], said["next_answer_sec"] = status, round(seconds, 3)
        said["parallel_statuses"] = in_parallel(door, results, PARALLEL)
        status, _, seconds = get(door, "/healthz")
        said["last_status"], said["last_answer_sec"] = status, round(seconds, 3)
        time.sleep(10)
        said["job_meanwhile"] = is_running()
    finally:
        for client in idle + unread:
            client.close()
    watcher.over.set()
    watcher.join()
    said["rss_peak_kib"], said["descriptors_peak"] = watcher.rss_kib, watcher.descriptors
    time.sleep(after)
    said["rss_after_kib"], said["descriptors_after"] = rss_kib(pid), descriptors(pid)
    for name in ("peak", "after"):
        said[f"rss_{name}_more_mib"] = round((said[f"rss_{name}_kib"] - said["rss_base_kib"]) / 1024, 1)
    return said


def on_a_lab(binaries, after, idle_count=IDLE):
    """The figures of the daemon in `binaries`."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Switch(binaries, folder, descriptors=DESCRIPTORS, settings=SETTINGS) as switch,
    ):
        job = "flooded"
        row = ["port", "Ethernet0", "duration", "600", "sample_rate", "1", "expires_at", "2099-01-01T00:00:00Z"]
        switch.redis(4, "HSET", f"TELEGEN_JOB|{job}", *row)
        until(lambda: switch.status(job) == "running", "the job")
        switch.lab("send", "--port", "Ethernet0", "--profile", "mixed", "--count", "20000", "--seed", "7")
        time.sleep(3)
        pid = switch.daemon.pid
        door = f"/proc/{pid}/root/run/telegen/rest.sock"

        def second():
            """A job is taken up in the middle of it, and the first runs on."""
            began = time.monotonic()
            row = ["port", "Ethernet4", "duration", "1", "expires_at", "2099-01-01T00:00:00Z"]
            switch.redis(4, "HSET", "TELEGEN_JOB|second", *row)
            until(lambda: switch.status("second") in {"done", "failed", "rejected"}, "the second job")
            said = switch.redis(6, "HMGET", "TELEGEN_JOB_TABLE|second", "status", "reason", "message").split("\n")
            return {"first": switch.status(job), "second": said[:3], "second_sec": round(time.monotonic() - began, 1)}

        return figures(pid, door, job, after, second, idle_count)


def until(condition, what, seconds=30):
    if wait(condition, seconds, 0.1) is None:
        raise RuntimeError(f"gave up waiting for {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=ROOT / "target" / "release")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--socket")
    parser.add_argument("--job")
    parser.add_argument("--idle", type=int, default=IDLE)
    parser.add_argument("--after", type=float, default=60)
    options = parser.parse_args()
    if options.pid:
        said = figures(options.pid, options.socket, options.job, options.after, idle_count=options.idle)
    else:
        said = on_a_lab(options.bin, options.after, options.idle)
    print(json.dumps(said, indent=2))


if __name__ == "__main__":
    main()
