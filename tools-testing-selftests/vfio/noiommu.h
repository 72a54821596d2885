/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the noiommu mode share: the ioctls of iommufd and of the
 * cdev, a device that is bound, the kernel's counters, and what keeps a test
 * from changing the machine for good.
 */
#ifndef SELFTESTS_VFIO_NOIOMMU_H
#define SELFTESTS_VFIO_NOIOMMU_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/capability.h>
#include <linux/iommufd.h>
#include <linux/limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include <libvfio.h>

/* Each of these returns 0 or a negative errno, as the ioctl does */

static inline int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

static inline int cdev_bind(int cdev, int iommufd, u32 *devid)
{
	struct vfio_device_bind_iommufd args = {
		.argsz = sizeof(args),
		.iommufd = iommufd,
	};
	int ret = do_ioctl(cdev, VFIO_DEVICE_BIND_IOMMUFD, &args);

	*devid = args.out_devid;
	return ret;
}

static inline int cdev_attach(int cdev, u32 *pt_id)
{
	struct vfio_device_attach_iommufd_pt args = {
		.argsz = sizeof(args),
		.pt_id = *pt_id,
	};
	int ret = do_ioctl(cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args);

	*pt_id = args.pt_id;
	return ret;
}

/* For when it does not matter what @pt_id leads to */
static inline int cdev_attach_to(int cdev, u32 pt_id)
{
	return cdev_attach(cdev, &pt_id);
}

static inline int cdev_detach(int cdev)
{
	struct vfio_device_detach_iommufd_pt args = { .argsz = sizeof(args) };

	return do_ioctl(cdev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &args);
}

static inline int ioas_alloc(int iommufd, u32 *ioas)
{
	struct iommu_ioas_alloc args = { .size = sizeof(args) };
	int ret = do_ioctl(iommufd, IOMMU_IOAS_ALLOC, &args);

	*ioas = args.out_ioas_id;
	return ret;
}

static inline int destroy(int iommufd, u32 id)
{
	struct iommu_destroy args = { .size = sizeof(args), .id = id };

	return do_ioctl(iommufd, IOMMU_DESTROY, &args);
}

#define MAP_RW (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

static inline int map_flags(int iommufd, u32 ioas, void *va, u64 length,
			    u64 *iova, u32 flags)
{
	struct iommu_ioas_map args = {
		.size = sizeof(args),
		.flags = flags,
		.ioas_id = ioas,
		.user_va = (uintptr_t)va,
		.length = length,
		.iova = *iova,
	};
	int ret = do_ioctl(iommufd, IOMMU_IOAS_MAP, &args);

	*iova = args.iova;
	return ret;
}

static inline int map(int iommufd, u32 ioas, void *va, u64 length, u64 iova)
{
	return map_flags(iommufd, ioas, va, length, &iova,
			 MAP_RW | IOMMU_IOAS_MAP_FIXED_IOVA);
}

static inline int map_file(int iommufd, u32 ioas, int fd, u64 start,
			   u64 length, u64 iova)
{
	struct iommu_ioas_map_file args = {
		.size = sizeof(args),
		.flags = MAP_RW | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ioas,
		.fd = fd,
		.start = start,
		.length = length,
		.iova = iova,
	};

	return do_ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &args);
}

static inline int copy(int iommufd, u32 src, u64 src_iova, u64 length,
		       u32 dst, u64 dst_iova)
{
	struct iommu_ioas_copy args = {
		.size = sizeof(args),
		.flags = MAP_RW | IOMMU_IOAS_MAP_FIXED_IOVA,
		.src_ioas_id = src,
		.dst_ioas_id = dst,
		.length = length,
		.src_iova = src_iova,
		.dst_iova = dst_iova,
	};

	return do_ioctl(iommufd, IOMMU_IOAS_COPY, &args);
}

static inline int unmap(int iommufd, u32 ioas, u64 iova, u64 length)
{
	struct iommu_ioas_unmap args = {
		.size = sizeof(args),
		.ioas_id = ioas,
		.iova = iova,
		.length = length,
	};

	return do_ioctl(iommufd, IOMMU_IOAS_UNMAP, &args);
}

