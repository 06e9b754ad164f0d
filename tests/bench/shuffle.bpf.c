// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * A test run repeats one frame. To visit many sessions, this program turns the frame into one of
 * the next session of a shuffled list and goes on to the gate as it is, or, to learn what the
 * turning costs by itself, to a program that drops.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "shuffle.h"

const volatile __u32 visit_count;
const volatile __u32 frame_at; /* where our frame starts, and its guard */
const volatile __u32 guard_at;

__u32 position;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set before the load */
	__type(key, __u32);
	__type(value, struct visit);
} visits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, SHUFFLE_TARGETS);
	__type(key, __u32);
	__type(value, __u32);
} targets SEC(".maps");

static __always_inline bool turn(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 at = position;
	const struct visit *visit = bpf_map_lookup_elem(&visits, &at);

	position = at + 1 < visit_count ? at + 1 : 0;
	if (!visit || frame_at > 256 || guard_at > 512)
		return false;
	if (data + frame_at + sizeof(__u32) > end || data + guard_at + sizeof(__u64) > end)
		return false;
	*(__u32 *)(data + frame_at) = visit->session_be;
	*(__u64 *)(data + guard_at) = visit->guard_le;
	return true;
}

SEC("xdp")
int shuffle_gate(struct xdp_md *ctx)
{
	if (turn(ctx))
		bpf_tail_call(ctx, &targets, SHUFFLE_TO_GATE);
	return XDP_ABORTED;
}

SEC("xdp")
int shuffle_drop(struct xdp_md *ctx)
{
	if (turn(ctx))
		bpf_tail_call(ctx, &targets, SHUFFLE_TO_DROP);
	return XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
