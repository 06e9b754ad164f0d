// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "sim/pair.h"

/*
 * Client and server over a bad network, from a seed: loss to 30 %, duplication, reordering to
 * 200 ms, MTU 1280 to 1500 or 576, packets to 500 KB (250,000 bytes at 576), both ends sending and
 * closing at the same time, applications that stall, sockets that are full. Every packet of a
 * reliable series is delivered once, in order and whole, or FAILED at its sender and a gap at its
 * receiver; nothing stands still for ever; no buffer passes its bound; no frame leaves more than
 * nine times.
 */
#define RUNS	    1000
#define SERIES_MAX  5
#define PACKETS_MAX 64
#define STEP_MS	    7
#define END_MS	    (30 * 60 * 1000ull)

enum outcome { OPEN_YET, SUCCEEDED, FAILED };

/* One direction of a series. */
struct flow {
	uint32_t planned, sent, expected;
	uint32_t bytes[PACKETS_MAX + 1];
	uint8_t outcome[PACKETS_MAX + 1];
	uint8_t delivered[PACKETS_MAX + 1], gap[PACKETS_MAX + 1];
};

struct series {
	uint32_t id;
	uint8_t policy;
	bool opened, gone[2], closes[2], close_called[2];
	uint64_t close_ms[2];
	struct flow flow[2]; /* by sender */
};

struct run {
	struct pair pair;
	struct series series[SERIES_MAX];
	uint32_t series_count;
	bool stalls;
	uint8_t *buffer;
};

static struct {
	uint64_t packets, delivered, failed, unsure, gaps, frames, resent, spurious, timeouts;
	uint64_t fragmented, largest, refused_streams, simulated_ms, most_sent;
} seen;

static uint32_t draw(struct run *run, uint32_t below)
{
	return pair_draw(&run->pair, below);
}

/* The bytes of a packet follow from its place. */
static void fill(const struct series *series, int sender, uint32_t id, uint32_t bytes, uint8_t *out)
{
	uint64_t x = ((uint64_t)series->id << 32 | id) * 2 + sender + 1;

	for (uint32_t i = 0; i < bytes; i++) {
		if (i % 8 == 0)
			x = x * 6364136223846793005ull + 1442695040888963407ull;
		out[i] = x >> i % 8 * 8;
	}
}

/* --- what the applications hear ------------------------------------------------------------------
 */

static struct series *series_of(struct run *run, uint32_t stream)
{
	for (uint32_t i = 0; i < run->series_count; i++)
		if (run->series[i].id == stream)
			return &run->series[i];
	fail_msg("a stream that nobody opened: %u", stream);
	return NULL;
}

static void hear_message(struct run *run, struct series *series, int receiver,
			 const struct pg_engine_event *event)
{
	struct flow *flow = &series->flow[!receiver];
	uint32_t id = event->message;

	assert_in_range(id, 1, flow->sent);
	assert_int_equal(event->length, flow->bytes[id]);
	fill(series, !receiver, id, event->length, run->buffer);
	assert_memory_equal(event->bytes, run->buffer, event->length);
	assert_int_equal(++flow->delivered[id], 1);
	assert_int_equal(flow->gap[id], 0);
	if (series->policy == PG_POLICY_RELIABLE)
		assert_int_equal(id, flow->expected);
	else if (series->policy == PG_POLICY_NEWEST)
		assert_true(id >= flow->expected);
	flow->expected = id + 1;
}

static void hear_gap(struct series *series, int receiver, const struct pg_engine_event *event)
{
	struct flow *flow = &series->flow[!receiver];
	uint32_t count = pg_load_be32(event->bytes);

	assert_int_equal(series->policy, PG_POLICY_RELIABLE);
	assert_int_equal(event->message, flow->expected);
	assert_true(count > 0);
	assert_in_range(event->message + count - 1, 1, flow->sent);
	for (uint32_t id = event->message; id < event->message + count; id++) {
		assert_int_equal(flow->delivered[id], 0);
		flow->gap[id] = 1;
		seen.gaps++;
	}
	flow->expected += count;
}

static void hear_outcome(struct series *series, int sender, uint32_t id, enum outcome outcome)
{
	struct flow *flow = &series->flow[sender];

	assert_in_range(id, 1, flow->sent);
	assert_int_equal(flow->outcome[id], OPEN_YET);
	flow->outcome[id] = outcome;
	/* acked is committed: delivered by now, or waiting for others */
	if (outcome == SUCCEEDED)
		assert_int_equal(flow->gap[id], 0);
}

