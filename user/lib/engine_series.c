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

static uint64_t series_bytes(const struct pg_series *series)
{
	return series->received ? pg_receive_buffer_bytes(series->received) : 0;
}

static void free_received(struct pg_engine *engine, struct pg_series *series)
{
	engine->waiting_bytes -= series_bytes(series);
	pg_receive_buffer_free(series->received);
	series->received = NULL;
}

void pg_series_done(struct pg_engine *engine, struct pg_series *series)
{
	free_received(engine, series);
	pg_send_buffer_free(series->sent);
	series->sent = NULL;
}

static void mark_dirty(struct pg_engine *engine, struct pg_series *series)
{
	if (series->dirty)
		return;
	series->dirty = true;
	series->dirty_next = engine->dirty;
	engine->dirty = series;
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

static bool put(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
		const uint8_t *data, uint32_t bytes)
{
	uint64_t before = series_bytes(series);
	bool taken;

	if (!series->received && pg_receive_buffer_new(&series->received))
		return false;
	taken = !pg_receive_buffer_put(series->received, pack, data, bytes, engine->env->now_ms);
	engine->waiting_bytes += series_bytes(series) - before;
	return taken;
}

static bool turn_is_now(const struct pg_series *series, uint32_t pack)
{
	return series->policy != PG_POLICY_RELIABLE ||
	       (pack == series->next_deliver && !series->stalled);
}

/* Hands on the packet whose turn it is; false when the application cannot take it now. */
static bool hand_on(struct pg_engine *engine, struct pg_series *series,
		    const struct pg_received_packet *packet)
{
	uint64_t before = series_bytes(series);

	if (!packet->lost) {
		if (engine->env->ops->ready(engine, series->stream, packet->bytes))
			return false;
		pg_engine_event(engine, PG_APP_MESSAGE, series->stream, packet->id, packet->data,
				packet->bytes);
	}
	pg_receive_buffer_drop(series->received, series->next_deliver);
	engine->waiting_bytes -= before - series_bytes(series);
	series->next_deliver++;
	mark_dirty(engine, series);
	return true;
}

static void stall(struct pg_engine *engine, struct pg_series *series)
{
	series->stalled = true;
	pg_engine_arm(engine, engine->env->now_ms + STALLED_RETRY_MS);
}

/* Passes over what is missing below end, which is above next_deliver, once that can be said. */
static void skip_to(struct pg_engine *engine, struct pg_series *series, uint32_t end)
{
	if (engine->env->ops->ready(engine, series->stream, 0)) {
		stall(engine, series);
		return;
	}
	report_gap(engine, series, series->next_deliver, end - series->next_deliver);
	series->next_deliver = end;
	mark_dirty(engine, series);
	pg_series_drain(engine, series);
}

/*
 * Hands on everything below first, missing or not: it falls behind the replay window. Returns the
 * reason where the application cannot take all of it.
 */
static enum pg_drop leave_behind(struct pg_engine *engine, struct pg_series *series, uint32_t first)
{
	uint32_t end;

	pg_series_drain(engine, series);
	while (!series->stalled && series->next_deliver < first) {
		end = first;
		if (series->received)
			end = pg_receive_buffer_lowest(series->received, series->next_deliver);
		skip_to(engine, series, end < first ? end : first);
	}
	return series->stalled ? PG_DROP_APP_FULL : PG_DROP_NONE;
}

static enum pg_drop keep_for_later(struct pg_engine *engine, struct pg_series *series,
				   uint32_t pack, const uint8_t *data, uint32_t bytes)
{
	const struct pg_engine_options *options = &engine->env->options;

	if (pack != series->next_deliver &&
	    engine->waiting_bytes + bytes > options->receive_buffer_bytes)
		return PG_DROP_BUFFER_FULL;
	if (!put(engine, series, pack, data, bytes))
		return PG_DROP_BUFFER_FULL;
	pg_engine_arm(engine, engine->env->now_ms + options->receive_timeout_ms);
	return PG_DROP_NONE;
}

/*
 * Where delivery goes on once pack is in: at pack when more than a window's worth of ids in front
 * of it never came (PROTOCOL section 1: such a run is skipped at once), else at the lowest id that
 * the window still takes.
 */
static uint32_t first_left(const struct pg_series *series, uint32_t pack)
{
	uint32_t unseen =
		series->highest < series->next_deliver ? series->next_deliver : series->highest + 1;

	return pack > unseen && pack - unseen > PG_WINDOW_IDS ? pack : pack - (PG_WINDOW_IDS - 1);
}

enum pg_drop pg_series_keep(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
			    const uint8_t *data, uint32_t bytes)
{
	bool far = series->policy == PG_POLICY_RELIABLE && pack > series->next_deliver &&
		   pack - series->next_deliver >= PG_WINDOW_IDS;
	enum pg_drop drop;

	drop = far ? leave_behind(engine, series, first_left(series, pack)) : PG_DROP_NONE;
	if (drop)
		return drop;
	if (turn_is_now(series, pack))
		return engine->env->ops->ready(engine, series->stream, bytes);
	drop = engine->env->ops->ready(engine, series->stream, 0);
	return drop ? drop : keep_for_later(engine, series, pack, data, bytes);
}

void pg_series_commit(struct pg_engine *engine, struct pg_series *series, uint32_t pack)
{
	if (series->policy == PG_POLICY_NEWEST)
		series->highest = pack;
	else
		pg_replay_commit(&series->highest, series->window->bits, pack);
	mark_dirty(engine, series);
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
	uint32_t behind = series->highest - (PG_WINDOW_IDS - 1); /* the window's lowest id */

	if (series->policy != PG_POLICY_RELIABLE || series->highest < series->next_deliver)
		return;
	if (series->highest >= PG_WINDOW_IDS && series->next_deliver < behind) {
		report_gap(engine, series, series->next_deliver, behind - series->next_deliver);
		series->next_deliver = behind;
		mark_dirty(engine, series);
	}
	series->lost_from = series->next_deliver;
	for (uint32_t id = series->next_deliver; id <= series->highest && id; id++)
		if (pg_replay_bit(series->window->bits, id))
			put(engine, series, id, NULL, 0);
	if (!series->received)
		series->lost_from = 0;
	pg_engine_arm(engine, engine->env->now_ms + engine->env->options.receive_timeout_ms);
	pg_series_drain(engine, series);
}

static bool is_lost(const struct pg_series *series, uint32_t id)
{
	const struct pg_received_packet *packet = pg_receive_buffer_peek(series->received, id);

	return packet && packet->lost;
}

/* Reports the adopted ids that are lost; false when the application cannot take it now. */
static bool report_lost(struct pg_engine *engine, struct pg_series *series)
{
	uint32_t id = series->lost_from, run;

	for (; id && id <= series->highest; id += run ? run : 1) {
		for (run = 0; id + run <= series->highest && is_lost(series, id + run);)
			run++;
		if (!run)
			continue;
		series->lost_from = id;
		if (engine->env->ops->ready(engine, series->stream, 0))
			return false;
		report_gap(engine, series, id, run);
	}
	series->lost_from = 0;
	return true;
}

/* Delivers what is next in order and waits, while the application takes it. */
void pg_series_drain(struct pg_engine *engine, struct pg_series *series)
{
	const struct pg_received_packet *packet;

	series->stalled = false;
	if (!series->received)
		return;
	if (series->lost_from && !report_lost(engine, series)) {
		stall(engine, series);
		return;
	}
	while ((packet = pg_receive_buffer_peek(series->received, series->next_deliver)))
		if (!hand_on(engine, series, packet)) {
			stall(engine, series);
			return;
		}
	if (!pg_receive_buffer_count(series->received))
		free_received(engine, series);
}

static void skip_missing(struct pg_engine *engine, struct pg_series *series)
{
	uint32_t lowest = pg_receive_buffer_lowest(series->received, series->next_deliver);

	if (lowest > series->next_deliver)
		skip_to(engine, series, lowest);
	else
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

/* Gives up every packet sent at or before that time. */
static void fail_sent(struct pg_engine *engine, struct pg_series *series, uint64_t sent_until_ms)
{
	struct pg_sent_packet packet;
	uint32_t id;

	while (series->sent && !pg_send_buffer_expire(series->sent, sent_until_ms, &packet, &id)) {
		engine->env->counters.failed++;
		if (packet.message)
			pg_engine_event(engine, PG_APP_FAILED, series->stream, packet.message, NULL,
					0);
	}
}

static void send_timer(struct pg_engine *engine, struct pg_series *series)
{
	uint64_t timeout = engine->env->options.send_timeout_ms;
	uint64_t now = engine->env->now_ms;

	if (!series->sent)
		return;
	if (now >= timeout)
		fail_sent(engine, series, now - timeout);
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
	pg_series_drain(engine, series);
	while (series->received && !series->stalled)
		skip_missing(engine, series);
	/* what the application has no room for cannot wait longer than its stream */
	if (series->received)
		report_gap(engine, series, series->next_deliver,
			   series->highest + 1 - series->next_deliver);
	free_received(engine, series);
	series->stalled = false;
	fail_sent(engine, series, UINT64_MAX);
}
