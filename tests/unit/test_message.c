// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "packgate/message.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BODY	     16 /* the largest body of the tables */

/* Bytes in memory of exactly their size, so that a read beyond them is seen. */
static uint8_t *exactly(const void *bytes, size_t count)
{
	uint8_t *copy = malloc(count ? count : 1);

	assert_non_null(copy);
	if (count)
		memcpy(copy, bytes, count);
	return copy;
}

struct row {
	const char *name;
	const char *bytes;
	size_t count;
	int refused; /* 0, or a reason */
	size_t at;   /* bytes after which the reason is known; 0 = all of them */
	uint32_t messages;
};

#define BYTES(text) (text), sizeof(text) - 1

#define HEARTBEAT "\x08\x01\x10\x04\x00\x00\x00\x00"

static const struct row rows[] = {
	{ "nothing", BYTES(""), 0, 0, 0 },
	{ "a heartbeat", BYTES(HEARTBEAT), 0, 0, 1 },
	{ "its answer", BYTES("\x08\x02\x10\x04\x00\x00\x00\x00"), 0, 0, 1 },
	{ "two heartbeats", BYTES(HEARTBEAT HEARTBEAT), 0, 0, 2 },
	{ "a body",
	  BYTES("\x08\x05\x10\x07\x03\x00\x00\x00"
		"abc"),
	  0, 0, 1 },
	{ "the largest body",
	  BYTES("\x08\x05\x10\x14\x10\x00\x00\x00"
		"0123456789abcdef"),
	  0, 0, 1 },
	{ "a body too long by one",
	  BYTES("\x08\x05\x10\x15\x11\x00\x00\x00"
		"0123456789abcdefg"),
	  PG_MALFORMED_BODY_SIZE, 8, 0 },
	{ "the largest body that can be said",
	  BYTES("\x08\x05\x10\xff\xff\xff\xff\x07\xfb\xff\xff\x7f"), PG_MALFORMED_BODY_SIZE, 0, 0 },
	{ "Id of two bytes", BYTES("\x08\x80\x01\x10\x04\x00\x00\x00\x00"), 0, 0, 1 },
	{ "the largest Id", BYTES("\x08\xff\xff\xff\xff\x07\x10\x04\x00\x00\x00\x00"), 0, 0, 1 },
	{ "Id 2^31", BYTES("\x08\x80\x80\x80\x80\x08\x10\x04\x00\x00\x00\x00"),
	  PG_MALFORMED_VARINT_RANGE, 6, 0 },
	{ "Id 2^32-1", BYTES("\x08\xff\xff\xff\xff\x0f\x10\x04\x00\x00\x00\x00"),
	  PG_MALFORMED_VARINT_RANGE, 6, 0 },
	{ "Id beyond 32 bits", BYTES("\x08\xff\xff\xff\xff\x7f\x10\x04\x00\x00\x00\x00"),
	  PG_MALFORMED_VARINT_RANGE, 6, 0 },
	{ "Id of six bytes", BYTES("\x08\x81\x80\x80\x80\x80\x00\x10\x04\x00\x00\x00\x00"),
	  PG_MALFORMED_VARINT_LONG, 6, 0 },
	{ "Id of ten bytes, a negative int",
	  BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x04\x00\x00\x00\x00"),
	  PG_MALFORMED_VARINT_LONG, 6, 0 },
	{ "Id padded to two bytes", BYTES("\x08\x81\x00\x10\x04\x00\x00\x00\x00"),
	  PG_MALFORMED_VARINT_PADDED, 3, 0 },
	{ "Id padded to five bytes", BYTES("\x08\x81\x80\x80\x80\x00\x10\x04\x00\x00\x00\x00"),
	  PG_MALFORMED_VARINT_PADDED, 6, 0 },
	{ "Id 0", BYTES("\x08\x00\x10\x04\x00\x00\x00\x00"), PG_MALFORMED_ID_ZERO, 2, 0 },
	{ "Id 0 padded", BYTES("\x08\x80\x00\x10\x04\x00\x00\x00\x00"), PG_MALFORMED_VARINT_PADDED,
	  3, 0 },
	{ "PacketLength 3", BYTES("\x08\x01\x10\x03\x00\x00\x00\x00"), PG_MALFORMED_LENGTH_SHORT, 4,
	  0 },
	{ "PacketLength 0", BYTES("\x08\x01\x10\x00\x00\x00\x00\x00"), PG_MALFORMED_LENGTH_SHORT, 4,
	  0 },
	{ "PacketLength padded", BYTES("\x08\x01\x10\x84\x00\x00\x00\x00\x00"),
	  PG_MALFORMED_VARINT_PADDED, 5, 0 },
	{ "PacketLength 2^31", BYTES("\x08\x01\x10\x80\x80\x80\x80\x08\x00\x00\x00\x00"),
	  PG_MALFORMED_VARINT_RANGE, 8, 0 },
	{ "PacketLength of six bytes",
	  BYTES("\x08\x01\x10\x84\x80\x80\x80\x80\x00\x00\x00\x00\x00"), PG_MALFORMED_VARINT_LONG,
	  8, 0 },
	{ "PacketLength too long by one", BYTES("\x08\x01\x10\x05\x00\x00\x00\x00\x00"),
	  PG_MALFORMED_LENGTH_MISMATCH, 8, 0 },
	{ "PacketLength too short by one",
	  BYTES("\x08\x01\x10\x04\x01\x00\x00\x00"
		"a"),
	  PG_MALFORMED_LENGTH_MISMATCH, 8, 0 },
	{ "a length in big-endian",
	  BYTES("\x08\x01\x10\x07\x00\x00\x00\x03"
		"abc"),
	  PG_MALFORMED_LENGTH_MISMATCH, 8, 0 },
	{ "a length that wraps to PacketLength", BYTES("\x08\x01\x10\x04\xfc\xff\xff\xff"),
	  PG_MALFORMED_LENGTH_MISMATCH, 8, 0 },
	{ "tags in the other order", BYTES("\x10\x04\x08\x01\x00\x00\x00\x00"), PG_MALFORMED_TAG, 1,
	  0 },
	{ "no Id", BYTES("\x10\x04\x00\x00\x00\x00"), PG_MALFORMED_TAG, 1, 0 },
	{ "no PacketLength", BYTES("\x08\x01\x00\x00\x00\x00"), PG_MALFORMED_TAG, 3, 0 },
	{ "Id twice", BYTES("\x08\x01\x08\x01\x10\x04\x00\x00\x00\x00"), PG_MALFORMED_TAG, 3, 0 },
	{ "another field", BYTES("\x18\x01\x10\x04\x00\x00\x00\x00"), PG_MALFORMED_TAG, 1, 0 },
	{ "Id as fixed32", BYTES("\x0d\x01\x00\x00\x00\x10\x04\x00\x00\x00\x00"), PG_MALFORMED_TAG,
	  1, 0 },
	{ "a tag padded", BYTES("\x88\x00\x01\x10\x04\x00\x00\x00\x00"), PG_MALFORMED_TAG, 1, 0 },
	{ "a length in front", BYTES("\x04\x08\x01\x10\x04\x00\x00\x00\x00"), PG_MALFORMED_TAG, 1,
	  0 },
	{ "a fault behind a good one", BYTES(HEARTBEAT "\x08\x00"), PG_MALFORMED_ID_ZERO, 0, 1 },
	{ "one byte too many", BYTES(HEARTBEAT "\x00"), PG_MALFORMED_TAG, 0, 1 },
};

