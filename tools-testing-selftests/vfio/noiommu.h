/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the noiommu mode share: the ioctls of iommufd and of the
 * cdev, a device that is bound, and the kernel's counters.
 */
#ifndef SELFTESTS_VFIO_NOIOMMU_H
#define SELFTESTS_VFIO_NOIOMMU_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/capability.h>
#include <linux/iommufd.h>
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

/*
 * The array form of IOMMU_IOAS_NOIOMMU_GET_PA, which neither the kernel nor its
 * headers need to have: it fails with -E2BIG then.
 */
#define GET_PA_EXTENTS 1

struct get_pa_extent {
	__aligned_u64 phys;
	__aligned_u64 length;
};

struct get_pa_args {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__u32 __reserved;
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 out_phys;
	__aligned_u64 extents_uptr;
	__u32 num_extents;
	__u32 __reserved2;
};

static inline int get_extents(int iommufd, u32 ioas, u64 iova, u64 *length,
			      struct get_pa_extent *extents, u32 *num_extents)
{
	struct get_pa_args args = {
		.size = sizeof(args),
		.flags = GET_PA_EXTENTS,
		.ioas_id = ioas,
		.iova = iova,
		.length = *length,
		.extents_uptr = (uintptr_t)extents,
		.num_extents = *num_extents,
	};
	int ret = do_ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &args);

	*length = args.length;
	*num_extents = args.num_extents;
	return ret;
}

static inline bool has_extents(int iommufd)
{
	struct get_pa_extent extent;
	u64 length = 1;
	u32 num = 1;

	return get_extents(iommufd, 0, 0, &length, &extent, &num) != -E2BIG;
}

/* The same for any kernel, and memory that is mapped at once */
static inline int get_each_extent(int iommufd, u32 ioas, u64 iova, u64 *length,
				  struct get_pa_extent *extents,
				  u32 *num_extents)
{
	u32 room = *num_extents;
	u64 pa, run, done = 0;
	int ret;

	ret = get_extents(iommufd, ioas, iova, length, extents, num_extents);
	if (ret != -E2BIG)
		return ret;

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

static inline bool cdev_is_noiommu(const char *dev_bdf)
{
	const char *path = vfio_pci_get_cdev_path(dev_bdf);
	bool ret = strstr(path, "/noiommu-vfio");

	free((void *)path);
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

static inline void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	VFIO_ASSERT_GE(fd, 0, "open(%s) failed\n", path);
	VFIO_ASSERT_EQ(write(fd, text, strlen(text)), strlen(text),
		       "write(%s) failed\n", path);
	VFIO_ASSERT_EQ(close(fd), 0);
}

/* Both counters are per CPU and are only folded from time to time */
static inline void fold_counters(void)
{
	write_file("/proc/sys/vm/stat_refresh", "1");
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

/* Run fn() in a process that is root in all but CAP_SYS_RAWIO */
static inline int without_rawio(int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	VFIO_ASSERT_GE(pid, 0);
	if (!pid) {
		drop_rawio();
		_exit(-fn(arg));
	}
	VFIO_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	VFIO_ASSERT_TRUE(WIFEXITED(status));
	return -WEXITSTATUS(status);
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
	struct {
		struct vfio_device_feature hdr;
		struct vfio_device_feature_dma_buf dma_buf;
		struct vfio_region_dma_range range;
	} args = {
		.hdr.argsz = sizeof(args),
		.hdr.flags = VFIO_DEVICE_FEATURE_GET |
			     VFIO_DEVICE_FEATURE_DMA_BUF,
		.dma_buf.region_index = bar,
		.dma_buf.open_flags = O_RDWR | O_CLOEXEC,
		.dma_buf.nr_ranges = 1,
		.range.length = size,
	};
	int fd = ioctl(cdev, VFIO_DEVICE_FEATURE, &args);

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
	struct {
		struct vfio_irq_set hdr;
		s32 fd;
	} irq = {
		.hdr.argsz = sizeof(irq),
		.hdr.flags = VFIO_IRQ_SET_DATA_EVENTFD |
			     VFIO_IRQ_SET_ACTION_TRIGGER,
		.hdr.index = VFIO_PCI_REQ_IRQ_INDEX,
		.hdr.count = 1,
		.fd = eventfd(0, 0),
	};

	VFIO_ASSERT_GE(irq.fd, 0);
	VFIO_ASSERT_EQ(do_ioctl(cdev, VFIO_DEVICE_SET_IRQS, &irq), 0);
	return irq.fd;
}

static inline bool wait_for_request(int event)
{
	struct pollfd pfd = { .fd = event, .events = POLLIN };

	return poll(&pfd, 1, 20000) == 1;
}

#endif
