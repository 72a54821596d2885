// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nothing is lost by mapping and unmapping for a long time.
 *
 * Usage: vfio_noiommu_leak_test [-s SEED] [-n CYCLES] BDF
 *
 * A cycle maps memory of a random size and alignment at a random IOVA, asks for
 * its physical addresses, and unmaps it, now and then together with what other
 * cycles have left mapped. After all of them page tables, pinned pages, what is
 * accounted to the process, and the kernel's slab memory have to be where they
 * were. All but what is accounted are counters of the whole machine. If one of
 * these grew, by whom ever, there is another round. If it did so in each round,
 * and grows as well while nothing is done, it tells nothing.
 *
 * KASAN keeps freed objects for a while, so that the slab memory tells nothing,
 * and is not looked at. kmemleak is the better check then.
 */
#include <getopt.h>
#include <sys/resource.h>
#include <time.h>

#include <linux/mman.h>
#include <linux/sizes.h>

#include <libvfio.h>

#include "noiommu.h"

#define MEM_SIZE SZ_4M
#define NR_KEPT 8
/* What RLIMIT_MEMLOCK allows besides, to see that it is all there in the end */
#define ALLOWANCE SZ_4M
/* More than slab caches fluctuate, and less than one object lost per cycle */
#define SLAB_SLACK_KIB 512
#define WARM_UP_CYCLES 2000

struct mapping {
	u64 iova;
	u64 length;
};

static size_t page_size;
static struct noiommu n;
static void *memory[2];
static struct mapping kept[NR_KEPT];

static u64 vm_pin(void)
{
	return read_number("/proc/self/status", "VmPin:");
}

static u64 slab_kib(void)
{
	return read_number("/proc/meminfo", "SUnreclaim:");
}

/* Has the kernel the part of KASAN that keeps freed objects? */
static bool has_kasan_quarantine(void)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[1024];
	bool ret = false;

	while (file && !ret && fgets(line, sizeof(line), file))
		ret = strstr(line, " kasan_quarantine_put");
	if (file)
		fclose(file);
	return ret;
}

/* Root with CAP_IPC_LOCK is not accounted at all */
static void drop_ipc_lock(void)
{
	struct rlimit limit = { NR_KEPT * MEM_SIZE + ALLOWANCE,
				NR_KEPT * MEM_SIZE + ALLOWANCE };
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	VFIO_ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	VFIO_ASSERT_EQ(syscall(SYS_capget, &hdr, data), 0);
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	VFIO_ASSERT_EQ(syscall(SYS_capset, &hdr, data), 0);
}

/* Each of them has 4 GiB of IOVA to itself */
static void do_unmap(struct mapping *m)
{
	if (m->length)
		VFIO_ASSERT_EQ(unmap(n.iommufd, n.ioas, m->iova, m->length), 0);
	m->length = 0;
}

static void check_pas(const struct mapping *m, void *va, u64 most)
{
	u64 length = m->length;
	u64 pa;

	VFIO_ASSERT_EQ(get_pa(n.iommufd, n.ioas, m->iova + most, &length, &pa),
		       0);
	VFIO_ASSERT_EQ(pa, pagemap_pa(va + most));
}

static void cycle(unsigned int *seed, int slot)
{
	struct mapping *m = &kept[slot];
	/* As many small ones as large ones */
	u64 pages = MEM_SIZE / page_size >> rand_r(seed) % 11;
	u64 start;
	void *va;

	do_unmap(m);
	pages = 1 + rand_r(seed) % pages;
	start = rand_r(seed) % (MEM_SIZE / page_size - pages + 1);
	va = memory[rand_r(seed) % ARRAY_SIZE(memory)] + start * page_size;
	m->length = pages * page_size;
	m->iova = slot * SZ_4G + rand_r(seed) % 2048 * page_size;
	VFIO_ASSERT_EQ(map(n.iommufd, n.ioas, va, m->length, m->iova), 0);
	check_pas(m, va, rand_r(seed) % m->length);
	/* The others stay for a while, among them those that come later */
	if (slot >= NR_KEPT / 2)
		do_unmap(m);
}

static void cycles(unsigned int *seed, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i != nr; i++) {
		cycle(seed, rand_r(seed) % NR_KEPT);
		if (i % 256)
			continue;
		/* All that are there at once, so that whole tables go */
		VFIO_ASSERT_EQ(unmap(n.iommufd, n.ioas, 0, UINT64_MAX), 0);
		memset(kept, 0, sizeof(kept));
		VFIO_ASSERT_EQ(cdev_detach(n.cdev), 0);
		VFIO_ASSERT_EQ(cdev_attach_to(n.cdev, n.ioas), 0);
	}
	VFIO_ASSERT_EQ(unmap(n.iommufd, n.ioas, 0, UINT64_MAX), 0);
	memset(kept, 0, sizeof(kept));
	VFIO_ASSERT_EQ(cdev_detach(n.cdev), 0);
}

