// SPDX-License-Identifier: GPL-2.0-only
/*
 * NVMe controllers, which do not copy memory to memory: they write the source
 * to a disk and read the destination back from there. What was at the start of
 * the disk is lost. So that it is nobody's data, only the controller that QEMU
 * emulates is supported, and only if $VFIO_SELFTESTS_SCRATCH has its BDF.
 */
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <linux/align.h>
#include <linux/errno.h>
#include <linux/io.h>
#include <linux/pci_ids.h>
#include <linux/sizes.h>

#include <libvfio.h>

#include "registers.h"

#define PCI_DEVICE_ID_REDHAT_NVME 0x0010

/*
 * The controller is set to pages of this size, whatever the size of the CPU's
 */
#define NVME_PAGE_SIZE SZ_4K

/* Fills one page with a submission queue */
#define NVME_QUEUE_SIZE 64
#define NVME_PRPS_PER_PAGE (NVME_PAGE_SIZE / sizeof(__le64))

/*
 * A command that completes on a queue with an interrupt sends one. Copies must
 * not, so there are two pairs of I/O queues.
 */
enum nvme_queue_id {
	NVME_ADMIN_QUEUE,
	NVME_COPY_QUEUE,
	NVME_MSI_QUEUE,
	NVME_NR_QUEUES,
};

/* The vector of NVME_MSI_QUEUE. The admin queue has no choice but to use 0. */
#define NVME_MSIX_VECTOR 1

#define NVME_NSID 1

/* A test has 30 seconds: the reason is to be told before it is killed */
#define NVME_TIMEOUT_S 10

/* What the controller accesses, each in a page because that is contiguous */
struct nvme_queue_memory {
	struct nvme_command sq[NVME_QUEUE_SIZE] __aligned(NVME_PAGE_SIZE);
	struct nvme_completion cq[NVME_QUEUE_SIZE] __aligned(NVME_PAGE_SIZE);
};

struct nvme_queue {
	u16 sq_tail;
	u16 cq_head;
	u8 phase;
};

/* One direction of a copy: a command, and the addresses that did not fit in */
struct nvme_transfer {
	__le64 prp_list[NVME_PRPS_PER_PAGE] __aligned(NVME_PAGE_SIZE);
	struct nvme_command cmd;
};

struct nvme_state {
	struct nvme_queue_memory memory[NVME_NR_QUEUES];
	struct nvme_transfer write;
	struct nvme_transfer read;
	u8 buffer[NVME_PAGE_SIZE] __aligned(NVME_PAGE_SIZE);

	struct nvme_queue queues[NVME_NR_QUEUES];
	u32 doorbell_stride;
	u64 block_size;
	u64 nr_blocks;

	/* The copies that memcpy_start() started */
	u64 memcpy_count;
	int memcpy_error;
};

static inline struct nvme_state *to_nvme_state(struct vfio_pci_device *device)
{
	return device->driver.region.vaddr;
}

static int nvme_probe(struct vfio_pci_device *device)
{
	static bool told;

	if (!vfio_pci_device_match(device, PCI_VENDOR_ID_REDHAT,
				   PCI_DEVICE_ID_REDHAT_NVME))
		return -EINVAL;

	if (!vfio_selftests_is_scratch(device->bdf)) {
		if (!told)
			dev_info(device, "nvme: not used as it would overwrite the disk. VFIO_SELFTESTS_SCRATCH=%s allows it.\n",
				 device->bdf);
		told = true;
		return -EPERM;
	}

	VFIO_ASSERT_NOT_NULL(device->bars[0].vaddr);
	return 0;
}

/* The address of something that does not cross a page, and so is contiguous */
static u64 nvme_addr(struct vfio_pci_device *device, void *vaddr)
{
	u64 length = 1;

	return to_dma_addr(device, vaddr, &length);
}

static void *nvme_doorbell(struct vfio_pci_device *device,
			   enum nvme_queue_id id, bool completion)
{
	struct nvme_state *nvme = to_nvme_state(device);

	return device->bars[0].vaddr + NVME_REG_DBS +
	       (2 * id + completion) * nvme->doorbell_stride;
}

/*
 * Add a command to a queue. The controller sees it when nvme_ring() is called
 */
