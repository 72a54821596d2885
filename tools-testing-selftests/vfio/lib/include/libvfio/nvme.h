/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_NVME_H
#define SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_NVME_H

#include <libvfio/iommu.h>

struct vfio_pci_device;

/*
 * For tests that need more of an NVMe controller than that it copies. The
 * device's driver must be the one for NVMe, and be initialized.
 *
 * nvme_write() and nvme_read() transfer @size bytes at @iova to and from the
 * place @offset of the disk. @offset and @size are multiples of the disk's
 * block size, @iova is a multiple of 4, and @size is at most
 * driver.max_memcpy_size.
 *
 * Both return 0 once the data has been transferred, or non-0 if the controller
 * reports an error.
 */
int nvme_write(struct vfio_pci_device *device, iova_t iova, u64 offset, u64 size);
int nvme_read(struct vfio_pci_device *device, iova_t iova, u64 offset, u64 size);

/*
 * Wait until all that was written is on the disk and not only in a cache.
 * Returns like the two above.
 */
int nvme_flush(struct vfio_pci_device *device);

/* The size of the disk in bytes */
u64 nvme_capacity(struct vfio_pci_device *device);

#endif /* SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_NVME_H */
