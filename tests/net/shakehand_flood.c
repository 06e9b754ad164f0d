// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * shakehand_flood INTERFACE FROM-MAC TO-MAC IPV4 IPV6 PORT SECONDS: spoofed shakehands, as fast as
 * they go, out of an interface of the current network namespace, which must carry no XDP program:
 * the sink for what is answered takes its place. For each line that it reads it says one, in JSON:
 * what was sent, and per family how many answers came, the longest, and how many were longer than
 * their question. Ends at the end of its input or when the time is up, saying the same once more.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/shakehand_frame.h"
#include "shakehand.skel.h"

static struct {
	struct shakehand_bpf *skeleton;
	uint32_t ifindex;
	atomic_bool ended;
	int error;
} flood;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

static void *send_all(void *unused)
{
	int program = bpf_program__fd(flood.skeleton->progs.shake), err = 0;

	while (!err && !flood.skeleton->bss->stopped)
		err = live_frames_run(program, flood.ifindex, SHAKEHAND_BYTES_V4, INT_MAX, NULL);
	flood.error = err == -EINTR ? 0 : err;
	atomic_store(&flood.ended, true);
	return NULL;
}

static void say(void)
{
	static const char *const names[SHAKEHAND_FAMILIES] = { "v4", "v6" };
	struct shakehand_bpf__bss *state = flood.skeleton->bss;

	printf("{\"sent\": %llu", (unsigned long long)state->sent);
	for (int i = 0; i < SHAKEHAND_FAMILIES; i++)
		printf(", \"answers_%s\": %llu, \"longest_%s\": %llu, \"longer_%s\": %llu",
		       names[i], (unsigned long long)state->answers[i].frames, names[i],
		       (unsigned long long)state->answers[i].longest, names[i],
		       (unsigned long long)state->answers[i].longer);
	printf("}\n");
	fflush(stdout);
}

/* Until the input ends, the time is up, or the generator could not go on. */
static void answer_lines(uint64_t end_ms)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char bytes[64];
	ssize_t n;

	while (!atomic_load(&flood.ended) && now_ms() < end_ms) {
		if (poll(&input, 1, 100) <= 0)
			continue;
		n = read(input.fd, bytes, sizeof(bytes));
		if (n <= 0)
			return;
		for (ssize_t i = 0; i < n; i++)
			if (bytes[i] == '\n')
				say();
	}
}

static void ignore(int signal)
{
}

static int run(uint64_t seconds)
{
	struct sigaction action = { .sa_handler = ignore }; /* interrupts the test run */
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	if (pthread_create(&thread, NULL, send_all, NULL))
		return -EAGAIN;
	answer_lines(now_ms() + seconds * 1000);
	flood.skeleton->bss->stopped = 1;
	while (!atomic_load(&flood.ended)) {
		pthread_kill(thread, SIGUSR1);
		usleep(1000);
	}
	pthread_join(thread, NULL);
	return flood.error;
}

static bool prepare(char **argv)
{
	struct shakehand_template *templates = flood.skeleton->bss->templates;
	uint16_t port = (uint16_t)atoi(argv[6]);
	uint8_t from[6], to[6];

	if (!live_frames_mac(argv[2], from) || !live_frames_mac(argv[3], to))
		return false;
	shakehand_fill(&templates[SHAKEHAND_V4], SHAKEHAND_V4, from, to, argv[4], port);
	shakehand_fill(&templates[SHAKEHAND_V6], SHAKEHAND_V6, from, to, argv[5], port);
	flood.ifindex = if_nametoindex(argv[1]);
	return flood.ifindex;
}

int main(int argc, char **argv)
{
	struct bpf_link *link;
	int err;

	flood.skeleton = shakehand_bpf__open_and_load();
	if (argc != 8 || !flood.skeleton || !prepare(argv)) {
		fprintf(stderr, "usage: shakehand_flood INTERFACE FROM-MAC TO-MAC IPV4 IPV6 PORT "
				"SECONDS, as root\n");
		return 2;
	}
	link = bpf_program__attach_xdp(flood.skeleton->progs.sink, (int)flood.ifindex);
	err = link ? run((uint64_t)atoi(argv[7])) : -errno;
	if (err)
		fprintf(stderr, "shakehand_flood: %s\n", strerror(-err));
	else
		say();
	bpf_link__destroy(link);
	shakehand_bpf__destroy(flood.skeleton);
	return err ? 1 : 0;
}
