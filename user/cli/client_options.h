/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_CLIENT_OPTIONS_H
#define PG_CLI_CLIENT_OPTIONS_H

#include "cli.h"
#include "packgate/packgate.h"

/* How `connect` and `perf` reach a server: one list of options, read into libpackgate's. */
#define CLIENT_OPTIONS                                                                       \
	{ "server-key", "KEY",                                                               \
	  "the server's public key: 64 hex digits, or a file that holds them" },             \
		{ "token", "TEXT",                                                           \
		  "what the server asks for; others see it in ps, prefer --token-file" },    \
		{ "token-file", "PATH", "read the token from a file; - is stdin" },          \
		{ "client-id", "ID", "provisioned session: its client id" },                 \
		{ "server-id", "ID", "provisioned session: its server id" },                 \
		{ "secret-file", "PATH", "provisioned session: its secret, 64 hex digits" }, \
		{ "state", "DIRECTORY",                                                      \
		  "where it is remembered what it used (~/.local/state/packgate)" },         \
		{ "end", NULL, "provisioned session: end it for good afterwards" },          \
		{ "source", "ADDRESS", "send from A.B.C.D:PORT or [v6]:PORT" },              \
		{ "aead", "NAME",                                                            \
		  "chacha20-poly1305 or aes-256-gcm (default: the server's choice)" },       \
		{ "allow-unguarded", NULL, "take a session without the guard" },             \
	{                                                                                    \
		"monotonic", NULL, "provisioned session: the endpoint's policy is monotonic" \
	}

struct client_credentials {
	struct pg_client_options options; /* points into the rest */
	uint8_t server_key[32];
	uint8_t secret[32];
	char token[1024];
	char state[4096]; /* the state file's path */
};

/*
 * Whether the session outlives this run: it is provisioned, and --end was not said. Then it is left
 * by pg_client_free alone.
 */
bool client_options_leave(const struct cli_args *args);

/* Returns CLI_DONE, or has said "packgate: verb: sentence". */
int client_options_read(const char *verb, const struct cli_args *args,
			struct client_credentials *ret_credentials);
void client_options_wipe(struct client_credentials *credentials);

#endif
