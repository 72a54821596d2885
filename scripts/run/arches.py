#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""
The table of architectures, scripts/conf/arches.cfg (which documents its keys).

	arches.py NAME

As a program it prints the section of one as assignments for a shell: KARCH,
KSELFTEST, TRIPLET, DEBIAN, SUITE and IMAGE.
"""

import dataclasses
import os
import shlex

import common

TABLE = os.path.join(common.TOP, 'scripts', 'conf', 'arches.cfg')
SHELL_KEYS = ('karch', 'kselftest', 'triplet', 'debian', 'suite', 'image')


@dataclasses.dataclass
class Arch:
	"""A section of the table"""
	name: str
	karch: str
	triplet: str
	image: str
	qemu: str
	machine: str
	cpu: str
	append: str
	terminal: str
	serial: str
	idle: str
	kselftest: str = ''
	debian: str = ''
	suite: str = ''
	aliases: str = ''

	def is_called(self, word):
		"""Is it one of those that ARCH=word means?"""
		return word == self.name or word in self.aliases.split()

	def serial_arguments(self):
		"""QEMU's arguments for the terminal that results go to"""
		return arguments(self.serial)


def arguments(value):
	"""The words of a value that has an option to a line"""
	return [word for line in common.lines(value) for word in line.split()]


def read():
	"""All architectures, by name"""
	try:
		sections = common.read_sections(TABLE)
		return {name: parse(name, common.inherit('architecture', sections, name,
							 lambda name: dict(sections[name])))
			for name in sections}
	except common.READ_ERRORS as error:
		common.die(f'{TABLE}: {error}')


def parse(name, keys):
	"""One section"""
	known = {field.name: field for field in dataclasses.fields(Arch) if field.name != 'name'}
	for key in keys:
		if key not in known:
			raise common.TableError(f'[{name}]: unknown key {key}; known are '
						+ ', '.join(known))
	needed = [key for key, field in known.items() if field.default is dataclasses.MISSING]
	if keys.get('image') == '':
		keys = {**dict.fromkeys(needed, ''), **keys}
		needed = ['karch', 'triplet']
	elif keys.get('qemu') == '':
		# The kernel is a program of this machine.
		keys = {**dict.fromkeys(needed, ''), **keys}
		needed = ['karch', 'image']
	for key in needed:
		if not keys.get(key):
			raise common.TableError(f'[{name}]: {key} is missing')
	return Arch(name, **{'kselftest': name, **keys})


def find(name):
	"""The one of that name"""
	table = read()
	if name not in table:
		common.die(f'no architecture {name}', f'scripts/conf/arches.cfg has {" ".join(table)}')
	return table[name]


def called(word):
	"""The names of those that ARCH=word means"""
	table = read()
	names = [arch.name for arch in table.values() if arch.is_called(word)]
	if not names:
		aliases = {alias: None for arch in table.values() for alias in arch.aliases.split()}
		common.die(f'ARCH={word}: no such architecture',
			   f'one of {" ".join(table)}, or what others call them: {" ".join(aliases)}')
	return names


def main():
	"""Print one for a shell"""
	parser = common.parser(__doc__)
	parser.add_argument('name')
	arch = find(parser.parse_args().name)
	for key in SHELL_KEYS:
		print(f'{key.upper()}={shlex.quote(getattr(arch, key))}')


if __name__ == '__main__':
	main()
