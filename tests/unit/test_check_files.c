// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <cmocka.h>

#include "check_files.h"

#define DAY 86400

/* A directory with every file that a configuration may name, all of them good. */
struct bench {
	char directory[64];
	struct pg_config config;
	size_t wrong, warnings;
	char said[2048]; /* all sentences */
};

static void path_in(const struct bench *b, const char *name, char *ret_path)
{
	snprintf(ret_path, 128, "%s/%s", b->directory, name);
}

static void write_file(const struct bench *b, const char *name, const void *bytes, size_t count,
		       mode_t mode)
{
	char path[128];
	FILE *file;

	path_in(b, name, path);
	unlink(path);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, count, file), count);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

static void write_text(const struct bench *b, const char *name, const char *text, mode_t mode)
{
	write_file(b, name, text, strlen(text), mode);
}

static EVP_PKEY *new_key(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	assert_non_null(key);
	return key;
}

static FILE *create(const struct bench *b, const char *name, mode_t mode)
{
	char path[128];

	write_text(b, name, "", mode);
	path_in(b, name, path);
	return fopen(path, "wb");
}

static void write_key(const struct bench *b, const char *name, EVP_PKEY *key,
		      const char *passphrase)
{
	FILE *file = create(b, name, 0600);

	assert_int_equal(PEM_write_PrivateKey(file, key, passphrase ? EVP_aes_128_cbc() : NULL,
					      (const unsigned char *)passphrase,
					      passphrase ? strlen(passphrase) : 0, NULL, NULL),
			 1);
	fclose(file);
}

static void write_public(const struct bench *b, const char *name, EVP_PKEY *key)
{
	FILE *file = create(b, name, 0644);

	assert_int_equal(PEM_write_PUBKEY(file, key), 1);
	fclose(file);
}

/* Good from so many seconds from now on, until so many. */
static void write_certificate(const struct bench *b, const char *name, EVP_PKEY *key, long from,
			      long until)
{
	FILE *file = create(b, name, 0644);
	X509 *certificate = X509_new();

	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), from);
	X509_gmtime_adj(X509_getm_notAfter(certificate), until);
	X509_set_pubkey(certificate, key);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_X509(file, certificate), 1);
	fclose(file);
	X509_free(certificate);
}

static void fill_config(struct bench *b)
{
	struct pg_config *config = &b->config;

	snprintf(config->state.directory, sizeof(config->state.directory), "%s/state",
		 b->directory);
	path_in(b, "machine.key", config->state.key);
	config->handshake.present = true;
	path_in(b, "server.key", config->handshake.key);
	path_in(b, "old.key", config->handshake.old_key);
	path_in(b, "tokens", config->handshake.tokens.path);
	config->handshake.tokens.kind = PG_TOKEN_LIST;
	config->entrance_count = 2;
	strcpy(config->entrances[0].name, "plain");
	strcpy(config->entrances[1].name, "tls");
	path_in(b, "tcp.pem", config->entrances[1].tls.certificate);
	path_in(b, "tcp.key", config->entrances[1].tls.key);
}

static int set_up(void **state)
{
	static const char digits[] =
		"0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20\n";
	struct bench *b = calloc(1, sizeof(*b));
	EVP_PKEY *key = new_key();

	assert_non_null(b);
	strcpy(b->directory, "/tmp/packgate-files-XXXXXX");
	assert_non_null(mkdtemp(b->directory));
	fill_config(b);
	write_text(b, "server.key", digits, 0600);
	write_text(b, "old.key", digits, 0640);
	write_text(b, "tokens", "open-sesame alice\n", 0600);
	write_text(b, "secret", "0123456789abcdef0123456789abcdef", 0600);
	write_file(b, "machine.key", digits, 32, 0600);
	write_certificate(b, "tcp.pem", key, -DAY, DAY);
	write_certificate(b, "expired.pem", key, -2 * DAY, -DAY);
	write_certificate(b, "early.pem", key, DAY, 2 * DAY);
	write_key(b, "tcp.key", key, NULL);
	write_key(b, "locked.key", key, "sesame");
	write_public(b, "public.pem", key);
	EVP_PKEY_free(key);
	key = new_key();
	write_key(b, "other.key", key, NULL);
	EVP_PKEY_free(key);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "server.key",  "old.key",	   "tokens",
					     "secret",	    "machine.key", "tcp.pem",
					     "expired.pem", "early.pem",   "tcp.key",
					     "locked.key",  "public.pem",  "other.key" };
	struct bench *b = *state;
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		path_in(b, names[i], path);
		unlink(path);
	}
	assert_int_equal(rmdir(b->directory), 0);
	free(b);
	return 0;
}

