"""`show telegen ...` and `sonic-clear telegen ...` against a real Redis: exact output for exact rows."""

import json
import textwrap

import pytest
from conftest import ago


@pytest.fixture
def measured(switch):
    """A switch with one finished job, one running job and one that was refused."""
    switch.state.hset(
        "TELEGEN_JOB_TABLE|j10",
        mapping={
            "port": "Ethernet16",
            "direction": "ingress",
            "span_method": "span",
            "ip_proto@": "tcp,udp",
            "status": "running",
            "source": "config",
            "warning": "port_down",
            "created_at": "2026-01-01T00:00:00.000Z",
            "started_at": "2026-01-01T00:00:01.000Z",
            "expires_at": "2026-01-01T00:02:01.000Z",
        },
    )
    switch.state.hset(
        "TELEGEN_JOB_TABLE|j9",
        mapping={
            "port": "Ethernet0",
            "direction": "both",
            "span_method": "none",
            "status": "done",
            "created_at": "2025-12-31T00:00:00.000Z",
            "started_at": "2025-12-31T00:00:01.000Z",
            "expires_at": "2025-12-31T00:02:01.000Z",
            "ended_at": "2025-12-31T00:02:01.004Z",
        },
    )
    switch.state.hset(
        "TELEGEN_JOB_TABLE|*",
        mapping={"status": "rejected", "reason": "invalid_field", "created_at": "2026-01-02T00:00:00.000Z"},
    )
    for job_id in ("j9", "j10"):
        write_results(switch, job_id)
    return switch


def write_results(switch, job_id):
    switch.state.hset(
        "TELEGEN_RESULT_TABLE|" + job_id,
        mapping={
            "window_sec": "12.5",
            "packets_delivered": "110",
            "packets_total": "100",
            "bytes_total": "6400",
            "coverage": "0.98",
            "eth_ipv4_packets": "99",
            "eth_ipv4_bytes": "6340",
            "eth_arp_packets": "1",
            "eth_arp_bytes": "60",
            "ip_tcp_packets": "99",
            "ip_tcp_bytes": "6340",
            "error_truncated_l4": "2",
            "updated_at": "2026-01-01T00:00:13.500Z",
        },
    )
    for rank, source in (("1", "10.0.0.1"), ("2", "2001:db8::1"), ("10", "10.0.0.3")):
        switch.state.hset(
            "TELEGEN_FLOW_TABLE|{}|{}".format(job_id, rank),
            mapping={"src": source, "dst": "10.0.0.9", "l4_sport": "1024", "ip_proto": "6", "packets_est": "50"},
        )
    switch.state.hset(
        "TELEGEN_HISTOGRAM_TABLE|{}|packet_size".format(job_id),
        mapping={"unit": "By", "bounds@": "64,128", "counts@": "40,9,1", "sum": "4000", "count": "50"},
    )


def test_jobs_are_listed_in_the_order_in_which_they_came(measured):
    assert measured.run("show", "telegen", "jobs").output == textwrap.dedent(
        """\
        Job    Port        Direction    Method    Status    Reason         Started                   Ends
        -----  ----------  -----------  --------  --------  -------------  ------------------------  ------------------------
        j9     Ethernet0   both         none      done      N/A            2025-12-31T00:00:01.000Z  2025-12-31T00:02:01.004Z
        j10    Ethernet16  ingress      span      running   N/A            2026-01-01T00:00:01.000Z  2026-01-01T00:02:01.000Z
        *      N/A         N/A          N/A       rejected  invalid_field  N/A                       N/A
        """
    )


def test_jobs_as_json_have_lists_where_the_table_has_lists(measured):
    jobs = json.loads(measured.run("show", "telegen", "jobs", "--json").output)
    assert [job["job_id"] for job in jobs] == ["j9", "j10", "*"]
    assert jobs[1]["ip_proto"] == ["tcp", "udp"]
    assert jobs[1]["warning"] == ["port_down"]


def test_no_jobs_are_an_empty_table_and_an_empty_list(switch):
    assert switch.run("show", "telegen", "jobs").output.startswith("Job    Port")
    assert json.loads(switch.run("show", "telegen", "jobs", "--json").output) == []


def test_in_alias_mode_ports_are_shown_by_their_alias(measured, monkeypatch):
    monkeypatch.setenv("SONIC_CLI_IFACE_MODE", "alias")
    output = measured.run("show", "telegen", "jobs").output
    assert "etp5" in output
    assert "Ethernet" not in output


def test_one_job_is_shown_field_by_field(measured):
    assert measured.run("show", "telegen", "job", "j9").output == textwrap.dedent(
        """\
        Field        Value
        -----------  ------------------------
        job_id       j9
        created_at   2025-12-31T00:00:00.000Z
        direction    both
        ended_at     2025-12-31T00:02:01.004Z
        expires_at   2025-12-31T00:02:01.000Z
        port         Ethernet0
        span_method  none
        started_at   2025-12-31T00:00:01.000Z
        status       done
        """
    )


def test_results_are_shown_with_protocols_errors_and_histograms(measured):
    assert measured.run("show", "telegen", "results", "j10").output == textwrap.dedent(
        """\
        Job j10 on Ethernet16: running
        Warning: port_down
        Counter              Value
        -----------------  -------
        window_sec            12.5
        packets_delivered      110
        packets_total          100
        bytes_total           6400
        coverage              0.98

        Ethernet
        Protocol      Packets    Bytes  Share
        ----------  ---------  -------  -------
        ipv4               99     6340  99.0%
        arp                 1       60  1.0%

        IP
        Protocol      Packets    Bytes  Share
        ----------  ---------  -------  -------
        tcp                99     6340  100.0%

        Errors
        Error           Packets
        ------------  ---------
        truncated_l4          2

        Histogram packet_size
        By        Packets
        ------  ---------  ----------------------------------------
        <= 64          40  ########################################
        <= 128          9  #########
        > 128           1  #
        """
    )


