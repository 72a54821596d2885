#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Move a stack to another kernel: BASE=VERSION TO=VERSION move
#
# TO is a kernel that scripts/conf/pins lists for make port; the two change places there.
# The patches are applied as make port does it. A conflict is shown, and saved with SAVE=1
# as for make port. Then series/<TO>, patches/, variants, cover letters and the
# fingerprint are made from the commits, as make refresh makes them. A patch that the new
# kernel has already stays in the list as a comment, and the old kernel keeps its variants
# for make port where the new one has others, so that a move back finds both.

TO=${TO:-}
FROM_BASE=${BASE:-}
. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"
. "${BASH_SOURCE[0]%/*}/lib/apply.sh"
. "${BASH_SOURCE[0]%/*}/lib/port.sh"
. "${BASH_SOURCE[0]%/*}/lib/refresh.sh"

KDIR=
SAVE=${SAVE:-}
TARGET=$TO
PINS=$TOP/scripts/conf/pins

# swap_pins: the new kernel in the place of the old one, and the other way
swap_pins()
{
	awk -v from="$FROM_BASE" -v to="$TO" '
		# The blocks of the file: what stands before the first, then each with its lines
		BEGIN { n = 0 }
		/^(stack|port)[ \t]/ { n++; version[n] = $2; first[n] = $0; next }
		{ rest[n] = rest[n] $0 "\n" }
		END {
			printf "%s", rest[0]
			for (i = 1; i <= n; i++) {
				if (version[i] == from) a = i
				if (version[i] == to) b = i
			}
			# A block ends with an empty line, unless it is the last one
			for (i = 1; i <= n; i++) {
				k = i == a ? b : i == b ? a : i
				word = first[i]
				sub(/[^ \t]+$/, version[k], word)
				text = rest[k]
				sub(/\n*$/, "\n", text)
				printf "%s\n%s%s", word, text, i < n ? "\n" : ""
			}
		}' "$PINS" > "$BUILD/pins"
}

# move_list: series/$TO from what became of each patch, and the variants along with it
move_list()
{
	local word patch original commit commits variant other at_home

	at_home=" $(homes | paste -sd' ') "
	mapfile -t commits < <(kgit rev-list --reverse "base..$TIP")
	: > "$BUILD/list"
	while IFS=$'\t' read -r word patch; do
		original=$(original_of "$patch")
		if [[ $word == there ]]; then
			echo "# there: $original" >> "$BUILD/list"
			continue
		fi
		commit=${commits[0]}
		commits=("${commits[@]:1}")
		changelog_of "$PATCHES/$patch" > "$BUILD/changelog"
		[[ ! -s $BUILD/changelog ]] || kgit notes add -f -F "$BUILD/changelog" "$commit"
		if [[ $at_home == *" ${original%/*} $FROM_BASE "* || $word == clean && $patch == "$original" ]]; then
			echo "$original" >> "$BUILD/list"
			continue
		fi
		variant=$(variant_of "$original" "$TO")
		echo "${variant#"$PATCHES/"}" >> "$BUILD/list"
		write_variant "$original" "$TO" < <(format_patch -1 --stdout "$commit")
		# make port tries those for other kernels, too
		other=$(variant_of "$original" "$FROM_BASE")
		[[ ! -e $other || $(patch_id "$variant") != "$(patch_id "$other")" ]] || rm "$other"
	done < "$RESULTS"
}

# stopped: where something failed, some of the files have been written
stopped()
{
	local rc=$?
	local written="patches series scripts/conf/pins drivers-iommu-overlay tools-testing-selftests"

	rm -rf "$OUT"
	((rc == 0)) || note "the stack is half moved. To undo that: git checkout -- $written;" \
		"git clean -nd $written lists the new files, -fd removes them" >&2
}

[[ $FROM_BASE && $TO ]] || die "move which stack, to which kernel?" "" "make move BASE=<$(stacks | paste -sd'|')> TO=<a version>"
"$TOP/scripts/lib/pins" ports | grep -qxF -- "$TO" ||
	die "TO=$TO is no kernel that scripts/conf/pins lists as a port" "" \
		"one of: $("$TOP/scripts/lib/pins" ports | paste -sd' '); or add its lines there, Documentation/extending.rst tells how"
RETRY="make move BASE=$FROM_BASE TO=$TO SAVE=1"
lock_patches
export NAME=$TO KERNEL_VERSION=$TO
LENDER='' COMMIT='' PIN_TREE=$LINUX
"$TOP/scripts/tree.sh" || exit 1
keep_work unapplied_work "$TREE_NAME has work that is not in patches/" "$(make_target refresh)"
use_port
apply
[[ ! -e $BUILD/conflict ]] ||
	die "$(cut -d' ' -f1 "$BUILD/conflict") conflicts with Linux $TO, nothing was moved" "" \
		"resolve it as said above, then $RETRY"
fix=$(sed -n 's/^fix\t//p' "$RESULTS" | head -n 1)
[[ ! $fix ]] || die "patches/$fix is a fix that Linux $TO needs, and no patch of the series" "" \
	"make it a patch of a series first"

step "moving the stack of Linux $FROM_BASE to $TO"
# shellcheck disable=SC2034	# for refresh.sh
{
	OUT=$BUILD/refresh.tmp
	NOTES=commits
}
trap stopped EXIT
rm -rf "$OUT"
mkdir -p "$OUT"
kgit update-ref -d refs/notes/commits
swap_pins
move_list
mv "$BUILD/pins" "$PINS"
rm -f "$TOP/series/$FROM_BASE" "$TOP/series/$FROM_BASE.blobs"
cp "$BUILD/list" "$TOP/series/$TO"
use_stack "$TO"
for series in base $(listed_series); do
	kgit update-ref "refs/pipeline/applied/$series" "refs/heads/$series"
done
refresh_stack
step "series/$TO: $(cut -f1 "$RESULTS" | sort | uniq -c | awk '{ $1 = $1; print }' | paste -sd, | sed 's/,/, /g'); next: $(make_target tree)"
