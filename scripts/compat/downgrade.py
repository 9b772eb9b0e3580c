"""Downgrades: this tree's daemon ends somehow, and the earlier daemon finds what it left."""

import signal

from bench import CONFIG, STATE, expect, until
from upgrade import RESTARTED, SAMPLED, THEIRS, crash, forgets

KILL, TERM = signal.SIGKILL, signal.SIGTERM
DAEMON = "TELEGEN_DAEMON_TABLE|localhost"
PAIR = ["MIRROR_SESSION|telegen__2_pair", "MIRROR_SESSION|telegen_pair"]


def begin_pair(bench, attach):
    """A sampled job over two ports, which has two sessions, and a plain one."""
    bench.begin("new", "--attach", attach)
    bench.run_job("pair", "Ethernet0,Ethernet8", **SAMPLED)
    bench.run_job("plain", "Ethernet4", direction="both")
    expect("the sessions of pair", sorted(bench.db[CONFIG].keys("MIRROR_SESSION|*pair")), PAIR)


def killed(bench, attach):
    """Without any preparation: the earlier daemon removes all sessions, filters, qdiscs and notes."""
    begin_pair(bench, attach)
    crash(bench, attach)
    bench.begin("old", "--attach", attach)
    bench.expect_ended("pair", *RESTARTED)
    bench.expect_ended("plain", *RESTARTED)
    bench.expect_clean()
    forgets(bench, ("pair", "plain"))


def through_appl_db(bench, attach):
    """A job of a program on the switch."""
    bench.begin("new", "--attach", attach)
    bench.send_to_appl("runs", {"port": "Ethernet4", "direction": "both"})
    bench.await_status("runs", "running")
    crash(bench, attach)
    bench.begin("old", "--attach", attach)
    bench.expect_ended("runs", *RESTARTED)
    bench.expect_clean()


def stopped_by_sigterm(bench, attach):
    """Jobs that this tree's daemon ended stay shown, and are forgotten in time."""
    bench.begin("new", "--attach", attach)
    bench.run_job("over", "Ethernet0", sample_rate="1")
    bench.traffic("Ethernet0", profile="health")
    bench.stop_job("over")
    bench.write_job("refused", "Ethernet99")
    bench.expect_ended("refused", "rejected", "unknown_port")
    bench.run_job("pair", "Ethernet0,Ethernet8", **SAMPLED)
    bench.kill(TERM)
    bench.expect_clean(seconds=5)
    jobs = ("over", "refused", "pair")
    before = {job: bench.status(job) for job in jobs}
    results = bench.db[STATE].hgetall("TELEGEN_RESULT_TABLE|over")
    bench.begin("old", "--attach", attach)
    expect("the rows of jobs", {job: bench.status(job) for job in jobs}, before)
    expect("the results", bench.db[STATE].hgetall("TELEGEN_RESULT_TABLE|over"), results)
    code, said = bench.tool("old", "results", "over")
    expect("results", (code, str(said["packets_total"])), (0, results["packets_total"]))
    code, said = bench.tool("old", "list")
    expect("list", sorted(job["job_id"] for job in said["jobs"]), sorted(jobs))
    forgets(bench, jobs)


def drained_first(bench, attach):
    """What docs/packaging.md tells people to do: nothing is left for the earlier version, daemon or tool."""
    begin_pair(bench, attach)
    code, said = bench.tool("new", "drain")
    expect("drain", (code, said["complete"], sorted(said["jobs"])), (0, True, ["pair", "plain"]))
    bench.kill(TERM)
    bench.expect_clean(seconds=5)
    bench.begin("old", "--attach", attach)
    bench.expect_clean(seconds=5)
    bench.run_job("next", "Ethernet0", direction="both")
    bench.stop_job("next")
    bench.expect_clean()


def drained_after_a_crash(bench, attach):
    """The same without a daemon."""
    begin_pair(bench, attach)
    crash(bench, attach)
    code, said = bench.tool("new", "drain")
    expect("drain", (code, said["complete"]), (0, True))
    bench.expect_clean(seconds=5)


