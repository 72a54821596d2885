// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA of an NVMe controller through the TCE tables of a POWER host bridge, with
 * iommufd and with the VFIO container for sPAPR. What a test expects of a
 * mapping is what the controller can reach, and what it cannot.
 *
 * usage: vfio_tce_test [OPTION...] NVME [NVME]
 *
 * The first controller loses what is on its first namespace; the second one
 * needs none. Tests that need both are skipped if there is one only.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/compiler.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "kselftest_harness.h"
#include "tce.h"

#define UNSAFE_INTERRUPTS	"/sys/module/iommufd/parameters/allow_unsafe_interrupts"

/*
 * The controller: what is at which offset of the memory for its queues, which
 * is mapped at the same IOVA wherever the controller is attached
 */
#define NVME_ADMIN_CREATE_SQ	0x01
#define NVME_ADMIN_CREATE_CQ	0x05
#define NVME_WRITE		0x01
#define NVME_READ		0x02

/* What to identify, and where it is in what comes back */
#define NVME_ID_NAMESPACE	0
#define NVME_ID_CONTROLLER	1
#define NVME_ID_NS_FLBAS	26
#define NVME_ID_NS_LBAF		128

#define NVME_QUEUE_LEN		16
#define NVME_MAX_TRANSFER	SZ_256K
#define NVME_SQ(qid)		((qid) * 2 * NVME_PAGE)
#define NVME_CQ(qid)		(((qid) * 2 + 1) * NVME_PAGE)
#define NVME_PRPS		(4 * NVME_PAGE)
#define NVME_MEMORY		SZ_64K

struct nvme_command {
	u8 opcode;
	u8 flags;
	__le16 id;
	__le32 nsid;
	__le64 reserved[2];
	__le64 prp1;
	__le64 prp2;
	__le32 cdw10;
	__le32 cdw11;
	__le32 cdw12;
	__le32 cdw13;
	__le32 cdw14;
	__le32 cdw15;
};

struct nvme_completion {
	__le32 result;
	__le32 reserved;
	__le16 sq_head;
	__le16 sq_id;
	__le16 id;
	__le16 status;
};

struct nvme {
	const char *bdf;
	int fd;
	u64 bar;
	u64 config;
	void *memory;
	u64 iova;
	u16 tail[2];
	u16 head[2];
	bool phase[2];
	/*
	 * Of the disk, once something was read or written; no block has a size
	 * of 1
	 */
	unsigned int block_shift;
};

static u32 nvme_get(struct nvme *nvme, u32 reg)
{
	u32 value;

	VFIO_ASSERT_EQ(pread(nvme->fd, &value, 4, nvme->bar + reg), 4);
	return le32toh(value);
}

static void nvme_set(struct nvme *nvme, u32 reg, u32 value)
{
	value = htole32(value);
	VFIO_ASSERT_EQ(pwrite(nvme->fd, &value, 4, nvme->bar + reg), 4);
}

static void nvme_set64(struct nvme *nvme, u32 reg, u64 value)
{
	nvme_set(nvme, reg, value);
	nvme_set(nvme, reg + 4, value >> 32);
}

static void nvme_wait_ready(struct nvme *nvme, u32 ready)
{
	u64 end = now_ms() + 10000;

	while ((nvme_get(nvme, NVME_CSTS) & 1) != ready)
		VFIO_ASSERT_LT(now_ms(), end, "The controller hangs\n");
}

/* Returns the status of a command, 0 for success, or -ETIME. */
static int nvme_submit(struct nvme *nvme, int qid, struct nvme_command *command)
{
	struct nvme_completion *completion;
	u64 end = now_ms() + 10000;

	completion = nvme->memory + NVME_CQ(qid) +
		     nvme->head[qid] * sizeof(*completion);

	memcpy(nvme->memory + NVME_SQ(qid) +
	       nvme->tail[qid] * sizeof(*command), command, sizeof(*command));
	__sync_synchronize();
	nvme->tail[qid] = (nvme->tail[qid] + 1) % NVME_QUEUE_LEN;
	nvme_set(nvme, NVME_DOORBELL + 8 * qid, nvme->tail[qid]);

	while ((le16toh(READ_ONCE(completion->status)) & 1) !=
	       nvme->phase[qid]) {
		if (now_ms() > end)
			return -ETIME;
	}
	__sync_synchronize();
	nvme->head[qid] = (nvme->head[qid] + 1) % NVME_QUEUE_LEN;
	if (!nvme->head[qid])
		nvme->phase[qid] = !nvme->phase[qid];
	nvme_set(nvme, NVME_DOORBELL + 8 * qid + 4, nvme->head[qid]);
	return le16toh(completion->status) >> 1;
}

static int nvme_identify_what(struct nvme *nvme, u32 nsid, u32 what, u64 iova)
{
	struct nvme_command command = {
		.opcode = NVME_ADMIN_IDENTIFY,
		.nsid = htole32(nsid),
		.prp1 = htole64(iova),
		.cdw10 = htole32(what),
	};

	return nvme_submit(nvme, 0, &command);
}

/* Make the controller write a page to an address: its own description. */
static int nvme_identify(struct nvme *nvme, u64 iova)
{
	return nvme_identify_what(nvme, 0, NVME_ID_CONTROLLER, iova);
}

/* Blocks without metadata, as there is no memory for that */
static void nvme_identify_disk(struct nvme *nvme)
{
	const u8 *id = nvme->memory + NVME_PRPS;
	const u8 *format;

	VFIO_ASSERT_EQ(nvme_identify_what(nvme, 1, NVME_ID_NAMESPACE,
					  nvme->iova + NVME_PRPS), 0);
	format = &id[NVME_ID_NS_LBAF + 4 * (id[NVME_ID_NS_FLBAS] & 0xf)];
	VFIO_ASSERT_EQ(format[0] | format[1], 0, "The blocks have metadata\n");
	nvme->block_shift = format[2];
	VFIO_ASSERT_GE(nvme->block_shift, 9);
	VFIO_ASSERT_LE(nvme->block_shift, 12);
}

/* Read from or write to the disk at @offset, more than two pages. */
static int nvme_transfer(struct nvme *nvme, u8 opcode, u64 iova, u64 offset,
			 u32 size)
{
	__le64 *prps = nvme->memory + NVME_PRPS;
	struct nvme_command command = {
		.opcode = opcode,
		.nsid = htole32(1),
		.prp1 = htole64(iova),
		.prp2 = htole64(nvme->iova + NVME_PRPS),
	};

	if (!nvme->block_shift)
		nvme_identify_disk(nvme);
	command.cdw10 = htole32(offset >> nvme->block_shift);
	command.cdw12 = htole32((size >> nvme->block_shift) - 1);

	VFIO_ASSERT_LE(size, NVME_MAX_TRANSFER);
	VFIO_ASSERT_GT(size, 2 * NVME_PAGE);
	for (u32 i = 1; i < size / NVME_PAGE; i++)
		*prps++ = htole64(iova + i * NVME_PAGE);
	return nvme_submit(nvme, 1, &command);
}

static void nvme_create_queue(struct nvme *nvme, u8 opcode, u64 iova, u32 cdw11)
{
	struct nvme_command command = {
		.opcode = opcode,
		.prp1 = htole64(iova),
		.cdw10 = htole32((NVME_QUEUE_LEN - 1) << 16 | 1),
		.cdw11 = htole32(cdw11),
	};

	VFIO_ASSERT_EQ(nvme_submit(nvme, 0, &command), 0);
}

