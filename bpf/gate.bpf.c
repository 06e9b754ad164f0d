// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The gate: every frame header is validated, and what is replayed, forged or foreign refused,
 * before the kernel sees it. A row of steps, cheapest first; one exit counts.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "config.bpf.h"
#include "endpoint.bpf.h"
#include "frame.bpf.h"
#include "session.bpf.h"
#include "window.bpf.h"
#include "steer.bpf.h"

#define STEP(take)                                 \
	do {                                       \
		enum step step_result = take(pkt); \
		if (step_result != NEXT)           \
			return step_result;        \
	} while (0)

static __always_inline enum step walk(struct pkt *pkt)
{
	STEP(step_route);
	STEP(step_endpoint);
	STEP(step_frame);
	STEP(step_session);
	STEP(step_stream);
	STEP(step_peer);
	STEP(step_guard);
	STEP(step_window);
	return STEER;
}

SEC("xdp")
int pg_gate(struct xdp_md *ctx)
{
	struct route route;
	struct pkt pkt; /* each step fills what the next ones read */
	__u64 bytes = ctx->data_end - ctx->data;

	pkt.ctx = ctx;
	pkt.route = &route;
	pkt.data = (const void *)(long)ctx->data;
	pkt.end = (const void *)(long)ctx->data_end;
	pkt.endpoint = NULL;
	pkt.duplicate = pkt.candidate = 0;

	switch (walk(&pkt)) {
	case PASS:
		count_one(PG_COUNT_PASSED, bytes);
		return XDP_PASS;
	case STEER:
		return steer(ctx, &pkt, bytes);
	case ACK:
		return ack_duplicate(ctx, &pkt, bytes);
	case COOKIE:
		return answer_cookie(ctx, &pkt, bytes);
	case SYN_COOKIE:
		count_one(PG_COUNT_SHIELD_COOKIES, bytes);
		return XDP_TX;
	case DROP:
		return account_drop(ctx, &pkt, bytes);
	case NEXT:
	case ABORT:
		break;
	}
	count_one(PG_COUNT_ABORTED, bytes);
	return XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
