// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "aead.h"
#include "handshake_client.h"
#include "handshake_server.h"

#define HALF_OPEN  8
#define PER_SECOND 40
#define UNIX_MS	   1700000000000ull
#define START_MS   1000000ull

/* --- texts -------------------------------------------------------------------------------------
 */

static const struct {
	const char *name;
	uint8_t text[16];
	size_t bytes;
	int result;
	struct pg_parameters parameters;
} parameter_rows[] = {
	{ "none", { 0 }, 0, 0, { 0 } },
	{ "the end at once", { 0, 1, 2, 3 }, 4, 0, { 0 } },
	{ "all", { 1, 2, 4, 0, 2, 2, 0, 9, 3, 2, 1, 1 }, 12, 0, { 1024, 9, 257 } },
	{ "unknown skipped", { 77, 3, 1, 2, 3, 2, 2, 0, 9 }, 9, 0, { 0, 9, 0 } },
	{ "unknown, empty", { 77, 0, 2, 2, 0, 9 }, 6, 0, { 0, 9, 0 } },
	{ "behind the end", { 0, 0, 1, 2, 4, 0 }, 6, 0, { 0 } },
	{ "no length", { 1 }, 1, -EBADMSG, { 0 } },
	{ "value cut", { 1, 2, 4 }, 3, -EBADMSG, { 0 } },
	{ "value missing", { 1, 2 }, 2, -EBADMSG, { 0 } },
	{ "unknown runs over", { 77, 255, 1 }, 3, -EBADMSG, { 0 } },
	{ "one byte", { 1, 1, 4 }, 3, -EBADMSG, { 0 } },
	{ "three bytes", { 2, 3, 4, 4, 4 }, 5, -EBADMSG, { 0 } },
	{ "smallest payload", { 1, 2, 0, 64 }, 4, 0, { 64, 0, 0 } },
	{ "payload too small", { 1, 2, 0, 63 }, 4, -EBADMSG, { 0 } },
};

static void test_parameters(void **state)
{
	for (size_t i = 0; i < sizeof(parameter_rows) / sizeof(parameter_rows[0]); i++) {
		struct pg_terms terms = { .aead = 99 };
		uint8_t *text = malloc(6 + parameter_rows[i].bytes);
		int result;

		memcpy(text, "\1\1\0\0\0\7", 6);
		memcpy(text + 6, parameter_rows[i].text, parameter_rows[i].bytes);
		result = pg_terms_read(text, 6 + parameter_rows[i].bytes, &terms);
		free(text);
		if (result != parameter_rows[i].result)
			fail_msg("%s: %d", parameter_rows[i].name, result);
		if (result)
			assert_int_equal(terms.aead, 99);
		else
			assert_memory_equal(&terms.parameters, &parameter_rows[i].parameters,
					    sizeof(terms.parameters));
	}
}

static const struct {
	const char *name;
	uint8_t text[6];
	size_t bytes;
	int result;
} terms_rows[] = {
	{ "chacha, guard", { 1, 1, 0, 0, 0, 1 }, 6, 0 },
	{ "aes, no guard, newest", { 2, 0, 1, 0, 255, 255 }, 6, 0 },
	{ "no aead", { 0, 1, 0, 0, 0, 1 }, 6, -EBADMSG },
	{ "unknown aead", { 3, 1, 0, 0, 0, 1 }, 6, -EBADMSG },
	{ "guard 2", { 1, 2, 0, 0, 0, 1 }, 6, -EBADMSG },
	{ "policy 2", { 1, 1, 2, 0, 0, 1 }, 6, -EBADMSG },
	{ "reserved", { 1, 1, 0, 1, 0, 1 }, 6, -EBADMSG },
	{ "server id 0", { 1, 1, 0, 0, 0, 0 }, 6, -EBADMSG },
	{ "cut", { 1, 1, 0, 0, 0 }, 5, -EBADMSG },
	{ "empty", { 0 }, 0, -EBADMSG },
};

static void test_terms(void **state)
{
	for (size_t i = 0; i < sizeof(terms_rows) / sizeof(terms_rows[0]); i++) {
		struct pg_terms terms;
		uint8_t again[PG_TERMS_MAX];
		int result = pg_terms_read(terms_rows[i].text, terms_rows[i].bytes, &terms);

		if (result != terms_rows[i].result)
			fail_msg("%s: %d", terms_rows[i].name, result);
		if (result)
			continue;
		assert_int_equal(pg_terms_write(again, &terms), 6);
		assert_memory_equal(again, terms_rows[i].text, 6);
	}
}