/* What is pinned is accounted to this process, and not to all of the user's */
static void open_device(const char *bdf)
{
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = IOMMU_OPTION_RLIMIT_MODE,
		.op = IOMMU_OPTION_OP_SET,
		.val64 = 1,
	};
	int ret;

	n.cdev = open_cdev(bdf);
	VFIO_ASSERT_GE(n.cdev, 0);
	n.iommufd = open("/dev/iommu", O_RDWR);
	VFIO_ASSERT_GE(n.iommufd, 0);
	ret = do_ioctl(n.iommufd, IOMMU_OPTION, &option);
	if (ret == -EPERM)
		ksft_exit_skip("needs CAP_SYS_RESOURCE\n");
	VFIO_ASSERT_EQ(ret, 0);
	VFIO_ASSERT_EQ(cdev_bind(n.cdev, n.iommufd, &n.devid), 0);
	VFIO_ASSERT_EQ(ioas_alloc(n.iommufd, &n.ioas), 0);
}

/* A round of cycles, and what has grown by it */
struct growth {
	bool memory;
	bool vm_pin;
	bool slab;
};

static struct growth do_round(unsigned int *seed, unsigned long nr)
{
	u64 vm_pin_before = vm_pin(), slab_before = slab_kib(), slab;
	struct counters before;
	struct growth growth;

	read_counters(&before);
	VFIO_ASSERT_EQ(cdev_attach_to(n.cdev, n.ioas), 0);
	cycles(seed, nr);
	growth.memory = counters_grew(&before);
	growth.vm_pin = vm_pin() != vm_pin_before;
	slab = slab_kib();
	growth.slab = slab >= slab_before + SLAB_SLACK_KIB;
	ksft_print_msg("slab %llu kB, was %llu kB\n", (unsigned long long)slab,
		       (unsigned long long)slab_before);
	return growth;
}

/*
 * Whether slab grows as much by what others do, in the time that a round takes
 */
static bool slab_grows_by_itself(u64 seconds)
{
	u64 before = slab_kib();

	sleep(seconds);
	return slab_kib() >= before + SLAB_SLACK_KIB;
}

/* As much as RLIMIT_MEMLOCK allows can be mapped, and not a page more */
static bool all_of_the_limit_is_there(void)
{
	u64 iova = 0, i;
	bool ret;

	for (i = 0; i != NR_KEPT + ALLOWANCE / MEM_SIZE; i++) {
		VFIO_ASSERT_EQ(map(n.iommufd, n.ioas, memory[0], MEM_SIZE,
				   iova), 0);
		iova += MEM_SIZE;
	}
	ret = !cdev_attach_to(n.cdev, n.ioas) &&
	      map(n.iommufd, n.ioas, memory[0], page_size, iova) == -ENOMEM;
	VFIO_ASSERT_EQ(unmap(n.iommufd, n.ioas, 0, UINT64_MAX), 0);
	VFIO_ASSERT_EQ(cdev_detach(n.cdev), 0);
	return ret;
}

int main(int argc, char *argv[])
{
	const char *bdf = vfio_selftests_get_bdf(&argc, argv);
	struct growth growth = { .memory = true, .slab = true }, now;
	bool look_at_slab = !has_kasan_quarantine();
	unsigned long nr = 100000;
	unsigned int seconds;
	time_t start;
	unsigned int seed = 1;
	int c, i;

	while ((c = getopt(argc, argv, "s:n:")) != -1) {
		if (c == 's')
			seed = strtoul(optarg, NULL, 0);
		else if (c == 'n')
			nr = strtoul(optarg, NULL, 0);
		else
			return KSFT_FAIL;
	}
	noiommu_require(bdf);
	page_size = getpagesize();
	memory[0] = alloc_mem(MEM_SIZE, 0);
	memory[1] = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE |
			 MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
	if (memory[1] == MAP_FAILED)
		memory[1] = alloc_mem(MEM_SIZE, 0);
	drop_ipc_lock();

	ksft_print_header();
	ksft_set_plan(4);
	ksft_print_msg("seed %u, %lu cycles\n", seed, nr);
	open_device(bdf);
	VFIO_ASSERT_EQ(cdev_attach_to(n.cdev, n.ioas), 0);
	cycles(&seed, WARM_UP_CYCLES);
	start = time(NULL);
	for (i = 0; i != LEAK_TRIES; i++) {
		now = do_round(&seed, nr);
		growth.memory &= now.memory;
		growth.vm_pin |= now.vm_pin;
		growth.slab &= now.slab && look_at_slab;
		/* VmPin is this process's own: once is enough. */
		if (growth.vm_pin || (!growth.memory && !growth.slab))
			break;
	}

	seconds = (time(NULL) - start) / LEAK_TRIES + 1;

	if (growth.memory && others_are_active(seconds))
		ksft_test_result_code(KSFT_SKIP, "page tables and pinned pages",
				      OTHERS_ACTIVE);
	else
		ksft_test_result(!growth.memory,
				 "page tables and pinned pages\n");
	ksft_test_result(!growth.vm_pin, "VmPin\n");
	ksft_test_result(all_of_the_limit_is_there(), "RLIMIT_MEMLOCK\n");
	if (!look_at_slab)
		ksft_test_result_code(KSFT_SKIP, "slab",
				      "KASAN keeps freed objects");
	else if (growth.slab && slab_grows_by_itself(seconds))
		ksft_test_result_code(KSFT_SKIP, "slab",
				      "others on this machine use more and more");
	else
		ksft_test_result(!growth.slab, "slab\n");
	noiommu_close(&n);
	ksft_finished();
}
