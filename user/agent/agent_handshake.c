// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "agent_handshake.h"
#include "secret_file.h"

#define STREAMS_AT_ONCE 1024 /* PROTOCOL section 7 */

static uint32_t share(uint32_t bound, uint32_t workers)
{
	return (bound + workers - 1) / workers;
}

static void fill_rules(const struct pg_config *config, uint32_t workers,
		       const struct pg_cookie_secrets *secrets, struct pg_handshake_view *view)
{
	static const enum pg_cookie_demand demands[] = {
		[PG_COOKIE_AUTO] = PG_COOKIE_DEMAND_AUTO,
		[PG_COOKIE_ALWAYS] = PG_COOKIE_DEMAND_ALWAYS,
		[PG_COOKIE_NEVER] = PG_COOKIE_DEMAND_NEVER,
	};
	const uint8_t any = 1 << PG_AEAD_CHACHA20_POLY1305 | 1 << PG_AEAD_AES_256_GCM;

	view->rules = (struct pg_handshake_rules){
		.half_open = share(config->limits.half_open, workers),
		.per_second = share(config->limits.handshakes_per_second, workers),
		.cookie = demands[config->handshake.cookie],
		.aeads = config->handshake.aead ? 1u << config->handshake.aead : any,
		.keys = { view->keys[0], view->keys[1] },
		.secrets = secrets,
		.parameters = { config->limits.max_payload, config->limits.idle_seconds,
				STREAMS_AT_ONCE },
	};
}

static int load(const struct pg_config *config, struct pg_handshake_view *view,
		struct pg_error *error)
{
	const struct pg_handshake_config *handshake = &config->handshake;
	int err;

	err = pg_static_key_load(handshake->key, &view->keys[0], error);
	if (!err && *handshake->old_key)
		err = pg_static_key_load(handshake->old_key, &view->keys[1], error);
	if (!err)
		err = pg_tokens_open(handshake->tokens.kind, handshake->tokens.path,
				     handshake->tokens.audience, &view->tokens, error);
	return err;
}

int pg_handshake_seed(__u64 ret_seed[2], struct pg_error *error)
{
	if (RAND_priv_bytes((uint8_t *)ret_seed, 2 * sizeof(*ret_seed)) != 1)
		return pg_error_set(error, -EIO, "OpenSSL gives no random bytes");
	return 0;
}

int pg_handshake_view_load(const struct pg_config *config, uint32_t workers,
			   const struct pg_cookie_secrets *secrets, const __u64 seed[2],
			   struct pg_handshake_view **ret_view, struct pg_error *error)
{
	struct pg_handshake_view *view;
	int err;

	*ret_view = NULL;
	if (!config->handshake.present)
		return 0;
	view = calloc(1, sizeof(*view));
	if (!view)
		return pg_error_set(error, -ENOMEM, "out of memory");
	err = load(config, view, error);
	if (err) {
		pg_handshake_view_free(view);
		return pg_error_prefix(error, err, "handshake");
	}
	view->seed[0] = seed[0];
	view->seed[1] = seed[1];
	fill_rules(config, workers, secrets, view);
	*ret_view = view;
	return 0;
}

void pg_handshake_view_free(struct pg_handshake_view *view)
{
	if (!view)
		return;
	for (int i = 0; i < PG_STATIC_KEYS; i++)
		pg_noise_key_free(view->keys[i]);
	pg_tokens_free(view->tokens);
	OPENSSL_cleanse(view, sizeof(*view));
	free(view);
}
