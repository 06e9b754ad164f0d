// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

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
	bool used, serving;
	uint32_t bytes, at; /* of the datagram that is not done with */
	uint8_t *datagram;
};

struct pg_app_server {
	struct pg_app_handlers handlers;
	struct pg_socket_config config;
	struct stat made; /* the socket's file */
	int listen_fd, stop_fd;
	pthread_t thread;
	uint64_t next_id;
	struct client clients[PG_APPS_MAX];
};

static void send_record(struct client *client, enum pg_app_kind kind, uint64_t session,
			uint32_t stream, uint32_t message, const char *text)
{
	uint32_t length = strlen(text);
	uint8_t datagram[sizeof(struct pg_app_record) + HELLO_MAX];
	struct pg_app_record record = {
		.kind = kind,
		.session = pg_be64(session),
		.stream = pg_be32(stream),
		.message = pg_be32(message),
		.length = pg_be32(length),
	};

	if (length > HELLO_MAX)
		return;
	memcpy(datagram, &record, sizeof(record));
	memcpy(datagram + sizeof(record), text, length);
	send(client->connection.fd, datagram, sizeof(record) + length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void refuse(struct client *client, const struct pg_app_record_in *record, const char *why)
{
	send_record(client, PG_APP_ERROR, record->session, record->stream, record->message, why);
}

static void take_hello(struct pg_app_server *server, struct client *client,
		       const struct pg_app_record_in *record)
{
	char names[HELLO_MAX], reply[HELLO_MAX];

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
	if (server->handlers.hello(server->handlers.context, &client->connection, names, reply,
				   sizeof(reply))) {
		refuse(client, record, reply);
		return;
	}
	client->serving = true;
	send_record(client, PG_APP_HELLO, 0, 0, 0, reply);
}

/* 0, or -EAGAIN when the record must be tried again. */
static int take_record(struct pg_app_server *server, struct client *client,
		       const struct pg_app_record_in *record, uint8_t transport, uint16_t flags)
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
	else if (transport != PG_APP_UDP)
		why = "record refused: this transport is not served";
	else if (flags)
		why = "record refused: flags must be 0";
	else {
		err = server->handlers.record(server->handlers.context, &client->connection, record,
					      &why);
		if (!err || err == -EAGAIN)
			return err;
	}
	refuse(client, record, why);
	return 0;
}

/* Takes the whole records that wait in the client's datagram. */
static void take_datagram(struct pg_app_server *server, struct client *client)
{
	while (client->at < client->bytes) {
		const uint8_t *at = client->datagram + client->at;
		uint32_t left = client->bytes - client->at;
		struct pg_app_record_in record = { 0 };
		struct pg_app_record header;

		if (left < sizeof(header)) {
			refuse(client, &record, "datagram refused: a record header is 28 bytes");
			break;
		}
		memcpy(&header, at, sizeof(header));
		record.kind = header.kind;
		record.endpoint = pg_be32(header.endpoint);
		record.session = pg_be64(header.session);
		record.stream = pg_be32(header.stream);
		record.message = pg_be32(header.message);
		record.length = pg_be32(header.length);
		record.bytes = at + sizeof(header);
		if (record.length > left - sizeof(header)) {
			refuse(client, &record,
			       "datagram refused: a record is longer than the datagram");
			break;
		}
		if (take_record(server, client, &record, header.transport, pg_be16(header.flags)))
			return;
		client->at += sizeof(header) + record.length;
	}
	client->bytes = client->at = 0;
}

static void close_client(struct pg_app_server *server, struct client *client)
{
	if (client->serving)
		server->handlers.gone(server->handlers.context, &client->connection);
	close(client->connection.fd);
	free(client->datagram);
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

static void accept_client(struct pg_app_server *server)
{
	int bytes = SEND_BUFFER_BYTES;
	struct client *client = NULL;
	PG_CLOSE int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

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
	client->connection.id = ++server->next_id;
	client->connection.fd = TAKE_FD(fd);
}

static int fill_polled(struct pg_app_server *server, struct pollfd *polled, bool *ret_retry)
{
	int n = 0;

	*ret_retry = false;
	polled[n++] = (struct pollfd){ .fd = server->stop_fd, .events = POLLIN };
	polled[n++] = (struct pollfd){ .fd = server->listen_fd, .events = POLLIN };
	for (uint32_t i = 0; i < PG_APPS_MAX; i++) {
		struct client *client = &server->clients[i];
		bool waits = client->used && client->bytes;

		*ret_retry |= waits;
		polled[n++] =
			(struct pollfd){ .fd = client->used && !waits ? client->connection.fd : -1,
					 .events = POLLIN };
	}
	return n;
}

static void *loop(void *context)
{
	struct pg_app_server *server = context;
	struct pollfd polled[2 + PG_APPS_MAX];
	bool retry;

	for (;;) {
		int n = fill_polled(server, polled, &retry);

		if (poll(polled, n, retry ? RETRY_MS : -1) < 0 && errno != EINTR)
			break;
		if (polled[0].revents)
			break;
		if (polled[1].revents)
			accept_client(server);
		for (uint32_t i = 0; i < PG_APPS_MAX; i++) {
			struct client *client = &server->clients[i];

			if (client->used && client->bytes)
				take_datagram(server, client);
			else if (client->used && polled[2 + i].fd == client->connection.fd &&
				 polled[2 + i].revents)
				read_client(server, client);
		}
	}
	return NULL;
}

int pg_app_server_open(const struct pg_socket_config *config,
		       const struct pg_app_handlers *handlers, struct pg_app_server **ret_server,
		       struct pg_error *error)
{
	struct pg_app_server *server = calloc(1, sizeof(*server));
	struct pg_error warning = { "" };
	sigset_t all, before;
	int err;

	if (!server)
		return pg_error_set(error, -ENOMEM, "out of memory");
	server->handlers = *handlers;
	server->config = *config;
	err = pg_listen_unix(config->socket, SOCK_SEQPACKET, config->group, config->mode,
			     &server->listen_fd, &warning, error);
	if (err) {
		free(server);
		return err;
	}
	if (warning.text[0])
		pg_warning_log("%s", warning.text);
	lstat(config->socket, &server->made);
	server->stop_fd = eventfd(0, EFD_CLOEXEC);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&server->thread, NULL, loop, server);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		close(server->listen_fd);
		close(server->stop_fd);
		free(server);
		return pg_error_set(error, -err, "starting the application thread: %s",
				    strerror(err));
	}
	*ret_server = server;
	return 0;
}

void pg_app_server_close(struct pg_app_server *server)
{
	uint64_t one = 1;

	if (!server)
		return;
	if (write(server->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(server->thread, NULL);
	for (uint32_t i = 0; i < PG_APPS_MAX; i++)
		if (server->clients[i].used)
			close_client(server, &server->clients[i]);
	close(server->listen_fd);
	close(server->stop_fd);
	pg_listen_unlink(server->config.socket, &server->made);
	free(server);
}
