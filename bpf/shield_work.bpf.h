/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_WORK_BPF_H
#define PG_SHIELD_WORK_BPF_H

#include "shield_socket.bpf.h"
#include "syn_ack.bpf.h"

/* What the shield's parts hand one another: of the segment, and of the time between two look-ups.
 */

enum segment_kind {
	SEGMENT_SYN,
	SEGMENT_ACK,   /* everything that only a connection may send */
	SEGMENT_UNFIT, /* cannot be read or answered */
	SEGMENT_OTHER, /* passes */
};

/* What a segment says of itself. */
struct facts {
	__u32 kind;  /* enum segment_kind */
	__u32 opens; /* a socket may come of it, if the kernel gets it */
	__u32 sequence, acked;
};

/* Of the segment at hand; kept out of the stack, which the gate and this step fill together. */
struct work {
	struct facts facts;
	__u32 cookie;		       /* the kernel's */
	struct pg_option_walk options; /* of a SYN */
	struct bpf_sock_tuple tuple;
	__be32 answer[SYN_ACK_WORDS]; /* its TCP header */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} pg_shield_work SEC(".maps");

enum known {
	KNOWN_NOTHING,
	KNOWN_DUE,  /* a cookie is due */
	KNOWN_FULL, /* the accept queue is full */
};

/* Per shield and CPU: what the last look-up of a listener found, for the rest of its tick. */
struct memo {
	__u64 target[2]; /* at which it listens */
	__u64 now_ns;	 /* the coarse clock at the tick's first segment */
	__u32 now_ms;
	__u32 tick;
	__u32 syns;  /* in this tick */
	__u32 known; /* enum known */
	struct listener listener;
	__u64 prefix_target[2]; /* of the own cookie's prefix */
	struct pg_siphash prefix;
	__u32 prefix_slot; /* + 1; 0 = there is none */
	__u32 prefix_family;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PG_SHIELDS_MAX);
	__type(key, __u32);
	__type(value, struct memo);
} pg_shield_memo SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PG_SHIELDS_MAX);
	__type(key, __u32);
	__type(value, struct pg_shield_counts);
} pg_shield_count SEC(".maps");

static __always_inline struct work *shield_work(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pg_shield_work, &zero);
}

#endif
