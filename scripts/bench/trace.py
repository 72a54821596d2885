#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""
trace.py RUN OUT - where the instructions of one call are

Boots the guest of a run whose program is "bench trace", stops it at trace_begin(),
and takes single steps until trace_end(), through QEMU's gdb server. QEMU serves no
interrupt meanwhile. Writes a line to OUT for each function of the kernel, as the
program writes its figures:

	trace WORK FUNCTION BYTES AREAS INSTRUCTIONS

BUILD is the folder that has the kernel, as for scripts/run/one.
"""

import bisect
import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', 'run'))

# pylint: disable=wrong-import-position
import common
import initrd
import qemu
import table

WORKS = [('get_pa_of_a_page', 1), ('map', 64), ('unmap', 64), ('unmap_areas', 64),
	 ('map_file', 1), ('get_pa_array', 4096), ('get_pa_array_2m', 128)]
# x86_64: the number of the program counter, and of the first argument (rdi)
PC, ARGUMENT = 16, 5
PAGE = 4096


class Gdb:
	"""The gdb server's remote protocol, as much of it as this takes"""

	def __init__(self, path):
		self.socket = socket.socket(socket.AF_UNIX)
		for _ in range(100):
			try:
				self.socket.connect(path)
				break
			except OSError:
				time.sleep(0.1)
		self.buffer = b''

	def command(self, text):
		"""Send a packet, return the answer"""
		data = text.encode()
		self.socket.sendall(b'$%s#%02x' % (data, sum(data) & 255))
		while True:
			start = self.buffer.find(b'$')
			end = self.buffer.find(b'#', start)
			if start >= 0 and 0 <= end <= len(self.buffer) - 3:
				answer = self.buffer[start + 1:end]
				self.buffer = self.buffer[end + 3:]
				self.socket.sendall(b'+')
				return answer.decode()
			received = self.socket.recv(65536)
			if not received:
				raise EOFError
			self.buffer += received

	def register(self, number):
		"""The value of a register of 64 bits"""
		return int.from_bytes(bytes.fromhex(self.command(f'p{number:x}')), 'little')


def symbols(path):
	"""Sorted addresses of the functions of a program, and their names"""
	found = {}
	for line in subprocess.run(['nm', path], check=True, text=True,
				   stdout=subprocess.PIPE).stdout.splitlines():
		fields = line.split()
		if len(fields) == 3 and fields[1] in 'tTwW':
			found.setdefault(int(fields[0], 16), fields[2])
	return sorted(found), found


def steps(gdb, end):
	"""The address of each instruction up to one"""
	while True:
		gdb.command('s')
		address = gdb.register(PC)
		if address == end:
			return
		yield address


def main():
	"""Boot, trace, count"""
	parser = common.parser(__doc__)
	parser.add_argument('run')
	parser.add_argument('out')
	args = parser.parse_args()
	run = table.find_run(args.run)
	kernel = symbols(os.path.join(common.BUILD, 'kernel', run.kernel, 'vmlinux'))
	program = {name: address for address, name in symbols(
		os.path.join(common.BUILD, 'selftests', run.arch, 'install/examples/bench'))[1].items()}

	directory = os.path.join(common.BUILD, 'runs', run.name)
	os.makedirs(directory, exist_ok=True)
	archive = initrd.make(run, directory,
			      '\n'.join(initrd.instructions(run, None, False)) + '\n')
	line = qemu.command(run, directory, archive, False)
	line += ['-S', '-chardev', 'socket,id=gdb,path=gdb,server=on,wait=off', '-gdb', 'chardev:gdb']
	os.chdir(directory)
	with open('ktap.log', 'w', encoding='utf-8') as log, \
	     subprocess.Popen(line, stdout=log, stderr=log, stdin=subprocess.DEVNULL) as guest, \
	     open(args.out, 'w', encoding='utf-8') as out:
		gdb = Gdb('gdb')
		# QEMU has single registers only for who asked how they are described
		gdb.command('qXfer:features:read:target.xml:0,400')
		gdb.command('?')
		gdb.command(f'Z1,{program["trace_begin"]:x},1')
		try:
			while gdb.command('c').startswith('T05'):
				work, pages = WORKS[gdb.register(ARGUMENT)]
				count = {}
				for address in steps(gdb, program['trace_end']):
					name = '(program)'
					if address >> 63:
						name = kernel[1][kernel[0][bisect.bisect(kernel[0], address) - 1]]
					count[name] = count.get(name, 0) + 1
				for name, number in sorted(count.items(), key=lambda item: -item[1]):
					print('trace', work, name, pages * PAGE, 1, f'{number / pages:.4f}',
					      file=out, flush=True)
		except (EOFError, OSError):	# it has powered off
			pass
		guest.wait()
	if not os.path.getsize(args.out):
		sys.exit('traced nothing')


if __name__ == '__main__':
	main()
