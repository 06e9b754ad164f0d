// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "aead.h"
#include "address.h"
#include "commands.h"
#include "output.h"
#include "peer.h"
#include "request.h"

#define SECRET_DIGITS 64
#define FROM_MAX      (1u << 20) /* the agent takes no larger body */

/* A text that may hold secrets. */
struct secret_text {
	char *bytes;
	size_t count, room;
};

static void secret_text_done(struct secret_text *text)
{
	OPENSSL_clear_free(text->bytes, text->room);
}

/* Reads a file or, for "-", stdin; at most max bytes. */
static int read_all(const char *path, size_t max, struct secret_text *text)
{
	PG_FCLOSE FILE *opened = NULL;
	FILE *file = stdin;

	if (strcmp(path, "-")) {
		opened = fopen(path, "re");
		if (!opened)
			return cli_fail(CLI_FAILED, "session add: open %s: %s", path,
					strerror(errno));
		file = opened;
	}
	text->room = max + 2;
	text->bytes = OPENSSL_zalloc(text->room);
	if (!text->bytes)
		return cli_fail(CLI_FAILED, "session add: out of memory");
	setvbuf(file, NULL, _IONBF, 0); /* no second copy */
	text->count = fread(text->bytes, 1, max + 1, file);
	if (ferror(file))
		return cli_fail(CLI_FAILED, "session add: read %s: %s", path, strerror(errno));
	if (text->count > max)
		return cli_fail(CLI_FAILED, "session add: %s holds more than %zu bytes", path, max);
	return CLI_DONE;
}

static int read_secret(const struct cli_args *args, char secret[SECRET_DIGITS + 1])
{
	PG_CLEANUP(secret_text_done) struct secret_text text = { 0 };
	const char *given = cli_option(args, "secret");
	const char *path = cli_option(args, "secret-file");
	char explained[PEER_KEY_WHY];
	int rc;

	if (!given == !path)
		return cli_fail(CLI_USAGE,
				"session add: give the secret by --secret-file or by --secret");
	if (path) {
		rc = read_all(path, 2 * SECRET_DIGITS, &text);
		if (rc)
			return rc;
		while (text.count && strchr(" \t\r\n", text.bytes[text.count - 1]))
			text.bytes[--text.count] = 0;
		given = text.bytes;
	}
	if (strlen(given) != SECRET_DIGITS ||
	    strspn(given, "0123456789abcdefABCDEF") < SECRET_DIGITS)
		return cli_fail(path ? CLI_FAILED : CLI_USAGE,
				"session add: the secret must be 64 hex digits; this one %s; "
				"`packgate keygen --secret` makes one",
				peer_explain_secret(given, explained));
	memcpy(secret, given, SECRET_DIGITS);
	secret[SECRET_DIGITS] = 0;
	return CLI_DONE;
}

static int read_number(const struct cli_args *args, const char *name, unsigned long long max,
		       json_t *root, const char *key)
{
	const char *text = cli_option(args, name);
	unsigned long long number;

	if (!text)
		return cli_fail(CLI_USAGE, "session add: --%s is missing", name);
	if (!cli_number(text, 1, max, &number))
		return cli_fail(CLI_USAGE,
				"session add: --%s must be a number from 1 to %llu, not \"%s\"",
				name, max, text);
	json_object_set_new(root, key, json_integer((json_int_t)number));
	return CLI_DONE;
}

static int read_text(const struct cli_args *args, const char *name, bool needed, json_t *root)
{
	const char *text = cli_option(args, name);

	if (!text && needed)
		return cli_fail(CLI_USAGE, "session add: --%s is missing", name);
	if (text && json_object_set_new(root, name, json_string(text)))
		return cli_fail(CLI_USAGE, "session add: --%s is not UTF-8", name);
	return CLI_DONE;
}

/* Words that are wrong whatever the agent knows are the caller's to mend. */
static int read_peer(const struct cli_args *args, json_t *root)
{
	const char *text = cli_option(args, "peer");
	struct pg_error error;
	struct pg_peer peer;

	if (text && pg_address_parse_peer(text, &peer, &error))
		return cli_fail(CLI_USAGE, "session add: --peer: %s", error.text);
	return read_text(args, "peer", true, root);
}

static int read_aead(const struct cli_args *args, json_t *root)
{
	const char *text = cli_option(args, "aead");
	enum pg_aead_algorithm algorithm;

	if (text && pg_aead_algorithm_parse(text, &algorithm))
		return cli_fail(CLI_USAGE,
				"session add: --aead must be chacha20-poly1305 or aes-256-gcm, not "
				"\"%s\"",
				text);
	return read_text(args, "aead", false, root);
}

static int build_session(const struct cli_args *args, json_t *root)
{
	char secret[SECRET_DIGITS + 1];
	int rc;

	rc = read_text(args, "endpoint", true, root);
	if (!rc)
		rc = read_number(args, "client-id", 65535, root, "client_id");
	if (!rc)
		rc = read_number(args, "server-id", 65535, root, "server_id");
	if (!rc)
		rc = read_peer(args, root);
	if (!rc)
		rc = read_aead(args, root);
	if (!rc && cli_option(args, "expires"))
		rc = read_number(args, "expires", UINT32_MAX, root, "expires");
	if (!rc)
		rc = read_secret(args, secret);
	if (!rc)
		json_object_set_new(root, "secret", json_string(secret));
	OPENSSL_cleanse(secret, sizeof(secret));
	return rc;
}

static void free_json(json_t **root)
{
	json_decref(*root);
}

static int send_sessions(const char *body, size_t bytes, const char *type)
{
	struct request request = { .method = "POST",
				   .path = "/v1/sessions",
				   .body = body,
				   .body_bytes = bytes,
				   .content_type = type };
	ANSWER answer = { 0 };
	const json_t *row;
	size_t i;
	int rc;

	rc = request_send("session add", &request, &answer);
	if (rc)
		return rc;
	if (cli.json)
		return puts(answer.text) < 0 ? CLI_FAILED : CLI_DONE;
	json_array_foreach (json_object_get(answer.root, "sessions"), i, row)
		printf("added %s on %s, handle %lld\n", json_text(row, "session"),
		       json_text(row, "endpoint"), (long long)json_int(row, "handle"));
	return CLI_DONE;
}

static int add_lines(const struct cli_args *args)
{
	PG_CLEANUP(secret_text_done) struct secret_text text = { 0 };
	size_t i;
	int rc;

	for (i = 0; args->options[i].name; i++)
		if (args->values[i] && strcmp(args->options[i].name, "from"))
			return cli_fail(CLI_USAGE, "session add: --%s does not go with --from",
					args->options[i].name);
	rc = read_all(cli_option(args, "from"), FROM_MAX, &text);
	return rc ? rc : send_sessions(text.bytes, text.count, "application/x-ndjson");
}

int cmd_session_add(const struct cli_args *args)
{
	PG_CLEANUP(free_json) json_t *root = NULL;
	char *body;
	int rc;

	if (cli_option(args, "from"))
		return add_lines(args);
	root = json_object();
	rc = build_session(args, root);
	if (rc)
		return rc;
	body = json_dumps(root, JSON_COMPACT);
	if (!body)
		return cli_fail(CLI_FAILED, "session add: out of memory");
	rc = send_sessions(body, strlen(body), NULL);
	OPENSSL_cleanse(body, strlen(body));
	free(body);
	return rc;
}
