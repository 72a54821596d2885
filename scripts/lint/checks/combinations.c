// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each configuration that Kconfig allows for the symbols in $LINT_SYMBOLS, the
 * rest as in .config, written to $LINT_DIR/NAME.config, and what syncconfig would
 * make of it below $LINT_DIR/NAME/include. NAME tells the symbols that are on; what
 * may be a module is built in, since a row of scripts/conf/lint has all that as
 * modules. A symbol may be NEW|OLD, for one that was renamed.
 *
 * Linked with the objects of the kernel's scripts/kconfig and run by its Makefile
 * in the place of conf, since it knows the environment that Kconfig files need.
 * Kconfig is read once this way, not for each of hundreds of combinations.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lkc.h"

#define MAX_SYMBOLS 16

static struct symbol *symbols[MAX_SYMBOLS];
static char *labels[MAX_SYMBOLS];
static int nr_symbols;

/* The name that can be set: a transitional symbol has no prompt. */
static struct symbol *find(char *names)
{
	char *save;

	for (char *name = strtok_r(names, "|", &save); name;
	     name = strtok_r(NULL, "|", &save)) {
		struct symbol *sym = sym_find(name);
		struct property *prop;

		if (sym)
			for_all_prompts(sym, prop)
				return sym;
	}
	return NULL;
}

/* Those that Kconfig has: a patch may be the one that adds the rest. */
static void add_symbols(const char *wanted)
{
	char *save, *words = strdup(wanted);

	for (char *word = strtok_r(words, " ", &save); word && nr_symbols < MAX_SYMBOLS;
	     word = strtok_r(NULL, " ", &save)) {
		char *label = strdup(word);
		struct symbol *sym = find(word);

		label[strcspn(label, "|")] = 0;
		if (sym) {
			labels[nr_symbols] = label;
			symbols[nr_symbols++] = sym;
		}
	}
}

static void set(struct symbol *sym, tristate value)
{
	sym->def[S_DEF_USER].tri = value;
	sym->flags |= SYMBOL_DEF_USER;
}

/* A file of syncconfig's, which asks the environment where it shall be. */
static void place(const char *variable, const char *dir, const char *file)
{
	char *path;

	if (asprintf(&path, "%s/include/%s", dir, file) < 0 || setenv(variable, path, 1)) {
		perror(variable);
		exit(1);
	}
	free(path);
}

/* For PATH.config, below PATH */
static void write_values(const char *path)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%.*s", (int)(strlen(path) - strlen(".config")), path);
	place("KCONFIG_AUTOCONFIG", dir, "config/auto.conf");
	place("KCONFIG_AUTOHEADER", dir, "generated/autoconf.h");
	place("KCONFIG_RUSTCCFG", dir, "generated/rustc_cfg");
	if (conf_write_autoconf(1)) {
		fprintf(stderr, "the values for %s could not be written\n", path);
		exit(1);
	}
}

static void write_result(const char *dir)
{
	char path[PATH_MAX];
	int len = snprintf(path, sizeof(path), "%s/", dir);

	sym_clear_all_valid();
	for (int i = 0; i < nr_symbols; i++) {
		tristate value;

		sym_calc_value(symbols[i]);
		value = sym_get_tristate_value(symbols[i]);
		if (value != no)
			len += snprintf(path + len, sizeof(path) - len, "%s%s",
					path[len - 1] == '/' ? "" : "+", labels[i]);
	}
	snprintf(path + len, sizeof(path) - len, "%s.config",
		 path[len - 1] == '/' ? "none" : "");
	if (!access(path, F_OK))
		return;
	if (conf_write(path)) {
		perror(path);
		exit(1);
	}
	write_values(path);
}

static void each_value(const char *dir, int nr)
{
	static const tristate values[] = { no, yes };

	if (nr == nr_symbols) {
		write_result(dir);
		return;
	}
	for (int i = 0; i < 2; i++) {
		set(symbols[nr], values[i]);
		each_value(dir, nr + 1);
	}
}

/* conf's arguments say nothing that is of use here. */
int main(void)
{
	char *dir = getenv("LINT_DIR"), *wanted = getenv("LINT_SYMBOLS");

	if (!dir || !wanted) {
		fprintf(stderr, "LINT_DIR or LINT_SYMBOLS is not set\n");
		return 1;
	}
	conf_parse("Kconfig");
	if (conf_read(NULL)) {
		fprintf(stderr, "no configuration to start from\n");
		return 1;
	}
	add_symbols(wanted);
	if (!nr_symbols) {
		fprintf(stderr, "Kconfig has none of these symbols\n");
		return 1;
	}
	each_value(dir, 0);
	return 0;
}
