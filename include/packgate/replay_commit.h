/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_REPLAY_COMMIT_H
#define PACKGATE_REPLAY_COMMIT_H

#ifdef __bpf__
#error "XDP only reads replay windows: nothing under bpf/ commits (DESIGN section 2, rule 2)"
#endif

#include "replay.h"

/*
 * Moves a replay window after authentication. One writer per window; the gate reads at the same
 * time: words are cleared before a new highest id is published, so a reader may see an old frame
 * as new (the owner's own check refuses it) but never a new one as old.
 */

/* Clears the bits of ids first..last, at most one turn of the ring. */
static inline void pg_replay_clear(__u64 *bits, __u32 first, __u32 last)
{
	__u32 id = first;

	if (last - first >= PG_WINDOW_IDS - 1) {
		for (__u32 i = 0; i < PG_WINDOW_WORDS; i++)
			__atomic_store_n(&bits[i], 0, __ATOMIC_RELAXED);
		return;
	}
	while (id <= last) {
		__u32 word = (id >> 6) & (PG_WINDOW_WORDS - 1);
		__u32 end = id | 63; /* last id of this word */
		__u64 mask = ~0ull << (id & 63);

		if (end >= last) {
			mask &= ~0ull >> (63 - (last & 63));
			end = last;
		}
		__atomic_store_n(&bits[word], bits[word] & ~mask, __ATOMIC_RELAXED);
		if (end == 0xffffffffu)
			return;
		id = end + 1;
	}
}

/* Raises *highest to pack without marking pack received; a lower pack changes nothing. */
static inline void pg_replay_raise(__u32 *highest, __u64 *bits, __u32 pack)
{
	if (pack <= *highest)
		return;
	pg_replay_clear(bits, *highest + 1, pack);
	__atomic_store_n(highest, pack, __ATOMIC_RELEASE);
}

/*
 * Marks pack received. The caller checked it with pg_replay_check and authenticated it; the bit is
 * set before the highest id is published, so that a reader never takes it for missing.
 */
static inline void pg_replay_commit(__u32 *highest, __u64 *bits, __u32 pack)
{
	__u32 word = (pack >> 6) & (PG_WINDOW_WORDS - 1);

	if (pack > *highest)
		pg_replay_clear(bits, *highest + 1, pack);
	__atomic_store_n(&bits[word], bits[word] | 1ull << (pack & 63), __ATOMIC_RELAXED);
	if (pack > *highest)
		__atomic_store_n(highest, pack, __ATOMIC_RELEASE);
}

#endif
