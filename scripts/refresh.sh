#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Turn the branches of build/linux back into files: patches/, series and the
# overlays. The prose of a cover letter is kept; what git tells of a series is
# made anew. Nothing changed in build/linux means not a byte changed here,
# whatever the version and the configuration of git.

. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"

OUT=$BUILD/refresh.tmp

# What the kernel's .gitattributes calls "cpp" finds the function's name in a
# hunk header with this. Built into git, it changes from version to version.
CPP_FUNCTION=$'!^[ \t]*[A-Za-z_][A-Za-z_0-9]*:[[:space:]]*($|/[/*])\n^([A-Za-z_].*)$'

# all_series: those in the series file, then new folders
all_series()
{
	local dir

	listed_series
	for dir in "$PATCHES"/*/; do
		[[ -d $dir ]] && basename "$dir"
	done | grep -vxFf <(listed_series) || :
}

# check_branches SERIES...: each is there, on the one before, in a line
check_branches()
{
	local series onto=base old

	for series; do
		[[ $(commit_of "refs/heads/$series") ]] ||
			die "$TREE_NAME has no branch $series" "" \
				"git -C $TREE_NAME branch $series <its last commit>, or make tree"
		old=$(commit_of "refs/pipeline/applied/$onto")
		[[ $(kgit merge-base "$onto" "$series") == "$(commit_of "$onto")" ]] ||
			die "branch $series does not stand on branch $onto" "" \
				"git -C $TREE_NAME rebase --onto $onto ${old:-$onto} $series"
		[[ ! $(kgit rev-list --merges "$onto..$series") ]] ||
			die "branch $series has a merge, which no patch can show" "" \
				"git -C $TREE_NAME rebase $onto $series"
		[[ $(kgit rev-list "$onto..$series") ]] ||
			die "branch $series has no commit on top of $onto" "" \
				"commit to it, or remove patches/$series and its lines in series"
		onto=$series
	done
}

# format FROM TO: the patches of one series, with the changelogs that make tree
# had put into notes
format()
{
	local dir=$OUT/patches/$2 id patch

	kgit -c core.attributesFile="$OUT/attributes" -c diff.cpp.xfuncname="$CPP_FUNCTION" \
		format-patch --quiet --output-directory "$dir" --numbered --zero-commit \
		--cover-letter --cover-from-description=none --no-signature --no-notes \
		--abbrev=12 --diff-algorithm=myers -M "$1..$2"
	kgit rev-list --reverse "$1..$2" |
		paste -d' ' - <(find "$dir" -name '*.patch' ! -name '0000-*' | sort) |
	while read -r id patch; do
		kgit notes show "$id" > "$OUT/changelog" 2>/dev/null || continue
		echo >> "$OUT/changelog"
		sed -i -e "0,/^---\$/{/^---\$/r $OUT/changelog" -e '}' "$patch"
	done
	cover "$PATCHES/$2/0000-cover-letter.patch" "$dir/0000-cover-letter.patch"
}

# header NAME MAIL: one header field of a mail, folded lines included
header()
{
	awk -v name="$1:" '
		/^$/ { exit }
		!/^[ \t]/ { found = $1 == name }
		found' "$2"
}

# cover OLD NEW: give NEW, as git made it, the headers and prose of OLD. Without
# an OLD, sender and date are those of the last patch: git would take the time.
cover()
{
	local old=$1 new=$2 last count prose merged=$OUT/cover

	if [[ ! -e $old ]]; then
		last=$(find "${new%/*}" -name '*.patch' | sort | tail -n 1)
		old=$OUT/old-cover
		{
			sed -n 1p "$new"
			header From "$last"
			header Date "$last"
			sed -n '/^Subject:/,$p' "$new"
		} > "$old"
		note "patches/${new#"$OUT/patches/"} is new: write its subject and text"
	fi
	count=$(header Subject "$new" | grep -o '[0-9]*/[0-9]*' | head -n 1)
	prose=$(head -n $(($(tail_of "$old") - 1)) "$old" |
		sed -E "1,/^\$/s,^(Subject: \[[^]]* )0+/[0-9]+\],\1$count],")
	{
		printf '%s\n\n' "$prose"
		tail -n "+$(tail_of "$new")" "$new"
	} > "$merged"
	mv "$merged" "$new"
}

