// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "packet.h"

/* A frame on the link, in memory of exactly its size; what parses is answered and parsed again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void answer(const struct pg_packet *packet, const uint8_t *frame)
{
	uint8_t room[PG_PACKET_HEADER_MAX + 16] = { 0 };
	uint8_t *text = room + PG_PACKET_HEADER_MAX, *start;
	struct pg_packet again;
	struct pg_route route;

	pg_route_from_packet(packet, frame, 1, &route);
	start = pg_packet_finish(text, 16, &route, packet->source, packet->source_port_be);
	if (start < room || !pg_packet_parse(start, text + 16 - start, &again) ||
	    again.payload != text || again.payload_bytes != 16 || again.family != packet->family ||
	    again.link_bytes != packet->link_bytes ||
	    memcmp(again.target, packet->source, sizeof(again.target)) ||
	    memcmp(again.source, packet->target, sizeof(again.source)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct pg_packet packet;
	uint8_t *copy, sum = 0;

	if (bytes > 4096)
		return 0;
	copy = malloc(bytes ? bytes : 1);
	if (!copy)
		return 0;
	if (bytes)
		memcpy(copy, data, bytes);
	if (pg_packet_parse(copy, bytes, &packet)) {
		if (packet.payload < copy || packet.payload + packet.payload_bytes > copy + bytes)
			abort();
		for (uint32_t i = 0; i < packet.payload_bytes; i++)
			sum ^= packet.payload[i];
		answer(&packet, copy);
	}
	free(copy);
	return sum & 0;
}
