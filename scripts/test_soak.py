#!/usr/bin/env python3
"""Soaks the release build on a virtual switch: random jobs and random faults, and each job must have a right outcome.

    SECONDS=3600 SEED=1 scripts/test_soak.py       as root, with target/venv's python; `make test-soak` builds before

For SECONDS it starts jobs through all doors, sends traffic, and disturbs the switch; then it calms down for about two
minutes, and the daemon must take what it took before. The same seed makes the same choices, though not at the same
instants. What is right stands in soak_judge.py. Exit code 1 if anything is wrong.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter

from soak_judge import GONE_SEC, KINDS, Disturbance, Job, Sent, instant
from soak_switch import APPL, BIN, CONFIG, STATE, Switch

PORTS = 16
# The last two ports are the pool. These are the singles, the members of port channels, the destination of other
# people's sessions, and the port that is removed now and then.
SINGLES = [f"Ethernet{4 * index}" for index in range(7)]
CHANNELS = {"PortChannel1": ["Ethernet32", "Ethernet36"], "PortChannel10": ["Ethernet40", "Ethernet44"]}
THEIR_DESTINATION, REMOVED = "Ethernet28", "Ethernet48"
QUEUE_TTL, MAX_QUEUE, MAX_SESSIONS = 15, 1, 2
TICK_SEC, READ_SEC, LINE_SEC, AUDIT_SEC = 0.1, 10, 60, 5
# How long something may be other than it should be without an excuse: the daemon lists all every 30 s.
PERSISTS_SEC = 40
CALM_SEC = 60
# The daemon remembers 256 finished jobs (FINISHED_MAX), whose rows, results and flows take some 10 to 20 KiB each, and
# the allocator keeps what it has had; the first calm reading was made after three jobs.
RSS_MORE_KIB = 8 * 1024
CPU_IDLE = 0.01
# Redis' commands, the lab's port counters included, beside those of the first calm reading.
COMMANDS_MORE = 5.0
# By this part of the run each disturbance has been drawn by chance, or is now; and after this part the daemon stays.
DRAWN_AFTER, RESTARTS_UNTIL = 0.2, 0.4
FINDINGS_MAX = 40
# Changes the duration of a row that is there: HSET would make one.
CHANGE = """
if redis.call('exists', KEYS[1]) == 0 then return -1 end
return redis.call('hset', KEYS[1], 'duration', ARGV[1])
"""


class Soak:
    """One run."""

    def __init__(self, switch, seed, seconds):
        self.switch, self.seconds = switch, seconds
        self.random = random.Random(seed)  # noqa: S311
        self.jobs, self.live, self.number = [], {}, 0
        self.sends, self.disturbances = [], []
        self.theirs, self.spoiled, self.undo = {}, set(), []
        self.findings, self.counts, self.faults, self.sharp = [], Counter(), Counter(), Counter()
        self.suspects, self.audits, self.deck = {}, 0, []
        self.readings, self.calm = [], None
        self.peers = {name: switch.names[index ^ 1] for index, name in enumerate(switch.names)}
        self.next_read = self.next_line = self.next_audit = 0
        self.quiet_until = 0
        self.began = time.monotonic()

    # What is found.

    def find(self, line):
        if len(self.findings) < FINDINGS_MAX:
            print(f"WRONG at {self.age():.1f} s: {line}", flush=True)
        self.findings.append(line)

    def age(self):
        return time.monotonic() - self.began

    # Disturbances.

    def disturb(self, kind, seconds=0, ports=(), undo=None, sides=(0, 1)):
        """Notes a disturbance, which `undo` ends after these seconds; one without is over at once."""
        one = Disturbance(kind, time.monotonic(), frozenset(ports), sides=frozenset(sides))
        self.disturbances.append(one)
        self.faults[kind] += 1
        if undo is None:
            one.ended = one.began
        else:
            self.undo.append((one.began + seconds, undo, one))
        return one

    def run_undo(self, everything=False):
        now = time.monotonic()
        due = [entry for entry in self.undo if everything or entry[0] <= now]
        self.undo = [entry for entry in self.undo if entry not in due]
        for _, undo, one in due:
            undo()
            one.ended = time.monotonic()

    # The doors.

    def next_id(self):
        self.number += 1
        return f"s{self.number}"

    def start_job(self):
        rng = self.random
        method = rng.choices(["span", "erspan", "none"], [5, 4, 1])[0]
        direction = rng.choices(["ingress", "egress", "both"], [6, 1, 1])[0]
        duration = rng.randint(2, 30)
        names, channel = self.some_ports(method)
        fields = {"port": ",".join(names), "direction": direction, "span_method": method, "duration": str(duration)}
        fields["sample_rate"] = rng.choice(["1", "1", "1", "10"])
        sampled = method == "erspan" and rng.random() < 0.25
        if sampled:
            fields |= rng.choice([{"mirror_sample_rate": "4"}, {"mirror_truncate": "128"}])
        if rng.random() < 0.2:
            fields["result_detail"] = "summary"
        wrong = self.spoil(fields) if rng.random() < 0.08 else ""
        door = rng.choices(["whole", "fields", "cli", "rest", "appl"], [4, 2, 2, 2, 2])[0]
        ports = frozenset(port for name in names for port in self.members(name))
        now = time.monotonic()
        job = Job(self.next_id(), door, ports, method, direction, duration, now, wrong)
        job.sampled, job.channel, job.whole = sampled, channel, door != "fields"
        others = list(self.live.values())
        job.crowd = len(others)
        job.shares = any(job.meets(other) for other in others)
        for other in others:
            other.crowd += 1
            other.shares = other.shares or other.meets(job)
        self.live[job.id] = job
        self.jobs.append(job)
        getattr(self, f"by_{door}")(job, fields)

    def some_ports(self, method):
        rng = self.random
        if method != "none" and rng.random() < 0.2:
            return [rng.choice(list(CHANNELS))], True
        if method != "none" and rng.random() < 0.06:
            return [REMOVED], False
        count = 1 if method == "none" else rng.choices([1, 2, 3], [6, 3, 1])[0]
        return rng.sample(SINGLES, count), False

    def members(self, name):
        """A port channel by its members of now, which others may have had a moment ago: all that it can have."""
        return CHANNELS.get(name, [name])

    def spoil(self, fields):
        """Makes a row invalid; the reason that it must be refused with."""
        field, value, reason = self.random.choice(
            [
                ("port", "Ethernet3", "unknown_port"),
                ("port", None, "missing_field"),
                ("duration", "0", "invalid_field"),
                ("direction", "sideways", "invalid_field"),
                ("sample_rate", "-1", "invalid_field"),
                ("l4_dport@", "70000", "invalid_field"),
                ("vlan", "5000", "invalid_field"),
            ]
        )
        if value is None:
            del fields[field]
        else:
            fields[field] = value
        return reason

    def by_whole(self, job, fields):
        expires = time.time() + 600
        if not job.wrong and self.random.random() < 0.1:
            expires = time.time() + job.duration + self.random.uniform(-1, 1)
        words = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(expires)) + f".{int(expires * 1000) % 1000:03}Z"
        self.switch.db[CONFIG].hset(f"TELEGEN_JOB|{job.id}", mapping={**fields, "expires_at": words})

    def by_fields(self, job, fields):
        for field, value in self.random.sample(sorted(fields.items()), len(fields)):
            self.switch.db[CONFIG].hset(f"TELEGEN_JOB|{job.id}", field, value)
            time.sleep(self.random.uniform(0, 0.03))
        job.written = time.monotonic()

    def by_cli(self, job, fields):
        if "port" not in fields:
            fields["port"], job.wrong = "Ethernet3", "unknown_port"
        words = ["start", fields.pop("port"), "--id", job.id]
        for field, value in fields.items():
            name = {"result_detail": "detail"}.get(field, field.replace("_", "-"))
            words += ["--filter", f"l4_dport={value}"] if field == "l4_dport@" else [f"--{name}={value}"]
        job.command = self.switch.cli(*words)

    def by_rest(self, job, fields):
        body = {"job_id": job.id}
        for field, value in fields.items():
            if field == "l4_dport@":
                body["filters"] = {"l4_dport": [value]}
            elif field == "vlan":
                body["filters"] = {"vlan": int(value)}
            else:
                number = field not in ("port", "direction", "span_method", "result_detail")
                body["duration_sec" if field == "duration" else field] = int(value) if number else value
        job.command = self.switch.curl("POST", "/v1/monitor/jobs", body)

    def by_appl(self, job, fields):
        pipeline = self.switch.db[APPL].pipeline()
        pipeline.hset(f"_TELEGEN_JOB_TABLE:{job.id}", mapping=fields)
        pipeline.sadd("TELEGEN_JOB_TABLE_KEY_SET", job.id)
        pipeline.publish("TELEGEN_JOB_TABLE_CHANNEL@0", "G")
        pipeline.execute()

    # What is done to jobs.

    def some_job(self):
        """A job that is taken up and has some time left."""
        now = time.monotonic()
        chosen = [job for job in self.live.values() if job.running and job.stopped is None]
        chosen = [job for job in chosen if job.time_left(now) > 4]
        return self.random.choice(chosen) if chosen else None

    def stop_job(self):
        chosen = [job for job in self.live.values() if job.stopped is None]
        if self.random.random() < 0.8:
            # What is sent while a job ends tells little about its count.
            sent = {port for one in self.sends if one.ended is None for port in (one.port, self.peers[one.port])}
            chosen = [job for job in chosen if not job.ports & sent]
        if not chosen:
            return
        job = self.random.choice(chosen)
        if job.first_seen is None and job.door in ("cli", "rest"):
            return
        job.stopped = time.monotonic()
        door = self.random.choice(["own", "cli", "rest"])
        if door == "cli":
            self.switch.cli("stop", job.id)
        elif door == "rest":
            self.switch.curl("DELETE", f"/v1/monitor/jobs/{job.id}")
        elif job.door == "appl":
            pipeline = self.switch.db[APPL].pipeline()
            pipeline.sadd("TELEGEN_JOB_TABLE_KEY_SET", job.id)
            pipeline.sadd("TELEGEN_JOB_TABLE_DEL_SET", job.id)
            pipeline.delete(f"_TELEGEN_JOB_TABLE:{job.id}")
            pipeline.publish("TELEGEN_JOB_TABLE_CHANNEL@0", "G")
            pipeline.execute()
        else:
            self.switch.db[CONFIG].delete(f"TELEGEN_JOB|{job.id}")

    def change_duration(self):
        job = self.some_job()
        if job is None or job.door == "appl" or job.changed is not None:
            return
        seconds = self.random.randint(max(2, int(time.monotonic() - job.running) + 3), 35)
        if self.switch.db[CONFIG].eval(CHANGE, 1, f"TELEGEN_JOB|{job.id}", seconds) != -1:
            job.changed = seconds

    def duplicate(self):
        """The id of a running job once more, through another door: the job goes on."""
        job = self.some_job()
        if job is None or job.duration > 30:
            return
        if self.random.random() < 0.5:
            self.switch.cli("start", self.random.choice(SINGLES), "--id", job.id)
        elif job.door != "appl":
            self.by_appl(job, {"port": self.random.choice(SINGLES)})

    def traffic(self):
        if sum(sent.ended is None for sent in self.sends) >= 2:
            return
        rng = self.random
        now = time.monotonic()
        running = [job for job in self.live.values() if job.running and job.time_left(now) > 2]
        count, pps = rng.randint(20, 800), rng.choice([200, 400, 800])
        port = rng.choice(SINGLES)
        if running and rng.random() < 0.9:
            job = rng.choice(running)
            port = rng.choice(sorted(job.ports))
            # An egress job counts what enters at the other end.
            if job.direction == "egress" or (job.direction == "both" and rng.random() < 0.5):
                port = self.peers[port]
            if rng.random() < 0.8:
                # All of it is on the wire before the job ends: then its count is known.
                count = min(count, int(pps * (job.time_left(now) - 1.5)))
        if REMOVED in (port, self.peers[port]):
            return
        sent = Sent(port, time.monotonic(), most=count)
        sent.command = self.switch.send(port, count, pps, rng.randint(1, 1 << 30))
        self.sends.append(sent)

    # What is done to the switch.

    def orchagent_fault(self):
        if any(entry[2].kind in FAULTS for entry in self.undo):
            return
        rng = self.random
        if not self.deck:
            # As cards are dealt: each comes as often as it is in the deck, however few are drawn.
            self.deck = [kind for kind, (copies, _, _) in FAULTS.items() for _ in range(copies)]
            rng.shuffle(self.deck)
        kind = self.deck.pop()
        _, words, longest = FAULTS[kind]
        words = [
            word.replace("MS", str(rng.choice([50, 300, 1500]))).replace("N", str(rng.randint(0, 2))) for word in words
        ]
        seconds = rng.uniform(longest / 4, longest)
        one = self.disturb(kind, seconds, undo=lambda: self.switch.fault("clear"))
        one.began -= 0.2
        self.switch.fault(*words)

    def lose(self):
        self.disturb("lose")
        self.switch.fault("lose")

    def pubsub(self):
        # The real orchagent ends with its connections, and its container with it; the lab's keeps what STATE_DB has.
        self.disturb("pubsub", 4, undo=self.restart_swss)
        self.switch.db[STATE].execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    def restart_swss(self):
        self.disturb("restart")
        self.switch.fault("restart")

    def flush(self):
        """FLUSHDB of STATE_DB; what others have there is there again at once, but not the rows of our sessions."""
        raw = self.switch.raw_state
        keep = [key for key in raw.keys("*") if not key.startswith((b"TELEGEN_", b"MIRROR_SESSION_TABLE|telegen_"))]
        dumped = [(key, raw.dump(key)) for key in keep]
        self.disturb("flush")
        pipeline = raw.pipeline()
        pipeline.flushdb()
        for key, value in dumped:
            if value is not None:
                pipeline.restore(key, 0, value)
        pipeline.execute()

    def drain(self):
        self.spoiled |= set(self.theirs)
        one = self.disturb("drain")
        one.ended, one.command = None, self.switch.cli("drain")

    def members_change(self):
        """A member leaves its port channel, and joins it again later."""
        name = self.random.choice(list(CHANNELS))
        port = CHANNELS[name][1]
        key = f"PORTCHANNEL_MEMBER|{name}|{port}"
        if not self.switch.db[CONFIG].exists(key):
            return
        back = lambda: self.switch.db[CONFIG].hset(key, "NULL", "NULL")  # noqa: E731
        self.disturb("members", self.random.uniform(2, 25), CHANNELS[name], back)
        self.switch.db[CONFIG].delete(key)

    def foreign(self):
        """Somebody else's session, over a job's port or elsewhere."""
        if self.theirs:
            return
        rng = self.random
        ours = [port for job in self.live.values() if job.running and job.method != "none" for port in job.ports]
        over = ours and rng.random() < 0.6
        port = rng.choice(ours) if over else rng.choice(SINGLES)
        if port == REMOVED:
            return
        name = f"theirs{self.number}"
        row = {
            "type": "SPAN",
            "src_port": port,
            "dst_port": THEIR_DESTINATION,
            "direction": rng.choice(["RX", "TX", "BOTH"]),
        }
        key = f"MIRROR_SESSION|{name}"

        def remove():
            self.theirs.pop(name, None)
            self.spoiled.discard(name)
            self.switch.db[CONFIG].delete(key)
            kept.ended = time.monotonic()

        seconds = rng.uniform(3, 40)
        sides = {"RX": [0], "TX": [1], "BOTH": [0, 1]}[row["direction"]]
        self.disturb("foreign", seconds, [port], remove, sides)
        kept = Disturbance("kept", time.monotonic())
        self.disturbances.append(kept)
        # Its arrival and the end of our own session may cross: then nobody can tell whose deletion unbinds the port.
        if any(job.ports & {port} and job.over and job.over > time.monotonic() - 2 for job in self.jobs[-12:]):
            self.spoiled.add(name)
        self.switch.db[CONFIG].hset(key, mapping=row)
        self.theirs[name] = row

    def sflow(self):
        port = self.random.choice(SINGLES)
        key = f"SFLOW_SESSION_TABLE:{port}"
        row = {
            "admin_state": "up",
            "sample_rate": "100000",
            "sample_direction": self.random.choice(["rx", "tx", "both"]),
        }
        if self.switch.db[APPL].exists(key):
            return
        self.disturb("sflow", self.random.uniform(5, 30), [port], lambda: self.switch.db[APPL].delete(key))
        self.switch.db[APPL].hset("SFLOW_TABLE:global", "admin_state", "up")
        self.switch.db[APPL].hset(key, mapping=row)

    def stray(self):
        """A row of STATE_DB that nobody asked for, and that orchagent does not remove."""
        keys = [
            f"MIRROR_SESSION_TABLE|telegen_stray{self.random.randint(0, 99)}" for _ in range(self.random.randint(1, 3))
        ]
        self.disturb("stray", self.random.uniform(5, 60), undo=lambda: self.switch.db[STATE].delete(*keys))
        for key in keys:
            self.switch.db[STATE].hset(key, "status", "active")

    def idle_rest(self):
        held = []
        for _ in range(self.random.randint(1, 40)):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(1)
            with contextlib.suppress(OSError):
                connection.connect(self.switch.rest)
                held.append(connection)
        self.switch.held += held

        def close():
            for connection in held:
                connection.close()
                self.switch.held.remove(connection)

        self.disturb("rest", self.random.uniform(3, 40), undo=close)

    def port_goes(self):
        """A port is removed and comes back; what held it meanwhile is freed by a restart of orchagent."""
        key = f"PORT|{REMOVED}"
        row = self.switch.db[CONFIG].hgetall(key)
        if not row:
            return

        def back():
            self.switch.db[CONFIG].hset(key, mapping=row)
            time.sleep(0.5)
            self.restart_swss()

        self.disturb("port", self.random.uniform(3, 10), [REMOVED], back)
        self.switch.db[CONFIG].delete(key)

    def restart_daemon(self):
        kind = self.random.choice(
            [kind for kind in ("sigkill", "sigterm") if not self.faults[kind]] or ["sigkill", "sigterm"]
        )
        one = self.disturb(kind)
        one.ended = None
        took = self.switch.stop_daemon(getattr(signal, kind.upper()))
        if took > 6:
            self.find(f"the daemon took {took:.1f} s to end by {kind}")
        self.report_calm("until it was ended")
        away = self.random.uniform(0, 3)
        time.sleep(away)
        self.switch.start_daemon()
        one.ended = time.monotonic()
        self.calm = None
        self.quiet_until = time.monotonic() + 45

    # Looking.

    def look_at_jobs(self):
        if not self.live:
            return
        pipeline = self.switch.db[STATE].pipeline(transaction=False)
        jobs = list(self.live.values())
        for job in jobs:
            pipeline.hgetall(f"TELEGEN_JOB_TABLE|{job.id}")
            pipeline.hgetall(f"TELEGEN_RESULT_TABLE|{job.id}")
        answers = pipeline.execute()
        for job in jobs:
            expires = job.expires or self.switch.db[CONFIG].hget(f"TELEGEN_JOB|{job.id}", "expires_at")
            if isinstance(expires, str):
                job.expires = instant(expires).timestamp() + time.monotonic() - time.time()
        for job, row, results in zip(jobs, answers[::2], answers[1::2], strict=True):
            job.results = results or job.results
            if job.note(row) or self.is_withdrawn(job):
                self.job_is_over(job)

    def is_withdrawn(self, job):
        """Whether the job had no chance to have a row in STATE_DB, or is too late."""
        now = time.monotonic()
        if job.command is not None and job.command.is_over() and job.first_seen is None:
            if now > job.command.ended + 3 and not self.has_row(job):
                job.over = now
                return True
        if job.stopped is not None and job.first_seen is None and now > job.stopped + 3 and not self.has_row(job):
            job.over = now
            return True
        kinds = job.concerned(self.disturbances)
        # Who drains takes rows away that nobody has taken up yet, and FLUSHDB what was said of them.
        if kinds & {"drain", "flush"} and not job.row and now > job.written + 3 and not self.has_row(job):
            job.over = now
            return True
        if now > job.deadline(kinds, QUEUE_TTL):
            job.findings.append(
                f"is not over {now - job.deadline(kinds, QUEUE_TTL):.1f} s after its time: {job.row or 'no row'}"
            )
            job.over = now
            return True
        return False

    def has_row(self, job):
        keys = [f"TELEGEN_JOB_TABLE:{job.id}", f"_TELEGEN_JOB_TABLE:{job.id}"]
        return self.switch.db[CONFIG].exists(f"TELEGEN_JOB|{job.id}") or self.switch.db[APPL].exists(*keys)

    def job_is_over(self, job):
        del self.live[job.id]
        self.pending = getattr(self, "pending", [])
        # Judged a little later: `send` has said by then what it has sent, and what goes has gone.
        self.pending.append((time.monotonic() + GONE_SEC, job))

    def judge_due(self, everything=False):
        now = time.monotonic()
        pending = getattr(self, "pending", [])
        due = [job for at, job in pending if at <= now or everything]
        self.pending = [entry for entry in pending if entry[1] not in due]
        for job in due:
            for line in job.judge(self.disturbances, self.sends, self.peers, MAX_SESSIONS, QUEUE_TTL):
                self.find(line)
            self.counts["/".join(job.outcome or ("none", "")).rstrip("/")] += 1
            for word, found in zip(("small", "large"), job.sharp, strict=True):
                if found is not None:
                    self.sharp[word, found] += 1
            if not job.may_leave(self.disturbances):
                self.judge_rows(job)

    def judge_rows(self, job):
        """Nothing of a job is there 5 s after its end, if nothing kept it."""
        config, state = self.switch.db[CONFIG], self.switch.db[STATE]
        if self.has_row(job):
            self.find(f"job {job.id}: its row is there 5 s after its end")
        for name in (f"telegen_{job.id}", f"telegen__2_{job.id}"):
            if config.exists(f"MIRROR_SESSION|{name}") or state.exists(f"MIRROR_SESSION_TABLE|{name}"):
                self.find(f"job {job.id}: its session {name} is there 5 s after its end")

    def look_at_sends(self):
        for sent in self.sends:
            if sent.ended is None and sent.command.is_over():
                sent.ended = sent.command.ended
                code, out, err = sent.command.said()
                if code == 0:
                    sent.packets = int(out.split('"packets":', 1)[1].split(",", 1)[0])
                else:
                    self.find(f"telegen-lab send {sent.port}: {err}")

    def audit(self):
        """What disagrees for long, and without an excuse, is wrong."""
        now = time.monotonic()
        tails = {kind: facts.excuses for kind, facts in KINDS.items() if facts.excuses is not None}
        if any(one.kind in tails and one.covers(now, now, tails[one.kind]) for one in self.disturbances):
            self.suspects.clear()
            return
        self.audits += 1
        live = set(self.live) | {f"stray{number}" for number in range(100)} | {"probe"}
        found = self.switch.disagreements(self.theirs, live, self.spoiled)
        self.suspects = {line: self.suspects.get(line, now) for line in found}
        for line, since in self.suspects.items():
            if now - since > PERSISTS_SEC:
                self.find(f"for {now - since:.0f} s: {line}")
                self.suspects[line] = float("inf")

    def read(self):
        if self.switch.daemon.poll() is not None:
            raise RuntimeError(f"the daemon has ended by itself: {self.switch.daemon.returncode}")
        reading = self.switch.reading()
        self.readings.append(reading)
        return reading

    def line(self):
        last = self.readings[-1]
        past = next(
            (one for one in reversed(self.readings[:-1]) if last.at - one.at >= LINE_SEC - READ_SEC), self.readings[0]
        )
        seconds = max(last.at - past.at, 1)
        in_force = sorted({entry[2].kind for entry in self.undo})
        print(
            f"{self.age():6.0f} s  jobs {len(self.jobs)} ({len(self.live)} live)  RSS {last.rss_kib} KiB  "
            f"fds {last.fds}  threads {last.threads}  "
            f"CPU {max(0, last.cpu_sec - past.cpu_sec):.2f} s of {seconds:.0f} s  "
            f"Redis {(last.commands - past.commands) / seconds:.0f}/s  wrong {len(self.findings)}  "
            + " ".join(in_force),
            flush=True,
        )

    # The course of a run.

    def prepare(self):
        config = self.switch.db[CONFIG]
        settings = {"max_queue": MAX_QUEUE, "queue_ttl": QUEUE_TTL, "max_sessions": MAX_SESSIONS}
        config.hset("TELEGEN|global", mapping=settings)
        for name, members in CHANNELS.items():
            config.hset(f"PORTCHANNEL|{name}", "admin_status", "up")
            for port in members:
                config.hset(f"PORTCHANNEL_MEMBER|{name}|{port}", "NULL", "NULL")
        self.switch.start_daemon()
        self.first_calm()

    def first_calm(self):
        """The first calm reading of a daemon: after jobs of each kind and one by REST, so that it has what it keeps."""
        # An earlier daemon's outcomes are remembered by their names.
        name = f"warm{len(self.readings)}"
        for number, method in enumerate(["span", "erspan", "none"]):
            key, end = (
                f"TELEGEN_JOB|{name}-{number}",
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60)),
            )
            row = {"port": SINGLES[0], "duration": 2, "span_method": method, "expires_at": end}
            self.switch.db[CONFIG].hset(key, mapping=row)
            self.tend(lambda key=key: not self.switch.db[CONFIG].exists(key), 90)
        warm = Job(f"{name}-3", "appl", frozenset(), "span", "ingress", 2, time.monotonic())
        self.by_appl(warm, {"port": SINGLES[0], "duration": "2"})
        self.tend(lambda: self.switch.db[STATE].hget(f"TELEGEN_JOB_TABLE|{name}-3", "status") == "done", 30)
        body = {"job_id": name, "port": SINGLES[0], "duration_sec": 60}
        for method, path in [("POST", ""), ("GET", ""), ("GET", f"/{name}/results"), ("DELETE", f"/{name}")]:
            asked = self.switch.curl(method, f"/v1/monitor/jobs{path}", body if method == "POST" else None)
            self.tend(asked.is_over, 60)
        # Threads that wait for more work of their kind end after 10 s.
        self.tend(lambda: False, 15)
        self.calm = self.calm_reading("first")
        self.calm_threads, self.calm_descriptors = self.switch.threads(), self.switch.descriptors()

    def calm_reading(self, which):
        """What the daemon takes; what it does every 30 s needs a thread for 10 s, which does not count."""
        past = [one for one in self.readings if one.at > time.monotonic() - 2.5 * READ_SEC]
        before = self.read()
        time.sleep(READ_SEC)
        after = self.read()
        after = after._replace(threads=min(one.threads for one in [*past, before, after]))
        seconds = after.at - before.at
        cpu, rate = (after.cpu_sec - before.cpu_sec) / seconds, (after.commands - before.commands) / seconds
        print(
            f"{self.age():6.0f} s  {which} calm reading: RSS {after.rss_kib} KiB, fds {after.fds}, "
            f"threads {after.threads}, CPU {100 * cpu:.2f} %, Redis {rate:.1f}/s",
            flush=True,
        )
        return after, cpu, rate

    def report_calm(self, why):
        if self.calm:
            print(f"{self.age():6.0f} s  the daemon's readings end here, {why}; a new baseline follows", flush=True)

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
        self.run_undo()
        self.look_at_sends()
        self.look_at_jobs()
        self.judge_due()
        for line in self.switch.reap():
            self.find(line)
        for one in self.disturbances:
            if one.kind == "drain" and one.ended is None and one.command.is_over():
                one.ended = time.monotonic()
        if now >= self.next_read:
            self.next_read = now + READ_SEC
            self.read()
        if now >= self.next_audit:
            self.next_audit = now + AUDIT_SEC
            self.audit()
        if now >= self.next_line and self.readings:
            self.next_line = now + LINE_SEC
            self.line()

    def run(self):
        self.prepare()
        end = time.monotonic() + self.seconds
        at = time.monotonic()
        while time.monotonic() < end:
            self.tick()
            if self.calm is None:
                self.tend(lambda: not self.live, 120)
                self.run_undo(everything=True)
                self.first_calm()
            if time.monotonic() >= at:
                at = time.monotonic() + self.random.expovariate(1.3)
                self.act()
        self.calm_down()

    def act(self):
        names, weights = zip(*ACTIONS.items(), strict=True)
        action = self.random.choices(names, weights)[0]
        missing = [kind for kind in CAUSES if not self.faults[kind]]
        if missing and time.monotonic() > self.began + DRAWN_AFTER * self.seconds and self.random.random() < 0.2:
            action = CAUSES[self.random.choice(missing)]
        # Not more than some are live: what waits for its turn, or is refused, tells little.
        if action == "start_job" and len(self.live) >= (4 if self.random.random() < 0.2 else 2):
            return
        # The last daemon lives so long that what it takes in the end tells something.
        if action == "restart_daemon" and time.monotonic() > self.began + RESTARTS_UNTIL * self.seconds:
            return
        getattr(self, action)()

    def calm_down(self):
        print(f"{self.age():6.0f} s  calming down", flush=True)
        self.run_undo(everything=True)
        self.switch.fault("clear")
        if not self.tend(lambda: not self.live, 240):
            self.find(f"jobs without an outcome: {sorted(self.live)}")
        self.tend(lambda: not self.pending, 30)
        for one in self.disturbances:
            one.ended = one.ended or time.monotonic()
        live = {"probe"}
        if not self.tend(lambda: not self.switch.disagreements({}, live), 120):
            for line in self.switch.disagreements({}, live):
                self.find(f"at the end: {line}")
        for number, pattern in [
            (CONFIG, "TELEGEN_JOB|*"),
            (APPL, "*TELEGEN_JOB_TABLE*"),
            (STATE, "MIRROR_SESSION_TABLE|telegen_*"),
        ]:
            left = self.switch.db[number].keys(pattern)
            if left:
                self.find(f"at the end there are {left}")
        self.tend(lambda: False, CALM_SEC - READ_SEC)
        self.tend(
            lambda: (self.switch.threads(), self.switch.descriptors()) == (self.calm_threads, self.calm_descriptors),
            CALM_SEC,
        )
        self.compare(self.calm, self.calm_reading("last"))

    def compare(self, first, last):
        (before, _, rate_before), (after, cpu, rate) = first, last
        if after.rss_kib > before.rss_kib + RSS_MORE_KIB:
            self.find(f"RSS is {after.rss_kib} KiB and was {before.rss_kib} KiB")
        for what, had, has in [
            ("threads", self.calm_threads, self.switch.threads()),
            ("descriptors", self.calm_descriptors, self.switch.descriptors()),
        ]:
            if has != had:
                less, more = (had - has), (has - had)
                self.find(f"{what} are other than they were: less {dict(less)}, more {dict(more)}")
        if cpu >= CPU_IDLE:
            self.find(f"the idle daemon takes {100 * cpu:.2f} % of a core")
        if rate > rate_before + COMMANDS_MORE:
            self.find(f"Redis has {rate:.1f} commands a second and had {rate_before:.1f}")

    def table(self):
        print("\njobs by outcome")
        for outcome, count in sorted(self.counts.items()):
            print(f"  {outcome:<32} {count:>6}")
        print(f"  {'all':<32} {sum(self.counts.values()):>6}\ndisturbances")
        for kind in CAUSES:
            print(f"  {kind:<32} {self.faults[kind]:>6}")
        print("a count that had been one too small or too large")
        for word in ("small", "large"):
            seen, unseen = self.sharp[word, True], self.sharp[word, False]
            print(f"  too {word:<28} {seen:>6} of {seen + unseen} would have been found")
        packets = sum(sent.packets for sent in self.sends)
        print(f"{self.audits} looks at rows and ASIC_DB; {len(self.sends)} sends, {packets} packets")
        if self.readings:
            print(f"readings ({len(self.readings)})            first        min        max       last")
            for name in ("rss_kib", "fds", "threads"):
                values = [getattr(one, name) for one in self.readings]
                cells = [values[0], min(values), max(values), values[-1]]
                print(f"  {name:<20}" + "".join(f"{value:>11}" for value in cells))
        print(f"{len(self.findings)} things are wrong" if self.findings else "nothing is wrong", flush=True)


# How many of ten, what words `telegen-lab fault` takes, and how long at the most.
FAULTS = {
    "reject": (1, ["reject"], 12),
    "inactive": (1, ["inactive"], 12),
    "unresolved": (1, ["unresolved"], 40),
    "slow": (1, ["slow", "MS"], 20),
    "dead": (3, ["dead"], 60),
    "sessions": (2, ["sessions", "N"], 15),
    "orchagent_ends": (1, ["sessions", "N", "--orchagent-ends"], 20),
}
ACTIONS = {
    "start_job": 40,
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
    "drain": 0.5,
    "pubsub": 0.3,
    "flush": 0.2,
    "port_goes": 0.2,
    "restart_daemon": 0.5,
}
# What each disturbance is drawn by; `kept` comes with `foreign`.
CAUSES = {
    **dict.fromkeys(FAULTS, "orchagent_fault"),
    **dict.fromkeys(["sigkill", "sigterm"], "restart_daemon"),
    **{"lose": "lose", "restart": "restart_swss", "members": "members_change", "foreign": "foreign", "sflow": "sflow"},
    **{
        "stray": "stray",
        "rest": "idle_rest",
        "drain": "drain",
        "pubsub": "pubsub",
        "flush": "flush",
        "port": "port_goes",
    },
}


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
        soak.run()
        wrong = bool(soak.findings)
    except KeyboardInterrupt as signalled:
        print(f"test_soak: interrupted {signalled}", flush=True)
    finally:
        # A second signal does not leave half of it behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if soak:
            soak.table()
        left = switch.end() if switch else []
        for line in left:
            print(f"WRONG: {line}")
        if wrong or left:
            print(f"test_soak: SEED={seed}; the daemon's last lines:")
            with open(f"{folder}/daemon.log", encoding="utf-8", errors="replace") as log:
                print("".join(log.readlines()[-15:]), end="")
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if wrong or left else 0)


if __name__ == "__main__":
    main()
