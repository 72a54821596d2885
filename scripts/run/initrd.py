# SPDX-License-Identifier: GPL-2.0-only
"""What a guest starts from: programs, modules, and what init is to do"""

import os
import shutil
import stat

import arches
import common
import table

# Seconds that no one waits for
NO_LIMIT = 1000000


def is_harness(run, program):
	"""Is a program built on kselftest_harness.h, which can be narrowed down?"""
	install = os.path.join(common.BUILD, 'selftests', run.arch, 'install')
	for folder in sorted(os.listdir(install)):
		path = os.path.join(install, folder, program)
		if os.path.isfile(path):
			with open(path, 'rb') as file:
				return b'# FIXTURE' in file.read()
	return False


def instructions(run, pattern, shell):
	"""What init is to do, in its own words: see scripts/guest/init.c"""
	if not shell:
		yield f'ktap {arches.find(run.arch).terminal}'
	yield from run.setup
	if shell:
		yield 'shell'
		return
	programs = pattern and table.of_programs([run], pattern)
	for test in run.tests:
		# What the next kernel finds is what is left by the last test of this one.
		narrow = pattern and not test.kexec and not test.is_program(pattern)
		if narrow and (programs or not is_harness(run, test.argv[0])):
			continue
		yield f'test {NO_LIMIT if common.GDB else test.limit} {test.name}'
		for arg in test.argv:
			yield f'arg {arg}'
		if test.kexec:
			yield 'kexec'
		if narrow:
			yield f'filter {pattern}'


def cpio_archive(entries):
	"""Files and folders, of (name, mode, data), in the format that the kernel unpacks"""
	def padded(data):
		return data + b'\0' * (-len(data) % 4)

	archive = b''
	for name, mode, data in [*entries, ('TRAILER!!!', 0, b'')]:
		name = name.encode()
		fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
		archive += padded(b'070701' + b''.join(b'%08x' % field for field in fields)
				  + name + b'\0') + padded(data)
	return archive


def kernel_modules(run):
	"""The modules of the run's kernel, if it has any, where modprobe looks for them"""
	kernel = os.path.join(common.BUILD, 'kernel', run.kernel)
	if 'CONFIG_MODULES=y' not in common.read_text(os.path.join(kernel, '.config')):
		return
	path = 'lib'
	release = common.read_text(os.path.join(kernel, 'include/config/kernel.release'))[0]
	for folder in ('', '/modules', f'/{release}'):
		path += folder
		yield path, stat.S_IFDIR | 0o755, b''
	for line in common.read_text(os.path.join(kernel, 'modules.order')):
		if line:
			module = os.path.splitext(line)[0] + '.ko'
			with open(os.path.join(kernel, module), 'rb') as file:
				yield (f'{path}/{os.path.basename(module)}',
				       stat.S_IFREG | 0o644, file.read())


def kernel_to_start(run):
	"""The kernel itself, if it is to start the next one"""
	if any(test.kexec for test in run.tests):
		image = os.path.join(common.BUILD, 'kernel', run.kernel,
				     arches.find(run.arch).image)
		with open(image, 'rb') as file:
			yield 'kernel', stat.S_IFREG | 0o644, file.read()


def append_client(run, file):
	"""The archive of the program of others that the run uses"""
	path = os.path.join(common.BUILD, 'client', run.client, 'client.cpio')
	try:
		with open(path, 'rb') as archive:
			shutil.copyfileobj(archive, file)
	except FileNotFoundError:
		common.die(f'no archive {path}', f'scripts/build/client {run.client}')


def make(run, directory, text):
	"""The architecture's archive, the client's, the kernel's modules, a kernel, the
	instructions"""
	base = os.path.join(common.BUILD, 'initramfs', run.arch, 'initramfs.cpio')
	path = os.path.join(directory, 'initrd')
	try:
		shutil.copyfile(base, path)
	except FileNotFoundError:
		common.die(f'no initramfs {base}', f'scripts/build/initramfs {run.arch}')
	with open(path, 'ab') as file:
		if run.client:
			append_client(run, file)
		file.write(cpio_archive([*kernel_modules(run), *kernel_to_start(run),
					 ('run', stat.S_IFREG | 0o644, text.encode())]))
	return path
