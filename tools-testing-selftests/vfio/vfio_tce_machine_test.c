// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tests of TCE tables that take a machine of one's own, a virtual one for
 * instance: they change the device tree for a kernel that is started by kexec,
 * unplug a device, and talk to QEMU. "make run_tests" leaves them out.
 *
 * usage: vfio_tce_machine_test [OPTION...] NVME [NVME]
 *
 * The first controller loses what is on its first namespace; the second one
 * needs none.
 *
 * In QEMU the monitor (QMP) can be on a serial port, which MONITOR in the
 * environment names. The second controller is then unplugged and plugged in again, as
 * userspace does it on pseries. PLUG is what QEMU's device_add needs for it, with
 * the id "unplug".
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <linux/vfio.h>

#include <libvfio.h>

#include "kselftest_harness.h"
#include "tce.h"

#define OFDT		"/proc/powerpc/ofdt"

static void write_to(const char *path, const void *text, size_t len)
{
	int fd = open(path, O_WRONLY);

	VFIO_ASSERT_GE(fd, 0, "open(%s) failed\n", path);
	VFIO_ASSERT_EQ(write(fd, text, len), len, "%s\n", path);
	close(fd);
}

/* The kernel's own driver can do DMA, also by windows that it has found. */
TEST(kernel_dma)
{
	ASSERT_TRUE(kernel_dma_works_in_all(0x71));
}

/*
 * The PE has a window of the kernel's driver and the default one. Tell the next
 * kernel of the first one only, as if the PE could have no more than one:
 * enable_ddw() saves the property of the default window then and removes it.
 */
TEST(one_window)
{
	const char *node = pe_node(bdfs[0]);
	char command[256], window[64];
	int len, at;

	if (access(OFDT, W_OK))
		SKIP(return, "the device tree is not to be changed");
	ASSERT_TRUE(kernel_dma_works_in_all(0x73));
	ASSERT_NE(0, kernel_window(bdfs[0]));

	len = get_property(node, "ibm,dma-window", window, sizeof(window));
	ASSERT_GT(len, 0);
	if (get_property(node, "ibm,dma-window-saved", command, 1) < 0) {
		at = snprintf(command, sizeof(command),
			      "add_property %u ibm,dma-window-saved %d ",
			      get_number(node, "phandle"), len);
		memcpy(command + at, window, len);
		write_to(OFDT, command, at + len);
	}
	at = snprintf(command, sizeof(command),
		      "remove_property %u ibm,dma-window",
		      get_number(node, "phandle"));
	write_to(OFDT, command, at);
	ASSERT_EQ(-1, get_property(node, "ibm,dma-window", window, 1));
}

/*
 * Hot plug on pseries: the firmware tells userspace what is to go, which has the
 * kernel's driver let go of it, isolates its connector, and removes it from the
 * device tree. What is to come goes the other way.
 */

#define DLPAR		"/sys/kernel/dlpar"
#define RTAS_NODE	"/proc/device-tree/rtas"

#define ISOLATION_STATE	9001
#define ENTITY_SENSE	9003
#define ISOLATE		0
#define UNISOLATE	1
#define ENTITY_EMPTY	0
#define ENTITY_PRESENT	1

struct rtas_call {
	__be32 token;
	__be32 nargs;
	__be32 nret;
	__be32 args[16];
	__be64 rets;
};

/* The answer of the firmware, which has a status before it */
static int set_isolation(u32 connector, u32 state)
{
	struct rtas_call call = {
		.token = htobe32(get_number(RTAS_NODE, "set-indicator")),
		.nargs = htobe32(3),
		.nret = htobe32(1),
		.args = {
			htobe32(ISOLATION_STATE), htobe32(connector),
			htobe32(state),
		},
	};

	VFIO_ASSERT_EQ(syscall(SYS_rtas, &call), 0);
	return be32toh(call.args[3]);
}

static int entity_sense(u32 connector)
{
	struct rtas_call call = {
		.token = htobe32(get_number(RTAS_NODE, "get-sensor-state")),
		.nargs = htobe32(2),
		.nret = htobe32(2),
		.args = { htobe32(ENTITY_SENSE), htobe32(connector) },
	};

	VFIO_ASSERT_EQ(syscall(SYS_rtas, &call), 0);
	VFIO_ASSERT_EQ(be32toh(call.args[2]), 0);
	return be32toh(call.args[3]);
}

static void change_device_tree(const char *action, u32 connector)
{
	char command[64];
	int len;

	len = snprintf(command, sizeof(command), "dt %s index 0x%x", action,
		       connector);
	write_to(DLPAR, command, len);
}

