// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random calls on iommufd and on the cdev of a noiommu device.
 *
 * Usage: vfio_noiommu_fuzz [-s SEED] [-n CALLS] [-t SECONDS] [-j THREADS] BDF
 *
 * First one thread makes calls that are valid, nearly valid or garbage, and a
 * model says what each of them has to do: whether it works, the outputs, and for a
 * physical address what /proc/self/pagemap says. Which errno a wrong call returns
 * depends on the order in which the kernel looks at the arguments, which is its
 * own business: any that says that a call is wrong will do. The same seed makes
 * the same calls. Then threads share the same file descriptors. Nobody knows which
 * call comes first there, but each thread has a range of IOVA to itself, where the
 * answers are exact, and an address that is told anywhere must be of this
 * program's memory. In the end nothing may be missing.
 *
 * All memory stays pinned meanwhile, by an IOAS and a HWPT that no call is made
 * for: else its addresses could change from one mapping to the next.
 *
 * The seed comes from -s or from FUZZ_SEED in the environment, and is 1 without.
 * CALLS, or SECONDS if given, are for each of the two halves.
 */
#include <getopt.h>
#include <pthread.h>
#include <time.h>

#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/sizes.h>

#include <libvfio.h>

#include "noiommu.h"

#define NR_IOAS 4
#define NR_HWPTS 6
#define NR_AREAS 24
#define MAX_THREADS 16

/* The memory: anonymous pages, a memfd and a huge page, a hole after each */
#define NR_PAGES 256
#define NR_HUGE_PAGES 512
#define MEMFD_START (NR_PAGES + 1)
#define HUGE_START 1024
#define ARENA_PAGES (HUGE_START + NR_HUGE_PAGES + 1)
/* Most pages of one mapping, and entries of one array */
#define MAX_MAP_PAGES 16
#define MAX_ENTRIES 40
#define MAX_ENTRY_LEN 256
/* How far mappings are spread out */
#define NR_SLOTS 64

/* Where the struct of an ioctl lies: its end is the end of what is mapped */
#define BUFFER_SIZE 512

static const char *cdev_path;
static size_t page_size;
static void *arena;
static u64 arena_pas[ARENA_PAGES];
static int memfd;
static unsigned long long seed;
static unsigned long max_calls = 1000000;
static unsigned int max_seconds;
static unsigned int nr_threads = 3;

/* Random numbers: xorshift64* */

struct rng {
	u64 state;
};

static void rng_init(struct rng *rng, u64 start)
{
	rng->state = (start + 1) * 0x9e3779b97f4a7c15ULL;
	if (!rng->state)
		rng->state = 1;
}

static u64 rng_next(struct rng *rng)
{
	rng->state ^= rng->state >> 12;
	rng->state ^= rng->state << 25;
	rng->state ^= rng->state >> 27;
	return rng->state * 0x2545f4914f6cdd1dULL;
}

static u64 below(struct rng *rng, u64 limit)
{
	return (rng_next(rng) >> 16) % limit;
}

static bool one_in(struct rng *rng, u64 n)
{
	return !below(rng, n);
}

/* Numbers at which something tends to end */
static u64 edge(struct rng *rng)
{
	static const u64 edges[] = {
		0, 1, 7, 2048, 4095, 4096, 4097, SZ_2M, SZ_4G - 1, SZ_4G,
		1ULL << 47, 1ULL << 63, ~0ULL - 4096, ~0ULL - 4095, ~0ULL - 1,
		~0ULL,
	};

	return edges[below(rng, ARRAY_SIZE(edges))];
}

/* The memory */

static bool arena_is_hole(u64 page)
{
	return page == NR_PAGES || page == HUGE_START + NR_HUGE_PAGES ||
	       (page >= MEMFD_START + NR_PAGES && page < HUGE_START);
}

static bool arena_has_hole(u64 offset, u64 length)
{
	u64 page;

	for (page = offset / page_size;
	     page <= (offset + length - 1) / page_size; page++)
		if (page >= ARENA_PAGES || arena_is_hole(page))
			return true;
	return false;
}

static bool arena_map(u64 page, u64 pages, int flags, int fd)
{
	void *va = mmap(arena + page * page_size, pages * page_size,
			PROT_READ | PROT_WRITE, MAP_FIXED | MAP_POPULATE | flags,
			fd, 0);

	return va != MAP_FAILED;
}

static void arena_init(void)
{
	size_t size = ARENA_PAGES * page_size + SZ_2M;
	void *va;

	/* The huge page wants to be aligned */
	va = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	VFIO_ASSERT_NE(va, MAP_FAILED);
	arena = (void *)(((uintptr_t)va + HUGE_START * page_size + SZ_2M - 1) &
			 ~(SZ_2M - 1ULL)) - HUGE_START * page_size;
	VFIO_ASSERT_TRUE(arena >= va);

	memfd = memfd_create("fuzz", 0);
	VFIO_ASSERT_GE(memfd, 0);
	VFIO_ASSERT_EQ(ftruncate(memfd, NR_PAGES * page_size), 0);

	VFIO_ASSERT_TRUE(arena_map(0, NR_PAGES, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1));
	VFIO_ASSERT_TRUE(arena_map(MEMFD_START, NR_PAGES, MAP_SHARED, memfd));
	if (arena_map(HUGE_START, NR_HUGE_PAGES, MAP_PRIVATE | MAP_ANONYMOUS |
		      MAP_HUGETLB | MAP_HUGE_2MB, -1))
		return;
	ksft_print_msg("there are no free hugetlb pages of 2 MiB\n");
	VFIO_ASSERT_TRUE(arena_map(HUGE_START, NR_HUGE_PAGES,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1));
}

/* For as long as the iommufd is open */
static void arena_pin(const struct noiommu *n)
{
	u32 ioas, hwpt;
	u64 i;

	VFIO_ASSERT_EQ(ioas_alloc(n->iommufd, &ioas), 0);
	VFIO_ASSERT_EQ(hwpt_alloc(n->iommufd, n->devid, ioas, 0, &hwpt), 0);
	for (i = 0; i != ARENA_PAGES; i++) {
		if (arena_is_hole(i))
			continue;
		VFIO_ASSERT_EQ(map(n->iommufd, ioas, arena + i * page_size,
				   page_size, i * page_size), 0);
		arena_pas[i] = pagemap_pa(arena + i * page_size);
	}
}

static u64 arena_pa(u64 offset)
{
	return arena_pas[offset / page_size] + offset % page_size;
}

static bool is_arena_pa(u64 pa)
{
	u64 i;

	for (i = 0; i != ARENA_PAGES; i++)
		if (!arena_is_hole(i) && arena_pas[i] == pa - pa % page_size)
			return true;
	return false;
}

/* What the kernel has to have, as far as the calls can tell */

struct area {
	u64 iova;
	u64 length;
	/* Where it is in the memory */
	u64 offset;
	/* What it was first mapped with */
	bool writeable;
	bool has_hole;
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

struct model {
	struct rng rng;
	unsigned long calls;
	unsigned long succeeded;
	struct noiommu n;
	struct model_ioas ioas[NR_IOAS];
	struct model_hwpt hwpts[NR_HWPTS];
	struct model_hwpt *attached;
	/* For messages */
	const char *what;
};

static struct model_ioas *find_ioas(struct model *m, u32 id)
{
	int i;

