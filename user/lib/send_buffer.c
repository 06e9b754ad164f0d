// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packgate/session.h"
#include "send_buffer.h"

#define SLOTS_FIRST 16

struct pg_send_buffer {
	uint32_t base;	/* lowest id that is not settled */
	uint32_t fresh; /* ids below it were begun or settled */
	uint32_t next;	/* one above the highest id */
	uint32_t slots; /* a power of two */
	uint64_t bytes;
	struct pg_sent_packet **packets; /* NULL = settled */
};

static struct pg_sent_packet **slot_of(const struct pg_send_buffer *buffer, uint32_t id)
{
	return &buffer->packets[id & (buffer->slots - 1)];
}

int pg_send_buffer_new(uint32_t first_id, struct pg_send_buffer **ret_buffer)
{
	struct pg_send_buffer *buffer = calloc(1, sizeof(*buffer));

	if (!buffer)
		return -ENOMEM;
	buffer->packets = calloc(SLOTS_FIRST, sizeof(struct pg_sent_packet *));
	if (!buffer->packets) {
		free(buffer);
		return -ENOMEM;
	}
	buffer->slots = SLOTS_FIRST;
	buffer->base = buffer->fresh = buffer->next = first_id;
	*ret_buffer = buffer;
	return 0;
}

void pg_send_buffer_free(struct pg_send_buffer *buffer)
{
	if (!buffer)
		return;
	for (uint32_t i = 0; i < buffer->slots; i++)
		free(buffer->packets[i]);
	free(buffer->packets);
	free(buffer);
}

static uint32_t frames_of(uint32_t bytes, uint32_t cut)
{
	return bytes ? (bytes - 1) / cut + 1 : 1;
}

uint64_t pg_send_buffer_cost(uint32_t bytes, uint32_t cut)
{
	return sizeof(struct pg_sent_packet) +
	       frames_of(bytes, cut) * (uint64_t)sizeof(struct pg_sent_frame) + bytes;
}

bool pg_send_buffer_allows(const struct pg_send_buffer *buffer)
{
	return buffer->next - buffer->base < PG_WINDOW_IDS;
}

static int grow(struct pg_send_buffer *buffer)
{
	struct pg_send_buffer larger = *buffer;

	larger.slots = buffer->slots * 2;
	larger.packets = calloc(larger.slots, sizeof(struct pg_sent_packet *));
	if (!larger.packets)
		return -ENOMEM;
	for (uint32_t id = buffer->base; id != buffer->next; id++)
		*slot_of(&larger, id) = *slot_of(buffer, id);
	free(buffer->packets);
	*buffer = larger;
	return 0;
}

static struct pg_sent_packet *packet_new(const uint8_t *data, uint32_t bytes, uint32_t cut)
{
	uint32_t frames = frames_of(bytes, cut);
	struct pg_sent_packet *packet = malloc(pg_send_buffer_cost(bytes, cut));

	if (!packet)
		return NULL;
	memset(packet, 0, sizeof(*packet) + frames * sizeof(packet->frame[0]));
	packet->bytes = bytes;
	packet->cut = cut;
	packet->frames = frames;
	packet->data = (uint8_t *)&packet->frame[frames];
	for (uint32_t i = 0; i < frames; i++)
		packet->frame[i].index = i;
	if (bytes)
		memcpy(packet->data, data, bytes);
	return packet;
}

int pg_send_buffer_put(struct pg_send_buffer *buffer, const uint8_t *data, uint32_t bytes,
		       uint32_t cut, uint32_t message, struct pg_sent_packet **ret_packet)
{
	struct pg_sent_packet *packet;

	if (!pg_send_buffer_allows(buffer))
		return -ENOBUFS;
	if (buffer->next - buffer->base == buffer->slots && grow(buffer))
		return -ENOMEM;
	packet = packet_new(data, bytes, cut);
	if (!packet)
		return -ENOMEM;
	packet->id = buffer->next;
	packet->message = message;
	*slot_of(buffer, packet->id) = packet;
	buffer->next++;
	buffer->bytes += pg_send_buffer_cost(bytes, cut);
	*ret_packet = packet;
	return 0;
}

struct pg_sent_packet *pg_send_buffer_find(const struct pg_send_buffer *buffer, uint32_t id)
{
	return id - buffer->base < buffer->next - buffer->base ? *slot_of(buffer, id) : NULL;
}

struct pg_sent_packet *pg_send_buffer_fresh(struct pg_send_buffer *buffer)
{
	struct pg_sent_packet *packet;

	for (; buffer->fresh != buffer->next; buffer->fresh++) {
		packet = pg_send_buffer_find(buffer, buffer->fresh);
		if (packet && packet->begun < packet->frames)
			return packet;
	}
	return NULL;
}

struct pg_sent_packet *pg_send_buffer_first(const struct pg_send_buffer *buffer)
{
	return pg_send_buffer_find(buffer, buffer->base);
}

void pg_send_buffer_remove(struct pg_send_buffer *buffer, struct pg_sent_packet *packet)
{
	*slot_of(buffer, packet->id) = NULL;
	buffer->bytes -= pg_send_buffer_cost(packet->bytes, packet->cut);
	free(packet);
	while (buffer->base != buffer->next && !*slot_of(buffer, buffer->base)) {
		/* what is settled needs no sending either */
		if (buffer->fresh == buffer->base)
			buffer->fresh++;
		buffer->base++;
	}
}

bool pg_send_buffer_empty(const struct pg_send_buffer *buffer)
{
	return buffer->base == buffer->next;
}

uint32_t pg_send_buffer_next(const struct pg_send_buffer *buffer)
{
	return buffer->next;
}

uint64_t pg_send_buffer_bytes(const struct pg_send_buffer *buffer)
{
	return buffer->bytes;
}
