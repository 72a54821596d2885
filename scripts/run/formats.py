# SPDX-License-Identifier: GPL-2.0-only
"""
The formats of the report, FORMATS at the end: a file's name, and the function that
turns results into its text. To add one is to add a function and a row.

A result is what a run left: {run, seconds, log, tests, started}, where tests are
{run, suite, test, result, seconds, log}, and started is in seconds since 1970, or
None where the run left no result.
"""

import datetime
import fnmatch
import hashlib
import json
import os
import re
import subprocess
import xml.etree.ElementTree as ET

import common
import table

# The longest log of a test in a format for others: what KCIDB takes
LOG_LIMIT = 16384

# What XML 1.0 cannot hold, not even escaped, and lone surrogates, which stand for
# bytes that are no text
NO_TEXT = re.compile('[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')

# The suite of what a run did wrong as a whole
GUEST = 'guest'


class FormatError(Exception):
	"""A variable of the user has a value that the format does not know."""


def count(tests, result):
	"""How many had that result"""
	return sum(test['result'] == result for test in tests)


def text_of(log):
	"""A log as text that every format can hold, cut in the middle if it is long"""
	log = NO_TEXT.sub('\ufffd', log)
	if len(log) <= LOG_LIMIT:
		return log
	half = LOG_LIMIT // 2 - 50
	return (f'{log[:half]}\n[{len(log) - 2 * half} characters left out]\n'
		f'{log[-half:]}')


def name_of(test):
	"""A test, for a person"""
	return text_of(f'{test["run"]} / {test["suite"]} / {test["test"]}')


def suites_of(result):
	"""The tests of a run by suite"""
	suites = {}
	for test in result['tests']:
		suites.setdefault(test['suite'], []).append(test)
	return suites


def tests_json(results):
	"""All tests as one list"""
	return json.dumps([test for result in results for test in result['tests']],
			  indent=1) + '\n'


def table_of_runs():
	"""The runs by name"""
	return {run.name: run for run in table.read_table()}


def ktap_test(number, test, indent):
	"""One test and its log"""
	for line in test['log'].splitlines():
		yield indent + (line if line.startswith('#') else f'# {line}')
	word = 'not ok' if test['result'] == 'fail' else 'ok'
	skip = ' # SKIP' if test['result'] == 'skip' else ''
	yield f'{indent}{word} {number} {test["test"]}{skip}'


def ktap_block(name, parts, failed, number, indent):
	"""A test with subtests, given as lists of lines"""
	yield f'{indent}    KTAP version 1'
	yield f'{indent}    # Subtest: {name}'
	yield f'{indent}    1..{len(parts)}'
	for part in parts:
		yield from part
	yield f'{indent}{"not ok" if failed else "ok"} {number} {name}'


def ktap_lines(results):
	"""A run has suites, which have tests"""
	yield 'KTAP version 1'
	yield f'1..{len(results)}'
	for i, result in enumerate(results, 1):
		blocks = []
		for j, (suite, tests) in enumerate(suites_of(result).items(), 1):
			if [test['test'] for test in tests] == [suite]:
				# A program without subtests is one test itself.
				blocks.append(list(ktap_test(j, tests[0], ' ' * 4)))
				continue
			parts = [list(ktap_test(k, test, ' ' * 8))
				 for k, test in enumerate(tests, 1)]
			blocks.append(list(ktap_block(suite, parts, count(tests, 'fail'),
						      j, ' ' * 4)))
		yield from ktap_block(result['run'], blocks,
				      count(result['tests'], 'fail'), i, '')


def ktap(results):
	"""The whole as one KTAP document"""
	return '\n'.join(ktap_lines(results)) + '\n'


def date(seconds):
	"""A time as RFC 3339 and xs:dateTime have it"""
	return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).isoformat()


def skip_reason(runs, test):
	"""Why the table accepts that it was skipped"""
	run = runs.get(test['run'])
	return next((why for program in (run.tests if run else ())
		     if program.name == test['suite']
		     for pattern, why in program.skips
		     if fnmatch.fnmatchcase(test['test'], pattern)), '')


def junit_case(suite, name, test, runs):
	"""One test; a log only where somebody will want to read it"""
	case = ET.SubElement(suite, 'testcase', name=text_of(test['test']), classname=name,
			     time=f'{test["seconds"]:.3f}')
	log = text_of(test['log'])
	if test['result'] == 'skip':
		ET.SubElement(case, 'skipped').text = log or skip_reason(runs, test)
	elif test['result'] == 'fail':
		# The program's last words, and the first of what is wrong with a guest
		lines = [line for line in log.splitlines() if line.strip()] or ['']
		message = lines[0 if test['suite'] == GUEST else -1].strip()
		failure = ET.SubElement(case, 'failure', type='fail', message=message)
		failure.text = log


