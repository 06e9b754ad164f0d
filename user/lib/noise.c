// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "cleanup.h"
#include "hmac.h"
#include "noise.h"

#define PROTOCOL_NAME "Noise_NK_25519_ChaChaPoly_SHA256"
#define TAG_BYTES     16
#define NONCE_BYTES   12

_Static_assert(sizeof(PROTOCOL_NAME) - 1 == PG_HASH_BYTES, "the name fills the first hash");

struct pg_noise_key {
	EVP_PKEY *pair;
	uint8_t public[PG_NOISE_KEY_BYTES];
};

/* --- keys --------------------------------------------------------------------------------------
 */

int pg_noise_key_new(const uint8_t private[PG_NOISE_KEY_BYTES], struct pg_noise_key **ret_key)
{
	struct pg_noise_key *key = calloc(1, sizeof(*key));
	size_t bytes = sizeof(key->public);

	if (!key)
		return -ENOMEM;
	key->pair = private ? EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private,
							   PG_NOISE_KEY_BYTES)
			    : EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	if (!key->pair || EVP_PKEY_get_raw_public_key(key->pair, key->public, &bytes) != 1) {
		pg_noise_key_free(key);
		return -EIO;
	}
	*ret_key = key;
	return 0;
}

void pg_noise_key_free(struct pg_noise_key *key)
{
	if (!key)
		return;
	EVP_PKEY_free(key->pair);
	free(key);
}

const uint8_t *pg_noise_key_public(const struct pg_noise_key *key)
{
	return key->public;
}

int pg_noise_key_private(const struct pg_noise_key *key, uint8_t ret_private[PG_NOISE_KEY_BYTES])
{
	size_t bytes = PG_NOISE_KEY_BYTES;

	return EVP_PKEY_get_raw_private_key(key->pair, ret_private, &bytes) == 1 ? 0 : -EIO;
}

/* X25519 of our private and their public key; -EBADMSG for a result of zero. */
static int agree(const struct pg_noise_key *ours, const uint8_t theirs[PG_NOISE_KEY_BYTES],
		 uint8_t ret_shared[PG_NOISE_KEY_BYTES])
{
	EVP_PKEY *peer =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, theirs, PG_NOISE_KEY_BYTES);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, ours->pair, NULL);
	static const uint8_t zero[PG_NOISE_KEY_BYTES];
	size_t bytes = PG_NOISE_KEY_BYTES;
	int err = -EIO;

	/* the library itself refuses a zero result, and points that can only give it */
	if (peer && context && EVP_PKEY_derive_init(context) == 1)
		err = EVP_PKEY_derive_set_peer_ex(context, peer, 0) == 1 &&
				      EVP_PKEY_derive(context, ret_shared, &bytes) == 1 &&
				      CRYPTO_memcmp(ret_shared, zero, sizeof(zero))
			      ? 0
			      : -EBADMSG;
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(peer);
	return err;
}

/* --- the symmetric state -----------------------------------------------------------------------
 */

static int mix_hash(struct pg_noise *noise, const void *data, size_t bytes)
{
	return pg_sha256(noise->hash, sizeof(noise->hash), data, bytes, noise->hash);
}

/* Noise's HKDF with two results of 32 bytes. */
static int hkdf(const uint8_t chain[32], const uint8_t *ikm, size_t ikm_bytes, uint8_t ret_1[32],
		uint8_t ret_2[32])
{
	static const uint8_t one = 1;
	uint8_t secret[32], text[33];
	int err;

	err = pg_hmac(chain, 32, ikm, ikm_bytes, secret);
	if (!err)
		err = pg_hmac(secret, sizeof(secret), &one, 1, text);
	text[32] = 2;
	if (!err)
		err = pg_hmac(secret, sizeof(secret), text, sizeof(text), ret_2);
	if (!err)
		memcpy(ret_1, text, 32);
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(text, sizeof(text));
	return err;
}

