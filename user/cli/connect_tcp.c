// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "connect_internal.h"

#define OPEN_MS	     10000 /* for connecting, and for the TLS handshake */
#define HEARTBEAT_MS 15000 /* of silence; an entrance ends a connection by idle_seconds */
#define CHUNK_BYTES  65536
#define TURN_MS	     100

struct tcp {
	int fd;
	SSL_CTX *context; /* NULL without TLS */
	SSL *ssl;
	char host[256], port[8];
	struct pg_message_parser parser;
	uint8_t heartbeat[PG_MESSAGE_HEADER_MAX];
	const uint8_t *out; /* what is being written, with how much of it */
	size_t out_bytes;
	uint32_t heartbeats; /* sent by itself, whose answers are not shown */
	int64_t sent_ms;
	short waits; /* POLLOUT when TLS wants to write before it can read */
	bool ended;  /* the server closed */
	uint8_t chunk[CHUNK_BYTES];
};

bool connect_tcp_wanted(const struct cli_args *args)
{
	return cli_option(args, "tcp") || cli_option(args, "tls") || cli_option(args, "ca");
}

/* --- opening -----------------------------------------------------------------------------------
 */

static int check_options(const struct cli_args *args)
{
	static const char *const session[] = { "server-key", "token",	  "token-file",
					       "client-id",  "server-id", "secret-file",
					       "source",     "aead",	  "allow-unguarded",
					       "policy",     "streams",	  "packet",
					       "monotonic",  "state",	  "end" };

	for (size_t i = 0; i < sizeof(session) / sizeof(session[0]); i++)
		if (cli_option(args, session[i]))
			return cli_fail(CLI_USAGE,
					"connect: --%s belongs to a session and has no meaning "
					"over TCP",
					session[i]);
	return CLI_DONE;
}

static int split(struct tcp *tcp, const char *target)
{
	const char *colon = strrchr(target, ':');
	size_t length = colon ? (size_t)(colon - target) : 0;
	bool brackets = length > 2 && target[0] == '[' && target[length - 1] == ']';
	unsigned long long port;

	if (!length || length >= sizeof(tcp->host) || !cli_number(colon + 1, 1, 65535, &port) ||
	    (!brackets && memchr(target, ':', length)))
		return cli_fail(CLI_USAGE, "connect: \"%s\" is no HOST:PORT or [v6]:PORT", target);
	memcpy(tcp->host, target + brackets, length - 2 * brackets);
	snprintf(tcp->port, sizeof(tcp->port), "%llu", port);
	return CLI_DONE;
}

/* Waits for the socket; 0, -ETIMEDOUT, -EINTR. */
static int wait_for(int fd, short events, int64_t until_ms)
{
	struct pollfd polled = { .fd = fd, .events = events };
	int64_t left;

	while ((left = until_ms - connect_now_ms()) > 0 && !connect_interrupted())
		if (poll(&polled, 1, left < TURN_MS ? (int)left : TURN_MS) > 0)
			return 0;
	return connect_interrupted() ? -EINTR : -ETIMEDOUT;
}

static int connect_to(const struct addrinfo *to, int *ret_fd)
{
	PG_CLOSE int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t bytes = sizeof(int);
	int one = 1, err = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, to->ai_addr, to->ai_addrlen) && errno != EINPROGRESS)
		return -errno;
	err = wait_for(fd, POLLOUT, connect_now_ms() + OPEN_MS);
	if (!err && !getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &bytes))
		err = -err;
	if (!err)
		*ret_fd = TAKE_FD(fd);
	return err;
}

static int open_socket(struct tcp *tcp)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	int err = getaddrinfo(tcp->host, tcp->port, &hints, &found);

	if (err)
		return cli_fail(CLI_FAILED, "connect: resolving %s: %s", tcp->host,
				gai_strerror(err));
	for (const struct addrinfo *to = found; to; to = to->ai_next) {
		err = connect_to(to, &tcp->fd);
		if (!err)
			break;
	}
	freeaddrinfo(found);
	return err ? cli_fail(CLI_FAILED, "connect: TCP to %s port %s: %s", tcp->host, tcp->port,
			      strerror(-err))
		   : CLI_DONE;
}

/* --- TLS ---------------------------------------------------------------------------------------
 */

static int tls_failed(const char *what, const struct tcp *tcp)
{
	long verified = tcp->ssl ? SSL_get_verify_result(tcp->ssl) : X509_V_OK;
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (verified != X509_V_OK)
		return cli_fail(CLI_FAILED,
				"connect: the certificate of %s is not accepted: %s; --ca FILE "
				"trusts another issuer",
				tcp->host, X509_verify_cert_error_string(verified));
	return cli_fail(CLI_FAILED, "connect: %s: %s", what, reason ? reason : strerror(errno));
}

