// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "sim/engine_bench.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define GUARDED	     true
#define ROAMS	     true

/* --- order, duplicates, gaps ---------------------------------------------------------------------
 */

/*
 * A script of one series: "3" the client's packet 3 arrives, "+500" ms pass. What the application
 * hears, and which packIds are acked.
 */
struct series_row {
	const char *name, *script, *story, *acks;
	uint8_t policy;
};

static const struct series_row series_rows[] = {
	{ "in order", "1 2 3", "m1 m2 m3", "1 2 3", 0 },
	{ "one late", "1 3 2", "m1 m2 m3", "1 3 2", 0 },
	{ "all backwards", "4 3 2 1", "m1 m2 m3 m4", "4 3 2 1", 0 },
	{ "a duplicate is acked again", "1 1 2 1", "m1 m2", "1 1 2 1", 0 },
	{ "a duplicate of what waits", "2 2 1", "m1 m2", "2 2 1", 0 },
	{ "missing just under the timeout", "1 3 +11999", "m1", "1 3", 0 },
	{ "missing for the timeout", "1 3 +12000", "m1 g2+1 m3", "1 3", 0 },
	{ "counted from the higher id", "1 +11000 3 +11999", "m1", "1 3", 0 },
	{ "a missing id comes in time", "1 3 +11999 2", "m1 m2 m3", "1 3 2", 0 },
	{ "a run is one gap", "5 +12000", "g1+4 m5", "5", 0 },
	{ "two gaps, each from its own higher id", "2 +6000 4 +6000 +5999", "g1+1 m2", "2 4", 0 },
	{ "two gaps, the second in its time", "2 +6000 4 +6000 +6000", "g1+1 m2 g3+1 m4", "2 4",
	  0 },
	{ "an old high id covers all below it", "4 +6000 2 +6000", "g1+1 m2 g3+1 m4", "4 2", 0 },
	{ "a late copy of a skipped id", "3 +12000 2 1 4", "g1+2 m3 m4", "3 4", 0 },
	{ "1023 missing wait", "1024", "", "1024", 0 },
	{ "what falls behind is skipped at once", "1025", "g1+1", "1025", 0 },
	{ "a run of 1024 falls behind by one", "1 1026", "m1 g2+1", "1 1026", 0 },
	{ "the rest of it waits", "1 1026 +12000", "m1 g2+1 g3+1023 m1026", "1 1026", 0 },
	{ "a run of 1025 is skipped at once", "1 1027", "m1 g2+1025 m1027", "1 1027", 0 },
	{ "a far jump", "1 3000", "m1 g2+2998 m3000", "1 3000", 0 },
	{ "a far jump passes what waits", "1 3 4 3000", "m1 g2+1 m3 m4 g5+2995 m3000", "1 3 4 3000",
	  0 },
	{ "what a far jump skipped is never acked", "1 3000 2999", "m1 g2+2998 m3000", "1 3000",
	  0 },
	{ "replay_ahead, the last that passes", "1 1048577 +12000", "m1 g2+1048575 m1048577",
	  "1 1048577", 0 },
	{ "replay_ahead, the first that does not", "1 1048578 +12000", "m1", "1", 0 },
	{ "newest: only forward", "2 1 2 5 4 6", "m2 m5 m6", "", PG_POLICY_NEWEST },
	{ "newest: no gaps", "1 3000 +20000", "m1 m3000", "", PG_POLICY_NEWEST },
	{ "newest: ahead", "1 1048577 2097154", "m1 m1048577", "", PG_POLICY_NEWEST },
	{ "unordered: as it comes, once", "5 1 5 3 1 2", "m5 m1 m3 m2", "", PG_POLICY_UNORDERED },
	{ "unordered: the window's edge", "1024 1 1025 1", "m1024 m1 m1025", "",
	  PG_POLICY_UNORDERED },
	{ "unordered: behind the window", "1025 1 2", "m1025 m2", "", PG_POLICY_UNORDERED },
};

static void play(struct bench *b, uint32_t stream, const char *script)
{
	char *end;

	for (; *script; script = *end ? end + 1 : end) {
		unsigned long value = strtoul(script + (*script == '+'), &end, 10);

		if (*script == '+')
			bench_pass(b, value);
		else
			bench_data(b, stream, value);
	}
}

static const char *acks_of(const struct bench *b, uint32_t stream)
{
	static char text[1024];
	uint32_t n = 0;

	text[0] = 0;
	for (uint32_t i = 0; i < b->sent_count && n < sizeof(text) - 16; i++)
		if (b->sent[i].frame.opcode == PG_OP_ACK && b->sent[i].frame.stream == stream)
			n += snprintf(text + n, sizeof(text) - n, "%s%u", n ? " " : "",
				      b->sent[i].frame.pack);
	return text;
}

static void test_series(void **state)
{
	for (size_t i = 0; i < COUNT(series_rows); i++) {
		const struct series_row *row = &series_rows[i];
		struct bench *b = bench_new(row->policy, GUARDED, !ROAMS);

		print_message("%s\n", row->name);
		play(b, 0, row->script);
		assert_string_equal(bench_story(b), row->story);
		assert_string_equal(acks_of(b, 0), row->acks);
		bench_free(b);
	}
}

/* The same on a stream, whose announcement comes first. */
static void test_series_of_a_stream(void **state)
{
	for (size_t i = 0; i < COUNT(series_rows); i++) {
		const struct series_row *row = &series_rows[i];
		struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
		uint8_t policy = row->policy;

		print_message("%s\n", row->name);
		assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 9, 0, &policy, 1), 0);
		assert_int_equal(bench_control(b, PG_OP_STREAMOPEN, 9, 0, NULL, 0), 0);
		assert_string_equal(bench_story(b), "9:o");
		bench_clear(b);
		play(b, 9, row->script);
		for (uint32_t e = 0; e < b->event_count; e++) {
			assert_int_equal(b->events[e].stream, 9);
			b->events[e].stream = 0;
			if (b->events[e].kind == PG_APP_MESSAGE)
				pg_store_be32(b->events[e].bytes, 0);
		}
		assert_string_equal(bench_story(b), row->story);
		assert_string_equal(acks_of(b, 9), row->acks);
		bench_free(b);
	}
}

/* What each frame of a script was refused for. */
static void test_reasons(void **state)
{
	static const struct {
		const char *name, *before;
		uint32_t pack;
		enum pg_drop drop;
		uint8_t policy;
	} rows[] = {
		{ "new", "", 1, PG_DROP_NONE, 0 },
		{ "seen", "1", 1, PG_DROP_REPLAY_SEEN, 0 },
		{ "the window's lowest", "1024", 1, PG_DROP_NONE, 0 },
		{ "one behind", "1025", 1, PG_DROP_REPLAY_OLD, 0 },
		{ "skipped", "3 +12000", 2, PG_DROP_REPLAY_OLD, 0 },
		{ "ahead", "1", 1048578, PG_DROP_REPLAY_AHEAD, 0 },
		{ "not ahead", "1", 1048577, PG_DROP_NONE, 0 },
		{ "newest, the same", "5", 5, PG_DROP_NOT_MONOTONIC, 1 },
		{ "newest, below", "5", 4, PG_DROP_NOT_MONOTONIC, 1 },
		{ "unordered, seen", "5", 5, PG_DROP_REPLAY_SEEN, 2 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct bench *b = bench_new(rows[i].policy, GUARDED, !ROAMS);

		print_message("%s\n", rows[i].name);
		play(b, 0, rows[i].before);
		assert_int_equal(bench_data(b, 0, rows[i].pack), rows[i].drop);
		bench_free(b);
	}
}

static void test_duplicate_acks_are_limited(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	struct bench_in in;
	uint32_t acked = 0;

	b->env.options.acks_per_second = 50;
	bench_data(b, 0, 1);
	bench_clear(b);
	for (int i = 0; i < 80; i++) {
		bench_make(b, &in, 0, 1);
		bench_batch(b, &in, 1);
		assert_int_equal(in.drop, PG_DROP_REPLAY_SEEN);
		acked += in.acked;
	}
	assert_int_equal(acked, 50);
	assert_int_equal(bench_count_sent(b, PG_OP_ACK, 0, 1), 50);
	/* a new packet is acked whatever the limit; it is not a repeated ack */
	assert_int_equal(bench_data(b, 0, 2), PG_DROP_NONE);
	assert_int_equal(bench_count_sent(b, PG_OP_ACK, 0, 2), 1);
	bench_pass(b, 100);
	for (int i = 0; i < 80; i++)
		bench_data(b, 0, 1);
	assert_int_equal(bench_count_sent(b, PG_OP_ACK, 0, 1), 55);
	/* a clock behind the last one, after a hand-over, gives nothing */
	b->env.now_ms -= 50;
	bench_data(b, 0, 1);
	assert_int_equal(bench_count_sent(b, PG_OP_ACK, 0, 1), 55);
	assert_string_equal(bench_story(b), "m2");
	bench_free(b);
}

static void test_duplicates_within_a_batch(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	struct bench_in in[5];
	static const uint32_t packs[] = { 1, 1, 3, 2, 3 };

	for (size_t i = 0; i < COUNT(packs); i++)
		bench_make(b, &in[i], 0, packs[i]);
	bench_batch(b, in, COUNT(packs));
	assert_int_equal(in[0].drop, PG_DROP_NONE);
	assert_int_equal(in[1].drop, PG_DROP_REPLAY_SEEN);
	assert_true(in[1].acked);
	assert_int_equal(in[2].drop, PG_DROP_NONE);
	assert_int_equal(in[3].drop, PG_DROP_NONE);
	assert_int_equal(in[4].drop, PG_DROP_REPLAY_SEEN);
	assert_string_equal(bench_story(b), "m1 m2 m3");
	assert_string_equal(acks_of(b, 0), "1 1 3 2 3");
	bench_free(b);

	b = bench_new(PG_POLICY_NEWEST, GUARDED, !ROAMS);
	for (size_t i = 0; i < COUNT(packs); i++)
		bench_make(b, &in[i], 0, packs[i]);
	bench_batch(b, in, COUNT(packs));
	assert_int_equal(in[1].drop, PG_DROP_NOT_MONOTONIC);
	assert_int_equal(in[3].drop, PG_DROP_NOT_MONOTONIC);
	assert_string_equal(bench_story(b), "m1 m3");
	bench_free(b);
}

static void test_publish(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	struct pg_engine_source source = { .pinned = true };
	struct pg_aead_job job;
	struct pg_frame frame;
	struct bench_in in;
	bool acked;

	bench_make(b, &in, 0, 3);
	assert_int_equal(
		pg_frame_check(in.bytes, in.bytes + in.count, in.count, PG_C2S, true, &frame), 0);
	assert_int_equal(pg_engine_classify(&b->engine, &frame, in.bytes, true, &job), 0);
	pg_aead_open(b->env.aead, &job, 1);
	assert_int_equal(pg_engine_data(&b->engine, &frame, in.bytes, &source, job.result, &acked),
			 0);
	/* committed for the engine, and only published for the gate when it is told to */
	assert_int_equal(b->line.highest, 0);
	assert_int_equal(b->engine.series.highest, 3);
	pg_engine_publish(&b->engine);
	assert_int_equal(b->line.highest, 3);
	assert_int_equal(b->window.next_deliver, 1);
	assert_true(pg_replay_bit(b->window.bits, 3));
	assert_false(pg_replay_bit(b->window.bits, 1));
	bench_data(b, 0, 1);
	assert_int_equal(b->window.next_deliver, 2);
	bench_pass(b, 12000);
	assert_int_equal(b->window.next_deliver, 4);
	/* nothing is written when nothing is dirty */
	b->line.highest = 77;
	pg_engine_publish(&b->engine);
	assert_int_equal(b->line.highest, 77);
	bench_free(b);
}

static void test_nothing_moves_without_a_tag(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, ROAMS);
	struct pg_window window;
	struct pg_session line;
	struct bench_in in;

	bench_data(b, 0, 1);
	bench_clear(b);
	window = b->window;
	line = b->line;
	for (uint32_t at = 20; at < 20 + 8 + 16; at++) {
		bench_make(b, &in, 0, 2 + at);
		in.bytes[at] ^= 1;
		in.port_be = 9;
		bench_batch(b, &in, 1);
		assert_int_equal(in.drop, PG_DROP_TAG);
	}
	assert_int_equal(b->engine.failed_openings, 24);
	assert_memory_equal(&window, &b->window, sizeof(window));
	assert_memory_equal(&line, &b->line, sizeof(line));
	assert_int_equal(b->event_count + b->sent_count + b->moved, 0);
	assert_int_equal(b->engine.deadline_ms, UINT64_MAX);
	bench_free(b);
}

