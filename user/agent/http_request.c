// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>

#include "http_internal.h"

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

void pg_http_wipe_body(struct pg_http_connection *connection)
{
	if (connection->body)
		OPENSSL_cleanse(connection->body, connection->body_room);
	free(connection->body);
	connection->body = NULL;
	connection->body_bytes = connection->body_room = 0;
}

static enum MHD_Result dispatch(struct pg_http_connection *connection, const char *method,
				const char *path)
{
	const char *type = MHD_lookup_connection_value(connection->mhd, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_CONTENT_TYPE);
	const char *accept = MHD_lookup_connection_value(connection->mhd, MHD_HEADER_KIND,
							 MHD_HTTP_HEADER_ACCEPT);
	struct pg_http_answer answer = { .status = MHD_HTTP_OK,
					 .content_type = "application/json" };
	struct pg_http_request request = {
		.method = method,
		.path = path,
		.content_type = type ? type : "",
		.accept = accept ? accept : "",
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
	pg_http_enter_phase(connection, PG_HTTP_ANSWERING);
	/* The idle clock must not run while a handler works: stop it, start it anew. */
	MHD_set_connection_option(connection->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	rc = connection->route->handle(connection->http->context, &request, &answer, &error);
	MHD_set_connection_option(connection->mhd, MHD_CONNECTION_OPTION_TIMEOUT,
				  PG_HTTP_TIMEOUT_MS / 1000u);
	pg_http_wipe_body(connection);
	return rc ? pg_http_refuse(connection, pg_http_status(rc), error.text, NULL)
		  : pg_http_send(connection, &answer);
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
	return pg_http_refuse(connection, MHD_HTTP_CONTENT_TOO_LARGE,
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
		return pg_http_refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
				      "64 clients are connected already, try again", NULL);
	if (headers && headers->header_size > PG_HTTP_HEADERS_MAX)
		return pg_http_refuse(connection, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE,
				      "the headers are larger than 16 KiB", NULL);
	rc = pg_http_route(http->routes, http->route_count, method, path, &connection->route,
			   &connection->args, allow, &error);
	if (rc == -EOPNOTSUPP)
		return pg_http_refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, error.text, allow);
	if (rc)
		return pg_http_refuse(connection, MHD_HTTP_NOT_FOUND, error.text, NULL);
	check.route = connection->route;
	MHD_get_connection_values(connection->mhd, MHD_GET_ARGUMENT_KIND, check_query_key, &check);
	if (check.bad)
		return pg_http_refuse(connection, MHD_HTTP_BAD_REQUEST, check.error.text, NULL);
	return announces_too_much(connection->mhd) ? refuse_body(connection) : MHD_YES;
}

enum MHD_Result pg_http_take(void *context, struct MHD_Connection *mhd, const char *path,
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
