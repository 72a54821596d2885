// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device without an IOMMU moves bytes: from and to memory of every kind, at
 * the physical addresses that IOMMU_IOAS_NOIOMMU_GET_PA tells, and while the
 * kernel tries to move that memory elsewhere.
 *
 * Usage: vfio_noiommu_dma_test [harness options] BDF
 *
 * The device is QEMU's NVMe controller, and $VFIO_SELFTESTS_SCRATCH has its
 * BDF: the disk is overwritten. For each part of the disk that a test wrote it
 * prints what that must hold, so that whoever has the disk's image can compare:
 *
 *	# disk: OFFSET LENGTH sha256 HASH
 *
 * VFIO_SELFTESTS_SEED in the environment repeats the bytes of an earlier run.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <linux/iommufd.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <linux/sizes.h>

#include <libvfio.h>

#include "kselftest_harness.h"
#include "noiommu.h"

/* Each test has such a part of the disk, and as much memory to each side */
#define PART_SIZE SZ_16M

/* Any will do: IOVAs are keys for GET_PA here, no device sees them */
#define DRIVER_IOVA SZ_1G
#define SRC_IOVA (SZ_1G * 4UL)
#define DST_IOVA (SZ_1G * 5UL)

static const char *bdf;
static size_t page_size;
static u64 seed;

/* Bytes that differ from place to place on the disk, and from seed to seed */
static void fill(void *vaddr, u64 offset, u64 size)
{
	u64 value = seed + offset;
	u64 i;

	for (i = 0; i < size / sizeof(value); i++) {
		value = value * 6364136223846793005UL + 1442695040888963407UL;
		((u32 *)vaddr)[2 * i] = value;
		((u32 *)vaddr)[2 * i + 1] = value >> 32;
	}
}

/* Memory, and its place in the IOAS */
struct buffer {
	struct dma_region region;
	int memfd;

	/* What is transferred starts here and is PART_SIZE long */
	u64 offset;
};

static void *buffer_data(struct buffer *buffer)
{
	return buffer->region.vaddr + buffer->offset;
}

static iova_t buffer_iova(struct buffer *buffer)
{
	return buffer->region.iova + buffer->offset;
}

static u64 nr_pages(struct buffer *buffer)
{
	return buffer->region.size / page_size;
}

/*
 * Touch the pages in no order. They get physical pages in the order in which
 * they are touched, so that neighbours are not neighbours there.
 */
static void populate_scattered(struct buffer *buffer)
{
	u64 nr = nr_pages(buffer);
	u64 *order, i, j, tmp;

	order = calloc_assert(nr, sizeof(*order));
	for (i = 0; i < nr; i++)
		order[i] = i;
	for (i = nr - 1; i; i--) {
		j = rand() % (i + 1);
		tmp = order[i];
		order[i] = order[j];
		order[j] = tmp;
	}
	for (i = 0; i < nr; i++)
		*(u8 *)(buffer->region.vaddr + order[i] * page_size) = 1;
	free(order);
}

/* Returns false if there are not enough hugetlb pages */
static bool buffer_alloc(struct buffer *buffer, u64 offset, int flags,
			 bool memfd)
{
	struct dma_region *region = &buffer->region;
	int ret;

	buffer->offset = offset;
	buffer->memfd = -1;
	flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	region->size = PART_SIZE + (offset ? page_size : 0);

	if (memfd) {
		buffer->memfd = memfd_create("vfio_noiommu_dma_test", 0);
		VFIO_ASSERT_GE(buffer->memfd, 0);
		VFIO_ASSERT_EQ(ftruncate(buffer->memfd, region->size), 0);
		flags = MAP_SHARED;
	}

	region->vaddr = mmap(NULL, region->size, PROT_READ | PROT_WRITE, flags,
			     buffer->memfd, 0);
	if (region->vaddr == MAP_FAILED && flags & MAP_HUGETLB)
		return false;
	VFIO_ASSERT_NE(region->vaddr, MAP_FAILED);

	if (!(flags & MAP_HUGETLB)) {
		ret = madvise(region->vaddr, region->size, MADV_NOHUGEPAGE);
		/* EINVAL: the kernel has no transparent huge pages */
		VFIO_ASSERT_TRUE(!ret || errno == EINVAL);
		populate_scattered(buffer);
	}
	return true;
}

