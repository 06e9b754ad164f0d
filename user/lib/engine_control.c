// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

/* --- roaming -----------------------------------------------------------------------------------
 */

static void pin(struct pg_engine *engine, const uint64_t address[2], uint16_t port_be)
{
	engine->line->peer[0] = address[0];
	engine->line->peer[1] = address[1];
	engine->line->peer_port_be = port_be;
	if (engine->env->ops->peer_moved)
		engine->env->ops->peer_moved(engine);
}

void pg_engine_roam(struct pg_engine *engine, const struct pg_engine_source *source,
		    uint32_t frame_bytes)
{
	struct pg_roaming *roaming = engine->roaming;
	const struct pg_engine_options *options = &engine->env->options;

	if (!roaming) {
		roaming = calloc(1, sizeof(*roaming));
		if (!roaming)
			return;
		/* the last proven address is where the session goes back to */
		roaming->old_peer[0] = engine->line->peer[0];
		roaming->old_peer[1] = engine->line->peer[1];
		roaming->old_port_be = engine->line->peer_port_be;
		engine->roaming = roaming;
	}
	roaming->bytes_in = frame_bytes;
	roaming->bytes_out = 0;
	roaming->first_pack = engine->series.window->next_send;
	roaming->deadline_ms = engine->env->now_ms + options->roaming_proof_ms;
	engine->env->ops->random(roaming->ping, sizeof(roaming->ping));
	pg_engine_arm(engine, roaming->deadline_ms);
	pin(engine, source->address, source->port_be);
	pg_engine_send_control(engine, PG_OP_PING, 0, 0, roaming->ping, sizeof(roaming->ping));
}

void pg_engine_roam_proven(struct pg_engine *engine)
{
	free(engine->roaming);
	engine->roaming = NULL;
	engine->env->counters.roamed++;
	if (engine->env->ops->peer_proven)
		engine->env->ops->peer_proven(engine);
}

void pg_engine_roam_timer(struct pg_engine *engine)
{
	struct pg_roaming *roaming = engine->roaming;

	if (!roaming)
		return;
	if (roaming->deadline_ms > engine->env->now_ms) {
		pg_engine_arm(engine, roaming->deadline_ms);
		return;
	}
	engine->roaming = NULL;
	pin(engine, roaming->old_peer, roaming->old_port_be);
	free(roaming);
}

/* --- opcodes -----------------------------------------------------------------------------------
 */

static enum pg_drop take_ping(struct pg_engine *engine, const uint8_t *payload, uint32_t bytes)
{
	if (!pg_engine_take(engine, &engine->pongs, engine->env->options.pongs_per_second))
		return PG_DROP_RATE_CONTROL;
	pg_engine_send_control(engine, PG_OP_PONG, 0, 0, payload, bytes);
	return PG_DROP_NONE;
}

static enum pg_drop take_pong(struct pg_engine *engine, const uint8_t *payload, uint32_t bytes)
{
	struct pg_roaming *roaming = engine->roaming;

	if (!roaming || bytes != sizeof(roaming->ping) || memcmp(payload, roaming->ping, bytes))
		return PG_DROP_UNEXPECTED;
	pg_engine_roam_proven(engine);
	return PG_DROP_NONE;
}

/* The peer's receive buffer fills up: once for each ack that says so. */
static void take_slow(struct pg_engine *engine, uint64_t sent_ms)
{
	if (sent_ms <= engine->tx.slow_ms)
		return;
	engine->tx.slow_ms = sent_ms;
	pg_congestion_slow(&engine->tx.congestion, engine->tx.next_order);
}

/* The fragments that an ack names, or every one. -EINVAL where that cannot be. */
static int read_ack(const struct pg_frame *frame, const struct pg_sent_packet *packet,
		    const uint8_t *payload, uint32_t bytes, struct pg_fragment_set *ret_set)
{
	if (!(frame->flags & PG_FLAG_FRAG)) {
		memset(ret_set, 0xff, sizeof(*ret_set));
		return packet->begun == packet->frames ? 0 : -EINVAL;
	}
	if (packet->frames == 1)
		return -EINVAL;
	return pg_fragment_ack_read(frame->fragment, frame->flags & PG_FLAG_FIN, payload, bytes,
				    packet->frames, packet->begun, ret_set);
}

