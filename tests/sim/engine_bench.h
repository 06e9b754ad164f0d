/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TESTS_ENGINE_BENCH_H
#define PG_TESTS_ENGINE_BENCH_H

/*
 * An engine in private memory with an environment that records what it asks for, a clock that the
 * test moves, and the client's side of sealing. Every frame the engine sends is checked here:
 * valid, guarded, to be opened with the client's keys, with a timestamp not below the last one, an
 * id used up before it leaves, no nonce for two different frames, and no frame more often than
 * PROTOCOL section 7 allows.
 * Include after cmocka.h.
 */

#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "packgate/replay.h"

#define BENCH_SESSION	  0x12345678u
#define BENCH_STREAMS	  1100
#define BENCH_EVENT_BYTES 16
#define BENCH_NONCES	  (1u << 16)
#define BENCH_SENT_MAX	  9 /* transmissions of a frame: the first and 8 retries */

struct bench_event {
	enum pg_app_kind kind;
	uint32_t stream, message, length;
	uint8_t bytes[BENCH_EVENT_BYTES]; /* the first ones */
};

struct bench_frame {
	struct pg_frame frame;
	uint64_t timestamp_ms;
	uint64_t peer_port_be; /* where it was sent */
	uint8_t bytes[PG_FRAME_MAX];
};

struct bench_stream {
	struct pg_stream_line line;
	struct pg_window window;
	bool used, published;
};

struct bench_reserve {
	enum pg_reserve kind;
	uint32_t bound;
};

struct bench {
	struct pg_engine engine;
	struct pg_engine_env env;
	struct pg_session line;
	struct pg_window window;
	struct pg_opened opened;
	uint8_t ack_flags;    /* of acks to the engine, besides their own */
	__u64 others_time_ms; /* of another sender of the session */
	struct pg_keys keys;
	struct pg_aead *peer_aead;
	struct pg_key_cache *peer_keys;
	struct bench_stream *streams;
	struct bench_event *events;
	struct bench_frame *sent;
	uint64_t (*nonces)[3]; /* of data frames sent: stream, pack; a digest; how often */
	struct bench_reserve reserves[64];
	uint32_t event_count, event_room, sent_count, sent_room, reserve_count, nonce_count;
	uint32_t most_sent; /* transmissions of one frame */
	uint32_t attached, detached, moved, closed;
	uint8_t closed_code;
	uint32_t stream_limit;
	enum pg_drop app;  /* what ready answers while app_room is 0 */
	uint32_t app_room; /* messages that the application still takes */
	uint32_t app_most; /* bytes of one that it would take */
	uint32_t ready_asked;
	uint32_t tx_room; /* frames that can be sent */
	bool guard, roams, publish_fails, drop_frames;
	uint64_t last_sent_ms;
	uint8_t room[PG_FRAME_MAX];
	bool room_taken;
};

static inline struct bench *bench_of(struct pg_engine *engine)
{
	return engine->env->owner;
}

static enum pg_drop bench_ready(struct pg_engine *engine, uint32_t stream, uint32_t bytes)
{
	struct bench *b = bench_of(engine);

	b->ready_asked++;
	return b->app_room && bytes <= b->app_most ? PG_DROP_NONE : b->app;
}

static void bench_event(struct pg_engine *engine, const struct pg_engine_event *event)
{
	struct bench *b = bench_of(engine);
	struct bench_event *e;

	if (b->event_count == b->event_room) {
		b->event_room = b->event_room ? b->event_room * 2 : 64;
		b->events = realloc(b->events, b->event_room * sizeof(*b->events));
		assert_non_null(b->events);
	}
	if (event->kind == PG_APP_MESSAGE) {
		assert_true(b->app_room > 0);
		if (b->app_room != UINT32_MAX)
			b->app_room--;
	}
	e = &b->events[b->event_count++];
	memset(e, 0, sizeof(*e));
	e->kind = event->kind;
	e->stream = event->stream;
	e->message = event->message;
	e->length = event->length;
	if (event->length)
		memcpy(e->bytes, event->bytes,
		       event->length < BENCH_EVENT_BYTES ? event->length : BENCH_EVENT_BYTES);
}

