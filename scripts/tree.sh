#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Make the kernel tree what patches/ says: the pinned kernel as one commit, then
# one branch a series with a commit a patch. What is there stays there: when
# the patches have not changed, anything committed or edited in the kernel tree is
# simply what gets built; when they have, nothing is touched that could not be
# made again from them.

. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"
. "${BASH_SOURCE[0]%/*}/lib/apply.sh"

TMP=$LINUX.tmp # a kernel tree in the making
AM=$LINUX.am   # the work tree that git am runs in
LOG=$BUILD/log/tree.log
HINT="for commits: set the change of patches/ aside (git stash), $(make_target refresh), merge the two; for the rest: git -C $TREE_NAME stash -u"

forget_temporaries()
{
	rm -rf "$TMP" "$AM"
}

# import SOURCE COMMIT: make the base commit in $TMP
import()
{
	git init -q --template= -b base "$TMP" &&
		import_source "$TMP" "$1" "$2" "Linux $BASE"$'\n\n'"Source: $1${2:+ $2}"
}

# configure: what helps whoever works in a tree of 90000 files and in branches
# that stand on one another
configure()
{
	kgit config core.autocrlf false
	kgit config feature.manyFiles true
	kgit config rebase.updateRefs true
	# As a pattern, since git warns of a name when there are no notes yet
	kgit config notes.rewriteRef 'refs/notes/commit[s]'
}

# source_commit SOURCE: for a git tree, the pinned version's tag if it has one,
# otherwise what is checked out; nothing for other sources
source_commit()
{
	[[ -e $1/.git ]] || return 0
	git -C "$1" -c safe.directory='*' rev-parse -q --verify "v$BASE^{commit}" ||
		git -C "$1" -c safe.directory='*' rev-parse -q --verify 'HEAD^{commit}' ||
		die "KERNEL=$1 is a git tree without a commit" "" "check out Linux $BASE there"
}

make_base()
{
	local source commit

	need_space "$BUILD" 3000 "the kernel tree"
	source=$("$TOP/scripts/fetch/kernel") || exit
	commit=$(source_commit "$source")
	[[ ! -d $source || $commit || ! -e $source/.config ]] ||
		die "KERNEL=$source has been configured or built in" "" \
			"make -C $source mrproper, or name a clean tree"
	logged "$LOG" "making a git tree of ${source##*/}${commit:+ at ${commit:0:12}}" \
		import "$source" "$commit"
	LINUX=$TMP check_fingerprint "$source"
	LINUX=$TMP configure
	rm -rf "$LINUX"
	mv "$TMP" "$LINUX"
}

# check_fingerprint SOURCE: refuse a base that the patches were not made for. A file
# that make refresh has not seen yet has nothing to compare with.
check_fingerprint()
{
	local log=$BUILD/log/fingerprint.log

	fingerprint | awk -F'\t' -v pin="$FINGERPRINT" '
		BEGIN {
			while ((getline line < pin) > 0) {
				split(line, part, "\t")
				wanted[part[2]] = part[1]
			}
		}
		$2 in wanted && wanted[$2] != $1 {
			print $2 ": expected " (wanted[$2] == "-" ? "no such file" : wanted[$2]) \
				", found " ($1 == "-" ? "no such file" : $1)
		}' > "$log"
	[[ ! -s $log ]] || die "$1 is not the Linux $BASE that the series apply to" "$log" \
		"name its source with KERNEL=<tree or tarball>"
}

# recover: the last run was interrupted while it moved the work tree, which it
# only does when nothing in it can get lost. Still, keep what is there now.
recover()
{
	local head diff=$BUILD/log/interrupted-tree.diff

	head=$(commit_of HEAD)
	[[ $head == "$(commit_of refs/pipeline/from)" || $head == "$(commit_of refs/pipeline/to)" ]] ||
		die "make tree was interrupted, and $TREE_NAME has other commits since" "" \
			"$HINT; then git -C $TREE_NAME update-ref -d refs/pipeline/to"
	rm -f "$LINUX/.git/index.lock"
	kgit diff HEAD > "$diff"
	kgit reset -q --hard
	note "the last run was interrupted; the differences it left are in $diff"
}

# is_last SERIES: nothing was applied on top of it
is_last()
{
	[[ $(kgit for-each-ref --contains="refs/pipeline/applied/$1" refs/pipeline/applied | wc -l) == 1 ]]
}

# show TIPS: check out the branch that was checked out, if it is one of ours and
# was not the last one, otherwise the last one. Only what differs is written:
# little is built again.
show()
{
	local branch commit head

	read -r branch commit <<< "${1##*$'\n'}"
	if ! has_worktree; then
		rm -f "$LINUX/.git/index.lock"
		kgit -c checkout.workers=2 checkout -q -f --no-track -B "$branch" "$commit"
		return
	fi

	head=$(kgit symbolic-ref -q --short HEAD) || head=HEAD
	if [[ ! $(commit_of "refs/pipeline/applied/$head") ]]; then
		note "$TREE_NAME has $head checked out, which is none of the series: left alone"
		return
	elif [[ $head != base ]] && ! is_last "$head" && grep -q "^$head " <<< "$1"; then
		read -r branch commit < <(grep "^$head " <<< "$1")
	fi
	printf 'update refs/pipeline/%s\n' "from $(commit_of HEAD)" "to $commit" |
		kgit update-ref --stdin
	kgit checkout -q --no-track -B "$branch" "$commit"
}

