"""Stands in for sonic-utilities' utilities_common.db: the connections that a command gets from @pass_db."""

from swsscommon.swsscommon import ConfigDBConnector, SonicV2Connector


class Db:
    """`cfgdb` is CONFIG_DB with rows as dictionaries, `db` every database. One namespace: the host's."""

    def __init__(self):
        self.cfgdb = ConfigDBConnector()
        self.cfgdb.connect()
        self.db = SonicV2Connector(host="127.0.0.1")
        for name in self.db.get_db_list():
            self.db.connect(name)
        self.cfgdb_clients = {"": self.cfgdb}
        self.db_clients = {"": self.db}
