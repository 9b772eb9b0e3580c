"""What scripts/soak expects of each job: outcomes, times and counts, by what was done to the switch meanwhile.

Nothing here touches the switch.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime

from kinds import CONFLICT, DONE, EXPIRED, FOREVER, KINDS, NONE, OCCUPIED, STOPPED
from switch import FINAL

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
# From what is done to the switch to the outcome that it causes: orchagent's 5 s, and a machine that does other things.
CAUSE_SEC = 10
# A moment of another clock, or one that was noted beside what it is about.
ABOUT_SEC = 0.1
# A fault that is asked for, or cleared, is in force, or is not, a little later or earlier than it was noted.
FAULT_SEC = 0.5
# From the end of a job until nothing of it may be there.
GONE_SEC = 5
SIDES = {"ingress": {0}, "egress": {1}, "both": {0, 1}}


@dataclass
class Disturbance:
    """Something that was done to the switch, and for how long."""

    kind: str
    began: float
    # Which ports it concerns; all if empty.
    ports: frozenset = frozenset()
    ended: float = None
    # Which directions of them.
    sides: frozenset = frozenset({0, 1})
    # What does it, if that takes its time.
    command: object = None

    def covers(self, begin, end, tail=None):
        """Whether it lasted, or could still do something, at some time from begin to end."""
        if tail is None:
            tail = KINDS[self.kind].longest()
        until = FOREVER if self.ended is None else self.ended + tail
        return self.began - FAULT_SEC <= end and begin <= until


@dataclass
class Sent:
    """Frames that entered a port's wire."""

    port: str
    began: float
    ended: float = None
    packets: int = 0
    most: int = 0
    command: object = None


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
    # When its row says that it is over; CLI and REST write that, too.
    expires: float = None
    stopped: float = None
    changed: float = None
    first_seen: float = None
    running: float = None
    over: float = None
    # How many other jobs lived at some time while it did, and whether one of them had a port of its own.
    crowd: int = 0
    shares: bool = False
    row: dict = field(default_factory=dict)
    results: dict = field(default_factory=dict)
    outcome: tuple = None
    findings: list = field(default_factory=list)
    # What a count one too small and one too large would have been: found, or not, or there was no count.
    sharp: tuple = (None, None)
    # Why what was sent need not have been counted.
    blurred: list = field(default_factory=list)

    def settle(self):
        quiet = MISSING_FIELD_SEC if self.wrong == "missing_field" else SETTLE_SEC
        return 0 if self.whole else quiet + 1

    def slots(self):
        """The ports that it has copied, each with the direction."""
        return {(port, side) for port in self.ports for side in SIDES[self.direction]}

    def time_left(self, now):
        """For how many seconds it runs on; it runs."""
        return min(self.running + (self.changed or self.duration), self.expires or FOREVER) - now

    def meets(self, other):
        """Whether both cannot have their sessions at the same time."""
        return "none" not in (self.method, other.method) and bool(self.slots() & other.slots())

    def concerns(self, one):
        """Whether a disturbance could do something to this job, if it was at the right time."""
        if self.method == "none" and KINDS[one.kind].mirror_only and one.kind != "port":
            return False
        if one.kind == "sflow" and not self.sampled:
            return False
        if one.kind == "unresolved" and self.method != "erspan":
            return False
        return not one.ports or any(port in one.ports and side in one.sides for port, side in self.slots())

    def concerned(self, disturbances):
        """The kinds of what was done while the job lived, and could do something to it."""
        end = self.over if self.over is not None else time.monotonic()
        return {one.kind for one in disturbances if one.covers(self.written - 1, end) and self.concerns(one)}

    def deadline(self, kinds, queue_ttl):
        """When it must be over."""
        begin = self.written + self.settle() + START_SEC + (queue_ttl if self.crowd else 0)
        if self.method == "erspan" and any(KINDS[one].waits for one in kinds):
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

    # What is right.

    def excused(self, disturbances):
        """The outcomes that something which was done to the switch at the right time may have caused."""
        found = set()
        for one in filter(self.concerns, disturbances):
            facts = KINDS[one.kind]
            reach = NEIGHBOUR_SEC if facts.waits and self.method == "erspan" else 0
            if one.covers(max(self.written - 1, self.over - CAUSE_SEC - reach), self.over, facts.tail):
                found |= facts.outcomes
            if facts.occupies is not None and one.covers(self.over - CAUSE_SEC, self.over, facts.occupies):
                found |= OCCUPIED
        # Only FLUSHDB takes away what was said of a job.
        flushed = any(one.kind == "flush" and one.covers(self.written, self.over) for one in disturbances)
        return found if flushed or self.first_seen is None else found - {NONE}

    def allowed(self, disturbances, kinds, slots_max, queue_ttl):
        """The outcomes that are right."""
        at_door = {NONE} if self.door in ("cli", "rest") else set()
        excused = self.excused(disturbances)
        if kinds & {"sigkill", "sigterm", "flush"}:
            excused |= at_door
        if self.wrong:
            allowed = {("rejected", self.wrong), *at_door}
            if self.stopped is not None:
                allowed |= {STOPPED, NONE}
            return allowed | (excused & {EXPIRED, NONE}) | self._expired(kinds)
        allowed = {DONE}
        if self.sampled and len(self.slots()) > slots_max:
            allowed = {("rejected", "mirror_unsupported")}
            # A port channel that a member has left may have few enough.
            allowed |= {DONE} if self.channel and "members" in kinds else set()
            excused &= {NONE, EXPIRED, STOPPED, CONFLICT, ("rejected", "unknown_port")}
        elif self.must_fail(disturbances):
            allowed = set()
        if self.stopped is not None:
            allowed |= {STOPPED}
            if self.over > self.stopped + END_SEC and not kinds:
                allowed -= {DONE}
            if self.first_seen is None or self.stopped < self.first_seen + 0.5:
                allowed |= {NONE}
        # Two run and one waits.
        if self.crowd >= 3:
            allowed |= {("rejected", "concurrency_limit")}
        if self.crowd >= 2 and self.over > self.written + queue_ttl - 1:
            allowed |= {("rejected", "queue_timeout")}
        if self.shares:
            allowed |= {CONFLICT}
        return allowed | excused | self._expired(kinds)

    def _expired(self, kinds):
        """A row's own time may be over before the job runs; a row without one may have been an earlier daemon's."""
        if self.running is not None:
            return set()
        if self.expires is None:
            return {EXPIRED} if kinds & {"sigkill", "sigterm"} and self.door != "appl" else set()
        held_up = self.crowd >= 2 or kinds or self.expires < self.written + 3
        return {EXPIRED} if held_up and self.over >= self.expires - ABOUT_SEC else set()

    def must_fail(self, disturbances):
        """Whether no session can have become active in its time, as a fault was there before it and stayed."""
        if self.method == "none":
            return False
        refusing = [one for one in disturbances if KINDS[one.kind].refuses and self.concerns(one)]
        return any(one.began < self.written - 1 and (one.ended or FOREVER) > self.over - FAULT_SEC for one in refusing)

    def judge(self, disturbances, sends, peers, slots_max, queue_ttl):
        """What is not right about a job that is over."""
        kinds = self.concerned(disturbances)
        found = list(self.findings)
        outcome = self.outcome or NONE
        allowed = self.allowed(disturbances, kinds, slots_max, queue_ttl)
        if outcome not in allowed:
            found.append(f"is {'/'.join(outcome)}, which is none of {sorted('/'.join(one) for one in allowed)}")
        if outcome in (DONE, STOPPED) and (self.running is not None or outcome == DONE):
            if not (self.row.get("started_at") and self.row.get("ended_at")):
                found += ["has no started_at or no ended_at"] if outcome == DONE else []
            else:
                course = self.course(disturbances)
                found += self._times(course, disturbances) if outcome == DONE else []
                found += self._counts(course, disturbances, sends, peers)
        said = " ".join(f"{key}={value}" for key, value in self.row.items() if key in ("message", "warning") and value)
        about = f"job {self.id} ({self.door}, {self.method}, {self.direction}, {','.join(sorted(self.ports))}"
        about += f", {self.duration:g} s, disturbed by {sorted(kinds) or 'nothing'})"
        return [f"{about} {line} {said}" for line in found]

    def course(self, disturbances):
        """When it began to count, when its time was over, and when it had counted."""
        steady = time.monotonic() - time.time()
        began, ended = (instant(self.row[name]).timestamp() + steady for name in ("started_at", "ended_at"))
        due = began + (self.duration if self.changed is None else self.changed)
        due = min(due, FOREVER if self.expires is None else max(self.expires, began))
        if self.outcome == STOPPED:
            drains = [one.began for one in disturbances if one.kind == "drain" and one.covers(self.written, self.over)]
            due = min([due, *drains, *([] if self.stopped is None else [self.stopped])])
        return began, due, ended

    def _times(self, course, disturbances):
        began, due, ended = course
        late = ENDS_LATE_SEC
        for one in filter(self.concerns, disturbances):
            delays = KINDS[one.kind].delays
            if delays is not None and one.covers(due - 1, ended, delays):
                late = END_SEC
        if due - ENDS_EARLY_SEC <= ended <= due + late:
            return []
        return [f"ran {ended - began:.3f} s, which is not {due - began:.3f} to {due - began + late:.3f} s"]

    def _counts(self, course, disturbances, sends, peers):
        """The packets that were counted, beside those that were sent."""
        if self.method == "none" or "packets_total" not in self.results:
            return []
        counted = int(self.results["packets_total"])
        ways = [port if side == 0 else peers[port] for port, side in self.slots()]
        least = most = 0
        for sent in sends:
            times = ways.count(sent.port)
            if not times:
                continue
            may, must = self.copies(sent, course, disturbances)
            most += times * may
            least += times * must
        if "mirror_sample_rate" in self.results:
            least = 0
        self.sharp = (None if counted == 0 else counted == least, counted == most)
        if least <= counted <= most:
            return []
        return [f"counted {counted} packets, and {least} to {most} were sent"]

    def copies(self, sent, course, disturbances):
        """How many of what was sent the job may have counted, and how many it must have."""
        began, due, ended = course
        if sent.began > ended + ABOUT_SEC or (sent.ended is not None and sent.ended < began - ABOUT_SEC):
            return 0, 0
        why = []
        if sent.ended is None or not sent.packets:
            why.append("not sent")
        elif sent.began < began + ABOUT_SEC:
            why.append("begun before the job")
        elif sent.ended > due - ABOUT_SEC:
            why.append("ended after the job")
        for one in filter(self.concerns, disturbances):
            loses = KINDS[one.kind].loses
            if loses is not None and one.covers(sent.began, sent.ended, loses):
                # What was lost before this job had its session did not concern it.
                if one.kind != "lose" or one.began > self.written - 1:
                    why.append(one.kind)
        self.blurred += why
        return sent.packets or sent.most, 0 if why else sent.packets

    def may_leave(self, disturbances):
        """The kinds of what may have left something of it after its end."""
        found = set()
        for one in disturbances:
            facts = KINDS[one.kind]
            begin = self.written - 1 if facts.sticks else self.over - CAUSE_SEC
            if facts.leaves is not None and one.covers(begin, self.over + GONE_SEC, facts.leaves):
                found |= {one.kind} if self.concerns(one) else set()
        return found


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
