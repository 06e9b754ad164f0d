/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_NOISE_H
#define PG_NOISE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Noise_NK_25519_ChaChaPoly_SHA256, revision 34 (PROTOCOL section 5), over OpenSSL primitives:
 *
 *	initiator			responder
 *	pg_noise_ask	  -- e, es -->	pg_noise_hear
 *	pg_noise_finish	  <-- e, ee --	pg_noise_answer
 *	pg_noise_split			pg_noise_split
 *
 * Functions that return int give 0, -EBADMSG for a message that does not authenticate or whose
 * X25519 result is zero, -EINVAL for a length that cannot be, or -EIO if the crypto library failed.
 */

#define PG_NOISE_KEY_BYTES   32
#define PG_NOISE_OVERHEAD    48	  /* a message is its payload, an ephemeral key and a tag */
#define PG_NOISE_PAYLOAD_MAX 2048 /* bytes */

/* An X25519 pair. Immutable: any thread may use it. Its private half is wiped when it is freed. */
struct pg_noise_key;

/* private NULL draws a fresh pair. -ENOMEM. Freed with pg_noise_key_free (NULL is ignored). */
int pg_noise_key_new(const uint8_t private[PG_NOISE_KEY_BYTES], struct pg_noise_key **ret_key);
void pg_noise_key_free(struct pg_noise_key *key);
const uint8_t *pg_noise_key_public(const struct pg_noise_key *key);
/* The private half, which the caller wipes. */
int pg_noise_key_private(const struct pg_noise_key *key, uint8_t ret_private[PG_NOISE_KEY_BYTES]);

/* One handshake. Secret: end it with pg_noise_done, which wipes. */
struct pg_noise {
	uint8_t hash[32];  /* h */
	uint8_t chain[32]; /* ck */
	uint8_t key[32];   /* k; its nonce is always 0: each key seals one payload */
	uint8_t remote[PG_NOISE_KEY_BYTES]; /* the other end's ephemeral, or static, public key */
	struct pg_noise_key *ephemeral;	    /* owned; NULL before it is drawn */
};

/*
 * Initiator: writes message 1 of bytes + PG_NOISE_OVERHEAD into ret_message. ephemeral (taken over,
 * on failure too) is NULL but in tests. On failure noise is done.
 */
int pg_noise_ask(struct pg_noise *noise, const void *prologue, size_t prologue_bytes,
		 const uint8_t server_public[PG_NOISE_KEY_BYTES], struct pg_noise_key *ephemeral,
		 const void *payload, size_t bytes, uint8_t *ret_message);

/*
 * Responder: opens message 1 into ret_payload, bytes - PG_NOISE_OVERHEAD long. On failure noise is
 * done and ret_payload wiped.
 */
int pg_noise_hear(struct pg_noise *noise, const void *prologue, size_t prologue_bytes,
		  const struct pg_noise_key *server, const uint8_t *message, size_t bytes,
		  uint8_t *ret_payload);

/* Responder, after pg_noise_hear: writes message 2. Arguments as for pg_noise_ask. */
int pg_noise_answer(struct pg_noise *noise, struct pg_noise_key *ephemeral, const void *payload,
		    size_t bytes, uint8_t *ret_message);

/*
 * Initiator, after pg_noise_ask: opens message 2. On failure noise is as before, so that another
 * answer may follow, and ret_payload is wiped.
 */
int pg_noise_finish(struct pg_noise *noise, const uint8_t *message, size_t bytes,
		    uint8_t *ret_payload);

/* After message 2: k1 || k2, k1 being the initiator's sending key. The caller wipes them. */
int pg_noise_split(const struct pg_noise *noise, uint8_t ret_keys[2 * PG_NOISE_KEY_BYTES]);

/* Wipes and frees; a noise that is all zero, or done, is left as it is. */
void pg_noise_done(struct pg_noise *noise);

#endif
