#!/usr/bin/env python3
"""yang/sonic-telegen.yang as other tests see it, through yanglint. Needs Python's standard library and yanglint.

    schema.py table             what each field may hold, as JSON in the form of tests/agreement.rs
    schema.py verdicts < FILE   FILE is a JSON list of CONFIG_DB objects; prints a list of true (taken) and false

CONFIG_DB JSON (what `config load` takes) becomes YANG data by sonic-yang-mgmt's rule (sonic_yang_ext.py): a row goes into
TABLE_LIST under its key, unsigned integers become numbers, all else stays a string.
"""

import json
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MODULE = ROOT / "yang" / "sonic-telegen.yang"
STAND_INS = ROOT / "tests" / "yang" / "modules"
YIN = "{urn:ietf:params:xml:ns:yang:yin:1}"


def yanglint(*arguments):
    """Runs yanglint with the stand-ins of SONiC's own modules."""
    return subprocess.run(
        ["yanglint", "-p", str(STAND_INS), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def load():
    """The module as YIN."""
    result = yanglint("-f", "yin", MODULE)
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    return ET.fromstring(result.stdout)


def base_type(schema, leaf):
    """The typedef that a leaf names (None if it names none), and the built-in type behind it."""
    typedefs = {typedef.get("name"): typedef for typedef in schema.iter(YIN + "typedef")}
    kind = leaf.find(YIN + "type")
    named = kind.get("name") if kind.get("name") in typedefs else None
    while kind.get("name") in typedefs:
        kind = typedefs[kind.get("name")].find(YIN + "type")
    return named, kind


def integers(schema):
    """The names of all leafs whose base type is an unsigned integer."""
    leafs = [*schema.iter(YIN + "leaf"), *schema.iter(YIN + "leaf-list")]
    return {leaf.get("name") for leaf in leafs if base_type(schema, leaf)[1].get("name").startswith("uint")}


def yang_data(config, numbers):
    """CONFIG_DB JSON as YANG data; what is no number where there should be one is left to libyang to refuse."""

    def typed(name, value):
        if isinstance(value, list):
            return [typed(name, item) for item in value]
        return int(value) if name in numbers and re.fullmatch(r"-?\d+", value) else value

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


def validate(config, numbers):
    """What libyang says of CONFIG_DB JSON: yanglint's exit code and messages."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(yang_data(config, numbers), file)
        file.flush()
        return yanglint("-t", "config", STAND_INS / "sonic-port.yang", MODULE, file.name)


def rule(schema, leaf):
    """What one leaf may hold."""
    named, kind = base_type(schema, leaf)
    out = {"default": None}
    if kind.get("name").startswith("uint"):
        least, most = kind.find(YIN + "range").get("value").split("..")
        out.update(kind="integer", min=int(least), max=int(most))
    elif named == "word-boolean":
        out.update(kind="boolean")
    elif kind.get("name") == "enumeration":
        out.update(kind="word", words=[], reserved=[])
        for enum in kind.iter(YIN + "enum"):
            text = enum.findtext("{0}description/{0}text".format(YIN))
            out["reserved" if text.startswith("Reserved:") else "words"].append(enum.get("name"))
    elif named == "free-text":
        out.update(kind="text", max_chars=int(kind.find(YIN + "length").get("value").split("..")[1]))
    else:
        out.update(kind=named)
    if leaf.tag == YIN + "leaf-list":
        out["max_items"] = int(leaf.find(YIN + "max-elements").get("value"))
    # A job's default may be a setting, which YANG cannot say but in words.
    setting = re.search(r"Default: the setting\s+(\w+)", leaf.findtext("{0}description/{0}text".format(YIN)))
    default = leaf.find(YIN + "default")
    if setting:
        out["default"] = "setting:" + setting.group(1)
    elif default is not None:
        out["default"] = default.get("value")
    return out


def rules(schema, container, but=()):
    """The rules of all leafs in a container or list."""
    (node,) = [node for node in schema.iter() if node.get("name") == container]
    leafs = [leaf for leaf in node if leaf.tag in (YIN + "leaf", YIN + "leaf-list")]
    return {leaf.get("name"): rule(schema, leaf) for leaf in leafs if leaf.get("name") not in but}


def needs(schema):
    """Which kinds of job need which fields, by the must statements that say so."""
    (jobs,) = [node for node in schema.iter(YIN + "list") if node.get("name") == "TELEGEN_JOB_LIST"]
    (kind,) = [leaf for leaf in jobs if leaf.get("name") == "kind"]
    out = {word: [] for word in rule(schema, kind)["words"]}
    for must in jobs.findall(YIN + "must"):
        field, word = re.fullmatch(r"(\w+) or kind != '([a-z-]+)'", must.get("condition")).groups()
        out[word].append(field)
    return out


def job_id_pattern(schema):
    """The pattern of a job's key."""
    (jobs,) = [node for node in schema.iter(YIN + "list") if node.get("name") == "TELEGEN_JOB_LIST"]
    return jobs.find("{0}leaf[@name='name']/{0}type/{0}pattern".format(YIN)).get("value")


def main(arguments):
    """Prints what is asked for."""
    schema = load()
    if arguments == ["table"]:
        table = {
            "job": rules(schema, "TELEGEN_JOB_LIST", but=("name",)),
            "needs": needs(schema),
            "settings": rules(schema, "global"),
            "job_id_pattern": job_id_pattern(schema),
        }
        print(json.dumps(table))
    elif arguments == ["verdicts"]:
        numbers = integers(schema)
        print(json.dumps([validate(config, numbers).returncode == 0 for config in json.load(sys.stdin)]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
