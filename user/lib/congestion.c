// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <string.h>

#include "congestion.h"

#define WINDOW_MAX (1ull << 30)

static uint64_t least(const struct pg_congestion *congestion)
{
	return PG_CONGESTION_LEAST_DATAGRAMS * (uint64_t)congestion->datagram;
}

static uint64_t first(const struct pg_congestion *congestion)
{
	return PG_CONGESTION_FIRST_DATAGRAMS * (uint64_t)congestion->datagram;
}

void pg_congestion_init(struct pg_congestion *congestion, uint32_t datagram_bytes)
{
	memset(congestion, 0, sizeof(*congestion));
	congestion->datagram = datagram_bytes;
	congestion->window = first(congestion);
	congestion->slow_start_to = WINDOW_MAX;
	congestion->allowance = (int64_t)first(congestion) * 1000;
}

bool pg_congestion_allows(const struct pg_congestion *congestion, uint32_t bytes)
{
	return !congestion->in_flight || congestion->in_flight + bytes <= congestion->window;
}

uint64_t pg_congestion_pace(struct pg_congestion *congestion, uint32_t smoothed_us, uint64_t now_us)
{
	/* bytes a millisecond, which is thousandths of a byte a microsecond */
	uint64_t rate = congestion->window * 5 / 4 * 1000 / smoothed_us + 1;
	uint64_t burst = rate * PG_PACE_GRAIN_MS * 1000, passed;

	if (burst < first(congestion) * 1000)
		burst = first(congestion) * 1000;
	/* the clock of another owner may be behind */
	passed = now_us > congestion->pace_us ? now_us - congestion->pace_us : 0;
	congestion->pace_us = now_us;
	if (passed > burst / rate + 1)
		passed = burst / rate + 1;
	congestion->allowance += passed * rate;
	if (congestion->allowance > (int64_t)burst)
		congestion->allowance = burst;
	if (congestion->allowance > 0)
		return now_us;
	return now_us + (uint64_t)-congestion->allowance / rate + 1;
}

void pg_congestion_sent(struct pg_congestion *congestion, uint32_t bytes, bool again)
{
	int64_t debt = (int64_t)first(congestion) * 1000;

	congestion->allowance -= bytes * 1000ll;
	/* probes leave regardless of the pace: their debt stays small */
	if (congestion->allowance < -debt)
		congestion->allowance = -debt;
	if (!again)
		congestion->in_flight += bytes;
}

/* An application that sends less than it might learns nothing about the path. */
static bool window_was_used(const struct pg_congestion *congestion)
{
	if (congestion->window < congestion->slow_start_to)
		return congestion->in_flight * 2 >= congestion->window;
	return congestion->in_flight + 3 * congestion->datagram >= congestion->window;
}

static void grow(struct pg_congestion *congestion, uint32_t bytes)
{
	if (congestion->window < congestion->slow_start_to) {
		congestion->window += bytes;
	} else {
		congestion->grown += bytes;
		if (congestion->grown < congestion->window)
			return;
		congestion->grown -= congestion->window;
		congestion->window += congestion->datagram;
	}
	if (congestion->window > WINDOW_MAX)
		congestion->window = WINDOW_MAX;
}

void pg_congestion_acked(struct pg_congestion *congestion, uint32_t bytes, uint64_t order,
			 uint64_t sent_us)
{
	if (order >= congestion->recovery_order && window_was_used(congestion))
		grow(congestion, bytes);
	if (sent_us >= congestion->lost_from_us)
		congestion->lost_from_us = 0;
	congestion->in_flight -= bytes;
}

static void reduce(struct pg_congestion *congestion, uint64_t next_order)
{
	congestion->recovery_order = next_order;
	congestion->slow_start_to = congestion->window / 2;
	if (congestion->slow_start_to < least(congestion))
		congestion->slow_start_to = least(congestion);
	congestion->window = congestion->slow_start_to;
	congestion->grown = 0;
}

void pg_congestion_lost(struct pg_congestion *congestion, uint32_t bytes, uint64_t order,
			uint64_t sent_us, uint64_t next_order, uint64_t persistent_us)
{
	congestion->in_flight -= bytes;
	if (order >= congestion->recovery_order)
		reduce(congestion, next_order);
	if (!persistent_us)
		return;
	if (!congestion->lost_from_us || sent_us < congestion->lost_from_us)
		congestion->lost_from_us = sent_us;
	if (sent_us - congestion->lost_from_us < persistent_us)
		return;
	congestion->window = least(congestion);
	congestion->lost_from_us = 0;
}

void pg_congestion_forget(struct pg_congestion *congestion, uint32_t bytes)
{
	congestion->in_flight -= bytes;
}

void pg_congestion_slow(struct pg_congestion *congestion, uint64_t next_order)
{
	uint64_t slow_start_to = congestion->slow_start_to;
	bool regrowing = slow_start_to != WINDOW_MAX && congestion->window < slow_start_to;

	reduce(congestion, next_order);
	congestion->window = least(congestion);
	/* a buffer that is still full says nothing new about what the path carries */
	if (regrowing)
		congestion->slow_start_to = slow_start_to;
}
