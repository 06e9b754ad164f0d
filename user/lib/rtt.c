// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "rtt.h"

#define SAMPLE_MAX_MS (1u << 20) /* keeps the sums within 32 bits */
#define CLOCK_MS      1

void pg_rtt_sample(struct pg_rtt *rtt, uint64_t sample_ms)
{
	uint32_t sample = sample_ms > SAMPLE_MAX_MS ? SAMPLE_MAX_MS : sample_ms;
	uint32_t smoothed = rtt->smoothed8 / 8, away;

	if (!sample)
		sample = CLOCK_MS;
	rtt->latest_ms = sample;
	if (!pg_rtt_known(rtt)) {
		rtt->smoothed8 = sample * 8;
		rtt->variation4 = sample * 2;
		rtt->least_ms = sample;
		return;
	}
	away = smoothed > sample ? smoothed - sample : sample - smoothed;
	rtt->variation4 += away - rtt->variation4 / 4;
	rtt->smoothed8 += sample - smoothed;
	if (sample < rtt->least_ms)
		rtt->least_ms = sample;
}

uint32_t pg_rtt_smoothed_ms(const struct pg_rtt *rtt, const struct pg_rtt_limits *limits)
{
	uint32_t smoothed = pg_rtt_known(rtt) ? rtt->smoothed8 / 8 : limits->first_ms / 2;

	return smoothed ? smoothed : CLOCK_MS;
}

uint32_t pg_rtt_timeout_ms(const struct pg_rtt *rtt, const struct pg_rtt_limits *limits,
			   uint32_t backoff)
{
	uint64_t timeout = limits->first_ms;

	if (pg_rtt_known(rtt)) {
		timeout = rtt->variation4 > CLOCK_MS ? rtt->variation4 : CLOCK_MS;
		timeout += rtt->smoothed8 / 8;
	}
	if (timeout < limits->min_ms)
		timeout = limits->min_ms;
	while (backoff-- && timeout < limits->max_ms)
		timeout *= 2;
	return timeout < limits->max_ms ? timeout : limits->max_ms;
}
