// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls of an IOAS that only a noiommu device has a use for: the physical
 * address of an IOVA, and those of a range of it.
 *
 * The answer is read from the iommu_domain of a noiommu HWPT, which holds every
 * fully mapped area of the io_pagetable. io_pagetable::iova_rwsem keeps both:
 * an area has pages only while the domain is filled. Only a dma-buf can be
 * revoked all the same, its iopt_pages::mutex prevents that. A range can be
 * long, so it is looked at in pieces. The locks are dropped after a piece when
 * somebody waits for iova_rwsem or for the CPU, after some pieces in any case,
 * and to write to user memory, where a fault can take any time.
 */
#include <linux/capability.h>
#include <linux/log2.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/iommufd.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

/*
 * How many pieces to look at before the locks are dropped in any case. A piece
 * is a call of iommu_iova_to_phys_extents(), which takes some tens of
 * microseconds.
 */
#define NOIOMMU_MAX_PIECES 64

/* The smallest page of a noiommu domain, which areas are aligned to */
#define NOIOMMU_MIN_PAGE SZ_4K

/*
 * How many extents to collect before they are written to user memory. With the
 * one more they are 8 KiB.
 */
#define NOIOMMU_MAX_EXTENTS 511

/* How many pages of a page list to write before looking for a signal */
#define NOIOMMU_MAX_PAGES 512

/* The most that an entry of user space's array can grow to */
#define NOIOMMU_MAX_ENTRY_LEN 256

/* Physically contiguous extents, as far as they have been looked at */
struct noiommu_scan {
	/* The next IOVA to look at, and the last one that may be */
	unsigned long iova;
	unsigned long last_iova;
	/* The scan goes on into the areas that follow without a gap */
	bool many_areas;
	/* With room for one more, to see that the last one does not go on */
	struct phys_vec *extents;
	unsigned int num_extents;
	unsigned int max_extents;
	/* Another one was found, and iova is no longer right */
	bool is_full;
};

static bool noiommu_scan_done(struct noiommu_scan *scan)
{
	/* At the very end of the IOVA space iova wraps around */
	return scan->is_full || scan->iova - 1 == scan->last_iova;
}

static struct iommu_domain *iopt_find_noiommu_domain(struct io_pagetable *iopt)
{
	struct iommu_domain *domain;
	unsigned long index;

	xa_for_each(&iopt->domains, index, domain)
		if (domain->owner == &iommufd_noiommu_ops)
			return domain;
	return NULL;
}

/* Any noiommu domain does, all domains of an iopt hold the same PFNs */
static inline struct iommu_domain *
iopt_area_noiommu_domain(struct iopt_area *area)
{
	struct iommu_domain *domain = area->storage_domain;

	lockdep_assert_held(&area->iopt->iova_rwsem);

	/* If all devices are without an IOMMU it is the first one */
	if (domain && domain->owner == &iommufd_noiommu_ops)
		return domain;
	return iopt_find_noiommu_domain(area->iopt);
}

/*
 * An area that has pages is mapped from its first to its last byte. So all of
 * the range is covered, unless the array or the call ended first.
 */
static int noiommu_scan_domain(struct noiommu_scan *scan,
			       struct iommu_domain *domain,
			       unsigned long last_iova)
{
	struct phys_vec *extents = &scan->extents[scan->num_extents];
	unsigned int room = scan->max_extents - scan->num_extents;
	unsigned long length = last_iova - scan->iova + 1;
	bool goes_on;
	int num, i;

	/* Within a page there is nothing to merge */
	if ((scan->iova ^ last_iova) < NOIOMMU_MIN_PAGE) {
		extents->paddr = iommu_iova_to_phys(domain, scan->iova);
		extents->len = length;
		num = 1;
	} else {
		num = iommu_iova_to_phys_extents(domain, scan->iova, length,
						 extents, room + 1);
		if (num < 0)
			return -ENOENT;
	}

	/* The one that was found last can go on */
	goes_on = scan->num_extents &&
		  extents[0].paddr == extents[-1].paddr + extents[-1].len;
	if (num - goes_on > room) {
		scan->is_full = true;
		num--;
	} else {
		for (length = 0, i = 0; i != num; i++)
			length += extents[i].len;
	}
	scan->iova += length;

	if (goes_on) {
		extents[-1].len += extents[0].len;
		num--;
		memmove(&extents[0], &extents[1], num * sizeof(extents[0]));
	}
	scan->num_extents += num;
	return 0;
}

