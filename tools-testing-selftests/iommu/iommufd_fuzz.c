// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random calls on an IOAS and its HWPTs.
 *
 * Usage: iommufd_fuzz [-s SEED] [-n CALLS]
 *
 * Calls that are valid, nearly valid or garbage. A model says what each of them
 * has to do: whether it works, the outputs, what the page tables and an access
 * give for an IOVA afterwards. Which errno a wrong call returns depends on the
 * order in which the kernel looks at the arguments, which is its own business:
 * any that says that a call is wrong will do.
 *
 * The HWPTs are those of a mock device, and translate IOVAs. They have one of
 * two formats: pages of 2 KiB and a small aperture, or pages of 4 KiB and all
 * 64 bits.
 *
 * The same seed makes the same calls. It comes from -s or from FUZZ_SEED in the
 * environment, and is 1 without.
 */
#include <getopt.h>

#define __EXPORTED_HEADERS__
#include "iommufd_utils.h"
#include "fuzz.h"

#define NR_IOAS 4
#define NR_HWPTS 6
#define NR_AREAS 24
#define MAX_MAP_PAGES 16
/* Where mappings are: so many pages from some place on */
#define NR_SLOTS 64
/* The memory: private pages, and as many of a memfd. A hole follows. */
#define NR_PAGES 128
/* What call() made of the size of a struct is refused, as it has to be */
#define WRONG_SIZE 1

struct area {
	__u64 iova;
	__u64 length;
	/* Where it is in the memory */
	__u64 offset;
	__u32 flags;
	/* What it was first mapped with */
	bool writeable;
};

struct ioas {
	__u32 id;
	bool small_pages;
	/* A page that cannot be mapped, or 0 */
	__u64 reserved;
	unsigned int nr_areas;
	struct area areas[NR_AREAS];
};

struct hwpt {
	__u32 id;
	struct ioas *ioas;
	bool is_64bit;
};

static struct ioas all_ioas[NR_IOAS];
static struct hwpt all_hwpts[NR_HWPTS];

static int fd;
static __u32 idev_id;
static __u32 access_id;
/* An IOAS that no call is made for: the access is there while it is not used */
static __u32 parking;
static void *user_args;

static unsigned long long seed;
static unsigned long max_calls = 200000;
static unsigned long nr_calls;
static unsigned long nr_successes;
static const char *what;

static void spoil(__u64 *value)
{
	/* Numbers at which something tends to end */
	const __u64 edges[] = {
		0, 1, 7, 2048, 4095, 4096, 1 << 21, MOCK_APERTURE_START,
		MOCK_APERTURE_LAST, 1ULL << 32, 1ULL << 47, 1ULL << 63,
		-PAGE_SIZE, -PAGE_SIZE - 1, -2ULL, -1ULL,
	};

	spoil_by(value, edges[below(ARRAY_SIZE(edges))]);
}

/* The model */

static struct ioas *find_ioas(__u32 id)
{
	int i;

	for (i = 0; i != NR_IOAS; i++)
		if (all_ioas[i].id == id)
			return &all_ioas[i];
	return NULL;
}

static struct hwpt *find_hwpt(__u32 id)
{
	int i;

	for (i = 0; i != NR_HWPTS; i++)
		if (all_hwpts[i].id == id)
			return &all_hwpts[i];
	return NULL;
}

/* The first one without @hwpt */
static struct hwpt *next_hwpt(struct ioas *ioas, struct hwpt *hwpt)
{
	for (hwpt = hwpt ? hwpt + 1 : all_hwpts; hwpt != all_hwpts + NR_HWPTS;
	     hwpt++)
		if (hwpt->id && hwpt->ioas == ioas)
			return hwpt;
	return NULL;
}

/* What an IOAS takes, with the HWPTs that it has */
struct limits {
	__u64 align;
	__u64 start;
	__u64 last;
};

static void add_limits(struct limits *l, bool is_64bit)
{
	if (is_64bit) {
		if (l->align < 4096)
			l->align = 4096;
	} else {
		if (l->align < MOCK_PAGE_SIZE)
			l->align = MOCK_PAGE_SIZE;
		l->start = MOCK_APERTURE_START;
		l->last = MOCK_APERTURE_LAST;
	}
}

static struct limits limits_of(struct ioas *ioas)
{
	struct limits l = { ioas->small_pages ? PAGE_SIZE : 1, 0, -1 };
	struct hwpt *hwpt;

