/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_SHIELD_H
#define PACKGATE_SHIELD_H

#include <linux/types.h>

#include "abi.h"
#include "siphash.h"

/*
 * SYN cookies made by the gate for chosen TCP listeners (docs/shield.md): what its maps hold, the
 * cookie, and when an automatic shield goes off again. Compiles for BPF and user space.
 */

#define PG_SHIELDS_MAX	    256 /* entries of pg_shields; 0 is none, so a byte names one */
#define PG_SHIELDS_PER_PORT 4

/* X(NAME, number, word, meaning) */
#define PG_SHIELD_MODES(X)                                    \
	X(OFF, 0, "off", "SYNs go to the kernel")             \
	X(ON, 1, "on", "every SYN is answered by a cookie")   \
	X(AUTO, 2, "auto",                                    \
	  "SYNs are answered by cookies while the SYN queue " \
	  "is above the threshold")

enum pg_shield_mode {
#define PG_X(name, number, ...) PG_SHIELD_##name = number,
	PG_SHIELD_MODES(PG_X)
#undef PG_X
};

/* Who makes the cookie and who takes it back, per interface. */
#define PG_SHIELD_WAYS(X)                                                                \
	X(NONE, 0, "none", "no cookies: SYNs go to the kernel")                          \
	X(OWN, 1, "own", "the gate's own cookie, taken back by a program at TC ingress") \
	X(KERNEL, 2, "kernel", "the kernel's cookie, made in the gate, checked by the kernel")

enum pg_shield_way {
#define PG_X(name, number, ...) PG_SHIELD_WAY_##name = number,
	PG_SHIELD_WAYS(PG_X)
#undef PG_X
};

/* pg_shield_ports, one entry, memory-mapped: TCP port -> index of its first shield, 0 = none. */
struct pg_shield_ports {
	__u8 first[65536];
};

/* pg_shields, memory-mapped, written by the agent. Exact addresses come first on a port. */
struct pg_shield {
	__u64 address[2];   /* in network order, IPv4 as ::ffff:a.b.c.d; zero with wildcard */
	__u16 port;	    /* host order */
	__u8 next;	    /* index of the next shield on this port, 0 = last */
	__u8 family;	    /* 4, 6, or 0 = both, with wildcard */
	__u8 wildcard;	    /* matches every local address of the family */
	__u8 mode;	    /* enum pg_shield_mode */
	__u8 threshold;	    /* auto: percent of the SYN queue's limit, 1 to 100 */
	__u8 origin;	    /* enum pg_shield_origin, for the agent alone */
	__u64 off_since_ms; /* Unix time since which the mode is off, for the agent alone */
};

_Static_assert(sizeof(struct pg_shield) == 32, "size is part of the ABI");

enum pg_shield_origin {
	PG_SHIELD_FREE,	   /* no shield */
	PG_SHIELD_CONFIG,  /* of the configuration */
	PG_SHIELD_CONTROL, /* asked for over the control API */
};

/* What is counted per shield: X(field, metric, help). */
#define PG_SHIELD_COUNTERS(X)                                                              \
	X(cookies, "cookies", "SYNs answered by a cookie")                                 \
	X(accepted, "accepted", "final ACKs that brought a valid cookie back")             \
	X(refused, "refused", "segments of no connection without a valid cookie, dropped") \
	X(full, "accept_full", "SYNs dropped because the accept queue was full")           \
	X(unfit, "unfit", "SYNs dropped because no answer can be made of them")

/* pg_shield_count, per CPU, same index: what that CPU has counted. */
struct pg_shield_counts {
#define PG_X(field, ...) __u64 field;
	PG_SHIELD_COUNTERS(PG_X)
#undef PG_X
	__u64 told_cookies, told_accepted; /* that much of them is in pg_shield_state */
};

