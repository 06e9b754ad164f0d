/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_REASSEMBLY_H
#define PG_REASSEMBLY_H

#include <stdint.h>

#include "decoded.h"

/*
 * IP datagrams from their fragments (RFC 791, RFC 8200; overlaps end a datagram, RFC 5722).
 * Bounded: PG_REASSEMBLIES_MAX datagrams of at most 65535 bytes at once; at the bound the oldest is
 * given up, and one that waited PG_REASSEMBLY_NS of capture time.
 */
#define PG_REASSEMBLIES_MAX 64
#define PG_REASSEMBLY_NS    30000000000ull

struct pg_reassembly;

/* Returns 0 or -ENOMEM. */
int pg_reassembly_new(struct pg_reassembly **ret_reassembly);
void pg_reassembly_free(struct pg_reassembly *reassembly); /* NULL is ignored */

/*
 * Takes the fragment that decoded->ip describes, its bytes in part. Returns true if it completes
 * its datagram: part is then the whole payload behind the IP headers, in memory that stays until
 * the next call; decoded->reassembled_* are set, and for IPv6 decoded->ip.protocol is what the
 * first fragment said. False otherwise, with a fault noted where the fragment is wrong.
 */
bool pg_reassembly_add(struct pg_reassembly *reassembly, struct pg_decoded *decoded,
		       struct pg_span *part);

/* Datagrams given up so far: too old, one too many, or overlapping. */
uint64_t pg_reassembly_given_up(const struct pg_reassembly *reassembly);

#endif
