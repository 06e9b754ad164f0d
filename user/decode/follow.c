// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packgate/siphash.h"

#include "cleanup.h"
#include "follow_internal.h"

TAILQ_HEAD(connections, pg_connection);

/* Records beside those in the table, which only wait for pg_follow_take. */
#define WAITING_MAX(follow) ((follow)->settings.connections)

struct pg_follow {
	struct pg_follow_settings settings;
	struct pg_connection **buckets;
	uint32_t bucket_mask;
	struct connections lists[PG_FOLLOW_LIST_COUNT];
	struct connections waiting;
	uint32_t forgotten; /* out of the table and still waiting */
	uint64_t now_us;
	struct pg_follow_counts counts;
};

int pg_follow_new(const struct pg_follow_settings *settings, struct pg_follow **ret_follow)
{
	struct pg_follow *follow;
	uint32_t buckets = 1;

	if (!settings->connections || settings->connections > PG_FOLLOW_CONNECTIONS_MAX)
		return -EINVAL;
	follow = calloc(1, sizeof(*follow));
	if (!follow)
		return -ENOMEM;
	while (buckets < settings->connections)
		buckets *= 2;
	follow->settings = *settings;
	follow->bucket_mask = buckets - 1;
	follow->buckets = calloc(buckets, sizeof(follow->buckets[0]));
	if (!follow->buckets) {
		free(follow);
		return -ENOMEM;
	}
	for (int list = 0; list < PG_FOLLOW_LIST_COUNT; list++)
		TAILQ_INIT(&follow->lists[list]);
	TAILQ_INIT(&follow->waiting);
	*ret_follow = follow;
	return 0;
}

void pg_follow_free(struct pg_follow *follow)
{
	struct pg_follow_report report;

	if (!follow)
		return;
	pg_follow_finish(follow);
	while (pg_follow_take(follow, &report))
		;
	free(follow->buckets);
	free(follow);
}

/* --- the table --- */

static bool peer_equal(const struct pg_peer *a, const struct pg_peer *b)
{
	return a->port == b->port && pg_address_equal(&a->address, &b->address);
}

static void write_peer(const struct pg_peer *peer, uint8_t at[18])
{
	memcpy(at, peer->address.bytes, 16);
	pg_store_be16(at + 16, peer->port);
}

/* The same for both directions. */
static struct pg_connection **bucket_of(struct pg_follow *follow, const struct pg_peer *a,
					const struct pg_peer *b)
{
	uint8_t first[18], second[18], both[36];
	bool swap;

	write_peer(a, first);
	write_peer(b, second);
	swap = memcmp(first, second, sizeof(first)) > 0;
	memcpy(both, swap ? second : first, 18);
	memcpy(both + 18, swap ? first : second, 18);
	return &follow->buckets[pg_siphash(follow->settings.key, both, sizeof(both)) &
				follow->bucket_mask];
}

static struct pg_connection *find(struct pg_follow *follow, const struct pg_segment *segment,
				  int *ret_from)
{
	struct pg_connection *at = *bucket_of(follow, &segment->source, &segment->destination);

	for (; at; at = at->chain)
		for (int from = 0; from < 2; from++)
			if (peer_equal(&at->ends[from], &segment->source) &&
			    peer_equal(&at->ends[!from], &segment->destination)) {
				*ret_from = from;
				return at;
			}
	return NULL;
}

static void unchain(struct pg_follow *follow, struct pg_connection *connection)
{
	struct pg_connection **at = bucket_of(follow, &connection->ends[0], &connection->ends[1]);

	while (*at != connection)
		at = &(*at)->chain;
	*at = connection->chain;
}

static void wait_for_take(struct pg_follow *follow, struct pg_connection *connection)
{
	if (connection->waits)
		return;
	connection->waits = true;
	TAILQ_INSERT_TAIL(&follow->waiting, connection, waiting);
}

