// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctl of an IOAS that only a noiommu device has a use for: the physical
 * address of an IOVA.
 *
 * The answer is read from the iommu_domain of a noiommu HWPT, which holds every
 * fully mapped area of the io_pagetable. io_pagetable::domains_rwsem keeps that
 * domain, io_pagetable::iova_rwsem keeps the area, and iopt_pages::mutex keeps
 * a dma-buf from being revoked meanwhile. A range can be long, so all three are
 * dropped from time to time to let writers and other tasks run.
 */
#include <linux/capability.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <uapi/linux/iommufd.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

/* How many lookups to do before the locks are dropped */
#define NOIOMMU_SCAN_BATCH 512

/* A physically contiguous run, as far as it has been looked at */
struct noiommu_scan {
	/* The next IOVA to look at, and the last one that may be */
	unsigned long iova;
	unsigned long last_iova;
	phys_addr_t phys;
	u64 length;
};

static struct iommu_domain *iopt_noiommu_domain(struct io_pagetable *iopt)
{
	struct iommu_domain *domain;
	unsigned long index;

	lockdep_assert_held(&iopt->domains_rwsem);

	/* Any one does, all the domains of an iopt hold the same PFNs */
	xa_for_each(&iopt->domains, index, domain)
		if (domain->owner == &iommufd_noiommu_ops)
			return domain;
	return NULL;
}

/*
 * Extend the run by up to NOIOMMU_SCAN_BATCH entries. Return 1 if it may go on,
 * 0 if this is its end.
 */
static int noiommu_scan_domain(struct noiommu_scan *scan,
			       struct iommu_domain *domain)
{
	unsigned long last_offset = (1UL << __ffs(domain->pgsize_bitmap)) - 1;
	unsigned int i;

	for (i = 0; i != NOIOMMU_SCAN_BATCH; i++) {
		unsigned long last = scan->iova | last_offset;
		phys_addr_t phys;

		phys = iommu_iova_to_phys(domain, scan->iova);
		if (!scan->length) {
			if (!phys)
				return -ENOENT;
			scan->phys = phys;
		} else if (phys != scan->phys + scan->length) {
			return 0;
		}

		if (last >= scan->last_iova) {
			scan->length += scan->last_iova - scan->iova + 1;
			return 0;
		}
		scan->length += last - scan->iova + 1;
		scan->iova = last + 1;
	}
	return 1;
}

static int noiommu_scan_area(struct noiommu_scan *scan,
			     struct iopt_area *area,
			     struct iommu_domain *domain)
{
	int rc;

	rc = mutex_lock_killable(&area->pages->mutex);
	if (rc)
		return rc;

	if (iopt_dmabuf_revoked(area->pages)) {
		rc = -EINVAL;
		goto out_unlock;
	}

	/* The run may continue in the next area, but that is not ours to tell */
	scan->last_iova = min(scan->last_iova, iopt_area_last_iova(area));
	rc = noiommu_scan_domain(scan, domain);
out_unlock:
	mutex_unlock(&area->pages->mutex);
	return rc;
}

static int noiommu_scan_iopt(struct noiommu_scan *scan,
			     struct io_pagetable *iopt)
{
	struct iommu_domain *domain;
	struct iopt_area *area;
	int rc;

	rc = down_read_killable(&iopt->domains_rwsem);
	if (rc)
		return rc;
	rc = down_read_killable(&iopt->iova_rwsem);
	if (rc)
		goto out_unlock_domains;

	/* Without pages the area is still being mapped, or unmapped already */
	area = iopt_area_iter_first(iopt, scan->iova, scan->iova);
	if (!area || !area->pages) {
		rc = -ENOENT;
		goto out_unlock_iova;
	}

	domain = iopt_noiommu_domain(iopt);
	if (!domain) {
		rc = -EOPNOTSUPP;
		goto out_unlock_iova;
	}
	rc = noiommu_scan_area(scan, area, domain);

out_unlock_iova:
	up_read(&iopt->iova_rwsem);
out_unlock_domains:
	up_read(&iopt->domains_rwsem);
	return rc;
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
 * Context: Process context, sleeps. Takes the iopt's domains_rwsem and
 * iova_rwsem for read, and the iopt_pages::mutex of the area.
 *
 * Return: 0, or -ENOENT if @iova is not mapped, -EOPNOTSUPP if no noiommu
 * domain is there, -EINVAL if @iova is in a revoked dma-buf, -EINTR if the
 * task was killed.
 */
static int iopt_noiommu_get_pa(struct io_pagetable *iopt, unsigned long iova,
			       u64 *length, u64 *phys)
{
	struct noiommu_scan scan = { .iova = iova };
	int rc;

	if (check_add_overflow(iova, *length - 1, &scan.last_iova))
		scan.last_iova = ULONG_MAX;

	do {
		/* The killable locks only look for a signal when they wait */
		if (fatal_signal_pending(current))
			return -EINTR;
		rc = noiommu_scan_iopt(&scan, iopt);
		cond_resched();
	} while (rc > 0);

	if (rc == -EINTR || (rc && !scan.length))
		return rc;
	*length = scan.length;
	*phys = scan.phys;
	return 0;
}

int iommufd_ioas_noiommu_get_pa(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_noiommu_get_pa *cmd = ucmd->cmd;
	struct iommufd_ioas *ioas;
	unsigned long iova;
	int rc;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;

	if (cmd->flags || cmd->__reserved)
		return -EOPNOTSUPP;
	if (!cmd->length)
		return -EINVAL;
	if (check_add_overflow(cmd->iova, 0ULL, &iova))
		return -EOVERFLOW;

	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);

	rc = iopt_noiommu_get_pa(&ioas->iopt, iova, &cmd->length,
				 &cmd->out_phys);
	if (rc)
		goto out_put;

	rc = iommufd_ucmd_respond(ucmd, sizeof(*cmd));
out_put:
	iommufd_put_object(ucmd->ictx, &ioas->obj);
	return rc;
}
