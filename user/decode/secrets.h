/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SECRETS_H
#define PG_SECRETS_H

#include <stdint.h>

#include "aead.h"
#include "error.h"
#include "keys.h"

/* The secrets of sessions, given by a person who may read what was sealed. */
struct pg_secrets;

#define PG_SECRETS_MAX	    65536 /* sessions */
#define PG_SECRETS_LINE_MAX 512	  /* bytes of a line, its end included */

struct pg_session_keys {
	uint32_t session; /* client id << 16 | server id */
	enum pg_aead_algorithm algorithm;
	struct pg_keys keys;
};

/* Returns 0 or -ENOMEM. Freeing wipes the keys. */
int pg_secrets_new(struct pg_secrets **ret_secrets);
void pg_secrets_free(struct pg_secrets *secrets); /* NULL is ignored */

/*
 * Reads one line: `CLIENT-ID SERVER-ID HEX [AEAD]`, the ids decimal or 0x, HEX the 64 digits of a
 * provisioned secret or the 128 of a handshake's split, AEAD as pg_aead_algorithm_parse takes it
 * (default chacha20-poly1305). Empty lines, and what follows a `#`, are skipped.
 * Returns 0; -EINVAL, -EEXIST (ids given before), -ENOSPC, -ENOMEM or -EIO with a sentence that
 * never repeats the secret. The caller wipes the line.
 */
int pg_secrets_add(struct pg_secrets *secrets, const char *line, struct pg_error *error);

/* The keys of a session, or NULL. Valid until the next pg_secrets_add. */
const struct pg_session_keys *pg_secrets_find(const struct pg_secrets *secrets, uint32_t session);

#endif
