// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

/*
 * The validator and the guard. The first byte chooses direction (bit 0) and guard (bit 1), the
 * second shortens the claimed length; the rest is a UDP payload, in memory of exactly its size.
 * What is valid must encode to the same bytes.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void encode_again(const uint8_t *bytes, const struct pg_frame *frame)
{
	struct pg_frame copy = *frame;
	uint8_t header[PG_HEADER_MAX], nonce[12], iv[12] = { 0 };

	copy.header_bytes = 0;
	copy.bytes = 0;
	pg_frame_write_header(header, &copy, pg_frame_timestamp_ms(bytes));
	if (copy.header_bytes != frame->header_bytes || copy.bytes != frame->bytes ||
	    memcmp(header, bytes, frame->header_bytes))
		abort();
	pg_frame_nonce(iv, frame, nonce);
	if (pg_load_be32(nonce) != frame->stream || pg_load_be32(nonce + 4) != frame->pack ||
	    pg_load_be32(nonce + 8) != frame->fragment)
		abort();
}

static void guard(uint8_t *bytes, const struct pg_frame *frame)
{
	const uint64_t key[2] = { 1, 2 };
	const __u64 words[2] = { 1, 2 };

	pg_guard_check(words, bytes, frame);
	if (frame->opcode == PG_OP_DATA)
		pg_guard_check_data(words, bytes, bytes + frame->bytes, frame);
	else if (frame->bytes > PG_GUARD_COVER_MAX + PG_GUARD_BYTES)
		return; /* only a handshake is longer than a guard covers */
	pg_frame_write_guard(bytes, frame, key);
	if (!pg_guard_check(words, bytes, frame))
		abort();
	bytes[frame->bytes - 1] ^= 1;
	if (pg_guard_check(words, bytes, frame))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct pg_frame frame;
	uint8_t *copy;
	uint32_t claimed;

	if (bytes < 2 || bytes > 4096)
		return 0;
	claimed = bytes - 2;
	claimed = claimed > data[1] ? claimed - data[1] : 0;
	copy = malloc(bytes - 2 ? bytes - 2 : 1);
	if (!copy)
		return 0;
	memcpy(copy, data + 2, bytes - 2);
	if (!pg_frame_check(copy, copy + bytes - 2, claimed, data[0] & 1, data[0] & 2, &frame)) {
		if (frame.bytes != claimed || frame.bytes > PG_FRAME_MAX)
			abort();
		encode_again(copy, &frame);
		if (frame.has_guard)
			guard(copy, &frame);
	}
	free(copy);
	return 0;
}
