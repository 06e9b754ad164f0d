// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <string.h>

#include "link.h"
#include "packgate/bytes.h"

#define ETHERNET_BYTES 14
#define COOKED_BYTES   16
#define COOKED2_BYTES  20
#define LOOP_BYTES     4
#define TAG_BYTES      4
#define ARP_BYTES      28
#define ARP_FIXED      8

bool pg_link_known(int number)
{
	switch (number) {
#define PG_X(name, value, ...) case value:
		PG_LINKS(PG_X)
#undef PG_X
		return true;
	default:
		return false;
	}
}

const char *pg_link_label(enum pg_link link)
{
	switch (link) {
#define PG_X(name, value, label, ...) \
	case value:                   \
		return label;
		PG_LINKS(PG_X)
#undef PG_X
	}
	return "unknown";
}

static bool is_tag(uint16_t protocol)
{
	return protocol == PG_ETHERTYPE_VLAN || protocol == PG_ETHERTYPE_QINQ ||
	       protocol == PG_ETHERTYPE_QINQ1;
}

static void read_tag(struct pg_decoded_link *link, const uint8_t *at)
{
	uint16_t control = pg_load_be16(at);

	link->tags[link->tag_count++] = (struct pg_tag){
		.id = control & 0xfff,
		.priority = control >> 13,
		.drop_eligible = control >> 12 & 1,
	};
	link->protocol = pg_load_be16(at + 2);
}

static bool read_tags(struct pg_decoded *decoded, struct pg_span *span)
{
	while (is_tag(decoded->link.protocol)) {
		if (decoded->link.tag_count == PG_TAGS_MAX) {
			pg_fault(decoded, PG_FAULT_LINK_TAGS);
			return false;
		}
		if (!pg_need(decoded, span, TAG_BYTES, PG_FAULT_LINK_SHORT))
			return false;
		read_tag(&decoded->link, span->at);
		pg_span_skip(span, TAG_BYTES);
	}
	return true;
}

static bool read_ethernet(struct pg_decoded *decoded, struct pg_span *span)
{
	struct pg_decoded_link *link = &decoded->link;

	if (!pg_need(decoded, span, ETHERNET_BYTES, PG_FAULT_LINK_SHORT))
		return false;
	memcpy(link->target, span->at, 6);
	memcpy(link->source, span->at + 6, 6);
	link->has_addresses = true;
	link->protocol = pg_load_be16(span->at + 12);
	pg_span_skip(span, ETHERNET_BYTES);
	return read_tags(decoded, span);
}

static bool read_cooked(struct pg_decoded *decoded, struct pg_span *span, uint32_t bytes,
			uint32_t protocol_at)
{
	if (!pg_need(decoded, span, bytes, PG_FAULT_LINK_SHORT))
		return false;
	decoded->link.protocol = pg_load_be16(span->at + protocol_at);
	pg_span_skip(span, bytes);
	return read_tags(decoded, span);
}

static bool read_raw(struct pg_decoded *decoded, struct pg_span *span)
{
	if (!pg_need(decoded, span, 1, PG_FAULT_IP_SHORT))
		return false;
	switch (span->at[0] >> 4) {
	case 4:
		decoded->link.protocol = PG_ETHERTYPE_IPV4;
		return true;
	case 6:
		decoded->link.protocol = PG_ETHERTYPE_IPV6;
		return true;
	}
	pg_fault(decoded, PG_FAULT_IP_VERSION);
	return false;
}

/* The family is a number of the capturing host's headers: IPv6 has four of them. */
static bool read_family(struct pg_decoded *decoded, uint32_t family)
{
	switch (family) {
	case 2:
		decoded->link.protocol = PG_ETHERTYPE_IPV4;
		return true;
	case 10: /* Linux */
	case 24: /* NetBSD, OpenBSD */
	case 28: /* FreeBSD */
	case 30: /* macOS */
		decoded->link.protocol = PG_ETHERTYPE_IPV6;
		return true;
	}
	pg_fault(decoded, PG_FAULT_LINK_FAMILY);
	return false;
}

static bool read_loopback(struct pg_decoded *decoded, struct pg_span *span)
{
	uint32_t family;

	if (!pg_need(decoded, span, LOOP_BYTES, PG_FAULT_LINK_SHORT))
		return false;
	family = pg_load_be32(span->at);
	/* null is in the byte order of the capturing host; families are below 2^16 */
	if (decoded->link.type == PG_LINK_NULL && family > 0xffff)
		family = pg_load_le32(span->at);
	pg_span_skip(span, LOOP_BYTES);
	return read_family(decoded, family);
}

static bool read_link(struct pg_decoded *decoded, struct pg_span *span)
{
	switch (decoded->link.type) {
	case PG_LINK_ETHERNET:
		return read_ethernet(decoded, span);
	case PG_LINK_COOKED:
		return read_cooked(decoded, span, COOKED_BYTES, 14);
	case PG_LINK_COOKED2:
		return read_cooked(decoded, span, COOKED2_BYTES, 0);
	case PG_LINK_NULL:
	case PG_LINK_LOOP:
		return read_loopback(decoded, span);
	case PG_LINK_RAW:
		return read_raw(decoded, span);
	case PG_LINK_IPV4:
		decoded->link.protocol = PG_ETHERTYPE_IPV4;
		return true;
	case PG_LINK_IPV6:
		decoded->link.protocol = PG_ETHERTYPE_IPV6;
		return true;
	}
	return false;
}

void pg_link_decode(struct pg_decoded *decoded, struct pg_span *span)
{
	decoded->link.complete = read_link(decoded, span);
	if (!decoded->link.complete)
		return;
	switch (decoded->link.protocol) {
	case PG_ETHERTYPE_IPV4:
		decoded->network = PG_NETWORK_IPV4;
		break;
	case PG_ETHERTYPE_IPV6:
		decoded->network = PG_NETWORK_IPV6;
		break;
	case PG_ETHERTYPE_ARP:
		decoded->network = PG_NETWORK_ARP;
		break;
	default:
		decoded->network = PG_NETWORK_OTHER;
	}
}

void pg_arp_decode(struct pg_decoded *decoded, struct pg_span *span)
{
	struct pg_decoded_arp *arp = &decoded->arp;

	if (!pg_need(decoded, span, ARP_FIXED, PG_FAULT_ARP_SHORT))
		return;
	arp->present = true;
	arp->operation = pg_load_be16(span->at + 6);
	/* Ethernet, IPv4, addresses of 6 and 4 bytes */
	if (memcmp(span->at, "\0\1\10\0\6\4", 6) ||
	    !pg_need(decoded, span, ARP_BYTES, PG_FAULT_ARP_SHORT))
		return;
	arp->ipv4 = true;
	memcpy(arp->sender, span->at + 8, 6);
	memcpy(arp->sender_ip, span->at + 14, 4);
	memcpy(arp->target_ip, span->at + 24, 4);
}
