"""Stands in for sonic-utilities' config.validated_config_db_connector.

The real one sends writes through YANG validation when the switch asks for it, and raises ValueError for what YANG
refuses. Here they are always passed on, and noted so that a test can see who came this way.
"""

WRITES = []


class ValidatedConfigDBConnector:
    """Wraps a ConfigDBConnector."""

    yang_enabled = False

    def __init__(self, config_db_connector):
        self.connector = config_db_connector

    def apply_patch(self, gcu_patch, table):
        """Only noted."""
        WRITES.append(("apply_patch", table, gcu_patch.patch))

    def set_entry(self, table, key, data):
        WRITES.append(("set_entry", table, key, data))
        self.connector.set_entry(table, key, data)

    def mod_entry(self, table, key, data):
        WRITES.append(("mod_entry", table, key, data))
        self.connector.mod_entry(table, key, data)

    def __getattr__(self, name):
        return getattr(self.connector, name)
