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
#include "aead.h"
#include "key_cache.h"
#include "keys.h"

#define VECTORS "tests/vectors/frames.json"

static size_t unhex_member(const json_t *object, const char *name, uint8_t *ret_bytes, size_t room)
{
	const char *hex = json_string_value(json_object_get(object, name));

	if (!hex)
		fail_msg("no string %s in %s", name, VECTORS);
	return hex_bytes(hex, ret_bytes, room);
}

static bool is_zero(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	while (n && !*p) {
		p++;
		n--;
	}
	return !n;
}

static void derive(const char *ikm_hex, struct pg_keys *ret_keys)
{
	uint8_t ikm[PG_SPLIT_BYTES];
	size_t n = hex_bytes(ikm_hex, ikm, sizeof(ikm));

	assert_int_equal(pg_keys_derive(ikm, n, ret_keys), 0);
}

static void check_blocks(const struct pg_keys *keys, enum pg_direction direction,
			 const json_t *blocks)
{
	uint8_t expected[PG_AEAD_KEY_BYTES], key[PG_AEAD_KEY_BYTES];
	size_t i;
	json_t *row;

	assert_true(json_array_size(blocks) > 0);
	json_array_foreach (blocks, i, row) {
		uint32_t stream = json_integer_value(json_object_get(row, "stream"));
		uint32_t pack = json_integer_value(json_object_get(row, "pack"));

		unhex_member(row, "key", expected, sizeof(expected));
		assert_int_equal(pg_keys_block(keys, direction, stream, pack, key), 0);
		if (memcmp(key, expected, sizeof(key)))
			fail_msg("stream %u, packId %u: another key", stream, pack);
	}
}

static void test_vectors(void **state)
{
	json_t *root = json_load_file(VECTORS, 0, NULL);
	json_t *rows = json_object_get(root, "keys"), *row;
	size_t i;

	if (!json_array_size(rows))
		fail_msg("no keys in %s", VECTORS);
	json_array_foreach (rows, i, row) {
		const char *name = json_string_value(json_object_get(row, "direction"));
		enum pg_direction direction = strcmp(name, "s2c") ? PG_C2S : PG_S2C;
		uint8_t iv[PG_AEAD_NONCE], guard[16];
		struct pg_keys keys;

		derive(json_string_value(json_object_get(row, "ikm")), &keys);
		unhex_member(row, "iv", iv, sizeof(iv));
		unhex_member(row, "guard", guard, sizeof(guard));
		assert_memory_equal(keys.direction[direction].iv, iv, sizeof(iv));
		assert_memory_equal(keys.direction[direction].guard, guard, sizeof(guard));
		check_blocks(&keys, direction, json_object_get(row, "blocks"));
	}
	json_decref(root);
}

/* From another implementation of HKDF (Python's cryptography). */
static const struct {
	const char *name, *ikm, *id;
} secret_ids[] = {
	{ "counting, 32 bytes", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	  "84815eb0ef92b116d7670a982b7fe244" },
	{ "counting, 64 bytes",
	  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	  "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
	  "bb84e6c3bb6b8320dce954993e322039" },
	{ "all ones, 32 bytes", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	  "8b77016ebefb7149c622d91708f69e61" },
};

static void test_secret_ids(void **state)
{
	uint8_t ikm[PG_SPLIT_BYTES], expected[PG_SECRET_ID_BYTES], id[PG_SECRET_ID_BYTES];
	size_t i, n;

	for (i = 0; i < sizeof(secret_ids) / sizeof(secret_ids[0]); i++) {
		n = hex_bytes(secret_ids[i].ikm, ikm, sizeof(ikm));
		hex_bytes(secret_ids[i].id, expected, sizeof(expected));
		assert_int_equal(pg_keys_secret_id(ikm, n, id), 0);
		if (memcmp(id, expected, sizeof(id)))
			fail_msg("%s: another id", secret_ids[i].name);
	}
}

static void test_bad_lengths(void **state)
{
	static const size_t lengths[] = { 0, 1, 16, 31, 33, 48, 63, 65, 128, SIZE_MAX };
	uint8_t ikm[128] = { 1 }, id[PG_SECRET_ID_BYTES], same[sizeof(struct pg_keys)];
	struct pg_keys keys;
	size_t i;

	memset(same, 0xaa, sizeof(same));
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		memset(&keys, 0xaa, sizeof(keys));
		memset(id, 0xaa, sizeof(id));
		if (pg_keys_derive(ikm, lengths[i], &keys) != -EINVAL ||
		    pg_keys_secret_id(ikm, lengths[i], id) != -EINVAL)
			fail_msg("%zu bytes taken", lengths[i]);
		assert_memory_equal(&keys, same, sizeof(keys));
		assert_memory_equal(id, same, sizeof(id));
	}
}

