"""Stands in for SONiC's Python binding of libswsscommon, which is not on PyPI: as much of it as the tests need.

It speaks to a real Redis. The interface and what each call sends follow sonic-swss-common (dbconnector.h,
sonicv2connector.h, configdb.h, configdb.cpp): mod_entry is one HSET, set_entry is HSET and then HDEL of each stale field, a
list field `x` is stored as `x@`, and a row without fields as NULL: NULL. The code is ours.

What it is not: complete. ConfigDBConnector.connect() does not wait for CONFIG_DB_INITIALIZED; there are no tables,
selects or subscriptions. sonic-utilities imports many of those names and uses few: a constant that is not here is its
own name, a class that is not here raises NotImplementedError when one is made.
"""

import json
import os
import re
from typing import ClassVar

import redis

IFACE_NAME_MAX_LEN = 16  # IFNAMSIZ, with the terminating zero


def isInterfaceNameValid(name):
    """What the kernel takes as a network device's name (dev_valid_name), as swss::isInterfaceNameValid has it."""
    return 0 < len(name) < IFACE_NAME_MAX_LEN and name not in (".", "..") and not re.search(r"[/\s]", name)


def __getattr__(name):
    """A name of the real module that is not here."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name.isupper():
        return name

    def absent(self, *_, **__):
        raise NotImplementedError("swsscommon.{} is not in the stand-in of libswsscommon".format(name))

    return type(name, (), {"__init__": absent})


class SonicDBConfig:
    """Where each database is: from database_config.json, and from database_global.json on a multi-ASIC switch."""

    DEFAULT_PATH = "/var/run/redis/sonic-db/database_config.json"
    DEFAULT_GLOBAL_PATH = "/var/run/redis/sonic-db/database_global.json"
    _configs: ClassVar = {}  # by namespace; '' is the host
    _global = False

    @classmethod
    def load_sonic_db_config(cls, path=None):
        with open(path or cls.DEFAULT_PATH, encoding="utf-8") as file:
            cls._configs = {"": json.load(file)}

    @classmethod
    def load_sonic_global_db_config(cls, path=None, namespace=None, ignore_nonexistent=False):
        path = path or cls.DEFAULT_GLOBAL_PATH
        configs = {}
        with open(path, encoding="utf-8") as file:
            includes = json.load(file)["INCLUDES"]
        for entry in includes:
            with open(os.path.join(os.path.dirname(path), entry["include"]), encoding="utf-8") as file:
                configs[entry.get("namespace", "")] = json.load(file)
        cls._configs, cls._global = configs, True

    initialize = load_sonic_db_config
    initializeGlobalConfig = load_sonic_global_db_config  # noqa: N815 (the real name)

    @classmethod
    def reset(cls):
        cls._configs, cls._global = {}, False

    @classmethod
    def isInit(cls):
        return "" in cls._configs

    @classmethod
    def isGlobalInit(cls):
        return cls._global

    @classmethod
    def config(cls, namespace=""):
        if not cls._configs:
            cls.load_sonic_db_config()
        if namespace not in cls._configs:
            raise RuntimeError("Namespace {} is not in database_global.json".format(namespace))
        return cls._configs[namespace]

    @classmethod
    def get_ns_list(cls):
        return list(cls._configs)

    getNamespaces = get_ns_list  # noqa: N815

    @classmethod
    def getDbList(cls, namespace=""):
        return list(cls.config(namespace)["DATABASES"])

    @classmethod
    def getDbId(cls, name, namespace=""):
        return cls.config(namespace)["DATABASES"][name]["id"]

    @classmethod
    def getSeparator(cls, name, namespace=""):
        return cls.config(namespace)["DATABASES"][name]["separator"]

    @classmethod
    def connect(cls, name, namespace=""):
        """A client of the database; not part of the real class."""
        config = cls.config(namespace)
        database = config["DATABASES"][name]
        instance = config["INSTANCES"][database["instance"]]
        path = instance.get("unix_socket_path", "")
        if path and os.path.exists(path):
            return redis.Redis(unix_socket_path=path, db=database["id"], decode_responses=True)
        return redis.Redis(host=instance["hostname"], port=instance["port"], db=database["id"], decode_responses=True)


class SonicV2Connector:
    """Every database behind its name; each name is an attribute, too."""

    def __init__(self, use_unix_socket_path=False, namespace="", **_):
        self.namespace = namespace or ""
        self._clients = {}
        for name in SonicDBConfig.getDbList(self.namespace):
            setattr(self, name, name)

    def connect(self, db_name, retry_on=True):
        self._clients[db_name] = SonicDBConfig.connect(db_name, self.namespace)

    def close(self, db_name=""):
        for name in [db_name] if db_name else list(self._clients):
            self._clients.pop(name).close()

    def get_db_list(self):
        return SonicDBConfig.getDbList(self.namespace)

    def get_dbid(self, db_name):
        return SonicDBConfig.getDbId(db_name, self.namespace)

    def get_db_separator(self, db_name):
        return SonicDBConfig.getSeparator(db_name, self.namespace)

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

    def delete_all_by_pattern(self, db_name, pattern):
        for key in self._clients[db_name].keys(pattern):
            self._clients[db_name].delete(key)


class ConfigDBConnector(SonicV2Connector):
    """CONFIG_DB, with rows as dictionaries."""

    INIT_INDICATOR = "CONFIG_DB_INITIALIZED"
    db_name = "CONFIG_DB"

    def connect(self, wait_for_init=True, retry_on=False):
        self.db_connect(self.db_name, wait_for_init, retry_on)

    def db_connect(self, dbname, wait_for_init=False, retry_on=False):
        """Makes `dbname` the database whose rows the object is about."""
        self.db_name = dbname
        super().connect(dbname, retry_on)

    @property
    def TABLE_NAME_SEPARATOR(self):
        return self.get_db_separator(self.db_name)

    KEY_SEPARATOR = TABLE_NAME_SEPARATOR

    def _client(self):
        return self.get_redis_client(self.db_name)

    # The real ones are static and bound methods at once; only CONFIG_DB's separator is ever needed here.
    @staticmethod
    def serialize_key(key, separator="|"):
        return separator.join(key) if isinstance(key, tuple) else str(key)

    @staticmethod
    def deserialize_key(key, separator="|"):
        parts = key.split(separator)
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

    def delete_table(self, table):
        for key in self._client().keys(table.upper() + self.TABLE_NAME_SEPARATOR + "*"):
            self._client().delete(key)

    def mod_config(self, data):
        for table, rows in data.items():
            if rows is None:
                self.delete_table(table)
                continue
            for key, row in rows.items():
                self.mod_entry(table, key, row)

    def get_config(self):
        out = {}
        for row_key in self._client().keys("*"):
            table, separator, key = row_key.partition(self.TABLE_NAME_SEPARATOR)
            if separator and self._client().type(row_key) == "hash":
                out.setdefault(table, {})[self.deserialize_key(key)] = self.get_entry(table, key)
        return out


class ConfigDBPipeConnector(ConfigDBConnector):
    """The real one sends a change as one transaction; here it is the plain connector."""
