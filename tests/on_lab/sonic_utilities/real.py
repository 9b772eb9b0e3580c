#!/usr/bin/env python3
"""Runs sonic-utilities' own config, show and clear with the plugins in them, loaded by its own plugin loader.

    real.py (config | show | clear | sonic-cfggen) ARGUMENTS...

    SONIC_UTILITIES    a checkout of sonic-net/sonic-utilities
    SONIC_BUILDIMAGE   a checkout of sonic-net/sonic-buildimage, for src/sonic-py-common, src/sonic-config-engine and
                       src/sonic-yang-mgmt; not needed where SONIC_UTILITIES is its submodule
    SONIC_YANG_MODELS  the folder of YANG modules that takes the place of /usr/local/yang-models, for validation

The checkouts are read where they are. What is not theirs: libswsscommon's binding, which is C++ and not on PyPI
(tests/swss, unless a real one can be imported), the vendor's platform modules, which nothing here uses, and libyang where
Python's binding for its version 3 is not installed; then everything works but validation. Paths that are absolute on a
switch are led to where the files are. Nothing else of sonic-utilities is replaced.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
import unittest.mock
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLUGINS = HERE.parents[2] / "sonic" / "cli"
COMMANDS = {"config": "config", "show": "cli", "clear": "cli"}  # the name of the root command in each main.py


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules that this machine does not have: importing them works, using them does not matter here."""

    def __init__(self, *prefixes):
        self.prefixes = prefixes

    def find_spec(self, name, path=None, target=None):
        """Any module below one of the prefixes, as a package."""
        if name.startswith(self.prefixes):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: unittest.mock.MagicMock(name=name)
        return module

    def exec_module(self, module):
        """There is nothing to run."""


def checkout(variable, *needed):
    """The folder that an environment variable names, with what is needed of it."""
    root = Path(os.environ[variable])
    for path in needed:
        if not (root / path).exists():
            sys.exit("{}={}: {} is not there".format(variable, root, path))
    return root


def sources():
    """The folders that Python's packages of a switch come from."""
    utilities = checkout("SONIC_UTILITIES", "config/main.py", "show/main.py", "clear/main.py")
    os.environ.setdefault("SONIC_BUILDIMAGE", str(utilities.parent.parent))
    parts = ["src/sonic-py-common", "src/sonic-config-engine", "src/sonic-yang-mgmt"]
    buildimage = checkout("SONIC_BUILDIMAGE", *parts)
    return utilities, [buildimage / part for part in parts]


def is_missing(module):
    """Whether a module cannot be imported here."""
    return importlib.util.find_spec(module) is None


def prepare():
    """Makes the imports of a switch work; returns where sonic-cfggen is."""
    utilities, others = sources()
    sys.path[:0] = [str(utilities), *map(str, others)]
    if is_missing("swsscommon"):
        sys.path.append(str(HERE.parents[1] / "swss"))
    absent = ["sonic_platform"]  # and sonic_platform_base
    if is_missing("libyang"):
        absent.append("libyang")
    sys.meta_path.append(Absent(*absent))
    return others[1] / "sonic-cfggen"


def redirect(cfggen):
    """Leads absolute paths of a switch to where the files are."""
    # Behind the paths that prepare() sets; device_info first, for the others look at it.
    from sonic_py_common import device_info  # noqa: PLC0415

    # sonic-buildimage's virtual switch.
    device_info.HOST_DEVICE_PATH = os.path.join(os.environ["SONIC_BUILDIMAGE"], "device", "virtual")
    os.environ.setdefault("PLATFORM", "x86_64-kvm_x86_64-r0")

    import sonic_yang  # noqa: PLC0415
    import utilities_common.general  # noqa: PLC0415

    load = utilities_common.general.load_module_from_source
    utilities_common.general.load_module_from_source = lambda name, path: load(
        name, str(cfggen) if path == "/usr/local/bin/sonic-cfggen" else path
    )
    make_yang = sonic_yang.SonicYang.__init__
    sonic_yang.SonicYang.__init__ = lambda self, folder, *arguments, **named: make_yang(
        self, os.environ.get("SONIC_YANG_MODELS", folder), *arguments, **named
    )


def root_command(command):
    """The root of `config`, `show` or `clear`, with every plugin that its loader finds: ours, and sonic-utilities' own."""
    for each in COMMANDS:
        package = importlib.import_module(each + ".plugins")
        # As if the files were installed there. `clear` imports plugins of the other two.
        package.__path__.append(str(PLUGINS / each / "plugins"))
    main = importlib.import_module(command + ".main")
    if command == "config":
        main.SONIC_CFGGEN_PATH = str(HERE / "bin" / "sonic-cfggen")
    return getattr(main, COMMANDS[command])


def main(arguments):
    """Runs what is asked for as its own entry point would."""
    if not arguments or arguments[0] not in (*COMMANDS, "sonic-cfggen"):
        sys.exit(__doc__)
    command = arguments[0]
    cfggen = prepare()
    # What these commands start by name: sudo, docker and sonic-cfggen.
    os.environ["PATH"] = str(HERE / "bin") + os.pathsep + os.environ["PATH"]
    if command == "sonic-cfggen":
        sys.argv = [str(cfggen), *arguments[1:]]
        importlib.machinery.SourceFileLoader("__main__", str(cfggen)).load_module()
        return
    redirect(cfggen)
    root_command(command).main(args=arguments[1:], prog_name="sonic-clear" if command == "clear" else command)


if __name__ == "__main__":
    main(sys.argv[1:])
