// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <jansson.h>
#include <jwt.h>

#include "cleanup.h"
#include "hmac.h"
#include "secret_file.h"
#include "token.h"

#define RSA_BITS_MIN 2048
#define BLANKS	     " \t\r"

/* Looked up by the hash, so that the time taken tells nothing about a token. */
struct listed {
	uint8_t hash[PG_HASH_BYTES];
	char user[PG_USER_MAX];
};

struct pg_tokens {
	enum pg_token_kind kind;
	bool audience;
	uint8_t *key; /* of a JWT */
	size_t key_bytes;
	struct listed *listed; /* in the order of their hashes */
	size_t listed_count;
};

const char *pg_token_kind_name(enum pg_token_kind kind)
{
	switch (kind) {
#define PG_X(name, number, word) \
	case PG_TOKEN_##name:    \
		return word;
		PG_TOKEN_KINDS(PG_X)
#undef PG_X
	}
	return "unknown";
}

int pg_token_algorithm_parse(const char *word, enum pg_token_kind *ret_kind)
{
	for (enum pg_token_kind kind = PG_TOKEN_HS256; kind <= PG_TOKEN_ES256; kind++)
		if (!strcmp(word, pg_token_kind_name(kind))) {
			*ret_kind = kind;
			return 0;
		}
	return -EINVAL;
}

static jwt_alg_t jwt_alg_of(enum pg_token_kind kind)
{
	switch (kind) {
	case PG_TOKEN_HS256:
		return JWT_ALG_HS256;
	case PG_TOKEN_RS256:
		return JWT_ALG_RS256;
	case PG_TOKEN_ES256:
		return JWT_ALG_ES256;
	default:
		return JWT_ALG_INVAL;
	}
}

static void cleanup_jwt(jwt_t **jwt)
{
	jwt_free(*jwt);
}

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

/* --- a static list -----------------------------------------------------------------------------
 */

static int compare_listed(const void *a, const void *b)
{
	return memcmp(((const struct listed *)a)->hash, ((const struct listed *)b)->hash,
		      PG_HASH_BYTES);
}

static bool printable(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e)
			return false;
	return true;
}

/* One line without its newline: a token, blanks, perhaps a user. */
static int take_line(struct pg_tokens *tokens, char *line)
{
	struct listed *row = &tokens->listed[tokens->listed_count];
	char *token = line + strspn(line, BLANKS), *user;
	size_t bytes = strcspn(token, BLANKS), user_bytes;

	if (!bytes || *token == '#')
		return 0;
	user = token + bytes + strspn(token + bytes, BLANKS);
	user_bytes = strlen(user);
	while (user_bytes && strchr(BLANKS, user[user_bytes - 1]))
		user_bytes--;
	if (bytes > PG_TOKEN_MAX || user_bytes >= PG_USER_MAX || !printable(token, bytes) ||
	    !printable(user, user_bytes) || tokens->listed_count == PG_TOKEN_LIST_MAX)
		return -EINVAL;
	memcpy(row->user, user, user_bytes);
	tokens->listed_count++;
	return pg_sha256(token, bytes, NULL, 0, row->hash);
}

static int read_list(struct pg_tokens *tokens, const char *path, struct pg_error *error)
{
	uint32_t line_number = 0;
	size_t bytes, lines = 1;
	uint8_t *text;
	char *line, *rest;
	int err;

	err = pg_secret_file_read("the token list", path, true, PG_TOKEN_LIST_BYTES, &text, &bytes,
				  error);
	if (err)
		return err;
	for (size_t i = 0; i < bytes; i++)
		lines += text[i] == '\n';
	if (lines > PG_TOKEN_LIST_MAX)
		lines = PG_TOKEN_LIST_MAX;
	if (memchr(text, 0, bytes)) {
		pg_secret_file_free(text, bytes);
		return pg_error_set(error, -EINVAL, "the token list %s holds a zero byte", path);
	}
	tokens->listed = calloc(lines + 1, sizeof(*tokens->listed));
	if (!tokens->listed)
		err = pg_error_set(error, -ENOMEM, "the token list %s: out of memory", path);
	rest = (char *)text;
	while (!err && (line = strsep(&rest, "\n"))) {
		line_number++;
		err = take_line(tokens, line);
		if (err)
			pg_error_set(error, err,
				     "the token list %s, line %u: a line is a token of 1 to %d "
				     "printable characters and perhaps a user of at most %d; at "
				     "most %d lines",
				     path, line_number, PG_TOKEN_MAX, PG_USER_MAX - 1,
				     PG_TOKEN_LIST_MAX);
	}
	pg_secret_file_free(text, bytes);
	if (!err && !tokens->listed_count)
		err = pg_error_set(error, -EINVAL, "the token list %s is empty", path);
	if (!err)
		qsort(tokens->listed, tokens->listed_count, sizeof(*tokens->listed),
		      compare_listed);
	return err;
}

