#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test-pipeline [TEST...] - run the tests of the pipeline itself: the executables in
# scripts/tests, each of which prints TAP, or those named, or those that T=PATTERN
# matches; those in scripts/tests/slow only run when the pattern says slow/
#
# As many run at a time as there are processors, so a test writes only to a folder of
# its own, or to one that a script locks. The last line counts their results.

. "${BASH_SOURCE[0]%/*}/lib/common.sh"

cd "$TOP/scripts/tests"
depth=1
[[ ${T:-} != */* ]] || depth=2
mapfile -t all < <(find . -maxdepth $depth -type f -executable -printf '%P\n' | sort)
names=("$@")
(($#)) || for name in "${all[@]}"; do
	# shellcheck disable=SC2053	# T is a pattern
	[[ $name != ${T:-*} ]] || names+=("$name")
done
((${#names[@]})) || die "no test matches T=${T:-}" "" "one of: ${all[*]}; or with T='slow/*': $(cd slow && echo *)"
for name in "${names[@]}"; do
	[[ -x $name ]] || die "there is no test $name" "" "one of: ${all[*]}"
done

# What the user chose is not for the tests: each gives the scripts its own.
unset ALL APPEND ARCH BASE FROM GDB GROUP KDIR P ROW RUN SAVE SERIES T WITHOUT_GROUP

step "testing the pipeline itself: ${names[*]}"
# Where prove writes what a test said, below its path
export PERL_TEST_HARNESS_DUMP_TAP=$BUILD/log
mkdir -p "$BUILD/log/tests"
cd ..
PERL5LIB=$TOP/scripts/tests exec prove --formatter Verdict --jobs "$JOBS" --timer --merge --failures --comments \
	"${names[@]/#/tests/}" < /dev/null
