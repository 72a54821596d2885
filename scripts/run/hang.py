# SPDX-License-Identifier: GPL-2.0-only
"""What the processors of a guest that hangs are at, as QEMU tells"""

import bisect
import collections
import fnmatch
import json
import os
import re
import socket
import time

import arches
import common

# QEMU's monitor for programs, and what it said, in the run's folder
SOCKET = 'qmp'
REGISTERS = 'registers.log'

# One that stands still is at the same place at each look. One that is idle still gets the
# tick, which one look in 25 finds it at: it has to be idle at most looks, not at all.
LOOKS = 7
SECONDS_BETWEEN = 0.5
# A QEMU that hangs itself says nothing.
PATIENCE = 10

CPU = re.compile(r'^CPU#(\d+)', re.M)
# As QEMU calls it: x86, POWER, arm64, arm, riscv64. x86-64 has another R15.
COUNTER = re.compile(r'\b(?:[RE]IP=|NIP +|PC=|R15=(?=[0-9a-f]{8}\b)|pc +)([0-9a-f]+)')


def symbols(kernel):
	"""Addresses of the kernel's symbols, in order, and their names"""
	found = []
	for line in common.read_text(os.path.join(kernel, 'System.map')):
		address, _, name = line.partition(' ')
		if name:
			found.append((int(address, 16), name.split()[-1]))
	found.sort()
	return found


def name_of(address, table):
	"""Where in the kernel that is, or the number"""
	after = bisect.bisect_right(table, (address, '\x7f'))
	# What follows the last symbol, or is before the first, is no kernel's.
	if not 0 < after < len(table):
		return f'{address:#x}'
	start, name = table[after - 1]
	return f'{name}+{address - start:#x}'


def registers(path):
	"""Those of all processors, as QEMU prints them"""
	with socket.socket(socket.AF_UNIX) as channel:
		channel.settimeout(PATIENCE)
		channel.connect(path)
		with channel.makefile('rw', encoding='utf-8') as monitor:
			for command in ({'execute': 'qmp_capabilities'},
					{'execute': 'human-monitor-command',
					 'arguments': {'command-line': 'info registers -a'}}):
				monitor.write(json.dumps(command) + '\n')
				monitor.flush()
				answer = {}
				# A greeting and events come between.
				while 'return' not in answer:
					answer = json.loads(monitor.readline())
					if 'error' in answer:
						raise OSError(answer['error']['desc'])
			return answer['return'].replace('\r', '')


def places_in(text, table):
	"""Each processor's number, and where it is, of what registers() returned"""
	numbers_and_parts = CPU.split(text)[1:]
	for number, part in zip(numbers_and_parts[::2], numbers_and_parts[1::2]):
		counter = COUNTER.search(part)
		yield number, name_of(int(counter.group(1), 16), table) if counter else 'unknown'


def is_idle(arch, place):
	"""Is that where the kernel of this architecture waits for an interrupt?"""
	return any(fnmatch.fnmatchcase(place.partition('+')[0], pattern)
		   for pattern in arch.idle.split())


def judge(arch, places_of):
	"""What to say of the processors, a line each with its places, those first where it was
	most often; and whether all of them were idle at most looks"""
	lines = []
	all_idle = bool(places_of)
	for number, found in places_of.items():
		places = collections.Counter(found).most_common()
		lines.append(f'CPU {number} is at '
			     + ', '.join(f'{place} ({count} of {len(found)})' for place, count in places))
		idle = sum(count for place, count in places if is_idle(arch, place))
		all_idle = all_idle and idle > len(found) / 2
	return lines, all_idle


def processors(run, directory):
	"""What to say of a guest that hangs; and whether all its processors were idle"""
	table = symbols(os.path.join(common.BUILD, 'kernel', run.kernel))
	# An address of a socket has 108 bytes; that of the folder may have more.
	directory = os.path.relpath(directory)
	path = os.path.join(directory, REGISTERS)
	places_of = collections.defaultdict(list)
	try:
		with open(path, 'w', encoding='utf-8') as log:
			for _ in range(LOOKS):
				time.sleep(SECONDS_BETWEEN)
				text = registers(os.path.join(directory, SOCKET))
				log.write(text)
				for number, place in places_in(text, table):
					places_of[number].append(place)
	except (OSError, ValueError) as error:
		return [f'QEMU does not say what its processors are at: {error}'], False
	lines, idle = judge(arches.find(run.arch), places_of)
	return [*lines, f'their registers: {path}'], idle