static inline int hwpt_alloc(int iommufd, u32 devid, u32 pt_id, u32 flags,
			     u32 *hwpt)
{
	struct iommu_hwpt_alloc args = {
		.size = sizeof(args),
		.flags = flags,
		.dev_id = devid,
		.pt_id = pt_id,
	};
	int ret = do_ioctl(iommufd, IOMMU_HWPT_ALLOC, &args);

	*hwpt = args.out_hwpt_id;
	return ret;
}

static inline int get_pa(int iommufd, u32 ioas, u64 iova, u64 *length, u64 *pa)
{
	struct iommu_ioas_noiommu_get_pa args = {
		.size = sizeof(args),
		.ioas_id = ioas,
		.iova = iova,
		.length = *length,
	};
	int ret = do_ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &args);

	*length = args.length;
	*pa = args.out_phys;
	return ret;
}

static inline int get_pa_array(int iommufd,
			       struct iommu_ioas_noiommu_get_pa_array *args)
{
	args->size = sizeof(*args);
	return do_ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY, args);
}

/* A list of pages of that size, or extents if it is 0 */
static inline int get_pa_entries(int iommufd, u32 ioas, u64 iova, u64 *length,
				 void *entries, u32 *num_entries, u32 page_size)
{
	struct iommu_ioas_noiommu_get_pa_array args = {
		.ioas_id = ioas,
		.data_type = page_size ? IOMMU_NOIOMMU_PA_PAGE :
					 IOMMU_NOIOMMU_PA_EXTENT,
		.iova = iova,
		.length = *length,
		.data_uptr = (uintptr_t)entries,
		.entry_len = page_size ? sizeof(u64) :
					 sizeof(struct iommu_noiommu_extent),
		.entry_num = *num_entries,
		.page_size = page_size,
	};
	int ret = get_pa_array(iommufd, &args);

	*length = args.length;
	*num_entries = args.entry_num;
	return ret;
}

static inline int get_extents(int iommufd, u32 ioas, u64 iova, u64 *length,
			      struct iommu_noiommu_extent *extents,
			      u32 *num_extents)
{
	return get_pa_entries(iommufd, ioas, iova, length, extents, num_extents,
			      0);
}

static inline int get_pages(int iommufd, u32 ioas, u64 iova, u64 *length,
			    u64 *pages, u32 *num_pages, u32 size)
{
	return get_pa_entries(iommufd, ioas, iova, length, pages, num_pages,
			      size);
}

/* Physically contiguous piece of a mapping */
struct get_pa_extent {
	u64 phys;
	u64 length;
};

/* All of a mapping, or as much as there is room for */
static inline int get_each_extent(int iommufd, u32 ioas, u64 iova, u64 *length,
				  struct get_pa_extent *extents,
				  u32 *num_extents)
{
	u32 room = *num_extents;
	u64 pa, run, done = 0;
	int ret;

	for (*num_extents = 0; done != *length && *num_extents != room;
	     done += run) {
		run = *length - done;
		ret = get_pa(iommufd, ioas, iova + done, &run, &pa);
		if (ret)
			return ret;
		extents[(*num_extents)++] = (struct get_pa_extent){ pa, run };
	}
	*length = done;
	return 0;
}

/* For when only the errno matters */
static inline int try_get_pa(int iommufd, u32 ioas, u64 iova)
{
	u64 length = 1;
	u64 pa;

	return get_pa(iommufd, ioas, iova, &length, &pa);
}

static inline int open_cdev(const char *dev_bdf)
{
	const char *path = vfio_pci_get_cdev_path(dev_bdf);
	int fd = open(path, O_RDWR);
	int ret = fd < 0 ? -errno : fd;

	free((void *)path);
	return ret;
}

/* Is there a node of that name? The options have other names elsewhere. */
static inline bool cdev_is_noiommu(const char *dev_bdf)
{
	struct dirent *entry;
	char path[PATH_MAX];
	bool ret = false;
	DIR *dir;

	snprintf_assert(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev",
			dev_bdf);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		ret |= !strncmp(entry->d_name, "noiommu-vfio",
				strlen("noiommu-vfio"));
	if (dir)
		closedir(dir);
	return ret;
}

