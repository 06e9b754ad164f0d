/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SEGMENT_H
#define PG_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "decoded.h"

/* Options that a segment carries; a set of these says which members of it mean something. */
#define PG_TCP_HAS_MSS	      0x01
#define PG_TCP_HAS_SCALE      0x02
#define PG_TCP_HAS_PERMITTED  0x04 /* SACK permitted */
#define PG_TCP_HAS_SACK	      0x08
#define PG_TCP_HAS_TIMESTAMPS 0x10

#define PG_SACK_BLOCKS_MAX 4

struct pg_sack_block {
	uint32_t left, right; /* right is the first number that is not in it */
};

/* One TCP segment as captured. Integers are in host order. */
struct pg_segment {
	uint64_t time_us; /* Unix time of the capture, in microseconds */
	struct pg_peer source, destination;
	uint32_t seq, ack;   /* as sent; ack means something only with PG_TCP_ACK */
	uint32_t data_bytes; /* on the wire: IP total - IP header - TCP header */
	uint16_t flags;	     /* PG_TCP_FIN and so on */
	uint16_t window;     /* as sent, not scaled */
	uint8_t options;     /* PG_TCP_HAS_MSS and so on */
	uint8_t window_shift;
	uint16_t mss;
	uint32_t timestamp, timestamp_echo;
	uint8_t sack_count; /* blocks in sack, at most PG_SACK_BLOCKS_MAX */
	struct pg_sack_block sack[PG_SACK_BLOCKS_MAX];
};

/*
 * The segment in a decoded packet, of one that IP fragments carried the one that made it whole.
 * Returns false, and leaves ret_segment alone, where there is none whose header could be read.
 */
bool pg_segment_of(const struct pg_decoded *decoded, struct pg_segment *ret_segment);

#endif
