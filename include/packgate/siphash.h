/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_SIPHASH_H
#define PACKGATE_SIPHASH_H

#include "bytes.h"

/*
 * SipHash-2-4 with a 128-bit key (two little-endian words) and a 64-bit result, as PROTOCOL
 * section 3 uses it. Compiles for BPF and user space.
 */

struct pg_siphash {
	__u64 v0, v1, v2, v3;
};

#define PG_ROTL64(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static __always_inline void pg_siphash_round(struct pg_siphash *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = PG_ROTL64(s->v1, 13);
	s->v3 = PG_ROTL64(s->v3, 16);
	s->v1 ^= s->v0;
	s->v3 ^= s->v2;
	s->v0 = PG_ROTL64(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = PG_ROTL64(s->v1, 17);
	s->v3 = PG_ROTL64(s->v3, 21);
	s->v1 ^= s->v2;
	s->v3 ^= s->v0;
	s->v2 = PG_ROTL64(s->v2, 32);
}

static __always_inline void pg_siphash_start(struct pg_siphash *s, const __u64 key[2])
{
	s->v0 = key[0] ^ 0x736f6d6570736575ull;
	s->v1 = key[1] ^ 0x646f72616e646f6dull;
	s->v2 = key[0] ^ 0x6c7967656e657261ull;
	s->v3 = key[1] ^ 0x7465646279746573ull;
}

static __always_inline void pg_siphash_word(struct pg_siphash *s, __u64 word)
{
	s->v3 ^= word;
	pg_siphash_round(s);
	pg_siphash_round(s);
	s->v0 ^= word;
}

/* last: the 0..7 bytes that fill no word, little-endian, with the total length in the top byte. */
static __always_inline __u64 pg_siphash_finish(struct pg_siphash *s, __u64 last)
{
	pg_siphash_word(s, last);
	s->v2 ^= 0xff;
	pg_siphash_round(s);
	pg_siphash_round(s);
	pg_siphash_round(s);
	pg_siphash_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

#define PG_SIPHASH_LAST(bytes) ((__u64)(bytes) << 56)

/* Any length, for user space: BPF needs its bounds proved and has guard.h. */
#ifndef __bpf__
static inline __u64 pg_siphash(const __u64 key[2], const void *data, __u32 bytes)
{
	const __u8 *p = (const __u8 *)data;
	__u64 last = PG_SIPHASH_LAST(bytes);
	struct pg_siphash s;
	__u32 i;

	pg_siphash_start(&s, key);
	for (i = 0; i + 8 <= bytes; i += 8)
		pg_siphash_word(&s, pg_load_le64(p + i));
	for (; i < bytes; i++)
		last |= (__u64)p[i] << (8 * (i & 7));
	return pg_siphash_finish(&s, last);
}
#endif

#endif
