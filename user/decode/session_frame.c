// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "frame.h"
#include "session_frame.h"

struct pg_opener {
	const struct pg_secrets *secrets;
	struct pg_aead *aead;
	uint32_t plain_bytes; /* that lie in plain */
	uint8_t plain[PG_FRAME_MAX];
};

int pg_opener_new(const struct pg_secrets *secrets, struct pg_opener **ret_opener,
		  struct pg_error *error)
{
	struct pg_opener *opener = calloc(1, sizeof(*opener));
	int rc;

	if (!opener)
		return pg_error_set(error, -ENOMEM, "out of memory");
	rc = secrets ? pg_aead_new("openssl", &opener->aead, error) : 0;
	if (rc) {
		free(opener);
		return rc;
	}
	opener->secrets = secrets;
	*ret_opener = opener;
	return 0;
}

void pg_opener_wipe(struct pg_opener *opener)
{
	OPENSSL_cleanse(opener->plain, opener->plain_bytes);
	opener->plain_bytes = 0;
}

void pg_opener_free(struct pg_opener *opener)
{
	if (!opener)
		return;
	pg_opener_wipe(opener);
	pg_aead_free(opener->aead);
	free(opener);
}

const char *pg_opcode_label(uint8_t opcode)
{
	switch (opcode) {
#define PG_X(name, number, label, ...) \
	case number:                   \
		return label;
		PG_OPCODES(PG_X)
#undef PG_X
	default:
		return NULL;
	}
}

const char *pg_drop_label(enum pg_drop drop)
{
	switch (drop) {
#define PG_X(name, number, label, ...) \
	case number:                   \
		return label;
		PG_DROPS(PG_X)
#undef PG_X
	default:
		return "none";
	}
}

static enum pg_drop check(const struct pg_span *data, enum pg_direction direction, bool guard,
			  struct pg_decoded_frame *frame)
{
	frame->direction = direction;
	frame->reason = pg_frame_check(data->at, data->at + data->there, data->length, direction,
				       guard, &frame->header);
	return frame->reason;
}

static void judge_guard(const struct pg_session_keys *session, const uint8_t *data,
			struct pg_decoded_frame *frame)
{
	uint64_t words[2];
	__u64 key[2];

	frame->guard = PG_GUARD_NONE;
	if (!frame->header.has_guard)
		return;
	frame->guard = PG_GUARD_UNKNOWN;
	if (!session)
		return;
	pg_keys_guard_words(&session->keys, frame->direction, words);
	key[0] = words[0];
	key[1] = words[1];
	frame->guard = pg_guard_check(key, data, &frame->header) ? PG_GUARD_RIGHT : PG_GUARD_WRONG;
	OPENSSL_cleanse(words, sizeof(words));
	OPENSSL_cleanse(key, sizeof(key));
}

/* Whether the ciphertext, which lies in opener->plain, is authentic; it is the plaintext then. */
static bool run_job(struct pg_opener *opener, const struct pg_session_keys *session,
		    const struct pg_decoded_frame *frame, const uint8_t *data, uint32_t text_bytes)
{
	const struct pg_frame *header = &frame->header;
	struct pg_aead_job job = { .aad = data,
				   .aad_bytes = header->header_bytes,
				   .text = opener->plain,
				   .text_bytes = text_bytes,
				   .tag = opener->plain + text_bytes };
	uint8_t raw[PG_AEAD_KEY_BYTES];
	struct pg_aead_key key;
	bool opened = false;

	pg_frame_nonce(session->keys.direction[frame->direction].iv, header, job.nonce);
	if (!pg_keys_block(&session->keys, frame->direction, header->stream, header->pack, raw) &&
	    !pg_aead_key_init(opener->aead, &key, session->algorithm, raw)) {
		job.key = &key;
		pg_aead_open(opener->aead, &job, 1);
		opened = !job.result;
		pg_aead_key_wipe(&key);
	}
	OPENSSL_cleanse(raw, sizeof(raw));
	return opened;
}

static void open_payload(struct pg_opener *opener, const struct pg_session_keys *session,
			 const uint8_t *data, struct pg_decoded_frame *frame)
{
	uint32_t text_bytes;

	frame->opening = PG_OPENING_NOT_SEALED;
	if (frame->header.opcode != PG_OP_DATA)
		return;
	frame->opening = PG_OPENING_NO_SECRET;
	if (!session)
		return;
	text_bytes = frame->payload_bytes - PG_TAG_BYTES;
	memcpy(opener->plain, frame->payload, frame->payload_bytes);
	opener->plain_bytes = frame->payload_bytes;
	frame->opening = PG_OPENING_TAG_WRONG;
	if (!run_job(opener, session, frame, data, text_bytes))
		return;
	frame->opening = PG_OPENING_OPENED;
	frame->plain = opener->plain;
	frame->plain_bytes = text_bytes;
}

void pg_session_frame_decode(struct pg_opener *opener, bool to_server, bool from_server, bool guard,
			     struct pg_decoded *decoded)
{
	const struct pg_span *data = &decoded->udp.data;
	struct pg_decoded_frame *frame = &decoded->frame;
	const struct pg_session_keys *session = NULL;

	pg_opener_wipe(opener);
	frame->present = true;
	frame->cut = data->there < data->length;
	frame->direction = to_server ? PG_C2S : PG_S2C;
	if (frame->cut)
		return;
	if (check(data, frame->direction, guard, frame) && to_server && from_server &&
	    check(data, PG_S2C, guard, frame))
		check(data, PG_C2S, guard, frame);
	if (frame->reason)
		return;
	frame->timestamp_ms = pg_frame_timestamp_ms(data->at);
	frame->payload = data->at + frame->header.header_bytes;
	frame->payload_bytes =
		frame->header.payload_bytes - (frame->header.has_guard ? PG_GUARD_BYTES : 0);
	if (opener->secrets)
		session = pg_secrets_find(opener->secrets, frame->header.session);
	judge_guard(session, data->at, frame);
	open_payload(opener, session, data->at, frame);
}
