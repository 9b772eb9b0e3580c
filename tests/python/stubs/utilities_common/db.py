"""Stands in for sonic-utilities' utilities_common.db: the connections that a command gets from @pass_db."""

from swsscommon.swsscommon import ConfigDBConnector, SonicDBConfig, SonicV2Connector


class Db:
    """`cfgdb` is CONFIG_DB with rows as dictionaries, `db` every database; both for the host and for each namespace."""

    def __init__(self):
        self.cfgdb_clients = {}
        self.db_clients = {}
        for namespace in ["", *(name for name in SonicDBConfig.get_ns_list() if name)]:
            config = ConfigDBConnector(namespace=namespace)
            config.connect()
            every = SonicV2Connector(namespace=namespace)
            for name in every.get_db_list():
                every.connect(name)
            self.cfgdb_clients[namespace] = config
            self.db_clients[namespace] = every
        self.cfgdb = self.cfgdb_clients[""]
        self.db = self.db_clients[""]
