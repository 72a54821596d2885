# SPDX-License-Identifier: GPL-2.0-only
"""A guest as it runs: its process, and the KTAP that comes from it"""

import os
import re
import select
import subprocess
import sys
import time

import common
import hang

LINUX = os.path.join(common.BUILD, 'linux')
sys.path.append(os.path.join(LINUX, 'tools', 'testing', 'kunit'))
try:
	import kunit_parser
	from kunit_printer import Printer
except ImportError:
	common.die(f'no KTAP parser in the kernel tree {LINUX}', 'make tree')

# Seconds that a guest on a busy machine may need beyond its own time limit
SLACK = int(os.environ.get('GUEST_SLACK', '60'))

# What a test says that a part of the disk must hold
DISK_HASH = re.compile(r'\s*# disk: (0x[0-9a-f]+) (0x[0-9a-f]+) sha256 ([0-9a-f]{64})$')


class Errors(Printer):
	"""Takes the parser's complaints; everything else it prints is dropped."""

	def __init__(self):
		super().__init__(print=False)
		self.lines = []

	def print(self, message):
		"""One line of the parser's"""
		if '[ERROR]' in message:
			line = message.split('[ERROR]', 1)[1].strip()
			if line not in self.lines:
				self.lines.append(line)


class Guest:
	"""A QEMU process, and its results as they come in"""

	def __init__(self, run, command, directory):
		self.run = run
		self.dir = directory
		self.hung = False
		self.processors = []	# what they were at when it hung
		self.asleep = False	# it hung, and a time limit of its own passed by
		self.begun = False	# the setup is done
		self.ended = False
		self.bailed_out = None
		self.disk_hashes = []	# (offset, length, sha256)
		self.tests = {}		# of a suite's number: [(name, seconds)]
		self.started = time.monotonic()
		with open(os.path.join(directory, 'qemu.log'), 'wb') as log:
			# pylint: disable-next=consider-using-with
			self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
							stdout=subprocess.PIPE,
							stderr=log, cwd=directory)

	def look(self, quiet):
		"""At a guest that hangs, and has been quiet for so long"""
		self.hung = True
		self.processors, idle = hang.processors(self.run, self.dir)
		# init kills a test at its limit, and says so. Where it does not, and all
		# processors wait for an interrupt, the timer's does not come.
		limits = [test.limit for test in self.run.tests]
		self.asleep = idle and self.begun and quiet > max(limits) + SLACK

	def raw_lines(self):
		"""The lines of the KTAP channel; kills the guest at its limit"""
		deadline = self.started + self.run.timeout
		channel = self.process.stdout.fileno()
		spoke = self.started
		rest = b''
		with open(os.path.join(self.dir, 'ktap.log'), 'wb') as log:
			while True:
				left = None if common.GDB else max(deadline - time.monotonic(), 0)
				if left == 0 or not select.select([channel], [], [], left)[0]:
					self.look(time.monotonic() - spoke)
					self.process.kill()
					break
				data = os.read(channel, 65536)
				if not data:
					break
				spoke = time.monotonic()
				log.write(data)
				log.flush()
				*whole, rest = (rest + data).split(b'\n')
				yield from whole
			if rest:
				yield rest
		self.process.wait()

	def lines(self):
		"""Those lines as text, shown and timed where they are results"""
		suite = 0
		waiting = []
		why = ''
		last = time.monotonic()
		for raw in self.raw_lines():
			line = raw.decode('utf-8', 'replace').rstrip('\r')
			if line.startswith('Bail out! '):
				self.bailed_out = line[len('Bail out! '):]
			elif line.startswith('1..'):
				self.begun = True
			elif line == '# init: the end':
				self.ended = True
			elif line.lstrip().startswith('# init: '):
				why = line.partition('# init: ')[2]
			elif match := DISK_HASH.match(line):
				offset, length, sha256 = match.groups()
				self.disk_hashes.append((int(offset, 16),
							 int(length, 16), sha256))
			match = kunit_parser.TEST_RESULT.match(line)
			if not match and not line.startswith(' '):
				last = time.monotonic()
			if match:
				now = time.monotonic()
				name = match.group(4).strip()
				nested = line.startswith(' ')
				result = verdict_of_line(line, match)
				if result == 'skip':
					why = line.partition('# SKIP')[2].strip()
				# A program with subtests is told by these, unless it failed.
				if nested or not waiting or result == 'fail':
					self.show(name, result, why, now - last)
				if nested or not waiting:
					waiting.append((name, now - last))
				if not nested:
					self.tests[suite] = waiting
					waiting = []
					suite += 1
				last = now
				why = ''
			yield line

	def show(self, name, result, why, seconds):
		"""One line for a person who watches"""
		reason = f': {why}' if why else ''
		word = {'pass': 'ok', 'fail': 'FAIL', 'skip': 'skip'}[result]
		print(f'{self.run.name:<18} {word:<4} {name}{reason} ({seconds:.2f} s)',
		      flush=True)


def verdict_of_line(line, match):
	"""pass, fail or skip"""
	if kunit_parser.TEST_RESULT_SKIP.match(line):
		return 'skip'
	return 'pass' if match.group(1) == 'ok' else 'fail'


def verdict_of_status(status):
	"""The same, of a test that the parser judged"""
	return {
		kunit_parser.TestStatus.SUCCESS: 'pass',
		kunit_parser.TestStatus.SKIPPED: 'skip',
	}.get(status, 'fail')


def leaves(test):
	"""The tests below a test that have none below them"""
	if not test.subtests:
		yield test
	for subtest in test.subtests:
		yield from leaves(subtest)


def parse(guest):
	"""Its results as the kernel's own parser has them, and what that complains about"""
	stream = guest.lines()
	errors = Errors()
	try:
		parsed = kunit_parser.parse_run_tests(stream, errors)
		# The parser stops at the end of the plan.
		for _ in stream:
			pass
	except BaseException:
		guest.process.kill()
		raise
	return parsed, errors.lines
