// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults on each path that a noiommu device takes through VFIO and iommufd.
 *
 * Usage: vfio_noiommu_fail_nth [harness options] BDF
 *
 * A test does the same operation over and over. The first time the first
 * allocation fails that the kernel makes, the next time the second one, and so
 * on until the operation gets through without meeting a fault. An operation
 * that failed is repeated without a fault and must then succeed. After each
 * time all that it left behind is closed, and nothing may be missing then.
 *
 * Besides allocations, copies from and to user memory fail where the kernel has
 * CONFIG_FAULT_INJECTION_USERCOPY. The edu device of QEMU is a good one to use:
 * it takes no time to be reset when it is opened and closed.
 */
#include <linux/limits.h>
#include <linux/memfd.h>
#include <linux/sizes.h>

#include <libvfio.h>

#include "../../../../drivers/iommu/iommufd/iommufd_test.h"
#include "kselftest_harness.h"
#include "noiommu.h"

#define FAULT_DEBUGFS "/sys/kernel/debug"
#define TEST_IOVA (SZ_4G * 5)
#define COPY_IOVA (SZ_4G * 9)
#define TEST_PAGES 128
/* Small enough for a mapping to take several batches of pages */
#define BATCH_BYTES 256
/* More faults than any of the operations can meet */
#define MAX_NTH 2000

static const char *bdf;
static const char *cdev_path;
static size_t test_size;
static void *va;
static int memfd;

/* One pass: the device, and what an operation needs besides */
struct pass {
	struct noiommu n;
	u32 other_ioas;
	u32 hwpt;
	u32 other_hwpt;
	u64 iova;
	u64 pa;
	int dmabuf;
	struct get_pa_extent extents[TEST_PAGES];
	struct iommu_noiommu_extent array[TEST_PAGES];
	u64 pages[TEST_PAGES];
};

static void pass_init(struct pass *p)
{
	*p = (struct pass) {
		.n.cdev = -1,
		.n.iommufd = -1,
		.dmabuf = -1,
		.iova = TEST_IOVA,
	};
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		VFIO_ASSERT_EQ(close(*fd), 0);
	*fd = -1;
}

static void pass_close(struct pass *p)
{
	close_fd(&p->dmabuf);
	close_fd(&p->n.cdev);
	close_fd(&p->n.iommufd);
}

/* What was there before, in the order of the operations below */

static void prepare_nothing(struct pass *p)
{
}

static void prepare_open(struct pass *p)
{
	p->n.cdev = open(cdev_path, O_RDWR);
	VFIO_ASSERT_GE(p->n.cdev, 0);
	p->n.iommufd = open("/dev/iommu", O_RDWR);
	VFIO_ASSERT_GE(p->n.iommufd, 0);
}

static void limit_batches(struct pass *p)
{
	struct iommu_test_cmd args = {
		.size = sizeof(args),
		.op = IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT,
		.memory_limit.limit = BATCH_BYTES,
	};
	int ret = do_ioctl(p->n.iommufd, IOMMU_TEST_CMD, &args);

	/* Without CONFIG_IOMMUFD_TEST there is one batch */
	VFIO_ASSERT_TRUE(!ret || ret == -ENOTTY);
}

static void prepare_bound(struct pass *p)
{
	prepare_open(p);
	limit_batches(p);
	VFIO_ASSERT_EQ(cdev_bind(p->n.cdev, p->n.iommufd, &p->n.devid), 0);
	VFIO_ASSERT_EQ(ioas_alloc(p->n.iommufd, &p->n.ioas), 0);
	VFIO_ASSERT_EQ(ioas_alloc(p->n.iommufd, &p->other_ioas), 0);
}

static void map_both(struct pass *p)
{
	VFIO_ASSERT_EQ(map(p->n.iommufd, p->n.ioas, va, test_size, TEST_IOVA),
		       0);
	VFIO_ASSERT_EQ(map(p->n.iommufd, p->other_ioas, va, test_size,
			   TEST_IOVA), 0);
}

static void prepare_mapped(struct pass *p)
{
	prepare_bound(p);
	map_both(p);
}

