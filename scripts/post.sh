#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Make of a series the mails that b4 would send, and send nothing:
#   SERIES=NAME [FROM="NAME <MAIL>"] [KDIR=PATH] post
#
# The patches are applied in a scratch clone, build/<base>/post/<series>/linux, to the
# kernel that the series is at home on or, with KDIR=, to the same version in a clone of the
# kernel's own repository. Neither is written to, they only lend their objects.
# b4 does the rest: the branch is one that b4 prep has enrolled. CHECK=no leaves out
# b4 prep --check, which runs checkpatch, for make lint, which has that check.

GIVEN=${BASE:-}
. "${BASH_SOURCE[0]%/*}/lib/common.sh"
. "${BASH_SOURCE[0]%/*}/lib/series.sh"
. "${BASH_SOURCE[0]%/*}/lib/apply.sh"

SERIES=${SERIES:-}
FROM=${FROM:-}
KDIR=${KDIR:-}
CHECK=${CHECK:-}
POSTING=$TOP/scripts/post/posting.py

# quietly COMMAND...: the same for every user's configuration of git. The dry
# run needs no way to send mail, so it is given none. The editor of cover letters
# is one that writes what was written before.
quietly()
{
	local editor

	editor="cp -- $(printf %q "$DIR/cover")"
	env GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null \
		GIT_EDITOR="$editor" GIT_CONFIG_COUNT=3 \
		GIT_CONFIG_KEY_0=sendemail.smtpserver GIT_CONFIG_VALUE_0=/bin/false \
		GIT_CONFIG_KEY_1=core.editor GIT_CONFIG_VALUE_1="$editor" \
		GIT_CONFIG_KEY_2=safe.directory GIT_CONFIG_VALUE_2='*' \
		"$@"
}

# pgit ARG...: git in the scratch clone
pgit()
{
	quietly git -C "$CLONE" "$@"
}

# b4 ARG...: b4 in the scratch clone, its words in the log
b4()
{
	printf '== b4 %s\n' "$*" >> "$LOG"
	(cd "$CLONE" && quietly b4 --offline-mode --no-interactive "$@") >> "$LOG" 2>&1 < /dev/null ||
		die "b4 $1 failed" "$LOG" "see the log"
}

