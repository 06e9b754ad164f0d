// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "aead.h"
#include "handshake_server.h"
#include "hmac.h"

#define AT_PAYLOAD  PG_HEADER_MIN
#define NONE	    UINT32_MAX
#define READY_TURNS (PG_READY_MS / 1000)
#define LIST_COUNT  3

/* Which list an entry is in; each is in the order of its deadlines. */
enum state {
	UNUSED,
	OPEN,
	READY,
};

struct entry {
	uint8_t digest[PG_HASH_BYTES]; /* of message 1 */
	uint64_t source[2];
	uint64_t deadline_ms;
	uint32_t session;
	uint16_t source_port_be;
	uint8_t state;
	uint8_t answer_bytes;
	uint8_t answer[PG_ANSWER_MAX];
	uint8_t ikm[PG_SPLIT_BYTES]; /* while OPEN */
	uint32_t chain;		     /* next of the same bucket */
	uint32_t before, after;	     /* in the list of its state */
};

struct list {
	uint32_t first, last, count;
};

struct pg_handshake_server {
	const struct pg_handshake_ops *ops;
	void *owner;
	struct pg_handshake_rules rules;
	struct entry *entries;
	uint32_t *buckets;
	uint32_t entry_count, bucket_mask, half_open_most;
	struct list lists[LIST_COUNT];
	struct pg_handshake_counters counters;
	uint64_t second_ms;		   /* when this second began */
	uint32_t this_second, last_second; /* shakehands */
	uint32_t tokens;		   /* thousandths of a handshake */
	uint64_t tokens_ms;
};

/* --- the table ---------------------------------------------------------------------------------
 */

static void list_append(struct pg_handshake_server *server, uint32_t place, enum state state)
{
	struct list *list = &server->lists[state];
	struct entry *entry = &server->entries[place];

	entry->state = state;
	entry->before = list->last;
	entry->after = NONE;
	if (list->last == NONE)
		list->first = place;
	else
		server->entries[list->last].after = place;
	list->last = place;
	list->count++;
}

static void list_remove(struct pg_handshake_server *server, uint32_t place)
{
	struct entry *entry = &server->entries[place];
	struct list *list = &server->lists[entry->state];

	if (entry->before == NONE)
		list->first = entry->after;
	else
		server->entries[entry->before].after = entry->after;
	if (entry->after == NONE)
		list->last = entry->before;
	else
		server->entries[entry->after].before = entry->before;
	list->count--;
}

/* A digest is as good as random, and a client has to pay a key pair for each that it tries. */
static uint32_t *bucket_of(struct pg_handshake_server *server, const uint8_t *digest)
{
	return &server->buckets[pg_load_le32(digest) & server->bucket_mask];
}

static uint32_t find(struct pg_handshake_server *server, const uint8_t *digest)
{
	uint32_t place = *bucket_of(server, digest);

	while (place != NONE && memcmp(server->entries[place].digest, digest, PG_HASH_BYTES))
		place = server->entries[place].chain;
	return place;
}

static void release(struct pg_handshake_server *server, uint32_t place)
{
	struct entry *entry = &server->entries[place];
	uint32_t *at = bucket_of(server, entry->digest);

	while (*at != place)
		at = &server->entries[*at].chain;
	*at = entry->chain;
	list_remove(server, place);
	OPENSSL_cleanse(entry, sizeof(*entry));
	list_append(server, place, UNUSED);
}

/* The caller looked that there is room. */
static struct entry *take_place(struct pg_handshake_server *server, const uint8_t *digest,
				uint32_t *ret_place)
{
	uint32_t place = server->lists[UNUSED].first, *bucket = bucket_of(server, digest);
	struct entry *entry = &server->entries[place];

	list_remove(server, place);
	memcpy(entry->digest, digest, PG_HASH_BYTES);
	entry->chain = *bucket;
	*bucket = place;
	list_append(server, place, OPEN);
	*ret_place = place;
	return entry;
}

/* --- life of a server --------------------------------------------------------------------------
 */

static uint32_t ready_most(const struct pg_handshake_rules *rules)
{
	uint64_t most = (uint64_t)rules->per_second * READY_TURNS;

	return most < PG_READY_MAX ? (uint32_t)most : PG_READY_MAX;
}

