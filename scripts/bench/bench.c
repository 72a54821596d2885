// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench - what it costs to map, look up and unmap DMA memory
 *
 *	bench noiommu CDEV	iommufd and GET_PA, a device without an IOMMU
 *	bench iommufd CDEV	iommufd, a device behind an IOMMU
 *	bench type1 BDF		the type1 container, a device behind an IOMMU
 *	bench smmu CDEV, bench smmu-type1 BDF
 *				the same two, by the name of an SMMU
 *	bench wait CDEV		how long a long GET_PA keeps others waiting
 *	bench array CDEV	an old kernel refuses GET_PA_ARRAY properly
 *	bench gup CDEV		what it costs to unpin memory, without the device
 *	bench dma NS, bench smmu-dma NS
 *				a driver of the kernel maps lists of pages; an instruction
 *				takes NS nanoseconds
 *	bench trace CDEV	one call of each kind, for scripts/bench/trace.py; so do
 *	bench trace-iommufd CDEV and trace-type1 BDF behind an IOMMU
 *
 * The unit is the guest instruction. QEMU with -icount shift=0 advances the time
 * stamp counter by one for each, so that a difference of two readings counts
 * them. Each figure is a line for scripts/bench.sh:
 *
 *	figure MODE WORK MEMORY BYTES AREAS VALUE
 *
 * VALUE is instructions per 4 KiB of BYTES, which were mapped as AREAS mappings,
 * unless the name of the work says something else. With QUICK in the environment
 * what is larger than 256 MiB is left out.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

#include <linux/iommufd.h>
#include <linux/map_benchmark.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/vfio.h>

#include "iommufd_noiommu.h"

#define KIB		(1ULL << 10)
#define MIB		(1ULL << 20)
#define GIB		(1ULL << 30)
#define PAGE		(4 * KIB)

/* Aligned to a page of any size */
#define IOVA		(64 * GIB)

/* One call of GET_PA_ARRAY */
#define MAX_EXTENTS	4096

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

static struct iommu_noiommu_extent extents[MAX_EXTENTS];
static uint64_t pages[MAX_EXTENTS];

/* What one command of a disk is about */
#define PRP_PAGES	32

/*
 * Memory of one kind. What is larger than this in a measurement is the same
 * memory mapped again and again: the page table does not know. That of a file is
 * mapped by IOMMU_IOAS_MAP_FILE.
 */
struct memory {
	const char *name;
	uint64_t page;
	uint64_t size;
	int flags;
	bool is_file;
	char *va;
	int fd;
};

static struct memory memories[] = {
	{ "4K", PAGE, 256 * MIB, .flags = 0 },
	{ "2M", 2 * MIB, 256 * MIB, .flags = MAP_HUGETLB | MAP_HUGE_2MB },
	{ "1G", GIB, GIB, .flags = MAP_HUGETLB | MAP_HUGE_1GB },
	{ "4K-file", PAGE, 256 * MIB, .flags = 0, .is_file = true },
	{ "2M-file", 2 * MIB, 256 * MIB, .flags = MFD_HUGETLB | MFD_HUGE_2MB,
	  .is_file = true },
};

/* Where memory is mapped to */
struct dma {
	int device;
	int iommufd;
	uint32_t ioas;
	bool noiommu;
	bool array;
	int container;
};

static const char *mode;

/* On arm64 the counter has to run at 1 GHz: -cpu cntfrq=1000000000 */
static uint64_t now(void)
{
#ifdef __x86_64__
	return __rdtsc();
#else
	uint64_t value;

	asm volatile("isb; mrs %0, cntvct_el0" : "=r" (value) : : "memory");
	return value;
#endif
}

/*
 * Start to measure just after a tick of the kernel's timer, so that the ticks that
 * are counted too are as many each time, and none in what takes less than 4 ms. A
 * tick is what makes two readings differ by more than a loop.
 */
static uint64_t start_now(void)
{
	uint64_t last = now();

	while (true) {
		uint64_t time = now();

		if (time - last > 500)
			return now();
		last = time;
	}
}

static void figure(const char *work, const struct memory *memory, uint64_t bytes,
		   uint64_t areas, double value)
{
	printf("figure %s %s %s %llu %llu %.4f\n", mode, work, memory->name,
	       (unsigned long long)bytes, (unsigned long long)areas, value);
}

