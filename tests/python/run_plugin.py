#!/usr/bin/env python3
"""Runs the sonic-utilities plugins where there is no sonic-utilities: in the lab, and in tests.

    run_plugin.py [--db-config FILE] (config | show | clear) telegen ARGUMENTS...

The plugins are registered in click roots named as on a switch and work on the databases that FILE names
(/var/run/redis/sonic-db/database_config.json by default), through the stand-ins in stubs/ and tests/swss. It needs
click, tabulate, natsort, redis and jsonpatch; exit codes are the commands' own.
"""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLUGINS = HERE.parent.parent / "sonic" / "cli"
sys.path[:0] = [str(HERE / "stubs"), str(HERE.parent / "swss")]

import click  # noqa: E402 (behind the path of the stand-ins)
import utilities_common.cli as clicommon  # noqa: E402
from swsscommon.swsscommon import SonicDBConfig  # noqa: E402


def load_plugin(command):
    """The module of `command`'s plugin, loaded from its file as sonic-package-manager would install it."""
    path = PLUGINS / command / "plugins" / "telegen.py"
    spec = importlib.util.spec_from_file_location("{}_plugins_telegen".format(command), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def root():
    """A click group with config, show and clear, and the plugins in them."""
    top = click.Group(name="sonic", help=__doc__.splitlines()[0])
    for command, kind in (
        ("config", clicommon.AbbreviationGroup),
        ("show", clicommon.AliasedGroup),
        ("clear", clicommon.AliasedGroup),
    ):
        group = kind(name=command)
        load_plugin(command).register(group)
        top.add_command(group)
    return top


def main(arguments):
    """Takes --db-config off the front and leaves the rest to click."""
    if arguments[:1] == ["--db-config"]:
        if len(arguments) < 2:
            sys.exit("--db-config: give a file")
        SonicDBConfig.load_sonic_db_config(arguments[1])
        arguments = arguments[2:]
    root().main(args=arguments, prog_name="")


if __name__ == "__main__":
    main(sys.argv[1:])