# overlay TIP PATH DIR: the files that the series add below PATH, whole
overlay()
{
	local added depth

	mkdir -p "$OUT/$3"
	mapfile -t added < <(kgit diff --name-only --diff-filter=A -M base "$1" -- "$2")
	((${#added[@]})) || return 0
	depth=$(tr -cd / <<< "$2/")
	kgit -c tar.umask=0022 archive "$1" -- "${added[@]}" |
		tar -x -C "$OUT/$3" --strip-components=${#depth}
}

# put PATH PATTERN: make the files PATTERN below PATH what they are in $OUT.
# What is the same is not written. Ports are not made from build/linux.
put()
{
	local file

	mkdir -p "$TOP/$1"
	{ cd "$OUT/$1" && find . -type f; cd "$TOP/$1" && find . -type f -name "$2" ! -path './ports/*'; } |
		sed 's,^\./,,' | sort -u |
	while read -r file; do
		if [[ ! -e $OUT/$1/$file ]]; then
			note "removed: $1/$file"
			rm "$TOP/$1/$file"
		elif ! cmp -s "$OUT/$1/$file" "$TOP/$1/$file"; then
			note "written: $1/$file"
			mkdir -p "$(dirname "$TOP/$1/$file")"
			mv "$OUT/$1/$file" "$TOP/$1/$file"
		fi
	done
	find "$TOP/$1" -type d -empty -delete
}

lock_tree
trap 'rm -rf "$OUT"' EXIT
rm -rf "$OUT"
[[ -e $LINUX && $(commit_of base) ]] || die "there is no $TREE_NAME to refresh from" "" "make tree"
[[ ! $(commit_of refs/pipeline/to) ]] || die "make tree was interrupted" "" "make tree"
uncommitted > "$BUILD/log/uncommitted.log"
[[ ! -s $BUILD/log/uncommitted.log ]] ||
	die "$TREE_NAME has changes that are not committed" "$BUILD/log/uncommitted.log" \
		"commit them to their series' branch, or git -C $TREE_NAME stash -u"
[[ $(kgit rev-parse -q --verify refs/pipeline/patches) == "$(manifest | kgit hash-object --stdin)" ]] ||
	die "patches/ or series has changed since make tree applied it" "" \
		"make tree, unless $TREE_NAME has commits to keep: then set the change aside (git stash), make refresh, and merge the two"

step "making patches from $TREE_NAME"
mapfile -t names < <(all_series)
check_branches "${names[@]}"
mkdir -p "$OUT/patches"
kgit show base:.gitattributes > "$OUT/attributes" 2>/dev/null || :
tip=base
for name in "${names[@]}"; do
	format "$tip" "$name"
	tip=$name
done
(cd "$OUT/patches" && for name in "${names[@]}"; do
	find "$name" -name '*.patch' ! -name '0000-*' | sort
done) > "$OUT/series"
overlay "$tip" drivers/iommu drivers-iommu-overlay
overlay "$tip" tools/testing/selftests tools-testing-selftests

for name in "${names[@]}"; do
	put "patches/$name" '*.patch'
done
put drivers-iommu-overlay '*'
put tools-testing-selftests '*'
cmp -s "$OUT/series" $SERIES_FILE || mv "$OUT/series" $SERIES_FILE
for name in base "${names[@]}"; do
	echo "$name $(commit_of "$name")"
done | set_applied "$(commit_of refs/notes/commits)"
step "$(wc -l < $SERIES_FILE) patches in ${#names[@]} series"
