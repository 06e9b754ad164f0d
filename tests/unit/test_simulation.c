// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "sim/engine_bench.h"

/*
 * A client and the engine over a network that loses, duplicates and reorders, from a seed. The
 * client resends byte-identical frames until they are acked or given up, as PROTOCOL section 1
 * wants it; the engine's application is now and then full, and in some runs the process dies and
 * is followed by another one. The bench checks every frame the engine sends, nonces and how often
 * it is sent included.
 */
#define RUNS	    200
#define STEP_MS	    5
#define DARK_MS	    11000 /* longer than the send timeout */
#define SERIES	    3	  /* the session, a reliable stream, an unordered one */
#define PACKETS_MAX 400
#define RTO_MS	    400
#define TRIES	    9
#define FLYING_MAX  4096

static const uint32_t stream_of[SERIES] = { 0, 7, 9 };

struct packet {
	uint8_t *frame;
	uint32_t bytes, tries;
	uint64_t next_try_ms;
	bool acked, failed;
	uint32_t delivered, reported; /* by the engine to its application */
};

struct flying {
	uint64_t due_ms;
	bool to_engine;
	uint32_t count;
	uint8_t *bytes;
};

struct sim {
	struct bench *b;
	uint64_t seed;
	uint32_t loss, duplication, reorder_ms; /* percent, percent, ms */
	uint32_t packets;			/* of each series */
	bool dies, darkens;
	uint64_t dark_until_ms; /* nothing of the engine's arrives */
	struct packet sent[SERIES][PACKETS_MAX + 1];
	uint32_t next[SERIES];			       /* the next packId the client sends */
	uint32_t expected[SERIES];		       /* next id the application must hear of */
	uint32_t from_engine[SERIES][PACKETS_MAX + 2]; /* copies that reached the client */
	uint32_t message;			       /* the last number given to the engine */
	uint8_t outcome[SERIES * PACKETS_MAX + 1];
	struct flying flying[FLYING_MAX];
	uint32_t flying_count, events_read;
};

static uint32_t draw(struct sim *sim, uint32_t below)
{
	sim->seed = sim->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (sim->seed >> 33) % below;
}

static int series_of(uint32_t stream)
{
	for (int i = 0; i < SERIES; i++)
		if (stream_of[i] == stream)
			return i;
	fail_msg("a stream that is not there: %u", stream);
	return 0;
}

/* --- the network
 * ----------------------------------------------------------------------------------- */

static void fly(struct sim *sim, bool to_engine, const uint8_t *bytes, uint32_t count)
{
	int copies = draw(sim, 100) < sim->loss ? 0 : 1 + (draw(sim, 100) < sim->duplication);

	if (!to_engine && sim->b->env.now_ms < sim->dark_until_ms)
		return;
	while (copies--) {
		struct flying *f = &sim->flying[sim->flying_count];

		if (sim->flying_count == FLYING_MAX)
			return; /* a full queue loses, too */
		f->due_ms = sim->b->env.now_ms + 1 + draw(sim, sim->reorder_ms + 1);
		f->to_engine = to_engine;
		f->count = count;
		f->bytes = malloc(count);
		assert_non_null(f->bytes);
		memcpy(f->bytes, bytes, count);
		sim->flying_count++;
	}
}

/* --- the client
 * ------------------------------------------------------------------------------------- */

static void client_ack(struct sim *sim, uint32_t stream, uint32_t pack)
{
	struct pg_frame frame = {
		.session = BENCH_SESSION,
		.stream = stream,
		.pack = pack,
		.opcode = PG_OP_ACK,
		.flags = PG_FLAG_PACK | (stream ? PG_FLAG_STRE : 0),
		.payload_bytes = PG_GUARD_BYTES,
	};
	uint8_t bytes[64];

	pg_frame_write_header(bytes, &frame, sim->b->env.unix_ms);
	bench_guard(sim->b, bytes, &frame);
	fly(sim, true, bytes, frame.bytes);
}