static enum pg_drop apply_ack(struct pg_engine *engine, const struct pg_frame *frame,
			      struct pg_sent_packet *packet, const uint8_t *payload, uint32_t bytes)
{
	uint32_t before = packet->acked;
	struct pg_fragment_set set;

	if (read_ack(frame, packet, payload, bytes, &set))
		return PG_DROP_ACK_UNKNOWN;
	for (uint32_t i = 0; i < packet->begun; i++)
		if (pg_fragment_set_has(&set, i + 1))
			pg_recovery_take(engine, packet, i);
	if (packet->acked != before)
		pg_recovery_acked(engine, packet);
	return PG_DROP_NONE;
}

static enum pg_drop take_ack(struct pg_engine *engine, const struct pg_frame *frame,
			     const uint8_t *payload, uint32_t bytes, uint64_t sent_ms)
{
	struct pg_series *series = pg_engine_series(engine, frame->stream);
	struct pg_sent_packet *packet;
	enum pg_drop drop;

	if (!series)
		return PG_DROP_NO_STREAM;
	if (frame->stream)
		pg_stream_confirm(engine, pg_engine_stream(engine, frame->stream));
	if (series->policy != PG_POLICY_RELIABLE || frame->pack >= series->window->next_send)
		return PG_DROP_ACK_UNKNOWN;
	packet = series->sent ? pg_send_buffer_find(series->sent, frame->pack) : NULL;
	drop = packet ? apply_ack(engine, frame, packet, payload, bytes) : PG_DROP_NONE;
	if (drop)
		return drop;
	if (frame->flags & PG_FLAG_SLOW)
		take_slow(engine, sent_ms);
	if (packet && engine->roaming && !frame->stream &&
	    frame->pack >= engine->roaming->first_pack)
		pg_engine_roam_proven(engine);
	return PG_DROP_NONE;
}

static enum pg_drop dispatch(struct pg_engine *engine, const struct pg_frame *frame,
			     const uint8_t *payload, uint32_t bytes, uint64_t sent_ms)
{
	switch (frame->opcode) {
	case PG_OP_ACK:
		return take_ack(engine, frame, payload, bytes, sent_ms);
	case PG_OP_PING:
		return take_ping(engine, payload, bytes);
	case PG_OP_PONG:
		return take_pong(engine, payload, bytes);
	case PG_OP_OPENSTREAM:
		return pg_engine_openstream(engine, frame->stream, bytes ? payload[0] : 0);
	case PG_OP_STREAMOPEN:
		return pg_engine_streamopen(engine, frame->stream);
	case PG_OP_CLOSESTREAM:
		return pg_engine_closestream(engine, frame->stream);
	case PG_OP_GOAWAY:
		pg_engine_end(engine,
			      payload[0] > PG_GOAWAY_EXPIRED ? PG_GOAWAY_ERROR : payload[0]);
		return PG_DROP_NONE;
	case PG_OP_HANDSHAKE:
		/* a late copy of the final handshake: the session is READY, nothing is due */
		return !engine->client && bytes == 1 && !payload[0] ? PG_DROP_NONE
								    : PG_DROP_UNEXPECTED;
	default:
		return PG_DROP_UNEXPECTED;
	}
}

enum pg_drop pg_engine_control(struct pg_engine *engine, const struct pg_frame *frame,
			       const uint8_t *frame_bytes, const struct pg_engine_source *source)
{
	uint32_t bytes = frame->payload_bytes - (frame->has_guard ? PG_GUARD_BYTES : 0);
	uint64_t sent_ms = pg_frame_timestamp_ms(frame_bytes);
	struct pg_window *window = engine->series.window;

	if (engine->ended)
		return PG_DROP_SESSION_STATE;
	if (!source->pinned)
		return PG_DROP_PEER_MISMATCH;
	if (engine->roaming)
		engine->roaming->bytes_in += frame->bytes;
	/* unguarded control frames are anyone's: they keep nothing alive */
	if (engine->guard && sent_ms > window->control_time_ms) {
		window->control_time_ms = sent_ms;
		pg_engine_alive(engine);
	}
	return dispatch(engine, frame, frame_bytes + frame->header_bytes, bytes, sent_ms);
}
