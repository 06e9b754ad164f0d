/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ACCOUNT_BPF_H
#define PG_ACCOUNT_BPF_H

#include "maps.bpf.h"
#include "packet.bpf.h"

static __always_inline __u64 count(void *map, __u32 index, __u64 bytes)
{
	struct pg_count *c = bpf_map_lookup_elem(map, &index);

	if (!c)
		return 0;
	c->bytes += bytes;
	return ++c->packets;
}

static __always_inline void count_one(enum pg_counter counter, __u64 bytes)
{
	count(&pg_counts, PG_COUNT_INDEX(interface_slot, counter), bytes);
}

/* Hands a sample of a refused frame to whoever follows the drops. */
static __noinline int sample(struct xdp_md *ctx, __u32 reason, __u32 would)
{
	struct pg_event *event = bpf_ringbuf_reserve(&pg_events, sizeof(*event), 0);
	__u32 bytes = ctx->data_end - ctx->data;

	if (!event) {
		count_one(PG_COUNT_EVENTS_LOST, bytes);
		return 0;
	}
	event->time_ns = bpf_ktime_get_ns();
	event->interface_slot = interface_slot;
	event->queue = ctx->rx_queue_index;
	event->reason = reason;
	event->bytes = bytes > 0xffff ? 0xffff : bytes;
	event->would = would;
	event->sampled = bytes < PG_EVENT_SAMPLE ? bytes : PG_EVENT_SAMPLE;
	__builtin_memset(event->data, 0, sizeof(event->data));
	/* the helper wants a length the verifier knows: a short frame goes byte by byte */
	if (bytes >= PG_EVENT_SAMPLE)
		bpf_xdp_load_bytes(ctx, 0, event->data, PG_EVENT_SAMPLE);
	else
		for (__u32 i = 0; i < PG_EVENT_SAMPLE; i++)
			if (bpf_xdp_load_bytes(ctx, i, &event->data[i], 1))
				break;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

static __always_inline void count_drop(struct xdp_md *ctx, __u8 reason, bool would, __u64 bytes)
{
	__u64 n = count(&pg_drops, PG_DROP_INDEX(interface_slot, would, reason), bytes);
	const struct pg_shared *shared = shared_state();

	if (shared && !(n & shared->sample_mask))
		sample(ctx, reason, would);
}

static __always_inline int account_drop(struct xdp_md *ctx, const struct pkt *pkt, __u64 bytes)
{
	if (pkt->endpoint && pkt->endpoint->count_only) {
		count_drop(ctx, pkt->reason, true, bytes);
		return XDP_PASS;
	}
	count_drop(ctx, pkt->reason, false, bytes);
	return XDP_DROP;
}

#endif
