/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_DEMO_CLIENT_H
#define PG_CLI_DEMO_CLIENT_H

#include "demo_net.h"
#include "packgate/message.h"
#include "peer.h"

/* The client of the demo: provisioned sessions, their sockets, and two foreign ones. */
#define DEMO_KEPT 20 /* first frames of a series, kept to be replayed */

enum {
	DEMO_GAME_CHACHA,
	DEMO_GAME_AES,
	DEMO_LAN_CHACHA,
	DEMO_LAN_AES,
	DEMO_HONEST, /* the sessions above live to the end */
	DEMO_CLOSING = DEMO_HONEST,
	DEMO_CHAT, /* speaks messages */
	DEMO_SESSIONS,
};

/* The series of a session: its own, and one stream of each policy. */
enum {
	DEMO_OWN,
	DEMO_RELIABLE,
	DEMO_NEWEST,
	DEMO_UNORDERED,
	DEMO_SERIES,
};

/* Messages that came from the server. */
struct demo_heard {
	uint32_t heartbeats; /* answers to heartbeats */
	uint32_t messages;   /* the application's */
};

struct demo_series {
	struct peer_series ids;
	uint32_t kept_count;
	struct peer_frame kept[DEMO_KEPT];
};

struct demo_session {
	struct peer peer;
	int fd; /* connected to the endpoint; -1 = none */
	uint16_t port;
	uint16_t source_port;
	struct demo_series series[DEMO_SERIES];
	uint32_t came[16];	 /* frames from the server that opened, by opcode */
	uint32_t bad;		 /* frames that did not, or not as they should be */
	struct demo_heard heard; /* of DEMO_CHAT */
};

struct demo_client {
	struct demo_session sessions[DEMO_SESSIONS];
	int other_port; /* the client's address, a port of nobody's session */
	int stranger;	/* the other address */
};

/* Sets the descriptors, so that demo_client_close may follow at any time. */
void demo_client_init(struct demo_client *client);
/* Opens the sockets and provisions the sessions through the control API. */
int demo_client_open(struct demo_client *client, const struct demo_net *net,
		     struct pg_error *error);
void demo_client_close(struct demo_client *client);

/* Takes every frame that waits for a session; data is acked. */
void demo_client_receive(struct demo_session *session);

/* Takes one message that came for the one who calls himself id; whether it is as it should be. */
bool demo_client_hear(struct demo_heard *heard, uint32_t id, const struct pg_message_view *message);

/* 0 or a negative errno. */
int demo_client_send(int fd, const struct peer_frame *frame);

#endif
