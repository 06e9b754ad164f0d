/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_KEYS_H
#define PG_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "packgate/wire.h"

/*
 * The key schedule of a session (PROTOCOL section 2, "Keys"): HKDF-SHA256 of the session's secret.
 * Functions that return int give 0, -EINVAL for a wrong length, or -EIO if the crypto library
 * failed, and leave their result untouched on failure.
 */

#define PG_SECRET_BYTES	   32 /* ikm of a provisioned session */
#define PG_SPLIT_BYTES	   64 /* ikm of a handshake: k1 || k2 */
#define PG_SECRET_ID_BYTES 16
#define PG_AEAD_KEY_BYTES  32
#define PG_AEAD_NONCE	   12

/*
 * All that an idle session keeps. The keys of its key blocks come from prk on demand (see
 * key_cache.h). Indexed by enum pg_direction. Secret: wipe with pg_keys_wipe.
 */
struct pg_keys {
	uint8_t prk[32];
	struct {
		uint8_t iv[PG_AEAD_NONCE];
		uint8_t guard[16];
	} direction[2];
};

/*
 * Derives the raw keys of a session from ikm, which is PG_SECRET_BYTES or PG_SPLIT_BYTES long and
 * stays the caller's to wipe.
 */
int pg_keys_derive(const uint8_t *ikm, size_t ikm_bytes, struct pg_keys *ret_keys);

/*
 * The AEAD key of the key block that packId pack of this stream (0 = the session's own series)
 * falls into: one HMAC-SHA256. The caller wipes ret_key.
 */
int pg_keys_block(const struct pg_keys *keys, enum pg_direction direction, uint32_t stream,
		  uint32_t pack, uint8_t ret_key[PG_AEAD_KEY_BYTES]);

/*
 * The public name of a secret: what the store remembers to refuse it a second time. It tells
 * nothing about the secret or its keys. Lengths as for pg_keys_derive.
 */
int pg_keys_secret_id(const uint8_t *ikm, size_t ikm_bytes, uint8_t ret_id[PG_SECRET_ID_BYTES]);

/* The guard key as the two words that siphash.h and the gate's session line take (section 3). */
void pg_keys_guard_words(const struct pg_keys *keys, enum pg_direction direction,
			 uint64_t ret_words[2]);

void pg_keys_wipe(struct pg_keys *keys);

#endif
