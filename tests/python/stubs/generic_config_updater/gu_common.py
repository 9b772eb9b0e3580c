"""Stands in for sonic-utilities' generic_config_updater.gu_common: the error that a patch may end with."""


class GenericConfigUpdaterError(Exception):
    """As in sonic-utilities: no ValueError."""
