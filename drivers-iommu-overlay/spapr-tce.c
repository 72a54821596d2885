// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paging domains over TCE tables
 *
 * A host bridge of POWER translates DMA in windows of the bus address space,
 * each with a page size and a TCE table of its own: one at the bottom with TCEs
 * of 4K, and one far above 4 GiB. Windows belong to a PE, which is an IOMMU
 * group, struct iommu_table_group.
 *
 * A domain has a table for each window, in the format of the hardware. On bare
 * metal (powernv) the host bridges read them, those of all groups of the domain
 * the same ones. To attach a group is to tell its host bridge where they are,
 * and what is mapped and unmapped takes an invalidation. For a guest (pseries)
 * the hypervisor has tables of its own, which exist only with their window and
 * are written by hypervisor calls of up to 512 TCEs. Then iotlb_sync_map()
 * copies what was mapped to those of each group, unmap_pages() clears there
 * what it unmaps, to attach a group is to make its windows and copy the whole
 * table, as far as it has anything, and to detach it is to clear that.
 *
 * Which windows a domain has is the same all its life, and said by the platform
 * for the device that it is allocated for. Userspace may choose the page size
 * of the 64-bit window, and a smaller size. A group that cannot have these
 * windows cannot use the domain.
 *
 * While a group has no paging domain its windows are those of the kernel's own
 * DMA (the platform domain), or of the VFIO container for sPAPR (the blocked
 * domain).
 *
 * Locks: tce_groups_lock for the windows of groups, then the lock of a domain,
 * then that of another one that it replaces. Attaching and detaching a group
 * hold the lock of the domain for writing. Tables are filled without a lock,
 * by the rules of generic_pt, and the sync that follows takes it for reading:
 * what was mapped is either in the table that is copied, or synced to this
 * group as well. On pseries unmapping takes it for reading from before the
 * table changes until the groups are told: a group that leaves, and no longer
 * hears of it, leaves nothing behind that is not in the table.
 */
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <asm/iommu-paging.h>
#include <asm/tce.h>

#include "iommu-pages.h"

#define TCE_PERM	(TCE_PCI_READ | TCE_PCI_WRITE)

/* TCEs of a table, all levels have the same */
#define TCE_LEVEL_SHIFT	(PAGE_SHIFT - ilog2(sizeof(__be64)))

/* A TCE has the address of any memory, and of any device */
#define TCE_OA_BITS	60

/* What a hypervisor call takes */
#define TCE_CHUNK	512

/**
 * struct tce_domain - A paging domain
 * @domain: What the core knows of it
 * @windows: Its windows, in ascending order
 * @nr_windows: Number of these
 * @lock: Held for reading to sync, for writing to change @groups
 * @groups: The groups that it is attached to, iommu_table_group::paging_item
 * @ops: Those of the platform
 */
struct tce_domain {
	struct iommu_domain domain;
	struct tce_window windows[IOMMU_TABLE_GROUP_MAX_TABLES];
	unsigned int nr_windows;
	struct rw_semaphore lock;
	struct list_head groups;
	const struct tce_paging_ops *ops;
};

/* One of the page sizes of TCEs */
struct tce_format {
	u32 page_shift;
	int (*init)(struct pt_iommu_tce *pt,
		    const struct pt_iommu_tce_cfg *cfg, gfp_t gfp);
	phys_addr_t (*iova_to_phys)(struct iommu_domain *domain,
				    dma_addr_t iova);
};

static const struct tce_format tce_formats[] = {
	{ 12, pt_iommu_tce_pg4k_init, pt_iommu_tce_pg4k_iova_to_phys },
	{ 16, pt_iommu_tce_pg64k_init, pt_iommu_tce_pg64k_iova_to_phys },
	{ 21, pt_iommu_tce_pg2m_init, pt_iommu_tce_pg2m_iova_to_phys },
	{ 24, pt_iommu_tce_pg16m_init, pt_iommu_tce_pg16m_iova_to_phys },
};

/*
 * Protects iommu_table_group::paging, and with it the windows of a group that
 * has a paging domain or is about to get one.
 */
