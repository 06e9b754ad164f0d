/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_ABI_H
#define PACKGATE_ABI_H

#include <linux/types.h>

#include "cookie.h"
#include "drop.h"
#include "session.h"

/*
 * What the pinned maps hold besides sessions, and the number that says whether another build may
 * adopt them. Raise PG_ABI with every change of a value, a key or the meaning of a field.
 */

#define PG_ABI	 4
#define PG_MAGIC 0x70676174u /* "pgat" */

#define PG_INTERFACES_MAX     16
#define PG_QUEUES_MAX	      64   /* RX queues of one interface */
#define PG_ENDPOINTS_MAX      1024 /* indices of pg_endpoints; 0 is none */
#define PG_ENDPOINTS_PER_PORT 4
#define PG_LOCALS_SLOTS	      4096  /* of the table of local addresses */
#define PG_LOCALS_PROBES      4	    /* slots an address may be in */
#define PG_SOURCES	      65536 /* token buckets; sources that collide share one */
#define PG_SESSIONS_MAX	      1048576
#define PG_EVENT_RING_BYTES   (256 * 1024)
#define PG_EVENT_SAMPLE	      64 /* first bytes of the frame in an event */
#define PG_NAME_MAX	      16

/* pg_shared, one entry, memory-mapped: what the agent tells the gate at run time. */
struct pg_shared {
	__u32 magic;
	__u32 abi;
	__u32 sessions;	       /* entries of pg_sessions, a power of two */
	__u32 streams;	       /* entries of pg_strm_lines */
	__u64 clock_offset_ns; /* Unix time in ns - bpf_ktime_get_ns(), as it was a second ago */
	__u64 generation;      /* of the store that knows these sessions */
	__u32 without_agent;   /* enum pg_without_agent */
	__u32 unmatched_rate;  /* frames a second and source that match no session */
	__u32 ack_rate;	       /* duplicates a second and session that are acked again */
	__u32 sample_mask;     /* a drop is sampled when its count & mask is 0; all ones = never */
	char interfaces[PG_INTERFACES_MAX][PG_NAME_MAX]; /* slot -> name, "" = free */
	struct pg_cookie_secrets cookies;
	__u32 cookie_due; /* a shakehand needs a cookie now */
	__u8 reserved[132];
};

_Static_assert(sizeof(struct pg_shared) == 512, "size is part of the ABI");

enum pg_without_agent {
	PG_WITHOUT_DROP = 0,
	PG_WITHOUT_PASS = 1,
};

/* pg_endpoints. Index 0 is never used: pg_ports says 0 for "not ours". */
struct pg_endpoint {
	__u64 address[2]; /* all zero with wildcard set */
	__u32 id;	  /* of the name, from the store */
	__u16 port_be;
	__u16 next;    /* index of the next endpoint on this port, 0 = last */
	__u8 family;   /* 4 or 6 */
	__u8 wildcard; /* matches every local address of the family */
	__u8 guard;    /* the guard is due */
	__u8 roaming;
	__u8 count_only; /* enforce: count */
	__u8 handshake;	 /* shakehands are taken */
	__u8 reserved[2];
	__u32 reserved2;
};

_Static_assert(sizeof(struct pg_endpoint) == 40, "size is part of the ABI");

/*
 * pg_locals: an address stands in the first free slot of PG_LOCALS_PROBES from its hash on; an
 * empty slot (all zero) ends the search. A hash map would cost a look-up three times as dear.
 */
struct pg_local {
	__u64 address[2];
};

#define PG_LOCAL_HASH(a0, a1) \
	((__u32)((((a0) ^ (a1)) * 0x9e3779b97f4a7c15ull) >> 52) & (PG_LOCALS_SLOTS - 1))

/* pg_drops, pg_counts, pg_steered: one per CPU. */
struct pg_count {
	__u64 packets;
	__u64 bytes; /* of the whole frame on the link */
};

/*
 * pg_drops: [interface slot][enforced or only counted][reason];
 * pg_counts: [interface slot][counter]; pg_steered: [interface slot][queue].
 */
#define PG_DROP_INDEX(slot, would, reason) (((slot)*2 + (would)) * PG_DROP_SLOTS + (reason))
#define PG_DROP_ENTRIES			   (PG_INTERFACES_MAX * 2 * PG_DROP_SLOTS)
#define PG_COUNT_INDEX(slot, counter)	   ((slot)*PG_COUNTER_SLOTS + (counter))
#define PG_COUNT_ENTRIES		   (PG_INTERFACES_MAX * PG_COUNTER_SLOTS)
#define PG_STEERED_INDEX(slot, queue)	   ((slot)*PG_QUEUES_MAX + (queue))
#define PG_STEERED_ENTRIES		   (PG_INTERFACES_MAX * PG_QUEUES_MAX)

/* pg_sources, and part of pg_acks: a token bucket. Updated by several CPUs without a lock: a lost
 * update lets a frame more or less through, never more than one a CPU. */
struct pg_bucket {
	__u32 stamp;  /* time of the last refill, in ticks: jiffies, or 2^20 ns */
	__u32 tokens; /* left, in parts of a frame: as many as ticks make a second */
};

/*
 * pg_acks, memory-mapped: what the gate keeps of a session whose duplicates it acks. The agent only
 * reads, and zeroes the slot of a new session: the next timestamp of either is not below the
 * other's last. Two CPUs that ack for one session at once write times in no order.
 */
struct pg_acks_state {
	struct pg_bucket bucket;
	__u64 sent_time_ms; /* newest timestamp that the gate sent */
};

_Static_assert(sizeof(struct pg_acks_state) == 16, "size is part of the ABI");

/* pg_events: a sampled drop. */
struct pg_event {
	__u64 time_ns; /* bpf_ktime_get_ns */
	__u32 interface_slot;
	__u32 queue;
	__u16 reason;  /* enum pg_drop */
	__u16 bytes;   /* of the whole frame, cut at 65535 */
	__u16 sampled; /* bytes of data that are filled */
	__u16 would;   /* 1 = only counted */
	__u8 data[PG_EVENT_SAMPLE];
};

_Static_assert(sizeof(struct pg_event) == 88, "size is part of the ABI");

#endif
