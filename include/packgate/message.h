/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_MESSAGE_H
#define PACKGATE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "public.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Messages carried in packets and on TCP (PROTOCOL section 6):
 *
 *	08 Id(varint, >= 1)  10 PacketLength(varint, = 4 + n)  n(fixed32, little-endian)  n bytes
 *
 * A data packet holds zero or more whole messages and is checked whole before any is delivered; a
 * byte stream is read with an incremental parser.
 */

#define PG_MESSAGE_HEADER_MAX 16 /* bytes in front of the body, the length n included */
#define PG_MESSAGE_HEADER_MIN 8
#define PG_MESSAGE_VALUE_MAX  0x7fffffff		 /* of Id and of PacketLength */
#define PG_MESSAGE_BODY_MAX   (PG_MESSAGE_VALUE_MAX - 4) /* what PacketLength can say */
#define PG_MESSAGE_BODY	      1048576			 /* the default maximum, bytes */

#define PG_MESSAGE_PING 1 /* Id of a client's heartbeat */
#define PG_MESSAGE_PONG 2 /* Id of its answer */

/* Why bytes are refused: X(NAME, number, label, help). Metric labels and docs come from it. */
#define PG_MESSAGE_MALFORMED(X)                                                               \
	X(TAG, 1, "tag", "not the tags of Id and PacketLength, in this order")                \
	X(VARINT_LONG, 2, "varint_long", "a varint of more than 5 bytes")                     \
	X(VARINT_PADDED, 3, "varint_padded", "a varint in more bytes than its value needs")   \
	X(VARINT_RANGE, 4, "varint_range", "a varint over 2^31-1")                            \
	X(ID_ZERO, 5, "id_zero", "Id 0")                                                      \
	X(LENGTH_SHORT, 6, "length_short", "PacketLength below 4")                            \
	X(LENGTH_MISMATCH, 7, "length_mismatch", "PacketLength is not 4 + the body's length") \
	X(BODY_SIZE, 8, "body_size", "a body longer than the configured maximum")             \
	X(TRUNCATED, 9, "truncated",                                                          \
	  "the packet or the connection ends in the midst of a message")                      \
	X(MEMORY, 10, "memory", "no memory to gather the message")

enum pg_message_malformed {
#define PG_X(name, number, ...) PG_MALFORMED_##name = number,
	PG_MESSAGE_MALFORMED(PG_X)
#undef PG_X
};

#define PG_MALFORMED_SLOTS 16 /* array stride: every number above is below it */

/* The label or the help of a reason (positive number); NULL for a number not in the list. */
PG_PUBLIC const char *pg_message_malformed_label(int reason);
PG_PUBLIC const char *pg_message_malformed_help(int reason);

struct pg_message_view {
	uint32_t id; /* 1 .. PG_MESSAGE_VALUE_MAX */
	uint32_t bytes;
	const uint8_t *body; /* not owned; not NULL, even for 0 bytes */
};

/* --- writing -----------------------------------------------------------------------------------
 */

/* Bytes of a whole message; 0 when id or bytes cannot be said. */
PG_PUBLIC uint32_t pg_message_size(uint32_t id, uint32_t bytes);

/*
 * Writes what stands in front of a body of so many bytes; returns how many were written, or
 * -EINVAL when id or bytes cannot be said.
 */
PG_PUBLIC int pg_message_write_header(uint8_t header[PG_MESSAGE_HEADER_MAX], uint32_t id,
				      uint32_t bytes);

/*
 * Writes a whole message into room bytes; returns pg_message_size(), -EINVAL as above, or
 * -ENOBUFS when the room is too small. Nothing is written on failure. body may overlap nothing.
 */
PG_PUBLIC int pg_message_write(uint8_t *out, uint32_t room, uint32_t id, const void *body,
			       uint32_t bytes);

/* --- a packet ----------------------------------------------------------------------------------
 */

/*
 * Reads the whole message that data begins with. 0, or a negative enum pg_message_malformed:
 * TRUNCATED when data ends first. max_body: bytes, at most PG_MESSAGE_BODY_MAX.
 */
PG_PUBLIC int pg_message_read(const uint8_t *data, size_t bytes, uint32_t max_body,
			      size_t *ret_consumed, struct pg_message_view *ret_message);

/* Whether a packet is zero or more whole messages. 0, or a negative enum pg_message_malformed. */
PG_PUBLIC int pg_message_check(const uint8_t *packet, size_t bytes, uint32_t max_body,
			       uint32_t *ret_count);

/* --- a byte stream -----------------------------------------------------------------------------
 */

struct pg_message_parser {
	uint32_t max_body;
	uint32_t id, length, bytes; /* Id, PacketLength and n, as far as they were read */
	uint32_t have;		    /* bytes of the value or of the body that were read */
	uint32_t capacity;	    /* memory held for the body, bytes */
	uint8_t *body;
	uint8_t state;
	int8_t refused; /* the stream was refused with this */
};

/* max_body: bytes, at most PG_MESSAGE_BODY_MAX. Holds no memory until a body comes in parts. */
PG_PUBLIC void pg_message_parser_init(struct pg_message_parser *parser, uint32_t max_body);
PG_PUBLIC void pg_message_parser_done(struct pg_message_parser *parser);

/*
 * Reads on. 1: a message is complete; its body lies in data or in the parser and is valid until
 * the next call; *ret_consumed bytes of data are done with, call again with the rest. 0: all of
 * data is done with (*ret_consumed = bytes) and more is needed. Negative enum
 * pg_message_malformed: the stream is refused, and so is whatever follows. A body is gathered in
 * memory that grows with what came, not with what was announced.
 */
PG_PUBLIC int pg_message_parse(struct pg_message_parser *parser, const uint8_t *data, size_t bytes,
			       size_t *ret_consumed, struct pg_message_view *ret_message);

/* Whether the stream stands in the midst of a message: then its end is TRUNCATED. */
PG_PUBLIC bool pg_message_parser_inside(const struct pg_message_parser *parser);

#ifdef __cplusplus
}
#endif

#endif
