// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "packgate/replay_commit.h"

/* Of the receive buffer, the part that only the packet whose turn it is may use. */
#define RESERVE_MAX (PG_FRAGMENTS_MAX * PG_FRAME_MAX)

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
	if (engine->reserve == series)
		engine->reserve = NULL;
}

static void set_stalled(struct pg_engine *engine, struct pg_series *series, bool stalled)
{
	if (stalled == series->stalled)
		return;
	series->stalled = stalled;
	engine->stalled += stalled ? 1 : -1;
}

void pg_series_done(struct pg_engine *engine, struct pg_series *series)
{
	free_received(engine, series);
	set_stalled(engine, series, false);
	pg_recovery_forget(engine, series);
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

	/* the last id there is, which no series may use: the next one would be 0 */
	if (pack > PG_PACK_ID_LAST)
		return PG_DROP_REPLAY_AHEAD;
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

static enum pg_drop ready(struct pg_engine *engine, const struct pg_series *series, uint32_t bytes)
{
	if (!engine->env->ops->ready)
		return PG_DROP_NONE;
	return engine->env->ops->ready(engine, series->stream, bytes);
}

/* Delivery goes on at this id. */
static void advance_to(struct pg_engine *engine, struct pg_series *series, uint32_t next)
{
	series->next_deliver = next;
	series->wanted_bytes = 0;
	mark_dirty(engine, series);
	if (engine->reserve == series)
		engine->reserve = NULL;
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
		if (ready(engine, series, packet->bytes))
			return false;
		pg_engine_event(engine, PG_APP_MESSAGE, series->stream, packet->id, packet->data,
				packet->bytes);
	}
	pg_receive_buffer_drop(series->received, series->next_deliver);
	engine->waiting_bytes -= before - series_bytes(series);
	advance_to(engine, series, series->next_deliver + 1);
	return true;
}

static void stall(struct pg_engine *engine, struct pg_series *series)
{
	set_stalled(engine, series, true);
	pg_engine_arm(engine, engine->env->now_ms + engine->stall_ms);
}

static void drop_waiting(struct pg_engine *engine, struct pg_series *series, uint32_t pack)
{
	uint64_t before = series_bytes(series);

	if (series->received)
		pg_receive_buffer_drop(series->received, pack);
	engine->waiting_bytes -= before - series_bytes(series);
}

/*
 * Passes over what is missing below end, which is above next_deliver, once that can be said. Of
 * these ids only the first may have come in part.
 */
static void skip_to(struct pg_engine *engine, struct pg_series *series, uint32_t end)
{
	if (ready(engine, series, 0)) {
		stall(engine, series);
		return;
	}
	drop_waiting(engine, series, series->next_deliver);
	report_gap(engine, series, series->next_deliver, end - series->next_deliver);
	advance_to(engine, series, end);
	pg_series_drain(engine, series);
}

/* The lowest id above next_deliver of which something came; next_deliver is not whole. */
static uint32_t next_present(const struct pg_series *series)
{
	return pg_receive_buffer_lowest(series->received, series->next_deliver + 1);
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
			end = next_present(series);
		skip_to(engine, series, end < first ? end : first);
	}
	return series->stalled ? PG_DROP_APP_FULL : PG_DROP_NONE;
}

/* Whether the receive buffer may grow by cost for a packet that is, or is not, the next one. */
static bool room_for(struct pg_engine *engine, struct pg_series *series, uint64_t cost, bool next)
{
	uint64_t bound = engine->env->options.receive_buffer_bytes;
	uint64_t reserve = bound / 4 < RESERVE_MAX ? bound / 4 : RESERVE_MAX;

	if (!series->received)
		cost += pg_receive_buffer_overhead();
	if (engine->waiting_bytes + cost <= bound - reserve)
		return true;
	if (!next || engine->waiting_bytes + cost > bound ||
	    (engine->reserve && engine->reserve != series))
		return false;
	engine->reserve = series;
	return true;
}

