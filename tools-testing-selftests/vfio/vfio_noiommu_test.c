// SPDX-License-Identifier: GPL-2.0-only
/*
 * The noiommu mode of VFIO: the cdev with iommufd, and beside it the group.
 *
 * Usage: vfio_noiommu_test [harness options] BDF [BDF]
 *
 * The first device must have no IOMMU. The second one is optional: with another
 * device without an IOMMU the noiommu_pair tests run, with one that has an
 * IOMMU the noiommu_mixed tests.
 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/iommufd.h>
#include <linux/limits.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "../../../../drivers/iommu/iommufd/iommufd_test.h"
#include "kselftest_harness.h"
#include "noiommu.h"

#define PCI_SYSFS "/sys/bus/pci/devices"
#define TAINT_USER_BIT 6
/* Somewhere in the middle, with nothing special about it */
#define TEST_IOVA (SZ_4G * 5)

static const char *bdf;
static const char *bdf2;
static size_t page_size;

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
static void check_pa(struct __test_metadata *_metadata,
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

/* All of a mapping: at its edges, across it and at places drawn from a seed */
static void check_mapping(struct __test_metadata *_metadata, struct noiommu *n,
			  u64 iova, void *va, u64 size)
{
	struct mapping m = { .n = n, .iova = iova, .size = size };
	unsigned int seed = 1;
	u64 offset;
	int i;

	m.pas = calloc(size / page_size, sizeof(*m.pas));
	ASSERT_NE(NULL, m.pas);
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
		check_pa(_metadata, &m, offset,
			 1 + rand_r(&seed) % (2 * size));
	}
	free(m.pas);
}

/* The cdev before anything is bound to it */

FIXTURE(noiommu_cdev) {};
FIXTURE_SETUP(noiommu_cdev) {}
FIXTURE_TEARDOWN(noiommu_cdev) {}

TEST_F(noiommu_cdev, name)
{
	ASSERT_TRUE(cdev_is_noiommu(bdf));
}

TEST_F(noiommu_cdev, taint)
{
	ASSERT_TRUE(read_number("/proc/sys/kernel/tainted", "") &
		    (1U << TAINT_USER_BIT));
}

static int try_open(void *arg)
{
	int fd = open_cdev(bdf);

	return fd < 0 ? fd : 0;
}

TEST_F(noiommu_cdev, open_needs_rawio)
{
	ASSERT_EQ(0, try_open(NULL));
	ASSERT_EQ(-EPERM, without_rawio(try_open, NULL));
}

TEST_F(noiommu_cdev, parameter_counts_at_registration)
{
	const char *param = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

	write_file(param, "N");
	ASSERT_EQ(0, try_open(NULL));
	write_file(param, "Y");
}

TEST_F(noiommu_cdev, close_device_first)
{
	struct noiommu n;

	noiommu_open(&n, bdf);
	ASSERT_EQ(0, cdev_attach_to(n.cdev, n.ioas));
	ASSERT_EQ(0, close(n.cdev));
	ASSERT_EQ(0, close(n.iommufd));
}

TEST_F(noiommu_cdev, close_iommufd_first)
{
	struct noiommu n;

	noiommu_open(&n, bdf);
	ASSERT_EQ(0, cdev_attach_to(n.cdev, n.ioas));
	ASSERT_EQ(0, close(n.iommufd));
	ASSERT_EQ(0, cdev_detach(n.cdev));
	ASSERT_EQ(0, close(n.cdev));
}

TEST_F(noiommu_cdev, close_device_and_go_on)
{
	void *va = alloc_mem(SZ_64K, 0);
	struct noiommu n;

	noiommu_open(&n, bdf);
	ASSERT_EQ(0, map(n.iommufd, n.ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, cdev_attach_to(n.cdev, n.ioas));
	ASSERT_EQ(0, try_get_pa(n.iommufd, n.ioas, TEST_IOVA));
	ASSERT_EQ(0, close(n.cdev));
	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(n.iommufd, n.ioas, TEST_IOVA));

	/* The device is free again for the same iommufd */
	n.cdev = open_cdev(bdf);
	ASSERT_GE(n.cdev, 0);
	ASSERT_EQ(0, cdev_bind(n.cdev, n.iommufd, &n.devid));
	ASSERT_EQ(0, cdev_attach_to(n.cdev, n.ioas));
	check_mapping(_metadata, &n, TEST_IOVA, va, SZ_64K);
	noiommu_close(&n);
}

