/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_WORKER_INTERNAL_H
#define PG_WORKER_INTERNAL_H

#include "handshake_server.h"
#include "source_rate.h"
#include "token.h"
#include "worker.h"

/* Shared by the files of the worker; nobody else includes it. */

#define BATCH		  PG_XSK_BATCH
#define PAYLOAD_ROOM	  128 /* bytes in front of an outgoing frame, for the link and IP headers */
#define CLOSE_LINGER_MS	  10000 /* late frames of a closed session are told from foreign ones */
#define KEY_CACHE_ENTRIES 4096

/* One datagram of the batch, wherever it came from. */
struct datagram {
	uint8_t *payload;
	uint32_t bytes;
	struct pg_frame frame;
	struct pg_engine_source source;
	struct pg_route route; /* back to its sender; ifindex 0 = through the kernel */
	struct pg_entry *entry;
	uint16_t endpoint; /* 0 = unknown until its session is found */
	uint8_t from;	   /* worker that received it */
	uint8_t hops;
};

struct pg_worker {
	uint32_t index;
	bool spin, serves_sockets, stopping;
	pthread_t thread;
	bool started;
	struct pg_session_table *table;
	struct pg_store *store;
	struct pg_worker **peers;
	uint32_t peer_count;
	struct pg_inbox inbox;
	struct pg_inbox *refusals;
	struct pg_xsk *xsk;
	pthread_mutex_t xsk_lock; /* against pg_worker_xsk_statistics alone */
	uint32_t ifindex;
	const struct pg_view *view;
	struct pg_source_rate *sources; /* of those who reach a socket; NULL = serves none */
	struct pg_engine_env env;
	struct pg_handshake_server *handshakes; /* NULL before the first view that has rules */
	uint64_t handshake_due_ms;
	struct pg_wheel wheel;
	struct pg_worker_counts counts;
	uint64_t received_ns; /* when the batch at hand was taken */
	uint32_t delivered;   /* messages of the batch at hand */
	_Atomic uint64_t last_turn_ms;
	struct pg_entry *touched;
	struct pg_entry *stalled; /* with packets that wait for room at the application */
	struct pg_entry *unowned; /* closed entries to free after the batch */
	struct pg_delivery delivery;
	uint32_t turn;
	bool sockets_ready; /* poll found something in a kernel's socket */

	/* data frames that wait for the AEAD, in order of arrival */
	struct datagram *pending[BATCH];
	struct pg_aead_job jobs[BATCH];
	uint32_t pending_count;
	struct datagram datagrams[BATCH];

	/* messages that answer those of a packet; they leave in one packet if they fit */
	uint8_t reply[PG_FRAME_MAX];
	uint32_t reply_bytes;

	/* room for frames that leave through the kernel */
	uint8_t kernel_frame[PAYLOAD_ROOM + PG_FRAME_MAX];
	bool frame_from_xsk;
	uint8_t *frame_room;
	uint8_t receive_buffers[BATCH][PG_FRAME_MAX + 64];
};

static inline void pg_worker_reject(struct pg_worker *worker, struct pg_entry *entry,
				    enum pg_drop drop)
{
	worker->counts.rejected[drop]++;
	if (entry)
		entry->rejected++;
}

void pg_worker_touch(struct pg_worker *worker, struct pg_entry *entry);

/* --- worker_receive.c --------------------------------------------------------------------------
 */

/* Judges the frame as one of this endpoint, whose guard says whether one is due; fills it in. */
enum pg_drop pg_worker_validate(struct pg_worker *worker, struct datagram *datagram,
				uint16_t endpoint);
/* The reason for a frame that matches no session: within its source's rate, or beyond. */
enum pg_drop pg_worker_unmatched(struct pg_worker *worker, const struct datagram *datagram);
/* Takes datagram into the batch; its frame, source and route are filled but for the session. */
void pg_worker_take(struct pg_worker *worker, struct datagram *datagram);
/* Opens and applies what is pending. */
void pg_worker_run(struct pg_worker *worker);
/* Ends the batch: hands records on, publishes windows, sends frames, sets timers. */
void pg_worker_finish_batch(struct pg_worker *worker);
void pg_worker_receive_xsk(struct pg_worker *worker, const struct pg_xsk_frame *frames,
			   uint32_t count);
/* Reads up to a batch from a kernel UDP socket; returns how many datagrams came. */
uint32_t pg_worker_receive_socket(struct pg_worker *worker, uint16_t endpoint);

/* Copies a datagram to another worker. */
void pg_worker_forward(struct pg_worker *worker, const struct datagram *datagram, uint8_t owner);

