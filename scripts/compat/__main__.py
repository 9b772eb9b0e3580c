#!/usr/bin/env python3
"""Upgrades from f1b4f54 and downgrades to it, with both daemons on one virtual switch: `make test-compat`.

    scripts/compat [--record] [NAME…]       as root, with target/venv's python; the release build is there

NAME chooses scenarios; each runs with TCX links and with clsact filters. `--record` writes anew what `make test`
replays, tests/compat/f1b4f54.json. TELEGEN_BIN_DIR names other binaries than the release build, TELEGEN_OLD_BIN_DIR
those of f1b4f54, which are built without it.
"""

import argparse
import os
import sys
import tempfile
import traceback
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path.insert(1, str(SCRIPTS))
sys.path.insert(1, str(SCRIPTS / "soak"))

import downgrade  # noqa: E402
import record  # noqa: E402
import upgrade  # noqa: E402
from bench import Bench  # noqa: E402
from builds import COMPARED, build  # noqa: E402
from switch import BIN  # noqa: E402


def run(scenario, attach, binaries):
    """Runs one scenario on a switch of its own; whether all was as it must be."""
    name = f"{scenario.__module__}.{scenario.__name__}, {attach}"
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder, binaries)
        try:
            scenario(bench, attach)
            print(f"ok      {name}", flush=True)
            return True
        except (AssertionError, RuntimeError, TimeoutError) as error:
            print(f"FAILED  {name}: {error}", flush=True)
            traceback.print_exc()
            print(bench.log_path.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
            return False
        finally:
            bench.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the recorded rows anew, and run nothing")
    parser.add_argument("--attach", default="tcx,clsact")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as upgrade.in_every_phase; all without one")
    arguments = parser.parse_args()
    old = os.environ.get("TELEGEN_OLD_BIN_DIR") or build(COMPARED, "--bin", "telegen-sonic")
    # The lab is this tree's, whichever daemon runs on it.
    binaries = {"new": BIN, "old": Path(old).resolve()}
    if arguments.record:
        record.write(binaries)
        return 0
    chosen = [
        scenario
        for scenario in (*upgrade.SCENARIOS, *downgrade.SCENARIOS)
        if not arguments.names or any(name in f"{scenario.__module__}.{scenario.__name__}" for name in arguments.names)
    ]
    done = [run(scenario, attach, binaries) for scenario in chosen for attach in arguments.attach.split(",")]
    print(f"{sum(done)} of {len(done)} upgrades and downgrades left nothing and lost nothing")
    return 0 if done and all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
