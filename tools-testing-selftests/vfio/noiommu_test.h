/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the vfio_noiommu_*_test programs share: the device under test, and the
 * comparison of the physical addresses that the kernel tells with
 * /proc/self/pagemap.
 */
#ifndef SELFTESTS_VFIO_NOIOMMU_TEST_H
#define SELFTESTS_VFIO_NOIOMMU_TEST_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>

#include <linux/mman.h>
#include <linux/sizes.h>

#include <libvfio.h>

#include "kselftest_harness.h"
#include "noiommu.h"

#define PCI_SYSFS "/sys/bus/pci/devices"
/* Somewhere in the middle, with nothing special about it */
#define TEST_IOVA (SZ_4G * 5)

/* The first device, which has no IOMMU */
static const char *bdf;
static size_t page_size;

/* Take the devices from the command line or the environment. Return all. */
static inline char **noiommu_test_init(int *argc, char *argv[], int *nr_bdfs)
{
	char **bdfs = vfio_selftests_get_bdfs(argc, argv, nr_bdfs);

	bdf = bdfs[0];
	page_size = getpagesize();
	return bdfs;
}

static inline u64 now_ns(void)
{
	struct timespec t;

	VFIO_ASSERT_EQ(clock_gettime(CLOCK_MONOTONIC, &t), 0);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* 2 MiB pages, or NULL if there are not enough of them */
static inline void *try_alloc_huge(size_t size)
{
	void *va = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE |
			MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);

	return va == MAP_FAILED ? NULL : va;
}

/* A mapping of whole pages, and what pagemap says about them */
struct mapping {
	struct noiommu *n;
	u64 iova;
	u64 size;
	u64 *pas;
};

/*
 * Ask for @length bytes at @offset in a mapping. The answer has to be what
 * pagemap says, and neither less nor more than what is contiguous.
 */
static inline void check_pa(struct __test_metadata *_metadata,
			    const struct mapping *m, u64 offset, u64 length)
{
	u64 most = min(length, m->size - offset);
	u64 page = offset / page_size;
	u64 first = offset % page_size;
	u64 out = length;
	u64 end;
	u64 pa;

	ASSERT_EQ(0, get_pa(m->n->iommufd, m->n->ioas, m->iova + offset, &out,
			    &pa));
	ASSERT_EQ(m->pas[page] + first, pa);
	ASSERT_GE(out, 1);
	ASSERT_LE(out, most);

	for (end = page_size - first; end < out; end += page_size)
		ASSERT_EQ(pa + end, m->pas[++page]);
	if (out < most) {
		ASSERT_EQ(end, out);
		ASSERT_NE(pa + end, m->pas[page + 1]);
	}
}

/*
 * Like check_pa() for an array with @room. Mappings that are next to each other
 * and have neighbouring parts of @va mapped are like one.
 */
static inline void check_extents(struct __test_metadata *_metadata,
				 struct noiommu *n, u64 iova, void *va,
				 u64 left, u64 length, u32 room)
{
	struct iommu_noiommu_extent *extents;
	u64 first = (uintptr_t)va % page_size;
	u64 most = min(length, left);
	size_t pages = (first + most - 1) / page_size + 1;
	u32 num = room;
	u64 out = length;
	u64 done = 0;
	u64 *pas;
	u64 end;
	u32 i;

	extents = calloc_assert(room, sizeof(*extents));
	pas = calloc_assert(pages, sizeof(*pas));
	pagemap_read(va, pas, pages);
	ASSERT_EQ(0, get_extents(n->iommufd, n->ioas, iova, &out, extents,
				 &num));
	ASSERT_GE(num, 1);
	ASSERT_LE(num, room);
	ASSERT_LE(out, most);

	for (i = 0; i != num; i++) {
		u64 pa = extents[i].phys;

		ASSERT_EQ(pas[(first + done) / page_size] +
			  (first + done) % page_size, pa);
		ASSERT_GE(extents[i].length, 1);
		for (end = page_size - (first + done) % page_size;
		     end < extents[i].length; end += page_size)
			ASSERT_EQ(pa + end,
				  pas[(first + done + end) / page_size]);
		done += extents[i].length;
		if (done < most) {
			ASSERT_EQ(end, extents[i].length);
			ASSERT_NE(pa + end, pas[(first + done) / page_size]);
		}
	}
	ASSERT_EQ(done, out);
	if (num < room)
		ASSERT_EQ(most, out);
	free(pas);
	free(extents);
}

/* The same for a page list */
static inline void check_pages(struct __test_metadata *_metadata,
			       struct noiommu *n, u64 iova, void *va, u64 left,
			       u64 length, u32 room)
{
	u64 most = min(length, left);
	u64 first = iova % SZ_4K;
	u64 num_pages = (first + most - 1) / SZ_4K + 1;
	u64 out = length;
	u32 num = room;
	u64 *list;
	u32 i;

	list = calloc_assert(room + 1, sizeof(*list));
	list[room] = 1;
	ASSERT_EQ(0, get_pages(n->iommufd, n->ioas, iova, &out, list, &num,
			       SZ_4K));
	if (num_pages > room)
		num_pages = room;
	ASSERT_EQ(num_pages, num);
	ASSERT_EQ(min(most, num * (u64)SZ_4K - first), out);
	for (i = 0; i != num; i++) {
		ASSERT_EQ(pagemap_pa(va), list[i]);
		va += SZ_4K - (i ? 0 : first);
	}
	ASSERT_EQ(1, list[room]);
	free(list);
}

/* All of a mapping: at its edges, across it and at places drawn from a seed */
static inline void check_mapping(struct __test_metadata *_metadata,
				 struct noiommu *n, u64 iova, void *va,
				 u64 size)
{
	struct mapping m = { .n = n, .iova = iova, .size = size };
	unsigned int seed = 1;
	u64 offset, length;
	int i;

	m.pas = calloc_assert(size / page_size, sizeof(*m.pas));
	pagemap_read(va, m.pas, size / page_size);

	check_pa(_metadata, &m, 0, size);
	check_pa(_metadata, &m, 0, UINT64_MAX);
	check_pa(_metadata, &m, 0, 1);
	check_pa(_metadata, &m, size - 1, 1);
	check_pa(_metadata, &m, size - 1, UINT64_MAX);

	for (offset = 0; offset < size; offset += SZ_64K)
		check_pa(_metadata, &m, offset, page_size);

	for (i = 0; i < 200; i++) {
		offset = rand_r(&seed) % size;
		length = 1 + rand_r(&seed) % (2 * size);
		check_pa(_metadata, &m, offset, length);
		check_extents(_metadata, n, iova + offset, va + offset,
			      size - offset, length, 1 + i % 3);
		check_pages(_metadata, n, iova + offset, va + offset,
			    size - offset, length, 1 + i % 4);
	}

	check_extents(_metadata, n, iova, va, size, UINT64_MAX,
		      size / page_size + 1);
	check_pages(_metadata, n, iova, va, size, UINT64_MAX,
		    size / SZ_4K + 1);
	free(m.pas);
}

#endif /* SELFTESTS_VFIO_NOIOMMU_TEST_H */
