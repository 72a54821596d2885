#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# lint - all that can be said of the patches without running them: each check of
# scripts/lint/checks, for each patch and each series
#
# Environment: P=N for one patch of SERIES=; P=SERIES/N says both, and SERIES= alone takes
# all patches of that one. T=PATTERN chooses checks, ROW=PATTERN configurations to build.
#
# A series is checked on its home, which is the newest stack that lists it. On another one
# it is only applied, for those after it. Without BASE= the stack is the home of SERIES=,
# or the default one.

GIVEN=${BASE:-}
. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"

P=${P:-}
T=${T:-*}
KDIR=${KDIR:-}
# Seconds after which one is told what is being waited for
PATIENCE=${PATIENCE:-60}
SERIES=${SERIES:-}
series=$SERIES
[[ $SERIES || $P != */* ]] || series=${P%/*}
if [[ $series ]]; then
	home=$(home_of "$series")
	[[ $home ]] || die "there is no series $series" "" \
		"one of: $(for base in $(stacks); do listed_patches "$base"; done | awk -F/ '!seen[$1]++ { print $1 }' | paste -sd' ')"
	[[ $GIVEN ]] || take_stack "$home"
fi
. "${BASH_SOURCE[0]%/*}/lint/common.sh"
. "${BASH_SOURCE[0]%/*}/lint/build.sh"
RESULTS=$LINT/results

# The columns. The checks of a track run one after the other, as they share a
# work tree, unit by unit; the tracks run side by side, each as fast as it can.
TRACKS=(
	'build sparse kernel'
	'coccinelle'
	'apply overlays'
	'checkpatch tags maintainers'
	'kernel-doc sphinx'
)

# series_here: those of this stack that are at home on it
series_here()
{
	homes | awk -v base="$BASE" '$2 == base { print $1 }'
}

# units: all there is to check, a line each: KIND UNIT SERIES PARENT COMMIT PATCH START,
# where START is what the series is on top of
units()
{
	local series parent base commit patch nr here

	here=" $(series_here | paste -sd' ') "
	parent=$(commit_of base)
	for series in $(listed_series); do
		base=$parent
		parent=$(commit_of "refs/pipeline/applied/$series")
		[[ $here == *" $series "* ]] || continue
		commits "$series" "$base"
		echo "series $series/0 $series $base $parent $PATCHES/$series/0000-cover-letter.patch $base"
	done
	base=$(commit_of base)
	echo "all all $series $base $parent - $base"
}

# commits SERIES BASE: the units that are its patches
commits()
{
	local parent=$2 commit patch nr=0

	while read -r commit patch; do
		echo "patch $1/$((++nr)) $1 $parent $commit $PATCHES/$patch $2"
		parent=$commit
	done < <(kgit rev-list --reverse "$2..refs/pipeline/applied/$1" | paste -d' ' - <(patches_of "$1"))
}

# choose: of all units those that P= and SERIES= ask for
choose()
{
	local series=$SERIES unit=$P here home list

	here=$(series_here | paste -sd' ')
	if [[ $P == */* ]]; then
		[[ ${SERIES:-${P%/*}} == "${P%/*}" ]] || die "P=$P is not of SERIES=$SERIES" "" "leave one of them out"
		series=${P%/*}
	elif [[ $P && $P != all ]]; then
		[[ $series || $here != *' '* ]] || die "P=$P: there is more than one series here" "" \
			"make lint SERIES=NAME P=$P, NAME is one of: $here"
		series=${series:-$here}
		unit=$series/$P
	fi
	[[ $P =~ ^(all|0|[1-9][0-9]*|.*/[0-9]+|)$ ]] ||
		die "P=$P is no number of a patch" "" "P=N with SERIES=NAME, P=NAME/N, or P=all"
	if [[ $series && " $here " != *" $series "* ]]; then
		home=$(home_of "$series")
		die "the series $series is checked on its home, Linux $home" "" "make lint SERIES=$series BASE=$home"
	fi
	units | awk -v unit="$unit" -v series="$series" '
		unit != "" ? $2 == unit : series == "" || $1 != "all" && $3 == series' > "$LINT/units.new"
	[[ -s $LINT/units.new ]] || die "there is no such patch: P=$P" "" \
		"all, or one of: $(units | awk -v series="$series" '$1 != "all" && $3 == series { print $2 }' | paste -sd' ')"
	mv "$LINT/units.new" "$LINT/units"
}

