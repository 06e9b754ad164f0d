// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <string.h>

#include "engine_internal.h"
#include "packgate/replay_commit.h"

#define STALLED_RETRY_MS 10

void pg_series_init(struct pg_series *series, uint32_t *highest, struct pg_window *window,
		    uint32_t stream, uint8_t policy)
{
	memset(series, 0, sizeof(*series));
	series->highest_shared = highest;
	series->highest = *highest;
	series->window = window;
	series->stream = stream;
	series->policy = policy;
	if (!window->next_deliver)
		window->next_deliver = 1;
	if (!window->next_send)
		window->next_send = 1;
	series->next_deliver = window->next_deliver;
}

void pg_series_done(struct pg_series *series)
{
	pg_receive_buffer_free(series->received);
	pg_send_buffer_free(series->sent);
	series->received = NULL;
	series->sent = NULL;
}

enum pg_drop pg_series_check(const struct pg_series *series, uint32_t pack)
{
	enum pg_drop drop;

	drop = pg_replay_check(series->highest, series->window->bits, pack, series->policy);
	if (!drop && series->policy == PG_POLICY_RELIABLE && pack < series->next_deliver)
		return PG_DROP_REPLAY_OLD;
	return drop;
}

static void report_gap(struct pg_engine *engine, struct pg_series *series, uint32_t first,
		       uint32_t count)
{
	uint8_t bytes[4];

	pg_store_be32(bytes, count);
	engine->env->counters.gaps++;
	pg_engine_event(engine, PG_APP_GAP, series->stream, first, bytes, sizeof(bytes));
}

static uint64_t series_bytes(const struct pg_series *series)
{
	return series->received ? pg_receive_buffer_bytes(series->received) : 0;
}

static uint64_t buffered_bytes(const struct pg_engine *engine)
{
	uint64_t bytes = series_bytes(&engine->series);

	for (const struct pg_stream *s = engine->streams; s; s = s->next)
		bytes += series_bytes(&s->series);
	return bytes;
}

static bool turn_is_now(const struct pg_series *series, uint32_t pack)
{
	return series->policy != PG_POLICY_RELIABLE ||
	       (pack == series->next_deliver && !series->stalled);
}

/* Hands on everything below first, missing or not: it falls behind the replay window. */
static void leave_behind(struct pg_engine *engine, struct pg_series *series, uint32_t first)
{
	const struct pg_received_packet *packet;
	uint32_t end;

	while (series->next_deliver < first) {
		end = first;
		if (series->received && pg_receive_buffer_count(series->received))
			end = pg_receive_buffer_lowest(series->received, series->next_deliver);
		if (end > first)
			end = first;
		if (end > series->next_deliver) {
			report_gap(engine, series, series->next_deliver, end - series->next_deliver);
			series->next_deliver = end;
			continue;
		}
		packet = pg_receive_buffer_peek(series->received, end);
		if (!packet->lost)
			pg_engine_event(engine, PG_APP_MESSAGE, series->stream, packet->id,
					packet->data, packet->bytes);
		pg_receive_buffer_drop(series->received, end);
		series->next_deliver++;
	}
	series->dirty = true;
}

static enum pg_drop keep_for_later(struct pg_engine *engine, struct pg_series *series,
				   uint32_t pack, const uint8_t *data, uint32_t bytes)
{
	const struct pg_engine_options *options = &engine->env->options;

	if (pack != series->next_deliver &&
	    buffered_bytes(engine) + bytes > options->receive_buffer_bytes)
		return PG_DROP_BUFFER_FULL;
	if (!series->received && pg_receive_buffer_new(&series->received))
		return PG_DROP_BUFFER_FULL;
	if (pg_receive_buffer_put(series->received, pack, data, bytes, engine->env->now_ms))
		return PG_DROP_BUFFER_FULL;
	pg_engine_arm(engine, engine->env->now_ms + options->receive_timeout_ms);
	return PG_DROP_NONE;
}

enum pg_drop pg_series_keep(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
			    const uint8_t *data, uint32_t bytes)
{
	bool far = pack >= series->next_deliver && pack - series->next_deliver >= PG_WINDOW_IDS;
	enum pg_drop drop;

	if (turn_is_now(series, pack))
		return engine->env->ops->ready(engine, series->stream, bytes);
	/* a far jump hands on everything that waits: the application must take it all */
	drop = engine->env->ops->ready(engine, series->stream, far ? series_bytes(series) : 0);
	if (drop)
		return drop;
	if (far)
		leave_behind(engine, series, pack - (PG_WINDOW_IDS - 1));
	return keep_for_later(engine, series, pack, data, bytes);
}

