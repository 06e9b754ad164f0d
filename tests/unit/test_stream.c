// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "stream.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* PROTOCOL section 1, "Closing a stream", row by row: every state and every input. */
static const struct {
	enum pg_closing from;
	enum pg_closing_input input;
	enum pg_closing to;
	bool sends;
} rows[] = {
	{ PG_CLOSING_NO, PG_CLOSE_LOCAL, PG_CLOSING_C1, true },
	{ PG_CLOSING_NO, PG_CLOSE_RECEIVED, PG_CLOSING_R1, true },
	{ PG_CLOSING_NO, PG_CLOSE_RETRY, PG_CLOSING_NO, false },
	{ PG_CLOSING_NO, PG_CLOSE_GAVE_UP, PG_CLOSING_NO, false },
	{ PG_CLOSING_C1, PG_CLOSE_LOCAL, PG_CLOSING_C1, false },
	{ PG_CLOSING_C1, PG_CLOSE_RECEIVED, PG_CLOSING_C2, true },
	{ PG_CLOSING_C1, PG_CLOSE_RETRY, PG_CLOSING_C1, true },
	{ PG_CLOSING_C1, PG_CLOSE_GAVE_UP, PG_CLOSING_SILENT, false },
	{ PG_CLOSING_C2, PG_CLOSE_LOCAL, PG_CLOSING_C2, false },
	{ PG_CLOSING_C2, PG_CLOSE_RECEIVED, PG_CLOSING_SILENT, false },
	{ PG_CLOSING_C2, PG_CLOSE_RETRY, PG_CLOSING_C2, true },
	{ PG_CLOSING_C2, PG_CLOSE_GAVE_UP, PG_CLOSING_SILENT, false },
	{ PG_CLOSING_R1, PG_CLOSE_LOCAL, PG_CLOSING_R1, false },
	{ PG_CLOSING_R1, PG_CLOSE_RECEIVED, PG_CLOSING_ANSWERING, true },
	{ PG_CLOSING_R1, PG_CLOSE_RETRY, PG_CLOSING_R1, false },
	{ PG_CLOSING_R1, PG_CLOSE_GAVE_UP, PG_CLOSING_ANSWERING, false },
	{ PG_CLOSING_ANSWERING, PG_CLOSE_LOCAL, PG_CLOSING_ANSWERING, false },
	{ PG_CLOSING_ANSWERING, PG_CLOSE_RECEIVED, PG_CLOSING_ANSWERING, true },
	{ PG_CLOSING_ANSWERING, PG_CLOSE_RETRY, PG_CLOSING_ANSWERING, false },
	{ PG_CLOSING_ANSWERING, PG_CLOSE_GAVE_UP, PG_CLOSING_ANSWERING, false },
	{ PG_CLOSING_SILENT, PG_CLOSE_LOCAL, PG_CLOSING_SILENT, false },
	{ PG_CLOSING_SILENT, PG_CLOSE_RECEIVED, PG_CLOSING_SILENT, false },
	{ PG_CLOSING_SILENT, PG_CLOSE_RETRY, PG_CLOSING_SILENT, false },
	{ PG_CLOSING_SILENT, PG_CLOSE_GAVE_UP, PG_CLOSING_SILENT, false },
};

static void test_every_step(void **state)
{
	assert_int_equal(COUNT(rows), 6 * 4);
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum pg_closing at = rows[i].from;

		assert_int_equal(pg_closing_step(&at, rows[i].input), rows[i].sends);
		assert_int_equal(at, rows[i].to);
	}
}

static void test_predicates(void **state)
{
	for (int at = PG_CLOSING_NO; at <= PG_CLOSING_SILENT; at++) {
		assert_int_equal(pg_closing_done(at),
				 at == PG_CLOSING_ANSWERING || at == PG_CLOSING_SILENT);
		assert_int_equal(pg_closing_retries(at),
				 at == PG_CLOSING_C1 || at == PG_CLOSING_C2);
	}
}

/*
 * Two ends over channels that lose, duplicate and delay. A configuration is both states, the tries
 * left to both, and the closestreams on the way in each direction. Duplication is bounded, because
 * a network that duplicates for ever is no network; everything else is not.
 */
