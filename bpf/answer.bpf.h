/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ANSWER_BPF_H
#define PG_ANSWER_BPF_H

#include "parse.bpf.h"

/*
 * Turns a datagram around in place and sends it back with another payload: only where the headers
 * are plain (no IP options, no extension headers), and only with fewer bytes than the question.
 * VLAN tags stay as they are.
 */

#define ANSWER_MAX 40 /* an ack on a stream is 32 bytes long */
#define ANSWER_TTL 64
#define NS_PER_MS  1000000
#define IP_AT_MAX  (sizeof(struct ethhdr) + VLAN_TAGS_MAX * sizeof(struct vlan_tag))

struct answer {
	__u64 words[ANSWER_MAX / 8]; /* the frame, zeros behind it: the checksum reads all of it */
	__u32 bytes;
	__u32 reserved;
};

static __always_inline __u16 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* The sum of 16-bit words does not mind being taken over 32-bit ones. */
static __always_inline __u64 checksum_word(__u64 word)
{
	return (word & 0xffffffff) + (word >> 32);
}

/* Of the UDP header (its checksum being 0), the pseudo header's lengths, and the payload. */
static __always_inline __u16 udp_checksum(const struct udphdr *udp, const struct answer *answer,
					  __u64 addresses)
{
	__u64 sum = addresses + pg_be16(IPPROTO_UDP) + udp->len;
	__u16 folded;

	sum += (__u64)udp->source + udp->dest + udp->len;
	for (int i = 0; i < ANSWER_MAX / 8; i++)
		sum += checksum_word(answer->words[i]);
	folded = checksum_fold(sum);
	return folded ? folded : 0xffff;
}

static __always_inline void turn_ethernet(struct ethhdr *eth)
{
	__u8 source[ETH_ALEN];

	__builtin_memcpy(source, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, source, ETH_ALEN);
}

static __always_inline void turn_udp(struct udphdr *udp, __u32 bytes)
{
	__be16 source = udp->source;

	udp->source = udp->dest;
	udp->dest = source;
	udp->len = pg_be16(sizeof(*udp) + bytes);
	udp->check = 0;
}

static __always_inline bool turn_ipv4(struct iphdr *ip, const void *end,
				      const struct answer *answer)
{
	struct udphdr *udp = (void *)(ip + 1);
	__be32 source;
	__u32 total = sizeof(*ip) + sizeof(*udp) + answer->bytes;

	if ((const void *)(udp + 1) > end)
		return false;
	source = ip->saddr;
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = 0;
	ip->tot_len = pg_be16(total);
	ip->id = 0;
	ip->frag_off = pg_be16(IP_DF);
	ip->ttl = ANSWER_TTL;
	ip->protocol = IPPROTO_UDP;
	ip->saddr = ip->daddr;
	ip->daddr = source;
	ip->check = checksum_fold((__u64)pg_be16(0x4500) + ip->tot_len + ip->frag_off +
				  pg_be16(ANSWER_TTL << 8 | IPPROTO_UDP) + ip->saddr + ip->daddr);
	turn_udp(udp, answer->bytes);
	udp->check = udp_checksum(udp, answer, (__u64)ip->saddr + ip->daddr);
	return true;
}

static __always_inline bool turn_ipv6(struct ipv6hdr *ip, const void *end,
				      const struct answer *answer)
{
	struct udphdr *udp = (void *)(ip + 1);
	struct in6_addr source;
	__u64 addresses = 0;

	if ((const void *)(udp + 1) > end)
		return false;
	source = ip->saddr;
	ip->version = 6;
	ip->priority = 0;
	__builtin_memset(ip->flow_lbl, 0, sizeof(ip->flow_lbl));
	ip->payload_len = pg_be16(sizeof(*udp) + answer->bytes);
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = ANSWER_TTL;
	ip->saddr = ip->daddr;
	ip->daddr = source;
	for (int i = 0; i < 4; i++)
		addresses += (__u64)ip->saddr.s6_addr32[i] + ip->daddr.s6_addr32[i];
	turn_udp(udp, answer->bytes);
	udp->check = udp_checksum(udp, answer, addresses);
	return true;
}

/*
 * All of its words: no question is that short (a guarded data frame has 44 bytes), and the zeros
 * behind the answer are cut off.
 */
static __always_inline bool write_answer(void *at, const void *end, const struct answer *answer)
{
	__u64 *words = at;

	if (at + ANSWER_MAX > end)
		return false;
	for (int i = 0; i < ANSWER_MAX / 8; i++)
		words[i] = answer->words[i];
	return true;
}

/*
 * Sends the answer to where the datagram came from. A global function: the verifier walks it once.
 * Returns the XDP action; XDP_ABORTED where the frame could not be turned or cut, which then is no
 * longer what it was.
 */
__noinline int send_answer(struct xdp_md *ctx, const struct route *route,
			   const struct answer *answer)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 offset, bytes, ip_at, header, length;
	bool turned;

	if (!route || !answer)
		return XDP_ABORTED;
	offset = route->payload_offset;
	bytes = answer->bytes;
	header = route->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	ip_at = offset - sizeof(struct udphdr) - header;
	if (bytes > ANSWER_MAX || ip_at > IP_AT_MAX)
		return XDP_ABORTED;
	/* one compare for both bounds would be lost on the verifier */
	barrier_var(bytes);
	barrier_var(ip_at);
	if (bytes < PG_HEADER_MIN || ip_at < sizeof(struct ethhdr))
		return XDP_ABORTED;
	length = end - data;
	if (data + sizeof(struct ethhdr) > end ||
	    !write_answer(data + ip_at + header + sizeof(struct udphdr), end, answer))
		return XDP_ABORTED;
	turn_ethernet(data);
	turned = route->family == 4 ? turn_ipv4(data + ip_at, end, answer)
				    : turn_ipv6(data + ip_at, end, answer);
	if (!turned || bpf_xdp_adjust_tail(ctx, (int)(offset + bytes - length)))
		return XDP_ABORTED;
	return XDP_TX;
}

#endif
