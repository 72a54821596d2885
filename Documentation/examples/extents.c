// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a userspace driver does with IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY: an NVMe PRP
 * list for a buffer, and a table of memory segments as DPDK has it. Both are
 * compared with /proc/self/pagemap, so this is a test as well. On a kernel that
 * does not have the ioctl they are made with IOMMU_IOAS_NOIOMMU_GET_PA.
 *
 * Usage: extents /dev/vfio/devices/noiommu-vfioX
 *
 * Needs CAP_SYS_RAWIO, and CAP_SYS_ADMIN to read the pagemap. Builds with any
 * kernel headers, with -I include-overlay.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/vfio.h>

#include "iommufd_noiommu.h"
#include "vfio_cdev.h"

#define IOVA		0x10000000
#define BUFFER		(1 << 20)
#define MAX_EXTENTS	64

/* The size that the controller's CC.MPS says */
#define NVME_PAGE	4096ULL

static int iommufd;
static uint32_t ioas;

static void xioctl(int fd, unsigned long cmd, void *arg, const char *name)
{
	if (ioctl(fd, cmd, arg) < 0)
		err(1, "%s", name);
}

#define XIOCTL(fd, cmd, arg) xioctl(fd, cmd, arg, #cmd)

static void open_device(const char *path)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
	};
	int device = open(path, O_RDWR);

	if (device < 0)
		err(1, "%s", path);
	iommufd = open("/dev/iommu", O_RDWR);
	if (iommufd < 0)
		err(1, "/dev/iommu");
	bind.iommufd = iommufd;
	XIOCTL(device, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	XIOCTL(iommufd, IOMMU_IOAS_ALLOC, &alloc);
	ioas = alloc.out_ioas_id;
	attach.pt_id = ioas;
	XIOCTL(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

/* Pages that are not next to each other: touched from the last to the first */
static void *map_buffer(void)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ioas,
		.length = BUFFER,
		.iova = IOVA,
	};
	volatile char *va;
	long i;

	va = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (va == MAP_FAILED)
		err(1, "mmap");
	for (i = BUFFER / NVME_PAGE - 1; i >= 0; i--)
		va[i * NVME_PAGE] = 1;
	map.user_va = (uintptr_t)va;
	XIOCTL(iommufd, IOMMU_IOAS_MAP, &map);
	return (void *)va;
}

/*
 * One call: the extents from @iova on, as many as there is room for. On a kernel
 * that cannot it is one extent.
 */
static uint32_t get_extents(uint64_t iova, uint64_t *length,
			    struct iommu_noiommu_extent *extents, uint32_t room)
{
	struct iommu_ioas_noiommu_get_pa_array array = {
		.size = sizeof(array),
		.ioas_id = ioas,
		.data_type = IOMMU_NOIOMMU_PA_EXTENT,
		.iova = iova,
		.length = *length,
		.data_uptr = (uintptr_t)extents,
		.entry_len = sizeof(*extents),
		.entry_num = room,
	};
	struct iommu_ioas_noiommu_get_pa single = {
		.size = sizeof(single),
		.ioas_id = ioas,
		.iova = iova,
		.length = *length,
	};

	if (!ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY, &array)) {
		*length = array.length;
		return array.entry_num;
	}
	if (errno != ENOTTY)
		err(1, "IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY");

	XIOCTL(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &single);
	*length = single.length;
	extents[0].phys = single.out_phys;
	extents[0].length = single.length;
	return 1;
}

/*
 * The PRP entries of a buffer: the first one may begin within a page, each
 * further one is a page. If there are two at most they are PRP1 and PRP2 of the
 * command, else PRP2 points to a list of all but the first. The kernel writes
 * them as the controller reads them, on a little-endian machine.
 */
