// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app_answers.h"
#include "app_server.h"
#include "cleanup.h"
#include "http_listen.h"
#include "log.h"
#include "packgate/bytes.h"

#define SEND_BUFFER_BYTES (4 << 20)
#define RETRY_MS	  2 /* a record that found a worker's inbox full is tried again */
#define HELLO_MAX	  8192

struct client {
	struct pg_app_connection connection;
	struct pg_app_answers answers;
	bool used, serving;
	uint32_t bytes, at; /* of the datagram that is not done with */
	uint8_t *datagram;
	struct pg_app_record begun; /* the message whose first parts are gathered */
	uint8_t *gathered;
	uint32_t gathered_bytes;
	bool gathering,
		skipping; /* skipping: it was refused, and its other parts are passed over */
};

struct listener {
	char path[PG_CONFIG_SOCKET_MAX];
	struct stat made; /* the socket's file */
	int fd;
};

struct pg_app_server {
	struct pg_app_handlers handlers;
	struct listener listeners[PG_APP_PLACES];
	uint32_t listener_count;
	struct pg_inbox *refusals;
	int stop_fd;
	pthread_t thread;
	bool started;
	uint64_t next_id;
	struct client clients[PG_APPS_MAX];
};

static void reply(struct client *client, enum pg_app_kind kind,
		  const struct pg_app_record_in *record, const char *text)
{
	struct pg_app_record header = {
		.kind = kind,
		.transport = record->transport,
		.endpoint = pg_be32(record->endpoint),
		.session = pg_be64(record->session),
		.stream = pg_be32(record->stream),
		.message = pg_be32(record->message),
	};

	pg_app_answers_put(&client->answers, &header, text);
}

static void refuse(struct client *client, const struct pg_app_record_in *record, const char *why)
{
	reply(client, PG_APP_ERROR, record, why);
}

static bool answers_wait(const struct client *client)
{
	return pg_app_answers_wait(&client->answers);
}

/* Records may follow the answer to hello. */
static void note_welcome(struct client *client)
{
	if (client->serving && !answers_wait(client))
		atomic_store(&client->connection.welcomed, true);
}

static void take_hello(struct pg_app_server *server, struct client *client,
		       const struct pg_app_record_in *record)
{
	char names[HELLO_MAX], text[HELLO_MAX];

	if (client->serving) {
		refuse(client, record, "hello refused: it was said before");
		return;
	}
	if (record->length >= sizeof(names) || memchr(record->bytes, 0, record->length)) {
		refuse(client, record, "hello refused: the names are too long, or not text");
		return;
	}
	memcpy(names, record->bytes, record->length);
	names[record->length] = '\0';
	if (server->handlers.hello(server->handlers.context, &client->connection, names, text,
				   sizeof(text))) {
		refuse(client, record, text);
		return;
	}
	client->serving = true;
	reply(client, PG_APP_HELLO, &(struct pg_app_record_in){ 0 }, text);
	note_welcome(client);
}

static struct pg_app_record_in record_in(const struct pg_app_record *header)
{
	return (struct pg_app_record_in){
		.kind = header->kind,
		.transport = header->transport,
		.endpoint = pg_be32(header->endpoint),
		.session = pg_be64(header->session),
		.stream = pg_be32(header->stream),
		.message = pg_be32(header->message),
		.length = pg_be32(header->length),
	};
}

/* Refuses the message of which the first parts came. */
static void refuse_begun(struct client *client, const char *why)
{
	struct pg_app_record_in begun = record_in(&client->begun);

	refuse(client, &begun, why);
}

static void forget_parts(struct client *client)
{
	free(client->gathered);
	client->gathered = NULL;
	client->gathered_bytes = 0;
	client->gathering = client->skipping = false;
}

/* Whether a record goes on with the message that was begun. */
static bool goes_on(const struct client *client, const struct pg_app_record *header)
{
	const struct pg_app_record *begun = &client->begun;

	return header->kind == begun->kind && header->transport == begun->transport &&
	       header->endpoint == begun->endpoint && header->session == begun->session &&
	       header->stream == begun->stream && header->message == begun->message;
}

