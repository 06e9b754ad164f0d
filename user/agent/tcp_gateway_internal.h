/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TCP_GATEWAY_INTERNAL_H
#define PG_TCP_GATEWAY_INTERNAL_H

#include <openssl/ssl.h>
#include <pthread.h>

#include "delivery.h"
#include "packgate/message.h"
#include "tcp_gateway.h"
#include "tcp_sources.h"
#include "timer_wheel.h"

/* Shared by the files of the TCP gateway; nobody else includes it. */

#define PG_TCP_READ_BYTES   65536
#define PG_TCP_OUT_BYTES    262144 /* of output that may wait; reading goes on below half of it */
#define PG_TCP_OWN_BYTES    4096   /* a connection may hold beside the memory that all share */
#define PG_TCP_HANDSHAKE_MS 10000
#define PG_TCP_OTHERS_TEXT  48
#define PG_TCP_LINGER_MS    5000 /* a half-closed connection waits so long for its other half */

/* --- tcp_gateway_tls.c: plain and TLS connections alike ----------------------------------------
 */

struct pg_tcp_stream {
	int fd;
	SSL *tls; /* NULL = plain */
	bool handshaking;
	bool wants_write; /* nothing moves before the socket can be written */
};

#define PG_TCP_BROKEN (-1) /* the connection is of no use any more */
#define PG_TCP_WAIT   (-2) /* not now */

int pg_tcp_tls_context(const struct pg_entrance_config *config, SSL_CTX **ret_context,
		       struct pg_error *error);
/* 0 when the handshake is done (or there is none), else PG_TCP_WAIT or PG_TCP_BROKEN. */
int pg_tcp_stream_handshake(struct pg_tcp_stream *stream);
/* Bytes read, 0 at the end of the stream, else PG_TCP_WAIT or PG_TCP_BROKEN. */
ssize_t pg_tcp_stream_read(struct pg_tcp_stream *stream, uint8_t *to, size_t bytes);
/* Bytes written, more than 0, else PG_TCP_WAIT or PG_TCP_BROKEN. */
ssize_t pg_tcp_stream_write(struct pg_tcp_stream *stream, const uint8_t *from, size_t bytes);
/* Whether bytes wait that the socket does not show. */
bool pg_tcp_stream_pending(const struct pg_tcp_stream *stream);
/* Nothing more is written: the client reads what was, and then the end of the stream. */
void pg_tcp_stream_finish(struct pg_tcp_stream *stream);
/* After that: throws away what came; false when the client ended too, or the connection broke. */
bool pg_tcp_stream_discard(struct pg_tcp_stream *stream, uint8_t *room, size_t bytes);
void pg_tcp_stream_close(struct pg_tcp_stream *stream);

/* --- the gateway -------------------------------------------------------------------------------
 */

struct pg_tcp_listener {
	struct pg_tcp_entrance status;
	struct pg_entrance_config config;
	bool used;
	int fd;
	SSL_CTX *tls;
	uint16_t endpoint; /* in the view */
};

struct pg_tcp_connection {
	struct pg_tcp_stream stream;
	struct pg_tcp_listener *entrance;
	struct pg_peer peer;
	uint64_t handle;
	uint64_t active_ms; /* monotonic: bytes came or went */
	struct pg_timer timer;
	struct pg_message_parser parser;
	struct pg_message_view held; /* waits for its application */
	uint8_t *held_copy;	     /* its body, where the parser does not have it */
	uint8_t *rest;		     /* bytes behind it, or behind full output */
	uint32_t rest_bytes;
	uint8_t *out; /* output from out_at on */
	uint32_t out_at, out_bytes, out_capacity;
	uint32_t counted; /* bytes it holds of the memory that all share */
	uint32_t announced[PG_APP_PLACES];
	uint32_t events; /* what epoll waits for */
	bool holding;
	bool full;     /* too much output waits */
	bool ended;    /* the client sends nothing more */
	bool leaving;  /* closed once its output is taken */
	bool finished; /* it is, and the client has yet to end its direction */
	uint8_t leaving_why;
	struct pg_tcp_connection *stalled_next, **stalled_at; /* at NULL = not stalled */
	struct pg_tcp_connection *next, **at;		      /* all of them */
};

