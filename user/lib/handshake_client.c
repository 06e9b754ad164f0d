// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "aead.h"
#include "frame.h"
#include "handshake_client.h"

#define AT_PAYLOAD PG_HEADER_MIN

static int draw_client_id(uint16_t *ret_id)
{
	uint16_t id;

	do {
		if (RAND_bytes((uint8_t *)&id, sizeof(id)) != 1)
			return -EIO;
	} while (!id);
	*ret_id = id;
	return 0;
}

static void write_header(struct pg_handshake_client *client, uint32_t payload_bytes)
{
	struct pg_frame frame = {
		.session = (uint32_t)client->client_id << 16,
		.opcode = PG_OP_SHAKEHAND,
		.payload_bytes = payload_bytes,
	};

	pg_frame_write_header(client->frame, &frame, 0);
	client->frame_bytes = frame.bytes;
}

static int write_question(struct pg_handshake_client *client,
			  const struct pg_handshake_client_options *options)
{
	uint8_t prologue[PG_PROLOGUE_BYTES], text[PG_QUESTION_MAX];
	uint8_t *payload = client->frame + AT_PAYLOAD;
	struct pg_question question = {
		.token = options->token,
		.token_bytes = options->token_bytes,
		.parameters = options->parameters,
	};
	uint32_t bytes = pg_question_write(text, &question);
	int err;

	payload[PG_SHAKEHAND_AT_VERSION] = PG_HANDSHAKE_VERSION;
	payload[PG_SHAKEHAND_AT_WISH] = options->wish;
	pg_handshake_prologue(client->client_id, options->wish, prologue);
	err = pg_noise_ask(&client->noise, prologue, sizeof(prologue), options->server_public, NULL,
			   text, bytes, payload + PG_SHAKEHAND_AT_NOISE);
	OPENSSL_cleanse(text, sizeof(text));
	if (!err)
		write_header(client, PG_SHAKEHAND_AT_NOISE + bytes + PG_NOISE_OVERHEAD);
	return err;
}

int pg_handshake_client_init(struct pg_handshake_client *client,
			     const struct pg_handshake_client_options *options, uint64_t now_ms)
{
	int err;

	memset(client, 0, sizeof(*client));
	client->deadline_ms = UINT64_MAX;
	if (options->token_bytes > PG_TOKEN_MAX ||
	    (options->wish && !pg_aead_algorithm_name(options->wish)))
		return client->result = -EINVAL;
	err = draw_client_id(&client->client_id);
	if (!err)
		err = write_question(client, options);
	client->result = err ? err : -EINPROGRESS;
	client->allow_unguarded = options->allow_unguarded;
	client->interval_ms = PG_CONNECT_RETRY_MS;
	if (!err)
		client->deadline_ms = now_ms;
	return err;
}

static int end(struct pg_handshake_client *client, int result)
{
	client->deadline_ms = UINT64_MAX;
	client->ask_again = false;
	return client->result = result;
}

static uint64_t next_timestamp(struct pg_handshake_client *client, uint64_t unix_ms)
{
	if (unix_ms > client->sent_time_ms)
		client->sent_time_ms = unix_ms;
	return client->sent_time_ms;
}

static uint32_t stamp(struct pg_handshake_client *client, uint64_t unix_ms)
{
	pg_store_be64(client->frame + PG_AT_TIMESTAMP, next_timestamp(client, unix_ms));
	return client->frame_bytes;
}

uint32_t pg_handshake_client_poll(struct pg_handshake_client *client, uint64_t now_ms,
				  uint64_t unix_ms)
{
	if (client->result != -EINPROGRESS)
		return 0;
	if (client->ask_again) {
		client->ask_again = false;
		return stamp(client, unix_ms);
	}
	if (now_ms < client->deadline_ms)
		return 0;
	if (client->tries == PG_CONNECT_TRIES) {
		end(client, -ETIMEDOUT);
		return 0;
	}
	client->deadline_ms = now_ms + ((uint64_t)client->interval_ms << client->tries);
	client->tries++;
	client->had_cookie = client->delayed = false;
	return stamp(client, unix_ms);
}

/* --- answers -----------------------------------------------------------------------------------
 */