def test_results_as_json_are_numbers_in_their_own_objects(measured):
    assert json.loads(measured.run("show", "telegen", "results", "j10", "--json").output) == {
        "job_id": "j10",
        "window_sec": 12.5,
        "packets_delivered": 110,
        "packets_total": 100,
        "bytes_total": 6400,
        "coverage": 0.98,
        "updated_at": "2026-01-01T00:00:13.500Z",
        "protocols": {
            "ethernet": {"ipv4": {"packets": 99, "bytes": 6340}, "arp": {"packets": 1, "bytes": 60}},
            "ip": {"tcp": {"packets": 99, "bytes": 6340}},
        },
        "errors": {"truncated_l4": 2},
        "histograms": {
            "packet_size": {"unit": "By", "bounds": [64, 128], "counts": [40, 9, 1], "sum": 4000, "count": 50}
        },
    }


def test_a_job_without_results_says_so(switch):
    switch.state.hset("TELEGEN_JOB_TABLE|j1", mapping={"status": "queued", "port": "Ethernet0"})
    assert switch.run("show", "telegen", "results", "j1").output == "Job j1 on Ethernet0: queued\nNo results yet\n"


def test_flows_are_listed_by_rank(measured):
    assert measured.run("show", "telegen", "flows", "j10").output == textwrap.dedent(
        """\
        #    Source       Port    Destination    Port    Proto    VLAN    Packets    +/-    Bytes
        ---  -----------  ------  -------------  ------  -------  ------  ---------  -----  -------
        1    10.0.0.1     1024    10.0.0.9       N/A     6        N/A     50         N/A    N/A
        2    2001:db8::1  1024    10.0.0.9       N/A     6        N/A     50         N/A    N/A
        10   10.0.0.3     1024    10.0.0.9       N/A     6        N/A     50         N/A    N/A
        """
    )
    flows = json.loads(measured.run("show", "telegen", "flows", "j10", "-j").output)
    assert flows[0] == {
        "rank": 1,
        "src": "10.0.0.1",
        "dst": "10.0.0.9",
        "l4_sport": 1024,
        "ip_proto": "6",
        "packets_est": 50,
    }


def test_status_shows_the_daemon_its_settings_and_the_mirror_ports(switch):
    switch.state.hset("TELEGEN_DAEMON_TABLE|localhost", mapping={"version": "0.1.0", "heartbeat": ago(0)})
    switch.config.hset("TELEGEN|global", mapping={"max_jobs": "1"})
    switch.config.hset("TELEGEN_MIRROR_PORT|Ethernet0", mapping={"netdev": "Ethernet0"})
    status = json.loads(switch.run("show", "telegen", "status", "--json").output)
    assert status["daemon"]["state"] == "running"
    assert status["daemon"]["version"] == "0.1.0"
    assert status["settings"] == {"max_jobs": "1"}
    assert status["mirror_ports"] == {"Ethernet0": "Ethernet0"}
    lines = switch.run("show", "telegen", "status").output.splitlines()
    assert "state      running" in lines
    assert "max_jobs   1" in lines
    assert "Ethernet0      Ethernet0" in lines


def test_status_says_that_the_daemon_does_not_run(switch):
    status = json.loads(switch.run("show", "telegen", "status", "--json").output)
    assert status["daemon"]["state"] == "not running (no heartbeat)"
    switch.beat(seconds_ago=16.5)
    status = json.loads(switch.run("show", "telegen", "status", "--json").output)
    assert status["daemon"]["state"] == "not running (last heartbeat 16 s ago)"


@pytest.mark.parametrize("command", ["job", "results", "flows"])
def test_an_unknown_job_fails(switch, command):
    result = switch.run("show", "telegen", command, "nope")
    assert result.exit_code == 2
    assert result.output.endswith("Error: Job nope is unknown; see 'show telegen jobs'\n")


def test_a_job_whose_key_is_a_pattern_shows_and_clears_only_itself(measured):
    assert json.loads(measured.run("show", "telegen", "flows", "*", "--json").output) == []
    before = len(measured.state.keys("*"))
    assert measured.run("clear", "telegen", "results", "*").output == "Job * cleared\n"
    assert len(measured.state.keys("*")) == before - 1
    assert measured.state.exists("TELEGEN_FLOW_TABLE|j9|1")


def test_clear_forgets_one_finished_job_with_all_its_rows(measured):
    assert measured.run("clear", "telegen", "results", "j9").output == "Job j9 cleared\n"
    assert [key for key in measured.state.keys("*") if "j9" in key] == []
    assert len([key for key in measured.state.keys("*") if "j10" in key]) == 6


def test_clear_without_an_id_forgets_every_finished_job_and_no_other(measured):
    assert measured.run("clear", "telegen", "results").output == "2 finished jobs cleared\n"
    assert measured.state.keys("TELEGEN_JOB_TABLE|*") == ["TELEGEN_JOB_TABLE|j10"]
    assert len(measured.state.keys("*")) == 6


@pytest.mark.parametrize(("job_id", "told"), [("j10", "Job j10 is running; stop it first"), ("x", "Job x is unknown")])
def test_clear_refuses_what_is_not_over_and_what_is_not_there(measured, job_id, told):
    before = sorted(measured.state.keys("*"))
    result = measured.run("clear", "telegen", "results", job_id)
    assert result.exit_code == 2
    assert told in result.output
    assert sorted(measured.state.keys("*")) == before