static void nvme_queue_command(struct vfio_pci_device *device,
			       enum nvme_queue_id id,
			       const struct nvme_command *cmd)
{
	struct nvme_state *nvme = to_nvme_state(device);
	struct nvme_queue *queue = &nvme->queues[id];
	struct nvme_command *slot = &nvme->memory[id].sq[queue->sq_tail];

	*slot = *cmd;
	slot->command_id = cpu_to_le16(queue->sq_tail);
	queue->sq_tail = (queue->sq_tail + 1) % NVME_QUEUE_SIZE;
}

static void nvme_ring(struct vfio_pci_device *device, enum nvme_queue_id id)
{
	struct nvme_queue *queue = &to_nvme_state(device)->queues[id];

	writel(queue->sq_tail, nvme_doorbell(device, id, false));
}

static time_t nvme_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* Wait for the next completion on a queue, and return its status */
static int nvme_wait(struct vfio_pci_device *device, enum nvme_queue_id id)
{
	time_t end = nvme_seconds() + NVME_TIMEOUT_S;
	struct nvme_state *nvme = to_nvme_state(device);
	struct nvme_queue *queue = &nvme->queues[id];
	struct nvme_completion *cqe = &nvme->memory[id].cq[queue->cq_head];
	u16 status;

	while (((status = le16_to_cpu(READ_ONCE(cqe->status))) & 1) != queue->phase) {
		VFIO_ASSERT_LE(nvme_seconds(), end, "No completion on queue %u\n", id);
		usleep(50);
	}

	/* The data must not be read before the completion has been. */
	rmb();

	if (++queue->cq_head == NVME_QUEUE_SIZE) {
		queue->cq_head = 0;
		queue->phase ^= 1;
	}
	writel(queue->cq_head, nvme_doorbell(device, id, true));

	return status >> 1;
}

static int nvme_command(struct vfio_pci_device *device, enum nvme_queue_id id,
			const struct nvme_command *cmd)
{
	int status;

	nvme_queue_command(device, id, cmd);
	nvme_ring(device, id);

	status = nvme_wait(device, id);
	if (status)
		dev_err(device, "nvme: command 0x%x on queue %u: status 0x%x\n",
			cmd->opcode, id, status);

	return status;
}

static void nvme_admin_command(struct vfio_pci_device *device,
			       const struct nvme_command *cmd)
{
	VFIO_ASSERT_EQ(nvme_command(device, NVME_ADMIN_QUEUE, cmd), 0);
}

static void nvme_wait_ready(struct vfio_pci_device *device, bool ready)
{
	void *bar0 = device->bars[0].vaddr;
	time_t end = nvme_seconds() + NVME_TIMEOUT_S;
	u32 status;

	for (;;) {
		status = readl(bar0 + NVME_REG_CSTS);
		VFIO_ASSERT_FALSE(status & NVME_CSTS_CFS, "Fatal controller error\n");
		if (!!(status & NVME_CSTS_RDY) == ready)
			break;

		VFIO_ASSERT_LE(nvme_seconds(), end, "The controller is not ready\n");
		usleep(1000);
	}
}

/* Stops all DMA and deletes the I/O queues */
static void nvme_disable(struct vfio_pci_device *device)
{
	writel(0, device->bars[0].vaddr + NVME_REG_CC);
	nvme_wait_ready(device, false);
}

