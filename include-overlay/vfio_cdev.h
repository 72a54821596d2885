/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The calls that a driver needs for a VFIO device cdev, for programs that are
 * built with kernel headers from before Linux 6.6: to bind the device, to attach
 * it to an IOAS, and to map memory. <linux/iommufd.h> is there since Linux 6.2,
 * IOMMU_IOAS_MAP_FILE since 6.13. What the kernel headers have is taken from
 * them; a flag that is an enumerator there is one here too.
 *
 * A kernel without one of these calls fails it with ENOTTY.
 */
#ifndef VFIO_CDEV_H
#define VFIO_CDEV_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/vfio.h>

#if defined(__has_include)
#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif
#endif

#ifndef VFIO_DEVICE_BIND_IOMMUFD
/**
 * struct vfio_device_bind_iommufd - ioctl(VFIO_DEVICE_BIND_IOMMUFD), on the cdev
 * @argsz: sizeof(struct vfio_device_bind_iommufd)
 * @flags: Must be 0
 * @iommufd: File descriptor of /dev/iommu
 * @out_devid: Out: the ID of the device in that iommufd
 */
struct vfio_device_bind_iommufd {
	__u32 argsz;
	__u32 flags;
	__s32 iommufd;
	__u32 out_devid;
};

#define VFIO_DEVICE_BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)

/**
 * struct vfio_device_attach_iommufd_pt - ioctl(VFIO_DEVICE_ATTACH_IOMMUFD_PT)
 * @argsz: sizeof(struct vfio_device_attach_iommufd_pt)
 * @flags: Must be 0
 * @pt_id: In: ID of an IOAS or a HWPT. Out: ID of the HWPT that the device has.
 */
struct vfio_device_attach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
	__u32 pt_id;
};

#define VFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 19)

/**
 * struct vfio_device_detach_iommufd_pt - ioctl(VFIO_DEVICE_DETACH_IOMMUFD_PT)
 * @argsz: sizeof(struct vfio_device_detach_iommufd_pt)
 * @flags: Must be 0
 */
struct vfio_device_detach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
};

#define VFIO_DEVICE_DETACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 20)
#endif

#ifndef IOMMUFD_TYPE
#define IOMMUFD_TYPE (';')
#endif

#ifndef IOMMU_DESTROY
/**
 * struct iommu_destroy - ioctl(IOMMU_DESTROY)
 * @size: sizeof(struct iommu_destroy)
 * @id: ID of the object, an IOAS for instance
 */
struct iommu_destroy {
	__u32 size;
	__u32 id;
};

#define IOMMU_DESTROY _IO(IOMMUFD_TYPE, 0x80)
#endif

#ifndef IOMMU_IOAS_ALLOC
/**
 * struct iommu_ioas_alloc - ioctl(IOMMU_IOAS_ALLOC)
 * @size: sizeof(struct iommu_ioas_alloc)
 * @flags: Must be 0
 * @out_ioas_id: Out: ID of the new IOAS
 */
struct iommu_ioas_alloc {
	__u32 size;
	__u32 flags;
	__u32 out_ioas_id;
};

#define IOMMU_IOAS_ALLOC _IO(IOMMUFD_TYPE, 0x81)
#endif

#ifndef IOMMU_IOAS_COPY
/**
 * struct iommu_ioas_copy - ioctl(IOMMU_IOAS_COPY)
 * @size: sizeof(struct iommu_ioas_copy)
 * @flags: As for IOMMU_IOAS_MAP
 * @dst_ioas_id: ID of the IOAS that gets the mapping
 * @src_ioas_id: ID of the IOAS that has it, which may be the same
 * @length: Number of bytes, a multiple of the page size
 * @dst_iova: In with IOMMU_IOAS_MAP_FIXED_IOVA, else out: the new IOVA
 * @src_iova: The IOVA of what is copied
 */
struct iommu_ioas_copy {
	__u32 size;
	__u32 flags;
	__u32 dst_ioas_id;
	__u32 src_ioas_id;
	__aligned_u64 length;
	__aligned_u64 dst_iova;
	__aligned_u64 src_iova;
};

#define IOMMU_IOAS_COPY _IO(IOMMUFD_TYPE, 0x83)
#endif

#ifndef IOMMU_IOAS_MAP
/**
 * enum iommufd_ioas_map_flags - Flags for IOMMU_IOAS_MAP, _MAP_FILE and _COPY
 * @IOMMU_IOAS_MAP_FIXED_IOVA: The caller chooses the IOVA
 * @IOMMU_IOAS_MAP_WRITEABLE: The device may write
 * @IOMMU_IOAS_MAP_READABLE: The device may read
 */
enum iommufd_ioas_map_flags {
	IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0,
	IOMMU_IOAS_MAP_WRITEABLE = 1 << 1,
	IOMMU_IOAS_MAP_READABLE = 1 << 2,
};

/**
 * struct iommu_ioas_map - ioctl(IOMMU_IOAS_MAP)
 * @size: sizeof(struct iommu_ioas_map)
 * @flags: enum iommufd_ioas_map_flags
 * @ioas_id: ID of the IOAS
 * @__reserved: Must be 0
 * @user_va: Address of the memory in the caller
 * @length: Number of bytes, a multiple of the page size
 * @iova: In with IOMMU_IOAS_MAP_FIXED_IOVA, else out: the IOVA
 */
struct iommu_ioas_map {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__u32 __reserved;
	__aligned_u64 user_va;
	__aligned_u64 length;
	__aligned_u64 iova;
};

#define IOMMU_IOAS_MAP _IO(IOMMUFD_TYPE, 0x85)
#endif

#ifndef IOMMU_IOAS_UNMAP
/**
 * struct iommu_ioas_unmap - ioctl(IOMMU_IOAS_UNMAP)
 * @size: sizeof(struct iommu_ioas_unmap)
 * @ioas_id: ID of the IOAS
 * @iova: First IOVA to unmap
 * @length: In: number of bytes. Out: how many were unmapped.
 */
struct iommu_ioas_unmap {
	__u32 size;
	__u32 ioas_id;
	__aligned_u64 iova;
	__aligned_u64 length;
};

#define IOMMU_IOAS_UNMAP _IO(IOMMUFD_TYPE, 0x86)
#endif

#ifndef IOMMU_IOAS_MAP_FILE
/**
 * struct iommu_ioas_map_file - ioctl(IOMMU_IOAS_MAP_FILE)
 * @size: sizeof(struct iommu_ioas_map_file)
 * @flags: As for IOMMU_IOAS_MAP
 * @ioas_id: ID of the IOAS
 * @fd: A memfd, or a dma-buf of a device's region
 * @start: Offset in the file, in bytes
 * @length: Number of bytes, a multiple of the page size
 * @iova: In with IOMMU_IOAS_MAP_FIXED_IOVA, else out: the IOVA
 */
struct iommu_ioas_map_file {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__s32 fd;
	__aligned_u64 start;
	__aligned_u64 length;
	__aligned_u64 iova;
};

#define IOMMU_IOAS_MAP_FILE _IO(IOMMUFD_TYPE, 0x8f)
#endif

#endif
