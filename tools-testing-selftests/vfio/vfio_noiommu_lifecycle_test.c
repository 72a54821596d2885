// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the use of a noiommu device ends, and who may use it.
 *
 * Usage: vfio_noiommu_lifecycle_test [harness options] BDF
 *
 * The device is unbound, is reset, changes hands or is closed while all of it
 * is in use. What takes a machine of one's own is in vfio_noiommu_machine_test.
 */
#include <grp.h>
#include <sched.h>
#include <signal.h>

#include <sys/stat.h>

#include "kselftest_harness.h"
#include "noiommu_user.h"

#define NOBODY 65534
/* What no errno is */
#define NO_USER_NS 1

FIXTURE(lifecycle) {
	struct counters before;
};

FIXTURE_SETUP(lifecycle)
{
	read_counters(&self->before);
}

/* Whatever happened, the device works again and nothing is missing */
FIXTURE_TEARDOWN(lifecycle)
{
	check_works();
	if (!counters_grew(&self->before))
		return;
	if (others_are_active(1))
		TH_LOG("%s: what is left behind is not known", OTHERS_ACTIVE);
	else
		ASSERT_FALSE(counters_grew(&self->before));
}

/* The device goes */

static int unbind_driver(void *arg)
{
	struct user *u = arg;

	/* Not to be among those who hold on to it */
	close(u->n.cdev);
	close(u->n.iommufd);
	close(u->looker_fd);
	return try_write_file(device_path("driver/unbind"), bdf);
}

TEST_F(lifecycle, unbind_driver)
{
	struct user u;
	int event, status;
	pid_t pid;

	use(&u);
	event = request_eventfd(u.n.cdev);
	fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(-unbind_driver(&u));

	ASSERT_TRUE(wait_for_request(event));
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, check_pa(&u.n, u.va));
	ASSERT_EQ(0, close(u.n.cdev));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_FALSE(is_bound());
	ASSERT_EQ(-EOPNOTSUPP, check_pa(&u.n, u.va));
	ASSERT_EQ(0, stop_looking(&u));
	ASSERT_EQ(0, close(event));
	ASSERT_EQ(0, close(u.n.iommufd));
	bind_driver();
	ASSERT_TRUE(is_bound());
}

TEST_F(lifecycle, reset)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_pci_hot_reset hot_reset = { .argsz = sizeof(hot_reset) };
	bool device, bus;
	struct user u;
	int i;

	use(&u);
	/* The device alone, and the bus if nobody else has a device there */
	ASSERT_EQ(0, do_ioctl(u.n.cdev, VFIO_DEVICE_GET_INFO, &info));
	device = info.flags & VFIO_DEVICE_FLAGS_RESET;
	bus = !do_ioctl(u.n.cdev, VFIO_DEVICE_PCI_HOT_RESET, &hot_reset);
	for (i = 0; i < 3 && (device || bus); i++) {
		if (bus)
			ASSERT_EQ(0, do_ioctl(u.n.cdev,
					      VFIO_DEVICE_PCI_HOT_RESET,
					      &hot_reset));
		if (device)
			ASSERT_EQ(0, do_ioctl(u.n.cdev, VFIO_DEVICE_RESET,
					      NULL));
		ASSERT_EQ(0, check_pa(&u.n, u.va));
	}
	ASSERT_EQ(0, stop_looking(&u));
	noiommu_close(&u.n);
	if (!device && !bus)
		SKIP(return, "%s cannot be reset, nor can its bus", bdf);
}

/* The parameter decides when a device is bound to the driver, and only then */
TEST_F(lifecycle, parameter_at_any_time)
{
	struct user u;
	int i;

	use(&u);
	for (i = 0; i < 20; i++) {
		write_file(NOIOMMU_PARAM, i % 2 ? "Y" : "N");
		ASSERT_EQ(0, check_pa(&u.n, u.va));
		ASSERT_EQ(0, cdev_detach(u.n.cdev));
		ASSERT_EQ(0, cdev_attach_to(u.n.cdev, u.n.ioas));
	}
	ASSERT_EQ(0, stop_looking(&u));
	noiommu_close(&u.n);

	write_file(NOIOMMU_PARAM, "N");
	noiommu_open(&u.n, bdf);
	noiommu_close(&u.n);
	write_file(device_path("driver/unbind"), bdf);
	bind_driver();
	ASSERT_FALSE(is_bound());
	write_file(NOIOMMU_PARAM, "Y");
	bind_driver();
	ASSERT_TRUE(is_bound());
}

/* The end of the user */

