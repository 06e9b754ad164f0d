// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "client_internal.h"
#include "packgate/bytes.h"

static struct pg_client *client_of(struct pg_engine *engine)
{
	return engine->owner;
}

static enum pg_drop ready(struct pg_engine *engine, uint32_t stream, uint32_t bytes)
{
	return pg_events_room(&client_of(engine)->events, bytes) ? PG_DROP_NONE : PG_DROP_APP_FULL;
}

static int kind_of(enum pg_app_kind kind)
{
	switch (kind) {
	case PG_APP_MESSAGE:
		return PG_CLIENT_MESSAGE;
	case PG_APP_STREAM_OPEN:
		return PG_CLIENT_STREAM_OPEN;
	case PG_APP_STREAM_CLOSED:
		return PG_CLIENT_STREAM_CLOSED;
	case PG_APP_GAP:
		return PG_CLIENT_GAP;
	case PG_APP_SENT:
		return PG_CLIENT_SENT;
	case PG_APP_FAILED:
		return PG_CLIENT_FAILED;
	default:
		return 0;
	}
}

static void event(struct pg_engine *engine, const struct pg_engine_event *from)
{
	struct pg_client *client = client_of(engine);
	struct pg_client_event event = {
		.kind = kind_of(from->kind),
		.stream = from->stream,
		.id = from->message,
	};

	if (!event.kind)
		return;
	if (event.kind == PG_CLIENT_GAP)
		event.code = (int)pg_load_be32(from->bytes);
	if (event.kind == PG_CLIENT_MESSAGE) {
		event.bytes = from->bytes;
		event.length = from->length;
	}
	if (event.kind == PG_CLIENT_FAILED) {
		event.code = pg_client_lost(client);
		event.bytes = (const uint8_t *)client->why;
		event.length = strlen(client->why);
	}
	pg_events_push(&client->events, &event);
}

static uint8_t *frame_alloc(struct pg_engine *engine)
{
	return pg_outbox_alloc(client_of(engine));
}

static void frame_send(struct pg_engine *engine, uint8_t *frame, uint32_t bytes)
{
	pg_outbox_add(client_of(engine), bytes);
}

/* This end's own clock: the server said nothing for the idle time. */
static void server_is_gone(struct pg_client *client)
{
	char text[128];

	snprintf(text, sizeof(text), "nothing came from the server for %u s: it went away%s",
		 client->env.options.idle_ms / 1000,
		 client->icmp ? " (ICMP says that nobody listens there)" : "");
	pg_client_ended(client, -ETIMEDOUT, text);
}

static void closed(struct pg_engine *engine, uint8_t code)
{
	static const char *const sentences[] = {
		"the session ended",
		"the session ended with an error",
		"the session expired",
	};

	if (code == PG_GOAWAY_EXPIRED && client_of(engine)->in_timer) {
		server_is_gone(client_of(engine));
		return;
	}
	pg_client_ended(client_of(engine), code, sentences[code <= 2 ? code : 1]);
}

static void random_bytes(uint8_t *bytes, uint32_t count)
{
	RAND_bytes(bytes, (int)count);
}

const struct pg_engine_ops pg_client_engine_ops = {
	.ready = ready,
	.event = event,
	.frame_alloc = frame_alloc,
	.frame_send = frame_send,
	.closed = closed,
	.random = random_bytes,
};
