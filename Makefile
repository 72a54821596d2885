# SPDX-License-Identifier: GPL-2.0-only
#
# Each target is a script; this file only says what comes before what. A target
# does again what its inputs ask for, and nothing else: the scripts know.

# The kernel's Makefiles must not take this make's flags for theirs.
unexport MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

.PHONY: help check runs boot lint test test-pipeline bench tree refresh post port move matrix clean distclean
.NOTPARALLEL:

# What is behind ## below: each target, and the variables that it takes.
help:		## show this text
	@sed -nE 's/^([a-z-]+):.*## /  make \1\t/p; s/^## ([^\t]+)\t+/      \1\t/p; s/^### /\n/p' \
		Makefile | expand -t 24

check:		## build a stack of patches, boot it in QEMU, run the selftests
## RUN=PATTERN	the guest runs; make runs lists them
## T=PATTERN	the tests: a program, or FIXTURE.VARIANT.TEST
## ARCH=ARCH	the runs of one architecture
## GROUP=NAME	the runs of a group
## ALL=1		the slow runs too
## GDB=1		wait for a debugger, and say how to start it; with RUN=
## ACCEL=NAME	QEMU's accelerator
## APPEND=TEXT	to the guest kernel's command line, FUZZ_SEED=N for instance
## KCIDB_ORIGIN=NAME, KCIDB_COMMIT=ID	what the report for KernelCI says
	@scripts/fetch/packages tree check $(if $(GDB),gdb)
	@scripts/check.sh

runs:		## list the guest runs, and what each is for; with T=PATTERN their tests
## RUN=, ARCH=, GROUP=	as for make check
	@scripts/runs.py

boot:		## a shell in the guest of a run, its devices bound to vfio-pci
## RUN=NAME	the run
## GDB=1		wait for a debugger, and say how to start it
## ACCEL=, APPEND=	as for make check
	@scripts/fetch/packages tree check $(if $(GDB),gdb)
	@scripts/boot.sh

lint:		## all checks of each patch that need no guest
## SERIES=NAME	the patches of one series
## P=N		one patch of it, 0 for the cover letter
## T=PATTERN	the checks
## ROW=PATTERN	the configurations to build a patch in
## KDIR=PATH	a clone of the kernel's own repository, which has the commits that Fixes: name
	@scripts/fetch/packages tree check post lint
	@scripts/lint.sh

test:		## what CI runs: the quick checks of lint, check, and the tests of the pipeline
	@scripts/fetch/packages tree check post lint pipeline workflows
	@command -v npm > /dev/null || scripts/fetch/packages npm
	@scripts/test.sh

test-pipeline:	## the tests of the pipeline itself only
## T=PATTERN	the tests: files of scripts/tests
	@scripts/fetch/packages tree check post lint pipeline workflows
	@command -v npm > /dev/null || scripts/fetch/packages npm
	@for base in $$(scripts/lib/pins stacks); do BASE=$$base scripts/tree.sh || exit 1; done
	@scripts/test-pipeline.sh

bench: tree	## measure the kernel with and without the series, write the figures
## AT=COMMITS	compare these of build/BASE/linux instead, and write nothing
## QUICK=1	leave out what is larger than 256 MiB, and write nothing
## RUN=PATTERN	the guests of scripts/conf/bench.cfg, and write nothing
	@scripts/fetch/packages check bench aarch64 ppc64le
	@scripts/bench.sh

tree:		## make build/BASE/linux: the kernel, a branch for each series
	@scripts/fetch/packages tree
	@scripts/tree.sh

refresh:	## turn the branches of build/BASE/linux into patches and overlays
	@scripts/refresh.sh

post:		## make the mails of a series with b4; send nothing
## SERIES=NAME	the series
## FROM=SENDER	who posts it: 'A Name <mail>'
## KDIR=PATH	a clone of the kernel's own repository, to name a base-commit
	@scripts/fetch/packages tree post
	@scripts/post.sh

port:		## apply the stack that fits to another kernel; build, boot
## BASE=VERSION	a kernel that scripts/conf/pins lists, or a commit of KDIR=
## KDIR=PATH	any git tree of the kernel
## SAVE=1	keep what it came to: the resolution of a conflict, the README's row
## RUN=, T=, ARCH=, GROUP=, ALL=	as for make check
	@BASE= scripts/fetch/packages tree check
	@scripts/port.sh

move:		## move a stack to another kernel
## BASE=VERSION	the stack
## TO=VERSION	a kernel that scripts/conf/pins lists
## SAVE=1	keep the resolution of a conflict
	@scripts/fetch/packages tree
	@scripts/move.sh

matrix:		## the parts of all this that can run side by side, as JSON
	@scripts/matrix.py

clean:		## remove what was built, but not the trees of the stacks
	@scripts/clean.sh

distclean:	## remove build/, unless a kernel tree has work that is not in patches/
	@scripts/clean.sh --all

### Variables of more than one:
## BASE=VERSION	the stack of patches: a kernel of series/; 7.1.3 without it
## KERNEL=PATH	source of the kernel: a tree, a git tree or a tarball
## JOBS=N	processors to use
## PATTERN	is one of the shell, with * and ? and [abc]
