"""What a soak does to the switch: orchagent's faults, other people's sessions, ports, members, restarts."""

import contextlib
import signal
import socket
import time

from judge import Disturbance
from run import CHANNELS, REMOVED, SINGLES, THEIR_DESTINATION
from switch import APPL, CONFIG, STATE

# How many of ten, what words `telegen-lab fault` takes, and how long at the most.
FAULTS = {
    "reject": (1, ["reject"], 12),
    "inactive": (1, ["inactive"], 12),
    "unresolved": (1, ["unresolved"], 40),
    "slow": (1, ["slow", "MS"], 20),
    "dead": (3, ["dead"], 60),
    "sessions": (2, ["sessions", "N"], 15),
    "orchagent_ends": (1, ["sessions", "N", "--orchagent-ends"], 20),
}
# What each disturbance is drawn by; `kept` comes with `foreign`.
CAUSES = {
    **dict.fromkeys(FAULTS, "orchagent_fault"),
    **dict.fromkeys(["sigkill", "sigterm"], "restart_daemon"),
    **{"lose": "lose", "restart": "restart_swss", "members": "members_change", "foreign": "foreign", "sflow": "sflow"},
    **{"stray": "stray", "rest": "idle_rest", "drain": "drain", "pubsub": "pubsub", "flush": "flush"},
    **{"port": "port_goes", "collector": "collector_goes"},
}


