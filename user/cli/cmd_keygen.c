// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "cleanup.h"
#include "commands.h"
#include "secret_file.h"

#define KEY_BYTES  32
#define KEY_DIGITS (2 * KEY_BYTES)

static void to_hex(const unsigned char key[KEY_BYTES], char text[KEY_DIGITS + 2])
{
	int i;

	for (i = 0; i < KEY_BYTES; i++)
		sprintf(text + 2 * i, "%02x", key[i]);
	strcpy(text + KEY_DIGITS, "\n");
}

static int make_pair(unsigned char private[KEY_BYTES], unsigned char public[KEY_BYTES])
{
	EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	size_t private_bytes = KEY_BYTES, public_bytes = KEY_BYTES;
	bool good = pair && EVP_PKEY_get_raw_private_key(pair, private, &private_bytes) == 1 &&
		    EVP_PKEY_get_raw_public_key(pair, public, &public_bytes) == 1;

	EVP_PKEY_free(pair);
	return good ? CLI_DONE : cli_fail(CLI_FAILED, "keygen: OpenSSL makes no X25519 key");
}

/* Never over an existing file: the key in it may be in use. */
static int write_private(const char *path, const char text[KEY_DIGITS + 2])
{
	PG_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return cli_fail(CLI_FAILED, "keygen: create %s: %s%s", path, strerror(errno),
				errno == EEXIST ? "; remove it first if it is not in use" : "");
	if (write(fd, text, KEY_DIGITS + 1) == KEY_DIGITS + 1 && !fsync(fd))
		return CLI_DONE;
	cli_fail(CLI_FAILED, "keygen: write %s: %s", path, strerror(errno));
	unlink(path);
	return CLI_FAILED;
}

static int make_secret(void)
{
	unsigned char secret[KEY_BYTES];
	char text[KEY_DIGITS + 2];
	int rc = CLI_DONE;

	if (RAND_priv_bytes(secret, KEY_BYTES) != 1) {
		rc = cli_fail(CLI_FAILED, "keygen: OpenSSL gives no random bytes");
	} else {
		to_hex(secret, text);
		text[KEY_DIGITS] = 0;
		printf(cli.json ? "{\"secret\":\"%s\"}\n" : "%s\n", text);
	}
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}

static int make_keys(const char *path)
{
	unsigned char private[KEY_BYTES], public[KEY_BYTES];
	char text[KEY_DIGITS + 2];
	int rc = make_pair(private, public);

	if (!rc) {
		to_hex(private, text);
		rc = write_private(path, text);
	}
	if (!rc) {
		to_hex(public, text);
		text[KEY_DIGITS] = 0;
		printf(cli.json ? "{\"public\":\"%s\"}\n" : "%s\n", text);
	}
	OPENSSL_cleanse(private, sizeof(private));
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}

static int print_public(const char *path)
{
	struct pg_noise_key *key = NULL;
	char text[KEY_DIGITS + 2];
	struct pg_error error;

	if (pg_static_key_load(path, &key, &error))
		return cli_fail(CLI_FAILED, "keygen: %s", error.text);
	to_hex(pg_noise_key_public(key), text);
	pg_noise_key_free(key);
	text[KEY_DIGITS] = 0;
	printf(cli.json ? "{\"public\":\"%s\"}\n" : "%s\n", text);
	return CLI_DONE;
}

int cmd_keygen(const struct cli_args *args)
{
	const char *public = cli_option(args, "public");
	bool secret = cli_option(args, "secret") != NULL;

	if (secret + (public != NULL) + (args->operand_count == 1) != 1)
		return cli_fail(CLI_USAGE, "keygen: name the FILE for the private key, or give "
					   "--secret or --public alone");
	if (public)
		return print_public(public);
	return secret ? make_secret() : make_keys(args->operands[0]);
}
