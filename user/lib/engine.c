// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "engine_internal.h"

#define FAILED_OPENINGS_MAX (1ull << 36)

#define STALLED_RETRY_MS     10
#define STALLED_RETRY_MAX_MS 160 /* a new application is found by this alone */
#define PING_RETRY_MS	     1000

void pg_engine_options_default(struct pg_engine_options *options)
{
#define PG_X(name, standard, ...)                   \
	do {                                        \
		if (!options->name)                 \
			options->name = (standard); \
	} while (0);
	PG_ENGINE_OPTIONS(PG_X)
#undef PG_X
	if (options->send_retries > PG_SEND_RETRIES_MAX)
		options->send_retries = PG_SEND_RETRIES_MAX;
}

static uint32_t smaller(uint32_t ours, uint32_t theirs)
{
	return theirs && theirs < ours ? theirs : ours;
}

static void init_client(struct pg_engine *engine, uint32_t first_stream)
{
	engine->next_stream = first_stream;
	if (first_stream)
		return;
	engine->env->ops->random((uint8_t *)&engine->next_stream, sizeof(engine->next_stream));
	engine->next_stream = (engine->next_stream & 0x7fffffff) + 1;
}

void pg_engine_init(struct pg_engine *engine, struct pg_engine_env *env,
		    const struct pg_engine_start *start)
{
	memset(engine, 0, sizeof(*engine));
	engine->env = env;
	engine->owner = start->owner;
	engine->line = start->line;
	engine->opened = start->opened;
	engine->others_time_ms = start->others_time_ms;
	engine->keys = *start->keys;
	engine->handle = start->handle;
	engine->aead = start->aead;
	engine->guard = start->guard;
	engine->roams = start->roams;
	engine->client = start->client;
	engine->expires = start->expires;
	engine->in = start->client ? PG_S2C : PG_C2S;
	engine->out = start->client ? PG_C2S : PG_S2C;
	engine->max_payload = smaller(env->options.max_payload, start->max_payload);
	engine->streams_at_once = smaller(env->options.streams_at_once, start->streams_at_once);
	engine->deadline_ms = engine->quiet_ms = UINT64_MAX;
	engine->alive_ms = engine->kept_ms = env->now_ms;
	engine->stall_ms = STALLED_RETRY_MS;
	pg_tx_init(engine);
	pg_series_init(&engine->series, &start->line->highest, start->window, 0,
		       start->line->policy);
	/* which of them said SLOW is not known any more: none says it again */
	engine->tx.slow_ms = start->window->control_time_ms;
	if (engine->client)
		init_client(engine, start->first_stream);
	if (engine->client)
		pg_engine_arm(engine, env->now_ms + env->options.ping_ms);
	if (engine->expires)
		pg_engine_arm(engine, env->now_ms + env->options.idle_ms);
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
	free(engine->openings);
	engine->openings = NULL;
	pg_key_cache_forget(engine->env->keys, engine->handle);
	pg_keys_wipe(&engine->keys);
}

void pg_engine_retire(struct pg_engine *engine)
{
	pg_engine_streams_detach(engine);
	pg_engine_done(engine);
}

uint32_t pg_engine_trip_us(const struct pg_engine *engine)
{
	const struct pg_engine_options *options = &engine->env->options;
	struct pg_rtt_limits limits = { options->rto_first_ms, options->rto_min_ms,
					options->rto_max_ms };

	return pg_rtt_smoothed_us(&engine->tx.rtt, &limits);
}

