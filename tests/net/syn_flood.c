// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * syn_flood INTERFACE FROM-MAC TO-MAC ADDRESS PORT SECONDS RATE: spoofed SYNs out of an interface
 * of the current network namespace, about RATE a second (0 = as fast as it goes). Says when it
 * begins, in ms of Unix time, and at the end how many they were.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/live_frames.h"
#include "bench/syn_frame.h"

#define BURSTS_PER_SECOND 200
#define BURST_FAST	  (1 << 16)

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void sleep_until(double when)
{
	double left = when - now_seconds();
	struct timespec time = { .tv_sec = (time_t)left,
				 .tv_nsec = (long)((left - (time_t)left) * 1e9) };

	if (left > 0)
		nanosleep(&time, NULL);
}

static void say_when(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	printf("%lld\n", now.tv_sec * 1000LL + now.tv_nsec / 1000000);
	fflush(stdout);
}

static int flood(int program, uint32_t ifindex, uint32_t bytes, double seconds, uint32_t rate)
{
	uint32_t count = rate ? rate / BURSTS_PER_SECOND : BURST_FAST;
	double start = now_seconds(), next = start;
	int err = 0;

	say_when();
	while (!err && now_seconds() - start < seconds) {
		err = live_frames_run(program, ifindex, bytes, count ? count : 1, NULL);
		next += 1.0 / BURSTS_PER_SECOND;
		if (rate)
			sleep_until(next);
	}
	return err;
}

int main(int argc, char **argv)
{
	struct syn_bpf *skeleton = syn_bpf__open_and_load();
	uint8_t from[6], to[6];
	uint32_t bytes;
	int err;

	if (argc != 8 || !skeleton || !live_frames_mac(argv[2], from) ||
	    !live_frames_mac(argv[3], to)) {
		fprintf(stderr, "usage: syn_flood INTERFACE FROM-MAC TO-MAC ADDRESS PORT SECONDS "
				"RATE, as root\n");
		return 2;
	}
	bytes = syn_frame_fill(skeleton->bss, strchr(argv[4], ':') ? 6 : 4, from, to, argv[4],
			       (uint16_t)atoi(argv[5]));
	err = flood(bpf_program__fd(skeleton->progs.syn), if_nametoindex(argv[1]), bytes,
		    atof(argv[6]), (uint32_t)atoi(argv[7]));
	if (err)
		fprintf(stderr, "syn_flood: %s\n", strerror(-err));
	else
		printf("%llu\n", (unsigned long long)skeleton->bss->sent);
	syn_bpf__destroy(skeleton);
	return err ? 1 : 0;
}
