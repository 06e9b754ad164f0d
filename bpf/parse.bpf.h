/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_PARSE_BPF_H
#define PG_PARSE_BPF_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "packet.bpf.h"

/*
 * Ethernet, up to two VLAN tags, IPv4 or IPv6, UDP or TCP. What cannot be read up to the port
 * passes. A length that lies is remembered in in->route->fault: whether it is a refusal depends on
 * the endpoint.
 */

#define VLAN_TAGS_MAX	    2
#define IPV6_EXTENSIONS_MAX 6
#define IP_DF		    0x4000
#define IP_MF		    0x2000
#define IP_OFFSET	    0x1fff
#define IP6_OFFSET	    0xfff8
#define IP6_MF		    0x0001
#define PLAIN_PAYLOAD_AT    (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))

struct vlan_tag {
	__be16 tci;
	__be16 protocol;
};

struct ipv6_fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/* Lengths of the UDP header against the IP payload and the bytes that are there. */
static __always_inline enum step parse_udp(struct headers *in, const void *at, __u32 ip_payload)
{
	const struct udphdr *udp = at;
	__u32 bytes;

	if ((const void *)(udp + 1) > in->end)
		return PASS;
	in->route->source_port_be = udp->source;
	in->route->target_port_be = udp->dest;
	in->route->payload_offset = (const void *)(udp + 1) - in->data;
	bytes = pg_be16(udp->len);
	in->route->payload_bytes = bytes - sizeof(*udp);
	if (!in->route->fault && (bytes < sizeof(*udp) || bytes > ip_payload))
		in->route->fault = PG_DROP_UDP_LENGTH;
	return NEXT;
}

/* The ports of TCP, in the 8 bytes that the IP header was seen to have room for. */
static __always_inline enum step parse_tcp(struct headers *in, const void *at, __u32 ip_payload)
{
	const __be16 *ports = at;

	if (at + sizeof(struct udphdr) > in->end)
		return PASS;
	in->route->source_port_be = ports[0];
	in->route->target_port_be = ports[1];
	in->route->payload_offset = at - in->data;
	in->route->payload_bytes = ip_payload;
	return NEXT;
}

static __always_inline enum step parse_transport(struct headers *in, const void *at,
						 __u32 ip_payload)
{
	return in->route->protocol == IPPROTO_UDP ? parse_udp(in, at, ip_payload)
						  : parse_tcp(in, at, ip_payload);
}

/* IPv4 addresses as ::ffff:a.b.c.d. */
static __always_inline void set_addresses(struct route *route, const struct iphdr *ip)
{
	route->family = 4;
	route->source[0] = route->target[0] = 0;
	route->source[1] = (__u64)ip->saddr << 32 | 0xffff0000;
	route->target[1] = (__u64)ip->daddr << 32 | 0xffff0000;
}

static __always_inline enum step parse_ipv4(struct headers *in, const void *at)
{
	const struct iphdr *ip = at;
	__u32 header, total, fragment;

	if ((const void *)(ip + 1) > in->end || ip->version != 4 || ip->ihl < 5 ||
	    (ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_TCP))
		return PASS;
	fragment = pg_be16(ip->frag_off);
	if (fragment & IP_OFFSET)
		return PASS;
	header = ip->ihl * 4;
	total = host16(ip->tot_len);
	if (total < header + sizeof(struct udphdr) || at + total > in->end)
		in->route->fault = PG_DROP_IP_HEADER;
	else if (fragment & IP_MF)
		in->route->fault = PG_DROP_IP_FRAGMENT;
	set_addresses(in->route, ip);
	in->route->plain = ip->ihl == 5;
	in->route->protocol = ip->protocol;
	return parse_transport(in, at + header, total - header);
}

/*
 * Walks the extension headers; *ret_fragment is set for a first fragment with more to come.
 * Returns NULL where no UDP or TCP header can be reached.
 */
