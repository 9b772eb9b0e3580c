#!/usr/bin/env python3
"""What scripts/test_kernels.sh cannot read well with a shell: cargo's JSON, and the logs of the test runs.

report.py binaries CARGO_JSON          prints "<target> <path>" of each test binary
report.py table FOLDER NAME=ATTACH…    prints the table of the runs in FOLDER/NAME; exit 1 if any failed

A run is a folder with what test_kernels.sh left: suites.log (see suites.sh), console.log (the kernel's messages), boot_seconds,
or one line of reason in `skipped` or `failed`. Tests are counted as scripts/run_tests.py counts them. ATTACH is how a tap
must attach by itself: tcx, clsact, or any.
"""

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from run_tests import Outcome, read_cargo  # noqa: E402 (a script is no package)

HEADINGS = ("kernel", "release", "attached by", "passed", "failed", "skipped", "boot s", "tests s", "remarks")
# The kernel's own complaints. Not the lockup detectors': an emulated CPU on a busy machine is slow, not stuck.
COMPLAINT = re.compile(r"\b(WARNING: .*|BUG: (?!soft lockup).*|Oops: .*|general protection fault.*|Kernel panic.*)")


@dataclass
class Row:
    """What became of the tests on one kernel."""

    name: str
    release: str = "-"
    attached_by: str = "-"
    outcome: Outcome = field(default_factory=Outcome)
    boot_sec: str = "-"
    tests_sec: str = "-"
    remarks: "list[str]" = field(default_factory=list)
    bad: bool = False

    def fail(self, remark):
        self.remarks.append(remark)
        self.bad = True

    def cells(self):
        counts = self.outcome
        if self.release == "-":
            numbers = ["-", "-", "-"]
        else:
            numbers = [str(counts.passed), str(counts.failed), str(len(counts.skipped))]
        return [
            self.name,
            self.release,
            self.attached_by,
            *numbers,
            self.boot_sec,
            self.tests_sec,
            "; ".join(self.remarks),
        ]


def read(path):
    """The text of a file, "" if there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def suites(row, log):
    """Reads a log of suites.sh into the row."""
    started = re.findall(r"^SUITE (\w+)$", log, re.MULTILINE)
    ended = re.findall(r"^SUITE ENDED (\w+) exit (\d+) seconds (\d+)$", log, re.MULTILINE)
    row.release = "".join(re.findall(r"^KERNEL (\S+)$", log, re.MULTILINE)[:1]) or "-"
    row.attached_by = "".join(re.findall(r"^ATTACHED BY: (\w+)$", log, re.MULTILINE)[:1]) or "-"
    row.outcome = read_cargo(log)
    row.tests_sec = str(sum(int(seconds) for _, _, seconds in ended))
    for name, code, _ in ended:
        # libtest ends with 101 if tests failed, which are counted; anything else is a suite that did not get that far.
        if code not in ("0", "101"):
            row.fail("{} ended with {}".format(name, "a time-out" if code == "137" else "exit code " + code))
    for name in started[len(ended) :]:
        row.fail("{} did not end".format(name))
    if row.outcome.failed:
        row.fail("failed: " + ", ".join(re.findall(r"^test (\S+) \.\.\. FAILED$", log, re.MULTILINE)))
    if "ALL SUITES ENDED" not in log:
        row.fail("the run did not end")


def row_of(folder, name, attach):
    """Judges one run."""
    row = Row(name)
    for state, remark in (("skipped", "SKIPPED: "), ("failed", "")):
        reason = read(folder / state).strip()
        if reason or (folder / state).exists():
            row.remarks.append(remark + (reason or "no reason given"))
            row.bad = state == "failed"
            return row
    log = read(folder / "suites.log").replace("\r", "")
    row.boot_sec = read(folder / "boot_seconds").strip() or "-"
    if not log:
        row.fail("did not boot: see {}".format(folder / "console.log"))
        return row
    suites(row, log)
    if attach not in ("any", row.attached_by):
        row.fail("a tap should attach by {}".format(attach))
    row.remarks += sorted(set(COMPLAINT.findall(read(folder / "console.log").replace("\r", ""))))
    note = read(folder / "note").strip()
    if note:
        row.remarks.append(note)
    return row


def table(rows):
    """The rows as lines of a Markdown table, padded so that a terminal shows columns."""
    lines = [list(HEADINGS), *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    lines.insert(1, ["-" * width for width in widths])
    return ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines]


def binaries(path):
    """Target and path of each test binary that cargo reported."""
    for line in read(path).splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("executable") and message["profile"]["test"]:
            yield message["target"]["name"], message["executable"]


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "binaries":
        for name, path in binaries(Path(arguments[1])):
            print(name, path)
        return
    if len(arguments) < 3 or arguments[0] != "table":
        sys.exit(__doc__)
    folder = Path(arguments[1])
    rows = [row_of(folder / name, name, attach) for name, attach in (pair.split("=", 1) for pair in arguments[2:])]
    lines = table(rows)
    (folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    for row in rows:
        for skipped in row.outcome.skipped:
            print("skipped on {}: {}".format(row.name, skipped))
    sys.exit(1 if any(row.bad for row in rows) else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
