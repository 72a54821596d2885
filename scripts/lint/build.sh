# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the checks that build share; source build/common.sh and lint/common.sh first.
#
# A configuration of scripts/conf/lint has a folder, $LINT/o/NAME, which moves from
# commit to commit: kbuild makes what a commit affects. A folder has
#
#   configured	what its .config was made from
#   merge.log	what the kernel's merge_config.sh said when it was made
#   log		what make said last
#   reports	what the compiler and sparse say of each object: OBJECT, cc or sparse, TEXT
#   state	the commit that all this is of, and how it was built. A folder without it
#		was left in the middle of a build, and begins again.

# sources FROM TO: the files in which these commits differ, of those that a kernel is
# built from
sources()
{
	kgit diff --no-renames --name-only "$1" "$2" -- '*.[chS]' '*Kconfig*' '*Makefile*' '*Kbuild*' \
		':!tools' ':!samples' ':!Documentation'
}

# rows WHEN: the names of the configurations that ROW= chooses, and their column "when"
# says so: a pattern
rows()
{
	local name when

	while read -r name _ when _; do
		# shellcheck disable=SC2053	# both are patterns
		[[ $name != ${ROW:-*} || $when != $1 ]] || echo "$name"
	done < <(grep -Ev '^(#|$|when\s)' "$TOP/scripts/conf/lint")
}

# row NAME: its line of the table, as variables
row()
{
	local word sparse words

	# shellcheck disable=SC2034	# for checks/build
	read -r NAME BUILT_ARCH WHEN sparse words < <(grep -E "^$1\s" "$TOP/scripts/conf/lint")
	# shellcheck disable=SC2034	# for checks/build
	read -r _ KARCH CROSS_COMPILE < <(grep "^$BUILT_ARCH " "$LINT/compilers")
	OUT=$LINT/o/$NAME
	CHECKER=()
	[[ $sparse == - ]] || CHECKER=(C=1 "CHECK=${SPARSE:-}")
	FRAGMENTS=() OPTIONS=()
	for word in $words; do
		case $word in
		*=*) OPTIONS+=("CONFIG_$word") ;;
		*) FRAGMENTS+=("$(fragment "$word")") ;;
		esac
	done
}

# need_compiler: for the row
need_compiler()
{
	need_tool "${CROSS_COMPILE}gcc" "gcc${CROSS_COMPILE:+-${CROSS_COMPILE%-}}"
}

# checkout COMMIT: in the work tree that these checks have for themselves
checkout()
{
	[[ -e $TREE/.git ]] || kgit worktree add -q -f --detach "$TREE" "$1" || wrong "git worktree add failed"
	kgit -C "$TREE" checkout -q -f --detach "$1" || wrong "git checkout failed in $TREE"
}

# kbuild ARG...: in the folder of the row
kbuild()
{
	kmake "$TREE" O="$OUT" --no-print-directory -j"$JOBS" "$@" < /dev/null
}

# configure: as tinyconfig does it, with what the row asks for, unless that is done and
# no Kconfig file has changed
configure()
{
	local key

	printf '%s\n' "${OPTIONS[@]}" > "$OUT/options"
	key=$(cat "${FRAGMENTS[@]}" "$OUT/options" <(kgit -C "$TREE" ls-tree -r HEAD | grep -P '/Kconfig|\tscripts/kconfig/') | sha256sum)
	[[ ! -e $OUT/configured || $(< "$OUT/configured") != "$key" ]] || return 0
	# What a row asks for is not all there at each patch
	merge_config "$TREE" "$OUT" "${FRAGMENTS[@]}" "$OUT/options" || return
	grep -q '^CONFIG_VFIO=[ym]' "$OUT/.config" || {
		echo "error: CONFIG_VFIO is not enabled in the result"
		return 1
	}
	echo "$key" > "$OUT/configured"
}

# begin: the folder of the row is about to change. What was left in the middle of a build
# would be silent about what it has built. A new folder is a copy of another one for the
# same machine: kbuild makes what is different, and not its own programs again.
begin()
{
	local other

	if [[ ! -e $OUT/state ]]; then
		rm -rf "$OUT"
		other=$(alike)
		[[ ! $other ]] || copy_build "$LINT/o/$other" "$OUT"
	fi
	mkdir -p "$OUT"
	rm -f "$OUT/state"
}

# alike: a row that has a folder to begin with, the last of the table, which is the most
# like it. Where sparse looks at what is made, all is to be made.
alike()
{
	((!${#CHECKER[@]})) || return 0
	awk -v arch="$BUILT_ARCH" '$2 == arch { print $1 }' "$TOP/scripts/conf/lint" |
		while read -r name; do
			[[ ! -e $LINT/o/$name/state ]] || echo "$name"
		done | tail -n 1
}

# changes_options: print @options if this diff -U0 of Kconfig files and Makefiles does more
# than ask for new KUnit tests, which a configuration without KUnit does not see
changes_options()
{
	awk '/^(---|[+][+][+]) / { makefile = /Makefile$/; next }
		/^-/ || /^[+](menu)?config / && !/KUNIT/ || /^[+]/ && makefile && !/KUNIT/ { found = 1 }
		END { if (found) print "@options" }'
}

# remember: the reports in the log take the place of what the same objects said before
remember()
{
	touch "$OUT/reports"
	awk -v tree="$TREE/" '
		BEGIN { FS = "\t" }
		FILENAME ~ /reports$/ { before[NR] = $0; of[NR] = $1; next }
		/^  [A-Z]+ +(\[M\] +)?[^ ]+$/ {
			# It follows the object that it is part of; two may share their source
			if (sparse = /^  CHECK /)
				next
			sub(/.* /, "")
			sub(tree, "")
			sub(/^(\.\.\/)+linux\//, "")
			sub(/\.[a-zA-Z]+$/, "")
			made[object = $0]
		}
		object && /(warning|error|WARNING|ERROR): / {
			gsub(tree, "")
			gsub(/:[0-9]+(:[0-9]+)?:/, ":")
			print object "\t" (sparse ? "sparse" : "cc") "\t" $0
		}
		END {
			for (i in before)
				if (!(of[i] in made))
					print before[i]
		}' "$OUT/reports" "$OUT/log" | sort > "$OUT/reports.new"
	mv "$OUT/reports.new" "$OUT/reports"
}
