"""The application extension in sonic/: what its files say of each other, and the manifest before sonic-package-manager itself.

SONIC_UTILITIES names a checkout of sonic-utilities for the latter; without it that test is skipped.
"""

import configparser
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SONIC = ROOT / "sonic"
IMAGE = SONIC / "image"
RULES = SONIC / "buildimage" / "rules"
CONTAINER = SONIC / "buildimage" / "dockers" / "docker-telegen"

sys.path.insert(0, str(ROOT / "tests" / "yang"))
import schema  # noqa: E402 (found by the line above)


@pytest.fixture(scope="module")
def manifest():
    return json.loads((SONIC / "manifest.json").read_text(encoding="utf-8"))


def sections(path):
    """supervisord.conf by section."""
    config = configparser.RawConfigParser(inline_comment_prefixes=None, comment_prefixes=(";",))
    config.read(path, encoding="utf-8")
    return {section: dict(config[section]) for section in config.sections()}


@pytest.fixture(scope="module")
def programs():
    return sections(IMAGE / "supervisord.conf")


@pytest.fixture(scope="module")
def listener():
    spec = importlib.util.spec_from_file_location("exit_listener", IMAGE / "exit-listener.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package_manager(monkeypatch):
    """sonic-package-manager's validation of manifests, without the parts that want docker."""
    checkout = os.environ.get("SONIC_UTILITIES")
    if not checkout:
        pytest.skip("SONIC_UTILITIES names no checkout of sonic-utilities")
    package = types.ModuleType("sonic_package_manager")
    package.__path__ = [str(Path(checkout) / "sonic_package_manager")]
    monkeypatch.setitem(sys.modules, "sonic_package_manager", package)
    yield importlib.import_module("sonic_package_manager.manifest")
    for name in [name for name in sys.modules if name.startswith("sonic_package_manager.")]:
        del sys.modules[name]


def test_sonic_package_manager_takes_the_manifest_and_loses_nothing_of_it(package_manager, manifest):
    taken = package_manager.Manifest.marshal(manifest).unmarshal()

    def kept(ours, theirs):
        """The members of ours that are in theirs; it ignores what it does not know."""
        if isinstance(ours, dict) and isinstance(theirs, dict):
            return {key: kept(value, theirs[key]) for key, value in ours.items() if key in theirs}
        if isinstance(ours, list) and ours and isinstance(ours[0], dict):
            return [kept(one, other) for one, other in zip(ours, theirs)]
        return ours

    assert kept(manifest, taken) == manifest
    assert taken["package"]["name"] == "telegen"
    assert taken["cli"]["show"] == ["/cli/show/plugins/telegen.py"]


@pytest.mark.parametrize(
    ("path", "value"),
    [(("package", "version"), "0.1"), (("container", "privileged"), "true"), (("service", "name"), None)],
)
def test_sonic_package_manager_refuses_a_manifest_that_is_wrong(package_manager, manifest, path, value):
    wrong = json.loads(json.dumps(manifest))
    wrong[path[0]][path[1]] = value
    with pytest.raises(package_manager.ManifestError):
        package_manager.Manifest.marshal(wrong)


def test_versions_are_the_same_everywhere(manifest):
    cargo = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)
    changelog = re.match(r"telegen-sonic \((.*)\)", (ROOT / "debian" / "changelog").read_text(encoding="utf-8"))
    rules = re.search(r"^TELEGEN_VERSION = (.*)$", (RULES / "telegen.mk").read_text(encoding="utf-8"), re.MULTILINE)
    assert manifest["package"]["version"] == cargo.group(1) == changelog.group(1) == rules.group(1)


def test_the_initial_configuration_is_valid(manifest):
    numbers = schema.integers(schema.load())
    result = schema.validate(manifest["package"]["init-cfg"], numbers)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_plugins_that_the_manifest_names_are_there(manifest):
    for command in ("config", "show", "clear"):
        (path,) = manifest["cli"][command]
        assert path == "/cli/{}/plugins/telegen.py".format(command)
        assert (SONIC / path.lstrip("/")).exists()


def test_everybody_means_the_same_processes(manifest, programs, listener):
    critical = listener.critical_programs(IMAGE / "critical_processes")
    assert critical == {process["name"] for process in manifest["processes"]}
    assert all("program:" + name in programs for name in critical)
    command = programs["eventlistener:exit-listener"]["command"]
    assert command == "/usr/bin/exit-listener /etc/supervisor/critical_processes"


