/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_AGENT_HANDSHAKE_H
#define PG_AGENT_HANDSHAKE_H

#include "config.h"
#include "error.h"
#include "handshake_server.h"
#include "token.h"

/*
 * What the workers need to open sessions: keys, tokens and rules, read from files by the control
 * side and never changed afterwards. Part of a view; a reload makes another one.
 */
struct pg_handshake_view {
	struct pg_handshake_rules rules; /* of one worker: its share of the bounds */
	struct pg_noise_key *keys[PG_STATIC_KEYS];
	struct pg_tokens *tokens;
	__u64 seed[2]; /* secret; which worker a shakehand goes to */
};

/*
 * A seed for as long as the agent runs: under another one the copies of a shakehand would go to a
 * worker that does not know the answer to the first, and open a second session.
 */
int pg_handshake_seed(__u64 ret_seed[2], struct pg_error *error);

/*
 * Reads what the section handshake names; *ret_view is NULL without one. workers share the bounds.
 * secrets outlive the view; seed is copied.
 */
int pg_handshake_view_load(const struct pg_config *config, uint32_t workers,
			   const struct pg_cookie_secrets *secrets, const __u64 seed[2],
			   struct pg_handshake_view **ret_view, struct pg_error *error);
void pg_handshake_view_free(struct pg_handshake_view *view); /* NULL is ignored */

#endif
