// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random calls on the cdev of a noiommu device and on the iommufd that it is
 * bound to. What takes no device is in
 * tools/testing/selftests/iommu/iommufd_fuzz.c.
 *
 * Usage: vfio_noiommu_fuzz [-s SEED] [-n CALLS] [-j THREADS] BDF
 *
 * First one thread makes calls that are valid, nearly valid or garbage, and a
 * model says what each of them has to do: whether it works, the outputs, and
 * for a physical address what /proc/self/pagemap says. Which errno a wrong call
 * returns depends on the order in which the kernel looks at the arguments,
 * which is its own business: any that says that a call is wrong will do. The
 * same seed makes the same calls. Then threads share the same file descriptors.
 * Nobody knows which call comes first there, but each thread has a range of
 * IOVA to itself, with a model of it, and an address that is told anywhere must
 * be of this program's memory. In the end nothing may be missing.
 *
 * All memory stays pinned meanwhile, by an IOAS and a HWPT that no call is made
 * for: else its addresses could change from one mapping to the next.
 *
 * The seed comes from -s or from FUZZ_SEED in the environment, and is 1
 * without. CALLS are for each of the two halves.
 */
#include <getopt.h>
#include <pthread.h>
#include <time.h>

#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/sizes.h>

#include <libvfio.h>

#include "../iommu/fuzz.h"
#include "noiommu.h"

#define NR_IOAS 4
#define NR_HWPTS 6
#define NR_AREAS 24
#define MAX_THREADS 16

/* The memory: a huge page, anonymous pages and a memfd. A hole follows. */
#define NR_HUGE_PAGES 512
#define NR_PAGES 256
#define ANON_START NR_HUGE_PAGES
#define MEMFD_START (ANON_START + NR_PAGES)
#define ARENA_PAGES (MEMFD_START + NR_PAGES)
/* Most pages of one mapping, and entries of one array */
#define MAX_MAP_PAGES 16
#define MAX_ENTRIES 40
#define MAX_ENTRY_LEN 256
/* How far mappings are spread out */
#define NR_SLOTS 64

static const char *cdev_path;
static size_t page_size;
static void *arena;
static u64 arena_pas[ARENA_PAGES];
static int memfd;
static unsigned long long seed;
static unsigned long max_calls = 1000000;
static unsigned int nr_threads = 3;

/* The memory */

static void arena_map(u64 page, u64 pages, int flags, int fd)
{
	void *va = arena + page * page_size;

	VFIO_ASSERT_EQ(mmap(va, pages * page_size, PROT_READ | PROT_WRITE,
			    MAP_FIXED | MAP_POPULATE | flags, fd, 0), va);
}