static void client_takes(struct sim *sim, const uint8_t *bytes, uint32_t count)
{
	struct pg_frame frame;
	int s;

	assert_int_equal(pg_frame_check(bytes, bytes + count, count, PG_S2C, true, &frame),
			 PG_DROP_NONE);
	s = series_of(frame.stream);
	if (frame.opcode == PG_OP_ACK) {
		assert_in_range(frame.pack, 1, sim->next[s] - 1);
		sim->sent[s][frame.pack].acked = true;
	} else if (frame.opcode == PG_OP_DATA) {
		assert_in_range(frame.pack, 1, PACKETS_MAX + 1);
		sim->from_engine[s][frame.pack]++;
		if (s < 2)
			client_ack(sim, frame.stream, frame.pack);
	}
}

static void seal_next(struct sim *sim, int s)
{
	uint32_t pack = sim->next[s]++, bytes = 8 + draw(sim, 600);
	struct packet *packet = &sim->sent[s][pack];
	uint8_t frame[PG_FRAME_MAX], text[PG_FRAME_MAX] = { 0 };

	pg_store_be32(text, stream_of[s]);
	pg_store_be32(text + 4, pack);
	packet->bytes =
		bench_seal(sim->b, frame, stream_of[s], pack, 0, sim->b->env.unix_ms, text, bytes);
	packet->frame = malloc(packet->bytes);
	assert_non_null(packet->frame);
	memcpy(packet->frame, frame, packet->bytes);
}

static void client_sends(struct sim *sim)
{
	uint64_t now = sim->b->env.now_ms;

	for (int s = 0; s < SERIES; s++) {
		uint32_t fresh = draw(sim, 4);

		while (fresh-- && sim->next[s] <= sim->packets)
			seal_next(sim, s);
		for (uint32_t pack = 1; pack < sim->next[s]; pack++) {
			struct packet *packet = &sim->sent[s][pack];

			if (packet->acked || packet->failed || packet->next_try_ms > now)
				continue;
			if (packet->tries == (s == 2 ? 1 : TRIES)) {
				packet->failed = true;
				continue;
			}
			fly(sim, true, packet->frame, packet->bytes);
			packet->next_try_ms = now + RTO_MS + draw(sim, 600) * packet->tries++;
		}
	}
}

static bool client_done(const struct sim *sim)
{
	for (int s = 0; s < SERIES; s++) {
		if (sim->next[s] <= sim->packets)
			return false;
		for (uint32_t pack = 1; pack < sim->next[s]; pack++)
			if (!sim->sent[s][pack].acked && !sim->sent[s][pack].failed)
				return false;
	}
	return true;
}

/* --- the engine's side
 * ------------------------------------------------------------------------------- */

static void note_delivered(struct sim *sim, const struct bench_event *event)
{
	int s = series_of(event->stream);

	assert_in_range(event->message, 1, sim->packets);
	assert_int_equal(pg_load_be32(event->bytes), event->stream);
	assert_int_equal(pg_load_be32(event->bytes + 4), event->message);
	assert_int_equal(++sim->sent[s][event->message].delivered, 1);
	if (s == 2)
		return;
	/* in order; without a death not one id is passed over unsaid */
	if (sim->dies)
		assert_true(event->message >= sim->expected[s]);
	else
		assert_int_equal(event->message, sim->expected[s]);
	sim->expected[s] = event->message + 1;
}

static void note_gap(struct sim *sim, const struct bench_event *event)
{
	uint32_t count = pg_load_be32(event->bytes);
	int s = series_of(event->stream);

	assert_true(s < 2 && count > 0);
	assert_in_range(event->message + count - 1, 1, sim->packets);
	for (uint32_t id = event->message; id < event->message + count; id++)
		sim->sent[s][id].reported++;
	if (sim->dies)
		return;
	assert_int_equal(event->message, sim->expected[s]);
	sim->expected[s] += count;
}

