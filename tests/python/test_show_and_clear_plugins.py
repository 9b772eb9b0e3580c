"""`show telegen ...` and `sonic-clear telegen ...` against a real Redis: exact output for exact rows."""

import json
import re
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
            "sample_rate": "1",
            "fragments": "5",
            "service_bgp_packets": "9",
            "service_bgp_bytes": "900",
            "tunnel_vxlan_packets": "4",
            "tunnel_vxlan_bytes": "400",
            "inner_non_ip_packets": "4",
            "inner_non_ip_bytes": "400",
            "health_tcp_reset": "3",
            "health_ttl_1": "1",
            "cast_unicast": "99",
            "cast_broadcast": "1",
            "ecn_not_ect": "90",
            "ecn_ce": "9",
            "dscp_0": "90",
            "dscp_46": "9",
            "tcp_flags_ack": "96",
            "tcp_flags_rst_ack": "3",
            "rocev2_write": "7",
            "rocev2_ecn_ect0": "7",
            "tcp_tracked": "90",
            "tcp_untracked": "9",
            "tcp_retransmitted": "2",
            "tcp_out_of_order": "0",
            "copies_lost": "0",
            "copies_unreadable": "1",
            "flows_distinct_est": "12",
            "flows_distinct_err95": "2",
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
        mapping={
            "unit": "By",
            "bounds@": "64,128",
            "counts@": "40,9,1",
            "sum": "4000",
            "count": "50",
            "sample_rate": "1",
        },
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


