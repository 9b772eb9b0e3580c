"""Stands in for SONiC's Python binding of libswsscommon, which is not on PyPI: as much of it as the plugins use.

The interface and what each call sends to Redis follow sonic-swss-common (sonicv2connector.h, configdb.h, configdb.cpp):
mod_entry is one HSET, set_entry is HSET and then HDEL of each stale field, a list field `x` is stored as `x@`, and a
row without fields as NULL: NULL. The code is ours.
"""

import json
import os

import redis


class SonicDBConfig:
    """Where each database is, from database_config.json."""

    DEFAULT_PATH = "/var/run/redis/sonic-db/database_config.json"
    _config = None

    @classmethod
    def load_sonic_db_config(cls, path=None):
        with open(path or cls.DEFAULT_PATH, encoding="utf-8") as file:
            cls._config = json.load(file)

    @classmethod
    def database(cls, name):
        if cls._config is None:
            cls.load_sonic_db_config()
        return cls._config["DATABASES"][name]

    @classmethod
    def names(cls):
        if cls._config is None:
            cls.load_sonic_db_config()
        return list(cls._config["DATABASES"])

    @classmethod
    def connect(cls, name):
        database = cls.database(name)
        instance = cls._config["INSTANCES"][database["instance"]]
        path = instance.get("unix_socket_path", "")
        if path and os.path.exists(path):
            return redis.Redis(unix_socket_path=path, db=database["id"], decode_responses=True)
        return redis.Redis(host=instance["hostname"], port=instance["port"], db=database["id"], decode_responses=True)


class SonicV2Connector:
    """Every database behind its name; each name is an attribute, too."""

    def __init__(self, use_unix_socket_path=False, namespace="", **_):
        self._clients = {}
        for name in SonicDBConfig.names():
            setattr(self, name, name)

    def connect(self, db_name, retry_on=True):
        self._clients[db_name] = SonicDBConfig.connect(db_name)

    def get_db_list(self):
        return SonicDBConfig.names()

    def get_db_separator(self, db_name):
        return SonicDBConfig.database(db_name)["separator"]

    def get_redis_client(self, db_name):
        return self._clients[db_name]

    def exists(self, db_name, key):
        return bool(self._clients[db_name].exists(key))

    def keys(self, db_name, pattern="*", blocking=False):
        return list(self._clients[db_name].keys(pattern))

    def get(self, db_name, _hash, key, blocking=False):
        return self._clients[db_name].hget(_hash, key)

    def get_all(self, db_name, _hash, blocking=False):
        row = self._clients[db_name].hgetall(_hash)
        return {name: "" if value == "None" else value for name, value in row.items()}

    def set(self, db_name, _hash, key, value, blocking=False):
        return self._clients[db_name].hset(_hash, key, str(value))

    def delete(self, db_name, key, blocking=False):
        return self._clients[db_name].delete(key)


class ConfigDBConnector(SonicV2Connector):
    """CONFIG_DB, with rows as dictionaries."""

    INIT_INDICATOR = "CONFIG_DB_INITIALIZED"
    db_name = "CONFIG_DB"

    def connect(self, wait_for_init=True, retry_on=False):
        super().connect(self.db_name, retry_on)

    @property
    def TABLE_NAME_SEPARATOR(self):
        return self.get_db_separator(self.db_name)

    KEY_SEPARATOR = TABLE_NAME_SEPARATOR

    def _client(self):
        return self.get_redis_client(self.db_name)

    def serialize_key(self, key):
        return self.KEY_SEPARATOR.join(key) if isinstance(key, tuple) else str(key)

    def deserialize_key(self, key):
        parts = key.split(self.KEY_SEPARATOR)
        return tuple(parts) if len(parts) > 1 else key

    def _row_key(self, table, key):
        return table.upper() + self.TABLE_NAME_SEPARATOR + self.serialize_key(key)

    @staticmethod
    def typed_to_raw(data):
        if data is None:
            return {}
        if not data:
            return {"NULL": "NULL"}
        lists = {name + "@": ",".join(value) for name, value in data.items() if isinstance(value, list)}
        return {**{name: str(value) for name, value in data.items() if not isinstance(value, list)}, **lists}

    @staticmethod
    def raw_to_typed(raw):
        typed = {}
        for name, value in raw.items():
            if name.endswith("@"):
                typed[name[:-1]] = value.split(",")
            elif name != "NULL":
                typed[name] = value
        return typed

    def mod_entry(self, table, key, data):
        raw = self.typed_to_raw(data)
        row_key = self._row_key(table, key)
        if raw:
            self._client().hset(row_key, mapping=raw)
        else:
            self._client().delete(row_key)

    def set_entry(self, table, key, data):
        raw = self.typed_to_raw(data)
        row_key = self._row_key(table, key)
        if not raw:
            self._client().delete(row_key)
            return
        stale = [name for name in self._client().hkeys(row_key) if name not in raw]
        self._client().hset(row_key, mapping=raw)
        for name in stale:
            self._client().hdel(row_key, name)

    def get_entry(self, table, key):
        return self.raw_to_typed(self._client().hgetall(self._row_key(table, key)))

    def get_keys(self, table, split=True):
        prefix = table.upper() + self.TABLE_NAME_SEPARATOR
        found = self._client().keys(prefix + "*")
        return [self.deserialize_key(key[len(prefix) :] if split else key) for key in found]

    def get_table(self, table):
        return {key: self.get_entry(table, key) for key in self.get_keys(table)}


class ConfigDBPipeConnector(ConfigDBConnector):
    """Here only so that Db can be made as in sonic-utilities."""
