// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "packgate/tcpq.h"
#include "tcpq.h"
#include "tcpq.skel.h"

/* What the kernel collects before it hands out records, on 4 KiB pages. */
#define READ_BYTES 32768

struct pg_tcpq {
	struct tcpq_bpf *skeleton;
	struct bpf_link *link;
	uint64_t cut;
};

void pg_tcpq_free(struct pg_tcpq *tcpq)
{
	if (!tcpq)
		return;
	bpf_link__destroy(tcpq->link);
	tcpq_bpf__destroy(tcpq->skeleton);
	free(tcpq);
}

static void free_tcpq(struct pg_tcpq **tcpq)
{
	pg_tcpq_free(*tcpq);
}

static const char *advice(int err)
{
	switch (err) {
	case -EPERM:
	case -EACCES:
		return "; it needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN";
	case -ENOENT:
	case -ESRCH:
	case -EINVAL:
	case -EOPNOTSUPP:
		return "; it needs Linux 6.1 with CONFIG_DEBUG_INFO_BTF";
	default:
		return "";
	}
}

int pg_tcpq_open(struct pg_tcpq **ret_tcpq, struct pg_error *error)
{
	PG_CLEANUP(free_tcpq) struct pg_tcpq *tcpq = calloc(1, sizeof(*tcpq));
	int err;

	if (!tcpq)
		return pg_error_set(error, -ENOMEM, "out of memory");
	errno = 0;
	tcpq->skeleton = tcpq_bpf__open_and_load();
	if (!tcpq->skeleton) {
		err = errno ? -errno : -EINVAL;
		return pg_error_set(error, err, "loading the TCP listener iterator: %s%s",
				    strerror(-err), advice(err));
	}
	tcpq->link = bpf_program__attach_iter(tcpq->skeleton->progs.pg_tcpq, NULL);
	if (!tcpq->link) {
		err = -errno;
		return pg_error_set(error, err, "attaching the TCP listener iterator: %s%s",
				    strerror(-err), advice(err));
	}
	*ret_tcpq = TAKE_PTR(tcpq);
	return 0;
}

uint64_t pg_tcpq_cut(const struct pg_tcpq *tcpq)
{
	return tcpq->cut;
}

struct records {
	struct pg_tcpq_record *at;
	size_t bytes; /* filled; whole records once the reading has ended */
	size_t room;
	size_t beyond; /* bytes read and dropped past the bound */
};

#define BYTES_MAX (PG_TCPQ_ROWS_MAX * sizeof(struct pg_tcpq_record))

static void free_records(struct records *records)
{
	free(records->at);
}

static int make_room(struct records *records)
{
	size_t room = records->room ? 2 * records->room : READ_BYTES;
	struct pg_tcpq_record *larger;

	if (room > BYTES_MAX)
		room = BYTES_MAX;
	larger = realloc(records->at, room);
	if (!larger)
		return -ENOMEM;
	records->at = larger;
	records->room = room;
	return 0;
}

/* One read into the records, or past their bound. Returns 1 for more, 0 at the end. */
static int take_some(int fd, struct records *records)
{
	char beyond[4096];
	bool full = records->bytes == BYTES_MAX;
	ssize_t bytes;

	if (!full && records->bytes == records->room && make_room(records))
		return -ENOMEM;
	if (full)
		bytes = read(fd, beyond, sizeof(beyond));
	else
		bytes = read(fd, (char *)records->at + records->bytes,
			     records->room - records->bytes);
	if (bytes < 0 && errno == EINTR)
		return 1;
	/* EAGAIN: the program has ended the walk at the first socket that is no listener */
	if (bytes < 0)
		return errno == EAGAIN ? 0 : -errno;
	*(full ? &records->beyond : &records->bytes) += bytes;
	return bytes > 0;
}

static int compare_rows(const void *left, const void *right)
{
	const struct pg_tcpq_listener *a = left, *b = right;
	int order = memcmp(a->address.bytes, b->address.bytes, sizeof(a->address.bytes));

	if (order)
		return order;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

static void interpret(const struct pg_tcpq_record *record, struct pg_tcpq_listener *row)
{
	*row = (struct pg_tcpq_listener){
		.port = record->port,
		.ipv6 = record->family == AF_INET6,
		.v6only = record->v6only,
		.bound_interface = record->bound_interface,
		.cookie = record->cookie,
		.inode = record->inode,
		.uid = record->uid,
		.accept_length = record->accept_length,
		.accept_limit = record->accept_limit,
		.accept_full = record->accept_length > record->accept_limit,
		.syn_length = record->syn_length,
		.syn_young = record->syn_young,
		.syn_limit = record->syn_limit,
		.syn_full = record->syn_length >= record->syn_limit,
		.syncookies = record->syncookies,
		.drops = record->drops,
		.reuseport = record->reuseport,
		.reuseport_sockets = record->reuseport_sockets,
		.fastopen_length = record->fastopen_length,
		.fastopen_limit = record->fastopen_limit,
	};
	memcpy(row->address.bytes, record->address, sizeof(row->address.bytes));
}

static int to_rows(const struct records *records, struct pg_tcpq_listener **ret_rows, size_t *ret_n)
{
	size_t i, n = records->bytes / sizeof(*records->at);
	struct pg_tcpq_listener *rows = NULL;

	if (n) {
		rows = malloc(n * sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		for (i = 0; i < n; i++)
			interpret(&records->at[i], &rows[i]);
		qsort(rows, n, sizeof(*rows), compare_rows);
	}
	*ret_rows = rows;
	*ret_n = n;
	return 0;
}

int pg_tcpq_read(struct pg_tcpq *tcpq, struct pg_tcpq_listener **ret_rows, size_t *ret_n,
		 struct pg_error *error)
{
	PG_CLOSE int fd = bpf_iter_create(bpf_link__fd(tcpq->link));
	PG_CLEANUP(free_records) struct records records = { 0 };
	int err;

	if (fd < 0)
		return pg_error_set(error, -errno, "opening the TCP listener iterator: %s",
				    strerror(errno));
	do {
		err = take_some(fd, &records);
	} while (err > 0);
	if (!err && (records.bytes + records.beyond) % sizeof(*records.at))
		err = -EIO;
	if (!err)
		err = to_rows(&records, ret_rows, ret_n);
	if (err)
		return pg_error_set(error, err, "reading the TCP listeners: %s", strerror(-err));
	tcpq->cut += records.beyond / sizeof(*records.at);
	return 0;
}

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

int pg_tcpq_find_owners(struct pg_tcpq_listener *rows, size_t n)
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
