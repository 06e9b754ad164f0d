// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "demo.h"

/*
 * Messages in packets and on TCP: heartbeats, which the agent answers by itself, and messages,
 * which the application gets and answers.
 */

#define ROUNDS	   8	      /* of a heartbeat and two messages */
#define FIRST_ID   1000	      /* of the messages; what they say depends on it */
#define ANSWER_ID  5000	      /* of the application's */
#define CALLER	   0x7c900001 /* what the client on TCP calls itself */
#define WAIT_MS	   2000
#define PIECE	   33 /* bytes written at once on TCP: nothing respects the messages' borders */
#define ROUND_ROOM (3 * PG_MESSAGE_HEADER_MAX + 2 * DEMO_TEXT_MAX)

/* --- the client on TCP -------------------------------------------------------------------------
 */

void demo_caller_init(struct demo_caller *caller)
{
	caller->fd = -1;
	pg_message_parser_init(&caller->parser, PG_MESSAGE_BODY);
}

void demo_caller_close(struct demo_caller *caller)
{
	if (caller->fd >= 0)
		close(caller->fd);
	pg_message_parser_done(&caller->parser);
	demo_caller_init(caller);
}

static int take_bytes(struct demo_caller *caller, const uint8_t *bytes, size_t count)
{
	struct pg_message_view message;
	size_t consumed;
	int rc = 1;

	for (; count && rc == 1; bytes += consumed, count -= consumed) {
		rc = pg_message_parse(&caller->parser, bytes, count, &consumed, &message);
		if (rc == 1 && !demo_client_hear(&caller->heard, CALLER, &message))
			caller->bad++;
		if (rc < 0)
			return rc;
	}
	return 0;
}

void demo_caller_receive(struct demo_caller *caller)
{
	uint8_t bytes[4096];
	ssize_t n;

	while ((n = recv(caller->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		if (take_bytes(caller, bytes, (size_t)n))
			break;
	if (n < 0 && errno == EAGAIN)
		return;
	caller->bad++;
	demo_caller_close(caller);
}

static int call(struct demo_caller *caller, const struct demo_net *net, struct pg_error *error)
{
	struct sockaddr_in to = demo_net_address(DEMO_SERVER, DEMO_CHAT_PORT);
	struct pollfd polled = { .events = POLLOUT };
	int rc;

	rc = demo_net_socket(net->client, SOCK_STREAM, DEMO_CLIENT, 0, &caller->fd, error);
	if (rc)
		return rc;
	polled.fd = caller->fd;
	if ((connect(caller->fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS) ||
	    poll(&polled, 1, WAIT_MS) != 1)
		return pg_error_set(error, -EIO, "connect to the TCP entrance %s:%d", DEMO_SERVER,
				    DEMO_CHAT_PORT);
	return 0;
}

static int write_pieces(int fd, const uint8_t *bytes, size_t count)
{
	ssize_t n;

	for (; count; bytes += n, count -= (size_t)n) {
		n = send(fd, bytes, count < PIECE ? count : PIECE, MSG_NOSIGNAL);
		if (n < 0)
			return -errno;
	}
	return 0;
}

/* --- what both say -----------------------------------------------------------------------------
 */

static uint32_t add_message(uint8_t *out, uint32_t at, uint32_t id, uint32_t who)
{
	uint8_t text[DEMO_TEXT_MAX];
	uint32_t count = id == PG_MESSAGE_PING ? 0 : demo_text(who, 0, id, text);
	int n = pg_message_write(out + at, ROUND_ROOM - at, id, text, count);

	return n < 0 ? at : at + (uint32_t)n;
}

static uint32_t write_round(uint8_t out[ROUND_ROOM], uint32_t who, uint32_t n)
{
	uint32_t bytes = add_message(out, 0, FIRST_ID + 2 * n, who);

	bytes = add_message(out, bytes, PG_MESSAGE_PING, who);
	return add_message(out, bytes, FIRST_ID + 2 * n + 1, who);
}

static int send_packet(struct demo *demo, const uint8_t *bytes, uint32_t count)
{
	struct demo_session *session = &demo->client.sessions[DEMO_CHAT];
	struct peer_frame frame;
	int rc = peer_data(&session->peer, &session->series[DEMO_OWN].ids, bytes, count, &frame);

	demo->report.opened++;
	return rc ? rc : demo_client_send(session->fd, &frame);
}

/* The application answers the one who calls himself who. */
static int answer(struct demo *demo, uint32_t who, const uint32_t *heard, struct pg_error *error)
{
	const struct demo_delivered *series = demo_app_find(&demo->app, who);
	uint8_t text[DEMO_TEXT_MAX];
	int rc;

	if (!series)
		return 0; /* the rows tell that nothing came */
	rc = demo_app_send(&demo->app, series, ANSWER_ID, text, demo_text(who, 0, ANSWER_ID, text));
	if (rc)
		return pg_error_set(error, rc, "send to the application socket: %s", strerror(-rc));
	demo_await(demo, heard, 1);
	return 0;
}

static int talk(struct demo *demo, uint32_t who, struct demo_heard *heard, const char *where,
		struct pg_error *error)
{
	uint32_t *came = &demo->app.records[PG_APP_MESSAGE], before = *came, n, count;
	uint8_t bytes[ROUND_ROOM];
	char text[64];
	int rc = 0;

	for (n = 0; !rc && n < ROUNDS; n++) {
		count = write_round(bytes, who, n);
		rc = who == CALLER ? write_pieces(demo->caller.fd, bytes, count)
				   : send_packet(demo, bytes, count);
	}
	if (rc)
		return pg_error_set(error, rc, "send messages %s: %s", where, strerror(-rc));
	demo->report.delivered += 2 * ROUNDS;
	demo_await(demo, came, before + 2 * ROUNDS);
	demo_await(demo, &heard->heartbeats, ROUNDS);
	snprintf(text, sizeof(text), "messages %s", where);
	demo_report_row(&demo->report, "messages", text, "delivered", 2 * ROUNDS, *came - before);
	snprintf(text, sizeof(text), "heartbeats %s", where);
	demo_report_row(&demo->report, "messages", text, "answered", ROUNDS, heard->heartbeats);
	demo->report.heartbeats += ROUNDS;
	rc = answer(demo, who, &heard->messages, error);
	snprintf(text, sizeof(text), "the application's answer %s", where);
	demo_report_row(&demo->report, "messages", text, "received", 1, heard->messages);
	return rc;
}

int demo_messages(struct demo *demo, struct pg_error *error)
{
	struct demo_session *session = &demo->client.sessions[DEMO_CHAT];
	int rc;

	rc = talk(demo, session->peer.session, &session->heard, "in packets", error);
	if (!rc)
		rc = call(&demo->caller, &demo->net, error);
	return rc ? rc : talk(demo, CALLER, &demo->caller.heard, "on TCP", error);
}
