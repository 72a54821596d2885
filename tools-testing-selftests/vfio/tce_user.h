/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What vfio_tce_test and vfio_tce_machine_test share: the controllers that they
 * are given, users of these, and the kernel's own DMA after the users.
 */
#ifndef SELFTESTS_VFIO_TCE_USER_H
#define SELFTESTS_VFIO_TCE_USER_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "kselftest.h"
#include "tce.h"

#define CONTAINER	"/dev/vfio/vfio"
#define IOMMUFD		"/dev/iommu"

/* The controllers, of which there may be one only */
static const char *bdfs[2];

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

static inline int spapr_map(int container, void *memory, u64 size, u64 iova, u32 flags)
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

static inline int spapr_register(int container, void *memory, u64 size)
{
	struct vfio_iommu_spapr_register_memory args = {
		.argsz = sizeof(args),
		.vaddr = (uintptr_t)memory,
		.size = size,
	};

	return ioctl(container, VFIO_IOMMU_SPAPR_REGISTER_MEMORY, &args) ?
	       -errno : 0;
}

static inline int spapr_unregister(int container, void *memory, u64 size)
{
	struct vfio_iommu_spapr_register_memory args = {
		.argsz = sizeof(args),
		.vaddr = (uintptr_t)memory,
		.size = size,
	};

	return ioctl(container, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, &args) ?
	       -errno : 0;
}

/*
 * The kernel's own DMA, after the devices had been in other hands
 */

/* One that has a disk writes it and reads it again. */
static inline bool kernel_dma_works(const char *bdf, u8 byte)
{
	u64 end = now_ms() + 2000;
	char name[16], path[32];
	bool works;
	void *memory;
	int fd;

	if (!wait_live(bdf, name, sizeof(name), 10000))
		return false;

	snprintf(path, sizeof(path), "/dev/%sn1", name);
	while ((fd = open(path, O_RDWR | O_DIRECT)) < 0) {
		if (now_ms() > end)
			return bdf != bdfs[0];
		usleep(50000);
	}
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

/* In each device, by the kernel's own driver, which has them for that long */
static inline bool kernel_dma_works_in_all(u8 byte)
{
	bool works = true;

	for (int i = 0; i < 2 && bdfs[i]; i++)
		bind_to(bdfs[i], "nvme");
	for (int i = 0; i < 2 && bdfs[i]; i++)
		works = kernel_dma_works(bdfs[i], byte + i) && works;
	for (int i = 0; i < 2 && bdfs[i]; i++)
		bind_to(bdfs[i], "vfio-pci");
	return works;
}

/* Its disk would be overwritten. The program takes other devices, too. */
static inline bool is_somebodys_disk(const char *bdf)
{
	char path[PATH_MAX], class[16] = "";
	FILE *file;

	if (vfio_selftests_is_scratch(bdf))
		return false;
	snprintf_assert(path, sizeof(path), SYSFS_PCI "/devices/%s/class", bdf);
	file = fopen(path, "r");
	if (file) {
		if (!fgets(class, sizeof(class), file))
			class[0] = '\0';
		fclose(file);
	}
	return !strncmp(class, "0x0108", strlen("0x0108"));
}

/* The controllers come last, as everywhere in these tests. */
static inline int take_addresses(int argc, char *argv[])
{
	for (int i = argc - 1; i > 0 && i > argc - 3; i--) {
		if (!strchr(argv[i], ':'))
			break;
		bdfs[1] = bdfs[0];
		bdfs[0] = argv[i];
	}
	if (!bdfs[0])
		ksft_exit_skip("usage: %s [OPTION...] NVME [NVME]\n", argv[0]);
	for (int i = 0; i < 2 && bdfs[i]; i++)
		if (is_somebodys_disk(bdfs[i]))
			ksft_exit_skip("%s is not in VFIO_SELFTESTS_SCRATCH\n",
				       bdfs[i]);
	argc -= bdfs[1] ? 2 : 1;
	argv[argc] = NULL;
	return argc;
}

#endif
