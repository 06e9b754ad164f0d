/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ENGINE_INTERNAL_H
#define PG_ENGINE_INTERNAL_H

#include "engine.h"

/* Shared by the files of the engine; nobody else includes it. */

/* Has pg_engine_timer look at everything by then. */
static inline void pg_engine_arm(struct pg_engine *engine, uint64_t deadline_ms)
{
	if (deadline_ms < engine->quiet_ms)
		engine->quiet_ms = deadline_ms;
	if (deadline_ms < engine->deadline_ms)
		engine->deadline_ms = deadline_ms;
}

/* From then to now; 0 where the clock of an earlier owner was ahead. */
static inline uint64_t pg_engine_since(const struct pg_engine *engine, uint64_t then_ms)
{
	return engine->env->now_ms > then_ms ? engine->env->now_ms - then_ms : 0;
}

/* The clock of round trips and of the pace. */
static inline uint64_t pg_engine_now_us(const struct pg_engine *engine)
{
	return engine->env->now_ms * 1000 + engine->env->past_us;
}

static inline uint64_t pg_engine_since_us(const struct pg_engine *engine, uint64_t then_us)
{
	uint64_t now = pg_engine_now_us(engine);

	return now > then_us ? now - then_us : 0;
}

/* The first millisecond that is not before then; UINT64_MAX is never. */
static inline uint64_t pg_engine_ms_from(uint64_t then_us)
{
	return then_us == UINT64_MAX ? UINT64_MAX : (then_us + 999) / 1000;
}

/* The stream with this id, or NULL. */
struct pg_stream *pg_engine_stream(struct pg_engine *engine, uint32_t stream);

/* The series a frame belongs to, or NULL where its stream does not exist. */
struct pg_series *pg_engine_series(struct pg_engine *engine, uint32_t stream);

/* Makes what was committed visible to the gate, and nothing else. */
void pg_engine_publish_windows(struct pg_engine *engine);

/* The peer proved to be there. */
void pg_engine_alive(struct pg_engine *engine);

/* Ends the session: tells the caller, once. */
void pg_engine_end(struct pg_engine *engine, uint8_t code);

/* Takes one from a bucket that holds a second's worth. */
bool pg_engine_take(struct pg_engine *engine, struct pg_token_bucket *bucket, uint32_t rate);

/* A timestamp for a frame that leaves now; never lower than the last one. */
uint64_t pg_engine_timestamp(struct pg_engine *engine);

/* A frame's room, or NULL: none left, or the new address has not proven itself yet. */
uint8_t *pg_engine_frame(struct pg_engine *engine, uint32_t bytes);
/* Adds the guard where it is due, and sends. */
void pg_engine_emit(struct pg_engine *engine, uint8_t *out, struct pg_frame *frame);

/* A control frame in full: opcode, flags and ids of *frame are set; bytes of payload follow. */
void pg_engine_send_frame(struct pg_engine *engine, struct pg_frame *frame, const uint8_t *payload,
			  uint32_t bytes);

/* Sends a control frame of the session (stream 0, pack 0) or of a stream. */
void pg_engine_send_control(struct pg_engine *engine, enum pg_opcode opcode, uint32_t stream,
			    uint32_t pack, const uint8_t *payload, uint32_t bytes);

void pg_engine_event(struct pg_engine *engine, enum pg_app_kind kind, uint32_t stream,
		     uint32_t message, const uint8_t *bytes, uint32_t length);

/* The flag of every ack sent while the receive buffer is more than half full. */
uint8_t pg_engine_slow_flag(const struct pg_engine *engine);

/* The smoothed round trip. */
uint32_t pg_engine_trip_us(const struct pg_engine *engine);
/* The retransmission timeout of what was sent tries + 1 times. */
uint32_t pg_engine_retry_ms(const struct pg_engine *engine, uint32_t tries);

/* Refuses or asks where a packId needs a reservation: 0, -EAGAIN. */
int pg_engine_reserved_id(struct pg_engine *engine, struct pg_series *series, uint32_t pack);

/* --- transmission ------------------------------------------------------------------------------
 */

void pg_tx_init(struct pg_engine *engine);
/* Puts the series among those that have something to send. */
void pg_tx_wake(struct pg_engine *engine, struct pg_series *series);
/* Sends what may leave now; sets the time of the next look. */
void pg_tx_pump(struct pg_engine *engine);
/* Seals and sends a frame of a packet, for the first time or again. -EAGAIN, -EIO. */
int pg_tx_frame(struct pg_engine *engine, struct pg_sent_packet *packet,
		struct pg_sent_frame *frame);
/* Seals and sends one frame; header fields but the lengths are set in *frame. -EAGAIN, -EIO. */
int pg_tx_seal(struct pg_engine *engine, struct pg_frame *frame, uint64_t timestamp_ms,
	       const uint8_t *data, uint32_t bytes);
uint32_t pg_tx_frame_bytes(const struct pg_engine *engine, const struct pg_sent_packet *packet,
			   uint32_t index);
struct pg_frame pg_tx_header(const struct pg_engine *engine, const struct pg_series *series,
			     uint32_t pack, uint32_t fragment, bool last);

/* --- recovery ----------------------------------------------------------------------------------
 */