static void test_question(void **state)
{
	static const uint32_t tokens[] = { 0, 1, 175, 176, 177, 188, 189, 899, PG_TOKEN_MAX };
	uint8_t text[PG_QUESTION_MAX], token[PG_TOKEN_MAX];
	struct pg_question read;

	memset(token, 't', sizeof(token));
	for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		struct pg_question asked = { token, tokens[i], { 1172, 60, 1024 } };
		uint32_t bytes = pg_question_write(text, &asked);

		assert_true(bytes >= PG_QUESTION_MIN && bytes <= PG_QUESTION_MAX);
		assert_int_equal(pg_question_read(text, bytes, &read), 0);
		assert_int_equal(read.token_bytes, tokens[i]);
		assert_memory_equal(read.token, token, tokens[i]);
		assert_memory_equal(&read.parameters, &asked.parameters, sizeof(read.parameters));
		assert_int_equal(pg_question_read(text, PG_QUESTION_MIN - 1, &read), -EBADMSG);
	}
	memset(text, 0, sizeof(text));
	pg_store_be16(text, PG_TOKEN_MAX + 1);
	assert_int_equal(pg_question_read(text, sizeof(text), &read), -EBADMSG);
	pg_store_be16(text, PG_QUESTION_MIN - 1);
	assert_int_equal(pg_question_read(text, PG_QUESTION_MIN, &read), -EBADMSG);
	pg_store_be16(text, PG_QUESTION_MIN - 2);
	assert_int_equal(pg_question_read(text, PG_QUESTION_MIN, &read), 0);
}

/* --- a server with one client ------------------------------------------------------------------
 */

struct fixture {
	struct pg_handshake_server *server;
	struct pg_handshake_rules rules;
	struct pg_cookie_secrets secrets;
	struct pg_noise_key *keys[3]; /* the third is none of the server's */
	struct pg_cookie_subject from;
	uint64_t now_ms;
	bool cookie_due, asks_cookie; /* told to the server; what it said of the last shakehand */
	bool guard;
	uint8_t policy;

	uint16_t next_server_id;
	int refuse_opened;
	uint32_t opened, expired, expired_session;
	struct pg_handshake_session session;
	uint8_t ikm[PG_SPLIT_BYTES];
	char user[PG_USER_MAX];

	uint8_t answer[PG_ANSWER_MAX];
	uint32_t answer_bytes;
};

static int op_authorize(void *owner, const struct pg_shakehand *question, const uint8_t *token,
			uint32_t bytes, char ret_user[PG_USER_MAX])
{
	if (bytes != 4 || memcmp(token, "good", 4))
		return -EACCES;
	strcpy(ret_user, "alice");
	return 0;
}

static uint32_t op_choose(void *owner, uint16_t client_id)
{
	struct fixture *f = owner;

	return f->next_server_id ? (uint32_t)client_id << 16 | f->next_server_id : 0;
}

static int op_opened(void *owner, const struct pg_shakehand *question,
		     const struct pg_handshake_session *session)
{
	struct fixture *f = owner;

	f->session = *session;
	memcpy(f->ikm, session->ikm, sizeof(f->ikm));
	strcpy(f->user, session->user);
	f->opened++;
	return f->refuse_opened;
}

static void op_expired(void *owner, uint32_t session)
{
	struct fixture *f = owner;

	f->expired++;
	f->expired_session = session;
}

static const struct pg_handshake_ops ops = { op_authorize, op_choose, op_opened, op_expired };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	for (int i = 0; i < 3; i++)
		assert_int_equal(pg_noise_key_new(NULL, &f->keys[i]), 0);
	assert_int_equal(pg_cookie_start(&f->secrets), 0);
	f->rules = (struct pg_handshake_rules){
		.half_open = HALF_OPEN,
		.per_second = PER_SECOND,
		.cookie = PG_COOKIE_DEMAND_NEVER,
		.aeads = 1 << PG_AEAD_CHACHA20_POLY1305 | 1 << PG_AEAD_AES_256_GCM,
		.keys = { f->keys[0], f->keys[1] },
		.secrets = &f->secrets,
		.parameters = { 1172, 60, 1024 },
	};
	f->from.source[1] = 1;
	f->from.source_port_be = 7;
	f->now_ms = START_MS;
	f->guard = true;
	f->next_server_id = 0x55;
	assert_int_equal(pg_handshake_server_new(&f->rules, &ops, f, &f->server), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pg_handshake_server_free(f->server);
	for (int i = 0; i < 3; i++)
		pg_noise_key_free(f->keys[i]);
	free(f);
	return 0;
}

