/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SPAN_H
#define PG_SPAN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Bytes of a packet as two lengths: `length` is what the layers so far say there was on the wire,
 * `there` what the capture kept of it (there <= length). A reader asks pg_span_has first.
 */
struct pg_span {
	const uint8_t *at;
	uint32_t there;
	uint32_t length;
};

/* The first n bytes were on the wire; and, for _has, were captured too. */
static inline bool pg_span_sent(const struct pg_span *span, uint32_t n)
{
	return n <= span->length;
}

static inline bool pg_span_has(const struct pg_span *span, uint32_t n)
{
	return n <= span->there;
}

/* Drops the first n bytes, n <= there. */
static inline void pg_span_skip(struct pg_span *span, uint32_t n)
{
	span->at += n;
	span->there -= n;
	span->length -= n;
}

/* Ends the span after n bytes, n <= length. */
static inline void pg_span_end(struct pg_span *span, uint32_t n)
{
	span->length = n;
	if (span->there > n)
		span->there = n;
}

#endif
