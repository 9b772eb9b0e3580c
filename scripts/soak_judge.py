"""What scripts/test_soak.py expects of each job: outcomes, times and counts, by what was done to the switch meanwhile.

Nothing here touches the switch.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime

from soak_switch import FINAL

# What was not taken up, or was refused by the command that should have written it, has no row in STATE_DB.
NONE = ("none", "")
DONE, STOPPED = ("done", ""), ("stopped", "")
EXPIRED = ("expired", "")
REJECTED_BUSY = {("rejected", "concurrency_limit"), ("rejected", "queue_timeout"), EXPIRED}
NOT_TAKEN = {("failed", "mirror_rejected"), ("failed", "mirror_lost")}
# An earlier session that orchagent has not removed yet keeps ports, destination and id.
OCCUPIED = {("rejected", "mirror_conflict"), ("rejected", "no_mirror_port")}
# How much later than asked a job may end, on a machine that does other things as well.
ENDS_LATE_SEC = 2.0
# How much earlier: the clock's steps in the rows are milliseconds.
ENDS_EARLY_SEC = 0.05
# From the row to `running`, or to a refusal: the survey, orchagent's 5 s, the tap.
START_SEC = 12
# From the end to the final status: orchagent's 5 s, ASIC_DB's 3 s.
END_SEC = 12
# How long an ERSPAN session may wait for its neighbour.
NEIGHBOUR_SEC = 62
SETTLE_SEC = 1
# How long a row without a port is waited for.
MISSING_FIELD_SEC = 10


@dataclass(frozen=True)
class Kind:
    """What a disturbance may do."""

    # Outcomes that it excuses.
    outcomes: frozenset
    # Seconds after its end in which it still may.
    tail: float = 0
    # Whether copies may be missing.
    loses: bool = False
    # Whether copies may come that are not the job's, or come after its end.
    adds: bool = False
    # Whether sessions and bindings may be other than they should.
    excuses: bool = False
    # Whether only a job that makes a mirror session can notice.
    mirror_only: bool = True


def kind(*outcomes, **more):
    return Kind(frozenset(outcomes), **more)


DEAD = kind(*NOT_TAKEN, *OCCUPIED, ("failed", "mirror_inactive"), EXPIRED, tail=75, loses=True, adds=True, excuses=True)
KINDS = {
    "reject": kind(*NOT_TAKEN, tail=1, loses=True),
    "inactive": kind(*NOT_TAKEN, ("failed", "mirror_inactive"), EXPIRED, tail=1, loses=True),
    "unresolved": kind(("failed", "mirror_inactive"), ("failed", "mirror_lost"), EXPIRED, tail=2, loses=True),
    "slow": kind(*NOT_TAKEN, *OCCUPIED, tail=8, loses=True, adds=True, excuses=True),
    # The sweep asks again for the end of what orchagent missed, once a minute at the most.
    "dead": DEAD,
    "orchagent_ends": DEAD,
    "sessions": kind(*NOT_TAKEN, tail=1),
    "lose": kind(("failed", "mirror_lost"), ("failed", "mirror_inactive"), tail=2, loses=True, excuses=True),
    "restart": kind(*NOT_TAKEN, *OCCUPIED, ("failed", "mirror_inactive"), tail=5, loses=True, adds=True, excuses=True),
    # The virtual orchagent starts afresh when Redis drops it.
    "pubsub": kind(*NOT_TAKEN, *OCCUPIED, ("failed", "mirror_inactive"), tail=8, loses=True, adds=True, excuses=True),
    "flush": kind(*NOT_TAKEN, *OCCUPIED, NONE, tail=35, loses=True, excuses=True, mirror_only=False),
    "sigkill": kind(
        ("failed", "daemon_restarted"), EXPIRED, *OCCUPIED, tail=10, loses=True, excuses=True, mirror_only=False
    ),
    "sigterm": kind(
        ("stopped", "daemon_stopped"),
        ("failed", "daemon_restarted"),
        EXPIRED,
        *OCCUPIED,
        tail=10,
        loses=True,
        excuses=True,
        mirror_only=False,
    ),
    "drain": kind(STOPPED, NONE, tail=2, loses=True, excuses=True, mirror_only=False),
    "foreign": kind(("failed", "mirror_conflict"), *OCCUPIED, tail=5, loses=True, adds=True),
    # A session of ours that stays under somebody else's has its ports, its destination and its addresses.
    "kept": kind(*OCCUPIED, tail=40),
    "members": kind(("failed", "mirror_lost"), ("rejected", "unknown_port"), tail=12, loses=True),
    "port": kind(("failed", "mirror_lost"), ("rejected", "unknown_port"), tail=35, loses=True, excuses=True),
    "sflow": kind(("rejected", "mirror_conflict"), ("failed", "mirror_inactive"), tail=2, loses=True, excuses=True),
    "stray": kind(),
    "rest": kind(),
}


@dataclass
class Disturbance:
    """Something that was done to the switch, and for how long."""

    kind: str
    began: float
    # Which ports it concerns; all if empty.
    ports: frozenset = frozenset()
    ended: float = None

    def covers(self, begin, end):
        until = float("inf") if self.ended is None else self.ended + KINDS[self.kind].tail
        return self.began <= end and begin <= until


@dataclass
class Sent:
    """Frames that entered a port's wire."""

    port: str
    began: float
    ended: float = None
    packets: int = 0
    most: int = 0