static void hear(struct pair *pair, int which, const struct pg_engine_event *event)
{
	struct run *run = pair->owner;
	struct series *series = series_of(run, event->stream);

	switch (event->kind) {
	case PG_APP_MESSAGE:
		hear_message(run, series, which, event);
		break;
	case PG_APP_GAP:
		hear_gap(series, which, event);
		break;
	case PG_APP_SENT:
		hear_outcome(series, which, event->message, SUCCEEDED);
		break;
	case PG_APP_FAILED:
		hear_outcome(series, which, event->message, FAILED);
		break;
	case PG_APP_STREAM_OPEN:
		assert_int_equal(event->bytes[0], series->policy);
		series->opened |= which == SERVER;
		break;
	case PG_APP_STREAM_CLOSED:
		assert_false(series->gone[which]);
		series->gone[which] = true;
		break;
	default:
		fail_msg("an event of kind %d", event->kind);
	}
}

/* --- a run ---------------------------------------------------------------------------------------
 */

static uint32_t draw_bytes(struct run *run, uint64_t seed, const struct series *series)
{
	bool small_mtu = seed % 10 == 0;
	uint32_t most = small_mtu ? 250000 : 500000;

	if (series->policy == PG_POLICY_NEWEST)
		return draw(run, small_mtu ? 496 : 1100);
	if (series->policy == PG_POLICY_UNORDERED)
		return draw(run, 4) ? draw(run, 1500) : draw(run, 12000);
	if (seed % 5 == 0 && !draw(run, 6))
		return most - draw(run, 2) * draw(run, most);
	return draw(run, 5) ? draw(run, 1600) : draw(run, 20000);
}

static void plan(struct run *run, uint64_t seed, struct series *series)
{
	for (int end = 0; end < 2; end++) {
		struct flow *flow = &series->flow[end];

		flow->expected = 1;
		flow->planned = draw(run, seed % 10 == 5 ? 8 : 40);
		for (uint32_t id = 1; id <= flow->planned; id++)
			flow->bytes[id] = draw_bytes(run, seed, series);
		series->closes[end] = series->id && draw(run, 3);
		series->close_ms[end] = 1000 + draw(run, 3000);
	}
	/* closes that meet */
	if (!draw(run, 2))
		series->close_ms[1] = series->close_ms[0];
}

static void shape(struct run *run, uint64_t seed)
{
	struct pair_network *network = &run->pair.network;

	network->loss = draw(run, 31);
	network->duplication = draw(run, 3) ? 0 : draw(run, 30);
	network->delay_ms = 1 + draw(run, 60);
	network->jitter_ms = draw(run, 2) ? draw(run, 201) : draw(run, 5);
	network->mtu = seed % 10 == 0 ? 576 - 28 : 1280 - 48 + draw(run, 221);
	run->stalls = seed % 3 == 1;
}

static void configure(uint64_t seed, uint32_t payload, struct pair_options *options)
{
	options->guard = seed % 4 != 2;
	options->aead = seed % 8 == 7 ? PG_AEAD_AES_256_GCM : PG_AEAD_CHACHA20_POLY1305;
	for (int i = 0; i < 2; i++) {
		options->engine[i].max_payload = payload;
		/* without a guard a client keeps alive with packets of its own */
		if (!options->guard)
			options->engine[i].ping_ms = 1000000000;
		if (seed % 6 == 4)
			options->engine[i].receive_buffer_bytes = 60000;
		if (seed % 6 == 5)
			options->engine[i].send_buffer_bytes = 60000;
	}
}

static void start(struct run *run, uint64_t seed, struct pair_crypto *crypto)
{
	struct pair_options options = { 0 };
	struct pair *pair = &run->pair;

	memset(run, 0, offsetof(struct run, buffer));
	pair->event = hear;
	pair->owner = run;
	configure(seed, seed % 10 == 0 ? 520 : 1172, &options);
	pair_init(pair, seed, crypto, &options);
	shape(run, seed);
	run->series_count = 1 + draw(run, SERIES_MAX);
	for (uint32_t i = 0; i < run->series_count; i++) {
		struct series *series = &run->series[i];

		series->policy = i > 2 ? i - 2 : PG_POLICY_RELIABLE;
		series->opened = !i;
		if (i)
			assert_int_equal(pg_engine_open_stream(&pair->end[CLIENT].engine,
							       series->policy, &series->id),
					 0);
		plan(run, seed, series);
	}
}

