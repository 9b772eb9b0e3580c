"""yang/sonic-telegen.yang under libyang (yanglint): the samples that it must take, and those that it must refuse and why.

Samples are CONFIG_DB JSON, as `config load` takes it; here they are turned into YANG data by sonic-yang-mgmt's rule
(sonic_yang_ext.py): a row goes into TABLE_LIST under its key, unsigned integers become numbers, all else stays a string.
An invalid sample says what it violates: the message that libyang must report, and the error-app-tag that belongs to it
(none where the message is libyang's own).
"""

import json
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MODULE = ROOT / "yang" / "sonic-telegen.yang"
STAND_INS = ROOT / "tests" / "yang" / "modules"
SAMPLES = ROOT / "yang" / "samples"
YIN = "{urn:ietf:params:xml:ns:yang:yin:1}"


def yanglint(*arguments):
    return subprocess.run(
        ["yanglint", "-p", str(STAND_INS), *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def schema():
    result = yanglint("-f", "yin", MODULE)
    assert result.returncode == 0, result.stderr
    return ET.fromstring(result.stdout)  # noqa: S314 (yanglint's output of our own module)


def integers(schema):
    """The names of all leafs whose base type is an unsigned integer."""
    typedefs = {typedef.get("name"): typedef.find(YIN + "type").get("name") for typedef in schema.iter(YIN + "typedef")}

    def base(name):
        return base(typedefs[name]) if name in typedefs else name

    leafs = [*schema.iter(YIN + "leaf"), *schema.iter(YIN + "leaf-list")]
    return {leaf.get("name") for leaf in leafs if base(leaf.find(YIN + "type").get("name")).startswith("uint")}


def yang_data(config, numbers):
    """CONFIG_DB JSON as YANG data."""

    def typed(name, value):
        if isinstance(value, list):
            return [typed(name, item) for item in value]
        return int(value) if name in numbers else value

    tree = {}
    for table, rows in config.items():
        module = "sonic-port" if table == "PORT" else "sonic-telegen"
        typed_rows = {key: {name: typed(name, value) for name, value in row.items()} for key, row in rows.items()}
        if table == "TELEGEN":
            content = typed_rows
        else:
            content = {table + "_LIST": [{"name": key, **row} for key, row in typed_rows.items()]}
        tree.setdefault("{0}:{0}".format(module), {})[table] = content
    return tree


def validate(config, schema, tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(yang_data(config, integers(schema))))
    return yanglint("-t", "config", STAND_INS / "sonic-port.yang", MODULE, path)


def samples(kind):
    paths = sorted((SAMPLES / kind).glob("*.json"))
    assert paths, "no samples in {}".format(SAMPLES / kind)
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


@samples("valid")
def test_a_valid_sample_is_taken(path, schema, tmp_path):
    result = validate(json.loads(path.read_text()), schema, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@samples("invalid")
def test_an_invalid_sample_is_refused_for_the_reason_it_names(path, schema, tmp_path):
    sample = json.loads(path.read_text())
    violates = sample["violates"]
    result = validate(sample["config"], schema, tmp_path)
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
