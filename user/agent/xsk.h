/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_XSK_H
#define PG_XSK_H

#include <linux/if_xdp.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

/*
 * One AF_XDP socket on one RX queue with its own UMEM, for one thread. Verbs: receive/release,
 * alloc/send/flush. No program is loaded or attached here; the caller puts the fd into pg_xsks.
 */
struct pg_xsk;

#define PG_XSK_BATCH 64

struct pg_xsk_frame {
	uint8_t *data;
	uint32_t bytes;
	uint64_t address; /* for release */
};

/* zerocopy: demand it; otherwise the copy mode is demanded. */
int pg_xsk_open(const char *interface, uint32_t queue, bool zerocopy, struct pg_xsk **ret_xsk,
		struct pg_error *error);
void pg_xsk_close(struct pg_xsk *xsk);
int pg_xsk_fd(const struct pg_xsk *xsk);

/* Up to PG_XSK_BATCH frames; they stay valid, and writable, until released together. */
uint32_t pg_xsk_receive(struct pg_xsk *xsk, struct pg_xsk_frame *frames);
void pg_xsk_release(struct pg_xsk *xsk, const struct pg_xsk_frame *frames, uint32_t count);

/* Room for one outgoing frame of up to 2048 + 128 bytes, or NULL when the ring is full. */
uint8_t *pg_xsk_alloc(struct pg_xsk *xsk);
/* Queues a frame that starts at start within the room that alloc gave. */
void pg_xsk_send(struct pg_xsk *xsk, uint8_t *start, uint32_t bytes);
/* Gives back what alloc gave and nobody wants to send. */
void pg_xsk_cancel(struct pg_xsk *xsk, uint8_t *room);
/* Hands everything queued to the kernel. */
void pg_xsk_flush(struct pg_xsk *xsk);
/* Whether the kernel has taken all that was queued; it may leave some of it to the next flush. */
bool pg_xsk_flushed(const struct pg_xsk *xsk);

int pg_xsk_statistics(const struct pg_xsk *xsk, struct xdp_statistics *ret_statistics);

#endif
