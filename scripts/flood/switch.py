"""A virtual switch with the daemon on it, for what floods cost."""

import os
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def wait(condition, seconds, pause=0.2):
    """Seconds until the condition held; `None` if it did not."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        if condition():
            return time.monotonic() - begin
        time.sleep(pause)
    return None


class Switch:
    """A context manager, because the lab's namespaces outlive their maker."""

    def __init__(self, binaries, folder, descriptors=None, settings=(), apart=False):
        """`descriptors` are those that the daemon may have, `settings` are of `TELEGEN|global`. If the daemon is to be
        `apart`, Redis and this program have a core of their own where the machine has two."""
        self.binaries, self.folder = Path(binaries).resolve(), Path(folder)
        self.descriptors, self.settings, self.apart = descriptors, settings, apart
        self.daemon = None

    def __enter__(self):
        self.lab("up", "--ports", "32", "--detach")
        try:
            if self.settings:
                self.redis(4, "HSET", "TELEGEN|global", *self.settings)
            if self.start() is None:
                raise RuntimeError("the daemon does not start:\n" + (self.folder / "daemon.log").read_text())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.daemon:
            if self.daemon.poll() is None:
                self.daemon.kill()
            self.daemon.wait()
        self.lab("down")

    def lab(self, verb, *words):
        command = [self.binaries / "telegen-lab", verb, "--dir", self.folder, *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def start(self, limit=60):
        """Starts the daemon; seconds until it said that it is there, `None` if it did not in `limit` seconds."""
        command = self.on_switch(self.binaries / "telegen-sonic", "daemon")
        if self.descriptors:
            command = ["prlimit", f"--nofile={self.descriptors}", *command]
        with open(self.folder / "daemon.log", "ab") as log:
            # Each of these programs becomes the next one: the process is the daemon's.
            self.daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        ready = wait(lambda: self.field("TELEGEN_DAEMON_TABLE|localhost", "pid") == str(self.daemon.pid), limit)
        if self.apart and (os.cpu_count() or 1) > 1:
            subprocess.run(["taskset", "-acp", "0", str(self.daemon.pid)], check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["taskset", "-acp", "1", self.redis_pid()], check=True, stdout=subprocess.DEVNULL)
            os.sched_setaffinity(0, {1})
        return ready

    def terminate(self, seconds):
        """Seconds until the daemon was gone; what does not go in time is killed."""
        begin = time.monotonic()
        self.daemon.terminate()
        try:
            self.daemon.wait(seconds)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
            return f"not within {seconds}"
        return round(time.monotonic() - begin, 1)

    def on_switch(self, *command):
        run = [self.binaries / "telegen-lab", "run", "--dir", self.folder, "--", *command]
        return [str(part) for part in run]

    def redis(self, database, *command, stdin=None):
        words = self.on_switch("redis-cli", "-n", str(database), "--raw", *command)
        return subprocess.run(words, input=stdin, capture_output=True, text=True, check=True).stdout.strip()

    def redis_pid(self):
        info = self.redis(0, "INFO", "server").splitlines()
        return next(line.split(":")[1] for line in info if line.startswith("process_id:")).strip()

    def field(self, key, name):
        return self.redis(6, "HGET", key, name)

    def status(self, job):
        return self.field(f"TELEGEN_JOB_TABLE|{job}", "status")

    def commands(self):
        """Redis commands of all kinds but HSET, with which the switch's counters are written."""
        stats = [line for line in self.redis(0, "INFO", "commandstats").splitlines() if "calls=" in line]
        return sum(int(line.split("calls=")[1].split(",")[0]) for line in stats if "_hset:" not in line)

    def rss(self, name="VmRSS"):
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) / 1024

    def cpu(self):
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def lines(self):
        return len((self.folder / "daemon.log").read_text().splitlines())
