"""A REST client generated from the OpenAPI document that the daemon serves, and calls made with it on a virtual switch.

`make test-automation`. With TELEGEN_TRANSCRIPT=FILE the example's session is written there between two marks.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import ROOT, until

pytest.importorskip("openapi_python_client", reason="no openapi-python-client; make test-automation installs it")

EXAMPLE = ROOT / "sonic" / "examples" / "rest_client.py"
SOCKET = "/var/run/telegen/rest.sock"
MARKS = ("<!-- rest client: begin -->\n", "<!-- rest client: end -->\n")


@pytest.fixture(scope="module")
def client(lab, tmp_path_factory):
    """The folder that the generated package is in."""
    folder = tmp_path_factory.mktemp("client")
    document = lab.run("curl", "-sf", "--unix-socket", SOCKET, "http://localhost/openapi.json").stdout
    (folder / "telegen.json").write_text(document)
    generator = Path(sys.executable).with_name("openapi-python-client")
    options = ["--path", "telegen.json", "--output-path", "telegen_client", "--meta", "none"]
    # It formats what it made with ruff, which is beside it.
    path = "{}{}{}".format(generator.parent, os.pathsep, os.environ["PATH"])
    env = {**os.environ, "PATH": path}
    done = subprocess.run(
        [generator, "generate", *options], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    assert "WARNING" not in done.stdout + done.stderr, done.stdout
    return folder


def python(lab, client, *arguments, check=True):
    """Runs Python on the switch with the generated package at hand."""
    return lab.run(sys.executable, "-B", *arguments, check=check, env={**os.environ, "PYTHONPATH": str(client)})


def test_the_example_observes_a_port(lab, client):
    command = lab.on_switch(sys.executable, "-B", EXAMPLE, "Ethernet16", "60")
    env = {**os.environ, "PYTHONPATH": str(client)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as example:
        first = example.stdout.readline()
        job_id = re.fullmatch(r"job ([0-9a-f]{12}) is (?:starting|running)\n", first)[1]
        until(lambda: lab.row(6, "TELEGEN_JOB_TABLE|" + job_id).get("status") == "running", "the job's start")
        sent = lab.send("Ethernet16", 2000)["protocols"]["ip"]
        wanted = sum(sent[name]["packets"] for name in ("tcp", "udp"))
        counted = "TELEGEN_RESULT_TABLE|" + job_id
        until(lambda: lab.row(6, counted).get("packets_total") == str(wanted), "{} packets".format(wanted))
        # Its time may be changed while it runs; a job ends as done when that is over.
        lab.redis(4, "HSET", "TELEGEN_JOB|" + job_id, "duration", "1")
        rest = example.stdout.read()
        assert example.wait() == 0
    row = lab.row(6, counted)
    total = "job {} is done: {} packets, {} bytes\n".format(job_id, row["packets_total"], row["bytes_total"])
    assert rest.startswith(total)
    assert int(row["ip_tcp_packets"]) + int(row["ip_udp_packets"]) == int(row["packets_total"]) == wanted
    assert re.search(r"^tcp +{} packets".format(row["ip_tcp_packets"]), rest, re.MULTILINE)
    keep_transcript("$ rest_client.py Ethernet16 60\n" + first + rest)


def keep_transcript(text):
    """Writes the session where it is asked for."""
    if "TELEGEN_TRANSCRIPT" in os.environ:
        path = Path(os.environ["TELEGEN_TRANSCRIPT"])
        before, rest = path.read_text().split(MARKS[0])
        path.write_text(before + MARKS[0] + "```\n" + text + "```\n" + MARKS[1] + rest.split(MARKS[1])[1])


def test_a_refusal_comes_as_the_documents_error(lab, client):
    done = python(lab, client, EXAMPLE, "Ethernet3", "3", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("refused: unknown_port: ")


def test_what_the_client_leaves_out_is_left_to_the_switchs_settings(lab, client):
    """A default in the document would be sent by every generated client, and override the settings."""
    code = """
import httpx
from telegen_client import Client
from telegen_client.api.default import post_v1_monitor_jobs
from telegen_client.models import Job
client = Client(base_url="http://localhost", httpx_args={"transport": httpx.HTTPTransport(uds="%s")})
print(post_v1_monitor_jobs.sync(client=client, body=Job(port="Ethernet8", job_id="plain")).status)
"""
    lab.redis(4, "HSET", "TELEGEN|global", "default_duration", "77", "default_sample_rate", "5", "span_method", "none")
    try:
        # The daemon follows the table; the row that tells is the job's own.
        until(lambda: "77" in lab.run("redis-cli", "-n", "4", "HGETALL", "TELEGEN|global").stdout, "the settings")
        assert python(lab, client, "-c", code % SOCKET).stdout in ("starting\n", "running\n")
        row = lab.row(6, "TELEGEN_JOB_TABLE|plain")
        assert [row[name] for name in ("duration", "sample_rate", "span_method")] == ["77", "5", "none"]
    finally:
        lab.redis(4, "DEL", "TELEGEN|global")


def test_the_document_is_what_openapi_3_1_says(client):
    document = json.loads((client / "telegen.json").read_text())
    assert document["openapi"].startswith("3.1.")
    assert {"Job", "JobStatus", "Results", "Error"} <= set(document["components"]["schemas"])