/*
 * Puts the parts that came and this one together. The part is not counted as gathered yet: the
 * record may have to be tried again. NULL, or why it is refused.
 */
static const char *join(struct client *client, struct pg_app_record_in *record)
{
	uint64_t bytes = (uint64_t)client->gathered_bytes + record->length;
	uint8_t *larger;

	if (bytes > PG_APP_MESSAGE_MAX)
		return "message refused: longer than 16777216 bytes";
	larger = realloc(client->gathered, bytes ? bytes : 1);
	if (!larger)
		return "message refused: out of memory";
	client->gathered = larger;
	if (record->length)
		memcpy(larger + client->gathered_bytes, record->bytes, record->length);
	record->bytes = larger;
	record->length = bytes;
	return NULL;
}

/*
 * A record that PG_APP_MORE concerns. 1 = it is whole now, and *record is all of it; 0 = it was
 * taken, or passed over.
 */
static int gather(struct client *client, const struct pg_app_record *header,
		  struct pg_app_record_in *record)
{
	bool more = pg_be16(header->flags) & PG_APP_MORE;
	const char *why = NULL;

	if (client->gathering && !goes_on(client, header)) {
		if (!client->skipping)
			refuse_begun(client, "message refused: its other parts did not follow");
		forget_parts(client);
	}
	if (!client->gathering && !more)
		return 1;
	client->gathering = true;
	client->begun = *header;
	if (!client->skipping) {
		why = header->kind == PG_APP_MESSAGE ? join(client, record)
						     : "record refused: only messages go on";
		if (why)
			refuse(client, record, why);
		client->skipping = why != NULL;
	}
	if (more) {
		client->gathered_bytes = record->length;
		return 0;
	}
	if (client->skipping) {
		forget_parts(client);
		return 0;
	}
	return 1;
}

/* 0, or -EAGAIN when the record must be tried again. */
static int take_record(struct pg_app_server *server, struct client *client,
		       const struct pg_app_record_in *record)
{
	const char *why = "record refused";
	int err;

	if (record->kind == PG_APP_HELLO) {
		take_hello(server, client, record);
		return 0;
	}
	if (record->kind > PG_APP_STREAM_CLOSED || record->kind == PG_APP_SESSION_OPEN)
		why = "record refused: an application sends hello, message, session closed, "
		      "stream open and stream closed";
	else if (!client->serving)
		why = "record refused: say hello first";
	else if (record->transport > PG_APP_TCP)
		why = "record refused: the transport is 0 (UDP) or 1 (TCP)";
	else {
		err = server->handlers.record(server->handlers.context, &client->connection, record,
					      &why);
		if (!err || err == -EAGAIN)
			return err;
	}
	refuse(client, record, why);
	return 0;
}

/* One record as it came; 0 or -EAGAIN as take_record. */
static int take_part(struct pg_app_server *server, struct client *client,
		     const struct pg_app_record *header, struct pg_app_record_in *record)
{
	int err;

	if (pg_be16(header->flags) & ~PG_APP_MORE) {
		refuse(client, record, "record refused: the only flag is 0x0001, MORE");
		return 0;
	}
	if (!gather(client, header, record))
		return 0;
	err = take_record(server, client, record);
	if (!err)
		forget_parts(client);
	return err;
}

/* Takes the whole records that wait in the client's datagram, as long as it takes its answers. */
static void take_datagram(struct pg_app_server *server, struct client *client)
{
	while (client->at < client->bytes && !answers_wait(client)) {
		const uint8_t *at = client->datagram + client->at;
		uint32_t left = client->bytes - client->at;
		struct pg_app_record_in record = { 0 };
		struct pg_app_record header;

		if (left < sizeof(header)) {
			refuse(client, &record, "datagram refused: a record header is 28 bytes");
			client->at = client->bytes;
			break;
		}
		memcpy(&header, at, sizeof(header));
		record = record_in(&header);
		record.bytes = at + sizeof(header);
		if (record.length > left - sizeof(header)) {
			refuse(client, &record,
			       "datagram refused: a record is longer than the datagram");
			client->at = client->bytes;
			break;
		}
		if (take_part(server, client, &header, &record))
			return;
		client->at += sizeof(header) + pg_be32(header.length);
	}
	if (client->at < client->bytes && answers_wait(client))
		return;
	client->bytes = client->at = 0;
}

