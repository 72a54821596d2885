// SPDX-License-Identifier: GPL-2.0-only
/*
 * DPDK's testpmd as Debian has it, on two ports without an IOMMU that one wire
 * connects: what is sent by one must reach the other.
 *
 * Usage: testpmd SECONDS BDF BDF
 *
 * Each port sends a burst of frames, then returns what it receives for that many
 * seconds. testpmd is a program that knows nothing of this series: it takes the
 * devices by their VFIO groups, and finds addresses by /proc/self/pagemap.
 * Three results, as TAP: the devices are used by the noiommu mode of their group,
 * frames passed in each direction, none was lost.
 */
#include <err.h>
#include <pty.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TESTPMD		"/usr/bin/dpdk-testpmd"

/* Each port returns what it gets, so this is the least that a live wire does */
#define MIN_FRAMES	1000

/* Frames of the burst that each port starts with: as many are on the wire */
#define BURST		32

struct port {
	unsigned long long rx;
	unsigned long long tx;
	unsigned long long rx_dropped;
	unsigned long long tx_dropped;
};

struct testpmd {
	pid_t pid;
	FILE *terminal;
	bool noiommu;
	bool done;
	int num_ports;
	struct port ports[2];
};

static void start(struct testpmd *pmd, const char *first, const char *second)
{
	char first_arg[64], second_arg[64];
	char *argv[] = {
		TESTPMD, "-l", "0,1", "--in-memory", "--no-telemetry",
		"--iova-mode=pa", first_arg, second_arg, "--",
		"--forward-mode=io", "--tx-first", "--total-num-mbufs=4096",
		NULL,
	};
	int terminal;

	snprintf(first_arg, sizeof(first_arg), "--allow=%s", first);
	snprintf(second_arg, sizeof(second_arg), "--allow=%s", second);
	/* It would keep what it says in a buffer if this were a pipe */
	pmd->pid = forkpty(&terminal, NULL, NULL, NULL);
	if (pmd->pid < 0)
		err(1, "forkpty");
	if (!pmd->pid) {
		execv(argv[0], argv);
		err(1, "%s", argv[0]);
	}
	pmd->terminal = fdopen(terminal, "r+");
	if (!pmd->terminal)
		err(1, "fdopen");
}

/*
 * What a line of its says. The statistics are two lines for each port:
 *
 *   RX-packets: 1            RX-dropped: 2            RX-total: 3
 *   TX-packets: 1            TX-dropped: 2            TX-total: 3
 */
static void read_line(struct testpmd *pmd, const char *line)
{
	struct port *port = &pmd->ports[pmd->num_ports % 2];
	unsigned long long count, dropped;

	if (strstr(line, "(No-IOMMU)"))
		pmd->noiommu = true;
	if (strstr(line, "Accumulated forward statistics"))
		pmd->done = true;
	if (pmd->done)
		return;
	if (sscanf(line, " RX-packets: %llu RX-dropped: %llu", &count,
		   &dropped) == 2) {
		port->rx = count;
		port->rx_dropped = dropped;
	}
	if (sscanf(line, " TX-packets: %llu TX-dropped: %llu", &count,
		   &dropped) == 2) {
		port->tx = count;
		port->tx_dropped = dropped;
		pmd->num_ports++;
	}
}

/* Read on until testpmd says @text, or ends when that is NULL */
static bool read_until(struct testpmd *pmd, const char *text)
{
	char line[512];

	while (fgets(line, sizeof(line), pmd->terminal)) {
		line[strcspn(line, "\r\n")] = 0;
		printf("# %s\n", line);
		read_line(pmd, line);
		if (text && strstr(line, text))
			return true;
	}
	return !text;
}

static int failures;

static void result(bool passed, int number, const char *what)
{
	printf("%sok %d %s\n", passed ? "" : "not ", number, what);
	if (!passed)
		failures++;
}

/* Those that are on the wire when the ports stop are counted by one of them */
static bool none_lost(const struct port *from, const struct port *to)
{
	unsigned long long lost = from->tx - to->rx;

	printf("# %llu sent, %llu received, %llu and %llu dropped\n", from->tx,
	       to->rx, from->tx_dropped, to->rx_dropped);
	return to->rx <= from->tx && lost <= 2 * BURST && !from->tx_dropped &&
	       !to->rx_dropped;
}

int main(int argc, char **argv)
{
	struct testpmd pmd = { };
	int status;

	setlinebuf(stdout);
	if (argc != 4)
		errx(1, "usage: %s SECONDS BDF BDF", argv[0]);
	printf("1..3\n");
	start(&pmd, argv[2], argv[3]);
	if (read_until(&pmd, "Press enter to exit")) {
		sleep(atoi(argv[1]));
		if (write(fileno(pmd.terminal), "\n", 1) != 1)
			err(1, "write to testpmd");
		read_until(&pmd, NULL);
	}
	if (waitpid(pmd.pid, &status, 0) != pmd.pid)
		err(1, "waitpid");
	if (status)
		printf("# testpmd: wait status %#x\n", status);

	result(!status && pmd.noiommu, 1, "the groups are in noiommu mode");
	result(pmd.num_ports == 2 && pmd.ports[0].rx >= MIN_FRAMES &&
	       pmd.ports[1].rx >= MIN_FRAMES, 2, "frames pass both ways");
	result(pmd.num_ports == 2 && none_lost(&pmd.ports[0], &pmd.ports[1]) &&
	       none_lost(&pmd.ports[1], &pmd.ports[0]), 3, "none is lost");
	return failures ? 1 : 0;
}
