/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_BPF_H
#define PG_SHIELD_BPF_H

#include "config.bpf.h"
#include "shield_maps.bpf.h"
#include "shield_socket.bpf.h"
#include "syn_ack.bpf.h"

/*
 * The step for TCP to a port that has a shield. A socket that is no listener (a connection, one
 * that waits, one whose SYN the kernel has queued) has its segments passed; a SYN is answered by a
 * cookie; what else reaches the listener must bring one back.
 */

#define TIME_BITS   63 /* of TSval, in which the kernel's cookie has its options */
#define TIME_SACK   0x10
#define MSS_MARGIN4 40 /* of the MTU */
#define MSS_MARGIN6 60

enum shield_verdict { /* or a negative enum pg_drop */
		      SHIELD_PASS = 0,
		      SHIELD_ANSWER,
		      SHIELD_SPOILED, /* aborted: the frame is no longer what it was */
};

enum segment_kind {
	SEGMENT_SYN,
	SEGMENT_ACK,   /* everything that only a connection may send */
	SEGMENT_UNFIT, /* cannot be read or answered */
	SEGMENT_OTHER, /* passes */
};

/* What a segment says of itself. */
struct facts {
	__u32 kind; /* enum segment_kind */
	__u32 sequence, acked;
};

/* Of the segment at hand; kept out of the stack, which the gate and this step fill together. */
struct work {
	struct facts facts;
	struct pg_option_walk options; /* of a SYN */
	struct bpf_sock_tuple tuple;
	struct listener listener;
	struct syn_ack answer;
	struct syn_ack_words header; /* the answer as it is sent */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} pg_shield_work SEC(".maps");

struct segment {
	struct xdp_md *ctx;
	const struct route *route;
	const struct pg_shield *shield;
	struct pg_shield_state *state;
	const struct pg_shield_env *env;
	struct work *work;
	__u64 now_ns;
	__u32 index; /* of the shield */
	__u32 way;
};

/* A source that no answer could reach: nothing, loopback, multicast, broadcast. */
static __always_inline bool source_is_bogus(const struct route *route)
{
	__u8 first = route->family == 4 ? route->source[1] >> 32 & 0xff
					: pg_be64(route->source[0]) >> 56;

	if (route->family == 6)
		return first == 0xff || !(route->source[0] | route->source[1]);
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
	if (route->fault || !route->plain || !tcp || (const void *)(eth + 1) > end ||
	    tcp->doff < 5 || tcp->doff * 4u > route->payload_bytes)
		return 0;
	ret_work->facts.sequence = pg_be32(tcp->seq);
	ret_work->facts.acked = pg_be32(tcp->ack_seq);
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
	entry->time_ns = segment->now_ns;
	entry->index = segment->index;
	entry->active = active;
	entry->syn_queue = segment->state->syn_queue;
	entry->syn_limit = segment->state->syn_limit;
	bpf_ringbuf_submit(entry, 0);
}

/* Whether this SYN is to be answered by a cookie; an automatic shield switches here. */
static __always_inline bool is_active(const struct segment *segment)
{
	const struct listener *listener = &segment->work->listener;
	struct pg_shield_state *state = segment->state;
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
		if (pg_shield_turn(state, segment->now_ns, 1))
			log_switch(segment, 1);
		return true;
	}
	state->syn_ns = segment->now_ns;
	if (!pg_shield_calm(state, segment->now_ns, below) || listener->syn_queue >= below)
		return true;
	if (pg_shield_turn(state, segment->now_ns, 0))
		log_switch(segment, 0);
	return false;
}

/* --- a SYN -------------------------------------------------------------------------------------
 */

/*
 * The helper wants the header's length as a constant: one call for each. Returns the cookie, or a
 * negative errno: the kernel would queue this SYN (-ENOENT), or sends no cookies.
 */
static __always_inline __s64 kernel_cookie(void *sk, void *ip, __u32 ip_bytes, struct tcphdr *tcp,
					   const void *end)
{
#define WITH_WORDS(words)                                \
	case words:                                      \
		if ((const void *)tcp + (words)*4 > end) \
			return -1;                       \
		return bpf_tcp_gen_syncookie(sk, ip, ip_bytes, tcp, (words)*4);
	if ((const void *)(tcp + 1) > end)
		return -1;
	switch (tcp->doff) {
		WITH_WORDS(5)
		WITH_WORDS(6)
		WITH_WORDS(7)
		WITH_WORDS(8)
		WITH_WORDS(9)
		WITH_WORDS(10)
		WITH_WORDS(11)
		WITH_WORDS(12)
		WITH_WORDS(13)
		WITH_WORDS(14)
		WITH_WORDS(15)
	}
#undef WITH_WORDS
	return -1;
}

