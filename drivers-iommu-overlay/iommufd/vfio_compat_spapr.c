// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VFIO container for sPAPR, in iommufd
 *
 * Programs that were written for VFIO_SPAPR_TCE_v2_IOMMU, or for its first
 * version, can use an iommufd as their container. What they map is in the
 * compat IOAS, and what a device has is the paging domain of that IOAS,
 * drivers/iommu/spapr-tce.c.
 *
 * Windows: the domain has all windows of the PE from its beginning to its end,
 * with the place, the page size and the largest size that the platform says.
 * Whether a window was created is known here only, and decides what can be
 * mapped. So nothing changes for DMA when one is created, and when one is
 * removed it is emptied. The default window is there from the beginning.
 *
 * Memory that is registered is a struct iopt_pages, which an access keeps
 * pinned. All mappings of it are areas that share it, the way IOMMU_IOAS_COPY
 * does it: to map does not pin, and memory can be unregistered when it has no
 * other reference.
 *
 * Unlike those of type1, mappings are not objects: any of their pages can be
 * unmapped, pages that are not mapped as well, and to map replaces what was
 * there. Areas are cut for that, which is possible as a window has a single
 * page size.
 *
 * Locks: iommufd_vfio_spapr::lock protects all of it, and is taken before those
 * of the IOAS. It makes replacing atomic for those who map, not for a device.
 */
#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/sched/mm.h>
#include <linux/log2.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vfio.h>
#include <uapi/linux/vfio.h>

#include <asm/iommu-paging.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

/* Memory of the process that may be mapped */
struct spapr_memory {
	struct list_head item;
	struct iopt_pages *pages;
	unsigned long vaddr;
	unsigned long size;
};

/*
 * Windows
 */

static void spapr_set_windows(struct iommufd_vfio_spapr *spapr,
			      const struct tce_geometry *geometry, int nr)
{
	static_assert(ARRAY_SIZE(spapr->windows) ==
		      IOMMU_TABLE_GROUP_MAX_TABLES);

	lockdep_assert_held(&spapr->lock);

	for (int i = 0; i < nr; i++) {
		struct iommufd_spapr_window *window = &spapr->windows[i];

		window->start = geometry[i].start;
		window->max_size = geometry[i].size;
		window->page_shift = geometry[i].page_shift;
		window->is_default = !geometry[i].dynamic;
		window->size = window->is_default ? window->max_size : 0;
	}
	spapr->nr_windows = nr;
}

/**
 * iommufd_vfio_spapr_add_group() - Learn which windows there are
 * @ictx: The context that is the group's container
 * @group: The group
 *
 * Programs ask for the windows, and create them, before they open a device. If
 * the platform cannot say yet they are known as soon as a device is open.
 */
void iommufd_vfio_spapr_add_group(struct iommufd_ctx *ictx,
				  struct iommu_group *group)
{
	struct tce_geometry geometry[IOMMU_TABLE_GROUP_MAX_TABLES];
	struct iommufd_vfio_spapr *spapr = &ictx->vfio_spapr;
	int nr;

	guard(mutex)(&spapr->lock);

	if (spapr->nr_windows)
		return;
	nr = spapr_tce_group_geometry(group, geometry);
	/* That of a mediated device has none */
	if (nr != -ENODEV)
		WRITE_ONCE(spapr->has_group, true);
	if (nr > 0)
		spapr_set_windows(spapr, geometry, nr);
}

static int spapr_find_windows(struct iommufd_vfio_spapr *spapr,
			      struct iommufd_ioas *ioas)
{
	struct tce_geometry geometry[IOMMU_TABLE_GROUP_MAX_TABLES];
	struct iommufd_hwpt_paging *hwpt_paging;
	int nr;

	lockdep_assert_held(&spapr->lock);

	if (spapr->nr_windows)
		return 0;

	guard(mutex)(&ioas->mutex);
	list_for_each_entry(hwpt_paging, &ioas->hwpt_list, hwpt_item) {
		nr = spapr_tce_domain_geometry(hwpt_paging->common.domain,
					       geometry);
		if (nr > 0) {
			spapr_set_windows(spapr, geometry, nr);
			return 0;
		}
	}
	return -ENXIO;
}

