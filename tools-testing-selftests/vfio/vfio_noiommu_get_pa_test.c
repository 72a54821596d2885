// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU_IOAS_NOIOMMU_GET_PA: the physical addresses of memory of every kind,
 * and each errno.
 *
 * Usage: vfio_noiommu_get_pa_test [harness options] BDF
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include <linux/iommufd.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "noiommu_test.h"

/* The device is attached to the IOAS */

FIXTURE(noiommu_attached) {
	struct noiommu n;
};

FIXTURE_SETUP(noiommu_attached)
{
	noiommu_open(&self->n, bdf);
	ASSERT_EQ(0, cdev_attach_to(self->n.cdev, self->n.ioas));
}

FIXTURE_TEARDOWN(noiommu_attached)
{
	noiommu_close(&self->n);
}

TEST_F(noiommu_attached, unmapped)
{
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);

	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, 0));
	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, TEST_IOVA - 1));
	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, TEST_IOVA + SZ_64K));
	ASSERT_EQ(-EOVERFLOW, try_get_pa(n->iommufd, n->ioas, UINT64_MAX));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	ASSERT_EQ(0, unmap(n->iommufd, n->ioas, TEST_IOVA, SZ_64K));
	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
}

TEST_F(noiommu_attached, bad_arguments)
{
	struct noiommu *n = &self->n;
	struct {
		struct iommu_ioas_noiommu_get_pa cmd;
		u64 more;
	} args, good = {
		.cmd.size = sizeof(good.cmd),
		.cmd.ioas_id = n->ioas,
		.cmd.iova = TEST_IOVA,
		.cmd.length = SZ_64K,
		.cmd.out_phys = 0x5a5a5a5a5a5a5a5a,
	};

	ASSERT_EQ(0, map(n->iommufd, n->ioas, alloc_mem(SZ_64K, 0), SZ_64K,
			 TEST_IOVA));

#define CHECK_REFUSED(_errno, _change) do {				\
	typeof(args) before;						\
									\
	args = good;							\
	_change;							\
	before = args;							\
	ASSERT_EQ(-(_errno), do_ioctl(n->iommufd,			\
				      IOMMU_IOAS_NOIOMMU_GET_PA, &args)); \
	ASSERT_EQ(0, memcmp(&before, &args, sizeof(args)));		\
} while (0)

	CHECK_REFUSED(EOPNOTSUPP, args.cmd.flags = 1);
	CHECK_REFUSED(EOPNOTSUPP, args.cmd.flags = 1U << 31);
	CHECK_REFUSED(EOPNOTSUPP, args.cmd.__reserved = 1);
	CHECK_REFUSED(EINVAL, args.cmd.length = 0);
	CHECK_REFUSED(ENOENT, args.cmd.ioas_id = UINT32_MAX);
	CHECK_REFUSED(ENOENT, args.cmd.ioas_id = n->devid);
	CHECK_REFUSED(EINVAL, args.cmd.size = 0);
	CHECK_REFUSED(EINVAL, args.cmd.size = sizeof(args.cmd) - 1);
	CHECK_REFUSED(E2BIG, args.cmd.size = sizeof(args); args.more = 1);
#undef CHECK_REFUSED

	/* A larger struct is fine as long as what is not known is 0 */
	args = good;
	args.cmd.size = sizeof(args);
	ASSERT_EQ(0, do_ioctl(n->iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &args));
	ASSERT_EQ(-EFAULT, do_ioctl(n->iommufd, IOMMU_IOAS_NOIOMMU_GET_PA,
				    (void *)page_size));
}

TEST_F(noiommu_attached, bad_arguments_of_an_array)
{
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);
	struct iommu_noiommu_extent extents[2] = {};
	u64 pages[4] = {};
	struct {
		struct iommu_ioas_noiommu_get_pa_array cmd;
		u64 more;
	} args, before, extent = {
		.cmd.size = sizeof(extent.cmd),
		.cmd.ioas_id = n->ioas,
		.cmd.data_type = IOMMU_NOIOMMU_PA_EXTENT,
		.cmd.iova = TEST_IOVA,
		.cmd.length = page_size,
		.cmd.data_uptr = (uintptr_t)extents,
		.cmd.entry_len = sizeof(extents[0]),
		.cmd.entry_num = 2,
	}, page = extent;

	page.cmd.data_type = IOMMU_NOIOMMU_PA_PAGE;
	page.cmd.data_uptr = (uintptr_t)pages;
	page.cmd.entry_len = sizeof(pages[0]);
	page.cmd.page_size = SZ_4K;
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));

	/* Each is wrong in one way, and none of them writes to the struct */
#define CHECK_REFUSED(_errno, _good, _statement) do {			\
	args = _good;							\
	_statement;							\
	before = args;							\
	ASSERT_EQ(-(_errno), do_ioctl(n->iommufd,			\
				      IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY,	\
				      &args));				\
	ASSERT_EQ(0, memcmp(&before, &args, sizeof(args)));		\
} while (0)

	CHECK_REFUSED(EOPNOTSUPP, extent, args.cmd.flags = 1);
	CHECK_REFUSED(EOPNOTSUPP, extent, args.cmd.__reserved = 1);
	CHECK_REFUSED(EOPNOTSUPP, extent, args.cmd.data_type = 2);
	CHECK_REFUSED(EOPNOTSUPP, extent, args.cmd.data_type = UINT32_MAX);
	CHECK_REFUSED(EINVAL, extent, args.cmd.length = 0);
	CHECK_REFUSED(EINVAL, extent, args.cmd.entry_num = 0);
	CHECK_REFUSED(EINVAL, extent, args.cmd.entry_len = 0);
	CHECK_REFUSED(EINVAL, extent, args.cmd.entry_len = 8);
	CHECK_REFUSED(EINVAL, extent, args.cmd.entry_len = 20);
	CHECK_REFUSED(EINVAL, extent, args.cmd.entry_len = 264);
	CHECK_REFUSED(EINVAL, extent, args.cmd.page_size = SZ_4K);
	CHECK_REFUSED(ENOENT, extent, args.cmd.ioas_id = UINT32_MAX);
	CHECK_REFUSED(ENOENT, extent, args.cmd.ioas_id = n->devid);
	CHECK_REFUSED(ENOENT, extent, args.cmd.iova -= 1);
	CHECK_REFUSED(EOVERFLOW, extent, args.cmd.iova = UINT64_MAX);
	CHECK_REFUSED(EFAULT, extent, args.cmd.data_uptr = 0);
	CHECK_REFUSED(EFAULT, extent, args.cmd.data_uptr = -SZ_4K);
	CHECK_REFUSED(EINVAL, extent, args.cmd.size = 0);
	CHECK_REFUSED(EINVAL, extent, args.cmd.size = sizeof(args.cmd) - 1);
	CHECK_REFUSED(E2BIG, extent, args.cmd.size = sizeof(args);
		      args.more = 1);
	CHECK_REFUSED(EINVAL, page, args.cmd.entry_num = 0);
	CHECK_REFUSED(EINVAL, page, args.cmd.entry_len = 16);
	CHECK_REFUSED(EINVAL, page, args.cmd.page_size = 0);
	CHECK_REFUSED(EINVAL, page, args.cmd.page_size = SZ_2K);
	CHECK_REFUSED(EINVAL, page, args.cmd.page_size = 3 * SZ_4K);
	CHECK_REFUSED(ENOENT, page, args.cmd.iova -= 1);
	CHECK_REFUSED(EFAULT, page, args.cmd.data_uptr = 0);
