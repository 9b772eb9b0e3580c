#!/usr/bin/env python3
"""Writes the samples of yang/samples as test cases in the form of sonic-buildimage's src/sonic-yang-models.

    in_tree.py          writes yang/sonic-yang-models/tests/yang_model_tests/{tests,tests_config}/telegen.json

There, tests/*.json says what each case is about and which words libyang's refusal has in it, and tests_config/*.json is its
YANG data. tests/yang/test_in_tree.py holds these files to the samples.
"""

import json
import re
import sys
from pathlib import Path

import schema as sonic_telegen
from schema import ROOT

SAMPLES = ROOT / "yang" / "samples"
TARGET = ROOT / "yang" / "sonic-yang-models" / "tests" / "yang_model_tests"

# The keys of sonic-yang-models for what libyang itself says (test_yang_model.py), by how libyang says it.
OF_LIBYANG = {
    r"^Invalid enumeration value": "InvalidValue",
    r"^Mandatory node": "Mandatory",
    r"^Too many": "MaxElements",
    r"not found as a child": "UnknownElement",
}
# What SONiC's own sonic-port demands of a port.
PORT = {"lanes": "1,2,3,4", "speed": 100000}


def case_name(path):
    """job_vlan_4095 as TELEGEN_JOB_VLAN_4095."""
    return "TELEGEN_" + path.stem.upper()


def expectation(violates):
    """What a case says of its refusal."""
    if violates["app_tag"] is not None:
        return {"eStr": [violates["message"]]}
    for pattern, key in OF_LIBYANG.items():
        if re.search(pattern, violates["message"]):
            return {"eStrKey": key}
    return {"eStr": [violates["message"]]}


def whole(tree):
    """YANG data with ports that SONiC's own module takes."""
    for row in tree.get("sonic-port:sonic-port", {}).get("PORT", {}).get("PORT_LIST", []):
        row.update(PORT)
    return tree


def cases():
    """What both files say: descriptions with expectations, and YANG data, by name."""
    numbers = sonic_telegen.integers(sonic_telegen.load())
    told, data = {}, {}
    for path in sorted(SAMPLES.glob("valid/*.json")):
        told[case_name(path)] = {"desc": "telegen: taken: " + path.stem.replace("_", " ")}
        data[case_name(path)] = whole(sonic_telegen.yang_data(json.loads(path.read_text()), numbers))
    for path in sorted(SAMPLES.glob("invalid/*.json")):
        sample = json.loads(path.read_text())
        told[case_name(path)] = {
            "desc": "telegen: refused: " + path.stem.replace("_", " "),
            **expectation(sample["violates"]),
        }
        data[case_name(path)] = whole(sonic_telegen.yang_data(sample["config"], numbers))
    return told, data


def files():
    """The two files with their content."""
    told, data = cases()
    named = {TARGET / "tests" / "telegen.json": told, TARGET / "tests_config" / "telegen.json": data}
    return {path: json.dumps(content, indent=4, ensure_ascii=False) + "\n" for path, content in named.items()}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    for path, text in files().items():
        Path(path.parent).mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
