// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bind PCI devices to vfio-pci.
 */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define DEVICES		"/sys/bus/pci/devices"
#define DRIVERS_PROBE	"/sys/bus/pci/drivers_probe"

static bool has_id(const char *bdf, const char *id)
{
	char path[PATH_MAX], vendor[16], device[16], have[40];

	snprintf(path, sizeof(path), DEVICES "/%s/vendor", bdf);
	if (read_file(path, vendor, sizeof(vendor)))
		return false;
	snprintf(path, sizeof(path), DEVICES "/%s/device", bdf);
	if (read_file(path, device, sizeof(device)))
		return false;
	/* Both read as 0x1234. */
	snprintf(have, sizeof(have), "%s:%s", vendor + 2, device + 2);
	return !strcmp(have, id);
}

/* The address of the one device that ID means; the caller frees it */
static char *find_device(const char *name, const char *id)
{
	struct dirent *entry;
	char *found = NULL;
	DIR *dir;

	dir = opendir(DEVICES);
	if (!dir)
		bail_out("bind %s %s: the kernel has no PCI", name, id);
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, id) && !has_id(entry->d_name, id))
			continue;
		if (found)
			bail_out("bind %s %s: both %s and %s are that", name,
				 id, found, entry->d_name);
		found = xstrdup(entry->d_name);
	}
	closedir(dir);
	if (!found)
		bail_out("bind %s %s: the machine has no such PCI device", name,
			 id);
	return found;
}

static bool driver_is(const char *bdf, const char *driver)
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *base;
	ssize_t len;

	snprintf(path, sizeof(path), DEVICES "/%s/driver", bdf);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	base = strrchr(target, '/');
	return !strcmp(base ? base + 1 : target, driver);
}

/* $NAME_cdev: the character device, whatever VFIO called it */
static void name_cdev(const char *name, const char *bdf)
{
	char path[PATH_MAX], variable[256];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), DEVICES "/%s/vfio-dev", bdf);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(variable, sizeof(variable), "%s_cdev", name);
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
			 entry->d_name);
		setenv(variable, path, 1);
	}
	closedir(dir);
}

void bind_device(const char *name, const char *id)
{
	char *bdf = find_device(name, id);
	char path[PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), DEVICES "/%s/driver_override", bdf);
	ret = write_file(path, "vfio-pci");
	if (ret)
		bail_out("bind %s: %s: %s", name, path, strerror(-ret));

	/* A device without a driver has nothing to be unbound from. */
	snprintf(path, sizeof(path), DEVICES "/%s/driver/unbind", bdf);
	write_file(path, bdf);

	write_file(DRIVERS_PROBE, bdf);
	if (!driver_is(bdf, "vfio-pci"))
		bail_out("bind %s: vfio-pci does not take %s", name, bdf);

	setenv(name, bdf, 1);
	name_cdev(name, bdf);
	printf("init: %s is %s\n", name, bdf);
	free(bdf);
}