static int noiommu_scan_area(struct noiommu_scan *scan,
			     struct iopt_area *area,
			     struct iommu_domain *domain)
{
	unsigned long last_iova = min(scan->last_iova, iopt_area_last_iova(area));
	bool is_dmabuf = iopt_is_dmabuf(area->pages);
	int rc;

	if (is_dmabuf) {
		rc = mutex_lock_killable(&area->pages->mutex);
		if (rc)
			return rc;
		if (iopt_dmabuf_revoked(area->pages)) {
			rc = -EINVAL;
			goto out_unlock;
		}
	}

	/* It may continue in the next area, but that is not ours to tell */
	if (!scan->many_areas)
		scan->last_iova = last_iova;
	rc = noiommu_scan_domain(scan, domain, last_iova);
out_unlock:
	if (is_dmabuf)
		mutex_unlock(&area->pages->mutex);
	return rc;
}

static int noiommu_scan_iopt(struct noiommu_scan *scan,
			     struct io_pagetable *iopt)
{
	struct iommu_domain *domain = NULL;
	struct iopt_area *area = NULL;
	unsigned int pieces = 0;
	int rc;

	rc = down_read_killable(&iopt->iova_rwsem);
	if (rc)
		return rc;

	do {
		if (!area || scan->iova > iopt_area_last_iova(area))
			area = iopt_area_iter_first(iopt, scan->iova,
						    scan->iova);
		/*
		 * Without pages it is still being mapped, or unmapped already
		 */
		if (!area || !area->pages) {
			rc = -ENOENT;
			break;
		}
		if (!domain)
			domain = iopt_area_noiommu_domain(area);
		if (!domain) {
			rc = -EOPNOTSUPP;
			break;
		}
		rc = noiommu_scan_area(scan, area, domain);
	} while (!rc && !noiommu_scan_done(scan) &&
		 ++pieces != NOIOMMU_MAX_PIECES && !need_resched() &&
		 !rwsem_is_contended(&iopt->iova_rwsem));

	up_read(&iopt->iova_rwsem);
	return rc;
}

/*
 * Fill the extents of the scan. An errno is the reason why it ended, it can
 * have found extents all the same.
 */
static int noiommu_scan(struct noiommu_scan *scan, struct io_pagetable *iopt)
{
	int rc;

	scan->num_extents = 0;
	scan->is_full = false;
	do {
		/* The killable locks only look for a signal when they wait */
		if (fatal_signal_pending(current))
			return -EINTR;
		rc = noiommu_scan_iopt(scan, iopt);
		if (rc || noiommu_scan_done(scan))
			return rc;
		cond_resched();
	} while (true);
}

static unsigned long noiommu_last_iova(unsigned long iova, u64 length)
{
	unsigned long last_iova;

	if (check_add_overflow(iova, min_t(u64, length, SIZE_MAX) - 1,
			       &last_iova))
		return ULONG_MAX;
	return last_iova;
}

/*
 * The range is within a page, or the page that follows is somewhere else: that
 * is a lookup or two. An area has all of a page. What goes on, fails, or is a
 * dma-buf is left to noiommu_get_pa_of_run().
 */