#undef CHECK_REFUSED

	/* A larger struct is fine as long as what is not known is 0 */
	args = extent;
	args.cmd.size = sizeof(args);
	ASSERT_EQ(0, do_ioctl(n->iommufd, IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY,
			      &args));
	ASSERT_EQ(1, args.cmd.entry_num);
	ASSERT_EQ(page_size, args.cmd.length);
	ASSERT_EQ(pagemap_pa(va), extents[0].phys);

	args = page;
	ASSERT_EQ(0, do_ioctl(n->iommufd, IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY,
			      &args));
	ASSERT_EQ(pagemap_pa(va), pages[0]);
}

/* What the kernel does not know of an entry reads as 0 */
TEST_F(noiommu_attached, long_entries)
{
	struct noiommu *n = &self->n;
	struct {
		struct iommu_noiommu_extent known;
		u64 more[30];
	} entries[3];
	struct iommu_ioas_noiommu_get_pa_array args = {
		.ioas_id = n->ioas,
		.iova = TEST_IOVA,
		.length = UINT64_MAX,
		.data_uptr = (uintptr_t)entries,
		.entry_len = sizeof(entries[0]),
		.entry_num = 3,
	};
	void *va = alloc_mem(3 * page_size, 0);
	u32 i, j;

	/* Never contiguous, as the same page is next to itself */
	for (i = 0; i != 3; i++)
		ASSERT_EQ(0, map(n->iommufd, n->ioas, va, page_size,
				 TEST_IOVA + i * page_size));
	memset(entries, 0xff, sizeof(entries));
	args.entry_num = 2;
	ASSERT_EQ(0, get_pa_array(n->iommufd, &args));
	ASSERT_EQ(2, args.entry_num);
	ASSERT_EQ(2 * page_size, args.length);
	for (i = 0; i != 2; i++) {
		ASSERT_EQ(pagemap_pa(va), entries[i].known.phys);
		ASSERT_EQ(page_size, entries[i].known.length);
		for (j = 0; j != ARRAY_SIZE(entries[i].more); j++)
			ASSERT_EQ(0, entries[i].more[j]);
	}
	ASSERT_EQ(UINT64_MAX, entries[2].known.phys);
	ASSERT_EQ(UINT64_MAX, entries[2].more[0]);
}

static int try_get_pa_at_test_iova(void *arg)
{
	struct noiommu *n = arg;

	return try_get_pa(n->iommufd, n->ioas, TEST_IOVA);
}

TEST_F(noiommu_attached, get_pa_needs_rawio)
{
	struct noiommu *n = &self->n;

	/* Also where the answer would be another error */
	ASSERT_EQ(-EPERM, without_rawio(try_get_pa_at_test_iova, n));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, alloc_mem(SZ_64K, 0), SZ_64K,
			 TEST_IOVA));
	ASSERT_EQ(0, try_get_pa_at_test_iova(n));
	ASSERT_EQ(-EPERM, without_rawio(try_get_pa_at_test_iova, n));
}

/*
 * A process that was handed the file descriptors can do all the rest. The first
 * thing that a VMM asks is what the IOMMU can do.
 */
static int use_passed_fds(void *arg)
{
	struct noiommu *n = arg;
	struct iommu_hw_info info = {
		.size = sizeof(info),
		.dev_id = n->devid,
	};
	u16 vendor = 0;
	u32 hwpt;

	VFIO_ASSERT_EQ(do_ioctl(n->iommufd, IOMMU_GET_HW_INFO, &info),
		       -EOPNOTSUPP);
	VFIO_ASSERT_EQ(map(n->iommufd, n->ioas, alloc_mem(SZ_64K, 0), SZ_64K,
			   TEST_IOVA), 0);
	VFIO_ASSERT_EQ(cdev_detach(n->cdev), 0);
	VFIO_ASSERT_EQ(hwpt_alloc(n->iommufd, n->devid, n->ioas, 0, &hwpt), 0);
	VFIO_ASSERT_EQ(cdev_attach_to(n->cdev, hwpt), 0);
	VFIO_ASSERT_EQ(pread(n->cdev, &vendor, sizeof(vendor),
			     (u64)VFIO_PCI_CONFIG_REGION_INDEX << 40),
		       sizeof(vendor));
	VFIO_ASSERT_NE(vendor, 0);
	return try_get_pa_at_test_iova(n);
}

TEST_F(noiommu_attached, passed_fds)
{
	ASSERT_EQ(-EPERM, without_rawio(use_passed_fds, &self->n));
}

TEST_F(noiommu_attached, length_ends_with_the_area)
{
	struct noiommu *n = &self->n;
	u64 length = UINT64_MAX;
	void *va;
	u64 pa;

	/* One physically contiguous piece of memory in three areas */
	va = try_alloc_huge(SZ_2M);
	if (!va)
		SKIP(return, "needs a free hugetlb page of 2 MiB");
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va + SZ_64K, page_size,
			 TEST_IOVA + SZ_64K));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va + SZ_64K + page_size, SZ_64K,
			 TEST_IOVA + SZ_64K + page_size));

	ASSERT_EQ(0, get_pa(n->iommufd, n->ioas, TEST_IOVA, &length, &pa));
	ASSERT_EQ(pagemap_pa(va), pa);
	ASSERT_EQ(SZ_64K, length);

	length = SZ_64K;
	ASSERT_EQ(0, get_pa(n->iommufd, n->ioas, TEST_IOVA + SZ_64K, &length,
			    &pa));
	ASSERT_EQ(pagemap_pa(va + SZ_64K), pa);
	ASSERT_EQ(page_size, length);

	check_mapping(_metadata, n, TEST_IOVA + SZ_64K + page_size,
		      va + SZ_64K + page_size, SZ_64K);
}

