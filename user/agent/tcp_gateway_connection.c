// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app_answers.h"
#include "cleanup.h"
#include "log.h"
#include "packgate/bytes.h"
#include "tcp_gateway_internal.h"

#define READ_TURNS	4 /* reads of one connection before the others have their turn */
#define LOGS_PER_SECOND 5
#define SLOT_BITS	20
#define SLOT_MASK	((1u << SLOT_BITS) - 1)

static const struct pg_view_endpoint *view_of(const struct pg_tcp_gateway *gateway,
					      const struct pg_tcp_connection *connection)
{
	return &gateway->delivery.view->endpoints[connection->entrance->endpoint];
}

/* --- records -----------------------------------------------------------------------------------
 */

static int put_record(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
		      uint32_t place, enum pg_app_kind kind, uint32_t message, const void *bytes,
		      uint32_t length)
{
	struct pg_app_record record = {
		.kind = kind,
		.transport = PG_APP_TCP,
		.session = pg_be64(connection->handle),
		.message = pg_be32(message),
	};

	return pg_delivery_put(&gateway->delivery, connection->entrance->endpoint, place, &record,
			       bytes, length);
}

/* The application that heard of the connection is there still. */
static bool knows(struct pg_tcp_gateway *gateway, const struct pg_tcp_connection *connection,
		  uint32_t place)
{
	struct pg_app_out *out =
		pg_delivery_out(&gateway->delivery, connection->entrance->endpoint, place);

	return out && connection->announced[place] == (uint32_t)out->connection->id;
}

/*
 * Every application of the endpoint hears of a connection before its first message, and of one
 * with TLS not before its handshake is done.
 */
static void announce(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	char text[PG_PEER_TEXT];

	if (connection->stream.handshaking ||
	    view_of(gateway, connection)->deliver != PG_DELIVER_APP)
		return;
	for (uint32_t place = 0; place <= gateway->delivery.view->route_count; place++) {
		struct pg_app_out *out =
			pg_delivery_out(&gateway->delivery, connection->entrance->endpoint, place);

		if (!out || knows(gateway, connection, place))
			continue;
		pg_address_print_peer(&connection->peer, text);
		if (!put_record(gateway, connection, place, PG_APP_SESSION_OPEN, 0, text,
				strlen(text)))
			connection->announced[place] = out->connection->id;
	}
}

/* Tells those that heard of the connection. */
static bool tell(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
		 enum pg_app_kind kind, const void *bytes, uint32_t length)
{
	bool any = false;

	for (uint32_t place = 0; place <= gateway->delivery.view->route_count; place++) {
		if (!knows(gateway, connection, place))
			continue;
		any = true;
		if (put_record(gateway, connection, place, kind, 0, bytes, length))
			gateway->counts.app_events_lost++;
	}
	return any;
}

/* --- life --------------------------------------------------------------------------------------
 */

static void watch(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	const struct pg_tcp_stream *stream = &connection->stream;
	struct epoll_event event = { .data.ptr = connection };
	bool full = pg_tcp_output_full(connection);

	if (connection->finished ||
	    (!connection->holding && !connection->rest && !connection->ended &&
	     !connection->leaving && !full && !(stream->handshaking && stream->wants_write)))
		event.events |= EPOLLIN;
	if (pg_tcp_output_waiting(connection) || stream->wants_write)
		event.events |= EPOLLOUT;
	if (event.events == connection->events)
		return;
	connection->events = event.events;
	epoll_ctl(gateway->epoll_fd, EPOLL_CTL_MOD, stream->fd, &event);
}

static uint64_t deadline(const struct pg_tcp_connection *connection)
{
	uint64_t idle = connection->entrance->config.idle_seconds * 1000ull;

	if (connection->stream.handshaking && PG_TCP_HANDSHAKE_MS < idle)
		idle = PG_TCP_HANDSHAKE_MS;
	if ((connection->ended || connection->finished) && PG_TCP_LINGER_MS < idle)
		idle = PG_TCP_LINGER_MS;
	return connection->active_ms + idle;
}