TEST_F(noiommu_cdev, killed_process_leaves_nothing)
{
	u64 tables = table_kib();
	u64 pinned = pinned_pages();
	int ready[2];
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(ready));
	fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		struct noiommu n;

		noiommu_open(&n, bdf);
		VFIO_ASSERT_EQ(cdev_attach_to(n.cdev, n.ioas), 0);
		VFIO_ASSERT_EQ(map(n.iommufd, n.ioas, alloc_mem(SZ_4M, 0),
				   SZ_4M, TEST_IOVA), 0);
		VFIO_ASSERT_EQ(write(ready[1], "", 1), 1);
		pause();
		_exit(0);
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	ASSERT_LT(tables, table_kib());
	ASSERT_LE(pinned + SZ_4M / page_size, pinned_pages());

	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_EQ(tables, table_kib());
	ASSERT_EQ(pinned, pinned_pages());
	ASSERT_EQ(0, try_open(NULL));
	close(ready[0]);
	close(ready[1]);
}

/* The device is bound and not attached */

FIXTURE(noiommu_bound) {
	struct noiommu n;
};

FIXTURE_SETUP(noiommu_bound)
{
	noiommu_open(&self->n, bdf);
}

FIXTURE_TEARDOWN(noiommu_bound)
{
	noiommu_close(&self->n);
}

TEST_F(noiommu_bound, bind_again)
{
	struct noiommu *n = &self->n;
	u32 devid;
	int cdev;

	ASSERT_EQ(-EINVAL, cdev_bind(n->cdev, n->iommufd, &devid));
	cdev = open_cdev(bdf);
	ASSERT_GE(cdev, 0);
	ASSERT_EQ(-EINVAL, cdev_bind(cdev, n->iommufd, &devid));
	ASSERT_EQ(0, close(cdev));
}

TEST_F(noiommu_bound, attach_ioas)
{
	struct noiommu *n = &self->n;
	u32 hwpt = n->ioas;

	ASSERT_EQ(0, cdev_attach(n->cdev, &hwpt));
	ASSERT_NE(n->ioas, hwpt);
	ASSERT_EQ(-EBUSY, destroy(n->iommufd, hwpt));
	ASSERT_EQ(-EBUSY, destroy(n->iommufd, n->ioas));

	/* The HWPT was made for the device and goes away with its last user */
	ASSERT_EQ(0, cdev_detach(n->cdev));
	ASSERT_EQ(-ENOENT, destroy(n->iommufd, hwpt));
	ASSERT_EQ(0, destroy(n->iommufd, n->ioas));
}

TEST_F(noiommu_bound, attach_what_is_no_page_table)
{
	struct noiommu *n = &self->n;

	ASSERT_EQ(-ENOENT, cdev_attach_to(n->cdev, UINT32_MAX));
	ASSERT_EQ(-EINVAL, cdev_attach_to(n->cdev, n->devid));
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
}

TEST_F(noiommu_bound, alloc_hwpt_attach_replace_detach)
{
	void *va = alloc_mem(SZ_64K, 0), *other_va = alloc_mem(SZ_64K, 0);
	u32 hwpt, same_ioas_hwpt, other_hwpt;
	struct noiommu *n = &self->n;
	struct noiommu other = *n;

	ASSERT_EQ(0, ioas_alloc(n->iommufd, &other.ioas));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, map(n->iommufd, other.ioas, other_va, SZ_64K, TEST_IOVA));

	/* A HWPT is enough for an answer, the device need not be attached */
	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, n->ioas, 0, &hwpt));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	ASSERT_EQ(-EOPNOTSUPP,
		  try_get_pa(n->iommufd, other.ioas, TEST_IOVA));

	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, n->ioas, 0,
				&same_ioas_hwpt));
	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, other.ioas, 0,
				&other_hwpt));

	ASSERT_EQ(0, cdev_attach_to(n->cdev, hwpt));
	ASSERT_EQ(-EBUSY, destroy(n->iommufd, hwpt));
	ASSERT_EQ(0, cdev_attach_to(n->cdev, hwpt));
	ASSERT_EQ(0, cdev_attach_to(n->cdev, same_ioas_hwpt));
	ASSERT_EQ(0, destroy(n->iommufd, hwpt));
	ASSERT_EQ(0, cdev_attach_to(n->cdev, other_hwpt));
	ASSERT_EQ(0, destroy(n->iommufd, same_ioas_hwpt));

	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
	check_mapping(_metadata, &other, TEST_IOVA, other_va, SZ_64K);

	/* From a HWPT to the one that is made for the IOAS */
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	ASSERT_EQ(0, destroy(n->iommufd, other_hwpt));
	ASSERT_EQ(0, cdev_detach(n->cdev));
	ASSERT_EQ(0, destroy(n->iommufd, n->ioas));
	ASSERT_EQ(0, destroy(n->iommufd, other.ioas));
}