TEST_F(noiommu_attached, extents_span_areas)
{
	struct noiommu *n = &self->n;
	struct iommu_noiommu_extent extents[3];
	u64 length = UINT64_MAX;
	u32 num = 3;
	void *va;

	/* Two areas and then a hole, the physical memory goes on in each */
	va = try_alloc_huge(SZ_2M);
	if (!va)
		SKIP(return, "needs a free hugetlb page of 2 MiB");
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va + SZ_64K, page_size,
			 TEST_IOVA + SZ_64K));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va + SZ_64K + 2 * page_size,
			 SZ_64K, TEST_IOVA + SZ_64K + 2 * page_size));

	ASSERT_EQ(0, get_extents(n->iommufd, n->ioas, TEST_IOVA + 1, &length,
				 extents, &num));
	ASSERT_EQ(1, num);
	ASSERT_EQ(SZ_64K + page_size - 1, length);
	ASSERT_EQ(length, extents[0].length);
	ASSERT_EQ(pagemap_pa(va + 1), extents[0].phys);
	ASSERT_EQ(-ENOENT, get_extents(n->iommufd, n->ioas,
				       TEST_IOVA + 1 + length, &length, extents,
				       &num));

	/* Fill the hole, with something else */
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va + SZ_1M, page_size,
			 TEST_IOVA + SZ_64K + page_size));
	length = UINT64_MAX;
	num = 3;
	ASSERT_EQ(0, get_extents(n->iommufd, n->ioas, TEST_IOVA, &length,
				 extents, &num));
	ASSERT_EQ(3, num);
	ASSERT_EQ(2 * SZ_64K + 2 * page_size, length);
	ASSERT_EQ(SZ_64K + page_size, extents[0].length);
	ASSERT_EQ(pagemap_pa(va + SZ_1M), extents[1].phys);
	ASSERT_EQ(page_size, extents[1].length);
	ASSERT_EQ(pagemap_pa(va + SZ_64K + 2 * page_size), extents[2].phys);
	ASSERT_EQ(SZ_64K, extents[2].length);

	/* And not more than there is room for */
	length = UINT64_MAX;
	num = 2;
	ASSERT_EQ(0, get_extents(n->iommufd, n->ioas, TEST_IOVA, &length,
				 extents, &num));
	ASSERT_EQ(2, num);
	ASSERT_EQ(SZ_64K + 2 * page_size, length);
}

#define NR_HUGE 16

/* Put huge page @nr of a memfd at @va */
static void place_huge(int fd, void *va, unsigned int nr)
{
	VFIO_ASSERT_EQ(mmap(va, SZ_2M, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd,
			    (u64)nr * SZ_2M), va);
}

/*
 * The array is full within an area whose first extent continues the area before
 */
TEST_F(noiommu_attached, extents_end_in_an_area_that_goes_on)
{
	struct noiommu *n = &self->n;
	struct iommu_noiommu_extent extents[2];
	int next[NR_HUGE], pair[2], nr_pairs = 0, other = -1;
	u64 pas[NR_HUGE], length = UINT64_MAX;
	void *va, *area;
	int fd, i, j;
	u32 num = 2;

	fd = memfd_create("noiommu", MFD_HUGETLB | MFD_HUGE_2MB);
	if (fd < 0 || ftruncate(fd, NR_HUGE * SZ_2M))
		SKIP(return, "needs hugetlb pages of 2 MiB");
	va = mmap(NULL, NR_HUGE * SZ_2M, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, fd, 0);
	if (va == MAP_FAILED)
		SKIP(return, "needs %d free hugetlb pages of 2 MiB", NR_HUGE);

	/* Two pairs of neighbours, and a page that is next to none of them */
	for (i = 0; i != NR_HUGE; i++)
		pas[i] = pagemap_pa(va + i * SZ_2M);
	for (i = 0; i != NR_HUGE; i++) {
		next[i] = -1;
		for (j = 0; j != NR_HUGE; j++)
			if (pas[j] == pas[i] + SZ_2M)
				next[i] = j;
	}
	for (i = 0; i != NR_HUGE && nr_pairs != 2; i++) {
		if (next[i] < 0 || (nr_pairs && (i == next[pair[0]] ||
						 next[i] == pair[0] ||
						 i == next[next[pair[0]]])))
			continue;
		pair[nr_pairs++] = i;
	}
	for (i = 0; i != NR_HUGE && nr_pairs == 2 && other < 0; i++)
		if (i != pair[0] && i != next[pair[0]] && i != pair[1] &&
		    i != next[pair[1]] && pas[i] != pas[pair[1]] + 2 * SZ_2M)
			other = i;
	if (other < 0)
		SKIP(return, "needs hugetlb pages that are next to each other");

	area = mmap(NULL, 5 * SZ_2M, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, area);
	area = (void *)(((uintptr_t)area + SZ_2M - 1) & -(uintptr_t)SZ_2M);
	place_huge(fd, area, next[pair[0]]);
	place_huge(fd, area + SZ_2M, pair[1]);
	place_huge(fd, area + 2 * SZ_2M, other);

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va + pair[0] * SZ_2M, SZ_2M,
			 TEST_IOVA));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, area, 3 * SZ_2M,
			 TEST_IOVA + SZ_2M));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va + next[pair[1]] * SZ_2M, SZ_2M,
			 TEST_IOVA + 4 * SZ_2M));
	ASSERT_EQ(0, get_extents(n->iommufd, n->ioas, TEST_IOVA, &length,
				 extents, &num));
	ASSERT_EQ(2, num);
	ASSERT_EQ(3 * SZ_2M, length);
	ASSERT_EQ(pas[pair[0]], extents[0].phys);
	ASSERT_EQ(2 * SZ_2M, extents[0].length);
	ASSERT_EQ(pas[pair[1]], extents[1].phys);
	ASSERT_EQ(SZ_2M, extents[1].length);
	ASSERT_EQ(0, close(fd));
}

