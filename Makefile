# SPDX-License-Identifier: GPL-2.0-only
#
# Each target is a script; this file only says what comes before what. A target
# does again what its inputs ask for, and nothing else: the scripts know.

# The kernel's Makefiles must not take this make's flags for theirs.
unexport MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

.PHONY: help check lint test selftest bench boot tree refresh post port matrix clean distclean
.NOTPARALLEL:

help:		## show this text
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 20
	@echo
	@echo "  T=PATTERN         the tests to run         RUN=PATTERN  the guest runs"
	@echo "  ARCH=ARCH         the runs of one machine  ALL=1        the slow runs too"
	@echo "  KERNEL=PATH       source of the kernel: a tree, a git tree or a tarball"
	@echo "  JOBS=N            processors to use        ACCEL=NAME   QEMU's accelerator"
	@echo "  APPEND=TEXT       to the guest kernel's command line, FUZZ_SEED=N for instance"
	@echo "  SERIES=NAME       the series to post       FROM='A Name <mail>'  who posts it"
	@echo "  P=N               the patch of SERIES= to lint, T=PATTERN the checks,"
	@echo "  ROW=PATTERN       the configurations to build it in"
	@echo "  KDIR=PATH         a clone of the kernel's own repository, to name a base-commit;"
	@echo "                    for make port any git tree of the kernel"
	@echo "  BASE=VERSION      the kernel to port to    SAVE=1       keep what it came to"

check: tree	## build, boot and test the series in QEMU
	@scripts/deps check
	@scripts/check

lint: tree	## all checks of each patch that need no guest
	@scripts/deps check post lint
	@scripts/lint

test: tree	## lint but for builds, all of check, and the tests of the pipeline itself
	@scripts/deps check post lint workflows
	@command -v npm > /dev/null || scripts/deps npm
	@scripts/test

selftest: tree	## the tests of the pipeline itself only
	@scripts/deps check post lint workflows
	@command -v npm > /dev/null || scripts/deps npm
	@scripts/selftest

bench: tree	## measure the kernels with and without iova-extents, write the figures
	@scripts/deps check bench
	@scripts/bench

boot: tree	## a shell in the guest of a run, its devices bound to vfio-pci
	@scripts/deps check
	@scripts/boot

tree:		## make build/linux: the pinned kernel, a branch for each series
	@scripts/deps tree
	@scripts/tree

refresh:	## turn the branches of build/linux into patches and overlays
	@scripts/refresh

post: tree	## make the mails of a series with b4, for SERIES=; send nothing
	@scripts/deps post
	@scripts/post

port: tree	## apply the series to another kernel, for BASE= or KDIR=; build, boot
	@scripts/deps check port
	@scripts/port

matrix:		## the parts of all this that can run side by side, as JSON
	@scripts/matrix

clean:		## remove what was built, but not build/linux
	@scripts/clean

distclean:	## remove build/, unless build/linux has work that is not in patches/
	@scripts/clean --all
