// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "aead.h"
#include "keys.h"

#define VECTORS	     "tests/vectors/frames.json"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const enum pg_aead_algorithm algorithms[] = { PG_AEAD_CHACHA20_POLY1305,
						     PG_AEAD_AES_256_GCM };

static bool is_filled(const void *bytes, uint8_t value, size_t n)
{
	const uint8_t *p = bytes;

	while (n && *p == value) {
		p++;
		n--;
	}
	return !n;
}

static void fill_random(uint8_t *bytes, size_t n)
{
	while (n--)
		*bytes++ = rand();
}

static int aead_setup(void **state)
{
	const char *backend = *state;
	struct pg_aead *aead = NULL;
	int err = pg_aead_new(backend, &aead, NULL);

	*state = aead;
	return err == -ENOTSUP ? 0 : err;
}

static int aead_teardown(void **state)
{
	pg_aead_free(*state);
	return 0;
}

static struct pg_aead *aead_of(void **state)
{
	if (!*state) {
		print_message("this machine does not have the back-end\n");
		skip();
	}
	return *state;
}

static void key_init(struct pg_aead *aead, struct pg_aead_key *key,
		     enum pg_aead_algorithm algorithm, uint8_t fill)
{
	uint8_t raw[PG_AEAD_KEY_BYTES];

	memset(raw, fill, sizeof(raw));
	assert_int_equal(pg_aead_key_init(aead, key, algorithm, raw), 0);
}

static void test_algorithm_names(void **state)
{
	static const char *const bad[] = {
		"",	      "aes",	  "AES-256-GCM", "aes-256-gcm ",     " aes-256-gcm",
		"aes-256-gc", "chacha20", "1",		 "chacha20_poly1305"
	};
	enum pg_aead_algorithm algorithm = 77;
	size_t i;

	assert_string_equal(pg_aead_algorithm_name(1), "chacha20-poly1305");
	assert_string_equal(pg_aead_algorithm_name(2), "aes-256-gcm");
	assert_null(pg_aead_algorithm_name(0));
	assert_null(pg_aead_algorithm_name(3));
	assert_null(pg_aead_algorithm_name(UINT32_MAX));
	for (i = 0; i < COUNT(bad); i++) {
		if (pg_aead_algorithm_parse(bad[i], &algorithm) != -EINVAL || algorithm != 77)
			fail_msg("\"%s\" taken", bad[i]);
	}
	for (i = 0; i < COUNT(algorithms); i++) {
		const char *name = pg_aead_algorithm_name(algorithms[i]);

		assert_int_equal(pg_aead_algorithm_parse(name, &algorithm), 0);
		assert_int_equal(algorithm, algorithms[i]);
	}
}

static void test_backend_choice(void **state)
{
	static const char *const bad[] = { "", "ipsec", "OpenSSL", "openssl " };
	struct pg_aead *aead = NULL, *best;
	struct pg_error error;
	size_t i;

	for (i = 0; i < COUNT(bad); i++) {
		memset(&error, 0, sizeof(error));
		assert_int_equal(pg_aead_new(bad[i], &aead, &error), -EINVAL);
		assert_non_null(strstr(error.text, "use ipsec-mb or openssl"));
		assert_null(aead);
	}
	assert_int_equal(pg_aead_new(NULL, &best, &error), 0);
	if (!pg_aead_new("ipsec-mb", &aead, &error)) {
		assert_string_equal(pg_aead_backend_name(aead), "ipsec-mb");
	} else {
		assert_non_null(strstr(error.text, "use openssl"));
		assert_int_equal(pg_aead_new("openssl", &aead, &error), 0);
	}
	assert_string_equal(pg_aead_backend_name(best), pg_aead_backend_name(aead));
	pg_aead_free(best);
	pg_aead_free(aead);
	pg_aead_free(NULL);
}

/* A sealed frame of the vectors, taken apart here by hand (PROTOCOL sections 1 and 2). */
struct vector {
	const char *name;
	uint8_t frame[2048], opened[2048], plain[2048];
	uint32_t plain_bytes;
	struct pg_aead_key key;
	struct pg_aead_job job; /* over opened */
};

