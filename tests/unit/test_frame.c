// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "unit/hex.h"
#include "frame.h"
#include "prog/mutate.h"
#include "prog/reference.h"

#define FRAMES	"tests/vectors/frames.json"
#define INVALID "tests/vectors/invalid.json"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static const uint64_t key[2] = { 0x0123456789abcdef, 0xfedcba9876543210 };

/* The check over memory of exactly n bytes: the sanitizer sees a byte read behind it. */
static enum pg_drop check_exactly(const uint8_t *bytes, uint32_t n, enum pg_direction direction,
				  bool guard, struct pg_frame *ret_frame)
{
	uint8_t *exact = malloc(n ? n : 1);
	enum pg_drop drop;
	bool right;

	assert_non_null(exact);
	memcpy(exact, bytes, n);
	drop = pg_frame_check(exact, exact + n, n, direction, guard, ret_frame);
	if (!drop && ret_frame->has_guard) {
		right = pg_guard_check((const __u64 *)key, exact, ret_frame);
		(void)right; /* asked only for the sanitizer's sake */
	}
	free(exact);
	return drop;
}

static enum pg_drop reason_of(const char *label)
{
#define PG_X(name, number, text, ...) \
	if (!strcmp(label, text))     \
		return PG_DROP_##name;
	PG_DROPS(PG_X)
#undef PG_X
	assert_string_equal(label, "none");
	return PG_DROP_NONE;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	if (!text)
		fail_msg("a vector without %s", name);
	return text;
}

static uint32_t unhex(const json_t *object, const char *name, uint8_t *ret_bytes, size_t room)
{
	return hex_bytes(text_of(object, name), ret_bytes, room);
}

/* --- vectors -----------------------------------------------------------------------------------
 */

static void invalid_vectors(void **state)
{
	json_t *root = json_load_file(INVALID, 0, NULL), *vector;
	struct pg_frame frame;
	uint8_t bytes[FRAME_ROOM];
	size_t i;

	assert_non_null(root);
	assert_true(json_array_size(json_object_get(root, "cases")) >= 54);
	json_array_foreach (json_object_get(root, "cases"), i, vector) {
		uint32_t n = unhex(vector, "frame", bytes, sizeof(bytes));
		bool guard = json_is_true(json_object_get(vector, "guard"));
		enum pg_drop want = reason_of(text_of(vector, "reason"));

		if (check_exactly(bytes, n, PG_C2S, guard, &frame) != want)
			fail_msg("%s", text_of(vector, "name"));
	}
	json_decref(root);
}

static enum pg_direction direction_of(const json_t *vector)
{
	return strcmp(text_of(vector, "direction"), "c2s") ? PG_S2C : PG_C2S;
}

static void vector_key(const json_t *root, const json_t *vector, uint64_t ret_key[2])
{
	json_t *entry;
	uint8_t bytes[16];
	size_t i;

	json_array_foreach (json_object_get(root, "keys"), i, entry) {
		if (strcmp(text_of(entry, "ikm"), text_of(vector, "ikm")) ||
		    strcmp(text_of(entry, "direction"), text_of(vector, "direction")))
			continue;
		assert_int_equal(unhex(entry, "guard", bytes, sizeof(bytes)), 16);
		ret_key[0] = pg_load_le64(bytes);
		ret_key[1] = pg_load_le64(bytes + 8);
		return;
	}
	fail_msg("no guard key for %s", text_of(vector, "name"));
}

/* Decodes a vector, encodes what was decoded, and compares byte for byte, guard included. */
static void check_vector(const json_t *root, const json_t *vector)
{
	bool guard = json_is_true(json_object_get(vector, "guard"));
	uint8_t bytes[FRAME_ROOM], again[FRAME_ROOM];
	uint32_t n = unhex(vector, "frame", bytes, sizeof(bytes));
	struct pg_frame frame, copy;
	uint64_t words[2];

	assert_int_equal(check_exactly(bytes, n, direction_of(vector), guard, &frame), 0);
	assert_int_equal(frame.bytes, n);
	memset(again, 0, sizeof(again));
	copy = frame;
	copy.header_bytes = copy.bytes = 0;
	pg_frame_write_header(again, &copy, pg_frame_timestamp_ms(bytes));
	assert_int_equal(copy.header_bytes, frame.header_bytes);
	assert_int_equal(copy.bytes, n);
	memcpy(again + copy.header_bytes, bytes + copy.header_bytes, n - copy.header_bytes);
	if (frame.has_guard) {
		vector_key(root, vector, words);
		assert_true(pg_guard_check((const __u64 *)words, bytes, &frame));
		memset(again + n - 8, 0, 8);
		pg_frame_write_guard(again, &copy, words);
	}
	assert_memory_equal(again, bytes, n);
}

