// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "demo.h"

#define BURST	       16 /* frames under way at once: a veth ring holds 256 */
#define OWN_PACKETS    60
#define STREAM_PACKETS 40
#define AGAIN_PACKETS  30
#define PINGS	       5 /* a session's pongs are limited to 10 a second */
#define JUMP	       1100
#define FIRST_STREAM   1001

static const char *session_name(int i)
{
	static const char *const names[DEMO_SESSIONS] = {
		[DEMO_GAME_CHACHA] = "ChaCha20, guard on", [DEMO_GAME_AES] = "AES-256, guard on",
		[DEMO_LAN_CHACHA] = "ChaCha20, guard off", [DEMO_LAN_AES] = "AES-256, guard off",
		[DEMO_CLOSING] = "AES-256, guard on",	   [DEMO_CHAT] = "AES-256, guard on",
	};

	return names[i];
}

static int cannot_build(int rc, struct pg_error *error)
{
	return pg_error_set(error, rc, "build a frame: %s", strerror(-rc));
}

static int send_packet(struct demo_session *session, struct demo_series *series,
		       struct pg_error *error)
{
	uint8_t text[DEMO_TEXT_MAX];
	struct peer_frame frame;
	uint32_t count;
	int rc;

	count = demo_text(session->peer.session, series->ids.stream, series->ids.next, text);
	rc = peer_data(&session->peer, &series->ids, text, count, &frame);
	if (rc)
		return cannot_build(rc, error);
	if (series->kept_count < DEMO_KEPT)
		series->kept[series->kept_count++] = frame;
	rc = demo_client_send(session->fd, &frame);
	return rc ? pg_error_set(error, rc, "send a frame: %s", strerror(-rc)) : 0;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Sends packets of one series and adds their row. acked: the series is a reliable one. */
static int send_series(struct demo *demo, int i, int which, uint32_t packets, const char *what,
		       struct pg_error *error)
{
	struct demo_session *session = &demo->client.sessions[i];
	struct demo_series *series = &session->series[which];
	uint32_t *messages = &demo->app.records[PG_APP_MESSAGE], *acks = &session->came[PG_OP_ACK];
	uint32_t messages_before = *messages, acks_before = *acks, n;
	bool acked = which == DEMO_OWN || which == DEMO_RELIABLE;
	char text[80];
	int rc = 0;

