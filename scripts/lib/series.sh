# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The patches as files (patches/, series/<base>) and as branches of the kernel tree
# (build/<base>/linux). Source it after common.sh.
#
# series/<base> is quilt's list of a stack. A line is patches/<series>/<patch>, or
# patches/<series>/<base>/<patch> for a variant: the same words, with another diff,
# since the original does not apply to that kernel. A series is at home on the newest
# kernel whose stack has it. The originals are as they read there.
#
# In the kernel tree:
#   refs/heads/base		the kernel, one commit
#   refs/heads/<series>		one branch a series, each on top of the one before
#   refs/notes/commits		what a patch says below its "---", which git am drops
#   refs/pipeline/applied/{base,<series>}, refs/pipeline/notes
#				all as they were when they last agreed with patches/
#   refs/pipeline/patches	patches/ at that time, see manifest()
#   refs/pipeline/{from,to}	set while the work tree is moved between these

PATCHES=$TOP/patches

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

# lock_patches: the same for patches/ and series/, which the stacks share
lock_patches()
{
	lock "$TOP/build/patches.lock" "another script that writes patches/"
}

# stacks: the kernels that have one, the default one first
stacks()
{
	"$TOP/scripts/lib/pins" stacks
}

# make_target WORDS: the command that does it with this stack
make_target()
{
	local default

	default=$(stacks | sed -n 1p)
	echo "make $1$([[ $BASE == "$default" ]] || echo " BASE=$BASE")"
}

