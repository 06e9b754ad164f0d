// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "listeners.h"
#include "netstat.h"
#include "tcpq.h"

/* The program is loaded at the first question and kept: a scrape then costs one reading. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pg_tcpq *tcpq;

static int read_rows(struct pg_tcpq_listener **ret_rows, size_t *ret_count)
{
	struct pg_error error;
	int err = 0;

	pthread_mutex_lock(&lock);
	if (!tcpq)
		err = pg_tcpq_open(&tcpq, &error);
	if (!err)
		err = pg_tcpq_read(tcpq, ret_rows, ret_count, &error);
	pthread_mutex_unlock(&lock);
	return err;
}

static void sample_listeners(const char *netns, struct pg_listener_sample **ret_listeners,
			     size_t *ret_count)
{
	PG_FREE struct pg_tcpq_listener *rows = NULL;
	struct pg_listener_sample *samples;
	size_t count = 0;

	if (read_rows(&rows, &count) || !count)
		return;
	samples = calloc(count, sizeof(*samples));
	if (!samples)
		return;
	for (size_t i = 0; i < count; i++) {
		struct pg_listener_sample *to = &samples[i];

		snprintf(to->netns, sizeof(to->netns), "%s", netns);
		to->address = rows[i].address;
		to->port = rows[i].port;
		to->accept_length = rows[i].accept_length;
		to->accept_limit = rows[i].accept_limit;
		to->syn_length = rows[i].syn_length;
		to->syn_young = rows[i].syn_young;
		to->syn_limit = rows[i].syn_limit;
	}
	*ret_listeners = samples;
	*ret_count = count;
}

static void sample_netstat(const char *netns, struct pg_netstat_sample **ret_netstat,
			   size_t *ret_count)
{
	struct pg_netstat_sample *sample;
	struct pg_netstat netstat = { 0 };
	struct pg_error error;

	if (pg_netstat_read(&netstat, &error))
		return;
	sample = calloc(1, sizeof(*sample));
	if (!sample)
		return;
	snprintf(sample->netns, sizeof(sample->netns), "%s", netns);
#define PG_X(field, table, kernel, metric, help) sample->field = netstat.values[PG_NETSTAT_##field];
	PG_NETSTAT(PG_X)
#undef PG_X
	*ret_netstat = sample;
	*ret_count = 1;
}

void pg_listeners_sample(struct pg_listener_sample **ret_listeners, size_t *ret_listener_count,
			 struct pg_netstat_sample **ret_netstat, size_t *ret_netstat_count)
{
	struct pg_netns netns;
	struct pg_error error;

	*ret_listeners = NULL;
	*ret_netstat = NULL;
	*ret_listener_count = *ret_netstat_count = 0;
	if (pg_netstat_namespace(&netns, &error))
		return;
	sample_listeners(netns.name, ret_listeners, ret_listener_count);
	sample_netstat(netns.name, ret_netstat, ret_netstat_count);
}

static bool same_labels(const struct pg_listener_sample *a, const struct pg_listener_sample *b)
{
	return a->port == b->port && pg_address_equal(&a->address, &b->address) &&
	       !strcmp(a->netns, b->netns);
}

void pg_listeners_merge(struct pg_listener_sample *listeners, size_t *count)
{
	size_t kept = 0;

	for (size_t i = 0; i < *count; i++) {
		struct pg_listener_sample *to = &listeners[kept ? kept - 1 : 0];

		if (!kept || !same_labels(to, &listeners[i])) {
			listeners[kept++] = listeners[i];
			continue;
		}
		to->accept_length += listeners[i].accept_length;
		to->accept_limit += listeners[i].accept_limit;
		to->syn_length += listeners[i].syn_length;
		to->syn_young += listeners[i].syn_young;
		to->syn_limit += listeners[i].syn_limit;
	}
	*count = kept;
}
