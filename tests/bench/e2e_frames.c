// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "aead.h"
#include "e2e.h"
#include "frame.h"
#include "key_cache.h"

#define BATCH 64

struct bench_session bench_sessions[SESSIONS];

void bench_sessions_make(void)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct bench_session *session = &bench_sessions[i];

		session->id = (0x4000u + i) << 16 | (1 + i);
		session->port = 20000 + i;
		if (RAND_bytes(session->secret, sizeof(session->secret)) != 1 ||
		    pg_keys_derive(session->secret, sizeof(session->secret), &session->keys))
			bench_die("deriving the keys of a session");
	}
}

static uint16_t ip_checksum(const void *header)
{
	const uint8_t *bytes = header;
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(struct iphdr); i += 2)
		sum += pg_load_be16(bytes + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

/* Without a UDP checksum, as IPv4 allows: nobody has to verify one. */
static void write_headers(uint8_t *at, const struct bench_session *session)
{
	static const uint8_t link[] = { 2, 0, 0, 0, 0x88, 1, 2, 0, 0, 0, 0x88, 2, 8, 0 };
	struct udphdr udp = {
		.source = htons(session->port),
		.dest = htons(SERVER_PORT),
		.len = htons(LINK_BYTES - sizeof(link) - sizeof(struct iphdr)),
	};
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.frag_off = htons(0x4000),
		.tot_len = htons(LINK_BYTES - sizeof(link)),
		.saddr = inet_addr(CLIENT_IP),
		.daddr = inet_addr(SERVER_IP),
	};

	ip.check = ip_checksum(&ip);
	memcpy(at, link, sizeof(link));
	memcpy(at + sizeof(link), &ip, sizeof(ip));
	memcpy(at + sizeof(link) + sizeof(ip), &udp, sizeof(udp));
}

static struct pg_frame frame_of(uint32_t number)
{
	return (struct pg_frame){
		.session = bench_sessions[number % SESSIONS].id,
		.pack = 1 + number / SESSIONS,
		.opcode = PG_OP_DATA,
		.flags = PG_FLAG_PACK,
		.payload_bytes = APP_BYTES + PG_TAG_BYTES + PG_GUARD_BYTES,
	};
}

/* Everything but the sealing; fills the job that does it. */
static void prepare(struct pool_frame *to, uint32_t number, uint64_t now_ms,
		    struct pg_key_cache *cache, struct pg_aead_job *job)
{
	struct bench_session *session = &bench_sessions[number % SESSIONS];
	struct pg_frame frame = frame_of(number);
	uint8_t *out = to->bytes + AT_FRAME;

	write_headers(to->bytes, session);
	pg_frame_write_header(out, &frame, now_ms);
	memset(out + HEADER_BYTES, 'a' + number % 26, APP_BYTES);
	pg_frame_nonce(session->keys.direction[PG_C2S].iv, &frame, job->nonce);
	job->key = pg_key_cache_get(cache, session->id, &session->keys, PG_AEAD_AES_256_GCM, PG_C2S,
				    0, frame.pack);
	job->aad = out;
	job->aad_bytes = HEADER_BYTES;
	job->text = out + HEADER_BYTES;
	job->text_bytes = APP_BYTES;
	job->tag = job->text + APP_BYTES;
	if (!job->key)
		bench_die("a key for sealing");
}

static void write_guard(struct pool_frame *to, uint32_t number)
{
	struct pg_frame frame = frame_of(number);
	uint64_t key[2];

	frame.header_bytes = HEADER_BYTES;
	frame.bytes = HEADER_BYTES + frame.payload_bytes;
	pg_keys_guard_words(&bench_sessions[number % SESSIONS].keys, PG_C2S, key);
	pg_frame_write_guard(to->bytes + AT_FRAME, &frame, key);
}

void bench_frames_seal(struct pool_frame *pool, uint32_t count)
{
	uint64_t now_ms = (uint64_t)time(NULL) * 1000;
	struct pg_aead_job jobs[BATCH];
	struct pg_key_cache *cache;
	struct pg_aead *aead;

	if (pg_aead_new(NULL, &aead, NULL) || pg_key_cache_new(aead, 4096, &cache))
		bench_die("setting up the AEAD");
	for (uint32_t i = 0; i + BATCH <= count; i += BATCH) {
		pg_key_cache_begin(cache);
		for (uint32_t j = 0; j < BATCH; j++)
			prepare(&pool[i + j], i + j, now_ms, cache, &jobs[j]);
		pg_aead_seal(aead, jobs, BATCH);
		for (uint32_t j = 0; j < BATCH; j++) {
			if (jobs[j].result)
				bench_die("sealing: %s", strerror(-jobs[j].result));
			write_guard(&pool[i + j], i + j);
		}
	}
	pg_key_cache_free(cache);
	pg_aead_free(aead);
}