	for (i = 0; i != NR_IOAS; i++)
		if (id && m->ioas[i].id == id)
			return &m->ioas[i];
	return NULL;
}

static struct model_hwpt *find_hwpt(struct model *m, u32 id)
{
	int i;

	for (i = 0; i != NR_HWPTS; i++)
		if (id && m->hwpts[i].id == id)
			return &m->hwpts[i];
	return NULL;
}

static struct model_ioas *free_ioas(struct model *m)
{
	int i;

	for (i = 0; i != NR_IOAS; i++)
		if (!m->ioas[i].id)
			return &m->ioas[i];
	return NULL;
}

static struct model_hwpt *free_hwpt(struct model *m)
{
	int i;

	for (i = 0; i != NR_HWPTS; i++)
		if (!m->hwpts[i].id)
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

/* The page table's own, once there is one. Without, any byte can be mapped */
static u64 alignment(struct model *m, struct model_ioas *ioas)
{
	return nr_domains(m, ioas) ? page_size : 1;
}

static struct area *area_at(struct model_ioas *ioas, u64 iova)
{
	unsigned int i;

	for (i = 0; i != ioas->nr_areas; i++)
		if (iova - ioas->areas[i].iova < ioas->areas[i].length)
			return &ioas->areas[i];
	return NULL;
}

/* The first one that overlaps */
static struct area *area_in(struct model_ioas *ioas, u64 iova, u64 last)
{
	unsigned int i;

