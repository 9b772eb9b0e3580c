"""Stands in for sonic-utilities' utilities_common.cli: as much of it as the plugins use. The code is ours."""

import os

import click

from utilities_common.db import Db

pass_db = click.make_pass_decorator(Db, ensure=True)


class AbbreviationGroup(click.Group):
    """Commands may be shortened as long as one is meant."""

    def get_command(self, ctx, cmd_name):
        exact = super().get_command(ctx, cmd_name)
        if exact is not None:
            return exact
        matches = [name for name in self.list_commands(ctx) if name.lower().startswith(cmd_name.lower())]
        if not matches:
            return None
        shortest = min(matches, key=len)
        if all(name.startswith(shortest) for name in matches):
            return super().get_command(ctx, shortest)
        return ctx.fail("Too many matches: {}".format(", ".join(sorted(matches))))


class AliasedGroup(click.Group):
    """The same, but two candidates are always too many."""

    def get_command(self, ctx, cmd_name):
        exact = super().get_command(ctx, cmd_name)
        if exact is not None:
            return exact
        matches = [name for name in self.list_commands(ctx) if name.lower().startswith(cmd_name.lower())]
        if len(matches) == 1:
            return super().get_command(ctx, matches[0])
        return ctx.fail("Too many matches: {}".format(", ".join(sorted(matches)))) if matches else None


class InterfaceAliasConverter:
    """Between a port's name and its vendor's alias, by PORT in CONFIG_DB."""

    def __init__(self, db=None):
        self.port_dict = (db or Db()).cfgdb.get_table("PORT")

    def name_to_alias(self, interface_name):
        return self.port_dict.get(interface_name, {}).get("alias", interface_name)

    def alias_to_name(self, interface_alias):
        names = [name for name, port in self.port_dict.items() if port.get("alias") == interface_alias]
        return names[0] if names else interface_alias


def get_interface_naming_mode():
    return os.getenv("SONIC_CLI_IFACE_MODE", "default")


def is_valid_port(config_db, port):
    return port in config_db.get_table("PORT")
