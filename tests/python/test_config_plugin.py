"""`config telegen ...` against a real Redis: what it writes, what it waits for and what it says."""

import re
import sys
from datetime import datetime, timedelta, timezone

import pytest
import run_plugin
from config import validated_config_db_connector as validated
from conftest import ago
from generic_config_updater.gu_common import GenericConfigUpdaterError

RUNNING = {"status": "running", "expires_at": "2030-01-01T00:00:00.000Z"}


def always(state):
    return lambda row: state


def parse(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_start_writes_the_whole_row_in_one_event_and_says_that_the_job_runs(switch):
    with switch.daemon(always(RUNNING)) as events:
        result = switch.run("config", "telegen", "start", "Ethernet16", "30", "--id", "j1")
    assert result.output == (
        "Job j1 is running on Ethernet16, until 2030-01-01T00:00:00.000Z\nSee 'show telegen results j1'\n"
    )
    assert result.exit_code == 0
    assert [(event, job_id) for event, job_id, _ in events] == [("hset", "j1")]
    row = events[0][2]
    assert {name: value for name, value in row.items() if name != "expires_at"} == {
        "port": "Ethernet16",
        "duration": "30",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["expires_at"])


def test_every_option_becomes_its_field_and_lists_carry_an_at_sign(switch, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "admin")
    options = (
        "--kind traffic --direction both --span-method none --duration 10 --sample-rate 7 --mirror-sample-rate 64 --mirror-truncate 128 --vlan 100 --detail summary --id j-2 "
        "--no-otlp --inner --anonymize --filter ip_proto=tcp,17 --filter l4_sport=80 --filter l4_sport=1000-2000 "
        "--filter l4_dport=443 --filter src_cidr=10.0.0.0/8 --filter dst_cidr=2001:db8::/32 --filter dscp=46,0"
    )
    with switch.daemon(always(RUNNING)):
        arguments = [*options.split(), "--description", "a b"]
        assert switch.run("config", "telegen", "start", "Ethernet0,Ethernet16", *arguments).exit_code == 0
    row = switch.jobs()["j-2"]
    del row["expires_at"]
    assert row == {
        "kind": "traffic",
        "port": "Ethernet0,Ethernet16",
        "direction": "both",
        "span_method": "none",
        "duration": "10",
        "sample_rate": "7",
        "mirror_sample_rate": "64",
        "mirror_truncate": "128",
        "vlan": "100",
        "ip_proto@": "tcp,17",
        "l4_sport@": "80,1000-2000",
        "l4_dport@": "443",
        "src_cidr": "10.0.0.0/8",
        "dst_cidr": "2001:db8::/32",
        "dscp@": "46,0",
        "result_detail": "summary",
        "otlp_export": "false",
        "anonymize": "true",
        "inner": "true",
        "description": "a b",
        "owner": "admin",
    }


@pytest.mark.parametrize(
    ("settings", "arguments", "seconds"),
    [
        ({}, [], 60 + 120),
        ({}, ["5"], 60 + 5),
        ({"queue_ttl": "10", "default_duration": "300"}, [], 10 + 300),
        # The daemon puts the default in the place of a setting that it cannot take; so must its twin here.
        ({"queue_ttl": "soon", "default_duration": "0"}, [], 60 + 120),
    ],
)
def test_a_job_expires_after_the_time_it_may_wait_and_its_duration(switch, settings, arguments, seconds):
    if settings:
        switch.config.hset("TELEGEN|global", mapping=settings)
    before = datetime.now(timezone.utc)
    with switch.daemon(always(RUNNING)) as events:
        switch.run("config", "telegen", "start", "Ethernet0", *arguments)
    after = datetime.now(timezone.utc)
    expires_at = parse(events[0][2]["expires_at"])
    # The row has milliseconds, cut off.
    assert before - timedelta(milliseconds=1) <= expires_at - timedelta(seconds=seconds) <= after


def test_a_job_without_an_id_gets_twelve_hex_digits(switch):
    with switch.daemon(always(RUNNING)):
        first = switch.run("config", "telegen", "start", "Ethernet0").output
        second = switch.run("config", "telegen", "start", "Ethernet0").output
    ids = [re.match(r"Job ([0-9a-f]{12}) is running on Ethernet0", output).group(1) for output in (first, second)]
    assert set(ids) == set(switch.jobs())
    assert len(set(ids)) == 2


def test_a_refusal_is_told_with_reason_and_message(switch):
    refusal = {"status": "rejected", "reason": "concurrency_limit", "message": "2 of 2 jobs run; stop one"}
    with switch.daemon(always(refusal)):
        result = switch.run("config", "telegen", "start", "Ethernet0", "--id", "j1")
    assert result.exit_code == 2
    assert result.output.endswith(
        "Error: Job j1 is rejected on Ethernet0: concurrency_limit: 2 of 2 jobs run; stop one\n"
    )


def test_a_warning_is_told(switch):
    with switch.daemon(always({**RUNNING, "warning": "port_down,oversubscribed"})):
        result = switch.run("config", "telegen", "start", "Ethernet0", "--id", "j1")
    assert "Warning: port_down,oversubscribed; 'show telegen results j1' says what it means\n" in result.output


def test_a_job_that_is_still_starting_after_the_wait_is_told_as_such(switch):
    with switch.daemon(always({"status": "starting"})):
        result = switch.run("config", "telegen", "start", "Ethernet0", "--id", "j1")
    assert (result.exit_code, result.output) == (0, "Job j1 is starting on Ethernet0\n")
    assert "j1" in switch.jobs()


@pytest.mark.parametrize(
    ("beat", "absence"),
    [(None, r"\(no heartbeat in STATE_DB\)"), (60, r"\(last heartbeat 6[0-9] s ago\)")],
)
def test_without_a_daemon_the_row_is_withdrawn(switch, beat, absence):
    if beat is not None:
        switch.beat(seconds_ago=beat)
    result = switch.run("config", "telegen", "start", "Ethernet0", "--id", "j1")
    assert result.exit_code == 2
    expected = "Error: Job j1 was not started and its row is withdrawn: the telegen daemon does not run "
    assert re.search(re.escape(expected) + absence + r"\n$", result.output)
    assert switch.jobs() == {}


def test_a_daemon_that_is_slow_keeps_the_row(switch):
    switch.beat()
    result = switch.run("config", "telegen", "start", "Ethernet0", "--id", "j1")
    assert (result.exit_code, result.output) == (0, "Job j1 is written; no status yet, see 'show telegen job j1'\n")
    assert "j1" in switch.jobs()


def test_the_outcome_of_an_earlier_job_of_the_same_id_is_not_taken_for_the_new_one(switch):
    switch.state.hset("TELEGEN_JOB_TABLE|j1", mapping={"status": "failed", "created_at": ago(100)})
    switch.beat()
    result = switch.run("config", "telegen", "start", "Ethernet0", "--id", "j1")
    assert "no status yet" in result.output
    with switch.daemon(always(RUNNING)):
        switch.config.delete("TELEGEN_JOB|j1")
        switch.state.hset("TELEGEN_JOB_TABLE|j1", "status", "done")
        result = switch.run("config", "telegen", "start", "Ethernet0", "--id", "j1")
    assert "Job j1 is running on Ethernet0" in result.output


@pytest.mark.parametrize("where", ["config", "state"])
def test_an_id_in_use_is_refused_and_its_job_untouched(switch, where):
    if where == "config":
        switch.config.hset("TELEGEN_JOB|j1", "port", "Ethernet16")
    else:
        switch.state.hset("TELEGEN_JOB_TABLE|j1", mapping={"status": "running", "source": "appl"})
    before = switch.jobs()
    result = switch.run("config", "telegen", "start", "Ethernet0", "--id", "j1")
    assert result.exit_code == 2
    assert "Job j1 exists" in result.output
    assert switch.jobs() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sample-rate", "0"], "0 is not in the range 1<=x<=1000000"),
        (["0"], "0 is not in the range 1<=x<=86400"),
        (["--vlan", "4095"], "4095 is not in the range 1<=x<=4094"),
        (["--direction", "rx"], "'rx' is not one of 'ingress', 'egress', 'both'"),
        (["--kind", "packets"], "'packets' is not one of 'traffic', 'drops', 'congestion', 'control-plane', 'profile'"),
        (["--filter", "dscp=64"], "64 is not in the range 0<=x<=63"),
        (["--filter", "colour=red"], "'colour=red' is no filter"),
        (["--filter", "src_cidr"], "'src_cidr' is no filter"),
        (["--filter", "src_cidr=10.0.0.0/8", "--filter", "src_cidr=11.0.0.0/8"], "'src_cidr' is given twice"),
        (["--vlan", "5", "--filter", "vlan=5"], "--vlan and --filter vlan=… say the same"),
        (["5", "--duration", "5"], "DURATION and --duration say the same"),
        (["--id", "a|b"], "'a|b' is no job id"),
        (["--id", "x" * 25], "is no job id"),
        (["--id", "all"], "'all' means every job"),
    ],
)
def test_a_typing_mistake_is_refused_before_anything_is_written(switch, arguments, told):
    result = switch.run("config", "telegen", "start", "Ethernet0", *arguments)
    assert result.exit_code == 2
    assert told in result.output
    assert switch.jobs() == {}