static int mix_key(struct pg_noise *noise, const struct pg_noise_key *ours,
		   const uint8_t theirs[PG_NOISE_KEY_BYTES])
{
	uint8_t shared[PG_NOISE_KEY_BYTES];
	int err;

	err = agree(ours, theirs, shared);
	if (!err)
		err = hkdf(noise->chain, shared, sizeof(shared), noise->chain, noise->key);
	OPENSSL_cleanse(shared, sizeof(shared));
	return err;
}

static pthread_once_t chacha_once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *chacha;

static void fetch_chacha(void)
{
	chacha = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
}

/*
 * One pass of the AEAD with nonce 0 and the hash as associated data. tag is written when sealing,
 * read when opening.
 */
static int run_aead(const struct pg_noise *noise, bool seal, const uint8_t *from, size_t bytes,
		    uint8_t *to, uint8_t *tag)
{
	static const uint8_t nonce[NONCE_BYTES];
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int n, err = -EIO;

	pthread_once(&chacha_once, fetch_chacha);
	if (context && chacha &&
	    EVP_CipherInit_ex2(context, chacha, noise->key, nonce, seal, NULL) == 1 &&
	    (seal || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1) &&
	    EVP_CipherUpdate(context, NULL, &n, noise->hash, sizeof(noise->hash)) == 1 &&
	    (!bytes || EVP_CipherUpdate(context, to, &n, from, (int)bytes) == 1))
		err = EVP_CipherFinal_ex(context, to + bytes, &n) == 1 ? 0 : -EBADMSG;
	if (!err && seal &&
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag) != 1)
		err = -EIO;
	EVP_CIPHER_CTX_free(context);
	return err;
}

static int seal_and_hash(struct pg_noise *noise, const void *payload, size_t bytes, uint8_t *to)
{
	int err = run_aead(noise, true, payload, bytes, to, to + bytes);

	return err ? err : mix_hash(noise, to, bytes + TAG_BYTES);
}

/* bytes with the tag; the payload that does not authenticate is wiped. */
static int open_and_hash(struct pg_noise *noise, const uint8_t *from, size_t bytes, uint8_t *to)
{
	size_t text_bytes = bytes - TAG_BYTES;
	uint8_t tag[TAG_BYTES];
	int err;

	memcpy(tag, from + text_bytes, sizeof(tag));
	err = run_aead(noise, false, from, text_bytes, to, tag);
	if (err)
		OPENSSL_cleanse(to, text_bytes);
	return err ? err : mix_hash(noise, from, bytes);
}

/* Up to the pre-message of NK: the responder's static public key. */
static int start(struct pg_noise *noise, const void *prologue, size_t prologue_bytes,
		 const uint8_t server_public[PG_NOISE_KEY_BYTES])
{
	int err;

	memset(noise, 0, sizeof(*noise));
	memcpy(noise->hash, PROTOCOL_NAME, sizeof(noise->hash));
	memcpy(noise->chain, noise->hash, sizeof(noise->chain));
	err = mix_hash(noise, prologue, prologue_bytes);
	return err ? err : mix_hash(noise, server_public, PG_NOISE_KEY_BYTES);
}

/* The token `e` of a message that is written; takes ephemeral over, or draws one. */
static int write_e(struct pg_noise *noise, struct pg_noise_key *ephemeral, uint8_t *ret_message)
{
	int err;

	noise->ephemeral = ephemeral;
	if (!ephemeral) {
		err = pg_noise_key_new(NULL, &noise->ephemeral);
		if (err)
			return err;
	}
	memcpy(ret_message, noise->ephemeral->public, PG_NOISE_KEY_BYTES);
	return mix_hash(noise, ret_message, PG_NOISE_KEY_BYTES);
}

/* --- the messages ------------------------------------------------------------------------------
 */

