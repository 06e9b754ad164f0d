/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_SESSION_H
#define PACKGATE_SESSION_H

#include <linux/types.h>

/*
 * What the gate knows of a session and of a stream: values of the pinned, memory-mapped arrays.
 * Only the owning worker of the agent writes them; the gate reads. Integers are in host order
 * unless the name says otherwise; addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d.
 */

/* States of a session and of a stream (PROTOCOL section 1). 0 = the slot is free. */
enum pg_session_state {
	PG_SESSION_FREE = 0,
	PG_SESSION_INIT = 1,
	PG_SESSION_OPEN = 2,
	PG_SESSION_READY = 3,
	PG_SESSION_CLOSE = 4, /* lingers, so that late frames are told from foreign ones */
};

enum pg_stream_state {
	PG_STREAM_FREE = 0,
	PG_STREAM_INIT = 1,
	PG_STREAM_OPEN = 2,
	PG_STREAM_READY = 3,
	PG_STREAM_CLOSING = 4,
	PG_STREAM_CLOSE = 5, /* lingers to answer closestream; takes no data */
};

/*
 * The slot of a session id in an array of mask + 1 entries: the server picks its half of the id
 * so that the slot is free (DESIGN section 3).
 */
#define PG_SESSION_SLOT(session, mask) \
	(((((session)&0xffff) << 4) | (((session) >> 16) & 15)) & (mask))

/* pg_sessions: one cache line, all that an in-order frame needs. */
struct pg_session {
	__u32 id;      /* client id << 16 | server id; 0 = free. Published last. */
	__u32 highest; /* packId, stored with release order after the window */
	__u64 peer[2]; /* pinned address */
	__u16 peer_port_be;
	__u16 endpoint; /* index into pg_endpoints */
	__u8 state;	/* enum pg_session_state */
	__u8 policy;	/* enum pg_policy of the session's own series */
	__u8 reserved[2];
	__u64 guard_c2s[2]; /* SipHash key words */
	__u64 guard_s2c[2];
};

_Static_assert(sizeof(struct pg_session) == 64, "one cache line");

#define PG_WINDOW_IDS	1024 /* ids a window remembers: highest - 1023 .. highest */
#define PG_WINDOW_WORDS 16
#define PG_AHEAD_MAX	(1u << 20) /* furthest jump of a packId, section 4 */

/*
 * pg_windows, pg_strm_windows: the receive window and the counters that must outlive the process.
 * Bit (id & 63) of word (id >> 6 & 15) stands for id. The gate reads bits alone.
 */
struct pg_window {
	__u64 bits[PG_WINDOW_WORDS];
	__u64 handle;	       /* the session's handle in the store */
	__u64 data_time_ms;    /* newest timestamp of an authenticated data frame */
	__u64 control_time_ms; /* newest timestamp of an authenticated control frame */
	__u64 sent_time_ms;    /* newest timestamp that the agent sent; the next is never lower */
	__u32 next_deliver;    /* lowest packId not yet delivered or reported as a gap */
	__u32 next_send;       /* next packId to send; advanced before its frame leaves */
	__u32 send_bound;      /* packIds below it are reserved in the store */
	__u32 receive_bound;   /* packIds below it may be accepted, as the store knows */
	__u64 reserved[2];
};

_Static_assert(sizeof(struct pg_window) == 192, "three cache lines");

/* pg_opened: the stream ids a session ever opened (section 3): a window without a far bound. */
struct pg_opened {
	__u64 bits[PG_WINDOW_WORDS];
	__u32 highest;
	__u32 bound; /* ids below it are reserved in the store */
};

_Static_assert(sizeof(struct pg_opened) == 136, "size is part of the ABI");

/* pg_streams */
struct pg_stream_key {
	__u32 session_slot;
	__u32 stream;
};

struct pg_stream_ref {
	__u32 slot; /* into pg_strm_lines and pg_strm_windows */
};

/* pg_strm_lines */
struct pg_stream_line {
	__u32 session_slot;
	__u32 stream;
	__u32 highest;
	__u8 state;   /* enum pg_stream_state */
	__u8 policy;  /* enum pg_policy */
	__u8 closing; /* the engine's closing sub-state, for a restart */
	__u8 reserved;
};

_Static_assert(sizeof(struct pg_stream_line) == 16, "size is part of the ABI");

#endif
