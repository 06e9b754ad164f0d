// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
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

/* --- their memory ------------------------------------------------------------------------------
 */

struct owned_memory {
	struct pg_stream_line line;
	struct pg_window window;
};

static int attach(struct pg_engine *engine, uint32_t id, struct pg_stream_memory *ret_memory)
{
	struct owned_memory *owned;

	if (engine->env->ops->stream_attach)
		return engine->env->ops->stream_attach(engine, id, ret_memory);
	owned = calloc(1, sizeof(*owned));
	if (!owned)
		return -ENOMEM;
	owned->line.stream = id;
	*ret_memory = (struct pg_stream_memory){ &owned->line, &owned->window, 0 };
	return 0;
}

static void detach(struct pg_engine *engine, struct pg_stream *stream)
{
	if (engine->env->ops->stream_detach)
		engine->env->ops->stream_detach(engine, stream);
}

static void free_stream(struct pg_engine *engine, struct pg_stream *stream)
{
	pg_series_done(engine, &stream->series);
	if (!engine->env->ops->stream_attach)
		free(stream->line); /* the owned memory begins with it */
	free(stream);
}

static void forget(struct pg_engine *engine, struct pg_stream *stream)
{
	/* the list of what is to be published must not point to it */
	pg_engine_publish_windows(engine);
	take_out(engine, stream);
	detach(engine, stream);
	free_stream(engine, stream);
}

void pg_engine_streams_detach(struct pg_engine *engine)
{
	for (struct pg_stream *s = engine->streams; s; s = s->next)
		detach(engine, s);
}

void pg_engine_streams_done(struct pg_engine *engine)
{
	struct pg_stream *next;

	for (struct pg_stream *s = engine->streams; s; s = next) {
		next = s->next;
		free_stream(engine, s);
	}
	free(engine->buckets);
	engine->buckets = NULL;
	engine->streams = NULL;
	engine->stream_count = 0;
}

/* --- opening -----------------------------------------------------------------------------------
 */

static void announce(struct pg_engine *engine, struct pg_stream *stream)
{
	uint8_t policy = stream->series.policy;

	if (stream->announced)
		return;
	stream->announced = true;
	pg_engine_event(engine, PG_APP_STREAM_OPEN, stream->series.stream, 0, &policy, 1);
}

static void refuse_stream(struct pg_engine *engine, uint32_t stream)
{
	pg_engine_send_control(engine, PG_OP_CLOSESTREAM, stream, 0, NULL, 0);
}

/* It will never be open: the application hears of its end alone. */
static void fail_opening(struct pg_engine *engine, struct pg_stream *stream)
{
	stream->closing = PG_CLOSING_SILENT;
	pg_series_flush(engine, &stream->series);
	pg_engine_event(engine, PG_APP_STREAM_CLOSED, stream->series.stream, 0, NULL, 0);
	forget(engine, stream);
}

/* One step of the opening state machine, with its frame, its timer and its end. */
static void open_step(struct pg_engine *engine, struct pg_stream *stream,
		      enum pg_opening_input input)
{
	uint32_t id = stream->series.stream;
	uint8_t policy = stream->series.policy;
	bool was_ready = stream->opening == PG_OPENING_READY;

	switch (pg_opening_step(&stream->opening, engine->client, input)) {
	case PG_OPEN_SEND_OPENSTREAM:
		pg_engine_send_control(engine, PG_OP_OPENSTREAM, id, 0, &policy, 1);
		break;
	case PG_OPEN_SEND_STREAMOPEN:
		pg_engine_send_control(engine, PG_OP_STREAMOPEN, id, 0, NULL, 0);
		break;
	case PG_OPEN_SEND_NOTHING:
		break;
	}
	if (stream->opening == PG_OPENING_FAILED) {
		fail_opening(engine, stream);
		return;
	}
	if (was_ready || stream->opening != PG_OPENING_READY)
		return;
	if (stream->closing == PG_CLOSING_NO) {
		set_state(stream, PG_STREAM_READY);
		stream->retry_ms = UINT64_MAX;
	}
	announce(engine, stream);
	pg_tx_wake(engine, &stream->series);
	if (!stream->series.sent)
		pg_stream_settled(engine, stream);
}

