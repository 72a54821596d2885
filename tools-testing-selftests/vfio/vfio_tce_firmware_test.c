// SPDX-License-Identifier: GPL-2.0-only
/*
 * A firmware that refuses: DMA windows and TCEs of pseries that cannot be had,
 * for the kernel's own drivers, and when VFIO takes a PE and gives it back.
 *
 * usage: vfio_tce_firmware_test [OPTION...] DEVICE [DEVICE]
 *
 * The devices are in one PE. What each test needs of them, it says if it has to
 * be skipped: an NVMe controller as the first one, or an OHCI controller as the
 * second one. The driver of the latter does not set a DMA mask.
 *
 * CONFIG_PSERIES_FIRMWARE_FAULTS makes the firmware refuse, also what the drivers
 * of other devices ask it for: this program is for a machine of one's own, a
 * virtual one for instance. "make run_tests" leaves it out. If a larger window
 * fails, the PE is banned from these until the machine boots again, and from VFIO
 * if the firmware keeps such a window, so that some tests need a PE of their own.
 * Those of a PE that can have one window need firmware_faults.fewer_windows=1 on
 * the command line.
 *
 * The kernel's mappings are those of dma_map_benchmark, which tells whether they
 * succeed. Freed memory that is used shows with CONFIG_SLUB_DEBUG_ON, and a table
 * that is lost with CONFIG_DEBUG_KMEMLEAK.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "kselftest_harness.h"
#include "tce.h"

#define PARAMETERS	"/sys/module/firmware_faults/parameters/"

/* Of the hypervisor */
#define H_PUT_TCE		"0x20"
#define H_PUT_TCE_INDIRECT	"0x13c"
#define H_STUFF_TCE		"0x138"
#define H_PARAMETER		"-4"
#define H_PERMISSION		"-11"
#define H_RESOURCE		"-16"
#define H_NOT_ENOUGH_RESOURCES	"-44"

#define CREATE_WINDOW		"ibm,create-pe-dma-window"
#define QUERY_WINDOWS		"ibm,query-pe-dma-window"
#define REMOVE_WINDOW		"ibm,remove-pe-dma-window"
#define RESET_WINDOWS		"ibm,reset-pe-dma-window"
#define RTAS_ERROR		"-1"
#define RTAS_BUSY		"-2"

/* With pages of 16M that is less than the memory there is. */
#define SMALL_BLOCK		"64"

#define MEMORY_SIZE	SZ_2M
#define MAP_IOVA	SZ_16M

static void *memory;

/*
 * The firmware
 */

static void set_parameter(const char *name, const char *value)
{
	sysfs_write(value, PARAMETERS "%s", name);
}

static void get_parameter(const char *name, char *text, size_t size)
{
	char path[PATH_MAX];
	ssize_t len;
	int fd;

	snprintf_assert(path, sizeof(path), PARAMETERS "%s", name);
	fd = open(path, O_RDONLY);
	VFIO_ASSERT_GE(fd, 0);
	len = read(fd, text, size - 1);
	VFIO_ASSERT_GT(len, 0);
	text[len] = '\0';
	close(fd);
}

/* What the parameters of the module were before */
static char refuse_before[512], largest_block_before[32];

static void parameters_save(void)
{
	get_parameter("refuse", refuse_before, sizeof(refuse_before));
	get_parameter("largest_block", largest_block_before,
		      sizeof(largest_block_before));
}

static void parameters_restore(void)
{
	set_parameter("refuse", refuse_before);
	set_parameter("largest_block", largest_block_before);
}

/* CALL[@ARGUMENT]:SKIP:TIMES:RESULT;... */
static __printf(1, 2) void refuse(const char *format, ...)
{
	char calls[512];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(calls, sizeof(calls), format, args);
	va_end(args);
	VFIO_ASSERT_LT(len, sizeof(calls));
	set_parameter("refuse", calls);
}

static void refuse_nothing(void)
{
	refuse(";");
}

