/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_CONNECT_INTERNAL_H
#define PG_CLI_CONNECT_INTERNAL_H

#include <sys/types.h>

#include "cli.h"
#include "connect_messages.h"
#include "packgate/packgate.h"

/*
 * cmd_connect.c: options and the loop over a session; connect_send.c: what is sent;
 * connect_receive.c: what came, progress, the account; connect_messages.c: lines and messages;
 * connect_tcp.c: the same messages through a TCP entrance.
 */

#define CONNECT_STREAMS_MAX 64
#define CONNECT_CHUNK_MAX   65536
#define CONNECT_POLICY_NONE (-1)

/* A part of the file, on a stream of its own (or the whole on the session's series). */
struct part {
	uint32_t stream;
	off_t at, end;
};

struct connection {
	struct pg_client *client; /* NULL with --tcp */
	FILE *out;		  /* where messages go */
	int in;			  /* what is sent: stdin or a file; -1 = nothing more */
	bool file;		  /* cut into packets, in parts */
	bool messages;		  /* lines and messages */
	int policy;		  /* of the stream that all goes through; CONNECT_POLICY_NONE */
	uint32_t stream;	  /* that one; 0 = the session's own series */
	bool stream_opening;
	struct line_reader lines;
	uint32_t id;	/* of each line's message, 0 = the line says */
	size_t packet;	/* bytes a packet */
	uint32_t count; /* streams that the file is cut over, 0 = none */
	struct part parts[CONNECT_STREAMS_MAX];
	uint32_t part_count, next_part;
	uint8_t chunk[CONNECT_CHUNK_MAX]; /* read and not taken yet */
	size_t chunk_bytes;
	size_t message_bytes; /* of the line's message that was not taken yet */
	bool full;	      /* the send buffer; WRITABLE will tell */
	bool later;	      /* an unreliable packet could not leave just now */
	bool keep_receiving;
	bool leaves; /* the session goes on with the next run */
	bool closed;
	int64_t quiet_since, linger_ms;
	uint64_t bytes_total, bytes_given, bytes_received, packets_failed;
	int64_t started, progress_at;
	int rc;
};

/* Set by SIGINT and SIGTERM. */
bool connect_interrupted(void);

/* Milliseconds, monotonic. */
int64_t connect_now_ms(void);

/* --- connect_send.c ----------------------------------------------------------------------------
 */

/* Opens the file that --send names; a code that was said. */
int connect_open_file(struct connection *connection, const char *path);
/* Once the session is open: streams and packet sizes; packet 0 = the default. */
int connect_prepare_sending(struct connection *connection, size_t packet);
/* Gives to the client what it takes; readable: poll said so of stdin. */
void connect_pump(struct connection *connection, bool readable);
/* Whether the pump could go on without an event of the client. */
bool connect_sends_now(const struct connection *connection);
/* Whether stdin is worth polling. */
bool connect_wants_input(const struct connection *connection);
/* Nothing more will be read. */
void connect_input_ended(struct connection *connection);

/* --- connect_receive.c -------------------------------------------------------------------------
 */

/* Takes all events of the client. */
void connect_take_events(struct connection *connection);
/* One message of the server, printed. */
void connect_take_message(struct connection *connection, const struct pg_message_view *message,
			  uint32_t stream);
void connect_flush_output(struct connection *connection);
void connect_show_progress(struct connection *connection, bool last);
/* What became of a file, on stderr. */
void connect_report(const struct connection *connection);

/* --- connect_tcp.c -----------------------------------------------------------------------------
 */

/* Connects to a TCP entrance and runs until the end. connection is prepared but for the client. */
int connect_tcp(struct connection *connection, const struct cli_args *args);
/* Whether the options say so: --tcp or --tls. */
bool connect_tcp_wanted(const struct cli_args *args);

#endif
