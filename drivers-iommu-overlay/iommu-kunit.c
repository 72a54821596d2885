// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what the core does with extents itself, for a driver that can
 * translate single IOVAs only. The domain is a stub.
 */
#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pfn.h>

#define STUB_IOVA	(64 * PAGE_SIZE)
#define STUB_PAGES	4

struct stub {
	struct iommu_domain domain;
	/* Where its pages are, 0 if one is not mapped */
	unsigned long pfns[STUB_PAGES];
	/* How often it was asked */
	unsigned int lookups;
	struct phys_vec vecs[STUB_PAGES];
};

static phys_addr_t stub_iova_to_phys(struct iommu_domain *domain,
				     dma_addr_t iova)
{
	struct stub *stub = container_of(domain, struct stub, domain);
	unsigned long index = (iova - STUB_IOVA) >> PAGE_SHIFT;

	stub->lookups++;
	if (index >= STUB_PAGES || !stub->pfns[index])
		return 0;
	return PFN_PHYS(stub->pfns[index]) + offset_in_page(iova);
}

static const struct iommu_domain_ops stub_ops = {
	.iova_to_phys = stub_iova_to_phys,
};

static void set_pfns(struct stub *stub, unsigned long pfn0, unsigned long pfn1,
		     unsigned long pfn2, unsigned long pfn3)
{
	static_assert(STUB_PAGES == 4);
	stub->pfns[0] = pfn0;
	stub->pfns[1] = pfn1;
	stub->pfns[2] = pfn2;
	stub->pfns[3] = pfn3;
}

/* Look up what is from this offset on, by as many calls of the driver */
static void check_lookup(struct kunit *test, size_t offset,
			 unsigned int max_vecs, int num_vecs,
			 unsigned int lookups)
{
	struct stub *stub = test->priv;
	int rc;

	stub->lookups = 0;
	rc = iommu_iova_to_phys_extents(&stub->domain, STUB_IOVA + offset,
					STUB_PAGES * PAGE_SIZE - offset,
					stub->vecs, max_vecs);
	KUNIT_EXPECT_EQ(test, rc, num_vecs);
	KUNIT_EXPECT_EQ(test, stub->lookups, lookups);
}

static void check_vec(struct kunit *test, unsigned int index, phys_addr_t paddr,
		      size_t len)
{
	struct stub *stub = test->priv;

	KUNIT_EXPECT_EQ(test, stub->vecs[index].paddr, paddr);
	KUNIT_EXPECT_EQ(test, stub->vecs[index].len, len);
}

/* With pages that are smaller it is in steps of PAGE_SIZE all the same */
static void test_small_pages(struct kunit *test)
{
	struct stub *stub = test->priv;

	stub->domain.pgsize_bitmap = PAGE_SIZE | PAGE_SIZE / 4;
	set_pfns(stub, 20, 21, 30, 31);
	check_lookup(test, 0, 4, 2, 4);
	check_vec(test, 0, PFN_PHYS(20), 2 * PAGE_SIZE);
	check_vec(test, 1, PFN_PHYS(30), 2 * PAGE_SIZE);

	/* The one that has no room shows where the first one ends */
	check_lookup(test, 0, 1, 1, 3);
	check_vec(test, 0, PFN_PHYS(20), 2 * PAGE_SIZE);

	check_lookup(test, PAGE_SIZE / 2, 4, 2, 4);
	check_vec(test, 0, PFN_PHYS(20) + PAGE_SIZE / 2,
		  2 * PAGE_SIZE - PAGE_SIZE / 2);
}

/* With larger ones it is in those, from wherever the range begins */
static void test_large_pages(struct kunit *test)
{
	struct stub *stub = test->priv;

	stub->domain.pgsize_bitmap = 4 * PAGE_SIZE;
	set_pfns(stub, 20, 21, 22, 23);
	check_lookup(test, 0, 4, 1, 1);
	check_vec(test, 0, PFN_PHYS(20), 4 * PAGE_SIZE);
	check_lookup(test, PAGE_SIZE, 4, 1, 1);
	check_vec(test, 0, PFN_PHYS(21), 3 * PAGE_SIZE);
}

