#!/usr/bin/env python3
"""What floods do to the daemon, at a commit and now, side by side: `make test-flood`.

Three things: rows of TELEGEN_JOB at once, sessions of ours that orchagent does not remove, and REST overrun.
Redis and this program have a core of their own where the machine has two. Without a commit to compare with, only the
tree as it is is measured.
"""

import argparse
import datetime
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts" / "flood"))

import rest  # noqa: E402
from builds import COMPARED, build  # noqa: E402
from switch import Switch, wait  # noqa: E402


def in_future(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()


class Session(threading.Thread):
    """When a session was gone from both databases, as time goes for people."""

    def __init__(self, switch, name):
        super().__init__(daemon=True)
        self.switch, self.name, self.gone, self.over = switch, name, None, threading.Event()

    def run(self):
        keys = ((4, f"MIRROR_SESSION|{self.name}"), (6, f"MIRROR_SESSION_TABLE|{self.name}"))
        while not self.over.wait(0.02):
            if all(self.switch.redis(database, "EXISTS", key) == "0" for database, key in keys):
                self.gone = datetime.datetime.now(datetime.timezone.utc)
                return


def flood(count, prefix, end):
    """The commands that write this many rows."""
    row = "port Ethernet{} expires_at {}"
    return "".join(f"HSET TELEGEN_JOB|{prefix}{n} {row.format(n % 32 * 4, end)}\n" for n in range(count))


def rows_at_once(binaries, count, limit):
    """A running job of 20 s, and this many rows beside it, the first of them three seconds before it ends."""
    with tempfile.TemporaryDirectory() as folder, Switch(binaries, folder, apart=True) as switch:
        end = in_future(7200)
        base = int(switch.redis(4, "DBSIZE"))
        switch.redis(4, "HSET", "TELEGEN_JOB|runs", "port", "Ethernet0", "duration", "20", "expires_at", end)
        wait(lambda: switch.status("runs") == "running", 20)
        started = datetime.datetime.fromisoformat(switch.field("TELEGEN_JOB_TABLE|runs", "started_at"))
        if switch.redis(6, "EXISTS", "MIRROR_SESSION_TABLE|telegen_runs") != "1":
            raise RuntimeError("the job has no session")
        session = Session(switch, "telegen_runs")
        session.start()
        rows = flood(count, "f", end)
        since = datetime.datetime.now(datetime.timezone.utc) - started
        time.sleep(max(0.0, 17 - since.total_seconds()))
        late = [0.0]
        begin = time.monotonic()
        switch.redis(4, stdin=rows)
        written = time.monotonic() - begin

        def answered():
            beat = switch.field("TELEGEN_DAEMON_TABLE|localhost", "heartbeat")
            age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(beat)
            late.append(max(0.0, age.total_seconds() - 5))
            left = int(switch.redis(4, "DBSIZE"))
            return left < base + 20

        taken = wait(answered, limit)
        # From the first row on: they are answered while they are written.
        taken = taken and taken + written
        wait(lambda: switch.status("runs") == "done", 60)
        session.join(60)
        session.over.set()
        ended = switch.field("TELEGEN_JOB_TABLE|runs", "ended_at")
        ran = ended and round((datetime.datetime.fromisoformat(ended) - started).total_seconds(), 2)
        gone = session.gone and round((session.gone - started).total_seconds() - 20, 2)
        figures = {
            "answered in s": round(taken, 1) if taken else f"not within {limit}",
            "rows a second": taken and round(count / max(taken, 0.001)),
            "heartbeat late by s": round(max(late), 1),
            "job of 20 s ran for s": ran or "not over 60 s later",
            "session gone after its end by s": gone if gone is not None else "not 60 s later",
            "peak RSS in MB": round(switch.rss("VmHWM")),
        }
        # Again, as many; and the daemon is stopped in the middle of it.
        writing = threading.Thread(target=switch.redis, args=(4,), kwargs={"stdin": flood(count, "g", end)})
        writing.start()
        time.sleep(0.3)
        figures["SIGTERM in the flood in s"] = switch.terminate(60)
        writing.join()
        figures |= restarted(switch, end)
        return figures


def restarted(switch, end):
    """The daemon is started with what rows there are, and a new job comes."""
    figures = {"rows at restart": int(switch.redis(4, "DBSIZE"))}
    ready = switch.start()
    figures["ready after s"] = round(ready, 1) if ready is not None else "not within 60"
    switch.redis(4, "HSET", "TELEGEN_JOB|fresh", "port", "Ethernet8", "expires_at", end)

    def taken_up():
        said = switch.status("fresh")
        return said or switch.redis(4, "EXISTS", "TELEGEN_JOB|fresh") == "0"

    taken = wait(taken_up, 120, 0.02)
    figures["then a new job is taken up in s"] = round(taken, 1) if taken is not None else "not within 120"
    figures["peak RSS after restart in MB"] = round(switch.rss("VmHWM"))
    figures["SIGTERM after it in s"] = switch.terminate(60)
    return figures


def stuck_sessions(binaries, seconds):
    """Ten sessions of ours that orchagent, which is dead, does not remove."""
    with tempfile.TemporaryDirectory() as folder, Switch(binaries, folder, apart=True) as switch:
        switch.lab("fault", "dead")
        for number in range(10):
            switch.redis(6, "HSET", f"MIRROR_SESSION_TABLE|telegen_s{number}", "status", "active")
        before = (switch.commands(), switch.cpu(), switch.rss(), switch.lines())
        time.sleep(seconds)
        after = (switch.commands(), switch.cpu(), switch.rss(), switch.lines())
        commands, cpu, rss, lines = (new - old for new, old in zip(after, before, strict=True))
        return {
            "Redis commands a second": round(commands / seconds, 1),
            "log lines a minute": round(lines * 60 / seconds, 1),
            "CPU in %": round(100 * cpu / seconds, 2),
            "RSS grew by MB": round(rss, 1),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", default=COMPARED, help="a commit; empty: none")
    parser.add_argument("--rows", default="1000,10000,100000")
    parser.add_argument("--seconds", type=int, default=600, help="how long the stuck sessions are watched")
    parser.add_argument("--limit", type=int, default=300, help="seconds for the rows to be answered")
    parser.add_argument("--rest", type=int, default=60, help="seconds after REST was overrun; 0: not at all")
    parser.add_argument("--binaries", type=Path, help="measure these instead of building")
    arguments = parser.parse_args()
    trees = [("now", arguments.binaries or build(""))]
    if arguments.against:
        trees.insert(0, (arguments.against, build(arguments.against)))
    for count in [int(word) for word in arguments.rows.split(",") if word]:
        for name, binaries in trees:
            print(f"{count} rows, {name}:", rows_at_once(binaries, count, arguments.limit), flush=True)
    for name, binaries in trees:
        if arguments.seconds:
            print(f"10 stuck sessions, {name}:", stuck_sessions(binaries, arguments.seconds), flush=True)
    for name, binaries in trees:
        if arguments.rest:
            print(f"REST overrun, {name}:", rest.on_a_lab(binaries, arguments.rest), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