static void frame_vectors(void **state)
{
	json_t *root = json_load_file(FRAMES, 0, NULL), *vector;
	size_t i;

	assert_non_null(root);
	assert_true(json_array_size(json_object_get(root, "frames")) >= 78);
	json_array_foreach (json_object_get(root, "frames"), i, vector)
		check_vector(root, vector);
	json_decref(root);
}

/* --- directions --------------------------------------------------------------------------------
 */

/* Which frames travel to a client, with and without the guard on. */
static const struct direction_row {
	const char *name;
	struct frame_spec spec;
	uint16_t server; /* id */
	uint8_t first;	 /* payload byte */
	enum pg_drop to_server, to_client;
} direction_rows[] = {
	{ "data", { .flags = 0x40, .pack = 1, .payload = 16 }, 2, 0, 0, 0 },
	{ "ack", { .opcode = 4, .flags = 0x40, .pack = 1 }, 2, 0, 0, 0 },
	{ "ping", { .opcode = 5, .payload = 8 }, 2, 0, 0, 0 },
	{ "openstream", { .opcode = 7, .flags = 0x80, .stream = 1 }, 2, 0, 0, PG_DROP_OPCODE },
	{ "streamopen", { .opcode = 8, .flags = 0x80, .stream = 1 }, 2, 0, 0, 0 },
	{ "closestream", { .opcode = 9, .flags = 0x80, .stream = 1 }, 2, 0, 0, 0 },
	{ "shakehand", { .opcode = 0xa, .payload = 256 }, 0, 0, 0, PG_DROP_OPCODE },
	{ "shakehand, id",
	  { .opcode = 0xa, .payload = 256 },
	  2,
	  0,
	  PG_DROP_ID_ZERO,
	  PG_DROP_OPCODE },
	{ "handshake", { .opcode = 0xb, .payload = 1 }, 2, 0, 0, 0 },
	{ "handshake without id",
	  { .opcode = 0xb, .payload = 1 },
	  0,
	  0,
	  PG_DROP_ID_ZERO,
	  PG_DROP_ID_ZERO },
	{ "refusal without id", { .opcode = 0xb, .payload = 1 }, 0, 1, PG_DROP_ID_ZERO, 0 },
	{ "try later", { .opcode = 0xb, .payload = 1 }, 0, 0xff, PG_DROP_ID_ZERO, 0 },
	{ "cookie", { .opcode = 0xb, .payload = 17 }, 0, 2, PG_DROP_ID_ZERO, 0 },
	{ "goaway", { .opcode = 0xc, .payload = 1 }, 2, 0, 0, 0 },
};

static bool guarded(uint8_t opcode, enum pg_direction direction)
{
	return opcode != 0xa && !(opcode == 0xb && direction == PG_S2C);
}

static void directions(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(direction_rows) * 4; i++) {
		const struct direction_row *row = &direction_rows[i / 4];
		enum pg_direction direction = i & 1 ? PG_S2C : PG_C2S;
		bool guard = i & 2, due = guard && guarded(row->spec.opcode, direction);
		enum pg_drop want = direction == PG_C2S ? row->to_server : row->to_client;
		struct frame_bytes bytes;
		struct pg_frame frame;

		build_frame(&row->spec, (struct frame_ids){ 1, row->server }, due ? key : NULL,
			    &bytes);
		if (row->spec.payload)
			bytes.bytes[spec_header_bytes(&row->spec)] = row->first;
		if (check_exactly(bytes.bytes, bytes.n, direction, guard, &frame) != want)
			fail_msg("%s, direction %d, guard %d", row->name, direction, guard);
		if (!want)
			assert_int_equal(frame.has_guard, due);
	}
}

