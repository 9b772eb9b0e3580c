"""The Ansible role against a virtual switch, by ansible-core; `make test-automation`.

ansible-playbook runs on the switch with a local connection. SONiC's own config and show are the stand-ins of
tests/python (make test-sonic-cli runs the real ones).
"""

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import BIN, ROOT, until

pytest.importorskip("ansible", reason="no ansible-core; make test-automation installs it")

ANSIBLE = ROOT / "sonic" / "ansible"
PLUGINS = [sys.executable, "-B", str(ROOT / "tests" / "python" / "run_plugin.py")]


class Ansible:
    """ansible-playbook on the switch."""

    def __init__(self, lab, folder):
        self.lab = lab
        self.folder = folder
        self.variables = {
            "telegen_command": [str(BIN / "telegen-sonic")],
            "telegen_config_command": [*PLUGINS, "config"],
            "telegen_show_command": [*PLUGINS, "show"],
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become": False,
        }

    def play(self, path, *arguments, **variables):
        """Runs a playbook; returns its exit code, its recap as a dictionary, and its output."""
        extra = self.folder / "extra.json"
        extra.write_text(json.dumps({**self.variables, **variables}))
        env = {
            **os.environ,
            "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "switch,", path, "-e", "@{}".format(extra)]
        done = self.lab.run(*command, *arguments, check=False, env=env)
        output = done.stdout + done.stderr
        assert "[WARNING]" not in output, output
        recap = re.search(r"^switch +: (.*)$", output, re.MULTILINE)
        assert recap, output
        counts = {name: int(count) for name, count in (word.split("=") for word in recap[1].split())}
        return done.returncode, counts, output

    def role(self, tasks_from, *arguments, **variables):
        """Runs one entry point of the role; returns as play(), with the facts that it sets in place of the output."""
        facts = self.folder / "facts.json"
        facts.unlink(missing_ok=True)
        book = self.folder / "play.json"
        include = {"name": "run", "include_role": {"name": "telegen", "tasks_from": tasks_from}}
        fact = "{{ {'job': telegen_job | default(none), 'results': telegen_results | default(none)} | to_json }}"
        keep = {
            "name": "keep",
            "copy": {"content": fact, "dest": str(facts)},
            "changed_when": False,
            "check_mode": False,
        }
        book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [include, keep]}]))
        code, counts, output = self.play(book, *arguments, **variables)
        return code, counts, json.loads(facts.read_text()) if facts.exists() else output


@pytest.fixture
def ansible(lab, tmp_path):
    return Ansible(lab, tmp_path)


def test_a_job_is_started_once_and_stopped_once(ansible, lab):
    job = {"telegen_id": "a1", "telegen_port": "Ethernet16"}
    code, counts, facts = ansible.role("start", **job)
    assert (code, counts["changed"], facts["job"]["status"]) == (0, 1, "running")
    code, counts, facts = ansible.role("start", **job)
    assert (code, counts["changed"], facts["job"]["status"]) == (0, 0, "running")
    code, counts, facts = ansible.role("stop", telegen_id="a1")
    assert (code, counts["changed"], facts["job"]["status"]) == (0, 1, "stopped")
    code, counts, _ = ansible.role("stop", telegen_id="a1")
    assert (code, counts["changed"]) == (0, 0)
    code, counts, facts = ansible.role("stop", telegen_id="never-there")
    assert (code, counts["changed"], facts["job"]) == (0, 0, {})


def test_every_variable_becomes_its_field(ansible, lab):
    code, _, output = ansible.role(
        "start",
        telegen_id="a2",
        telegen_port="Ethernet8",
        telegen_kind="traffic",
        telegen_direction="both",
        telegen_span_method="none",
        telegen_duration=77,
        telegen_sample_rate=3,
        telegen_detail="summary",
        telegen_description="two words",
        telegen_inner=True,
        telegen_otlp=False,
        telegen_anonymize=True,
        telegen_filters={"ip_proto": ["tcp", 17], "l4_dport": "80,8000-8099", "vlan": 5, "src_cidr": "10.0.0.0/8"},
    )
    assert code == 0, output
    row = lab.row(6, "TELEGEN_JOB_TABLE|a2")
    expected = {
        "kind": "traffic",
        "port": "Ethernet8",
        "direction": "both",
        "span_method": "none",
        "duration": "77",
        "sample_rate": "3",
        "result_detail": "summary",
        "description": "two words",
        "inner": "true",
        "otlp_export": "false",
        "anonymize": "true",
        "vlan": "5",
        "l4_dport@": "80,8000-8099",
        "src_cidr": "10.0.0.0/8",
    }
    assert {name: row.get(name) for name in expected} == expected
    assert row["ip_proto@"].split(",")[0] in ("tcp", "6")


