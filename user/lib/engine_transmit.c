// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <string.h>

#include "engine_internal.h"

#define NO_ROOM_RETRY_MS    2
#define ROAMING_RETRY_MS    50 /* what the new address sends lets more go at once */
#define REORDERING_AT_FIRST 3

void pg_tx_init(struct pg_engine *engine)
{
	struct pg_transmission *tx = &engine->tx;

	TAILQ_INIT(&tx->flight);
	TAILQ_INIT(&tx->final);
	for (int i = 0; i <= PG_SEND_RETRIES_MAX; i++)
		TAILQ_INIT(&tx->lost[i]);
	TAILQ_INIT(&tx->age);
	TAILQ_INIT(&tx->sending);
	pg_congestion_init(&tx->congestion, PG_HEADER_MAX + engine->max_payload);
	tx->next_order = 1;
	tx->loss_us = tx->try_us = UINT64_MAX;
	tx->reordering = REORDERING_AT_FIRST;
}

void pg_tx_wake(struct pg_engine *engine, struct pg_series *series)
{
	if (series->sending || !series->sent || !pg_send_buffer_fresh(series->sent))
		return;
	if (series->stream && !pg_stream_ready(pg_stream_of(series)))
		return;
	series->sending = true;
	TAILQ_INSERT_TAIL(&engine->tx.sending, series, sending_turn);
}

uint32_t pg_tx_frame_bytes(const struct pg_engine *engine, const struct pg_sent_packet *packet,
			   uint32_t index)
{
	const struct pg_series *series = packet->series;

	return PG_HEADER_MIN + (series->stream ? 8 : 4) + (packet->frames > 1 ? 4 : 0) +
	       pg_sent_packet_frame_bytes(packet, index) + PG_TAG_BYTES +
	       (engine->guard ? PG_GUARD_BYTES : 0);
}

