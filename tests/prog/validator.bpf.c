// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Validator, guard and packId rule as BPF code over batches, for the differential test. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "packgate/guard.h"
#include "packgate/replay.h"
#include "validator.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FRAME_BATCH);
	__type(key, __u32);
	__type(value, struct frame_case);
} frame_cases SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WINDOW_BATCH);
	__type(key, __u32);
	__type(value, struct window_case);
} window_cases SEC(".maps");

static __noinline int control_right(struct frame_case *c)
{
	struct pg_guard_cover text = {};
	__u32 cover = c->frame.bytes - PG_GUARD_BYTES;

	if (cover > PG_GUARD_COVER_MAX)
		return 0;
	for (__u32 i = 0; i < PG_GUARD_COVER_MAX; i++)
		if (i < cover)
			text.bytes[i] = c->data[i];
	return pg_load_le64(&c->data[cover]) == pg_guard_of_control(c->key, &text, cover);
}

static long check_frame(__u32 index, void *unused)
{
	struct frame_case *c = bpf_map_lookup_elem(&frame_cases, &index);
	const void *end;

	if (!c || c->bytes > 2200)
		return 1;
	end = c->data + c->bytes;
	/* a constant direction and guard, as in the gate */
	if (c->direction == PG_C2S)
		c->drop =
			c->guard ? pg_frame_check(c->data, end, c->bytes, PG_C2S, true, &c->frame)
				 : pg_frame_check(c->data, end, c->bytes, PG_C2S, false, &c->frame);
	else
		c->drop = pg_frame_check(c->data, end, c->bytes, PG_S2C, c->guard, &c->frame);
	c->guard_right = 0;
	if (c->drop || !c->frame.has_guard)
		return 0;
	if (c->frame.opcode == PG_OP_DATA)
		c->guard_right = pg_guard_check_data(c->key, c->data, end, &c->frame);
	else
		c->guard_right = control_right(c);
	return 0;
}

static long check_window(__u32 index, void *unused)
{
	struct window_case *c = bpf_map_lookup_elem(&window_cases, &index);

	if (!c)
		return 1;
	c->drop = pg_replay_check(c->highest, c->bits, c->pack, c->policy);
	return 0;
}

SEC("xdp")
int check_frames(struct xdp_md *ctx)
{
	return bpf_loop(FRAME_BATCH, check_frame, NULL, 0) == FRAME_BATCH ? XDP_PASS : XDP_ABORTED;
}

SEC("xdp")
int check_windows(struct xdp_md *ctx)
{
	return bpf_loop(WINDOW_BATCH, check_window, NULL, 0) == WINDOW_BATCH ? XDP_PASS
									     : XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