TEST_F(noiommu_bound, any_iova)
{
	struct iommu_ioas_iova_ranges args = {
		.size = sizeof(args),
		.ioas_id = self->n.ioas,
		.num_iovas = 1,
	};
	struct noiommu *n = &self->n;
	struct iommu_iova_range range;

	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	args.allowed_iovas = (uintptr_t)&range;
	ASSERT_EQ(0, do_ioctl(n->iommufd, IOMMU_IOAS_IOVA_RANGES, &args));

	/* Nothing is reserved, not even a window for MSIs */
	ASSERT_EQ(1, args.num_iovas);
	ASSERT_EQ(0, range.start);
	ASSERT_EQ(ULONG_MAX, range.last);
	ASSERT_EQ(0, map(n->iommufd, n->ioas, alloc_mem(SZ_2M, 0), SZ_2M,
			 0xfee00000));
}

/* What a noiommu device cannot do is refused, and it is as before */

static void check_unharmed(struct __test_metadata *_metadata, struct noiommu *n)
{
	void *va = alloc_mem(SZ_64K, 0);

	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	ASSERT_EQ(0, cdev_detach(n->cdev));
	/* Fails if a refused object held on to it */
	ASSERT_EQ(0, destroy(n->iommufd, n->ioas));
}

TEST_F(noiommu_bound, refuse_hw_info)
{
	struct iommu_hw_info args = {
		.size = sizeof(args),
		.dev_id = self->n.devid,
	};

	ASSERT_EQ(-EOPNOTSUPP,
		  do_ioctl(self->n.iommufd, IOMMU_GET_HW_INFO, &args));
	check_unharmed(_metadata, &self->n);
}

TEST_F(noiommu_bound, refuse_hwpt_flags)
{
	static const u32 flags[] = {
		IOMMU_HWPT_ALLOC_NEST_PARENT,
		IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		IOMMU_HWPT_ALLOC_PASID,
		1U << 31,
	};
	struct noiommu *n = &self->n;
	u32 hwpt;
	int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		ASSERT_EQ(-EOPNOTSUPP, hwpt_alloc(n->iommufd, n->devid, n->ioas,
						  flags[i], &hwpt));
	check_unharmed(_metadata, n);
}

TEST_F(noiommu_bound, refuse_fault_queue)
{
	struct iommu_fault_alloc fault = { .size = sizeof(fault) };
	struct noiommu *n = &self->n;
	struct iommu_hwpt_alloc args = {
		.size = sizeof(args),
		.flags = IOMMU_HWPT_FAULT_ID_VALID,
		.dev_id = n->devid,
		.pt_id = n->ioas,
	};

	ASSERT_EQ(0, do_ioctl(n->iommufd, IOMMU_FAULT_QUEUE_ALLOC, &fault));
	args.fault_id = fault.out_fault_id;
	ASSERT_EQ(-EOPNOTSUPP, do_ioctl(n->iommufd, IOMMU_HWPT_ALLOC, &args));
	ASSERT_EQ(0, close(fault.out_fault_fd));
	ASSERT_EQ(0, destroy(n->iommufd, fault.out_fault_id));
	check_unharmed(_metadata, n);
}

TEST_F(noiommu_bound, refuse_nested)
{
	struct noiommu *n = &self->n;
	struct iommu_hwpt_selftest data = {};
	struct iommu_hwpt_alloc args = {
		.size = sizeof(args),
		.dev_id = n->devid,
		.data_type = IOMMU_HWPT_DATA_SELFTEST,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};
	u32 hwpt;

	/* User data for a paging HWPT, then one on top of a paging HWPT */
	args.pt_id = n->ioas;
	ASSERT_EQ(-EOPNOTSUPP, do_ioctl(n->iommufd, IOMMU_HWPT_ALLOC, &args));
	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, n->ioas, 0, &hwpt));
	args.pt_id = hwpt;
	ASSERT_EQ(-EOPNOTSUPP, do_ioctl(n->iommufd, IOMMU_HWPT_ALLOC, &args));
	ASSERT_EQ(0, destroy(n->iommufd, hwpt));
	check_unharmed(_metadata, n);
}

