#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# bench - what the series of a stack do to the time that DMA memory takes, in guest
# instructions, written to Documentation/performance.rst and growth.svg
#
# The same program (bench/bench.c) runs on the stack's kernel without the series, the
# column "mainline", and with all of them, "series". The page is that of the newest
# stack; another one prints its tables only. What was measured before is kept by
# what it is made of.
#
# AT="COMMIT...", commits or branches of the kernel tree, compares these instead and
# prints the tables. QUICK=1 leaves out what is larger than 256 MiB; then too nothing is
# written.

. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/build/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"

OUT=$BUILD/bench
PAGE=$TOP/Documentation/performance.rst
PLOT=$TOP/Documentation/growth.svg
FIGURES=$OUT/figures
AT=${AT:-}
QUICK=${QUICK:-}
export RUNS=$TOP/scripts/conf/bench.cfg

# The commits of the kernel tree share one work tree and its kernels: going from one
# to the next builds what differs.
checkout()
{
	local dir=$OUT/linux

	# It has no repository any more if the tree it is of was made again.
	if [[ ! -e $dir/.git ]] || ! git -C "$dir" rev-parse -q --git-dir > /dev/null 2>&1; then
		rm -rf "$dir"
		kgit worktree prune
		kgit worktree add -q --detach "$dir" "$1"
	fi
	git -C "$dir" checkout -q --detach "$1"
}

# The program is the same for all, built with the headers of the newest commit. What is
# traced has a section, hence an address, of its own. That for POWER counts calls.
build_program()
{
	local arch=$1 headers=$OUT/headers/$1 program=bench

	[[ $arch != ppc64le ]] || program=calls

	arch_vars "$arch"
	make -s -C "$LINUX" O="$headers" ARCH="$KARCH" CROSS_COMPILE="$CROSS_COMPILE" headers &&
		mkdir -p "$OUT/selftests/$arch/install/examples" &&
		: > "$OUT/selftests/$arch/install/kselftest-list.txt" &&
		"${CROSS_COMPILE}gcc" -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static \
			-Wl,--section-start=.trace=0x70000000 \
			-isystem "$headers/usr/include" -I"$TOP/include-overlay" \
			-o "$OUT/selftests/$arch/install/examples/$program" "$TOP/scripts/bench/$program.c"
}

# has_noiommu COMMIT: does its cdev have a noiommu mode?
has_noiommu()
{
	kgit grep -q IOMMU_IOAS_NOIOMMU_GET_PA "$1" -- include/uapi/linux/iommufd.h
}

# has_spapr COMMIT: has it the container for sPAPR in iommufd, as a program for POWER wants?
has_spapr()
{
	kgit cat-file -e "$1:drivers/iommu/iommufd/vfio_compat_spapr.c" 2> /dev/null
}

# figures_of RUN: boot it, and print what it measured
figures_of()
{
	local log=$OUT/runs/$1/ktap.log

	if [[ $1 == *-trace* ]]; then
		BUILD=$OUT "$TOP/scripts/bench/trace.py" "$1" "$OUT/traced" ||
			die "the run $1 failed" "$log"
		cat "$OUT/traced"
	else
		BUILD=$OUT "$TOP/scripts/run/one" "$1" >&2 || die "the run $1 failed" "$log"
		sed -n "s/^# figure //p" "$log"
	fi
}

# runs_of COMMIT: a line for each run, after its architecture and its kernel. The last one
# is measured twice, so it is one of which instructions are counted.
runs_of()
{
	local stock=

	if has_spapr "$1"; then
		echo ppc64le ppc64le-calls bench-pseries
		echo ppc64le ppc64le-calls bench-powernv9
		echo ppc64le ppc64le-4k-calls bench-pseries-4k
		echo ppc64le ppc64le-4k-calls bench-powernv9-4k
	fi
	if has_noiommu "$1"; then
		echo x86_64 x86_64-bench bench-noiommu
		echo x86_64 x86_64-bench bench-trace
	else
		stock=-stock
		echo x86_64 x86_64-bench-stock bench-stock-trace-vtd
	fi
	echo x86_64 "x86_64-bench$stock" "bench$stock-vtd"
	echo x86_64 "x86_64-bench$stock" "bench$stock-dma"
	echo aarch64 "aarch64-bench$stock" "bench$stock-smmu"
	echo aarch64 "aarch64-bench$stock" "bench$stock-smmu-dma"
}

