// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "e2e.h"

#define NAPI_WAIT_MS 2000

static int ip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs `ip WORDS`. */
static int ip(const char *format, ...)
{
	char command[320] = "ip ";
	va_list args;

	va_start(args, format);
	vsnprintf(command + 3, sizeof(command) - 3, format, args);
	va_end(args);
	return system(command) ? -EIO : 0;
}

void bench_net_enter(const char *name)
{
	PG_CLOSE int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		bench_die("entering the namespace %s: %s", name, strerror(errno));
}

/* Without an XDP program a veth interface has NAPI only while GRO is on. */
static void switch_gro_on(const char *interface)
{
	struct ethtool_value value = { .cmd = ETHTOOL_SGRO, .data = 1 };
	PG_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_data = (void *)&value };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request))
		bench_die("switching GRO on, on %s: %s", interface, strerror(errno));
}

/* /sys shows the interfaces of the namespace that mounted it: so mount another one. */
static void switch_threads_on(const char *interface)
{
	PG_CLOSE int fd = -1;
	char path[80];

	snprintf(path, sizeof(path), "/sys/class/net/%s/threaded", interface);
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL))
		bench_die("mounting sysfs: %s", strerror(errno));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		bench_die("%s: %s", path, strerror(errno));
}

/* In a child, which may change its namespaces. */
static void prepare_interface(const char *name, const char *interface)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		bench_net_enter(name);
		switch_gro_on(interface);
		switch_threads_on(interface);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
		bench_die("preparing %s", interface);
}

static int make_pair(const struct bench_net *net)
{
	int rc = ip("netns add %s", net->server);

	if (!rc)
		rc = ip("netns add %s", net->client);
	if (!rc)
		rc = ip("link add %s netns %s address " CLIENT_MAC
			" numtxqueues 1 numrxqueues 1 type veth peer name %s netns %s "
			"address " SERVER_MAC " numtxqueues 1 numrxqueues 1",
			net->client_if, net->client, net->server_if, net->server);
	if (!rc)
		rc = ip("-n %s addr add " SERVER_IP "/24 dev %s", net->server, net->server_if);
	if (!rc)
		rc = ip("-n %s link set %s up", net->server, net->server_if);
	if (!rc)
		rc = ip("-n %s link set lo up", net->server);
	if (!rc)
		rc = ip("-n %s link set %s up", net->client, net->client_if);
	/* nobody answers ARP at the client's end */
	return rc ? rc
		  : ip("-n %s neigh replace " CLIENT_IP " lladdr " CLIENT_MAC
		       " dev %s nud permanent",
		       net->server, net->server_if);
}

void bench_net_open(struct bench_net *net)
{
	snprintf(net->server, sizeof(net->server), "packgate-bench-%d-s", getpid());
	snprintf(net->client, sizeof(net->client), "packgate-bench-%d-c", getpid());
	snprintf(net->server_if, sizeof(net->server_if), "b%ds", getpid());
	snprintf(net->client_if, sizeof(net->client_if), "b%dc", getpid());
	net->made = true;
	if (make_pair(net))
		bench_die("making the namespaces and the veth pair");
	prepare_interface(net->server, net->server_if);
	prepare_interface(net->client, net->client_if);
}

void bench_net_close(struct bench_net *net)
{
	if (!net->made)
		return;
	net->made = false;
	ip("netns del %s 2>/dev/null", net->client);
	ip("netns del %s 2>/dev/null", net->server);
}

/* The kernel thread napi/INTERFACE-ID, or 0. */
static pid_t find_napi(const char *interface)
{
	char want[32], path[64], name[64];
	DIR *directory = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	snprintf(want, sizeof(want), "napi/%s-", interface);
	while (directory && !found && (entry = readdir(directory))) {
		PG_FCLOSE FILE *file = NULL;

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", entry->d_name);
		file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file) &&
		    !strncmp(name, want, strlen(want) < 15 ? strlen(want) : 15))
			found = atoi(entry->d_name);
	}
	if (directory)
		closedir(directory);
	return found;
}

pid_t bench_net_napi(const char *interface, int cpu)
{
	pid_t pid = 0;

	for (int i = 0; i < NAPI_WAIT_MS && !(pid = find_napi(interface)); i++)
		usleep(1000);
	if (!pid)
		bench_die("%s has no NAPI thread", interface);
	bench_pin(pid, cpu);
	return pid;
}
