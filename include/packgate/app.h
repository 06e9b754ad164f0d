/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_APP_H
#define PACKGATE_APP_H

#include <linux/types.h>

/*
 * Records on the application socket (DESIGN section 4, "Delivery"): a Unix SOCK_SEQPACKET socket
 * on which the agent listens. One datagram holds one or more whole records and at most 64 KiB;
 * a record is this header and `length` bytes. All integers are big-endian. Every record that is
 * refused is answered by an ERROR of the same session, stream and message; while one waits for room
 * in the socket nothing more is read from the application.
 *
 * The bytes of SESSION_OPEN are the peer as text (A.B.C.D:PORT, [v6]:PORT); if the token of the
 * session's handshake names a user, a newline and the name follow: printable ASCII, at most 127
 * bytes. Lines behind these two may be added and are to be passed over.
 */

#define PG_APP_DATAGRAM_MAX 65536
#define PG_APP_HEADER_BYTES 28

/*
 * flags: the message goes on in the next record of the same transport, session and stream. What an
 * application sends goes on in its next record, which repeats the header but for length.
 */
#define PG_APP_MORE 0x0001

/* X(NAME, number, label, the application may send it, help) */
#define PG_APP_KINDS(X)                                                                           \
	X(HELLO, 0, "hello", 1, "app: endpoint names, one a line; agent: their ids, or an error") \
	X(MESSAGE, 1, "message", 1, "a message of a session or stream")                           \
	X(SESSION_OPEN, 2, "session open", 0, "the session is READY; bytes: the peer and user")   \
	X(SESSION_CLOSED, 3, "session closed", 1, "the session ended; bytes: one goaway code")    \
	X(STREAM_OPEN, 4, "stream open", 1, "the peer opened a stream; bytes: one policy byte")   \
	X(STREAM_CLOSED, 5, "stream closed", 1, "the stream ended, or is to be closed")           \
	X(GAP, 6, "gap", 0, "message id .. that + bytes (u32) - 1 never came")                    \
	X(SENT, 7, "sent", 0, "the peer acked this message id (SUCC)")                            \
	X(FAILED, 8, "failed", 0, "this message id was not acked in time (FAIL)")                 \
	X(ERROR, 9, "error", 0, "a record was refused; bytes: the reason as text")

enum pg_app_kind {
#define PG_X(name, number, ...) PG_APP_##name = number,
	PG_APP_KINDS(PG_X)
#undef PG_X
};

enum pg_app_transport {
	PG_APP_UDP = 0,
	PG_APP_TCP = 1,
};

struct pg_app_record {
	__u8 kind;
	__u8 transport;
	__be16 flags;
	__be32 endpoint;
	__be64 session; /* handle */
	__be32 stream;	/* 0 = the session's own series */
	/*
	 * Endpoints with format: raw: packId; in a record to the agent any number that SENT or
	 * FAILED repeats. With format: message: the message's Id, which the agent writes in front
	 * of what the application sends; 0 = the bytes are whole messages already. GAP: packId.
	 */
	__be32 message;
	__be32 length; /* bytes that follow */
} __attribute__((packed));

_Static_assert(sizeof(struct pg_app_record) == PG_APP_HEADER_BYTES, "no padding on the socket");

#endif