def test_the_container_s_daemon_keeps_the_unit_s_capabilities_and_one(programs):
    unit = (ROOT / "debian" / "telegen-sonic.service").read_text(encoding="utf-8")
    wanted = set(re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE).group(1).lower().split())
    command = programs["program:telegen-sonic"]["command"]
    kept = re.search(r"--bounding-set=-all,(\S+)", command).group(1).split(",")
    assert {"cap_" + name.lstrip("+") for name in kept} == wanted | {"cap_dac_override"}


def test_both_containers_start_the_daemon_in_the_same_way(programs):
    in_image = sections(CONTAINER / "supervisord.conf")["program:telegen-sonic"]
    ours = programs["program:telegen-sonic"]
    assert {key: in_image[key] for key in ours} == ours


def test_make_understands_the_rules_of_the_image_s_build(manifest):
    """The rules as sonic-buildimage includes them, with just what they use of it."""
    makefile = """
DOCKERS_PATH = dockers
SRC_PATH = src
CONFIGURED_ARCH = amd64
DBG_IMAGE_MARK = dbg
INCLUDE_TELEGEN = y
DOCKER_CONFIG_ENGINE_TRIXIE = docker-config-engine-trixie.gz
define add_dbg_docker
DEBUG_IMAGES += $(2)
endef
include telegen.mk docker-telegen.mk docker-telegen.dep
$(info $(SONIC_DPKG_DEBS)|$($(TELEGEN)_SRC_PATH)|$(SONIC_PACKAGES_LOCAL)|$(SONIC_TRIXIE_DOCKERS)|$(DEBUG_IMAGES))
$(info $($(DOCKER_TELEGEN)_PATH)|$($(DOCKER_TELEGEN)_DEPENDS)|$($(DOCKER_TELEGEN)_LOAD_DOCKERS))
$(info $($(DOCKER_TELEGEN)_PACKAGE_NAME)|$($(DOCKER_TELEGEN)_CONTAINER_NAME)|$($(DOCKER_TELEGEN)_VERSION))
all:
"""
    done = subprocess.run(
        ["make", "--no-print-directory", "-s", "-f", "-"],
        input=makefile,
        capture_output=True,
        text=True,
        cwd=RULES,
        check=False,
    )
    version = manifest["package"]["version"]
    deb = "telegen-sonic_{}_amd64.deb".format(version)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        deb + "|src/telegen-sonic|docker-telegen.gz|docker-telegen.gz|docker-telegen-dbg.gz",
        "dockers/docker-telegen|{}|docker-config-engine-trixie.gz".format(deb),
        "{}|{}|{}".format(manifest["package"]["name"], manifest["service"]["name"], version),
    ]


def test_every_file_that_the_image_copies_is_there():
    copied = re.findall(r"^COPY (?:--\S+ )?(\S+) ", (SONIC / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    # The package, and the tree of plugins: scripts/image.sh puts them into the context.
    assert {name for name in copied if not (IMAGE / name).exists()} == {"telegen-sonic.deb", "cli"}


@pytest.mark.parametrize(
    ("event", "payload", "ends"),
    [
        ("PROCESS_STATE_EXITED", {"processname": "telegen-sonic", "expected": "0"}, True),
        ("PROCESS_STATE_FATAL", {"processname": "telegen-sonic"}, True),
        ("PROCESS_STATE_EXITED", {"processname": "telegen-sonic", "expected": "1"}, False),
        ("PROCESS_STATE_EXITED", {"processname": "rsyslogd", "expected": "0"}, False),
        ("PROCESS_STATE_STOPPED", {"processname": "telegen-sonic"}, False),
    ],
)
def test_the_container_ends_when_a_critical_process_ended_by_itself(listener, event, payload, ends):
    assert listener.is_the_end(event, payload, {"telegen-sonic"}) is ends


def test_a_malformed_line_of_critical_processes_is_an_error(listener, tmp_path):
    file = tmp_path / "critical_processes"
    file.write_text("telegen-sonic\n")
    with pytest.raises(ValueError, match="give program:<name>"):
        listener.critical_programs(file)


def test_the_listener_speaks_supervisor_s_protocol(tmp_path):
    file = tmp_path / "critical_processes"
    file.write_text("program:telegen-sonic\n")
    payload = "processname:rsyslogd groupname:rsyslogd from_state:RUNNING expected:0 pid:7"
    event = "ver:3.0 server:supervisor serial:1 pool:x poolserial:1 eventname:PROCESS_STATE_EXITED len:{}\n{}"
    done = subprocess.run(
        [sys.executable, IMAGE / "exit-listener.py", file],
        input=event.format(len(payload), payload),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("READY\nRESULT 2\nOKREADY\n", "")