static uint8_t *bench_frame_alloc(struct pg_engine *engine)
{
	struct bench *b = bench_of(engine);

	if (!b->tx_room)
		return NULL;
	if (b->tx_room != UINT32_MAX)
		b->tx_room--;
	assert_false(b->room_taken);
	b->room_taken = true;
	return b->room;
}

/* The same nonce may only ever seal the same bytes. Returns whether it did before. */
static bool bench_note_nonce(struct bench *b, const struct bench_frame *sent)
{
	uint64_t id = (uint64_t)sent->frame.stream << 32 | sent->frame.pack;
	__u64 words[2] = { 1, sent->frame.fragment };
	uint64_t digest = pg_siphash(words, sent->bytes, sent->frame.bytes);
	uint64_t *known;
	uint32_t at;
	bool again;

	/* ids of the tests are small enough to tell fragments apart in the upper bits */
	id ^= (uint64_t)sent->frame.fragment << 54;
	at = (id * 0x9e3779b97f4a7c15ull) >> 48;
	if (!b->nonces)
		b->nonces = calloc(BENCH_NONCES, sizeof(*b->nonces));
	assert_non_null(b->nonces);
	while (b->nonces[at][0] && b->nonces[at][0] != id)
		at = (at + 1) % BENCH_NONCES;
	known = b->nonces[at];
	again = known[0];
	if (again)
		assert_int_equal(known[1], digest);
	else
		assert_true(++b->nonce_count < BENCH_NONCES);
	known[0] = id;
	known[1] = digest;
	assert_in_range(++known[2], 1, BENCH_SENT_MAX);
	if (known[2] > b->most_sent)
		b->most_sent = known[2];
	return again;
}

static void bench_open(struct bench *b, struct bench_frame *sent)
{
	const struct pg_frame *frame = &sent->frame;
	uint8_t *text = sent->bytes + frame->header_bytes;
	uint32_t bytes = frame->payload_bytes - PG_TAG_BYTES - (b->guard ? PG_GUARD_BYTES : 0);
	struct pg_aead_job job = {
		.aad = sent->bytes,
		.aad_bytes = frame->header_bytes,
		.text = text,
		.text_bytes = bytes,
		.tag = text + bytes,
	};

	pg_key_cache_begin(b->peer_keys);
	job.key = pg_key_cache_get(b->peer_keys, 1, &b->keys, PG_AEAD_CHACHA20_POLY1305, PG_S2C,
				   frame->stream, frame->pack);
	pg_frame_nonce(b->keys.direction[PG_S2C].iv, frame, job.nonce);
	pg_aead_open(b->peer_aead, &job, 1);
	assert_int_equal(job.result, 0);
}

static void bench_frame_send(struct pg_engine *engine, uint8_t *bytes, uint32_t count)
{
	struct bench *b = bench_of(engine);
	struct pg_series *series = &engine->series;
	struct bench_frame *sent;
	bool again = false;
	uint64_t guard[2];
	__u64 words[2];

	assert_ptr_equal(bytes, b->room);
	assert_true(b->room_taken);
	b->room_taken = false;
	if (b->sent_count == b->sent_room) {
		b->sent_room = b->sent_room ? b->sent_room * 2 : 64;
		b->sent = realloc(b->sent, b->sent_room * sizeof(*b->sent));
		assert_non_null(b->sent);
	}
	sent = &b->sent[b->sent_count];
	memcpy(sent->bytes, bytes, count);
	assert_int_equal(pg_frame_check(sent->bytes, sent->bytes + count, count, PG_S2C, b->guard,
					&sent->frame),
			 PG_DROP_NONE);
	pg_keys_guard_words(&b->keys, PG_S2C, guard);
	words[0] = guard[0];
	words[1] = guard[1];
	if (b->guard)
		assert_true(pg_guard_check(words, sent->bytes, &sent->frame));
	assert_int_equal(sent->frame.session, BENCH_SESSION);
	sent->timestamp_ms = pg_frame_timestamp_ms(sent->bytes);
	sent->peer_port_be = engine->line->peer_port_be;
	if (sent->frame.opcode == PG_OP_DATA) {
		for (struct pg_stream *s = engine->streams; s && sent->frame.stream; s = s->next)
			if (s->series.stream == sent->frame.stream)
				series = &s->series;
		assert_int_equal(series->stream, sent->frame.stream);
		assert_true(series->window->next_send > sent->frame.pack);
		again = bench_note_nonce(b, sent);
		bench_open(b, sent);
	}
	/* what is sent again keeps its time */
	if (!again) {
		assert_true(sent->timestamp_ms >= b->last_sent_ms);
		b->last_sent_ms = sent->timestamp_ms;
	}
	if (!b->drop_frames)
		b->sent_count++;
}

