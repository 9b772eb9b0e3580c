"""Containers that are part of a virtual switch, for scripts/test_deb.py and scripts/test_image.py.

They are systemd-nspawn's, in the network namespace of a telegen-lab switch, with the switch's Redis: their netdevs are
the switch's ports.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The Debian that the machine is made of, with what the package depends on: the switch's network leads nowhere.
SUITE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,adduser,libelf1,zlib1g,redis-tools,curl,procps,iproute2"
# What a SONiC host has of Python, for the plugins.
PACKAGES += ",python3,python3-click,python3-jsonpatch,python3-natsort,python3-redis,python3-tabulate"
# Where the machine has the project's tests, with the stand-ins for sonic-utilities and libswsscommon.
SWITCH = "/switch"
BOOT_SEC = 120
WAIT_SEC = 30


class FailedError(Exception):
    """What should be and is not."""


def expect(condition, message):
    if not condition:
        raise FailedError(message)


def wait_for(what, condition, seconds=WAIT_SEC):
    """What `condition` returns once that is true."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        expect(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.05)


def run_steps(*steps):
    """Runs what depends on each other; the first that fails ends it."""
    for step in steps:
        begin = time.monotonic()
        try:
            step()
        except FailedError:
            print(f"test {step.__name__} ... FAILED", flush=True)
            raise
        print(f"test {step.__name__} ... ok ({time.monotonic() - begin:.1f} s)", flush=True)


class Lab:
    """A virtual switch."""

    def __init__(self, program, directory):
        self.program, self.dir = program, directory
        self.call("up", "--ports", "8", "--detach")

    def call(self, verb, *words):
        command = [self.program, verb, "--dir", str(self.dir), *words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def send(self, port, count, profile="mixed"):
        """Puts frames on a port's wire; what was sent."""
        return json.loads(self.call("send", "--port", port, "--profile", profile, "--count", str(count), "--seed", "7"))

    def run_command(self, *words):
        return [self.program, "run", "--dir", str(self.dir), "--", *words]

    def redis(self, number, *words):
        out = subprocess.run(
            self.run_command("redis-cli", "-n", str(number), *words), check=True, stdout=subprocess.PIPE, text=True
        )
        return out.stdout.strip()

    def down(self):
        self.call("down")


class Container:
    """A systemd-nspawn container on the switch, with the switch's network and Redis."""

    # What its first process is called.
    FIRST = "systemd"

    def __init__(self, lab, root, log, *options):
        nspawn = ["systemd-nspawn", "--directory", str(root), "--machine", f"telegen-{os.getpid()}"]
        nspawn += ["--register=no", "--keep-unit", "--console=pipe", "--bind=/run/redis"]
        # The kernel is the host's. What BPF needs of the container is given, and taken away again by what runs in it.
        nspawn += ["--capability=all", "--system-call-filter=bpf"]
        self.log = log
        self.process = subprocess.Popen(
            lab.run_command(*nspawn, *options),
            stdin=subprocess.DEVNULL,
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        self.leader = None
        self.leader = wait_for("the container's first process", self._first_process)

    def _first_process(self):
        expect(self.process.poll() is None, f"systemd-nspawn ended: {self.log.read_text()[-500:]}")
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        wanted = self.FIRST + "\n"
        return next((int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == wanted), None)

    def run(self, *words, check=True, **options):
        """Runs a command in it."""
        command = [
            "nsenter",
            "--target",
            str(self.leader),
            "--all",
            "--",
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND=noninteractive",
            "LC_ALL=C.UTF-8",
            *words,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        if check:
            expect(done.returncode == 0, f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def says(self, *words):
        return self.run(*words).stdout.strip()

    def capabilities_of(self, pid):
        """The process's sets of capabilities, the new privileges that it cannot get, and more of /proc."""
        status = self.says("cat", f"/proc/{pid}/status")
        return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    def stop(self):
        """Asks the first process to end."""
        os.kill(self.leader, signal.SIGTERM)

    def down(self):
        if self.process.poll() is None:
            if self.leader:
                self.stop()
            else:
                self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        if self.process.poll() is None:
            # With the first process go all of them, and systemd-nspawn; without it they would outlive systemd-nspawn.
            os.kill(self.leader or self.process.pid, signal.SIGKILL)
            self.process.wait()


class Machine(Container):
    """A booted Debian."""

    def __init__(self, lab, root, log):
        super().__init__(lab, root, log, "--boot", f"--bind-ro={ROOT}/tests:{SWITCH}/tests")
        wait_for("systemd is up", self._is_up, BOOT_SEC)

    def _is_up(self):
        expect(self.process.poll() is None, f"systemd-nspawn ended: {self.log.read_text()[-500:]}")
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def stop(self):
        self.run("systemctl", "poweroff", check=False)

    def exists(self, path):
        return self.run("test", "-e", path, check=False).returncode == 0

    def files(self):
        """All files but those of the kernel, of this boot, and what every use of apt leaves."""
        found = self.says(
            "find",
            "/",
            "-xdev",
            "-not",
            "-path",
            "/var/lib/dpkg/*",
            "-not",
            "-path",
            "/var/log/*",
            "-not",
            "-path",
            "/var/cache/*",
            "-not",
            "-path",
            "/var/lib/apt/*",
            "-not",
            "-path",
            "/var/lib/systemd/*",
        )
        return set(found.splitlines())

    def units_left(self):
        return self.says("find", "/etc/systemd", "/run/systemd", "/var/lib/systemd", "-name", "*telegen*").splitlines()

    def daemon_pid(self):
        return int(self.says("systemctl", "show", "--value", "--property=MainPID", "telegen-sonic"))


def skip(reason):
    """Ends the test that is run."""
    print(f"SKIPPED: {Path(sys.argv[0]).stem}: {reason}")
    sys.exit(0)


def base_system(folder):
    """An archive of a Debian with systemd, made once."""
    archive = folder / f"{SUITE}.tar"
    stamp = folder / f"{SUITE}.packages"
    if not (archive.exists() and stamp.exists() and stamp.read_text() == PACKAGES):
        print(f"test_deb: making a Debian {SUITE}", flush=True)
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(archive)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            archive.unlink(missing_ok=True)
            skip(f"no Debian {SUITE} can be had: {done.stderr.strip().splitlines()[-1:]}")
        stamp.write_text(PACKAGES)
    return archive
