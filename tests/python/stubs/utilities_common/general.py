"""Stands in for sonic-utilities' utilities_common.general: as much of it as the plugins use. The code is ours."""

import os

from swsscommon.swsscommon import SonicDBConfig


def load_db_config():
    """Reads where the databases are, unless that is known: database_global.json where there is one."""
    if SonicDBConfig.isInit():
        return
    if os.path.exists(SonicDBConfig.DEFAULT_GLOBAL_PATH):
        SonicDBConfig.load_sonic_global_db_config()
    else:
        SonicDBConfig.load_sonic_db_config()