void pg_stream_confirm(struct pg_engine *engine, struct pg_stream *stream)
{
	if (!pg_closing_done(stream->closing))
		open_step(engine, stream, PG_OPEN_OTHER);
}

enum pg_drop pg_engine_streamopen(struct pg_engine *engine, uint32_t id)
{
	struct pg_stream *stream = pg_engine_stream(engine, id);

	if (!stream || pg_closing_done(stream->closing))
		return PG_DROP_NO_STREAM;
	open_step(engine, stream, PG_OPEN_ANSWER);
	return PG_DROP_NONE;
}

/* A stream id that was ever opened, or lies behind the window, never opens again. */
static bool opened_before(const struct pg_opened *opened, uint32_t id)
{
	if (id > opened->highest)
		return false;
	return opened->highest - id >= PG_WINDOW_IDS || pg_replay_bit(opened->bits, id);
}

/*
 * A refused id is used up like one that was open: a late copy of the refusal would otherwise close
 * a stream that a late copy of openstream had opened, and both ends would answer for ever.
 */
static void refuse_opening(struct pg_engine *engine, uint32_t id)
{
	if (!opened_before(engine->opened, id))
		pg_replay_commit(&engine->opened->highest, engine->opened->bits, id);
	refuse_stream(engine, id);
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

	if (engine->stream_count < engine->streams_at_once)
		stream = stream_new(engine);
	if (!stream || attach(engine, id, &memory)) {
		free(stream);
		refuse_opening(engine, id);
		return PG_DROP_STREAM_LIMIT;
	}
	memory.line->policy = policy;
	link_stream(engine, stream, id, &memory);
	stream->opening = PG_OPENING_GIVEN;
	set_state(stream, PG_STREAM_OPEN);
	pg_replay_commit(&engine->opened->highest, engine->opened->bits, id);
	if (engine->env->ops->stream_publish && engine->env->ops->stream_publish(engine, stream)) {
		forget(engine, stream);
		refuse_stream(engine, id);
		return PG_DROP_STREAM_LIMIT;
	}
	pg_engine_send_control(engine, PG_OP_STREAMOPEN, id, 0, NULL, 0);
	return PG_DROP_NONE;
}

static bool reserved(const struct pg_engine *engine, uint32_t id)
{
	return !engine->env->ops->reserve || id <= engine->opened->bound;
}

/* Asks for ids up to the highest that waits, and some more. */
static void ask_for_ids(struct pg_engine *engine)
{
	struct pg_openings *openings = engine->openings;
	uint32_t id = 0;

	for (uint32_t i = 0; i < openings->count; i++)
		if (openings->waiting[i].id > id)
			id = openings->waiting[i].id;
	openings->asked_ms = engine->env->now_ms;
	engine->env->ops->reserve(engine, PG_ENGINE_RESERVE_STREAM,
				  id > UINT32_MAX - STREAM_IDS_AHEAD ? UINT32_MAX
								     : id + STREAM_IDS_AHEAD);
}

static bool waits(const struct pg_openings *openings, uint32_t id)
{
	for (uint32_t i = 0; i < openings->count; i++)
		if (openings->waiting[i].id == id)
			return true;
	return false;
}

/*
 * Stream ids are reserved before the first frame on one leaves: see docs/decisions. One question
 * at a time; what comes meanwhile waits, as much as there is room for: the client asks again.
 */
static enum pg_drop wait_for_id(struct pg_engine *engine, uint32_t id, uint8_t policy)
{
	uint32_t room = engine->env->options.openings_queued;
	struct pg_openings *openings = engine->openings;
	bool first = !openings;

	if (first)
		openings = engine->openings =
			calloc(1, sizeof(*openings) + room * sizeof(openings->waiting[0]));
	if (!openings)
		return PG_DROP_NOT_RESERVED;
	if (!waits(openings, id)) {
		if (openings->count == room)
			return PG_DROP_NOT_RESERVED;
		openings->waiting[openings->count].id = id;
		openings->waiting[openings->count++].policy = policy;
	}
	/* an answer that is so late was lost */
	if (first ||
	    pg_engine_since(engine, openings->asked_ms) >= engine->env->options.rto_first_ms)
		ask_for_ids(engine);
	return PG_DROP_NONE;
}

enum pg_drop pg_engine_openstream(struct pg_engine *engine, uint32_t id, uint8_t policy)
{
	struct pg_stream *stream = pg_engine_stream(engine, id);