# listed_patches [BASE]: the lines of the stack's list: "<series>/<patch>", or
# "<series>/<base>/<patch>" for a variant
listed_patches()
{
	local file=$SERIES_FILE

	(($# == 0)) || file=$TOP/series/$1
	[[ ! -e $file ]] || sed -E '/^[[:space:]]*(#|$)/d' "$file"
}

# there_patches [BASE]: patches that the stack had before it was moved to a kernel which
# has them already
there_patches()
{
	local file=$TOP/series/${1:-$BASE}

	[[ ! -e $file ]] || sed -n 's/^# there: //p' "$file"
}

# original_of PATCH: the same patch as it is at home
original_of()
{
	echo "${1%%/*}/${1##*/}"
}

# homes: "<series> <base>" for each series, with the newest kernel whose stack has it
homes()
{
	local base

	for base in $(stacks | sort -rV); do
		listed_patches "$base" | sed "s,/.*, $base,"
	done | awk '!seen[$1]++'
}

# home_of SERIES: that kernel; nothing for a new series
home_of()
{
	homes | awk -v series="$1" '$1 == series { print $2 }'
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

# is_bare: the kernel tree has no work tree. The pipeline's own tests use such
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
	local series applied head

	# One that was never applied, of a new series, is compared with the kernel.
	{
		listed_series | sed 's,^,listed ,'
		kgit for-each-ref --format='%(refname) %(objectname)' refs/heads refs/pipeline/applied
	} | awk '
		{ name = $1 == "listed" ? $2 : $1 }
		sub("^refs/heads/", "", name) { head[name] = $2; next }
		sub("^refs/pipeline/applied/", "", name) { applied[name] = $2 }
		!seen[name]++ { names[++n] = name }
		END {
			for (i = 1; i <= n; i++) {
				name = names[i]
				from = name in applied ? applied[name] : applied["base"]
				if (name in head && head[name] != from)
					print name, from, head[name]
			}
		}' |
		while read -r series applied head; do
			echo "branch $series is not as it was applied (> in it, < no longer in it):"
			kgit log --oneline --no-decorate --left-right "$applied...$head"
		done
	[[ $(commit_of refs/notes/commits) == "$(commit_of refs/pipeline/notes)" ]] ||
		echo "the changelogs of patches (git notes) have changed"
}

# unapplied_work: what the kernel tree has and patches/ has not, in the branches of
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
	{
		kgit for-each-ref --format='%(refname)' refs/heads refs/stash
		echo HEAD
	} |
		grep -vxFf <(echo refs/heads/base && listed_series | sed 's,^,refs/heads/,') |
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
		/^Variant-of: / { next }
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

# words_of PATCH: what stands above its diff, and its "---", but for the changelog
words_of()
{
	sed '/^---$/q' "$1"
}

# all_words_of PATCH: that and the changelog
all_words_of()
{
	words_of "$1"
	changelog_of "$1"
}

# below_words [CHANGELOG [ID]]: of a patch on stdin as git makes it, what follows the
# "---", with a changelog, and the patch-id of what it is a variant of
below_words()
{
	[[ ! ${1:-} ]] || printf '%s\n\n' "$1"
	[[ ! ${2:-} ]] || printf 'Variant-of: %s\n\n' "$2"
	sed '1,/^---$/d'
}

# as_variant ORIGINAL [ID]: that patch, with the diff of the one on stdin; a variant of
# what it changes now, or of the patch-id ID
as_variant()
{
	words_of "$1"
	below_words "$(changelog_of "$1")" "${2:-$(patch_id "$1")}"
}

# variant_of PATCH BASE: where another patch for that base would be
variant_of()
{
	echo "$PATCHES/${1%%/*}/$2/${1##*/}"
}

# write_variant ORIGINAL BASE: make its variant for that base, with the diff of stdin
write_variant()
{
	local variant

	variant=$(variant_of "$1" "$2")
	mkdir -p "${variant%/*}"
	as_variant "$PATCHES/$1" > "$variant.new"
	mv "$variant.new" "$variant"
}

# variant_id VARIANT: the patch-id of the original that it was made for
variant_id()
{
	sed -n 's/^Variant-of: //p' "$1"
}

# without_changelog PATCH: one that has only what git makes below its "---"
without_changelog()
{
	awk '
		!section { section = /^---$/; print; next }
		section == 1 && !(/^ .* \| +([0-9]+|Bin)/ || /^ [0-9]+ files? changed/ || /^diff --git /) { next }
		{ section = 2; print }' "$1"
}

# patch_id PATCH: the same for as long as it changes the same
patch_id()
{
	git patch-id --stable < "$1" | cut -d' ' -f1
}

# stale_variants: those that are not of the original as it is now, and why
stale_variants()
{
	local variant original

	[[ -d $PATCHES ]] || return 0
	(cd "$PATCHES" && find . -mindepth 3 -name '*.patch' ! -name '0000-*' | sed 's,^\./,,' | sort) |
		while read -r variant; do
			original=$(original_of "$variant")
			if [[ ! -e $PATCHES/$original ]]; then
				echo "$variant: there is no patch $original"
			elif ! grep -qxF "Variant-of: $(patch_id "$PATCHES/$original")" "$PATCHES/$variant"; then
				echo "$variant: $original changes something else since it was made;" \
					"once the variant is right, say so in it: Variant-of: $(patch_id "$PATCHES/$original")"
			elif ! cmp -s <(all_words_of "$PATCHES/$original") <(all_words_of "$PATCHES/$variant"); then
				echo "$variant: its words are not those of $original"
			fi
		done
}

# touched_files: each file that the patches of the stack touch, in the order first touched
touched_files()
{
	local list

	list=$(listed_patches)
	[[ $list ]] || return 0
	# shellcheck disable=SC2016	# awk's own $
	(cd "$PATCHES" && xargs -rd '\n' awk '
		function emit(path) {
			if (!(path in seen))
				print path
			seen[path] = 1
		}
		/^diff --git a\// {
			half = (length($0) - 16) / 2
			if (substr($0, 14, half) == substr($0, 17 + half))
				emit(substr($0, 14, half))
		}
		/^(rename|copy) (from|to) / { emit(substr($0, length($1 $2) + 3)) }
		' <<< "$list")
}

# fingerprint: the blob id of each of these in the kernel, or - for one that is not there
fingerprint()
{
	local list files

	list=$(touched_files | sort) || return
	[[ $list ]] || return 0
	mapfile -t files <<< "$list"
	kgit --literal-pathspecs ls-tree -r base -- "${files[@]}" |
		awk -v files="$(printf '%s\n' "${files[@]}")" '
			{ split($0, part, "\t"); blob[part[2]] = $3 }
			END {
				n = split(files, file, "\n")
				for (i = 1; i <= n; i++)
					print (file[i] in blob ? blob[file[i]] : "-") "\t" file[i]
			}'
}

# check_listed: the lists and the folders name the same patches
check_listed()
{
	local log=$BUILD/log/series.log base at_home

	mkdir -p "${log%/*}"
	at_home=" $(homes | paste -sd' ') "
	{
		for base in $(stacks); do
			listed_patches "$base"
			there_patches "$base" | with_variants "$base"
		done | sort -u |
			comm -3 - <(cd "$PATCHES" 2> /dev/null &&
				find . -name '*.patch' ! -name '0000-*' | sed 's,^\./,,' | without_ports | sort) |
			sed -E 's/^[^\t]/no such file: &/; s/^\t/in no list: /'
		for base in $(stacks); do
			listed_patches "$base" | awk -F/ -v base="$base" -v at_home="$at_home" '
				NF == 3 && $2 != base { print "in series/" base ", but a variant for another kernel: " $0 }
				NF == 3 && index(at_home, " " $1 " " base " ") { print "a variant, where the series is at home: " $0 }'
		done
	} > "$log"
	[[ ! -s $log ]] || die "the lists in series/ and the folder patches/ differ" "$log" \
		"list each patch in series/<base>, in the order applied, as <series>/<patch>"
}

# with_variants BASE: these patches, and the variants of them for that kernel
with_variants()
{
	local patch variant

	while read -r patch; do
		echo "$patch"
		variant=$(variant_of "$patch" "$1")
		[[ ! -e $variant ]] || echo "${variant#"$PATCHES/"}"
	done
}

# without_ports: of paths in patches/, those that no stack need list: the variants for a
# kernel that make port knows only
without_ports()
{
	awk -F/ -v stacks=" $(stacks | paste -sd' ') " 'NF < 3 || index(stacks, " " $2 " ")'
}
