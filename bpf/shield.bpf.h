/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_BPF_H
#define PG_SHIELD_BPF_H

#include "limits.bpf.h"
#include "shield_answer.bpf.h"
#include "shield_tuples.bpf.h"

/*
 * The step for TCP to a port that has a shield. A socket that is no listener (a connection, one
 * that waits, one whose SYN the kernel has queued) has its segments passed; a SYN is answered by a
 * cookie; what else reaches the listener must bring one back.
 *
 * To look a socket up is the dearest part of a SYN. So of a flood only every PG_SHIELD_FRESH-th SYN
 * of a tick is looked up; between them the listener is taken to be as it was found, and a SYN whose
 * tuple has no mark (pg_shield_marks) to be for it.
 */

enum shield_verdict { /* or a negative enum pg_drop */
		      SHIELD_PASS = 0,
		      SHIELD_ANSWER, /* by answer_syn() */
		      SHIELD_CHECK,  /* by check_ack() */
};

struct segment {
	struct xdp_md *ctx;
	const struct route *route;
	const struct pg_shield *shield;
	const struct pg_shield_env *env;
	struct pg_shield_state *state;
	struct work *work;
	struct memo *memo;
};

static __always_inline enum pg_shield_way way_of(const struct pg_shield_env *env)
{
	return env->way[interface_slot & (PG_INTERFACES_MAX - 1)];
}

static __always_inline struct pg_shield_counts *counts_of(const struct route *route)
{
	__u32 index = route->endpoint;

	return bpf_map_lookup_elem(&pg_shield_count, &index);
}

#define COUNT(segment, field)                                                  \
	do {                                                                   \
		struct pg_shield_counts *counts = counts_of((segment)->route); \
		if (counts)                                                    \
			counts->field++;                                       \
	} while (0)

static __always_inline void tell(const struct segment *segment)
{
	struct pg_shield_counts *counts = counts_of(segment->route);

	if (counts)
		pg_shield_tell(segment->state, counts);
}

/* A source that no answer could reach: nothing, loopback, multicast, broadcast, ourselves. */
static __always_inline bool source_is_bogus(const struct route *route)
{
	__u8 first = route->family == 4 ? route->source[1] >> 32 & 0xff
					: pg_be64(route->source[0]) >> 56;

	if (route->source[0] == route->target[0] && route->source[1] == route->target[1])
		return true;
	/* ::/80 has nothing, loopback, and IPv4 in disguise */
	if (route->family == 6)
		return first == 0xff || (!route->source[0] && !(pg_be64(route->source[1]) >> 48));
	return first == 0 || first == 127 || first >= 224;
}

static __always_inline const struct tcphdr *tcp_header(struct xdp_md *ctx,
						       const struct route *route)
{
	const void *data = (const void *)(long)ctx->data, *end = (const void *)(long)ctx->data_end;
	__u64 offset = route->payload_offset;
	const struct tcphdr *tcp;

	if (offset > IP_AT_MAX + sizeof(struct ipv6hdr))
		return NULL;
	tcp = data + offset;
	return (const void *)(tcp + 1) > end ? NULL : tcp;
}

static __always_inline enum segment_kind kind_of(const struct tcphdr *tcp, const struct ethhdr *eth,
						 const struct route *route)
{
	__u32 header = route->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	/* an ACK under two VLAN tags does not show itself as IP at TC ingress */
	if (tcp->rst || route->payload_offset > sizeof(*eth) + sizeof(struct vlan_tag) + header)
		return SEGMENT_OTHER;
	if (!tcp->syn || tcp->ack)
		return SEGMENT_ACK;
	if (eth->h_dest[0] & 1)
		return SEGMENT_OTHER;
	return tcp->fin || source_is_bogus(route) ? SEGMENT_UNFIT : SEGMENT_SYN;
}