static void say(void *context, bool wrong, const char *sentence)
{
	struct bench *b = context;
	size_t at = strlen(b->said);

	b->wrong += wrong;
	b->warnings += !wrong;
	snprintf(b->said + at, sizeof(b->said) - at, "%s\n", sentence);
}

static void check(struct bench *b)
{
	size_t wrong;

	b->wrong = b->warnings = 0;
	b->said[0] = '\0';
	wrong = pg_check_files(&b->config, say, b);
	assert_int_equal(wrong, b->wrong);
}

static void remove_file(struct bench *b, const char *name)
{
	char path[128];

	path_in(b, name, path);
	assert_int_equal(unlink(path), 0);
}

static void open_to_all(struct bench *b, const char *name)
{
	char path[128];

	path_in(b, name, path);
	assert_int_equal(chmod(path, 0644), 0);
}

static void spoil(struct bench *b, const char *name)
{
	write_text(b, name, "\x01 this is none\n", 0600);
}

static void empty(struct bench *b, const char *name)
{
	write_text(b, name, "", 0600);
}

static void make_directory(struct bench *b, const char *name)
{
	char path[128];

	path_in(b, name, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
}

/* What is wrong with one file; its name, the key of the configuration, and the reason are said. */
static const struct {
	const char *name;
	void (*change)(struct bench *b, const char *file);
	const char *file, *key, *reason;
} rows[] = {
	{ "static key missing", remove_file, "server.key", "handshake.key: ", "No such file" },
	{ "static key for all", open_to_all, "server.key", "handshake.key: ", "mode 0644" },
	{ "static key spoilt", spoil, "server.key", "handshake.key: ", "64 hexadecimal digits" },
	{ "static key empty", empty, "server.key", "handshake.key: ", "64 hexadecimal digits" },
	{ "static key a folder", make_directory, "server.key",
	  "handshake.key: ", "no regular file" },
	{ "old key missing", remove_file, "old.key", "handshake.old_key: ", "No such file" },
	{ "old key for all", open_to_all, "old.key", "handshake.old_key: ", "mode 0644" },
	{ "old key spoilt", spoil, "old.key", "handshake.old_key: ", "64 hexadecimal digits" },
	{ "tokens missing", remove_file, "tokens", "handshake.tokens: ", "No such file" },
	{ "tokens for all", open_to_all, "tokens", "handshake.tokens: ", "mode 0644" },
	{ "tokens spoilt", spoil, "tokens", "handshake.tokens: ", "line 1" },
	{ "certificate missing", remove_file, "tcp.pem",
	  "tcp_entrances: entrance tls: ", "No such file" },
	{ "certificate spoilt", spoil, "tcp.pem",
	  "tcp_entrances: entrance tls: ", "no start line" },
	{ "certificate empty", empty, "tcp.pem", "tcp_entrances: entrance tls: ", "no start line" },
	{ "TLS key missing", remove_file, "tcp.key",
	  "tcp_entrances: entrance tls: ", "No such file" },
	{ "TLS key for all", open_to_all, "tcp.key", "tcp_entrances: entrance tls: ", "mode 0644" },
	{ "TLS key spoilt", spoil, "tcp.key", "tcp_entrances: entrance tls: ", "PEM" },
	{ "machine key for all", open_to_all, "machine.key", "state.key: ", "mode 0644" },
	{ "machine key short", empty, "machine.key", "state.key: ", "less bytes than 32" },
	{ "machine key a folder", make_directory, "machine.key", "state.key: ", "not a file" },
};

static void test_one_wrong(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char path[128];
		struct bench *b;

		set_up(state);
		b = *state;
		rows[i].change(b, rows[i].file);
		check(b);
		path_in(b, rows[i].file, path);
		if (b->wrong != 1 || b->warnings || !strstr(b->said, path) ||
		    strncmp(b->said, rows[i].key, strlen(rows[i].key)) ||
		    !strstr(b->said, rows[i].reason))
			fail_msg("%s: %zu wrong, %zu warnings: %s", rows[i].name, b->wrong,
				 b->warnings, b->said);
		rmdir(path);
		tear_down(state);
	}
}