static uint32_t unhex_member(const json_t *object, const char *name, uint8_t *ret_bytes,
			     size_t room)
{
	const char *hex = json_string_value(json_object_get(object, name));
	unsigned int byte;
	size_t n, i;

	if (!hex)
		fail_msg("no string %s in %s", name, VECTORS);
	n = strlen(hex) / 2;
	assert_true(n <= room);
	for (i = 0; i < n; i++) {
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
		ret_bytes[i] = byte;
	}
	return n;
}

/* Takes the id at *at if its flag is set, into its place in the nonce. */
static uint32_t take_id(const uint8_t *frame, uint8_t flag, uint32_t *at, uint8_t *nonce)
{
	const uint8_t *id = frame + *at;
	int i;

	if (!(frame[12] & flag))
		return 0;
	*at += 4;
	for (i = 0; i < 4; i++)
		nonce[i] ^= id[i];
	return (uint32_t)id[0] << 24 | id[1] << 16 | id[2] << 8 | id[3];
}

static void vector_init(struct pg_aead *aead, const json_t *row, struct vector *v)
{
	const char *towards = json_string_value(json_object_get(row, "direction"));
	enum pg_direction direction = strcmp(towards, "s2c") ? PG_C2S : PG_S2C;
	bool guard = json_is_true(json_object_get(row, "guard"));
	uint8_t ikm[PG_SPLIT_BYTES], raw[PG_AEAD_KEY_BYTES];
	uint32_t frame_bytes, stream, pack, at = 16;
	struct pg_keys keys;

	v->name = json_string_value(json_object_get(row, "name"));
	v->plain_bytes = unhex_member(row, "plain", v->plain, sizeof(v->plain));
	frame_bytes = unhex_member(row, "frame", v->frame, sizeof(v->frame));
	memcpy(v->opened, v->frame, sizeof(v->opened));
	assert_int_equal(pg_keys_derive(ikm, unhex_member(row, "ikm", ikm, sizeof(ikm)), &keys), 0);
	memcpy(v->job.nonce, keys.direction[direction].iv, sizeof(v->job.nonce));
	stream = take_id(v->frame, 0x80, &at, v->job.nonce);
	pack = take_id(v->frame, 0x40, &at, v->job.nonce + 4);
	take_id(v->frame, 0x20, &at, v->job.nonce + 8);
	assert_int_equal(frame_bytes, at + v->plain_bytes + 16 + (guard ? 8 : 0));

	assert_int_equal(pg_keys_block(&keys, direction, stream, pack, raw), 0);
	assert_int_equal(pg_aead_key_init(aead, &v->key,
					  json_integer_value(json_object_get(row, "aead")), raw),
			 0);
	v->job.key = &v->key;
	v->job.aad = v->opened;
	v->job.aad_bytes = at;
	v->job.text = v->opened + at;
	v->job.text_bytes = v->plain_bytes;
	v->job.tag = v->opened + at + v->plain_bytes;
}

static void check_opened(const struct vector *v, const struct pg_aead_job *job)
{
	if (job->result)
		fail_msg("%s: not opened, %d", v->name, job->result);
	if (memcmp(job->text, v->plain, v->plain_bytes))
		fail_msg("%s: another text", v->name);
	if (memcmp(v->opened, v->frame, job->aad_bytes) ||
	    memcmp(job->tag, v->frame + job->aad_bytes + v->plain_bytes,
		   sizeof(v->frame) - job->aad_bytes - v->plain_bytes))
		fail_msg("%s: bytes around the text changed", v->name);
}

static void check_sealed(struct vector *v, const struct pg_aead_job *job)
{
	if (job->result)
		fail_msg("%s: not sealed, %d", v->name, job->result);
	if (memcmp(v->opened, v->frame, sizeof(v->frame)))
		fail_msg("%s: another frame", v->name);
}