TEST_F(noiommu_bound, refuse_dirty_tracking)
{
	struct iommu_hwpt_set_dirty_tracking set = { .size = sizeof(set) };
	struct iommu_hwpt_get_dirty_bitmap get = { .size = sizeof(get) };
	struct noiommu *n = &self->n;
	u64 bitmap = 0;
	u32 hwpt;

	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, n->ioas, 0, &hwpt));
	set.hwpt_id = hwpt;
	set.flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE;
	ASSERT_EQ(-EOPNOTSUPP, do_ioctl(n->iommufd,
					IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
	get.hwpt_id = hwpt;
	get.iova = TEST_IOVA;
	get.length = 64 * page_size;
	get.page_size = page_size;
	get.data = (uintptr_t)&bitmap;
	ASSERT_EQ(-EOPNOTSUPP, do_ioctl(n->iommufd,
					IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
	ASSERT_EQ(0, destroy(n->iommufd, hwpt));
	check_unharmed(_metadata, n);
}

TEST_F(noiommu_bound, refuse_pasid)
{
	struct vfio_device_attach_iommufd_pt args = {
		.argsz = sizeof(args),
		.flags = VFIO_DEVICE_ATTACH_PASID,
		.pt_id = self->n.ioas,
		.pasid = 1,
	};
	struct noiommu *n = &self->n;

	ASSERT_EQ(-EINVAL,
		  do_ioctl(n->cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args));
	/* Nor beside an attachment without a PASID */
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	ASSERT_EQ(-EINVAL,
		  do_ioctl(n->cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args));
	ASSERT_EQ(0, cdev_detach(n->cdev));
	check_unharmed(_metadata, n);
}

/*
 * There is a vIOMMU only where a device can have one, which the iommufd
 * selftest's mock device does.
 */
static int mock_viommu(struct noiommu *n, u32 *viommu)
{
	struct iommu_test_cmd mock = {
		.size = sizeof(mock),
		.op = IOMMU_TEST_OP_MOCK_DOMAIN,
		.id = n->ioas,
	};
	struct iommu_viommu_alloc args = {
		.size = sizeof(args),
		.type = IOMMU_VIOMMU_TYPE_SELFTEST,
	};
	int ret;

	ret = do_ioctl(n->iommufd, IOMMU_TEST_CMD, &mock);
	if (ret)
		return ret;
	args.dev_id = mock.mock_domain.out_idev_id;
	VFIO_ASSERT_EQ(hwpt_alloc(n->iommufd, args.dev_id, n->ioas,
				  IOMMU_HWPT_ALLOC_NEST_PARENT,
				  &args.hwpt_id), 0);
	VFIO_ASSERT_EQ(do_ioctl(n->iommufd, IOMMU_VIOMMU_ALLOC, &args), 0);
	*viommu = args.out_viommu_id;
	return 0;
}

TEST_F(noiommu_bound, refuse_viommu)
{
	struct noiommu *n = &self->n;
	struct iommu_viommu_alloc args = {
		.size = sizeof(args),
		.type = IOMMU_VIOMMU_TYPE_SELFTEST,
		.dev_id = n->devid,
	};

	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, n->ioas, 0,
				&args.hwpt_id));
	ASSERT_EQ(-EOPNOTSUPP, do_ioctl(n->iommufd, IOMMU_VIOMMU_ALLOC, &args));
	ASSERT_EQ(0, destroy(n->iommufd, args.hwpt_id));
	check_unharmed(_metadata, n);
}

TEST_F(noiommu_bound, refuse_viommu_of_another_device)
{
	struct iommu_hwpt_selftest data = {};
	struct iommu_vdevice_alloc vdevice = { .size = sizeof(vdevice) };
	struct iommu_hwpt_alloc nested = { .size = sizeof(nested) };
	struct noiommu *n = &self->n;
	u32 viommu;
	int ret;

	ret = mock_viommu(n, &viommu);
	if (ret == -ENOTTY)
		SKIP(return, "needs CONFIG_IOMMUFD_TEST");
	ASSERT_EQ(0, ret);

	vdevice.viommu_id = viommu;
	vdevice.dev_id = n->devid;
	vdevice.virt_id = 1;
	ASSERT_EQ(-EINVAL,
		  do_ioctl(n->iommufd, IOMMU_VDEVICE_ALLOC, &vdevice));

	nested.dev_id = n->devid;
	nested.pt_id = viommu;
	nested.data_type = IOMMU_HWPT_DATA_SELFTEST;
	nested.data_len = sizeof(data);
	nested.data_uptr = (uintptr_t)&data;
	ASSERT_EQ(-EINVAL, do_ioctl(n->iommufd, IOMMU_HWPT_ALLOC, &nested));

	ASSERT_EQ(0, ioas_alloc(n->iommufd, &n->ioas));
	check_unharmed(_metadata, n);
}

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

/* A process that was handed the file descriptors can do all the rest */
static int use_passed_fds(void *arg)
{
	struct noiommu *n = arg;
	u16 vendor = 0;
	u32 hwpt;

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
	va = alloc_mem(SZ_2M, MAP_HUGETLB | MAP_HUGE_2MB);
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

TEST_F(noiommu_attached, huge_page_takes_one_call)
{
	struct noiommu *n = &self->n;
	u64 offset, length, pa;
	void *va;

	va = alloc_mem(4 * SZ_2M, MAP_HUGETLB | MAP_HUGE_2MB);
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

	m.pas = calloc(m.size / page_size, sizeof(*m.pas));
	ASSERT_NE(NULL, m.pas);
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

TEST_F(noiommu_attached, unmapping_frees_tables)
{
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = self->n.ioas,
		.val64 = 0,
	};
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_4M, 0);
	u64 before;
	int i;

	/*
	 * A table goes when all that it can map is unmapped at once: use small
	 * entries, and fill whole tables.
	 */
	ASSERT_EQ(0, cdev_detach(n->cdev));
	before = table_kib();
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	ASSERT_EQ(0, do_ioctl(n->iommufd, IOMMU_OPTION, &option));
	for (i = 0; i < 16; i++) {
		ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_4M,
				 i * (u64)SZ_1G));
		ASSERT_EQ(0, unmap(n->iommufd, n->ioas, i * (u64)SZ_1G,
				   SZ_4M));
	}
	ASSERT_EQ(0, cdev_detach(n->cdev));
	ASSERT_EQ(before, table_kib());
}