	if (stream && stream->closing == PG_CLOSING_NO) {
		open_step(engine, stream, PG_OPEN_ASK);
		return PG_DROP_NONE;
	}
	if (stream || opened_before(engine->opened, id))
		return PG_DROP_STREAM_ID_USED;
	if (policy >= PG_POLICY_COUNT) {
		refuse_opening(engine, id);
		return PG_DROP_NONE;
	}
	if (!reserved(engine, id))
		return wait_for_id(engine, id, policy);
	return open_stream(engine, id, policy);
}

static void stream_ids_reserved(struct pg_engine *engine, uint32_t bound)
{
	struct pg_openings *openings = TAKE_PTR(engine->openings);
	uint32_t id;

	if (bound > engine->opened->bound)
		engine->opened->bound = bound;
	for (uint32_t i = 0; openings && i < openings->count; i++) {
		id = openings->waiting[i].id;
		if (!reserved(engine, id))
			wait_for_id(engine, id, openings->waiting[i].policy);
		else if (!opened_before(engine->opened, id))
			open_stream(engine, id, openings->waiting[i].policy);
	}
	free(openings);
}

int pg_engine_open_stream(struct pg_engine *engine, uint8_t policy, uint32_t *ret_stream)
{
	struct pg_stream_memory memory;
	struct pg_stream *stream;
	uint32_t id = engine->next_stream;
	int err;

	if (!engine->client)
		return -EPERM;
	if (policy >= PG_POLICY_COUNT)
		return -EINVAL;
	if (engine->ended || !id)
		return -ESHUTDOWN;
	if (engine->stream_count >= engine->streams_at_once)
		return -ENOSPC;
	stream = stream_new(engine);
	err = stream ? attach(engine, id, &memory) : -ENOMEM;
	if (err) {
		free(stream);
		return err;
	}
	memory.line->policy = policy;
	link_stream(engine, stream, id, &memory);
	engine->next_stream = id == UINT32_MAX ? 0 : id + 1;
	stream->opening = PG_OPENING_ASKED;
	set_state(stream, PG_STREAM_INIT);
	stream->retry_ms = engine->env->now_ms + pg_engine_retry_ms(engine, 0);
	pg_engine_arm(engine, stream->retry_ms);
	pg_engine_send_control(engine, PG_OP_OPENSTREAM, id, 0, &policy, 1);
	*ret_stream = id;
	return 0;
}

void pg_engine_reserved(struct pg_engine *engine, enum pg_reserve kind, uint32_t bound)
{
	struct pg_window *window = engine->series.window;

	if (engine->ended)
		return;
	if (kind == PG_ENGINE_RESERVE_STREAM)
		stream_ids_reserved(engine, bound);
	else if (bound > window->send_bound)
		window->send_bound = bound;
	pg_tx_pump(engine);
}

void pg_engine_reserve_failed(struct pg_engine *engine, enum pg_reserve kind)
{
	if (kind == PG_ENGINE_RESERVE_SEND) {
		engine->reserving = 0;
		pg_engine_arm(engine, engine->env->now_ms + engine->env->options.rto_first_ms);
		return;
	}
	free(engine->openings);
	engine->openings = NULL;
}

int pg_engine_adopt_stream(struct pg_engine *engine, uint32_t id,
			   const struct pg_stream_memory *memory)
{
	struct pg_stream *stream = stream_new(engine);

	if (!stream)
		return -ENOMEM;
	link_stream(engine, stream, id, memory);
	stream->closing = memory->line->closing;
	stream->opening =
		memory->line->state == PG_STREAM_OPEN ? PG_OPENING_GIVEN : PG_OPENING_READY;
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
	stream->retry_ms = engine->env->now_ms + engine->env->options.close_answer_ms;
	pg_engine_arm(engine, stream->retry_ms);
}

