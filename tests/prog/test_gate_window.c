// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The packId gate of PROTOCOL section 4, on the session's own series and on a stream's. */
#include "gate_fixture.h"

#define STREAM	    9
#define STREAM_SLOT 20
#define MIDDLE	    5000000u
#define AHEAD	    (1u << 20)

/* Where a series' state lives. */
struct series {
	uint32_t *highest;
	uint64_t *bits;
	uint8_t *policy;
	uint32_t stream; /* 0 = the session's own */
};

static struct series session_series(struct gate *gate, const struct place *place)
{
	struct pg_session *session = place_session(gate, place);

	return (struct series){ &session->highest, (uint64_t *)place_window(gate, place)->bits,
				&session->policy, 0 };
}

static struct series stream_series(struct gate *gate, const struct place *place)
{
	uint32_t slot = STREAM_SLOT + place->endpoint;
	struct pg_stream_line *line = &gate->stream_lines[slot];

	gate_set_stream(gate, place, STREAM, slot, PG_STREAM_READY, PG_POLICY_RELIABLE);
	return (struct series){ &line->highest, (uint64_t *)gate->stream_windows[slot].bits,
				&line->policy, STREAM };
}

static void mark(const struct series *series, uint32_t id)
{
	series->bits[(id >> 6) & 15] |= 1ull << (id & 63);
}

static void unmark(const struct series *series, uint32_t id)
{
	series->bits[(id >> 6) & 15] &= ~(1ull << (id & 63));
}

/* policies: bit set of the policies for which the row holds. */
#define RELIABLE  1
#define NEWEST	  2
#define UNORDERED 4
#define WINDOWED  (RELIABLE | UNORDERED)
#define ANY	  7

enum bits {
	EMPTY,	/* no bit is set */
	FULL,	/* every bit is set */
	ONLY,	/* only the frame's own */
	BUT_IT, /* every bit but the frame's own */
};

#define STEERED	  (-1)
#define DUPLICATE (-2)

