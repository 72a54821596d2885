// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults on each path that a device takes through the VFIO container for sPAPR
 * and through iommufd, to the TCE tables of a POWER host bridge.
 *
 * usage: vfio_tce_fail_nth [OPTION...] NVME [NVME]
 *
 * A test does the same operation over and over. The first time the first
 * allocation fails that the kernel makes, the next time the second one, and so
 * on until the operation gets through without meeting a fault. An operation
 * that failed is repeated without a fault and must then succeed. Then all of it
 * is closed. At the end the container has the group once more, without a fault,
 * and the kernel's own driver, which reads the disks, can do DMA.
 *
 * What goes wrong in the kernel may show in its log only: use a kernel with
 * CONFIG_SLUB_DEBUG_ON and CONFIG_DEBUG_KMEMLEAK.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/compiler.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "kselftest_harness.h"
#include "tce.h"

#define FAULTS		"/sys/kernel/debug"

#define MEMORY_SIZE	SZ_2M
#define MAP_IOVA	SZ_16M
/* More faults than any of the operations can meet */
#define MAX_NTH		2000

static void *memory;
static int fault_fd;

/* One pass: what it has open, and where its second window is */
struct pass {
	int container;
	int group;
	int device;
	int iommufd;
	u32 devid;
	u32 ioas;
	u32 hwpt;
	u32 other_hwpt;
	u64 start;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		VFIO_ASSERT_EQ(close(*fd), 0);
	*fd = -1;
}

static void pass_init(struct pass *p)
{
	*p = (struct pass) {
		.container = -1,
		.group = -1,
		.device = -1,
		.iommufd = -1,
	};
}

static void pass_close(struct pass *p)
{
	close_fd(&p->device);
	close_fd(&p->group);
	close_fd(&p->container);
	close_fd(&p->iommufd);
}

static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

/* What was there before. Each starts with the one above it. */

static void prepare_open(struct pass *p)
{
	p->container = open(CONTAINER, O_RDWR);
	VFIO_ASSERT_GE(p->container, 0);
	p->group = open_group(bdfs[0]);
	VFIO_ASSERT_GE(p->group, 0);
}

/*
 * On pseries the kernel saves what describes the default window when it removes
 * that for the first time. Let it do so again.
 */
static void prepare_unsaved(struct pass *p)
{
	char text[64];

	if (has_property(bdfs[0], "ibm,dma-window-saved") &&
	    has_property(bdfs[0], DEFAULT_WINDOW)) {
		snprintf_assert(text, sizeof(text),
				"remove_property %#x ibm,dma-window-saved",
				get_number(pe_node(bdfs[0]), "phandle"));
		sysfs_write(text, "%s", "/proc/powerpc/ofdt");
	}
	prepare_open(p);
}

static int run_set_container(struct pass *p)
{
	return do_ioctl(p->group, VFIO_GROUP_SET_CONTAINER, &p->container);
}

static void prepare_container(struct pass *p)
{
	prepare_open(p);
	VFIO_ASSERT_EQ(run_set_container(p), 0);
}

static int run_set_iommu(struct pass *p)
{
	return do_ioctl(p->container, VFIO_SET_IOMMU,
			(void *)VFIO_SPAPR_TCE_v2_IOMMU);
}

static void prepare_set(struct pass *p)
{
	prepare_container(p);
	VFIO_ASSERT_EQ(run_set_iommu(p), 0);
}

static int run_register(struct pass *p)
{
	return spapr_register(p->container, memory, MEMORY_SIZE);
}

static int run_unregister(struct pass *p)
{
	return spapr_unregister(p->container, memory, MEMORY_SIZE);
}

static void prepare_registered(struct pass *p)
{
	prepare_set(p);
	VFIO_ASSERT_EQ(run_register(p), 0);
}

static int map_at(struct pass *p, u64 iova)
{
	return spapr_map(p->container, memory, MEMORY_SIZE, iova,
			 SPAPR_READ_WRITE);
}

static int unmap_at(struct pass *p, u64 iova)
{
	return spapr_unmap(p->container, iova, MEMORY_SIZE);
}

/* With the first mapping the container makes the default window. */
static int run_map_default(struct pass *p)
{
	return map_at(p, MAP_IOVA);
}

