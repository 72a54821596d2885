#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Turn the branches of the kernel tree back into files: patches/, series/ and the
# overlays. The prose of a cover letter is kept; what git tells of a series is made
# again. Nothing changed in the tree means not a byte changed here, whatever the version
# and the configuration of git.

. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"
. "${BASH_SOURCE[0]%/*}/lib/apply.sh"
. "${BASH_SOURCE[0]%/*}/lib/refresh.sh"

# shellcheck disable=SC2034	# for apply.sh and refresh.sh
{
	OUT=$BUILD/refresh.tmp
	LOG=$BUILD/log/refresh.log
	NOTES=commits
}

lock_patches
lock_tree
trap 'rm -rf "$OUT"' EXIT
rm -rf "$OUT"
: > "$LOG"
[[ -e $LINUX && $(commit_of base) ]] || die "there is no $TREE_NAME to refresh from" "" "$(make_target tree)"
[[ ! $(commit_of refs/pipeline/to) ]] || die "make tree was interrupted" "" "$(make_target tree)"
uncommitted > "$BUILD/log/uncommitted.log"
[[ ! -s $BUILD/log/uncommitted.log ]] ||
	die "$TREE_NAME has changes that are not committed" "$BUILD/log/uncommitted.log" \
		"commit them to their series' branch, or git -C $TREE_NAME stash -u"
[[ $(kgit rev-parse -q --verify refs/pipeline/patches) == "$(manifest | kgit hash-object --stdin)" ]] ||
	die "patches/ or series has changed since make tree applied it" "" \
		"$(make_target tree), unless $TREE_NAME has commits to keep: then set the change aside (git stash), $(make_target refresh), and merge the two"

step "making patches from $TREE_NAME"
refresh_stack
for name in base $(listed_series); do
	echo "$name $(commit_of "$name")"
done | set_applied "$(commit_of refs/notes/commits)"
# A branch on top of ours may be a series that nobody told of
kgit for-each-ref --contains=base --format='%(refname:lstrip=2)' refs/heads |
	grep -vxFf <(echo base && listed_series) |
	while read -r name; do
		note "branch $name is none of the series: to make it one, mkdir patches/$name, and make refresh again"
	done || :
step "$(listed_patches | wc -l) patches in $(listed_series | wc -l) series"