/* Which changes of direction, stream and packId change the key. */
static const struct {
	const char *name;
	enum pg_direction direction;
	uint32_t stream, pack;
	bool same;
} separations[] = {
	{ "itself", PG_C2S, 1, 16384, true },
	{ "last of the block", PG_C2S, 1, 32767, true },
	{ "last of the block before", PG_C2S, 1, 16383, false },
	{ "first of the block after", PG_C2S, 1, 32768, false },
	{ "last block", PG_C2S, 1, 0xfffffffe, false },
	{ "other direction", PG_S2C, 1, 16384, false },
	{ "the session's own series", PG_C2S, 0, 16384, false },
	{ "next stream", PG_C2S, 2, 16384, false },
	{ "byte-swapped stream", PG_C2S, 0x01000000, 16384, false },
	{ "stream and block swapped", PG_C2S, 1, 0, false },
};

static void test_separation(void **state)
{
	uint8_t ikm[PG_SECRET_BYTES] = { 7 }, base[PG_AEAD_KEY_BYTES], key[PG_AEAD_KEY_BYTES];
	struct pg_keys keys;
	size_t i;

	assert_int_equal(pg_keys_derive(ikm, sizeof(ikm), &keys), 0);
	assert_int_equal(pg_keys_block(&keys, PG_C2S, 1, 16384, base), 0);
	for (i = 0; i < sizeof(separations) / sizeof(separations[0]); i++) {
		assert_int_equal(pg_keys_block(&keys, separations[i].direction,
					       separations[i].stream, separations[i].pack, key),
				 0);
		if (!memcmp(key, base, sizeof(key)) != separations[i].same)
			fail_msg("%s: key is %s", separations[i].name,
				 separations[i].same ? "another" : "the same");
	}
}

static void test_guard_words(void **state)
{
	struct pg_keys keys = { 0 };
	uint64_t words[2];
	int i;

	for (i = 0; i < 16; i++)
		keys.direction[PG_S2C].guard[i] = i;
	pg_keys_guard_words(&keys, PG_S2C, words);
	assert_int_equal(words[0], 0x0706050403020100);
	assert_int_equal(words[1], 0x0f0e0d0c0b0a0908);
	pg_keys_guard_words(&keys, PG_C2S, words);
	assert_int_equal(words[0] | words[1], 0);
}

static void test_wipe(void **state)
{
	struct pg_keys keys;

	memset(&keys, 0xaa, sizeof(keys));
	pg_keys_wipe(&keys);
	assert_true(is_zero(&keys, sizeof(keys)));
	assert_true(sizeof(keys) <= 96);
}

struct cache_fixture {
	struct pg_aead *aead;
	struct pg_key_cache *cache;
	struct pg_keys keys; /* of owner 1; the others have keys_of(owner) */
};

static void keys_of(uint64_t owner, struct pg_keys *ret_keys)
{
	uint8_t ikm[PG_SECRET_BYTES] = { 0 };

	memcpy(ikm, &owner, sizeof(owner));
	assert_int_equal(pg_keys_derive(ikm, sizeof(ikm), ret_keys), 0);
}

static int cache_setup(void **state)
{
	const char *backend = *state;
	struct cache_fixture *fixture = calloc(1, sizeof(*fixture));
	int err = pg_aead_new(backend, &fixture->aead, NULL);

	keys_of(1, &fixture->keys);
	*state = fixture;
	return err == -ENOTSUP ? 0 : err;
}

static int cache_teardown(void **state)
{
	struct cache_fixture *fixture = *state;

	pg_key_cache_free(fixture->cache);
	pg_aead_free(fixture->aead);
	free(fixture);
	return 0;
}

static struct cache_fixture *with_cache(void **state, uint32_t entries)
{
	struct cache_fixture *fixture = *state;

	if (!fixture->aead) {
		print_message("this machine does not have the back-end\n");
		skip();
	}
	assert_int_equal(pg_key_cache_new(fixture->aead, entries, &fixture->cache), 0);
	return fixture;
}

/* A key of the session's own series, from client to server, in block 0. */
static const struct pg_aead_key *get(struct cache_fixture *fixture, uint64_t owner)
{
	struct pg_keys keys;

	keys_of(owner, &keys);
	return pg_key_cache_get(fixture->cache, owner, &keys, PG_AEAD_AES_256_GCM, PG_C2S, 0, 1);
}