static void test_failed_openings_end_the_session(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	struct bench_in in;

	b->engine.failed_openings = (1ull << 36) - 2;
	for (int i = 0; i < 3; i++) {
		bench_make(b, &in, 0, 1);
		in.bytes[20] ^= 1;
		bench_batch(b, &in, 1);
		assert_int_equal(b->closed, i > 0);
	}
	assert_int_equal(in.drop, PG_DROP_SESSION_STATE);
	assert_int_equal(b->closed_code, PG_GOAWAY_ERROR);
	assert_int_equal(bench_count_sent(b, PG_OP_GOAWAY, 0, 0), 1);
	bench_free(b);
}

static void test_newest_takes_no_fragments(void **state)
{
	static const uint8_t flags[] = { PG_FLAG_FRAG, PG_FLAG_FRAG | PG_FLAG_FIN };

	for (size_t i = 0; i < COUNT(flags); i++) {
		struct bench *b = bench_new(PG_POLICY_NEWEST, GUARDED, !ROAMS);
		struct bench_in in = { 0 };

		in.count = bench_seal(b, in.bytes, 0, 1, flags[i], b->env.unix_ms, "x", 1);
		bench_batch(b, &in, 1);
		assert_int_equal(in.drop, PG_DROP_FRAGMENT_UNSUPPORTED);
		assert_int_equal(b->event_count + b->sent_count, 0);
		bench_free(b);
	}
}

/* --- bounds and back-pressure --------------------------------------------------------------------
 */

static void test_receive_buffer_bound(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint8_t text[1000] = { 0 };
	struct bench_in in = { 0 };
	uint32_t pack;

	b->env.options.receive_buffer_bytes = 100000;
	for (pack = 2; pack < 200; pack++) {
		in.count = bench_seal(b, in.bytes, 0, pack, 0, b->env.unix_ms, text, sizeof(text));
		bench_batch(b, &in, 1);
		if (in.drop)
			break;
		assert_true(b->engine.waiting_bytes <= 101200);
	}
	assert_in_range(pack, 60, 75); /* a quarter is for the next one expected */
	assert_int_equal(in.drop, PG_DROP_BUFFER_FULL);
	/* neither committed nor acked */
	assert_int_equal(b->line.highest, pack - 1);
	assert_int_equal(bench_count_sent(b, PG_OP_ACK, 0, pack), 0);
	/* above half, acks say SLOW */
	assert_false(b->sent[0].frame.flags & PG_FLAG_SLOW);
	assert_true(b->sent[b->sent_count - 1].frame.flags & PG_FLAG_SLOW);
	/* the next one expected is taken always, and frees all of it */
	in.count = bench_seal(b, in.bytes, 0, 1, 0, b->env.unix_ms, text, sizeof(text));
	bench_batch(b, &in, 1);
	assert_int_equal(in.drop, PG_DROP_NONE);
	assert_int_equal(b->event_count, pack - 1);
	assert_int_equal(b->engine.waiting_bytes, 0);
	assert_null(b->engine.series.received);
	bench_free(b);
}

/* Full, and held up by the application: the next one expected still finds its place. */
static void test_receive_buffer_full_and_stalled(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint32_t pack = 2;

	b->env.options.receive_buffer_bytes = 20000;
	while (bench_data(b, 0, pack) == PG_DROP_NONE)
		pack++;
	b->app_room = 0;
	bench_pass(b, 12000);
	assert_true(b->engine.series.stalled);
	b->app_room = UINT32_MAX;
	assert_int_equal(bench_data(b, 0, pack), PG_DROP_BUFFER_FULL);
	assert_int_equal(bench_data(b, 0, 1), PG_DROP_NONE);
	assert_int_equal(b->event_count, pack - 1);
	assert_int_equal(b->engine.waiting_bytes, 0);
	bench_free(b);
}

static void test_receive_buffer_bound_spans_streams(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint32_t refused = 0;

	b->env.options.receive_buffer_bytes = 100000;
	for (uint32_t id = 1; id <= 20; id++) {
		bench_control(b, PG_OP_OPENSTREAM, id, 0, NULL, 0);
		refused += bench_data(b, id, 2) == PG_DROP_BUFFER_FULL;
	}
	assert_in_range(refused, 5, 12);
	assert_true(b->engine.waiting_bytes < 110000);
	for (uint32_t id = 1; id <= 20; id++)
		assert_int_equal(bench_data(b, id, 1), PG_DROP_NONE);
	assert_int_equal(b->engine.waiting_bytes, 0);
	bench_free(b);
}

static void test_application_not_ready(void **state)
{
	static const enum pg_drop reasons[] = { PG_DROP_NO_APPLICATION, PG_DROP_APP_FULL,
						PG_DROP_SEND_BLOCKED };

	for (size_t i = 0; i < COUNT(reasons); i++)
		for (uint8_t policy = 0; policy < PG_POLICY_COUNT; policy++) {
			struct bench *b = bench_new(policy, GUARDED, !ROAMS);

			b->app = reasons[i];
			b->app_room = 0;
			assert_int_equal(bench_data(b, 0, 1), reasons[i]);
			assert_int_equal(bench_data(b, 0, 2), reasons[i]);
			assert_int_equal(b->sent_count + b->event_count, 0);
			assert_int_equal(b->line.highest, 0);
			assert_false(pg_replay_bit(b->window.bits, 1));
			b->app_room = UINT32_MAX;
			assert_int_equal(bench_data(b, 0, 1), PG_DROP_NONE);
			bench_free(b);
		}
}

/* Acks of what comes behind a refused packet would look as if that were lost, again and again. */
static void test_application_nearly_full(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	b->app_most = 7; /* each has 8 */
	/* before anything was refused, what waits its turn needs no room there */
	assert_int_equal(bench_data(b, 0, 3), PG_DROP_NONE);
	assert_int_equal(bench_data(b, 0, 1), PG_DROP_APP_FULL);
	assert_int_equal(bench_data(b, 0, 2), PG_DROP_APP_FULL);
	assert_int_equal(bench_data(b, 0, 4), PG_DROP_APP_FULL);
	assert_int_equal(bench_count_sent(b, PG_OP_ACK, 0, 2), 0);
	b->app_most = 8;
	assert_int_equal(bench_data(b, 0, 4), PG_DROP_NONE);
	b->app_most = 7;
	assert_int_equal(bench_data(b, 0, 5), PG_DROP_NONE);
	assert_int_equal(bench_data(b, 0, 1), PG_DROP_APP_FULL);
	/* given up by the peer: what was refused is passed over, and is wanted no more */
	bench_pass(b, 20000);
	b->app_most = UINT32_MAX;
	bench_pass(b, 20000);
	b->app_most = 7;
	assert_int_equal(bench_data(b, 0, 8), PG_DROP_NONE);
	b->app_most = UINT32_MAX;
	play(b, 0, "6 7");
	assert_string_equal(bench_story(b), "g1+2 m3 m4 m5 m6 m7 m8");
	assert_int_equal(b->engine.waiting_bytes, 0);
	bench_free(b);
}

static void test_application_full_in_between(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	play(b, 0, "2 3 4 6");
	b->app_room = 2;
	/* 1 and 2 find room; 3 and 4 wait although it is their turn */
	assert_int_equal(bench_data(b, 0, 1), PG_DROP_NONE);
	assert_string_equal(bench_story(b), "m1 m2");
	assert_int_equal(bench_data(b, 0, 5), PG_DROP_APP_FULL);
	assert_int_equal(b->window.next_deliver, 3);
	/* no gap while the application is full, however long */
	bench_pass(b, 20000);
	assert_string_equal(bench_story(b), "m1 m2");
	b->app_room = 1;
	pg_engine_resume(&b->engine);
	assert_string_equal(bench_story(b), "m1 m2 m3");
	assert_int_equal(b->window.next_deliver, 4);
	b->app_room = UINT32_MAX;
	/* nobody says so: the timer looks for itself; 5 is missing long enough by now */
	bench_pass(b, 640);
	assert_string_equal(bench_story(b), "m1 m2 m3 m4 g5+1 m6");
	assert_int_equal(b->engine.waiting_bytes, 0);
	bench_free(b);
}

