#!/usr/bin/env python3
"""Prints what the config plugin says each field may hold, and which fields of results the show plugin knows, as JSON in
the form of tests/agreement.rs."""

import json

import run_plugin


def whole(rule):
    """A rule with what the plugin leaves out where it does not apply."""
    return {"default": None, **rule}


if __name__ == "__main__":
    plugin = run_plugin.load_plugin("config")
    show = run_plugin.load_plugin("show")
    table = {
        "job": {name: whole(rule) for name, rule in plugin.JOB_FIELDS.items()},
        "needs": plugin.NEEDS,
        "settings": {name: whole(rule) for name, rule in plugin.SETTINGS.items()},
        "job_id_pattern": plugin.JOB_ID_PATTERN,
        "results": {
            "counters": show.COUNTERS,
            "counts": show.COUNTS,
            "measured": show.SEGMENTS + show.COPIES + show.DISTINCT,
            "findings": [field for _, field, _, _ in show.WRONG + show.NOTES],
            "mix": [family for _, family in show.MIX],
            "warnings": list(show.WARNINGS),
        },
    }
    print(json.dumps(table))