	for (hwpt = next_hwpt(ioas, NULL); hwpt; hwpt = next_hwpt(ioas, hwpt))
		add_limits(&l, hwpt->is_64bit);
	return l;
}

/* The first area that overlaps, or the one at @iova if that is @last as well */
static struct area *area_in(struct ioas *ioas, __u64 iova, __u64 last)
{
	struct area *area, *first = NULL;

	for (area = ioas->areas; area != ioas->areas + ioas->nr_areas; area++)
		if (area->iova <= last && area->iova + area->length - 1 >= iova &&
		    (!first || area->iova < first->iova))
			first = area;
	return first;
}

static bool has_hole(__u64 offset, __u64 length)
{
	return offset >= BUFFER_SIZE || length > BUFFER_SIZE - offset;
}

static bool is_free(struct ioas *ioas, __u64 iova, __u64 length)
{
	struct limits l = limits_of(ioas);
	__u64 last = iova + length - 1;

	return last >= iova && iova >= l.start && last <= l.last &&
	       !area_in(ioas, iova, last) &&
	       !(ioas->reserved && ioas->reserved <= last &&
		 ioas->reserved + PAGE_SIZE > iova);
}

static bool is_aligned(struct ioas *ioas, __u64 align)
{
	__u64 bits = 0;
	unsigned int i;

	for (i = 0; i != ioas->nr_areas; i++)
		bits |= ioas->areas[i].iova | ioas->areas[i].length |
			ioas->areas[i].offset;
	return !(bits & (align - 1));
}

/* Can there be a new HWPT, with the areas that there are? */
static bool can_fill(struct ioas *ioas, bool is_64bit)
{
	struct limits l = limits_of(ioas);
	struct area *area;

	add_limits(&l, is_64bit);
	for (area = ioas->areas; area != ioas->areas + ioas->nr_areas; area++)
		if (has_hole(area->offset, area->length) ||
		    area->iova < l.start ||
		    area->iova + area->length - 1 > l.last)
			return false;
	return is_aligned(ioas, l.align);
}

/* The areas that a range of IOVA is made of, without a gap, or 0 */
static unsigned int slice(struct ioas *ioas, __u64 iova, __u64 length,
			  struct area *parts)
{
	struct area *area;
	unsigned int nr;
	__u64 inside;

	if (!ioas || !length || iova + length - 1 < iova)
		return 0;
	for (nr = 0; length; nr++) {
		area = area_in(ioas, iova, iova);
		if (!area)
			return 0;
		inside = iova - area->iova;
		parts[nr] = *area;
		parts[nr].iova = iova;
		parts[nr].offset += inside;
		parts[nr].length = area->length - inside;
		if (parts[nr].length > length)
			parts[nr].length = length;
		iova += parts[nr].length;
		length -= parts[nr].length;
	}
	return nr;
}

/* Random arguments */

static struct ioas *some_ioas(void)
{
	struct ioas *ioas = &all_ioas[below(NR_IOAS)];

	return ioas->id && !one_in(50) ? ioas : NULL;
}

static __u32 id_of(struct ioas *ioas)
{
	return ioas ? ioas->id : NO_ID + below(16);
}

static __u32 some_id(void)
{
	const __u32 ids[] = {
		0, idev_id, all_ioas[below(NR_IOAS)].id,
		all_hwpts[below(NR_HWPTS)].id,
	};

	return ids[below(ARRAY_SIZE(ids))] ?: NO_ID + below(16);
}

/* Half of the IOAS keep to the small aperture, so that there are such HWPTs */
static __u64 some_iova(struct ioas *ioas)
{
	__u64 slot = below(NR_SLOTS) * PAGE_SIZE;

	if (one_in(8))
		slot += MOCK_PAGE_SIZE;
	if (ioas && (ioas - all_ioas) % 2 && !one_in(16)) {
		switch (below(4)) {
		case 0:
			return slot;
		case 1:
			return slot - NR_SLOTS * PAGE_SIZE;
		}
	}
	switch (below(8)) {
	case 0:
		return MOCK_APERTURE_START + slot -
		       (one_in(16) ? MAX_MAP_PAGES * PAGE_SIZE : 0);
	case 1:
		return MOCK_APERTURE_LAST + 1ULL + slot - NR_SLOTS * PAGE_SIZE;
	default:
		return (1ULL << 30) + slot;
	}
}