static void use(struct fixture *f)
{
	pg_handshake_server_set_rules(f->server, &f->rules);
}

/* To the server; whatever it answers is measured against what it was asked. */
static enum pg_drop take(struct fixture *f, const uint8_t *bytes, uint32_t n)
{
	struct pg_frame frame;
	struct pg_shakehand question = {
		.bytes = bytes,
		.frame = &frame,
		.from = f->from,
		.endpoint = "game",
		.policy = f->policy,
		.guard = f->guard,
		.cookie_due = f->cookie_due,
		.now_ms = f->now_ms,
		.unix_ms = UNIX_MS + f->now_ms,
	};
	enum pg_drop drop;

	assert_int_equal(pg_frame_check(bytes, bytes + n, n, PG_C2S, f->guard, &frame), 0);
	f->asks_cookie = pg_handshake_server_asks_cookie(f->server, &question);
	drop = pg_handshake_server_take(f->server, &question, f->answer, &f->answer_bytes);
	assert_true(f->answer_bytes <= n);
	if (f->answer_bytes) {
		struct pg_frame answered;

		assert_int_equal(pg_frame_check(f->answer, f->answer + f->answer_bytes,
						f->answer_bytes, PG_S2C, f->guard, &answered),
				 0);
		assert_int_equal(answered.session >> 16, frame.session >> 16);
	}
	return drop;
}

static void client_start(struct fixture *f, struct pg_handshake_client *client,
			 const struct pg_noise_key *server, const char *token, uint8_t wish)
{
	struct pg_handshake_client_options options = {
		.token = token,
		.token_bytes = strlen(token),
		.wish = wish,
		.parameters = { 900, 0, 3 },
	};

	memcpy(options.server_public, pg_noise_key_public(server), PG_NOISE_KEY_BYTES);
	assert_int_equal(pg_handshake_client_init(client, &options, f->now_ms), 0);
}

static uint32_t poll(struct fixture *f, struct pg_handshake_client *client)
{
	return pg_handshake_client_poll(client, f->now_ms, UNIX_MS + f->now_ms);
}

static int receive(struct fixture *f, struct pg_handshake_client *client)
{
	return pg_handshake_client_receive(client, f->answer, f->answer_bytes, f->now_ms);
}

/* A client that asked once. */
static enum pg_drop ask(struct fixture *f, struct pg_handshake_client *client,
			const struct pg_noise_key *server, const char *token, uint8_t wish)
{
	uint32_t n;

	client_start(f, client, server, token, wish);
	n = poll(f, client);
	assert_true(n >= PG_HEADER_MIN + 256 && n <= PG_SHAKEHAND_MAX);
	return take(f, client->frame, n);
}

static const struct {
	const char *name;
	uint8_t wish, aeads, aead;
	uint8_t policy;
	int key;
} openings[] = {
	{ "no wish", 0, 6, 1, 0, 0 },
	{ "chacha", 1, 6, 1, 0, 0 },
	{ "aes", 2, 6, 2, 0, 0 },
	{ "newest", 2, 6, 2, 1, 0 },
	{ "the other static key", 1, 6, 1, 0, 1 },
	{ "chacha forbidden", 1, 4, 2, 0, 0 },
	{ "aes forbidden", 2, 2, 1, 0, 0 },
	{ "no wish, aes alone", 0, 4, 2, 0, 0 },
};

