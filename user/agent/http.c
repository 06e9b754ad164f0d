// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include <jansson.h>
#include <microhttpd.h>
#include <openssl/crypto.h>

#include "cleanup.h"
#include "http.h"
#include "http_listen.h"
#include "http_route.h"

#define CLIENTS_SPARE	  8 /* connections that are accepted only to be told 503 */
#define MEMORY_PER_CLIENT (64u << 10)
#define REAP_MS		  250
#define STREAM_BLOCK	  4096

enum phase {
	PHASE_READING,	 /* from accept until the request is whole */
	PHASE_ANSWERING, /* the handler runs or the answer is sent */
	PHASE_STREAMING,
};

struct pg_http_connection {
	struct pg_http_connection *next, **link;
	struct pg_http *http;
	struct MHD_Connection *mhd;
	int fd;
	enum phase phase;
	uint64_t since_ms; /* start of the phase; streaming: the last time the client took bytes */
	bool surplus;	   /* over the limit of clients */
	bool counted;	   /* among http->clients */
	const struct pg_http_route *route;
	struct pg_http_args args;
	bool body_too_big;
	char *body;
	size_t body_bytes, body_room;
};

/* Belongs to its response, which may outlive the connection's entry. */
struct stream {
	struct pg_http_connection *connection;
	struct pg_http_stream source;
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

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void enter_phase(struct pg_http_connection *connection, enum phase phase)
{
	pthread_mutex_lock(&connection->http->lock);
	connection->phase = phase;
	connection->since_ms = now_ms();
	pthread_mutex_unlock(&connection->http->lock);
}

/* --- answers -----------------------------------------------------------------------------------
 */

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

static enum MHD_Result refuse(struct pg_http_connection *connection, unsigned int status,
			      const char *sentence, const char *allow)
{
	struct MHD_Response *response;
	char *body = error_body(sentence);

	enter_phase(connection, PHASE_ANSWERING);
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

	enter_phase(stream->connection, PHASE_ANSWERING);
	do {
		if (stopping(stream->connection->http) || client_left(stream->connection))
			return MHD_CONTENT_READER_END_OF_STREAM;
		n = stream->source.read(stream->source.context, bytes, max);
	} while (!n);
	enter_phase(stream->connection, PHASE_STREAMING);
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

/* --- requests ----------------------------------------------------------------------------------
 */

const char *pg_http_query(const struct pg_http_request *request, const char *key)
{
	return MHD_lookup_connection_value(request->connection->mhd, MHD_GET_ARGUMENT_KIND, key);
}

static uid_t client_uid(int fd)
{
	socklen_t bytes = sizeof(struct ucred);
	struct ucred peer = { .uid = (uid_t)-1 };
	int domain = 0;
	socklen_t domain_bytes = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_bytes) || domain != AF_UNIX ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes))
		return (uid_t)-1;
	return peer.uid;
}

static void wipe_body(struct pg_http_connection *connection)
{
	if (connection->body)
		OPENSSL_cleanse(connection->body, connection->body_room);
	free(connection->body);
	connection->body = NULL;
	connection->body_bytes = connection->body_room = 0;
}

static enum MHD_Result send_answer(struct pg_http_connection *connection,
				   struct pg_http_answer *answer)
{
	char *body = TAKE_PTR(answer->body);

	if (answer->stream.read)
		return queue_stream(connection, answer);
	return queue(connection, answer->status, answer->content_type,
		     response_of(body, body ? answer->body_bytes : 0));
}

