/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_BENCH_RESTORE_H
#define PG_BENCH_RESTORE_H

#include <linux/types.h>

#define RESTORED_BYTES 118 /* a guarded frame of 48 bytes of payload over IPv4 */

struct restored {
	__u8 bytes[120];
};

enum { RESTORE_TO_GATE, RESTORE_TO_DROP, RESTORE_TARGETS };

#endif