/* With the admin queue only */
static void nvme_enable(struct nvme *nvme)
{
	u16 command;

	VFIO_ASSERT_EQ(pread(nvme->fd, &command, 2,
			     nvme->config + PCI_COMMAND), 2);
	command |= htole16(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	VFIO_ASSERT_EQ(pwrite(nvme->fd, &command, 2,
			      nvme->config + PCI_COMMAND), 2);

	memset(nvme->memory, 0, NVME_MEMORY);
	nvme_set(nvme, NVME_CC, 0);
	nvme_wait_ready(nvme, 0);
	for (int qid = 0; qid < 2; qid++) {
		nvme->tail[qid] = 0;
		nvme->head[qid] = 0;
		nvme->phase[qid] = true;
	}
	nvme_set(nvme, NVME_AQA,
		 (NVME_QUEUE_LEN - 1) << 16 | (NVME_QUEUE_LEN - 1));
	nvme_set64(nvme, NVME_ASQ, nvme->iova + NVME_SQ(0));
	nvme_set64(nvme, NVME_ACQ, nvme->iova + NVME_CQ(0));
	nvme_set(nvme, NVME_CC, NVME_CC_ENABLE);
	nvme_wait_ready(nvme, 1);
}

static void nvme_start(struct nvme *nvme)
{
	nvme_enable(nvme);
	nvme_create_queue(nvme, NVME_ADMIN_CREATE_CQ,
			  nvme->iova + NVME_CQ(1), 1);
	nvme_create_queue(nvme, NVME_ADMIN_CREATE_SQ,
			  nvme->iova + NVME_SQ(1), 1 << 16 | 1);
}

/* A controller whose file descriptor is open; its queues are at @iova. */
static void nvme_init(struct nvme *nvme, const char *bdf, int fd, void *memory,
		      u64 iova)
{
	*nvme = (struct nvme){
		.bdf = bdf,
		.fd = fd,
		.bar = region_offset(fd, VFIO_PCI_BAR0_REGION_INDEX),
		.config = region_offset(fd, VFIO_PCI_CONFIG_REGION_INDEX),
		.memory = memory,
		.iova = iova,
	};
}

/* Does a write of the controller to @iova change @memory? */
static bool writes_arrive(struct nvme *nvme, u64 iova, void *memory)
{
	memset(memory, 0xa5, NVME_PAGE);
	nvme_identify(nvme, iova);
	return !is_filled_with(memory, 0xa5, NVME_PAGE);
}

/*
 * iommufd
 */

static u32 ioas_alloc(int iommufd)
{
	struct iommu_ioas_alloc args = { .size = sizeof(args) };

	ioctl_assert(iommufd, IOMMU_IOAS_ALLOC, &args);
	return args.out_ioas_id;
}

/* Map at *@iova, or if that is 0 at an address that goes there. */
static int ioas_map(int iommufd, u32 ioas, void *memory, u64 size, u64 *iova,
		    u32 permissions)
{
	struct iommu_ioas_map args = {
		.size = sizeof(args),
		.flags = permissions | (*iova ? IOMMU_IOAS_MAP_FIXED_IOVA : 0),
		.ioas_id = ioas,
		.user_va = (uintptr_t)memory,
		.length = size,
		.iova = *iova,
	};

	if (ioctl(iommufd, IOMMU_IOAS_MAP, &args))
		return -errno;
	*iova = args.iova;
	return 0;
}

#define READ_WRITE	(IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

static int ioas_unmap(int iommufd, u32 ioas, u64 iova, u64 size)
{
	struct iommu_ioas_unmap args = {
		.size = sizeof(args),
		.ioas_id = ioas,
		.iova = iova,
		.length = size,
	};

	return ioctl(iommufd, IOMMU_IOAS_UNMAP, &args) ? -errno : 0;
}

static int ioas_copy(int iommufd, u32 ioas, u64 from, u64 size, u64 *iova)
{
	struct iommu_ioas_copy args = {
		.size = sizeof(args),
		.flags = READ_WRITE,
		.dst_ioas_id = ioas,
		.src_ioas_id = ioas,
		.length = size,
		.src_iova = from,
	};

	if (ioctl(iommufd, IOMMU_IOAS_COPY, &args))
		return -errno;
	*iova = args.dst_iova;
	return 0;
}

static int hwpt_alloc(int iommufd, u32 dev, u32 ioas, u32 *hwpt)
{
	struct iommu_hwpt_alloc args = {
		.size = sizeof(args),
		.dev_id = dev,
		.pt_id = ioas,
	};

	if (ioctl(iommufd, IOMMU_HWPT_ALLOC, &args))
		return -errno;
	*hwpt = args.out_hwpt_id;
	return 0;
}

static int hwpt_alloc_window(int iommufd, u32 dev, u32 ioas, u32 page_shift,
			     u64 window_size, u32 *hwpt)
{
	struct iommu_hwpt_spapr_tce data = {
		.page_shift = page_shift,
		.window_size = window_size,
	};
	struct iommu_hwpt_alloc args = {
		.size = sizeof(args),
		.dev_id = dev,
		.pt_id = ioas,
		.data_type = IOMMU_HWPT_DATA_SPAPR_TCE,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};

	if (ioctl(iommufd, IOMMU_HWPT_ALLOC, &args))
		return -errno;
	*hwpt = args.out_hwpt_id;
	return 0;
}

static void get_windows(int iommufd, u32 dev,
			struct iommu_hw_info_spapr_tce *info)
{
	struct iommu_hw_info args = {
		.size = sizeof(args),
		.dev_id = dev,
		.data_len = sizeof(*info),
		.data_uptr = (uintptr_t)info,
	};

	ioctl_assert(iommufd, IOMMU_GET_HW_INFO, &args);
	VFIO_ASSERT_EQ(args.out_data_type, IOMMU_HW_INFO_TYPE_SPAPR_TCE);
	VFIO_ASSERT_EQ(args.data_len, sizeof(*info));
}

static int attach(int fd, u32 pt)
{
	struct vfio_device_attach_iommufd_pt args = {
		.argsz = sizeof(args),
		.pt_id = pt,
	};

	return ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &args) ? -errno : 0;
}

static int detach(int fd)
{
	struct vfio_device_detach_iommufd_pt args = { .argsz = sizeof(args) };

	return ioctl(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &args) ? -errno : 0;
}

static u32 ioas_ranges(int iommufd, u32 ioas, struct iommu_iova_range *ranges,
		       u32 nr)
{
	struct iommu_ioas_iova_ranges args = {
		.size = sizeof(args),
		.ioas_id = ioas,
		.num_iovas = nr,
		.allowed_iovas = (uintptr_t)ranges,
	};

	ioctl_assert(iommufd, IOMMU_IOAS_IOVA_RANGES, &args);
	return args.num_iovas;
}

FIXTURE(tce) {
	int iommufd;
	u32 ioas;
	u32 dev;
	struct nvme nvme;
	struct iommu_iova_range ranges[4];
	u32 nr_ranges;
	void *memory;
	u64 iova;
};

/* Which of the windows data is in; the queues are in the first one. */
FIXTURE_VARIANT(tce) {
	u32 window;
};

FIXTURE_VARIANT_ADD(tce, window_32bit) {
	.window = 0,
};

FIXTURE_VARIANT_ADD(tce, window_64bit) {
	.window = 1,
};

#define QUEUES_IOVA	SZ_1M
#define DATA_OFFSET	SZ_16M
#define DATA_SIZE	SZ_64M

FIXTURE_SETUP(tce)
{
	u64 iova = QUEUES_IOVA;
	void *queues;
	int fd;

	self->iommufd = open("/dev/iommu", O_RDWR);
	ASSERT_GE(self->iommufd, 0);
	self->ioas = ioas_alloc(self->iommufd);
	fd = open_cdev(bdfs[0], self->iommufd, &self->dev);
	ASSERT_EQ(0, attach(fd, self->ioas));

	self->nr_ranges = ioas_ranges(self->iommufd, self->ioas, self->ranges,
				      ARRAY_SIZE(self->ranges));
	ASSERT_LT(variant->window, self->nr_ranges);
	self->iova = self->ranges[variant->window].start + DATA_OFFSET;
	self->memory = alloc_memory(DATA_SIZE);

	queues = alloc_memory(NVME_MEMORY);
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, queues, NVME_MEMORY,
			      &iova, READ_WRITE));
	nvme_init(&self->nvme, bdfs[0], fd, queues, iova);
	nvme_start(&self->nvme);
}

FIXTURE_TEARDOWN(tce)
{
	close(self->nvme.fd);
	close(self->iommufd);
	munmap(self->memory, DATA_SIZE);
	munmap(self->nvme.memory, NVME_MEMORY);
}

/*
 * The windows are what can be mapped: their ends can, their neighbours cannot.
 */
TEST_F(tce, ranges)
{
	u64 page = getpagesize();
	u64 first = self->ranges[variant->window].start;
	u64 last = self->ranges[variant->window].last;
	u64 iova;

	ASSERT_EQ(2, self->nr_ranges);
	TH_LOG("window %u: %#llx to %#llx", variant->window,
	       (unsigned long long)first, (unsigned long long)last);
	ASSERT_EQ(0, first % page);
	ASSERT_EQ(0, (last + 1) % page);

	iova = last + 1 - page;
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory, page,
			      &iova, READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, iova, self->memory));
	iova = last + 1;
	ASSERT_NE(0, ioas_map(self->iommufd, self->ioas, self->memory, page,
			      &iova, READ_WRITE));
	if (first) {
		iova = first;
		ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory,
				      page, &iova, READ_WRITE));
		ASSERT_TRUE(writes_arrive(&self->nvme, iova, self->memory));
		iova = first - page;
		ASSERT_NE(0, ioas_map(self->iommufd, self->ioas, self->memory,
				      page, &iova, READ_WRITE));
	}
}

/* 64 MiB to the disk and back */
TEST_F(tce, transfer)
{
	u32 *words = self->memory;

	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory,
			      DATA_SIZE, &self->iova, READ_WRITE));
	for (u32 i = 0; i < DATA_SIZE / 4; i++)
		words[i] = i * 2654435761u + variant->window;
	for (u32 at = 0; at < DATA_SIZE; at += NVME_MAX_TRANSFER)
		ASSERT_EQ(0, nvme_transfer(&self->nvme, NVME_WRITE,
					   self->iova + at, at,
					   NVME_MAX_TRANSFER));
	memset(self->memory, 0, DATA_SIZE);
	for (u32 at = 0; at < DATA_SIZE; at += NVME_MAX_TRANSFER)
		ASSERT_EQ(0, nvme_transfer(&self->nvme, NVME_READ,
					   self->iova + at, at,
					   NVME_MAX_TRANSFER));
	for (u32 i = 0; i < DATA_SIZE / 4; i++)
		ASSERT_EQ(i * 2654435761u + variant->window, words[i]);
}

/* What is not mapped, or no longer, cannot be reached. */
TEST_F(tce, unmapped)
{
	u64 page = getpagesize();

	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory,
			      4 * page, &self->iova, READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova + page,
				  self->memory + page));
	ASSERT_EQ(0, ioas_unmap(self->iommufd, self->ioas, self->iova,
				4 * page));
	memset(self->memory, 0xa5, 4 * page);
	for (int i = -1; i < 5; i++)
		nvme_identify(&self->nvme, self->iova + i * page);
	ASSERT_TRUE(is_filled_with(self->memory, 0xa5, 4 * page));

	/* And it can be mapped again. */
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory,
			      4 * page, &self->iova, READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));
}

/* Read-only memory can be written to the disk, and is not changed by a read. */
TEST_F(tce, read_only)
{
	u64 size = SZ_64K;
	u64 other = self->iova + SZ_16M;

	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory, size,
			      &self->iova, IOMMU_IOAS_MAP_READABLE));
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory + size,
			      size, &other, READ_WRITE));
	ASSERT_FALSE(writes_arrive(&self->nvme, self->iova, self->memory));

	memset(self->memory, 0x5a, size);
	ASSERT_EQ(0, nvme_transfer(&self->nvme, NVME_WRITE, self->iova, 0,
				   size));
	ASSERT_EQ(0, nvme_transfer(&self->nvme, NVME_READ, other, 0,
				   size));
	ASSERT_TRUE(is_filled_with(self->memory + size, 0x5a, size));
}

/*
 * Memory that may be written only is written, and does not get to the disk.
 * Whether the device reports that it could not read is not looked at. On bare
 * metal a device may read what it may write.
 */
