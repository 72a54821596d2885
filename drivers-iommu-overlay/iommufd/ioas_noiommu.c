// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctl of an IOAS that only a noiommu device has a use for: the physical
 * address of an IOVA, or the physical extents of a range of it.
 *
 * The answer is read from the iommu_domain of a noiommu HWPT, which holds every
 * fully mapped area of the io_pagetable. io_pagetable::iova_rwsem keeps both: an
 * area has pages only while the domain is filled. Only a dma-buf can be revoked
 * all the same, its iopt_pages::mutex prevents that. A range can be long, so it is
 * looked at in pieces. The locks are dropped after a piece when somebody waits for
 * iova_rwsem or for the CPU, after some pieces in any case, and to write to user
 * memory, where a fault can take any time.
 */
#include <linux/capability.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/iommufd.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

/*
 * A piece: how much of an area to look at before asking if somebody waits. With
 * 4 KiB pages these are 4096 entries of the page table, which take some tens of
 * microseconds.
 */
#define NOIOMMU_PIECE_BYTES SZ_16M

/* How many of these to look at before the locks are dropped in any case */
#define NOIOMMU_MAX_PIECES 64

/*
 * How many extents to collect before they are written to user memory. With the
 * one more they are 8 KiB.
 */
#define NOIOMMU_MAX_EXTENTS 511

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

/* Any one does, all the domains of an iopt hold the same PFNs */
static struct iommu_domain *iopt_noiommu_domain(struct iopt_area *area)
{
	struct iommu_domain *domain = area->storage_domain;
	unsigned long index;

	lockdep_assert_held(&area->iopt->iova_rwsem);

	/* Of devices that all are without an IOMMU it is the first one */
	if (domain && domain->owner == &iommufd_noiommu_ops)
		return domain;
	xa_for_each(&area->iopt->domains, index, domain)
		if (domain->owner == &iommufd_noiommu_ops)
			return domain;
	return NULL;
}

/*
 * An area that has pages is mapped from its first to its last byte. So all of the
 * piece is covered, unless the array ended first.
 */
