#!/bin/sh
# Runs all test binaries of a folder, on the host and in a guest alike, and says so in the words that report.py reads. POSIX sh:
# busybox runs it in a guest.
#
#   scripts/kernels/suites.sh FOLDER SECONDS      a suite that takes longer than SECONDS is killed
folder=$1
limit=$2

echo "KERNEL $(uname -r)"
for suite in "$folder"/*; do
	name=${suite##*/}
	echo "SUITE $name"
	started=$(cut -d. -f1 /proc/uptime)
	timeout -s KILL "$limit" "$suite" --show-output 2>&1
	code=$?
	# What a test prints need not end in a newline.
	echo
	echo "SUITE ENDED $name exit $code seconds $(($(cut -d. -f1 /proc/uptime) - started))"
done
echo "ALL SUITES ENDED"
