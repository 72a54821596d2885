#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""
The table of guest runs, runs.cfg (which documents its keys).

As a program it lists them for the shell scripts, a line each: name,
architecture, kernel flavour.

	table.py [--slow] [--arch ARCH] [--tests PATTERN] [PATTERN]
"""

import argparse
import dataclasses
import fnmatch
import os
import re
import shlex

import arches
from common import READ_ERRORS, TOP, TableError, die, lines, read_sections

# The pipeline's own tests bring a table of their own.
TABLE = os.environ.get('RUNS', os.path.join(TOP, 'scripts', 'conf', 'runs.cfg'))

ARCHES = arches.read()

DEFAULTS = {
	'arch': 'x86_64',
	'kernel': None,
	'machine': '',
	'cpu': '',
	'cpus': '2',
	'memory': '1G',
	'devices': '',
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
	'limit': '60',
	'timeout': '120',
	'speed': 'quick',
}


@dataclasses.dataclass
class GuestTest:
	"""One program of a run, and what the table expects of it."""
	argv: list
	name: str
	limit: int
	passes: int = 1
	skips: list = dataclasses.field(default_factory=list)


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
						 + ', '.join(DEFAULTS))
		values = {**DEFAULTS, **keys}
		for key, value in values.items():
			if value is None:
				raise TableError(f'[{name}]: {key} is missing')
		if values['arch'] not in ARCHES:
			raise TableError(f'[{name}]: arch {values["arch"]}: scripts/conf/'
					 'arches.cfg has no such section')
		self.arch = values['arch']
		self.kernel = values['kernel']
		self.machine = values['machine'] or ARCHES[self.arch].machine
		self.cpu = values['cpu']
		self.cpus = values['cpus']
		self.memory = values['memory']
		self.devices = lines(values['devices'])
		self.disk = values['disk']
		self.disk_hashes = self._number('disk-hashes', values['disk-hashes'])
		self.icount = values['icount']
		self.monitor = values['monitor'] == 'yes'
		self.defaults = values['defaults'] == 'yes'
		self.serial = arches.arguments(values['serial'])
		self.append = ' '.join(values['append'].split())
		self.setup = lines(values['setup'])
		self.timeout = self._number('timeout', values['timeout'])
		self.slow = values['speed'] == 'slow'
		if values['speed'] not in ('quick', 'slow'):
			raise TableError(f'[{name}]: speed is quick or slow')
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
		for row in rows:
			word, _, rest = row.partition(' ')
			if word not in ('pass', 'skip', 'limit'):
				argv = shlex.split(row)
				self.tests.append(GuestTest(argv, test_name(argv), limit))
				continue
			if not self.tests:
				raise TableError(f'[{self.name}]: "{row}" before any program')
			test = self.tests[-1]
			if word == 'pass':
				test.passes = self._number('pass', rest)
			elif word == 'limit':
				test.limit = self._number('limit', rest)
			else:
				pattern, colon, reason = rest.partition(': ')
				if not colon:
					raise TableError(f'[{self.name}]: "{row}": a skip '
							 'needs a reason, after ": "')
				test.skips.append((pattern.replace('$', ''), reason))
		if not self.tests:
			raise TableError(f'[{self.name}]: no tests')
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


def inherited(sections, name):
	"""The keys of a section, on top of those of the run that it is like"""
	keys = dict(sections[name])
	like = keys.pop('like', None)
	if not like:
		return keys
	if like not in sections or 'like' in sections[like]:
		raise TableError(f'[{name}]: like {like}: no such run, or one that '
				 'is itself like another')
	return {**sections[like], **keys}


def read_table():
	"""All runs, in the order of the table"""
	try:
		sections = read_sections(TABLE)
		return [Run(name, inherited(sections, name)) for name in sections]
	except READ_ERRORS as error:
		die(f'{TABLE}: {error}')


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


def main():
	"""List the runs that match"""
	parser = argparse.ArgumentParser(description='list the runs of the table')
	parser.add_argument('--slow', action='store_true', help='slow ones too')
	parser.add_argument('--arch', help='of the architectures of that name only')
	parser.add_argument('--tests', help='with programs that match this')
	parser.add_argument('pattern', nargs='?', default='*')
	args = parser.parse_args()

	table = read_table()
	of_arches = arches.called(args.arch) if args.arch else ARCHES
	found = [run for run in table if fnmatch.fnmatchcase(run.name, args.pattern)
		 and run.arch in of_arches]
	# A slow run is wanted when it is asked for, or when its name is.
	found = [run for run in found
		 if args.slow or not run.slow or run.name == args.pattern]
	# Another architecture takes a compiler and a kernel of its own.
	if not (args.arch or args.slow) and args.pattern == '*':
		found = [run for run in found if run.arch == DEFAULTS['arch']]
	if not found:
		die(f'no run matches RUN={args.pattern}'
		    + (f' ARCH={args.arch}' if args.arch else ''),
		    'the runs are: ' + ', '.join(
			run.name + (' (slow: ALL=1)' if run.slow else '')
			for run in table))
	if args.tests:
		found = of_programs(found, args.tests) or found
	for run in found:
		print(run.name, run.arch, run.kernel)


if __name__ == '__main__':
	main()
