/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TEST_MUTATE_H
#define PG_TEST_MUTATE_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "frame_spec.h"

/* Seeded noise, and frames that are nearly right: what random bytes alone would never reach. */

struct noise {
	uint64_t state;
};

/* The seed is PG_SEED from the environment, else the clock; it is printed, to run again. */
static inline struct noise noise_start(const char *what)
{
	const char *given = getenv("PG_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;

	printf("%s: PG_SEED=%llu\n", what, (unsigned long long)seed);
	return (struct noise){ seed };
}

static inline uint64_t noise_word(struct noise *noise)
{
	uint64_t x = noise->state += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline uint32_t noise_below(struct noise *noise, uint32_t bound)
{
	return (noise_word(noise) >> 32) * bound >> 32;
}

static inline void noise_fill(struct noise *noise, uint8_t *bytes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += 8) {
		uint64_t word = noise_word(noise);

		memcpy(bytes + i, &word, n - i < 8 ? n - i : 8);
	}
}

/* A legal opcode and flag byte, and a payload length on or near a bound, or anywhere. */
static inline struct frame_spec noise_spec(struct noise *noise)
{
	static const uint8_t opcodes[] = { 0, 0, 0, 0, 4, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc };
	static const uint8_t data_flags[] = { 0x40, 0xc0, 0x60, 0xe0, 0x61, 0xe1 };
	static const uint16_t sizes[] = { 0,	1,    2,    15,	  16,	17,  63,   64,
					  65,	76,   77,   255,  256,	257, 1171, 1172,
					  1173, 1999, 2004, 2012, 2020, 2028 };
	struct frame_spec spec = { .opcode = opcodes[noise_below(noise, sizeof(opcodes))] };

	if (spec.opcode == 0 || spec.opcode == 4)
		spec.flags = data_flags[noise_below(noise, sizeof(data_flags))];
	if (spec.opcode == 4)
		spec.flags |= noise_below(noise, 2) << 1;
	if (spec.opcode >= 7 && spec.opcode <= 9)
		spec.flags = 0x80;
	spec.stream = 1 + noise_below(noise, 5);
	spec.pack = 1 + noise_below(noise, 3000);
	spec.fragment = 1 + noise_below(noise, 514);
	if (spec.opcode == 0)
		spec.payload = 16 + noise_below(noise, 64);
	else if (spec.opcode == 0xa)
		spec.payload = 256 + noise_below(noise, 900);
	else if (spec.opcode == 0xc || spec.opcode == 0xb || spec.flags & 0x20)
		spec.payload = 1;
	if (!noise_below(noise, 4))
		spec.payload = sizes[noise_below(noise, sizeof(sizes) / sizeof(sizes[0]))];
	return spec;
}

/* One change of the bytes or of the length; length stays within FRAME_ROOM. */
static inline void noise_mutate(struct noise *noise, struct frame_bytes *frame)
{
	uint32_t header = frame->n < 28 ? frame->n : 28, at;

	switch (noise_below(noise, 6)) {
	case 0:
		if (frame->n)
			frame->bytes[noise_below(noise, frame->n)] ^= 1 << noise_below(noise, 8);
		return;
	case 1:
		if (header)
			frame->bytes[noise_below(noise, header)] ^= 1 << noise_below(noise, 8);
		return;
	case 2:
		if (header)
			frame->bytes[noise_below(noise, header)] = noise_word(noise);
		return;
	case 3: /* a field of zeros or ones */
		at = noise_below(noise, 14) * 2;
		memset(frame->bytes + at, noise_below(noise, 2) ? 0xff : 0,
		       2 << noise_below(noise, 2));
		return;
	case 4:
		frame->n = noise_below(noise, 2101);
		return;
	case 5:
		frame->n += noise_below(noise, 33);
		frame->n = frame->n < 16 ? 0 : frame->n - 16;
		if (frame->n > 2100)
			frame->n = 2100;
		return;
	}
}

/* One eighth pure noise, the rest frames with 0 to 3 mutations, some guarded anew after it. */
static inline void noise_frame(struct noise *noise, struct frame_ids ids, const uint64_t *key,
			       struct frame_bytes *ret_frame)
{
	struct frame_spec spec;
	uint32_t header;

	if (!noise_below(noise, 8)) {
		ret_frame->n = noise_below(noise, 2101);
		noise_fill(noise, ret_frame->bytes, ret_frame->n < 64 ? ret_frame->n : 64);
		return;
	}
	spec = noise_spec(noise);
	if (spec.opcode == 0xa) {
		ids.server = 0;
		key = NULL;
	}
	header = spec_header_bytes(&spec);
	build_frame(&spec, ids, key, ret_frame);
	for (uint32_t i = noise_below(noise, 4); i; i--)
		noise_mutate(noise, ret_frame);
	if (key && ret_frame->n >= 64 && ret_frame->n <= 100 && noise_below(noise, 2))
		seal_guard(ret_frame->bytes, ret_frame->n, header, key);
}

#endif