static void figure_per_page(const char *work, const struct memory *memory,
			    uint64_t bytes, uint64_t areas, uint64_t instructions)
{
	figure(work, memory, bytes, areas, (double)instructions * PAGE / bytes);
}

static void xioctl(int fd, unsigned long cmd, void *arg, const char *name)
{
	if (ioctl(fd, cmd, arg) < 0)
		err(1, "%s", name);
}

#define XIOCTL(fd, cmd, arg) xioctl(fd, cmd, arg, #cmd)

/*
 * Give the memory its pages in an order drawn from a fixed seed. The kernel hands
 * them out more or less in the order of their addresses, so pages that are next
 * to each other here are not physically. count_extents() tells how well it did.
 */
static void get_memory(struct memory *memory)
{
	uint64_t pages = memory->size / memory->page;
	uint64_t seed = 1;
	uint32_t *order;
	uint64_t i;

	if (memory->is_file) {
		memory->fd = memfd_create("bench", memory->flags);
		if (memory->fd < 0 || ftruncate(memory->fd, memory->size))
			err(1, "memfd of %s pages", memory->name);
		memory->va = mmap(NULL, memory->size, PROT_READ | PROT_WRITE,
				  MAP_SHARED, memory->fd, 0);
	} else {
		memory->va = mmap(NULL, memory->size, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | memory->flags,
				  -1, 0);
	}
	if (memory->va == MAP_FAILED)
		err(1, "mmap of %s pages", memory->name);
	if (!memory->flags &&
	    madvise(memory->va, memory->size, MADV_NOHUGEPAGE))
		err(1, "MADV_NOHUGEPAGE");

	order = calloc(pages, sizeof(*order));
	if (!order)
		err(1, "calloc");
	for (i = 0; i < pages; i++) {
		uint64_t j;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		j = (seed >> 33) % (i + 1);
		order[i] = order[j];
		order[j] = i;
	}
	for (i = 0; i < pages; i++)
		memory->va[order[i] * memory->page] = 1;
	free(order);
}

static void put_memory(struct memory *memory)
{
	munmap(memory->va, memory->size);
	if (memory->is_file)
		close(memory->fd);
}

/* Read the pagemap of the memory, which is what GET_PA replaces */
static void pagemap(struct memory *memory, uint64_t bytes)
{
	uint64_t pages = bytes / PAGE;
	uint64_t *entries = malloc(pages * sizeof(*entries));
	uint64_t num_extents = 1;
	uint64_t start;
	uint64_t i;
	int fd;

	if (!entries)
		err(1, "malloc");
	memset(entries, 0, pages * sizeof(*entries));
	start = start_now();
	fd = open("/proc/self/pagemap", O_RDONLY);
	if (pread(fd, entries, pages * sizeof(*entries),
		  (uintptr_t)memory->va / PAGE * sizeof(*entries)) !=
	    (ssize_t)(pages * sizeof(*entries)))
		err(1, "/proc/self/pagemap");
	close(fd);
	figure_per_page("pagemap", memory, bytes, 1, now() - start);

	for (i = 1; i < pages; i++)
		num_extents += entries[i] != entries[i - 1] + 1;
	figure("extents", memory, bytes, 1, num_extents);
	free(entries);
}

/* The page-table pages of IOMMUs, in bytes; -1 if the kernel has no exact figure */
static double table_memory(void)
{
	unsigned long kib = 0;
	char line[128];
	FILE *file;
	int fd;

	/* Each CPU keeps a part of the counter for itself, fetch it */
	fd = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	if (fd < 0 && errno == ENOENT)
		return -1;
	if (fd < 0 || write(fd, "1", 1) != 1)
		err(1, "/proc/sys/vm/stat_refresh");
	close(fd);
	file = fopen("/proc/meminfo", "r");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "SecPageTables: %lu", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib * 1024.;
}

/*
 * The kernel's own benchmark of unpin_user_pages(), CONFIG_GUP_TEST: struct gup_test
 * of mm/gup_test.h, which is not in the kernel's headers for programs.
 */
struct gup_test {
	uint64_t get_delta_usec;
	uint64_t put_delta_usec;
	uint64_t addr;
	uint64_t size;
	uint32_t nr_pages_per_call;
	uint32_t gup_flags;
	uint32_t test_flags;
	uint32_t which_pages[8];
};

