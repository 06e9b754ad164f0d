/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_MACHINE_KEY_H
#define PG_MACHINE_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/*
 * The key that seals what a machine keeps on disk: a file of 32 random bytes, mode 0600. Three
 * keys are derived from it by HKDF-SHA256-Expand (the file is uniformly random, so nothing is
 * extracted): one seals, one hashes, one only tells machine keys apart. The file's own bytes are
 * wiped once they are derived. After opening, a key is constant: any thread may use it.
 */
#define PG_MACHINE_KEY_BYTES	   32
#define PG_MACHINE_KEY_SEAL_BYTES  28 /* what sealing adds: nonce 12 in front, tag 16 behind */
#define PG_MACHINE_KEY_HASH_BYTES  32
#define PG_MACHINE_KEY_CHECK_BYTES 16

struct pg_machine_key;

/*
 * Reads the key at path. Where there is no such file it is made if may_create, atomically: nobody
 * ever sees a part of it, and of two processes that make it at the same time both get the same.
 * Returns 0, -ENOKEY if it is missing and must not be made, -EPERM if others than its owner may
 * read or write the file or it is not the caller's (or root's), -EINVAL if it is no file of 32
 * bytes, or another errno.
 */
int pg_machine_key_open(const char *path, bool may_create, struct pg_machine_key **ret_key,
			struct pg_error *error);

/* Wipes it; NULL is allowed. */
void pg_machine_key_free(struct pg_machine_key *key);

/*
 * AES-256-GCM under a random nonce. label says what is sealed, number whose it is; both are
 * authenticated, so what was sealed for one place opens nowhere else. ret_sealed has room for
 * bytes + PG_MACHINE_KEY_SEAL_BYTES. Returns 0 or a negative errno.
 */
int pg_machine_key_seal(const struct pg_machine_key *key, const char *label, uint64_t number,
			const void *plain, size_t bytes, uint8_t *ret_sealed);

/*
 * sealed_bytes counts nonce and tag; ret_plain has room for the rest, and holds zeros on failure.
 * Returns 0, -EBADMSG if it was changed, moved, or sealed under another key, or -ENOMEM.
 */
int pg_machine_key_unseal(const struct pg_machine_key *key, const char *label, uint64_t number,
			  const uint8_t *sealed, size_t sealed_bytes, void *ret_plain);

/* HMAC-SHA256: the same input gives the same hash, and without the key tells nothing of it. */
int pg_machine_key_hash(const struct pg_machine_key *key, const void *input, size_t bytes,
			uint8_t ret_hash[PG_MACHINE_KEY_HASH_BYTES]);

/* A value that tells machine keys apart and may be stored in the open. */
const uint8_t *pg_machine_key_check(const struct pg_machine_key *key);

#endif