/* A global function: the verifier walks it once. */
__noinline int read_segment(struct xdp_md *ctx, const struct route *route, struct work *ret_work)
{
	const struct ethhdr *eth = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	const struct tcphdr *tcp;

	if (!route || !ret_work)
		return 0;
	tcp = tcp_header(ctx, route);
	ret_work->facts.kind = SEGMENT_UNFIT;
	ret_work->facts.opens = 0;
	if (route->fault || !route->plain || !tcp || (const void *)(eth + 1) > end ||
	    tcp->doff < 5 || tcp->doff * 4u > route->payload_bytes)
		return 0;
	ret_work->facts.sequence = pg_be32(tcp->seq);
	ret_work->facts.acked = pg_be32(tcp->ack_seq);
	ret_work->facts.opens = tcp->syn;
	ret_work->facts.kind = kind_of(tcp, eth, route);
	if (ret_work->facts.kind == SEGMENT_SYN)
		read_options(tcp, end, &ret_work->options);
	return 0;
}

/* --- on and off --------------------------------------------------------------------------------
 */

static __always_inline void log_switch(const struct segment *segment, __u32 active)
{
	struct pg_shield_switch *entry = bpf_ringbuf_reserve(&pg_shield_log, sizeof(*entry), 0);

	if (!entry)
		return;
	entry->time_ns = segment->memo->now_ns;
	entry->index = segment->route->endpoint;
	entry->active = active;
	entry->syn_queue = segment->state->syn_queue;
	entry->syn_limit = segment->state->syn_limit;
	bpf_ringbuf_submit(entry, 0);
}

/* Whether this SYN is to be answered by a cookie; an automatic shield switches here. */
static __always_inline bool is_active(const struct segment *segment)
{
	const struct listener *listener = &segment->memo->listener;
	struct pg_shield_state *state = segment->state;
	__u64 now_ns = segment->memo->now_ns;
	__u32 from, below;

	state->syn_queue = listener->syn_queue;
	state->syn_limit = listener->syn_limit;
	/* where nothing is queued there is nothing to switch by, and a cookie in any case */
	if (segment->shield->mode == PG_SHIELD_ON || listener->never_queues)
		return true;
	from = pg_shield_on_from(segment->shield, listener->syn_limit);
	below = pg_shield_off_below(from);
	if (!state->active) {
		if (listener->syn_queue < from)
			return false;
		if (pg_shield_turn(state, now_ns, 1))
			log_switch(segment, 1);
		return true;
	}
	state->syn_ns = now_ns;
	if (!pg_shield_calm(state, now_ns, below) || listener->syn_queue >= below)
		return true;
	if (pg_shield_turn(state, now_ns, 0))
		log_switch(segment, 0);
	return false;
}

/* --- a SYN -------------------------------------------------------------------------------------
 */

static __always_inline int refuse_full(const struct segment *segment)
{
	COUNT(segment, full);
	return -PG_DROP_SHIELD_FULL;
}

/*
 * What was found of the listener may stand for the next SYNs: not where each tuple has a listener
 * of its own, nor where the cookie depends on what the helper without a socket does not see.
 */
static __always_inline void remember(const struct segment *segment, enum known known)
{
	const struct listener *listener = &segment->memo->listener;

	if (!listener->alone || (way_of(segment->env) == PG_SHIELD_WAY_KERNEL && listener->own_mss))
		return;
	segment->memo->target[0] = segment->route->target[0];
	segment->memo->target[1] = segment->route->target[1];
	segment->memo->known = known;
}

/* SHIELD_ANSWER where a cookie is due; the kernel's is made here, where the listener is held. */
static __always_inline int judge_syn(const struct segment *segment, void *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__s64 cookie = 0;

	if (!tcp)
		return SHIELD_PASS;
	segment->memo->known = KNOWN_NOTHING;
	read_listener(tcp, segment->env->window_max, &segment->memo->listener);
	tell(segment);
	if (!is_active(segment))
		return SHIELD_PASS;
	if (segment->memo->listener.full) {
		remember(segment, KNOWN_FULL);
		return refuse_full(segment);
	}
	if (way_of(segment->env) == PG_SHIELD_WAY_KERNEL)
		cookie = kernel_cookie(segment->ctx, segment->route, sk);
	if (cookie < 0)
		return SHIELD_PASS;
	segment->work->cookie = cookie;
	remember(segment, KNOWN_DUE);
	return SHIELD_ANSWER;
}