/* Four things to close. Returns whether something has been left behind */
static bool close_in_order(struct __test_metadata *_metadata, const int what[4])
{
	struct counters before;
	struct noiommu n;
	int copy, i;
	void *va;

	va = alloc_mem(TEST_SIZE, 0);
	read_counters(&before);
	noiommu_open(&n, bdf);
	copy = dup(n.cdev);
	ASSERT_GE(copy, 0);
	ASSERT_EQ(0, cdev_attach_to(n.cdev, n.ioas));
	ASSERT_EQ(0, map(n.iommufd, n.ioas, va, TEST_SIZE, TEST_IOVA));
	for (i = 0; i < 4; i++) {
		switch (what[i]) {
		case 0:
			ASSERT_EQ(0, close(n.cdev));
			break;
		case 1:
			ASSERT_EQ(0, close(n.iommufd));
			break;
		case 2:
			ASSERT_EQ(0, close(copy));
			break;
		default:
			ASSERT_EQ(0, munmap(va, TEST_SIZE));
			break;
		}
	}
	return counters_grew(&before);
}

/* In each of their 24 orders */
TEST_F(lifecycle, close_in_each_order)
{
	int order, i, left, next, copy, tries;

	for (order = 0; order < 24; order++) {
		int what[4] = { 0, 1, 2, 3 };

		/* Swap each with one of those that follow, or with itself */
		for (i = 0, left = order; i < 4; i++) {
			next = i + left % (4 - i);
			left /= 4 - i;
			copy = what[i];
			what[i] = what[next];
			what[next] = copy;
		}
		tries = 0;
		while (close_in_order(_metadata, what) && ++tries != LEAK_TRIES)
			;
		if (tries == LEAK_TRIES && others_are_active(1))
			SKIP(return, OTHERS_ACTIVE);
		ASSERT_NE(LEAK_TRIES, tries);
	}
}

/* Returns whether something has been left behind */
static bool kill_user(struct __test_metadata *_metadata, int us)
{
	struct counters before;
	int status, ready[2];
	struct user u;
	pid_t pid;
	char c;

	read_counters(&before);
	ASSERT_EQ(0, pipe(ready));
	fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		use(&u);
		VFIO_ASSERT_EQ(write(ready[1], "", 1), 1);
		for (;;) {
			unmap(u.n.iommufd, u.n.ioas, 0, UINT64_MAX);
			map(u.n.iommufd, u.n.ioas, u.va, TEST_SIZE, TEST_IOVA);
		}
	}
	ASSERT_EQ(0, close(ready[1]));
	ASSERT_EQ(1, read(ready[0], &c, 1));
	ASSERT_EQ(0, close(ready[0]));
	usleep(us);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));
	return counters_grew(&before);
}

TEST_F(lifecycle, killed_at_any_time)
{
	int i, tries;

	for (i = 0; i < 20; i++) {
		tries = 0;
		while (kill_user(_metadata, 7919 * i) && ++tries != LEAK_TRIES)
			;
		if (tries == LEAK_TRIES && others_are_active(1))
			SKIP(return, OTHERS_ACTIVE);
		ASSERT_NE(LEAK_TRIES, tries);
	}
}

/* A child goes on with the device after its parent has closed it */
static int use_after_parent(struct user *u, int parent)
{
	void *va = alloc_mem(TEST_SIZE, 0);
	char c;

	/* The end of the pipe is the end of the parent's use */
	VFIO_ASSERT_EQ(read(parent, &c, 1), 0);
	VFIO_ASSERT_EQ(unmap(u->n.iommufd, u->n.ioas, 0, UINT64_MAX), 0);
	VFIO_ASSERT_EQ(map(u->n.iommufd, u->n.ioas, va, TEST_SIZE, TEST_IOVA),
		       0);
	VFIO_ASSERT_EQ(check_pa(&u->n, va), 0);
	VFIO_ASSERT_EQ(cdev_detach(u->n.cdev), 0);
	VFIO_ASSERT_EQ(cdev_attach_to(u->n.cdev, u->n.ioas), 0);
	return check_pa(&u->n, va);
}

TEST_F(lifecycle, fork)
{
	struct user u;
	int status, fds[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(fds));
	use(&u);
	ASSERT_EQ(0, stop_looking(&u));
	fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(fds[1]);
		_exit(-use_after_parent(&u, fds[0]));
	}

	/* The device's pages stay the parent's, whoever writes to them now */
	memset(u.va, 0xa5, TEST_SIZE);
	ASSERT_EQ(u.pa, pagemap_pa(u.va));
	ASSERT_EQ(0, check_pa(&u.n, u.va));
	noiommu_close(&u.n);
	ASSERT_EQ(0, close(fds[1]));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	close(fds[0]);
}

/* Who may */

/* Run fn() while everybody may open the node */
static int with_open_node(int (*fn)(void *arg))
{
	const char *path = vfio_pci_get_cdev_path(bdf);
	struct stat st;
	int ret;

	VFIO_ASSERT_EQ(stat(path, &st), 0);
	VFIO_ASSERT_EQ(chmod(path, 0666), 0);
	ret = in_child(fn, NULL);
	VFIO_ASSERT_EQ(chmod(path, st.st_mode & 07777), 0);
	free((void *)path);
	return ret;
}

