/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TCP_OPTIONS_BPF_H
#define PG_TCP_OPTIONS_BPF_H

#include <linux/tcp.h>

#include "packgate/tcp_options.h"

#define MSS_DEFAULT_V4 536
#define MSS_DEFAULT_V6 1220

static long next_option(__u64 turn, struct pg_option_walk **context)
{
	return pg_tcp_option_next(*context);
}

/*
 * Fills walk->found; tcp->doff is 5 or more. The helper wants its context on the stack, and the
 * walk is too large for that.
 */
static __always_inline void read_options(const struct tcphdr *tcp, const void *end,
					 struct pg_option_walk *walk)
{
	struct pg_option_walk *context = walk;

	if (!pg_tcp_options_start(tcp + 1, tcp->doff - 5, end, walk))
		bpf_loop(PG_OPTION_BYTES_MAX, next_option, &context, 0);
}

#endif
