#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Run the tests of the pipeline itself: each executable in scripts/tests, or
# those named, as many at a time as there are processors. Each prints TAP, and
# writes only to a folder of its own or to one that a script locks. The last
# line counts their results.

. "${BASH_SOURCE[0]%/*}/lib/common.sh"

# show NAME LOG: TAP to one line a result, as they come. A test that stops short
# of its plan, or that fails without a word, is a failure of its own.
# Each result is one word a line in $RESULTS as well.
show()
{
	"${AWK[@]}" -v name="$1" -v log_file="$2" -v results="$RESULTS" '
		function result(word, text) {
			printf "%-16s %-5s %s\n", name, word, text
			if (word == "FAIL" && !failed++)
				printf "%-16s       log: %s\n", name, log_file
			fflush()
			print word >> results
		}
		{ text = $0; sub(/^(not )?ok [0-9]+ (- )?/, "", text) }
		/^ok .*# SKIP/	{ seen++; result("skip", text); next }
		/^ok /		{ seen++; result("ok", text); next }
		/^not ok /	{ seen++; result("FAIL", text); next }
		/^# /		{ if (failed) printf "%-16s       %s\n", name, $0; next }
		/^1\.\.[0-9]+/	{ planned = substr($1, 4) + 0; next }
		/^exit /	{ status = $2; next }
		END {
			if (!planned || planned != seen)
				result("FAIL", "ended after " seen + 0 " results of " planned + 0)
			else if (status && !failed)
				result("FAIL", "exit status " status)
		}'
}

# mawk waits for 4 KiB of input if it is not told that somebody is watching.
AWK=(awk)
[[ $(awk -W version 2>&1 </dev/null) != mawk* ]] || AWK+=(-W interactive)

# What the user chose is not for the tests: each gives the scripts its own.
unset ALL APPEND ARCH BASE FROM GDB GROUP KDIR P ROW RUN SAVE SERIES T

cd "$TOP/scripts/tests"
names=("$@")
(($#)) || mapfile -t names < <(find . -maxdepth 1 -type f -executable -printf '%f\n' | sort)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
RESULTS=$scratch/results
mkdir -p "$BUILD/log/tests" "$scratch/seconds"

# one NAME: run a test and show it
one()
{
	local name=$1 log=$BUILD/log/tests/$1.log started=$EPOCHSECONDS

	{
		status=0
		"./$name" 2>&1 </dev/null || status=$?
		echo "exit $status"
	} | tee "$log" | show "$name" "$log"
	echo $((EPOCHSECONDS - started)) >"$scratch/seconds/$name"
}

step "testing the pipeline itself: ${names[*]}"
for name in "${names[@]}"; do
	while (($(jobs -rp | wc -l) >= JOBS)); do
		wait -n || :
	done
	one "$name" &
done
wait
took=()
for name in "${names[@]}"; do
	if [[ -s $scratch/seconds/$name ]]; then
		took+=("$name $(<"$scratch/seconds/$name")")
	else
		printf '%-16s %-5s %s\n' "$name" FAIL "came to no end"
		echo FAIL >> "$RESULTS"
	fi
done
printf '%s, ' "${took[@]}" | sed 's/^/seconds: /; s/, $/\n/'

count()
{
	grep -cx "$1" "$RESULTS" || :
}

echo "$(count ok) passed, $(count FAIL) failed, $(count skip) skipped"
(($(count FAIL) == 0)) || exit 1
