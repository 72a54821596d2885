/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of TCE tables share: the devices that they are given, the files
 * of a device, its group, calls of the container for sPAPR, the kernel's driver
 * with its windows and its DMA, and the registers of an NVMe controller.
 */
#ifndef SELFTESTS_VFIO_TCE_H
#define SELFTESTS_VFIO_TCE_H

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <linux/map_benchmark.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "kselftest.h"

#define CONTAINER	"/dev/vfio/vfio"
#define IOMMUFD		"/dev/iommu"
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

/* The devices, of which there may be one only */
static const char *bdfs[2];

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
 * Open the disk of a controller that the kernel's driver has: -EIO if the driver
 * cannot identify the controller, -ENOENT without a disk after @timeout_ms
 */
static inline int open_disk(const char *bdf, int flags, u64 timeout_ms)
{
	char name[16], path[32];
	u64 end;
	int fd;

	if (!wait_live(bdf, name, sizeof(name), 20000))
		return -EIO;
	snprintf_assert(path, sizeof(path), "/dev/%sn1", name);
	end = now_ms() + timeout_ms;
	while ((fd = open(path, flags | O_DIRECT)) < 0) {
		if (now_ms() > end)
			return -ENOENT;
		usleep(10000);
	}
	return fd;
}

/* Have the kernel's driver of a controller read its disk: 0, or as open_disk() */
static inline int read_disk(const char *bdf, void *memory, size_t size,
			    u64 timeout_ms)
{
	int fd = open_disk(bdf, O_RDONLY, timeout_ms);
	ssize_t len;

	if (fd < 0)
		return fd;
	len = pread(fd, memory, size, 0);
	close(fd);
	return len == size ? 0 : -EIO;
}

/* A property of a node of the device tree: its length, or -1 */
static inline int get_property(const char *node, const char *name, void *value,
			       size_t size)
{
	char path[PATH_MAX];
	int fd, len;

	snprintf_assert(path, sizeof(path), "%s/%s", node, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	len = read(fd, value, size);
	close(fd);
	return len;
}

/* The first cell of a property */
static inline u32 get_number(const char *node, const char *name)
{
	__be32 number;

	VFIO_ASSERT_EQ(get_property(node, name, &number, sizeof(number)),
		       sizeof(number), "%s/%s\n", node, name);
	return be32toh(number);
}

/* The node of the PE of a device on pseries */
static inline const char *pe_node(const char *bdf)
{
	static char path[PATH_MAX];

	snprintf_assert(path, sizeof(path), SYSFS_PCI "/devices/%s/of_node/..",
			bdf);
	return path;
}

#define DEFAULT_WINDOW	"ibm,dma-window"
/* One with all of memory in it, and one that has what is mapped */
#define DIRECT_WINDOW	"linux,direct64-ddr-window-info"
#define DYNAMIC_WINDOW	"linux,dma64-ddr-window-info"

static inline bool has_property(const char *bdf, const char *property)
{
	u8 byte;

	return get_property(pe_node(bdf), property, &byte, 1) >= 0;
}

/* Where a window other than the default one begins */
static inline u64 window_base(const char *bdf, const char *property)
{
	/* Its LIOBN, nothing, and the address */
	__be32 cells[4];

	VFIO_ASSERT_EQ(get_property(pe_node(bdf), property, cells,
				    sizeof(cells)), sizeof(cells));
	return (u64)be32toh(cells[2]) << 32 | be32toh(cells[3]);
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
		return has_property(bdf, DIRECT_WINDOW) ?
		       window_base(bdf, DIRECT_WINDOW) : 0;

	fd = open("/proc/cmdline", O_RDONLY);
	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_GT(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	return strstr(text, "iommu=nobypass") ? 0 : 0x800000000000000ULL;
}

static inline int open_benchmark(const char *bdf)
{
	int fd;

	bind_to(bdf, "dma_map_benchmark");
	fd = open(BENCHMARK, O_RDWR);
	VFIO_ASSERT_GE(fd, 0);
	return fd;
}

static inline void interrupted(int signal)
{
}

/*
 * Let the kernel map and unmap memory, for a moment: @granule pages, as one piece
 * or as a scatterlist. Returns -ENOMEM if a mapping fails, and -EINVAL if the
 * device cannot have the mask. The mask that the device had is set again at the
 * end. If that is one of 64 bits, the PE may get a large window by it.
 */
static inline int map_benchmark(int fd, u8 mode, u32 mask_bits, u32 granule)
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
	int ret;

	VFIO_ASSERT_EQ(sigaction(SIGALRM, &action, NULL), 0);
	VFIO_ASSERT_EQ(setitimer(ITIMER_REAL, &moment, NULL), 0);
	ret = ioctl(fd, DMA_MAP_BENCHMARK, &args) ? -errno : 0;
	moment.it_value.tv_usec = 0;
	VFIO_ASSERT_EQ(setitimer(ITIMER_REAL, &moment, NULL), 0);
	return ret;
}

static inline void close_benchmark(int fd, const char *bdf)
{
	close(fd);
	drop_driver(bdf);
}

static inline int map_by_kernel(const char *bdf, u8 mode, u32 mask_bits,
				u32 granule)
{
	int fd = open_benchmark(bdf);
	int ret = map_benchmark(fd, mode, mask_bits, granule);

	close_benchmark(fd, bdf);
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

static inline void *alloc_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_ANONYMOUS | MAP_SHARED | MAP_POPULATE, -1, 0);

	VFIO_ASSERT_NE(memory, MAP_FAILED);
	return memory;
}

