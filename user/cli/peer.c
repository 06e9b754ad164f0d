// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>

#include "peer.h"

static uint64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int peer_init(struct peer *ret_peer, const struct peer_options *options, struct pg_error *error)
{
	struct peer peer = {
		.session = (uint32_t)options->client_id << 16 | options->server_id,
		.guard = options->guard,
		.algorithm = options->aead,
		.clock_ms = unix_ms,
	};
	int rc;

	if (!options->client_id || !options->server_id)
		return pg_error_set(error, -EINVAL, "client id and server id must not be 0");
	rc = pg_aead_new(NULL, &peer.aead, error);
	if (rc)
		return rc;
	rc = pg_keys_derive(options->secret, PG_SECRET_BYTES, &peer.keys);
	if (rc) {
		pg_aead_free(peer.aead);
		return pg_error_set(error, rc, "derive the session's keys: %s", strerror(-rc));
	}
	*ret_peer = peer;
	OPENSSL_cleanse(&peer, sizeof(peer));
	return 0;
}

void peer_done(struct peer *peer)
{
	pg_aead_free(peer->aead);
	peer->aead = NULL;
	pg_keys_wipe(&peer->keys);
}

bool peer_parse_secret(const char *text, uint8_t ret_secret[PG_SECRET_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t secret[PG_SECRET_BYTES] = { 0 };
	size_t i;

	if (strlen(text) != 2 * PG_SECRET_BYTES ||
	    strspn(text, "0123456789abcdefABCDEF") != 2 * PG_SECRET_BYTES)
		return false;
	for (i = 0; i < 2 * PG_SECRET_BYTES; i++) {
		char lower = text[i] >= 'A' && text[i] <= 'F' ? text[i] + ('a' - 'A') : text[i];

		secret[i / 2] = (uint8_t)(secret[i / 2] << 4 | (strchr(digits, lower) - digits));
	}
	memcpy(ret_secret, secret, sizeof(secret));
	OPENSSL_cleanse(secret, sizeof(secret));
	return true;
}

const char *peer_explain_secret(const char *text, char why[PEER_KEY_WHY])
{
	size_t length = strlen(text), good = strspn(text, "0123456789abcdefABCDEF");

	if (!length)
		return "is empty";
	snprintf(why, PEER_KEY_WHY, "has %zu character%s%s", length, length == 1 ? "" : "s",
		 good < length ? ", not all of them hex digits" : "");
	return why;
}

/* --- sealing and opening -------------------------------------------------------------------- */

/* Runs one AEAD job over a frame's text; its key lives no longer than that. */
static int run_aead(struct peer *peer, const struct pg_frame *frame, uint8_t *data,
		    uint32_t text_bytes, enum pg_direction direction)
{
	struct pg_aead_key key = { 0 };
	struct pg_aead_job job = {
		.key = &key,
		.aad = data,
		.aad_bytes = frame->header_bytes,
		.text = data + frame->header_bytes,
		.text_bytes = text_bytes,
		.tag = data + frame->header_bytes + text_bytes,
	};
	uint8_t raw[PG_AEAD_KEY_BYTES];
	int rc;

	rc = pg_keys_block(&peer->keys, direction, frame->stream, frame->pack, raw);
	if (!rc)
		rc = pg_aead_key_init(peer->aead, &key, peer->algorithm, raw);
	OPENSSL_cleanse(raw, sizeof(raw));
	if (rc)
		return rc;
	pg_frame_nonce(peer->keys.direction[direction].iv, frame, job.nonce);
	if (direction == PG_C2S)
		pg_aead_seal(peer->aead, &job, 1);
	else
		pg_aead_open(peer->aead, &job, 1);
	pg_aead_key_wipe(&key);
	return job.result;
}

static uint64_t next_timestamp(struct peer *peer)
{
	uint64_t now = peer->clock_ms();

	if (now > peer->sent_ms)
		peer->sent_ms = now;
	return peer->sent_ms;
}

int peer_build(struct peer *peer, const struct pg_frame *shape, const void *bytes, uint32_t count,
	       struct peer_frame *ret_frame)
{
	bool sealed = shape->opcode == PG_OP_DATA;
	bool guarded = peer->guard && pg_guard_due(shape->opcode, PG_C2S);
	uint32_t more = (sealed ? PG_TAG_BYTES : 0) + (guarded ? PG_GUARD_BYTES : 0);
	struct pg_frame frame = *shape, checked;
	uint64_t key[2];
	int rc;

	if (count > PG_PAYLOAD_MAX - more)
		return -EMSGSIZE;
	frame.session = peer->session;
	frame.payload_bytes = (uint16_t)(count + more);
	pg_frame_write_header(ret_frame->data, &frame, next_timestamp(peer));
	if (count)
		memcpy(ret_frame->data + frame.header_bytes, bytes, count);
	if (pg_frame_check(ret_frame->data, ret_frame->data + frame.bytes, frame.bytes, PG_C2S,
			   guarded, &checked))
		return -EINVAL;
	rc = sealed ? run_aead(peer, &checked, ret_frame->data, count, PG_C2S) : 0;
	if (rc)
		return rc;
	if (guarded) {
		pg_keys_guard_words(&peer->keys, PG_C2S, key);
		pg_frame_write_guard(ret_frame->data, &checked, key);
		OPENSSL_cleanse(key, sizeof(key));
	}
	ret_frame->bytes = frame.bytes;
	return 0;
}

int peer_data(struct peer *peer, struct peer_series *series, const void *bytes, uint32_t count,
	      struct peer_frame *ret_frame)
{
	struct pg_frame shape = {
		.opcode = PG_OP_DATA,
		.flags = PG_FLAG_PACK | (series->stream ? PG_FLAG_STRE : 0),
		.stream = series->stream,
		.pack = series->next,
	};

	if (series->next > PG_PACK_ID_LAST)
		return -EINVAL;
	series->next++;
	return peer_build(peer, &shape, bytes, count, ret_frame);
}

int peer_control(struct peer *peer, enum pg_opcode opcode, uint32_t stream, uint32_t pack,
		 const void *bytes, uint32_t count, struct peer_frame *ret_frame)
{
	struct pg_frame shape = {
		.opcode = opcode,
		.flags = (stream ? PG_FLAG_STRE : 0) | (pack ? PG_FLAG_PACK : 0),
		.stream = stream,
		.pack = pack,
	};

	if (opcode == PG_OP_DATA)
		return -EINVAL;
	return peer_build(peer, &shape, bytes, count, ret_frame);
}

static bool guard_right(const struct peer *peer, const uint8_t *datagram,
			const struct pg_frame *frame)
{
	uint64_t words[2];
	__u64 key[2];
	bool right;

	if (!frame->has_guard)
		return true;
	pg_keys_guard_words(&peer->keys, PG_S2C, words);
	key[0] = words[0];
	key[1] = words[1];
	right = pg_guard_check(key, datagram, frame);
	OPENSSL_cleanse(words, sizeof(words));
	OPENSSL_cleanse(key, sizeof(key));
	return right;
}

int peer_open(struct peer *peer, uint8_t *datagram, uint32_t bytes,
	      struct peer_message *ret_message)
{
	struct peer_message message;
	struct pg_frame *frame = &message.frame;
	int rc;

	if (pg_frame_check(datagram, datagram + bytes, bytes, PG_S2C, peer->guard, frame))
		return -EPROTO;
	if (frame->session != peer->session)
		return -ENOENT;
	if (!guard_right(peer, datagram, frame))
		return -EBADMSG;
	message.bytes = datagram + frame->header_bytes;
	message.count = frame->payload_bytes - (frame->has_guard ? PG_GUARD_BYTES : 0);
	if (frame->opcode == PG_OP_DATA) {
		message.count -= PG_TAG_BYTES;
		rc = run_aead(peer, frame, datagram, message.count, PG_S2C);
		if (rc)
			return rc;
	}
	*ret_message = message;
	return 0;
}