static int map_memfd(struct iommu *iommu, struct buffer *buffer)
{
	int ret = map_file(iommu->iommufd, iommu->ioas_id, buffer->memfd, 0,
			   buffer->region.size, buffer->region.iova);

	if (!ret)
		list_add(&buffer->region.link, &iommu->dma_regions);
	return ret;
}

static void buffer_map(struct iommu *iommu, struct buffer *buffer, iova_t iova)
{
	buffer->region.iova = iova;
	if (buffer->memfd >= 0)
		VFIO_ASSERT_EQ(map_memfd(iommu, buffer), 0);
	else
		iommu_map(iommu, &buffer->region);
}

static void buffer_free(struct buffer *buffer)
{
	VFIO_ASSERT_EQ(munmap(buffer->region.vaddr, buffer->region.size), 0);
	if (buffer->memfd >= 0)
		VFIO_ASSERT_EQ(close(buffer->memfd), 0);
}

static u64 count_extents(struct iommu *iommu, struct buffer *buffer)
{
	u64 done, length, nr = 0;

	for (done = 0; done < buffer->region.size; done += length) {
		length = buffer->region.size - done;
		iommu_iova2pa(iommu, buffer->region.iova + done, &length);
		nr++;
	}
	return nr;
}

/* The physical address of each page, as GET_PA tells it */
static u64 *read_pas(struct iommu *iommu, struct buffer *buffer)
{
	u64 i, length, *pas;

	pas = calloc_assert(nr_pages(buffer), sizeof(*pas));
	for (i = 0; i < nr_pages(buffer); i++) {
		length = page_size;
		pas[i] = iommu_iova2pa(iommu, buffer->region.iova + i * page_size,
				       &length);
	}
	return pas;
}

/*
 * How many pages of the process are not at these addresses, of those that are
 * present. If @touch is set all are made present.
 */
static u64 count_elsewhere(struct buffer *buffer, const u64 *pas, bool touch,
			   u64 *absent)
{
	u64 i, entry, nr = 0;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY);
	VFIO_ASSERT_GE(fd, 0);
	*absent = 0;
	for (i = 0; i < nr_pages(buffer); i++) {
		u8 *va = buffer->region.vaddr + i * page_size;

		if (touch)
			READ_ONCE(*va);
		VFIO_ASSERT_EQ(pread(fd, &entry, sizeof(entry),
				     (uintptr_t)va / page_size * sizeof(entry)),
			       sizeof(entry));
		if (!(entry >> 63))
			(*absent)++;
		else if ((entry & ((1UL << 55) - 1)) * page_size != pas[i])
			nr++;
	}
	VFIO_ASSERT_EQ(close(fd), 0);
	return nr;
}

FIXTURE(noiommu_dma) {
	struct iommu *iommu;
	struct vfio_pci_device *device;
	struct buffer src;
	struct buffer dst;
};

FIXTURE_VARIANT(noiommu_dma) {
	u64 disk_offset;
	u64 src_offset;
	u64 dst_offset;
	int mmap_flags;
	bool memfd;
};

FIXTURE_VARIANT_ADD(noiommu_dma, scattered_4kb) {
	.disk_offset = 0 * PART_SIZE,
};

FIXTURE_VARIANT_ADD(noiommu_dma, hugetlb_2mb) {
	.disk_offset = 1 * PART_SIZE,
	.mmap_flags = MAP_HUGETLB | MAP_HUGE_2MB,
};

FIXTURE_VARIANT_ADD(noiommu_dma, memfd) {
	.disk_offset = 2 * PART_SIZE,
	.memfd = true,
};

FIXTURE_VARIANT_ADD(noiommu_dma, mid_page) {
	.disk_offset = 3 * PART_SIZE,
	.src_offset = 1028,
	.dst_offset = 3900,
};