static void prepare_default(struct pass *p)
{
	prepare_registered(p);
	VFIO_ASSERT_EQ(run_map_default(p), 0);
}

/*
 * The second window. On powernv a table of two levels is filled as they are
 * needed, while pseries has one level only.
 */
static int run_create(struct pass *p)
{
	struct vfio_iommu_spapr_tce_create args = {
		.argsz = sizeof(args),
		.page_shift = __builtin_ctz(getpagesize()),
		.window_size = SZ_1G,
	};
	struct vfio_iommu_spapr_tce_info info = { .argsz = sizeof(info) };
	int ret = do_ioctl(p->container, VFIO_IOMMU_SPAPR_TCE_GET_INFO, &info);

	if (ret)
		return ret;
	args.levels = info.ddw.levels > 1 ? 2 : 1;
	ret = do_ioctl(p->container, VFIO_IOMMU_SPAPR_TCE_CREATE, &args);
	p->start = args.start_addr;
	return ret;
}

static void prepare_window(struct pass *p)
{
	prepare_default(p);
	VFIO_ASSERT_EQ(run_create(p), 0);
}

static int run_map(struct pass *p)
{
	return map_at(p, p->start + MAP_IOVA);
}

static void prepare_mapped(struct pass *p)
{
	prepare_window(p);
	VFIO_ASSERT_EQ(run_map(p), 0);
}

static int run_unmap(struct pass *p)
{
	return unmap_at(p, p->start + MAP_IOVA);
}

static int remove_at(struct pass *p, u64 start)
{
	struct vfio_iommu_spapr_tce_remove args = {
		.argsz = sizeof(args),
		.start_addr = start,
	};

	return do_ioctl(p->container, VFIO_IOMMU_SPAPR_TCE_REMOVE, &args);
}

static int run_remove(struct pass *p)
{
	return remove_at(p, p->start);
}

static int run_remove_default(struct pass *p)
{
	return remove_at(p, 0);
}

static int run_close(struct pass *p)
{
	pass_close(p);
	return 0;
}

/* The same for iommufd, with a device */

static int ioas_map(struct pass *p)
{
	struct iommu_ioas_map args = {
		.size = sizeof(args),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = p->ioas,
		.user_va = (uintptr_t)memory,
		.length = MEMORY_SIZE,
		.iova = MAP_IOVA,
	};

	return do_ioctl(p->iommufd, IOMMU_IOAS_MAP, &args);
}

static int ioas_unmap(struct pass *p)
{
	struct iommu_ioas_unmap args = {
		.size = sizeof(args),
		.ioas_id = p->ioas,
		.iova = MAP_IOVA,
		.length = MEMORY_SIZE,
	};

	return do_ioctl(p->iommufd, IOMMU_IOAS_UNMAP, &args);
}

static int hwpt_alloc(struct pass *p, u32 *hwpt)
{
	struct iommu_hwpt_alloc args = {
		.size = sizeof(args),
		.dev_id = p->devid,
		.pt_id = p->ioas,
	};
	int ret = do_ioctl(p->iommufd, IOMMU_HWPT_ALLOC, &args);

	*hwpt = args.out_hwpt_id;
	return ret;
}

static int attach(struct pass *p, u32 pt)
{
	struct vfio_device_attach_iommufd_pt args = {
		.argsz = sizeof(args),
		.pt_id = pt,
	};

	return do_ioctl(p->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args);
}

static int run_bind(struct pass *p)
{
	struct vfio_device_bind_iommufd args = {
		.argsz = sizeof(args),
		.iommufd = p->iommufd,
	};
	int ret = do_ioctl(p->device, VFIO_DEVICE_BIND_IOMMUFD, &args);

	p->devid = args.out_devid;
	return ret;
}

static void prepare_cdev(struct pass *p)
{
	const char *path = vfio_pci_get_cdev_path(bdfs[0]);

	p->device = open(path, O_RDWR);
	VFIO_ASSERT_GE(p->device, 0);
	free((void *)path);
	p->iommufd = open(IOMMUFD, O_RDWR);
	VFIO_ASSERT_GE(p->iommufd, 0);
}

