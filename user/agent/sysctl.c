// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "sysctl.h"

#define MEMORY_FILE "sysctl"

static const char *const files[] = {
#define PG_X(name, file) file,
	PG_SYSCTLS(PG_X)
#undef PG_X
};

static const char *const names[] = {
#define PG_X(name, file) "net.ipv4." file,
	PG_SYSCTLS(PG_X)
#undef PG_X
};

const char *pg_sysctl_name(enum pg_sysctl sysctl)
{
	return names[sysctl];
}

static int open_sysctl(enum pg_sysctl sysctl, int flags)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", files[sysctl]);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int pg_sysctl_read(enum pg_sysctl sysctl)
{
	PG_CLOSE int fd = open_sysctl(sysctl, O_RDONLY);
	char text[4] = "";
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	return text[0] >= '0' && text[0] <= '9' ? text[0] - '0' : -EINVAL;
}

static int write_sysctl(enum pg_sysctl sysctl, int value, struct pg_error *error)
{
	PG_CLOSE int fd = open_sysctl(sysctl, O_WRONLY);
	char text = (char)('0' + value);
	int err = fd < 0 ? fd : write(fd, &text, 1) == 1 ? 0 : -errno;

	return err ? pg_error_set(error, err, "setting %s=%d: %s", names[sysctl], value,
				  strerror(-err))
		   : 0;
}

/* --- what it was before ------------------------------------------------------------------------
 */

void pg_sysctl_memory_load(const char *directory, struct pg_sysctl_memory *ret_memory)
{
	char path[PATH_MAX], name[32];
	PG_FCLOSE FILE *file = NULL;
	int before, set, i;

	for (i = 0; i < PG_SYSCTL_COUNT; i++)
		ret_memory->values[i].before = ret_memory->values[i].set = -1;
	snprintf(path, sizeof(path), "%s/" MEMORY_FILE, directory);
	file = fopen(path, "re");
	while (file && fscanf(file, "%31s %d %d\n", name, &before, &set) == 3) {
		for (i = 0; i < PG_SYSCTL_COUNT; i++) {
			if (strcmp(name, files[i]) || before < 0 || before > 9 || set < 0 ||
			    set > 9)
				continue;
			ret_memory->values[i].before = before;
			ret_memory->values[i].set = set;
		}
	}
}

static int write_memory(const char *path, const struct pg_sysctl_memory *memory)
{
	PG_FCLOSE FILE *file = fopen(path, "we");
	int i;

	if (!file)
		return -errno;
	for (i = 0; i < PG_SYSCTL_COUNT; i++)
		if (memory->values[i].before >= 0)
			fprintf(file, "%s %d %d\n", files[i], memory->values[i].before,
				memory->values[i].set);
	return fflush(file) || fsync(fileno(file)) ? -errno : 0;
}

static int save(const char *directory, const struct pg_sysctl_memory *memory,
		struct pg_error *error)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	int err;

	snprintf(path, sizeof(path), "%s/" MEMORY_FILE, directory);
	snprintf(fresh, sizeof(fresh), "%s/" MEMORY_FILE ".new", directory);
	err = write_memory(fresh, memory);
	if (!err && rename(fresh, path))
		err = -errno;
	return err ? pg_error_set(error, err, "remembering sysctls in %s: %s", path, strerror(-err))
		   : 0;
}

int pg_sysctl_set(const char *directory, struct pg_sysctl_memory *memory, enum pg_sysctl sysctl,
		  int value, struct pg_error *error)
{
	int now = pg_sysctl_read(sysctl), err;

	if (now < 0)
		return pg_error_set(error, now, "reading %s: %s", names[sysctl], strerror(-now));
	if (now == value)
		return 0;
	if (memory->values[sysctl].before < 0)
		memory->values[sysctl].before = now;
	memory->values[sysctl].set = value;
	err = save(directory, memory, error);
	return err ? err : write_sysctl(sysctl, value, error);
}

int pg_sysctl_restore(const char *directory, struct pg_sysctl_memory *memory,
		      struct pg_error *error)
{
	int restored = 0, i, err;
	bool any = false;

	for (i = 0; i < PG_SYSCTL_COUNT; i++) {
		int before = memory->values[i].before;

		if (before < 0)
			continue;
		any = true;
		if (pg_sysctl_read(i) == memory->values[i].set && before != memory->values[i].set) {
			err = write_sysctl(i, before, error);
			if (err)
				return err;
			restored++;
		}
		memory->values[i].before = memory->values[i].set = -1;
	}
	err = any ? save(directory, memory, error) : 0;
	return err ? err : restored;
}
