/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ENGINE_H
#define PG_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "aead.h"
#include "frame.h"
#include "key_cache.h"
#include "keys.h"
#include "packgate/app.h"
#include "packgate/session.h"
#include "receive_buffer.h"
#include "send_buffer.h"
#include "stream.h"

/*
 * The protocol of one session (PROTOCOL sections 1-5) without sockets, clocks, threads, logs or
 * globals: frames and the time go in, frames, events and the next timer come out through the
 * operations of the environment. Receiving is three calls over a batch, so that the AEAD can work
 * on many frames at once:
 *
 *	pg_engine_classify	may this data frame be opened? fills an AEAD job
 *	pg_aead_open		in place, over all jobs of the batch
 *	pg_engine_data		commits, acks, delivers; or pg_engine_control for other opcodes
 *	pg_engine_publish	once per engine touched: what the gate reads moves
 *
 * An engine belongs to one thread at a time. The memory that must outlive the process (line,
 * window, opened; the same for streams) is passed in, mapped or private.
 */

struct pg_engine;
struct pg_stream;

enum pg_reserve {
	PG_ENGINE_RESERVE_SEND,	  /* packIds of the session's own series, below the bound */
	PG_ENGINE_RESERVE_STREAM, /* stream ids that may be opened, up to the bound */
};

struct pg_engine_event {
	enum pg_app_kind kind;
	uint32_t stream;      /* 0 = the session's own series */
	uint32_t message;     /* packId; for SENT and FAILED the number given to pg_engine_send */
	const uint8_t *bytes; /* valid during the call */
	uint32_t length;
};

struct pg_stream_memory {
	struct pg_stream_line *line;
	struct pg_window *window;
	uint32_t slot;
};

/* What the engine needs of its surroundings; called only from within engine calls. */
struct pg_engine_ops {
	/*
	 * Whether a packet of so many bytes that came on this stream can be handed on now:
	 * PG_DROP_NONE, NO_APPLICATION, APP_FULL or SEND_BLOCKED. Asked before anything is
	 * committed.
	 */
	enum pg_drop (*ready)(struct pg_engine *engine, uint32_t stream, uint32_t bytes);
	void (*event)(struct pg_engine *engine, const struct pg_engine_event *event);
	/* PG_FRAME_MAX writable bytes for one outgoing frame, or NULL: then it is not sent. */
	uint8_t *(*frame_alloc)(struct pg_engine *engine);
	/* Sends the frame that frame_alloc gave, to line->peer. */
	void (*frame_send)(struct pg_engine *engine, uint8_t *frame, uint32_t bytes);
	/* Room for a stream, zeroed but for its ids; -ENOSPC at the bound. */
	int (*stream_attach)(struct pg_engine *engine, uint32_t stream,
			     struct pg_stream_memory *ret_memory);
	/* Makes the stream known to the gate, after its line is complete. */
	int (*stream_publish)(struct pg_engine *engine, const struct pg_stream *stream);
	void (*stream_detach)(struct pg_engine *engine, const struct pg_stream *stream);
	/* Asks for a reservation; the answer comes as pg_engine_reserved. NULL = none needed. */
	void (*reserve)(struct pg_engine *engine, enum pg_reserve kind, uint32_t bound);
	/* The pinned peer moved (or was restored); line->peer has it. */
	void (*peer_moved)(struct pg_engine *engine);
	/* The session ended with this goaway code, once; the engine takes and sends nothing more.
	 */
	void (*closed)(struct pg_engine *engine, uint8_t code);
	void (*random)(uint8_t *bytes, uint32_t count);
};

/* Limits and timers of PROTOCOL section 7; 0 = the default there. */
struct pg_engine_options {
	uint32_t receive_timeout_ms;   /* 12000 */
	uint32_t send_timeout_ms;      /* 10000 */
	uint32_t receive_buffer_bytes; /* 4 MiB a session, streams included */
	uint32_t streams_at_once;      /* 1024 */
	uint32_t retry_ms;	       /* first try of a resent control frame, 500 */
	uint32_t acks_per_second;      /* repeated acks a session, 1000 */
	uint32_t pongs_per_second;     /* 10 */
	uint32_t roaming_proof_ms;     /* 3000 */
	uint32_t max_payload;	       /* 1172 */
};

