// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of how the PFNs of an area are mapped, read back from a domain,
 * and unpinned. pages.c includes this file, as what is tested is static. The
 * domain is a stub that knows where each page is, and needs memory behind it
 * only if that is unpinned.
 */
#include <kunit/test.h>

#define STUB_IOVA	(64 * PAGE_SIZE)
#define STUB_PAGES	4
/* So far that the array of a batch is not on the stack */
#define STUB_INDEX	BATCH_BACKUP_SIZE
#define STUB_LAST_INDEX	(STUB_INDEX + STUB_PAGES - 1)
#define STUB_BLOCK_ORDER 3

/* The domain has lost the page */
#define LOST		ULONG_MAX

struct stub {
	struct iommu_domain domain;
	unsigned long pfns[STUB_PAGES];
	/* How much is looked up in one call, and how much may be mapped */
	size_t lookup_limit;
	size_t map_limit;
	/* How much was mapped, and was unmapped */
	size_t mapped;
	size_t unmapped;
	/* How many unmaps ended within a run, and what the last map was told */
	unsigned int cuts;
	int prot;
	struct io_pagetable iopt;
	struct iopt_pages pages;
	struct iopt_area area;
	struct phys_vec vecs[STUB_PAGES];
	struct pfn_batch batch;
	/* See pin_pages() */
	struct page *block;
	struct page *pinned[STUB_PAGES];
};

static phys_addr_t stub_iova_to_phys(struct iommu_domain *domain,
				     dma_addr_t iova)
{
	struct stub *stub = container_of(domain, struct stub, domain);
	unsigned long index = (iova - STUB_IOVA) >> PAGE_SHIFT;

	if (index >= STUB_PAGES || stub->pfns[index] == LOST)
		return 0;
	return PFN_PHYS(stub->pfns[index]) + offset_in_page(iova);
}

/* It was told where each page is before */
static int stub_map_pages(struct iommu_domain *domain, unsigned long iova,
			  phys_addr_t paddr, size_t pgsize, size_t pgcount,
			  int prot, gfp_t gfp, size_t *mapped)
{
	struct stub *stub = container_of(domain, struct stub, domain);
	size_t size = pgsize * pgcount;

	if (stub->mapped + size > stub->map_limit)
		return -ENOMEM;
	if (stub_iova_to_phys(domain, iova) != paddr)
		return -EINVAL;
	stub->prot = prot;
	stub->mapped += size;
	*mapped += size;
	return 0;
}

/* As with a page table, a page that is not there ends it */
static size_t stub_unmap_pages(struct iommu_domain *domain, unsigned long iova,
			       size_t pgsize, size_t pgcount,
			       struct iommu_iotlb_gather *gather)
{
	struct stub *stub = container_of(domain, struct stub, domain);
	unsigned long index = (iova - STUB_IOVA) >> PAGE_SHIFT;
	size_t size;

	for (size = 0; pgcount; pgcount--, size += pgsize)
		if (stub->pfns[index + size / PAGE_SIZE] == LOST)
			break;
	index += size / PAGE_SIZE;
	if (index && index < STUB_PAGES &&
	    stub->pfns[index] == stub->pfns[index - 1] + 1)
		stub->cuts++;
	stub->unmapped += size;
	return size;
}

/* A driver that can be asked for single IOVAs only */
static const struct iommu_domain_ops stub_single_ops = {
	.iova_to_phys = stub_iova_to_phys,
	.unmap_pages = stub_unmap_pages,
};

static int stub_iova_to_phys_extents(struct iommu_domain *domain,
				     dma_addr_t iova, size_t len,
				     struct phys_vec *vecs,
				     unsigned int max_vecs)
{
	const struct iommu_domain_ops *ops = domain->ops;
	int num_vecs;

	len = min(len, container_of(domain, struct stub, domain)->lookup_limit);
	domain->ops = &stub_single_ops;
	num_vecs = iommu_iova_to_phys_extents(domain, iova, len, vecs,
					      max_vecs);
	domain->ops = ops;
	return num_vecs;
}

static const struct iommu_domain_ops stub_ops = {
	.iova_to_phys = stub_iova_to_phys,
	.iova_to_phys_extents = stub_iova_to_phys_extents,
	.map_pages = stub_map_pages,
	.unmap_pages = stub_unmap_pages,
};

