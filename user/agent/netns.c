// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "netns.h"
#include "printable.h"

#define NAMES	     "/run/netns"
#define OWN	     "/proc/thread-self/ns/net"
#define BUCKETS	     (4 * PG_NETNS_MAX)
#define CUT_MAX	     (2 * PG_NETNS_MAX)
#define CGROUP_BYTES 8192
#define ID_DIGITS    (PG_NETNS_CONTAINER - 1)
#define SHORT_DIGITS 12

/* Open addressing by inode, 0 = free; one beyond PG_NETNS_MAX has no row. */
struct bucket {
	uint64_t inode;
	struct pg_netns *row;
};

struct collection {
	struct pg_netns *rows;
	size_t n;
	size_t cut; /* up to CUT_MAX */
	dev_t device;
	struct bucket buckets[BUCKETS];
};

static void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

#define DIRECTORY PG_CLEANUP(close_directory) DIR *

static void free_collection(struct collection **collection)
{
	if (!*collection)
		return;
	free((*collection)->rows);
	free(*collection);
}

/* --- names -------------------------------------------------------------------------------------
 */

static bool is_separator(char c)
{
	return c == '/' || c == '-' || c == ':';
}

static bool ends_component(const char *at, const char *end)
{
	return at == end || *at == '/' || *at == '.' || *at == '\n';
}

bool pg_netns_container(const char *text, size_t bytes, char ret_id[PG_NETNS_CONTAINER])
{
	const char *at, *start = text, *end = text + bytes;
	bool found = false;

	for (at = text; at <= end; at++) {
		if (at < end && isxdigit((unsigned char)*at))
			continue;
		if (at - start == ID_DIGITS && start > text && is_separator(start[-1]) &&
		    ends_component(at, end)) {
			memcpy(ret_id, start, ID_DIGITS);
			ret_id[ID_DIGITS] = '\0';
			found = true;
		}
		start = at + 1;
	}
	return found;
}

/* Reads the start of a small file. Returns its bytes, 0 if there is nothing to be had. */
static size_t read_start(int directory, const char *name, char *text, size_t room)
{
	PG_CLOSE int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	ssize_t bytes = fd < 0 ? 0 : read(fd, text, room);

	return bytes > 0 ? (size_t)bytes : 0;
}

static void read_comm(int process, char ret_comm[PG_NETNS_COMM])
{
	size_t bytes = read_start(process, "comm", ret_comm, PG_NETNS_COMM);

	/* the line's end becomes the terminator */
	ret_comm[bytes ? bytes - 1 : 0] = '\0';
	pg_make_printable(ret_comm);
}

/* Process 1 is there, or (where it was moved elsewhere) the first of the kernel's own threads. */
static bool is_first(const struct pg_netns *netns)
{
	return netns->pid == 1 || (netns->pid == 2 && !strcmp(netns->comm, "kthreadd"));
}

