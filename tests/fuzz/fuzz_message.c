// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "packgate/message.h"

/*
 * The message codec. The first byte chooses the largest body, the second the length of the
 * segments; the rest is a packet, in memory of exactly its size, and a byte stream. The packet
 * check and the parser must find the same messages and the same fault, and what is valid must be
 * written to the same bytes.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void write_again(const uint8_t *packet, size_t consumed, const struct pg_message_view *m)
{
	uint8_t *copy = malloc(consumed);

	if (!copy || pg_message_write(copy, consumed, m->id, m->body, m->bytes) != (int)consumed ||
	    memcmp(copy, packet, consumed))
		abort();
	free(copy);
}

/* Reads the packet message by message; returns what stopped it, 0 = the end. */
static int by_packet(const uint8_t *packet, size_t bytes, uint32_t max_body, uint32_t *ret_count,
		     size_t *ret_good)
{
	struct pg_message_view message;
	size_t at = 0, consumed;
	int refused;

	for (*ret_count = 0; at < bytes; at += consumed, ++*ret_count) {
		*ret_good = at;
		refused = pg_message_read(packet + at, bytes - at, max_body, &consumed, &message);
		if (refused)
			return refused;
		write_again(packet + at, consumed, &message);
	}
	*ret_good = at;
	return 0;
}

/* The same as a stream in segments that lie alone in memory. */
static int by_stream(const uint8_t *packet, size_t bytes, uint32_t max_body, size_t segment,
		     uint32_t *ret_count)
{
	struct pg_message_parser parser;
	struct pg_message_view message;
	int result = 0;

	pg_message_parser_init(&parser, max_body);
	*ret_count = 0;
	for (size_t at = 0; at < bytes && result >= 0; at += segment) {
		size_t left = bytes - at < segment ? bytes - at : segment, from = 0, consumed;
		uint8_t *part = malloc(left);

		if (!part)
			abort();
		memcpy(part, packet + at, left);
		while (from < left) {
			result = pg_message_parse(&parser, part + from, left - from, &consumed,
						  &message);
			if (result < 0)
				break;
			*ret_count += result;
			from += consumed;
		}
		free(part);
	}
	if (result >= 0)
		result = pg_message_parser_inside(&parser) ? -PG_MALFORMED_TRUNCATED : 0;
	pg_message_parser_done(&parser);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint32_t found, streamed, checked, max_body;
	size_t good = 0;
	uint8_t *packet;
	int refused;

	if (bytes < 2 || bytes > 70000)
		return 0;
	max_body = data[0] == 0xff ? PG_MESSAGE_BODY_MAX : data[0] * 257u;
	packet = malloc(bytes - 2 ? bytes - 2 : 1);
	if (!packet)
		return 0;
	memcpy(packet, data + 2, bytes - 2);
	refused = by_packet(packet, bytes - 2, max_body, &found, &good);
	if (by_stream(packet, bytes - 2, max_body, data[1] + 1, &streamed) != refused ||
	    streamed != found)
		abort();
	if (pg_message_check(packet, bytes - 2, max_body, &checked) != refused ||
	    pg_message_check(packet, good, max_body, &checked) || checked != found)
		abort();
	free(packet);
	return 0;
}
