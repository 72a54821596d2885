// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copyright (c) 2026, NVIDIA CORPORATION & AFFILIATES
 *
 * An iommu_domain for devices that have no IOMMU.
 *
 * A HWPT needs an iommu_domain to hold its PFNs, and an iommu_domain needs an
 * IOMMU driver. For a device without an IOMMU this file is that driver, reduced
 * to what iommufd calls: allocate a paging domain, map, unmap, iova_to_phys and
 * free. There is no hardware behind it. An IOVA is a key in a software-only
 * page table and nothing else: it finds the pinned memory and its physical
 * address again, and the device never sees it.
 *
 * The table has the AMD v1 format because that one stores the widest choice of
 * page sizes: a physically contiguous run of memory takes few entries.
 *
 * The caller serializes all the operations on one range of IOVA, which iommufd
 * does with io_pagetable::iova_rwsem and its areas. noiommu_domain::top_lock
 * protects the top of the table when a map adds a level to it.
 */
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/slab.h>

#include "../iommu-pages.h"
#include "iommufd_private.h"

struct noiommu_domain {
	union {
		struct iommu_domain domain;
		struct pt_iommu_amdv1 amdv1;
	};
	/* Held while the top of the table changes */
	spinlock_t top_lock;
};

PT_IOMMU_CHECK_DOMAIN(struct noiommu_domain, amdv1.iommu, domain);

static struct noiommu_domain *to_noiommu_domain(struct iommu_domain *domain)
{
	return container_of(domain, struct noiommu_domain, domain);
}

/* No hardware has a pointer to the top that would have to follow */
static void noiommu_change_top(struct pt_iommu *iommu_table,
			       phys_addr_t top_paddr, unsigned int top_level)
{
}

static spinlock_t *noiommu_get_top_lock(struct pt_iommu *iommu_table)
{
	return &to_noiommu_domain(&iommu_table->domain)->top_lock;
}

static const struct pt_iommu_driver_ops noiommu_pt_ops = {
	.change_top = noiommu_change_top,
	.get_top_lock = noiommu_get_top_lock,
};

/*
 * There is no IOTLB that may still hold on to what was unmapped, but the page
 * table hands over the tables that an unmap emptied here.
 */
static void noiommu_iotlb_sync(struct iommu_domain *domain,
			       struct iommu_iotlb_gather *gather)
{
	iommu_put_pages_list(&gather->freelist);
}

static void noiommu_domain_free(struct iommu_domain *domain)
{
	struct noiommu_domain *noiommu = to_noiommu_domain(domain);

	pt_iommu_deinit(&noiommu->amdv1.iommu);
	kfree(noiommu);
}

/* No attach_dev: see iommufd_hw_pagetable_attach() for what takes its place */
static const struct iommu_domain_ops noiommu_domain_ops = {
	IOMMU_PT_DOMAIN_OPS(amdv1),
	.iotlb_sync = noiommu_iotlb_sync,
	.free = noiommu_domain_free,
};

static struct iommu_domain *
noiommu_domain_alloc_paging_flags(struct device *dev, u32 flags,
				  const struct iommu_user_data *user_data)
{
	/*
	 * Any IOVA and any physical address that the format can store. The
	 * format is compiled for AMD hardware and insists on all the features,
	 * which matter little here: only DYNAMIC_TOP, to start small.
	 */
	const struct pt_iommu_amdv1_cfg cfg = {
		.common.features = BIT(PT_FEAT_DYNAMIC_TOP) |
				   BIT(PT_FEAT_AMDV1_ENCRYPT_TABLES) |
				   BIT(PT_FEAT_AMDV1_FORCE_COHERENCE),
		.common.hw_max_vasz_lg2 = 64,
		.common.hw_max_oasz_lg2 = 52,
		.starting_level = 2,
	};
	struct noiommu_domain *noiommu;
	int rc;

	if (flags || user_data)
		return ERR_PTR(-EOPNOTSUPP);

	noiommu = kzalloc_obj(*noiommu);
	if (!noiommu)
		return ERR_PTR(-ENOMEM);

	spin_lock_init(&noiommu->top_lock);
	noiommu->domain.ops = &noiommu_domain_ops;
	noiommu->amdv1.iommu.driver_ops = &noiommu_pt_ops;
	noiommu->amdv1.iommu.nid = NUMA_NO_NODE;

	rc = pt_iommu_amdv1_init(&noiommu->amdv1, &cfg, GFP_KERNEL);
	if (rc)
		goto err_free;
	return &noiommu->domain;

err_free:
	kfree(noiommu);
	return ERR_PTR(rc);
}

const struct iommu_ops iommufd_noiommu_ops = {
	.domain_alloc_paging_flags = noiommu_domain_alloc_paging_flags,
};

MODULE_IMPORT_NS("GENERIC_PT_IOMMU");