static int bench_stream_attach(struct pg_engine *engine, uint32_t stream,
			       struct pg_stream_memory *ret_memory)
{
	struct bench *b = bench_of(engine);

	if (b->attached - b->detached >= b->stream_limit)
		return -ENOSPC;
	for (uint32_t i = 0; i < BENCH_STREAMS; i++) {
		struct bench_stream *s = &b->streams[i];

		if (s->used)
			continue;
		memset(s, 0, sizeof(*s));
		s->used = true;
		s->line.stream = stream;
		*ret_memory = (struct pg_stream_memory){ &s->line, &s->window, i };
		b->attached++;
		return 0;
	}
	return -ENOSPC;
}

static int bench_stream_publish(struct pg_engine *engine, const struct pg_stream *stream)
{
	struct bench *b = bench_of(engine);

	assert_int_equal(stream->line->state, PG_STREAM_OPEN);
	if (b->publish_fails)
		return -ENOMEM;
	b->streams[stream->slot].published = true;
	return 0;
}

static void bench_stream_detach(struct pg_engine *engine, const struct pg_stream *stream)
{
	struct bench *b = bench_of(engine);

	assert_true(b->streams[stream->slot].used);
	b->streams[stream->slot].used = false;
	b->detached++;
}

static void bench_reserve(struct pg_engine *engine, enum pg_reserve kind, uint32_t bound)
{
	struct bench *b = bench_of(engine);

	assert_true(b->reserve_count < sizeof(b->reserves) / sizeof(b->reserves[0]));
	b->reserves[b->reserve_count++] = (struct bench_reserve){ kind, bound };
}

static void bench_peer_moved(struct pg_engine *engine)
{
	bench_of(engine)->moved++;
}

static void bench_closed(struct pg_engine *engine, uint8_t code)
{
	bench_of(engine)->closed++;
	bench_of(engine)->closed_code = code;
}

static uint8_t bench_random_next;

static void bench_random(uint8_t *bytes, uint32_t count)
{
	while (count--)
		*bytes++ = ++bench_random_next;
}

static const struct pg_engine_ops bench_ops = {
	.ready = bench_ready,
	.event = bench_event,
	.frame_alloc = bench_frame_alloc,
	.frame_send = bench_frame_send,
	.stream_attach = bench_stream_attach,
	.stream_publish = bench_stream_publish,
	.stream_detach = bench_stream_detach,
	.peer_moved = bench_peer_moved,
	.closed = bench_closed,
	.random = bench_random,
};

static const struct pg_engine_ops bench_ops_reserving = {
	.ready = bench_ready,
	.event = bench_event,
	.frame_alloc = bench_frame_alloc,
	.frame_send = bench_frame_send,
	.stream_attach = bench_stream_attach,
	.stream_publish = bench_stream_publish,
	.stream_detach = bench_stream_detach,
	.reserve = bench_reserve,
	.peer_moved = bench_peer_moved,
	.closed = bench_closed,
	.random = bench_random,
};

/* The engine over the bench's memory as it is: a first start, or one after a crash. */
static inline void bench_start(struct bench *b)
{
	struct pg_engine_start start = {
		.line = &b->line,
		.window = &b->window,
		.opened = &b->opened,
		.others_time_ms = &b->others_time_ms,
		.keys = &b->keys,
		.handle = 1,
		.aead = PG_AEAD_CHACHA20_POLY1305,
		.guard = b->guard,
		.roams = b->roams,
		.owner = b,
	};

	pg_engine_init(&b->engine, &b->env, &start);
}

