/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_APP_OUT_H
#define PG_APP_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "packgate/app.h"
#include "view.h"

/*
 * The records that one worker hands to one application: gathered into one datagram of up to
 * 64 KiB, sent at the end of the batch or when full, kept while the application's queue is full.
 */
struct pg_app_out {
	const struct pg_app_connection *connection;
	uint32_t bytes;
	bool blocked; /* the socket is full: wait until it can be written */
	bool dead;    /* the application is gone */
	uint8_t datagram[PG_APP_DATAGRAM_MAX];
};

#define PG_APP_EVENT_ROOM 4096 /* of the datagram, kept for what is not a message */

/* Whether a message of so many bytes finds room, flushing if that makes it. */
bool pg_app_out_ready(struct pg_app_out *out, uint32_t bytes);

/* Appends one record; -ENOBUFS without room, -EPIPE when the application is gone. */
int pg_app_out_put(struct pg_app_out *out, const struct pg_app_record *record, const void *bytes,
		   uint32_t length);

void pg_app_out_flush(struct pg_app_out *out);

#endif