static bool noiommu_get_pa_of_page(struct io_pagetable *iopt,
				   unsigned long iova, unsigned long last_iova,
				   u64 *length, u64 *phys)
{
	unsigned long page_last = iova | (NOIOMMU_MIN_PAGE - 1);
	struct iommu_domain *domain;
	struct iopt_area *area;
	phys_addr_t paddr;
	bool found = false;

	if (down_read_killable(&iopt->iova_rwsem))
		return false;
	area = iopt_area_iter_first(iopt, iova, iova);
	if (!area || !area->pages || iopt_is_dmabuf(area->pages))
		goto out_unlock;
	domain = iopt_area_noiommu_domain(area);
	if (!domain)
		goto out_unlock;

	paddr = iommu_iova_to_phys(domain, iova);
	if (last_iova > page_last) {
		if (page_last != iopt_area_last_iova(area) &&
		    iommu_iova_to_phys(domain, page_last + 1) ==
			    paddr + (page_last - iova) + 1)
			goto out_unlock;
		last_iova = page_last;
	}
	*length = last_iova - iova + 1;
	*phys = paddr;
	found = true;
out_unlock:
	up_read(&iopt->iova_rwsem);
	return found;
}

/* Not inlined, what a page needs is less without the scan on its stack */
static noinline int noiommu_get_pa_of_run(struct io_pagetable *iopt,
					  unsigned long iova,
					  unsigned long last_iova, u64 *length,
					  u64 *phys)
{
	struct phys_vec extents[2] __uninitialized;
	struct noiommu_scan scan = {
		.iova = iova,
		.last_iova = last_iova,
		.extents = extents,
		.max_extents = 1,
	};
	int rc;

	rc = noiommu_scan(&scan, iopt);
	if (rc == -EINTR || (rc && !scan.num_extents))
		return rc;
	*length = extents[0].len;
	*phys = extents[0].paddr;
	return 0;
}

/**
 * iopt_noiommu_get_pa() - Physical address of an IOVA
 * @iopt: io_pagetable to look the IOVA up in
 * @iova: IOVA to look up
 * @length: Input the number of bytes to look at, at most and not 0. Output how
 *          many of them are physically contiguous.
 * @phys: Output the physical address
 *
 * The run ends with the area that has @iova. A run that somebody unmaps while
 * it is looked at ends there.
 *
 * Context: Process context, sleeps. Takes the iopt's iova_rwsem for read, and
 * the iopt_pages::mutex of a dma-buf.
 *
 * Return: 0, or -ENOENT if @iova is not mapped, -EOPNOTSUPP if no noiommu
 * domain is there, -EINVAL if @iova is in a revoked dma-buf, -EINTR if the
 * task was killed.
 */
static int iopt_noiommu_get_pa(struct io_pagetable *iopt, unsigned long iova,
			       u64 *length, u64 *phys)
{
	unsigned long last_iova = noiommu_last_iova(iova, *length);

	if (noiommu_get_pa_of_page(iopt, iova, last_iova, length, phys))
		return 0;
	return noiommu_get_pa_of_run(iopt, iova, last_iova, length, phys);
}

/* An array of user space, as far as it has been filled */
struct noiommu_array {
	/* The next entry, and how many there is room for from there on */
	void __user *uptr;
	u32 left;
	u32 entry_len;
	/* Of a page list, 0 for extents */
	u32 page_size;
	/* The next IOVA that an entry is for, and the last one */
	unsigned long iova;
	unsigned long last_iova;
};

static bool noiommu_array_done(struct noiommu_array *array)
{
	/* At the very end of the IOVA space iova wraps around */
	return !array->left || array->iova - 1 == array->last_iova;
}

/* What user space knows of an entry and the kernel does not is zeroed */
static __always_inline int __noiommu_put_extents(struct noiommu_array *array,
						 const struct phys_vec *extents,
						 const struct phys_vec *end,
						 u32 entry_len)
{
	unsigned long iova = array->iova;
	void __user *uptr = array->uptr;
	const void __user *start = uptr;
	int rc = -EFAULT;
	u32 i;

	if (!user_write_access_begin(uptr, (size_t)(end - extents) * entry_len))
		return -EFAULT;
	for (; extents != end; extents++) {
		struct iommu_noiommu_extent __user *entry = uptr;

		unsafe_put_user((u64)extents->paddr, &entry->phys, out_end);
		unsafe_put_user((u64)extents->len, &entry->length, out_end);
		for (i = sizeof(*entry); i < entry_len; i += sizeof(u64))
			unsafe_put_user(0ULL, (u64 __user *)(uptr + i), out_end);
		uptr += entry_len;
		iova += extents->len;
	}
	rc = 0;
out_end:
	user_write_access_end();
	array->left -= (uptr - start) / entry_len;
	array->uptr = uptr;
	array->iova = iova;
	return rc;
}