static int check_list(const struct pg_tokens *tokens, const uint8_t *token, size_t bytes,
		      char ret_user[PG_USER_MAX], struct pg_error *error)
{
	const struct listed *found;
	struct listed wanted;

	if (pg_sha256(token, bytes, NULL, 0, wanted.hash))
		return pg_error_set(error, -EACCES, "the token cannot be hashed");
	found = bsearch(&wanted, tokens->listed, tokens->listed_count, sizeof(wanted),
			compare_listed);
	if (!found)
		return pg_error_set(error, -EACCES, "the token is not in the list");
	memcpy(ret_user, found->user, PG_USER_MAX);
	return 0;
}

/* --- keys of JWTs ------------------------------------------------------------------------------
 */

static bool ends_line(char c)
{
	return c == '\n' || c == '\r';
}

static int check_hmac_key(struct pg_tokens *tokens, const char *path, struct pg_error *error)
{
	while (tokens->key_bytes && ends_line(tokens->key[tokens->key_bytes - 1]))
		tokens->key[--tokens->key_bytes] = 0;
	if (tokens->key_bytes < PG_TOKEN_HMAC_MIN)
		return pg_error_set(error, -EINVAL,
				    "the token key %s has %zu bytes, HS256 needs at least %d: "
				    "'packgate keygen --secret' makes one",
				    path, tokens->key_bytes, PG_TOKEN_HMAC_MIN);
	if (memmem(tokens->key, tokens->key_bytes, "-----BEGIN", 10))
		return pg_error_set(error, -EINVAL,
				    "the token key %s is a PEM file: HS256 takes a shared secret",
				    path);
	return 0;
}

/* A key of another type would let a token choose how it is checked. */
static bool fits(const EVP_PKEY *key, enum pg_token_kind kind)
{
	char group[32] = "";

	if (kind == PG_TOKEN_RS256)
		return EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= RSA_BITS_MIN;
	return EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	       !strcmp(group, "prime256v1");
}

static int no_passphrase(char *text, int room, int writing, void *context)
{
	return -1;
}

static int check_pem_key(const struct pg_tokens *tokens, const char *path, bool private,
			 struct pg_error *error)
{
	BIO *bio = BIO_new_mem_buf(tokens->key, (int)tokens->key_bytes);
	EVP_PKEY *key = NULL;
	bool good;

	if (bio)
		key = private ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL)
			      : PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
	good = key && fits(key, tokens->kind);
	EVP_PKEY_free(key);
	BIO_free(bio);
	if (good)
		return 0;
	return pg_error_set(error, -EINVAL, "the token key %s is not a PEM %s key %s", path,
			    private ? "private" : "public",
			    tokens->kind == PG_TOKEN_RS256 ? "of RSA, 2048 bits or more"
							   : "on P-256, as ES256 needs");
}

static int read_key(struct pg_tokens *tokens, const char *path, bool private,
		    struct pg_error *error)
{
	bool hmac = tokens->kind == PG_TOKEN_HS256;
	int err;

	err = pg_secret_file_read("the token key", path, hmac || private, PG_TOKEN_KEY_BYTES,
				  &tokens->key, &tokens->key_bytes, error);
	if (err)
		return err;
	return hmac ? check_hmac_key(tokens, path, error)
		    : check_pem_key(tokens, path, private, error);
}

static int open_tokens(enum pg_token_kind kind, const char *path, bool audience, bool private,
		       struct pg_tokens **ret_tokens, struct pg_error *error)
{
	struct pg_tokens *tokens = calloc(1, sizeof(*tokens));
	int err = 0;

	if (!tokens)
		return pg_error_set(error, -ENOMEM, "out of memory");
	tokens->kind = kind;
	tokens->audience = audience;
	if (kind == PG_TOKEN_LIST)
		err = read_list(tokens, path, error);
	else if (kind != PG_TOKEN_NONE)
		err = read_key(tokens, path, private, error);
	if (err)
		pg_tokens_free(tokens);
	else
		*ret_tokens = tokens;
	return err;
}

