# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For the tests of the pipeline: TAP, and scratch projects that hold the real
# scripts and a kernel of a few files. Nothing outside of $SCRATCH is written.

unset CDPATH
shopt -u patsub_replacement 2> /dev/null || :
REPO=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd -P)
. "$REPO/scripts/lib/help.sh"
# shellcheck disable=SC2034	# for the tests
mapfile -t STACKS < <("$REPO/scripts/lib/pins" stacks)
# The real tree, which lends its objects to scratch projects
REAL_BASE=${BASE:-${STACKS[0]}}
# shellcheck disable=SC2034	# for the tests
REAL=$REPO/build/$REAL_BASE/linux
# A kernel cannot be built in a path with a space, nor can make tree work there.
[[ ${TMPDIR:-} != *[:[:space:]]* ]] || unset TMPDIR
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
chmod 755 "$SCRATCH"

export XDG_CACHE_HOME=$SCRATCH/cache HOME=$SCRATCH LC_ALL=C
export GIT_CONFIG_GLOBAL=$SCRATCH/gitconfig GIT_CONFIG_NOSYSTEM=1
unset BASE BUILD KERNEL PIPELINE_START APT_CONFIG
# A kernel of a few files does not need what need_space asks for a real one.
export DISK_FREE_MIB=100000
git config --global user.name "An Author"
git config --global user.email author@example.org
git config --global advice.detachedHead false
git config --global safe.directory '*'

# needs_tree BASE...: the test takes these kernel trees, and has failed without them
needs_tree()
{
	local base

	for base; do
		[[ ! -e $REPO/build/$base/linux ]] || continue
		printf '%s\n' "not ok 1 - build/$base/linux is there" "# next: make tree BASE=$base" 1..1
		exit 1
	done
}

# lend LENDER TREE: TREE uses the objects of LENDER, as in the pipeline itself
lend()
(
	. "$REPO/scripts/lib/apply.sh"
	borrow "$2" "$1"
)

NR=0
FAILED=0
OUTPUT=$SCRATCH/output
KERNEL_FILES=(Makefile drivers/iommu/core.c drivers/vfio/vfio.c tools/testing/selftests/vfio/a.c)

# check NAME COMMAND...: one result: does the command succeed
check()
{
	local name=$1

	((++NR))
	if "${@:2}" > "$SCRATCH/check" 2>&1; then
		echo "ok $NR - $name"
		return
	fi
	echo "not ok $NR - $name"
	FAILED=1
	printf '# failed: %s\n' "${*:2}"
	sed 's/^/#   /' "$SCRATCH/check"
	echo "# the last output of the pipeline:"
	sed 's/^/#   /' "$OUTPUT"
}

# run COMMAND...: keep its output and status for what is checked next
run()
{
	STATUS=0
	"$@" > "$OUTPUT" 2>&1 < /dev/null || STATUS=$?
}

passes()
{
	((STATUS == 0))
}

# fails_saying TEXT...: the last run failed, and said each
fails_saying()
{
	local text

	((STATUS == 1)) || {
		echo "exit status $STATUS"
		return 1
	}
	for text; do
		grep -qF -- "$text" "$OUTPUT" || {
			echo "not said: $text"
			return 1
		}
	done
}

says()
{
	grep -qF -- "$1" "$OUTPUT"
}

finish()
{
	echo "1..$NR"
	exit $FAILED
}

# hide PATTERN...: from here on PATH has all that it had but programs of these names
hide()
{
	local dirs dir pattern bin

	bin=$(mktemp -d -p "$SCRATCH")
	IFS=: read -ra dirs <<< "$PATH"
	for dir in "${dirs[@]}"; do
		# What an earlier folder has stays.
		find "$dir/" -mindepth 1 -maxdepth 1 -exec ln -s -t "$bin" {} + 2> /dev/null || :
	done
	for pattern; do
		find "$bin" -name "$pattern" -delete
	done
	PATH=$bin
}

