// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>
#include <openssl/crypto.h>

#include "cleanup.h"
#include "commands.h"
#include "token.h"

#define SECONDS_MAX   4102444800u /* the year 2100 */
#define SECONDS_USUAL 300

static int seconds_option(const struct cli_args *args, const char *name, uint64_t standard,
			  uint64_t *ret_seconds)
{
	const char *text = cli_option(args, name);
	unsigned long long seconds;

	if (!text) {
		*ret_seconds = standard;
		return CLI_DONE;
	}
	if (!cli_number(text, 1, SECONDS_MAX, &seconds))
		return cli_fail(CLI_USAGE, "token: --%s takes 1 to %u seconds, not '%s'", name,
				SECONDS_MAX, text);
	*ret_seconds = seconds;
	return CLI_DONE;
}

static int algorithm_option(const struct cli_args *args, enum pg_token_kind *ret_kind)
{
	const char *word = cli_option(args, "jwt");

	if (word && pg_token_algorithm_parse(word, ret_kind))
		return cli_fail(CLI_USAGE, "token: --jwt takes HS256, RS256 or ES256, not '%s'",
				word);
	return CLI_DONE;
}

static void print_field(const char *name, const char *value)
{
	json_t *object = json_pack("{s:s}", name, value);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	if (cli.json && text)
		puts(text);
	else
		puts(value);
	free(text);
	json_decref(object);
}

/* --- mint --------------------------------------------------------------------------------------
 */

int cmd_token_mint(const struct cli_args *args)
{
	enum pg_token_kind kind = PG_TOKEN_NONE;
	const char *key = cli_option(args, "key");
	struct pg_token_claims claims = {
		.sub = cli_option(args, "sub"),
		.aud = cli_option(args, "aud"),
	};
	PG_FREE char *token = NULL;
	struct pg_error error;
	uint64_t expires, after;
	int rc;

	rc = algorithm_option(args, &kind);
	if (!rc && claims.sub && (!*claims.sub || strlen(claims.sub) >= PG_USER_MAX))
		rc = cli_fail(CLI_USAGE, "token mint: --sub names a user in 1 to %d characters",
			      PG_USER_MAX - 1);
	if (!rc && (kind == PG_TOKEN_NONE || !key || !claims.sub))
		rc = cli_fail(CLI_USAGE, "token mint: --jwt, --key and --sub are needed");
	if (!rc)
		rc = seconds_option(args, "expires", SECONDS_USUAL, &expires);
	if (!rc)
		rc = seconds_option(args, "after", 0, &after);
	if (rc)
		return rc;
	claims.exp_s = (uint64_t)time(NULL) + expires;
	if (after)
		claims.nbf_s = (uint64_t)time(NULL) + after;
	if (pg_token_mint(kind, key, &claims, &token, &error))
		return cli_fail(CLI_FAILED, "token mint: %s", error.text);
	print_field("token", token);
	return CLI_DONE;
}

/* --- verify ------------------------------------------------------------------------------------
 */

/* The token from the command line or, for "-" and without one, from stdin. */
static int read_token(const struct cli_args *args, char text[PG_TOKEN_MAX + 2], size_t *ret_bytes)
{
	const char *operand = args->operand_count ? args->operands[0] : "-";
	size_t bytes;

	if (strcmp(operand, "-")) {
		bytes = strlen(operand);
		if (bytes <= PG_TOKEN_MAX)
			memcpy(text, operand, bytes);
	} else {
		bytes = fread(text, 1, PG_TOKEN_MAX + 2, stdin);
		while (bytes && bytes <= PG_TOKEN_MAX + 1 && text[bytes - 1] &&
		       strchr("\r\n", text[bytes - 1]))
			bytes--;
	}
	if (bytes > PG_TOKEN_MAX)
		return cli_fail(CLI_FAILED, "token verify: a token has at most %d bytes",
				PG_TOKEN_MAX);
	*ret_bytes = bytes;
	return CLI_DONE;
}

static int verify(const struct pg_tokens *tokens, const struct cli_args *args)
{
	const char *aud = cli_option(args, "aud");
	char text[PG_TOKEN_MAX + 2], user[PG_USER_MAX];
	struct pg_error error;
	size_t bytes = 0;
	int rc = read_token(args, text, &bytes);

	if (rc)
		return rc;
	rc = pg_tokens_check(tokens, (uint8_t *)text, bytes, aud ? aud : "", (uint64_t)time(NULL),
			     user, &error);
	OPENSSL_cleanse(text, sizeof(text));
	if (rc)
		return cli_fail(CLI_FAILED, "token verify: %s", error.text);
	print_field("user", user);
	return CLI_DONE;
}

int cmd_token_verify(const struct cli_args *args)
{
	const char *list = cli_option(args, "list"), *key = cli_option(args, "key");
	enum pg_token_kind kind = PG_TOKEN_LIST;
	struct pg_tokens *tokens = NULL;
	struct pg_error error;
	int rc = algorithm_option(args, &kind);

	if (rc)
		return rc;
	if ((kind == PG_TOKEN_LIST) != (list != NULL) || (kind == PG_TOKEN_LIST) != (key == NULL))
		return cli_fail(CLI_USAGE, "token verify: give --jwt and --key, or --list alone");
	if (pg_tokens_open(kind, list ? list : key, cli_option(args, "aud") != NULL, &tokens,
			   &error))
		return cli_fail(CLI_FAILED, "token verify: %s", error.text);
	rc = verify(tokens, args);
	pg_tokens_free(tokens);
	return rc;
}
