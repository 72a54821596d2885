#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Apply the series to another kernel, build what applied, run the guests on it:
#   BASE=VERSION [SAVE=1] port		a kernel that scripts/conf/pins lists
#   KDIR=PATH [BASE=REVISION] port	what a git tree has checked out, or at REVISION
#
# All of it is in build/port/<base>. build/linux and KDIR only lend their objects.
# RUN=, T=, ARCH= and ALL= choose guest runs, as for scripts/check.sh. KDIR= builds
# their kernels, and runs them only when RUN= is given.
#
# For each patch one word in build/port/<base>/patches.tsv:
#   clean	it applies as it is
#   fuzzy	the context has changed, git am --3way applies it
#   there	the base has the change already
#   ported	patches/<series>/ports/<base>/ has another patch in its place
#   conflict	none of these; what comes after it is not tried
#   fix		0000-* in that folder, which the base itself lacks: it comes before
#		the first patch of the series
# SAVE=1 keeps what was found out: the user's resolution of a conflict in ports/,
# and the base's row of the README's table.

TARGET=${BASE:-}
unset BASE
. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"

KDIR=${KDIR:-}
SAVE=${SAVE:-}
README=$TOP/README.md
AM_OPTIONS=(-q --committer-date-is-author-date --no-gpg-sign)

# lender_git ARG...: git in the tree that lends the base, nothing written
lender_git()
{
	GIT_OPTIONAL_LOCKS=0 git -C "$LENDER" -c safe.directory='*' "$@"
}

# bases: the versions that conf/pins lists, the pin first
bases()
{
	"$TOP/scripts/lib/pins" all
}

# version: what the kernel with this Makefile calls itself
version()
{
	awk -F' *= *' '$1 == "VERSION" { v = $2 } $1 == "PATCHLEVEL" { v = v "." $2 }
		$1 == "SUBLEVEL" { v = v "." $2 }
		END { print v }'
}

# choose: what the user asks for. LENDER and COMMIT say which git tree has it;
# without them it is a tarball. NAME is that of its folder, and KERNEL_VERSION
# decides which ports are for it.
choose()
{
	LENDER='' COMMIT='' NAME=$TARGET KERNEL_VERSION=$TARGET
	if [[ $KDIR ]]; then
		[[ ! $SAVE ]] || die "SAVE=1 is for a BASE= of scripts/conf/pins, not for KDIR=" "" \
			"add the kernel to scripts/conf/pins, or leave SAVE= out"
		LENDER=$KDIR
		COMMIT=$(lender_git rev-parse -q --verify "${TARGET:-HEAD}^{commit}") ||
			die "KDIR=$KDIR is no git tree that has ${TARGET:-a commit checked out}" "" \
				"name a git tree of the kernel, and BASE=<a tag or commit of it>"
		NAME=${COMMIT:0:12}
		KERNEL_VERSION=$(lender_git show "$COMMIT:Makefile" | version)
	elif ! bases | grep -qxF -- "${TARGET:-?}"; then
		die "port to which kernel? BASE=$TARGET is none of scripts/conf/pins" "" \
			"one of: $(bases | paste -sd' '); or KDIR=<any git tree of the kernel>"
	fi
}

# choose_stack: the one that fits the kernel, whose tree has the blobs that the patches
# were made on
choose_stack()
{
	unset BUILD
	use_stack "$("$TOP/scripts/lib/pins" stack-for "$KERNEL_VERSION")"
	PIN_TREE=$LINUX
	"$TOP/scripts/tree.sh"
	[[ $KDIR || $TARGET != "$BASE" ]] || {
		LENDER=$PIN_TREE
		COMMIT=$(commit_of base)
	}
}