static int stub_failing_sync(struct iommu_domain *domain, unsigned long iova,
			     size_t size)
{
	return -EIO;
}

static const struct iommu_domain_ops stub_failing_sync_ops = {
	.iova_to_phys = stub_iova_to_phys,
	.map_pages = stub_map_pages,
	.iotlb_sync_map = stub_failing_sync,
	.unmap_pages = stub_unmap_pages,
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

static void check_batch(struct kunit *test, unsigned int end,
			unsigned long pfn, unsigned long npfns,
			unsigned long total_pfns)
{
	struct stub *stub = test->priv;
	struct pfn_batch *batch = &stub->batch;

	KUNIT_ASSERT_EQ(test, batch->end, end);
	KUNIT_EXPECT_EQ(test, batch->total_pfns, total_pfns);
	KUNIT_EXPECT_EQ(test, vec_pfn(&batch->vecs[end - 1]), pfn);
	KUNIT_EXPECT_EQ(test, vec_npfns(&batch->vecs[end - 1]), npfns);
	KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(batch->vecs[end - 1].paddr));
	KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(batch->vecs[end - 1].len));
}

static int read_batch(struct kunit *test, unsigned int first, unsigned int last)
{
	struct stub *stub = test->priv;

	return batch_from_domain(&stub->batch, &stub->domain, &stub->area,
				 STUB_INDEX + first, STUB_INDEX + last);
}

static int continue_batch(struct kunit *test, unsigned int first)
{
	struct stub *stub = test->priv;

	return batch_from_domain_continue(&stub->batch, &stub->domain,
					  &stub->area, STUB_INDEX + first,
					  STUB_LAST_INDEX);
}

/*
 * Map what is in the batch, of which the domain takes as much as limit. It ends
 * with rc after so many bytes, and if it fails all of them are unmapped.
 */
static void check_map(struct kunit *test, size_t limit, int rc, size_t mapped)
{
	struct stub *stub = test->priv;

	stub->map_limit = limit;
	stub->mapped = 0;
	stub->unmapped = 0;
	KUNIT_EXPECT_EQ(test,
			batch_to_domain(&stub->batch, &stub->domain,
					&stub->area, STUB_INDEX),
			rc);
	KUNIT_EXPECT_EQ(test, stub->mapped, mapped);
	KUNIT_EXPECT_EQ(test, stub->unmapped, rc ? mapped : 0);
}

/* Let the area begin and end within a page */
static void set_parts_of_pages(struct stub *stub)
{
	stub->domain.pgsize_bitmap |= PAGE_SIZE / 4;
	stub->area.page_offset = PAGE_SIZE / 2;
	stub->area.node.start += PAGE_SIZE / 2;
	stub->area.node.last -= PAGE_SIZE / 4;
}

static void test_batch_merges(struct kunit *test)
{
	struct stub *stub = test->priv;

	set_pfns(stub, 20, 21, 22, 30);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 3), 0);
	check_batch(test, 2, 30, 1, 4);

	/* What is read goes on with what is there */
	batch_clear(&stub->batch);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 0), 0);
	check_batch(test, 1, 20, 1, 1);
	KUNIT_ASSERT_EQ(test, read_batch(test, 1, 3), 0);
	KUNIT_EXPECT_EQ(test, vec_npfns(&stub->vecs[0]), 3);
	check_batch(test, 2, 30, 1, 4);

	/* No room */
	batch_clear(&stub->batch);
	stub->batch.array_size = 1;
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 3), 0);
	check_batch(test, 1, 20, 3, 3);
	KUNIT_ASSERT_EQ(test, read_batch(test, 3, 3), 0);
	check_batch(test, 1, 20, 3, 3);
}