# run_check NAME: for the unit in the environment. Its line in the results has
# the check, the unit, the result, seconds, seconds of processor time, the log.
run_check()
{
	local log=$LINT/log/${UNIT//\//-}.$1.log status=0 result times
	local TIMEFORMAT='%R %U %S'

	export WORK=$LINT/$1
	mkdir -p "$WORK"
	times=$({
		time "$TOP/scripts/lint/checks/$1" > "$log" 2>&1 < /dev/null
	} 2>&1) || status=$?
	case $status in
	0) result=ok ;;
	"$NOT_CONCERNED") result=- ;;
	*) result=FAIL ;;
	esac
	((status <= 128)) || echo "signal $((status - 128)) ended the check" >> "$log"
	awk -v check="$1" -v unit="$UNIT" -v result=$result -v log_file="${log#"$TOP/"}" \
		'{ printf "%s\t%s\t%s\t%.1f\t%.1f\t%s\n", check, unit, result, $1, $2 + $3, log_file }' \
		<<< "${times##*$'\n'}" >> "$RESULTS"
}

# run_track CHECK...: for the units on stdin
run_track()
{
	local check

	while read -r KIND UNIT SERIES PARENT COMMIT PATCH START; do
		export KIND UNIT SERIES PARENT COMMIT PATCH START
		for check; do
			[[ " ${CHECKS[*]} " != *" $check "* ]] || run_check "$check"
		done
	done
}

# finished: the checks of the unit that have a result, a line each
finished()
{
	awk -F'\t' -v unit="$UNIT" '$2 == unit { print $1 }' "$RESULTS"
}

