// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "worker_internal.h"

/*
 * Endpoints with format: message (PROTOCOL section 6). A packet was committed and acked before it
 * is read here: what is malformed in it cannot become right by sending the same bytes again.
 */

/* --- answers -----------------------------------------------------------------------------------
 */

static int send_reply(struct pg_worker *worker, struct pg_entry *entry, uint32_t stream,
		      const uint8_t *data, uint32_t bytes)
{
	int err = pg_engine_send(&entry->engine, stream, data, bytes, 0);

	if (err)
		pg_worker_reject(worker, entry, PG_DROP_SEND_BLOCKED);
	return err;
}

static int flush_reply(struct pg_worker *worker, struct pg_entry *entry, uint32_t stream)
{
	uint32_t bytes = worker->reply_bytes;

	worker->reply_bytes = 0;
	return bytes ? send_reply(worker, entry, stream, worker->reply, bytes) : 0;
}

/* Adds a whole message to the packet that answers. */
static int reply(struct pg_worker *worker, struct pg_entry *entry, uint32_t stream,
		 const uint8_t *message, uint32_t bytes)
{
	uint32_t most = pg_engine_frame_max(&entry->engine);
	int err = 0;

	if (most > sizeof(worker->reply))
		most = sizeof(worker->reply);
	if (worker->reply_bytes + bytes > most)
		err = flush_reply(worker, entry, stream);
	if (bytes > most)
		return send_reply(worker, entry, stream, message, bytes);
	memcpy(worker->reply + worker->reply_bytes, message, bytes);
	worker->reply_bytes += bytes;
	return err;
}

static void answer_heartbeat(struct pg_worker *worker, struct pg_entry *entry, uint32_t stream)
{
	uint8_t answer[PG_MESSAGE_HEADER_MAX];
	int bytes = pg_message_write(answer, sizeof(answer), PG_MESSAGE_PONG, NULL, 0);

	if (pg_engine_sendable(&entry->engine, stream, bytes)) {
		worker->counts.heartbeats_unanswered++;
		return;
	}
	reply(worker, entry, stream, answer, bytes);
	worker->counts.heartbeats_answered++;
}

/* --- a packet ----------------------------------------------------------------------------------
 */

/* To the application the packet never came: with the same record it learns of a missing one. */
static void refuse(struct pg_worker *worker, struct pg_entry *entry,
		   const struct pg_engine_event *packet, int reason)
{
	uint8_t one[4] = { 0, 0, 0, 1 };
	struct pg_engine_event gap = {
		.kind = PG_APP_GAP,
		.stream = packet->stream,
		.message = packet->message,
		.bytes = one,
		.length = sizeof(one),
	};

	worker->counts.malformed[reason]++;
	pg_worker_reject(worker, entry, PG_DROP_MALFORMED);
	if (worker->view->endpoints[entry->endpoint].deliver != PG_DELIVER_APP)
		return;
	for (uint32_t place = 0; place <= worker->view->route_count; place++)
		if (pg_delivery_out(&worker->delivery, entry->endpoint, place) &&
		    pg_worker_put(worker, entry, place, &gap))
			worker->counts.app_events_lost++;
}

static void take_message(struct pg_worker *worker, struct pg_entry *entry, uint32_t stream,
			 const struct pg_message_view *message, const uint8_t *whole,
			 uint32_t whole_bytes)
{
	struct pg_engine_event event = {
		.kind = PG_APP_MESSAGE,
		.stream = stream,
		.message = message->id,
		.bytes = message->body,
		.length = message->bytes,
	};

	if (message->id == PG_MESSAGE_PING) {
		answer_heartbeat(worker, entry, stream);
		return;
	}
	if (message->id == PG_MESSAGE_PONG) {
		worker->counts.answers_dropped++;
		return;
	}
	switch (worker->view->endpoints[entry->endpoint].deliver) {
	case PG_DELIVER_APP:
		pg_worker_put_message(worker, entry, &event);
		break;
	case PG_DELIVER_ECHO:
		reply(worker, entry, stream, whole, whole_bytes);
		break;
	default:
		break;
	}
}

void pg_worker_take_messages(struct pg_worker *worker, struct pg_entry *entry,
			     const struct pg_engine_event *event)
{
	uint32_t max_body = worker->view->message_bytes, left = event->length, count;
	const uint8_t *at = event->bytes;
	struct pg_message_view message;
	size_t consumed;
	int refused;

	refused = pg_message_check(at, left, max_body, &count);
	if (refused) {
		refuse(worker, entry, event, -refused);
		return;
	}
	for (; left && !entry->closed; at += consumed, left -= consumed) {
		if (pg_message_read(at, left, max_body, &consumed, &message))
			break;
		take_message(worker, entry, event->stream, &message, at, consumed);
	}
	flush_reply(worker, entry, event->stream);
}

/* --- from the application ----------------------------------------------------------------------
 */

static const char *wrap_and_send(struct pg_worker *worker, struct pg_entry *entry,
				 const struct pg_message *message)
{
	uint32_t size = pg_message_size(message->app.message, message->bytes);
	PG_FREE uint8_t *packet = size ? malloc(size) : NULL;
	int err;

	if (!size)
		return "message refused: a message id is at most 2147483647";
	if (!packet)
		return pg_worker_send_refusal(-ENOMEM);
	pg_message_write(packet, size, message->app.message, message->data, message->bytes);
	err = pg_engine_send(&entry->engine, message->app.stream, packet, size,
			     message->app.message);
	return err ? pg_worker_send_refusal(err) : NULL;
}

const char *pg_worker_send_message(struct pg_worker *worker, struct pg_entry *entry,
				   const struct pg_message *message)
{
	uint32_t count;
	int err;

	if (message->app.message)
		return wrap_and_send(worker, entry, message);
	if (pg_message_check(message->data, message->bytes, worker->view->message_bytes, &count))
		return "message refused: with message id 0 the bytes must be whole messages";
	err = pg_engine_send(&entry->engine, message->app.stream, message->data, message->bytes, 0);
	return err ? pg_worker_send_refusal(err) : NULL;
}
