"""A switch for the plugins' tests: a real redis-server, and a daemon that says what a test tells it."""

import contextlib
import json
import subprocess
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
import redis
import run_plugin
from click.testing import CliRunner
from swsscommon.swsscommon import SonicDBConfig

DATABASES = {
    "APPL_DB": {"id": 0, "separator": ":", "instance": "redis"},
    "CONFIG_DB": {"id": 4, "separator": "|", "instance": "redis"},
    "STATE_DB": {"id": 6, "separator": "|", "instance": "redis"},
}
DEADLINE_SEC = 10


def ago(seconds):
    """A time in the tables' form."""
    moment = datetime.now(timezone.utc) - timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.fixture(scope="session")
def redis_socket(tmp_path_factory):
    """The path of a redis-server's socket; the server ends with the session."""
    directory = tmp_path_factory.mktemp("redis")
    socket = directory / "redis.sock"
    log = directory / "redis.log"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(directory), "--logfile", str(log)]
    server = subprocess.Popen(["redis-server", *options, "--databases", "100", "--notify-keyspace-events", "AKE"])
    deadline = time.monotonic() + DEADLINE_SEC
    try:
        while not socket.exists():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "redis-server did not open its socket"
            time.sleep(0.01)
        yield socket
    finally:
        server.terminate()
        server.wait(DEADLINE_SEC)


class Switch:
    """CONFIG_DB and STATE_DB of one switch, and its command line."""

    def __init__(self, socket):
        self.config = redis.Redis(unix_socket_path=str(socket), db=4, decode_responses=True)
        self.state = redis.Redis(unix_socket_path=str(socket), db=6, decode_responses=True)
        self.config.flushall()
        self.config.set("CONFIG_DB_INITIALIZED", "1")
        self.config.hset("PORT|Ethernet0", mapping={"alias": "etp1", "lanes": "0"})
        self.config.hset("PORT|Ethernet16", mapping={"alias": "etp5", "lanes": "16"})

    def run(self, *arguments):
        """Runs `config|show|clear telegen …` as the shell would."""
        return CliRunner().invoke(run_plugin.root(), list(arguments), prog_name="")

    def beat(self, seconds_ago=0):
        """Writes the daemon's heartbeat."""
        self.state.hset("TELEGEN_DAEMON_TABLE|localhost", "heartbeat", ago(seconds_ago))

    def jobs(self):
        """The job rows of CONFIG_DB by id."""
        return {key.split("|", 1)[1]: self.config.hgetall(key) for key in self.config.keys("TELEGEN_JOB|*")}

    @contextlib.contextmanager
    def daemon(self, answer):
        """Answers each new job row with the fields that `answer(row)` returns, and each deletion with `stopped`.

        Yields the list of keyspace events that it saw, as (event, job id, row).
        """
        events = []
        failures = []
        self.beat()
        pubsub = self.config.pubsub()
        pubsub.psubscribe("__keyspace@4__:TELEGEN_JOB|*")
        assert pubsub.get_message(timeout=DEADLINE_SEC)["type"] == "psubscribe"
        ending = threading.Event()

        def serve():
            try:
                while not ending.is_set():
                    message = pubsub.get_message(timeout=0.02)
                    if message is not None:
                        self._serve_one(message, answer, events)
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield events
        finally:
            ending.set()
            thread.join(DEADLINE_SEC)
            pubsub.close()
        assert not failures, failures

    def _serve_one(self, message, answer, events):
        key = message["channel"].split(":", 1)[1]
        job_id = key.split("|", 1)[1]
        row = self.config.hgetall(key)
        events.append((message["data"], job_id, row))
        state_key = "TELEGEN_JOB_TABLE|" + job_id
        if message["data"] == "hset":
            self.state.delete(state_key)
            self.state.hset(state_key, mapping={**row, "created_at": ago(0), **answer(row)})
        elif message["data"] == "del" and self.state.exists(state_key):
            self.state.hset(state_key, "status", "stopped")


@pytest.fixture
def switch(redis_socket, tmp_path, monkeypatch):
    """A fresh switch; commands run as root in it, whoever runs the tests."""
    instances = {"redis": {"hostname": "127.0.0.1", "port": 6379, "unix_socket_path": str(redis_socket)}}
    path = tmp_path / "database_config.json"
    path.write_text(json.dumps({"INSTANCES": instances, "DATABASES": DATABASES, "VERSION": "1.0"}))
    SonicDBConfig.load_sonic_db_config(path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.delenv("SONIC_CLI_IFACE_MODE", raising=False)
    monkeypatch.delenv("SUDO_USER", raising=False)
    return Switch(redis_socket)