static void nvme_enable(struct vfio_pci_device *device)
{
	struct nvme_state *nvme = to_nvme_state(device);
	struct nvme_queue_memory *admin = &nvme->memory[NVME_ADMIN_QUEUE];
	void *bar0 = device->bars[0].vaddr;
	u64 cap = readq(bar0 + NVME_REG_CAP);
	u64 sq = nvme_addr(device, admin->sq);
	u64 cq = nvme_addr(device, admin->cq);
	int i;

	VFIO_ASSERT_EQ(NVME_CAP_MPSMIN(cap), 0);
	VFIO_ASSERT_GE(NVME_CAP_MQES(cap), NVME_QUEUE_SIZE - 1);
	VFIO_ASSERT_NE(sq, 0, "The controller takes 0 for no address\n");
	nvme->doorbell_stride = 4 << NVME_CAP_STRIDE(cap);

	/*
	 * All completions are of phase 0, the controller starts with phase 1.
	 */
	memset(nvme->memory, 0, sizeof(nvme->memory));
	for (i = 0; i < NVME_NR_QUEUES; i++)
		nvme->queues[i] = (struct nvme_queue) { .phase = 1 };

	writel((NVME_QUEUE_SIZE - 1) << 16 | (NVME_QUEUE_SIZE - 1), bar0 + NVME_REG_AQA);
	writeq(sq, bar0 + NVME_REG_ASQ);
	writeq(cq, bar0 + NVME_REG_ACQ);
	writel(NVME_CC_ENABLE | NVME_CC_IOSQES | NVME_CC_IOCQES, bar0 + NVME_REG_CC);
	nvme_wait_ready(device, true);
}

static void nvme_identify(struct vfio_pci_device *device, u32 nsid, u32 cns)
{
	struct nvme_state *nvme = to_nvme_state(device);
	struct nvme_command cmd = {
		.opcode = nvme_admin_identify,
		.nsid = cpu_to_le32(nsid),
		.prp1 = cpu_to_le64(nvme_addr(device, nvme->buffer)),
		.cdw10 = cpu_to_le32(cns),
	};

	nvme_admin_command(device, &cmd);
}

/* The most bytes that one command and one page of PRPs can transfer */
static u64 nvme_max_transfer(struct vfio_pci_device *device)
{
	u64 size = NVME_PRPS_PER_PAGE * NVME_PAGE_SIZE;
	u8 mdts;

	nvme_identify(device, 0, NVME_ID_CNS_CTRL);
	mdts = to_nvme_state(device)->buffer[NVME_ID_CTRL_MDTS];
	if (mdts)
		size = min(size, (u64)NVME_PAGE_SIZE << mdts);

	return size;
}

static void nvme_identify_disk(struct vfio_pci_device *device)
{
	struct nvme_state *nvme = to_nvme_state(device);
	u8 flbas, format, *lbaf;

	nvme_identify(device, NVME_NSID, NVME_ID_CNS_NS);
	flbas = nvme->buffer[NVME_ID_NS_FLBAS];
	format = (flbas & 0xf) | (flbas >> 5 & 3) << 4;
	lbaf = &nvme->buffer[NVME_ID_NS_LBAF(format)];

	VFIO_ASSERT_EQ(le16_to_cpu(*(__le16 *)&lbaf[NVME_ID_NS_LBAF_MS]), 0,
		       "The blocks of the disk have metadata\n");
	VFIO_ASSERT_GE(lbaf[NVME_ID_NS_LBAF_DS], 9, "There is no namespace 1\n");
	nvme->block_size = 1UL << lbaf[NVME_ID_NS_LBAF_DS];
	/* send_msi() reads a block to a page */
	VFIO_ASSERT_LE(nvme->block_size, NVME_PAGE_SIZE);
	nvme->nr_blocks = le64_to_cpu(*(__le64 *)&nvme->buffer[NVME_ID_NS_NSZE]);
}

static void nvme_create_queue(struct vfio_pci_device *device,
			      enum nvme_queue_id id, bool interrupt)
{
	struct nvme_queue_memory *memory = &to_nvme_state(device)->memory[id];
	u32 irq = interrupt ? NVME_MSIX_VECTOR << 16 | NVME_CQ_IRQ_ENABLED : 0;
	struct nvme_command cq = {
		.opcode = nvme_admin_create_cq,
		.prp1 = cpu_to_le64(nvme_addr(device, memory->cq)),
		.cdw10 = cpu_to_le32((NVME_QUEUE_SIZE - 1) << 16 | id),
		.cdw11 = cpu_to_le32(irq | NVME_QUEUE_PHYS_CONTIG),
	};
	struct nvme_command sq = {
		.opcode = nvme_admin_create_sq,
		.prp1 = cpu_to_le64(nvme_addr(device, memory->sq)),
		.cdw10 = cpu_to_le32((NVME_QUEUE_SIZE - 1) << 16 | id),
		.cdw11 = cpu_to_le32(id << 16 | NVME_QUEUE_PHYS_CONTIG),
	};

