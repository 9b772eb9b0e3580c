"""Completion of what the user types: the words that click's shell support is given."""

import pytest
import run_plugin
from click.shell_completion import ShellComplete


def words(*arguments):
    """What Tab would offer behind the last word of `arguments`."""
    *before, incomplete = arguments
    completion = ShellComplete(run_plugin.root(), {}, "sonic", "_SONIC_COMPLETE")
    return [item.value for item in completion.get_completions(list(before), incomplete)]


def test_start_offers_ports_and_port_channels(switch):
    switch.config.hset("PORTCHANNEL|PortChannel1", "NULL", "NULL")
    assert words("config", "telegen", "start", "") == ["Ethernet0", "Ethernet16", "PortChannel1"]
    assert words("config", "telegen", "start", "Ethernet1") == ["Ethernet16"]


def test_start_offers_aliases_in_alias_mode(switch, monkeypatch):
    monkeypatch.setenv("SONIC_CLI_IFACE_MODE", "alias")
    assert words("config", "telegen", "start", "e") == ["etp1", "etp5"]


def test_choices_are_offered(switch):
    assert words("config", "telegen", "start", "Ethernet0", "--direction", "") == ["ingress", "egress", "both"]


def test_stop_offers_the_jobs_that_are_not_over(switch):
    switch.config.hset("TELEGEN_JOB|j1", "port", "Ethernet0")
    switch.state.hset("TELEGEN_JOB_TABLE|old", "status", "done")
    assert words("config", "telegen", "stop", "") == ["all", "j1"]


def test_show_offers_every_known_job_and_clear_the_finished_ones(switch):
    switch.state.hset("TELEGEN_JOB_TABLE|j1", "status", "running")
    switch.state.hset("TELEGEN_JOB_TABLE|old", "status", "done")
    for command in ("job", "results", "flows"):
        assert words("show", "telegen", command, "") == ["j1", "old"]
    assert words("clear", "telegen", "results", "") == ["old"]


def test_mirror_port_del_offers_what_can_be_taken_back(switch):
    switch.config.hset("TELEGEN_MIRROR_PORT|Ethernet16", "netdev", "x")
    assert words("config", "telegen", "mirror-port", "del", "") == ["Ethernet16"]


@pytest.mark.parametrize(
    "command", [("config", "telegen", "stop"), ("show", "telegen", "job"), ("clear", "telegen", "results")]
)
def test_without_redis_nothing_is_offered_and_nothing_is_said(switch, monkeypatch, capfd, command):
    def refuse(*_):
        raise ConnectionError("no Redis")

    monkeypatch.setattr("swsscommon.swsscommon.SonicDBConfig.connect", refuse)
    assert words(*command, "") == []
    assert capfd.readouterr() == ("", "")
