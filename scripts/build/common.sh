# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the scripts that build from the kernel tree share; source lib/common.sh first.

# make and the shells that it starts take these for their own, and the kernel's
# Makefiles quote no path.
SPECIAL=$'[][&|#%\'"`$;<>(){}*?!^\\\\]'
# shellcheck disable=SC2053	# a pattern
[[ $TOP != *$SPECIAL* ]] ||
	die "the path $TOP has a character that the kernel's build cannot take" "" \
		"move this clone: make tree and make refresh work here, what builds does not"

# arch_vars ARCH: use_arch, and there is a compiler
arch_vars()
{
	use_arch "$1"
	command -v "${CROSS_COMPILE}gcc" > /dev/null ||
		die "no compiler for $1: ${CROSS_COMPILE}gcc is missing" "" \
			"scripts/fetch/packages $1"
}

# kmake TREE ARG...: its make for KARCH, with objects from the cache of compilers
kmake()
{
	make -C "$1" ARCH="$KARCH" CROSS_COMPILE="$CROSS_COMPILE" \
		CC="ccache ${CROSS_COMPILE}gcc" HOSTCC="ccache gcc" "${@:2}"
}

# selftests COLUMN: of scripts/conf/selftests, 1 for the folders, 2 for the libraries
selftests()
{
	awk -F'\t+' -v column="$1" '/^[^#]/ && $column != "" { print $column }' "$TOP/scripts/conf/selftests"
}

# busybox_path ARCH: a static busybox for the guest; after arch_vars
busybox_path()
{
	local path

	path=$(command -v busybox) || path=busybox
	if [[ ! $DEBIAN ]]; then
		"$TOP/scripts/build/busybox" "$1" >&2 || exit "$REPORTED"
		path=$BUILD/busybox/$1/busybox
	elif [[ $(uname -m) != "$1" ]]; then
		path=$(debian_package busybox-static) || exit "$REPORTED"
		path=$(find "$path" -path '*/bin/busybox')
	elif [[ ! -x $path ]] || ldd "$path" > /dev/null 2>&1; then
		die "no static busybox for $1" "" "install it; Debian has it as busybox-static"
	fi
	echo "$path"
}

# debian_package PACKAGE: the folder of one of the architecture's; after arch_vars
debian_package()
{
	"$TOP/scripts/fetch/deb" ${SUITE:+-s "$SUITE"} "$1:$DEBIAN"
}

# flavour_vars FLAVOUR: its architecture, branch if any and fragments, from the table.
# FLAVOUR.gdb is the same with what a debugger needs.
flavour_vars()
{
	local name wanted=${1%.gdb}

	# shellcheck disable=SC2034	# for the caller
	while read -r name ARCH FRAGMENTS; do
		BRANCH=
		[[ $FRAGMENTS != @* ]] || read -r BRANCH FRAGMENTS <<< "${FRAGMENTS#@}"
		[[ $name == "$wanted" ]] || continue
		[[ $wanted == "$1" ]] || FRAGMENTS+=" gdb"
		return
	done < <(grep -v '^#' "$TOP/scripts/conf/kernels")
	die "no kernel flavour $wanted" "" "scripts/conf/kernels names those that exist"
}

# fragment NAME [SUFFIX]: the file of a fragment of a configuration. NAME@7.3.config is
# taken in place of NAME.config with the stacks of kernels 7.3.y.
fragment()
{
	local version=$BASE path

	while path=$TOP/scripts/conf/config/$1@$version.${2:-config} && [[ ! -e $path ]]; do
		[[ $version == *.* ]] || {
			path=$TOP/scripts/conf/config/$1.${2:-config}
			break
		}
		version=${version%.*}
	done
	echo "$path"
}

# merge_config TREE OUT FRAGMENT...: OUT/.config from what tinyconfig asks for and the
# fragments, of which a later one is right; with KARCH and CROSS_COMPILE set. The kernel's
# script warns in OUT/merge.log of what does not come out.
merge_config()
{
	local tiny=("$1"/kernel/configs/tiny{-base,}.config)

	[[ ! -e $1/arch/$KARCH/configs/tiny.config ]] || tiny+=("$1/arch/$KARCH/configs/tiny.config")
	mkdir -p "$2"
	(
		cd "$1" &&
			ARCH=$KARCH MAKEFLAGS="s -- CC=ccache\\ ${CROSS_COMPILE}gcc HOSTCC=ccache\\ gcc" \
				scripts/kconfig/merge_config.sh -n -Q -O "$2" "${tiny[@]}" "${@:3}"
	) > "$2/merge.log"
}