static int noiommu_put_extents(struct noiommu_array *array,
			       const struct phys_vec *extents,
			       unsigned int num_extents)
{
	const struct phys_vec *end = extents + num_extents;

	/* Let the compiler fold what nearly every caller says */
	if (array->entry_len == sizeof(struct iommu_noiommu_extent))
		return __noiommu_put_extents(array, extents, end,
				sizeof(struct iommu_noiommu_extent));
	return __noiommu_put_extents(array, extents, end, array->entry_len);
}

/* Cuts off of the extents what was written */
static int noiommu_put_pages(struct noiommu_array *array,
			     struct phys_vec *extents, unsigned int num_extents)
{
	const unsigned long page_size = array->page_size;
	const unsigned long offset_mask = page_size - 1;
	struct phys_vec *end = extents + num_extents;
	int rc;

	do {
		unsigned int room = min(array->left, NOIOMMU_MAX_PAGES);
		u64 __user *uptr = array->uptr;
		u64 __user *uend = uptr + room;
		unsigned long iova = array->iova;

		if (fatal_signal_pending(current))
			return -EINTR;
		if (!user_write_access_begin(uptr, room * sizeof(*uptr)))
			return -EFAULT;
		rc = 0;
		while (extents != end && uptr != uend) {
			size_t left = extents->len;
			u64 paddr = extents->paddr;

			if ((iova ^ paddr) & offset_mask) {
				rc = -ERANGE;
				break;
			}
			do {
				size_t len = page_size - (iova & offset_mask);

				if (left < len) {
					len = left;
					if (iova + len - 1 != array->last_iova) {
						rc = -ERANGE;
						break;
					}
				}
				unsafe_put_user(paddr, uptr, out_fault);
				uptr++;
				iova += len;
				paddr += len;
				left -= len;
			} while (left && uptr != uend);
			if (left) {
				extents->paddr = paddr;
				extents->len = left;
				break;
			}
			extents++;
		}
		goto out_end;
out_fault:
		rc = -EFAULT;
out_end:
		user_write_access_end();
		array->left -= uptr - (u64 __user *)array->uptr;
		array->uptr = uptr;
		array->iova = iova;
		cond_resched();
	} while (!rc && extents != end && array->left);
	return rc;
}

/*
 * Where the last page ends that there is room for, if the range goes that far
 */
static unsigned long noiommu_array_last_iova(struct noiommu_array *array)
{
	unsigned long first_last = array->iova | (array->page_size - 1UL);
	unsigned long bytes, last_iova;

	if (!array->page_size ||
	    check_mul_overflow(array->left - 1UL, (unsigned long)array->page_size,
			       &bytes) ||
	    check_add_overflow(first_last, bytes, &last_iova))
		return array->last_iova;
	return min(last_iova, array->last_iova);
}

/**
 * iopt_noiommu_get_pa_array() - Physical addresses of a range of IOVA
 * @iopt: io_pagetable to look the range up in
 * @array: The range, and where its physical addresses go. Output what is left.
 *
 * The extents are merged across areas that follow each other without a gap.
 * They end at the first IOVA that is not mapped, or where @array cannot be
 * written, and a page list where a page is not contiguous.
 *
 * Context: Process context, sleeps. Takes the iopt's iova_rwsem for read, and
 * the iopt_pages::mutex of dma-bufs. None of them is held while user memory is
 * written.
 *
 * Return: 0 if there is an entry. Without one as iopt_noiommu_get_pa() for the
 * first IOVA, -EFAULT if the entry cannot be written, -ERANGE if the page is
 * not contiguous. -ENOMEM, and -EINTR if the task was killed, in any case.
 */
