// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>

#include "packgate/session.h"
#include "send_buffer.h"

#define SLOTS_FIRST 16

struct pg_send_buffer {
	uint32_t base;	/* lowest id neither acked nor failed */
	uint32_t next;	/* one above the highest id sent */
	uint32_t slots; /* a power of two */
	struct pg_sent_packet *packets;
};

static struct pg_sent_packet *packet_of(const struct pg_send_buffer *buffer, uint32_t id)
{
	return &buffer->packets[id & (buffer->slots - 1)];
}

int pg_send_buffer_new(uint32_t first_id, struct pg_send_buffer **ret_buffer)
{
	struct pg_send_buffer *buffer = calloc(1, sizeof(*buffer));

	if (!buffer)
		return -ENOMEM;
	buffer->packets = calloc(SLOTS_FIRST, sizeof(*buffer->packets));
	if (!buffer->packets) {
		free(buffer);
		return -ENOMEM;
	}
	buffer->slots = SLOTS_FIRST;
	buffer->base = buffer->next = first_id;
	*ret_buffer = buffer;
	return 0;
}

void pg_send_buffer_free(struct pg_send_buffer *buffer)
{
	if (!buffer)
		return;
	free(buffer->packets);
	free(buffer);
}

bool pg_send_buffer_allows(const struct pg_send_buffer *buffer, uint32_t id)
{
	return id - buffer->base < PG_WINDOW_IDS;
}

static int grow(struct pg_send_buffer *buffer)
{
	struct pg_send_buffer larger = *buffer;

	if (buffer->slots >= PG_WINDOW_IDS)
		return -ENOBUFS;
	larger.slots = buffer->slots * 2;
	larger.packets = calloc(larger.slots, sizeof(*larger.packets));
	if (!larger.packets)
		return -ENOMEM;
	for (uint32_t id = buffer->base; id != buffer->next; id++)
		*packet_of(&larger, id) = *packet_of(buffer, id);
	free(buffer->packets);
	*buffer = larger;
	return 0;
}

int pg_send_buffer_reserve(struct pg_send_buffer *buffer, uint32_t id)
{
	if (!pg_send_buffer_allows(buffer, id))
		return -ENOBUFS;
	return id - buffer->base < buffer->slots ? 0 : grow(buffer);
}

int pg_send_buffer_put(struct pg_send_buffer *buffer, uint32_t id, uint32_t message,
		       uint64_t now_ms)
{
	int err = pg_send_buffer_reserve(buffer, id);

	if (err)
		return err;
	*packet_of(buffer, id) = (struct pg_sent_packet){ .message = message, .sent_ms = now_ms };
	buffer->next = id + 1;
	return 0;
}

static void pass_done(struct pg_send_buffer *buffer)
{
	while (buffer->base != buffer->next && packet_of(buffer, buffer->base)->done)
		buffer->base++;
}

int pg_send_buffer_ack(struct pg_send_buffer *buffer, uint32_t id,
		       struct pg_sent_packet *ret_packet)
{
	struct pg_sent_packet *packet;

	if (id - buffer->base >= buffer->next - buffer->base)
		return -ENOENT;
	packet = packet_of(buffer, id);
	if (packet->done)
		return -ENOENT;
	packet->done = 1;
	*ret_packet = *packet;
	pass_done(buffer);
	return 0;
}

int pg_send_buffer_expire(struct pg_send_buffer *buffer, uint64_t sent_until_ms,
			  struct pg_sent_packet *ret_packet, uint32_t *ret_id)
{
	struct pg_sent_packet *packet;

	if (pg_send_buffer_empty(buffer))
		return -ENOENT;
	packet = packet_of(buffer, buffer->base);
	if (packet->sent_ms > sent_until_ms)
		return -ENOENT;
	packet->done = 1;
	*ret_packet = *packet;
	*ret_id = buffer->base;
	pass_done(buffer);
	return 0;
}

bool pg_send_buffer_empty(const struct pg_send_buffer *buffer)
{
	return buffer->base == buffer->next;
}

uint64_t pg_send_buffer_oldest_ms(const struct pg_send_buffer *buffer)
{
	return packet_of(buffer, buffer->base)->sent_ms;
}
