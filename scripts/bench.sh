#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# bench - what the series do to the time that DMA memory takes, in guest
# instructions, written to Documentation/performance.rst and growth.svg
#
# The same program (bench/bench.c) runs on the pinned kernel, on it with
# noiommu-cdev, with iova-extents on top, and on a kernel that has merged the
# noiommu mode.

. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/build/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"

OUT=$BUILD/bench
PAGE=$TOP/Documentation/performance.rst
PLOT=$TOP/Documentation/growth.svg
FIGURES=$OUT/figures
# A Debian package of a kernel that has a noiommu mode of the cdev itself
MAINLINE_SUITE=experimental
MAINLINE_PACKAGE=linux-source-7.3
export RUNS=$TOP/scripts/conf/bench.cfg

# The branches of the kernel tree share one work tree and its kernels: going from one
# to the next builds what differs.
checkout()
{
	local dir=$OUT/series/linux

	if [[ ! -e $dir/.git ]]; then
		kgit worktree prune
		kgit worktree add -q --detach "$dir" "$1"
	fi
	git -C "$dir" checkout -q --detach "$1"
}

# The program is the same for all, built with the newest headers
build_program()
{
	local headers=$OUT/headers

	make -s -C "$LINUX" O="$headers" ARCH=x86 headers &&
	gcc -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static \
		-isystem "$headers/usr/include" -I"$TOP/include-overlay" \
		-o "$OUT/bench" "$TOP/scripts/bench/bench.c"
}

# figures_of DIR NAME RUN: boot it, and print what it measured
figures_of()
{
	BUILD=$OUT/$1 "$TOP/scripts/run/guest" "$3" >&2 ||
		die "$2: the run $3 failed" "$OUT/$1/runs/$3/ktap.log"
	sed -n "s/^# figure /$2 /p" "$OUT/$1/runs/$3/ktap.log"
}

# measure DIR NAME FLAVOUR RUN...: build the kernel of the tree DIR, boot its runs
measure()
{
	local dir=$1 name=$2 flavour=$3
	local programs=$OUT/$dir/selftests/x86_64/install/examples run

	shift 3
	mkdir -p "$programs"
	cp "$OUT/bench" "$programs/"
	BUILD=$OUT/$dir "$TOP/scripts/build/kernel" "$flavour"
	BUILD=$OUT/$dir "$TOP/scripts/build/initramfs" x86_64
	step "measure $name"
	for run; do
		figures_of "$dir" "$name" "$run" >> "$FIGURES.new"
	done
}

# The source of MAINLINE_PACKAGE as a git tree, which build/kernel wants. A
# function that "if" calls has no errexit.
import_mainline()
{
	local dir=$OUT/mainline/linux package tarball

	[[ ! -e $dir/.git/complete ]] || return 0
	package=$("$TOP/scripts/fetch/deb" -s "$MAINLINE_SUITE" "$MAINLINE_PACKAGE") || return
	tarball=$package/usr/src/$MAINLINE_PACKAGE.tar.xz
	rm -rf "$dir"
	git init -q --template= -b base "$dir" &&
	import_source "$dir" "$tarball" '' "$MAINLINE_PACKAGE" &&
	git -C "$dir" reset -q --hard &&
	touch "$dir/.git/complete"
}

# A kernel that cannot be had is no column of the tables. One that cannot be
# built or measured is a failure.
measure_mainline()
{
	local version

	if ! import_mainline; then
		note "no $MAINLINE_PACKAGE of Debian $MAINLINE_SUITE: the tables are without it"
		return
	fi
	version=$(make -s -C "$OUT/mainline/linux" kernelversion)
	others+=" ${version/.0-/-}"
	# It need not have every symbol of the fragments, as the pinned kernel does
	PARTIAL=1 measure mainline "${others##* }" x86_64-bench-mainline \
		bench-mainline-noiommu bench-mainline-vtd
}

# One kernel has the same figures each time, to the last digit
check_repeats()
{
	step "measure iova-extents again"
	figures_of series iova-extents bench-noiommu > "$OUT/again"
	diff <(grep '^iova-extents \(noiommu\|wait\|array\) ' "$FIGURES.new") "$OUT/again" > "$OUT/differ" ||
		die "two runs of one kernel have different figures" "$OUT/differ" \
		"find out what of the host's reaches the guest, see scripts/conf/bench.cfg"
}

[[ $(commit_of refs/heads/noiommu-extents) ]] ||
	die "make bench measures the series of Linux 7.1.3, this is the stack of $BASE" "" "make bench BASE=7.1.3"
mkdir -p "$OUT"
need_space "$OUT" 10240 "the kernels"
logged "$BUILD/log/bench-program.log" "build the program" build_program
rm -f "$FIGURES.new"
others=$BASE
checkout base
measure series "$others" x86_64-bench-stock bench-stock-vtd
# The extents are in two series, by the tree that takes them
for series in noiommu-cdev iova-extents; do
	checkout "${series/iova-extents/noiommu-extents}"
	measure series "$series" x86_64-bench bench-noiommu bench-vtd
done
check_repeats
measure_mainline
mv "$FIGURES.new" "$FIGURES"

awk -v others="$others" -f "$TOP/scripts/bench/tables.awk" "$FIGURES" "$PAGE" > "$OUT/performance.rst"
mv "$OUT/performance.rst" "$PAGE"
gnuplot -e "figures='$FIGURES'; plot='$OUT/growth.svg'" "$TOP/scripts/bench/growth.gnuplot"
mv "$OUT/growth.svg" "$PLOT"
for table in summary forms; do
	awk -v table="$table" '/^\.\. begin: / { show = $3 == table; next } /^\.\. end: / { show = 0 } show' "$PAGE"
done
step "Documentation/performance.rst and growth.svg are written"