int pg_noise_ask(struct pg_noise *noise, const void *prologue, size_t prologue_bytes,
		 const uint8_t server_public[PG_NOISE_KEY_BYTES], struct pg_noise_key *ephemeral,
		 const void *payload, size_t bytes, uint8_t *ret_message)
{
	int err;

	if (bytes > PG_NOISE_PAYLOAD_MAX) {
		memset(noise, 0, sizeof(*noise));
		pg_noise_key_free(ephemeral);
		return -EINVAL;
	}
	err = start(noise, prologue, prologue_bytes, server_public);
	if (err)
		pg_noise_key_free(ephemeral);
	else
		err = write_e(noise, ephemeral, ret_message);
	if (!err)
		err = mix_key(noise, noise->ephemeral, server_public);
	if (!err)
		err = seal_and_hash(noise, payload, bytes, ret_message + PG_NOISE_KEY_BYTES);
	if (err)
		pg_noise_done(noise);
	return err;
}

int pg_noise_hear(struct pg_noise *noise, const void *prologue, size_t prologue_bytes,
		  const struct pg_noise_key *server, const uint8_t *message, size_t bytes,
		  uint8_t *ret_payload)
{
	int err;

	memset(noise, 0, sizeof(*noise));
	if (bytes < PG_NOISE_OVERHEAD || bytes > PG_NOISE_PAYLOAD_MAX + PG_NOISE_OVERHEAD)
		return -EINVAL;
	err = start(noise, prologue, prologue_bytes, server->public);
	memcpy(noise->remote, message, PG_NOISE_KEY_BYTES);
	if (!err)
		err = mix_hash(noise, message, PG_NOISE_KEY_BYTES);
	if (!err)
		err = mix_key(noise, server, noise->remote);
	if (!err)
		err = open_and_hash(noise, message + PG_NOISE_KEY_BYTES, bytes - PG_NOISE_KEY_BYTES,
				    ret_payload);
	if (err)
		pg_noise_done(noise);
	return err;
}

int pg_noise_answer(struct pg_noise *noise, struct pg_noise_key *ephemeral, const void *payload,
		    size_t bytes, uint8_t *ret_message)
{
	int err;

	if (bytes > PG_NOISE_PAYLOAD_MAX) {
		pg_noise_key_free(ephemeral);
		pg_noise_done(noise);
		return -EINVAL;
	}
	err = write_e(noise, ephemeral, ret_message);
	if (!err)
		err = mix_key(noise, noise->ephemeral, noise->remote);
	if (!err)
		err = seal_and_hash(noise, payload, bytes, ret_message + PG_NOISE_KEY_BYTES);
	if (err)
		pg_noise_done(noise);
	return err;
}

int pg_noise_finish(struct pg_noise *noise, const uint8_t *message, size_t bytes,
		    uint8_t *ret_payload)
{
	struct pg_noise next = *noise;
	int err;

	if (bytes < PG_NOISE_OVERHEAD || bytes > PG_NOISE_PAYLOAD_MAX + PG_NOISE_OVERHEAD)
		return -EINVAL;
	memcpy(next.remote, message, PG_NOISE_KEY_BYTES);
	err = mix_hash(&next, message, PG_NOISE_KEY_BYTES);
	if (!err)
		err = mix_key(&next, next.ephemeral, next.remote);
	if (!err)
		err = open_and_hash(&next, message + PG_NOISE_KEY_BYTES, bytes - PG_NOISE_KEY_BYTES,
				    ret_payload);
	if (!err)
		*noise = next;
	OPENSSL_cleanse(&next, sizeof(next));
	return err;
}

int pg_noise_split(const struct pg_noise *noise, uint8_t ret_keys[2 * PG_NOISE_KEY_BYTES])
{
	static const uint8_t nothing[1];
	uint8_t keys[2 * PG_NOISE_KEY_BYTES];
	int err = hkdf(noise->chain, nothing, 0, keys, keys + PG_NOISE_KEY_BYTES);

	if (!err)
		memcpy(ret_keys, keys, sizeof(keys));
	OPENSSL_cleanse(keys, sizeof(keys));
	return err;
}

void pg_noise_done(struct pg_noise *noise)
{
	pg_noise_key_free(noise->ephemeral);
	OPENSSL_cleanse(noise, sizeof(*noise));
}
