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
#include "packgate/guard.h"
#include "packgate/siphash.h"

#define VECTORS "tests/vectors/frames.json"

/* The first 8 of the 64 vectors in the authors' paper and reference code, for key 00..0f. */
static const uint64_t published[] = {
	0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
	0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
};

static const __u64 published_key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

static void published_vectors(void **state)
{
	uint8_t input[16];

	for (size_t n = 0; n < sizeof(published) / sizeof(published[0]); n++) {
		for (size_t i = 0; i < n; i++)
			input[i] = i;
		assert_true(pg_siphash(published_key, input, n) == published[n]);
	}
}

static size_t unhex(const json_t *object, const char *name, uint8_t *ret_bytes, size_t room)
{
	const char *hex = json_string_value(json_object_get(object, name));

	if (!hex)
		fail_msg("no string %s in %s", name, VECTORS);
	return hex_bytes(hex, ret_bytes, room);
}

/* Over exactly as many bytes as there are: the sanitizer watches the end. */
static void check_vector(const json_t *vector)
{
	uint8_t key_bytes[16], out[8], bytes[256], *exact;
	__u64 key[2];
	size_t n;

	assert_int_equal(unhex(vector, "key", key_bytes, sizeof(key_bytes)), 16);
	assert_int_equal(unhex(vector, "out", out, sizeof(out)), 8);
	n = unhex(vector, "in", bytes, sizeof(bytes));
	exact = malloc(n ? n : 1);
	assert_non_null(exact);
	memcpy(exact, bytes, n);
	key[0] = pg_load_le64(key_bytes);
	key[1] = pg_load_le64(key_bytes + 8);
	assert_true(pg_siphash(key, exact, n) == pg_load_le64(out));
	free(exact);
}

static void vectors(void **state)
{
	json_t *root = json_load_file(VECTORS, 0, NULL), *vector;
	size_t i;

	assert_non_null(root);
	assert_true(json_array_size(json_object_get(root, "siphash")) >= 11);
	json_array_foreach (json_object_get(root, "siphash"), i, vector)
		check_vector(vector);
	json_decref(root);
}

/* The driver's ways to hash give what the plain function gives, at every length they serve. */
static void guard_of_control_is_siphash(void **state)
{
	struct pg_guard_cover text;

	for (uint32_t cover = PG_HEADER_MIN; cover <= PG_GUARD_COVER_MAX; cover++) {
		memset(&text, 0, sizeof(text));
		for (uint32_t i = 0; i < cover; i++)
			text.bytes[i] = 0x80 | i;
		assert_true(pg_guard_of_control(published_key, &text, cover) ==
			    pg_siphash(published_key, text.bytes, cover));
	}
}

static void guard_of_header_is_siphash(void **state)
{
	for (uint32_t n = 20; n <= 28; n += 4) {
		uint8_t *header = malloc(n);
		__u64 guard;

		assert_non_null(header);
		memset(header, 0xc3, n);
		assert_true(pg_guard_of_header(published_key, header, header + n, n, &guard));
		assert_true(guard == pg_siphash(published_key, header, n));
		/* bytes that are not there are not read */
		assert_false(pg_guard_of_header(published_key, header, header + n - 1, n, &guard));
		free(header);
	}
}

static void every_input_bit_counts(void **state)
{
	uint8_t input[28] = { 0 };
	uint64_t zero = pg_siphash(published_key, input, sizeof(input));

	for (size_t bit = 0; bit < sizeof(input) * 8; bit++) {
		input[bit / 8] ^= 1 << bit % 8;
		assert_true(pg_siphash(published_key, input, sizeof(input)) != zero);
		input[bit / 8] ^= 1 << bit % 8;
	}
	for (int bit = 0; bit < 128; bit++) {
		__u64 key[2] = { published_key[0], published_key[1] };

		key[bit / 64] ^= 1ull << bit % 64;
		assert_true(pg_siphash(key, input, sizeof(input)) != zero);
	}
}

static void length_counts(void **state)
{
	uint8_t zeros[16] = { 0 };

	for (size_t n = 1; n <= sizeof(zeros); n++)
		assert_true(pg_siphash(published_key, zeros, n) !=
			    pg_siphash(published_key, zeros, n - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(vectors),
		cmocka_unit_test(guard_of_control_is_siphash),
		cmocka_unit_test(guard_of_header_is_siphash),
		cmocka_unit_test(every_input_bit_counts),
		cmocka_unit_test(length_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
