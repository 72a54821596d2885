/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * IOMMU_IOAS_NOIOMMU_GET_PA for programs that are built with kernel headers
 * from before it: what the series noiommu-cdev adds to <linux/iommufd.h>. With
 * newer kernel headers this one adds nothing. If the program includes
 * <linux/iommufd.h> as well, that can come before or after.
 *
 * A kernel without the ioctl fails it with ENOTTY, and one that is built
 * without CONFIG_IOMMUFD_NOIOMMU with EOPNOTSUPP.
 */
#ifndef IOMMUFD_NOIOMMU_H
#define IOMMUFD_NOIOMMU_H

#include <linux/ioctl.h>
#include <linux/types.h>

#if defined(__has_include)
#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif
#endif

#ifndef IOMMUFD_TYPE
#define IOMMUFD_TYPE (';')
#endif

#ifndef IOMMU_IOAS_NOIOMMU_GET_PA
/**
 * struct iommu_ioas_noiommu_get_pa - ioctl(IOMMU_IOAS_NOIOMMU_GET_PA)
 * @size: sizeof(struct iommu_ioas_noiommu_get_pa)
 * @flags: Must be 0
 * @ioas_id: ID of the IOAS to look the IOVA up in
 * @__reserved: Must be 0
 * @iova: IOVA to look up, in bytes, with any alignment
 * @length: In: the most bytes to look at, 1 to 2^64 - 1. Out: how many bytes
 *          from @iova on are physically contiguous, 1 to the input, and never
 *          past the end of the mapping that contains @iova
 * @out_phys: Out: the physical address of the byte at @iova
 *
 * The answer holds until the memory is unmapped, or no device without an IOMMU
 * has a HWPT on the IOAS any more. The caller must hold CAP_SYS_RAWIO.
 *
 * Return: 0, or -1 with errno, and @length and @out_phys as they were:
 *
 *  - EPERM: the caller has no CAP_SYS_RAWIO
 *  - EOPNOTSUPP: @flags or @__reserved is not 0, the IOAS has no HWPT of a
 *    device without an IOMMU, or the kernel is built without this
 *  - EINVAL: @length is 0, @size is too small, or @iova is in a dma-buf that
 *    its exporter revoked
 *  - E2BIG: @size is larger than what the kernel knows, with a byte set there
 *  - EOVERFLOW: @iova does not fit into an unsigned long of the kernel
 *  - ENOENT: there is no such IOAS, or @iova is not mapped
 *  - EFAULT: the struct is not accessible
 *  - EINTR: the caller was killed
 *  - ENOTTY: the kernel does not know the ioctl
 */
struct iommu_ioas_noiommu_get_pa {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__u32 __reserved;
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 out_phys;
};

#define IOMMU_IOAS_NOIOMMU_GET_PA _IO(IOMMUFD_TYPE, 0x95)
#endif

#endif