def test_results_are_shown_with_what_is_wrong_first(measured):
    assert measured.run("show", "telegen", "results", "j10").output == textwrap.dedent(
        """\
        Job j10 on Ethernet16: running
        Warning: port_down: the port is down: there may be nothing to see
        copies: none was lost on the way; 1 held no frame that could be read
        Coverage 98.0%: some copies were lost on the way; totals are of what arrived

        Health                 Packets  Share    Of           Means
        -------------------  ---------  -------  -----------  ---------------------------------------------------
        TCP retransmissions          2  2.2%     tracked TCP  lost or late on the way
        TCP out of order             0  0.0%     tracked TCP  paths of different delay
        TCP resets                   3  3.0%     TCP          refused, or broken off
        ECN congestion               9  100.0%   ECN-capable  queues on the way were congested
        truncated L4                 2  2.0%     all          end inside the TCP, UDP, ICMP or SCTP header
        TTL 1                        1  1.0%     IP           the next router drops it; normal between neighbours
        IP fragments                 5  5.1%     IP           parts of larger packets
        retransmissions: not known of 9 TCP packets (9.1%) whose flows were not tracked

        Counter               Value
        -----------------  --------
        window_sec             12.5
        packets_delivered       110
        packets_total           100
        bytes_total            6400
        coverage               0.98
        sample_rate               1
        distinct_flows     12 +/- 2

        Ethernet
        Protocol      Packets    Bytes  Share
        ----------  ---------  -------  -------
        ipv4               99     6340  99.0%
        arp                 1       60  1.0%

        IP
        Protocol      Packets    Bytes  Share
        ----------  ---------  -------  -------
        tcp                99     6340  99.0%

        Services
        Protocol      Packets    Bytes  Share
        ----------  ---------  -------  -------
        bgp                 9      900  9.0%

        Tunnels
        Protocol      Packets    Bytes  Share
        ----------  ---------  -------  -------
        vxlan               4      400  4.0%

        In tunnels
        Protocol      Packets    Bytes  Share
        ----------  ---------  -------  -------
        non_ip              4      400  4.0%

        sent to     unicast 99 (99.0%), broadcast 1 (1.0%)
        dscp        0 90.9%, 46 9.1%
        ecn         not_ect 90.9%, ce 9.1%
        tcp flags   ack 97.0%, rst_ack 3.0%
        rocev2      write 100.0%
        rocev2 ecn  ect0 100.0%

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
        "sample_rate": 1,
        "fragments": 5,
        "updated_at": "2026-01-01T00:00:13.500Z",
        "protocols": {
            "ethernet": {"ipv4": {"packets": 99, "bytes": 6340}, "arp": {"packets": 1, "bytes": 60}},
            "ip": {"tcp": {"packets": 99, "bytes": 6340}},
        },
        "services": {"bgp": {"packets": 9, "bytes": 900}},
        "tunnels": {"vxlan": {"packets": 4, "bytes": 400}},
        "inner": {"non_ip": {"packets": 4, "bytes": 400}},
        "errors": {"truncated_l4": 2},
        "health": {
            "events": {"tcp_reset": 3, "ttl_1": 1},
            "cast": {"unicast": 99, "broadcast": 1},
            "ecn": {"not_ect": 90, "ce": 9},
            "dscp": {"0": 90, "46": 9},
            "tcp_flags": {"ack": 96, "rst_ack": 3},
            "segments": {"tracked": 90, "untracked": 9, "retransmitted": 2, "out_of_order": 0},
            "rocev2": {"ops": {"write": 7}, "ecn": {"ect0": 7}},
        },
        "copies": {"lost": 0, "unreadable": 1},
        "distinct_flows": {"estimate": 12, "err95": 2},
        "histograms": {
            "packet_size": {
                "unit": "By",
                "bounds": [64, 128],
                "counts": [40, 9, 1],
                "sum": 4000,
                "count": 50,
                "sample_rate": 1,
            }
        },
    }


def shown(switch, fields, status=()):
    """The lines of `show telegen results` of a job of 1000 TCP packets with these fields, but for coverage's."""
    switch.state.hset("TELEGEN_JOB_TABLE|j1", mapping={"status": "done", "port": "Ethernet0", **dict(status)})
    counted = {"packets_total": "1000", "ip_tcp_packets": "1000", "eth_ipv4_packets": "1000", "cast_unicast": "1000"}
    switch.state.hset("TELEGEN_RESULT_TABLE|j1", mapping={**counted, **fields})
    lines = switch.run("show", "telegen", "results", "j1").output.splitlines()
    return [line for line in lines if not line.startswith("Coverage ")]


@pytest.mark.parametrize(
    ("coverage", "delivered", "status", "told"),
    [
        ("0.0000", "0", {}, "0.0%: no copies arrived; nothing is known of the traffic"),
        ("0.0512", "600", {}, "5.1%: copies are rate-limited on the way to the CPU; totals are of what arrived"),
        ("0.9900", "99", {}, "99.0%: some copies were lost on the way; totals are of what arrived"),
        ("1.0000", "100", {}, "100.0%: what the port counted has arrived"),
        (
            "1.2",
            "120",
            {},
            "120.0%: more arrived than the port counted; its counters and the tap are not read at the same moment",
        ),
        ("", "100", {}, "unknown: the port's counters were not read twice during the job"),
        ("", "100", {"status": "running"}, "not known yet"),
        (
            "",
            "100",
            {"span_method": "none"},
            "unknown: without a mirror session only traffic to and from the CPU is seen",
        ),
    ],
)
def test_coverage_is_said_in_words(switch, coverage, delivered, status, told):
    switch.state.hset("TELEGEN_JOB_TABLE|j1", mapping={"status": "done", "port": "Ethernet0", **status})
    row = {"packets_delivered": delivered, **({"coverage": coverage} if coverage else {})}
    switch.state.hset("TELEGEN_RESULT_TABLE|j1", mapping=row)
    assert "Coverage " + told in switch.run("show", "telegen", "results", "j1").output.splitlines()


def test_healthy_traffic_is_said_to_be_healthy_as_far_as_it_was_measured(switch):
    assert shown(switch, {"sample_rate": "100"})[1:5] == [
        "",
        "health: nothing wrong was seen",
        "retransmissions: not measured; needs --sample-rate 1",
        "",
    ]
    measured = {"tcp_tracked": "1000", "tcp_untracked": "0", "tcp_retransmitted": "0", "tcp_out_of_order": "0"}
    assert shown(switch, {"sample_rate": "1", **measured})[2:4] == [
        "health: nothing wrong was seen",
        "retransmissions: none, and nothing out of order, among 1000 tracked TCP packets",
    ]


def test_what_was_not_measured_is_null_and_said_with_its_reason(switch):
    lines = shown(switch, {"sample_rate": "100"}, {"result_detail": "summary"})
    assert "retransmissions: not measured; needs --sample-rate 1 and --detail flows" in lines
    results = json.loads(switch.run("show", "telegen", "results", "j1", "--json").output)
    assert (results["health"]["segments"], results["copies"], results["distinct_flows"]) == (None, None, None)
    assert shown(switch, {"copies_unreadable": "0"})[1] == (
        "copies: whether some were lost on the way is not known, they have no sequence numbers"
    )
    json_copies = json.loads(switch.run("show", "telegen", "results", "j1", "--json").output)["copies"]
    assert json_copies == {"lost": None, "unreadable": 0}


def test_numbers_of_a_version_that_did_not_look_are_not_called_healthy(switch):
    switch.state.hset("TELEGEN_JOB_TABLE|j1", mapping={"status": "done", "port": "Ethernet0"})
    switch.state.hset("TELEGEN_RESULT_TABLE|j1", mapping={"packets_total": "9", "error_truncated_ip": "1"})
    lines = switch.run("show", "telegen", "results", "j1").output.splitlines()
    assert lines[3:7] == [
        "health: not measured by the version that ran this job, but for broken packets",
        "Health          Packets  Share    Of    Means",
        "------------  ---------  -------  ----  ------------------------",
        "truncated IP          1  11.1%    all   end inside the IP header",
    ]


def test_tunnels_that_nobody_looked_into_are_named_and_so_is_that_there_were_none(switch):
    assert "tunnels: 34 packets are in tunnels; --inner looks into them" in shown(
        switch, {"service_vxlan_packets": "30", "ip_gre_packets": "4", "service_dns_packets": "5"}
    )
    switch.state.delete("TELEGEN_RESULT_TABLE|j1")
    assert "tunnels: none that could be looked into (VXLAN, Geneve, GRE, IP-in-IP, MPLS)" in shown(
        switch, {}, {"inner": "true"}
    )


def test_many_code_points_are_cut_to_the_largest_and_the_rest_is_summed(switch):
    lines = shown(switch, {"dscp_{}".format(dscp): str(100 - dscp) for dscp in range(10)})
    assert lines[-1] == (
        "dscp        0 10.5%, 1 10.4%, 2 10.3%, 3 10.2%, 4 10.1%, 5 9.9%, 6 9.8%, 7 9.7%, 2 others 19.2%"
    )


def test_a_job_without_results_says_so(switch):
    switch.state.hset("TELEGEN_JOB_TABLE|j1", mapping={"status": "queued", "port": "Ethernet0"})
    assert switch.run("show", "telegen", "results", "j1").output == "Job j1 on Ethernet0: queued\nNo results yet\n"


def test_flows_are_listed_by_rank(measured):
    assert measured.run("show", "telegen", "flows", "j10").output == textwrap.dedent(
        """\
        #    Source       Port    Destination    Port    Proto    VLAN    Packets    +/-    Bytes
        ---  -----------  ------  -------------  ------  -------  ------  ---------  -----  -------
        1    10.0.0.1     1024    10.0.0.9       N/A     tcp      N/A     50         N/A    N/A
        2    2001:db8::1  1024    10.0.0.9       N/A     tcp      N/A     50         N/A    N/A
        10   10.0.0.3     1024    10.0.0.9       N/A     tcp      N/A     50         N/A    N/A
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


def test_status_says_so_where_nothing_is_set_and_no_port_is_lent(switch):
    assert switch.run("show", "telegen", "status").output.splitlines()[-3:] == [
        "Every setting has its default; see 'config telegen global --help'",
        "",
        "No mirror ports; see 'config telegen mirror-port add --help'",
    ]


def test_a_warning_of_a_later_version_is_shown_and_an_empty_histogram_is_not(switch):
    row = {"unit": "By", "bounds@": "64", "counts@": "0,0", "sum": "0", "count": "0", "sample_rate": "1"}
    switch.state.hset("TELEGEN_HISTOGRAM_TABLE|j1|packet_size", mapping=row)
    lines = shown(switch, {"sample_rate": "1"}, {"warning": "port_down,of_tomorrow"})
    assert lines[1:3] == ["Warning: port_down: the port is down: there may be nothing to see", "Warning: of_tomorrow"]
    assert not [line for line in lines if line.startswith("Histogram")]


def test_status_says_what_the_switch_can_and_why_not(switch):
    row = {
        "version": "0.1.0",
        "span": "true",
        "span_why": "a place",
        "span_to_cpu": "false",
        "span_to_cpu_why": "refused",
    }
    switch.state.hset("TELEGEN_DAEMON_TABLE|localhost", mapping={**row, "erspan": "unknown", "erspan_why": "not tried"})
    lines = switch.run("show", "telegen", "status").output.splitlines()
    begin = lines.index("This switch can             Why")
    assert [" ".join(line.split()) for line in lines[begin + 2 : begin + 5]] == [
        "erspan unknown not tried",
        "span yes a place",
        "span_to_cpu no refused",
    ]
    assert not any(line.startswith("span") for line in lines[:begin])


def test_a_sampled_mirror_is_said_before_its_numbers(switch):
    switch.state.hset("TELEGEN_JOB_TABLE|thin", mapping={"status": "done", "port": "Ethernet0,Ethernet16"})
    row = {"packets_total": "100", "mirror_sample_rate": "50", "packets_est": "5000", "packets_err95": "971"}
    switch.state.hset("TELEGEN_RESULT_TABLE|thin", mapping={**row, "mirror_truncate": "128", "sample_rate": "1"})
    lines = switch.run("show", "telegen", "results", "thin").output.splitlines()
    assert lines[:3] == [
        "Job thin on Ethernet0,Ethernet16: done",
        "Copies: the ASIC copied 1 of 50 packets, and all counts are of copies: about 5000 +/- 971 packets of the port",
        "Copies: cut to 128 bytes: bytes and lengths are of what is left",
    ]


def test_status_says_that_the_daemon_does_not_run(switch):
    status = json.loads(switch.run("show", "telegen", "status", "--json").output)
    assert status["daemon"]["state"] == "not running (no heartbeat)"
    switch.beat(seconds_ago=60)
    status = json.loads(switch.run("show", "telegen", "status", "--json").output)
    # A slow machine looks some seconds later.
    assert re.fullmatch(r"not running \(last heartbeat 6[0-9] s ago\)", status["daemon"]["state"])


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
