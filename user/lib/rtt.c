// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "rtt.h"

#define SAMPLE_MAX_US (1u << 28) /* keeps the sums within 32 bits */
#define GRAIN_US      1000	 /* of the timers: no timeout is nearer to the round trip */

void pg_rtt_sample(struct pg_rtt *rtt, uint64_t sample_us)
{
	uint32_t sample = sample_us > SAMPLE_MAX_US ? SAMPLE_MAX_US : sample_us;
	uint32_t smoothed = rtt->smoothed8 / 8, away;

	if (!sample)
		sample = 1;
	rtt->latest_us = sample;
	if (!pg_rtt_known(rtt)) {
		rtt->smoothed8 = sample * 8;
		rtt->variation4 = sample * 2;
		rtt->least_us = sample;
		return;
	}
	away = smoothed > sample ? smoothed - sample : sample - smoothed;
	rtt->variation4 += away - rtt->variation4 / 4;
	rtt->smoothed8 += sample - smoothed;
	if (sample < rtt->least_us)
		rtt->least_us = sample;
}

uint32_t pg_rtt_smoothed_us(const struct pg_rtt *rtt, const struct pg_rtt_limits *limits)
{
	uint32_t smoothed = pg_rtt_known(rtt) ? rtt->smoothed8 / 8 : limits->first_ms * 500;

	return smoothed ? smoothed : 1;
}

uint32_t pg_rtt_timeout_ms(const struct pg_rtt *rtt, const struct pg_rtt_limits *limits,
			   uint32_t backoff)
{
	uint64_t timeout = limits->first_ms;

	if (pg_rtt_known(rtt)) {
		timeout = rtt->variation4 > GRAIN_US ? rtt->variation4 : GRAIN_US;
		timeout = (timeout + rtt->smoothed8 / 8 + 999) / 1000;
	}
	if (timeout < limits->min_ms)
		timeout = limits->min_ms;
	while (backoff-- && timeout < limits->max_ms)
		timeout *= 2;
	return timeout < limits->max_ms ? timeout : limits->max_ms;
}
