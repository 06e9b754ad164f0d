/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SESSION_TABLE_H
#define PG_SESSION_TABLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent.h"
#include "engine.h"
#include "gate.h"
#include "packet.h"
#include "timer_wheel.h"
#include "view.h"

/*
 * The agent's side of a session. Everything in it belongs to the worker that owns the slot; other
 * threads read the owner alone and post to it.
 */
struct pg_entry {
	struct pg_engine engine;
	struct pg_timer timer;
	struct pg_route route;
	struct pg_entry *touched_next; /* in the worker's list of this batch */
	struct pg_entry *stalled_next;
	uint64_t created_ms;	  /* Unix time */
	uint64_t expires_ms;	  /* Unix time, 0 = never */
	uint64_t linger_until_ms; /* monotonic; of a closed session, 0 = living */
	uint64_t frames_in, bytes_in, frames_out, bytes_out, rejected, gaps;
	uint32_t announced[PG_APP_PLACES]; /* low half of the ids of the application connections
					      that heard of this session */
	uint64_t idle_ms;		   /* silence that ends the session, 0 = none does */
	uint32_t row_flags;		   /* of its row in the store */
	uint32_t place;			   /* in the handshake server, while half open */
	uint32_t id;			   /* client id << 16 | server id */
	uint32_t slot;
	uint16_t endpoint; /* index */
	uint8_t close_code;
	bool closed;	/* the engine ended; the worker cleans up after the call */
	bool half_open; /* OPEN: its client has not confirmed the handshake */
	bool seen;	/* an authenticated frame has come */
	bool touched;
	bool stalled;	/* in the worker's list of these */
	bool unremoved; /* closed, and its row waits for room in the store's queue */
	bool forwarded; /* an authenticated frame came through another worker */
	uint8_t forwarder;
	char user[]; /* whom the token of its handshake named, "" = nobody */
};

/* Zeroed, but for the user's name; NULL without memory. free() it. */
struct pg_entry *pg_entry_new(const char *user);

/*
 * A session's handle: what the store gave, and the slot, so that a record of an application finds
 * its session without a look-up. Never used again for another session.
 */
#define PG_HANDLE(stored, slot)	 ((uint64_t)(stored) << 20 | (slot))
#define PG_HANDLE_STORED(handle) ((handle) >> 20)
#define PG_HANDLE_SLOT(handle)	 ((uint32_t)((handle)&0xfffff))

#define PG_FIRST_BLOCK 4096 /* packIds reserved with a new session */

#define PG_OWNER_NONE  0xff
#define PG_WORKERS_MAX 128

/* The same two in the flags of a stored row, of a session that was not provisioned. */
#define PG_ROW_FLAGS(max_payload, streams) ((uint32_t)(streams) << 16 | (max_payload))
#define PG_ROW_MAX_PAYLOAD(flags)	   ((uint16_t)(flags))
#define PG_ROW_STREAMS(flags)		   ((uint16_t)((flags) >> 16))

struct pg_session_table {
	struct pg_maps *maps;
	uint32_t slots;
	_Atomic uint8_t *owners;		 /* by slot: index of a worker, or PG_OWNER_NONE */
	_Atomic(struct pg_entry *) *entries;	 /* by slot */
	_Atomic uint64_t sessions, streams_used; /* living */
	_Atomic uint64_t cookie_wanted_ms; /* monotonic; a worker last saw a reason for cookies */

	/* at start alone: pinned streams of a session slot, each index + 1 */
	uint32_t *adopt_first, *adopt_next;

	/* free stream slots; taken and given by any worker */
	pthread_mutex_t lock;
	uint32_t *free_streams;
	uint32_t free_stream_count;
};

int pg_session_table_new(struct pg_maps *maps, struct pg_session_table **ret_table);
void pg_session_table_free(struct pg_session_table *table);

static inline uint32_t pg_table_slot(const struct pg_session_table *table, uint32_t session)
{
	return PG_SESSION_SLOT(session, table->slots - 1);
}

/* A stream slot, zeroed, or -ENOSPC. */
int pg_table_take_stream(struct pg_session_table *table, uint32_t *ret_slot);
/* Takes out a slot that pinned maps already use. */
void pg_table_claim_streams(struct pg_session_table *table);
void pg_table_give_stream(struct pg_session_table *table, uint32_t slot);

/* Everything a worker needs to take a session on. Holds keys: wipe it. */
struct pg_session_add {
	struct pg_entry *entry; /* id, slot, endpoint, times; the worker takes it over */
	struct pg_keys keys;
	struct pg_peer peer;
	uint64_t handle;
	uint32_t send_bound;
	uint64_t sent_time_ms;	       /* timestamp of the answer to its shakehand, 0 = none */
	uint16_t max_payload, streams; /* what the client said in a handshake, 0 = nothing */
	uint8_t aead, policy;
	bool guard, roams;
	bool half_open; /* OPEN, not READY */
	bool claimed;	/* the slot is this worker's already, and empty */
	bool adopt;	/* line, window and streams are in the maps already */
	bool saved;	/* window and opened below are what a clean stop left */
	uint32_t highest;
	struct pg_window window;
	struct pg_opened opened;
};

/*
 * Writes a session's line so that the gate sees it whole: everything else first, its id last. The
 * slot is free; its window and opened ids are zeroed, or set to what was saved, before.
 */
void pg_table_publish(struct pg_session_table *table, uint32_t slot,
		      const struct pg_session_add *add);
/* Takes a session away from the gate and zeroes its slot. */
void pg_table_retract(struct pg_session_table *table, uint32_t slot);

/* struct pg_peer to the words of a line and back. */
void pg_peer_to_line(const struct pg_peer *peer, struct pg_session *line);
void pg_peer_from_line(const struct pg_session *line, struct pg_peer *ret_peer);

#endif