static void test_opens(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;
	struct pg_keys keys;

	for (size_t i = 0; i < sizeof(openings) / sizeof(openings[0]); i++) {
		f->rules.aeads = openings[i].aeads;
		f->policy = openings[i].policy;
		f->now_ms += PG_HALF_OPEN_MS + 1000;
		use(f);
		if (ask(f, &client, f->keys[openings[i].key], "good", openings[i].wish))
			fail_msg("%s: refused", openings[i].name);
		assert_int_equal(receive(f, &client), 0);
		assert_int_equal(client.session, f->session.session);
		assert_int_equal(client.session & 0xffff, 0x55);
		assert_int_equal(client.terms.aead, openings[i].aead);
		assert_int_equal(f->session.terms.aead, openings[i].aead);
		assert_int_equal(client.terms.policy, openings[i].policy);
		assert_true(client.terms.guard);
		assert_int_equal(client.terms.parameters.streams, 1024);
		assert_int_equal(f->session.parameters.max_payload, 900);
		assert_int_equal(f->session.parameters.streams, 3);
		assert_string_equal(f->user, "alice");
		assert_int_equal(pg_keys_derive(f->ikm, sizeof(f->ikm), &keys), 0);
		assert_memory_equal(&keys, &client.keys, sizeof(keys));
		assert_true(client.deadline_ms == UINT64_MAX);
		pg_handshake_client_done(&client);
	}
}

/* Two clients never share a secret, and neither do two runs of one. */
static void test_secrets_differ(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;
	uint8_t first[PG_SPLIT_BYTES];

	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
	pg_handshake_client_done(&client);
	memcpy(first, f->ikm, sizeof(first));
	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
	pg_handshake_client_done(&client);
	assert_memory_not_equal(first, f->ikm, sizeof(first));
	assert_memory_not_equal(f->ikm, f->ikm + 32, 32);
}

static void test_final(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;
	uint8_t final[PG_FINAL_BYTES], ikm[PG_SPLIT_BYTES];
	struct pg_frame frame;
	struct pg_keys keys;
	uint64_t words[2];
	__u64 key[2];

	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
	assert_int_equal(receive(f, &client), 0);
	pg_handshake_client_final(&client, 5, final); /* a clock that went back */
	for (int guard = 0; guard < 2; guard++)
		assert_int_equal(pg_frame_check(final, final + sizeof(final), sizeof(final), PG_C2S,
						guard, &frame),
				 0);
	assert_int_equal(final[PG_HEADER_MIN], 0);
	assert_true(pg_frame_timestamp_ms(final) == UNIX_MS + f->now_ms);
	assert_int_equal(pg_handshake_server_ready(f->server, f->session.place, f->session.session,
						   f->now_ms, ikm),
			 0);
	assert_int_equal(pg_keys_derive(ikm, sizeof(ikm), &keys), 0);
	pg_keys_guard_words(&keys, PG_C2S, words);
	key[0] = words[0];
	key[1] = words[1];
	assert_true(pg_guard_check(key, final, &frame));
	pg_handshake_client_done(&client);
}

/* --- what is refused ---------------------------------------------------------------------------
 */

static const struct {
	const char *name;
	size_t at; /* of the frame */
	uint8_t bits;
	enum pg_drop drop;
} changes[] = {
	{ "client id", PG_AT_CLIENT_ID, 0x10, PG_DROP_HANDSHAKE_KEY },
	{ "timestamp", PG_AT_TIMESTAMP, 0xff, PG_DROP_NONE },
	{ "version 0", PG_HEADER_MIN, 1, PG_DROP_HANDSHAKE_VERSION },
	{ "version 3", PG_HEADER_MIN, 2, PG_DROP_HANDSHAKE_VERSION },
	{ "wish", PG_HEADER_MIN + 1, 1, PG_DROP_HANDSHAKE_KEY },
	{ "cookie", PG_HEADER_MIN + 2, 1, PG_DROP_NONE },
	{ "cookie's last byte", PG_HEADER_MIN + 17, 1, PG_DROP_NONE },
	{ "ephemeral", PG_HEADER_MIN + 18, 1, PG_DROP_HANDSHAKE_KEY },
	{ "ephemeral's ignored bit", PG_HEADER_MIN + 49, 0x80, PG_DROP_HANDSHAKE_KEY },
	{ "token length", PG_HEADER_MIN + 50, 1, PG_DROP_HANDSHAKE_KEY },
	{ "tag", PG_HEADER_MIN + 255, 1, PG_DROP_HANDSHAKE_KEY },
};

static void test_changed(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint32_t n, opened = f->opened;
		enum pg_drop drop;

		f->now_ms += PG_HALF_OPEN_MS + 1000;
		client_start(f, &client, f->keys[0], "good", 1);
		n = poll(f, &client);
		client.frame[changes[i].at] ^= changes[i].bits;
		drop = take(f, client.frame, n);
		if (drop != changes[i].drop)
			fail_msg("%s: %d", changes[i].name, drop);
		assert_int_equal(f->opened - opened, !drop);
		assert_int_equal(!f->answer_bytes, drop != 0);
		pg_handshake_client_done(&client);
	}
}

