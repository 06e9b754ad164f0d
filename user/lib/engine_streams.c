// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "packgate/replay_commit.h"

#define STREAM_IDS_AHEAD  64 /* stream ids of one reservation */
#define BUCKET_BITS_FIRST 3

/* --- streams by id -----------------------------------------------------------------------------
 */

static struct pg_stream **bucket_of(const struct pg_engine *engine, uint32_t stream)
{
	return &engine->buckets[stream * engine->bucket_seed >> (64 - engine->bucket_bits)];
}

static void fill_bucket(struct pg_engine *engine, struct pg_stream *stream)
{
	struct pg_stream **bucket = bucket_of(engine, stream->series.stream);

	stream->bucket_next = *bucket;
	*bucket = stream;
}

/* Keeps at least a bucket a stream; without memory for more, fewer still work. */
static int grow_buckets(struct pg_engine *engine)
{
	uint32_t bits = engine->buckets ? engine->bucket_bits + 1 : BUCKET_BITS_FIRST;
	struct pg_stream **buckets;

	if (engine->buckets && engine->stream_count < 1u << engine->bucket_bits)
		return 0;
	buckets = calloc(1u << bits, sizeof(struct pg_stream *));
	if (!buckets)
		return engine->buckets ? 0 : -ENOMEM;
	free(engine->buckets);
	engine->buckets = buckets;
	engine->bucket_bits = bits;
	engine->env->ops->random((uint8_t *)&engine->bucket_seed, sizeof(engine->bucket_seed));
	engine->bucket_seed |= 1;
	for (struct pg_stream *s = engine->streams; s; s = s->next)
		fill_bucket(engine, s);
	return 0;
}

static void insert(struct pg_engine *engine, struct pg_stream *stream)
{
	stream->next = engine->streams;
	stream->at = &engine->streams;
	if (stream->next)
		stream->next->at = &stream->next;
	engine->streams = stream;
	engine->stream_count++;
	fill_bucket(engine, stream);
}

static void take_out(struct pg_engine *engine, struct pg_stream *stream)
{
	struct pg_stream **bucket = bucket_of(engine, stream->series.stream);

	while (*bucket != stream)
		bucket = &(*bucket)->bucket_next;
	*bucket = stream->bucket_next;
	*stream->at = stream->next;
	if (stream->next)
		stream->next->at = stream->at;
	engine->stream_count--;
}

struct pg_stream *pg_engine_stream(struct pg_engine *engine, uint32_t stream)
{
	if (!engine->buckets)
		return NULL;
	for (struct pg_stream *s = *bucket_of(engine, stream); s; s = s->bucket_next)
		if (s->series.stream == stream)
			return s;
	return NULL;
}

static void set_state(struct pg_stream *stream, enum pg_stream_state state)
{
	stream->line->closing = stream->closing;
	__atomic_store_n(&stream->line->state, state, __ATOMIC_RELEASE);
}

static void forget(struct pg_engine *engine, struct pg_stream *stream)
{
	/* the list of what is to be published must not point to it */
	pg_engine_publish(engine);
	take_out(engine, stream);
	engine->env->ops->stream_detach(engine, stream);
	pg_series_done(engine, &stream->series);
	free(stream);
}

void pg_engine_streams_done(struct pg_engine *engine)
{
	struct pg_stream *next;

	for (struct pg_stream *s = engine->streams; s; s = next) {
		next = s->next;
		pg_series_done(engine, &s->series);
		free(s);
	}
	free(engine->buckets);
	engine->buckets = NULL;
	engine->streams = NULL;
	engine->stream_count = 0;
}

void pg_stream_confirm(struct pg_engine *engine, struct pg_stream *stream)
{
	uint8_t policy = stream->series.policy;

	if (stream->line->state == PG_STREAM_OPEN)
		set_state(stream, PG_STREAM_READY);
	if (stream->announced)
		return;
	stream->announced = true;
	pg_engine_event(engine, PG_APP_STREAM_OPEN, stream->series.stream, 0, &policy, 1);
}

/* --- opening -----------------------------------------------------------------------------------
 */