/* True if no rule has refusals left that it was to do a number of times. */
static bool has_refused(void)
{
	char text[512], *entry = text;
	int times, nr;

	get_parameter("refuse", text, sizeof(text));
	while ((entry = strchr(entry, ':'))) {
		nr = sscanf(entry, ":%*u:%d:", &times);
		VFIO_ASSERT_EQ(nr, 1);
		if (times > 0)
			return false;
		entry = strchr(entry, ';');
		if (!entry)
			break;
	}
	return true;
}

/* How many calls the last rule has yet to let through */
static unsigned int skips_left(void)
{
	unsigned int left;
	char text[512];
	int nr;

	get_parameter("refuse", text, sizeof(text));
	VFIO_ASSERT_NE(strrchr(text, ';'), NULL);
	nr = sscanf(strrchr(text, ';'), ";%*[^:]:%u:", &left);
	VFIO_ASSERT_EQ(nr, 1, "%s\n", text);
	return left;
}

/* The number of the default window, which its directory in debugfs is called by */
static u32 default_liobn(void)
{
	return get_number(pe_node(bdfs[0]), DEFAULT_WINDOW);
}

/* How many entries of a table are in use, or -1 without the table */
static long table_weight(u32 liobn)
{
	char path[PATH_MAX];
	long weight = -1;
	FILE *file;

	snprintf_assert(path, sizeof(path),
			"/sys/kernel/debug/iommu/%08x/weight", liobn);
	file = fopen(path, "r");
	if (!file)
		return -1;
	if (fscanf(file, "%ld", &weight) != 1)
		weight = -1;
	fclose(file);
	return weight;
}

static bool is_nvme(const char *bdf)
{
	return is_class(bdf, "0x010802");
}

/* The kernel has its driver, too. */
static bool is_ohci(const char *bdf)
{
	return bdf && is_class(bdf, "0x0c0310") &&
	       !access(SYSFS_PCI "/drivers/ohci-pci", F_OK);
}

/*
 * The kernel's drivers
 */

static int map_single(const char *bdf, u32 mask_bits)
{
	return map_by_kernel(bdf, DMA_MAP_BENCH_SINGLE_MODE, mask_bits, 4);
}

/* What the driver has read from a controller about it, which takes DMA */
static bool nvme_model(const char *bdf, char *model, size_t size)
{
	char name[16], path[PATH_MAX];
	bool ok = false;
	FILE *file;

	model[0] = '\0';
	if (!has_driver(bdf) || !wait_live(bdf, name, sizeof(name), 20000))
		return false;
	snprintf_assert(path, sizeof(path), "/sys/class/nvme/%s/model", name);
	file = fopen(path, "r");
	if (file) {
		ok = fgets(model, size, file);
		fclose(file);
	}
	return ok;
}

/* A controller that has a disk can read it, too. */
static bool nvme_works(const char *bdf)
{
	return has_driver(bdf) &&
	       read_disk(bdf, memory, MEMORY_SIZE, 1000) != -EIO;
}

static bool driver_works(const char *bdf)
{
	probe(bdf, "nvme");
	return nvme_works(bdf);
}

/*
 * VFIO
 */

struct user {
	int container;
	int group;
};

/* The group is VFIO's from here on. */
static int user_take(struct user *user)
{
	user->container = open(CONTAINER, O_RDWR);
	VFIO_ASSERT_GE(user->container, 0);
	user->group = open_group(bdfs[0]);
	VFIO_ASSERT_GE(user->group, 0);
	if (ioctl(user->group, VFIO_GROUP_SET_CONTAINER, &user->container))
		return -errno;
	return 0;
}

static void user_set(struct user *user)
{
	ioctl_assert(user->container, VFIO_SET_IOMMU,
		     (void *)VFIO_SPAPR_TCE_v2_IOMMU);
	VFIO_ASSERT_EQ(spapr_register(user->container, memory, MEMORY_SIZE), 0);
}

/* With the first mapping the container makes the default window. */
static int user_map(struct user *user)
{
	return spapr_map(user->container, memory, MEMORY_SIZE, MAP_IOVA,
			 SPAPR_READ_WRITE);
}

