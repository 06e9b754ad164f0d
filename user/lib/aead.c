// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "aead.h"
#include "cleanup.h"

struct pg_aead {
	const struct pg_aead_backend *backend;
	void *state;
};

/* Best first. */
static const struct pg_aead_backend *const backends[] = {
#ifdef __x86_64__
	&pg_aead_backend_ipsecmb,
#endif
	&pg_aead_backend_openssl,
};

#define BACKENDS (sizeof(backends) / sizeof(backends[0]))

const char *pg_aead_algorithm_name(unsigned int algorithm)
{
	switch (algorithm) {
#define PG_X(name, number, label) \
	case number:              \
		return label;
		PG_AEAD_ALGORITHMS(PG_X)
#undef PG_X
	}
	return NULL;
}

int pg_aead_algorithm_parse(const char *name, enum pg_aead_algorithm *ret_algorithm)
{
#define PG_X(constant, number, label)                \
	if (!strcmp(name, label)) {                  \
		*ret_algorithm = PG_AEAD_##constant; \
		return 0;                            \
	}
	PG_AEAD_ALGORITHMS(PG_X)
#undef PG_X
	return -EINVAL;
}

static int choose(const char *name, const struct pg_aead_backend **ret_backend, void **ret_state,
		  struct pg_error *error)
{
	size_t i;
	int err;

	for (i = 0; i < BACKENDS; i++) {
		if (name && strcmp(name, backends[i]->name))
			continue;
		err = backends[i]->state_new(ret_state, error);
		if (err && !name && i + 1 < BACKENDS)
			continue;
		if (!err)
			*ret_backend = backends[i];
		return err;
	}
	if (!strcmp(name, "ipsec-mb"))
		return pg_error_set(error, -ENOTSUP,
				    "choosing the AEAD back-end ipsec-mb: this build is not for "
				    "x86-64; use openssl");
	return pg_error_set(error, -EINVAL,
			    "choosing the AEAD back-end %s: unknown name; use ipsec-mb or openssl",
			    name);
}

int pg_aead_new(const char *backend, struct pg_aead **ret_aead, struct pg_error *error)
{
	PG_FREE struct pg_aead *aead = calloc(1, sizeof(*aead));
	int err;

	if (!aead)
		return pg_error_set(error, -ENOMEM, "setting up the AEAD: out of memory");
	err = choose(backend, &aead->backend, &aead->state, error);
	if (err)
		return err;
	*ret_aead = TAKE_PTR(aead);
	return 0;
}

void pg_aead_free(struct pg_aead *aead)
{
	if (!aead)
		return;
	aead->backend->state_free(aead->state);
	free(aead);
}

const char *pg_aead_backend_name(const struct pg_aead *aead)
{
	return aead->backend->name;
}

int pg_aead_key_init(struct pg_aead *aead, struct pg_aead_key *ret_key,
		     enum pg_aead_algorithm algorithm, const uint8_t key[PG_AEAD_KEY_BYTES])
{
	int err;

	if (!pg_aead_algorithm_name(algorithm))
		return -EINVAL;
	err = aead->backend->key_init(aead->state, ret_key, algorithm, key);
	if (err)
		return err;
	ret_key->backend = aead->backend;
	ret_key->algorithm = algorithm;
	return 0;
}

void pg_aead_key_wipe(struct pg_aead_key *key)
{
	if (!key->backend)
		return;
	if (key->backend->key_done)
		key->backend->key_done(key);
	OPENSSL_cleanse(key, sizeof(*key));
}

static void run(struct pg_aead *aead, struct pg_aead_job *jobs, uint32_t n, bool seal)
{
	struct pg_aead_job *job;

	for (job = jobs; job < jobs + n; job++) {
		if (job->text_bytes > PG_AEAD_TEXT_MAX)
			job->result = -EMSGSIZE;
		else if (job->key->backend != aead->backend)
			job->result = -EINVAL;
		else
			job->result = -EINPROGRESS;
	}
	aead->backend->run(aead->state, jobs, n, seal);
	for (job = jobs; job < jobs + n; job++) {
		if (!job->result || job->result == -EMSGSIZE)
			continue;
		if (job->text_bytes)
			OPENSSL_cleanse(job->text, job->text_bytes);
		if (seal)
			OPENSSL_cleanse(job->tag, PG_TAG_BYTES);
	}
}

void pg_aead_open(struct pg_aead *aead, struct pg_aead_job *jobs, uint32_t n)
{
	run(aead, jobs, n, false);
}

void pg_aead_seal(struct pg_aead *aead, struct pg_aead_job *jobs, uint32_t n)
{
	run(aead, jobs, n, true);
}