FIXTURE_SETUP(noiommu_dma)
{
	struct vfio_pci_driver *driver;

	self->iommu = iommu_init(MODE_IOMMUFD);
	self->device = vfio_pci_device_init(bdf, self->iommu);
	ASSERT_TRUE(self->device->noiommu);

	driver = &self->device->driver;
	if (!driver->ops || strcmp(driver->ops->name, "nvme"))
		SKIP(return, "needs an NVMe controller in VFIO_SELFTESTS_SCRATCH");

	if (!buffer_alloc(&self->src, variant->src_offset, variant->mmap_flags,
			  variant->memfd) ||
	    !buffer_alloc(&self->dst, variant->dst_offset, variant->mmap_flags,
			  variant->memfd))
		SKIP(return, "needs %u MiB of hugetlb pages",
		     (unsigned int)(2 * PART_SIZE / SZ_1M));

	driver->region.vaddr = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, driver->region.vaddr);
	driver->region.iova = DRIVER_IOVA;
	driver->region.size = SZ_2M;
	iommu_map(self->iommu, &driver->region);
	vfio_pci_driver_init(self->device);
	if (nvme_capacity(self->device) < variant->disk_offset + PART_SIZE)
		SKIP(return, "needs a disk of 64 MiB");

	fill(buffer_data(&self->src), variant->disk_offset, PART_SIZE);
	memset(buffer_data(&self->dst), 0, PART_SIZE);
	buffer_map(self->iommu, &self->src, SRC_IOVA);
	buffer_map(self->iommu, &self->dst, DST_IOVA);
}

FIXTURE_TEARDOWN(noiommu_dma)
{
	struct vfio_pci_driver *driver = &self->device->driver;

	vfio_pci_driver_remove(self->device);
	iommu_unmap_all(self->iommu);
	buffer_free(&self->src);
	buffer_free(&self->dst);
	VFIO_ASSERT_EQ(munmap(driver->region.vaddr, driver->region.size), 0);
	vfio_pci_device_cleanup(self->device);
	iommu_cleanup(self->iommu);
}

typedef int (*transfer_fn)(struct vfio_pci_device *device, iova_t iova,
			   u64 offset, u64 size);

static void transfer_all(struct vfio_pci_device *device, transfer_fn transfer,
			 struct buffer *buffer, u64 disk_offset)
{
	u64 chunk = device->driver.max_memcpy_size;
	u64 done;

	for (done = 0; done < PART_SIZE; done += chunk)
		VFIO_ASSERT_EQ(transfer(device, buffer_iova(buffer) + done,
					disk_offset + done, chunk), 0);
}

/* Say what the disk must hold, from nothing but the seed */
static void print_hash(u64 disk_offset)
{
	char command[64], hash[65];
	FILE *pipe;
	int fd, matched;
	void *vaddr;

	fd = memfd_create("expected", 0);
	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(ftruncate(fd, PART_SIZE), 0);
	vaddr = mmap(NULL, PART_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	VFIO_ASSERT_NE(vaddr, MAP_FAILED);
	fill(vaddr, disk_offset, PART_SIZE);

	snprintf_assert(command, sizeof(command), "sha256sum /proc/%d/fd/%d", getpid(), fd);
	pipe = popen(command, "r");
	VFIO_ASSERT_NOT_NULL(pipe);
	matched = fscanf(pipe, "%64s", hash);
	if (!pclose(pipe) && matched == 1)
		printf("# disk: 0x%lx 0x%lx sha256 %s\n", disk_offset,
		       (u64)PART_SIZE, hash);
	else
		printf("# there is no sha256sum: the disk is not compared\n");

	VFIO_ASSERT_EQ(munmap(vaddr, PART_SIZE), 0);
	VFIO_ASSERT_EQ(close(fd), 0);
}

/* To the disk, and back to another place */
TEST_F(noiommu_dma, write_and_read)
{
	bool huge = variant->mmap_flags & MAP_HUGETLB;
	u64 least = huge ? 1 : nr_pages(&self->src) / 2;
	u64 most = huge ? PART_SIZE / SZ_2M : nr_pages(&self->src);
	u64 extents = count_extents(self->iommu, &self->src);

	printf("# seed 0x%lx, %lu pages in %lu extents\n", seed,
	       nr_pages(&self->src), extents);
	ASSERT_LE(least, extents);
	ASSERT_GE(most, extents);

	transfer_all(self->device, nvme_write, &self->src, variant->disk_offset);
	transfer_all(self->device, nvme_read, &self->dst, variant->disk_offset);
	ASSERT_EQ(0, memcmp(buffer_data(&self->src), buffer_data(&self->dst),
			    PART_SIZE));

	ASSERT_EQ(0, nvme_flush(self->device));
	print_hash(variant->disk_offset);
}

/* What the kernel can be asked to do to memory that is not pinned */

static void compact(void)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY);

	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(write(fd, "1", 1), 1);
	VFIO_ASSERT_EQ(close(fd), 0);
}

