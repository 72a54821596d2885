/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * IOMMU_IOAS_NOIOMMU_GET_PA for programs that are built with kernel headers
 * from before it: what the series noiommu-cdev and noiommu-extents add to
 * <linux/iommufd.h>. With newer kernel headers all that this one adds are names
 * that begin with noiommu_: the array form for programs that also build with
 * kernel headers that have the ioctl, but not its array form. If the program
 * includes <linux/iommufd.h> as well, that can come before or after.
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
 * enum iommufd_ioas_noiommu_get_pa_flags - Flags for IOMMU_IOAS_NOIOMMU_GET_PA
 * @IOMMU_IOAS_NOIOMMU_GET_PA_EXTENTS: Fill an array with many extents. A kernel
 *                                     that cannot fails with E2BIG.
 */
enum iommufd_ioas_noiommu_get_pa_flags {
	IOMMU_IOAS_NOIOMMU_GET_PA_EXTENTS = 1 << 0,
};

/**
 * struct iommu_noiommu_extent - Physically contiguous piece of an IOVA range
 * @phys: Physical address of its first byte
 * @length: Number of bytes, at least 1
 */
struct iommu_noiommu_extent {
	__aligned_u64 phys;
	__aligned_u64 length;
};

/**
 * struct iommu_ioas_noiommu_get_pa - ioctl(IOMMU_IOAS_NOIOMMU_GET_PA)
 * @size: sizeof(struct iommu_ioas_noiommu_get_pa)
 * @flags: 0, or IOMMU_IOAS_NOIOMMU_GET_PA_EXTENTS
 * @ioas_id: ID of the IOAS to look the IOVA up in
 * @__reserved: Must be 0
 * @iova: IOVA to look up, in bytes, with any alignment
 * @length: In: the most bytes to look at, 1 to 2^64 - 1. Out: how many bytes
 *          from @iova on are physically contiguous, 1 to the input, and never
 *          past the end of the mapping that contains @iova. With the array: how
 *          many bytes its elements cover, across mappings that are adjacent.
 * @out_phys: Out: the physical address of the byte at @iova. Not with the array.
 * @extents_uptr: In: address of an array of struct iommu_noiommu_extent. 0
 *                without IOMMU_IOAS_NOIOMMU_GET_PA_EXTENTS.
 * @num_extents: In: elements that the array has room for, not 0. Out: elements
 *               filled. 0 without IOMMU_IOAS_NOIOMMU_GET_PA_EXTENTS.
 * @__reserved2: Must be 0
 *
 * For a kernel that does not have the array set @size to the offset of
 * @extents_uptr, or leave all that follows 0.
 *
 * The answer holds until the memory is unmapped, or no device without an IOMMU
 * has a HWPT on the IOAS any more. The caller must hold CAP_SYS_RAWIO.
 *
 * Return: 0, or -1 with errno, and the outputs as they were:
 *
 *  - EPERM: the caller has no CAP_SYS_RAWIO
 *  - EOPNOTSUPP: an unknown flag, @__reserved or @__reserved2 is not 0, a member
 *    of the array is not 0 without the flag, the IOAS has no HWPT of a device
 *    without an IOMMU, or the kernel is built without this
 *  - EINVAL: @length is 0, @size is too small, @num_extents is 0 with the flag,
 *    or @iova is in a dma-buf that its exporter revoked
 *  - E2BIG: @size is larger than what the kernel knows, with a byte set there
 *  - EOVERFLOW: @iova does not fit into an unsigned long of the kernel
 *  - ENOENT: there is no such IOAS, or @iova is not mapped
 *  - EFAULT: the struct or the first element of the array is not accessible
 *  - ENOMEM: memory is short, with the array only
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
	__aligned_u64 extents_uptr;
	__u32 num_extents;
	__u32 __reserved2;
};

#define IOMMU_IOAS_NOIOMMU_GET_PA _IO(IOMMUFD_TYPE, 0x95)
#endif

/* IOMMU_IOAS_NOIOMMU_GET_PA_EXTENTS, an enumerator that #ifdef cannot ask for */
#define NOIOMMU_GET_PA_EXTENTS (1U << 0)

/**
 * struct noiommu_extent - struct iommu_noiommu_extent by a name that is always
 *                         there
 * @phys: Physical address of its first byte
 * @length: Number of bytes, at least 1
 */
struct noiommu_extent {
	__aligned_u64 phys;
	__aligned_u64 length;
};

/**
 * struct noiommu_get_pa - struct iommu_ioas_noiommu_get_pa, with the members of
 *                         the array in any case
 * @size: sizeof(struct noiommu_get_pa)
 * @flags: NOIOMMU_GET_PA_EXTENTS. A kernel that does not know the array form
 *         fails with E2BIG, since @num_extents is not 0.
 * @ioas_id: ID of the IOAS to look the IOVA up in
 * @__reserved: Must be 0
 * @iova: IOVA to look up, in bytes, with any alignment
 * @length: In: the most bytes to look at. Out: how many bytes the elements cover.
 * @out_phys: Not used
 * @extents_uptr: In: address of an array of struct noiommu_extent
 * @num_extents: In: elements that the array has room for, not 0. Out: elements
 *               filled.
 * @__reserved2: Must be 0
 *
 * For IOMMU_IOAS_NOIOMMU_GET_PA. Its errnos are those of struct
 * iommu_ioas_noiommu_get_pa.
 */
struct noiommu_get_pa {
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

#endif
