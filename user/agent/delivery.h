/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_DELIVERY_H
#define PG_DELIVERY_H

#include <poll.h>

#include "app_out.h"
#include "packgate/drop.h"

/*
 * What one thread (a worker, or that of the TCP entrances) hands to the applications of the
 * endpoints: which application takes a message, and whether it has room.
 */
struct pg_delivery {
	const struct pg_view *view;
	struct pg_app_out *outs[PG_APPS_MAX];
	bool any;
};

/* Takes a new view; records that wait for applications that are gone are dropped. */
void pg_delivery_set_view(struct pg_delivery *delivery, const struct pg_view *view);
void pg_delivery_done(struct pg_delivery *delivery);

/* Where records for one place of an endpoint gather, or NULL without an application there. */
struct pg_app_out *pg_delivery_out(struct pg_delivery *delivery, uint16_t endpoint, uint32_t place);

/*
 * The place that takes messages of this Id: that of the route that holds it, if an application
 * serves the endpoint there, else 0.
 */
uint32_t pg_delivery_place(struct pg_delivery *delivery, uint16_t endpoint, uint32_t message_id);

/*
 * Whether a packet of so many bytes can be handed on, whichever messages it holds: NONE,
 * NO_APPLICATION or APP_FULL.
 */
enum pg_drop pg_delivery_ready(struct pg_delivery *delivery, uint16_t endpoint, uint32_t bytes);

/* As pg_app_out_put; -ENOTCONN without an application at the place. record->endpoint is set here.
 */
int pg_delivery_put(struct pg_delivery *delivery, uint16_t endpoint, uint32_t place,
		    const struct pg_app_record *record, const void *bytes, uint32_t length);

/* Sends what gathered, but for applications whose queue was full. */
void pg_delivery_flush(struct pg_delivery *delivery);
/* Whether nothing waits for the applications of an endpoint. */
bool pg_delivery_flushed(struct pg_delivery *delivery, uint16_t endpoint);
/* Tries those too. True when one of them has room again. */
bool pg_delivery_unblock(struct pg_delivery *delivery);
/* Adds the sockets that wait to be written; returns how many, at most PG_APPS_MAX. */
uint32_t pg_delivery_fill_polled(const struct pg_delivery *delivery, struct pollfd *polled);

#endif
