/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_REPLAY_H
#define PACKGATE_REPLAY_H

#include "drop.h"
#include "session.h"
#include "wire.h"
#ifndef __bpf__
#include <stdbool.h>
#endif

/*
 * The packId gate of PROTOCOL section 4, read-only: checks, never commits. Committing lives in
 * replay_commit.h, which nothing under bpf/ may include.
 */

static inline __attribute__((__always_inline__)) bool pg_replay_bit(const __u64 *bits, __u32 id)
{
	return bits[(id >> 6) & (PG_WINDOW_WORDS - 1)] >> (id & 63) & 1;
}

/*
 * Whether pack may be accepted in a series with this highest id; needs no window. Returns true
 * with *ret_drop final, or false where the window must decide (pack <= highest, policy window).
 */
static inline __attribute__((__always_inline__)) bool
pg_replay_settled(__u32 highest, __u32 pack, __u8 policy, enum pg_drop *ret_drop)
{
	if (pack > highest) {
		*ret_drop = pack - highest > PG_AHEAD_MAX ? PG_DROP_REPLAY_AHEAD : PG_DROP_NONE;
		return true;
	}
	if (policy == PG_POLICY_NEWEST) {
		*ret_drop = PG_DROP_NOT_MONOTONIC;
		return true;
	}
	if (highest - pack >= PG_WINDOW_IDS) {
		*ret_drop = PG_DROP_REPLAY_OLD;
		return true;
	}
	return false;
}

/* The whole rule over a window. Returns PG_DROP_NONE or the reason. */
static inline __attribute__((__always_inline__)) enum pg_drop
pg_replay_check(__u32 highest, const __u64 *bits, __u32 pack, __u8 policy)
{
	enum pg_drop drop;

	if (pg_replay_settled(highest, pack, policy, &drop))
		return drop;
	return pg_replay_bit(bits, pack) ? PG_DROP_REPLAY_SEEN : PG_DROP_NONE;
}

#endif
