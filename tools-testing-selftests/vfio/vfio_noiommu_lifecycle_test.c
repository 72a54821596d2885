// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the use of a noiommu device ends, and who may use it.
 *
 * Usage: vfio_noiommu_lifecycle_test [harness options] BDF
 *
 * The device goes away, is reset, changes hands or is closed while all of it is
 * in use: it is mapped, and another thread asks for addresses without a pause.
 *
 * In QEMU the monitor can be on a serial port, which MONITOR in the environment
 * names. The device is then unplugged and plugged in again: it has to be an edu
 * with the id "unplug" on the bus "root".
 *
 * Where VFIO and iommufd are modules they are unloaded and loaded again, by modprobe.
 */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <termios.h>

#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <linux/sizes.h>

#include <libvfio.h>

#include "kselftest_harness.h"
#include "noiommu.h"

#define PCI_SYSFS "/sys/bus/pci"
#define NOIOMMU_PARAM "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
#define SECURITYFS "/sys/kernel/security"
#define LOCKDOWN SECURITYFS "/lockdown"
#define TEST_IOVA (SZ_4G * 5)
#define TEST_SIZE SZ_1M
/* For what takes other processes or the machine to happen */
#define WAIT_MS 20000
#define NOBODY 65534

static const char *bdf;

/* A path below the device's folder in sysfs, in one of a few buffers */
static const char *device_path(const char *name)
{
	static char paths[4][PATH_MAX];
	static int i;
	char *path = paths[++i % ARRAY_SIZE(paths)];

	snprintf(path, PATH_MAX, PCI_SYSFS "/devices/%s/%s", bdf, name);
	return path;
}

/* Wait for a file to be there, or to be gone */
static bool wait_for(const char *path, bool there)
{
	int ms;

	for (ms = 0; ms < WAIT_MS; ms += 10) {
		if (!access(path, F_OK) == there)
			return true;
		usleep(10 * 1000);
	}
	return false;
}

/* For what may fail: 0 or a negative errno */
static int try_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static bool is_bound(void)
{
	return !access(device_path("vfio-dev"), F_OK);
}

static void bind_driver(void)
{
	write_file(device_path("driver_override"), "vfio-pci");
	try_write(PCI_SYSFS "/drivers_probe", bdf);
}

/* The device in use: mapped, with a thread that asks for the address */

struct user {
	struct noiommu n;
	void *va;
	u64 pa;
	int looker_fd;
	pthread_t looker;
};

static void *look_without_pause(void *arg)
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

static void use(struct user *u)
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

static long stop_looking(struct user *u)
{
	void *ret;

	VFIO_ASSERT_EQ(close(u->looker_fd), 0);
	VFIO_ASSERT_EQ(pthread_join(u->looker, &ret), 0);
	return (long)ret;
}

static int check_pa(struct noiommu *n, void *va)
{
	u64 length = TEST_SIZE;
	u64 pa;
	int ret;

	ret = get_pa(n->iommufd, n->ioas, TEST_IOVA, &length, &pa);
	if (!ret)
		VFIO_ASSERT_EQ(pa, pagemap_pa(va));
	return ret;
}

