"""The plugins inside sonic-utilities' own config, show and clear, on a virtual switch; `make test-sonic-cli`.

It needs SONIC_UTILITIES, and SONIC_BUILDIMAGE where the one is no submodule of the other (sonic_utilities/real.py says
what they are for). What goes through YANG needs libyang 3 behind Python's binding, too. What is missing is skipped with
its reason. With TELEGEN_TRANSCRIPT=FILE the session below is written there between two marks, as it was.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

from lab import ROOT, until

HERE = Path(__file__).resolve().parent
REAL = HERE / "sonic_utilities" / "real.py"
EXAMPLES = ROOT / "sonic" / "examples"
MARKS = ("<!-- transcript: begin -->\n", "<!-- transcript: end -->\n")

if "SONIC_UTILITIES" not in os.environ:
    pytest.skip("SONIC_UTILITIES does not name a checkout of sonic-utilities", allow_module_level=True)

needs_libyang = pytest.mark.skipif(
    importlib.util.find_spec("libyang") is None,
    reason="no libyang 3.12 for Python's binding (docs/sonic-cli.md): nothing validates",
)


class Shell:
    """A root shell on the switch that keeps what was typed and what came."""

    def __init__(self, lab, models):
        self.lab = lab
        self.models = models
        self.seen = []

    def __call__(self, line, code=0, env=None):
        """Runs one command line; a word in '' stays one. Returns its output without colours."""
        words = [word[1:-1] if word.startswith("'") else word for word in re.findall(r"'[^']*'|\S+", line)]
        command = "clear" if words[0] == "sonic-clear" else words[0]
        variables = {
            **os.environ,
            "SONIC_CLI_PYTHON": sys.executable,
            "SONIC_YANG_MODELS": str(self.models),
            **(env or {}),
        }
        done = self.lab.run(
            sys.executable, "-W", "ignore", "-B", REAL, command, *words[1:], check=False, env=variables, cwd=EXAMPLES
        )
        output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
        output = output.replace(str(HERE / "sonic_utilities" / "bin"), "/usr/local/bin")
        assert done.returncode == code, output
        assert "Traceback" not in output, output
        assert str(ROOT) not in output, output
        before = "".join("{}={} ".format(*item) for item in (env or {}).items())
        self.seen.append(
            "admin@sonic:~$ {}{}{}\n{}".format(before, "sudo " if command == "config" else "", line, output)
        )
        return output


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """SONiC's YANG modules with ours among them, as they are in /usr/local/yang-models."""
    folder = tmp_path_factory.mktemp("yang-models")
    buildimage = Path(os.environ.get("SONIC_BUILDIMAGE", Path(os.environ["SONIC_UTILITIES"]).parent.parent))
    sources = buildimage / "src" / "sonic-yang-models"
    for module in sources.glob("yang-models/*.yang"):
        shutil.copy(module, folder)
    # As sonic-yang-models' setup.py makes the rest. The output is YANG, no HTML.
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(sources / "yang-templates"), trim_blocks=True)  # noqa: S701
    for template in sources.glob("yang-templates/*.yang.j2"):
        (folder / template.stem).write_text(templates.get_template(template.name).render(yang_model_type="py"))
    shutil.copy(ROOT / "yang" / "sonic-telegen.yang", folder)
    return folder


# sonic-yang-models' own runner of cases, but for the 4,093 VLANs that it tries by itself.
YANG_RUNNER = """
import sys
sys.path.insert(0, "tests/yang_model_tests")
from test_yang_model import Test_yang_models
runner = Test_yang_models()
runner.initTest()
runner.loadYangModel(runner.yangDir)
print(len(runner.ExceptionTests), *(name for name in runner.ExceptionTests if runner.runExceptionTest(name)))
"""