# import SOURCE: an own repository, with the base as its branch. Blobs that
# build/linux has are borrowed: most are the same, and git am --3way looks for
# those that a patch was made on.
import()
{
	local new=$LINUX.tmp lender shallow

	git init -q --template= -b base "$new" || return
	for lender in "$PIN_TREE" ${LENDER:+"$LENDER"}; do
		git -C "$lender" -c safe.directory='*' rev-parse --path-format=absolute --git-path objects || return
	done > "$new/.git/objects/info/alternates"
	if [[ $LENDER ]]; then
		shallow=$(lender_git rev-parse --path-format=absolute --git-path shallow) || return
		[[ ! -e $shallow ]] || cp "$shallow" "$new/.git/shallow" || return
		git -C "$new" update-ref refs/heads/base "$COMMIT" || return
	else
		import_source "$new" "$1" '' "Linux $TARGET" || return
	fi
	git -C "$new" config feature.manyFiles true || return
	mv "$new" "$LINUX"
}

# make_base: unless it is there, and what it borrows from as well
make_base()
{
	local source=$COMMIT key

	[[ $LENDER ]] || source=$("$TOP/scripts/fetch/kernel" "$TARGET") || exit
	key="$(LINUX=$PIN_TREE commit_of base) ${LENDER:-tarball} $source"
	[[ ! -e $LINUX || "$(cat "$BUILD/made-from" 2>/dev/null)" != "$key" ]] || return 0
	[[ ! -e $LINUX ]] || keep_scratch
	need_space "$BUILD" 3000 "a kernel tree"
	rm -rf "$LINUX" "$LINUX.tmp" "$AM" "$BUILD/made-from" "$BUILD/conflict"
	logged "$LOG" "making a git tree of ${source##*/}" import "$source"
	echo "$key" > "$BUILD/made-from"
}

# git_am ARG...: git in the sparse work tree that the patches are applied in
am_stopped()
{
	[[ -e $AM ]] && [[ -e $(git_am rev-parse --path-format=absolute --git-path rebase-apply) ]]
}

# am_state: what the user changes by working at a conflict
am_state()
{
	git_am rev-parse HEAD
	git_am diff HEAD
	git_am status --porcelain --untracked-files=all
}

# keep_scratch: refuse to throw away the resolution of a conflict, or edits
keep_scratch()
{
	[[ ! -e $BUILD/conflict || ! -e $AM ]] ||
		am_state | cmp -s - "$BUILD/conflict-state" ||
		die "the conflict in $AM has been worked at, but not saved" "" \
			"make port BASE=$TARGET SAVE=1; or, to lose it: rm -r $AM"
	keep_work uncommitted "$LINUX has been edited, which is none of the patches" \
		"make the change in $TREE_NAME, and make refresh; or, to lose it: rm -r $LINUX"
}

# patch_id PATCH: the same for as long as it changes the same
patch_id()
{
	git patch-id --stable < "$1" | cut -d' ' -f1
}

# port_of PATCH BASE: where another patch for that base would be
port_of()
{
	echo "$PATCHES/${1%/*}/ports/$2/${1##*/}"
}

# save_conflict: make the user's resolution of it a port of the patch
save_conflict()
{
	local patch head port left

	read -r patch head < "$BUILD/conflict"
	if am_stopped; then
		left=$(git_am diff --check HEAD | grep 'leftover conflict marker') || :
		[[ ! $left ]] || die "$patch is not resolved, in $AM: ${left%%$'\n'*}" "" \
			"resolve all of it, then the same again; or, to begin anew: rm -r $AM"
		git_am add -A --sparse
		git_am am --continue > "$LOG" 2>&1 </dev/null ||
			die "git am --continue failed in $AM" "$LOG" "change there what the patch is to change"
	fi
	[[ $(git_am rev-parse 'HEAD^') == "$head" ]] ||
		die "$AM has not one commit, for $patch, on top of what applied" "" \
			"rm -r $AM, and make port again"
	port=$(port_of "$patch" "$KERNEL_VERSION")
	mkdir -p "${port%/*}"
	{
		sed '/^---$/q' "$PATCHES/$patch"
		printf 'Port-of: %s\n\n' "$(patch_id "$PATCHES/$patch")"
		git_am format-patch -1 --stdout --zero-commit --no-signature --no-notes \
			--abbrev=12 --diff-algorithm=myers -M | sed '1,/^---$/d'
	} > "$port.new"
	mv "$port.new" "$port"
	rm -rf "$BUILD/conflict" "$AM"
	note "written: ${port#"$TOP/"}"
}

