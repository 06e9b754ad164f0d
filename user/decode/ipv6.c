// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <string.h>

#include "ip.h"
#include "packgate/bytes.h"

#define FIXED_BYTES    40
#define FRAGMENT_BYTES 8

static bool is_extension(uint8_t protocol)
{
	switch (protocol) {
	case PG_PROTOCOL_HOPOPTS:
	case PG_PROTOCOL_ROUTING:
	case PG_PROTOCOL_FRAGMENT:
	case PG_PROTOCOL_AH:
	case PG_PROTOCOL_DESTINATION:
	case PG_PROTOCOL_MOBILITY:
	case PG_PROTOCOL_HIP:
	case PG_PROTOCOL_SHIM6:
		return true;
	default:
		return false;
	}
}

static uint32_t extension_bytes(uint8_t type, const uint8_t *at)
{
	if (type == PG_PROTOCOL_FRAGMENT)
		return FRAGMENT_BYTES;
	if (type == PG_PROTOCOL_AH)
		return (at[1] + 2u) * 4;
	return (at[1] + 1u) * 8;
}

static void read_fragment(struct pg_decoded_ip *ip, const uint8_t *at)
{
	uint16_t fragment = pg_load_be16(at + 2);

	ip->fragment = true;
	ip->fragment_offset = fragment & 0xfff8;
	ip->more_fragments = fragment & 1;
	ip->id = pg_load_be32(at + 4);
}

/* One extension header. */
static bool read_extension(struct pg_decoded *decoded, struct pg_span *span)
{
	struct pg_decoded_ip *ip = &decoded->ip;
	uint8_t type = ip->protocol;
	uint32_t bytes;

	if (ip->extension_count == PG_EXTENSIONS_MAX) {
		pg_fault(decoded, PG_FAULT_EXTENSION_COUNT);
		return false;
	}
	if (type == PG_PROTOCOL_FRAGMENT && ip->fragment) {
		pg_fault(decoded, PG_FAULT_EXTENSION_FRAGMENT);
		return false;
	}
	if (!pg_need(decoded, span, 8, PG_FAULT_EXTENSION_SHORT))
		return false;
	bytes = extension_bytes(type, span->at);
	if (!pg_need(decoded, span, bytes, PG_FAULT_EXTENSION_SHORT))
		return false;
	ip->extensions[ip->extension_count++] =
		(struct pg_extension){ .type = type, .bytes = (uint16_t)bytes };
	ip->protocol = span->at[0];
	if (type == PG_PROTOCOL_FRAGMENT)
		read_fragment(ip, span->at);
	pg_span_skip(span, bytes);
	return true;
}

bool pg_ipv6_extensions(struct pg_decoded *decoded, struct pg_span *span)
{
	struct pg_decoded_ip *ip = &decoded->ip;
	bool fragment = false;

	while (!fragment && is_extension(ip->protocol)) {
		fragment = ip->protocol == PG_PROTOCOL_FRAGMENT;
		if (!read_extension(decoded, span))
			return false;
	}
	ip->payload_bytes = span->length;
	return true;
}

static void read_fixed(struct pg_decoded_ip *ip, const uint8_t *at)
{
	uint32_t word = pg_load_be32(at);

	ip->version = 6;
	ip->header_bytes = FIXED_BYTES;
	ip->traffic_class = word >> 20 & 0xff;
	ip->flow_label = word & 0xfffff;
	ip->total_bytes = pg_load_be16(at + 4);
	ip->protocol = ip->next_header = at[6];
	ip->ttl = at[7];
	memcpy(ip->source, at + 8, 16);
	memcpy(ip->target, at + 24, 16);
}

bool pg_ipv6_decode(struct pg_decoded *decoded, struct pg_span *span)
{
	struct pg_decoded_ip *ip = &decoded->ip;

	if (!pg_need(decoded, span, FIXED_BYTES, PG_FAULT_IP_SHORT))
		return false;
	if (span->at[0] >> 4 != 6) {
		pg_fault(decoded, PG_FAULT_IP_VERSION);
		decoded->network = PG_NETWORK_NONE;
		return false;
	}
	read_fixed(ip, span->at);
	pg_span_skip(span, FIXED_BYTES);
	if (ip->total_bytes > span->length)
		pg_fault(decoded, PG_FAULT_IP_TOTAL_BEYOND);
	else
		pg_span_end(span, ip->total_bytes);
	ip->payload_bytes = span->length;
	return pg_ipv6_extensions(decoded, span);
}