/* What the process with the lowest pid tells, and the name of a namespace without one. */
static void describe(struct pg_netns *netns)
{
	char path[32], cgroup[CGROUP_BYTES];
	PG_CLOSE int process = -1;

	if (netns->pid) {
		snprintf(path, sizeof(path), "/proc/%d", netns->pid);
		process = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (process >= 0) {
		read_comm(process, netns->comm);
		pg_netns_container(cgroup, read_start(process, "cgroup", cgroup, sizeof(cgroup)),
				   netns->container);
	}
	if (netns->name[0])
		return;
	if (is_first(netns))
		strcpy(netns->name, "init");
	else if (netns->container[0])
		snprintf(netns->name, sizeof(netns->name), "%.*s", SHORT_DIGITS, netns->container);
	else if (netns->comm[0])
		snprintf(netns->name, sizeof(netns->name), "%d/%s", netns->pid, netns->comm);
	else
		snprintf(netns->name, sizeof(netns->name), "net:[%" PRIu64 "]", netns->inode);
}

static int compare_names(const void *left, const void *right)
{
	const struct pg_netns *a = left, *b = right;
	int order = strcmp(a->name, b->name);

	return order ? order : (a->inode > b->inode) - (a->inode < b->inode);
}

/* The rows are sorted by name. */
static void make_unique(struct pg_netns *rows, size_t n)
{
	char suffix[24];
	size_t i, room;

	for (i = 1; i < n; i++) {
		if (strcmp(rows[i - 1].name, rows[i].name))
			continue;
		snprintf(suffix, sizeof(suffix), "@%" PRIu64, rows[i].inode);
		room = sizeof(rows[i].name) - strlen(suffix) - 1;
		rows[i].name[strnlen(rows[i].name, room)] = '\0';
		strcat(rows[i].name, suffix);
	}
}

bool pg_netns_is(const struct pg_netns *netns, const char *word)
{
	char inode[24];

	snprintf(inode, sizeof(inode), "%" PRIu64, netns->inode);
	return !strcmp(word, netns->name) || !strcmp(word, inode) ||
	       (netns->container[0] && !strcmp(word, netns->container));
}

/* --- finding them ------------------------------------------------------------------------------
 */

/* The row of a namespace, a new one if need be; NULL when there is no room. */
static struct pg_netns *row_of(struct collection *collection, uint64_t inode)
{
	struct bucket *bucket = &collection->buckets[inode % BUCKETS];

	while (bucket->inode && bucket->inode != inode)
		bucket = bucket + 1 < collection->buckets + BUCKETS ? bucket + 1
								    : collection->buckets;
	if (bucket->inode)
		return bucket->row;
	if (collection->n == PG_NETNS_MAX && collection->cut == CUT_MAX)
		return NULL;
	bucket->inode = inode;
	if (collection->n < PG_NETNS_MAX) {
		bucket->row = &collection->rows[collection->n++];
		bucket->row->inode = inode;
	} else {
		collection->cut++;
	}
	return bucket->row;
}

static int collect_own(struct collection *collection, struct pg_error *error)
{
	struct pg_netns *row;
	struct stat own;

	if (stat(OWN, &own))
		return pg_error_set(error, -errno, "reading " OWN ": %s", strerror(errno));
	collection->device = own.st_dev;
	row = row_of(collection, own.st_ino);
	row->own = true;
	strcpy(row->path, OWN);
	return 0;
}

static void collect_name(struct collection *collection, int directory, const char *file)
{
	char name[PG_NETNS_NAME];
	struct pg_netns *row;
	struct stat it;

	/* a file that no namespace is mounted on is left behind by a crash */
	if (strlen(file) >= PG_NETNS_NAME || fstatat(directory, file, &it, 0) ||
	    it.st_dev != collection->device)
		return;
	strcpy(name, file);
	pg_make_printable(name);
	row = row_of(collection, it.st_ino);
	if (!row || (row->name[0] && strcmp(row->name, name) <= 0))
		return;
	strcpy(row->name, name);
	snprintf(row->path, sizeof(row->path), NAMES "/%.*s", PG_NETNS_NAME - 1, file);
}

static void collect_names(struct collection *collection)
{
	DIRECTORY names = opendir(NAMES);
	const struct dirent *entry;

	while (names && (entry = readdir(names)))
		if (entry->d_name[0] != '.')
			collect_name(collection, dirfd(names), entry->d_name);
}

static void collect_process(struct collection *collection, int proc, const char *name)
{
	unsigned long long inode;
	struct pg_netns *row;
	char link[32], target[32];
	ssize_t bytes;

	snprintf(link, sizeof(link), "%.10s/ns/net", name);
	bytes = readlinkat(proc, link, target, sizeof(target) - 1);
	if (bytes < 0)
		return;
	target[bytes] = '\0';
	if (sscanf(target, "net:[%llu]", &inode) != 1)
		return;
	row = row_of(collection, inode);
	/* the kernel lists processes by rising pid: the first is the lowest */
	if (!row || row->pid)
		return;
	row->pid = strtol(name, NULL, 10);
	if (!row->path[0])
		snprintf(row->path, sizeof(row->path), "/proc/%d/ns/net", row->pid);
}

static int collect_processes(struct collection *collection, struct pg_error *error)
{
	DIRECTORY proc = opendir("/proc");
	const struct dirent *entry;

	if (!proc)
		return pg_error_set(error, -errno, "listing /proc: %s", strerror(errno));
	while ((entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]))
			collect_process(collection, dirfd(proc), entry->d_name);
	return 0;
}