# check_ports: each port is one of a patch that there is, or a fix
check_ports()
{
	local log=$BUILD/log/ports.log

	(cd "$PATCHES" && find . -path './*/ports/*' -type f) |
		sed -E 's,^\./([^/]+)/ports/([^/]+)/(.*),\1/\3 \2,' |
		awk -v list="$(listed_patches)" -v bases="$(bases)" '
			BEGIN {
				split(list, l, "\n"); for (i in l) patch[l[i]] = 1
				split(bases, b, "\n"); for (i in b) base[b[i]] = 1
			}
			!($1 in patch) && $1 !~ "/0000-[^/]*$" { print $1 ": there is no such patch" }
			!($2 in base) { print $1 ": conf/pins has no " $2 }' > "$log"
	[[ ! -s $log ]] || die "patches/*/ports has what belongs to nothing" "$log" "remove or rename it"
}

# start_am: a work tree with the touched files only, at the base
start_am()
{
	rm -rf "$AM" "$BUILD/conflict"
	kgit config merge.conflictStyle diff3
	{
		touched_files | sed 's,^[^ ]* ,/,'
		find "$PATCHES" -path "*/ports/$KERNEL_VERSION/*" -type f -exec sed -n 's,^+++ b,,p' {} +
	} | add_am_tree
}

# attempt MAIL OPTION...: git am it; when that fails, it is as if never tried
attempt()
{
	git_am am "${AM_OPTIONS[@]}" "${@:2}" "$1" >> "$LOG" 2>&1 </dev/null && return
	git_am am --abort >> "$LOG" 2>&1 || git_am reset -q --hard
	return 1
}

# attempt_port PATCH PORT OPTION...: the port, with the words of the patch, if it
# is a port of what the patch changes now
attempt_port()
{
	[[ -e $2 ]] || return 1
	if ! grep -qxF "Port-of: $(patch_id "$PATCHES/$1")" "$2"; then
		note "${2#"$TOP/"} is a port of an older version of the patch: not used"
		return 1
	fi
	{
		sed '/^---$/q' "$PATCHES/$1"
		sed '1,/^---$/d' "$2"
	} > "$BUILD/mail"
	attempt "$BUILD/mail" "${@:3}"
}

# apply_patch PATCH: sets WORD
apply_patch()
{
	local patch=$1 mail=$PATCHES/$1 head port

	head=$(git_am rev-parse HEAD)
	WORD=ported
	! attempt_port "$patch" "$(port_of "$patch" "$KERNEL_VERSION")" --no-3way || return 0
	WORD=clean
	! attempt "$mail" --no-3way || return 0
	WORD=fuzzy
	if attempt "$mail" --3way; then
		[[ $(git_am rev-parse HEAD) != "$head" ]] || WORD=there
		return 0
	fi
	WORD=ported
	for port in "$PATCHES/${patch%/*}"/ports/*/"${patch##*/}"; do
		! attempt_port "$patch" "$port" --3way || return 0
	done
	WORD=conflict
	echo "$patch $head" > "$BUILD/conflict"
	printf '== %s\n' "$patch" >> "$LOG"
	git_am am "${AM_OPTIONS[@]}" --3way "$mail" >> "$LOG" 2>&1 </dev/null || :
	am_state > "$BUILD/conflict-state"
}

# result WORD PATCH: keep it, and say it
result()
{
	printf '%s\t%s\n' "$1" "$2" >> "$RESULTS"
	note "$(printf '%-9s %s' "$1" "$2")"
}