static enum pg_drop keep_for_later(struct pg_engine *engine, struct pg_series *series,
				   uint32_t pack, const uint8_t *data, uint32_t bytes)
{
	if (!room_for(engine, series, pg_receive_buffer_packet_overhead() + bytes, false))
		return PG_DROP_BUFFER_FULL;
	if (!put(engine, series, pack, data, bytes))
		return PG_DROP_BUFFER_FULL;
	pg_engine_arm(engine, engine->env->now_ms + engine->env->options.receive_timeout_ms);
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

/* Makes the window end at pack: PG_DROP_NONE, or why it cannot be done now. */
static enum pg_drop reach(struct pg_engine *engine, struct pg_series *series, uint32_t pack)
{
	if (series->policy != PG_POLICY_RELIABLE)
		return PG_DROP_NONE;
	if (pack > series->next_deliver && pack - series->next_deliver >= PG_WINDOW_IDS)
		return leave_behind(engine, series, first_left(series, pack));
	/* its turn: what is in front of it may have room by now */
	if (pack == series->next_deliver && series->stalled)
		pg_series_drain(engine, series);
	return PG_DROP_NONE;
}

/*
 * Whether a packet of so many bytes can be handed on, or may wait. While one was refused for want
 * of room others are too, until it would fit: their acks would make the peer send the refused one
 * again and again, within a round trip each, and soon give it up.
 */
static enum pg_drop takes(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
			  uint32_t bytes)
{
	uint32_t needed = turn_is_now(series, pack) ? bytes : 0;
	enum pg_drop drop;

	if (needed < series->wanted_bytes)
		needed = series->wanted_bytes;
	drop = ready(engine, series, needed);
	series->wanted_bytes = drop ? needed : 0;
	if (!drop && pack == series->next_deliver && series->stalled &&
	    series->policy == PG_POLICY_RELIABLE)
		return PG_DROP_APP_FULL;
	return drop;
}

enum pg_drop pg_series_keep(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
			    const uint8_t *data, uint32_t bytes)
{
	enum pg_drop drop = reach(engine, series, pack);

	if (drop)
		return drop;
	/* of which fragments came is not whole, whoever says so now */
	if (series->received && pg_receive_buffer_parts(series->received, pack))
		return PG_DROP_FRAGMENT_CONFLICT;
	drop = takes(engine, series, pack, bytes);
	if (drop || turn_is_now(series, pack))
		return drop;
	return keep_for_later(engine, series, pack, data, bytes);
}

/* --- fragments ---------------------------------------------------------------------------------
 */

/* Clears the place of this id of an older packet that will not be whole any more. */
static void clear_place(struct pg_engine *engine, struct pg_series *series, uint32_t pack)
{
	const struct pg_received_packet *packet;

	if (!series->received || series->policy == PG_POLICY_RELIABLE)
		return;
	packet = pg_receive_buffer_at(series->received, pack);
	if (packet && packet->id != pack)
		drop_waiting(engine, series, packet->id);
}

/* The same packet's fragments so far: whether this one fits, and whether it is all then. */
static enum pg_drop check_part(const struct pg_series *series, const struct pg_frame *frame,
			       uint32_t *ret_so_far, bool *ret_whole)
{
	const struct pg_assembly *parts = NULL;
	bool last = frame->flags & PG_FLAG_FIN;

	if (series->received)
		parts = pg_receive_buffer_parts(series->received, frame->pack);
	*ret_so_far = parts ? pg_assembly_bytes(parts) : 0;
	*ret_whole = parts ? pg_assembly_completed_by(parts, frame->fragment, last)
			   : last && frame->fragment == 1;
	switch (parts ? pg_assembly_check(parts, frame->fragment, last) : 0) {
	case 0:
		return PG_DROP_NONE;
	case -EEXIST:
		return PG_DROP_REPLAY_SEEN;
	default:
		return PG_DROP_FRAGMENT_CONFLICT;
	}
}

static bool add_part(struct pg_engine *engine, struct pg_series *series,
		     const struct pg_frame *frame, const uint8_t *data, uint32_t bytes)
{
	uint64_t before = series_bytes(series);
	bool taken;

	if (!series->received && pg_receive_buffer_new(&series->received))
		return false;
	taken = !pg_receive_buffer_part(series->received, frame->pack, frame->fragment,
					frame->flags & PG_FLAG_FIN, data, bytes,
					engine->env->now_ms);
	engine->waiting_bytes += series_bytes(series) - before;
	return taken;
}

/* Adds the last missing fragment; the packet becomes whole, or nothing changes. */
static bool join_parts(struct pg_engine *engine, struct pg_series *series,
		       const struct pg_frame *frame, const uint8_t *data, uint32_t bytes,
		       uint32_t so_far)
{
	uint8_t *whole = malloc((size_t)so_far + bytes);
	uint64_t before;

	if (!whole || !add_part(engine, series, frame, data, bytes)) {
		free(whole);
		return false;
	}
	before = series_bytes(series);
	pg_receive_buffer_join(series->received, frame->pack, whole);
	engine->waiting_bytes -= before - series_bytes(series);
	return true;
}

static bool part_fits(struct pg_engine *engine, struct pg_series *series,
		      const struct pg_frame *frame, uint32_t bytes)
{
	bool next = series->policy == PG_POLICY_RELIABLE && frame->pack == series->next_deliver;
	struct pg_receive_buffer *buffer = series->received;
	uint64_t cost;

	cost = buffer ? pg_receive_buffer_part_cost(buffer, frame->pack, frame->fragment, bytes)
		      : pg_receive_buffer_packet_overhead() +
				pg_assembly_cost(NULL, frame->fragment, bytes);
	return room_for(engine, series, cost, next);
}

enum pg_drop pg_series_keep_part(struct pg_engine *engine, struct pg_series *series,
				 const struct pg_frame *frame, const uint8_t *data, uint32_t bytes,
				 bool *ret_whole)
{
	const struct pg_engine_options *options = &engine->env->options;
	enum pg_drop drop = reach(engine, series, frame->pack);
	uint32_t so_far;
	bool whole;

	if (drop)
		return drop;
	clear_place(engine, series, frame->pack);
	drop = check_part(series, frame, &so_far, &whole);
	if (!drop)
		drop = takes(engine, series, frame->pack, whole ? so_far + bytes : 0);
	if (drop)
		return drop;
	if (!part_fits(engine, series, frame, bytes))
		return PG_DROP_BUFFER_FULL;
	if (whole ? !join_parts(engine, series, frame, data, bytes, so_far)
		  : !add_part(engine, series, frame, data, bytes))
		return PG_DROP_BUFFER_FULL;
	pg_engine_arm(engine, engine->env->now_ms + (series->policy == PG_POLICY_RELIABLE
							     ? options->receive_timeout_ms
							     : options->unreliable_timeout_ms));
	*ret_whole = whole;
	return PG_DROP_NONE;
}

void pg_series_raise(struct pg_engine *engine, struct pg_series *series, uint32_t pack)
{
	pg_replay_raise(&series->highest, series->window->bits, pack);
	mark_dirty(engine, series);
}

void pg_series_deliver_parts(struct pg_engine *engine, struct pg_series *series, uint32_t pack)
{
	const struct pg_received_packet *packet;

	if (series->policy == PG_POLICY_RELIABLE) {
		pg_series_drain(engine, series);
		return;
	}
	packet = pg_receive_buffer_peek(series->received, pack);
	pg_engine_event(engine, PG_APP_MESSAGE, series->stream, pack, packet->data, packet->bytes);
	drop_waiting(engine, series, pack);
	if (!pg_receive_buffer_count(series->received))
		free_received(engine, series);
}

/* --- committing, handing on --------------------------------------------------------------------
 */

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
		advance_to(engine, series, series->next_deliver + 1);
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
		advance_to(engine, series, behind);
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
		if (ready(engine, series, 0))
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

	set_stalled(engine, series, false);
	if (!series->received || series->policy != PG_POLICY_RELIABLE)
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
	skip_to(engine, series, next_present(series));
}

