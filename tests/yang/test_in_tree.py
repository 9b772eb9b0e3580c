"""The cases in sonic-yang-models' form: they are those of the samples, and libyang's verdict is what they say.

`make test-sonic-cli` runs them in sonic-yang-models' own test, too, among all of SONiC's modules.
"""

import json

import in_tree
import pytest
import schema as sonic_telegen
from schema import MODULE, STAND_INS

TESTS = in_tree.TARGET / "tests" / "telegen.json"
CONFIGS = in_tree.TARGET / "tests_config" / "telegen.json"

# The words behind the keys that the cases use, in libyang 2 and 3.
WORDS = {
    "InvalidValue": ["Invalid", "value"],
    "Mandatory": ["Mandatory node", "does not exist"],
    "MaxElements": ["Too many"],
    "UnknownElement": ["not found as a child"],
}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [TESTS, CONFIGS], ids=lambda path: path.parent.name)
def test_the_files_are_those_of_the_samples(path):
    assert path.read_text(encoding="utf-8") == in_tree.files()[path], "run tests/yang/in_tree.py"


@pytest.mark.parametrize("name", sorted(read(TESTS)))
def test_libyang_says_what_the_case_expects(name, tmp_path):
    case = read(TESTS)[name]
    data = tmp_path / "data.json"
    data.write_text(json.dumps(read(CONFIGS)[name]))
    result = sonic_telegen.yanglint("-t", "config", STAND_INS / "sonic-port.yang", MODULE, data)
    expected = [*WORDS[case["eStrKey"]], *case.get("eStr", [])] if "eStrKey" in case else case.get("eStr", [])
    assert (result.returncode != 0) == bool(expected), result.stderr
    assert [words for words in expected if words not in result.stderr] == []


def test_both_kinds_of_cases_are_there():
    refused = [name for name, case in read(TESTS).items() if "eStr" in case or "eStrKey" in case]
    assert len(refused) > 40
    assert len(read(TESTS)) - len(refused) >= 6
    assert set(read(TESTS)) == set(read(CONFIGS))