static inline struct bench *bench_new(uint8_t policy, bool guard, bool roams)
{
	uint8_t secret[PG_SECRET_BYTES] = { 7 };
	struct bench *b = calloc(1, sizeof(*b));
	uint64_t words[2];

	assert_non_null(b);
	b->streams = calloc(BENCH_STREAMS, sizeof(*b->streams));
	assert_non_null(b->streams);
	assert_int_equal(pg_keys_derive(secret, sizeof(secret), &b->keys), 0);
	b->guard = guard;
	b->roams = roams;
	b->app = PG_DROP_APP_FULL;
	b->app_room = b->app_most = b->tx_room = UINT32_MAX;
	b->stream_limit = BENCH_STREAMS;
	b->line.id = BENCH_SESSION;
	b->line.state = PG_SESSION_READY;
	b->line.policy = policy;
	b->line.peer[1] = 0x0100007fffff0000ull;
	b->line.peer_port_be = 1;
	pg_keys_guard_words(&b->keys, PG_C2S, words);
	b->line.guard_c2s[0] = words[0];
	b->line.guard_c2s[1] = words[1];
	pg_keys_guard_words(&b->keys, PG_S2C, words);
	b->line.guard_s2c[0] = words[0];
	b->line.guard_s2c[1] = words[1];
	b->env.ops = &bench_ops;
	b->env.owner = b;
	b->env.now_ms = 100000;
	b->env.unix_ms = 1700000000000ull;
	pg_engine_options_default(&b->env.options);
	assert_int_equal(pg_aead_new("openssl", &b->env.aead, NULL), 0);
	assert_int_equal(pg_aead_new("openssl", &b->peer_aead, NULL), 0);
	assert_int_equal(pg_key_cache_new(b->env.aead, 1024, &b->env.keys), 0);
	assert_int_equal(pg_key_cache_new(b->peer_aead, 64, &b->peer_keys), 0);
	bench_start(b);
	return b;
}

static inline void bench_free(struct bench *b)
{
	pg_engine_done(&b->engine);
	pg_key_cache_free(b->env.keys);
	pg_key_cache_free(b->peer_keys);
	pg_aead_free(b->env.aead);
	pg_aead_free(b->peer_aead);
	free(b->nonces);
	free(b->streams);
	free(b->events);
	free(b->sent);
	free(b);
}

/* The process dies, and another one adopts what the maps hold. */
static inline void bench_restart(struct bench *b)
{
	pg_engine_done(&b->engine);
	bench_start(b);
	for (uint32_t i = 0; i < BENCH_STREAMS; i++) {
		struct bench_stream *s = &b->streams[i];
		struct pg_stream_memory memory = { &s->line, &s->window, i };

		if (s->used)
			assert_int_equal(
				pg_engine_adopt_stream(&b->engine, s->line.stream, &memory), 0);
	}
	pg_engine_adopted(&b->engine);
}

/* Both clocks go on; timers that fall due run when they are due. */
static inline void bench_pass(struct bench *b, uint64_t ms)
{
	uint64_t end = b->env.now_ms + ms, step;

	while (b->engine.deadline_ms <= end) {
		step = b->engine.deadline_ms > b->env.now_ms ? b->engine.deadline_ms - b->env.now_ms
							     : 0;
		b->env.now_ms += step;
		b->env.unix_ms += step;
		pg_key_cache_begin(b->env.keys);
		pg_engine_timer(&b->engine);
		assert_true(b->engine.deadline_ms > b->env.now_ms);
	}
	b->env.unix_ms += end - b->env.now_ms;
	b->env.now_ms = end;
}

/* --- the client ----------------------------------------------------------------------------------
 */

static inline void bench_guard(struct bench *b, uint8_t *out, struct pg_frame *frame)
{
	uint64_t key[2];

	if (!b->guard)
		return;
	pg_keys_guard_words(&b->keys, PG_C2S, key);
	pg_frame_write_guard(out, frame, key);
}