static const struct window_row {
	const char *name;
	uint8_t policies;
	uint32_t highest;
	enum bits bits;
	uint32_t pack;
	int want; /* enum pg_drop, STEERED or DUPLICATE */
} rows[] = {
	{ "first ever", ANY, 0, EMPTY, 1, STEERED },
	{ "first ever, 2^20", ANY, 0, EMPTY, AHEAD, STEERED },
	{ "first ever, beyond", ANY, 0, EMPTY, AHEAD + 1, PG_DROP_REPLAY_AHEAD },
	{ "first ever, last id", ANY, 0, EMPTY, 0xffffffff, PG_DROP_REPLAY_AHEAD },
	{ "second", ANY, 1, ONLY, 2, STEERED },
	{ "H + 1", ANY, MIDDLE, FULL, MIDDLE + 1, STEERED },
	{ "H + 1023", ANY, MIDDLE, FULL, MIDDLE + 1023, STEERED },
	{ "H + 1024", ANY, MIDDLE, FULL, MIDDLE + 1024, STEERED },
	{ "H + 2^20", ANY, MIDDLE, FULL, MIDDLE + AHEAD, STEERED },
	{ "H + 2^20 + 1", ANY, MIDDLE, EMPTY, MIDDLE + AHEAD + 1, PG_DROP_REPLAY_AHEAD },
	{ "H + 2^31", ANY, MIDDLE, EMPTY, MIDDLE + (1u << 31), PG_DROP_REPLAY_AHEAD },
	{ "H + 2^32 - 1 - H", ANY, MIDDLE, EMPTY, 0xffffffff, PG_DROP_REPLAY_AHEAD },
	{ "H, only raised", WINDOWED, MIDDLE, BUT_IT, MIDDLE, STEERED },
	{ "H, seen", RELIABLE, MIDDLE, ONLY, MIDDLE, DUPLICATE },
	{ "H, seen", UNORDERED, MIDDLE, ONLY, MIDDLE, PG_DROP_REPLAY_SEEN },
	{ "H", NEWEST, MIDDLE, EMPTY, MIDDLE, PG_DROP_NOT_MONOTONIC },
	{ "H - 1", NEWEST, MIDDLE, EMPTY, MIDDLE - 1, PG_DROP_NOT_MONOTONIC },
	{ "H - 5000", NEWEST, MIDDLE, EMPTY, MIDDLE - 5000, PG_DROP_NOT_MONOTONIC },
	{ "H - 1, unseen", WINDOWED, MIDDLE, BUT_IT, MIDDLE - 1, STEERED },
	{ "H - 1, seen", RELIABLE, MIDDLE, ONLY, MIDDLE - 1, DUPLICATE },
	{ "H - 63, unseen", WINDOWED, MIDDLE, BUT_IT, MIDDLE - 63, STEERED },
	{ "H - 63, seen", RELIABLE, MIDDLE, ONLY, MIDDLE - 63, DUPLICATE },
	{ "H - 64, unseen", WINDOWED, MIDDLE, BUT_IT, MIDDLE - 64, STEERED },
	{ "H - 64, seen", RELIABLE, MIDDLE, ONLY, MIDDLE - 64, DUPLICATE },
	{ "H - 1023, unseen", WINDOWED, MIDDLE, BUT_IT, MIDDLE - 1023, STEERED },
	{ "H - 1023, seen", RELIABLE, MIDDLE, ONLY, MIDDLE - 1023, DUPLICATE },
	{ "H - 1023, seen", UNORDERED, MIDDLE, ONLY, MIDDLE - 1023, PG_DROP_REPLAY_SEEN },
	{ "H - 1024, its bit clear", WINDOWED, MIDDLE, EMPTY, MIDDLE - 1024, PG_DROP_REPLAY_OLD },
	{ "H - 1024, its bit set", WINDOWED, MIDDLE, FULL, MIDDLE - 1024, PG_DROP_REPLAY_OLD },
	{ "1 of 1024, unseen", WINDOWED, 1024, BUT_IT, 1, STEERED },
	{ "1 of 1024, seen", RELIABLE, 1024, FULL, 1, DUPLICATE },
	{ "1 of 1025", WINDOWED, 1025, EMPTY, 1, PG_DROP_REPLAY_OLD },
	{ "1 of MIDDLE", WINDOWED, MIDDLE, EMPTY, 1, PG_DROP_REPLAY_OLD },
	{ "top id, in order", ANY, 0xfffffffe, FULL, 0xffffffff, STEERED },
	{ "top id, seen", RELIABLE, 0xffffffff, ONLY, 0xffffffff, DUPLICATE },
	{ "below the top, unseen", WINDOWED, 0xffffffff, BUT_IT, 0xfffffc00, STEERED },
	{ "below the top, old", WINDOWED, 0xffffffff, EMPTY, 0xfffffbff, PG_DROP_REPLAY_OLD },
	{ "ids do not wrap", WINDOWED, 0xffffffff, EMPTY, 1, PG_DROP_REPLAY_OLD },
	{ "ids do not wrap", NEWEST, 0xffffffff, EMPTY, 1, PG_DROP_NOT_MONOTONIC },
};

static void set_series(const struct series *series, const struct window_row *row, uint8_t policy)
{
	bool ones = row->bits == FULL || row->bits == BUT_IT;

	*series->highest = row->highest;
	*series->policy = policy;
	memset(series->bits, ones ? 0xff : 0, PG_WINDOW_WORDS * sizeof(*series->bits));
	if (row->bits == ONLY)
		mark(series, row->pack);
	if (row->bits == BUT_IT)
		unmark(series, row->pack);
}