@dataclass
class Job:
    """A job, as it was asked for and as it went. Instants are of the steady clock."""

    id: str
    door: str
    ports: frozenset
    method: str
    direction: str
    duration: float
    written: float
    wrong: str = ""
    whole: bool = True
    sampled: bool = False
    channel: bool = False
    command: object = None
    cut: float = None
    stopped: float = None
    changed: float = None
    first_seen: float = None
    running: float = None
    over: float = None
    crowd: int = 0
    shares: bool = False
    doomed: bool = False
    row: dict = field(default_factory=dict)
    results: dict = field(default_factory=dict)
    outcome: tuple = None
    findings: list = field(default_factory=list)

    def settle(self):
        quiet = MISSING_FIELD_SEC if self.wrong == "missing_field" else SETTLE_SEC
        return 0 if self.whole else quiet + 1

    def concerned(self, disturbances):
        """The kinds of what was done while the job lived, and could do something to it."""
        end = self.over if self.over is not None else time.monotonic()
        found = set()
        for one in disturbances:
            if not one.covers(self.written - 1, end):
                continue
            if self.method == "none" and KINDS[one.kind].mirror_only and one.kind != "port":
                continue
            if one.kind == "sflow" and not self.sampled:
                continue
            if one.kind == "unresolved" and self.method != "erspan":
                continue
            if one.ports and not one.ports & self.ports:
                continue
            found.add(one.kind)
        return found

    def deadline(self, kinds, queue_ttl):
        """When it must be over."""
        begin = self.written + self.settle() + START_SEC + (queue_ttl if self.crowd else 0)
        if self.method == "erspan" and kinds & {"inactive", "unresolved", "lose", "restart", "pubsub", "sflow", "dead"}:
            begin += NEIGHBOUR_SEC
        if kinds & {"sigkill", "sigterm", "orchagent_ends", "dead"}:
            begin += 30
        duration = max(self.duration, self.changed or 0)
        if self.stopped is not None:
            return max(self.stopped, self.written + self.settle()) + END_SEC + (30 if kinds else 0)
        return begin + duration + END_SEC

    def note(self, row):
        """A row of STATE_DB; whether the job is over by it."""
        status = row.get("status")
        if status is None:
            return False
        self.row = row
        now = time.monotonic()
        self.first_seen = self.first_seen or now
        if status == "running" and self.running is None:
            self.running = now
        if status in FINAL:
            self.over = self.over or now
            self.outcome = (status, row.get("reason", ""))
        return self.over is not None

    def allowed(self, kinds, slots_max):
        """The outcomes that are right."""
        refused_at_door = {NONE} if self.door in ("cli", "rest") else set()
        excused = set().union(*(KINDS[one].outcomes for one in kinds)) if kinds else set()
        if refused_at_door and kinds & {"sigkill", "sigterm", "flush"}:
            excused |= refused_at_door
        if self.wrong:
            allowed = {("rejected", self.wrong), *refused_at_door}
            if self.stopped is not None:
                allowed |= {STOPPED, NONE}
            return allowed | ({EXPIRED, NONE} if kinds & {"sigkill", "sigterm", "flush", "drain"} else set())
        slots = len(self.ports) * (2 if self.direction == "both" else 1)
        allowed = {DONE}
        if self.sampled and slots > slots_max:
            allowed = {("rejected", "mirror_unsupported")}
            excused &= {NONE, EXPIRED, STOPPED, ("rejected", "mirror_conflict"), ("rejected", "unknown_port")}
        elif self.must_fail(kinds):
            allowed = set()
        if self.stopped is not None:
            allowed |= {STOPPED}
            if self.first_seen is None or self.stopped < self.first_seen + 0.5:
                allowed |= {NONE}
        if self.crowd >= 2:
            allowed |= REJECTED_BUSY
        if self.shares:
            allowed |= {("rejected", "mirror_conflict")}
        return allowed | excused

    def must_fail(self, kinds):
        """Whether no session can have become active in its time, as a fault was there before it and stayed."""
        return self.method != "none" and bool(kinds) and self.doomed

    def judge(self, disturbances, sends, peers, slots_max):
        """What is not right about a job that is over."""
        kinds = self.concerned(disturbances)
        found = list(self.findings)
        outcome = self.outcome or NONE
        allowed = self.allowed(kinds, slots_max)
        if outcome not in allowed:
            found.append(f"is {'/'.join(outcome)}, which is none of {sorted('/'.join(one) for one in allowed)}")
        if outcome == DONE:
            found += self._times(kinds)
        if outcome in (DONE, STOPPED) and self.running is not None:
            found += self._counts(kinds, sends, peers, outcome)
        said = " ".join(f"{key}={value}" for key, value in self.row.items() if key in ("message", "warning") and value)
        about = f"job {self.id} ({self.door}, {self.method}, {self.direction}, {','.join(sorted(self.ports))}"
        about += f", {self.duration:g} s, disturbed by {sorted(kinds) or 'nothing'})"
        return [f"{about} {line} {said}" for line in found]

    def _times(self, kinds):
        if not (self.row.get("started_at") and self.row.get("ended_at")):
            return ["has no started_at or no ended_at"]
        took = (instant(self.row["ended_at"]) - instant(self.row["started_at"])).total_seconds()
        wanted = self.duration if self.changed is None else self.changed
        least = min(wanted, self.duration) if self.changed is not None else wanted
        if self.cut is not None:
            least = 0
        most = max(wanted, self.duration if self.changed is not None else 0)
        most += END_SEC if kinds else ENDS_LATE_SEC
        if least - ENDS_EARLY_SEC <= took <= most:
            return []
        return [f"ran {took:.3f} s, which is not {least:g} to {most:g} s"]

    def _counts(self, kinds, sends, peers, outcome):
        """The packets that were counted, beside those that were sent."""
        if self.method == "none":
            return []
        counted = int(self.results.get("packets_total", 0))
        started = self.running
        if outcome == STOPPED and self.stopped is not None:
            end = self.stopped
        else:
            took = (instant(self.row["ended_at"]) - instant(self.row["started_at"])).total_seconds()
            # The row was written in between.
            end = self.over - max(0.0, took - self.duration) - 1
        wanted = {"ingress": [0], "egress": [1], "both": [0, 1]}[self.direction]
        ways = [port if side == 0 else peers[port] for port in self.ports for side in wanted]
        least = most = 0
        for sent in sends:
            times = ways.count(sent.port)
            if not times or sent.began > self.over or (sent.ended is not None and sent.ended < self.written):
                continue
            most += times * sent.most
            if sent.ended is not None and sent.began > started and sent.ended < end:
                least += times * sent.packets
        if self.results_are_sampled() or any(KINDS[one].loses for one in kinds):
            least = 0
        if any(KINDS[one].adds for one in kinds):
            return []
        if least <= counted <= most:
            return []
        return [f"counted {counted} packets, and {least} to {most} were sent"]

    def results_are_sampled(self):
        return "mirror_sample_rate" in self.results


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