/* Each page in an area of its own, in an order that leaves nothing to merge */
static void map_reversed(struct __test_metadata *_metadata, struct noiommu *n,
			 void *va, u64 size)
{
	u64 offset;

	for (offset = 0; offset < size; offset += page_size)
		ASSERT_EQ(0, map(n->iommufd, n->ioas,
				 va + size - page_size - offset, page_size,
				 TEST_IOVA + offset));
}

TEST_F(noiommu_attached, many_extents)
{
	struct noiommu *n = &self->n;
	u64 size = SZ_2M;
	u32 num, i, pages = size / page_size;
	struct iommu_noiommu_extent *extents;
	u64 length = size;
	void *va;

	va = try_alloc_huge(size);
	if (!va)
		SKIP(return, "needs a free hugetlb page of 2 MiB");
	map_reversed(_metadata, n, va, size);

	extents = calloc_assert(pages, sizeof(*extents));
	num = pages;
	ASSERT_EQ(0, get_extents(n->iommufd, n->ioas, TEST_IOVA, &length,
				 extents, &num));
	ASSERT_EQ(pages, num);
	ASSERT_EQ(size, length);
	for (i = 0; i != pages; i++) {
		ASSERT_EQ(page_size, extents[i].length);
		ASSERT_EQ(pagemap_pa(va) + size - (i + 1) * page_size,
			  extents[i].phys);
	}
	free(extents);
}

/*
 * Large pages at an IOVA that is not aligned to them take entries of a page
 * each: more than what the driver looks at in a call, and yet few extents.
 */
TEST_F(noiommu_attached, more_entries_than_a_call_looks_at)
{
	struct noiommu *n = &self->n;
	u64 iova = TEST_IOVA + page_size;
	u64 size = SZ_16M, length = SZ_16M, done = 0;
	struct iommu_noiommu_extent extents[SZ_16M / SZ_2M];
	u32 num = SZ_16M / SZ_2M;
	void *va;
	u32 i;

	va = try_alloc_huge(size);
	if (!va)
		SKIP(return, "needs free hugetlb pages of 16 MiB");
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, size, iova));

	ASSERT_EQ(0, get_extents(n->iommufd, n->ioas, iova, &length, extents,
				 &num));
	ASSERT_EQ(size, length);
	for (i = 0; i != num; i++) {
		u64 offset;

		for (offset = 0; offset < extents[i].length;
		     offset += page_size)
			ASSERT_EQ(extents[i].phys + offset,
				  pagemap_pa(va + done + offset));
		done += extents[i].length;
	}
	ASSERT_EQ(size, done);
}

TEST_F(noiommu_attached, extents_end_at_a_fault)
{
	struct noiommu *n = &self->n;
	struct iommu_noiommu_extent *extents;
	u64 size = 64 * page_size;
	u64 length = size;
	u32 num = 64;
	void *va, *array;

	va = try_alloc_huge(SZ_2M);
	if (!va)
		SKIP(return, "needs a free hugetlb page of 2 MiB");
	map_reversed(_metadata, n, va, size);

	/* Three elements and a half of one can be written */
	array = alloc_mem(2 * page_size, 0);
	ASSERT_EQ(0, munmap(array + page_size, page_size));
	extents = array + page_size - 3 * sizeof(*extents) -
		  sizeof(*extents) / 2;
	ASSERT_EQ(0, get_extents(n->iommufd, n->ioas, TEST_IOVA, &length,
				 extents, &num));
	ASSERT_EQ(3, num);
	ASSERT_EQ(3 * page_size, length);
	ASSERT_EQ(pagemap_pa(va + size - 3 * page_size), extents[2].phys);

	/* To go on from there gives the reason */
	num = 61;
	length = size - 3 * page_size;
	ASSERT_EQ(-EFAULT, get_extents(n->iommufd, n->ioas,
				       TEST_IOVA + 3 * page_size, &length,
				       extents + 3, &num));
	ASSERT_EQ(61, num);
	ASSERT_EQ(size - 3 * page_size, length);
}

/* Both kinds of entries, at addresses that are not those of a u64 */
TEST_F(noiommu_attached, array_of_any_alignment)
{
	struct noiommu *n = &self->n;
	struct iommu_noiommu_extent extent;
	u8 array[2 * sizeof(extent)];
	u64 length, pa;
	u32 num, i;
	void *va;

	va = alloc_mem(page_size, 0);
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, page_size, TEST_IOVA));

	for (i = 1; i != sizeof(u64); i++) {
		num = 1;
		length = page_size;
		ASSERT_EQ(0, get_extents(n->iommufd, n->ioas, TEST_IOVA,
					 &length, (void *)&array[i], &num));
		memcpy(&extent, &array[i], sizeof(extent));
		ASSERT_EQ(1, num);
		ASSERT_EQ(page_size, length);
		ASSERT_EQ(page_size, extent.length);
		ASSERT_EQ(pagemap_pa(va), extent.phys);

		num = 1;
		length = SZ_4K;
		ASSERT_EQ(0, get_pages(n->iommufd, n->ioas, TEST_IOVA, &length,
				       (void *)&array[i], &num, SZ_4K));
		memcpy(&pa, &array[i], sizeof(pa));
		ASSERT_EQ(1, num);
		ASSERT_EQ(pagemap_pa(va), pa);
	}
}

/* An array that does not fit is refused, however little of it is written */
TEST_F(noiommu_attached, array_past_user_addresses)
{
	struct noiommu *n = &self->n;
	struct iommu_noiommu_extent *extents = MAP_FAILED;
	u32 room = page_size / sizeof(*extents);
	u64 length = page_size;
	struct utsname system;
	u32 num = room;
	void *va;
	int bits;
	int rc;

	va = alloc_mem(page_size, 0);
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, page_size, TEST_IOVA));

	/* The last page that a user can have, below the one left out by x86 */
	for (bits = 57; bits >= 38 && extents == MAP_FAILED; bits--) {
		extents = mmap((void *)((1UL << bits) - 2 * page_size),
			       page_size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS |
			       MAP_FIXED_NOREPLACE, -1, 0);
		if (extents == MAP_FAILED && errno == EEXIST)
			SKIP(return, "the last user addresses are in use");
	}
	ASSERT_NE(MAP_FAILED, extents);

	ASSERT_EQ(0, get_extents(n->iommufd, n->ioas, TEST_IOVA, &length,
				 extents, &num));
	ASSERT_EQ(1, num);
	ASSERT_EQ(pagemap_pa(va), extents[0].phys);

	num = UINT32_MAX;
	rc = get_extents(n->iommufd, n->ioas, TEST_IOVA, &length, extents,
			 &num);
	/* Elsewhere the limit can be that of another size of page tables */
	ASSERT_EQ(0, uname(&system));
	if (!rc && strcmp(system.machine, "x86_64"))
		SKIP(return, "user addresses end past what can be mapped");
	ASSERT_EQ(-EFAULT, rc);
	ASSERT_EQ(UINT32_MAX, num);
	ASSERT_EQ(page_size, length);
}