/* A far jump hands on what waits piece by piece. */
static void test_application_full_in_a_far_jump(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	play(b, 0, "1 3 5 7");
	bench_clear(b);
	b->app_room = 2;
	assert_int_equal(bench_data(b, 0, 3000), PG_DROP_APP_FULL);
	assert_string_equal(bench_story(b), "g2+1 m3 g4+1 m5");
	assert_int_equal(b->engine.series.highest, 7);
	assert_int_equal(bench_count_sent(b, PG_OP_ACK, 0, 3000), 0);
	b->app_room = UINT32_MAX;
	assert_int_equal(bench_data(b, 0, 3000), PG_DROP_NONE);
	assert_string_equal(bench_story(b), "g2+1 m3 g4+1 m5 g6+1 m7 g8+2992 m3000");
	bench_free(b);
}

/* All the window is there but its first id: the jump delivers it whole, once. */
static void test_far_jump_of_one(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	for (uint32_t pack = 2; pack <= 1025; pack++)
		assert_int_equal(bench_data(b, 0, pack), PG_DROP_NONE);
	assert_int_equal(b->event_count, 1025);
	assert_int_equal(b->events[0].kind, PG_APP_GAP);
	for (uint32_t pack = 2; pack <= 1025; pack++)
		assert_int_equal(b->events[pack - 1].message, pack);
	assert_int_equal(b->engine.waiting_bytes, 0);
	bench_pass(b, 30000);
	assert_int_equal(b->event_count, 1025);
	bench_free(b);
}

static void test_no_room_to_transmit(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	b->tx_room = 0;
	assert_int_equal(bench_data(b, 0, 1), PG_DROP_NONE);
	assert_int_equal(pg_engine_send(&b->engine, 0, (const uint8_t *)"x", 1, 1), 0);
	assert_int_equal(b->window.next_send, 1);
	bench_pass(b, 100);
	assert_int_equal(b->window.next_send, 1);
	b->tx_room = UINT32_MAX;
	/* the ack that was lost comes with the client's next copy */
	assert_int_equal(bench_data(b, 0, 1), PG_DROP_REPLAY_SEEN);
	assert_string_equal(acks_of(b, 0), "1");
	bench_pass(b, 2);
	assert_int_equal(b->window.next_send, 2);
	assert_int_equal(bench_count_sent(b, PG_OP_DATA, 0, 1), 1);
	bench_free(b);

	/* what is not kept is refused, and its id stays free */
	b = bench_new(PG_POLICY_NEWEST, GUARDED, !ROAMS);
	b->tx_room = 0;
	assert_int_equal(pg_engine_send(&b->engine, 0, (const uint8_t *)"x", 1, 1), -EAGAIN);
	assert_int_equal(b->window.next_send, 1);
	bench_free(b);
}

/* --- sending
 * --------------------------------------------------------------------------------------- */

static int send_one(struct bench *b, uint32_t stream, uint32_t message)
{
	pg_key_cache_begin(b->env.keys);
	return pg_engine_send(&b->engine, stream, (const uint8_t *)"hello", 5, message);
}

static void test_send_and_acks(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint8_t bits = 0x80;

	for (uint32_t i = 1; i <= 4; i++)
		assert_int_equal(send_one(b, 0, i == 3 ? 0 : 100 + i), 0);
	assert_int_equal(bench_count_sent(b, PG_OP_DATA, 0, 0), 4);
	assert_memory_equal(b->sent[0].bytes + b->sent[0].frame.header_bytes, "hello", 5);
	assert_int_equal(bench_control(b, PG_OP_ACK, 0, 2, NULL, 0), PG_DROP_NONE);
	assert_int_equal(bench_control(b, PG_OP_ACK, 0, 2, NULL, 0), PG_DROP_NONE);
	assert_int_equal(bench_control(b, PG_OP_ACK, 0, 3, NULL, 0), PG_DROP_NONE);
	assert_int_equal(bench_control(b, PG_OP_ACK, 0, 5, NULL, 0), PG_DROP_ACK_UNKNOWN);
	assert_int_equal(bench_control(b, PG_OP_ACK, 0, 0xffffffff, NULL, 0), PG_DROP_ACK_UNKNOWN);
	assert_int_equal(bench_control(b, PG_OP_ACK, 7, 1, NULL, 0), PG_DROP_NO_STREAM);
	assert_string_equal(bench_story(b), "s102");
	/* a fragment ack of a packet that was never cut is ignored */
	struct pg_frame frame = { .session = BENCH_SESSION,
				  .pack = 1,
				  .fragment = 1,
				  .opcode = PG_OP_ACK,
				  .flags = PG_FLAG_PACK | PG_FLAG_FRAG | PG_FLAG_FIN,
				  .payload_bytes = 1 + PG_GUARD_BYTES };
	struct pg_engine_source source = { .pinned = true };
	uint8_t bytes[64];

	pg_frame_write_header(bytes, &frame, b->env.unix_ms);
	bytes[frame.header_bytes] = bits;
	frame.has_guard = 1;
	assert_int_equal(pg_engine_control(&b->engine, &frame, bytes, &source),
			 PG_DROP_ACK_UNKNOWN);
	bench_pass(b, 9999);
	assert_string_equal(bench_story(b), "s102");
	bench_pass(b, 1);
	assert_string_equal(bench_story(b), "s102 f101 f104");
	/* an ack that comes too late changes nothing any more */
	assert_int_equal(bench_control(b, PG_OP_ACK, 0, 1, NULL, 0), PG_DROP_NONE);
	assert_string_equal(bench_story(b), "s102 f101 f104");
	bench_free(b);
}

static void test_send_is_bounded(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	for (uint32_t i = 1; i <= 1024; i++)
		assert_int_equal(send_one(b, 0, i), 0);
	assert_int_equal(send_one(b, 0, 1025), -ENOBUFS);
	assert_int_equal(pg_engine_sendable(&b->engine, 0, 5), -ENOBUFS);
	/* only the lowest outstanding one opens the window */
	bench_control(b, PG_OP_ACK, 0, 2, NULL, 0);
	assert_int_equal(send_one(b, 0, 1025), -ENOBUFS);
	bench_control(b, PG_OP_ACK, 0, 1, NULL, 0);
	assert_int_equal(send_one(b, 0, 1025), 0);
	assert_int_equal(send_one(b, 0, 1026), 0);
	assert_int_equal(send_one(b, 0, 1027), -ENOBUFS);
	assert_int_equal(bench_count_events(b, PG_APP_SENT, 0), 2);
	/* what was sent first fails first, and makes room */
	bench_pass(b, 10000);
	assert_in_range(bench_count_events(b, PG_APP_FAILED, 0), 200, 260);
	assert_int_equal(send_one(b, 0, 1027), 0);
	bench_free(b);

	/* what is not acked is not counted either */
	b = bench_new(PG_POLICY_NEWEST, GUARDED, !ROAMS);
	for (uint32_t i = 1; i <= 3000; i++)
		assert_int_equal(send_one(b, 0, i), 0);
	assert_int_equal(bench_control(b, PG_OP_ACK, 0, 1, NULL, 0), PG_DROP_ACK_UNKNOWN);
	assert_int_equal(b->event_count, 0);
	assert_null(b->engine.series.sent);
	bench_free(b);
}

static void test_send_sizes(void **state)
{
	static const struct {
		bool guard;
		uint32_t max;
	} rows[] = { { true, 1172 - 24 }, { false, 1172 - 16 } };
	static uint8_t text[1156 * 512 + 1];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct bench *b = bench_new(PG_POLICY_RELIABLE, rows[i].guard, !ROAMS);
		uint32_t max = rows[i].max;

		assert_int_equal(pg_engine_frame_max(&b->engine), max);
		assert_int_equal(pg_engine_send_max(&b->engine, PG_POLICY_NEWEST), max);
		assert_int_equal(pg_engine_send_max(&b->engine, PG_POLICY_RELIABLE), max * 512);
		assert_int_equal(pg_engine_send(&b->engine, 0, text, max, 0), 0);
		assert_int_equal(b->sent[0].frame.payload_bytes, 1172);
		assert_int_equal(b->sent[0].frame.flags, PG_FLAG_PACK);
		assert_int_equal(pg_engine_send(&b->engine, 0, text, max + 1, 0), 0);
		assert_int_equal(b->sent[1].frame.flags, PG_FLAG_PACK | PG_FLAG_FRAG);
		assert_int_equal(b->sent[2].frame.flags, PG_FLAG_PACK | PG_FLAG_FRAG | PG_FLAG_FIN);
		assert_int_equal(b->sent[2].frame.fragment, 2);
		assert_int_equal(pg_engine_send(&b->engine, 0, text, 512 * max + 1, 0), -EMSGSIZE);
		assert_int_equal(pg_engine_send(&b->engine, 0, text, 512 * max, 0), 0);
		assert_int_equal(pg_engine_send(&b->engine, 0, text, 0, 0), 0);
		assert_int_equal(b->window.next_send, 4);
		bench_free(b);

		b = bench_new(PG_POLICY_NEWEST, rows[i].guard, !ROAMS);
		assert_int_equal(pg_engine_send(&b->engine, 0, text, max, 0), 0);
		assert_int_equal(pg_engine_send(&b->engine, 0, text, max + 1, 0), -EMSGSIZE);
		bench_free(b);
	}
}

