"""scripts/run_tests.py: what it makes of cargo's and pytest's reports. It decides whether a build is good."""

import importlib.util
import sys
import textwrap
import time

import pytest
import run_plugin

PATH = run_plugin.HERE.parent.parent / "scripts" / "run_tests.py"


@pytest.fixture
def run_tests():
    spec = importlib.util.spec_from_file_location("run_tests", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_tests"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["run_tests"]


CARGO = """\
running 5 tests
test a ... ok
test b ... SKIPPED: b: no CAP_BPF
ok
test c ... ignored, needs a switch
test d ... FAILED
test e ... ok

successes:

---- e stdout ----
SKIPPED: e: TELEGEN_CAPTURES is not set

test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
"""


def test_a_skipped_rust_test_does_not_count_as_passed(run_tests):
    outcome = run_tests.read_cargo(CARGO)
    assert (outcome.passed, outcome.failed) == (5, 1)
    assert outcome.skipped == ["c: needs a switch", "b: no CAP_BPF", "e: TELEGEN_CAPTURES is not set"]


def test_what_passing_tests_print_is_kept_off_the_terminal(run_tests):
    state = {"successes": False}
    shown = [line for line in CARGO.splitlines() if run_tests.shown(line, state)]
    assert "---- e stdout ----" not in shown
    assert "test e ... ok" in shown
    assert len([line for line in shown if line.startswith("test result:")]) == 2


def test_pytest_s_report_is_counted(run_tests, tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        textwrap.dedent(
            """\
            <testsuites><testsuite>
            <testcase classname="m" name="a"/>
            <testcase classname="m" name="b"><skipped message="no yanglint"/></testcase>
            <testcase classname="m" name="c"><failure message="x"/></testcase>
            <testcase classname="m" name="d"><error message="x"/></testcase>
            </testsuite></testsuites>
            """
        )
    )
    outcome = run_tests.read_pytest(report)
    assert (outcome.passed, outcome.failed, outcome.skipped) == (1, 2, ["m::b: no yanglint"])


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", -9)])
def test_a_suite_s_exit_code_is_its_own(run_tests, tmp_path, script, code):
    assert run_tests.run(["sh", "-c", script], tmp_path / "log") == code


@pytest.mark.parametrize("script", ["sleep 60", "sleep 60 & echo left one behind"])
def test_a_suite_that_does_not_end_is_ended_and_failed(run_tests, tmp_path, monkeypatch, script):
    monkeypatch.setattr(run_tests, "TIMEOUT_SEC", 0.3)
    started = time.monotonic()
    assert run_tests.run(["sh", "-c", script], tmp_path / "log") == 1
    assert time.monotonic() - started < 30
