/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TCP_OPTIONS_BPF_H
#define PG_TCP_OPTIONS_BPF_H

#include <linux/tcp.h>

#include "packgate/shield.h"

/* The options of a SYN, or of an ACK, that the shield has to know. */

#define OPTION_BYTES_MAX 40
#define OPTION_END	 0
#define OPTION_NOP	 1
#define OPTION_MSS	 2
#define OPTION_SCALE	 3
#define OPTION_SACK	 4
#define OPTION_TIME	 8
#define MSS_DEFAULT_V4	 536
#define MSS_DEFAULT_V6	 1220

/* The option's kind and length as they stand in front of it, and a SYN of Linux as a whole. */
#define HEAD(kind, length)   pg_be16((kind) << 8 | (length))
#define LINUX_MSS_WORD	     pg_be32(OPTION_MSS << 24 | 4 << 16)
#define LINUX_SACK_TIME_WORD pg_be32(OPTION_SACK << 24 | 2 << 16 | OPTION_TIME << 8 | 10)
#define LINUX_SCALE_WORD     pg_be32(OPTION_NOP << 24 | OPTION_SCALE << 16 | 3 << 8)
#define LINUX_NOP_TIME_WORD  pg_be32(OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_TIME << 8 | 10)

struct tcp_options {
	struct pg_shield_options base; /* mss 0 = none */
	__u8 timed;
	__u8 reserved[3];
	__u32 time, echo; /* TSval and TSecr, host order */
};

struct option_walk {
	__u8 bytes[64]; /* the options, zeros behind them */
	__u32 at, end;
	struct tcp_options found;
};

static __always_inline __u32 byte_be32(const __u8 *at)
{
	return (__u32)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static __always_inline void take_option(const __u8 *at, __u8 kind, __u8 length,
					struct tcp_options *found)
{
	if (kind == OPTION_MSS && length == 4)
		found->base.mss = at[2] << 8 | at[3];
	if (kind == OPTION_SCALE && length == 3)
		found->base.scale = at[2] > PG_SHIELD_SCALE_MAX ? PG_SHIELD_SCALE_MAX : at[2];
	if (kind == OPTION_SACK && length == 2)
		found->base.sack = 1;
	if (kind == OPTION_TIME && length == 10) {
		found->timed = 1;
		found->time = byte_be32(at + 2);
		found->echo = byte_be32(at + 6);
	}
}

/* One turn of the walk; 1 ends it. */
static long next_option(__u64 turn, struct option_walk **context)
{
	struct option_walk *walk = *context;
	__u32 at = walk->at, end = walk->end;
	__u8 kind, length;

	if (at >= OPTION_BYTES_MAX || at >= end)
		return 1;
	kind = walk->bytes[at];
	if (kind == OPTION_END)
		return 1;
	if (kind == OPTION_NOP) {
		walk->at = at + 1;
		return 0;
	}
	length = walk->bytes[at + 1];
	if (length < 2 || at + length > end)
		return 1;
	take_option(walk->bytes + at, kind, length, &walk->found);
	walk->at = at + length;
	return 0;
}

/* Copies the options word by word: their number is the header's to say. */
static __always_inline void load_options(const struct tcphdr *tcp, const void *end,
					 struct option_walk *walk)
{
	const __u32 *from = (const void *)(tcp + 1);
	__u32 *to = (__u32 *)walk->bytes, words = tcp->doff - 5;

	for (__u32 i = 0; i < OPTION_BYTES_MAX / 4; i++) {
		if (i >= words || (const void *)(from + i + 1) > end)
			break;
		to[i] = from[i];
		walk->end = 4 * i + 4;
	}
}

/* The 20 bytes of options with which Linux opens a connection, without a walk. */
static __always_inline bool linux_syn(const struct tcphdr *tcp, const void *end,
				      struct tcp_options *found)
{
	const __be32 *words = (const void *)(tcp + 1);

	if (tcp->doff != 10 || (const void *)(words + 5) > end ||
	    (words[0] & pg_be32(0xffff0000)) != LINUX_MSS_WORD ||
	    words[1] != LINUX_SACK_TIME_WORD ||
	    (words[4] & pg_be32(0xffffff00)) != LINUX_SCALE_WORD)
		return false;
	found->base.mss = pg_be32(words[0]);
	found->base.sack = 1;
	found->base.scale = pg_be32(words[4]);
	if (found->base.scale > PG_SHIELD_SCALE_MAX)
		found->base.scale = PG_SHIELD_SCALE_MAX;
	found->timed = 1;
	found->time = pg_be32(words[2]);
	found->echo = pg_be32(words[3]);
	return true;
}

/* The 12 bytes with which nearly everybody sends timestamps. */
static __always_inline bool common_times(const struct tcphdr *tcp, const void *end,
					 struct tcp_options *found)
{
	const __be32 *words = (const void *)(tcp + 1);

	if (tcp->doff != 8 || (const void *)(words + 3) > end || words[0] != LINUX_NOP_TIME_WORD)
		return false;
	found->timed = 1;
	found->time = pg_be32(words[1]);
	found->echo = pg_be32(words[2]);
	return true;
}

/*
 * Fills walk->found. What cannot be read is as if it were not there, as the kernel holds it. The
 * helper wants its context on the stack, and the walk is too large for that.
 */
static __always_inline void read_options(const struct tcphdr *tcp, const void *end,
					 struct option_walk *walk)
{
	struct option_walk *context = walk;

	__builtin_memset(walk, 0, sizeof(*walk));
	walk->found.base.scale = PG_SHIELD_NO_SCALE;
	if (tcp->doff == 5 || linux_syn(tcp, end, &walk->found) ||
	    common_times(tcp, end, &walk->found))
		return;
	load_options(tcp, end, walk);
	bpf_loop(OPTION_BYTES_MAX, next_option, &context, 0);
}

#endif
