// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packgate/session.h"
#include "receive_buffer.h"

struct pg_receive_buffer {
	uint32_t count;
	uint64_t bytes;
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
	if (data)
		memcpy(packet->data, data, bytes);
	*slot = packet;
	buffer->count++;
	buffer->bytes += bytes;
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
	buffer->count--;
	buffer->bytes -= (*slot)->bytes;
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
	uint64_t oldest = UINT64_MAX;

	for (uint32_t i = 0; i < PG_WINDOW_IDS; i++)
		if (buffer->slots[i] && buffer->slots[i]->arrived_ms < oldest)
			oldest = buffer->slots[i]->arrived_ms;
	return oldest;
}
