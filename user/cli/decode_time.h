/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_DECODE_TIME_H
#define PG_DECODE_TIME_H

#include <stdint.h>

/* How a packet's time is written, by how often -t was given; tcpdump's meanings. */
enum decode_time_format {
	DECODE_TIME_OF_DAY,
	DECODE_TIME_OFF,
	DECODE_TIME_UNIX,
	DECODE_TIME_DELTA, /* since the packet before */
	DECODE_TIME_DATE,
	DECODE_TIME_SINCE_FIRST,
	DECODE_TIME_FORMATS
};

struct decode_clock {
	enum decode_time_format format;
	uint64_t first_ns, last_ns; /* 0 = no packet yet */
};

#define DECODE_TIME_TEXT 64

/* The time with a blank behind it, or "" for DECODE_TIME_OFF; local time, microseconds. */
const char *decode_time_text(struct decode_clock *clock, uint64_t time_ns,
			     char text[DECODE_TIME_TEXT]);

#endif
