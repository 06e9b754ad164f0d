// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "hmac.h"
#include "noise.h"

#define VECTORS	  "tests/vectors/noise_nk.json"
#define BYTES_MAX 512

/* --- the published vectors ---------------------------------------------------------------------
 */

static size_t unhex(const json_t *object, const char *name, uint8_t bytes[BYTES_MAX])
{
	const char *text = json_string_value(json_object_get(object, name));
	size_t n;

	assert_non_null(text);
	for (n = 0; text[2 * n]; n++) {
		assert_true(n < BYTES_MAX);
		assert_int_equal(sscanf(text + 2 * n, "%2hhx", &bytes[n]), 1);
	}
	return n;
}

static struct pg_noise_key *key_of(const json_t *vector, const char *name)
{
	uint8_t private[BYTES_MAX];
	struct pg_noise_key *key = NULL;

	assert_int_equal(unhex(vector, name, private), PG_NOISE_KEY_BYTES);
	assert_int_equal(pg_noise_key_new(private, &key), 0);
	return key;
}

/* What a transport message of the vectors is: ChaCha20-Poly1305, the nonce a counter. */
static void seal_transport(const uint8_t key[32], uint8_t counter, const uint8_t *text,
			   size_t bytes, uint8_t *to)
{
	uint8_t nonce[12] = { [4] = counter };
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int n;

	assert_true(EVP_EncryptInit_ex(context, EVP_chacha20_poly1305(), NULL, key, nonce));
	assert_true(EVP_EncryptUpdate(context, to, &n, text, (int)bytes));
	assert_true(EVP_EncryptFinal_ex(context, to + n, &n));
	assert_true(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, to + bytes));
	EVP_CIPHER_CTX_free(context);
}

struct exchange {
	struct pg_noise client, server;
	uint8_t client_keys[64], server_keys[64];
};

static void run_handshake(const json_t *vector, struct exchange *x)
{
	const json_t *messages = json_object_get(vector, "messages");
	uint8_t prologue[BYTES_MAX], remote[BYTES_MAX], payload[BYTES_MAX], wire[BYTES_MAX];
	uint8_t message[BYTES_MAX], opened[BYTES_MAX];
	size_t prologue_bytes = unhex(vector, "init_prologue", prologue), bytes, wire_bytes;
	struct pg_noise_key *server = key_of(vector, "resp_static");

	unhex(vector, "init_remote_static", remote);
	assert_memory_equal(pg_noise_key_public(server), remote, PG_NOISE_KEY_BYTES);

	bytes = unhex(json_array_get(messages, 0), "payload", payload);
	wire_bytes = unhex(json_array_get(messages, 0), "ciphertext", wire);
	assert_int_equal(bytes + PG_NOISE_OVERHEAD, wire_bytes);
	assert_int_equal(pg_noise_ask(&x->client, prologue, prologue_bytes, remote,
				      key_of(vector, "init_ephemeral"), payload, bytes, message),
			 0);
	assert_memory_equal(message, wire, wire_bytes);
	assert_int_equal(pg_noise_hear(&x->server, prologue, prologue_bytes, server, wire,
				       wire_bytes, opened),
			 0);
	assert_memory_equal(opened, payload, bytes);

	bytes = unhex(json_array_get(messages, 1), "payload", payload);
	wire_bytes = unhex(json_array_get(messages, 1), "ciphertext", wire);
	assert_int_equal(pg_noise_answer(&x->server, key_of(vector, "resp_ephemeral"), payload,
					 bytes, message),
			 0);
	assert_memory_equal(message, wire, wire_bytes);
	assert_int_equal(pg_noise_finish(&x->client, wire, wire_bytes, opened), 0);
	assert_memory_equal(opened, payload, bytes);
	pg_noise_key_free(server);
}

static void check_transport(const json_t *messages, const struct exchange *x)
{
	uint8_t payload[BYTES_MAX], wire[BYTES_MAX], sealed[BYTES_MAX];

	for (size_t i = 2; i < json_array_size(messages); i++) {
		size_t bytes = unhex(json_array_get(messages, i), "payload", payload);
		size_t wire_bytes = unhex(json_array_get(messages, i), "ciphertext", wire);

		assert_int_equal(bytes + 16, wire_bytes);
		seal_transport(x->client_keys + (i % 2 ? 32 : 0), i / 2 - 1, payload, bytes,
			       sealed);
		assert_memory_equal(sealed, wire, wire_bytes);
	}
}

