// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "tcp_gateway_internal.h"

#define FIRST_BYTES 512

/* What a connection with so much room for output takes of the memory that all share. */
static uint64_t shared_part(const struct pg_tcp_connection *connection, uint64_t out_capacity)
{
	uint64_t holds = out_capacity + connection->rest_bytes + connection->parser.capacity +
			 (connection->held_copy ? connection->held.bytes : 0);

	return holds > PG_TCP_OWN_BYTES ? holds - PG_TCP_OWN_BYTES : 0;
}

bool pg_tcp_output_account(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	uint32_t part = shared_part(connection, connection->out_capacity);

	gateway->buffered += part;
	gateway->buffered -= connection->counted;
	connection->counted = part;
	return !part || gateway->buffered <= gateway->buffer_bytes;
}

/* The room that output takes with so much more of it: growing by doubling. */
static uint64_t capacity_with(const struct pg_tcp_connection *connection, uint64_t count)
{
	uint64_t capacity = connection->out_capacity ? connection->out_capacity : FIRST_BYTES;

	while (capacity < pg_tcp_output_waiting(connection) + count)
		capacity *= 2;
	return capacity;
}

bool pg_tcp_output_fits(const struct pg_tcp_gateway *gateway,
			const struct pg_tcp_connection *connection, uint64_t count)
{
	uint64_t part = shared_part(connection, capacity_with(connection, count));

	return !part || gateway->buffered - connection->counted + part <= gateway->buffer_bytes;
}

/* Moves what waits to the front, and makes room behind it. */
static bool make_room(struct pg_tcp_connection *connection, uint32_t count)
{
	uint32_t waiting = pg_tcp_output_waiting(connection);
	uint64_t capacity = capacity_with(connection, count);
	uint8_t *larger;

	if (connection->out_at && waiting)
		memmove(connection->out, connection->out + connection->out_at, waiting);
	connection->out_at = 0;
	connection->out_bytes = waiting;
	if (capacity == connection->out_capacity)
		return true;
	if (capacity > INT32_MAX)
		return false;
	larger = realloc(connection->out, capacity);
	if (!larger)
		return false;
	connection->out = larger;
	connection->out_capacity = capacity;
	return true;
}

bool pg_tcp_output_put(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
		       const void *bytes, uint32_t count)
{
	if (!count)
		return true;
	if (connection->out_capacity - connection->out_bytes < count &&
	    !make_room(connection, count))
		return false;
	memcpy(connection->out + connection->out_bytes, bytes, count);
	connection->out_bytes += count;
	return pg_tcp_output_account(gateway, connection);
}

bool pg_tcp_output_flush(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	ssize_t written;

	while (pg_tcp_output_waiting(connection)) {
		written = pg_tcp_stream_write(&connection->stream,
					      connection->out + connection->out_at,
					      pg_tcp_output_waiting(connection));
		if (written == PG_TCP_WAIT)
			return true;
		if (written < 0)
			return false;
		connection->out_at += written;
		connection->active_ms = gateway->now_ms;
	}
	free(connection->out);
	connection->out = NULL;
	connection->out_at = connection->out_bytes = connection->out_capacity = 0;
	pg_tcp_output_account(gateway, connection);
	return true;
}