static __u64 some_length(void)
{
	return (1 + below(MAX_MAP_PAGES)) * PAGE_SIZE -
	       (one_in(16) ? MOCK_PAGE_SIZE : 0);
}

static __u64 some_mapped_iova(struct ioas *ioas)
{
	struct area *area;

	if (!ioas || !ioas->nr_areas || one_in(8))
		return some_iova(ioas);
	area = &ioas->areas[below(ioas->nr_areas)];
	return area->iova + (one_in(2) ? 0 : below(area->length));
}

static __u32 some_flags(void)
{
	if (one_in(32))
		return below(32);
	return IOMMU_IOAS_MAP_READABLE |
	       (one_in(4) ? 0 : IOMMU_IOAS_MAP_WRITEABLE) |
	       (one_in(8) ? 0 : IOMMU_IOAS_MAP_FIXED_IOVA);
}

/* Calls */

static void expect(const char *why, __u64 got, __u64 expected)
{
	if (got != expected)
		ksft_exit_fail_msg("seed %llu, call %lu, %s: %s is %lld (%#llx), not %lld\n",
				   seed, nr_calls, what, why, got, got, expected);
}

static void expect_at(__u64 iova, const char *why, bool is_so)
{
	if (!is_so)
		ksft_exit_fail_msg("seed %llu, call %lu, %s: IOVA %#llx is not %s\n",
				   seed, nr_calls, what, iova, why);
}

static void expect_result(int ret, bool works)
{
	nr_calls++;
	nr_successes += !ret;
	if (works || !is_refusal(ret))
		expect("errno", ret, works ? 0 : -EINVAL);
}

static int do_ioctl(unsigned long cmd, void *args)
{
	return ioctl(fd, cmd, args) < 0 ? -errno : 0;
}

/* Call with @args, which begin with their size, and have the outputs there */
static int raw_call(unsigned long cmd, void *args)
{
	__u32 size = *(__u32 *)args;
	bool works;
	int ret;

	/* The first version of struct iommu_hwpt_alloc ended after 24 bytes */
	works = put_args(user_args, args, size, size < 24 ? size : 24, false);
	ret = do_ioctl(cmd, user_args);
	if (!works) {
		expect_result(ret, false);
		return WRONG_SIZE;
	}
	memcpy(args, user_args, size);
	return ret;
}

static bool call(unsigned long cmd, void *args, bool works)
{
	int ret = raw_call(cmd, args);

	if (ret != WRONG_SIZE)
		expect_result(ret, works);
	return !ret;
}

static bool translates(struct hwpt *hwpt, __u64 iova, __u64 length,
		       __u64 offset)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_MD_CHECK_MAP,
		.id = hwpt->id,
		.check_map = {
			.iova = iova,
			.length = length,
			.uptr = (uintptr_t)buffer + offset,
		},
	};

	return !do_ioctl(_IOMMU_TEST_CMD(IOMMU_TEST_OP_MD_CHECK_MAP), &cmd);
}

static void check_mapped(struct ioas *ioas, struct area *area)
{
	struct hwpt *hwpt;

	for (hwpt = next_hwpt(ioas, NULL); hwpt; hwpt = next_hwpt(ioas, hwpt))
		expect_at(area->iova, "translated to what is mapped there",
			  translates(hwpt, area->iova, area->length,
				     area->offset));
}

static void check_all_mapped(struct ioas *ioas)
{
	unsigned int i;

	for (i = 0; i != ioas->nr_areas; i++)
		check_mapped(ioas, &ioas->areas[i]);
}

/* One page is enough, as there are many calls */
static void check_unmapped(struct ioas *ioas, struct area *area)
{
	struct hwpt *hwpt;
	__u64 page, size;

	for (hwpt = next_hwpt(ioas, NULL); hwpt; hwpt = next_hwpt(ioas, hwpt)) {
		size = limits_of(ioas).align;
		page = below(area->length / size) * size;
		expect_at(area->iova + page, "unmapped",
			  !translates(hwpt, area->iova + page, size,
				      area->offset + page));
	}
}

static void check_new_id(__u32 id)
{
	if (!id || find_ioas(id) || find_hwpt(id) || id == idev_id)
		expect("the new ID", id, NO_ID);
}