#define PIN_LONGTERM_BENCHMARK	_IOWR('g', 3, struct gup_test)
#define FOLL_WRITE		1

/* Everything is unmapped: as many pins are counted as released as were acquired */
static void check_pins(void)
{
	unsigned long acquired = 0, released = 0;
	char line[128];
	FILE *file;

	if (table_memory() < 0)
		return;
	file = fopen("/proc/vmstat", "r");
	while (file && fgets(line, sizeof(line), file)) {
		sscanf(line, "nr_foll_pin_acquired %lu", &acquired);
		sscanf(line, "nr_foll_pin_released %lu", &released);
	}
	if (file)
		fclose(file);
	if (acquired != released || !acquired)
		errx(1, "%lu pins acquired, %lu released", acquired, released);
}

static void map(struct dma *dma, void *va, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_map ioas_map = {
		.size = sizeof(ioas_map),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = dma->ioas,
		.user_va = (uintptr_t)va,
		.length = length,
		.iova = iova,
	};
	struct vfio_iommu_type1_dma_map dma_map = {
		.argsz = sizeof(dma_map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)va,
		.iova = iova,
		.size = length,
	};

	if (dma->container >= 0)
		XIOCTL(dma->container, VFIO_IOMMU_MAP_DMA, &dma_map);
	else
		XIOCTL(dma->iommufd, IOMMU_IOAS_MAP, &ioas_map);
}

/* Map a piece of the memory that begins at offset */
static void map_memory(struct dma *dma, struct memory *memory, uint64_t offset,
		       uint64_t iova, uint64_t length)
{
	struct iommu_ioas_map_file map_file = {
		.size = sizeof(map_file),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = dma->ioas,
		.fd = memory->fd,
		.start = offset,
		.length = length,
		.iova = iova,
	};

	if (memory->is_file)
		XIOCTL(dma->iommufd, IOMMU_IOAS_MAP_FILE, &map_file);
	else
		map(dma, memory->va + offset, iova, length);
}

static void unmap(struct dma *dma, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap ioas_unmap = {
		.size = sizeof(ioas_unmap),
		.ioas_id = dma->ioas,
		.iova = iova,
		.length = length,
	};
	struct vfio_iommu_type1_dma_unmap dma_unmap = {
		.argsz = sizeof(dma_unmap),
		.iova = iova,
		.size = length,
	};

	if (dma->container >= 0)
		XIOCTL(dma->container, VFIO_IOMMU_UNMAP_DMA, &dma_unmap);
	else
		XIOCTL(dma->iommufd, IOMMU_IOAS_UNMAP, &ioas_unmap);
}

static uint64_t get_pa(struct dma *dma, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_noiommu_get_pa args = {
		.size = sizeof(args),
		.ioas_id = dma->ioas,
		.iova = iova,
		.length = length,
	};

	XIOCTL(dma->iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &args);
	return args.length;
}

static int get_extents(struct dma *dma, uint64_t iova, uint64_t *length)
{
	struct iommu_ioas_noiommu_get_pa_array args = {
		.size = sizeof(args),
		.ioas_id = dma->ioas,
		.data_type = IOMMU_NOIOMMU_PA_EXTENT,
		.iova = iova,
		.length = *length,
		.data_uptr = (uintptr_t)extents,
		.entry_len = sizeof(extents[0]),
		.entry_num = MAX_EXTENTS,
	};
	int ret = ioctl(dma->iommufd, IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY, &args);

	*length = args.length;
	return ret ? errno : 0;
}

static uint64_t get_pages(struct dma *dma, uint64_t iova, uint64_t length,
			  unsigned int num)
{
	struct iommu_ioas_noiommu_get_pa_array args = {
		.size = sizeof(args),
		.ioas_id = dma->ioas,
		.data_type = IOMMU_NOIOMMU_PA_PAGE,
		.iova = iova,
		.length = length,
		.data_uptr = (uintptr_t)pages,
		.entry_len = sizeof(pages[0]),
		.entry_num = num,
		.page_size = PAGE,
	};

	XIOCTL(dma->iommufd, IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY, &args);
	return args.length;
}