/* Where the IP header starts; plain headers only. */
static __always_inline __u64 ip_offset(const struct route *route, __u32 ip_bytes)
{
	__u64 at = route->payload_offset - ip_bytes;

	if (at > IP_AT_MAX)
		at = IP_AT_MAX;
	return at;
}

static __always_inline __s64 ask_kernel(const struct segment *segment, void *sk, __u32 ip_bytes)
{
	void *data = (void *)(long)segment->ctx->data, *end = (void *)(long)segment->ctx->data_end;
	void *ip = data + ip_offset(segment->route, ip_bytes);

	return kernel_cookie(sk, ip, ip_bytes, ip + ip_bytes, end);
}

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

/* A global function: the verifier walks it once. Fills all of the answer but the cookie. */
__noinline int offer(const struct route *route, __u64 now_ns, struct work *work)
{
	const struct pg_shield_env *env = shield_env();
	const struct listener *listener;
	const struct pg_tcp_options *asked;
	__u32 margin, mtu, space;
	struct syn_ack *answer;

	if (!route || !work || !env)
		return 0;
	asked = &work->options.found;
	answer = &work->answer;
	listener = &work->listener;
	margin = route->family == 4 ? MSS_MARGIN4 : MSS_MARGIN6;
	mtu = env->mtu[interface_slot & (PG_INTERFACES_MAX - 1)];
	space = listener->space;
	if (listener->locked && space > 2u * listener->window)
		space = 2u * listener->window;
	answer->acked = work->facts.sequence + 1;
	answer->mss = mtu > margin ? mtu - margin : MSS_DEFAULT_V4;
	answer->window = listener->window;
	answer->timed = asked->timed && listener->timestamps;
	answer->sack = asked->base.sack && listener->sack;
	answer->scale = asked->base.scale != PG_SHIELD_NO_SCALE && listener->scaling
				? scale_for(space)
				: PG_SHIELD_NO_SCALE;
	answer->time = now_ns / NS_PER_MS;
	answer->echo = asked->time;
	if (env->way[interface_slot & (PG_INTERFACES_MAX - 1)] == PG_SHIELD_WAY_KERNEL)
		limit_to_kernel(listener, asked, answer);
	return 0;
}

/* SHIELD_ANSWER where a cookie is due; the kernel's is made here, where the listener is held. */
static __always_inline int judge_syn(struct segment *segment, void *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__s64 cookie;

	if (!tcp)
		return SHIELD_PASS;
	read_listener(tcp, segment->env->window_max, &segment->work->listener);
	if (!is_active(segment))
		return SHIELD_PASS;
	if (segment->work->listener.full) {
		__sync_fetch_and_add(&segment->state->full, 1);
		return -PG_DROP_SHIELD_FULL;
	}
	if (segment->way == PG_SHIELD_WAY_OWN)
		return SHIELD_ANSWER;
	cookie = segment->route->family == 4 ? ask_kernel(segment, sk, sizeof(struct iphdr))
					     : ask_kernel(segment, sk, sizeof(struct ipv6hdr));
	segment->work->answer.cookie = cookie;
	return cookie < 0 ? SHIELD_PASS : SHIELD_ANSWER;
}

static __always_inline void make_cookie(struct segment *segment)
{
	const struct syn_ack *answer = &segment->work->answer;
	const struct pg_tcp_options *asked = &segment->work->options.found;
	__u32 slot = pg_shield_slot(segment->now_ns);
	struct pg_shield_options kept = {
		.mss = asked->base.mss ? asked->base.mss : MSS_DEFAULT_V4,
		.sack = answer->sack,
		.scale = answer->scale == PG_SHIELD_NO_SCALE ? PG_SHIELD_NO_SCALE
							     : asked->base.scale,
	};

	segment->work->answer.cookie =
		own_cookie(segment->route, &kept, segment->work->facts.sequence, slot);
	if (segment->state->last_slot != slot + 1)
		segment->state->last_slot = slot + 1;
}

