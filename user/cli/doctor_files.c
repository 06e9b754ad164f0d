// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "doctor.h"

#define FREE_MIN (16ull << 20) /* of the store's file system: its log is cut at 16 MiB */

/* The agent makes the directory itself, but not what it lies in. */
static void check_parent(struct findings *findings, const char *directory)
{
	char parent[PATH_MAX], *slash;
	struct stat st;

	snprintf(parent, sizeof(parent), "%s", directory);
	slash = strrchr(parent, '/');
	if (slash)
		slash[slash == parent] = 0;
	if (slash && (stat(parent, &st) || !S_ISDIR(st.st_mode)))
		finding_add(findings, VERDICT_FAIL, "state directory",
			    "make it, or name another `state: { directory: ... }`",
			    "%s, in which it is to be made, is no directory", parent);
	else
		finding_add(findings, VERDICT_OK, "state directory", "", "the agent will make %s",
			    directory);
}

static void check_space(struct findings *findings, const char *directory)
{
	unsigned long long room;
	struct statfs fs;

	if (statfs(directory, &fs)) {
		finding_add(findings, VERDICT_WARN, "state directory", "run doctor as root",
			    "%s: %s", directory, strerror(errno));
		return;
	}
	room = (unsigned long long)fs.f_bavail * (unsigned long long)fs.f_bsize;
	if (room < FREE_MIN)
		finding_add(findings, VERDICT_WARN, "state directory",
			    "free space: on a full file system no session can be added",
			    "%s has %llu KiB left", directory, room >> 10);
	else
		finding_add(findings, VERDICT_OK, "state directory", "", "%s has %llu MiB left",
			    directory, room >> 20);
}

static void check_directory(struct findings *findings, const char *directory)
{
	struct stat st;
	bool there = !stat(directory, &st);

	if (!there && (errno == ENOENT || errno == ENOTDIR))
		check_parent(findings, directory);
	else if (there && (!S_ISDIR(st.st_mode) || st.st_mode & 077))
		finding_add(findings, VERDICT_FAIL, "state directory",
			    "chmod it to 0700: it keeps the sessions' sealed secrets",
			    "%s is %s (mode %04o)", directory,
			    S_ISDIR(st.st_mode) ? "open to others" : "no directory",
			    st.st_mode & 07777);
	else
		check_space(findings, directory);
}

static bool is_number(const char *text)
{
	return *text && !text[strspn(text, "0123456789")];
}

static void check_group(struct findings *findings, const char *key, const char *group)
{
	char check[64];

	snprintf(check, sizeof(check), "group of %s", key);
	if (is_number(group) || getgrnam(group))
		finding_add(findings, VERDICT_OK, check, "", "%s", group);
	else
		finding_add(findings, VERDICT_WARN, check,
			    "groupadd --system it, or configure another one: until then only the "
			    "agent's own group may connect",
			    "%s does not exist", group);
}

void doctor_files(struct findings *findings, const struct pg_config *config)
{
	check_directory(findings, config->state.directory);
	check_group(findings, "app", config->app.main.group);
	check_group(findings, "control", config->control.group);
}