/*
 * What the kernel says elsewhere about memory that is present: the physical
 * addresses of the @nr pages from the one that has @va
 */
static inline void pagemap_read(const void *va, u64 *pas, size_t nr)
{
	off_t offset = (uintptr_t)va / getpagesize() * sizeof(*pas);
	int fd = open("/proc/self/pagemap", O_RDONLY);
	size_t i;

	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(pread(fd, pas, nr * sizeof(*pas), offset),
		       nr * sizeof(*pas));
	VFIO_ASSERT_EQ(close(fd), 0);
	for (i = 0; i < nr; i++) {
		VFIO_ASSERT_TRUE(pas[i] >> 63, "%p is not present\n",
				 va + i * getpagesize());
		pas[i] = (pas[i] & ((1ULL << 55) - 1)) * getpagesize();
	}
}

static inline u64 pagemap_pa(const void *va)
{
	u64 pa;

	pagemap_read(va, &pa, 1);
	return pa + (uintptr_t)va % getpagesize();
}

static inline u64 read_number(const char *path, const char *name)
{
	char line[256];
	u64 value = ~0ULL;
	FILE *file;

	file = fopen(path, "r");
	VFIO_ASSERT_NOT_NULL(file, "fopen(%s) failed\n", path);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, strlen(name)))
			continue;
		value = strtoull(line + strlen(name), NULL, 10);
		break;
	}
	fclose(file);
	VFIO_ASSERT_NE(value, ~0ULL, "No %s in %s\n", name, path);
	return value;
}

/* For what may fail: 0 or a negative errno */
static inline int try_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != strlen(text))
		ret = -errno;
	close(fd);
	return ret;
}

static inline void write_file(const char *path, const char *text)
{
	int ret = try_write_file(path, text);

	VFIO_ASSERT_EQ(ret, 0, "writing %s to %s failed: %d\n", text, path, ret);
}

/*
 * What to do when the program ends: call a function, or write what was in a
 * file before
 */
struct at_exit {
	struct at_exit *next;
	void (*fn)(void);
	char *path;
	pid_t pid;
	char text[256];
};

static inline struct at_exit **last_at_exit(void)
{
	static struct at_exit *last;

	return &last;
}

/* Not in the processes that the tests run in: they end before the program */
static inline void do_last_at_exit(void)
{
	struct at_exit *last = *last_at_exit();

	*last_at_exit() = last->next;
	if (last->pid != getpid())
		return;
	if (last->fn)
		last->fn();
	else
		try_write_file(last->path, last->text);
}

static inline void exit_on_signal(int sig)
{
	exit(KSFT_FAIL);
}

/* One by one, so that the others are done even if one of them calls exit() */
static inline void add_at_exit(struct at_exit *new)
{
	new->pid = getpid();
	new->next = *last_at_exit();
	*last_at_exit() = new;
	VFIO_ASSERT_EQ(atexit(do_last_at_exit), 0);
	signal(SIGINT, exit_on_signal);
	signal(SIGTERM, exit_on_signal);
}

/*
 * Call fn() when the program ends, however the tests end. To be called before
 * the tests are run. What is added last is done first.
 */
static inline void call_at_exit(void (*fn)(void))
{
	struct at_exit *new = calloc_assert(1, sizeof(*new));

	new->fn = fn;
	add_at_exit(new);
}

/* The same for a setting: write back what it is now */
static inline void restore_at_exit(const char *path)
{
	struct at_exit *new = calloc_assert(1, sizeof(*new));
	int fd = open(path, O_RDONLY);
	ssize_t len;

	if (fd < 0) {
		free(new);
		return;
	}
	len = read(fd, new->text, sizeof(new->text) - 1);
	VFIO_ASSERT_GE(len, 0, "Cannot read %s\n", path);
	close(fd);
	/* How sysfs shows that there is none */
	if (!strcmp(new->text, "(null)\n"))
		strcpy(new->text, "\n");
	new->path = strdup(path);
	VFIO_ASSERT_NOT_NULL(new->path);
	add_at_exit(new);
}

