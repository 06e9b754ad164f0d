/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_TCP_OPTIONS_H
#define PACKGATE_TCP_OPTIONS_H

#include <linux/types.h>

#include "bytes.h"
#include "shield.h"

/*
 * The options of a SYN, or of an ACK, that the shield has to know (RFC 9293, RFC 7323, RFC 2018).
 * Compiles for BPF and user space.
 */

#define PG_OPTION_BYTES_MAX 40
#define PG_OPTION_END	    0
#define PG_OPTION_NOP	    1
#define PG_OPTION_MSS	    2
#define PG_OPTION_SCALE	    3
#define PG_OPTION_SACK	    4
#define PG_OPTION_TIME	    8

/* Words of options as Linux sends them, in network order; zeros where a value stands. */
#define PG_LINUX_MSS_WORD	pg_be32(PG_OPTION_MSS << 24 | 4 << 16)
#define PG_LINUX_SACK_TIME_WORD pg_be32(PG_OPTION_SACK << 24 | 2 << 16 | PG_OPTION_TIME << 8 | 10)
#define PG_LINUX_SCALE_WORD	pg_be32(PG_OPTION_NOP << 24 | PG_OPTION_SCALE << 16 | 3 << 8)
#define PG_LINUX_NOP_TIME_WORD \
	pg_be32(PG_OPTION_NOP << 24 | PG_OPTION_NOP << 16 | PG_OPTION_TIME << 8 | 10)

#define PG_SACK_WORD pg_be32(PG_OPTION_NOP << 24 | PG_OPTION_NOP << 16 | PG_OPTION_SACK << 8 | 2)

struct pg_tcp_options {
	struct pg_shield_options base; /* mss 0 = none */
	__u8 timed;
	__u8 reserved[3];
	__u32 time, echo; /* TSval and TSecr, host order */
};

/* bytes, at and end are filled by pg_tcp_options_load(), found.base.scale by the caller. */
struct pg_option_walk {
	__u8 bytes[64]; /* the options, zeros behind them */
	__u32 at, end;
	struct pg_tcp_options found;
};

static __always_inline void pg_tcp_option_take(const __u8 *at, __u8 kind, __u8 length,
					       struct pg_tcp_options *found)
{
	if (kind == PG_OPTION_MSS && length == 4)
		found->base.mss = at[2] << 8 | at[3];
	if (kind == PG_OPTION_SCALE && length == 3)
		found->base.scale = at[2] > PG_SHIELD_SCALE_MAX ? PG_SHIELD_SCALE_MAX : at[2];
	if (kind == PG_OPTION_SACK && length == 2)
		found->base.sack = 1;
	if (kind == PG_OPTION_TIME && length == 10) {
		found->timed = 1;
		found->time = pg_load_be32(at + 2);
		found->echo = pg_load_be32(at + 6);
	}
}

/*
 * One turn of the walk; 1 ends it. PG_OPTION_BYTES_MAX turns are enough. What cannot be read ends
 * it, and what was found before stays, as the kernel holds it.
 */
static __always_inline long pg_tcp_option_next(struct pg_option_walk *walk)
{
	__u32 at = walk->at, end = walk->end;
	__u8 kind, length;

	if (at >= PG_OPTION_BYTES_MAX || at >= end)
		return 1;
	kind = walk->bytes[at];
	if (kind == PG_OPTION_END)
		return 1;
	if (kind == PG_OPTION_NOP) {
		walk->at = at + 1;
		return 0;
	}
	length = walk->bytes[at + 1];
	if (length < 2 || at + length > end)
		return 1;
	pg_tcp_option_take(walk->bytes + at, kind, length, &walk->found);
	walk->at = at + length;
	return 0;
}

/*
 * Readies a walk over `words` words of options, which start at a multiple of 4. Copies them word by
 * word: their number is the header's to say.
 */
static __always_inline void pg_tcp_options_load(const void *options, __u32 words, const void *end,
						struct pg_option_walk *walk)
{
	const __u32 *from = options;
	__u32 *to = (__u32 *)walk->bytes;

	__builtin_memset(walk->bytes, 0, sizeof(walk->bytes));
	walk->at = 0;
	walk->end = 0;
	for (__u32 i = 0; i < PG_OPTION_BYTES_MAX / 4; i++) {
		if (i >= words || (const void *)(from + i + 1) > end)
			break;
		to[i] = from[i];
		walk->end = 4 * i + 4;
	}
}

/* The 20 bytes of options with which Linux opens a connection. */
static __always_inline int pg_tcp_options_linux(const void *options, __u32 count, const void *end,
						struct pg_tcp_options *found)
{
	const __be32 *words = options;

	if (count != 5 || (const void *)(words + 5) > end ||
	    (words[0] & pg_be32(0xffff0000)) != PG_LINUX_MSS_WORD ||
	    words[1] != PG_LINUX_SACK_TIME_WORD ||
	    (words[4] & pg_be32(0xffffff00)) != PG_LINUX_SCALE_WORD)
		return 0;
	found->base.mss = pg_be32(words[0]);
	found->base.sack = 1;
	found->base.scale = pg_be32(words[4]);
	if (found->base.scale > PG_SHIELD_SCALE_MAX)
		found->base.scale = PG_SHIELD_SCALE_MAX;
	found->timed = 1;
	found->time = pg_be32(words[2]);
	found->echo = pg_be32(words[3]);
	return 1;
}

/* The 12 bytes with which nearly everybody sends timestamps. */
static __always_inline int pg_tcp_options_times(const void *options, __u32 count, const void *end,
						struct pg_tcp_options *found)
{
	const __be32 *words = options;

	if (count != 3 || (const void *)(words + 3) > end || words[0] != PG_LINUX_NOP_TIME_WORD)
		return 0;
	found->timed = 1;
	found->time = pg_be32(words[1]);
	found->echo = pg_be32(words[2]);
	return 1;
}

/*
 * Starts to read `words` words of options; true when walk->found is whole already. Else
 * pg_tcp_option_next() goes on until it returns 1.
 */
static __always_inline int pg_tcp_options_start(const void *options, __u32 words, const void *end,
						struct pg_option_walk *walk)
{
	__builtin_memset(&walk->found, 0, sizeof(walk->found));
	walk->found.base.scale = PG_SHIELD_NO_SCALE;
	if (!words || pg_tcp_options_linux(options, words, end, &walk->found) ||
	    pg_tcp_options_times(options, words, end, &walk->found))
		return 1;
	pg_tcp_options_load(options, words, end, walk);
	return 0;
}

#endif
