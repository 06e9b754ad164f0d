/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ENGINE_H
#define PG_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "aead.h"
#include "congestion.h"
#include "frame.h"
#include "key_cache.h"
#include "keys.h"
#include "packgate/app.h"
#include "packgate/session.h"
#include "receive_buffer.h"
#include "rtt.h"
#include "send_buffer.h"
#include "stream.h"

/*
 * The protocol of one session (PROTOCOL sections 1-5) at either end, client or server, without
 * sockets, clocks, threads, logs or globals: frames and the time go in, frames, events and the next
 * timer come out through the operations of the environment. The handshake is another's: an engine
 * starts with the keys, ids and agreements of a session that is READY. Receiving is three calls
 *over a batch, so that the AEAD can work on many frames at once:
 *
 *	pg_engine_classify	may this data frame be opened? fills an AEAD job
 *	pg_aead_open		in place, over all jobs of the batch
 *	pg_engine_data		commits, acks, delivers; or pg_engine_control for other opcodes
 *	pg_engine_publish	once per engine touched: what the gate reads moves, what acks and
 *				limits let go leaves
 *
 * pg_engine_receive does all of it for one datagram. Sending is one call: pg_engine_send takes a
 * packet of up to 512 frames; the engine cuts, seals, paces and sends it again until it is acked
 * (SENT) or given up (FAILED). After every call engine->deadline_ms says when pg_engine_timer is
 * due. The environment's clocks are set before every call, and pg_key_cache_begin is called when no
 * job refers to a key.
 *
 * An engine belongs to one thread at a time and is not moved in memory. What must outlive the
 * process (line, window, opened; the same for streams) is passed in, mapped or private.
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

/*
 * What the engine needs of its surroundings; called only from within engine calls. Of the engine,
 * they may call pg_engine_send and pg_engine_sendable alone.
 */
struct pg_engine_ops {
	/*
	 * Whether a packet of so many bytes that came on this stream can be handed on now:
	 * PG_DROP_NONE, NO_APPLICATION, APP_FULL or SEND_BLOCKED. Asked before anything is
	 * committed. NULL = always.
	 */
	enum pg_drop (*ready)(struct pg_engine *engine, uint32_t stream, uint32_t bytes);
	void (*event)(struct pg_engine *engine, const struct pg_engine_event *event);
	/* PG_FRAME_MAX writable bytes for one outgoing frame, or NULL: then it is not sent. */
	uint8_t *(*frame_alloc)(struct pg_engine *engine);
	/* Sends the frame that frame_alloc gave, to line->peer. */
	void (*frame_send)(struct pg_engine *engine, uint8_t *frame, uint32_t bytes);
	/* Room for a stream, zeroed but for its ids; -ENOSPC at the bound. NULL: from the heap. */
	int (*stream_attach)(struct pg_engine *engine, uint32_t stream,
			     struct pg_stream_memory *ret_memory);
	/* Makes the stream known to the gate, after its line is complete. NULL: there is none. */
	int (*stream_publish)(struct pg_engine *engine, const struct pg_stream *stream);
	/* Gives back what stream_attach gave; NULL like it. */
	void (*stream_detach)(struct pg_engine *engine, const struct pg_stream *stream);
	/*
	 * Asks for a reservation; the answer comes as pg_engine_reserved, or
	 * pg_engine_reserve_failed. NULL = none needed.
	 */
	void (*reserve)(struct pg_engine *engine, enum pg_reserve kind, uint32_t bound);
	/* The pinned peer moved (or was restored); line->peer has it. NULL: nobody asks. */
	void (*peer_moved)(struct pg_engine *engine);
	/* It has proven itself: worth remembering beyond this process. NULL: nobody asks. */
	void (*peer_proven)(struct pg_engine *engine);
	/*
	 * The session ended with this goaway code, once; the engine takes and sends nothing more.
	 */
	void (*closed)(struct pg_engine *engine, uint8_t code);
	void (*random)(uint8_t *bytes, uint32_t count);
};

#define PG_SEND_RETRIES_MAX 8

/*
 * Limits and timers of PROTOCOL section 7: X(name, default, help). 0 = the default. A receive
 * timeout is above the send timeout of the peer; more retries than PG_SEND_RETRIES_MAX are that
 * many.
 */