static __always_inline enum known recall(const struct segment *segment)
{
	struct memo *memo = segment->memo;

	memo->syns++;
	if (!memo->known || memo->syns < PG_SHIELD_FRESH || !(memo->syns % PG_SHIELD_FRESH) ||
	    memo->target[0] != segment->route->target[0] ||
	    memo->target[1] != segment->route->target[1])
		return KNOWN_NOTHING;
	if (segment->shield->mode != PG_SHIELD_ON && !segment->state->active &&
	    !memo->listener.never_queues)
		return KNOWN_NOTHING;
	return may_have_socket(segment->env, segment->route) ? KNOWN_NOTHING : memo->known;
}

/* As judge_syn(), without the listener. */
static __always_inline int judge_again(const struct segment *segment, enum known known)
{
	__s64 cookie = 0;

	if (known == KNOWN_FULL)
		return refuse_full(segment);
	if (way_of(segment->env) == PG_SHIELD_WAY_KERNEL)
		cookie = kernel_cookie_again(segment->ctx, segment->route);
	segment->work->cookie = cookie;
	return cookie < 0 ? SHIELD_PASS : SHIELD_ANSWER;
}

/* --- an ACK ------------------------------------------------------------------------------------
 */

static __always_inline void accept(const struct segment *segment)
{
	segment->work->facts.opens = 1;
	COUNT(segment, accepted);
	tell(segment);
}

/*
 * The kernel's own cookies are taken in either way: it may have sent some before. Asking it first
 * is cheap where it has not.
 */
static __always_inline int judge_ack(const struct segment *segment, void *sk)
{
	if (kernel_takes(segment->ctx, segment->route, sk)) {
		accept(segment);
		return SHIELD_PASS;
	}
	if (way_of(segment->env) == PG_SHIELD_WAY_OWN)
		return SHIELD_CHECK;
	COUNT(segment, refused);
	return -PG_DROP_SHIELD_ACK;
}

/*
 * Whether an ACK brings back a cookie of the gate, after shield() has said so; route->endpoint is
 * the shield. A global function, called by the gate: under shield() the stack has no room. Returns
 * SHIELD_PASS or a negative enum pg_drop.
 */
__noinline int check_ack(const struct route *route)
{
	struct segment segment = { .route = route, .env = shield_env(), .work = shield_work() };
	struct pg_shield_options kept = {};
	const struct memo *memo;
	__u32 index;

	if (!route || !segment.work || !segment.env)
		return SHIELD_PASS;
	index = route->endpoint;
	memo = bpf_map_lookup_elem(&pg_shield_memo, &index);
	segment.state = bpf_map_lookup_elem(&pg_shield_state, &index);
	if (!memo || !segment.state)
		return SHIELD_PASS;
	if (!own_check(route, segment.work->facts.sequence, segment.work->facts.acked,
		       pg_shield_slot(memo->now_ns), &kept)) {
		COUNT(&segment, refused);
		return -PG_DROP_SHIELD_ACK;
	}
	accept(&segment);
	mark_tuple(segment.env, route);
	return SHIELD_PASS;
}

/* --- the step ----------------------------------------------------------------------------------
 */

static __always_inline int judge(const struct segment *segment, void *sk)
{
	if (segment->work->facts.kind == SEGMENT_SYN)
		return judge_syn(segment, sk);
	if (segment->work->facts.kind == SEGMENT_ACK)
		return judge_ack(segment, sk);
	COUNT(segment, unfit);
	return -PG_DROP_SHIELD_SYN;
}

