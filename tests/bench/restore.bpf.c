// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * A test run does not bring back what a program changed. In front of a program that answers in
 * place, this one makes the frame the same again at each repeat; in front of one that only drops,
 * it tells what that costs by itself.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "restore.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct restored);
} frame SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, RESTORE_TARGETS);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

static __always_inline int restore(struct xdp_md *ctx, __u32 target)
{
	__u64 length = ctx->data_end - ctx->data;
	__u32 zero = 0;
	struct restored *restored = bpf_map_lookup_elem(&frame, &zero);

	asm volatile("" : "+r"(length));
	if (!restored || bpf_xdp_adjust_tail(ctx, (int)(RESTORED_BYTES - length)) ||
	    bpf_xdp_store_bytes(ctx, 0, restored->bytes, RESTORED_BYTES))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &next, target);
	return XDP_ABORTED;
}

SEC("xdp")
int restore_gate(struct xdp_md *ctx)
{
	return restore(ctx, RESTORE_TO_GATE);
}

SEC("xdp")
int restore_drop(struct xdp_md *ctx)
{
	return restore(ctx, RESTORE_TO_DROP);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