/* Run fn() in another process. Return what it does, an errno at most */
static int in_child(int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	VFIO_ASSERT_GE(pid, 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(-fn(arg));
	}
	VFIO_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	VFIO_ASSERT_TRUE(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

FIXTURE(lifecycle) {
	u64 tables;
	u64 pinned;
};

FIXTURE_SETUP(lifecycle)
{
	self->tables = table_kib();
	self->pinned = pinned_pages();
}

/* Whatever happened, the device works again and nothing is missing */
FIXTURE_TEARDOWN(lifecycle)
{
	struct noiommu n;
	void *va = alloc_mem(TEST_SIZE, 0);

	noiommu_open(&n, bdf);
	ASSERT_EQ(0, cdev_attach_to(n.cdev, n.ioas));
	ASSERT_EQ(0, map(n.iommufd, n.ioas, va, TEST_SIZE, TEST_IOVA));
	ASSERT_EQ(0, check_pa(&n, va));
	noiommu_close(&n);
	ASSERT_EQ(self->tables, table_kib());
	ASSERT_EQ(self->pinned, pinned_pages());
}

/* The device goes */

/*
 * Until the port is raw, the terminal echoes what the monitor says, and the monitor
 * takes that for commands. It is opened once, and what was echoed by then becomes a
 * line of its own, which the monitor does not know.
 */
static int open_monitor(const char *port)
{
	struct termios termios;
	int fd = open(port, O_RDWR | O_NOCTTY);

	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(tcgetattr(fd, &termios), 0);
	cfmakeraw(&termios);
	VFIO_ASSERT_EQ(tcsetattr(fd, TCSAFLUSH, &termios), 0);
	VFIO_ASSERT_EQ(write(fd, "\n", 1), 1);
	return fd;
}

static void tell_monitor(int fd, const char *command)
{
	VFIO_ASSERT_EQ(write(fd, command, strlen(command)), strlen(command));
	VFIO_ASSERT_EQ(tcdrain(fd), 0);
}

TEST_F(lifecycle, unplug)
{
	const char *port = getenv("MONITOR");
	int event, monitor;
	struct user u;

	if (!port)
		SKIP(return, "MONITOR does not name a serial port");
	monitor = open_monitor(port);
	use(&u);
	event = request_eventfd(u.n.cdev);
	tell_monitor(monitor, "device_del unplug\n");

	/* The device is asked for. It stays ours until it is closed */
	ASSERT_TRUE(wait_for_request(event));
	ASSERT_EQ(0, check_pa(&u.n, u.va));
	ASSERT_EQ(0, unmap(u.n.iommufd, u.n.ioas, TEST_IOVA, TEST_SIZE));
	ASSERT_EQ(0, map(u.n.iommufd, u.n.ioas, u.va, TEST_SIZE, TEST_IOVA));
	ASSERT_EQ(0, access(device_path(""), F_OK));
	ASSERT_EQ(0, close(u.n.cdev));
	ASSERT_TRUE(wait_for(device_path(""), false));
	ASSERT_EQ(-EOPNOTSUPP, check_pa(&u.n, u.va));
	ASSERT_EQ(0, stop_looking(&u));
	ASSERT_EQ(0, close(event));
	ASSERT_EQ(0, close(u.n.iommufd));

	tell_monitor(monitor, "device_add edu,id=unplug,bus=root,dma_mask=0xffffffffffff\n");
	ASSERT_TRUE(wait_for(device_path("vendor"), true));
	bind_driver();
	ASSERT_TRUE(wait_for(device_path("vfio-dev"), true));
	ASSERT_EQ(0, close(monitor));
}

static int unbind_driver(void *arg)
{
	struct user *u = arg;

	/* Not to be among those who hold on to it */
	close(u->n.cdev);
	close(u->n.iommufd);
	close(u->looker_fd);
	return try_write(device_path("driver/unbind"), bdf);
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
	struct vfio_pci_hot_reset reset = { .argsz = sizeof(reset) };
	struct user u;
	int i, ret;

	use(&u);
	for (i = 0; i < 3; i++) {
		/* The bus with all that is on it, and the device alone */
		ret = do_ioctl(u.n.cdev, VFIO_DEVICE_PCI_HOT_RESET, &reset);
		ASSERT_TRUE(!ret || ret == -ENODEV || ret == -EINVAL);
		ret = do_ioctl(u.n.cdev, VFIO_DEVICE_RESET, NULL);
		ASSERT_TRUE(!ret || ret == -EINVAL);
		ASSERT_EQ(0, check_pa(&u.n, u.va));
	}
	ASSERT_EQ(0, stop_looking(&u));
	noiommu_close(&u.n);
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

/* The modules go, and come back */

/* In an order in which they can. Some may be built in, or not loaded */
static const char * const modules[] = {
	"vfio_pci", "vfio_pci_core", "vfio_iommu_type1", "vfio", "iommufd",
	"iommu_amdv1",
};

static bool has_modules(void)
{
	return !access("/sys/module/vfio_pci/refcnt", F_OK) &&
	       !access("/sys/module/vfio/refcnt", F_OK) &&
	       !access("/sys/module/iommufd/refcnt", F_OK);
}

static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

/* Unload one after the other. Return the name of the first that is in use */
static const char *unload_all(void)
{
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(modules); i++) {
		ret = unload(modules[i]);
		if (ret == -EWOULDBLOCK)
			return modules[i];
		VFIO_ASSERT_TRUE(!ret || ret == -ENOENT, "%s: %d\n",
				 modules[i], ret);
	}
	return "none";
}

/* The device has its driver_override: the driver takes it right away */
static void load_all(void)
{
	int ret = system("modprobe vfio enable_unsafe_noiommu_mode=Y && modprobe vfio-pci");

	VFIO_ASSERT_EQ(ret, 0);
}

/*
 * A device in use keeps its driver, and an iommufd keeps its own module, with all
 * that is mapped. Without either of them all the modules can go.
 */
TEST_F_TIMEOUT(lifecycle, modules_in_use, 60)
{
	struct user u;
	u32 hwpt;
	int i;

	if (!has_modules())
		SKIP(return, "needs modules, which can be unloaded");
	for (i = 0; i < 3; i++) {
		use(&u);
		ASSERT_STREQ("vfio_pci", unload_all());
		/* Nor can any of the others */
		ASSERT_EQ(-EWOULDBLOCK, unload("vfio"));
		ASSERT_EQ(-EWOULDBLOCK, unload("iommufd"));
		ASSERT_EQ(0, check_pa(&u.n, u.va));

		ASSERT_EQ(0, hwpt_alloc(u.n.iommufd, u.n.devid, u.n.ioas, 0,
					&hwpt));
		ASSERT_EQ(0, close(u.n.cdev));
		ASSERT_STREQ("iommufd", unload_all());
		ASSERT_EQ(0, check_pa(&u.n, u.va));
		ASSERT_EQ(0, unmap(u.n.iommufd, u.n.ioas, TEST_IOVA, TEST_SIZE));
		ASSERT_EQ(0, map(u.n.iommufd, u.n.ioas, u.va, TEST_SIZE,
				 TEST_IOVA));
		ASSERT_EQ(0, stop_looking(&u));
		ASSERT_EQ(0, close(u.n.iommufd));
		ASSERT_STREQ("none", unload_all());
		ASSERT_NE(0, access("/dev/iommu", F_OK));
		ASSERT_EQ(self->tables, table_kib());
		ASSERT_EQ(self->pinned, pinned_pages());

		load_all();
		ASSERT_TRUE(is_bound());
	}
}

/* The BAR of a device, mapped as a dma-buf, outlives the device's driver */
TEST_F(lifecycle, modules_and_dmabuf)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	struct noiommu n;
	u32 hwpt;
	int fd;

	if (!has_modules())
		SKIP(return, "needs modules, which can be unloaded");
	noiommu_open(&n, bdf);
	ASSERT_EQ(0, hwpt_alloc(n.iommufd, n.devid, n.ioas, 0, &hwpt));
	ASSERT_EQ(0, cdev_attach_to(n.cdev, hwpt));
	ASSERT_EQ(0, do_ioctl(n.cdev, VFIO_DEVICE_GET_REGION_INFO, &bar));
	set_memory_enable(n.cdev, true);
	fd = bar_dmabuf(n.cdev, bar.index, bar.size);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, map_file(n.iommufd, n.ioas, fd, 0, bar.size, TEST_IOVA));
	ASSERT_EQ(0, close(fd));
	ASSERT_EQ(0, try_get_pa(n.iommufd, n.ioas, TEST_IOVA));
	ASSERT_STREQ("vfio_pci", unload_all());

	/* Nobody may use the BAR any more, but its dma-buf is still there */
	ASSERT_EQ(0, close(n.cdev));
	ASSERT_EQ(-EINVAL, try_get_pa(n.iommufd, n.ioas, TEST_IOVA));
	ASSERT_STREQ("vfio_pci_core", unload_all());
	ASSERT_EQ(-EINVAL, try_get_pa(n.iommufd, n.ioas, TEST_IOVA));
	ASSERT_EQ(0, unmap(n.iommufd, n.ioas, TEST_IOVA, bar.size));
	ASSERT_STREQ("iommufd", unload_all());
	ASSERT_EQ(0, close(n.iommufd));
	ASSERT_STREQ("none", unload_all());
	load_all();
	ASSERT_TRUE(is_bound());
}