static void call_ioas_alloc(void)
{
	struct iommu_ioas_alloc args = { .size = sizeof(args) };
	struct ioas *ioas = find_ioas(0);
	struct iommu_test_cmd reserve = {
		.size = sizeof(reserve),
		.op = IOMMU_TEST_OP_ADD_RESERVED,
		.add_reserved.length = PAGE_SIZE,
	};

	/* No room to keep it in: only a wrong call can be made */
	spoil32(&args.flags);
	if (!ioas)
		args.flags |= 1;
	if (!call(IOMMU_IOAS_ALLOC, &args, !args.flags))
		return;
	check_new_id(args.out_ioas_id);
	*ioas = (struct ioas){ .id = args.out_ioas_id };
	if (one_in(2))
		return;
	ioas->reserved = (1ULL << 30) + below(NR_SLOTS) * PAGE_SIZE;
	reserve.id = ioas->id;
	reserve.add_reserved.start = ioas->reserved;
	expect_result(do_ioctl(_IOMMU_TEST_CMD(IOMMU_TEST_OP_ADD_RESERVED),
			       &reserve), true);
}

static void call_hwpt_alloc(void)
{
	struct iommu_hwpt_selftest data = {};
	struct iommu_hwpt_alloc args = {
		.size = sizeof(args),
		.dev_id = one_in(30) ? some_id() : idev_id,
		.data_type = IOMMU_HWPT_DATA_SELFTEST,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};
	struct ioas *ioas = some_ioas();
	struct hwpt *hwpt = find_hwpt(0);
	bool is_64bit = one_in(2), works;

	data.pagetable_type = is_64bit ? MOCK_IOMMUPT_AMDV1 :
					 MOCK_IOMMUPT_DEFAULT;
	args.pt_id = id_of(ioas);
	if (!hwpt)
		args.dev_id = NO_ID;
	spoil32(&args.__reserved);
	works = ioas && args.dev_id == idev_id && !args.__reserved &&
		can_fill(ioas, is_64bit);
	if (!call(IOMMU_HWPT_ALLOC, &args, works))
		return;
	check_new_id(args.out_hwpt_id);
	*hwpt = (struct hwpt){ args.out_hwpt_id, ioas, is_64bit };
	check_all_mapped(ioas);
}

static void call_destroy(void)
{
	struct iommu_destroy args = { .size = sizeof(args), .id = some_id() };
	struct ioas *ioas = find_ioas(args.id);
	struct hwpt *hwpt = find_hwpt(args.id);

	if (!call(IOMMU_DESTROY, &args, hwpt || (ioas && !next_hwpt(ioas, NULL))))
		return;
	if (ioas) {
		ioas->id = 0;
		return;
	}
	/* The others keep what they have */
	hwpt->id = 0;
	check_all_mapped(hwpt->ioas);
}

/* What there has to be for any mapping to work */
static bool can_map(struct ioas *ioas, struct area *area)
{
	__u64 mask = ioas ? limits_of(ioas).align - 1 : 0;

	return ioas && area->iova != -1ULL && area->length &&
	       area->length != -1ULL && !(area->length & mask) &&
	       (area->flags &
		(IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)) &&
	       !(area->flags &
		 ~(IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE |
		   IOMMU_IOAS_MAP_READABLE)) &&
	       (!(area->flags & IOMMU_IOAS_MAP_FIXED_IOVA) ||
		(!(area->iova & mask) &&
		 is_free(ioas, area->iova, area->length)));
}

/* Can these bytes be in it, whatever the IOVA is? */
static bool can_hold(struct ioas *ioas, struct area *area)
{
	return !(area->offset & (limits_of(ioas).align - 1)) &&
	       !(next_hwpt(ioas, NULL) && has_hole(area->offset, area->length));
}

static void check_chosen(struct ioas *ioas, struct area *area, __u64 iova)
{
	if (area->flags & IOMMU_IOAS_MAP_FIXED_IOVA)
		expect("the IOVA", iova, area->iova);
	else
		expect_at(iova, "one to choose",
			  iova && !(iova & (limits_of(ioas).align - 1)) &&
			  is_free(ioas, iova, area->length));
	area->iova = iova;
}

static void add_area(struct ioas *ioas, struct area *area)
{
	ioas->areas[ioas->nr_areas++] = *area;
	check_mapped(ioas, area);
}

