/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_BENCH_SHAKEHAND_FRAME_H
#define PG_BENCH_SHAKEHAND_FRAME_H

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "live_frames.h"
#include "packgate/wire.h"
#include "shakehand.h"

/* Fills the templates of tests/bench/shakehand.bpf.c. */

#define SHAKEHAND_UNIX_MS 1700000000000ull

static inline void shakehand_put_udp(uint8_t *udp, uint16_t port)
{
	uint8_t *frame = udp + 8, *payload = frame + 16;

	live_frames_put16(udp + 2, port);
	live_frames_put16(udp + 4, 8 + SHAKEHAND_FRAME);
	for (int i = 0; i < 8; i++)
		frame[4 + i] = (uint8_t)(SHAKEHAND_UNIX_MS >> (56 - 8 * i));
	frame[13] = PG_OP_SHAKEHAND;
	live_frames_put16(frame + 14, SHAKEHAND_PAYLOAD);
	payload[0] = 1; /* version; no cookie follows the wish */
	payload[1] = 1;
	/* Noise message 1, but for the eight bytes that vary: any bytes look like one */
	for (int i = 26; i < SHAKEHAND_PAYLOAD; i++)
		payload[i] = (uint8_t)(i * 37);
}

/* To an address of the family and a port, between two link addresses. */
static inline void shakehand_fill(struct shakehand_template *ret_template,
				  enum shakehand_family family, const uint8_t from[6],
				  const uint8_t to[6], const char *target, uint16_t port)
{
	struct live_head head = {
		.version = family == SHAKEHAND_V4 ? 4 : 6,
		.from = from,
		.to = to,
		.target = target,
		.source_v6 = SHAKEHAND_SOURCE_V6,
		.protocol = IPPROTO_UDP,
		.bytes = 8 + SHAKEHAND_FRAME,
	};
	uint8_t *udp = ret_template->frame + 14 + (family == SHAKEHAND_V4 ? 20 : 40);

	memset(ret_template, 0, sizeof(*ret_template));
	shakehand_put_udp(udp, port);
	ret_template->udp_sum =
		live_frames_head(ret_template->frame, &head, &ret_template->ip_sum) +
		live_frames_sum(udp, 8 + SHAKEHAND_FRAME);
}

#endif
