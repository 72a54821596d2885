# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# How sources and patches become commits. Source it after common.sh and series.sh, with
# AM set to the work tree that patches are applied in.

# tar_of SOURCE COMMIT: the source as a tar stream, in one folder
tar_of()
{
	if [[ $2 ]]; then
		git -C "$1" -c safe.directory='*' archive --prefix=linux/ "$2"
	elif [[ -d $1 ]]; then
		tar -C "$1" --exclude=./.git --transform 's,^\./,linux/,S' -c ./
	else
		case $1 in
		*.xz) xz -dc -T0 "$1" ;;
		*.gz) gzip -dc "$1" ;;
		*.zst) zstd -dc "$1" ;;
		*) cat "$1" ;;
		esac
	fi
}

# import_source TREE SOURCE COMMIT MESSAGE: the source as the commit "base" of the
# git tree TREE, which is there and empty
import_source()
{
	tar_of "$2" "$3" |
		"$TOP/scripts/fetch/tar-to-fast-import" refs/heads/base "$4"$'\n' |
		git -C "$1" -c core.fsync=none -c core.compression=1 \
			fast-import --quiet --depth=0 --date-format=raw
}

# git_am ARG...: git in the work tree that patches are applied in, $AM. Git 2.47 does not
# calculate the hash that the name of a split index has, unless it is told to.
git_am()
{
	kgit -C "$AM" -c core.sparseCheckout=true -c core.splitIndex=true -c index.skipHash=false "$@"
}

# add_am_tree: make that work tree at the base, with no files but those that the
# patterns on stdin name
add_am_tree()
{
	local sparse

	kgit worktree prune
	kgit worktree add -q --detach --no-checkout "$AM" base
	sparse=$(git_am rev-parse --path-format=absolute --git-path info/sparse-checkout)
	mkdir -p "${sparse%/*}"
	cat > "$sparse"
	git_am read-tree -mu HEAD
}

# borrow TREE LENDER...: let the git tree TREE use the objects of others
borrow()
{
	local tree=$1 lender objects shallow dir

	dir=$(git -C "$tree" rev-parse --absolute-git-dir) || return
	for lender in "${@:2}"; do
		objects=$(git -C "$lender" -c safe.directory='*' rev-parse --path-format=absolute --git-path objects) || return
		echo "$objects"
		shallow=$(git -C "$lender" -c safe.directory='*' rev-parse --path-format=absolute --git-path shallow) || return
		[[ ! -e $shallow ]] || cp "$shallow" "$dir/shallow" || return
	done > "$dir/objects/info/alternates"
}

# apply_series SERIES: git am its patches in $AM, and give their changelogs to the notes
# $NOTES. When one does not apply, PATCH says which.
apply_series()
{
	local patches nr id text from

	from=$(git_am rev-parse HEAD)
	mapfile -t patches < <(patches_of "$1")
	git_am am --committer-date-is-author-date --no-gpg-sign --no-3way \
		"${patches[@]/#/$PATCHES/}" >> "$LOG" 2>&1 < /dev/null || {
		# There is no count when the first one is no patch at all.
		nr=$(git_am rev-parse --git-path rebase-apply/next | xargs cat 2>> "$LOG") || nr=1
		PATCH=${patches[nr - 1]}
		return 1
	}
	git_am rev-list --reverse "$from..HEAD" | paste -d' ' - <(printf '%s\n' "${patches[@]}") |
		while read -r id PATCH; do
			# git am has dropped what stands below "---".
			text=$(changelog_of "$PATCHES/$PATCH")
			if [[ $text ]]; then
				kgit notes --ref="$NOTES" add -f \
					-C "$(kgit hash-object -w --stdin <<< "$text")" "$id" 2>> "$LOG"
			else
				kgit notes --ref="$NOTES" remove --ignore-missing "$id" 2> /dev/null
			fi
		done
}

# apply_stack: git am each series in a sparse work tree of its own, $AM, that holds the
# touched files only. Prints "<series> <commit>" for each, or when a patch does not
# apply "failed <patch>: <why>", and fails.
apply_stack()
{
	local series PATCH='' notes

	notes=$(commit_of refs/notes/commits)
	kgit update-ref -d "refs/notes/$NOTES"
	[[ ! $notes ]] || kgit update-ref "refs/notes/$NOTES" "$notes"
	echo "base $(commit_of base)"
	[[ $(listed_patches) ]] || return 0
	touched_files | sed 's,^,/,' | add_am_tree
	for series in $(listed_series); do
		apply_series "$series" || {
			echo "failed $PATCH: $(sed -nE \
				'/: patch does not apply$/d; s/^error: (patch failed: )?//p' "$LOG" | tail -n 5 | paste -sd,)"
			return 1
		}
		echo "$series $(git_am rev-parse HEAD)"
	done
	kgit worktree remove --force "$AM"
}

# What the kernel's .gitattributes calls "cpp" finds the function's name in a
# hunk header with this. Built into git, it changes from version to version.
CPP_FUNCTION=$'!^[ \t]*[A-Za-z_][A-Za-z_0-9]*:[[:space:]]*($|/[/*])\n^([A-Za-z_].*)$'

# format_patch ARG...: git format-patch, the same for every user's configuration
format_patch()
{
	local attributes=$BUILD/log/attributes

	kgit show base:.gitattributes > "$attributes" 2> /dev/null || :
	kgit -c core.attributesFile="$attributes" -c diff.cpp.xfuncname="$CPP_FUNCTION" \
		format-patch --quiet --zero-commit --no-signature --no-notes \
		--abbrev=12 --diff-algorithm=myers -M "$@"
}
