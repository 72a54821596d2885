# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What every script of the pipeline shares: where things are and how to talk.
# Source it first:  . "$(dirname "$0")/../lib/common.sh"

set -euo pipefail
shopt -s inherit_errexit # a failure inside $(...) counts too

# The same words, sort order and modes everywhere, whatever the user's environment.
unset CDPATH GREP_OPTIONS GREP_COLORS POSIXLY_CORRECT TAR_OPTIONS XZ_OPT XZ_DEFAULTS
# Whatever repository the caller works in (a git hook, say) is not ours.
# shellcheck disable=SC2046	# one name a word
unset $(git rev-parse --local-env-vars 2> /dev/null)
# An "&" of a path is just that in ${text/pattern/$path}. Before 5.2 bash did not ask.
shopt -u patsub_replacement 2> /dev/null || :
umask 022
export LC_ALL=C
export HOME=${HOME:-~}

TOP=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd -P)
# shellcheck source=SCRIPTDIR/help.sh
. "$TOP/scripts/lib/help.sh"
JOBS=${JOBS:-$(nproc)}
ARGUMENT=${1:-}

# One clock for the whole pipeline: the first script starts it.
export PIPELINE_START=${PIPELINE_START:-$EPOCHSECONDS}

# step TEXT: one line for each thing that the pipeline does
step()
{
	printf '[%3ds] %s\n' $((EPOCHSECONDS - PIPELINE_START)) "$*"
}

# note TEXT: a detail of the step above
note()
{
	printf '       %s\n' "$*"
}

# die WHAT [LOG] [NEXT]: what failed, where its log is, what to do next
die()
{
	local what=$1 log=${2:-} next=${3:-}

	{
		printf 'error: %s\n' "$what"
		if [[ $log ]]; then
			printf '  log: %s\n' "$log"
			[[ ! -s $log ]] || tail -n 15 "$log" | sed 's/^/     | /'
		fi
		[[ ! $next ]] || printf ' next: %s\n' "$next"
	} >&2
	exit $((BASH_SUBSHELL ? REPORTED : 1))
}

# A command that fails, and whose status nothing checks, is reported as an error, once: a
# subshell that has reported one exits with this status.
REPORTED=250
# shellcheck disable=SC2154	# rc is set in the trap
trap 'rc=$?; ((rc == REPORTED)) ||
	printf "error: %s:%d: exit status %d of: %s\n" "${BASH_SOURCE[0]#"$TOP/"}" "$LINENO" "$rc" "$BASH_COMMAND" >&2
	exit $((BASH_SUBSHELL ? REPORTED : 1))' ERR
set -o errtrace

# logged LOG WHAT COMMAND [ARG...]: run a long command with its output in LOG.
# A terminal sees the seconds pass. A function given as COMMAND runs with
# errexit off, as bash has it: let it return its failures itself.
logged()
{
	local log=$1 what=$2 began=$EPOCHSECONDS ticker='' rc=0

	shift 2
	mkdir -p "${log%/*}"
	step "$what"
	if [[ -t 1 ]]; then
		# Ends by itself should this shell be killed.
		while sleep 1 && kill -0 $$; do
			printf '\r       %d s ' $((EPOCHSECONDS - began))
		done 2> /dev/null &
		ticker=$!
	fi
	"$@" > "$log" 2>&1 < /dev/null || rc=$?
	if [[ $ticker ]]; then
		kill "$ticker" 2> /dev/null || :
		wait "$ticker" 2> /dev/null || :
		printf '\r\e[K'
	fi
	((rc == 0)) || die "$what: exit status $rc" "$log" "${LOGGED_NEXT:-}"
}

# lock FILE WHAT: take this lock, once no other script has it; it ends with the process
lock()
{
	local fd

	mkdir -p "${1%/*}"
	exec {fd}> "$1"
	flock -n "$fd" || {
		note "waiting for $2"
		flock "$fd"
	}
}

