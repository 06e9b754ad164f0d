// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "keys.h"
#include "packgate/bytes.h"

#define HASH_BYTES   32
#define HASH_BLOCK   64
#define MESSAGE_MAX  64 /* the longest ikm; an info is at most 16 bytes */
#define SESSION_SALT "udpack/1 session"

static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;

static void fetch_sha256(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* One half of HMAC: hash((key ^ pad) || message). */
static bool hash_padded(const uint8_t *key, size_t key_bytes, uint8_t pad, const uint8_t *message,
			size_t bytes, uint8_t ret_hash[HASH_BYTES])
{
	uint8_t text[HASH_BLOCK + MESSAGE_MAX];
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
 * HMAC-SHA256 with a key of at most HASH_BLOCK and a message of at most MESSAGE_MAX bytes. Spelled
 * out over the digest because the library's HMAC() and EVP_Q_mac() look their algorithm up at every
 * call, which takes three times as long as the four hash blocks of a key derivation.
 */
static int hmac(const uint8_t *key, size_t key_bytes, const uint8_t *message, size_t bytes,
		uint8_t ret_hash[HASH_BYTES])
{
	uint8_t inner[HASH_BYTES];
	bool done;

	pthread_once(&sha256_once, fetch_sha256);
	if (!sha256)
		return -EIO;
	done = hash_padded(key, key_bytes, 0x36, message, bytes, inner) &&
	       hash_padded(key, key_bytes, 0x5c, inner, sizeof(inner), ret_hash);
	OPENSSL_cleanse(inner, sizeof(inner));
	return done ? 0 : -EIO;
}

static int extract(const uint8_t *ikm, size_t ikm_bytes, uint8_t ret_prk[HASH_BYTES])
{
	if (ikm_bytes != PG_SECRET_BYTES && ikm_bytes != PG_SPLIT_BYTES)
		return -EINVAL;
	return hmac((const uint8_t *)SESSION_SALT, strlen(SESSION_SALT), ikm, ikm_bytes, ret_prk);
}

/* HKDF-Expand for results of at most one hash; info has a spare byte at its end for the counter. */
static int expand(const uint8_t prk[HASH_BYTES], uint8_t *info, size_t info_bytes, uint8_t *ret,
		  size_t bytes)
{
	uint8_t hash[HASH_BYTES];
	int err;

	info[info_bytes] = 1;
	err = hmac(prk, HASH_BYTES, info, info_bytes + 1, hash);
	if (!err)
		memcpy(ret, hash, bytes);
	OPENSSL_cleanse(hash, sizeof(hash));
	return err;
}

static int expand_label(const uint8_t prk[HASH_BYTES], const char *label, uint8_t *ret,
			size_t bytes)
{
	uint8_t info[16];
	size_t label_bytes = strlen(label);

	memcpy(info, label, label_bytes);
	return expand(prk, info, label_bytes, ret, bytes);
}

int pg_keys_derive(const uint8_t *ikm, size_t ikm_bytes, struct pg_keys *ret_keys)
{
	static const struct {
		const char *iv, *guard;
	} labels[] = {
		[PG_C2S] = { "c2s iv", "c2s guard" },
		[PG_S2C] = { "s2c iv", "s2c guard" },
	};
	struct pg_keys keys;
	int err, i;

	err = extract(ikm, ikm_bytes, keys.prk);
	for (i = PG_C2S; !err && i <= PG_S2C; i++) {
		err = expand_label(keys.prk, labels[i].iv, keys.direction[i].iv,
				   sizeof(keys.direction[i].iv));
		if (!err)
			err = expand_label(keys.prk, labels[i].guard, keys.direction[i].guard,
					   sizeof(keys.direction[i].guard));
	}
	if (!err)
		*ret_keys = keys;
	pg_keys_wipe(&keys);
	return err;
}

int pg_keys_block(const struct pg_keys *keys, enum pg_direction direction, uint32_t stream,
		  uint32_t pack, uint8_t ret_key[PG_AEAD_KEY_BYTES])
{
	const size_t label_bytes = strlen("c2s key");
	uint8_t info[16];

	memcpy(info, direction == PG_C2S ? "c2s key" : "s2c key", label_bytes);
	pg_store_be32(info + label_bytes, stream);
	pg_store_be32(info + label_bytes + 4, pack >> PG_KEY_BLOCK_SHIFT);
	return expand(keys->prk, info, label_bytes + 8, ret_key, PG_AEAD_KEY_BYTES);
}

int pg_keys_secret_id(const uint8_t *ikm, size_t ikm_bytes, uint8_t ret_id[PG_SECRET_ID_BYTES])
{
	uint8_t prk[HASH_BYTES];
	int err;

	err = extract(ikm, ikm_bytes, prk);
	if (!err)
		err = expand_label(prk, "secret id", ret_id, PG_SECRET_ID_BYTES);
	OPENSSL_cleanse(prk, sizeof(prk));
	return err;
}

void pg_keys_guard_words(const struct pg_keys *keys, enum pg_direction direction,
			 uint64_t ret_words[2])
{
	ret_words[0] = pg_load_le64(keys->direction[direction].guard);
	ret_words[1] = pg_load_le64(keys->direction[direction].guard + 8);
}

void pg_keys_wipe(struct pg_keys *keys)
{
	OPENSSL_cleanse(keys, sizeof(*keys));
}