/* The tag of a fixed text under the key: tells keys apart. */
static void fingerprint(struct cache_fixture *fixture, const struct pg_aead_key *key,
			uint8_t ret_tag[PG_TAG_BYTES])
{
	uint8_t text[4] = "text";
	struct pg_aead_job job = { .key = key, .text = text, .text_bytes = 4, .tag = ret_tag };

	pg_aead_seal(fixture->aead, &job, 1);
	assert_int_equal(job.result, 0);
}

static bool is_key(struct cache_fixture *fixture, const struct pg_aead_key *key,
		   const struct pg_keys *keys, enum pg_aead_algorithm algorithm,
		   enum pg_direction direction, uint32_t stream, uint32_t pack)
{
	uint8_t raw[PG_AEAD_KEY_BYTES], expected[PG_TAG_BYTES], tag[PG_TAG_BYTES];
	struct pg_aead_key direct;

	assert_int_equal(pg_keys_block(keys, direction, stream, pack, raw), 0);
	assert_int_equal(pg_aead_key_init(fixture->aead, &direct, algorithm, raw), 0);
	fingerprint(fixture, &direct, expected);
	pg_aead_key_wipe(&direct);
	fingerprint(fixture, key, tag);
	return !memcmp(tag, expected, sizeof(tag));
}

static bool is_key_of(struct cache_fixture *fixture, const struct pg_aead_key *key, uint64_t owner)
{
	struct pg_keys keys;

	keys_of(owner, &keys);
	return is_key(fixture, key, &keys, PG_AEAD_AES_256_GCM, PG_C2S, 0, 1);
}

static const struct {
	const char *name;
	uint64_t owner;
	enum pg_aead_algorithm algorithm;
	enum pg_direction direction;
	uint32_t stream, pack;
	bool hit; /* finds the key of the first row */
} look_ups[] = {
	{ "first", 1, PG_AEAD_AES_256_GCM, PG_C2S, 5, 1, true },
	{ "again", 1, PG_AEAD_AES_256_GCM, PG_C2S, 5, 1, true },
	{ "same block", 1, PG_AEAD_AES_256_GCM, PG_C2S, 5, 16383, true },
	{ "next block", 1, PG_AEAD_AES_256_GCM, PG_C2S, 5, 16384, false },
	{ "last block", 1, PG_AEAD_AES_256_GCM, PG_C2S, 5, 0xfffffffe, false },
	{ "direction", 1, PG_AEAD_AES_256_GCM, PG_S2C, 5, 1, false },
	{ "stream", 1, PG_AEAD_AES_256_GCM, PG_C2S, 6, 1, false },
	{ "own series", 1, PG_AEAD_AES_256_GCM, PG_C2S, 0, 1, false },
	{ "algorithm", 1, PG_AEAD_CHACHA20_POLY1305, PG_C2S, 5, 1, false },
	{ "owner", 2, PG_AEAD_AES_256_GCM, PG_C2S, 5, 1, false },
	{ "owner's high half", 1ull << 32 | 1, PG_AEAD_AES_256_GCM, PG_C2S, 5, 1, false },
	{ "owner 0", 0, PG_AEAD_AES_256_GCM, PG_C2S, 0, 1, false },
};

static const struct pg_aead_key *look_up(struct cache_fixture *fixture, size_t row)
{
	const struct pg_aead_key *key;
	struct pg_keys keys;

	keys_of(look_ups[row].owner, &keys);
	key = pg_key_cache_get(fixture->cache, look_ups[row].owner, &keys, look_ups[row].algorithm,
			       look_ups[row].direction, look_ups[row].stream, look_ups[row].pack);
	if (!key)
		fail_msg("%s: none", look_ups[row].name);
	if (!is_key(fixture, key, &keys, look_ups[row].algorithm, look_ups[row].direction,
		    look_ups[row].stream, look_ups[row].pack))
		fail_msg("%s: another key", look_ups[row].name);
	return key;
}

/* In a cache of one set, so that only what a place says tells keys apart. */
static void test_cache_look_ups(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 4);
	const struct pg_aead_key *first, *key;
	size_t i;

	for (i = 0; i < sizeof(look_ups) / sizeof(look_ups[0]); i++) {
		pg_key_cache_begin(fixture->cache);
		first = look_up(fixture, 0);
		key = look_up(fixture, i);
		if ((key == first) != look_ups[i].hit)
			fail_msg("%s: %s", look_ups[i].name, key == first ? "hit" : "missed");
	}
}