/* pg_shield_state, memory-mapped, same index. Written by the gate; active by the agent too. */
struct pg_shield_state {
	__u64 cookies, accepted;	 /* as the CPUs have told them: pg_shield_tell() */
	__u64 switched_on, switched_off; /* times */
	__u64 switched_ns;		 /* the last time, kernel clock */
	__u64 syn_ns;			 /* last SYN seen while active, kernel clock */
	__u64 window_ns;		 /* start of the window that pg_shield_calm looks at */
	__u64 window_cookies, window_accepted; /* totals at that start */
	__u32 active;			       /* SYNs are answered by cookies (mode on: always) */
	__u32 calm;			       /* windows in a row that looked calm */
	__u32 last_slot;	    /* of the clock in which a cookie was made, + 1; 0 = never */
	__u32 syn_queue, syn_limit; /* of the listener when it was last looked up */
	__u32 reserved[9];
};

_Static_assert(sizeof(struct pg_shield_state) == 128, "size is part of the ABI");

/* pg_shield_env, one entry, memory-mapped: what the agent tells. */
struct pg_shield_env {
	__u64 keys[4][2];  /* of clock slot s: keys[s & 3]; secret */
	__u32 key_slot[4]; /* the slot each was made for, + 1; for the agent alone */
	__u32 window_max;  /* net.core.rmem_max */
	__u32 reserved;
	__u16 mtu[PG_INTERFACES_MAX]; /* by interface slot */
	__u8 way[PG_INTERFACES_MAX];  /* enum pg_shield_way by interface slot */
	__u64 tuple_key;	      /* of pg_shield_tuple() */
	__u32 tuples;		      /* 1 + the row of pg_shield_marks that is whole; 0 = none */
	__u32 marking;		      /* the gate marks */
	__u8 reserved2[104];
};

_Static_assert(sizeof(struct pg_shield_env) == 256, "size is part of the ABI");

/* pg_shield_log, a ring: an automatic shield went on or off. */
struct pg_shield_switch {
	__u64 time_ns; /* kernel clock */
	__u32 index;
	__u32 active;
	__u32 syn_queue, syn_limit;
};

#define PG_SHIELD_RING_BYTES 4096

/*
 * pg_shield_marks, one entry, memory-mapped: marks of the 4-tuples that may have a socket on a
 * shielded port (a connection, one that waits, a queued request). Where a row is whole, a SYN whose
 * tuple has no mark in it can only be for the listener, and needs no look-up. The gate marks what
 * it passes and could become a socket, in both rows; the agent fills a cleared row from the
 * kernel's sockets and names it in pg_shield_env.
 */
#define PG_SHIELD_TUPLE_BITS 20
#define PG_SHIELD_TUPLE_ROWS 2
#define PG_SHIELD_FRESH	     32 /* of so many SYNs of a tick and CPU one is looked up */

struct pg_shield_tuples {
	__u64 rows[PG_SHIELD_TUPLE_ROWS][1 << (PG_SHIELD_TUPLE_BITS - 6)];
};

/*
 * The mark of a tuple, seen from the listener. Addresses as in struct pg_shield. The key only keeps
 * strangers from choosing tuples that share a mark; those cost a look-up.
 */
static __always_inline __u32 pg_shield_tuple(__u64 key, const __u64 source[2],
					     const __u64 target[2], __be16 source_port,
					     __be16 target_port)
{
	__u64 x = source[0] + (target[0] ^ key) * 0x9e3779b97f4a7c15ull;

	x ^= x >> 32;
	x += (source[1] ^ key) * 0xc2b2ae3d27d4eb4full;
	x ^= x >> 29;
	x += (target[1] + ((__u64)source_port << 16 | target_port)) * 0xbf58476d1ce4e5b9ull;
	x ^= x >> 32;
	x *= 0x9e3779b97f4a7c15ull;
	return x >> (64 - PG_SHIELD_TUPLE_BITS);
}

static __always_inline int pg_shield_tuple_marked(const struct pg_shield_tuples *tuples, __u32 row,
						  __u32 mark)
{
	return tuples->rows[row & (PG_SHIELD_TUPLE_ROWS - 1)][mark >> 6] >> (mark & 63) & 1;
}

static __always_inline void pg_shield_tuple_mark(struct pg_shield_tuples *tuples, __u32 row,
						 __u32 mark)
{
	__u64 *word = &tuples->rows[row & (PG_SHIELD_TUPLE_ROWS - 1)][mark >> 6];
	__u64 bit = 1ull << (mark & 63);

	if (!(*word & bit))
		__sync_fetch_and_or(word, bit);
}