# conflict_hint: where a stack has an original that another kernel is the home of
conflict_hint()
{
	[[ $(stacks | wc -l) == 1 ]] ||
		echo "; or make port BASE=$BASE, which shows the conflict, and with SAVE=1 writes a variant for this kernel"
}

# update: apply the patches, then show the result
update()
{
	local tips series commit refs=()

	if [[ $(commit_of refs/pipeline/to) ]]; then
		recover
	elif is_bare || has_worktree; then
		keep_work unapplied_work \
			"patches/ has changed, and $TREE_NAME has work that is not in it" "$HINT"
	fi
	check_fingerprint "$TREE_NAME"
	: > "$LOG"
	step "applying $(listed_patches | wc -l) patches"
	if ! tips=$(NOTES=applying apply_stack); then
		read -r _ commit <<< "${tips##*$'\n'}"
		die "patches/${commit/: / does not apply: }" "$LOG" \
			"fix the patch, or the ones before it, and run $(make_target tree) again$(conflict_hint)"
	fi
	is_bare || ! has_worktree || show "$tips"

	while read -r series commit; do
		refs+=("update refs/heads/$series $commit")
	done <<< "$tips"
	while read -r series; do
		grep -q "^$series " <<< "$tips" ||
			refs+=("delete refs/heads/$series" "delete refs/pipeline/applied/$series")
	done < <(kgit for-each-ref --format='%(refname:lstrip=3)' refs/pipeline/applied)
	# An index without a mark that the work tree is being moved means that the
	# two agree: so the first checkout comes last.
	set_applied "$(commit_of refs/notes/applying)" "${refs[@]}" \
		"delete refs/"{pipeline/from,pipeline/to,notes/applying} <<< "$tips"
	is_bare || has_worktree || show "$tips"
}

# up_to_date: the branches are there, and made from the patches as they are now
up_to_date()
{
	{
		is_bare || has_worktree
	} || return 1
	[[ $(kgit rev-parse -q --verify refs/pipeline/patches) == $(manifest | kgit hash-object --stdin) ]] || return 1
	[[ ! $(comm -23 <(listed_series | sort) <(kgit for-each-ref --format='%(refname:lstrip=2)' refs/heads | sort)) ]]
}

# base_is_pinned: there is a base, of the pinned version, from what KERNEL= names
base_is_pinned()
{
	local subject source named

	[[ -e $LINUX && $(commit_of base) ]] || return 1
	subject=$(kgit log -1 --format=%s base)
	[[ $subject == "Linux $BASE" ]] || return 1
	[[ ${KERNEL:-} ]] || return 0
	source=$(kgit log -1 --format=%b base | sed -n 's/^Source: //p')
	named=$("$TOP/scripts/fetch/kernel") || exit
	named+=$(source_commit "$named" | sed 's/^/ /')
	[[ $named == "$source" ]] ||
		die "$TREE_NAME was made from $source, not from KERNEL=$KERNEL" "" \
			"make distclean, then again; or leave KERNEL= out"
}

# note_variants: those that are not of the original as it is now. To look takes seconds,
# and finds the same until patches/ changes. A list that was not finished is not kept.
note_variants()
{
	local log=$BUILD/log/variants.log line

	[[ -d $PATCHES ]] || return 0
	if [[ ! -e $log || $(find "$PATCHES" -newer "$log" -print -quit) ]]; then
		stale_variants > "$log.new"
		mv "$log.new" "$log"
	fi
	while IFS= read -r line; do
		note "patches/$line"
	done < "$log"
}

case $TOP in
*[:[:space:]]*) die "the path $TOP has a space or a colon, which the kernel's build cannot take" "" \
	"move this clone" ;;
esac
lock_tree
trap forget_temporaries EXIT
forget_temporaries
check_listed
if ! base_is_pinned; then
	[[ ! -e $LINUX ]] || keep_work all_work \
		"$TREE_NAME is not on the pinned kernel, and has work that is not in patches/" "$HINT"
	make_base
fi
if up_to_date; then
	unapplied_work > "$BUILD/log/work.log"
	[[ ! -s $BUILD/log/work.log ]] ||
		note "$TREE_NAME has work that is not in patches/, and is built with it: $BUILD/log/work.log"
else
	update
fi
note_variants
step "$TREE_NAME is Linux $BASE$(listed_patches | awk -F/ '
	!number[$1]++ { names[++n] = $1 }
	END {
		for (i = 1; i <= n; i++)
			printf " + %s (%d)", names[i], number[names[i]]
	}')"
if has_worktree; then
	head=$(kgit symbolic-ref -q --short HEAD) || head="$(kgit rev-parse --short=12 HEAD)"
	[[ $head == "$(listed_series | tail -n 1)" ]] ||
		note "checked out is $head: what comes after it is not built"
fi
