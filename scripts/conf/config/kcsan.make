# SPDX-License-Identifier: GPL-2.0
# What KCSAN watches. It samples: one access in some thousands is watched for some
# microseconds. Of those that a run makes, few are in the code that it is about.
KCSAN_SANITIZE=$(if $(filter drivers/iommu% drivers/vfio%,$(obj)),y,n)
