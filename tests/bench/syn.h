/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_BENCH_SYN_H
#define PG_BENCH_SYN_H

#include <linux/types.h>

/* A SYN as Linux sends it, over IPv4 or IPv6; its sources are 172.16.0.0/12 and fd88::/96. */
#define SYN_BYTES_V4	  74
#define SYN_BYTES_V6	  94
#define SYN_OPTIONS_BYTES 20

#endif
