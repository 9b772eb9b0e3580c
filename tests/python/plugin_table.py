#!/usr/bin/env python3
"""Prints what the config plugin says each field may hold, as JSON in the form of tests/agreement.rs."""

import json

import run_plugin


def whole(rule):
    """A rule with what the plugin leaves out where it does not apply."""
    return {"default": None, "required": False, **rule}


if __name__ == "__main__":
    plugin = run_plugin.load_plugin("config")
    table = {
        "job": {name: whole(rule) for name, rule in plugin.JOB_FIELDS.items()},
        "settings": {name: whole(rule) for name, rule in plugin.SETTINGS.items()},
        "job_id_pattern": plugin.JOB_ID_PATTERN,
    }
    print(json.dumps(table))