static void test_vectors(void **state)
{
	json_t *root = json_load_file(VECTORS, 0, NULL), *vector;
	uint8_t hash[BYTES_MAX];
	struct exchange x;
	size_t i;

	if (!root)
		fail_msg("cannot read %s; run from the top of the source", VECTORS);
	assert_int_equal(json_array_size(json_object_get(root, "vectors")), 2);
	json_array_foreach (json_object_get(root, "vectors"), i, vector) {
		run_handshake(vector, &x);
		assert_memory_equal(x.client.hash, x.server.hash, sizeof(x.client.hash));
		if (json_object_get(vector, "handshake_hash")) {
			unhex(vector, "handshake_hash", hash);
			assert_memory_equal(x.client.hash, hash, sizeof(x.client.hash));
		}
		assert_int_equal(pg_noise_split(&x.client, x.client_keys), 0);
		assert_int_equal(pg_noise_split(&x.server, x.server_keys), 0);
		assert_memory_equal(x.client_keys, x.server_keys, sizeof(x.client_keys));
		check_transport(json_object_get(vector, "messages"), &x);
		pg_noise_done(&x.client);
		pg_noise_done(&x.server);
	}
	json_decref(root);
}

/* --- bad input ---------------------------------------------------------------------------------
 */

static const uint8_t prologue[] = "udpack/1";
static const uint8_t question[190] = "question";

struct pair {
	struct pg_noise client, server;
	struct pg_noise_key *key;
	uint8_t asked[sizeof(question) + PG_NOISE_OVERHEAD];
	uint8_t heard[sizeof(question)];
};

static int setup(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	assert_int_equal(pg_noise_key_new(NULL, &pair->key), 0);
	assert_int_equal(pg_noise_ask(&pair->client, prologue, sizeof(prologue),
				      pg_noise_key_public(pair->key), NULL, question,
				      sizeof(question), pair->asked),
			 0);
	*state = pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	pg_noise_done(&pair->client);
	pg_noise_done(&pair->server);
	pg_noise_key_free(pair->key);
	free(pair);
	return 0;
}

static int hear(struct pair *pair, size_t bytes)
{
	return pg_noise_hear(&pair->server, prologue, sizeof(prologue), pair->key, pair->asked,
			     bytes, pair->heard);
}

static void test_question_changed(void **state)
{
	struct pair *pair = *state;

	for (size_t i = 0; i < sizeof(pair->asked); i++) {
		pair->asked[i] ^= 1 + i % 127; /* not 0x80 alone: X25519 ignores the top bit */
		memset(pair->heard, 0xaa, sizeof(pair->heard));
		assert_int_equal(hear(pair, sizeof(pair->asked)), -EBADMSG);
		pair->asked[i] ^= 1 + i % 127;
	}
	for (size_t cut = 0; cut < sizeof(pair->asked); cut++)
		assert_int_equal(hear(pair, cut), cut < PG_NOISE_OVERHEAD ? -EINVAL : -EBADMSG);
	assert_int_equal(hear(pair, sizeof(pair->asked)), 0);
	assert_memory_equal(pair->heard, question, sizeof(question));
}

/* The ignored top bit of an ephemeral key changes the hash all the same. */
static void test_question_top_bit(void **state)
{
	struct pair *pair = *state;

	pair->asked[31] ^= 0x80;
	assert_int_equal(hear(pair, sizeof(pair->asked)), -EBADMSG);
}

static void test_prologue_and_key(void **state)
{
	struct pair *pair = *state;
	struct pg_noise_key *other = NULL;

	assert_int_equal(pg_noise_hear(&pair->server, prologue, sizeof(prologue) - 1, pair->key,
				       pair->asked, sizeof(pair->asked), pair->heard),
			 -EBADMSG);
	assert_int_equal(pg_noise_key_new(NULL, &other), 0);
	assert_int_equal(pg_noise_hear(&pair->server, prologue, sizeof(prologue), other,
				       pair->asked, sizeof(pair->asked), pair->heard),
			 -EBADMSG);
	pg_noise_key_free(other);
}

/* Points of small order give a shared secret of zero. */
static const struct {
	const char *name;
	uint8_t point[32];
} small_orders[] = {
	{ "zero", { 0 } },
	{ "one", { 1 } },
	{ "order 8", { 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
		       0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
		       0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 } },
	{ "p - 1", { 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f } },
	{ "p", { 0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f } },
};

