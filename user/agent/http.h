/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_HTTP_H
#define PG_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "address.h"
#include "error.h"

/*
 * A small HTTP server over libmicrohttpd: one request a connection, a table of routes, limits on
 * everything a client can make large or slow. Every refusal is JSON, {"error": "sentence"}; what
 * does not even parse as HTTP gets libmicrohttpd's own 400.
 *
 *   400 malformed, unknown query key   404 no such route or thing   405 other method
 *   413 body above PG_HTTP_BODY_MAX    431 headers above PG_HTTP_HEADERS_MAX
 *   503 PG_HTTP_CLIENTS_MAX clients are served already; further ones wait to be accepted
 *
 * A request that has not arrived whole PG_HTTP_TIMEOUT_MS after the connection is cut off; so is a
 * client that takes nothing of its answer for that long.
 */
#define PG_HTTP_BODY_MAX    (1u << 20)
#define PG_HTTP_HEADERS_MAX (16u << 10)
#define PG_HTTP_CLIENTS_MAX 64
#define PG_HTTP_TIMEOUT_MS  5000
#define PG_HTTP_ARGS_MAX    2

struct pg_http;
struct pg_http_connection;

struct pg_http_request {
	const char *method;
	const char *path;
	const char *args[PG_HTTP_ARGS_MAX]; /* what stands at the {} of the route */
	const char *content_type;	    /* "" if the client sends none */
	const char *accept;		    /* likewise */
	const char *body;		    /* terminated; wiped after the handler */
	size_t body_bytes;
	uid_t uid; /* of the client on a Unix socket, (uid_t)-1 otherwise */
	struct pg_http_connection *connection;
};

/* The value of a query key (/path?key=value); NULL if the request has none. */
const char *pg_http_query(const struct pg_http_request *request, const char *key);

/*
 * A stream: read fills at most max bytes and returns their number, 0 for "nothing yet" after
 * having waited a while (below a second), a negative errno to end the stream. free is called once.
 */
struct pg_http_stream {
	ssize_t (*read)(void *context, char *bytes, size_t max);
	void (*free)(void *context);
	void *context;
};

/* Preset to 200, application/json and no body. */
struct pg_http_answer {
	unsigned int status;
	const char *content_type; /* static */
	char *body;		  /* malloc; the server frees it */
	size_t body_bytes;
	struct pg_http_stream stream; /* instead of a body, if read is set */
};

/*
 * Answers a request. A negative errno becomes a status (EINVAL 400, EPERM 403, ENOENT 404, EEXIST
 * 409, EBUSY 503, ENOSPC 507, else 500) with the sentence of error as the JSON; the answer is then
 * ignored. Called on the connection's own thread, so it may wait.
 */
typedef int (*pg_http_handler)(void *context, const struct pg_http_request *request,
			       struct pg_http_answer *answer, struct pg_error *error);

/*
 * A GET route answers HEAD too. In a pattern "{}" stands for one non-empty segment. query names
 * the allowed keys, separated by spaces; NULL = none.
 */
struct pg_http_route {
	const char *method;
	const char *pattern;
	const char *query;
	pg_http_handler handle;
};

/* The status of a negative errno, as above. */
unsigned int pg_http_status(int rc);

struct pg_http_options {
	const char *path;	      /* Unix socket, or NULL */
	const char *group;	      /* of the socket: name or number; NULL or "" = unchanged */
	mode_t mode;		      /* of the socket */
	const struct pg_peer *listen; /* TCP, used if path is NULL */
	const struct pg_http_route *routes;
	size_t route_count;
	void *context; /* handed to the handlers */
};

/*
 * Listens and serves. The socket file of an agent that died is replaced; one that answers is
 * refused (-EADDRINUSE), and so is a file that is no socket (-EEXIST). The socket's folder is made
 * if only that is missing. error holds the sentence of a failure.
 */
int pg_http_open(const struct pg_http_options *options, struct pg_http **ret_http,
		 struct pg_error *error);

/*
 * What an operator should hear although the socket works, or "": a group that does not exist
 * leaves the socket to the group of the process.
 */
const char *pg_http_warning(const struct pg_http *http);

/* Ends the open requests, removes the socket file. NULL is allowed. */
void pg_http_close(struct pg_http *http);

#endif
