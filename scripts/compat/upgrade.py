"""Upgrades: the earlier daemon runs jobs and ends somehow, and this tree's daemon goes on with what it left."""

import signal
import time

from bench import CONFIG, STATE, expect, until

# As long as an id was allowed to be.
LONG = "an-id-of-24-characters--"
LONG_QUEUED = "no-longer-an-id-of-now"
SAMPLED = {"span_method": "erspan", "mirror_sample_rate": "4"}
# Somebody else's session on the port of a job.
THEIRS = {"type": "SPAN", "src_port": "Ethernet0", "dst_port": "Ethernet20", "direction": "RX"}
KILL, TERM = signal.SIGKILL, signal.SIGTERM
RESTARTED = ("failed", "daemon_restarted")
# Milliseconds after the row of a job was written, or deleted.
MOMENTS = (0, 5, 10, 15, 20, 30, 40)


def in_every_phase(bench, attach):
    """Two jobs that run, one that waits, one that is over and one that was refused; the daemon is killed."""
    bench.db[CONFIG].hset("TELEGEN|global", "max_queue", "2")
    bench.begin("old", "--attach", attach)
    bench.run_job("over", "Ethernet0", sample_rate="1")
    bench.traffic("Ethernet0")
    bench.stop_job("over")
    bench.write_job("refused", "Ethernet99")
    bench.expect_ended("refused", "rejected", "unknown_port")
    bench.run_job("runs", "Ethernet4", direction="both", description="who, why")
    bench.run_job(LONG, "Ethernet8")
    for job in ("waits", LONG_QUEUED):
        bench.write_job(job, "Ethernet12")
        bench.await_status(job, "queued")
    said = {job: said_of(bench, job) for job in ("over", "refused")}
    crash(bench, attach)
    bench.write_job("came-later", "Ethernet16", expires_at="2020-01-01T00:00:00Z")
    bench.begin("new", "--attach", attach)
    for job in ("runs", LONG):
        expect(f"{job} shows what it was", bench.expect_ended(job, *RESTARTED)["sample_rate"], "100")
    expect("its description", bench.status("runs")["description"], "who, why")
    row = bench.expect_ended(LONG_QUEUED, "rejected", "invalid_field")
    expect("the id is named", row["message"].startswith(f'job_id: "{LONG_QUEUED}"'), True)
    for job, before in said.items():
        expect(f"the row of {job}", bench.status(job), before[0])
        expect(f"what status and results say of {job}", known_of(bench, job, before), before[1:])
    bench.expect_ended("came-later", "expired")
    bench.await_status("waits", "running")
    bench.stop_job("waits")
    bench.expect_clean()
    forgets(bench, ("over", "refused", "runs", LONG, "waits", LONG_QUEUED, "came-later"))


def crash(bench, attach):
    """SIGKILL; clsact filters outlive their daemon, TCX links do not."""
    there = bool(bench.on_netdevs())
    bench.kill(KILL)
    in_kernel = (there, bool(bench.on_netdevs()), bool(bench.notes()))
    expect("filters before and after, and notes", in_kernel, (attach == "clsact",) * 3)
    expect("BPF objects that were held", {kind for kind, _ in bench.objects} >= {"prog", "map"}, True)


def said_of(bench, job):
    """The row of a job, and what the earlier tool says of it."""
    return bench.status(job), bench.tool("old", "status", job), bench.tool("old", "results", job)


def known_of(bench, job, before):
    """What this tree's tool says of a job, without what the earlier one did not say."""
    answers = []
    for verb, (_, old) in zip(("status", "results"), before[1:], strict=True):
        code, new = bench.tool("new", verb, job)
        answers.append((code, pruned(new, old)))
    return tuple(answers)


def pruned(new, old):
    """`new` without the members that `old` does not have."""
    if isinstance(new, dict) and isinstance(old, dict):
        return {name: pruned(value, old[name]) for name, value in new.items() if name in old}
    return new


def forgets(bench, jobs):
    """What is said of jobs goes with their retention, whoever said it."""
    bench.db[CONFIG].hset("TELEGEN|global", "result_retention", "0")

    def left():
        return sorted(key for key in bench.db[STATE].keys("TELEGEN_*") if key.split("|")[1] in jobs)

    try:
        until(lambda: not left(), "the rows of jobs are forgotten")
    except TimeoutError as error:
        raise AssertionError(f"not forgotten: {left()}") from error


def through_appl_db(bench, attach):
    """Jobs of programs on the switch: one that runs, and one that the daemon has not seen."""
    bench.begin("old", "--attach", attach)
    bench.send_to_appl("runs", {"port": "Ethernet4", "direction": "both", "vlan": "100"})
    bench.await_status("runs", "running")
    crash(bench, attach)
    bench.send_to_appl("unseen", {"port": "Ethernet8"})
    bench.begin("new", "--attach", attach)
    row = bench.expect_ended("runs", *RESTARTED)
    expect("it shows what it was", (row["source"], row["vlan"]), ("appl", "100"))
    # Only its queue says that it is there: whatever was written while no daemon ran has no end of its own.
    bench.await_status("unseen", "running")
    bench.send_to_appl("unseen", None)
    bench.await_status("unseen", "stopped")
    bench.expect_clean()


