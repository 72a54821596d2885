# SPDX-License-Identifier: GPL-2.0-only
#
# Each target is a script; this file only says what comes before what. A target
# does again what its inputs ask for, and nothing else: the scripts know.

# The kernel's Makefiles must not take this make's flags for theirs.
unexport MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

.PHONY: help check test selftest boot tree refresh post clean distclean
.NOTPARALLEL:

help:		## show this text
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 20
	@echo
	@echo "  T=PATTERN         the tests to run         RUN=PATTERN  the guest runs"
	@echo "  ARCH=ARCH         the runs of one machine  ALL=1        the slow runs too"
	@echo "  KERNEL=PATH       source of the kernel: a tree, a git tree or a tarball"
	@echo "  JOBS=N            processors to use        ACCEL=NAME   QEMU's accelerator"
	@echo "  SERIES=NAME       the series to post       FROM='A Name <mail>'  who posts it"
	@echo "  KDIR=PATH         a clone of the kernel's own repository, to name a base-commit"

check: tree	## build, boot and test the series in QEMU
	@scripts/deps check
	@scripts/check

test: tree	## all of check, slow runs too, and the tests of the pipeline itself
	@scripts/deps check post
	@scripts/test

selftest: tree	## the tests of the pipeline itself only
	@scripts/deps check post
	@scripts/selftest

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

clean:		## remove what was built, but not build/linux
	@scripts/clean

distclean:	## remove build/, unless build/linux has work that is not in patches/
	@scripts/clean --all