def junit(results):
	"""JUnit's XML: a testsuite for each program of each run"""
	runs = table_of_runs()
	tests = [test for result in results for test in result['tests']]
	root = ET.Element('testsuites', name=f'Linux {kernel_version()}', tests=str(len(tests)),
			  failures=str(count(tests, 'fail')), errors='0',
			  time=f'{sum(result["seconds"] for result in results):.3f}')
	for result in results:
		for name, tests in suites_of(result).items():
			name = text_of(f'{result["run"]}.{name}')
			suite = ET.SubElement(
				root, 'testsuite', name=name, tests=str(len(tests)),
				failures=str(count(tests, 'fail')), errors='0',
				skipped=str(count(tests, 'skip')),
				time=f'{sum(test["seconds"] for test in tests):.3f}')
			if result['started'] is not None:
				suite.set('timestamp', date(result['started']))
			for test in tests:
				junit_case(suite, name, test, runs)
	ET.indent(root, ' ')
	return ('<?xml version="1.0" encoding="UTF-8"?>\n'
		+ ET.tostring(root, encoding='unicode') + '\n')


def markdown(results):
	"""A summary for a page of a service: the table, and what failed"""
	yield f'### Linux {kernel_version()}\n'
	yield '| run | passed | failed | skipped | seconds |'
	yield '|---|---|---|---|---|'
	for result in results:
		tests = result['tests']
		yield (f'| {result["run"]} | {count(tests, "pass")} | {count(tests, "fail")} | '
		       f'{count(tests, "skip")} | {result["seconds"]:.1f} |')
	yield ''
	for result in results:
		for test in result['tests']:
			if test['result'] == 'fail':
				yield f'- FAIL `{name_of(test)}`'


def git(*words):
	"""What git says of the kernel tree; nothing if it says nothing"""
	result = subprocess.run(['git', '-C', os.path.join(common.BUILD, 'linux'), *words],
				stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
				check=False)
	return result.stdout.strip() if result.returncode == 0 else ''


def kernel_version():
	"""Of the kernel tree, which is not that of the stack where make port applies it"""
	try:
		with open(os.path.join(common.BUILD, 'linux', 'Makefile'), encoding='utf-8') as file:
			makefile = dict(re.findall(r'^(\w+) = (.*)$', file.read(), re.MULTILINE))
		return '{VERSION}.{PATCHLEVEL}.{SUBLEVEL}'.format_map(makefile)
	except (FileNotFoundError, KeyError):
		return common.BASE


def stack():
	"""The patches of the stack, in order"""
	try:
		with open(os.path.join(common.TOP, 'series', common.BASE), encoding='utf-8') as file:
			return [line.split()[0] for line in file
				if line.strip() and not line.startswith('#')]
	except FileNotFoundError:
		return []


def patchset_hash(patches):
	"""
	The SHA-256 of the SHA-256 of each patch, as KCIDB defines it; None if one of them
	is no longer there
	"""
	hashes = ''
	try:
		for name in patches:
			with open(os.path.join(common.TOP, 'patches', name), 'rb') as patch:
				hashes += hashlib.sha256(patch.read()).hexdigest() + '\n'
	except FileNotFoundError:
		return None
	return hashlib.sha256(hashes.encode()).hexdigest() if hashes else ''


def patches_in(tree):
	"""The patches whose result that tree of git's is; None if it is not just theirs"""
	patches = stack()
	if tree == git('rev-parse', 'base^{tree}'):
		return []
	last = os.path.dirname(patches[-1]) if patches else 'base'
	if tree == git('rev-parse', f'refs/pipeline/applied/{last}^{{tree}}'):
		return patches
	return None


def branch_of(kernel):
	"""The branch that a kernel of the table is built from; none: what is checked out"""
	for name, _, fragment, *_ in common.conf_rows('kernels'):
		if name == kernel and fragment.startswith('@'):
			return fragment[1:]
	return None


def kcidb_words():
	"""What the environment says of a lab: its name, and the kernel's public commit"""
	origin = os.environ.get('KCIDB_ORIGIN') or 'vfio_noiommu'
	if not re.fullmatch('[a-z0-9_]+', origin):
		raise FormatError(f'KCIDB_ORIGIN={origin}: an origin is made of a-z, 0-9 and _')
	commit = os.environ.get('KCIDB_COMMIT')
	if commit and not re.fullmatch('[0-9a-f]{40}', commit):
		raise FormatError(f'KCIDB_COMMIT={commit}: not the 40 hexadecimal digits of a commit')
	return origin, commit