static void prepare_hwpt(struct pass *p)
{
	prepare_mapped(p);
	VFIO_ASSERT_EQ(hwpt_alloc(p->n.iommufd, p->n.devid, p->n.ioas, 0,
				  &p->hwpt), 0);
}

static void prepare_hwpts(struct pass *p)
{
	prepare_hwpt(p);
	VFIO_ASSERT_EQ(hwpt_alloc(p->n.iommufd, p->n.devid, p->other_ioas, 0,
				  &p->other_hwpt), 0);
	VFIO_ASSERT_EQ(cdev_attach_to(p->n.cdev, p->hwpt), 0);
}

static void prepare_attached(struct pass *p)
{
	prepare_bound(p);
	VFIO_ASSERT_EQ(cdev_attach_to(p->n.cdev, p->n.ioas), 0);
}

static void prepare_two_domains(struct pass *p)
{
	prepare_attached(p);
	VFIO_ASSERT_EQ(hwpt_alloc(p->n.iommufd, p->n.devid, p->n.ioas, 0,
				  &p->hwpt), 0);
}

static void prepare_attached_mapped(struct pass *p)
{
	prepare_mapped(p);
	VFIO_ASSERT_EQ(cdev_attach_to(p->n.cdev, p->n.ioas), 0);
}

static void prepare_dmabuf(struct pass *p)
{
	prepare_attached(p);
	set_memory_enable(p->n.cdev, true);
	p->dmabuf = bar_dmabuf(p->n.cdev, VFIO_PCI_BAR0_REGION_INDEX,
			       test_size);
	VFIO_ASSERT_GE(p->dmabuf, 0);
}

/* The operations that meet the faults. Only system calls are allowed here */

static int run_open_cdev(struct pass *p)
{
	p->n.cdev = open(cdev_path, O_RDWR);
	return p->n.cdev < 0 ? -errno : 0;
}

static int run_bind(struct pass *p)
{
	return cdev_bind(p->n.cdev, p->n.iommufd, &p->n.devid);
}

static int run_attach_ioas(struct pass *p)
{
	return cdev_attach_to(p->n.cdev, p->n.ioas);
}

static int run_attach_other_ioas(struct pass *p)
{
	return cdev_attach_to(p->n.cdev, p->other_ioas);
}

static int run_attach_hwpt(struct pass *p)
{
	return cdev_attach_to(p->n.cdev, p->hwpt);
}

static int run_attach_other_hwpt(struct pass *p)
{
	return cdev_attach_to(p->n.cdev, p->other_hwpt);
}

static int run_detach(struct pass *p)
{
	return cdev_detach(p->n.cdev);
}

static int run_hwpt_alloc(struct pass *p)
{
	return hwpt_alloc(p->n.iommufd, p->n.devid, p->n.ioas, 0,
			  &p->other_hwpt);
}

static int run_map(struct pass *p)
{
	return map(p->n.iommufd, p->n.ioas, va, test_size, TEST_IOVA);
}

static int run_map_anywhere(struct pass *p)
{
	return map_flags(p->n.iommufd, p->n.ioas, va, test_size, &p->iova,
			 MAP_RW);
}

static int run_map_memfd(struct pass *p)
{
	return map_file(p->n.iommufd, p->n.ioas, memfd, 0, test_size,
			TEST_IOVA);
}

static int run_map_dmabuf(struct pass *p)
{
	return map_file(p->n.iommufd, p->n.ioas, p->dmabuf, 0, test_size,
			TEST_IOVA);
}

/* From an IOAS that has a domain, and from one that has to pin first */
static int run_copy(struct pass *p)
{
	p->iova = COPY_IOVA;
	return copy(p->n.iommufd, p->n.ioas, TEST_IOVA, test_size, p->n.ioas,
		    COPY_IOVA);
}

static int run_copy_from_other(struct pass *p)
{
	p->iova = COPY_IOVA;
	return copy(p->n.iommufd, p->other_ioas, TEST_IOVA, test_size,
		    p->n.ioas, COPY_IOVA);
}

static int run_unmap(struct pass *p)
{
	return unmap(p->n.iommufd, p->n.ioas, TEST_IOVA, test_size);
}

static int run_get_pa(struct pass *p)
{
	u64 length = test_size;

	return get_pa(p->n.iommufd, p->n.ioas, TEST_IOVA, &length, &p->pa);
}