/* pg_shield_seen: ACKs that were given to the kernel a moment ago. */
#define PG_SHIELD_SEEN	  4096
#define PG_SHIELD_SEEN_NS 100000000ull

struct pg_shield_seen {
	__u64 time_ns;
	__u32 cookie;
	__u32 ports;
};

/* --- the cookie --------------------------------------------------------------------------------
 *
 * MAC, 24 bits | parity of the clock slot, 1 | MSS, 2 | SACK, 1 | the client's window scale, 4 (15
 * = none). A cookie is good in its slot of 69 s and in the next one. Timestamps need no bit: a
 * client that was offered them sends one with its ACK.
 */

#define PG_SHIELD_SLOT_SHIFT 36 /* ns */
#define PG_SHIELD_NO_SCALE   15
#define PG_SHIELD_SCALE_MAX  14

struct pg_shield_flow {
	__u64 source[2]; /* the client; as in struct pg_shield */
	__u64 target[2];
	__u16 source_port_be, target_port_be;
	__u32 sequence; /* the client's first, host order */
	__u8 family;	/* 4 or 6 */
	__u8 reserved[7];
};

struct pg_shield_options {
	__u16 mss;
	__u8 scale; /* of the client, or PG_SHIELD_NO_SCALE */
	__u8 sack;
};

static __always_inline __u32 pg_shield_slot(__u64 now_ns)
{
	return now_ns >> PG_SHIELD_SLOT_SHIFT;
}

/*
 * What is hashed: target address, slot, target port and family, the same for all that ask one
 * listener within a slot, so that it can be kept ready; then the client, its sequence number, and
 * the low byte of the cookie.
 */
static __always_inline void pg_shield_prefix(const struct pg_shield_env *env, const __u64 target[2],
					     __be16 target_port, __u8 family, __u32 slot,
					     struct pg_siphash *ret_prefix)
{
	pg_siphash_start(ret_prefix, env->keys[slot & 3]);
	pg_siphash_word(ret_prefix, target[0]);
	pg_siphash_word(ret_prefix, target[1]);
	pg_siphash_word(ret_prefix, (__u64)slot << 32 | (__u32)target_port << 16 | family);
}

static __always_inline __u32 pg_shield_mac(const struct pg_siphash *prefix,
					   const struct pg_shield_flow *flow, __u8 info)
{
	__u64 port_info = flow->source_port_be | (__u32)info << 16;
	struct pg_siphash s = *prefix;

	if (flow->family == 4) {
		pg_siphash_word(&s, flow->source[1] >> 32 | (__u64)flow->sequence << 32);
		return pg_siphash_finish(&s, PG_SIPHASH_LAST(4 * 8 + 3) | port_info) >> 40;
	}
	pg_siphash_word(&s, flow->source[0]);
	pg_siphash_word(&s, flow->source[1]);
	return pg_siphash_finish(&s,
				 PG_SIPHASH_LAST(5 * 8 + 7) | port_info << 32 | flow->sequence) >>
	       40;
}

/* The largest of four sizes that the client's MSS allows; the kernel refuses less than the first.
 */
static __always_inline __u32 pg_shield_mss(__u8 family, __u32 index)
{
	if (family == 4)
		return index == 3 ? 1460 : index == 2 ? 1440 : index == 1 ? 1300 : 536;
	return index == 3 ? 1440 : index == 2 ? 1420 : index == 1 ? 1360 : 1220;
}

static __always_inline __u32 pg_shield_mss_index(__u8 family, __u32 mss)
{
	return mss >= pg_shield_mss(family, 3)	 ? 3
	       : mss >= pg_shield_mss(family, 2) ? 2
	       : mss >= pg_shield_mss(family, 1) ? 1
						 : 0;
}

