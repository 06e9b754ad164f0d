/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SAVED_WINDOW_H
#define PG_SAVED_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "packgate/session.h"

/*
 * What a clean stop keeps of a session, should the pins be lost: a blob of the store, in the byte
 * order of the machine. Words of 64 bits that are 0 are left out, so that a stop with a million
 * idle sessions writes 40 bytes for each and not 336.
 */
struct pg_saved_window {
	uint32_t highest;
	uint32_t reserved;
	struct pg_window window;
	struct pg_opened opened;
};

#define PG_SAVED_WINDOW_WORDS (sizeof(struct pg_saved_window) / 8)
#define PG_SAVED_WINDOW_BYTES (16 + sizeof(struct pg_saved_window)) /* largest blob */

/* Returns the bytes written to blob. */
size_t pg_saved_window_pack(const struct pg_saved_window *saved,
			    uint8_t blob[PG_SAVED_WINDOW_BYTES]);

/* -EINVAL where the blob is not one of this build's, whole and nothing behind it. */
int pg_saved_window_unpack(const uint8_t *blob, size_t bytes, struct pg_saved_window *ret_saved);

#endif