/*
 * When the id whose turn it is has been missing long enough: counted from the first arrival of a
 * higher one, or, where fragments of it came, from the last of these if that is earlier.
 */
static uint64_t missing_due_ms(const struct pg_engine *engine, const struct pg_series *series)
{
	uint64_t timeout = engine->env->options.receive_timeout_ms, due = UINT64_MAX;
	const struct pg_received_packet *packet;

	packet = pg_receive_buffer_oldest(series->received, series->next_deliver);
	if (packet)
		due = packet->arrived_ms + timeout;
	packet = pg_receive_buffer_at(series->received, series->next_deliver);
	if (packet && packet->id == series->next_deliver && packet->latest_ms + timeout < due)
		due = packet->latest_ms + timeout;
	return due;
}

static void reliable_timer(struct pg_engine *engine, struct pg_series *series)
{
	uint64_t due;

	pg_series_drain(engine, series);
	while (series->received && !series->stalled) {
		due = missing_due_ms(engine, series);
		if (due > engine->env->now_ms) {
			pg_engine_arm(engine, due);
			return;
		}
		skip_missing(engine, series);
	}
}

/* Packets of which fragments have been missing too long are forgotten. */
static void unreliable_timer(struct pg_engine *engine, struct pg_series *series)
{
	uint64_t timeout = engine->env->options.unreliable_timeout_ms;
	const struct pg_received_packet *packet;

	while (series->received && (packet = pg_receive_buffer_oldest(series->received, 0))) {
		if (packet->arrived_ms + timeout > engine->env->now_ms) {
			pg_engine_arm(engine, packet->arrived_ms + timeout);
			return;
		}
		drop_waiting(engine, series, packet->id);
	}
	free_received(engine, series);
}

void pg_series_timer(struct pg_engine *engine, struct pg_series *series)
{
	if (series->policy == PG_POLICY_RELIABLE)
		reliable_timer(engine, series);
	else
		unreliable_timer(engine, series);
}

bool pg_series_finish(struct pg_engine *engine, struct pg_series *series)
{
	pg_series_drain(engine, series);
	if (series->policy != PG_POLICY_RELIABLE)
		return true;
	while (series->received && !series->stalled)
		skip_missing(engine, series);
	return !series->received;
}

void pg_series_flush(struct pg_engine *engine, struct pg_series *series)
{
	/* what the application has no room for cannot wait longer than its stream */
	if (!pg_series_finish(engine, series))
		report_gap(engine, series, series->next_deliver,
			   series->highest + 1 - series->next_deliver);
	free_received(engine, series);
	set_stalled(engine, series, false);
	pg_recovery_fail_all(engine, series);
}
