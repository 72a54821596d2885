// SPDX-License-Identifier: GPL-2.0-only
/*
 * init - the first process of a guest that runs tests
 *
 * It mounts the file systems, loads the kernel's modules, obeys the run's
 * instructions, tells what came of it as KTAP and powers the machine off. The
 * instructions are the file /run, one to a line, which the host writes from its
 * table of runs:
 *
 *	ktap DEVICE		the terminal that results go to
 *	write PATH VALUE	write VALUE to a file, which must then read so
 *	bind NAME ID		bind the PCI device ID (vendor:device or an address)
 *				to vfio-pci; $NAME is its address from then on,
 *				$NAME_cdev its character device
 *	run COMMAND		run a shell command, which must succeed
 *	test LIMIT NAME		a test called NAME, which may take LIMIT seconds
 *	arg ARGUMENT		its program, then its arguments, $NAME expanded
 *	filter PATTERN		run only those of its subtests that match
 *	kexec			the kernel starts itself after it, and that one runs what
 *				follows: it does all the rest, but no test of before
 *	shell			no tests: a shell on the console
 *
 * A setup that fails ends the run ("Bail out!"): a test that runs on something
 * else than the table says would prove nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "guest.h"

#define INSTRUCTIONS	"/run"
#define MAX_TESTS	256

static struct test tests[MAX_TESTS];
static unsigned int nr_tests;
static bool want_shell;

static void do_mount(const char *type, const char *where, const char *options)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, options))
		bail_out("mount %s at %s: %s", type, where, strerror(errno));
}

static void mount_all(void)
{
	do_mount("proc", "/proc", NULL);
	do_mount("sysfs", "/sys", NULL);
	/* Over the initramfs's /dev/console, which is open already */
	do_mount("devtmpfs", "/dev", NULL);
	do_mount("tmpfs", "/dev/shm", NULL);
	do_mount("tmpfs", "/tmp", NULL);
	do_mount("hugetlbfs", "/dev/hugepages", NULL);
	do_mount("debugfs", "/sys/kernel/debug", NULL);
	symlink("/proc/self/fd", "/dev/fd");
}

static void open_ktap(const char *device)
{
	struct termios termios;
	int fd;

	fd = open(device, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || tcgetattr(fd, &termios))
		bail_out("%s, for results: %s", device, strerror(errno));
	cfmakeraw(&termios);
	tcsetattr(fd, TCSANOW, &termios);

	ktap = fdopen(fd, "w");
	if (!ktap)
		bail_out("out of memory");
	setvbuf(ktap, NULL, _IOLBF, 0);
	if (!tests_done())
		fprintf(ktap, "KTAP version 1\n");
}

static void write_checked(const char *path, const char *value)
{
	char now[256];
	int ret;

	ret = write_file(path, value);
	if (ret)
		bail_out("write %s %s: %s", path, value, strerror(-ret));
	if (!read_file(path, now, sizeof(now)) && strcmp(now, value))
		bail_out("write %s %s: it reads %s", path, value, now);
}

static void run_command(const char *command)
{
	int status = system(command);

	if (status)
		bail_out("run %s: status %#x", command, status);
}

/* What of the kernel is not built in, all of it */
static void load_modules(void)
{
	if (access("/lib/modules", F_OK))
		return;
	run_command("depmod && cd /lib/modules/$(uname -r) &&"
		    " for module in *.ko; do modprobe ${module%.ko} || exit; done");
}

/* An argument that is $NAME stands for the address of the device NAME */
static void expand_arg(struct test *test, const char *arg)
{
	const char *value = arg;

	if (arg[0] == '$') {
		value = getenv(arg + 1);
		if (!value)
			bail_out("%s: no device is called %s", test->name,
				 arg + 1);
	}
	add_arg(test, value);
}

static struct test *new_test(const char *limit, const char *name)
{
	struct test *test = &tests[nr_tests++];

	if (nr_tests > MAX_TESTS)
		bail_out("more than %d tests", MAX_TESTS);
	/* The place may be that of one that the filter left out */
	*test = (struct test){
		.name = xstrdup(name),
		.limit = strtoul(limit, NULL, 10),
	};
	return test;
}

