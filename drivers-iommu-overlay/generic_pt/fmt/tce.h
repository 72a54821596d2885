/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCE tables of POWER
 *
 * A Translation Control Entry maps one page of the IOMMU. A DMA window has a
 * page size, and all of its TCEs are of that size, so there is an instance of
 * this format for each one.
 *
 * A guest of a hypervisor does not see the table, which is set by hypervisor
 * calls that take up to 512 TCEs in this format. On bare metal the host bridge
 * reads it (I/O Design Architecture, IODA2 and IODA3), with up to five levels.
 * There an entry of a higher level is the address of the next one, with R and W
 * set.
 *
 * All levels of a table have the same number of entries, the top as well: the
 * host bridge ignores the bits of an address above those that index the top.
 *
 * An entry is big-endian, whatever the CPU. There is no bit for what is
 * present: if neither R nor W is set the entry is empty.
 */
#ifndef __GENERIC_PT_FMT_TCE_H
#define __GENERIC_PT_FMT_TCE_H

#include "defs_tce.h"
#include "../pt_defs.h"

#include <linux/bitfield.h>
#include <linux/container_of.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>

/* Header self-compile default defines */
#ifndef TCE_GRANULE_LG2SZ
#define TCE_GRANULE_LG2SZ 12
#endif

enum {
	PT_MAX_OUTPUT_ADDRESS_LG2 = 60,
	PT_MAX_VA_ADDRESS_LG2 = 59,
	PT_ITEM_WORD_SIZE = sizeof(u64),
	PT_MAX_TOP_LEVEL = 4,
	PT_GRANULE_LG2SZ = TCE_GRANULE_LG2SZ,
	/* A table takes a page of the kernel, which is what can be allocated */
	PT_TABLEMEM_LG2SZ = PAGE_SHIFT,

	PT_TOP_PHYS_MASK = GENMASK_ULL(59, 12),
};

enum {
	TCE_FMT_R = BIT(0),
	TCE_FMT_W = BIT(1),
	TCE_FMT_OA = GENMASK_ULL(59, 12),
};

#define common_to_tce_pt(common_ptr) \
	container_of_const(common_ptr, struct pt_tce, common)
#define to_tce_pt(pts) common_to_tce_pt((pts)->range->common)

static inline u64 tce_pt_from_cpu(u64 entry)
{
	return (__force u64)cpu_to_be64(entry);
}

static inline u64 tce_pt_to_cpu(u64 tce)
{
	return be64_to_cpu((__force __be64)tce);
}

static inline pt_oaddr_t tce_pt_table_pa(const struct pt_state *pts)
{
	return pts->entry & TCE_FMT_OA;
}

#define pt_table_pa tce_pt_table_pa

static inline pt_oaddr_t tce_pt_entry_oa(const struct pt_state *pts)
{
	return pts->entry & TCE_FMT_OA;
}

#define pt_entry_oa tce_pt_entry_oa

static inline bool tce_pt_can_have_leaf(const struct pt_state *pts)
{
	return pts->level == 0;
}

#define pt_can_have_leaf tce_pt_can_have_leaf

static inline unsigned int tce_pt_num_items_lg2(const struct pt_state *pts)
{
	return PT_TABLEMEM_LG2SZ - ilog2(sizeof(u64));
}

#define pt_num_items_lg2 tce_pt_num_items_lg2

static inline enum pt_entry_type tce_pt_load_entry_raw(struct pt_state *pts)
{
	const u64 *tablep = pt_cur_table(pts, u64);
	u64 entry;

	entry = tce_pt_to_cpu(READ_ONCE(tablep[pts->index]));
	pts->entry = entry;
	if (!(entry & (TCE_FMT_R | TCE_FMT_W)))
		return PT_ENTRY_EMPTY;
	if (pts->level == 0)
		return PT_ENTRY_OA;
	return PT_ENTRY_TABLE;
}

#define pt_load_entry_raw tce_pt_load_entry_raw

