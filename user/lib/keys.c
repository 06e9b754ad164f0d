// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <openssl/crypto.h>

#include "hmac.h"
#include "keys.h"
#include "packgate/bytes.h"

#define SESSION_SALT "udpack/1 session"

static int extract(const uint8_t *ikm, size_t ikm_bytes, uint8_t ret_prk[PG_HASH_BYTES])
{
	if (ikm_bytes != PG_SECRET_BYTES && ikm_bytes != PG_SPLIT_BYTES)
		return -EINVAL;
	return pg_hmac((const uint8_t *)SESSION_SALT, strlen(SESSION_SALT), ikm, ikm_bytes,
		       ret_prk);
}

/* HKDF-Expand for results of at most one hash; info has a spare byte at its end for the counter. */
static int expand(const uint8_t prk[PG_HASH_BYTES], uint8_t *info, size_t info_bytes, uint8_t *ret,
		  size_t bytes)
{
	uint8_t hash[PG_HASH_BYTES];
	int err;

	info[info_bytes] = 1;
	err = pg_hmac(prk, PG_HASH_BYTES, info, info_bytes + 1, hash);
	if (!err)
		memcpy(ret, hash, bytes);
	OPENSSL_cleanse(hash, sizeof(hash));
	return err;
}

static int expand_label(const uint8_t prk[PG_HASH_BYTES], const char *label, uint8_t *ret,
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
	uint8_t prk[PG_HASH_BYTES];
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
