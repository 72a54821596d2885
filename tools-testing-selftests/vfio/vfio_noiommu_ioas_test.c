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
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/iommufd.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "../../../../drivers/iommu/iommufd/iommufd_test.h"
#include "kselftest_harness.h"

#define TEST_IOVA SZ_4G
#define LARGE_IOVA (SZ_4G * 2)
/* Pages of the domain are not smaller, whatever PAGE_SIZE is */
#define DOMAIN_PAGE SZ_4K

/* A second or so to map, in small pages: the same file over and over */
#define LARGE_SIZE (262144 * page_size)
#define LARGE_FILE (1024 * page_size)

static const char *bdf;
static const char *bdf2;
static size_t page_size;

/* Each of these returns 0 or a negative errno */

static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

static int attach(int cdev, u32 *pt_id)
{
	struct vfio_device_attach_iommufd_pt args = {
		.argsz = sizeof(args),
		.pt_id = *pt_id,
	};
	int ret = do_ioctl(cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args);

	*pt_id = args.pt_id;
	return ret;
}

static int ioas_alloc(int iommufd, u32 *ioas)
{
	struct iommu_ioas_alloc args = { .size = sizeof(args) };
	int ret = do_ioctl(iommufd, IOMMU_IOAS_ALLOC, &args);

	*ioas = args.out_ioas_id;
	return ret;
}

static int hwpt_alloc(int iommufd, u32 devid, u32 ioas, u32 *hwpt)
{
	struct iommu_hwpt_alloc args = {
		.size = sizeof(args),
		.dev_id = devid,
		.pt_id = ioas,
	};
	int ret = do_ioctl(iommufd, IOMMU_HWPT_ALLOC, &args);

	*hwpt = args.out_hwpt_id;
	return ret;
}

static int map(int iommufd, u32 ioas, void *va, u64 length, u64 iova)
{
	struct iommu_ioas_map args = {
		.size = sizeof(args),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ioas,
		.user_va = (uintptr_t)va,
		.length = length,
		.iova = iova,
	};

	return do_ioctl(iommufd, IOMMU_IOAS_MAP, &args);
}

static int unmap(int iommufd, u32 ioas, u64 iova, u64 length)
{
	struct iommu_ioas_unmap args = {
		.size = sizeof(args),
		.ioas_id = ioas,
		.iova = iova,
		.length = length,
	};

	return do_ioctl(iommufd, IOMMU_IOAS_UNMAP, &args);
}

static int get_pa(int iommufd, u32 ioas, u64 iova, u64 *length, u64 *pa)
{
	struct iommu_ioas_noiommu_get_pa args = {
		.size = sizeof(args),
		.ioas_id = ioas,
		.iova = iova,
		.length = *length,
	};
	int ret = do_ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &args);

	*length = args.length;
	*pa = args.out_phys;
	return ret;
}

static int open_cdev(const char *dev_bdf, int iommufd, u32 *devid)
{
	const char *path = vfio_pci_get_cdev_path(dev_bdf);
	struct vfio_device_bind_iommufd args = {
		.argsz = sizeof(args),
		.iommufd = iommufd,
	};
	int cdev = open(path, O_RDWR);

	free((void *)path);
	if (cdev < 0)
		return -errno;
	if (ioctl(cdev, VFIO_DEVICE_BIND_IOMMUFD, &args)) {
		close(cdev);
		return -errno;
	}
	*devid = args.out_devid;
	return cdev;
}

static bool is_noiommu(const char *dev_bdf)
{
	const char *path = vfio_pci_get_cdev_path(dev_bdf);
	bool ret = strstr(path, "/noiommu-vfio");

	free((void *)path);
	return ret;
}

/* What pagemap says of a byte of memory that is present */
static u64 pagemap_pa(const void *va)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	u64 entry;

	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(pread(fd, &entry, sizeof(entry), (uintptr_t)va /
			     page_size * sizeof(entry)), sizeof(entry));
	VFIO_ASSERT_EQ(close(fd), 0);
	VFIO_ASSERT_TRUE(entry >> 63, "%p is not present\n", va);
	return (entry & ((1ULL << 55) - 1)) * page_size +
	       (uintptr_t)va % page_size;
}

FIXTURE(noiommu_ioas) {
	int iommufd;
	int cdev;
	u32 devid;
	u32 ioas;
};

FIXTURE_SETUP(noiommu_ioas)
{
	u32 pt_id;

	if (!is_noiommu(bdf))
		SKIP(return, "%s has an IOMMU", bdf);

	self->iommufd = open("/dev/iommu", O_RDWR);
	ASSERT_GE(self->iommufd, 0);
	self->cdev = open_cdev(bdf, self->iommufd, &self->devid);
	ASSERT_GE(self->cdev, 0);
	ASSERT_EQ(0, ioas_alloc(self->iommufd, &self->ioas));
	pt_id = self->ioas;
	ASSERT_EQ(0, attach(self->cdev, &pt_id));
}

