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
	uint8_t *frame = bss->frame, *ip = frame + 14, *tcp = ip + (family == 4 ? 20 : 40);
	uint32_t addresses;

	memset(frame, 0, sizeof(bss->frame));
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	live_frames_put16(frame + 12, family == 4 ? 0x0800 : 0x86dd);
	syn_put_tcp(tcp, port);
	if (family == 4) {
		ip[0] = 0x45;
		live_frames_put16(ip + 2, 60);
		ip[8] = 64;
		ip[9] = 6;
		inet_pton(AF_INET, target, ip + 16);
		bss->ip_sum = live_frames_sum(ip, 20);
		addresses = live_frames_sum(ip + 12, 8);
	} else {
		ip[0] = 0x60;
		live_frames_put16(ip + 4, 40);
		ip[6] = 6;
		ip[7] = 64;
		ip[8] = 0xfd;
		ip[9] = 0x88;
		inet_pton(AF_INET6, target, ip + 24);
		addresses = live_frames_sum(ip + 8, 32);
	}
	bss->tcp_sum = live_frames_sum(tcp, 40) + addresses + htons(6) + htons(40);
	bss->family = family;
	return family == 4 ? SYN_BYTES_V4 : SYN_BYTES_V6;
}

#endif