struct pg_engine_counters {
	uint64_t opened, acks, duplicates_acked, gaps, succeeded, failed, roamed, sent;
	uint64_t rejected[PG_DROP_SLOTS];
};

/* One per thread; the caller sets the clocks before every call into an engine. */
struct pg_engine_env {
	const struct pg_engine_ops *ops;
	struct pg_engine_options options; /* complete: see pg_engine_options_default */
	struct pg_aead *aead;
	struct pg_key_cache *keys;
	uint64_t now_ms;  /* monotonic */
	uint64_t unix_ms; /* Unix time */
	struct pg_engine_counters counters;
	void *owner;
};

void pg_engine_options_default(struct pg_engine_options *options);

/* A series of packIds: the session's own, or a stream's. */
struct pg_series {
	uint32_t *highest_shared; /* what the gate reads */
	struct pg_window *window;
	uint32_t highest;      /* ahead of *highest_shared within a batch */
	uint32_t next_deliver; /* ahead of window->next_deliver within a batch */
	uint32_t stream;
	uint32_t lost_from; /* adopted and lost ids from here on are not reported yet; 0 = none */
	uint8_t policy;
	bool dirty;   /* in the engine's list of series to publish */
	bool stalled; /* packets wait only for room at the application */
	struct pg_series *dirty_next;
	struct pg_receive_buffer *received;
	struct pg_send_buffer *sent;
};

struct pg_stream {
	struct pg_series series;
	struct pg_stream_line *line;
	uint32_t slot;
	uint8_t tries;
	enum pg_closing closing;
	bool announced;		      /* the application heard of it */
	uint64_t retry_ms;	      /* monotonic; the closing timer, UINT64_MAX = none */
	struct pg_stream *next, **at; /* all streams of the session */
	struct pg_stream *bucket_next;
};

struct pg_token_bucket {
	uint64_t stamp_ms;
	uint32_t tokens; /* thousandths */
};

/* A new address that has not proven itself yet (PROTOCOL section 5, "Peer address"). */
struct pg_roaming {
	uint64_t old_peer[2];
	uint64_t deadline_ms;
	uint32_t bytes_in, bytes_out;
	uint32_t first_pack; /* session packIds from here on were first sent there */
	uint16_t old_port_be;
	uint8_t ping[8];
};

struct pg_engine {
	struct pg_engine_env *env; /* of the thread that owns the engine now */
	void *owner;		   /* the caller's */
	struct pg_session *line;
	struct pg_opened *opened;
	struct pg_series series;
	struct pg_keys keys;
	uint64_t handle;	 /* key of the AEAD key cache; unique among living sessions */
	uint64_t deadline_ms;	 /* monotonic: call pg_engine_timer by then; UINT64_MAX = none */
	uint64_t last_active_ms; /* Unix time, 0 = never */
	uint64_t failed_openings;
	struct pg_stream *streams;
	struct pg_stream **buckets; /* the same streams by id; NULL until the first one */
	uint64_t bucket_seed;	    /* the peer chooses stream ids, but not who shares a bucket */
	struct pg_series *dirty;    /* to publish */
	uint64_t waiting_bytes;	    /* memory that packets out of order hold, streams included */
	uint64_t opening_ms;	    /* monotonic; when the stream reservation was asked for */
	struct pg_roaming *roaming; /* NULL unless an address is unproven */
	struct pg_token_bucket acks, pongs;
	uint32_t stream_count;
	uint32_t bucket_bits; /* log2 of the buckets */
	uint32_t opening;     /* a stream id that waits for its reservation, 0 = none */
	uint32_t reserving;   /* the send bound that was asked for */
	uint8_t opening_policy;
	uint8_t aead;	 /* enum pg_aead_algorithm */
	uint8_t in, out; /* enum pg_direction of what is received and sent */
	bool guard, roams;
	bool ended;   /* ops->closed was called: nothing is taken or sent any more */
	bool touched; /* for the caller: in its list of engines to publish */
};