def test_a_reserved_word_is_left_to_the_daemon(switch):
    refusal = {"status": "rejected", "reason": "mirror_unsupported", "message": "not built yet"}
    with switch.daemon(always(refusal)) as events:
        result = switch.run("config", "telegen", "start", "Ethernet0", "--span-method", "psample")
    assert events[0][2]["span_method"] == "psample"
    assert "mirror_unsupported: not built yet" in result.output


def test_a_kind_that_is_not_there_is_left_to_the_daemon_and_needs_no_port(switch):
    refusal = {"status": "rejected", "reason": "kind_unavailable", "message": "not built yet"}
    with switch.daemon(always(refusal)) as events:
        result = switch.run("config", "telegen", "start", "--kind", "profile", "--id", "j1")
    assert {name: value for name, value in events[0][2].items() if name != "expires_at"} == {"kind": "profile"}
    assert result.exit_code == 2
    assert result.output.endswith("Error: Job j1 is rejected: kind_unavailable: not built yet\n")


@pytest.mark.parametrize("arguments", [[], ["--kind", "traffic"]])
def test_without_a_port_a_job_of_kind_traffic_is_a_typing_mistake(switch, arguments):
    result = switch.run("config", "telegen", "start", *arguments)
    assert result.exit_code == 2
    assert result.output.startswith("Usage: ")
    assert re.search(r"Error: Missing argument .PORT.\.\n$", result.output)
    assert switch.jobs() == {}


