/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_WINDOW_BPF_H
#define PG_WINDOW_BPF_H

#include "packgate/replay.h"
#include "ack.bpf.h"
#include "session.bpf.h"

/*
 * PROTOCOL section 4 over the shared window, which is read and never written here. The line's
 * highest id settles every frame in order; only an older id costs a second line. A fragment raises
 * the highest id and sets no bit: the packet's other fragments are at the highest id, or below it,
 * and pass.
 */

/*
 * The stream's window is kept from sharing its tail with the session's: a look-up whose map is
 * chosen at run time is not inlined, and costs an indirect call.
 */
static __always_inline bool already_received(const struct pkt *pkt)
{
	__u32 slot = pkt->slot, stream_slot = pkt->stream_slot;
	const struct pg_window *window;

	if (pkt->stream) {
		window = bpf_map_lookup_elem(&pg_strm_windows, &stream_slot);
		asm volatile("" : "+r"(window));
	} else {
		window = bpf_map_lookup_elem(&pg_windows, &slot);
	}
	return window && pg_replay_bit(window->bits, pkt->frame.pack);
}

/*
 * A duplicate of a reliable series may have lost its ack: it is acked again, here or by the agent.
 * Of a packet in fragments too, the ack names the whole packet: its bit is set.
 */
static __always_inline enum step step_duplicate(struct pkt *pkt, __u8 policy)
{
	if (policy != PG_POLICY_RELIABLE || !ack_again(pkt))
		return refuse(pkt, PG_DROP_REPLAY_SEEN);
	if (acks_itself(pkt))
		return ACK;
	pkt->duplicate = 1;
	return NEXT;
}

static __always_inline enum step step_window(struct pkt *pkt)
{
	__u8 policy = series_policy(pkt);
	enum pg_drop drop = PG_DROP_NONE;

	if (pkt->frame.opcode != PG_OP_DATA)
		return NEXT;
	if (policy == PG_POLICY_NEWEST && pkt->frame.flags & PG_FLAG_FRAG)
		return refuse(pkt, PG_DROP_FRAGMENT_UNSUPPORTED);
	if (pg_replay_settled(series_highest(pkt), pkt->frame.pack, policy, &drop))
		return drop ? refuse(pkt, drop) : NEXT;
	return already_received(pkt) ? step_duplicate(pkt, policy) : NEXT;
}

#endif
