// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "listener_totals.h"

/* What a socket counted at the last update. */
struct last {
	uint64_t cookie;
	uint32_t drops, synack_retransmits;
};

struct pg_listener_totals {
	struct last *sockets; /* by cookie */
	size_t socket_count;
	struct pg_listener_series *series; /* by namespace, address, port */
	size_t series_count;
};

int pg_listener_totals_new(struct pg_listener_totals **ret_totals)
{
	struct pg_listener_totals *totals = calloc(1, sizeof(*totals));

	if (!totals)
		return -ENOMEM;
	*ret_totals = totals;
	return 0;
}

void pg_listener_totals_free(struct pg_listener_totals *totals)
{
	if (!totals)
		return;
	free(totals->sockets);
	free(totals->series);
	free(totals);
}

static int compare_last(const void *left, const void *right)
{
	const struct last *a = left, *b = right;

	return (a->cookie > b->cookie) - (a->cookie < b->cookie);
}

static int compare_series(const void *left, const void *right)
{
	const struct pg_listener_series *a = left, *b = right;
	int order = memcmp(a->address.bytes, b->address.bytes, sizeof(a->address.bytes));

	if (a->netns != b->netns)
		return a->netns < b->netns ? -1 : 1;
	return order ? order : (a->port > b->port) - (a->port < b->port);
}

static void add(uint32_t *sum, uint32_t value)
{
	if (__builtin_add_overflow(*sum, value, sum))
		*sum = UINT32_MAX;
}

static void add_row(struct pg_listener_series *series, const struct pg_tcpq_listener *row)
{
	series->sockets++;
	add(&series->accept_length, row->accept_length);
	add(&series->accept_limit, row->accept_limit);
	add(&series->accept_high, row->accept_high);
	add(&series->syn_length, row->syn_length);
	add(&series->syn_young, row->syn_young);
	add(&series->syn_limit, row->syn_limit);
	add(&series->syn_high, row->syn_high);
	add(&series->fastopen_length, row->fastopen_length);
	add(&series->fastopen_limit, row->fastopen_limit);
}

/* A socket not seen before has counted from 0. */
static void count_row(const struct pg_listener_totals *totals, struct pg_listener_series *series,
		      const struct pg_tcpq_listener *row)
{
	struct last key = { .cookie = row->cookie }, none = { 0 };
	const struct last *last = totals->socket_count
					  ? bsearch(&key, totals->sockets, totals->socket_count,
						    sizeof(key), compare_last)
					  : NULL;

	if (!last)
		last = &none;
	series->drops += (uint32_t)(row->drops - last->drops);
	series->synack_retransmits +=
		(uint32_t)(row->synack_retransmits - last->synack_retransmits);
}

static struct pg_listener_series begin_series(const struct pg_listener_totals *totals,
					      const struct pg_tcpq_listener *row)
{
	struct pg_listener_series series = {
		.netns = row->netns,
		.address = row->address,
		.port = row->port,
	};
	const struct pg_listener_series *before =
		totals->series_count ? bsearch(&series, totals->series, totals->series_count,
					       sizeof(series), compare_series)
				     : NULL;

	if (before) {
		series.drops = before->drops;
		series.synack_retransmits = before->synack_retransmits;
	}
	return series;
}

static size_t sum_up(const struct pg_listener_totals *totals, const struct pg_tcpq_listener *rows,
		     size_t n, struct pg_listener_series *series)
{
	struct pg_listener_series next;
	size_t i, count = 0;

	for (i = 0; i < n; i++) {
		next = begin_series(totals, &rows[i]);
		if (!count || compare_series(&series[count - 1], &next))
			series[count++] = next;
		add_row(&series[count - 1], &rows[i]);
		count_row(totals, &series[count - 1], &rows[i]);
	}
	return count;
}

static void remember(struct last *sockets, const struct pg_tcpq_listener *rows, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		sockets[i] =
			(struct last){ rows[i].cookie, rows[i].drops, rows[i].synack_retransmits };
	qsort(sockets, n, sizeof(*sockets), compare_last);
}

int pg_listener_totals_update(struct pg_listener_totals *totals,
			      const struct pg_tcpq_listener *rows, size_t n,
			      struct pg_listener_series **ret_series, size_t *ret_n)
{
	size_t room = n ? n : 1;
	PG_FREE struct pg_listener_series *series = calloc(room, sizeof(*series));
	PG_FREE struct pg_listener_series *kept = malloc(room * sizeof(*kept));
	PG_FREE struct last *sockets = malloc(room * sizeof(*sockets));
	size_t count;

	if (!series || !kept || !sockets)
		return -ENOMEM;
	count = sum_up(totals, rows, n, series);
	memcpy(kept, series, count * sizeof(*kept));
	qsort(kept, count, sizeof(*kept), compare_series);
	remember(sockets, rows, n);
	free(totals->series);
	free(totals->sockets);
	totals->series = TAKE_PTR(kept);
	totals->series_count = count;
	totals->sockets = TAKE_PTR(sockets);
	totals->socket_count = n;
	*ret_series = TAKE_PTR(series);
	*ret_n = count;
	return 0;
}