def test_in_alias_mode_ports_are_named_by_their_alias(switch, monkeypatch):
    monkeypatch.setenv("SONIC_CLI_IFACE_MODE", "alias")
    with switch.daemon(always(RUNNING)) as events:
        result = switch.run("config", "telegen", "start", "etp5", "--id", "j1")
    assert events[0][2]["port"] == "Ethernet16"
    assert "running on etp5" in result.output


def test_stop_deletes_the_row_and_waits_for_the_end(switch):
    with switch.daemon(always(RUNNING)) as events:
        switch.run("config", "telegen", "start", "Ethernet0", "--id", "j1")
        result = switch.run("config", "telegen", "stop", "j1")
    assert (result.exit_code, result.output) == (0, "Job j1 is stopped\n")
    assert [event for event, _, _ in events] == ["hset", "del"]
    assert switch.jobs() == {}


def test_stop_all_stops_every_job_in_config_db(switch):
    with switch.daemon(always(RUNNING)):
        for job_id in ("b", "a"):
            switch.run("config", "telegen", "start", "Ethernet0", "--id", job_id)
        result = switch.run("config", "telegen", "stop", "all")
        assert result.output == "Job a is stopped\nJob b is stopped\n"
        assert switch.run("config", "telegen", "stop", "all").output == "No jobs\n"
    assert switch.jobs() == {}


def test_stop_of_an_unknown_job_fails(switch):
    result = switch.run("config", "telegen", "stop", "nope")
    assert result.exit_code == 2
    assert result.output.endswith("Error: Job nope is unknown; see 'show telegen jobs'\n")


def test_stop_of_a_finished_job_says_how_it_ended(switch):
    switch.state.hset("TELEGEN_JOB_TABLE|j1", "status", "done")
    result = switch.run("config", "telegen", "stop", "j1")
    assert (result.exit_code, result.output) == (0, "Job j1 is over already: done\n")


def test_stop_of_a_program_s_job_says_whose_it_is(switch):
    switch.state.hset("TELEGEN_JOB_TABLE|j1", mapping={"status": "running", "source": "appl"})
    result = switch.run("config", "telegen", "stop", "j1")
    assert result.exit_code == 2
    assert "started by a program through APPL_DB" in result.output


def test_stop_without_a_daemon_removes_the_row_and_says_so(switch):
    switch.config.hset("TELEGEN_JOB|j1", "port", "Ethernet0")
    result = switch.run("config", "telegen", "stop", "j1")
    expected = "The row of job j1 is removed; the telegen daemon does not run (no heartbeat in STATE_DB)\n"
    assert (result.exit_code, result.output) == (0, expected)
    assert switch.jobs() == {}


