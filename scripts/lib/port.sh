# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# How a stack is applied to another kernel, for make port and make move. Source it after
# common.sh, series.sh and apply.sh. The caller says what for: TARGET, KDIR, SAVE, and
# the command RETRY that goes on once a conflict is resolved, nothing for KDIR.

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
		COMMIT=$(lender_git rev-parse -q --verify "${TARGET:-HEAD}^{commit}" 2> /dev/null) ||
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
	check_request
	if [[ $KDIR || $TARGET != "$BASE" ]]; then
		"$TOP/scripts/tree.sh" || exit 1
		return
	fi
	# The stack itself, which is asked for when it does not apply
	[[ -e $LINUX ]] || "$TOP/scripts/tree.sh" || [[ -e $LINUX ]] || exit 1
	LENDER=$PIN_TREE
	COMMIT=$(commit_of base)
}

# use_port: work in build/port/$NAME
use_port()
{
	export BUILD=$TOP/build/port/$NAME KERNEL_VERSION
	LINUX=$BUILD/linux
	# shellcheck disable=SC2034	# for messages
	TREE_NAME=${LINUX#"$TOP/"}
	AM=$BUILD/am
	LOG=$BUILD/log/port.log
	RESULTS=$BUILD/patches.tsv
	lock_tree
	check_listed
	check_variants
	[[ ! $SAVE || ! -e $BUILD/conflict || ! -e $AM ]] || save_conflict
	make_base
	keep_scratch
}

# import SOURCE: an own repository, with the base as its branch. Blobs that
# the trees of the stacks have are borrowed: most are the same, and git am --3way looks
# for those that a patch was made on.
import()
{
	local new=$LINUX.tmp base lenders=()

	git init -q --template= -b base "$new" || return
	for base in $(stacks); do
		[[ ! -e $TOP/build/$base/linux ]] || lenders+=("$TOP/build/$base/linux")
	done
	borrow "$new" "${lenders[@]}" ${LENDER:+"$LENDER"} || return
	if [[ $LENDER ]]; then
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
	[[ ! -e $LINUX || "$(cat "$BUILD/made-from" 2> /dev/null)" != "$key" ]] || return 0
	[[ ! -e $LINUX ]] || keep_scratch
	need_space "$BUILD" 3000 "a kernel tree"
	rm -rf "$LINUX" "$LINUX.tmp" "$AM" "$BUILD/made-from" "$BUILD/conflict"
	logged "$LOG" "making a git tree of ${source##*/}" import "$source"
	echo "$key" > "$BUILD/made-from"
}

# am_stopped: at a conflict
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
			"${RETRY:+$RETRY; or, }to lose it: rm -r $AM"
	keep_work uncommitted "$LINUX has been edited, which is none of the patches" \
		"make the change in build/$BASE/linux, and $(make_target refresh); or, to lose it: rm -r $LINUX"
}

# save_conflict: make the user's resolution of it a variant of the patch. If it changes
# nothing, the kernel has the patch already.
save_conflict()
{
	local patch head left

	read -r patch head < "$BUILD/conflict"
	if am_stopped; then
		left=$(git_am diff --check HEAD | grep 'leftover conflict marker') || :
		[[ ! $left ]] || die "$patch is not resolved, in $AM: ${left%%$'\n'*}" "" \
			"resolve all of it, then the same again; or, to start again: rm -r $AM"
		git_am add -A --sparse
		if git_am diff --cached --quiet; then
			save_there "$patch"
			rm -rf "$BUILD/conflict" "$AM"
			return
		fi
		git_am am --continue > "$LOG" 2>&1 < /dev/null ||
			die "git am --continue failed in $AM" "$LOG" "change there what the patch is to change"
	fi
	[[ $(git_am rev-parse 'HEAD^') == "$head" ]] ||
		die "$AM does not have exactly one commit, for $patch, on top of what applied" "" \
			"rm -r $AM, and make port again"
	save_commit "$patch"
	rm -rf "$BUILD/conflict" "$AM"
}

