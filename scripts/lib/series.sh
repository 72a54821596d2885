# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The series as files (patches/, series) and as branches (build/linux), for
# scripts/tree.sh and scripts/refresh.sh. Source it after common.sh.
#
# In build/linux:
#   refs/heads/base		the pinned kernel, one commit
#   refs/heads/<series>		one branch a series, each on top of the one before
#   refs/notes/commits		what a patch says below its "---", which git am drops
#   refs/pipeline/applied/{base,<series>}, refs/pipeline/notes
#				all as they were when they last agreed with patches/
#   refs/pipeline/patches	patches/ at that time, see manifest()
#   refs/pipeline/{from,to}	set while the work tree is moved between these

PATCHES=$TOP/patches

# Whatever repository the caller works in (a git hook, say) is not ours.
# shellcheck disable=SC2046	# one name a word
unset $(git rev-parse --local-env-vars)

# kgit ARG...: git in the kernel tree, the same for every user's configuration
kgit()
{
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null \
	GIT_AUTHOR_NAME=vfio-noiommu GIT_AUTHOR_EMAIL=vfio-noiommu@localhost \
	GIT_COMMITTER_NAME=vfio-noiommu GIT_COMMITTER_EMAIL=vfio-noiommu@localhost \
		git -C "$LINUX" -c safe.directory='*' -c core.attributesFile=/dev/null \
			-c gc.auto=0 "$@"
}

# One writer at a time in this clone; the lock ends with the process.
lock_tree()
{
	mkdir -p "$BUILD/log"
	lock "$BUILD/linux.lock" "another run in this clone"
}

# listed_patches: the lines of the series file, "<series>/<patch>"
listed_patches()
{
	sed -E '/^[[:space:]]*(#|$)/d' $SERIES_FILE
}

# listed_series: the names of the series, in the order applied
listed_series()
{
	listed_patches | sed 's,/.*,,' | uniq
}

# patches_of SERIES: the patches of one series, in the order applied
patches_of()
{
	listed_patches | awk -F/ -v series="$1" '$1 == series'
}

# manifest: all that decides what is applied, and to what
manifest()
{
	local list

	echo "$BASE"
	list=$(listed_patches)
	[[ ! $list ]] || (cd "$PATCHES" && xargs -rd '\n' sha256sum -- <<< "$list")
}

# commit_of REF: its commit id, or nothing where there is none
commit_of()
{
	kgit rev-parse -q --verify "$1^{commit}" || :
}

# is_bare: build/linux has no work tree. The pipeline's own tests use such
# ones, since they need the commits only.
is_bare()
{
	[[ $(kgit rev-parse --is-bare-repository) == true ]]
}

# has_worktree: false until the first checkout is complete
has_worktree()
{
	! is_bare && [[ -e $LINUX/.git/index ]]
}

# uncommitted: what git status lists, untracked files too
uncommitted()
{
	! has_worktree || kgit status --porcelain --untracked-files=all
}

# moved_branches: what the branches and notes have that patches/ does not
moved_branches()
{
	local series head applied

	{
		kgit for-each-ref --format='%(refname:lstrip=3)' refs/pipeline/applied
		listed_series
	} | sort -u |
	while read -r series; do
		head=$(commit_of "refs/heads/$series")
		applied=refs/pipeline/applied/$series
		[[ $(commit_of "$applied") ]] || applied=refs/pipeline/applied/base
		[[ $head && $head != "$(commit_of "$applied")" ]] || continue
		echo "branch $series is not as it was applied (> in it, < no longer in it):"
		kgit log --oneline --no-decorate --left-right "$applied...$head"
	done
	[[ $(commit_of refs/notes/commits) == "$(commit_of refs/pipeline/notes)" ]] ||
		echo "the changelogs of patches (git notes) have changed"
}

# unapplied_work: what build/linux has and patches/ has not, in the branches of
# the series and in the work tree
unapplied_work()
{
	moved_branches
	uncommitted
}

# all_work: the same, and what other branches, stashes and HEAD have
all_work()
{
	local ref

	unapplied_work
	{ kgit for-each-ref --format='%(refname)' refs/heads refs/stash; echo HEAD; } |
	grep -vxFf <({ echo base; listed_series; } | sed 's,^,refs/heads/,') |
	while read -r ref; do
		kgit log --oneline --no-decorate "$ref" --not --glob=refs/pipeline/applied base |
			sed "s,^,$ref: ,"
	done
}

# keep_work KIND WHAT NEXT: refuse to go on when there is work of that kind
keep_work()
{
	"$1" > "$BUILD/log/work.log"
	[[ ! -s $BUILD/log/work.log ]] || die "$2" "$BUILD/log/work.log" "$3"
}

