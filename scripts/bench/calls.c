// SPDX-License-Identifier: GPL-2.0-only
/*
 * calls - the calls to the hypervisor or to the firmware that DMA memory takes on POWER
 *
 *	calls PLATFORM BDF CDEV...
 *
 * PLATFORM is pseries, whose hypervisor calls about TCEs are counted, or powernv9,
 * whose OPAL calls about windows and TCEs are, with a suffix for another kernel. The
 * kernel traces them, with hcall_entry and opal_entry. Each work is done with the container for sPAPR, with
 * iommufd, and with iommufd in place of the container, for one, two and four groups as
 * far as there are as many devices, each in a group of its own. Each figure is a line
 * for scripts/bench.sh:
 *
 *	figure PLATFORM-GROUPS WORK WAY-WINDOW BYTES AREAS VALUE
 *
 * VALUE is the number of calls for BYTES, which were mapped as AREAS mappings.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#define MIB		(1ULL << 20)
#define TRACING		"/sys/kernel/tracing/"

/* As one mapping, and as this many pages with gaps between their IOVAs */
#define SIZE		(64 * MIB)
#define NR_PAGES	512

/* Where data is in a window: beyond what else is mapped there */
#define OFFSET		(64 * MIB)

#define MAX_DEVICES	4

static const char *platform, *bdfs[MAX_DEVICES], *cdevs[MAX_DEVICES];
/* How many of them are used: devices, and so groups */
static int nr;
static bool guest;
static uint64_t page;
static char *memory;
/* The first NR_PAGES of them again, of which none is beside its neighbour in memory */
static char *scattered;

/*
 * Counting
 */

static void write_file(const char *text, const char *format, ...)
{
	char path[PATH_MAX];
	va_list args;
	int fd;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		err(1, "%s", path);
	close(fd);
}

static void trace_init(void)
{
	const char *event = guest ? "hcall_entry" : "opal_entry";

	if (access(TRACING "events", F_OK) && mount("tracefs", TRACING, "tracefs", 0, NULL))
		err(1, "tracefs");
	/*
	 * H_GET_TCE, H_PUT_TCE, H_STUFF_TCE, H_PUT_TCE_INDIRECT; or
	 * OPAL_PCI_MAP_PE_DMA_WINDOW, OPAL_PCI_MAP_PE_DMA_WINDOW_REAL, OPAL_PCI_TCE_KILL
	 */
	write_file(guest ? "opcode==28 || opcode==32 || opcode==312 || opcode==316" :
			   "opcode==44 || opcode==45 || opcode==126",
		   TRACING "events/powerpc/%s/filter", event);
	write_file("65536", TRACING "buffer_size_kb");
	write_file("0", TRACING "tracing_on");
	write_file("1", TRACING "events/powerpc/%s/enable", event);
}

static void count_start(void)
{
	write_file("\n", TRACING "trace");
	write_file("1", TRACING "tracing_on");
}

static unsigned long count_stop(void)
{
	unsigned long calls = 0;

	write_file("0", TRACING "tracing_on");
	for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
		char path[PATH_MAX], line[128];
		unsigned long n;
		FILE *file;

		snprintf(path, sizeof(path), TRACING "per_cpu/cpu%d/stats", cpu);
		file = fopen(path, "r");
		if (!file)
			err(1, "%s", path);
		while (fgets(line, sizeof(line), file)) {
			if (sscanf(line, "entries: %lu", &n) == 1)
				calls += n;
			if (sscanf(line, "overrun: %lu", &n) == 1 && n)
				errx(1, "the trace buffer is too small");
		}
		fclose(file);
	}
	return calls;
}

static void figure(const char *work, const char *way, const char *window, uint64_t bytes,
		   unsigned int areas, unsigned long calls)
{
	printf("figure %s-%d %s %s-%s %llu %u %lu\n", platform, nr, work, way, window,
	       (unsigned long long)bytes, areas, calls);
}

/*
 * A way to map: what differs between a container and iommufd
 */

struct way {
	const char *name;
	const char *path;	/* of the container, NULL for iommufd itself */
	int fd;
	int groups[MAX_DEVICES];
	int devices[MAX_DEVICES];
	uint32_t ioas;
	uint64_t start[2];
};

static void check(int rc, const char *what)
{
	if (rc < 0)
		err(1, "%s", what);
}

