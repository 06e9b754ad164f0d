// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "cleanup.h"
#include "pins.h"

#define GATE_PROGRAM   "pg_gate"
#define SHIELD_PROGRAM "pg_shield_tc"
#define LINK_TYPE_TCX  11 /* BPF_LINK_TYPE_TCX, younger than the headers */

static void close_folder(DIR **folder)
{
	if (*folder)
		closedir(*folder);
}

#define FOLDER PG_CLEANUP(close_folder) DIR

bool pg_pins_name_valid(const char *name)
{
	size_t length = strlen(name);

	return length && length < PG_PINS_NAME_MAX && strcspn(name, "/ \t\n") == length &&
	       strcmp(name, ".") && strcmp(name, "..");
}

/* bpffs takes no dots: the agent pins eth0.100 as eth0:100, and no interface has a colon. */
static void swap_characters(char *name, char from, char to)
{
	for (; *name; name++)
		if (*name == from)
			*name = to;
}

static int fail(struct pg_error *error, const char *what, const char *path)
{
	int rc = -errno;

	return pg_error_set(error, rc, "%s %s: %s", what, path, strerror(-rc));
}

static bool is_folder(int at, const char *name)
{
	struct stat st;

	return !fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode);
}

int pg_pins_list(const char *instance, char names[PG_PINS_NAMES_MAX][PG_PINS_NAME_MAX],
		 size_t *ret_count, struct pg_error *error)
{
	FOLDER *folder = NULL;
	char path[PATH_MAX];
	struct dirent *entry;
	size_t count = 0;

	snprintf(path, sizeof(path), PG_PINS_ROOT "/%s", instance);
	folder = opendir(path);
	if (!folder && errno == ENOENT)
		return pg_error_set(error, -ENOENT, "instance %s has no pins under %s", instance,
				    PG_PINS_ROOT);
	if (!folder)
		return fail(error, "open", path);
	while ((entry = readdir(folder)) && count < PG_PINS_NAMES_MAX) {
		if (!pg_pins_name_valid(entry->d_name) || !is_folder(dirfd(folder), entry->d_name))
			continue;
		strcpy(names[count], entry->d_name);
		swap_characters(names[count++], ':', '.');
	}
	*ret_count = count;
	return 0;
}

static bool is_program(__u32 id, __u32 type, const char *name)
{
	PG_CLOSE int fd = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = { 0 };
	__u32 bytes = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &bytes) && info.type == type &&
	       !strcmp(info.name, name);
}

/* Whether the pin is a link that is not ours; programs and maps hold nothing attached. */
static bool is_foreign_link(const char *path)
{
	PG_CLOSE int fd = bpf_obj_get(path);
	struct bpf_link_info info = { 0 };
	__u32 bytes = sizeof(info);
	char target[64], link[64];
	ssize_t n;

	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return true;
	target[n] = 0;
	if (!strstr(target, "bpf_link") && !strstr(target, "bpf-link"))
		return false;
	if (bpf_obj_get_info_by_fd(fd, &info, &bytes))
		return true;
	if (info.type == LINK_TYPE_TCX)
		return !is_program(info.prog_id, BPF_PROG_TYPE_SCHED_CLS, SHIELD_PROGRAM);
	return info.type != BPF_LINK_TYPE_XDP ||
	       !is_program(info.prog_id, BPF_PROG_TYPE_XDP, GATE_PROGRAM);
}

/* Calls each for every file of a folder that is no folder itself. */
static int for_each_pin(const char *path, int (*each)(const char *path, struct pg_error *error),
			struct pg_error *error)
{
	FOLDER *folder = opendir(path);
	struct dirent *entry;
	char file[PATH_MAX];
	int rc = 0;

	if (!folder)
		return fail(error, "open", path);
	while (!rc && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.' || is_folder(dirfd(folder), entry->d_name))
			continue;
		if ((size_t)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name) <
		    sizeof(file))
			rc = each(file, error);
	}
	return rc;
}

static int check_pin(const char *path, struct pg_error *error)
{
	if (!is_foreign_link(path))
		return 0;
	return pg_error_set(
		error, -EPERM,
		"%s is not a link of packgate's gate or shield; it stays, see `bpftool link`",
		path);
}

static int remove_pin(const char *path, struct pg_error *error)
{
	return unlink(path) && errno != ENOENT ? fail(error, "remove", path) : 0;
}

/* Without its pin a link goes only later, when the kernel gets round to it. */
static void detach_link(const char *folder, const char *name)
{
	char path[PATH_MAX];
	PG_CLOSE int fd = -1;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
		return;
	fd = bpf_obj_get(path);
	if (fd >= 0)
		bpf_link_detach(fd);
}

int pg_pins_remove_interface(const char *instance, const char *interface, struct pg_error *error)
{
	char path[PATH_MAX], folder[PG_PINS_NAME_MAX];
	int rc;

	snprintf(folder, sizeof(folder), "%s", interface);
	swap_characters(folder, '.', ':');
	snprintf(path, sizeof(path), PG_PINS_ROOT "/%s/%s", instance, folder);
	if (access(path, F_OK) && errno == ENOENT)
		return pg_error_set(error, -ENOENT, "%s has no gate of instance %s", interface,
				    instance);
	rc = for_each_pin(path, check_pin, error);
	if (rc)
		return rc;
	/* the gate first: a cookie that it makes must find the program that takes it back */
	detach_link(path, "link");
	detach_link(path, "shield_link");
	rc = for_each_pin(path, remove_pin, error);
	if (rc)
		return rc;
	return rmdir(path) ? fail(error, "remove", path) : 0;
}

int pg_pins_remove_instance(const char *instance, struct pg_error *error)
{
	char names[PG_PINS_NAMES_MAX][PG_PINS_NAME_MAX], path[PATH_MAX];
	size_t count = 0;
	int rc;

	rc = pg_pins_list(instance, names, &count, error);
	if (rc)
		return rc;
	if (count)
		return pg_error_set(error, -EBUSY, "instance %s still has a gate on %s", instance,
				    names[0]);
	snprintf(path, sizeof(path), PG_PINS_ROOT "/%s", instance);
	rc = for_each_pin(path, check_pin, error);
	if (!rc)
		rc = for_each_pin(path, remove_pin, error);
	if (rc)
		return rc;
	if (rmdir(path))
		return fail(error, "remove", path);
	/* Stays while another instance has pins. */
	rmdir(PG_PINS_ROOT);
	return 0;
}
