#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# boot - a shell in the guest of a run (RUN=NAME, else the table's first one),
# set up as for its tests. "exit" ends it, and so does Ctrl-A x.

. "$(dirname "$0")/lib/common.sh"
. "$(dirname "$0")/build/common.sh"

chosen=$("$TOP/scripts/run/table.py" --slow "${RUN:-*}") || exit
read -r name arch flavour <<<"$chosen"

SOURCE_TREE=$(source_tree)
export SOURCE_TREE
"$TOP/scripts/build/selftests" "$arch"
"$TOP/scripts/build/initramfs" "$arch"
"$TOP/scripts/build/kernel" "$flavour"
step "boot $name; the tests are in PATH, 'exit' or Ctrl-A x ends it"
exec "$TOP/scripts/run/guest" --shell "$name"
