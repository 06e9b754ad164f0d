// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <string.h>

#include "packet.h"
#include "packgate/bytes.h"

#define HOP_LIMIT	    64
#define IPV6_EXTENSIONS_MAX 6

static bool parse_udp(uint8_t *at, uint32_t bytes, struct pg_packet *packet)
{
	struct udphdr udp;

	if (bytes < sizeof(udp))
		return false;
	memcpy(&udp, at, sizeof(udp));
	if (pg_be16(udp.len) < sizeof(udp) || pg_be16(udp.len) > bytes)
		return false;
	packet->source_port_be = udp.source;
	packet->target_port_be = udp.dest;
	packet->payload = at + sizeof(udp);
	packet->payload_bytes = pg_be16(udp.len) - sizeof(udp);
	return true;
}

static uint64_t mapped(uint32_t address_be)
{
	return (uint64_t)address_be << 32 | 0xffff0000;
}

static bool parse_ipv4(uint8_t *at, uint32_t bytes, struct pg_packet *packet)
{
	struct iphdr ip;
	uint32_t header, total;

	if (bytes < sizeof(ip))
		return false;
	memcpy(&ip, at, sizeof(ip));
	header = ip.ihl * 4;
	total = pg_be16(ip.tot_len);
	if (ip.version != 4 || ip.ihl < 5 || ip.protocol != IPPROTO_UDP || total > bytes ||
	    total < header)
		return false;
	packet->family = 4;
	packet->source[0] = packet->target[0] = 0;
	packet->source[1] = mapped(ip.saddr);
	packet->target[1] = mapped(ip.daddr);
	return parse_udp(at + header, total - header, packet);
}

/* Offset of the UDP header behind the extension headers, or -1. */
static int skip_extensions(const uint8_t *at, uint32_t bytes, uint8_t next)
{
	uint32_t offset = 0;

	for (int i = 0; i <= IPV6_EXTENSIONS_MAX; i++) {
		const uint8_t *header = at + offset;

		if (next == IPPROTO_UDP)
			return offset;
		if (offset + 8 > bytes)
			return -1;
		if (next == IPPROTO_FRAGMENT)
			offset += 8;
		else if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
			 next == IPPROTO_DSTOPTS)
			offset += (header[1] + 1) * 8;
		else
			return -1;
		next = header[0];
	}
	return -1;
}

static bool parse_ipv6(uint8_t *at, uint32_t bytes, struct pg_packet *packet)
{
	struct ipv6hdr ip;
	uint32_t payload;
	int skipped;

	if (bytes < sizeof(ip))
		return false;
	memcpy(&ip, at, sizeof(ip));
	payload = pg_be16(ip.payload_len);
	if (ip.version != 6 || payload > bytes - sizeof(ip))
		return false;
	skipped = skip_extensions(at + sizeof(ip), payload, ip.nexthdr);
	if (skipped < 0 || (uint32_t)skipped > payload)
		return false;
	packet->family = 6;
	memcpy(packet->source, &ip.saddr, sizeof(packet->source));
	memcpy(packet->target, &ip.daddr, sizeof(packet->target));
	return parse_udp(at + sizeof(ip) + skipped, payload - skipped, packet);
}

bool pg_packet_parse(uint8_t *frame, uint32_t bytes, struct pg_packet *ret_packet)
{
	uint32_t link = sizeof(struct ethhdr);
	uint16_t protocol;

	if (bytes < link)
		return false;
	protocol = pg_load_be16(frame + link - 2);
	while ((protocol == ETH_P_8021Q || protocol == ETH_P_8021AD) &&
	       link + 4 <= PG_LINK_HEADER_MAX && link + 4 <= bytes) {
		link += 4;
		protocol = pg_load_be16(frame + link - 2);
	}
	ret_packet->link_bytes = link;
	if (protocol == ETH_P_IP)
		return parse_ipv4(frame + link, bytes - link, ret_packet);
	if (protocol == ETH_P_IPV6)
		return parse_ipv6(frame + link, bytes - link, ret_packet);
	return false;
}