/* It ends at what is not mapped, and fails if there is nothing before */
static void test_hole(struct kunit *test)
{
	struct stub *stub = test->priv;

	stub->domain.pgsize_bitmap = PAGE_SIZE;
	set_pfns(stub, 20, 30, 0, 31);
	check_lookup(test, 0, 4, 2, 3);
	check_vec(test, 0, PFN_PHYS(20), PAGE_SIZE);
	check_vec(test, 1, PFN_PHYS(30), PAGE_SIZE);
	check_lookup(test, 2 * PAGE_SIZE, 4, -ENOENT, 1);
}

/* What is refused without asking the driver */
static void test_errors(struct kunit *test)
{
	struct stub *stub = test->priv;
	struct iommu_domain *domain = &stub->domain;
	const dma_addr_t last = ~(dma_addr_t)0;

	domain->pgsize_bitmap = PAGE_SIZE;
	set_pfns(stub, 20, 21, 22, 23);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_iova_to_phys_extents(domain, STUB_IOVA, 0,
						   stub->vecs, STUB_PAGES));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_iova_to_phys_extents(domain, STUB_IOVA, PAGE_SIZE,
						   stub->vecs, 0));
	KUNIT_EXPECT_EQ(test, -EOVERFLOW,
			iommu_iova_to_phys_extents(domain, last, 2, stub->vecs,
						   STUB_PAGES));
	KUNIT_EXPECT_EQ(test, stub->lookups, 0);
}

/* Domains that need no driver: every IOVA is translated to itself, or none is */
static void test_no_paging(struct kunit *test)
{
	struct stub *stub = test->priv;

	stub->domain.type = IOMMU_DOMAIN_IDENTITY;
	check_lookup(test, PAGE_SIZE / 2, 1, 1, 0);
	check_vec(test, 0, STUB_IOVA + PAGE_SIZE / 2,
		  STUB_PAGES * PAGE_SIZE - PAGE_SIZE / 2);

	stub->domain.type = IOMMU_DOMAIN_BLOCKED;
	check_lookup(test, 0, 1, -ENOENT, 0);
}

/* An unmap that returns extents needs a generic page table */
static void test_no_generic_pt(struct kunit *test)
{
	struct stub *stub = test->priv;
	struct iommu_domain *domain = &stub->domain;

	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			iommu_unmap_extents(domain, STUB_IOVA, PAGE_SIZE,
					    stub->vecs, STUB_PAGES));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_unmap_extents(domain, STUB_IOVA, 0, stub->vecs,
					    STUB_PAGES));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_unmap_extents(domain, STUB_IOVA, PAGE_SIZE,
					    stub->vecs, 0));
}

static int iommu_test_init(struct kunit *test)
{
	struct stub *stub = kunit_kzalloc(test, sizeof(*stub), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, stub);
	test->priv = stub;
	stub->domain.type = IOMMU_DOMAIN_UNMANAGED;
	stub->domain.ops = &stub_ops;
	return 0;
}

static struct kunit_case iommu_test_cases[] = {
	KUNIT_CASE(test_small_pages),
	KUNIT_CASE(test_large_pages),
	KUNIT_CASE(test_hole),
	KUNIT_CASE(test_errors),
	KUNIT_CASE(test_no_paging),
	KUNIT_CASE(test_no_generic_pt),
	{}
};

static struct kunit_suite iommu_test_suite = {
	.name = "iommu",
	.init = iommu_test_init,
	.test_cases = iommu_test_cases,
};

kunit_test_suite(iommu_test_suite);

MODULE_DESCRIPTION("KUnit tests of the IOMMU API");
MODULE_LICENSE("GPL");
