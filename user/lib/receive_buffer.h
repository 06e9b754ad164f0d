/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_RECEIVE_BUFFER_H
#define PG_RECEIVE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Packets of a reliable series that came before one that is missing. They wait here, by packId,
 * within one turn of the replay window. Bounded by the caller, which asks before it puts.
 */
struct pg_received_packet {
	uint32_t id;
	uint32_t bytes;
	uint32_t lost;	     /* acked by an earlier process that is gone: nothing to deliver */
	uint64_t arrived_ms; /* monotonic */
	struct pg_received_packet *next, *previous; /* in the order of arrival */
	uint8_t data[];
};

struct pg_receive_buffer;

int pg_receive_buffer_new(struct pg_receive_buffer **ret_buffer);
void pg_receive_buffer_free(struct pg_receive_buffer *buffer); /* and all that waits */

/*
 * Copies a packet in; data NULL marks it lost. now_ms is not below that of the call before.
 * -EEXIST when its place is taken, -ENOMEM.
 */
int pg_receive_buffer_put(struct pg_receive_buffer *buffer, uint32_t id, const uint8_t *data,
			  uint32_t bytes, uint64_t now_ms);

/* The packet with this id, still owned by the buffer, or NULL. */
const struct pg_received_packet *pg_receive_buffer_peek(const struct pg_receive_buffer *buffer,
							uint32_t id);
void pg_receive_buffer_drop(struct pg_receive_buffer *buffer, uint32_t id);

uint32_t pg_receive_buffer_count(const struct pg_receive_buffer *buffer);
/* Memory that the buffer and its packets hold. */
uint64_t pg_receive_buffer_bytes(const struct pg_receive_buffer *buffer);

/* The lowest id at or above from; only with a count above 0. */
uint32_t pg_receive_buffer_lowest(const struct pg_receive_buffer *buffer, uint32_t from);

/* When the first of the packets that wait arrived; only with a count above 0. */
uint64_t pg_receive_buffer_oldest_ms(const struct pg_receive_buffer *buffer);

#endif
