#!/usr/bin/env python3
"""Runs the application-extension image as SONiC runs it, on a virtual switch, and looks at what it does.

    scripts/test_image.py target/image/telegen-VERSION-ARCH.tar.gz LAB      LAB: the telegen-lab program

What SONiC's docker would do is done by systemd-nspawn: the image's files, its entry point as the first process, the
switch's network, and the variables and volumes of SONiC's docker_image_ctl.j2. The switch's rsyslog, which takes lines
by RELP, is the image's own program. Steps depend on each other; the first that fails ends the test with exit code 1.
As root. Files are below target/test-image.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from lab_container import ROOT, Container, FailedError, Lab, expect, run_steps, skip, wait_for

WORK = ROOT / "target" / "test-image"
# cap_net_admin, cap_perfmon, cap_bpf; and cap_dac_override, because Redis's group has another number in the container.
CAPABILITIES = (12, 38, 39, 1)
LABEL = "com.azure.sonic."
SYSLOG = """
module(load="imrelp")
input(type="imrelp" port="2514" address="127.0.0.1")
template(name="Line" type="string" string="%syslogseverity-text% %syslogtag%%msg%\\n")
action(type="omfile" file="/var/log/switch" template="Line")
"""


class Extension(Container):
    """The container telegen."""

    FIRST = "supervisord"


def unpack(archive, root):
    """The image's files into `root`, as docker lays layers over each other; returns its configuration."""
    with tarfile.open(archive) as image:
        (described,) = json.load(image.extractfile("manifest.json"))
        for name in described["Layers"]:
            layer = image.extractfile(name)
            with tarfile.open(fileobj=layer) as files:
                for path in map(Path, files.getnames()):
                    forget(root, path)
            layer.seek(0)
            command = ["tar", "-x", "-p", "--numeric-owner", "--exclude=.wh.*", "-C", str(root)]
            subprocess.run(command, input=layer.read(), check=True)
        return json.load(image.extractfile(described["Config"]))["config"]


def forget(root, path):
    """What a layer takes away: `.wh.<name>` is a file or folder, `.wh..wh..opq` all that is in a folder."""
    if not path.name.startswith(".wh."):
        return
    folder = root / path.parent
    gone = folder.iterdir() if path.name == ".wh..wh..opq" else [folder / path.name.removeprefix(".wh.")]
    for each in list(gone):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)


