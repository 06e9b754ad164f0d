// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The client's side of the veth pair: a generator, run with BPF_F_TEST_XDP_LIVE_FRAMES, that sends
 * the frames of the pool at a pace or as fast as it can, and a sink that counts what comes back.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "generator.h"

#define WAIT_TURNS   512 /* about 15 us */
#define MAKE_GOOD_NS 20000

const volatile __u32 pool_count;

/* Of the run at hand; the program runs on one CPU. */
__u32 flooding, stopped;
__u64 gap_ns; /* << 16, between two honest frames; 0 = as fast as it goes */
__u64 gap_rest, next_ns;
__u64 first, limit; /* the honest frames of this run: pool[first .. first + limit - 1] */
__u64 sent, flooded;

/* Of the sink. */
__u64 echoed, strange;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set before the load */
	__type(key, __u32);
	__type(value, struct pool_frame);
} pool SEC(".maps");

/* The frame is taken whole each time: what an earlier run wrote into it is still there. */
static __always_inline int send(struct xdp_md *ctx, __u32 index)
{
	const struct pool_frame *frame = bpf_map_lookup_elem(&pool, &index);

	if (!frame || bpf_xdp_store_bytes(ctx, 0, (void *)frame->bytes, LINK_BYTES))
		return XDP_DROP;
	return XDP_TX;
}

/* A run of the program without a frame: the harness takes it back. */
static __always_inline int nothing(void)
{
	return XDP_DROP;
}

/* Until the next frame, whole ns; the rest is carried on. */
static __always_inline __u64 gap(void)
{
	__u64 whole;

	gap_rest += gap_ns;
	whole = gap_rest >> 16;
	gap_rest &= 0xffff;
	return whole;
}

static __always_inline bool due(void)
{
	__u64 now;

	if (!gap_ns)
		return true;
	now = bpf_ktime_get_ns();
	if (now < next_ns)
		return false;
	/* time in which the generator was held up is not made good by a burst */
	if (now - next_ns > MAKE_GOOD_NS)
		next_ns = now;
	next_ns += gap();
	return true;
}

static long stop_when_due(__u64 turn, void *unused)
{
	return due() || stopped;
}

/*
 * Waits in place: taking frames only to give them back would contend with the server's side for
 * the pool of pages, and slow it down.
 */
static __always_inline bool wait_until_due(void)
{
	return due() ||
	       (!flooding && bpf_loop(WAIT_TURNS, stop_when_due, NULL, 0) < WAIT_TURNS && !stopped);
}

static __always_inline int send_flood(struct xdp_md *ctx)
{
	__u8 *data, *end;
	__u32 index, kind = flooded++ % FLOOD_KINDS;

	index = kind == FLOOD_REPLAY ? first + sent / 2 : (first + sent + 65536) % pool_count;
	if (send(ctx, index) != XDP_TX)
		return nothing();
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + LINK_BYTES > end)
		return nothing();
	if (kind == FLOOD_JUNK)
		data[AT_FLAGS] |= 0x04;
	if (kind == FLOOD_FORGED)
		data[AT_GUARD] ^= 1;
	return XDP_TX;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	if (stopped)
		return nothing();
	if (sent < limit && wait_until_due())
		return send(ctx, first + sent++);
	return flooding && sent ? send_flood(ctx) : nothing();
}

SEC("xdp")
int sink(struct xdp_md *ctx)
{
	if (ctx->data_end - ctx->data == LINK_BYTES)
		echoed++;
	else
		strange++;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