/*
 * The result for a page does not matter, but where it is afterwards. Returns a
 * negative errno if nothing can be moved there.
 */
static int move_to_node(struct buffer *buffer, int node)
{
	u64 i, nr = nr_pages(buffer);
	int *nodes, *status;
	void **pages;
	int ret;

	pages = calloc_assert(nr, sizeof(*pages));
	nodes = calloc_assert(nr, sizeof(*nodes));
	status = calloc_assert(nr, sizeof(*status));
	for (i = 0; i < nr; i++) {
		pages[i] = buffer->region.vaddr + i * page_size;
		nodes[i] = node;
	}
	ret = syscall(SYS_move_pages, 0, nr, pages, nodes, status,
		      MPOL_MF_MOVE) < 0 ? -errno : 0;
	free(pages);
	free(nodes);
	free(status);
	return ret;
}

static void page_out(struct buffer *buffer)
{
	VFIO_ASSERT_EQ(madvise(buffer->region.vaddr, buffer->region.size,
			       MADV_PAGEOUT), 0);
}

/* Does all of it, until it is told to stop */
struct mover {
	struct buffer *buffers[2];
	atomic_bool stop;
	atomic_int rounds;
};

static void *move_around(void *arg)
{
	struct mover *mover = arg;
	int i;

	do {
		for (i = 0; i < ARRAY_SIZE(mover->buffers); i++) {
			move_to_node(mover->buffers[i], mover->rounds % 2);
			page_out(mover->buffers[i]);
		}
		compact();
		mover->rounds++;
	} while (!mover->stop);
	return NULL;
}

static bool has_swap(void)
{
	char line[256];
	int nr = 0;
	FILE *file;

	file = fopen("/proc/swaps", "r");
	while (file && fgets(line, sizeof(line), file))
		nr++;
	if (file)
		fclose(file);

	/* One line is the heading. */
	return nr > 1;
}

/* One of the nodes is not the one that most pages are on */
static u64 count_movable(struct buffer *buffer, const u64 *pas)
{
	u64 most = 0, absent;
	int node;

	for (node = 0; node < 2; node++) {
		if (move_to_node(buffer, node))
			return 0;
		most = max(most, count_elsewhere(buffer, pas, true, &absent));
	}
	return most;
}

static u64 count_swappable(struct buffer *buffer, const u64 *pas)
{
	u64 absent;

	page_out(buffer);
	count_elsewhere(buffer, pas, false, &absent);
	return absent;
}

/*
 * Whether this machine moves pages and swaps them out, tried on the memory
 * while nothing keeps it: nodes can be without memory or out of the cpuset, and
 * swap can be full. Half of the pages is enough.
 */
static const char *why_pages_stay(struct iommu *iommu, struct buffer *buffer)
{
	u64 *pas = read_pas(iommu, buffer);
	const u64 half = nr_pages(buffer) / 2;
	const char *why = NULL;

	iommu_unmap(iommu, &buffer->region);
	if (count_movable(buffer, pas) < half)
		why = "cannot move pages between nodes 0 and 1";
	else if (count_swappable(buffer, pas) < half)
		why = "cannot swap memory out";
	iommu_map(iommu, &buffer->region);
	free(pas);
	return why;
}