/*
 * The counters are those of the whole machine. They are per CPU and are only
 * folded from time to time.
 */
static inline void fold_counters(void)
{
	try_write_file("/proc/sys/vm/stat_refresh", "1");
}

static inline u64 table_kib(void)
{
	fold_counters();
	return read_number("/proc/meminfo", "SecPageTables:");
}

static inline u64 pinned_pages(void)
{
	fold_counters();
	return read_number("/proc/vmstat", "nr_foll_pin_acquired ") -
	       read_number("/proc/vmstat", "nr_foll_pin_released ");
}

struct counters {
	u64 tables;
	u64 pinned;
};

static inline void read_counters(struct counters *c)
{
	c->tables = table_kib();
	c->pinned = pinned_pages();
}

/*
 * Has anything been left behind since? Others may use the machine: what they
 * have for a while does not count. What they keep looks as if it had been left
 * behind, so do the same again before you believe it: see LEAK_TRIES.
 */
static inline bool counters_grew(const struct counters *before)
{
	struct counters now;
	int i;

	for (i = 0; i != 20; i++) {
		read_counters(&now);
		if (now.tables <= before->tables && now.pinned <= before->pinned)
			return false;
		usleep(50 * 1000);
	}
	return true;
}

/* What leaves something behind does so each time */
#define LEAK_TRIES 3

/*
 * Does anybody else pin memory or make page tables now, in the time that a try
 * takes? Then what has grown each time can be theirs, and tells nothing.
 */
static inline bool others_are_active(unsigned int seconds)
{
	struct counters before, after;

	read_counters(&before);
	sleep(seconds);
	read_counters(&after);
	return memcmp(&before, &after, sizeof(before));
}

#define OTHERS_ACTIVE "others pin memory or make page tables all the time"

static inline void *alloc_mem(size_t size, int flags)
{
	void *va = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | flags, -1,
			0);

	VFIO_ASSERT_NE(va, MAP_FAILED, "mmap(%#zx, %#x) failed\n", size, flags);
	return va;
}

static inline void drop_rawio(void)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	VFIO_ASSERT_EQ(syscall(SYS_capget, &hdr, data), 0);
	data[0].effective &= ~(1U << CAP_SYS_RAWIO);
	data[0].permitted &= ~(1U << CAP_SYS_RAWIO);
	VFIO_ASSERT_EQ(syscall(SYS_capset, &hdr, data), 0);
}

/*
 * Return what fn() does in another process. Its result comes by a pipe, so that
 * an assertion that fails there is not taken for one.
 */
