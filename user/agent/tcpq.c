// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "tcpq.h"
#include "tcpq.skel.h"

/* What the kernel collects before it hands out records, on 4 KiB pages. */
#define READ_BYTES 32768
#define READ_TRIES 3

struct pg_tcpq {
	struct tcpq_bpf *skeleton;
	struct bpf_link *here, *states, *all, *high, *state, *synack;
	uint64_t cut;
	char untracked_why[sizeof(((struct pg_error *)0)->text)];
};

void pg_tcpq_free(struct pg_tcpq *tcpq)
{
	if (!tcpq)
		return;
	bpf_link__destroy(tcpq->synack);
	bpf_link__destroy(tcpq->state);
	bpf_link__destroy(tcpq->high);
	bpf_link__destroy(tcpq->all);
	bpf_link__destroy(tcpq->states);
	bpf_link__destroy(tcpq->here);
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

/* Loads all programs, or only the one that reads where the reader is. */
static int load(struct pg_tcpq *tcpq, bool tracking, struct pg_error *error)
{
	struct bpf_program *program;
	int err;

	errno = 0;
	tcpq->skeleton = tcpq_bpf__open();
	if (!tcpq->skeleton)
		return pg_error_set(error, errno ? -errno : -EINVAL,
				    "opening the TCP listener iterator: %s", strerror(errno));
	bpf_object__for_each_program(program, tcpq->skeleton->obj) bpf_program__set_autoload(
		program, tracking || program == tcpq->skeleton->progs.pg_tcpq);
	err = tcpq_bpf__load(tcpq->skeleton);
	if (!err)
		return 0;
	tcpq_bpf__destroy(TAKE_PTR(tcpq->skeleton));
	return pg_error_set(error, err, "loading the TCP listener iterator: %s%s", strerror(-err),
			    advice(err));
}

static int attach_walk(struct pg_tcpq *tcpq, struct bpf_program *program,
		       struct bpf_link **ret_link, struct pg_error *error)
{
	union bpf_iter_link_info info = {
		.map.map_fd = bpf_map__fd(tcpq->skeleton->maps.pg_listeners),
	};
	LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = &info,
		    .link_info_len = sizeof(info));
	bool marked = program == tcpq->skeleton->progs.pg_tcpq_all ||
		      program == tcpq->skeleton->progs.pg_tcpq_high;

	*ret_link = bpf_program__attach_iter(program, marked ? &options : NULL);
	if (*ret_link)
		return 0;
	return pg_error_set(error, -errno, "attaching the TCP listener iterator: %s%s",
			    strerror(errno), advice(-errno));
}

static int attach_event(struct bpf_program *program, struct bpf_link **ret_link,
			struct pg_error *error)
{
	*ret_link = bpf_program__attach(program);
	if (*ret_link)
		return 0;
	return pg_error_set(error, -errno, "attaching %s: %s%s", bpf_program__section_name(program),
			    strerror(errno), advice(-errno));
}

static int attach_tracking(struct pg_tcpq *tcpq, struct pg_error *error)
{
	struct tcpq_bpf *skeleton = tcpq->skeleton;
	int err;

	err = attach_walk(tcpq, skeleton->progs.pg_tcp_states, &tcpq->states, error);
	if (!err)
		err = attach_walk(tcpq, skeleton->progs.pg_tcpq_all, &tcpq->all, error);
	if (!err)
		err = attach_walk(tcpq, skeleton->progs.pg_tcpq_high, &tcpq->high, error);
	if (!err)
		err = attach_event(skeleton->progs.pg_tcpq_synack, &tcpq->synack, error);
	if (!err)
		err = attach_event(skeleton->progs.pg_tcpq_state, &tcpq->state, error);
	return err;
}

int pg_tcpq_open(struct pg_tcpq **ret_tcpq, struct pg_error *error)
{
	PG_CLEANUP(free_tcpq) struct pg_tcpq *tcpq = calloc(1, sizeof(*tcpq));
	struct pg_error why = { "" };
	int err;

	if (!tcpq)
		return pg_error_set(error, -ENOMEM, "out of memory");
	err = load(tcpq, true, &why);
	if (!err)
		err = attach_tracking(tcpq, &why);
	snprintf(tcpq->untracked_why, sizeof(tcpq->untracked_why), "%s", err ? why.text : "");
	if (!tcpq->skeleton) {
		err = load(tcpq, false, error);
		if (err)
			return err;
	}
	err = attach_walk(tcpq, tcpq->skeleton->progs.pg_tcpq, &tcpq->here, error);
	if (err)
		return err;
	tcpq->skeleton->bss->pg_marking = pg_tcpq_tracks(tcpq);
	*ret_tcpq = TAKE_PTR(tcpq);
	return 0;
}

bool pg_tcpq_tracks(const struct pg_tcpq *tcpq)
{
	return tcpq->state != NULL;
}

const char *pg_tcpq_untracked_why(const struct pg_tcpq *tcpq)
{
	return tcpq->untracked_why;
}

uint64_t pg_tcpq_cut(const struct pg_tcpq *tcpq)
{
	return tcpq->cut;
}

