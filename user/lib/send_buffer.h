/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SEND_BUFFER_H
#define PG_SEND_BUFFER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What a reliable series has sent and not yet seen acked: packets SENT, from the lowest id that is
 * neither ACK nor FAIL. Grows with what is outstanding, to the 1024 ids that PROTOCOL section 4
 * allows, and is freed when nothing is.
 */
struct pg_send_buffer;

struct pg_sent_packet {
	uint32_t message; /* the application's number, 0 = nobody waits for the outcome */
	uint32_t done;	  /* acked or given up */
	uint64_t sent_ms; /* monotonic */
};

int pg_send_buffer_new(uint32_t first_id, struct pg_send_buffer **ret_buffer);
void pg_send_buffer_free(struct pg_send_buffer *buffer);

/* Whether id may be sent: id - lowest outstanding < 1024. */
bool pg_send_buffer_allows(const struct pg_send_buffer *buffer, uint32_t id);

/* Makes room for id, the next one in the series. -ENOBUFS beyond the bound, -ENOMEM. */
int pg_send_buffer_reserve(struct pg_send_buffer *buffer, uint32_t id);

/* Notes that id was sent. Errors as above; cannot fail after pg_send_buffer_reserve. */
int pg_send_buffer_put(struct pg_send_buffer *buffer, uint32_t id, uint32_t message,
		       uint64_t now_ms);

/* Marks id acked and returns a copy of it. -ENOENT when it is not outstanding. */
int pg_send_buffer_ack(struct pg_send_buffer *buffer, uint32_t id,
		       struct pg_sent_packet *ret_packet);

/*
 * The lowest outstanding packet, when it was sent at or before sent_until_ms: marks it failed,
 * and copies it out. -ENOENT when there is none.
 */
int pg_send_buffer_expire(struct pg_send_buffer *buffer, uint64_t sent_until_ms,
			  struct pg_sent_packet *ret_packet, uint32_t *ret_id);

bool pg_send_buffer_empty(const struct pg_send_buffer *buffer);
/* When the lowest outstanding packet was sent; only when not empty. */
uint64_t pg_send_buffer_oldest_ms(const struct pg_send_buffer *buffer);

#endif
