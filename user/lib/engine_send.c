// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

#define BLOCK_IDS	4096 /* packIds of one reservation */
#define BLOCK_IDS_AHEAD 3072 /* the next block is asked for when fewer are left */

static void guard_key(const struct pg_engine *engine, uint64_t ret_key[2])
{
	const __u64 *words =
		engine->out == PG_S2C ? engine->line->guard_s2c : engine->line->guard_c2s;

	ret_key[0] = words[0];
	ret_key[1] = words[1];
}

void pg_engine_emit(struct pg_engine *engine, uint8_t *out, struct pg_frame *frame)
{
	uint64_t key[2];

	if (engine->guard) {
		guard_key(engine, key);
		pg_frame_write_guard(out, frame, key);
	}
	if (engine->roaming)
		engine->roaming->bytes_out += frame->bytes;
	/* without a guard control frames keep nothing alive */
	if (engine->guard || frame->opcode == PG_OP_DATA)
		engine->kept_ms = engine->env->now_ms;
	engine->env->counters.sent++;
	engine->env->ops->frame_send(engine, out, frame->bytes);
}

/* --- control frames ----------------------------------------------------------------------------
 */

uint8_t pg_engine_slow_flag(const struct pg_engine *engine)
{
	uint64_t half = engine->env->options.receive_buffer_bytes / 2;

	return engine->waiting_bytes > half ? PG_FLAG_SLOW : 0;
}

void pg_engine_send_frame(struct pg_engine *engine, struct pg_frame *frame, const uint8_t *payload,
			  uint32_t bytes)
{
	uint8_t *out;

	frame->session = engine->line->id;
	frame->payload_bytes = bytes + (engine->guard ? PG_GUARD_BYTES : 0);
	out = pg_engine_frame(engine, pg_frame_header_bytes(frame->flags) + frame->payload_bytes);
	if (!out)
		return;
	pg_frame_write_header(out, frame, pg_engine_timestamp(engine));
	if (bytes)
		memcpy(out + frame->header_bytes, payload, bytes);
	pg_engine_emit(engine, out, frame);
}

void pg_engine_send_control(struct pg_engine *engine, enum pg_opcode opcode, uint32_t stream,
			    uint32_t pack, const uint8_t *payload, uint32_t bytes)
{
	struct pg_frame frame = {
		.stream = stream,
		.pack = pack,
		.opcode = opcode,
		.flags = (stream ? PG_FLAG_STRE : 0) | (pack ? PG_FLAG_PACK : 0) |
			 (opcode == PG_OP_ACK ? pg_engine_slow_flag(engine) : 0),
	};

	pg_engine_send_frame(engine, &frame, payload, bytes);
}

/* --- what may be sent --------------------------------------------------------------------------
 */

uint32_t pg_engine_frame_max(const struct pg_engine *engine)
{
	return engine->max_payload - PG_TAG_BYTES - (engine->guard ? PG_GUARD_BYTES : 0);
}

uint32_t pg_engine_send_max(const struct pg_engine *engine, uint8_t policy)
{
	uint32_t frame = pg_engine_frame_max(engine);

	return policy == PG_POLICY_NEWEST ? frame : frame * PG_FRAGMENTS_MAX;
}

/* Keeps a reserved block ahead of the series. */
int pg_engine_reserved_id(struct pg_engine *engine, struct pg_series *series, uint32_t pack)
{
	uint32_t bound = series->window->send_bound;

	if (!engine->env->ops->reserve || series->stream)
		return 0;
	if ((pack >= bound || bound - pack < BLOCK_IDS_AHEAD) && engine->reserving <= bound &&
	    bound <= PG_PACK_ID_LAST) {
		engine->reserving = bound > PG_PACK_ID_LAST + 1 - BLOCK_IDS ? PG_PACK_ID_LAST + 1
									    : bound + BLOCK_IDS;
		engine->env->ops->reserve(engine, PG_ENGINE_RESERVE_SEND, engine->reserving);
	}
	return pack < bound ? 0 : -EAGAIN;
}

static uint32_t next_id(const struct pg_series *series)
{
	return series->sent ? pg_send_buffer_next(series->sent) : series->window->next_send;
}

static int fits_buffer(const struct pg_engine *engine, const struct pg_series *series,
		       uint32_t bytes)
{
	uint64_t cost = pg_send_buffer_cost(bytes, pg_engine_frame_max(engine));
	uint64_t bound = engine->env->options.send_buffer_bytes;

	if (cost > bound)
		return -EMSGSIZE;
	if (engine->tx.bytes + cost > bound)
		return -ENOBUFS;
	return series->sent && !pg_send_buffer_allows(series->sent) ? -ENOBUFS : 0;
}

