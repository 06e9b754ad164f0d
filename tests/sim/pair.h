/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TESTS_PAIR_H
#define PG_TESTS_PAIR_H

/*
 * A client's and a server's engine over a network that loses, duplicates, delays and reorders
 * datagrams and drops those above its MTU, on one clock that jumps from event to event. Every data
 * frame that leaves is recorded: a nonce seals the same bytes for ever, no frame leaves more often
 * than PROTOCOL section 7 allows, and a packId is used up before it leaves. Include after cmocka.h.
 */

#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "packgate/replay.h"
#include "packgate/siphash.h"

#define PAIR_SESSION  0x1234abcdu
#define CLIENT	      0
#define SERVER	      1
#define PAIR_SENT_MAX 9 /* transmissions of a frame: the first and 8 retries */

struct pair;

struct pair_end {
	struct pair *pair;
	int which;
	struct pg_engine engine;
	struct pg_engine_env env;
	struct pg_session line;
	struct pg_window window;
	struct pg_opened opened;
	uint8_t room[PG_FRAME_MAX];
	uint64_t full_until_ms;	   /* its application takes nothing ... */
	uint32_t room_bytes;	   /* ... that is longer than this */
	uint64_t blocked_until_ms; /* it cannot transmit */
	uint32_t closed;
	uint8_t closed_code;
	uint64_t frames, data_bytes;
};

struct pair_datagram {
	uint64_t due_ms, number;
	int to;
	uint32_t bytes;
	uint8_t *data;
};

struct pair_network {
	uint32_t loss, duplication; /* percent */
	uint32_t delay_ms, jitter_ms;
	uint32_t mtu; /* of the UDP payload, bytes */
	bool dead;    /* loses everything */
	/* whether it loses this one; NULL = left to chance */
	bool (*loses)(struct pair *pair, int to, const uint8_t *bytes, uint32_t count);
};

struct pair_seal {
	uint64_t key, digest; /* key 0 = free */
	uint32_t sent;
};

struct pair {
	struct pair_end end[2];
	struct pair_network network;
	uint64_t seed, now_ms, number;
	struct pair_datagram *heap;
	uint32_t heap_count, heap_room;
	struct pair_seal *seals;
	uint32_t seal_count, seal_room; /* a power of two */
	uint32_t most_sent;		/* transmissions of one frame */
	void (*event)(struct pair *pair, int which, const struct pg_engine_event *event);
	void *owner;
};

static inline uint32_t pair_draw(struct pair *pair, uint32_t below)
{
	pair->seed = pair->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(pair->seed >> 33) % below;
}

/* --- datagrams on their way, by the time they are due ---------------------------------------- */

static inline bool pair_before(const struct pair_datagram *a, const struct pair_datagram *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->number < b->number;
}

static inline void pair_swap(struct pair_datagram *a, struct pair_datagram *b)
{
	struct pair_datagram other = *a;

	*a = *b;
	*b = other;
}

static inline void pair_push(struct pair *pair, struct pair_datagram datagram)
{
	uint32_t at = pair->heap_count++;

	if (at == pair->heap_room) {
		pair->heap_room = at ? at * 2 : 256;
		pair->heap = realloc(pair->heap, pair->heap_room * sizeof(*pair->heap));
		assert_non_null(pair->heap);
	}
	datagram.number = pair->number++;
	pair->heap[at] = datagram;
	for (; at && pair_before(&pair->heap[at], &pair->heap[(at - 1) / 2]); at = (at - 1) / 2)
		pair_swap(&pair->heap[at], &pair->heap[(at - 1) / 2]);
}

static inline struct pair_datagram pair_pop(struct pair *pair)
{
	struct pair_datagram first = pair->heap[0];
	uint32_t at = 0, child;

	pair->heap[0] = pair->heap[--pair->heap_count];
	while ((child = 2 * at + 1) < pair->heap_count) {
		if (child + 1 < pair->heap_count &&
		    pair_before(&pair->heap[child + 1], &pair->heap[child]))
			child++;
		if (!pair_before(&pair->heap[child], &pair->heap[at]))
			break;
		pair_swap(&pair->heap[child], &pair->heap[at]);
		at = child;
	}
	return first;
}

