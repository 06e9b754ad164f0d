// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <string.h>

#include "frame.h"

void pg_frame_write_header(uint8_t *out, struct pg_frame *frame, uint64_t timestamp_ms)
{
	uint8_t *at = out + PG_AT_IDS;

	pg_store_be32(out + PG_AT_CLIENT_ID, frame->session);
	pg_store_be64(out + PG_AT_TIMESTAMP, timestamp_ms);
	out[PG_AT_FLAGS] = frame->flags;
	out[PG_AT_OPCODE] = frame->opcode;
	pg_store_be16(out + PG_AT_PAYLOAD_LENGTH, frame->payload_bytes);
	if (frame->flags & PG_FLAG_STRE) {
		pg_store_be32(at, frame->stream);
		at += 4;
	}
	if (frame->flags & PG_FLAG_PACK) {
		pg_store_be32(at, frame->pack);
		at += 4;
	}
	if (frame->flags & PG_FLAG_FRAG) {
		pg_store_be32(at, frame->fragment);
		at += 4;
	}
	frame->header_bytes = at - out;
	frame->bytes = frame->header_bytes + frame->payload_bytes;
}

void pg_frame_write_guard(uint8_t *out, const struct pg_frame *frame, const uint64_t key[2])
{
	__u64 words[2] = { key[0], key[1] };
	__u64 guard = 0;

	pg_guard_of_frame(words, out, frame, &guard);
	pg_store_le64(out + frame->bytes - PG_GUARD_BYTES, guard);
}

void pg_frame_nonce(const uint8_t iv[12], const struct pg_frame *frame, uint8_t ret_nonce[12])
{
	pg_store_be32(ret_nonce, frame->stream);
	pg_store_be32(ret_nonce + 4, frame->pack);
	pg_store_be32(ret_nonce + 8, frame->fragment);
	for (int i = 0; i < 12; i++)
		ret_nonce[i] ^= iv[i];
}
