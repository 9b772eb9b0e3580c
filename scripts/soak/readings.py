"""What the daemon takes: at the first calm moment, on the way, and at the last one; and what a soak says of itself."""

import time

from faults import CAUSES
from judge import Job
from run import RETENTION_SEC, SINGLES, THEIR_DESTINATION
from switch import APPL, ASIC, CONFIG, COUNTERS, STATE, to_redis

READ_SEC, LINE_SEC, CALM_SEC = 10, 60, 60
# What the allocator keeps in pieces of pages, once it has been told to give back what it can. The rest of RSS is the
# program's own file, as far as it has been run.
ANON_MORE_KIB = 4 * 1024
CPU_IDLE = 0.01
# The daemon's connections to Redis are made when their purpose first comes up, and kept. The warm-up does not have one
# purpose: a session that is stuck is looked into (io::unbind), by a survey's three, two for evidence, two for sessions
# and one that waits.
LATER = {to_redis(CONFIG): 2, to_redis(APPL): 1, to_redis(STATE): 3, to_redis(COUNTERS): 1, to_redis(ASIC): 1}
# Redis' commands, the lab's port counters included, beside those of the first calm reading.
COMMANDS_MORE = 5.0


class Readings:
    """Reads what the daemon takes, and compares."""

    def __init__(self, run, tend):
        """`tend(condition, seconds)` goes on with what is always done, until the condition holds."""
        self.run, self.tend = run, tend
        self.all, self.calm = [], None
        self.threads = self.descriptors = None

    def read(self):
        if self.run.switch.daemon.poll() is not None:
            raise RuntimeError(f"the daemon has ended by itself: {self.run.switch.daemon.returncode}")
        reading = self.run.switch.reading()
        self.all.append(reading)
        return reading

    def line(self):
        last = self.all[-1]
        past = next((one for one in reversed(self.all[:-1]) if last.at - one.at >= LINE_SEC - READ_SEC), self.all[0])
        seconds = max(last.at - past.at, 1)
        in_force = sorted({entry[2].kind for entry in self.run.undo})
        print(
            f"{self.run.age():6.0f} s  jobs {len(self.run.jobs)} ({len(self.run.live)} live)  RSS {last.rss_kib} KiB  "
            f"fds {last.fds}  threads {last.threads}  "
            f"CPU {max(0, last.cpu_sec - past.cpu_sec):.2f} s of {seconds:.0f} s  "
            f"Redis {(last.commands - past.commands) / seconds:.0f}/s  wrong {len(self.run.findings)}  "
            + " ".join(in_force),
            flush=True,
        )

    def first_calm(self, doors):
        """The first calm reading of a daemon: after jobs of each kind and one by REST, so that it has what it keeps."""
        # An earlier daemon's outcomes are remembered by their names.
        name = f"warm{len(self.all)}"
        for number, method in enumerate(["span", "erspan", "none"]):
            key = f"TELEGEN_JOB|{name}-{number}"
            end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
            row = {"port": SINGLES[0], "duration": 2, "span_method": method, "expires_at": end}
            self.run.switch.db[CONFIG].hset(key, mapping=row)
            self.tend(lambda key=key: not self.run.switch.db[CONFIG].exists(key), 90)
        state = self.run.switch.db[STATE]

        def by_appl(number, duration, status):
            """A job of APPL_DB, until it has this status."""
            warm = Job(f"{name}-{number}", "appl", frozenset(), "span", "ingress", duration, time.monotonic())
            doors.by_appl(warm, {"port": SINGLES[0], "duration": str(duration)})
            self.tend(lambda: state.hget(f"TELEGEN_JOB_TABLE|{warm.id}", "status") == status, 30)

        by_appl(3, 2, "done")
        # Somebody else's session comes over the one of a job.
        by_appl(4, 60, "running")
        theirs = {"type": "SPAN", "src_port": SINGLES[0], "dst_port": THEIR_DESTINATION, "direction": "RX"}
        self.run.switch.db[CONFIG].hset("MIRROR_SESSION|warm", mapping=theirs)
        self.tend(lambda: state.hget(f"TELEGEN_JOB_TABLE|{name}-4", "status") == "failed", 30)
        self.run.switch.db[CONFIG].delete("MIRROR_SESSION|warm")
        self.tend(lambda: not state.exists(f"MIRROR_SESSION_TABLE|telegen_{name}-4"), 60)
        by_appl(5, 60, "running")
        asked = self.run.switch.curl("DELETE", f"/v1/monitor/jobs/{name}-5")
        self.tend(asked.is_over, 60)
        body = {"job_id": name, "port": SINGLES[0], "duration_sec": 60}
        for method, path in [("POST", ""), ("GET", ""), ("GET", f"/{name}/results"), ("DELETE", f"/{name}")]:
            asked = self.run.switch.curl(method, f"/v1/monitor/jobs{path}", body if method == "POST" else None)
            self.tend(asked.is_over, 60)
        # They are forgotten then.
        self.tend(lambda: not self.run.switch.db[STATE].keys("TELEGEN_JOB_TABLE|*"), 2 * RETENTION_SEC)
        self.calm = self.calm_reading("first")
        self.threads, self.descriptors = self.run.switch.threads(), self.run.switch.descriptors()

    def calm_reading(self, which):
        """What the daemon takes."""
        before = self.read()
        time.sleep(READ_SEC)
        after = self.read()
        seconds = after.at - before.at
        cpu, rate = (after.cpu_sec - before.cpu_sec) / seconds, (after.commands - before.commands) / seconds
        print(
            f"{self.run.age():6.0f} s  {which} calm reading: RSS {after.rss_kib} KiB, {after.anon_kib} anonymous, "
            f"fds {after.fds}, threads {after.threads}, CPU {100 * cpu:.2f} %, Redis {rate:.1f}/s",
            flush=True,
        )
        return after, cpu, rate

    def last_calm(self):
        """The last calm reading, once the threads and descriptors that came are gone, if they go; beside the first."""
        # When a connection of REST has ended, the daemon has the allocator give back what it keeps, as at first.
        asked = self.run.switch.curl("GET", "/v1/monitor/jobs")
        self.tend(asked.is_over, 60)
        self.tend(lambda: False, CALM_SEC - READ_SEC)
        self.tend(lambda: not self.others(), CALM_SEC)
        self.compare(self.calm, self.calm_reading("last"))
        for name, count in (self.run.switch.descriptors() - self.descriptors).items():
            print(f"          since the first one came {count} {name}, at most {LATER.get(name, 0)}", flush=True)

    def others(self):
        """Which threads and descriptors are not those of the first calm reading, in words."""
        switch, found = self.run.switch, []
        for what, had, has in [
            ("threads", self.threads, switch.threads()),
            ("descriptors", self.descriptors, switch.descriptors()),
        ]:
            less, more = had - has, has - had
            if less or any(count > LATER.get(name, 0) for name, count in more.items()):
                found.append(f"{what} are other than they were: less {dict(less)}, more {dict(more)}")
        return found

    def daemon_goes(self):
        """What the next one takes is another thing."""
        print(f"{self.run.age():6.0f} s  the daemon was ended; a new baseline follows", flush=True)
        self.calm = None

    def compare(self, first, last):
        (before, _, rate_before), (after, cpu, rate) = first, last
        if after.anon_kib > before.anon_kib + ANON_MORE_KIB:
            self.run.find(f"anonymous memory is {after.anon_kib} KiB and was {before.anon_kib} KiB")
        for line in self.others():
            self.run.find(line)
            self.run.show(["clients of Redis:", *self.run.switch.clients()])
        if cpu >= CPU_IDLE:
            self.run.find(f"the idle daemon takes {100 * cpu:.2f} % of a core")
        if rate > rate_before + COMMANDS_MORE:
            self.run.find(f"Redis has {rate:.1f} commands a second and had {rate_before:.1f}")

    def table(self, looks):
        print("\njobs by outcome")
        for outcome, count in sorted(self.run.counts.items()):
            print(f"  {outcome:<32} {count:>6}")
        print(f"  {'all':<32} {sum(self.run.counts.values()):>6}\ndisturbances")
        for kind in CAUSES:
            print(f"  {kind:<32} {self.run.faults[kind]:>6}")
        print("a count that had been one too small or too large")
        for word in ("small", "large"):
            seen, unseen = self.run.sharp[word, True], self.run.sharp[word, False]
            print(f"  too {word:<28} {seen:>6} of {seen + unseen} would have been found")
        for why, count in self.run.blurred.most_common():
            print(f"    {why:<30} {count:>6} times a send was not known to be counted")
        packets = sum(sent.packets for sent in self.run.sends)
        print(f"{looks.audits} looks at rows and ASIC_DB; after {looks.excused['nothing']} jobs nothing may be there")
        for kind, count in looks.excused.most_common():
            if kind != "nothing":
                print(f"    {kind:<30} {count:>6} times something may have been left")
        print(f"{len(self.run.sends)} sends, {packets} packets")
        if self.all:
            print(f"readings ({len(self.all)})            first        min        max       last")
            for name in ("rss_kib", "anon_kib", "fds", "threads"):
                values = [getattr(one, name) for one in self.all]
                cells = [values[0], min(values), max(values), values[-1]]
                print(f"  {name:<20}" + "".join(f"{value:>11}" for value in cells))
        print(f"{len(self.run.findings)} things are wrong" if self.run.findings else "nothing is wrong", flush=True)