	nvme_admin_command(device, &cq);
	nvme_admin_command(device, &sq);
}

static void nvme_create_queues(struct vfio_pci_device *device)
{
	/* Ask for two of each kind. The numbers do not count the first. */
	struct nvme_command features = {
		.opcode = nvme_admin_set_features,
		.cdw10 = cpu_to_le32(NVME_FEAT_NUM_QUEUES),
		.cdw11 = cpu_to_le32(1 << 16 | 1),
	};

	nvme_admin_command(device, &features);
	nvme_create_queue(device, NVME_COPY_QUEUE, false);
	nvme_create_queue(device, NVME_MSI_QUEUE, true);
}

static void nvme_init(struct vfio_pci_device *device)
{
	struct nvme_state *nvme = to_nvme_state(device);
	struct vfio_pci_driver *driver = &device->driver;

	VFIO_ASSERT_GE(driver->region.size, sizeof(*nvme));

	vfio_pci_cmd_set(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				 PCI_COMMAND_INTX_DISABLE);

	nvme_disable(device);
	vfio_pci_msix_enable(device, NVME_MSIX_VECTOR, 1);

	nvme_enable(device);
	nvme_create_queues(device);
	nvme_identify_disk(device);

	driver->msi = NVME_MSIX_VECTOR;
	driver->max_memcpy_size = min_t(u64, nvme_max_transfer(device),
					nvme->nr_blocks * nvme->block_size);
	driver->max_memcpy_count = NVME_QUEUE_SIZE - 1;
}

static void nvme_remove(struct vfio_pci_device *device)
{
	nvme_disable(device);
	vfio_pci_msix_disable(device);
}

/*
 * Tell the controller where the data is: the first page, which may start
 * anywhere in it, in PRP1, and in PRP2 a second page or a list of all that
 * follow.
 */
static int nvme_set_prps(struct vfio_pci_device *device,
			 struct nvme_transfer *transfer, iova_t iova, u64 size)
{
	u64 addr, contiguous, in_page;
	__le64 *prp = &transfer->cmd.prp1;
	u32 nr = 0;
	int ret;

	for (contiguous = 0; size; size -= in_page, iova += in_page) {
		if (!contiguous) {
			contiguous = size;
			ret = iova_to_dma_addr(device, iova, &contiguous, &addr);
			if (ret)
				return ret;
		}
		*prp = cpu_to_le64(addr);
		prp = &transfer->prp_list[nr++];

		in_page = min(contiguous, NVME_PAGE_SIZE - addr % NVME_PAGE_SIZE);
		contiguous -= in_page;
		addr += in_page;
	}

	if (nr == 2)
		transfer->cmd.prp2 = transfer->prp_list[0];
	else if (nr > 2)
		transfer->cmd.prp2 = cpu_to_le64(nvme_addr(device, transfer->prp_list));

	return 0;
}

static int nvme_prepare(struct vfio_pci_device *device,
			struct nvme_transfer *transfer, u8 opcode, iova_t iova,
			u64 offset, u64 size)
{
	struct nvme_state *nvme = to_nvme_state(device);
	u64 block = offset / nvme->block_size;

	VFIO_ASSERT_TRUE(IS_ALIGNED(iova, sizeof(u32)));
	VFIO_ASSERT_TRUE(IS_ALIGNED(offset, nvme->block_size));
	VFIO_ASSERT_TRUE(IS_ALIGNED(size, nvme->block_size));
	VFIO_ASSERT_GT(size, 0);
	VFIO_ASSERT_LE(size, device->driver.max_memcpy_size);

	transfer->cmd = (struct nvme_command) {
		.opcode = opcode,
		.nsid = cpu_to_le32(NVME_NSID),
		.cdw10 = cpu_to_le32((u32)block),
		.cdw11 = cpu_to_le32(block >> 32),
		.cdw12 = cpu_to_le32(size / nvme->block_size - 1),
	};
	return nvme_set_prps(device, transfer, iova, size);
}

static void nvme_start_many(struct vfio_pci_device *device,
			    struct nvme_transfer *transfer, u64 count)
{
	while (count--)
		nvme_queue_command(device, NVME_COPY_QUEUE, &transfer->cmd);
	nvme_ring(device, NVME_COPY_QUEUE);
}

