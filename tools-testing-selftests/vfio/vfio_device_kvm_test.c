// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files of a device and its group in a KVM VFIO device: they can be added,
 * and removed or left there, also on POWER without a TCE table, and only the
 * file of a group can have one. The kernel must not warn about it.
 */
#include <linux/kvm.h>
#include <linux/limits.h>
#include <linux/types.h>
#include <linux/vfio.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libvfio.h>
#include "kselftest_harness.h"

static const char *device_bdf;

/* A file that reads what the kernel logs from now on */
static int open_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/*
 * A warning that was printed once since boot is not printed again without this.
 */
static bool rearm_warnings(void)
{
	int fd = open("/sys/kernel/debug/clear_warn_once", O_WRONLY);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, "1", 1) == 1;
	close(fd);
	return done;
}

/* Is there a warning in it from a function of KVM? Others may warn as well. */
static bool kvm_warned(int log_fd)
{
	char record[8192];
	const char *warning;
	ssize_t len;

	for (;;) {
		len = read(log_fd, record, sizeof(record) - 1);
		/* Records that were overwritten */
		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			return false;
		record[len] = 0;
		/* Older kernels name the file before the function */
		warning = strstr(record, "WARNING: ");
		if (warning && strstr(warning, " kvm_"))
			return true;
	}
}

static bool device_has(const char *name)
{
	char path[PATH_MAX];

	snprintf_assert(path, sizeof(path), "/sys/bus/pci/devices/%s/%s",
			device_bdf, name);
	return !access(path, F_OK);
}

/* Open the group of the device, or its cdev; -1 if it has none */
static int open_group(void)
{
	char path[PATH_MAX];

	if (!device_has("iommu_group"))
		return -1;
	snprintf_assert(path, sizeof(path), "/dev/vfio/%d",
			sysfs_iommu_group_get(device_bdf));
	return open(path, O_RDWR);
}

static int open_cdev(void)
{
	const char *path;
	int fd;

	if (!device_has("vfio-dev"))
		return -1;
	path = vfio_pci_get_cdev_path(device_bdf);
	fd = open(path, O_RDWR);
	free((void *)path);
	return fd;
}

/* The fd of the device that its group returns, with nothing mapped */
static int open_group_device(void)
{
	int container_fd, group_fd, fd = -1;

	container_fd = open("/dev/vfio/vfio", O_RDWR);
	group_fd = open_group();
	if (container_fd >= 0 && group_fd >= 0 &&
	    !ioctl(group_fd, VFIO_GROUP_SET_CONTAINER, &container_fd) &&
	    (!ioctl(container_fd, VFIO_SET_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU) ||
	     !ioctl(container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)))
		fd = ioctl(group_fd, VFIO_GROUP_GET_DEVICE_FD, device_bdf);

	/* The fd of the device keeps what it needs */
	if (group_fd >= 0)
		close(group_fd);
	if (container_fd >= 0)
		close(container_fd);
	return fd;
}

FIXTURE(vfio_device_kvm) {
	int device_fd;
	int file_fd;
	int kvm_fd;
	int log_fd;
	int vm_fd;
};

FIXTURE_VARIANT(vfio_device_kvm) {
	int (*open_file)(void);
	bool is_group;
};

FIXTURE_VARIANT_ADD(vfio_device_kvm, group) {
	.open_file = open_group,
	.is_group = true,
};

FIXTURE_VARIANT_ADD(vfio_device_kvm, device_of_group) {
	.open_file = open_group_device,
};

FIXTURE_VARIANT_ADD(vfio_device_kvm, cdev) {
	.open_file = open_cdev,
};

FIXTURE_SETUP(vfio_device_kvm)
{
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_VFIO };

	self->log_fd = open_log();
	if (self->log_fd < 0)
		SKIP(return, "cannot open /dev/kmsg: %s", strerror(errno));
	self->kvm_fd = open("/dev/kvm", O_RDWR);
	if (self->kvm_fd < 0)
		SKIP(return, "cannot open /dev/kvm: %s", strerror(errno));
	self->file_fd = variant->open_file();
	if (self->file_fd < 0)
		SKIP(return, "the device has no such file");
	self->vm_fd = ioctl(self->kvm_fd, KVM_CREATE_VM, 0);
	ASSERT_LE(0, self->vm_fd);
	ASSERT_EQ(0, ioctl(self->vm_fd, KVM_CREATE_DEVICE, &create));
	self->device_fd = create.fd;
	if (!rearm_warnings())
		SKIP(return, "needs clear_warn_once in debugfs");
}

FIXTURE_TEARDOWN(vfio_device_kvm)
{
	close(self->file_fd);
	close(self->vm_fd);
	close(self->kvm_fd);
	close(self->log_fd);
}

static int set_attr(int device_fd, u64 attr, void *arg)
{
	struct kvm_device_attr args = {
		.group = KVM_DEV_VFIO_FILE,
		.attr = attr,
		.addr = (uintptr_t)arg,
	};

	return ioctl(device_fd, KVM_SET_DEVICE_ATTR, &args) ? -errno : 0;
}

