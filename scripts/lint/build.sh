# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the checks that build share; source common.sh and build/common.sh first. A work tree
# of their own is moved from patch to patch.

TABLE=$TOP/scripts/conf/lint
# Files that say what is made of a kernel, and how; with which configuration; of other
# things
KBUILD_FILES='(^|/)(Makefile|Kbuild)[^/]*$|^scripts/'
KCONFIG_FILES='(^|/)Kconfig[^/]*$|^scripts/'
OTHER_FILES='^(tools/testing|samples|Documentation)/'

rows()
{
	grep -Ev '^(#|$)' "$TABLE"
}

# row NAME: a line of the table, as variables
row()
{
	local line fragment

	line=$(rows | awk -v name="$1" '$1 == name')
	[[ $line ]] || wrong "scripts/conf/lint has no configuration $1"
	read -r _ KARCH CROSS WHEN fragments <<<"$line"
	[[ $CROSS != - ]] || CROSS=
	FRAGMENTS=()
	for fragment in $fragments; do
		FRAGMENTS+=("$(fragment "$fragment")")
	done
	command -v "${CROSS}gcc" >/dev/null ||
		wrong "no compiler for $1: ${CROSS}gcc is missing" "apt-get install gcc-${CROSS%-}"
	[[ $WHEN == sparse || $WHEN == "$SERIES" ]] || export SPARSE=
}

# kbuild OUT ARG...
kbuild()
{
	make -C "$TREE" O="$1" ARCH="$KARCH" CROSS_COMPILE="$CROSS" --no-print-directory \
		CC="ccache ${CROSS}gcc" HOSTCC="ccache gcc" "${@:2}" </dev/null
}

# some_of CHANGED PATTERN: are there such files of a kernel among these?
some_of()
{
	awk -v wanted="$2" -v other="$OTHER_FILES" '
		$0 ~ wanted && $0 !~ other { found = 1 }
		END { exit !found }' <<<"$1"
}

# other_objects CHANGED: can a change of these files make other objects, or with another
# command? A configuration that comes out differently can as well.
other_objects()
{
	some_of "$1" "$KBUILD_FILES"
}

# other_config CHANGED: can a configuration come out differently?
other_config()
{
	some_of "$1" "$KCONFIG_FILES"
}

# configure OUT CHANGED: as tinyconfig does it, with the fragments of the row, unless
# that was done and a change of these files has nothing to do with it. What must come
# out is what all is about.
configure()
{
	local out=$1 symbol

	mkdir -p "$out"
	wanted_config "$TREE" "${FRAGMENTS[@]}" >"$out/wanted.new"
	! cmp -s "$out/wanted.new" "$out/wanted.config" || other_config "$2" || return 0
	rm -f "$out/wanted.config"
	kbuild "$out" -s KCONFIG_ALLCONFIG="$out/wanted.new" allnoconfig || return
	for symbol in IOMMUFD VFIO IOMMU_SUPPORT; do
		grep -q "^CONFIG_$symbol=[ym]" "$out/.config" || {
			echo "error: $symbol does not come out"
			return 1
		}
	done
	mv "$out/wanted.new" "$out/wanted.config"
}

# checkout COMMIT: in the work tree of the checks
checkout()
{
	[[ -e $TREE/.git ]] || {
		rm -rf "$TREE"
		kgit worktree prune
		kgit worktree add -q --detach "$TREE" "$1" || wrong "git worktree add failed"
	}
	[[ $(kgit -C "$TREE" rev-parse HEAD) == "$1" ]] ||
		kgit -C "$TREE" checkout -q -f --detach "$1" || wrong "git checkout failed in $TREE"
}