static inline void pair_transmit(struct pair *pair, int to, const uint8_t *bytes, uint32_t count)
{
	const struct pair_network *network = &pair->network;
	int copies = 1 + (pair_draw(pair, 100) < network->duplication);

	while (copies--) {
		struct pair_datagram datagram = { .to = to, .bytes = count };

		if (network->dead || count > network->mtu || pair_draw(pair, 100) < network->loss)
			continue;
		if (network->loses && network->loses(pair, to, bytes, count))
			continue;
		datagram.due_ms =
			pair->now_ms + network->delay_ms + pair_draw(pair, network->jitter_ms + 1);
		datagram.data = malloc(count);
		assert_non_null(datagram.data);
		memcpy(datagram.data, bytes, count);
		pair_push(pair, datagram);
	}
}

/* --- what sealed what --------------------------------------------------------------------------
 */

static inline struct pair_seal *pair_seal_at(struct pair *pair, uint64_t key)
{
	uint32_t at = key & (pair->seal_room - 1);

	while (pair->seals[at].key && pair->seals[at].key != key)
		at = (at + 1) & (pair->seal_room - 1);
	return &pair->seals[at];
}

static inline void pair_grow_seals(struct pair *pair)
{
	struct pair_seal *old = pair->seals;
	uint32_t room = pair->seal_room;

	pair->seal_room = room ? room * 2 : 1024;
	pair->seals = calloc(pair->seal_room, sizeof(*pair->seals));
	assert_non_null(pair->seals);
	for (uint32_t i = 0; i < room; i++)
		if (old[i].key)
			*pair_seal_at(pair, old[i].key) = old[i];
	free(old);
}

/* A nonce of a direction: all that names it. The digest of 64 bits stands for it. */
static inline void pair_note_seal(struct pair *pair, int which, const struct pg_frame *frame,
				  const uint8_t *bytes)
{
	__u64 words[2] = { 0x1111, 0x2222 + which };
	uint32_t name[3] = { frame->stream, frame->pack, frame->fragment };
	uint64_t key = pg_siphash(words, (const __u8 *)name, sizeof(name)) | 1;
	uint64_t digest = pg_siphash(words, bytes, frame->bytes);
	struct pair_seal *seal;

	if (pair->seal_count * 2 >= pair->seal_room)
		pair_grow_seals(pair);
	seal = pair_seal_at(pair, key);
	if (!seal->key) {
		*seal = (struct pair_seal){ key, digest, 0 };
		pair->seal_count++;
	}
	assert_true(seal->digest == digest);
	assert_in_range(++seal->sent, 1, PAIR_SENT_MAX);
	if (seal->sent > pair->most_sent)
		pair->most_sent = seal->sent;
}

/* --- the environment of an engine ----------------------------------------------------------------
 */

static inline struct pair_end *pair_end_of(struct pg_engine *engine)
{
	return engine->owner;
}

static enum pg_drop pair_ready(struct pg_engine *engine, uint32_t stream, uint32_t bytes)
{
	struct pair_end *end = pair_end_of(engine);

	if (end->pair->now_ms >= end->full_until_ms ||
	    (end->room_bytes && bytes <= end->room_bytes))
		return PG_DROP_NONE;
	return PG_DROP_APP_FULL;
}

static void pair_event(struct pg_engine *engine, const struct pg_engine_event *event)
{
	struct pair_end *end = pair_end_of(engine);

	end->pair->event(end->pair, end->which, event);
}

static uint8_t *pair_frame_alloc(struct pg_engine *engine)
{
	struct pair_end *end = pair_end_of(engine);

	return end->pair->now_ms < end->blocked_until_ms ? NULL : end->room;
}

