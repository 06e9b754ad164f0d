// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Takes the gate's own SYN cookies back at TC ingress (Linux 6.9 or newer): the ACK that brings one
 * is given to its listener as a request that the kernel then completes. Everything else goes on.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "parse.bpf.h"
#include "shield_maps.bpf.h"
#include "shield_socket.bpf.h"
#include "tcp_options.bpf.h"

#define HEADERS_MAX 134 /* Ethernet, IPv6, TCP with all its options, a VLAN tag, rounded */

/* Of the kernel: what a request remembers of the SYN. */
struct bpf_tcp_req_attrs {
	__u32 rcv_tsval;
	__u32 rcv_tsecr;
	__u16 mss;
	__u8 rcv_wscale;
	__u8 snd_wscale;
	__u8 ecn_ok;
	__u8 wscale_ok;
	__u8 sack_ok;
	__u8 tstamp_ok;
	__u8 usec_ts_ok;
	__u8 reserved[3];
};

extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *skb, struct sock *sk,
				   struct bpf_tcp_req_attrs *attrs, int attrs__sz) __ksym __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PG_SHIELD_SEEN);
	__type(key, __u32);
	__type(value, struct pg_shield_seen);
} pg_shield_seen SEC(".maps");

/* Kept out of the stack, where the walk's reads at any byte would be refused. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pg_option_walk);
} pg_shield_walk SEC(".maps");

struct ack {
	struct route route;
	const struct pg_shield *shield;
	__u64 now_ns;
	__u32 index; /* of the shield */
	__u32 sequence, acked;
	struct pg_shield_options kept;
	struct pg_tcp_options options;
};

/* Whether cookies were made for this shield so lately that one may come back. */
static __always_inline bool cookies_out(const struct ack *ack)
{
	const struct pg_shield_state *state = bpf_map_lookup_elem(&pg_shield_state, &ack->index);

	return state && state->last_slot && pg_shield_slot(ack->now_ns) + 1 - state->last_slot <= 1;
}

static __always_inline const struct tcphdr *tcp_of(struct __sk_buff *skb, const struct ack *ack)
{
	const void *data = (const void *)(long)skb->data, *end = (const void *)(long)skb->data_end;
	__u64 offset = ack->route.payload_offset;
	const struct tcphdr *tcp;

	if (offset > HEADERS_MAX)
		return NULL;
	tcp = data + offset;
	return (const void *)(tcp + 1) > end ? NULL : tcp;
}

/* An ACK that may bring a cookie, by its looks. */
static __always_inline bool read_ack(struct __sk_buff *skb, struct ack *ack)
{
	struct headers in = { (const void *)(long)skb->data, (const void *)(long)skb->data_end,
			      &ack->route };
	const struct tcphdr *tcp;

	if (parse(&in) != NEXT || ack->route.protocol != IPPROTO_TCP || ack->route.fault ||
	    !ack->route.plain)
		return false;
	ack->index = shield_on_port(ack->route.target_port_be);
	if (!ack->index)
		return false;
	tcp = tcp_of(skb, ack);
	if (!tcp || !tcp->ack || tcp->syn || tcp->rst || tcp->doff < 5 ||
	    tcp->doff * 4u > ack->route.payload_bytes)
		return false;
	ack->sequence = pg_be32(tcp->seq);
	ack->acked = pg_be32(tcp->ack_seq);
	return true;
}

static __always_inline void read_times(struct __sk_buff *skb, struct ack *ack)
{
	__u32 zero = 0;
	struct pg_option_walk *walk = bpf_map_lookup_elem(&pg_shield_walk, &zero);
	const struct tcphdr *tcp = tcp_of(skb, ack);

	if (!tcp || !walk)
		return;
	read_options(tcp, (const void *)(long)skb->data_end, walk);
	ack->options = walk->found;
}

