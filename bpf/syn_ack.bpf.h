/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SYN_ACK_BPF_H
#define PG_SYN_ACK_BPF_H

#include "answer.bpf.h"
#include "tcp_options.bpf.h"

/*
 * Turns a SYN around in place into a SYN-ACK. Its headers are plain; VLAN tags stay as they are.
 * The TCP header is as long as its options need: 24 bytes for the MSS alone, so that an answer is
 * no longer than a SYN as clients send it.
 */

#define SYN_ACK_WORDS 10

struct syn_ack {
	__u32 cookie, acked; /* sequence numbers, host order */
	__u32 time, echo;
	__u16 mss, window;
	__u8 timed, sack;
	__u8 scale; /* ours, or PG_SHIELD_NO_SCALE */
	__u8 reserved;
};

static __always_inline __be32 scale_word(const struct syn_ack *answer)
{
	if (answer->scale == PG_SHIELD_NO_SCALE)
		return pg_be32(0x01010101);
	return pg_be32(PG_OPTION_NOP << 24 | PG_OPTION_SCALE << 16 | 3 << 8 | answer->scale);
}

/* Returns the header's length. */
static __always_inline __u32 put_options(const struct syn_ack *answer, __be32 *words)
{
	words[0] = PG_LINUX_MSS_WORD | pg_be32(answer->mss);
	if (answer->timed) {
		words[1] = answer->sack ? PG_LINUX_SACK_TIME_WORD : PG_LINUX_NOP_TIME_WORD;
		words[2] = pg_be32(answer->time);
		words[3] = pg_be32(answer->echo);
		words[4] = scale_word(answer);
		return 40;
	}
	if (!answer->sack && answer->scale == PG_SHIELD_NO_SCALE)
		return 24;
	words[1] =
		answer->sack ? pg_be32(0x01010000 | PG_OPTION_SACK << 8 | 2) : pg_be32(0x01010101);
	words[2] = scale_word(answer);
	return 32;
}

struct syn_ack_words {
	__be32 words[SYN_ACK_WORDS]; /* the TCP header, zeros behind it: the checksum reads them */
};

/* A global function: the verifier walks it once. Returns the header's length. */
__noinline int build_syn_ack(const struct route *route, const struct syn_ack *answer,
			     struct syn_ack_words *ret_header)
{
	__be32 *words;
	__u64 sum = 0;
	__u32 bytes;

	if (!route || !answer || !ret_header)
		return 0;
	__builtin_memset(ret_header, 0, sizeof(*ret_header));
	words = ret_header->words;
	words[0] = pg_be32((__u32)pg_be16(route->target_port_be) << 16 |
			   pg_be16(route->source_port_be));
	words[1] = pg_be32(answer->cookie);
	words[2] = pg_be32(answer->acked);
	bytes = put_options(answer, words + 5);
	words[3] = pg_be32(bytes / 4 << 28 | 0x12 << 16 | answer->window);
	for (int i = 0; i < SYN_ACK_WORDS; i++)
		sum += words[i];
	if (route->family == 4)
		sum += (route->source[1] >> 32) + (route->target[1] >> 32);
	else
		for (int i = 0; i < 2; i++)
			sum += checksum_word(route->source[i]) + checksum_word(route->target[i]);
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

/* bytes is one of three, and a constant for the verifier in each of the copies. */
static __always_inline bool put_any_tcp(void *at, const void *end, const __be32 *words, __u32 bytes)
{
	switch (bytes) {
	case 24:
		return put_tcp(at, end, words, 24);
	case 32:
		return put_tcp(at, end, words, 32);
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

/* A global function: the verifier walks it once. Returns an enum sent. */
__noinline int send_syn_ack(struct xdp_md *ctx, const struct route *route,
			    const struct syn_ack_words *header, __u32 bytes)
{
	__u64 offset, length, ip_at;
	void *data, *end;
	bool put;

	if (!route || !header)
		return NOT_SENT;
	offset = route->payload_offset;
	ip_at = offset - (route->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	length = ctx->data_end - ctx->data;
	barrier_var(length); /* pointers are subtracted in 64 bits or not at all */
	if (bpf_xdp_adjust_tail(ctx, (int)(offset + bytes - length)))
		return NOT_SENT;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (ip_at > IP_AT_MAX)
		return SPOILED;
	barrier_var(ip_at); /* one compare for both bounds would be lost on the verifier */
	if (ip_at < sizeof(struct ethhdr) || data + sizeof(struct ethhdr) > end)
		return SPOILED;
	turn_ethernet(data);
	if (route->family == 4)
		put = put_ipv4(data + ip_at, end, route, bytes) &&
		      put_any_tcp(data + ip_at + sizeof(struct iphdr), end, header->words, bytes);
	else
		put = put_ipv6(data + ip_at, end, route, bytes) &&
		      put_any_tcp(data + ip_at + sizeof(struct ipv6hdr), end, header->words, bytes);
	return put ? SENT : SPOILED;
}

#endif