class Faults:
    """Disturbs the switch."""

    def __init__(self, run, readings):
        self.run, self.readings, self.deck = run, readings, []

    def orchagent_fault(self):
        if any(entry[2].kind in FAULTS for entry in self.run.undo):
            return
        rng = self.run.random
        if not self.deck:
            # As cards are dealt: each comes as often as it is in the deck, however few are drawn.
            self.deck = [kind for kind, (copies, _, _) in FAULTS.items() for _ in range(copies)]
            rng.shuffle(self.deck)
        kind = self.deck.pop()
        _, words, longest = FAULTS[kind]
        words = [
            word.replace("MS", str(rng.choice([50, 300, 1500]))).replace("N", str(rng.randint(0, 2))) for word in words
        ]
        seconds = rng.uniform(longest / 4, longest)
        one = self.run.disturb(kind, seconds, undo=lambda: self.run.switch.fault("clear"))
        one.began -= 0.2
        self.run.switch.fault(*words)

    def lose(self):
        self.run.disturb("lose")
        self.run.switch.fault("lose")

    def pubsub(self):
        # The real orchagent ends with its connections, and its container with it; the lab's keeps what STATE_DB has.
        self.run.disturb("pubsub", 4, undo=self.restart_swss)
        self.run.switch.db[STATE].execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    def restart_swss(self):
        self.run.disturb("restart")
        self.run.switch.fault("restart")

    def flush(self):
        """FLUSHDB of STATE_DB; what others have there is there again at once, but not the rows of our sessions."""
        raw = self.run.switch.raw_state
        keep = [key for key in raw.keys("*") if not key.startswith((b"TELEGEN_", b"MIRROR_SESSION_TABLE|telegen_"))]
        dumped = [(key, raw.dump(key)) for key in keep]
        self.run.disturb("flush")
        pipeline = raw.pipeline()
        pipeline.flushdb()
        for key, value in dumped:
            if value is not None:
                pipeline.restore(key, 0, value)
        pipeline.execute()

    def drain(self):
        self.run.spoiled |= set(self.run.theirs)
        one = self.run.disturb("drain")
        one.ended, one.command = None, self.run.switch.cli("drain")

    def members_change(self):
        """A member leaves its port channel, and joins it again later."""
        name = self.run.random.choice(list(CHANNELS))
        port = CHANNELS[name][1]
        key = f"PORTCHANNEL_MEMBER|{name}|{port}"
        if not self.run.switch.db[CONFIG].exists(key):
            return
        back = lambda: self.run.switch.db[CONFIG].hset(key, "NULL", "NULL")  # noqa: E731
        self.run.disturb("members", self.run.random.uniform(2, 25), CHANNELS[name], back)
        self.run.switch.db[CONFIG].delete(key)

    def foreign(self):
        """Somebody else's session, over a job's port or elsewhere."""
        if self.run.theirs:
            return
        rng = self.run.random
        ours = [port for job in self.run.live.values() if job.running and job.method != "none" for port in job.ports]
        over = ours and rng.random() < 0.6
        port = rng.choice(ours) if over else rng.choice(SINGLES)
        if port == REMOVED:
            return
        name = f"theirs{self.run.number}"
        row = {
            "type": "SPAN",
            "src_port": port,
            "dst_port": THEIR_DESTINATION,
            "direction": rng.choice(["RX", "TX", "BOTH"]),
        }
        key = f"MIRROR_SESSION|{name}"

        def remove():
            self.run.theirs.pop(name, None)
            self.run.spoiled.discard(name)
            self.run.switch.db[CONFIG].delete(key)
            kept.ended = time.monotonic()

        seconds = rng.uniform(3, 40)
        sides = {"RX": [0], "TX": [1], "BOTH": [0, 1]}[row["direction"]]
        self.run.disturb("foreign", seconds, [port], remove, sides)
        kept = Disturbance("kept", time.monotonic())
        self.run.disturbances.append(kept)
        # Its arrival and the end of our own session may cross: then nobody can tell whose deletion unbinds the port.
        if any(job.ports & {port} and job.over and job.over > time.monotonic() - 2 for job in self.run.jobs[-12:]):
            self.run.spoiled.add(name)
        self.run.switch.db[CONFIG].hset(key, mapping=row)
        self.run.theirs[name] = row

    def sflow(self):
        port = self.run.random.choice(SINGLES)
        key = f"SFLOW_SESSION_TABLE:{port}"
        row = {
            "admin_state": "up",
            "sample_rate": "100000",
            "sample_direction": self.run.random.choice(["rx", "tx", "both"]),
        }
        if self.run.switch.db[APPL].exists(key):
            return
        self.run.disturb("sflow", self.run.random.uniform(5, 30), [port], lambda: self.run.switch.db[APPL].delete(key))
        self.run.switch.db[APPL].hset("SFLOW_TABLE:global", "admin_state", "up")
        self.run.switch.db[APPL].hset(key, mapping=row)

    def stray(self):
        """A row of STATE_DB that nobody asked for, and that orchagent does not remove."""
        numbers = self.run.random.sample(range(100), self.run.random.randint(1, 3))
        keys = [f"MIRROR_SESSION_TABLE|telegen_stray{number}" for number in numbers]
        self.run.disturb("stray", self.run.random.uniform(5, 60), undo=lambda: self.run.switch.db[STATE].delete(*keys))
        for key in keys:
            self.run.switch.db[STATE].hset(key, "status", "active")

    def idle_rest(self):
        held = []
        for _ in range(self.run.random.randint(1, 40)):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(1)
            with contextlib.suppress(OSError):
                connection.connect(self.run.switch.rest)
                held.append(connection)
        self.run.switch.held += held

        def close():
            for connection in held:
                connection.close()
                self.run.switch.held.remove(connection)

        self.run.disturb("rest", self.run.random.uniform(3, 40), undo=close)

    def collector_goes(self):
        if self.run.switch.collector is None:
            return
        self.run.disturb("collector", self.run.random.uniform(5, 60), undo=self.run.switch.start_collector)
        self.run.switch.stop_collector()

    def port_goes(self):
        """A port is removed and comes back; what held it meanwhile is freed by a restart of orchagent."""
        key = f"PORT|{REMOVED}"
        row = self.run.switch.db[CONFIG].hgetall(key)
        if not row:
            return

        def back():
            self.run.switch.db[CONFIG].hset(key, mapping=row)
            time.sleep(0.5)
            self.restart_swss()

        self.run.disturb("port", self.run.random.uniform(3, 10), [REMOVED], back)
        self.run.switch.db[CONFIG].delete(key)

    def restart_daemon(self):
        kind = self.run.random.choice(
            [kind for kind in ("sigkill", "sigterm") if not self.run.faults[kind]] or ["sigkill", "sigterm"]
        )
        one = self.run.disturb(kind)
        one.ended = None
        took = self.run.switch.stop_daemon(getattr(signal, kind.upper()))
        if took > 6:
            self.run.find(f"the daemon took {took:.1f} s to end by {kind}")
        away = self.run.random.uniform(0, 3)
        time.sleep(away)
        self.run.switch.start_daemon()
        one.ended = time.monotonic()
        self.readings.daemon_goes()
