#!/usr/bin/env python3
"""Puts what `telegen-lab send` says it sent beside what a job counted; exit 1 if they differ.

compare.py SENT.json RESULTS.json
"""

import json
import sys


def main():
    sent, counted = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
    rows = [("all", sent, {"packets": counted["packets_total"], "bytes": counted["bytes_total"]})]
    for family in ("ethernet", "ip"):
        theirs, ours = sent["protocols"][family], counted["protocols"][family]
        for name in sorted(set(theirs) | set(ours)):
            rows.append((f"{family} {name}", theirs.get(name, {}), ours.get(name, {})))
    print(f"{'':24} {'sent':>10} {'counted':>10} {'bytes sent':>14} {'counted':>14}")
    wrong = 0
    for name, theirs, ours in rows:
        numbers = [side.get(key, 0) for key in ("packets", "bytes") for side in (theirs, ours)]
        equal = numbers[0] == numbers[1] and numbers[2] == numbers[3]
        wrong += not equal
        sign = "=" if equal else "DIFFERS"
        print(f"{name:24} {numbers[0]:>10,} {numbers[1]:>10,} {numbers[2]:>14,} {numbers[3]:>14,}  {sign}")
    if wrong:
        sys.exit(f"{wrong} rows differ")
    print("every number is equal")


if __name__ == "__main__":
    main()