def test_global_sets_fields_through_validation_and_leaves_the_others(switch):
    switch.config.hset("TELEGEN|global", mapping={"max_queue": "3"})
    validated.WRITES.clear()
    result = switch.run("config", "telegen", "global", "--max-jobs", "1", "--run-saved-jobs", "true")
    assert (result.exit_code, result.output) == (0, "")
    assert switch.config.hgetall("TELEGEN|global") == {"max_queue": "3", "max_jobs": "1", "run_saved_jobs": "true"}
    assert validated.WRITES == [("mod_entry", "TELEGEN", "global", {"max_jobs": "1", "run_saved_jobs": "true"})]


def test_global_writes_a_list_as_sonic_does(switch):
    result = switch.run("config", "telegen", "global", "--erspan-src-ip", "192.0.2.1, 192.0.2.8/30")
    assert (result.exit_code, result.output) == (0, "")
    assert switch.config.hgetall("TELEGEN|global") == {"erspan_src_ip@": "192.0.2.1,192.0.2.8/30"}


def test_global_reset_removes_a_field_and_the_row_with_the_last(switch):
    switch.config.hset("TELEGEN|global", mapping={"max_queue": "3", "max_jobs": "1"})
    assert switch.run("config", "telegen", "global", "--reset", "max_queue").exit_code == 0
    assert switch.config.hgetall("TELEGEN|global") == {"max_jobs": "1"}
    assert switch.run("config", "telegen", "global", "--reset", "max_jobs").exit_code == 0
    assert not switch.config.exists("TELEGEN|global")


def test_global_has_an_option_for_every_setting(switch):
    plugin = run_plugin.load_plugin("config")
    options = {option.name for option in plugin.set_global.params}
    assert options == set(plugin.SETTINGS) | {"reset", "namespace"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Give at least one option"),
        (["--max-jobs", "3"], "3 is not in the range 1<=x<=2"),
        (["--max-jobs", "1", "--reset", "max_jobs"], "max_jobs is both set and reset"),
    ],
)
def test_global_refuses_what_makes_no_sense(switch, arguments, told):
    result = switch.run("config", "telegen", "global", *arguments)
    assert result.exit_code == 2
    assert told in result.output
    assert not switch.config.exists("TELEGEN|global")


def test_help_says_what_every_setting_is_for(switch):
    plugin = run_plugin.load_plugin("config")
    assert set(plugin.SETTING_TEXTS) == set(plugin.SETTINGS)
    told = " ".join(switch.run("config", "telegen", "global", "--help").output.split())
    assert [text for text in plugin.SETTING_TEXTS.values() if text not in told] == []


def test_what_yang_refuses_is_told(switch, monkeypatch):
    def refuse(self, *_):
        raise ValueError("netdev is too long")

    monkeypatch.setattr(validated.ValidatedConfigDBConnector, "set_entry", refuse)
    result = switch.run("config", "telegen", "mirror-port", "add", "Ethernet0", "--netdev", "x")
    assert result.exit_code == 2
    assert result.output.endswith("Error: Invalid ConfigDB. Error: netdev is too long\n")


def test_what_gcu_finds_changed_by_somebody_else_is_told_as_written(switch, monkeypatch):
    def doubt(self, *_):
        raise GenericConfigUpdaterError("there are still some parts not updated")

    monkeypatch.setattr(validated.ValidatedConfigDBConnector, "mod_entry", doubt)
    result = switch.run("config", "telegen", "global", "--max-jobs", "1")
    assert result.exit_code == 2
    assert "Error: Written, but SONiC's validation is not sure of it" in result.output
    assert result.output.endswith("there are still some parts not updated\n")


def test_with_validation_the_first_row_of_a_table_comes_in_one_step(switch, monkeypatch):
    monkeypatch.setattr(validated.ValidatedConfigDBConnector, "yang_enabled", True)
    validated.WRITES.clear()
    assert switch.run("config", "telegen", "global", "--max-jobs", "1").exit_code == 0
    patch = [{"op": "add", "path": "/TELEGEN", "value": {"global": {"max_jobs": "1"}}}]
    assert validated.WRITES == [("apply_patch", "TELEGEN", patch)]