static void prepare_ioas(struct pass *p)
{
	struct iommu_ioas_alloc args = { .size = sizeof(args) };

	prepare_cdev(p);
	VFIO_ASSERT_EQ(run_bind(p), 0);
	VFIO_ASSERT_EQ(do_ioctl(p->iommufd, IOMMU_IOAS_ALLOC, &args), 0);
	p->ioas = args.out_ioas_id;
}

static void prepare_ioas_mapped(struct pass *p)
{
	prepare_ioas(p);
	VFIO_ASSERT_EQ(ioas_map(p), 0);
}

static int run_hwpt_alloc(struct pass *p)
{
	return hwpt_alloc(p, &p->hwpt);
}

static void prepare_hwpts(struct pass *p)
{
	prepare_ioas_mapped(p);
	VFIO_ASSERT_EQ(hwpt_alloc(p, &p->hwpt), 0);
	VFIO_ASSERT_EQ(hwpt_alloc(p, &p->other_hwpt), 0);
}

static int run_attach(struct pass *p)
{
	return attach(p, p->hwpt);
}

static void prepare_attached(struct pass *p)
{
	prepare_hwpts(p);
	VFIO_ASSERT_EQ(run_attach(p), 0);
}

static int run_replace(struct pass *p)
{
	return attach(p, p->other_hwpt);
}

static int run_detach(struct pass *p)
{
	struct vfio_device_detach_iommufd_pt args = { .argsz = sizeof(args) };

	return do_ioctl(p->device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &args);
}

static void prepare_attached_empty(struct pass *p)
{
	prepare_ioas(p);
	VFIO_ASSERT_EQ(attach(p, p->ioas), 0);
}

/* What has to work afterwards */

static void check_nothing(struct pass *p)
{
}

static void check_set(struct pass *p)
{
	VFIO_ASSERT_EQ(run_set_iommu(p), 0);
	VFIO_ASSERT_EQ(run_register(p), 0);
	VFIO_ASSERT_EQ(run_map_default(p), 0);
}

static void check_registered(struct pass *p)
{
	VFIO_ASSERT_EQ(run_map_default(p), 0);
	VFIO_ASSERT_EQ(unmap_at(p, MAP_IOVA), 0);
	VFIO_ASSERT_EQ(run_unregister(p), 0);
}

/* Memory that nothing maps can be unregistered. */
static void check_default(struct pass *p)
{
	VFIO_ASSERT_EQ(run_unregister(p), -EBUSY);
	VFIO_ASSERT_EQ(unmap_at(p, MAP_IOVA), 0);
	VFIO_ASSERT_EQ(run_unregister(p), 0);
}

static void check_created(struct pass *p)
{
	VFIO_ASSERT_EQ(run_map(p), 0);
	VFIO_ASSERT_EQ(run_unmap(p), 0);
	VFIO_ASSERT_EQ(run_remove(p), 0);
	check_default(p);
}

static void check_mapped(struct pass *p)
{
	VFIO_ASSERT_EQ(run_unmap(p), 0);
	check_default(p);
}

static void check_removed(struct pass *p)
{
	VFIO_ASSERT_EQ(run_create(p), 0);
	check_created(p);
}

static void check_default_removed(struct pass *p)
{
	VFIO_ASSERT_EQ(run_unregister(p), 0);
}

static void check_bound(struct pass *p)
{
	struct iommu_ioas_alloc args = { .size = sizeof(args) };

	VFIO_ASSERT_EQ(do_ioctl(p->iommufd, IOMMU_IOAS_ALLOC, &args), 0);
	p->ioas = args.out_ioas_id;
	VFIO_ASSERT_EQ(attach(p, p->ioas), 0);
	VFIO_ASSERT_EQ(ioas_map(p), 0);
}

static void check_hwpt(struct pass *p)
{
	VFIO_ASSERT_EQ(run_attach(p), 0);
	VFIO_ASSERT_EQ(ioas_unmap(p), 0);
	VFIO_ASSERT_EQ(ioas_map(p), 0);
}

static void check_attached(struct pass *p)
{
	VFIO_ASSERT_EQ(ioas_unmap(p), 0);
	VFIO_ASSERT_EQ(ioas_map(p), 0);
	VFIO_ASSERT_EQ(run_detach(p), 0);
	VFIO_ASSERT_EQ(attach(p, p->ioas), 0);
}