/* Pages that were pinned are added by runs, in which each follows the last */
static void test_batch_from_pages(struct kunit *test)
{
	struct page *block = alloc_pages(GFP_KERNEL, STUB_BLOCK_ORDER);
	struct stub *stub = test->priv;
	struct page *pages[STUB_PAGES];
	unsigned long pfn;

	static_assert(STUB_PAGES == 4);
	KUNIT_ASSERT_NOT_NULL(test, block);
	pages[0] = block + 1;
	pages[1] = block + 2;
	pages[2] = block + 4;
	pages[3] = block + 3;
	pfn = page_to_pfn(block);

	batch_from_pages(&stub->batch, pages, STUB_PAGES);
	KUNIT_EXPECT_EQ(test, vec_pfn(&stub->vecs[0]), pfn + 1);
	KUNIT_EXPECT_EQ(test, vec_npfns(&stub->vecs[0]), 2);
	KUNIT_EXPECT_EQ(test, vec_pfn(&stub->vecs[1]), pfn + 4);
	KUNIT_EXPECT_EQ(test, vec_npfns(&stub->vecs[1]), 1);
	check_batch(test, 3, pfn + 3, 1, 4);

	/* No room */
	batch_clear(&stub->batch);
	stub->batch.array_size = 1;
	batch_from_pages(&stub->batch, pages, STUB_PAGES);
	check_batch(test, 1, pfn + 1, 2, 2);
	__free_pages(block, STUB_BLOCK_ORDER);
}

/* The driver may end a call where it wants */
static void test_batch_takes_calls(struct kunit *test)
{
	struct stub *stub = test->priv;

	stub->lookup_limit = PAGE_SIZE;
	set_pfns(stub, 20, 21, 22, 30);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 3), 0);
	KUNIT_EXPECT_EQ(test, vec_npfns(&stub->vecs[0]), 3);
	check_batch(test, 2, 30, 1, 4);

	/* What goes on after it need not be found to the end */
	batch_clear(&stub->batch);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 0), 0);
	KUNIT_ASSERT_EQ(test, continue_batch(test, 1), 0);
	check_batch(test, 1, 20, 2, 2);
}

/* To the end of the run, and no further */
static void test_batch_continues(struct kunit *test)
{
	struct stub *stub = test->priv;

	set_pfns(stub, 20, 21, 22, 30);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 0), 0);
	KUNIT_ASSERT_EQ(test, continue_batch(test, 1), 0);
	check_batch(test, 1, 20, 3, 3);
	KUNIT_ASSERT_EQ(test, continue_batch(test, 3), 0);
	check_batch(test, 1, 20, 3, 3);
}

/* An area that begins and ends within a page */
static void test_batch_has_whole_pages(struct kunit *test)
{
	struct stub *stub = test->priv;

	set_parts_of_pages(stub);
	set_pfns(stub, 20, 21, 40, 41);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 3), 0);
	KUNIT_EXPECT_EQ(test, stub->vecs[0].paddr, PFN_PHYS(20));
	KUNIT_EXPECT_EQ(test, stub->vecs[0].len, 2 * PAGE_SIZE);
	check_batch(test, 2, 40, 2, 4);

	batch_clear(&stub->batch);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 0), 0);
	check_batch(test, 1, 20, 1, 1);
	batch_clear(&stub->batch);
	KUNIT_ASSERT_EQ(test, read_batch(test, 3, 3), 0);
	check_batch(test, 1, 41, 1, 1);
}

/* Which a driver without extents cannot tell from what is not mapped */
static void test_batch_has_page_0(struct kunit *test)
{
	struct stub *stub = test->priv;

	stub->domain.ops = &stub_single_ops;
	set_pfns(stub, 0, 1, 2, 9);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 0), 0);
	check_batch(test, 1, 0, 1, 1);
	/* As the map was: an unmap may not end within what is contiguous */
	batch_clear(&stub->batch);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 3), 0);
	KUNIT_EXPECT_EQ(test, vec_npfns(&stub->vecs[0]), 3);
	check_batch(test, 2, 9, 1, 4);

	batch_clear(&stub->batch);
	set_pfns(stub, 5, 0, 9, 10);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 3), 0);
	KUNIT_EXPECT_EQ(test, vec_npfns(&stub->vecs[0]), 1);
	KUNIT_EXPECT_EQ(test, vec_pfn(&stub->vecs[1]), 0);
	check_batch(test, 3, 9, 2, 4);
}