static void refuse_stream(struct pg_engine *engine, uint32_t stream)
{
	pg_engine_send_control(engine, PG_OP_CLOSESTREAM, stream, 0, NULL, 0);
}

static struct pg_stream *stream_new(struct pg_engine *engine)
{
	return grow_buckets(engine) ? NULL : calloc(1, sizeof(struct pg_stream));
}

static void link_stream(struct pg_engine *engine, struct pg_stream *stream, uint32_t id,
			const struct pg_stream_memory *memory)
{
	stream->line = memory->line;
	stream->slot = memory->slot;
	stream->retry_ms = UINT64_MAX;
	pg_series_init(&stream->series, &memory->line->highest, memory->window, id,
		       memory->line->policy);
	insert(engine, stream);
}

static enum pg_drop open_stream(struct pg_engine *engine, uint32_t id, uint8_t policy)
{
	struct pg_stream *stream = NULL;
	struct pg_stream_memory memory;

	if (engine->stream_count < engine->env->options.streams_at_once)
		stream = stream_new(engine);
	if (!stream || engine->env->ops->stream_attach(engine, id, &memory)) {
		free(stream);
		refuse_stream(engine, id);
		return PG_DROP_STREAM_LIMIT;
	}
	memory.line->policy = policy;
	link_stream(engine, stream, id, &memory);
	set_state(stream, PG_STREAM_OPEN);
	pg_replay_commit(&engine->opened->highest, engine->opened->bits, id);
	if (engine->env->ops->stream_publish(engine, stream)) {
		forget(engine, stream);
		refuse_stream(engine, id);
		return PG_DROP_STREAM_LIMIT;
	}
	pg_engine_send_control(engine, PG_OP_STREAMOPEN, id, 0, NULL, 0);
	return PG_DROP_NONE;
}

/* A stream id that was ever opened, or lies behind the window, never opens again. */
static bool opened_before(const struct pg_opened *opened, uint32_t id)
{
	if (id > opened->highest)
		return false;
	return opened->highest - id >= PG_WINDOW_IDS || pg_replay_bit(opened->bits, id);
}

/* Stream ids are reserved before the first frame on one leaves: see docs/decisions. */
static bool stream_reserved(struct pg_engine *engine, uint32_t id, uint8_t policy)
{
	uint32_t bound = id > UINT32_MAX - STREAM_IDS_AHEAD ? UINT32_MAX : id + STREAM_IDS_AHEAD;

	if (!engine->env->ops->reserve || id <= engine->opened->bound)
		return true;
	/* one question at a time; the client asks again anyway */
	if (engine->opening &&
	    engine->env->now_ms - engine->opening_ms < engine->env->options.retry_ms)
		return false;
	engine->opening = id;
	engine->opening_policy = policy;
	engine->opening_ms = engine->env->now_ms;
	engine->env->ops->reserve(engine, PG_ENGINE_RESERVE_STREAM, bound);
	return false;
}

enum pg_drop pg_engine_openstream(struct pg_engine *engine, uint32_t id, uint8_t policy)
{
	struct pg_stream *stream = pg_engine_stream(engine, id);

	if (stream && stream->closing == PG_CLOSING_NO) {
		pg_engine_send_control(engine, PG_OP_STREAMOPEN, id, 0, NULL, 0);
		return PG_DROP_NONE;
	}
	if (stream || opened_before(engine->opened, id))
		return PG_DROP_STREAM_ID_USED;
	if (policy >= PG_POLICY_COUNT) {
		refuse_stream(engine, id);
		return PG_DROP_NONE;
	}
	if (!stream_reserved(engine, id, policy))
		return PG_DROP_NONE;
	return open_stream(engine, id, policy);
}

static void stream_ids_reserved(struct pg_engine *engine, uint32_t bound)
{
	uint32_t id = engine->opening;

	if (bound > engine->opened->bound)
		engine->opened->bound = bound;
	engine->opening = 0;
	if (id && id <= engine->opened->bound && !opened_before(engine->opened, id))
		open_stream(engine, id, engine->opening_policy);
}

void pg_engine_reserved(struct pg_engine *engine, enum pg_reserve kind, uint32_t bound)
{
	struct pg_window *window = engine->series.window;

	if (kind == PG_ENGINE_RESERVE_STREAM)
		stream_ids_reserved(engine, bound);
	else if (bound > window->send_bound)
		window->send_bound = bound;
}