TEST_F(tce, write_only)
{
	u64 size = SZ_64K;
	u64 other = self->iova + SZ_16M;

	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory, size,
			      &self->iova, IOMMU_IOAS_MAP_WRITEABLE));
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory + size,
			      size, &other, READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));

	memset(self->memory + size, 0xc3, size);
	ASSERT_EQ(0, nvme_transfer(&self->nvme, NVME_WRITE, other, 0, size));
	memset(self->memory, 0x5a, size);
	nvme_transfer(&self->nvme, NVME_WRITE, self->iova, 0, size);
	ASSERT_EQ(0, nvme_transfer(&self->nvme, NVME_READ, other, 0, size));
	ASSERT_EQ(is_bare_metal(),
		  is_filled_with(self->memory + size, 0x5a, size));
	if (!is_bare_metal())
		ASSERT_EQ(NULL, memchr(self->memory + size, 0x5a, size));
}

static const char *read_parameter(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "r");

	text[0] = '\0';
	if (!file)
		return text;
	if (!fgets(text, size, file))
		text[0] = '\0';
	fclose(file);
	return text;
}

/*
 * QEMU's devices can raise any interrupt of the machine: it takes a parameter
 * to have one.
 */
TEST(unsafe_interrupts)
{
	struct vfio_device_bind_iommufd args = { .argsz = sizeof(args) };
	char machine[32], allowed[4];
	const char *path;
	int fd, rc;

	read_parameter("/proc/device-tree/compatible", machine, sizeof(machine));
	read_parameter(UNSAFE_INTERRUPTS, allowed, sizeof(allowed));
	ASSERT_NE(0, allowed[0]);

	args.iommufd = open("/dev/iommu", O_RDWR);
	ASSERT_GE(args.iommufd, 0);
	path = vfio_pci_get_cdev_path(bdfs[0]);
	fd = open(path, O_RDWR);
	ASSERT_GE(fd, 0);
	free((void *)path);

	sysfs_write("N", "%s", UNSAFE_INTERRUPTS);
	rc = ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &args) ? -errno : 0;
	sysfs_write(allowed, "%s", UNSAFE_INTERRUPTS);
	EXPECT_EQ(strcmp(machine, "qemu,pseries") ? 0 : -EPERM, rc);
	close(fd);
	close(args.iommufd);
}

/* A window takes as much as its size, then says so, and takes it again. */
TEST_F_TIMEOUT(tce, full, 180)
{
	struct iommu_iova_range *range = &self->ranges[variant->window];
	u64 size = range->last - range->start + 1;
	struct iommu_ioas_allow_iovas allow = {
		.size = sizeof(allow),
		.ioas_id = self->ioas,
		.num_iovas = 1,
		.allowed_iovas = (uintptr_t)range,
	};
	u64 first = range->last + 1 - DATA_SIZE;
	u64 mapped, iova;
	int rc;

	if (variant->window)
		ASSERT_EQ(0, ioas_unmap(self->iommufd, self->ioas,
					self->nvme.iova, NVME_MEMORY));
	ioctl_assert(self->iommufd, IOMMU_IOAS_ALLOW_IOVAS, &allow);

	for (int round = 0; round < 2; round++) {
		ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory,
				      DATA_SIZE, &first, READ_WRITE));
		for (mapped = DATA_SIZE;; mapped += DATA_SIZE) {
			rc = ioas_copy(self->iommufd, self->ioas, first,
				       DATA_SIZE, &iova);
			if (rc)
				break;
		}
		ASSERT_EQ(-ENOSPC, rc);
		/* The first window also has the queues. */
		ASSERT_EQ(variant->window ? size : size - DATA_SIZE, mapped);
		if (!variant->window)
			ASSERT_TRUE(writes_arrive(&self->nvme, first,
						  self->memory));

		iova = variant->window ? range->start :
			       QUEUES_IOVA + NVME_MEMORY;
		ASSERT_EQ(0, ioas_unmap(self->iommufd, self->ioas, iova,
					range->last + 1 - iova));
	}
}

/* Another IOAS takes over at once; what both have in common never goes away. */
TEST_F(tce, replace)
{
	u64 page = getpagesize(), iova = QUEUES_IOVA;
	u32 other = ioas_alloc(self->iommufd);
	void *second = self->memory + page;

	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory, page,
			      &self->iova, READ_WRITE));
	ASSERT_EQ(0, ioas_map(self->iommufd, other, self->nvme.memory,
			      NVME_MEMORY, &iova, READ_WRITE));
	ASSERT_EQ(0, ioas_map(self->iommufd, other, second, page,
			      &self->iova, READ_WRITE));

	for (int i = 0; i < 3; i++) {
		memset(second, 0xa5, page);
		ASSERT_TRUE(writes_arrive(&self->nvme, self->iova,
					  self->memory));
		ASSERT_TRUE(is_filled_with(second, 0xa5, page));

		ASSERT_EQ(0, attach(self->nvme.fd, other));
		memset(self->memory, 0xa5, page);
		ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, second));
		ASSERT_TRUE(is_filled_with(self->memory, 0xa5, page));

		ASSERT_EQ(0, attach(self->nvme.fd, self->ioas));
	}

	/* What only the other one had is gone with it. */
	ASSERT_EQ(0, ioas_unmap(self->iommufd, self->ioas, self->iova, page));
	ASSERT_EQ(0, attach(self->nvme.fd, other));
	ASSERT_EQ(0, attach(self->nvme.fd, self->ioas));
	ASSERT_FALSE(writes_arrive(&self->nvme, self->iova, second));
}

/* A page table of its own, filled before it is attached and kept after that */
TEST_F(tce, hwpt)
{
	u64 page = getpagesize();
	u32 hwpt[2];

	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory, page,
			      &self->iova, READ_WRITE));
	ASSERT_EQ(0, detach(self->nvme.fd));
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, hwpt_alloc(self->iommufd, self->dev, self->ioas,
					&hwpt[i]));
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, attach(self->nvme.fd, hwpt[i % 2]));
		nvme_start(&self->nvme);
		ASSERT_TRUE(writes_arrive(&self->nvme, self->iova,
					  self->memory));
		if (i == 1)
			ASSERT_EQ(0, detach(self->nvme.fd));
	}
	ASSERT_EQ(0, ioas_unmap(self->iommufd, self->ioas, self->iova, page));
	ASSERT_FALSE(writes_arrive(&self->nvme, self->iova, self->memory));
}

/* Without a domain the controller reaches nothing. */
TEST_F(tce, detached)
{
	u64 page = getpagesize();

	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory, page,
			      &self->iova, READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));
	ASSERT_EQ(0, detach(self->nvme.fd));

	memset(self->memory, 0xa5, page);
	memset(self->nvme.memory, 0, NVME_MEMORY);
	nvme_set(&self->nvme, NVME_DOORBELL, (self->nvme.tail[0] + 1) %
		 NVME_QUEUE_LEN);
	usleep(200000);
	ASSERT_TRUE(is_filled_with(self->memory, 0xa5, page));
	ASSERT_TRUE(is_filled_with(self->nvme.memory, 0, NVME_MEMORY));

	ASSERT_EQ(0, attach(self->nvme.fd, self->ioas));
	nvme_start(&self->nvme);
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));
}

/* A reset in between changes nothing for the mappings. */
TEST_F(tce, reset)
{
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory,
			      getpagesize(), &self->iova, READ_WRITE));
	ioctl_assert(self->nvme.fd, VFIO_DEVICE_RESET, NULL);
	nvme_start(&self->nvme);
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));
}

/* Two devices on one IOAS, in one group or in two; each survives the other. */
TEST_F(tce, two_devices)
{
	u64 page = getpagesize(), iova = QUEUES_IOVA + SZ_1M;
	struct nvme second;
	void *queues;
	u32 dev;
	int fd;

	if (!bdfs[1])
		SKIP(return, "needs two devices");

	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory, page,
			      &self->iova, READ_WRITE));
	queues = alloc_memory(NVME_MEMORY);
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, queues, NVME_MEMORY,
			      &iova, READ_WRITE));

	for (int i = 0; i < 2; i++) {
		fd = open_cdev(bdfs[1], self->iommufd, &dev);
		ASSERT_EQ(0, attach(fd, self->ioas));
		nvme_init(&second, bdfs[1], fd, queues, iova);
		nvme_start(&second);
		ASSERT_TRUE(writes_arrive(&self->nvme, self->iova,
					  self->memory));
		ASSERT_TRUE(writes_arrive(&second, self->iova, self->memory));
		if (i) {
			ASSERT_EQ(0, detach(self->nvme.fd));
			ASSERT_TRUE(writes_arrive(&second, self->iova,
						  self->memory));
			ASSERT_EQ(0, attach(self->nvme.fd, self->ioas));
			nvme_start(&self->nvme);
		}
		close(fd);
		ASSERT_TRUE(writes_arrive(&self->nvme, self->iova,
					  self->memory));
	}
	munmap(queues, NVME_MEMORY);
}

/*
 * The container for sPAPR, and the one that iommufd has in its place
 */

FIXTURE(spapr) {
	int group;
	int container;
	struct nvme nvme;
	void *memory;
	u64 iova;
};

FIXTURE_VARIANT(spapr) {
	const char *path;
	u32 window;
};

FIXTURE_VARIANT_ADD(spapr, window_32bit) {
	.path = CONTAINER,
	.window = 0,
};

FIXTURE_VARIANT_ADD(spapr, window_64bit) {
	.path = CONTAINER,
	.window = 1,
};

FIXTURE_VARIANT_ADD(spapr, iommufd_32bit) {
	.path = IOMMUFD,
	.window = 0,
};

FIXTURE_VARIANT_ADD(spapr, iommufd_64bit) {
	.path = IOMMUFD,
	.window = 1,
};

#define SPAPR_MEMORY	SZ_2M

/* A thread that maps memory: where, and until when */
struct spapr_loop {
	int container;
	void *memory;
	u64 iova;
	bool stop;
};

