/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_RTT_H
#define PG_RTT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The round-trip time of a session and the timeout that follows from it (RFC 6298).
 * Karn's rule is the caller's: a frame that was sent more than once gives no sample.
 */
struct pg_rtt_limits {
	uint32_t first_ms; /* timeout before the first sample */
	uint32_t min_ms, max_ms;
};

/* All zero: no sample yet. */
struct pg_rtt {
	uint32_t smoothed8; /* 8 times the smoothed round trip, microseconds */
	uint32_t variation4;
	uint32_t latest_us;
	uint32_t least_us; /* of all samples; 0 = none yet, a sample is at least 1 */
};

void pg_rtt_sample(struct pg_rtt *rtt, uint64_t sample_us);

static inline bool pg_rtt_known(const struct pg_rtt *rtt)
{
	return rtt->least_us;
}

/* The smoothed round trip, at least 1; half the first timeout before the first sample. */
uint32_t pg_rtt_smoothed_us(const struct pg_rtt *rtt, const struct pg_rtt_limits *limits);

/* The retransmission timeout in milliseconds, doubled backoff times, within the limits. */
uint32_t pg_rtt_timeout_ms(const struct pg_rtt *rtt, const struct pg_rtt_limits *limits,
			   uint32_t backoff);

#endif
