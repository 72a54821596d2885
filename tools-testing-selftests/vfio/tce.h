/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tests of TCE tables share: the files of a device, its group, the kernel's
 * driver of it with the window that it has, and the registers of an NVMe
 * controller.
 */
#ifndef SELFTESTS_VFIO_TCE_H
#define SELFTESTS_VFIO_TCE_H

#include <endian.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <linux/map_benchmark.h>
#include <linux/vfio.h>

#include <libvfio.h>

#define SYSFS_PCI	"/sys/bus/pci"
#define BENCHMARK	"/sys/kernel/debug/dma_map_benchmark"

/* Of an NVMe controller: registers, a command, and the page that it has */
#define NVME_CC			0x14
#define NVME_CC_ENABLE		0x00460001
#define NVME_CSTS		0x1c
#define NVME_AQA		0x24
#define NVME_ASQ		0x28
#define NVME_ACQ		0x30
#define NVME_DOORBELL		0x1000
#define NVME_ADMIN_IDENTIFY	0x06
#define NVME_PAGE		4096

static inline u64 region_offset(int fd, u32 index)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = index,
	};

	ioctl_assert(fd, VFIO_DEVICE_GET_REGION_INFO, &info);
	return info.offset;
}

static inline u64 now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void sysfs_write(const char *text, const char *format,
			       const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf_assert(path, sizeof(path), format, name);
	fd = open(path, O_WRONLY);
	VFIO_ASSERT_GE(fd, 0, "open(%s) failed\n", path);
	VFIO_ASSERT_EQ(write(fd, text, strlen(text)), strlen(text), "%s\n",
		       path);
	close(fd);
}

static inline int open_group(const char *bdf)
{
	char path[PATH_MAX], target[PATH_MAX] = {};

	snprintf_assert(path, sizeof(path), SYSFS_PCI "/devices/%s/iommu_group",
			bdf);
	VFIO_ASSERT_GT(readlink(path, target, sizeof(target) - 1), 0);
	snprintf_assert(path, sizeof(path), "/dev/vfio/%s", basename(target));
	return open(path, O_RDWR);
}

static inline bool has_driver(const char *bdf)
{
	char path[PATH_MAX];

	snprintf_assert(path, sizeof(path), SYSFS_PCI "/devices/%s/driver", bdf);
	return !access(path, F_OK);
}

static inline void drop_driver(const char *bdf)
{
	if (has_driver(bdf))
		sysfs_write(bdf, SYSFS_PCI "/devices/%s/driver/unbind", bdf);
}

/* The driver may refuse a device that cannot do DMA. */
static inline void probe(const char *bdf, const char *driver)
{
	drop_driver(bdf);
	sysfs_write(driver, SYSFS_PCI "/devices/%s/driver_override", bdf);
	sysfs_write(bdf, SYSFS_PCI "/drivers_probe", "");
}

static inline void bind_to(const char *bdf, const char *driver)
{
	probe(bdf, driver);
	VFIO_ASSERT_TRUE(has_driver(bdf), "%s has no driver\n", bdf);
}

/*
 * The kernel's driver calls a controller live when it could identify it. @name
 * is what the driver calls the controller then.
 */
