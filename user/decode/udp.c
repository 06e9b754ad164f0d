// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "checksum.h"
#include "ip.h"
#include "packgate/bytes.h"
#include "transport.h"

#define HEADER_BYTES 8
#define CHECKSUM_AT  6

static void judge_checksum(struct pg_decoded *decoded, const struct pg_span *text, bool whole)
{
	struct pg_decoded_udp *udp = &decoded->udp;
	uint64_t pseudo = pg_sum_pseudo(&decoded->ip, PG_PROTOCOL_UDP, udp->length);
	struct pg_span covered = *text;

	covered.there = whole ? covered.there : 0;
	pg_checksum_judge(&covered, CHECKSUM_AT, pseudo, &udp->checksum);
	if (!udp->checksum.expected && udp->checksum.verdict != PG_CHECKSUM_UNCHECKED)
		udp->checksum.expected = 0xffff;
	/* 0 says that there is none; IPv6 does not allow that */
	if (!udp->checksum.found)
		udp->checksum.verdict =
			decoded->ip.version == 4 ? PG_CHECKSUM_NONE : PG_CHECKSUM_BAD;
}

void pg_udp_decode(struct pg_decoded *decoded, const struct pg_span *text, bool whole)
{
	struct pg_decoded_udp *udp = &decoded->udp;
	struct pg_span datagram = *text;

	if (!pg_need_header(decoded, text, HEADER_BYTES, PG_FAULT_UDP_SHORT, whole))
		return;
	decoded->transport = PG_TRANSPORT_UDP;
	udp->source_port = pg_load_be16(text->at);
	udp->target_port = pg_load_be16(text->at + 2);
	udp->length = pg_load_be16(text->at + 4);
	udp->checksum.found = pg_load_be16(text->at + CHECKSUM_AT);
	if (udp->length < HEADER_BYTES) {
		pg_fault(decoded, PG_FAULT_UDP_LENGTH);
		return;
	}
	if (whole && udp->length > text->length) {
		pg_fault(decoded, PG_FAULT_UDP_LENGTH_BEYOND);
		return;
	}
	if (whole && udp->length < text->length)
		pg_fault(decoded, PG_FAULT_UDP_LENGTH_LESS);
	if (udp->length < text->length)
		pg_span_end(&datagram, udp->length);
	judge_checksum(decoded, &datagram, whole);
	if (whole && datagram.there < datagram.length)
		decoded->cut = true;
	udp->data = datagram;
	pg_span_skip(&udp->data, HEADER_BYTES);
	udp->whole = whole;
}
