#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""
The parts of the whole that can run side by side, as JSON: a list of
{name, base, arch, kernel, run, groups, slow, image, command}. Each command is one that a
user can give at home as well; image is a container that has the QEMU that it needs.

	matrix [--gitlab]

All runs of each stack of patches, and the quick ones on each kernel that
scripts/conf/pins lists for make port. --gitlab prints the same as a pipeline
of GitLab CI.
"""

import argparse
import json
import os
import shlex
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'run'))
import common  # noqa: E402 pylint: disable=wrong-import-position
import table  # noqa: E402 pylint: disable=wrong-import-position

# Debian's QEMU: 7.2 in the first, 10.0 in the second, for runs that say "qemu ="
IMAGE = 'debian:12'
NEWER_IMAGE = 'debian:13'


def cells():
	"""One for each base and run"""
	stacks = common.STACKS
	for base in [*stacks, *common.pins('ports')]:
		stack = base if base in stacks else common.pins('stack-for', base)[0]
		for run in table.read_table(stack):
			if run.slow and base not in stacks:
				continue
			target = f'check BASE={base}' if base in stacks else f'port BASE={base}'
			yield {
				'name': f'{base} {run.name}',
				'base': base,
				'arch': run.arch,
				'kernel': run.kernel,
				'run': run.name,
				'groups': run.groups,
				'slow': run.slow,
				'image': NEWER_IMAGE if run.qemu else IMAGE,
				'command': f'make {target} RUN={shlex.quote(run.name)}',
			}


def gitlab():
	"""A child pipeline: the template of .gitlab-ci.yml, a job a cell"""
	pipeline = {'include': [{'local': '/.gitlab/job.yml'}]}
	for cell in cells():
		pipeline[cell['name']] = {
			'extends': '.job',
			'image': cell['image'],
			'variables': {'CACHE_OF': f'{cell["base"]}-{cell["kernel"]}'},
			'script': [cell['command']],
		}
	return pipeline


def main():
	"""Print what was asked for"""
	parser = argparse.ArgumentParser(description=__doc__,
					 formatter_class=argparse.RawDescriptionHelpFormatter)
	parser.add_argument('--gitlab', action='store_true',
			    help='as a pipeline of GitLab CI')
	args = parser.parse_args()
	matrix = gitlab() if args.gitlab else list(cells())
	common.print_all(lambda: print(json.dumps(matrix, indent=1)))


if __name__ == '__main__':
	main()