/* A request to map something, which can be wrong */
static struct area some_area(struct ioas *ioas)
{
	struct area area = {
		.flags = some_flags(),
		.length = some_length(),
		.iova = some_iova(ioas),
	};

	spoil(&area.length);
	spoil(&area.iova);
	/* No more than the model can keep, or can say whether it fits */
	if ((ioas && ioas->nr_areas == NR_AREAS) ||
	    (!(area.flags & IOMMU_IOAS_MAP_FIXED_IOVA) &&
	     area.length > BUFFER_SIZE))
		area.length = 0;
	return area;
}

/* struct iommu_ioas_map_file is the same, but for a file and where in it */
static void call_map(void)
{
	struct ioas *ioas = some_ioas();
	struct area area = some_area(ioas);
	struct iommu_ioas_map args = { .size = sizeof(args) };
	bool file = one_in(3);

	/* The end of the memory is in some mappings */
	area.offset = below(NR_PAGES) * PAGE_SIZE;
	if (one_in(8))
		area.offset += one_in(2) ? MOCK_PAGE_SIZE : below(PAGE_SIZE);
	args.user_va = area.offset;
	if (file || one_in(2))
		area.offset += BUFFER_SIZE / 2;
	if (file) {
		args.__reserved = one_in(50) ? -1 : mfd;
	} else {
		args.user_va = (uintptr_t)buffer + area.offset;
		spoil32(&args.__reserved);
	}

	args.ioas_id = id_of(ioas);
	args.flags = area.flags;
	args.iova = area.iova;
	args.length = area.length;
	area.writeable = area.flags & IOMMU_IOAS_MAP_WRITEABLE;
	if (!call(file ? IOMMU_IOAS_MAP_FILE : IOMMU_IOAS_MAP, &args,
		  args.__reserved == (file ? mfd : 0) && can_map(ioas, &area) &&
			  can_hold(ioas, &area) &&
			  args.user_va + area.length > args.user_va &&
			  area.length <= -1ULL - PAGE_SIZE))
		return;
	check_chosen(ioas, &area, args.iova);
	add_area(ioas, &area);
}

static void call_copy(void)
{
	struct ioas *src = some_ioas(), *dst = some_ioas();
	struct area parts[NR_AREAS], area = some_area(dst);
	struct iommu_ioas_copy args = {
		.size = sizeof(args),
		.src_ioas_id = id_of(src),
		.dst_ioas_id = id_of(dst),
		.src_iova = some_mapped_iova(src),
		.length = area.length,
		.dst_iova = area.iova,
	};
	unsigned int nr, i;
	bool works;

	if (!one_in(20))
		args.src_iova &= -PAGE_SIZE;
	spoil(&args.src_iova);
	nr = slice(src, args.src_iova, area.length, parts);
	works = nr && args.src_iova != -1ULL && can_map(dst, &area);
	for (i = 0; i != nr; i++) {
		works = works && can_hold(dst, &parts[i]) &&
			(parts[i].writeable ||
			 !(area.flags & IOMMU_IOAS_MAP_WRITEABLE));
		/* May work, but only where the size of a page allows for it */
		if ((parts[i].iova - args.src_iova) % PAGE_SIZE)
			area.flags = 0;
	}
	/* No room to remember more */
	if (dst && dst->nr_areas + nr > NR_AREAS)
		area.flags = 0;

	args.flags = area.flags;
	if (!call(IOMMU_IOAS_COPY, &args, works && area.flags))
		return;
	check_chosen(dst, &area, args.dst_iova);
	for (i = 0; i != nr; i++) {
		parts[i].iova += args.dst_iova - args.src_iova;
		parts[i].flags = area.flags;
		add_area(dst, &parts[i]);
	}
}

/*
 * Unmap in the model, which is done up to the first area that is only in part.
 * Return whether there was none.
 */
static bool model_unmap(struct ioas *ioas, __u64 iova, __u64 last,
			__u64 *unmapped)
{
	struct area *area;

	while ((area = area_in(ioas, iova, last))) {
		if (area->iova < iova || area->iova + area->length - 1 > last)
			return false;
		*unmapped += area->length;
		check_unmapped(ioas, area);
		*area = ioas->areas[--ioas->nr_areas];
	}
	return true;
}