static void test_pack_ids_end(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	b->window.next_send = 0xfffffffd;
	assert_int_equal(send_one(b, 0, 1), 0);
	assert_int_equal(send_one(b, 0, 2), 0);
	assert_int_equal(b->sent[1].frame.pack, 0xfffffffe);
	assert_int_equal(send_one(b, 0, 3), -ESHUTDOWN);
	assert_int_equal(send_one(b, 0, 4), -ESHUTDOWN);
	/* what was sent is settled first */
	assert_int_equal(b->closed, 0);
	bench_control(b, PG_OP_ACK, 0, 0xfffffffd, NULL, 0);
	assert_int_equal(b->closed, 0);
	bench_control(b, PG_OP_ACK, 0, 0xfffffffe, NULL, 0);
	assert_string_equal(bench_story(b), "s1 s2");
	assert_int_equal(b->closed, 1);
	assert_int_equal(b->closed_code, PG_GOAWAY_NORMAL);
	assert_int_equal(bench_count_sent(b, PG_OP_GOAWAY, 0, 0), 1);
	assert_int_equal(b->sent[b->sent_count - 1].bytes[16], PG_GOAWAY_NORMAL);
	/* an engine that ended takes and sends nothing */
	assert_int_equal(bench_data(b, 0, 1), PG_DROP_SESSION_STATE);
	assert_int_equal(bench_control(b, PG_OP_PING, 0, 0, "x", 1), PG_DROP_SESSION_STATE);
	bench_pass(b, 20000);
	assert_int_equal(b->sent_count, 3);
	bench_free(b);
}

/* An application that hears SENT and at once gives the next packet. */
static int answer_result;

static void answer_sent(struct pg_engine *engine, const struct pg_engine_event *event)
{
	bench_event(engine, event);
	if (event->kind == PG_APP_SENT)
		answer_result = pg_engine_send(engine, 0, (const uint8_t *)"next", 4, 0);
}

static void test_sending_when_the_last_is_settled(void **state)
{
	static const struct {
		const char *name;
		uint32_t id;
		int result;
		uint32_t closed, sent;
	} rows[] = {
		{ "an id is left", PG_PACK_ID_LAST - 1, 0, 0, 2 },
		{ "it was the last id", PG_PACK_ID_LAST, -ESHUTDOWN, 1, 2 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
		struct pg_engine_ops ops = *b->env.ops;

		ops.event = answer_sent;
		b->env.ops = &ops;
		b->window.next_send = rows[i].id;
		assert_int_equal(send_one(b, 0, 1), 0);
		answer_result = 1;
		bench_control(b, PG_OP_ACK, 0, rows[i].id, NULL, 0);
		assert_int_equal(answer_result, rows[i].result);
		assert_string_equal(bench_story(b), "s1");
		assert_int_equal(b->closed, rows[i].closed);
		assert_int_equal(b->sent_count, rows[i].sent);
		bench_free(b);
	}
}

static void test_send_reservations(void **state)
{
	struct bench *b = bench_new(PG_POLICY_NEWEST, GUARDED, !ROAMS);

	b->env.ops = &bench_ops_reserving;
	assert_int_equal(send_one(b, 0, 0), -EAGAIN);
	assert_int_equal(b->reserve_count, 1);
	assert_int_equal(b->reserves[0].kind, PG_ENGINE_RESERVE_SEND);
	assert_int_equal(b->reserves[0].bound, 4096);
	/* asked once */
	assert_int_equal(send_one(b, 0, 0), -EAGAIN);
	assert_int_equal(b->reserve_count, 1);
	/* a failure is the caller's to note; then it is asked again */
	pg_engine_reserve_failed(&b->engine, PG_ENGINE_RESERVE_SEND);
	assert_int_equal(send_one(b, 0, 0), -EAGAIN);
	assert_int_equal(b->reserve_count, 2);
	assert_int_equal(b->sent_count, 0);
	assert_int_equal(b->window.next_send, 1);
	pg_engine_reserved(&b->engine, PG_ENGINE_RESERVE_SEND, 4096);
	b->reserve_count = 0;
	while (b->window.next_send < 1024)
		assert_int_equal(send_one(b, 0, 0), 0);
	assert_int_equal(b->reserve_count, 0);
	/* the next block is asked for ahead, and without it the end holds */
	while (b->window.next_send < 4096)
		assert_int_equal(send_one(b, 0, 0), 0);
	assert_int_equal(b->reserve_count, 1);
	assert_int_equal(b->reserves[0].bound, 8192);
	assert_int_equal(send_one(b, 0, 0), -EAGAIN);
	assert_int_equal(b->window.next_send, 4096);
	/* a lower bound never takes back */
	pg_engine_reserved(&b->engine, PG_ENGINE_RESERVE_SEND, 100);
	assert_int_equal(b->window.send_bound, 4096);
	pg_engine_reserved(&b->engine, PG_ENGINE_RESERVE_SEND, 8192);
	assert_int_equal(send_one(b, 0, 0), 0);
	for (uint32_t i = 0; i < b->sent_count; i++)
		assert_true(b->sent[i].frame.pack < b->window.send_bound);
	bench_free(b);
}

static void test_reservations_at_the_end(void **state)
{
	struct bench *b = bench_new(PG_POLICY_NEWEST, GUARDED, !ROAMS);

	b->env.ops = &bench_ops_reserving;
	b->window.next_send = 0xfffffffb;
	b->window.send_bound = 0xfffffffc;
	assert_int_equal(send_one(b, 0, 0), 0);
	assert_int_equal(b->reserves[0].bound, 0xffffffff);
	assert_int_equal(send_one(b, 0, 0), -EAGAIN);
	pg_engine_reserved(&b->engine, PG_ENGINE_RESERVE_SEND, 0xffffffff);
	assert_int_equal(send_one(b, 0, 0), 0);
	assert_int_equal(send_one(b, 0, 0), 0);
	assert_int_equal(send_one(b, 0, 0), 0);
	assert_int_equal(b->reserve_count, 1);
	assert_int_equal(send_one(b, 0, 0), -ESHUTDOWN);
	assert_int_equal(b->closed, 1);
	bench_free(b);
}

static void test_timestamps(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint64_t start = b->env.unix_ms;

	send_one(b, 0, 0);
	b->env.unix_ms -= 5000;
	send_one(b, 0, 0);
	bench_control(b, PG_OP_PING, 0, 0, "p", 1);
	b->env.unix_ms += 6000;
	send_one(b, 0, 0);
	assert_int_equal(b->sent[0].timestamp_ms, start);
	assert_int_equal(b->sent[1].timestamp_ms, start);
	assert_int_equal(b->sent[2].timestamp_ms, start);
	assert_int_equal(b->sent[3].timestamp_ms, start + 1000);
	/* the last one survives the process */
	pg_engine_done(&b->engine);
	b->env.unix_ms = start;
	bench_start(b);
	send_one(b, 0, 0);
	assert_int_equal(b->sent[4].timestamp_ms, start + 1000);
	/* nor is it below what another sender of the session has written */
	b->others_time_ms = start + 2000;
	send_one(b, 0, 0);
	bench_control(b, PG_OP_PING, 0, 0, "p", 1);
	b->others_time_ms = start + 1500;
	send_one(b, 0, 0);
	b->env.unix_ms = start + 3000;
	send_one(b, 0, 0);
	for (int i = 5; i < 8; i++)
		assert_int_equal(b->sent[i].timestamp_ms, start + 2000);
	assert_int_equal(b->sent[8].timestamp_ms, start + 3000);
	bench_free(b);
}

/* --- control frames
 * -------------------------------------------------------------------------------- */

static void test_pongs(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint8_t payload[64];

	memset(payload, 0xaa, sizeof(payload));
	for (int i = 0; i < 30; i++)
		assert_int_equal(bench_control(b, PG_OP_PING, 0, 0, payload, 64),
				 i < 10 ? PG_DROP_NONE : PG_DROP_RATE_CONTROL);
	assert_int_equal(bench_count_sent(b, PG_OP_PONG, 0, 0), 10);
	assert_memory_equal(b->sent[0].bytes + 16, payload, 64);
	bench_pass(b, 100);
	assert_int_equal(bench_control(b, PG_OP_PING, 0, 0, NULL, 0), PG_DROP_NONE);
	assert_int_equal(bench_control(b, PG_OP_PING, 0, 0, NULL, 0), PG_DROP_RATE_CONTROL);
	assert_int_equal(bench_control(b, PG_OP_PONG, 0, 0, payload, 8), PG_DROP_UNEXPECTED);
	bench_free(b);
}

static void test_goaway(void **state)
{
	static const struct {
		uint8_t code, told;
	} rows[] = { { 0, 0 }, { 1, 1 }, { 2, 2 }, { 3, 1 }, { 255, 1 } };

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

		assert_int_equal(bench_control(b, PG_OP_GOAWAY, 0, 0, &rows[i].code, 1), 0);
		assert_int_equal(b->closed, 1);
		assert_int_equal(b->closed_code, rows[i].told);
		bench_control(b, PG_OP_GOAWAY, 0, 0, &rows[i].code, 1);
		pg_engine_close(&b->engine, PG_GOAWAY_NORMAL);
		assert_int_equal(b->closed, 1);
		assert_int_equal(b->sent_count, 0);
		bench_free(b);

		b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
		pg_engine_close(&b->engine, rows[i].code);
		assert_int_equal(b->closed_code, rows[i].code);
		assert_int_equal(b->sent[0].frame.opcode, PG_OP_GOAWAY);
		assert_int_equal(b->sent[0].bytes[16], rows[i].code);
		bench_free(b);
	}
}

static void test_other_control_frames(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint8_t code = 0, guard_less = 1;

	assert_int_equal(bench_control(b, PG_OP_HANDSHAKE, 0, 0, &code, 1), PG_DROP_NONE);
	assert_int_equal(bench_control(b, PG_OP_HANDSHAKE, 0, 0, &guard_less, 1),
			 PG_DROP_UNEXPECTED);
	assert_int_equal(bench_control(b, PG_OP_HANDSHAKE, 0, 0, "\0x", 2), PG_DROP_UNEXPECTED);
	assert_int_equal(bench_control(b, PG_OP_STREAMOPEN, 3, 0, NULL, 0), PG_DROP_NO_STREAM);
	assert_int_equal(bench_control(b, PG_OP_CLOSESTREAM, 3, 0, NULL, 0), PG_DROP_NO_STREAM);
	assert_int_equal(bench_control_from(b, PG_OP_PING, 0, 0, "x", 1, 99),
			 PG_DROP_PEER_MISMATCH);
	assert_int_equal(b->sent_count + b->event_count, 0);
	bench_free(b);
}

