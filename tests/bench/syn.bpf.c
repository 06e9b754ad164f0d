// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Spoofed SYNs, each from another source: run with BPF_F_TEST_XDP_LIVE_FRAMES it floods whoever is
 * at the other end of a veth.
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "syn.h"

#define SOURCE_V4      0xac100000u
#define SOURCE_V4_BITS 20
#define PORT_BITS      15
#define PORT_FIRST     1024
#define AT_SOURCE_V4   (14 + 12)
#define AT_SOURCE_V6   (14 + 8 + 12) /* its last four bytes */
#define AT_TCP_V4      (14 + 20)
#define AT_TCP_V6      (14 + 40)
#define AT_IP_CHECK    (14 + 10)
#define TCP_CHECK      16

__u8 frame[SYN_BYTES_V6]; /* source address's end, source port and checksums are 0 */
__u32 family;
__u32 tcp_sum, ip_sum; /* of the 16-bit words as they stand in frame, pseudo header included */
__u64 sent;

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline int store(struct xdp_md *ctx, __u32 at, void *value, __u32 bytes)
{
	return bpf_xdp_store_bytes(ctx, at, value, bytes);
}

static __always_inline int write_v4(struct xdp_md *ctx, __u32 n, __u16 port)
{
	__u32 source = bpf_htonl(SOURCE_V4 | ((n >> PORT_BITS) * 7919 + n) % (1 << SOURCE_V4_BITS));
	__u16 check = fold((__u64)tcp_sum + source + port), ip_check = fold((__u64)ip_sum + source);

	return bpf_xdp_store_bytes(ctx, 0, frame, SYN_BYTES_V4) ||
	       store(ctx, AT_SOURCE_V4, &source, 4) || store(ctx, AT_TCP_V4, &port, 2) ||
	       store(ctx, AT_TCP_V4 + TCP_CHECK, &check, 2) ||
	       store(ctx, AT_IP_CHECK, &ip_check, 2);
}

static __always_inline int write_v6(struct xdp_md *ctx, __u32 n, __u16 port)
{
	__u32 source = bpf_htonl(n + 1);
	__u16 check = fold((__u64)tcp_sum + source + port);

	return bpf_xdp_store_bytes(ctx, 0, frame, SYN_BYTES_V6) ||
	       store(ctx, AT_SOURCE_V6, &source, 4) || store(ctx, AT_TCP_V6, &port, 2) ||
	       store(ctx, AT_TCP_V6 + TCP_CHECK, &check, 2);
}

SEC("xdp")
int syn(struct xdp_md *ctx)
{
	__u32 n = sent, bytes = family == 4 ? SYN_BYTES_V4 : SYN_BYTES_V6;
	__u16 port = bpf_htons(PORT_FIRST + (n & ((1 << PORT_BITS) - 1)));

	/* whoever had the frame before may have cut it */
	if (ctx->data_end - ctx->data != bytes &&
	    bpf_xdp_adjust_tail(ctx, (int)bytes - (int)(ctx->data_end - ctx->data)))
		return XDP_ABORTED;
	if (family == 4 ? write_v4(ctx, n, port) : write_v6(ctx, n, port))
		return XDP_ABORTED;
	sent++;
	return XDP_TX;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
