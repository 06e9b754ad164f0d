// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "doctor.h"

static void close_folder(DIR **folder)
{
	if (*folder)
		closedir(*folder);
}

#define FOLDER PG_CLEANUP(close_folder) DIR

#define ANY_STATE  0
#define TCP_LISTEN 10 /* as /proc/net/tcp says it */

/* The inode of a socket in this state bound to the port in a /proc/net table; 0 = none. */
static unsigned long find_socket(const char *table, uint16_t port, unsigned int wanted)
{
	PG_FCLOSE FILE *file = fopen(table, "re");
	unsigned int bound, state;
	unsigned long inode = 0;
	char line[512];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%*u: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %lu", &bound,
			   &state, &inode) == 3 &&
		    bound == port && (!wanted || state == wanted))
			return inode;
	return 0;
}

static bool process_holds(const char *pid, unsigned long inode)
{
	char path[64], target[64], wanted[32];
	FOLDER *folder = NULL;
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		ssize_t n = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);

		if (n > 0 && (size_t)n == strlen(wanted) && !memcmp(target, wanted, (size_t)n))
			return true;
	}
	return false;
}

/* "nginx[123]", or "a process that this user cannot see". */
static void name_owner(unsigned long inode, char text[96])
{
	FOLDER *folder = opendir("/proc");
	struct dirent *entry;
	char path[64], name[32] = "?";

	strcpy(text, "a process that this user cannot see");
	while (folder && (entry = readdir(folder))) {
		PG_FCLOSE FILE *file = NULL;

		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !process_holds(entry->d_name, inode))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/comm", entry->d_name);
		file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file))
			name[strcspn(name, "\n")] = 0;
		snprintf(text, 96, "%s[%.16s]", name, entry->d_name);
		return;
	}
}

static void judge(struct findings *findings, const char *check, const char *protocol, uint16_t port,
		  unsigned long inode)
{
	char owner[96];

	if (!inode) {
		finding_add(findings, VERDICT_OK, check, "", "free");
		return;
	}
	name_owner(inode, owner);
	if (!strncmp(owner, "packgated[", 10))
		finding_add(findings, VERDICT_OK, check, "", "held by %s", owner);
	else
		finding_add(findings, VERDICT_FAIL, check,
			    "stop that process, or configure another port",
			    "%s port %u is bound by %s", protocol, port, owner);
}

void doctor_port(struct findings *findings, const char *endpoint, uint16_t port)
{
	unsigned long inode = find_socket("/proc/net/udp", port, ANY_STATE);
	char check[64];

	if (!inode)
		inode = find_socket("/proc/net/udp6", port, ANY_STATE);
	snprintf(check, sizeof(check), "port %u (%s)", port, endpoint);
	judge(findings, check, "UDP", port, inode);
}

void doctor_tcp_port(struct findings *findings, const char *what, uint16_t port)
{
	unsigned long inode = find_socket("/proc/net/tcp", port, TCP_LISTEN);
	char check[64];

	if (!inode)
		inode = find_socket("/proc/net/tcp6", port, TCP_LISTEN);
	snprintf(check, sizeof(check), "TCP port %u (%s)", port, what);
	judge(findings, check, "TCP", port, inode);
}
