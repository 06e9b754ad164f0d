// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "unit/hex.h"
#include "../../user/cli/peer.c"

#define VECTORS "tests/vectors/frames.json"
#define SECRET	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static uint64_t fixed_ms;

static uint64_t fixed_clock(void)
{
	return fixed_ms;
}

static void make_peer(const char *secret, uint16_t client, uint16_t server, bool guard, int aead,
		      struct peer *ret_peer)
{
	uint8_t bytes[PG_SECRET_BYTES];
	struct peer_options options = {
		.client_id = client,
		.server_id = server,
		.guard = guard,
		.aead = aead ? aead : PG_AEAD_CHACHA20_POLY1305,
		.secret = bytes,
	};

	assert_true(peer_parse_secret(secret, bytes));
	assert_int_equal(peer_init(ret_peer, &options, NULL), 0);
	ret_peer->clock_ms = fixed_clock;
}

/* --- vectors -------------------------------------------------------------------------------- */

struct vector {
	const char *name, *direction;
	bool guard;
	int aead;
	uint8_t frame[PG_FRAME_MAX], plain[PG_FRAME_MAX];
	uint32_t bytes, plain_bytes;
	struct peer peer;
};

static void vector_init(const json_t *row, struct vector *vector)
{
	const char *plain = json_string_value(json_object_get(row, "plain"));

	memset(vector, 0, sizeof(*vector));
	vector->name = json_string_value(json_object_get(row, "name"));
	vector->direction = json_string_value(json_object_get(row, "direction"));
	vector->guard = json_is_true(json_object_get(row, "guard"));
	vector->aead = (int)json_integer_value(json_object_get(row, "aead"));
	vector->bytes = hex_bytes(json_string_value(json_object_get(row, "frame")), vector->frame,
				  sizeof(vector->frame));
	if (plain)
		vector->plain_bytes = hex_bytes(plain, vector->plain, sizeof(vector->plain));
	make_peer(json_string_value(json_object_get(row, "ikm")), pg_load_be16(vector->frame),
		  pg_load_be16(vector->frame + 2), vector->guard, vector->aead, &vector->peer);
	fixed_ms = pg_frame_timestamp_ms(vector->frame);
}

static void check_built(struct vector *vector)
{
	struct peer_frame built;
	struct pg_frame shape;
	uint32_t cover;

	assert_int_equal(pg_frame_check(vector->frame, vector->frame + vector->bytes, vector->bytes,
					PG_C2S, vector->guard, &shape),
			 PG_DROP_NONE);
	cover = shape.payload_bytes - (shape.has_guard ? PG_GUARD_BYTES : 0);
	if (shape.opcode == PG_OP_DATA)
		assert_int_equal(peer_build(&vector->peer, &shape, vector->plain,
					    vector->plain_bytes, &built),
				 0);
	else
		assert_int_equal(peer_build(&vector->peer, &shape,
					    vector->frame + shape.header_bytes, cover, &built),
				 0);
	if (built.bytes != vector->bytes || memcmp(built.data, vector->frame, built.bytes))
		fail_msg("%s is not built to the byte", vector->name);
}

static void check_opened(struct vector *vector)
{
	struct peer_message message;
	uint8_t copy[PG_FRAME_MAX];

	memcpy(copy, vector->frame, vector->bytes);
	if (peer_open(&vector->peer, copy, vector->bytes, &message))
		fail_msg("%s does not open", vector->name);
	if (message.frame.opcode != PG_OP_DATA)
		return;
	assert_int_equal(message.count, vector->plain_bytes);
	assert_memory_equal(message.bytes, vector->plain, vector->plain_bytes);
}

/*
 * With a guard every bit counts; without one every bit of a data frame, which at most turns into
 * an unauthenticated control frame. Each truncation fails in any case.
 */
