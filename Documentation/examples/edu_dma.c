// SPDX-License-Identifier: GPL-2.0-only
/*
 * A userspace driver for a device without an IOMMU, as small as it gets: let
 * QEMU's "edu" device copy from one page into its own buffer and from there into
 * another page, by physical addresses, and compare.
 *
 * Usage: edu_dma /dev/vfio/devices/noiommu-vfioX
 *
 * Needs CAP_SYS_RAWIO. Builds with any kernel headers, with -I include-overlay.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "iommufd_noiommu.h"
#include "vfio_cdev.h"

/* Registers in BAR 0. The last three are 64 bits wide. */
#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_DMA_START	0x1
#define EDU_DMA_FROM	0x2

/* Where the device sees its own buffer. It has a page of it. */
#define EDU_BUFFER	0x40000
#define EDU_COPY	1024

/* Any IOVA does. It only names the memory in IOMMU_IOAS_NOIOMMU_GET_PA. */
#define IOVA		0x10000000

struct edu {
	int device;
	int iommufd;
	uint32_t ioas;
	volatile uint8_t *regs;
};

static void xioctl(int fd, unsigned long cmd, void *arg, const char *name)
{
	if (ioctl(fd, cmd, arg) < 0)
		err(1, "%s", name);
}

#define XIOCTL(fd, cmd, arg) xioctl(fd, cmd, arg, #cmd)

/* 1. Open the cdev, and bind the device to an iommufd */
static void edu_open(struct edu *edu, const char *path)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_region_info config = {
		.argsz = sizeof(config),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct vfio_region_info bar = {
		.argsz = sizeof(bar),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	void *regs;

	edu->device = open(path, O_RDWR);
	if (edu->device < 0)
		err(1, "%s", path);
	edu->iommufd = open("/dev/iommu", O_RDWR);
	if (edu->iommufd < 0)
		err(1, "/dev/iommu");

	bind.iommufd = edu->iommufd;
	XIOCTL(edu->device, VFIO_DEVICE_BIND_IOMMUFD, &bind);

	XIOCTL(edu->device, VFIO_DEVICE_GET_REGION_INFO, &bar);
	regs = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    edu->device, bar.offset);
	if (regs == MAP_FAILED)
		err(1, "mmap of BAR 0");
	edu->regs = regs;

	/* From here on nothing limits what the device can read and write */
	XIOCTL(edu->device, VFIO_DEVICE_GET_REGION_INFO, &config);
	if (pwrite(edu->device, &command, sizeof(command),
		   config.offset + PCI_COMMAND) != sizeof(command))
		err(1, "PCI_COMMAND");
}

/* 2. Make an IOAS, and attach the device: this lets GET_PA answer */
static void edu_attach(struct edu *edu)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
	};

	XIOCTL(edu->iommufd, IOMMU_IOAS_ALLOC, &alloc);
	edu->ioas = alloc.out_ioas_id;
	attach.pt_id = alloc.out_ioas_id;
	XIOCTL(edu->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

/* 3. Map memory: it is pinned until it is unmapped */
static void *edu_map(struct edu *edu, size_t size)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = edu->ioas,
		.length = size,
		.iova = IOVA,
	};
	void *va;

	va = mmap(NULL, size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (va == MAP_FAILED)
		err(1, "mmap");
	map.user_va = (uintptr_t)va;
	XIOCTL(edu->iommufd, IOMMU_IOAS_MAP, &map);
	return va;
}

/* 4. Ask where the memory is. The device wants @length bytes in one piece. */
static uint64_t edu_phys(struct edu *edu, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_noiommu_get_pa get_pa = {
		.size = sizeof(get_pa),
		.ioas_id = edu->ioas,
		.iova = iova,
		.length = length,
	};

	XIOCTL(edu->iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &get_pa);
	if (get_pa.length < length)
		errx(1, "%#llx is contiguous for %llu bytes only",
		     get_pa.iova, get_pa.length);
	return get_pa.out_phys;
}

/* 5. Give the physical address to the device */
static void edu_dma(struct edu *edu, uint64_t src, uint64_t dst, uint64_t count,
		    uint64_t direction)
{
	*(volatile uint64_t *)(edu->regs + EDU_DMA_SRC) = src;
	*(volatile uint64_t *)(edu->regs + EDU_DMA_DST) = dst;
	*(volatile uint64_t *)(edu->regs + EDU_DMA_COUNT) = count;
	*(volatile uint64_t *)(edu->regs + EDU_DMA_CMD) =
		EDU_DMA_START | direction;
	while (*(volatile uint64_t *)(edu->regs + EDU_DMA_CMD) & EDU_DMA_START)
		usleep(1000);
}

int main(int argc, char **argv)
{
	size_t page = sysconf(_SC_PAGESIZE);
	uint8_t *src, *dst;
	struct edu edu;
	size_t i;

	if (argc != 2)
		errx(1, "usage: %s /dev/vfio/devices/noiommu-vfioX", argv[0]);

	edu_open(&edu, argv[1]);
	edu_attach(&edu);
	src = edu_map(&edu, 2 * page);
	dst = src + page;

	for (i = 0; i < EDU_COPY; i++)
		src[i] = i * 7 + i / 256;
	memset(dst, 0, EDU_COPY);

	edu_dma(&edu, edu_phys(&edu, IOVA, EDU_COPY), EDU_BUFFER, EDU_COPY, 0);
	edu_dma(&edu, EDU_BUFFER, edu_phys(&edu, IOVA + page, EDU_COPY),
		EDU_COPY, EDU_DMA_FROM);
	if (memcmp(src, dst, EDU_COPY))
		errx(1, "the device did not copy the bytes");
	printf("the device copied %d bytes\n", EDU_COPY);

	/* 6. Closing the device stops it. Only then is the memory given up. */
	close(edu.device);
	close(edu.iommufd);
	return 0;
}