/* Every sealed frame, one at a time and then all in one batch. */
static void test_vectors(void **state)
{
	struct pg_aead *aead = aead_of(state);
	json_t *root = json_load_file(VECTORS, 0, NULL), *row;
	json_t *rows = json_object_get(root, "frames");
	struct vector *vectors = aligned_alloc(64, sizeof(*vectors) * json_array_size(rows));
	struct pg_aead_job jobs[128];
	uint32_t n = 0, k;
	size_t i;

	memset(vectors, 0, sizeof(*vectors) * json_array_size(rows));
	json_array_foreach (rows, i, row) {
		if (json_object_get(row, "plain"))
			vector_init(aead, row, &vectors[n++]);
	}
	assert_in_range(n, 1, COUNT(jobs));
	for (k = 0; k < n; k++) {
		jobs[k] = vectors[k].job;
		pg_aead_open(aead, &jobs[k], 1);
		check_opened(&vectors[k], &jobs[k]);
		memset(jobs[k].tag, 0, PG_TAG_BYTES);
		pg_aead_seal(aead, &jobs[k], 1);
		check_sealed(&vectors[k], &jobs[k]);
	}
	pg_aead_open(aead, jobs, n);
	for (k = 0; k < n; k++)
		check_opened(&vectors[k], &jobs[k]);
	pg_aead_seal(aead, jobs, n);
	for (k = 0; k < n; k++) {
		check_sealed(&vectors[k], &jobs[k]);
		pg_aead_key_wipe(&vectors[k].key);
	}
	free(vectors);
	json_decref(root);
}

#define TAMPER_TEXT 77
#define TAMPER_AAD  28

struct sealed {
	uint8_t aad[TAMPER_AAD], text[TAMPER_TEXT], tag[PG_TAG_BYTES];
	struct pg_aead_job job;
};

static void sealed_init(struct pg_aead *aead, const struct pg_aead_key *key, struct sealed *s)
{
	memset(s->aad, 0x11, sizeof(s->aad));
	memset(s->text, 0x22, sizeof(s->text));
	s->job = (struct pg_aead_job){ .key = key,
				       .nonce = { 1, 2, 3 },
				       .aad = s->aad,
				       .aad_bytes = sizeof(s->aad),
				       .text = s->text,
				       .text_bytes = sizeof(s->text),
				       .tag = s->tag };
	pg_aead_seal(aead, &s->job, 1);
	assert_int_equal(s->job.result, 0);
}

static void expect_refused(struct pg_aead *aead, struct sealed *s, const char *what, size_t bit)
{
	pg_aead_open(aead, &s->job, 1);
	if (s->job.result != -EBADMSG)
		fail_msg("%s, bit %zu: result %d", what, bit, s->job.result);
	if (!is_filled(s->text, 0, s->job.text_bytes))
		fail_msg("%s, bit %zu: text not wiped", what, bit);
}

static const struct {
	const char *name;
	size_t offset, bytes;
} tampered[] = {
	{ "tag", offsetof(struct sealed, tag), PG_TAG_BYTES },
	{ "aad", offsetof(struct sealed, aad), TAMPER_AAD },
	{ "text", offsetof(struct sealed, text), TAMPER_TEXT },
	{ "nonce", offsetof(struct sealed, job.nonce), PG_AEAD_NONCE },
};

/* Every single bit of everything that is authenticated. */
static void test_tampering(void **state)
{
	struct pg_aead *aead = aead_of(state);
	struct pg_aead_key key;
	struct sealed s;
	size_t a, i, bit;

	for (a = 0; a < COUNT(algorithms); a++) {
		key_init(aead, &key, algorithms[a], 9);
		for (i = 0; i < COUNT(tampered); i++) {
			for (bit = 0; bit < 8 * tampered[i].bytes; bit++) {
				sealed_init(aead, &key, &s);
				((uint8_t *)&s)[tampered[i].offset + bit / 8] ^= 1 << bit % 8;
				expect_refused(aead, &s, tampered[i].name, bit);
			}
		}
		sealed_init(aead, &key, &s);
		pg_aead_open(aead, &s.job, 1);
		assert_int_equal(s.job.result, 0);
		assert_true(is_filled(s.text, 0x22, sizeof(s.text)));
		pg_aead_key_wipe(&key);
	}
}