static int spapr_create_shift(int container, u32 page_shift, u64 *start)
{
	struct vfio_iommu_spapr_tce_create args = {
		.argsz = sizeof(args),
		.page_shift = page_shift,
		.window_size = SZ_1G,
		.levels = 1,
	};

	if (ioctl(container, VFIO_IOMMU_SPAPR_TCE_CREATE, &args))
		return -errno;
	*start = args.start_addr;
	return 0;
}

static int spapr_create(int container, u64 *start)
{
	return spapr_create_shift(container, __builtin_ctz(getpagesize()),
				  start);
}

static int spapr_remove(int container, u64 start)
{
	struct vfio_iommu_spapr_tce_remove args = {
		.argsz = sizeof(args),
		.start_addr = start,
	};

	return ioctl(container, VFIO_IOMMU_SPAPR_TCE_REMOVE, &args) ? -errno : 0;
}

FIXTURE_SETUP(spapr)
{
	struct vfio_iommu_spapr_tce_info info = { .argsz = sizeof(info) };
	u64 start;
	int fd;

	self->container = open(variant->path, O_RDWR);
	ASSERT_GE(self->container, 0);
	self->group = open_group(bdfs[0]);
	ASSERT_GE(self->group, 0);
	ioctl_assert(self->group, VFIO_GROUP_SET_CONTAINER, &self->container);
	ioctl_assert(self->container, VFIO_SET_IOMMU,
		     (void *)VFIO_SPAPR_TCE_v2_IOMMU);
	fd = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, bdfs[0]);
	ASSERT_GE(fd, 0);

	ioctl_assert(self->container, VFIO_IOMMU_SPAPR_TCE_GET_INFO, &info);
	ASSERT_TRUE(info.flags & VFIO_IOMMU_SPAPR_INFO_DDW);
	ASSERT_TRUE(info.ddw.pgsizes & getpagesize());

	self->memory = alloc_memory(SPAPR_MEMORY);
	ASSERT_EQ(0, spapr_register(self->container, self->memory,
				    SPAPR_MEMORY));

	/* The container makes the default window with the first mapping. */
	ASSERT_EQ(0, spapr_map(self->container, self->memory, NVME_MEMORY,
			       QUEUES_IOVA, SPAPR_READ_WRITE));
	self->iova = info.dma32_window_start + DATA_OFFSET;
	if (variant->window) {
		ASSERT_EQ(0, spapr_create(self->container, &start));
		self->iova = start + DATA_OFFSET;
	}
	nvme_init(&self->nvme, bdfs[0], fd, self->memory, QUEUES_IOVA);
	nvme_start(&self->nvme);
}

FIXTURE_TEARDOWN(spapr)
{
	close(self->nvme.fd);
	close(self->group);
	close(self->container);
	munmap(self->memory, SPAPR_MEMORY);
}

TEST_F(spapr, map_and_unmap)
{
	u64 page = getpagesize();
	void *data = self->memory + SPAPR_MEMORY - page;

	ASSERT_EQ(0, spapr_map(self->container, data, page, self->iova,
			       SPAPR_READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, data));
	ASSERT_EQ(0, spapr_unmap(self->container, self->iova, page));
	ASSERT_FALSE(writes_arrive(&self->nvme, self->iova, data));

	ASSERT_EQ(0, spapr_map(self->container, data, page, self->iova,
			       VFIO_DMA_MAP_FLAG_READ));
	ASSERT_FALSE(writes_arrive(&self->nvme, self->iova, data));
	ASSERT_EQ(0, spapr_unmap(self->container, self->iova, page));
}

TEST_F(spapr, transfer)
{
	void *data = self->memory + SZ_1M;

	ASSERT_EQ(0, spapr_map(self->container, data, NVME_MAX_TRANSFER,
			       self->iova, SPAPR_READ_WRITE));
	memset(data, 0x5a, NVME_MAX_TRANSFER);
	ASSERT_EQ(0, nvme_transfer(&self->nvme, NVME_WRITE, self->iova, 0,
				   NVME_MAX_TRANSFER));
	memset(data, 0, NVME_MAX_TRANSFER);
	ASSERT_EQ(0, nvme_transfer(&self->nvme, NVME_READ, self->iova, 0,
				   NVME_MAX_TRANSFER));
	ASSERT_TRUE(is_filled_with(data, 0x5a, NVME_MAX_TRANSFER));
}

/* What it refuses changes nothing. */
TEST_F(spapr, refused)
{
	u64 page = getpagesize(), start;
	void *data = self->memory + SPAPR_MEMORY - page;
	void *other = alloc_memory(page);

	ASSERT_EQ(0, spapr_map(self->container, data, page, self->iova,
			       SPAPR_READ_WRITE));

	/* Memory that is not registered, and an address that is in no window */
	ASSERT_EQ(-EINVAL, spapr_map(self->container, other, page,
				     self->iova + page, SPAPR_READ_WRITE));
	ASSERT_EQ(-ENXIO, spapr_map(self->container, data, page, SZ_4G * 256,
				    SPAPR_READ_WRITE));
	ASSERT_EQ(-ENXIO, spapr_unmap(self->container, SZ_4G * 256, page));
	ASSERT_EQ(-EINVAL, spapr_map(self->container, data, page, self->iova, 0));
	/* Memory that is mapped */
	ASSERT_EQ(-EBUSY, spapr_unregister(self->container, self->memory,
					   SPAPR_MEMORY));
	/* A third window */
	if (!variant->window)
		ASSERT_EQ(0, spapr_create(self->container, &start));
	ASSERT_EQ(-ENOSPC, spapr_create(self->container, &start));

	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, data));
	ASSERT_FALSE(writes_arrive(&self->nvme, self->iova + page, other));
	munmap(other, page);
}

/* What a program asks before it chooses, and what the second version has not */
TEST_F(spapr, extensions)
{
	struct vfio_iommu_spapr_tce_info info = { .argsz = 4 };
	struct vfio_eeh_pe_op op = {
		.argsz = sizeof(op),
		.op = VFIO_EEH_PE_GET_STATE,
	};

	ASSERT_EQ(1, ioctl(self->container, VFIO_CHECK_EXTENSION,
			   VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(1, ioctl(self->container, VFIO_CHECK_EXTENSION,
			   VFIO_SPAPR_TCE_IOMMU));
	ASSERT_EQ(0, ioctl(self->container, VFIO_CHECK_EXTENSION,
			   VFIO_TYPE1_IOMMU));
	ASSERT_EQ(0, ioctl(self->container, VFIO_CHECK_EXTENSION,
			   VFIO_TYPE1v2_IOMMU));

	ASSERT_EQ(-1, ioctl(self->container, VFIO_SET_IOMMU,
			    VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(EINVAL, errno);
	ASSERT_EQ(-1, ioctl(self->container, VFIO_SET_IOMMU,
			    VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(EINVAL, errno);
	ASSERT_EQ(-1, ioctl(self->container, VFIO_IOMMU_ENABLE));
	ASSERT_EQ(ENOTTY, errno);
	ASSERT_EQ(-1, ioctl(self->container, VFIO_IOMMU_SPAPR_TCE_GET_INFO,
			    &info));
	ASSERT_EQ(EINVAL, errno);

	/* What it says about EEH is true */
	if (ioctl(self->container, VFIO_CHECK_EXTENSION, VFIO_EEH) > 0) {
		ASSERT_LE(0, ioctl(self->container, VFIO_EEH_PE_OP, &op));
	} else {
		ASSERT_EQ(-1, ioctl(self->container, VFIO_EEH_PE_OP, &op));
		if (!strcmp(variant->path, IOMMUFD))
			ASSERT_EQ(ENOTTY, errno);
	}
}

/* Any page can be unmapped and mapped again, whatever it was mapped with. */
TEST_F(spapr, pieces)
{
	u64 page = getpagesize(), iova = self->iova;
	void *data = self->memory + SZ_1M;
	void *other = self->memory + SPAPR_MEMORY - page;

	ASSERT_EQ(0, spapr_map(self->container, data, 8 * page, iova,
			       SPAPR_READ_WRITE));
	for (int i = 0; i < 8; i++)
		ASSERT_TRUE(writes_arrive(&self->nvme, iova + i * page,
					  data + i * page));

	ASSERT_EQ(0, spapr_unmap(self->container, iova + 3 * page, page));
	for (int i = 0; i < 8; i++)
		ASSERT_EQ(i != 3, writes_arrive(&self->nvme, iova + i * page,
						data + i * page));

	/* The place of one page and of a hole */
	memset(data, 0xa5, 8 * page);
	ASSERT_EQ(0, spapr_map(self->container, other, page, iova + 5 * page,
			       SPAPR_READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, iova + 5 * page, other));
	ASSERT_TRUE(is_filled_with(data, 0xa5, 8 * page));
	ASSERT_EQ(0, spapr_map(self->container, other, page, iova + 3 * page,
			       SPAPR_READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, iova + 3 * page, other));
	ASSERT_TRUE(writes_arrive(&self->nvme, iova + 4 * page,
				  data + 4 * page));

	/* More than what is mapped, and what is not mapped at all */
	ASSERT_EQ(0, spapr_unmap(self->container, iova + page, 9 * page));
	ASSERT_EQ(0, spapr_unmap(self->container, iova + page, 9 * page));
	memset(data, 0xa5, 8 * page);
	memset(other, 0xa5, page);
	for (int i = 1; i < 10; i++)
		nvme_identify(&self->nvme, iova + i * page);
	ASSERT_TRUE(is_filled_with(data, 0xa5, 8 * page));
	ASSERT_TRUE(is_filled_with(other, 0xa5, page));
	ASSERT_TRUE(writes_arrive(&self->nvme, iova, data));
}

/* Memory is registered as a whole, and mapped as one likes. */
TEST_F(spapr, memory)
{
	u64 page = getpagesize(), iova = self->iova;
	void *memory = alloc_memory(4 * page);
	int c = self->container;

	ASSERT_EQ(-EINVAL, spapr_register(c, memory + 1, page));
	ASSERT_EQ(-EINVAL, spapr_register(c, memory, page + 1));
	ASSERT_EQ(-ENOENT, spapr_unregister(c, memory, page));
	ASSERT_EQ(0, spapr_register(c, memory, 2 * page));
	ASSERT_EQ(-EBUSY, spapr_register(c, memory, 2 * page));
	ASSERT_EQ(-EINVAL, spapr_register(c, memory + page, 2 * page));
	ASSERT_EQ(0, spapr_register(c, memory + 2 * page, page));

	/* Two of them in one mapping, but nothing beyond */
	ASSERT_EQ(0, spapr_map(c, memory, 3 * page, iova, SPAPR_READ_WRITE));
	for (int i = 0; i < 3; i++)
		ASSERT_TRUE(writes_arrive(&self->nvme, iova + i * page,
					  memory + i * page));
	ASSERT_EQ(-EBUSY, spapr_unregister(c, memory + 2 * page, page));
	ASSERT_EQ(0, spapr_unmap(c, iova + 2 * page, page));
	ASSERT_EQ(0, spapr_unregister(c, memory + 2 * page, page));
	ASSERT_EQ(-EINVAL, spapr_map(c, memory + 2 * page, page,
				     iova + 2 * page, SPAPR_READ_WRITE));

	/* A page of it that is still mapped keeps all of it. */
	ASSERT_EQ(0, spapr_unmap(c, iova, page));
	ASSERT_EQ(-EBUSY, spapr_unregister(c, memory, 2 * page));
	ASSERT_EQ(-ENOENT, spapr_unregister(c, memory, page));
	ASSERT_TRUE(writes_arrive(&self->nvme, iova + page, memory + page));
	ASSERT_EQ(0, spapr_unmap(c, iova + page, page));
	ASSERT_EQ(0, spapr_unregister(c, memory, 2 * page));
	ASSERT_EQ(-ENOENT, spapr_unregister(c, memory, 2 * page));
	munmap(memory, 4 * page);
}

/* The second window can go away, and come back with nothing in it. */
TEST_F(spapr, window)
{
	u64 start = self->iova - DATA_OFFSET, again, page = getpagesize();
	void *data = self->memory + SPAPR_MEMORY - page;

	if (!variant->window)
		ASSERT_EQ(0, spapr_create(self->container, &start));

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, spapr_map(self->container, data, page,
				       start + SZ_1M, SPAPR_READ_WRITE));
		ASSERT_TRUE(writes_arrive(&self->nvme, start + SZ_1M, data));
		ASSERT_EQ(0, spapr_remove(self->container, start));
		ASSERT_FALSE(writes_arrive(&self->nvme, start + SZ_1M, data));
		ASSERT_EQ(-ENXIO, spapr_map(self->container, data, page,
					    start + SZ_1M, SPAPR_READ_WRITE));
		ASSERT_EQ(-EINVAL, spapr_remove(self->container, start));

		ASSERT_EQ(0, spapr_create(self->container, &again));
		ASSERT_EQ(start, again);
		ASSERT_FALSE(writes_arrive(&self->nvme, start + SZ_1M, data));
	}
}

/*
 * A second device has the same windows, be it in the same group or in another.
 */
TEST_F(spapr, two_devices)
{
	u64 page = getpagesize(), iova = QUEUES_IOVA + SZ_1M;
	void *queues = self->memory + SZ_1M;
	void *data = self->memory + SPAPR_MEMORY - page;
	struct nvme second;
	int group, fd;

	if (!bdfs[1])
		SKIP(return, "needs two devices");

	/* A group opens once: this is another one, or the same and busy. */
	group = open_group(bdfs[1]);
	if (group >= 0)
		ioctl_assert(group, VFIO_GROUP_SET_CONTAINER, &self->container);
	fd = ioctl(group >= 0 ? group : self->group, VFIO_GROUP_GET_DEVICE_FD,
		   bdfs[1]);
	ASSERT_GE(fd, 0);

	ASSERT_EQ(0, spapr_map(self->container, queues, NVME_MEMORY, iova,
			       SPAPR_READ_WRITE));
	ASSERT_EQ(0, spapr_map(self->container, data, page, self->iova,
			       SPAPR_READ_WRITE));
	nvme_init(&second, bdfs[1], fd, queues, iova);
	nvme_start(&second);
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, data));
	ASSERT_TRUE(writes_arrive(&second, self->iova, data));

	close(fd);
	if (group >= 0)
		close(group);
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, data));
}

