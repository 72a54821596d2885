# SPDX-License-Identifier: GPL-2.0-only
"""
A run of the kernel's KUnit tests in User-mode Linux.

For a run of the table whose architecture is um: its kernel is a program of this
machine, which the kernel's own kunit.py starts. All suites that the kernel has
are the one program "kunit" of the table, and a test is SUITE.TEST or
SUITE.TEST.PARAMETER. What is printed and what is left in build/BASE/runs/RUN are as
for other runs.
"""

import os
import shlex
import shutil
import signal

import common
import ktap
import verdict
from ktap import kunit_parser

# The last line of a kernel that halts
HALTED = 'reboot: System halted'


def kunit_command(run, pattern):
	"""kunit.py and its arguments; with a limit for all that it starts"""
	kernel = os.path.join(common.BUILD, 'kernel', run.kernel)
	if not os.path.exists(os.path.join(kernel, 'linux')):
		common.die(f'no kernel {kernel}/linux', f'scripts/build/kernel {run.kernel}')
	# A second early, so that Guest's own limit is not the one that is met
	command = ['timeout', '--signal=KILL', str(run.timeout - 1),
		   'python3', '-Bu', os.path.join(common.BUILD, 'linux', 'tools', 'testing', 'kunit', 'kunit.py'),
		   'exec', '--build_dir', kernel, '--raw_output=all',
		   '--timeout', str(run.timeout)]
	for arg in shlex.split(f'{run.append} {os.environ.get("APPEND", "")}'):
		command += ['--kernel_args', arg]
	if pattern and not run.tests[0].is_program(pattern):
		# KUnit chooses suites and tests, but not parameters.
		command.append('.'.join(pattern.split('.')[:2]))
	return command


def leaves(test, path):
	"""The tests below a test that have none below them, with their names' parts"""
	for subtest in test.subtests:
		name = [*path, subtest.name]
		if subtest.subtests:
			yield from leaves(subtest, name)
		else:
			yield name, subtest


def as_program(name, parsed, took):
	"""
	All suites as the subtests of one program, as the table has it, and how long each
	took; took has that of each suite.
	"""
	program = kunit_parser.Test()
	program.name = name
	program.status = parsed.status
	seconds = []
	for number, suite in enumerate(parsed.subtests):
		waiting = list(took.get(number, []))
		for path, leaf in leaves(suite, [suite.name]) if suite.subtests \
			else [([suite.name], suite)]:
			# In order: tests of a suite may have parameters of the same name.
			while leaf.name and waiting:
				test, time_taken = waiting.pop(0)
				if test == leaf.name:
					seconds.append(('.'.join(path), time_taken))
					break
			# A nameless one stands for what is missing.
			leaf.name = leaf.name and '.'.join(path)
			program.subtests.append(leaf)
	return program, seconds


def split_log(directory):
	"""All that the kernel said is its console's log; ktap.log is only what is KTAP."""
	console = os.path.join(directory, 'console.log')
	results = os.path.join(directory, 'ktap.log')
	os.rename(results, console)
	lines = common.read_text(console)
	with open(results, 'w', encoding='utf-8') as file:
		stream = kunit_parser.extract_tap_lines(lines)
		while stream:
			file.write(stream.pop() + '\n')
	return lines


def run_tests(run, pattern):
	"""Start the kernel, watch, judge"""
	if len(run.tests) != 1:
		common.die(f'run {run.name}: KUnit in User-mode Linux is one program')
	directory = os.path.join(common.BUILD, 'runs', run.name)
	shutil.rmtree(directory, ignore_errors=True)
	os.makedirs(directory)
	command = kunit_command(run, pattern)
	with open(os.path.join(directory, 'command'), 'w', encoding='utf-8') as file:
		file.write(shlex.join(command) + '\n')
	kernel = ktap.Guest(run, command, directory)
	try:
		parsed, errors = ktap.parse(kernel)
	except BaseException:
		# timeout leads a group of processes.
		os.killpg(kernel.process.pid, signal.SIGKILL)
		raise

	kernel.ended = HALTED in split_log(directory)
	if kernel.process.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
		kernel.hung = True
	program, kernel.tests[0] = as_program(run.tests[0].name, parsed, kernel.tests)
	parsed.subtests = [program] if program.subtests else []
	return verdict.save(run, kernel, verdict.judge(run, kernel, parsed, errors, pattern))