/* A hit goes by the owner alone: it neither reads the raw keys nor derives. */
static void test_cache_hit_reads_no_keys(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 64);
	const struct pg_aead_key *key = get(fixture, 1);

	pg_key_cache_begin(fixture->cache);
	assert_ptr_equal(
		pg_key_cache_get(fixture->cache, 1, NULL, PG_AEAD_AES_256_GCM, PG_C2S, 0, 1), key);
	assert_true(is_key_of(fixture, key, 1));
}

static void test_cache_evicts_the_oldest(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 4);
	const struct pg_aead_key *place[5];
	uint64_t owner;

	for (owner = 1; owner <= 4; owner++) {
		pg_key_cache_begin(fixture->cache);
		place[owner] = get(fixture, owner);
		assert_non_null(place[owner]);
	}
	pg_key_cache_begin(fixture->cache);
	assert_ptr_equal(get(fixture, 1), place[1]);
	pg_key_cache_begin(fixture->cache);
	assert_ptr_equal(get(fixture, 5), place[2]);
	assert_true(is_key_of(fixture, place[2], 5));
	assert_ptr_equal(get(fixture, 1), place[1]);
	assert_ptr_equal(get(fixture, 3), place[3]);
	assert_ptr_equal(get(fixture, 4), place[4]);
	assert_null(get(fixture, 2));
}

static void test_cache_pins(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 4);
	const struct pg_aead_key *place[5];
	uint64_t owner;

	for (owner = 1; owner <= 4; owner++)
		place[owner] = get(fixture, owner);
	assert_null(get(fixture, 5));
	for (owner = 1; owner <= 4; owner++) {
		assert_true(is_key_of(fixture, place[owner], owner));
		assert_ptr_equal(get(fixture, owner), place[owner]);
	}
	pg_key_cache_begin(fixture->cache);
	assert_ptr_equal(get(fixture, 3), place[3]);
	assert_non_null(get(fixture, 5));
	assert_ptr_equal(get(fixture, 3), place[3]);
	assert_true(is_key_of(fixture, place[3], 3));
}

/* Whatever was handed out in a batch is still that key at its end. */
static void test_cache_batches(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 64);
	const struct pg_aead_key *keys[64];
	uint64_t owners[64];
	int batch, i, n, refused = 0;

	srand(11);
	for (batch = 0; batch < 60; batch++) {
		pg_key_cache_begin(fixture->cache);
		for (i = 0, n = 0; i < 64; i++) {
			owners[n] = 1 + rand() % 90;
			keys[n] = get(fixture, owners[n]);
			if (keys[n])
				n++;
			else
				refused++;
		}
		for (i = 0; i < n; i++) {
			if (!is_key_of(fixture, keys[i], owners[i]))
				fail_msg("batch %d, job %d: another key", batch, i);
		}
	}
	assert_true(refused > 0);
}

static void test_cache_forget(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 256);
	const struct pg_aead_key *gone[3], *other[6];
	struct pg_keys changed;
	int i;

	for (i = 0; i < 3; i++)
		gone[i] = pg_key_cache_get(fixture->cache, 1, &fixture->keys,
					   PG_AEAD_CHACHA20_POLY1305, PG_C2S, i, 1);
	for (i = 0; i < 6; i++)
		other[i] = get(fixture, 10 + i);
	pg_key_cache_forget(fixture->cache, 1);
	pg_key_cache_forget(fixture->cache, 1);
	pg_key_cache_forget(fixture->cache, 999);
	for (i = 0; i < 3; i++)
		assert_true(is_zero(gone[i], sizeof(*gone[i])));
	for (i = 0; i < 6; i++) {
		assert_ptr_equal(get(fixture, 10 + i), other[i]);
		assert_true(is_key_of(fixture, other[i], 10 + i));
	}
	keys_of(77, &changed);
	pg_key_cache_begin(fixture->cache);
	other[0] = pg_key_cache_get(fixture->cache, 1, &changed, PG_AEAD_CHACHA20_POLY1305, PG_C2S,
				    0, 1);
	assert_true(is_key(fixture, other[0], &changed, PG_AEAD_CHACHA20_POLY1305, PG_C2S, 0, 1));
}

/* Owners that share a chain: in a cache this small, in most of the rounds. */
static void test_cache_forget_spares_others(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 4);
	const struct pg_aead_key *place[5];
	uint64_t owner;
	int round;

	for (round = 0; round < 40; round++) {
		pg_key_cache_free(fixture->cache);
		fixture->cache = NULL;
		assert_int_equal(pg_key_cache_new(fixture->aead, 4, &fixture->cache), 0);
		for (owner = 1; owner <= 4; owner++)
			place[owner] = get(fixture, owner);
		pg_key_cache_forget(fixture->cache, 1 + round % 4);
		for (owner = 1; owner <= 4; owner++) {
			if (owner != 1 + round % 4u)
				assert_ptr_equal(get(fixture, owner), place[owner]);
		}
	}
}

