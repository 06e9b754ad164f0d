/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TEST_OPTIONS_REFERENCE_H
#define PG_TEST_OPTIONS_REFERENCE_H

#include <stdbool.h>
#include <string.h>

#include "packgate/tcp_options.h"

/* TCP options read plainly after RFC 9293, section 3.2, a second time and by other means. */

static inline uint32_t options_number(const uint8_t *at, uint32_t bytes)
{
	uint32_t value = 0;

	while (bytes--)
		value = value * 256 + *at++;
	return value;
}

static inline void options_one(const uint8_t *option, struct pg_tcp_options *found)
{
	switch (option[0] * 256 + option[1]) {
	case 2 * 256 + 4:
		found->base.mss = options_number(option + 2, 2);
		break;
	case 3 * 256 + 3:
		found->base.scale = option[2] < 14 ? option[2] : 14;
		break;
	case 4 * 256 + 2:
		found->base.sack = 1;
		break;
	case 8 * 256 + 10:
		found->timed = 1;
		found->time = options_number(option + 2, 4);
		found->echo = options_number(option + 6, 4);
	}
}

static inline struct pg_tcp_options options_reference(const uint8_t *options, uint32_t bytes)
{
	struct pg_tcp_options found = { .base.scale = PG_SHIELD_NO_SCALE };

	while (bytes && *options) {
		uint32_t length = 1;

		if (*options != 1) {
			if (bytes < 2 || options[1] < 2 || options[1] > bytes)
				break;
			length = options[1];
			options_one(options, &found);
		}
		options += length;
		bytes -= length;
	}
	return found;
}

static inline bool options_same(const struct pg_tcp_options *a, const struct pg_tcp_options *b)
{
	return a->base.mss == b->base.mss && a->base.scale == b->base.scale &&
	       a->base.sack == b->base.sack && a->timed == b->timed && a->time == b->time &&
	       a->echo == b->echo;
}

#endif
