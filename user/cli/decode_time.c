// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "decode_time.h"

#define SECOND_NS UINT64_C(1000000000)

static void write_clock(const char *format, uint64_t time_ns, char *text)
{
	time_t seconds = (time_t)(time_ns / SECOND_NS);
	char clock[32] = "";
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		strftime(clock, sizeof(clock), format, &tm);
	snprintf(text, DECODE_TIME_TEXT, "%s.%06u ", clock,
		 (unsigned int)(time_ns % SECOND_NS / 1000));
}

/* Captures of several cards may go back in time. */
static void write_distance(uint64_t time_ns, uint64_t from_ns, char *text)
{
	uint64_t us = (time_ns > from_ns ? time_ns - from_ns : from_ns - time_ns) / 1000;
	uint64_t seconds = us / 1000000;

	snprintf(text, DECODE_TIME_TEXT, "%s%02" PRIu64 ":%02u:%02u.%06u ",
		 time_ns < from_ns ? "-" : "", seconds / 3600, (unsigned int)(seconds / 60 % 60),
		 (unsigned int)(seconds % 60), (unsigned int)(us % 1000000));
}

const char *decode_time_text(struct decode_clock *clock, uint64_t time_ns,
			     char text[DECODE_TIME_TEXT])
{
	uint64_t last_ns = clock->last_ns ? clock->last_ns : time_ns;

	if (!clock->first_ns)
		clock->first_ns = time_ns;
	clock->last_ns = time_ns;
	text[0] = 0;
	switch (clock->format) {
	case DECODE_TIME_OF_DAY:
		write_clock("%H:%M:%S", time_ns, text);
		break;
	case DECODE_TIME_UNIX:
		snprintf(text, DECODE_TIME_TEXT, "%" PRIu64 ".%06u ", time_ns / SECOND_NS,
			 (unsigned int)(time_ns % SECOND_NS / 1000));
		break;
	case DECODE_TIME_DELTA:
		write_distance(time_ns, last_ns, text);
		break;
	case DECODE_TIME_DATE:
		write_clock("%Y-%m-%d %H:%M:%S", time_ns, text);
		break;
	case DECODE_TIME_SINCE_FIRST:
		write_distance(time_ns, clock->first_ns, text);
		break;
	default:
		break;
	}
	return text;
}