static int try_open(void)
{
	int fd = open_cdev(bdf);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int open_as_nobody(void *arg)
{
	VFIO_ASSERT_EQ(setgroups(0, NULL), 0);
	VFIO_ASSERT_EQ(setgid(NOBODY), 0);
	VFIO_ASSERT_EQ(setuid(NOBODY), 0);
	return try_open();
}

static mode_t node_mode;

TEST_F(lifecycle, nobody_cannot_open)
{
	/* Unless a rule of udev lets everybody open the node already */
	if (!(node_mode & 06))
		ASSERT_EQ(-EACCES, in_child(open_as_nobody, NULL));
	/* An administrator who hands out the node gives nothing away by that */
	ASSERT_EQ(-EPERM, with_open_node(open_as_nobody));
}

static int open_as_root_of_a_namespace(void *arg)
{
	if (unshare(CLONE_NEWUSER))
		return NO_USER_NS;
	return try_open();
}

TEST_F(lifecycle, user_namespace_cannot_open)
{
	int ret = with_open_node(open_as_root_of_a_namespace);

	if (ret == NO_USER_NS)
		SKIP(return, "needs user namespaces");
	ASSERT_EQ(-EPERM, ret);
}

/*
 * What has been opened can be used by whom it is given to. Only to ask for
 * addresses, each time, takes the capability of the one who asks.
 */
static int use_as_nobody(void *arg)
{
	struct noiommu *n = arg;
	void *va = alloc_mem(SZ_64K, 0);
	u32 hwpt;

	VFIO_ASSERT_EQ(setgid(NOBODY), 0);
	VFIO_ASSERT_EQ(setuid(NOBODY), 0);
	VFIO_ASSERT_EQ(map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA), 0);
	VFIO_ASSERT_EQ(cdev_detach(n->cdev), 0);
	VFIO_ASSERT_EQ(hwpt_alloc(n->iommufd, n->devid, n->ioas, 0, &hwpt), 0);
	VFIO_ASSERT_EQ(cdev_attach_to(n->cdev, hwpt), 0);
	return try_get_pa(n->iommufd, n->ioas, TEST_IOVA);
}

static int use_in_a_namespace(void *arg)
{
	struct noiommu *n = arg;

	if (unshare(CLONE_NEWUSER))
		return NO_USER_NS;
	return try_get_pa(n->iommufd, n->ioas, TEST_IOVA);
}

static int bind_and_use_without_rawio(void *arg)
{
	struct noiommu *n = arg;

	VFIO_ASSERT_EQ(cdev_bind(n->cdev, n->iommufd, &n->devid), 0);
	VFIO_ASSERT_EQ(ioas_alloc(n->iommufd, &n->ioas), 0);
	VFIO_ASSERT_EQ(cdev_attach_to(n->cdev, n->ioas), 0);
	return use_as_nobody(n);
}

TEST_F(lifecycle, used_by_others)
{
	struct noiommu n;

	noiommu_open(&n, bdf);
	ASSERT_EQ(0, cdev_attach_to(n.cdev, n.ioas));
	ASSERT_EQ(-EPERM, in_child(use_as_nobody, &n));
	/* The mapping is still there, and so is its memory */
	ASSERT_EQ(0, try_get_pa(n.iommufd, n.ioas, TEST_IOVA));
	noiommu_close(&n);
}

TEST_F(lifecycle, used_in_a_namespace)
{
	void *va = alloc_mem(SZ_64K, 0);
	struct noiommu n;
	int ret;

	noiommu_open(&n, bdf);
	ASSERT_EQ(0, cdev_attach_to(n.cdev, n.ioas));
	ASSERT_EQ(0, map(n.iommufd, n.ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, try_get_pa(n.iommufd, n.ioas, TEST_IOVA));
	ret = in_child(use_in_a_namespace, &n);
	noiommu_close(&n);
	if (ret == NO_USER_NS)
		SKIP(return, "needs user namespaces");
	ASSERT_EQ(-EPERM, ret);
}

TEST_F(lifecycle, capability_dropped_after_open)
{
	struct noiommu n = {};

	n.cdev = open_cdev(bdf);
	ASSERT_GE(n.cdev, 0);
	n.iommufd = open("/dev/iommu", O_RDWR);
	ASSERT_GE(n.iommufd, 0);
	ASSERT_EQ(-EPERM, without_rawio(bind_and_use_without_rawio, &n));
	noiommu_close(&n);
}

/* If a test ended in between */
static void restore_device(void)
{
	const char *path;

	if (!is_bound()) {
		write_file(NOIOMMU_PARAM, "Y");
		bind_driver();
	}
	if (is_bound()) {
		path = vfio_pci_get_cdev_path(bdf);
		chmod(path, node_mode);
		free((void *)path);
	}
}

int main(int argc, char *argv[])
{
	const char *path;
	struct stat st;

	user_init(&argc, argv);
	path = vfio_pci_get_cdev_path(bdf);
	VFIO_ASSERT_EQ(stat(path, &st), 0);
	free((void *)path);
	node_mode = st.st_mode & 07777;
	call_at_exit(restore_device);
	return test_harness_run(argc, argv);
}
