// SPDX-License-Identifier: GPL-2.0-only
/*
 * What VFIO_DEVICE_ATTACH_IOMMUFD_PT refuses: PASID 0, and a HWPT of a device
 * that has another IOMMU driver. For the latter iommufd's mock device is in the
 * same IOAS, with CONFIG_IOMMUFD_TEST.
 *
 * A kernel that does not refuse the HWPT gives it to the wrong driver, which
 * writes to memory that is not its own. Therefore these tests only run if
 * $VFIO_SELFTESTS_MOCK_IOMMU is 1.
 */
#include <linux/iommufd.h>
#include <linux/types.h>
#include <linux/vfio.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <libvfio.h>
#include "kselftest_harness.h"
#include "../../../../drivers/iommu/iommufd/iommufd_test.h"

#define MOCK_IOMMU	"VFIO_SELFTESTS_MOCK_IOMMU"

static const char *cdev_path;

/* Are tests allowed that a kernel with the defect does not survive? */
static bool mock_is_allowed(void)
{
	const char *value = getenv(MOCK_IOMMU);

	return value && !strcmp(value, "1");
}

/* Each of these returns 0 or a negative errno */
static int attach(int cdev_fd, u32 flags, u32 pasid, u32 *pt_id)
{
	struct vfio_device_attach_iommufd_pt args = {
		.argsz = sizeof(args),
		.flags = flags,
		.pt_id = *pt_id,
		.pasid = pasid,
	};

	if (ioctl(cdev_fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args))
		return -errno;
	*pt_id = args.pt_id;
	return 0;
}

static int detach(int cdev_fd)
{
	struct vfio_device_detach_iommufd_pt args = { .argsz = sizeof(args) };

	return ioctl(cdev_fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &args) ? -errno : 0;
}

static int ioas_alloc(int iommufd, u32 *ioas_id)
{
	struct iommu_ioas_alloc args = { .size = sizeof(args) };

	if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &args))
		return -errno;
	*ioas_id = args.out_ioas_id;
	return 0;
}

static int destroy(int iommufd, u32 id)
{
	struct iommu_destroy args = { .size = sizeof(args), .id = id };

	return ioctl(iommufd, IOMMU_DESTROY, &args) ? -errno : 0;
}

/* Make a mock device and attach it to the IOAS */
static int mock_device(int iommufd, u32 ioas_id, u32 *stdev_id, u32 *hwpt_id)
{
	struct iommu_test_cmd args = {
		.size = sizeof(args),
		.op = IOMMU_TEST_OP_MOCK_DOMAIN,
		.id = ioas_id,
	};

	if (ioctl(iommufd, IOMMU_TEST_CMD, &args))
		return -errno;
	*stdev_id = args.mock_domain.out_stdev_id;
	*hwpt_id = args.mock_domain.out_hwpt_id;
	return 0;
}

static int mock_device_replace(int iommufd, u32 stdev_id, u32 pt_id)
{
	struct iommu_test_cmd args = {
		.size = sizeof(args),
		.op = IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE,
		.id = stdev_id,
		.mock_domain_replace = { .pt_id = pt_id },
	};

	return ioctl(iommufd, IOMMU_TEST_CMD, &args) ? -errno : 0;
}

FIXTURE(vfio_cdev_attach) {
	int cdev_fd;
	int iommufd;
	u32 ioas_id;
};

