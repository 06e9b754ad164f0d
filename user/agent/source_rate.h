/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SOURCE_RATE_H
#define PG_SOURCE_RATE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How many frames of a source that match no session are looked at a second: in socket mode what
 * pg_sources is to the gate (DESIGN section 6). A source is an IPv4 address or an IPv6 /64; sources
 * that collide share a bucket, so the memory is bounded.
 */
struct pg_source_rate;

int pg_source_rate_new(struct pg_source_rate **ret_rate); /* 0 or -ENOMEM */
void pg_source_rate_free(struct pg_source_rate *rate);	  /* NULL is ignored */

/*
 * Takes one frame from the bucket of a source, which holds a second's worth; false when it is
 * empty. source: network order, IPv4 mapped. per_second: at most 4,000,000. now_ms: any clock that
 * does not go back.
 */
bool pg_source_rate_take(struct pg_source_rate *rate, const uint64_t source[2], uint32_t per_second,
			 uint64_t now_ms);

#endif
