/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_KEY_CACHE_H
#define PG_KEY_CACHE_H

#include <stdint.h>

#include "aead.h"
#include "keys.h"

/*
 * The expanded AEAD keys a worker has used lately (PROTOCOL section 2: a key of its own for every
 * stream and every 2^14 packIds). Bounded: 1 KiB a key, touched only once used; a key that is
 * pushed out is wiped and derived anew when it is needed again. Belongs to one thread.
 *
 * A key handed out is pinned until the next pg_key_cache_begin, so that the jobs of a batch keep
 * theirs: call it at the start of every batch, when no job refers to the cache.
 */
struct pg_key_cache;

#define PG_KEY_CACHE_WAYS 4	     /* places a key can be in */
#define PG_KEY_CACHE_MAX  (1u << 20) /* entries, 1 GiB */

/*
 * entries: 1 to PG_KEY_CACHE_MAX, rounded up to a power of two, at least PG_KEY_CACHE_WAYS. For
 * batches that pin n keys, 16 n entries make a refusal rare. aead outlives the cache.
 * Returns 0, -EINVAL, -ENOMEM, or -EIO without random numbers. Freed with pg_key_cache_free.
 */
int pg_key_cache_new(struct pg_aead *aead, uint32_t entries, struct pg_key_cache **ret_cache);
void pg_key_cache_free(struct pg_key_cache *cache); /* wipes; NULL is ignored */

/* Starts a batch: every key handed out so far may be pushed out again. */
void pg_key_cache_begin(struct pg_key_cache *cache);

/*
 * The key for packId pack of a stream (0 = the session's own series) in one direction, derived from
 * keys on a miss. owner is the session's handle, never used again for another session; it stands
 * for keys, which a hit does not read. Valid until the next pg_key_cache_begin, or until its owner
 * is forgotten.
 * NULL if every place the key could take is pinned: run the batch, begin again and ask again. NULL
 * directly after pg_key_cache_begin means an unknown algorithm or a failing crypto library.
 */
const struct pg_aead_key *pg_key_cache_get(struct pg_key_cache *cache, uint64_t owner,
					   const struct pg_keys *keys,
					   enum pg_aead_algorithm algorithm,
					   enum pg_direction direction, uint32_t stream,
					   uint32_t pack);

/*
 * Wipes all keys of an ended session, at a cost of its own keys, not of the cache. A job that still
 * refers to one fails with -EINVAL: its place is not given to another key before the next
 * pg_key_cache_begin.
 */
void pg_key_cache_forget(struct pg_key_cache *cache, uint64_t owner);

#endif
