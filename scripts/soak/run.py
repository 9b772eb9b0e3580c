"""What the parts of a soak share: the switch, the jobs, what was done to it, and what was found."""

import random
import time
from collections import Counter

from judge import Disturbance
from switch import APPL, CONFIG

PORTS = 16
# The last two ports are the pool. These are the singles, the members of port channels, the destination of other
# people's sessions, and the port that is removed now and then.
SINGLES = [f"Ethernet{4 * index}" for index in range(7)]
CHANNELS = {"PortChannel1": ["Ethernet32", "Ethernet36"], "PortChannel10": ["Ethernet40", "Ethernet44"]}
THEIR_DESTINATION, REMOVED = "Ethernet28", "Ethernet48"
QUEUE_TTL, MAX_QUEUE, MAX_SESSIONS, RETENTION_SEC = 15, 1, 2, 30
FINDINGS_MAX = 40


class Run:
    """One run. The same seed makes the same choices, though not at the same instants."""

    def __init__(self, switch, seed, seconds):
        self.switch, self.seconds = switch, seconds
        self.random = random.Random(seed)  # noqa: S311
        # All jobs, and those that are not over, by id.
        self.jobs, self.live, self.number = [], {}, 0
        self.sends, self.disturbances = [], []
        # Other people's sessions by name, and those of them that are known to be unbound.
        self.theirs, self.spoiled = {}, set()
        # What ends a disturbance, and when.
        self.undo = []
        self.findings, self.counts, self.faults = [], Counter(), Counter()
        # Whether a count one too small or too large would have been found, and why not.
        self.sharp, self.blurred = Counter(), Counter()
        self.peers = {name: switch.names[index ^ 1] for index, name in enumerate(switch.names)}
        self.began = time.monotonic()

    def find(self, line):
        if len(self.findings) < FINDINGS_MAX:
            print(f"WRONG at {self.age():.1f} s: {line}", flush=True)
        self.findings.append(line)

    def show(self, lines):
        """Says more of what was found last."""
        if len(self.findings) <= FINDINGS_MAX:
            print("".join(f"         {line}\n" for line in lines), end="", flush=True)

    def age(self):
        return time.monotonic() - self.began

    def disturb(self, kind, seconds=0, ports=(), undo=None, sides=(0, 1)):
        """Notes a disturbance, which `undo` ends after these seconds; one without is over at once."""
        one = Disturbance(kind, time.monotonic(), frozenset(ports), sides=frozenset(sides))
        self.disturbances.append(one)
        self.faults[kind] += 1
        if undo is None:
            one.ended = one.began
        else:
            self.undo.append((one.began + seconds, undo, one))
        return one

    def run_undo(self, everything=False):
        now = time.monotonic()
        due = [entry for entry in self.undo if everything or entry[0] <= now]
        self.undo = [entry for entry in self.undo if entry not in due]
        for _, undo, one in due:
            undo()
            one.ended = time.monotonic()

    def has_row(self, job):
        keys = [f"TELEGEN_JOB_TABLE:{job.id}", f"_TELEGEN_JOB_TABLE:{job.id}"]
        return self.switch.db[CONFIG].exists(f"TELEGEN_JOB|{job.id}") or self.switch.db[APPL].exists(*keys)

    def next_id(self):
        self.number += 1
        return f"s{self.number}"
