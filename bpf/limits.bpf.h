/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_LIMITS_BPF_H
#define PG_LIMITS_BPF_H

#include "maps.bpf.h"
#include "packet.bpf.h"

#define HASH_MULTIPLIER 0x9e3779b97f4a7c15ull

/*
 * Jiffies are read without a call, but only the kernel's configuration tells how many make a
 * second; where it cannot be read (0) the coarse clock serves, in ticks of 2^20 ns.
 */
extern unsigned long CONFIG_HZ __kconfig __weak;

#define COARSE_SHIFT	  20
#define COARSE_PER_SECOND 954
#define TICKS_BACK_MAX	  64u /* ticks that two CPUs may differ by */

static __always_inline __u32 tick_now(void)
{
	return CONFIG_HZ ? bpf_jiffies64() : bpf_ktime_get_coarse_ns() >> COARSE_SHIFT;
}

/* What a frame costs, so that a rate in frames a second is that many tokens a tick. */
static __always_inline __u32 tokens_per_frame(void)
{
	return CONFIG_HZ ? CONFIG_HZ : COARSE_PER_SECOND;
}

/*
 * Takes one frame from a bucket that holds a second's worth at most; false when it is empty. A
 * stamp of 0 is a bucket that nobody used: it is full, also where the clock's 32 bits have just
 * begun anew.
 */
static __always_inline bool bucket_take(struct pg_bucket *bucket, __u32 rate)
{
	__u32 now = tick_now(), elapsed = now - bucket->stamp;
	__u64 full = (__u64)rate * tokens_per_frame();
	__u64 tokens;

	/* another CPU was here with a later tick: not a whole turn of the clock, but no time */
	if (elapsed > -TICKS_BACK_MAX) {
		now = bucket->stamp;
		elapsed = 0;
	}
	tokens = bucket->tokens + (__u64)elapsed * rate;
	if (tokens > full || !bucket->stamp)
		tokens = full;
	bucket->stamp = now ? now : 1;
	if (tokens < tokens_per_frame()) {
		bucket->tokens = tokens;
		return false;
	}
	bucket->tokens = tokens - tokens_per_frame();
	return true;
}

/* A source is an IPv4 address or an IPv6 /64. */
static __always_inline __u32 source_bucket(const struct pkt *pkt)
{
	__u64 source = pkt->route->family == 4 ? pkt->route->source[1] : pkt->route->source[0];

	return (source * HASH_MULTIPLIER) >> 48;
}

/* The reason for a frame that matches no session: within its source's rate, or beyond. */
static __always_inline enum pg_drop unmatched(const struct pkt *pkt)
{
	const struct pg_shared *shared = shared_state();
	__u32 index = source_bucket(pkt);
	struct pg_bucket *bucket = bpf_map_lookup_elem(&pg_sources, &index);

	if (!bucket || !shared)
		return PG_DROP_NO_SESSION;
	return bucket_take(bucket, shared->unmatched_rate) ? PG_DROP_NO_SESSION
							   : PG_DROP_RATE_LIMITED;
}

/* Whether this session may have another duplicate acked again this second. */
static __always_inline bool ack_again(const struct pkt *pkt)
{
	const struct pg_shared *shared = shared_state();
	__u32 slot = pkt->slot;
	struct pg_acks_state *acks = bpf_map_lookup_elem(&pg_acks, &slot);

	return acks && shared && bucket_take(&acks->bucket, shared->ack_rate);
}

#endif