static void use_with_iommufd(struct __test_metadata *const _metadata)
{
	int iommufd = open("/dev/iommu", O_RDWR);
	u64 iova = QUEUES_IOVA;
	struct nvme nvme;
	void *queues;
	u32 ioas, dev;
	int fd;

	ASSERT_GE(iommufd, 0);
	ioas = ioas_alloc(iommufd);
	fd = open_cdev(bdfs[0], iommufd, &dev);
	ASSERT_EQ(0, attach(fd, ioas));
	queues = alloc_memory(NVME_MEMORY);
	ASSERT_EQ(0, ioas_map(iommufd, ioas, queues, NVME_MEMORY, &iova,
			      READ_WRITE));
	nvme_init(&nvme, bdfs[0], fd, queues, iova);
	nvme_start(&nvme);
	close(fd);
	close(iommufd);
	munmap(queues, NVME_MEMORY);
}

/* Each device goes back to the kernel's driver, and to VFIO again. */
TEST(kernel_driver)
{
	if (!bdfs[1])
		SKIP(return, "needs two devices");

	for (u8 round = 1; round < 4; round++) {
		use_with_iommufd(_metadata);
		ASSERT_TRUE(kernel_dma_works_in_all(2 * round));
	}
}

/* The same after the container */
TEST_F(spapr, kernel_driver)
{
	if (!bdfs[1])
		SKIP(return, "needs two devices");

	close(self->nvme.fd);
	close(self->group);
	close(self->container);
	ASSERT_TRUE(kernel_dma_works_in_all(0x11));
	self->nvme.fd = -1;
	self->group = -1;
	self->container = -1;
}

/* A device goes away and comes back while another one is in use. */
TEST_F(tce, unplug)
{
	char path[PATH_MAX];

	if (!bdfs[1])
		SKIP(return, "needs two devices");

	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory,
			      getpagesize(), &self->iova, READ_WRITE));
	sysfs_write("1", SYSFS_PCI "/devices/%s/remove", bdfs[1]);
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));
	sysfs_write("1", SYSFS_PCI "/rescan", "");
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));
	snprintf(path, sizeof(path), SYSFS_PCI "/devices/%s", bdfs[1]);
	ASSERT_EQ(0, access(path, F_OK));
	bind_to(bdfs[1], "vfio-pci");
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));

	/* The same for the one in use, as soon as it is let go. */
	close(self->nvme.fd);
	sysfs_write("1", SYSFS_PCI "/devices/%s/remove", bdfs[0]);
	sysfs_write("1", SYSFS_PCI "/rescan", "");
	bind_to(bdfs[0], "vfio-pci");
	self->nvme.fd = open_cdev(bdfs[0], self->iommufd, &self->dev);
	ASSERT_EQ(0, attach(self->nvme.fd, self->ioas));
	nvme_start(&self->nvme);
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));
}

/*
 * What the kernel did wrong with the container once
 */

static u64 locked_kb(void)
{
	char line[128];
	u64 kb = 0;
	FILE *file;

	file = fopen("/proc/self/status", "r");
	VFIO_ASSERT_NOT_NULL(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "VmLck: %lu", &kb) == 1)
			break;
	}
	fclose(file);
	return kb;
}

static void *map_in_a_loop(void *arg)
{
	struct spapr_loop *loop = arg;

	while (!READ_ONCE(loop->stop)) {
		spapr_map(loop->container, loop->memory, SPAPR_MEMORY,
			  loop->iova, SPAPR_READ_WRITE);
		spapr_unmap(loop->container, loop->iova, SPAPR_MEMORY);
	}
	return NULL;
}

/* One thread removes the window that another one maps memory in. */
TEST_F(spapr, remove_while_mapped)
{
	struct spapr_loop loop = {
		.container = self->container,
		.memory = self->memory,
	};
	pthread_t thread;
	u64 end, start;

	if (variant->window)
		ASSERT_EQ(0, spapr_remove(self->container,
					  self->iova - DATA_OFFSET));
	ASSERT_EQ(0, spapr_create(self->container, &loop.iova));
	ASSERT_EQ(0, pthread_create(&thread, NULL, map_in_a_loop, &loop));
	for (end = now_ms() + 2000; now_ms() < end; ) {
		ASSERT_EQ(0, spapr_remove(self->container, loop.iova));
		ASSERT_EQ(0, spapr_create(self->container, &start));
		ASSERT_EQ(loop.iova, start);
	}
	WRITE_ONCE(loop.stop, true);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(0, spapr_map(self->container, self->memory, SPAPR_MEMORY,
			       loop.iova, SPAPR_READ_WRITE));
}

/* A window that cannot be had costs nothing, and does not ban others. */
TEST_F(spapr, create_refused)
{
	static const u64 sizes[] = { 0, SZ_4K, SZ_32K, 3 * SZ_64K };
	struct vfio_iommu_spapr_tce_create args = {
		.argsz = sizeof(args),
		.levels = 1,
	};
	u64 page = getpagesize(), start, locked;
	void *data = self->memory + SPAPR_MEMORY - page;

	if (variant->window)
		ASSERT_EQ(0, spapr_remove(self->container,
					  self->iova - DATA_OFFSET));
	locked = locked_kb();

	/* Less than a page of memory, none, and not a power of two of them */
	args.page_shift = 12;
	args.window_size = page / 2;
	ASSERT_EQ(-1, ioctl(self->container, VFIO_IOMMU_SPAPR_TCE_CREATE,
			    &args));
	ASSERT_EQ(EINVAL, errno);
	args.page_shift = 16;
	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		args.window_size = sizes[i];
		ASSERT_EQ(-1, ioctl(self->container,
				    VFIO_IOMMU_SPAPR_TCE_CREATE, &args));
		ASSERT_EQ(EINVAL, errno);
	}

	/* A shift of POWER takes 7 bits. */
	args.page_shift = 128 + 16;
	args.window_size = SZ_1G;
	ASSERT_EQ(-1, ioctl(self->container, VFIO_IOMMU_SPAPR_TCE_CREATE,
			    &args));
	ASSERT_EQ(EINVAL, errno);

	args.page_shift = 12;
	args.window_size = 1ULL << 60;
	for (int i = 0; i < 8; i++)
		ASSERT_NE(0, ioctl(self->container, VFIO_IOMMU_SPAPR_TCE_CREATE,
				   &args));
	ASSERT_EQ(locked, locked_kb());

	ASSERT_EQ(0, spapr_create(self->container, &start));
	ASSERT_EQ(0, spapr_map(self->container, data, page, start + SZ_1M,
			       SPAPR_READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, start + SZ_1M, data));
}