/* The congestion window that an ack with SLOW, of now, leaves of a wide one. */
static uint64_t window_after_slow(struct bench *b)
{
	b->engine.tx.congestion.window = 100000;
	b->ack_flags = PG_FLAG_SLOW;
	assert_int_equal(bench_control(b, PG_OP_ACK, 0, 1, NULL, 0), PG_DROP_NONE);
	return b->engine.tx.congestion.window;
}

/* Each SLOW is honoured once, also when it is played again to the next process. */
static void test_slow_once(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint64_t start = b->env.unix_ms;

	send_one(b, 0, 0);
	assert_true(window_after_slow(b) < 10000);
	assert_true(window_after_slow(b) >= 100000);
	b->env.unix_ms = start + 10;
	assert_true(window_after_slow(b) < 10000);
	pg_engine_done(&b->engine);
	bench_start(b);
	for (int ms = 0; ms <= 10; ms += 5) {
		b->env.unix_ms = start + ms;
		assert_true(window_after_slow(b) >= 100000);
	}
	b->env.unix_ms = start + 11;
	assert_true(window_after_slow(b) < 10000);
	bench_free(b);
}

static void test_last_active(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint64_t first = b->env.unix_ms;

	bench_control(b, PG_OP_PING, 0, 0, NULL, 0);
	assert_int_equal(b->engine.last_active_ms, first);
	/* the same frame replayed later: its timestamp is not above the last one */
	b->window.control_time_ms = b->env.unix_ms + 5000;
	bench_pass(b, 5000);
	bench_control(b, PG_OP_PING, 0, 0, NULL, 0);
	assert_int_equal(b->engine.last_active_ms, first);
	bench_pass(b, 1);
	bench_control(b, PG_OP_PING, 0, 0, NULL, 0);
	assert_int_equal(b->engine.last_active_ms, first + 5001);
	bench_pass(b, 10);
	bench_data(b, 0, 1);
	assert_int_equal(b->engine.last_active_ms, first + 5011);
	bench_pass(b, 10);
	bench_data(b, 0, 1);
	assert_int_equal(b->engine.last_active_ms, first + 5011);
	bench_free(b);

	/* unguarded control frames keep nothing alive, data does */
	b = bench_new(PG_POLICY_RELIABLE, !GUARDED, !ROAMS);
	bench_control(b, PG_OP_PING, 0, 0, NULL, 0);
	assert_int_equal(bench_count_sent(b, PG_OP_PONG, 0, 0), 1);
	assert_int_equal(b->engine.last_active_ms, 0);
	assert_int_equal(b->window.control_time_ms, 0);
	bench_data(b, 0, 1);
	assert_int_equal(b->engine.last_active_ms, b->env.unix_ms);
	bench_free(b);
}

/* --- streams
 * --------------------------------------------------------------------------------------- */

static struct bench *with_stream(uint32_t id)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, id, 0, NULL, 0), PG_DROP_NONE);
	assert_int_equal(bench_control(b, PG_OP_STREAMOPEN, id, 0, NULL, 0), PG_DROP_NONE);
	bench_clear(b);
	return b;
}

static void test_open_stream(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint8_t policy = 2;

	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 5, 0, &policy, 1), PG_DROP_NONE);
	assert_int_equal(bench_count_sent(b, PG_OP_STREAMOPEN, 5, 0), 1);
	assert_true(b->streams[0].published);
	assert_int_equal(b->streams[0].line.policy, 2);
	assert_int_equal(b->streams[0].line.state, PG_STREAM_OPEN);
	assert_int_equal(b->opened.highest, 5);
	/* the application hears of it when the client confirms */
	assert_int_equal(b->event_count, 0);
	/* a repeat is answered again, OPEN and READY */
	bench_control(b, PG_OP_OPENSTREAM, 5, 0, &policy, 1);
	assert_int_equal(bench_count_sent(b, PG_OP_STREAMOPEN, 5, 0), 2);
	assert_int_equal(bench_control(b, PG_OP_STREAMOPEN, 5, 0, NULL, 0), PG_DROP_NONE);
	assert_int_equal(b->streams[0].line.state, PG_STREAM_READY);
	bench_control(b, PG_OP_STREAMOPEN, 5, 0, NULL, 0);
	bench_control(b, PG_OP_OPENSTREAM, 5, 0, &policy, 1);
	assert_int_equal(bench_count_sent(b, PG_OP_STREAMOPEN, 5, 0), 3);
	assert_string_equal(bench_story(b), "5:o");
	assert_int_equal(b->events[0].length, 1);
	assert_int_equal(b->events[0].bytes[0], 2);
	assert_int_equal(b->attached, 1);
	bench_free(b);
}

static void test_any_frame_confirms(void **state)
{
	for (int how = 0; how < 4; how++) {
		struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

		bench_control(b, PG_OP_OPENSTREAM, 5, 0, NULL, 0);
		if (how == 0)
			bench_control(b, PG_OP_STREAMOPEN, 5, 0, NULL, 0);
		else if (how == 1)
			bench_data(b, 5, 1);
		else if (how == 2)
			bench_control(b, PG_OP_ACK, 5, 1, NULL, 0);
		else
			bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
		assert_int_equal(b->streams[0].line.state,
				 how == 3 ? PG_STREAM_CLOSING : PG_STREAM_READY);
		assert_string_equal(bench_story(b), how == 1 ? "5:o 5:m1" : "5:o");
		bench_free(b);
	}
}

static void test_stream_refusals(void **state)
{
	struct bench *b = with_stream(1000);
	uint8_t policy = 3;

	/* unknown policy: refused with closestream, for good */
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 1001, 0, &policy, 1), PG_DROP_NONE);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 1001, 0), 1);
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 1001, 0, NULL, 0),
			 PG_DROP_STREAM_ID_USED);
	assert_int_equal(b->engine.stream_count, 1);
	/* below the first one seen, within the window */
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 2, 0, NULL, 0), PG_DROP_NONE);
	/* used before and closed */
	pg_engine_close_stream(&b->engine, 2);
	bench_pass(b, 100000);
	assert_int_equal(b->engine.stream_count, 1);
	bench_clear(b);
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 2, 0, NULL, 0), PG_DROP_STREAM_ID_USED);
	/* the window's edge */
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 3 + 1023, 0, NULL, 0), PG_DROP_NONE);
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 2, 0, NULL, 0), PG_DROP_STREAM_ID_USED);
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 3, 0, NULL, 0), PG_DROP_NONE);
	/* no far bound */
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 0xffffffff, 0, NULL, 0), PG_DROP_NONE);
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 999, 0, NULL, 0),
			 PG_DROP_STREAM_ID_USED);
	assert_int_equal(bench_count_sent(b, PG_OP_STREAMOPEN, 2, 0), 0);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 2, 0), 0);
	bench_free(b);
}

static void test_stream_limits(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	b->engine.streams_at_once = 3;
	for (uint32_t id = 1; id <= 3; id++)
		assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, id, 0, NULL, 0), PG_DROP_NONE);
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 4, 0, NULL, 0), PG_DROP_STREAM_LIMIT);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 4, 0), 1);
	/* what was refused for lack of room never opens; the client takes another id */
	b->engine.streams_at_once = 4;
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 4, 0, NULL, 0), PG_DROP_STREAM_ID_USED);
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 7, 0, NULL, 0), PG_DROP_NONE);
	b->engine.streams_at_once = 10;
	b->stream_limit = 4;
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 5, 0, NULL, 0), PG_DROP_STREAM_LIMIT);
	b->stream_limit = 10;
	b->publish_fails = true;
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 6, 0, NULL, 0), PG_DROP_STREAM_LIMIT);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 6, 0), 1);
	assert_int_equal(bench_count_sent(b, PG_OP_STREAMOPEN, 6, 0), 0);
	assert_int_equal(b->attached - b->detached, 4);
	assert_int_equal(b->engine.stream_count, 4);
	bench_free(b);
}

static void test_stream_reservations(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint8_t policy = 1;

	b->env.ops = &bench_ops_reserving;
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 10, 0, &policy, 1), PG_DROP_NONE);
	assert_int_equal(b->sent_count + b->attached, 0);
	assert_int_equal(b->reserves[0].kind, PG_ENGINE_RESERVE_STREAM);
	assert_int_equal(b->reserves[0].bound, 74);
	/* repeats, and other ids, do not flood the store: they wait */
	for (int i = 0; i < 5; i++)
		bench_control(b, PG_OP_OPENSTREAM, 10 + 200 * i, 0, &policy, 1);
	assert_int_equal(b->reserve_count, 1);
	pg_engine_reserved(&b->engine, PG_ENGINE_RESERVE_STREAM, 74);
	assert_int_equal(bench_count_sent(b, PG_OP_STREAMOPEN, 10, 0), 1);
	assert_int_equal(b->streams[0].line.policy, 1);
	assert_int_equal(b->opened.bound, 74);
	assert_int_equal(b->attached, 1);
	/* for those that wait it asks again, as high as the first of them needs at least */
	assert_int_equal(b->reserve_count, 2);
	assert_true(b->reserves[1].bound >= 210 + 64);
	pg_engine_reserved(&b->engine, PG_ENGINE_RESERVE_STREAM, 874);
	for (int i = 0; i < 5; i++)
		assert_int_equal(bench_count_sent(b, PG_OP_STREAMOPEN, 10 + 200 * i, 0), 1);
	assert_int_equal(b->attached, 5);
	/* within the block nothing is asked */
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 874, 0, NULL, 0), PG_DROP_NONE);
	assert_int_equal(b->reserve_count, 2);
	bench_control(b, PG_OP_OPENSTREAM, 875, 0, NULL, 0);
	assert_int_equal(b->reserve_count, 3);
	/* an answer that never came: asked again after a while */
	bench_pass(b, 500);
	bench_control(b, PG_OP_OPENSTREAM, 875, 0, NULL, 0);
	assert_int_equal(b->reserve_count, 4);
	/* a failure forgets those that wait: the client asks again */
	pg_engine_reserve_failed(&b->engine, PG_ENGINE_RESERVE_STREAM);
	assert_null(b->engine.openings);
	bench_control(b, PG_OP_OPENSTREAM, 875, 0, NULL, 0);
	assert_int_equal(b->reserve_count, 5);
	/* a bound below the id opens nothing */
	pg_engine_reserved(&b->engine, PG_ENGINE_RESERVE_STREAM, 874);
	assert_int_equal(b->attached, 6);
	pg_engine_reserve_failed(&b->engine, PG_ENGINE_RESERVE_STREAM);
	bench_control(b, PG_OP_OPENSTREAM, 0xfffffff0, 0, NULL, 0);
	assert_int_equal(b->reserves[b->reserve_count - 1].bound, 0xffffffff);
	pg_engine_reserved(&b->engine, PG_ENGINE_RESERVE_STREAM, 0xffffffff);
	assert_int_equal(bench_count_sent(b, PG_OP_STREAMOPEN, 0xfffffff0, 0), 1);
	bench_free(b);

	/* more than there is room for are refused */
	b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	b->env.ops = &bench_ops_reserving;
	for (uint32_t id = 1; id <= 65; id++)
		assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 9 * id, 0, NULL, 0),
				 id <= 64 ? PG_DROP_NONE : PG_DROP_NOT_RESERVED);
	assert_int_equal(b->reserve_count, 1);
	bench_free(b);
}

