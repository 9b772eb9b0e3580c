#!/usr/bin/env python3
"""Runs every test: cargo's, then pytest's. The last line says "N passed, N failed, N skipped"; exit 1 if any failed.

A Rust test that cannot run here prints a line `SKIPPED: <test>: <reason>` to stdout or stderr and returns; libtest
counts it as passed, so it is moved to the skipped ones here (the tests run with --show-output, which hands that line
on). Tests that are `#[ignore]`d, and pytest's skips, count as skipped, too. What tests printed is in target/test/.

    TELEGEN_CAPTURES         passed on: a folder with captures to replay
    TELEGEN_TEST_TIMEOUT     seconds until a suite is ended, 900 by default; building does not count
"""

import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "target" / "test"
VENV_PYTHON = ROOT / "target" / "venv" / "bin" / "python"
TIMEOUT_SEC = float(os.environ.get("TELEGEN_TEST_TIMEOUT", "900"))
# How long a suite may take to clean up after it was told to end.
GRACE_SEC = 20


@dataclass
class Outcome:
    """What became of a suite's tests."""

    passed: int = 0
    failed: int = 0
    skipped: "list[str]" = field(default_factory=list)  # "<test>: <reason>"

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def shown(line, state):
    """Whether a line of cargo's output goes to the terminal: all but what passing tests printed."""
    if line.strip() == "successes:":
        state["successes"] = True
    elif line.strip() == "failures:" or line.startswith("test result:"):
        state["successes"] = False
    return not state["successes"]


def run(command, log):
    """Runs a suite with its output in `log` and, but for the chatter of passing tests, on the terminal.

    Returns its exit code, or 1 if it had to be ended. It has not ended while anything that it started holds its output:
    a test that leaves a process behind is found here.
    """
    state = {"successes": False}
    ended = []
    suite = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "CARGO_TERM_COLOR": "never"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )

    def overdue(*_):
        print("run_tests: no end after {:.0f} s; ending it".format(TIMEOUT_SEC), flush=True)
        ended.append(True)
        end(suite)

    signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT_SEC)
    try:
        with log.open("w", encoding="utf-8") as file:
            for raw in suite.stdout:
                line = raw.decode("utf-8", "replace")
                file.write(line)
                if shown(line, state):
                    sys.stdout.write(line)
                    sys.stdout.flush()
        return 1 if ended else suite.wait()
    except BaseException:
        end(suite)
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def end(suite):
    """Ends a suite with all that it started: politely, so that what they made is unmade, then not."""
    try:
        os.killpg(suite.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SEC
        while time.monotonic() < deadline:
            suite.poll()
            os.killpg(suite.pid, 0)
            time.sleep(0.1)
        os.killpg(suite.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def read_cargo(text):
    """Adds up what each test binary of `cargo test` reported."""
    outcome = Outcome()
    for passed, failed in re.findall(r"^test result: \w+\. (\d+) passed; (\d+) failed;", text, re.MULTILINE):
        outcome.passed += int(passed)
        outcome.failed += int(failed)
    for name, reason in re.findall(r"^test (.+?) \.\.\. ignored(?:, (.*))?$", text, re.MULTILINE):
        outcome.skipped.append("{}: {}".format(name, reason or "ignored"))
    # A test's output may follow "test name ... " on the same line if it did not go through libtest's capture.
    reported = set(re.findall(r"SKIPPED: (\S.*)", text))
    outcome.skipped += sorted(reported)
    outcome.passed -= len(reported)
    return outcome


def read_pytest(path):
    """The counts of a JUnit report."""
    outcome = Outcome()
    for case in ET.parse(path).iter("testcase"):  # noqa: S314 (written by pytest a moment ago)
        name = "{}::{}".format(case.get("classname"), case.get("name"))
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif skipped is not None:
            outcome.skipped.append("{}: {}".format(name, skipped.get("message")))
        else:
            outcome.passed += 1
    return outcome


def cargo_suite():
    """Builds, then runs; a test that does not build is one failure, and so is a binary that dies without a result."""
    if subprocess.run(["cargo", "test", "--no-run"], cwd=ROOT, check=False).returncode != 0:
        return Outcome(failed=1)
    log = LOGS / "cargo.log"
    code = run(["cargo", "test", "--no-fail-fast", "--", "--show-output"], log)
    outcome = read_cargo(log.read_text(encoding="utf-8"))
    if code != 0 and outcome.failed == 0:
        outcome.failed = 1
    return outcome


def pytest_suite():
    """The plugins and the YANG module."""
    report = LOGS / "pytest.xml"
    report.unlink(missing_ok=True)
    code = run([VENV_PYTHON, "-B", "-m", "pytest", "-q", "--junitxml", report], LOGS / "pytest.log")
    outcome = read_pytest(report) if report.exists() else Outcome()
    if code != 0 and outcome.failed == 0:
        outcome.failed = 1
    return outcome


def main():
    if os.geteuid() != 0:
        sys.exit(
            'run_tests: the tests make network namespaces and load BPF programs: run as root (sudo env PATH="$PATH" …)'
        )
    LOGS.mkdir(parents=True, exist_ok=True)
    total = Outcome()
    total.add(cargo_suite())
    total.add(pytest_suite())
    for skipped in total.skipped:
        print("skipped: {}".format(skipped))
    print("{} passed, {} failed, {} skipped".format(total.passed, total.failed, len(total.skipped)), flush=True)
    sys.exit(1 if total.failed else 0)


if __name__ == "__main__":
    main()