static int grow_slots(struct pg_tcp_gateway *gateway)
{
	uint32_t count = gateway->slot_count ? gateway->slot_count * 2 : 64;
	struct pg_tcp_connection **slots;
	uint32_t *unused;

	if (count > SLOT_MASK + 1)
		return -ENOSPC;
	slots = realloc(gateway->slots, count * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	gateway->slots = slots;
	unused = realloc(gateway->unused, count * sizeof(*unused));
	if (!unused)
		return -ENOMEM;
	gateway->unused = unused;
	for (uint32_t i = count; i-- > gateway->slot_count;) {
		slots[i] = NULL;
		unused[gateway->unused_count++] = i;
	}
	gateway->slot_count = count;
	return 0;
}

static int take_slot(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	uint32_t slot;
	int err;

	if (!gateway->unused_count) {
		err = grow_slots(gateway);
		if (err)
			return err;
	}
	slot = gateway->unused[--gateway->unused_count];
	gateway->slots[slot] = connection;
	connection->handle = gateway->serial++ << SLOT_BITS | slot;
	return 0;
}

static int start_tls(struct pg_tcp_connection *connection)
{
	struct pg_tcp_stream *stream = &connection->stream;

	if (!connection->entrance->tls)
		return 0;
	stream->tls = SSL_new(connection->entrance->tls);
	if (!stream->tls || SSL_set_fd(stream->tls, stream->fd) != 1)
		return -ENOMEM;
	SSL_set_accept_state(stream->tls);
	stream->handshaking = true;
	return 0;
}

static int begin(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };
	int err = start_tls(connection);

	if (!err)
		err = take_slot(gateway, connection);
	if (err)
		return err;
	connection->events = EPOLLIN;
	if (!epoll_ctl(gateway->epoll_fd, EPOLL_CTL_ADD, connection->stream.fd, &event))
		return 0;
	gateway->slots[connection->handle & SLOT_MASK] = NULL;
	gateway->unused[gateway->unused_count++] = connection->handle & SLOT_MASK;
	return -ENOMEM;
}

int pg_tcp_connection_add(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *entrance, int fd,
			  const struct pg_peer *peer)
{
	struct pg_tcp_connection *connection = calloc(1, sizeof(*connection));
	int err;

	if (!connection) {
		close(fd);
		return -ENOMEM;
	}
	connection->stream.fd = fd;
	connection->entrance = entrance;
	connection->peer = *peer;
	connection->active_ms = gateway->now_ms;
	pg_message_parser_init(&connection->parser, gateway->delivery.view->message_bytes);
	err = begin(gateway, connection);
	if (err) {
		pg_tcp_stream_close(&connection->stream);
		free(connection);
		return err;
	}
	connection->at = &gateway->connections;
	connection->next = gateway->connections;
	if (connection->next)
		connection->next->at = &connection->next;
	gateway->connections = connection;
	entrance->status.connections++;
	pg_timer_set(&gateway->wheel, &connection->timer, deadline(connection));
	announce(gateway, connection);
	return 0;
}

static void unstall(struct pg_tcp_connection *connection)
{
	if (!connection->stalled_at)
		return;
	*connection->stalled_at = connection->stalled_next;
	if (connection->stalled_next)
		connection->stalled_next->stalled_at = connection->stalled_at;
	connection->stalled_at = NULL;
}

static void stall(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	connection->entrance->status.stalls++;
	if (connection->stalled_at)
		return;
	connection->stalled_at = &gateway->stalled;
	connection->stalled_next = gateway->stalled;
	if (connection->stalled_next)
		connection->stalled_next->stalled_at = &connection->stalled_next;
	gateway->stalled = connection;
}

static void free_buffers(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	pg_message_parser_done(&connection->parser);
	free(connection->held_copy);
	free(connection->rest);
	free(connection->out);
	connection->held_copy = connection->rest = connection->out = NULL;
	connection->rest_bytes = connection->out_capacity = 0;
	connection->out_at = connection->out_bytes = 0;
	pg_tcp_output_account(gateway, connection);
}

