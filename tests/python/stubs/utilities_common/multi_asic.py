"""Stands in for sonic-utilities' utilities_common.multi_asic: as much of it as the plugins use. The code is ours."""

import click
from swsscommon.swsscommon import SonicDBConfig


class NamespaceChoice(click.Choice):
    """The namespaces that database_global.json names; on a single-ASIC switch only the host's, which has no name."""

    def __init__(self):
        super().__init__([])

    @property
    def choices(self):
        return [name for name in SonicDBConfig.get_ns_list() if name] or [""]

    @choices.setter
    def choices(self, value):
        """click.Choice sets it once; it is asked for later."""


def multi_asic_click_option_namespace(command):
    """-n, as most commands have it."""
    return click.option("-n", "--namespace", type=NamespaceChoice(), help="Namespace name or all")(command)