static int accept_terms(struct pg_handshake_client *client, uint16_t server_id, const uint8_t *text,
			size_t bytes)
{
	uint8_t split[PG_SPLIT_BYTES];
	struct pg_terms terms;
	int err;

	if (pg_terms_read(text, bytes, &terms))
		return end(client, -EPROTO);
	if (!terms.guard && !client->allow_unguarded)
		return end(client, -EPERM);
	err = pg_noise_split(&client->noise, split);
	if (!err)
		err = pg_keys_derive(split, sizeof(split), &client->keys);
	OPENSSL_cleanse(split, sizeof(split));
	client->terms = terms;
	client->session = (uint32_t)client->client_id << 16 | server_id;
	pg_noise_done(&client->noise);
	return end(client, err);
}

/* Code 0 or 1. The header is not authenticated: one that disagrees with the text is forged. */
static int take_verdict(struct pg_handshake_client *client, const struct pg_frame *frame,
			const uint8_t *payload)
{
	uint8_t text[PG_FRAME_MAX];
	size_t bytes = frame->payload_bytes - 1;
	struct pg_noise before = client->noise;
	uint16_t server_id = frame->session & 0xffff;
	int err;

	err = pg_noise_finish(&client->noise, payload + 1, bytes, text);
	if (err == -EIO)
		return end(client, -EIO);
	if (err)
		return client->result;
	bytes -= PG_NOISE_OVERHEAD;
	if (payload[0] == PG_HANDSHAKE_DENIED && !bytes)
		err = -EACCES;
	else if (payload[0] == PG_HANDSHAKE_DENIED || !bytes ||
		 (bytes >= 6 && pg_load_be16(text + 4) != server_id))
		err = -EINPROGRESS;
	if (err == -EINPROGRESS)
		client->noise = before;
	else
		err = err ? end(client, err) : accept_terms(client, server_id, text, bytes);
	OPENSSL_cleanse(&before, sizeof(before));
	OPENSSL_cleanse(text, sizeof(text));
	return client->result;
}

/* Anyone can send it: one a try is obeyed, and a wrong cookie only costs that try. */
static void take_cookie(struct pg_handshake_client *client, const struct pg_frame *frame,
			const uint8_t *payload)
{
	if (frame->payload_bytes != 1 + PG_COOKIE_BYTES || client->had_cookie || !client->tries)
		return;
	memcpy(client->frame + AT_PAYLOAD + PG_SHAKEHAND_AT_COOKIE, payload + 1, PG_COOKIE_BYTES);
	client->had_cookie = client->ask_again = client->asked_again = true;
}

static void take_busy(struct pg_handshake_client *client, const struct pg_frame *frame,
		      uint64_t now_ms)
{
	if (frame->payload_bytes != 1 || client->delayed || !client->tries)
		return;
	client->delayed = client->was_busy = true;
	client->deadline_ms = now_ms + ((uint64_t)client->interval_ms << client->tries);
}

int pg_handshake_client_receive(struct pg_handshake_client *client, const uint8_t *bytes,
				uint32_t n, uint64_t now_ms)
{
	const uint8_t *payload = bytes + AT_PAYLOAD;
	struct pg_frame frame;

	if (client->result != -EINPROGRESS ||
	    pg_frame_check(bytes, bytes + n, n, PG_S2C, false, &frame) ||
	    frame.opcode != PG_OP_HANDSHAKE || frame.session >> 16 != client->client_id)
		return client->result;
	switch (payload[0]) {
	case PG_HANDSHAKE_ACCEPTED:
	case PG_HANDSHAKE_DENIED:
		return take_verdict(client, &frame, payload);
	case PG_HANDSHAKE_COOKIE:
		take_cookie(client, &frame, payload);
		break;
	case PG_HANDSHAKE_BUSY:
		take_busy(client, &frame, now_ms);
		break;
	default:
		break;
	}
	return client->result;
}

void pg_handshake_client_final(struct pg_handshake_client *client, uint64_t unix_ms,
			       uint8_t ret_frame[PG_FINAL_BYTES])
{
	struct pg_frame frame = {
		.session = client->session,
		.opcode = PG_OP_HANDSHAKE,
		.payload_bytes = 1 + PG_GUARD_BYTES,
	};
	uint64_t key[2];

	pg_frame_write_header(ret_frame, &frame, next_timestamp(client, unix_ms));
	ret_frame[AT_PAYLOAD] = PG_HANDSHAKE_ACCEPTED;
	pg_keys_guard_words(&client->keys, PG_C2S, key);
	pg_frame_write_guard(ret_frame, &frame, key);
	OPENSSL_cleanse(key, sizeof(key));
}

void pg_handshake_client_done(struct pg_handshake_client *client)
{
	pg_noise_done(&client->noise);
	OPENSSL_cleanse(client, sizeof(*client));
	client->deadline_ms = UINT64_MAX;
	client->result = -EINVAL;
}