static __always_inline const void *skip_extensions(struct headers *in, const void *at, __u8 next,
						   bool *ret_fragment)
{
	for (int i = 0; i <= IPV6_EXTENSIONS_MAX; i++) {
		const __u8 *header = at;
		const struct ipv6_fragment *fragment = at;

		if (next == IPPROTO_UDP || next == IPPROTO_TCP) {
			in->route->protocol = next;
			return at;
		}
		if ((const void *)(header + 8) > in->end)
			return NULL;
		switch (next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			at += (header[1] + 1) * 8;
			break;
		case IPPROTO_FRAGMENT:
			if (fragment->offset & pg_be16(IP6_OFFSET))
				return NULL;
			if (fragment->offset & pg_be16(IP6_MF))
				*ret_fragment = true;
			at += 8;
			break;
		default:
			return NULL;
		}
		next = header[0];
	}
	return NULL;
}

static __always_inline enum step parse_ipv6(struct headers *in, const void *at)
{
	const struct ipv6hdr *ip = at;
	const void *udp = ip + 1;
	bool fragment = false;
	__u32 payload, skipped;

	if ((const void *)(ip + 1) > in->end || ip->version != 6)
		return PASS;
	in->route->protocol = ip->nexthdr;
	if (ip->nexthdr != IPPROTO_UDP && ip->nexthdr != IPPROTO_TCP)
		udp = skip_extensions(in, udp, ip->nexthdr, &fragment);
	if (!udp || udp + sizeof(struct udphdr) > in->end)
		return PASS;
	payload = host16(ip->payload_len);
	skipped = udp - (const void *)(ip + 1);
	if (payload < skipped + sizeof(struct udphdr) || (const void *)(ip + 1) + payload > in->end)
		in->route->fault = PG_DROP_IP_HEADER;
	else if (fragment)
		in->route->fault = PG_DROP_IP_FRAGMENT;
	in->route->family = 6;
	in->route->plain = ip->nexthdr == in->route->protocol;
	__builtin_memcpy(in->route->source, &ip->saddr, sizeof(in->route->source));
	__builtin_memcpy(in->route->target, &ip->daddr, sizeof(in->route->target));
	return parse_transport(in, udp, payload - skipped);
}

/*
 * The straight line for what nearly every datagram is: IPv4 right behind Ethernet, no options, no
 * fragment, lengths that hold. Reads it as parse does, or returns false and leaves it to parse.
 */
static __always_inline bool parse_plain(struct headers *in)
{
	const void *link = in->data, *ip = link + sizeof(struct ethhdr);
	const struct udphdr *udp = ip + sizeof(struct iphdr);
	__u64 total, bytes;

	if ((const void *)(udp + 1) > in->end)
		return false;
	/* EtherType, version and header length; flags and offset of fragments, protocol */
	if ((PG_LOAD(__u32, ip - 2) & pg_be32(0xffffff00)) != pg_be32(ETH_P_IP << 16 | 0x4500) ||
	    (PG_LOAD(__u32, ip + 6) & pg_be32((IP_MF | IP_OFFSET) << 16 | 0xff)) !=
		    pg_be32(IPPROTO_UDP))
		return false;
	total = host16(PG_LOAD(__u16, ip + offsetof(struct iphdr, tot_len)));
	bytes = host16(udp->len);
	if (ip + total > in->end || bytes < sizeof(*udp) || bytes + sizeof(struct iphdr) > total)
		return false;
	set_addresses(in->route, ip);
	in->route->payload_offset = PLAIN_PAYLOAD_AT;
	in->route->payload_bytes = bytes - sizeof(*udp);
	in->route->source_port_be = udp->source;
	in->route->target_port_be = udp->dest;
	in->route->fault = PG_DROP_NONE;
	in->route->plain = 1;
	in->route->protocol = IPPROTO_UDP;
	return true;
}

static __always_inline enum step parse(struct headers *in)
{
	const struct ethhdr *eth = in->data;
	const void *at = eth + 1;
	__be16 protocol;

	in->route->fault = PG_DROP_NONE;
	if (at > in->end)
		return PASS;
	protocol = eth->h_proto;
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		const struct vlan_tag *tag = at;

		if (protocol != pg_be16(ETH_P_8021Q) && protocol != pg_be16(ETH_P_8021AD))
			break;
		if ((const void *)(tag + 1) > in->end)
			return PASS;
		protocol = tag->protocol;
		at = tag + 1;
	}
	if (protocol == pg_be16(ETH_P_IP))
		return parse_ipv4(in, at);
	if (protocol == pg_be16(ETH_P_IPV6))
		return parse_ipv6(in, at);
	return PASS;
}

#endif
