/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_HANDSHAKE_CLIENT_H
#define PG_HANDSHAKE_CLIENT_H

#include "handshake.h"
#include "keys.h"

/*
 * The client's side of opening a session (PROTOCOL section 5), without sockets or clocks: poll
 * gives the shakehand to send, receive takes whatever arrives from the server's address.
 */

#define PG_CONNECT_RETRY_MS 500 /* doubling */
#define PG_CONNECT_TRIES    5

struct pg_handshake_client_options {
	uint8_t server_public[PG_NOISE_KEY_BYTES];
	const void *token; /* read during pg_handshake_client_init alone */
	uint16_t token_bytes;
	uint8_t wish;	      /* enum pg_aead_algorithm, 0 = the server's choice */
	bool allow_unguarded; /* take a session without the guard */
	struct pg_parameters parameters;
};

struct pg_handshake_client {
	/* What to do next. */
	int result;	      /* see pg_handshake_client_receive */
	uint64_t deadline_ms; /* monotonic: call poll by then; UINT64_MAX = the handshake ended */
	uint8_t frame[PG_SHAKEHAND_MAX]; /* the shakehand that poll announced */

	/* What came of it, once result is 0. */
	uint32_t session; /* client id << 16 | server id */
	struct pg_terms terms;
	struct pg_keys keys;

	/* What came meanwhile, from anyone: hints for who reports a failure. */
	bool asked_again; /* a cookie: the server is there */
	bool was_busy;	  /* try later */

	/* Private. */
	struct pg_noise noise;
	uint64_t sent_time_ms;
	uint32_t frame_bytes, interval_ms;
	uint16_t client_id;
	uint8_t tries;
	bool ask_again;	 /* with the cookie that came */
	bool had_cookie; /* this try asked again already */
	bool delayed;	 /* this try was told to wait already */
	bool allow_unguarded;
};

/*
 * Draws the client id and message 1; the first poll gives it at once. client need not be
 * initialised and is ended with pg_handshake_client_done. Returns -EINVAL for a token or wish that
 * cannot be, -EBADMSG for a server key that is no X25519 key, -EIO if the crypto library failed.
 */
int pg_handshake_client_init(struct pg_handshake_client *client,
			     const struct pg_handshake_client_options *options, uint64_t now_ms);

/*
 * Bytes of client->frame to send now, 0 = nothing. now_ms is monotonic, unix_ms the frame's
 * timestamp. Call again at once after each receive, and when deadline_ms has come.
 */
uint32_t pg_handshake_client_poll(struct pg_handshake_client *client, uint64_t now_ms,
				  uint64_t unix_ms);

/*
 * Takes one datagram from the server. What does not verify changes nothing. Returns client->result:
 *	-EINPROGRESS	waiting goes on
 *	0		the session is there: send pg_handshake_client_final, or data
 *	-EACCES		the server refused the token
 *	-EPERM		the server offers no guard, which was not allowed
 *	-EPROTO		the server's authentic answer makes no sense
 *	-ETIMEDOUT	every try went unanswered (set by poll)
 *	-EIO		the crypto library failed
 */
int pg_handshake_client_receive(struct pg_handshake_client *client, const uint8_t *bytes,
				uint32_t n, uint64_t now_ms);

/*
 * Writes the final handshake; again for every answer that comes once more, with a timestamp not
 * below the last. Only when result is 0.
 */
void pg_handshake_client_final(struct pg_handshake_client *client, uint64_t unix_ms,
			       uint8_t ret_frame[PG_FINAL_BYTES]);

/* Wipes everything, the session's keys too. */
void pg_handshake_client_done(struct pg_handshake_client *client);

#endif