static uint8_t goaway_of(enum pg_tcp_close why)
{
	switch (why) {
	case PG_TCP_CLOSE_CLIENT:
	case PG_TCP_CLOSE_APPLICATION:
	case PG_TCP_CLOSE_REMOVED:
		return PG_GOAWAY_NORMAL;
	case PG_TCP_CLOSE_IDLE:
	case PG_TCP_CLOSE_STALLED:
		return PG_GOAWAY_EXPIRED;
	default:
		return PG_GOAWAY_ERROR;
	}
}

void pg_tcp_connection_close(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
			     enum pg_tcp_close why)
{
	uint32_t slot = connection->handle & SLOT_MASK;
	uint8_t code = goaway_of(why);

	if (!connection->at)
		return;
	if (!connection->stream.handshaking)
		pg_tcp_output_flush(gateway, connection);
	tell(gateway, connection, PG_APP_SESSION_CLOSED, &code, 1);
	connection->entrance->status.closed[why]++;
	connection->entrance->status.connections--;
	pg_tcp_sources_give(gateway->sources, connection->entrance - gateway->entrances,
			    &connection->peer.address);
	pg_timer_cancel(&gateway->wheel, &connection->timer);
	unstall(connection);
	pg_tcp_stream_close(&connection->stream);
	free_buffers(gateway, connection);
	gateway->slots[slot] = NULL;
	gateway->unused[gateway->unused_count++] = slot;
	*connection->at = connection->next;
	if (connection->next)
		connection->next->at = connection->at;
	connection->at = NULL;
	/* this turn's events may name it still */
	connection->next = gateway->dead;
	gateway->dead = connection;
}

bool pg_tcp_may_log(struct pg_tcp_gateway *gateway, char ret_others[PG_TCP_OTHERS_TEXT])
{
	if (gateway->log_second != gateway->now_ms / 1000) {
		gateway->log_second = gateway->now_ms / 1000;
		gateway->logged = 0;
	}
	if (gateway->logged++ >= LOGS_PER_SECOND) {
		gateway->unlogged++;
		return false;
	}
	ret_others[0] = '\0';
	if (gateway->unlogged)
		snprintf(ret_others, PG_TCP_OTHERS_TEXT, "; %u others were not logged",
			 gateway->unlogged);
	gateway->unlogged = 0;
	return true;
}

static void log_malformed(struct pg_tcp_gateway *gateway,
			  const struct pg_tcp_connection *connection, int reason)
{
	char text[PG_PEER_TEXT], others[PG_TCP_OTHERS_TEXT];

	if (pg_tcp_may_log(gateway, others))
		pg_warning_log("entrance %s: connection from %s closed: %s: %s%s",
			       connection->entrance->status.name,
			       pg_address_print_peer(&connection->peer, text),
			       pg_message_malformed_label(reason),
			       pg_message_malformed_help(reason), others);
}

static void close_malformed(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
			    int reason)
{
	bool memory = reason == PG_MALFORMED_MEMORY;

	if (!memory)
		log_malformed(gateway, connection, reason);
	connection->entrance->status.malformed[reason]++;
	pg_tcp_connection_close(gateway, connection,
				memory ? PG_TCP_CLOSE_MEMORY : PG_TCP_CLOSE_MALFORMED);
}

/* --- messages ----------------------------------------------------------------------------------
 */

/* Appends a whole message to the output. */
static bool put_message(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
			uint32_t id, const uint8_t *body, uint32_t bytes)
{
	uint8_t header[PG_MESSAGE_HEADER_MAX];
	int count = pg_message_write_header(header, id, bytes);

	return pg_tcp_output_put(gateway, connection, header, count) &&
	       pg_tcp_output_put(gateway, connection, body, bytes);
}

