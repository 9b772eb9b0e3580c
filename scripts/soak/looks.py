"""Looks at the jobs of a soak, at the rows and at ASIC_DB, and has what is over judged."""

import time
from collections import Counter

from judge import GONE_SEC, instant
from kinds import KINDS
from run import MAX_SESSIONS, QUEUE_TTL
from switch import CONFIG, STATE

# How long something may be other than it should be without an excuse: the daemon lists all every 30 s.
PERSISTS_SEC = 40


class Looks:
    """Looks, and says what is wrong."""

    def __init__(self, run):
        self.run = run
        self.suspects, self.audits, self.pending, self.excused = {}, 0, [], Counter()

    def look_at_jobs(self):
        if not self.run.live:
            return
        pipeline = self.run.switch.db[STATE].pipeline(transaction=False)
        jobs = list(self.run.live.values())
        for job in jobs:
            pipeline.hgetall(f"TELEGEN_JOB_TABLE|{job.id}")
            pipeline.hgetall(f"TELEGEN_RESULT_TABLE|{job.id}")
        answers = pipeline.execute()
        for job in jobs:
            expires = job.expires or self.run.switch.db[CONFIG].hget(f"TELEGEN_JOB|{job.id}", "expires_at")
            if isinstance(expires, str):
                job.expires = instant(expires).timestamp() + time.monotonic() - time.time()
        for job, row, results in zip(jobs, answers[::2], answers[1::2], strict=True):
            job.results = results or job.results
            if job.note(row) or self.is_withdrawn(job):
                self.job_is_over(job)

    def is_withdrawn(self, job):
        """Whether the job had no chance to have a row in STATE_DB, or is too late."""
        now = time.monotonic()
        if job.command is not None and job.command.is_over() and job.first_seen is None:
            if now > job.command.ended + 3 and not self.run.has_row(job):
                job.over = now
                return True
        if job.stopped is not None and job.first_seen is None and now > job.stopped + 3 and not self.run.has_row(job):
            job.over = now
            return True
        kinds = job.concerned(self.run.disturbances)
        # Who drains takes rows away that nobody has taken up yet, and FLUSHDB what was said of them.
        if kinds & {"drain", "flush"} and not job.row and now > job.written + 3 and not self.run.has_row(job):
            job.over = now
            return True
        if now > job.deadline(kinds, QUEUE_TTL):
            job.findings.append(
                f"is not over {now - job.deadline(kinds, QUEUE_TTL):.1f} s after its time: {job.row or 'no row'}"
            )
            job.over = now
            return True
        return False

    def job_is_over(self, job):
        del self.run.live[job.id]
        # Judged a little later: `send` has said by then what it has sent, and what goes has gone.
        self.pending.append((time.monotonic() + GONE_SEC, job))

    def judge_due(self, everything=False):
        now = time.monotonic()
        due = [job for at, job in self.pending if at <= now or everything]
        self.pending = [entry for entry in self.pending if entry[1] not in due]
        for job in due:
            wrong = job.judge(self.run.disturbances, self.run.sends, self.run.peers, MAX_SESSIONS, QUEUE_TTL)
            for line in wrong:
                self.run.find(line)
            if wrong:
                self.run.show(self.run.switch.log_of(job.id))
            self.run.counts["/".join(job.outcome or ("none", "")).rstrip("/")] += 1
            for word, found in zip(("small", "large"), job.sharp, strict=True):
                if found is not None:
                    self.run.sharp[word, found] += 1
            self.run.blurred.update(job.blurred)
            excuses = job.may_leave(self.run.disturbances)
            self.excused.update(excuses or ["nothing"])
            if not excuses:
                self.judge_rows(job)

    def judge_rows(self, job):
        """Nothing of a job is there 5 s after its end, if nothing kept it."""
        config, state = self.run.switch.db[CONFIG], self.run.switch.db[STATE]
        if self.run.has_row(job):
            self.run.find(f"job {job.id}: its row is there 5 s after its end")
        for name in (f"telegen_{job.id}", f"telegen__2_{job.id}"):
            if config.exists(f"MIRROR_SESSION|{name}") or state.exists(f"MIRROR_SESSION_TABLE|{name}"):
                self.run.find(f"job {job.id}: its session {name} is there 5 s after its end")

    def look_at_sends(self):
        for sent in self.run.sends:
            if sent.ended is None and sent.command.is_over():
                sent.ended = sent.command.ended
                code, out, err = sent.command.said()
                if code == 0:
                    sent.packets = int(out.split('"packets":', 1)[1].split(",", 1)[0])
                else:
                    self.run.find(f"telegen-lab send {sent.port}: {err}")

    def audit(self):
        """What disagrees for long, and without an excuse, is wrong."""
        now = time.monotonic()
        tails = {kind: facts.excuses for kind, facts in KINDS.items() if facts.excuses is not None}
        if any(one.kind in tails and one.covers(now, now, tails[one.kind]) for one in self.run.disturbances):
            self.suspects.clear()
            return
        self.audits += 1
        live = set(self.run.live) | {f"stray{number}" for number in range(100)} | {"probe"}
        found = self.run.switch.disagreements(self.run.theirs, live, self.run.spoiled)
        self.suspects = {line: self.suspects.get(line, now) for line in found}
        for line, since in self.suspects.items():
            if now - since > PERSISTS_SEC:
                self.run.find(f"for {now - since:.0f} s: {line}")
                self.suspects[line] = float("inf")