static void check_ioas_mapped(struct pass *p)
{
	VFIO_ASSERT_EQ(ioas_unmap(p), 0);
	VFIO_ASSERT_EQ(ioas_map(p), 0);
}

static void check_ioas_unmapped(struct pass *p)
{
	VFIO_ASSERT_EQ(ioas_map(p), 0);
}

/* Faults */

/* The defaults leave out most allocations, and fill the log. */
static const struct {
	const char *path;
	const char *value;
	bool optional;
} fault_settings[] = {
	{ FAULTS "/failslab/ignore-gfp-wait", "N" },
	{ FAULTS "/failslab/verbose", "0" },
	{ FAULTS "/fail_page_alloc/ignore-gfp-wait", "N" },
	{ FAULTS "/fail_page_alloc/ignore-gfp-highmem", "N" },
	{ FAULTS "/fail_page_alloc/min-order", "0" },
	{ FAULTS "/fail_page_alloc/probability", "0" },
	{ FAULTS "/fail_page_alloc/times", "1" },
	{ FAULTS "/fail_page_alloc/verbose", "0" },
	/* With CONFIG_IOMMUFD_TEST objects are not found, too. */
	{ FAULTS "/fail_iommufd/verbose", "0", .optional = true },
};

static char fault_before[ARRAY_SIZE(fault_settings)][16];

static int fault_setting(int i, int flags, char *text, size_t size)
{
	int fd = open(fault_settings[i].path, flags);
	ssize_t len;

	if (fd < 0)
		return -errno;
	if (flags == O_RDONLY) {
		len = read(fd, text, size - 1);
		if (len > 0)
			text[len] = '\0';
	} else {
		len = write(fd, text, strlen(text));
	}
	close(fd);
	return len > 0 ? 0 : -EIO;
}

static void faults_restore(void)
{
	for (int i = 0; i != ARRAY_SIZE(fault_settings); i++)
		if (fault_before[i][0])
			fault_setting(i, O_WRONLY, fault_before[i], 0);
}

/* They are for all of the machine. */
static void faults_init(void)
{
	char value[16];

	if (access("/proc/thread-self/fail-nth", R_OK | W_OK))
		ksft_exit_skip("needs CONFIG_FAULT_INJECTION\n");
	for (int i = 0; i != ARRAY_SIZE(fault_settings); i++) {
		if (fault_setting(i, O_RDONLY, fault_before[i],
				  sizeof(fault_before[i]))) {
			if (fault_settings[i].optional)
				continue;
			faults_restore();
			ksft_exit_skip("needs the faults of the config fragment: there is no %s\n",
				       fault_settings[i].path);
		}
		snprintf_assert(value, sizeof(value), "%s",
				fault_settings[i].value);
		VFIO_ASSERT_EQ(fault_setting(i, O_WRONLY, value, 0), 0);
	}
}

static void fault_arm(unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	VFIO_ASSERT_EQ(pwrite(fault_fd, text, len, 0), len);
}

/* Return whether the fault happened. */
static bool fault_disarm(void)
{
	char text[16] = "";

	VFIO_ASSERT_GT(pread(fault_fd, text, sizeof(text) - 1, 0), 0);
	if (atoi(text) == 0)
		return true;
	VFIO_ASSERT_EQ(pwrite(fault_fd, "0", 1, 0), 1);
	return false;
}

/* The kernel's own DMA */

/* To identify it takes DMA, and so does reading its disk, if it has one. */
static bool kernel_reads(const char *bdf)
{
	int ret = read_disk(bdf, memory, MEMORY_SIZE, 2000);

	return !ret || (ret == -ENOENT && bdf != bdfs[0]);
}

static bool kernel_reads_in_all(void)
{
	bool works = true;

	bind_all("nvme");
	for (int i = 0; i < 2 && bdfs[i]; i++)
		works = kernel_reads(bdfs[i]) && works;
	bind_all("vfio-pci");
	return works;
}

/*
 * The kernel's driver tries to use the devices when there was perhaps no memory
 * for their windows.
 */
