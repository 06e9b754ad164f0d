// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <string.h>

#include "checksum.h"
#include "ip.h"
#include "packgate/bytes.h"

#define FIXED_BYTES    20
#define CHECKSUM_AT    10
#define FLAG_RESERVED  0x8000
#define FLAG_DONT      0x4000
#define FLAG_MORE      0x2000
#define FRAGMENT_UNITS 0x1fff

static void read_fixed(struct pg_decoded_ip *ip, const uint8_t *at)
{
	uint16_t fragment = pg_load_be16(at + 6);

	ip->version = at[0] >> 4;
	ip->header_bytes = (at[0] & 0xf) * 4;
	ip->traffic_class = at[1];
	ip->total_bytes = pg_load_be16(at + 2);
	ip->id = pg_load_be16(at + 4);
	ip->reserved_flag = fragment & FLAG_RESERVED;
	ip->dont_fragment = fragment & FLAG_DONT;
	ip->more_fragments = fragment & FLAG_MORE;
	ip->fragment_offset = (fragment & FRAGMENT_UNITS) * 8u;
	ip->fragment = ip->more_fragments || ip->fragment_offset;
	ip->ttl = at[8];
	ip->protocol = ip->next_header = at[9];
	memcpy(ip->source, at + 12, 4);
	memcpy(ip->target, at + 16, 4);
}

static void read_options(struct pg_decoded *decoded, const uint8_t *header)
{
	struct pg_decoded_ip *ip = &decoded->ip;

	if (pg_options_read(header + FIXED_BYTES, ip->header_bytes - FIXED_BYTES, ip->options,
			    &ip->option_count))
		pg_fault(decoded, PG_FAULT_IP_OPTION);
}

/* Ends span where the total length says; a claim beyond the frame is noted and not believed. */
static bool end_packet(struct pg_decoded *decoded, struct pg_span *span)
{
	struct pg_decoded_ip *ip = &decoded->ip;

	if (ip->total_bytes < ip->header_bytes) {
		pg_fault(decoded, PG_FAULT_IP_TOTAL_SHORT);
		return false;
	}
	if (ip->total_bytes > span->length)
		pg_fault(decoded, PG_FAULT_IP_TOTAL_BEYOND);
	else
		pg_span_end(span, ip->total_bytes);
	return true;
}

bool pg_ipv4_decode(struct pg_decoded *decoded, struct pg_span *span)
{
	struct pg_decoded_ip *ip = &decoded->ip;
	struct pg_span header;

	if (!pg_need(decoded, span, FIXED_BYTES, PG_FAULT_IP_SHORT))
		return false;
	if (span->at[0] >> 4 != 4) {
		pg_fault(decoded, PG_FAULT_IP_VERSION);
		decoded->network = PG_NETWORK_NONE;
		return false;
	}
	read_fixed(ip, span->at);
	if (ip->header_bytes < FIXED_BYTES) {
		pg_fault(decoded, PG_FAULT_IP_HEADER_LENGTH);
		return false;
	}
	if (!pg_need(decoded, span, ip->header_bytes, PG_FAULT_IP_SHORT))
		return false;
	header = (struct pg_span){ span->at, ip->header_bytes, ip->header_bytes };
	pg_checksum_judge(&header, CHECKSUM_AT, 0, &ip->checksum);
	read_options(decoded, span->at);
	if (!end_packet(decoded, span))
		return false;
	pg_span_skip(span, ip->header_bytes);
	ip->payload_bytes = span->length;
	return true;
}
