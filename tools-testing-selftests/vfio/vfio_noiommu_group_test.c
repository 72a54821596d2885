// SPDX-License-Identifier: GPL-2.0-only
/*
 * The noiommu mode of the VFIO group, which works as it did before there was a
 * noiommu mode of the cdev, and beside it.
 *
 * Usage: vfio_noiommu_group_test [harness options] BDF
 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>

#include <sys/ioctl.h>

#include <linux/iommufd.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "noiommu_test.h"

static int try_open_path(void *arg)
{
	int fd = open(arg, O_RDWR);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

FIXTURE(noiommu_group) {
	char path[32];
};

FIXTURE_SETUP(noiommu_group)
{
	char link[PATH_MAX], target[PATH_MAX] = {};
	int ret;

	snprintf_assert(link, sizeof(link), PCI_SYSFS "/%s/iommu_group", bdf);
	if (readlink(link, target, sizeof(target) - 1) < 0)
		SKIP(return, "%s is in no group", bdf);
	snprintf_assert(self->path, sizeof(self->path),
			"/dev/vfio/noiommu-%s", basename(target));
	ret = try_open_path(self->path);
	if (ret == -ENOENT || ret == -EBUSY)
		SKIP(return, "cannot open %s: %s", self->path, strerror(-ret));
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(noiommu_group)
{
}

TEST_F(noiommu_group, open_needs_rawio)
{
	ASSERT_EQ(-EPERM, without_rawio(try_open_path, self->path));
	ASSERT_EQ(0, try_open_path(self->path));
}

/* Where the kernel has no noiommu cdev the device keeps its old name */
TEST_F(noiommu_group, no_cdev_without_the_option)
{
	if (cdev_is_noiommu(bdf))
		SKIP(return, "%s has a noiommu cdev", bdf);

	ASSERT_EQ(-ENOENT, open_cdev(bdf));
}

/* Can be set back after the device was bound */
static bool noiommu_is_enabled(void)
{
	char value = 'N';
	int fd;

	fd = open("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
		  O_RDONLY);
	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(read(fd, &value, 1), 1);
	VFIO_ASSERT_EQ(close(fd), 0);
	return value == 'Y';
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
	int container, group, device, ret;

	container = open("/dev/vfio/vfio", O_RDWR);
	if (container < 0)
		SKIP(return, "needs CONFIG_VFIO_CONTAINER");
	group = open(self->path, O_RDWR);
	ASSERT_GE(group, 0);
	ASSERT_EQ(0, do_ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	ret = ioctl(container, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU);
	/* VFIO's container looks at the parameter, that of iommufd does not */
	if (!ret && !noiommu_is_enabled())
		SKIP(return, "enable_unsafe_noiommu_mode was set back");
	ASSERT_EQ(1, ret);
	ASSERT_EQ(0, ioctl(container, VFIO_CHECK_EXTENSION,
			   VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
	device = open_group_device(group);
	/* Memory cannot be mapped this way, ENODEV is from iommufd's container */
	ret = do_ioctl(container, VFIO_IOMMU_MAP_DMA, &dma);
	ASSERT_TRUE(ret == -ENOTTY || ret == -ENODEV);
	ASSERT_EQ(0, close(device));
	ASSERT_EQ(0, close(group));
	ASSERT_EQ(0, close(container));
}

TEST_F(noiommu_group, iommufd_as_container)
{
	int iommufd, group, device;
	u32 ioas;

	iommufd = open("/dev/iommu", O_RDWR);
	if (iommufd < 0)
		SKIP(return, "needs CONFIG_IOMMUFD");
	group = open(self->path, O_RDWR);
	ASSERT_GE(group, 0);
	ASSERT_EQ(0, do_ioctl(group, VFIO_GROUP_SET_CONTAINER, &iommufd));
	ASSERT_EQ(1, ioctl(iommufd, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU));
	ASSERT_EQ(0, ioctl(iommufd, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
	device = open_group_device(group);
	ASSERT_EQ(0, ioas_alloc(iommufd, &ioas));
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
		SKIP(return, "%s has no noiommu cdev", bdf);

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

	noiommu_test_init(&argc, argv, &nr_bdfs);
	return test_harness_run(argc, argv);
}