TEST_F(noiommu_attached, device_reset)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);

	ASSERT_EQ(0, do_ioctl(n->cdev, VFIO_DEVICE_GET_INFO, &info));
	if (!(info.flags & VFIO_DEVICE_FLAGS_RESET))
		SKIP(return, "%s cannot be reset", bdf);

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, do_ioctl(n->cdev, VFIO_DEVICE_RESET, NULL));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
}

TEST_F(noiommu_attached, hot_reset)
{
	struct {
		struct vfio_pci_hot_reset_info hdr;
		struct vfio_pci_dependent_device devices[32];
	} info = { .hdr.argsz = sizeof(info) };
	struct vfio_pci_hot_reset reset = { .argsz = sizeof(reset) };
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);
	bool found = false, owned;
	int ret, i;

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));

	ret = do_ioctl(n->cdev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info);
	if (ret == -ENODEV)
		SKIP(return, "%s has neither a slot nor a bus to reset", bdf);
	ASSERT_EQ(0, ret);
	ASSERT_TRUE(info.hdr.flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID);
	for (i = 0; i < info.hdr.count; i++)
		found |= info.devices[i].devid == n->devid;
	ASSERT_TRUE(found);

	/* Possible if this iommufd owns all the devices that it hits */
	owned = info.hdr.flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
	ASSERT_EQ(owned ? 0 : -EINVAL,
		  do_ioctl(n->cdev, VFIO_DEVICE_PCI_HOT_RESET, &reset));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
}

/* BARs as dma-bufs */

static u64 bar_address(int bar)
{
	unsigned long long start = 0, end, flags;
	char path[PATH_MAX];
	FILE *file;
	int fields;
	int i;

	snprintf(path, sizeof(path), PCI_SYSFS "/%s/resource", bdf);
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
	set_memory_enable(n->cdev, true);
	fd = bar_dmabuf(n->cdev, bar.index, bar.size);
	ASSERT_GE(fd, 0);

	/* From the second page on, so that an offset must be heeded */
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

/*
 * The largest physically contiguous thing that a test can map is a BAR. Given
 * one of hundreds of GiB, a look at all of it takes longer than this test may.
 */
TEST_F_TIMEOUT(noiommu_attached, long_look_is_fair_and_killable, 10)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar) };
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);
	struct timespec t = { .tv_nsec = 100 * 1000 * 1000 };
	int fd, status;
	pid_t pid;

	for (; bar.index < VFIO_PCI_ROM_REGION_INDEX; bar.index++) {
		ASSERT_EQ(0, do_ioctl(n->cdev, VFIO_DEVICE_GET_REGION_INFO,
				      &bar));
		if (bar.size >= 16 * SZ_4G)
			break;
	}
	if (bar.index == VFIO_PCI_ROM_REGION_INDEX)
		SKIP(return, "%s has no BAR of 64 GiB", bdf);

	set_memory_enable(n->cdev, true);
	fd = bar_dmabuf(n->cdev, bar.index, bar.size);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, map_file(n->iommufd, n->ioas, fd, 0, bar.size, TEST_IOVA));

	fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		u64 length = UINT64_MAX;
		u64 pa;

		/* Over and over, as nobody can tell how long once takes */
		while (!get_pa(n->iommufd, n->ioas, TEST_IOVA, &length, &pa))
			length = UINT64_MAX;
		_exit(1);
	}
	nanosleep(&t, NULL);

	/* Writers of the IOAS get their turn, and the device can be detached */
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, 0));
	ASSERT_EQ(0, unmap(n->iommufd, n->ioas, 0, SZ_64K));
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));
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
		sched_yield();
		ASSERT_EQ(0, unmap(n->iommufd, n->ioas, TEST_IOVA, SZ_2M));
	}
	ASSERT_EQ(0, close(looker.iommufd));
	ASSERT_EQ(0, pthread_join(thread, &found));
	ASSERT_LE(0, (long)found);
}

