/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's init: what its files share.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stdio.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define __noreturn	__attribute__((__noreturn__))
#define __printf(a, b)	__attribute__((__format__(printf, a, b)))

/* A pattern becomes two arguments for each subtest that it matches. */
#define MAX_ARGS	2048

/**
 * struct test - one program to run
 * @name: what it is called in the results
 * @argv: the program and its arguments, NULL terminated
 * @argc: how many these are
 * @limit: seconds that it may take
 * @kexec: the next kernel runs those that follow
 */
struct test {
	char *name;
	char *argv[MAX_ARGS + 1];
	int argc;
	unsigned int limit;
	bool kexec;
};

/* util.c, which needs none of the others */

/* Where results go: a channel that the kernel does not write to. */
extern FILE *ktap;

/* The host reads what is still on its way through the terminals. */
void drain(void);
void __noreturn power_off(void);
/* Nothing can run, say why on both channels: does not return */
void __noreturn __printf(1, 2) bail_out(const char *fmt, ...);

char *xstrdup(const char *s);
int write_file(const char *path, const char *value);
int read_file(const char *path, char *buf, size_t size);

/* kexec.c, which needs only util.c */

/* How many tests the kernels before this one have run */
unsigned int tests_done(void);
/* Start the kernel again, for the tests after these: does not return */
void __noreturn start_next_kernel(unsigned int done);

/* pci.c */
void bind_device(const char *name, const char *id);

/* test.c */
void add_arg(struct test *test, const char *arg);
void run_test(struct test *test, unsigned int number);

/* filter.c, which needs test.c; init.c needs them all, and none needs it */
bool filter_test(struct test *test, const char *pattern);

#endif /* GUEST_H */