def the_old_drain_does_not_know_the_second_session(bench, attach):
    """Why the new one is to be used: the earlier tool says that it is done, and a session is there."""
    begin_pair(bench, attach)
    crash(bench, attach)
    # It takes a daemon for alive whose heartbeat is younger than 15 s, and leaves the sessions to it.
    bench.db[STATE].hset(DAEMON, "heartbeat", "2020-01-01T00:00:00.000Z")
    code, said = bench.tool("old", "drain")
    expect(
        "the earlier drain", (code, said["complete"], said["sessions"]), (0, True, ["telegen_pair", "telegen_plain"])
    )
    expect("what it left", sorted(bench.db[CONFIG].keys("MIRROR_SESSION|telegen_*")), PAIR[:1])
    bench.begin("old", "--attach", attach)
    bench.expect_clean()


def fields_that_it_does_not_know(bench, attach):
    """Rows and settings of a later version are refused by name, and its daemon's row goes."""
    bench.db[CONFIG].hset("TELEGEN|global", mapping={"max_sessions": "4", "a_later_setting": "1"})
    bench.begin("new", "--attach", attach)
    bench.write_job("refused", "Ethernet0", a_later_field="1")
    bench.expect_ended("refused", "rejected", "invalid_field")
    new = bench.db[STATE].hgetall(DAEMON)
    expect("errors in the settings", "a_later_setting" in new["settings_errors"], True)
    bench.kill(KILL)
    bench.write_job("later", "Ethernet0", a_later_field="1")
    bench.begin("old", "--attach", attach)
    row = bench.expect_ended("later", "rejected", "invalid_field")
    expect("the field is named", "a_later_field" in row["message"], True)
    old = bench.db[STATE].hgetall(DAEMON)
    for name in ("max_sessions", "a_later_setting"):
        expect(f"{name} is named in settings_errors", name in old["settings_errors"], True)
    expect("fields of the later daemon", sorted({"refused_total", "refused_not_kept", "sessions_held"} & set(old)), [])
    bench.expect_clean()


def hold_one(bench, attach):
    """A session of ours that stays, because its removal would take a port from somebody else's."""
    bench.begin("new", "--attach", attach)
    bench.run_job("under", "Ethernet0")
    bench.db[CONFIG].hset("MIRROR_SESSION|theirs", mapping=THEIRS)
    bench.expect_ended("under", "failed", "mirror_conflict")
    until(lambda: bench.db[STATE].hget(DAEMON, "sessions_held"), "ours is held")


def kept_session(bench, attach):
    """The earlier daemon deletes a session that this tree's keeps, and somebody else's loses its port by that."""
    hold_one(bench, attach)
    expect("copies for theirs", bench.traffic("Ethernet0", count=100)["copies"]["delivered"], 100)
    bench.kill(TERM)
    expect("ours stays", bench.db[CONFIG].exists("MIRROR_SESSION|telegen_under"), 1)
    bench.begin("old", "--attach", attach)
    until(lambda: not bench.rows(), "ours is deleted")
    expect("copies for theirs afterwards", bench.traffic("Ethernet0", count=100)["copies"]["delivered"], 0)
    # What docs/packaging.md says then: their owner removes it, and adds it again.
    bench.db[CONFIG].delete("MIRROR_SESSION|theirs")
    until(lambda: not bench.db[STATE].exists("MIRROR_SESSION_TABLE|theirs"), "theirs is removed")
    bench.expect_clean()


def kept_session_drained(bench, attach):
    """Drain removes it, too, and names the session that must be added again."""
    hold_one(bench, attach)
    code, said = bench.tool("new", "drain")
    expect("drain", (code, said["sessions_to_add_again"]), (0, ["theirs"]))
    bench.db[CONFIG].delete("MIRROR_SESSION|theirs")
    until(lambda: not bench.db[STATE].exists("MIRROR_SESSION_TABLE|theirs"), "theirs is removed")
    bench.db[CONFIG].hset("MIRROR_SESSION|theirs", mapping=THEIRS)
    until(lambda: bench.db[STATE].hget("MIRROR_SESSION_TABLE|theirs", "status") == "active", "theirs is active")
    bench.kill(TERM)
    bench.begin("old", "--attach", attach)
    expect("copies for theirs", bench.traffic("Ethernet0", count=100)["copies"]["delivered"], 100)
    bench.expect_clean({"theirs": THEIRS})


SCENARIOS = (
    killed,
    through_appl_db,
    stopped_by_sigterm,
    drained_first,
    drained_after_a_crash,
    the_old_drain_does_not_know_the_second_session,
    fields_that_it_does_not_know,
    kept_session,
    kept_session_drained,
)