/*
 * Takes a session's memory as it is: fresh (zeroed but for what session add wrote) or adopted. An
 * adopted window reports every id from next_deliver on whose bit is set as a gap, as soon as the
 * application is ready: acked, then lost with the old process. line, window, opened and keys are
 * complete.
 */
struct pg_engine_start {
	struct pg_session *line;
	struct pg_window *window;
	struct pg_opened *opened;
	const struct pg_keys *keys; /* copied */
	uint64_t handle;
	uint8_t aead;
	bool guard, roams;
	void *owner;
};

void pg_engine_init(struct pg_engine *engine, struct pg_engine_env *env,
		    const struct pg_engine_start *start);

/* Puts an adopted stream back; its line and window are as the old process left them. */
int pg_engine_adopt_stream(struct pg_engine *engine, uint32_t stream,
			   const struct pg_stream_memory *memory);
/* After the streams: finds what the old process acked and lost, to be reported. */
void pg_engine_adopted(struct pg_engine *engine);

/* Forgets buffers and streams, wipes keys; sends nothing, leaves the mapped memory alone. */
void pg_engine_done(struct pg_engine *engine);

/*
 * Whether a valid data frame may be opened, and how. from_peer: it came from line->peer.
 * PG_DROP_NONE: *job is filled (text and tag point into frame_bytes) but for its result. A
 * duplicate that is to be acked again is opened too. Otherwise the reason, uncounted.
 */
enum pg_drop pg_engine_classify(struct pg_engine *engine, const struct pg_frame *frame,
				uint8_t *frame_bytes, bool from_peer, struct pg_aead_job *job);

/* Where a frame came from, for roaming and for the caller's bookkeeping. */
struct pg_engine_source {
	uint64_t address[2]; /* network order, IPv4 mapped */
	uint16_t port_be;
	bool pinned; /* equals line->peer */
};

/*
 * After the AEAD, in the order of arrival: commits, acks, delivers. result is the job's.
 * Returns PG_DROP_NONE, or the reason, uncounted; a duplicate that was acked again is
 * PG_DROP_REPLAY_SEEN with *ret_acked set.
 */
enum pg_drop pg_engine_data(struct pg_engine *engine, const struct pg_frame *frame,
			    const uint8_t *frame_bytes, const struct pg_engine_source *source,
			    int result, bool *ret_acked);

/* Any other opcode, from line->peer, its guard checked where one is due. */
enum pg_drop pg_engine_control(struct pg_engine *engine, const struct pg_frame *frame,
			       const uint8_t *frame_bytes, const struct pg_engine_source *source);

/* Makes what the batch committed visible to the gate. */
void pg_engine_publish(struct pg_engine *engine);

/*
 * Seals and sends one packet on the session (stream 0) or a stream. message comes back in SENT or
 * FAILED unless 0 (reliable series only). Errors: -EMSGSIZE longer than fits a frame, -ENOENT no
 * such stream, -EPIPE this end closed it, -ENOBUFS 1024 packets are outstanding, -EAGAIN waits for
 * a reservation or for room to transmit, -ESHUTDOWN the series is used up or the session ended,
 * -EIO the crypto library failed: the id is spent.
 */
int pg_engine_send(struct pg_engine *engine, uint32_t stream, const uint8_t *data, uint32_t bytes,
		   uint32_t message);

/* Whether pg_engine_send would take so many bytes now; 0 or its error. */
int pg_engine_sendable(struct pg_engine *engine, uint32_t stream, uint32_t bytes);

/* The largest packet that pg_engine_send takes, bytes. */
uint32_t pg_engine_send_max(const struct pg_engine *engine);

void pg_engine_reserved(struct pg_engine *engine, enum pg_reserve kind, uint32_t bound);

/* Closes a stream from this end. -ENOENT, -EALREADY. */
int pg_engine_close_stream(struct pg_engine *engine, uint32_t stream);

/* Sends goaway and ends the session: ops->closed is called. */
void pg_engine_close(struct pg_engine *engine, uint8_t code);

/* Does what is due; engine->deadline_ms then says when to call again. */
void pg_engine_timer(struct pg_engine *engine);

/* The application has room again: delivers what waited for it. */
void pg_engine_resume(struct pg_engine *engine);

#endif
