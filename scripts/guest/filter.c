// SPDX-License-Identifier: GPL-2.0-only
/*
 * Narrow a test program down to the subtests that match a pattern.
 *
 * kselftest_harness.h takes exact names (-r FIXTURE.VARIANT.TEST) and lists
 * what it has (-l), in three columns:
 *
 *	# FIXTURE            VARIANT                   TEST
 *	vfio_pci_irq_test    msi                       enable_trigger_disable
 *	                     msix
 *
 * A column ends where the fixed width does, or later if the name is longer. A
 * fixture's tests are all combinations of its variants and its tests.
 */
#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

#define FIXTURE_WIDTH	20
#define VARIANT_WIDTH	25
#define MAX_NAMES	512

struct names {
	char *name[MAX_NAMES];
	unsigned int nr;
};

static void add_name(struct names *names, const char *name)
{
	if (names->nr == MAX_NAMES)
		bail_out("more than %d names in a fixture", MAX_NAMES);
	names->name[names->nr++] = xstrdup(name);
}

static void clear_names(struct names *names)
{
	while (names->nr)
		free(names->name[--names->nr]);
}

/**
 * struct filter - which subtests are wanted
 * @pattern: what their names match
 * @options: the harness's options that the program had already
 * @nr: how many these are
 */
struct filter {
	const char *pattern;
	struct {
		char letter;
		const char *value;
	} options[MAX_ARGS / 2];
	unsigned int nr;
};

/* Take the harness's options out of the arguments: with -r it would add to them */
static void take_options(struct test *test, struct filter *filter)
{
	int argc = 1;

	for (int i = 1; i < test->argc; i++) {
		char *arg = test->argv[i];

		if (i + 1 < test->argc && strlen(arg) == 2 && arg[0] == '-' &&
		    strchr("fFvVtTr", arg[1])) {
			filter->options[filter->nr].letter = arg[1];
			filter->options[filter->nr++].value = test->argv[++i];
		} else {
			test->argv[argc++] = arg;
		}
	}
	test->argc = argc;
	test->argv[argc] = NULL;
}

/* As test_enabled() of the harness has it: the first option that matches decides */
static bool is_enabled(const struct filter *filter, const char *fixture,
		       const char *variant, const char *test, const char *name)
{
	bool has_positive = false;

	for (unsigned int i = 0; i < filter->nr; i++) {
		char letter = filter->options[i].letter;
		const char *what = name;

		has_positive |= islower(letter);
		if (tolower(letter) == 'f')
			what = fixture;
		else if (tolower(letter) == 'v')
			what = variant;
		else if (tolower(letter) == 't')
			what = test;
		if (!strcmp(what, filter->options[i].value))
			return islower(letter);
	}
	return !has_positive;
}

/* Append "-r NAME" for each subtest of a fixture that is wanted */
static void add_wanted(struct test *test, const struct filter *filter,
		       const char *fixture, struct names *variants,
		       struct names *names)
{
	char name[1024];

	if (!variants->nr)
		add_name(variants, "");
	for (unsigned int v = 0; v < variants->nr; v++) {
		const char *variant = variants->name[v];

		for (unsigned int t = 0; t < names->nr; t++) {
			snprintf(name, sizeof(name), "%s%s%s.%s", fixture,
				 *variant ? "." : "", variant, names->name[t]);
			if (fnmatch(filter->pattern, name, 0) ||
			    !is_enabled(filter, fixture, variant,
					names->name[t], name))
				continue;
			add_arg(test, "-r");
			add_arg(test, name);
		}
	}
	clear_names(variants);
	clear_names(names);
}

/* Move the arguments from @from on to the front: options precede devices */
static void move_to_front(struct test *test, int from)
{
	int nr = test->argc - from;
	char *argv[MAX_ARGS];

	memcpy(argv, &test->argv[from], nr * sizeof(argv[0]));
	memmove(&test->argv[1 + nr], &test->argv[1],
		(from - 1) * sizeof(argv[0]));
	memcpy(&test->argv[1], argv, nr * sizeof(argv[0]));
}

/* Start the program with -l; what it lists can be read from the result */
static FILE *start_list(const struct test *test, pid_t *pid)
{
	struct test listing = *test;
	int fds[2];

	add_arg(&listing, "-l");
	move_to_front(&listing, test->argc);

	if (pipe(fds))
		bail_out("%s: no pipe to list it through", test->name);
	*pid = fork();
	if (!*pid) {
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		execvp(listing.argv[0], listing.argv);
		_exit(127);
	}
	close(fds[1]);
	return fdopen(fds[0], "r");
}

/* Cut the next column off; empty if it starts with a blank */
static char *next_column(char **line, size_t width)
{
	char *column = *line;
	size_t len = strcspn(column, " ");

	if (strlen(column) <= width)
		*line = column + strlen(column);
	else
		*line = column + (len > width ? len : width) + 1;
	column[len] = '\0';
	return column;
}

/* False if none of its subtests matches */
bool filter_test(struct test *test, const char *pattern)
{
	struct filter filter = { .pattern = pattern };
	struct names variants = {}, names = {};
	char fixture[256] = "", line[1024];
	bool in_table = false;
	FILE *file;
	pid_t pid;
	int argc;

	take_options(test, &filter);
	argc = test->argc;
	file = start_list(test, &pid);
	while (file && fgets(line, sizeof(line), file)) {
		char *rest = line, *column;

		line[strcspn(line, "\n")] = '\0';
		if (!in_table || line[0] == '-') {
			in_table |= !strncmp(line, "# FIXTURE ", 10);
			continue;
		}
		column = next_column(&rest, FIXTURE_WIDTH);
		if (*column) {
			add_wanted(test, &filter, fixture, &variants, &names);
			snprintf(fixture, sizeof(fixture), "%s", column);
		}
		column = next_column(&rest, VARIANT_WIDTH);
		if (*column)
			add_name(&variants, column);
		if (*rest)
			add_name(&names, rest);
	}
	add_wanted(test, &filter, fixture, &variants, &names);
	if (file)
		fclose(file);
	waitpid(pid, NULL, 0);

	move_to_front(test, argc);
	return test->argc > argc;
}