# branch_tree BRANCH: a work tree for a branch of the kernel tree that is not checked
# out there. What is beside it says that the last checkout finished.
branch_tree()
{
	local dir=$BUILD/branches/$1 commit

	lock "$dir.lock" "another script that has $dir" >&2
	commit=$(git -C "$LINUX" rev-parse -q --verify "refs/heads/$1^{commit}") ||
		die "$LINUX has no branch $1" "" "make tree"
	if [[ ! -e $dir.complete ]] || ! git -C "$dir" rev-parse -q --verify "$commit^{commit}" > /dev/null; then
		need_space "$BUILD" 2048 "a work tree"
		rm -rf "$dir" "$dir.complete"
		git -C "$LINUX" worktree prune
		git -C "$LINUX" worktree add -q --detach "$dir" "$commit" >&2
	elif [[ $(git -C "$dir" rev-parse HEAD) != "$commit" ]]; then
		rm "$dir.complete"
		git -C "$dir" checkout -q -f --detach "$commit" >&2
	fi
	touch "$dir.complete"
	echo "$dir"
}

# source_tree: a name for the exact content of the kernel tree, edits that are
# not committed and new files included. The index that it needs is a copy.
source_tree()
(
	[[ -e $LINUX/.git ]] || die "no kernel tree at $LINUX" "" "make tree"
	index=$(mktemp)
	trap 'rm -f "$index" "$index.lock"' EXIT
	cp "$(git -C "$LINUX" rev-parse --absolute-git-dir)/index" "$index"
	export GIT_INDEX_FILE=$index
	git -C "$LINUX" add -A
	git -C "$LINUX" write-tree
)

# subtrees TREE PATH...: the content of some of its folders and files
subtrees()
{
	git -C "$LINUX" ls-tree "$@"
}

# up_to_date DIR KEY FILE...: were these made in DIR from what KEY stands for?
up_to_date()
{
	local dir=$1 key=$2 file

	[[ -e $dir/.made-from && $(< "$dir/.made-from") == "$key" ]] || return 1
	for file in "${@:3}"; do
		[[ -e $file ]] || return 1
	done
}

# exit_if_made WHAT DIR KEY FILE...: end the script if they are up to date. One script
# at a time makes what is in DIR; another one waits here until that is done.
exit_if_made()
{
	lock "$2.lock" "another script that makes $2"
	if up_to_date "${@:2}"; then
		note "$1: up to date"
		exit
	fi
}

# Made: to be written last. Before work starts, forget_made.
made_from()
{
	echo "$2" > "$1/.made-from.new"
	mv "$1/.made-from.new" "$1/.made-from"
}

forget_made()
{
	mkdir -p "$1"
	rm -f "$1/.made-from"
}

# copy_build FROM TO: a build folder to begin with. kbuild knows for each object what it
# is made of and which symbols it depends on, and makes only what these change.
copy_build()
{
	rm -rf "$2.new"
	cp -a "$1" "$2.new"
	# objtool has absolute paths, and all else depends on it. Not every architecture
	# has one.
	mkdir -p "$2.new/tools"
	find "$2.new/tools" -name '*.cmd' -exec sed -i -E "s|$(literal "$1")/|$(literal "$2")/|g" {} +
	mv "$2.new" "$2"
}

# The compiler cache serves every flavour and every clone.
export CCACHE_DIR=$CACHE/ccache CCACHE_BASEDIR=$TOP CCACHE_NOHASHDIR=1 CCACHE_DEPEND=1
# Nothing in a build depends on when, where and by whom it was made.
export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_VERSION=1
export KBUILD_BUILD_USER=user KBUILD_BUILD_HOST=host LOCALVERSION=
# A jobserver or variables of the make that called are not for these builds.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
# Nor is the compiler that the user prefers, with its options.
unset LLVM LLVM_IAS KCFLAGS KCPPFLAGS KAFLAGS CFLAGS