@pytest.mark.parametrize(
    ("arguments", "operation"),
    [
        (
            ["--max-jobs", "1"],
            {
                "op": "add",
                "path": "/TELEGEN/global",
                "value": {"max_queue": "3", "erspan_src_ip": ["192.0.2.1", "192.0.2.2"], "max_jobs": "1"},
            },
        ),
        (
            ["--reset", "max_queue"],
            {"op": "add", "path": "/TELEGEN/global", "value": {"erspan_src_ip": ["192.0.2.1", "192.0.2.2"]}},
        ),
        (["--reset", "max_queue", "--reset", "erspan_src_ip"], {"op": "remove", "path": "/TELEGEN"}),
    ],
)
def test_with_validation_a_change_is_one_operation_and_lists_stay_lists(switch, monkeypatch, arguments, operation):
    monkeypatch.setattr(validated.ValidatedConfigDBConnector, "yang_enabled", True)
    switch.config.hset("TELEGEN|global", mapping={"max_queue": "3", "erspan_src_ip@": "192.0.2.1,192.0.2.2"})
    validated.WRITES.clear()
    assert switch.run("config", "telegen", "global", *arguments).exit_code == 0
    assert validated.WRITES == [("apply_patch", "TELEGEN", [operation])]


def test_with_validation_a_mirror_port_among_others_is_taken_back_alone(switch, monkeypatch):
    monkeypatch.setattr(validated.ValidatedConfigDBConnector, "yang_enabled", True)
    for port in ("Ethernet0", "Ethernet16"):
        switch.config.hset("TELEGEN_MIRROR_PORT|" + port, "netdev", port)
    validated.WRITES.clear()
    assert switch.run("config", "telegen", "mirror-port", "del", "Ethernet0").exit_code == 0
    operation = {"op": "remove", "path": "/TELEGEN_MIRROR_PORT/Ethernet0"}
    assert validated.WRITES == [("apply_patch", "TELEGEN_MIRROR_PORT", [operation])]


def test_mirror_ports_are_lent_and_taken_back_through_validation(switch):
    validated.WRITES.clear()
    assert switch.run("config", "telegen", "mirror-port", "add", "Ethernet0", "--netdev", "Ethernet0").exit_code == 0
    assert switch.config.hgetall("TELEGEN_MIRROR_PORT|Ethernet0") == {"netdev": "Ethernet0"}
    assert switch.run("config", "telegen", "mirror-port", "del", "Ethernet0").exit_code == 0
    assert not switch.config.exists("TELEGEN_MIRROR_PORT|Ethernet0")
    assert [write[:3] for write in validated.WRITES] == [("set_entry", "TELEGEN_MIRROR_PORT", "Ethernet0")] * 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "Ethernet3", "--netdev", "x"], "Port Ethernet3 does not exist"),
        (["add", "Ethernet0"], "Missing option '--netdev'"),
        (["del", "Ethernet0"], "Port Ethernet0 is no mirror port of telegen"),
    ],
)
def test_mirror_port_mistakes_are_told(switch, arguments, told):
    result = switch.run("config", "telegen", "mirror-port", *arguments)
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["start", "Ethernet0"],
        ["stop", "all"],
        ["global", "--max-jobs", "1"],
        ["mirror-port", "add", "Ethernet0", "--netdev", "x"],
        ["mirror-port", "del", "Ethernet0"],
    ],
)
def test_only_root_may_change_anything(switch, monkeypatch, arguments):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    result = switch.run("config", "telegen", *arguments)
    assert result.exit_code == 2
    assert result.output.endswith("Error: Root privileges are required for this operation\n")


def test_commands_may_be_shortened(switch):
    assert switch.run("config", "telegen", "sto", "all").output == "No jobs\n"


@pytest.mark.parametrize("command", ["config", "show", "clear"])
def test_a_name_that_is_taken_is_not_taken_over(command):
    plugin = run_plugin.load_plugin(command)
    taken = type("Root", (), {"commands": {"telegen": None}})()
    with pytest.raises(Exception, match="telegen already exists in CLI"):
        plugin.register(taken)


@pytest.mark.parametrize("command", ["config", "show", "clear"])
def test_a_plugin_imports_only_what_a_sonic_host_has(command):
    source = (run_plugin.PLUGINS / command / "plugins" / "telegen.py").read_text()
    modules = set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE))
    of_the_host = {
        "click",
        "config",
        "generic_config_updater",
        "jsonpatch",
        "jsonpointer",
        "natsort",
        "swsscommon",
        "tabulate",
        "utilities_common",
    }
    assert modules - of_the_host - set(sys.stdlib_module_names) == set()