static void map(struct way *way, uint64_t iova, char *va, uint64_t size)
{
	if (way->path) {
		struct vfio_iommu_type1_dma_map args = {
			.argsz = sizeof(args),
			.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
			.vaddr = (uintptr_t)va,
			.iova = iova,
			.size = size,
		};

		check(ioctl(way->fd, VFIO_IOMMU_MAP_DMA, &args), "map");
	} else {
		struct iommu_ioas_map args = {
			.size = sizeof(args),
			.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
				 IOMMU_IOAS_MAP_WRITEABLE,
			.ioas_id = way->ioas,
			.user_va = (uintptr_t)va,
			.length = size,
			.iova = iova,
		};

		check(ioctl(way->fd, IOMMU_IOAS_MAP, &args), "map");
	}
}

static void unmap(struct way *way, uint64_t iova, uint64_t size)
{
	if (way->path) {
		struct vfio_iommu_type1_dma_unmap args = {
			.argsz = sizeof(args),
			.iova = iova,
			.size = size,
		};

		check(ioctl(way->fd, VFIO_IOMMU_UNMAP_DMA, &args), "unmap");
	} else {
		struct iommu_ioas_unmap args = {
			.size = sizeof(args),
			.ioas_id = way->ioas,
			.iova = iova,
			.length = size,
		};

		check(ioctl(way->fd, IOMMU_IOAS_UNMAP, &args), "unmap");
	}
}

static int open_group(const char *bdf)
{
	char path[PATH_MAX], target[PATH_MAX] = {};

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	check(readlink(path, target, sizeof(target) - 1), path);
	snprintf(path, sizeof(path), "/dev/vfio/%s", basename(target));
	return open(path, O_RDWR);
}

static void attach(struct way *way)
{
	struct vfio_device_attach_iommufd_pt args = {
		.argsz = sizeof(args),
		.pt_id = way->ioas,
	};

	for (int i = 0; i < nr; i++)
		check(ioctl(way->devices[i], VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args), "attach");
}

static void detach(struct way *way)
{
	struct vfio_device_detach_iommufd_pt args = { .argsz = sizeof(args) };

	for (int i = 0; i < nr; i++)
		check(ioctl(way->devices[i], VFIO_DEVICE_DETACH_IOMMUFD_PT, &args), "detach");
}

static void open_devices(struct way *way)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };

	way->fd = open("/dev/iommu", O_RDWR);
	check(way->fd, "/dev/iommu");
	bind.iommufd = way->fd;
	for (int i = 0; i < nr; i++) {
		way->devices[i] = open(cdevs[i], O_RDWR);
		check(way->devices[i], cdevs[i]);
		check(ioctl(way->devices[i], VFIO_DEVICE_BIND_IOMMUFD, &bind), "bind");
	}
}

static void open_ioas(struct way *way)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_iova_range ranges[2];
	struct iommu_ioas_iova_ranges query = {
		.size = sizeof(query),
		.num_iovas = 2,
		.allowed_iovas = (uintptr_t)ranges,
	};

	check(ioctl(way->fd, IOMMU_IOAS_ALLOC, &alloc), "IOAS");
	way->ioas = alloc.out_ioas_id;
	attach(way);
	query.ioas_id = way->ioas;
	check(ioctl(way->fd, IOMMU_IOAS_IOVA_RANGES, &query), "ranges");
	for (int i = 0; i < 2; i++)
		way->start[i] = ranges[i].start;
}

static void register_memory(struct way *way, char *va, uint64_t size)
{
	struct vfio_iommu_spapr_register_memory args = {
		.argsz = sizeof(args),
		.vaddr = (uintptr_t)va,
		.size = size,
	};

	check(ioctl(way->fd, VFIO_IOMMU_SPAPR_REGISTER_MEMORY, &args), "REGISTER");
}

/* With both windows, the second of which is as iommufd has it */
static void open_container(struct way *way)
{
	struct vfio_iommu_spapr_tce_create create = {
		.argsz = sizeof(create),
		.page_shift = __builtin_ctzll(page),
		.window_size = 1024 * MIB,
		.levels = 1,
	};

	way->fd = open(way->path, O_RDWR);
	check(way->fd, way->path);
	for (int i = 0; i < nr; i++) {
		way->groups[i] = open_group(bdfs[i]);
		check(way->groups[i], "group");
		check(ioctl(way->groups[i], VFIO_GROUP_SET_CONTAINER, &way->fd),
		      "SET_CONTAINER");
		if (!i)
			check(ioctl(way->fd, VFIO_SET_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU),
			      "SET_IOMMU");
	}
	register_memory(way, memory, SIZE);
	register_memory(way, scattered, NR_PAGES * page);
	for (int i = 0; i < nr; i++) {
		way->devices[i] = ioctl(way->groups[i], VFIO_GROUP_GET_DEVICE_FD, bdfs[i]);
		check(way->devices[i], "device");
	}
	way->start[0] = 0;
	map(way, 0, memory, page);
	check(ioctl(way->fd, VFIO_IOMMU_SPAPR_TCE_CREATE, &create), "CREATE");
	way->start[1] = create.start_addr;
}

