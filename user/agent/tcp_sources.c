// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "packgate/siphash.h"
#include "tcp_sources.h"

#define FIRST_PLACES 256

struct source {
	struct source *next;
	uint64_t network[2]; /* IPv4 mapped, or the upper half of an IPv6 address and 0 */
	uint32_t entrance;
	uint32_t connections;
};

struct pg_tcp_sources {
	__u64 key[2];
	struct source **places;
	uint32_t place_count; /* a power of two */
	uint32_t count;
};

int pg_tcp_sources_new(struct pg_tcp_sources **ret_sources)
{
	struct pg_tcp_sources *sources = calloc(1, sizeof(*sources));
	int err = 0;

	if (!sources)
		return -ENOMEM;
	sources->place_count = FIRST_PLACES;
	sources->places = calloc(FIRST_PLACES, sizeof(*sources->places));
	if (!sources->places)
		err = -ENOMEM;
	else if (getrandom(sources->key, sizeof(sources->key), 0) != sizeof(sources->key))
		err = -EIO;
	if (err) {
		pg_tcp_sources_free(sources);
		return err;
	}
	*ret_sources = sources;
	return 0;
}

void pg_tcp_sources_free(struct pg_tcp_sources *sources)
{
	struct source *next;

	if (!sources)
		return;
	for (uint32_t i = 0; sources->places && i < sources->place_count; i++)
		for (struct source *source = sources->places[i]; source; source = next) {
			next = source->next;
			free(source);
		}
	free(sources->places);
	free(sources);
}

static struct source source_of(uint32_t entrance, const struct pg_address *address)
{
	struct source source = { .entrance = entrance };

	memcpy(source.network, address->bytes, sizeof(source.network));
	if (!pg_address_is_ipv4(address))
		source.network[1] = 0;
	return source;
}

static bool same(const struct source *a, const struct source *b)
{
	return a->network[0] == b->network[0] && a->network[1] == b->network[1] &&
	       a->entrance == b->entrance;
}

static struct source **place_of(const struct pg_tcp_sources *sources, const struct source *source)
{
	uint64_t subject[3] = { source->network[0], source->network[1], source->entrance };
	uint64_t hash = pg_siphash(sources->key, subject, sizeof(subject));

	return &sources->places[hash & (sources->place_count - 1)];
}

/* Where it hangs, or the end of its chain. */
static struct source **find(const struct pg_tcp_sources *sources, const struct source *wanted)
{
	struct source **at = place_of(sources, wanted);

	while (*at && !same(*at, wanted))
		at = &(*at)->next;
	return at;
}

/* Twice the places; without memory the chains become longer. */
static void grow(struct pg_tcp_sources *sources)
{
	uint32_t old_count = sources->place_count;
	struct source **old = sources->places, **at, *next;
	struct source **places = calloc(2 * (size_t)old_count, sizeof(*places));

	if (!places)
		return;
	sources->places = places;
	sources->place_count = 2 * old_count;
	for (uint32_t i = 0; i < old_count; i++)
		for (struct source *source = old[i]; source; source = next) {
			next = source->next;
			at = place_of(sources, source);
			source->next = *at;
			*at = source;
		}
	free(old);
}

int pg_tcp_sources_take(struct pg_tcp_sources *sources, uint32_t entrance,
			const struct pg_address *address, uint32_t most)
{
	struct source wanted = source_of(entrance, address), **at;

	if (!most)
		return -EUSERS;
	if (sources->count >= sources->place_count)
		grow(sources);
	at = find(sources, &wanted);
	if (*at && (*at)->connections >= most)
		return -EUSERS;
	if (!*at) {
		*at = malloc(sizeof(**at));
		if (!*at)
			return -ENOMEM;
		**at = wanted;
		sources->count++;
	}
	(*at)->connections++;
	return 0;
}

void pg_tcp_sources_give(struct pg_tcp_sources *sources, uint32_t entrance,
			 const struct pg_address *address)
{
	struct source wanted = source_of(entrance, address), **at = find(sources, &wanted);
	struct source *source = *at;

	if (!source || --source->connections)
		return;
	*at = source->next;
	free(source);
	sources->count--;
}

uint32_t pg_tcp_sources_count(const struct pg_tcp_sources *sources)
{
	return sources->count;
}
