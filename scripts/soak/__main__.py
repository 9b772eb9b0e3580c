#!/usr/bin/env python3
"""Soaks the release build on a virtual switch: random jobs and random faults, and each job must have a right outcome.

    SECONDS=3600 SEED=1 scripts/soak       as root, with target/venv's python; `make test-soak` builds before

For SECONDS it starts jobs through all doors, sends traffic, and disturbs the switch; then it calms down for about two
minutes, and the daemon must take what it took before. The same seed makes the same choices, though not at the same
instants. What is right stands in judge.py. Exit code 1 if anything is wrong.
"""

import os
import shutil
import signal
import sys
import tempfile
import time

from doors import Doors
from faults import CAUSES, Faults
from looks import Looks
from readings import LINE_SEC, READ_SEC, Readings
from run import CHANNELS, MAX_QUEUE, MAX_SESSIONS, PORTS, QUEUE_TTL, RETENTION_SEC, Run
from switch import APPL, BIN, COLLECTOR, CONFIG, STATE, Switch

TICK_SEC, AUDIT_SEC = 0.1, 5
# By this part of the run each disturbance has been drawn by chance, or is now; and after this part the daemon stays.
DRAWN_AFTER, RESTARTS_UNTIL = 0.2, 0.4
ACTIONS = {
    "start_job": 60,
    "traffic": 40,
    "stop_job": 8,
    "change_duration": 5,
    "duplicate": 3,
    "orchagent_fault": 3.0,
    "lose": 0.3,
    "restart_swss": 0.3,
    "members_change": 1.5,
    "foreign": 2.0,
    "sflow": 1.5,
    "stray": 1.0,
    "idle_rest": 1.5,
    "collector_goes": 0.5,
    "drain": 0.5,
    "pubsub": 0.3,
    "flush": 0.2,
    "port_goes": 0.2,
    "restart_daemon": 0.5,
}