/* Hot unplug while all of it is in use */

static void rescan_and_bind(void)
{
	char path[PATH_MAX];
	int i;

	write_file("/sys/bus/pci/rescan", "1");
	snprintf(path, sizeof(path), PCI_SYSFS "/%s/driver_override", bdf);
	write_file(path, "vfio-pci");

	snprintf(path, sizeof(path), PCI_SYSFS "/%s/driver", bdf);
	for (i = 0; access(path, F_OK) && i < 100; i++) {
		write_file("/sys/bus/pci/drivers_probe", bdf);
		usleep(10000);
	}
}

TEST_F(noiommu_attached, hot_unplug)
{
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);
	int event = request_eventfd(n->cdev);
	char path[PATH_MAX];
	int status;
	pid_t pid;

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));

	snprintf(path, sizeof(path), PCI_SYSFS "/%s/remove", bdf);
	fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		/* Blocks until the device is given back. Do not hold on to it */
		close(n->cdev);
		close(n->iommufd);
		write_file(path, "1");
		_exit(0);
	}

	/* Asked for the device, but it stays ours until we close it */
	ASSERT_TRUE(wait_for_request(event));
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	ASSERT_EQ(0, close(n->cdev));

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_NE(0, access(path, F_OK));
	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));

	rescan_and_bind();
	n->cdev = open_cdev(bdf);
	ASSERT_GE(n->cdev, 0);
	ASSERT_EQ(0, cdev_bind(n->cdev, n->iommufd, &n->devid));
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	close(event);
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

	noiommu_open(n, bdf);
	self->memfd = -1;
	if (variant->memfd) {
		self->memfd = memfd_create("noiommu", variant->memfd_flags);
		ASSERT_GE(self->memfd, 0);
		ASSERT_EQ(0, ftruncate(self->memfd, variant->size));
		self->va = mmap(NULL, variant->size, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_POPULATE, self->memfd, 0);
		ASSERT_NE(MAP_FAILED, self->va);
	} else {
		self->va = alloc_mem(variant->size, variant->mmap_flags);
	}

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

/* Two devices without an IOMMU */

FIXTURE(noiommu_pair) {
	struct noiommu n;
	int cdev2;
	u32 devid2;
};

FIXTURE_SETUP(noiommu_pair)
{
	if (!bdf2 || !cdev_is_noiommu(bdf2))
		SKIP(return, "needs a second device without an IOMMU");

	noiommu_open(&self->n, bdf);
	self->cdev2 = open_cdev(bdf2);
	ASSERT_GE(self->cdev2, 0);
	ASSERT_EQ(0, cdev_bind(self->cdev2, self->n.iommufd, &self->devid2));
	ASSERT_NE(self->n.devid, self->devid2);
}

FIXTURE_TEARDOWN(noiommu_pair)
{
	noiommu_close(&self->n);
	close(self->cdev2);
}

TEST_F(noiommu_pair, share_an_ioas)
{
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);
	u32 pt_id = n->ioas, pt_id2 = n->ioas;

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, cdev_attach(n->cdev, &pt_id));
	ASSERT_EQ(0, cdev_attach(self->cdev2, &pt_id2));
	ASSERT_EQ(pt_id, pt_id2);

	/* Whichever is left keeps the HWPT and the answer */
	ASSERT_EQ(0, cdev_detach(n->cdev));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	ASSERT_EQ(0, cdev_detach(self->cdev2));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	ASSERT_EQ(0, cdev_detach(n->cdev));
	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
}

TEST_F(noiommu_pair, replace_one)
{
	void *va = alloc_mem(SZ_64K, 0);
	struct noiommu *n = &self->n;
	struct noiommu other = *n;

	ASSERT_EQ(0, ioas_alloc(n->iommufd, &other.ioas));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, map(n->iommufd, other.ioas, va, SZ_64K, SZ_1G));
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	ASSERT_EQ(0, cdev_attach_to(self->cdev2, n->ioas));
	ASSERT_EQ(0, cdev_attach_to(self->cdev2, other.ioas));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	check_mapping(_metadata, &other, SZ_1G, va, SZ_64K);

	ASSERT_EQ(0, close(n->cdev));
	n->cdev = -1;
	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
	check_mapping(_metadata, &other, SZ_1G, va, SZ_64K);
}

TEST_F(noiommu_pair, use_a_hwpt_of_the_other)
{
	void *va = alloc_mem(SZ_64K, 0);
	struct noiommu *n = &self->n;
	u32 hwpt;

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, n->ioas, 0, &hwpt));
	ASSERT_EQ(0, cdev_attach_to(self->cdev2, hwpt));
	ASSERT_EQ(0, close(n->cdev));
	n->cdev = -1;
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
}