static __always_inline int answer_syn(struct segment *segment)
{
	struct work *work = segment->work;
	__u32 bytes;

	offer(segment->route, segment->now_ns, work);
	if (segment->way == PG_SHIELD_WAY_OWN)
		make_cookie(segment);
	bytes = build_syn_ack(segment->route, &work->answer, &work->header);
	switch (send_syn_ack(segment->ctx, segment->route, &work->header, bytes)) {
	case SENT:
		__sync_fetch_and_add(&segment->state->cookies, 1);
		return SHIELD_ANSWER;
	case NOT_SENT:
		return SHIELD_PASS;
	}
	return SHIELD_SPOILED;
}

/* --- an ACK ------------------------------------------------------------------------------------
 */

static __always_inline bool kernel_takes(const struct segment *segment, void *sk, __u32 ip_bytes)
{
	void *data = (void *)(long)segment->ctx->data, *end = (void *)(long)segment->ctx->data_end;
	void *ip = data + ip_offset(segment->route, ip_bytes);
	struct tcphdr *tcp = ip + ip_bytes;

	return (const void *)(tcp + 1) <= end &&
	       !bpf_tcp_check_syncookie(sk, ip, ip_bytes, tcp, sizeof(*tcp));
}

/* The kernel's own cookies are taken in either way: it may have sent some before. */
static __always_inline int judge_ack(const struct segment *segment, void *sk)
{
	__u32 slot = pg_shield_slot(segment->now_ns);
	struct pg_shield_options kept = {};
	bool good;

	good = segment->way == PG_SHIELD_WAY_OWN &&
	       own_check(segment->route, segment->work->facts.sequence, segment->work->facts.acked,
			 slot, &kept);
	if (!good)
		good = segment->route->family == 4
			       ? kernel_takes(segment, sk, sizeof(struct iphdr))
			       : kernel_takes(segment, sk, sizeof(struct ipv6hdr));
	if (good) {
		__sync_fetch_and_add(&segment->state->accepted, 1);
		return SHIELD_PASS;
	}
	__sync_fetch_and_add(&segment->state->refused, 1);
	return -PG_DROP_SHIELD_ACK;
}

/* --- the step ----------------------------------------------------------------------------------
 */

static __always_inline int judge(struct segment *segment, void *sk)
{
	if (segment->work->facts.kind == SEGMENT_SYN)
		return judge_syn(segment, sk);
	if (segment->work->facts.kind == SEGMENT_ACK)
		return judge_ack(segment, sk);
	__sync_fetch_and_add(&segment->state->unfit, 1);
	return -PG_DROP_SHIELD_SYN;
}

/* SHIELD_PASS unless the segment reaches a listener. */
static __always_inline int look_up(struct segment *segment)
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

/* Whether there is a shield that is not off, on an interface that can make cookies. */
static __always_inline bool find_all(struct segment *segment)
{
	__u32 zero = 0;

	segment->index = segment->route->endpoint;
	segment->shield = find_shield(segment->route, &segment->index);
	segment->state = bpf_map_lookup_elem(&pg_shield_state, &segment->index);
	segment->env = shield_env();
	segment->work = bpf_map_lookup_elem(&pg_shield_work, &zero);
	if (!segment->shield || !segment->state || !segment->env || !segment->work)
		return false;
	segment->way = segment->env->way[interface_slot & (PG_INTERFACES_MAX - 1)];
	return segment->way != PG_SHIELD_WAY_NONE && segment->shield->mode != PG_SHIELD_OFF;
}

/*
 * A global function: the verifier walks it once. route->endpoint is the index of the port's first
 * shield. Returns an enum shield_verdict or a negative enum pg_drop.
 */
__noinline int shield(struct xdp_md *ctx, const struct route *route)
{
	struct segment segment = { .ctx = ctx, .route = route };
	int verdict;

	if (!route || !find_all(&segment))
		return SHIELD_PASS;
	read_segment(ctx, route, segment.work);
	if (segment.work->facts.kind == SEGMENT_OTHER)
		return SHIELD_PASS;
	if (segment.work->facts.kind != SEGMENT_SYN && segment.shield->mode == PG_SHIELD_AUTO &&
	    !segment.state->active)
		return SHIELD_PASS;
	segment.now_ns = bpf_ktime_get_coarse_ns();
	verdict = look_up(&segment);
	return verdict == SHIELD_ANSWER ? answer_syn(&segment) : verdict;
}

#endif