static bool may_send(const struct series *series, int end)
{
	if (series->gone[end] || series->close_called[end])
		return false;
	return end == CLIENT || series->opened;
}

static void send_some(struct run *run, struct series *series, int end)
{
	struct pg_engine *engine = &run->pair.end[end].engine;
	struct flow *flow = &series->flow[end];
	uint32_t id = flow->sent + 1;
	int err;

	if (flow->sent == flow->planned || !may_send(series, end) || draw(run, 3))
		return;
	fill(series, end, id, flow->bytes[id], run->buffer);
	/* delivery may come before the call returns, were the network not there */
	flow->sent = id;
	err = pg_engine_send(engine, series->id, run->buffer, flow->bytes[id], id);
	if (!err)
		return;
	flow->sent = id - 1;
	if (err == -EPIPE || err == -EMSGSIZE)
		flow->planned = flow->sent; /* the peer closes; or more than the buffer holds */
	else if (series->policy == PG_POLICY_RELIABLE)
		assert_int_equal(err, -ENOBUFS);
	else
		assert_int_equal(err, -EAGAIN);
}

static void close_some(struct run *run, struct series *series, int end)
{
	int err;

	if (!series->closes[end] || series->close_called[end] || !may_send(series, end) ||
	    run->pair.now_ms < series->close_ms[end])
		return;
	series->close_called[end] = true;
	err = pg_engine_close_stream(&run->pair.end[end].engine, series->id);
	if (err)
		assert_int_equal(err, -EALREADY);
}

/* Applications stall and sockets fill up, for a while and not for ever. */
static void disturb(struct run *run)
{
	uint64_t now = run->pair.now_ms;

	for (int i = 0; i < 2 && run->stalls && now < 6000; i++) {
		if (!draw(run, 100))
			run->pair.end[i].full_until_ms = now + draw(run, 300);
		if (!draw(run, 100))
			run->pair.end[i].blocked_until_ms = now + draw(run, 100);
	}
}

static bool idle(const struct run *run)
{
	for (int i = 0; i < 2; i++) {
		const struct pg_engine *engine = &run->pair.end[i].engine;

		if (engine->tx.bytes || engine->waiting_bytes || engine->stalled)
			return false;
	}
	for (uint32_t i = 0; i < run->series_count; i++)
		for (int end = 0; end < 2; end++) {
			const struct series *series = &run->series[i];
			const struct flow *flow = &series->flow[end];

			if (flow->sent < flow->planned && may_send(series, end))
				return false;
			if (series->closes[end] && !series->close_called[end] &&
			    may_send(series, end))
				return false;
			if (series->close_called[end] && !series->gone[end])
				return false;
		}
	return !run->pair.heap_count;
}

static void go(struct run *run)
{
	struct pair *pair = &run->pair;
	uint64_t next;

	while (!idle(run)) {
		for (uint32_t i = 0; i < run->series_count; i++)
			for (int end = 0; end < 2; end++) {
				send_some(run, &run->series[i], end);
				close_some(run, &run->series[i], end);
			}
		disturb(run);
		next = pair->now_ms + STEP_MS;
		/* when the applications have nothing to do, time flies */
		if (pair->now_ms > 8000 && pair_next_ms(pair) > next)
			next = pair_next_ms(pair);
		assert_true(next < END_MS);
		pair_run_to(pair, next);
	}
	/* what waits for a late copy, and the memory of closed streams */
	pair_run_to(pair, pair->now_ms + 75000);
}

/* --- the account ---------------------------------------------------------------------------------
 */

static uint32_t highest_of(struct run *run, const struct series *series, int receiver)
{
	struct pg_engine *engine = &run->pair.end[receiver].engine;

	if (!series->id)
		return engine->series.highest;
	for (const struct pg_stream *s = engine->streams; s; s = s->next)
		if (s->series.stream == series->id)
			return s->series.highest;
	return 0; /* forgotten */
}