#define PG_ENGINE_OPTIONS(X)                                                                   \
	X(receive_timeout_ms, 12000, "wait for a missing packet before it is a gap")           \
	X(unreliable_timeout_ms, 2000, "wait for the fragments of an unordered packet")        \
	X(receive_buffer_bytes, 4 << 20, "of a session, streams included; above half, SLOW")   \
	X(send_buffer_bytes, 4 << 20, "of a session, streams included; full, sending refuses") \
	X(send_timeout_ms, 10000, "from a frame's first transmission until it has failed")     \
	X(send_retries, PG_SEND_RETRIES_MAX, "transmissions of a frame after the first")       \
	X(rto_first_ms, 500, "retransmission timeout before a round trip is known")            \
	X(rto_min_ms, 100, "lowest retransmission timeout")                                    \
	X(rto_max_ms, 8000, "highest retransmission timeout, doubled ones included")           \
	X(streams_at_once, 1024, "of a session")                                               \
	X(stream_tries, 5, "openstream and closestream, after the timeout, doubled each time") \
	X(close_answer_ms, 30000, "R1 lasts so long, and so long is closestream answered")     \
	X(openings_queued, 64, "openstreams that wait for their ids to be reserved")           \
	X(acks_per_second, 1000, "repeated acks of a session")                                 \
	X(pongs_per_second, 10, "of a session")                                                \
	X(roaming_proof_ms, 3000, "a new address proves itself within")                        \
	X(ping_ms, 15000, "a client that sent nothing that keeps alive for so long, pings")    \
	X(idle_ms, 60000, "silence that ends a session that may expire")                       \
	X(max_payload, PG_PAYLOAD_DEFAULT, "bytes of a frame sent, tag and guard included")

struct pg_engine_options {
#define PG_X(name, ...) uint32_t name;
	PG_ENGINE_OPTIONS(PG_X)
#undef PG_X
};

struct pg_engine_counters {
	uint64_t opened, acks, duplicates_acked, gaps, succeeded, failed, roamed, sent;
	uint64_t begun;	   /* frames of reliable series sent for the first time */
	uint64_t resent;   /* and again */
	uint64_t lost;	   /* taken for lost by acks of later ones */
	uint64_t spurious; /* of these, acked after all */
	uint64_t timeouts; /* probes because no ack came */
	uint64_t rejected[PG_DROP_SLOTS];
};

/* One per thread; the caller sets the clocks before every call into an engine. */
struct pg_engine_env {
	const struct pg_engine_ops *ops;
	struct pg_engine_options options; /* complete: see pg_engine_options_default */
	struct pg_aead *aead;
	struct pg_key_cache *keys;
	uint64_t now_ms;  /* monotonic */
	uint32_t past_us; /* and so many microseconds, below 1000; 0 where the clock is coarse */
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
	uint32_t wanted_bytes; /* of a packet that the application had no room for; 0 = none */
	uint8_t policy;
	bool dirty;   /* in the engine's list of series to publish */
	bool stalled; /* packets wait only for room at the application */
	bool sending; /* in the engine's list of series with something to send */
	struct pg_series *dirty_next;
	TAILQ_ENTRY(pg_series) sending_turn;
	struct pg_receive_buffer *received;
	struct pg_send_buffer *sent;
};

TAILQ_HEAD(pg_series_list, pg_series);