static enum MHD_Result dispatch(struct pg_http_connection *connection, const char *method,
				const char *path)
{
	const char *type = MHD_lookup_connection_value(connection->mhd, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_CONTENT_TYPE);
	struct pg_http_answer answer = { .status = MHD_HTTP_OK,
					 .content_type = "application/json" };
	struct pg_http_request request = {
		.method = method,
		.path = path,
		.content_type = type ? type : "",
		.body = connection->body ? connection->body : "",
		.body_bytes = connection->body_bytes,
		.uid = client_uid(connection->fd),
		.connection = connection,
	};
	struct pg_error error = { "the request failed" };
	size_t i;
	int rc;

	for (i = 0; i < connection->args.count; i++)
		request.args[i] = connection->args.segments[i];
	enter_phase(connection, PHASE_ANSWERING);
	/* The idle clock must not run while a handler works: stop it, start it anew. */
	MHD_set_connection_option(connection->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	rc = connection->route->handle(connection->http->context, &request, &answer, &error);
	MHD_set_connection_option(connection->mhd, MHD_CONNECTION_OPTION_TIMEOUT,
				  PG_HTTP_TIMEOUT_MS / 1000u);
	wipe_body(connection);
	return rc ? refuse(connection, pg_http_status(rc), error.text, NULL)
		  : send_answer(connection, &answer);
}

static bool keep_body(struct pg_http_connection *connection, const char *bytes, size_t n)
{
	size_t room = connection->body_room ? connection->body_room : 4096;
	char *grown;

	if (connection->body_bytes + n > PG_HTTP_BODY_MAX) {
		connection->body_too_big = true;
		return true;
	}
	while (room < connection->body_bytes + n + 1)
		room *= 2;
	if (room != connection->body_room) {
		grown = malloc(room);
		if (!grown)
			return false;
		if (connection->body) {
			memcpy(grown, connection->body, connection->body_bytes);
			OPENSSL_clear_free(connection->body, connection->body_room);
		}
		connection->body = grown;
		connection->body_room = room;
	}
	memcpy(connection->body + connection->body_bytes, bytes, n);
	connection->body_bytes += n;
	connection->body[connection->body_bytes] = 0;
	return true;
}

struct query_check {
	const struct pg_http_route *route;
	struct pg_error error;
	bool bad;
};

static enum MHD_Result check_query_key(void *context, enum MHD_ValueKind kind, const char *key,
				       const char *value)
{
	struct query_check *check = context;

	if (pg_http_query_allowed(check->route, key) && value)
		return MHD_YES;
	check->bad = true;
	pg_error_set(&check->error, 0, "the query key %.32s is unknown here or has no value; %s%s",
		     key, check->route->query ? "allowed: " : "this route takes none",
		     check->route->query ? check->route->query : "");
	return MHD_NO;
}

static bool announces_too_much(struct MHD_Connection *mhd)
{
	const char *text =
		MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return text && strtoull(text, NULL, 10) > PG_HTTP_BODY_MAX;
}

static enum MHD_Result refuse_body(struct pg_http_connection *connection)
{
	return refuse(connection, MHD_HTTP_CONTENT_TOO_LARGE,
		      "the body is larger than 1 MiB; send it in parts", NULL);
}

/* The headers are here: whatever can be refused without the body is refused now. */
static enum MHD_Result begin(struct pg_http_connection *connection, const char *method,
			     const char *path)
{
	const union MHD_ConnectionInfo *headers =
		MHD_get_connection_info(connection->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	struct pg_http *http = connection->http;
	struct query_check check = { 0 };
	struct pg_error error = { "" };
	char allow[64];
	int rc;

	if (connection->surplus)
		return refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
			      "64 clients are connected already, try again", NULL);
	if (headers && headers->header_size > PG_HTTP_HEADERS_MAX)
		return refuse(connection, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE,
			      "the headers are larger than 16 KiB", NULL);
	rc = pg_http_route(http->routes, http->route_count, method, path, &connection->route,
			   &connection->args, allow, &error);
	if (rc == -EOPNOTSUPP)
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, error.text, allow);
	if (rc)
		return refuse(connection, MHD_HTTP_NOT_FOUND, error.text, NULL);
	check.route = connection->route;
	MHD_get_connection_values(connection->mhd, MHD_GET_ARGUMENT_KIND, check_query_key, &check);
	if (check.bad)
		return refuse(connection, MHD_HTTP_BAD_REQUEST, check.error.text, NULL);
	return announces_too_much(connection->mhd) ? refuse_body(connection) : MHD_YES;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *mhd, const char *path,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_bytes, void **state)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct pg_http_connection *connection = info ? info->socket_context : NULL;

	if (!connection)
		return MHD_NO;
	if (!*state) {
		*state = connection;
		return begin(connection, method, path);
	}
	if (*upload_bytes) {
		bool kept = keep_body(connection, upload, *upload_bytes);

		/* It may hold a secret, and the server's buffer is consumed with this call. */
		OPENSSL_cleanse((char *)upload, *upload_bytes);
		*upload_bytes = 0;
		return kept ? MHD_YES : MHD_NO;
	}
	if (connection->body_too_big)
		return refuse_body(connection);
	return dispatch(connection, method, path);
}

/* --- connections -------------------------------------------------------------------------------
 */

static void uncount(struct pg_http_connection *connection)
{
	pthread_mutex_lock(&connection->http->lock);
	if (connection->counted)
		connection->http->clients--;
	connection->counted = false;
	pthread_mutex_unlock(&connection->http->lock);
}

static void completed(void *context, struct MHD_Connection *mhd, void **state,
		      enum MHD_RequestTerminationCode why)
{
	struct pg_http_connection *connection = *state;

	if (!connection)
		return;
	wipe_body(connection);
	uncount(connection);
}

static void connected(struct pg_http *http, struct MHD_Connection *mhd, void **socket_context)
{
	struct pg_http_connection *connection = calloc(1, sizeof(*connection));

	*socket_context = connection;
	if (!connection)
		return;
	connection->http = http;
	connection->mhd = mhd;
	connection->fd =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	connection->since_ms = now_ms();
	pthread_mutex_lock(&http->lock);
	connection->surplus = http->clients >= PG_HTTP_CLIENTS_MAX;
	connection->counted = !connection->surplus;
	http->clients += connection->counted;
	connection->next = http->connections;
	connection->link = &http->connections;
	if (connection->next)
		connection->next->link = &connection->next;
	http->connections = connection;
	pthread_mutex_unlock(&http->lock);
}

