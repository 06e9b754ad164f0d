/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_RECEIVE_BUFFER_H
#define PG_RECEIVE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragments.h"

/*
 * Packets that cannot be handed on yet, by packId, within one turn of the replay window: those of a
 * reliable series that came before one that is missing, and those of which fragments are missing.
 * Bounded by the caller, which asks before it puts.
 */
struct pg_received_packet {
	uint32_t id;
	uint32_t bytes;
	bool lost; /* acked by an earlier process that is gone: nothing to deliver */
	struct pg_assembly *parts;		    /* NULL = whole */
	uint64_t arrived_ms;			    /* monotonic; its first fragment */
	uint64_t latest_ms;			    /* its last one so far */
	struct pg_received_packet *next, *previous; /* in the order of arrival */
	uint8_t *data;
	uint8_t inside[];
};

struct pg_receive_buffer;

int pg_receive_buffer_new(struct pg_receive_buffer **ret_buffer);
void pg_receive_buffer_free(struct pg_receive_buffer *buffer); /* and all that waits */

/*
 * Copies a whole packet in; data NULL marks it lost. now_ms is not below that of the call before.
 * -EEXIST when its place is taken, -ENOMEM.
 */
int pg_receive_buffer_put(struct pg_receive_buffer *buffer, uint32_t id, const uint8_t *data,
			  uint32_t bytes, uint64_t now_ms);

/*
 * Copies a fragment in; the packet is made with its first one. Errors of pg_assembly_put; -EEXIST
 * also when the place is taken by another packet.
 */
int pg_receive_buffer_part(struct pg_receive_buffer *buffer, uint32_t id, uint32_t fragment,
			   bool last, const uint8_t *data, uint32_t bytes, uint64_t now_ms);

/* Makes a packet whole of which every fragment is there, in data, which the buffer then owns. */
void pg_receive_buffer_join(struct pg_receive_buffer *buffer, uint32_t id, uint8_t *data);

/* What came of a packet that is not whole, or NULL. */
const struct pg_assembly *pg_receive_buffer_parts(const struct pg_receive_buffer *buffer,
						  uint32_t id);

/* Memory that pg_receive_buffer_part would add, at most. */
uint64_t pg_receive_buffer_part_cost(const struct pg_receive_buffer *buffer, uint32_t id,
				     uint32_t fragment, uint32_t bytes);

/* The packet with this id, if it is whole, still owned by the buffer; or NULL. */
const struct pg_received_packet *pg_receive_buffer_peek(const struct pg_receive_buffer *buffer,
							uint32_t id);
/* The packet that has the place of this id, whole or not, this or another; or NULL. */
const struct pg_received_packet *pg_receive_buffer_at(const struct pg_receive_buffer *buffer,
						      uint32_t id);
void pg_receive_buffer_drop(struct pg_receive_buffer *buffer, uint32_t id);

uint32_t pg_receive_buffer_count(const struct pg_receive_buffer *buffer);
/* Memory that the buffer and its packets hold. */
uint64_t pg_receive_buffer_bytes(const struct pg_receive_buffer *buffer);
/* Memory of a buffer without packets, and of a packet beside its bytes. */
uint64_t pg_receive_buffer_overhead(void);
uint64_t pg_receive_buffer_packet_overhead(void);

/* The lowest id at or above from, whole or not; only with a count above 0. */
uint32_t pg_receive_buffer_lowest(const struct pg_receive_buffer *buffer, uint32_t from);

/* The first of the packets to arrive, or NULL; but for the one with the id except (0 = none). */
const struct pg_received_packet *pg_receive_buffer_oldest(const struct pg_receive_buffer *buffer,
							  uint32_t except);

#endif
