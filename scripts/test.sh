#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Everything that can be tested here: the patches without running them, all guest
# runs, and the pipeline itself. The last line sums them up. A part that ends without
# its own last line has failed, whatever it printed before.
#
# The checks that build each patch in each configuration are left to make lint: they
# take nearly as long as all the rest.

. "${BASH_SOURCE[0]%/*}/lib/common.sh"

export ALL=1

# run PART
run()
{
	case $1 in
	lint)	T='!(build|sparse|kernel)' "$TOP/scripts/lint.sh" ;;
	*)	"$TOP/scripts/$1.sh" ;;
	esac
}

sum=(0 0 0)
took=()
for part in lint check test-pipeline; do
	started=$EPOCHSECONDS
	log=$BUILD/log/$part.log
	mkdir -p "${log%/*}"
	run "$part" | tee "$log" || :
	if [[ $(tail -n 1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		for i in 0 1 2; do
			((sum[i] += BASH_REMATCH[i + 1])) || :
		done
	else
		echo "error: scripts/$part.sh came to no end" >&2
		((++sum[1]))
	fi
	took+=("$part $(((EPOCHSECONDS - started) / 60)) min")
done
echo
printf '%s\n' "${took[@]}"
echo "${sum[0]} passed, ${sum[1]} failed, ${sum[2]} skipped"
((sum[1] == 0)) || exit 1
