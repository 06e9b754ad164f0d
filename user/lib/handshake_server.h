/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_HANDSHAKE_SERVER_H
#define PG_HANDSHAKE_SERVER_H

#include "cookie.h"
#include "frame.h"
#include "handshake.h"
#include "keys.h"

/*
 * The server's side of opening sessions (PROTOCOL section 5), without sockets, clocks or threads: a
 * shakehand goes in, at most one answer and a session come out. One of these belongs to one thread;
 * where there are several, a shakehand always goes to the one that pg_handshake_digest picks, so
 * that a copy of message 1 from wherever it comes meets the first.
 *
 * Memory is bounded and taken at the start: half_open sessions, and the answers of those that
 * became READY within PG_READY_MS, of which the oldest is forgotten early when there are too many.
 */

#define PG_HALF_OPEN_MS	 5000  /* OPEN ends */
#define PG_READY_MS	 10000 /* answers are repeated for so long after READY */
#define PG_READY_MAX	 65536 /* answers remembered */
#define PG_STATIC_KEYS	 2     /* during a rotation */
#define PG_USER_MAX	 128   /* whom a token names, terminator included */
#define PG_ENDPOINT_NAME 32

enum pg_cookie_demand {
	PG_COOKIE_DEMAND_AUTO,
	PG_COOKIE_DEMAND_ALWAYS,
	PG_COOKIE_DEMAND_NEVER,
};

/* What an operator decides; may change while handshakes are under way. */
struct pg_handshake_rules {
	uint32_t half_open;  /* sessions OPEN at once; fixed at the start, see below */
	uint32_t per_second; /* handshakes that may cost a key agreement */
	enum pg_cookie_demand cookie;
	uint8_t aeads;					 /* bit n = algorithm n is allowed */
	const struct pg_noise_key *keys[PG_STATIC_KEYS]; /* tried in order; NULL = none */
	const struct pg_cookie_secrets *secrets;
	struct pg_parameters parameters; /* announced to clients */
};

/* A shakehand that pg_frame_check took, and where it came from and went to. */
struct pg_shakehand {
	const uint8_t *bytes;
	const struct pg_frame *frame;
	struct pg_cookie_subject from; /* all but client_id_be, which is the frame's */
	const char *endpoint;	       /* its name */
	uint32_t endpoint_index;       /* the caller's */
	uint8_t policy;		       /* of the session, 0 or 1 */
	bool guard;
	bool cookie_due;  /* it must carry a cookie, whatever this server has seen */
	uint64_t now_ms;  /* monotonic */
	uint64_t unix_ms; /* Unix time */
};

/* A session that became OPEN. */
struct pg_handshake_session {
	uint32_t session;
	uint32_t place;			 /* for pg_handshake_server_ready */
	struct pg_terms terms;		 /* as granted */
	struct pg_parameters parameters; /* as the client announced */
	const uint8_t *ikm;		 /* PG_SPLIT_BYTES, valid during the call */
	const char *user;		 /* "" = the token names nobody */
};

struct pg_handshake_ops {
	/*
	 * Whether this token opens a session; writes whom it names, or "". 0 or -EACCES. bytes may
	 * be 0.
	 */
	int (*authorize)(void *owner, const struct pg_shakehand *question, const uint8_t *token,
			 uint32_t bytes, char ret_user[PG_USER_MAX]);
	/* A session id with this client id whose slot is free; 0 = there is none. */
	uint32_t (*choose)(void *owner, uint16_t client_id);
	/* Makes the session; anything but 0 refuses it, and the client is told to try later. */
	int (*opened)(void *owner, const struct pg_shakehand *question,
		      const struct pg_handshake_session *session);
	/* The session stayed OPEN too long: it goes. */
	void (*expired)(void *owner, uint32_t session);
};

/* Shakehands by what became of them: X(name) */
#define PG_HANDSHAKE_COUNTERS(X)                                                \
	X(shakehands)	/* all of them */                                       \
	X(opened)	/* opened a session, not yet confirmed */               \
	X(ready)	/* sessions that their client confirmed */              \
	X(repeated)	/* came again and got the same answer */                \
	X(cookies_sent) /* answered with a cookie */                            \
	X(denied)	/* their token was refused */                           \
	X(busy)		/* told to try later: a bound or the rate is reached */ \
	X(expired)	/* sessions that no client confirmed in time */

struct pg_handshake_counters {
#define PG_X(name, ...) uint64_t name;
	PG_HANDSHAKE_COUNTERS(PG_X)
#undef PG_X
};

struct pg_handshake_server;

/* rules, ops and owner are the caller's and outlive the server. -ENOMEM, -EIO without random bytes.
 */
int pg_handshake_server_new(const struct pg_handshake_rules *rules,
			    const struct pg_handshake_ops *ops, void *owner,
			    struct pg_handshake_server **ret_server);
/* Half-open sessions are forgotten without a word to ops. NULL is ignored. */
void pg_handshake_server_free(struct pg_handshake_server *server);

/* Other rules from now on; half_open may not rise above what it was at the start. */
void pg_handshake_server_set_rules(struct pg_handshake_server *server,
				   const struct pg_handshake_rules *rules);

/*
 * Takes one shakehand. *ret_answer (PG_ANSWER_MAX bytes of room) gets the frame to send back to
 * where it came from, never longer than the shakehand; *ret_bytes its length, 0 = nothing.
 * Returns PG_DROP_NONE, or the reason why it opens no session (an answer may still go out).
 */
enum pg_drop pg_handshake_server_take(struct pg_handshake_server *server,
				      const struct pg_shakehand *question, uint8_t *ret_answer,
				      uint32_t *ret_bytes);

/*
 * The client confirmed: place is that of ops->opened. Gives the secret of the session, which the
 * caller wipes. -ENOENT when it is not OPEN any more.
 */
int pg_handshake_server_ready(struct pg_handshake_server *server, uint32_t place, uint32_t session,
			      uint64_t now_ms, uint8_t ret_ikm[PG_SPLIT_BYTES]);

/* The session ended before it was READY: its place is free. */
void pg_handshake_server_drop(struct pg_handshake_server *server, uint32_t place, uint32_t session);

/* Does what is due. Returns when to call again, monotonic ms, UINT64_MAX = not before a take. */
uint64_t pg_handshake_server_timer(struct pg_handshake_server *server, uint64_t now_ms);

uint32_t pg_handshake_server_half_open(const struct pg_handshake_server *server);
const struct pg_handshake_counters *
pg_handshake_server_counters(const struct pg_handshake_server *server);

/*
 * Whether it must carry a cookie, and carries none that is good. pg_handshake_server_take answers
 * with a cookie then, unless message 1 was answered before.
 */
bool pg_handshake_server_asks_cookie(const struct pg_handshake_server *server,
				     const struct pg_shakehand *question);

/* Whether a shakehand must carry a cookie now. */
bool pg_handshake_server_demands(const struct pg_handshake_server *server, uint64_t now_ms);

/* A word that is the same for every copy of message 1 and that no client can choose: seed is
 * secret. */
uint64_t pg_handshake_digest(const __u64 seed[2], const struct pg_shakehand *question);

#endif