static DEFINE_MUTEX(tce_groups_lock);

static struct tce_domain *to_tce_domain(struct iommu_domain *domain)
{
	return container_of(domain, struct tce_domain, domain);
}

static const struct tce_format *tce_format_of(u32 page_shift)
{
	for (int i = 0; i < ARRAY_SIZE(tce_formats); i++) {
		if (tce_formats[i].page_shift == page_shift)
			return &tce_formats[i];
	}
	return NULL;
}

static u64 tce_window_last(const struct tce_window *window)
{
	return window->geometry.start + window->geometry.size - 1;
}

static u64 tce_window_nr(const struct tce_window *window)
{
	return window->geometry.size >> window->geometry.page_shift;
}

/* The number of the window that has all of a range, or negative */
static int tce_window_of(const struct tce_domain *td, u64 iova, u64 size)
{
	u64 last = iova + size - 1;

	for (int num = 0; num < td->nr_windows; num++) {
		if (iova >= td->windows[num].geometry.start && iova <= last &&
		    last <= tce_window_last(&td->windows[num]))
			return num;
	}
	return -ERANGE;
}

/*
 * Where TCE @index is, or NULL if its table is missing. *@left is the number of
 * TCEs from there to the end of the table, be it there or not.
 */
static const __be64 *tce_window_leaf(const struct tce_window *window, u64 index,
				     u64 *left)
{
	const u64 mask = BIT_ULL(TCE_LEVEL_SHIFT) - 1;
	const __be64 *table = pt_iommu_tce_top(&window->pt);
	unsigned int shift = window->top_level * TCE_LEVEL_SHIFT;

	for (; shift; shift -= TCE_LEVEL_SHIFT) {
		u64 tce = be64_to_cpu(READ_ONCE(table[(index >> shift) & mask]));

		if (!(tce & TCE_PERM)) {
			*left = BIT_ULL(shift) - (index & (BIT_ULL(shift) - 1));
			return NULL;
		}
		table = __va(tce & ~(u64)(SZ_4K - 1));
	}
	*left = mask + 1 - (index & mask);
	return table + (index & mask);
}

/**
 * tce_window_read - Copy TCEs out of the table of a window
 * @window: The window
 * @index: The first TCE
 * @nr: Number of TCEs
 * @tces: Where they go, as they are in the table. Missing ones are 0
 *
 * Context: Any. Either the caller knows that these stay as they are, or it has
 * the lock of the domain.
 */
void tce_window_read(const struct tce_window *window, u64 index,
		     unsigned int nr, __be64 *tces)
{
	while (nr) {
		const __be64 *leaf;
		unsigned int count;
		u64 left;

		leaf = tce_window_leaf(window, index, &left);
		count = min_t(u64, nr, left);
		/* Another one may be mapping others of them: each as a whole */
		for (unsigned int i = 0; i < count; i++)
			tces[i] = leaf ? READ_ONCE(leaf[i]) : 0;
		index += count;
		tces += count;
		nr -= count;
	}
}

/*
 * The first and the last TCE of a chunk that are there; false if there is none
 */
static bool tce_chunk_used(const struct tce_window *window, u64 index,
			   unsigned int nr, unsigned int *first,
			   unsigned int *last)
{
	bool used = false;
	u64 left;

	/* A table has a multiple of TCE_CHUNK, and chunks are aligned */
	const __be64 *leaf = tce_window_leaf(window, index, &left);

	if (!leaf)
		return false;
	for (unsigned int i = 0; i < nr; i++) {
		if (!leaf[i])
			continue;
		if (!used || i < *first)
			*first = i;
		*last = i;
		used = true;
	}
	return used;
}

/*
 * Copy what a window has to the hypervisor's table, and clear in it what the
 * window @old has besides. With @clear, clear what the window has, as far as
 * that works. Not more than a call for each TCE_CHUNK.
 */
