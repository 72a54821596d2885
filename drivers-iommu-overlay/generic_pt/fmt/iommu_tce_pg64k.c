// SPDX-License-Identifier: GPL-2.0-only
#define TCE_GRANULE_LG2SZ 16
#define PT_FMT tce
#define PT_FMT_VARIANT pg64k
#define PT_SUPPORTED_FEATURES 0

#include "iommu_template.h"
