/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_AEAD_H
#define PG_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "keys.h"

/*
 * Sealing and opening of frames (PROTOCOL section 2, "Sealing") in batches, over libipsec-mb or
 * OpenSSL. The caller makes nonce and AAD; nothing here knows the frame.
 */

/* X(NAME, number on the wire, name in configuration and on the command line) */
#define PG_AEAD_ALGORITHMS(X)                        \
	X(CHACHA20_POLY1305, 1, "chacha20-poly1305") \
	X(AES_256_GCM, 2, "aes-256-gcm")

enum pg_aead_algorithm {
#define PG_X(name, number, label) PG_AEAD_##name = number,
	PG_AEAD_ALGORITHMS(PG_X)
#undef PG_X
};

#define PG_AEAD_TEXT_MAX 65535 /* bytes of one job */

/* NULL for a number that is no algorithm. */
const char *pg_aead_algorithm_name(unsigned int algorithm);

/* Returns 0, or -EINVAL for a name that is not exactly one of the above. */
int pg_aead_algorithm_parse(const char *name, enum pg_aead_algorithm *ret_algorithm);

/* The AEAD of one thread: a back-end with its scratch memory. */
struct pg_aead;

/*
 * backend is "ipsec-mb" (x86-64 with AES and AVX instructions) or "openssl"; NULL takes the first
 * of these that works. Every back-end has both algorithms, and all give the same bytes. Returns 0;
 * -EINVAL for an unknown name, -ENOTSUP for a back-end that this machine or build does not have,
 * -ENOMEM; all with a sentence. Freed with pg_aead_free, after the keys made with it.
 */
int pg_aead_new(const char *backend, struct pg_aead **ret_aead, struct pg_error *error);
void pg_aead_free(struct pg_aead *aead); /* NULL is ignored */
const char *pg_aead_backend_name(const struct pg_aead *aead);

#define PG_AEAD_EXPANDED_BYTES 1008

/*
 * One key, ready to use in either direction: 1 KiB, so that a cache embeds it and a job touches no
 * other memory. Never copied, and used only by the thread and with the pg_aead it was made with.
 *
 * libipsec-mb keeps in it the AES round keys and the powers of the GHASH key, or the 32 raw bytes
 * of ChaCha20-Poly1305. OpenSSL keeps a pointer to an EVP_CIPHER_CTX, made once by
 * pg_aead_key_init: there the key schedule, too, is paid once, and a job only sets the nonce.
 * Keeping the raw key and keying a shared context per job would need no allocation, but adds two
 * thirds to the time AES-256-GCM takes for a small frame.
 */
struct pg_aead_key {
	union {
		uint8_t expanded[PG_AEAD_EXPANDED_BYTES];
		void *context;
	};
	const struct pg_aead_backend *backend; /* NULL: holds no key */
	enum pg_aead_algorithm algorithm;
} __attribute__((aligned(64)));

/*
 * ret_key need not be initialised, and must not hold a key. Returns 0, -EINVAL for an unknown
 * algorithm, -ENOMEM; on failure ret_key is untouched. key stays the caller's to wipe.
 */
int pg_aead_key_init(struct pg_aead *aead, struct pg_aead_key *ret_key,
		     enum pg_aead_algorithm algorithm, const uint8_t key[PG_AEAD_KEY_BYTES]);

/* Wipes the key and frees what it holds. A key that is all zero, or wiped, is left as it is. */
void pg_aead_key_wipe(struct pg_aead_key *key);

/*
 * One text to seal or open, in place. All pointers are the caller's and stay valid during the
 * call; text may be NULL if text_bytes is 0, aad if aad_bytes is. No job of a batch may write what
 * another one reads.
 */
struct pg_aead_job {
	const struct pg_aead_key *key;
	uint8_t nonce[PG_AEAD_NONCE];
	uint32_t aad_bytes;
	const uint8_t *aad;
	uint8_t *text;
	uint8_t *tag; /* PG_TAG_BYTES: read when opening, written when sealing */
	uint32_t text_bytes;
	int result;
};

/*
 * Run n jobs of any mix of algorithms and keys, in any order, and set the result of each:
 *	0		sealed, or authentic and opened
 *	-EBADMSG	opening: the tag does not fit; text is wiped
 *	-EMSGSIZE	text_bytes above PG_AEAD_TEXT_MAX; nothing was touched
 *	-EINVAL		key is wiped or of another back-end; text, and the tag to write, are wiped
 *	-EIO		the crypto library failed; wiped as for -EINVAL
 * Only a result of 0 leaves a text that may be used. Tags are compared in constant time.
 */
void pg_aead_open(struct pg_aead *aead, struct pg_aead_job *jobs, uint32_t n);
void pg_aead_seal(struct pg_aead *aead, struct pg_aead_job *jobs, uint32_t n);

/*
 * What a back-end is; for aead.c and the back-ends only. run takes the jobs whose result is
 * -EINPROGRESS, all with keys of its own, and leaves 0, -EBADMSG or -EIO; aead.c does the wiping.
 */
struct pg_aead_backend {
	const char *name;
	int (*state_new)(void **ret_state, struct pg_error *error);
	void (*state_free)(void *state);
	int (*key_init)(void *state, struct pg_aead_key *key, enum pg_aead_algorithm algorithm,
			const uint8_t raw[PG_AEAD_KEY_BYTES]);
	void (*key_done)(struct pg_aead_key *key); /* NULL: wiping is enough */
	void (*run)(void *state, struct pg_aead_job *jobs, uint32_t n, bool seal);
};

extern const struct pg_aead_backend pg_aead_backend_openssl;
#ifdef __x86_64__
extern const struct pg_aead_backend pg_aead_backend_ipsecmb;
#endif

#endif
