// SPDX-License-Identifier: GPL-2.0-only
/*
 * Start the kernel again with kexec, with the same initramfs.
 *
 * The host puts the kernel into the initramfs, and has the kernel keep that
 * (retain_initrd). What the next one is told besides is how many tests are done:
 * a parameter that the kernel does not know is in the environment of init. Of
 * those of one name it is the last.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

#define KERNEL		"/kernel"
#define INITRD		"/sys/firmware/initrd"
#define TESTS_DONE	"TESTS_DONE"

unsigned int tests_done(void)
{
	return strtoul(getenv(TESTS_DONE) ?: "0", NULL, 10);
}

void start_next_kernel(unsigned int done)
{
	int kernel = open(KERNEL, O_RDONLY), initrd = open(INITRD, O_RDONLY);
	char line[2048], *parameter;

	if (read_file("/proc/cmdline", line, sizeof(line) - 32))
		bail_out("kexec: /proc/cmdline: %s", strerror(errno));
	parameter = strstr(line, " " TESTS_DONE "=") ?: line + strlen(line);
	sprintf(parameter, " " TESTS_DONE "=%u", done);
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line,
		    0UL))
		bail_out("kexec_file_load: %s", strerror(errno));
	printf("init: kexec after %u tests\n", done);
	drain();
	reboot(RB_KEXEC);
	bail_out("kexec: %s", strerror(errno));
}