uint32_t pg_engine_retry_ms(const struct pg_engine *engine, uint32_t tries)
{
	const struct pg_engine_options *options = &engine->env->options;
	struct pg_rtt_limits limits = { options->rto_first_ms, options->rto_min_ms,
					options->rto_max_ms };

	return pg_rtt_timeout_ms(&engine->tx.rtt, &limits, tries);
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
	uint64_t now = engine->env->unix_ms, other = 0;

	if (engine->others_time_ms)
		other = __atomic_load_n(engine->others_time_ms, __ATOMIC_RELAXED);
	if (now < other)
		now = other;
	if (window->sent_time_ms < now)
		__atomic_store_n(&window->sent_time_ms, now, __ATOMIC_RELAXED);
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

static bool guard_right(const struct pg_engine *engine, const struct pg_frame *frame,
			const uint8_t *bytes)
{
	const struct pg_session *line = engine->line;
	const __u64 *words = engine->in == PG_C2S ? line->guard_c2s : line->guard_s2c;
	__u64 key[2] = { words[0], words[1] };

	return !frame->has_guard || pg_guard_check(key, bytes, frame);
}

static bool stream_known(struct pg_engine *engine, const struct pg_frame *frame)
{
	struct pg_stream *stream;

	if (!frame->stream || frame->opcode == PG_OP_OPENSTREAM)
		return true;
	stream = pg_engine_stream(engine, frame->stream);
	return stream && (!pg_closing_done(stream->closing) || frame->opcode == PG_OP_CLOSESTREAM);
}

/* Whether a data frame from elsewhere is worth proving (PROTOCOL section 5, "Peer address"). */
static bool candidate(const struct pg_engine *engine, const struct pg_series *series,
		      const struct pg_frame *frame)
{
	return engine->roams && frame->pack > series->highest;
}

enum pg_drop pg_engine_admit(struct pg_engine *engine, const struct pg_frame *frame,
			     const uint8_t *frame_bytes, bool from_peer)
{
	if (!stream_known(engine, frame))
		return PG_DROP_NO_STREAM;
	if (!from_peer && (frame->opcode != PG_OP_DATA ||
			   !candidate(engine, pg_engine_series(engine, frame->stream), frame)))
		return PG_DROP_PEER_MISMATCH;
	if (!guard_right(engine, frame, frame_bytes))
		return from_peer ? PG_DROP_GUARD : PG_DROP_PEER_MISMATCH;
	return PG_DROP_NONE;
}

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
	if (!from_peer && !candidate(engine, series, frame))
		return PG_DROP_PEER_MISMATCH;
	if (frame->flags & PG_FLAG_FRAG && series->policy == PG_POLICY_NEWEST)
		return PG_DROP_FRAGMENT_UNSUPPORTED;
	drop = pg_series_check(series, frame->pack);
	if (drop && (drop != PG_DROP_REPLAY_SEEN || series->policy != PG_POLICY_RELIABLE))
		return drop;
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

static bool may_ack_again(struct pg_engine *engine, const struct pg_engine_source *source)
{
	if (!source->pinned ||
	    !pg_engine_take(engine, &engine->acks, engine->env->options.acks_per_second))
		return false;
	engine->env->counters.duplicates_acked++;
	return true;
}

static enum pg_drop acked_again(struct pg_engine *engine, const struct pg_frame *frame,
				const struct pg_engine_source *source, bool *ret_acked)
{
	if (!may_ack_again(engine, source))
		return PG_DROP_REPLAY_SEEN;
	pg_engine_send_control(engine, PG_OP_ACK, frame->stream, frame->pack, NULL, 0);
	engine->env->counters.acks++;
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

/*
 * Accounts an authentic, new data frame: activity (where its packId was committed), the peer, the
 * stream it confirms.
 */
static void note_frame(struct pg_engine *engine, const struct pg_frame *frame,
		       const struct pg_engine_source *source, bool committed)
{
	struct pg_stream *stream;

	if (!source->pinned)
		pg_engine_roam(engine, source, frame->bytes);
	else if (engine->roaming)
		engine->roaming->bytes_in += frame->bytes;
	if (committed)
		pg_engine_alive(engine);
	engine->env->counters.opened++;
	stream = frame->stream ? pg_engine_stream(engine, frame->stream) : NULL;
	if (stream)
		pg_stream_confirm(engine, stream);
}

static void ack_packet(struct pg_engine *engine, const struct pg_frame *frame)
{
	pg_engine_send_control(engine, PG_OP_ACK, frame->stream, frame->pack, NULL, 0);
	engine->env->counters.acks++;
}

/* Says which fragments of a packet are there. */
static void ack_parts(struct pg_engine *engine, const struct pg_series *series,
		      const struct pg_frame *of)
{
	uint8_t bits[PG_FRAGMENT_ACK_MAX];
	struct pg_frame frame = { .stream = of->stream, .pack = of->pack, .opcode = PG_OP_ACK };
	uint32_t bytes;
	bool last;

	bytes = pg_assembly_ack(pg_receive_buffer_parts(series->received, of->pack), bits,
				&frame.fragment, &last);
	frame.flags = PG_FLAG_PACK | PG_FLAG_FRAG | (of->stream ? PG_FLAG_STRE : 0) |
		      (last ? PG_FLAG_FIN : 0) | pg_engine_slow_flag(engine);
	pg_engine_send_frame(engine, &frame, bits, bytes);
	engine->env->counters.acks++;
}

static enum pg_drop take_part(struct pg_engine *engine, struct pg_series *series,
			      const struct pg_frame *frame, const uint8_t *data, uint32_t bytes,
			      const struct pg_engine_source *source, bool *ret_acked)
{
	bool reliable = series->policy == PG_POLICY_RELIABLE, whole = false;
	enum pg_drop drop;

	drop = pg_series_keep_part(engine, series, frame, data, bytes, &whole);
	if (drop == PG_DROP_REPLAY_SEEN && reliable && may_ack_again(engine, source)) {
		ack_parts(engine, series, frame);
		*ret_acked = true;
	}
	if (drop)
		return drop;
	if (!whole) {
		pg_series_raise(engine, series, frame->pack);
		note_frame(engine, frame, source, false);
		if (reliable)
			ack_parts(engine, series, frame);
		return PG_DROP_NONE;
	}
	pg_series_commit(engine, series, frame->pack);
	note_frame(engine, frame, source, true);
	if (reliable)
		ack_packet(engine, frame);
	pg_series_deliver_parts(engine, series, frame->pack);
	return PG_DROP_NONE;
}

static enum pg_drop take_packet(struct pg_engine *engine, struct pg_series *series,
				const struct pg_frame *frame, const uint8_t *data, uint32_t bytes,
				const struct pg_engine_source *source)
{
	enum pg_drop drop = pg_series_keep(engine, series, frame->pack, data, bytes);

	if (drop)
		return drop;
	pg_series_commit(engine, series, frame->pack);
	note_frame(engine, frame, source, true);
	if (series->policy == PG_POLICY_RELIABLE)
		ack_packet(engine, frame);
	pg_series_deliver(engine, series, frame->pack, data, bytes);
	return PG_DROP_NONE;
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
	if (!source->pinned && (!candidate(engine, series, frame) || older))
		return PG_DROP_PEER_MISMATCH;
	if (frame->flags & PG_FLAG_FRAG)
		return take_part(engine, series, frame, data, bytes, source, ret_acked);
	return take_packet(engine, series, frame, data, bytes, source);
}

/* --- one datagram ------------------------------------------------------------------------------
 */

enum pg_drop pg_engine_receive(struct pg_engine *engine, uint8_t *datagram, uint32_t bytes,
			       const struct pg_engine_source *source)
{
	struct pg_aead_job job = { 0 };
	struct pg_frame frame;
	enum pg_drop drop;
	bool acked = false;

	drop = pg_frame_check(datagram, datagram + bytes, bytes, engine->in, engine->guard, &frame);
	if (drop)
		return drop;
	if (frame.session != engine->line->id)
		return PG_DROP_NO_SESSION;
	if (engine->ended)
		return PG_DROP_SESSION_STATE;
	drop = pg_engine_admit(engine, &frame, datagram, source->pinned);
	if (drop)
		return drop;
	if (frame.opcode != PG_OP_DATA) {
		drop = pg_engine_control(engine, &frame, datagram, source);
	} else {
		drop = pg_engine_classify(engine, &frame, datagram, source->pinned, &job);
		if (drop)
			return drop;
		pg_aead_open(engine->env->aead, &job, 1);
		drop = pg_engine_data(engine, &frame, datagram, source, job.result, &acked);
	}
	pg_engine_publish(engine);
	return drop;
}

/* --- the end of a batch, timers ----------------------------------------------------------------
 */

static void publish_series(struct pg_series *series)
{
	if (series->policy != PG_POLICY_RELIABLE)
		series->next_deliver = series->highest + 1;
	__atomic_store_n(&series->window->next_deliver, series->next_deliver, __ATOMIC_RELAXED);
	__atomic_store_n(series->highest_shared, series->highest, __ATOMIC_RELEASE);
}

void pg_engine_publish_windows(struct pg_engine *engine)
{
	struct pg_series *series;

	while ((series = engine->dirty)) {
		engine->dirty = series->dirty_next;
		series->dirty = false;
		publish_series(series);
	}
}

static void resume(struct pg_engine *engine)
{
	pg_series_drain(engine, &engine->series);
	for (struct pg_stream *s = engine->streams; s; s = s->next)
		pg_series_drain(engine, &s->series);
}

void pg_engine_publish(struct pg_engine *engine)
{
	/* an echo waits for room in the send buffer */
	if (engine->freed && engine->stalled && !engine->ended)
		resume(engine);
	engine->freed = false;
	pg_engine_publish_windows(engine);
	pg_tx_pump(engine);
}

void pg_engine_alive(struct pg_engine *engine)
{
	engine->last_active_ms = engine->env->unix_ms;
	engine->alive_ms = engine->env->now_ms;
}

/* With the guard off only data keeps a session alive. */
static void keep_alive(struct pg_engine *engine)
{
	uint64_t kept = engine->kept_ms, wait;

	if (pg_engine_since(engine, engine->kept_ms) >= engine->env->options.ping_ms) {
		if (engine->guard)
			pg_engine_send_control(engine, PG_OP_PING, 0, 0, NULL, 0);
		else
			pg_engine_send(engine, 0, NULL, 0, 0);
	}
	wait = engine->kept_ms + engine->env->options.ping_ms;
	if (engine->kept_ms == kept && wait <= engine->env->now_ms)
		wait = engine->env->now_ms + PING_RETRY_MS;
	pg_engine_arm(engine, wait);
}

static void alive_timer(struct pg_engine *engine)
{
	if (engine->expires) {
		if (pg_engine_since(engine, engine->alive_ms) >= engine->env->options.idle_ms) {
			pg_engine_close(engine, PG_GOAWAY_EXPIRED);
			return;
		}
		pg_engine_arm(engine, engine->alive_ms + engine->env->options.idle_ms);
	}
	if (engine->client)
		keep_alive(engine);
}

static void quiet_timers(struct pg_engine *engine)
{
	engine->quiet_ms = UINT64_MAX;
	if (engine->stalled && engine->stall_ms < STALLED_RETRY_MAX_MS)
		engine->stall_ms *= 2;
	pg_series_timer(engine, &engine->series);
	pg_engine_streams_timer(engine);
	if (!engine->stalled)
		engine->stall_ms = STALLED_RETRY_MS;
	pg_engine_roam_timer(engine);
	alive_timer(engine);
}

void pg_engine_timer(struct pg_engine *engine)
{
	if (!engine->ended && engine->quiet_ms <= engine->env->now_ms)
		quiet_timers(engine);
	if (!engine->ended)
		pg_recovery_timer(engine);
	pg_engine_publish(engine);
}

void pg_engine_resume(struct pg_engine *engine)
{
	if (engine->ended)
		return;
	resume(engine);
	if (!engine->stalled)
		engine->stall_ms = STALLED_RETRY_MS;
	pg_engine_publish(engine);
}

void pg_engine_settled(struct pg_engine *engine, struct pg_series *series)
{
	if (series->stream)
		pg_stream_settled(engine, pg_stream_of(series));
	if (engine->used_up && !engine->tx.bytes)
		pg_engine_close(engine, PG_GOAWAY_NORMAL);
}

void pg_engine_end(struct pg_engine *engine, uint8_t code)
{
	if (engine->ended)
		return;
	engine->ended = true;
	engine->deadline_ms = engine->quiet_ms = UINT64_MAX;
	pg_recovery_fail_all(engine, &engine->series);
	for (struct pg_stream *s = engine->streams; s; s = s->next)
		pg_recovery_fail_all(engine, &s->series);
	engine->env->ops->closed(engine, code);
}

void pg_engine_close(struct pg_engine *engine, uint8_t code)
{
	if (engine->ended)
		return;
	pg_engine_send_control(engine, PG_OP_GOAWAY, 0, 0, &code, 1);
	pg_engine_end(engine, code);
}