static void test_denied(void **state)
{
	static const char *const tokens[] = { "", "goo", "goodd", "evil" };
	struct fixture *f = *state;
	struct pg_handshake_client client;

	for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		assert_int_equal(ask(f, &client, f->keys[0], tokens[i], 1), PG_DROP_TOKEN);
		assert_int_equal(f->answer_bytes, PG_HEADER_MIN + 1 + PG_NOISE_OVERHEAD);
		assert_int_equal(f->answer[PG_HEADER_MIN], PG_HANDSHAKE_DENIED);
		/* not to be had by changing the code of an answer */
		f->answer[PG_HEADER_MIN] = PG_HANDSHAKE_ACCEPTED;
		f->answer[PG_AT_SERVER_ID] = 9;
		assert_int_equal(receive(f, &client), -EINPROGRESS);
		f->answer[PG_HEADER_MIN] = PG_HANDSHAKE_DENIED;
		f->answer[PG_HEADER_MIN + 20] ^= 1;
		assert_int_equal(receive(f, &client), -EINPROGRESS);
		f->answer[PG_HEADER_MIN + 20] ^= 1;
		assert_int_equal(receive(f, &client), -EACCES);
		assert_int_equal(poll(f, &client), 0);
		pg_handshake_client_done(&client);
	}
	assert_int_equal(f->opened, 0);
	assert_int_equal(pg_handshake_server_half_open(f->server), 0);
	assert_int_equal(pg_handshake_server_counters(f->server)->denied, 4);
}

static void test_wrong_server_key(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;

	assert_int_equal(ask(f, &client, f->keys[2], "good", 1), PG_DROP_HANDSHAKE_KEY);
	assert_int_equal(f->answer_bytes, 0);
	pg_handshake_client_done(&client);
	/* the rotation is over: the second key is none of ours any more */
	f->rules.keys[1] = NULL;
	use(f);
	assert_int_equal(ask(f, &client, f->keys[1], "good", 1), PG_DROP_HANDSHAKE_KEY);
	pg_handshake_client_done(&client);
}

/* The session's owner has no slot, or no memory. */
static void test_no_room(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;

	f->next_server_id = 0;
	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), PG_DROP_HANDSHAKE_BUSY);
	assert_int_equal(f->answer_bytes, PG_HEADER_MIN + 1);
	assert_int_equal(f->answer[PG_HEADER_MIN], 0xff);
	pg_handshake_client_done(&client);
	f->next_server_id = 1;
	f->refuse_opened = -ENOMEM;
	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), PG_DROP_HANDSHAKE_BUSY);
	assert_int_equal(pg_handshake_server_half_open(f->server), 0);
	assert_int_equal(f->answer_bytes, PG_HEADER_MIN + 1);
	pg_handshake_client_done(&client);
}

/* --- repeats -----------------------------------------------------------------------------------
 */