static void test_small_order(void **state)
{
	struct pair *pair = *state;
	uint8_t message[sizeof(question) + PG_NOISE_OVERHEAD];
	struct pg_noise noise;

	for (size_t i = 0; i < sizeof(small_orders) / sizeof(small_orders[0]); i++) {
		memcpy(pair->asked, small_orders[i].point, 32);
		if (hear(pair, sizeof(pair->asked)) != -EBADMSG)
			fail_msg("%s: taken as an ephemeral key", small_orders[i].name);
		if (pg_noise_ask(&noise, prologue, sizeof(prologue), small_orders[i].point, NULL,
				 question, sizeof(question), message) != -EBADMSG)
			fail_msg("%s: taken as a static key", small_orders[i].name);
	}
}

/* A wrong answer leaves the client as it was: the right one still ends the handshake. */
static void test_answer_changed(void **state)
{
	struct pair *pair = *state;
	uint8_t answer[4 + PG_NOISE_OVERHEAD], wrong[sizeof(answer)], opened[4];
	uint8_t ours[64], theirs[64];

	assert_int_equal(hear(pair, sizeof(pair->asked)), 0);
	assert_int_equal(pg_noise_answer(&pair->server, NULL, "yes", 4, answer), 0);
	for (size_t i = 0; i < sizeof(answer); i++) {
		memcpy(wrong, answer, sizeof(answer));
		wrong[i] ^= 1;
		assert_int_equal(pg_noise_finish(&pair->client, wrong, sizeof(wrong), opened),
				 -EBADMSG);
	}
	for (size_t cut = 0; cut < sizeof(answer); cut++)
		assert_int_equal(pg_noise_finish(&pair->client, answer, cut, opened),
				 cut < PG_NOISE_OVERHEAD ? -EINVAL : -EBADMSG);
	assert_int_equal(pg_noise_finish(&pair->client, answer, sizeof(answer), opened), 0);
	assert_string_equal((char *)opened, "yes");
	assert_int_equal(pg_noise_split(&pair->client, ours), 0);
	assert_int_equal(pg_noise_split(&pair->server, theirs), 0);
	assert_memory_equal(ours, theirs, sizeof(ours));
}

static void test_lengths(void **state)
{
	struct pair *pair = *state;
	static uint8_t large[PG_NOISE_PAYLOAD_MAX + 1], message[sizeof(large) + PG_NOISE_OVERHEAD];
	struct pg_noise noise;
	uint8_t hash[PG_HASH_BYTES];

	assert_int_equal(pg_noise_ask(&noise, prologue, sizeof(prologue),
				      pg_noise_key_public(pair->key), NULL, large, sizeof(large),
				      message),
			 -EINVAL);
	assert_int_equal(pg_noise_hear(&noise, prologue, sizeof(prologue), pair->key, message,
				       sizeof(message), large),
			 -EINVAL);
	assert_int_equal(pg_hmac(large, PG_HMAC_KEY_MAX + 1, large, 1, hash), -EINVAL);
	assert_int_equal(pg_hmac(large, 1, large, PG_HMAC_MESSAGE_MAX + 1, hash), -EINVAL);
}

static void test_keys(void **state)
{
	struct pg_noise_key *key = NULL, *again = NULL;
	uint8_t private[PG_NOISE_KEY_BYTES];

	assert_int_equal(pg_noise_key_new(NULL, &key), 0);
	assert_int_equal(pg_noise_key_private(key, private), 0);
	assert_int_equal(pg_noise_key_new(private, &again), 0);
	assert_memory_equal(pg_noise_key_public(key), pg_noise_key_public(again),
			    PG_NOISE_KEY_BYTES);
	pg_noise_key_free(key);
	pg_noise_key_free(again);
	pg_noise_key_free(NULL);
}

static void test_done(void **state)
{
	static const struct pg_noise nothing;
	struct pair *pair = *state;

	pg_noise_done(&pair->client);
	assert_memory_equal(&pair->client, &nothing, sizeof(nothing));
	pg_noise_done(&pair->client);
}

#define PAIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		PAIR(test_question_changed),
		PAIR(test_question_top_bit),
		PAIR(test_prologue_and_key),
		PAIR(test_small_order),
		PAIR(test_answer_changed),
		PAIR(test_lengths),
		cmocka_unit_test(test_keys),
		PAIR(test_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