static void look_up(struct dma *dma, struct memory *memory, uint64_t bytes,
		    uint64_t areas)
{
	uint64_t start, done;
	uint64_t calls = 0;

	/* Single calls for scattered pages take as long however many there are */
	if (memory->page != PAGE || bytes <= 256 * MIB) {
		start = start_now();
		for (done = 0; done < bytes; calls++)
			done += get_pa(dma, IOVA + done, bytes - done);
		figure_per_page("get_pa", memory, bytes, areas, now() - start);
		figure("get_pa_calls", memory, bytes, areas, calls);
	}

	start = start_now();
	for (done = 0; done < 16; done++)
		get_pa(dma, IOVA + done * (bytes / 16 & ~(PAGE - 1)), PAGE);
	figure("get_pa_of_a_page", memory, bytes, areas, (now() - start) / 16.);

	if (!dma->array)
		return;
	start = start_now();
	for (done = 0; done < bytes;) {
		uint64_t length = bytes - done;

		errno = get_extents(dma, IOVA + done, &length);
		if (errno)
			err(1, "IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY");
		done += length;
	}
	figure_per_page("get_pa_array", memory, bytes, areas, now() - start);

	/* As a list of the size of the memory, then of one command each */
	if (bytes > 256 * MIB)
		return;
	start = start_now();
	for (done = 0; done < bytes;)
		done += get_pages(dma, IOVA + done, bytes - done, MAX_EXTENTS);
	figure_per_page("get_pa_pages", memory, bytes, areas, now() - start);
	start = start_now();
	for (done = 0; done < 16; done++)
		get_pages(dma, IOVA + done * (bytes / 16 & ~(PAGE - 1)),
			  PRP_PAGES * PAGE, PRP_PAGES);
	figure("get_pa_prps", memory, bytes, areas,
	       (now() - start) / 16. / PRP_PAGES);
}

/* Attach the device to a new IOAS, whose page table is empty */
static void new_ioas(struct dma *dma)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_destroy destroy = {
		.size = sizeof(destroy),
		.id = dma->ioas,
	};
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
	};

	XIOCTL(dma->iommufd, IOMMU_IOAS_ALLOC, &alloc);
	attach.pt_id = alloc.out_ioas_id;
	XIOCTL(dma->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
	if (dma->ioas)
		XIOCTL(dma->iommufd, IOMMU_DESTROY, &destroy);
	dma->ioas = alloc.out_ioas_id;
}

/* Map the memory in pieces, look it up, unmap all of it in one call */
static void life_cycle(struct dma *dma, struct memory *memory, uint64_t bytes,
		       uint64_t areas, const char *suffix)
{
	uint64_t piece = bytes / areas;
	double tables;
	char work[64];
	uint64_t start;
	uint64_t done;

	if (dma->container < 0)
		new_ioas(dma);
	tables = table_memory();
	start = start_now();
	for (done = 0; done < bytes; done += piece)
		map_memory(dma, memory, done % memory->size, IOVA + done, piece);
	snprintf(work, sizeof(work), "map%s", suffix);
	figure_per_page(work, memory, bytes, areas, now() - start);
	if (dma->container < 0 && !*suffix && tables >= 0)
		figure("table_bytes", memory, bytes, areas,
		       table_memory() - tables);

	if (dma->noiommu && !*suffix && !memory->is_file)
		look_up(dma, memory, bytes, areas);

	start = start_now();
	unmap(dma, IOVA, bytes);
	snprintf(work, sizeof(work), "unmap%s", suffix);
	figure_per_page(work, memory, bytes, areas, now() - start);
}

/* So that no measurement is the one that fills a slab or an empty page table */
static void warm_up(struct dma *dma)
{
	void *va = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (va == MAP_FAILED)
		err(1, "mmap");
	memset(extents, 1, sizeof(extents));
	memset(pages, 1, sizeof(pages));
	map(dma, va, IOVA, MIB);
	if (dma->noiommu) {
		uint64_t length = MIB;

		get_pa(dma, IOVA, MIB);
		dma->array = !get_extents(dma, IOVA, &length);
	}
	unmap(dma, IOVA, MIB);
	munmap(va, MIB);
}

