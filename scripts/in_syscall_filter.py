#!/usr/bin/env python3
"""Runs a command under the system call filters of a systemd unit, where no systemd is there to do it.

    scripts/in_syscall_filter.py UNIT COMMAND ARGUMENT…

Read from the unit, so that the two cannot differ: SystemCallFilter= with its groups, as systemd-analyze lists them,
RestrictAddressFamilies= and SystemCallErrorNumber=. With Debian's python3-seccomp, hence by the system's Python.
"""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import seccomp


def settings(unit, name):
    """The values of a setting, in their order."""
    lines = Path(unit).read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(name + "=")]


def groups():
    """The system calls, and groups, of each of systemd's groups."""
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"], check=True, capture_output=True, text=True
    )
    found, current = {}, None
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            current = found.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.strip().startswith("#") and current is not None:
            current.append(line.strip())
    return found


def calls(word, known):
    """The system calls that a word of SystemCallFilter= means."""
    if not word.startswith("@"):
        return {word}
    return set().union(*(calls(each, known) for each in known[word]))


def allowed(unit):
    """What is left when each line of the unit has added, or behind `~` taken away, its system calls."""
    known, left = groups(), set()
    for line in settings(unit, "SystemCallFilter"):
        takes_away = line.startswith("~")
        meant = set().union(*(calls(word, known) for word in line.lstrip("~").split()))
        left = left - meant if takes_away else left | meant
    return left


def main():
    unit, command = sys.argv[1], sys.argv[2:]
    names = allowed(unit)
    if not {"execve", "bpf"} <= names or "mount" in names:
        sys.exit("in_syscall_filter: {} leaves {} system calls, which cannot be right".format(unit, len(names)))
    (number,) = settings(unit, "SystemCallErrorNumber")
    rules = seccomp.SyscallFilter(defaction=seccomp.ERRNO(getattr(errno, number)))
    (families,) = settings(unit, "RestrictAddressFamilies")
    for family in families.split():
        rules.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, getattr(socket, family)))
    for name in sorted(names - {"socket"}):
        try:
            rules.add_rule(seccomp.ALLOW, name)
        except RuntimeError:
            # Not of this architecture.
            continue
    rules.load()
    os.execvp(command[0], command)  # noqa: S606 (the caller's own command)


if __name__ == "__main__":
    main()