# apply_fixes SERIES: what the base itself lacks
apply_fixes()
{
	local fix name

	for fix in "$PATCHES/$1/ports/$KERNEL_VERSION"/0000-*; do
		[[ -e $fix ]] || continue
		name=${fix#"$PATCHES/"}
		attempt "$fix" --no-3way || die "patches/$name does not apply" "$LOG" "mend or remove it"
		result fix "$name"
	done
}

# show_conflict: the hunks, or why git am did not even come to these
show_conflict()
{
	git_am diff > "$BUILD/conflict.diff"
	[[ -s $BUILD/conflict.diff ]] || sed -n '/^== /h; //!H; $ { x; p }' "$LOG" > "$BUILD/conflict.diff"
	head -n 80 "$BUILD/conflict.diff" | sed 's/^/     | /'
	note "all of it: $BUILD/conflict.diff"
	[[ $KDIR ]] ||
		note "to resolve it: edit the files in $AM, then make port BASE=$TARGET SAVE=1"
}

# apply: all patches, a branch a series
apply()
{
	local patch series last=base

	: > "$LOG"
	: > "$RESULTS"
	OF=$(manifest | git hash-object --stdin | cut -c1-12)	# before the user edits them
	step "applying $(listed_patches | wc -l) patches to Linux $NAME"
	start_am
	for series in $(listed_series); do
		[[ -e $BUILD/conflict ]] || apply_fixes "$series"
		for patch in $(patches_of "$series"); do
			if [[ -e $BUILD/conflict ]]; then
				WORD='not tried'
			else
				apply_patch "$patch"
			fi
			result "$WORD" "$patch"
			[[ $WORD != conflict ]] || show_conflict
		done
		TIP=$(git_am rev-parse HEAD)
		kgit update-ref "refs/heads/$series" "$TIP"
		rm -rf "${BUILD:?}/patches/$series"
		[[ ! $(kgit rev-list "$last..$TIP") ]] ||
			kgit format-patch -q -o "$BUILD/patches/$series" --no-signature --abbrev=12 "$last..$TIP"
		last=$TIP
	done
	[[ -e $BUILD/conflict ]] || rm -rf "$AM"
}

# show: make the work tree what applied
show()
{
	if has_worktree; then
		kgit checkout -q --detach "$TIP"
	else
		rm -f "$LINUX/.git/index.lock"
		kgit -c checkout.workers=2 checkout -q -f --detach "$TIP"
	fi
}

# build_only: the kernels and the selftests of the chosen runs. Without all of
# the series a kernel lacks symbols that its configuration asks for.
build_only()
{
	local chosen arches flavours name list=("$TOP/scripts/run/table.py")

	[[ ! ${ARCH:-} ]] || list+=(--arch "$ARCH")
	[[ ! -e $BUILD/conflict ]] || export PARTIAL=1
	chosen=$("${list[@]}" "${RUN:-*}")
	mapfile -t arches < <(awk '!seen[$2]++ { print $2 }' <<< "$chosen")
	mapfile -t flavours < <(awk '!seen[$3]++ { print $3 }' <<< "$chosen")
	for name in "${arches[@]}"; do
		"$TOP/scripts/build/selftests" "$name" || return
	done
	for name in "${flavours[@]}"; do
		"$TOP/scripts/build/kernel" "$name" || return
	done
}

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
	cmp -s "$BUILD/README.md" "$README" || { cat "$BUILD/README.md" > "$README"; note "written: README.md"; }
}

choose
choose_stack
export BUILD=$TOP/build/port/$NAME KERNEL_VERSION
LINUX=$BUILD/linux
AM=$BUILD/am
LOG=$BUILD/log/port.log
RESULTS=$BUILD/patches.tsv
lock_tree
check_listed
check_ports
[[ ! $SAVE || ! -e $BUILD/conflict || ! -e $AM ]] || save_conflict
make_base
keep_scratch
apply
show

status=0
if [[ -e $BUILD/conflict || $KDIR && ! ${RUN:-} ]]; then
	build_only || status=1
else
	# Should it come to none, an older one must not speak for these patches.
	rm -rf "$BUILD/report"
	"$TOP/scripts/check.sh" || status=1
	if [[ -e $BUILD/report/report.json && ! $KDIR && ! ${RUN:-}${T:-}${ARCH:-}${ALL:-} ]]; then
		[[ ! $SAVE ]] || save_row
		row
	fi
fi
[[ ! -e $BUILD/conflict ]] ||
	die "$(cut -d' ' -f1 "$BUILD/conflict") conflicts with Linux $NAME; what comes after it was not tried"
step "Linux $NAME: $(cut -f1 "$RESULTS" | sort | uniq -c | awk '{ $1 = $1; print }' | paste -sd, | sed 's/,/, /g'); git am takes $BUILD/patches/*/*"
exit $status