static void test_packet(void **state)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *row = &rows[i];
		uint8_t *packet = exactly(row->bytes, row->count);
		uint32_t count = 77;
		int result = pg_message_check(packet, row->count, BODY, &count);

		if (result != -row->refused)
			fail_msg("%s: %d instead of %d", row->name, result, -row->refused);
		if (count != (row->refused ? 77 : row->messages))
			fail_msg("%s: %u messages", row->name, count);
		free(packet);
	}
}

/* Cut anywhere, a packet is short, unless the fault came before or the cut is between messages. */
static void test_every_truncation(void **state)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *row = &rows[i];
		size_t known = row->at ? row->at : row->count;

		for (size_t cut = 0; cut < row->count; cut++) {
			uint8_t *packet = exactly(row->bytes, cut);
			int expected = PG_MALFORMED_TRUNCATED;
			uint32_t count;
			int result;

			if (row->refused && cut >= known)
				expected = row->refused;
			else if (!cut || (cut == 8 && !memcmp(packet, HEARTBEAT, 8)))
				expected = 0;
			result = pg_message_check(packet, cut, BODY, &count);
			if (result != -expected)
				fail_msg("%s cut to %zu: %d instead of %d", row->name, cut, result,
					 -expected);
			free(packet);
		}
	}
}

