// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device without an IOMMU beside another device, in the same IOAS.
 *
 * Usage: vfio_noiommu_pair_test [harness options] BDF BDF
 *
 * The first device must have no IOMMU. If the second one has none either, the
 * noiommu_pair tests run, else the noiommu_mixed tests.
 */
#include <linux/iommufd.h>
#include <linux/sizes.h>

#include <libvfio.h>

#include "noiommu_test.h"

static const char *bdf2;

/* Two devices without an IOMMU */

FIXTURE(noiommu_pair) {
	struct noiommu n;
	int cdev2;
	u32 devid2;
};

FIXTURE_SETUP(noiommu_pair)
{
	if (!bdf2 || !cdev_is_noiommu(bdf2))
		SKIP(return, "needs a second device without an IOMMU");

	noiommu_open(&self->n, bdf);
	self->cdev2 = open_cdev(bdf2);
	ASSERT_GE(self->cdev2, 0);
	ASSERT_EQ(0, cdev_bind(self->cdev2, self->n.iommufd, &self->devid2));
	ASSERT_NE(self->n.devid, self->devid2);
}

FIXTURE_TEARDOWN(noiommu_pair)
{
	noiommu_close(&self->n);
	close(self->cdev2);
}

TEST_F(noiommu_pair, share_an_ioas)
{
	struct noiommu *n = &self->n;
	void *va = alloc_mem(SZ_64K, 0);
	u32 pt_id = n->ioas, pt_id2 = n->ioas;

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, cdev_attach(n->cdev, &pt_id));
	ASSERT_EQ(0, cdev_attach(self->cdev2, &pt_id2));
	ASSERT_EQ(pt_id, pt_id2);

	/* Whichever is left keeps the HWPT and the answer */
	ASSERT_EQ(0, cdev_detach(n->cdev));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	ASSERT_EQ(0, cdev_detach(self->cdev2));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	ASSERT_EQ(0, cdev_detach(n->cdev));
	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
}

TEST_F(noiommu_pair, replace_one)
{
	void *va = alloc_mem(SZ_64K, 0);
	struct noiommu *n = &self->n;
	struct noiommu other = *n;

	ASSERT_EQ(0, ioas_alloc(n->iommufd, &other.ioas));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, map(n->iommufd, other.ioas, va, SZ_64K, SZ_1G));
	ASSERT_EQ(0, cdev_attach_to(n->cdev, n->ioas));
	ASSERT_EQ(0, cdev_attach_to(self->cdev2, n->ioas));
	ASSERT_EQ(0, cdev_attach_to(self->cdev2, other.ioas));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	check_mapping(_metadata, &other, SZ_1G, va, SZ_64K);

	ASSERT_EQ(0, close(n->cdev));
	n->cdev = -1;
	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
	check_mapping(_metadata, &other, SZ_1G, va, SZ_64K);
}

TEST_F(noiommu_pair, use_a_hwpt_of_the_other)
{
	void *va = alloc_mem(SZ_64K, 0);
	struct noiommu *n = &self->n;
	u32 hwpt;

	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, n->ioas, 0, &hwpt));
	ASSERT_EQ(0, cdev_attach_to(self->cdev2, hwpt));
	ASSERT_EQ(0, close(n->cdev));
	n->cdev = -1;
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
}

/* A device without an IOMMU beside one that has an IOMMU */

FIXTURE(noiommu_mixed) {
	struct noiommu n;
	int cdev2;
	u32 devid2;
};

FIXTURE_VARIANT(noiommu_mixed) {
	bool iommu_first;
};

FIXTURE_VARIANT_ADD(noiommu_mixed, iommu_first) {
	.iommu_first = true,
};

FIXTURE_VARIANT_ADD(noiommu_mixed, noiommu_first) {
	.iommu_first = false,
};

FIXTURE_SETUP(noiommu_mixed)
{
	if (!bdf2 || cdev_is_noiommu(bdf2))
		SKIP(return, "needs a second device, with an IOMMU");

	noiommu_open(&self->n, bdf);
	self->cdev2 = open_cdev(bdf2);
	ASSERT_GE(self->cdev2, 0);
	ASSERT_EQ(0, cdev_bind(self->cdev2, self->n.iommufd, &self->devid2));
}

FIXTURE_TEARDOWN(noiommu_mixed)
{
	noiommu_close(&self->n);
	close(self->cdev2);
}

