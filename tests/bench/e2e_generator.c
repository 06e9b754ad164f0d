// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "e2e.h"

#include "generator.skel.h"

#define POOL_ROUND  4096 /* frames: the pool is a whole number of turns through the sessions */
#define REST_MS	    30	 /* without an echo: no more will come */
#define REST_MAX_MS 2000
#define BATCH	    64
#define BURST	    16 /* of a paced load: what a NIC gathers for one interrupt */

static struct {
	struct generator_bpf *skeleton;
	struct bpf_link *link;
	uint32_t ifindex, pool, batch;
	const struct bench_net *net;
	atomic_bool ended;
	int error;
} generator;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec time = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	nanosleep(&time, NULL);
}

/* --- set-up ------------------------------------------------------------------------------------
 */

static uint64_t memory_available(void)
{
	PG_FCLOSE FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	return kib * 1024;
}

static uint32_t pool_size(uint32_t max)
{
	uint64_t fits = memory_available() / 3 / sizeof(struct pool_frame);

	if (fits > max)
		fits = max;
	return fits / POOL_ROUND * POOL_ROUND;
}

static void fill_pool(void)
{
	size_t bytes = (size_t)generator.pool * sizeof(struct pool_frame);
	void *pool;

	bytes = (bytes + 4095) & ~(size_t)4095;
	pool = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		    bpf_map__fd(generator.skeleton->maps.pool), 0);
	if (pool == MAP_FAILED)
		bench_die("mapping the pool of frames: %s", strerror(errno));
	bench_frames_seal(pool, generator.pool);
	munmap(pool, bytes);
}

/* The sink gives the client's end NAPI, without which it can neither send nor receive frames. */
static void *attach_sink(void *unused)
{
	bench_net_enter(generator.net->client);
	generator.ifindex = if_nametoindex(generator.net->client_if);
	generator.link = bpf_program__attach_xdp(generator.skeleton->progs.sink, generator.ifindex);
	generator.error = generator.link ? 0 : errno;
	return NULL;
}

static void in_thread(void *(*function)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, NULL))
		bench_die("starting a thread");
	pthread_join(thread, NULL);
}

static void ignore(int signal)
{
}

void bench_generator_open(const struct bench_net *net, uint32_t max)
{
	struct sigaction action = { .sa_handler = ignore }; /* interrupts the test run */
	int err;

	generator.net = net;
	generator.pool = pool_size(max);
	if (!generator.pool)
		bench_die("no memory for a pool of frames");
	generator.skeleton = generator_bpf__open();
	if (!generator.skeleton)
		bench_die("opening the generator: %s", strerror(errno));
	bpf_map__set_max_entries(generator.skeleton->maps.pool, generator.pool);
	generator.skeleton->rodata->pool_count = generator.pool;
	err = generator_bpf__load(generator.skeleton);
	if (err)
		bench_die("loading the generator: %s", strerror(-err));
	fill_pool();
	in_thread(attach_sink);
	if (generator.error)
		bench_die("attaching the sink: %s", strerror(generator.error));
	sigaction(SIGUSR1, &action, NULL);
	bench_net_napi(net->client_if, GENERATOR_CPU);
}

void bench_generator_close(void)
{
	bpf_link__destroy(generator.link);
	generator_bpf__destroy(generator.skeleton);
	memset(&generator, 0, sizeof(generator));
}

uint32_t bench_generator_pool(void)
{
	return generator.pool;
}

/* --- a run -------------------------------------------------------------------------------------
 */

/* The test run goes on until a signal ends it: its repeats are more than anyone waits for. */
static void *generate(void *unused)
{
	uint8_t frame[LINK_BYTES] = { 0 };
	struct xdp_md context = {
		.data_end = sizeof(frame),
		.ingress_ifindex = generator.ifindex,
	};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = INT_MAX,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = generator.batch);
	int err;

	bench_net_enter(generator.net->client);
	bench_pin(0, GENERATOR_CPU);
	err = bpf_prog_test_run_opts(bpf_program__fd(generator.skeleton->progs.generate), &options);
	generator.error = err == -EINTR ? 0 : err;
	atomic_store(&generator.ended, true);
	return NULL;
}

static void set_up(const struct bench_load *load)
{
	struct generator_bpf__bss *state = generator.skeleton->bss;

	state->gap_ns = load->rate ? (uint64_t)(1e9 / load->rate * 65536) : 0;
	state->gap_rest = state->next_ns = 0;
	state->flooding = load->flood;
	state->first = load->first;
	state->limit = generator.pool - load->first;
	state->sent = state->flooded = 0;
	state->stopped = 0;
	generator.batch = load->rate && !load->flood ? BURST : BATCH;
	generator.error = 0;
	atomic_store(&generator.ended, false);
}

/* Sends for so long; returns when the generator is off its CPU. */
static void run_thread(double seconds, double *ret_seconds)
{
	volatile struct generator_bpf__bss *state = generator.skeleton->bss;
	uint64_t start;
	pthread_t thread;

	if (pthread_create(&thread, NULL, generate, NULL))
		bench_die("starting the generator");
	while (!state->sent && !atomic_load(&generator.ended))
		sleep_ns(100000);
	start = now_ns();
	while (now_ns() - start < seconds * 1e9 && state->sent < state->limit &&
	       !atomic_load(&generator.ended))
		sleep_ns(2000000);
	state->stopped = 1;
	*ret_seconds = (now_ns() - start) / 1e9;
	while (!atomic_load(&generator.ended)) {
		pthread_kill(thread, SIGUSR1);
		sleep_ns(1000000);
	}
	pthread_join(thread, NULL);
	if (generator.error)
		bench_die("the generator: %s", strerror(-generator.error));
}

static void wait_for_rest(void)
{
	volatile struct generator_bpf__bss *state = generator.skeleton->bss;
	uint64_t before;

	for (int waited = 0; waited < REST_MAX_MS; waited += REST_MS) {
		before = state->echoed;
		sleep_ns(REST_MS * 1000000ull);
		if (state->echoed == before)
			return;
	}
}

void bench_generator_run(const struct bench_load *load, struct bench_sent *ret_sent)
{
	const struct generator_bpf__bss *state = generator.skeleton->bss;
	uint64_t before = state->echoed;

	set_up(load);
	run_thread(load->seconds, &ret_sent->seconds);
	wait_for_rest();
	ret_sent->honest = state->sent;
	ret_sent->flood = state->flooded;
	ret_sent->echoed = state->echoed - before;
}
