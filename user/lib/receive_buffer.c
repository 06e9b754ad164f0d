// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packgate/session.h"
#include "receive_buffer.h"

struct pg_receive_buffer {
	uint32_t count;
	uint64_t bytes;
	struct pg_received_packet *first, *last; /* by arrival */
	struct pg_received_packet *slots[PG_WINDOW_IDS];
};

static struct pg_received_packet **slot_of(struct pg_receive_buffer *buffer, uint32_t id)
{
	return &buffer->slots[id & (PG_WINDOW_IDS - 1)];
}

int pg_receive_buffer_new(struct pg_receive_buffer **ret_buffer)
{
	struct pg_receive_buffer *buffer = calloc(1, sizeof(*buffer));

	if (!buffer)
		return -ENOMEM;
	buffer->bytes = sizeof(*buffer);
	*ret_buffer = buffer;
	return 0;
}

void pg_receive_buffer_free(struct pg_receive_buffer *buffer)
{
	if (!buffer)
		return;
	for (uint32_t i = 0; i < PG_WINDOW_IDS; i++)
		free(buffer->slots[i]);
	free(buffer);
}

static void append(struct pg_receive_buffer *buffer, struct pg_received_packet *packet)
{
	packet->next = NULL;
	packet->previous = buffer->last;
	if (buffer->last)
		buffer->last->next = packet;
	else
		buffer->first = packet;
	buffer->last = packet;
	buffer->count++;
	buffer->bytes += sizeof(*packet) + packet->bytes;
}

static void take_out(struct pg_receive_buffer *buffer, struct pg_received_packet *packet)
{
	if (packet->previous)
		packet->previous->next = packet->next;
	else
		buffer->first = packet->next;
	if (packet->next)
		packet->next->previous = packet->previous;
	else
		buffer->last = packet->previous;
	buffer->count--;
	buffer->bytes -= sizeof(*packet) + packet->bytes;
}

int pg_receive_buffer_put(struct pg_receive_buffer *buffer, uint32_t id, const uint8_t *data,
			  uint32_t bytes, uint64_t now_ms)
{
	struct pg_received_packet **slot = slot_of(buffer, id);
	struct pg_received_packet *packet;

	if (*slot)
		return -EEXIST;
	packet = malloc(sizeof(*packet) + bytes);
	if (!packet)
		return -ENOMEM;
	packet->id = id;
	packet->bytes = bytes;
	packet->lost = !data;
	packet->arrived_ms = now_ms;
	if (bytes)
		memcpy(packet->data, data, bytes);
	*slot = packet;
	append(buffer, packet);
	return 0;
}

const struct pg_received_packet *pg_receive_buffer_peek(const struct pg_receive_buffer *buffer,
							uint32_t id)
{
	const struct pg_received_packet *packet = buffer->slots[id & (PG_WINDOW_IDS - 1)];

	return packet && packet->id == id ? packet : NULL;
}

void pg_receive_buffer_drop(struct pg_receive_buffer *buffer, uint32_t id)
{
	struct pg_received_packet **slot = slot_of(buffer, id);

	if (!*slot || (*slot)->id != id)
		return;
	take_out(buffer, *slot);
	free(*slot);
	*slot = NULL;
}

uint32_t pg_receive_buffer_count(const struct pg_receive_buffer *buffer)
{
	return buffer->count;
}

uint64_t pg_receive_buffer_bytes(const struct pg_receive_buffer *buffer)
{
	return buffer->bytes;
}

uint32_t pg_receive_buffer_lowest(const struct pg_receive_buffer *buffer, uint32_t from)
{
	for (uint32_t i = 0; i < PG_WINDOW_IDS; i++)
		if (pg_receive_buffer_peek(buffer, from + i))
			return from + i;
	return from;
}

uint64_t pg_receive_buffer_oldest_ms(const struct pg_receive_buffer *buffer)
{
	return buffer->first->arrived_ms;
}
