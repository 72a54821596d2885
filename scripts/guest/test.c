// SPDX-License-Identifier: GPL-2.0-only
/*
 * Run one test program and forward what it says as a nested KTAP test.
 *
 * A program that speaks TAP becomes a test with subtests: its lines are
 * indented and it gets the header "# Subtest:", which lets a reader see where
 * the block ends even if the program died in the middle. A program that does
 * not is one test, judged by its exit status alone; it must say something.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define KSFT_SKIP	4
/* How long what was killed may take to die and close the pipe */
#define KILL_MS		5000

/**
 * struct output - what a program has said so far
 * @name: the test's name
 * @line: the line being read, or the last one
 * @len: its length so far
 * @planned: how many subtests it announced, -1 for none
 * @seen: results so far
 * @skip_all: the reason given in a plan of no tests
 * @lines: lines of any kind
 * @tap: the header was written
 */
struct output {
	const char *name;
	char line[4096];
	size_t len;
	int planned;
	int seen;
	bool skip_all;
	unsigned long lines;
	bool tap;
};

void add_arg(struct test *test, const char *arg)
{
	if (test->argc == MAX_ARGS)
		bail_out("%s: more than %d arguments", test->name, MAX_ARGS);
	test->argv[test->argc++] = xstrdup(arg);
}

static bool starts(const char *line, const char *prefix)
{
	return !strncmp(line, prefix, strlen(prefix));
}

static void header(struct output *out)
{
	if (out->tap)
		return;
	out->tap = true;
	fprintf(ktap, "    KTAP version 1\n    # Subtest: %s\n", out->name);
}

static void forward_line(struct output *out)
{
	const char *line = out->line;

	out->lines++;
	if (starts(line, "TAP version") || starts(line, "KTAP version")) {
		header(out);
		return;
	}
	if (starts(line, "1..") && out->planned < 0) {
		header(out);
		out->planned = atoi(line + 3);
		out->skip_all = strstr(line, "SKIP");
	} else if (out->tap && (starts(line, "ok ") || starts(line, "not ok "))) {
		out->seen++;
	} else if (line[0] != '#') {
		/* Not a line of TAP: a diagnostic, whatever it looks like. */
		fprintf(ktap, "%s# %s\n", out->tap ? "    " : "", line);
		return;
	}
	fprintf(ktap, "%s%s\n", out->tap ? "    " : "", line);
}

static void forward(struct output *out, const char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		/* Control characters go, and what makes a line too long. */
		if (buf[i] == '\n') {
			out->line[out->len] = '\0';
			forward_line(out);
			out->len = 0;
		} else if (out->len < sizeof(out->line) - 1 &&
			   ((unsigned char)buf[i] >= ' ' || buf[i] == '\t')) {
			out->line[out->len++] = buf[i];
		}
	}
}

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static pid_t start(struct test *test, int *fd)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		bail_out("pipe: %s", strerror(errno));

	pid = fork();
	if (pid < 0)
		bail_out("fork: %s", strerror(errno));
	if (!pid) {
		int null = open("/dev/null", O_RDONLY);

		setsid();
		dup2(null, STDIN_FILENO);
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		execvp(test->argv[0], test->argv);
		dprintf(STDERR_FILENO, "%s: %s\n", test->argv[0],
			strerror(errno));
		_exit(127);
	}
	close(fds[1]);
	*fd = fds[0];
	return pid;
}

/*
 * Read until the program is gone, then until the pipe is empty. Whatever it
 * left behind is killed: the next test starts with no one else around.
 * False if it had to be killed because its time was up.
 */
static bool attend(pid_t pid, int fd, struct output *out, unsigned int limit,
		   int *status)
{
	long long deadline = now_ms() + limit * 1000LL;
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN },
	};
	bool gone = false, in_time = true;
	char buf[4096];
	ssize_t len;

	if (fds[1].fd < 0)
		bail_out("pidfd_open: %s", strerror(errno));

	/* poll() skips what is negative: an end of file, a process reaped. */
	while (fds[0].fd >= 0 || !gone) {
		long long left = deadline - now_ms();

		if (left <= 0) {
			if (gone)
				break;
			if (!in_time)
				bail_out("%s: cannot be killed", out->name);
			in_time = false;
			/* Where the CPUs are and who is blocked, for the log */
			printf("init: time limit of %s\n", out->name);
			write_file("/proc/sysrq-trigger", "l");
			write_file("/proc/sysrq-trigger", "w");
			kill(-1, SIGKILL);
			deadline = now_ms() + KILL_MS;
			continue;
		}

		poll(fds, ARRAY_SIZE(fds), left);
		if (fds[0].revents) {
			len = read(fd, buf, sizeof(buf));
			if (len > 0)
				forward(out, buf, len);
			else
				fds[0].fd = -1;
		}
		if (fds[1].revents) {
			waitpid(pid, status, 0);
			close(fds[1].fd);
			fds[1].fd = -1;
			fds[1].revents = 0;
			gone = true;
			kill(-1, SIGKILL);
			deadline = now_ms() + KILL_MS;
		}
	}
	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
	if (out->len)
		forward(out, "\n", 1);
	close(fd);
	return in_time;
}

void run_test(struct test *test, unsigned int number)
{
	struct output out = { .name = test->name, .planned = -1 };
	char why[160] = "";
	bool in_time, skip;
	int status = 0;
	pid_t pid;
	int fd;

	printf("init: test %s\n", test->name);
	pid = start(test, &fd);
	in_time = attend(pid, fd, &out, test->limit, &status);
	skip = in_time && WIFEXITED(status) && !out.seen &&
	       (WEXITSTATUS(status) == KSFT_SKIP ||
		(!WEXITSTATUS(status) && out.skip_all));

	if (skip)
		goto report;
	if (!in_time)
		snprintf(why, sizeof(why), "time limit of %u s", test->limit);
	else if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		snprintf(why, sizeof(why), "exit status %d",
			 WEXITSTATUS(status));
	else if (!out.lines)
		snprintf(why, sizeof(why), "no output");
	else if (out.tap && out.planned != out.seen)
		snprintf(why, sizeof(why), "%d subtests planned, %d results",
			 out.planned, out.seen);
	else if (out.tap && !out.seen)
		snprintf(why, sizeof(why), "no subtests");

report:
	/* The parser drops what follows a result: tell why on its own line. */
	if (*why)
		fprintf(ktap, "%s# init: %s\n", out.tap ? "    " : "", why);
	fprintf(ktap, "%s %u %s%s%.200s\n", *why ? "not ok" : "ok", number,
		test->name, skip ? " # SKIP " : "", skip ? out.line : "");
}
