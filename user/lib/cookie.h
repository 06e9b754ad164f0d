/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_COOKIE_H
#define PG_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include "packgate/cookie.h"

/*
 * Making, checking and renewing cookies in user space; the arithmetic, which XDP shares, is in
 * packgate/cookie.h. The secrets lie where the gate reads them, so renewing is ordered: a reader
 * sees the old epoch or the new one, whole.
 */

#define PG_COOKIE_EPOCH_MS 60000

/* Draws every secret anew: no cookie made before is valid. -EIO without random bytes. */
int pg_cookie_start(struct pg_cookie_secrets *secrets);

/* Begins the next epoch: every PG_COOKIE_EPOCH_MS. -EIO without random bytes: nothing changes. */
int pg_cookie_renew(struct pg_cookie_secrets *secrets);

void pg_cookie_make(const struct pg_cookie_secrets *secrets,
		    const struct pg_cookie_subject *subject, uint8_t ret_cookie[PG_COOKIE_BYTES]);

/* Whether cookie was made for this subject in this epoch or the last; in constant time. */
bool pg_cookie_check(const struct pg_cookie_secrets *secrets,
		     const struct pg_cookie_subject *subject,
		     const uint8_t cookie[PG_COOKIE_BYTES]);

#endif