static void user_give_back(struct user *user)
{
	close(user->group);
	close(user->container);
}

/* The kernel has the default window afterwards, and no other. */
static void vfio_had_it(void)
{
	struct user user;

	bind_all("vfio-pci");
	VFIO_ASSERT_EQ(user_take(&user), 0);
	user_give_back(&user);
	for (int i = 0; i < 2 && bdfs[i]; i++)
		drop_driver(bdfs[i]);
}

/* A test that ended early has left its rules. */
static void clear_faults(void)
{
	refuse_nothing();
	set_parameter("largest_block", "0");
}

static void teardown(void)
{
	clear_faults();
	for (int i = 0; i < 2 && bdfs[i]; i++)
		probe(bdfs[i], "vfio-pci");
}

FIXTURE(default_window) {};

FIXTURE_SETUP(default_window)
{
	clear_faults();
	vfio_had_it();
}

FIXTURE_TEARDOWN(default_window)
{
	teardown();
}

/*
 * Mappings of the kernel's drivers in the default window
 */

/* Whatever the reason is, the driver learns that there is no mapping. */
TEST_F(default_window, tce_refused)
{
	static const char * const results[] = {
		H_PARAMETER, H_PERMISSION, H_RESOURCE,
	};
	u32 liobn = default_liobn();
	long weight;

	ASSERT_EQ(0, map_single(bdfs[0], 32));
	weight = table_weight(liobn);
	ASSERT_GE(weight, 0);
	for (int i = 0; i < ARRAY_SIZE(results); i++) {
		refuse(H_PUT_TCE_INDIRECT "@%#x:0:1:%s", liobn, results[i]);
		EXPECT_EQ(-ENOMEM, map_single(bdfs[0], 32))
			TH_LOG("%s", results[i]);
		EXPECT_TRUE(has_refused());
		EXPECT_EQ(weight, table_weight(liobn));
	}
	refuse_nothing();
	EXPECT_EQ(0, map_single(bdfs[0], 32));
}

/* The same for one segment of several: no IOVAs are lost. */
TEST_F(default_window, segment_refused)
{
	u32 liobn = default_liobn();
	long weight = table_weight(liobn);
	const char *call;

	/* A page of 4K is not worth a list. */
	call = getpagesize() > 4096 ? H_PUT_TCE_INDIRECT : H_PUT_TCE;
	ASSERT_GE(weight, 0);
	refuse("%s@%#x:2:1:" H_PARAMETER, call, liobn);
	EXPECT_EQ(-ENOMEM, map_by_kernel(bdfs[0], DMA_MAP_BENCH_SG_MODE, 32, 8));
	EXPECT_TRUE(has_refused());
	EXPECT_EQ(weight, table_weight(liobn));
}

/*
 * A mapping of two lots of TCEs, of which the first cannot be cleared: the second
 * is cleared all the same. The next mapping is refused at its first lot, which is
 * cleared, and then all of it with its IOVAs: three calls.
 */
TEST_F(default_window, clear_refused)
{
	u32 liobn = default_liobn();

	refuse(H_STUFF_TCE "@%#x:0:1:" H_PARAMETER ";"
	       H_PUT_TCE_INDIRECT "@%#x:2:-1:" H_RESOURCE ";"
	       H_STUFF_TCE "@%#x:9:1:" H_PARAMETER, liobn, liobn, liobn);
	EXPECT_EQ(-ENOMEM, map_by_kernel(bdfs[0], DMA_MAP_BENCH_SINGLE_MODE, 32,
					 SZ_4M / getpagesize()));
	EXPECT_EQ(9 - 1 - 3, skips_left());
}

/* If it cannot be restored, it is not removed. */
static bool can_reset(void)
{
	return has_property(bdfs[0], "ibm,ddw-extensions");
}