static void arena_init(void)
{
	size_t size = (ARENA_PAGES + MAX_MAP_PAGES) * page_size + SZ_2M;
	void *va;

	/* The huge page wants to be aligned */
	va = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	VFIO_ASSERT_NE(va, MAP_FAILED);
	arena = (void *)(((uintptr_t)va + SZ_2M - 1) & ~(SZ_2M - 1ULL));

	memfd = memfd_create("fuzz", 0);
	VFIO_ASSERT_GE(memfd, 0);
	VFIO_ASSERT_EQ(ftruncate(memfd, NR_PAGES * page_size), 0);

	if (mmap(arena, NR_HUGE_PAGES * page_size, PROT_READ | PROT_WRITE,
		 MAP_FIXED | MAP_POPULATE | MAP_PRIVATE | MAP_ANONYMOUS |
		 MAP_HUGETLB | MAP_HUGE_2MB, -1, 0) == MAP_FAILED) {
		ksft_print_msg("there are no free hugetlb pages of 2 MiB\n");
		arena_map(0, NR_HUGE_PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	}
	arena_map(ANON_START, NR_PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	arena_map(MEMFD_START, NR_PAGES, MAP_SHARED, memfd);
}

/* For as long as the iommufd is open */
static void arena_pin(const struct noiommu *n)
{
	u32 ioas, hwpt;

	VFIO_ASSERT_EQ(ioas_alloc(n->iommufd, &ioas), 0);
	VFIO_ASSERT_EQ(hwpt_alloc(n->iommufd, n->devid, ioas, 0, &hwpt), 0);
	VFIO_ASSERT_EQ(map(n->iommufd, ioas, arena, ARENA_PAGES * page_size, 0),
		       0);
	pagemap_read(arena, arena_pas, ARENA_PAGES);
}

static u64 arena_pa(u64 offset)
{
	return arena_pas[offset / page_size] + offset % page_size;
}

static bool is_arena_pa(u64 pa)
{
	u64 i;

	for (i = 0; i != ARENA_PAGES; i++)
		if (arena_pas[i] == pa - pa % page_size)
			return true;
	return false;
}

/* What the kernel has to have, as far as the calls can tell */

struct area {
	u64 iova;
	u64 length;
	/* Where it is in the memory */
	u64 offset;
};

struct model_ioas {
	u32 id;
	unsigned int nr_areas;
	struct area areas[NR_AREAS];
};

struct model_hwpt {
	u32 id;
	struct model_ioas *ioas;
	/* Made by attaching to the IOAS, and gone with the last attachment */
	bool is_auto;
};

/*
 * For a thread: of an IOAS that all share, where nobody else uses these IOVAs
 */
struct model {
	pthread_t thread;
	unsigned int nr;
	unsigned long calls;
	unsigned long succeeded;
	struct noiommu n;
	/* Where mappings are */
	u64 iova;
	struct model_ioas ioas[NR_IOAS];
	struct model_hwpt hwpts[NR_HWPTS];
	struct model_hwpt *attached;
	/* For messages */
	const char *what;
};

/* By 0: one that is free */
static struct model_ioas *find_ioas(struct model *m, u32 id)
{
	int i;

	for (i = 0; i != NR_IOAS; i++)
		if (m->ioas[i].id == id)
			return &m->ioas[i];
	return NULL;
}

static struct model_hwpt *find_hwpt(struct model *m, u32 id)
{
	int i;

	for (i = 0; i != NR_HWPTS; i++)
		if (m->hwpts[i].id == id)
			return &m->hwpts[i];
	return NULL;
}

static unsigned int nr_domains(struct model *m, struct model_ioas *ioas)
{
	unsigned int nr = 0;
	int i;

	for (i = 0; i != NR_HWPTS; i++)
		nr += m->hwpts[i].id && m->hwpts[i].ioas == ioas;
	return nr;
}

static struct area *area_at(struct model_ioas *ioas, u64 iova)
{
	unsigned int i;

	for (i = 0; i != ioas->nr_areas; i++)
		if (iova - ioas->areas[i].iova < ioas->areas[i].length)
			return &ioas->areas[i];
	return NULL;
}

static bool is_free(struct model_ioas *ioas, const struct area *area)
{
	u64 last = area->iova + area->length - 1;
	struct area *other = ioas->areas;

	for (; other != ioas->areas + ioas->nr_areas; other++)
		if (other->iova <= last &&
		    other->iova + other->length - 1 >= area->iova)
			return false;
	return last >= area->iova;
}

/* Can the page table of a device have it? */
static bool is_fit(const struct area *area)
{
	return !((area->iova | area->length | area->offset) & (page_size - 1)) &&
	       area->offset + area->length <= ARENA_PAGES * page_size;
}

static bool can_fill(struct model_ioas *ioas)
{
	unsigned int i;

	for (i = 0; i != ioas->nr_areas && is_fit(&ioas->areas[i]); i++)
		;
	return i == ioas->nr_areas;
}

/* Random arguments */

static u32 some_ioas_id(struct model *m)
{
	u32 id = m->ioas[m->iova ? 0 : below(NR_IOAS)].id;

	return id && !one_in(50) ? id : NO_ID + below(16);
}

static u32 some_id(struct model *m)
{
	const u32 ids[] = {
		0, m->n.devid, m->hwpts[below(NR_HWPTS)].id,
		m->ioas[below(NR_IOAS)].id,
	};

	return ids[below(ARRAY_SIZE(ids))] ?: NO_ID + below(16);
}

/* From close to 0, from the middle, and up to the end of the IOVA space */
static u64 some_iova(struct model *m)
{
	u64 slot = below(NR_SLOTS) * page_size;

	switch (m->iova ? 2 : below(8)) {
	case 0:
		return slot;
	case 1:
		return slot - NR_SLOTS * page_size;
	default:
		return m->iova + SZ_4G * 5 + slot;
	}
}

/* Often where something is mapped */
static u64 some_mapped_iova(struct model *m, u32 ioas_id)
{
	struct model_ioas *ioas = find_ioas(m, ioas_id);
	struct area *area;

	if (!ioas || !ioas->nr_areas || one_in(8))
		return some_iova(m);
	area = &ioas->areas[below(ioas->nr_areas)];
	if (one_in(2))
		return area->iova;
	return area->iova + below(area->length);
}

static u64 some_length(void)
{
	return (1 + below(MAX_MAP_PAGES)) * page_size;
}

static u64 some_offset(void)
{
	static const unsigned int starts[] = {
		0, ANON_START, MEMFD_START, MEMFD_START + NR_PAGES / 2,
	};

	return (starts[below(ARRAY_SIZE(starts))] + below(NR_PAGES / 2)) *
	       page_size;
}

static void spoil(__u64 *value)
{
	/* Numbers at which something tends to end */
	static const u64 edges[] = {
		0, 1, 7, 2048, 4095, 4096, 4097, SZ_2M, SZ_4G - 1, SZ_4G,
		1ULL << 47, 1ULL << 63, -4097ULL, -4096ULL, -2ULL, -1ULL,
	};

	spoil_by(value, edges[below(ARRAY_SIZE(edges))]);
}

/* Calls */

static void wrong(struct model *m, const char *why, long long got,
		  long long expected)
{
	VFIO_LOG_AND_EXIT("seed %llu, thread %u, call %lu, %s: %s is %lld (%#llx), not %lld",
			  seed, m->nr, m->calls, m->what, why, got, got,
			  expected);
}

static void expect(struct model *m, const char *why, u64 got, u64 expected)
{
	if (got != expected)
		wrong(m, why, got, expected);
}

static void expect_result(struct model *m, int ret, bool works)
{
	m->calls++;
	m->succeeded += !ret;
	if (works || !is_refusal(ret))
		expect(m, "errno", ret, works ? 0 : -EINVAL);
}

static __thread void *user_args;

static void args_init(void)
{
	user_args = alloc_args();
	VFIO_ASSERT_NOT_NULL(user_args);
}

/*
 * Do it. What there has always been of @args ends with @old_end.
 *
 * Return false if a wrong size has been chosen: then that it is refused is all
 * that there is to see. Else @args are as the kernel has seen them, and @out
 * is what it made of them.
 */
static bool iommufd_call(struct model *m, unsigned long cmd, void *args,
			 void *out, u32 size, const void *old_end, int *ret)
{
	bool works = put_args(user_args, args, size, old_end - args, true);

	*ret = do_ioctl(m->n.iommufd, cmd, user_args);
	if (!works)
		expect_result(m, *ret, false);
	memcpy(out, user_args, size);
	return works;
}

static void check_new_id(struct model *m, u32 id)
{
	if (!id || find_ioas(m, id) || find_hwpt(m, id) || id == m->n.devid)
		wrong(m, "the new ID", id, 0);
}

/* Of what takes no device, no more than the other calls need */
static void call_ioas_alloc(struct model *m)
{
	struct model_ioas *ioas = find_ioas(m, 0);
	u32 id;

	if (!ioas)
		return;
	expect_result(m, ioas_alloc(m->n.iommufd, &id), true);
	check_new_id(m, id);
	ioas->id = id;
	ioas->nr_areas = 0;
}

static void call_destroy(struct model *m)
{
	u32 id = some_id(m);
	struct model_ioas *ioas = find_ioas(m, id);
	struct model_hwpt *hwpt = find_hwpt(m, id);
	bool works = (ioas && !nr_domains(m, ioas)) ||
		     (hwpt && m->attached != hwpt);

	expect_result(m, destroy(m->n.iommufd, id), works);
	if (!works)
		return;
	if (ioas)
		ioas->id = 0;
	else
		hwpt->id = 0;
}

/* Also what has a hole, and bytes, which no device can be attached to then */
static void call_map(struct model *m)
{
	struct area area = { some_iova(m), some_length(), some_offset() };
	u32 id = some_ioas_id(m), from_id = some_ioas_id(m);
	u64 from_iova = some_mapped_iova(m, from_id) & -page_size;
	struct model_ioas *ioas = find_ioas(m, id);
	struct model_ioas *from_ioas = find_ioas(m, from_id);
	struct area *from = from_ioas ? area_at(from_ioas, from_iova) : NULL;
	int ret, fd = m->n.iommufd;
	bool works;

	if (ioas && ioas->nr_areas == NR_AREAS)
		return;
	if (one_in(32))
		area.length -= below(page_size);
	if (from && one_in(3)) {
		area.length = min(area.length, from->length -
					       (from_iova - from->iova));
		area.offset = from->offset + (from_iova - from->iova);
		ret = copy(fd, from_id, from_iova, area.length, id, area.iova);
	} else if (area.offset >= MEMFD_START * page_size && one_in(2)) {
		ret = map_file(fd, id, memfd,
			       area.offset - MEMFD_START * page_size,
			       area.length, area.iova);
	} else {
		ret = map(fd, id, arena + area.offset, area.length, area.iova);
	}
	works = ioas && is_free(ioas, &area) &&
		(is_fit(&area) || !nr_domains(m, ioas));
	expect_result(m, ret, works);
	if (!ret)
		ioas->areas[ioas->nr_areas++] = area;
}

/* Areas as a whole, or all of them where nobody else has any */
static void call_unmap(struct model *m)
{
	u32 id = some_ioas_id(m);
	u64 iova = some_mapped_iova(m, id);
	struct model_ioas *ioas = find_ioas(m, id);
	struct area *area = ioas ? area_at(ioas, iova) : NULL;

	if (ioas && !m->iova && one_in(50)) {
		expect_result(m, unmap(m->n.iommufd, id, 0, ~0ULL), true);
		ioas->nr_areas = 0;
		return;
	}
	expect_result(m, unmap(m->n.iommufd, id, area ? area->iova : iova,
			       area ? area->length : 1), area);
	if (area)
		*area = ioas->areas[--ioas->nr_areas];
}

/* Ask again where the model has its addresses from */
static void check_pagemap(struct model *m, u64 offset)
{
	expect(m, "pagemap", pagemap_pa(arena + offset), arena_pa(offset));
}

/* How much from @offset on is contiguous, at most @most */
static u64 contiguous(u64 offset, u64 most)
{
	u64 length = page_size - offset % page_size;

	while (length < most && arena_pa(offset) + length ==
				arena_pa(offset + length))
		length += page_size;
	return min(length, most);
}

static bool can_get_pa(struct model *m,
		       const struct iommu_ioas_noiommu_get_pa *args)
{
	struct model_ioas *ioas = find_ioas(m, args->ioas_id);

	/* The last IOVA of all is refused, mapped or not */
	return !args->flags && !args->__reserved && args->length &&
	       args->iova != ~0ULL && ioas && area_at(ioas, args->iova) &&
	       nr_domains(m, ioas);
}

static void check_pa(struct model *m,
		     const struct iommu_ioas_noiommu_get_pa *args,
		     const struct iommu_ioas_noiommu_get_pa *out)
{
	struct area *area = area_at(find_ioas(m, args->ioas_id), args->iova);
	u64 inside = args->iova - area->iova;
	u64 most = min((u64)args->length, area->length - inside);

	expect(m, "the address", out->out_phys, arena_pa(area->offset + inside));
	expect(m, "the length", out->length,
	       contiguous(area->offset + inside, most));
	if (one_in(16))
		check_pagemap(m, area->offset + inside);
}

static void call_get_pa(struct model *m)
{
	struct iommu_ioas_noiommu_get_pa args = {}, out;
	int ret;

	args.ioas_id = some_ioas_id(m);
	args.iova = some_mapped_iova(m, args.ioas_id);
	args.length = one_in(4) ? some_length() : 1 + below(3 * SZ_64K);
	spoil(&args.iova);
	spoil(&args.length);
	spoil32(&args.flags);
	spoil32(&args.__reserved);

	if (!iommufd_call(m, IOMMU_IOAS_NOIOMMU_GET_PA, &args, &out,
			  sizeof(args), &args.out_phys + 1, &ret))
		return;
	expect_result(m, ret, can_get_pa(m, &args));
	if (!ret)
		check_pa(m, &args, &out);
}

/* The extents that the model has from @iova on */
static u32 model_extents(struct model_ioas *ioas, u64 iova, u64 length,
			 struct iommu_noiommu_extent *extents, u32 room,
			 u64 *covered)
{
	struct area *area = area_at(ioas, iova);
	u64 offset, run;
	u32 nr = 0;

	*covered = 0;
	while (length && area) {
		offset = area->offset + (iova - area->iova);
		run = contiguous(offset, min(length, area->length -
					     (iova - area->iova)));
		if (nr && extents[nr - 1].phys + extents[nr - 1].length ==
			  arena_pa(offset)) {
			extents[nr - 1].length += run;
		} else {
			if (nr == room)
				break;
			extents[nr].phys = arena_pa(offset);
			extents[nr++].length = run;
		}
		*covered += run;
		length -= run;
		iova += run;
		/* 0 is not what comes after the last IOVA */
		area = iova ? area_at(ioas, iova) : NULL;
	}
	return nr;
}

/*
 * The address of @iova if all that follows in the range or page is contiguous
 */
static bool model_page(struct model_ioas *ioas, u64 iova, u64 length, u64 size,
		       u64 *pa, u64 *covered)
{
	struct iommu_noiommu_extent extent;

	length = min(length, size - iova % size);
	if (!model_extents(ioas, iova, length, &extent, 1, covered))
		return false;
	*pa = extent.phys;
	return *covered == length && !((*pa ^ iova) % size);
}

static u32 model_pages(struct model_ioas *ioas, u64 iova, u64 length, u64 *pages,
		       u32 room, u64 size, u64 *covered)
{
	u64 run;
	u32 nr;

	*covered = 0;
	for (nr = 0; nr != room && *covered != length; nr++) {
		if (nr && !(iova + *covered))
			break;
		if (!model_page(ioas, iova + *covered, length - *covered, size,
				&pages[nr], &run))
			break;
		*covered += run;
	}
	return nr;
}

static bool
can_get_pa_array(struct model *m,
		 const struct iommu_ioas_noiommu_get_pa_array *args)
{
	struct model_ioas *ioas = find_ioas(m, args->ioas_id);
	u32 size = args->page_size;
	u64 pa, covered;

	/* The last IOVA of all is refused, mapped or not */
	if (args->flags || args->__reserved || !args->length ||
	    args->iova == ~0ULL || !args->entry_num || !args->data_uptr ||
	    !ioas || !area_at(ioas, args->iova) || !nr_domains(m, ioas))
		return false;
	if (args->data_type == IOMMU_NOIOMMU_PA_EXTENT)
		return !size && !(args->entry_len % 8) &&
		       args->entry_len >= 16 && args->entry_len <= MAX_ENTRY_LEN;
	return args->data_type == IOMMU_NOIOMMU_PA_PAGE &&
	       args->entry_len == 8 && size >= SZ_4K && !(size & (size - 1)) &&
	       model_page(ioas, args->iova, args->length, size, &pa, &covered);
}

static void check_array(struct model *m,
			const struct iommu_ioas_noiommu_get_pa_array *args,
			const struct iommu_ioas_noiommu_get_pa_array *out,
			const void *got)
{
	struct model_ioas *ioas = find_ioas(m, args->ioas_id);
	struct iommu_noiommu_extent extents[MAX_ENTRIES];
	u64 pages[MAX_ENTRIES];
	bool is_list = args->data_type == IOMMU_NOIOMMU_PA_PAGE;
	u64 covered;
	u32 num, i, j;

	if (is_list)
		num = model_pages(ioas, args->iova, args->length, pages,
				  args->entry_num, args->page_size, &covered);
	else
		num = model_extents(ioas, args->iova, args->length, extents,
				    args->entry_num, &covered);
	expect(m, "the number of entries", out->entry_num, num);
	expect(m, "the length", out->length, covered);
	for (i = 0; i != num; i++) {
		const u64 *entry = got + i * args->entry_len;

		expect(m, "the address of an entry", entry[0],
		       is_list ? pages[i] : extents[i].phys);
		if (is_list)
			continue;
		expect(m, "the length of an extent", entry[1],
		       extents[i].length);
		for (j = 2; j != args->entry_len / sizeof(*entry); j++)
			expect(m, "what is not known", entry[j], 0);
	}
}

static void call_get_pa_array(struct model *m)
{
	u64 got[MAX_ENTRIES * MAX_ENTRY_LEN / sizeof(u64)];
	struct iommu_ioas_noiommu_get_pa_array args = {}, out;
	int ret;

	memset(got, 0xff, sizeof(got));
	args.ioas_id = some_ioas_id(m);
	args.iova = some_mapped_iova(m, args.ioas_id);
	args.length = one_in(4) ? some_length() : 1 + below(3 * SZ_64K);
	args.data_uptr = (uintptr_t)got;
	args.entry_num = 1 + below(MAX_ENTRIES);
	if (one_in(2)) {
		args.data_type = IOMMU_NOIOMMU_PA_PAGE;
		args.entry_len = sizeof(u64);
		args.page_size = SZ_4K;
		if (one_in(4))
			args.page_size <<= below(12);
	} else {
		args.entry_len = sizeof(struct iommu_noiommu_extent);
		if (one_in(4))
			args.entry_len += 8 * below(31);
	}
	spoil(&args.iova);
	spoil(&args.length);
	spoil32(&args.flags);
	spoil32(&args.__reserved);
	spoil32(&args.data_type);
	spoil32(&args.page_size);
	spoil32(&args.entry_len);
	if (one_in(50))
		args.entry_num = 0;
	if (one_in(50))
		args.data_uptr = 0;

	if (!iommufd_call(m, IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY, &args, &out,
			  sizeof(args), &args + 1, &ret))
		return;
	expect_result(m, ret, can_get_pa_array(m, &args));
	if (!ret)
		check_array(m, &args, &out, got);
}

static void call_hwpt_alloc(struct model *m)
{
	struct iommu_hwpt_alloc args = { .size = sizeof(args) }, out;
	struct model_hwpt *hwpt = find_hwpt(m, 0);
	struct model_ioas *ioas;
	bool works;
	int ret;

	args.dev_id = one_in(20) ? some_id(m) : m->n.devid;
	args.pt_id = one_in(4) ? some_id(m) : some_ioas_id(m);
	spoil32(&args.flags);
	spoil32(&args.data_type);
	spoil32(&args.data_len);
	spoil32(&args.__reserved);
	/* One is for the device to be attached to */
	if (!hwpt || one_in(4))
		args.flags |= 1U << below(32);

	if (!iommufd_call(m, IOMMU_HWPT_ALLOC, &args, &out,
			  sizeof(args), &args.__reserved + 1, &ret))
		return;
	ioas = find_ioas(m, args.pt_id);
	works = !args.__reserved && !args.flags && !args.data_type &&
		!args.data_len && args.dev_id == m->n.devid && ioas &&
		can_fill(ioas);
	expect_result(m, ret, works);
	if (ret)
		return;
	check_new_id(m, out.out_hwpt_id);
	*hwpt = (struct model_hwpt){ out.out_hwpt_id, ioas };
}

/* What a noiommu device has none of */
static void call_refused(struct model *m)
{
	struct iommu_hw_info info = {
		.size = sizeof(info),
		.dev_id = some_id(m),
	};
	struct iommu_viommu_alloc viommu = {
		.size = sizeof(viommu),
		.dev_id = some_id(m),
		.hwpt_id = some_id(m),
		.type = below(4),
	};

	spoil32(&viommu.flags);
	expect_result(m, one_in(2) ?
			 do_ioctl(m->n.iommufd, IOMMU_GET_HW_INFO, &info) :
			 do_ioctl(m->n.iommufd, IOMMU_VIOMMU_ALLOC, &viommu),
		      false);
}

/* The cdev */

/* The device leaves its HWPT, which goes away if it was made for it */
static void model_detach(struct model *m)
{
	if (m->attached && m->attached->is_auto)
		m->attached->id = 0;
	m->attached = NULL;
}

static struct model_hwpt *auto_hwpt(struct model *m, struct model_ioas *ioas)
{
	int i;

	for (i = 0; i != NR_HWPTS; i++)
		if (m->hwpts[i].id && m->hwpts[i].is_auto &&
		    m->hwpts[i].ioas == ioas)
			return &m->hwpts[i];
	return NULL;
}

static void call_attach(struct model *m)
{
	struct vfio_device_attach_iommufd_pt args = { .argsz = sizeof(args) };
	u32 id = some_id(m);
	struct model_hwpt *hwpt = find_hwpt(m, id);
	struct model_ioas *ioas = find_ioas(m, id);
	bool works = hwpt || (ioas && can_fill(ioas));
	int ret;

	/* Once there is one, it can be attached to: it has been filled */
	if (ioas)
		hwpt = auto_hwpt(m, ioas);
	works |= !!hwpt;
	/* Of two that are there at once the new one cannot have the old ID */
	if (!hwpt)
		hwpt = find_hwpt(m, 0);
	args.pt_id = hwpt ? id : NO_ID;
	if (one_in(30))
		args.argsz = below(16);
	if (one_in(30))
		args.flags = 1U << below(32);
	if (one_in(30)) {
		args.flags = VFIO_DEVICE_ATTACH_PASID;
		args.pasid = below(3);
	}

	works = works && hwpt && !args.flags &&
		args.argsz >= offsetof(typeof(args), pasid);
	ret = do_ioctl(m->n.cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args);
	expect_result(m, ret, works);
	if (ret)
		return;
	if (!hwpt->id) {
		check_new_id(m, args.pt_id);
		*hwpt = (struct model_hwpt){ args.pt_id, ioas, true };
	}
	expect(m, "the HWPT", args.pt_id, hwpt->id);
	if (hwpt != m->attached)
		model_detach(m);
	m->attached = hwpt;
}

static void call_detach(struct model *m)
{
	struct vfio_device_detach_iommufd_pt args = { .argsz = sizeof(args) };
	int ret;

	if (one_in(20))
		args.argsz = below(8);
	else if (one_in(20))
		args.flags = 2U << below(31);
	ret = do_ioctl(m->n.cdev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &args);
	expect_result(m, ret, args.argsz >= 8 && !args.flags);
	if (!ret)
		model_detach(m);
}

static void bind_device(struct noiommu *n)
{
	n->cdev = open(cdev_path, O_RDWR);
	VFIO_ASSERT_GE(n->cdev, 0);
	VFIO_ASSERT_EQ(cdev_bind(n->cdev, n->iommufd, &n->devid), 0);
}

/* Rare: to open a device takes much longer than all the other calls */
static void call_reopen(struct model *m)
{
	u32 devid;

	if (!one_in(50)) {
		expect_result(m, cdev_bind(m->n.cdev, m->n.iommufd, &devid),
			      false);
		return;
	}
	VFIO_ASSERT_EQ(close(m->n.cdev), 0);
	model_detach(m);
	bind_device(&m->n);
	if (find_ioas(m, m->n.devid) || find_hwpt(m, m->n.devid))
		wrong(m, "the new ID", m->n.devid, 0);
}

static const struct call {
	const char *name;
	void (*fn)(struct model *m);
	unsigned int weight;
} calls[] = {
	{ "MAP, MAP_FILE or COPY", call_map, 24 },
	{ "UNMAP", call_unmap, 14 },
	{ "GET_PA", call_get_pa, 25 },
	{ "GET_PA_ARRAY", call_get_pa_array, 25 },
	/* A thread's own IOAS has no more than these */
	{ "IOAS_ALLOC", call_ioas_alloc, 3 },
	{ "DESTROY", call_destroy, 4 },
	{ "HWPT_ALLOC", call_hwpt_alloc, 3 },
	{ "GET_HW_INFO or VIOMMU_ALLOC", call_refused, 5 },
	{ "ATTACH", call_attach, 4 },
	{ "DETACH", call_detach, 1 },
	{ "BIND or close", call_reopen, 1 },
};

#define NR_OWN_CALLS 4

static void some_call(struct model *m, const struct call *call, unsigned int nr)
{
	unsigned int sum = 0, i;

	for (i = 0; i != nr; i++)
		sum += call[i].weight;
	sum = below(sum);
	for (; sum >= call->weight; call++)
		sum -= call->weight;
	m->what = call->name;
	call->fn(m);
}

static void device_open(struct noiommu *n)
{
	n->iommufd = open("/dev/iommu", O_RDWR);
	VFIO_ASSERT_GE(n->iommufd, 0);
	bind_device(n);
	arena_pin(n);
}

/* One thread, and the model */
static void fuzz_model(void)
{
	static struct model m;

	memset(&m, 0, sizeof(m));
	rng_init(seed);
	device_open(&m.n);
	while (m.calls < max_calls)
		some_call(&m, calls, ARRAY_SIZE(calls));
	noiommu_close(&m.n);
	ksft_print_msg("%lu calls of one thread, of which %lu succeeded\n",
		       m.calls, m.succeeded);
}

/* Threads that share the file descriptors */

#define NR_SHARED_IDS 8

static struct noiommu shared;
/* Whatever has been made by any of them. Unlike shared.ioas it can go away */
static u32 shared_ids[NR_SHARED_IDS];

/* Somebody else may have come first, or not: it works, or it is refused */
static int either(struct model *m, int ret)
{
	expect_result(m, ret, !ret);
	return ret;
}

static u32 *shared_slot(void)
{
	return &shared_ids[below(NR_SHARED_IDS)];
}

static u32 shared_id(void)
{
	return __atomic_load_n(shared_slot(), __ATOMIC_RELAXED) ?: NO_ID;
}

static u64 shared_iova(void)
{
	return SZ_4G + below(NR_SLOTS) * page_size;
}

/* Apart by what no single bit and no number of edge() makes of one another */
static u64 thread_iova(unsigned int nr)
{
	return (nr + 1) * 5ULL << 40;
}

static void race_alloc(struct model *m)
{
	u32 id, none = 0;
	int ret;

	if (one_in(2))
		ret = ioas_alloc(shared.iommufd, &id);
	else
		ret = hwpt_alloc(shared.iommufd, shared.devid,
				 one_in(3) ? shared.ioas : shared_id(), 0,
				 &id);
	if (!either(m, ret) &&
	    !__atomic_compare_exchange_n(shared_slot(), &none, id, false,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		either(m, destroy(shared.iommufd, id));
}

static void race_destroy(struct model *m)
{
	u32 *slot = shared_slot();
	u32 id = __atomic_load_n(slot, __ATOMIC_RELAXED);

	if (either(m, destroy(shared.iommufd, id ?: NO_ID)) != -EBUSY)
		__atomic_compare_exchange_n(slot, &id, 0, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* A copy can also be of what another thread has to itself */
static void race_map(struct model *m)
{
	u64 iova = thread_iova(below(nr_threads)) + SZ_4G * 5 +
		   below(NR_SLOTS) * page_size;
	u32 id = shared_id();

	if (one_in(2))
		either(m, map(shared.iommufd, id, arena + some_offset(),
			      some_length(), shared_iova()));
	else if (one_in(2))
		either(m, copy(shared.iommufd, shared.ioas, iova, page_size, id,
			       shared_iova()));
	else
		either(m, copy(shared.iommufd, shared_id(), shared_iova(),
			       page_size, id, shared_iova()));
}

static void race_unmap(struct model *m)
{
	bool all = one_in(20);

	either(m, unmap(shared.iommufd, shared_id(), all ? 0 : shared_iova(),
			all ? ~0ULL : MAX_MAP_PAGES * page_size));
}

static void race_get_pa(struct model *m)
{
	u64 iova = shared_iova() + below(page_size);
	u64 length = MAX_MAP_PAGES * page_size;
	u64 pa;

	if (either(m, get_pa(shared.iommufd, shared_id(), iova, &length, &pa)))
		return;
	expect(m, "the offset", pa % page_size, iova % page_size);
	expect(m, "an address of the memory", is_arena_pa(pa) &&
	       is_arena_pa(pa + length - 1), true);
}

static void race_attach(struct model *m)
{
	if (one_in(4))
		expect_result(m, cdev_detach(shared.cdev), true);
	else
		either(m, cdev_attach_to(shared.cdev, one_in(4) ?
					 shared.ioas : shared_id()));
}

/* What the model knows of: the others must not change the answers */
static void race_own(struct model *m)
{
	some_call(m, calls, NR_OWN_CALLS);
}

static const struct call races[] = {
	{ "own", race_own, 7 },
	{ "racing HWPT_ALLOC or IOAS_ALLOC", race_alloc, 1 },
	{ "racing DESTROY", race_destroy, 1 },
	{ "racing MAP or COPY", race_map, 2 },
	{ "racing UNMAP", race_unmap, 1 },
	{ "racing GET_PA", race_get_pa, 3 },
	{ "racing ATTACH or DETACH", race_attach, 1 },
};

static void *thread_run(void *arg)
{
	struct model *m = arg;

	args_init();
	rng_init(seed + m->nr + 1);
	while (m->calls < max_calls / nr_threads)
		some_call(m, races, ARRAY_SIZE(races));
	return NULL;
}

static void fuzz_threads(void)
{
	static struct model models[MAX_THREADS];
	unsigned long all = 0, succeeded = 0;
	struct model *m;
	u32 hwpt;

	memset(models, 0, sizeof(models));
	memset(shared_ids, 0, sizeof(shared_ids));
	device_open(&shared);
	VFIO_ASSERT_EQ(ioas_alloc(shared.iommufd, &shared.ioas), 0);
	/* So that the addresses in this one are there whatever is attached */
	VFIO_ASSERT_EQ(hwpt_alloc(shared.iommufd, shared.devid, shared.ioas, 0,
				  &hwpt), 0);
	for (m = models; m != models + nr_threads; m++) {
		m->nr = m - models;
		m->n = shared;
		m->iova = thread_iova(m->nr);
		m->ioas[0].id = shared.ioas;
		m->hwpts[0] = (struct model_hwpt){ hwpt, &m->ioas[0] };
		VFIO_ASSERT_EQ(pthread_create(&m->thread, NULL, thread_run, m),
			       0);
	}
	for (m = models; m != models + nr_threads; m++) {
		VFIO_ASSERT_EQ(pthread_join(m->thread, NULL), 0);
		all += m->calls;
		succeeded += m->succeeded;
	}
	noiommu_close(&shared);
	ksft_print_msg("%lu calls of %u threads, of which %lu succeeded\n",
		       all, nr_threads, succeeded);
}

static void parse_options(int argc, char *argv[])
{
	int c;

	seed = default_seed();
	while ((c = getopt(argc, argv, "s:n:j:")) != -1) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (c == 'n')
			max_calls = strtoul(optarg, NULL, 0);
		else if (c == 'j')
			nr_threads = strtoul(optarg, NULL, 0);
		else
			nr_threads = 0;
	}
	if (optind != argc || !max_calls || !nr_threads ||
	    nr_threads > MAX_THREADS)
		ksft_exit_fail_msg("Usage: %s [-s SEED] [-n CALLS] [-j THREADS] BDF\n",
				   argv[0]);
}

int main(int argc, char *argv[])
{
	const char *bdf = vfio_selftests_get_bdf(&argc, argv);
	struct counters before;
	time_t start;
	int tries = 0;

	parse_options(argc, argv);
	noiommu_require(bdf);
	cdev_path = vfio_pci_get_cdev_path(bdf);
	page_size = getpagesize();

	ksft_print_header();
	ksft_set_plan(3);
	ksft_print_msg("seed %llu\n", seed);
	arena_init();
	args_init();
	start = time(NULL);
	do {
		read_counters(&before);
		fuzz_model();
		fuzz_threads();
	} while (counters_grew(&before) && ++tries != LEAK_TRIES);

	ksft_test_result_pass("one thread does as the model says\n");
	ksft_test_result_pass("threads\n");
	if (tries == LEAK_TRIES &&
	    others_are_active((time(NULL) - start) / LEAK_TRIES + 1))
		ksft_test_result_code(KSFT_SKIP, "nothing is missing",
				      OTHERS_ACTIVE);
	else
		ksft_test_result(tries != LEAK_TRIES, "nothing is missing\n");
	free((void *)cdev_path);
	ksft_finished();
}
