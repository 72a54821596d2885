# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's command line for a run"""

import os
import platform
import re
import shlex
import shutil
import subprocess

import arches
import common
import hang

# The scratch disk's image, in the run's folder
DISK = 'disk.img'
# What a run's key "monitor" says, as QEMU says it
MONITORS = {'yes': 'readline', 'qmp': 'control'}
# What gdb connects to, likewise
GDB_SOCKET = 'gdb'


def said_by(program, *arguments):
	"""What QEMU says of itself"""
	return subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True,
			      check=True).stdout


def is_older(program, version):
	"""Is it older than this version, 8.2 for instance?"""
	have = re.search(r'version (\d+)\.(\d+)', said_by(program, '--version'))
	return not have or tuple(map(int, have.groups())) < tuple(map(int, version.split('.')))


def too_old(run):
	"""What is wrong with the QEMU that is there, if the run needs a newer one"""
	program = arches.find(run.arch).qemu
	if not run.qemu or not is_older(program, run.qemu):
		return None
	return f'needs QEMU {run.qemu}, this is: {said_by(program, "--version").splitlines()[0]}'


def check_accel(runs):
	"""ACCEL= names what QEMU has, if that is installed by now"""
	name = os.environ.get('ACCEL')
	for program in {arches.find(run.arch).qemu for run in runs} if name else ():
		if not program or not shutil.which(program):
			continue
		have = said_by(program, '-accel', 'help').splitlines()[1:]
		if name.split(',')[0] not in have:
			common.die(f'ACCEL={name}: {program} has no such accelerator',
				   f'one of: {" ".join(have)}')


def accelerator(name, program, groups):
	"""QEMU's -accel for a run of these groups"""
	# Before 8.2 a CPU that runs while another one moves a BAR may look up its TLB's entry
	# in the new map of memory, and QEMU crashes (its commit 0d58c660689f fixes that). It
	# was seen with a debug kernel. Turns of 100 ms are not for runs that test for fairness.
	if name == 'tcg' and 'debug' in groups and is_older(program, '8.2'):
		return 'tcg,thread=single'
	return name


def command(run, directory, initrd, shell):
	"""QEMU and all its arguments"""
	arch = arches.find(run.arch)
	kernel = os.path.join(common.BUILD, 'kernel', run.kernel, arch.image)
	if not shutil.which(arch.qemu):
		common.die(f'{arch.qemu} is not installed', f'scripts/fetch/packages {run.arch}')
	if not os.path.exists(kernel):
		common.die(f'no kernel {kernel}', f'scripts/build/kernel {run.kernel}')

	# TCG works everywhere; a /dev/kvm that opens may still hang the guest.
	accel = os.environ.get('ACCEL') or 'tcg'
	cpu = run.cpu or (arch.cpu if accel == 'tcg' else 'host')
	line = [arch.qemu, '-name', run.name,
		'-accel', accelerator(accel, arch.qemu, run.groups),
		'-machine', run.machine, '-cpu', cpu,
		'-smp', run.cpus, '-m', run.memory,
		'-no-user-config', '-no-reboot',
		'-display', 'none', '-monitor', 'none']
	line += ['-nic', 'none'] if run.defaults else ['-nodefaults']
	results = run.serial or arch.serial_arguments()
	if shell:
		line += ['-serial', 'mon:stdio']
		if '-serial' in results:	# the ports after it keep their numbers
			line += ['-serial', 'null']
	else:
		line += ['-serial', 'file:console.log', *results,
			 '-qmp', f'unix:{hang.SOCKET},server=on,wait=off']
	if run.icount:
		# What counts instructions must not see the host's time of day
		line += ['-icount', f'shift={run.icount}',
			 '-rtc', 'base=2026-01-01,clock=vm']
	if run.disk:
		disk = os.path.join(directory, DISK)
		subprocess.run(['truncate', '-s', run.disk, disk], check=True)
		line += ['-drive', 'if=none,id=disk,format=raw,file=' + DISK]
	for netdev in run.netdevs:
		line += ['-netdev', netdev]
	for device in run.devices:
		line += ['-device', device]
	if run.monitor:
		# QEMU's own monitor, through pipes, on the guest's next serial port. A socket
		# is full with 278 bytes that come one by one, and the port of a pseries
		# machine then waits for ever: the monitor does not get to read them.
		for end, other in (('in', 'out'), ('out', 'in')):
			os.mkfifo(os.path.join(directory, 'monitor.' + end))
			os.symlink('monitor.' + end,
				   os.path.join(directory, 'to-monitor.' + other))
		line += ['-chardev', 'pipe,id=monitor,path=monitor',
			 '-mon', f'chardev=monitor,mode={MONITORS[run.monitor]}',
			 '-chardev', 'pipe,id=to-monitor,path=to-monitor',
			 '-serial', 'chardev:to-monitor']
	if common.GDB:
		line += ['-S', '-chardev', f'socket,id=gdb,path={GDB_SOCKET},server=on,wait=off',
			 '-gdb', 'chardev:gdb']
	append = f'{arch.append} panic=-1 rdinit=/init {run.append}'
	if any(test.kexec for test in run.tests):
		append += ' retain_initrd'
	append += ' ' + os.environ.get('APPEND', '')
	return line + ['-kernel', kernel, '-initrd', initrd, '-append', append]


def debugger(run, directory):
	"""The command that debugs this guest from another terminal, in the project's folder"""
	def path(*parts):
		return shlex.quote(os.path.relpath(os.path.join(*parts), common.TOP))

	# Debian's gdb knows its own architecture only; elsewhere there may be no other.
	foreign = run.arch != platform.machine() and shutil.which('gdb-multiarch')
	gdb = 'gdb-multiarch' if foreign else 'gdb'
	kernel = path(common.BUILD, 'kernel', run.kernel)
	return (f"{gdb} -iex 'add-auto-load-safe-path {kernel}' {kernel}/vmlinux"
		f" -ex 'target remote {path(directory, GDB_SOCKET)}'")