/* In how many calls the default window is cleared */
static u64 default_window_lots(void)
{
	/* The LIOBN, the address and the size */
	__be32 window[5];

	VFIO_ASSERT_EQ(get_property(pe_node(bdfs[0]), DEFAULT_WINDOW, window,
				    sizeof(window)), sizeof(window));
	return ((u64)be32toh(window[3]) << 32 | be32toh(window[4])) /
	       (512 * SZ_4K);
}

/* @result is what a mapping of each device gets. */
static void kernel_maps(struct __test_metadata *const _metadata, int result)
{
	for (int i = 0; i < 2 && bdfs[i]; i++) {
		drop_driver(bdfs[i]);
		EXPECT_EQ(result, map_single(bdfs[i], 32));
	}
}

/* VFIO gets the PE: the default window is cleared behind what is refused. */
TEST_F(default_window, clear_of_window_refused)
{
	u64 lots = default_window_lots();
	struct user user;

	if (!can_reset())
		SKIP(return, "the default window stays");
	ASSERT_LT(1, lots);
	bind_all("vfio-pci");
	refuse(H_STUFF_TCE "@%#x:0:1:" H_PARAMETER ";"
	       H_STUFF_TCE "@%#x:%u:1:" H_PARAMETER,
	       default_liobn(), default_liobn(), UINT32_MAX);
	EXPECT_EQ(0, user_take(&user));
	EXPECT_EQ(UINT32_MAX - (lots - 1), skips_left());
	user_give_back(&user);
}

/*
 * A window that the firmware keeps is VFIO's if it is empty, and else as soon as
 * it can be cleared.
 */
TEST_F(default_window, kept)
{
	struct user user;

	if (!can_reset())
		SKIP(return, "the default window stays");
	bind_all("vfio-pci");
	refuse(REMOVE_WINDOW ":0:2:" RTAS_BUSY ";"
	       REMOVE_WINDOW ":0:1:" RTAS_ERROR);
	EXPECT_EQ(0, user_take(&user));
	EXPECT_TRUE(has_refused());
	user_give_back(&user);

	refuse(REMOVE_WINDOW ":0:1:" RTAS_ERROR ";"
	       H_STUFF_TCE "@%#x:0:1:" H_PARAMETER, default_liobn());
	EXPECT_EQ(-EIO, user_take(&user));
	EXPECT_TRUE(has_refused());
	user_give_back(&user);
	EXPECT_EQ(0, user_take(&user));
	user_give_back(&user);

	kernel_maps(_metadata, 0);
}

/* If it is not restored, either, the kernel's drivers have it as it is. */
TEST_F(default_window, kept_and_not_restored)
{
	struct user user;

	if (!can_reset())
		SKIP(return, "the default window stays");
	bind_all("vfio-pci");
	refuse(REMOVE_WINDOW ":0:1:" RTAS_ERROR ";"
	       H_STUFF_TCE "@%#x:0:1:" H_PARAMETER ";"
	       RESET_WINDOWS ":0:-1:" RTAS_ERROR, default_liobn());
	EXPECT_EQ(-EIO, user_take(&user));
	EXPECT_TRUE(has_refused());
	user_give_back(&user);

	/* Whoever takes it has to clear it. */
	refuse(REMOVE_WINDOW ":0:1:" RTAS_ERROR ";"
	       H_STUFF_TCE "@%#x:0:1:" H_PARAMETER, default_liobn());
	EXPECT_EQ(-EIO, user_take(&user));
	EXPECT_TRUE(has_refused());
	user_give_back(&user);
	refuse_nothing();

	kernel_maps(_metadata, 0);
	vfio_had_it();
	for (int i = 0; i < 2 && bdfs[i]; i++)
		EXPECT_EQ(0, map_single(bdfs[i], 32));
}

static int create_window(int container)
{
	struct vfio_iommu_spapr_tce_create args = {
		.argsz = sizeof(args),
		.page_shift = __builtin_ctz(getpagesize()),
		.window_size = SZ_1G,
		.levels = 1,
	};

	return ioctl(container, VFIO_IOMMU_SPAPR_TCE_CREATE, &args) ? -errno : 0;
}