/* A closed id never comes back, so its nonces (checked by the bench) never do. */
static void test_stream_ids_are_used_once(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	for (uint32_t round = 0; round < 3; round++)
		for (uint32_t id = 1; id <= 5; id++) {
			enum pg_drop drop = bench_control(b, PG_OP_OPENSTREAM, id, 0, NULL, 0);

			assert_int_equal(drop, round ? PG_DROP_STREAM_ID_USED : PG_DROP_NONE);
			assert_int_equal(send_one(b, id, 0), round ? -ENOENT : 0);
			b->env.unix_ms++;
			assert_int_equal(pg_engine_close_stream(&b->engine, id),
					 round ? -ENOENT : 0);
			bench_pass(b, 40000);
		}
	assert_int_equal(b->attached, 5);
	assert_int_equal(b->detached, 5);
	bench_free(b);
}

static void test_close_by_the_client(void **state)
{
	struct bench *b = with_stream(5);

	bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 5, 0), 1);
	assert_int_equal(b->streams[0].line.state, PG_STREAM_CLOSING);
	assert_int_equal(b->event_count, 0);
	/* this end did not close: an answer to what still comes may go out */
	assert_int_equal(send_one(b, 5, 0), 0);
	assert_int_equal(pg_engine_close_stream(&b->engine, 5), -EALREADY);
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 5, 0, NULL, 0), PG_DROP_STREAM_ID_USED);
	/* data is taken and acked until CLOSE */
	assert_int_equal(bench_data(b, 5, 1), PG_DROP_NONE);
	bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 5, 0), 2);
	assert_int_equal(b->streams[0].line.state, PG_STREAM_CLOSE);
	assert_string_equal(bench_story(b), "5:m1 5:c");
	assert_int_equal(bench_data(b, 5, 2), PG_DROP_NO_STREAM);
	assert_int_equal(send_one(b, 5, 0), -ENOENT);
	assert_int_equal(pg_engine_close_stream(&b->engine, 5), -ENOENT);
	/* each further closestream is answered, for 30 s */
	bench_pass(b, 29999);
	bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 5, 0), 3);
	bench_pass(b, 1);
	assert_int_equal(bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0), PG_DROP_NO_STREAM);
	assert_int_equal(b->detached, 1);
	assert_string_equal(bench_story(b), "5:m1 5:c");
	bench_free(b);
}

static void test_close_from_here(void **state)
{
	struct bench *b = with_stream(5);

	assert_int_equal(pg_engine_close_stream(&b->engine, 5), 0);
	assert_int_equal(pg_engine_close_stream(&b->engine, 5), -EALREADY);
	assert_int_equal(send_one(b, 5, 0), -EPIPE);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 5, 0), 1);
	bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 5, 0), 2);
	assert_int_equal(b->streams[0].line.closing, PG_CLOSING_C2);
	bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 5, 0), 2);
	assert_string_equal(bench_story(b), "5:c");
	assert_int_equal(b->detached, 1);
	assert_int_equal(bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0), PG_DROP_NO_STREAM);
	bench_free(b);
}

static void test_close_retries(void **state)
{
	static const uint32_t at_ms[] = { 0, 500, 1500, 3500, 7500 };
	struct bench *b = with_stream(5);
	uint64_t start = b->env.unix_ms;

	pg_engine_close_stream(&b->engine, 5);
	bench_pass(b, 15499);
	assert_int_equal(b->event_count, 0);
	assert_int_equal(b->sent_count, COUNT(at_ms));
	for (size_t i = 0; i < COUNT(at_ms); i++)
		assert_int_equal(b->sent[i].timestamp_ms, start + at_ms[i]);
	bench_pass(b, 1);
	assert_string_equal(bench_story(b), "5:c");
	assert_int_equal(b->sent_count, COUNT(at_ms));
	assert_int_equal(b->detached, 1);
	bench_free(b);

	/* C2 resends like C1; R1 waits 30 s and then answers for 30 more */
	b = with_stream(5);
	pg_engine_close_stream(&b->engine, 5);
	bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
	bench_pass(b, 60000);
	assert_int_equal(b->sent_count, 1 + 5);
	assert_string_equal(bench_story(b), "5:c");
	bench_free(b);

	b = with_stream(5);
	bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
	bench_pass(b, 29999);
	assert_int_equal(b->sent_count, 1);
	assert_int_equal(b->event_count, 0);
	bench_pass(b, 1);
	assert_string_equal(bench_story(b), "5:c");
	bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
	assert_int_equal(b->sent_count, 2);
	bench_pass(b, 30000);
	assert_int_equal(b->detached, 1);
	bench_free(b);
}

static void test_close_leaves_nothing_unsaid(void **state)
{
	struct bench *b = with_stream(5);

	/* what waits is delivered or reported, what is not acked has failed */
	send_one(b, 5, 77);
	send_one(b, 5, 0);
	play(b, 5, "1 3 5");
	pg_engine_close_stream(&b->engine, 5);
	/* the send buffer first */
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 5, 0), 0);
	assert_int_equal(send_one(b, 5, 78), -EPIPE);
	bench_pass(b, 9999);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 5, 0), 0);
	bench_pass(b, 1);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 5, 0), 1);
	bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
	bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
	assert_string_equal(bench_story(b), "5:m1 5:f77 5:g2+1 5:m3 5:g4+1 5:m5 5:c");
	assert_int_equal(b->engine.waiting_bytes, 0);
	bench_free(b);

	/* where the application has no room, the end waits for it */
	for (int room = 0; room < 2; room++) {
		b = with_stream(5);
		play(b, 5, "1 3 4 6");
		b->app_room = 1;
		for (int i = 0; i < 3; i++)
			bench_control(b, PG_OP_CLOSESTREAM, 5, 0, NULL, 0);
		assert_string_equal(bench_story(b), "5:m1 5:g2+1 5:m3");
		bench_pass(b, 29999);
		if (room)
			b->app_room = UINT32_MAX;
		/* not for ever */
		bench_pass(b, room ? 1 : 60000);
		assert_string_equal(bench_story(b), room ? "5:m1 5:g2+1 5:m3 5:m4 5:g5+1 5:m6 5:c"
							 : "5:m1 5:g2+1 5:m3 5:g4+3 5:c");
		assert_int_equal(b->engine.waiting_bytes, 0);
		bench_free(b);
	}
}

static void test_unannounced_stream_closes_quietly(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	bench_control(b, PG_OP_OPENSTREAM, 5, 0, NULL, 0);
	pg_engine_close_stream(&b->engine, 5);
	bench_pass(b, 60000);
	assert_int_equal(b->event_count, 0);
	assert_int_equal(b->detached, 1);
	bench_free(b);
}

/* The streams of a session by id, against the list, while they come and go. */
static void test_many_streams(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);
	uint32_t listed = 0;

	for (uint32_t id = 1; id <= 1024; id++)
		assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, id * 1024, 0, NULL, 0), 0);
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 2000000, 0, NULL, 0),
			 PG_DROP_STREAM_LIMIT);
	bench_clear(b);
	for (uint32_t id = 1; id <= 1024; id++) {
		assert_int_equal(bench_data(b, id * 1024, 1), PG_DROP_NONE);
		assert_int_equal(bench_data(b, id * 1024 + 1, 1), PG_DROP_NO_STREAM);
	}
	assert_int_equal(bench_count_events(b, PG_APP_STREAM_OPEN, 1024), 1);
	for (uint32_t id = 1; id <= 1024; id += 2)
		pg_engine_close_stream(&b->engine, id * 1024);
	bench_pass(b, 20000);
	assert_int_equal(b->engine.stream_count, 512);
	for (const struct pg_stream *s = b->engine.streams; s; s = s->next) {
		assert_int_equal(s->series.stream % 2048, 0);
		listed++;
	}
	assert_int_equal(listed, 512);
	for (uint32_t id = 1; id <= 1024; id++)
		assert_int_equal(bench_data(b, id * 1024, 2),
				 id % 2 ? PG_DROP_NO_STREAM : PG_DROP_NONE);
	/* every one of them was published */
	for (uint32_t i = 0; i < BENCH_STREAMS; i++)
		if (b->streams[i].used) {
			assert_int_equal(b->streams[i].line.highest, 2);
			assert_int_equal(b->streams[i].window.next_deliver, 3);
		}
	bench_free(b);
}

/* --- adoption
 * --------------------------------------------------------------------------------------- */

static void crash(struct bench *b)
{
	bench_clear(b);
	bench_restart(b);
}