# sender: "NAME" and "MAIL", a line each. Without FROM= it is who sends the
# cover letter, since the patches have that person's Signed-off-by already.
sender()
{
	local from=$FROM

	[[ $from ]] || from=$(git mailinfo /dev/null /dev/null < "$PATCHES/$SERIES/0000-cover-letter.patch" |
		sed -n 's/^Author: //p; s/^Email: \(.*\)/<\1>/p' | paste -sd' ')
	# A name may be quoted, as in a mail. What a quoted name cannot have is refused.
	[[ $from =~ ^(\"([^\"\\<>]*[^\"\\<>\ ])\"|([^\"\\<>]*[^\"\\<>\ ]))\ +\<([^\<\>@\ ]+@[^\<\>@\ ]+)\>$ ]] ||
		die "FROM=$from is no sender" "" "FROM='A Name <name@example.org>', the name without quotation marks and backslashes"
	printf '%s\n' "${BASH_REMATCH[2]}${BASH_REMATCH[3]}" "${BASH_REMATCH[4]}"
}

# mailbox: the sender as a mail has it, where some names must be quoted
mailbox()
{
	if [[ $NAME == *[][\(\):\;@,.]* ]]; then
		printf '"%s" <%s>\n' "$NAME" "$MAIL"
	else
		printf '%s <%s>\n' "$NAME" "$MAIL"
	fi
}

# kernel_repository TAG: the commit that the tag has in $KDIR, when it is one
# that others have too: a release, signed with a tag and with a past.
kernel_repository()
{
	local commit

	kdir()
	{
		quietly git -C "$KDIR" "$@"
	}

	commit=$(kdir rev-parse -q --verify "$1^{commit}") ||
		die "KDIR=$KDIR has no tag $1" "" "git -C $KDIR fetch --tags, or leave KDIR= out"
	if [[ $(kdir cat-file -t "$1") != tag ]] ||
		! kdir cat-file commit "$commit" | grep -q '^parent '; then
		die "in KDIR=$KDIR the tag $1 is not the one of the kernel's own repository" "" \
			"name a clone of that, or leave KDIR= out"
	fi
	echo "$commit"
}

# clone COMMIT: an empty repository that borrows the commit from $1 or the kernel tree
clone()
{
	quietly git init -q --template= -b base "$CLONE"
	borrow "$CLONE" "${KDIR:-$LINUX}"

	# What b4 is to do here, be it from this script or by the sender's hand.
	pgit config user.name "$NAME"
	pgit config user.email "$MAIL"
	pgit config sendemail.from "$(mailbox)"
	pgit config b4.prep-cover-strategy branch-description
	pgit config b4.prep-cover-template "$DIR/template"
	pgit config b4.prep-perpatch-check-cmd \
		"$LINUX/scripts/checkpatch.pl --root=$LINUX -q --terse --no-summary --mailback --showfile"
	pgit config core.abbrev 12
	pgit config diff.algorithm myers
	pgit config gc.auto 0

	# The files that b4 looks at, and those of the patches. Kconfig tells it
	# that this is the kernel.
	pgit config core.sparseCheckout true
	# git am writes the index for each patch: the part that changes, not all of it
	pgit config core.splitIndex true
	pgit config index.skipHash false # see git_am in lib/apply.sh
	mkdir -p "$CLONE/.git/info"
	{
		printf '/%s\n' Kconfig .mailmap .gitattributes
		touched_files | sed 's,^,/,'
	} > "$CLONE/.git/info/sparse-checkout"
	pgit update-ref refs/heads/base "$1"
	pgit read-tree -mu HEAD
}

# check_base: what is borrowed has the files that the patches were made on
check_base()
{
	local log=$BUILD/log/fingerprint.log files

	mapfile -t files < <(touched_files)
	diff <(kgit --literal-pathspecs ls-tree base "${files[@]}") \
		<(pgit --literal-pathspecs ls-tree base "${files[@]}") |
		sed -n 's/^[<>].*\t//p' | sort -u > "$log" || :
	[[ ! -s $log ]] || die "$TAG in KDIR=$KDIR is not what the patches were made on, these files differ" "$log" \
		"name a clone of the kernel's own repository"
}

# apply SERIES [OPTION...]: git am with the options
apply()
{
	local patches

	mapfile -t patches < <(patches_of "$1")
	((${#patches[@]})) || die "there is no series $1" "" "see b4.yaml and series/$BASE"
	pgit am -q --no-gpg-sign --no-3way "${@:2}" "${patches[@]/#/$PATCHES/}" \
		>> "$LOG" 2>&1 < /dev/null ||
		die "$1 does not apply to $TAG" "$LOG" \
			"fix it, or name what it needs in b4.yaml, prerequisites"
}

# add_changelogs: those that git am drops, below a "---" in the commit messages of the
# series. From there they get sent.
add_changelogs()
{
	local commit from patch text

	from=$(pgit rev-parse base)
	pgit rev-list --reverse base..HEAD | paste -d' ' - <(patches_of "$SERIES") |
		while read -r commit patch; do
			text=$(changelog_of "$PATCHES/$patch")
			from=$({
				pgit cat-file commit "$commit" | sed "1,/^\$/s/^parent .*/parent $from/"
				[[ ! $text ]] || printf -- '---\n%s\n' "$text"
			} | pgit hash-object -t commit -w --stdin)
			pgit update-ref HEAD "$from"
		done
}

# in_order SERIES...: in the order of the stack, and last what it has not
in_order()
{
	listed_series | grep -xF -f <(printf '%s\n' "$@") || :
	printf '%s\n' "$@" | grep -vxF -f <(listed_series) || :
}

# template COMMIT: what b4 puts around the prose. A commit is named as the base
# only when others have it.
template()
{
	# shellcheck disable=SC2016	# for b4 to expand
	printf '%s\n' '${cover}' '' --- '${shortlog}' '' '${diffstat}' ---
	if [[ $KDIR ]]; then
		echo "base-commit: $1"
	else
		echo "This applies to Linux ${TAG#v}, the tag $TAG. It was made on the tarball of that"
		echo "release, so there is no base-commit to name. The files that it changes are"
		echo "these blobs there:"
		pgit diff-tree -r --no-renames --abbrev=12 --diff-filter=a "$1" HEAD |
			awk -F'[ \t]' '{ print " " $3, $6 }'
		echo
	fi
	pgit log -p --reverse --no-notes --format='%H' "$1..base" -- |
		pgit patch-id --stable | sed 's/ .*//; s/^/prerequisite-patch-id: /'
	# shellcheck disable=SC2016
	printf '%s\n' 'change-id: ${change_id}' '' '-- ' '${signature}'
}

# enrol: make the branch one of b4's
enrol()
{
	local tracking key=branch.b4/$SERIES.b4-tracking options=(--force-revision "$REVISION")

	head -n $(($(tail_of "$COVER") - 1)) "$COVER" | "$POSTING" cover "$SERIES" > "$DIR/cover"
	((${#PREFIXES[@]} == 0)) || options+=(--set-prefixes "${PREFIXES[@]}")
	b4 prep --enroll base "${options[@]}"
	b4 prep --edit-cover
	tracking=$(pgit config "$key" | "$POSTING" tracking "$SERIES")
	pgit config "$key" "$tracking"
	if [[ $CHECK != no ]] && command b4 prep --help | grep -q -- '--check\b'; then
		b4 prep --check
	fi
}

known=$("$POSTING" list) || exit
grep -qxF -- "${SERIES:-?}" <<< "$known" ||
	die "which series? SERIES=$SERIES is none of b4.yaml" "" "one of: ${known//$'\n'/, }"
fields=$("$POSTING" fields "$SERIES") || exit
{
	read -ra PREFIXES
	read -ra PREREQUISITES
	read -r REVISION
} <<< "$fields"
home=$(home_of "$SERIES")
[[ $home ]] || die "no stack has a series $SERIES" "" "list its patches in series/<base>"
[[ ! $GIVEN || $GIVEN == "$home" ]] ||
	die "$SERIES is posted from the kernel where it is at home, Linux $home" "" "make post SERIES=$SERIES"
take_stack "$home"
"$TOP/scripts/tree.sh" || exit 1
TAG=v$BASE
DIR=$BUILD/post/$SERIES
CLONE=$DIR/linux
LOG=$BUILD/log/post-$SERIES.log
COVER=$PATCHES/$SERIES/0000-cover-letter.patch
[[ -e $COVER ]] || die "patches/$SERIES has no cover letter" "" "make refresh"
lock_tree
keep_work unapplied_work "$TREE_NAME has work that is not in patches/" "make refresh, or git -C $TREE_NAME stash -u"

who=$(sender)
{
	read -r NAME
	read -r MAIL
} <<< "$who"
sent=$(git -C "$CLONE" tag --list "sent/$SERIES-v$REVISION" 2> /dev/null) || :
[[ ! $sent ]] || die "v$REVISION of $SERIES has been sent from $CLONE" "" \
	"in b4.yaml set revision to $((REVISION + 1)), say what changes, and link to v$REVISION; or rm -r $DIR"

: > "$LOG"
step "applying $SERIES to $TAG, for v$REVISION"
commit=${KDIR:+$(kernel_repository "$TAG")}
[[ $commit ]] || commit=$(commit_of base)
rm -rf "$DIR"
mkdir -p "$DIR"
clone "$commit"
check_base
for name in $(in_order "${PREREQUISITES[@]}"); do
	apply "$name"
done
pgit checkout -q -b "b4/$SERIES"
apply "$SERIES" ${FROM:+--signoff}
add_changelogs
template "$commit" > "$DIR/template"
enrol

step "what would be sent"
b4 send --no-sign -o "$DIR/mails"
"$POSTING" mbox "$DIR/$SERIES-v$REVISION.mbx" "$DIR"/mails/* || exit 1
note "from $NAME <$MAIL>${FROM:+, with a Signed-off-by}"
note "nothing was sent. The mails: $DIR/$SERIES-v$REVISION.mbx"
[[ $FROM ]] || note "To send them as yourself: make post SERIES=$SERIES FROM=\"Your Name <your mail>\""
note "To send them: cd $CLONE && b4 send"