	for (i = 0; i != ioas->nr_areas; i++)
		if (ioas->areas[i].iova <= last &&
		    ioas->areas[i].iova + ioas->areas[i].length - 1 >= iova)
			return &ioas->areas[i];
	return NULL;
}

/* Sorted, as the kernel has them */
static void area_add(struct model_ioas *ioas, const struct area *area)
{
	unsigned int i = ioas->nr_areas++;

	for (; i && ioas->areas[i - 1].iova > area->iova; i--)
		ioas->areas[i] = ioas->areas[i - 1];
	ioas->areas[i] = *area;
}

static void area_remove(struct model_ioas *ioas, struct area *area)
{
	struct area *end = &ioas->areas[--ioas->nr_areas];

	for (; area != end; area++)
		area[0] = area[1];
}

/* Can there be a new domain for the IOAS, with the areas that it has? */
static bool can_fill(struct model_ioas *ioas)
{
	unsigned int i;
	u64 mask = page_size - 1;

	for (i = 0; i != ioas->nr_areas; i++)
		if (ioas->areas[i].has_hole ||
		    (ioas->areas[i].iova | ioas->areas[i].length |
		     ioas->areas[i].offset) & mask)
			return false;
	return true;
}

/* Random arguments */

/* So large that no object ever has it */
#define NO_ID 0x7fffff00

static u32 some_ioas_id(struct model *m)
{
	u32 id = m->ioas[below(&m->rng, NR_IOAS)].id;

	return id && !one_in(&m->rng, 50) ? id : NO_ID + below(&m->rng, 16);
}

static u32 some_id(struct model *m)
{
	u32 id = 0;

	switch (below(&m->rng, 8)) {
	case 0:
		id = m->n.devid;
		break;
	case 1:
		break;
	case 2:
	case 3:
	case 4:
		id = m->hwpts[below(&m->rng, NR_HWPTS)].id;
		break;
	default:
		id = m->ioas[below(&m->rng, NR_IOAS)].id;
		break;
	}
	return id ?: NO_ID + below(&m->rng, 16);
}

/* From close to 0, from the middle, and up to the end of the IOVA space */
static u64 some_iova(struct model *m)
{
	u64 slot = below(&m->rng, NR_SLOTS) * page_size;

	switch (below(&m->rng, 8)) {
	case 0:
		return slot;
	case 1:
		return slot - NR_SLOTS * page_size;
	default:
		return SZ_4G * 5 + slot;
	}
}

/* Often where something is mapped */
static u64 some_mapped_iova(struct model *m, u32 ioas_id)
{
	struct model_ioas *ioas = find_ioas(m, ioas_id);
	struct area *area;

	if (!ioas || !ioas->nr_areas || one_in(&m->rng, 8))
		return some_iova(m);
	area = &ioas->areas[below(&m->rng, ioas->nr_areas)];
	if (one_in(&m->rng, 2))
		return area->iova;
	return area->iova + below(&m->rng, area->length);
}

static u64 some_length(struct model *m)
{
	return (1 + below(&m->rng, MAX_MAP_PAGES)) * page_size;
}

static u64 some_offset(struct model *m)
{
	/* Holes are rare in what is drawn, and not in what follows it */
	switch (below(&m->rng, 16)) {
	case 0:
		return below(&m->rng, ARENA_PAGES) * page_size;
	case 1 ... 4:
		return (MEMFD_START + below(&m->rng, NR_PAGES - MAX_MAP_PAGES)) *
		       page_size;
	case 5 ... 8:
		return (HUGE_START +
			below(&m->rng, NR_HUGE_PAGES - MAX_MAP_PAGES)) *
		       page_size;
	default:
		return below(&m->rng, NR_PAGES - MAX_MAP_PAGES) * page_size;
	}
}

static u32 some_map_flags(struct model *m)
{
	if (one_in(&m->rng, 32))
		return below(&m->rng, 32);
	return IOMMU_IOAS_MAP_READABLE | (one_in(&m->rng, 4) ? 0 : IOMMU_IOAS_MAP_WRITEABLE) |
	       (one_in(&m->rng, 4) ? 0 : IOMMU_IOAS_MAP_FIXED_IOVA);
}

/* Make one of many valid numbers wrong, or odd */
static void spoil(struct model *m, __u64 *value)
{
	if (!one_in(&m->rng, 40))
		return;
	switch (below(&m->rng, 3)) {
	case 0:
		*value = edge(&m->rng);
		break;
	case 1:
		*value += edge(&m->rng);
		break;
	default:
		*value ^= 1ULL << below(&m->rng, 64);
		break;
	}
}

static void spoil32(struct model *m, u32 *value)
{
	if (one_in(&m->rng, 100))
		*value ^= 1U << below(&m->rng, 32);
}

/* Calls */

static void wrong(struct model *m, const char *why, long long got,
		  long long expected)
{
	VFIO_LOG_AND_EXIT("seed %llu, call %lu, %s: %s is %lld (%#llx), expected %lld (%#llx)",
			  seed, m->calls, m->what, why, got, got, expected,
			  expected);
}

static void expect(struct model *m, const char *why, u64 got, u64 expected)
{
	if (got != expected)
		wrong(m, why, got, expected);
}

/* What a call can say that does not work, and that is not out of memory */
static bool is_refusal(int ret)
{
	static const int errnos[] = {
		EPERM, ENOENT, E2BIG, EBADF, EFAULT, EBUSY, EEXIST, EINVAL,
		ENOTTY, EOPNOTSUPP, EADDRINUSE, EMSGSIZE, EOVERFLOW, ERANGE,
	};
	unsigned int i;

	for (i = 0; i != ARRAY_SIZE(errnos); i++)
		if (ret == -errnos[i])
			return true;
	return false;
}

static void expect_result(struct model *m, int ret, bool works)
{
	if (works)
		expect(m, "errno", ret, 0);
	else if (!is_refusal(ret))
		wrong(m, "errno", ret, -EINVAL);
}

static char *buffer;

static void buffer_init(void)
{
	void *va = mmap(NULL, 2 * page_size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	VFIO_ASSERT_NE(va, MAP_FAILED);
	VFIO_ASSERT_EQ(munmap(va + page_size, page_size), 0);
	buffer = va + page_size - BUFFER_SIZE;
}

/*
 * Choose a size for a struct of an ioctl of iommufd: now and then it is below, at
 * or above what the kernel knows, of which @min is what there has always been.
 * Return whether it can work. What the kernel is not to see of @args becomes 0.
 */
static bool spoil_size(struct model *m, void *args, u32 size, u32 min,
		       u32 *user_size)
{
	*user_size = size;
	memset(buffer, 0, BUFFER_SIZE);
	memcpy(buffer, args, size);
	if (!one_in(&m->rng, 24))
		return true;

	switch (below(&m->rng, 5)) {
	case 0:
		*user_size = below(&m->rng, min);
		return false;
	case 1:
		*user_size = min + below(&m->rng, size - min + 1);
		memset(args + *user_size, 0, size - *user_size);
		return true;
	case 2:
		*user_size = size + 1 + below(&m->rng, BUFFER_SIZE - size);
		return true;
	case 3:
		*user_size = size + 1 + below(&m->rng, BUFFER_SIZE - size);
		buffer[size + below(&m->rng, *user_size - size)] = 1;
		return false;
	default:
		*user_size = BUFFER_SIZE + 1 + below(&m->rng, SZ_2G);
		return false;
	}
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
	u32 user_size, min = old_end - args;
	bool works;

	works = spoil_size(m, args, size, min, &user_size);
	memcpy(buffer, &user_size, sizeof(user_size));
	*ret = do_ioctl(m->n.iommufd, cmd, buffer);
	m->calls++;
	if (!works) {
		expect_result(m, *ret, false);
		return false;
	}
	memcpy(out, buffer, size);
	if (!*ret)
		m->succeeded++;
	return true;
}

static void check_new_id(struct model *m, u32 id)
{
	if (!id || find_ioas(m, id) || find_hwpt(m, id) || id == m->n.devid)
		wrong(m, "the new ID", id, 0);
}

static void call_ioas_alloc(struct model *m)
{
	struct iommu_ioas_alloc args = { .size = sizeof(args) }, out;
	struct model_ioas *ioas = free_ioas(m);
	int ret;

	/* No room to keep it in: only a wrong call can be made */
	spoil32(m, &args.flags);
	if (!ioas)
		args.flags |= 1;
	if (!iommufd_call(m, IOMMU_IOAS_ALLOC, &args, &out,
			  sizeof(args), &args.out_ioas_id + 1, &ret))
		return;
	expect_result(m, ret, !args.flags);
	if (ret)
		return;
	check_new_id(m, out.out_ioas_id);
	ioas->id = out.out_ioas_id;
	ioas->nr_areas = 0;
}

static bool can_destroy(struct model *m, u32 id)
{
	struct model_ioas *ioas = find_ioas(m, id);
	struct model_hwpt *hwpt = find_hwpt(m, id);

	return (ioas && !nr_domains(m, ioas)) || (hwpt && m->attached != hwpt);
}

static void call_destroy(struct model *m)
{
	struct iommu_destroy args = { .size = sizeof(args) }, out;
	struct model_ioas *ioas;
	struct model_hwpt *hwpt;
	u32 id = some_id(m);
	bool works = can_destroy(m, id);
	int ret;

	args.id = id;
	if (!iommufd_call(m, IOMMU_DESTROY, &args, &out,
			  sizeof(args), &args.id + 1, &ret))
		return;
	expect_result(m, ret, works);
	if (ret)
		return;
	ioas = find_ioas(m, id);
	hwpt = find_hwpt(m, id);
	if (ioas)
		ioas->id = 0;
	if (hwpt)
		hwpt->id = 0;
}

/* What mapping needs whatever is mapped already */
static bool are_map_args(u32 flags, u64 iova, u64 length)
{
	return !(flags & ~(IOMMU_IOAS_MAP_FIXED_IOVA |
			   IOMMU_IOAS_MAP_WRITEABLE |
			   IOMMU_IOAS_MAP_READABLE)) &&
	       flags & (IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE) &&
	       iova != ~0ULL && length && length != ~0ULL;
}

static bool has_room(struct model *m, struct model_ioas *ioas, u32 flags,
		     u64 iova, u64 length, u64 offset)
{
	u64 mask = alignment(m, ioas) - 1;

	/* A chosen IOVA is to be as aligned as the memory is */
	if (!(flags & IOMMU_IOAS_MAP_FIXED_IOVA))
		return !((length | offset) & mask) && length < ~0ULL / 2;
	return !((length | iova) & mask) && iova + length - 1 >= iova &&
	       !area_in(ioas, iova, iova + length - 1);
}

/* An IOVA that the kernel has chosen */
static void check_chosen(struct model *m, struct model_ioas *ioas, u64 iova,
			 u64 length)
{
	if (!iova || iova & (alignment(m, ioas) - 1) ||
	    iova + length - 1 < iova ||
	    area_in(ioas, iova, iova + length - 1))
		wrong(m, "the IOVA", iova, 0);
}

static void call_map(struct model *m)
{
	struct iommu_ioas_map args = { .size = sizeof(args) }, out;
	struct area area = {};
	struct model_ioas *ioas;
	bool works;
	int ret;
	u64 va;

	args.flags = some_map_flags(m);
	args.ioas_id = some_ioas_id(m);
	args.length = some_length(m);
	args.iova = some_iova(m);
	area.offset = some_offset(m);
	args.user_va = (uintptr_t)arena + area.offset;
	spoil(m, &args.length);
	spoil(m, &args.iova);
	if (one_in(&m->rng, 40))
		args.user_va += below(&m->rng, page_size);
	spoil32(m, &args.__reserved);
	/* No more than the model can keep */
	ioas = find_ioas(m, args.ioas_id);
	if (ioas && ioas->nr_areas == NR_AREAS)
		args.__reserved = 1;

	area.offset = args.user_va - (uintptr_t)arena;
	area.length = args.length;
	area.writeable = args.flags & IOMMU_IOAS_MAP_WRITEABLE;
	va = args.user_va;

	works = !args.__reserved && ioas &&
		are_map_args(args.flags, args.iova, args.length) &&
		va + args.length >= va && args.length <= -1ULL - page_size &&
		has_room(m, ioas, args.flags, args.iova, args.length,
			 area.offset) &&
		!(area.offset & (alignment(m, ioas) - 1));
	/* Longer than the model can look at */
	if (works && args.length > ARENA_PAGES * page_size) {
		args.length = 0;
		works = false;
	}
	if (works) {
		area.has_hole = arena_has_hole(area.offset, area.length);
		works = !area.has_hole || !nr_domains(m, ioas);
	}

	if (!iommufd_call(m, IOMMU_IOAS_MAP, &args, &out,
			  sizeof(args), &args.iova + 1, &ret))
		return;
	expect_result(m, ret, works);
	if (ret)
		return;
	area.iova = out.iova;
	if (!(args.flags & IOMMU_IOAS_MAP_FIXED_IOVA))
		check_chosen(m, ioas, area.iova, area.length);
	area_add(ioas, &area);
}

static void call_map_file(struct model *m)
{
	struct iommu_ioas_map_file args = { .size = sizeof(args) }, out;
	struct area area = {};
	struct model_ioas *ioas;
	bool works;
	int ret;
	u64 page;

	args.flags = some_map_flags(m);
	args.ioas_id = some_ioas_id(m);
	args.length = some_length(m);
	args.iova = some_iova(m);
	page = below(&m->rng, NR_PAGES - MAX_MAP_PAGES);
	args.start = page * page_size;
	args.fd = one_in(&m->rng, 50) ? -1 : memfd;
	spoil(m, &args.iova);
	ioas = find_ioas(m, args.ioas_id);
	if (one_in(&m->rng, 50) || (ioas && ioas->nr_areas == NR_AREAS))
		args.length = 0;

	works = ioas && args.fd >= 0 &&
		are_map_args(args.flags, args.iova, args.length) &&
		has_room(m, ioas, args.flags, args.iova, args.length,
			 page * page_size);

	area.length = args.length;
	area.offset = (MEMFD_START + page) * page_size;
	area.writeable = args.flags & IOMMU_IOAS_MAP_WRITEABLE;
	if (!iommufd_call(m, IOMMU_IOAS_MAP_FILE, &args, &out,
			  sizeof(args), &args.iova + 1, &ret))
		return;
	expect_result(m, ret, works);
	if (ret)
		return;
	area.iova = out.iova;
	if (!(args.flags & IOMMU_IOAS_MAP_FIXED_IOVA))
		check_chosen(m, ioas, area.iova, area.length);
	area_add(ioas, &area);
}

/* The areas that a range of IOVA is made of, without a gap, or 0 */
static unsigned int slice(struct model_ioas *ioas, u64 iova, u64 length,
			  struct area *parts)
{
	unsigned int nr = 0;
	struct area *area;

	while (length) {
		area = area_at(ioas, iova);
		if (!area)
			return 0;
		parts[nr] = *area;
		parts[nr].offset += iova - area->iova;
		parts[nr].length = min(length, area->length -
				       (iova - area->iova));
		iova += parts[nr].length;
		length -= parts[nr].length;
		nr++;
	}
	return nr;
}

static void call_copy(struct model *m)
{
	struct iommu_ioas_copy args = { .size = sizeof(args) }, out;
	struct model_ioas *src, *dst;
	struct area parts[NR_AREAS];
	unsigned int nr = 0, i;
	bool works;
	int ret;
	u64 iova;

	/* Bit 16 is the kernel's own, with CONFIG_IOMMUFD_TEST */
	args.flags = some_map_flags(m);
	args.src_ioas_id = some_ioas_id(m);
	args.dst_ioas_id = some_ioas_id(m);
	args.length = some_length(m);
	args.src_iova = some_mapped_iova(m, args.src_ioas_id);
	if (!one_in(&m->rng, 20))
		args.src_iova &= ~(page_size - 1);
	args.dst_iova = some_iova(m);
	spoil(m, &args.length);
	spoil(m, &args.src_iova);
	spoil(m, &args.dst_iova);
	src = find_ioas(m, args.src_ioas_id);
	dst = find_ioas(m, args.dst_ioas_id);
	if (src && args.length)
		nr = args.src_iova + args.length - 1 < args.src_iova ? 0 :
			slice(src, args.src_iova, args.length, parts);
	/* No room to remember more */
	if (dst && dst->nr_areas + nr > NR_AREAS)
		args.flags |= 1U << 31;

	works = nr && dst && args.dst_iova != ~0ULL &&
		are_map_args(args.flags, args.src_iova, args.length) &&
		has_room(m, dst, args.flags, args.dst_iova, args.length,
			 parts[0].offset);
	for (i = 0; works && i != nr; i++)
		works = !(args.flags & IOMMU_IOAS_MAP_WRITEABLE &&
			  !parts[i].writeable) &&
			!(parts[i].offset & (alignment(m, dst) - 1)) &&
			!(nr_domains(m, dst) &&
			  arena_has_hole(parts[i].offset, parts[i].length));

	if (!iommufd_call(m, IOMMU_IOAS_COPY, &args, &out,
			  sizeof(args), &args.src_iova + 1, &ret))
		return;
	expect_result(m, ret, works);
	if (ret)
		return;
	iova = out.dst_iova;
	if (!(args.flags & IOMMU_IOAS_MAP_FIXED_IOVA))
		check_chosen(m, dst, iova, args.length);
	for (i = 0; i != nr; i++) {
		parts[i].iova = iova;
		parts[i].has_hole = arena_has_hole(parts[i].offset,
						   parts[i].length);
		iova += parts[i].length;
		area_add(dst, &parts[i]);
	}
}

/*
 * Unmap in the model, which is done up to the first area that is only in part.
 * Return whether there was none.
 */
static bool model_unmap(struct model_ioas *ioas, u64 iova, u64 last,
			u64 *unmapped)
{
	struct area *area;

	*unmapped = 0;
	while ((area = area_in(ioas, iova, last))) {
		if (area->iova < iova || area->iova + area->length - 1 > last)
			return false;
		*unmapped += area->length;
		area_remove(ioas, area);
	}
	return true;
}

static void call_unmap(struct model *m)
{
	struct iommu_ioas_unmap args = { .size = sizeof(args) }, out;
	u64 iova, length, unmapped = 0;
	struct model_ioas *ioas;
	struct area *area;
	bool all, works;
	int ret;

	args.ioas_id = some_ioas_id(m);
	args.iova = some_mapped_iova(m, args.ioas_id);
	args.length = some_length(m);
	ioas = find_ioas(m, args.ioas_id);
	area = ioas ? area_at(ioas, args.iova) : NULL;
	if (area && !one_in(&m->rng, 4)) {
		args.iova = area->iova;
		args.length = area->length;
	}
	if (one_in(&m->rng, 200)) {
		args.iova = 0;
		args.length = ~0ULL;
	}
	spoil(m, &args.iova);
	spoil(m, &args.length);
	iova = args.iova;
	length = args.length;
	all = !iova && length == ~0ULL;

	works = ioas && length &&
		(all || (iova != ~0ULL && length != ~0ULL &&
			 iova + length - 1 >= iova));

	if (!iommufd_call(m, IOMMU_IOAS_UNMAP, &args, &out,
			  sizeof(args), &args.length + 1, &ret))
		return;
	if (works)
		works = model_unmap(ioas, iova,
				    all ? ~0ULL : iova + length - 1,
				    &unmapped) && (unmapped || all);
	expect_result(m, ret, works);
	if (!ret)
		expect(m, "the length", out.length, unmapped);
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

	return !args->flags && !args->__reserved && args->length && ioas &&
	       area_at(ioas, args->iova) && nr_domains(m, ioas);
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
	if (one_in(&m->rng, 16))
		check_pagemap(m, area->offset + inside);
}

static void call_get_pa(struct model *m)
{
	struct iommu_ioas_noiommu_get_pa args = {}, out;
	int ret;

	args.ioas_id = some_ioas_id(m);
	args.iova = some_mapped_iova(m, args.ioas_id);
	args.length = one_in(&m->rng, 4) ? some_length(m) :
					   1 + below(&m->rng, 3 * SZ_64K);
	spoil(m, &args.iova);
	spoil(m, &args.length);
	spoil32(m, &args.flags);
	spoil32(m, &args.__reserved);

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

/* The address of @iova if all that follows in the range or page is contiguous */
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

	if (args->flags || args->__reserved || !args->length ||
	    !args->entry_num || !args->data_uptr || !ioas ||
	    !area_at(ioas, args->iova) || !nr_domains(m, ioas))
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
	static u64 got[MAX_ENTRIES * MAX_ENTRY_LEN / sizeof(u64)];
	struct iommu_ioas_noiommu_get_pa_array args = {}, out;
	int ret;

	memset(got, 0xff, sizeof(got));
	args.ioas_id = some_ioas_id(m);
	args.iova = some_mapped_iova(m, args.ioas_id);
	args.length = one_in(&m->rng, 4) ? some_length(m) :
					   1 + below(&m->rng, 3 * SZ_64K);
	args.data_uptr = (uintptr_t)got;
	args.entry_num = 1 + below(&m->rng, MAX_ENTRIES);
	if (one_in(&m->rng, 2)) {
		args.data_type = IOMMU_NOIOMMU_PA_PAGE;
		args.entry_len = sizeof(u64);
		args.page_size = SZ_4K;
		if (one_in(&m->rng, 4))
			args.page_size <<= below(&m->rng, 12);
	} else {
		args.entry_len = sizeof(struct iommu_noiommu_extent);
		if (one_in(&m->rng, 4))
			args.entry_len += 8 * below(&m->rng, 31);
	}
	spoil(m, &args.iova);
	spoil(m, &args.length);
	spoil32(m, &args.flags);
	spoil32(m, &args.__reserved);
	spoil32(m, &args.data_type);
	spoil32(m, &args.page_size);
	spoil32(m, &args.entry_len);
	if (one_in(&m->rng, 50))
		args.entry_num = 0;
	if (one_in(&m->rng, 50))
		args.data_uptr = 0;

	if (!iommufd_call(m, IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY, &args, &out,
			  sizeof(args), &args + 1, &ret))
		return;
	expect_result(m, ret, can_get_pa_array(m, &args));
	if (!ret)
		check_array(m, &args, &out, got);
}

static bool can_alloc_hwpt(struct model *m, const struct iommu_hwpt_alloc *args)
{
	struct model_ioas *ioas = find_ioas(m, args->pt_id);

	return !args->__reserved && !args->flags && !args->data_type &&
	       !args->data_len && args->dev_id == m->n.devid && ioas &&
	       can_fill(ioas);
}

static void call_hwpt_alloc(struct model *m)
{
	struct iommu_hwpt_alloc args = { .size = sizeof(args) }, out;
	struct model_hwpt *hwpt = free_hwpt(m);
	int ret;

	args.dev_id = one_in(&m->rng, 20) ? some_id(m) : m->n.devid;
	args.pt_id = one_in(&m->rng, 4) ? some_id(m) : some_ioas_id(m);
	spoil32(m, &args.flags);
	spoil32(m, &args.data_type);
	spoil32(m, &args.data_len);
	spoil32(m, &args.__reserved);
	/* One is for the device to be attached to */
	if (!hwpt || one_in(&m->rng, 4))
		args.flags |= 1U << below(&m->rng, 32);

	if (!iommufd_call(m, IOMMU_HWPT_ALLOC, &args, &out,
			  sizeof(args), &args.__reserved + 1, &ret))
		return;
	expect_result(m, ret, can_alloc_hwpt(m, &args));
	if (ret)
		return;
	check_new_id(m, out.out_hwpt_id);
	hwpt->id = out.out_hwpt_id;
	hwpt->ioas = find_ioas(m, args.pt_id);
	hwpt->is_auto = false;
}

static void call_iova_ranges(struct model *m)
{
	struct iommu_ioas_iova_ranges args = { .size = sizeof(args) }, out;
	struct iommu_iova_range range = {};
	struct model_ioas *ioas;
	bool works;
	int ret;

	args.ioas_id = some_ioas_id(m);
	args.num_iovas = below(&m->rng, 3);
	args.allowed_iovas = (uintptr_t)&range;
	spoil32(m, &args.__reserved);
	ioas = find_ioas(m, args.ioas_id);
	works = !args.__reserved && ioas && args.num_iovas;
	/* The room for an array of them */
	args.num_iovas = !!args.num_iovas;

	if (!iommufd_call(m, IOMMU_IOAS_IOVA_RANGES, &args, &out,
			  sizeof(args), &args.out_iova_alignment + 1, &ret))
		return;
	expect_result(m, ret, works);
	if (ret)
		return;
	expect(m, "the number of ranges", out.num_iovas, 1);
	expect(m, "the alignment", out.out_iova_alignment, alignment(m, ioas));
	expect(m, "the start of the range", range.start, 0);
	expect(m, "the end of the range", range.last, ~0ULL);
}

static void call_option(struct model *m)
{
	struct iommu_option args = { .size = sizeof(args) }, out;
	bool works = false;
	int ret;

	args.option_id = below(&m->rng, 3);
	args.op = IOMMU_OPTION_OP_GET;
	args.val64 = 7;
	spoil32(m, &args.option_id);
	if (args.option_id == IOMMU_OPTION_RLIMIT_MODE) {
		/* Too late to set it */
		args.op = below(&m->rng, 2) ? IOMMU_OPTION_OP_GET :
					      IOMMU_OPTION_OP_SET;
		works = args.op == IOMMU_OPTION_OP_GET;
	} else if (args.option_id == IOMMU_OPTION_HUGE_PAGES) {
		args.object_id = some_ioas_id(m);
		works = find_ioas(m, args.object_id);
	}

	if (!iommufd_call(m, IOMMU_OPTION, &args, &out,
			  sizeof(args), &args.val64 + 1, &ret))
		return;
	expect_result(m, ret, works);
	if (!ret)
		expect(m, "the value", out.val64,
		       args.option_id == IOMMU_OPTION_HUGE_PAGES);
}

/* What a noiommu device has none of */
static void call_refused(struct model *m)
{
	struct iommu_hw_info info = { .size = sizeof(info) }, info_out;
	struct iommu_viommu_alloc viommu = { .size = sizeof(viommu) };
	struct iommu_viommu_alloc viommu_out;
	int ret;

	if (one_in(&m->rng, 2)) {
		info.dev_id = some_id(m);
		if (!iommufd_call(m, IOMMU_GET_HW_INFO, &info, &info_out,
				  sizeof(info), &info.__reserved + 1, &ret))
			return;
		expect_result(m, ret, false);
		return;
	}
	viommu.dev_id = some_id(m);
	viommu.hwpt_id = some_id(m);
	viommu.type = below(&m->rng, 4);
	spoil32(m, &viommu.flags);
	if (!iommufd_call(m, IOMMU_VIOMMU_ALLOC, &viommu, &viommu_out,
			  sizeof(viommu), &viommu.out_viommu_id + 1, &ret))
		return;
	expect_result(m, ret, false);
}

static void garbage(struct rng *rng, void *args, size_t size)
{
	u64 number;
	size_t i;

	for (i = 0; i != size; i += sizeof(number)) {
		number = rng_next(rng) | 1ULL << 40 | 1ULL << 30;
		memcpy(args + i, &number, sizeof(number));
	}
}

/* It must be refused, and change nothing that the other calls would see */
static void call_garbage(struct model *m)
{
	/* Up to the one that the iommufd selftest has */
	unsigned long cmd = _IO(IOMMUFD_TYPE, IOMMUFD_CMD_BASE +
				below(&m->rng, 32));
	u32 size = below(&m->rng, 2) ? below(&m->rng, 80) :
				       rng_next(&m->rng);
	int ret;

	memset(buffer, 0, BUFFER_SIZE);
	garbage(&m->rng, buffer, 128);
	memcpy(buffer, &size, sizeof(size));
	if (one_in(&m->rng, 8))
		cmd |= (u64)below(&m->rng, 4) << _IOC_DIRSHIFT;
	ret = do_ioctl(m->n.iommufd, cmd,
		       one_in(&m->rng, 16) ? buffer + BUFFER_SIZE : buffer);
	m->calls++;
	expect_result(m, ret, false);
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

static bool can_attach(struct model *m, u32 pt_id)
{
	struct model_ioas *ioas = find_ioas(m, pt_id);

	if (ioas)
		return auto_hwpt(m, ioas) || can_fill(ioas);
	return find_hwpt(m, pt_id);
}

static void call_attach(struct model *m)
{
	struct vfio_device_attach_iommufd_pt args = { .argsz = sizeof(args) };
	struct model_hwpt *hwpt, *new_hwpt = free_hwpt(m);
	struct model_ioas *ioas;
	bool works;
	int ret;

	args.pt_id = some_id(m);
	ioas = find_ioas(m, args.pt_id);
	if (ioas && !auto_hwpt(m, ioas) && !new_hwpt)
		args.pt_id = NO_ID;
	if (one_in(&m->rng, 30))
		args.argsz = below(&m->rng, 16);
	if (one_in(&m->rng, 30))
		args.flags = 1U << below(&m->rng, 32);
	if (one_in(&m->rng, 30)) {
		args.flags = VFIO_DEVICE_ATTACH_PASID;
		args.pasid = below(&m->rng, 3);
	}

	works = args.argsz >= offsetof(typeof(args), pasid) && !args.flags &&
		can_attach(m, args.pt_id);

	ret = do_ioctl(m->n.cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args);
	m->calls++;
	expect_result(m, ret, works);
	if (ret)
		return;
	m->succeeded++;
	/* Of two that are there at once the new one cannot have the old ID */
	hwpt = find_hwpt(m, args.pt_id);
	if (!hwpt) {
		check_new_id(m, args.pt_id);
		hwpt = new_hwpt;
		hwpt->id = args.pt_id;
		hwpt->ioas = ioas;
		hwpt->is_auto = true;
	} else if (ioas) {
		expect(m, "the HWPT", args.pt_id, auto_hwpt(m, ioas)->id);
	}
	if (hwpt != m->attached)
		model_detach(m);
	m->attached = hwpt;
}

static void call_detach(struct model *m)
{
	struct vfio_device_detach_iommufd_pt args = { .argsz = sizeof(args) };
	bool works = true;
	int ret;

	if (one_in(&m->rng, 20)) {
		args.argsz = below(&m->rng, 8);
		works = false;
	} else if (one_in(&m->rng, 20)) {
		args.flags = 2 << below(&m->rng, 31);
		works = !args.flags;
	}
	ret = do_ioctl(m->n.cdev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &args);
	m->calls++;
	expect_result(m, ret, works);
	if (ret)
		return;
	m->succeeded++;
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

	if (!one_in(&m->rng, 50)) {
		expect_result(m, cdev_bind(m->n.cdev, m->n.iommufd, &devid),
			      false);
		m->calls++;
		return;
	}
	VFIO_ASSERT_EQ(close(m->n.cdev), 0);
	model_detach(m);
	bind_device(&m->n);
	m->calls += 3;
	if (find_ioas(m, m->n.devid) || find_hwpt(m, m->n.devid))
		wrong(m, "the new ID", m->n.devid, 0);
}

static void call_info(struct model *m)
{
	struct vfio_device_info args = { .argsz = sizeof(args) };
	int ret;

	if (one_in(&m->rng, 2))
		args.argsz = below(&m->rng, 32);
	ret = do_ioctl(m->n.cdev, VFIO_DEVICE_GET_INFO, &args);
	m->calls++;
	expect_result(m, ret, args.argsz >= offsetof(typeof(args), cap_offset));
}

static const struct call {
	const char *name;
	void (*fn)(struct model *m);
	unsigned int weight;
} calls[] = {
	{ "IOAS_ALLOC", call_ioas_alloc, 3 },
	{ "DESTROY", call_destroy, 4 },
	{ "MAP", call_map, 14 },
	{ "MAP_FILE", call_map_file, 5 },
	{ "COPY", call_copy, 6 },
	{ "UNMAP", call_unmap, 14 },
	{ "GET_PA", call_get_pa, 25 },
	{ "GET_PA_ARRAY", call_get_pa_array, 25 },
	{ "HWPT_ALLOC", call_hwpt_alloc, 3 },
	{ "IOVA_RANGES", call_iova_ranges, 4 },
	{ "OPTION", call_option, 5 },
	{ "GET_HW_INFO or VIOMMU_ALLOC", call_refused, 5 },
	{ "garbage", call_garbage, 20 },
	{ "ATTACH", call_attach, 4 },
	{ "DETACH", call_detach, 1 },
	{ "BIND or close", call_reopen, 1 },
	{ "GET_INFO", call_info, 4 },
};

static const struct call *some_call(struct rng *rng)
{
	unsigned int sum = 0, i;

	for (i = 0; i != ARRAY_SIZE(calls); i++)
		sum += calls[i].weight;
	sum = below(rng, sum);
	for (i = 0; sum >= calls[i].weight; i++)
		sum -= calls[i].weight;
	return &calls[i];
}

static time_t started;

static bool is_enough(unsigned long done, unsigned long all)
{
	if (!max_seconds)
		return done >= all;
	return time(NULL) - started >= max_seconds;
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
	const struct call *call;

	memset(&m, 0, sizeof(m));
	rng_init(&m.rng, seed);
	device_open(&m.n);
	started = time(NULL);
	while (!is_enough(m.calls, max_calls)) {
		call = some_call(&m.rng);
		m.what = call->name;
		call->fn(&m);
	}
	noiommu_close(&m.n);
	ksft_print_msg("%lu calls of one thread, of which %lu succeeded\n",
		       m.calls, m.succeeded);
}

/* Threads that share the file descriptors */

#define NR_SHARED_IDS 8

static struct noiommu shared;
/* Whatever has been made by any of them. Unlike shared.ioas it can go away */
static u32 shared_ids[NR_SHARED_IDS];

struct worker {
	pthread_t thread;
	unsigned int nr;
	struct rng rng;
	unsigned long calls;
	unsigned long succeeded;
	const char *what;
	/* In the IOAS that stays, in a range that nobody else uses */
	u64 iova;
	u64 length;
	u64 offset;
	bool mapped;
};

/* One of @errnos, which end with 0, or success */
static void expect_one_of(struct worker *w, int ret, const int *errnos)
{
	w->calls++;
	if (!ret) {
		w->succeeded++;
		return;
	}
	for (; *errnos; errnos++)
		if (ret == -*errnos)
			return;
	VFIO_LOG_AND_EXIT("seed %llu, thread %u, %s: errno %d", seed, w->nr,
			  w->what, -ret);
}

#define EXPECT(_w, _ret, ...)						\
	expect_one_of(_w, _ret, (const int []) { __VA_ARGS__, 0 })

static void expect_exactly(struct worker *w, u64 got, u64 expected)
{
	w->calls++;
	if (got != expected)
		VFIO_LOG_AND_EXIT("seed %llu, thread %u, %s: got %#llx, expected %#llx",
				  seed, w->nr, w->what, (long long)got,
				  (long long)expected);
}

static u64 worker_offset(struct worker *w)
{
	u64 start = one_in(&w->rng, 3) ? HUGE_START :
		    one_in(&w->rng, 2) ? MEMFD_START : 0;

	return (start + below(&w->rng, NR_PAGES - MAX_MAP_PAGES)) * page_size;
}

static u64 worker_length(struct worker *w)
{
	return (1 + below(&w->rng, MAX_MAP_PAGES)) * page_size;
}

static void own_map(struct worker *w)
{
	u64 length = 1, pa;

	w->iova = ((u64)w->nr + 1) << 40 | below(&w->rng, NR_SLOTS) * page_size;
	w->length = worker_length(w);
	w->offset = worker_offset(w);
	w->what = "GET_PA of what is not mapped";
	expect_exactly(w, get_pa(shared.iommufd, shared.ioas, w->iova, &length,
				 &pa), -ENOENT);
	w->what = "MAP";
	expect_exactly(w, map(shared.iommufd, shared.ioas, arena + w->offset,
			      w->length, w->iova), 0);
	w->mapped = true;
}

static void own_unmap(struct worker *w)
{
	w->what = "MAP over a mapping";
	expect_exactly(w, map(shared.iommufd, shared.ioas, arena, page_size,
			      w->iova + w->length - page_size), -EEXIST);
	w->what = "UNMAP";
	expect_exactly(w, unmap(shared.iommufd, shared.ioas, w->iova,
				w->length), 0);
	w->mapped = false;
}

static void own_get_pa(struct worker *w)
{
	u64 inside = below(&w->rng, w->length);
	u64 length = w->length, pa = 0;

	w->what = "GET_PA";
	expect_exactly(w, get_pa(shared.iommufd, shared.ioas, w->iova + inside,
				 &length, &pa), 0);
	expect_exactly(w, pa, arena_pa(w->offset + inside));
	expect_exactly(w, length, contiguous(w->offset + inside,
					     w->length - inside));
}

static void own_get_extents(struct worker *w)
{
	struct iommu_noiommu_extent extents[MAX_MAP_PAGES];
	u32 num = MAX_MAP_PAGES, i;
	u64 length = w->length, done = 0;

	w->what = "GET_PA_ARRAY of extents";
	expect_exactly(w, get_extents(shared.iommufd, shared.ioas, w->iova,
				      &length, extents, &num), 0);
	expect_exactly(w, length, w->length);
	for (i = 0; i != num; i++) {
		expect_exactly(w, extents[i].phys, arena_pa(w->offset + done));
		done += extents[i].length;
	}
	expect_exactly(w, done, w->length);
}

static void own_get_pages(struct worker *w)
{
	u64 pages[MAX_MAP_PAGES];
	u32 num = MAX_MAP_PAGES, i;
	u64 length = w->length;

	w->what = "GET_PA_ARRAY of pages";
	expect_exactly(w, get_pages(shared.iommufd, shared.ioas, w->iova,
				    &length, pages, &num, page_size), 0);
	expect_exactly(w, length, w->length);
	expect_exactly(w, num, w->length / page_size);
	for (i = 0; i != num; i++)
		expect_exactly(w, pages[i],
			       arena_pa(w->offset + i * page_size));
}

static void worker_own(struct worker *w)
{
	if (!w->mapped)
		own_map(w);
	else if (one_in(&w->rng, 4))
		own_unmap(w);
	else if (one_in(&w->rng, 2))
		own_get_pa(w);
	else if (one_in(&w->rng, 2))
		own_get_extents(w);
	else
		own_get_pages(w);
}

static u32 *shared_slot(struct worker *w)
{
	return &shared_ids[below(&w->rng, NR_SHARED_IDS)];
}

static u32 shared_id(struct worker *w)
{
	return __atomic_load_n(shared_slot(w), __ATOMIC_RELAXED) ?: NO_ID;
}

/* Somebody else may have made one meanwhile */
static void worker_publish(struct worker *w, u32 id)
{
	u32 none = 0;

	if (!__atomic_compare_exchange_n(shared_slot(w), &none, id, false,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		w->what = "DESTROY of what is not shared";
		EXPECT(w, destroy(shared.iommufd, id), EBUSY, ENOENT);
	}
}

static void worker_alloc(struct worker *w)
{
	u32 id;

	if (one_in(&w->rng, 2)) {
		w->what = "IOAS_ALLOC";
		expect_exactly(w, ioas_alloc(shared.iommufd, &id), 0);
	} else {
		int ret;

		w->what = "HWPT_ALLOC";
		ret = hwpt_alloc(shared.iommufd, shared.devid, one_in(&w->rng, 3) ?
				 shared.ioas : shared_id(w), 0, &id);
		EXPECT(w, ret, EINVAL, EOPNOTSUPP);
		if (ret)
			return;
	}
	worker_publish(w, id);
}

static void worker_destroy(struct worker *w)
{
	u32 *slot = shared_slot(w);
	u32 id = __atomic_load_n(slot, __ATOMIC_RELAXED);
	int ret;

	w->what = "DESTROY";
	ret = destroy(shared.iommufd, id ?: NO_ID);
	EXPECT(w, ret, ENOENT, EBUSY);
	if (ret != -EBUSY)
		__atomic_compare_exchange_n(slot, &id, 0, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static u64 shared_iova(struct worker *w)
{
	return SZ_4G + below(&w->rng, NR_SLOTS) * page_size;
}

static void worker_map(struct worker *w)
{
	w->what = "MAP of something shared";
	EXPECT(w, map(shared.iommufd, shared_id(w), arena + worker_offset(w),
		      worker_length(w), shared_iova(w)), ENOENT, EEXIST);
}

static void worker_unmap(struct worker *w)
{
	w->what = "UNMAP of something shared";
	if (one_in(&w->rng, 20))
		EXPECT(w, unmap(shared.iommufd, shared_id(w), 0, ~0ULL), ENOENT,
		       EBUSY);
	else
		EXPECT(w, unmap(shared.iommufd, shared_id(w), shared_iova(w),
				MAX_MAP_PAGES * page_size), ENOENT, EBUSY);
}

/* Also out of the range of another thread */
static void worker_copy(struct worker *w)
{
	u64 iova = ((u64)below(&w->rng, nr_threads) + 1) << 40 |
		   below(&w->rng, NR_SLOTS) * page_size;

	w->what = "COPY";
	if (one_in(&w->rng, 2))
		EXPECT(w, copy(shared.iommufd, shared.ioas, iova, page_size,
			       shared_id(w), shared_iova(w)), ENOENT, EEXIST);
	else
		EXPECT(w, copy(shared.iommufd, shared_id(w), shared_iova(w),
			       page_size, shared_id(w), shared_iova(w)),
		       ENOENT, EEXIST);
}

static void worker_get_pa(struct worker *w)
{
	u64 iova = shared_iova(w) + below(&w->rng, page_size);
	u64 length = MAX_MAP_PAGES * page_size;
	u64 pa;
	int ret;

	w->what = "GET_PA of something shared";
	ret = get_pa(shared.iommufd, shared_id(w), iova, &length, &pa);
	EXPECT(w, ret, ENOENT, EOPNOTSUPP);
	if (ret)
		return;
	expect_exactly(w, pa % page_size, iova % page_size);
	expect_exactly(w, is_arena_pa(pa), true);
	expect_exactly(w, is_arena_pa(pa + length - 1), true);
}

static void worker_attach(struct worker *w)
{
	if (one_in(&w->rng, 4)) {
		w->what = "DETACH";
		expect_exactly(w, cdev_detach(shared.cdev), 0);
		return;
	}
	w->what = "ATTACH";
	EXPECT(w, cdev_attach_to(shared.cdev, one_in(&w->rng, 4) ? shared.ioas :
				 shared_id(w)), ENOENT, EINVAL);
}

static void worker_garbage(struct worker *w)
{
	char args[128];
	u32 size = below(&w->rng, sizeof(args));
	int ret;

	garbage(&w->rng, args, sizeof(args));
	memcpy(args, &size, sizeof(size));
	ret = do_ioctl(shared.iommufd, _IO(IOMMUFD_TYPE, IOMMUFD_CMD_BASE +
					   below(&w->rng, 32)), args);
	w->what = "garbage";
	if (is_refusal(ret))
		w->calls++;
	else
		expect_exactly(w, ret, -EINVAL);
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;

	while (!is_enough(w->calls, max_calls / nr_threads)) {
		switch (below(&w->rng, 16)) {
		case 0:
			worker_alloc(w);
			break;
		case 1:
			worker_destroy(w);
			break;
		case 2:
			worker_map(w);
			break;
		case 3:
			worker_unmap(w);
			break;
		case 4:
			worker_copy(w);
			break;
		case 5:
			worker_attach(w);
			break;
		case 6:
		case 7:
			worker_garbage(w);
			break;
		case 8 ... 10:
			worker_get_pa(w);
			break;
		default:
			worker_own(w);
			break;
		}
	}
	return NULL;
}

static void fuzz_threads(void)
{
	static struct worker workers[MAX_THREADS];
	unsigned long all = 0, succeeded = 0;
	unsigned int i;
	u32 hwpt;

	memset(workers, 0, sizeof(workers));
	memset(shared_ids, 0, sizeof(shared_ids));
	device_open(&shared);
	VFIO_ASSERT_EQ(ioas_alloc(shared.iommufd, &shared.ioas), 0);
	/* So that the addresses in this one are there whatever is attached */
	VFIO_ASSERT_EQ(hwpt_alloc(shared.iommufd, shared.devid, shared.ioas, 0,
				  &hwpt), 0);
	started = time(NULL);
	for (i = 0; i != nr_threads; i++) {
		workers[i].nr = i;
		rng_init(&workers[i].rng, seed + i + 1);
		VFIO_ASSERT_EQ(pthread_create(&workers[i].thread, NULL,
					      worker_run, &workers[i]), 0);
	}
	for (i = 0; i != nr_threads; i++) {
		VFIO_ASSERT_EQ(pthread_join(workers[i].thread, NULL), 0);
		all += workers[i].calls;
		succeeded += workers[i].succeeded;
	}
	noiommu_close(&shared);
	ksft_print_msg("%lu calls of %u threads, of which %lu succeeded\n",
		       all, nr_threads, succeeded);
}

static void usage(const char *name)
{
	printf("Usage: %s [-s SEED] [-n CALLS] [-t SECONDS] [-j THREADS] BDF\n",
	       name);
	exit(KSFT_FAIL);
}

static void parse_options(int argc, char *argv[])
{
	const char *text = getenv("FUZZ_SEED");
	int c;

	seed = text ? strtoull(text, NULL, 0) : 1;
	while ((c = getopt(argc, argv, "s:n:t:j:")) != -1) {
		switch (c) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			max_calls = strtoul(optarg, NULL, 0);
			break;
		case 't':
			max_seconds = strtoul(optarg, NULL, 0);
			break;
		case 'j':
			nr_threads = strtoul(optarg, NULL, 0);
			break;
		default:
			usage(argv[0]);
		}
	}
	if (optind != argc || !max_calls || !nr_threads ||
	    nr_threads > MAX_THREADS)
		usage(argv[0]);
}

int main(int argc, char *argv[])
{
	const char *bdf = vfio_selftests_get_bdf(&argc, argv);
	struct counters before;
	int tries = 0;

	parse_options(argc, argv);
	noiommu_require(bdf);
	cdev_path = vfio_pci_get_cdev_path(bdf);
	page_size = getpagesize();

	ksft_print_header();
	ksft_set_plan(3);
	ksft_print_msg("seed %llu\n", seed);
	arena_init();
	buffer_init();
	do {
		read_counters(&before);
		fuzz_model();
		fuzz_threads();
	} while (counters_grew(&before) && ++tries != LEAK_TRIES);

	ksft_test_result_pass("one thread does as the model says\n");
	ksft_test_result_pass("threads\n");
	ksft_test_result(tries != LEAK_TRIES, "nothing is missing\n");
	free((void *)cdev_path);
	ksft_finished();
}