/* A server's handshake with no payload has no code to look at. */
static void empty_handshake(void **state)
{
	struct frame_spec spec = { .opcode = 0xb };
	struct frame_bytes bytes;
	struct pg_frame frame;

	build_frame(&spec, (struct frame_ids){ 1, 0 }, NULL, &bytes);
	assert_int_equal(check_exactly(bytes.bytes, bytes.n, PG_S2C, false, &frame),
			 PG_DROP_ID_ZERO);
	build_frame(&spec, (struct frame_ids){ 1, 2 }, NULL, &bytes);
	assert_int_equal(check_exactly(bytes.bytes, bytes.n, PG_S2C, false, &frame),
			 PG_DROP_PAYLOAD_SIZE);
}

/* --- every opcode, flag byte and length --------------------------------------------------------
 */

static void every_opcode_and_flag_byte(void **state)
{
	struct frame_bytes bytes = { .n = 0 };
	struct pg_frame frame;

	for (uint32_t i = 0; i < 0x10000 * 4; i++) {
		enum pg_direction direction = i & 1 ? PG_S2C : PG_C2S;
		struct frame_spec spec = { .opcode = i >> 2,
					   .flags = i >> 10,
					   .stream = 1,
					   .pack = 1,
					   .fragment = 1,
					   .payload = 24 };
		bool guard = i & 2;

		build_frame(&spec, (struct frame_ids){ 1, 2 }, NULL, &bytes);
		assert_int_equal(pg_frame_check(bytes.bytes, bytes.bytes + bytes.n, bytes.n,
						direction, guard, &frame),
				 reference_check(bytes.bytes, bytes.n, direction == PG_C2S, guard));
	}
}

static void every_length(void **state)
{
	static const struct frame_spec specs[] = {
		{ .opcode = 0, .flags = 0x40, .pack = 1 },
		{ .opcode = 0, .flags = 0xe1, .stream = 1, .pack = 1, .fragment = 512 },
		{ .opcode = 4, .flags = 0x40, .pack = 1 },
		{ .opcode = 4, .flags = 0xe3, .stream = 1, .pack = 1, .fragment = 1 },
		{ .opcode = 5 },
		{ .opcode = 7, .flags = 0x80, .stream = 1 },
		{ .opcode = 0xa },
		{ .opcode = 0xb },
		{ .opcode = 0xc },
	};
	struct frame_bytes bytes = { .n = 0 };
	struct pg_frame frame;

	for (uint32_t i = 0; i < ARRAY_SIZE(specs) * 2; i++) {
		struct frame_spec spec = specs[i / 2];
		uint16_t server = spec.opcode == 0xa ? 0 : 2;

		for (uint32_t payload = 0; payload <= 2100; payload++) {
			spec.payload = payload;
			build_frame(&spec, (struct frame_ids){ 1, server }, NULL, &bytes);
			assert_int_equal(check_exactly(bytes.bytes, bytes.n, PG_C2S, i & 1, &frame),
					 reference_check(bytes.bytes, bytes.n, true, i & 1));
		}
	}
}

static void mutations(void **state)
{
	struct noise noise = noise_start("mutations");
	struct frame_bytes bytes = { .n = 0 };
	struct pg_frame frame;

	for (int i = 0; i < 200000; i++) {
		enum pg_direction direction = noise_below(&noise, 2);
		bool guard = noise_below(&noise, 2);

		noise_frame(&noise, (struct frame_ids){ 3, 4 }, guard ? key : NULL, &bytes);
		assert_int_equal(check_exactly(bytes.bytes, bytes.n, direction, guard, &frame),
				 reference_check(bytes.bytes, bytes.n, direction == PG_C2S, guard));
	}
}

/* --- encoder -----------------------------------------------------------------------------------
 */

/* The library's encoder writes what the tests' own one does. */
static void encoder(void **state)
{
	static const uint8_t flags[] = { 0x00, 0x40, 0x80, 0xc0, 0x60, 0xe0, 0x61, 0xe3 };

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct frame_spec spec = { .opcode = 0,
					   .flags = flags[i],
					   .stream = 0xdeadbeef,
					   .pack = 0x01020304,
					   .fragment = 0x1ff,
					   .payload = 40 };
		struct pg_frame frame = { .session = 0x1234abcd,
					  .flags = flags[i],
					  .opcode = 0,
					  .stream = 0xdeadbeef,
					  .pack = 0x01020304,
					  .fragment = 0x1ff,
					  .payload_bytes = 48 };
		struct frame_bytes want;
		uint8_t out[PG_HEADER_MAX];

		memset(out, 0x99, sizeof(out));
		build_frame(&spec, (struct frame_ids){ 0x1234, 0xabcd }, key, &want);
		pg_frame_write_header(out, &frame, 1700000000123);
		assert_int_equal(frame.header_bytes, spec_header_bytes(&spec));
		assert_int_equal(frame.header_bytes, pg_frame_header_bytes(flags[i]));
		assert_int_equal(frame.bytes, want.n);
		assert_memory_equal(out, want.bytes, frame.header_bytes);
		for (size_t at = frame.header_bytes; at < sizeof(out); at++)
			assert_int_equal(out[at], 0x99);
		assert_true(pg_frame_timestamp_ms(out) == 1700000000123);
	}
}