/* A page that is not there is not page 0 */
static void test_lost_page(struct kunit *test)
{
	struct stub *stub = test->priv;
	struct page *pages[STUB_PAGES] = {};
	int rc;

	set_pfns(stub, 20, LOST, 22, 23);
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, read_batch(test, 0, 3), -EINVAL);
		KUNIT_EXPECT_EQ(test, read_batch(test, 1, 1), -EINVAL);
		KUNIT_EXPECT_EQ(test, continue_batch(test, 1), -EINVAL);
		rc = raw_pages_from_domain(&stub->domain, &stub->area,
					   STUB_INDEX + 1, STUB_LAST_INDEX,
					   pages);
		KUNIT_EXPECT_EQ(test, rc, -EINVAL);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 4);
	}
	check_batch(test, 1, 20, 1, 1);
	KUNIT_EXPECT_PTR_EQ(test, pages[0], NULL);
}

/*
 * Have the area made of these pages of a block of memory, pinned as those of a
 * process are. Of the mm only the number of its pinned pages is looked at.
 */
static void pin_pages(struct kunit *test, unsigned int page0,
		      unsigned int page1, unsigned int page2,
		      unsigned int page3)
{
	struct stub *stub = test->priv;
	unsigned long pfn;
	unsigned int i;

	stub->pages.source_mm = kunit_kzalloc(test, sizeof(struct mm_struct),
					      GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, stub->pages.source_mm);
	stub->block = alloc_pages(GFP_KERNEL, STUB_BLOCK_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, stub->block);
	split_page(stub->block, STUB_BLOCK_ORDER);

	pfn = page_to_pfn(stub->block);
	set_pfns(stub, pfn + page0, pfn + page1, pfn + page2, pfn + page3);
	for (i = 0; i != STUB_PAGES; i++) {
		stub->pinned[i] = pfn_to_page(stub->pfns[i]);
		page_ref_add(stub->pinned[i], GUP_PIN_COUNTING_BIAS);
	}
	atomic64_set(&stub->pages.source_mm->pinned_vm, STUB_PAGES);
	stub->pages.npinned = STUB_PAGES;
	stub->pages.last_npinned = STUB_PAGES;
	stub->unmapped = 0;
	stub->cuts = 0;
}

/* Unmap the area: the first pages are unmapped, those in kept stay pinned */
static void check_unfill(struct kunit *test, unsigned int unmapped,
			 unsigned long kept)
{
	struct stub *stub = test->priv;
	struct iopt_pages *pages = &stub->pages;
	unsigned int i;

	mutex_lock(&pages->mutex);
	iopt_area_unfill_domain(&stub->area, pages, &stub->domain);
	mutex_unlock(&pages->mutex);

	KUNIT_EXPECT_EQ(test, stub->unmapped, unmapped * PAGE_SIZE);
	if (!iommu_domain_can_cut(&stub->domain))
		KUNIT_EXPECT_EQ(test, stub->cuts, 0);
	KUNIT_EXPECT_EQ(test, pages->npinned, hweight_long(kept));
	KUNIT_EXPECT_EQ(test, atomic64_read(&pages->source_mm->pinned_vm),
			hweight_long(kept));
	for (i = 0; i != STUB_PAGES; i++) {
		int pins = kept & BIT(i) ? GUP_PIN_COUNTING_BIAS : 0;

		KUNIT_EXPECT_EQ_MSG(test, page_ref_count(stub->pinned[i]),
				    1 + pins, "page %u", i);
		set_page_count(stub->pinned[i], 1);
	}
	for (i = 0; i != 1 << STUB_BLOCK_ORDER; i++)
		__free_page(stub->block + i);
}

/* The same while an access keeps pages of the area */
static void check_unfill_around(struct kunit *test, unsigned int first,
				unsigned int last, unsigned int unmapped,
				unsigned long kept)
{
	struct interval_tree_node access = {
		.start = STUB_INDEX + first,
		.last = STUB_INDEX + last,
	};
	struct stub *stub = test->priv;

	interval_tree_insert(&access, &stub->pages.access_itree);
	check_unfill(test, unmapped, kept);
	interval_tree_remove(&access, &stub->pages.access_itree);
}

/*
 * What is before a page that is lost is unmapped and unpinned, nothing behind
 * it is. The unmap that is tried there fails as well.
 */