# need_space DIR MIB WHAT: refuse to start what the disk cannot hold.
# DISK_FREE_MIB stands in for the real figure in the pipeline's own tests.
need_space()
{
	local dir=$1 need=$2 what=$3 free

	mkdir -p "$dir"
	free=${DISK_FREE_MIB:-$(df -Pm "$dir" | awk 'NR == 2 { print $4 }')}
	((free >= need)) || die "no disk space for $what: $dir has $free MiB free, needed are $need MiB" \
		"" "free some space, or clone to a larger disk"
}

# use_cache: the user's cache folder, for downloads and compiled objects. Where the user
# has none that serves, it is below build/.
use_cache()
{
	local why

	CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/vfio-noiommu
	case $CACHE in
	[!/]*) why="is no absolute path" ;;
	*[:[:space:]]*) why="has a space or a colon" ;;
	*)
		! {
			mkdir -p "$CACHE" && [[ -w $CACHE ]]
		} 2> /dev/null || return 0
		why="cannot be written"
		;;
	esac
	[[ -e $TOP/build/cache ]] || note "$CACHE $why: build/cache takes its place" >&2
	CACHE=$TOP/build/cache
	mkdir -p "$CACHE"
	# Programs that are started want to write there too.
	[[ -w $HOME ]] || HOME=$CACHE
}

# literal TEXT: a path as sed -E takes it for just that, in a pattern or as replacement
literal()
{
	sed 's/[][\\.*^$+?(){}|,/&]/\\&/g' <<< "$1"
}

# use_arch ARCH: KARCH, KSELFTEST, TRIPLET, DEBIAN, SUITE and IMAGE of the table of
# architectures, and the compiler's prefix
use_arch()
{
	local section

	section=$("$TOP/scripts/run/arches.py" "$1") || exit
	eval "$section"
	CROSS_COMPILE=
	[[ ! $TRIPLET || $(uname -m) == "$1" ]] || CROSS_COMPILE=$TRIPLET-
	export KARCH IMAGE CROSS_COMPILE
}

# use_stack BASE: work with the stack of patches for this kernel, series/BASE, and what
# is made of it, below build/BASE if BUILD does not say otherwise
# shellcheck disable=SC2034	# these are for the scripts that source this
use_stack()
{
	export BASE=$1 BUILD=${BUILD:-$TOP/build/$1}
	LINUX=$BUILD/linux
	TREE_NAME=${LINUX#"$TOP/"} # for messages
	SERIES_FILE=$TOP/series/$BASE
	FINGERPRINT=$TOP/series/$BASE.blobs # see fingerprint() in series.sh
	[[ -e $SERIES_FILE ]] || die "BASE=$BASE: there is no stack of patches for this kernel" "" \
		"one of: $("$TOP/scripts/lib/pins" stacks | paste -sd' ')"
}

# The script of a make target takes variables. Only the tests of the pipeline are arguments.
case ${0##*/}/$ARGUMENT in
*.sh/ | clean.sh/--all | test-pipeline.sh/*) ;;
*.sh/*)
	die "${0##*/} does not know what $ARGUMENT is" "" "$0 --help names the variables that it takes"
	;;
esac
[[ $JOBS =~ ^[1-9][0-9]*$ ]] || die "JOBS=$JOBS is no number of processors"
use_cache
# check_request: what was asked for, before anything is made for it: that RUN=, T= and so on
# choose a run of this stack, and that the report can be written as KCIDB_... say
check_request()
{
	"$TOP/scripts/run/table.py" > /dev/null && "$TOP/scripts/run/report" --words || exit 1
}

# take_stack BASE: that one, if it is another
take_stack()
{
	[[ $1 != "$BASE" ]] || return 0
	unset BUILD
	use_stack "$1"
}

use_stack "${BASE:-$("$TOP/scripts/lib/pins" stacks | sed -n 1p)}"
