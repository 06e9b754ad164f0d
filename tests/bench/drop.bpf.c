// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The floor that every cost is compared with: a program that only drops. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
