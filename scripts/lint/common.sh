# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What scripts/lint.sh and the checks in scripts/lint/checks share; source lib/common.sh and
# lib/series.sh first.
#
# A check is run for one unit: a patch, the whole of a series, or all of them. It
# finds in its environment
#   KIND	patch, series or all
#   UNIT	<series>/<number>, <series>/0 or all
#   SERIES	the series, the last one for all
#   PATCH	the patch, or the cover letter
#   COMMIT	what the kernel tree has with it applied
#   PARENT	and before
#   START	what the series is on top of
#   WORK	a folder of the check's own, kept from run to run
# and in $LINT/units such a line, but for WORK, for each unit that is to be checked.
# It says what it found on stdout. It succeeds, fails, or ends with not_concerned.

# shellcheck disable=SC2034	# for the scripts that source this
{
	LINT=$BUILD/lint
	TREE=$LINT/linux
	: "${KIND:=}" "${UNIT:=}" "${SERIES:=}" "${PATCH:=}" "${COMMIT:=}" "${PARENT:=}" "${START:=}" "${WORK:=}"
}
NOT_CONCERNED=77

# not_concerned: there is nothing here for this check to look at. That it lacks
# something to look with is a failure instead.
not_concerned()
{
	exit $NOT_CONCERNED
}

# wrong TEXT [NEXT]: end as failed
wrong()
{
	printf '%s\n' "$1"
	[[ ! ${2:-} ]] || printf 'next: %s\n' "$2"
	exit 1
}

# need_tool COMMAND PACKAGE
need_tool()
{
	command -v "$1" > /dev/null || wrong "$1 is missing, nothing was checked" "apt-get install $2"
}

# files [FILTER] [PATHSPEC...]: those that differ between PARENT and COMMIT
files()
{
	kgit diff --no-renames --name-only --diff-filter="${1:-d}" "$PARENT" "$COMMIT" -- "${@:2}"
}

# extract COMMIT DIR FILE...: these files as they are there, those that are
extract()
{
	local commit=$1 dir=$2 list

	rm -rf "$dir"
	mkdir -p "$dir"
	shift 2
	list=$(kgit --literal-pathspecs ls-tree -r --name-only "$commit" -- "$@")
	[[ ! $list ]] || xargs -rd '\n' git -C "$LINUX" archive "$commit" -- <<< "$list" | tar --no-unquote -x -C "$dir"
}

# without_numbers: reports in which a change elsewhere in the file shows not
without_numbers()
{
	sed -E "s,$(literal "$TREE")/,,g; s,($(literal "$WORK")|$(literal "$LINT"))/[^ ]*/(before|after)/,,g; s/:[0-9]+(:[0-9]+)?//g; s/ line [0-9]+/ line/g" | sort
}

# new_reports BEFORE AFTER: the check fails if the latter has lines that the former
# lacks, numbers aside, or has them more often. They are printed.
new_reports()
{
	local new

	new=$(comm -13 <(without_numbers < "$1") <(without_numbers < "$2"))
	echo "$(wc -l < "$1") reports before, $(wc -l < "$2") after"
	[[ ! $new ]] || wrong "these are new:"$'\n'"$new"$'\n'"all of them, with numbers:"$'\n'"$(cat "$2")"
}