static void read_events(struct sim *sim)
{
	for (; sim->events_read < sim->b->event_count; sim->events_read++) {
		const struct bench_event *event = &sim->b->events[sim->events_read];

		switch (event->kind) {
		case PG_APP_MESSAGE:
			note_delivered(sim, event);
			break;
		case PG_APP_GAP:
			note_gap(sim, event);
			break;
		case PG_APP_SENT:
		case PG_APP_FAILED:
			assert_in_range(event->message, 1, sim->message);
			assert_int_equal(sim->outcome[event->message], 0);
			sim->outcome[event->message] = event->kind;
			break;
		default:
			assert_int_equal(event->kind, PG_APP_STREAM_OPEN);
		}
	}
}

static void read_sent(struct sim *sim)
{
	struct bench *b = sim->b;

	/* the bench opened data in place: for the model only headers count from here on */
	for (uint32_t i = 0; i < b->sent_count; i++)
		fly(sim, false, b->sent[i].bytes, b->sent[i].frame.bytes);
	b->sent_count = 0;
}

static void engine_sends(struct sim *sim)
{
	int s = draw(sim, 2);
	int err;

	if (draw(sim, 3) || sim->message >= sim->packets)
		return;
	pg_key_cache_begin(sim->b->env.keys);
	err = pg_engine_send(&sim->b->engine, stream_of[s], (const uint8_t *)"answer", 6,
			     sim->message + 1);
	if (!err)
		sim->message++;
	else
		assert_int_equal(err, -EAGAIN);
}

static void deliver_due(struct sim *sim)
{
	static struct bench_in in[32];
	uint32_t count = 0;

	for (uint32_t i = 0; i < sim->flying_count;) {
		struct flying f = sim->flying[i];
		struct pg_engine_source source = { .pinned = true };
		struct pg_frame frame;

		if (f.due_ms > sim->b->env.now_ms) {
			i++;
			continue;
		}
		sim->flying[i] = sim->flying[--sim->flying_count];
		if (!f.to_engine) {
			client_takes(sim, f.bytes, f.count);
		} else if (f.bytes[PG_AT_OPCODE] == PG_OP_DATA && count < 32) {
			memcpy(in[count].bytes, f.bytes, f.count);
			in[count].port_be = 0;
			in[count++].count = f.count;
		} else if (f.bytes[PG_AT_OPCODE] != PG_OP_DATA) {
			assert_int_equal(pg_frame_check(f.bytes, f.bytes + f.count, f.count, PG_C2S,
							true, &frame),
					 PG_DROP_NONE);
			pg_engine_control(&sim->b->engine, &frame, f.bytes, &source);
		}
		free(f.bytes);
	}
	if (count)
		bench_batch(sim->b, in, count);
	for (uint32_t i = 0; i < count; i++)
		assert_int_not_equal(in[i].drop, PG_DROP_TAG);
}

/* --- runs
 * --------------------------------------------------------------------------------------------- */

static void start(struct sim *sim, uint64_t seed)
{
	uint8_t unordered = PG_POLICY_UNORDERED;

	memset(sim, 0, sizeof(*sim));
	sim->seed = seed;
	sim->loss = draw(sim, 31);
	sim->duplication = draw(sim, 20);
	sim->reorder_ms = draw(sim, 201);
	sim->packets = 100 + draw(sim, 250);
	sim->dies = seed % 4 == 3;
	sim->darkens = seed % 8 == 4;
	sim->b = bench_new(PG_POLICY_RELIABLE, true, false);
	if (seed % 5 == 2)
		sim->b->env.options.receive_buffer_bytes = 30000;
	for (int s = 0; s < SERIES; s++)
		sim->next[s] = sim->expected[s] = 1;
	bench_control(sim->b, PG_OP_OPENSTREAM, stream_of[1], 0, NULL, 0);
	bench_control(sim->b, PG_OP_OPENSTREAM, stream_of[2], 0, &unordered, 1);
	bench_control(sim->b, PG_OP_STREAMOPEN, stream_of[1], 0, NULL, 0);
	bench_control(sim->b, PG_OP_STREAMOPEN, stream_of[2], 0, NULL, 0);
	bench_clear(sim->b);
}

