// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "engine_internal.h"

#define FAILED_OPENINGS_MAX (1ull << 36)

void pg_engine_options_default(struct pg_engine_options *options)
{
#define DEFAULT(field, value)                     \
	do {                                      \
		if (!options->field)              \
			options->field = (value); \
	} while (0)
	DEFAULT(receive_timeout_ms, 12000);
	DEFAULT(send_timeout_ms, 10000);
	DEFAULT(receive_buffer_bytes, 4 << 20);
	DEFAULT(streams_at_once, 1024);
	DEFAULT(retry_ms, 500);
	DEFAULT(acks_per_second, 1000);
	DEFAULT(pongs_per_second, 10);
	DEFAULT(roaming_proof_ms, 3000);
	DEFAULT(max_payload, PG_PAYLOAD_DEFAULT);
#undef DEFAULT
}

void pg_engine_init(struct pg_engine *engine, struct pg_engine_env *env,
		    const struct pg_engine_start *start)
{
	memset(engine, 0, sizeof(*engine));
	engine->env = env;
	engine->owner = start->owner;
	engine->line = start->line;
	engine->opened = start->opened;
	engine->keys = *start->keys;
	engine->handle = start->handle;
	engine->aead = start->aead;
	engine->guard = start->guard;
	engine->roams = start->roams;
	engine->in = PG_C2S;
	engine->out = PG_S2C;
	engine->deadline_ms = UINT64_MAX;
	pg_series_init(&engine->series, &start->line->highest, start->window, 0,
		       start->line->policy);
}

void pg_engine_adopted(struct pg_engine *engine)
{
	pg_series_adopt(engine, &engine->series);
	for (struct pg_stream *s = engine->streams; s; s = s->next)
		pg_series_adopt(engine, &s->series);
}

void pg_engine_done(struct pg_engine *engine)
{
	pg_engine_streams_done(engine);
	pg_series_done(engine, &engine->series);
	engine->dirty = NULL;
	free(engine->roaming);
	engine->roaming = NULL;
	pg_key_cache_forget(engine->env->keys, engine->handle);
	pg_keys_wipe(&engine->keys);
}

struct pg_series *pg_engine_series(struct pg_engine *engine, uint32_t stream)
{
	struct pg_stream *found;

	if (!stream)
		return &engine->series;
	found = pg_engine_stream(engine, stream);
	return found && !pg_closing_done(found->closing) ? &found->series : NULL;
}

bool pg_engine_take(struct pg_engine *engine, struct pg_token_bucket *bucket, uint32_t rate)
{
	uint64_t now = engine->env->now_ms;
	uint64_t full = (uint64_t)rate * 1000;
	/* after a hand-over the new owner's clock may be behind */
	uint64_t passed = now > bucket->stamp_ms ? now - bucket->stamp_ms : 0;
	uint64_t tokens = bucket->stamp_ms ? bucket->tokens + passed * rate : full;

	bucket->stamp_ms = now ? now : 1;
	bucket->tokens = tokens > full ? full : tokens;
	if (bucket->tokens < 1000)
		return false;
	bucket->tokens -= 1000;
	return true;
}

uint64_t pg_engine_timestamp(struct pg_engine *engine)
{
	struct pg_window *window = engine->series.window;

	if (engine->env->unix_ms > window->sent_time_ms)
		window->sent_time_ms = engine->env->unix_ms;
	return window->sent_time_ms;
}

uint8_t *pg_engine_frame(struct pg_engine *engine, uint32_t bytes)
{
	struct pg_roaming *roaming = engine->roaming;

	if (engine->ended)
		return NULL;
	if (roaming && roaming->bytes_out + bytes > 3ull * roaming->bytes_in)
		return NULL;
	return engine->env->ops->frame_alloc(engine);
}

void pg_engine_emit(struct pg_engine *engine, uint8_t *frame, uint32_t bytes)
{
	if (engine->roaming)
		engine->roaming->bytes_out += bytes;
	engine->env->counters.sent++;
	engine->env->ops->frame_send(engine, frame, bytes);
}

void pg_engine_event(struct pg_engine *engine, enum pg_app_kind kind, uint32_t stream,
		     uint32_t message, const uint8_t *bytes, uint32_t length)
{
	struct pg_engine_event event = {
		.kind = kind,
		.stream = stream,
		.message = message,
		.bytes = bytes,
		.length = length,
	};

	engine->env->ops->event(engine, &event);
}

/* --- receiving a data frame --------------------------------------------------------------------
 */

enum pg_drop pg_engine_classify(struct pg_engine *engine, const struct pg_frame *frame,
				uint8_t *frame_bytes, bool from_peer, struct pg_aead_job *job)
{
	struct pg_series *series = pg_engine_series(engine, frame->stream);
	uint32_t sealed = frame->payload_bytes - (frame->has_guard ? PG_GUARD_BYTES : 0);
	enum pg_drop drop;

	if (engine->ended)
		return PG_DROP_SESSION_STATE;
	if (!series)
		return PG_DROP_NO_STREAM;
	if (frame->flags & PG_FLAG_FRAG)
		return PG_DROP_FRAGMENT_UNSUPPORTED;
	drop = pg_series_check(series, frame->pack);
	if (drop && (drop != PG_DROP_REPLAY_SEEN || series->policy != PG_POLICY_RELIABLE))
		return drop;
	if (!from_peer && (!engine->roams || drop || frame->pack <= series->highest))
		return PG_DROP_PEER_MISMATCH;
	job->key = pg_key_cache_get(engine->env->keys, engine->handle, &engine->keys, engine->aead,
				    engine->in, frame->stream, frame->pack);
	if (!job->key)
		return PG_DROP_BUFFER_FULL;
	pg_frame_nonce(engine->keys.direction[engine->in].iv, frame, job->nonce);
	job->aad = frame_bytes;
	job->aad_bytes = frame->header_bytes;
	job->text = frame_bytes + frame->header_bytes;
	job->text_bytes = sealed - PG_TAG_BYTES;
	job->tag = job->text + job->text_bytes;
	return PG_DROP_NONE;
}