/* Where the list has room, whatever the memory is like */
TEST_F(noiommu_attached, page_list)
{
	struct noiommu *n = &self->n;
	u64 size = SZ_2M, length;
	u32 num, i, pages = size / SZ_4K;
	u64 *list;
	void *va;

	va = try_alloc_huge(size);
	if (!va)
		SKIP(return, "needs a free hugetlb page of 2 MiB");
	list = calloc_assert(pages + 1, sizeof(*list));

	/* One extent, then as many as there are pages */
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, size, TEST_IOVA));
	check_pages(_metadata, n, TEST_IOVA + 100, va + 100, size - 100,
		    UINT64_MAX, pages + 1);
	check_pages(_metadata, n, TEST_IOVA + SZ_4K, va + SZ_4K, size - SZ_4K,
		    3 * SZ_4K + 1, pages);
	ASSERT_EQ(0, unmap(n->iommufd, n->ioas, TEST_IOVA, size));
	map_reversed(_metadata, n, va, size);
	num = pages + 1;
	length = UINT64_MAX;
	ASSERT_EQ(0, get_pages(n->iommufd, n->ioas, TEST_IOVA, &length, list,
			       &num, SZ_4K));
	ASSERT_EQ(pages, num);
	ASSERT_EQ(size, length);
	for (i = 0; i != pages; i++)
		ASSERT_EQ(pagemap_pa(va) + size - page_size -
			  i * SZ_4K / page_size * page_size +
			  i * SZ_4K % page_size, list[i]);
	free(list);
}

/* A page of the list that is larger than the kernel's */
TEST_F(noiommu_attached, page_list_of_large_pages)
{
	struct noiommu *n = &self->n;
	u64 half = SZ_1M, length = UINT64_MAX;
	u32 large = 2 * page_size, num = 8;
	u64 list[8], pa;
	void *va;

	va = try_alloc_huge(SZ_2M);
	if (!va)
		SKIP(return, "needs a free hugetlb page of 2 MiB");
	pa = pagemap_pa(va);

	/* Four of them, then half of one, a hole, and one that is shifted */
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, 4 * large + large / 2,
			 TEST_IOVA));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va + page_size, large,
			 TEST_IOVA + 8 * large));
	ASSERT_EQ(0, get_pages(n->iommufd, n->ioas, TEST_IOVA + 1, &length,
			       list, &num, large));
	ASSERT_EQ(4, num);
	ASSERT_EQ(4 * large - 1, length);
	ASSERT_EQ(pa + 1, list[0]);
	ASSERT_EQ(pa + 3 * large, list[3]);

	/* The range may end within a page, the mapping may not */
	num = 8;
	length = 4 * large + large / 2;
	ASSERT_EQ(0, get_pages(n->iommufd, n->ioas, TEST_IOVA, &length, list,
			       &num, large));
	ASSERT_EQ(5, num);
	ASSERT_EQ(4 * large + large / 2, length);
	num = 8;
	length = UINT64_MAX;
	ASSERT_EQ(-ERANGE, get_pages(n->iommufd, n->ioas, TEST_IOVA + 4 * large,
				     &length, list, &num, large));
	ASSERT_EQ(8, num);
	ASSERT_EQ(UINT64_MAX, length);
	ASSERT_EQ(-ENOENT, get_pages(n->iommufd, n->ioas, TEST_IOVA + 5 * large,
				     &length, list, &num, large));

	/* Another offset in physical memory */
	ASSERT_EQ(-ERANGE, get_pages(n->iommufd, n->ioas, TEST_IOVA + 8 * large,
				     &length, list, &num, large));
	ASSERT_EQ(0, get_pages(n->iommufd, n->ioas, TEST_IOVA + 8 * large,
			       &length, list, &num, page_size));
	ASSERT_EQ(2, num);
	ASSERT_EQ(large, length);
	ASSERT_EQ(pa + page_size, list[0]);

	/* Contiguous in one half each, but not across them */
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va + half, half, SZ_1G));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, half, SZ_1G + half));
	num = 8;
	length = UINT64_MAX;
	ASSERT_EQ(-ERANGE, get_pages(n->iommufd, n->ioas, SZ_1G, &length, list,
				     &num, SZ_2M));
	ASSERT_EQ(0, get_pages(n->iommufd, n->ioas, SZ_1G, &length, list, &num,
			       SZ_1M));
	ASSERT_EQ(2, num);
	ASSERT_EQ(SZ_2M, length);
	ASSERT_EQ(pa + half, list[0]);
	ASSERT_EQ(pa, list[1]);
}

TEST_F(noiommu_attached, page_list_ends_at_a_fault)
{
	struct noiommu *n = &self->n;
	u64 size = SZ_2M, length = size;
	u32 num = size / SZ_4K;
	void *va, *array;
	u64 *list;

	va = try_alloc_huge(size);
	if (!va)
		SKIP(return, "needs a free hugetlb page of 2 MiB");
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, size, TEST_IOVA));

	array = alloc_mem(2 * page_size, 0);
	ASSERT_EQ(0, munmap(array + page_size, page_size));
	list = array + page_size - 3 * sizeof(*list);
	ASSERT_EQ(0, get_pages(n->iommufd, n->ioas, TEST_IOVA, &length, list,
			       &num, SZ_4K));
	ASSERT_EQ(3, num);
	ASSERT_EQ(3 * SZ_4K, length);
	ASSERT_EQ(pagemap_pa(va) + 2 * SZ_4K, list[2]);
	ASSERT_EQ(-EFAULT, get_pages(n->iommufd, n->ioas, TEST_IOVA, &length,
				     list + 3, &num, SZ_4K));
	ASSERT_EQ(3, num);
}