/*
 * Before the port is raw, the terminal echoes the monitor's greeting, and the
 * monitor answers what it is told by the echo. Do not wait for the output, which
 * may never end. With 0xff the monitor drops what it has of a command.
 */
static int open_monitor(const char *port, struct termios *before)
{
	static const char start[] = "\xff{\"execute\":\"qmp_capabilities\"}\n";
	struct termios termios;
	int fd = open(port, O_RDWR | O_NOCTTY);

	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(tcgetattr(fd, before), 0);
	termios = *before;
	cfmakeraw(&termios);
	VFIO_ASSERT_EQ(tcsetattr(fd, TCSANOW, &termios), 0);
	VFIO_ASSERT_EQ(write(fd, start, strlen(start)), strlen(start));
	return fd;
}

/* Its answers are not read: what was to be done shows by the device. */
static void tell_monitor(int fd, const char *command, const char *what)
{
	char line[512];
	int len;

	snprintf_assert(line, sizeof(line),
			"\xff{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"%s %s\"}}\n",
			command, what);
	len = strlen(line);
	VFIO_ASSERT_EQ(tcflush(fd, TCIFLUSH), 0);
	VFIO_ASSERT_EQ(write(fd, line, len), len);
	VFIO_ASSERT_EQ(tcdrain(fd), 0);
}

static bool is_there(const char *bdf)
{
	char path[PATH_MAX];

	snprintf_assert(path, sizeof(path), SYSFS_PCI "/devices/%s", bdf);
	return !access(path, F_OK);
}

static int request_eventfd(int device)
{
	struct {
		struct vfio_irq_set set;
		s32 fd;
	} args = {
		.set = {
			.argsz = sizeof(args),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD |
				 VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = VFIO_PCI_REQ_IRQ_INDEX,
			.count = 1,
		},
		.fd = eventfd(0, 0),
	};

	VFIO_ASSERT_GE(args.fd, 0);
	ioctl_assert(device, VFIO_DEVICE_SET_IRQS, &args);
	return args.fd;
}

FIXTURE(plug) {
	int monitor;
	struct termios before;
	u32 connector;
	/* The user of VFIO */
	int user;
	int group;
	int device;
	void *memory;
};

FIXTURE_VARIANT(plug) {
	const char *path;
	bool in_use;
};

FIXTURE_VARIANT_ADD(plug, kernel) {
};

FIXTURE_VARIANT_ADD(plug, container) {
	.path = CONTAINER,
	.in_use = true,
};

FIXTURE_VARIANT_ADD(plug, container_idle) {
	.path = CONTAINER,
};

FIXTURE_VARIANT_ADD(plug, iommufd) {
	.path = IOMMUFD,
	.in_use = true,
};

#define PLUG_IOVA	SZ_1M
#define PLUG_SIZE	SZ_1M

FIXTURE_SETUP(plug)
{
	char node[PATH_MAX];

	if (!getenv("MONITOR") || !getenv("PLUG"))
		SKIP(return, "MONITOR and PLUG do not tell how to plug");
	if (!bdfs[1])
		SKIP(return, "needs two devices");

	self->monitor = open_monitor(getenv("MONITOR"), &self->before);
	self->user = -1;
	self->group = -1;
	self->device = -1;
	snprintf_assert(node, sizeof(node), SYSFS_PCI "/devices/%s/of_node",
			bdfs[1]);
	self->connector = get_number(node, "ibm,my-drc-index");
	self->memory = alloc_memory(PLUG_SIZE);
}

FIXTURE_TEARDOWN(plug)
{
	tcsetattr(self->monitor, TCSADRAIN, &self->before);
	close(self->monitor);
	munmap(self->memory, PLUG_SIZE);
}

static bool share_group(void)
{
	char path[PATH_MAX], groups[2][PATH_MAX] = {};

	for (int i = 0; i < 2; i++) {
		snprintf_assert(path, sizeof(path),
				SYSFS_PCI "/devices/%s/iommu_group", bdfs[i]);
		VFIO_ASSERT_GT(readlink(path, groups[i], PATH_MAX - 1), 0);
	}
	return !strcmp(groups[0], groups[1]);
}

