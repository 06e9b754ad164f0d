/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_HTTP_INTERNAL_H
#define PG_HTTP_INTERNAL_H

#include <pthread.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <microhttpd.h>

#include "http.h"
#include "http_route.h"

/* Shared by the files of the HTTP server; nobody else includes it. */

enum pg_http_phase {
	PG_HTTP_READING,   /* from accept until the request is whole */
	PG_HTTP_ANSWERING, /* the handler runs or the answer is sent */
	PG_HTTP_STREAMING,
};

struct pg_http_connection {
	struct pg_http_connection *next, **link;
	struct pg_http *http;
	struct MHD_Connection *mhd;
	int fd;
	enum pg_http_phase phase;
	uint64_t since_ms; /* start of the phase; streaming: the last time the client took bytes */
	bool surplus;	   /* over the limit of clients */
	bool counted;	   /* among http->clients */
	const struct pg_http_route *route;
	struct pg_http_args args;
	bool body_too_big;
	char *body;
	size_t body_bytes, body_room;
};

struct pg_http {
	struct MHD_Daemon *daemon;
	const struct pg_http_route *routes;
	size_t route_count;
	void *context;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct stat made; /* the socket file */
	struct pg_error warning;
	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t wake;
	struct pg_http_connection *connections;
	unsigned int clients;
	bool stopping, reaper_runs;
	pthread_t reaper;
};

/* --- http.c: connections and their time --------------------------------------------------------
 */

void pg_http_enter_phase(struct pg_http_connection *connection, enum pg_http_phase phase);

/* --- http_request.c: from the first header to the handler --------------------------------------
 */

/* What libmicrohttpd calls for every piece of a request. */
enum MHD_Result pg_http_take(void *context, struct MHD_Connection *mhd, const char *path,
			     const char *method, const char *version, const char *upload,
			     size_t *upload_bytes, void **state);
/* The body may hold a secret. */
void pg_http_wipe_body(struct pg_http_connection *connection);

/* --- http_answer.c -----------------------------------------------------------------------------
 */

/* {"error": sentence} under a status; allow: the header of that name, or NULL. */
enum MHD_Result pg_http_refuse(struct pg_http_connection *connection, unsigned int status,
			       const char *sentence, const char *allow);
/* Takes over the body, or the stream. */
enum MHD_Result pg_http_send(struct pg_http_connection *connection, struct pg_http_answer *answer);

#endif