static void turn(struct sim *sim, bool calm)
{
	struct bench *b = sim->b;

	if (!calm && !draw(sim, 40))
		b->app_room = draw(sim, 2) ? draw(sim, 3) : UINT32_MAX;
	if (calm)
		b->app_room = UINT32_MAX;
	if (!calm && !draw(sim, 60))
		b->tx_room = draw(sim, 2) ? draw(sim, 5) : UINT32_MAX;
	if (calm)
		b->tx_room = UINT32_MAX;
	if (sim->darkens && !calm && !draw(sim, 1000))
		sim->dark_until_ms = b->env.now_ms + DARK_MS;
	client_sends(sim);
	if (!calm)
		engine_sends(sim);
	read_sent(sim);
	bench_pass(b, STEP_MS);
	deliver_due(sim);
	if (!draw(sim, 10))
		pg_engine_resume(&b->engine);
	if (sim->dies && !calm && !draw(sim, 700)) {
		read_events(sim);
		bench_restart(b);
	}
	read_sent(sim);
	read_events(sim);
	assert_true(b->engine.waiting_bytes <= b->env.options.receive_buffer_bytes + 3 * 10000);
}

static uint32_t highest_of(const struct sim *sim, int s)
{
	for (const struct pg_stream *stream = sim->b->engine.streams; stream; stream = stream->next)
		if (stream->series.stream == stream_of[s])
			return stream->series.highest;
	return sim->b->engine.series.highest;
}

static void check_series(struct sim *sim, int s)
{
	uint32_t highest = highest_of(sim, s);

	for (uint32_t pack = 1; pack < sim->next[s]; pack++) {
		const struct packet *packet = &sim->sent[s][pack];

		if (packet->acked)
			assert_int_equal(packet->delivered + !!packet->reported >= 1, 1);
		if (s == 2) {
			assert_int_equal(packet->reported, 0);
			assert_false(packet->acked);
			continue;
		}
		if (pack <= highest && packet->delivered + packet->reported == 0)
			fail_msg("series %d: packet %u was neither delivered nor reported", s,
				 pack);
		if (!sim->dies)
			assert_int_equal(packet->delivered + packet->reported, pack <= highest);
		if (!sim->dies && packet->acked)
			assert_int_equal(packet->delivered, 1);
	}
}

static void finish(struct sim *sim)
{
	struct bench *b = sim->b;

	for (int s = 0; s < SERIES; s++)
		check_series(sim, s);
	for (uint32_t message = 1; message <= sim->message && !sim->dies; message++)
		assert_int_not_equal(sim->outcome[message], 0);
	assert_int_equal(b->engine.waiting_bytes, 0);
	assert_int_equal(b->closed, 0);
	for (uint32_t i = 0; i < sim->flying_count; i++)
		free(sim->flying[i].bytes);
	for (int s = 0; s < SERIES; s++)
		for (uint32_t pack = 1; pack < sim->next[s]; pack++)
			free(sim->sent[s][pack].frame);
	bench_free(b);
}

static void test_runs(void **state)
{
	struct sim *sim = malloc(sizeof(*sim));
	uint64_t delivered = 0, gaps = 0, duplicates = 0, lost = 0, most_sent = 0;

	assert_non_null(sim);
	for (uint64_t seed = 1; seed <= RUNS; seed++) {
		uint32_t turns = 0;

		start(sim, seed);
		while (!client_done(sim)) {
			turn(sim, turns > 6000);
			assert_true(++turns < 20000);
		}
		/* every timer there is runs out */
		for (int i = 0; i < 32000 / STEP_MS; i++)
			turn(sim, true);
		delivered += sim->b->env.counters.opened;
		gaps += sim->b->env.counters.gaps;
		duplicates += sim->b->env.counters.duplicates_acked;
		lost += sim->b->env.counters.failed;
		if (sim->b->most_sent > most_sent)
			most_sent = sim->b->most_sent;
		finish(sim);
	}
	print_message("%lu opened, %lu gaps, %lu duplicates acked, %lu answers lost; no frame was "
		      "sent more than %lu times\n",
		      delivered, gaps, duplicates, lost, most_sent);
	/* the runs did meet what they are for */
	assert_true(delivered > 50000 && gaps > 10 && duplicates > 1000 && lost > 5);
	assert_int_equal(most_sent, BENCH_SENT_MAX);
	free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_runs) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