/* Acks of frames of one packet, then pg_recovery_acked. */
void pg_recovery_take(struct pg_engine *engine, struct pg_sent_packet *packet, uint32_t index);
/* After the frames of one ack: settles the packet, finds losses. May free the packet. */
void pg_recovery_acked(struct pg_engine *engine, struct pg_sent_packet *packet);
/* A packet is given up: its frames leave the lists, the application is told, it is freed. */
void pg_recovery_fail(struct pg_engine *engine, struct pg_sent_packet *packet);
/* Everything a series has not settled. */
void pg_recovery_fail_all(struct pg_engine *engine, struct pg_series *series);
/* Takes everything of a series off the lists and frees it; tells nobody. */
void pg_recovery_forget(struct pg_engine *engine, struct pg_series *series);
/* The list that a frame SENT or LOST is in by its last transmission. */
static inline struct pg_frames *pg_recovery_list(struct pg_engine *engine,
						 const struct pg_sent_frame *frame)
{
	struct pg_transmission *tx = &engine->tx;

	if (frame->state == PG_FRAGMENT_LOST)
		return &tx->lost[frame->sent - 1];
	return frame->sent > engine->env->options.send_retries ? &tx->final : &tx->flight;
}

/* The lost frame that may go again now and was begun first, or NULL. */
struct pg_sent_frame *pg_recovery_next(const struct pg_engine *engine);
/* Does what is due: failures, losses, probes. Frames whose wait is over are the pump's. */
void pg_recovery_timer(struct pg_engine *engine);
/* When pg_recovery_timer has something to do. */
uint64_t pg_recovery_deadline(const struct pg_engine *engine);
/* Everything a stream (or, used up, the session) has sent is settled. */
void pg_engine_settled(struct pg_engine *engine, struct pg_series *series);

/* --- series ------------------------------------------------------------------------------------
 */

void pg_series_init(struct pg_series *series, uint32_t *highest, struct pg_window *window,
		    uint32_t stream, uint8_t policy);
void pg_series_done(struct pg_engine *engine, struct pg_series *series);
/*
 * Finds a packet its place before it is committed: handed on at once when its turn is now (then
 * only the application's readiness is asked), or copied to where it waits. PG_DROP_NONE, or why
 * the packet can be neither committed nor acked.
 */
enum pg_drop pg_series_keep(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
			    const uint8_t *data, uint32_t bytes);

/*
 * The same for a fragment: PG_DROP_NONE, *ret_whole whether the packet is complete now and waits to
 * be committed; PG_DROP_REPLAY_SEEN: the fragment is there already; or another reason.
 */
enum pg_drop pg_series_keep_part(struct pg_engine *engine, struct pg_series *series,
				 const struct pg_frame *frame, const uint8_t *data, uint32_t bytes,
				 bool *ret_whole);
/* A fragment raises only the highest id. */
void pg_series_raise(struct pg_engine *engine, struct pg_series *series, uint32_t pack);
/* Of a complete packet, committed: hands it on, or what is in order now. */
void pg_series_deliver_parts(struct pg_engine *engine, struct pg_series *series, uint32_t pack);
void pg_series_commit(struct pg_engine *engine, struct pg_series *series, uint32_t pack);
/* After keep and commit: hands on what is in order now. */
void pg_series_deliver(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
		       const uint8_t *data, uint32_t bytes);
/* Marks the packets of an adopted series that are acked and lost; draining reports them. */
void pg_series_adopt(struct pg_engine *engine, struct pg_series *series);
/*
 * For a stream that ends: hands on what came and says what did not; false while the application
 * has no room for all of it.
 */
bool pg_series_finish(struct pg_engine *engine, struct pg_series *series);
/* For a stream that ends: delivers or reports what came, fails what is not settled. */
void pg_series_flush(struct pg_engine *engine, struct pg_series *series);
/* Skips what is missing too long, arms the next deadline. */
void pg_series_timer(struct pg_engine *engine, struct pg_series *series);
void pg_series_drain(struct pg_engine *engine, struct pg_series *series);
/* The replay rule with what only the engine knows: a skipped id never comes back. */
enum pg_drop pg_series_check(const struct pg_series *series, uint32_t pack);

/* --- streams -----------------------------------------------------------------------------------
 */

enum pg_drop pg_engine_openstream(struct pg_engine *engine, uint32_t stream, uint8_t policy);
enum pg_drop pg_engine_streamopen(struct pg_engine *engine, uint32_t stream);
enum pg_drop pg_engine_closestream(struct pg_engine *engine, uint32_t stream);
/* An authenticated frame of an OPEN stream makes it READY. */
void pg_stream_confirm(struct pg_engine *engine, struct pg_stream *stream);
/* What was sent on it is settled: a close that waited for that goes on. */
void pg_stream_settled(struct pg_engine *engine, struct pg_stream *stream);
/* Whether the peer knows the stream, so that its packets may leave. */
static inline bool pg_stream_ready(const struct pg_stream *stream)
{
	return stream->opening == PG_OPENING_GIVEN || stream->opening == PG_OPENING_READY;
}

static inline struct pg_stream *pg_stream_of(struct pg_series *series)
{
	return (struct pg_stream *)((char *)series - __builtin_offsetof(struct pg_stream, series));
}

void pg_engine_streams_timer(struct pg_engine *engine);
void pg_engine_streams_detach(struct pg_engine *engine);
void pg_engine_streams_done(struct pg_engine *engine);

/* --- roaming -----------------------------------------------------------------------------------
 */

/* Moves the pin to where an authenticated frame came from, and asks for a proof. */
void pg_engine_roam(struct pg_engine *engine, const struct pg_engine_source *source,
		    uint32_t frame_bytes);
void pg_engine_roam_proven(struct pg_engine *engine);
void pg_engine_roam_timer(struct pg_engine *engine);

#endif