static void test_unfill_with_lost_page(struct kunit *test)
{
	struct stub *stub = test->priv;
	unsigned int lost;

	for (lost = 0; lost != STUB_PAGES; lost++) {
		unsigned long kept = GENMASK(STUB_PAGES - 1, lost);

		pin_pages(test, 0, 2, 4, 6);
		stub->pfns[lost] = LOST;
		kunit_warning_suppress(test) {
			check_unfill(test, lost, kept);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 2);
		}

		pin_pages(test, 0, 1, 2, 3);
		stub->pfns[lost] = LOST;
		kunit_warning_suppress(test) {
			check_unfill(test, lost, kept);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 2);
		}
	}

	/* Also what was unmapped together with a page that an access keeps */
	pin_pages(test, 0, 1, 2, 3);
	stub->pfns[3] = LOST;
	kunit_warning_suppress(test) {
		check_unfill_around(test, 1, 1, 3, BIT(1) | BIT(3));
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 2);
	}
}

/*
 * Unmap pages in a row, one of which an access keeps, wherever a call of the
 * driver ends
 */
static void test_unfill_around_access(struct kunit *test)
{
	struct stub *stub = test->priv;
	unsigned int limit;

	for (limit = STUB_PAGES; limit; limit--) {
		stub->lookup_limit = limit * PAGE_SIZE;
		pin_pages(test, 0, 1, 2, 3);
		check_unfill_around(test, 2, 2, STUB_PAGES, BIT(2));
	}

	stub->domain.ops = &stub_single_ops;
	pin_pages(test, 0, 1, 2, 3);
	check_unfill_around(test, 2, 2, STUB_PAGES, BIT(2));
}

#ifdef CONFIG_IOMMUFD_TEST
/*
 * An access keeps all that was unmapped together with the page before it, and
 * the page that follows, where another run begins. A batch has room for one
 * run.
 */
static void test_unfill_one_by_one(struct kunit *test)
{
	struct stub *stub = test->priv;
	const struct iommu_domain_ops *ops[] = { &stub_ops, &stub_single_ops };
	size_t limit = iommufd_test_memory_limit;
	unsigned int i;

	for (i = 0; i != ARRAY_SIZE(ops); i++) {
		stub->domain.ops = ops[i];
		pin_pages(test, 0, 1, 4, 5);
		iommufd_test_memory_limit = sizeof(*stub->vecs);
		check_unfill_around(test, 1, 2, STUB_PAGES, BIT(1) | BIT(2));
		iommufd_test_memory_limit = limit;
	}
}
#endif

/* Whether it is mapped or not, the batch has whole pages before and after */
static void test_map_parts_of_pages(struct kunit *test)
{
	struct stub *stub = test->priv;
	size_t size;

	set_parts_of_pages(stub);
	size = iopt_area_length(&stub->area);

	/* Several extents, the second of which has no room */
	set_pfns(stub, 20, 21, 40, 41);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 3), 0);
	check_map(test, size, 0, size);
	check_map(test, 2 * PAGE_SIZE, -ENOMEM, PAGE_SIZE + PAGE_SIZE / 2);
	KUNIT_EXPECT_EQ(test, stub->vecs[0].paddr, PFN_PHYS(20));
	KUNIT_EXPECT_EQ(test, stub->vecs[0].len, 2 * PAGE_SIZE);
	check_batch(test, 2, 40, 2, 4);

	/* A single one, whose whole pages have no room */
	batch_clear(&stub->batch);
	set_pfns(stub, 20, 21, 22, 23);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 3), 0);
	check_map(test, size, 0, size);
	check_map(test, PAGE_SIZE, -ENOMEM, PAGE_SIZE / 2);
	check_batch(test, 1, 20, 4, 4);
}

/* With IOMMU_OPTION_HUGE_PAGES at 0 */
static void test_map_small_pages(struct kunit *test)
{
	struct stub *stub = test->priv;

	stub->iopt.disable_large_pages = true;
	set_pfns(stub, 20, 21, 40, 41);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 3), 0);
	check_map(test, 4 * PAGE_SIZE, 0, 4 * PAGE_SIZE);
	check_map(test, 3 * PAGE_SIZE, -ENOMEM, 3 * PAGE_SIZE);
	check_batch(test, 2, 40, 2, 4);
}