/* How the frame of a row comes: as a whole packet, or as one of its fragments. */
static const struct part {
	const char *name;
	uint8_t flags;
	uint16_t fragment;
} parts[] = {
	{ "whole", 0, 0 },
	{ "fragment 1", 0x20, 1 },
	{ "fragment 512, last", 0x21, 512 },
};

static struct verdict wanted(const struct window_row *row, uint8_t policy, const struct part *part)
{
	if (part->fragment && policy == PG_POLICY_NEWEST)
		return DROPS(FRAGMENT_UNSUPPORTED);
	return row->want == STEERED	? STEERS
	       : row->want == DUPLICATE ? STEERS_AS(DUPLICATES)
					: DROPS_FOR(row->want);
}

static int judge_row(struct gate *gate, const struct place *place, const struct series *series,
		     const struct window_row *row, uint8_t policy, const struct part *part)
{
	struct frame_spec spec =
		series->stream ? STREAM_DATA(series->stream, row->pack) : DATA(row->pack);
	char name[128];

	set_series(series, row, policy);
	spec.flags |= part->flags;
	spec.fragment = part->fragment;
	spec.payload += part->fragment != 0;
	snprintf(name, sizeof(name), "%s, policy %u, %s, %s", row->name, policy,
		 series->stream ? "stream" : "session", part->name);
	return gate_judge_spec(gate, name, place, &spec, wanted(row, policy, part));
}

static void window_rule(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(p)
	{
		const struct series both[] = { session_series(gate, p), stream_series(gate, p) };

		for (size_t i = 0; i < ARRAY_SIZE(rows) * 6; i++) {
			const struct window_row *row = &rows[i / 6];

			for (size_t k = 0; row->policies & 1 << i % 3 && k < ARRAY_SIZE(parts); k++)
				wrong +=
					judge_row(gate, p, &both[i / 3 % 2], row, i % 3, &parts[k]);
		}
	}
	assert_int_equal(wrong, 0);
}

/* Round the ring at every bit: the id a turn behind shares the bit and is told apart. */
static void once_round_the_ring(void **state)
{
	struct gate *gate = *state;
	const struct place *p = &places[0];
	struct series series = session_series(gate, p);
	int wrong = 0;

	for (uint32_t highest = MIDDLE; highest < MIDDLE + PG_WINDOW_IDS; highest += 31) {
		struct frame_spec turn = DATA(highest - 1024), same = DATA(highest),
				  next = DATA(highest + 1024);

		memset(series.bits, 0, PG_WINDOW_WORDS * sizeof(*series.bits));
		*series.highest = highest;
		mark(&series, highest);
		wrong += gate_judge_spec(gate, "a turn behind", p, &turn, DROPS(REPLAY_OLD));
		wrong += gate_judge_spec(gate, "the id", p, &same, STEERS_AS(DUPLICATES));
		wrong += gate_judge_spec(gate, "a turn ahead", p, &next, STEERS);
	}
	assert_int_equal(wrong, 0);
}

/* Commits as the agent does and sees the gate follow: the shared memory is one. */
static void follows_the_agent(void **state)
{
	static const uint32_t ids[] = { 1, 2, 5, 4, 64, 63, 1030, 8, 900, 100000, 99000 };
	struct gate *gate = *state;
	const struct place *p = &places[1];
	struct pg_session *session = place_session(gate, p);
	struct pg_window *window = place_window(gate, p);
	int wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct frame_spec spec = DATA(ids[i]);

		wrong += gate_judge_spec(gate, "before the commit", p, &spec, STEERS);
		pg_replay_commit(&session->highest, window->bits, ids[i]);
		wrong += gate_judge_spec(gate, "after the commit", p, &spec, STEERS_AS(DUPLICATES));
	}
	assert_int_equal(wrong, 0);
}

