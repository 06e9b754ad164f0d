/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_LIB_FRAME_H
#define PG_LIB_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "packgate/frame.h"
#include "packgate/guard.h"

/* The encoder of PROTOCOL section 1; its counterpart, pg_frame_check, is in packgate/frame.h. */

static inline uint32_t pg_frame_header_bytes(uint8_t flags)
{
	return PG_HEADER_MIN +
	       4 * (!!(flags & PG_FLAG_STRE) + !!(flags & PG_FLAG_PACK) + !!(flags & PG_FLAG_FRAG));
}

static inline uint64_t pg_frame_timestamp_ms(const uint8_t *frame)
{
	return pg_load_be64(frame + PG_AT_TIMESTAMP);
}

/*
 * Writes the header of 16 to 28 bytes: opcode, flags, session, payload_bytes (tag and guard
 * included) and the ids that flags announce come from frame. Fills frame->header_bytes and
 * frame->bytes. out holds PG_HEADER_MAX bytes.
 */
void pg_frame_write_header(uint8_t *out, struct pg_frame *frame, uint64_t timestamp_ms);

/*
 * Writes the guard into the frame's last 8 bytes, which the header already counts. key: the two
 * little-endian words of the sending direction's guard key.
 */
void pg_frame_write_guard(uint8_t *out, const struct pg_frame *frame, const uint64_t key[2]);

/* The AEAD nonce of PROTOCOL section 2. */
void pg_frame_nonce(const uint8_t iv[12], const struct pg_frame *frame, uint8_t ret_nonce[12]);

#endif