/* The window that an IOVA is in, of those that were created */
static struct iommufd_spapr_window *
spapr_window_of(struct iommufd_vfio_spapr *spapr, u64 iova)
{
	for (int i = 0; i < spapr->nr_windows; i++) {
		struct iommufd_spapr_window *window = &spapr->windows[i];

		if (iova >= window->start &&
		    iova - window->start < window->size)
			return window;
	}
	return NULL;
}

/* Unmap what there is in a range, whole areas or not. */
static int spapr_clear(struct iommufd_ioas *ioas, unsigned long iova,
		       unsigned long size)
{
	unsigned long cuts[] = { iova + size - 1, iova - 1 };
	int rc;

	rc = iopt_cut_iova(&ioas->iopt, cuts, iova ? 2 : 1);
	if (rc)
		return rc;
	return iopt_unmap_iova(&ioas->iopt, iova, size, NULL);
}

static int spapr_get_info(struct iommufd_vfio_spapr *spapr,
			  struct iommufd_ioas *ioas, void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_iommu_spapr_tce_info,
				   dma32_window_size);
	struct vfio_iommu_spapr_tce_info info = {};
	int rc;

	rc = spapr_find_windows(spapr, ioas);
	if (rc)
		return rc;
	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;

	info.flags = 0;
	info.dma32_window_start = 0;
	info.dma32_window_size = 0;
	for (int i = 0; i < spapr->nr_windows; i++) {
		struct iommufd_spapr_window *window = &spapr->windows[i];

		info.ddw.pgsizes |= 1ULL << window->page_shift;
		if (window->is_default) {
			info.dma32_window_start = window->start;
			info.dma32_window_size = window->max_size;
		}
	}
	if (spapr->type == VFIO_SPAPR_TCE_v2_IOMMU) {
		info.flags = VFIO_IOMMU_SPAPR_INFO_DDW;
		info.ddw.max_dynamic_windows_supported = spapr->nr_windows;
		info.ddw.levels = 1;
	} else {
		info.ddw.pgsizes = 0;
	}

	if (info.argsz >= offsetofend(struct vfio_iommu_spapr_tce_info, ddw))
		minsz = offsetofend(struct vfio_iommu_spapr_tce_info, ddw);
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/* The first window that is free and can be what the program asks for. */
static int spapr_create(struct iommufd_vfio_spapr *spapr,
			struct iommufd_ioas *ioas, void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_iommu_spapr_tce_create,
				   start_addr);
	struct vfio_iommu_spapr_tce_create create;
	int rc;

	rc = spapr_find_windows(spapr, ioas);
	if (rc)
		return rc;
	if (copy_from_user(&create, arg, minsz))
		return -EFAULT;
	if (create.argsz < minsz || create.flags)
		return -EINVAL;

	rc = -ENOSPC;
	for (int i = 0; i < spapr->nr_windows; i++) {
		struct iommufd_spapr_window *window = &spapr->windows[i];

		if (window->size)
			continue;
		/*
		 * The number of levels is not used, tables have what they need
		 */
		if (create.page_shift != window->page_shift || !create.levels ||
		    !create.window_size ||
		    !is_power_of_2(create.window_size) ||
		    create.window_size > window->max_size ||
		    create.window_size < max_t(u64, PAGE_SIZE,
					       1ULL << window->page_shift)) {
			rc = -EINVAL;
			continue;
		}

		create.start_addr = window->start;
		if (copy_to_user(arg, &create, minsz))
			return -EFAULT;
		window->size = create.window_size;
		return 0;
	}
	return rc;
}

static int spapr_remove(struct iommufd_vfio_spapr *spapr,
			struct iommufd_ioas *ioas, void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_iommu_spapr_tce_remove,
				   start_addr);
	struct vfio_iommu_spapr_tce_remove remove;
	struct iommufd_spapr_window *window;
	int rc;

	rc = spapr_find_windows(spapr, ioas);
	if (rc)
		return rc;
	if (copy_from_user(&remove, arg, minsz))
		return -EFAULT;
	if (remove.argsz < minsz || remove.flags)
		return -EINVAL;

	window = spapr_window_of(spapr, remove.start_addr);
	if (!window)
		return -EINVAL;
	rc = spapr_clear(ioas, window->start, window->size);
	if (rc)
		return rc;
	window->size = 0;
	return 0;
}