static inline void tce_pt_install_leaf_entry(struct pt_state *pts,
					     pt_oaddr_t oa,
					     unsigned int oasz_lg2,
					     const struct pt_write_attrs *attrs)
{
	u64 *tablep = pt_cur_table(pts, u64);
	u64 entry;

	if (!pt_check_install_leaf_args(pts, oa, oasz_lg2))
		return;

	entry = (oa & TCE_FMT_OA) | attrs->descriptor_bits;
	WRITE_ONCE(tablep[pts->index], tce_pt_from_cpu(entry));
	pts->entry = entry;
}

#define pt_install_leaf_entry tce_pt_install_leaf_entry

static inline bool tce_pt_install_table(struct pt_state *pts,
					pt_oaddr_t table_pa,
					const struct pt_write_attrs *attrs)
{
	u64 entry = TCE_FMT_R | TCE_FMT_W | (table_pa & TCE_FMT_OA);
	bool ret;

	/* It compares with what is in memory */
	pts->entry = tce_pt_from_cpu(pts->entry);
	ret = pt_table_install64(pts, tce_pt_from_cpu(entry));
	pts->entry = tce_pt_to_cpu(pts->entry);
	return ret;
}

#define pt_install_table tce_pt_install_table

static inline void tce_pt_attr_from_entry(const struct pt_state *pts,
					  struct pt_write_attrs *attrs)
{
	attrs->descriptor_bits = pts->entry & (TCE_FMT_R | TCE_FMT_W);
}

#define pt_attr_from_entry tce_pt_attr_from_entry

/* --- iommu */
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>

#define pt_iommu_table pt_iommu_tce

/* The common struct is in the per-format common struct */
static inline struct pt_common *common_from_iommu(struct pt_iommu *iommu_table)
{
	return &container_of(iommu_table, struct pt_iommu_table, iommu)
			->tce_pt.common;
}

static inline struct pt_iommu *iommu_from_common(struct pt_common *common)
{
	return &container_of(common, struct pt_iommu_table, tce_pt.common)
			->iommu;
}

static inline int tce_pt_iommu_set_prot(struct pt_common *common,
					struct pt_write_attrs *attrs,
					unsigned int iommu_prot)
{
	if (!(iommu_prot & (IOMMU_READ | IOMMU_WRITE)))
		return -EINVAL;

	attrs->descriptor_bits = 0;
	if (iommu_prot & IOMMU_READ)
		attrs->descriptor_bits |= TCE_FMT_R;
	if (iommu_prot & IOMMU_WRITE)
		attrs->descriptor_bits |= TCE_FMT_W;
	return 0;
}

#define pt_iommu_set_prot tce_pt_iommu_set_prot

static inline int tce_pt_iommu_fmt_init(struct pt_iommu_tce *iommu_table,
					const struct pt_iommu_tce_cfg *cfg)
{
	struct pt_tce *table = &iommu_table->tce_pt;

	if (cfg->top_level > PT_MAX_TOP_LEVEL)
		return -EOPNOTSUPP;

	pt_top_set_level(&table->common, cfg->top_level);
	return 0;
}

#define pt_iommu_fmt_init tce_pt_iommu_fmt_init

#if defined(GENERIC_PT_KUNIT)
static const struct pt_iommu_tce_cfg tce_kunit_fmt_cfgs[] = {
	/*
	 * As many bits as two and three levels have or an entry can map, and
	 * fewer
	 */
	[0] = { .common.hw_max_vasz_lg2 = TCE_GRANULE_LG2SZ +
					  2 * (PT_TABLEMEM_LG2SZ - 3),
		.top_level = 1 },
	[1] = { .common.hw_max_vasz_lg2 = MIN(TCE_GRANULE_LG2SZ +
					      3 * (PT_TABLEMEM_LG2SZ - 3),
					      PT_MAX_VA_ADDRESS_LG2),
		.top_level = 2 },
	[2] = { .common.hw_max_vasz_lg2 = MIN(TCE_GRANULE_LG2SZ +
					      3 * (PT_TABLEMEM_LG2SZ - 3),
					      PT_MAX_VA_ADDRESS_LG2) - 4,
		.top_level = 2 },
};

#define kunit_fmt_cfgs tce_kunit_fmt_cfgs
enum { KUNIT_FMT_FEATURES = BIT(PT_FEAT_DYNAMIC_TOP) };
#endif
#endif
