/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SYN_ACK_BPF_H
#define PG_SYN_ACK_BPF_H

#include "answer.bpf.h"
#include "tcp_options.bpf.h"

/*
 * Turns a SYN around in place into a SYN-ACK. Its headers are plain; VLAN tags stay as they are.
 * Only an option that the SYN had is answered, so an answer is never longer than its SYN, and most
 * often just as long.
 */

#define SYN_ACK_WORDS 10

struct syn_ack {
	__u32 cookie, acked; /* sequence numbers, host order */
	__u32 time, echo;
	__u16 mss; /* 0 = left away */
	__u16 window;
	__u8 timed, sack;
	__u8 scale; /* ours, or PG_SHIELD_NO_SCALE */
	__u8 reserved;
};

/* Returns the header's length in words. */
static __always_inline __u32 put_options(const struct syn_ack *answer, __be32 *words)
{
	__u32 n = 5;

	if (answer->mss)
		words[n++] = PG_LINUX_MSS_WORD | pg_be32(answer->mss);
	if (answer->timed) {
		words[n++] = answer->sack ? PG_LINUX_SACK_TIME_WORD : PG_LINUX_NOP_TIME_WORD;
		words[n++] = pg_be32(answer->time);
		words[n++] = pg_be32(answer->echo);
	} else if (answer->sack) {
		words[n++] = PG_SACK_WORD;
	}
	if (answer->scale != PG_SHIELD_NO_SCALE)
		words[n++] = PG_LINUX_SCALE_WORD | pg_be32(answer->scale);
	return n;
}

static __always_inline __u64 address_sum(const struct route *route)
{
	__u64 sum = 0;

	if (route->family == 4)
		return (route->source[1] >> 32) + (route->target[1] >> 32);
	for (int i = 0; i < 2; i++)
		sum += checksum_word(route->source[i]) + checksum_word(route->target[i]);
	return sum;
}

/* Fills the TCP header, with zeros behind it, which the checksum reads; returns its length. */
static __always_inline __u32 build_syn_ack(const struct route *route, const struct syn_ack *answer,
					   __be32 words[SYN_ACK_WORDS])
{
	__u64 sum = address_sum(route);
	__u32 bytes;

	__builtin_memset(words, 0, SYN_ACK_WORDS * sizeof(*words));
	words[0] = pg_be32((__u32)pg_be16(route->target_port_be) << 16 |
			   pg_be16(route->source_port_be));
	words[1] = pg_be32(answer->cookie);
	words[2] = pg_be32(answer->acked);
	bytes = put_options(answer, words) * 4;
	words[3] = pg_be32(bytes << 26 | 0x12 << 16 | answer->window);
	for (int i = 0; i < SYN_ACK_WORDS; i++)
		sum += words[i];
	sum += pg_be16(IPPROTO_TCP) + pg_be16(bytes);
	words[4] = checksum_fold(sum);
	return bytes;
}

static __always_inline bool put_tcp(void *at, const void *end, const __be32 *words, __u32 bytes)
{
	if (at + bytes > end)
		return false;
	__builtin_memcpy(at, words, bytes);
	return true;
}

/* A constant length for the verifier in each of the copies. */
static __always_inline bool put_any_tcp(void *at, const void *end, const __be32 *words, __u32 bytes)
{
	switch (bytes) {
	case 20:
		return put_tcp(at, end, words, 20);
	case 24:
		return put_tcp(at, end, words, 24);
	case 28:
		return put_tcp(at, end, words, 28);
	case 32:
		return put_tcp(at, end, words, 32);
	case 36:
		return put_tcp(at, end, words, 36);
	}
	return put_tcp(at, end, words, 40);
}

static __always_inline bool put_ipv4(void *at, const void *end, const struct route *route,
				     __u32 tcp_bytes)
{
	struct iphdr *ip = at;

	if ((const void *)(ip + 1) > end)
		return false;
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = 0;
	ip->tot_len = pg_be16(sizeof(*ip) + tcp_bytes);
	ip->id = 0;
	ip->frag_off = pg_be16(IP_DF);
	ip->ttl = ANSWER_TTL;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = route->target[1] >> 32;
	ip->daddr = route->source[1] >> 32;
	ip->check = checksum_fold((__u64)pg_be16(0x4500) + ip->tot_len + ip->frag_off +
				  pg_be16(ANSWER_TTL << 8 | IPPROTO_TCP) + ip->saddr + ip->daddr);
	return true;
}

static __always_inline bool put_ipv6(void *at, const void *end, const struct route *route,
				     __u32 tcp_bytes)
{
	struct ipv6hdr *ip = at;

	if ((const void *)(ip + 1) > end)
		return false;
	*(__be32 *)ip = pg_be32(6u << 28);
	ip->payload_len = pg_be16(tcp_bytes);
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = ANSWER_TTL;
	__builtin_memcpy(&ip->saddr, route->target, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, route->source, sizeof(ip->daddr));
	return true;
}

enum sent {
	SENT,
	NOT_SENT, /* the frame cannot be made as long as the answer, and is as it was */
	SPOILED,  /* impossible: the frame is no longer what it was */
};

/* Headers and options go where the SYN had its own; the frame is as long as it is to be. */
static __always_inline bool put_syn_ack(struct xdp_md *ctx, const struct route *route,
					const __be32 *words, __u32 bytes)
{
	void *data = (void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	__u64 header = route->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u64 ip_at = route->payload_offset - header;

	if (ip_at > IP_AT_MAX)
		return false;
	barrier_var(ip_at); /* one compare for both bounds would be lost on the verifier */
	if (ip_at < sizeof(struct ethhdr) || data + sizeof(struct ethhdr) > end)
		return false;
	turn_ethernet(data);
	if (route->family == 4)
		return put_ipv4(data + ip_at, end, route, bytes) &&
		       put_any_tcp(data + ip_at + sizeof(struct iphdr), end, words, bytes);
	return put_ipv6(data + ip_at, end, route, bytes) &&
	       put_any_tcp(data + ip_at + sizeof(struct ipv6hdr), end, words, bytes);
}

static __always_inline enum sent send_syn_ack(struct xdp_md *ctx, const struct route *route,
					      const __be32 *words, __u32 bytes)
{
	__u64 wanted = (__u64)route->payload_offset + bytes, length = ctx->data_end - ctx->data;

	barrier_var(length); /* pointers are subtracted in 64 bits or not at all */
	if (length != wanted && bpf_xdp_adjust_tail(ctx, (int)(wanted - length)))
		return NOT_SENT;
	return put_syn_ack(ctx, route, words, bytes) ? SENT : SPOILED;
}

#endif
