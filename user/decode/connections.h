/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CONNECTIONS_H
#define PG_CONNECTIONS_H

#include <stdint.h>

#include "decoded.h"

/*
 * What a TCP header alone does not say: sequence numbers relative to the connection's start, and
 * how far its window is shifted. Bounded: PG_CONNECTIONS_MAX connections; one more pushes out the
 * one of its hash set that was silent longest, and is counted.
 */
#define PG_CONNECTIONS_MAX 16384

struct pg_connections;

/* hash_key: random, so that no sender chooses which connections share a set. 0 or -ENOMEM. */
int pg_connections_new(const uint64_t hash_key[2], struct pg_connections **ret_connections);
void pg_connections_free(struct pg_connections *connections); /* NULL is ignored */

/*
 * Learns from the segment in decoded->tcp, and sets seq_relative, ack_relative and window_shift.
 * A SYN counts 0, the first byte 1; without a SYN the first segment seen begins at 1. The shift is
 * known after both SYNs, -1 before. Without memory for one more connection nothing is set.
 */
void pg_connections_segment(struct pg_connections *connections, struct pg_decoded *decoded);

/* Connections pushed out so far. */
uint64_t pg_connections_forgotten(const struct pg_connections *connections);

#endif