@needs_libyang
def test_sonic_yang_models_own_tests_take_our_module_and_cases(models, tmp_path):
    """Its runner of cases and its test of table layouts, with our files among SONiC's modules."""
    theirs = Path(os.environ.get("SONIC_BUILDIMAGE", Path(os.environ["SONIC_UTILITIES"]).parent.parent))
    theirs = theirs / "src" / "sonic-yang-models" / "tests"
    shutil.copytree(ROOT / "yang" / "sonic-yang-models" / "tests", tmp_path / "tests")
    shutil.copytree(theirs / "yang_model_pytests", tmp_path / "tests" / "yang_model_pytests")
    shutil.copy(theirs / "yang_model_tests" / "test_yang_model.py", tmp_path / "tests" / "yang_model_tests")
    shutil.copytree(models, tmp_path / "yang-models")

    def run(*arguments):
        command = [sys.executable, "-B", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    layout = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/yang_model_pytests/test_configdb_layout.py")
    assert layout.returncode == 0, layout.stdout
    cases = tmp_path / "tests" / "yang_model_tests" / "tests" / "telegen.json"
    wanted = json.loads(cases.read_text())
    done = run("-c", YANG_RUNNER)
    assert done.stdout.splitlines()[-1] == str(len(wanted)), done.stdout + done.stderr[-2000:]
    # It means something: a wrong expectation is found.
    wanted["TELEGEN_JOB_VLAN_4095"]["eStr"] = ["something else"]
    cases.write_text(json.dumps(wanted))
    assert run("-c", YANG_RUNNER).stdout.splitlines()[-1] == "{} TELEGEN_JOB_VLAN_4095".format(len(wanted))


@pytest.fixture
def shell(lab, models):
    return Shell(lab, models)


@pytest.fixture
def validating(lab):
    """The switch asks for validation of what the CLI writes."""
    lab.redis(4, "HSET", "DEVICE_METADATA|localhost", "yang_config_validation", "enable")
    yield
    lab.redis(4, "HDEL", "DEVICE_METADATA|localhost", "yang_config_validation")


def columns(table):
    """The rows of a table by the words in them."""
    return [line.split() for line in table.splitlines()]


def test_the_three_commands_have_telegen_among_theirs(shell):
    for command in ("config", "show", "sonic-clear"):
        assert re.search(r"^  telegen  +\S", shell(command + " --help"), re.MULTILINE)


def test_a_session_from_an_empty_switch_to_results_and_back(shell, lab):
    shell("config telegen --help")
    shell("show telegen status")
    started = shell("config telegen start Ethernet16 --duration 120 --sample-rate 1 --id demo")
    assert re.match(r"Job demo is running on Ethernet16, until \S+Z\nSee 'show telegen results demo'\n$", started)
    lab.send("Ethernet16", 2000)
    until(
        lambda: lab.row(6, "TELEGEN_RESULT_TABLE|demo").get("packets_total") == "2000"
        and lab.redis(6, "KEYS", "TELEGEN_FLOW_TABLE|demo|*"),
        "2000 packets and their flows",
    )
    assert columns(shell("show telegen jobs"))[2][:5] == ["demo", "Ethernet16", "ingress", "span", "running"]
    assert "packets_total" in shell("show telegen results demo")
    assert json.loads(shell("show telegen jobs --json"))[0]["job_id"] == "demo"
    assert columns(shell("show telegen flows demo"))[0][:3] == ["#", "Source", "Port"]
    refused = shell("config telegen start Ethernet16 --id second", code=2)
    assert "mirror_conflict" in refused
    assert shell("config telegen stop demo") == "Job demo is stopped\n"
    assert "status" in shell("show telegen job demo")
    assert shell("sonic-clear telegen results demo") == "Job demo cleared\n"
    assert "Job demo is unknown" in shell("show telegen results demo", code=2)
    keep_transcript(shell.seen)


def keep_transcript(seen):
    """Writes the session where it is asked for."""
    if "TELEGEN_TRANSCRIPT" not in os.environ:
        return
    path = Path(os.environ["TELEGEN_TRANSCRIPT"])
    before, rest = path.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    block = "\n".join("```\n{}```\n".format(one) for one in seen)
    # A kernel by its version, not by its builder.
    block = re.sub(r"^(kernel +\d+\.\d+\.\d+)\S*", r"\1", block, flags=re.MULTILINE)
    path.write_text(before + MARKS[0] + block + MARKS[1] + after)


def test_ports_go_by_their_alias_in_alias_mode(shell, lab):
    alias = lab.row(4, "PORT|Ethernet16")["alias"]
    env = {"SONIC_CLI_IFACE_MODE": "alias"}
    assert shell("config telegen start {} --id j1".format(alias), env=env).startswith("Job j1 is running on " + alias)
    assert lab.row(6, "TELEGEN_JOB_TABLE|j1")["port"] == "Ethernet16"
    assert ["j1", alias] in [row[:2] for row in columns(shell("show telegen jobs", env=env))]


def test_commands_are_abbreviated_as_all_of_sonic_s(shell):
    assert shell("show tele st").startswith("Daemon")
    assert "Too many matches: job, jobs" in shell("show tele jo", code=2)
    assert shell("config tele sto all") == "No jobs\n"


def test_a_usage_error_ends_with_2_and_writes_nothing(shell, lab):
    assert "is not in the range" in shell("config telegen start Ethernet16 --vlan 4095", code=2)
    assert "No such option" in shell("config telegen start Ethernet16 --colour red", code=2)
    assert lab.jobs() == []


def test_whoever_is_not_root_is_refused_by_config_itself(lab, models):
    script = "import os, runpy, sys; os.geteuid = lambda: 1000; sys.argv = {}; runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [str(REAL), "config", "telegen", "stop", "all"]
    done = lab.run(sys.executable, "-W", "ignore", "-B", "-c", script.format(arguments), check=False)
    assert (done.returncode, done.stderr) == (1, "Root privileges are required for this operation\n")


def test_tab_offers_the_ports(lab, models):
    env = {
        **os.environ,
        "_CONFIG_COMPLETE": "bash_complete",
        "COMP_WORDS": "config telegen start Ethernet12",
        "COMP_CWORD": "3",
    }
    done = lab.run(sys.executable, "-W", "ignore", "-B", REAL, "config", env=env)
    assert done.stdout.split() == ["plain,Ethernet12", "plain,Ethernet120", "plain,Ethernet124"]


def test_settings_and_mirror_ports_without_validation(shell, lab):
    assert shell("config telegen global --max-queue 3 --flow-interval 2") == ""
    assert lab.row(4, "TELEGEN|global") == {"max_queue": "3", "flow_interval": "2"}
    assert shell("config telegen global --reset max_queue --reset flow_interval") == ""
    assert lab.row(4, "TELEGEN|global") == {}
    assert shell("config telegen mirror-port add Ethernet40 --netdev Ethernet40") == ""
    assert lab.row(4, "TELEGEN_MIRROR_PORT|Ethernet40") == {"netdev": "Ethernet40"}
    assert shell("config telegen mirror-port del Ethernet40") == ""


def test_config_load_takes_the_example_of_jobs(shell, lab):
    shell("config load -y jobs.json")
    until(
        lambda: {
            lab.row(6, key).get("status") for key in ("TELEGEN_JOB_TABLE|uplink-dns", "TELEGEN_JOB_TABLE|server-web")
        }
        == {"running"},
        "both jobs",
    )
    assert shell("config telegen stop all") == "Job server-web is stopped\nJob uplink-dns is stopped\n"


@needs_libyang
def test_settings_and_mirror_ports_with_validation(shell, lab, validating):
    """The first row of a table, a further field, a field less, the last row: each is another way through GCU."""
    for line in ("--max-queue 3", "--erspan-src-ip 192.0.2.1,192.0.2.2", "--flow-interval 2", "--reset flow_interval"):
        assert "patch application completed" in shell("config telegen global " + line)
    assert lab.row(4, "TELEGEN|global") == {"max_queue": "3", "erspan_src_ip@": "192.0.2.1,192.0.2.2"}
    shell("config telegen global --reset max_queue --reset erspan_src_ip")
    assert lab.row(4, "TELEGEN|global") == {}
    shell("config telegen mirror-port add Ethernet40 --netdev Ethernet40")
    assert lab.row(4, "TELEGEN_MIRROR_PORT|Ethernet40") == {"netdev": "Ethernet40"}
    shell("config telegen mirror-port del Ethernet40")
    assert lab.row(4, "TELEGEN_MIRROR_PORT|Ethernet40") == {}


@needs_libyang
def test_jobs_start_and_stop_on_a_switch_that_validates(shell, validating):
    """They never go through validation, so it cannot be in their way."""
    assert "is running" in shell("config telegen start Ethernet16 --id j1")
    assert shell("config telegen stop j1") == "Job j1 is stopped\n"


@needs_libyang
def test_apply_patch_takes_the_example_of_settings_and_gives_it_back(shell, lab):
    before = [lab.row(4, "TELEGEN|global"), sorted(lab.redis(4, "KEYS", "TELEGEN*"))]
    assert "Patch applied successfully." in shell("config apply-patch settings.patch.json")
    assert lab.row(4, "TELEGEN|global") == {
        "max_queue": "4",
        "default_duration": "60",
        "otlp_endpoint": "192.0.2.10:4317",
    }
    assert lab.row(4, "TELEGEN_MIRROR_PORT|Ethernet60") == {"netdev": "Ethernet60"}
    assert "Patch applied successfully." in shell("config apply-patch settings-undo.patch.json")
    assert [lab.row(4, "TELEGEN|global"), sorted(lab.redis(4, "KEYS", "TELEGEN*"))] == before


@needs_libyang
@pytest.mark.parametrize(
    ("operation", "told"),
    [
        ({"path": "/TELEGEN", "value": {"global": {"max_jobs": "3"}}}, "At most 2 jobs run at once."),
        ({"path": "/TELEGEN_MIRROR_PORT/Ethernet40", "value": {}}, "netdev"),
        ({"path": "/TELEGEN_MIRROR_PORT/Ethernet3", "value": {"netdev": "x"}}, "Invalid leafref value"),
        ({"path": "/TELEGEN", "value": {"global": {"turbo": "on"}}}, "turbo"),
    ],
)
def test_apply_patch_refuses_what_yang_refuses_and_says_why(shell, lab, tmp_path, operation, told):
    before = sorted(lab.redis(4, "KEYS", "TELEGEN*"))
    path = tmp_path / "patch.json"
    path.write_text(json.dumps([{"op": "add", **operation}]))
    assert told in shell("config apply-patch {}".format(path), code=2)
    assert sorted(lab.redis(4, "KEYS", "TELEGEN*")) == before