static void close_wait(struct pg_engine *engine, struct pg_stream *stream)
{
	uint64_t wait = stream->closing == PG_CLOSING_R1
				? engine->env->options.close_answer_ms
				: pg_engine_retry_ms(engine, stream->tries);

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

static bool ends_by(const struct pg_stream *stream, enum pg_closing_input input)
{
	enum pg_closing closing = stream->closing;

	pg_closing_step(&closing, input);
	return pg_closing_done(closing) && !pg_closing_done(stream->closing);
}

/* Closes once the send buffer is empty (PROTOCOL section 1: it is flushed before). */
static void close_when_settled(struct pg_engine *engine, struct pg_stream *stream)
{
	if (stream->series.sent || stream->opening == PG_OPENING_ASKED)
		return;
	if (stream->close_asked && stream->closing == PG_CLOSING_NO) {
		/* the peer closed first: this end answers */
		stream->close_asked = stream->close_wanted = false;
		close_step(engine, stream, PG_CLOSE_RECEIVED);
	} else if (stream->close_wanted && stream->closing == PG_CLOSING_NO) {
		stream->close_wanted = false;
		close_step(engine, stream, PG_CLOSE_LOCAL);
	}
}

void pg_stream_settled(struct pg_engine *engine, struct pg_stream *stream)
{
	if (!engine->ended)
		close_when_settled(engine, stream);
}

enum pg_drop pg_engine_closestream(struct pg_engine *engine, uint32_t id)
{
	struct pg_stream *stream = pg_engine_stream(engine, id);

	if (!stream)
		return PG_DROP_NO_STREAM;
	if (stream->opening == PG_OPENING_ASKED) {
		open_step(engine, stream, PG_OPEN_REFUSED);
		return PG_DROP_NONE;
	}
	pg_stream_confirm(engine, stream);
	if (stream->closing == PG_CLOSING_NO) {
		stream->close_asked = true;
		close_when_settled(engine, stream);
		return PG_DROP_NONE;
	}
	/* the peer, or this end's timer, asks again */
	if (ends_by(stream, PG_CLOSE_RECEIVED) && !pg_series_finish(engine, &stream->series))
		return PG_DROP_APP_FULL;
	close_step(engine, stream, PG_CLOSE_RECEIVED);
	return PG_DROP_NONE;
}

int pg_engine_close_stream(struct pg_engine *engine, uint32_t id)
{
	struct pg_stream *stream = pg_engine_stream(engine, id);

	if (!stream || pg_closing_done(stream->closing))
		return -ENOENT;
	if (stream->closing != PG_CLOSING_NO || stream->close_wanted)
		return -EALREADY;
	stream->close_wanted = true;
	close_when_settled(engine, stream);
	return 0;
}

static void open_timer(struct pg_engine *engine, struct pg_stream *stream)
{
	if (++stream->tries >= engine->env->options.stream_tries) {
		open_step(engine, stream, PG_OPEN_GAVE_UP);
		return;
	}
	stream->retry_ms = engine->env->now_ms + pg_engine_retry_ms(engine, stream->tries);
	pg_engine_arm(engine, stream->retry_ms);
	open_step(engine, stream, PG_OPEN_RETRY);
}

/* What was acked waits for room at the application, as long as was waited for the peer. */
static bool waits_for_application(struct pg_engine *engine, struct pg_stream *stream)
{
	if (stream->tries >= 2 * engine->env->options.stream_tries ||
	    pg_series_finish(engine, &stream->series))
		return false;
	stream->retry_ms = engine->env->now_ms + pg_engine_retry_ms(engine, stream->tries++);
	pg_engine_arm(engine, stream->retry_ms);
	return true;
}

static void stream_timer(struct pg_engine *engine, struct pg_stream *stream)
{
	if (stream->retry_ms > engine->env->now_ms) {
		pg_engine_arm(engine, stream->retry_ms);
		return;
	}
	if (stream->opening == PG_OPENING_ASKED) {
		open_timer(engine, stream);
		return;
	}
	if (pg_closing_done(stream->closing)) {
		forget(engine, stream);
		return;
	}
	if (pg_closing_retries(stream->closing) &&
	    ++stream->tries < engine->env->options.stream_tries)
		close_step(engine, stream, PG_CLOSE_RETRY);
	else if (!waits_for_application(engine, stream))
		close_step(engine, stream, PG_CLOSE_GAVE_UP);
}

void pg_engine_streams_timer(struct pg_engine *engine)
{
	struct pg_stream *next;

	for (struct pg_stream *s = engine->streams; s; s = next) {
		next = s->next;
		pg_series_timer(engine, &s->series);
		if (s->retry_ms != UINT64_MAX)
			stream_timer(engine, s);
	}
}
