/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SESSION_BPF_H
#define PG_SESSION_BPF_H

#include "limits.bpf.h"
#include "packgate/guard.h"

static __always_inline enum step step_session(struct pkt *pkt)
{
	__u32 slot = PG_SESSION_SLOT(pkt->frame.session, session_mask);
	const struct pg_session *session = bpf_map_lookup_elem(&pg_sessions, &slot);

	pkt->slot = slot;
	if (!session)
		return refuse(pkt, PG_DROP_NO_SESSION);
	if (session->id != pkt->frame.session || session->endpoint != pkt->route->endpoint)
		return refuse(pkt, unmatched(pkt));
	if (session->state != PG_SESSION_READY && session->state != PG_SESSION_OPEN)
		return refuse(pkt, PG_DROP_SESSION_STATE);
	pkt->session = session;
	return NEXT;
}

/* The stream of a frame that needs one; openstream makes its own. */
static __always_inline enum step step_stream(struct pkt *pkt)
{
	struct pg_stream_key key = { .session_slot = pkt->slot, .stream = pkt->frame.stream };
	const struct pg_stream_line *line;
	const struct pg_stream_ref *ref;
	__u32 slot;

	pkt->stream = NULL;
	if (!pkt->frame.stream || pkt->frame.opcode == PG_OP_OPENSTREAM)
		return NEXT;
	ref = bpf_map_lookup_elem(&pg_streams, &key);
	if (!ref)
		return refuse(pkt, PG_DROP_NO_STREAM);
	slot = ref->slot;
	line = bpf_map_lookup_elem(&pg_strm_lines, &slot);
	if (!line || line->state == PG_STREAM_FREE)
		return refuse(pkt, PG_DROP_NO_STREAM);
	if (line->state == PG_STREAM_CLOSE && pkt->frame.opcode != PG_OP_CLOSESTREAM)
		return refuse(pkt, PG_DROP_NO_STREAM);
	pkt->stream = line;
	pkt->stream_slot = slot;
	return NEXT;
}

static __always_inline __u32 series_highest(const struct pkt *pkt)
{
	return pkt->stream ? pkt->stream->highest : pkt->session->highest;
}

static __always_inline __u8 series_policy(const struct pkt *pkt)
{
	return pkt->stream ? pkt->stream->policy : pkt->session->policy;
}

/*
 * The guard of a control frame, rare and of any length: a global function, so that the verifier
 * walks it once. offset is where the frame starts, bytes its length with the guard.
 */
__noinline int control_guard_right(struct xdp_md *ctx, __u32 slot, __u32 offset, __u32 bytes)
{
	const struct pg_session *session = bpf_map_lookup_elem(&pg_sessions, &slot);
	__u64 cover = bytes - PG_GUARD_BYTES;
	struct pg_guard_cover text = {};
	__u64 key[2], guard;

	if (!session || cover > PG_GUARD_COVER_MAX)
		return 0;
	barrier_var(cover); /* one compare for both bounds would be lost on a 6.1 verifier */
	if (cover < PG_HEADER_MIN)
		return 0;
	if (bpf_xdp_load_bytes(ctx, offset, text.bytes, cover) ||
	    bpf_xdp_load_bytes(ctx, offset + cover, &guard, sizeof(guard)))
		return 0;
	key[0] = session->guard_c2s[0];
	key[1] = session->guard_c2s[1];
	return pg_le64(guard) == pg_guard_of_control(key, &text, cover);
}

static __always_inline bool guard_right(const struct pkt *pkt)
{
	if (pkt->frame.opcode != PG_OP_DATA)
		return control_guard_right(pkt->ctx, pkt->slot, pkt->route->payload_offset,
					   pkt->frame.bytes);
	return pg_guard_check_data(pkt->session->guard_c2s, pkt->payload, pkt->end, &pkt->frame);
}

/*
 * From elsewhere only a data frame above its series' highest id is worth proving: with the guard
 * on its guard must be right, which is why a wrong one counts as peer_mismatch here.
 */
static __always_inline enum step step_peer(struct pkt *pkt)
{
	const struct pg_session *session = pkt->session;

	if (pkt->route->source[0] == session->peer[0] &&
	    pkt->route->source[1] == session->peer[1] &&
	    pkt->route->source_port_be == session->peer_port_be)
		return NEXT;
	if (!pkt->endpoint->roaming || pkt->frame.opcode != PG_OP_DATA ||
	    pkt->frame.pack <= series_highest(pkt))
		return refuse(pkt, PG_DROP_PEER_MISMATCH);
	pkt->candidate = 1;
	return NEXT;
}

static __always_inline enum step step_guard(struct pkt *pkt)
{
	if (!pkt->frame.has_guard || guard_right(pkt))
		return NEXT;
	return refuse(pkt, pkt->candidate ? PG_DROP_PEER_MISMATCH : PG_DROP_GUARD);
}

#endif
