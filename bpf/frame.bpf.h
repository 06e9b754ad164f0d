/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_FRAME_BPF_H
#define PG_FRAME_BPF_H

#include "limits.bpf.h"
#include "packet.bpf.h"

/* A shakehand matches no session: its source's bucket decides whether the agent sees it. */
static __always_inline enum step step_shakehand(struct pkt *pkt)
{
	if (!pkt->endpoint->handshake)
		return refuse(pkt, PG_DROP_HANDSHAKE_OFF);
	if (unmatched(pkt) == PG_DROP_RATE_LIMITED)
		return refuse(pkt, PG_DROP_RATE_LIMITED);
	return STEER;
}

static __always_inline enum step step_frame(struct pkt *pkt)
{
	enum pg_drop drop;

	drop = pg_frame_check(pkt->payload, pkt->end, pkt->route.payload_bytes, PG_C2S,
			      pkt->endpoint->guard, &pkt->frame);
	if (drop)
		return refuse(pkt, drop);
	return pkt->frame.opcode == PG_OP_SHAKEHAND ? step_shakehand(pkt) : NEXT;
}

#endif