/* Not one page has moved, for GET_PA or for the process */
static void check_stayed(struct __test_metadata *_metadata, struct iommu *iommu,
			 struct buffer *buffer, const u64 *pas)
{
	u64 *now = read_pas(iommu, buffer);
	u64 absent;

	ASSERT_EQ(0, memcmp(pas, now, nr_pages(buffer) * sizeof(*now)));
	ASSERT_EQ(0, count_elsewhere(buffer, pas, true, &absent));
	ASSERT_EQ(0, absent);
	free(now);
}

/*
 * Memory that is mapped stays where it is, whatever is done to it while the
 * device accesses it. Once it is unmapped its address is not known any more,
 * and nothing keeps it there: a device that still used the address would hit
 * whatever is at it by then. To move pages again and again takes a debug kernel
 * long.
 */
TEST_F_TIMEOUT(noiommu_dma, mapped_memory_stays, 180)
{
	struct mover mover = { .buffers = { &self->src, &self->dst } };
	u64 *src_pas, *dst_pas, moved, absent, length = 1, pa;
	const char *why;
	pthread_t thread;
	int i;

	if (variant->mmap_flags & MAP_HUGETLB)
		SKIP(return, "hugetlb pages are not compacted or swapped out");
	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two memory nodes, as with numa=fake=2");
	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "needs CONFIG_COMPACTION");
	if (!has_swap())
		SKIP(return, "needs swap");
	why = why_pages_stay(self->iommu, &self->src);
	if (why)
		SKIP(return, "%s", why);

	src_pas = read_pas(self->iommu, &self->src);
	dst_pas = read_pas(self->iommu, &self->dst);
	ASSERT_EQ(0, pthread_create(&thread, NULL, move_around, &mover));
	for (i = 0; i < 3 || mover.rounds < 3; i++) {
		transfer_all(self->device, nvme_write, &self->src,
			     variant->disk_offset);
		memset(buffer_data(&self->dst), 0, PART_SIZE);
		transfer_all(self->device, nvme_read, &self->dst,
			     variant->disk_offset);
		ASSERT_EQ(0, memcmp(buffer_data(&self->src),
				    buffer_data(&self->dst), PART_SIZE));
	}
	mover.stop = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));

	check_stayed(_metadata, self->iommu, &self->src, src_pas);
	check_stayed(_metadata, self->iommu, &self->dst, dst_pas);

	iommu_unmap(self->iommu, &self->src.region);
	iommu_unmap(self->iommu, &self->dst.region);
	ASSERT_EQ(-ENOENT, __iommu_iova2pa(self->iommu, SRC_IOVA, &length, &pa));
	ASSERT_EQ(-ENOENT, __iommu_iova2pa(self->iommu, DST_IOVA, &length, &pa));

	moved = count_movable(&self->src, src_pas);
	ASSERT_GE(moved, nr_pages(&self->src) / 2);
	absent = count_swappable(&self->dst, dst_pas);
	ASSERT_GE(absent, nr_pages(&self->dst) / 2);
	printf("# %d rounds of moving, %d of DMA; then %lu pages moved, %lu swapped out\n",
	       mover.rounds, i, moved, absent);
	ASSERT_EQ(0, memcmp(buffer_data(&self->src), buffer_data(&self->dst),
			    PART_SIZE));
	free(src_pas);
	free(dst_pas);
}

int main(int argc, char *argv[])
{
	const char *env = getenv("VFIO_SELFTESTS_SEED");

	bdf = vfio_selftests_get_bdf(&argc, argv);
	noiommu_require(bdf);
	page_size = getpagesize();
	seed = env ? strtoull(env, NULL, 0) : (u64)time(NULL);
	srand(seed);
	/* A test ends by _exit(), which drops what is in a larger buffer. */
	setvbuf(stdout, NULL, _IOLBF, 0);

	return test_harness_run(argc, argv);
}