static void nonce(void **state)
{
	static const uint8_t iv[12] = { 0x10, 0x11, 0x12, 0x13, 0x14, 0x15,
					0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b };
	static const uint8_t want[12] = { 0x10 ^ 0xde, 0x11 ^ 0xad, 0x12 ^ 0xbe, 0x13 ^ 0xef,
					  0x14,	       0x15,	    0x16,	 0x17 ^ 7,
					  0x18,	       0x19,	    0x1a ^ 2,	 0x1b };
	struct pg_frame frame = { .stream = 0xdeadbeef, .pack = 7, .fragment = 512 };
	uint8_t out[12];

	pg_frame_nonce(iv, &frame, out);
	assert_memory_equal(out, want, sizeof(out));
	frame = (struct pg_frame){ 0 };
	pg_frame_nonce(iv, &frame, out);
	assert_memory_equal(out, iv, sizeof(out));
}

/* --- guard -------------------------------------------------------------------------------------
 */

static void guard_covers(void **state)
{
	static const struct {
		struct frame_spec spec;
		bool payload_covered;
	} rows[] = {
		{ { .flags = 0x40, .pack = 1, .payload = 100 }, false },
		{ { .flags = 0xc0, .stream = 1, .pack = 1, .payload = 16 }, false },
		{ { .flags = 0xe1, .stream = 1, .pack = 1, .fragment = 1, .payload = 17 }, false },
		{ { .opcode = 4,
		    .flags = 0xe1,
		    .stream = 1,
		    .pack = 1,
		    .fragment = 512,
		    .payload = 64 },
		  true },
		{ { .opcode = 5, .payload = 64 }, true },
		{ { .opcode = 0xc, .payload = 1 }, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct frame_bytes bytes;
		struct pg_frame frame;

		build_frame(&rows[i].spec, (struct frame_ids){ 1, 2 }, key, &bytes);
		assert_int_equal(check_exactly(bytes.bytes, bytes.n, PG_C2S, true, &frame), 0);
		assert_true(pg_guard_check((const __u64 *)key, bytes.bytes, &frame));
		for (uint32_t bit = 0; bit < bytes.n * 8; bit++) {
			uint32_t at = bit / 8;
			bool open = !rows[i].payload_covered && at >= frame.header_bytes &&
				    at < bytes.n - 8u;

			bytes.bytes[at] ^= 1 << bit % 8;
			assert_int_equal(pg_guard_check((const __u64 *)key, bytes.bytes, &frame),
					 open);
			bytes.bytes[at] ^= 1 << bit % 8;
		}
	}
}

/* A control frame longer than 92 bytes and a guard has none: refused, nothing written. */
static void guard_of_a_long_control_frame(void **state)
{
	struct frame_spec spec = { .opcode = 0xb, .payload = 77 };
	struct frame_bytes bytes;
	struct pg_frame frame;
	__u64 guard = 5;

	build_frame(&spec, (struct frame_ids){ 1, 2 }, key, &bytes);
	assert_int_equal(check_exactly(bytes.bytes, bytes.n, PG_C2S, true, &frame), 0);
	assert_false(pg_guard_of_frame((const __u64 *)key, bytes.bytes, &frame, &guard));
	assert_true(guard == 5);
	assert_false(pg_guard_check((const __u64 *)key, bytes.bytes, &frame));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(invalid_vectors),
		cmocka_unit_test(frame_vectors),
		cmocka_unit_test(directions),
		cmocka_unit_test(empty_handshake),
		cmocka_unit_test(every_opcode_and_flag_byte),
		cmocka_unit_test(every_length),
		cmocka_unit_test(mutations),
		cmocka_unit_test(encoder),
		cmocka_unit_test(nonce),
		cmocka_unit_test(guard_covers),
		cmocka_unit_test(guard_of_a_long_control_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