static void disconnected(struct pg_http_connection *connection)
{
	struct pg_http *http = connection->http;

	uncount(connection);
	pthread_mutex_lock(&http->lock);
	*connection->link = connection->next;
	if (connection->next)
		connection->next->link = connection->link;
	pthread_mutex_unlock(&http->lock);
	wipe_body(connection);
	free(connection);
}

static void notify(void *context, struct MHD_Connection *mhd, void **socket_context,
		   enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		connected(context, mhd, socket_context);
	else if (*socket_context)
		disconnected(*socket_context);
}

/* libmicrohttpd times idleness alone: a client that drips bytes would stay for ever. */
static void *reap(void *context)
{
	struct pg_http *http = context;
	struct pg_http_connection *connection;
	struct timespec until;

	pthread_mutex_lock(&http->lock);
	while (!http->stopping) {
		uint64_t now = now_ms();

		for (connection = http->connections; connection; connection = connection->next)
			if (connection->phase != PHASE_ANSWERING &&
			    now - connection->since_ms > PG_HTTP_TIMEOUT_MS)
				shutdown(connection->fd, SHUT_RDWR);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += REAP_MS * 1000000l;
		until.tv_sec += until.tv_nsec / 1000000000l;
		until.tv_nsec %= 1000000000l;
		pthread_cond_timedwait(&http->wake, &http->lock, &until);
	}
	pthread_mutex_unlock(&http->lock);
	return NULL;
}

/* --- opening -----------------------------------------------------------------------------------
 */

static int listen_on(struct pg_http *http, const struct pg_http_options *options, int *ret_fd,
		     struct pg_error *error)
{
	int rc;

	if (!options->path)
		return pg_listen_tcp(options->listen, ret_fd, error);
	rc = pg_listen_unix(options->path, SOCK_STREAM, options->group, options->mode, ret_fd,
			    &http->warning, error);
	if (rc)
		return rc;
	strcpy(http->path, options->path);
	if (lstat(http->path, &http->made))
		memset(&http->made, 0, sizeof(http->made));
	return 0;
}

static struct MHD_Daemon *start_daemon(struct pg_http *http, int fd)
{
	unsigned int flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
			     MHD_USE_POLL | MHD_USE_ITC;

	return MHD_start_daemon(
		flags, 0, NULL, NULL, handle, http, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)(PG_HTTP_CLIENTS_MAX + CLIENTS_SPARE),
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)(PG_HTTP_TIMEOUT_MS / 1000),
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_PER_CLIENT,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION, notify, http,
		MHD_OPTION_NOTIFY_COMPLETED, completed, http, MHD_OPTION_END);
}

static void cleanup_http(struct pg_http **http)
{
	pg_http_close(*http);
}

int pg_http_open(const struct pg_http_options *options, struct pg_http **ret_http,
		 struct pg_error *error)
{
	PG_CLEANUP(cleanup_http) struct pg_http *http = calloc(1, sizeof(*http));
	PG_CLOSE int fd = -1;
	int rc;

	if (!http)
		return pg_error_set(error, -ENOMEM, "start the HTTP server: out of memory");
	pthread_mutex_init(&http->lock, NULL);
	pthread_cond_init(&http->wake, NULL);
	http->routes = options->routes;
	http->route_count = options->route_count;
	http->context = options->context;
	rc = listen_on(http, options, &fd, error);
	if (rc)
		return rc;
	if (pthread_create(&http->reaper, NULL, reap, http))
		return pg_error_set(error, -EAGAIN, "start the HTTP server: no more threads");
	http->reaper_runs = true;
	http->daemon = start_daemon(http, fd);
	if (!http->daemon)
		return pg_error_set(error, -EIO, "start the HTTP server: libmicrohttpd failed");
	TAKE_FD(fd);
	*ret_http = TAKE_PTR(http);
	return 0;
}

const char *pg_http_warning(const struct pg_http *http)
{
	return http->warning.text;
}

void pg_http_close(struct pg_http *http)
{
	if (!http)
		return;
	pthread_mutex_lock(&http->lock);
	http->stopping = true;
	pthread_cond_broadcast(&http->wake);
	pthread_mutex_unlock(&http->lock);
	if (http->path[0])
		pg_listen_unlink(http->path, &http->made);
	if (http->daemon)
		MHD_stop_daemon(http->daemon);
	if (http->reaper_runs)
		pthread_join(http->reaper, NULL);
	pthread_cond_destroy(&http->wake);
	pthread_mutex_destroy(&http->lock);
	free(http);
}