/*
 * Whether this very cookie was given to the kernel a moment ago; notes it. The connection is then
 * being made by a segment in front of this one, and to give it a second time would lose this one.
 */
static __always_inline bool given_before(const struct ack *ack)
{
	__u32 slot = ack->acked >> 8 & (PG_SHIELD_SEEN - 1);
	struct pg_shield_seen *seen = bpf_map_lookup_elem(&pg_shield_seen, &slot);
	__u32 ports = (__u32)ack->route.source_port_be << 16 | ack->route.target_port_be;

	if (!seen)
		return false;
	if (seen->cookie == ack->acked && seen->ports == ports &&
	    ack->now_ns - seen->time_ns < PG_SHIELD_SEEN_NS)
		return true;
	seen->cookie = ack->acked;
	seen->ports = ports;
	seen->time_ns = ack->now_ns;
	return false;
}

static __always_inline void fill(const struct ack *ack, const struct listener *listener,
				 struct bpf_tcp_req_attrs *attrs)
{
	bool scaled = ack->kept.scale != PG_SHIELD_NO_SCALE && listener->scaling;

	attrs->mss = ack->kept.mss;
	attrs->sack_ok = ack->kept.sack && listener->sack;
	attrs->wscale_ok = scaled;
	attrs->snd_wscale = scaled ? ack->kept.scale : 0;
	attrs->rcv_wscale = scaled ? listener->scale : 0;
	attrs->tstamp_ok = ack->options.timed && listener->timestamps;
	attrs->rcv_tsval = ack->options.time;
	attrs->rcv_tsecr = ack->options.echo;
}

static __always_inline int give(struct __sk_buff *skb, const struct ack *ack, struct tcp_sock *tcp)
{
	const struct pg_shield_env *env = shield_env();
	struct bpf_tcp_req_attrs attrs = {};
	struct listener listener = {};

	if (!env)
		return TC_ACT_UNSPEC;
	read_listener(tcp, env->window_max, &listener);
	/* with a full accept queue the kernel drops it, counted, and the client asks again */
	if (!listener.full && given_before(ack))
		return TC_ACT_UNSPEC;
	fill(ack, &listener, &attrs);
	bpf_sk_assign_tcp_reqsk(skb, (struct sock *)tcp, &attrs, sizeof(attrs));
	return TC_ACT_UNSPEC;
}

static __always_inline int complete(struct __sk_buff *skb, const struct ack *ack)
{
	struct bpf_sock_tuple tuple;
	__u32 bytes = flow_tuple(&ack->route, &tuple);
	int action = TC_ACT_UNSPEC;
	struct tcp_sock *tcp;
	struct bpf_sock *sk;

	if (bytes == sizeof(tuple.ipv4))
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return TC_ACT_UNSPEC;
	if (sk->state == TCP_LISTEN) {
		tcp = bpf_skc_to_tcp_sock(sk);
		if (tcp)
			action = give(skb, ack, tcp);
	}
	bpf_sk_release(sk);
	return action;
}

SEC("tc")
int pg_shield_tc(struct __sk_buff *skb)
{
	struct ack ack = {};

	if (skb->protocol != pg_be16(ETH_P_IP) && skb->protocol != pg_be16(ETH_P_IPV6))
		return TC_ACT_UNSPEC;
	if (skb->data_end - skb->data < HEADERS_MAX && skb->len > skb->data_end - skb->data)
		bpf_skb_pull_data(skb, skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX);
	if (!read_ack(skb, &ack))
		return TC_ACT_UNSPEC;
	ack.shield = find_shield(&ack.route, &ack.index);
	ack.now_ns = bpf_ktime_get_coarse_ns();
	if (!ack.shield || !cookies_out(&ack) ||
	    !own_check(&ack.route, ack.sequence, ack.acked, pg_shield_slot(ack.now_ns), &ack.kept))
		return TC_ACT_UNSPEC;
	read_times(skb, &ack);
	return complete(skb, &ack);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
