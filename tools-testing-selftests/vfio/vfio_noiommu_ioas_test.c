// SPDX-License-Identifier: GPL-2.0-only
/*
 * An IOAS of a device without an IOMMU: physical addresses where pages of the
 * CPU are larger than those of the domain, threads that use it at once, and
 * another device that has an IOMMU.
 *
 * Usage: vfio_noiommu_ioas_test [harness options] BDF [BDF]
 *
 * The first device must have no IOMMU. The tests of noiommu_beside_iommu need a
 * second one, which must have an IOMMU.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "../../../../drivers/iommu/iommufd/iommufd_test.h"
#include "noiommu_test.h"

/* Pages of the domain are not smaller, whatever PAGE_SIZE is */
#define DOMAIN_PAGE SZ_4K

/* A second or so to map, in small pages: the same file over and over */
#define LARGE_SIZE (262144 * page_size)
#define LARGE_FILE (1024 * page_size)
#define LARGE_IOVA (TEST_IOVA * 2)

static const char *bdf2;

FIXTURE(noiommu_ioas) {
	struct noiommu n;
};

FIXTURE_SETUP(noiommu_ioas)
{
	noiommu_open(&self->n, bdf);
	ASSERT_EQ(0, cdev_attach_to(self->n.cdev, self->n.ioas));
}

FIXTURE_TEARDOWN(noiommu_ioas)
{
	noiommu_close(&self->n);
}

/*
 * Map @length bytes from @va on and ask at each page of the domain. The answer
 * has to be what pagemap says, and neither less nor more than what is
 * contiguous in the mapping.
 */
static void check_all(struct __test_metadata *_metadata, struct noiommu *n,
		      char *va, u64 length)
{
	u64 offset, end, out, pa;

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, length, TEST_IOVA));
	for (offset = 0; offset != length; offset += DOMAIN_PAGE) {
		for (end = offset + DOMAIN_PAGE; end != length;
		     end += DOMAIN_PAGE)
			if (pagemap_pa(va + end) !=
			    pagemap_pa(va + offset) + end - offset)
				break;
		out = UINT64_MAX;
		ASSERT_EQ(0, get_pa(n->iommufd, n->ioas, TEST_IOVA + offset,
				    &out, &pa));
		ASSERT_EQ(pagemap_pa(va + offset), pa);
		ASSERT_EQ(end - offset, out);
	}
	ASSERT_EQ(0, unmap(n->iommufd, n->ioas, TEST_IOVA, length));
}

/* A file, and a mapping of it in which all pages are present */
#define FILE_PAGES 64

static int present_file(struct __test_metadata *_metadata, char **file)
{
	int fd = memfd_create("pages", 0);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, ftruncate(fd, FILE_PAGES * page_size));
	*file = mmap(NULL, FILE_PAGES * page_size, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, fd, 0);
	ASSERT_NE(MAP_FAILED, *file);
	return fd;
}

/*
 * With pages of the CPU that are larger than the domain's, the offset of the
 * memory in a page and that of the IOVA are not the same.
 */
TEST_F(noiommu_ioas, offset_in_large_page)
{
	char *file, *va;
	size_t start;
	int fd, i;

	if (page_size == DOMAIN_PAGE)
		SKIP(return, "pages of the CPU are not larger than 4K");

	/* Two pages the wrong way round are not contiguous */
	fd = present_file(_metadata, &file);
	va = mmap(NULL, 2 * page_size, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, va);
	for (i = 0; i != 2; i++)
		ASSERT_EQ(va + i * page_size,
			  mmap(va + i * page_size, page_size,
			       PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd,
			       (1 - i) * page_size));
	for (start = DOMAIN_PAGE; start != page_size; start += DOMAIN_PAGE) {
		check_all(_metadata, &self->n, va + start, page_size);
		check_all(_metadata, &self->n, va + start,
			  page_size - start + DOMAIN_PAGE);
	}
	ASSERT_EQ(0, close(fd));
}

/* The same for two pages that are contiguous. The mapping has parts of them. */
TEST_F(noiommu_ioas, offset_in_adjacent_large_pages)
{
	size_t start;
	char *va;
	int fd, i;

	if (page_size == DOMAIN_PAGE)
		SKIP(return, "pages of the CPU are not larger than 4K");

	fd = present_file(_metadata, &va);
	for (i = 1; i != FILE_PAGES; i++, va += page_size)
		if (pagemap_pa(va + page_size) == pagemap_pa(va) + page_size)
			break;
	if (i == FILE_PAGES)
		SKIP(return, "no two pages of the file are adjacent");
	for (start = DOMAIN_PAGE; start != page_size; start += DOMAIN_PAGE)
		check_all(_metadata, &self->n, va + start,
			  2 * page_size - start - DOMAIN_PAGE);
	ASSERT_EQ(0, close(fd));
}

