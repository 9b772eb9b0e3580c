"""The virtual switch of scripts/soak: a lab, the daemon in it, its databases, and what is read of them.

Everything that is started here is ended here, by its pid.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter, namedtuple
from pathlib import Path

import redis
from claims import OURS, PLAIN, SAMPLED, SAMPLER, Claim, job_of, lies_under

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("TELEGEN_BIN_DIR", ROOT / "target" / "release")).resolve()
FINAL = ("done", "stopped", "failed", "rejected", "expired")
APPL, ASIC, COUNTERS, CONFIG, STATE = 0, 1, 2, 4, 6
# An address, not a name: names are looked up by threads of their own, which live for 10 s after the last look-up.
COLLECTOR = "127.0.0.1:4318"
CLOCK_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")
# A command on the switch that takes longer than this is a finding: the CLI's own time-outs are shorter.
COMMAND_SEC = 90

# What the daemon takes at one moment: `anon_kib` is what of its RSS is not of files; `commands` are Redis' of all,
# the lab and this test included.
Reading = namedtuple("Reading", "at rss_kib anon_kib fds threads cpu_sec commands")


def to_redis(database):
    """What a connection to this database of Redis is called."""
    return f"to Redis, database {database}"


def until(condition, what, seconds=30):
    """What `condition` says once that is true."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Command:
    """A program that runs beside the test: `telegen-sonic start`, `curl`, `telegen-lab send`."""

    def __init__(self, words, what):
        self.words, self.what, self.began, self.ended = [str(word) for word in words], what, time.monotonic(), None
        # Files, not pipes: nobody reads while it runs.
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        # A session of its own: Ctrl-C is this test's, which ends its children in order.
        self.process = subprocess.Popen(
            self.words, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err, start_new_session=True
        )

    def is_over(self):
        if self.ended is None and self.process.poll() is not None:
            self.ended = time.monotonic()
        return self.ended is not None

    def is_late(self):
        return not self.is_over() and time.monotonic() > self.began + COMMAND_SEC

    def said(self):
        """Exit code, stdout and stderr; for one that is over."""
        texts = []
        for file in (self.out, self.err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace").strip())
        return self.process.returncode, *texts

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.out.close()
        self.err.close()


class Switch:
    """A lab with a daemon on it."""

    def __init__(self, folder, ports):
        self.dir = Path(folder) / "lab"
        self.log_path = Path(folder) / "daemon.log"
        self.log = self.log_path.open("ab")
        self.daemon = self.collector = None
        self.commands = []
        self.held = []
        self.names = [f"Ethernet{4 * index}" for index in range(ports)]
        self.lab("up", "--ports", ports, "--detach")
        state = json.loads((self.dir / "lab.json").read_text(encoding="utf-8"))
        self.root = f"/proc/{state['process']['pid']}/root"
        self.rest = f"{self.root}/run/telegen/rest.sock"
        path = f"{self.root}/run/redis/redis.sock"
        self.db = {
            number: redis.Redis(unix_socket_path=path, db=number, decode_responses=True)
            for number in (APPL, ASIC, COUNTERS, CONFIG, STATE)
        }
        self.raw_state = redis.Redis(unix_socket_path=path, db=STATE)

    def lab(self, verb, *words):
        command = [BIN / "telegen-lab", verb, "--dir", self.dir, *words]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"telegen-lab {verb} {words}: {done.stderr.strip()}")
        return done.stdout

    def fault(self, *words):
        self.lab("fault", *words)

    def on_switch(self, *words):
        return [BIN / "telegen-lab", "run", "--dir", self.dir, "--", *words]

    def cli(self, *words):
        """Starts `telegen-sonic` with these words on the switch."""
        return self.start(self.on_switch(BIN / "telegen-sonic", *words), f"telegen-sonic {' '.join(map(str, words))}")

    def curl(self, method, path, body=None):
        """Asks REST; the last line of what is said is the HTTP status."""
        words = ["curl", "--silent", "--show-error", "--max-time", "60", "--unix-socket", self.rest, "-X", method]
        words += ["--write-out", "\\n%{http_code}"]
        if body is not None:
            words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return self.start([*words, f"http://localhost{path}"], f"{method} {path}")

    def send(self, port, count, pps, seed):
        words = [BIN / "telegen-lab", "send", "--dir", self.dir, "--port", port, "--profile", "mixed"]
        return self.start([*words, "--count", count, "--pps", pps, "--seed", seed], f"send {port}")

    def start(self, words, what):
        command = Command(words, what)
        self.commands.append(command)
        return command

    def reap(self):
        """Forgets the commands that are over; those that hang, in words."""
        late = [command for command in self.commands if command.is_late()]
        for command in late:
            command.end()
        self.commands = [command for command in self.commands if not command.is_over()]
        return [f"'{command.what}' has not ended in {COMMAND_SEC} s" for command in late]

    def start_collector(self):
        """What OTLP goes to; what it prints is of no use here."""
        words = [str(word) for word in self.on_switch(BIN / "telegen-lab", "collect", "--listen", COLLECTOR)]
        self.collector = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stop_collector(self):
        self.collector.kill()
        self.collector.wait()
        self.collector = None

    def start_daemon(self):
        words = [str(word) for word in self.on_switch(BIN / "telegen-sonic", "daemon")]
        self.daemon = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True
        )
        pid = str(self.daemon.pid)
        until(lambda: self.db[STATE].hget("TELEGEN_DAEMON_TABLE|localhost", "pid") == pid, "the daemon's row")

    def stop_daemon(self, number):
        """Ends the daemon by a signal; how many seconds that took."""
        began = time.monotonic()
        self.daemon.send_signal(number)
        self.daemon.wait(30)
        self.daemon = None
        return time.monotonic() - began

    def reading(self):
        """What the daemon takes now."""
        pid = self.daemon.pid
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
            if ":\t" in line
        )
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        ticks = int(stat[11]) + int(stat[12])
        return Reading(
            at=time.monotonic(),
            rss_kib=int(status["VmRSS"].split()[0]),
            anon_kib=int(status["RssAnon"].split()[0]),
            fds=len(os.listdir(f"/proc/{pid}/fd")),
            threads=int(status["Threads"]),
            cpu_sec=ticks / CLOCK_TICKS_PER_SEC,
            commands=self.db[STATE].info("stats")["total_commands_processed"],
        )

    def descriptors(self):
        """The daemon's descriptors by what they are: sockets by the path at either end, Redis' by the database.

        Those of OTLP are left out: there is one for each of three signals, while it is used and for 90 s more.
        """
        sockets, found = self._sockets(), Counter()
        for link in Path(f"/proc/{self.daemon.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(link)
                inode = target.removeprefix("socket:[").removesuffix("]")
                if sockets.get(inode) != COLLECTOR:
                    found[sockets.get(inode, "another socket") if inode != target else target] += 1
        return found

    def _sockets(self):
        """What the sockets of the switch are connected to, or listen on, by inode."""

        def listed(kind):
            words = ["nsenter", "--net", "--target", str(self.daemon.pid), "ss", f"-{kind}anpHe"]
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()

        databases = {client["fd"]: int(client["db"]) for client in self.db[STATE].client_list()}
        found = {line.split("ino:", 1)[1].split()[0]: COLLECTOR for line in listed("t") if line.split()[4] == COLLECTOR}
        ends = [(line.split()[1:8], line) for line in listed("x")]
        servers = {}
        for (state, _, _, path, own, _, _), line in ends:
            if path != "*":
                redis_fd = re.search(r'"redis-server",pid=\d+,fd=(\d+)', line)
                database = databases.get(redis_fd[1]) if redis_fd else None
                servers[own] = f"to {path}" if database is None else to_redis(database)
                found[own] = f"{state} {path}"
        for (_, _, _, _, own, _, peer), _ in ends:
            if peer in servers:
                found.setdefault(own, servers[peer])
        return found

    def threads(self):
        """The daemon's threads by name."""
        names = (folder / "comm" for folder in Path(f"/proc/{self.daemon.pid}/task").iterdir())
        return Counter(name.read_text(encoding="ascii").strip() for name in names)

    def clients(self):
        """Who is connected to Redis, the lab and this test among them."""
        names = ("id", "db", "cmd", "age", "idle", "sub", "psub")
        return [" ".join(f"{name}={client[name]}" for name in names) for client in self.db[STATE].client_list()]

    def log_of(self, job):
        """What the daemon's log says of a job."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        words = (f"job {job} ", f"telegen_{job} ", f"_{job} ")
        return [line for line in text.splitlines() if any(word in f"{line} " for word in words)]

    def end(self):
        """Ends all that was started; what could not be ended or is left, in words."""
        found = []
        for connection in self.held:
            connection.close()
        for command in self.commands:
            command.end()
        if self.daemon is not None:
            try:
                self.stop_daemon(signal.SIGTERM)
            except subprocess.TimeoutExpired:
                found.append("the daemon did not end within 30 s of SIGTERM")
                self.daemon.kill()
                self.daemon.wait()
        if self.collector is not None:
            self.stop_collector()
        self.log.close()
        self.lab("down")
        return found + [f"left: {line}" for line in processes_that_name(str(self.dir))]

    def table(self, number, prefix):
        """The rows of a table, by what follows its prefix."""
        database = self.db[number]
        keys = database.keys(f"{prefix}*")
        pipeline = database.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        return {key[len(prefix) :]: row for key, row in zip(keys, pipeline.execute(), strict=True) if row}

    def disagreements(self, theirs, live, spoiled=()):
        """All of rows and ASIC_DB that is not as it must be, in words.

        `theirs` are the rows of other people's sessions by name, `live` the ids of jobs that are not over, `spoiled`
        those of others that are known to be unbound.
        """
        sessions = self.table(CONFIG, "MIRROR_SESSION|")
        states = self.table(STATE, "MIRROR_SESSION_TABLE|")
        members = self.table(CONFIG, "PORTCHANNEL_MEMBER|")
        names = self.db[COUNTERS].hgetall("COUNTERS_PORT_NAME_MAP")
        found = [
            f"{name} was {row} and is {sessions.get(name)}" for name, row in theirs.items() if sessions.get(name) != row
        ]
        for name in sessions:
            if name.startswith(OURS) and job_of(name) not in live and not lies_under(sessions[name], theirs, members):
                found.append(f"the row of {name}, whose job is over")
        for name in states:
            if name.startswith(OURS) and name not in sessions and job_of(name) not in live:
                found.append(f"STATE_DB has {name}, whose job is over")
        claims = [
            Claim(name, row, members, names)
            for name, row in sessions.items()
            if states.get(name, {}).get("status") == "active"
        ]
        return found + self._asic(claims, names, spoiled)

    def _asic(self, claims, names, spoiled):
        mirrors = self.table(ASIC, "ASIC_STATE:SAI_OBJECT_TYPE_MIRROR_SESSION:")
        sflow = {names.get(port) for port in self.table(APPL, "SFLOW_SESSION_TABLE:")}
        by_oid = {oid: name for name, oid in names.items()}
        found, bound = [], set()
        for port, row in self.table(ASIC, "ASIC_STATE:SAI_OBJECT_TYPE_PORT:").items():
            for attribute in (*PLAIN.values(), *SAMPLED.values(), *SAMPLER.values()):
                oid = row.get(attribute, "0:null").removeprefix("1:")
                if oid in ("0:null", "oid:0x0"):
                    continue
                slot = (port, attribute)
                bound.add(slot)
                if attribute in SAMPLER.values():
                    asked = port in sflow or any(slot in claim.samplers for claim in claims)
                else:
                    mirror = mirrors.get(oid, {})
                    asked = any(slot in claim.slots and claim.does(mirror) for claim in claims)
                if not asked:
                    found.append(f"{by_oid.get(port, port)} {attribute} is {oid}, which nobody asks for")
        for claim in claims:
            missing = (claim.slots | claim.samplers) - bound
            if missing and claim.name not in spoiled:
                found.append(f"{claim.name} says active and is bound to nothing at {sorted(missing)}")
        if len(mirrors) != len(claims):
            found.append(f"{len(mirrors)} mirror sessions in ASIC_DB for {[claim.name for claim in claims]}")
        return found


def processes_that_name(text):
    """The processes, this one excepted, whose command line has the text."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(f"process {folder.name}: {line.strip()}")
    return found