/* What is mapped is unmapped if the driver cannot tell the hardware of it */
static void test_map_without_sync(struct kunit *test)
{
	struct stub *stub = test->priv;

	stub->domain.ops = &stub_failing_sync_ops;
	set_pfns(stub, 20, 21, 40, 41);
	KUNIT_ASSERT_EQ(test, read_batch(test, 0, 3), 0);
	check_map(test, 4 * PAGE_SIZE, -EIO, 4 * PAGE_SIZE);
	check_batch(test, 2, 40, 2, 4);
}

/* A domain that has a dma-buf does not tell that it is MMIO */
static void test_map_dmabuf_again(struct kunit *test)
{
	struct stub *stub = test->priv;

	if (!IS_ENABLED(CONFIG_DMA_SHARED_BUFFER))
		kunit_skip(test, "without CONFIG_DMA_SHARED_BUFFER");
	set_pfns(stub, 20, 21, 22, 23);
	stub->pages.type = IOPT_ADDRESS_DMABUF;
	stub->pages.dmabuf.phys.paddr = PFN_PHYS(20 - STUB_INDEX);
	stub->pages.dmabuf.phys.len = PFN_PHYS(STUB_INDEX + STUB_PAGES);
	stub->area.pages = &stub->pages;
	stub->area.iommu_prot = IOMMU_READ | IOMMU_WRITE | IOMMU_CACHE;
	stub->area.storage_domain = &stub->domain;
	interval_tree_insert(&stub->area.pages_node,
			     &stub->pages.domains_itree);

	stub->map_limit = STUB_PAGES * PAGE_SIZE;
	mutex_lock(&stub->pages.mutex);
	KUNIT_EXPECT_EQ(test, iopt_area_fill_domain(&stub->area, &stub->domain),
			0);
	mutex_unlock(&stub->pages.mutex);
	KUNIT_EXPECT_EQ(test, stub->mapped, STUB_PAGES * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stub->prot,
			IOMMU_READ | IOMMU_WRITE | IOMMU_MMIO);
}

static int pages_test_init(struct kunit *test)
{
	struct stub *stub = kunit_kzalloc(test, sizeof(*stub), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, stub);
	test->priv = stub;
	stub->domain.type = IOMMU_DOMAIN_UNMANAGED;
	stub->domain.pgsize_bitmap = PAGE_SIZE;
	stub->domain.ops = &stub_ops;
	mutex_init(&stub->pages.mutex);
	stub->pages.access_itree = RB_ROOT_CACHED;
	stub->pages.domains_itree = RB_ROOT_CACHED;
	stub->pages.npages = STUB_INDEX + STUB_PAGES;
	stub->pages.npinned = STUB_PAGES;
	stub->pages.last_npinned = STUB_PAGES;
	stub->area.iopt = &stub->iopt;
	stub->area.node.start = STUB_IOVA;
	stub->area.node.last = STUB_IOVA + STUB_PAGES * PAGE_SIZE - 1;
	stub->area.pages_node.start = STUB_INDEX;
	stub->area.pages_node.last = STUB_LAST_INDEX;
	stub->lookup_limit = SIZE_MAX;
	stub->batch.vecs = stub->vecs;
	stub->batch.array_size = ARRAY_SIZE(stub->vecs);
	return 0;
}

static struct kunit_case pages_test_cases[] = {
	KUNIT_CASE(test_batch_merges),
	KUNIT_CASE(test_batch_from_pages),
	KUNIT_CASE(test_batch_takes_calls),
	KUNIT_CASE(test_batch_continues),
	KUNIT_CASE(test_batch_has_whole_pages),
	KUNIT_CASE(test_batch_has_page_0),
	KUNIT_CASE(test_lost_page),
	KUNIT_CASE(test_unfill_with_lost_page),
	KUNIT_CASE(test_unfill_around_access),
#ifdef CONFIG_IOMMUFD_TEST
	KUNIT_CASE(test_unfill_one_by_one),
#endif
	KUNIT_CASE(test_map_parts_of_pages),
	KUNIT_CASE(test_map_small_pages),
	KUNIT_CASE(test_map_without_sync),
	KUNIT_CASE(test_map_dmabuf_again),
	{}
};

static struct kunit_suite pages_test_suite = {
	.name = "iommufd_pages",
	.init = pages_test_init,
	.test_cases = pages_test_cases,
};

kunit_test_suite(pages_test_suite);
