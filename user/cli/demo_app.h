/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_DEMO_APP_H
#define PG_CLI_DEMO_APP_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "packgate/app.h"

/*
 * The application of the demo: reads what the agent delivers, and checks that each message is what
 * the client sent, once and in order.
 */
#define DEMO_SERIES_MAX 64
#define DEMO_TEXT_MAX	512

struct demo_delivered {
	uint8_t transport; /* enum pg_app_transport */
	uint64_t session;  /* handle */
	uint32_t stream;
	uint32_t id; /* the session's id, as the messages say it */
	uint32_t endpoint;
	uint32_t last; /* message id */
};

struct demo_app {
	int fd;		      /* -1 = none */
	uint32_t records[16]; /* by enum pg_app_kind */
	uint32_t wrong;	      /* messages out of order, twice, or not as they were sent */
	char error[120];      /* what the agent said last in an error record */
	struct demo_delivered delivered[DEMO_SERIES_MAX];
	size_t delivered_count;
};

/* Connects and says hello for the endpoints, one name a line; its answer comes as a record. */
int demo_app_open(struct demo_app *app, const char *path, const char *endpoints,
		  struct pg_error *error);
void demo_app_close(struct demo_app *app);

/* Takes every record that waits. */
void demo_app_receive(struct demo_app *app);

/* Sends a message to the session (stream 0) or stream that delivered describes. */
int demo_app_send(struct demo_app *app, const struct demo_delivered *delivered, uint32_t message,
		  const void *bytes, uint32_t count);

/* The series of the session that calls itself id, NULL if nothing came of it yet. */
const struct demo_delivered *demo_app_find(const struct demo_app *app, uint32_t id);

/* The one message that this session, stream and packId carry: 12 to DEMO_TEXT_MAX bytes. */
uint32_t demo_text(uint32_t session, uint32_t stream, uint32_t pack, uint8_t text[DEMO_TEXT_MAX]);

#endif