/* A user of VFIO gets the group, with memory mapped in its default window. */
static void take_group(const char *path, int *user, int *group, void *memory)
{
	*user = open(path, O_RDWR);
	VFIO_ASSERT_GE(*user, 0);
	*group = open_group(bdfs[1]);
	VFIO_ASSERT_GE(*group, 0);
	ioctl_assert(*group, VFIO_GROUP_SET_CONTAINER, user);
	ioctl_assert(*user, VFIO_SET_IOMMU, (void *)VFIO_SPAPR_TCE_v2_IOMMU);
	VFIO_ASSERT_EQ(spapr_register(*user, memory, PLUG_SIZE), 0);
	VFIO_ASSERT_EQ(spapr_map(*user, memory, PLUG_SIZE, PLUG_IOVA,
				 SPAPR_READ_WRITE), 0);
}

static int remap(int user, void *memory)
{
	return spapr_unmap(user, PLUG_IOVA, PLUG_SIZE) ?:
	       spapr_map(user, memory, PLUG_SIZE, PLUG_IOVA, SPAPR_READ_WRITE);
}

/* The memory is mapped, and can be mapped anew. */
static int map_again(int user, void *memory)
{
	if (spapr_unregister(user, memory, PLUG_SIZE) != -EBUSY)
		return -ENOENT;
	return remap(user, memory);
}

/*
 * The second controller is unplugged and plugged in again, while the kernel's
 * driver has it or a user of VFIO.
 */
TEST_F_TIMEOUT(plug, unplug, 120)
{
	bool shared = share_group();
	int event = -1, status;
	pid_t pid;

	if (variant->path) {
		take_group(variant->path, &self->user, &self->group,
			   self->memory);
	} else {
		bind_to(bdfs[1], "nvme");
		ASSERT_TRUE(kernel_dma_works(bdfs[1], 0x81));
	}
	if (variant->in_use) {
		self->device = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD,
				     bdfs[1]);
		ASSERT_GE(self->device, 0);
		event = request_eventfd(self->device);
	}

	tell_monitor(self->monitor, "device_del", "unplug");
	fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		/* Blocks until the device is given back: do not hold on to it */
		close(self->device);
		close(self->group);
		close(self->user);
		sysfs_write("1", SYSFS_PCI "/devices/%s/remove", bdfs[1]);
		_exit(0);
	}
	if (variant->in_use) {
		struct pollfd request = { .fd = event, .events = POLLIN };

		/* The device is asked for, and ours until it is closed. */
		ASSERT_EQ(1, poll(&request, 1, 20000));
		ASSERT_EQ(0, map_again(self->user, self->memory));
		ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
		ASSERT_TRUE(is_there(bdfs[1]));
		ASSERT_EQ(0, close(self->device));
		ASSERT_EQ(0, close(event));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_FALSE(is_there(bdfs[1]));

	ASSERT_EQ(0, set_isolation(self->connector, ISOLATE));
	change_device_tree("remove", self->connector);
	for (int i = 0; i < 100 && entity_sense(self->connector); i++)
		usleep(100000);
	ASSERT_EQ(ENTITY_EMPTY, entity_sense(self->connector));
	if (variant->path) {
		ASSERT_EQ(-1, ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD,
				    bdfs[1]));
		ASSERT_EQ(ENODEV, errno);
		/* Without another device VFIO has no group any more. */
		status = shared ? map_again(self->user, self->memory) :
				  remap(self->user, self->memory);
		if (shared)
			ASSERT_EQ(0, status);
	}

	/* QEMU may have to let go of the name first. */
	for (int i = 0; i < 20 && !entity_sense(self->connector); i++) {
		tell_monitor(self->monitor, "device_add", getenv("PLUG"));
		sleep(1);
	}
	ASSERT_EQ(ENTITY_PRESENT, entity_sense(self->connector));
	ASSERT_EQ(0, set_isolation(self->connector, UNISOLATE));
	change_device_tree("add", self->connector);
	sysfs_write("1", SYSFS_PCI "/rescan", "");
	ASSERT_TRUE(is_there(bdfs[1]));

	if (variant->path) {
		bind_to(bdfs[1], "vfio-pci");
		if (!shared) {
			close(self->group);
			close(self->user);
			take_group(variant->path, &self->user, &self->group,
				   self->memory);
		}
		self->device = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD,
				     bdfs[1]);
		ASSERT_GE(self->device, 0);
		ASSERT_EQ(0, map_again(self->user, self->memory));
		close(self->device);
		close(self->group);
		close(self->user);
	} else {
		ASSERT_TRUE(kernel_dma_works(bdfs[1], 0x83));
	}
	ASSERT_TRUE(kernel_dma_works_in_all(0x85));
}

int main(int argc, char *argv[])
{
	argc = take_devices(argc, argv, "NVME [NVME]");
	return test_harness_run(argc, argv);
}