/* The windows of the session and of the stream are two. */
static void series_are_apart(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(p)
	{
		struct series session = session_series(gate, p), stream = stream_series(gate, p);
		struct frame_spec own = DATA(7), streamed = STREAM_DATA(STREAM, 7);

		*session.highest = *stream.highest = 10;
		mark(&session, 7);
		wrong += gate_judge_spec(gate, "seen on the session", p, &own,
					 STEERS_AS(DUPLICATES));
		wrong += gate_judge_spec(gate, "not on the stream", p, &streamed, STEERS);
		unmark(&session, 7);
		mark(&stream, 7);
		wrong += gate_judge_spec(gate, "not on the session", p, &own, STEERS);
		wrong += gate_judge_spec(gate, "seen on the stream", p, &streamed,
					 STEERS_AS(DUPLICATES));
		*session.policy = PG_POLICY_NEWEST;
		wrong += gate_judge_spec(gate, "the session's policy", p, &own,
					 DROPS(NOT_MONOTONIC));
		wrong += gate_judge_spec(gate, "not the stream's", p, &streamed,
					 STEERS_AS(DUPLICATES));
	}
	assert_int_equal(wrong, 0);
}

static void acks_pass_no_window(void **state)
{
	struct gate *gate = *state;
	struct frame_spec old = { .opcode = 4, .flags = 0x40, .pack = 1 },
			  far = { .opcode = 4, .flags = 0x42, .pack = 0xfffffffe };
	int wrong = 0;

	EACH_PLACE(p)
	{
		place_session(gate, p)->highest = MIDDLE;
		memset(place_window(gate, p)->bits, 0xff, sizeof(((struct pg_window *)0)->bits));
		wrong += gate_judge_spec(gate, "ack of 1", p, &old, STEERS);
		wrong += gate_judge_spec(gate, "ack of the last", p, &far, STEERS);
	}
	assert_int_equal(wrong, 0);
}

/*
 * A packet in fragments beside the gate: the first raises the highest id and sets no bit, so the
 * others pass at the highest id and below it; once it is whole each of them is a duplicate.
 */
static void fragments_follow_the_agent(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(p)
	{
		const struct series both[] = { session_series(gate, p), stream_series(gate, p) };

		for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
			const struct series *series = &both[i];
			struct frame_spec first = { .flags = series->stream ? 0xe0 : 0x60,
						    .stream = series->stream,
						    .pack = MIDDLE,
						    .fragment = 1,
						    .payload = 17 };
			struct frame_spec last = first, next = first;

			last.flags |= 1;
			last.fragment = 2;
			next.pack++;
			*series->highest = 0;
			memset(series->bits, 0, PG_WINDOW_WORDS * sizeof(*series->bits));
			pg_replay_commit(series->highest, (__u64 *)series->bits, MIDDLE - 1);
			wrong += gate_judge_spec(gate, "the first", p, &first, STEERS);
			pg_replay_raise(series->highest, (__u64 *)series->bits, MIDDLE);
			wrong += gate_judge_spec(gate, "at the highest", p, &last, STEERS);
			wrong += gate_judge_spec(gate, "again", p, &first, STEERS);
			pg_replay_raise(series->highest, (__u64 *)series->bits, MIDDLE + 1);
			wrong += gate_judge_spec(gate, "below the highest", p, &last, STEERS);
			pg_replay_commit(series->highest, (__u64 *)series->bits, MIDDLE);
			wrong += gate_judge_spec(gate, "of a whole one", p, &first,
						 STEERS_AS(DUPLICATES));
			wrong += gate_judge_spec(gate, "of a whole one, last", p, &last,
						 STEERS_AS(DUPLICATES));
			wrong += gate_judge_spec(gate, "of the next", p, &next, STEERS);
		}
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gate_test(window_rule),		gate_test(once_round_the_ring),
		gate_test(follows_the_agent),	gate_test(series_are_apart),
		gate_test(acks_pass_no_window), gate_test(fragments_follow_the_agent),
	};

	return cmocka_run_group_tests(tests, gate_group_setup, gate_group_teardown);
}
