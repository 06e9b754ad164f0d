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

static int judge_row(struct gate *gate, const struct place *place, const struct series *series,
		     const struct window_row *row, uint8_t policy)
{
	struct frame_spec spec =
		series->stream ? STREAM_DATA(series->stream, row->pack) : DATA(row->pack);
	struct verdict want = row->want == STEERED     ? STEERS
			      : row->want == DUPLICATE ? STEERS_AS(DUPLICATES)
						       : DROPS_FOR(row->want);
	char name[96];

	set_series(series, row, policy);
	snprintf(name, sizeof(name), "%s, policy %u, %s", row->name, policy,
		 series->stream ? "stream" : "session");
	return gate_judge_spec(gate, name, place, &spec, want);
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

			if (row->policies & 1 << i % 3)
				wrong += judge_row(gate, p, &both[i / 3 % 2], row, i % 3);
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

static void fragments(void **state)
{
	static const uint8_t flags[] = { 0x60, 0x61, 0xe0, 0xe1 };
	static const uint32_t ids[] = { 1, MIDDLE - 1, MIDDLE, MIDDLE + 1, MIDDLE + AHEAD + 1 };
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(p)
	{
		struct series session = session_series(gate, p), stream = stream_series(gate, p);

		*session.highest = *stream.highest = MIDDLE;
		for (size_t i = 0; i < ARRAY_SIZE(flags) * ARRAY_SIZE(ids) * 3; i++) {
			struct frame_spec spec = { .flags = flags[i % 4],
						   .stream = STREAM,
						   .pack = ids[i / 4 % 5],
						   .fragment = 1,
						   .payload = 17 };

			*session.policy = *stream.policy = i / 20;
			wrong += gate_judge_spec(gate, "fragment", p, &spec,
						 DROPS(FRAGMENT_UNSUPPORTED));
		}
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gate_test(window_rule),		gate_test(once_round_the_ring),
		gate_test(follows_the_agent),	gate_test(series_are_apart),
		gate_test(acks_pass_no_window), gate_test(fragments),
	};

	return cmocka_run_group_tests(tests, gate_group_setup, gate_group_teardown);
}