# kernel DIR: the source of a kernel of a few files
kernel()
{
	local file

	for file in "${KERNEL_FILES[@]}"; do
		mkdir -p "$1/$(dirname "$file")"
		printf "$file line %d\n" {1..20} > "$1/$file"
	done
	ln -s Makefile "$1/link"
	# Debian's source packages have this at the end
	printf '%s\n' '*.o' '' '#' '# Debian packaging: ignore everything at the top level' '#' '/*' '!/debian/' \
		> "$1/.gitignore"
}

# project DIR: the real scripts, pinned to the kernel of a few files. What the
# user's apt knows is an archive below $SCRATCH.
project()
{
	local tarball=$SCRATCH/archive/pool/linux_9.9.9.orig.tar.gz

	if [[ ! -e $tarball ]]; then
		kernel "$SCRATCH/linux-9.9.9"
		mkdir -p "$SCRATCH/archive/pool" "$SCRATCH/apt/lists"
		tar -C "$SCRATCH" -czf "$tarball" linux-9.9.9
		printf 'deb [trusted=yes] copy:%s/archive stable main\n' "$SCRATCH" > "$SCRATCH/apt/sources"
		printf '%s "%s";\n' Dir::Etc::SourceList "$SCRATCH/apt/sources" \
			Dir::Etc::SourceParts /dev/null \
			Dir::State::Lists "$SCRATCH/apt/lists" > "$SCRATCH/apt/conf"
	fi
	export APT_CONFIG=$SCRATCH/apt/conf
	mkdir -p "$1"
	cp -r "$REPO/scripts" "$REPO/Makefile" "$REPO/.gitattributes" "$1"
	mkdir -p "$1/series"
	: > "$1/series/9.9.9"
	printf '%s\n' "stack 9.9.9" \
		"debian pool/linux_9.9.9.orig.tar.gz $(sha256sum < "$tarball" | cut -d' ' -f1)" \
		"url http://127.0.0.1:1/linux-9.9.9.tar.gz -" > "$1/scripts/conf/pins"
	git -C "$1" init -q -b main
	echo /build/ > "$1/.gitignore"
}

# commit FILE TEXT SUBJECT: in the kernel tree of the current folder's project,
# replace line 10 of the file, or make the file
commit()
{
	mkdir -p "$(dirname "build/9.9.9/linux/$1")"
	[[ -e build/9.9.9/linux/$1 ]] && sed -i "10s/.*/$2/" "build/9.9.9/linux/$1" || echo "$2" > "build/9.9.9/linux/$1"
	git -C build/9.9.9/linux add -A
	git -C build/9.9.9/linux commit -qm "$3" -m "Why." -m "Signed-off-by: An Author <author@example.org>"
}

# with_series DIR: a project with two series, in a git repository. The current
# folder becomes DIR.
with_series()
{
	project "$1"
	cd "$1" || exit
	scripts/tree.sh
	git -C build/9.9.9/linux checkout -q -b one
	commit drivers/iommu/core.c first "iommu: change a line"
	git -C build/9.9.9/linux notes add -m $'v2:\n - a changelog\n\nv1: none'
	commit drivers/iommu/new/file.c 'int a;' "iommu: add a file"
	git -C build/9.9.9/linux checkout -q -b two
	commit drivers/vfio/vfio.c second "vfio: change a line"
	commit tools/testing/selftests/vfio/b.c 'int b;' "selftests: add a test"
	mkdir -p patches/one patches/two
	scripts/refresh.sh
	sed -i 's/\*\*\* SUBJECT HERE \*\*\*/one: a series/
		s/\*\*\* BLURB HERE \*\*\*/This is prose.\n\n  indented (1):\n\nAnd its end./' \
		patches/one/0000-cover-letter.patch
	scripts/refresh.sh
	git add -A
	git commit -qm "the series"
} > "$SCRATCH/setup" 2>&1
