// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include "secret_file.h"
#include "token.h"

#define NOW 1700000000u

static char folder[] = "/tmp/test_token_XXXXXX";
static char path_text[8][64];
static unsigned int path_turn;

static const char *at(const char *name)
{
	char *path = path_text[path_turn++ % 8];

	snprintf(path, sizeof(path_text[0]), "%s/%s", folder, name);
	return path;
}

static void put(const char *name, const void *bytes, size_t n, mode_t mode)
{
	FILE *file = fopen(at(name), "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	fclose(file);
	assert_int_equal(chmod(at(name), mode), 0);
}

static void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text), 0600);
}

static void put_pair(const char *private, const char *public, EVP_PKEY *pair)
{
	FILE *file = fopen(at(private), "w");

	assert_non_null(pair);
	assert_true(PEM_write_PrivateKey(file, pair, NULL, NULL, 0, NULL, NULL));
	fclose(file);
	chmod(at(private), 0600);
	file = fopen(at(public), "w");
	assert_true(PEM_write_PUBKEY(file, pair));
	fclose(file);
	chmod(at(public), 0644); /* whatever the umask */
	EVP_PKEY_free(pair);
}

static const char hmac_key[] = "0123456789abcdef0123456789abcdef";

static int setup(void **state)
{
	assert_non_null(mkdtemp(folder));
	put_text("hs", hmac_key);
	put_text("hs2", "0123456789abcdef0123456789abcdeF\n");
	put("hs_zero", "0123456789abcdef0123456789abcde\0\n", 33, 0600);
	put_text("hs_short", "0123456789abcdef0123456789abcde\n\n");
	put("hs_open", hmac_key, 32, 0644);
	put_pair("rs", "rs.pub", EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048));
	put_pair("rs_small", "rs_small.pub", EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024));
	put_pair("es", "es.pub", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"));
	put_pair("es384", "es384.pub", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"));
	put_text("empty", "# nothing\n\n");
	put_text("list", "# who\nfirst alice\n  second\t\tbob the builder \r\n\nthird\nfirst2 x");
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

/* --- what a token may say ----------------------------------------------------------------------
 */

static size_t base64url(const void *bytes, size_t n, char *text)
{
	size_t length = EVP_EncodeBlock((unsigned char *)text, bytes, (int)n);

	while (length && text[length - 1] == '=')
		text[--length] = 0;
	for (char *c = text; *c; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
	return length;
}

/* A JWT made by hand, with HMAC-SHA256 under key; signed 0: no signature at all. */
static void forge(char *token, const char *header, const char *claims, const void *key,
		  size_t key_bytes)
{
	unsigned char hash[32];
	unsigned int n;
	size_t at_end = base64url(header, strlen(header), token);

	token[at_end++] = '.';
	at_end += base64url(claims, strlen(claims), token + at_end);
	if (key) {
		HMAC(EVP_sha256(), key, (int)key_bytes, (unsigned char *)token, at_end, hash, &n);
		token[at_end++] = '.';
		base64url(hash, n, token + at_end);
	} else {
		strcpy(token + at_end, ".");
	}
}

static const struct pg_tokens *opened(enum pg_token_kind kind, const char *name, bool audience)
{
	static struct pg_tokens *tokens;
	struct pg_error error = { "" };

	pg_tokens_free(tokens);
	tokens = NULL;
	if (name && pg_tokens_open(kind, at(name), audience, &tokens, &error))
		fail_msg("%s", error.text);
	return tokens;
}

static int check(const struct pg_tokens *tokens, const char *token, char *ret_user,
		 struct pg_error *error)
{
	strcpy(ret_user, "untouched");
	return pg_tokens_check(tokens, (const uint8_t *)token, strlen(token), "game", NOW, ret_user,
			       error);
}

static const struct {
	const char *name, *claims;
	const char *user; /* NULL = refused */
	const char *why;
} claim_rows[] = {
	{ "good", "{\"sub\":\"alice\",\"exp\":1700000001,\"aud\":\"game\"}", "alice", "" },
	{ "aud in an array", "{\"sub\":\"a\",\"exp\":1700000001,\"aud\":[\"chat\",\"game\"]}", "a",
	  "" },
	{ "nbf now", "{\"sub\":\"a\",\"exp\":1700000001,\"aud\":\"game\",\"nbf\":1700000000}", "a",
	  "" },
	{ "unknown claims", "{\"x\":[1],\"sub\":\"a\",\"exp\":1700000001,\"aud\":\"game\"}", "a",
	  "" },
	{ "expired now", "{\"sub\":\"a\",\"exp\":1700000000,\"aud\":\"game\"}", NULL, "expired" },
	{ "expired long ago", "{\"sub\":\"a\",\"exp\":0,\"aud\":\"game\"}", NULL, "expired" },
	{ "negative exp", "{\"sub\":\"a\",\"exp\":-5,\"aud\":\"game\"}", NULL, "whole number" },
	{ "no exp", "{\"sub\":\"a\",\"aud\":\"game\"}", NULL, "no exp" },
	{ "exp null", "{\"sub\":\"a\",\"exp\":null,\"aud\":\"game\"}", NULL, "whole number" },
	{ "exp a text", "{\"sub\":\"a\",\"exp\":\"1700000001\",\"aud\":\"game\"}", NULL,
	  "whole number" },
	{ "exp a fraction", "{\"sub\":\"a\",\"exp\":1700000001.5,\"aud\":\"game\"}", NULL,
	  "whole number" },
	{ "exp true", "{\"sub\":\"a\",\"exp\":true,\"aud\":\"game\"}", NULL, "whole number" },
	{ "exp beyond 64 bits", "{\"sub\":\"a\",\"exp\":99999999999999999999,\"aud\":\"game\"}",
	  NULL, "compact form" },
	{ "nbf later", "{\"sub\":\"a\",\"exp\":1700000009,\"aud\":\"game\",\"nbf\":1700000001}",
	  NULL, "not good before" },
	{ "nbf a text", "{\"sub\":\"a\",\"exp\":1700000009,\"aud\":\"game\",\"nbf\":\"0\"}", NULL,
	  "nbf" },
	{ "no aud", "{\"sub\":\"a\",\"exp\":1700000001}", NULL, "aud" },
	{ "other aud", "{\"sub\":\"a\",\"exp\":1700000001,\"aud\":\"gam\"}", NULL, "aud" },
	{ "aud a number", "{\"sub\":\"a\",\"exp\":1700000001,\"aud\":1}", NULL, "aud" },
	{ "aud nested", "{\"sub\":\"a\",\"exp\":1700000001,\"aud\":[[\"game\"]]}", NULL, "aud" },
	{ "aud empty", "{\"sub\":\"a\",\"exp\":1700000001,\"aud\":[]}", NULL, "aud" },
	{ "no sub", "{\"exp\":1700000001,\"aud\":\"game\"}", NULL, "sub" },
	{ "empty sub", "{\"sub\":\"\",\"exp\":1700000001,\"aud\":\"game\"}", NULL, "sub" },
	{ "sub a number", "{\"sub\":7,\"exp\":1700000001,\"aud\":\"game\"}", NULL, "sub" },
	{ "sub with a newline", "{\"sub\":\"a\\nb\",\"exp\":1700000001,\"aud\":\"game\"}", NULL,
	  "sub" },
	{ "no object", "[1]", NULL, "" },
	{ "no JSON", "nonsense", NULL, "compact form" },
	{ "empty", "", NULL, "compact form" },
};

static void test_claims(void **state)
{
	const struct pg_tokens *tokens = opened(PG_TOKEN_HS256, "hs", true);
	char token[PG_TOKEN_MAX], user[PG_USER_MAX];

	for (size_t i = 0; i < sizeof(claim_rows) / sizeof(claim_rows[0]); i++) {
		struct pg_error error = { "" };
		int result;

		forge(token, "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", claim_rows[i].claims, hmac_key,
		      32);
		result = check(tokens, token, user, &error);
		if (result != (claim_rows[i].user ? 0 : -EACCES) ||
		    !strstr(error.text, claim_rows[i].why))
			fail_msg("%s: %d %s", claim_rows[i].name, result, error.text);
		assert_string_equal(user, claim_rows[i].user ? claim_rows[i].user : "untouched");
		assert_int_equal(check(tokens, token, user, NULL), result);
	}
}

static void test_long_sub(void **state)
{
	const struct pg_tokens *tokens = opened(PG_TOKEN_HS256, "hs", false);
	char token[PG_TOKEN_MAX], user[PG_USER_MAX], claims[256], sub[PG_USER_MAX + 1];

	for (size_t n = PG_USER_MAX - 1; n <= PG_USER_MAX; n++) {
		memset(sub, 's', n);
		sub[n] = 0;
		snprintf(claims, sizeof(claims), "{\"sub\":\"%s\",\"exp\":1700000001}", sub);
		forge(token, "{\"alg\":\"HS256\"}", claims, hmac_key, 32);
		assert_int_equal(check(tokens, token, user, NULL), n == PG_USER_MAX ? -EACCES : 0);
	}
}

/* --- who may sign, and how ---------------------------------------------------------------------
 */

#define GOOD "{\"sub\":\"mallory\",\"exp\":1700000001,\"aud\":\"game\"}"

static const struct {
	const char *name, *header;
	enum pg_token_kind configured;
	const char *key;	 /* of the server */
	const char *signed_with; /* file whose bytes are the HMAC key; NULL = unsigned */
	const char *why;
} attacks[] = {
	{ "none", "{\"alg\":\"none\"}", PG_TOKEN_HS256, "hs", NULL, "algorithm is none" },
	{ "none, RS256", "{\"alg\":\"none\"}", PG_TOKEN_RS256, "rs.pub", NULL,
	  "algorithm is none" },
	{ "None", "{\"alg\":\"None\"}", PG_TOKEN_HS256, "hs", NULL, "" },
	{ "NONE, ES256", "{\"alg\":\"NONE\"}", PG_TOKEN_ES256, "es.pub", NULL, "" },
	{ "no alg", "{}", PG_TOKEN_HS256, "hs", NULL, "" },
	{ "alg null", "{\"alg\":null}", PG_TOKEN_HS256, "hs", NULL, "" },
	{ "none, but signed", "{\"alg\":\"none\"}", PG_TOKEN_HS256, "hs", "hs", "" },
	{ "RS256's public key as HS256's secret", "{\"alg\":\"HS256\"}", PG_TOKEN_RS256, "rs.pub",
	  "rs.pub", "algorithm is HS256, not RS256" },
	{ "ES256's public key as HS256's secret", "{\"alg\":\"HS256\"}", PG_TOKEN_ES256, "es.pub",
	  "es.pub", "algorithm is HS256, not ES256" },
	{ "HS384", "{\"alg\":\"HS384\"}", PG_TOKEN_HS256, "hs", "hs", "algorithm is HS384" },
	{ "RS256 said, HMAC made", "{\"alg\":\"RS256\"}", PG_TOKEN_RS256, "rs.pub", "rs.pub",
	  "signature" },
	{ "ES256 said, HMAC made", "{\"alg\":\"ES256\"}", PG_TOKEN_ES256, "es.pub", "es.pub",
	  "signature" },
	{ "HS256, another key", "{\"alg\":\"HS256\"}", PG_TOKEN_HS256, "hs", "hs2", "signature" },
	{ "HS256, empty signature", "{\"alg\":\"HS256\"}", PG_TOKEN_HS256, "hs", NULL, "" },
};

static void test_attacks(void **state)
{
	char token[PG_TOKEN_MAX], user[PG_USER_MAX];

	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		struct pg_error error = { "" };
		uint8_t *key = NULL;
		size_t bytes = 0;

		if (attacks[i].signed_with)
			assert_int_equal(pg_secret_file_read("a key", at(attacks[i].signed_with),
							     false, 4096, &key, &bytes, NULL),
					 0);
		forge(token, attacks[i].header, GOOD, key, bytes);
		pg_secret_file_free(key, bytes);
		if (check(opened(attacks[i].configured, attacks[i].key, false), token, user,
			  &error) != -EACCES)
			fail_msg("%s: taken", attacks[i].name);
		if (!strstr(error.text, attacks[i].why))
			fail_msg("%s: %s", attacks[i].name, error.text);
	}
}

static const struct {
	enum pg_token_kind kind;
	const char *private, *public;
} algorithms[] = {
	{ PG_TOKEN_HS256, "hs", "hs" },
	{ PG_TOKEN_RS256, "rs", "rs.pub" },
	{ PG_TOKEN_ES256, "es", "es.pub" },
};

static void test_mint(void **state)
{
	struct pg_token_claims claims = { "alice", "game", NOW + 60, NOW };
	char user[PG_USER_MAX];

	for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
		const struct pg_tokens *tokens;
		struct pg_error error = { "" };
		char *token = NULL;

		if (pg_token_mint(algorithms[i].kind, at(algorithms[i].private), &claims, &token,
				  &error))
			fail_msg("%s", error.text);
		for (size_t j = 0; j < sizeof(algorithms) / sizeof(algorithms[0]); j++) {
			tokens = opened(algorithms[j].kind, algorithms[j].public, true);
			assert_int_equal(check(tokens, token, user, &error), i == j ? 0 : -EACCES);
		}
		tokens = opened(algorithms[i].kind, algorithms[i].public, true);
		assert_int_equal(check(tokens, token, user, &error), 0);
		assert_string_equal(user, "alice");
		for (char *c = token; *c; c++) {
			char *end = token + strlen(token) - 1, was = *c;

			if (c == end)
				break; /* its low bits are padding */
			*c = was == 'A' ? 'B' : 'A';
			if (!check(tokens, token, user, NULL))
				fail_msg("%s: character %zu does not matter",
					 pg_token_kind_name(algorithms[i].kind), c - token);
			*c = was;
		}
		free(token);
	}
	opened(PG_TOKEN_NONE, NULL, false);
}

static void test_mint_refuses(void **state)
{
	struct pg_token_claims claims = { "alice", NULL, NOW + 60, 0 };
	char long_aud[PG_TOKEN_MAX], *token = NULL;

	assert_int_equal(pg_token_mint(PG_TOKEN_NONE, at("hs"), &claims, &token, NULL), -EINVAL);
	assert_int_equal(pg_token_mint(PG_TOKEN_LIST, at("hs"), &claims, &token, NULL), -EINVAL);
	assert_int_equal(pg_token_mint(PG_TOKEN_RS256, at("es"), &claims, &token, NULL), -EINVAL);
	assert_int_equal(pg_token_mint(PG_TOKEN_RS256, at("rs.pub"), &claims, &token, NULL),
			 -EPERM);
	claims.sub = "";
	assert_int_equal(pg_token_mint(PG_TOKEN_HS256, at("hs"), &claims, &token, NULL), -EINVAL);
	claims.sub = "a";
	claims.exp_s = UINT64_MAX;
	assert_int_equal(pg_token_mint(PG_TOKEN_HS256, at("hs"), &claims, &token, NULL), -EINVAL);
	claims.exp_s = NOW;
	memset(long_aud, 'a', sizeof(long_aud) - 1);
	long_aud[sizeof(long_aud) - 1] = 0;
	claims.aud = long_aud;
	assert_int_equal(pg_token_mint(PG_TOKEN_HS256, at("hs"), &claims, &token, NULL), -EMSGSIZE);
	assert_null(token);
}

/* --- the other kinds, and files ----------------------------------------------------------------
 */

static void test_none(void **state)
{
	struct pg_tokens *tokens = NULL;
	char user[PG_USER_MAX];

	assert_int_equal(pg_tokens_open(PG_TOKEN_NONE, "", false, &tokens, NULL), 0);
	assert_int_equal(check(tokens, "", user, NULL), 0);
	assert_string_equal(user, "");
	assert_int_equal(check(tokens, "anything", user, NULL), 0);
	pg_tokens_free(tokens);
	pg_tokens_free(NULL);
}

static const struct {
	const char *token, *user; /* NULL = refused */
} list_rows[] = {
	{ "first", "alice" }, { "second", "bob the builder" },
	{ "third", "" },      { "first2", "x" },
	{ "", NULL },	      { "firs", NULL },
	{ "first ", NULL },   { "first alice", NULL },
	{ "alice", NULL },    { "#", NULL },
	{ "# who", NULL },
};

static void test_list(void **state)
{
	const struct pg_tokens *tokens = opened(PG_TOKEN_LIST, "list", false);
	char user[PG_USER_MAX];

	for (size_t i = 0; i < sizeof(list_rows) / sizeof(list_rows[0]); i++) {
		int result = check(tokens, list_rows[i].token, user, NULL);

		if (result != (list_rows[i].user ? 0 : -EACCES))
			fail_msg("'%s': %d", list_rows[i].token, result);
		assert_string_equal(user, list_rows[i].user ? list_rows[i].user : "untouched");
	}
	assert_int_equal(
		pg_tokens_check(tokens, (const uint8_t *)"first\0", 6, "game", NOW, user, NULL),
		-EACCES);
}

static const struct {
	const char *name;
	enum pg_token_kind kind;
	const char *file;
	int result;
} file_rows[] = {
	{ "missing", PG_TOKEN_LIST, "nowhere", -ENOENT },
	{ "a folder", PG_TOKEN_LIST, ".", -EINVAL },
	{ "empty list", PG_TOKEN_LIST, "empty", -EINVAL },
	{ "key open to others", PG_TOKEN_HS256, "hs_open", -EPERM },
	{ "list open to others", PG_TOKEN_LIST, "hs_open", -EPERM },
	{ "31 bytes", PG_TOKEN_HS256, "hs_short", -EINVAL },
	{ "32 bytes and a newline", PG_TOKEN_HS256, "hs2", 0 },
	{ "32 bytes, the last is zero", PG_TOKEN_HS256, "hs_zero", 0 },
	{ "PEM as a secret", PG_TOKEN_HS256, "rs", -EINVAL },
	{ "no PEM", PG_TOKEN_RS256, "hs", -EINVAL },
	{ "small RSA", PG_TOKEN_RS256, "rs_small.pub", -EINVAL },
	{ "EC for RS256", PG_TOKEN_RS256, "es.pub", -EINVAL },
	{ "RSA for ES256", PG_TOKEN_ES256, "rs.pub", -EINVAL },
	{ "P-384 for ES256", PG_TOKEN_ES256, "es384.pub", -EINVAL },
	{ "private for public", PG_TOKEN_ES256, "es", -EINVAL },
	{ "public", PG_TOKEN_ES256, "es.pub", 0 },
};

static void test_files(void **state)
{
	for (size_t i = 0; i < sizeof(file_rows) / sizeof(file_rows[0]); i++) {
		struct pg_tokens *tokens = NULL;
		struct pg_error error = { "" };
		int result = pg_tokens_open(file_rows[i].kind, at(file_rows[i].file), false,
					    &tokens, &error);

		if (result != file_rows[i].result)
			fail_msg("%s: %d %s", file_rows[i].name, result, error.text);
		assert_true(!!*error.text == !!result);
		if (result)
			assert_null(tokens);
		pg_tokens_free(tokens);
	}
}

static void test_bad_lists(void **state)
{
	static const char zero[] = "one\0two\n";
	struct pg_tokens *tokens = NULL;
	char line[PG_TOKEN_MAX + 3];

	put("zero", zero, sizeof(zero) - 1, 0600);
	assert_int_equal(pg_tokens_open(PG_TOKEN_LIST, at("zero"), false, &tokens, NULL), -EINVAL);
	put_text("umlaut", "t\303\266ken\n");
	assert_int_equal(pg_tokens_open(PG_TOKEN_LIST, at("umlaut"), false, &tokens, NULL),
			 -EINVAL);
	memset(line, 't', sizeof(line));
	put("longest", line, PG_TOKEN_MAX, 0600);
	assert_int_equal(pg_tokens_open(PG_TOKEN_LIST, at("longest"), false, &tokens, NULL), 0);
	pg_tokens_free(tokens);
	put("too_long", line, PG_TOKEN_MAX + 1, 0600);
	assert_int_equal(pg_tokens_open(PG_TOKEN_LIST, at("too_long"), false, &tokens, NULL),
			 -EINVAL);
}

static void test_static_key(void **state)
{
	static const char digits[] =
		"4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893";
	struct pg_noise_key *key = NULL;
	char text[80];

	snprintf(text, sizeof(text), "%s\n", digits);
	put_text("static", text);
	assert_int_equal(pg_static_key_load(at("static"), &key, NULL), 0);
	assert_int_equal(pg_noise_key_public(key)[0], 0x31);
	pg_noise_key_free(key);
	put("static_open", text, 65, 0644);
	assert_int_equal(pg_static_key_load(at("static_open"), &key, NULL), -EPERM);
	text[5] = 'g';
	put_text("static_bad", text);
	assert_int_equal(pg_static_key_load(at("static_bad"), &key, NULL), -EINVAL);
	put("static_short", digits, 63, 0600);
	assert_int_equal(pg_static_key_load(at("static_short"), &key, NULL), -EINVAL);
	snprintf(text, sizeof(text), "%s", digits);
	put("static_zero", text, 65, 0600);
	assert_int_equal(pg_static_key_load(at("static_zero"), &key, NULL), -EINVAL);
	put("static_empty", "", 0, 0600);
	assert_int_equal(pg_static_key_load(at("static_empty"), &key, NULL), -EINVAL);
	assert_int_equal(pg_static_key_load(at("nowhere"), &key, NULL), -ENOENT);
}

static void test_names(void **state)
{
	enum pg_token_kind kind = PG_TOKEN_NONE;

	assert_int_equal(pg_token_algorithm_parse("ES256", &kind), 0);
	assert_int_equal(kind, PG_TOKEN_ES256);
	assert_int_equal(pg_token_algorithm_parse("es256", &kind), -EINVAL);
	assert_int_equal(pg_token_algorithm_parse("none", &kind), -EINVAL);
	assert_int_equal(pg_token_algorithm_parse("list", &kind), -EINVAL);
	assert_string_equal(pg_token_kind_name(99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claims),	     cmocka_unit_test(test_long_sub),
		cmocka_unit_test(test_attacks),	     cmocka_unit_test(test_mint),
		cmocka_unit_test(test_mint_refuses), cmocka_unit_test(test_none),
		cmocka_unit_test(test_list),	     cmocka_unit_test(test_files),
		cmocka_unit_test(test_bad_lists),    cmocka_unit_test(test_static_key),
		cmocka_unit_test(test_names),
	};
	int failed = cmocka_run_group_tests(tests, setup, teardown);

	opened(PG_TOKEN_NONE, NULL, false);
	return failed;
}
