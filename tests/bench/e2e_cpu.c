// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "e2e.h"

void bench_raise_group(void)
{
	PG_FCLOSE FILE *file = NULL;

	/* the leader of a group stays in its session, whose other processes are not ours to raise
	 */
	if (setsid() < 0)
		return;
	file = fopen("/proc/self/autogroup", "we");
	if (file)
		fputs("-20", file);
}

void bench_stand_alone(void)
{
	bench_raise_group();
	bench_pin(0, SERVER_CPU);
}

void bench_pin(pid_t pid, int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(pid, sizeof(cpus), &cpus))
		bench_die("giving process %d CPU %d: %s", pid, cpu, strerror(errno));
	/* what else runs on the machine must not look like a loss */
	if (setpriority(PRIO_PROCESS, pid, -20))
		bench_die("raising the priority of process %d: %s", pid, strerror(errno));
}

/* First number of schedstat: ns on a CPU, exact, interrupts that hit the thread included. */
static double thread_seconds(pid_t pid, const char *thread)
{
	PG_FCLOSE FILE *file = NULL;
	unsigned long long ns;
	char path[80];

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid, thread);
	file = fopen(path, "re");
	return file && fscanf(file, "%llu", &ns) == 1 ? ns / 1e9 : 0;
}

double bench_cpu_seconds(pid_t pid)
{
	struct dirent *entry;
	DIR *directory;
	double total = 0;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	directory = opendir(path);
	if (!directory)
		bench_die("process %d is gone", pid);
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			total += thread_seconds(pid, entry->d_name);
	closedir(directory);
	return total;
}

double bench_cpu_busy(int cpu)
{
	PG_FCLOSE FILE *file = fopen("/proc/stat", "re");
	unsigned long long t[8];
	char line[256], name[16];

	snprintf(name, sizeof(name), "cpu%d ", cpu);
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, strlen(name)) ||
		    sscanf(line + strlen(name), "%llu %llu %llu %llu %llu %llu %llu %llu", &t[0],
			   &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) != 8)
			continue;
		/* user, nice, system, irq, softirq: not idle, iowait, stolen */
		return (double)(t[0] + t[1] + t[2] + t[5] + t[6]) / sysconf(_SC_CLK_TCK);
	}
	return 0;
}