# check_asked: refuse what AT= and RUN= cannot mean, before anything is built
check_asked()
{
	local commit runs run

	for commit in "${commits[@]}"; do
		[[ $(commit_of "$commit") ]] || die "AT=$commit: the kernel tree has no such commit" "" \
			"a commit or branch of $TREE_NAME, such as: base $(listed_series | paste -sd' ')"
	done
	[[ ${RUN:-} ]] || return 0
	runs=$(for commit in "${commits[@]}"; do runs_of "$(commit_of "$commit")"; done | cut -d' ' -f3 | sort -u)
	for run in $runs; do
		# shellcheck disable=SC2053	# a pattern
		[[ $run != $RUN ]] || return 0
	done
	die "RUN=$RUN: these kernels have no guest of that name" "" "one of: ${runs//$'\n'/ }"
}

# measure COLUMN COMMIT: build its kernels, boot its runs, unless that was done
measure()
{
	local column=$1 commit=$2 arch flavour run key file

	mkdir -p "$OUT/measured"
	while read -r arch flavour run; do
		# shellcheck disable=SC2053	# a pattern
		[[ ! ${RUN:-} || $run == $RUN ]] || continue
		key=$(
			{
				echo "$run$QUICK"
				kgit ls-tree "$commit" | grep -vP '\t(Documentation|tools)$'
				cat "$TOP"/scripts/bench/*.{c,py} "$RUNS" "$TOP"/scripts/conf/{kernels,arches.cfg,config/*} \
					"$TOP"/scripts/{run/{qemu,initrd}.py,guest/*.[ch],build/{common.sh,kernel,initramfs}}
			} | sha256sum | cut -c 1-24
		)
		file=$OUT/measured/$run-$key
		if [[ ! -e $file ]]; then
			checkout "$commit"
			BUILD=$OUT "$TOP/scripts/build/kernel" "$flavour" || exit 1
			BUILD=$OUT "$TOP/scripts/build/initramfs" "$arch" || exit 1
			step "measure $column: $run"
			APPEND=${QUICK:+QUICK=1} figures_of "$run" > "$file.new"
			mv "$file.new" "$file"
		fi
		sed "s/^/$column /" "$file" >> "$FIGURES.new"
		last=$file
	done < <(runs_of "$commit")
}

# One kernel has the same figures each time, to the last digit
check_repeats()
{
	step "measure the last run again"
	figures_of "$(basename "${last%-*}")" > "$OUT/again"
	diff "$last" "$OUT/again" > "$OUT/differ" ||
		die "two runs of one kernel have different figures" "$OUT/differ" \
			"find out what of the host's reaches the guest, see scripts/conf/bench.cfg"
}

newest=$(commit_of "refs/heads/$(listed_series | tail -n 1)")
read -ra commits <<< "${AT:-refs/heads/base $newest}"
check_asked
mkdir -p "$OUT"
need_space "$OUT" 10240 "the kernels"
for arch in $(runs_of "$newest" | cut -d' ' -f1 | sort -u); do
	logged "$BUILD/log/bench-program-$arch.log" "build the program for $arch" build_program "$arch"
done
rm -f "$FIGURES.new"
columns=
if [[ $AT ]]; then
	for commit in $AT; do
		measure "$commit" "$(commit_of "$commit")"
		columns+=" $commit"
	done
else
	columns=' mainline series'
	measure mainline "$(commit_of refs/heads/base)"
	measure series "$newest"
fi
mv "$FIGURES.new" "$FIGURES"

tables()
{
	awk -v columns="${columns# }" -v version="$BASE" -f "$TOP/scripts/bench/tables.awk" "$FIGURES" "$PAGE"
}

if [[ ! $AT$QUICK${RUN:-} && $BASE == "$(stacks | sort -V | tail -n 1)" ]]; then
	check_repeats
	tables > "$OUT/performance.rst"
	mv "$OUT/performance.rst" "$PAGE"
	gnuplot -e "figures='$FIGURES'; plot='$OUT/growth.svg'" "$TOP/scripts/bench/growth.gnuplot"
	sed -f "$TOP/scripts/bench/themes.sed" "$OUT/growth.svg" > "$OUT/growth.new"
	mv "$OUT/growth.new" "$PLOT"
	tables | awk '/^\.\. begin: / { show = $3 == "summary" } /^\.\. end: / { show = 0 } show'
	step "Documentation/performance.rst and growth.svg are written"
else
	tables | awk '/^\.\. begin: / { show = 1 } /^\.\. end: / { show = 0 } show'
fi