static void test_wrong_key_or_length(void **state)
{
	struct pg_aead *aead = aead_of(state);
	struct pg_aead_key key, other, cross;
	struct sealed s;
	size_t a;

	for (a = 0; a < COUNT(algorithms); a++) {
		key_init(aead, &key, algorithms[a], 9);
		key_init(aead, &other, algorithms[a], 8);
		key_init(aead, &cross, algorithms[!a], 9);
		sealed_init(aead, &key, &s);
		s.job.key = &other;
		expect_refused(aead, &s, "other key", 0);
		sealed_init(aead, &key, &s);
		s.job.key = &cross;
		expect_refused(aead, &s, "other algorithm", 0);
		sealed_init(aead, &key, &s);
		s.job.aad_bytes--;
		expect_refused(aead, &s, "shorter aad", 0);
		sealed_init(aead, &key, &s);
		s.job.text_bytes--;
		expect_refused(aead, &s, "shorter text", 0);
		sealed_init(aead, &key, &s);
		s.job.text_bytes = 0;
		expect_refused(aead, &s, "no text", 0);
		pg_aead_key_wipe(&key);
		pg_aead_key_wipe(&other);
		pg_aead_key_wipe(&cross);
	}
}

/* Nothing to encrypt, nothing to authenticate, no job: each may be NULL. */
static void test_empty(void **state)
{
	struct pg_aead *aead = aead_of(state);
	uint8_t aad[20] = { 1 }, tag[PG_TAG_BYTES];
	struct pg_aead_key key;
	struct pg_aead_job job;
	size_t a;

	pg_aead_open(aead, NULL, 0);
	pg_aead_seal(aead, NULL, 0);
	for (a = 0; a < COUNT(algorithms); a++) {
		key_init(aead, &key, algorithms[a], 3);
		job = (struct pg_aead_job){ .key = &key, .aad = aad, .aad_bytes = 20, .tag = tag };
		pg_aead_seal(aead, &job, 1);
		assert_int_equal(job.result, 0);
		pg_aead_open(aead, &job, 1);
		assert_int_equal(job.result, 0);
		job.aad = NULL;
		job.aad_bytes = 0;
		pg_aead_open(aead, &job, 1);
		assert_int_equal(job.result, -EBADMSG);
		pg_aead_seal(aead, &job, 1);
		assert_int_equal(job.result, 0);
		pg_aead_open(aead, &job, 1);
		assert_int_equal(job.result, 0);
		pg_aead_key_wipe(&key);
	}
}

static void test_longest(void **state)
{
	struct pg_aead *aead = aead_of(state);
	uint8_t *text = malloc(PG_AEAD_TEXT_MAX + 1), tag[PG_TAG_BYTES];
	struct pg_aead_key key;
	struct pg_aead_job job;
	size_t a;

	for (a = 0; a < COUNT(algorithms); a++) {
		key_init(aead, &key, algorithms[a], 3);
		job = (struct pg_aead_job){
			.key = &key, .text = text, .text_bytes = PG_AEAD_TEXT_MAX, .tag = tag
		};
		memset(text, 0x33, PG_AEAD_TEXT_MAX + 1);
		pg_aead_seal(aead, &job, 1);
		assert_int_equal(job.result, 0);
		pg_aead_open(aead, &job, 1);
		assert_int_equal(job.result, 0);
		memset(tag, 0x44, sizeof(tag));
		job.text_bytes++;
		pg_aead_seal(aead, &job, 1);
		assert_int_equal(job.result, -EMSGSIZE);
		pg_aead_open(aead, &job, 1);
		assert_int_equal(job.result, -EMSGSIZE);
		assert_true(is_filled(text, 0x33, PG_AEAD_TEXT_MAX + 1));
		assert_true(is_filled(tag, 0x44, sizeof(tag)));
		pg_aead_key_wipe(&key);
	}
	free(text);
}

