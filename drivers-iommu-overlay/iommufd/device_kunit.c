// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit test of a device that gets an IOMMU driver while it is bound without
 * one. Part of device.c.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/sizes.h>

struct device_test {
	struct iommufd_ctx ictx;
	struct iommufd_ioas *ioas[2];
	struct iommufd_device *idev;
	struct iommu_device iommu;
	struct dev_iommu dev_iommu;
	struct device *dev;
	bool attached;
};

static const struct file_operations test_fops = {};

/*
 * What the IOMMU driver reserves must not be, so that nothing can be attached
 */
static void test_get_resv_regions(struct device *dev, struct list_head *head)
{
	struct iommu_resv_region *region;

	region = iommu_alloc_resv_region(0, SZ_1M, 0, IOMMU_RESV_RESERVED,
					 GFP_KERNEL);
	if (region)
		list_add_tail(&region->list, head);
}

static const struct iommu_ops test_iommu_ops = {
	.get_resv_regions = test_get_resv_regions,
};

static struct iommufd_ioas *alloc_ioas(struct kunit *test)
{
	struct device_test *priv = test->priv;
	struct rb_root_cached allowed_iova = RB_ROOT_CACHED;
	struct iopt_allowed *allowed;
	struct iommufd_ioas *ioas;

	ioas = iommufd_ioas_alloc(&priv->ictx);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ioas);
	iommufd_object_finalize(&priv->ictx, &ioas->obj);

	allowed = kzalloc_obj(*allowed);
	KUNIT_ASSERT_NOT_NULL(test, allowed);
	allowed->node.last = SZ_1M - 1;
	interval_tree_insert(&allowed->node, &allowed_iova);
	KUNIT_ASSERT_EQ(test, 0, iopt_set_allow_iova(&ioas->iopt,
						     &allowed_iova));
	return ioas;
}

static int device_test_init(struct kunit *test)
{
	struct device_test *priv;
	struct iommufd_ctx *ictx;
	int i;

	priv = kunit_kzalloc(test, sizeof(*priv), GFP_KERNEL);
	if (!priv)
		return -ENOMEM;
	priv->dev = kunit_device_register(test, "iommufd-kunit");
	if (IS_ERR(priv->dev))
		return PTR_ERR(priv->dev);
	priv->iommu.ops = &test_iommu_ops;
	priv->dev_iommu.iommu_dev = &priv->iommu;

	/*
	 * As for a file that was opened, but for what this test does not need
	 */
	ictx = &priv->ictx;
	ictx->file = anon_inode_getfile("[iommufd-kunit]", &test_fops, NULL,
					O_RDWR);
	if (IS_ERR(ictx->file))
		return PTR_ERR(ictx->file);
	init_rwsem(&ictx->ioas_creation_lock);
	xa_init_flags(&ictx->objects, XA_FLAGS_ALLOC1);
	xa_init(&ictx->groups);
	init_waitqueue_head(&ictx->destroy_wait);
	mutex_init(&ictx->sw_msi_lock);
	INIT_LIST_HEAD(&ictx->sw_msi_list);

	test->priv = priv;
	for (i = 0; i != ARRAY_SIZE(priv->ioas); i++)
		priv->ioas[i] = alloc_ioas(test);
	return 0;
}

static void device_test_exit(struct kunit *test)
{
	struct device_test *priv = test->priv;
	int i;

	if (!priv)
		return;
	/* If the test ended early */
	priv->dev->iommu = NULL;
	if (priv->attached)
		iommufd_device_detach(priv->idev, IOMMU_NO_PASID);
	if (priv->idev)
		iommufd_device_unbind(priv->idev);
	for (i = 0; i != ARRAY_SIZE(priv->ioas); i++)
		if (priv->ioas[i])
			iommufd_object_remove(&priv->ictx, NULL,
					      priv->ioas[i]->obj.id, 0);
	xa_destroy(&priv->ictx.objects);
	fput(priv->ictx.file);
}

static void iommu_comes_after_bind(struct kunit *test)
{
	struct device_test *priv = test->priv;
	struct iommufd_device *idev;
	u32 pt_id, id;

	idev = iommufd_device_bind(&priv->ictx, priv->dev, &id);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, idev);
	priv->idev = idev;

	/* From here on it is to be as without */
	priv->dev->iommu = &priv->dev_iommu;
	pt_id = priv->ioas[0]->obj.id;
	KUNIT_ASSERT_EQ(test, 0, iommufd_device_attach(idev, IOMMU_NO_PASID,
						       &pt_id));
	priv->attached = true;
	pt_id = priv->ioas[1]->obj.id;
	KUNIT_ASSERT_EQ(test, 0, iommufd_device_replace(idev, IOMMU_NO_PASID,
							&pt_id));
	iommufd_device_detach(idev, IOMMU_NO_PASID);
	priv->attached = false;
	priv->idev = NULL;
	iommufd_device_unbind(idev);
}

static struct kunit_case device_test_cases[] = {
	KUNIT_CASE(iommu_comes_after_bind),
	{}
};

static struct kunit_suite device_test_suite = {
	.name = "iommufd_device",
	.init = device_test_init,
	.exit = device_test_exit,
	.test_cases = device_test_cases,
};

kunit_test_suite(device_test_suite);
