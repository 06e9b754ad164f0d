/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_BENCH_SHAKEHAND_H
#define PG_BENCH_SHAKEHAND_H

#include <linux/types.h>

/*
 * A shakehand of the smallest size over IPv4 or IPv6, right in form until its key is tried. Its
 * sources are 172.16.0.0/12 and fd88::/96.
 */
#define SHAKEHAND_PAYLOAD  256
#define SHAKEHAND_FRAME	   (16 + SHAKEHAND_PAYLOAD)
#define SHAKEHAND_BYTES_V4 (14 + 20 + 8 + SHAKEHAND_FRAME)
#define SHAKEHAND_BYTES_V6 (14 + 40 + 8 + SHAKEHAND_FRAME)

#define SHAKEHAND_SOURCE_V4	 0xac100000u /* host byte order */
#define SHAKEHAND_SOURCE_V4_BITS 20
#define SHAKEHAND_SOURCE_V6	 0xfd88 /* its first two bytes, host byte order */

enum shakehand_family { SHAKEHAND_V4, SHAKEHAND_V6, SHAKEHAND_FAMILIES };

/* What stands in every shakehand of a family; the bytes of what varies are 0. */
struct shakehand_template {
	__u8 frame[SHAKEHAND_BYTES_V6];
	__u8 reserved[2];
	__u32 udp_sum, ip_sum; /* of 16-bit words as they stand in frame, pseudo header included */
};

/* Link bytes of what came back to the alleged sources. */
struct shakehand_answers {
	__u64 frames;
	__u64 longest;
	__u64 longer; /* frames with more bytes than their question */
};

#endif
