/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_APP_OUT_H
#define PG_APP_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "packgate/app.h"
#include "view.h"

/*
 * The records that one thread hands to one application: gathered into datagrams of up to 64 KiB,
 * sent at the end of the batch or when there is a datagram's worth, kept while the application's
 * queue is full. What is longer than a datagram goes on in the next record (PG_APP_MORE). Beyond
 * one datagram's worth nothing is taken, but for one packet that came when nothing waited.
 */
struct pg_app_datagram;

struct pg_app_out {
	const struct pg_app_connection *connection;
	struct pg_app_datagram *first, *last, *spare;
	uint32_t queued; /* bytes of all datagrams */
	uint32_t room;	 /* that queued may reach */
	bool blocked;	 /* the socket is full: wait until it can be written */
	bool dead;	 /* the application is gone */
};

#define PG_APP_EVENT_ROOM 4096 /* of the room, kept for what is not a message */

void pg_app_out_init(struct pg_app_out *out, const struct pg_app_connection *connection);
void pg_app_out_done(struct pg_app_out *out); /* and what waits */

/* Whether records of so many bytes, headers included, find room; flushes if that makes it. */
bool pg_app_out_ready(struct pg_app_out *out, uint32_t bytes);

/*
 * Appends a message or an event, in several records if one cannot hold it; record->length and
 * the flag MORE are set here. -ENOBUFS without room, -ENOMEM, -EPIPE when the application is gone:
 * then nothing of it was taken.
 */
int pg_app_out_put(struct pg_app_out *out, const struct pg_app_record *record, const void *bytes,
		   uint32_t length);

void pg_app_out_flush(struct pg_app_out *out);

#endif
