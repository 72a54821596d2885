# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2086,SC2154	# $B is one word; project.sh has the rest
#
# For the tests of scripts/lint.sh: a project with two series, in which each check finds
# one deliberate defect. The kernel is the real one, as far as the checks look at it.
# Source project.sh first.

needs_tree "${STACKS[@]}"

export XDG_CACHE_HOME=$SCRATCH/cache

# What is made of the real kernel
B=build/$REAL_BASE

# tree_with PATTERN...: the current folder's $B/linux, with the objects of the real
# one and a work tree of some folders only
tree_with()
{
	mkdir -p "$B"
	git init -q --template= -b base $B/linux
	lend "$REAL" $B/linux
	git -C $B/linux config core.sparseCheckout true
	mkdir -p $B/linux/.git/info
	printf '%s\n' "$@" > $B/linux/.git/info/sparse-checkout
	git -C $B/linux update-ref refs/heads/base "$(git -C "$REAL" rev-parse base)"
}

# patch FILE SUBJECT [TEXT...]: commit what stdin appends to a file; the text goes
# above the Signed-off-by
patch()
{
	mkdir -p "$B/linux/$(dirname "$1")"
	cat >> "$B/linux/$1"
	git -C $B/linux add --sparse "$1"
	printf '%s\n' "$2" '' 'It is for a test of the pipeline, and tells why it is done.' '' \
		"${@:3}" 'Signed-off-by: An Author <author@example.org>' > "$SCRATCH/message"
	git -C $B/linux commit -q -F "$SCRATCH/message"
}

# lint PATCH CHECK: for what is checked next
lint()
{
	run env P="$1" T="$2" SERIES='' scripts/lint.sh
}

# complains PATCH CHECK TEXT...: it fails, and says each
complains()
{
	lint "$1" "$2"
	check "$2: complains $3" fails_saying "FAIL $2:" "${@:4}" "0 passed, 1 failed, 0 skipped"
}

# is_content PATCH CHECK WITH
is_content()
{
	lint "$1" "$2"
	check "$2: is content with $3" passes
}

mkdir "$SCRATCH/p"
cd "$SCRATCH/p" || exit
cp -r "$REPO"/{scripts,patches} .
rm -r patches/*
mkdir series
for base in "${STACKS[@]}"; do
	: > "series/$base"
done
# What get_maintainer.pl and checkpatch.pl know the top of a kernel by, and use
tree_with '/*' '!/*/' /LICENSES/ /scripts/ '!/scripts/gdb/' /include/linux/generic_pt/ /tools/docs/ \
	/Documentation/Kconfig /Documentation/process/ /arch/Kconfig /drivers/Kconfig /fs/Kconfig \
	/init/Kconfig /ipc/Makefile /kernel/Makefile /lib/Kconfig /drivers/vfio/ \
	/Documentation/driver-api/vfio.rst
run scripts/tree.sh
check "a tree for the tests" passes

# A clone of the kernel's own repository, of one commit
git init -q --template= kdir
git -C kdir commit -q --allow-empty -m "vfio: Say (and mean) \"it\""
known=$(git -C kdir rev-parse --short=12 HEAD)