int pg_handshake_server_new(const struct pg_handshake_rules *rules,
			    const struct pg_handshake_ops *ops, void *owner,
			    struct pg_handshake_server **ret_server)
{
	struct pg_handshake_server *server = calloc(1, sizeof(*server));
	uint32_t i, buckets = 16;

	if (!server)
		return -ENOMEM;
	server->ops = ops;
	server->owner = owner;
	server->rules = *rules;
	server->half_open_most = rules->half_open;
	server->entry_count = rules->half_open + ready_most(rules);
	while (buckets < server->entry_count)
		buckets *= 2;
	server->bucket_mask = buckets - 1;
	server->tokens = rules->per_second * 1000;
	server->entries = calloc(server->entry_count, sizeof(*server->entries));
	server->buckets = malloc(buckets * sizeof(*server->buckets));
	if (!server->entries || !server->buckets) {
		free(server->entries);
		free(server->buckets);
		free(server);
		return -ENOMEM;
	}
	memset(server->buckets, 0xff, buckets * sizeof(*server->buckets));
	for (i = 0; i < LIST_COUNT; i++)
		server->lists[i] = (struct list){ NONE, NONE, 0 };
	for (i = 0; i < server->entry_count; i++)
		list_append(server, i, UNUSED);
	*ret_server = server;
	return 0;
}

void pg_handshake_server_free(struct pg_handshake_server *server)
{
	if (!server)
		return;
	OPENSSL_cleanse(server->entries, server->entry_count * sizeof(*server->entries));
	free(server->entries);
	free(server->buckets);
	free(server);
}

void pg_handshake_server_set_rules(struct pg_handshake_server *server,
				   const struct pg_handshake_rules *rules)
{
	server->rules = *rules;
	if (server->rules.half_open > server->half_open_most)
		server->rules.half_open = server->half_open_most;
}

uint64_t pg_handshake_server_timer(struct pg_handshake_server *server, uint64_t now_ms)
{
	struct list *open = &server->lists[OPEN], *ready = &server->lists[READY];
	uint64_t next = UINT64_MAX;
	uint32_t session;

	while (ready->count && server->entries[ready->first].deadline_ms <= now_ms)
		release(server, ready->first);
	while (open->count && server->entries[open->first].deadline_ms <= now_ms) {
		session = server->entries[open->first].session;
		release(server, open->first);
		server->counters.expired++;
		server->ops->expired(server->owner, session);
	}
	if (open->count)
		next = server->entries[open->first].deadline_ms;
	if (ready->count && server->entries[ready->first].deadline_ms < next)
		next = server->entries[ready->first].deadline_ms;
	return next;
}

static struct entry *entry_at(struct pg_handshake_server *server, uint32_t place, uint32_t session)
{
	if (place >= server->entry_count || server->entries[place].state != OPEN ||
	    server->entries[place].session != session)
		return NULL;
	return &server->entries[place];
}

int pg_handshake_server_ready(struct pg_handshake_server *server, uint32_t place, uint32_t session,
			      uint64_t now_ms, uint8_t ret_ikm[PG_SPLIT_BYTES])
{
	struct entry *entry = entry_at(server, place, session);

	if (!entry)
		return -ENOENT;
	memcpy(ret_ikm, entry->ikm, sizeof(entry->ikm));
	OPENSSL_cleanse(entry->ikm, sizeof(entry->ikm));
	list_remove(server, place);
	entry->deadline_ms = now_ms + PG_READY_MS;
	list_append(server, place, READY);
	server->counters.ready++;
	return 0;
}

void pg_handshake_server_drop(struct pg_handshake_server *server, uint32_t place, uint32_t session)
{
	if (entry_at(server, place, session))
		release(server, place);
}

uint32_t pg_handshake_server_half_open(const struct pg_handshake_server *server)
{
	return server->lists[OPEN].count;
}

const struct pg_handshake_counters *
pg_handshake_server_counters(const struct pg_handshake_server *server)
{
	return &server->counters;
}

/* --- load --------------------------------------------------------------------------------------
 */

static void note_shakehand(struct pg_handshake_server *server, uint64_t now_ms)
{
	uint64_t elapsed = now_ms - server->second_ms;

	if (elapsed >= 1000) {
		server->last_second = elapsed < 2000 ? server->this_second : 0;
		server->this_second = 0;
		server->second_ms = now_ms;
	}
	server->this_second++;
	server->counters.shakehands++;
}