def test_several_ports_and_what_the_asic_leaves_out_become_their_fields(ansible, lab):
    ports, thinned = "Ethernet0,Ethernet4", {"telegen_mirror_sample_rate": 64, "telegen_mirror_truncate": 128}
    code, _, output = ansible.role("start", telegen_id="a4", telegen_port=ports, **thinned)
    # By SPAN no ASIC samples, so the job is refused; its row says what was asked for all the same.
    assert code != 0 and "mirror_unsupported" in str(output)
    row = lab.row(6, "TELEGEN_JOB_TABLE|a4")
    assert (row["port"], row["mirror_sample_rate"], row["mirror_truncate"]) == (ports, "64", "128")


def test_a_refusal_fails_the_task_with_its_reason(ansible):
    code, counts, output = ansible.role("start", telegen_id="a3", telegen_port="Ethernet3")
    assert (code, counts["failed"]) == (2, 1)
    assert "unknown_port" in output


def test_a_missing_variable_is_told_before_anything_runs(ansible, lab):
    code, counts, output = ansible.role("start", telegen_port="Ethernet0")
    assert (code, counts["failed"]) == (2, 1)
    assert "missing required arguments: telegen_id" in output
    assert lab.jobs() == []


def test_wait_ends_with_the_job_and_says_how_it_ended(ansible, lab):
    ansible.role("start", telegen_id="a4", telegen_port="Ethernet16", telegen_duration=1)
    code, _, facts = ansible.role("wait", telegen_id="a4", telegen_poll_interval=1)
    assert (code, facts["job"]["status"]) == (0, "done")
    code, counts, output = ansible.role("wait", telegen_id="a4", telegen_accept=["stopped"])
    assert (code, counts["failed"]) == (2, 1)
    assert "Job a4 is done" in output


def test_settings_are_written_where_they_differ(ansible, lab):
    wanted = {
        "max_queue": 3,
        "run_saved_jobs": True,
        "otlp_endpoint": "192.0.2.1:4317",
        "erspan_src_ip": ["192.0.2.1", "192.0.2.2"],
    }
    code, counts, output = ansible.role("settings", "--check", telegen_settings=wanted)
    assert (code, lab.row(4, "TELEGEN|global")) == (0, {}), output
    code, counts, _ = ansible.role("settings", telegen_settings=wanted)
    assert (code, counts["changed"]) == (0, 1)
    row = {
        "max_queue": "3",
        "run_saved_jobs": "true",
        "otlp_endpoint": "192.0.2.1:4317",
        "erspan_src_ip@": "192.0.2.1,192.0.2.2",
    }
    assert lab.row(4, "TELEGEN|global") == row
    code, counts, _ = ansible.role("settings", telegen_settings=wanted)
    assert (code, counts["changed"]) == (0, 0)
    code, counts, _ = ansible.role("settings", telegen_settings_reset=[*wanted, "max_jobs"])
    assert (code, counts["changed"], lab.row(4, "TELEGEN|global")) == (0, 1, {})


def test_a_mirror_port_is_lent_and_taken_back(ansible, lab):
    port = {"telegen_mirror_port": "Ethernet40", "telegen_netdev": "Ethernet40"}
    for changed in (1, 0):
        code, counts, _ = ansible.role("mirror_port", **port)
        assert (code, counts["changed"]) == (0, changed)
        assert lab.row(4, "TELEGEN_MIRROR_PORT|Ethernet40") == {"netdev": "Ethernet40"}
    for changed in (1, 0):
        code, counts, _ = ansible.role(
            "mirror_port", telegen_mirror_port="Ethernet40", telegen_mirror_port_state="absent"
        )
        assert (code, counts["changed"]) == (0, changed)
        assert lab.row(4, "TELEGEN_MIRROR_PORT|Ethernet40") == {}


def test_the_playbook_brings_the_results_home(ansible, lab, tmp_path):
    report = tmp_path / "report.json"
    with ThreadPoolExecutor() as pool:
        # The job ends when the packets are counted, not after a time that a slow machine may have used up.
        playing = pool.submit(
            ansible.play,
            ANSIBLE / "playbooks" / "observe.yml",
            job="book",
            telegen_port="Ethernet16",
            telegen_duration=600,
            telegen_sample_rate=1,
            telegen_poll_interval=1,
            report=str(report),
        )
        until(lambda: lab.row(6, "TELEGEN_JOB_TABLE|book").get("status") == "running" or playing.done(), "the job")
        lab.send("Ethernet16", 500)
        lab.run(BIN / "telegen-sonic", "stop", "book")
        code, counts, output = playing.result()
    assert code == 0, output
    assert counts["changed"] == 3  # the setting, the job, the report
    found = json.loads(report.read_text())
    assert (found["job_id"], found["status"], found["packets_total"]) == ("book", "stopped", 500)
    assert lab.row(4, "TELEGEN|global") == {"max_queue": "4"}
    lab.redis(4, "DEL", "TELEGEN|global")
