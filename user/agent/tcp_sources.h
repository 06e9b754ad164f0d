/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TCP_SOURCES_H
#define PG_TCP_SOURCES_H

#include "address.h"

/*
 * How many connections each source has at each TCP entrance, exactly. A source is an IPv4 address
 * or an IPv6 /64, as in limits.unmatched_per_source_per_second. Memory is bounded by the
 * connections: a source without one is forgotten. For one thread.
 */
struct pg_tcp_sources;

/* 0, -ENOMEM, or -EIO without random bytes: no client chooses where it is found. */
int pg_tcp_sources_new(struct pg_tcp_sources **ret_sources);
void pg_tcp_sources_free(struct pg_tcp_sources *sources); /* NULL is ignored */

/* Counts one more connection: 0, -EUSERS where the source has so many already, or -ENOMEM. */
int pg_tcp_sources_take(struct pg_tcp_sources *sources, uint32_t entrance,
			const struct pg_address *address, uint32_t most);
/* One less: of a connection that was counted. */
void pg_tcp_sources_give(struct pg_tcp_sources *sources, uint32_t entrance,
			 const struct pg_address *address);

/* How many sources have a connection, at all entrances together. */
uint32_t pg_tcp_sources_count(const struct pg_tcp_sources *sources);

#endif