bool pg_handshake_server_demands(const struct pg_handshake_server *server, uint64_t now_ms)
{
	uint32_t half = server->rules.per_second / 2;
	uint64_t age = now_ms - server->second_ms;

	if (server->rules.cookie != PG_COOKIE_DEMAND_AUTO)
		return server->rules.cookie == PG_COOKIE_DEMAND_ALWAYS;
	return server->lists[OPEN].count > server->rules.half_open / 2 ||
	       (age < 2000 && server->this_second > half) ||
	       (age < 1000 && server->last_second > half);
}

/* One of the handshakes of this second, which may cost key agreements. */
static bool take_token(struct pg_handshake_server *server, uint64_t now_ms)
{
	uint64_t full = (uint64_t)server->rules.per_second * 1000;
	uint64_t elapsed = now_ms - server->tokens_ms;
	uint64_t tokens = server->tokens;

	tokens += (elapsed < 1000 ? elapsed : 1000) * server->rules.per_second;
	server->tokens_ms = now_ms;
	server->tokens = tokens < full ? tokens : full;
	if (server->tokens < 1000)
		return false;
	server->tokens -= 1000;
	return true;
}

/* --- answers -----------------------------------------------------------------------------------
 */

struct answer {
	uint8_t *bytes;
	uint32_t count;
};

/* What is known of the shakehand at hand. */
struct attempt {
	const struct pg_shakehand *question;
	const uint8_t *payload, *message;
	uint32_t message_bytes;
	uint16_t client_id;
	uint8_t digest[PG_HASH_BYTES];
};

static void finish_answer(const struct attempt *attempt, uint16_t server_id, uint32_t payload_bytes,
			  struct answer *answer)
{
	struct pg_frame frame = {
		.session = (uint32_t)attempt->client_id << 16 | server_id,
		.opcode = PG_OP_HANDSHAKE,
		.payload_bytes = payload_bytes,
	};

	pg_frame_write_header(answer->bytes, &frame, attempt->question->unix_ms);
	answer->count = frame.bytes;
}

static enum pg_drop answer_busy(struct pg_handshake_server *server, const struct attempt *attempt,
				struct answer *answer)
{
	answer->bytes[AT_PAYLOAD] = PG_HANDSHAKE_BUSY;
	finish_answer(attempt, 0, 1, answer);
	server->counters.busy++;
	return PG_DROP_HANDSHAKE_BUSY;
}

static struct pg_cookie_subject subject_of(const struct pg_shakehand *question)
{
	struct pg_cookie_subject subject = question->from;

	subject.client_id_be = pg_be16(question->frame->session >> 16);
	return subject;
}

static enum pg_drop answer_cookie(struct pg_handshake_server *server, const struct attempt *attempt,
				  struct answer *answer)
{
	struct pg_cookie_subject subject = subject_of(attempt->question);

	answer->bytes[AT_PAYLOAD] = PG_HANDSHAKE_COOKIE;
	pg_cookie_make(server->rules.secrets, &subject, answer->bytes + AT_PAYLOAD + 1);
	finish_answer(attempt, 0, 1 + PG_COOKIE_BYTES, answer);
	server->counters.cookies_sent++;
	return PG_DROP_COOKIE_DUE;
}

static enum pg_drop answer_denied(struct pg_handshake_server *server, const struct attempt *attempt,
				  struct pg_noise *noise, struct answer *answer)
{
	answer->bytes[AT_PAYLOAD] = PG_HANDSHAKE_DENIED;
	if (!pg_noise_answer(noise, NULL, "", 0, answer->bytes + AT_PAYLOAD + 1))
		finish_answer(attempt, 0, 1 + PG_NOISE_OVERHEAD, answer);
	server->counters.denied++;
	return PG_DROP_TOKEN;
}

/* --- the steps of a shakehand ------------------------------------------------------------------
 */

static bool same_source(const struct entry *entry, const struct attempt *attempt)
{
	const struct pg_cookie_subject *from = &attempt->question->from;

	return entry->source[0] == from->source[0] && entry->source[1] == from->source[1] &&
	       entry->source_port_be == from->source_port_be &&
	       entry->session >> 16 == attempt->client_id;
}

