/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_FRAME_BPF_H
#define PG_FRAME_BPF_H

#include "handshake.bpf.h"

static __always_inline enum step step_frame(struct pkt *pkt)
{
	enum pg_drop drop;

	drop = pg_frame_check(pkt->payload, pkt->end, pkt->route->payload_bytes, PG_C2S,
			      pkt->endpoint->guard, &pkt->frame);
	if (drop)
		return refuse(pkt, drop);
	return pkt->frame.opcode == PG_OP_SHAKEHAND ? step_shakehand(pkt) : NEXT;
}

#endif