FIXTURE_SETUP(vfio_cdev_attach)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };

	self->cdev_fd = open(cdev_path, O_RDWR);
	if (self->cdev_fd < 0)
		SKIP(return, "cannot open %s: %s", cdev_path, strerror(errno));
	self->iommufd = open("/dev/iommu", O_RDWR);
	if (self->iommufd < 0)
		SKIP(return, "cannot open /dev/iommu: %s", strerror(errno));
	bind.iommufd = self->iommufd;
	ASSERT_EQ(0, ioctl(self->cdev_fd, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	ASSERT_EQ(0, ioas_alloc(self->iommufd, &self->ioas_id));
}

FIXTURE_TEARDOWN(vfio_cdev_attach)
{
	ASSERT_EQ(0, close(self->cdev_fd));
	ASSERT_EQ(0, close(self->iommufd));
}

TEST_F(vfio_cdev_attach, refuse_pasid_0)
{
	u32 pt_id = self->ioas_id;

	ASSERT_EQ(-EINVAL, attach(self->cdev_fd, VFIO_DEVICE_ATTACH_PASID, 0,
				  &pt_id));

	/* The device is not attached: it can be, and be detached again */
	ASSERT_EQ(0, attach(self->cdev_fd, 0, 0, &pt_id));
	ASSERT_EQ(0, detach(self->cdev_fd));
	ASSERT_EQ(0, destroy(self->iommufd, self->ioas_id));
}

TEST_F(vfio_cdev_attach, refuse_hwpt_of_another_iommu_driver)
{
	u32 pt_id = self->ioas_id;
	u32 mock_hwpt_id;
	u32 stdev_id;
	u32 hwpt_id;
	int ret;

	if (!mock_is_allowed())
		SKIP(return, "may corrupt memory, " MOCK_IOMMU "=1 allows it");
	ret = mock_device(self->iommufd, self->ioas_id, &stdev_id,
			  &mock_hwpt_id);
	if (ret == -ENOTTY)
		SKIP(return, "needs CONFIG_IOMMUFD_TEST");
	ASSERT_EQ(0, ret);

	ASSERT_EQ(0, attach(self->cdev_fd, 0, 0, &pt_id));
	ASSERT_NE(mock_hwpt_id, pt_id);
	hwpt_id = pt_id;

	pt_id = mock_hwpt_id;
	ASSERT_EQ(-EINVAL, attach(self->cdev_fd, 0, 0, &pt_id));
	ASSERT_EQ(-EINVAL, mock_device_replace(self->iommufd, stdev_id,
					       hwpt_id));

	/* Both are attached to what they were attached to */
	ASSERT_EQ(-EBUSY, destroy(self->iommufd, hwpt_id));
	ASSERT_EQ(-EBUSY, destroy(self->iommufd, mock_hwpt_id));
	ASSERT_EQ(0, detach(self->cdev_fd));
	ASSERT_EQ(0, destroy(self->iommufd, stdev_id));
	ASSERT_EQ(0, destroy(self->iommufd, self->ioas_id));
}

/*
 * With the id of an IOAS iommufd tries the HWPTs that it made for others there
 */
TEST_F(vfio_cdev_attach, replace_ioas_of_another_iommu_driver)
{
	u32 pt_id = self->ioas_id;
	u32 mock_hwpt_id;
	u32 stdev_id;
	u32 ioas_id;
	int ret;

	if (!mock_is_allowed())
		SKIP(return, "may corrupt memory, " MOCK_IOMMU "=1 allows it");
	ASSERT_EQ(0, ioas_alloc(self->iommufd, &ioas_id));
	ret = mock_device(self->iommufd, ioas_id, &stdev_id, &mock_hwpt_id);
	if (ret == -ENOTTY)
		SKIP(return, "needs CONFIG_IOMMUFD_TEST");
	ASSERT_EQ(0, ret);

	ASSERT_EQ(0, attach(self->cdev_fd, 0, 0, &pt_id));
	pt_id = ioas_id;
	ASSERT_EQ(0, attach(self->cdev_fd, 0, 0, &pt_id));
	ASSERT_NE(mock_hwpt_id, pt_id);
	ASSERT_EQ(0, detach(self->cdev_fd));
}

int main(int argc, char *argv[])
{
	const char *device_bdf = vfio_selftests_get_bdf(&argc, argv);
	char pattern[PATH_MAX];
	glob_t found;

	/* Without an IOMMU its name would be noiommu-vfioX */
	snprintf_assert(pattern, sizeof(pattern),
			"/sys/bus/pci/devices/%s/vfio-dev/vfio*", device_bdf);
	if (glob(pattern, 0, NULL, &found))
		ksft_exit_skip("%s is not bound to vfio-pci, or has no IOMMU\n",
			       device_bdf);
	globfree(&found);

	cdev_path = vfio_pci_get_cdev_path(device_bdf);
	printf("Using cdev device %s\n", cdev_path);

	return test_harness_run(argc, argv);
}