FIXTURE_TEARDOWN(noiommu_ioas)
{
	close(self->cdev);
	close(self->iommufd);
}

/*
 * Map @length bytes from @va on and ask at each page of the domain. The answer
 * has to be what pagemap says, and neither less nor more than what is
 * contiguous in the mapping.
 */
static void check_all(struct __test_metadata *_metadata, int iommufd, u32 ioas,
		      char *va, u64 length)
{
	u64 offset, end, out, pa;

	ASSERT_EQ(0, map(iommufd, ioas, va, length, TEST_IOVA));
	for (offset = 0; offset != length; offset += DOMAIN_PAGE) {
		for (end = offset + DOMAIN_PAGE; end != length;
		     end += DOMAIN_PAGE)
			if (pagemap_pa(va + end) !=
			    pagemap_pa(va + offset) + end - offset)
				break;
		out = UINT64_MAX;
		ASSERT_EQ(0, get_pa(iommufd, ioas, TEST_IOVA + offset, &out,
				    &pa));
		ASSERT_EQ(pagemap_pa(va + offset), pa);
		ASSERT_EQ(end - offset, out);
	}
	ASSERT_EQ(0, unmap(iommufd, ioas, TEST_IOVA, length));
}

/*
 * With pages of the CPU that are larger than the domain's, the offset of the
 * memory in a page and that of the IOVA are not the same.
 */
TEST_F(noiommu_ioas, offset_in_large_page)
{
	const unsigned int nr = 64;
	unsigned int i, adjacent = nr;
	size_t start;
	char *file, *va;
	int fd;

	if (page_size == DOMAIN_PAGE)
		SKIP(return, "pages of the CPU are not larger than 4K");

	fd = memfd_create("pages", 0);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, ftruncate(fd, nr * page_size));
	file = mmap(NULL, nr * page_size, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_POPULATE, fd, 0);
	ASSERT_NE(MAP_FAILED, file);
	for (i = 0; i != nr - 1; i++)
		if (pagemap_pa(file + (i + 1) * page_size) ==
		    pagemap_pa(file + i * page_size) + page_size)
			adjacent = i;

	/* Two pages the wrong way round are not contiguous */
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
		check_all(_metadata, self->iommufd, self->ioas, va + start,
			  page_size);
		check_all(_metadata, self->iommufd, self->ioas, va + start,
			  page_size - start + DOMAIN_PAGE);
	}

	/* Two that are, of which the mapping has a part */
	if (adjacent == nr)
		SKIP(return, "no two pages are adjacent");
	va = file + adjacent * page_size;
	for (start = DOMAIN_PAGE; start != page_size; start += DOMAIN_PAGE)
		check_all(_metadata, self->iommufd, self->ioas, va + start,
			  2 * page_size - start - DOMAIN_PAGE);
	ASSERT_EQ(0, close(fd));
}

/* Faults are injected into mock devices, which this one is not */
TEST_F(noiommu_ioas, refuse_to_trigger_a_fault)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_TRIGGER_IOPF,
		.trigger_iopf.dev_id = self->devid,
	};
	int ret = do_ioctl(self->iommufd, IOMMU_TEST_CMD, &cmd);

	if (ret == -ENOTTY)
		SKIP(return, "needs CONFIG_IOMMUFD_TEST");
	ASSERT_EQ(-EINVAL, ret);
}

/* A look at what is mapped does not wait for what other threads do */

struct shared {
	int iommufd;
	int cdev;
	u32 devid;
	u32 ioas;
	u32 ioas2;
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
	u32 pt_id;
	u64 offset;
	void *va;
	int fd;

	if (!is_noiommu(bdf))
		SKIP(return, "%s has an IOMMU", bdf);

	self->s.iommufd = open("/dev/iommu", O_RDWR);
	ASSERT_GE(self->s.iommufd, 0);
	self->s.cdev = open_cdev(bdf, self->s.iommufd, &self->s.devid);
	ASSERT_GE(self->s.cdev, 0);
	ASSERT_EQ(0, ioas_alloc(self->s.iommufd, &self->s.ioas));
	ASSERT_EQ(0, ioas_alloc(self->s.iommufd, &self->s.ioas2));
	pt_id = self->s.ioas;
	ASSERT_EQ(0, attach(self->s.cdev, &pt_id));

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
	ASSERT_EQ(0, map(self->s.iommufd, self->s.ioas, va, page_size, TEST_IOVA));
}

FIXTURE_TEARDOWN(noiommu_threads)
{
	close(self->s.cdev);
	close(self->s.iommufd);
}