static void kernel_tries(void)
{
	u64 end = now_ms() + 5000;
	char name[16];

	for (int i = 0; i < 2 && bdfs[i]; i++)
		probe(bdfs[i], "nvme");
	for (int i = 0; i < 2 && bdfs[i]; i++)
		while (has_driver(bdfs[i]) && now_ms() < end &&
		       !is_live(bdfs[i], name, sizeof(name)))
			usleep(10000);
	for (int i = 0; i < 2 && bdfs[i]; i++)
		bind_to(bdfs[i], "vfio-pci");
}

/* The devices go away, and with them the PE, that may have no table now. */
static void replug_all(void)
{
	for (int i = 0; i < 2 && bdfs[i]; i++)
		sysfs_write("1", SYSFS_PCI "/devices/%s/remove", bdfs[i]);
	sysfs_write("1", SYSFS_PCI "/rescan", "");
}

/*
 * What VFIO takes from the kernel
 */

static void nvme_set(int device, u32 reg, u32 value)
{
	u64 bar = region_offset(device, VFIO_PCI_BAR0_REGION_INDEX);

	value = htole32(value);
	VFIO_ASSERT_EQ(pwrite(device, &value, 4, bar + reg), 4);
}

static void nvme_wait_ready(int device, u32 ready)
{
	u64 bar = region_offset(device, VFIO_PCI_BAR0_REGION_INDEX);
	u64 end = now_ms() + 10000;
	u32 value;

	do {
		VFIO_ASSERT_LT(now_ms(), end, "The controller hangs\n");
		VFIO_ASSERT_EQ(pread(device, &value, 4, bar + NVME_CSTS), 4);
	} while ((le32toh(value) & 1) != ready);
}

