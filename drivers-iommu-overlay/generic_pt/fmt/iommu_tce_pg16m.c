// SPDX-License-Identifier: GPL-2.0-only
#define TCE_GRANULE_LG2SZ 24
#define PT_FMT tce
#define PT_FMT_VARIANT pg16m
#define PT_SUPPORTED_FEATURES 0

#include "iommu_template.h"