static int unload_driver(void *arg)
{
	struct noiommu *n = arg;

	/* Not to be among those whom it waits for */
	close(n->cdev);
	close(n->iommufd);
	return unload("vfio_pci");
}

/* Who has opened a device but not bound it does not keep the driver, which waits */
TEST_F(lifecycle, modules_wait_for_close)
{
	struct noiommu n;
	char state[8] = {};
	int fd, status;
	pid_t pid;

	if (!has_modules())
		SKIP(return, "needs modules, which can be unloaded");
	n.cdev = open_cdev(bdf);
	ASSERT_GE(n.cdev, 0);
	n.iommufd = open("/dev/iommu", O_RDWR);
	ASSERT_GE(n.iommufd, 0);
	fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(-unload_driver(&n));

	ASSERT_TRUE(wait_for(device_path("vfio-dev"), false));
	fd = open("/sys/module/vfio_pci/initstate", O_RDONLY);
	ASSERT_GE(fd, 0);
	ASSERT_GT(read(fd, state, sizeof(state) - 1), 0);
	ASSERT_STREQ("going\n", state);
	ASSERT_EQ(0, close(fd));
	ASSERT_EQ(-ENODEV, cdev_bind(n.cdev, n.iommufd, &n.devid));
	ASSERT_EQ(-EWOULDBLOCK, unload("vfio"));
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, close(n.cdev));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(0, close(n.iommufd));
	ASSERT_STREQ("none", unload_all());
	load_all();
	ASSERT_TRUE(is_bound());
}

