// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packgate/message.h"
#include "packgate/bytes.h"

#define TAG_ID	   0x08 /* protobuf field 1, varint */
#define TAG_LENGTH 0x10 /* protobuf field 2, varint */

#define VARINT_MAX   5 /* bytes */
#define LENGTH_BYTES 4
#define FIRST_ROOM   4096 /* bytes set aside when a body begins in parts */

enum state {
	AT_ID_TAG,
	AT_ID,
	AT_LENGTH_TAG,
	AT_LENGTH,
	AT_BYTES,
	AT_BODY,
};

const char *pg_message_malformed_label(int reason)
{
	switch (reason) {
#define PG_X(name, number, label, help) \
	case PG_MALFORMED_##name:       \
		return label;
		PG_MESSAGE_MALFORMED(PG_X)
#undef PG_X
	default:
		return NULL;
	}
}

const char *pg_message_malformed_help(int reason)
{
	switch (reason) {
#define PG_X(name, number, label, help) \
	case PG_MALFORMED_##name:       \
		return help;
		PG_MESSAGE_MALFORMED(PG_X)
#undef PG_X
	default:
		return NULL;
	}
}

/* --- writing -----------------------------------------------------------------------------------
 */

static bool can_say(uint32_t id, uint32_t bytes)
{
	return id && id <= PG_MESSAGE_VALUE_MAX && bytes <= PG_MESSAGE_BODY_MAX;
}

static uint32_t varint_bytes(uint32_t value)
{
	uint32_t bytes = 1;

	while (value >>= 7)
		bytes++;
	return bytes;
}

static uint8_t *put_varint(uint8_t *at, uint32_t value)
{
	for (; value > 0x7f; value >>= 7)
		*at++ = value | 0x80;
	*at++ = value;
	return at;
}

uint32_t pg_message_size(uint32_t id, uint32_t bytes)
{
	if (!can_say(id, bytes))
		return 0;
	return 1 + varint_bytes(id) + 1 + varint_bytes(LENGTH_BYTES + bytes) + LENGTH_BYTES + bytes;
}

int pg_message_write_header(uint8_t header[PG_MESSAGE_HEADER_MAX], uint32_t id, uint32_t bytes)
{
	uint32_t bytes_le = pg_le32(bytes);
	uint8_t *at = header;

	if (!can_say(id, bytes))
		return -EINVAL;
	*at++ = TAG_ID;
	at = put_varint(at, id);
	*at++ = TAG_LENGTH;
	at = put_varint(at, LENGTH_BYTES + bytes);
	memcpy(at, &bytes_le, sizeof(bytes_le));
	return at + LENGTH_BYTES - header;
}

int pg_message_write(uint8_t *out, uint32_t room, uint32_t id, const void *body, uint32_t bytes)
{
	uint32_t size = pg_message_size(id, bytes);
	int header;

	if (!size || size > INT32_MAX)
		return -EINVAL;
	if (size > room)
		return -ENOBUFS;
	header = pg_message_write_header(out, id, bytes);
	if (bytes)
		memcpy(out + header, body, bytes);
	return size;
}

/* --- reading -----------------------------------------------------------------------------------
 */

/* One more byte of a varint. 1 = it is complete, 0 = it goes on, or a negative reason. */
static int take_varint(struct pg_message_parser *parser, uint32_t *value, uint8_t byte)
{
	uint32_t place = parser->have++;

	/* the last byte that may come holds bits 28..34, of which 28..30 may be set */
	if (place == VARINT_MAX - 1 && byte & 0x80)
		return -PG_MALFORMED_VARINT_LONG;
	if (place && !byte)
		return -PG_MALFORMED_VARINT_PADDED;
	if (place == VARINT_MAX - 1 && byte > 0x07)
		return -PG_MALFORMED_VARINT_RANGE;
	*value |= (uint32_t)(byte & 0x7f) << (7 * place);
	return !(byte & 0x80);
}

static int take_tag(struct pg_message_parser *parser, uint8_t expected, uint8_t byte)
{
	if (byte != expected)
		return -PG_MALFORMED_TAG;
	parser->state++;
	parser->have = 0;
	return 0;
}

static int take_id(struct pg_message_parser *parser, uint8_t byte)
{
	int whole = take_varint(parser, &parser->id, byte);

	if (whole <= 0)
		return whole;
	if (!parser->id)
		return -PG_MALFORMED_ID_ZERO;
	parser->state = AT_LENGTH_TAG;
	return 0;
}

static int take_length(struct pg_message_parser *parser, uint8_t byte)
{
	int whole = take_varint(parser, &parser->length, byte);

	if (whole <= 0)
		return whole;
	if (parser->length < LENGTH_BYTES)
		return -PG_MALFORMED_LENGTH_SHORT;
	parser->state = AT_BYTES;
	parser->have = 0;
	return 0;
}

static int take_bytes(struct pg_message_parser *parser, uint8_t byte)
{
	parser->bytes |= (uint32_t)byte << (8 * parser->have++);
	if (parser->have < LENGTH_BYTES)
		return 0;
	if (parser->bytes != parser->length - LENGTH_BYTES)
		return -PG_MALFORMED_LENGTH_MISMATCH;
	if (parser->bytes > parser->max_body)
		return -PG_MALFORMED_BODY_SIZE;
	parser->state = AT_BODY;
	parser->have = 0;
	return 0;
}

