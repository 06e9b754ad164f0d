/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_PACKET_BPF_H
#define PG_PACKET_BPF_H

#include "packgate/frame.h"
#include "packgate/session.h"

/*
 * What the steps of the gate know of the packet so far. A step returns NEXT, or ends the walk with
 * PASS (not ours), STEER (to the agent), ACK, COOKIE, SYN_COOKIE, ABORT or refuse(pkt, reason).
 */
enum step {
	NEXT,
	PASS,
	STEER,
	ACK,	    /* a duplicate, acked from here */
	COOKIE,	    /* a shakehand, answered from here with a cookie */
	SYN_COOKIE, /* a SYN, answered from here */
	ABORT,	    /* impossible */
	DROP,
};

/* Where a datagram or segment comes from and goes, and where its payload lies. */
struct route {
	__u64 source[2]; /* addresses in network order, IPv4 as ::ffff:a.b.c.d */
	__u64 target[2];
	__u32 payload_offset; /* from the start of the frame on the link; of TCP, its header */
	__u32 payload_bytes;  /* of UDP, as its header claims; of TCP, with its header */
	__u16 source_port_be;
	__u16 target_port_be;
	__u32 endpoint; /* index into pg_endpoints; of TCP, into pg_shields */
	__u8 family;	/* 4 or 6 */
	__u8 fault;	/* enum pg_drop of a header that lies; counts only when ours */
	__u8 plain;	/* no IP options, no extension headers */
	__u8 protocol;	/* UDP or TCP */
	__u8 reserved[4];
};

/* What reading the headers works on. */
struct headers {
	const void *data;
	const void *end;
	struct route *route;
};

struct pkt {
	struct xdp_md *ctx;
	const void *data; /* the whole frame on the link */
	const void *end;
	struct route *route; /* on its own: it alone has an address that calls see */
	__u8 reason;	     /* enum pg_drop of a refusal */
	__u8 duplicate;	     /* steered to be acked again */
	__u8 candidate;	     /* steered although not from the pinned peer */
	const struct pg_endpoint *endpoint;
	const void *payload;
	struct pg_frame frame;
	__u32 slot;
	const struct pg_session *session;
	const struct pg_stream_line *stream; /* NULL on the session's own series */
	__u32 stream_slot;
};

/*
 * A word from the wire in host order, to reckon with. Up to 6.6 the verifier does not know that a
 * swapped 16-bit word has 16 bits; the mask tells it, hidden from the compiler, which does know.
 */
static __always_inline __u64 host16(__be16 wire)
{
	__u64 word = pg_be16(wire);

	asm volatile("%0 &= 0xffff" : "+r"(word));
	return word;
}

static __always_inline enum step refuse(struct pkt *pkt, enum pg_drop reason)
{
	pkt->reason = reason;
	return DROP;
}

#endif
