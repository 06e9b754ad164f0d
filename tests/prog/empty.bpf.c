// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The floor that gate_cost measures against. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int empty(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