/* The user of VFIO gets an errno, and not what the firmware returned. */
TEST_F(default_window, refused_to_user)
{
	struct user user;

	bind_all("vfio-pci");
	ASSERT_EQ(0, user_take(&user));
	user_set(&user);
	ASSERT_EQ(0, user_map(&user));
	refuse(H_PUT_TCE "@%#x:0:1:" H_PARAMETER, default_liobn());
	EXPECT_EQ(-EIO, user_map(&user));
	refuse(H_PUT_TCE "@%#x:0:1:" H_NOT_ENOUGH_RESOURCES, default_liobn());
	EXPECT_EQ(-ENOMEM, user_map(&user));
	EXPECT_TRUE(has_refused());
	if (has_property(bdfs[0], "ibm,ddw-applicable")) {
		refuse(QUERY_WINDOWS ":0:1:" RTAS_ERROR);
		EXPECT_EQ(-ENODEV, create_window(user.container));
		EXPECT_TRUE(has_refused());
	}
	refuse_nothing();
	EXPECT_EQ(0, user_map(&user));
	user_give_back(&user);
}

/* A 64-bit window that VFIO has removed does not affect the next driver. */
TEST_F(default_window, limit_cleared)
{
	if (!is_nvme(bdfs[0]))
		SKIP(return, "needs an NVMe controller");
	ASSERT_TRUE(driver_works(bdfs[0]));
	if (!has_property(bdfs[0], DIRECT_WINDOW))
		SKIP(return, "the kernel's driver has no window for all of memory");
	vfio_had_it();
	ASSERT_FALSE(has_property(bdfs[0], DIRECT_WINDOW));
	EXPECT_EQ(0, map_single(bdfs[0], 32));
}

/*
 * The default window that is to be restored
 */

/* The user of VFIO gets an error, and the window once it can be had. */
TEST_F(default_window, restore_refused_to_user)
{
	struct user user;

	if (!can_reset())
		SKIP(return, "the default window stays");
	bind_all("vfio-pci");
	ASSERT_EQ(0, user_take(&user));
	user_set(&user);
	refuse(RESET_WINDOWS ":0:1:" RTAS_ERROR);
	EXPECT_NE(0, user_map(&user));
	EXPECT_TRUE(has_refused());
	EXPECT_EQ(0, user_map(&user));
	user_give_back(&user);
}

/* A firmware that is busy is asked again. */
TEST_F(default_window, restore_busy)
{
	struct user user;

	if (!can_reset())
		SKIP(return, "the default window stays");
	bind_all("vfio-pci");
	ASSERT_EQ(0, user_take(&user));
	user_set(&user);
	refuse(RESET_WINDOWS ":0:2:" RTAS_BUSY);
	EXPECT_EQ(0, user_map(&user));
	EXPECT_TRUE(has_refused());
	user_give_back(&user);
}

/* The kernel's driver has no DMA until VFIO has had the device once more. */
TEST_F(default_window, restore_refused_to_kernel)
{
	struct user user;

	if (!can_reset())
		SKIP(return, "the default window stays");
	bind_all("vfio-pci");
	ASSERT_EQ(0, user_take(&user));
	refuse(RESET_WINDOWS ":0:-1:" RTAS_ERROR);
	user_give_back(&user);
	refuse_nothing();

	EXPECT_FALSE(has_property(bdfs[0], DEFAULT_WINDOW));
	EXPECT_EQ(-EINVAL, map_single(bdfs[0], 32));
	vfio_had_it();
	EXPECT_TRUE(has_property(bdfs[0], DEFAULT_WINDOW));
	EXPECT_EQ(0, map_single(bdfs[0], 32));
}

/*
 * A device that joined while VFIO had the PE. It has no table then, and gets
 * none if the default window cannot be restored.
 */
