// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aead.h"
#include "cleanup.h"
#include "client_options.h"
#include "peer.h"

/* A whole small file without its last line end; opened < 0 is stdin. */
static int read_opened(const char *verb, const char *path, int opened, char *text, size_t room)
{
	size_t used = 0;
	ssize_t n;

	while ((n = read(opened < 0 ? STDIN_FILENO : opened, text + used, room - used)) > 0) {
		used += (size_t)n;
		if (used == room)
			return cli_fail(CLI_FAILED, "%s: %s is longer than %zu bytes", verb, path,
					room - 1);
	}
	if (n < 0)
		return cli_fail(CLI_FAILED, "%s: read %s: %s", verb, path, strerror(errno));
	while (used && strchr("\r\n \t", text[used - 1]))
		used--;
	text[used] = 0;
	return CLI_DONE;
}

static int read_text(const char *verb, const char *path, char *text, size_t room)
{
	PG_CLOSE int opened = -1;

	if (strcmp(path, "-")) {
		opened = open(path, O_RDONLY | O_CLOEXEC);
		if (opened < 0)
			return cli_fail(CLI_FAILED, "%s: open %s: %s", verb, path, strerror(errno));
	}
	return read_opened(verb, path, opened, text, room);
}

/*
 * What is neither a key nor a file that opens. A secret that was mistyped is not shown: only a word
 * that has something of a path is.
 */
static int refuse_key(const char *verb, const char *name, const char *given)
{
	char explained[PEER_KEY_WHY];
	int err = errno;

	if (strpbrk(given, "/.") || (err != ENOENT && err != ENAMETOOLONG))
		return cli_fail(CLI_FAILED,
				"%s: --%s: open %s: %s; it takes a key of 64 hex digits, or the "
				"file that holds one",
				verb, name, given, strerror(err));
	return cli_fail(CLI_USAGE,
			"%s: --%s takes a key of 64 hex digits, or the file that holds one: what "
			"is given %s and is no file",
			verb, name, peer_explain_secret(given, explained));
}

/* Hex digits as they are, or the file that holds them. */
static int read_key(const char *verb, const char *name, const char *given, uint8_t key[32])
{
	char text[256], explained[PEER_KEY_WHY];
	PG_CLOSE int opened = -1;
	int rc;

	if (peer_parse_secret(given, key))
		return CLI_DONE;
	if (strcmp(given, "-")) {
		opened = open(given, O_RDONLY | O_CLOEXEC);
		if (opened < 0)
			return refuse_key(verb, name, given);
	}
	rc = read_opened(verb, given, opened, text, sizeof(text));
	if (!rc && !peer_parse_secret(text, key))
		rc = cli_fail(CLI_FAILED,
			      "%s: --%s takes a key of 64 hex digits, or the file that holds one: "
			      "what is in %s %s",
			      verb, name, given, peer_explain_secret(text, explained));
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}

static int read_id(const char *verb, const struct cli_args *args, const char *name,
		   uint16_t *ret_id)
{
	const char *text = cli_option(args, name);
	unsigned long long id;

	if (!text)
		return cli_fail(CLI_USAGE, "%s: --%s is missing for a provisioned session", verb,
				name);
	if (!cli_number(text, 1, 65535, &id))
		return cli_fail(CLI_USAGE, "%s: --%s must be 1 to 65535, not \"%s\"", verb, name,
				text);
	*ret_id = (uint16_t)id;
	return CLI_DONE;
}

bool client_options_leave(const struct cli_args *args)
{
	return cli_option(args, "secret-file") && !cli_option(args, "end");
}

static int make_directories(const char *verb, char *path)
{
	for (char *at = path + 1; *at; at++)
		if (*at == '/') {
			*at = 0;
			mkdir(path, 0700);
			*at = '/';
		}
	if (mkdir(path, 0700) && errno != EEXIST)
		return cli_fail(CLI_FAILED, "%s: create %s: %s; --state names another directory",
				verb, path, strerror(errno));
	return CLI_DONE;
}

static int state_directory(const char *verb, const struct cli_args *args, char *path, size_t room)
{
	const char *given = cli_option(args, "state"), *home = getenv("HOME");
	const char *states = getenv("XDG_STATE_HOME");
	int used;

	if (given)
		used = snprintf(path, room, "%s", given);
	else if (states && *states == '/')
		used = snprintf(path, room, "%s/packgate", states);
	else if (home && *home == '/')
		used = snprintf(path, room, "%s/.local/state/packgate", home);
	else
		return cli_fail(CLI_USAGE,
				"%s: $HOME is not set: --state DIRECTORY says where to remember "
				"what this session used",
				verb);
	if (!used || (size_t)used >= room)
		return cli_fail(CLI_USAGE, "%s: --state: no such directory", verb);
	return make_directories(verb, path);
}