static void test_repeats(void **state)
{
	struct fixture *f = *state;
	uint8_t first[PG_ANSWER_MAX], ikm[PG_SPLIT_BYTES];
	struct pg_handshake_client client;
	uint32_t n, bytes;

	client_start(f, &client, f->keys[0], "good", 1);
	n = poll(f, &client);
	assert_int_equal(take(f, client.frame, n), 0);
	bytes = f->answer_bytes;
	memcpy(first, f->answer, bytes);

	f->now_ms += 3000;
	client.frame[PG_AT_TIMESTAMP + 7] ^= 1;
	client.frame[PG_HEADER_MIN + PG_SHAKEHAND_AT_COOKIE] ^= 1;
	assert_int_equal(take(f, client.frame, n), 0);
	assert_int_equal(f->answer_bytes, bytes);
	assert_memory_equal(f->answer, first, bytes);
	assert_int_equal(f->opened, 1);

	/* elsewhere: address, port, client id */
	f->from.source[0] ^= 1;
	assert_int_equal(take(f, client.frame, n), PG_DROP_HANDSHAKE_SOURCE);
	assert_int_equal(f->answer_bytes, 0);
	f->from.source[0] ^= 1;
	f->from.source_port_be ^= 1;
	assert_int_equal(take(f, client.frame, n), PG_DROP_HANDSHAKE_SOURCE);
	f->from.source_port_be ^= 1;
	client.frame[PG_AT_CLIENT_ID] ^= 0x10;
	assert_int_equal(take(f, client.frame, n), PG_DROP_HANDSHAKE_SOURCE);
	client.frame[PG_AT_CLIENT_ID] ^= 0x10;

	/* also while a cookie is demanded: the earlier answer */
	f->rules.cookie = PG_COOKIE_DEMAND_ALWAYS;
	use(f);
	assert_int_equal(take(f, client.frame, n), 0);
	assert_memory_equal(f->answer, first, bytes);
	f->rules.cookie = PG_COOKIE_DEMAND_NEVER;
	use(f);

	/* 10 s after READY, no longer */
	assert_int_equal(pg_handshake_server_ready(f->server, f->session.place, f->session.session,
						   f->now_ms, ikm),
			 0);
	assert_memory_equal(ikm, f->ikm, sizeof(ikm));
	assert_int_equal(pg_handshake_server_ready(f->server, f->session.place, f->session.session,
						   f->now_ms, ikm),
			 -ENOENT);
	f->now_ms += PG_READY_MS - 1;
	assert_int_equal(take(f, client.frame, n), 0);
	assert_memory_equal(f->answer, first, bytes);
	assert_int_equal(f->opened, 1);
	f->now_ms += 1;
	assert_int_equal(take(f, client.frame, n), 0);
	assert_memory_not_equal(f->answer, first, bytes);
	assert_int_equal(f->opened, 2);
	assert_int_equal(f->expired, 0);
	assert_int_equal(pg_handshake_server_counters(f->server)->repeated, 3);
	pg_handshake_client_done(&client);
}

static void test_expires(void **state)
{
	struct fixture *f = *state;
	uint8_t ikm[PG_SPLIT_BYTES];
	struct pg_handshake_client client;

	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
	assert_true(pg_handshake_server_timer(f->server, f->now_ms) == f->now_ms + PG_HALF_OPEN_MS);
	f->now_ms += PG_HALF_OPEN_MS - 1;
	pg_handshake_server_timer(f->server, f->now_ms);
	assert_int_equal(f->expired, 0);
	f->now_ms += 1;
	assert_true(pg_handshake_server_timer(f->server, f->now_ms) == UINT64_MAX);
	assert_int_equal(f->expired, 1);
	assert_int_equal(f->expired_session, f->session.session);
	assert_int_equal(pg_handshake_server_half_open(f->server), 0);
	assert_int_equal(pg_handshake_server_ready(f->server, f->session.place, f->session.session,
						   f->now_ms, ikm),
			 -ENOENT);
	pg_handshake_client_done(&client);
}

/* --- bounds and cookies ------------------------------------------------------------------------
 */

static void test_half_open_cap(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;
	uint32_t session = 0, place = 0;
	uint64_t before = f->now_ms;

	for (int i = 0; i < HALF_OPEN; i++) {
		assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
		pg_handshake_client_done(&client);
		session = f->session.session;
		place = f->session.place;
	}
	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), PG_DROP_HANDSHAKE_BUSY);
	assert_int_equal(f->answer_bytes, PG_HEADER_MIN + 1);
	/* the client waits longer, once, and then asks again */
	assert_int_equal(receive(f, &client), -EINPROGRESS);
	assert_true(client.deadline_ms == before + 2 * PG_CONNECT_RETRY_MS);
	f->now_ms += 100;
	assert_int_equal(receive(f, &client), -EINPROGRESS);
	assert_true(client.deadline_ms == before + 2 * PG_CONNECT_RETRY_MS);
	pg_handshake_client_done(&client);
	assert_int_equal(pg_handshake_server_half_open(f->server), HALF_OPEN);
	pg_handshake_server_drop(f->server, place, session ^ 1);
	assert_int_equal(pg_handshake_server_half_open(f->server), HALF_OPEN);
	pg_handshake_server_drop(f->server, place, session);
	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
	pg_handshake_client_done(&client);
}

/* Confirmed at once, so that only the rate stops them; then READY ones make room. */
static void test_rate(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;
	uint8_t ikm[PG_SPLIT_BYTES];
	int busy = 0, opened = 0;

	for (int i = 0; i < PER_SECOND + 10; i++) {
		enum pg_drop drop = ask(f, &client, f->keys[0], "good", 1);

		pg_handshake_client_done(&client);
		busy += drop == PG_DROP_HANDSHAKE_BUSY;
		opened += !drop;
		if (!drop)
			pg_handshake_server_ready(f->server, f->session.place, f->session.session,
						  f->now_ms, ikm);
	}
	assert_int_equal(opened, PER_SECOND);
	assert_int_equal(busy, 10);
	f->now_ms += 1000 / PER_SECOND;
	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
	pg_handshake_client_done(&client);
}