/* Takes it out of the table; its report, if it owes one, waits. */
static void forget(struct pg_follow *follow, struct pg_connection *connection,
		   enum pg_follow_end end)
{
	unchain(follow, connection);
	TAILQ_REMOVE(&follow->lists[connection->list], connection, link);
	follow->counts.now--;
	connection->forgotten = true;
	if (!connection->ended)
		connection->end = end;
	if (connection->reported && !connection->late) {
		free(connection);
		return;
	}
	follow->forgotten++;
	wait_for_take(follow, connection);
}

static void expire(struct pg_follow *follow)
{
	const uint32_t limits_s[PG_FOLLOW_LIST_COUNT] = {
		[PG_FOLLOW_LIST_OPENING] = follow->settings.opening_s,
		[PG_FOLLOW_LIST_OPEN] = follow->settings.idle_s,
		[PG_FOLLOW_LIST_ENDED] = follow->settings.time_wait_s,
	};

	for (int list = 0; list < PG_FOLLOW_LIST_COUNT; list++) {
		struct pg_connection *head;

		while ((head = TAILQ_FIRST(&follow->lists[list])) &&
		       follow->now_us - head->last_us >= limits_s[list] * 1000000ull)
			forget(follow, head, PG_FOLLOW_END_IDLE);
	}
}

/* Whether there is room for one more; what has ended makes room, what lives does not. */
static bool make_room(struct pg_follow *follow)
{
	struct pg_connection *head = TAILQ_FIRST(&follow->lists[PG_FOLLOW_LIST_ENDED]);

	if (follow->forgotten >= WAITING_MAX(follow))
		return false;
	if (follow->counts.now < follow->settings.connections)
		return true;
	if (!head)
		return false;
	forget(follow, head, PG_FOLLOW_END_OPEN);
	return true;
}

/*
 * Who sends a first SYN is the client, and who gets a SYN-ACK; of a connection that began before
 * the capture the end with the higher port is taken for it.
 */
static bool from_client(const struct pg_segment *segment)
{
	if (pg_segment_has(segment, PG_TCP_SYN))
		return !pg_segment_has(segment, PG_TCP_ACK);
	return segment->source.port >= segment->destination.port;
}

static struct pg_connection *add(struct pg_follow *follow, const struct pg_segment *segment,
				 int *ret_from)
{
	int from = from_client(segment) ? PG_FOLLOW_CLIENT : PG_FOLLOW_SERVER;
	struct pg_connection *connection, **bucket;

	if (!make_room(follow))
		return NULL;
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return NULL;
	connection->number = ++follow->counts.connections;
	connection->ends[from] = segment->source;
	connection->ends[!from] = segment->destination;
	connection->first_us = follow->now_us;
	bucket = bucket_of(follow, &segment->source, &segment->destination);
	connection->chain = *bucket;
	*bucket = connection;
	connection->list = PG_FOLLOW_LIST_OPENING;
	TAILQ_INSERT_TAIL(&follow->lists[connection->list], connection, link);
	follow->counts.now++;
	*ret_from = from;
	return connection;
}

/* --- segments --- */

static struct pg_connection *find_or_add(struct pg_follow *follow, const struct pg_segment *segment,
					 int *ret_from, uint32_t *ret_events)
{
	struct pg_connection *connection = find(follow, segment, ret_from);
	bool again = connection && pg_segment_has(segment, PG_TCP_SYN) &&
		     !pg_segment_has(segment, PG_TCP_RST) &&
		     pg_connection_reopens(connection, *ret_from, segment);

	if (connection && !again)
		return connection;
	if (connection)
		forget(follow, connection, PG_FOLLOW_END_REPLACED);
	connection = add(follow, segment, ret_from);
	if (!connection)
		return NULL;
	*ret_events = pg_connection_begin(connection, *ret_from, segment);
	if (again)
		*ret_events |= PG_FOLLOW_BIT(PG_FOLLOW_PORT_REUSE);
	return connection;
}

