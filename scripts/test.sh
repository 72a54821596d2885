#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test - everything that can be tested here: of each stack the patches without running
# them and all its guest runs, then the pipeline itself. The last line sums them up. A
# part that ends without its own last line has failed, whatever it printed before.
#
# The checks that build each patch in each configuration, and Coccinelle's, are left to
# make lint: they take longer than all the rest. The runs of the group "matrix" are left
# to make matrix.

. "${BASH_SOURCE[0]%/*}/lib/common.sh"

# What the user chose elsewhere must not leave out any of it.
unset RUN T ARCH GROUP GDB SERIES P ROW
export ALL=1 WITHOUT_GROUP=matrix
LOGS=$TOP/build/log
mapfile -t stacks < <("$TOP/scripts/lib/pins" stacks)

# run PART BASE
run()
{
	local -x T

	unset BUILD
	case $1 in
	lint) T='!(build|sparse|kernel|coccinelle)' ;;
	# Its test drift is lint's check overlays, which has looked at each stack.
	test-pipeline) T='!(drift)' ;;
	esac
	BASE=$2 "$TOP/scripts/$1.sh"
}

sum=(0 0 0)
took=()

# part PART BASE: run it, and add up what it says
part()
{
	local started=$EPOCHSECONDS log=$LOGS/$1-$2.log i

	mkdir -p "$LOGS"
	step "$1, of Linux $2"
	run "$1" "$2" | tee "$log" || :
	if [[ $(tail -n 1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		for i in 0 1 2; do
			((sum[i] += BASH_REMATCH[i + 1])) || :
		done
	else
		printf '%s\n' "error: scripts/$1.sh did not finish for Linux $2" "  log: $log" >&2
		((++sum[1]))
	fi
	took+=("$1 $2: $(((EPOCHSECONDS - started) / 60)) min")
}

for base in "${stacks[@]}"; do
	(
		unset BUILD
		BASE=$base "$TOP/scripts/tree.sh"
	) || exit 1
done
for name in lint check; do
	for base in "${stacks[@]}"; do
		part "$name" "$base"
	done
done
part test-pipeline "${stacks[0]}"
echo
printf '%s\n' "${took[@]}"
echo "${sum[0]} passed, ${sum[1]} failed, ${sum[2]} skipped"
((sum[1] == 0)) || exit 1