TEST_F(noiommu_attached, huge_page_takes_one_call)
{
	struct noiommu *n = &self->n;
	u64 offset, length, pa;
	void *va;

	va = try_alloc_huge(4 * SZ_2M);
	if (!va)
		SKIP(return, "needs 4 free hugetlb pages of 2 MiB");
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, 4 * SZ_2M, TEST_IOVA));
	for (offset = 0; offset < 4 * SZ_2M; offset += SZ_2M) {
		length = UINT64_MAX;
		ASSERT_EQ(0, get_pa(n->iommufd, n->ioas, TEST_IOVA + offset,
				    &length, &pa));
		ASSERT_EQ(pagemap_pa(va + offset), pa);
		ASSERT_GE(length, SZ_2M);
	}
}

TEST_F(noiommu_attached, iova_at_the_top)
{
	struct noiommu *n = &self->n;
	struct mapping m = { .n = n, .iova = -SZ_64K, .size = SZ_64K };
	void *va = alloc_mem(SZ_64K, 0);
	u64 offset;

	m.pas = calloc_assert(m.size / page_size, sizeof(*m.pas));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, m.size, m.iova));
	pagemap_read(va, m.pas, m.size / page_size);
	for (offset = 0; offset < m.size; offset += page_size)
		check_pa(_metadata, &m, offset, UINT64_MAX);
	check_pa(_metadata, &m, m.size - 2, UINT64_MAX);
	/* Part of a run it can be, but not the start of one */
	ASSERT_EQ(-EOVERFLOW, try_get_pa(n->iommufd, n->ioas, UINT64_MAX));
	ASSERT_EQ(0, unmap(n->iommufd, n->ioas, m.iova, m.size));
	free(m.pas);
}

TEST_F(noiommu_attached, iova_at_the_bottom)
{
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, 0));
	check_mapping(_metadata, n, 0, va, SZ_64K);
}

TEST_F(noiommu_attached, fixed_iova)
{
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);
	u64 iova;

	/* With the flag the IOVA is the caller's, and must be free */
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(-EEXIST, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));

	/* Without it the kernel looks for one, whatever is passed in */
	iova = TEST_IOVA;
	ASSERT_EQ(0, map_flags(n->iommufd, n->ioas, va, SZ_64K, &iova, MAP_RW));
	ASSERT_NE(TEST_IOVA, iova);
	check_mapping(_metadata, n, iova, va, SZ_64K);
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);

	/* Neither changes what the other one maps to */
	ASSERT_EQ(0, unmap(n->iommufd, n->ioas, TEST_IOVA, SZ_64K));
	check_mapping(_metadata, n, iova, va, SZ_64K);
}

TEST_F(noiommu_attached, read_only)
{
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);
	u64 iova = TEST_IOVA;

	memset(va, 1, SZ_64K);
	ASSERT_EQ(0, mprotect(va, SZ_64K, PROT_READ));
	ASSERT_EQ(0, map_flags(n->iommufd, n->ioas, va, SZ_64K, &iova,
			       IOMMU_IOAS_MAP_READABLE |
			       IOMMU_IOAS_MAP_FIXED_IOVA));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
}

/* What is read only and was never touched gets its pages by being mapped */
TEST_F(noiommu_attached, read_only_untouched)
{
	struct noiommu *n = &self->n;
	u64 iova = TEST_IOVA;
	void *va;

	va = mmap(NULL, SZ_64K, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, va);
	ASSERT_EQ(0, map_flags(n->iommufd, n->ioas, va, SZ_64K, &iova,
			       IOMMU_IOAS_MAP_READABLE |
			       IOMMU_IOAS_MAP_FIXED_IOVA));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	/* To write to it later does not move it */
	memset(va, 1, SZ_64K);
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
}

/* The ioctls of the container, on the IOAS: they can cut a mapping */
TEST_F(noiommu_attached, unmap_the_middle_by_type1)
{
	struct noiommu *n = &self->n;
	struct iommu_vfio_ioas compat = {
		.size = sizeof(compat),
		.ioas_id = n->ioas,
		.op = IOMMU_VFIO_IOAS_SET,
	};
	struct vfio_iommu_type1_dma_unmap cut = {
		.argsz = sizeof(cut),
		.iova = TEST_IOVA + SZ_64K,
		.size = SZ_64K,
	};
	void *va = alloc_mem(3 * SZ_64K, 0);

	ASSERT_EQ(0, do_ioctl(n->iommufd, IOMMU_VFIO_IOAS, &compat));
	ASSERT_EQ(0, do_ioctl(n->iommufd, VFIO_SET_IOMMU,
			      (void *)VFIO_TYPE1_IOMMU));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, 3 * SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, do_ioctl(n->iommufd, VFIO_IOMMU_UNMAP_DMA, &cut));
	ASSERT_EQ(SZ_64K, cut.size);

	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, TEST_IOVA + SZ_64K));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	check_mapping(_metadata, n, TEST_IOVA + 2 * SZ_64K, va + 2 * SZ_64K,
		      SZ_64K);
}

TEST_F(noiommu_attached, copy)
{
	struct noiommu *n = &self->n, other = *n;
	void *va = alloc_mem(SZ_64K, 0);
	u32 hwpt;

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	/* Within the IOAS, and to one that has no HWPT when it is filled */
	ASSERT_EQ(0, copy(n->iommufd, n->ioas, TEST_IOVA, SZ_64K, n->ioas,
			  SZ_1G));
	check_mapping(_metadata, n, SZ_1G, va, SZ_64K);

	ASSERT_EQ(0, ioas_alloc(n->iommufd, &other.ioas));
	ASSERT_EQ(0, copy(n->iommufd, n->ioas, TEST_IOVA, SZ_64K, other.ioas,
			  SZ_2G));
	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(n->iommufd, other.ioas, SZ_2G));
	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, other.ioas, 0, &hwpt));
	check_mapping(_metadata, &other, SZ_2G, va, SZ_64K);

	/* The copies do not depend on what they were made from */
	ASSERT_EQ(0, unmap(n->iommufd, n->ioas, 0, UINT64_MAX));
	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
	check_mapping(_metadata, &other, SZ_2G, va, SZ_64K);
}

/* BARs as dma-bufs */

static u64 bar_address(int bar)
{
	unsigned long long start = 0, end, flags;
	char path[PATH_MAX];
	FILE *file;
	int fields;
	int i;

	snprintf_assert(path, sizeof(path), PCI_SYSFS "/%s/resource", bdf);
	file = fopen(path, "r");
	VFIO_ASSERT_NOT_NULL(file);
	for (i = 0; i <= bar; i++) {
		fields = fscanf(file, "%llx %llx %llx", &start, &end, &flags);
		VFIO_ASSERT_EQ(fields, 3);
	}
	fclose(file);
	return start;
}

