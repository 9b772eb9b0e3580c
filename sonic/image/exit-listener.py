#!/usr/bin/python3
"""Ends the container when a process that it cannot do without has ended.

    exit-listener /etc/supervisor/critical_processes

A supervisor event listener: reads events on stdin and says READY and RESULT on stdout (supervisord.org/events.html).
The file has lines `program:<name>`. The service then ends with the container, and whether it comes back is the FEATURE
table's auto_restart, which SONiC's featured writes into the service's unit. SONiC's own listener is in SONiC's base
images only.
"""

import os
import signal
import sys

# Ended because somebody asked for it: supervisor marks that as expected.
EXPECTED = "1"


def critical_programs(path):
    """Names of the programs in the file; anything else in it is an error."""
    programs = set()
    with open(path, encoding="utf-8") as file:
        for line in filter(None, map(str.strip, file)):
            kind, _, name = line.partition(":")
            if kind != "program" or not name:
                raise ValueError('{}: "{}" is not accepted; give program:<name>'.format(path, line))
            programs.add(name)
    return programs


def fields(text):
    """`a:1 b:2` as a dictionary."""
    return dict(field.split(":", 1) for field in text.split())


def is_the_end(event, payload, critical):
    """Whether the container must end: a critical program ended by itself, or cannot be started."""
    if payload.get("processname") not in critical:
        return False
    return event == "PROCESS_STATE_FATAL" or (event == "PROCESS_STATE_EXITED" and payload.get("expected") != EXPECTED)


def main():
    critical = critical_programs(sys.argv[1])
    while True:
        print("READY", flush=True)
        header = sys.stdin.readline()
        if not header:
            return
        header = fields(header)
        payload = fields(sys.stdin.read(int(header["len"])))
        if is_the_end(header["eventname"], payload, critical):
            print("{} ended: ending the container".format(payload["processname"]), file=sys.stderr, flush=True)
            os.kill(os.getppid(), signal.SIGTERM)
        print("RESULT 2\nOK", end="", flush=True)


if __name__ == "__main__":
    main()
