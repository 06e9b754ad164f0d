// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#ifdef __x86_64__
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <intel-ipsec-mb.h>

#include "aead.h"
#include "cleanup.h"

_Static_assert(sizeof(struct gcm_key_data) <= PG_AEAD_EXPANDED_BYTES, "a key holds a GCM key");
_Static_assert(_Alignof(struct pg_aead_key) >= 64, "the GCM code loads whole vectors");

#define BATCH_MAX 64

_Static_assert(BATCH_MAX < IMB_MAX_JOBS, "a batch is submitted whole before it is flushed");

/*
 * AES-256-GCM goes through the direct calls, one text at a time. ChaCha20-Poly1305 goes through the
 * job queue, which is faster than its direct calls: up to BATCH_MAX jobs are submitted, then
 * flushed. Either way the library only computes a tag; comparing it is done here.
 */
struct ipsecmb {
	IMB_MGR *manager;
	uint8_t tags[BATCH_MAX][PG_TAG_BYTES]; /* computed for ChaCha20-Poly1305 jobs in flight */
};

static void ipsecmb_free(void *state)
{
	struct ipsecmb *ipsecmb = state;

	free_mb_mgr(ipsecmb->manager);
	free(ipsecmb);
}

static int ipsecmb_new(void **ret_state, struct pg_error *error)
{
	PG_FREE struct ipsecmb *ipsecmb = calloc(1, sizeof(*ipsecmb));
	IMB_ARCH arch = IMB_ARCH_NONE;

	if (ipsecmb)
		ipsecmb->manager = alloc_mb_mgr(0);
	if (!ipsecmb || !ipsecmb->manager)
		return pg_error_set(error, -ENOMEM, "setting up the AEAD: out of memory");
	init_mb_mgr_auto(ipsecmb->manager, &arch);
	/*
	 * Without AES instructions the library emulates them, slower than OpenSSL; its SSE code
	 * reads past the end of a ChaCha20-Poly1305 text.
	 */
	if (imb_get_errno(ipsecmb->manager) || arch < IMB_ARCH_AVX) {
		free_mb_mgr(ipsecmb->manager);
		return pg_error_set(error, -ENOTSUP,
				    "setting up the AEAD back-end ipsec-mb: this CPU lacks the AES "
				    "or AVX instructions; use openssl");
	}
	*ret_state = TAKE_PTR(ipsecmb);
	return 0;
}

static int key_init(void *state, struct pg_aead_key *key, enum pg_aead_algorithm algorithm,
		    const uint8_t raw[PG_AEAD_KEY_BYTES])
{
	struct ipsecmb *ipsecmb = state;

	if (algorithm == PG_AEAD_AES_256_GCM)
		IMB_AES256_GCM_PRE(ipsecmb->manager, raw, (struct gcm_key_data *)key->expanded);
	else
		memcpy(key->expanded, raw, PG_AEAD_KEY_BYTES);
	return 0;
}

static int compare(const uint8_t *tag, const uint8_t *computed)
{
	return CRYPTO_memcmp(tag, computed, PG_TAG_BYTES) ? -EBADMSG : 0;
}

static void run_gcm(struct ipsecmb *ipsecmb, struct pg_aead_job *job, bool seal)
{
	const struct gcm_key_data *key = (const struct gcm_key_data *)job->key->expanded;
	struct gcm_context_data context;
	uint8_t tag[PG_TAG_BYTES];

	if (seal) {
		IMB_AES256_GCM_ENC(ipsecmb->manager, key, &context, job->text, job->text,
				   job->text_bytes, job->nonce, job->aad, job->aad_bytes, job->tag,
				   PG_TAG_BYTES);
		job->result = 0;
	} else {
		IMB_AES256_GCM_DEC(ipsecmb->manager, key, &context, job->text, job->text,
				   job->text_bytes, job->nonce, job->aad, job->aad_bytes, tag,
				   PG_TAG_BYTES);
		job->result = compare(job->tag, tag);
	}
}

/* Takes back what the library has finished. */
static void finish(IMB_JOB *done)
{
	struct pg_aead_job *job = done->user_data;

	if (done->status != IMB_STATUS_COMPLETED)
		job->result = -EIO;
	else if (done->cipher_direction == IMB_DIR_ENCRYPT)
		job->result = 0;
	else
		job->result = compare(job->tag, done->auth_tag_output);
}

static void submit_chacha(struct ipsecmb *ipsecmb, struct pg_aead_job *job, bool seal, uint8_t *tag)
{
	IMB_JOB *work = IMB_GET_NEXT_JOB(ipsecmb->manager);

	work->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
	work->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
	work->cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
	work->chain_order = seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
	work->enc_keys = job->key->expanded;
	work->dec_keys = job->key->expanded;
	work->key_len_in_bytes = PG_AEAD_KEY_BYTES;
	work->iv = job->nonce;
	work->iv_len_in_bytes = PG_AEAD_NONCE;
	work->src = job->text ? job->text : tag; /* never NULL; of length 0 it is not read */
	work->dst = job->text ? job->text : tag;
	work->cipher_start_src_offset_in_bytes = 0;
	work->hash_start_src_offset_in_bytes = 0;
	work->msg_len_to_cipher_in_bytes = job->text_bytes;
	work->msg_len_to_hash_in_bytes = job->text_bytes;
	work->u.CHACHA20_POLY1305.aad = job->aad;
	work->u.CHACHA20_POLY1305.aad_len_in_bytes = job->aad_bytes;
	work->auth_tag_output = seal ? job->tag : tag;
	work->auth_tag_output_len_in_bytes = PG_TAG_BYTES;
	work->user_data = job;
	for (work = IMB_SUBMIT_JOB(ipsecmb->manager); work;
	     work = IMB_GET_COMPLETED_JOB(ipsecmb->manager))
		finish(work);
}

/* n <= BATCH_MAX. */
static void run_batch(struct ipsecmb *ipsecmb, struct pg_aead_job *jobs, uint32_t n, bool seal)
{
	IMB_JOB *work;
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (jobs[i].result != -EINPROGRESS)
			continue;
		if (jobs[i].key->algorithm == PG_AEAD_AES_256_GCM) {
			run_gcm(ipsecmb, &jobs[i], seal);
			continue;
		}
		jobs[i].result = -EIO; /* unless the library says otherwise */
		submit_chacha(ipsecmb, &jobs[i], seal, ipsecmb->tags[i]);
	}
	while ((work = IMB_FLUSH_JOB(ipsecmb->manager)))
		finish(work);
}

static void run(void *state, struct pg_aead_job *jobs, uint32_t n, bool seal)
{
	uint32_t batch;

	for (; n; n -= batch, jobs += batch) {
		batch = n < BATCH_MAX ? n : BATCH_MAX;
		run_batch(state, jobs, batch, seal);
	}
}

const struct pg_aead_backend pg_aead_backend_ipsecmb = {
	.name = "ipsec-mb",
	.state_new = ipsecmb_new,
	.state_free = ipsecmb_free,
	.key_init = key_init,
	.run = run,
};
#endif