# save_there PATCH: this kernel has it: a comment in the list of a stack, or a variant
# that changes nothing
save_there()
{
	local original port

	original=$(original_of "$1")
	[[ $KERNEL_VERSION != "$(home_of "${1%%/*}")" ]] ||
		die "$1 is at home in Linux $KERNEL_VERSION, and would change nothing" "" \
			"change in $AM what it is to change; or remove the patch, then rm -r $AM"
	if [[ $KERNEL_VERSION == "$BASE" ]]; then
		sed -i "s,^$1\$,# there: $original," "$SERIES_FILE"
		note "written: series/$BASE: it has $original"
		return
	fi
	write_variant "$original" "$KERNEL_VERSION" < /dev/null
	port=$(variant_of "$original" "$KERNEL_VERSION")
	note "written: ${port#"$TOP/"}: Linux $KERNEL_VERSION has it"
}

# save_commit PATCH: make the last commit a variant of it, or itself where it is at home
save_commit()
{
	local original port

	original=$(original_of "$1")
	format_patch -1 --stdout "$(git_am rev-parse HEAD)" > "$BUILD/resolved"
	if [[ $KERNEL_VERSION == "$(home_of "${1%%/*}")" ]]; then
		replace_original "$original"
	else
		write_variant "$original" "$KERNEL_VERSION" < "$BUILD/resolved"
		port=$(variant_of "$original" "$KERNEL_VERSION")
		note "written: ${port#"$TOP/"}"
		[[ $KERNEL_VERSION != "$BASE" ]] ||
			sed -i "s,^$original\$,${port#"$PATCHES/"}," "$SERIES_FILE"
	fi
}

# replace_original PATCH: it reads as the resolution from now on; what it was becomes a
# variant for the other stacks that have it
replace_original()
{
	local original=$PATCHES/$1 base variant

	{
		words_of "$original"
		below_words "$(changelog_of "$original")" < "$BUILD/resolved"
	} > "$BUILD/original"
	for base in $(stacks); do
		[[ $base != "$BASE" ]] || continue
		grep -qxF "$1" "$TOP/series/$base" || continue
		variant=$(variant_of "$1" "$base")
		mkdir -p "${variant%/*}"
		as_variant "$BUILD/original" < <(without_changelog "$original") > "$variant"
		sed -i "s,^$1\$,${variant#"$PATCHES/"}," "$TOP/series/$base"
		note "written: ${variant#"$TOP/"}, as it was"
	done
	mv "$BUILD/original" "$original"
	note "written: ${original#"$TOP/"}"
}

# check_variants: those for kernels that have no stack are of a patch that there is, or
# a fix
check_variants()
{
	local log=$BUILD/log/variants.log

	(cd "$PATCHES" && find . -mindepth 3 -name '*.patch' | sed 's,^\./,,' | sort) |
		while read -r patch; do
			[[ $patch == */0000-* || -e $PATCHES/$(original_of "$patch") ]] ||
				echo "$patch: there is no patch $(original_of "$patch")"
			bases | grep -qxF "$(cut -d/ -f2 <<< "$patch")" ||
				echo "$patch: scripts/conf/pins has no $(cut -d/ -f2 <<< "$patch")"
		done > "$log"
	[[ ! -s $log ]] || die "patches/ has variants that belong to nothing" "$log" "remove or rename them"
}

# start_am: a work tree with the touched files only, at the base
start_am()
{
	rm -rf "$AM" "$BUILD/conflict"
	kgit config merge.conflictStyle diff3
	{
		touched_files | sed 's,^,/,'
		find "$PATCHES" -path "*/$KERNEL_VERSION/*" -type f -exec sed -n 's,^+++ b,,p' {} +
	} | add_am_tree
}

# attempt MAIL OPTION...: git am it; when that fails, it is as if never tried
attempt()
{
	git_am am "${AM_OPTIONS[@]}" "${@:2}" "$1" >> "$LOG" 2>&1 < /dev/null && return
	git_am am --abort >> "$LOG" 2>&1 || git_am reset -q --hard
	return 1
}

# changes_files PATCH
changes_files()
{
	grep -q '^diff --git ' "$1"
}

# attempt_variant PATCH VARIANT OPTION...: that one, with the words of the patch, if it is
# a variant of what the patch changes now. One that changes nothing is for its own kernel
# only, and sets WORD.
attempt_variant()
{
	local original=$PATCHES/$1

	[[ -e $2 ]] || return 1
	if ! grep -qxF "Variant-of: $(patch_id "$original")" "$2"; then
		note "${2#"$TOP/"} is a variant of an older version of the patch: not used"
		return 1
	fi
	if ! changes_files "$2"; then
		[[ $2 == "$(variant_of "$1" "$KERNEL_VERSION")" ]] || return 1
		WORD=there
		return
	fi
	{
		words_of "$original"
		sed '1,/^---$/d' "$2"
	} > "$BUILD/mail"
	attempt "$BUILD/mail" "${@:3}"
}

# apply_patch PATCH: sets WORD
apply_patch()
{
	local patch=$1 mail=$PATCHES/$1 head other original own

	head=$(git_am rev-parse HEAD)
	original=$(original_of "$patch")
	own=$(variant_of "$patch" "$KERNEL_VERSION")
	WORD=ported
	[[ $mail == "$own" ]] || ! attempt_variant "$original" "$own" --no-3way || return 0
	WORD=clean
	! attempt "$mail" --no-3way || return 0
	[[ $patch == "$original" ]] || ! attempt "$PATCHES/$original" --no-3way || return 0
	WORD=fuzzy
	if attempt "$mail" --3way; then
		if [[ $(git_am rev-parse HEAD) == "$head" ]]; then
			WORD=there
		elif [[ $SAVE && $KERNEL_VERSION == "$BASE" ]]; then
			# A stack needs what applies plainly
			WORD=ported
			save_commit "$patch"
		fi
		return 0
	fi
	WORD=ported
	for other in "$PATCHES/${original%/*}"/*/"${original##*/}"; do
		! attempt_variant "$original" "$other" --3way || return 0
	done
	WORD=conflict
	echo "$patch $head" > "$BUILD/conflict"
	printf '== %s\n' "$patch" >> "$LOG"
	git_am am "${AM_OPTIONS[@]}" --3way "$mail" >> "$LOG" 2>&1 < /dev/null || :
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

	for fix in "$PATCHES/$1/$KERNEL_VERSION"/0000-*; do
		[[ -e $fix ]] || continue
		name=${fix#"$PATCHES/"}
		attempt "$fix" --no-3way || die "patches/$name does not apply" "$LOG" "fix or remove it"
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
	[[ ! $RETRY ]] ||
		note "to resolve it: edit the files in $AM, then $RETRY"
}

# with_there: the patches of the stack, with those that the kernel of the stack has
# already, which another one may lack
with_there()
{
	sed -nE 's/^# there: //; /^[^#[:space:]]/p' "$SERIES_FILE"
}

# apply: all patches, a branch a series
apply()
{
	local patch series last=base

	: > "$LOG"
	: > "$RESULTS"
	# shellcheck disable=SC2034	# for the README's table
	OF=$(manifest | git hash-object --stdin | cut -c1-12) # before the user edits them
	step "applying $(listed_patches | wc -l) patches to Linux $NAME"
	start_am
	for series in $(with_there | sed 's,/.*,,' | uniq); do
		[[ -e $BUILD/conflict ]] || apply_fixes "$series"
		for patch in $(with_there | sed -n "\\,^$series/,p"); do
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