static int run_get_extents(struct pass *p)
{
	u32 num = TEST_PAGES;
	u64 length = test_size;

	return get_extents(p->n.iommufd, p->n.ioas, TEST_IOVA, &length,
			   p->array, &num);
}

static int run_get_pages(struct pass *p)
{
	u32 num = TEST_PAGES;
	u64 length = test_size;

	return get_pages(p->n.iommufd, p->n.ioas, TEST_IOVA, &length, p->pages,
			 &num, SZ_4K);
}

static int run_close(struct pass *p)
{
	close_fd(&p->n.cdev);
	close_fd(&p->n.iommufd);
	return 0;
}

/* What has to be there afterwards */

static void check_open(struct pass *p)
{
	p->n.iommufd = open("/dev/iommu", O_RDWR);
	VFIO_ASSERT_GE(p->n.iommufd, 0);
	VFIO_ASSERT_EQ(cdev_bind(p->n.cdev, p->n.iommufd, &p->n.devid), 0);
}

static void check_extents(struct pass *p, u32 ioas)
{
	u64 length = test_size, pas[TEST_PAGES], done = 0, offset;
	size_t page_size = getpagesize();
	u32 num = TEST_PAGES, i;

	pagemap_read(va, pas, TEST_PAGES);
	VFIO_ASSERT_EQ(get_each_extent(p->n.iommufd, ioas, p->iova, &length,
				       p->extents, &num), 0);
	VFIO_ASSERT_EQ(length, test_size);
	for (i = 0; i != num; i++) {
		for (offset = 0; offset != p->extents[i].length;
		     offset += page_size)
			VFIO_ASSERT_EQ(p->extents[i].phys + offset,
				       pas[(done + offset) / page_size]);
		done += offset;
	}
	VFIO_ASSERT_EQ(done, test_size);
}

static void check_mapped(struct pass *p)
{
	check_extents(p, p->n.ioas);
}

static void check_other_mapped(struct pass *p)
{
	check_extents(p, p->other_ioas);
}

static void check_bound(struct pass *p)
{
	VFIO_ASSERT_EQ(ioas_alloc(p->n.iommufd, &p->n.ioas), 0);
	VFIO_ASSERT_EQ(cdev_attach_to(p->n.cdev, p->n.ioas), 0);
	VFIO_ASSERT_EQ(run_map(p), 0);
	check_mapped(p);
}

static void check_mapped_without_domain(struct pass *p)
{
	VFIO_ASSERT_EQ(cdev_attach_to(p->n.cdev, p->n.ioas), 0);
	check_mapped(p);
}

static void check_second_domain(struct pass *p)
{
	VFIO_ASSERT_EQ(destroy(p->n.iommufd, p->hwpt), 0);
	check_mapped(p);
}

/* The other domain has to be as complete as the one that is asked first */
static void check_each_domain(struct pass *p)
{
	check_mapped(p);
	VFIO_ASSERT_EQ(cdev_detach(p->n.cdev), 0);
	check_mapped(p);
}

static void check_detached(struct pass *p)
{
	VFIO_ASSERT_EQ(try_get_pa(p->n.iommufd, p->n.ioas, TEST_IOVA),
		       -EOPNOTSUPP);
	check_mapped_without_domain(p);
}

static void check_unmapped(struct pass *p)
{
	VFIO_ASSERT_EQ(try_get_pa(p->n.iommufd, p->n.ioas, TEST_IOVA), -ENOENT);
	VFIO_ASSERT_EQ(run_map(p), 0);
	check_mapped(p);
}

static void check_answer(struct pass *p)
{
	VFIO_ASSERT_EQ(try_get_pa(p->n.iommufd, p->n.ioas, TEST_IOVA), 0);
}

static void check_pa(struct pass *p)
{
	VFIO_ASSERT_EQ(p->pa, pagemap_pa(va));
}

static void check_first_extent(struct pass *p)
{
	VFIO_ASSERT_EQ(p->array[0].phys, pagemap_pa(va));
}

static void check_first_page(struct pass *p)
{
	VFIO_ASSERT_EQ(p->pages[0], pagemap_pa(va));
}