/*
 * The state of a session lies under the name of its secret, so that every run of this user finds
 * it, whatever file the secret is read from.
 */
static int find_state(const char *verb, const struct cli_args *args,
		      struct client_credentials *credentials)
{
	char *path = credentials->state;
	uint8_t id[PG_SECRET_ID_BYTES];
	int rc = state_directory(verb, args, path, sizeof(credentials->state) - 2 * sizeof(id) - 2);

	if (rc)
		return rc;
	if (pg_keys_secret_id(credentials->secret, PG_SECRET_BYTES, id))
		return cli_fail(CLI_FAILED, "%s: the crypto library failed", verb);
	path += strlen(path);
	*path++ = '/';
	for (size_t i = 0; i < sizeof(id); i++)
		path += snprintf(path, 3, "%02x", id[i]);
	credentials->options.state = credentials->state;
	return CLI_DONE;
}

static int read_provisioned(const char *verb, const struct cli_args *args,
			    struct client_credentials *credentials)
{
	struct pg_client_options *options = &credentials->options;
	int rc = read_id(verb, args, "client-id", &options->client_id);

	if (!rc)
		rc = read_id(verb, args, "server-id", &options->server_id);
	options->newest = cli_option(args, "monotonic") != NULL;
	if (!rc)
		rc = read_key(verb, "secret-file", cli_option(args, "secret-file"),
			      credentials->secret);
	options->secret = credentials->secret;
	return rc ? rc : find_state(verb, args, credentials);
}

static int read_in_band(const char *verb, const struct cli_args *args,
			struct client_credentials *credentials)
{
	const char *token = cli_option(args, "token"), *path = cli_option(args, "token-file");
	struct pg_client_options *options = &credentials->options;
	int rc;

	rc = read_key(verb, "server-key", cli_option(args, "server-key"), credentials->server_key);
	if (rc)
		return rc;
	options->server_key = credentials->server_key;
	if (token && path)
		return cli_fail(CLI_USAGE, "%s: --token and --token-file exclude each other", verb);
	if (token && strlen(token) >= sizeof(credentials->token))
		return cli_fail(CLI_USAGE, "%s: the token is too long", verb);
	if (token)
		strcpy(credentials->token, token);
	if (path)
		rc = read_text(verb, path, credentials->token, sizeof(credentials->token));
	options->token = credentials->token;
	options->token_bytes = strlen(credentials->token);
	return rc;
}

int client_options_read(const char *verb, const struct cli_args *args,
			struct client_credentials *ret_credentials)
{
	bool in_band = cli_option(args, "server-key"), secret = cli_option(args, "secret-file");
	bool own = cli_option(args, "state") || cli_option(args, "end") ||
		   cli_option(args, "monotonic");
	const char *aead = cli_option(args, "aead");
	enum pg_aead_algorithm algorithm = 0;

	memset(ret_credentials, 0, sizeof(*ret_credentials));
	ret_credentials->options = (struct pg_client_options)PG_CLIENT_OPTIONS;
	ret_credentials->options.server = args->operands[0];
	ret_credentials->options.source = cli_option(args, "source");
	ret_credentials->options.unguarded = cli_option(args, "allow-unguarded") != NULL;
	if (in_band == secret)
		return cli_fail(CLI_USAGE,
				"%s: give the server's public key by --server-key, or a "
				"provisioned session by --client-id, --server-id and --secret-file",
				verb);
	if (own && !secret)
		return cli_fail(CLI_USAGE,
				"%s: --state, --end and --monotonic belong to a provisioned "
				"session",
				verb);
	if (aead && pg_aead_algorithm_parse(aead, &algorithm))
		return cli_fail(CLI_USAGE,
				"%s: --aead must be chacha20-poly1305 or aes-256-gcm, not \"%s\"",
				verb, aead);
	ret_credentials->options.aead = aead ? (int)algorithm : PG_CLIENT_AEAD_ANY;
	return in_band ? read_in_band(verb, args, ret_credentials)
		       : read_provisioned(verb, args, ret_credentials);
}

void client_options_wipe(struct client_credentials *credentials)
{
	OPENSSL_cleanse(credentials, sizeof(*credentials));
}
