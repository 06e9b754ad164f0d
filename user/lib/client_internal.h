/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLIENT_INTERNAL_H
#define PG_CLIENT_INTERNAL_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "client_state.h"
#include "engine.h"
#include "handshake_client.h"
#include "packgate/packgate.h"

/*
 * client.c: options, life, the public calls; client_engine.c: what the engine asks for;
 * client_events.c: the queue of events; client_socket.c: datagrams; client_wait.c: the blocking
 * form.
 */

#define BATCH	    64	  /* datagrams of one system call */
#define ROUNDS_MAX  16	  /* such calls of one pg_client_process */
#define KEYS_CACHED 64	  /* expanded AEAD keys, 1 KiB each */
#define EVENT_BYTES 128	  /* an event is counted with so much besides its bytes */
#define ANSWERS_MS  10000 /* a server repeats its handshake so long after READY */

struct event {
	struct pg_client_event event;
	struct event *next;
	uint8_t bytes[];
};

struct event_queue {
	struct event *first, **last;
	struct event *taken; /* what the caller looks at */
	uint64_t bytes;	     /* that wait */
	uint64_t bound;
};

/* Frames that wait for sendmmsg. */
struct outbox {
	uint32_t count;
	struct iovec vectors[BATCH];
	struct mmsghdr messages[BATCH];
	uint8_t frames[BATCH][PG_FRAME_MAX];
};

enum client_state {
	CLIENT_OPENING, /* the handshake is under way */
	CLIENT_READY,
	CLIENT_CLOSED,
};

struct pg_client {
	struct pg_session line; /* first: aligned to its own size */
	struct pg_window window;
	struct pg_opened opened;
	struct pg_client_state durable; /* in place of window, where the session outlives the run */
	enum client_state state;
	int fd;
	uint64_t peer[2]; /* the server, as maps hold addresses */
	uint16_t peer_port_be;
	struct pg_engine_env env;
	struct pg_engine engine;
	bool engine_runs;
	struct pg_handshake_client
		*handshake;	   /* NULL for a provisioned session, or when done with */
	uint64_t answers_until_ms; /* the handshake's answer may come again */
	bool in_band;
	/* pg_client_send found no room for this */
	bool refused;
	uint32_t refused_stream, refused_bytes;
	int icmp;	 /* errno of the last ICMP message that came, 0 = none */
	bool idle_asked; /* a server's longer idle time does not hold */
	bool in_timer;	 /* what ends now ends by this end's own clock */
	bool too_long;	 /* a frame was longer than the way to the server takes */
	char why[192];	 /* the last failure, as a sentence */
	struct event_queue events;
	struct outbox out;
	uint8_t received[BATCH][PG_FRAME_MAX + 1];
};

/* --- client.c ----------------------------------------------------------------------------------
 */

void pg_client_update_clocks(struct pg_client *client);

/* Why packets that were not acked failed: errno, and the sentence in client->why. */
int pg_client_lost(struct pg_client *client);

/* Ends the client's session, once: code and sentence of PG_CLIENT_CLOSED. */
void pg_client_ended(struct pg_client *client, int code, const char *why);

/* --- client_engine.c ---------------------------------------------------------------------------
 */

extern const struct pg_engine_ops pg_client_engine_ops;

/* --- client_events.c ---------------------------------------------------------------------------
 */

void pg_events_init(struct event_queue *queue, uint64_t bound);
void pg_events_done(struct event_queue *queue);

/* Copies the bytes. -ENOMEM: the event is lost. */
int pg_events_push(struct event_queue *queue, const struct pg_client_event *event);
bool pg_events_take(struct event_queue *queue, struct pg_client_event *ret_event);

/* Whether a packet of so many bytes may be added. */
bool pg_events_room(const struct event_queue *queue, uint32_t bytes);

/* --- client_socket.c ---------------------------------------------------------------------------
 */

/* Resolves and connects; errors as pg_client_new's. */
int pg_client_open_socket(struct pg_client *client, const struct pg_client_options *options,
			  struct pg_error *error);

/* Bytes of a datagram that the way to the server takes, as far as the kernel knows; 0 = unknown. */
uint32_t pg_client_datagram_max(const struct pg_client *client);

/* Room for a frame, NULL when BATCH of them wait for the socket. */
uint8_t *pg_outbox_alloc(struct pg_client *client);
void pg_outbox_add(struct pg_client *client, uint32_t bytes);
/* Hands the frames to the kernel; what it has no room for now stays. */
void pg_outbox_flush(struct pg_client *client);

/*
 * Reads a batch and calls take for each datagram. Returns how many came; 0 none, negative errno.
 */
int pg_client_read(struct pg_client *client,
		   void (*take)(struct pg_client *client, uint8_t *datagram, uint32_t bytes));

#endif
