/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ENGINE_INTERNAL_H
#define PG_ENGINE_INTERNAL_H

#include "engine.h"

/* Shared by the files of the engine; nobody else includes it. */

static inline void pg_engine_arm(struct pg_engine *engine, uint64_t deadline_ms)
{
	if (deadline_ms < engine->deadline_ms)
		engine->deadline_ms = deadline_ms;
}

/* The stream with this id, or NULL. */
struct pg_stream *pg_engine_stream(struct pg_engine *engine, uint32_t stream);

/* The series a frame belongs to, or NULL where its stream does not exist. */
struct pg_series *pg_engine_series(struct pg_engine *engine, uint32_t stream);

/* Ends the session: tells the caller, once. */
void pg_engine_end(struct pg_engine *engine, uint8_t code);

/* Takes one from a bucket that holds a second's worth. */
bool pg_engine_take(struct pg_engine *engine, struct pg_token_bucket *bucket, uint32_t rate);

/* A timestamp for a frame that leaves now; never lower than the last one. */
uint64_t pg_engine_timestamp(struct pg_engine *engine);

/* A frame's room, or NULL: none left, or the new address has not proven itself yet. */
uint8_t *pg_engine_frame(struct pg_engine *engine, uint32_t bytes);
void pg_engine_emit(struct pg_engine *engine, uint8_t *frame, uint32_t bytes);

/* Sends a control frame of the session (stream 0, pack 0) or of a stream. */
void pg_engine_send_control(struct pg_engine *engine, enum pg_opcode opcode, uint32_t stream,
			    uint32_t pack, const uint8_t *payload, uint32_t bytes);

void pg_engine_event(struct pg_engine *engine, enum pg_app_kind kind, uint32_t stream,
		     uint32_t message, const uint8_t *bytes, uint32_t length);

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
void pg_series_commit(struct pg_engine *engine, struct pg_series *series, uint32_t pack);
/* After keep and commit: hands on what is in order now. */
void pg_series_deliver(struct pg_engine *engine, struct pg_series *series, uint32_t pack,
		       const uint8_t *data, uint32_t bytes);
/* Marks the packets of an adopted series that are acked and lost; draining reports them. */
void pg_series_adopt(struct pg_engine *engine, struct pg_series *series);
/* For a stream that ends: delivers or reports what came, fails what is not acked. */
void pg_series_flush(struct pg_engine *engine, struct pg_series *series);
/* Skips what is missing too long, fails what is unacked too long, arms the next deadline. */
void pg_series_timer(struct pg_engine *engine, struct pg_series *series);
void pg_series_drain(struct pg_engine *engine, struct pg_series *series);
/* The replay rule with what only the engine knows: a skipped id never comes back. */
enum pg_drop pg_series_check(const struct pg_series *series, uint32_t pack);

/* --- streams -----------------------------------------------------------------------------------
 */

enum pg_drop pg_engine_openstream(struct pg_engine *engine, uint32_t stream, uint8_t policy);
enum pg_drop pg_engine_closestream(struct pg_engine *engine, uint32_t stream);
/* An authenticated frame of an OPEN stream makes it READY. */
void pg_stream_confirm(struct pg_engine *engine, struct pg_stream *stream);
void pg_engine_streams_timer(struct pg_engine *engine);
void pg_engine_streams_done(struct pg_engine *engine);

/* --- roaming -----------------------------------------------------------------------------------
 */

/* Moves the pin to where an authenticated frame came from, and asks for a proof. */
void pg_engine_roam(struct pg_engine *engine, const struct pg_engine_source *source,
		    uint32_t frame_bytes);
void pg_engine_roam_proven(struct pg_engine *engine);
void pg_engine_roam_timer(struct pg_engine *engine);

#endif