static void check_nothing(struct pass *p)
{
}

/* Faults */

static int fault_fd;

/*
 * The defaults leave out most allocations, and fill the log. Not every kernel
 * has the last two.
 */
static const struct {
	const char *fault;
	const char *name;
	const char *value;
	bool optional;
} fault_settings[] = {
	{ "failslab", "ignore-gfp-wait", "N" },
	{ "failslab", "verbose", "0" },
	{ "fail_page_alloc", "ignore-gfp-wait", "N" },
	{ "fail_page_alloc", "ignore-gfp-highmem", "N" },
	{ "fail_page_alloc", "min-order", "0" },
	{ "fail_page_alloc", "verbose", "0" },
	{ "fail_usercopy", "verbose", "0", .optional = true },
	{ "fail_iommufd", "verbose", "0", .optional = true },
};

/* They are for all of the machine, and are restored in the end */
static void faults_init(void)
{
	char path[PATH_MAX];
	int i;

	if (access("/proc/thread-self/fail-nth", R_OK | W_OK))
		ksft_exit_skip("needs CONFIG_FAULT_INJECTION\n");

	for (i = 0; i != ARRAY_SIZE(fault_settings); i++) {
		snprintf_assert(path, sizeof(path), FAULT_DEBUGFS "/%s/%s",
				fault_settings[i].fault, fault_settings[i].name);
		if (access(path, W_OK)) {
			if (fault_settings[i].optional)
				continue;
			ksft_exit_skip("needs the faults of the config fragment: there is no %s\n",
				       path);
		}
		restore_at_exit(path);
		write_file(path, fault_settings[i].value);
	}
}

static void fault_arm(unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	VFIO_ASSERT_EQ(pwrite(fault_fd, text, len, 0), len);
}

/* Return whether the fault happened. If not, it can do so in here yet */
static bool fault_disarm(void)
{
	char text[16] = "";
	ssize_t len;

	len = pread(fault_fd, text, sizeof(text) - 1, 0);
	if (len < 0) {
		VFIO_ASSERT_EQ(errno, EFAULT);
		return false;
	}
	if (atoi(text) == 0)
		return true;
	if (pwrite(fault_fd, "0", 1, 0) != 1)
		VFIO_ASSERT_EQ(errno, EFAULT);
	return false;
}

static int next_fd(void)
{
	int fd = dup(STDIN_FILENO);

	VFIO_ASSERT_GE(fd, 0);
	close(fd);
	return fd;
}

/* Is there a BAR that prepare_dmabuf() can use? */
static bool has_bar(void)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	struct pass pass;
	int ret;

	pass_init(&pass);
	prepare_bound(&pass);
	ret = do_ioctl(pass.n.cdev, VFIO_DEVICE_GET_REGION_INFO, &bar);
	if (!ret && bar.flags & VFIO_REGION_INFO_FLAG_MMAP &&
	    bar.size >= test_size) {
		set_memory_enable(pass.n.cdev, true);
		pass.dmabuf = bar_dmabuf(pass.n.cdev, bar.index, test_size);
	}
	ret = pass.dmabuf;
	pass_close(&pass);
	return ret >= 0;
}

/*
 * @prepare is what has to be there before, @run meets the faults, and @check
 * looks at the result.
 *
 * @again is what a second try says if the first one did all its work and could
 * only not tell the answer. @lookup is the errno for an object that is not
 * found, if it is none of the usual ones. @must_work is for what undoes
 * something: to run out of memory is no excuse.
 */
struct operation {
	void (*prepare)(struct pass *p);
	int (*run)(struct pass *p);
	void (*check)(struct pass *p);
	int again;
	int lookup;
	bool must_work;
};

FIXTURE(fail_nth) {
	int next_fd;
};

FIXTURE_VARIANT(fail_nth) {
	struct operation op;
};

FIXTURE_VARIANT_ADD(fail_nth, open) {
	.op.prepare = prepare_nothing,
	.op.run = run_open_cdev,
	.op.check = check_open,
};

FIXTURE_VARIANT_ADD(fail_nth, bind) {
	.op.prepare = prepare_open,
	.op.run = run_bind,
	.op.check = check_bound,
};

