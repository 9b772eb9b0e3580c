#!/usr/bin/env python3
"""Installs the package on a Debian machine that is a virtual switch, under a real systemd, and looks at what it does.

    scripts/test_deb.py PACKAGE.deb LAB      LAB: the telegen-lab program

The machine is a systemd-nspawn container in the network namespace of a telegen-lab switch, with the switch's Redis: its
netdevs are the switch's ports. Steps depend on each other and are named as they run; the first that fails ends the test
with exit code 1. Where a machine cannot run here it says SKIPPED with the reason and ends with 0. As root. Files are
below target/test-deb.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from lab_container import ROOT, SWITCH, FailedError, Lab, Machine, base_system, expect, run_steps, skip, wait_for

WORK = ROOT / "target" / "test-deb"
CAPABILITIES = {"cap_bpf": 39, "cap_net_admin": 12, "cap_perfmon": 38}
# SONiC's folders for extensions; main.py tells them from somebody else's.
SONIC = "/usr/local/lib/python3.11/dist-packages"
LINKS = [
    f"{SONIC}/config/plugins/telegen.py",
    f"{SONIC}/show/plugins/telegen.py",
    f"{SONIC}/clear/plugins/telegen.py",
    "/usr/local/yang-models/sonic-telegen.yang",
    "/usr/local/bin/debug-dump/telegen",
]
# What `config load` does with a file, by the same class (sonic-cfggen --write-to-db).
LOAD = """
import json, sys
sys.path.insert(0, sys.argv[1])
from swsscommon.swsscommon import ConfigDBConnector, SonicDBConfig
SonicDBConfig.load_sonic_db_config()
config = ConfigDBConnector()
config.connect()
config.mod_config(json.load(sys.stdin))
"""
# An OpenTelemetry collector that says what it was asked.
COLLECTOR = """
import http.server
class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        size = len(self.rfile.read(int(self.headers['Content-Length'])))
        print(self.path, size, flush=True)
        self.send_response(200)
        self.send_header('Content-Type', 'application/x-protobuf')
        self.send_header('Content-Length', '0')
        self.end_headers()