void pg_route_from_packet(const struct pg_packet *packet, const uint8_t *frame, uint32_t ifindex,
			  struct pg_route *ret_route)
{
	ret_route->local[0] = packet->target[0];
	ret_route->local[1] = packet->target[1];
	ret_route->local_port_be = packet->target_port_be;
	ret_route->ifindex = ifindex;
	ret_route->family = packet->family;
	ret_route->link_bytes = packet->link_bytes;
	memcpy(ret_route->link, frame, packet->link_bytes);
	memcpy(ret_route->link, frame + ETH_ALEN, ETH_ALEN);
	memcpy(ret_route->link + ETH_ALEN, frame, ETH_ALEN);
}

/* --- writing -----------------------------------------------------------------------------------
 */

/* One's complement sum in the byte order of the data; 32-bit words, so that carries fit. */
static uint64_t sum(const uint8_t *data, uint32_t bytes, uint64_t start)
{
	uint64_t total = start;
	uint32_t word;
	uint16_t half;

	for (; bytes >= 4; bytes -= 4, data += 4) {
		memcpy(&word, data, 4);
		total += word;
	}
	if (bytes >= 2) {
		memcpy(&half, data, 2);
		total += half;
		data += 2;
		bytes -= 2;
	}
	if (bytes) {
		half = 0;
		memcpy(&half, data, 1);
		total += half;
	}
	return total;
}

static uint16_t fold(uint64_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return ~total;
}

static void write_udp(uint8_t *payload, uint32_t payload_bytes, const struct pg_route *route,
		      uint16_t peer_port_be, uint64_t pseudo)
{
	uint32_t bytes = payload_bytes + sizeof(struct udphdr);
	struct udphdr udp = {
		.source = route->local_port_be,
		.dest = peer_port_be,
		.len = pg_be16(bytes),
	};

	memcpy(payload - sizeof(udp), &udp, sizeof(udp));
	pseudo += pg_be16(bytes) + (uint64_t)pg_be16(IPPROTO_UDP);
	udp.check = fold(sum(payload - sizeof(udp), bytes, pseudo));
	if (!udp.check)
		udp.check = 0xffff;
	memcpy(payload - sizeof(udp), &udp, sizeof(udp));
}

static uint8_t *write_ipv4(uint8_t *udp, uint32_t udp_bytes, const struct pg_route *route,
			   const uint64_t peer[2], uint64_t *ret_pseudo)
{
	uint8_t *at = udp - sizeof(struct iphdr);
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = pg_be16(udp_bytes + sizeof(ip)),
		.frag_off = pg_be16(0x4000),
		.ttl = HOP_LIMIT,
		.protocol = IPPROTO_UDP,
		.saddr = route->local[1] >> 32,
		.daddr = peer[1] >> 32,
	};

	ip.check = fold(sum((const uint8_t *)&ip, sizeof(ip), 0));
	memcpy(at, &ip, sizeof(ip));
	*ret_pseudo = (uint64_t)ip.saddr + ip.daddr;
	return at;
}

static uint8_t *write_ipv6(uint8_t *udp, uint32_t udp_bytes, const struct pg_route *route,
			   const uint64_t peer[2], uint64_t *ret_pseudo)
{
	uint8_t *at = udp - sizeof(struct ipv6hdr);
	struct ipv6hdr ip = {
		.version = 6,
		.payload_len = pg_be16(udp_bytes),
		.nexthdr = IPPROTO_UDP,
		.hop_limit = HOP_LIMIT,
	};

	memcpy(&ip.saddr, route->local, sizeof(ip.saddr));
	memcpy(&ip.daddr, peer, sizeof(ip.daddr));
	memcpy(at, &ip, sizeof(ip));
	*ret_pseudo = sum((const uint8_t *)&ip.saddr, 32, 0);
	return at;
}

uint8_t *pg_packet_finish(uint8_t *payload, uint32_t payload_bytes, const struct pg_route *route,
			  const uint64_t peer[2], uint16_t peer_port_be)
{
	uint8_t *udp = payload - sizeof(struct udphdr);
	uint32_t udp_bytes = payload_bytes + sizeof(struct udphdr);
	uint64_t pseudo;
	uint8_t *at;

	at = route->family == 4 ? write_ipv4(udp, udp_bytes, route, peer, &pseudo)
				: write_ipv6(udp, udp_bytes, route, peer, &pseudo);
	write_udp(payload, payload_bytes, route, peer_port_be, pseudo);
	at -= route->link_bytes;
	memcpy(at, route->link, route->link_bytes);
	return at;
}