static void close_way(struct way *way)
{
	for (int i = 0; i < nr; i++) {
		close(way->devices[i]);
		if (way->path)
			close(way->groups[i]);
	}
	close(way->fd);
}

/*
 * Work
 */

static void measure_maps(struct way *way, int num)
{
	const char *window = num ? "64" : "32";
	uint64_t iova = way->start[num] + OFFSET;

	count_start();
	map(way, iova, memory, SIZE);
	figure("map", way->name, window, SIZE, 1, count_stop());
	count_start();
	unmap(way, iova, SIZE);
	figure("unmap", way->name, window, SIZE, 1, count_stop());

	count_start();
	for (int i = 0; i < NR_PAGES; i++)
		map(way, iova + 2 * i * page, memory + i * page, page);
	figure("map", way->name, window, NR_PAGES * page, NR_PAGES, count_stop());
	count_start();
	for (int i = 0; i < NR_PAGES; i++)
		unmap(way, iova + 2 * i * page, page);
	figure("unmap", way->name, window, NR_PAGES * page, NR_PAGES, count_stop());

	count_start();
	map(way, iova, scattered, NR_PAGES * page);
	figure("map_scattered", way->name, window, NR_PAGES * page, 1, count_stop());
	count_start();
	unmap(way, iova, NR_PAGES * page);
	figure("unmap_scattered", way->name, window, NR_PAGES * page, 1, count_stop());
}

static void map_both(struct way *way)
{
	for (int num = 0; num < 2; num++)
		map(way, way->start[num] + OFFSET, memory, SIZE);
}

/* The windows, with something in them, are made for a device, and taken from it. */
static void measure_attach(struct way *way)
{
	if (way->path) {
		close_way(way);
		count_start();
		open_container(way);
		map_both(way);
	} else {
		map_both(way);
		detach(way);
		count_start();
		attach(way);
	}
	figure("attach", way->name, "both", 2 * SIZE, 2, count_stop());

	count_start();
	if (way->path)
		close_way(way);
	else
		detach(way);
	figure("detach", way->name, "both", 2 * SIZE, 2, count_stop());
	if (way->path)
		return;
	count_start();
	close_way(way);
	figure("close", way->name, "both", 0, 0, count_stop());
}

static void measure(struct way *way)
{
	/* A hypervisor's tables are not shared: the container takes one group there. */
	if (nr > 1 && way->path && strcmp(way->path, "/dev/iommu") && guest)
		return;

	if (way->path) {
		open_container(way);
	} else {
		count_start();
		open_devices(way);
		figure("open", way->name, "both", 0, 0, count_stop());
		open_ioas(way);
	}
	for (int num = 0; num < 2; num++)
		measure_maps(way, num);
	measure_attach(way);
}

/* The same memory by two mappings, so that its pages can be had in any order */
static void map_memory(void)
{
	int fd = memfd_create("memory", 0);

	check(fd, "memfd");
	check(ftruncate(fd, SIZE), "memfd");
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	scattered = mmap(NULL, NR_PAGES * page, PROT_NONE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	if (memory == MAP_FAILED || scattered == MAP_FAILED)
		err(1, "memory");
	for (int i = 0; i < NR_PAGES; i++) {
		char *at = scattered + i * page;

		if (mmap(at, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
			 fd, i * 5 % NR_PAGES * page) != at)
			err(1, "memory");
	}
	close(fd);
}

int main(int argc, char *argv[])
{
	static struct way ways[] = {
		{ .name = "container", .path = "/dev/vfio/vfio" },
		{ .name = "iommufd" },
		{ .name = "compat", .path = "/dev/iommu" },
	};

	if (argc < 4 || argc % 2 || argc > 2 + 2 * MAX_DEVICES)
		errx(1, "usage: calls PLATFORM BDF CDEV...");
	platform = argv[1];
	for (int i = 0; 2 * i + 2 < argc; i++) {
		bdfs[i] = argv[2 * i + 2];
		cdevs[i] = argv[2 * i + 3];
	}
	guest = !strncmp(platform, "pseries", strlen("pseries"));
	page = getpagesize();
	map_memory();
	trace_init();

	for (nr = 1; 2 * nr + 1 < argc; nr *= 2) {
		for (unsigned int i = 0; i < sizeof(ways) / sizeof(*ways); i++)
			measure(&ways[i]);
	}
	return 0;
}
