"""A virtual switch on which the daemon of either version is started, and what is left of it there."""

import json
import re
import signal
import subprocess
from pathlib import Path

from switch import APPL, CONFIG, FINAL, STATE, Switch, until

PORTS = 8
# The daemon looks for what is left every 30 s.
RESYNC_SEC = 40
OBJECTS = {"prog_id": "prog", "map_id": "map", "link_id": "link"}


def expect(what, found, wanted):
    """Fails, in words, where two values differ."""
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, where {wanted!r} was expected")


class Bench(Switch):
    """The switch; `versions` are the folders of the binaries by name."""

    def __init__(self, folder, versions):
        super().__init__(folder, PORTS)
        self.versions = versions
        self.objects = set()

    def begin(self, version, *options):
        """Starts the daemon of a version; it has said that it is there when this returns."""
        words = self.on_switch(self.versions[version] / "telegen-sonic", "daemon", *options)
        self.daemon = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        pid = str(self.daemon.pid)

        def is_there():
            if self.daemon.poll() is not None:
                raise RuntimeError(f"the daemon of {version} ended at once:\n{self.log_path.read_text()}")
            return self.db[STATE].hget("TELEGEN_DAEMON_TABLE|localhost", "pid") == pid

        until(is_there, f"the row of the daemon of {version}")

    def kill(self, number=signal.SIGKILL):
        """Ends the daemon by a signal, and remembers what it held in the kernel."""
        self.objects |= self.held_objects()
        return self.stop_daemon(number)

    def held_objects(self):
        """The BPF programs, their maps, and the links that the daemon holds."""
        found = set()
        for info in Path(f"/proc/{self.daemon.pid}/fdinfo").iterdir():
            try:
                lines = dict(
                    line.split(":", 1) for line in info.read_text(encoding="ascii").splitlines() if ":" in line
                )
            except FileNotFoundError:
                continue
            found |= {(OBJECTS[name], int(lines[name])) for name in OBJECTS if name in lines}
        for program in [number for kind, number in found if kind == "prog"]:
            command = ["bpftool", "--json", "prog", "show", "id", str(program)]
            said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            found |= {("map", number) for number in said.get("map_ids", [])}
        return found

    def tool(self, version, *words):
        """What `telegen-sonic` of a version says: exit code, and its JSON."""
        command = self.on_switch(self.versions[version] / "telegen-sonic", *words, "--json")
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        if not done.stdout:
            raise AssertionError(f"{version}: telegen-sonic {words} says nothing: {done.stderr}")
        return done.returncode, json.loads(done.stdout)

    def write_job(self, job, port, **fields):
        """A row of TELEGEN_JOB that is taken up at once."""
        fields = {"port": port, "expires_at": "2099-01-01T00:00:00.000Z", **fields}
        self.db[CONFIG].hset(f"TELEGEN_JOB|{job}", mapping=fields)

    def send_to_appl(self, job, fields):
        """A row by the ProducerStateTable protocol; its deletion without fields."""
        appl = self.db[APPL]
        if fields is None:
            appl.sadd("TELEGEN_JOB_TABLE_DEL_SET", job)
        else:
            appl.hset(f"_TELEGEN_JOB_TABLE:{job}", mapping=fields)
        appl.sadd("TELEGEN_JOB_TABLE_KEY_SET", job)
        appl.publish(f"TELEGEN_JOB_TABLE_CHANNEL@{APPL}", "G")

    def run_job(self, job, port, **fields):
        self.write_job(job, port, **fields)
        return self.await_status(job, "running")

    def stop_job(self, job):
        self.db[CONFIG].delete(f"TELEGEN_JOB|{job}")
        return self.await_status(job, "stopped")

    def status(self, job):
        return self.db[STATE].hgetall(f"TELEGEN_JOB_TABLE|{job}")

    def await_status(self, job, wanted):
        def is_so():
            row = self.status(job)
            status = row.get("status")
            if status in FINAL and status != wanted:
                raise AssertionError(f"job {job} should be {wanted}: {row}")
            return row if status == wanted else None

        return until(is_so, f"job {job} is {wanted}")

    def expect_ended(self, job, status, reason=None):
        row = self.await_status(job, status)
        expect(f"the reason of job {job}", row.get("reason"), reason)
        return row

    def traffic(self, port, profile="mixed", count=500, seed=1):
        """Traffic into a port's wire; what was sent."""
        words = ("--port", port, "--profile", profile, "--count", count, "--seed", seed)
        return json.loads(self.lab("send", *words))

    def notes(self):
        """The names of the notes in the state directory about network devices."""
        return sorted(path.name for path in Path(f"{self.root}/run/telegen").glob("clsact-*"))

    def tc(self, *words):
        command = [str(word) for word in self.on_switch("tc", *words)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def on_netdevs(self):
        """The clsact qdiscs, and the filters on them, in words."""
        found = []
        for netdev in re.findall(r"^qdisc clsact \S+ dev (\S+)", self.tc("qdisc", "show"), re.MULTILINE):
            found.append(f"clsact on {netdev}")
            for side in ("ingress", "egress"):
                lines = self.tc("filter", "show", "dev", netdev, side).splitlines()
                found += [f"{netdev} {side}: {line.strip()}" for line in lines if "handle" in line]
        return found

    def rows(self):
        """Rows of jobs, and of sessions of ours."""
        patterns = (
            (CONFIG, "TELEGEN_JOB|*"),
            (CONFIG, "MIRROR_SESSION|telegen_*"),
            (STATE, "MIRROR_SESSION_TABLE|telegen_*"),
            (APPL, "*TELEGEN_JOB_TABLE*"),
        )
        return sorted(key for number, pattern in patterns for key in self.db[number].keys(pattern))

    def alive(self):
        """What killed daemons held in the kernel and is there still."""
        shows = {
            pair: subprocess.run(["bpftool", pair[0], "show", "id", str(pair[1])], capture_output=True, check=False)
            for pair in self.objects
        }
        return sorted(f"BPF {kind} {number}" for (kind, number), show in shows.items() if show.returncode == 0)

    def left(self, theirs=None, live=()):
        """All that a switch without jobs must not have, in words; `theirs` are rows of other people's sessions."""
        found = self.rows() + self.disagreements(theirs or {}, live)
        found += self.on_netdevs() + [f"note {name}" for name in self.notes()]
        if not live:
            found += self.alive()
        return found

    def expect_clean(self, theirs=None, seconds=RESYNC_SEC):
        """Nothing of ours is left, soon."""
        try:
            until(lambda: not self.left(theirs), "nothing is left", seconds)
        except TimeoutError as error:
            raise AssertionError(f"left: {self.left(theirs)}") from error