static inline bool is_live(const char *bdf, char *name, size_t size)
{
	char path[PATH_MAX], state[16] = "";
	FILE *file;

	for (int i = 0; i < 8; i++) {
		snprintf_assert(name, size, "nvme%d", i);
		snprintf_assert(path, sizeof(path),
				SYSFS_PCI "/devices/%s/nvme/%s/state", bdf,
				name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (!fgets(state, sizeof(state), file))
			state[0] = '\0';
		fclose(file);
		return !strcmp(state, "live\n");
	}
	return false;
}

static inline bool wait_live(const char *bdf, char *name, size_t size, u64 ms)
{
	u64 end = now_ms() + ms;

	while (!is_live(bdf, name, size)) {
		if (now_ms() > end)
			return false;
		usleep(10000);
	}
	return true;
}

/*
 * Have the kernel's driver of a controller read its disk: 0, -ENOENT without one
 * after @timeout_ms, or -EIO
 */
static inline int read_disk(const char *bdf, void *memory, size_t size,
			    u64 timeout_ms)
{
	char name[16], path[32];
	ssize_t len;
	u64 end;
	int fd;

	if (!wait_live(bdf, name, sizeof(name), 20000))
		return -EIO;
	snprintf_assert(path, sizeof(path), "/dev/%sn1", name);
	end = now_ms() + timeout_ms;
	while ((fd = open(path, O_RDONLY | O_DIRECT)) < 0) {
		if (now_ms() > end)
			return -ENOENT;
		usleep(10000);
	}
	len = pread(fd, memory, size, 0);
	close(fd);
	return len == size ? 0 : -EIO;
}

/* A property of the PE of a device on pseries, as the device tree has it now */
static inline void node_path(char *path, size_t size, const char *bdf,
			     const char *property)
{
	snprintf_assert(path, size, SYSFS_PCI "/devices/%s/of_node/../%s", bdf,
			property);
}

#define DEFAULT_WINDOW	"ibm,dma-window"
/* One with all of memory in it, and one that has what is mapped */
#define DIRECT_WINDOW	"linux,direct64-ddr-window-info"
#define DYNAMIC_WINDOW	"linux,dma64-ddr-window-info"

static inline bool has_window(const char *bdf, const char *property)
{
	char path[PATH_MAX];

	node_path(path, sizeof(path), bdf, property);
	return !access(path, F_OK);
}

/* Where a window other than the default one begins */
static inline u64 window_base(const char *bdf, const char *property)
{
	char path[PATH_MAX];
	__be64 base;
	int fd;

	node_path(path, sizeof(path), bdf, property);
	fd = open(path, O_RDONLY);
	VFIO_ASSERT_GE(fd, 0);
	/* Behind the LIOBN, and aligned */
	VFIO_ASSERT_EQ(pread(fd, &base, sizeof(base), 8), sizeof(base));
	close(fd);
	return be64toh(base);
}

static inline bool is_bare_metal(void)
{
	return !access("/sys/firmware/opal", F_OK);
}

/* Where the kernel's driver has all of memory now, or 0 */
static inline u64 kernel_window(const char *bdf)
{
	char text[4096] = "";
	int fd;

	if (!is_bare_metal())
		return has_window(bdf, DIRECT_WINDOW) ?
		       window_base(bdf, DIRECT_WINDOW) : 0;

	fd = open("/proc/cmdline", O_RDONLY);
	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_GT(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	return strstr(text, "iommu=nobypass") ? 0 : 0x800000000000000ULL;
}

static inline void interrupted(int signal)
{
}

/*
 * Let the kernel map and unmap memory for a device, for a moment: @granule pages,
 * as one piece or as a scatterlist. Returns -ENOMEM if a mapping fails, and
 * -EINVAL if the device cannot have the mask. The device then gets the mask that
 * it had: 32 bits, but 64 after a driver that has set it, and a window for these.
 */
static inline int map_by_kernel(const char *bdf, u8 mode, u32 mask_bits,
				u32 granule)
{
	struct itimerval moment = { .it_value.tv_usec = 100000 };
	const struct sigaction action = { .sa_handler = interrupted };
	struct map_benchmark args = {
		.threads = 1,
		.seconds = 1,
		.node = -1,
		.dma_bits = mask_bits,
		.dma_dir = DMA_MAP_BIDIRECTIONAL,
		.granule = granule,
		.map_mode = mode,
	};
	int fd, ret;

	bind_to(bdf, "dma_map_benchmark");
	fd = open(BENCHMARK, O_RDWR);
	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(sigaction(SIGALRM, &action, NULL), 0);
	VFIO_ASSERT_EQ(setitimer(ITIMER_REAL, &moment, NULL), 0);
	ret = ioctl(fd, DMA_MAP_BENCHMARK, &args) ? -errno : 0;
	moment.it_value.tv_usec = 0;
	VFIO_ASSERT_EQ(setitimer(ITIMER_REAL, &moment, NULL), 0);
	close(fd);
	drop_driver(bdf);
	return ret;
}

static inline u64 physical_address(const void *memory)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	u64 page = getpagesize(), entry = 0;

	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(pread(fd, &entry, sizeof(entry),
			     (uintptr_t)memory / page * sizeof(entry)),
		       sizeof(entry));
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * page + (uintptr_t)memory % page;
}

#endif