TEST_F(noiommu_attached, dmabuf)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	struct noiommu *n = &self->n;
	u64 length = UINT64_MAX;
	int fd;
	u64 pa;

	ASSERT_EQ(0, do_ioctl(n->cdev, VFIO_DEVICE_GET_REGION_INFO, &bar));
	if (!(bar.flags & VFIO_REGION_INFO_FLAG_MMAP) || bar.size <= page_size)
		SKIP(return, "%s has no BAR 0 of two pages", bdf);
	set_memory_enable(n->cdev, true);
	fd = bar_dmabuf(n->cdev, bar.index, bar.size);
	if (fd == -ENOTTY || fd == -EOPNOTSUPP)
		SKIP(return, "needs CONFIG_VFIO_PCI_DMABUF");
	ASSERT_GE(fd, 0);

	/* From the second page on, so that an offset counts */
	ASSERT_EQ(0, map_file(n->iommufd, n->ioas, fd, page_size,
			      bar.size - page_size, TEST_IOVA));
	ASSERT_EQ(0, get_pa(n->iommufd, n->ioas, TEST_IOVA + 4, &length, &pa));
	ASSERT_EQ(bar_address(bar.index) + page_size + 4, pa);
	ASSERT_EQ(bar.size - page_size - 4, length);

	/* The BAR goes away from under the mapping, for good */
	set_memory_enable(n->cdev, false);
	ASSERT_EQ(-EINVAL, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
	set_memory_enable(n->cdev, true);
	ASSERT_EQ(-EINVAL, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));

	ASSERT_EQ(0, unmap(n->iommufd, n->ioas, TEST_IOVA,
			   bar.size - page_size));
	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
	ASSERT_EQ(0, close(fd));
}

/* Take that long for a look, to tell who waits for its end from who does not */
#define LONG_LOOK_NS (200 * 1000 * 1000ULL)

/*
 * Returns how long a look at all of the mapping takes. On a busy machine it can
 * take longer, so this is the shortest of some.
 */
static u64 time_look(struct __test_metadata *_metadata, struct noiommu *n,
		     u64 size)
{
	u64 start, length, pa, shortest = UINT64_MAX;
	int i;

	for (i = 0; i != 3; i++) {
		start = now_ns();
		length = UINT64_MAX;
		ASSERT_EQ(0, get_pa(n->iommufd, n->ioas, TEST_IOVA, &length,
				    &pa));
		shortest = min(shortest, now_ns() - start);
		ASSERT_EQ(size, length);
	}
	return shortest;
}

/* Over and over, until the mapping is gone */
static pid_t start_looking(struct __test_metadata *_metadata,
			   struct noiommu *n)
{
	struct timespec t = { .tv_nsec = 50 * 1000 * 1000 };
	pid_t pid;

	fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		u64 length, pa;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		do {
			length = UINT64_MAX;
		} while (!get_pa(n->iommufd, n->ioas, TEST_IOVA, &length, &pa));
		_exit(1);
	}
	nanosleep(&t, NULL);
	return pid;
}

/*
 * What waits for the end of a look takes about as long each time. On a busy
 * machine what does not wait can take as long as that, too, so that is tried
 * again.
 */
#define TRIES 3

/*
 * Do writers of the IOAS not get their turn? Then nearly each call waits for the
 * end of a look, as one has begun again when a call is made.
 */
static bool writers_wait_for_looks(struct __test_metadata *_metadata,
				   struct noiommu *n, void *va, u64 look)
{
	u64 start, waited = 0;
	int i, status;
	pid_t pid;

	pid = start_looking(_metadata, n);
	for (i = 0; i != 4 && waited < 2 * look; i++) {
		usleep(10000);
		start = now_ns();
		ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, 0));
		waited += now_ns() - start;
		usleep(10000);
		start = now_ns();
		ASSERT_EQ(0, unmap(n->iommufd, n->ioas, 0, SZ_64K));
		waited += now_ns() - start;
	}
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	return waited >= 2 * look;
}

/* Does a look that has begun a moment ago go on to its end when it is killed? */
static bool kill_waits_for_look(struct __test_metadata *_metadata,
				struct noiommu *n, u64 look)
{
	u64 start, duration;
	int status;
	pid_t pid;

	pid = start_looking(_metadata, n);
	start = now_ns();
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	duration = now_ns() - start;
	ASSERT_TRUE(WIFSIGNALED(status));
	return duration >= look / 4;
}

/*
 * The largest physically contiguous thing that a test can map is a BAR. With
 * the smallest pages a look at some of it takes long enough, on any machine.
 */
TEST_F_TIMEOUT(noiommu_attached, long_look_is_fair_and_killable, 60)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar) };
	struct noiommu *n = &self->n;
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = n->ioas,
		.val64 = 0,
	};
	void *va = alloc_mem(SZ_64K, 0);
	u64 size, look;
	int fd, i;

	for (; bar.index < VFIO_PCI_ROM_REGION_INDEX; bar.index++) {
		ASSERT_EQ(0, do_ioctl(n->cdev, VFIO_DEVICE_GET_REGION_INFO,
				      &bar));
		if ((bar.flags & VFIO_REGION_INFO_FLAG_MMAP) &&
		    bar.size >= SZ_4G)
			break;
	}
	if (bar.index == VFIO_PCI_ROM_REGION_INDEX)
		SKIP(return, "%s has no BAR of 4 GiB", bdf);

	ASSERT_EQ(0, do_ioctl(n->iommufd, IOMMU_OPTION, &option));
	set_memory_enable(n->cdev, true);
	fd = bar_dmabuf(n->cdev, bar.index, bar.size);
	if (fd == -ENOTTY || fd == -EOPNOTSUPP)
		SKIP(return, "needs CONFIG_VFIO_PCI_DMABUF");
	ASSERT_GE(fd, 0);
	for (size = SZ_4G; ; size *= 2) {
		ASSERT_EQ(0, map_file(n->iommufd, n->ioas, fd, 0, size,
				      TEST_IOVA));
		look = time_look(_metadata, n, size);
		if (look >= LONG_LOOK_NS || size * 2 > bar.size)
			break;
		ASSERT_EQ(0, unmap(n->iommufd, n->ioas, TEST_IOVA, size));
	}
	if (look < LONG_LOOK_NS)
		SKIP(return, "a look at the whole BAR takes less than 200 ms");

	for (i = 0; i < TRIES; i++)
		if (!writers_wait_for_looks(_metadata, n, va, look))
			break;
	EXPECT_NE(TRIES, i);

	for (i = 0; i < TRIES; i++)
		if (!kill_waits_for_look(_metadata, n, look))
			break;
	EXPECT_NE(TRIES, i);
	ASSERT_EQ(0, close(fd));
}