def kcidb_checkout(origin, commit, branch):
	"""What a kernel is built from: the source, and the patches if they are all"""
	# Edits that are in no commit are part of what was built: check names its tree.
	tree = git('rev-parse', f'{branch or "HEAD"}^{{tree}}')
	if not branch:
		tree = os.environ.get('SOURCE_TREE') or tree
	version = kernel_version()
	checkout = {
		'id': f'{origin}:{version}-{tree[:16] or "unknown"}',
		'origin': origin,
		'git_commit_name': f'v{version}',
		'valid': True,
		'misc': {'tree': tree, 'stack': common.BASE},
	}
	if commit:
		checkout['git_commit_hash'] = commit
	# Work that is in no patch is no set of patches that others can get.
	patches = patches_in(tree) if tree else None
	patches_id = None if patches is None else patchset_hash(patches)
	if patches_id is not None:
		checkout['patchset_hash'] = patches_id
		checkout['comment'] = f'Linux {version} and {len(patches)} patches'
	return checkout


def kcidb_build(checkout, kernel, arch):
	"""A kernel of the table"""
	build = {
		'id': f'{checkout["id"]}-{kernel}',
		'origin': checkout['origin'],
		'checkout_id': checkout['id'],
		'architecture': arch,
		'config_name': kernel,
	}
	config = os.path.join(common.BUILD, 'kernel', kernel, '.config')
	try:
		with open(config, encoding='utf-8') as file:
			compiler = re.search('^CONFIG_CC_VERSION_TEXT="(.*)"$', file.read(),
					     re.MULTILINE)
		if compiler:
			build['compiler'] = compiler.group(1)
	except FileNotFoundError:
		pass
	return build


def environment(run):
	"""The machine of a run, in words and as the table has it"""
	emulator = 'User-mode Linux' if run.arch == 'um' else f'QEMU, machine {run.machine}'
	return {
		'comment': f'{emulator}; CPUs: {run.cpus}; memory: {run.memory}',
		'misc': {'devices': run.devices, 'append': run.append},
	}


def kcidb_tests(result, run, build):
	"""The tests of a run"""
	started = result['started']
	when = 'none' if started is None else re.sub('[-:]|[+].*', '', date(started))
	for number, test in enumerate(result['tests'], 1):
		words = [result['run'], test['suite'], test['test']]
		entry = {
			'id': f'{build["id"]}-{result["run"]}-{when}-{number}',
			'origin': build['origin'],
			'build_id': build['id'],
			'path': '.'.join(re.sub('[^.a-zA-Z0-9_-]', '_', word) for word in words),
			'status': {'pass': 'PASS', 'skip': 'SKIP'}.get(test['result'], 'FAIL'),
			'duration': test['seconds'],
			'misc': {'run': words[0], 'suite': text_of(words[1]),
				 'test': text_of(words[2])},
		}
		if started is None:
			# Nothing ran, so nothing is known of the kernel.
			entry['status'] = 'MISS'
		else:
			entry['start_time'] = date(started)
		if test['log']:
			entry['log_excerpt'] = text_of(test['log'])
		if run:
			entry['environment'] = environment(run)
		yield entry


def kcidb(results):
	"""
	KernelCI's KCIDB, schema 5.3. The id of a checkout is the kernel's version and git's
	tree of what was built; that of a build adds the kernel's name; that of a test the
	run, when it began, and a number. So the same results have the same ids, and the
	same test has the same path each time.
	"""
	origin, commit = kcidb_words()
	runs = table_of_runs()
	checkouts = {}
	builds = {}
	tests = []
	for result in results:
		run = runs.get(result['run'])
		kernel, arch = (run.kernel, run.arch) if run else ('unknown', 'unknown')
		if kernel not in builds:
			branch = branch_of(kernel)
			checkout = kcidb_checkout(origin, commit, branch)
			checkouts.setdefault(checkout['id'], checkout)
			builds[kernel] = kcidb_build(checkout, kernel, arch)
		if result['started'] is not None:
			builds[kernel]['status'] = 'PASS'
		tests += kcidb_tests(result, run, builds[kernel])
	return json.dumps({'version': {'major': 5, 'minor': 3},
			   'checkouts': list(checkouts.values()),
			   'builds': list(builds.values()), 'tests': tests}, indent=1) + '\n'


FORMATS = {
	'report.json': tests_json,
	'report.ktap': ktap,
	'report.xml': junit,
	'report.md': lambda results: '\n'.join(markdown(results)) + '\n',
	'report.kcidb.json': kcidb,
}
