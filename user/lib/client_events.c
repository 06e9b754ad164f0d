// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client_internal.h"

void pg_events_init(struct event_queue *queue, uint64_t bound)
{
	*queue = (struct event_queue){ .bound = bound };
	queue->last = &queue->first;
}

void pg_events_done(struct event_queue *queue)
{
	struct event *event;

	while ((event = queue->first)) {
		queue->first = event->next;
		free(event);
	}
	free(queue->taken);
	pg_events_init(queue, queue->bound);
}

int pg_events_push(struct event_queue *queue, const struct pg_client_event *event)
{
	struct event *entry = malloc(sizeof(*entry) + event->length + 1);

	if (!entry)
		return -ENOMEM;
	entry->event = *event;
	entry->event.bytes = entry->bytes;
	entry->next = NULL;
	if (event->length)
		memcpy(entry->bytes, event->bytes, event->length);
	entry->bytes[event->length] = 0; /* a sentence may be printed as it is */
	*queue->last = entry;
	queue->last = &entry->next;
	queue->bytes += event->length + EVENT_BYTES;
	return 0;
}

bool pg_events_take(struct event_queue *queue, struct pg_client_event *ret_event)
{
	struct event *event = queue->first;

	free(queue->taken);
	queue->taken = event;
	if (!event)
		return false;
	queue->first = event->next;
	if (!queue->first)
		queue->last = &queue->first;
	queue->bytes -= event->event.length + EVENT_BYTES;
	*ret_event = event->event;
	return true;
}

bool pg_events_room(const struct event_queue *queue, uint32_t bytes)
{
	return !queue->first || queue->bytes + bytes + EVENT_BYTES <= queue->bound;
}

const char *pg_client_event_name(int kind)
{
	switch (kind) {
#define PG_X(name, number, label, help) \
	case PG_CLIENT_##name:          \
		return label;
		PG_CLIENT_EVENTS(PG_X)
#undef PG_X
	}
	return "unknown";
}