/* More confirmed sessions than answers are remembered. */
static void test_ready_room(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;
	uint8_t ikm[PG_SPLIT_BYTES];

	f->rules.per_second = 1;
	pg_handshake_server_free(f->server);
	assert_int_equal(pg_handshake_server_new(&f->rules, &ops, f, &f->server), 0);
	f->rules.per_second = 1000;
	use(f);
	f->now_ms += 1000;
	for (int i = 0; i < 40; i++) {
		assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
		pg_handshake_client_done(&client);
		assert_int_equal(pg_handshake_server_ready(f->server, f->session.place,
							   f->session.session, f->now_ms, ikm),
				 0);
	}
}

static void test_cookie(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;
	uint32_t n;

	f->rules.cookie = PG_COOKIE_DEMAND_ALWAYS;
	use(f);
	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), PG_DROP_COOKIE_DUE);
	assert_int_equal(f->answer_bytes, PG_HANDSHAKE_COOKIE_BYTES);
	assert_int_equal(receive(f, &client), -EINPROGRESS);
	/* the same message 1, at once, once */
	n = poll(f, &client);
	assert_true(n > 0);
	assert_int_equal(receive(f, &client), -EINPROGRESS);
	assert_int_equal(poll(f, &client), 0);
	/* not for another source */
	f->from.source_port_be ^= 1;
	assert_int_equal(take(f, client.frame, n), PG_DROP_COOKIE_DUE);
	f->from.source_port_be ^= 1;
	assert_int_equal(f->opened, 0);
	assert_int_equal(take(f, client.frame, n), 0);
	assert_int_equal(receive(f, &client), 0);
	pg_handshake_client_done(&client);
	assert_int_equal(pg_handshake_server_counters(f->server)->cookies_sent, 2);
}

/* One that its caller says is due, and what is known of a shakehand before it is taken. */
static void test_cookie_due(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;
	uint32_t n;

	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
	assert_false(f->asks_cookie);
	pg_handshake_client_done(&client);
	f->cookie_due = true;
	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), PG_DROP_COOKIE_DUE);
	assert_true(f->asks_cookie);
	assert_int_equal(receive(f, &client), -EINPROGRESS);
	n = poll(f, &client);
	assert_true(n > 0);
	assert_int_equal(take(f, client.frame, n), 0);
	assert_false(f->asks_cookie);
	pg_handshake_client_done(&client);
}

static void test_cookie_auto(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;
	int opened = 0;

	f->rules.cookie = PG_COOKIE_DEMAND_AUTO;
	use(f);
	/* half-open sessions pass half their cap */
	for (int i = 0; i < HALF_OPEN; i++) {
		opened += !ask(f, &client, f->keys[0], "good", 1);
		pg_handshake_client_done(&client);
	}
	assert_int_equal(opened, HALF_OPEN / 2 + 1);
	assert_true(pg_handshake_server_demands(f->server, f->now_ms));
	f->now_ms += PG_HALF_OPEN_MS;
	pg_handshake_server_timer(f->server, f->now_ms);
	assert_false(pg_handshake_server_demands(f->server, f->now_ms));
	/* shakehands pass half the rate, and stay demanded until a quiet second went by */
	for (int i = 0; i <= PER_SECOND / 2; i++) {
		ask(f, &client, f->keys[2], "good", 1);
		pg_handshake_client_done(&client);
	}
	assert_true(pg_handshake_server_demands(f->server, f->now_ms));
	f->now_ms += 1000;
	assert_true(pg_handshake_server_demands(f->server, f->now_ms));
	f->now_ms += 1000;
	assert_false(pg_handshake_server_demands(f->server, f->now_ms));
}

/* --- the client alone --------------------------------------------------------------------------
 */