/* A device without an IOMMU beside one that has an IOMMU */

FIXTURE(noiommu_mixed) {
	struct noiommu n;
	int cdev2;
	u32 devid2;
};

FIXTURE_VARIANT(noiommu_mixed) {
	bool iommu_first;
};

FIXTURE_VARIANT_ADD(noiommu_mixed, iommu_first) {
	.iommu_first = true,
};

FIXTURE_VARIANT_ADD(noiommu_mixed, noiommu_first) {
	.iommu_first = false,
};

FIXTURE_SETUP(noiommu_mixed)
{
	if (!bdf2 || cdev_is_noiommu(bdf2))
		SKIP(return, "needs a second device, with an IOMMU");

	noiommu_open(&self->n, bdf);
	self->cdev2 = open_cdev(bdf2);
	ASSERT_GE(self->cdev2, 0);
	ASSERT_EQ(0, cdev_bind(self->cdev2, self->n.iommufd, &self->devid2));
}

FIXTURE_TEARDOWN(noiommu_mixed)
{
	noiommu_close(&self->n);
	close(self->cdev2);
}

TEST_F(noiommu_mixed, share_an_ioas)
{
	struct noiommu *n = &self->n;
	int first = variant->iommu_first ? self->cdev2 : n->cdev;
	int second = variant->iommu_first ? n->cdev : self->cdev2;
	u32 first_pt = n->ioas, second_pt = n->ioas;
	void *va = alloc_mem(SZ_64K, 0), *va2 = alloc_mem(SZ_64K, 0);

	/* One area from before both HWPTs, one from between them, one after */
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, cdev_attach(first, &first_pt));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va2, SZ_64K, SZ_1G));
	ASSERT_EQ(0, cdev_attach(second, &second_pt));
	ASSERT_NE(first_pt, second_pt);
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va2, SZ_64K, SZ_2G));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	check_mapping(_metadata, n, SZ_1G, va2, SZ_64K);
	check_mapping(_metadata, n, SZ_2G, va2, SZ_64K);

	ASSERT_EQ(0, cdev_detach(self->cdev2));
	check_mapping(_metadata, n, SZ_1G, va2, SZ_64K);
	ASSERT_EQ(0, cdev_attach_to(self->cdev2, n->ioas));
	ASSERT_EQ(0, unmap(n->iommufd, n->ioas, SZ_1G, SZ_64K));
	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, SZ_1G));
	check_mapping(_metadata, n, SZ_2G, va2, SZ_64K);

	/* Mapped, but no longer for a device without an IOMMU */
	ASSERT_EQ(0, cdev_detach(n->cdev));
	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, SZ_1G));
}

/* MSIs of a device behind an x86 IOMMU go there, it must not be mapped */
#define MSI_IOVA 0xfee00000

TEST_F(noiommu_mixed, do_not_swap_hwpts)
{
	struct noiommu *n = &self->n;
	u32 hwpt, hwpt2;
	void *va = alloc_mem(SZ_64K, 0);

	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, n->ioas, 0, &hwpt));
	ASSERT_EQ(0, hwpt_alloc(n->iommufd, self->devid2, n->ioas, 0, &hwpt2));
	ASSERT_EQ(-EINVAL, cdev_attach_to(n->cdev, hwpt2));
	ASSERT_EQ(-EINVAL, cdev_attach_to(self->cdev2, hwpt));

	/* Nor as a replacement, and a failed one leaves all as it was */
	ASSERT_EQ(0, cdev_attach_to(n->cdev, hwpt));
	ASSERT_EQ(0, cdev_attach_to(self->cdev2, hwpt2));
	ASSERT_EQ(-EINVAL, cdev_attach_to(n->cdev, hwpt2));
	ASSERT_EQ(-EINVAL, cdev_attach_to(self->cdev2, hwpt));
	ASSERT_EQ(-EINVAL, map(n->iommufd, n->ioas, va, SZ_64K, MSI_IOVA));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);

	ASSERT_EQ(0, cdev_detach(n->cdev));
	ASSERT_EQ(0, cdev_detach(self->cdev2));
	ASSERT_EQ(0, destroy(n->iommufd, hwpt));
	ASSERT_EQ(0, destroy(n->iommufd, hwpt2));
}

/* The group, which works as it did before there was a noiommu cdev */

FIXTURE(noiommu_group) {
	char path[32];
};

FIXTURE_SETUP(noiommu_group)
{
	char link[PATH_MAX], target[PATH_MAX] = {};

	snprintf(link, sizeof(link), PCI_SYSFS "/%s/iommu_group", bdf);
	if (readlink(link, target, sizeof(target) - 1) < 0)
		SKIP(return, "the kernel has no VFIO_GROUP_NOIOMMU");
	snprintf(self->path, sizeof(self->path), "/dev/vfio/noiommu-%s",
		 basename(target));
}

