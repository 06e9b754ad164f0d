/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_BENCH_GENERATOR_H
#define PG_BENCH_GENERATOR_H

#include <linux/types.h>

/*
 * The frame that everybody sends: Ethernet, IPv4, UDP, a data frame of ours on the session's own
 * series, 256 bytes of an application sealed, the guard behind the tag.
 */
#define APP_BYTES    256
#define HEADER_BYTES 20
#define AT_FRAME     42
#define AT_FLAGS     (AT_FRAME + 12)
#define AT_GUARD     (AT_FRAME + HEADER_BYTES + APP_BYTES + 16)
#define LINK_BYTES   (AT_GUARD + 8)

/* One frame of the pool: every frame is another one, sealed beforehand. */
struct pool_frame {
	__u8 bytes[LINK_BYTES];
	__u8 reserved[2];
};

/* What stands between the honest frames of a flood, in turn. */
enum flood {
	FLOOD_JUNK,   /* a reserved bit is set */
	FLOOD_REPLAY, /* sent before, byte for byte */
	FLOOD_FORGED, /* a living session, a packId far ahead, a wrong guard */
	FLOOD_KINDS,
};

#endif