static inline int __in_child(int (*fn)(void *arg), void *arg, bool rawio)
{
	int fds[2], ret;
	ssize_t len;
	pid_t pid;

	VFIO_ASSERT_EQ(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	VFIO_ASSERT_GE(pid, 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		if (!rawio)
			drop_rawio();
		ret = fn(arg);
		VFIO_ASSERT_EQ(write(fds[1], &ret, sizeof(ret)), sizeof(ret));
		_exit(0);
	}
	close(fds[1]);
	len = read(fds[0], &ret, sizeof(ret));
	close(fds[0]);
	VFIO_ASSERT_EQ(waitpid(pid, NULL, 0), pid);
	VFIO_ASSERT_EQ(len, sizeof(ret), "The child has no result\n");
	return ret;
}

static inline int in_child(int (*fn)(void *arg), void *arg)
{
	return __in_child(fn, arg, true);
}

/* The same for a process that is root in all but CAP_SYS_RAWIO */
static inline int without_rawio(int (*fn)(void *arg), void *arg)
{
	return __in_child(fn, arg, false);
}

/* Skip the whole program unless all is there that a test of the cdev needs */
static inline void noiommu_require(const char *dev_bdf)
{
	char path[PATH_MAX];
	u64 pa;
	int fd;

	if (access("/dev/iommu", F_OK))
		ksft_exit_skip("needs CONFIG_IOMMUFD\n");
	snprintf_assert(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev",
			dev_bdf);
	if (access(path, F_OK))
		ksft_exit_skip("%s is not bound to vfio-pci\n", dev_bdf);
	if (!cdev_is_noiommu(dev_bdf))
		ksft_exit_skip("%s has no noiommu cdev\n", dev_bdf);

	fd = open_cdev(dev_bdf);
	if (fd < 0)
		ksft_exit_skip("cannot open the cdev of %s: %s\n", dev_bdf,
			       strerror(-fd));
	close(fd);
	fd = open("/dev/iommu", O_RDWR);
	if (fd < 0)
		ksft_exit_skip("cannot open /dev/iommu: %s\n", strerror(errno));
	close(fd);
	/* Pages have no addresses there for others */
	pagemap_read(&fd, &pa, 1);
	if (!pa)
		ksft_exit_skip("needs CAP_SYS_ADMIN to read physical addresses\n");
}

/*
 * An iommufd with the device bound to it, and an IOAS that the device is not
 * attached to yet.
 */
struct noiommu {
	int iommufd;
	int cdev;
	u32 devid;
	u32 ioas;
};

static inline void noiommu_open(struct noiommu *n, const char *dev_bdf)
{
	n->cdev = open_cdev(dev_bdf);
	VFIO_ASSERT_GE(n->cdev, 0);
	n->iommufd = open("/dev/iommu", O_RDWR);
	VFIO_ASSERT_GE(n->iommufd, 0);
	VFIO_ASSERT_EQ(cdev_bind(n->cdev, n->iommufd, &n->devid), 0);
	VFIO_ASSERT_EQ(ioas_alloc(n->iommufd, &n->ioas), 0);
}

static inline void noiommu_close(struct noiommu *n)
{
	close(n->cdev);
	close(n->iommufd);
}

/* A BAR as a dma-buf, which takes its memory to be enabled */
static inline int bar_dmabuf(int cdev, int bar, u64 size)
{
	u64 buf[(sizeof(struct vfio_device_feature) +
		 sizeof(struct vfio_device_feature_dma_buf) +
		 sizeof(struct vfio_region_dma_range)) / sizeof(u64)] = {};
	struct vfio_device_feature *feature = (void *)buf;
	struct vfio_device_feature_dma_buf *dma_buf = (void *)feature->data;
	int fd;

	feature->argsz = sizeof(buf);
	feature->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	dma_buf->region_index = bar;
	dma_buf->open_flags = O_RDWR | O_CLOEXEC;
	dma_buf->nr_ranges = 1;
	dma_buf->dma_ranges[0].length = size;

	fd = ioctl(cdev, VFIO_DEVICE_FEATURE, feature);
	return fd < 0 ? -errno : fd;
}

static inline void set_memory_enable(int cdev, bool enable)
{
	off_t offset = ((u64)VFIO_PCI_CONFIG_REGION_INDEX << 40) + PCI_COMMAND;
	u16 command;

	VFIO_ASSERT_EQ(pread(cdev, &command, sizeof(command), offset),
		       sizeof(command));
	command &= ~PCI_COMMAND_MEMORY;
	if (enable)
		command |= PCI_COMMAND_MEMORY;
	VFIO_ASSERT_EQ(pwrite(cdev, &command, sizeof(command), offset),
		       sizeof(command));
}

/* The eventfd by which the kernel asks for the device */
static inline int request_eventfd(int cdev)
{
	u32 buf[(sizeof(struct vfio_irq_set) + sizeof(s32)) / sizeof(u32)] = {};
	struct vfio_irq_set *irq = (void *)buf;
	int fd = eventfd(0, 0);

	VFIO_ASSERT_GE(fd, 0);
	irq->argsz = sizeof(buf);
	irq->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	irq->index = VFIO_PCI_REQ_IRQ_INDEX;
	irq->count = 1;
	memcpy(irq->data, &fd, sizeof(fd));

	VFIO_ASSERT_EQ(do_ioctl(cdev, VFIO_DEVICE_SET_IRQS, irq), 0);
	return fd;
}

static inline bool wait_for_request(int event)
{
	struct pollfd pfd = { .fd = event, .events = POLLIN };

	return poll(&pfd, 1, 20000) == 1;
}

#endif