int pg_tokens_open(enum pg_token_kind kind, const char *path, bool audience,
		   struct pg_tokens **ret_tokens, struct pg_error *error)
{
	return open_tokens(kind, path, audience, false, ret_tokens, error);
}

void pg_tokens_free(struct pg_tokens *tokens)
{
	if (!tokens)
		return;
	pg_secret_file_free(tokens->key, tokens->key_bytes);
	free(tokens->listed);
	free(tokens);
}

/* --- checking a JWT ----------------------------------------------------------------------------
 */

/* A whole number, or -ENOENT without the claim, -EINVAL for anything else. */
static int get_time(const json_t *claims, const char *claim, uint64_t *ret_seconds)
{
	const json_t *value = json_object_get(claims, claim);

	if (!value)
		return -ENOENT;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return -EINVAL;
	*ret_seconds = json_integer_value(value);
	return 0;
}

static int check_times(const json_t *claims, uint64_t now_s, struct pg_error *error)
{
	uint64_t exp_s, nbf_s;
	int err;

	err = get_time(claims, "exp", &exp_s);
	if (err)
		return pg_error_set(error, -EACCES, "the token %s",
				    err == -ENOENT ? "has no exp: it would be good for ever"
						   : "has an exp that is no whole number");
	if (exp_s <= now_s)
		return pg_error_set(error, -EACCES, "the token expired %llu s ago",
				    (unsigned long long)(now_s - exp_s));
	err = get_time(claims, "nbf", &nbf_s);
	if (err == -EINVAL)
		return pg_error_set(error, -EACCES, "the token has an nbf that is no whole number");
	if (!err && nbf_s > now_s)
		return pg_error_set(error, -EACCES, "the token is not good before %llu s from now",
				    (unsigned long long)(nbf_s - now_s));
	return 0;
}

static bool names_endpoint(const json_t *aud, const char *endpoint)
{
	const json_t *one;
	size_t i;

	if (json_is_string(aud))
		return !strcmp(json_string_value(aud), endpoint);
	json_array_foreach (aud, i, one)
		if (json_is_string(one) && !strcmp(json_string_value(one), endpoint))
			return true;
	return false;
}

static int check_audience(const json_t *claims, const char *endpoint, struct pg_error *error)
{
	if (names_endpoint(json_object_get(claims, "aud"), endpoint))
		return 0;
	return pg_error_set(error, -EACCES, "the token's aud does not name endpoint '%s'",
			    endpoint);
}

static int check_subject(const json_t *claims, char ret_user[PG_USER_MAX], struct pg_error *error)
{
	const char *sub = json_string_value(json_object_get(claims, "sub"));

	if (!sub || !*sub || strlen(sub) >= PG_USER_MAX || !printable(sub, strlen(sub)))
		return pg_error_set(error, -EACCES,
				    "the token's sub must name a user in 1 to %d printable "
				    "characters",
				    PG_USER_MAX - 1);
	strcpy(ret_user, sub);
	return 0;
}

/*
 * The algorithm in the header is what an attacker writes: with the public key's PEM taken as an
 * HMAC secret, anybody could sign. So it is compared before a key comes near the token.
 */
static int check_algorithm(const struct pg_tokens *tokens, const char *text, struct pg_error *error)
{
	PG_CLEANUP(cleanup_jwt) jwt_t *unverified = NULL;
	const char *said, *known;

	if (jwt_decode(&unverified, text, NULL, 0))
		return pg_error_set(error, -EACCES, "the token is not a JWT in compact form");
	said = jwt_get_header(unverified, "alg");
	if (said && !strcmp(said, pg_token_kind_name(tokens->kind)))
		return 0;
	known = said ? jwt_alg_str(jwt_str_alg(said)) : NULL;
	return pg_error_set(error, -EACCES, "the token's algorithm is %s, not %s",
			    known ? known : "unknown", pg_token_kind_name(tokens->kind));
}

