/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ACK_BPF_H
#define PG_ACK_BPF_H

#include "account.bpf.h"
#include "answer.bpf.h"

/*
 * Whether the gate may ack a duplicate itself (PROTOCOL section 4): its guard was due and right,
 * and its headers are plain. A candidate was above the highest id when it was let through: that
 * the agent committed the id meanwhile makes its source no peer.
 */
static __always_inline bool acks_itself(const struct pkt *pkt)
{
	return acks_here && !pkt->candidate && pkt->frame.has_guard && pkt->route->plain;
}

/* The header of an ack of the whole packet, and its guard under the server's key. */
static __always_inline void write_ack(const struct pg_session *session, __u32 stream, __u32 pack,
				      __u64 now_ms, struct answer *ret_ack)
{
	__u8 *at = (__u8 *)ret_ack->words;
	struct pg_siphash s;
	__u64 guard;

	*(__be32 *)at = pg_be32(session->id);
	*(__be32 *)(at + PG_AT_TIMESTAMP) = pg_be32(now_ms >> 32);
	*(__be32 *)(at + PG_AT_TIMESTAMP + 4) = pg_be32((__u32)now_ms);
	at[PG_AT_FLAGS] = PG_FLAG_PACK | (stream ? PG_FLAG_STRE : 0);
	at[PG_AT_OPCODE] = PG_OP_ACK;
	*(__be16 *)(at + PG_AT_PAYLOAD_LENGTH) = pg_be16(PG_GUARD_BYTES);
	pg_siphash_start(&s, session->guard_s2c);
	pg_siphash_word(&s, pg_le64(ret_ack->words[0]));
	pg_siphash_word(&s, pg_le64(ret_ack->words[1]));
	if (stream) {
		*(__be32 *)(at + PG_AT_IDS) = pg_be32(stream);
		*(__be32 *)(at + PG_AT_IDS + 4) = pg_be32(pack);
		pg_siphash_word(&s, pg_le64(ret_ack->words[2]));
		ret_ack->words[3] = pg_le64(pg_siphash_finish(&s, PG_SIPHASH_LAST(24)));
		ret_ack->bytes = 32;
		return;
	}
	*(__be32 *)(at + PG_AT_IDS) = pg_be32(pack);
	guard = pg_siphash_finish(&s, PG_SIPHASH_LAST(20) | pg_load_le32(at + PG_AT_IDS));
	*(__u32 *)(at + 20) = pg_le32((__u32)guard);
	*(__u32 *)(at + 24) = pg_le32((__u32)(guard >> 32));
	ret_ack->bytes = 28;
}

/*
 * The time of a frame sent now: the kernel's coarse clock, a tick old at most, and the agent's
 * offset, but never less than what the session has sent already, from here or by the agent, though
 * the wall clock may step back.
 */
static __always_inline __u64 ack_time_ms(__u32 slot, const struct pg_shared *shared)
{
	__u64 now_ms = (bpf_ktime_get_coarse_ns() + shared->clock_offset_ns) / NS_PER_MS;
	const struct pg_window *window = bpf_map_lookup_elem(&pg_windows, &slot);
	struct pg_acks_state *acks = bpf_map_lookup_elem(&pg_acks, &slot);

	if (window && now_ms < window->sent_time_ms)
		now_ms = window->sent_time_ms;
	if (!acks)
		return now_ms;
	if (now_ms < acks->sent_time_ms)
		now_ms = acks->sent_time_ms;
	acks->sent_time_ms = now_ms;
	return now_ms;
}

/*
 * An ack made here never carries SLOW. A global function: the verifier walks the hashing once.
 * stream is 0 on the session's own series. Returns the XDP action.
 */
__noinline int give_ack(struct xdp_md *ctx, const struct route *route, __u32 slot, __u32 stream,
			__u32 pack)
{
	const struct pg_session *session = bpf_map_lookup_elem(&pg_sessions, &slot);
	const struct pg_shared *shared = shared_state();
	struct answer ack = {};

	if (!route || !session || !shared)
		return XDP_ABORTED;
	write_ack(session, stream, pack, ack_time_ms(slot, shared), &ack);
	return send_answer(ctx, route, &ack);
}

static __always_inline int ack_duplicate(struct xdp_md *ctx, struct pkt *pkt, __u64 bytes)
{
	int action = give_ack(ctx, pkt->route, pkt->slot, pkt->stream ? pkt->frame.stream : 0,
			      pkt->frame.pack);

	if (action != XDP_TX) {
		count_one(PG_COUNT_ABORTED, bytes);
		return XDP_ABORTED;
	}
	count_one(PG_COUNT_DUPLICATES, bytes);
	count_one(PG_COUNT_ACKS, bytes);
	return XDP_TX;
}

#endif