TEST_F(default_window, restore_refused_to_joined)
{
	struct user user;

	if (!can_reset())
		SKIP(return, "the default window stays");
	if (!is_ohci(bdfs[1]))
		SKIP(return, "needs an OHCI controller, and CONFIG_USB_OHCI_HCD_PCI");
	bind_all("vfio-pci");
	ASSERT_EQ(0, user_take(&user));
	user_set(&user);
	ASSERT_EQ(0, user_map(&user));
	sysfs_write("1", SYSFS_PCI "/devices/%s/remove", bdfs[1]);
	sysfs_write("1", SYSFS_PCI "/rescan", "");
	refuse(RESET_WINDOWS ":0:-1:" RTAS_ERROR);
	user_give_back(&user);
	refuse_nothing();

	probe(bdfs[1], "ohci-pci");
	EXPECT_FALSE(has_driver(bdfs[1]));
	vfio_had_it();
	probe(bdfs[1], "ohci-pci");
	EXPECT_TRUE(has_driver(bdfs[1]));
}

/*
 * A table that is beyond what a device can address, as its driver does not set a
 * mask: an earlier one has, and got a window that has not all of memory.
 */
TEST_F(default_window, beyond_mask)
{
	if (!is_ohci(bdfs[1]))
		SKIP(return, "needs an OHCI controller, and CONFIG_USB_OHCI_HCD_PCI");
	if (!has_property(bdfs[0], "ibm,ddw-applicable"))
		SKIP(return, "the PE can have no other windows");
	set_parameter("largest_block", SMALL_BLOCK);
	EXPECT_EQ(0, map_single(bdfs[1], 64));
	set_parameter("largest_block", "0");
	ASSERT_TRUE(has_property(bdfs[1], DYNAMIC_WINDOW));
	ASSERT_LT(UINT32_MAX, window_base(bdfs[1], DYNAMIC_WINDOW));
	probe(bdfs[1], "ohci-pci");
	EXPECT_FALSE(has_driver(bdfs[1]));
	vfio_had_it();
	probe(bdfs[1], "ohci-pci");
	EXPECT_TRUE(has_driver(bdfs[1]));
}

/*
 * The window for all of memory. If it fails, the PE is banned from it.
 */

FIXTURE(large_window) {
	char model[64];
};

FIXTURE_SETUP(large_window)
{
	if (!is_nvme(bdfs[0]))
		SKIP(return, "needs an NVMe controller");
	clear_faults();
	bind_to(bdfs[0], "nvme");
	ASSERT_TRUE(nvme_model(bdfs[0], self->model, sizeof(self->model)));
	if (!has_property(bdfs[0], DIRECT_WINDOW))
		SKIP(return, "the PE has no window for all of memory, or is banned from it");
	vfio_had_it();
}

FIXTURE_TEARDOWN(large_window)
{
	teardown();
}

static void window_fails(struct __test_metadata *const _metadata,
			 const char *model, const char *calls)
{
	char now[64];

	refuse(calls);
	EXPECT_TRUE(driver_works(bdfs[0]));
	EXPECT_TRUE(has_refused());
	EXPECT_FALSE(has_property(bdfs[0], DIRECT_WINDOW));
	EXPECT_TRUE(has_property(bdfs[0], DEFAULT_WINDOW));
	EXPECT_TRUE(nvme_model(bdfs[0], now, sizeof(now)));
	EXPECT_STREQ(model, now);
	drop_driver(bdfs[0]);
	EXPECT_EQ(0, map_single(bdfs[0], 32));
}

/* The driver has the default window, and does not bypass the IOMMU. */
TEST_F(large_window, refused)
{
	window_fails(_metadata, self->model,
		     CREATE_WINDOW ":0:1:" RTAS_ERROR);
}

TEST_F(large_window, tce_refused)
{
	window_fails(_metadata, self->model,
		     H_PUT_TCE_INDIRECT ":0:1:" H_PARAMETER);
}

/*
 * A dynamic window that the firmware keeps, with TCEs in it. Nobody gets the PE
 * any more until the machine boots again.
 */

FIXTURE(kept_window) {};

