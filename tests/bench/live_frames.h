/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_BENCH_LIVE_FRAMES_H
#define PG_BENCH_LIVE_FRAMES_H

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define LIVE_BATCH 64
#define LIVE_BYTES 2048 /* room for a frame */

/*
 * Runs a program count times on frames of so many bytes, zeros at first, as if they came in on an
 * interface of this network namespace: what it answers with XDP_TX leaves there. *ret_duration_ns,
 * unless NULL, is the kernel's own reading per frame, without the set-up of the call, which takes
 * about 25 ms. Returns 0 or a negative errno: -EINTR where a signal ended it before.
 */
static inline int live_frames_run(int program, uint32_t ifindex, uint32_t bytes, uint32_t count,
				  uint32_t *ret_duration_ns)
{
	static const uint8_t frame[LIVE_BYTES];
	struct xdp_md context = { .data_end = bytes, .ingress_ifindex = ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = bytes,
		    .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = (int)count,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		    .batch_size = count < LIVE_BATCH ? count : LIVE_BATCH);
	int err = bpf_prog_test_run_opts(program, &options);

	if (!err && ret_duration_ns)
		*ret_duration_ns = options.duration;
	return err;
}

/* "02:00:00:00:00:01". Returns whether it was one. */
static inline int live_frames_mac(const char *text, uint8_t ret_mac[6])
{
	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", ret_mac, ret_mac + 1, ret_mac + 2,
		      ret_mac + 3, ret_mac + 4, ret_mac + 5) == 6;
}

/* The sum of the 16-bit words as they stand there; n is even. */
static inline uint32_t live_frames_sum(const uint8_t *bytes, size_t n)
{
	uint32_t sum = 0;
	uint16_t word;

	for (size_t i = 0; i < n; i += 2) {
		memcpy(&word, bytes + i, 2);
		sum += word;
	}
	return sum;
}

static inline void live_frames_put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Where a template goes, and what it carries. */
struct live_head {
	int version;		  /* of IP */
	const uint8_t *from, *to; /* link addresses, 6 bytes each */
	const char *target;	  /* an address of that version */
	uint16_t source_v6;	  /* first bytes of an IPv6 source; all else of a source is 0 */
	uint8_t protocol;
	uint16_t bytes; /* behind the IP header */
};

/*
 * Writes Ethernet and IP in front of a template that is zero so far. *ret_ip_sum is the sum of the
 * IPv4 header, 0 for IPv6. Returns the sum of the pseudo header.
 */
static inline uint32_t live_frames_head(uint8_t *frame, const struct live_head *head,
					uint32_t *ret_ip_sum)
{
	uint32_t sum = htons(head->protocol) + htons(head->bytes);
	uint8_t *ip = frame + 14;

	memcpy(frame, head->to, 6);
	memcpy(frame + 6, head->from, 6);
	live_frames_put16(frame + 12, head->version == 4 ? 0x0800 : 0x86dd);
	*ret_ip_sum = 0;
	if (head->version == 4) {
		ip[0] = 0x45;
		live_frames_put16(ip + 2, 20 + head->bytes);
		ip[8] = 64;
		ip[9] = head->protocol;
		inet_pton(AF_INET, head->target, ip + 16);
		*ret_ip_sum = live_frames_sum(ip, 20);
		return sum + live_frames_sum(ip + 12, 8);
	}
	ip[0] = 0x60;
	live_frames_put16(ip + 4, head->bytes);
	ip[6] = head->protocol;
	ip[7] = 64;
	live_frames_put16(ip + 8, head->source_v6);
	inet_pton(AF_INET6, head->target, ip + 24);
	return sum + live_frames_sum(ip + 8, 32);
}

#endif
