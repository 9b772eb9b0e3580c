#!/bin/bash
# What a cross-compiled program depends on, as a line of substvars: dpkg-shlibdeps knows only libraries of packages that are installed,
# and those of the other architecture are not.
#
#   scripts/cross_depends.sh PROGRAM
set -euo pipefail

# <soname> <package>: versions older than all Debians that this is built for, but for libc's, which the program's symbols say.
package_of() {
	case $1 in
	libelf.so.1) echo 'libelf1 (>= 0.144)' ;;
	libz.so.1) echo 'zlib1g (>= 1:1.2.3.3)' ;;
	libgcc_s.so.1) echo 'libgcc-s1 (>= 4.2)' ;;
	libc.so.6 | libm.so.6 | ld-linux-aarch64.so.1) echo "libc6 (>= $glibc)" ;;
	*)
		echo "cross_depends: do not know the package of $1" >&2
		return 1
		;;
	esac
}

glibc=$(readelf --wide --dyn-syms "$1" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -n1)
sonames=$(readelf --wide --dynamic "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
depends=$(for soname in $sonames; do package_of "$soname" || exit; done | sort -u | paste -sd, | sed 's/,/, /g')
echo "shlibs:Depends=$depends"