	for (n = 1; !rc && n <= packets; n++) {
		rc = send_packet(session, series, error);
		if (n % BURST && n < packets)
			continue;
		demo_await(demo, messages, messages_before + n);
		if (acked)
			demo_await(demo, acks, acks_before + n);
	}
	if (rc)
		return rc;
	snprintf(text, sizeof(text), "%s, %s", what, session_name(i));
	n = *messages - messages_before;
	demo_report_row(&demo->report, "honest", text, acked ? "delivered, acked" : "delivered",
			packets, acked ? least(n, *acks - acks_before) : n);
	demo->report.delivered += packets;
	demo->report.opened += packets;
	return 0;
}

static int send_control(struct demo_session *session, enum pg_opcode opcode, uint32_t stream,
			const void *bytes, uint32_t count, struct pg_error *error)
{
	struct peer_frame frame;
	int rc = peer_control(&session->peer, opcode, stream, 0, bytes, count, &frame);

	return rc ? cannot_build(rc, error) : demo_client_send(session->fd, &frame);
}

/* openstream, streamopen, streamopen; policies in the order of the series. */
static int open_streams(struct demo *demo, int i, uint32_t *opened, struct pg_error *error)
{
	static const uint8_t policies[DEMO_SERIES] = {
		[DEMO_RELIABLE] = PG_POLICY_RELIABLE,
		[DEMO_NEWEST] = PG_POLICY_NEWEST,
		[DEMO_UNORDERED] = PG_POLICY_UNORDERED,
	};
	struct demo_session *session = &demo->client.sessions[i];
	uint32_t *answers = &session->came[PG_OP_STREAMOPEN];
	uint32_t before = *answers;
	int which, rc = 0;

	for (which = DEMO_RELIABLE; !rc && which < DEMO_SERIES; which++) {
		uint32_t stream = FIRST_STREAM + (uint32_t)which;

		session->series[which].ids.stream = stream;
		rc = send_control(session, PG_OP_OPENSTREAM, stream, &policies[which], 1, error);
		demo_await(demo, answers, before + (uint32_t)which);
		if (!rc)
			rc = send_control(session, PG_OP_STREAMOPEN, stream, NULL, 0, error);
	}
	*opened += *answers - before;
	return rc;
}

static int ping(struct demo *demo, int i, uint32_t *ponged, struct pg_error *error)
{
	struct demo_session *session = &demo->client.sessions[i];
	uint32_t *pongs = &session->came[PG_OP_PONG], before = *pongs, n;
	int rc = 0;

	for (n = 0; !rc && n < PINGS; n++)
		rc = send_control(session, PG_OP_PING, 0, "how far?", 8, error);
	demo_await(demo, pongs, before + PINGS);
	*ponged += *pongs - before;
	return rc;
}

/* The application sends one message to every series it heard of; the client acks each. */
static int answer(struct demo *demo, struct pg_error *error)
{
	struct demo_app *app = &demo->app;
	uint32_t came = 0, before = 0, sent = 0, count;
	uint8_t text[DEMO_TEXT_MAX];
	int i, rc = 0;
	size_t n;

	for (i = 0; i < DEMO_SESSIONS; i++)
		before += demo->client.sessions[i].came[PG_OP_DATA];
	for (n = 0; !rc && n < app->delivered_count; n++) {
		const struct demo_delivered *series = &app->delivered[n];

		if (series->stream && series->stream != FIRST_STREAM + DEMO_RELIABLE)
			continue;
		count = demo_text(series->id, series->stream, 1, text);
		rc = demo_app_send(app, series, ++sent, text, count);
	}
	if (rc)
		return pg_error_set(error, rc, "send to the application socket: %s", strerror(-rc));
	demo_await(demo, &app->records[PG_APP_SENT], sent);
	for (i = 0; i < DEMO_SESSIONS; i++)
		came += demo->client.sessions[i].came[PG_OP_DATA];
	demo_report_row(&demo->report, "answer", "the application's answers", "opened, acked",
			2 * DEMO_HONEST + 1, least(came - before, app->records[PG_APP_SENT]));
	return 0;
}

int demo_honest(struct demo *demo, struct pg_error *error)
{
	uint32_t opened = 0, ponged = 0;
	int i, rc = 0;

	for (i = 0; !rc && i < DEMO_HONEST; i++)
		rc = send_series(demo, i, DEMO_OWN, OWN_PACKETS, "session data", error);
	for (i = 0; !rc && i < DEMO_HONEST; i++)
		rc = open_streams(demo, i, &opened, error);
	if (rc)
		return rc;
	demo_report_row(&demo->report, "honest", "three streams for each session", "opened",
			3 * DEMO_HONEST, opened);
	for (i = 0; !rc && i < DEMO_HONEST; i++)
		rc = send_series(demo, i, DEMO_RELIABLE, STREAM_PACKETS, "stream data", error);
	if (!rc)
		rc = send_series(demo, DEMO_GAME_CHACHA, DEMO_NEWEST, STREAM_PACKETS, "newest only",
				 error);
	if (!rc)
		rc = send_series(demo, DEMO_GAME_CHACHA, DEMO_UNORDERED, STREAM_PACKETS,
				 "unordered", error);
	if (!rc)
		rc = send_series(demo, DEMO_CLOSING, DEMO_OWN, DEMO_KEPT, "5th session", error);
	for (i = 0; !rc && i < DEMO_HONEST; i++)
		rc = ping(demo, i, &ponged, error);
	if (rc)
		return rc;
	demo_report_row(&demo->report, "honest", "pings", "answered", PINGS * DEMO_HONEST, ponged);
	return answer(demo, error);
}

int demo_honest_jump(struct demo *demo, struct pg_error *error)
{
	demo->client.sessions[DEMO_GAME_CHACHA].series[DEMO_UNORDERED].ids.next += JUMP;
	return send_series(demo, DEMO_GAME_CHACHA, DEMO_UNORDERED, 1, "1100 ids on", error);
}

int demo_honest_goaway(struct demo *demo, struct pg_error *error)
{
	static const uint8_t code = PG_GOAWAY_NORMAL;
	uint32_t *closed = &demo->app.records[PG_APP_SESSION_CLOSED];
	int rc;

	rc = send_control(&demo->client.sessions[DEMO_CLOSING], PG_OP_GOAWAY, 0, &code, 1, error);
	demo_await(demo, closed, 1);
	demo_report_row(&demo->report, "honest", "goaway: the client ends a session", "reported", 1,
			*closed);
	return rc;
}

int demo_honest_again(struct demo *demo, struct pg_error *error)
{
	int i, rc = 0;

	for (i = 0; !rc && i < DEMO_HONEST; i++)
		rc = send_series(demo, i, i & 1 ? DEMO_RELIABLE : DEMO_OWN, AGAIN_PACKETS,
				 i & 1 ? "stream again" : "session again", error);
	return rc;
}