/* Faults are injected into mock devices, which this one is not */
TEST_F(noiommu_ioas, refuse_to_trigger_a_fault)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_TRIGGER_IOPF,
		.trigger_iopf.dev_id = self->n.devid,
	};
	int ret = do_ioctl(self->n.iommufd, IOMMU_TEST_CMD, &cmd);

	if (ret == -ENOTTY)
		SKIP(return, "needs CONFIG_IOMMUFD_TEST");
	ASSERT_EQ(-EINVAL, ret);
}

/* A look at what is mapped does not wait for what other threads do */

struct shared {
	struct noiommu n;
	u32 ioas2;
	u32 hwpt;
	char *large;
};

FIXTURE(noiommu_threads) {
	struct shared s;
};

/* What a thread does, and how far it is */
struct work {
	int (*function)(struct shared *s);
	struct shared *s;
	pthread_t thread;
	atomic_bool started;
	atomic_bool done;
	u64 ns;
	int ret;
};

/* A file of pages that are not contiguous: those between are of another one */
static int scattered_file(size_t size)
{
	const char zero = 0;
	int fds[2];
	size_t i;

	fds[0] = memfd_create("scattered", 0);
	fds[1] = memfd_create("between", 0);
	for (i = 0; i != size; i += page_size) {
		VFIO_ASSERT_EQ(pwrite(fds[0], &zero, 1, i), 1);
		VFIO_ASSERT_EQ(pwrite(fds[1], &zero, 1, i), 1);
	}
	VFIO_ASSERT_EQ(ftruncate(fds[0], size), 0);
	VFIO_ASSERT_EQ(close(fds[1]), 0);
	return fds[0];
}

FIXTURE_SETUP(noiommu_threads)
{
	struct noiommu *n = &self->s.n;
	u64 offset;
	void *va;
	int fd;

	noiommu_open(n, bdf);
	ASSERT_EQ(0, ioas_alloc(n->iommufd, &self->s.ioas2));
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));

	fd = scattered_file(LARGE_FILE);
	self->s.large = mmap(NULL, LARGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1, 0);
	ASSERT_NE(MAP_FAILED, self->s.large);
	for (offset = 0; offset != LARGE_SIZE; offset += LARGE_FILE) {
		va = mmap(self->s.large + offset, LARGE_FILE,
			  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			  0);
		ASSERT_EQ(self->s.large + offset, va);
	}
	ASSERT_EQ(0, close(fd));

	va = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, va);
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, page_size, TEST_IOVA));
}

FIXTURE_TEARDOWN(noiommu_threads)
{
	noiommu_close(&self->s.n);
}

static void *run_work(void *arg)
{
	struct work *work = arg;
	u64 start = now_ns();

	work->started = true;
	work->ret = work->function(work->s);
	work->ns = now_ns() - start;
	work->done = true;
	return NULL;
}

static void start_work(struct work *work)
{
	VFIO_ASSERT_EQ(pthread_create(&work->thread, NULL, run_work, work), 0);
	while (!work->started)
		usleep(100);
	/* Into the kernel */
	usleep(1000);
}

/* How long GET_PA took at most while @work was done, if it was called then */
static u64 longest_get_pa(struct __test_metadata *_metadata, struct work *work,
			  u32 ioas, u64 iova)
{
	u64 longest = 0;

	while (!work->done) {
		u64 length = 1, start = now_ns(), pa;

		ASSERT_EQ(0, get_pa(work->s->n.iommufd, ioas, iova, &length,
				    &pa));
		longest = max(longest, now_ns() - start);
	}
	/* Nothing was measured: as bad as one that waited */
	return longest ?: UINT64_MAX;
}

/*
 * A GET_PA that waits for the work takes about as long as it does, each time.
 * On a busy machine one that does not wait can take as long as that, too, so
 * that is tried again.
 */
#define TRIES 10

static int map_large(struct shared *s)
{
	return map(s->n.iommufd, s->n.ioas, s->large, LARGE_SIZE, LARGE_IOVA);
}

static int alloc_hwpt(struct shared *s)
{
	return hwpt_alloc(s->n.iommufd, s->n.devid, s->n.ioas, 0, &s->hwpt);
}

static int alloc_hwpt2(struct shared *s)
{
	return hwpt_alloc(s->n.iommufd, s->n.devid, s->ioas2, 0, &s->hwpt);
}

/* The HWPT waits for all that is being mapped, and writers go first */
static bool waits_for_map_and_hwpt_alloc(struct __test_metadata *_metadata,
					 struct shared *s)
{
	struct work mapping = { .function = map_large, .s = s };
	struct work alloc = { .function = alloc_hwpt, .s = s };
	u64 longest;