/*
 * Memory
 */

static struct spapr_memory *spapr_memory_of(struct iommufd_vfio_spapr *spapr,
					    unsigned long vaddr)
{
	struct spapr_memory *memory;

	list_for_each_entry(memory, &spapr->memory, item) {
		if (vaddr >= memory->vaddr &&
		    vaddr - memory->vaddr < memory->size)
			return memory;
	}
	return NULL;
}

static int spapr_set_mm(struct iommufd_vfio_spapr *spapr)
{
	lockdep_assert_held(&spapr->lock);

	if (!spapr->mm) {
		spapr->mm = current->mm;
		mmgrab(spapr->mm);
	}
	return spapr->mm == current->mm ? 0 : -EPERM;
}

static int
spapr_get_memory(void __user *arg,
		 struct vfio_iommu_spapr_register_memory *memory)
{
	size_t minsz = offsetofend(struct vfio_iommu_spapr_register_memory,
				   size);

	if (copy_from_user(memory, arg, minsz))
		return -EFAULT;
	if (memory->argsz < minsz || memory->flags)
		return -EINVAL;
	if (!PAGE_ALIGNED(memory->vaddr | memory->size) || !memory->size ||
	    memory->vaddr + memory->size < memory->vaddr)
		return -EINVAL;
	return 0;
}

static void spapr_memory_free(struct spapr_memory *memory)
{
	iopt_pages_unpin(memory->pages);
	iopt_put_pages(memory->pages);
	list_del(&memory->item);
	kfree(memory);
}

static int spapr_register(struct iommufd_ctx *ictx, void __user *arg)
{
	struct iommufd_vfio_spapr *spapr = &ictx->vfio_spapr;
	struct vfio_iommu_spapr_register_memory args;
	struct spapr_memory *memory, *other;
	int rc;

	rc = spapr_set_mm(spapr);
	if (rc)
		return rc;
	rc = spapr_get_memory(arg, &args);
	if (rc)
		return rc;
	list_for_each_entry(other, &spapr->memory, item) {
		if (args.vaddr == other->vaddr && args.size == other->size)
			return -EBUSY;
		if (args.vaddr < other->vaddr + other->size &&
		    other->vaddr < args.vaddr + args.size)
			return -EINVAL;
	}

	memory = kzalloc_obj(*memory, GFP_KERNEL_ACCOUNT);
	if (!memory)
		return -ENOMEM;
	memory->vaddr = args.vaddr;
	memory->size = args.size;
	memory->pages = iopt_alloc_user_pages(u64_to_user_ptr(args.vaddr),
					      args.size, true);
	if (IS_ERR(memory->pages)) {
		rc = PTR_ERR(memory->pages);
		goto err_free;
	}
	if (ictx->account_mode == IOPT_PAGES_ACCOUNT_MM &&
	    memory->pages->account_mode == IOPT_PAGES_ACCOUNT_USER)
		memory->pages->account_mode = IOPT_PAGES_ACCOUNT_MM;
	rc = iopt_pages_pin(memory->pages);
	if (rc)
		goto err_put;

	list_add(&memory->item, &spapr->memory);
	spapr->enabled = true;
	return 0;

err_put:
	iopt_put_pages(memory->pages);
err_free:
	kfree(memory);
	return rc;
}

static int spapr_unregister(struct iommufd_vfio_spapr *spapr, void __user *arg)
{
	struct vfio_iommu_spapr_register_memory args;
	struct spapr_memory *memory;
	int rc;

	if (!spapr->mm)
		return -EPERM;
	rc = spapr_get_memory(arg, &args);
	if (rc)
		return rc;
	memory = spapr_memory_of(spapr, args.vaddr);
	if (!memory || memory->vaddr != args.vaddr || memory->size != args.size)
		return -ENOENT;
	if (kref_read(&memory->pages->kref) != 1)
		return -EBUSY;
	spapr_memory_free(memory);
	return 0;
}

/* Version 1: no memory is registered, each mapping pins its own. */
static int spapr_enable(struct iommufd_vfio_spapr *spapr,
			struct iommufd_ioas *ioas)
{
	int rc;