FIXTURE_TEARDOWN(noiommu_group)
{
}

static int try_open_path(void *arg)
{
	int fd = open(arg, O_RDWR);

	return fd < 0 ? -errno : 0;
}

TEST_F(noiommu_group, open_needs_rawio)
{
	ASSERT_EQ(-EPERM, without_rawio(try_open_path, self->path));
	ASSERT_EQ(0, try_open_path(self->path));
}

/* Without VFIO_CDEV_NOIOMMU the device keeps the name that it always had */
TEST_F(noiommu_group, no_cdev_without_the_option)
{
	if (cdev_is_noiommu(bdf))
		SKIP(return, "the kernel has VFIO_CDEV_NOIOMMU");

	ASSERT_EQ(-ENOENT, try_open(NULL));
}

static int open_group_device(int group)
{
	u16 vendor = 0;
	int device;

	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	VFIO_ASSERT_GE(device, 0);
	VFIO_ASSERT_EQ(pread(device, &vendor, sizeof(vendor),
			     (u64)VFIO_PCI_CONFIG_REGION_INDEX << 40),
		       sizeof(vendor));
	VFIO_ASSERT_NE(vendor, 0);
	VFIO_ASSERT_NE(vendor, 0xffff);
	return device;
}

TEST_F(noiommu_group, container)
{
	struct vfio_iommu_type1_dma_map dma = {
		.argsz = sizeof(dma),
		.flags = VFIO_DMA_MAP_FLAG_READ,
		.vaddr = (uintptr_t)alloc_mem(page_size, 0),
		.iova = TEST_IOVA,
		.size = page_size,
	};
	int container, group, device;

	container = open("/dev/vfio/vfio", O_RDWR);
	group = open(self->path, O_RDWR);
	ASSERT_GE(container, 0);
	ASSERT_GE(group, 0);
	ASSERT_EQ(0, do_ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	ASSERT_EQ(1, ioctl(container, VFIO_CHECK_EXTENSION,
			   VFIO_NOIOMMU_IOMMU));
	ASSERT_EQ(0, ioctl(container, VFIO_CHECK_EXTENSION,
			   VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
	device = open_group_device(group);
	/* Memory cannot be mapped this way */
	ASSERT_EQ(-ENOTTY, do_ioctl(container, VFIO_IOMMU_MAP_DMA, &dma));
	ASSERT_EQ(0, close(device));
	ASSERT_EQ(0, close(group));
	ASSERT_EQ(0, close(container));
}

TEST_F(noiommu_group, iommufd_as_container)
{
	int iommufd, group, device;
	u32 ioas;

	iommufd = open("/dev/iommu", O_RDWR);
	group = open(self->path, O_RDWR);
	ASSERT_GE(iommufd, 0);
	ASSERT_GE(group, 0);
	ASSERT_EQ(0, do_ioctl(group, VFIO_GROUP_SET_CONTAINER, &iommufd));
	ASSERT_EQ(1, ioctl(iommufd, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU));
	ASSERT_EQ(0, ioctl(iommufd, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
	device = open_group_device(group);
	/* It is not bound to the iommufd, which has not a single object */
	ASSERT_EQ(-ENOENT, destroy(iommufd, 1));
	ASSERT_EQ(0, ioas_alloc(iommufd, &ioas));
	ASSERT_EQ(1, ioas);
	ASSERT_EQ(0, map(iommufd, ioas, alloc_mem(SZ_64K, 0), SZ_64K,
			 TEST_IOVA));
	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(iommufd, ioas, TEST_IOVA));
	ASSERT_EQ(0, close(device));
	ASSERT_EQ(0, close(group));
	ASSERT_EQ(0, close(iommufd));
}

TEST_F(noiommu_group, busy_for_the_cdev)
{
	int iommufd, group, cdev;
	u32 devid;

	if (!cdev_is_noiommu(bdf))
		SKIP(return, "the kernel has no VFIO_CDEV_NOIOMMU");

	iommufd = open("/dev/iommu", O_RDWR);
	cdev = open_cdev(bdf);
	group = open(self->path, O_RDWR);
	ASSERT_GE(iommufd, 0);
	ASSERT_GE(cdev, 0);
	ASSERT_GE(group, 0);
	ASSERT_EQ(-EBUSY, cdev_bind(cdev, iommufd, &devid));
	ASSERT_EQ(0, close(group));
	ASSERT_EQ(0, cdev_bind(cdev, iommufd, &devid));
	ASSERT_EQ(-EBUSY, try_open_path(self->path));
	ASSERT_EQ(0, close(cdev));
	ASSERT_EQ(0, try_open_path(self->path));
	ASSERT_EQ(0, close(iommufd));
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
