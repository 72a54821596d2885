// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tests of a noiommu device that take a machine of one's own, a virtual one
 * for instance: they remove the device and scan its bus for devices, unload
 * modules, lock the kernel down until it boots again, and talk to QEMU.
 * "make run_tests" leaves them out.
 *
 * Usage: vfio_noiommu_machine_test [harness options] BDF
 *
 * In QEMU the monitor can be on a serial port, which MONITOR in the environment
 * names. The device is then unplugged and plugged in again: it has to be an edu
 * with the id "unplug" on the bus "root".
 *
 * Where VFIO and iommufd are modules they are unloaded and loaded again, by
 * modprobe.
 */
#include <stdatomic.h>
#include <termios.h>

#include <sys/mount.h>

#include "kselftest_harness.h"
#include "noiommu_user.h"

#define SECURITYFS "/sys/kernel/security"
#define LOCKDOWN SECURITYFS "/lockdown"
#define AUTOPROBE PCI_SYSFS "/drivers_autoprobe"

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
	ASSERT_FALSE(counters_grew(&self->before));
}

/*
 * Until the port is raw, the terminal echoes what the monitor says, and the
 * monitor takes that for commands. It is opened once, and what was echoed by
 * then becomes a line of its own, which the monitor does not know.
 */
static int open_monitor(const char *port, struct termios *before)
{
	struct termios termios;
	int fd = open(port, O_RDWR | O_NOCTTY);

	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(tcgetattr(fd, before), 0);
	termios = *before;
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
	struct termios before;
	int event, monitor;
	struct user u;
	int i;

	if (!port)
		SKIP(return, "MONITOR does not name a serial port");
	monitor = open_monitor(port, &before);
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

	/* QEMU refuses it until the slot has been powered off */
	for (i = 0; i < 20 && access(device_path("vendor"), F_OK); i++, sleep(1))
		tell_monitor(monitor,
			     "device_add edu,id=unplug,bus=root,dma_mask=0xffffffffffff\n");

	ASSERT_TRUE(wait_for(device_path("vendor"), true));
	bind_driver();
	ASSERT_TRUE(wait_for(device_path("vfio-dev"), true));
	ASSERT_EQ(0, tcsetattr(monitor, TCSADRAIN, &before));
	ASSERT_EQ(0, close(monitor));
}

/* Removed by sysfs, and found again by a scan of its bus */

/* Its own driver must not take the device before there is a driver_override */
static void rescan_and_bind(void)
{
	char path[PATH_MAX];

	write_file(NOIOMMU_PARAM, "Y");
	write_file(AUTOPROBE, "0");
	snprintf_assert(path, sizeof(path), "/sys/class/pci_bus/%.7s/rescan",
			bdf);
	write_file(path, "1");
	VFIO_ASSERT_TRUE(wait_for(device_path("driver_override"), true));
	bind_driver();
	write_file(AUTOPROBE, "1");
}

TEST_F(lifecycle, remove_and_rescan)
{
	struct user u;
	int event, status;
	pid_t pid;

	use(&u);
	event = request_eventfd(u.n.cdev);
	fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		/* Blocks until the device is given back: do not hold on to it */
		close(u.n.cdev);
		close(u.n.iommufd);
		close(u.looker_fd);
		_exit(-try_write_file(device_path("remove"), "1"));
	}

	/* Asked for the device, but it stays ours until we close it */
	ASSERT_TRUE(wait_for_request(event));
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, check_pa(&u.n, u.va));
	ASSERT_EQ(0, close(u.n.cdev));

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_NE(0, access(device_path(""), F_OK));
	ASSERT_EQ(-EOPNOTSUPP, check_pa(&u.n, u.va));

	/* What is mapped is there for the device that comes back */
	rescan_and_bind();
	u.n.cdev = open_cdev(bdf);
	ASSERT_GE(u.n.cdev, 0);
	ASSERT_EQ(0, cdev_bind(u.n.cdev, u.n.iommufd, &u.n.devid));
	ASSERT_EQ(0, cdev_attach_to(u.n.cdev, u.n.ioas));
	ASSERT_EQ(0, check_pa(&u.n, u.va));
	ASSERT_EQ(0, stop_looking(&u));
	ASSERT_EQ(0, close(event));
	noiommu_close(&u.n);
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
 * A device in use keeps its driver, and an iommufd keeps its own module, with
 * all that is mapped. Without either of them all the modules can go.
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
		ASSERT_FALSE(counters_grew(&self->before));

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

/*
 * Who has opened a device but not bound it does not keep the driver, which
 * waits
 */
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
	ASSERT_EQ(-EPERM, try_write_file(device_path("config"), "x"));

	ASSERT_EQ(0, check_pa(&u.n, u.va));
	ASSERT_EQ(0, stop_looking(&u));
	noiommu_close(&u.n);
	noiommu_open(&u.n, bdf);
	noiommu_close(&u.n);
}

/* If a test ended while the device was removed */
static void plug_in(void)
{
	if (access(device_path(""), F_OK))
		rescan_and_bind();
}

int main(int argc, char *argv[])
{
	user_init(&argc, argv);
	restore_at_exit(AUTOPROBE);
	call_at_exit(plug_in);
	return test_harness_run(argc, argv);
}