static const struct pg_window *pair_window(struct pg_engine *engine, uint32_t stream)
{
	if (!stream)
		return engine->series.window;
	for (const struct pg_stream *s = engine->streams; s; s = s->next)
		if (s->series.stream == stream)
			return s->series.window;
	return NULL;
}

static void pair_frame_send(struct pg_engine *engine, uint8_t *bytes, uint32_t count)
{
	struct pair_end *end = pair_end_of(engine);
	const struct pg_window *window;
	struct pg_frame frame;

	assert_ptr_equal(bytes, end->room);
	assert_int_equal(
		pg_frame_check(bytes, bytes + count, count, engine->out, engine->guard, &frame),
		PG_DROP_NONE);
	if (frame.opcode == PG_OP_DATA) {
		window = pair_window(engine, frame.stream);
		assert_non_null(window);
		assert_true(window->next_send > frame.pack);
		pair_note_seal(end->pair, end->which, &frame, bytes);
		end->data_bytes += count;
	}
	end->frames++;
	pair_transmit(end->pair, !end->which, bytes, count);
}

static void pair_closed(struct pg_engine *engine, uint8_t code)
{
	pair_end_of(engine)->closed++;
	pair_end_of(engine)->closed_code = code;
}

static uint8_t pair_random_next;

static void pair_random(uint8_t *bytes, uint32_t count)
{
	while (count--)
		*bytes++ = ++pair_random_next * 37;
}

static const struct pg_engine_ops pair_ops = {
	.ready = pair_ready,
	.event = pair_event,
	.frame_alloc = pair_frame_alloc,
	.frame_send = pair_frame_send,
	.closed = pair_closed,
	.random = pair_random,
};

/* --- life ----------------------------------------------------------------------------------------
 */

/* What all runs share: keys are expensive to set up. */
struct pair_crypto {
	struct pg_aead *aead[2];
	struct pg_key_cache *keys[2];
	uint64_t handle;
};

static inline void pair_crypto_init(struct pair_crypto *crypto)
{
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pg_aead_new("openssl", &crypto->aead[i], NULL), 0);
		assert_int_equal(pg_key_cache_new(crypto->aead[i], 64, &crypto->keys[i]), 0);
	}
	crypto->handle = 1;
}

static inline void pair_crypto_done(struct pair_crypto *crypto)
{
	for (int i = 0; i < 2; i++) {
		pg_key_cache_free(crypto->keys[i]);
		pg_aead_free(crypto->aead[i]);
	}
}

struct pair_options {
	bool guard, expires;
	uint8_t aead, policy;
	struct pg_engine_options engine[2];
};

static inline void pair_clock(struct pair *pair, uint64_t now_ms)
{
	pair->now_ms = now_ms;
	for (int i = 0; i < 2; i++) {
		pair->end[i].env.now_ms = now_ms;
		pair->end[i].env.unix_ms = 1700000000000ull + now_ms;
		pg_key_cache_begin(pair->end[i].env.keys);
	}
}

static inline void pair_start_end(struct pair *pair, int which, const struct pg_keys *keys,
				  struct pair_crypto *crypto, const struct pair_options *options)
{
	struct pair_end *end = &pair->end[which];
	struct pg_engine_start start = {
		.line = &end->line,
		.window = &end->window,
		.opened = &end->opened,
		.keys = keys,
		.handle = crypto->handle,
		.aead = options->aead,
		.guard = options->guard,
		.client = which == CLIENT,
		.expires = options->expires,
		.owner = end,
	};
	uint64_t words[2];

	end->pair = pair;
	end->which = which;
	end->line.id = PAIR_SESSION;
	end->line.state = PG_SESSION_READY;
	end->line.policy = options->policy;
	pg_keys_guard_words(keys, PG_C2S, words);
	memcpy(end->line.guard_c2s, words, sizeof(words));
	pg_keys_guard_words(keys, PG_S2C, words);
	memcpy(end->line.guard_s2c, words, sizeof(words));
	end->env.ops = &pair_ops;
	end->env.options = options->engine[which];
	pg_engine_options_default(&end->env.options);
	end->env.aead = crypto->aead[which];
	end->env.keys = crypto->keys[which];
	pair_clock(pair, pair->now_ms);
	pg_engine_init(&end->engine, &end->env, &start);
}

