// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <string.h>

#include "saved_window.h"

#define AT_LAYOUT  0 /* size of the struct: another build's is not taken */
#define AT_PRESENT 8 /* bit n: word n follows */
#define AT_WORDS   16

_Static_assert(sizeof(struct pg_saved_window) % 8 == 0 && PG_SAVED_WINDOW_WORDS <= 64,
	       "one word tells which are there");

size_t pg_saved_window_pack(const struct pg_saved_window *saved,
			    uint8_t blob[PG_SAVED_WINDOW_BYTES])
{
	uint64_t layout = sizeof(*saved), present = 0, words[PG_SAVED_WINDOW_WORDS];
	size_t bytes = AT_WORDS;

	memcpy(words, saved, sizeof(words));
	for (size_t i = 0; i < PG_SAVED_WINDOW_WORDS; i++) {
		if (!words[i])
			continue;
		present |= 1ull << i;
		memcpy(blob + bytes, &words[i], 8);
		bytes += 8;
	}
	memcpy(blob + AT_LAYOUT, &layout, 8);
	memcpy(blob + AT_PRESENT, &present, 8);
	return bytes;
}

int pg_saved_window_unpack(const uint8_t *blob, size_t bytes, struct pg_saved_window *ret_saved)
{
	uint64_t layout, present, words[PG_SAVED_WINDOW_WORDS] = { 0 };
	size_t at = AT_WORDS;

	if (bytes < AT_WORDS)
		return -EINVAL;
	memcpy(&layout, blob + AT_LAYOUT, 8);
	memcpy(&present, blob + AT_PRESENT, 8);
	if (layout != sizeof(*ret_saved) || present >> PG_SAVED_WINDOW_WORDS ||
	    bytes != AT_WORDS + 8 * (size_t)__builtin_popcountll(present))
		return -EINVAL;
	for (size_t i = 0; i < PG_SAVED_WINDOW_WORDS; i++) {
		if (!(present >> i & 1))
			continue;
		memcpy(&words[i], blob + at, 8);
		at += 8;
	}
	memcpy(ret_saved, words, sizeof(words));
	return 0;
}
