#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""
The table of guest runs, runs.cfg (which documents its keys).

As a program it lists those that are chosen for the shell scripts, a line each:
name, architecture, kernel flavour, client if any.

	table.py [--slow] [--arch ARCH] [--group GROUP] [--without-group GROUP] [--tests PATTERN] [PATTERN]

What the command line leaves open, RUN=, ARCH=, GROUP=, ALL= and T= in the environment
choose.
"""

import dataclasses
import fnmatch
import os
import re
import shlex

import arches
import common
import qemu
from common import BASE, GDB, READ_ERRORS, STACKS, TOP, TableError, die, lines, read_sections

# The pipeline's own tests bring a table of their own.
TABLE = os.environ.get('RUNS', os.path.join(TOP, 'scripts', 'conf', 'runs.cfg'))

ARCHES = arches.read()


def read_groups():
	"""What each group is for"""
	groups = {}
	for name, *purpose in common.conf_rows('groups', 2):
		if not purpose:
			die(f'scripts/conf/groups: {name} does not say what it is for',
			    'say it behind its name, on the same line')
		if name in groups:
			die(f'scripts/conf/groups: {name} is there twice', 'leave one of them')
		groups[name] = purpose[0]
	return groups


GROUPS = read_groups()

DEFAULTS = {
	'for': '',
	'groups': 'quick',
	'matrix': '',
	'stacks': '',
	'arch': 'x86_64',
	'kernel': None,
	'qemu': '',
	'machine': '',
	'cpu': '',
	'cpus': '2',
	'memory': '1G',
	'devices': '',
	'netdevs': '',
	'client': '',
	'disk': '',
	'disk-hashes': '0',
	'icount': '',
	'monitor': '',
	'defaults': '',
	'serial': '',
	'append': '',
	'setup': '',
	'tests': None,
	'without': '',
	'limit': '300',
	'timeout': '600',
}


@dataclasses.dataclass
class GuestTest:
	"""One program of a run, and what the table expects of it."""
	argv: list
	name: str
	limit: int
	passes: int = 1
	skips: list = dataclasses.field(default_factory=list)
	kexec: bool = False


	def is_program(self, pattern):
		"""Is it, as a whole, what the pattern means?"""
		return fnmatch.fnmatchcase(self.name, pattern) \
			or fnmatch.fnmatchcase(self.argv[0], pattern)


class Run:
	"""One section of the table."""

	def __init__(self, name, keys):
		self.name = name
		for key in keys:
			if key not in DEFAULTS:
				raise TableError(f'[{name}]: unknown key {key}; known are '
						 + ', '.join([*DEFAULTS, 'like']))
		values = {**DEFAULTS, **keys}
		for key, value in values.items():
			if value is None:
				raise TableError(f'[{name}]: {key} is missing')
		if values['arch'] not in ARCHES:
			raise TableError(f'[{name}]: arch {values["arch"]}: scripts/conf/'
					 'arches.cfg has no such section')
		if not ARCHES[values['arch']].image:
			raise TableError(f'[{name}]: arch {values["arch"]}: no guest runs on '
					 'it, see image in scripts/conf/arches.cfg')
		self.purpose = ' '.join(values['for'].split())
		self.groups = values['groups'].split()
		if ('quick' in self.groups) == ('slow' in self.groups):
			raise TableError(f'[{name}]: groups {values["groups"]}: either '
					 'quick or slow is among them')
		for group in self.groups:
			if group not in GROUPS:
				raise TableError(f'[{name}]: group {group}: scripts/conf/groups has '
						 'no such line')
		self.slow = 'slow' in self.groups
		self.matrix = ' '.join(values['matrix'].split())
		if 'matrix' in self.groups:
			raise TableError(f'[{name}]: groups {values["groups"]}: a run is in the group '
					 'matrix by "matrix = WHY", with the reason')
		if self.matrix:
			if not self.slow:
				raise TableError(f'[{name}]: matrix is for a slow run, this is a quick one')
			self.groups.append('matrix')
		self.stacks = values['stacks'].split()
		self.arch = values['arch']
		self.kernel = values['kernel'] + ('.gdb' if GDB else '')
		self.qemu = values['qemu']
		self.machine = values['machine'] or ARCHES[self.arch].machine
		self.cpu = values['cpu']
		self.cpus = values['cpus']
		self.memory = values['memory']
		self.devices = lines(values['devices'])
		self.netdevs = lines(values['netdevs'])
		self.client = values['client']
		self.disk = values['disk']
		self.disk_hashes = self._number('disk-hashes', values['disk-hashes'])
		self.icount = values['icount']
		self.monitor = values['monitor']
		if self.monitor and self.monitor not in qemu.MONITORS:
			raise TableError(f'[{name}]: monitor {self.monitor}: one of '
					 + ', '.join(qemu.MONITORS))
		self.defaults = values['defaults'] == 'yes'
		self.serial = arches.arguments(values['serial'])
		self.append = ' '.join(values['append'].split())
		self.setup = lines(values['setup'])
		self.timeout = self._number('timeout', values['timeout'])
		self.tests = []
		self._parse_tests(lines(values['tests']),
				  self._number('limit', values['limit']))
		for row in lines(values['without']):
			self._leave_out(row)

	def _number(self, key, value):
		if not re.fullmatch('[0-9]+', value):
			raise TableError(f'[{self.name}]: {key} {value}: not a number')
		return int(value)

	def _parse_tests(self, rows, limit):
		kernel = 1
		for row in rows:
			word, _, rest = row.partition(' ')
			if word not in ('pass', 'skip', 'limit', 'kexec'):
				argv = shlex.split(row)
				name = test_name(argv)
				if kernel > 1:
					name += f', kernel {kernel}'
				self.tests.append(GuestTest(argv, name, limit))
				continue
			if not self.tests:
				raise TableError(f'[{self.name}]: "{row}" before any program')
			test = self.tests[-1]
			if word == 'pass':
				test.passes = self._number('pass', rest)
			elif word == 'limit':
				test.limit = self._number('limit', rest)
			elif word == 'kexec':
				test.kexec = True
				kernel += 1
			else:
				pattern, colon, reason = rest.partition(': ')
				if not colon:
					raise TableError(f'[{self.name}]: "{row}": a skip '
							 'needs a reason, after ": "')
				test.skips.append((pattern.replace('$', ''), reason))
		if not self.tests:
			raise TableError(f'[{self.name}]: no tests')
		if self.tests[-1].kexec:
			raise TableError(f'[{self.name}]: kexec: the next kernel has no tests')
		names = [test.name for test in self.tests]
		for name in names:
			if names.count(name) > 1:
				raise TableError(f'[{self.name}]: {name} is listed twice')

	def _leave_out(self, row):
		pattern, colon, _ = row.partition(': ')
		pattern = pattern.replace('$', '')
		left = [test for test in self.tests if not test.is_program(pattern)]
		if not colon or not left or len(left) == len(self.tests):
			raise TableError(f'[{self.name}]: without "{row}": it takes a '
					 'program that is there, not all of them, and a '
					 'reason, after ": "')
		self.tests = left


def test_name(argv):
	"""What a program with its arguments is called in results"""
	name = re.sub('[^A-Za-z0-9_.,:/=@%+ -]+', '', ' '.join(argv))
	return ' '.join(name[:100].split())


def fits(base, version):
	"""Is the stack BASE of that kernel: 7.3.4 is of 7.3.4, of 7.3 and of 7"""
	return f'{base}.'.startswith(f'{version}.')


def own_keys(sections, name, base):
	"""The keys of a section, and of those that change some of them for this stack"""
	keys = dict(sections[name])
	for section, changes in sorted(sections.items(), key=lambda item: len(item[0])):
		run, _, version = section.partition(' @')
		if version and run not in sections:
			raise TableError(f'[{section}]: no run {run}')
		if version and run == name and fits(base, version):
			keys.update(changes)
	return keys


def pass_on(keys, inherited):
	"""What a run that is like another one does not have from it"""
	inherited.pop('for', None)
	if 'tests' in keys:
		inherited.pop('without', None)
	if 'groups' in keys:
		inherited.pop('matrix', None)


def is_on(keys, base):
	"""Does the stack of that kernel have the run?"""
	stacks = keys.get('stacks', '').split()
	return not stacks or any(fits(base, version) for version in stacks)


def read_table(base=BASE):
	"""The runs of a stack, in the order of the table"""
	try:
		sections = read_sections(TABLE)
		keys = {name: common.inherit('run', sections, name,
					     lambda name: own_keys(sections, name, base), pass_on)
			for name in sections if ' @' not in name}
		table = [Run(name, values) for name, values in keys.items()
			 if is_on(values, base)]
	except READ_ERRORS as error:
		die(f'{TABLE}: {error}')
	return table


def find_run(name):
	"""The one run of that name"""
	table = read_table()
	for run in table:
		if run.name == name:
			return run
	die(f'no run {name} in {TABLE}', 'its runs are: '
	    + ' '.join(run.name for run in table))


def of_programs(table, pattern):
	"""
	The runs with a program that matches. None means that the pattern is for
	subtests, which only a guest can tell.
	"""
	return [run for run in table
		if any(test.is_program(pattern) for test in run.tests)]


def matching(args, table):
	"""Those of a table that are asked for"""
	found = [run for run in table if fnmatch.fnmatchcase(run.name, args.pattern)]
	if args.group:
		found = [run for run in found if args.group in run.groups]
	if args.without_group:
		found = [run for run in found if args.without_group not in run.groups]
	if args.arch:
		names = arches.called(args.arch)
		found = [run for run in found if run.arch in names]
	elif not (args.group or args.slow) and args.pattern == '*':
		# Another architecture takes a compiler and a kernel of its own.
		found = [run for run in found if run.arch == DEFAULTS['arch']]
	if not (args.group or args.slow):
		# A slow run is wanted when its name is given.
		found = [run for run in found if not run.slow or run.name == args.pattern]
	return found


def stack_for(args):
	"""The first stack that has runs which are asked for, this one before others"""
	for base in [BASE, *STACKS]:
		if matching(args, read_table(base)):
			return base
	return BASE


def choose(args):
	"""The runs that are asked for, one at least"""
	table = read_table()
	found = matching(args, table)
	if not found:
		asked = {'ARCH': args.arch, 'GROUP': args.group}
		if args.pattern != '*' or not any(asked.values()):
			asked = {'RUN': args.pattern} | asked
		asked = ' '.join(f'{key}={word}' for key, word in asked.items() if word)
		if (base := stack_for(args)) != BASE:
			die(f'{asked}: the stack of Linux {BASE} has no such run',
			    f'that of {base} has: the same with BASE={base}')
		args.slow = True
		if slow := matching(args, table):
			die(f'only slow runs match {asked}', 'the same with ALL=1: '
			    + ', '.join(run.name for run in slow))
		quick = ' '.join(run.name for run in table if not run.slow)
		slow = ' '.join(run.name for run in table if run.slow)
		die(f'no run matches {asked}',
		    f'make runs tells of each. Those of make check: {quick}. '
		    f'Slow ones, for ALL=1 or by name: {slow}. Groups: {" ".join(GROUPS)}')
	if args.tests:
		found = of_programs(found, args.tests) or found
	if GDB and len(found) > 1:
		names = ' '.join(run.name for run in found)
		die(f'GDB=1 is for one run, these are {len(found)}: {names}',
		    'RUN=<one of them> GDB=1')
	if GDB and found[0].arch == 'um':
		die(f'GDB=1: {found[0].name} runs in User-mode Linux, not in QEMU',
		    f'leave GDB= out: that makes build/{BASE}/kernel/'
		    f'{found[0].kernel.removesuffix(".gdb")}/linux, a program that gdb can start')
	qemu.check_accel(found)
	return found


def parse_arguments(text, slow=False):
	"""What a command line and the environment ask for"""
	def asked(name, default=None):
		return os.environ.get(name) or default

	parser = common.parser(text)
	parser.add_argument('--slow', action='store_true', default=slow or bool(asked('ALL')),
			    help='slow ones too')
	parser.add_argument('--arch', default=asked('ARCH'),
			    help='of the architectures of that name only')
	parser.add_argument('--group', default=asked('GROUP'), help='of that group')
	parser.add_argument('--without-group', default=asked('WITHOUT_GROUP'),
			    help='of that group none')
	parser.add_argument('--tests', default=asked('T'),
			    help='with programs that match this')
	parser.add_argument('--stack', action='store_true',
			    help='print only which stack has such runs')
	parser.add_argument('pattern', nargs='?', default=asked('RUN', '*'),
			    help='their names')
	return parser.parse_args()


def main():
	"""List the runs that are chosen"""
	args = parse_arguments(__doc__)
	if args.stack:
		print(stack_for(args))
		return
	for run in choose(args):
		print(' '.join([run.name, run.arch, run.kernel, run.client]).rstrip())


if __name__ == '__main__':
	main()