/* pair is zeroed but for event and owner. */
static inline void pair_init(struct pair *pair, uint64_t seed, struct pair_crypto *crypto,
			     const struct pair_options *options)
{
	uint8_t secret[PG_SECRET_BYTES] = { seed, seed >> 8, 3 };
	struct pg_keys keys;

	pair->seed = seed * 0x9e3779b97f4a7c15ull;
	pair->now_ms = 1000;
	assert_int_equal(pg_keys_derive(secret, sizeof(secret), &keys), 0);
	crypto->handle++;
	for (int i = 0; i < 2; i++) {
		pair->end[i].env.keys = crypto->keys[i];
	}
	for (int i = 0; i < 2; i++)
		pair_start_end(pair, i, &keys, crypto, options);
}

static inline void pair_done(struct pair *pair)
{
	for (int i = 0; i < 2; i++)
		pg_engine_done(&pair->end[i].engine);
	while (pair->heap_count)
		free(pair->heap[--pair->heap_count].data);
	free(pair->heap);
	free(pair->seals);
}

/* --- time ----------------------------------------------------------------------------------------
 */

/* When something happens next by itself; UINT64_MAX = never. */
static inline uint64_t pair_next_ms(const struct pair *pair)
{
	uint64_t next = pair->heap_count ? pair->heap[0].due_ms : UINT64_MAX;

	for (int i = 0; i < 2; i++)
		if (pair->end[i].engine.deadline_ms < next)
			next = pair->end[i].engine.deadline_ms;
	return next;
}

static inline void pair_receive(struct pair *pair, struct pair_datagram *datagram)
{
	struct pg_engine_source source = { .pinned = true };
	enum pg_drop drop;

	drop = pg_engine_receive(&pair->end[datagram->to].engine, datagram->data, datagram->bytes,
				 &source);
	/* what two right ends say to each other is never malformed or forged */
	assert_int_not_equal(drop, PG_DROP_TAG);
	assert_int_not_equal(drop, PG_DROP_GUARD);
	assert_int_not_equal(drop, PG_DROP_FRAGMENT_CONFLICT);
	assert_int_not_equal(drop, PG_DROP_REPLAY_AHEAD);
	free(datagram->data);
}

static inline void pair_check_bounds(const struct pair *pair)
{
	for (int i = 0; i < 2; i++) {
		const struct pg_engine *engine = &pair->end[i].engine;
		const struct pg_engine_options *options = &engine->env->options;

		assert_true(engine->waiting_bytes <= options->receive_buffer_bytes);
		assert_true(engine->tx.bytes <= options->send_buffer_bytes);
		assert_true(engine->stream_count <= engine->streams_at_once);
	}
}

/* Goes on to that time and does all that is due by then. */
static inline void pair_run_to(struct pair *pair, uint64_t to_ms)
{
	uint64_t next;

	while ((next = pair_next_ms(pair)) <= to_ms) {
		if (next < pair->now_ms)
			next = pair->now_ms;
		pair_clock(pair, next);
		while (pair->heap_count && pair->heap[0].due_ms <= next) {
			struct pair_datagram datagram = pair_pop(pair);

			pair_receive(pair, &datagram);
		}
		for (int i = 0; i < 2; i++) {
			if (pair->end[i].engine.deadline_ms > next)
				continue;
			pg_engine_timer(&pair->end[i].engine);
			assert_true(pair->end[i].engine.deadline_ms > next);
		}
		pair_check_bounds(pair);
	}
	if (to_ms != UINT64_MAX)
		pair_clock(pair, to_ms);
}

#endif
