# SPDX-License-Identifier: GPL-2.0-only
"""What the programs and modules of scripts/run share: where things are, and tables."""

import argparse
import configparser
import os
import subprocess
import sys
import typing

sys.dont_write_bytecode = True

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class TableError(Exception):
	"""A table says something that makes no sense."""


def die(what, follow_up=None) -> typing.NoReturn:
	"""What went wrong and what to do next, then exit."""
	print(f'error: {what}', file=sys.stderr)
	if follow_up:
		print(f' next: {follow_up}', file=sys.stderr)
	sys.exit(1)


def print_all(printer):
	"""Call it; if somebody reads the first lines only, as head(1) does, that is no error."""
	try:
		printer()
		sys.stdout.flush()
	except BrokenPipeError:
		os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser(text):
	"""Of a command line; --help prints the text, which is a program's docstring"""
	return argparse.ArgumentParser(description=text,
				       formatter_class=argparse.RawDescriptionHelpFormatter)


def pins(*words):
	"""What scripts/lib/pins says of kernels"""
	reader = os.path.join(TOP, 'scripts', 'lib', 'pins')
	result = subprocess.run([reader, *words], stdout=subprocess.PIPE, text=True,
				check=False)
	if result.returncode:
		sys.exit(1)
	return result.stdout.split()


def conf_rows(name, columns=0):
	"""
	A table of scripts/conf: the words of each row. Of a number of columns the last one has
	what is left of the line.
	"""
	with open(os.path.join(TOP, 'scripts', 'conf', name), encoding='utf-8') as file:
		return [line.strip().split(maxsplit=columns - 1) for line in file
			if line.strip() and not line.startswith('#')]


# The stack of patches, and what is made of it
STACKS = pins('stacks')
BASE = os.environ.get('BASE') or STACKS[0]
if BASE not in STACKS:
	die(f'BASE={BASE}: there is no stack of patches for this kernel',
	    f'one of: {" ".join(STACKS)}')
BUILD = os.environ.get('BUILD') or os.path.join(TOP, 'build', BASE)

# For a debugger: kernels have debug information, guests wait for it and have no limit
GDB = bool(os.environ.get('GDB'))


def read_sections(path):
	"""The sections of a table: a dictionary of keys for each, in their order"""
	sections = configparser.ConfigParser(interpolation=None, delimiters=('=',),
					     comment_prefixes=('#',), default_section='')
	with open(path, encoding='utf-8') as file:
		sections.read_file(file)
	return {name: dict(sections[name]) for name in sections.sections()}


def inherit(kind, names, name, own, pass_on=lambda keys, inherited: None, seen=()):
	"""
	The keys own(name) of a section, a kind of thing, on top of those of the one that it is
	like, which may be like another one. pass_on removes from the latter what is not for it.
	"""
	keys = own(name)
	like = keys.pop('like', None)
	if not like:
		return keys
	seen = (*seen, name)
	if like in seen:
		raise TableError(f'[{name}]: like goes round in a circle: '
				 + ', '.join([*seen, like]))
	if like not in names:
		raise TableError(f'[{name}]: like {like}: no such {kind}')
	inherited = inherit(kind, names, like, own, pass_on, seen)
	pass_on(keys, inherited)
	return {**inherited, **keys}


# What reading a table may raise
READ_ERRORS = (OSError, configparser.Error, TableError, ValueError)


def lines(value):
	"""The lines of a value that has one thing on each"""
	return [line for line in value.splitlines() if line]


def read_text(path):
	"""The lines of a log; none if there is no such file"""
	try:
		with open(path, encoding='utf-8', errors='replace') as file:
			return file.read().replace('\r', '').split('\n')
	except FileNotFoundError:
		return []
