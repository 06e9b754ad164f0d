/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_HMAC_H
#define PG_HMAC_H

#include <stddef.h>
#include <stdint.h>

/*
 * SHA-256 and HMAC-SHA256 of short secrets, for the key schedule and the handshake. The algorithm
 * is looked up once; nothing of key or message stays on the stack. 0, or -EIO if the crypto library
 * failed; the result is then untouched.
 */

#define PG_HASH_BYTES	    32
#define PG_HMAC_KEY_MAX	    64 /* bytes; one block of the hash */
#define PG_HMAC_MESSAGE_MAX 64 /* bytes */

/* -EINVAL for a key or a message that is longer than the bounds above. */
int pg_hmac(const uint8_t *key, size_t key_bytes, const uint8_t *message, size_t bytes,
	    uint8_t ret_hash[PG_HASH_BYTES]);

/* The hash of a || b; either may be empty. ret_hash may overlap a. */
int pg_sha256(const void *a, size_t a_bytes, const void *b, size_t b_bytes,
	      uint8_t ret_hash[PG_HASH_BYTES]);

#endif
