// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>

#include "checksum.h"
#include "ip.h"
#include "packgate/bytes.h"
#include "transport.h"

#define FIXED_BYTES 20
#define CHECKSUM_AT 16

static void read_fixed(struct pg_decoded_tcp *tcp, const uint8_t *at)
{
	tcp->source_port = pg_load_be16(at);
	tcp->target_port = pg_load_be16(at + 2);
	tcp->seq = pg_load_be32(at + 4);
	tcp->ack = pg_load_be32(at + 8);
	tcp->header_bytes = (at[12] >> 4) * 4;
	tcp->reserved = at[12] >> 1 & 7;
	tcp->flags = (at[12] & 1) << 8 | at[13];
	tcp->window = pg_load_be16(at + 14);
	tcp->urgent = pg_load_be16(at + 18);
}

static bool well_sized(const struct pg_option *option)
{
	switch (option->kind) {
	case PG_TCP_OPTION_MSS:
		return option->value_bytes == 2;
	case PG_TCP_OPTION_SCALE:
		return option->value_bytes == 1;
	case PG_TCP_OPTION_SACK_OK:
		return option->value_bytes == 0;
	case PG_TCP_OPTION_SACK:
		return option->value_bytes && option->value_bytes % 8 == 0;
	case PG_TCP_OPTION_TIMESTAMP:
		return option->value_bytes == 8;
	default:
		return true;
	}
}

static void read_options(struct pg_decoded *decoded, const uint8_t *header)
{
	struct pg_decoded_tcp *tcp = &decoded->tcp;
	int rc = pg_options_read(header + FIXED_BYTES, tcp->header_bytes - FIXED_BYTES,
				 tcp->options, &tcp->option_count);

	if (rc)
		pg_fault(decoded,
			 rc == -EINVAL ? PG_FAULT_TCP_OPTION_LENGTH : PG_FAULT_TCP_OPTION_BEYOND);
	for (uint8_t i = 0; i < tcp->option_count; i++) {
		tcp->options[i].well_sized = well_sized(&tcp->options[i]);
		if (!tcp->options[i].well_sized)
			pg_fault(decoded, PG_FAULT_TCP_OPTION_SIZE);
	}
}

void pg_tcp_decode(struct pg_decoded *decoded, const struct pg_span *text, bool whole)
{
	struct pg_decoded_tcp *tcp = &decoded->tcp;
	uint64_t pseudo = pg_sum_pseudo(&decoded->ip, PG_PROTOCOL_TCP, text->length);
	struct pg_span covered = *text;

	if (!pg_need_header(decoded, text, FIXED_BYTES, PG_FAULT_TCP_SHORT, whole))
		return;
	decoded->transport = PG_TRANSPORT_TCP;
	read_fixed(tcp, text->at);
	tcp->window_shift = -1;
	covered.there = whole ? covered.there : 0;
	pg_checksum_judge(&covered, CHECKSUM_AT, pseudo, &tcp->checksum);
	if (tcp->header_bytes < FIXED_BYTES) {
		pg_fault(decoded, PG_FAULT_TCP_HEADER_LENGTH);
		return;
	}
	if (!pg_need_header(decoded, text, tcp->header_bytes, PG_FAULT_TCP_HEADER_BEYOND, whole))
		return;
	read_options(decoded, text->at);
	tcp->data = *text;
	pg_span_skip(&tcp->data, tcp->header_bytes);
	tcp->whole = whole;
}
