/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_FOLLOW_INTERNAL_H
#define PG_FOLLOW_INTERNAL_H

#include <sys/queue.h>

#include "follow.h"

/* What the files of the tracker share: a connection, and the steps that a segment goes through. */

#define PG_HOLES_MAX 8
#define PG_NEVER     UINT64_MAX

/* Sequence numbers that were passed over and not captured so far: start to end - 1. */
struct pg_hole {
	uint32_t start, end;
	uint64_t since_us;
};

/* One end: what it sent, and how much of the other's it acknowledged. */
struct pg_flow {
	bool based; /* base is set */
	bool known; /* a segment of it set next */
	uint32_t base;
	uint32_t next; /* behind the highest number captured */
	bool has_low;  /* it began before the capture, not long ago: low is the first captured */
	uint32_t low;
	uint64_t low_us;
	struct pg_hole holes[PG_HOLES_MAX]; /* ascending, below next, above the other's ack */
	uint8_t hole_count;

	bool has_ack;
	uint32_t ack;
	uint64_t ack_us;
	uint32_t duplicates;
	uint16_t window; /* as sent */
	bool syn_window; /* by a SYN */

	bool kept_alive, probed; /* its last segment was such */
	bool probe_open;	 /* a probe's byte lies at next, and nobody took it yet */

	bool syn, syn_acked; /* syn: sent, or the other end could not be where it is */
	bool syn_seen;	     /* and captured: way has its options */
	bool fin, fin_acked;
	bool passive; /* it had the other's FIN when it sent its own */
	bool forced;  /* by a reset or a challenge ACK: state is not what the rest says */
	enum pg_tcp_state forced_state;
	uint32_t isn, fin_seq;
	struct pg_follow_way way;
};

enum pg_follow_list {
	PG_FOLLOW_LIST_OPENING,
	PG_FOLLOW_LIST_OPEN,
	PG_FOLLOW_LIST_ENDED,
	PG_FOLLOW_LIST_COUNT,
};

struct pg_connection {
	TAILQ_ENTRY(pg_connection) link;    /* by list, the longest silent first */
	TAILQ_ENTRY(pg_connection) waiting; /* for pg_follow_take */
	struct pg_connection *chain;
	enum pg_follow_list list;
	bool reported, waits, forgotten;
	bool late; /* had segments after its report */

	uint64_t number;
	struct pg_peer ends[2];
	enum pg_follow_end end, close; /* close: how it will end, once it does */
	bool ended, established, whole, crossed_open;
	uint64_t first_us, last_us;
	uint64_t syn_us, last_syn_us, answer_us; /* PG_NEVER: none captured */
	uint64_t round_trip_us;			 /* of the handshake, 0 if not seen */
	int64_t handshake_us, server_us, client_us;
	uint32_t challenge; /* what a challenge ACK acknowledged */
	struct pg_flow flows[2];
};

/* Sequence numbers wrap: a is before b if it is less than 2^31 behind it (RFC 9293). */
static inline bool pg_seq_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline uint32_t pg_seq_later(uint32_t a, uint32_t b)
{
	return pg_seq_before(a, b) ? b : a;
}

static inline uint32_t pg_seq_earlier(uint32_t a, uint32_t b)
{
	return pg_seq_before(a, b) ? a : b;
}

static inline bool pg_segment_has(const struct pg_segment *segment, uint16_t flags)
{
	return (segment->flags & flags) == flags;
}

/* Numbers that a segment takes up: data, SYN and FIN. */
static inline uint32_t pg_segment_length(const struct pg_segment *segment)
{
	return segment->data_bytes + !!(segment->flags & PG_TCP_SYN) +
	       !!(segment->flags & PG_TCP_FIN);
}

/* --- follow_flow.c: numbers --- */

/* What the segment of end `from` is, against what was captured before. Changes nothing. */
uint32_t pg_flow_judge(const struct pg_connection *connection, int from,
		       const struct pg_segment *segment, uint64_t now_us,
		       struct pg_follow_note *note);

/* Takes its numbers and its acknowledgment into account. */
void pg_flow_take(struct pg_connection *connection, int from, const struct pg_segment *segment,
		  uint64_t now_us, struct pg_follow_note *note);

/* Sets what relative numbers count from, where the segment tells. */
void pg_flow_base(struct pg_connection *connection, int from, const struct pg_segment *segment);

/* Bytes in the holes. */
uint64_t pg_flow_missing(const struct pg_flow *flow);

/* --- follow_state.c: states --- */

enum pg_tcp_state pg_connection_state(const struct pg_connection *connection, int end);

/* Whether a SYN on the ports of this connection opens another one. */
bool pg_connection_reopens(const struct pg_connection *connection, int from,
			   const struct pg_segment *segment);

/* The first segment that was captured: assumes what it implies. Returns its events. */
uint32_t pg_connection_begin(struct pg_connection *connection, int from,
			     const struct pg_segment *segment);

/* Takes the segment whole: numbers, states, times. Fills note but connection and sender. */
void pg_connection_take(struct pg_connection *connection, int from,
			const struct pg_segment *segment, uint64_t now_us,
			struct pg_follow_note *note);

#endif
