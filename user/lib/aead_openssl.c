// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <openssl/evp.h>

#include "aead.h"
#include "cleanup.h"

/* The portable back-end. Algorithms are looked up once a thread, contexts are made once a key. */
struct openssl {
	EVP_CIPHER *chacha20_poly1305, *aes_256_gcm;
};

static void openssl_free(void *state)
{
	struct openssl *openssl = state;

	EVP_CIPHER_free(openssl->chacha20_poly1305);
	EVP_CIPHER_free(openssl->aes_256_gcm);
	free(openssl);
}

static int openssl_new(void **ret_state, struct pg_error *error)
{
	struct openssl *openssl = calloc(1, sizeof(*openssl));

	if (!openssl)
		return pg_error_set(error, -ENOMEM, "setting up the AEAD: out of memory");
	openssl->chacha20_poly1305 = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	openssl->aes_256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (!openssl->chacha20_poly1305 || !openssl->aes_256_gcm) {
		openssl_free(openssl);
		return pg_error_set(error, -ENOTSUP,
				    "setting up the AEAD: OpenSSL does not offer "
				    "ChaCha20-Poly1305 and AES-256-GCM; check its providers");
	}
	*ret_state = openssl;
	return 0;
}

static int key_init(void *state, struct pg_aead_key *key, enum pg_aead_algorithm algorithm,
		    const uint8_t raw[PG_AEAD_KEY_BYTES])
{
	const struct openssl *openssl = state;
	const EVP_CIPHER *cipher = algorithm == PG_AEAD_AES_256_GCM ? openssl->aes_256_gcm
								    : openssl->chacha20_poly1305;
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

	if (!context || !EVP_EncryptInit_ex2(context, cipher, raw, NULL, NULL)) {
		EVP_CIPHER_CTX_free(context);
		return -ENOMEM;
	}
	key->context = context;
	return 0;
}

static void key_done(struct pg_aead_key *key)
{
	EVP_CIPHER_CTX_free(key->context);
}

/* Sets nonce and AAD and runs the text through; the tag is left to the caller. */
static bool run_text(EVP_CIPHER_CTX *context, const struct pg_aead_job *job, bool seal)
{
	int n;

	if (!EVP_CipherInit_ex2(context, NULL, NULL, job->nonce, seal, NULL))
		return false;
	if (job->aad_bytes && !EVP_CipherUpdate(context, NULL, &n, job->aad, job->aad_bytes))
		return false;
	return !job->text_bytes ||
	       EVP_CipherUpdate(context, job->text, &n, job->text, job->text_bytes);
}

static int seal_one(EVP_CIPHER_CTX *context, const struct pg_aead_job *job)
{
	uint8_t none[EVP_MAX_BLOCK_LENGTH];
	int n;

	if (!run_text(context, job, true) || !EVP_EncryptFinal_ex(context, none, &n) ||
	    !EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, PG_TAG_BYTES, job->tag))
		return -EIO;
	return 0;
}

static int open_one(EVP_CIPHER_CTX *context, const struct pg_aead_job *job)
{
	uint8_t none[EVP_MAX_BLOCK_LENGTH];
	int n;

	if (!run_text(context, job, false) ||
	    !EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, PG_TAG_BYTES, job->tag))
		return -EIO;
	return EVP_DecryptFinal_ex(context, none, &n) ? 0 : -EBADMSG;
}

static void run(void *state, struct pg_aead_job *jobs, uint32_t n, bool seal)
{
	struct pg_aead_job *job;

	for (job = jobs; job < jobs + n; job++) {
		if (job->result != -EINPROGRESS)
			continue;
		job->result =
			seal ? seal_one(job->key->context, job) : open_one(job->key->context, job);
	}
}

const struct pg_aead_backend pg_aead_backend_openssl = {
	.name = "openssl",
	.state_new = openssl_new,
	.state_free = openssl_free,
	.key_init = key_init,
	.key_done = key_done,
	.run = run,
};