static int prepare_tls(struct tcp *tcp, const struct cli_args *args)
{
	const char *ca = cli_option(args, "ca"), *name = cli_option(args, "tls-name");
	struct in6_addr address;

	name = name ? name : tcp->host;
	tcp->context = SSL_CTX_new(TLS_client_method());
	if (!tcp->context || !SSL_CTX_set_min_proto_version(tcp->context, TLS1_2_VERSION))
		return tls_failed("TLS", tcp);
	SSL_CTX_set_verify(tcp->context, SSL_VERIFY_PEER, NULL);
	if (ca ? SSL_CTX_load_verify_locations(tcp->context, ca, NULL) != 1
	       : SSL_CTX_set_default_verify_paths(tcp->context) != 1)
		return tls_failed(ca ? "reading --ca" : "the system's certificates", tcp);
	tcp->ssl = SSL_new(tcp->context);
	if (!tcp->ssl || SSL_set_fd(tcp->ssl, tcp->fd) != 1)
		return tls_failed("TLS", tcp);
	SSL_set_mode(tcp->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tcp->ssl), name) == 1
			       ? CLI_DONE
			       : tls_failed("TLS", tcp);
	if (SSL_set1_host(tcp->ssl, name) != 1 || SSL_set_tlsext_host_name(tcp->ssl, name) != 1)
		return tls_failed("TLS", tcp);
	return CLI_DONE;
}

static int open_tls(struct tcp *tcp, const struct cli_args *args)
{
	int64_t until = connect_now_ms() + OPEN_MS;
	int rc = prepare_tls(tcp, args), done, err;

	while (!rc && (done = SSL_connect(tcp->ssl)) != 1) {
		int want = SSL_get_error(tcp->ssl, done);

		if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE)
			return tls_failed("the TLS handshake", tcp);
		err = wait_for(tcp->fd, want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until);
		if (err)
			rc = cli_fail(CLI_FAILED, "connect: the TLS handshake with %s: %s",
				      tcp->host, strerror(-err));
	}
	return rc;
}

/* --- bytes -------------------------------------------------------------------------------------
 */

static ssize_t tls_result(struct tcp *tcp, int done)
{
	switch (SSL_get_error(tcp->ssl, done)) {
	case SSL_ERROR_WANT_WRITE:
		tcp->waits = POLLOUT;
		return -EAGAIN;
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		ERR_clear_error();
		return -ECONNRESET;
	}
}

/* Bytes read, 0 at the end, -EAGAIN, or another negative errno. */
static ssize_t read_some(struct tcp *tcp)
{
	ssize_t n;
	int done;

	if (tcp->ssl) {
		done = SSL_read(tcp->ssl, tcp->chunk, sizeof(tcp->chunk));
		return done > 0 ? done : tls_result(tcp, done);
	}
	n = recv(tcp->fd, tcp->chunk, sizeof(tcp->chunk), 0);
	return n < 0 ? -errno : n;
}

