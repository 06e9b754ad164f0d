/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_BENCH_SHUFFLE_H
#define PG_BENCH_SHUFFLE_H

#include <linux/types.h>

/* What makes the frame under test one of another session: its first bytes and its guard. */
struct visit {
	__u32 session_be;
	__u32 reserved;
	__u64 guard_le;
};

enum { SHUFFLE_TO_GATE, SHUFFLE_TO_DROP, SHUFFLE_TARGETS };

#endif