static void test_client_retries(void **state)
{
	static const uint32_t sent_at[] = { 0, 500, 1500, 3500, 7500 };
	struct fixture *f = *state;
	struct pg_handshake_client client;
	uint8_t first[PG_SHAKEHAND_MAX];
	uint32_t sent = 0, n;

	client_start(f, &client, f->keys[0], "good", 1);
	for (uint32_t at = 0; at < 20000; at += 100) {
		f->now_ms = START_MS + at;
		n = poll(f, &client);
		if (!n)
			continue;
		assert_true(sent < PG_CONNECT_TRIES);
		assert_int_equal(at, sent_at[sent]);
		assert_true(pg_frame_timestamp_ms(client.frame) == UNIX_MS + f->now_ms);
		if (!sent++)
			memcpy(first, client.frame, n);
		assert_memory_equal(first + PG_HEADER_MIN, client.frame + PG_HEADER_MIN,
				    n - PG_HEADER_MIN);
		if (sent == PG_CONNECT_TRIES)
			assert_true(client.deadline_ms == START_MS + 15500);
	}
	assert_int_equal(sent, PG_CONNECT_TRIES);
	assert_int_equal(client.result, -ETIMEDOUT);
	assert_true(client.deadline_ms == UINT64_MAX);
	pg_handshake_client_done(&client);
}

/* Nothing but the whole right answer moves the client; then the right one still does. */
static void test_client_forged(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;
	uint8_t right[PG_ANSWER_MAX];
	uint32_t bytes;

	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
	bytes = f->answer_bytes;
	memcpy(right, f->answer, bytes);
	for (uint32_t at = 0; at < bytes; at++) {
		if (at >= PG_AT_TIMESTAMP && at < PG_AT_FLAGS)
			continue; /* not authenticated, and of no meaning here */
		f->answer[at] ^= 1;
		if (receive(f, &client) != -EINPROGRESS)
			fail_msg("byte %u changed: %d", at, client.result);
		f->answer[at] ^= 1;
	}
	for (f->answer_bytes = 0; f->answer_bytes < bytes; f->answer_bytes++)
		assert_int_equal(receive(f, &client), -EINPROGRESS);
	f->answer_bytes = bytes;
	assert_int_equal(receive(f, &client), 0);
	pg_handshake_client_done(&client);
}

static void test_client_unguarded(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;

	f->guard = false;
	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
	assert_int_equal(receive(f, &client), -EPERM);
	pg_handshake_client_done(&client);
	client_start(f, &client, f->keys[0], "good", 1);
	client.allow_unguarded = true;
	assert_int_equal(take(f, client.frame, poll(f, &client)), 0);
	assert_int_equal(receive(f, &client), 0);
	assert_false(client.terms.guard);
	pg_handshake_client_done(&client);
}

static void test_client_bad_options(void **state)
{
	struct pg_handshake_client client;
	struct pg_handshake_client_options options = { .wish = 3 };

	options.server_public[0] = 9;
	assert_int_equal(pg_handshake_client_init(&client, &options, 0), -EINVAL);
	options.wish = 0;
	options.token = "";
	options.token_bytes = PG_TOKEN_MAX + 1;
	assert_int_equal(pg_handshake_client_init(&client, &options, 0), -EINVAL);
	options.token_bytes = 0;
	options.server_public[0] = 0;
	assert_int_equal(pg_handshake_client_init(&client, &options, 0), -EBADMSG);
	assert_int_equal(pg_handshake_client_poll(&client, 0, 0), 0);
	pg_handshake_client_done(&client);
}

/* A server that breaks the rules authentically ends the try. */
static void test_client_bad_terms(void **state)
{
	struct fixture *f = *state;
	struct pg_handshake_client client;

	f->policy = 2;
	assert_int_equal(ask(f, &client, f->keys[0], "good", 1), 0);
	assert_int_equal(receive(f, &client), -EPROTO);
	pg_handshake_client_done(&client);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_terms),
		cmocka_unit_test(test_question),
		SERVED(test_opens),
		SERVED(test_secrets_differ),
		SERVED(test_final),
		SERVED(test_changed),
		SERVED(test_denied),
		SERVED(test_wrong_server_key),
		SERVED(test_no_room),
		SERVED(test_repeats),
		SERVED(test_expires),
		SERVED(test_half_open_cap),
		SERVED(test_rate),
		SERVED(test_ready_room),
		SERVED(test_cookie),
		SERVED(test_cookie_due),
		SERVED(test_cookie_auto),
		SERVED(test_client_retries),
		SERVED(test_client_forged),
		SERVED(test_client_unguarded),
		cmocka_unit_test(test_client_bad_options),
		SERVED(test_client_bad_terms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
