# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Source it and --help or -h, as the first argument of the script, prints the comment
# at the top of the script. lib/common.sh does this for most.

case ${1:-} in
-h | --help)
	awk '/^# SPDX/ { top = 1; next }
		!top { next }
		!/^#/ { exit }
		/^# shellcheck / || (/^#$/ && !shown) { next }
		{ sub(/^# ?/, ""); print; shown = 1 }' "$0"
	exit
	;;
esac
