/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_PACKET_H
#define PG_PACKET_H

#include <stdbool.h>
#include <stdint.h>

/* A datagram on the link, as the agent takes it from AF_XDP and gives it back. */

#define PG_LINK_HEADER_MAX   22 /* Ethernet and two VLAN tags */
#define PG_PACKET_HEADER_MAX 70 /* that, IPv6 and UDP */

struct pg_packet {
	uint64_t source[2], target[2]; /* network order, IPv4 as ::ffff:a.b.c.d */
	uint16_t source_port_be, target_port_be;
	uint8_t family;	    /* 4 or 6 */
	uint8_t link_bytes; /* of the link header, which starts the frame */
	uint8_t *payload;   /* of UDP, inside the frame */
	uint32_t payload_bytes;
};

/*
 * Reads a frame that the gate let through. Returns false where it is not a whole UDP datagram:
 * the gate's steps are the rule, this one only never trusts a length.
 */
bool pg_packet_parse(uint8_t *frame, uint32_t bytes, struct pg_packet *ret_packet);

/* The way back to a peer: a link header with the addresses turned, and our own address. */
struct pg_route {
	uint64_t local[2];
	uint32_t ifindex; /* 0 = unknown: send through the kernel */
	uint16_t local_port_be;
	uint8_t family;
	uint8_t link_bytes;
	uint8_t link[PG_LINK_HEADER_MAX];
};

void pg_route_from_packet(const struct pg_packet *packet, const uint8_t *frame, uint32_t ifindex,
			  struct pg_route *ret_route);

/*
 * Writes link, IP and UDP header (checksums computed, DF set) right in front of payload, which has
 * PG_PACKET_HEADER_MAX bytes of room before it. Returns where the frame starts.
 */
uint8_t *pg_packet_finish(uint8_t *payload, uint32_t payload_bytes, const struct pg_route *route,
			  const uint64_t peer[2], uint16_t peer_port_be);

#endif
