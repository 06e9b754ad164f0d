/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CONGESTION_H
#define PG_CONGESTION_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How much of a session may be on its way, in the manner of RFC 9002 section 7 (NewReno): slow
 * start, one reduction a round trip for whatever is lost in it, persistent congestion, pacing.
 * Bytes are frames as sent. A transmission is named by its order number, counted from 1 over the
 * session, so that a frame sent again is told from its first copy.
 */
struct pg_congestion {
	uint64_t window;	/* bytes that may be in flight */
	uint64_t slow_start_to; /* below it the window grows by what is acked */
	uint64_t in_flight;
	uint64_t recovery_order; /* losses of transmissions below it are one and the same */
	uint64_t grown;		 /* acked since the window grew in congestion avoidance */
	uint64_t lost_from_us;	 /* first of an unbroken run of lost transmissions, 0 = none */
	uint64_t pace_us;	 /* when allowance was reckoned */
	int64_t allowance;	 /* that may leave at once, thousandths of a byte */
	uint32_t datagram;	 /* largest frame, bytes */
};

#define PG_CONGESTION_FIRST_DATAGRAMS 10
#define PG_CONGESTION_LEAST_DATAGRAMS 2
#define PG_PACE_GRAIN_MS	      16 /* a timer that comes this late loses no bandwidth */

void pg_congestion_init(struct pg_congestion *congestion, uint32_t datagram_bytes);

/* Whether so many bytes more may be in flight. */
bool pg_congestion_allows(const struct pg_congestion *congestion, uint32_t bytes);

/* When a frame may leave by the pace of one window a smoothed_us and a quarter: <= now_us, now. */
uint64_t pg_congestion_pace(struct pg_congestion *congestion, uint32_t smoothed_us,
			    uint64_t now_us);

/* A frame leaves. again: it is in flight already (a probe). */
void pg_congestion_sent(struct pg_congestion *congestion, uint32_t bytes, bool again);

/* A frame in flight that was last sent at sent_us was acked. */
void pg_congestion_acked(struct pg_congestion *congestion, uint32_t bytes, uint64_t order,
			 uint64_t sent_us);

/*
 * A frame in flight was lost. next_order: of the next transmission. persistent_us: a run of losses
 * that spans this is persistent congestion; 0 = no round trip is known yet.
 */
void pg_congestion_lost(struct pg_congestion *congestion, uint32_t bytes, uint64_t order,
			uint64_t sent_us, uint64_t next_order, uint64_t persistent_us);

/* A frame in flight is given up, which says nothing about the path. */
void pg_congestion_forget(struct pg_congestion *congestion, uint32_t bytes);

/* The peer's receive buffer fills up (SLOW): the window starts anew. */
void pg_congestion_slow(struct pg_congestion *congestion, uint64_t next_order);

#endif
