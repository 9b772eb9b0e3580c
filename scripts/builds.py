"""The release binaries of this tree, and of the commit that it is compared with."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPARED = "f1b4f54"


def build(commit, *what):
    """The release binaries of a commit, or of this tree where there is none; the folder they are in."""
    tree, target = ROOT, Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    if commit:
        tree = target / "flood" / commit
        target = tree / "target"
        if not tree.exists():
            subprocess.run(["git", "worktree", "add", "--detach", tree, commit], cwd=ROOT, check=True)
    command = ["cargo", "build", "--release", *(what or ["--bins"])]
    subprocess.run(command, cwd=tree, check=True, env={**os.environ, "CARGO_TARGET_DIR": str(target)})
    return target / "release"
