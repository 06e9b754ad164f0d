/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_BENCH_SYN_FRAME_H
#define PG_BENCH_SYN_FRAME_H

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "live_frames.h"
#include "syn.h"
#include "syn.skel.h"

/* Fills the template of tests/bench/syn.bpf.c. */

#define SYN_TCP_BYTES 40

static inline void syn_put_tcp(uint8_t *tcp, uint16_t port)
{
	static const uint8_t options[SYN_OPTIONS_BYTES] = { 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0,
							    0, 1, 0, 0,	   0, 0, 1, 3,	3, 7 };

	live_frames_put16(tcp + 2, port);
	tcp[7] = 42; /* of the sequence number */
	tcp[12] = 10 << 4;
	tcp[13] = 2; /* SYN */
	live_frames_put16(tcp + 14, 64240);
	memcpy(tcp + 20, options, sizeof(options));
}

/* To an address of the family and a port, between two link addresses. Returns the frame's length.
 */
static inline uint32_t syn_frame_fill(struct syn_bpf__bss *bss, int family, const uint8_t from[6],
				      const uint8_t to[6], const char *target, uint16_t port)
{
	struct live_head head = {
		.version = family,
		.from = from,
		.to = to,
		.target = target,
		.source_v6 = 0xfd88,
		.protocol = IPPROTO_TCP,
		.bytes = SYN_TCP_BYTES,
	};
	uint8_t *tcp = bss->frame + 14 + (family == 4 ? 20 : 40);

	memset(bss->frame, 0, sizeof(bss->frame));
	syn_put_tcp(tcp, port);
	bss->tcp_sum = live_frames_head(bss->frame, &head, &bss->ip_sum) +
		       live_frames_sum(tcp, SYN_TCP_BYTES);
	bss->family = family;
	return family == 4 ? SYN_BYTES_V4 : SYN_BYTES_V6;
}

#endif