static void drop_ipc_lock(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	VFIO_ASSERT_EQ(syscall(SYS_capget, &header, data), 0);
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	VFIO_ASSERT_EQ(syscall(SYS_capset, &header, data), 0);
}

/* Registered memory is charged: once, and as long as it is registered. */
TEST_F(spapr, charged)
{
	u64 size = SZ_1M, page = getpagesize();
	void *memory = alloc_memory(size + page);
	struct rlimit limit = {
		.rlim_cur = locked_kb() * SZ_1K + size,
		.rlim_max = RLIM_INFINITY,
	};
	int c = self->container;

	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	drop_ipc_lock();

	ASSERT_EQ(0, spapr_register(c, memory, size));
	ASSERT_EQ(-ENOMEM, spapr_register(c, memory + size, page));
	ASSERT_EQ(0, spapr_map(c, memory, size, self->iova, SPAPR_READ_WRITE));
	ASSERT_EQ(0, spapr_unmap(c, self->iova, size));
	ASSERT_EQ(-ENOMEM, spapr_register(c, memory + size, page));
	ASSERT_EQ(0, spapr_unregister(c, memory, size));
	ASSERT_EQ(0, spapr_register(c, memory + size, page));
	ASSERT_EQ(0, spapr_unregister(c, memory + size, page));
	munmap(memory, size + page);
}

/* A device that joins the group, or one beside it, leaves the windows alone. */
TEST_F(spapr, join)
{
	u64 page = getpagesize();
	void *data = self->memory + SPAPR_MEMORY - page;

	if (!bdfs[1])
		SKIP(return, "needs two devices");

	ASSERT_EQ(0, spapr_map(self->container, data, page, self->iova,
			       SPAPR_READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, data));
	sysfs_write("1", SYSFS_PCI "/devices/%s/remove", bdfs[1]);
	sysfs_write("1", SYSFS_PCI "/rescan", "");
	EXPECT_TRUE(writes_arrive(&self->nvme, self->iova, data));
	bind_to(bdfs[1], "vfio-pci");
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, data));

	ASSERT_EQ(0, spapr_unmap(self->container, self->iova, page));
	ASSERT_FALSE(writes_arrive(&self->nvme, self->iova, data));
}

/* A device joins a group that has no windows, as nothing is mapped yet. */
TEST(join_without_windows)
{
	char path[PATH_MAX];

	if (!bdfs[1])
		SKIP(return, "needs two devices");

	snprintf(path, sizeof(path), SYSFS_PCI "/devices/%s/iommu_group",
		 bdfs[1]);
	for (int i = 0; i < 2; i++) {
		int fd = open(i ? IOMMUFD : CONTAINER, O_RDWR), user;
		u32 dev;

		if (fd < 0)
			continue;
		if (i) {
			user = open_cdev(bdfs[0], fd, &dev);
		} else {
			user = open_group(bdfs[0]);
			ASSERT_GE(user, 0);
			ioctl_assert(user, VFIO_GROUP_SET_CONTAINER, &fd);
			ioctl_assert(fd, VFIO_SET_IOMMU,
				     (void *)VFIO_SPAPR_TCE_v2_IOMMU);
		}
		sysfs_write("1", SYSFS_PCI "/devices/%s/remove", bdfs[1]);
		sysfs_write("1", SYSFS_PCI "/rescan", "");
		ASSERT_EQ(0, access(path, F_OK));
		close(user);
		close(fd);

		/* The kernel's own DMA has a window again, in each device. */
		ASSERT_TRUE(kernel_dma_works_in_all(0x41));
	}
}

/* All devices of a group go away while the container has it, and come back. */
TEST(group_without_devices)
{
	char path[PATH_MAX], names[8][16];
	int nr = 0, container, group;
	struct dirent *entry;
	void *memory;
	DIR *dir;

	container = open(CONTAINER, O_RDWR);
	ASSERT_GE(container, 0);
	group = open_group(bdfs[0]);
	ASSERT_GE(group, 0);
	ioctl_assert(group, VFIO_GROUP_SET_CONTAINER, &container);
	ioctl_assert(container, VFIO_SET_IOMMU,
		     (void *)VFIO_SPAPR_TCE_v2_IOMMU);
	memory = alloc_memory(SPAPR_MEMORY);
	ASSERT_EQ(0, spapr_register(container, memory, SPAPR_MEMORY));
	ASSERT_EQ(0, spapr_map(container, memory, SPAPR_MEMORY, QUEUES_IOVA,
			       SPAPR_READ_WRITE));

	snprintf_assert(path, sizeof(path),
			SYSFS_PCI "/devices/%s/iommu_group/devices", bdfs[0]);
	dir = opendir(path);
	ASSERT_NE(NULL, dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		ASSERT_LT(nr, ARRAY_SIZE(names));
		snprintf_assert(names[nr++], sizeof(names[0]), "%s",
				entry->d_name);
	}
	closedir(dir);
	for (int i = 0; i < nr; i++)
		sysfs_write("1", SYSFS_PCI "/devices/%s/remove", names[i]);

	close(group);
	close(container);
	munmap(memory, SPAPR_MEMORY);
	sysfs_write("1", SYSFS_PCI "/rescan", "");
	for (int i = 0; i < nr; i++)
		bind_to(names[i], "vfio-pci");
	ASSERT_TRUE(kernel_dma_works_in_all(0x61));
}

FIXTURE(spapr_default) {
	int container;
	int group;
	int fd;
	void *memory;
};

FIXTURE_VARIANT(spapr_default) {
	const char *path;
	unsigned long type;
};

FIXTURE_VARIANT_ADD(spapr_default, container_v1) {
	.path = CONTAINER,
	.type = VFIO_SPAPR_TCE_IOMMU,
};

FIXTURE_VARIANT_ADD(spapr_default, container_v2) {
	.path = CONTAINER,
	.type = VFIO_SPAPR_TCE_v2_IOMMU,
};

FIXTURE_VARIANT_ADD(spapr_default, iommufd_v1) {
	.path = IOMMUFD,
	.type = VFIO_SPAPR_TCE_IOMMU,
};

FIXTURE_VARIANT_ADD(spapr_default, iommufd_v2) {
	.path = IOMMUFD,
	.type = VFIO_SPAPR_TCE_v2_IOMMU,
};

FIXTURE_SETUP(spapr_default)
{
	self->memory = alloc_memory(SPAPR_MEMORY);
}

FIXTURE_TEARDOWN(spapr_default)
{
	munmap(self->memory, SPAPR_MEMORY);
}

/* The default window alone, all that there is without DDW and in version 1 */
TEST_F(spapr_default, window)
{
	bool v2 = variant->type == VFIO_SPAPR_TCE_v2_IOMMU;
	u64 page = getpagesize(), iova = QUEUES_IOVA + SZ_1M;
	void *data = self->memory + SPAPR_MEMORY - page;
	struct vfio_iommu_spapr_tce_info info;
	struct nvme nvme;
	u64 start;

	for (u8 round = 0; round < 2; round++) {
		self->container = open(variant->path, O_RDWR);
		ASSERT_GE(self->container, 0);
		self->group = open_group(bdfs[0]);
		ASSERT_GE(self->group, 0);
		ioctl_assert(self->group, VFIO_GROUP_SET_CONTAINER,
			     &self->container);
		ioctl_assert(self->container, VFIO_SET_IOMMU,
			     (void *)variant->type);

		/* Programs map before they open a device. */
		info = (struct vfio_iommu_spapr_tce_info) {
			.argsz = sizeof(info)
		};
		ioctl_assert(self->container, VFIO_IOMMU_SPAPR_TCE_GET_INFO,
			     &info);
		ASSERT_EQ(0, info.dma32_window_start);
		ASSERT_GE(info.dma32_window_size, SZ_16M);
		ASSERT_EQ(-EPERM, spapr_map(self->container, data, page, iova,
					    SPAPR_READ_WRITE));
		if (v2) {
			ASSERT_LE(1, info.ddw.max_dynamic_windows_supported);
			ASSERT_GE(2, info.ddw.max_dynamic_windows_supported);
			ASSERT_LE(1, info.ddw.levels);
			ASSERT_EQ(0, spapr_register(self->container,
						    self->memory,
						    SPAPR_MEMORY));
		} else {
			ASSERT_EQ(0, info.flags);
			ASSERT_EQ(0, ioctl(self->container, VFIO_IOMMU_ENABLE));
			ASSERT_EQ(-1, ioctl(self->container,
					    VFIO_IOMMU_ENABLE));
			ASSERT_EQ(EBUSY, errno);
			ASSERT_EQ(-ENOTTY, spapr_register(self->container,
							  self->memory,
							  SPAPR_MEMORY));
			ASSERT_EQ(-ENOTTY, spapr_create(self->container,
							&start));
		}
		ASSERT_EQ(0, spapr_map(self->container, self->memory,
				       NVME_MEMORY, QUEUES_IOVA,
				       SPAPR_READ_WRITE));
		self->fd = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD,
				 bdfs[0]);
		ASSERT_GE(self->fd, 0);
		ASSERT_EQ(0, spapr_map(self->container, data, page, iova,
				       SPAPR_READ_WRITE));
		nvme_init(&nvme, bdfs[0], self->fd, self->memory, QUEUES_IOVA);
		nvme_start(&nvme);
		ASSERT_TRUE(writes_arrive(&nvme, iova, data));
		ASSERT_EQ(0, spapr_unmap(self->container, iova, page));
		ASSERT_FALSE(writes_arrive(&nvme, iova, data));
		if (!v2) {
			ASSERT_EQ(0, ioctl(self->container,
					   VFIO_IOMMU_DISABLE));
			ASSERT_EQ(-EPERM, spapr_map(self->container, data, page,
						    iova, SPAPR_READ_WRITE));
		}
		close(self->fd);
		close(self->group);
		close(self->container);

		/* The kernel's own DMA has it again, in each device. */
		ASSERT_TRUE(kernel_dma_works_in_all(2 * round));
	}
}