/* 0, -EAGAIN when its application cannot take it now, -ENOMEM when the output cannot grow. */
static int take_message(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
			const struct pg_message_view *message)
{
	const struct pg_view_endpoint *view = view_of(gateway, connection);
	uint16_t endpoint = connection->entrance->endpoint;
	uint32_t place;

	if (message->id == PG_MESSAGE_PING) {
		gateway->counts.heartbeats_answered++;
		return put_message(gateway, connection, PG_MESSAGE_PONG, NULL, 0) ? 0 : -ENOMEM;
	}
	if (message->id == PG_MESSAGE_PONG) {
		gateway->counts.answers_dropped++;
		return 0;
	}
	if (view->deliver == PG_DELIVER_ECHO)
		return put_message(gateway, connection, message->id, message->body, message->bytes)
			       ? 0
			       : -ENOMEM;
	if (view->deliver != PG_DELIVER_APP)
		return 0;
	if (pg_delivery_ready(&gateway->delivery, endpoint, message->bytes))
		return -EAGAIN;
	announce(gateway, connection);
	place = pg_delivery_place(&gateway->delivery, endpoint, message->id);
	if (put_record(gateway, connection, place, PG_APP_MESSAGE, message->id, message->body,
		       message->bytes))
		return -EAGAIN;
	gateway->counts.messages_delivered++;
	gateway->counts.bytes_delivered += message->bytes;
	return 0;
}

/* Keeps a message that waits for its application; false without memory. */
static bool hold(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
		 const struct pg_message_view *message)
{
	connection->held = *message;
	if (!connection->parser.capacity) {
		connection->held_copy = malloc(message->bytes ? message->bytes : 1);
		if (!connection->held_copy)
			return false;
		memcpy(connection->held_copy, message->body, message->bytes);
		connection->held.body = connection->held_copy;
	}
	connection->holding = true;
	stall(gateway, connection);
	return true;
}

/* Keeps bytes that cannot be looked at now; false without memory. */
static bool keep_rest(struct pg_tcp_connection *connection, const uint8_t *data, uint32_t bytes)
{
	if (!bytes)
		return true;
	connection->rest = malloc(bytes);
	if (!connection->rest)
		return false;
	memcpy(connection->rest, data, bytes);
	connection->rest_bytes = bytes;
	return true;
}

/*
 * Reads messages until the bytes end, an application cannot take one, or the output is full; what
 * is left is kept. False when the connection was closed.
 */
static bool feed(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
		 const uint8_t *data, size_t bytes)
{
	struct pg_message_view message;
	size_t at = 0, consumed;
	bool good = true;
	int result, err = 0;

	while (at < bytes && good && !connection->holding && !pg_tcp_output_full(connection)) {
		result = pg_message_parse(&connection->parser, data + at, bytes - at, &consumed,
					  &message);
		if (result < 0) {
			close_malformed(gateway, connection, -result);
			return false;
		}
		at += consumed;
		if (!result)
			break;
		err = take_message(gateway, connection, &message);
		if (err == -EAGAIN)
			good = hold(gateway, connection, &message);
		else
			good = !err;
	}
	if (good)
		good = keep_rest(connection, data + at, bytes - at);
	if (good && pg_tcp_output_account(gateway, connection))
		return true;
	pg_tcp_connection_close(gateway, connection, PG_TCP_CLOSE_MEMORY);
	return false;
}

/* The client sends nothing more: what it asked for is still sent. */
static bool end(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	if (pg_message_parser_inside(&connection->parser)) {
		close_malformed(gateway, connection, PG_MALFORMED_TRUNCATED);
		return false;
	}
	connection->ended = true;
	connection->active_ms = gateway->now_ms;
	if (!tell(gateway, connection, PG_APP_STREAM_CLOSED, NULL, 0)) {
		connection->leaving = true;
		connection->leaving_why = PG_TCP_CLOSE_CLIENT;
	}
	pg_timer_set(&gateway->wheel, &connection->timer, deadline(connection));
	return true;
}

/* Reads what the socket has, in turns; false when the connection was closed. */
static bool read_socket(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	ssize_t count;

	for (int turn = 0; turn < READ_TURNS || pg_tcp_stream_pending(&connection->stream);
	     turn++) {
		if (connection->holding || connection->rest || connection->ended ||
		    connection->leaving || pg_tcp_output_full(connection))
			return true;
		count = pg_tcp_stream_read(&connection->stream, gateway->read_buffer,
					   sizeof(gateway->read_buffer));
		if (count == PG_TCP_WAIT)
			return true;
		if (count < 0) {
			pg_tcp_connection_close(gateway, connection, PG_TCP_CLOSE_RESET);
			return false;
		}
		if (!count)
			return end(gateway, connection);
		connection->active_ms = gateway->now_ms;
		if (!feed(gateway, connection, gateway->read_buffer, count))
			return false;
	}
	return true;
}

