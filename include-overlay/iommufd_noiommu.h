/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * IOMMU_IOAS_NOIOMMU_GET_PA and IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY for programs that
 * are built with kernel headers from before them: what the series noiommu-cdev
 * and noiommu-extents add to <linux/iommufd.h>. Each of the two gives way to the
 * kernel's own, so the program can include <linux/iommufd.h> as well, before or
 * after.
 *
 * A kernel without an ioctl fails it with ENOTTY, and one that is built without
 * CONFIG_IOMMUFD_NOIOMMU with EOPNOTSUPP.
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
 *          past the end of the mapping that contains @iova.
 * @out_phys: Out: the physical address of the byte at @iova
 *
 * The answer holds until the memory is unmapped, or the last HWPT of the IOAS is
 * gone. The caller must hold CAP_SYS_RAWIO.
 *
 * Return: 0, or -1 with errno, and the outputs as they were, or with EFAULT
 * undefined:
 *
 *  - EPERM: the caller has no CAP_SYS_RAWIO
 *  - EOPNOTSUPP: @flags or @__reserved is not 0, the IOAS has no HWPT of a device
 *    without an IOMMU, or the kernel is built without this
 *  - EINVAL: @length is 0, @size is too small, or @iova is in a dma-buf that its
 *    exporter revoked
 *  - E2BIG: @size is larger than what the kernel knows, with a byte set there
 *  - EOVERFLOW: @iova does not fit into an unsigned long of the kernel, or is the
 *    largest one
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

#ifndef IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY
/**
 * enum iommu_noiommu_pa_type - Entries of IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY
 * @IOMMU_NOIOMMU_PA_EXTENT: struct iommu_noiommu_extent
 * @IOMMU_NOIOMMU_PA_PAGE: __u64, the physical address of a page
 */
enum iommu_noiommu_pa_type {
	IOMMU_NOIOMMU_PA_EXTENT = 0,
	IOMMU_NOIOMMU_PA_PAGE = 1,
};

/**
 * struct iommu_noiommu_extent - Physically contiguous piece of an IOVA range
 * @phys: Physical address of its first byte
 * @length: Length in bytes, at least 1
 */
struct iommu_noiommu_extent {
	__aligned_u64 phys;
	__aligned_u64 length;
};

/**
 * struct iommu_ioas_noiommu_get_pa_array - ioctl(IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY)
 * @size: sizeof(struct iommu_ioas_noiommu_get_pa_array)
 * @flags: Must be 0
 * @ioas_id: IOAS ID to query IOVA to PA mapping from
 * @data_type: One of enum iommu_noiommu_pa_type
 * @iova: First IOVA to query, in bytes, with any alignment
 * @length: Input the length in bytes of the range that starts at @iova, from 1
 *          to 2^64 - 1. Output how many bytes of it the entries cover, at least
 *          1 and at most the input.
 * @data_uptr: User pointer to the array
 * @entry_len: Length in bytes of an entry. With IOMMU_NOIOMMU_PA_EXTENT a
 *             multiple of 8 from 16 to 256, and 8 with IOMMU_NOIOMMU_PA_PAGE.
 * @entry_num: Input the number of entries that the array has room for, from 1 to
 *             2^32 - 1. Output the number of entries filled, from 1 to the input.
 * @page_size: With IOMMU_NOIOMMU_PA_PAGE the length in bytes of a page, a power
 *             of two from 4096 to 2^31, independent of the kernel's. 0 with
 *             IOMMU_NOIOMMU_PA_EXTENT.
 * @__reserved: Must be 0
 *
 * Query the physical addresses of an IOVA range, as far as the array has room.
 * The range can span mappings that are next to each other. The beginning of the
 * range must be mapped already. For noiommu devices doing unsafe DMA only.
 *
 * With IOMMU_NOIOMMU_PA_EXTENT the array is a scatter list. The first extent
 * begins at @iova, and each further one where the one before it ends. They are
 * merged wherever the physical addresses are contiguous: neighbours in the array
 * never are. An extent that is the last one because the array is full is complete
 * as well. With an @entry_len of more than the kernel knows, the rest of each
 * entry is filled with zeros.
 *
 * With IOMMU_NOIOMMU_PA_PAGE the array is a page list: the first entry is the
 * physical address of @iova, and each further one that of the next IOVA that is
 * a multiple of @page_size. What an entry stands for ends there, or with the
 * range, and is physically contiguous. Each page has the same offset in physical
 * memory as in the IOVA space, modulo @page_size, so that all entries but the
 * first one are multiples of @page_size. A list of NVMe PRP entries is like this.
 *
 * The entries end at the end of the range, at the first IOVA that is not mapped,
 * with the array, or where memory of the array cannot be written. A page list
 * also ends before a page that is not mapped as a whole, is not contiguous, or
 * has another offset in physical memory. Each of them is a success as long as
 * there is one entry. What was written and can be relied on is what the output
 * @entry_num and @length say, the array after that is undefined. So a caller
 * that wants all of a range loops: advance @iova by the output length, and stop
 * when the range is complete or the ioctl fails, which then gives the reason for
 * the address that it stopped at.
 *
 * How long an answer stays true, and what has to be done about addresses as a
 * device sees them, is as for IOMMU_IOAS_NOIOMMU_GET_PA. It works with the same
 * IOAS.
 *
 * Besides the common errnos:
 *
 *  - ENOTTY: The kernel does not have this ioctl. IOMMU_IOAS_NOIOMMU_GET_PA may
 *    be there nevertheless.
 *  - EPERM: The caller has no CAP_SYS_RAWIO
 *  - EOPNOTSUPP: @flags or @__reserved is not 0, the kernel does not know
 *    @data_type, the IOAS has no HWPT of a device without an IOMMU, or the kernel
 *    is built without CONFIG_IOMMUFD_NOIOMMU
 *  - E2BIG: @size is larger than what the kernel knows, and a byte there is not 0
 *  - EINVAL: @size is too small, @length or @entry_num is 0, @entry_len or
 *    @page_size is not allowed with @data_type, or @iova is in a dma-buf that its
 *    exporter revoked
 *  - EOVERFLOW: @iova does not fit into an unsigned long of the kernel, or is
 *    the largest one
 *  - ENOENT: @ioas_id is not an IOAS, or @iova is not mapped
 *  - ERANGE: The first page of a page list is not mapped as a whole, is not
 *    contiguous, or has another offset in physical memory. A smaller @page_size
 *    can work, one of 4096 always does.
 *  - EFAULT: The struct or the first entry of the array is not accessible
 *  - ENOMEM: There is no memory for the entries on their way to the array
 *  - EINTR: The caller was killed
 *
 * If the ioctl fails, the struct does not change, but with EFAULT it is undefined. The
 * array can have changed.
 */
struct iommu_ioas_noiommu_get_pa_array {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__u32 data_type;
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 data_uptr;
	__u32 entry_len;
	__u32 entry_num;
	__u32 page_size;
	__u32 __reserved;
};

#define IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY _IO(IOMMUFD_TYPE, 0x96)
#endif

#endif