static void check_mutations(struct vector *vector)
{
	struct peer_message message;
	uint8_t copy[PG_FRAME_MAX];
	uint32_t i;

	for (i = 0; i < vector->bytes * 8; i++) {
		if (!vector->guard && !vector->aead)
			break;
		memcpy(copy, vector->frame, vector->bytes);
		copy[i / 8] ^= 1u << (i & 7);
		if (!peer_open(&vector->peer, copy, vector->bytes, &message) &&
		    (vector->guard || message.frame.opcode == PG_OP_DATA))
			fail_msg("%s opens with bit %u flipped", vector->name, i);
	}
	for (i = 0; i < vector->bytes; i++) {
		memcpy(copy, vector->frame, vector->bytes);
		if (!peer_open(&vector->peer, copy, i, &message))
			fail_msg("%s opens cut to %u bytes", vector->name, i);
	}
}

static void test_vectors(void **state)
{
	json_t *root = json_load_file(VECTORS, 0, NULL);
	const json_t *rows = json_object_get(root, "frames"), *row;
	unsigned int built = 0, opened = 0;
	struct vector vector;
	size_t i;

	assert_true(json_array_size(rows) > 0);
	json_array_foreach (rows, i, row) {
		vector_init(row, &vector);
		if (!strcmp(vector.direction, "c2s")) {
			check_built(&vector);
			built++;
		} else {
			check_opened(&vector);
			check_mutations(&vector);
			opened++;
		}
		peer_done(&vector.peer);
	}
	assert_true(built >= 20 && opened >= 20);
	json_decref(root);
}

/* --- what a client must not send ------------------------------------------------------------ */

static void test_refused_shapes(void **state)
{
	static const struct {
		const char *name;
		struct pg_frame shape;
		uint32_t bytes;
		int result;
	} rows[] = {
		{ "ping", { .opcode = PG_OP_PING }, 64, 0 },
		{ "ping of 65 bytes", { .opcode = PG_OP_PING }, 65, -EINVAL },
		{ "ping with a stream id",
		  { .opcode = PG_OP_PING, .flags = PG_FLAG_STRE, .stream = 1 },
		  0,
		  -EINVAL },
		{ "streamopen without an id", { .opcode = PG_OP_STREAMOPEN }, 0, -EINVAL },
		{ "closestream on stream 0",
		  { .opcode = PG_OP_CLOSESTREAM, .flags = PG_FLAG_STRE },
		  0,
		  -EINVAL },
		{ "ack of packId 0", { .opcode = PG_OP_ACK, .flags = PG_FLAG_PACK }, 0, -EINVAL },
		{ "opcode 1", { .opcode = 1 }, 0, -EINVAL },
		{ "reserved opcode bits", { .opcode = 0x15 }, 0, -EINVAL },
		{ "goaway without a code", { .opcode = PG_OP_GOAWAY }, 0, -EINVAL },
		{ "fragment 513",
		  { .opcode = PG_OP_DATA, .flags = 0x60, .pack = 1, .fragment = 513 },
		  1,
		  -EINVAL },
		{ "an empty fragment",
		  { .opcode = PG_OP_DATA, .flags = 0x60, .pack = 1, .fragment = 1 },
		  0,
		  -EINVAL },
		{ "data of 1996 bytes",
		  { .opcode = PG_OP_DATA, .flags = 0x40, .pack = 1 },
		  1996,
		  0 },
		{ "data of 1997 bytes",
		  { .opcode = PG_OP_DATA, .flags = 0x40, .pack = 2 },
		  1997,
		  -EMSGSIZE },
		{ "data of 2^32 - 1 bytes",
		  { .opcode = PG_OP_DATA, .flags = 0x40, .pack = 3 },
		  UINT32_MAX,
		  -EMSGSIZE },
	};
	static const uint8_t text[PG_FRAME_MAX];
	struct peer_frame frame;
	struct peer peer;
	size_t i;

	make_peer(SECRET, 0x1234, 0xabcd, true, 0, &peer);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (peer_build(&peer, &rows[i].shape, text, rows[i].bytes, &frame) !=
		    rows[i].result)
			fail_msg("%s: not %d", rows[i].name, rows[i].result);
	assert_int_equal(peer_control(&peer, PG_OP_DATA, 0, 9, NULL, 0, &frame), -EINVAL);
	peer_done(&peer);
}