/* Looks again at what was kept; false when the connection was closed. */
static bool take_kept(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	PG_FREE uint8_t *rest = NULL;
	uint32_t bytes;
	int err;

	if (connection->holding) {
		err = take_message(gateway, connection, &connection->held);
		if (err == -EAGAIN)
			return true;
		if (err) {
			pg_tcp_connection_close(gateway, connection, PG_TCP_CLOSE_MEMORY);
			return false;
		}
		connection->holding = false;
		connection->active_ms = gateway->now_ms;
		free(connection->held_copy);
		connection->held_copy = NULL;
		unstall(connection);
	}
	if (!connection->rest || pg_tcp_output_full(connection))
		return true;
	rest = TAKE_PTR(connection->rest);
	bytes = connection->rest_bytes;
	connection->rest_bytes = 0;
	return feed(gateway, connection, rest, bytes);
}

/*
 * The output is with the kernel. A socket that is closed with bytes unread resets the connection
 * and takes back what it has not sent, so a client that may still send ends its direction first.
 */
static bool finish(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	if (connection->ended || connection->stream.handshaking) {
		pg_tcp_connection_close(gateway, connection, connection->leaving_why);
		return false;
	}
	connection->finished = true;
	connection->holding = false;
	unstall(connection);
	free_buffers(gateway, connection);
	pg_tcp_stream_finish(&connection->stream);
	connection->active_ms = gateway->now_ms;
	pg_timer_set(&gateway->wheel, &connection->timer, deadline(connection));
	return true;
}

/* Sends what gathered and looks whether the connection is done; false when it was closed. */
static bool settle(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	if (!pg_tcp_output_flush(gateway, connection)) {
		pg_tcp_connection_close(gateway, connection, PG_TCP_CLOSE_RESET);
		return false;
	}
	if (connection->leaving && !connection->finished && !pg_tcp_output_waiting(connection) &&
	    !finish(gateway, connection))
		return false;
	watch(gateway, connection);
	return true;
}

/*
 * Looks at what was kept and sends what comes of it, until nothing is kept or it has to wait for
 * an event: a message held by its application, or full output. False when it was closed.
 */
static bool drain_kept(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	do {
		if (!take_kept(gateway, connection) || !settle(gateway, connection))
			return false;
	} while (connection->rest && !connection->holding && !pg_tcp_output_full(connection));
	return true;
}

/* Goes on with kept bytes and the socket until nothing moves or it is the others' turn. */
static void go_on(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	if (drain_kept(gateway, connection) && read_socket(gateway, connection) &&
	    settle(gateway, connection))
		drain_kept(gateway, connection);
}

void pg_tcp_connection_event(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection,
			     uint32_t events)
{
	int result;

	if (!connection->at)
		return;
	if (connection->stream.handshaking) {
		result = pg_tcp_stream_handshake(&connection->stream);
		if (result == PG_TCP_BROKEN)
			pg_tcp_connection_close(gateway, connection, PG_TCP_CLOSE_TLS);
		if (result == PG_TCP_WAIT)
			watch(gateway, connection);
		if (result)
			return;
		connection->active_ms = gateway->now_ms;
		pg_timer_set(&gateway->wheel, &connection->timer, deadline(connection));
		announce(gateway, connection);
	}
	if (connection->finished) {
		if (!pg_tcp_stream_discard(&connection->stream, gateway->read_buffer,
					   sizeof(gateway->read_buffer)))
			pg_tcp_connection_close(gateway, connection, connection->leaving_why);
		return;
	}
	/* with reading paused nothing else would say so */
	if (events & (EPOLLERR | EPOLLHUP) && !(connection->events & EPOLLIN)) {
		pg_tcp_connection_close(gateway, connection, PG_TCP_CLOSE_RESET);
		return;
	}
	if (settle(gateway, connection))
		go_on(gateway, connection);
}