FIXTURE_SETUP(kept_window)
{
	if (!has_property(bdfs[0], "ibm,ddw-applicable"))
		SKIP(return, "the PE can have no other windows");
	clear_faults();
	vfio_had_it();
}

FIXTURE_TEARDOWN(kept_window)
{
	teardown();
}

/* @result is what the kernel's drivers get. */
static void refused_for_good(struct __test_metadata *const _metadata,
			     int result)
{
	struct user user;

	refuse_nothing();
	bind_all("vfio-pci");
	EXPECT_EQ(-EIO, user_take(&user));
	user_give_back(&user);
	kernel_maps(_metadata, result);
}

/* With all of memory, and the default window is not restored. */
TEST_F(kept_window, of_kernel)
{
	struct user user;

	if (!is_nvme(bdfs[0]))
		SKIP(return, "needs an NVMe controller");
	ASSERT_TRUE(driver_works(bdfs[0]));
	if (!has_property(bdfs[0], DIRECT_WINDOW))
		SKIP(return, "the PE has no window for all of memory, or is banned from it");
	bind_all("vfio-pci");
	refuse(REMOVE_WINDOW ":0:1:" RTAS_ERROR ";"
	       H_STUFF_TCE "@%#x:0:1:" H_PARAMETER ";"
	       RESET_WINDOWS ":0:1:" RTAS_ERROR,
	       get_number(pe_node(bdfs[0]), DIRECT_WINDOW));
	EXPECT_EQ(-EIO, user_take(&user));
	EXPECT_TRUE(has_refused());
	user_give_back(&user);
	refused_for_good(_metadata, -EINVAL);
}

/* Memory could not be mapped in it, so that the driver does not have it. */
TEST_F(kept_window, of_kernel_not_mapped)
{
	if (!is_nvme(bdfs[0]))
		SKIP(return, "needs an NVMe controller");
	refuse(H_PUT_TCE_INDIRECT ":0:1:" H_PARAMETER ";"
	       H_STUFF_TCE ":0:1:" H_PARAMETER ";"
	       REMOVE_WINDOW ":0:1:" RTAS_ERROR);
	EXPECT_TRUE(driver_works(bdfs[0]));
	if (!has_refused())
		SKIP(return, "the PE has no window for all of memory, or is banned from it");
	EXPECT_FALSE(has_property(bdfs[0], DIRECT_WINDOW));
	drop_driver(bdfs[0]);
	refused_for_good(_metadata, 0);
}

/* The next user does not reach what this one has mapped. */
TEST_F(kept_window, of_user)
{
	struct user user;

	bind_all("vfio-pci");
	ASSERT_EQ(0, user_take(&user));
	user_set(&user);
	ASSERT_EQ(0, create_window(user.container));
	refuse(REMOVE_WINDOW ":0:-1:" RTAS_ERROR ";"
	       H_STUFF_TCE "@%#x:0:1:" H_PARAMETER,
	       get_number(pe_node(bdfs[0]), DYNAMIC_WINDOW));
	user_give_back(&user);
	EXPECT_TRUE(has_refused());
	refused_for_good(_metadata, 0);
}

/*
 * A PE that can have one window
 */

FIXTURE(one_window) {};

FIXTURE_SETUP(one_window)
{
	char text[32];

	get_parameter("fewer_windows", text, sizeof(text));
	if (!atoi(text))
		SKIP(return, "needs firmware_faults.fewer_windows=1");
	clear_faults();
	vfio_had_it();
}

FIXTURE_TEARDOWN(one_window)
{
	teardown();
}

/* VFIO takes each of its devices. */
TEST_F(one_window, two_devices)
{
	struct user user;

	if (!bdfs[1])
		SKIP(return, "needs two devices");
	bind_all("vfio-pci");
	ASSERT_EQ(0, user_take(&user));
	user_set(&user);
	EXPECT_EQ(0, user_map(&user));
	user_give_back(&user);
	EXPECT_EQ(0, map_single(bdfs[0], 32));
	EXPECT_EQ(0, map_single(bdfs[1], 32));
}

