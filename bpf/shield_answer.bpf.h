/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_ANSWER_BPF_H
#define PG_SHIELD_ANSWER_BPF_H

#include "config.bpf.h"
#include "shield_kernel.bpf.h"
#include "shield_tuples.bpf.h"
#include "shield_work.bpf.h"

/* From a SYN and what is known of its listener to the SYN-ACK with a cookie. */

#define TIME_BITS   63 /* of TSval, in which the kernel's cookie has its options */
#define TIME_SACK   0x10
#define MSS_MARGIN4 40 /* of the MTU */
#define MSS_MARGIN6 60

/* What only timestamps can carry is left away without them. */
static __always_inline void limit_to_kernel(const struct listener *listener,
					    const struct pg_tcp_options *asked,
					    struct syn_ack *answer)
{
	__u32 bits, now_ms = answer->time;

	answer->timed &= listener->timestamps == TIMESTAMPS_PLAIN;
	answer->sack &= answer->timed;
	if (!answer->timed || listener->locked)
		answer->scale = PG_SHIELD_NO_SCALE;
	bits = answer->scale == PG_SHIELD_NO_SCALE ? PG_SHIELD_NO_SCALE : asked->base.scale;
	answer->time = (now_ms & ~TIME_BITS) | bits | (answer->sack ? TIME_SACK : 0);
	if (answer->time > now_ms)
		answer->time -= TIME_BITS + 1;
}

/* Our MSS, to one who told his. */
static __always_inline __u16 mss_for(const struct pg_shield_env *env, const struct route *route,
				     const struct pg_tcp_options *asked)
{
	__u32 mtu = env->mtu[interface_slot & (PG_INTERFACES_MAX - 1)];
	__u32 margin = route->family == 4 ? MSS_MARGIN4 : MSS_MARGIN6;

	if (!asked->base.mss)
		return 0;
	return mtu > margin ? mtu - margin : MSS_DEFAULT_V4;
}

static __always_inline void offer(const struct pg_shield_env *env, const struct route *route,
				  const struct work *work, const struct memo *memo,
				  struct syn_ack *answer)
{
	const struct pg_tcp_options *asked = &work->options.found;
	const struct listener *listener = &memo->listener;

	answer->acked = work->facts.sequence + 1;
	answer->mss = mss_for(env, route, asked);
	answer->window = listener->window;
	answer->timed = asked->timed && listener->timestamps;
	answer->sack = asked->base.sack && listener->sack;
	answer->scale = asked->base.scale != PG_SHIELD_NO_SCALE && listener->scaling
				? listener->scale
				: PG_SHIELD_NO_SCALE;
	answer->time = memo->now_ms;
	answer->echo = asked->time;
}

/* Readies the hash for the SYN's target. A global function: the verifier walks it once. */
__noinline int make_prefix(const struct route *route, struct memo *memo)
{
	const struct pg_shield_env *env = shield_env();
	__u32 slot;

	if (!route || !memo || !env)
		return 0;
	slot = pg_shield_slot(memo->now_ns);
	pg_shield_prefix(env, route->target, route->target_port_be, route->family, slot,
			 &memo->prefix);
	memo->prefix_target[0] = route->target[0];
	memo->prefix_target[1] = route->target[1];
	memo->prefix_family = route->family;
	memo->prefix_slot = slot + 1;
	return 0;
}

static __always_inline bool has_prefix(const struct route *route, const struct memo *memo)
{
	return memo->prefix_slot == pg_shield_slot(memo->now_ns) + 1 &&
	       memo->prefix_target[0] == route->target[0] &&
	       memo->prefix_target[1] == route->target[1] && memo->prefix_family == route->family;
}

static __always_inline __u32 own_cookie(const struct memo *memo, const struct route *route,
					const struct work *work, const struct syn_ack *answer)
{
	const struct pg_tcp_options *asked = &work->options.found;
	struct pg_shield_options kept = {
		.mss = asked->base.mss ? asked->base.mss : MSS_DEFAULT_V4,
		.sack = answer->sack,
		.scale = answer->scale == PG_SHIELD_NO_SCALE ? PG_SHIELD_NO_SCALE
							     : asked->base.scale,
	};
	struct pg_shield_flow flow;

	flow_of(route, work->facts.sequence, &flow);
	return pg_shield_cookie(&memo->prefix, &flow, memo->prefix_slot - 1, &kept);
}

static __always_inline void fill_answer(const struct pg_shield_env *env, const struct route *route,
					const struct work *work, const struct memo *memo,
					struct syn_ack *answer)
{
	offer(env, route, work, memo, answer);
	if (env->way[interface_slot & (PG_INTERFACES_MAX - 1)] == PG_SHIELD_WAY_KERNEL) {
		limit_to_kernel(&memo->listener, &work->options.found, answer);
		answer->cookie = work->cookie;
	} else {
		answer->cookie = own_cookie(memo, route, work, answer);
	}
}

/*
 * Sends the cookie that shield() has found to be due and readied; route->endpoint is the shield. A
 * global function, called by the gate: under shield() the stack has no room. Returns an enum sent.
 */
__noinline int answer_syn(struct xdp_md *ctx, const struct route *route)
{
	const struct pg_shield_env *env = shield_env();
	struct work *work = shield_work();
	struct pg_shield_counts *counts;
	const struct memo *memo;
	struct syn_ack answer;
	enum sent sent;
	__u32 index;

	if (!route || !work || !env)
		return SPOILED;
	index = route->endpoint;
	memo = bpf_map_lookup_elem(&pg_shield_memo, &index);
	counts = bpf_map_lookup_elem(&pg_shield_count, &index);
	if (!memo || !counts)
		return SPOILED;
	fill_answer(env, route, work, memo, &answer);
	sent = send_syn_ack(ctx, route, work->answer, build_syn_ack(route, &answer, work->answer));
	if (sent == SENT)
		counts->cookies++;
	else if (sent == NOT_SENT)
		mark_tuple(env, route);
	return sent;
}

#endif