/* Wait for all, and return the first error */
static int nvme_wait_many(struct vfio_pci_device *device, u64 count)
{
	int error = 0;
	int status;

	while (count--) {
		status = nvme_wait(device, NVME_COPY_QUEUE);
		if (!error)
			error = status;
	}

	if (error)
		dev_err(device, "Error detected during memcpy operation: 0x%x\n", error);

	return error;
}

/*
 * A read must not start before the write that it depends on has completed, so
 * all writes come first. The reads follow when memcpy_wait() is called.
 */
static void nvme_memcpy_start(struct vfio_pci_device *device,
			      iova_t src, iova_t dst, u64 size, u64 count)
{
	struct nvme_state *nvme = to_nvme_state(device);

	nvme->memcpy_count = 0;
	nvme->memcpy_error =
		nvme_prepare(device, &nvme->write, nvme_cmd_write, src, 0, size) ?:
		nvme_prepare(device, &nvme->read, nvme_cmd_read, dst, 0, size);
	if (nvme->memcpy_error)
		return;

	nvme->memcpy_count = count;
	nvme_start_many(device, &nvme->write, count);
}

static int nvme_memcpy_wait(struct vfio_pci_device *device)
{
	struct nvme_state *nvme = to_nvme_state(device);
	int error, read_error;

	if (nvme->memcpy_error)
		return nvme->memcpy_error;

	error = nvme_wait_many(device, nvme->memcpy_count);
	nvme_start_many(device, &nvme->read, nvme->memcpy_count);
	read_error = nvme_wait_many(device, nvme->memcpy_count);

	return error ?: read_error;
}

static int nvme_transfer(struct vfio_pci_device *device,
			 struct nvme_transfer *transfer, u8 opcode, iova_t iova,
			 u64 offset, u64 size)
{
	VFIO_ASSERT_TRUE(device->driver.initialized);
	VFIO_ASSERT_FALSE(device->driver.memcpy_in_progress);

	return nvme_prepare(device, transfer, opcode, iova, offset, size) ?:
	       nvme_command(device, NVME_COPY_QUEUE, &transfer->cmd);
}

int nvme_write(struct vfio_pci_device *device, iova_t iova, u64 offset, u64 size)
{
	return nvme_transfer(device, &to_nvme_state(device)->write,
			     nvme_cmd_write, iova, offset, size);
}

int nvme_read(struct vfio_pci_device *device, iova_t iova, u64 offset, u64 size)
{
	return nvme_transfer(device, &to_nvme_state(device)->read,
			     nvme_cmd_read, iova, offset, size);
}

int nvme_flush(struct vfio_pci_device *device)
{
	struct nvme_command cmd = {
		.opcode = nvme_cmd_flush,
		.nsid = cpu_to_le32(NVME_NSID),
	};

	VFIO_ASSERT_TRUE(device->driver.initialized);
	VFIO_ASSERT_FALSE(device->driver.memcpy_in_progress);

	return nvme_command(device, NVME_COPY_QUEUE, &cmd);
}

u64 nvme_capacity(struct vfio_pci_device *device)
{
	struct nvme_state *nvme = to_nvme_state(device);

	return nvme->nr_blocks * nvme->block_size;
}

/* Any command will do. This one changes nothing. */
static void nvme_send_msi(struct vfio_pci_device *device)
{
	struct nvme_state *nvme = to_nvme_state(device);
	struct nvme_command cmd = {
		.opcode = nvme_cmd_read,
		.nsid = cpu_to_le32(NVME_NSID),
		.prp1 = cpu_to_le64(nvme_addr(device, nvme->buffer)),
	};

	VFIO_ASSERT_EQ(nvme_command(device, NVME_MSI_QUEUE, &cmd), 0);
}

const struct vfio_pci_driver_ops nvme_ops = {
	.name = "nvme",
	.noiommu = true,
	.probe = nvme_probe,
	.init = nvme_init,
	.remove = nvme_remove,
	.memcpy_start = nvme_memcpy_start,
	.memcpy_wait = nvme_memcpy_wait,
	.send_msi = nvme_send_msi,
};
