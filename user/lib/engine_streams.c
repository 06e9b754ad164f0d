// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "packgate/replay_commit.h"

#define STREAM_IDS_AHEAD 64 /* stream ids of one reservation */

struct pg_stream *pg_engine_stream(struct pg_engine *engine, uint32_t stream)
{
	for (struct pg_stream *s = engine->streams; s; s = s->next)
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
	struct pg_stream **at = &engine->streams;

	while (*at != stream)
		at = &(*at)->next;
	*at = stream->next;
	engine->stream_count--;
	engine->env->ops->stream_detach(engine, stream);
	pg_series_done(&stream->series);
	free(stream);
}

void pg_engine_streams_done(struct pg_engine *engine)
{
	struct pg_stream *next;

	for (struct pg_stream *s = engine->streams; s; s = next) {
		next = s->next;
		pg_series_done(&s->series);
		free(s);
	}
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

/* --- opening ----------------------------------------------------------------------------------- */

static void refuse_stream(struct pg_engine *engine, uint32_t stream)
{
	pg_engine_send_control(engine, PG_OP_CLOSESTREAM, stream, 0, NULL, 0);
}

static struct pg_stream *link_stream(struct pg_engine *engine, uint32_t id,
				     const struct pg_stream_memory *memory, uint8_t policy)
{
	struct pg_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->line = memory->line;
	stream->slot = memory->slot;
	stream->retry_ms = UINT64_MAX;
	pg_series_init(&stream->series, &memory->line->highest, memory->window, id, policy);
	stream->next = engine->streams;
	engine->streams = stream;
	engine->stream_count++;
	return stream;
}

static enum pg_drop open_stream(struct pg_engine *engine, uint32_t id, uint8_t policy)
{
	struct pg_stream_memory memory;
	struct pg_stream *stream;

	if (engine->stream_count >= engine->env->options.streams_at_once ||
	    engine->env->ops->stream_attach(engine, id, &memory)) {
		refuse_stream(engine, id);
		return PG_DROP_STREAM_LIMIT;
	}
	memory.line->policy = policy;
	stream = link_stream(engine, id, &memory, policy);
	if (!stream)
		return PG_DROP_STREAM_LIMIT;
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
	engine->opening = id;
	engine->opening_policy = policy;
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
	struct pg_stream *stream = link_stream(engine, id, memory, memory->line->policy);

	if (!stream)
		return -ENOMEM;
	stream->closing = memory->line->closing;
	stream->announced = memory->line->state != PG_STREAM_OPEN;
	if (stream->closing != PG_CLOSING_NO) {
		stream->retry_ms = engine->env->now_ms;
		pg_engine_arm(engine, stream->retry_ms);
	}
	return 0;
}

/* --- closing ----------------------------------------------------------------------------------- */

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
	uint64_t wait = stream->closing == PG_CLOSING_R1 ?
				PG_CLOSE_ANSWER_MS :
				(uint64_t)engine->env->options.retry_ms << stream->tries;

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
