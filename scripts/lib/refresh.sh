# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# How branches become files: patches/, series/ and the overlays. Source it after
# common.sh, series.sh and apply.sh. All is written to $OUT first, and then put in place.
#
# A series that is at home on this kernel becomes the originals. Of another one, a patch
# that is as it was applied keeps its file to the byte. One that was changed is applied to
# the kernel that it is at home on, and made there; if it does not apply there, it becomes
# a variant for this kernel.

# all_series: those of the stack, and new folders, which no stack has, each where its
# branch stands
all_series()
{
	local dir base there series unlisted=()

	there=$(for base in $(stacks); do there_patches "$base"; done)
	for dir in "$PATCHES"/*/; do
		[[ ! -d $dir || $(home_of "$(basename "$dir")") ]] || grep -q "^$(basename "$dir")/" <<< "$there" ||
			unlisted+=("$(basename "$dir")")
	done
	((${#unlisted[@]})) || {
		listed_series
		return
	}
	for series in $(listed_series) "${unlisted[@]}"; do
		printf '%s %s\n' "$(kgit rev-list --count "base..refs/heads/$series" 2>> "$LOG")" "$series"
	done | sort -s -n -k 1,1 | cut -d ' ' -f 2
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

# with_changelog COMMIT: the patch on stdin, with what the notes $NOTES say of the commit
with_changelog()
{
	local text

	text=$(kgit notes --ref="$NOTES" show "$1" 2> /dev/null) || :
	cat > "$OUT/formatted"
	words_of "$OUT/formatted"
	below_words "$text" < "$OUT/formatted"
}

# format FROM TO SERIES: the patches of one series
format()
{
	local dir=$OUT/patches/$3 id patch

	rm -f "$dir"/*.patch
	format_patch --output-directory "$dir" --numbered \
		--cover-letter --cover-from-description=none "$1..$2"
	kgit rev-list --reverse "$1..$2" |
		paste -d' ' - <(find "$dir" -maxdepth 1 -name '*.patch' ! -name '0000-*' | sort) |
		while read -r id patch; do
			with_changelog "$id" < "$patch" > "$OUT/patch"
			mv "$OUT/patch" "$patch"
		done
	cover "$PATCHES/$3/0000-cover-letter.patch" "$dir/0000-cover-letter.patch"
}

# same_change COMMIT COMMIT: do they say and change the same, wherever in the files?
same_change()
{
	local commit sums=()

	for commit; do
		sums+=("$({
			kgit log -1 --format='%an %ae %ad%n%B' "$commit"
			kgit notes --ref="$NOTES" show "$commit" 2> /dev/null || :
			kgit diff-tree -p "$commit" | git patch-id --verbatim | cut -d' ' -f1
		} | sha256sum)")
	done
	[[ ${sums[0]} == "${sums[1]}" ]]
}

# keep SERIES PREVIOUS: one that is at home on another kernel. What was changed is left
# in $OUT/changed, under the name of its original.
keep()
{
	local home list were are nr entry original prefix

	home=$(home_of "$1")
	mapfile -t list < <(patches_of "$1")
	mapfile -t were < <(kgit rev-list --reverse "refs/pipeline/applied/$2..refs/pipeline/applied/$1")
	mapfile -t are < <(kgit rev-list --reverse "$2..$1")
	((${#were[@]} == ${#list[@]})) ||
		die "patches/$1 has other patches than $TREE_NAME was made of" "" "$(make_target tree)"
	((${#are[@]} == ${#list[@]})) ||
		die "branch $1 has ${#are[@]} commits, the stack has ${#list[@]} patches of this series" "" \
			"a patch is added or dropped where the series is at home: make tree BASE=$home"
	for nr in "${!list[@]}"; do
		entry=${list[nr]}
		echo "$entry" >> "$OUT/series"
		if same_change "${were[nr]}" "${are[nr]}"; then
			[[ $entry == "$(original_of "$entry")" ]] || again "$entry" "${are[nr]}"
			continue
		fi
		[[ $(kgit log -1 --format=%f "${were[nr]}") == "$(kgit log -1 --format=%f "${are[nr]}")" ]] ||
			die "branch $1 has another subject or order than the patches of this series: $(kgit log -1 --format=%s "${are[nr]}")" "" \
				"a patch is renamed or moved where the series is at home: make tree BASE=$home"
		original=$(original_of "$entry")
		prefix=$(header Subject "$PATCHES/$original" | sed -nE 's/^Subject: \[([^]]*)\].*/\1/p')
		mkdir -p "$OUT/changed/$1"
		format_patch -1 --stdout --no-numbered --subject-prefix="$prefix" "${are[nr]}" |
			with_changelog "${are[nr]}" > "$OUT/changed/$original"
		if [[ $entry == "$original" ]]; then
			note "changed: $original, at home on Linux $home"
		else
			note "changed: $original, the variant for Linux $BASE only; to change the original: make tree BASE=$home"
		fi
	done
}