/* Takes one byte in front of the body. */
static int take_header(struct pg_message_parser *parser, uint8_t byte)
{
	switch (parser->state) {
	case AT_ID_TAG:
		return take_tag(parser, TAG_ID, byte);
	case AT_ID:
		return take_id(parser, byte);
	case AT_LENGTH_TAG:
		return take_tag(parser, TAG_LENGTH, byte);
	case AT_LENGTH:
		return take_length(parser, byte);
	default:
		return take_bytes(parser, byte);
	}
}

/* Forgets the message that was read; its memory goes with it. */
static void begin(struct pg_message_parser *parser)
{
	free(parser->body);
	parser->body = NULL;
	parser->capacity = 0;
	parser->id = parser->length = parser->bytes = parser->have = 0;
	parser->state = AT_ID_TAG;
}

/* Reads up to the body; returns how many bytes that took, or a negative reason. */
static int read_header(struct pg_message_parser *parser, const uint8_t *data, size_t bytes)
{
	size_t at = 0;
	int refused;

	while (at < bytes && parser->state != AT_BODY) {
		refused = take_header(parser, data[at++]);
		if (refused)
			return refused;
	}
	return at;
}

int pg_message_read(const uint8_t *data, size_t bytes, uint32_t max_body, size_t *ret_consumed,
		    struct pg_message_view *ret_message)
{
	struct pg_message_parser parser;
	int header;

	pg_message_parser_init(&parser, max_body);
	header = read_header(&parser, data, bytes);
	if (header < 0)
		return header;
	if (parser.state != AT_BODY || parser.bytes > bytes - header)
		return -PG_MALFORMED_TRUNCATED;
	ret_message->id = parser.id;
	ret_message->bytes = parser.bytes;
	ret_message->body = data + header;
	*ret_consumed = (size_t)header + parser.bytes;
	return 0;
}

int pg_message_check(const uint8_t *packet, size_t bytes, uint32_t max_body, uint32_t *ret_count)
{
	struct pg_message_view message;
	uint32_t count = 0;
	size_t consumed;
	int refused;

	for (; bytes; bytes -= consumed, packet += consumed, count++) {
		refused = pg_message_read(packet, bytes, max_body, &consumed, &message);
		if (refused)
			return refused;
	}
	*ret_count = count;
	return 0;
}

/* --- a byte stream -----------------------------------------------------------------------------
 */

void pg_message_parser_init(struct pg_message_parser *parser, uint32_t max_body)
{
	memset(parser, 0, sizeof(*parser));
	parser->max_body = max_body;
}

void pg_message_parser_done(struct pg_message_parser *parser)
{
	begin(parser);
}

bool pg_message_parser_inside(const struct pg_message_parser *parser)
{
	return parser->state != AT_ID_TAG &&
	       !(parser->state == AT_BODY && parser->have == parser->bytes);
}

/* Room for so many bytes of the body, growing by doubling up to the whole. */
static int make_room(struct pg_message_parser *parser, uint32_t bytes)
{
	uint64_t room = parser->capacity ? parser->capacity : FIRST_ROOM;
	uint8_t *larger;

	if (bytes <= parser->capacity)
		return 0;
	while (room < bytes)
		room *= 2;
	if (room > parser->bytes)
		room = parser->bytes;
	larger = realloc(parser->body, room);
	if (!larger)
		return -PG_MALFORMED_MEMORY;
	parser->body = larger;
	parser->capacity = room;
	return 0;
}

/*
 * Takes what data has of the body. 1 = it is complete and stands at *ret_body, 0, or a negative
 * reason.
 */
static int take_body(struct pg_message_parser *parser, const uint8_t *data, size_t bytes,
		     uint32_t *ret_taken, const uint8_t **ret_body)
{
	uint32_t wanted = parser->bytes - parser->have;
	uint32_t taken = bytes < wanted ? bytes : wanted;
	int refused;

	if (taken == parser->bytes) {
		parser->have = taken;
		*ret_taken = taken;
		*ret_body = data;
		return 1;
	}
	refused = make_room(parser, parser->have + taken);
	if (refused)
		return refused;
	if (taken)
		memcpy(parser->body + parser->have, data, taken);
	parser->have += taken;
	*ret_taken = taken;
	*ret_body = parser->body;
	return parser->have == parser->bytes;
}

static int parse(struct pg_message_parser *parser, const uint8_t *data, size_t bytes,
		 size_t *ret_consumed, struct pg_message_view *ret_message)
{
	const uint8_t *body;
	uint32_t taken;
	int header, whole;

	header = read_header(parser, data, bytes);
	if (header < 0)
		return header;
	if (parser->state != AT_BODY) {
		*ret_consumed = bytes;
		return 0;
	}
	whole = take_body(parser, data + header, bytes - header, &taken, &body);
	if (whole < 0)
		return whole;
	*ret_consumed = (size_t)header + taken;
	if (whole) {
		ret_message->id = parser->id;
		ret_message->bytes = parser->bytes;
		ret_message->body = body;
	}
	return whole;
}

int pg_message_parse(struct pg_message_parser *parser, const uint8_t *data, size_t bytes,
		     size_t *ret_consumed, struct pg_message_view *ret_message)
{
	int result;

	if (parser->refused)
		return parser->refused;
	if (!bytes) {
		*ret_consumed = 0;
		return 0;
	}
	if (parser->state == AT_BODY && parser->have == parser->bytes)
		begin(parser);
	result = parse(parser, data, bytes, ret_consumed, ret_message);
	if (result < 0) {
		begin(parser);
		parser->refused = result;
	}
	return result;
}