static int tce_window_push(const struct tce_paging_ops *ops,
			   struct iommu_table_group *table_group, int num,
			   const struct tce_window *window,
			   const struct tce_window *old, bool clear)
{
	u64 nr = tce_window_nr(window);

	for (u64 index = 0; index < nr;) {
		unsigned int count = min_t(u64, nr - index, TCE_CHUNK);
		unsigned int first = 0, last = 0, f = 0, l = 0;
		u64 left, old_left = U64_MAX;
		bool used;
		int rc;

		/* Skip what neither has a table for */
		if (!tce_window_leaf(window, index, &left) &&
		    (!old || !tce_window_leaf(old, index, &old_left))) {
			index += min(left, old_left);
			continue;
		}

		used = tce_chunk_used(window, index, count, &first, &last);
		if (old && tce_chunk_used(old, index, count, &f, &l)) {
			first = used ? min(first, f) : f;
			last = used ? max(last, l) : l;
			used = true;
		}
		if (used) {
			rc = ops->update(table_group, num, window,
					 index + first, last - first + 1,
					 clear);
			if (rc && !clear)
				return rc;
		}
		index += count;
		cond_resched();
	}
	return 0;
}

/*
 * Attach and detach
 */

/* The firmware refuses what it granted before. DMA of the group fails then. */
#define tce_group_err(table_group, fmt, ...)			\
	pr_err("iommu group %d: " fmt,				\
	       iommu_group_id((table_group)->group), ##__VA_ARGS__)

static void tce_group_link(struct tce_domain *td,
			   struct iommu_table_group *table_group)
{
	lockdep_assert_held(&tce_groups_lock);
	lockdep_assert_held_write(&td->lock);

	list_add_tail(&table_group->paging_item, &td->groups);
	WRITE_ONCE(table_group->paging, &td->domain);
}

static void tce_group_unlink(struct tce_domain *td,
			     struct iommu_table_group *table_group)
{
	lockdep_assert_held(&tce_groups_lock);
	lockdep_assert_held_write(&td->lock);

	list_del(&table_group->paging_item);
	WRITE_ONCE(table_group->paging, NULL);
}

static void tce_windows_unset(struct tce_domain *td,
			      struct iommu_table_group *table_group,
			      unsigned int nr)
{
	/*
	 * A window is to be clean before it is removed, and the default one may
	 * not be removed at all.
	 */
	while (nr--) {
		if (td->ops->pushes)
			tce_window_push(td->ops, table_group, nr,
					&td->windows[nr], NULL, true);
		td->ops->unset_window(table_group, nr);
	}
}

static int tce_domain_install(struct tce_domain *td,
			      struct iommu_table_group *table_group)
{
	int num, rc;

	guard(rwsem_write)(&td->lock);

	for (num = 0; num < td->nr_windows; num++) {
		struct tce_window *window = &td->windows[num];

		rc = td->ops->set_window(table_group, num, window, false);
		if (rc)
			goto err_unset;
		if (!td->ops->pushes)
			continue;
		rc = tce_window_push(td->ops, table_group, num, window, NULL,
				     false);
		if (rc) {
			num++;
			goto err_unset;
		}
	}
	tce_group_link(td, table_group);
	return 0;

err_unset:
	tce_windows_unset(td, table_group, num);
	return rc;
}

static int tce_window_replace(struct tce_domain *td, struct tce_domain *old,
			      struct iommu_table_group *table_group, int num)
{
	struct tce_window *window = &td->windows[num];
	int rc;

	rc = td->ops->set_window(table_group, num, window, true);
	if (rc || !td->ops->pushes)
		return rc;
	return tce_window_push(td->ops, table_group, num, window,
			       &old->windows[num], false);
}

/* Give the windows of a group the tables of another domain. */
static int tce_domain_replace(struct tce_domain *td, struct tce_domain *old,
			      struct iommu_table_group *table_group)
{
	int num, rc;

	/* Nobody else takes two of these locks, tce_groups_lock sees to it. */
	guard(rwsem_write)(&old->lock);
	down_write_nested(&td->lock, SINGLE_DEPTH_NESTING);

	for (num = 0; num < td->nr_windows; num++) {
		rc = tce_window_replace(td, old, table_group, num);
		if (rc)
			goto err_restore;
	}
	tce_group_unlink(old, table_group);
	tce_group_link(td, table_group);
	up_write(&td->lock);
	return 0;

err_restore:
	/* It was there a moment ago, nothing new is needed. */
	for (; num >= 0; num--) {
		if (tce_window_replace(old, td, table_group, num))
			tce_group_err(table_group, "cannot restore window %d\n",
				      num);
	}
	up_write(&td->lock);
	return rc;
}

/**
 * spapr_tce_paging_detach - Take a group from the paging domain that it has
 * @table_group: The group
 *
 * Removes the windows of the group, so that no DMA is possible. Does nothing if
 * the group has no paging domain: the core attaches each device of a group to
 * the next domain, and the first one did it.
 *
 * Context: May sleep. Called with the lock of the IOMMU group held.
 */
void spapr_tce_paging_detach(struct iommu_table_group *table_group)
{
	struct tce_domain *td;

	guard(mutex)(&tce_groups_lock);

	if (!table_group->paging)
		return;
	td = to_tce_domain(table_group->paging);

	guard(rwsem_write)(&td->lock);
	tce_windows_unset(td, table_group, td->nr_windows);
	tce_group_unlink(td, table_group);
}

/*
 * Take a group from a domain that has other windows, and give it those of this
 * one. Unlike a replacement, nothing can be reached in between.
 */
static int tce_domain_exchange(struct tce_domain *td, struct tce_domain *old,
			       struct iommu_table_group *table_group)
{
	int rc;

	scoped_guard(rwsem_write, &old->lock) {
		tce_windows_unset(old, table_group, old->nr_windows);
		tce_group_unlink(old, table_group);
	}
	rc = tce_domain_install(td, table_group);
	if (rc && tce_domain_install(old, table_group))
		tce_group_err(table_group, "cannot restore the windows\n");
	return rc;
}

static bool tce_domains_alike(struct tce_domain *td, struct tce_domain *old)
{
	if (td->nr_windows != old->nr_windows)
		return false;
	for (int num = 0; num < td->nr_windows; num++) {
		struct tce_geometry *own = &td->windows[num].geometry;
		struct tce_geometry *other = &old->windows[num].geometry;

		if (own->start != other->start || own->size != other->size ||
		    own->page_shift != other->page_shift)
			return false;
	}
	return true;
}

/* Can a group have the windows of the domain? */
static int tce_domain_fits(struct tce_domain *td,
			   struct iommu_table_group *table_group)
{
	struct tce_geometry geometry[IOMMU_TABLE_GROUP_MAX_TABLES] = {};
	int nr;

	if (table_group->ops->paging != td->ops)
		return -EINVAL;
	nr = td->ops->geometry(table_group, geometry, true);
	if (nr < 0)
		return nr;
	if (nr != td->nr_windows)
		return -EINVAL;
	while (nr--) {
		struct tce_geometry *own = &td->windows[nr].geometry;

		if (geometry[nr].start != own->start ||
		    geometry[nr].size < own->size ||
		    !(geometry[nr].pgsizes & BIT_ULL(own->page_shift)))
			return -EINVAL;
	}
	return 0;
}

/*
 * Called for each device of a group, the first of which does the work. -EINVAL
 * tells the core that another domain may do.
 */
static int tce_attach_dev(struct iommu_domain *domain, struct device *dev,
			  struct iommu_domain *old)
{
	struct iommu_table_group *table_group =
		iommu_group_get_iommudata(dev->iommu_group);
	bool owned = !old || old->type != IOMMU_DOMAIN_PLATFORM;
	struct tce_domain *td = to_tce_domain(domain);
	struct tce_domain *other;
	int rc;

	guard(mutex)(&tce_groups_lock);

	if (table_group->paging == domain) {
		set_iommu_table_base(dev, NULL);
		return 0;
	}
	rc = tce_domain_fits(td, table_group);
	if (rc)
		return rc;

	if (!owned) {
		rc = table_group->ops->take_ownership(table_group, dev);
		if (rc)
			return -EBUSY;
	}
	if (table_group->paging) {
		other = to_tce_domain(table_group->paging);
		if (tce_domains_alike(td, other))
			rc = tce_domain_replace(td, other, table_group);
		else
			rc = tce_domain_exchange(td, other, table_group);
	} else {
		rc = tce_domain_install(td, table_group);
	}
	if (rc && !owned)
		table_group->ops->release_ownership(table_group, dev);

	/* No DMA mapping of the kernel is to use the tables of a domain. */
	if (!rc)
		set_iommu_table_base(dev, NULL);
	return rc;
}

/*
 * Map, unmap, look up
 */

static int tce_map_pages(struct iommu_domain *domain, unsigned long iova,
			 phys_addr_t phys, size_t pgsize, size_t pgcount,
			 int prot, gfp_t gfp, size_t *mapped)
{
	struct tce_domain *td = to_tce_domain(domain);
	size_t size = pgsize * pgcount;
	struct tce_window *window;
	struct pt_iommu *pt;
	int num;

	num = tce_window_of(td, iova, size);
	if (num < 0)
		return num;
	window = &td->windows[num];

	/* The domain's pages are those of the window that has smaller ones */
	if (!IS_ALIGNED(iova | phys | size,
			BIT_ULL(window->geometry.page_shift)))
		return -EINVAL;

	if (td->ops->write_reads && (prot & IOMMU_WRITE))
		prot |= IOMMU_READ;

	pt = &window->pt.iommu;
	return pt->ops->map_range(pt, iova - window->geometry.start, phys,
				  size, prot, gfp, mapped);
}

/* Tell the platform of each group that a range of TCEs has changed. */
static int tce_domain_update(struct tce_domain *td, u64 iova, u64 last,
			     bool clear)
{
	struct iommu_table_group *table_group;
	int rc = 0;

	lockdep_assert_held(&td->lock);

	for (int num = 0; num < td->nr_windows; num++) {
		struct tce_window *window = &td->windows[num];
		u64 start = max(iova, window->geometry.start);
		u64 end = min(last, tce_window_last(window));
		u32 shift = window->geometry.page_shift;
		u64 index, nr;

		if (start > end)
			continue;
		index = (start - window->geometry.start) >> shift;
		nr = ((end - window->geometry.start) >> shift) - index + 1;
		list_for_each_entry(table_group, &td->groups, paging_item) {
			rc = td->ops->update(table_group, num, window, index,
					     nr, clear);
			if (rc && !clear)
				return rc;
		}
	}
	return rc;
}

static size_t tce_unmap_pages(struct iommu_domain *domain, unsigned long iova,
			      size_t pgsize, size_t pgcount,
			      struct iommu_iotlb_gather *gather)
{
	struct tce_domain *td = to_tce_domain(domain);
	struct iommu_iotlb_gather tables;
	size_t size = pgsize * pgcount;
	struct tce_window *window;
	struct pt_iommu *pt;
	int num;

	num = tce_window_of(td, iova, size);
	if (num < 0)
		return 0;
	window = &td->windows[num];
	if (!IS_ALIGNED(iova | size, BIT_ULL(window->geometry.page_shift)))
		return 0;

	pt = &window->pt.iommu;
	iommu_iotlb_gather_init(&tables);
	if (td->ops->pushes) {
		guard(rwsem_read)(&td->lock);
		size = pt->ops->unmap_range(pt, iova - window->geometry.start,
					    size, &tables);
		if (size)
			tce_domain_update(td, iova, iova + size - 1, true);
	} else {
		/* A host bridge is told each page, not those in between */
		if (iommu_iotlb_gather_is_disjoint(gather, iova, size))
			iommu_iotlb_sync(domain, gather);
		size = pt->ops->unmap_range(pt, iova - window->geometry.start,
					    size, &tables);
	}
	iommu_pages_list_splice(&tables.freelist, &gather->freelist);
	if (size)
		iommu_iotlb_gather_add_range(gather, iova, size);
	return size;
}

static int tce_iotlb_sync_map(struct iommu_domain *domain, unsigned long iova,
			      size_t size)
{
	struct tce_domain *td = to_tce_domain(domain);

	guard(rwsem_read)(&td->lock);
	return tce_domain_update(td, iova, iova + size - 1, false);
}

static void tce_iotlb_sync(struct iommu_domain *domain,
			   struct iommu_iotlb_gather *gather)
{
	struct tce_domain *td = to_tce_domain(domain);

	if (!td->ops->pushes) {
		guard(rwsem_read)(&td->lock);
		tce_domain_update(td, gather->start, gather->end, true);
	}
	iommu_put_pages_list(&gather->freelist);
}

static phys_addr_t tce_iova_to_phys(struct iommu_domain *domain,
				    dma_addr_t iova)
{
	struct tce_domain *td = to_tce_domain(domain);
	const struct tce_format *format;
	struct tce_window *window;
	int num;

	num = tce_window_of(td, iova, 1);
	if (num < 0)
		return 0;
	window = &td->windows[num];
	format = tce_format_of(window->geometry.page_shift);
	return format->iova_to_phys(&window->pt.iommu.domain,
				    iova - window->geometry.start);
}

/*
 * Alloc and free
 */

static void tce_domain_free(struct iommu_domain *domain)
{
	struct tce_domain *td = to_tce_domain(domain);

	WARN_ON(!list_empty(&td->groups));
	for (int num = 0; num < td->nr_windows; num++)
		pt_iommu_deinit(&td->windows[num].pt.iommu);
	kfree(td);
}

static const struct iommu_domain_ops tce_domain_ops = {
	.attach_dev	= tce_attach_dev,
	.map_pages	= tce_map_pages,
	.unmap_pages	= tce_unmap_pages,
	.iotlb_sync_map	= tce_iotlb_sync_map,
	.iotlb_sync	= tce_iotlb_sync,
	.iova_to_phys	= tce_iova_to_phys,
	.free		= tce_domain_free,
};

static int tce_window_init(struct tce_window *window, int nid)
{
	const struct tce_format *format =
		tce_format_of(window->geometry.page_shift);
	unsigned int bits = ilog2(tce_window_nr(window));
	struct pt_iommu_tce_cfg cfg = {};

	if (!format)
		return -EOPNOTSUPP;

	/* The top has as many entries as the levels below */
	window->top_level = bits ? (bits - 1) / TCE_LEVEL_SHIFT : 0;
	cfg.top_level = window->top_level;
	cfg.common.hw_max_vasz_lg2 = format->page_shift +
				     (window->top_level + 1) * TCE_LEVEL_SHIFT;
	cfg.common.hw_max_oasz_lg2 = TCE_OA_BITS;
	window->pt.iommu.nid = nid;
	return format->init(&window->pt, &cfg, GFP_KERNEL_ACCOUNT);
}

static void tce_domain_set_geometry(struct tce_domain *td)
{
	struct iommu_domain_geometry *geometry = &td->domain.geometry;
	struct tce_window *last = &td->windows[td->nr_windows - 1];
	u32 shift = td->windows[0].geometry.page_shift;

	geometry->force_aperture = true;
	geometry->aperture_start = td->windows[0].geometry.start;
	geometry->aperture_end = tce_window_last(last);
	if (td->nr_windows == 2) {
		if (last->geometry.start - 1 > tce_window_last(&td->windows[0])) {
			geometry->hole_start =
				tce_window_last(&td->windows[0]) + 1;
			geometry->hole_end = last->geometry.start - 1;
		}
		shift = min(shift, last->geometry.page_shift);
	}
	geometry->high_granule = BIT_ULL(last->geometry.page_shift);
	/*
	 * One size lets the core map a run with one call. iommufd takes none
	 * that is larger than a page: what is not aligned to the window's own
	 * pages is refused when it is mapped.
	 */
	td->domain.pgsize_bitmap = BIT_ULL(min_t(u32, shift, PAGE_SHIFT));
}

/* The page sizes that there is a format for */
static u64 tce_formats_pgsizes(void)
{
	u64 pgsizes = 0;

	for (int i = 0; i < ARRAY_SIZE(tce_formats); i++)
		pgsizes |= BIT_ULL(tce_formats[i].page_shift);
	return pgsizes;
}

static int tce_group_geometry(struct iommu_table_group *table_group,
			      struct tce_geometry *geometry, bool probe)
{
	int nr;

	if (!table_group || !table_group->ops || !table_group->ops->paging)
		return -ENODEV;

	guard(mutex)(&tce_groups_lock);

	nr = table_group->ops->paging->geometry(table_group, geometry, probe);
	for (int num = 0; num < nr; num++)
		geometry[num].pgsizes &= tce_formats_pgsizes();
	return nr;
}

/* Have the window that userspace asks for in place of the 64-bit one. */
static int tce_geometry_choose(struct tce_geometry *geometry, int nr,
			       const struct iommu_user_data *user_data)
{
	struct tce_geometry *window = &geometry[nr - 1];
	struct iommu_hwpt_spapr_tce data;
	int rc;

	rc = iommu_copy_struct_from_user(&data, user_data,
					 IOMMU_HWPT_DATA_SPAPR_TCE,
					 window_size);
	if (rc)
		return rc;
	if (data.__reserved)
		return -EOPNOTSUPP;
	if (!window->dynamic)
		return -ENODEV;

	if (data.page_shift) {
		if (data.page_shift >= 64 ||
		    !(window->pgsizes & BIT_ULL(data.page_shift)))
			return -EINVAL;
		window->page_shift = data.page_shift;
	}
	/*
	 * The limit is that of the TCEs, so smaller pages make a smaller window
	 */
	if (window->max_tces)
		window->size = min(window->size >> window->page_shift,
				   window->max_tces) << window->page_shift;
	if (data.window_size) {
		if (!is_power_of_2(data.window_size) ||
		    data.window_size > window->size)
			return -EINVAL;
		window->size = data.window_size;
	}
	return window->size < BIT_ULL(window->page_shift) ? -EINVAL : 0;
}

/**
 * spapr_tce_domain_alloc_paging - Allocate a paging domain
 * @dev: A device of the group that the domain is for in the first place
 * @flags: None is supported
 * @user_data: NULL, or a struct iommu_hwpt_spapr_tce, which chooses the 64-bit
 *             window
 *
 * Context: May sleep.
 * Return: The domain, or an error pointer:
 *  * -EBUSY: the platform has to try where the windows are, and cannot, as the
 *    kernel itself or a VFIO container uses them
 *  * -ENODEV: the group has no windows, not the one that @user_data is about, or
 *    not in the order of their addresses
 *  * -EINVAL: the platform does not have the window of @user_data
 *  * -EOPNOTSUPP: flags, or reserved fields that are not 0
 *  * -ENOMEM: no memory
 *  * what copying @user_data returns
 */
struct iommu_domain *
spapr_tce_domain_alloc_paging(struct device *dev, u32 flags,
			      const struct iommu_user_data *user_data)
{
	struct iommu_table_group *table_group =
		iommu_group_get_iommudata(dev->iommu_group);
	struct tce_geometry geometry[IOMMU_TABLE_GROUP_MAX_TABLES] = {};
	struct tce_domain *td;
	int nr, rc;

	if (flags)
		return ERR_PTR(-EOPNOTSUPP);

	nr = tce_group_geometry(table_group, geometry, true);
	if (nr < 0)
		return ERR_PTR(nr);
	if (WARN_ON(!nr))
		return ERR_PTR(-ENODEV);
	if (nr == 2 &&
	    geometry[1].start < geometry[0].start + geometry[0].size)
		return ERR_PTR(-ENODEV);
	if (user_data) {
		rc = tce_geometry_choose(geometry, nr, user_data);
		if (rc)
			return ERR_PTR(rc);
	}

	td = kzalloc_obj(*td, GFP_KERNEL_ACCOUNT);
	if (!td)
		return ERR_PTR(-ENOMEM);
	init_rwsem(&td->lock);
	INIT_LIST_HEAD(&td->groups);
	td->ops = table_group->ops->paging;

	for (int num = 0; num < nr; num++) {
		td->windows[num].geometry = geometry[num];
		rc = tce_window_init(&td->windows[num], dev_to_node(dev));
		td->nr_windows = num + 1;
		if (rc)
			goto err_free;
	}

	tce_domain_set_geometry(td);
	td->domain.type = IOMMU_DOMAIN_UNMANAGED;
	td->domain.ops = &tce_domain_ops;
	return &td->domain;

err_free:
	tce_domain_free(&td->domain);
	return ERR_PTR(rc);
}

/**
 * spapr_tce_hw_info - Say which windows a device can have
 * @dev: The device
 * @length: Size of what is returned
 * @type: IOMMU_HW_INFO_TYPE_SPAPR_TCE, or the default in its place
 *
 * Context: May sleep.
 * Return: A struct iommu_hw_info_spapr_tce to be freed, or an error pointer as
 * from spapr_tce_domain_alloc_paging()
 */
void *spapr_tce_hw_info(struct device *dev, u32 *length,
			enum iommu_hw_info_type *type)
{
	struct tce_geometry geometry[IOMMU_TABLE_GROUP_MAX_TABLES] = {};
	struct iommu_hw_info_spapr_tce *info;
	int nr;

	static_assert(ARRAY_SIZE(info->windows) == IOMMU_TABLE_GROUP_MAX_TABLES);

	if (*type != IOMMU_HW_INFO_TYPE_DEFAULT &&
	    *type != IOMMU_HW_INFO_TYPE_SPAPR_TCE)
		return ERR_PTR(-EOPNOTSUPP);

	nr = tce_group_geometry(iommu_group_get_iommudata(dev->iommu_group),
				geometry, true);
	if (nr < 0)
		return ERR_PTR(nr);

	info = kzalloc_obj(*info);
	if (!info)
		return ERR_PTR(-ENOMEM);
	info->nr_windows = nr;
	for (int num = 0; num < nr; num++) {
		info->windows[num].start = geometry[num].start;
		info->windows[num].size = geometry[num].size;
		info->windows[num].pgsizes = geometry[num].pgsizes;
		info->windows[num].page_shift = geometry[num].page_shift;
	}
	*length = sizeof(*info);
	*type = IOMMU_HW_INFO_TYPE_SPAPR_TCE;
	return info;
}

/**
 * spapr_tce_group_geometry - Say which windows a paging domain of a group has
 * @group: The group
 * @geometry: Room for IOMMU_TABLE_GROUP_MAX_TABLES windows
 *
 * Context: May sleep. Anybody may ask, the owner of the group or not.
 * Return: The number of windows, or
 *  * -EBUSY: the platform has to try where the windows are, which is for the
 *    owner of the group
 *  * -ENODEV: the group has no windows
 */
int spapr_tce_group_geometry(struct iommu_group *group,
			     struct tce_geometry *geometry)
{
	return tce_group_geometry(iommu_group_get_iommudata(group), geometry,
				  false);
}
EXPORT_SYMBOL_NS_GPL(spapr_tce_group_geometry, "IOMMUFD");

/**
 * spapr_tce_domain_geometry - Say which windows a domain has
 * @domain: Any domain
 * @geometry: Room for IOMMU_TABLE_GROUP_MAX_TABLES windows
 *
 * Context: Any.
 * Return: The number of windows, or -EINVAL if it is no domain over TCE tables.
 */
int spapr_tce_domain_geometry(struct iommu_domain *domain,
			      struct tce_geometry *geometry)
{
	struct tce_domain *td;

	if (domain->ops != &tce_domain_ops)
		return -EINVAL;
	td = to_tce_domain(domain);
	for (int num = 0; num < td->nr_windows; num++)
		geometry[num] = td->windows[num].geometry;
	return td->nr_windows;
}
EXPORT_SYMBOL_NS_GPL(spapr_tce_domain_geometry, "IOMMUFD");

MODULE_IMPORT_NS("GENERIC_PT_IOMMU");