struct pg_tcp_gateway {
	pthread_t thread;
	bool started, stopping;
	int epoll_fd;
	int spare_fd; /* given up to refuse a connection when descriptors run out */
	struct pg_inbox inbox;
	struct pg_inbox *refusals; /* of the application sockets */
	struct pg_wheel wheel;
	uint64_t now_ms;
	struct pg_delivery delivery;
	struct pg_worker_counts counts;
	struct pg_tcp_listener entrances[PG_CONFIG_ENTRANCES_MAX];
	struct pg_tcp_sources *sources;
	struct pg_tcp_connection **slots; /* by the low 20 bits of a handle */
	uint32_t slot_count;
	uint32_t *unused; /* slots, unused_count of them */
	uint32_t unused_count;
	uint64_t serial; /* of the next connection */
	uint64_t buffered, buffer_bytes;
	struct pg_tcp_connection *connections, *stalled;
	struct pg_tcp_connection *dead; /* closed in this turn; freed at its end */
	uint64_t log_second;
	uint32_t logged, unlogged;
	uint8_t read_buffer[PG_TCP_READ_BYTES];
};

/* --- tcp_gateway_accept.c ----------------------------------------------------------------------
 */

/* Takes connections that wait at an entrance, or refuses them. */
void pg_tcp_gateway_accept(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *entrance);

/* --- tcp_gateway_connection.c ------------------------------------------------------------------
 */

/*
 * Whether a line about a client may be logged now: at most a few a second. Writes what to put
 * behind it: how many were left out.
 */
bool pg_tcp_may_log(struct pg_tcp_gateway *gateway, char ret_others[PG_TCP_OTHERS_TEXT]);

/* Takes over an accepted socket, counted by its source. -ENOSPC, -ENOMEM: it is closed. */
int pg_tcp_connection_add(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *entrance, int fd,
			  const struct pg_peer *peer);
void pg_tcp_connection_close(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
			     enum pg_tcp_close why);
/* The socket is ready for events (EPOLL*). */
void pg_tcp_connection_event(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
			     uint32_t events);
void pg_tcp_connection_timer(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection);
/* Applications have room again, or are others: tries what waits for them. */
void pg_tcp_connections_resume(struct pg_tcp_gateway *gateway);
/* A record from an application. */
void pg_tcp_connection_record(struct pg_tcp_gateway *gateway, const struct pg_message *message);

/* --- tcp_gateway_output.c ----------------------------------------------------------------------
 */

/* Appends to the output; false when it cannot: the connection is to be closed, MEMORY. */
bool pg_tcp_output_put(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
		       const void *bytes, uint32_t count);
/* Writes what the socket takes; false when the connection broke. */
bool pg_tcp_output_flush(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection);

static inline uint32_t pg_tcp_output_waiting(const struct pg_tcp_connection *connection)
{
	return connection->out_bytes - connection->out_at;
}

/* Full output is full until half of it is taken: not every byte wakes the reading. */
static inline bool pg_tcp_output_full(struct pg_tcp_connection *connection)
{
	uint32_t waiting = pg_tcp_output_waiting(connection);

	connection->full = waiting >= PG_TCP_OUT_BYTES ||
			   (connection->full && waiting >= PG_TCP_OUT_BYTES / 2);
	return connection->full;
}

/* Whether so many more bytes of output, once gathered, are within the gateway's bound. */
bool pg_tcp_output_fits(const struct pg_tcp_gateway *gateway,
			const struct pg_tcp_connection *connection, uint64_t count);

/*
 * Accounts for the memory a connection holds; false when it holds more than its own part and the
 * gateway's bound is passed. Its own part lets it live while others hold all that is shared.
 */
bool pg_tcp_output_account(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection);

#endif
