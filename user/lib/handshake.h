/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_HANDSHAKE_H
#define PG_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "noise.h"
#include "packgate/handshake.h"

/*
 * The texts inside the two Noise messages (PROTOCOL section 5): what the client asks, what the
 * server grants. Readers take bytes that the other end authenticated but may have made badly: they
 * return 0, or -EBADMSG with the result untouched, and never read past the length.
 */

#define PG_TOKEN_MAX		 900  /* bytes */
#define PG_QUESTION_MIN		 190  /* bytes of the plaintext of message 1 */
#define PG_QUESTION_MAX		 1106 /* so that a shakehand's payload is at most 1172 */
#define PG_PARAMETERS_BYTES	 12   /* all three */
#define PG_PARAMETER_PAYLOAD_MIN 64   /* a MAX_PAYLOAD_LEN below it carries nothing of use */
#define PG_TERMS_MAX		 (6 + PG_PARAMETERS_BYTES)

/* X(name, type on the wire); each value is 2 bytes, 0 = not said */
#define PG_PARAMETERS(X)   \
	X(max_payload, 1)  \
	X(idle_seconds, 2) \
	X(streams, 3)

struct pg_parameters {
#define PG_X(name, type) uint16_t name;
	PG_PARAMETERS(PG_X)
#undef PG_X
};

/* The plaintext of message 1. token points into the text that was read. */
struct pg_question {
	const uint8_t *token;
	uint16_t token_bytes;
	struct pg_parameters parameters;
};

/*
 * Writes the question with its padding into out, which holds PG_QUESTION_MAX bytes; returns its
 * length. token_bytes is at most PG_TOKEN_MAX.
 */
uint32_t pg_question_write(uint8_t *out, const struct pg_question *question);
int pg_question_read(const uint8_t *text, size_t bytes, struct pg_question *ret_question);

/* The plaintext of message 2 behind code 0. */
struct pg_terms {
	uint8_t aead;	/* enum pg_aead_algorithm */
	uint8_t policy; /* 0 or 1: PG_POLICY_RELIABLE, PG_POLICY_NEWEST */
	bool guard;
	uint16_t server_id;
	struct pg_parameters parameters;
};

/* Returns the length, at most PG_TERMS_MAX. */
uint32_t pg_terms_write(uint8_t *out, const struct pg_terms *terms);
int pg_terms_read(const uint8_t *text, size_t bytes, struct pg_terms *ret_terms);

/* prologue = "udpack/1" || client id || version || AEAD wish */
#define PG_PROLOGUE_BYTES 12
void pg_handshake_prologue(uint16_t client_id, uint8_t wish, uint8_t ret_text[PG_PROLOGUE_BYTES]);

/* Frame lengths, bytes. */
#define PG_SHAKEHAND_MAX (PG_HEADER_MIN + 1172)
#define PG_ANSWER_MAX	 (PG_HEADER_MIN + 1 + PG_TERMS_MAX + PG_NOISE_OVERHEAD)
#define PG_FINAL_BYTES	 (PG_HEADER_MIN + 1 + PG_GUARD_BYTES)

_Static_assert(PG_ANSWER_MAX <= PG_HEADER_MIN + 256, "no answer is longer than its question");

#endif