static void call_unmap(void)
{
	struct ioas *ioas = some_ioas();
	struct iommu_ioas_unmap args = {
		.size = sizeof(args),
		.ioas_id = id_of(ioas),
		.iova = some_mapped_iova(ioas),
		.length = some_length(),
	};
	struct area *area = ioas ? area_in(ioas, args.iova, args.iova) : NULL;
	__u64 iova, length, unmapped = 0;
	bool all, works;
	int ret;

	if (area && !one_in(4)) {
		args.iova = area->iova;
		args.length = area->length;
	}
	if (one_in(200)) {
		args.iova = 0;
		args.length = -1;
	}
	spoil(&args.iova);
	spoil(&args.length);
	iova = args.iova;
	length = args.length;
	all = !iova && length == -1ULL;

	ret = raw_call(IOMMU_IOAS_UNMAP, &args);
	if (ret == WRONG_SIZE)
		return;
	works = ioas && length &&
		(all || (iova != -1ULL && length != -1ULL &&
			 iova + length - 1 >= iova));
	if (works)
		works = model_unmap(ioas, iova, all ? -1 : iova + length - 1,
				    &unmapped) && (unmapped || all);
	expect_result(ret, works);
	if (!ret)
		expect("the length", args.length, unmapped);
}

static void call_iova_ranges(void)
{
	struct iommu_iova_range got[2] = {}, right[2];
	struct ioas *ioas = some_ioas();
	struct limits l = limits_of(ioas ?: all_ioas);
	struct iommu_ioas_iova_ranges args = {
		.size = sizeof(args),
		.ioas_id = id_of(ioas),
		.num_iovas = below(3),
		.allowed_iovas = (uintptr_t)got,
	};
	unsigned int nr = 1, i;

	spoil32(&args.__reserved);
	right[0] = (struct iommu_iova_range){ l.start, l.last };
	if (ioas && ioas->reserved) {
		nr = 2;
		right[1].start = ioas->reserved + PAGE_SIZE;
		right[1].last = l.last;
		right[0].last = ioas->reserved - 1;
	}

	if (!call(IOMMU_IOAS_IOVA_RANGES, &args,
		  ioas && !args.__reserved && args.num_iovas >= nr))
		return;
	expect("the number of ranges", args.num_iovas, nr);
	expect("the alignment", args.out_iova_alignment, l.align);
	for (i = 0; i != nr; i++) {
		expect("the start of a range", got[i].start, right[i].start);
		expect("the end of a range", got[i].last, right[i].last);
	}
}

/* Can all pages be mapped one by one from now on? */
static bool can_be_small(struct ioas *ioas)
{
	if (ioas->small_pages || !ioas->nr_areas)
		return true;
	return !next_hwpt(ioas, NULL) && is_aligned(ioas, PAGE_SIZE);
}

static void call_option(void)
{
	struct ioas *ioas = some_ioas();
	struct iommu_option args = {
		.size = sizeof(args),
		.option_id = below(3),
		.op = one_in(2) ? IOMMU_OPTION_OP_GET : IOMMU_OPTION_OP_SET,
		.val64 = below(3),
	};
	bool set = args.op == IOMMU_OPTION_OP_SET, works = false;
	__u64 val = args.val64;

	spoil32(&args.option_id);
	if (args.option_id == IOMMU_OPTION_RLIMIT_MODE) {
		/* Too late to set it */
		works = !set;
	} else if (args.option_id == IOMMU_OPTION_HUGE_PAGES) {
		args.object_id = id_of(ioas);
		works = ioas && (!set || val == 1 ||
				 (!val && can_be_small(ioas)));
	}
	if (!call(IOMMU_OPTION, &args, works))
		return;
	if (args.option_id == IOMMU_OPTION_RLIMIT_MODE)
		expect("the value", args.val64, 0);
	else if (set)
		ioas->small_pages = !val;
	else
		expect("the value", args.val64, !ioas->small_pages);
}