static void all_figures(struct dma *dma)
{
	static const uint64_t sizes[] = {
		MIB, 16 * MIB, 256 * MIB, GIB, 4 * GIB, 16 * GIB,
	};
	static const uint64_t many_areas[] = { 1, 16, 256, 4096 };
	struct memory *memory;
	unsigned int i;

	warm_up(dma);
	for (memory = memories; memory != memories + ARRAY_SIZE(memories);
	     memory++) {
		/*
		 * What the pages go through for the first time costs more: they
		 * are marked dirty when they are unpinned.
		 */
		if (memory->is_file && dma->container >= 0)
			continue;
		get_memory(memory);
		if (memory->page <= 16 * MIB)
			life_cycle(dma, memory, 16 * MIB, 1, "_first");
		if (dma->container < 0 && !memory->is_file)
			pagemap(memory, memory->size);
		for (i = 0; i != ARRAY_SIZE(sizes); i++) {
			uint64_t areas = 1;

			if (sizes[i] < memory->page)
				continue;
			/* A gigabyte is the least that has a 1 GiB page */
			if (sizes[i] > 256 * MIB && sizes[i] > memory->page &&
			    (memory->is_file || getenv("QUICK")))
				continue;
			if (sizes[i] > memory->size)
				areas = sizes[i] / memory->size;
			life_cycle(dma, memory, sizes[i], areas, "");
		}
		if (memory->page == PAGE && !memory->is_file)
			for (i = 1; i != ARRAY_SIZE(many_areas); i++)
				life_cycle(dma, memory, 16 * MIB, many_areas[i],
					   "");
		put_memory(memory);
	}
	check_pins();
}

/*
 * The most that one hold of the locks can take: 16 MiB that are physically
 * contiguous, or the array would be full sooner, in entries of 4 KiB, which it
 * takes a shift by one page to get.
 */
static void map_shifted(struct dma *dma, struct memory *memory, uint64_t bytes)
{
	uint64_t piece = memory->size / 2;
	uint64_t done;

	for (done = 0; done < bytes; done += piece)
		map(dma, memory->va + PAGE, IOVA + done, piece);
}

struct waiter {
	struct dma *dma;
	void *va;
	bool stop;
	uint64_t longest;
	uint64_t times;
};

static void *wait_and_map(void *arg)
{
	struct waiter *waiter = arg;
	unsigned int i;

	for (i = 0; !__atomic_load_n(&waiter->stop, __ATOMIC_RELAXED); i++) {
		uint64_t start;
		uint64_t took;

		/* Be there at any time of the lookup */
		usleep(100 + i * 37 % 613);
		start = now();
		map(waiter->dma, waiter->va, IOVA - GIB, PAGE);
		took = now() - start;
		if (took > waiter->longest)
			waiter->longest = took;
		waiter->times++;
		unmap(waiter->dma, IOVA - GIB, PAGE);
	}
	return NULL;
}

/*
 * A thread with a real-time priority maps a page while another one looks up
 * 16 GiB. It gets the CPU whenever it can run, so all that it waits for is that
 * the other one drops the locks.
 */