static void test_keys(void **state)
{
	struct pg_aead *aead = aead_of(state);
	uint8_t raw[PG_AEAD_KEY_BYTES] = { 1 };
	struct pg_aead_key key;
	struct sealed s;
	size_t a;

	memset(&key, 0xaa, sizeof(key));
	assert_int_equal(pg_aead_key_init(aead, &key, 0, raw), -EINVAL);
	assert_int_equal(pg_aead_key_init(aead, &key, 3, raw), -EINVAL);
	assert_true(is_filled(&key, 0xaa, sizeof(key)));
	for (a = 0; a < COUNT(algorithms); a++) {
		key_init(aead, &key, algorithms[a], 3);
		sealed_init(aead, &key, &s);
		pg_aead_key_wipe(&key);
		assert_true(is_filled(&key, 0, sizeof(key)));
		pg_aead_key_wipe(&key);
		memset(s.text, 0x55, sizeof(s.text));
		pg_aead_seal(aead, &s.job, 1);
		assert_int_equal(s.job.result, -EINVAL);
		assert_true(is_filled(s.text, 0, sizeof(s.text)));
		assert_true(is_filled(s.tag, 0, sizeof(s.tag)));
		memset(s.text, 0x55, sizeof(s.text));
		pg_aead_open(aead, &s.job, 1);
		assert_int_equal(s.job.result, -EINVAL);
		assert_true(is_filled(s.text, 0, sizeof(s.text)));
	}
}

/* Text, AAD and tag at the end of a page before one that cannot be touched, and at its start. */
static void test_page_bounds(void **state)
{
	struct pg_aead *aead = aead_of(state);
	size_t page = sysconf(_SC_PAGESIZE), a, i;
	uint8_t *area[3];
	uint32_t bytes;
	int at_end;

	for (i = 0; i < 3; i++) {
		area[i] = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(area[i] != MAP_FAILED);
		area[i] += page;
		assert_int_equal(mprotect(area[i], page, PROT_READ | PROT_WRITE), 0);
	}
	for (a = 0; a < COUNT(algorithms); a++) {
		struct pg_aead_key key;

		key_init(aead, &key, algorithms[a], 4);
		for (bytes = 0; bytes < 1200; bytes += bytes < 160 ? 1 : 37) {
			for (at_end = 0; at_end <= 1; at_end++) {
				uint32_t aad = bytes % 29;
				struct pg_aead_job job = {
					.key = &key,
					.aad = area[0] + at_end * (page - aad),
					.aad_bytes = aad,
					.text = area[1] + at_end * (page - bytes),
					.text_bytes = bytes,
					.tag = area[2] + at_end * (page - PG_TAG_BYTES),
				};

				pg_aead_seal(aead, &job, 1);
				assert_int_equal(job.result, 0);
				pg_aead_open(aead, &job, 1);
				assert_int_equal(job.result, 0);
			}
		}
		pg_aead_key_wipe(&key);
	}
	for (i = 0; i < 3; i++)
		munmap(area[i] - page, 3 * page);
}

#define MIXED_JOBS 100
#define MIXED_KEYS 8
#define MIXED_TEXT 1200

/* The same batch for one back-end; canaries stand behind text and tag. */
struct side {
	struct pg_aead *aead;
	struct pg_aead_key keys[MIXED_KEYS]; /* even: ChaCha20-Poly1305, odd: AES-256-GCM */
	struct pg_aead_job jobs[MIXED_JOBS];
	uint8_t aad[MIXED_JOBS][28];
	uint8_t text[MIXED_JOBS][MIXED_TEXT + PG_TAG_BYTES + 8];
};

static struct side *side_new(const char *backend)
{
	struct side *side = aligned_alloc(64, sizeof(*side));
	int i;

	memset(side, 0, sizeof(*side));
	if (pg_aead_new(backend, &side->aead, NULL)) {
		free(side);
		return NULL;
	}
	for (i = 0; i < MIXED_KEYS; i++)
		key_init(side->aead, &side->keys[i], algorithms[i % 2], i);
	return side;
}

static void side_free(struct side *side)
{
	int i;

	for (i = 0; i < MIXED_KEYS; i++)
		pg_aead_key_wipe(&side->keys[i]);
	pg_aead_free(side->aead);
	free(side);
}

static void side_fill(struct side *side, unsigned int seed, uint32_t n)
{
	uint32_t i;

	srand(seed);
	memset(side->text, 0xcc, sizeof(side->text));
	for (i = 0; i < n; i++) {
		struct pg_aead_job *job = &side->jobs[i];

		job->key = &side->keys[rand() % MIXED_KEYS];
		fill_random(job->nonce, sizeof(job->nonce));
		fill_random(side->aad[i], sizeof(side->aad[i]));
		job->aad = side->aad[i];
		job->aad_bytes = rand() % 29;
		job->text = side->text[i];
		job->text_bytes = rand() % 8 ? rand() % (MIXED_TEXT + 1) : rand() % 3;
		job->tag = job->text + job->text_bytes;
		fill_random(job->text, job->text_bytes);
		job->result = 1;
	}
}