static int iopt_noiommu_get_pa_array(struct io_pagetable *iopt,
				     struct noiommu_array *array)
{
	unsigned int max_extents = min(array->left, NOIOMMU_MAX_EXTENTS);
	const void __user *start = array->uptr;
	struct noiommu_scan scan = { .many_areas = true };
	int rc;

	scan.extents = kmalloc_objs(*scan.extents, max_extents + 1);
	if (!scan.extents)
		return -ENOMEM;

	do {
		int put_rc;

		scan.iova = array->iova;
		scan.last_iova = noiommu_array_last_iova(array);
		scan.max_extents = min(max_extents, array->left);
		rc = noiommu_scan(&scan, iopt);
		if (rc == -EINTR || !scan.num_extents)
			break;

		if (array->page_size)
			put_rc = noiommu_put_pages(array, scan.extents,
						   scan.num_extents);
		else
			put_rc = noiommu_put_extents(array, scan.extents,
						     scan.num_extents);
		if (put_rc)
			rc = put_rc;
	} while (!rc && !noiommu_array_done(array));

	kfree(scan.extents);
	if (rc != -EINTR && array->uptr != start)
		return 0;
	return rc;
}

int iommufd_ioas_noiommu_get_pa(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_noiommu_get_pa *cmd = ucmd->cmd;
	struct iommufd_ioas *ioas;
	int rc;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;

	if (cmd->flags || cmd->__reserved)
		return -EOPNOTSUPP;
	if (!cmd->length)
		return -EINVAL;
	if (cmd->iova >= ULONG_MAX)
		return -EOVERFLOW;

	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);

	rc = iopt_noiommu_get_pa(&ioas->iopt, cmd->iova, &cmd->length,
				 &cmd->out_phys);
	if (rc)
		goto out_put;

	rc = iommufd_ucmd_respond(ucmd, sizeof(*cmd));
out_put:
	iommufd_put_object(ucmd->ictx, &ioas->obj);
	return rc;
}

static int
noiommu_check_entry(const struct iommu_ioas_noiommu_get_pa_array *cmd)
{
	switch (cmd->data_type) {
	case IOMMU_NOIOMMU_PA_EXTENT:
		if (cmd->page_size ||
		    cmd->entry_len < sizeof(struct iommu_noiommu_extent) ||
		    cmd->entry_len > NOIOMMU_MAX_ENTRY_LEN ||
		    !IS_ALIGNED(cmd->entry_len, sizeof(u64)))
			return -EINVAL;
		return 0;
	case IOMMU_NOIOMMU_PA_PAGE:
		if (cmd->entry_len != sizeof(u64) ||
		    cmd->page_size < SZ_4K || !is_power_of_2(cmd->page_size))
			return -EINVAL;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

int iommufd_ioas_noiommu_get_pa_array(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_noiommu_get_pa_array *cmd = ucmd->cmd;
	struct noiommu_array array = {
		.uptr = u64_to_user_ptr(cmd->data_uptr),
		.left = cmd->entry_num,
		.entry_len = cmd->entry_len,
		.page_size = cmd->page_size,
		.iova = cmd->iova,
	};
	struct iommufd_ioas *ioas;
	int rc;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;

	if (cmd->flags || cmd->__reserved)
		return -EOPNOTSUPP;
	rc = noiommu_check_entry(cmd);
	if (rc)
		return rc;
	if (!cmd->length || !cmd->entry_num)
		return -EINVAL;
	if (cmd->iova >= ULONG_MAX)
		return -EOVERFLOW;
	/* So that no later check depends on how much of it is written */
	if (!access_ok(array.uptr, size_mul(cmd->entry_num, cmd->entry_len)))
		return -EFAULT;
	array.last_iova = noiommu_last_iova(cmd->iova, cmd->length);

	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);

	rc = iopt_noiommu_get_pa_array(&ioas->iopt, &array);
	if (rc)
		goto out_put;

	cmd->length = array.iova - (unsigned long)cmd->iova;
	cmd->entry_num -= array.left;
	rc = iommufd_ucmd_respond(ucmd, sizeof(*cmd));
out_put:
	iommufd_put_object(ucmd->ictx, &ioas->obj);
	return rc;
}