static enum pg_drop answer_repeat(struct pg_handshake_server *server, const struct entry *entry,
				  const struct attempt *attempt, struct answer *answer)
{
	if (!same_source(entry, attempt))
		return PG_DROP_HANDSHAKE_SOURCE;
	memcpy(answer->bytes, entry->answer, entry->answer_bytes);
	answer->count = entry->answer_bytes;
	server->counters.repeated++;
	return PG_DROP_NONE;
}

/* Opens message 1 under the first static key that fits. */
static int hear(struct pg_handshake_server *server, const struct attempt *attempt,
		struct pg_noise *noise, uint8_t *ret_text)
{
	uint8_t prologue[PG_PROLOGUE_BYTES];
	int err = -EBADMSG;

	pg_handshake_prologue(attempt->client_id, attempt->payload[PG_SHAKEHAND_AT_WISH], prologue);
	for (int i = 0; i < PG_STATIC_KEYS && err == -EBADMSG; i++)
		if (server->rules.keys[i])
			err = pg_noise_hear(noise, prologue, sizeof(prologue),
					    server->rules.keys[i], attempt->message,
					    attempt->message_bytes, ret_text);
	return err;
}

/* The wish where it is allowed, else the first algorithm that is. */
static uint8_t choose_aead(const struct pg_handshake_server *server, uint8_t wish)
{
	static const uint8_t order[] = {
#define PG_X(name, number, label) number,
		PG_AEAD_ALGORITHMS(PG_X)
#undef PG_X
	};

	if (wish < 8 && pg_aead_algorithm_name(wish) && server->rules.aeads & 1u << wish)
		return wish;
	for (size_t i = 0; i < sizeof(order); i++)
		if (server->rules.aeads & 1u << order[i])
			return order[i];
	return PG_AEAD_CHACHA20_POLY1305;
}

static int write_accept(const struct attempt *attempt, struct pg_noise *noise,
			const struct pg_terms *terms, struct answer *answer,
			uint8_t ret_ikm[PG_SPLIT_BYTES])
{
	uint8_t text[PG_TERMS_MAX];
	uint32_t bytes = pg_terms_write(text, terms);
	int err;

	answer->bytes[AT_PAYLOAD] = PG_HANDSHAKE_ACCEPTED;
	err = pg_noise_answer(noise, NULL, text, bytes, answer->bytes + AT_PAYLOAD + 1);
	if (!err)
		err = pg_noise_split(noise, ret_ikm);
	if (!err)
		finish_answer(attempt, terms->server_id, 1 + bytes + PG_NOISE_OVERHEAD, answer);
	return err;
}

/* Remembers the answer. A READY one makes room where every place is taken. */
static uint32_t remember(struct pg_handshake_server *server, const struct attempt *attempt,
			 uint32_t session, const struct answer *answer, const uint8_t *ikm)
{
	const struct pg_shakehand *question = attempt->question;
	struct entry *entry;
	uint32_t place;

	if (!server->lists[UNUSED].count)
		release(server, server->lists[READY].first);
	entry = take_place(server, attempt->digest, &place);
	entry->source[0] = question->from.source[0];
	entry->source[1] = question->from.source[1];
	entry->source_port_be = question->from.source_port_be;
	entry->session = session;
	entry->deadline_ms = question->now_ms + PG_HALF_OPEN_MS;
	entry->answer_bytes = answer->count;
	memcpy(entry->answer, answer->bytes, answer->count);
	memcpy(entry->ikm, ikm, sizeof(entry->ikm));
	return place;
}

static enum pg_drop accept(struct pg_handshake_server *server, const struct attempt *attempt,
			   struct pg_noise *noise, struct pg_handshake_session *session,
			   struct answer *answer)
{
	const struct pg_shakehand *question = attempt->question;
	uint8_t ikm[PG_SPLIT_BYTES];
	int err;