static void account_packet(const struct flow *flow, uint32_t id, uint32_t highest)
{
	seen.packets++;
	seen.delivered += flow->delivered[id];
	seen.failed += flow->outcome[id] == FAILED;
	if (flow->bytes[id] > seen.largest && flow->delivered[id])
		seen.largest = flow->bytes[id];
	seen.fragmented += flow->bytes[id] > 1156;
	assert_int_not_equal(flow->outcome[id], OPEN_YET);
	if (flow->outcome[id] == SUCCEEDED)
		assert_int_equal(flow->delivered[id], 1);
	if (flow->gap[id])
		assert_int_equal(flow->outcome[id], FAILED);
	/* every ack of it was lost: the sender cannot know */
	seen.unsure += flow->outcome[id] == FAILED && flow->delivered[id];
	if (id <= highest)
		assert_int_equal(flow->delivered[id] + flow->gap[id], 1);
}

static void account(struct run *run)
{
	for (uint32_t i = 0; i < run->series_count; i++) {
		struct series *series = &run->series[i];

		seen.refused_streams += series->id && !series->opened;
		for (int end = 0; end < 2; end++)
			for (uint32_t id = 1; id <= series->flow[end].sent; id++)
				if (series->policy == PG_POLICY_RELIABLE)
					account_packet(&series->flow[end], id,
						       highest_of(run, series, !end));
	}
	for (int i = 0; i < 2; i++) {
		const struct pair_end *end = &run->pair.end[i];

		assert_int_equal(end->closed, 0);
		assert_int_equal(end->engine.tx.congestion.in_flight, 0);
		assert_true(TAILQ_EMPTY(&end->engine.tx.age));
		assert_int_equal(end->engine.waiting_bytes, 0);
		seen.frames += end->frames;
		seen.resent += end->env.counters.resent;
		seen.spurious += end->env.counters.spurious;
		seen.timeouts += end->env.counters.timeouts;
	}
	seen.simulated_ms += run->pair.now_ms;
	if (run->pair.most_sent > seen.most_sent)
		seen.most_sent = run->pair.most_sent;
}

/* Both end the session at the same time, or one of them does. */
static void end_session(struct run *run, uint64_t seed)
{
	run->pair.network.loss = 0;
	pg_engine_close(&run->pair.end[seed & 1].engine, PG_GOAWAY_NORMAL);
	if (seed & 2)
		pg_engine_close(&run->pair.end[!(seed & 1)].engine, PG_GOAWAY_NORMAL);
	pair_run_to(&run->pair, run->pair.now_ms + 1000);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run->pair.end[i].closed, 1);
		assert_int_equal(run->pair.end[i].closed_code, PG_GOAWAY_NORMAL);
	}
}

static void test_runs(void **state)
{
	const char *only = getenv("PG_TRANSFER_SEED");
	uint64_t first = only ? strtoull(only, NULL, 10) : 1;
	struct run *run = malloc(sizeof(*run));
	struct pair_crypto crypto;

	assert_non_null(run);
	run->buffer = malloc(512 * 1156);
	pair_crypto_init(&crypto);
	for (uint64_t seed = first; seed < (only ? first + 1 : RUNS + 1); seed++) {
		if (getenv("PG_TRANSFER_TALK"))
			fprintf(stderr, "seed %lu\n", seed);
		start(run, seed, &crypto);
		go(run);
		account(run);
		end_session(run, seed);
		pair_done(&run->pair);
	}
	print_message("%lu packets, %lu delivered, %lu failed (%lu after delivery), %lu gaps\n",
		      seen.packets, seen.delivered, seen.failed, seen.unsure, seen.gaps);
	print_message("%lu in fragments, the largest %lu bytes; %lu frames, %lu sent again, %lu of "
		      "them too early, %lu timeouts; no frame more than %lu times; %lu streams "
		      "never opened; "
		      "%lu s\n",
		      seen.fragmented, seen.largest, seen.frames, seen.resent, seen.spurious,
		      seen.timeouts, seen.most_sent, seen.refused_streams,
		      seen.simulated_ms / 1000);
	/* the runs met what they are for */
	if (!only) {
		assert_true(seen.packets > 20000 && seen.fragmented > 3000);
		assert_true(seen.failed > 20 && seen.gaps > 20 && seen.resent > 10000);
		assert_true(seen.spurious > 100 && seen.timeouts > 1000);
		assert_true(seen.largest == 500000);
		assert_int_equal(seen.most_sent, PAIR_SENT_MAX);
	}
	free(run->buffer);
	free(run);
	pair_crypto_done(&crypto);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_runs) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