static const struct {
	const char *name, *before, *after, *story;
} adoption_rows[] = {
	{ "nothing happened before", "", "1", "m1" },
	{ "in order before", "1 2 3", "4", "m4" },
	{ "acked and lost", "1 3", "", "g3+1" },
	{ "the missing one is still taken", "1 3", "2 4", "g3+1 m2 m4" },
	{ "two runs lost", "1 3 4 6", "2 5 7", "g3+2 g6+1 m2 m5 m7" },
	{ "the missing one never comes", "1 3", "+11999 4 +1", "g3+1 g2+1 m4" },
	{ "a copy of the lost one is acked, not delivered", "1 3", "3 2", "g3+1 m2" },
	{ "a far jump before", "1 3000", "2999 3001 +12000", "m3001" },
	{ "a run of 1024 before", "1 1026", "1025 +12000", "g1026+1 g3+1022 m1025" },
};

static void test_adoption(void **state)
{
	for (size_t i = 0; i < COUNT(adoption_rows); i++) {
		struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

		print_message("%s\n", adoption_rows[i].name);
		play(b, 0, adoption_rows[i].before);
		crash(b);
		play(b, 0, adoption_rows[i].after);
		assert_string_equal(bench_story(b), adoption_rows[i].story);
		bench_free(b);
	}
}

/* An application that comes after the restart still hears what was lost. */
static void test_adoption_without_application(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	play(b, 0, "1 3 4 6 7");
	b->app = PG_DROP_NO_APPLICATION;
	b->app_room = 0;
	crash(b);
	assert_int_equal(b->event_count, 0);
	assert_int_equal(bench_data(b, 0, 2), PG_DROP_NO_APPLICATION);
	/* longer than the receive timeout: no gap goes to nobody */
	bench_pass(b, 15000);
	assert_int_equal(b->event_count, 0);
	b->app_room = UINT32_MAX;
	bench_data(b, 0, 2);
	bench_pass(b, 640);
	assert_string_equal(bench_story(b), "g3+2 g6+2 m2 g5+1");
	assert_int_equal(b->engine.waiting_bytes, 0);
	bench_free(b);
}

/* Killed between delivery and publishing: the ids behind the window are reported too. */
static void test_adoption_behind_the_window(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	bench_data(b, 0, 1);
	bench_data(b, 0, 2000);
	b->window.next_deliver = 2;
	crash(b);
	assert_string_equal(bench_story(b), "g2+975 g2000+1");
	bench_free(b);
}

static void test_adoption_of_streams(void **state)
{
	struct bench *b = with_stream(5);
	uint8_t newest = PG_POLICY_NEWEST;

	bench_control(b, PG_OP_OPENSTREAM, 6, 0, &newest, 1);
	bench_control(b, PG_OP_OPENSTREAM, 7, 0, NULL, 0);
	play(b, 5, "1 3");
	play(b, 6, "8");
	pg_engine_close_stream(&b->engine, 5);
	send_one(b, 6, 0);
	crash(b);
	/* READY stays so, and stays quiet; an OPEN one still waits for its confirmation */
	assert_string_equal(bench_story(b), "5:g3+1");
	bench_clear(b);
	assert_int_equal(bench_data(b, 6, 8), PG_DROP_NOT_MONOTONIC);
	assert_int_equal(bench_data(b, 6, 9), PG_DROP_NONE);
	assert_int_equal(bench_data(b, 7, 1), PG_DROP_NONE);
	assert_string_equal(bench_story(b), "6:m9 7:o 7:m1");
	/* sending goes on above what was used */
	b->env.unix_ms++;
	assert_int_equal(send_one(b, 6, 0), 0);
	assert_int_equal(b->sent[b->sent_count - 1].frame.pack, 2);
	/* a stream that was closing goes on closing, its used id stays used */
	bench_clear(b);
	bench_pass(b, 0);
	assert_int_equal(bench_count_sent(b, PG_OP_CLOSESTREAM, 5, 0), 1);
	bench_pass(b, 40000);
	assert_int_equal(b->detached, 1);
	assert_int_equal(bench_control(b, PG_OP_OPENSTREAM, 5, 0, NULL, 0), PG_DROP_STREAM_ID_USED);
	bench_free(b);
}

static void test_adoption_keeps_counters(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, !ROAMS);

	send_one(b, 0, 1);
	send_one(b, 0, 2);
	bench_data(b, 0, 1);
	crash(b);
	b->env.unix_ms++;
	assert_int_equal(bench_data(b, 0, 1), PG_DROP_REPLAY_SEEN);
	/* an ack for what the old process sent is known, and nobody waits for it */
	assert_int_equal(bench_control(b, PG_OP_ACK, 0, 1, NULL, 0), PG_DROP_NONE);
	assert_int_equal(bench_control(b, PG_OP_ACK, 0, 3, NULL, 0), PG_DROP_ACK_UNKNOWN);
	assert_int_equal(send_one(b, 0, 3), 0);
	assert_int_equal(b->sent[b->sent_count - 1].frame.pack, 3);
	assert_int_equal(b->event_count, 0);
	bench_free(b);
}

/* --- roaming
 * ---------------------------------------------------------------------------------------- */

static enum pg_drop data_from(struct bench *b, uint32_t stream, uint32_t pack, uint64_t timestamp,
			      uint16_t port_be)
{
	struct bench_in in = { .port_be = port_be };

	in.count = bench_seal(b, in.bytes, stream, pack, 0, timestamp, "abcdefg", 7);
	bench_batch(b, &in, 1);
	return in.drop;
}

static void test_roaming_rules(void **state)
{
	static const struct {
		const char *name;
		uint32_t pack;
		int64_t older_ms;
		bool roams, damaged, moves;
		enum pg_drop drop;
	} rows[] = {
		{ "a newer frame", 11, 0, true, false, true, PG_DROP_NONE },
		{ "far above", 500, -5, true, false, true, PG_DROP_NONE },
		{ "the highest itself", 10, 0, true, false, false, PG_DROP_PEER_MISMATCH },
		{ "below the highest, new", 9, 0, true, false, false, PG_DROP_PEER_MISMATCH },
		{ "a duplicate", 1, 0, true, false, false, PG_DROP_PEER_MISMATCH },
		{ "an older timestamp", 11, 1, true, false, false, PG_DROP_PEER_MISMATCH },
		{ "not authentic", 11, 0, true, true, false, PG_DROP_TAG },
		{ "roaming off", 11, 0, false, false, false, PG_DROP_PEER_MISMATCH },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, rows[i].roams);
		struct bench_in in = { .port_be = 2 };

		print_message("%s\n", rows[i].name);
		bench_data(b, 0, 1);
		bench_data(b, 0, 10);
		bench_clear(b);
		in.count = bench_seal(b, in.bytes, 0, rows[i].pack, 0,
				      b->env.unix_ms - rows[i].older_ms, "abcdefg", 7);
		if (rows[i].damaged)
			in.bytes[22] ^= 0x40;
		bench_batch(b, &in, 1);
		assert_int_equal(in.drop, rows[i].drop);
		assert_int_equal(b->line.peer_port_be, rows[i].moves ? 2 : 1);
		assert_int_equal(b->moved, rows[i].moves);
		assert_int_equal(bench_count_sent(b, PG_OP_PING, 0, 0), rows[i].moves);
		if (!rows[i].moves)
			assert_int_equal(b->sent_count, 0);
		bench_free(b);
	}
}

/* An authentic frame that found no room is still a witness of the time. */
static void test_roaming_counts_uncommitted_times(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, ROAMS);
	uint64_t now = b->env.unix_ms;

	bench_control(b, PG_OP_OPENSTREAM, 5, 0, NULL, 0);
	b->app_room = 0;
	assert_int_equal(data_from(b, 5, 1, now, 0), PG_DROP_APP_FULL);
	b->app_room = UINT32_MAX;
	assert_int_equal(data_from(b, 0, 1, now - 1, 2), PG_DROP_PEER_MISMATCH);
	assert_int_equal(data_from(b, 0, 1, now, 2), PG_DROP_NONE);
	bench_free(b);
}

static struct bench *roamed(void)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, ROAMS);

	bench_data(b, 0, 1);
	send_one(b, 0, 41);
	bench_clear(b);
	assert_int_equal(data_from(b, 0, 2, b->env.unix_ms, 2), PG_DROP_NONE);
	assert_int_equal(b->line.peer_port_be, 2);
	return b;
}

static void test_roaming_proof_by_pong(void **state)
{
	struct bench *b = roamed();
	uint8_t ping[8];

	assert_int_equal(b->sent[0].frame.opcode, PG_OP_PING);
	assert_int_equal(b->sent[0].frame.payload_bytes, 16);
	assert_int_equal(b->sent[0].peer_port_be, 2);
	memcpy(ping, b->sent[0].bytes + 16, 8);
	/* a wrong pong proves nothing, nor does one from the old address */
	ping[0] ^= 1;
	assert_int_equal(bench_control(b, PG_OP_PONG, 0, 0, ping, 8), PG_DROP_UNEXPECTED);
	ping[0] ^= 1;
	assert_int_equal(bench_control(b, PG_OP_PONG, 0, 0, ping, 7), PG_DROP_UNEXPECTED);
	assert_int_equal(bench_control_from(b, PG_OP_PONG, 0, 0, ping, 8, 1),
			 PG_DROP_PEER_MISMATCH);
	assert_non_null(b->engine.roaming);
	assert_int_equal(bench_control(b, PG_OP_PONG, 0, 0, ping, 8), PG_DROP_NONE);
	assert_null(b->engine.roaming);
	bench_pass(b, 10000);
	assert_int_equal(b->line.peer_port_be, 2);
	assert_int_equal(b->moved, 1);
	bench_free(b);
}

static void test_roaming_proof_by_ack(void **state)
{
	struct bench *b = roamed();

	/* the ack of a packet that went to the old address first proves nothing */
	bench_control(b, PG_OP_ACK, 0, 1, NULL, 0);
	assert_non_null(b->engine.roaming);
	assert_int_equal(send_one(b, 0, 42), 0);
	bench_control(b, PG_OP_ACK, 0, 2, NULL, 0);
	assert_null(b->engine.roaming);
	assert_int_equal(b->env.counters.roamed, 1);
	bench_free(b);
}

