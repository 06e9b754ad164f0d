// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "checksum.h"
#include "ip.h"
#include "packgate/bytes.h"
#include "transport.h"

#define HEADER_BYTES 8
#define CHECKSUM_AT  2

static bool is_echo(uint8_t version, uint8_t type)
{
	return version == 4 ? type == 0 || type == 8 : type == 128 || type == 129;
}

void pg_icmp_decode(struct pg_decoded *decoded, const struct pg_span *text, bool whole)
{
	struct pg_decoded_icmp *icmp = &decoded->icmp;
	struct pg_span covered = *text;
	uint64_t pseudo = 0;

	if (!pg_need_header(decoded, text, HEADER_BYTES, PG_FAULT_ICMP_SHORT, whole))
		return;
	decoded->transport = PG_TRANSPORT_ICMP;
	icmp->type = text->at[0];
	icmp->code = text->at[1];
	icmp->length = text->length;
	if (decoded->ip.version == 6)
		pseudo = pg_sum_pseudo(&decoded->ip, PG_PROTOCOL_ICMP6, text->length);
	covered.there = whole ? covered.there : 0;
	pg_checksum_judge(&covered, CHECKSUM_AT, pseudo, &icmp->checksum);
	icmp->has_echo = is_echo(decoded->ip.version, icmp->type);
	if (icmp->has_echo) {
		icmp->echo_id = pg_load_be16(text->at + 4);
		icmp->echo_seq = pg_load_be16(text->at + 6);
	}
}