static void test_series(void **state)
{
	struct peer_series series = { .stream = 7, .next = 1 };
	struct peer_frame frame;
	struct pg_frame shape;
	struct peer peer;
	uint32_t i;

	make_peer(SECRET, 1, 1, false, PG_AEAD_AES_256_GCM, &peer);
	for (i = 1; i <= 3; i++) {
		assert_int_equal(peer_data(&peer, &series, "x", 1, &frame), 0);
		assert_int_equal(pg_frame_check(frame.data, frame.data + frame.bytes, frame.bytes,
						PG_C2S, false, &shape),
				 PG_DROP_NONE);
		assert_int_equal(shape.pack, i);
		assert_int_equal(shape.stream, 7);
	}
	series.next = PG_PACK_ID_LAST;
	assert_int_equal(peer_data(&peer, &series, "x", 1, &frame), 0);
	assert_int_equal(peer_data(&peer, &series, "x", 1, &frame), -EINVAL);
	assert_int_equal(peer_data(&peer, &series, "x", 1, &frame), -EINVAL);
	peer_done(&peer);
}

static void test_time_never_falls(void **state)
{
	struct peer_frame frame;
	struct peer peer;

	make_peer(SECRET, 1, 1, true, 0, &peer);
	fixed_ms = 1000;
	assert_int_equal(peer_control(&peer, PG_OP_PING, 0, 0, NULL, 0, &frame), 0);
	fixed_ms = 500;
	assert_int_equal(peer_control(&peer, PG_OP_PING, 0, 0, NULL, 0, &frame), 0);
	assert_int_equal(pg_frame_timestamp_ms(frame.data), 1000);
	peer_done(&peer);
}

/* --- what does not open --------------------------------------------------------------------- */

static void test_foreign(void **state)
{
	struct peer_message message;
	struct peer_frame frame;
	struct peer peer, other;

	make_peer(SECRET, 1, 2, true, 0, &peer);
	make_peer(SECRET, 1, 3, true, 0, &other);
	assert_int_equal(peer_control(&other, PG_OP_PING, 0, 0, NULL, 0, &frame), 0);
	assert_int_equal(peer_open(&peer, frame.data, frame.bytes, &message), -ENOENT);
	assert_int_equal(peer_control(&peer, PG_OP_PING, 0, 0, NULL, 0, &frame), 0);
	/* a client's own frame comes back: the directions have keys of their own */
	assert_int_equal(peer_open(&peer, frame.data, frame.bytes, &message), -EBADMSG);
	assert_int_equal(peer_open(&peer, frame.data, 0, &message), -EPROTO);
	peer_done(&peer);
	peer_done(&other);
}

static void test_init(void **state)
{
	uint8_t secret[PG_SECRET_BYTES] = { 1 };
	struct peer_options options = { .server_id = 1, .aead = 1, .secret = secret };
	struct peer nothing = { 0 };
	struct peer untouched;

	memset(&untouched, 0x5a, sizeof(untouched));
	assert_int_equal(peer_init(&untouched, &options, NULL), -EINVAL);
	options.client_id = 1;
	options.server_id = 0;
	assert_int_equal(peer_init(&untouched, &options, NULL), -EINVAL);
	assert_int_equal(untouched.session, 0x5a5a5a5a);
	peer_done(&nothing);
}

static void test_parse_secret(void **state)
{
	static const char *const bad[] = {
		"",
		"00",
		SECRET "0",
		SECRET "00",
		" " SECRET,
		"g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"0x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	};
	uint8_t secret[PG_SECRET_BYTES];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (peer_parse_secret(bad[i], secret))
			fail_msg("\"%s\" is taken for a secret", bad[i]);
	assert_true(peer_parse_secret("FFeeddccbbaa99887766554433221100"
				      "ffEEddccbbaa99887766554433221100",
				      secret));
	assert_int_equal(secret[0], 0xff);
	assert_int_equal(secret[1], 0xee);
	assert_int_equal(secret[31], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),	     cmocka_unit_test(test_refused_shapes),
		cmocka_unit_test(test_series),	     cmocka_unit_test(test_time_never_falls),
		cmocka_unit_test(test_foreign),	     cmocka_unit_test(test_init),
		cmocka_unit_test(test_parse_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
