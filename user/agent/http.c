// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "cleanup.h"
#include "http_internal.h"
#include "http_listen.h"

#define CLIENTS_SPARE	  8 /* connections that are accepted only to be told 503 */
#define MEMORY_PER_CLIENT (64u << 10)
#define REAP_MS		  250

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void pg_http_enter_phase(struct pg_http_connection *connection, enum pg_http_phase phase)
{
	pthread_mutex_lock(&connection->http->lock);
	connection->phase = phase;
	connection->since_ms = now_ms();
	pthread_mutex_unlock(&connection->http->lock);
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
	pg_http_wipe_body(connection);
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
	pg_http_wipe_body(connection);
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
			if (connection->phase != PG_HTTP_ANSWERING &&
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
		flags, 0, NULL, NULL, pg_http_take, http, MHD_OPTION_LISTEN_SOCKET, fd,
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
