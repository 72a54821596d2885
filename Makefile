# SPDX-License-Identifier: GPL-2.0-only
#
# Each target is a script; this file only says what comes before what. A target
# does again what its inputs ask for, and nothing else: the scripts know.

# The kernel's Makefiles must not take this make's flags for theirs.
unexport MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

.PHONY: help check lint test test-pipeline bench boot tree refresh post port move runs matrix clean distclean
.NOTPARALLEL:

help:		## show this text
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20
	@echo
	@echo "  T=PATTERN         the tests to run         RUN=PATTERN  the guest runs"
	@echo "  ARCH=ARCH         the runs of one machine  ALL=1        the slow runs too"
	@echo "  GROUP=NAME        the runs of a group"
	@echo "  KERNEL=PATH       source of the kernel: a tree, a git tree or a tarball"
	@echo "  JOBS=N            processors to use        ACCEL=NAME   QEMU's accelerator"
	@echo "  GDB=1             wait for a debugger, and say how to start it: check RUN=, boot"
	@echo "  APPEND=TEXT       to the guest kernel's command line, FUZZ_SEED=N for instance"
	@echo "  SERIES=NAME       the series to post       FROM='A Name <mail>'  who posts it"
	@echo "  P=N               the patch of SERIES= to lint, T=PATTERN the checks,"
	@echo "  ROW=PATTERN       the configurations to build it in"
	@echo "  KDIR=PATH         a clone of the kernel's own repository, to name a base-commit;"
	@echo "                    for make port any git tree of the kernel"
	@echo "  BASE=VERSION      the kernel to port to    SAVE=1       keep what it came to"

check:	## build, boot and test the series in QEMU
	@scripts/fetch/packages check
	@scripts/check.sh

lint: tree	## all checks of each patch that need no guest
	@scripts/fetch/packages check post lint
	@scripts/lint.sh

test: tree	## lint but for builds, all of check, and the tests of the pipeline itself
	@scripts/fetch/packages check post lint workflows pipeline
	@command -v npm > /dev/null || scripts/fetch/packages npm
	@scripts/test.sh

test-pipeline: tree	## the tests of the pipeline itself only
	@scripts/fetch/packages check post lint workflows pipeline
	@command -v npm > /dev/null || scripts/fetch/packages npm
	@scripts/test-pipeline.sh

bench: tree	## measure the kernels with and without iova-extents, write the figures
	@scripts/fetch/packages check bench
	@scripts/bench.sh

boot:	## a shell in the guest of a run, its devices bound to vfio-pci
	@scripts/fetch/packages check
	@scripts/boot.sh

tree:		## make build/linux: the pinned kernel, a branch for each series
	@scripts/fetch/packages tree
	@scripts/tree.sh

refresh:	## turn the branches of build/linux into patches and overlays
	@scripts/refresh.sh

post:	## make the mails of a series with b4, for SERIES=; send nothing
	@scripts/fetch/packages post
	@scripts/post.sh

port:	## apply the series to another kernel, for BASE= or KDIR=; build, boot
	@scripts/fetch/packages check
	@scripts/port.sh

move:		## move the stack BASE= to another kernel, TO=
	@scripts/fetch/packages tree
	@scripts/move.sh

runs:		## list the guest runs, and what each is for; with T=PATTERN their tests
	@scripts/runs.py

matrix:		## the parts of all this that can run side by side, as JSON
	@scripts/matrix.py

clean:		## remove what was built, but not the kernel trees
	@scripts/clean.sh

distclean:	## remove build/, unless a kernel tree has work that is not in patches/
	@scripts/clean.sh --all
