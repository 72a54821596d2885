/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A noiommu device in use: it is mapped, and a thread asks for addresses
 * without a pause.
 */
#ifndef SELFTESTS_VFIO_NOIOMMU_USER_H
#define SELFTESTS_VFIO_NOIOMMU_USER_H

#include <limits.h>
#include <pthread.h>

#include <linux/sizes.h>

#include <libvfio.h>

#include "noiommu.h"

#define PCI_SYSFS "/sys/bus/pci"
#define NOIOMMU_PARAM "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
#define TEST_IOVA (SZ_4G * 5)
#define TEST_SIZE SZ_1M
/* For what takes other processes or the machine to happen */
#define WAIT_MS 20000

static const char *bdf;

/* A path below the device's folder in sysfs, in one of a few buffers */
static inline const char *device_path(const char *name)
{
	static char paths[4][PATH_MAX];
	static int i;
	char *path = paths[++i % ARRAY_SIZE(paths)];

	snprintf_assert(path, PATH_MAX, PCI_SYSFS "/devices/%s/%s", bdf, name);
	return path;
}

/* Wait for a file to be there, or to be gone */
static inline bool wait_for(const char *path, bool there)
{
	int ms;

	for (ms = 0; ms < WAIT_MS; ms += 10) {
		if (!access(path, F_OK) == there)
			return true;
		usleep(10 * 1000);
	}
	return false;
}

static inline bool is_bound(void)
{
	return !access(device_path("vfio-dev"), F_OK);
}

static inline void bind_driver(void)
{
	write_file(device_path("driver_override"), "vfio-pci");
	try_write_file(PCI_SYSFS "/drivers_probe", bdf);
}

/* The device in use: mapped, with a thread that asks for the address */

struct user {
	struct noiommu n;
	void *va;
	u64 pa;
	int looker_fd;
	pthread_t looker;
};

static inline void *look_without_pause(void *arg)
{
	struct user *u = arg;
	u64 length, pa;
	int ret;

	/* To the end of the file descriptor, whatever becomes of the device */
	for (;;) {
		length = 1;
		ret = get_pa(u->looker_fd, u->n.ioas, TEST_IOVA, &length, &pa);
		if (ret == -EBADF)
			return NULL;
		if (ret && ret != -EOPNOTSUPP && ret != -ENOENT)
			return (void *)(long)ret;
		if (!ret && pa != u->pa)
			return (void *)-1L;
	}
}

static inline void use(struct user *u)
{
	noiommu_open(&u->n, bdf);
	VFIO_ASSERT_EQ(cdev_attach_to(u->n.cdev, u->n.ioas), 0);
	u->va = alloc_mem(TEST_SIZE, 0);
	VFIO_ASSERT_EQ(map(u->n.iommufd, u->n.ioas, u->va, TEST_SIZE,
			   TEST_IOVA), 0);
	u->pa = pagemap_pa(u->va);
	u->looker_fd = dup(u->n.iommufd);
	VFIO_ASSERT_GE(u->looker_fd, 0);
	VFIO_ASSERT_EQ(pthread_create(&u->looker, NULL, look_without_pause, u),
		       0);
}

static inline long stop_looking(struct user *u)
{
	void *ret;

	VFIO_ASSERT_EQ(close(u->looker_fd), 0);
	VFIO_ASSERT_EQ(pthread_join(u->looker, &ret), 0);
	return (long)ret;
}

static inline int check_pa(struct noiommu *n, void *va)
{
	u64 length = TEST_SIZE;
	u64 pa;
	int ret;

	ret = get_pa(n->iommufd, n->ioas, TEST_IOVA, &length, &pa);
	if (!ret)
		VFIO_ASSERT_EQ(pa, pagemap_pa(va));
	return ret;
}

/*
 * The device can be bound and attached, memory mapped, and its address asked
 * for
 */
static inline void check_works(void)
{
	void *va = alloc_mem(TEST_SIZE, 0);
	struct noiommu n;

	noiommu_open(&n, bdf);
	VFIO_ASSERT_EQ(cdev_attach_to(n.cdev, n.ioas), 0);
	VFIO_ASSERT_EQ(map(n.iommufd, n.ioas, va, TEST_SIZE, TEST_IOVA), 0);
	VFIO_ASSERT_EQ(check_pa(&n, va), 0);
	noiommu_close(&n);
}

/*
 * Take the device from the command line or the environment, and see to it that
 * it and the machine are as they were when the program ends.
 */
static inline void user_init(int *argc, char *argv[])
{
	bdf = vfio_selftests_get_bdf(argc, argv);
	noiommu_require(bdf);
	restore_at_exit(NOIOMMU_PARAM);
	restore_at_exit(device_path("driver_override"));
}

#endif /* SELFTESTS_VFIO_NOIOMMU_USER_H */