struct pg_frame pg_tx_header(const struct pg_engine *engine, const struct pg_series *series,
			     uint32_t pack, uint32_t fragment, bool last)
{
	return (struct pg_frame){
		.session = engine->line->id,
		.stream = series->stream,
		.pack = pack,
		.fragment = fragment,
		.opcode = PG_OP_DATA,
		.flags = PG_FLAG_PACK | (series->stream ? PG_FLAG_STRE : 0) |
			 (fragment ? PG_FLAG_FRAG : 0) | (fragment && last ? PG_FLAG_FIN : 0),
	};
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

int pg_tx_seal(struct pg_engine *engine, struct pg_frame *frame, uint64_t timestamp_ms,
	       const uint8_t *data, uint32_t bytes)
{
	const struct pg_aead_key *key;
	uint8_t *out;

	frame->payload_bytes = bytes + PG_TAG_BYTES + (engine->guard ? PG_GUARD_BYTES : 0);
	key = pg_key_cache_get(engine->env->keys, engine->handle, &engine->keys, engine->aead,
			       engine->out, frame->stream, frame->pack);
	out = key ? pg_engine_frame(engine,
				    pg_frame_header_bytes(frame->flags) + frame->payload_bytes)
		  : NULL;
	if (!out)
		return -EAGAIN;
	pg_frame_write_header(out, frame, timestamp_ms);
	if (bytes)
		memcpy(out + frame->header_bytes, data, bytes);
	if (seal(engine, out, frame, key, bytes))
		return -EIO; /* the room is given back by its owner's next turn */
	pg_engine_emit(engine, out, frame);
	return 0;
}

static void note_sent(struct pg_engine *engine, struct pg_sent_packet *packet,
		      struct pg_sent_frame *frame, uint32_t bytes)
{
	struct pg_transmission *tx = &engine->tx;
	bool in_flight = frame->state == PG_FRAGMENT_SENT;
	uint64_t now = engine->env->now_ms;

	if (frame->sent)
		TAILQ_REMOVE(pg_recovery_list(engine, frame), frame, turn);
	frame->was_lost = frame->state == PG_FRAGMENT_LOST;
	if (!frame->sent++) {
		frame->first_ms = now;
		TAILQ_INSERT_TAIL(&tx->age, frame, age);
		packet->begun++;
		engine->env->counters.begun++;
	} else {
		packet->resent++;
		engine->env->counters.resent++;
	}
	frame->state = PG_FRAGMENT_SENT;
	TAILQ_INSERT_TAIL(pg_recovery_list(engine, frame), frame, turn);
	packet->state = packet->begun < packet->frames ? PG_PACKET_FRAGMENTING : PG_PACKET_SENT;
	frame->last_us = pg_engine_now_us(engine);
	tx->base_ms = now;
	frame->order = tx->next_order++;
	pg_congestion_sent(&tx->congestion, bytes, in_flight);
}

int pg_tx_frame(struct pg_engine *engine, struct pg_sent_packet *packet,
		struct pg_sent_frame *frame)
{
	struct pg_series *series = packet->series;
	uint32_t index = frame->index, bytes = pg_sent_packet_frame_bytes(packet, index);
	struct pg_frame header =
		pg_tx_header(engine, series, packet->id, packet->frames > 1 ? index + 1 : 0,
			     index + 1u == packet->frames);
	uint32_t next = series->window->next_send;
	uint64_t timestamp = frame->timestamp_ms;
	int err;

	/* the id is used up before the frame can reach anyone, whatever happens to this process */
	if (packet->id >= next)
		__atomic_store_n(&series->window->next_send, packet->id + 1, __ATOMIC_RELEASE);
	/* sent again it is the same to the byte: its time too is that of the first transmission */
	if (!timestamp)
		timestamp = pg_engine_timestamp(engine);
	err = pg_tx_seal(engine, &header, timestamp, packet->data + (size_t)index * packet->cut,
			 bytes);
	if (err == -EAGAIN) { /* nothing was sealed */
		__atomic_store_n(&series->window->next_send, next, __ATOMIC_RELEASE);
		return err;
	}
	frame->timestamp_ms = timestamp;
	if (err)
		return err;
	note_sent(engine, packet, frame, header.bytes);
	return 0;
}

/* The next frame that was never sent, of the series whose turn it is; or NULL. */
static struct pg_sent_frame *next_fresh(struct pg_engine *engine)
{
	struct pg_series *series, *next;
	struct pg_sent_packet *packet;

	for (series = TAILQ_FIRST(&engine->tx.sending); series; series = next) {
		next = TAILQ_NEXT(series, sending_turn);
		packet = series->sent ? pg_send_buffer_fresh(series->sent) : NULL;
		if (!packet) {
			TAILQ_REMOVE(&engine->tx.sending, series, sending_turn);
			series->sending = false;
		} else if (!pg_engine_reserved_id(engine, series, packet->id)) {
			return &packet->frame[packet->begun];
		}
	}
	return NULL;
}

/* Series take turns, a frame each. */
static void end_turn(struct pg_engine *engine, struct pg_series *series)
{
	if (!series->sending)
		return;
	TAILQ_REMOVE(&engine->tx.sending, series, sending_turn);
	TAILQ_INSERT_TAIL(&engine->tx.sending, series, sending_turn);
}

/* Sends one frame; false when nothing may leave, and when that changes is in try_us. */
static bool pump_one(struct pg_engine *engine)
{
	struct pg_transmission *tx = &engine->tx;
	struct pg_sent_frame *frame = pg_recovery_next(engine);
	struct pg_sent_packet *packet;
	uint64_t now = pg_engine_now_us(engine), at;

	if (!frame)
		frame = next_fresh(engine);
	tx->try_us = UINT64_MAX;
	if (!frame || engine->ended)
		return false;
	packet = pg_sent_packet_of(frame);
	if (!pg_congestion_allows(&tx->congestion, pg_tx_frame_bytes(engine, packet, frame->index)))
		return false;
	at = pg_congestion_pace(&tx->congestion, pg_engine_trip_us(engine), now);
	if (at > now) {
		tx->try_us = at;
		return false;
	}
	if (pg_tx_frame(engine, packet, frame)) {
		tx->try_us = now + 1000 * (engine->roaming ? ROAMING_RETRY_MS : NO_ROOM_RETRY_MS);
		return false;
	}
	end_turn(engine, packet->series);
	return true;
}

void pg_tx_pump(struct pg_engine *engine)
{
	uint64_t recovery, try;

	while (pump_one(engine))
		;
	engine->deadline_ms = engine->quiet_ms;
	if (engine->ended) {
		engine->deadline_ms = UINT64_MAX;
		return;
	}
	try = pg_engine_ms_from(engine->tx.try_us);
	if (try < engine->deadline_ms)
		engine->deadline_ms = try;
	recovery = pg_recovery_deadline(engine);
	if (recovery < engine->deadline_ms)
		engine->deadline_ms = recovery;
}