/* One thread looks up what the other one maps and unmaps */

static void *get_pa_loop(void *arg)
{
	struct noiommu *n = arg;
	long found = 0;
	int ret;

	/* Ends when the file descriptor is gone */
	while ((ret = try_get_pa(n->iommufd, n->ioas, TEST_IOVA)) != -EBADF) {
		if (!ret)
			found++;
		else if (ret != -ENOENT)
			return (void *)(long)ret;
	}
	return (void *)found;
}

TEST_F(noiommu_attached, get_pa_beside_unmap)
{
	struct noiommu *n = &self->n, looker = *n;
	void *va = alloc_mem(SZ_2M, 0);
	pthread_t thread;
	void *found;
	int i;

	looker.iommufd = dup(n->iommufd);
	ASSERT_GE(looker.iommufd, 0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, get_pa_loop, &looker));
	for (i = 0; i < 200; i++) {
		ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_2M, TEST_IOVA));
		usleep(500);
		ASSERT_EQ(0, unmap(n->iommufd, n->ioas, TEST_IOVA, SZ_2M));
	}
	ASSERT_EQ(0, close(looker.iommufd));
	ASSERT_EQ(0, pthread_join(thread, &found));
	ASSERT_LT(0, (long)found);
}

/* Memory of every kind */

FIXTURE(noiommu_memory) {
	struct noiommu n;
	void *va;
	int memfd;
};

FIXTURE_VARIANT(noiommu_memory) {
	u64 size;
	int mmap_flags;
	bool memfd;
	unsigned int memfd_flags;
	bool map_first;
	bool small_entries;
};

FIXTURE_VARIANT_ADD(noiommu_memory, anonymous) {
	.size = SZ_4M,
};

FIXTURE_VARIANT_ADD(noiommu_memory, anonymous_mapped_before_attach) {
	.size = SZ_4M,
	.map_first = true,
};

FIXTURE_VARIANT_ADD(noiommu_memory, hugetlb_2mb) {
	.size = 4 * SZ_2M,
	.mmap_flags = MAP_HUGETLB | MAP_HUGE_2MB,
};

FIXTURE_VARIANT_ADD(noiommu_memory, hugetlb_2mb_small_entries) {
	.size = 4 * SZ_2M,
	.mmap_flags = MAP_HUGETLB | MAP_HUGE_2MB,
	.small_entries = true,
};

FIXTURE_VARIANT_ADD(noiommu_memory, memfd) {
	.size = SZ_4M,
	.memfd = true,
};

FIXTURE_VARIANT_ADD(noiommu_memory, memfd_hugetlb_2mb) {
	.size = 4 * SZ_2M,
	.memfd = true,
	.memfd_flags = MFD_HUGETLB | MFD_HUGE_2MB,
};

/*
 * MAP_FAILED if it is to be of hugetlb pages and there are not enough of them
 */
static void *alloc_memory(u64 size, int mmap_flags, bool memfd,
			  unsigned int memfd_flags, int *fd)
{
	void *va;

	if (memfd) {
		*fd = memfd_create("noiommu", memfd_flags);
		VFIO_ASSERT_TRUE(*fd >= 0 || memfd_flags & MFD_HUGETLB);
		if (*fd < 0)
			return MAP_FAILED;
		VFIO_ASSERT_EQ(ftruncate(*fd, size), 0);
		mmap_flags |= MAP_SHARED;
	} else {
		mmap_flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	}

	va = mmap(NULL, size, PROT_READ | PROT_WRITE, mmap_flags | MAP_POPULATE,
		  *fd, 0);
	VFIO_ASSERT_TRUE(va != MAP_FAILED || mmap_flags & MAP_HUGETLB ||
			 memfd_flags & MFD_HUGETLB);
	return va;
}

/* Of the memfd if there is one, of the memory otherwise */
static int map_memory(struct noiommu *n, int memfd, void *va, u64 size)
{
	if (memfd >= 0)
		return map_file(n->iommufd, n->ioas, memfd, 0, size, TEST_IOVA);
	return map(n->iommufd, n->ioas, va, size, TEST_IOVA);
}

FIXTURE_SETUP(noiommu_memory)
{
	struct noiommu *n = &self->n;
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET,
		.val64 = 0,
	};

	self->memfd = -1;
	self->va = alloc_memory(variant->size, variant->mmap_flags,
				variant->memfd, variant->memfd_flags,
				&self->memfd);
	if (self->va == MAP_FAILED)
		SKIP(return, "needs 4 free hugetlb pages of 2 MiB");

	noiommu_open(n, bdf);
	option.object_id = n->ioas;
	if (variant->small_entries)
		ASSERT_EQ(0, do_ioctl(n->iommufd, IOMMU_OPTION, &option));
	if (variant->map_first)
		ASSERT_EQ(0, map_memory(n, self->memfd, self->va,
					variant->size));
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	if (!variant->map_first)
		ASSERT_EQ(0, map_memory(n, self->memfd, self->va,
					variant->size));
}

FIXTURE_TEARDOWN(noiommu_memory)
{
	noiommu_close(&self->n);
	munmap(self->va, variant->size);
	if (self->memfd >= 0)
		close(self->memfd);
}

TEST_F(noiommu_memory, get_pa)
{
	check_mapping(_metadata, &self->n, TEST_IOVA, self->va, variant->size);
}

/* Possible if all that is mapped is of files; nothing moves in either case */
TEST_F(noiommu_memory, change_process)
{
	struct iommu_ioas_change_process args = { .size = sizeof(args) };

	ASSERT_EQ(variant->memfd ? 0 : -EINVAL,
		  do_ioctl(self->n.iommufd, IOMMU_IOAS_CHANGE_PROCESS, &args));
	check_mapping(_metadata, &self->n, TEST_IOVA, self->va, variant->size);
}

int main(int argc, char *argv[])
{
	int nr_bdfs;

	noiommu_test_init(&argc, argv, &nr_bdfs);
	noiommu_require(bdf);
	return test_harness_run(argc, argv);
}