/* Feeds a stream in segments of so many bytes; returns how many messages came before the end. */
static uint32_t feed(struct pg_message_parser *parser, const struct row *row, size_t segment,
		     int *ret_result, size_t *ret_at)
{
	struct pg_message_view message;
	uint32_t messages = 0;
	size_t at = 0;

	*ret_result = 0;
	while (at < row->count) {
		size_t left = row->count - at < segment ? row->count - at : segment;
		uint8_t *part = exactly(row->bytes + at, left);
		size_t from = 0, consumed;

		while (from < left && *ret_result >= 0) {
			*ret_result = pg_message_parse(parser, part + from, left - from, &consumed,
						       &message);
			if (*ret_result < 0)
				break;
			assert_true(consumed <= left - from);
			assert_true(*ret_result == 1 || consumed == left - from);
			messages += *ret_result;
			from += consumed;
		}
		free(part);
		at += left;
		if (*ret_result < 0)
			break;
	}
	*ret_at = at;
	return messages;
}

static void test_stream(void **state)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *row = &rows[i];

		for (size_t segment = 1; segment <= row->count; segment++) {
			struct pg_message_parser parser;
			uint32_t messages;
			size_t at;
			int result;

			pg_message_parser_init(&parser, BODY);
			messages = feed(&parser, row, segment, &result, &at);
			if (messages != row->messages)
				fail_msg("%s by %zu: %u messages", row->name, segment, messages);
			if ((result < 0 ? result : 0) != -row->refused)
				fail_msg("%s by %zu: %d", row->name, segment, result);
			if (segment == 1 && row->refused && at != (row->at ? row->at : row->count))
				fail_msg("%s: refused after %zu bytes", row->name, at);
			if (!row->refused && pg_message_parser_inside(&parser))
				fail_msg("%s by %zu: not at the end", row->name, segment);
			pg_message_parser_done(&parser);
		}
	}
}

static void test_refused_for_good(void **state)
{
	struct pg_message_parser parser;
	struct pg_message_view message;
	size_t consumed = 99;

	pg_message_parser_init(&parser, BODY);
	assert_int_equal(pg_message_parse(&parser, (uint8_t *)"\x08\x00", 2, &consumed, &message),
			 -PG_MALFORMED_ID_ZERO);
	assert_int_equal(pg_message_parse(&parser, (uint8_t *)HEARTBEAT, 8, &consumed, &message),
			 -PG_MALFORMED_ID_ZERO);
	assert_int_equal(consumed, 99);
	pg_message_parser_done(&parser);
}

static void test_inside(void **state)
{
	static const uint8_t bytes[] = "\x08\x05\x10\x07\x03\x00\x00\x00"
				       "abc";
	struct pg_message_parser parser;
	struct pg_message_view message;
	size_t consumed;

	pg_message_parser_init(&parser, BODY);
	assert_false(pg_message_parser_inside(&parser));
	for (size_t i = 0; i < 11; i++) {
		assert_int_equal(pg_message_parse(&parser, bytes + i, 1, &consumed, &message),
				 i == 10);
		assert_int_equal(pg_message_parser_inside(&parser), i < 10);
	}
	assert_int_equal(message.id, 5);
	assert_int_equal(message.bytes, 3);
	assert_memory_equal(message.body, "abc", 3);
	assert_int_equal(pg_message_parse(&parser, bytes, 0, &consumed, &message), 0);
	assert_int_equal(consumed, 0);
	pg_message_parser_done(&parser);
}