#define WAYS	   6 /* frames on the way at once, at most; a full way loses */
#define TRIES	   4 /* after the first */
#define DUPLICATES 2

struct config {
	uint8_t state[2], tries[2], way[2], duplicates;
};

#define CONFIGS (6 * 6 * (TRIES + 1) * (TRIES + 1) * (WAYS + 1) * (WAYS + 1) * (DUPLICATES + 1))

static uint32_t index_of(const struct config *c)
{
	uint32_t i = c->state[0];

	i = i * 6 + c->state[1];
	i = i * (TRIES + 1) + c->tries[0];
	i = i * (TRIES + 1) + c->tries[1];
	i = i * (WAYS + 1) + c->way[0];
	i = i * (WAYS + 1) + c->way[1];
	return i * (DUPLICATES + 1) + c->duplicates;
}

static struct config config_at(uint32_t i)
{
	struct config c;

	c.duplicates = i % (DUPLICATES + 1);
	i /= DUPLICATES + 1;
	c.way[1] = i % (WAYS + 1);
	i /= WAYS + 1;
	c.way[0] = i % (WAYS + 1);
	i /= WAYS + 1;
	c.tries[1] = i % (TRIES + 1);
	i /= TRIES + 1;
	c.tries[0] = i % (TRIES + 1);
	i /= TRIES + 1;
	c.state[1] = i % 6;
	c.state[0] = i / 6;
	return c;
}

static void step(struct config *c, int end, enum pg_closing_input input)
{
	enum pg_closing at = c->state[end], before = at;

	if (pg_closing_step(&at, input) && c->way[end] < WAYS)
		c->way[end]++;
	if (at != before)
		c->tries[end] = TRIES;
	c->state[end] = at;
}

/* What can happen next at one end and on its way out; whether it happened. */
enum move { DELIVER, LOSE, DUPLICATE, CLOSE, TIMER, MOVES };

static bool make_move(struct config *c, int end, enum move move)
{
	switch (move) {
	case DELIVER:
		if (!c->way[!end])
			return false;
		c->way[!end]--;
		step(c, end, PG_CLOSE_RECEIVED);
		return true;
	case LOSE:
		if (!c->way[end])
			return false;
		c->way[end]--;
		return true;
	case DUPLICATE:
		if (!c->way[end] || c->way[end] == WAYS || !c->duplicates)
			return false;
		c->way[end]++;
		c->duplicates--;
		return true;
	case CLOSE:
		if (c->state[end] != PG_CLOSING_NO)
			return false;
		step(c, end, PG_CLOSE_LOCAL);
		return true;
	case TIMER:
		if (c->state[end] == PG_CLOSING_R1) {
			step(c, end, PG_CLOSE_GAVE_UP);
			return true;
		}
		if (!pg_closing_retries(c->state[end]))
			return false;
		if (!c->tries[end]) {
			step(c, end, PG_CLOSE_GAVE_UP);
		} else {
			c->tries[end]--;
			step(c, end, PG_CLOSE_RETRY);
		}
		return true;
	default:
		return false;
	}
}

#define NEW  0
#define OPEN 1 /* on the path that is being walked */
#define DONE 2

static uint8_t seen[CONFIGS];
static uint32_t path[CONFIGS];
static uint8_t next_move[CONFIGS];

static bool closed(const struct config *c, int end)
{
	return pg_closing_done(c->state[end]);
}

/*
 * Walks every configuration reachable from start in depth. A cycle would be an exchange without
 * end. Where nothing can happen any more, either both ends are CLOSE, or one is and the other never
 * heard of it, every frame to it being lost (alone counts these).
 */