/* Read or write what is mapped, as a driver of the kernel does */
static void call_access(void)
{
	static char data[4 * 65536];
	struct ioas *ioas = some_ioas();
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_ACCESS_RW,
		.id = access_id,
		.access_rw = {
			.iova = some_mapped_iova(ioas),
			.length = 1 + below(one_in(2) ? 64 : 3 * PAGE_SIZE),
			.uptr = (uintptr_t)data,
			.flags = one_in(2) ? MOCK_ACCESS_RW_SLOW_PATH : 0,
		},
	};
	struct area parts[NR_AREAS];
	unsigned int nr, i;
	bool write, works;
	char *at = data;
	__u64 n;

	if (!ioas)
		return;
	if (ioas->nr_areas)
		check_mapped(ioas, &ioas->areas[below(ioas->nr_areas)]);
	nr = slice(ioas, cmd.access_rw.iova, cmd.access_rw.length, parts);
	write = one_in(4);
	works = nr;
	for (i = 0; i != nr; i++)
		works &= !has_hole(parts[i].offset, parts[i].length) &&
			 parts[i].flags & (write ? IOMMU_IOAS_MAP_WRITEABLE :
						   IOMMU_IOAS_MAP_READABLE);
	if (write) {
		cmd.access_rw.flags |= MOCK_ACCESS_RW_WRITE;
		n = rnd();
		for (i = 0; i != cmd.access_rw.length; i++)
			data[i] = n++ * 7;
	}
	expect("attaching the access",
	       _test_cmd_access_replace_ioas(fd, access_id, ioas->id), 0);
	expect_result(do_ioctl(_IOMMU_TEST_CMD(IOMMU_TEST_OP_ACCESS_RW), &cmd),
		      works);
	expect("parking the access",
	       _test_cmd_access_replace_ioas(fd, access_id, parking), 0);
	for (i = 0; works && i != nr; at += parts[i++].length) {
		/* The same memory can be there twice: the last is what stays */
		if (write && i != nr - 1)
			continue;
		expect_at(parts[i].iova, "the memory that the access reached",
			  !memcmp(at, buffer + parts[i].offset,
				  parts[i].length));
	}
}

/* It must be refused, and change nothing that the other calls would see */
static void call_garbage(void)
{
	/* Up to the one that is for tests */
	unsigned long cmd = _IO(IOMMUFD_TYPE, IOMMUFD_CMD_BASE + below(32));
	__u32 size = one_in(2) ? below(80) : rnd();
	__u64 *number = user_args;
	int i;

	memset(number, 0, ARGS_SIZE);
	for (i = 0; i != 16; i++)
		number[i] = rnd() | 1ULL << 40 | 1 << 30;
	memcpy(number, &size, sizeof(size));
	if (one_in(8))
		cmd |= below(4) << _IOC_DIRSHIFT;
	expect_result(do_ioctl(cmd, one_in(16) ? user_args + ARGS_SIZE : number),
		      false);
}

static const struct {
	const char *name;
	void (*fn)(void);
	unsigned int weight;
} calls[] = {
	{ "IOAS_ALLOC", call_ioas_alloc, 3 },
	{ "HWPT_ALLOC", call_hwpt_alloc, 6 },
	{ "DESTROY", call_destroy, 4 },
	{ "MAP or MAP_FILE", call_map, 20 },
	{ "COPY", call_copy, 8 },
	{ "UNMAP", call_unmap, 14 },
	{ "IOVA_RANGES", call_iova_ranges, 4 },
	{ "OPTION", call_option, 4 },
	{ "access", call_access, 24 },
	{ "garbage", call_garbage, 10 },
};

static void some_call(void)
{
	unsigned int sum = 0, i;

	for (i = 0; i != ARRAY_SIZE(calls); i++)
		sum += calls[i].weight;
	sum = below(sum);
	for (i = 0; sum >= calls[i].weight; i++)
		sum -= calls[i].weight;
	what = calls[i].name;
	calls[i].fn();
}

static void must(bool works, const char *doing)
{
	if (!works)
		ksft_exit_fail_msg("%s failed: %s\n", doing, strerror(errno));
}