FIXTURE_VARIANT_ADD(fail_nth, attach_ioas) {
	.op.prepare = prepare_mapped,
	.op.run = run_attach_ioas,
	.op.check = check_mapped,
};

FIXTURE_VARIANT_ADD(fail_nth, attach_hwpt) {
	.op.prepare = prepare_hwpt,
	.op.run = run_attach_hwpt,
	.op.check = check_mapped,
};

FIXTURE_VARIANT_ADD(fail_nth, replace_hwpt) {
	.op.prepare = prepare_hwpts,
	.op.run = run_attach_other_hwpt,
	.op.check = check_other_mapped,
};

FIXTURE_VARIANT_ADD(fail_nth, replace_hwpt_by_ioas) {
	.op.prepare = prepare_hwpts,
	.op.run = run_attach_other_ioas,
	.op.check = check_other_mapped,
};

FIXTURE_VARIANT_ADD(fail_nth, replace_ioas) {
	.op.prepare = prepare_attached_mapped,
	.op.run = run_attach_other_ioas,
	.op.check = check_other_mapped,
};

FIXTURE_VARIANT_ADD(fail_nth, detach) {
	.op.prepare = prepare_attached_mapped,
	.op.run = run_detach,
	.op.check = check_detached,
	.op.must_work = true,
};

FIXTURE_VARIANT_ADD(fail_nth, hwpt_alloc) {
	.op.prepare = prepare_mapped,
	.op.run = run_hwpt_alloc,
	.op.check = check_mapped,
	.op.lookup = -EINVAL,
};

FIXTURE_VARIANT_ADD(fail_nth, hwpt_alloc_second) {
	.op.prepare = prepare_hwpt,
	.op.run = run_hwpt_alloc,
	.op.check = check_second_domain,
	.op.lookup = -EINVAL,
};

FIXTURE_VARIANT_ADD(fail_nth, map) {
	.op.prepare = prepare_attached,
	.op.run = run_map,
	.op.check = check_mapped,
	.op.again = -EEXIST,
};

FIXTURE_VARIANT_ADD(fail_nth, map_anywhere) {
	.op.prepare = prepare_attached,
	.op.run = run_map_anywhere,
	.op.check = check_mapped,
};

FIXTURE_VARIANT_ADD(fail_nth, map_two_domains) {
	.op.prepare = prepare_two_domains,
	.op.run = run_map,
	.op.check = check_each_domain,
	.op.again = -EEXIST,
};

FIXTURE_VARIANT_ADD(fail_nth, map_without_domain) {
	.op.prepare = prepare_bound,
	.op.run = run_map,
	.op.check = check_mapped_without_domain,
	.op.again = -EEXIST,
};

FIXTURE_VARIANT_ADD(fail_nth, map_memfd) {
	.op.prepare = prepare_attached,
	.op.run = run_map_memfd,
	.op.check = check_answer,
	.op.again = -EEXIST,
};

FIXTURE_VARIANT_ADD(fail_nth, map_dmabuf) {
	.op.prepare = prepare_dmabuf,
	.op.run = run_map_dmabuf,
	.op.check = check_answer,
	.op.again = -EEXIST,
};

FIXTURE_VARIANT_ADD(fail_nth, copy) {
	.op.prepare = prepare_attached_mapped,
	.op.run = run_copy,
	.op.check = check_mapped,
	.op.again = -EEXIST,
};

FIXTURE_VARIANT_ADD(fail_nth, copy_and_pin) {
	.op.prepare = prepare_attached_mapped,
	.op.run = run_copy_from_other,
	.op.check = check_mapped,
	.op.again = -EEXIST,
};

FIXTURE_VARIANT_ADD(fail_nth, unmap) {
	.op.prepare = prepare_attached_mapped,
	.op.run = run_unmap,
	.op.check = check_unmapped,
	.op.again = -ENOENT,
	.op.must_work = true,
};

FIXTURE_VARIANT_ADD(fail_nth, get_pa) {
	.op.prepare = prepare_attached_mapped,
	.op.run = run_get_pa,
	.op.check = check_pa,
};

