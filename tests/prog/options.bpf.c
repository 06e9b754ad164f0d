// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The shield's reading of TCP options over batches, for the differential test. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "../../bpf/tcp_options.bpf.h"
#include "options.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, OPTIONS_BATCH);
	__type(key, __u32);
	__type(value, struct options_case);
} options_cases SEC(".maps");

static long read_one(__u32 index, void *unused)
{
	struct options_case *c = bpf_map_lookup_elem(&options_cases, &index);

	if (!c)
		return 1;
	read_options((const void *)c->header, c->header + sizeof(c->header), &c->walk);
	return 0;
}

SEC("xdp")
int read_all(struct xdp_md *ctx)
{
	return bpf_loop(OPTIONS_BATCH, read_one, NULL, 0) == OPTIONS_BATCH ? XDP_PASS : XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