void pg_tcp_connection_timer(struct pg_tcp_gateway *gateway, struct pg_tcp_connection *connection)
{
	uint64_t due = deadline(connection);
	enum pg_tcp_close why = PG_TCP_CLOSE_IDLE;

	if (due > gateway->now_ms) {
		pg_timer_set(&gateway->wheel, &connection->timer, due);
		return;
	}
	if (connection->stream.handshaking)
		why = PG_TCP_CLOSE_TLS;
	else if (connection->finished)
		why = connection->leaving_why;
	else if (connection->holding)
		why = PG_TCP_CLOSE_STALLED;
	else if (connection->ended)
		why = PG_TCP_CLOSE_CLIENT;
	pg_tcp_connection_close(gateway, connection, why);
}

void pg_tcp_connections_resume(struct pg_tcp_gateway *gateway)
{
	struct pg_tcp_connection *connection, *next;

	for (connection = gateway->stalled; connection; connection = next) {
		next = connection->stalled_next;
		go_on(gateway, connection);
	}
}

/* --- from applications -------------------------------------------------------------------------
 */

static void refuse(struct pg_tcp_gateway *gateway, const struct pg_tcp_connection *connection,
		   const struct pg_message *message, const char *why)
{
	uint32_t endpoint = connection ? view_of(gateway, connection)->id : 0;

	if (pg_app_refuse(gateway->refusals, message, endpoint, why))
		gateway->counts.app_events_lost++;
}

static bool serves(struct pg_tcp_gateway *gateway, const struct pg_tcp_connection *connection,
		   uint64_t connection_id)
{
	for (uint32_t place = 0; place <= gateway->delivery.view->route_count; place++) {
		struct pg_app_out *out =
			pg_delivery_out(&gateway->delivery, connection->entrance->endpoint, place);

		if (out && out->connection->id == connection_id)
			return true;
	}
	return false;
}

/* NULL, or why it is refused. */
static const char *send_message(struct pg_tcp_gateway *gateway,
				struct pg_tcp_connection *connection,
				const struct pg_message *message)
{
	uint32_t id = message->app.message, count;
	bool good;

	if (connection->leaving)
		return "message refused: the connection is closing";
	if (pg_tcp_output_waiting(connection) >= PG_TCP_OUT_BYTES)
		return "message refused: no room to send now, try again";
	if (!pg_tcp_output_fits(gateway, connection,
				(uint64_t)message->bytes + PG_MESSAGE_HEADER_MAX))
		return "message refused: tcp_buffer_bytes is reached, try again";
	if (id && !pg_message_size(id, message->bytes))
		return "message refused: a message id is at most 2147483647";
	if (!id && pg_message_check(message->data, message->bytes,
				    gateway->delivery.view->message_bytes, &count))
		return "message refused: with message id 0 the bytes must be whole messages";
	good = id ? put_message(gateway, connection, id, message->data, message->bytes)
		  : pg_tcp_output_put(gateway, connection, message->data, message->bytes);
	if (!good) {
		pg_tcp_connection_close(gateway, connection, PG_TCP_CLOSE_MEMORY);
		return NULL;
	}
	if (connection->ended)
		connection->active_ms = gateway->now_ms;
	/* what it takes may let kept bytes go on */
	go_on(gateway, connection);
	return NULL;
}

void pg_tcp_connection_record(struct pg_tcp_gateway *gateway, const struct pg_message *message)
{
	uint32_t slot = message->app.handle & SLOT_MASK;
	struct pg_tcp_connection *connection =
		slot < gateway->slot_count ? gateway->slots[slot] : NULL;
	const char *why = NULL;

	if (!connection || connection->handle != message->app.handle ||
	    connection->stream.handshaking ||
	    !serves(gateway, connection, message->app.connection)) {
		refuse(gateway, NULL, message, "record refused: there is no such session");
		return;
	}
	switch (message->app.kind) {
	case PG_APP_MESSAGE:
		why = message->app.stream ? "message refused: a TCP connection has no streams"
					  : send_message(gateway, connection, message);
		break;
	case PG_APP_SESSION_CLOSED:
		connection->leaving = true;
		connection->leaving_why = PG_TCP_CLOSE_APPLICATION;
		settle(gateway, connection);
		break;
	default:
		why = "record refused: a TCP connection has no streams";
	}
	if (why)
		refuse(gateway, connection, message, why);
}
