/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_MESSAGE_STREAMS_H
#define PG_MESSAGE_STREAMS_H

#include <stdint.h>

#include "decoded.h"

/*
 * Messages of PROTOCOL section 6 in TCP connections and in opened packets. A direction of a
 * connection is read from its SYN on, in order; one whose SYN was not seen is not read: nobody
 * knows where a message begins. Bounded: PG_MESSAGE_STREAMS_MAX directions, of which the one that
 * was silent longest gives way; each holds one body of at most PG_MESSAGE_BODY as far as it came,
 * and PG_MESSAGE_PENDING_MAX segments of PG_MESSAGE_PENDING_BYTES in all that wait for earlier
 * ones. Beyond that, or after a malformed message, a direction is not read on.
 */
#define PG_MESSAGE_STREAMS_MAX	 256
#define PG_MESSAGE_PENDING_MAX	 64
#define PG_MESSAGE_PENDING_BYTES 131072

struct pg_message_streams;

/* Returns 0 or -ENOMEM. */
int pg_message_streams_new(struct pg_message_streams **ret_streams);
void pg_message_streams_free(struct pg_message_streams *streams); /* NULL is ignored */

/* Reads on with the segment of decoded->tcp, which is whole; sets decoded->messages. */
void pg_message_streams_segment(struct pg_message_streams *streams, struct pg_decoded *decoded);

/* Reads an opened packet, decoded->frame.plain; sets decoded->messages. */
void pg_messages_of_packet(struct pg_decoded *decoded);

#endif
