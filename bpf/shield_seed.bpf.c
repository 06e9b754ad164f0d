// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Marks the tuple of every TCP socket on a shielded port, of the reader's network namespace, in the
 * row of pg_shield_marks that the agent has cleared for it.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "shield_tuples.bpf.h"

#define AF_INET	   2
#define TCP_LISTEN 10

/* Stubs of kernel types with the fields read here; loading finds where they really are. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct bpf_iter__tcp {
	__bpf_md_ptr(struct sock_common *, sk_common);
};

#pragma clang attribute pop

__u32 row;
__u64 marked;

static __always_inline void read_addresses(struct sock_common *common, struct route *route)
{
	if (common->skc_family != AF_INET) {
		bpf_core_read(route->source, sizeof(route->source), &common->skc_v6_daddr);
		bpf_core_read(route->target, sizeof(route->target), &common->skc_v6_rcv_saddr);
		return;
	}
	route->source[1] = (__u64)common->skc_daddr << 32 | 0xffff0000;
	route->target[1] = (__u64)common->skc_rcv_saddr << 32 | 0xffff0000;
}

SEC("iter/tcp")
int pg_shield_seed(struct bpf_iter__tcp *ctx)
{
	const struct pg_shield_env *env = shield_env();
	struct pg_shield_tuples *tuples = shield_tuples();
	struct sock_common *common = ctx->sk_common;
	struct route route = {};

	if (!common || !env || !tuples || common->skc_state == TCP_LISTEN)
		return 0;
	route.target_port_be = pg_be16(common->skc_num);
	if (!shield_on_port(route.target_port_be))
		return 0;
	route.source_port_be = common->skc_dport;
	read_addresses(common, &route);
	pg_shield_tuple_mark(tuples, row, tuple_of(env, &route));
	marked++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