/* Whether a controller does a command that is in memory, through a window */
static bool reaches_memory(int device, u64 window)
{
	u64 config = region_offset(device, VFIO_PCI_CONFIG_REGION_INDEX);
	__le32 *completion = memory + NVME_PAGE;
	u64 to = window + physical_address(memory + 2 * NVME_PAGE);
	u64 end = now_ms() + 300;
	__le32 *command = memory;
	u16 enable;

	VFIO_ASSERT_EQ(pread(device, &enable, 2, config + PCI_COMMAND), 2);
	enable |= htole16(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	VFIO_ASSERT_EQ(pwrite(device, &enable, 2, config + PCI_COMMAND), 2);

	memset(memory, 0, 3 * NVME_PAGE);
	command[0] = htole32(NVME_ADMIN_IDENTIFY);
	command[6] = htole32(to);
	command[7] = htole32(to >> 32);
	command[10] = htole32(1);	/* the controller */

	nvme_set(device, NVME_CC, 0);
	nvme_wait_ready(device, 0);
	nvme_set(device, NVME_AQA, 1 << 16 | 1);
	for (int i = 0; i < 2; i++) {
		u32 reg = i ? NVME_ACQ : NVME_ASQ;

		to = window + physical_address(memory + i * NVME_PAGE);
		nvme_set(device, reg, to);
		nvme_set(device, reg + 4, to >> 32);
	}
	nvme_set(device, NVME_CC, NVME_CC_ENABLE);
	nvme_wait_ready(device, 1);
	nvme_set(device, NVME_DOORBELL, 1);
	while (!READ_ONCE(completion[3]) && now_ms() < end)
		usleep(1000);
	nvme_set(device, NVME_CC, 0);
	return READ_ONCE(completion[3]);
}

/*
 * The kernel's driver has used the device, perhaps without a table, but with a
 * window that has all of memory. The next user does not get that window.
 */
static bool next_user_is_confined(void)
{
	u64 window = kernel_window(bdfs[0]);
	struct pass pass;
	bool reaches;

	if (!window)
		return true;
	pass_init(&pass);
	prepare_cdev(&pass);
	VFIO_ASSERT_EQ(run_bind(&pass), 0);
	reaches = reaches_memory(pass.device, window);
	pass_close(&pass);
	return !reaches;
}

/*
 * @prepare is what has to be there before, @run meets the faults, and @check
 * uses the result. @must_work is for what undoes something: to run out of
 * memory is no excuse. @kernel is for what gives and takes the windows of the
 * kernel's own DMA, which is looked at each time then. Before that @unplug takes
 * the devices out.
 */
struct operation {
	void (*prepare)(struct pass *p);
	int (*run)(struct pass *p);
	void (*check)(struct pass *p);
	bool must_work;
	bool kernel;
	bool unplug;
};

FIXTURE(fail_nth) {};

FIXTURE_VARIANT(fail_nth) {
	struct operation op;
};

FIXTURE_VARIANT_ADD(fail_nth, set_container) {
	.op.prepare = prepare_unsaved,
	.op.run = run_set_container,
	.op.check = check_set,
	.op.kernel = true,
};

FIXTURE_VARIANT_ADD(fail_nth, set_iommu) {
	.op.prepare = prepare_container,
	.op.run = run_set_iommu,
	.op.check = check_nothing,
};

FIXTURE_VARIANT_ADD(fail_nth, register_memory) {
	.op.prepare = prepare_set,
	.op.run = run_register,
	.op.check = check_registered,
};

FIXTURE_VARIANT_ADD(fail_nth, map_default) {
	.op.prepare = prepare_registered,
	.op.run = run_map_default,
	.op.check = check_default,
};

FIXTURE_VARIANT_ADD(fail_nth, create) {
	.op.prepare = prepare_default,
	.op.run = run_create,
	.op.check = check_created,
};

FIXTURE_VARIANT_ADD(fail_nth, map) {
	.op.prepare = prepare_window,
	.op.run = run_map,
	.op.check = check_mapped,
};

FIXTURE_VARIANT_ADD(fail_nth, unmap) {
	.op.prepare = prepare_mapped,
	.op.run = run_unmap,
	.op.check = check_default,
	.op.must_work = true,
};

FIXTURE_VARIANT_ADD(fail_nth, remove) {
	.op.prepare = prepare_mapped,
	.op.run = run_remove,
	.op.check = check_removed,
	.op.must_work = true,
};

FIXTURE_VARIANT_ADD(fail_nth, remove_default) {
	.op.prepare = prepare_default,
	.op.run = run_remove_default,
	.op.check = check_default_removed,
	.op.must_work = true,
	.op.kernel = true,
};

FIXTURE_VARIANT_ADD(fail_nth, close) {
	.op.prepare = prepare_mapped,
	.op.run = run_close,
	.op.check = check_nothing,
	.op.must_work = true,
	.op.kernel = true,
};

FIXTURE_VARIANT_ADD(fail_nth, close_and_unplug) {
	.op.prepare = prepare_mapped,
	.op.run = run_close,
	.op.check = check_nothing,
	.op.must_work = true,
	.op.kernel = true,
	.op.unplug = true,
};

FIXTURE_VARIANT_ADD(fail_nth, iommufd_bind) {
	.op.prepare = prepare_cdev,
	.op.run = run_bind,
	.op.check = check_bound,
	.op.kernel = true,
};

FIXTURE_VARIANT_ADD(fail_nth, iommufd_hwpt_alloc) {
	.op.prepare = prepare_ioas_mapped,
	.op.run = run_hwpt_alloc,
	.op.check = check_hwpt,
};

FIXTURE_VARIANT_ADD(fail_nth, iommufd_attach) {
	.op.prepare = prepare_hwpts,
	.op.run = run_attach,
	.op.check = check_attached,
};

FIXTURE_VARIANT_ADD(fail_nth, iommufd_replace) {
	.op.prepare = prepare_attached,
	.op.run = run_replace,
	.op.check = check_attached,
};

FIXTURE_VARIANT_ADD(fail_nth, iommufd_map) {
	.op.prepare = prepare_attached_empty,
	.op.run = ioas_map,
	.op.check = check_ioas_mapped,
};

FIXTURE_VARIANT_ADD(fail_nth, iommufd_unmap) {
	.op.prepare = prepare_attached,
	.op.run = ioas_unmap,
	.op.check = check_ioas_unmapped,
	.op.must_work = true,
};

FIXTURE_VARIANT_ADD(fail_nth, iommufd_detach) {
	.op.prepare = prepare_attached,
	.op.run = run_detach,
	.op.check = check_hwpt,
	.op.must_work = true,
};

FIXTURE_VARIANT_ADD(fail_nth, iommufd_close) {
	.op.prepare = prepare_attached,
	.op.run = run_close,
	.op.check = check_nothing,
	.op.must_work = true,
	.op.kernel = true,
};

FIXTURE_SETUP(fail_nth)
{
	fault_fd = open("/proc/thread-self/fail-nth", O_RDWR);
	ASSERT_GE(fault_fd, 0);
}

FIXTURE_TEARDOWN(fail_nth)
{
	close(fault_fd);
}

/* The container has the group once, and memory does not run out. */
static void pass_without_faults(void)
{
	struct pass pass;

	pass_init(&pass);
	prepare_window(&pass);
	check_created(&pass);
	pass_close(&pass);
}

static bool is_fault(int ret)
{
	switch (ret) {
	case -ENOMEM:
	case -EFAULT:
	/* The firmware is not asked without memory to do so in. */
	case -ENODEV:
	/* An object of iommufd was not found. */
	case -ENOENT:
	case -EINVAL:
		return true;
	}
	return false;
}

/* Return whether there was a fault */
static bool one_pass(struct __test_metadata *_metadata,
		     const struct operation *op, unsigned int nth)
{
	struct pass pass;
	bool fault;
	int ret;

	pass_init(&pass);
	op->prepare(&pass);

	fault_arm(nth);
	ret = op->run(&pass);
	fault = fault_disarm();
	if (ret) {
		EXPECT_TRUE(fault);
		EXPECT_FALSE(op->must_work && ret == -ENOMEM);
		EXPECT_TRUE(is_fault(ret))
			TH_LOG("errno %d", -ret);
		ret = op->run(&pass);
		EXPECT_EQ(0, ret)
			TH_LOG("errno %d again", -ret);
	}
	if (!ret)
		op->check(&pass);
	pass_close(&pass);

	if (op->unplug)
		replug_all();
	if (op->kernel) {
		kernel_tries();
		EXPECT_TRUE(next_user_is_confined());
		pass_without_faults();
		EXPECT_TRUE(kernel_reads_in_all());
	}
	return fault;
}

/*
 * The first allocation fails last. What an operation does once, and never
 * again, would else be done without a fault when the operation is repeated.
 */
TEST_F_TIMEOUT(fail_nth, sweep, 300)
{
	unsigned int nth;
	bool fault;

	for (nth = 2; nth != MAX_NTH; nth++) {
		fault = one_pass(_metadata, &variant->op, nth);
		if (_metadata->exit_code || !fault)
			break;
	}
	ASSERT_FALSE(fault) TH_LOG("at fault %u", nth);
	fault = one_pass(_metadata, &variant->op, 1);
	ASSERT_EQ(0, _metadata->exit_code) TH_LOG("at fault 1");
	TH_LOG("%u faults", nth - 2 + fault);
	pass_without_faults();
	ASSERT_TRUE(kernel_reads_in_all());
}

static void write_fault(const char *name, const char *value)
{
	sysfs_write(value, FAULTS "/fail_page_alloc/%s", name);
}

/*
 * On bare metal the table of the kernel's own DMA has levels, which are allocated
 * with the first mapping that needs them. That may be done in an interrupt, so
 * only allocations that do not wait fail here.
 */
TEST(kernel_map)
{
	int fd, ret;

	if (!is_bare_metal())
		SKIP(return, "the table has one level");
	if (access(SYSFS_PCI "/drivers/dma_map_benchmark", F_OK))
		SKIP(return, "needs CONFIG_DMA_MAP_BENCHMARK");
	pass_without_faults();

	/* There are few, and anybody may meet them: bind the driver before. */
	fd = open_benchmark(bdfs[0]);
	write_fault("ignore-gfp-wait", "Y");
	write_fault("times", "8");
	write_fault("probability", "100");
	ret = map_benchmark(fd, DMA_MAP_BENCH_SINGLE_MODE, 32, 1);
	write_fault("probability", "0");
	write_fault("times", "1");
	write_fault("ignore-gfp-wait", "N");
	EXPECT_EQ(-ENOMEM, ret);

	EXPECT_EQ(0, map_benchmark(fd, DMA_MAP_BENCH_SINGLE_MODE, 32, 1));
	close_benchmark(fd, bdfs[0]);
	bind_to(bdfs[0], "vfio-pci");
}

int main(int argc, char *argv[])
{
	int ret;

	argc = take_devices(argc, argv, "NVME [NVME]");
	memory = alloc_memory(MEMORY_SIZE);
	faults_init();
	ret = test_harness_run(argc, argv);
	faults_restore();
	return ret;
}
