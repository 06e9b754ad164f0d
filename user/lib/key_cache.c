// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "cleanup.h"
#include "key_cache.h"

/*
 * What is in a place. Kept apart from the keys, so that a look-up reads two lines. Places of one
 * owner hash are chained, for pg_key_cache_forget; links are place + 1, 0 = none.
 */
struct tag {
	uint64_t owner;
	uint64_t used; /* the batch that had it last; in the running batch the place is pinned */
	uint32_t stream;
	uint32_t what; /* key block, direction and algorithm; 0 = empty */
	uint32_t next, previous;
};

struct pg_key_cache {
	struct pg_aead *aead;
	struct pg_aead_key *keys; /* a place without a tag is uninitialised or wiped */
	struct tag *tags;
	uint32_t *chains; /* as many as places, by owner hash */
	uint32_t places;  /* a power of two */
	uint64_t batch;
	uint64_t seed[2]; /* peers choose stream ids, but must not choose the places */
};

#define TAG_FULL (1u << 31)

/* Key block of 18 bits, direction, algorithm. */
static uint32_t pack_what(enum pg_aead_algorithm algorithm, enum pg_direction direction,
			  uint32_t pack)
{
	return TAG_FULL | pack >> PG_KEY_BLOCK_SHIFT | (uint32_t)direction << 18 |
	       (uint32_t)algorithm << 19;
}

static uint64_t mix(const struct pg_key_cache *cache, uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)(a ^ cache->seed[0]) * (b ^ cache->seed[1]);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t *chain_of(struct pg_key_cache *cache, uint64_t owner)
{
	return &cache->chains[mix(cache, owner, 0) & (cache->places - 1)];
}

static int cache_alloc(struct pg_key_cache *cache)
{
	cache->keys =
		aligned_alloc(_Alignof(struct pg_aead_key), sizeof(*cache->keys) * cache->places);
	cache->tags = aligned_alloc(64, sizeof(*cache->tags) * cache->places);
	cache->chains = calloc(cache->places, sizeof(*cache->chains));
	if (!cache->keys || !cache->tags || !cache->chains)
		return -ENOMEM;
	memset(cache->tags, 0, sizeof(*cache->tags) * cache->places);
	return RAND_bytes((uint8_t *)cache->seed, sizeof(cache->seed)) == 1 ? 0 : -EIO;
}

static void cache_release(struct pg_key_cache *cache)
{
	free(cache->keys);
	free(cache->tags);
	free(cache->chains);
	free(cache);
}

int pg_key_cache_new(struct pg_aead *aead, uint32_t entries, struct pg_key_cache **ret_cache)
{
	struct pg_key_cache *cache;
	int err;

	if (!entries || entries > PG_KEY_CACHE_MAX)
		return -EINVAL;
	cache = calloc(1, sizeof(*cache));
	if (!cache)
		return -ENOMEM;
	cache->aead = aead;
	cache->batch = 1;
	cache->places = PG_KEY_CACHE_WAYS;
	while (cache->places < entries)
		cache->places *= 2;
	err = cache_alloc(cache);
	if (err) {
		cache_release(cache);
		return err;
	}
	*ret_cache = cache;
	return 0;
}

static void link_place(struct pg_key_cache *cache, uint32_t place)
{
	uint32_t *chain = chain_of(cache, cache->tags[place].owner);

	cache->tags[place].previous = 0;
	cache->tags[place].next = *chain;
	if (*chain)
		cache->tags[*chain - 1].previous = place + 1;
	*chain = place + 1;
}

/* Takes the key out and wipes it; a place that is pinned stays so. */
static void empty_place(struct pg_key_cache *cache, uint32_t place)
{
	struct tag *tag = &cache->tags[place];

	if (tag->previous)
		cache->tags[tag->previous - 1].next = tag->next;
	else
		*chain_of(cache, tag->owner) = tag->next;
	if (tag->next)
		cache->tags[tag->next - 1].previous = tag->previous;
	tag->what = 0;
	pg_aead_key_wipe(&cache->keys[place]);
}

void pg_key_cache_free(struct pg_key_cache *cache)
{
	uint32_t place;

	if (!cache)
		return;
	for (place = 0; place < cache->places; place++) {
		if (cache->tags[place].what)
			empty_place(cache, place);
	}
	cache_release(cache);
}

void pg_key_cache_begin(struct pg_key_cache *cache)
{
	cache->batch++;
}

/* The place of the set to fill: an empty one, else the one unused for longest; -1 = all pinned. */
static int choose_way(const struct pg_key_cache *cache, const struct tag *set)
{
	uint64_t oldest = cache->batch;
	int way, chosen = -1;

	for (way = 0; way < PG_KEY_CACHE_WAYS; way++) {
		uint64_t used = set[way].what || set[way].used == cache->batch ? set[way].used : 0;

		if (used < oldest) {
			oldest = used;
			chosen = way;
		}
	}
	return chosen;
}

static bool make_key(struct pg_key_cache *cache, uint32_t place, const struct pg_keys *keys,
		     enum pg_aead_algorithm algorithm, enum pg_direction direction, uint32_t stream,
		     uint32_t pack)
{
	uint8_t raw[PG_AEAD_KEY_BYTES];
	bool made;

	made = !pg_keys_block(keys, direction, stream, pack, raw) &&
	       !pg_aead_key_init(cache->aead, &cache->keys[place], algorithm, raw);
	OPENSSL_cleanse(raw, sizeof(raw));
	return made;
}

const struct pg_aead_key *pg_key_cache_get(struct pg_key_cache *cache, uint64_t owner,
					   const struct pg_keys *keys,
					   enum pg_aead_algorithm algorithm,
					   enum pg_direction direction, uint32_t stream,
					   uint32_t pack)
{
	uint32_t what = pack_what(algorithm, direction, pack);
	uint32_t first = mix(cache, owner, (uint64_t)what << 32 | stream) & (cache->places - 1) &
			 ~(PG_KEY_CACHE_WAYS - 1u);
	struct tag *set = &cache->tags[first];
	int way;

	for (way = 0; way < PG_KEY_CACHE_WAYS; way++) {
		if (set[way].owner == owner && set[way].stream == stream && set[way].what == what) {
			set[way].used = cache->batch;
			return &cache->keys[first + way];
		}
	}
	way = choose_way(cache, set);
	if (way < 0)
		return NULL;
	if (set[way].what)
		empty_place(cache, first + way);
	if (!make_key(cache, first + way, keys, algorithm, direction, stream, pack))
		return NULL;
	set[way] = (struct tag){ owner, cache->batch, stream, what, 0, 0 };
	link_place(cache, first + way);
	return &cache->keys[first + way];
}

void pg_key_cache_forget(struct pg_key_cache *cache, uint64_t owner)
{
	uint32_t link, next;

	for (link = *chain_of(cache, owner); link; link = next) {
		next = cache->tags[link - 1].next;
		if (cache->tags[link - 1].owner == owner)
			empty_place(cache, link - 1);
	}
}
