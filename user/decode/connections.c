// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connections.h"
#include "packgate/siphash.h"

#define WAYS	  4
#define SETS	  (PG_CONNECTIONS_MAX / WAYS)
#define SHIFT_MAX 14 /* RFC 7323 */

/* The ends in one order whatever the direction; compared as bytes, so no padding. */
struct key {
	uint8_t address[2][16];
	uint16_t port[2];
	uint16_t tags[PG_TAGS_MAX];
	uint8_t version;
	uint8_t zero[3];
};

struct half {
	bool has_base, syn;
	uint32_t base; /* the SYN's sequence number */
	int8_t shift;  /* that its SYN offered, -1 none */
};

struct connection {
	struct key key;
	uint64_t used; /* number of its last packet, 0 = free */
	struct half half[2];
};

struct pg_connections {
	__u64 hash_key[2];
	uint64_t forgotten;
	struct connection *sets[SETS]; /* of WAYS, made when first needed */
};

int pg_connections_new(const uint64_t hash_key[2], struct pg_connections **ret_connections)
{
	struct pg_connections *connections = calloc(1, sizeof(*connections));

	if (!connections)
		return -ENOMEM;
	connections->hash_key[0] = hash_key[0];
	connections->hash_key[1] = hash_key[1];
	*ret_connections = connections;
	return 0;
}

void pg_connections_free(struct pg_connections *connections)
{
	if (!connections)
		return;
	for (size_t i = 0; i < SETS; i++)
		if (connections->sets[i])
			free(connections->sets[i]);
	free(connections);
}

uint64_t pg_connections_forgotten(const struct pg_connections *connections)
{
	return connections->forgotten;
}

/* Returns which half of the connection the segment's sender is. */
static int key_of(const struct pg_decoded *decoded, struct key *key)
{
	const struct pg_decoded_tcp *tcp = &decoded->tcp;
	int order = memcmp(decoded->ip.source, decoded->ip.target, 16);
	int sender = order ? order > 0 : tcp->source_port > tcp->target_port;

	memset(key, 0, sizeof(*key));
	memcpy(key->address[sender], decoded->ip.source, 16);
	memcpy(key->address[!sender], decoded->ip.target, 16);
	key->port[sender] = tcp->source_port;
	key->port[!sender] = tcp->target_port;
	for (uint8_t i = 0; i < decoded->link.tag_count; i++)
		key->tags[i] = decoded->link.tags[i].id;
	key->version = decoded->ip.version;
	return sender;
}

/* NULL without memory. */
static struct connection *set_of(struct pg_connections *connections, const struct key *key)
{
	struct connection **set =
		&connections->sets[pg_siphash(connections->hash_key, key, sizeof(*key)) % SETS];

	if (!*set)
		*set = calloc(WAYS, sizeof(**set));
	return *set;
}

static struct connection *find(struct pg_connections *connections, const struct key *key)
{
	struct connection *set = set_of(connections, key), *oldest = set;

	if (!set)
		return NULL;
	for (int i = 0; i < WAYS; i++) {
		if (set[i].used && !memcmp(&set[i].key, key, sizeof(*key)))
			return &set[i];
		if (set[i].used < oldest->used)
			oldest = &set[i];
	}
	if (oldest->used)
		connections->forgotten++;
	memset(oldest, 0, sizeof(*oldest));
	oldest->key = *key;
	return oldest;
}

/* What the SYN offered, -1 for none. */
static int8_t offered_shift(const struct pg_decoded_tcp *tcp)
{
	for (uint8_t i = 0; i < tcp->option_count; i++) {
		const struct pg_option *option = &tcp->options[i];

		if (option->kind == PG_TCP_OPTION_SCALE && option->well_sized)
			return option->value[0] > SHIFT_MAX ? SHIFT_MAX : (int8_t)option->value[0];
	}
	return -1;
}

static void learn(struct connection *connection, int sender, const struct pg_decoded_tcp *tcp)
{
	struct half *own = &connection->half[sender], *other = &connection->half[!sender];
	bool syn = tcp->flags & PG_TCP_SYN, ack = tcp->flags & PG_TCP_ACK;

	/* the ports serve a new connection */
	if (syn && !ack && own->has_base && own->base != tcp->seq)
		memset(connection->half, 0, sizeof(connection->half));
	if (syn) {
		own->base = tcp->seq;
		own->has_base = own->syn = true;
		own->shift = offered_shift(tcp);
	} else if (!own->has_base) {
		own->base = tcp->seq - 1;
		own->has_base = true;
	}
	if (ack && !other->has_base) {
		other->base = tcp->ack - 1;
		other->has_base = true;
	}
}

static int8_t window_shift(const struct connection *connection, int sender, bool syn)
{
	const struct half *own = &connection->half[sender], *other = &connection->half[!sender];

	if (syn)
		return 0; /* the window of a SYN is never shifted */
	if (!own->syn || !other->syn)
		return -1;
	return own->shift < 0 || other->shift < 0 ? 0 : own->shift;
}

void pg_connections_segment(struct pg_connections *connections, struct pg_decoded *decoded)
{
	struct pg_decoded_tcp *tcp = &decoded->tcp;
	struct connection *connection;
	struct key key;
	int sender = key_of(decoded, &key);

	connection = find(connections, &key);
	if (!connection)
		return;
	connection->used = decoded->number;
	learn(connection, sender, tcp);
	tcp->has_relative = true;
	tcp->seq_relative = tcp->seq - connection->half[sender].base;
	if (tcp->flags & PG_TCP_ACK)
		tcp->ack_relative = tcp->ack - connection->half[!sender].base;
	tcp->window_shift = window_shift(connection, sender, tcp->flags & PG_TCP_SYN);
}
