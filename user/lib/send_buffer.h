/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SEND_BUFFER_H
#define PG_SEND_BUFFER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/*
 * What a reliable series has taken from its application and not settled yet: packets that wait for
 * their turn, and packets SENT until every fragment is acked or one has failed. Their bytes are
 * kept, so that a frame can be sent again exactly as it was. Grows with what it holds, to the 1024
 * ids that PROTOCOL section 4 allows beyond the lowest outstanding one; the bound in bytes is the
 * caller's.
 */
struct pg_send_buffer;

enum pg_packet_state {
	PG_PACKET_INIT,	       /* in the buffer */
	PG_PACKET_FRAGMENTING, /* some of its fragments were sent */
	PG_PACKET_SENT,
	PG_PACKET_ACK,	/* every fragment is acked */
	PG_PACKET_SUCC, /* and the application knows */
	PG_PACKET_FAIL,
};

enum pg_fragment_state {
	PG_FRAGMENT_INIT,
	PG_FRAGMENT_SENT, /* in flight */
	PG_FRAGMENT_LOST, /* waits to be sent again */
	PG_FRAGMENT_ACK,
	PG_FRAGMENT_FAIL,
};

/* One frame of a packet: a fragment, or the packet itself where one is enough. */
struct pg_sent_frame {
	TAILQ_ENTRY(pg_sent_frame) turn; /* by the last transmission, or among the lost */
	TAILQ_ENTRY(pg_sent_frame) age;	 /* by the first one */
	uint64_t timestamp_ms;		 /* Unix time, as in its header */
	uint64_t first_ms, last_us;	 /* monotonic */
	uint64_t order;			 /* of the last transmission */
	uint16_t index;			 /* in the packet, from 0 */
	uint8_t state;			 /* enum pg_fragment_state */
	uint8_t sent;			 /* how often */
	bool was_lost;			 /* its last resend was for a loss, not a probe */
};

TAILQ_HEAD(pg_frames, pg_sent_frame);

struct pg_sent_packet {
	void *series;	     /* the caller's */
	uint32_t id;	     /* packId */
	uint32_t message;    /* the application's number, 0 = nobody waits for the outcome */
	uint32_t bytes, cut; /* all; of each fragment but the last */
	uint16_t frames;     /* 1 = not fragmented */
	uint16_t begun;	     /* frames sent at least once */
	uint16_t acked;	     /* frames */
	uint8_t state;	     /* enum pg_packet_state */
	uint32_t resent;     /* transmissions beyond the first of each frame */
	uint8_t *data;	     /* behind the frames */
	struct pg_sent_frame frame[];
};

static inline struct pg_sent_packet *pg_sent_packet_of(struct pg_sent_frame *frame)
{
	return (struct pg_sent_packet *)((char *)(frame - frame->index) -
					 __builtin_offsetof(struct pg_sent_packet, frame));
}

static inline uint32_t pg_sent_packet_frame_bytes(const struct pg_sent_packet *packet,
						  uint32_t index)
{
	return index + 1u < packet->frames ? packet->cut : packet->bytes - index * packet->cut;
}

int pg_send_buffer_new(uint32_t first_id, struct pg_send_buffer **ret_buffer);
/* And all that it holds, whose frames the caller has taken off its lists. */
void pg_send_buffer_free(struct pg_send_buffer *buffer);

/* Memory that a packet of so many bytes takes, cut into frames of at most cut bytes. */
uint64_t pg_send_buffer_cost(uint32_t bytes, uint32_t cut);

/* Whether another packet may come: fewer than 1024 ids from the lowest outstanding one on. */
bool pg_send_buffer_allows(const struct pg_send_buffer *buffer);

/*
 * Copies a packet in, with the next id. The buffer owns it. -ENOBUFS beyond 1024 ids, -ENOMEM.
 */
int pg_send_buffer_put(struct pg_send_buffer *buffer, const uint8_t *data, uint32_t bytes,
		       uint32_t cut, uint32_t message, struct pg_sent_packet **ret_packet);

/* The packet with this id, or NULL: not put yet, or settled. */
struct pg_sent_packet *pg_send_buffer_find(const struct pg_send_buffer *buffer, uint32_t id);

/* The lowest packet with a frame that was never sent, or NULL. */
struct pg_sent_packet *pg_send_buffer_fresh(struct pg_send_buffer *buffer);

/* The lowest packet outstanding, or NULL. */
struct pg_sent_packet *pg_send_buffer_first(const struct pg_send_buffer *buffer);

/* Takes a settled packet out and frees it. */
void pg_send_buffer_remove(struct pg_send_buffer *buffer, struct pg_sent_packet *packet);

bool pg_send_buffer_empty(const struct pg_send_buffer *buffer);
uint32_t pg_send_buffer_next(const struct pg_send_buffer *buffer);  /* the id of the next packet */
uint64_t pg_send_buffer_bytes(const struct pg_send_buffer *buffer); /* costs of all packets */

#endif
