#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# check - build what the guest runs need, boot them, report
#
# Environment: RUN=PATTERN, ARCH=ARCH and GROUP=NAME choose runs of the table, ALL=1 takes
# the slow ones too, T=PATTERN chooses tests; GDB=1 is for a debugger (see
# run/guest).

. "$(dirname "$0")/lib/common.sh"
. "$(dirname "$0")/build/common.sh"

chosen=$("$TOP/scripts/run/table.py") || exit
mapfile -t names < <(awk '{ print $1 }' <<<"$chosen")
mapfile -t flavours < <(awk '!seen[$3]++ { print $3 }' <<<"$chosen")

[[ ! ${GDB:-} ]] || ((${#names[@]} == 1)) ||
	die "GDB=1 is for one run, these are ${#names[@]}: ${names[*]}" "" "RUN=<one of them> GDB=1"

SOURCE_TREE=${SOURCE_TREE:-$(source_tree)}
export SOURCE_TREE T=${T:-}
"$TOP/scripts/run/prepare" programs || exit
for name in "${names[@]}"; do
	rm -rf "$BUILD/runs/$name"
done

# The names of a kernel's runs, as soon as it is there. A guest has a time limit and
# goes first. Below, errexit is off.
runs_of()
{
	nice "$TOP/scripts/build/kernel" "$1" >&3 || return
	step "run the guests of kernel $1" >&3
	awk -v flavour="$1" '$3 == flavour { print $1 }' <<<"$chosen"
}

# Wait for the kernels in $pids. (wait without arguments would forget how each of
# them ended.)
wait_for_kernels()
{
	local pid

	for pid in "${pids[@]}"; do
		wait "$pid" || return
	done
	pids=()
}

# Kernels that were built before mostly link, with one processor each. A new one
# starts from a copy of those that are there.
ready_runs()
{
	local flavour pids=()

	for flavour in "${flavours[@]}"; do
		[[ -e $BUILD/kernel/$flavour ]] || wait_for_kernels || return
		runs_of "$flavour" &
		pids+=($!)
	done
	wait_for_kernels
}

# Guests sleep a lot: one more at a time than there are processors. What they
# came to is in the report, which also knows those that did not start.
exec 3>&1
built=0
ready_runs | xargs -P $((JOBS + 1)) -I{} "$TOP/scripts/run/guest" {} ||
	built=${PIPESTATUS[0]}
((built == 0)) || die "a kernel does not build: its error is above"
exec "$TOP/scripts/run/report" "${names[@]}"
