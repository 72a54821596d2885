#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Apply a stack to another kernel, build what applied, run the guests on it:
#   BASE=VERSION [SAVE=1] port		a kernel that scripts/conf/pins lists
#   KDIR=PATH [BASE=REVISION] port	what a git tree has checked out, or at REVISION
#
# The stack is the one that fits the kernel's version. All of it is in
# build/port/<kernel>. The tree of the stack and KDIR only lend their objects. RUN=, T=,
# ARCH=, GROUP= and ALL= choose guest runs, as for make check. KDIR= builds their kernels,
# and runs them only when RUN= is given.
#
# For each patch one word in build/port/<kernel>/patches.tsv:
#   clean	it applies as it is
#   fuzzy	the context has changed, git am --3way applies it
#   there	the kernel has the change already
#   ported	patches/<series>/<kernel>/ has a variant of it
#   conflict	none of these; what comes after it is not tried
#   fix		0000-* in that folder, which the kernel itself lacks: it comes before
#		the first patch of the series
# SAVE=1 keeps what was found out: the user's resolution of a conflict as a variant,
# and the kernel's row of the README's table. With BASE= a kernel that has a stack, the
# variant goes into its list.

TARGET=${BASE:-}
unset BASE
. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"
. "${BASH_SOURCE[0]%/*}/lib/apply.sh"
. "${BASH_SOURCE[0]%/*}/lib/port.sh"

KDIR=${KDIR:-}
SAVE=${SAVE:-}
README=$TOP/README.md
# shellcheck disable=SC2034	# for port.sh
RETRY="make port BASE=$TARGET SAVE=1"
[[ ! $KDIR ]] || RETRY=

# row: what the README's table says of this base
row()
{
	local word report=$BUILD/report/report.json

	printf '| %s ' "$TARGET"
	for word in clean fuzzy ported there fix; do
		printf '| %d ' "$(grep -c "^$word" "$RESULTS")" || :
	done
	for word in pass fail skip; do
		printf '| %d ' "$(grep -c "\"result\": \"$word\"" "$report")" || :
	done
	printf '| %s |\n' "$OF"
}

# save_row: put it into the table, in the order of conf/pins
save_row()
{
	local new

	new=$(row)
	awk -v new="$new" -v base="$TARGET" -v bases="$(bases)" '
		/^<!-- make port/ { inside = 1; print; next }
		/^<!-- end/ && inside {
			inside = 0
			old[base] = new
			n = split(bases, names, "\n")
			for (i = 1; i <= n; i++)
				if (names[i] in old)
					print old[names[i]]
		}
		inside && /^\| [0-9]/ { old[$2] = $0; next }
		{ print }' "$README" > "$BUILD/README.md"
	grep -qxF -- "$new" "$BUILD/README.md" ||
		die "README.md has no table to write to" "" 'it stands between <!-- make port … --> and <!-- end -->'
	cmp -s "$BUILD/README.md" "$README" || {
		cat "$BUILD/README.md" > "$README"
		note "written: README.md"
	}
}

choose
[[ ! $SAVE ]] || lock_patches
choose_stack
use_port
apply
show

status=0
if [[ -e $BUILD/conflict || $KDIR && ! ${RUN:-} ]]; then
	# Without all of the patches a kernel lacks symbols that its configuration asks for
	[[ ! -e $BUILD/conflict ]] || export PARTIAL=1
	"$TOP/scripts/run/prepare" || status=1
else
	# The report of an earlier run is not about these patches.
	rm -rf "$BUILD/report"
	"$TOP/scripts/run/all" || status=1
	if [[ -e $BUILD/report/report.json && ! $KDIR && ! ${RUN:-}${T:-}${ARCH:-}${GROUP:-}${WITHOUT_GROUP:-}${ALL:-} ]] &&
		! grep -q '"test": "started"' "$BUILD/report/report.json"; then # a run without a result
		[[ ! $SAVE ]] || save_row
		row
	fi
fi
[[ ! -e $BUILD/conflict ]] ||
	die "$(cut -d' ' -f1 "$BUILD/conflict") conflicts with Linux $NAME; what comes after it was not tried"
step "Linux $NAME: $(cut -f1 "$RESULTS" | sort | uniq -c | awk '{ $1 = $1; print }' | paste -sd, | sed 's/,/, /g'); git am takes $BUILD/patches/*/*"
exit $status
