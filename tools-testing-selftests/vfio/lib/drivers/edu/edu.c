// SPDX-License-Identifier: GPL-2.0-only
/*
 * QEMU's "edu" device: its DMA engine copies between memory and a buffer in the
 * device, in either direction, and a register makes it send an interrupt. See
 * docs/specs/edu in QEMU.
 *
 * It ignores the bits of an address that its property dma_mask does not have,
 * by default all but the low 28, and so would write to other memory. The device
 * does not tell the mask. Tell it by $VFIO_SELFTESTS_EDU_DMA_MASK, without
 * which the device is not used. A DMA takes it 100 ms.
 */
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/io.h>
#include <linux/sizes.h>

#include <libvfio.h>

#define PCI_VENDOR_ID_QEMU	0x1234
#define PCI_DEVICE_ID_QEMU_EDU	0x11e8

#define EDU_ID			0x00
#define EDU_ID_MASK		0xff
#define EDU_ID_VALUE		0xed
#define EDU_IRQ_STATUS		0x24
#define EDU_IRQ_RAISE		0x60
#define EDU_IRQ_ACK		0x64
#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_CMD		0x98
#define EDU_DMA_START		BIT(0)
#define EDU_DMA_TO_MEMORY	BIT(1)

/* Where the device sees its buffer. It does not accept a DMA of all of it. */
#define EDU_BUFFER		0x40000
#define EDU_MAX_DMA		(SZ_4K - 1)

/* Keeps the copies below the 30 seconds that a test has */
#define EDU_MAX_COUNT		10

/* A copy is a DMA to the buffer and another one from there. */
struct edu_state {
	iova_t src;
	iova_t dst;
	u64 size;

	/* Copies left, the direction of this DMA, and how far it got */
	u64 count;
	bool to_memory;
	u64 done;
	int error;
};

static inline struct edu_state *to_edu_state(struct vfio_pci_device *device)
{
	return device->driver.region.vaddr;
}

/* 0 if nobody told it */
static u64 edu_dma_mask(void)
{
	const char *mask = getenv("VFIO_SELFTESTS_EDU_DMA_MASK");

	return mask ? strtoull(mask, NULL, 0) : 0;
}

static int edu_probe(struct vfio_pci_device *device)
{
	static bool told;

	if (!vfio_pci_device_match(device, PCI_VENDOR_ID_QEMU, PCI_DEVICE_ID_QEMU_EDU))
		return -EINVAL;

	VFIO_ASSERT_NOT_NULL(device->bars[0].vaddr);

	if ((readl(device->bars[0].vaddr + EDU_ID) & EDU_ID_MASK) != EDU_ID_VALUE)
		return -EINVAL;

	if (!edu_dma_mask()) {
		if (!told)
			dev_err(device, "edu: not used without VFIO_SELFTESTS_EDU_DMA_MASK, the dma_mask that QEMU was given\n");
		told = true;
		return -EINVAL;
	}

	return 0;
}

static void edu_wait_idle(struct vfio_pci_device *device)
{
	u32 sleep_ms = 1, attempts = 5000 / sleep_ms;
	void *bar0 = device->bars[0].vaddr;

	while (readq(bar0 + EDU_DMA_CMD) & EDU_DMA_START) {
		VFIO_ASSERT_GT(--attempts, 0);
		usleep(sleep_ms * 1000);
	}
}

static void edu_ack_irq(struct vfio_pci_device *device)
{
	void *bar0 = device->bars[0].vaddr;

	writel(readl(bar0 + EDU_IRQ_STATUS), bar0 + EDU_IRQ_ACK);
}

static void edu_init(struct vfio_pci_device *device)
{
	VFIO_ASSERT_GE(device->driver.region.size, sizeof(struct edu_state));

	vfio_pci_cmd_set(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				 PCI_COMMAND_INTX_DISABLE);

	edu_wait_idle(device);
	edu_ack_irq(device);
	vfio_pci_msi_enable(device, 0, 1);

	device->driver.msi = 0;
	device->driver.max_memcpy_size = EDU_MAX_DMA;
	device->driver.max_memcpy_count = EDU_MAX_COUNT;
}

static void edu_remove(struct vfio_pci_device *device)
{
	edu_wait_idle(device);
	vfio_pci_msi_disable(device);
}

static void edu_dma(struct vfio_pci_device *device, u64 src, u64 dst, u64 size, u64 cmd)
{
	void *bar0 = device->bars[0].vaddr;

	writeq(src, bar0 + EDU_DMA_SRC);
	writeq(dst, bar0 + EDU_DMA_DST);
	writeq(size, bar0 + EDU_DMA_COUNT);
	writeq(cmd | EDU_DMA_START, bar0 + EDU_DMA_CMD);
}

/* Start the next DMA. Returns false if there is none. */
static bool edu_next(struct vfio_pci_device *device)
{
	struct edu_state *edu = to_edu_state(device);
	u64 addr, buffer, size;

	if (edu->done == edu->size) {
		edu->done = 0;
		if (edu->to_memory)
			edu->count--;
		edu->to_memory = !edu->to_memory;
	}
	if (!edu->count)
		return false;

	size = edu->size - edu->done;
	edu->error = iova_to_dma_addr(device,
				      (edu->to_memory ? edu->dst : edu->src) + edu->done,
				      &size, &addr);
	if (edu->error)
		return false;
	if ((addr | (addr + size - 1)) & ~edu_dma_mask()) {
		dev_err(device, "edu: the device cannot reach 0x%lx\n", addr);
		edu->error = -ERANGE;
		return false;
	}

	buffer = EDU_BUFFER + edu->done;
	if (edu->to_memory)
		edu_dma(device, buffer, addr, size, EDU_DMA_TO_MEMORY);
	else
		edu_dma(device, addr, buffer, size, 0);
	edu->done += size;

	return true;
}

static void edu_memcpy_start(struct vfio_pci_device *device,
			     iova_t src, iova_t dst, u64 size, u64 count)
{
	VFIO_ASSERT_GT(size, 0);

	*to_edu_state(device) = (struct edu_state) {
		.src = src,
		.dst = dst,
		.size = size,
		.count = count,
	};
	edu_next(device);
}

static int edu_memcpy_wait(struct vfio_pci_device *device)
{
	do
		edu_wait_idle(device);
	while (edu_next(device));

	return to_edu_state(device)->error;
}

static void edu_send_msi(struct vfio_pci_device *device)
{
	writel(1, device->bars[0].vaddr + EDU_IRQ_RAISE);
	edu_ack_irq(device);
}

const struct vfio_pci_driver_ops edu_ops = {
	.name = "edu",
	.noiommu = true,
	.probe = edu_probe,
	.init = edu_init,
	.remove = edu_remove,
	.memcpy_start = edu_memcpy_start,
	.memcpy_wait = edu_memcpy_wait,
	.send_msi = edu_send_msi,
};