static void close_client(struct pg_app_server *server, struct client *client)
{
	if (client->serving)
		server->handlers.gone(server->handlers.context, &client->connection);
	pg_app_answers_done(&client->answers);
	close(client->connection.fd);
	free(client->datagram);
	free(client->gathered);
	memset(client, 0, sizeof(*client));
}

static void read_client(struct pg_app_server *server, struct client *client)
{
	struct pg_app_record_in nothing = { 0 };
	struct iovec vector = { client->datagram, PG_APP_DATAGRAM_MAX };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
	ssize_t bytes = recvmsg(client->connection.fd, &message, MSG_DONTWAIT);

	if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (bytes <= 0) {
		close_client(server, client);
		return;
	}
	if (message.msg_flags & MSG_TRUNC) {
		refuse(client, &nothing, "datagram refused: longer than 65536 bytes");
		return;
	}
	client->bytes = bytes;
	client->at = 0;
	take_datagram(server, client);
}

static void accept_client(struct pg_app_server *server, uint32_t place)
{
	int bytes = SEND_BUFFER_BYTES;
	struct client *client = NULL;
	PG_CLOSE int fd =
		accept4(server->listeners[place].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (uint32_t i = 0; i < PG_APPS_MAX && !client; i++)
		if (!server->clients[i].used)
			client = &server->clients[i];
	if (!client) {
		pg_warning_log("application refused: %d are connected already", PG_APPS_MAX);
		return;
	}
	client->datagram = malloc(PG_APP_DATAGRAM_MAX);
	if (!client->datagram)
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	client->used = true;
	client->connection.index = client - server->clients;
	client->connection.place = place;
	client->connection.id = ++server->next_id;
	pg_app_answers_init(&client->answers, fd);
	client->connection.fd = TAKE_FD(fd);
}

/* What other threads refused. The application may be gone meanwhile. */
static void take_refusals(struct pg_app_server *server)
{
	struct pg_message *message;
	uint64_t count;

	if (read(server->refusals->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	while ((message = pg_inbox_take(server->refusals))) {
		struct pg_app_record_in record = {
			.transport = message->app.transport,
			.endpoint = message->app.endpoint,
			.session = message->app.handle,
			.stream = message->app.stream,
			.message = message->app.message,
		};

		for (uint32_t i = 0; i < PG_APPS_MAX; i++)
			if (server->clients[i].used &&
			    server->clients[i].connection.id == message->app.connection)
				refuse(&server->clients[i], &record, (const char *)message->data);
		free(message);
	}
}

/* In the poll array: stop, refusals, listeners, clients. */
#define POLLED_BEFORE 2

static int fill_polled(struct pg_app_server *server, struct pollfd *polled, bool *ret_retry)
{
	int n = 0;

	*ret_retry = false;
	polled[n++] = (struct pollfd){ .fd = server->stop_fd, .events = POLLIN };
	polled[n++] = (struct pollfd){ .fd = server->refusals->wake_fd, .events = POLLIN };
	for (uint32_t i = 0; i < server->listener_count; i++)
		polled[n++] = (struct pollfd){ .fd = server->listeners[i].fd, .events = POLLIN };
	for (uint32_t i = 0; i < PG_APPS_MAX; i++) {
		struct client *client = &server->clients[i];
		struct pollfd *p = &polled[n++];

		*p = (struct pollfd){ .fd = -1 };
		if (!client->used)
			continue;
		if (answers_wait(client))
			*p = (struct pollfd){ .fd = client->connection.fd, .events = POLLOUT };
		else if (client->bytes)
			*ret_retry = true;
		else
			*p = (struct pollfd){ .fd = client->connection.fd, .events = POLLIN };
	}
	return n;
}

static void serve_client(struct pg_app_server *server, struct client *client,
			 const struct pollfd *polled)
{
	bool ready = polled->fd == client->connection.fd && polled->revents;

	if (ready && answers_wait(client)) {
		pg_app_answers_flush(&client->answers);
		note_welcome(client);
	}
	if (answers_wait(client))
		return;
	if (client->bytes)
		take_datagram(server, client);
	else if (ready && polled->events & POLLIN)
		read_client(server, client);
}

static void *loop(void *context)
{
	struct pg_app_server *server = context;
	struct pollfd polled[POLLED_BEFORE + PG_APP_PLACES + PG_APPS_MAX];
	uint32_t first = POLLED_BEFORE + server->listener_count; /* of the clients */
	bool retry;

	for (;;) {
		int n = fill_polled(server, polled, &retry);

		if (poll(polled, n, retry ? RETRY_MS : -1) < 0 && errno != EINTR)
			break;
		if (polled[0].revents)
			break;
		take_refusals(server);
		for (uint32_t i = 0; i < PG_APPS_MAX; i++)
			if (server->clients[i].used)
				serve_client(server, &server->clients[i], &polled[first + i]);
		for (uint32_t i = 0; i < server->listener_count; i++)
			if (polled[POLLED_BEFORE + i].revents)
				accept_client(server, i);
	}
	return NULL;
}

static int listen_on(struct pg_app_server *server, const struct pg_socket_config *config,
		     struct pg_error *error)
{
	struct listener *listener = &server->listeners[server->listener_count];
	struct pg_error warning = { "" };
	int err;

	err = pg_listen_unix(config->socket, SOCK_SEQPACKET, config->group, config->mode,
			     &listener->fd, &warning, error);
	if (err)
		return err;
	if (warning.text[0])
		pg_warning_log("%s", warning.text);
	snprintf(listener->path, sizeof(listener->path), "%s", config->socket);
	lstat(listener->path, &listener->made);
	server->listener_count++;
	return 0;
}

static int start(struct pg_app_server *server, struct pg_error *error)
{
	sigset_t all, before;
	int err;

	server->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (server->stop_fd < 0)
		return pg_error_set(error, -errno, "starting the application thread: %s",
				    strerror(errno));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&server->thread, NULL, loop, server);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!err)
		server->started = true;
	return err ? pg_error_set(error, -err, "starting the application thread: %s", strerror(err))
		   : 0;
}

int pg_app_server_open(const struct pg_app_config *config, const struct pg_app_handlers *handlers,
		       struct pg_inbox *refusals, struct pg_app_server **ret_server,
		       struct pg_error *error)
{
	struct pg_app_server *server = calloc(1, sizeof(*server));
	int err;

	if (!server)
		return pg_error_set(error, -ENOMEM, "out of memory");
	server->handlers = *handlers;
	server->refusals = refusals;
	server->stop_fd = -1;
	err = listen_on(server, &config->main, error);
	for (size_t i = 0; i < config->route_count && !err; i++)
		err = listen_on(server, &config->routes[i].socket, error);
	if (!err)
		err = start(server, error);
	if (err) {
		pg_app_server_close(server);
		return err;
	}
	*ret_server = server;
	return 0;
}

void pg_app_server_close(struct pg_app_server *server)
{
	uint64_t one = 1;

	if (!server)
		return;
	if (server->started && write(server->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(server->thread, NULL);
	for (uint32_t i = 0; i < PG_APPS_MAX; i++)
		if (server->clients[i].used)
			close_client(server, &server->clients[i]);
	for (uint32_t i = 0; i < server->listener_count; i++) {
		close(server->listeners[i].fd);
		pg_listen_unlink(server->listeners[i].path, &server->listeners[i].made);
	}
	if (server->stop_fd >= 0)
		close(server->stop_fd);
	free(server);
}