	start_work(&mapping);
	start_work(&alloc);
	longest = longest_get_pa(_metadata, &mapping, s->n.ioas, TEST_IOVA);
	ASSERT_EQ(0, pthread_join(mapping.thread, NULL));
	ASSERT_EQ(0, pthread_join(alloc.thread, NULL));
	ASSERT_EQ(0, mapping.ret);
	ASSERT_EQ(0, alloc.ret);
	ASSERT_EQ(0, destroy(s->n.iommufd, s->hwpt));
	ASSERT_EQ(0, unmap(s->n.iommufd, s->n.ioas, LARGE_IOVA, LARGE_SIZE));
	return longest >= mapping.ns / 2;
}

TEST_F_TIMEOUT(noiommu_threads, get_pa_beside_map_and_hwpt_alloc, 60)
{
	int i;

	for (i = 0; i < TRIES; i++)
		if (!waits_for_map_and_hwpt_alloc(_metadata, &self->s))
			break;
	ASSERT_NE(TRIES, i);
}

/* The HWPT fills its page table from that of the other IOAS */
static bool waits_for_hwpt_alloc_of_a_copy(struct __test_metadata *_metadata,
					   struct shared *s)
{
	struct work alloc = { .function = alloc_hwpt2, .s = s };
	u64 longest;

	start_work(&alloc);
	longest = longest_get_pa(_metadata, &alloc, s->n.ioas, LARGE_IOVA);
	ASSERT_EQ(0, pthread_join(alloc.thread, NULL));
	ASSERT_EQ(0, alloc.ret);
	ASSERT_EQ(0, destroy(s->n.iommufd, s->hwpt));
	return longest >= alloc.ns / 2;
}

TEST_F_TIMEOUT(noiommu_threads, get_pa_beside_hwpt_alloc_of_a_copy, 60)
{
	int i;

	ASSERT_EQ(0, map_large(&self->s));
	ASSERT_EQ(0, copy(self->s.n.iommufd, self->s.n.ioas, LARGE_IOVA,
			  LARGE_SIZE, self->s.ioas2, LARGE_IOVA));
	for (i = 0; i < TRIES; i++)
		if (!waits_for_hwpt_alloc_of_a_copy(_metadata, &self->s))
			break;
	ASSERT_NE(TRIES, i);
}

/* Another device, that has an IOMMU */

FIXTURE(noiommu_beside_iommu) {
	struct noiommu n;
	int cdev2;
};

FIXTURE_SETUP(noiommu_beside_iommu)
{
	u32 devid2;

	if (!bdf2 || cdev_is_noiommu(bdf2))
		SKIP(return, "needs a second device, with an IOMMU");

	noiommu_open(&self->n, bdf);
	self->cdev2 = open_cdev(bdf2);
	ASSERT_GE(self->cdev2, 0);
	ASSERT_EQ(0, cdev_bind(self->cdev2, self->n.iommufd, &devid2));
}

FIXTURE_TEARDOWN(noiommu_beside_iommu)
{
	close(self->cdev2);
	noiommu_close(&self->n);
}

/*
 * An IOAS that one of them uses already gives the other one a HWPT of its own
 */
TEST_F(noiommu_beside_iommu, move_to_the_ioas_of_the_other)
{
	int cdevs[] = { self->n.cdev, self->cdev2 };
	u32 old, new, pt_id, other_pt_id;
	int i;

	for (i = 0; i != 2; i++) {
		ASSERT_EQ(0, ioas_alloc(self->n.iommufd, &old));
		ASSERT_EQ(0, ioas_alloc(self->n.iommufd, &new));
		pt_id = old;
		ASSERT_EQ(0, cdev_attach(cdevs[i], &pt_id));
		other_pt_id = new;
		ASSERT_EQ(0, cdev_attach(cdevs[!i], &other_pt_id));
		pt_id = new;
		ASSERT_EQ(0, cdev_attach(cdevs[i], &pt_id));
		ASSERT_NE(other_pt_id, pt_id);
	}
}

/* Half of all IOVAs as one page, the largest that can be asked for */
TEST_F(noiommu_beside_iommu, dirty_bitmap_of_the_largest_page)
{
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get),
		.length = 1ULL << 63,
		.page_size = 1ULL << 63,
	};
	u64 bitmap = 0;
	u32 pt_id;

	ASSERT_EQ(0, ioas_alloc(self->n.iommufd, &pt_id));
	ASSERT_EQ(0, cdev_attach(self->cdev2, &pt_id));
	get.hwpt_id = pt_id;
	get.data = (uintptr_t)&bitmap;
	/* A HWPT that an attach makes does not track what is dirty */
	ASSERT_EQ(-EOPNOTSUPP, do_ioctl(self->n.iommufd,
					IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
	ASSERT_EQ(0, bitmap);
}

int main(int argc, char *argv[])
{
	char **bdfs;
	int nr_bdfs;

	bdfs = noiommu_test_init(&argc, argv, &nr_bdfs);
	noiommu_require(bdf);
	if (nr_bdfs > 1)
		bdf2 = bdfs[1];
	return test_harness_run(argc, argv);
}
