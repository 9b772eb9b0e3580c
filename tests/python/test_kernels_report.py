"""scripts/kernels/report.py: what it makes of the logs of a guest. It decides whether a kernel is good."""

import importlib.util
import sys

import pytest
import run_plugin

PATH = run_plugin.HERE.parent.parent / "scripts" / "kernels" / "report.py"

GOOD = """\
KERNEL 5.10.0-32-amd64
SUITE tap_attach

running 2 tests
test a_tap_chooses ... ok
test by_tcx ... ok

successes:

---- a_tap_chooses stdout ----
ATTACHED BY: clsact

---- by_tcx stdout ----
SKIPPED: by_tcx: this kernel has no TCX

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 18.90s


SUITE ENDED tap_attach exit 0 seconds 20
SUITE tap_live

test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 5.00s


SUITE ENDED tap_live exit 0 seconds 5
ALL SUITES ENDED
"""


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("kernels_report", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kernels_report"] = module  # dataclasses look their module up
    path = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path
    del sys.modules["kernels_report"]


@pytest.fixture
def judge(report, tmp_path):
    def judge(attach="clsact", **files):
        for name, text in files.items():
            (tmp_path / name.replace("_log", ".log")).write_text(text, encoding="utf-8")
        return report.row_of(tmp_path, "5.10", attach)

    return judge


def test_a_run_is_a_row_with_its_counts(judge):
    row = judge(suites_log=GOOD, boot_seconds="14\n")
    assert row.cells() == ["5.10", "5.10.0-32-amd64", "clsact", "4", "0", "1", "14", "25", ""]
    assert row.outcome.skipped == ["by_tcx: this kernel has no TCX"]
    assert not row.bad


def test_a_tap_that_attaches_in_another_way_than_listed_is_a_failure(judge):
    row = judge(attach="tcx", suites_log=GOOD)
    assert (row.bad, row.remarks) == (True, ["a tap should attach by tcx"])


def test_failed_tests_are_named(judge):
    log = GOOD.replace("SUITE tap_live\n", "SUITE tap_live\ntest a::by_clsact ... FAILED\n")
    log = log.replace("ok. 3 passed; 0 failed", "FAILED. 2 passed; 1 failed").replace(
        "tap_live exit 0", "tap_live exit 101"
    )
    row = judge(suites_log=log)
    assert (row.bad, row.outcome.failed, row.remarks) == (True, 1, ["failed: a::by_clsact"])


def test_a_suite_that_was_killed_is_a_failure_although_no_test_failed(judge):
    row = judge(suites_log=GOOD.replace("tap_live exit 0", "tap_live exit 137"))
    assert (row.bad, row.remarks) == (True, ["tap_live ended with a time-out"])


def test_a_guest_that_dies_in_a_suite_is_a_failure_and_says_in_which(judge):
    log = GOOD[: GOOD.index("SUITE tap_live") + len("SUITE tap_live\n")]
    row = judge(suites_log=log, console_log="[    9.1] Kernel panic - not syncing: Fatal exception\r\n")
    assert row.bad
    assert row.remarks == [
        "tap_live did not end",
        "the run did not end",
        "Kernel panic - not syncing: Fatal exception",
    ]


def test_a_guest_that_says_nothing_did_not_boot(judge, tmp_path):
    row = judge(suites_log="")
    assert (row.bad, row.remarks) == (True, ["did not boot: see {}".format(tmp_path / "console.log")])


def test_a_kernel_that_cannot_be_had_is_skipped_with_its_reason_and_is_no_failure(judge):
    row = judge(skipped="the mirror does not answer\n")
    assert (row.bad, row.remarks) == (False, ["SKIPPED: the mirror does not answer"])


def test_a_guest_that_cannot_be_made_is_a_failure(judge):
    row = judge(failed="the kernel has no module veth\n")
    assert (row.bad, row.remarks) == (True, ["the kernel has no module veth"])