static uint64_t wait_while(struct dma *dma, struct memory *memory, uint64_t bytes)
{
	struct sched_param param = { .sched_priority = 1 };
	struct waiter waiter = { .dma = dma, .va = memory->va };
	uint64_t end = now() + 100 * 1000 * 1000;
	uint64_t length = bytes;
	pthread_t thread;

	if (pthread_create(&thread, NULL, wait_and_map, &waiter) ||
	    pthread_setschedparam(thread, SCHED_FIFO, &param))
		errx(1, "no thread of real-time priority");
	if (!bytes) {
		while (now() < end)
			;
	} else if (dma->array) {
		errno = get_extents(dma, IOVA, &length);
		if (errno)
			err(1, "IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY");
	} else {
		length = get_pa(dma, IOVA, bytes);
	}
	__atomic_store_n(&waiter.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	figure("wait_lookup_bytes", memory, bytes, 1, length);
	figure("wait_times", memory, bytes, 1, waiter.times);
	return waiter.longest;
}

static void longest_wait(struct dma *dma)
{
	struct memory *memory = &memories[2];
	uint64_t start;

	warm_up(dma);
	get_memory(memory);
	map_shifted(dma, memory, 16 * GIB);

	start = start_now();
	get_pa(dma, IOVA, 16 * MIB);
	figure("look_up_instructions", memory, 16 * MIB, 1, now() - start);
	figure("wait_instructions", memory, 0, 1, wait_while(dma, memory, 0));
	figure("wait_instructions", memory, 16 * GIB, 1,
	       wait_while(dma, memory, 16 * GIB));
}

/*
 * A new program on an old kernel: either the array works, or the errno says that
 * the kernel does not have it, and GET_PA still works.
 */
static void check_array(struct dma *dma)
{
	uint64_t length = MIB;
	uint64_t single;
	void *va = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int error;

	if (va == MAP_FAILED)
		err(1, "mmap");
	map(dma, va, IOVA, MIB);
	error = get_extents(dma, IOVA, &length);
	single = get_pa(dma, IOVA, MIB);
	if (error && error != ENOTTY)
		errx(1, "GET_PA_ARRAY: %s, which does not say that it is unknown",
		     strerror(error));
	if (error && length != MIB)
		errx(1, "GET_PA_ARRAY: failed, but has changed the length");
	if (!error && length != MIB)
		errx(1, "GET_PA_ARRAY: %llu bytes of %llu",
		     (unsigned long long)length, MIB);
	if (!single)
		errx(1, "GET_PA: no bytes");
	printf("figure array array_form 4K %llu 1 %s\n", MIB,
	       error ? strerrorname_np(error) : "works");
	printf("figure array single_form 4K %llu 1 works\n", MIB);
}

static void unpin_memory(void)
{
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR);
	unsigned int i;

	if (fd < 0)
		err(1, "/sys/kernel/debug/gup_test");
	for (i = 0; i != 2; i++) {
		struct memory *memory = &memories[i];
		struct gup_test args = {
			.size = memory->size,
			.nr_pages_per_call = 512,
			.gup_flags = FOLL_WRITE,
		};

		get_memory(memory);
		args.addr = (uintptr_t)memory->va;
		XIOCTL(fd, PIN_LONGTERM_BENCHMARK, &args);
		figure_per_page("pin", memory, args.size, 1,
				args.get_delta_usec * 1000);
		figure_per_page("unpin", memory, args.size, 1,
				args.put_delta_usec * 1000);
		put_memory(memory);
	}
	close(fd);
	check_pins();
}

/*
 * Free memory of the kernel a page here and a page there: what it takes next is
 * scattered. A page of a pipe is such memory, one of a process is not.
 */
static void scatter_free_pages(void)
{
	static char page[PAGE];
	int i, j, pipes[2][2];

	for (i = 0; i != 2; i++)
		if (pipe(pipes[i]) || fcntl(pipes[i][1], F_SETPIPE_SZ, MIB) < 0)
			err(1, "pipe");
	for (j = 0; j != MIB / PAGE; j++)
		for (i = 0; i != 2; i++)
			if (write(pipes[i][1], page, PAGE) != PAGE)
				err(1, "write to a pipe");
	/* The other one stays */
	close(pipes[0][0]);
	close(pipes[0][1]);
}

/* The kernel's own benchmark tells units of 100 ns */
static void map_list(const char *work, unsigned int num_pages,
		     unsigned int ns_of_instruction)
{
	struct map_benchmark args = {
		.threads = 1,
		.seconds = 1,
		.node = -1,
		.dma_bits = 64,
		.dma_dir = DMA_MAP_FROM_DEVICE,
		.granule = num_pages,
		.map_mode = DMA_MAP_BENCH_SG_MODE,
	};
	int fd = open("/sys/kernel/debug/dma_map_benchmark", O_RDWR);

	if (fd < 0)
		err(1, "/sys/kernel/debug/dma_map_benchmark");
	XIOCTL(fd, DMA_MAP_BENCHMARK, &args);
	figure_per_page(work, &memories[0], num_pages * PAGE, 1,
			args.avg_map_100ns * 100 / ns_of_instruction);
	close(fd);
}

static void map_lists(unsigned int ns_of_instruction)
{
	int i;

	if (!ns_of_instruction)
		errx(1, "how long does an instruction take?");
	/* A kernel that has just started has pages that follow each other */
	map_list("map_sg_adjacent", 256, ns_of_instruction);
	for (i = 0; i != 4; i++)
		scatter_free_pages();
	map_list("map_sg", 1, ns_of_instruction);
	map_list("map_sg", 16, ns_of_instruction);
	map_list("map_sg", 256, ns_of_instruction);
}

/*
 * A debugger that stops at trace_begin() and takes single steps until trace_end()
 * sees each instruction of one call. Both are at addresses of their own.
 */
#define IN_TRACE_SECTION __attribute__((noipa, section(".trace")))

IN_TRACE_SECTION void trace_begin(unsigned int work)
{
	asm volatile("" : : "r" (work) : "memory");
}