static void test_roaming_without_proof(void **state)
{
	struct bench *b = roamed();

	bench_pass(b, 2999);
	assert_int_equal(b->line.peer_port_be, 2);
	bench_pass(b, 1);
	assert_int_equal(b->line.peer_port_be, 1);
	assert_int_equal(b->moved, 2);
	assert_int_equal(data_from(b, 0, 2, b->env.unix_ms, 2), PG_DROP_PEER_MISMATCH);
	/* moving on before a proof: the last proven address is where it goes back to */
	assert_int_equal(data_from(b, 0, 3, b->env.unix_ms, 2), PG_DROP_NONE);
	assert_int_equal(data_from(b, 0, 4, b->env.unix_ms, 3), PG_DROP_NONE);
	assert_int_equal(b->line.peer_port_be, 3);
	bench_pass(b, 3000);
	assert_int_equal(b->line.peer_port_be, 1);
	bench_free(b);
}

static void test_roaming_amplification(void **state)
{
	struct bench *b = roamed();
	uint8_t text[1000] = { 0 };
	uint64_t in_bytes = 20 + 7 + 16 + 8, out_bytes = 0;

	for (int i = 0; i < 20; i++)
		pg_engine_send(&b->engine, 0, i % 2 ? text : NULL, i % 2 ? 50 : 0, 0);
	assert_int_equal(pg_engine_send(&b->engine, 0, text, sizeof(text), 0), 0);
	for (uint32_t i = 0; i < b->sent_count; i++)
		out_bytes += b->sent[i].frame.bytes;
	assert_true(out_bytes <= 3 * in_bytes);
	assert_true(out_bytes > 3 * in_bytes / 2);
	/* what comes from there lets more go there; what the old address sends does not */
	for (uint32_t pack = 3; pack < 40; pack++) {
		uint64_t before = in_bytes;

		assert_int_equal(data_from(b, 0, pack, b->env.unix_ms, 0), PG_DROP_NONE);
		in_bytes = before + 20 + 7 + 16 + 8;
		pg_engine_send(&b->engine, 0, text, 100, 0);
		out_bytes = 0;
		for (uint32_t i = 0; i < b->sent_count; i++)
			out_bytes += b->sent[i].frame.bytes;
		assert_true(out_bytes <= 3 * in_bytes);
	}
	bench_free(b);
}

static void test_roaming_within_a_batch(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, ROAMS);
	struct bench_in in[3];

	for (int i = 0; i < 3; i++)
		bench_make(b, &in[i], 0, i + 1);
	in[0].port_be = in[2].port_be = 2;
	in[1].port_be = 1;
	/* 1 moves the pin; 2 comes from the old address, now a foreign one, and moves it back */
	bench_batch(b, in, 3);
	assert_int_equal(in[0].drop, PG_DROP_NONE);
	assert_int_equal(in[1].drop, PG_DROP_NONE);
	assert_int_equal(in[2].drop, PG_DROP_NONE);
	assert_int_equal(b->line.peer_port_be, 2);
	assert_int_equal(b->moved, 3);
	assert_int_equal(b->engine.roaming->old_port_be, 1);
	bench_pass(b, 3000);
	assert_int_equal(b->line.peer_port_be, 1);
	bench_free(b);
}

/* Above the highest when it was classified, not any more when its turn comes. */
static void test_roaming_overtaken_within_a_batch(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, ROAMS);
	struct bench_in in[2];

	bench_make(b, &in[0], 0, 2);
	bench_make(b, &in[1], 0, 1);
	in[1].port_be = 2;
	bench_batch(b, in, 2);
	assert_int_equal(in[0].drop, PG_DROP_NONE);
	assert_int_equal(in[1].drop, PG_DROP_PEER_MISMATCH);
	assert_int_equal(b->line.peer_port_be, 1);
	bench_free(b);
}

static void test_roaming_without_guard(void **state)
{
	for (int roams = 0; roams < 2; roams++) {
		struct bench *b = bench_new(PG_POLICY_RELIABLE, !GUARDED, roams);

		bench_data(b, 0, 1);
		assert_int_equal(data_from(b, 0, 2, b->env.unix_ms, 2),
				 roams ? PG_DROP_NONE : PG_DROP_PEER_MISMATCH);
		assert_int_equal(b->line.peer_port_be, roams ? 2 : 1);
		assert_int_equal(bench_control_from(b, PG_OP_GOAWAY, 0, 0, "", 1, 7),
				 PG_DROP_PEER_MISMATCH);
		assert_int_equal(b->closed, 0);
		bench_free(b);
	}
}

static void test_repeated_acks_go_to_the_peer_only(void **state)
{
	struct bench *b = bench_new(PG_POLICY_RELIABLE, GUARDED, ROAMS);
	struct bench_in in[2];

	/* both copies look new when they are classified; the second is a duplicate from elsewhere
	 */
	bench_make(b, &in[0], 0, 1);
	bench_make(b, &in[1], 0, 1);
	in[1].port_be = 2;
	bench_batch(b, in, 2);
	assert_int_equal(in[1].drop, PG_DROP_REPLAY_SEEN);
	assert_false(in[1].acked);
	assert_string_equal(acks_of(b, 0), "1");
	assert_int_equal(b->line.peer_port_be, 1);
	bench_free(b);
}

/* --- the end
 * ---------------------------------------------------------------------------------------- */

static void test_done_wipes_keys(void **state)
{
	struct bench *b = with_stream(5);
	static const struct pg_keys none;

	play(b, 5, "1 3");
	play(b, 0, "2 4");
	send_one(b, 5, 1);
	data_from(b, 0, 9, b->env.unix_ms, 2);
	pg_engine_done(&b->engine);
	assert_memory_equal(&b->engine.keys, &none, sizeof(none));
	assert_null(b->engine.streams);
	assert_int_equal(b->engine.waiting_bytes, 0);
	/* nothing was detached: the mapped memory is for the next process */
	assert_int_equal(b->detached, 0);
	bench_start(b);
	bench_free(b);
}

static void test_options_default(void **state)
{
	struct pg_engine_options options = { .rto_first_ms = 7 };

	pg_engine_options_default(&options);
	assert_int_equal(options.rto_first_ms, 7);
	assert_int_equal(options.receive_timeout_ms, 12000);
	assert_int_equal(options.unreliable_timeout_ms, 2000);
	assert_int_equal(options.receive_buffer_bytes, 4194304);
	assert_int_equal(options.send_buffer_bytes, 4194304);
	assert_int_equal(options.send_timeout_ms, 10000);
	assert_int_equal(options.send_retries, 8);
	assert_int_equal(options.rto_min_ms, 100);
	assert_int_equal(options.rto_max_ms, 8000);
	assert_int_equal(options.streams_at_once, 1024);
	assert_int_equal(options.stream_tries, 5);
	assert_int_equal(options.close_answer_ms, 30000);
	assert_int_equal(options.acks_per_second, 1000);
	assert_int_equal(options.pongs_per_second, 10);
	assert_int_equal(options.roaming_proof_ms, 3000);
	assert_int_equal(options.ping_ms, 15000);
	assert_int_equal(options.idle_ms, 60000);
	assert_int_equal(options.max_payload, 1172);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_series),
		cmocka_unit_test(test_series_of_a_stream),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_duplicate_acks_are_limited),
		cmocka_unit_test(test_duplicates_within_a_batch),
		cmocka_unit_test(test_publish),
		cmocka_unit_test(test_nothing_moves_without_a_tag),
		cmocka_unit_test(test_failed_openings_end_the_session),
		cmocka_unit_test(test_newest_takes_no_fragments),
		cmocka_unit_test(test_receive_buffer_bound),
		cmocka_unit_test(test_receive_buffer_full_and_stalled),
		cmocka_unit_test(test_receive_buffer_bound_spans_streams),
		cmocka_unit_test(test_application_not_ready),
		cmocka_unit_test(test_application_nearly_full),
		cmocka_unit_test(test_application_full_in_between),
		cmocka_unit_test(test_application_full_in_a_far_jump),
		cmocka_unit_test(test_far_jump_of_one),
		cmocka_unit_test(test_no_room_to_transmit),
		cmocka_unit_test(test_send_and_acks),
		cmocka_unit_test(test_send_is_bounded),
		cmocka_unit_test(test_send_sizes),
		cmocka_unit_test(test_pack_ids_end),
		cmocka_unit_test(test_sending_when_the_last_is_settled),
		cmocka_unit_test(test_send_reservations),
		cmocka_unit_test(test_reservations_at_the_end),
		cmocka_unit_test(test_timestamps),
		cmocka_unit_test(test_pongs),
		cmocka_unit_test(test_goaway),
		cmocka_unit_test(test_other_control_frames),
		cmocka_unit_test(test_slow_once),
		cmocka_unit_test(test_last_active),
		cmocka_unit_test(test_open_stream),
		cmocka_unit_test(test_any_frame_confirms),
		cmocka_unit_test(test_stream_refusals),
		cmocka_unit_test(test_stream_limits),
		cmocka_unit_test(test_stream_reservations),
		cmocka_unit_test(test_stream_ids_are_used_once),
		cmocka_unit_test(test_close_by_the_client),
		cmocka_unit_test(test_close_from_here),
		cmocka_unit_test(test_close_retries),
		cmocka_unit_test(test_close_leaves_nothing_unsaid),
		cmocka_unit_test(test_unannounced_stream_closes_quietly),
		cmocka_unit_test(test_many_streams),
		cmocka_unit_test(test_adoption),
		cmocka_unit_test(test_adoption_without_application),
		cmocka_unit_test(test_adoption_behind_the_window),
		cmocka_unit_test(test_adoption_of_streams),
		cmocka_unit_test(test_adoption_keeps_counters),
		cmocka_unit_test(test_roaming_rules),
		cmocka_unit_test(test_roaming_counts_uncommitted_times),
		cmocka_unit_test(test_roaming_proof_by_pong),
		cmocka_unit_test(test_roaming_proof_by_ack),
		cmocka_unit_test(test_roaming_without_proof),
		cmocka_unit_test(test_roaming_amplification),
		cmocka_unit_test(test_roaming_within_a_batch),
		cmocka_unit_test(test_roaming_overtaken_within_a_batch),
		cmocka_unit_test(test_roaming_without_guard),
		cmocka_unit_test(test_repeated_acks_go_to_the_peer_only),
		cmocka_unit_test(test_done_wipes_keys),
		cmocka_unit_test(test_options_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
