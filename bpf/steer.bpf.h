/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_STEER_BPF_H
#define PG_STEER_BPF_H

#include "account.bpf.h"

/* To the AF_XDP socket of the queue the frame came on; without one, what the operator chose. */
static __always_inline int steer(struct xdp_md *ctx, struct pkt *pkt, __u64 bytes)
{
	__u32 queue = ctx->rx_queue_index;
	const struct pg_shared *shared;
	int action = bpf_redirect_map(&pg_xsks, queue, XDP_ABORTED);

	if (action == XDP_REDIRECT && queue < PG_QUEUES_MAX) {
		count(&pg_steered, PG_STEERED_INDEX(interface_slot, queue), bytes);
		if (pkt->duplicate)
			count_one(PG_COUNT_DUPLICATES, bytes);
		if (pkt->candidate)
			count_one(PG_COUNT_CANDIDATES, bytes);
		return XDP_REDIRECT;
	}
	shared = shared_state();
	if (shared && shared->without_agent == PG_WITHOUT_PASS) {
		count_one(PG_COUNT_WITHOUT_AGENT, bytes);
		return XDP_PASS;
	}
	pkt->reason = PG_DROP_NO_SOCKET;
	return account_drop(ctx, pkt, bytes);
}

#endif
