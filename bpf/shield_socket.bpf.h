/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_SOCKET_BPF_H
#define PG_SHIELD_SOCKET_BPF_H

#include <bpf/bpf_core_read.h>

#include "packgate/shield.h"
#include "packgate/tcpq.h"
#include "packet.bpf.h"
#include "shield_maps.bpf.h"

/*
 * The listener behind a shielded port, as the kernel holds it, and the flow in the kernel's and in
 * the cookie's terms.
 */

#define TCP_LISTEN	 10
#define RCVBUF_LOCK	 2 /* SOCK_RCVBUF_LOCK: the window follows SO_RCVBUF */
#define WINDOW_MAX	 65535
#define SCALE_FROM	 15 /* a window of 2^16 needs a scale of 1 */
#define COOKIES_ALWAYS	 2  /* net.ipv4.tcp_syncookies */
#define TIMESTAMPS_PLAIN 2  /* net.ipv4.tcp_timestamps: without an offset per connection */

/* Stubs of kernel types with the fields read here; loading finds where they really are. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct netns_ipv4 {
	__u8 sysctl_tcp_syncookies;
	__u8 sysctl_tcp_timestamps;
	__u8 sysctl_tcp_window_scaling;
	__u8 sysctl_tcp_sack;
	int sysctl_max_syn_backlog;
	int sysctl_tcp_rmem[3];
};

struct net {
	struct netns_ipv4 ipv4;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	possible_net_t skc_net;
	unsigned char skc_reuseport : 1;
};

struct sock {
	struct sock_common __sk_common;
	int sk_rcvbuf;
	__u8 sk_userlocks : 4;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
};

struct request_sock_queue {
	atomic_t qlen;
};

struct inet_sock {
	struct sock sk;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct request_sock_queue icsk_accept_queue;
};

struct tcp_options_received {
	__u16 user_mss;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 window_clamp;
	struct tcp_options_received rx_opt;
};

#pragma clang attribute pop

struct listener {
	__u32 syn_queue, syn_limit;
	__u16 window;			/* the first one, for the SYN-ACK */
	__u8 scale;			/* of the largest window the kernel may open here */
	__u8 full;			/* the accept queue */
	__u8 locked;			/* SO_RCVBUF is set */
	__u8 never_queues;		/* the kernel answers every SYN by a cookie itself */
	__u8 scaling, sack, timestamps; /* the sysctls */
	__u8 alone;			/* no SO_REUSEPORT: its port and address have no other */
	__u8 own_mss;			/* TCP_MAXSEG is set */
	__u8 reserved;
};

/*
 * The scale that tcp_select_initial_window() would take for this space. Without a branch: each
 * would double what the verifier has to walk.
 */
static __always_inline __u8 scale_for(__u64 space)
{
	__u64 scale = 0;

	space >>= SCALE_FROM + 1;
#pragma unroll
	for (int i = 0; i < PG_SHIELD_SCALE_MAX; i++) {
		scale += -space >> 63;
		space >>= 1;
	}
	return scale;
}

static __always_inline __u32 lesser(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

static __always_inline void read_window(struct tcp_sock *tcp, __u32 window_max,
					struct listener *ret_listener)
{
	struct sock *sk = &tcp->inet_conn.icsk_inet.sk;
	__u32 space = sk->__sk_common.skc_net.net->ipv4.sysctl_tcp_rmem[2];
	__u32 clamp = tcp->window_clamp;

	ret_listener->locked = !!(BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & RCVBUF_LOCK);
	ret_listener->window = lesser((__u32)sk->sk_rcvbuf / 2, WINDOW_MAX);
	if (space < window_max)
		space = window_max;
	if (clamp)
		space = lesser(space, clamp);
	if (ret_listener->locked)
		space = lesser(space, 2u * ret_listener->window);
	ret_listener->scale = scale_for(space);
}

static __always_inline void read_listener(struct tcp_sock *tcp, __u32 window_max,
					  struct listener *ret_listener)
{
	struct sock *sk = &tcp->inet_conn.icsk_inet.sk;
	struct net *net = sk->__sk_common.skc_net.net;
	__u32 limit = sk->sk_max_ack_backlog;

	ret_listener->never_queues = net->ipv4.sysctl_tcp_syncookies == COOKIES_ALWAYS;
	ret_listener->syn_queue = tcp->inet_conn.icsk_accept_queue.qlen.counter;
	ret_listener->syn_limit = pg_tcpq_syn_limit(limit, net->ipv4.sysctl_tcp_syncookies,
						    net->ipv4.sysctl_max_syn_backlog);
	ret_listener->full = sk->sk_ack_backlog > limit;
	ret_listener->scaling = net->ipv4.sysctl_tcp_window_scaling;
	ret_listener->sack = net->ipv4.sysctl_tcp_sack;
	ret_listener->timestamps = net->ipv4.sysctl_tcp_timestamps;
	ret_listener->alone = !BPF_CORE_READ_BITFIELD(&sk->__sk_common, skc_reuseport);
	ret_listener->own_mss = tcp->rx_opt.user_mss != 0;
	read_window(tcp, window_max, ret_listener);
}

static __always_inline __u32 flow_tuple(const struct route *route, struct bpf_sock_tuple *tuple)
{
	if (route->family == 4) {
		tuple->ipv4.saddr = route->source[1] >> 32;
		tuple->ipv4.daddr = route->target[1] >> 32;
		tuple->ipv4.sport = route->source_port_be;
		tuple->ipv4.dport = route->target_port_be;
		return sizeof(tuple->ipv4);
	}
	__builtin_memcpy(tuple->ipv6.saddr, route->source, sizeof(tuple->ipv6.saddr));
	__builtin_memcpy(tuple->ipv6.daddr, route->target, sizeof(tuple->ipv6.daddr));
	tuple->ipv6.sport = route->source_port_be;
	tuple->ipv6.dport = route->target_port_be;
	return sizeof(tuple->ipv6);
}

/* --- the own cookie ----------------------------------------------------------------------------
 */

static __always_inline void flow_of(const struct route *route, __u32 sequence,
				    struct pg_shield_flow *ret_flow)
{
	__builtin_memset(ret_flow, 0, sizeof(*ret_flow));
	ret_flow->source[0] = route->source[0];
	ret_flow->source[1] = route->source[1];
	ret_flow->target[0] = route->target[0];
	ret_flow->target[1] = route->target[1];
	ret_flow->source_port_be = route->source_port_be;
	ret_flow->target_port_be = route->target_port_be;
	ret_flow->sequence = sequence;
	ret_flow->family = route->family;
}

/*
 * Whether an ACK brings one back; then *ret_options is set. sequence and acked are the ACK's. A
 * global function: the verifier walks it once.
 */
__noinline int own_check(const struct route *route, __u32 sequence, __u32 acked, __u32 slot,
			 struct pg_shield_options *ret_options)
{
	const struct pg_shield_env *env = shield_env();
	struct pg_shield_flow flow;

	if (!route || !ret_options || !env)
		return 0;
	flow_of(route, sequence - 1, &flow);
	return pg_shield_check(env, &flow, acked - 1, slot, ret_options);
}

#endif
