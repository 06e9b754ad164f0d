// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/crypto.h>

#include "cleanup.h"
#include "read_file.h"
#include "secret_file.h"

#define KEY_DIGITS (2 * PG_NOISE_KEY_BYTES)
#define KEY_FILE   256 /* bytes, blanks and a comment's worth of room */

static int check_file(int fd, const char *what, const char *path, bool secret, size_t max,
		      struct pg_error *error)
{
	struct stat status;

	if (fstat(fd, &status))
		return pg_error_set(error, -errno, "reading %s %s: %s", what, path,
				    strerror(errno));
	if (!S_ISREG(status.st_mode))
		return pg_error_set(error, -EINVAL, "%s %s is no regular file", what, path);
	if (secret && status.st_mode & 027)
		return pg_error_set(error, -EPERM,
				    "%s %s is open to others (mode %04o): chmod 0600 it", what,
				    path, status.st_mode & 07777);
	if (status.st_size > (off_t)max)
		return pg_error_set(error, -EFBIG, "%s %s is larger than %zu bytes", what, path,
				    max);
	return 0;
}

int pg_secret_file_read(const char *what, const char *path, bool secret, size_t max,
			uint8_t **ret_text, size_t *ret_bytes, struct pg_error *error)
{
	PG_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint8_t *text;
	size_t bytes = 0;
	int err;

	if (fd < 0)
		return pg_error_set(error, -errno, "opening %s %s: %s", what, path,
				    strerror(errno));
	err = check_file(fd, what, path, secret, max, error);
	if (err)
		return err;
	text = calloc(1, max + 1);
	if (!text)
		return pg_error_set(error, -ENOMEM, "reading %s %s: out of memory", what, path);
	err = pg_read_file(fd, text, max, &bytes);
	if (err) {
		pg_secret_file_free(text, max);
		return pg_error_set(error, err, "reading %s %s: %s", what, path, strerror(-err));
	}
	*ret_text = text;
	*ret_bytes = bytes;
	return 0;
}

void pg_secret_file_free(uint8_t *text, size_t bytes)
{
	if (!text)
		return;
	OPENSSL_cleanse(text, bytes);
	free(text);
}

static int digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int read_hex(const uint8_t *text, size_t bytes, uint8_t ret_key[PG_NOISE_KEY_BYTES])
{
	while (bytes && text[bytes - 1] && strchr(" \t\r\n", text[bytes - 1]))
		bytes--;
	if (bytes != KEY_DIGITS)
		return -EINVAL;
	for (int i = 0; i < PG_NOISE_KEY_BYTES; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		ret_key[i] = high << 4 | low;
	}
	return 0;
}

int pg_static_key_load(const char *path, struct pg_noise_key **ret_key, struct pg_error *error)
{
	uint8_t private[PG_NOISE_KEY_BYTES], *text;
	size_t bytes;
	int err;

	err = pg_secret_file_read("the static key", path, true, KEY_FILE, &text, &bytes, error);
	if (err)
		return err;
	err = read_hex(text, bytes, private);
	pg_secret_file_free(text, bytes);
	if (err)
		err = pg_error_set(error, err,
				   "the static key %s is not 64 hexadecimal digits: make one with "
				   "'packgate keygen FILE'",
				   path);
	else if ((err = pg_noise_key_new(private, ret_key)))
		pg_error_set(error, err, "the static key %s: OpenSSL does not take it", path);
	OPENSSL_cleanse(private, sizeof(private));
	return err;
}
