// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check_files.h"
#include "cleanup.h"
#include "machine_key.h"
#include "secret_file.h"
#include "tcp_gateway_internal.h"
#include "token.h"

struct findings {
	void (*say)(void *context, bool wrong, const char *sentence);
	void *context;
	size_t wrong;
};

/* A file that the key of the configuration names; err: what reading it gave. */
static void note(struct findings *findings, int err, struct pg_error *error, const char *key)
{
	if (!err)
		return;
	pg_error_prefix(error, err, "%s", key);
	findings->say(findings->context, true, error->text);
	findings->wrong++;
}

static void check_static_key(struct findings *findings, const char *key, const char *path)
{
	struct pg_noise_key *read = NULL;
	struct pg_error error;

	note(findings, pg_static_key_load(path, &read, &error), &error, key);
	pg_noise_key_free(read);
}

static void check_handshake(struct findings *findings, const struct pg_handshake_config *handshake)
{
	struct pg_tokens *tokens = NULL;
	struct pg_error error;
	int err;

	check_static_key(findings, "handshake.key", handshake->key);
	if (*handshake->old_key)
		check_static_key(findings, "handshake.old_key", handshake->old_key);
	err = pg_tokens_open(handshake->tokens.kind, handshake->tokens.path,
			     handshake->tokens.audience, &tokens, &error);
	note(findings, err, &error, "handshake.tokens");
	pg_tokens_free(tokens);
}

/* The agent serves a certificate out of its time, but no client takes it. */
static void check_times(struct findings *findings, const struct pg_entrance_config *entrance,
			SSL_CTX *context)
{
	const X509 *certificate = SSL_CTX_get0_certificate(context);
	const char *what = NULL;
	struct pg_error warning;

	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		what = "has expired";
	else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
		what = "is not valid yet";
	if (!what)
		return;
	pg_error_set(&warning, 0, "tcp_entrances: entrance %s: the certificate %s %s",
		     entrance->name, entrance->tls.certificate, what);
	findings->say(findings->context, false, warning.text);
}

static void check_entrance(struct findings *findings, const struct pg_entrance_config *entrance)
{
	SSL_CTX *context = NULL;
	struct pg_error error;

	if (!*entrance->tls.certificate)
		return;
	note(findings, pg_tcp_tls_context(entrance, &context, &error), &error, "tcp_entrances");
	if (context)
		check_times(findings, entrance, context);
	SSL_CTX_free(context);
}

/* One that is missing is made at the first start; its own directory is not. */
static int check_key_place(const struct pg_state_config *state, struct pg_error *error)
{
	PG_FREE char *copy = strdup(state->key);
	const char *directory = copy ? dirname(copy) : NULL;
	struct stat status;

	if (!directory || !strcmp(directory, state->directory))
		return 0;
	if (!stat(directory, &status) && S_ISDIR(status.st_mode))
		return 0;
	return pg_error_set(error, -ENOENT, "the machine key %s cannot be made: %s is no directory",
			    state->key, directory);
}

static void check_machine_key(struct findings *findings, const struct pg_state_config *state)
{
	struct pg_machine_key *key = NULL;
	struct pg_error error;
	int err;

	err = pg_machine_key_open(state->key, false, &key, &error);
	if (err == -ENOKEY)
		err = check_key_place(state, &error);
	note(findings, err, &error, "state.key");
	pg_machine_key_free(key);
}

size_t pg_check_files(const struct pg_config *config,
		      void (*say)(void *context, bool wrong, const char *sentence), void *context)
{
	struct findings findings = { say, context, 0 };

	if (config->handshake.present)
		check_handshake(&findings, &config->handshake);
	for (size_t i = 0; i < config->entrance_count; i++)
		check_entrance(&findings, &config->entrances[i]);
	check_machine_key(&findings, &config->state);
	return findings.wrong;
}
