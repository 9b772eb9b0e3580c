"""A virtual switch with a telegen daemon on it, for tests that come in by SONiC's own tools."""

import json
import os
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("TELEGEN_BIN_DIR", ROOT / "target" / "debug")).resolve()
DEADLINE_SEC = 60


def until(condition, what):
    """Asks `condition` until its answer is true; returns it."""
    deadline = time.monotonic() + DEADLINE_SEC
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, "gave up waiting for " + what
        time.sleep(0.05)


class Lab:
    """`telegen-lab` in a folder of its own; a context manager, because its namespaces outlive their maker."""

    def __init__(self, folder):
        self.folder = folder
        self.daemon = None

    def __enter__(self):
        subprocess.run([BIN / "telegen-lab", "up", "--dir", self.folder, "--ports", "32", "--detach"], check=True)
        try:
            # The lab comes with settings for ERSPAN; a switch comes with none.
            self.redis(4, "DEL", "TELEGEN|global")
            self.start_daemon()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop_daemon()
        subprocess.run([BIN / "telegen-lab", "down", "--dir", self.folder], check=True)

    def on_switch(self, *command):
        """The command line that runs `command` on the switch."""
        return [str(part) for part in (BIN / "telegen-lab", "run", "--dir", self.folder, "--", *command)]

    def run(self, *command, check=True, **options):
        """Runs a command on the switch; returns it with its output."""
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        done = subprocess.run(self.on_switch(*command), check=False, **options)
        assert not check or done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
        return done

    def redis(self, database, *command):
        """What redis-cli prints, as lines; it prints an empty one for nothing."""
        text = self.run("redis-cli", "-n", str(database), "--raw", *command).stdout
        return [] if text == "\n" else text.splitlines()

    def row(self, database, key):
        """A row as a dictionary."""
        lines = self.redis(database, "HGETALL", key)
        return dict(zip(lines[::2], lines[1::2]))

    def jobs(self):
        """The job rows in CONFIG_DB."""
        return sorted(self.redis(4, "KEYS", "TELEGEN_JOB|*"))

    def mirror_objects(self):
        """The mirror sessions and samplers in ASIC_DB."""
        kinds = ("MIRROR_SESSION", "SAMPLEPACKET")
        return [key for kind in kinds for key in self.redis(1, "KEYS", "ASIC_STATE:SAI_OBJECT_TYPE_{}:*".format(kind))]

    def send(self, port, count):
        """Puts `count` packets of mixed traffic on the port's wire; what was sent."""
        command = [BIN / "telegen-lab", "send", "--dir", self.folder, "--port", port, "--profile", "mixed"]
        done = subprocess.run([*command, "--count", str(count), "--seed", "7"], check=True, capture_output=True)
        return json.loads(done.stdout)

    def start_daemon(self):
        """Starts the daemon and waits for its heartbeat and its REST socket."""
        log = (self.folder / "daemon.log").open("a")
        self.daemon = subprocess.Popen(self.on_switch(BIN / "telegen-sonic", "daemon"), stdout=log, stderr=log)
        until(lambda: self.row(6, "TELEGEN_DAEMON_TABLE|localhost").get("heartbeat"), "the daemon's heartbeat")
        until(lambda: self.run(BIN / "telegen-sonic", "status", check=False).returncode == 0, "the daemon's status")

    def stop_daemon(self):
        """Ends the daemon as systemd would."""
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(DEADLINE_SEC)
            self.daemon = None
