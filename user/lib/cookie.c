// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "cookie.h"

int pg_cookie_start(struct pg_cookie_secrets *secrets)
{
	uint64_t fresh[PG_COOKIE_EPOCHS][2];
	bool random = RAND_priv_bytes((uint8_t *)fresh, sizeof(fresh)) == 1;

	if (random)
		memcpy(secrets->key, fresh, sizeof(fresh));
	OPENSSL_cleanse(fresh, sizeof(fresh));
	return random ? 0 : -EIO;
}

int pg_cookie_renew(struct pg_cookie_secrets *secrets)
{
	uint8_t next = secrets->epoch + 1;
	uint64_t fresh[2];

	if (RAND_priv_bytes((uint8_t *)fresh, sizeof(fresh)) != 1)
		return -EIO;
	secrets->key[next % PG_COOKIE_EPOCHS][0] = fresh[0];
	secrets->key[next % PG_COOKIE_EPOCHS][1] = fresh[1];
	__atomic_store_n(&secrets->epoch, next, __ATOMIC_RELEASE);
	OPENSSL_cleanse(fresh, sizeof(fresh));
	return 0;
}

void pg_cookie_make(const struct pg_cookie_secrets *secrets,
		    const struct pg_cookie_subject *subject, uint8_t ret_cookie[PG_COOKIE_BYTES])
{
	uint8_t epoch = __atomic_load_n(&secrets->epoch, __ATOMIC_ACQUIRE);
	const __u64 key[2] = {
		secrets->key[epoch % PG_COOKIE_EPOCHS][0],
		secrets->key[epoch % PG_COOKIE_EPOCHS][1],
	};

	pg_store_le64(ret_cookie, epoch);
	pg_store_le64(ret_cookie + PG_COOKIE_AT_TAG, pg_cookie_tag(key, subject));
}

bool pg_cookie_check(const struct pg_cookie_secrets *secrets,
		     const struct pg_cookie_subject *subject, const uint8_t cookie[PG_COOKIE_BYTES])
{
	return pg_cookie_valid(secrets, subject, pg_load_le64(cookie),
			       pg_load_le64(cookie + PG_COOKIE_AT_TAG));
}