/* A body that is announced but does not come holds little; one that came whole holds none. */
static void test_memory_follows_what_came(void **state)
{
	static uint8_t bytes[PG_MESSAGE_HEADER_MAX + PG_MESSAGE_BODY];
	struct pg_message_parser parser;
	struct pg_message_view message;
	uint32_t most = 0;
	size_t consumed;
	int count;

	count = pg_message_write_header(bytes, 9, PG_MESSAGE_BODY);
	assert_true(count > 0);
	for (uint32_t i = 0; i < PG_MESSAGE_BODY; i++)
		bytes[count + i] = i * 7 + (i >> 8);
	pg_message_parser_init(&parser, PG_MESSAGE_BODY);
	assert_int_equal(
		pg_message_parse(&parser, bytes, count + PG_MESSAGE_BODY, &consumed, &message), 1);
	assert_int_equal(parser.capacity, 0);
	for (size_t at = 0; at < (size_t)count + PG_MESSAGE_BODY; at += consumed) {
		size_t left = count + PG_MESSAGE_BODY - at;
		int whole = pg_message_parse(&parser, bytes + at, left < 1000 ? left : 1000,
					     &consumed, &message);

		assert_int_equal(whole, at + consumed == (size_t)count + PG_MESSAGE_BODY);
		if (parser.capacity > most)
			most = parser.capacity;
		assert_true(parser.capacity <= 4096 || parser.capacity <= 2 * parser.have);
	}
	assert_int_equal(most, PG_MESSAGE_BODY);
	assert_int_equal(message.bytes, PG_MESSAGE_BODY);
	assert_memory_equal(message.body, bytes + count, PG_MESSAGE_BODY);
	assert_int_equal(pg_message_parse(&parser, (uint8_t *)"\x08", 1, &consumed, &message), 0);
	assert_int_equal(parser.capacity, 0);
	pg_message_parser_done(&parser);
}

struct size_row {
	uint32_t id, bytes, header; /* header 0 = cannot be said */
};

static const struct size_row sizes[] = {
	{ 0, 0, 0 },
	{ 1, 0, 8 },
	{ 127, 123, 8 },
	{ 127, 124, 9 },
	{ 128, 123, 9 },
	{ 16383, 16379, 10 },
	{ 16384, 16380, 12 },
	{ PG_MESSAGE_VALUE_MAX, 0, 12 },
	{ PG_MESSAGE_VALUE_MAX, 1 << 28, 16 },
	{ PG_MESSAGE_VALUE_MAX, PG_MESSAGE_BODY_MAX, 16 },
	{ PG_MESSAGE_VALUE_MAX + 1u, 0, 0 },
	{ UINT32_MAX, 0, 0 },
	{ 1, PG_MESSAGE_BODY_MAX + 1u, 0 },
	{ 1, UINT32_MAX, 0 },
};

static void test_sizes(void **state)
{
	for (size_t i = 0; i < COUNT(sizes); i++) {
		const struct size_row *row = &sizes[i];
		uint8_t *header = malloc(row->header ? row->header : 1);
		uint8_t unwritten[PG_MESSAGE_HEADER_MAX];
		uint32_t size = row->header ? row->header + row->bytes : 0;

		assert_non_null(header);
		assert_int_equal(pg_message_size(row->id, row->bytes), size);
		if (row->header)
			assert_int_equal(pg_message_write_header(header, row->id, row->bytes),
					 row->header);
		else
			assert_int_equal(pg_message_write_header(unwritten, row->id, row->bytes),
					 -EINVAL);
		free(header);
	}
}

static void test_write(void **state)
{
	uint8_t out[11], before[11];

	memset(out, 0xaa, sizeof(out));
	memcpy(before, out, sizeof(out));
	assert_int_equal(pg_message_write(out, 10, 5, "abc", 3), -ENOBUFS);
	assert_int_equal(pg_message_write(out, sizeof(out), 0, "abc", 3), -EINVAL);
	assert_memory_equal(out, before, sizeof(out));
	assert_int_equal(pg_message_write(out, 11, 5, "abc", 3), 11);
	assert_memory_equal(out,
			    "\x08\x05\x10\x07\x03\x00\x00\x00"
			    "abc",
			    11);
	assert_int_equal(pg_message_write(out, 8, PG_MESSAGE_PONG, NULL, 0), 8);
	assert_memory_equal(out, "\x08\x02\x10\x04\x00\x00\x00\x00", 8);
}

static void test_reasons(void **state)
{
	for (int i = 1; i <= PG_MALFORMED_MEMORY; i++) {
		assert_non_null(pg_message_malformed_label(i));
		assert_non_null(pg_message_malformed_help(i));
	}
	assert_null(pg_message_malformed_label(0));
	assert_null(pg_message_malformed_label(PG_MALFORMED_MEMORY + 1));
	assert_null(pg_message_malformed_help(-1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packet),	cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_stream),	cmocka_unit_test(test_refused_for_good),
		cmocka_unit_test(test_inside),	cmocka_unit_test(test_memory_follows_what_came),
		cmocka_unit_test(test_sizes),	cmocka_unit_test(test_write),
		cmocka_unit_test(test_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
