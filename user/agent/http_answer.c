// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cleanup.h"
#include "http_internal.h"

#define STREAM_BLOCK 4096

/* A sentence may repeat bytes of the request that are no UTF-8. */
static char *error_body(const char *sentence)
{
	json_t *root = json_pack("{s:s}", "error", sentence);
	char clean[sizeof(((struct pg_error *)0)->text)];
	char *text;
	size_t i;

	if (!root) {
		for (i = 0; sentence[i] && i < sizeof(clean) - 1; i++)
			clean[i] = sentence[i] < 0x20 || sentence[i] > 0x7e ? '?' : sentence[i];
		clean[i] = 0;
		root = json_pack("{s:s}", "error", clean);
	}
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

static enum MHD_Result queue(struct pg_http_connection *connection, unsigned int status,
			     const char *content_type, struct MHD_Response *response)
{
	enum MHD_Result rc;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	rc = MHD_queue_response(connection->mhd, status, response);
	MHD_destroy_response(response);
	return rc;
}

static struct MHD_Response *response_of(char *body, size_t bytes)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(bytes, body, MHD_RESPMEM_MUST_FREE);

	if (!response)
		free(body);
	return response;
}

enum MHD_Result pg_http_refuse(struct pg_http_connection *connection, unsigned int status,
			       const char *sentence, const char *allow)
{
	struct MHD_Response *response;
	char *body = error_body(sentence);

	pg_http_enter_phase(connection, PG_HTTP_ANSWERING);
	response = body ? response_of(body, strlen(body)) : NULL;
	if (response && allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
	return queue(connection, status, "application/json", response);
}

unsigned int pg_http_status(int rc)
{
	switch (rc) {
	case -EINVAL:
		return MHD_HTTP_BAD_REQUEST;
	case -EPERM:
		return MHD_HTTP_FORBIDDEN;
	case -ENOENT:
		return MHD_HTTP_NOT_FOUND;
	case -EEXIST:
		return MHD_HTTP_CONFLICT;
	case -EBUSY:
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	case -ENOSPC:
		return MHD_HTTP_INSUFFICIENT_STORAGE;
	default:
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
}

/* --- streams -----------------------------------------------------------------------------------
 */

/* Belongs to its response, which may outlive the connection's entry. */
struct stream {
	struct pg_http_connection *connection;
	struct pg_http_stream source;
};

/* Without this a client that left would be noticed only when there is something to send. */
static bool client_left(const struct pg_http_connection *connection)
{
	struct pollfd pfd = { .fd = connection->fd };

	return poll(&pfd, 1, 0) > 0 && (pfd.revents & (POLLHUP | POLLERR));
}

static bool stopping(struct pg_http *http)
{
	bool now;

	pthread_mutex_lock(&http->lock);
	now = http->stopping;
	pthread_mutex_unlock(&http->lock);
	return now;
}

static ssize_t read_stream(void *context, uint64_t position, char *bytes, size_t max)
{
	struct stream *stream = context;
	ssize_t n;

	pg_http_enter_phase(stream->connection, PG_HTTP_ANSWERING);
	do {
		if (stopping(stream->connection->http) || client_left(stream->connection))
			return MHD_CONTENT_READER_END_OF_STREAM;
		n = stream->source.read(stream->source.context, bytes, max);
	} while (!n);
	pg_http_enter_phase(stream->connection, PG_HTTP_STREAMING);
	return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static void free_stream(void *context)
{
	struct stream *stream = context;

	if (stream->source.free)
		stream->source.free(stream->source.context);
	free(stream);
}

static enum MHD_Result queue_stream(struct pg_http_connection *connection,
				    const struct pg_http_answer *answer)
{
	struct stream *stream = calloc(1, sizeof(*stream));
	struct MHD_Response *response = NULL;

	if (stream) {
		stream->connection = connection;
		stream->source = answer->stream;
		response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
							     read_stream, stream, free_stream);
	}
	if (!response) {
		if (answer->stream.free)
			answer->stream.free(answer->stream.context);
		free(stream);
		return MHD_NO;
	}
	MHD_set_connection_option(connection->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	return queue(connection, answer->status, answer->content_type, response);
}

enum MHD_Result pg_http_send(struct pg_http_connection *connection, struct pg_http_answer *answer)
{
	char *body = TAKE_PTR(answer->body);

	if (answer->stream.read)
		return queue_stream(connection, answer);
	return queue(connection, answer->status, answer->content_type,
		     response_of(body, body ? answer->body_bytes : 0));
}
