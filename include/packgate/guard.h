/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_GUARD_H
#define PACKGATE_GUARD_H

#include "frame.h"
#include "siphash.h"

/*
 * The guard of PROTOCOL section 3: SipHash-2-4 under the direction's guard key, over the header of
 * a data frame, over all but the last 8 bytes of every other frame. frame comes from
 * pg_frame_check over the same bytes; data_end bounds every load (the verifier wants it proved).
 */

/* The header of a data frame: 16 bytes and one to three ids. */
static __always_inline bool pg_guard_of_header(const __u64 key[2], const __u8 *data,
					       const void *data_end, __u32 header_bytes,
					       __u64 *ret_guard)
{
	__u64 last = PG_SIPHASH_LAST(header_bytes);
	struct pg_siphash s;

	if ((const void *)(data + 20) > data_end)
		return false;
	pg_siphash_start(&s, key);
	pg_siphash_word(&s, pg_load_le64(data));
	pg_siphash_word(&s, pg_load_le64(data + 8));
	if (header_bytes == 20) {
		*ret_guard = pg_siphash_finish(&s, last | pg_load_le32(data + 16));
		return true;
	}
	if ((const void *)(data + 24) > data_end)
		return false;
	pg_siphash_word(&s, pg_load_le64(data + 16));
	if (header_bytes == 28) {
		if ((const void *)(data + 28) > data_end)
			return false;
		last |= pg_load_le32(data + 24);
	}
	*ret_guard = pg_siphash_finish(&s, last);
	return true;
}

/* Whether the last 8 bytes of a data frame are its guard under key. */
static __always_inline bool pg_guard_check_data(const __u64 key[2], const void *start,
						const void *data_end, const struct pg_frame *frame)
{
	const __u8 *data = (const __u8 *)start;
	__u32 cover = ((__u32)frame->bytes - PG_GUARD_BYTES) & 0xfff;
	__u64 guard;

	if (!pg_guard_of_header(key, data, data_end, frame->header_bytes, &guard) ||
	    (const void *)(data + cover + PG_GUARD_BYTES) > data_end)
		return false;
	return guard == pg_load_le64(data + cover);
}

/* A control frame copied to where its length is known: cover <= 92 bytes, zeros behind them. */
struct pg_guard_cover {
	__u8 bytes[PG_GUARD_COVER_MAX + 4];
};

static __always_inline __u64 pg_guard_of_control(const __u64 key[2],
						 const struct pg_guard_cover *text, __u32 cover)
{
	struct pg_siphash s;
	__u32 i;

	pg_siphash_start(&s, key);
	for (i = 0; i < PG_GUARD_COVER_MAX / 8; i++) {
		if (cover < 8 * (i + 1))
			break;
		pg_siphash_word(&s, pg_load_le64(&text->bytes[8 * i]));
	}
	/* what is left of the last word ends in the zeros */
	return pg_siphash_finish(&s, PG_SIPHASH_LAST(cover) | pg_load_le64(&text->bytes[8 * i]));
}

#ifndef __bpf__
/* User space: the guard that the frame of so many bytes, its guard included, must carry. */
static inline bool pg_guard_of_frame(const __u64 key[2], const void *data,
				     const struct pg_frame *frame, __u64 *ret_guard)
{
	__u32 cover = frame->bytes - PG_GUARD_BYTES;

	if (frame->opcode == PG_OP_DATA)
		return pg_guard_of_header(key, (const __u8 *)data,
					  (const __u8 *)data + frame->bytes, frame->header_bytes,
					  ret_guard);
	if (cover > PG_GUARD_COVER_MAX)
		return false;
	*ret_guard = pg_siphash(key, data, cover);
	return true;
}

static inline bool pg_guard_check(const __u64 key[2], const void *data,
				  const struct pg_frame *frame)
{
	__u64 guard;

	return pg_guard_of_frame(key, data, frame, &guard) &&
	       guard == pg_load_le64((const __u8 *)data + frame->bytes - PG_GUARD_BYTES);
}
#endif

#endif
