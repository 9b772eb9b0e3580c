"""yang/sonic-telegen.yang under libyang: the samples that it must take, and those that it must refuse and why.

Samples are CONFIG_DB JSON. An invalid one says what it violates: the message that libyang must report, and the
error-app-tag that belongs to it (none where the message is libyang's own).
"""

import json
import xml.etree.ElementTree as ET

import pytest
import schema as sonic_telegen
from schema import ROOT, YIN

SAMPLES = ROOT / "yang" / "samples"


@pytest.fixture(scope="session")
def schema():
    return sonic_telegen.load()


def samples(kind):
    paths = sorted((SAMPLES / kind).glob("*.json"))
    assert paths, "no samples in {}".format(SAMPLES / kind)
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


@samples("valid")
def test_a_valid_sample_is_taken(path, schema):
    result = sonic_telegen.validate(json.loads(path.read_text()), sonic_telegen.integers(schema))
    assert (result.returncode, result.stderr) == (0, "")


@samples("invalid")
def test_an_invalid_sample_is_refused_for_the_reason_it_names(path, schema):
    sample = json.loads(path.read_text())
    violates = sample["violates"]
    result = sonic_telegen.validate(sample["config"], sonic_telegen.integers(schema))
    assert result.returncode != 0
    assert violates["message"] in result.stderr
    # yanglint prints the message only; the tag is the one that the module gives that message.
    tags = {
        error.find(YIN + "error-app-tag").get("value")
        for error in schema.iter()
        if error.findtext("{0}error-message/{0}value".format(YIN)) == violates["message"]
    }
    assert tags == ({violates["app_tag"]} if violates["app_tag"] else set())


def test_every_restriction_has_a_message_and_a_tag(schema):
    restrictions = [node for kind in ("range", "length", "pattern", "must") for node in schema.iter(YIN + kind)]
    assert len(restrictions) > 30
    for node in restrictions:
        assert node.find(YIN + "error-message") is not None, ET.tostring(node)
        assert node.find(YIN + "error-app-tag") is not None, ET.tostring(node)


def test_every_node_is_described(schema):
    kinds = ("container", "list", "leaf", "leaf-list", "typedef", "enum")
    nodes = [node for kind in kinds for node in schema.iter(YIN + kind)]
    assert len(nodes) > 60
    assert [node.get("name") for node in nodes if node.find(YIN + "description") is None] == []


def test_every_message_of_the_module_is_provoked_by_a_sample(schema):
    messages = {message.findtext(YIN + "value") for message in schema.iter(YIN + "error-message")}
    provoked = {json.loads(path.read_text())["violates"]["message"] for path in (SAMPLES / "invalid").glob("*.json")}
    assert messages - provoked == set()
