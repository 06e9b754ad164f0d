// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "owners.h"
#include "printable.h"

static int compare_inodes(const void *left, const void *right)
{
	uint64_t a = (*(struct pg_tcpq_listener *const *)left)->inode;
	uint64_t b = (*(struct pg_tcpq_listener *const *)right)->inode;

	return a < b ? -1 : a > b;
}

struct search {
	struct pg_tcpq_listener **by_inode;
	size_t n, missing;
};

struct process {
	int fd;
	pid_t pid;
	char comm[PG_TCPQ_COMM_BYTES]; /* read at the first match */
};

static void read_comm(struct process *process)
{
	PG_CLOSE int fd = openat(process->fd, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t bytes = fd < 0 ? 0 : read(fd, process->comm, sizeof(process->comm));

	/* the line's end becomes the terminator */
	process->comm[bytes > 0 ? bytes - 1 : 0] = '\0';
	pg_make_printable(process->comm);
}

static void match_file(struct search *search, struct process *process, int files, const char *name)
{
	struct pg_tcpq_listener key, *key_at = &key, **found;
	unsigned long long inode;
	char target[64];
	ssize_t bytes = readlinkat(files, name, target, sizeof(target) - 1);

	if (bytes < 0)
		return;
	target[bytes] = '\0';
	if (sscanf(target, "socket:[%llu]", &inode) != 1)
		return;
	key.inode = inode;
	found = bsearch(&key_at, search->by_inode, search->n, sizeof(*found), compare_inodes);
	if (!found || (*found)->owner_pid)
		return;
	if (!process->comm[0])
		read_comm(process);
	(*found)->owner_pid = process->pid;
	memcpy((*found)->owner_comm, process->comm, sizeof(process->comm));
	search->missing--;
}

static void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* Takes the descriptor over, also when it fails. */
static DIR *directory_of(int fd)
{
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	if (!directory && fd >= 0)
		close(fd);
	return directory;
}

static void search_process(struct search *search, int proc, const char *name)
{
	PG_CLOSE int fd = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	PG_CLEANUP(close_directory) DIR *files = NULL;
	struct process process = { .fd = fd, .pid = strtol(name, NULL, 10) };
	const struct dirent *entry;

	if (fd < 0)
		return;
	files = directory_of(openat(fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	while (files && (entry = readdir(files)))
		match_file(search, &process, dirfd(files), entry->d_name);
}

static struct search index_rows(struct pg_tcpq_listener *rows, size_t n)
{
	struct search search = { .by_inode = calloc(n, sizeof(*search.by_inode)) };
	size_t i;

	for (i = 0; i < n && search.by_inode; i++) {
		rows[i].owner_pid = 0;
		rows[i].owner_comm[0] = '\0';
		if (rows[i].inode)
			search.by_inode[search.n++] = &rows[i];
	}
	search.missing = search.n;
	if (search.n)
		qsort(search.by_inode, search.n, sizeof(*search.by_inode), compare_inodes);
	return search;
}

int pg_owners_find(struct pg_tcpq_listener *rows, size_t n)
{
	PG_CLEANUP(close_directory) DIR *proc = NULL;
	PG_FREE struct pg_tcpq_listener **owner = NULL;
	const struct dirent *entry;
	struct search search;

	if (!n)
		return 0;
	search = index_rows(rows, n);
	owner = search.by_inode;
	if (!owner)
		return -ENOMEM;
	proc = opendir("/proc");
	if (!proc)
		return -errno;
	/* the kernel lists processes by rising pid, so the first match is the lowest */
	while (search.missing && (entry = readdir(proc))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			search_process(&search, dirfd(proc), entry->d_name);
	}
	return 0;
}