static void obey(char *line)
{
	static struct test *test;
	char *word = strsep(&line, " ");
	char *rest = line ?: "";

	if (!strcmp(word, "arg") && test) {
		expand_arg(test, rest);
	} else if (!strcmp(word, "kexec") && test) {
		test->kexec = true;
	} else if (!strcmp(word, "filter") && test) {
		if (!filter_test(test, rest))
			nr_tests--;
		test = NULL;
	} else if (!strcmp(word, "test")) {
		word = strsep(&rest, " ");
		test = new_test(word, rest ?: word);
	} else if (!strcmp(word, "ktap")) {
		open_ktap(rest);
	} else if (!strcmp(word, "write")) {
		word = strsep(&rest, " ");
		write_checked(word, rest ?: "");
	} else if (!strcmp(word, "run")) {
		run_command(rest);
	} else if (!strcmp(word, "bind")) {
		word = strsep(&rest, " ");
		bind_device(word, rest ?: "");
	} else if (!strcmp(word, "shell")) {
		want_shell = true;
	} else {
		bail_out("unknown instruction: %s %s", word, rest);
	}
}

static void read_instructions(void)
{
	char *line = NULL;
	size_t size = 0;
	FILE *file;

	file = fopen(INSTRUCTIONS, "re");
	if (!file)
		bail_out("%s: %s", INSTRUCTIONS, strerror(errno));
	while (getline(&line, &size, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (*line)
			obey(line);
	}
	free(line);
	fclose(file);
}

/* The applets that a test or a person may call by name */
static void install_busybox(void)
{
	pid_t pid = fork();

	if (!pid) {
		execl("/bin/busybox", "busybox", "--install", "-s", "/bin",
		      NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

/* A shell with job control, which needs a session and a terminal of its own */
static void run_shell(void)
{
	pid_t pid, dead;
	char tty[64];

	/* /dev/console cannot be a controlling terminal, what is behind it can */
	if (read_file("/sys/class/tty/console/active", tty, sizeof(tty)) ||
	    !*tty)
		bail_out("no console to start a shell on");

	pid = fork();
	if (!pid) {
		char path[80];
		int fd;

		snprintf(path, sizeof(path), "/dev/%s",
			 strrchr(tty, ' ') ? strrchr(tty, ' ') + 1 : tty);
		setsid();
		fd = open(path, O_RDWR);
		if (fd < 0)
			_exit(127);
		ioctl(fd, TIOCSCTTY, 0);
		for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
			dup2(fd, i);
		if (fd > STDERR_FILENO)
			close(fd);
		execl("/bin/sh", "-sh", NULL);
		_exit(127);
	}
	do
		dead = wait(NULL);
	while (dead != pid && (dead > 0 || errno == EINTR));
}

/*
 * kmemleak does not scan by itself here, and looks at nothing younger than five seconds.
 * The first scan only takes checksums. What it finds belongs on the console,
 * where the host looks for reports.
 */
static void scan_for_leaks(void)
{
	static const char path[] = "/sys/kernel/debug/kmemleak";
	char buf[4096];
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY);
	if (fd < 0)
		return;
	sleep(6);
	if (write_file(path, "scan") || write_file(path, "scan"))
		bail_out("cannot make kmemleak scan: %s", strerror(errno));
	while ((len = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, len, stdout);
	close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	mount_all();
	setenv("PATH", "/bin:/tests", 1);
	setenv("HOME", "/", 1);
	install_busybox();
	load_modules();
	read_instructions();

	if (want_shell) {
		run_shell();
		power_off();
	}

	if (!tests_done())
		fprintf(ktap, "1..%u\n", nr_tests);
	for (unsigned int i = tests_done(); i < nr_tests; i++) {
		run_test(&tests[i], i + 1);
		if (tests[i].kexec) {
			scan_for_leaks();
			start_next_kernel(i + 1);
		}
	}
	scan_for_leaks();

	/* The host takes a stream without this line for a guest that died. */
	fprintf(ktap, "# init: the end\n");
	power_off();
}