def stopped_by_sigterm(bench, attach):
    """A daemon that is told to stop ends its jobs itself; the next one has nothing to do."""
    bench.begin("old", "--attach", attach)
    bench.run_job("runs", "Ethernet4", direction="both")
    bench.run_job("thin", "Ethernet8", **SAMPLED)
    bench.kill(TERM)
    bench.expect_clean(seconds=5)
    before = {job: bench.status(job) for job in ("runs", "thin")}
    bench.begin("new", "--attach", attach)
    for job, row in before.items():
        expect(f"the row of {job}", bench.expect_ended(job, "stopped", "daemon_stopped"), row)
    bench.run_job("next", "Ethernet4")
    bench.stop_job("next")
    bench.expect_clean()


def sampled_over_two_ports(bench, attach):
    """The earlier daemon made one session for all ports of a sampled job."""
    bench.begin("old", "--attach", attach)
    bench.run_job("thin", "Ethernet0,Ethernet8", direction="both", **SAMPLED)
    crash(bench, attach)
    bench.begin("new", "--attach", attach)
    bench.expect_ended("thin", *RESTARTED)
    bench.expect_clean()
    bench.run_job("next", "Ethernet0,Ethernet8", **SAMPLED)
    bench.stop_job("next")
    bench.expect_clean()


def over_a_port_channel(bench, attach):
    """The earlier daemon's sessions named port channels."""
    bench.db[CONFIG].hset("PORTCHANNEL|PortChannel1", "admin_status", "up")
    for port in ("Ethernet8", "Ethernet12"):
        bench.db[CONFIG].hset(f"PORTCHANNEL_MEMBER|PortChannel1|{port}", "NULL", "NULL")
    bench.begin("old", "--attach", attach)
    bench.run_job("wide", "PortChannel1", direction="both")
    expect("the session's port", bench.db[CONFIG].hget("MIRROR_SESSION|telegen_wide", "src_port"), "PortChannel1")
    crash(bench, attach)
    bench.begin("new", "--attach", attach)
    bench.expect_ended("wide", *RESTARTED)
    bench.expect_clean()


def under_somebody_elses_session(bench, attach):
    """Somebody else's session took the port of a job whose daemon is gone: ours stays as long as theirs is there."""
    bench.begin("old", "--attach", attach)
    bench.run_job("under", "Ethernet0")
    bench.kill(KILL)
    bench.db[CONFIG].hset("MIRROR_SESSION|theirs", mapping=THEIRS)
    until(lambda: bench.db[STATE].hget("MIRROR_SESSION_TABLE|theirs", "status") == "active", "theirs is active")
    bench.begin("new", "--attach", attach)
    bench.expect_ended("under", *RESTARTED)
    until(lambda: bench.db[STATE].hget("TELEGEN_DAEMON_TABLE|localhost", "sessions_held"), "ours is held")
    sent = bench.traffic("Ethernet0", count=100)
    expect("copies for theirs", sent["copies"]["delivered"], 100)
    bench.db[CONFIG].delete("MIRROR_SESSION|theirs")
    bench.expect_clean()


def at_any_moment(bench, attach):
    """The earlier daemon is killed while a job begins, and while one ends."""
    for number, delay in enumerate(MOMENTS):
        for end in (False, True):
            job = f"killed-{number}-{'end' if end else 'start'}"
            bench.begin("old", "--attach", attach)
            if end:
                bench.run_job(job, "Ethernet0")
                bench.db[CONFIG].delete(f"TELEGEN_JOB|{job}")
            else:
                bench.write_job(job, "Ethernet0")
            time.sleep(delay / 1000)
            bench.kill(KILL)
            said = bench.status(job)
            bench.begin("new", "--attach", attach)
            outcome(bench, job, said)
            bench.expect_clean()
            bench.kill(TERM)


def outcome(bench, job, said):
    """What must become of a job of which the earlier daemon said this last."""
    if not said:
        bench.await_status(job, "running")
        bench.stop_job(job)
    elif said["status"] in ("starting", "running", "stopping"):
        bench.expect_ended(job, *RESTARTED)
    else:
        expect(f"the row of {job}", bench.status(job), said)


def drained_by_the_new_tool(bench, attach):
    """After a crash of the earlier daemon, this tree's drain alone removes everything, before any daemon starts."""
    bench.begin("old", "--attach", attach)
    bench.run_job("runs", "Ethernet4", direction="both")
    bench.run_job(LONG, "Ethernet8")
    crash(bench, attach)
    code, said = bench.tool("new", "drain")
    expect("drain", (code, said["complete"]), (0, True))
    bench.expect_clean(seconds=5)
    bench.begin("new", "--attach", attach)
    bench.expect_clean(seconds=5)


def beside_the_old_daemon(bench, attach):
    """An earlier daemon that was not stopped: the state directory keeps the new one out, and says who it is."""
    bench.begin("old", "--attach", attach)
    pid = bench.daemon.pid
    bench.run_job("runs", "Ethernet4")
    command = bench.start(bench.on_switch(bench.versions["new"] / "telegen-sonic", "daemon"), "a second daemon")
    until(command.is_over, "the second daemon ends")
    code, _, stderr = command.said()
    expect("exit code", (code, f"pid {pid}" in stderr), (3, True))
    expect("the job", bench.status("runs")["status"], "running")
    bench.stop_job("runs")
    bench.kill(TERM)
    bench.expect_clean()


SCENARIOS = (
    in_every_phase,
    through_appl_db,
    stopped_by_sigterm,
    sampled_over_two_ports,
    over_a_port_channel,
    under_somebody_elses_session,
    at_any_moment,
    drained_by_the_new_tool,
    beside_the_old_daemon,
)
