/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TEST_FRAME_SPEC_H
#define PG_TEST_FRAME_SPEC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "packgate/siphash.h"
#include "packgate/wire.h"

/* An encoder of frames of its own, so that the tests do not lean on the library they test. */

#define FRAME_ROOM 2304

struct frame_bytes {
	uint8_t bytes[FRAME_ROOM];
	uint32_t n;
};

struct frame_spec {
	uint8_t opcode;
	uint8_t flags;
	uint16_t payload; /* bytes without the guard */
	uint32_t stream;
	uint32_t pack;
	uint32_t fragment;
};

struct frame_ids {
	uint16_t client, server;
};

static inline uint32_t spec_header_bytes(const struct frame_spec *spec)
{
	return 16 + 4 * (!!(spec->flags & 0x80) + !!(spec->flags & 0x40) + !!(spec->flags & 0x20));
}

/* Writes the guard over a frame whose last 8 bytes are kept for it. */
static inline void seal_guard(uint8_t *frame, uint32_t n, uint32_t header_bytes,
			      const uint64_t key[2])
{
	__u64 words[2] = { key[0], key[1] };
	uint32_t cover = (frame[13] & 0xf) == 0 ? header_bytes : n - 8;

	pg_store_le64(frame + n - 8, pg_siphash(words, frame, cover));
}

/* key: the guard key, or NULL for a frame without guard. */
static inline void build_frame(const struct frame_spec *spec, struct frame_ids ids,
			       const uint64_t *key, struct frame_bytes *ret_frame)
{
	uint8_t *frame = ret_frame->bytes, *at = frame + 16;
	uint32_t header = spec_header_bytes(spec);
	uint32_t payload = spec->payload + (key ? 8 : 0);

	memset(frame, 0xa5, header + payload);
	pg_store_be16(frame, ids.client);
	pg_store_be16(frame + 2, ids.server);
	pg_store_be64(frame + 4, 1700000000123);
	frame[12] = spec->flags;
	frame[13] = spec->opcode;
	pg_store_be16(frame + 14, payload);
	if (spec->flags & 0x80) {
		pg_store_be32(at, spec->stream);
		at += 4;
	}
	if (spec->flags & 0x40) {
		pg_store_be32(at, spec->pack);
		at += 4;
	}
	if (spec->flags & 0x20)
		pg_store_be32(at, spec->fragment);
	ret_frame->n = header + payload;
	if (key)
		seal_guard(frame, ret_frame->n, header, key);
}

#endif