	session->session = server->ops->choose(server->owner, attempt->client_id);
	if (!session->session)
		return answer_busy(server, attempt, answer);
	session->terms = (struct pg_terms){
		.aead = choose_aead(server, attempt->payload[PG_SHAKEHAND_AT_WISH]),
		.policy = question->policy,
		.guard = question->guard,
		.server_id = session->session & 0xffff,
		.parameters = server->rules.parameters,
	};
	session->ikm = ikm;
	err = write_accept(attempt, noise, &session->terms, answer, ikm);
	if (!err) {
		session->place = remember(server, attempt, session->session, answer, ikm);
		err = server->ops->opened(server->owner, question, session);
		if (err)
			release(server, session->place);
	}
	OPENSSL_cleanse(ikm, sizeof(ikm));
	if (err)
		return answer_busy(server, attempt, answer);
	server->counters.opened++;
	return PG_DROP_NONE;
}

static enum pg_drop judge(struct pg_handshake_server *server, const struct attempt *attempt,
			  struct pg_noise *noise, const uint8_t *text, struct answer *answer)
{
	struct pg_handshake_session session = { 0 };
	struct pg_question asked;
	char user[PG_USER_MAX] = "";

	if (pg_question_read(text, attempt->message_bytes - PG_NOISE_OVERHEAD, &asked))
		return PG_DROP_HANDSHAKE_MALFORMED;
	if (server->ops->authorize(server->owner, attempt->question, asked.token, asked.token_bytes,
				   user))
		return answer_denied(server, attempt, noise, answer);
	session.parameters = asked.parameters;
	session.user = user;
	return accept(server, attempt, noise, &session, answer);
}

static enum pg_drop open_session(struct pg_handshake_server *server, const struct attempt *attempt,
				 struct answer *answer)
{
	uint8_t text[PG_NOISE_PAYLOAD_MAX];
	struct pg_noise noise = { 0 };
	enum pg_drop drop;

	if (server->lists[OPEN].count >= server->rules.half_open ||
	    !take_token(server, attempt->question->now_ms))
		return answer_busy(server, attempt, answer);
	if (hear(server, attempt, &noise, text))
		drop = PG_DROP_HANDSHAKE_KEY;
	else
		drop = judge(server, attempt, &noise, text, answer);
	pg_noise_done(&noise);
	OPENSSL_cleanse(text, sizeof(text));
	return drop;
}

bool pg_handshake_server_asks_cookie(const struct pg_handshake_server *server,
				     const struct pg_shakehand *question)
{
	struct pg_cookie_subject subject = subject_of(question);

	return (question->cookie_due || pg_handshake_server_demands(server, question->now_ms)) &&
	       !pg_cookie_check(server->rules.secrets, &subject,
				question->bytes + AT_PAYLOAD + PG_SHAKEHAND_AT_COOKIE);
}

enum pg_drop pg_handshake_server_take(struct pg_handshake_server *server,
				      const struct pg_shakehand *question, uint8_t *ret_answer,
				      uint32_t *ret_bytes)
{
	struct answer answer = { .bytes = ret_answer };
	struct attempt attempt = {
		.question = question,
		.payload = question->bytes + AT_PAYLOAD,
		.client_id = question->frame->session >> 16,
	};
	enum pg_drop drop;
	uint32_t place;

	*ret_bytes = 0;
	pg_handshake_server_timer(server, question->now_ms);
	note_shakehand(server, question->now_ms);
	if (attempt.payload[PG_SHAKEHAND_AT_VERSION] != PG_HANDSHAKE_VERSION)
		return PG_DROP_HANDSHAKE_VERSION;
	attempt.message = attempt.payload + PG_SHAKEHAND_AT_NOISE;
	attempt.message_bytes = question->frame->payload_bytes - PG_SHAKEHAND_AT_NOISE;
	if (pg_sha256(attempt.message, attempt.message_bytes, NULL, 0, attempt.digest))
		return PG_DROP_HANDSHAKE_KEY;
	place = find(server, attempt.digest);
	if (place != NONE)
		drop = answer_repeat(server, &server->entries[place], &attempt, &answer);
	else if (pg_handshake_server_asks_cookie(server, question))
		drop = answer_cookie(server, &attempt, &answer);
	else
		drop = open_session(server, &attempt, &answer);
	*ret_bytes = answer.count;
	return drop;
}

uint64_t pg_handshake_digest(const __u64 seed[2], const struct pg_shakehand *question)
{
	return pg_siphash(seed, question->bytes + AT_PAYLOAD + PG_SHAKEHAND_AT_NOISE,
			  question->frame->payload_bytes - PG_SHAKEHAND_AT_NOISE);
}