/* A key forgotten in mid-batch fails its job, and its place waits for the next batch. */
static void test_cache_forget_in_batch(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 4);
	uint8_t text[8] = "secret", tag[PG_TAG_BYTES];
	struct pg_aead_job job = { .text = text, .text_bytes = 8, .tag = tag };
	uint64_t owner;

	job.key = get(fixture, 1);
	for (owner = 2; owner <= 4; owner++)
		assert_non_null(get(fixture, owner));
	pg_key_cache_forget(fixture->cache, 1);
	assert_null(get(fixture, 5));
	assert_null(get(fixture, 1));
	pg_aead_seal(fixture->aead, &job, 1);
	assert_int_equal(job.result, -EINVAL);
	assert_true(is_zero(text, sizeof(text)));
	pg_key_cache_begin(fixture->cache);
	assert_ptr_equal(get(fixture, 5), job.key);
}

/* What a key leaves behind where another one takes its place. */
static void test_cache_wipes_evicted(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 1);
	const struct pg_aead_key *key;
	int i;

	for (i = 1; i <= 4; i++)
		assert_non_null(get(fixture, i));
	pg_key_cache_begin(fixture->cache);
	for (i = 1; i <= 4; i++) {
		key = pg_key_cache_get(fixture->cache, i, &fixture->keys, PG_AEAD_CHACHA20_POLY1305,
				       PG_C2S, 0, 1);
		assert_non_null(key);
		assert_true(is_zero(key->expanded + 32, sizeof(key->expanded) - 32));
	}
}

/* Chains of places stay whole while owners come, go and are pushed out. */
static void test_cache_churn(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 32);
	int i;

	srand(5);
	for (i = 0; i < 4000; i++) {
		uint64_t owner = 1 + rand() % 12;
		const struct pg_aead_key *key;

		pg_key_cache_begin(fixture->cache);
		key = pg_key_cache_get(fixture->cache, owner, &fixture->keys, PG_AEAD_AES_256_GCM,
				       rand() % 2, rand() % 4, 1);
		assert_non_null(key);
		if (rand() % 4)
			continue;
		pg_key_cache_forget(fixture->cache, owner);
		assert_true(is_zero(key, sizeof(*key)));
	}
}

static void test_cache_bad_input(void **state)
{
	struct cache_fixture *fixture = with_cache(state, 4);
	static const int unknown[] = { 0, 3, 4, 8, 255 };
	struct pg_key_cache *none = NULL;
	uint64_t owner;
	size_t i;

	assert_int_equal(pg_key_cache_new(fixture->aead, 0, &none), -EINVAL);
	assert_int_equal(pg_key_cache_new(fixture->aead, PG_KEY_CACHE_MAX + 1, &none), -EINVAL);
	assert_int_equal(pg_key_cache_new(fixture->aead, UINT32_MAX, &none), -EINVAL);
	assert_null(none);
	pg_key_cache_free(NULL);
	/* owner 0, stream 0, block 0: what an empty place looks like */
	for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		assert_null(pg_key_cache_get(fixture->cache, 0, &fixture->keys, unknown[i], PG_C2S,
					     0, 1));
	}
	for (owner = 1; owner <= 4; owner++)
		assert_non_null(get(fixture, owner));
}

#define BOTH(test)                                                               \
	{ #test " (ipsec-mb)", test, cache_setup, cache_teardown, "ipsec-mb" },  \
	{                                                                        \
#test " (openssl)", test, cache_setup, cache_teardown, "openssl" \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_secret_ids),
		cmocka_unit_test(test_bad_lengths),
		cmocka_unit_test(test_separation),
		cmocka_unit_test(test_guard_words),
		cmocka_unit_test(test_wipe),
		BOTH(test_cache_look_ups),
		BOTH(test_cache_hit_reads_no_keys),
		BOTH(test_cache_evicts_the_oldest),
		BOTH(test_cache_pins),
		BOTH(test_cache_batches),
		BOTH(test_cache_forget),
		BOTH(test_cache_forget_spares_others),
		BOTH(test_cache_forget_in_batch),
		BOTH(test_cache_wipes_evicted),
		BOTH(test_cache_churn),
		BOTH(test_cache_bad_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