/* Seals a data frame of the client; flags beside PACK and STRE. Returns its bytes. */
static inline uint32_t bench_seal(struct bench *b, uint8_t *out, uint32_t stream, uint32_t pack,
				  uint8_t flags, uint64_t timestamp_ms, const void *text,
				  uint32_t bytes)
{
	struct pg_frame frame = {
		.session = BENCH_SESSION,
		.stream = stream,
		.pack = pack,
		.fragment = flags & PG_FLAG_FRAG ? 1 : 0,
		.opcode = PG_OP_DATA,
		.flags = flags | PG_FLAG_PACK | (stream ? PG_FLAG_STRE : 0),
		.payload_bytes = bytes + PG_TAG_BYTES + (b->guard ? PG_GUARD_BYTES : 0),
	};
	struct pg_aead_job job = { 0 };

	pg_frame_write_header(out, &frame, timestamp_ms);
	if (bytes)
		memcpy(out + frame.header_bytes, text, bytes);
	pg_key_cache_begin(b->peer_keys);
	job.key = pg_key_cache_get(b->peer_keys, 1, &b->keys, PG_AEAD_CHACHA20_POLY1305, PG_C2S,
				   stream, pack);
	job.aad = out;
	job.aad_bytes = frame.header_bytes;
	job.text = out + frame.header_bytes;
	job.text_bytes = bytes;
	job.tag = job.text + bytes;
	pg_frame_nonce(b->keys.direction[PG_C2S].iv, &frame, job.nonce);
	pg_aead_seal(b->peer_aead, &job, 1);
	assert_int_equal(job.result, 0);
	bench_guard(b, out, &frame);
	return frame.bytes;
}

/* One datagram that arrives. */
struct bench_in {
	uint8_t bytes[PG_FRAME_MAX];
	uint32_t count;
	uint16_t port_be;  /* of its sender; 0 = the pinned peer */
	enum pg_drop drop; /* filled: what became of it */
	bool acked;
};

static inline struct pg_engine_source bench_source(const struct bench *b, const struct bench_in *in)
{
	uint16_t port = in->port_be ? in->port_be : b->line.peer_port_be;

	return (struct pg_engine_source){
		.address = { b->line.peer[0], b->line.peer[1] },
		.port_be = port,
		.pinned = port == b->line.peer_port_be,
	};
}

/* A batch of data frames, as a worker runs it: classify all, open all, apply in order. */
static inline void bench_batch(struct bench *b, struct bench_in *in, uint32_t count)
{
	struct pg_aead_job jobs[64];
	struct pg_frame frames[64];
	uint32_t which[64], n = 0;

	assert_true(count <= 64);
	pg_key_cache_begin(b->env.keys);
	for (uint32_t i = 0; i < count; i++) {
		struct pg_engine_source source = bench_source(b, &in[i]);

		in[i].acked = false;
		in[i].drop = pg_frame_check(in[i].bytes, in[i].bytes + in[i].count, in[i].count,
					    PG_C2S, b->guard, &frames[n]);
		if (!in[i].drop)
			in[i].drop = pg_engine_classify(&b->engine, &frames[n], in[i].bytes,
							source.pinned, &jobs[n]);
		if (!in[i].drop)
			which[n++] = i;
	}
	pg_aead_open(b->env.aead, jobs, n);
	pg_key_cache_begin(b->env.keys);
	for (uint32_t i = 0; i < n; i++) {
		struct bench_in *one = &in[which[i]];
		struct pg_engine_source source = bench_source(b, one);

		one->drop = pg_engine_data(&b->engine, &frames[i], one->bytes, &source,
					   jobs[i].result, &one->acked);
	}
	pg_engine_publish(&b->engine);
}

static inline void bench_make(struct bench *b, struct bench_in *in, uint32_t stream, uint32_t pack)
{
	uint8_t text[8];

	pg_store_be32(text, stream);
	pg_store_be32(text + 4, pack);
	in->count = bench_seal(b, in->bytes, stream, pack, 0, b->env.unix_ms, text, sizeof(text));
	in->port_be = 0;
}

/* One data frame whose text is its stream and pack, from the pinned peer. */
static inline enum pg_drop bench_data(struct bench *b, uint32_t stream, uint32_t pack)
{
	struct bench_in in;

	bench_make(b, &in, stream, pack);
	bench_batch(b, &in, 1);
	return in.drop;
}