static enum pg_drop failed_opening(struct pg_engine *engine)
{
	if (++engine->failed_openings >= FAILED_OPENINGS_MAX)
		pg_engine_close(engine, PG_GOAWAY_ERROR);
	return PG_DROP_TAG;
}

static enum pg_drop acked_again(struct pg_engine *engine, const struct pg_frame *frame,
				const struct pg_engine_source *source, bool *ret_acked)
{
	if (!source->pinned ||
	    !pg_engine_take(engine, &engine->acks, engine->env->options.acks_per_second))
		return PG_DROP_REPLAY_SEEN;
	pg_engine_send_control(engine, PG_OP_ACK, frame->stream, frame->pack, NULL, 0);
	engine->env->counters.acks++;
	engine->env->counters.duplicates_acked++;
	*ret_acked = true;
	return PG_DROP_REPLAY_SEEN;
}

/* Notes the timestamp of an authentic data frame; true when a newer one came before. */
static bool note_timestamp(struct pg_engine *engine, const uint8_t *frame_bytes)
{
	uint64_t sent_ms = pg_frame_timestamp_ms(frame_bytes);
	struct pg_window *window = engine->series.window;

	if (sent_ms < window->data_time_ms)
		return true;
	window->data_time_ms = sent_ms;
	return false;
}

/* Accounts an authentic, new data frame: activity, the peer, the stream it confirms. */
static void note_frame(struct pg_engine *engine, const struct pg_frame *frame,
		       const struct pg_engine_source *source)
{
	struct pg_stream *stream;

	if (!source->pinned)
		pg_engine_roam(engine, source, frame->bytes);
	else if (engine->roaming)
		engine->roaming->bytes_in += frame->bytes;
	engine->last_active_ms = engine->env->unix_ms;
	stream = frame->stream ? pg_engine_stream(engine, frame->stream) : NULL;
	if (stream)
		pg_stream_confirm(engine, stream);
}

enum pg_drop pg_engine_data(struct pg_engine *engine, const struct pg_frame *frame,
			    const uint8_t *frame_bytes, const struct pg_engine_source *source,
			    int result, bool *ret_acked)
{
	uint32_t bytes =
		frame->payload_bytes - PG_TAG_BYTES - (frame->has_guard ? PG_GUARD_BYTES : 0);
	struct pg_series *series = pg_engine_series(engine, frame->stream);
	const uint8_t *data = frame_bytes + frame->header_bytes;
	enum pg_drop drop;
	bool older;

	if (engine->ended)
		return PG_DROP_SESSION_STATE;
	if (result)
		return failed_opening(engine);
	older = note_timestamp(engine, frame_bytes);
	if (!series)
		return PG_DROP_NO_STREAM;
	drop = pg_series_check(series, frame->pack);
	if (drop == PG_DROP_REPLAY_SEEN && series->policy == PG_POLICY_RELIABLE)
		return acked_again(engine, frame, source, ret_acked);
	if (drop)
		return drop;
	if (!source->pinned && (!engine->roams || frame->pack <= series->highest || older))
		return PG_DROP_PEER_MISMATCH;
	drop = pg_series_keep(engine, series, frame->pack, data, bytes);
	if (drop)
		return drop;
	pg_series_commit(engine, series, frame->pack);
	engine->env->counters.opened++;
	note_frame(engine, frame, source);
	if (series->policy == PG_POLICY_RELIABLE) {
		pg_engine_send_control(engine, PG_OP_ACK, frame->stream, frame->pack, NULL, 0);
		engine->env->counters.acks++;
	}
	pg_series_deliver(engine, series, frame->pack, data, bytes);
	return PG_DROP_NONE;
}

static void publish_series(struct pg_series *series)
{
	if (series->policy != PG_POLICY_RELIABLE)
		series->next_deliver = series->highest + 1;
	__atomic_store_n(&series->window->next_deliver, series->next_deliver, __ATOMIC_RELAXED);
	__atomic_store_n(series->highest_shared, series->highest, __ATOMIC_RELEASE);
}

void pg_engine_publish(struct pg_engine *engine)
{
	struct pg_series *series;

	while ((series = engine->dirty)) {
		engine->dirty = series->dirty_next;
		series->dirty = false;
		publish_series(series);
	}
}

void pg_engine_timer(struct pg_engine *engine)
{
	engine->deadline_ms = UINT64_MAX;
	if (engine->ended)
		return;
	pg_series_timer(engine, &engine->series);
	pg_engine_streams_timer(engine);
	pg_engine_roam_timer(engine);
	pg_engine_publish(engine);
}

void pg_engine_resume(struct pg_engine *engine)
{
	if (engine->ended)
		return;
	pg_series_drain(engine, &engine->series);
	for (struct pg_stream *s = engine->streams; s; s = s->next)
		pg_series_drain(engine, &s->series);
	pg_engine_publish(engine);
}

void pg_engine_end(struct pg_engine *engine, uint8_t code)
{
	if (engine->ended)
		return;
	engine->ended = true;
	engine->env->ops->closed(engine, code);
}

void pg_engine_close(struct pg_engine *engine, uint8_t code)
{
	pg_engine_send_control(engine, PG_OP_GOAWAY, 0, 0, &code, 1);
	pg_engine_end(engine, code);
}