static unsigned int make_prps(uint64_t iova, uint64_t length, uint64_t *prps,
			      unsigned int room)
{
	unsigned int num_prps = 0;

	while (length && num_prps < room) {
		struct iommu_ioas_noiommu_get_pa_array list = {
			.size = sizeof(list),
			.ioas_id = ioas,
			.data_type = IOMMU_NOIOMMU_PA_PAGE,
			.iova = iova,
			.length = length,
			.data_uptr = (uintptr_t)(prps + num_prps),
			.entry_len = sizeof(*prps),
			.entry_num = room - num_prps,
			.page_size = NVME_PAGE,
		};

		if (ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY, &list)) {
			uint64_t piece = NVME_PAGE - iova % NVME_PAGE;
			struct iommu_noiommu_extent extent;

			if (errno != ENOTTY)
				err(1, "IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY");
			if (piece > length)
				piece = length;
			get_extents(iova, &piece, &extent, 1);
			prps[num_prps] = extent.phys;
			list.length = piece;
			list.entry_num = 1;
		}
		num_prps += list.entry_num;
		iova += list.length;
		length -= list.length;
	}
	return num_prps;
}

/*
 * What a driver looks addresses up in later: where each segment is, and its size.
 * Where there is no room for all of them, they do not cover the buffer.
 */
struct segment {
	uint64_t va;
	uint64_t phys;
	uint64_t length;
};

static unsigned int make_segments(void *va, uint64_t length,
				  struct segment *segments, unsigned int room)
{
	struct iommu_noiommu_extent extents[MAX_EXTENTS];
	uint64_t done = 0;
	unsigned int num_segments = 0;

	while (done < length && num_segments < room) {
		uint64_t covered = length - done;
		uint32_t num = get_extents(IOVA + done, &covered, extents,
					   MAX_EXTENTS);
		uint32_t i;

		for (i = 0; i < num && num_segments < room; i++) {
			segments[num_segments++] = (struct segment){
				.va = (uintptr_t)va + done,
				.phys = extents[i].phys,
				.length = extents[i].length,
			};
			done += extents[i].length;
		}
	}
	return num_segments;
}

/* The physical address of an address, from what GET_PA replaces */
static uint64_t pagemap(uint64_t va)
{
	long page = sysconf(_SC_PAGESIZE);
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, sizeof(entry),
			    va / page * sizeof(entry)) != sizeof(entry))
		err(1, "/proc/self/pagemap");
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * page + va % page;
}

int main(int argc, char **argv)
{
	static uint64_t prps[BUFFER / NVME_PAGE + 1];
	static struct segment segments[BUFFER / NVME_PAGE];
	/* A command whose buffer begins and ends within a page */
	uint64_t offset = 512, length = BUFFER - 2048;
	unsigned int num, i;
	uint64_t va;
	void *buffer;

	if (argc != 2)
		errx(1, "usage: %s /dev/vfio/devices/noiommu-vfioX", argv[0]);
	open_device(argv[1]);
	buffer = map_buffer();

	num = make_prps(IOVA + offset, length, prps, BUFFER / NVME_PAGE + 1);
	va = (uintptr_t)buffer + offset;
	for (i = 0; va < (uintptr_t)buffer + offset + length; i++) {
		if (i == num || prps[i] != pagemap(va))
			errx(1, "PRP %u of %u is wrong", i, num);
		va = (va | (NVME_PAGE - 1)) + 1;
	}
	if (i != num)
		errx(1, "%u PRPs, not %u", num, i);
	printf("%u PRP entries for %llu bytes\n", num,
	       (unsigned long long)length);

	num = make_segments(buffer, BUFFER, segments, BUFFER / NVME_PAGE);
	va = (uintptr_t)buffer;
	for (i = 0; i < num; i++) {
		uint64_t end = segments[i].va + segments[i].length;

		if (segments[i].va != va)
			errx(1, "segment %u is out of place", i);
		for (; va < end; va += NVME_PAGE)
			if (segments[i].phys + va - segments[i].va != pagemap(va))
				errx(1, "segment %u is wrong", i);
	}
	if (va != (uintptr_t)buffer + BUFFER)
		errx(1, "%u segments do not cover the buffer", num);
	printf("%u segments for %u bytes\n", num, BUFFER);
	return 0;
}
