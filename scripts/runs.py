#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""
List the guest runs of a stack: architecture, kernel, groups, what each is for, and why
make test leaves it to make matrix, if it does.

RUN=, ARCH= and GROUP= in the environment choose some of them, as for make check: without
BASE= of the default stack, or of the one that has such runs.
T=PATTERN lists the programs of each that match, with the number of tests that pass
('*': all); so does --tests PATTERN.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'run'))
import common  # noqa: E402 pylint: disable=wrong-import-position
import table  # noqa: E402 pylint: disable=wrong-import-position


def check_rows(runs):
	"""Each says what it is for, and has a kernel of its architecture"""
	kernels = {words[0]: words[1] for words in common.conf_rows('kernels')}
	for run in runs:
		if not run.purpose:
			common.die(f'{table.TABLE}: [{run.name}]: for is missing',
				   'say there what the run is for')
		if kernels.get(run.kernel.removesuffix('.gdb')) != run.arch:
			common.die(f'{table.TABLE}: [{run.name}]: scripts/conf/kernels has no '
				   f'{run.kernel} for {run.arch}', 'add it there, or correct kernel =')


def rows(runs):
	"""The columns of each"""
	yield 'run', 'arch', 'kernel', 'groups', 'for'
	for run in runs:
		yield run.name, run.arch, run.kernel, ','.join(run.groups), run.purpose


def print_tests(run, pattern):
	"""The programs of a run that match"""
	for test in run.tests:
		if test.is_program(pattern):
			print(f'    {test.passes:>4}  {test.name}')


def print_groups(runs):
	"""What the groups that they are in are for"""
	print('\ngroups:')
	for name, purpose in table.GROUPS.items():
		if any(name in run.groups for run in runs):
			print(f'  {name.ljust(8)}  {purpose}')


def print_runs():
	"""All of them, or those that were asked for"""
	args = table.parse_arguments(__doc__, slow=True)
	if not os.environ.get('BASE') and (base := table.stack_for(args)) != common.BASE:
		os.environ['BASE'] = base	# as make check takes it
		os.execv(sys.argv[0], sys.argv)
	runs = table.choose(args)
	check_rows(runs)
	if args.tests and not table.of_programs(runs, args.tests):
		common.die(f'T={args.tests}: these runs have no program of that name',
			   "make runs T='*' lists the programs. A subtest is known to its "
			   'program only; make check takes it all the same: '
			   f"make check T='{args.tests}'")
	lines = list(rows(runs))
	widths = [max(len(line[i]) for line in lines) for i in range(4)]
	for line, run in zip(lines, [None, *runs]):
		print('  '.join([word.ljust(width) for word, width in zip(line, widths)] + [line[4]]))
		if run and run.matrix:
			print(f'    left to make matrix: {run.matrix}')
		if run and args.tests:
			print_tests(run, args.tests)
	print_groups(runs)


def main():
	"""Print them, or as much as is read: of "make runs | head" the first lines"""
	common.print_all(print_runs)


if __name__ == '__main__':
	main()