/* Bytes written, -EAGAIN, or another negative errno. */
static ssize_t write_some(struct tcp *tcp)
{
	int bytes = tcp->out_bytes > INT32_MAX ? INT32_MAX : (int)tcp->out_bytes, done;
	ssize_t n;

	if (tcp->ssl) {
		done = SSL_write(tcp->ssl, tcp->out, bytes);
		n = done > 0 ? done : tls_result(tcp, done);
		return n ? n : -EPIPE;
	}
	n = send(tcp->fd, tcp->out, tcp->out_bytes, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

/* --- messages ----------------------------------------------------------------------------------
 */

static void fail(struct connection *connection, const char *what, int err)
{
	if (!connection->rc)
		connection->rc = cli_fail(CLI_FAILED, "connect: %s: %s", what, strerror(-err));
}

static void parse(struct connection *connection, struct tcp *tcp, size_t bytes)
{
	struct pg_message_view message;
	size_t at = 0, consumed;
	int found;

	while ((found = pg_message_parse(&tcp->parser, tcp->chunk + at, bytes - at, &consumed,
					 &message)) > 0) {
		at += consumed;
		if (message.id == PG_MESSAGE_PONG && tcp->heartbeats) {
			tcp->heartbeats--;
			continue;
		}
		connection->quiet_since = connect_now_ms();
		connect_take_message(connection, &message, 0);
	}
	if (found < 0 && !connection->rc)
		connection->rc =
			cli_fail(CLI_FAILED, "connect: the server does not speak messages: %s",
				 pg_message_malformed_help(-found));
	connect_flush_output(connection);
}

static void receive(struct connection *connection, struct tcp *tcp)
{
	ssize_t n;

	tcp->waits = 0;
	while (!connection->rc && (n = read_some(tcp)) != -EAGAIN) {
		if (n > 0) {
			parse(connection, tcp, (size_t)n);
			continue;
		}
		tcp->ended = true;
		if (n < 0)
			fail(connection, "receiving", (int)n);
		else if (pg_message_parser_inside(&tcp->parser) && !connection->rc)
			connection->rc =
				cli_fail(CLI_FAILED, "connect: the server closed the "
						     "connection in the midst of a message");
		return;
	}
}

/* What is to be written next: a line's message, or a heartbeat. */
static void choose_output(struct connection *connection, struct tcp *tcp)
{
	struct line_reader *lines = &connection->lines;
	size_t bytes = 0;

	if (connection->in >= 0 && !connection->rc)
		connection->rc = line_reader_next(lines, &bytes);
	if (bytes) {
		tcp->out = lines->message;
		tcp->out_bytes = bytes;
		connection->bytes_given += bytes;
		return;
	}
	if (connection->in >= 0 && lines->ended && lines->at == lines->used)
		connect_input_ended(connection);
	if (connect_now_ms() - tcp->sent_ms < HEARTBEAT_MS)
		return;
	tcp->out = tcp->heartbeat;
	tcp->out_bytes = pg_message_size(PG_MESSAGE_PING, 0);
	tcp->heartbeats++;
}

static void transmit(struct connection *connection, struct tcp *tcp)
{
	ssize_t n;

	while (!connection->rc) {
		if (!tcp->out_bytes)
			choose_output(connection, tcp);
		if (!tcp->out_bytes || connection->rc)
			return;
		n = write_some(tcp);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			fail(connection, "sending", (int)n);
			return;
		}
		tcp->out += n;
		tcp->out_bytes -= (size_t)n;
		tcp->sent_ms = connect_now_ms();
	}
}

/* --- the loop ----------------------------------------------------------------------------------
 */

static bool finished(const struct connection *connection, const struct tcp *tcp)
{
	if (connection->in >= 0 || connection->keep_receiving || tcp->out_bytes)
		return false;
	return connect_now_ms() - connection->quiet_since >= connection->linger_ms;
}

static void turn(struct connection *connection, struct tcp *tcp)
{
	bool wanted = connection->in >= 0 && !tcp->out_bytes;
	struct pollfd polled[2] = {
		{ .fd = tcp->fd, .events = POLLIN | tcp->waits | (tcp->out_bytes ? POLLOUT : 0) },
		{ .fd = wanted ? connection->in : -1, .events = POLLIN },
	};

	poll(polled, 2, TURN_MS);
	receive(connection, tcp);
	if (wanted && polled[1].revents && !connection->rc)
		connection->rc = line_reader_fill(&connection->lines);
	if (!tcp->ended)
		transmit(connection, tcp);
}

static void loop(struct connection *connection, struct tcp *tcp)
{
	connection->quiet_since = tcp->sent_ms = connect_now_ms();
	while (!connection->rc && !connect_interrupted() && !tcp->ended &&
	       !finished(connection, tcp))
		turn(connection, tcp);
	if (tcp->ended && !connection->rc && (connection->in >= 0 || tcp->out_bytes))
		connection->rc = cli_fail(CLI_FAILED, "connect: the server closed the connection; "
						      "its log says why");
	if (tcp->ssl && !connection->rc)
		SSL_shutdown(tcp->ssl);
}

static void tcp_done(struct tcp **tcp)
{
	if (!*tcp)
		return;
	SSL_free((*tcp)->ssl);
	SSL_CTX_free((*tcp)->context);
	if ((*tcp)->fd >= 0)
		close((*tcp)->fd);
	pg_message_parser_done(&(*tcp)->parser);
	free(*tcp);
}

int connect_tcp(struct connection *connection, const struct cli_args *args)
{
	PG_CLEANUP(tcp_done) struct tcp *tcp = calloc(1, sizeof(*tcp));
	int rc = check_options(args);

	if (!tcp)
		return cli_fail(CLI_FAILED, "connect: out of memory");
	tcp->fd = -1;
	pg_message_parser_init(&tcp->parser, PG_MESSAGE_BODY_MAX);
	pg_message_write_header(tcp->heartbeat, PG_MESSAGE_PING, 0);
	if (!rc)
		rc = split(tcp, args->operands[0]);
	if (!rc)
		rc = line_reader_init(&connection->lines, connection->in, connection->id,
				      PG_MESSAGE_BODY);
	if (!rc)
		rc = open_socket(tcp);
	if (!rc && (cli_option(args, "tls") || cli_option(args, "ca")))
		rc = open_tls(tcp, args);
	if (rc)
		return rc;
	loop(connection, tcp);
	return connection->rc;
}