{
	git -C $B/linux checkout -q -b bad
	patch drivers/vfio/new.c "vfio: add a file that checkpatch dislikes" <<- 'end'
		// SPDX-License-Identifier: GPL-2.0-only
		int  vfio_new( int a ) { if( a ) return 1; return 0; }
	end
	patch drivers/vfio/vfio.h "vfio: describe a parameter that is not there" <<- 'end'

		/**
		 * vfio_new - be new
		 * @b: not what it is called
		 */
		int vfio_new(int a);
	end
	patch Documentation/driver-api/vfio.rst "Documentation: underline half a title" <<- 'end'

		A title that is long
		====================

		.. no-such-directive:: at all
	end
	patch drivers/vfio/new.c "vfio: free memory with a needless test" \
		"Fixes: 123456 (no quotes)" <<- 'end'

			#include <linux/slab.h>

			void vfio_new_free(void *p)
			{
				if (p)
					kfree(p);
			}
		end
	patch drivers/vfio/new.h "vfio: add a header" \
		"Link: https://lore.kernel.org/r/20260101.1@example.org" <<- 'end'
			/* SPDX-License-Identifier: GPL-2.0-only */
			int vfio_new(int a);
		end
	patch drivers/vfio/new.h "vfio: name a commit of the table" \
		'What commit 89e1f7d4c66d ("vfio: Add PCI device' 'driver") does is not enough.' '' \
		'Fixes: f394576eb11d ("iommufd: PFN handling for iopt_pages")' <<- 'end'
			int vfio_new6(int a);
		end
	patch drivers/vfio/new.h "vfio: name one of another subject" \
		'Fixes: f394576eb11d ("iommufd: PFN handling of iopt_pages")' <<- 'end'
			int vfio_new7(int a);
		end
	patch drivers/vfio/new.h "vfio: name one that is not in the table" \
		"See commit $known (\"vfio: Say (and mean) \"it\"\")." '' <<- 'end'
			int vfio_new8(int a);
		end
	patch Documentation/driver-api/vfio.rst "Documentation: say more" \
		'# Conflicts:' $'#\tDocumentation/driver-api/vfio.rst' '' <<- 'end'

			More.
		end
	git -C $B/linux checkout -q -b onit
	patch drivers/vfio/new.h "vfio: add another declaration" <<- 'end'
		int vfio_newer(int a);
	end
	patch drivers/vfio/vfio.h "vfio: do not build without groups" <<- 'end'
		#if !IS_ENABLED(CONFIG_VFIO_GROUP)
		#error no groups
		#endif
	end
	sed -i '/^#if !IS_ENABLED(CONFIG_VFIO_GROUP)$/,/^#endif$/{/no groups/d}' $B/linux/drivers/vfio/vfio.h
	patch drivers/vfio/vfio_main.c "vfio: add a function without a declaration" <<- 'end'

		int vfio_lint(int __user *p)
		{
			return !p;
		}
	end
	git -C $B/linux commit -q -a --amend --no-edit
	sed -i 's/return !p;$/return *p;/' $B/linux/drivers/vfio/vfio_main.c
	patch drivers/vfio/vfio_main.c "vfio: read the memory of a user" <<- 'end'
		/* The end */
	end
	patch drivers/vfio/vfio_main.c "vfio: call what nobody has" <<- 'end'

		void vfio_not_there(void);
		void vfio_call_it(void);

		void vfio_call_it(void)
		{
			if (IS_MODULE(CONFIG_VFIO))
				vfio_not_there();
		}
	end
	patch drivers/vfio/own.c "vfio: add an object with a rule of its own" <<- 'end'
		/* SPDX-License-Identifier: GPL-2.0-only */
		extern const int vfio_own;
		const int vfio_own = 1;
	end
	cat >> $B/linux/drivers/vfio/Makefile <<- 'end'
		obj-y += its_own.o
		$(obj)/its_%.o: $(src)/%.c FORCE ; $(call if_changed_dep,cc_o_c)
	end
	git -C $B/linux commit -q -a --amend --no-edit
	mkdir -p patches/bad patches/onit
	scripts/refresh.sh
	sed -i 's/\*\*\* SUBJECT HERE \*\*\*/vfio: A series/; s/\*\*\* BLURB HERE \*\*\*/This is prose./' patches/*/0000-*
	scripts/refresh.sh
} > "$OUTPUT" 2>&1 < /dev/null

for series in bad onit; do
	printf '%s\n' "$series:" "  change-id: 20260101-$series-123456789abc" \
		"  revision: 1" "  prefixes: []" \
		"  prerequisites: []" "  to: [Alex Williamson <ALEX@shazbot.org>]" \
		"  cc: [kvm@vger.kernel.org]" "  changes: {}" "  links: {}"
done > b4.yaml
git init -q .
