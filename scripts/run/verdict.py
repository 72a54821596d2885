# SPDX-License-Identifier: GPL-2.0-only
"""The results of a run, and whether they are what the table expects"""

import fnmatch
import hashlib
import json
import os
import re
import sys
import time

import common
import ktap
from qemu import DISK

# How a report in the kernel's log begins
REPORT = re.compile(
	r'WARNING: |BUG: |BUG kmalloc|Kernel panic|Oops|general protection fault|'
	r'kernel BUG at|Unable to handle|invalid opcode:|divide error:|'
	r'UBSAN: |KASAN: |KCSAN: |INFO: task .* blocked for more than|'
	r'INFO: possible|INFO: trying to register non-static key|'
	r'possible circular locking|inconsistent lock state|'
	r'suspicious RCU usage|rcu: .*(stall|detected)|soft lockup|hard LOCKUP|'
	r'kmemleak: [0-9]+ new suspected|list_(add|del) corruption|'
	r'refcount_t: |ODEBUG: |sysfs: cannot create duplicate|'
	r'scheduling while atomic|sleeping function called|'
	r'unchecked MSR access')
# Lines of a report that are kept with it, and of all reports together
REPORT_LINES = 24
ALL_REPORT_LINES = 100

# Lines of the console that are shown when it ends too soon
CONSOLE_LINES = 20


class Result:
	"""The results of a run: entries for the report"""

	def __init__(self, run):
		self.run = run
		self.entries = []

	def add(self, suite, test, result, seconds, log):
		"""One test"""
		self.entries.append({
			'run': self.run.name, 'suite': suite, 'test': test,
			'result': result, 'seconds': round(seconds, 3),
			'log': '\n'.join(log),
		})

	def check(self, test, problems):
		"""Something about the guest as a whole"""
		self.add('guest', test, 'fail' if problems else 'pass', 0, problems)
		if problems:
			print(f'{self.run.name:<18} FAIL guest: {test}')
			for line in problems:
				print(f'{"":<18}      {line}')
			sys.stdout.flush()

	def count(self, result, suite=None):
		"""How many had that result"""
		return sum(entry['result'] == result for entry in self.entries
			   if suite is None or entry['suite'] == suite)

	def add_suite(self, suite, seconds):
		"""All tests of one program, from the parser's tree"""
		seconds = list(seconds)
		log = clean(suite.log)
		bad = False
		for leaf in ktap.leaves(suite):
			# The parser adds nameless ones for those that are missing,
			# and gives the first what the program said last.
			if not leaf.name:
				bad = True
				log += clean(leaf.log)
				continue
			took = next((s for name, s in seconds if name == leaf.name), 0)
			result = ktap.verdict_of_status(leaf.status)
			self.add(suite.name, leaf.name, result, took, clean(leaf.log))
		if not suite.subtests:
			return
		# What the program as a whole did wrong beyond a failed subtest
		ended_badly = [line for line in log if line.startswith('# init: ')
			       and line != '# init: exit status 1']
		failed = ktap.verdict_of_status(suite.status) == 'fail'
		if ended_badly or bad or (failed and not self.count('fail', suite.name)):
			self.add(suite.name, 'the program itself', 'fail', 0,
				 ended_badly or log or ['results are missing'])

	def check_expected(self):
		"""Against the table: no more, no less"""
		problems = []
		for test in self.run.tests:
			passes = self.count('pass', test.name)
			if passes != test.passes:
				problems.append(f'{test.name}: {passes} passed, '
						f'the table expects {test.passes}; if that is '
						f'right: "pass {passes}" in scripts/conf/runs.cfg')
			for entry in self.entries:
				if entry['suite'] == test.name and entry['result'] == 'skip' \
				   and not any(fnmatch.fnmatchcase(entry['test'], pattern)
					       for pattern, _ in test.skips):
					problems.append(f'{test.name}: {entry["test"]} '
							'was skipped, which the table '
							'does not accept; if that is right: '
							f'"skip {entry["test"]}: WHY" there')
		self.check('the tests that the table expects', problems)


def clean(log):
	"""A log as the program wrote it"""
	return [line.strip() for line in log if line.strip()]


