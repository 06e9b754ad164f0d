/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_WIRE_H
#define PACKGATE_WIRE_H

#include <linux/types.h>

/*
 * The frame on the wire (PROTOCOL section 1): a fixed part of 16 bytes, up to three optional
 * 4-byte ids, then the payload. Every integer is big-endian. One frame travels per UDP datagram.
 */

#define PG_HEADER_MIN	   16	/* bytes without optional ids */
#define PG_HEADER_MAX	   28	/* bytes with stream id, packId and fragment id */
#define PG_FRAME_MAX	   2048 /* bytes of a UDP payload that a receiver takes */
#define PG_PAYLOAD_MAX	   2020 /* largest MAX_PAYLOAD_LEN a peer may announce, bytes */
#define PG_PAYLOAD_DEFAULT 1172 /* MAX_PAYLOAD_LEN unless configured, bytes */
#define PG_FRAGMENTS_MAX   512	/* fragments of one packet */
#define PG_GUARD_BYTES	   8	/* section 3 */
#define PG_GUARD_COVER_MAX 92	/* bytes a guard covers at most */
#define PG_TAG_BYTES	   16	/* AEAD tag, section 2 */
#define PG_KEY_BLOCK_SHIFT 14	/* packIds 2^14 to a key block, section 2 */
#define PG_PACK_ID_LAST	   0xfffffffeu

/* Bytes of the header that a flag byte announces: 4 more for each of STRE PACK FRAG. */
#define PG_HEADER_BYTES(flags) (4 * (0x76656554u >> ((flags) >> 3 & 0x1c) & 0xf))

/* Offsets into the fixed part. Only the decoder of frame.h and the encoder use them. */
#define PG_AT_CLIENT_ID	     0
#define PG_AT_SERVER_ID	     2
#define PG_AT_TIMESTAMP	     4
#define PG_AT_FLAGS	     12
#define PG_AT_OPCODE	     13
#define PG_AT_PAYLOAD_LENGTH 14
#define PG_AT_IDS	     16

#define PG_FLAG_STRE 0x80 /* a stream id follows */
#define PG_FLAG_PACK 0x40 /* a packId follows */
#define PG_FLAG_FRAG 0x20 /* a fragment id follows */
#define PG_FLAG_RSV  0x1c
#define PG_FLAG_SLOW 0x02
#define PG_FLAG_FIN  0x01

#define PG_OPCODE_RSV 0xf0

enum pg_direction {
	PG_C2S = 0, /* client to server */
	PG_S2C = 1, /* server to client */
};

#define PG_TO_SERVER (1 << PG_C2S)
#define PG_TO_CLIENT (1 << PG_S2C)
#define PG_BOTH	     (PG_TO_SERVER | PG_TO_CLIENT)

/*
 * A legal flag byte as one of 32 bits: STRE PACK FRAG SLOW FIN squeezed to a 5-bit index.
 * The reserved bits are zero by the time this is asked.
 */
#define PG_FLAG_INDEX(flags) ((((flags) >> 3) & 0x1c) | ((flags)&3))
#define PG_FLAG_BIT(flags)   (1u << PG_FLAG_INDEX(flags))

#define PG_FLAGS_DATA                                                                    \
	(PG_FLAG_BIT(0x40) | PG_FLAG_BIT(0xc0) | PG_FLAG_BIT(0x60) | PG_FLAG_BIT(0xe0) | \
	 PG_FLAG_BIT(0x61) | PG_FLAG_BIT(0xe1))
#define PG_FLAGS_ACK                                                                     \
	(PG_FLAG_BIT(0x40) | PG_FLAG_BIT(0x42) | PG_FLAG_BIT(0xc0) | PG_FLAG_BIT(0xc2) | \
	 PG_FLAG_BIT(0x60) | PG_FLAG_BIT(0x61) | PG_FLAG_BIT(0x62) | PG_FLAG_BIT(0x63) | \
	 PG_FLAG_BIT(0xe0) | PG_FLAG_BIT(0xe1) | PG_FLAG_BIT(0xe2) | PG_FLAG_BIT(0xe3))
#define PG_FLAGS_NONE	PG_FLAG_BIT(0x00)
#define PG_FLAGS_STREAM PG_FLAG_BIT(0x80)

/*
 * Every opcode of section 1:
 * X(NAME, number, label, directions, legal flag bytes, payload min, max, min and max of a fragment)
 * Payload bounds are bytes without the guard; 0xffff leaves the bound to the frame's own limit.
 */
#define PG_OPCODES(X)                                                                \
	X(DATA, 0x0, "data", PG_BOTH, PG_FLAGS_DATA, 16, 0xffff, 17, 0xffff)         \
	X(ACK, 0x4, "ack", PG_BOTH, PG_FLAGS_ACK, 0, 0, 1, 64)                       \
	X(PING, 0x5, "ping", PG_BOTH, PG_FLAGS_NONE, 0, 64, 0, 0)                    \
	X(PONG, 0x6, "pong", PG_BOTH, PG_FLAGS_NONE, 0, 64, 0, 0)                    \
	X(OPENSTREAM, 0x7, "openstream", PG_TO_SERVER, PG_FLAGS_STREAM, 0, 1, 0, 0)  \
	X(STREAMOPEN, 0x8, "streamopen", PG_BOTH, PG_FLAGS_STREAM, 0, 0, 0, 0)       \
	X(CLOSESTREAM, 0x9, "closestream", PG_BOTH, PG_FLAGS_STREAM, 0, 0, 0, 0)     \
	X(SHAKEHAND, 0xa, "shakehand", PG_TO_SERVER, PG_FLAGS_NONE, 256, 1172, 0, 0) \
	X(HANDSHAKE, 0xb, "handshake", PG_BOTH, PG_FLAGS_NONE, 1, 256, 0, 0)         \
	X(GOAWAY, 0xc, "goaway", PG_BOTH, PG_FLAGS_NONE, 1, 1, 0, 0)

enum pg_opcode {
#define PG_X(name, number, ...) PG_OP_##name = number,
	PG_OPCODES(PG_X)
#undef PG_X
};

/* The payload of goaway. */
enum pg_goaway {
	PG_GOAWAY_NORMAL = 0,
	PG_GOAWAY_ERROR = 1,
	PG_GOAWAY_EXPIRED = 2,
};

/* Policy of a series (section 4); also the payload byte of openstream. */
#define PG_POLICIES(X)                                                                  \
	X(RELIABLE, 0, "reliable", "window, acked, resent, in order")                   \
	X(NEWEST, 1, "newest", "monotonic, neither acked nor resent, never fragmented") \
	X(UNORDERED, 2, "unordered", "window, neither acked nor resent, delivered on completion")

enum pg_policy {
#define PG_X(name, number, ...) PG_POLICY_##name = number,
	PG_POLICIES(PG_X)
#undef PG_X
		PG_POLICY_COUNT
};

#endif