static inline bool is_filled_with(const void *memory, u8 byte, size_t size)
{
	const u8 *bytes = memory;

	return bytes[0] == byte && !memcmp(bytes, bytes + 1, size - 1);
}

static inline int open_cdev(const char *bdf, int iommufd, u32 *dev)
{
	struct vfio_device_bind_iommufd args = {
		.argsz = sizeof(args),
		.iommufd = iommufd,
	};
	const char *path = vfio_pci_get_cdev_path(bdf);
	int fd;

	fd = open(path, O_RDWR);
	VFIO_ASSERT_GE(fd, 0, "open(%s) failed\n", path);
	free((void *)path);
	ioctl_assert(fd, VFIO_DEVICE_BIND_IOMMUFD, &args);
	*dev = args.out_devid;
	return fd;
}

static inline int spapr_map(int container, void *memory, u64 size, u64 iova,
			    u32 flags)
{
	struct vfio_iommu_type1_dma_map args = {
		.argsz = sizeof(args),
		.flags = flags,
		.vaddr = (uintptr_t)memory,
		.iova = iova,
		.size = size,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &args) ? -errno : 0;
}

#define SPAPR_READ_WRITE	(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

static inline int spapr_unmap(int container, u64 iova, u64 size)
{
	struct vfio_iommu_type1_dma_unmap args = {
		.argsz = sizeof(args),
		.iova = iova,
		.size = size,
	};

	return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &args) ? -errno : 0;
}

static inline int spapr_registration(int container, unsigned long request,
				     void *memory, u64 size)
{
	struct vfio_iommu_spapr_register_memory args = {
		.argsz = sizeof(args),
		.vaddr = (uintptr_t)memory,
		.size = size,
	};

	return ioctl(container, request, &args) ? -errno : 0;
}

static inline int spapr_register(int container, void *memory, u64 size)
{
	return spapr_registration(container, VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
				  memory, size);
}

static inline int spapr_unregister(int container, void *memory, u64 size)
{
	return spapr_registration(container,
				  VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, memory,
				  size);
}

/*
 * The kernel's own DMA, after the devices had been in other hands
 */

/* One that has a disk writes it and reads it again. */
static inline bool kernel_dma_works(const char *bdf, u8 byte)
{
	int fd = open_disk(bdf, O_RDWR, 2000);
	bool works;
	void *memory;

	if (fd < 0)
		return fd == -ENOENT && bdf != bdfs[0];

	memory = alloc_memory(SZ_1M);
	memset(memory, byte, SZ_1M);
	works = pwrite(fd, memory, SZ_1M, 0) == SZ_1M;
	memset(memory, 0, SZ_1M);
	works = works && pread(fd, memory, SZ_1M, 0) == SZ_1M &&
		is_filled_with(memory, byte, SZ_1M);
	close(fd);
	munmap(memory, SZ_1M);
	return works;
}

static inline void bind_all(const char *driver)
{
	for (int i = 0; i < 2 && bdfs[i]; i++)
		bind_to(bdfs[i], driver);
}

/* In each device, by the kernel's own driver, which has them for that long */
static inline bool kernel_dma_works_in_all(u8 byte)
{
	bool works = true;

	bind_all("nvme");
	for (int i = 0; i < 2 && bdfs[i]; i++)
		works = kernel_dma_works(bdfs[i], byte + i) && works;
	bind_all("vfio-pci");
	return works;
}

/* The class of a device begins with these digits. */
static inline bool is_class(const char *bdf, const char *class)
{
	char path[PATH_MAX], text[16] = "";
	FILE *file;

	snprintf_assert(path, sizeof(path), SYSFS_PCI "/devices/%s/class", bdf);
	file = fopen(path, "r");
	if (file) {
		if (!fgets(text, sizeof(text), file))
			text[0] = '\0';
		fclose(file);
	}
	return !strncmp(text, class, strlen(class));
}

/*
 * The addresses of devices come last, as everywhere in these tests. A disk that
 * somebody may need is not taken.
 */
static inline int take_devices(int argc, char *argv[], const char *usage)
{
	for (int i = argc - 1; i > 0 && i > argc - 3; i--) {
		if (!strchr(argv[i], ':'))
			break;
		bdfs[1] = bdfs[0];
		bdfs[0] = argv[i];
	}
	if (!bdfs[0])
		ksft_exit_skip("usage: %s [OPTION...] %s\n", argv[0], usage);
	for (int i = 0; i < 2 && bdfs[i]; i++)
		if (is_class(bdfs[i], "0x0108") &&
		    !vfio_selftests_is_scratch(bdfs[i]))
			ksft_exit_skip("%s is not in VFIO_SELFTESTS_SCRATCH\n",
				       bdfs[i]);
	argc -= bdfs[1] ? 2 : 1;
	argv[argc] = NULL;
	return argc;
}

#endif
