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

static void finish(struct pg_engine *engine, uint8_t *out, struct pg_frame *frame)
{
	uint64_t key[2];

	if (engine->guard) {
		guard_key(engine, key);
		pg_frame_write_guard(out, frame, key);
	}
	pg_engine_emit(engine, out, frame->bytes);
}

/* PROTOCOL section 7: an ack says SLOW while the receive buffer is more than half full. */
static uint8_t slow(const struct pg_engine *engine, enum pg_opcode opcode)
{
	uint64_t half = engine->env->options.receive_buffer_bytes / 2;

	return opcode == PG_OP_ACK && engine->waiting_bytes > half ? PG_FLAG_SLOW : 0;
}

void pg_engine_send_control(struct pg_engine *engine, enum pg_opcode opcode, uint32_t stream,
			    uint32_t pack, const uint8_t *payload, uint32_t bytes)
{
	struct pg_frame frame = {
		.session = engine->line->id,
		.stream = stream,
		.pack = pack,
		.opcode = opcode,
		.flags = (stream ? PG_FLAG_STRE : 0) | (pack ? PG_FLAG_PACK : 0) |
			 slow(engine, opcode),
		.payload_bytes = bytes + (engine->guard ? PG_GUARD_BYTES : 0),
	};
	uint8_t *out = pg_engine_frame(engine, PG_HEADER_MAX + frame.payload_bytes);

	if (!out)
		return;
	pg_frame_write_header(out, &frame, pg_engine_timestamp(engine));
	if (bytes)
		memcpy(out + frame.header_bytes, payload, bytes);
	finish(engine, out, &frame);
}

uint32_t pg_engine_send_max(const struct pg_engine *engine)
{
	return engine->env->options.max_payload - PG_TAG_BYTES -
	       (engine->guard ? PG_GUARD_BYTES : 0);
}

/* Keeps a reserved block ahead of the series; -EAGAIN where this id is not reserved yet. */
static int reserved(struct pg_engine *engine, struct pg_series *series, uint32_t pack)
{
	uint32_t bound = series->window->send_bound;

	if (!engine->env->ops->reserve || series->stream)
		return 0;
	if ((pack >= bound || bound - pack < BLOCK_IDS_AHEAD) && engine->reserving <= bound &&
	    bound < PG_PACK_ID_LAST) {
		engine->reserving =
			bound > PG_PACK_ID_LAST - BLOCK_IDS ? PG_PACK_ID_LAST : bound + BLOCK_IDS;
		engine->env->ops->reserve(engine, PG_ENGINE_RESERVE_SEND, engine->reserving);
	}
	return pack < bound ? 0 : -EAGAIN;
}

static int sendable(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
		    uint32_t bytes)
{
	int err;

	if (bytes > pg_engine_send_max(engine))
		return -EMSGSIZE;
	if (pack >= PG_PACK_ID_LAST)
		return -ESHUTDOWN;
	err = reserved(engine, series, pack);
	if (err)
		return err;
	if (series->policy != PG_POLICY_RELIABLE)
		return 0;
	if (!series->sent && pg_send_buffer_new(pack, &series->sent))
		return -ENOMEM;
	return pg_send_buffer_reserve(series->sent, pack);
}

static int seal(struct pg_engine *engine, uint8_t *out, const struct pg_frame *frame,
		const struct pg_aead_key *key, uint32_t bytes)
{
	struct pg_aead_job job = {
		.key = key,
		.aad = out,
		.aad_bytes = frame->header_bytes,
		.text = out + frame->header_bytes,
		.text_bytes = bytes,
		.tag = out + frame->header_bytes + bytes,
	};

	pg_frame_nonce(engine->keys.direction[engine->out].iv, frame, job.nonce);
	pg_aead_seal(engine->env->aead, &job, 1);
	return job.result;
}

static int send_packet(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
		       const uint8_t *data, uint32_t bytes, uint32_t message)
{
	struct pg_frame frame = {
		.session = engine->line->id,
		.stream = series->stream,
		.pack = pack,
		.opcode = PG_OP_DATA,
		.flags = PG_FLAG_PACK | (series->stream ? PG_FLAG_STRE : 0),
		.payload_bytes = bytes + PG_TAG_BYTES + (engine->guard ? PG_GUARD_BYTES : 0),
	};
	const struct pg_aead_key *key;
	uint8_t *out;

	key = pg_key_cache_get(engine->env->keys, engine->handle, &engine->keys, engine->aead,
			       engine->out, series->stream, pack);
	out = key ? pg_engine_frame(engine, PG_HEADER_MAX + frame.payload_bytes) : NULL;
	if (!out)
		return -EAGAIN;
	/* the id is used up before the frame can reach anyone, whatever happens to this process */
	__atomic_store_n(&series->window->next_send, pack + 1, __ATOMIC_RELEASE);
	if (series->policy == PG_POLICY_RELIABLE) {
		pg_send_buffer_put(series->sent, pack, message, engine->env->now_ms);
		pg_engine_arm(engine, engine->env->now_ms + engine->env->options.send_timeout_ms);
	}
	pg_frame_write_header(out, &frame, pg_engine_timestamp(engine));
	if (bytes)
		memcpy(out + frame.header_bytes, data, bytes);
	if (seal(engine, out, &frame, key, bytes))
		return -EIO; /* the id is spent, the room is given back by its owner's next turn */
	finish(engine, out, &frame);
	return 0;
}

static int series_to_send(struct pg_engine *engine, uint32_t stream, struct pg_series **ret_series)
{
	struct pg_stream *found;

	if (engine->ended)
		return -ESHUTDOWN;
	if (!stream) {
		*ret_series = &engine->series;
		return 0;
	}
	found = pg_engine_stream(engine, stream);
	if (!found || pg_closing_done(found->closing))
		return -ENOENT;
	if (pg_closing_retries(found->closing)) /* closed from this end */
		return -EPIPE;
	*ret_series = &found->series;
	return 0;
}

int pg_engine_sendable(struct pg_engine *engine, uint32_t stream, uint32_t bytes)
{
	struct pg_series *series;
	int err;

	err = series_to_send(engine, stream, &series);
	return err ? err : sendable(engine, series, series->window->next_send, bytes);
}

int pg_engine_send(struct pg_engine *engine, uint32_t stream, const uint8_t *data, uint32_t bytes,
		   uint32_t message)
{
	struct pg_series *series;
	uint32_t pack;
	int err;

	err = series_to_send(engine, stream, &series);
	if (err)
		return err;
	pack = series->window->next_send;
	err = sendable(engine, series, pack, bytes);
	if (!err)
		err = send_packet(engine, series, pack, data, bytes, message);
	if (err == -ESHUTDOWN)
		pg_engine_close(engine, PG_GOAWAY_NORMAL);
	return err;
}
