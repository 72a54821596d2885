/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What programs share that make random calls on /dev/iommu: random numbers,
 * which a seed decides, arguments that are nearly valid, and what a wrong call
 * may say.
 */
#ifndef SELFTESTS_IOMMU_FUZZ_H
#define SELFTESTS_IOMMU_FUZZ_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include <linux/types.h>

/* So large that no object ever has it */
#define NO_ID 0x7fffff00

/* Room for the struct of an ioctl: its end is the end of what is mapped */
#define ARGS_SIZE 512

/* Random numbers of a thread: xorshift64* */
static __thread __u64 rng_state;

static inline void rng_init(__u64 seed)
{
	rng_state = (seed + 1) * 0x9e3779b97f4a7c15ULL ?: 1;
}

static inline __u64 rnd(void)
{
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return rng_state * 0x2545f4914f6cdd1dULL;
}

static inline __u64 below(__u64 limit)
{
	return (rnd() >> 16) % limit;
}

static inline bool one_in(__u64 n)
{
	return !below(n);
}

/* From the environment, where there is none on the command line */
static inline unsigned long long default_seed(void)
{
	const char *text = getenv("FUZZ_SEED");

	return text ? strtoull(text, NULL, 0) : 1;
}

/*
 * Make one of many valid numbers wrong, or odd: @edge is where something ends
 */
static inline void spoil_by(__u64 *value, __u64 edge)
{
	if (!one_in(40))
		return;
	if (one_in(3))
		*value = edge;
	else if (one_in(2))
		*value += edge;
	else
		*value ^= 1ULL << below(64);
}

static inline void spoil32(__u32 *value)
{
	if (one_in(100))
		*value ^= 1U << below(32);
}

/*
 * Is it what a call can say that does not work, and that is not out of memory?
 */
static inline bool is_refusal(int ret)
{
	static const int refusals[] = {
		EPERM, ENOENT, E2BIG, EBADF, EFAULT, EBUSY, EEXIST, EINVAL,
		ENOTTY, EOPNOTSUPP, EADDRINUSE, EMSGSIZE, EOVERFLOW, ERANGE,
	};
	unsigned int i;

	for (i = 0; i != sizeof(refusals) / sizeof(*refusals); i++)
		if (ret == -refusals[i])
			return true;
	return false;
}

/* NULL if there is no memory */
static inline void *alloc_args(void)
{
	size_t page_size = sysconf(_SC_PAGE_SIZE);
	void *va = mmap(NULL, 2 * page_size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (va == MAP_FAILED || munmap(va + page_size, page_size))
		return NULL;
	return va + page_size - ARGS_SIZE;
}

/*
 * Put @args at @to, which comes from alloc_args(). Now and then say that they
 * have a size below or above the @size that the kernel knows. Each version of
 * the struct has had @min of it. If @may_cut, what came later can be cut off as
 * well: then it is 0 in @args.
 *
 * Return whether the kernel has to take the size.
 */
static inline bool put_args(void *to, void *args, __u32 size, __u32 min,
			    bool may_cut)
{
	__u32 larger = size + 1 + below(ARGS_SIZE - size), user_size = size;
	bool works = true;

	memset(to, 0, ARGS_SIZE);
	memcpy(to, args, size);
	switch (below(120)) {
	case 0:
		user_size = below(min);
		works = false;
		break;
	case 1:
		if (!may_cut)
			break;
		user_size = min + below(size - min + 1);
		memset(args + user_size, 0, size - user_size);
		break;
	case 2:
		user_size = larger;
		break;
	case 3:
		user_size = larger;
		((char *)to)[size + below(larger - size)] = 1;
		works = false;
		break;
	case 4:
		user_size = ARGS_SIZE + 1 + below(1U << 31);
		works = false;
		break;
	}
	memcpy(to, &user_size, sizeof(user_size));
	return works;
}

#endif /* SELFTESTS_IOMMU_FUZZ_H */
