#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# boot - a shell in the guest of a run (RUN=NAME, else the table's first one),
# set up as for its tests. "exit" ends it, and so does Ctrl-A x.
# GDB=1 is for a debugger (see run/one).

GIVEN=${BASE:-}
. "$(dirname "$0")/lib/common.sh"

base=${GIVEN:-$(ALL=1 T='' "$TOP/scripts/run/table.py" --stack)} || exit 1
take_stack "$base"
# A debugger is for one run, which is chosen here
chosen=$(GDB='' ALL=1 T='' "$TOP/scripts/run/table.py") || exit
number=$(wc -l <<< "$chosen")
[[ ! ${RUN:-} ]] || ((number == 1)) ||
	note "RUN=$RUN: the first of $number runs is taken: $(cut -d' ' -f1 <<< "$chosen" | paste -sd' ')"
read -r RUN arch _ <<< "$chosen"
export RUN T=
[[ ! ${GDB:-} ]] || "$TOP/scripts/run/table.py" > /dev/null || exit 1
[[ $arch != um ]] || die "RUN=$RUN: User-mode Linux runs KUnit, no shell" "" "make check RUN=$RUN"
"$TOP/scripts/tree.sh" || exit 1
"$TOP/scripts/run/prepare" || exit
step "boot $RUN; the tests are in PATH, 'exit' or Ctrl-A x ends it"
exec "$TOP/scripts/run/one" --shell "$RUN"
