/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_KERNEL_BPF_H
#define PG_SHIELD_KERNEL_BPF_H

#include <linux/tcp.h>

#include "answer.bpf.h"
#include "shield_socket.bpf.h"

/*
 * The kernel's cookie, by its helpers. They want the header's length as a constant: one call for
 * each. That with the listener also notes there that cookies are out, for two minutes: without it
 * the kernel takes none back. That without a socket makes the same cookie.
 */

/* The bytes are those of the IP header: plain headers only. */
struct kernel_segment {
	void *ip;
	struct tcphdr *tcp;
	const void *end;
	__u32 ip_bytes;
};

static __always_inline struct kernel_segment
kernel_segment(struct xdp_md *ctx, const struct route *route, __u32 ip_bytes)
{
	__u64 at = route->payload_offset - ip_bytes;
	struct kernel_segment segment = { .end = (const void *)(long)ctx->data_end,
					  .ip_bytes = ip_bytes };

	if (at > IP_AT_MAX)
		at = IP_AT_MAX;
	segment.ip = (void *)(long)ctx->data + at;
	segment.tcp = segment.ip + ip_bytes;
	return segment;
}

#define WITH_WORDS(words, call)                                \
	case words:                                            \
		if ((const void *)s->tcp + (words)*4 > s->end) \
			return -1;                             \
		return call(words * 4);
#define WITH_ANY_LENGTH(call)                            \
	do {                                             \
		if ((const void *)(s->tcp + 1) > s->end) \
			return -1;                       \
		switch (s->tcp->doff) {                  \
			WITH_WORDS(5, call)              \
			WITH_WORDS(6, call)              \
			WITH_WORDS(7, call)              \
			WITH_WORDS(8, call)              \
			WITH_WORDS(9, call)              \
			WITH_WORDS(10, call)             \
			WITH_WORDS(11, call)             \
			WITH_WORDS(12, call)             \
			WITH_WORDS(13, call)             \
			WITH_WORDS(14, call)             \
			WITH_WORDS(15, call)             \
		}                                        \
		return -1;                               \
	} while (0)

#define BY_SOCKET(bytes) bpf_tcp_gen_syncookie(sk, s->ip, s->ip_bytes, s->tcp, bytes)
#define BY_IPV4(bytes)	 bpf_tcp_raw_gen_syncookie_ipv4(s->ip, s->tcp, bytes)
#define BY_IPV6(bytes)	 bpf_tcp_raw_gen_syncookie_ipv6(s->ip, s->tcp, bytes)

static __always_inline __s64 by_socket(const struct kernel_segment *s, void *sk)
{
	WITH_ANY_LENGTH(BY_SOCKET);
}

static __always_inline __s64 by_ipv4(const struct kernel_segment *s)
{
	WITH_ANY_LENGTH(BY_IPV4);
}

static __always_inline __s64 by_ipv6(const struct kernel_segment *s)
{
	WITH_ANY_LENGTH(BY_IPV6);
}

/* The cookie, or a negative errno: the kernel would queue this SYN (-ENOENT), or sends none. */
static __always_inline __s64 kernel_cookie(struct xdp_md *ctx, const struct route *route, void *sk)
{
	struct kernel_segment s;

	if (route->family == 4) {
		s = kernel_segment(ctx, route, sizeof(struct iphdr));
		return by_socket(&s, sk);
	}
	s = kernel_segment(ctx, route, sizeof(struct ipv6hdr));
	return by_socket(&s, sk);
}

/*
 * The same without the listener, which has said a moment ago that cookies are to be sent. A global
 * function: the verifier walks it once.
 */
__noinline __u64 kernel_cookie_again(struct xdp_md *ctx, const struct route *route)
{
	struct kernel_segment s;

	if (!route)
		return -1;
	if (route->family == 4) {
		s = kernel_segment(ctx, route, sizeof(struct iphdr));
		return by_ipv4(&s);
	}
	s = kernel_segment(ctx, route, sizeof(struct ipv6hdr));
	return by_ipv6(&s);
}

static __always_inline bool checks_out(const struct kernel_segment *s, void *sk)
{
	return (const void *)(s->tcp + 1) <= s->end &&
	       !bpf_tcp_check_syncookie(sk, s->ip, s->ip_bytes, s->tcp, sizeof(*s->tcp));
}

static __always_inline bool kernel_takes(struct xdp_md *ctx, const struct route *route, void *sk)
{
	struct kernel_segment s;

	if (route->family == 4) {
		s = kernel_segment(ctx, route, sizeof(struct iphdr));
		return checks_out(&s, sk);
	}
	s = kernel_segment(ctx, route, sizeof(struct ipv6hdr));
	return checks_out(&s, sk);
}

#endif
