// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Spoofed shakehands, IPv4 and IPv6 in turn, each from another source and with another key: run
 * with BPF_F_TEST_XDP_LIVE_FRAMES they flood whoever is at the other end of a veth. A sink counts
 * what is answered to the sources and lets everything else pass.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "shakehand.h"

#define PORT_BITS	15
#define PORT_FIRST	1024
#define AT_ETHERTYPE	12
#define AT_IP		14
#define AT_IP_CHECK	10
#define AT_SOURCE_V4	12
#define AT_TARGET_V4	16
#define AT_SOURCE_V6	20 /* its last four bytes */
#define AT_TARGET_V6	24
#define AT_UDP_CHECK	6
#define AT_CLIENT_ID	8	      /* behind the UDP header */
#define AT_KEY		(8 + 16 + 18) /* likewise: of message 1's first eight bytes */
#define HASH_MULTIPLIER 0x9e3779b97f4a7c15ull

struct shakehand_template templates[SHAKEHAND_FAMILIES];
__u64 sent;
__u32 stopped;

struct shakehand_answers answers[SHAKEHAND_FAMILIES];

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* A sum of 16-bit words may be taken over 32-bit ones. */
static __always_inline void write_udp(__u8 *udp, const struct shakehand_template *form,
				      __u32 source, __u32 n)
{
	__u64 key = (n + 1) * HASH_MULTIPLIER, sum;
	__u16 port = bpf_htons(PORT_FIRST + (n & ((1 << PORT_BITS) - 1))), check;
	__u16 client_id = (__u16)(n >> 4) | 1;

	sum = (__u64)form->udp_sum + source + port + client_id + (__u32)key + (key >> 32);
	check = fold(sum);
	__builtin_memcpy(udp, &port, sizeof(port));
	__builtin_memcpy(udp + AT_UDP_CHECK, check ? &check : &(__u16){ 0xffff }, sizeof(check));
	__builtin_memcpy(udp + AT_CLIENT_ID, &client_id, sizeof(client_id));
	__builtin_memcpy(udp + AT_KEY, &key, sizeof(key));
}

/* Whoever had the frame before may have cut it, and has written into it. */
static __always_inline bool restore(struct xdp_md *ctx, const struct shakehand_template *form,
				    __u32 bytes)
{
	int length = (int)(ctx->data_end - ctx->data);

	return (length == (int)bytes || !bpf_xdp_adjust_tail(ctx, (int)bytes - length)) &&
	       !bpf_xdp_store_bytes(ctx, 0, (void *)form->frame, bytes);
}

static __always_inline int send_v4(struct xdp_md *ctx, __u32 n)
{
	const struct shakehand_template *form = &templates[SHAKEHAND_V4];
	__u32 source = bpf_htonl(SHAKEHAND_SOURCE_V4 |
				 ((n >> PORT_BITS) * 7919 + n) % (1 << SHAKEHAND_SOURCE_V4_BITS));
	__u16 check = fold((__u64)form->ip_sum + source);
	__u8 *data;

	if (!restore(ctx, form, SHAKEHAND_BYTES_V4))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	if (data + SHAKEHAND_BYTES_V4 > (__u8 *)(long)ctx->data_end)
		return XDP_ABORTED;
	__builtin_memcpy(data + AT_IP + AT_SOURCE_V4, &source, sizeof(source));
	__builtin_memcpy(data + AT_IP + AT_IP_CHECK, &check, sizeof(check));
	write_udp(data + AT_IP + 20, form, source, n);
	return XDP_TX;
}

static __always_inline int send_v6(struct xdp_md *ctx, __u32 n)
{
	const struct shakehand_template *form = &templates[SHAKEHAND_V6];
	__u32 source = bpf_htonl(n + 1);
	__u8 *data;

	if (!restore(ctx, form, SHAKEHAND_BYTES_V6))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	if (data + SHAKEHAND_BYTES_V6 > (__u8 *)(long)ctx->data_end)
		return XDP_ABORTED;
	__builtin_memcpy(data + AT_IP + AT_SOURCE_V6, &source, sizeof(source));
	write_udp(data + AT_IP + 40, form, source, n);
	return XDP_TX;
}

SEC("xdp")
int shake(struct xdp_md *ctx)
{
	__u32 n = sent;
	int action;

	if (stopped)
		return XDP_DROP; /* the harness takes the frame back */
	action = n & 1 ? send_v6(ctx, n) : send_v4(ctx, n);
	sent += action == XDP_TX;
	return action;
}

static __always_inline int count(enum shakehand_family family, __u64 bytes, __u64 question)
{
	struct shakehand_answers *seen = &answers[family];

	seen->frames++;
	seen->longer += bytes > question;
	if (bytes > seen->longest)
		seen->longest = bytes;
	return XDP_DROP;
}

SEC("xdp")
int sink(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 bytes = end - data;
	__u16 type, prefix;
	__u32 target;

	if (data + AT_IP + AT_TARGET_V6 + 16 > end)
		return XDP_PASS;
	__builtin_memcpy(&type, data + AT_ETHERTYPE, sizeof(type));
	__builtin_memcpy(&target, data + AT_IP + AT_TARGET_V4, sizeof(target));
	__builtin_memcpy(&prefix, data + AT_IP + AT_TARGET_V6, sizeof(prefix));
	if (type == bpf_htons(0x0800) && bpf_ntohl(target) >> SHAKEHAND_SOURCE_V4_BITS ==
						 SHAKEHAND_SOURCE_V4 >> SHAKEHAND_SOURCE_V4_BITS)
		return count(SHAKEHAND_V4, bytes, SHAKEHAND_BYTES_V4);
	if (type == bpf_htons(0x86dd) && prefix == bpf_htons(SHAKEHAND_SOURCE_V6))
		return count(SHAKEHAND_V6, bytes, SHAKEHAND_BYTES_V6);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
