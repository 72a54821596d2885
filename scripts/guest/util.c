// SPDX-License-Identifier: GPL-2.0-only
/*
 * What every part of init calls: how it ends, and files of one line.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <termios.h>
#include <unistd.h>

#include "guest.h"

FILE *ktap;

void drain(void)
{
	fflush(NULL);
	if (ktap)
		tcdrain(fileno(ktap));
	tcdrain(STDOUT_FILENO);
}

void power_off(void)
{
	drain();
	reboot(RB_POWER_OFF);
	/* Without a way to power off: the host starts QEMU with -no-reboot. */
	reboot(RB_AUTOBOOT);
	exit(1);
}

void bail_out(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("init: ");
	vprintf(fmt, args);
	printf("\n");
	va_end(args);

	if (ktap) {
		va_start(args, fmt);
		fprintf(ktap, "Bail out! ");
		vfprintf(ktap, fmt, args);
		fprintf(ktap, "\n");
		va_end(args);
	}
	power_off();
}

char *xstrdup(const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		bail_out("out of memory");
	return copy;
}

int write_file(const char *path, const char *value)
{
	ssize_t len = strlen(value);
	ssize_t ret;
	int fd;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, value, len);
	ret = ret == len ? 0 : -(errno ?: EIO);
	close(fd);
	return ret;
}

/* Read a one-line file, without its newline */
int read_file(const char *path, char *buf, size_t size)
{
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = read(fd, buf, size - 1);
	close(fd);
	if (len < 0)
		return -errno;
	buf[len] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}
