"""The plugins on a multi-ASIC switch: every ASIC has its own databases; `-n` names one, and without it all are meant."""

import json

import pytest
import redis
from config import validated_config_db_connector as validated
from conftest import ago
from swsscommon.swsscommon import SonicDBConfig

# Every namespace has a Redis of its own on a switch; here they are databases of one.
OFFSETS = {"": 0, "asic0": 20, "asic1": 40}
IDS = {"APPL_DB": (0, ":"), "CONFIG_DB": (4, "|"), "STATE_DB": (6, "|")}


class Pair:
    """A switch with two ASICs: Ethernet0 and PortChannel1 are on asic0, Ethernet16 is on asic1."""

    def __init__(self, switch, socket):
        self.run = switch.run
        self.socket = socket
        for namespace, port, alias in (("asic0", "Ethernet0", "etp1"), ("asic1", "Ethernet16", "etp5")):
            self.config(namespace).hset("PORT|" + port, mapping={"alias": alias, "lanes": "0"})
            self.state(namespace).hset("TELEGEN_DAEMON_TABLE|localhost", "heartbeat", ago(0))
        self.config("asic0").hset("PORTCHANNEL|PortChannel1", "NULL", "NULL")

    def client(self, name, namespace):
        number = IDS[name][0] + OFFSETS[namespace]
        return redis.Redis(unix_socket_path=str(self.socket), db=number, decode_responses=True)

    def config(self, namespace):
        return self.client("CONFIG_DB", namespace)

    def state(self, namespace):
        return self.client("STATE_DB", namespace)

    def jobs(self):
        """Each job row's namespace and key."""
        return sorted((ns, key) for ns in OFFSETS for key in self.config(ns).keys("TELEGEN_JOB|*"))

    def job(self, namespace, job_id, **fields):
        """A job that runs, as its daemon would show it."""
        row = {"port": "Ethernet0", "status": "running", "created_at": ago(1), **fields}
        self.config(namespace).hset("TELEGEN_JOB|" + job_id, "port", row["port"])
        self.state(namespace).hset("TELEGEN_JOB_TABLE|" + job_id, mapping=row)


@pytest.fixture
def pair(switch, redis_socket, tmp_path):
    includes = []
    for namespace, offset in OFFSETS.items():
        file = tmp_path / "database_config{}.json".format(namespace)
        instances = {"redis": {"hostname": "127.0.0.1", "port": 6379, "unix_socket_path": str(redis_socket)}}
        databases = {
            name: {"id": number + offset, "separator": separator, "instance": "redis"}
            for name, (number, separator) in IDS.items()
        }
        file.write_text(json.dumps({"INSTANCES": instances, "DATABASES": databases}))
        includes.append({"include": file.name, **({"namespace": namespace} if namespace else {})})
    path = tmp_path / "database_global.json"
    path.write_text(json.dumps({"INCLUDES": includes}))
    SonicDBConfig.load_sonic_global_db_config(path)
    yield Pair(switch, redis_socket)
    SonicDBConfig.reset()


@pytest.mark.parametrize(
    ("port", "namespace"), [("Ethernet0", "asic0"), ("Ethernet16", "asic1"), ("PortChannel1", "asic0")]
)
def test_a_job_goes_to_the_asic_that_has_its_port(pair, port, namespace):
    result = pair.run("config", "telegen", "start", port, "--id", "j1")
    assert result.exit_code == 0, result.output
    assert pair.jobs() == [(namespace, "TELEGEN_JOB|j1")]


def test_an_alias_is_looked_for_on_every_asic(pair, monkeypatch):
    monkeypatch.setenv("SONIC_CLI_IFACE_MODE", "alias")
    pair.run("config", "telegen", "start", "etp5", "--id", "j1")
    assert pair.config("asic1").hget("TELEGEN_JOB|j1", "port") == "Ethernet16"


def test_a_port_of_no_asic_is_refused_unless_the_asic_is_named(pair):
    result = pair.run("config", "telegen", "start", "Ethernet4")
    assert result.exit_code == 2
    assert result.output.endswith("Error: Port Ethernet4 is on none of asic0, asic1\n")
    assert pair.jobs() == []
    # Then its daemon is the judge.
    pair.run("config", "telegen", "start", "Ethernet4", "-n", "asic1", "--id", "j1")
    assert pair.jobs() == [("asic1", "TELEGEN_JOB|j1")]


def test_a_job_without_a_port_is_of_the_asic_that_is_named(pair):
    result = pair.run("config", "telegen", "start", "--kind", "profile")
    assert result.exit_code == 2
    assert result.output.endswith("Error: A job without a port is of one ASIC; say which with -n\n")
    assert pair.jobs() == []
    # Then its daemon is the judge.
    pair.run("config", "telegen", "start", "--kind", "profile", "-n", "asic1", "--id", "j1")
    assert pair.config("asic1").hget("TELEGEN_JOB|j1", "kind") == "profile"


def test_an_unknown_namespace_is_a_usage_error(pair):
    result = pair.run("config", "telegen", "start", "Ethernet0", "-n", "asic7")
    assert result.exit_code == 2
    assert "'asic7' is not one of 'asic0', 'asic1'" in result.output