# set_applied NOTES [COMMAND...]: record that patches/ agrees with the branches,
# "BRANCH COMMIT" on stdin, and with the notes, in one transaction with more
# commands for git update-ref
set_applied()
{
	local notes=$1 id

	shift
	id=$(manifest | kgit hash-object -w --stdin)
	{
		echo start
		(($# == 0)) || printf '%s\n' "$@"
		echo "update refs/pipeline/patches $id"
		[[ ! $notes ]] || printf 'update refs/%s\n' "notes/commits $notes" "pipeline/notes $notes"
		sed '/^$/d; s,^,update refs/pipeline/applied/,'
		printf 'prepare\ncommit\n'
	} | kgit update-ref --stdin > /dev/null
}

# changelog_of PATCH: what stands between its "---" and the diffstat
changelog_of()
{
	awk '
		!section { section = /^---$/; next }
		/^diff --git / { exit }
		{ line[++n] = $0 }
		END {
			while (n && (line[n] == "" ||
				     line[n] ~ /^ .* \| +([0-9]+|Bin)/ ||
				     line[n] ~ /^ [0-9]+ files? changed/ ||
				     line[n] ~ /^ (create|delete|rename|copy|rewrite|mode change) /))
				n--
			for (i = 1; i <= n && line[i] == ""; i++)
				;
			while (i <= n)
				print line[i++]
		}' "$1"
}

# tail_of COVER: the number of the line where the shortlog starts, or of the
# one after the last
tail_of()
{
	awk '
		{ line[NR] = $0 }
		END {
			for (i = NR; i && line[i] ~ /^$|^  |^[^ ].* \([0-9]+\):$|^ .* \| +([0-9]+|Bin)|^ [0-9]+ files? changed|^ (create|delete|rename|copy|rewrite|mode change) |^-- $|^[0-9]+\.[0-9.]+$/; i--)
				;
			while (++i <= NR && line[i] !~ /^[^ ].* \([0-9]+\):$/)
				;
			print i
		}' "$1"
}

# touched_files: each file that the patches touch, in the order first touched,
# and the blob id that it must have in the base: "new" if it must not be there,
# "any" if the patch has no index line to tell
touched_files()
{
	local list

	list=$(listed_patches)
	[[ $list ]] || return 0
	# shellcheck disable=SC2016	# awk's own $
	(cd "$PATCHES" && xargs -rd '\n' awk '
		function emit() {
			if (path != "" && !(path in seen))
				print id, path
			if (path != "")
				seen[path] = 1
			if (newpath != "")
				seen[newpath] = 1
			path = newpath = ""
		}
		FNR == 1 { emit() }
		/^diff --git a\// {
			emit()
			path = substr($0, 14, (length($0) - 16) / 2)
			id = "any"
		}
		/^new file mode / { id = "new" }
		/^(rename|copy) from / { path = substr($0, length($1 $2) + 3) }
		/^(rename|copy) to / { newpath = substr($0, length($1 $2) + 3) }
		/^index / && id == "any" { id = $2; sub(/\.\..*/, "", id) }
		END { emit() }' <<< "$list")
}

# tar_of SOURCE COMMIT: the source as a tar stream, in one folder
tar_of()
{
	if [[ $2 ]]; then
		git -C "$1" -c safe.directory='*' archive --prefix=linux/ "$2"
	elif [[ -d $1 ]]; then
		tar -C "$1" --exclude-vcs --transform 's,^\./,linux/,S' -c ./
	else
		case $1 in
		*.xz)	xz -dc -T0 "$1" ;;
		*.gz)	gzip -dc "$1" ;;
		*.zst)	zstd -dc "$1" ;;
		*)	cat "$1" ;;
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

# git_am ARG...: git in the work tree that patches are applied in, $AM
git_am()
{
	kgit -C "$AM" -c core.sparseCheckout=true "$@"
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

# check_listed: the series file and the folders name the same patches
check_listed()
{
	local log=$BUILD/log/series.log

	diff <(listed_patches | sort) \
	     <(cd "$PATCHES" 2>/dev/null && find . -name '*.patch' ! -name '0000-*' ! -path './*/ports/*' |
	       sed 's,^\./,,' | sort) |
		sed -n 's/^</no such file:/p; s/^>/not in series:/p' > "$log" || :
	[[ ! -s $log ]] || die "the file series and the folder patches/ differ" "$log" \
		"list each patch in series, in the order applied, as <series>/<patch>"
}