def console_reports(console):
	"""What the kernel complained about, and during which test"""
	found = []
	test = 'boot'
	until = -1
	for number, line in enumerate(console):
		if line.startswith('init: test '):
			test = line[len('init: test '):]
			until = -1
		elif number <= until:
			found.append('  ' + line)
			if '---[ end' in line or '</TASK>' in line:
				until = -1
		elif REPORT.search(line):
			found.append(f'during {test}:')
			found.append('  ' + line)
			until = number + REPORT_LINES
	if len(found) > ALL_REPORT_LINES:
		more = len(found) - ALL_REPORT_LINES
		found[ALL_REPORT_LINES:] = [f'and {more} lines more, in console.log']
	return found


def disk_problems(run, guest, pattern):
	"""Does the disk's image hold what the tests say they wrote?"""
	problems = []
	found = len(guest.disk_hashes)
	if found != run.disk_hashes and not pattern:
		problems.append(f'{found} parts of the disk to compare, '
				f'the table expects {run.disk_hashes}')
	for offset, length, expected in guest.disk_hashes:
		with open(os.path.join(guest.dir, DISK), 'rb') as disk:
			disk.seek(offset)
			data = disk.read(length)
		sha256 = hashlib.sha256(data).hexdigest()
		if len(data) != length or sha256 != expected:
			problems.append(f'{DISK}: {len(data)} bytes at {offset:#x} have the '
					f'hash {sha256}, the test wrote {length} with {expected}')
	return problems


def save(run, guest, result):
	"""For scripts/run/report. Did nothing fail?"""
	write(run, guest.dir, time.monotonic() - guest.started, result)
	return result.count('fail') == 0


def skip(run, directory, reason):
	"""A run that this machine cannot start: each program is skipped, with the reason"""
	result = Result(run)
	for test in run.tests:
		result.add(test.name, 'the program itself', 'skip', 0, [reason])
	print(f'{run.name:<18} skip: {reason}', flush=True)
	write(run, directory, 0, result)
	return True


def write(run, directory, seconds, result):
	"""The file for scripts/run/report"""
	report = {'run': run.name, 'seconds': round(seconds, 3),
		  'log': os.path.relpath(directory, common.TOP),
		  'tests': result.entries}
	path = os.path.join(directory, 'result.json')
	with open(path + '.new', 'w', encoding='utf-8') as file:
		json.dump(report, file, indent=1)
	os.rename(path + '.new', path)


def console_of(guest):
	"""The kernel's log"""
	return [line for line in common.read_text(os.path.join(guest.dir, 'console.log'))
		if line.strip()]


def slept(guest):
	"""Did it hang without a word of its kernel, no processor getting its timer's
	interrupt any more?"""
	return guest.asleep and not console_reports(console_of(guest))


def judge(run, guest, parsed, errors, pattern):
	"""Everything that a run can do wrong: a Result, of what ktap.parse() returned"""
	result = Result(run)
	console = console_of(guest)

	for number, suite in enumerate(parsed.subtests):
		if suite.name:
			result.add_suite(suite, guest.tests.get(number, []))

	problems = []
	if guest.bailed_out:
		problems.append(f'setup failed: {guest.bailed_out}')
	elif guest.hung:
		problems.append(f'hung: no end within {run.timeout} s')
		problems += guest.processors
	elif guest.process.returncode:
		problems.append(f'QEMU: exit status {guest.process.returncode}')
		problems += [line for line in
			     common.read_text(os.path.join(guest.dir, 'qemu.log')) if line]
	elif not guest.ended:
		problems.append('the guest stopped before its end')
	if problems and console and not guest.bailed_out:
		problems.append('its console ends with:')
		problems += ['  ' + line for line in console[-CONSOLE_LINES:]]
	result.check('reached its end', problems)
	# A program that died leaves its KTAP incomplete, and is reported itself. No
	# tests at all is right if none matched.
	if not result.count('fail') and (result.entries[1:] or not pattern):
		result.check('its results are valid KTAP', errors)
	result.check("nothing bad in the kernel's log", console_reports(console))
	if guest.disk_hashes or run.disk_hashes and not pattern:
		result.check('the disk holds what the tests wrote',
			     disk_problems(run, guest, pattern))
	if guest.ended and not pattern:
		result.check_expected()
	return result