/* The next record of this log: false if there is no more for now */
static bool read_log(int log_fd, char *record, size_t size)
{
	ssize_t len;

	/* EPIPE tells of records that are gone, of which the next one is not. */
	do {
		len = read(log_fd, record, size - 1);
	} while (len < 0 && errno == EPIPE);
	if (len <= 0)
		return false;
	record[len] = 0;
	return true;
}

/* What the hypervisor said in this log of the windows it has left, or -1 */
static int windows_left(int log_fd)
{
	char record[8192], *at;
	int left = -1;

	while (read_log(log_fd, record, sizeof(record))) {
		at = strstr(record, "ibm,query-pe-dma-windows");
		if (at)
			at = strstr(at, " wn=");
		if (at)
			left = atoi(at + 4);
	}
	return left;
}

/* Has the kernel said it, in this log? */
static bool log_says(int log_fd, const char *text)
{
	char record[8192];
	bool found = false;

	while (read_log(log_fd, record, sizeof(record))) {
		if (!strstr(record, text))
			continue;
		record[strcspn(record, "\n")] = 0;
		printf("# %s\n", record);
		found = true;
	}
	return found;
}

/* The hypervisor has one more window left if the default one is removed. */
TEST(default_window_removed)
{
	int container, group, fd, log_fd, left[2];
	u64 start;

	for (int i = 0; i < 2; i++) {
		log_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
		ASSERT_GE(log_fd, 0);
		container = open("/dev/vfio/vfio", O_RDWR);
		ASSERT_GE(container, 0);
		group = open_group(bdfs[0]);
		ASSERT_GE(group, 0);
		ioctl_assert(group, VFIO_GROUP_SET_CONTAINER, &container);
		ioctl_assert(container, VFIO_SET_IOMMU,
			     (void *)VFIO_SPAPR_TCE_v2_IOMMU);
		fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdfs[0]);
		ASSERT_GE(fd, 0);
		if (i)
			ASSERT_EQ(0, spapr_remove(container, 0));
		/*
		 * A small window with pages of 4K would be the default one
		 * again
		 */
		ASSERT_EQ(0, lseek(log_fd, 0, SEEK_END));
		ASSERT_EQ(0, spapr_create_shift(container, __builtin_ctz(SZ_64K),
						&start));
		left[i] = windows_left(log_fd);
		close(log_fd);
		close(fd);
		close(group);
		close(container);
	}
	/* A host bridge has both at all times, and nobody to ask. */
	EXPECT_EQ(left[0] < 0 ? left[0] : left[0] + 1, left[1]);

	/* And the kernel has one again. */
	bind_to(bdfs[0], "nvme");
	EXPECT_TRUE(kernel_dma_works(bdfs[0], 0x31));
	bind_to(bdfs[0], "vfio-pci");
}

/* There can be as many windows as the container tells. */
TEST(windows_told)
{
	if (!is_bare_metal() && !has_property(bdfs[0], "ibm,ddw-applicable"))
		SKIP(return, "the PE can have no other windows");

	for (int i = 0; i < 2; i++) {
		struct vfio_iommu_spapr_tce_info info = {
			.argsz = sizeof(info),
		};
		int container = open(i ? IOMMUFD : CONTAINER, O_RDWR);
		int group, fd;
		u64 start;
		u32 nr = 1;

		if (container < 0)
			continue;
		group = open_group(bdfs[0]);
		ASSERT_GE(group, 0);
		ioctl_assert(group, VFIO_GROUP_SET_CONTAINER, &container);
		ioctl_assert(container, VFIO_SET_IOMMU,
			     (void *)VFIO_SPAPR_TCE_v2_IOMMU);
		fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdfs[0]);
		ASSERT_GE(fd, 0);
		ioctl_assert(container, VFIO_IOMMU_SPAPR_TCE_GET_INFO, &info);
		ASSERT_TRUE(info.flags & VFIO_IOMMU_SPAPR_INFO_DDW);

		/* The default one is there already. */
		while (nr < 4 && !spapr_create(container, &start))
			nr++;
		EXPECT_EQ(nr, info.ddw.max_dynamic_windows_supported);
		close(fd);
		close(group);
		close(container);
	}
}

/* The reset of another device of the group leaves the kernel's DMA alone. */
TEST(reset_beside)
{
	char path[PATH_MAX];
	bool found = false;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), SYSFS_PCI "/devices/%s/iommu_group/devices",
		 bdfs[0]);
	bind_to(bdfs[0], "nvme");
	ASSERT_TRUE(kernel_dma_works(bdfs[0], 0x21));

	dir = opendir(path);
	ASSERT_NE(NULL, dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' ||
		    !strcmp(entry->d_name, bdfs[0]) ||
		    (bdfs[1] && !strcmp(entry->d_name, bdfs[1])))
			continue;
		snprintf(path, sizeof(path), SYSFS_PCI "/devices/%s/reset",
			 entry->d_name);
		if (access(path, W_OK))
			continue;
		sysfs_write("1", SYSFS_PCI "/devices/%s/reset", entry->d_name);
		found = true;
	}
	closedir(dir);

	EXPECT_TRUE(kernel_dma_works(bdfs[0], 0x22));
	bind_to(bdfs[0], "vfio-pci");
	if (!found)
		SKIP(return, "needs another device in the group");
}

/* The 32-bit window has pages of 4K, whatever those of the kernel are. */
TEST_F(tce, small_pages)
{
	u64 page = getpagesize(), small = NVME_PAGE, size = 2 * page + small;
	void *data = self->memory + page - small;
	u64 iova = self->iova + small;

	if (variant->window) {
		if (page == small)
			SKIP(return, "the kernel's pages are that small");
		ASSERT_EQ(-EINVAL, ioas_map(self->iommufd, self->ioas, data,
					    small, &iova, READ_WRITE));
		return;
	}

	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, data, small, &iova,
			      READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, iova, data));
	memset(self->memory, 0xa5, 2 * page);
	nvme_identify(&self->nvme, iova - small);
	nvme_identify(&self->nvme, iova + small);
	ASSERT_TRUE(is_filled_with(self->memory, 0xa5, 2 * page));
	ASSERT_EQ(0, ioas_unmap(self->iommufd, self->ioas, iova, small));
	ASSERT_FALSE(writes_arrive(&self->nvme, iova, data));

	/* More than a page of the kernel, from within one to within another */
	data = self->memory + 4 * page + small;
	iova = self->iova + SZ_1M + 3 * small;
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, data, size, &iova,
			      READ_WRITE));
	for (u64 at = 0; at < size; at += small)
		ASSERT_TRUE(writes_arrive(&self->nvme, iova + at, data + at));
	ASSERT_EQ(0, ioas_unmap(self->iommufd, self->ioas, iova, size));
	for (u64 at = 0; at < size; at += small)
		ASSERT_FALSE(writes_arrive(&self->nvme, iova + at, data + at));
}

/* What the device can have is what it gets, if nobody asks for less. */
TEST_F(tce, hw_info)
{
	struct iommu_hw_info_spapr_tce info = {};
	struct iommu_spapr_tce_window *window;
	struct iommu_iova_range *range;
	u64 size;

	get_windows(self->iommufd, self->dev, &info);
	ASSERT_EQ(0, info.flags);
	ASSERT_EQ(self->nr_ranges, info.nr_windows);
	window = &info.windows[variant->window];
	range = &self->ranges[variant->window];
	TH_LOG("window %u: pages of %#llx", variant->window,
	       (unsigned long long)window->pgsizes);
	ASSERT_EQ(range->start, window->start);
	ASSERT_EQ(range->last - range->start + 1, window->size);
	ASSERT_TRUE(window->pgsizes & (1ULL << window->page_shift));
	ASSERT_TRUE(window->pgsizes &
		    (variant->window ? getpagesize() : NVME_PAGE));

	/* One page can be mapped, and no less. */
	size = 1ULL << window->page_shift;
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory, size,
			      &self->iova, READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));
	ASSERT_EQ(0, ioas_unmap(self->iommufd, self->ioas, self->iova, size));
	if (size > NVME_PAGE)
		ASSERT_EQ(-EINVAL, ioas_map(self->iommufd, self->ioas,
					    self->memory, size / 2, &self->iova,
					    READ_WRITE));
}

