/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_APP_SERVER_H
#define PG_APP_SERVER_H

#include "config.h"
#include "packgate/app.h"
#include "view.h"

/*
 * The application socket (DESIGN section 4, "Delivery"): accepts applications, reads their hello
 * and their records in a thread of its own, and answers what is wrong with an error record.
 */
struct pg_app_server;

struct pg_app_record_in {
	uint8_t kind; /* enum pg_app_kind */
	uint32_t endpoint, stream, message, length;
	uint64_t session;
	const uint8_t *bytes;
};

struct pg_app_handlers {
	/*
	 * names: endpoint names, one a line. Writes the reply of hello, "name id" a line, or the
	 * reason. 0 = the connection now serves these endpoints.
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

int pg_app_server_open(const struct pg_socket_config *config,
		       const struct pg_app_handlers *handlers, struct pg_app_server **ret_server,
		       struct pg_error *error);
void pg_app_server_close(struct pg_app_server *server);

#endif