# again VARIANT COMMIT: a variant that was not changed, since what comes before it in the
# stack may have been, and index lines tell of that
again()
{
	local variant=$PATCHES/$1 made

	made=$(format_patch -1 --stdout "$2")
	as_variant "$variant" "$(variant_id "$variant")" <<< "$made" > "$OUT/patches/$1"
}

# carry: make of $OUT/changed the originals as they read at home, or else variants
carry()
{
	local original home

	[[ -d $OUT/changed ]] || return 0
	cp -r "$PATCHES" "$OUT/all"
	(cd "$OUT/changed" && find . -type f | sed 's,^\./,,' | sort) > "$OUT/to-carry"
	while read -r original; do
		if grep -qxF "${original%/*}/$BASE/${original##*/}" "$OUT/series"; then
			make_variant "$original"
		else
			cp "$OUT/changed/$original" "$OUT/all/$original"
			echo "$original"
		fi
	done < "$OUT/to-carry" > "$OUT/carried"
	for home in $(join <(sed 's,/.*,,' "$OUT/carried" | sort -u) <(homes | sort) | cut -d' ' -f2 | sort -u); do
		until carry_to "$home"; do
			:
		done
	done
}

# make_variant ORIGINAL: of what was changed, for this kernel. Its words are the
# original's from now on.
make_variant()
{
	local original=$1 variant=${1%/*}/$BASE/${1##*/}

	{
		words_of "$OUT/changed/$original"
		below_words "$(changelog_of "$OUT/changed/$original")" < <(without_changelog "$PATCHES/$original")
	} > "$OUT/patches/$original.new"
	mv "$OUT/patches/$original.new" "$OUT/patches/$original"
	mkdir -p "$OUT/patches/${variant%/*}"
	as_variant "$OUT/patches/$original" < <(without_changelog "$OUT/changed/$original") > "$OUT/patches/$variant"
	sed -i "s,^$original\$,$variant," "$OUT/series"
}