	if (spapr->enabled)
		return -EBUSY;
	rc = spapr_find_windows(spapr, ioas);
	if (rc)
		return rc;
	if (!spapr->windows[0].is_default)
		return -EPERM;
	rc = spapr_set_mm(spapr);
	if (rc)
		return rc;
	spapr->enabled = true;
	return 0;
}

/*
 * Mappings
 */

/* Windows are a filter, the range of a mapping is in one. */
static int spapr_check_range(struct iommufd_vfio_spapr *spapr,
			     struct iommufd_ioas *ioas, u64 iova, u64 size,
			     u64 vaddr)
{
	struct iommufd_spapr_window *window;
	int rc;

	rc = spapr_find_windows(spapr, ioas);
	if (rc)
		return rc;
	window = spapr_window_of(spapr, iova);
	if (!window)
		return -ENXIO;
	if (!IS_ALIGNED(iova | size | vaddr, 1ULL << window->page_shift) ||
	    size > window->size - (iova - window->start))
		return -EINVAL;
	return 0;
}

/* Map registered memory, in the pieces that it was registered in. */
static int spapr_map_memory(struct iommufd_ctx *ictx, struct iommufd_ioas *ioas,
			    u64 iova, u64 vaddr, u64 size, int iommu_prot)
{
	while (size) {
		struct spapr_memory *memory;
		unsigned long start_byte;
		unsigned long length;
		int rc;

		memory = spapr_memory_of(&ictx->vfio_spapr, vaddr);
		if (!memory)
			return -EINVAL;
		start_byte = vaddr - memory->vaddr;
		length = min(size, memory->size - start_byte);
		rc = iopt_map_shared_pages(ictx, &ioas->iopt, iova,
					   memory->pages, start_byte, length,
					   iommu_prot);
		if (rc)
			return rc;
		iova += length;
		vaddr += length;
		size -= length;
	}
	return 0;
}

static int spapr_map(struct iommufd_ctx *ictx, struct iommufd_ioas *ioas,
		     void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_iommu_type1_dma_map, size);
	struct iommufd_vfio_spapr *spapr = &ictx->vfio_spapr;
	struct vfio_iommu_type1_dma_map map;
	int iommu_prot = IOMMU_CACHE;
	unsigned long iova;
	int rc;

	if (!spapr->enabled)
		return -EPERM;
	if (copy_from_user(&map, arg, minsz))
		return -EFAULT;
	if (map.argsz < minsz || !map.flags ||
	    map.flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE))
		return -EINVAL;
	if (map.flags & VFIO_DMA_MAP_FLAG_READ)
		iommu_prot |= IOMMU_READ;
	if (map.flags & VFIO_DMA_MAP_FLAG_WRITE)
		iommu_prot |= IOMMU_WRITE;

	rc = spapr_check_range(spapr, ioas, map.iova, map.size, map.vaddr);
	if (rc || !map.size)
		return rc;

	rc = spapr_clear(ioas, map.iova, map.size);
	if (rc)
		return rc;
	iova = map.iova;
	if (spapr->type == VFIO_SPAPR_TCE_v2_IOMMU)
		rc = spapr_map_memory(ictx, ioas, iova, map.vaddr, map.size,
				      iommu_prot);
	else
		rc = iopt_map_user_pages(ictx, &ioas->iopt, &iova,
					 u64_to_user_ptr(map.vaddr), map.size,
					 iommu_prot, 0);
	/* As with the container, nothing is left there if it fails */
	if (rc)
		spapr_clear(ioas, map.iova, map.size);
	return rc;
}

static int spapr_unmap(struct iommufd_vfio_spapr *spapr,
		       struct iommufd_ioas *ioas, void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_iommu_type1_dma_unmap, size);
	struct vfio_iommu_type1_dma_unmap unmap;
	int rc;

	if (!spapr->enabled)
		return -EPERM;
	if (copy_from_user(&unmap, arg, minsz))
		return -EFAULT;
	if (unmap.argsz < minsz || unmap.flags)
		return -EINVAL;

	rc = spapr_check_range(spapr, ioas, unmap.iova, unmap.size, 0);
	if (rc || !unmap.size)
		return rc;
	return spapr_clear(ioas, unmap.iova, unmap.size);
}

