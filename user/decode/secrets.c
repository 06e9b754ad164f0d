// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "secrets.h"

#define WORDS_MAX 4
#define BLANKS	  " \t\r\n"

/* Sorted by session. */
struct pg_secrets {
	struct pg_session_keys *sessions;
	size_t count, room;
};

int pg_secrets_new(struct pg_secrets **ret_secrets)
{
	struct pg_secrets *secrets = calloc(1, sizeof(*secrets));

	if (!secrets)
		return -ENOMEM;
	*ret_secrets = secrets;
	return 0;
}

static void wipe_sessions(struct pg_secrets *secrets)
{
	if (secrets->sessions)
		OPENSSL_cleanse(secrets->sessions, secrets->count * sizeof(*secrets->sessions));
	free(secrets->sessions);
}

void pg_secrets_free(struct pg_secrets *secrets)
{
	if (!secrets)
		return;
	wipe_sessions(secrets);
	free(secrets);
}

/* Where a session is, or would be. */
static size_t place_of(const struct pg_secrets *secrets, uint32_t session)
{
	size_t low = 0, high = secrets->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (secrets->sessions[middle].session < session)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct pg_session_keys *pg_secrets_find(const struct pg_secrets *secrets, uint32_t session)
{
	size_t place = place_of(secrets, session);

	return place < secrets->count && secrets->sessions[place].session == session
		       ? &secrets->sessions[place]
		       : NULL;
}

/* Grows by copying, so that what the old memory held can be wiped. */
static int grow(struct pg_secrets *secrets)
{
	size_t room = secrets->room ? 2 * secrets->room : 16;
	struct pg_session_keys *sessions;

	if (secrets->count < secrets->room)
		return 0;
	sessions = calloc(room, sizeof(*sessions));
	if (!sessions)
		return -ENOMEM;
	if (secrets->count)
		memcpy(sessions, secrets->sessions, secrets->count * sizeof(*sessions));
	wipe_sessions(secrets);
	secrets->sessions = sessions;
	secrets->room = room;
	return 0;
}

static int insert(struct pg_secrets *secrets, const struct pg_session_keys *session,
		  struct pg_error *error)
{
	size_t place = place_of(secrets, session->session);
	struct pg_session_keys *at;

	if (pg_secrets_find(secrets, session->session))
		return pg_error_set(error, -EEXIST, "the session's ids were given before");
	if (secrets->count == PG_SECRETS_MAX)
		return pg_error_set(error, -ENOSPC, "more than %d sessions", PG_SECRETS_MAX);
	if (grow(secrets))
		return pg_error_set(error, -ENOMEM, "out of memory");
	at = &secrets->sessions[place];
	memmove(at + 1, at, (secrets->count - place) * sizeof(*at));
	*at = *session;
	secrets->count++;
	return 0;
}

static int split_words(char *text, char *words[WORDS_MAX + 1])
{
	char *left = text, *word;
	int count = 0;

	text[strcspn(text, "#")] = 0;
	while (count <= WORDS_MAX && (word = strtok_r(left, BLANKS, &left)))
		words[count++] = word;
	return count;
}

static bool read_id(const char *word, uint32_t *ret_id)
{
	bool hex = !strncmp(word, "0x", 2);
	const char *digits = hex ? word + 2 : word;
	unsigned long id;

	if (!*digits || strlen(digits) > 5 ||
	    digits[strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789")])
		return false;
	id = strtoul(digits, NULL, hex ? 16 : 10);
	if (!id || id > 0xffff)
		return false;
	*ret_id = (uint32_t)id;
	return true;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The bytes of 64 or 128 hex digits, 0 if it is neither. */
static size_t read_hex(const char *word, uint8_t bytes[PG_SPLIT_BYTES])
{
	size_t n = strlen(word) / 2;

	if (strlen(word) % 2 || (n != PG_SECRET_BYTES && n != PG_SPLIT_BYTES))
		return 0;
	for (size_t i = 0; i < n; i++) {
		int high = digit(word[2 * i]), low = digit(word[2 * i + 1]);

		if (high < 0 || low < 0)
			return 0;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return n;
}

static int derive(const char *word, struct pg_keys *keys, struct pg_error *error)
{
	uint8_t secret[PG_SPLIT_BYTES];
	size_t n = read_hex(word, secret);
	int rc = -EINVAL;

	if (!n)
		pg_error_set(error, rc, "the secret is not 64 hex digits, nor the 128 of a split");
	else
		rc = pg_keys_derive(secret, n, keys);
	if (n && rc)
		pg_error_set(error, rc, "the crypto library cannot derive the keys");
	OPENSSL_cleanse(secret, sizeof(secret));
	return rc;
}

static int read_words(struct pg_secrets *secrets, char **words, int count, struct pg_error *error)
{
	struct pg_session_keys session = { .algorithm = PG_AEAD_CHACHA20_POLY1305 };
	uint32_t client, server;
	int rc;

	if (count < 3 || count > WORDS_MAX)
		return pg_error_set(error, -EINVAL,
				    "a line is CLIENT-ID SERVER-ID SECRET [AEAD], not %s words",
				    count < 3 ? "fewer than three" : "more than four");
	if (!read_id(words[0], &client) || !read_id(words[1], &server))
		return pg_error_set(error, -EINVAL, "an id is a number of 1 to 65535");
	if (count == WORDS_MAX && pg_aead_algorithm_parse(words[3], &session.algorithm))
		return pg_error_set(error, -EINVAL,
				    "the AEAD is neither chacha20-poly1305 nor aes-256-gcm");
	session.session = client << 16 | server;
	rc = derive(words[2], &session.keys, error);
	if (!rc)
		rc = insert(secrets, &session, error);
	OPENSSL_cleanse(&session, sizeof(session));
	return rc;
}

int pg_secrets_add(struct pg_secrets *secrets, const char *line, struct pg_error *error)
{
	char text[PG_SECRETS_LINE_MAX], *words[WORDS_MAX + 1];
	size_t bytes = strlen(line);
	int count, rc = 0;

	if (bytes >= sizeof(text))
		return pg_error_set(error, -EINVAL, "the line is longer than %zu bytes",
				    sizeof(text) - 1);
	memcpy(text, line, bytes + 1);
	count = split_words(text, words);
	if (count)
		rc = read_words(secrets, words, count, error);
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}
