// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "cleanup.h"
#include "demo_agent.h"
#include "demo_app.h"
#include "demo_client.h"
#include "request.h"

#define CLIENT_ID     0x1235
#define SERVER_ID     0x0100 /* and up: each in a slot of its own */
#define SOURCE_PORT   30000
#define RECEIVE_BYTES (1 << 20)

static const struct {
	const char *endpoint;
	uint16_t port;
	bool guard;
	enum pg_aead_algorithm aead;
} plan[DEMO_SESSIONS] = {
	[DEMO_GAME_CHACHA] = { "game", DEMO_GAME_PORT, true, PG_AEAD_CHACHA20_POLY1305 },
	[DEMO_GAME_AES] = { "game", DEMO_GAME_PORT, true, PG_AEAD_AES_256_GCM },
	[DEMO_LAN_CHACHA] = { "lan", DEMO_LAN_PORT, false, PG_AEAD_CHACHA20_POLY1305 },
	[DEMO_LAN_AES] = { "lan", DEMO_LAN_PORT, false, PG_AEAD_AES_256_GCM },
	[DEMO_CLOSING] = { "game", DEMO_GAME_PORT, true, PG_AEAD_AES_256_GCM },
	[DEMO_CHAT] = { "chat", DEMO_CHAT_PORT, true, PG_AEAD_AES_256_GCM },
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void demo_client_init(struct demo_client *client)
{
	int i;

	client->other_port = client->stranger = -1;
	for (i = 0; i < DEMO_SESSIONS; i++)
		client->sessions[i].fd = -1;
}

void demo_client_close(struct demo_client *client)
{
	int i;

	close_fd(&client->other_port);
	close_fd(&client->stranger);
	for (i = 0; i < DEMO_SESSIONS; i++) {
		close_fd(&client->sessions[i].fd);
		peer_done(&client->sessions[i].peer);
	}
}

static int open_socket(const struct demo_net *net, const char *source, uint16_t source_port,
		       uint16_t port, int *ret_fd, struct pg_error *error)
{
	struct sockaddr_in to = demo_net_address(DEMO_SERVER, port);
	int room = RECEIVE_BYTES, rc;

	rc = demo_net_socket(net->client, SOCK_DGRAM, source, source_port, ret_fd, error);
	if (rc)
		return rc;
	setsockopt(*ret_fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (connect(*ret_fd, (struct sockaddr *)&to, sizeof(to)))
		return pg_error_set(error, -errno, "send to %s:%u: %s", DEMO_SERVER, port,
				    strerror(errno));
	return 0;
}

static int make_peer(struct demo_session *session, int i, const uint8_t secret[PG_SECRET_BYTES],
		     struct pg_error *error)
{
	struct peer_options options = {
		.client_id = (uint16_t)(CLIENT_ID + 0x100 * i),
		.server_id = (uint16_t)(SERVER_ID + i),
		.guard = plan[i].guard,
		.aead = plan[i].aead,
		.secret = secret,
	};
	int series;

	session->port = plan[i].port;
	session->source_port = (uint16_t)(SOURCE_PORT + i);
	for (series = 0; series < DEMO_SERIES; series++)
		session->series[series].ids.next = 1;
	return peer_init(&session->peer, &options, error);
}

/* POST /v1/sessions, as `packgate session add` does. */
static int provision(const struct demo_session *session, int i,
		     const uint8_t secret[PG_SECRET_BYTES], struct pg_error *error)
{
	char hex[2 * PG_SECRET_BYTES + 1], body[512];
	struct request request = { .method = "POST", .path = "/v1/sessions", .body = body };
	ANSWER answer = { 0 };
	int rc, n;

	for (n = 0; n < PG_SECRET_BYTES; n++)
		sprintf(hex + 2 * n, "%02x", secret[n]);
	request.body_bytes = (size_t)snprintf(
		body, sizeof(body),
		"{\"endpoint\":\"%s\",\"client_id\":%u,\"server_id\":%u,\"peer\":\"" DEMO_CLIENT
		":%u\",\"secret\":\"%s\",\"aead\":\"%s\"}",
		plan[i].endpoint, session->peer.session >> 16, session->peer.session & 0xffff,
		session->source_port, hex, pg_aead_algorithm_name(plan[i].aead));
	rc = request_quietly(&request, &answer);
	OPENSSL_cleanse(hex, sizeof(hex));
	OPENSSL_cleanse(body, sizeof(body));
	return rc ? pg_error_set(error, -EIO, "provision a session: %s", answer.why) : 0;
}

static int open_session(struct demo_session *session, int i, const struct demo_net *net,
			struct pg_error *error)
{
	uint8_t secret[PG_SECRET_BYTES];
	int rc;

	if (RAND_priv_bytes(secret, sizeof(secret)) != 1)
		return pg_error_set(error, -EIO, "make a secret: OpenSSL gives no random bytes");
	rc = make_peer(session, i, secret, error);
	if (!rc)
		rc = open_socket(net, DEMO_CLIENT, session->source_port, session->port,
				 &session->fd, error);
	if (!rc)
		rc = provision(session, i, secret, error);
	OPENSSL_cleanse(secret, sizeof(secret));
	return rc;
}

int demo_client_open(struct demo_client *client, const struct demo_net *net, struct pg_error *error)
{
	int rc, i;

	rc = open_socket(net, DEMO_CLIENT, 0, DEMO_GAME_PORT, &client->other_port, error);
	if (!rc)
		rc = open_socket(net, DEMO_STRANGER, 0, DEMO_GAME_PORT, &client->stranger, error);
	for (i = 0; !rc && i < DEMO_SESSIONS; i++)
		rc = open_session(&client->sessions[i], i, net, error);
	return rc;
}

int demo_client_send(int fd, const struct peer_frame *frame)
{
	return send(fd, frame->data, frame->bytes, MSG_DONTWAIT) < 0 ? -errno : 0;
}

bool demo_client_hear(struct demo_heard *heard, uint32_t id, const struct pg_message_view *message)
{
	uint8_t text[DEMO_TEXT_MAX];

	if (message->id == PG_MESSAGE_PONG) {
		heard->heartbeats++;
		return !message->bytes;
	}
	heard->messages++;
	return demo_text(id, 0, message->id, text) == message->bytes &&
	       !memcmp(text, message->body, message->bytes);
}

static bool hear_packet(struct demo_session *session, const struct peer_message *packet)
{
	struct pg_message_view message;
	size_t at, consumed;

	for (at = 0; at < packet->count; at += consumed)
		if (pg_message_read(packet->bytes + at, packet->count - at, PG_MESSAGE_BODY,
				    &consumed, &message) ||
		    !demo_client_hear(&session->heard, session->peer.session, &message))
			return false;
	return true;
}

/* The application answers with what it would have been sent under that packId. */
static bool is_answer(const struct demo_session *session, const struct peer_message *message)
{
	const struct pg_frame *frame = &message->frame;
	uint8_t text[DEMO_TEXT_MAX];

	return demo_text(session->peer.session, frame->stream, frame->pack, text) ==
		       message->count &&
	       !memcmp(text, message->bytes, message->count);
}

static void take_data(struct demo_session *session, const struct peer_message *message)
{
	const struct pg_frame *frame = &message->frame;
	struct peer_frame ack;

	if (session->port == DEMO_CHAT_PORT ? !hear_packet(session, message)
					    : !is_answer(session, message))
		session->bad++;
	if (!peer_control(&session->peer, PG_OP_ACK, frame->stream, frame->pack, NULL, 0, &ack))
		demo_client_send(session->fd, &ack);
}

void demo_client_receive(struct demo_session *session)
{
	uint8_t datagram[PG_FRAME_MAX + 1];
	struct peer_message message;
	ssize_t bytes;

	while ((bytes = recv(session->fd, datagram, sizeof(datagram), MSG_DONTWAIT)) >= 0) {
		if (bytes > PG_FRAME_MAX ||
		    peer_open(&session->peer, datagram, (uint32_t)bytes, &message)) {
			session->bad++;
			continue;
		}
		session->came[message.frame.opcode & 15]++;
		if (message.frame.opcode == PG_OP_DATA)
			take_data(session, &message);
	}
}