int pg_engine_adopt_stream(struct pg_engine *engine, uint32_t id,
			   const struct pg_stream_memory *memory)
{
	struct pg_stream *stream = stream_new(engine);

	if (!stream)
		return -ENOMEM;
	link_stream(engine, stream, id, memory);
	stream->closing = memory->line->closing;
	stream->announced = memory->line->state != PG_STREAM_OPEN;
	if (stream->closing != PG_CLOSING_NO) {
		stream->retry_ms = engine->env->now_ms;
		pg_engine_arm(engine, stream->retry_ms);
	}
	return 0;
}

/* --- closing -----------------------------------------------------------------------------------
 */

static void close_done(struct pg_engine *engine, struct pg_stream *stream)
{
	pg_series_flush(engine, &stream->series);
	if (stream->announced)
		pg_engine_event(engine, PG_APP_STREAM_CLOSED, stream->series.stream, 0, NULL, 0);
	stream->announced = false;
	if (stream->closing == PG_CLOSING_SILENT) {
		forget(engine, stream);
		return;
	}
	set_state(stream, PG_STREAM_CLOSE);
	stream->retry_ms = engine->env->now_ms + PG_CLOSE_ANSWER_MS;
	pg_engine_arm(engine, stream->retry_ms);
}

static void close_wait(struct pg_engine *engine, struct pg_stream *stream)
{
	uint64_t wait = stream->closing == PG_CLOSING_R1
				? PG_CLOSE_ANSWER_MS
				: (uint64_t)engine->env->options.retry_ms << stream->tries;

	set_state(stream, PG_STREAM_CLOSING);
	stream->retry_ms = engine->env->now_ms + wait;
	pg_engine_arm(engine, stream->retry_ms);
}

/* One step of the closing state machine, with its frame, its timer and its end. */
static void close_step(struct pg_engine *engine, struct pg_stream *stream,
		       enum pg_closing_input input)
{
	enum pg_closing before = stream->closing;

	if (pg_closing_step(&stream->closing, input))
		refuse_stream(engine, stream->series.stream);
	if (pg_closing_done(before) && pg_closing_done(stream->closing))
		return;
	if (stream->closing != before)
		stream->tries = 0;
	if (pg_closing_done(stream->closing))
		close_done(engine, stream);
	else
		close_wait(engine, stream);
}

enum pg_drop pg_engine_closestream(struct pg_engine *engine, uint32_t id)
{
	struct pg_stream *stream = pg_engine_stream(engine, id);

	if (!stream)
		return PG_DROP_NO_STREAM;
	if (!pg_closing_done(stream->closing))
		pg_stream_confirm(engine, stream);
	close_step(engine, stream, PG_CLOSE_RECEIVED);
	return PG_DROP_NONE;
}

int pg_engine_close_stream(struct pg_engine *engine, uint32_t id)
{
	struct pg_stream *stream = pg_engine_stream(engine, id);

	if (!stream || pg_closing_done(stream->closing))
		return -ENOENT;
	if (stream->closing != PG_CLOSING_NO)
		return -EALREADY;
	close_step(engine, stream, PG_CLOSE_LOCAL);
	return 0;
}

static void close_timer(struct pg_engine *engine, struct pg_stream *stream)
{
	if (stream->retry_ms > engine->env->now_ms) {
		pg_engine_arm(engine, stream->retry_ms);
		return;
	}
	if (pg_closing_done(stream->closing)) {
		forget(engine, stream);
		return;
	}
	if (pg_closing_retries(stream->closing) && ++stream->tries < PG_CLOSE_TRIES)
		close_step(engine, stream, PG_CLOSE_RETRY);
	else
		close_step(engine, stream, PG_CLOSE_GAVE_UP);
}

void pg_engine_streams_timer(struct pg_engine *engine)
{
	struct pg_stream *next;

	for (struct pg_stream *s = engine->streams; s; s = next) {
		next = s->next;
		pg_series_timer(engine, &s->series);
		if (s->retry_ms != UINT64_MAX)
			close_timer(engine, s);
	}
}