static void expect_equal_sides(const struct side *a, const struct side *b, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		const struct pg_aead_job *job = &a->jobs[i];

		if (job->result != b->jobs[i].result)
			fail_msg("job %u of %u: results %d and %d", i, n, job->result,
				 b->jobs[i].result);
		if (memcmp(a->text[i], b->text[i], sizeof(a->text[i])))
			fail_msg("job %u of %u, %s, %u bytes: other bytes", i, n,
				 pg_aead_algorithm_name(job->key->algorithm), job->text_bytes);
		assert_true(is_filled(job->tag + PG_TAG_BYTES, 0xcc,
				      sizeof(a->text[i]) - job->text_bytes - PG_TAG_BYTES));
	}
}

/* Breaks every third job, and makes every seventh too long; the same on both sides. */
static void side_break(struct side *side, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (i % 3 == 0)
			side->jobs[i].tag[i % PG_TAG_BYTES] ^= 1 << i % 8;
		if (i % 7 == 0)
			side->jobs[i].text_bytes += 1 << 16;
	}
}

static void expect_broken_refused(const struct side *side, const struct side *plain, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		const struct pg_aead_job *job = &side->jobs[i];
		int expected = i % 7 == 0 ? -EMSGSIZE : i % 3 == 0 ? -EBADMSG : 0;

		if (job->result != expected)
			fail_msg("job %u of %u: result %d", i, n, job->result);
		if (expected == -EBADMSG)
			assert_true(is_filled(job->text, 0, job->text_bytes));
		if (!expected)
			assert_memory_equal(job->text, plain->text[i], job->text_bytes);
	}
}

/* 1 to 100 jobs of mixed keys and sizes, one back-end against the other. */
static void test_mixed_batches(void **state)
{
	struct side *a = side_new("openssl"), *b = side_new("ipsec-mb"), *plain = side_new(NULL);
	uint32_t n, i;

	if (!b) {
		print_message("this machine has one back-end: it runs against itself\n");
		b = side_new("openssl");
	}
	for (n = 1; n <= MIXED_JOBS; n++) {
		side_fill(a, n, n);
		side_fill(b, n, n);
		side_fill(plain, n, n);
		pg_aead_seal(a->aead, a->jobs, n);
		pg_aead_seal(b->aead, b->jobs, n);
		expect_equal_sides(a, b, n);
		side_break(a, n);
		side_break(b, n);
		pg_aead_open(a->aead, a->jobs, n);
		pg_aead_open(b->aead, b->jobs, n);
		expect_broken_refused(a, plain, n);
		expect_broken_refused(b, plain, n);
		for (i = 0; i < n; i += 7) {
			a->jobs[i].text_bytes -= 1 << 16;
			b->jobs[i].text_bytes -= 1 << 16;
		}
		expect_equal_sides(a, b, n);
	}
	/* a key of the one is no key for the other */
	if (strcmp(pg_aead_backend_name(a->aead), pg_aead_backend_name(b->aead))) {
		a->jobs[0].key = &b->keys[0];
		pg_aead_seal(a->aead, a->jobs, 1);
		assert_int_equal(a->jobs[0].result, -EINVAL);
		assert_true(is_filled(a->jobs[0].text, 0, a->jobs[0].text_bytes));
	}
	side_free(a);
	side_free(b);
	side_free(plain);
}

#define BOTH(test)                                                             \
	{ #test " (ipsec-mb)", test, aead_setup, aead_teardown, "ipsec-mb" },  \
	{                                                                      \
#test " (openssl)", test, aead_setup, aead_teardown, "openssl" \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_algorithm_names),
		cmocka_unit_test(test_backend_choice),
		BOTH(test_vectors),
		BOTH(test_tampering),
		BOTH(test_wrong_key_or_length),
		BOTH(test_empty),
		BOTH(test_longest),
		BOTH(test_keys),
		BOTH(test_page_bounds),
		cmocka_unit_test(test_mixed_batches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
