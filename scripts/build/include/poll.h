/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For the selftests: kselftest_harness.h waits for a test by poll(), with the
 * test's timeout, by default 30 s of the guest's time. On a busy host a guest
 * gets a small part of a processor, and a test that is fine takes longer.
 * So each such wait is ten times as long, and a test that hangs is still told
 * apart from those after it. What a program as a whole may take is in runs.cfg.
 */
#ifndef PATIENT_POLL_H
#define PATIENT_POLL_H

#include_next <poll.h>

/* What a test itself waits for so long is meant to come. */
#define SHORTEST_TEST_TIMEOUT_MS 10000

static inline int patient_poll(struct pollfd *fds, nfds_t nr, int ms)
{
	return poll(fds, nr, ms < SHORTEST_TEST_TIMEOUT_MS ? ms : 10 * ms);
}
#define poll(fds, nr, ms) patient_poll(fds, nr, ms)

#endif /* PATIENT_POLL_H */