# targets OUT CHANGED: what to build of a kernel for these files, and what it was
# asked to build before. A folder below arch may be one that this configuration does
# not enter, so all of arch is built when a file of it has changed.
targets()
{
	{
		printf '%s\n' drivers/iommu/ drivers/vfio/
		cat "$1/targets" 2>/dev/null || :
		grep '\.[chS]$' <<<"$2" | sed -nE "s,^(arch/$KARCH|drivers/[^/]*|virt|mm|kernel|lib)/.*,\\1/,p" || :
	} | sort -u
}

# concerns OUT CHANGED: can a change of these files change what is built there?
concerns()
{
	[[ $2 ]] || return 1
	other_objects "$2" || other_config "$2" || made_of "$1" "$2"
}

# made_of OUT CHANGED: is an object made of one of these files?
made_of()
{
	grep -qxFf "$1/sources" <<<"$2"
}

# remember OUT: after make, what the compiler and sparse said of each object
remember()
{
	local out=$1

	awk -v tree="$TREE/" -v reports="$out/reports" '
		BEGIN {
			FS = "\t"
			while ((getline line < reports) > 0) {
				split(line, field, "\t")
				old[field[1]] = old[field[1]] line "\n"
			}
		}
		/^  [A-Z]+[A-Z0-9_]* +(\[M\] +)?[^ ]+$/ {
			object = $0
			sub(/.* /, "", object)
			kind = /^  CHECK / ? "sparse" : "cc"
			sub(/^\.\.\/.*\/linux\//, "", object)
			sub(tree, "", object)
			sub(/\.[a-zA-Z]+$/, "", object)
			made[object] = 1
			next
		}
		/(warning|error|WARNING|ERROR): / && object != "" {
			text = $0
			gsub(tree, "", text)
			gsub(/:[0-9]+(:[0-9]+)?:/, ":", text)
			new[object] = new[object] object "\t" kind "\t" text "\n"
		}
		END {
			for (object in old)
				if (!(object in made))
					printf "%s", old[object]
			for (object in new)
				printf "%s", new[object]
		}' "$out/log" | sort >"$out/reports.new"
	mv "$out/reports.new" "$out/reports"
	sources "$out"
}

# sources OUT: keep which files of the tree the objects are made of. What one was made
# of before may be among them.
sources()
{
	local out=$1 since=()

	[[ ! -e $out/sources ]] || since=(-newer "$out/sources")
	{
		cat "$out/sources" 2>/dev/null || :
		find "$out" -name '.*.o.cmd' "${since[@]}" -exec cat {} + |
			sed -nE "s,^ +($TREE/|(\.\./)+linux/)([^ ]*).*,\3,p; s,^source_[^ ]* := ($TREE/|(\.\./)+linux/),,p"
	} | sort -u >"$out/sources.new"
	mv "$out/sources.new" "$out/sources"
}

# sparse: the path of one that the kernel takes. Debian's stable one may be too old:
# kbuild says so in one line, and then checks nothing.
sparse()
{
	local built=$LINT/sparse/sparse dir path

	for path in "$(type -P sparse || :)" "$built"; do
		[[ ! -x $path ]] || ! takes_sparse "$path" || { echo "$path"; return; }
	done
	dir=$("$TOP/scripts/fetch/deb" -s sid sparse:source) ||
		wrong "the sparse that is installed is none or too old, and there is no newer one" \
			"see above, or install sparse 0.6.5 or newer" >&2
	rm -rf "$LINT/sparse"
	cp -r "$dir/source" "$LINT/sparse"
	make -C "$LINT/sparse" -j"$JOBS" CC=gcc sparse >"$LINT/sparse.log" 2>&1 ||
		wrong "sparse does not build: $LINT/sparse.log" "install sparse 0.6.5 or newer" >&2
	takes_sparse "$built" || wrong "the kernel does not take this sparse: $("$built" --version)" \
		"install a newer one" >&2
	echo "$built"
}

# takes_sparse PATH: by the kernel's own test
takes_sparse()
{
	[[ $("$LINUX/scripts/checker-valid.sh" "$1") == 1 ]]
}
