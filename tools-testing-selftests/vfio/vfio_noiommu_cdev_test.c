// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cdev of a device without an IOMMU: who may open it, binding, attaching
 * and replacing, what is refused, resets.
 *
 * Usage: vfio_noiommu_cdev_test [harness options] BDF
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>

#include <sys/wait.h>

#include <linux/iommufd.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "../../../../drivers/iommu/iommufd/iommufd_test.h"
#include "noiommu_test.h"

#define TAINT_USER_BIT 6
#define NOIOMMU_PARAM "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

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
	write_file(NOIOMMU_PARAM, "N");
	ASSERT_EQ(0, try_open(NULL));
	write_file(NOIOMMU_PARAM, "Y");
	ASSERT_EQ(0, try_open(NULL));
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

/* Returns whether something has been left behind */
static bool kill_user(struct __test_metadata *_metadata)
{
	struct counters before, meanwhile;
	int ready[2];
	pid_t pid;
	char c;

	read_counters(&before);
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
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	close(ready[0]);
	read_counters(&meanwhile);
	TH_LOG("%lu KiB of tables, %lu pages pinned",
	       meanwhile.tables - before.tables,
	       meanwhile.pinned - before.pinned);

	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_EQ(0, try_open(NULL));
	/* Others may have unpinned in the meantime, then it did not count */
	return meanwhile.pinned < before.pinned + SZ_4M / page_size ||
	       counters_grew(&before);
}

TEST_F(noiommu_cdev, killed_process_leaves_nothing)
{
	int i = 0;

	while (kill_user(_metadata) && ++i != LEAK_TRIES)
		;
	if (i == LEAK_TRIES && others_are_active(1))
		SKIP(return, OTHERS_ACTIVE);
	ASSERT_NE(LEAK_TRIES, i);
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
	/* Half of all IOVAs as one page, the largest that can be asked for */
	get.iova = 0;
	get.length = 1ULL << 63;
	get.page_size = 1ULL << 63;
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

/*
 * A table goes when all that it can map is unmapped at once: use small entries,
 * and fill whole tables. Those above them stay until the device is detached. So
 * the second round, in other tables below the same ones, takes none. Returns
 * whether something has been left behind.
 */
static bool fill_tables(struct __test_metadata *_metadata, struct noiommu *n,
			void *va)
{
	struct counters before;
	int i, round;
	bool grew;
	u64 iova;

	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	for (round = 0; round < 2; round++) {
		read_counters(&before);
		for (i = 0; i < 16; i++) {
			iova = i * (u64)SZ_1G + round * SZ_4M;
			ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_4M, iova));
			ASSERT_EQ(0, unmap(n->iommufd, n->ioas, iova, SZ_4M));
		}
	}
	grew = counters_grew(&before);
	ASSERT_EQ(0, cdev_detach(n->cdev));
	return grew;
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
	int i = 0;

	ASSERT_EQ(0, do_ioctl(n->iommufd, IOMMU_OPTION, &option));
	ASSERT_EQ(0, cdev_detach(n->cdev));
	while (fill_tables(_metadata, n, va) && ++i != LEAK_TRIES)
		;
	if (i == LEAK_TRIES && others_are_active(1))
		SKIP(return, OTHERS_ACTIVE);
	ASSERT_NE(LEAK_TRIES, i);
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
	u32 buf[(sizeof(struct vfio_pci_hot_reset_info) +
		 32 * sizeof(struct vfio_pci_dependent_device)) /
		sizeof(u32)] = {};
	struct vfio_pci_hot_reset_info *info = (void *)buf;
	struct vfio_pci_hot_reset reset = { .argsz = sizeof(reset) };
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);
	bool found = false, owned;
	int ret, i;

	info->argsz = sizeof(buf);
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));

	ret = do_ioctl(n->cdev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info);
	if (ret == -ENODEV)
		SKIP(return, "%s has neither a slot nor a bus to reset", bdf);
	ASSERT_EQ(0, ret);
	ASSERT_TRUE(info->flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID);
	for (i = 0; i < info->count; i++)
		found |= info->devices[i].devid == n->devid;
	ASSERT_TRUE(found);

	/* Possible if this iommufd owns all the devices that it hits */
	owned = info->flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
	ASSERT_EQ(owned ? 0 : -EINVAL,
		  do_ioctl(n->cdev, VFIO_DEVICE_PCI_HOT_RESET, &reset));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
}

int main(int argc, char *argv[])
{
	int nr_bdfs;

	noiommu_test_init(&argc, argv, &nr_bdfs);
	noiommu_require(bdf);
	restore_at_exit(NOIOMMU_PARAM);
	return test_harness_run(argc, argv);
}
