// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <string.h>

#include "packgate/bytes.h"
#include "segment.h"

static void take_sack(struct pg_segment *segment, const struct pg_option *option)
{
	uint8_t blocks = option->value_bytes / 8;

	segment->options |= PG_TCP_HAS_SACK;
	for (uint8_t i = 0; i < blocks && segment->sack_count < PG_SACK_BLOCKS_MAX; i++)
		segment->sack[segment->sack_count++] = (struct pg_sack_block){
			.left = pg_load_be32(option->value + 8 * i),
			.right = pg_load_be32(option->value + 8 * i + 4),
		};
}

static void take_option(struct pg_segment *segment, const struct pg_option *option)
{
	switch (option->kind) {
	case PG_TCP_OPTION_MSS:
		segment->options |= PG_TCP_HAS_MSS;
		segment->mss = pg_load_be16(option->value);
		break;
	case PG_TCP_OPTION_SCALE:
		segment->options |= PG_TCP_HAS_SCALE;
		segment->window_shift = option->value[0];
		break;
	case PG_TCP_OPTION_SACK_OK:
		segment->options |= PG_TCP_HAS_PERMITTED;
		break;
	case PG_TCP_OPTION_SACK:
		take_sack(segment, option);
		break;
	case PG_TCP_OPTION_TIMESTAMP:
		segment->options |= PG_TCP_HAS_TIMESTAMPS;
		segment->timestamp = pg_load_be32(option->value);
		segment->timestamp_echo = pg_load_be32(option->value + 4);
		break;
	}
}

static void take_peer(struct pg_peer *peer, uint8_t version, const uint8_t *address, uint16_t port)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	peer->port = port;
	if (version == 6) {
		memcpy(peer->address.bytes, address, 16);
		return;
	}
	memcpy(peer->address.bytes, mapped, sizeof(mapped));
	memcpy(peer->address.bytes + sizeof(mapped), address, 4);
}

bool pg_segment_of(const struct pg_decoded *decoded, struct pg_segment *ret_segment)
{
	const struct pg_decoded_tcp *tcp = &decoded->tcp;

	if (decoded->transport != PG_TRANSPORT_TCP || !tcp->whole)
		return false;
	*ret_segment = (struct pg_segment){
		.time_us = decoded->time_ns / 1000,
		.seq = tcp->seq,
		.ack = tcp->ack,
		.data_bytes = tcp->data.length,
		.flags = tcp->flags,
		.window = tcp->window,
	};
	take_peer(&ret_segment->source, decoded->ip.version, decoded->ip.source, tcp->source_port);
	take_peer(&ret_segment->destination, decoded->ip.version, decoded->ip.target,
		  tcp->target_port);
	for (uint8_t i = 0; i < tcp->option_count; i++)
		if (tcp->options[i].well_sized)
			take_option(ret_segment, &tcp->options[i]);
	return true;
}