static int noiommu_scan_domain(struct noiommu_scan *scan,
			       struct iommu_domain *domain,
			       unsigned long last_iova)
{
	struct phys_vec *extents = &scan->extents[scan->num_extents];
	unsigned long length = min(last_iova - scan->iova,
				   NOIOMMU_PIECE_BYTES - 1UL) + 1;
	unsigned int room = scan->max_extents - scan->num_extents;
	bool has_ended;
	int num, i;

	/* Within a page there is nothing to merge */
	if (!((scan->iova ^ (scan->iova + length - 1)) >>
	      __ffs(domain->pgsize_bitmap))) {
		extents->paddr = iommu_iova_to_phys(domain, scan->iova);
		extents->len = length;
		num = 1;
		has_ended = false;
	} else {
		num = iommu_iova_to_phys_extents(domain, scan->iova, length,
						 extents, room + 1);
		if (num < 0)
			return -ENOENT;
		has_ended = num > room;
	}

	/* The one that was found last can go on */
	if (scan->num_extents &&
	    extents[0].paddr == extents[-1].paddr + extents[-1].len) {
		extents[-1].len += extents[0].len;
		if (has_ended)
			for (length = 0, i = 0; i != num; i++)
				length += extents[i].len;
		num--;
		memmove(&extents[0], &extents[1], num * sizeof(extents[0]));
	}
	if (num > room) {
		scan->is_full = true;
		num--;
	}
	scan->num_extents += num;
	scan->iova += length;
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
		/* Without pages it is still being mapped, or unmapped already */
		if (!area || !area->pages) {
			rc = -ENOENT;
			break;
		}
		if (!domain)
			domain = iopt_noiommu_domain(area);
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
 * Fill the extents of the scan. An errno is the reason why it ended, it can have
 * found extents all the same.
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
 * Context: Process context, sleeps. Takes the iopt's iova_rwsem for read, and the
 * iopt_pages::mutex of a dma-buf.
 *
 * Return: 0, or -ENOENT if @iova is not mapped, -EOPNOTSUPP if no noiommu
 * domain is there, -EINVAL if @iova is in a revoked dma-buf, -EINTR if the
 * task was killed.
 */
static int iopt_noiommu_get_pa(struct io_pagetable *iopt, unsigned long iova,
			       u64 *length, u64 *phys)
{
	struct phys_vec extents[2];
	struct noiommu_scan scan = {
		.iova = iova,
		.last_iova = noiommu_last_iova(iova, *length),
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

/* Return how many of them could be written, and how many bytes these cover */
static unsigned int
noiommu_put_extents(struct iommu_noiommu_extent __user *uptr,
		    const struct phys_vec *extents, unsigned int num_extents,
		    u64 *covered)
{
	unsigned int i = 0;
	u64 bytes = 0;

	if (!user_write_access_begin(uptr, num_extents * sizeof(*uptr)))
		return 0;
	for (; i != num_extents; i++) {
		u64 len = extents[i].len;

		unsafe_put_user((u64)extents[i].paddr, &uptr[i].phys, out_end);
		unsafe_put_user(len, &uptr[i].length, out_end);
		bytes += len;
	}
out_end:
	user_write_access_end();
	*covered += bytes;
	return i;
}

/**
 * iopt_noiommu_get_extents() - Physical extents of a range of IOVA
 * @iopt: io_pagetable to look the range up in
 * @iova: First IOVA to look up
 * @length: Input the number of bytes to look at, at most and not 0. Output how
 *          many of them the extents cover.
 * @uptr: User memory for the extents
 * @num_extents: Input the room at @uptr, not 0. Output the number of extents.
 *
 * The extents are merged across areas that follow each other without a gap. They
 * end at the first IOVA that is not mapped, or where @uptr cannot be written.
 *
 * Context: Process context, sleeps. Takes the iopt's iova_rwsem for read, and the
 * iopt_pages::mutex of dma-bufs. None of them is held while user memory is
 * written.
 *
 * Return: 0, or as iopt_noiommu_get_pa() for @iova, -EFAULT if not even the first
 * extent can be written, -ENOMEM.
 */
static int iopt_noiommu_get_extents(struct io_pagetable *iopt,
				    unsigned long iova, u64 *length,
				    struct iommu_noiommu_extent __user *uptr,
				    u32 *num_extents)
{
	unsigned int max_extents =
		min_t(u32, *num_extents, NOIOMMU_MAX_EXTENTS);
	struct noiommu_scan scan = {
		.last_iova = noiommu_last_iova(iova, *length),
		.many_areas = true,
	};
	u64 covered = 0;
	u32 done = 0;
	int rc;

	scan.extents = kmalloc_array(max_extents + 1, sizeof(*scan.extents),
				     GFP_KERNEL);
	if (!scan.extents)
		return -ENOMEM;

	do {
		unsigned int num;

		scan.iova = iova + covered;
		scan.max_extents = min(max_extents, *num_extents - done);
		rc = noiommu_scan(&scan, iopt);
		if (rc == -EINTR)
			goto out_free;

		num = noiommu_put_extents(uptr + done, scan.extents,
					  scan.num_extents, &covered);
		done += num;
		if (num != scan.num_extents)
			rc = -EFAULT;
	} while (!rc && scan.is_full && done != *num_extents);

	if (done) {
		*length = covered;
		*num_extents = done;
		rc = 0;
	}
out_free:
	kfree(scan.extents);
	return rc;
}

int iommufd_ioas_noiommu_get_pa(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_noiommu_get_pa *cmd = ucmd->cmd;
	struct iommufd_ioas *ioas;
	int rc;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;

	if ((cmd->flags & ~IOMMU_IOAS_NOIOMMU_GET_PA_EXTENTS) ||
	    cmd->__reserved || cmd->__reserved2)
		return -EOPNOTSUPP;
	if (!(cmd->flags & IOMMU_IOAS_NOIOMMU_GET_PA_EXTENTS)) {
		if (cmd->extents_uptr || cmd->num_extents)
			return -EOPNOTSUPP;
	} else if (!cmd->num_extents) {
		return -EINVAL;
	}
	if (!cmd->length)
		return -EINVAL;
	if (cmd->iova >= ULONG_MAX)
		return -EOVERFLOW;

	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);

	if (cmd->flags & IOMMU_IOAS_NOIOMMU_GET_PA_EXTENTS)
		rc = iopt_noiommu_get_extents(&ioas->iopt, cmd->iova,
					      &cmd->length,
					      u64_to_user_ptr(cmd->extents_uptr),
					      &cmd->num_extents);
	else
		rc = iopt_noiommu_get_pa(&ioas->iopt, cmd->iova,
					 &cmd->length, &cmd->out_phys);
	if (rc)
		goto out_put;

	rc = iommufd_ucmd_respond(ucmd, sizeof(*cmd));
out_put:
	iommufd_put_object(ucmd->ictx, &ioas->obj);
	return rc;
}
