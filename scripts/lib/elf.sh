# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What programs and libraries say of themselves. Source it after common.sh.

# needed FILE...: the shared libraries that they name, each once. A file that is no
# program names none.
needed()
{
	readelf -dW "$@" 2> /dev/null | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' | sort -u
}