/* SHIELD_PASS unless the segment reaches a listener. */
static __always_inline int look_up(const struct segment *segment)
{
	struct bpf_sock_tuple *tuple = &segment->work->tuple;
	__u32 bytes = flow_tuple(segment->route, tuple);
	int verdict = SHIELD_PASS;
	struct bpf_sock *sk;

	if (bytes == sizeof(tuple->ipv4))
		sk = bpf_skc_lookup_tcp(segment->ctx, tuple, sizeof(tuple->ipv4),
					BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_skc_lookup_tcp(segment->ctx, tuple, sizeof(tuple->ipv6),
					BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return SHIELD_PASS;
	if (sk->state == TCP_LISTEN)
		verdict = judge(segment, sk);
	bpf_sk_release(sk);
	return verdict;
}

/*
 * Whether there is a shield that is not off, on an interface that can make cookies; then its index
 * is in route->endpoint.
 */
static __always_inline bool find_all(struct segment *segment, struct route *route)
{
	__u32 index = route->endpoint;

	segment->shield = find_shield(route, &index);
	segment->env = shield_env();
	if (!segment->shield || segment->shield->mode == PG_SHIELD_OFF || !segment->env ||
	    way_of(segment->env) == PG_SHIELD_WAY_NONE)
		return false;
	route->endpoint = index;
	segment->state = bpf_map_lookup_elem(&pg_shield_state, &index);
	segment->memo = bpf_map_lookup_elem(&pg_shield_memo, &index);
	segment->work = shield_work();
	return segment->state && segment->memo && segment->work;
}

static __always_inline void tell_time(struct memo *memo)
{
	__u32 tick = tick_now();

	if (memo->tick == tick && memo->now_ns)
		return;
	memo->tick = tick;
	memo->now_ns = bpf_ktime_get_coarse_ns();
	memo->now_ms = memo->now_ns / NS_PER_MS;
	memo->syns = 0;
	memo->known = KNOWN_NOTHING;
}

/* What the own cookie needs, before it is made; TC ingress looks for cookies of this slot from
 * here. */
static __always_inline void ready_own(const struct segment *segment)
{
	__u32 slot = pg_shield_slot(segment->memo->now_ns) + 1;

	if (segment->state->last_slot != slot)
		segment->state->last_slot = slot;
	if (!has_prefix(segment->route, segment->memo))
		make_prefix(segment->route, segment->memo);
}

static __always_inline int take_syn(const struct segment *segment)
{
	enum known known = recall(segment);
	int verdict = known ? judge_again(segment, known) : look_up(segment);

	if (verdict == SHIELD_ANSWER && way_of(segment->env) == PG_SHIELD_WAY_OWN)
		ready_own(segment);
	return verdict;
}

static __always_inline int take(const struct segment *segment)
{
	__u32 kind = segment->work->facts.kind;

	if (kind == SEGMENT_OTHER)
		return SHIELD_PASS;
	if (kind != SEGMENT_SYN && segment->shield->mode == PG_SHIELD_AUTO &&
	    !segment->state->active)
		return SHIELD_PASS;
	tell_time(segment->memo);
	return kind == SEGMENT_SYN ? take_syn(segment) : look_up(segment);
}

/*
 * A global function: the verifier walks it once. route->endpoint is the index of the port's first
 * shield, and then of the one that is meant. Returns an enum shield_verdict or a negative enum
 * pg_drop.
 */
__noinline int shield(struct xdp_md *ctx, struct route *route)
{
	struct segment segment = { .ctx = ctx, .route = route };
	int verdict;

	if (!route || !find_all(&segment, route))
		return SHIELD_PASS;
	read_segment(ctx, route, segment.work);
	verdict = take(&segment);
	if (verdict == SHIELD_PASS && segment.work->facts.opens)
		mark_tuple(segment.env, route);
	return verdict;
}

#endif
