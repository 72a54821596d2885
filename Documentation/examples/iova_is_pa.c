// SPDX-License-Identifier: GPL-2.0-only
/*
 * Give memory an IOVA that is its physical address, without /proc/self/pagemap:
 * map it where no memory is, ask for its address, copy each contiguous piece of the
 * mapping to that address, and drop the first mapping. From then on a driver that
 * computes DMA addresses as "iova + offset" is right with an IOMMU and without.
 *
 * Usage: iova_is_pa /dev/vfio/devices/noiommu-vfioX [MIB]
 *
 * Needs CAP_SYS_RAWIO. Builds with any kernel headers, with -I include-overlay.
 */
#include <err.h>
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

/* No physical address has so many bits */
#define FIRST_IOVA	(1ULL << 60)
#define ACCESS		(IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

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
	/* Before this GET_PA has nothing to ask */
	attach.pt_id = ioas;
	XIOCTL(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

/*
 * 1. Map it, for GET_PA only. What IOVA the kernel would choose can be the physical
 * address of a piece, and that piece could not be copied there.
 */
static uint64_t map_out_of_the_way(void *va, uint64_t length)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = ACCESS | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ioas,
		.user_va = (uintptr_t)va,
		.length = length,
		.iova = FIRST_IOVA + (uintptr_t)va,
	};

	XIOCTL(iommufd, IOMMU_IOAS_MAP, &map);
	return map.iova;
}

/* 2. Where is it, and how far is that contiguous? */
static uint64_t get_pa(uint64_t iova, uint64_t *length)
{
	struct iommu_ioas_noiommu_get_pa get_pa = {
		.size = sizeof(get_pa),
		.ioas_id = ioas,
		.iova = iova,
		.length = *length,
	};

	XIOCTL(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &get_pa);
	*length = get_pa.length;
	return get_pa.out_phys;
}

/* 3. The same memory at another IOVA. It stays pinned where it is. */
static void copy_mapping(uint64_t from, uint64_t to, uint64_t length)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = ACCESS | IOMMU_IOAS_MAP_FIXED_IOVA,
		.dst_ioas_id = ioas,
		.src_ioas_id = ioas,
		.length = length,
		.dst_iova = to,
		.src_iova = from,
	};

	XIOCTL(iommufd, IOMMU_IOAS_COPY, &copy);
}

/* 4. The first mapping has done its work */
static void unmap(uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = ioas,
		.iova = iova,
		.length = length,
	};

	XIOCTL(iommufd, IOMMU_IOAS_UNMAP, &unmap);
}

/*
 * Map @length bytes at @va, both multiples of the page size, with IOVA = PA, and
 * write the IOVA of each page to @iovas.
 */
static void map_by_address(void *va, uint64_t length, uint64_t *iovas)
{
	uint64_t page = sysconf(_SC_PAGESIZE), first, done, piece, offset, phys;

	first = map_out_of_the_way(va, length);
	for (done = 0; done < length; done += piece) {
		piece = length - done;
		phys = get_pa(first + done, &piece);
		copy_mapping(first + done, phys, piece);
		for (offset = 0; offset < piece; offset += page)
			*iovas++ = phys + offset;
	}
	unmap(first, length);
}

int main(int argc, char **argv)
{
	size_t page = sysconf(_SC_PAGESIZE), i, pages, size;
	uint64_t *iovas, pieces = 1;
	void *va;

	if (argc != 2 && argc != 3)
		errx(1, "usage: %s /dev/vfio/devices/noiommu-vfioX [MIB]", argv[0]);
	size = (argc == 3 ? strtoul(argv[2], NULL, 0) : 1) << 20;
	pages = size / page;
	open_device(argv[1]);
	va = mmap(NULL, size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	iovas = calloc(pages, sizeof(*iovas));
	if (va == MAP_FAILED || !iovas)
		err(1, "no memory");

	map_by_address(va, size, iovas);
	for (i = 0; i < pages; i++) {
		uint64_t length = page, offset = i * 7 % page;
		uint64_t phys = get_pa(iovas[i] + offset, &length);

		if (phys != iovas[i] + offset)
			errx(1, "the IOVA %#llx is the physical address %#llx",
			     (unsigned long long)(iovas[i] + offset),
			     (unsigned long long)phys);
		if (i && iovas[i] != iovas[i - 1] + page)
			pieces++;
	}
	printf("%zu pages in %llu pieces have their physical address as IOVA\n",
	       pages, (unsigned long long)pieces);
	return 0;
}