static int sendable(struct pg_engine *engine, struct pg_series *series, uint32_t bytes)
{
	if (bytes > pg_engine_send_max(engine, series->policy))
		return -EMSGSIZE;
	if (next_id(series) > PG_PACK_ID_LAST)
		return -ESHUTDOWN;
	if (series->policy == PG_POLICY_RELIABLE)
		return fits_buffer(engine, series, bytes);
	if (series->stream && !pg_stream_ready(pg_stream_of(series)))
		return -EAGAIN;
	return pg_engine_reserved_id(engine, series, next_id(series));
}

static int series_to_send(struct pg_engine *engine, uint32_t stream, struct pg_series **ret_series)
{
	struct pg_stream *found;

	if (engine->ended || engine->used_up)
		return -ESHUTDOWN;
	if (!stream) {
		*ret_series = &engine->series;
		return 0;
	}
	found = pg_engine_stream(engine, stream);
	if (!found || pg_closing_done(found->closing))
		return -ENOENT;
	/* closed from this end, or the peer waits for what was sent to be settled */
	if (pg_closing_retries(found->closing) || found->close_wanted || found->close_asked)
		return -EPIPE;
	*ret_series = &found->series;
	return 0;
}

int pg_engine_sendable(struct pg_engine *engine, uint32_t stream, uint32_t bytes)
{
	struct pg_series *series;
	int err;

	err = series_to_send(engine, stream, &series);
	return err ? err : sendable(engine, series, bytes);
}

/* --- sending -----------------------------------------------------------------------------------
 */

static int send_reliable(struct pg_engine *engine, struct pg_series *series, const uint8_t *data,
			 uint32_t bytes, uint32_t message)
{
	uint32_t cut = pg_engine_frame_max(engine);
	struct pg_sent_packet *packet;
	int err;

	if (!series->sent && pg_send_buffer_new(series->window->next_send, &series->sent))
		return -ENOMEM;
	err = pg_send_buffer_put(series->sent, data, bytes, cut, message, &packet);
	if (err) {
		if (pg_send_buffer_empty(series->sent))
			pg_recovery_forget(engine, series);
		return err;
	}
	packet->series = series;
	engine->tx.bytes += pg_send_buffer_cost(bytes, cut);
	pg_tx_wake(engine, series);
	pg_tx_pump(engine);
	return 0;
}

/* Once its first frame is out, a packet of these policies may be lost like any other. */
static int send_unreliable(struct pg_engine *engine, struct pg_series *series, const uint8_t *data,
			   uint32_t bytes)
{
	uint32_t cut = pg_engine_frame_max(engine), pack = series->window->next_send;
	uint32_t frames = bytes > cut ? (bytes - 1) / cut + 1 : 1;
	int err = 0;

	for (uint32_t i = 0; i < frames && !err; i++) {
		uint32_t left = bytes - i * cut;
		struct pg_frame frame =
			pg_tx_header(engine, series, pack, frames > 1 ? i + 1 : 0, i + 1 == frames);

		/* used up before the frame can reach anyone */
		__atomic_store_n(&series->window->next_send, pack + 1, __ATOMIC_RELEASE);
		err = pg_tx_seal(engine, &frame, pg_engine_timestamp(engine),
				 bytes ? data + i * (size_t)cut : NULL, left < cut ? left : cut);
		if (err != -EAGAIN)
			continue;
		if (!i) /* nothing was sealed: the id is free again */
			__atomic_store_n(&series->window->next_send, pack, __ATOMIC_RELEASE);
		return i ? 0 : err;
	}
	return err;
}

/* A series has no ids left: the session ends when what was sent is settled. */
static void use_up(struct pg_engine *engine)
{
	engine->used_up = true;
	if (!engine->tx.bytes)
		pg_engine_close(engine, PG_GOAWAY_NORMAL);
}

int pg_engine_send(struct pg_engine *engine, uint32_t stream, const uint8_t *data, uint32_t bytes,
		   uint32_t message)
{
	struct pg_series *series;
	int err;

	err = series_to_send(engine, stream, &series);
	if (err)
		return err;
	err = sendable(engine, series, bytes);
	if (err == -ESHUTDOWN)
		use_up(engine);
	if (err)
		return err;
	if (series->policy == PG_POLICY_RELIABLE)
		return send_reliable(engine, series, data, bytes, message);
	return send_unreliable(engine, series, data, bytes);
}