uint64_t pg_tcpq_unmarked(const struct pg_tcpq *tcpq)
{
	return tcpq->skeleton->bss->pg_unmarked;
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

	if (a->netns != b->netns)
		return a->netns < b->netns ? -1 : 1;
	if (order)
		return order;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

static void interpret(const struct pg_tcpq_record *record, struct pg_tcpq_listener *row)
{
	*row = (struct pg_tcpq_listener){
		.netns = record->netns,
		.port = record->port,
		.ipv6 = record->family == AF_INET6,
		.v6only = record->v6only,
		.bound_interface = record->bound_interface,
		.cookie = record->cookie,
		.inode = record->inode,
		.uid = record->uid,
		.accept_length = record->accept_length,
		.accept_limit = record->accept_limit,
		.accept_high = record->accept_high,
		.accept_full = record->accept_length > record->accept_limit,
		.capped = record->accept_limit >= record->somaxconn,
		.syn_length = record->syn_length,
		.syn_young = record->syn_young,
		.syn_limit = record->syn_limit,
		.syn_high = record->syn_high,
		.syn_full = record->syn_length >= record->syn_limit,
		.drops = record->drops,
		.synack_retransmits = record->synack_retransmits,
		.marked = record->marked,
		.reuseport = record->reuseport,
		.reuseport_sockets = record->reuseport_sockets,
		.fastopen_length = record->fastopen_length,
		.fastopen_limit = record->fastopen_limit,
		.defer_accept = record->defer_accept,
		.somaxconn = record->somaxconn,
		.max_syn_backlog = record->max_syn_backlog,
		.syncookies = record->syncookies,
		.abort_on_overflow = record->abort_on_overflow,
		.synack_retries = record->synack_retries,
	};
	memcpy(row->address.bytes, record->address, sizeof(row->address.bytes));
}

/* Neighbours with one cookie are one listener that a change in the list showed twice. */
static size_t drop_repeated(struct pg_tcpq_listener *rows, size_t n)
{
	size_t i, kept = 0;

	for (i = 0; i < n; i++)
		if (!kept || compare_rows(&rows[kept - 1], &rows[i]))
			rows[kept++] = rows[i];
	return kept;
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
	*ret_n = drop_repeated(rows, n);
	return 0;
}

static int walk(struct bpf_link *link, struct records *records, struct pg_error *error)
{
	PG_CLOSE int fd = bpf_iter_create(bpf_link__fd(link));
	int err;

	if (fd < 0)
		return pg_error_set(error, -errno, "opening the TCP listener iterator: %s",
				    strerror(errno));
	records->bytes = records->beyond = 0;
	do {
		err = take_some(fd, records);
	} while (err > 0);
	if (!err && (records->bytes + records->beyond) % sizeof(*records->at))
		err = -EIO;
	if (err)
		return pg_error_set(error, err, "reading the TCP listeners: %s", strerror(-err));
	return 0;
}

static int give_rows(struct pg_tcpq *tcpq, const struct records *records,
		     struct pg_tcpq_listener **ret_rows, size_t *ret_n, struct pg_error *error)
{
	int err = to_rows(records, ret_rows, ret_n);

	if (err)
		return pg_error_set(error, err, "reading the TCP listeners: out of memory");
	tcpq->cut += records->beyond / sizeof(*records->at);
	return 0;
}

int pg_tcpq_read(struct pg_tcpq *tcpq, struct pg_tcpq_listener **ret_rows, size_t *ret_n,
		 struct pg_error *error)
{
	PG_CLEANUP(free_records) struct records records = { 0 };
	int err = walk(tcpq->here, &records, error);

	return err ? err : give_rows(tcpq, &records, ret_rows, ret_n, error);
}

/* Walks with a program that writes nothing. The kernel pauses a long walk with EAGAIN. */
static int walk_silently(struct bpf_link *link)
{
	PG_CLOSE int fd = bpf_iter_create(bpf_link__fd(link));
	ssize_t bytes;
	char none[64];

	if (fd < 0)
		return -errno;
	do {
		bytes = read(fd, none, sizeof(none));
	} while (bytes > 0 || (bytes < 0 && (errno == EAGAIN || errno == EINTR)));
	return bytes < 0 ? -errno : 0;
}

static int walk_marks(struct pg_tcpq *tcpq)
{
	return walk_silently(tcpq->high);
}

int pg_tcpq_states(struct pg_tcpq *tcpq, uint64_t ret_counts[PG_TCP_STATE_SLOTS])
{
	__u64 *states = tcpq->skeleton->bss->pg_states;
	int err;

	memset(states, 0, PG_TCP_STATE_SLOTS * sizeof(*states));
	err = walk_silently(tcpq->states);
	if (!err)
		memcpy(ret_counts, states, PG_TCP_STATE_SLOTS * sizeof(*states));
	return err;
}

int pg_tcpq_read_all(struct pg_tcpq *tcpq, struct pg_tcpq_listener **ret_rows, size_t *ret_n,
		     struct pg_error *error)
{
	PG_CLEANUP(free_records) struct records records = { 0 };
	const volatile __u64 *changes = &tcpq->skeleton->bss->pg_changes;
	int err, tries = 0;
	__u64 before;

	/*
	 * The kernel hands out some hundred records a read and finds its place again by counting:
	 * a listener that came or went in between can hide or repeat another.
	 */
	do {
		before = *changes;
		err = walk(tcpq->all, &records, error);
	} while (!err && records.bytes > READ_BYTES / 2 && before != *changes &&
		 ++tries < READ_TRIES);
	return err ? err : give_rows(tcpq, &records, ret_rows, ret_n, error);
}

int pg_tcpq_raise(struct pg_tcpq *tcpq)
{
	return walk_marks(tcpq);
}

int pg_tcpq_reset(struct pg_tcpq *tcpq)
{
	int err;

	tcpq->skeleton->bss->pg_reset = true;
	err = walk_marks(tcpq);
	tcpq->skeleton->bss->pg_reset = false;
	return err;
}