static u64 now_ns(void)
{
	struct timespec t;

	VFIO_ASSERT_EQ(clock_gettime(CLOCK_MONOTONIC, &t), 0);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
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

/* How long GET_PA took at most while @work was done */
static u64 longest_get_pa(struct __test_metadata *_metadata, struct work *work,
			  u32 ioas, u64 iova)
{
	u64 longest = 0;

	while (!work->done) {
		u64 length = 1, start = now_ns(), pa;

		ASSERT_EQ(0, get_pa(work->s->iommufd, ioas, iova, &length,
				    &pa));
		longest = max(longest, now_ns() - start);
	}
	return longest;
}

static int map_large(struct shared *s)
{
	return map(s->iommufd, s->ioas, s->large, LARGE_SIZE, LARGE_IOVA);
}

static int alloc_hwpt(struct shared *s)
{
	u32 hwpt;

	return hwpt_alloc(s->iommufd, s->devid, s->ioas, &hwpt);
}

static int alloc_hwpt2(struct shared *s)
{
	u32 hwpt;

	return hwpt_alloc(s->iommufd, s->devid, s->ioas2, &hwpt);
}

TEST_F_TIMEOUT(noiommu_threads, get_pa_beside_map_and_hwpt_alloc, 60)
{
	struct work mapping = { .function = map_large, .s = &self->s };
	struct work alloc = { .function = alloc_hwpt, .s = &self->s };
	u64 longest;

	/* The latter waits for all that is being mapped, and writers go first */
	start_work(&mapping);
	start_work(&alloc);
	longest = longest_get_pa(_metadata, &mapping, self->s.ioas, TEST_IOVA);
	ASSERT_EQ(0, pthread_join(mapping.thread, NULL));
	ASSERT_EQ(0, pthread_join(alloc.thread, NULL));
	ASSERT_EQ(0, mapping.ret);
	ASSERT_EQ(0, alloc.ret);
	/* One that waits for it takes about as long as it does */
	ASSERT_LT(longest, mapping.ns / 2);
}

TEST_F_TIMEOUT(noiommu_threads, get_pa_beside_hwpt_alloc_of_a_copy, 60)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.src_ioas_id = self->s.ioas,
		.dst_ioas_id = self->s.ioas2,
		.length = LARGE_SIZE,
		.src_iova = LARGE_IOVA,
		.dst_iova = LARGE_IOVA,
	};
	struct work alloc = { .function = alloc_hwpt2, .s = &self->s };
	u64 longest;

	/* Fills its page table from that of the other IOAS */
	ASSERT_EQ(0, map_large(&self->s));
	ASSERT_EQ(0, do_ioctl(self->s.iommufd, IOMMU_IOAS_COPY, &copy));
	start_work(&alloc);
	longest = longest_get_pa(_metadata, &alloc, self->s.ioas, LARGE_IOVA);
	ASSERT_EQ(0, pthread_join(alloc.thread, NULL));
	ASSERT_EQ(0, alloc.ret);
	ASSERT_LT(longest, alloc.ns / 2);
}

/* Another device, that has an IOMMU */

FIXTURE(noiommu_beside_iommu) {
	int iommufd;
	int cdev;
	int cdev2;
	u32 devid;
	u32 devid2;
};

FIXTURE_SETUP(noiommu_beside_iommu)
{
	if (!is_noiommu(bdf))
		SKIP(return, "%s has an IOMMU", bdf);
	if (!bdf2 || is_noiommu(bdf2))
		SKIP(return, "needs a second device, with an IOMMU");

	self->iommufd = open("/dev/iommu", O_RDWR);
	ASSERT_GE(self->iommufd, 0);
	self->cdev = open_cdev(bdf, self->iommufd, &self->devid);
	ASSERT_GE(self->cdev, 0);
	self->cdev2 = open_cdev(bdf2, self->iommufd, &self->devid2);
	ASSERT_GE(self->cdev2, 0);
}

FIXTURE_TEARDOWN(noiommu_beside_iommu)
{
	close(self->cdev);
	close(self->cdev2);
	close(self->iommufd);
}

/* An IOAS that one of them uses already gives the other one a HWPT of its own */
TEST_F(noiommu_beside_iommu, move_to_the_ioas_of_the_other)
{
	int cdevs[] = { self->cdev, self->cdev2 };
	u32 old, new, pt_id, other_pt_id;
	int i;

	for (i = 0; i != 2; i++) {
		ASSERT_EQ(0, ioas_alloc(self->iommufd, &old));
		ASSERT_EQ(0, ioas_alloc(self->iommufd, &new));
		pt_id = old;
		ASSERT_EQ(0, attach(cdevs[i], &pt_id));
		other_pt_id = new;
		ASSERT_EQ(0, attach(cdevs[!i], &other_pt_id));
		pt_id = new;
		ASSERT_EQ(0, attach(cdevs[i], &pt_id));
		ASSERT_NE(other_pt_id, pt_id);
	}
}

int main(int argc, char *argv[])
{
	int nr_bdfs;
	char **bdfs;

	bdfs = vfio_selftests_get_bdfs(&argc, argv, &nr_bdfs);
	bdf = bdfs[0];
	if (nr_bdfs > 1)
		bdf2 = bdfs[1];
	page_size = getpagesize();

	return test_harness_run(argc, argv);
}