static void test_all_good(void **state)
{
	struct bench *b = *state;

	check(b);
	assert_string_equal(b->said, "");
	/* what is not configured is not read, and a machine key that is missing will be made */
	remove_file(b, "server.key");
	remove_file(b, "tcp.pem");
	b->config.handshake.present = false;
	b->config.entrance_count = 1;
	remove_file(b, "machine.key");
	check(b);
	assert_string_equal(b->said, "");
	/* where it is said to be, also in the state directory, which the agent makes */
	snprintf(b->config.state.key, sizeof(b->config.state.key), "%s/state/machine.key",
		 b->directory);
	check(b);
	assert_string_equal(b->said, "");
	snprintf(b->config.state.key, sizeof(b->config.state.key), "%s/nowhere/machine.key",
		 b->directory);
	check(b);
	assert_int_equal(b->wrong, 1);
	assert_non_null(strstr(b->said, "nowhere is no directory"));
}

/* Every finding is said, not only the first. */
static void test_all_wrong(void **state)
{
	struct bench *b = *state;

	remove_file(b, "server.key");
	remove_file(b, "old.key");
	remove_file(b, "tokens");
	remove_file(b, "tcp.key");
	open_to_all(b, "machine.key");
	check(b);
	assert_int_equal(b->wrong, 5);
}

static void test_tokens(void **state)
{
	struct bench *b = *state;

	b->config.handshake.tokens.kind = PG_TOKEN_NONE;
	remove_file(b, "tokens");
	check(b);
	assert_int_equal(b->wrong, 0);
	b->config.handshake.tokens.kind = PG_TOKEN_HS256;
	path_in(b, "secret", b->config.handshake.tokens.path);
	check(b);
	assert_int_equal(b->wrong, 0);
	write_text(b, "secret", "short", 0600);
	check(b);
	assert_int_equal(b->wrong, 1);
	b->config.handshake.tokens.kind = PG_TOKEN_ES256;
	path_in(b, "public.pem", b->config.handshake.tokens.path);
	check(b);
	assert_int_equal(b->wrong, 0);
	b->config.handshake.tokens.kind = PG_TOKEN_RS256;
	check(b);
	assert_int_equal(b->wrong, 1);
	assert_non_null(strstr(b->said, "public.pem"));
}

static void use_tls(struct bench *b, const char *certificate, const char *key)
{
	path_in(b, certificate, b->config.entrances[1].tls.certificate);
	path_in(b, key, b->config.entrances[1].tls.key);
	check(b);
}

static void test_tls(void **state)
{
	struct bench *b = *state;

	use_tls(b, "tcp.pem", "other.key");
	assert_int_equal(b->wrong, 1);
	assert_non_null(strstr(b->said, "other.key: key values mismatch"));
	use_tls(b, "tcp.key", "tcp.key");
	assert_int_equal(b->wrong, 1);
	/* nobody is asked for a passphrase */
	use_tls(b, "tcp.pem", "locked.key");
	assert_int_equal(b->wrong, 1);
	assert_non_null(strstr(b->said, "locked.key: "));
	assert_non_null(strstr(b->said, "passphrase"));
	/* what no client takes is worth a warning; the agent would start */
	use_tls(b, "expired.pem", "tcp.key");
	assert_int_equal(b->wrong, 0);
	assert_int_equal(b->warnings, 1);
	assert_non_null(strstr(b->said, "expired.pem has expired"));
	use_tls(b, "early.pem", "tcp.key");
	assert_int_equal(b->warnings, 1);
	assert_non_null(strstr(b->said, "early.pem is not valid yet"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_wrong),
		cmocka_unit_test_setup_teardown(test_all_good, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_wrong, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tokens, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tls, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
