#!/bin/sh
# Puts links to our files where SONiC's host looks for extensions, and takes them away.
#
#   integrate add|remove
#
# The folders are SONiC's own (sonic-utilities: utilities_common/util_base.py, sonic_package_manager/service_creator/creator.py,
# scripts/generate_dump). Where they are not there, this is no SONiC host, and nothing is done. Links, because an upgrade of the
# package is then one of them, too. What is there and is not ours is left alone.
set -eu

readonly SHARE=/usr/share/telegen-sonic LIB=/usr/lib/telegen-sonic
readonly YANG=/usr/local/yang-models DUMPS=/usr/local/bin/debug-dump

# Prints "<our file> <where SONiC looks for it>" for all of this host.
places() {
	for command in config show clear; do
		for main in /usr/local/lib/python3*/dist-packages/"$command"/main.py; do
			[ ! -e "$main" ] || echo "$SHARE/cli/$command/plugins/telegen.py ${main%main.py}plugins/telegen.py"
		done
	done
	if [ -d "$YANG" ]; then
		echo "$SHARE/yang/sonic-telegen.yang $YANG/sonic-telegen.yang"
	fi
	if [ -d "$DUMPS" ]; then
		echo "$LIB/debug-dump $DUMPS/telegen"
	fi
}

add() {
	# techsupport runs what is in it; SONiC makes it with the first extension that has a dump.
	if [ -d "$YANG" ]; then
		mkdir -p "$DUMPS"
	fi
	places | while read -r file place; do
		if [ -e "$place" ] && [ "$(readlink "$place")" != "$file" ]; then
			echo "telegen-sonic: $place is not ours and stays; $file is not used" >&2
		else
			mkdir -p "${place%/*}"
			ln -sf "$file" "$place"
		fi
	done
}

# A plugin that has run has left its compiled form.
remove() {
	places | while read -r file place; do
		if [ "$(readlink "$place")" = "$file" ]; then
			rm -f "$place" "${place%/*}"/__pycache__/telegen.*.pyc
		fi
	done
}

case ${1:-} in
add) add ;;
remove) remove ;;
*)
	echo "usage: integrate add|remove" >&2
	exit 2
	;;
esac
