// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "cleanup.h"
#include "machine_key.h"
#include "read_file.h"
#include "packgate/bytes.h"

#define NONCE_BYTES 12
#define TAG_BYTES   16
#define PATH_TAIL   96

_Static_assert(NONCE_BYTES + TAG_BYTES == PG_MACHINE_KEY_SEAL_BYTES, "what sealing adds");

struct pg_machine_key {
	uint8_t sealing[PG_MACHINE_KEY_BYTES];
	uint8_t hashing[PG_MACHINE_KEY_BYTES];
	uint8_t check[PG_MACHINE_KEY_BYTES];
	EVP_CIPHER *cipher;
};

static void free_key(struct pg_machine_key **key)
{
	pg_machine_key_free(*key);
}

static void free_context(EVP_CIPHER_CTX **context)
{
	EVP_CIPHER_CTX_free(*context);
}

/* The end of a long path: the reason must find room behind it. */
static const char *tail(const char *path)
{
	size_t length = strlen(path);

	return length > PATH_TAIL ? path + length - PATH_TAIL : path;
}

static int cannot(const char *attempt, const char *path, int rc, struct pg_error *error)
{
	return pg_error_set(error, rc, "cannot %s the machine key %s: %s", attempt, tail(path),
			    strerror(-rc));
}

static int write_all(int fd, const uint8_t *bytes, size_t count)
{
	ssize_t n;

	while (count) {
		n = write(fd, bytes, count);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		count -= (size_t)n;
	}
	return 0;
}

/* Makes a rename in the directory of path outlive a loss of power. */
static int sync_directory(const char *path)
{
	PG_FREE char *copy = strdup(path);
	PG_CLOSE int fd = -1;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		return -errno;
	return 0;
}

static int write_new_key(int fd)
{
	uint8_t raw[PG_MACHINE_KEY_BYTES];
	int rc;

	rc = RAND_priv_bytes(raw, sizeof(raw)) == 1 ? 0 : -EIO;
	if (!rc)
		rc = write_all(fd, raw, sizeof(raw));
	if (!rc && fsync(fd))
		rc = -errno;
	OPENSSL_cleanse(raw, sizeof(raw));
	return rc;
}

/* A file that another process made meanwhile is left alone: the caller reads whichever is there. */
static int create_key(const char *path)
{
	PG_FREE char *temporary = NULL;
	PG_CLOSE int fd = -1;
	int rc;

	if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = write_new_key(fd);
	if (!rc && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE))
		rc = -errno;
	if (rc)
		unlink(temporary);
	if (rc && rc != -EEXIST)
		return rc;
	return sync_directory(path);
}

static int check_key_file(int fd, const char *path, struct pg_error *error)
{
	struct stat status;

	if (fstat(fd, &status))
		return cannot("read", path, -errno, error);
	if (!S_ISREG(status.st_mode))
		return pg_error_set(error, -EINVAL, "the machine key %s is not a file", tail(path));
	if (status.st_uid != geteuid() && status.st_uid != 0)
		return pg_error_set(error, -EPERM,
				    "the machine key %s belongs to user %u: it must be the agent's "
				    "(chown it to user %u)",
				    tail(path), status.st_uid, geteuid());
	if (status.st_mode & 077)
		return pg_error_set(error, -EPERM,
				    "the machine key %s is open to others (mode %04o): chmod it to "
				    "0600",
				    tail(path), status.st_mode & 07777);
	return 0;
}

/* -ENOENT, without a sentence, where there is no file. */
static int read_key(const char *path, uint8_t raw[PG_MACHINE_KEY_BYTES + 1], struct pg_error *error)
{
	PG_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t count = 0;
	int rc;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return cannot("read", path, -errno, error);
	rc = check_key_file(fd, path, error);
	if (rc)
		return rc;
	rc = pg_read_file(fd, raw, PG_MACHINE_KEY_BYTES + 1, &count);
	if (rc)
		return cannot("read", path, rc, error);
	if (count != PG_MACHINE_KEY_BYTES)
		return pg_error_set(error, -EINVAL,
				    "the machine key %s holds %s bytes than %d: it is damaged, or "
				    "no machine key",
				    tail(path), count < PG_MACHINE_KEY_BYTES ? "less" : "more",
				    PG_MACHINE_KEY_BYTES);
	return 0;
}

static int hmac(const uint8_t key[PG_MACHINE_KEY_BYTES], const void *input, size_t bytes,
		uint8_t ret_hash[PG_MACHINE_KEY_HASH_BYTES])
{
	unsigned int length = PG_MACHINE_KEY_HASH_BYTES;

	if (HMAC(EVP_sha256(), key, PG_MACHINE_KEY_BYTES, input, bytes, ret_hash, &length))
		return 0;
	ERR_clear_error();
	return -ENOMEM;
}