static struct collection *new_collection(void)
{
	struct collection *collection = calloc(1, sizeof(*collection));

	if (!collection)
		return NULL;
	collection->rows = calloc(PG_NETNS_MAX, sizeof(*collection->rows));
	if (collection->rows)
		return collection;
	free(collection);
	return NULL;
}

static bool is_in(const char *path, uint64_t inode)
{
	struct stat it;

	return !stat(path, &it) && it.st_ino == inode;
}

int pg_netns_own(struct pg_netns *ret_netns, struct pg_error *error)
{
	PG_CLEANUP(free_collection) struct collection *collection = new_collection();
	int err;

	if (!collection)
		return pg_error_set(error, -ENOMEM, "naming the network namespace: out of memory");
	err = collect_own(collection, error);
	if (err)
		return err;
	collect_names(collection);
	if (is_in("/proc/1/ns/net", collection->rows[0].inode))
		collection->rows[0].pid = 1;
	else if (is_in("/proc/2/ns/net", collection->rows[0].inode))
		collection->rows[0].pid = 2;
	describe(&collection->rows[0]);
	strcpy(collection->rows[0].path, OWN);
	*ret_netns = collection->rows[0];
	return 0;
}

int pg_netns_list(struct pg_netns **ret_rows, size_t *ret_n, size_t *ret_cut,
		  struct pg_error *error)
{
	PG_CLEANUP(free_collection) struct collection *collection = new_collection();
	size_t i;
	int err;

	if (!collection)
		return pg_error_set(error, -ENOMEM, "listing network namespaces: out of memory");
	err = collect_own(collection, error);
	if (err)
		return err;
	collect_names(collection);
	err = collect_processes(collection, error);
	if (err)
		return err;
	for (i = 0; i < collection->n; i++)
		describe(&collection->rows[i]);
	qsort(collection->rows, collection->n, sizeof(*collection->rows), compare_names);
	make_unique(collection->rows, collection->n);
	*ret_n = collection->n;
	*ret_cut = collection->cut;
	*ret_rows = TAKE_PTR(collection->rows);
	return 0;
}

/* --- going there -------------------------------------------------------------------------------
 */

struct tour {
	const struct pg_netns *rows;
	size_t n;
	pg_netns_visitor visit;
	void *context;
};

static int enter(const struct pg_netns *netns)
{
	PG_CLOSE int fd = open(netns->path, O_RDONLY | O_CLOEXEC);
	struct stat it;

	if (fd < 0)
		return errno == ESRCH ? -ENOENT : -errno;
	if (fstat(fd, &it))
		return -errno;
	/* the name or the pid has become another's */
	if (it.st_ino != netns->inode)
		return -ENOENT;
	return setns(fd, CLONE_NEWNET) ? -errno : 0;
}

static void *go(void *argument)
{
	const struct tour *tour = argument;
	size_t i;

	/* where the thread begins, no privilege is needed */
	for (i = 0; i < tour->n; i++)
		if (tour->rows[i].own)
			tour->visit(i, 0, tour->context);
	for (i = 0; i < tour->n; i++)
		if (!tour->rows[i].own)
			tour->visit(i, enter(&tour->rows[i]), tour->context);
	return NULL;
}

int pg_netns_visit(const struct pg_netns *rows, size_t n, pg_netns_visitor visit, void *context)
{
	struct tour tour = { rows, n, visit, context };
	pthread_t thread;
	int err;

	if (!n)
		return 0;
	err = pthread_create(&thread, NULL, go, &tour);
	if (!err)
		err = pthread_join(thread, NULL);
	return -err;
}
