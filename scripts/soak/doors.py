"""The jobs of a soak: how they are asked for, stopped and changed, and the traffic for them."""

import time

from judge import Job, Sent
from run import CHANNELS, REMOVED, SINGLES
from switch import APPL, CONFIG

# Changes the duration of a row that is there: HSET would make one.
CHANGE = """
if redis.call('exists', KEYS[1]) == 0 then return -1 end
return redis.call('hset', KEYS[1], 'duration', ARGV[1])
"""


class Doors:
    """Asks for jobs through all doors."""

    def __init__(self, run):
        self.run = run

    def start_job(self):
        rng = self.run.random
        method = rng.choices(["span", "erspan", "none"], [5, 4, 1])[0]
        direction = rng.choices(["ingress", "egress", "both"], [6, 1, 1])[0]
        duration = rng.randint(2, 30)
        names, channel = self.some_ports(method)
        fields = {"port": ",".join(names), "direction": direction, "span_method": method, "duration": str(duration)}
        fields["sample_rate"] = rng.choice(["1", "1", "1", "10"])
        sampled = method == "erspan" and rng.random() < 0.25
        if sampled:
            fields |= rng.choice([{"mirror_sample_rate": "4"}, {"mirror_truncate": "128"}])
        if rng.random() < 0.2:
            fields["result_detail"] = "summary"
        wrong = self.spoil(fields) if rng.random() < 0.08 else ""
        door = rng.choices(["whole", "fields", "cli", "rest", "appl"], [4, 2, 2, 2, 2])[0]
        ports = frozenset(port for name in names for port in self.members(name))
        now = time.monotonic()
        job = Job(self.run.next_id(), door, ports, method, direction, duration, now, wrong)
        job.sampled, job.channel, job.whole = sampled, channel, door != "fields"
        others = list(self.run.live.values())
        job.crowd = len(others)
        job.shares = any(job.meets(other) for other in others)
        for other in others:
            other.crowd += 1
            other.shares = other.shares or other.meets(job)
        self.run.live[job.id] = job
        self.run.jobs.append(job)
        getattr(self, f"by_{door}")(job, fields)

    def some_ports(self, method):
        rng = self.run.random
        if method != "none" and rng.random() < 0.2:
            return [rng.choice(list(CHANNELS))], True
        if method != "none" and rng.random() < 0.06:
            return [REMOVED], False
        count = 1 if method == "none" else rng.choices([1, 2, 3], [6, 3, 1])[0]
        return rng.sample(SINGLES, count), False

    def members(self, name):
        """A port channel by its members of now, which others may have had a moment ago: all that it can have."""
        return CHANNELS.get(name, [name])

    def spoil(self, fields):
        """Makes a row invalid; the reason that it must be refused with."""
        field, value, reason = self.run.random.choice(
            [
                ("port", "Ethernet3", "unknown_port"),
                ("port", None, "missing_field"),
                ("duration", "0", "invalid_field"),
                ("direction", "sideways", "invalid_field"),
                ("sample_rate", "-1", "invalid_field"),
                ("l4_dport@", "70000", "invalid_field"),
                ("vlan", "5000", "invalid_field"),
            ]
        )
        if value is None:
            del fields[field]
        else:
            fields[field] = value
        return reason

    def by_whole(self, job, fields):
        expires = time.time() + 600
        if not job.wrong and self.run.random.random() < 0.1:
            expires = time.time() + job.duration + self.run.random.uniform(-1, 1)
        words = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(expires)) + f".{int(expires * 1000) % 1000:03}Z"
        self.run.switch.db[CONFIG].hset(f"TELEGEN_JOB|{job.id}", mapping={**fields, "expires_at": words})

    def by_fields(self, job, fields):
        for field, value in self.run.random.sample(sorted(fields.items()), len(fields)):
            self.run.switch.db[CONFIG].hset(f"TELEGEN_JOB|{job.id}", field, value)
            time.sleep(self.run.random.uniform(0, 0.03))
        job.written = time.monotonic()

    def by_cli(self, job, fields):
        if "port" not in fields:
            fields["port"], job.wrong = "Ethernet3", "unknown_port"
        words = ["start", fields.pop("port"), "--id", job.id]
        for field, value in fields.items():
            name = {"result_detail": "detail"}.get(field, field.replace("_", "-"))
            words += ["--filter", f"l4_dport={value}"] if field == "l4_dport@" else [f"--{name}={value}"]
        job.command = self.run.switch.cli(*words)

    def by_rest(self, job, fields):
        body = {"job_id": job.id}
        for field, value in fields.items():
            if field == "l4_dport@":
                body["filters"] = {"l4_dport": [value]}
            elif field == "vlan":
                body["filters"] = {"vlan": int(value)}
            else:
                number = field not in ("port", "direction", "span_method", "result_detail")
                body["duration_sec" if field == "duration" else field] = int(value) if number else value
        job.command = self.run.switch.curl("POST", "/v1/monitor/jobs", body)

    def by_appl(self, job, fields):
        pipeline = self.run.switch.db[APPL].pipeline()
        pipeline.hset(f"_TELEGEN_JOB_TABLE:{job.id}", mapping=fields)
        pipeline.sadd("TELEGEN_JOB_TABLE_KEY_SET", job.id)
        pipeline.publish("TELEGEN_JOB_TABLE_CHANNEL@0", "G")
        pipeline.execute()

    def some_job(self):
        """A job that is taken up and has some time left."""
        now = time.monotonic()
        chosen = [job for job in self.run.live.values() if job.running and job.stopped is None]
        chosen = [job for job in chosen if job.time_left(now) > 4]
        return self.run.random.choice(chosen) if chosen else None

    def stop_job(self):
        chosen = [job for job in self.run.live.values() if job.stopped is None]
        if self.run.random.random() < 0.8:
            # What is sent while a job ends tells little about its count.
            sent = {one.port for one in self.run.sends if one.ended is None}
            sent |= {self.run.peers[port] for port in sent}
            chosen = [job for job in chosen if not job.ports & sent]
        if not chosen:
            return
        job = self.run.random.choice(chosen)
        if job.first_seen is None and job.door in ("cli", "rest"):
            return
        job.stopped = time.monotonic()
        door = self.run.random.choice(["own", "cli", "rest"])
        if door == "cli":
            self.run.switch.cli("stop", job.id)
        elif door == "rest":
            self.run.switch.curl("DELETE", f"/v1/monitor/jobs/{job.id}")
        elif job.door == "appl":
            pipeline = self.run.switch.db[APPL].pipeline()
            pipeline.sadd("TELEGEN_JOB_TABLE_KEY_SET", job.id)
            pipeline.sadd("TELEGEN_JOB_TABLE_DEL_SET", job.id)
            pipeline.delete(f"_TELEGEN_JOB_TABLE:{job.id}")
            pipeline.publish("TELEGEN_JOB_TABLE_CHANNEL@0", "G")
            pipeline.execute()
        else:
            self.run.switch.db[CONFIG].delete(f"TELEGEN_JOB|{job.id}")

    def change_duration(self):
        job = self.some_job()
        if job is None or job.door == "appl" or job.changed is not None:
            return
        seconds = self.run.random.randint(max(2, int(time.monotonic() - job.running) + 3), 35)
        if self.run.switch.db[CONFIG].eval(CHANGE, 1, f"TELEGEN_JOB|{job.id}", seconds) != -1:
            job.changed = seconds

    def duplicate(self):
        """The id of a running job once more, through another door: the job goes on."""
        job = self.some_job()
        if job is None or job.duration > 30:
            return
        if self.run.random.random() < 0.5:
            self.run.switch.cli("start", self.run.random.choice(SINGLES), "--id", job.id)
        elif job.door != "appl":
            self.by_appl(job, {"port": self.run.random.choice(SINGLES)})

    def traffic(self):
        if sum(sent.ended is None for sent in self.run.sends) >= 2:
            return
        rng = self.run.random
        now = time.monotonic()
        running = [job for job in self.run.live.values() if job.running and job.time_left(now) > 2]
        count, pps = rng.randint(20, 800), rng.choice([200, 400, 800])
        port = rng.choice(SINGLES)
        if running and rng.random() < 0.9:
            job = rng.choice(running)
            port = rng.choice(sorted(job.ports))
            # An egress job counts what enters at the other end.
            if job.direction == "egress" or (job.direction == "both" and rng.random() < 0.5):
                port = self.run.peers[port]
            if rng.random() < 0.8:
                # All of it is on the wire before the job ends: then its count is known.
                count = min(count, int(pps * (job.time_left(now) - 1.5)))
        if REMOVED in (port, self.run.peers[port]):
            return
        sent = Sent(port, time.monotonic(), most=count)
        sent.command = self.run.switch.send(port, count, pps, rng.randint(1, 1 << 30))
        self.run.sends.append(sent)