static inline enum pg_drop bench_control_from(struct bench *b, enum pg_opcode opcode,
					      uint32_t stream, uint32_t pack, const void *payload,
					      uint32_t bytes, uint16_t port_be)
{
	struct pg_frame frame = {
		.session = BENCH_SESSION,
		.stream = stream,
		.pack = pack,
		.opcode = opcode,
		.flags = (stream ? PG_FLAG_STRE : 0) | (pack ? PG_FLAG_PACK : 0) |
			 (opcode == PG_OP_ACK ? b->ack_flags : 0),
		.payload_bytes = bytes + (b->guard ? PG_GUARD_BYTES : 0),
	};
	struct bench_in in = { .port_be = port_be };
	struct pg_engine_source source = bench_source(b, &in);
	enum pg_drop drop;

	pg_frame_write_header(in.bytes, &frame, b->env.unix_ms);
	if (bytes)
		memcpy(in.bytes + frame.header_bytes, payload, bytes);
	bench_guard(b, in.bytes, &frame);
	assert_int_equal(pg_frame_check(in.bytes, in.bytes + frame.bytes, frame.bytes, PG_C2S,
					b->guard, &frame),
			 PG_DROP_NONE);
	pg_key_cache_begin(b->env.keys);
	drop = pg_engine_control(&b->engine, &frame, in.bytes, &source);
	pg_engine_publish(&b->engine);
	return drop;
}

static inline enum pg_drop bench_control(struct bench *b, enum pg_opcode opcode, uint32_t stream,
					 uint32_t pack, const void *payload, uint32_t bytes)
{
	return bench_control_from(b, opcode, stream, pack, payload, bytes, 0);
}

/* --- what was recorded ---------------------------------------------------------------------------
 */

static inline uint32_t bench_count_sent(const struct bench *b, enum pg_opcode opcode,
					uint32_t stream, uint32_t pack)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < b->sent_count; i++)
		count += b->sent[i].frame.opcode == opcode && b->sent[i].frame.stream == stream &&
			 (!pack || b->sent[i].frame.pack == pack);
	return count;
}

static inline uint32_t bench_count_events(const struct bench *b, enum pg_app_kind kind,
					  uint32_t stream)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < b->event_count; i++)
		count += b->events[i].kind == kind && b->events[i].stream == stream;
	return count;
}

static inline void bench_clear(struct bench *b)
{
	b->event_count = b->sent_count = b->reserve_count = 0;
}

/*
 * The events since bench_clear as text: "m1 g2+3 m5": message 1, a gap of three ids from 2 on,
 * message 5; s, f sent and failed; o, c a stream opened and closed. Of every stream in turn.
 */
static inline const char *bench_story(const struct bench *b)
{
	static char text[4096];
	uint32_t n = 0;

	text[0] = 0;
	for (uint32_t i = 0; i < b->event_count && n < sizeof(text) - 64; i++) {
		const struct bench_event *e = &b->events[i];
		char stream[16] = "";

		if (e->stream)
			snprintf(stream, sizeof(stream), "%u:", e->stream);
		if (e->kind == PG_APP_MESSAGE && e->length == 8) {
			assert_int_equal(pg_load_be32(e->bytes), e->stream);
			assert_int_equal(pg_load_be32(e->bytes + 4), e->message);
		}
		n += snprintf(text + n, sizeof(text) - n, "%s%s", n ? " " : "", stream);
		switch (e->kind) {
		case PG_APP_MESSAGE:
			n += snprintf(text + n, sizeof(text) - n, "m%u", e->message);
			break;
		case PG_APP_GAP:
			assert_int_equal(e->length, 4);
			n += snprintf(text + n, sizeof(text) - n, "g%u+%u", e->message,
				      pg_load_be32(e->bytes));
			break;
		case PG_APP_SENT:
			n += snprintf(text + n, sizeof(text) - n, "s%u", e->message);
			break;
		case PG_APP_FAILED:
			n += snprintf(text + n, sizeof(text) - n, "f%u", e->message);
			break;
		case PG_APP_STREAM_OPEN:
			n += snprintf(text + n, sizeof(text) - n, "o");
			break;
		case PG_APP_STREAM_CLOSED:
			n += snprintf(text + n, sizeof(text) - n, "c");
			break;
		default:
			n += snprintf(text + n, sizeof(text) - n, "?");
		}
	}
	return text;
}

#endif
