/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TOKEN_H
#define PG_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "handshake_server.h"

/*
 * How a client proves itself in a handshake (PROTOCOL section 5, "Tokens"). Not part of the shared
 * library: only a server judges tokens.
 */

/* X(NAME, number, word in configuration and on the command line); the last three are JWTs */
#define PG_TOKEN_KINDS(X)    \
	X(NONE, 0, "none")   \
	X(LIST, 1, "list")   \
	X(HS256, 2, "HS256") \
	X(RS256, 3, "RS256") \
	X(ES256, 4, "ES256")

enum pg_token_kind {
#define PG_X(name, number, word) PG_TOKEN_##name = number,
	PG_TOKEN_KINDS(PG_X)
#undef PG_X
};

const char *pg_token_kind_name(enum pg_token_kind kind);
/* -EINVAL for a word that is not one of the JWT algorithms. */
int pg_token_algorithm_parse(const char *word, enum pg_token_kind *ret_kind);

#define PG_TOKEN_LIST_BYTES (8u << 20)
#define PG_TOKEN_LIST_MAX   65536 /* tokens of a list */
#define PG_TOKEN_KEY_BYTES  16384 /* of a key file */
#define PG_TOKEN_HMAC_MIN   32	  /* bytes of an HS256 key */

/* What judges tokens: immutable, for any thread. */
struct pg_tokens;

/*
 * Reads what kind needs from path:
 *	none	nothing; path is ignored
 *	list	one token a line, a user's name may follow after blanks; # begins a comment line
 *	HS256	the bytes of the file but for newlines at its end, at least 32; mode as a secret's
 *	RS256	a PEM public key, at least 2048 bits;	ES256: a PEM public key on P-256
 * audience: `aud` must name the endpoint (JWT alone). -EPERM, -EINVAL and errnos with a sentence.
 */
int pg_tokens_open(enum pg_token_kind kind, const char *path, bool audience,
		   struct pg_tokens **ret_tokens, struct pg_error *error);
void pg_tokens_free(struct pg_tokens *tokens); /* NULL is ignored */

/*
 * Whether this token is good at Unix time now_s for the endpoint. 0 with the user's name ("" if
 * none is named), or -EACCES with why in error, which may be NULL. A JWT must carry the configured
 * algorithm, which is looked at before any key is used, and the claims `exp` (above now_s) and
 * `sub` (printable, shorter than PG_USER_MAX); `nbf` is obeyed.
 */
int pg_tokens_check(const struct pg_tokens *tokens, const uint8_t *token, size_t bytes,
		    const char *endpoint, uint64_t now_s, char ret_user[PG_USER_MAX],
		    struct pg_error *error);

/* What a token says; NULL and 0 leave a claim out, but sub and exp_s, which are needed. */
struct pg_token_claims {
	const char *sub;
	const char *aud;
	uint64_t exp_s, nbf_s; /* Unix time */
};

/*
 * Signs a JWT. key_path: as for pg_tokens_open, but a PEM private key for RS256 and ES256. The
 * token is at most PG_TOKEN_MAX bytes (-EMSGSIZE); the caller frees it.
 */
int pg_token_mint(enum pg_token_kind algorithm, const char *key_path,
		  const struct pg_token_claims *claims, char **ret_token, struct pg_error *error);

#endif
