// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "hmac.h"

#define HASH_BLOCK 64

static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;

static void fetch_sha256(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* One half of HMAC: hash((key ^ pad) || message). */
static bool hash_padded(const uint8_t *key, size_t key_bytes, uint8_t pad, const uint8_t *message,
			size_t bytes, uint8_t ret_hash[PG_HASH_BYTES])
{
	uint8_t text[HASH_BLOCK + PG_HMAC_MESSAGE_MAX];
	bool done;
	size_t i;

	memset(text, pad, HASH_BLOCK);
	for (i = 0; i < key_bytes; i++)
		text[i] ^= key[i];
	memcpy(text + HASH_BLOCK, message, bytes);
	done = EVP_Digest(text, HASH_BLOCK + bytes, ret_hash, NULL, sha256, NULL);
	OPENSSL_cleanse(text, sizeof(text));
	return done;
}

/*
 * Spelled out over the digest because the library's HMAC() and EVP_Q_mac() look their algorithm up
 * at every call, which takes three times as long as the four hash blocks of a key derivation.
 */
int pg_hmac(const uint8_t *key, size_t key_bytes, const uint8_t *message, size_t bytes,
	    uint8_t ret_hash[PG_HASH_BYTES])
{
	uint8_t inner[PG_HASH_BYTES], outer[PG_HASH_BYTES];
	bool done;

	if (key_bytes > PG_HMAC_KEY_MAX || bytes > PG_HMAC_MESSAGE_MAX)
		return -EINVAL;
	pthread_once(&sha256_once, fetch_sha256);
	if (!sha256)
		return -EIO;
	done = hash_padded(key, key_bytes, 0x36, message, bytes, inner) &&
	       hash_padded(key, key_bytes, 0x5c, inner, sizeof(inner), outer);
	if (done)
		memcpy(ret_hash, outer, sizeof(outer));
	OPENSSL_cleanse(inner, sizeof(inner));
	OPENSSL_cleanse(outer, sizeof(outer));
	return done ? 0 : -EIO;
}

int pg_sha256(const void *a, size_t a_bytes, const void *b, size_t b_bytes,
	      uint8_t ret_hash[PG_HASH_BYTES])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t hash[PG_HASH_BYTES];
	bool done;

	pthread_once(&sha256_once, fetch_sha256);
	done = context && sha256 && EVP_DigestInit_ex2(context, sha256, NULL) &&
	       EVP_DigestUpdate(context, a, a_bytes) && EVP_DigestUpdate(context, b, b_bytes) &&
	       EVP_DigestFinal_ex(context, hash, NULL);
	EVP_MD_CTX_free(context);
	if (done)
		memcpy(ret_hash, hash, sizeof(hash));
	OPENSSL_cleanse(hash, sizeof(hash));
	return done ? 0 : -EIO;
}