# carry_to HOME: apply its stack with what was changed. Fails when one of these became a
# variant instead, and the rest is to be tried again.
carry_to()
{
	local tips failed previous series commit here=$BASE

	[[ -e $TOP/build/$1/linux ]] ||
		die "there is no tree of Linux $1, where $(paste -sd' ' "$OUT/carried") is at home" "" "make tree BASE=$1"
	if ! tips=$(on_stack "$1" apply_stack); then
		failed=${tips##*failed }
		rm -rf "$OUT/am"
		grep -qxF "${failed%%: *}" "$OUT/carried" ||
			die "the stack of Linux $1 does not apply: $failed" "$LOG" "make tree BASE=$1"
		note "${failed%%: *} as changed here does not apply to Linux $1: ${failed#*: }"
		note "so it becomes a variant for Linux $here; to change the original: make tree BASE=$1"
		make_variant "${failed%%: *}"
		cp "$PATCHES/${failed%%: *}" "$OUT/all/${failed%%: *}"
		sed -i "\,^${failed%%: *}\$,d" "$OUT/carried"
		return 1
	fi
	while read -r series commit; do
		if grep -q "^$series/" "$OUT/carried"; then
			on_stack "$1" format "$previous" "$commit" "$series"
			note "$series: changed at home, on Linux $1, as well"
		fi
		previous=$commit
	done <<< "$tips"
}

# on_stack BASE COMMAND...: with the tree of another stack, and the patches in $OUT/all
on_stack()
(
	unset BUILD
	use_stack "$1"
	[[ ! -e $OUT/lists/$1 ]] || SERIES_FILE=$OUT/lists/$1
	# shellcheck disable=SC2034	# for apply.sh
	PATCHES=$OUT/all AM=$OUT/am NOTES=carrying
	"${@:2}"
)

# renamed SERIES BASE: the lines of the list of another stack, with the names, and in the
# order, that the patches of the series have now. One that is new goes into each stack
# that has all of the series; one that has some of it has chosen.
renamed()
{
	awk -v series="$1" -v base="$2" -v old="$(names_in "$PATCHES/$1")" -v new="$(names_in "$OUT/patches/$1")" '
		function subject(name) { sub(/^[0-9]+-/, "", name); return name }
		BEGIN {
			n_old = split(old, o, "\n")
			n_new = split(new, n, "\n")
			for (i = 1; i <= n_old; i++) {
				by_subject[subject(o[i])] = o[i]
				by_number[substr(o[i], 1, 4)] = o[i]
			}
			for (i = 1; i <= n_new; i++)
				if (subject(n[i]) in by_subject) {
					was[n[i]] = by_subject[subject(n[i])]
					found[was[n[i]]]
				}
			# Another subject, at the same place
			for (i = 1; i <= n_new; i++) {
				at = substr(n[i], 1, 4)
				if (!(n[i] in was) && at in by_number && !(by_number[at] in found))
					was[n[i]] = by_number[at]
			}
			for (i = 1; i <= n_new; i++)
				now[was[n[i]]] = n[i]
		}
		function has_all(	i) {
			for (i = 1; i <= n_old; i++)
				if (!((series "/" o[i]) in listed || (series "/" base "/" o[i]) in listed))
					return 0
			return 1
		}
		function print_series(	i, old_name) {
			for (i = 1; i <= n_new; i++) {
				old_name = was[n[i]]
				if (old_name == "" ? has_all() : (series "/" old_name) in listed)
					print series "/" n[i]
				else if ((series "/" base "/" old_name) in listed)
					print series "/" base "/" n[i]
			}
		}
		{ line[NR] = $0; listed[$0] }
		END {
			for (i = 1; i <= NR; i++)
				if (index(line[i], there = "# there: " series "/") == 1) {
					old_name = substr(line[i], length(there) + 1)
					if (old_name in now)
						print there now[old_name]
				} else if (index(line[i], series "/") != 1)
					print line[i]
				else if (!done++)
					print_series()
		}'
}

# names_in DIR: of the patches there
names_in()
{
	[[ ! -d $1 ]] || find "$1" -maxdepth 1 -name '*.patch' ! -name '0000-*' -printf '%f\n' | sort
}

# follow SERIES: what is at home here has been made; its variants get its words, and its
# names
follow()
{
	local variant base name now

	for variant in "$PATCHES/$1"/*/*.patch; do
		[[ -e $variant ]] || continue
		base=${variant%/*}
		base=${base##*/}
		name=${variant##*/}
		mkdir -p "$OUT/patches/$1/$base"
		if [[ $name == 0000-* ]]; then
			cp "$variant" "$OUT/patches/$1/$base"
			continue
		fi
		now=$(printf '%s\n' "$1/$base/$name" | renamed "$1" "$base" | grep "/$base/" | sed 's,.*/,,') || :
		[[ $now ]] || continue
		as_variant "$OUT/patches/$1/$now" "$(variant_id "$variant")" \
			< <(without_changelog "$variant") > "$OUT/patches/$1/$base/$now"
	done
}

# other_stacks SERIES...: the lists of the other stacks, with the names of these series
# as they are now; what was changed is tried there
other_stacks()
{
	local base series tips failed

	mkdir -p "$OUT/lists"
	for base in $(stacks); do
		[[ $base != "$BASE" ]] || continue
		cp "$TOP/series/$base" "$OUT/lists/$base"
		for series; do
			renamed "$series" "$base" < "$OUT/lists/$base" > "$OUT/list"
			mv "$OUT/list" "$OUT/lists/$base"
		done
		: > "$OUT/shared"
		for series; do
			(cd "$OUT/patches" && find "$series" -maxdepth 1 -name '*.patch' ! -name '0000-*') |
				while read -r patch; do
					cmp -s "$PATCHES/$patch" "$OUT/patches/$patch" || ! grep -qxF "$patch" "$OUT/lists/$base" ||
						echo "$patch" >> "$OUT/shared"
				done
		done
		[[ -s $OUT/shared ]] || continue
		if [[ ! -e $TOP/build/$base/linux ]]; then
			note "$(wc -l < "$OUT/shared") of these patches are in the stack of Linux $base too, which was not tried: make tree BASE=$base"
			continue
		fi
		rm -rf "$OUT/all"
		cp -r "$OUT/patches" "$OUT/all"
		if tips=$(on_stack "$base" apply_stack); then
			note "$(wc -l < "$OUT/shared") of these patches are in the stack of Linux $base too, and apply there"
		else
			failed=${tips##*failed }
			rm -rf "$OUT/am"
			note "in the stack of Linux $base ${failed%%: *} does not apply any more: ${failed#*: }"
			note "it needs a variant there: make port BASE=$base shows the conflict, SAVE=1 writes it"
		fi
	done
}

# with_comments OLD NEW: the list NEW, with the comments of OLD after what they followed
with_comments()
{
	awk '
		# The number may have changed
		function name(line) { sub(/[0-9]+-/, "", line); return line }
		FILENAME == ARGV[1] {
			if (/^[ \t]*(#|$)/)
				comment[last] = comment[last] $0 "\n"
			else
				last = name($0)
			next
		}
		FNR == 1 { printf "%s", comment[""] }
		{ print; printf "%s", comment[name($0)] }' "$1" "$2"
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

# added_by SERIES...: the files that the originals of these series add
added_by()
{
	local series

	for series; do
		# shellcheck disable=SC2016	# awk's own $
		find "$OUT/patches/$series" -maxdepth 1 -name '*.patch' -exec awk '
			/^diff --git / { path = substr($0, 14, (length($0) - 16) / 2) }
			/^new file mode / { print path }' {} +
	done | sort -u
}

# overlay TIP PATH DIR SERIES...: the files below PATH that these series add, whole, as
# they are at TIP; those of other series as they were
overlay()
{
	local added depth series file

	depth=$(tr -cd / <<< "$2/")
	mkdir -p "$OUT/$3"
	mapfile -t added < <(added_by "${@:4}" | sed -n "\,^$2/,p" | while read -r file; do
		[[ ! $(kgit ls-tree "$1" -- "$file") ]] || echo "$file"
	done)
	((!${#added[@]})) || kgit -c tar.umask=0022 archive "$1" -- "${added[@]}" |
		tar --no-unquote -x -C "$OUT/$3" --strip-components="${#depth}"
	find "$OUT/patches" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' |
		{
			grep -vxFf <(printf '%s\n' "${@:4}") || :
		} |
		while read -r series; do
			added_by "$series"
		done | sed -n "s,^$2/,,p" |
		while read -r file; do
			[[ -e $TOP/$3/$file && ! -e $OUT/$3/$file ]] || continue
			mkdir -p "$OUT/$3/$(dirname "$file")"
			cp "$TOP/$3/$file" "$OUT/$3/$file"
		done
}

# put PATH: make the files below PATH what they are in $OUT. What is the same is not
# written.
put()
{
	local file

	mkdir -p "$TOP/$1" "$OUT/$1"
	{
		cd "$OUT/$1" && find . -type f
		cd "$TOP/$1" && find . -type f
	} |
		sed 's,^\./,,' | sort -u |
		while read -r file; do
			if [[ ! -e $OUT/$1/$file ]]; then
				note "removed: $1/$file"
				rm "$TOP/$1/$file"
			elif ! cmp -s "$OUT/$1/$file" "$TOP/$1/$file"; then
				note "written: $1/$file"
				mkdir -p "$(dirname "$TOP/$1/$file")"
				cp "$OUT/$1/$file" "$TOP/$1/$file"
			fi
		done
	find "$TOP/$1" -type d -empty -delete
}

# keep_there SERIES: its patches that this kernel has already, with their variants for
# others
keep_there()
{
	local patch

	there_patches | sed -n "\\,^$1/,p" | while read -r patch; do
		(cd "$PATCHES" && find "$1" -name "${patch##*/}" -exec cp --parents -t "$OUT/patches" {} +)
	done
}

# refresh_stack: make $OUT of the branches, and then the files of $OUT
refresh_stack()
{
	local names own=() previous=base name patch

	mapfile -t names < <(all_series)
	check_branches "${names[@]}"
	mkdir -p "$OUT/patches"
	[[ ! -d $PATCHES ]] || cp -r "$PATCHES/." "$OUT/patches"
	: > "$OUT/series"
	for name in "${names[@]}"; do
		if [[ $(home_of "$name") == "$BASE" || ! $(home_of "$name") ]]; then
			own+=("$name")
			rm -rf "${OUT:?}/patches/$name"
			format "$previous" "$name" "$name"
			(cd "$OUT/patches" && find "$name" -name '*.patch' ! -name '0000-*' | sort) >> "$OUT/series"
			follow "$name"
			keep_there "$name"
		else
			keep "$name" "$previous"
		fi
		previous=$name
	done
	carry
	other_stacks "${own[@]}"
	overlay "$previous" drivers/iommu drivers-iommu-overlay "${own[@]}"
	overlay "$previous" tools/testing/selftests tools-testing-selftests "${own[@]}"

	put patches
	put drivers-iommu-overlay
	put tools-testing-selftests
	mkdir -p "$OUT/lists"
	with_comments "$SERIES_FILE" "$OUT/series" > "$OUT/lists/$BASE"
	for name in "$OUT/lists"/*; do
		cmp -s "$name" "$TOP/series/${name##*/}" || cp "$name" "$TOP/series/${name##*/}"
	done
	fingerprint > "$OUT/blobs"
	cmp -s "$OUT/blobs" "$FINGERPRINT" || cp "$OUT/blobs" "$FINGERPRINT"
}