/**
 * iommufd_vfio_spapr_set_iommu() - Make the container one for sPAPR
 * @ictx: The context
 * @type: VFIO_SPAPR_TCE_v2_IOMMU or VFIO_SPAPR_TCE_IOMMU
 *
 * Return: 0, or -EINVAL if it is one already. It stays one.
 */
int iommufd_vfio_spapr_set_iommu(struct iommufd_ctx *ictx, unsigned long type)
{
	struct iommufd_vfio_spapr *spapr = &ictx->vfio_spapr;

	guard(mutex)(&spapr->lock);

	if (spapr->type)
		return -EINVAL;
	WRITE_ONCE(spapr->type, type);
	return 0;
}

/**
 * iommufd_vfio_spapr_ioctl() - The ioctls of a container for sPAPR
 * @ictx: The context
 * @ioas: The compat IOAS
 * @cmd: The ioctl
 * @arg: Its argument
 *
 * Return: 0, -ENOIOCTLCMD if the container has no such ioctl, or
 *  * -EPERM: the container is another process's, or nothing may be mapped yet:
 *    no memory was registered, or version 1 is not enabled
 *  * -ENXIO: no window is there, or it is not known yet where they are
 *  * -EINVAL: what linux/vfio.h does not allow; memory that is not registered;
 *    a window that the platform does not offer
 *  * -ENOSPC: all windows are created
 *  * -EBUSY: memory is registered already, or still mapped
 *  * -ENOENT: memory is not registered
 *  * -ENOMEM, -EFAULT: as usual, or as pinning memory says
 */
int iommufd_vfio_spapr_ioctl(struct iommufd_ctx *ictx,
			     struct iommufd_ioas *ioas, unsigned int cmd,
			     void __user *arg)
{
	struct iommufd_vfio_spapr *spapr = &ictx->vfio_spapr;

	guard(mutex)(&spapr->lock);

	if (spapr->mm && spapr->mm != current->mm)
		return -EPERM;

	switch (cmd) {
	case VFIO_IOMMU_MAP_DMA:
		return spapr_map(ictx, ioas, arg);
	case VFIO_IOMMU_UNMAP_DMA:
		return spapr_unmap(spapr, ioas, arg);
	case VFIO_IOMMU_SPAPR_TCE_GET_INFO:
		return spapr_get_info(spapr, ioas, arg);
	}

	if (spapr->type == VFIO_SPAPR_TCE_IOMMU) {
		switch (cmd) {
		case VFIO_IOMMU_ENABLE:
			return spapr_enable(spapr, ioas);
		case VFIO_IOMMU_DISABLE:
			spapr->enabled = false;
			return 0;
		}
		return -ENOIOCTLCMD;
	}

	switch (cmd) {
	case VFIO_IOMMU_SPAPR_REGISTER_MEMORY:
		return spapr_register(ictx, arg);
	case VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY:
		return spapr_unregister(spapr, arg);
	case VFIO_IOMMU_SPAPR_TCE_CREATE:
		return spapr_create(spapr, ioas, arg);
	case VFIO_IOMMU_SPAPR_TCE_REMOVE:
		return spapr_remove(spapr, ioas, arg);
	}
	return -ENOIOCTLCMD;
}

/**
 * iommufd_vfio_spapr_init() - Prepare what a container for sPAPR needs
 * @ictx: The context
 */
void iommufd_vfio_spapr_init(struct iommufd_ctx *ictx)
{
	mutex_init(&ictx->vfio_spapr.lock);
	INIT_LIST_HEAD(&ictx->vfio_spapr.memory);
}

/**
 * iommufd_vfio_spapr_destroy() - Release what is registered
 * @ictx: The context, which has no IOAS any more
 */
void iommufd_vfio_spapr_destroy(struct iommufd_ctx *ictx)
{
	struct iommufd_vfio_spapr *spapr = &ictx->vfio_spapr;
	struct spapr_memory *memory, *next;

	list_for_each_entry_safe(memory, next, &spapr->memory, item)
		spapr_memory_free(memory);
	if (spapr->mm)
		mmdrop(spapr->mm);
	mutex_destroy(&spapr->lock);
}