static void setup(void)
{
	__u32 ioas_id;
	char *byte;

	PAGE_SIZE = sysconf(_SC_PAGE_SIZE);
	fd = open("/dev/iommu", O_RDWR);
	if (fd < 0)
		ksft_exit_skip("cannot open /dev/iommu: %s\n", strerror(errno));
	must(!_test_ioctl_ioas_alloc(fd, &ioas_id), "IOMMU_IOAS_ALLOC");
	if (_test_cmd_mock_domain(fd, ioas_id, NULL, NULL, &idev_id))
		ksft_exit_skip("no mock device: needs CONFIG_IOMMUFD_TEST\n");
	must(!_test_ioctl_ioas_alloc(fd, &parking), "IOMMU_IOAS_ALLOC");
	must(!_test_cmd_create_access(fd, parking, &access_id, 0),
	     "IOMMU_TEST_OP_CREATE_ACCESS");

	user_args = alloc_args();
	must(user_args, "mmap()");

	/* With as much behind it that stays a hole */
	BUFFER_SIZE = 2 * NR_PAGES * PAGE_SIZE;
	buffer = mmap(NULL, 2 * BUFFER_SIZE, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(buffer != MAP_FAILED, "mmap()");
	mfd_buffer = buffer + BUFFER_SIZE / 2;
	mfd = memfd_create("fuzz", MFD_CLOEXEC);
	must(mfd >= 0 && !ftruncate(mfd, BUFFER_SIZE / 2), "memfd_create()");
	must(mmap(buffer, BUFFER_SIZE / 2, PROT_READ | PROT_WRITE,
		  MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == buffer &&
	     mmap(mfd_buffer, BUFFER_SIZE / 2, PROT_READ | PROT_WRITE,
		  MAP_FIXED | MAP_SHARED, mfd, 0) == mfd_buffer, "mmap()");
	for (byte = buffer; byte != buffer + BUFFER_SIZE; byte++)
		*byte = rnd() >> 32;
}

/*
 * A kernel without "iommufd: Fix access to foreign memory by an area at the
 * last IOVA" refuses to map two pages there that are not contiguous. Where
 * large pages are disabled it maps and unpins a page of somebody else, so make
 * no call then.
 */
static void check_last_iova(void)
{
	struct iommu_hwpt_selftest data = {
		.pagetable_type = MOCK_IOMMUPT_AMDV1,
	};
	__u64 iova = -2 * PAGE_SIZE;
	__u32 ioas_id, hwpt_id;
	void *pages;

	must(!_test_ioctl_ioas_alloc(fd, &ioas_id), "IOMMU_IOAS_ALLOC");
	must(!_test_cmd_hwpt_alloc(fd, idev_id, ioas_id, 0, 0, &hwpt_id,
				   IOMMU_HWPT_DATA_SELFTEST, &data,
				   sizeof(data)), "IOMMU_HWPT_ALLOC");

	/* The same page twice */
	pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ, MAP_SHARED, mfd, 0);
	must(pages != MAP_FAILED &&
	     mmap(pages + PAGE_SIZE, PAGE_SIZE, PROT_READ,
		  MAP_FIXED | MAP_SHARED, mfd, 0) == pages + PAGE_SIZE,
	     "mmap()");
	must(!_test_ioctl_ioas_map(fd, ioas_id, pages, 2 * PAGE_SIZE, &iova,
				   IOMMU_IOAS_MAP_FIXED_IOVA |
				   IOMMU_IOAS_MAP_READABLE),
	     "mapping to the last IOVAs");
	must(!munmap(pages, 2 * PAGE_SIZE), "munmap()");
	must(!_test_ioctl_destroy(fd, hwpt_id) &&
	     !_test_ioctl_destroy(fd, ioas_id), "IOMMU_DESTROY");
}

/* When all objects are gone, no page of the memory is pinned */
static bool all_unpinned(void)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_MD_CHECK_REFS,
		.check_refs = { .length = BUFFER_SIZE,
				.uptr = (uintptr_t)buffer },
	};

	must(!close(access_id) && !close(fd), "close()");
	fd = open("/dev/iommu", O_RDWR);
	must(fd >= 0, "open()");
	return !do_ioctl(_IOMMU_TEST_CMD(IOMMU_TEST_OP_MD_CHECK_REFS), &cmd);
}

int main(int argc, char *argv[])
{
	int c;

	seed = default_seed();
	while ((c = getopt(argc, argv, "s:n:")) != -1) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (c == 'n')
			max_calls = strtoul(optarg, NULL, 0);
		else
			ksft_exit_fail_msg("Usage: %s [-s SEED] [-n CALLS]\n",
					   argv[0]);
	}

	ksft_print_header();
	rng_init(seed);
	setup();
	check_last_iova();
	ksft_set_plan(2);
	ksft_print_msg("seed %llu\n", seed);
	while (nr_calls < max_calls)
		some_call();
	ksft_print_msg("%lu calls, of which %lu succeeded\n", nr_calls,
		       nr_successes);
	ksft_test_result_pass("all does as the model says\n");
	ksft_test_result(all_unpinned(), "no page stays pinned\n");
	ksft_finished();
}
