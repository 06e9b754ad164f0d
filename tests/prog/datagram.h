/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TEST_DATAGRAM_H
#define PG_TEST_DATAGRAM_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#include "packgate/bytes.h"

/*
 * Builds what a NIC hands to XDP: Ethernet, VLAN tags, IPv4 with options or IPv6 with extension
 * headers, UDP. A datagram is well formed unless one of its fields says where it lies.
 */

#define LINK_MAX       3400 /* BPF_PROG_TEST_RUN takes one page less head and tail room */
#define EXTENSIONS_MAX 8
#define ETHER_BYTES    14
#define VLAN_BYTES     4

struct link_frame {
	uint8_t bytes[LINK_MAX];
	uint32_t n;
};

/* An IPv6 extension header; its next-header byte is filled in. */
struct extension {
	uint8_t type;
	uint16_t bytes;	   /* a multiple of 8; 0 = the end of the list */
	uint16_t fragment; /* of a fragment header: offset and M bit as on the wire */
};

struct datagram {
	int family; /* 4 or 6 */
	const char *source, *target;
	uint16_t source_port, target_port;
	uint8_t vlan_tags;
	uint16_t vlan_protocol; /* 0 = 802.1Q */
	uint16_t ether_type;	/* 0 = what the family says */
	uint8_t protocol;	/* 0 = UDP */
	uint8_t option_bytes;	/* IPv4 options, a multiple of 4 */
	uint8_t ihl;		/* in words; 0 = right */
	uint8_t version;	/* 0 = right */
	uint16_t fragment;	/* IPv4 flags and offset */
	struct extension extensions[EXTENSIONS_MAX];
	int ip_delta;  /* added to the IP total or payload length */
	int udp_delta; /* added to the UDP length */
	int udp_bytes; /* the UDP length itself; 0 = computed */
	int padding;   /* bytes of zero behind the datagram */
};

static inline uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t n)
{
	memcpy(at, bytes, n);
	return at + n;
}

static inline uint8_t *put_ethernet(uint8_t *at, const struct datagram *d)
{
	static const uint8_t addresses[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };

	at = put_bytes(at, addresses, sizeof(addresses));
	for (int i = 0; i < d->vlan_tags; i++) {
		pg_store_be16(at, d->vlan_protocol ? d->vlan_protocol : 0x8100);
		pg_store_be16(at + 2, 7 + i);
		at += VLAN_BYTES;
	}
	pg_store_be16(at, d->ether_type ? d->ether_type : d->family == 4 ? 0x0800 : 0x86dd);
	return at + 2;
}

static inline uint16_t ip_checksum(const uint8_t *bytes, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i += 2)
		sum += pg_load_be16(bytes + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static inline uint8_t *put_ipv4(uint8_t *ip, const struct datagram *d, uint32_t udp_bytes)
{
	uint32_t header = 20 + d->option_bytes;

	memset(ip, 1, header); /* options: no-operation */
	ip[0] = (d->version ? d->version : 4) << 4 | (d->ihl ? d->ihl : header / 4);
	ip[1] = 0;
	pg_store_be16(ip + 2, header + udp_bytes + d->ip_delta);
	pg_store_be16(ip + 4, 0x1d);
	pg_store_be16(ip + 6, d->fragment);
	ip[8] = 64;
	ip[9] = d->protocol ? d->protocol : IPPROTO_UDP;
	pg_store_be16(ip + 10, 0);
	inet_pton(AF_INET, d->source, ip + 12);
	inet_pton(AF_INET, d->target, ip + 16);
	pg_store_be16(ip + 10, ip_checksum(ip, header));
	return ip + header;
}

static inline uint8_t *put_ipv6(uint8_t *ip, const struct datagram *d, uint32_t udp_bytes)
{
	uint8_t *next = ip + 6, *at = ip + 40;

	memset(ip, 0, 40);
	ip[0] = (d->version ? d->version : 6) << 4;
	ip[7] = 64;
	inet_pton(AF_INET6, d->source, ip + 8);
	inet_pton(AF_INET6, d->target, ip + 24);
	for (const struct extension *e = d->extensions; e->bytes; e++) {
		*next = e->type;
		next = at;
		memset(at, 0, e->bytes);
		if (e->type == IPPROTO_FRAGMENT)
			pg_store_be16(at + 2, e->fragment);
		else
			at[1] = e->bytes / 8 - 1;
		at += e->bytes;
	}
	*next = d->protocol ? d->protocol : IPPROTO_UDP;
	pg_store_be16(ip + 4, at - ip - 40 + udp_bytes + d->ip_delta);
	return at;
}

static inline void build_datagram(const struct datagram *d, const void *payload, uint32_t n,
				  struct link_frame *ret_frame)
{
	uint32_t udp_bytes = n + 8;
	uint8_t *at = put_ethernet(ret_frame->bytes, d);

	at = d->family == 4 ? put_ipv4(at, d, udp_bytes) : put_ipv6(at, d, udp_bytes);
	pg_store_be16(at, d->source_port);
	pg_store_be16(at + 2, d->target_port);
	pg_store_be16(at + 4, d->udp_bytes ? d->udp_bytes : (int)udp_bytes + d->udp_delta);
	pg_store_be16(at + 6, 0);
	at = put_bytes(at + 8, payload, n);
	memset(at, 0, d->padding);
	ret_frame->n = at + d->padding - ret_frame->bytes;
}

#endif