/* Uses the device as far as it is there, over and over */
struct visitor {
	const char *path;
	atomic_bool stop;
	int uses;
};

static void *visit(void *arg)
{
	struct visitor *v = arg;
	void *va = alloc_mem(TEST_SIZE, 0);
	struct noiommu n;

	while (!v->stop) {
		n.cdev = open(v->path, O_RDWR | O_CLOEXEC);
		n.iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
		if (n.cdev >= 0 && n.iommufd >= 0 &&
		    !cdev_bind(n.cdev, n.iommufd, &n.devid)) {
			VFIO_ASSERT_EQ(ioas_alloc(n.iommufd, &n.ioas), 0);
			VFIO_ASSERT_EQ(cdev_attach_to(n.cdev, n.ioas), 0);
			VFIO_ASSERT_EQ(map(n.iommufd, n.ioas, va, TEST_SIZE,
					   TEST_IOVA), 0);
			VFIO_ASSERT_EQ(check_pa(&n, va), 0);
			v->uses++;
		}
		if (n.cdev >= 0)
			close(n.cdev);
		if (n.iommufd >= 0)
			close(n.iommufd);
		usleep(rand() % 10000);
	}
	munmap(va, TEST_SIZE);
	return NULL;
}

TEST_F_TIMEOUT(lifecycle, modules_at_any_time, 120)
{
	struct visitor v = { .path = vfio_pci_get_cdev_path(bdf) };
	int all = 0, some = 0, refused = 0;
	const char *in_use;
	pthread_t thread;

	if (!has_modules())
		SKIP(return, "needs modules, which can be unloaded");
	ASSERT_EQ(0, pthread_create(&thread, NULL, visit, &v));
	while (all < 5) {
		usleep(rand() % 1000);
		in_use = unload_all();
		if (!strcmp("vfio_pci", in_use)) {
			refused++;
			continue;
		}
		if (!strcmp("none", in_use))
			all++;
		else
			some++;
		load_all();
	}
	v.stop = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	printf("# unloaded all %d times, some %d times; none %d times; %d uses meanwhile\n",
	       all, some, refused, v.uses);
	ASSERT_GT(refused, 0);
	ASSERT_GT(v.uses, 0);
	ASSERT_TRUE(is_bound());
	free((void *)v.path);
}