class Soak:
    """The course of a run."""

    def __init__(self, switch, seed, seconds):
        self.run = Run(switch, seed, seconds)
        self.doors, self.looks = Doors(self.run), Looks(self.run)
        self.readings = Readings(self.run, self.tend)
        self.faults = Faults(self.run, self.readings)
        self.next_read = self.next_line = self.next_audit = 0

    def prepare(self):
        config = self.run.switch.db[CONFIG]
        settings = {"max_queue": MAX_QUEUE, "queue_ttl": QUEUE_TTL, "max_sessions": MAX_SESSIONS}
        settings |= {"otlp_endpoint": f"http://{COLLECTOR}", "otlp_protocol": "http/protobuf"}
        # In the end nothing is remembered any more, as in the beginning.
        settings["result_retention"] = RETENTION_SEC
        config.hset("TELEGEN|global", mapping=settings)
        for name, members in CHANNELS.items():
            config.hset(f"PORTCHANNEL|{name}", "admin_status", "up")
            for port in members:
                config.hset(f"PORTCHANNEL_MEMBER|{name}|{port}", "NULL", "NULL")
        self.run.switch.start_collector()
        self.run.switch.start_daemon()
        self.readings.first_calm(self.doors)

    def tend(self, condition, seconds):
        """Looks at everything, and starts nothing, until the condition holds; whether it does."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            self.tick()
        return True

    def tick(self):
        time.sleep(TICK_SEC)
        now = time.monotonic()
        self.run.run_undo()
        self.looks.look_at_sends()
        self.looks.look_at_jobs()
        self.looks.judge_due()
        for line in self.run.switch.reap():
            self.run.find(line)
        for one in self.run.disturbances:
            if one.kind == "drain" and one.ended is None and one.command.is_over():
                one.ended = time.monotonic()
        if now >= self.next_read:
            self.next_read = now + READ_SEC
            self.readings.read()
        if now >= self.next_audit:
            self.next_audit = now + AUDIT_SEC
            self.looks.audit()
        if now >= self.next_line and self.readings.all:
            self.next_line = now + LINE_SEC
            self.readings.line()

    def go(self):
        self.prepare()
        end = time.monotonic() + self.run.seconds
        at = time.monotonic()
        while time.monotonic() < end:
            self.tick()
            if self.readings.calm is None:
                self.tend(lambda: not self.run.live, 120)
                self.run.run_undo(everything=True)
                self.readings.first_calm(self.doors)
            if time.monotonic() >= at:
                at = time.monotonic() + self.run.random.expovariate(1.3)
                self.act()
        self.calm_down()

    def act(self):
        names, weights = zip(*ACTIONS.items(), strict=True)
        action = self.run.random.choices(names, weights)[0]
        part = self.run.age() / self.run.seconds
        missing = [kind for kind in CAUSES if not self.run.faults[kind]]
        if missing and part > DRAWN_AFTER and self.run.random.random() < 0.2:
            action = CAUSES[self.run.random.choice(missing)]
        # Not more than some are live: what waits for its turn, or is refused, tells little.
        if action == "start_job" and len(self.run.live) >= (4 if self.run.random.random() < 0.3 else 2):
            return
        # The last daemon lives so long that what it takes in the end tells something.
        if action == "restart_daemon" and part > RESTARTS_UNTIL:
            return
        getattr(self.doors if hasattr(self.doors, action) else self.faults, action)()

    def calm_down(self):
        print(f"{self.run.age():6.0f} s  calming down", flush=True)
        self.run.run_undo(everything=True)
        self.run.switch.fault("clear")
        if not self.tend(lambda: not self.run.live, 240):
            self.run.find(f"jobs without an outcome: {sorted(self.run.live)}")
        self.tend(lambda: not self.looks.pending, 30)
        for one in self.run.disturbances:
            one.ended = one.ended or time.monotonic()
        live = {"probe"}
        if not self.tend(lambda: not self.run.switch.disagreements({}, live), 120):
            for line in self.run.switch.disagreements({}, live):
                self.run.find(f"at the end: {line}")
        self.tend(lambda: not self.run.switch.db[STATE].keys("TELEGEN_JOB_TABLE|*"), 2 * RETENTION_SEC)
        for number, pattern in [
            (CONFIG, "TELEGEN_JOB|*"),
            (APPL, "*TELEGEN_JOB_TABLE*"),
            (STATE, "MIRROR_SESSION_TABLE|telegen_*"),
            (STATE, "TELEGEN_JOB_TABLE|*"),
            (STATE, "TELEGEN_RESULT_TABLE|*"),
        ]:
            left = self.run.switch.db[number].keys(pattern)
            if left:
                self.run.find(f"at the end there are {left}")
        self.readings.last_calm()


def interrupted(number, _frame):
    raise KeyboardInterrupt(signal.Signals(number).name)


def main():
    seconds = int(os.environ.get("SECONDS", "3600"))
    seed = int(os.environ.get("SEED") or time.time_ns() % 1_000_000)
    print(f"test_soak: SECONDS={seconds} SEED={seed}", flush=True)
    if os.geteuid() != 0:
        sys.exit("test_soak: needs root: it makes network namespaces and loads BPF programs")
    for name in ("telegen-sonic", "telegen-lab"):
        if not (BIN / name).exists():
            sys.exit(f"test_soak: {BIN / name} is not there; make build")
    signal.signal(signal.SIGTERM, interrupted)
    folder = tempfile.mkdtemp(prefix="telegen-soak-")
    switch = soak = None
    wrong = True
    try:
        switch = Switch(folder, PORTS)
        soak = Soak(switch, seed, seconds)
        soak.go()
        wrong = bool(soak.run.findings)
    except KeyboardInterrupt as signalled:
        print(f"test_soak: interrupted {signalled}", flush=True)
    finally:
        # A second signal does not leave half of it behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if soak:
            soak.readings.table(soak.looks)
        left = switch.end() if switch else []
        for line in left:
            print(f"WRONG: {line}")
        if wrong or left:
            print(f"test_soak: SEED={seed}; the daemon's last lines:")
            log = f"{folder}/daemon.log"
            with open(log, encoding="utf-8", errors="replace") as lines:
                print("".join(lines.readlines()[-15:]), end="")
            kept = f"{tempfile.gettempdir()}/telegen-soak-{seed}.log"
            print(f"test_soak: all of them are in {shutil.copyfile(log, kept)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if wrong or left else 0)


if __name__ == "__main__":
    main()