/* The cookie for a flow to the target, and in the slot, of the prefix. */
static __always_inline __u32 pg_shield_cookie(const struct pg_siphash *prefix,
					      const struct pg_shield_flow *flow, __u32 slot,
					      const struct pg_shield_options *options)
{
	__u8 info = (slot & 1) << 7 | pg_shield_mss_index(flow->family, options->mss) << 5 |
		    (options->sack ? 1 : 0) << 4 | (options->scale & 15);

	return pg_shield_mac(prefix, flow, info) << 8 | info;
}

/* Whether the cookie was made for this flow in this slot or the last; then *ret_options is set. */
static __always_inline int pg_shield_check(const struct pg_shield_env *env,
					   const struct pg_shield_flow *flow, __u32 cookie,
					   __u32 slot, struct pg_shield_options *ret_options)
{
	struct pg_siphash prefix;
	__u8 info = cookie;

	slot -= (slot ^ info >> 7) & 1;
	pg_shield_prefix(env, flow->target, flow->target_port_be, flow->family, slot, &prefix);
	if (pg_shield_mac(&prefix, flow, info) != cookie >> 8)
		return 0;
	ret_options->mss = pg_shield_mss(flow->family, info >> 5 & 3);
	ret_options->scale = info & 15;
	ret_options->sack = info >> 4 & 1;
	return 1;
}

/* --- on and off --------------------------------------------------------------------------------
 */

#define PG_SHIELD_WINDOW_NS 1000000000ull
#define PG_SHIELD_CALM	    3 /* windows in a row before an automatic shield goes off */
/* of silence, after which no request of a flood is left in the SYN queue */
#define PG_SHIELD_SILENCE_NS (75 * PG_SHIELD_WINDOW_NS)

/* The length of the SYN queue from which an automatic shield is on; it may go off below half. */
static __always_inline __u32 pg_shield_on_from(const struct pg_shield *shield, __u32 syn_limit)
{
	__u32 from = (__u64)syn_limit * shield->threshold / 100;

	return from ? from : 1;
}

static __always_inline __u32 pg_shield_off_below(__u32 on_from)
{
	return on_from / 2 ? on_from / 2 : 1;
}

/* Adds to the state what this CPU has counted since it last did. */
static __always_inline void pg_shield_tell(struct pg_shield_state *state,
					   struct pg_shield_counts *counts)
{
	__u64 cookies = counts->cookies - counts->told_cookies;
	__u64 accepted = counts->accepted - counts->told_accepted;

	if (cookies)
		__sync_fetch_and_add(&state->cookies, cookies);
	if (accepted)
		__sync_fetch_and_add(&state->accepted, accepted);
	counts->told_cookies = counts->cookies;
	counts->told_accepted = counts->accepted;
}

/*
 * Closes a window of a second that is over, once whoever calls. Returns 1 when that was the
 * PG_SHIELD_CALM-th in a row in which fewer cookies than `few`, and fewer than one in 64, stayed
 * away: then the flood is over.
 */
static __always_inline int pg_shield_calm(struct pg_shield_state *state, __u64 now_ns, __u32 few)
{
	__u64 start = state->window_ns, cookies, accepted, sent;

	if (now_ns - start < PG_SHIELD_WINDOW_NS || now_ns < start ||
	    __sync_val_compare_and_swap(&state->window_ns, start, now_ns) != start)
		return 0;
	cookies = state->cookies;
	accepted = state->accepted;
	sent = cookies - state->window_cookies;
	if (sent >= accepted - state->window_accepted + few + sent / 64)
		state->calm = 0;
	else
		state->calm++;
	state->window_cookies = cookies;
	state->window_accepted = accepted;
	return state->calm >= PG_SHIELD_CALM;
}

/* Whether this caller switched it; the state of a window starts anew. */
static __always_inline int pg_shield_turn(struct pg_shield_state *state, __u64 now_ns, __u32 active)
{
	if (__sync_val_compare_and_swap(&state->active, !active, active) != !active)
		return 0;
	state->calm = 0;
	state->window_ns = now_ns;
	state->window_cookies = state->cookies;
	state->window_accepted = state->accepted;
	state->switched_ns = now_ns;
	if (active)
		state->switched_on++;
	else
		state->switched_off++;
	return 1;
}

#endif