/* What it can be, and what not */
TEST_F(tce, choose_refused)
{
	struct iommu_hw_info_spapr_tce info = {};
	struct iommu_hwpt_spapr_tce data = { .__reserved = 1 };
	struct iommu_hwpt_alloc args = {
		.size = sizeof(args),
		.dev_id = self->dev,
		.pt_id = self->ioas,
		.data_type = IOMMU_HWPT_DATA_SPAPR_TCE,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};
	struct iommu_spapr_tce_window *window = &info.windows[1];
	u32 hwpt;

	get_windows(self->iommufd, self->dev, &info);
	ASSERT_EQ(-1, ioctl(self->iommufd, IOMMU_HWPT_ALLOC, &args));
	ASSERT_EQ(EOPNOTSUPP, errno);
	data.__reserved = 0;
	args.data_type = IOMMU_HWPT_DATA_VTD_S1;
	ASSERT_EQ(-1, ioctl(self->iommufd, IOMMU_HWPT_ALLOC, &args));
	ASSERT_EQ(EINVAL, errno);

	for (u32 shift = 1; shift < 70; shift++) {
		if (shift < 64 && window->pgsizes & (1ULL << shift))
			continue;
		ASSERT_EQ(-EINVAL, hwpt_alloc_window(self->iommufd, self->dev,
						     self->ioas, shift, 0,
						     &hwpt));
	}
	ASSERT_EQ(-EINVAL, hwpt_alloc_window(self->iommufd, self->dev,
					     self->ioas, 0, 3 * SZ_64K, &hwpt));
	ASSERT_EQ(-EINVAL, hwpt_alloc_window(self->iommufd, self->dev,
					     self->ioas, 0, SZ_4K / 2, &hwpt));
	ASSERT_EQ(-EINVAL, hwpt_alloc_window(self->iommufd, self->dev,
					     self->ioas, 0, window->size * 2,
					     &hwpt));
	ASSERT_TRUE(nvme_identify(&self->nvme, QUEUES_IOVA + NVME_PRPS) == 0);
}

static u64 huge_page_size(void)
{
	char line[128];
	u64 kb = 0;
	FILE *file;

	file = fopen("/proc/meminfo", "r");
	VFIO_ASSERT_NOT_NULL(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Hugepagesize: %lu", &kb) == 1)
			break;
	}
	fclose(file);
	return kb * SZ_1K;
}

/* Memory that is mapped by pages of @size, or NULL */
static void *alloc_pages(u64 size)
{
	void *memory;

	if (size <= getpagesize())
		return alloc_memory(SZ_32M);
	if (size > huge_page_size())
		return NULL;
	memory = mmap(NULL, SZ_32M, PROT_READ | PROT_WRITE,
		      MAP_ANONYMOUS | MAP_SHARED | MAP_POPULATE | MAP_HUGETLB,
		      -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

/* Another size of pages, and of the window, for each that there is */
static void choose(struct __test_metadata *const _metadata, int iommufd,
		   u32 dev, struct nvme *nvme, u32 shift, u64 start)
{
	u64 size = 1ULL << shift, page = getpagesize(), iova, queues;
	u64 length = size > page ? size : page;
	void *memory = alloc_pages(size);
	struct iommu_iova_range ranges[4];
	u32 ioas = ioas_alloc(iommufd), hwpt;

	ASSERT_EQ(0, hwpt_alloc_window(iommufd, dev, ioas, shift, SZ_512M,
				       &hwpt));
	ASSERT_EQ(2, ioas_ranges(iommufd, ioas, ranges, ARRAY_SIZE(ranges)));
	ASSERT_EQ(start, ranges[1].start);
	ASSERT_EQ(start + SZ_512M - 1, ranges[1].last);

	queues = nvme->iova;
	ASSERT_EQ(0, ioas_map(iommufd, ioas, nvme->memory, NVME_MEMORY,
			      &queues, READ_WRITE));
	ASSERT_EQ(0, attach(nvme->fd, hwpt));
	nvme_start(nvme);

	/* Less than a page of the window is refused. */
	iova = start + SZ_64M;
	if (size > NVME_PAGE)
		ASSERT_EQ(-EINVAL, ioas_map(iommufd, ioas, nvme->memory,
					    NVME_PAGE, &iova, READ_WRITE));

	TH_LOG("pages of %#llx%s", (unsigned long long)size,
	       memory ? "" : ": no memory for these");
	if (memory) {
		ASSERT_EQ(0, ioas_map(iommufd, ioas, memory, 2 * length, &iova,
				      READ_WRITE));
		for (u64 at = 0; at < 2 * length; at += length / 2)
			ASSERT_TRUE(writes_arrive(nvme, iova + at,
						  memory + at));
		ASSERT_EQ(0, ioas_unmap(iommufd, ioas, iova, 2 * length));
		ASSERT_FALSE(writes_arrive(nvme, iova + length, memory + length));
		munmap(memory, SZ_32M);
	}

	/* The end of the window, and the first page that is in none */
	iova = start + SZ_512M;
	ASSERT_NE(0, ioas_map(iommufd, ioas, nvme->memory, NVME_MEMORY, &iova,
			      READ_WRITE));
}

TEST_F_TIMEOUT(tce, choose, 120)
{
	struct iommu_hw_info_spapr_tce info = {};
	u32 nr = 0;

	if (!variant->window)
		SKIP(return, "the 32-bit window is not to be chosen");

	get_windows(self->iommufd, self->dev, &info);
	for (u32 shift = 12; shift < 30; shift++) {
		if (!(info.windows[1].pgsizes & (1ULL << shift)))
			continue;
		choose(_metadata, self->iommufd, self->dev, &self->nvme, shift,
		       info.windows[1].start);
		nr++;
	}
	ASSERT_GE(nr, 2);

	/* And back to what it was */
	ASSERT_EQ(0, attach(self->nvme.fd, self->ioas));
	nvme_start(&self->nvme);
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, self->memory,
			      getpagesize(), &self->iova, READ_WRITE));
	ASSERT_TRUE(writes_arrive(&self->nvme, self->iova, self->memory));
}

/*
 * The IOAS of a container has a HWPT of larger pages as well: less than one of
 * these cannot be unmapped.
 */
TEST_F(spapr, larger_pages)
{
	struct iommu_vfio_ioas ioas = {
		.size = sizeof(ioas),
		.op = IOMMU_VFIO_IOAS_GET,
	};
	u64 page = getpagesize(), size = huge_page_size();
	int c = self->container, rc = -ENOENT;
	void *memory;
	u32 hwpt;

	if (strcmp(variant->path, IOMMUFD))
		SKIP(return, "VFIO's container has no HWPTs");
	if (!variant->window)
		SKIP(return, "the 32-bit window has pages of 4K only");
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_ANONYMOUS | MAP_SHARED | MAP_POPULATE | MAP_HUGETLB,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, spapr_register(c, memory, size));

	/* Nobody tells the ID of a device that was opened by its group. */
	ioctl_assert(c, IOMMU_VFIO_IOAS, &ioas);
	for (u32 dev = 1; dev < 8 && rc == -ENOENT; dev++) {
		u32 shift = __builtin_ctzll(size);

		do
			rc = hwpt_alloc_window(c, dev, ioas.ioas_id, shift, 0,
					       &hwpt);
		while (rc == -EINVAL && 1ULL << --shift > page);
	}
	if (rc == -EINVAL)
		SKIP(return, "needs TCEs that are larger than a page");
	ASSERT_EQ(0, rc);

	ASSERT_EQ(0, spapr_map(c, memory, size, self->iova, SPAPR_READ_WRITE));
	ASSERT_EQ(-EINVAL, spapr_unmap(c, self->iova, page));
	ASSERT_EQ(-EINVAL, spapr_map(c, memory, page, self->iova + page,
				     SPAPR_READ_WRITE));
	for (u64 at = 0; at < size; at += size / 2)
		ASSERT_TRUE(writes_arrive(&self->nvme, self->iova + at,
					  memory + at));
	ASSERT_EQ(0, spapr_unmap(c, self->iova, size));
	ASSERT_FALSE(writes_arrive(&self->nvme, self->iova, memory));
	ASSERT_EQ(0, spapr_unregister(c, memory, size));
	munmap(memory, size);
}

/*
 * A device that VFIO has taken reaches nothing by the window that the kernel's
 * driver had, not even while it has no window of its own. With iommufd it reaches
 * the same memory at the same address once that is mapped there.
 */
TEST(kernel_window_removed)
{
	void *memory = alloc_pages(NVME_MEMORY);
	struct nvme nvme;

	if (!memory)
		SKIP(return, "needs huge pages");
	memset(memory, 0, NVME_MEMORY);
	ASSERT_NE(0, physical_address(memory));

	for (int i = 0; i < 2; i++) {
		int fd = open(i ? IOMMUFD : CONTAINER, O_RDWR), group = -1;
		int device, log_fd;
		u64 window;
		u32 dev;

		if (fd < 0)
			continue;
		bind_to(bdfs[0], "nvme");
		ASSERT_TRUE(kernel_dma_works(bdfs[0], 0x51));
		window = kernel_window(bdfs[0]);
		bind_to(bdfs[0], "vfio-pci");
		if (!window) {
			close(fd);
			SKIP(return, "the kernel's driver has no window for all of memory");
		}
		log_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
		ASSERT_GE(log_fd, 0);
		ASSERT_EQ(0, lseek(log_fd, 0, SEEK_END));
		if (i) {
			device = open_cdev(bdfs[0], fd, &dev);
		} else {
			group = open_group(bdfs[0]);
			ASSERT_GE(group, 0);
			ioctl_assert(group, VFIO_GROUP_SET_CONTAINER, &fd);
			ioctl_assert(fd, VFIO_SET_IOMMU,
				     (void *)VFIO_SPAPR_TCE_v2_IOMMU);
			device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD,
				       bdfs[0]);
		}
		ASSERT_GE(device, 0);
		/* After kexec it might be one that is gone. */
		EXPECT_FALSE(log_says(log_fd, "failed to remove DMA window"));
		close(log_fd);
		nvme_init(&nvme, bdfs[0], device, memory,
			  window + physical_address(memory));
		nvme_enable(&nvme);
		EXPECT_EQ(-ETIME, nvme_identify(&nvme, nvme.iova + NVME_PRPS));
		if (i) {
			u32 ioas = ioas_alloc(fd);

			ASSERT_EQ(0, ioas_map(fd, ioas, memory, NVME_MEMORY,
					      &nvme.iova, READ_WRITE));
			ASSERT_EQ(0, attach(device, ioas));
			nvme_enable(&nvme);
			EXPECT_EQ(0, nvme_identify(&nvme,
						   nvme.iova + NVME_PRPS));
		}
		close(device);
		if (!i)
			close(group);
		close(fd);
	}
}

int main(int argc, char *argv[])
{
	argc = take_devices(argc, argv, "NVME [NVME]");
	return test_harness_run(argc, argv);
}
