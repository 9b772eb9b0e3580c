"""What each kind of disturbance of scripts/soak may do to a job: outcomes, times, copies and what is left behind."""

from dataclasses import dataclass, replace

# What was not taken up, or was refused by the command that should have written it, has no row in STATE_DB.
NONE = ("none", "")
DONE, STOPPED = ("done", ""), ("stopped", "")
EXPIRED = ("expired", "")
NOT_TAKEN = {("failed", "mirror_rejected"), ("failed", "mirror_lost")}
NOT_ACTIVE = {("failed", "mirror_inactive"), ("failed", "mirror_lost")}
CONFLICT = ("rejected", "mirror_conflict")
# An earlier session that orchagent has not removed yet keeps ports, destination and id.
OCCUPIED = {CONFLICT, ("rejected", "no_mirror_port")}
FOREVER = float("inf")


@dataclass(frozen=True)
class Kind:
    """What a disturbance may do."""

    # Outcomes that it excuses, of jobs that end while it lasts or soon after.
    outcomes: frozenset = frozenset()
    # Seconds after its end in which it still causes them.
    tail: float = 0
    # Seconds after its end in which a session that it left behind may keep ports; None: it leaves none behind.
    occupies: float = None
    # Whether what it does to an ERSPAN session ends the job only when the neighbour's time is over.
    waits: bool = False
    # Seconds after its end in which copies may be missing; None: it takes none away.
    loses: float = None
    # Seconds after its end in which nobody may confirm that a session has ended, so that a job ends late; None: all do.
    delays: float = None
    # Seconds after its end in which sessions and bindings may be other than they should; None: they may not.
    excuses: float = None
    # Seconds after its end in which a job may leave something behind; None: it may not.
    leaves: float = None
    # Whether a job that it met may do so whenever it ends.
    sticks: bool = False
    # Whether no session becomes active while it lasts.
    refuses: bool = False
    # Whether only a job that makes a mirror session can notice.
    mirror_only: bool = True

    def longest(self):
        """For how many seconds after its end it can do anything."""
        return max(seconds or 0 for seconds in (self.tail, self.occupies, self.loses, self.delays, self.leaves))


def kind(*outcomes, **more):
    return Kind(frozenset(outcomes), **more)


# The sweep asks again for the end of what orchagent missed, once a minute at the most.
SWEEP_SEC = 75
DEAD = kind(
    *NOT_TAKEN, *NOT_ACTIVE, tail=2, occupies=SWEEP_SEC, waits=True, delays=2, excuses=SWEEP_SEC, leaves=5, sticks=True
)
# orchagent starts anew, and makes all sessions again.
AFRESH = kind(*NOT_TAKEN, *NOT_ACTIVE, tail=5, occupies=8, waits=True, loses=5, delays=5, leaves=5)
KINDS = {
    # These three concern new sessions only.
    "reject": kind(*NOT_TAKEN, tail=1, refuses=True),
    "inactive": kind(*NOT_ACTIVE, *NOT_TAKEN, tail=1, waits=True, refuses=True),
    "sessions": kind(*NOT_TAKEN, tail=1),
    "unresolved": kind(*NOT_ACTIVE, tail=1, waits=True, loses=1, refuses=True),
    "slow": kind(*NOT_TAKEN, tail=2, occupies=8, delays=2),
    "dead": replace(DEAD, refuses=True),
    "orchagent_ends": replace(DEAD, loses=5),
    # What was lost stays so, until orchagent has a reason to look at the session again.
    "lose": kind(*NOT_ACTIVE, tail=2, waits=True, loses=FOREVER),
    "restart": AFRESH,
    # The virtual orchagent starts afresh when Redis drops it.
    "pubsub": AFRESH,
    # The next listing notices it, within 30 s.
    "flush": kind(*NOT_TAKEN, NONE, tail=35, occupies=35, delays=35, excuses=35, leaves=35, mirror_only=False),
    "sigkill": kind(("failed", "daemon_restarted"), tail=5, occupies=10, leaves=10, mirror_only=False),
    "sigterm": kind(
        ("stopped", "daemon_stopped"), ("failed", "daemon_restarted"), tail=5, occupies=10, leaves=10, mirror_only=False
    ),
    "drain": kind(STOPPED, NONE, tail=2, leaves=5, mirror_only=False),
    "foreign": kind(("failed", "mirror_conflict"), *OCCUPIED, tail=5, loses=5, delays=5, leaves=10, sticks=True),
    # A session of ours that stays under somebody else's has its ports, its destination and its addresses.
    "kept": kind(occupies=40),
    # A change is followed 10 s after the one before it.
    "members": kind(("failed", "mirror_lost"), ("rejected", "unknown_port"), tail=12, loses=12),
    "port": kind(("failed", "mirror_lost"), ("rejected", "unknown_port"), tail=2, occupies=35, delays=5, leaves=35),
    "sflow": kind(CONFLICT, ("failed", "mirror_inactive"), tail=2, waits=True),
    "stray": kind(),
    "rest": kind(),
    "collector": kind(),
}