TEST_F(vfio_device_kvm, add_and_remove)
{
	s32 fd = self->file_fd;

	ASSERT_EQ(0, set_attr(self->device_fd, KVM_DEV_VFIO_FILE_ADD, &fd));
	ASSERT_EQ(-EEXIST, set_attr(self->device_fd, KVM_DEV_VFIO_FILE_ADD,
				    &fd));
	ASSERT_EQ(0, set_attr(self->device_fd, KVM_DEV_VFIO_FILE_DEL, &fd));
	ASSERT_EQ(-ENOENT, set_attr(self->device_fd, KVM_DEV_VFIO_FILE_DEL,
				    &fd));
	ASSERT_EQ(0, close(self->device_fd));
	EXPECT_FALSE(kvm_warned(self->log_fd));
}

TEST_F(vfio_device_kvm, add_and_close)
{
	s32 fd = self->file_fd;

	ASSERT_EQ(0, set_attr(self->device_fd, KVM_DEV_VFIO_FILE_ADD, &fd));
	ASSERT_EQ(0, close(self->device_fd));
	EXPECT_FALSE(kvm_warned(self->log_fd));
}

/* The file has no group that a table could be set for, or the table is none */
TEST_F(vfio_device_kvm, set_no_tce_table)
{
	struct kvm_vfio_spapr_tce tce = {
		.groupfd = self->file_fd,
		.tablefd = -1,
	};
	s32 fd = self->file_fd;
	int ret;

	ASSERT_EQ(0, set_attr(self->device_fd, KVM_DEV_VFIO_FILE_ADD, &fd));
	ret = set_attr(self->device_fd, KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE, &tce);
	if (ret == -ENXIO)
		SKIP(return, "needs CONFIG_SPAPR_TCE_IOMMU");
	ASSERT_EQ(variant->is_group ? -EBADF : -EINVAL, ret);
	ASSERT_EQ(0, close(self->device_fd));
	EXPECT_FALSE(kvm_warned(self->log_fd));
}

#ifdef __powerpc__
#define MTTY	"/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1"
#define MDEV	"83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
#define MDEVS	"/sys/bus/mdev/devices/"

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text)) == strlen(text);
	close(fd);
	return done;
}

/* The group of an mdev has no TCE tables of its own */
FIXTURE(group_without_tce_tables) {
	int device_fd;
	int table_fd;
	int group_fd;
	int kvm_fd;
	int log_fd;
	int vm_fd;
};

/* The mdev comes last: nothing that fails here can leave it behind */
FIXTURE_SETUP(group_without_tce_tables)
{
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_VFIO };
	struct kvm_create_spapr_tce_64 table = {
		.liobn = 1,
		.page_shift = 16,
		.size = 16,
	};

	self->group_fd = -1;
	self->log_fd = open_log();
	if (self->log_fd < 0 || !rearm_warnings())
		SKIP(return, "needs /dev/kmsg, and clear_warn_once in debugfs");
	self->kvm_fd = open("/dev/kvm", O_RDWR);
	if (self->kvm_fd < 0)
		SKIP(return, "cannot open /dev/kvm: %s", strerror(errno));
	self->vm_fd = ioctl(self->kvm_fd, KVM_CREATE_VM, 0);
	ASSERT_LE(0, self->vm_fd);
	ASSERT_EQ(0, ioctl(self->vm_fd, KVM_CREATE_DEVICE, &create));
	self->device_fd = create.fd;
	/* KVM_CAP_SPAPR_TCE_64 is there with and without */
	self->table_fd = ioctl(self->vm_fd, KVM_CREATE_SPAPR_TCE_64, &table);
	if (self->table_fd < 0 && errno == ENOTTY)
		SKIP(return, "needs CONFIG_SPAPR_TCE_IOMMU");
	ASSERT_LE(0, self->table_fd);
	if (access(MTTY, F_OK))
		SKIP(return, "needs CONFIG_SAMPLE_VFIO_MDEV_MTTY");
	if (!access(MDEVS MDEV, F_OK))
		SKIP(return, "there is an mdev " MDEV " already");
	ASSERT_TRUE(write_text(MTTY "/create", MDEV));
}

FIXTURE_TEARDOWN(group_without_tce_tables)
{
	if (self->group_fd >= 0)
		close(self->group_fd);
	EXPECT_TRUE(write_text(MDEVS MDEV "/remove", "1"));
	close(self->table_fd);
	close(self->vm_fd);
	close(self->kvm_fd);
	close(self->log_fd);
}

TEST_F(group_without_tce_tables, refused)
{
	char target[PATH_MAX] = "", path[PATH_MAX];
	struct kvm_vfio_spapr_tce tce;
	s32 fd;

	if (access(MDEVS MDEV "/iommu_group", F_OK))
		SKIP(return, "needs CONFIG_VFIO_GROUP");
	ASSERT_GT(readlink(MDEVS MDEV "/iommu_group", target,
			   sizeof(target) - 1), 0);
	snprintf_assert(path, sizeof(path), "/dev/vfio%s",
			strrchr(target, '/'));
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	self->group_fd = fd;

	tce.groupfd = fd;
	tce.tablefd = self->table_fd;
	ASSERT_EQ(0, set_attr(self->device_fd, KVM_DEV_VFIO_FILE_ADD, &fd));
	EXPECT_EQ(-EINVAL, set_attr(self->device_fd,
				    KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE, &tce));
	EXPECT_EQ(0, set_attr(self->device_fd, KVM_DEV_VFIO_FILE_DEL, &fd));
	ASSERT_EQ(0, close(self->device_fd));
	EXPECT_FALSE(kvm_warned(self->log_fd));
}
#endif

int main(int argc, char *argv[])
{
	device_bdf = vfio_selftests_get_bdf(&argc, argv);
	return test_harness_run(argc, argv);
}