def test_stop_finds_the_asic_and_asks_where_two_have_the_id(pair):
    pair.job("asic1", "j1")
    pair.job("asic0", "twice")
    pair.job("asic1", "twice")
    pair.state("asic1").hset("TELEGEN_JOB_TABLE|j1", "status", "stopped")
    assert pair.run("config", "telegen", "stop", "j1").output == "Job j1 on asic1 is stopped\n"
    result = pair.run("config", "telegen", "stop", "twice")
    assert result.exit_code == 2
    assert result.output.endswith("Error: Job twice is on asic0, asic1; say which with -n\n")
    assert pair.jobs() == [("asic0", "TELEGEN_JOB|twice"), ("asic1", "TELEGEN_JOB|twice")]


def test_stop_all_stops_the_jobs_of_every_asic_or_of_the_one_named(pair):
    for namespace in ("asic0", "asic1"):
        pair.job(namespace, "j1", status="stopped")
    assert pair.run("config", "telegen", "stop", "all", "-n", "asic1").output == "Job j1 on asic1 is stopped\n"
    assert pair.run("config", "telegen", "stop", "all").output == "Job j1 on asic0 is stopped\n"
    assert pair.jobs() == []


def test_settings_go_to_every_asic_or_to_the_one_named(pair):
    validated.WRITES.clear()
    assert pair.run("config", "telegen", "global", "--max-jobs", "1").exit_code == 0
    assert pair.run("config", "telegen", "global", "--max-queue", "3", "-n", "asic1").exit_code == 0
    assert pair.config("asic0").hgetall("TELEGEN|global") == {"max_jobs": "1"}
    assert pair.config("asic1").hgetall("TELEGEN|global") == {"max_jobs": "1", "max_queue": "3"}
    assert not pair.config("").exists("TELEGEN|global")
    # sonic-utilities' validation would write to the host's CONFIG_DB.
    assert validated.WRITES == []


def test_a_mirror_port_belongs_to_the_asic_that_has_the_port(pair):
    assert pair.run("config", "telegen", "mirror-port", "add", "Ethernet16", "--netdev", "eth1").exit_code == 0
    assert pair.config("asic1").hgetall("TELEGEN_MIRROR_PORT|Ethernet16") == {"netdev": "eth1"}
    assert pair.run("config", "telegen", "mirror-port", "del", "Ethernet16").exit_code == 0
    assert not pair.config("asic1").exists("TELEGEN_MIRROR_PORT|Ethernet16")


def test_every_asic_has_a_cpu_port(pair):
    arguments = ("config", "telegen", "mirror-port", "add", "CPU", "--netdev", "x")
    assert pair.run(*arguments).output.endswith("Error: Every ASIC has a CPU port; say which with -n\n")
    assert pair.run(*arguments, "-n", "asic0").exit_code == 0
    assert pair.config("asic0").exists("TELEGEN_MIRROR_PORT|CPU")


def test_jobs_are_listed_with_their_namespace(pair):
    pair.job("asic0", "j1", created_at="2026-01-02T00:00:00.000Z")
    pair.job("asic1", "j2", created_at="2026-01-01T00:00:00.000Z")
    lines = pair.run("show", "telegen", "jobs").output.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["Namespace", "Job"],
        ["-----------", "-----"],
        ["asic1", "j2"],
        ["asic0", "j1"],
    ]
    shown = json.loads(pair.run("show", "telegen", "jobs", "--json", "-n", "asic0").output)
    assert [(job["namespace"], job["job_id"]) for job in shown] == [("asic0", "j1")]


def test_a_job_is_looked_for_on_every_asic(pair):
    pair.job("asic1", "j2")
    assert json.loads(pair.run("show", "telegen", "job", "j2", "--json").output)["namespace"] == "asic1"
    assert pair.run("show", "telegen", "results", "j2").exit_code == 0
    pair.job("asic0", "j2")
    result = pair.run("show", "telegen", "flows", "j2")
    assert result.exit_code == 2
    assert result.output.endswith("Error: Job j2 is on asic0, asic1; say which with -n\n")


def test_status_shows_every_daemon(pair):
    shown = json.loads(pair.run("show", "telegen", "status", "--json").output)
    assert [(one["namespace"], one["daemon"]["state"]) for one in shown] == [("asic0", "running"), ("asic1", "running")]
    text = pair.run("show", "telegen", "status").output
    assert [line for line in text.splitlines() if line.startswith("Namespace")] == [
        "Namespace asic0",
        "Namespace asic1",
    ]


def test_clear_forgets_finished_jobs_of_every_asic_or_of_the_one_named(pair):
    for namespace in ("asic0", "asic1"):
        pair.job(namespace, "j1", status="done")
    result = pair.run("clear", "telegen", "results", "j1")
    assert (result.exit_code, result.output.splitlines()[-1]) == (
        2,
        "Error: Job j1 is on asic0, asic1; say which with -n",
    )
    assert pair.run("clear", "telegen", "results", "j1", "-n", "asic0").output == "Job j1 cleared\n"
    assert pair.run("clear", "telegen", "results").output == "1 finished job cleared\n"
    assert pair.state("asic0").keys("TELEGEN_JOB_TABLE|*") + pair.state("asic1").keys("TELEGEN_JOB_TABLE|*") == []