FIXTURE_VARIANT_ADD(fail_nth, get_extents) {
	.op.prepare = prepare_attached_mapped,
	.op.run = run_get_extents,
	.op.check = check_first_extent,
};

FIXTURE_VARIANT_ADD(fail_nth, get_pages) {
	.op.prepare = prepare_attached_mapped,
	.op.run = run_get_pages,
	.op.check = check_first_page,
};

FIXTURE_VARIANT_ADD(fail_nth, close) {
	.op.prepare = prepare_attached_mapped,
	.op.run = run_close,
	.op.check = check_nothing,
	.op.must_work = true,
};

FIXTURE_SETUP(fail_nth)
{
	struct pass pass;

	fault_fd = open("/proc/thread-self/fail-nth", O_RDWR);
	ASSERT_GE(fault_fd, 0);
	if (variant->op.prepare == prepare_dmabuf && !has_bar())
		SKIP(return, "needs a BAR 0 of %zu KiB, and CONFIG_VFIO_PCI_DMABUF",
		     test_size / SZ_1K);

	/* What is allocated once and kept is no leak */
	pass_init(&pass);
	variant->op.prepare(&pass);
	ASSERT_EQ(0, variant->op.run(&pass));
	variant->op.check(&pass);
	pass_close(&pass);
	self->next_fd = next_fd();
}

FIXTURE_TEARDOWN(fail_nth)
{
	close(fault_fd);
}

/* With CONFIG_IOMMUFD_TEST to find an object by its ID can fail as well */
static bool is_fault(int ret)
{
	return ret == -ENOMEM || ret == -EFAULT || ret == -ENOENT;
}

/* Return whether there was a fault */
static bool one_pass(struct __test_metadata *_metadata,
		     const struct operation *op, unsigned int nth)
{
	struct pass pass;
	int ret, again;
	bool fault;

	pass_init(&pass);
	op->prepare(&pass);

	fault_arm(nth);
	ret = op->run(&pass);
	fault = fault_disarm();
	if (ret) {
		EXPECT_TRUE(fault);
		EXPECT_TRUE(is_fault(ret) || ret == op->lookup)
			TH_LOG("errno %d", -ret);
		EXPECT_FALSE(op->must_work && ret == -ENOMEM);
		again = op->run(&pass);
		if (again) {
			EXPECT_EQ(-EFAULT, ret);
			EXPECT_EQ(op->again, again);
		}
	}
	op->check(&pass);
	pass_close(&pass);
	return fault;
}

TEST_F_TIMEOUT(fail_nth, sweep, 300)
{
	struct counters before;
	bool quiet = true;
	unsigned int nth;
	bool fault;
	int i;

	for (nth = 1; nth != MAX_NTH; nth++) {
		i = 0;
		do {
			read_counters(&before);
			fault = one_pass(_metadata, &variant->op, nth);
			EXPECT_EQ(self->next_fd, next_fd());
		} while (quiet && counters_grew(&before) && ++i != LEAK_TRIES);
		if (i == LEAK_TRIES && others_are_active(1)) {
			/* No longer look at what has grown, only at the rest */
			TH_LOG("%s: at fault %u and later it is not known what is left behind",
			       OTHERS_ACTIVE, nth);
			quiet = false;
		} else {
			EXPECT_NE(LEAK_TRIES, i)
				TH_LOG("memory is left behind");
		}
		if (!_metadata->exit_code && fault)
			continue;
		break;
	}
	TH_LOG("%u faults", nth - 1);
	ASSERT_FALSE(fault) TH_LOG("at fault %u", nth);
	ASSERT_TRUE(variant->op.must_work || nth > 1);
}

int main(int argc, char *argv[])
{
	int ret;

	bdf = vfio_selftests_get_bdf(&argc, argv);
	noiommu_require(bdf);
	faults_init();
	cdev_path = vfio_pci_get_cdev_path(bdf);
	test_size = TEST_PAGES * getpagesize();
	va = alloc_mem(test_size, 0);
	memfd = memfd_create("memory", 0);
	VFIO_ASSERT_GE(memfd, 0);
	VFIO_ASSERT_EQ(ftruncate(memfd, test_size), 0);
	ret = test_harness_run(argc, argv);
	free((void *)cdev_path);
	return ret;
}
