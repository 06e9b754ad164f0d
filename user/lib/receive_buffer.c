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

static void free_packet(struct pg_received_packet *packet)
{
	if (!packet)
		return;
	pg_assembly_free(packet->parts);
	if (packet->data != packet->inside)
		free(packet->data);
	free(packet);
}

void pg_receive_buffer_free(struct pg_receive_buffer *buffer)
{
	if (!buffer)
		return;
	for (uint32_t i = 0; i < PG_WINDOW_IDS; i++)
		free_packet(buffer->slots[i]);
	free(buffer);
}

static uint64_t memory_of(const struct pg_received_packet *packet)
{
	return sizeof(*packet) + packet->bytes +
	       (packet->parts ? pg_assembly_memory(packet->parts) : 0);
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
	buffer->bytes += memory_of(packet);
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
	buffer->bytes -= memory_of(packet);
}

static struct pg_received_packet *packet_new(uint32_t id, uint32_t bytes, uint64_t now_ms)
{
	struct pg_received_packet *packet = malloc(sizeof(*packet) + bytes);

	if (!packet)
		return NULL;
	memset(packet, 0, sizeof(*packet));
	packet->id = id;
	packet->bytes = bytes;
	packet->arrived_ms = packet->latest_ms = now_ms;
	packet->data = packet->inside;
	return packet;
}

int pg_receive_buffer_put(struct pg_receive_buffer *buffer, uint32_t id, const uint8_t *data,
			  uint32_t bytes, uint64_t now_ms)
{
	struct pg_received_packet **slot = slot_of(buffer, id);
	struct pg_received_packet *packet;

	if (*slot)
		return -EEXIST;
	packet = packet_new(id, bytes, now_ms);
	if (!packet)
		return -ENOMEM;
	packet->lost = !data;
	if (bytes)
		memcpy(packet->data, data, bytes);
	*slot = packet;
	append(buffer, packet);
	return 0;
}

static int add_assembly(struct pg_receive_buffer *buffer, uint32_t id, uint64_t now_ms)
{
	struct pg_received_packet *packet = packet_new(id, 0, now_ms);

	if (!packet || pg_assembly_new(&packet->parts)) {
		free(packet);
		return -ENOMEM;
	}
	*slot_of(buffer, id) = packet;
	append(buffer, packet);
	return 0;
}

int pg_receive_buffer_part(struct pg_receive_buffer *buffer, uint32_t id, uint32_t fragment,
			   bool last, const uint8_t *data, uint32_t bytes, uint64_t now_ms)
{
	struct pg_received_packet **slot = slot_of(buffer, id), *packet;
	int err = *slot ? 0 : add_assembly(buffer, id, now_ms);

	if (err)
		return err;
	packet = *slot;
	if (packet->id != id || !packet->parts)
		return -EEXIST;
	buffer->bytes -= memory_of(packet);
	err = pg_assembly_put(packet->parts, fragment, last, data, bytes);
	buffer->bytes += memory_of(packet);
	if (!err)
		packet->latest_ms = now_ms;
	else if (!pg_assembly_bytes(packet->parts))
		pg_receive_buffer_drop(buffer, id);
	return err;
}

void pg_receive_buffer_join(struct pg_receive_buffer *buffer, uint32_t id, uint8_t *data)
{
	struct pg_received_packet *packet = *slot_of(buffer, id);
	uint32_t bytes = pg_assembly_bytes(packet->parts);

	buffer->bytes -= memory_of(packet);
	pg_assembly_drain(packet->parts, data);
	pg_assembly_free(packet->parts);
	packet->parts = NULL;
	packet->data = data;
	packet->bytes = bytes;
	buffer->bytes += memory_of(packet);
}

const struct pg_received_packet *pg_receive_buffer_at(const struct pg_receive_buffer *buffer,
						      uint32_t id)
{
	return buffer->slots[id & (PG_WINDOW_IDS - 1)];
}

const struct pg_assembly *pg_receive_buffer_parts(const struct pg_receive_buffer *buffer,
						  uint32_t id)
{
	const struct pg_received_packet *packet = pg_receive_buffer_at(buffer, id);

	return packet && packet->id == id ? packet->parts : NULL;
}

uint64_t pg_receive_buffer_part_cost(const struct pg_receive_buffer *buffer, uint32_t id,
				     uint32_t fragment, uint32_t bytes)
{
	const struct pg_assembly *parts = pg_receive_buffer_parts(buffer, id);

	return pg_assembly_cost(parts, fragment, bytes) +
	       (parts ? 0 : sizeof(struct pg_received_packet));
}

const struct pg_received_packet *pg_receive_buffer_peek(const struct pg_receive_buffer *buffer,
							uint32_t id)
{
	const struct pg_received_packet *packet = pg_receive_buffer_at(buffer, id);

	return packet && packet->id == id && !packet->parts ? packet : NULL;
}

void pg_receive_buffer_drop(struct pg_receive_buffer *buffer, uint32_t id)
{
	struct pg_received_packet **slot = slot_of(buffer, id);

	if (!*slot || (*slot)->id != id)
		return;
	take_out(buffer, *slot);
	free_packet(*slot);
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

uint64_t pg_receive_buffer_overhead(void)
{
	return sizeof(struct pg_receive_buffer);
}

uint64_t pg_receive_buffer_packet_overhead(void)
{
	return sizeof(struct pg_received_packet);
}

uint32_t pg_receive_buffer_lowest(const struct pg_receive_buffer *buffer, uint32_t from)
{
	const struct pg_received_packet *packet;

	for (uint32_t i = 0; i < PG_WINDOW_IDS; i++) {
		packet = pg_receive_buffer_at(buffer, from + i);
		if (packet && packet->id == from + i)
			return from + i;
	}
	return from;
}

const struct pg_received_packet *pg_receive_buffer_oldest(const struct pg_receive_buffer *buffer,
							  uint32_t except)
{
	const struct pg_received_packet *packet = buffer->first;

	return packet && packet->id == except ? packet->next : packet;
}