static int check_jwt(const struct pg_tokens *tokens, const char *text, const char *endpoint,
		     uint64_t now_s, char ret_user[PG_USER_MAX], struct pg_error *error)
{
	PG_CLEANUP(cleanup_json) json_t *claims = NULL;
	PG_CLEANUP(cleanup_jwt) jwt_t *jwt = NULL;
	PG_FREE char *json = NULL;
	int err;

	err = check_algorithm(tokens, text, error);
	if (err)
		return err;
	if (jwt_decode(&jwt, text, tokens->key, (int)tokens->key_bytes) ||
	    jwt_get_alg(jwt) != jwt_alg_of(tokens->kind))
		return pg_error_set(error, -EACCES, "the token's signature is wrong");
	json = jwt_get_grants_json(jwt, NULL);
	if (json)
		claims = json_loads(json, 0, NULL);
	if (!claims)
		return pg_error_set(error, -EACCES, "the token's claims cannot be read");
	err = check_times(claims, now_s, error);
	if (!err && tokens->audience)
		err = check_audience(claims, endpoint, error);
	return err ? err : check_subject(claims, ret_user, error);
}

int pg_tokens_check(const struct pg_tokens *tokens, const uint8_t *token, size_t bytes,
		    const char *endpoint, uint64_t now_s, char ret_user[PG_USER_MAX],
		    struct pg_error *error)
{
	char text[PG_TOKEN_MAX + 1];
	int err;

	if (tokens->kind == PG_TOKEN_NONE) {
		*ret_user = 0;
		return 0;
	}
	if (!bytes || bytes > PG_TOKEN_MAX || !printable((const char *)token, bytes))
		return pg_error_set(error, -EACCES,
				    "the token must be 1 to %d printable characters", PG_TOKEN_MAX);
	if (tokens->kind == PG_TOKEN_LIST)
		return check_list(tokens, token, bytes, ret_user, error);
	memcpy(text, token, bytes);
	text[bytes] = 0;
	err = check_jwt(tokens, text, endpoint, now_s, ret_user, error);
	OPENSSL_cleanse(text, sizeof(text));
	return err;
}

/* --- minting -----------------------------------------------------------------------------------
 */

static int add_claims(jwt_t *jwt, const struct pg_token_claims *claims)
{
	if (claims->exp_s > LONG_MAX || claims->nbf_s > LONG_MAX)
		return -EINVAL;
	if (jwt_add_grant(jwt, "sub", claims->sub) ||
	    jwt_add_grant_int(jwt, "exp", (long)claims->exp_s) ||
	    (claims->aud && jwt_add_grant(jwt, "aud", claims->aud)) ||
	    (claims->nbf_s && jwt_add_grant_int(jwt, "nbf", (long)claims->nbf_s)))
		return -EINVAL;
	return 0;
}

static int sign(const struct pg_tokens *tokens, const struct pg_token_claims *claims,
		char **ret_token, struct pg_error *error)
{
	PG_CLEANUP(cleanup_jwt) jwt_t *jwt = NULL;
	PG_FREE char *text = NULL;

	if (jwt_new(&jwt))
		return pg_error_set(error, -ENOMEM, "out of memory");
	if (jwt_set_alg(jwt, jwt_alg_of(tokens->kind), tokens->key, (int)tokens->key_bytes) ||
	    add_claims(jwt, claims))
		return pg_error_set(error, -EINVAL, "the token's claims cannot be written");
	text = jwt_encode_str(jwt);
	if (!text)
		return pg_error_set(error, -EIO, "the token cannot be signed with this key");
	if (strlen(text) > PG_TOKEN_MAX)
		return pg_error_set(error, -EMSGSIZE,
				    "the token is %zu bytes long, a shakehand carries %d: shorten "
				    "sub or aud, or take ES256",
				    strlen(text), PG_TOKEN_MAX);
	*ret_token = TAKE_PTR(text);
	return 0;
}

int pg_token_mint(enum pg_token_kind algorithm, const char *key_path,
		  const struct pg_token_claims *claims, char **ret_token, struct pg_error *error)
{
	struct pg_tokens *tokens = NULL;
	int err;

	if (jwt_alg_of(algorithm) == JWT_ALG_INVAL)
		return pg_error_set(error, -EINVAL, "a token is signed with HS256, RS256 or ES256");
	if (!claims->sub || !*claims->sub || strlen(claims->sub) >= PG_USER_MAX ||
	    !printable(claims->sub, strlen(claims->sub)))
		return pg_error_set(error, -EINVAL,
				    "sub must name a user in 1 to %d printable characters",
				    PG_USER_MAX - 1);
	err = open_tokens(algorithm, key_path, false, true, &tokens, error);
	if (err)
		return err;
	err = sign(tokens, claims, ret_token, error);
	pg_tokens_free(tokens);
	return err;
}