# wait_for_unit: until all its checks have a result, or nobody is left to give one. The
# first builds take minutes.
wait_for_unit()
{
	local shown=$EPOCHSECONDS

	until (($(finished | wc -l) == ${#CHECKS[@]})); do
		kill -0 "${pids[@]}" 2> /dev/null || break
		sleep 0.5
		((EPOCHSECONDS - shown < PATIENCE)) || {
			shown=$EPOCHSECONDS
			show_wait
		}
	done
}

# show_wait: which checks the unit's line waits for, and which configurations are being
# built meanwhile
show_wait()
{
	local left folder rows=()

	left=$(comm -23 <(printf '%s\n' "${CHECKS[@]}" | sort) <(finished | sort) | paste -sd' ')
	for folder in "$LINT"/o/*/; do
		[[ ! -d $folder || -e $folder/state ]] || rows+=("$(basename "$folder")")
	done
	step "$UNIT waits for: $left${rows:+, being built: ${rows[*]}}"
}

# A unit's line of the matrix, and what failed below it
show_unit()
{
	awk -F'\t' -v unit="$UNIT" -v checks="${CHECKS[*]}" '
		$2 == unit { result[$1] = $3; seconds += $5; log_file[$1] = $6 }
		END {
			n = split(checks, check, " ")
			line = sprintf("%-20s", unit)
			for (i = 1; i <= n; i++) {
				# A check that left nothing did not finish.
				cell = check[i] in result ? result[check[i]] : "FAIL"
				line = line sprintf(" %-" length(check[i]) "s", cell)
			}
			printf "%s %5d\n", line, seconds
			for (i = 1; i <= n; i++)
				if (result[check[i]] !~ /^(ok|-)$/)
					print "  FAIL " check[i] ": " log_file[check[i]]
		}' "$RESULTS"
	awk -F'\t' -v unit="$UNIT" '$2 == unit && $3 == "FAIL" { print $6 }' "$RESULTS" |
		while read -r log; do
			head -n 12 "$TOP/$log" | cut -c 1-200 | sed 's/^/       | /'
		done
}

# The processor time of each check, and the verdict as JSON
show_sums()
{
	awk -F'\t' -v checks="${CHECKS[*]}" '
		{ cpu[$1] += $5; all += $5 }
		END {
			n = split(checks, check, " ")
			line = sprintf("%-20s", "processor seconds")
			for (i = 1; i <= n; i++)
				line = line sprintf(" %-" length(check[i]) "d", cpu[check[i]])
			printf "%s %5d\n", line, all
		}' "$RESULTS"
	mkdir -p "$BUILD/report"
	awk -F'\t' '
		BEGIN { print "[" }
		NR > 1 { print "," }
		{
			printf " {\"check\": \"%s\", \"patch\": \"%s\", \"result\": \"%s\", ", $1, $2,
				$3 == "ok" ? "pass" : $3 == "-" ? "not concerned" : "fail"
			printf "\"seconds\": %s, \"cpu_seconds\": %s, \"log\": \"%s\"}", $4, $5, $6
		}
		END { print "\n]" }' "$RESULTS" > "$BUILD/report/lint.json"
	echo "report: ${BUILD#"$TOP/"}/report/lint.json"
}

# show_rows: what each configuration took of the time of the builds
show_rows()
{
	[[ -s $LINT/spent ]] || return 0
	awk '{ cpu[$1] += $2 + $3 } END { for (row in cpu) printf "%s %d\n", row, cpu[row] }' "$LINT/spent" |
		sort -k 2nr | paste -sd, | sed 's/,/, /g; s/^/processor seconds of the configurations: /'
}

# number RESULT: how many had it. One that is missing counts as failed.
number()
{
	awk -F'\t' -v result="$1" '$3 == result' "$RESULTS" | wc -l
}

# wrong_rows: what is wrong with the table
wrong_rows()
{
	awk '
		/^(#|$)/ { next }
		$1 == "when" { named[$2]; next }
		seen[$1]++ { print "the row " $1 " is there twice" }
		NF < 5 { print "the row " $1 " has no fragments" }
		$3 != "kernel" && !($3 in named) { print "the row " $1 " is built when " $3 ", and there is no such line" }
		' "$TOP/scripts/conf/lint"
}

# compilers: of the architectures of the table the kernel's name and the compiler's
# prefix, for $LINT/compilers, as to read the other table takes longer
compilers()
{
	local arch

	awk '!/^(#|$)/ && $1 != "when" && !seen[$2]++ { print $2 }' "$TOP/scripts/conf/lint" |
		while read -r arch; do
			use_arch "$arch"
			echo "$arch $KARCH $CROSS_COMPILE"
		done
}

CHECKS=()
read -ra all <<< "${TRACKS[*]}"
in_no_track=$(comm -23 <(ls "$TOP/scripts/lint/checks") <(printf '%s\n' "${all[@]}" | sort) | paste -sd' ')
[[ ! $in_no_track ]] || die "scripts/lint/checks has what no track runs: $in_no_track" "" "add it to TRACKS in scripts/lint.sh"
for check in "${all[@]}"; do
	# shellcheck disable=SC2053	# T is a pattern
	[[ $check != $T ]] || CHECKS+=("$check")
done
[[ ! $KDIR ]] || git -C "$KDIR" -c safe.directory='*' rev-parse -q --git-dir > /dev/null 2>&1 ||
	die "KDIR=$KDIR is no git tree" "" "name a clone of the kernel's own repository, or leave KDIR= out"
((${#CHECKS[@]})) || die "no check matches T=$T" "" "one of: ${TRACKS[*]}"
wrong=$(wrong_rows)
[[ ! $wrong ]] || die "scripts/conf/lint: ${wrong//$'\n'/; }" "" "its first lines say what a row has"
[[ $(rows '*') ]] || die "no configuration matches ROW=$ROW" "" "one of: $(ROW='*' rows '*' | paste -sd' ')"
"$TOP/scripts/tree.sh" || exit
mkdir -p "$LINT/log"
lock "$LINT/lock" "another lint in this clone"
compilers > "$LINT/compilers" || exit
keep_work moved_branches "$TREE_NAME has commits that are not in patches/" "make refresh: the patches are what is checked"

choose
list=$(< "$LINT/units")
rm -f "$LINT/log"/*.log "$LINT/spent"
: > "$RESULTS"
step "checking $(grep -c ^patch <<< "$list" || :) patches: ${CHECKS[*]}"
pids=()
for track in "${TRACKS[@]}"; do
	# shellcheck disable=SC2086	# a word a check
	run_track $track <<< "$list" &
	pids+=($!)
done
printf '\n%-20s %s   cpu\n' "patch, seconds" "${CHECKS[*]}"
while read -r _ UNIT _; do
	[[ ! -t 1 ]] || printf '%s ...\r' "$UNIT"
	wait_for_unit
	show_unit
done <<< "$list"
wait
show_sums
show_rows
step "checked"

missing=$((${#CHECKS[@]} * $(wc -l <<< "$list") - $(wc -l < "$RESULTS")))
((missing == 0)) || echo "$missing checks did not finish"
failed=$(($(number FAIL) + missing))
echo "$(number ok) passed, $failed failed, 0 skipped"
((failed == 0)) || exit 1