class Test:
    """The steps."""

    def __init__(self, lab, root, config):
        self.lab, self.root, self.config = lab, root, config
        self.manifest = json.loads((ROOT / "sonic" / "manifest.json").read_text(encoding="utf-8"))
        self.container = None

    def start(self):
        """As `docker start` of what docker_image_ctl.j2 has created."""
        options = ["--setenv=CONTAINER_NAME=telegen", "--setenv=SYSLOG_TARGET_IP=127.0.0.1"]
        for volume in self.manifest["container"]["volumes"]:
            source, target, mode = volume.split(":")
            # Docker makes what is not there.
            subprocess.run(self.lab.run_command("mkdir", "-p", source), check=False, stderr=subprocess.DEVNULL)
            options.append(f"--bind{'-ro' if mode == 'ro' else ''}={source}:{target}")
        options += [f"--tmpfs={path.rstrip('/')}" for path in self.manifest["container"]["tmpfs"]]
        self.container = Extension(self.lab, self.root, WORK / "nspawn.log", *options, *self.config["Entrypoint"])
        wait_for("the daemon is there", self.is_ready)

    def is_ready(self):
        return self.container.run("telegen-sonic", "status", check=False).returncode == 0

    def has_ended(self):
        return self.container.process.poll() is not None

    def daemon_pid(self):
        return int(self.container.says("supervisorctl", "pid", "telegen-sonic"))

    def start_job(self, name):
        self.container.run("telegen-sonic", "start", "Ethernet0", "--id", name)

    def state(self, name, field):
        return self.lab.redis(6, "HGET", f"TELEGEN_JOB_TABLE|{name}", field)

    def logged(self):
        log = self.root / "var" / "log" / "switch"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def labels_and_files_are_what_the_package_manager_looks_for(self):
        labels = self.config["Labels"]
        expect(json.loads(labels[LABEL + "manifest"]) == self.manifest, "the manifest's label is another manifest")
        yang = (ROOT / "yang" / "sonic-telegen.yang").read_text(encoding="utf-8")
        expect(labels[LABEL + "yang-module"].strip() == yang.strip(), "the YANG module's label is another module")
        for paths in self.manifest["cli"].values():
            for path in paths:
                ours = (ROOT / "sonic" / path.lstrip("/")).read_bytes()
                expect((self.root / path.lstrip("/")).read_bytes() == ours, f"{path} is another file")

    def supervisor_runs_everything(self):
        self.start()
        wait_for("every process runs", lambda: self.processes() == {"RUNNING"})

    def processes(self):
        lines = self.container.run("supervisorctl", "status", check=False).stdout.splitlines()
        states = {line.split()[0]: line.split()[1] for line in lines}
        expect(set(states) == {"rsyslogd", "telegen-sonic", "exit-listener"}, f"supervisor has {states}")
        return set(states.values())

    def the_daemon_keeps_four_capabilities(self):
        fields = self.container.capabilities_of(self.daemon_pid())
        wanted = sum(1 << number for number in CAPABILITIES)
        for kind in ("CapPrm", "CapEff", "CapBnd"):
            expect(int(fields[kind], 16) == wanted, f"{kind} is {fields[kind]}, not {wanted:016x}")
        expect(fields["NoNewPrivs"].strip() == "1", "NoNewPrivs is off")

    def a_job_counts_what_was_sent_and_its_lines_reach_the_switch(self):
        self.start_job("seen")
        sent = self.lab.send("Ethernet0", 3000)
        self.container.run("telegen-sonic", "stop", "seen")
        results = json.loads(self.container.says("telegen-sonic", "results", "seen", "--json"))
        expect(results["packets_total"] == sent["packets"], f"{results['packets_total']} of {sent['packets']} packets")
        for what in ("started: port=Ethernet0 ", "ended: status=stopped port=Ethernet0 "):
            line = f"notice telegen#telegen-sonic[{self.daemon_pid()}]: job seen {what}"
            wait_for(line, lambda line=line: [one for one in self.logged() if one.startswith(line)])

    def techsupport_gets_a_dump(self):
        dump = json.loads(self.container.says(*self.manifest["package"]["debug-dump"].split()))
        expect(dump["daemon_alive"] is True, f"the dump has {list(dump)}")

    def the_action_before_a_shutdown_ends_jobs(self):
        self.start_job("drained")
        self.container.run(*self.manifest["service"]["pre-shutdown-action"].split())
        expect(self.state("drained", "status") == "stopped", f"the job is {self.state('drained', 'status')}")
        expect(not self.lab.redis(4, "KEYS", "MIRROR_SESSION|telegen_*"), "a mirror session is left")

    def stopping_the_container_ends_jobs_in_time(self):
        self.start_job("stopped")
        self.container.stop()
        wait_for("the container has ended", self.has_ended, int(self.manifest["service"]["stop-time"]))
        ended = (self.state("stopped", "status"), self.state("stopped", "reason"))
        expect(ended == ("stopped", "daemon_stopped"), f"the job ended as {ended}")

    def a_daemon_that_dies_takes_the_container_with_it(self):
        self.start()
        # One that ends in its first second is started again, three times.
        wait_for("every process runs", lambda: self.processes() == {"RUNNING"})
        self.container.run("supervisorctl", "signal", "KILL", "telegen-sonic")
        wait_for("the container has ended", self.has_ended)

    def run(self):
        run_steps(
            self.labels_and_files_are_what_the_package_manager_looks_for,
            self.supervisor_runs_everything,
            self.the_daemon_keeps_four_capabilities,
            self.a_job_counts_what_was_sent_and_its_lines_reach_the_switch,
            self.techsupport_gets_a_dump,
            self.the_action_before_a_shutdown_ends_jobs,
            self.stopping_the_container_ends_jobs_in_time,
            self.a_daemon_that_dies_takes_the_container_with_it,
        )

    def said(self):
        """What the container's processes have printed."""
        return "" if self.container is None else self.container.log.read_text(encoding="utf-8")

    def down(self):
        if self.container is not None:
            self.container.down()


@contextlib.contextmanager
def system_log(lab, root):
    """The switch's rsyslog, by the image's own program."""
    config = root / "etc" / "switch-rsyslog.conf"
    config.write_text(SYSLOG, encoding="utf-8")
    command = ["chroot", str(root), "/usr/sbin/rsyslogd", "-n", "-iNONE", "-f", "/etc/switch-rsyslog.conf"]
    process = subprocess.Popen(lab.run_command(*command))
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def main():
    archive, lab_program = Path(sys.argv[1]), str(Path(sys.argv[2]).resolve())
    if os.geteuid() != 0:
        skip("the container and the virtual switch need root")
    if not shutil.which("systemd-nspawn"):
        skip("systemd-nspawn is missing (scripts/setup.sh vm)")
    # So that the finally of what was made is run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    WORK.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=WORK))) / "root"
        root.mkdir()
        config = unpack(archive, root)
        # A unix socket's path has room for 107 bytes.
        lab = Lab(lab_program, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tgimg-"))) / "lab")
        stack.callback(lab.down)
        stack.enter_context(system_log(lab, root))
        test = Test(lab, root, config)
        stack.callback(test.down)
        try:
            test.run()
        except FailedError as failure:
            print(f"test_image: {failure}\n{test.said()[-2000:]}", file=sys.stderr)
            sys.exit(1)
    print("test_image: all passed")


if __name__ == "__main__":
    main()