TEST_F(noiommu_mixed, share_an_ioas)
{
	struct noiommu *n = &self->n;
	int first = variant->iommu_first ? self->cdev2 : n->cdev;
	int second = variant->iommu_first ? n->cdev : self->cdev2;
	u32 first_pt = n->ioas, second_pt = n->ioas;
	void *va = alloc_mem(SZ_64K, 0), *va2 = alloc_mem(SZ_64K, 0);

	/* One area from before both HWPTs, one from between them, one after */
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	ASSERT_EQ(0, cdev_attach(first, &first_pt));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va2, SZ_64K, SZ_1G));
	ASSERT_EQ(0, cdev_attach(second, &second_pt));
	ASSERT_NE(first_pt, second_pt);
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va2, SZ_64K, SZ_2G));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);
	check_mapping(_metadata, n, SZ_1G, va2, SZ_64K);
	check_mapping(_metadata, n, SZ_2G, va2, SZ_64K);

	ASSERT_EQ(0, cdev_detach(self->cdev2));
	check_mapping(_metadata, n, SZ_1G, va2, SZ_64K);
	ASSERT_EQ(0, cdev_attach_to(self->cdev2, n->ioas));
	ASSERT_EQ(0, unmap(n->iommufd, n->ioas, SZ_1G, SZ_64K));
	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, SZ_1G));
	check_mapping(_metadata, n, SZ_2G, va2, SZ_64K);

	/* Mapped, but no longer for a device without an IOMMU */
	ASSERT_EQ(0, cdev_detach(n->cdev));
	ASSERT_EQ(-EOPNOTSUPP, try_get_pa(n->iommufd, n->ioas, TEST_IOVA));
	ASSERT_EQ(-ENOENT, try_get_pa(n->iommufd, n->ioas, SZ_1G));
}

struct iova_ranges {
	struct iommu_iova_range range[16];
	u32 num;
};

/*
 * Without what is reserved, as the window for MSIs of a device behind an IOMMU
 */
static void read_iova_ranges(struct noiommu *n, struct iova_ranges *ranges)
{
	struct iommu_ioas_iova_ranges args = {
		.size = sizeof(args),
		.ioas_id = n->ioas,
		.num_iovas = ARRAY_SIZE(ranges->range),
		.allowed_iovas = (uintptr_t)ranges->range,
	};
	int ret;

	memset(ranges, 0, sizeof(*ranges));
	ret = do_ioctl(n->iommufd, IOMMU_IOAS_IOVA_RANGES, &args);
	VFIO_ASSERT_EQ(ret, 0);
	ranges->num = args.num_iovas;
}

TEST_F(noiommu_mixed, do_not_swap_hwpts)
{
	struct iova_ranges before, after;
	struct noiommu *n = &self->n;
	u32 hwpt, hwpt2;
	void *va = alloc_mem(SZ_64K, 0);

	ASSERT_EQ(0, hwpt_alloc(n->iommufd, n->devid, n->ioas, 0, &hwpt));
	ASSERT_EQ(0, hwpt_alloc(n->iommufd, self->devid2, n->ioas, 0, &hwpt2));
	ASSERT_EQ(-EINVAL, cdev_attach_to(n->cdev, hwpt2));
	ASSERT_EQ(-EINVAL, cdev_attach_to(self->cdev2, hwpt));

	/* Nor as a replacement, and a failed one leaves all as it was */
	ASSERT_EQ(0, cdev_attach_to(n->cdev, hwpt));
	ASSERT_EQ(0, cdev_attach_to(self->cdev2, hwpt2));
	read_iova_ranges(n, &before);
	ASSERT_LT(1, before.num);
	ASSERT_EQ(-EINVAL, cdev_attach_to(n->cdev, hwpt2));
	ASSERT_EQ(-EINVAL, cdev_attach_to(self->cdev2, hwpt));
	read_iova_ranges(n, &after);
	ASSERT_EQ(0, memcmp(&before, &after, sizeof(before)));
	ASSERT_EQ(0, map(n->iommufd, n->ioas, va, SZ_64K, TEST_IOVA));
	check_mapping(_metadata, n, TEST_IOVA, va, SZ_64K);

	ASSERT_EQ(0, cdev_detach(n->cdev));
	ASSERT_EQ(0, cdev_detach(self->cdev2));
	ASSERT_EQ(0, destroy(n->iommufd, hwpt));
	ASSERT_EQ(0, destroy(n->iommufd, hwpt2));
}

int main(int argc, char *argv[])
{
	char **bdfs;
	int nr_bdfs;

	bdfs = noiommu_test_init(&argc, argv, &nr_bdfs);
	noiommu_require(bdf);
	if (nr_bdfs > 1)
		bdf2 = bdfs[1];
	return test_harness_run(argc, argv);
}