/* --- worker_handshake.c ------------------------------------------------------------------------
 */

void pg_worker_take_shakehand(struct pg_worker *worker, struct datagram *datagram);
/* The final handshake of a session, its guard checked here whatever the endpoint says. */
enum pg_drop pg_worker_take_final(struct pg_worker *worker, struct datagram *datagram);
/* The client proved that it has the keys: a half-open session becomes READY. */
void pg_worker_confirm(struct pg_worker *worker, struct pg_entry *entry);
/* -ENOMEM leaves handshakes off. */
int pg_worker_set_handshake(struct pg_worker *worker, const struct pg_handshake_view *view);
/* When it wants to be called again, monotonic ms. */
uint64_t pg_worker_handshake_timer(struct pg_worker *worker);
/* Copies the server's counters to the worker's. */
void pg_worker_count_handshakes(struct pg_worker *worker);

/* --- worker_session.c --------------------------------------------------------------------------
 */

extern const struct pg_engine_ops pg_worker_engine_ops;

/* Message handlers; each returns what the waiter is told. */
int pg_worker_add(struct pg_worker *worker, const struct pg_session_add *add);
/*
 * The slot stays this worker's, empty: 0; -EEXIST if a session lives there, -ESTALE if the slot is
 * not (any more) this worker's, -EAGAIN if the store's queue has no room for the end of the old
 * one.
 */
int pg_worker_claim(struct pg_worker *worker, uint32_t slot);
int pg_worker_adopt(struct pg_worker *worker, struct pg_entry *entry);
int pg_worker_close(struct pg_worker *worker, uint32_t session, uint64_t handle, uint8_t code);
void pg_worker_app_record(struct pg_worker *worker, const struct pg_message *message);
/* True when the message went on to the session's owner. */
bool pg_worker_reserved(struct pg_worker *worker, struct pg_message *message);
void pg_worker_fire(struct pg_worker *worker, struct pg_entry *entry);
/* After any engine call: cleans up a session that ended in it. */
void pg_worker_after(struct pg_worker *worker, struct pg_entry *entry);
/* Takes away a session that nobody was told of. */
void pg_worker_forget_half_open(struct pg_worker *worker, struct pg_entry *entry);
/* Tells the endpoint's application of the session, once. */
void pg_worker_announce(struct pg_worker *worker, struct pg_entry *entry);
void pg_worker_send_by_kernel(struct pg_worker *worker, uint16_t endpoint,
			      const struct pg_route *route, const uint64_t peer[2],
			      uint16_t peer_port_be, uint8_t *frame, uint32_t bytes);
void pg_worker_hand_over(struct pg_worker *worker, struct pg_entry *entry, uint8_t to);
void pg_worker_rearm(struct pg_worker *worker, struct pg_entry *entry);
void pg_worker_fill_rows(struct pg_worker *worker, uint32_t first, uint32_t last,
			 struct pg_session_rows *rows);

/* Remembers a session whose packets wait for room at its application. */
void pg_worker_note_stalled(struct pg_worker *worker, struct pg_entry *entry);
/* An application has room again. */
void pg_worker_resume_stalled(struct pg_worker *worker);

/* The entry of a slot when this worker owns it, or NULL. */
struct pg_entry *pg_worker_entry(struct pg_worker *worker, uint32_t slot);

/* Whether a session that this worker owns is still in its inbox, handed over by another. */
bool pg_worker_arriving(struct pg_worker *worker, uint32_t slot);

/* Hands a record to the application at a place of the session's endpoint. */
int pg_worker_put(struct pg_worker *worker, struct pg_entry *entry, uint32_t place,
		  const struct pg_engine_event *event);
/* The same for a message, which is counted; it may become several records. */
void pg_worker_put_message(struct pg_worker *worker, struct pg_entry *entry,
			   const struct pg_engine_event *event);

/* --- worker_end.c ------------------------------------------------------------------------------
 */

void pg_worker_end_all(struct pg_worker *worker, const struct pg_end_request *request);
/* The same for one session that came from another worker. */
void pg_worker_end_misfit(struct pg_worker *worker, struct pg_entry *entry);

/* --- worker_message.c --------------------------------------------------------------------------
 */

/* A packet of an endpoint with format: message. */
void pg_worker_take_messages(struct pg_worker *worker, struct pg_entry *entry,
			     const struct pg_engine_event *event);
/* Sends what an application gave to such an endpoint; NULL, or why it is refused. */
const char *pg_worker_send_message(struct pg_worker *worker, struct pg_entry *entry,
				   const struct pg_message *message);
/* Why pg_engine_send refused, for the application. */
const char *pg_worker_send_refusal(int err);

#endif