static void walk(const struct config *start, uint32_t *ret_reached, uint32_t *ret_alone)
{
	uint32_t depth = 0, reached = 0, alone = 0;

	memset(seen, NEW, sizeof(seen));
	path[0] = index_of(start);
	seen[path[0]] = OPEN;
	next_move[0] = 0;
	for (;;) {
		uint32_t at = path[depth];
		struct config c = config_at(at);
		int move = next_move[depth]++;

		if (move == 2 * MOVES) {
			seen[at] = DONE;
			reached++;
			if (!depth--)
				break;
			continue;
		}
		if (!make_move(&c, move % 2, move / 2))
			continue;
		at = index_of(&c);
		if (seen[at] == OPEN)
			fail_msg("an exchange without end: states %u %u", c.state[0], c.state[1]);
		if (seen[at] == NEW) {
			seen[at] = OPEN;
			path[++depth] = at;
			next_move[depth] = 0;
		}
	}
	for (uint32_t i = 0; i < CONFIGS; i++) {
		struct config c = config_at(i);
		bool stuck = seen[i] == DONE;

		for (int move = 0; stuck && move < 2 * MOVES; move++) {
			struct config after = c;

			/* closing is a choice, not something that must happen */
			if (move / 2 != CLOSE && make_move(&after, move % 2, move / 2))
				stuck = false;
		}
		if (!stuck)
			continue;
		for (int end = 0; end < 2; end++)
			if (!closed(&c, end)) {
				assert_int_equal(c.state[end], PG_CLOSING_NO);
				alone += closed(&c, !end);
			}
	}
	*ret_reached = reached;
	*ret_alone = alone;
}

static void test_two_ends(void **state)
{
	struct config start = { .tries = { TRIES, TRIES }, .duplicates = DUPLICATES };
	uint32_t reached, alone;

	walk(&start, &reached, &alone);
	print_message("%u configurations\n", reached);
	assert_in_range(reached, 1000, CONFIGS);
	/* every frame of one end lost: the other one is not told, and that is all that can go wrong
	 */
	assert_true(alone > 0);
}

/* The usual ways, by hand: as PROTOCOL writes them. */
static void test_plain_close(void **state)
{
	struct config c = { .tries = { TRIES, TRIES } };

	assert_true(make_move(&c, 0, CLOSE));
	assert_int_equal(c.state[0], PG_CLOSING_C1);
	assert_true(make_move(&c, 1, DELIVER));
	assert_int_equal(c.state[1], PG_CLOSING_R1);
	assert_true(make_move(&c, 0, DELIVER));
	assert_int_equal(c.state[0], PG_CLOSING_C2);
	assert_true(make_move(&c, 1, DELIVER));
	assert_int_equal(c.state[1], PG_CLOSING_ANSWERING);
	assert_true(make_move(&c, 0, DELIVER));
	assert_int_equal(c.state[0], PG_CLOSING_SILENT);
	assert_int_equal(c.way[0] + c.way[1], 0);
}

static void test_simultaneous_close(void **state)
{
	struct config c = { .tries = { TRIES, TRIES } };

	make_move(&c, 0, CLOSE);
	make_move(&c, 1, CLOSE);
	make_move(&c, 0, DELIVER);
	make_move(&c, 1, DELIVER);
	assert_int_equal(c.state[0], PG_CLOSING_C2);
	assert_int_equal(c.state[1], PG_CLOSING_C2);
	make_move(&c, 0, DELIVER);
	make_move(&c, 1, DELIVER);
	assert_int_equal(c.state[0], PG_CLOSING_SILENT);
	assert_int_equal(c.state[1], PG_CLOSING_SILENT);
	assert_int_equal(c.way[0] + c.way[1], 0);
}

/* Nothing is ever lost: both ends end in CLOSE, whoever closes, in every order of arrival. */
static void test_without_loss(void **state)
{
	for (int both = 0; both < 2; both++)
		for (uint32_t order = 0; order < 1u << 12; order++) {
			struct config c = { .tries = { TRIES, TRIES } };
			uint32_t bits = order, moves = 0;

			make_move(&c, 0, CLOSE);
			if (both)
				make_move(&c, 1, CLOSE);
			while (c.way[0] + c.way[1]) {
				int end = bits & 1;

				bits = bits >> 1 | (bits & 1) << 11;
				if (!make_move(&c, end, DELIVER))
					make_move(&c, !end, DELIVER);
				assert_true(++moves < 20);
			}
			assert_true(closed(&c, 0));
			assert_true(closed(&c, 1));
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_step),	   cmocka_unit_test(test_predicates),
		cmocka_unit_test(test_two_ends),	   cmocka_unit_test(test_plain_close),
		cmocka_unit_test(test_simultaneous_close), cmocka_unit_test(test_without_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
