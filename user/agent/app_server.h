/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_APP_SERVER_H
#define PG_APP_SERVER_H

#include "config.h"
#include "inbox.h"
#include "packgate/app.h"
#include "view.h"

/*
 * The application sockets (DESIGN section 4, "Delivery"), the main one and one for every route:
 * accepts applications, reads their hello and their records in a thread of its own, joins what
 * PG_APP_MORE cut, and answers what is wrong with an error record. An application that does not
 * take its answers is not read from until it does.
 */
struct pg_app_server;

struct pg_app_record_in {
	uint8_t kind;	   /* enum pg_app_kind */
	uint8_t transport; /* enum pg_app_transport */
	uint32_t endpoint, stream, message, length;
	uint64_t session;
	const uint8_t *bytes;
};

struct pg_app_handlers {
	/*
	 * names: endpoint names, one a line. Writes the reply of hello, "name id" a line, or the
	 * reason. 0 = the connection now serves these endpoints; no record leaves
	 * before the reply.
	 */
	int (*hello)(void *context, const struct pg_app_connection *connection, const char *names,
		     char *reply, size_t reply_bytes);
	/* The application is gone; nothing refers to the connection after this returns. */
	void (*gone)(void *context, const struct pg_app_connection *connection);
	/* 0; -EAGAIN = not now, ask again; another errno with *ret_why = refused. */
	int (*record)(void *context, const struct pg_app_connection *connection,
		      const struct pg_app_record_in *record, const char **ret_why);
	void *context;
};

#define PG_APP_MESSAGE_MAX (16u << 20) /* bytes of a message that an application sends in parts */

/* refusals: where other threads hand what they refused (pg_app_refuse); it outlives the server. */
int pg_app_server_open(const struct pg_app_config *config, const struct pg_app_handlers *handlers,
		       struct pg_inbox *refusals, struct pg_app_server **ret_server,
		       struct pg_error *error);
void pg_app_server_close(struct pg_app_server *server);

#endif
