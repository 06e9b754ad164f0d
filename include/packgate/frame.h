/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_FRAME_H
#define PACKGATE_FRAME_H

#include <linux/types.h>
#ifndef __bpf__
#include <stdbool.h>
#endif

#include "bytes.h"
#include "drop.h"
#include "wire.h"

/* A valid frame's header, in host order; ids the frame does not carry are 0. */
struct pg_frame {
	__u32 session; /* client id << 16 | server id */
	__u32 stream;
	__u32 pack;
	__u32 fragment;
	__u16 bytes;	     /* the whole frame = the UDP payload */
	__u16 payload_bytes; /* guard included */
	__u8 header_bytes;
	__u8 flags;
	__u8 opcode;
	__u8 has_guard; /* the last 8 bytes of the payload are the guard */
};

struct pg_opcode_rule {
	__u32 flags[2]; /* by direction: PG_FLAG_BIT of every legal flag byte; 0 = never travels */
	__u16 min[2];	/* payload bytes without guard; [1] where FRAG is set */
	__u16 max[2];
};

static const struct pg_opcode_rule pg_opcode_rules[16] = {
#define PG_X(name, number, label, directions, flags, min, max, frag_min, frag_max) \
	[number] = { { (directions)&PG_TO_SERVER ? (flags) : 0,                    \
		       (directions)&PG_TO_CLIENT ? (flags) : 0 },                  \
		     { min, frag_min },                                            \
		     { max, frag_max } },
	PG_OPCODES(PG_X)
#undef PG_X
};

static __always_inline bool pg_guard_due(__u8 opcode, enum pg_direction direction)
{
	return opcode != PG_OP_SHAKEHAND && !(opcode == PG_OP_HANDSHAKE && direction == PG_S2C);
}

/* The optional ids in wire order. data_end bounds the loads for the verifier. */
static __always_inline enum pg_drop pg_frame_ids(const __u8 *at, const void *data_end,
						 struct pg_frame *frame)
{
	if (frame->flags & PG_FLAG_STRE) {
		if ((const void *)(at + 4) > data_end)
			return PG_DROP_FRAME_SHORT;
		frame->stream = pg_load_be32(at);
		if (!frame->stream)
			return PG_DROP_ID_ZERO;
		at += 4;
	}
	if (frame->flags & PG_FLAG_PACK) {
		if ((const void *)(at + 4) > data_end)
			return PG_DROP_FRAME_SHORT;
		frame->pack = pg_load_be32(at);
		if (!frame->pack)
			return PG_DROP_ID_ZERO;
		at += 4;
	}
	if (frame->flags & PG_FLAG_FRAG) {
		if ((const void *)(at + 4) > data_end)
			return PG_DROP_FRAME_SHORT;
		frame->fragment = pg_load_be32(at);
		if (!frame->fragment)
			return PG_DROP_ID_ZERO;
	}
	return PG_DROP_NONE;
}

/* Whether the session id is one that this opcode may carry. */
static __always_inline bool pg_frame_session_valid(const __u8 *data, const void *data_end,
						   enum pg_direction direction,
						   const struct pg_frame *frame)
{
	if (!(frame->session >> 16))
		return false;
	if (frame->opcode == PG_OP_SHAKEHAND)
		return !(frame->session & 0xffff);
	if (frame->session & 0xffff)
		return true;
	/* a server that refuses a handshake has no id to give */
	return direction == PG_S2C && frame->opcode == PG_OP_HANDSHAKE && frame->payload_bytes &&
	       (const void *)(data + PG_HEADER_MIN + 1) <= data_end && data[PG_HEADER_MIN] != 0;
}

static __always_inline bool pg_frame_payload_valid(const struct pg_opcode_rule *rule,
						   const struct pg_frame *frame)
{
	__u32 fragmented = frame->flags / PG_FLAG_FRAG & 1;
	__u32 guard = frame->has_guard ? PG_GUARD_BYTES : 0;

	return frame->payload_bytes >= rule->min[fragmented] + guard &&
	       frame->payload_bytes <= rule->max[fragmented] + guard &&
	       frame->bytes <= PG_FRAME_MAX;
}

/*
 * PROTOCOL section 1, "Validity", in its order: the first rule that fails names the reason.
 * data..data_end are the bytes that are there; bytes is the UDP payload's length as the UDP header
 * claims it (UDP length - 8), already known to lie within data_end. direction is the one the frame
 * travels; guard tells whether the endpoint (or the session) has the guard on.
 * Returns PG_DROP_NONE and a complete *frame, or a reason and a *frame that means nothing.
 * The one validator: the gate, the agent's socket mode, the library and the decoder all call it.
 */
static __always_inline enum pg_drop pg_frame_check(const void *start, const void *data_end,
						   __u32 bytes, enum pg_direction direction,
						   bool guard, struct pg_frame *frame)
{
	const struct pg_opcode_rule *rule;
	const __u8 *data = (const __u8 *)start;
	enum pg_drop drop;
	__u32 fixed;

	if (bytes < PG_HEADER_MIN || (const void *)(data + PG_HEADER_MIN) > data_end)
		return PG_DROP_FRAME_SHORT;
	fixed = pg_load_be32(data + PG_AT_FLAGS); /* flags, opcode and payload length at once */
	if (fixed & (PG_FLAG_RSV << 24 | PG_OPCODE_RSV << 16))
		return PG_DROP_RESERVED_BITS;
	frame->flags = fixed >> 24;
	frame->opcode = fixed >> 16 & 0xf;
	frame->payload_bytes = fixed & 0xffff;
	rule = &pg_opcode_rules[frame->opcode];
	if (!(rule->flags[direction] & PG_FLAG_BIT(frame->flags)))
		return rule->flags[direction] ? PG_DROP_FLAGS : PG_DROP_OPCODE;
	frame->header_bytes = PG_HEADER_BYTES(frame->flags);
	if ((__u32)frame->header_bytes + frame->payload_bytes != bytes)
		return bytes < frame->header_bytes ? PG_DROP_FRAME_SHORT : PG_DROP_LENGTH_MISMATCH;
	frame->bytes = (__u16)bytes;
	frame->session = pg_load_be32(data + PG_AT_CLIENT_ID);
	frame->stream = frame->pack = frame->fragment = 0;
	if (!pg_frame_session_valid(data, data_end, direction, frame))
		return PG_DROP_ID_ZERO;
	drop = pg_frame_ids(data + PG_AT_IDS, data_end, frame);
	if (drop)
		return drop;
	if (frame->fragment > PG_FRAGMENTS_MAX)
		return PG_DROP_ID_RANGE;
	frame->has_guard = guard && pg_guard_due(frame->opcode, direction);
	return pg_frame_payload_valid(rule, frame) ? PG_DROP_NONE : PG_DROP_PAYLOAD_SIZE;
}

#endif
