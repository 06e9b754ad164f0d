// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "handshake_client.h"
#include "handshake_server.h"

/*
 * Both sides of the handshake. The first byte chooses what the rest is: a shakehand's payload as a
 * stranger sends it (0; with a cookie demanded, 1), the text inside a message 1 that is sealed
 * properly (2), a datagram to a waiting client (3), the text inside a message 2 (4). Whatever
 * comes, an answer is a valid frame and no longer than its question.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define CLIENT_ID 0x1234
#define NOW_MS	  1000000

static const uint8_t server_private[PG_NOISE_KEY_BYTES] = { 1, 2, 3 };

static int authorize(void *owner, const struct pg_shakehand *question, const uint8_t *token,
		     uint32_t bytes, char ret_user[PG_USER_MAX])
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < bytes; i++)
		sum += token[i];
	return sum % 2 ? -1 : 0;
}

static uint32_t choose(void *owner, uint16_t client_id)
{
	return (uint32_t)client_id << 16 | 7;
}

static int opened(void *owner, const struct pg_shakehand *question,
		  const struct pg_handshake_session *session)
{
	return 0;
}

static void expired(void *owner, uint32_t session)
{
}

static const struct pg_handshake_ops handshake_ops = { authorize, choose, opened, expired };

/* Serves one shakehand, twice: the second time it is a repeat, or as bad as before. */
static void serve(const struct pg_noise_key *key, const uint8_t *payload, size_t bytes, bool cookie)
{
	struct pg_cookie_secrets secrets = { .epoch = 3 };
	struct pg_handshake_rules rules = {
		.half_open = 2,
		.per_second = 2,
		.cookie = cookie ? PG_COOKIE_DEMAND_ALWAYS : PG_COOKIE_DEMAND_NEVER,
		.aeads = 6,
		.keys = { key },
		.secrets = &secrets,
	};
	struct pg_frame frame = {
		.session = CLIENT_ID << 16,
		.opcode = PG_OP_SHAKEHAND,
		.payload_bytes = (uint16_t)bytes,
	};
	uint8_t *question = malloc(PG_HEADER_MIN + bytes), answer[PG_ANSWER_MAX];
	struct pg_handshake_server *server = NULL;
	struct pg_shakehand shakehand = {
		.bytes = question, .frame = &frame, .endpoint = "game", .now_ms = NOW_MS
	};
	struct pg_frame answered;
	uint32_t n;

	pg_frame_write_header(question, &frame, 0);
	memcpy(question + PG_HEADER_MIN, payload, bytes);
	if (pg_handshake_server_new(&rules, &handshake_ops, NULL, &server))
		abort();
	for (int i = 0; i < 2; i++) {
		if (pg_frame_check(question, question + frame.bytes, frame.bytes, PG_C2S, true,
				   &frame))
			break;
		pg_handshake_server_take(server, &shakehand, answer, &n);
		if (n > frame.bytes ||
		    (n && pg_frame_check(answer, answer + n, n, PG_S2C, true, &answered)))
			abort();
	}
	pg_handshake_server_timer(server, NOW_MS + PG_HALF_OPEN_MS);
	if (pg_handshake_server_half_open(server))
		abort();
	pg_handshake_server_free(server);
	free(question);
}

static void serve_sealed(const struct pg_noise_key *key, const uint8_t *text, size_t bytes)
{
	uint8_t payload[PG_SHAKEHAND_AT_NOISE + PG_QUESTION_MAX + PG_NOISE_OVERHEAD] = {
		PG_HANDSHAKE_VERSION
	};
	uint8_t prologue[PG_PROLOGUE_BYTES];
	struct pg_noise noise;

	if (bytes > PG_QUESTION_MAX)
		return;
	pg_handshake_prologue(CLIENT_ID, 0, prologue);
	if (pg_noise_ask(&noise, prologue, sizeof(prologue), pg_noise_key_public(key), NULL, text,
			 bytes, payload + PG_SHAKEHAND_AT_NOISE))
		abort();
	pg_noise_done(&noise);
	serve(key, payload, PG_SHAKEHAND_AT_NOISE + bytes + PG_NOISE_OVERHEAD, false);
}

static void answer_client(const struct pg_noise_key *key, const uint8_t *bytes, size_t n)
{
	struct pg_handshake_client_options options = { .wish = 1 };
	struct pg_handshake_client client;
	uint8_t *copy = malloc(n ? n : 1);

	memcpy(copy, bytes, n);
	memcpy(options.server_public, pg_noise_key_public(key), PG_NOISE_KEY_BYTES);
	if (pg_handshake_client_init(&client, &options, NOW_MS))
		abort();
	if (n >= 2)
		pg_store_be16(copy, client.client_id);
	pg_handshake_client_poll(&client, NOW_MS, 1);
	for (int i = 0; i < 3; i++) {
		pg_handshake_client_receive(&client, copy, (uint32_t)n, NOW_MS);
		pg_handshake_client_poll(&client, NOW_MS, 1);
	}
	if (!client.result)
		abort(); /* nobody guesses message 2 */
	pg_handshake_client_done(&client);
	free(copy);
}

static void read_terms(const uint8_t *text, size_t bytes)
{
	uint8_t *copy = malloc(bytes ? bytes : 1), again[PG_TERMS_MAX];
	struct pg_terms terms, second;

	memcpy(copy, text, bytes);
	if (!pg_terms_read(copy, bytes, &terms)) {
		bytes = pg_terms_write(again, &terms);
		if (pg_terms_read(again, bytes, &second) || second.server_id != terms.server_id ||
		    memcmp(&second.parameters, &terms.parameters, sizeof(terms.parameters)))
			abort();
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct pg_noise_key *key;

	if (!key && pg_noise_key_new(server_private, &key))
		abort();
	if (bytes < 1 || bytes > 2048)
		return 0;
	switch (data[0] % 5) {
	case 0:
	case 1:
		serve(key, data + 1, bytes - 1, data[0] % 5);
		break;
	case 2:
		serve_sealed(key, data + 1, bytes - 1);
		break;
	case 3:
		answer_client(key, data + 1, bytes - 1);
		break;
	default:
		read_terms(data + 1, bytes - 1);
		break;
	}
	return 0;
}