/* A device that joins leaves the window in place of the default one alone. */
TEST_F(one_window, join)
{
	if (!is_nvme(bdfs[0]) || !bdfs[1])
		SKIP(return, "needs an NVMe controller and another device");
	ASSERT_TRUE(driver_works(bdfs[0]));
	ASSERT_TRUE(has_property(bdfs[0], DIRECT_WINDOW));
	ASSERT_FALSE(has_property(bdfs[0], DEFAULT_WINDOW));

	sysfs_write("1", SYSFS_PCI "/devices/%s/remove", bdfs[1]);
	sysfs_write("1", SYSFS_PCI "/rescan", "");
	EXPECT_TRUE(has_property(bdfs[0], DIRECT_WINDOW));
	EXPECT_FALSE(has_property(bdfs[0], DEFAULT_WINDOW));
	EXPECT_TRUE(nvme_works(bdfs[0]));
}

/*
 * A driver gets a window in place of the default one. The driver of another
 * device gets an error if it cannot use that, and else its table.
 */
static void replaced(struct __test_metadata *const _metadata,
		     const char *property)
{
	bool usable;

	EXPECT_EQ(0, map_single(bdfs[0], 64));
	EXPECT_FALSE(has_property(bdfs[0], DEFAULT_WINDOW));
	ASSERT_TRUE(has_property(bdfs[0], property));
	usable = !strcmp(property, DYNAMIC_WINDOW) &&
		 window_base(bdfs[0], property) < UINT32_MAX;
	probe(bdfs[1], "ohci-pci");
	EXPECT_EQ(usable, has_driver(bdfs[1]));

	vfio_had_it();
	probe(bdfs[1], "ohci-pci");
	EXPECT_TRUE(has_driver(bdfs[1]));
}

TEST_F(one_window, direct)
{
	if (!is_ohci(bdfs[1]))
		SKIP(return, "needs an OHCI controller, and CONFIG_USB_OHCI_HCD_PCI");
	replaced(_metadata, DIRECT_WINDOW);
}

TEST_F(one_window, dynamic)
{
	if (!is_ohci(bdfs[1]))
		SKIP(return, "needs an OHCI controller, and CONFIG_USB_OHCI_HCD_PCI");
	set_parameter("largest_block", SMALL_BLOCK);
	replaced(_metadata, DYNAMIC_WINDOW);
}

/* The window is not made, and the default one does not come back. It bans the PE. */
TEST_F(one_window, lost)
{
	refuse(CREATE_WINDOW ":0:1:" RTAS_ERROR ";"
	       RESET_WINDOWS ":0:1:" RTAS_ERROR);
	EXPECT_EQ(-EINVAL, map_single(bdfs[0], 64));
	EXPECT_TRUE(has_refused());
	EXPECT_FALSE(has_property(bdfs[0], DEFAULT_WINDOW));
	vfio_had_it();
	EXPECT_EQ(0, map_single(bdfs[0], 32));
}

static const struct {
	const char *path;
	const char *option;
} needs[] = {
	{ PARAMETERS "refuse", "CONFIG_PSERIES_FIRMWARE_FAULTS" },
	{ SYSFS_PCI "/drivers/dma_map_benchmark", "CONFIG_DMA_MAP_BENCHMARK" },
	{ "/sys/kernel/debug/iommu", "CONFIG_IOMMU_DEBUGFS" },
};

int main(int argc, char *argv[])
{
	int ret;

	argc = take_devices(argc, argv, "DEVICE [DEVICE]");

	if (is_bare_metal())
		ksft_exit_skip("bare metal has another firmware\n");
	for (int i = 0; i < ARRAY_SIZE(needs); i++)
		if (access(needs[i].path, F_OK))
			ksft_exit_skip("needs %s, and to be root\n",
				       needs[i].option);
	memory = alloc_memory(MEMORY_SIZE);
	parameters_save();
	ret = test_harness_run(argc, argv);
	parameters_restore();
	return ret;
}
