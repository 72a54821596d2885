#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Remove what was built, and the trees of make port; with --all those of the stacks too,
# unless one has work that is not in patches/. The downloads in the user's cache stay.

. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"
. "${BASH_SOURCE[0]%/*}/lib/apply.sh"
. "${BASH_SOURCE[0]%/*}/lib/port.sh"

# Refuse if a tree of make port has an unsaved resolution or edits
for BUILD in "$TOP"/build/port/*; do
	[[ -e $BUILD/linux ]] || continue
	# shellcheck disable=SC2034	# for port.sh
	LINUX=$BUILD/linux AM=$BUILD/am RETRY=$(bases | sed -n "s/^${BUILD##*/}\$/make port BASE=& SAVE=1/p")
	lock_tree
	keep_scratch
done

for base in $(stacks); do
	unset BUILD
	use_stack "$base"
	[[ -e $BUILD ]] || continue
	lock_tree
	if [[ ${1:-} == --all && -e $LINUX ]]; then
		keep_work all_work "$TREE_NAME has work that is not in patches/" \
			"commit it and make refresh; or, to lose it: rm -rf $TREE_NAME"
		rm -rf "$LINUX"
	fi
	find "$BUILD" -mindepth 1 -maxdepth 1 ! -name linux ! -name linux.lock -exec rm -rf {} +
	[[ -e $LINUX ]] || rm -rf "$BUILD"
done
rm -rf "$TOP/build/port" "$TOP/build/log" "$TOP/build/patches.lock"
[[ ${1:-} != --all ]] || rm -rf "$TOP/build/cache" # where the user's could not be used
[[ ! -d $TOP/build ]] || rmdir --ignore-fail-on-non-empty "$TOP/build"