/* The end of the user */

/* Four things to close, in each of their 24 orders */
TEST_F(lifecycle, close_in_each_order)
{
	int order, i, left, next;
	struct noiommu n;
	int copy;
	void *va;

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
		va = alloc_mem(TEST_SIZE, 0);
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
		ASSERT_EQ(self->tables, table_kib());
		ASSERT_EQ(self->pinned, pinned_pages());
	}
}

TEST_F(lifecycle, killed_at_any_time)
{
	struct user u;
	int i, status;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		fflush(NULL);
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			use(&u);
			for (;;) {
				unmap(u.n.iommufd, u.n.ioas, 0, UINT64_MAX);
				map(u.n.iommufd, u.n.ioas, u.va, TEST_SIZE,
				    TEST_IOVA);
			}
		}
		usleep(20000 + 7919 * i);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
		ASSERT_EQ(self->tables, table_kib());
		ASSERT_EQ(self->pinned, pinned_pages());
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
	VFIO_ASSERT_EQ(setgid(NOBODY), 0);
	VFIO_ASSERT_EQ(setuid(NOBODY), 0);
	return try_open();
}

TEST_F(lifecycle, nobody_cannot_open)
{
	const char *path = vfio_pci_get_cdev_path(bdf);

	ASSERT_EQ(-EACCES, in_child(open_as_nobody, NULL));
	/* An administrator who hands out the node gives nothing away by that */
	ASSERT_EQ(0, chmod(path, 0666));
	ASSERT_EQ(-EPERM, in_child(open_as_nobody, NULL));
	ASSERT_EQ(0, chmod(path, 0600));
	free((void *)path);
}

static int open_as_root_of_a_namespace(void *arg)
{
	if (unshare(CLONE_NEWUSER))
		return -errno;
	return try_open();
}

TEST_F(lifecycle, user_namespace_cannot_open)
{
	const char *path = vfio_pci_get_cdev_path(bdf);
	int ret;

	ASSERT_EQ(0, chmod(path, 0666));
	ret = in_child(open_as_root_of_a_namespace, NULL);
	ASSERT_EQ(0, chmod(path, 0600));
	free((void *)path);
	if (ret == -EINVAL)
		SKIP(return, "needs CONFIG_USER_NS");
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
		return -EPERM;
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
	ASSERT_EQ(-EPERM, in_child(use_in_a_namespace, &n));
	/* The mapping is still there, and so is its memory */
	ASSERT_EQ(0, try_get_pa(n.iommufd, n.ioas, TEST_IOVA));
	noiommu_close(&n);
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

/* The last test, since there is no way back: see the documentation */
TEST_F(lifecycle, lockdown)
{
	struct user u;

	/* On most systems it is there already */
	mount("securityfs", SECURITYFS, "securityfs", 0, NULL);
	if (access(LOCKDOWN, F_OK))
		SKIP(return, "needs CONFIG_SECURITY_LOCKDOWN_LSM and securityfs");
	use(&u);
	write_file(LOCKDOWN, "confidentiality");
	ASSERT_EQ(-EPERM, try_write(device_path("config"), "x"));

	ASSERT_EQ(0, check_pa(&u.n, u.va));
	ASSERT_EQ(0, stop_looking(&u));
	noiommu_close(&u.n);
	noiommu_open(&u.n, bdf);
	noiommu_close(&u.n);
}

int main(int argc, char *argv[])
{
	bdf = vfio_selftests_get_bdf(&argc, argv);
	return test_harness_run(argc, argv);
}