void pg_series_commit(struct pg_series *series, uint32_t pack)
{
	if (series->policy == PG_POLICY_NEWEST)
		series->highest = pack;
	else
		pg_replay_commit(&series->highest, series->window->bits, pack);
	series->dirty = true;
}

void pg_series_deliver(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
		       const uint8_t *data, uint32_t bytes)
{
	if (turn_is_now(series, pack)) {
		pg_engine_event(engine, PG_APP_MESSAGE, series->stream, pack, data, bytes);
		if (series->policy != PG_POLICY_RELIABLE)
			return;
		series->next_deliver++;
	}
	pg_series_drain(engine, series);
}

void pg_series_adopt(struct pg_engine *engine, struct pg_series *series)
{
	uint32_t id, run = 0;

	if (series->policy != PG_POLICY_RELIABLE || series->highest < series->next_deliver)
		return;
	if (series->highest - series->next_deliver >= PG_WINDOW_IDS)
		series->next_deliver = series->highest - (PG_WINDOW_IDS - 1);
	for (id = series->next_deliver; id <= series->highest && id; id++) {
		if (!pg_replay_bit(series->window->bits, id)) {
			if (run)
				report_gap(engine, series, id - run, run);
			run = 0;
			continue;
		}
		run++;
		if (!series->received && pg_receive_buffer_new(&series->received))
			return;
		pg_receive_buffer_put(series->received, id, NULL, 0, engine->env->now_ms);
	}
	if (run)
		report_gap(engine, series, id - run, run);
	series->dirty = true;
	pg_series_drain(engine, series);
	pg_engine_arm(engine, engine->env->now_ms + engine->env->options.receive_timeout_ms);
}

/* Delivers what is next in order and waits, while the application takes it. */
void pg_series_drain(struct pg_engine *engine, struct pg_series *series)
{
	const struct pg_received_packet *packet;

	series->stalled = false;
	if (!series->received)
		return;
	while ((packet = pg_receive_buffer_peek(series->received, series->next_deliver))) {
		if (!packet->lost && engine->env->ops->ready(engine, series->stream, packet->bytes)) {
			series->stalled = true;
			pg_engine_arm(engine, engine->env->now_ms + STALLED_RETRY_MS);
			return;
		}
		if (!packet->lost)
			pg_engine_event(engine, PG_APP_MESSAGE, series->stream, packet->id,
					packet->data, packet->bytes);
		pg_receive_buffer_drop(series->received, series->next_deliver);
		series->next_deliver++;
		series->dirty = true;
	}
	if (!pg_receive_buffer_count(series->received)) {
		pg_receive_buffer_free(series->received);
		series->received = NULL;
	}
}

static void skip_missing(struct pg_engine *engine, struct pg_series *series)
{
	uint32_t lowest = pg_receive_buffer_lowest(series->received, series->next_deliver);

	if (lowest > series->next_deliver)
		report_gap(engine, series, series->next_deliver, lowest - series->next_deliver);
	series->next_deliver = lowest;
	series->dirty = true;
	pg_series_drain(engine, series);
}

static void receive_timer(struct pg_engine *engine, struct pg_series *series)
{
	uint64_t timeout = engine->env->options.receive_timeout_ms;
	uint64_t due;

	pg_series_drain(engine, series);
	while (series->received && !series->stalled) {
		due = pg_receive_buffer_oldest_ms(series->received) + timeout;
		if (due > engine->env->now_ms) {
			pg_engine_arm(engine, due);
			return;
		}
		skip_missing(engine, series);
	}
}

static void send_timer(struct pg_engine *engine, struct pg_series *series)
{
	uint64_t timeout = engine->env->options.send_timeout_ms;
	uint64_t now = engine->env->now_ms;
	struct pg_sent_packet packet;
	uint32_t id;

	if (!series->sent)
		return;
	while (now >= timeout && !pg_send_buffer_expire(series->sent, now - timeout, &packet, &id)) {
		engine->env->counters.failed++;
		if (packet.message)
			pg_engine_event(engine, PG_APP_FAILED, series->stream, packet.message, NULL,
					0);
	}
	if (pg_send_buffer_empty(series->sent)) {
		pg_send_buffer_free(series->sent);
		series->sent = NULL;
		return;
	}
	pg_engine_arm(engine, pg_send_buffer_oldest_ms(series->sent) + timeout);
}

void pg_series_timer(struct pg_engine *engine, struct pg_series *series)
{
	receive_timer(engine, series);
	send_timer(engine, series);
}

void pg_series_flush(struct pg_engine *engine, struct pg_series *series)
{
	while (series->received && pg_receive_buffer_count(series->received)) {
		skip_missing(engine, series);
		if (series->stalled)
			return;
	}
}