struct pg_stream {
	struct pg_series series;
	struct pg_stream_line *line;
	uint32_t slot;
	uint8_t tries;
	enum pg_opening opening;
	enum pg_closing closing;
	bool announced;		      /* the application heard of it */
	bool close_wanted;	      /* this end closes once everything sent is settled */
	bool close_asked;	      /* the peer closed, and is answered then */
	uint64_t retry_ms;	      /* monotonic; its timer, UINT64_MAX = none */
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

/* Openstreams that wait for their ids to be reserved. */
struct pg_openings {
	uint32_t count;
	uint64_t asked_ms; /* monotonic; when the reservation was asked for */
	struct {
		uint32_t id;
		uint8_t policy;
	} waiting[];
};

/* What is on its way to the peer, and when more may go (engine_recovery.c, engine_transmit.c). */
struct pg_transmission {
	struct pg_congestion congestion;
	struct pg_rtt rtt;
	struct pg_frames flight; /* sent and not acked, by their last transmission */
	struct pg_frames final;	 /* the same, of frames that were sent again as often as they may */
	/* found lost; lost[n] were sent again n times, and are by their last transmission, too */
	struct pg_frames lost[1 + PG_SEND_RETRIES_MAX];
	struct pg_frames age; /* all of these, by their first transmission */
	struct pg_series_list sending;
	uint64_t next_order;
	uint64_t acked_order; /* of the latest transmission known to have arrived */
	uint64_t loss_us; /* monotonic; when the next frame counts as lost, UINT64_MAX = never */
	uint64_t try_us;  /* monotonic; when sending goes on, UINT64_MAX = with an ack */
	uint64_t bytes;	  /* that all send buffers hold */
	uint64_t base_ms; /* monotonic; the last transmission, ack or probe */
	uint64_t sample_order; /* of the ack at hand: the latest frame that was sent once */
	uint64_t sample_us;
	uint32_t backoff;     /* timeouts since the last ack */
	uint32_t reordering;  /* later frames that must be acked before one counts as lost */
	uint32_t retry_ratio; /* AvgRetryRatio: resends a frame, in thousandths, averaged */
	uint64_t slow_ms;     /* timestamp of the last SLOW that was honoured */
};

struct pg_engine {
	struct pg_engine_env *env; /* of the thread that owns the engine now */
	void *owner;		   /* the caller's */
	struct pg_session *line;
	struct pg_opened *opened;
	const __u64 *others_time_ms; /* of pg_engine_start */
	struct pg_series series;
	struct pg_keys keys;
	uint64_t handle;      /* key of the AEAD key cache; unique among living sessions */
	uint64_t deadline_ms; /* monotonic: call pg_engine_timer by then; UINT64_MAX = none */
	uint64_t quiet_ms;    /* monotonic: of all timers but those of the transmission */
	struct pg_transmission tx;
	uint64_t last_active_ms; /* Unix time, 0 = never */
	uint64_t failed_openings;
	struct pg_stream *streams;
	struct pg_stream **buckets; /* the same streams by id; NULL until the first one */
	uint64_t bucket_seed;	    /* the peer chooses stream ids, but not who shares a bucket */
	struct pg_series *dirty;    /* to publish */
	uint64_t waiting_bytes;	    /* memory that packets out of order hold, streams included */
	struct pg_series *reserve;  /* the one that may use the last part of the receive buffer */
	uint64_t alive_ms;	    /* monotonic; when the peer last proved to be there */
	uint64_t kept_ms; /* monotonic; when something that keeps the session alive left */
	struct pg_openings *openings; /* NULL = none wait */
	struct pg_roaming *roaming;   /* NULL unless an address is unproven */
	struct pg_token_bucket acks, pongs;
	uint32_t stream_count;
	uint32_t bucket_bits; /* log2 of the buckets */
	uint32_t reserving;   /* the send bound that was asked for */
	uint32_t next_stream; /* client: the id of the next stream, 0 = used up */
	uint32_t max_payload;
	uint32_t streams_at_once;
	uint32_t stall_ms; /* next wait for room at the application */
	uint32_t stalled;  /* series */
	uint8_t aead;	   /* enum pg_aead_algorithm */
	uint8_t in, out;   /* enum pg_direction of what is received and sent */
	bool guard, roams;
	bool client;  /* this end */
	bool expires; /* idle_ms ends it */
	bool used_up; /* ends when what was sent is settled: the packIds are used up */
	bool freed;   /* room in the send buffer since the last look */
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
	const __u64 *others_time_ms; /* newest timestamp that another sender of this session, the
					gate, has written; NULL = there is none */
	const struct pg_keys *keys;  /* copied */
	uint64_t handle;
	uint8_t aead;
	bool guard;
	bool roams;	      /* server: the peer may change its address */
	bool client;	      /* this end is the client */
	bool expires;	      /* ends after idle_ms of silence; a provisioned session does not */
	uint32_t max_payload; /* the peer's, where it said one; the smaller one holds. 0 = none said
			       */
	uint32_t streams_at_once; /* likewise */
	uint32_t first_stream;	  /* client: 1..2^31, 0 = draw it; from durable counters after a
				     restart */
	void *owner;
};

void pg_engine_init(struct pg_engine *engine, struct pg_engine_env *env,
		    const struct pg_engine_start *start);

/* Puts an adopted stream back; its line and window are as the old process left them. */
int pg_engine_adopt_stream(struct pg_engine *engine, uint32_t stream,
			   const struct pg_stream_memory *memory);
/* After the streams: finds what the old process acked and lost, to be reported. */
void pg_engine_adopted(struct pg_engine *engine);

/*
 * Forgets buffers and streams, wipes keys; sends nothing, tells nothing, leaves the mapped memory
 * alone, for the next process.
 */
void pg_engine_done(struct pg_engine *engine);

/* The same for a session that is over: every stream is detached, too. */
void pg_engine_retire(struct pg_engine *engine);

/*
 * What the gate asks of a valid frame of this session, in its order, but for the packId: its stream
 * exists, it came from line->peer (from_peer) or may prove a new address, its guard is right. For
 * frames that passed no gate. PG_DROP_NONE or the reason, uncounted.
 */
enum pg_drop pg_engine_admit(struct pg_engine *engine, const struct pg_frame *frame,
			     const uint8_t *frame_bytes, bool from_peer);

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

/*
 * One datagram from the peer (or from where source says), whole: checks, opens, applies, publishes.
 * Opens in place. Returns PG_DROP_NONE or the reason; a duplicate that was acked again is
 * PG_DROP_REPLAY_SEEN. For those who do not batch.
 */
enum pg_drop pg_engine_receive(struct pg_engine *engine, uint8_t *datagram, uint32_t bytes,
			       const struct pg_engine_source *source);

/* Ends a batch: what it committed becomes visible to the gate, what it let go is sent. */
void pg_engine_publish(struct pg_engine *engine);

/*
 * Sends one packet on the session (stream 0) or a stream. On a reliable series the bytes are copied
 * into the send buffer and sent as congestion, pace and the peer allow; message comes back in SENT
 * or FAILED unless 0. Otherwise the packet leaves at once, and nobody hears what became of it.
 * Errors: -EMSGSIZE longer than pg_engine_send_max, -ENOENT no such stream, -EPIPE the stream is
 * being closed, -ENOBUFS the send buffer is full: 1024 packets of the series or send_buffer_bytes
 * of the session are not settled yet, -EAGAIN (unreliable series) waits for a reservation, for the
 * stream to open or for room to transmit, -ESHUTDOWN the series is used up or the session ended,
 * -ENOMEM, -EIO the crypto library failed (unreliable series): the id is spent.
 */
int pg_engine_send(struct pg_engine *engine, uint32_t stream, const uint8_t *data, uint32_t bytes,
		   uint32_t message);

/* Whether pg_engine_send would take so many bytes now; 0 or its error. */
int pg_engine_sendable(struct pg_engine *engine, uint32_t stream, uint32_t bytes);

/* The largest packet that one frame carries, and that a series of this policy carries, bytes. */
uint32_t pg_engine_frame_max(const struct pg_engine *engine);
uint32_t pg_engine_send_max(const struct pg_engine *engine, uint8_t policy);

/*
 * Client: opens a stream of this policy; data may be given to a reliable one at once. STREAM_OPEN
 * follows, or STREAM_CLOSED alone: refused, or no answer. -EPERM not a client, -EINVAL no such
 * policy, -ENOSPC streams_at_once, -ESHUTDOWN the session ended or the ids are used up, -ENOMEM.
 */
int pg_engine_open_stream(struct pg_engine *engine, uint8_t policy, uint32_t *ret_stream);

void pg_engine_reserved(struct pg_engine *engine, enum pg_reserve kind, uint32_t bound);

/* The reservation that was asked for did not succeed; it is asked for again when needed. */
void pg_engine_reserve_failed(struct pg_engine *engine, enum pg_reserve kind);

/*
 * Closes a stream from this end, once everything given to it is SENT or FAILED. -ENOENT, -EALREADY.
 */
int pg_engine_close_stream(struct pg_engine *engine, uint32_t stream);

/*
 * Sends goaway and ends the session: what is not settled has FAILED, then ops->closed is called.
 */
void pg_engine_close(struct pg_engine *engine, uint8_t code);

/* Does what is due; engine->deadline_ms then says when to call again. */
void pg_engine_timer(struct pg_engine *engine);

/* The application has room again (engine->stalled series waited): delivers what waited for it. */
void pg_engine_resume(struct pg_engine *engine);

#endif