http.server.HTTPServer(('127.0.0.1', 4318), Collector).serve_forever()
"""


class Test:
    """The steps."""

    def __init__(self, lab, machine, package, upgrade):
        self.lab, self.machine, self.package, self.upgrade = lab, machine, package, upgrade
        self.before = set()

    def prepare(self):
        """The machine becomes a SONiC host: its groups, its folders for extensions."""
        run = self.machine.run
        run("groupadd", "--system", "--force", "redis")
        run("chgrp", "redis", "/run/redis/redis.sock")
        run("chmod", "0760", "/run/redis/redis.sock")
        for command in ("config", "show", "clear"):
            run("mkdir", "-p", f"{SONIC}/{command}/plugins")
            run("touch", f"{SONIC}/{command}/main.py")
        run("mkdir", "-p", "/usr/local/yang-models", "/usr/local/bin/debug-dump", f"{SWITCH}/sonic")
        run("ln", "-s", SONIC, f"{SWITCH}/sonic/cli")
        run("sh", "-c", "echo 127.0.0.1 localhost >/etc/hosts")
        self.before = self.machine.files()

    def install(self, package):
        self.machine.run("cp", f"/packages/{package}", f"/root/{package}")
        self.machine.run("apt-get", "install", "--yes", "--no-install-recommends", f"/root/{package}")
        self.machine.run("rm", f"/root/{package}")

    def is_ready(self):
        return self.machine.run("telegen-sonic", "status", check=False).returncode == 0

    def the_package_installs_and_its_daemon_starts(self):
        self.install(self.package)
        wait_for("the daemon is there", self.is_ready)
        expect(self.machine.says("systemctl", "is-active", "telegen-sonic") == "active", "the unit is not active")
        expect(self.machine.says("systemctl", "is-enabled", "telegen-sonic") == "enabled", "the unit is not enabled")

    def sonic_finds_plugins_yang_and_dump(self):
        for link in LINKS:
            expect(self.machine.exists(link), f"{link} is missing")
        dump = json.loads(self.machine.says("/usr/local/bin/debug-dump/telegen"))
        expect("databases" in dump, f"the dump has {list(dump)}")

    def the_daemon_has_three_capabilities_and_no_more(self):
        fields = self.machine.capabilities_of(self.machine.daemon_pid())
        wanted = sum(1 << number for number in CAPABILITIES.values())
        for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            expect(int(fields[kind], 16) == wanted, f"{kind} is {fields[kind]}, not {wanted:016x}")
        expect(fields["NoNewPrivs"].strip() == "1", "NoNewPrivs is off")
        expect(fields["Seccomp"].strip() == "2", "there is no system call filter")
        expect(fields["Uid"].split()[0] != "0", "the daemon is root")

    def job(self, name, start, port="Ethernet0", count=3000, exact=True, stop=None):
        """Starts a job, sends through its port, stops it; its results must be what was sent."""
        start(name)
        wait_for(f"job {name} runs", lambda: self.status_of(name)["status"] == "running")
        sent = self.lab.send(port, count)
        if stop:
            stop(name)
        else:
            self.machine.run("telegen-sonic", "stop", name)
        wait_for(f"job {name} is over", lambda: self.status_of(name)["status"] in ("stopped", "done"))
        results = json.loads(self.machine.says("telegen-sonic", "results", name, "--json"))
        if exact:
            expect(
                results["packets_total"] == sent["packets"],
                f"{name}: {results['packets_total']} of {sent['packets']} packets",
            )
        return results

    def status_of(self, name):
        done = self.machine.run("telegen-sonic", "status", name, "--json", check=False)
        status = json.loads(done.stdout) if done.returncode == 0 else {"status": "unknown"}
        expect(status["status"] not in ("failed", "rejected", "expired"), f"{name}: {status}")
        return status

    def a_job_starts_through_each_door(self):
        run = self.machine.run
        rest = ["curl", "--silent", "--fail-with-body", "--unix-socket", "/run/telegen/rest.sock"]
        url = "http://localhost/v1/monitor/jobs"

        def by_rest(name):
            body = json.dumps({"job_id": name, "port": "Ethernet0", "sample_rate": 1})
            run(*rest, "-H", "Content-Type: application/json", "-d", body, url)

        def by_redis(name):
            run(
                "redis-cli",
                "-s",
                "/run/redis/redis.sock",
                "-n",
                "4",
                "HSET",
                f"TELEGEN_JOB|{name}",
                "port",
                "Ethernet0",
            )

        def by_appl_db(name):
            # ProducerStateTable's protocol.
            redis = ["redis-cli", "-s", "/run/redis/redis.sock", "-n", "0"]
            run(*redis, "HSET", f"_TELEGEN_JOB_TABLE:{name}", "port", "Ethernet0")
            run(*redis, "SADD", "TELEGEN_JOB_TABLE_KEY_SET", name)
            run(*redis, "PUBLISH", "TELEGEN_JOB_TABLE_CHANNEL@0", "G")

        def by_json(name):
            row = {"port": "Ethernet0", "sample_rate": "1", "ip_proto": ["tcp", "udp"]}
            text = json.dumps({"TELEGEN_JOB": {name: row}})
            run("python3", "-B", "-c", LOAD, f"{SWITCH}/tests/swss", input=text)

        def by_sonic_cli(name):
            said = sonic_cli("config", "telegen", "start", "Ethernet0", "--id", name)
            expect(f"Job {name} is running on Ethernet0" in said, f"config telegen start says {said}")

        def sonic_cli(*words):
            return self.machine.says("python3", "-B", f"{SWITCH}/tests/python/run_plugin.py", *words)

        self.job("by-cli", lambda name: run("telegen-sonic", "start", "Ethernet0", "--id", name))
        self.job("by-rest", by_rest, stop=lambda name: run(*rest, "-X", "DELETE", f"{url}/{name}"))
        self.job("by-redis", by_redis)
        self.job("by-appl-db", by_appl_db)
        found = set(self.job("by-json", by_json, exact=False)["protocols"]["ip"])
        expect(found == {"tcp", "udp"}, f"by-json: a filter for tcp and udp has counted {found}")
        results = self.job("by-sonic-cli", by_sonic_cli, stop=lambda name: sonic_cli("config", "telegen", "stop", name))
        shown = json.loads(sonic_cli("show", "telegen", "results", "by-sonic-cli", "--json"))
        expect(shown["packets_total"] == results["packets_total"], f"show says {shown['packets_total']} packets")
        expect("running" in sonic_cli("show", "telegen", "status"), "show telegen status does not see the daemon")
        expect("cleared" in sonic_cli("clear", "telegen", "results", "by-sonic-cli"), "clear clears nothing")

    def every_kind_of_job_runs_in_the_sandbox(self):
        kinds = [
            ("summary", ["--detail", "summary"], True),
            ("every-packet", ["--sample-rate", "1"], True),
            ("both", ["--direction", "both"], True),
            ("egress", ["--direction", "egress"], False),
            ("two-ports", [], True, "Ethernet0,Ethernet4"),
            ("erspan", ["--span-method", "erspan", "--sample-rate", "1"], True),
            ("inner", ["--inner", "--sample-rate", "1"], True),
            ("anonymous", ["--anonymize", "--sample-rate", "1"], True),
            (
                "filtered",
                ["--filter", "ip_proto=tcp", "--filter", "l4_dport=1-1024", "--filter", "src_cidr=10.0.0.0/8"],
                False,
            ),
            ("cut", ["--span-method", "erspan", "--mirror-truncate", "128"], True),
            ("sampled", ["--span-method", "erspan", "--mirror-sample-rate", "8"], False),
            ("none", ["--span-method", "none"], False),
        ]
        for name, options, exact, *ports in kinds:

            def start(name, options=options, port=ports[0] if ports else "Ethernet0"):
                self.machine.run("telegen-sonic", "start", port, "--id", name, *options)

            self.job(name, start, exact=exact)

    def lines_and_exports_leave_the_sandbox(self):
        run = self.machine.run
        lines = self.machine.says("journalctl", "--identifier=telegen-sonic", "--output=cat").splitlines()
        for line in ("job by-cli started: port=Ethernet0 ", "job by-cli ended: status=stopped port=Ethernet0 "):
            expect([one for one in lines if one.startswith(line)], f"the system log has no line '{line}…'")
        run("systemd-run", "--unit=collector", "python3", "-B", "-c", COLLECTOR)
        settings = {"otlp_protocol": "http/protobuf", "otlp_endpoint": "localhost:4318", "export_interval": "1"}
        for field, value in settings.items():
            self.lab.redis(4, "HSET", "TELEGEN|global", field, value)
        asked = ["journalctl", "--unit=collector", "--output=cat"]

        def stop(name):
            for path in ("/v1/metrics", "/v1/logs"):
                wait_for(f"{path} was exported to", lambda path=path: f"{path} " in self.machine.says(*asked))
            run("telegen-sonic", "stop", name)

        self.job("exported", lambda name: run("telegen-sonic", "start", "Ethernet0", "--id", name), stop=stop)
        wait_for("/v1/traces was exported to", lambda: "/v1/traces " in self.machine.says(*asked))
        self.lab.redis(4, "HDEL", "TELEGEN|global", *settings)
        run("systemctl", "stop", "collector")

    def taps_attach_by_clsact_too(self):
        self.set_environment("TELEGEN_ATTACH=clsact")
        self.job("by-clsact", lambda name: self.machine.run("telegen-sonic", "start", "Ethernet0", "--id", name))
        filters = self.machine.says(
            "sh", "-c", "for d in $(ls /sys/class/net); do tc qdisc show dev $d clsact; done 2>/dev/null"
        )
        expect(filters == "", f"qdiscs are left: {filters}")
        self.set_environment("#TELEGEN_ATTACH=auto")

    def set_environment(self, line):
        self.machine.run("sh", "-c", f"echo '{line}' >/etc/default/telegen-sonic")
        self.machine.run("systemctl", "restart", "telegen-sonic")
        wait_for("the daemon is there", self.is_ready)

    def a_daemon_that_dies_comes_back_and_cleans_up(self):
        # The unit has SONiC's limit of three starts in twenty minutes, and those before this one were ours.
        self.machine.run("systemctl", "reset-failed", "telegen-sonic")
        first = self.machine.daemon_pid()
        self.machine.run("telegen-sonic", "start", "Ethernet0", "--id", "killed")
        wait_for("the job runs", lambda: self.status_of("killed")["status"] == "running")
        self.machine.run("systemctl", "kill", "--signal=KILL", "telegen-sonic")
        wait_for("another daemon", lambda: self.machine.daemon_pid() not in (0, first))
        wait_for(
            "the job has failed",
            lambda: self.lab.redis(6, "HGET", "TELEGEN_JOB_TABLE|killed", "reason") == "daemon_restarted",
        )
        wait_for("no session is left", lambda: not self.lab.redis(4, "KEYS", "MIRROR_SESSION|telegen_*"))

    def an_upgrade_ends_jobs_and_keeps_what_the_operator_changed(self):
        self.machine.run("sh", "-c", "echo '# mine' >>/etc/default/telegen-sonic")
        self.machine.run("telegen-sonic", "start", "Ethernet0", "--id", "upgraded")
        first = self.machine.daemon_pid()
        self.install(self.upgrade)
        wait_for("the daemon is there", self.is_ready)
        expect(self.machine.daemon_pid() != first, "the daemon was not restarted")
        ended = json.loads(self.machine.says("telegen-sonic", "status", "upgraded", "--json"))
        expect((ended["status"], ended["reason"]) == ("stopped", "daemon_stopped"), f"the job ended as {ended}")
        expect("# mine" in self.machine.says("cat", "/etc/default/telegen-sonic"), "the conffile was replaced")
        self.job("after-upgrade", lambda name: self.machine.run("telegen-sonic", "start", "Ethernet0", "--id", name))

    def removal_drains_and_purge_leaves_nothing(self):
        self.lab.redis(4, "HSET", "TELEGEN|global", "max_queue", "1")
        self.machine.run("telegen-sonic", "start", "Ethernet0", "--id", "drained")
        self.machine.run("apt-get", "remove", "--yes", "telegen-sonic")
        expect(not self.lab.redis(4, "KEYS", "MIRROR_SESSION|telegen_*"), "a mirror session is left after removal")
        expect(not self.lab.redis(4, "KEYS", "TELEGEN_JOB|*"), "a job is left after removal")
        expect(not self.lab.redis(6, "KEYS", "TELEGEN_*"), "STATE_DB has rows after removal")
        expect(self.lab.redis(4, "HGET", "TELEGEN|global", "max_queue") == "1", "removal took the settings")
        for link in LINKS:
            expect(self.machine.run("test", "-L", link, check=False).returncode != 0, f"{link} is left")
        self.machine.run("apt-get", "purge", "--yes", "telegen-sonic")
        for number in (0, 4, 6):
            left = self.lab.redis(number, "KEYS", "*[Tt][Ee][Ll][Ee][Gg][Ee][Nn]*")
            expect(not left, f"database {number} has {left}")
        expect(self.machine.run("getent", "passwd", "telegen-sonic", check=False).returncode != 0, "the user is left")
        expect(self.machine.run("getent", "group", "telegen-sonic", check=False).returncode != 0, "the group is left")
        expect("telegen" not in self.machine.says("getent", "group", "redis"), "the user is still in group redis")
        # adduser and systemd keep a copy of what they changed.
        left = {
            path for path in self.machine.files() - self.before if not path.endswith("-") and "__pycache__" not in path
        }
        left |= {path for path in self.machine.units_left()}
        expect(not left, f"files are left: {sorted(left)}")
        expect(not self.machine.exists("/run/telegen"), "/run/telegen is left")
        status = self.machine.run("dpkg-query", "--show", "telegen-sonic", check=False)
        expect(status.returncode != 0, "dpkg still knows the package")

    def run(self):
        self.prepare()
        run_steps(
            self.the_package_installs_and_its_daemon_starts,
            self.sonic_finds_plugins_yang_and_dump,
            self.the_daemon_has_three_capabilities_and_no_more,
            self.a_job_starts_through_each_door,
            self.every_kind_of_job_runs_in_the_sandbox,
            self.lines_and_exports_leave_the_sandbox,
            self.taps_attach_by_clsact_too,
            self.a_daemon_that_dies_comes_back_and_cleans_up,
            self.an_upgrade_ends_jobs_and_keeps_what_the_operator_changed,
            self.removal_drains_and_purge_leaves_nothing,
        )


def next_version(package, directory):
    """The same package with a later version: what an upgrade installs."""
    tree = directory / "upgrade"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    lines = control.read_text(encoding="utf-8").splitlines()
    control.write_text(
        "".join(f"{line}+upgrade\n" if line.startswith("Version:") else f"{line}\n" for line in lines), encoding="utf-8"
    )
    later = directory / "upgrade.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(later)], check=True, stdout=subprocess.DEVNULL
    )
    return later


def main():
    package, lab_program = Path(sys.argv[1]), str(Path(sys.argv[2]).resolve())
    if os.geteuid() != 0:
        skip("the machine and the virtual switch need root")
    for program in ("systemd-nspawn", "mmdebstrap", "nsenter"):
        if not shutil.which(program):
            skip(f"{program} is missing (scripts/setup.sh vm)")
    # So that the finally of what was made is run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    WORK.mkdir(parents=True, exist_ok=True)
    archive = base_system(WORK)
    with tempfile.TemporaryDirectory(dir=WORK) as directory:
        home = Path(directory)
        root = home / "root"
        root.mkdir()
        subprocess.run(["tar", "-x", "-C", str(root), "-f", str(archive)], check=True)
        packages = root / "packages"
        packages.mkdir()
        shutil.copy(package, packages / "first.deb")
        shutil.copy(next_version(package, home), packages / "second.deb")
        with contextlib.ExitStack() as stack:
            # A unix socket's path has room for 107 bytes.
            lab = Lab(lab_program, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tgdeb-"))) / "lab")
            stack.callback(lab.down)
            log = WORK / "nspawn.log"
            try:
                machine = Machine(lab, root, log)
            except FailedError as failure:
                skip(f"systemd does not boot in a container here: {failure}")
            stack.callback(machine.down)
            try:
                Test(lab, machine, "first.deb", "second.deb").run()
            except FailedError as failure:
                print(f"test_deb: {failure}", file=sys.stderr)
                print(
                    machine.run("journalctl", "--no-pager", "--unit=telegen-sonic", "--lines=40", check=False).stdout,
                    file=sys.stderr,
                )
                sys.exit(1)
    print("test_deb: all passed")


if __name__ == "__main__":
    main()