static void touch(struct pg_follow *follow, struct pg_connection *connection)
{
	TAILQ_REMOVE(&follow->lists[connection->list], connection, link);
	connection->last_us = follow->now_us;
	connection->list = connection->ended	     ? PG_FOLLOW_LIST_ENDED
			   : connection->established ? PG_FOLLOW_LIST_OPEN
						     : PG_FOLLOW_LIST_OPENING;
	TAILQ_INSERT_TAIL(&follow->lists[connection->list], connection, link);
}

void pg_follow_segment(struct pg_follow *follow, const struct pg_segment *segment,
		       struct pg_follow_note *ret_note)
{
	struct pg_connection *connection;
	int from = PG_FOLLOW_CLIENT;

	*ret_note = (struct pg_follow_note){ 0 };
	if (segment->time_us > follow->now_us)
		follow->now_us = segment->time_us;
	follow->counts.segments++;
	expire(follow);
	connection = find_or_add(follow, segment, &from, &ret_note->events);
	if (!connection) {
		follow->counts.untracked++;
		return;
	}
	ret_note->connection = connection->number;
	ret_note->sender = from;
	connection->late = connection->reported;
	pg_connection_take(connection, from, segment, follow->now_us, ret_note);
	touch(follow, connection);
	if (ret_note->ended)
		wait_for_take(follow, connection);
}

/* --- reports --- */

static void fill_report(const struct pg_connection *connection, struct pg_follow_report *report)
{
	*report = (struct pg_follow_report){
		.connection = connection->number,
		.end = connection->end,
		.final = connection->forgotten,
		.established = connection->established,
		.whole = connection->whole,
		.first_us = connection->first_us,
		.last_us = connection->last_us,
		.handshake_us = connection->handshake_us,
		.server_us = connection->server_us,
		.client_us = connection->client_us,
	};
	for (int end = 0; end < 2; end++) {
		report->ends[end] = connection->ends[end];
		report->states[end] = pg_connection_state(connection, end);
		report->ways[end] = connection->flows[end].way;
		report->ways[end].bytes_missing += pg_flow_missing(&connection->flows[end]);
	}
}

bool pg_follow_take(struct pg_follow *follow, struct pg_follow_report *ret_report)
{
	struct pg_connection *connection = TAILQ_FIRST(&follow->waiting);

	if (!connection)
		return false;
	TAILQ_REMOVE(&follow->waiting, connection, waiting);
	connection->waits = connection->late = false;
	connection->reported = true;
	fill_report(connection, ret_report);
	if (connection->forgotten) {
		follow->forgotten--;
		free(connection);
	}
	return true;
}

static int by_number(const void *a, const void *b)
{
	const struct pg_connection *const *x = a, *const *y = b;

	return (*x)->number < (*y)->number ? -1 : (*x)->number > (*y)->number;
}

/* In the order in which they began; where memory is short, in the order they fell silent. */
void pg_follow_finish(struct pg_follow *follow)
{
	PG_FREE struct pg_connection **all = calloc(follow->counts.now + 1, sizeof(all[0]));
	struct pg_connection *at;
	uint32_t n = 0;

	for (int list = 0; all && list < PG_FOLLOW_LIST_COUNT; list++)
		TAILQ_FOREACH(at, &follow->lists[list], link)
	all[n++] = at;
	if (all)
		qsort(all, n, sizeof(all[0]), by_number);
	for (uint32_t i = 0; i < n; i++)
		forget(follow, all[i], PG_FOLLOW_END_OPEN);
	for (int list = 0; list < PG_FOLLOW_LIST_COUNT; list++)
		while ((at = TAILQ_FIRST(&follow->lists[list])))
			forget(follow, at, PG_FOLLOW_END_OPEN);
}

void pg_follow_count(const struct pg_follow *follow, struct pg_follow_counts *ret_counts)
{
	*ret_counts = follow->counts;
}
