/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_INBOX_H
#define PG_INBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

/*
 * What other threads post to a worker: in order, bounded, woken by an eventfd. Messages are
 * allocated by the sender and freed by the receiver.
 */
struct pg_waiter {
	pthread_mutex_t lock;
	pthread_cond_t done;
	uint32_t pending;
	int result; /* the first failure */
};

void pg_waiter_init(struct pg_waiter *waiter);
void pg_waiter_add(struct pg_waiter *waiter);
void pg_waiter_done(struct pg_waiter *waiter, int result);
/* Waits until every add has its done; returns the first failure. */
int pg_waiter_wait(struct pg_waiter *waiter);

enum pg_message_kind {
	PG_MESSAGE_FRAME, /* a datagram of a session this worker owns */
	PG_MESSAGE_ADOPT, /* a session handed over by another worker */
	PG_MESSAGE_CLAIM, /* keep a slot for a session to come, if a closed one lingers there */
	PG_MESSAGE_ADD,	  /* a new session, or one restored at start */
	PG_MESSAGE_CLOSE, /* end a session */
	PG_MESSAGE_END,	  /* end many: those of an endpoint, or that do not fit theirs */
	PG_MESSAGE_VIEW,
	PG_MESSAGE_XSK,
	PG_MESSAGE_LIST,
	PG_MESSAGE_APP,	      /* a record from an application */
	PG_MESSAGE_REFUSED,   /* to the application sockets: the record that is refused, and why */
	PG_MESSAGE_RESERVED,  /* the store's answer */
	PG_MESSAGE_ENTRANCES, /* to the TCP gateway alone, as are VIEW, APP and STOP */
	PG_MESSAGE_STOP,
};

struct pg_session_rows;
struct pg_end_request;
struct pg_view;
struct pg_tcp_plan;
struct pg_xsk;
struct pg_entry;

struct pg_message {
	struct pg_message *next;
	enum pg_message_kind kind;
	struct pg_waiter *waiter; /* told when it is done, or NULL */
	union {
		struct {
			uint64_t source[2];
			struct pg_route route;
			uint16_t source_port_be;
			uint16_t endpoint; /* 0 = the session's own */
			uint8_t from;	   /* worker that received it */
			uint8_t hops;
		} frame;
		struct pg_entry *entry;
		struct {
			uint32_t session, slot;
			uint64_t handle; /* 0 = whatever has the session id */
			uint8_t code;
		} close;
		uint32_t slot; /* of CLAIM */
		const struct pg_end_request *end;
		const struct pg_view *view;
		struct pg_tcp_plan *plan;
		struct {
			struct pg_xsk *socket;
			uint32_t ifindex;
		} xsk;
		struct {
			struct pg_session_rows *rows;
			uint32_t first, last;
		} list;
		struct {
			uint64_t connection; /* its id */
			uint64_t handle;
			uint32_t slot;
			uint32_t stream, message;
			uint32_t endpoint; /* of REFUSED: its id, 0 = not known */
			uint8_t kind;	   /* enum pg_app_kind */
			uint8_t transport; /* enum pg_app_transport */
		} app;
		struct {
			uint64_t handle;
			uint32_t slot;
			uint32_t bound;
			uint8_t kind; /* enum pg_reserve */
			int result;
		} reserved;
	};
	uint32_t bytes;
	uint8_t data[] __attribute__((aligned(8)));
};

#define PG_INBOX_FRAMES_MAX 4096	/* frames and records that may wait */
#define PG_INBOX_BYTES_MAX  (64u << 20) /* of theirs; a longer one only when nothing waits */

struct pg_inbox {
	pthread_mutex_t lock;
	struct pg_message *first, **last;
	uint32_t frames;
	uint64_t bytes; /* of the frames */
	int wake_fd;	/* eventfd */
};

int pg_inbox_init(struct pg_inbox *inbox);
void pg_inbox_done(struct pg_inbox *inbox);

/* A message with so many bytes of data behind it, zeroed; NULL without memory. */
struct pg_message *pg_message_new(enum pg_message_kind kind, const void *data, uint32_t bytes);

/*
 * Takes the message over. -EAGAIN when FRAME and APP messages are at their bound: the message then
 * still belongs to the caller. Other kinds are always taken.
 */
int pg_inbox_post(struct pg_inbox *inbox, struct pg_message *message);

/*
 * The same for what concerns a session, as long as *owner is index, its worker, when the inbox is
 * locked; else -ESTALE, and the message is the caller's.
 */
int pg_inbox_post_owned(struct pg_inbox *inbox, struct pg_message *message,
			const _Atomic uint8_t *owner, uint8_t index);

/*
 * Posts `message`, which brings the session of a slot, to another inbox, behind it in order what
 * waits in `from` for that session (APP, CLOSE, LIST of it alone, RESERVED), and sets *owner to
 * index: nothing that is posted to the new owner comes before it. Of any two inboxes, by any number
 * of threads.
 */
void pg_inbox_hand_over(struct pg_inbox *from, struct pg_inbox *to, struct pg_message *message,
			uint32_t slot, _Atomic uint8_t *owner, uint8_t index);

/* The next message, now the caller's, or NULL. For one thread. */
struct pg_message *pg_inbox_take(struct pg_inbox *inbox);

#endif
