// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>

#include "packgate/abi.h"
#include "source_rate.h"

#define HASH_MULTIPLIER 0x9e3779b97f4a7c15ull
#define FRAME_TOKENS	1000 /* so that a rate in frames a second is that many tokens a ms */
#define IPV4_MAPPED	0xffff0000u

struct bucket {
	uint64_t stamp_ms; /* of the last refill, plus one; 0 = never used */
	uint64_t tokens;
};

struct pg_source_rate {
	struct bucket buckets[PG_SOURCES];
};

int pg_source_rate_new(struct pg_source_rate **ret_rate)
{
	struct pg_source_rate *rate = calloc(1, sizeof(*rate));

	if (!rate)
		return -ENOMEM;
	*ret_rate = rate;
	return 0;
}

void pg_source_rate_free(struct pg_source_rate *rate)
{
	free(rate);
}

static struct bucket *bucket_of(struct pg_source_rate *rate, const uint64_t source[2])
{
	bool ipv4 = !source[0] && (uint32_t)source[1] == IPV4_MAPPED;
	uint64_t key = ipv4 ? source[1] : source[0];

	return &rate->buckets[(key * HASH_MULTIPLIER) >> 48];
}

bool pg_source_rate_take(struct pg_source_rate *rate, const uint64_t source[2], uint32_t per_second,
			 uint64_t now_ms)
{
	uint64_t full = (uint64_t)per_second * FRAME_TOKENS;
	struct bucket *bucket = bucket_of(rate, source);
	uint64_t passed_ms = now_ms + 1 - bucket->stamp_ms;

	/* beyond a second it is full, however long that was */
	if (!bucket->stamp_ms || passed_ms > 1000)
		passed_ms = 1000;
	bucket->tokens += passed_ms * per_second;
	if (bucket->tokens > full)
		bucket->tokens = full;
	bucket->stamp_ms = now_ms + 1;
	if (bucket->tokens < FRAME_TOKENS)
		return false;
	bucket->tokens -= FRAME_TOKENS;
	return true;
}