IN_TRACE_SECTION void trace_end(void)
{
	asm volatile("" : : : "memory");
}

static void trace_calls(struct dma *dma)
{
	struct memory *memory = &memories[0];
	struct memory *file = &memories[4];
	const uint64_t bytes = 64 * PAGE;
	uint64_t done, length;
	int i;

	warm_up(dma);
	get_memory(memory);
	get_memory(file);
	/* The first time is not what is of interest */
	for (i = 0; i != 2; i++) {
		if (i)
			trace_begin(1);
		map(dma, memory->va, IOVA, bytes);
		if (i)
			trace_end();
		if (dma->noiommu) {
			get_pa(dma, IOVA, PAGE);
			if (i)
				trace_begin(0);
			get_pa(dma, IOVA + PAGE, PAGE);
			if (i)
				trace_end();
		}
		if (i)
			trace_begin(2);
		unmap(dma, IOVA, bytes);
		if (i)
			trace_end();

		/* The same, each page an area of its own */
		for (done = 0; done != bytes; done += PAGE)
			map(dma, memory->va + done, IOVA + done, PAGE);
		if (i)
			trace_begin(3);
		unmap(dma, IOVA, bytes);
		if (i)
			trace_end();

		if (dma->container >= 0)
			continue;
		if (i)
			trace_begin(4);
		map_memory(dma, file, 0, IOVA, 2 * MIB);
		if (i)
			trace_end();
		unmap(dma, IOVA, 2 * MIB);

		if (!dma->array)
			continue;
		/* As much as the tables of the figures have, to be compared with them */
		length = 64 * bytes;
		map(dma, memory->va, IOVA, length);
		if (i)
			trace_begin(5);
		get_extents(dma, IOVA, &length);
		if (i)
			trace_end();
		unmap(dma, IOVA, 64 * bytes);

		length = file->size;
		map_memory(dma, file, 0, IOVA, file->size);
		if (i)
			trace_begin(6);
		get_extents(dma, IOVA, &length);
		if (i)
			trace_end();
		unmap(dma, IOVA, file->size);
	}
}

static void open_iommufd(struct dma *dma, const char *cdev)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };

	dma->device = open(cdev, O_RDWR);
	if (dma->device < 0)
		err(1, "%s", cdev);
	dma->iommufd = open("/dev/iommu", O_RDWR);
	if (dma->iommufd < 0)
		err(1, "/dev/iommu");
	bind.iommufd = dma->iommufd;
	XIOCTL(dma->device, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	new_ioas(dma);
}

static void open_type1(struct dma *dma, const char *bdf)
{
	char path[PATH_MAX], link[PATH_MAX];
	ssize_t len;
	int group;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		err(1, "%s", path);
	link[len] = '\0';
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	group = open(path, O_RDWR);
	if (group < 0)
		err(1, "%s", path);
	dma->container = open("/dev/vfio/vfio", O_RDWR);
	if (dma->container < 0)
		err(1, "/dev/vfio/vfio");
	XIOCTL(group, VFIO_GROUP_SET_CONTAINER, &dma->container);
	if (ioctl(dma->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "VFIO_SET_IOMMU");
}

int main(int argc, char **argv)
{
	struct dma dma = { .container = -1 };

	mode = argc == 3 ? argv[1] : "";
	/* Written at the end, nobody else runs during a measurement */
	setvbuf(stdout, NULL, _IOFBF, 64 * KIB);

	if (strstr(mode, "type1")) {
		open_type1(&dma, argv[2]);
		if (strncmp(mode, "trace", 5))
			all_figures(&dma);
		else
			trace_calls(&dma);
		return 0;
	}
	if (!*mode)
		errx(1, "usage: %s MODE DEVICE", argv[0]);

	if (!strcmp(mode, "gup")) {
		unpin_memory();
		return 0;
	}
	if (strstr(mode, "dma")) {
		map_lists(strtoul(argv[2], NULL, 10));
		return 0;
	}

	open_iommufd(&dma, argv[2]);
	dma.noiommu = !strstr(mode, "iommufd") && !strstr(mode, "smmu");
	if (!strcmp(mode, "wait"))
		longest_wait(&dma);
	else if (!strcmp(mode, "array"))
		check_array(&dma);
	else if (!strncmp(mode, "trace", 5))
		trace_calls(&dma);
	else
		all_figures(&dma);
	return 0;
}
