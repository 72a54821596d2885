#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# check - build, boot and test a stack in QEMU
#
# Environment: RUN=PATTERN, ARCH=ARCH and GROUP=NAME choose runs of the table, ALL=1 takes
# the slow ones too, T=PATTERN chooses tests; GDB=1 is for a debugger (see run/one).
# Without BASE= it is the default stack, or the one that has the runs which are asked for.

GIVEN=${BASE:-}
. "${BASH_SOURCE[0]%/*}/lib/common.sh"

base=${GIVEN:-$("$TOP/scripts/run/table.py" --stack)} || exit 1
take_stack "$base"
check_request
"$TOP/scripts/tree.sh" || exit 1
exec "$TOP/scripts/run/all"