/* HKDF-Expand of one block: HMAC(key, label || 1). */
static int expand(const uint8_t raw[PG_MACHINE_KEY_BYTES], const char *label,
		  uint8_t ret_key[PG_MACHINE_KEY_BYTES])
{
	uint8_t info[64];
	size_t length = strlen(label);

	memcpy(info, label, length);
	info[length] = 1;
	return hmac(raw, info, length + 1, ret_key);
}

static int derive(const uint8_t raw[PG_MACHINE_KEY_BYTES], struct pg_machine_key **ret_key)
{
	PG_CLEANUP(free_key) struct pg_machine_key *key = calloc(1, sizeof(*key));
	int rc;

	if (!key)
		return -ENOMEM;
	key->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (!key->cipher) {
		ERR_clear_error();
		return -ENOTSUP;
	}
	rc = expand(raw, "packgate machine seal", key->sealing);
	if (!rc)
		rc = expand(raw, "packgate machine hash", key->hashing);
	if (!rc)
		rc = expand(raw, "packgate machine check", key->check);
	if (rc)
		return rc;
	*ret_key = TAKE_PTR(key);
	return 0;
}

int pg_machine_key_open(const char *path, bool may_create, struct pg_machine_key **ret_key,
			struct pg_error *error)
{
	uint8_t raw[PG_MACHINE_KEY_BYTES + 1];
	int rc;

	rc = read_key(path, raw, error);
	if (rc == -ENOENT && may_create) {
		rc = create_key(path);
		if (rc)
			return cannot("make", path, rc, error);
		rc = read_key(path, raw, error);
	}
	if (rc == -ENOENT)
		rc = pg_error_set(error, -ENOKEY, "the machine key %s is missing", tail(path));
	if (!rc) {
		rc = derive(raw, ret_key);
		if (rc)
			cannot("use", path, rc, error);
	}
	OPENSSL_cleanse(raw, sizeof(raw));
	return rc;
}

void pg_machine_key_free(struct pg_machine_key *key)
{
	if (!key)
		return;
	EVP_CIPHER_free(key->cipher);
	OPENSSL_cleanse(key, sizeof(*key));
	free(key);
}

/* One GCM operation: what both directions share, up to the tag. */
static bool begin_gcm(EVP_CIPHER_CTX *context, const struct pg_machine_key *key, bool seal,
		      const uint8_t *nonce, const char *label, uint64_t number)
{
	uint8_t number_be[8];
	int n;

	pg_store_be64(number_be, number);
	return EVP_CipherInit_ex2(context, key->cipher, key->sealing, nonce, seal, NULL) &&
	       EVP_CipherUpdate(context, NULL, &n, (const uint8_t *)label,
				(int)strlen(label) + 1) &&
	       EVP_CipherUpdate(context, NULL, &n, number_be, sizeof(number_be));
}

int pg_machine_key_seal(const struct pg_machine_key *key, const char *label, uint64_t number,
			const void *plain, size_t bytes, uint8_t *ret_sealed)
{
	PG_CLEANUP(free_context) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	uint8_t *nonce = ret_sealed, *body = nonce + NONCE_BYTES, *tag = body + bytes;
	int n;

	if (context && RAND_bytes(nonce, NONCE_BYTES) == 1 &&
	    begin_gcm(context, key, true, nonce, label, number) &&
	    EVP_CipherUpdate(context, body, &n, plain, (int)bytes) &&
	    EVP_CipherFinal_ex(context, tag, &n) &&
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag))
		return 0;
	ERR_clear_error();
	return context ? -EIO : -ENOMEM;
}

int pg_machine_key_unseal(const struct pg_machine_key *key, const char *label, uint64_t number,
			  const uint8_t *sealed, size_t sealed_bytes, void *ret_plain)
{
	PG_CLEANUP(free_context) EVP_CIPHER_CTX *context = NULL;
	const uint8_t *body = sealed + NONCE_BYTES;
	size_t bytes;
	int n;

	if (sealed_bytes < PG_MACHINE_KEY_SEAL_BYTES)
		return -EBADMSG;
	bytes = sealed_bytes - PG_MACHINE_KEY_SEAL_BYTES;
	context = EVP_CIPHER_CTX_new();
	if (context && begin_gcm(context, key, false, sealed, label, number) &&
	    EVP_CipherUpdate(context, ret_plain, &n, body, (int)bytes) &&
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES,
				(void *)(body + bytes)) &&
	    EVP_CipherFinal_ex(context, (uint8_t *)ret_plain + n, &n))
		return 0;
	OPENSSL_cleanse(ret_plain, bytes);
	ERR_clear_error();
	return context ? -EBADMSG : -ENOMEM;
}

int pg_machine_key_hash(const struct pg_machine_key *key, const void *input, size_t bytes,
			uint8_t ret_hash[PG_MACHINE_KEY_HASH_BYTES])
{
	return hmac(key->hashing, input, bytes, ret_hash);
}

const uint8_t *pg_machine_key_check(const struct pg_machine_key *key)
{
	return key->check;
}
