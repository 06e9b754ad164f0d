/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TEST_OPTIONS_H
#define PG_TEST_OPTIONS_H

#include "packgate/tcp_options.h"

/* What test_tcp_options and options.bpf.c exchange: a batch of headers with room for answers. */

#define OPTIONS_BATCH 4096

struct options_case {
	__u8 header[60]; /* a TCP header; only its length field counts, and what stands behind it */
	__u32 reserved;
	struct pg_option_walk walk; /* answer */
};

#endif
