// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
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

/* --- opening -------------------------------------------------------------------------------------
 */

static const struct {
	enum pg_opening from;
	bool client;
	enum pg_opening_input input;
	enum pg_opening to;
	enum pg_opening_send send;
} opening_rows[] = {
	{ PG_OPENING_ASKED, true, PG_OPEN_ASK, PG_OPENING_ASKED, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_ASKED, true, PG_OPEN_ANSWER, PG_OPENING_READY, PG_OPEN_SEND_STREAMOPEN },
	{ PG_OPENING_ASKED, true, PG_OPEN_OTHER, PG_OPENING_READY, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_ASKED, true, PG_OPEN_REFUSED, PG_OPENING_FAILED, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_ASKED, true, PG_OPEN_RETRY, PG_OPENING_ASKED, PG_OPEN_SEND_OPENSTREAM },
	{ PG_OPENING_ASKED, true, PG_OPEN_GAVE_UP, PG_OPENING_FAILED, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_READY, true, PG_OPEN_ASK, PG_OPENING_READY, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_READY, true, PG_OPEN_ANSWER, PG_OPENING_READY, PG_OPEN_SEND_STREAMOPEN },
	{ PG_OPENING_READY, true, PG_OPEN_OTHER, PG_OPENING_READY, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_READY, true, PG_OPEN_REFUSED, PG_OPENING_READY, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_READY, true, PG_OPEN_RETRY, PG_OPENING_READY, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_READY, true, PG_OPEN_GAVE_UP, PG_OPENING_READY, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_FAILED, true, PG_OPEN_ASK, PG_OPENING_FAILED, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_FAILED, true, PG_OPEN_ANSWER, PG_OPENING_FAILED, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_FAILED, true, PG_OPEN_OTHER, PG_OPENING_FAILED, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_FAILED, true, PG_OPEN_RETRY, PG_OPENING_FAILED, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_GIVEN, false, PG_OPEN_ASK, PG_OPENING_GIVEN, PG_OPEN_SEND_STREAMOPEN },
	{ PG_OPENING_GIVEN, false, PG_OPEN_ANSWER, PG_OPENING_READY, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_GIVEN, false, PG_OPEN_OTHER, PG_OPENING_READY, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_GIVEN, false, PG_OPEN_RETRY, PG_OPENING_GIVEN, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_READY, false, PG_OPEN_ASK, PG_OPENING_READY, PG_OPEN_SEND_STREAMOPEN },
	{ PG_OPENING_READY, false, PG_OPEN_ANSWER, PG_OPENING_READY, PG_OPEN_SEND_NOTHING },
	{ PG_OPENING_READY, false, PG_OPEN_OTHER, PG_OPENING_READY, PG_OPEN_SEND_NOTHING },
};

static void test_every_opening_step(void **state)
{
	for (size_t i = 0; i < COUNT(opening_rows); i++) {
		enum pg_opening at = opening_rows[i].from;

		assert_int_equal(
			pg_opening_step(&at, opening_rows[i].client, opening_rows[i].input),
			opening_rows[i].send);
		assert_int_equal(at, opening_rows[i].to);
	}
}

/* --- the whole life of a stream ------------------------------------------------------------------
 */

/*
 * Client and server from the first openstream on, with every frame of a stream that has no packId,
 * over ways that lose, duplicate, delay and reorder. As the engine does it: the server opens or
 * refuses an id once, whoever has no stream is silent, any frame of the stream confirms it.
 */
enum kind { C_OPENSTREAM, C_STREAMOPEN, C_CLOSESTREAM, S_STREAMOPEN, S_CLOSESTREAM, KINDS };

enum presence { NEVER, HERE, GONE };

#define LIFE_WAYS  2
#define LIFE_TRIES 2

struct life {
	uint8_t client_opening, client_closing, client_tries;
	uint8_t server, server_opening, server_closing, server_tries;
	uint8_t way[KINDS], duplicates;
	bool overflow; /* not a part of the configuration */
};

#define LIVES (4 * 6 * 3 * 3 * 4 * 6 * 3 * 243 * 2)

static uint32_t life_index(const struct life *l)
{
	uint32_t i = l->client_opening;

	i = i * 6 + l->client_closing;
	i = i * 3 + l->client_tries;
	i = i * 3 + l->server;
	i = i * 4 + l->server_opening;
	i = i * 6 + l->server_closing;
	i = i * 3 + l->server_tries;
	for (int k = 0; k < KINDS; k++)
		i = i * 3 + l->way[k];
	return i * 2 + l->duplicates;
}

static struct life life_at(uint32_t i)
{
	struct life l = { .duplicates = i % 2 };

	i /= 2;
	for (int k = KINDS - 1; k >= 0; k--, i /= 3)
		l.way[k] = i % 3;
	l.server_tries = i % 3;
	i /= 3;
	l.server_closing = i % 6;
	i /= 6;
	l.server_opening = i % 4;
	i /= 4;
	l.server = i % 3;
	i /= 3;
	l.client_tries = i % 3;
	i /= 3;
	l.client_closing = i % 6;
	l.client_opening = i / 6;
	return l;
}

static void put_on_way(struct life *l, enum kind kind)
{
	if (l->way[kind] < LIFE_WAYS)
		l->way[kind]++;
	else
		l->overflow = true;
}

static void open_life(struct life *l, bool client, enum pg_opening_input input)
{
	enum pg_opening at = client ? l->client_opening : l->server_opening;
	enum pg_opening_send send = pg_opening_step(&at, client, input);

	if (send == PG_OPEN_SEND_OPENSTREAM)
		put_on_way(l, C_OPENSTREAM);
	if (send == PG_OPEN_SEND_STREAMOPEN)
		put_on_way(l, client ? C_STREAMOPEN : S_STREAMOPEN);
	if (client)
		l->client_opening = at;
	else
		l->server_opening = at;
}

static void close_life(struct life *l, bool client, enum pg_closing_input input)
{
	uint8_t *closing = client ? &l->client_closing : &l->server_closing;
	uint8_t *tries = client ? &l->client_tries : &l->server_tries;
	enum pg_closing at = *closing;

	if (pg_closing_step(&at, input))
		put_on_way(l, client ? C_CLOSESTREAM : S_CLOSESTREAM);
	if (at != *closing)
		*tries = LIFE_TRIES;
	*closing = at;
	if (!client && at == PG_CLOSING_SILENT)
		l->server = GONE;
}

static bool client_here(const struct life *l)
{
	return l->client_opening != PG_OPENING_FAILED && l->client_closing != PG_CLOSING_SILENT;
}

static void server_takes(struct life *l, enum kind kind, bool refuses)
{
	if (kind == C_OPENSTREAM && l->server == NEVER) {
		if (refuses) {
			/* for good: else a late refusal could meet a stream that opened after all
			 */
			l->server = GONE;
			put_on_way(l, S_CLOSESTREAM);
			return;
		}
		l->server = HERE;
		l->server_opening = PG_OPENING_GIVEN;
		put_on_way(l, S_STREAMOPEN);
		return;
	}
	if (l->server != HERE)
		return;
	if (kind == C_OPENSTREAM && l->server_closing == PG_CLOSING_NO)
		open_life(l, false, PG_OPEN_ASK);
	if (kind == C_STREAMOPEN && !pg_closing_done(l->server_closing))
		open_life(l, false, PG_OPEN_ANSWER);
	if (kind == C_CLOSESTREAM) {
		if (!pg_closing_done(l->server_closing))
			open_life(l, false, PG_OPEN_OTHER);
		close_life(l, false, PG_CLOSE_RECEIVED);
	}
}

static void client_takes(struct life *l, enum kind kind)
{
	if (!client_here(l))
		return;
	if (kind == S_STREAMOPEN) {
		if (!pg_closing_done(l->client_closing))
			open_life(l, true, PG_OPEN_ANSWER);
	} else if (l->client_opening == PG_OPENING_ASKED) {
		open_life(l, true, PG_OPEN_REFUSED);
	} else {
		close_life(l, true, PG_CLOSE_RECEIVED);
	}
}

static bool client_timer(struct life *l)
{
	if (!client_here(l))
		return false;
	if (l->client_opening == PG_OPENING_ASKED) {
		open_life(l, true, l->client_tries ? PG_OPEN_RETRY : PG_OPEN_GAVE_UP);
	} else if (pg_closing_retries(l->client_closing)) {
		if (!l->client_tries) {
			close_life(l, true, PG_CLOSE_GAVE_UP);
			return true;
		}
		close_life(l, true, PG_CLOSE_RETRY);
	} else if (l->client_closing == PG_CLOSING_R1) {
		close_life(l, true, PG_CLOSE_GAVE_UP);
		return true;
	} else if (l->client_closing == PG_CLOSING_ANSWERING) {
		l->client_closing = PG_CLOSING_SILENT;
		return true;
	} else {
		return false;
	}
	l->client_tries -= !!l->client_tries;
	return true;
}

static bool server_timer(struct life *l)
{
	if (l->server != HERE)
		return false;
	if (pg_closing_retries(l->server_closing) && l->server_tries) {
		l->server_tries--;
		close_life(l, false, PG_CLOSE_RETRY);
	} else if (pg_closing_retries(l->server_closing) || l->server_closing == PG_CLOSING_R1) {
		close_life(l, false, PG_CLOSE_GAVE_UP);
	} else if (l->server_closing == PG_CLOSING_ANSWERING) {
		l->server = GONE;
	} else {
		return false;
	}
	return true;
}

/* What happens by itself first, then choices of the ends and of the network. */
enum event {
	TAKE,
	TAKE_REFUSING = TAKE + KINDS,
	CLIENT_TIMER,
	SERVER_TIMER,
	CLIENT_CLOSES,
	SERVER_CLOSES,
	DATA_TO_SERVER,
	LOSE_ONE,
	DOUBLE_ONE = LOSE_ONE + KINDS,
	EVENTS = DOUBLE_ONE + KINDS
};

static bool take_kind(struct life *l, enum kind kind, bool refuses)
{
	if (!l->way[kind])
		return false;
	l->way[kind]--;
	if (kind >= S_STREAMOPEN)
		client_takes(l, kind);
	else
		server_takes(l, kind, refuses);
	return true;
}

static bool happen(struct life *l, int event)
{
	if (event < TAKE_REFUSING)
		return take_kind(l, event - TAKE, false);
	if (event == TAKE_REFUSING)
		return l->server == NEVER && take_kind(l, C_OPENSTREAM, true);
	if (event == CLIENT_TIMER)
		return client_timer(l);
	if (event == SERVER_TIMER)
		return server_timer(l);
	if (event == CLIENT_CLOSES) {
		if (l->client_opening != PG_OPENING_READY || l->client_closing != PG_CLOSING_NO)
			return false;
		close_life(l, true, PG_CLOSE_LOCAL);
		return true;
	}
	if (event == SERVER_CLOSES) {
		if (l->server != HERE || l->server_closing != PG_CLOSING_NO)
			return false;
		close_life(l, false, PG_CLOSE_LOCAL);
		return true;
	}
	if (event == DATA_TO_SERVER) {
		if (l->client_opening != PG_OPENING_READY || l->server != HERE ||
		    l->server_opening == PG_OPENING_READY || pg_closing_done(l->server_closing))
			return false;
		open_life(l, false, PG_OPEN_OTHER);
		return true;
	}
	if (event < DOUBLE_ONE) {
		if (!l->way[event - LOSE_ONE])
			return false;
		l->way[event - LOSE_ONE]--;
		return true;
	}
	if (!l->duplicates || !l->way[event - DOUBLE_ONE] ||
	    l->way[event - DOUBLE_ONE] == LIFE_WAYS)
		return false;
	l->way[event - DOUBLE_ONE]++;
	l->duplicates--;
	return true;
}

static uint8_t *life_seen, *life_event;
static uint32_t *life_path;

/* Every reachable configuration, in depth; a cycle fails. Returns how many there are. */
static uint32_t walk_lives(const struct life *from, int events)
{
	uint32_t depth = 0, reached = 0, at = life_index(from);

	memset(life_seen, NEW, LIVES);
	life_path[0] = at;
	life_seen[at] = OPEN;
	life_event[0] = 0;
	for (;;) {
		struct life l = life_at(life_path[depth]);
		int event = life_event[depth]++;

		if (event == events) {
			life_seen[life_path[depth]] = DONE;
			reached++;
			if (!depth--)
				return reached;
			continue;
		}
		if (!happen(&l, event))
			continue;
		at = life_index(&l);
		if (life_seen[at] == OPEN)
			fail_msg("an exchange without end: client %u %u, server %u %u",
				 l.client_opening, l.client_closing, l.server_opening,
				 l.server_closing);
		if (life_seen[at] == NEW) {
			life_seen[at] = OPEN;
			life_path[++depth] = at;
			life_event[depth] = 0;
		}
	}
}

static bool at_rest(const struct life *l)
{
	struct life after;

	for (int event = 0; event < CLIENT_CLOSES; event++) {
		after = *l;
		if (happen(&after, event))
			return false;
	}
	return true;
}

/*
 * Where nothing happens by itself any more, an end is CLOSE, or open and nobody closed it there.
 * Returns how often one is CLOSE and the other one open.
 */
static uint32_t check_rest(void)
{
	uint32_t alone = 0;

	for (uint32_t i = 0; i < LIVES; i++) {
		struct life l = life_at(i);
		bool client_open, server_open;

		if (life_seen[i] != DONE || !at_rest(&l))
			continue;
		client_open = client_here(&l);
		server_open = l.server == HERE;
		if (client_open) {
			assert_int_equal(l.client_opening, PG_OPENING_READY);
			assert_int_equal(l.client_closing, PG_CLOSING_NO);
		}
		if (server_open) {
			assert_int_equal(l.server_closing, PG_CLOSING_NO);
			assert_in_range(l.server_opening, PG_OPENING_GIVEN, PG_OPENING_READY);
		}
		alone += client_open != server_open;
	}
	return alone;
}

static void test_whole_life(void **state)
{
	struct life from = { .client_tries = LIFE_TRIES, .duplicates = 1 };
	uint32_t reached, alone;

	from.way[C_OPENSTREAM] = 1;
	life_seen = malloc(LIVES);
	life_event = malloc(LIVES);
	life_path = malloc(LIVES * sizeof(*life_path));
	assert_true(life_seen && life_event && life_path);
	reached = walk_lives(&from, EVENTS);
	alone = check_rest();
	print_message("%u configurations, in %u an end was not told\n", reached, alone);
	assert_in_range(reached, 20000, LIVES);
	assert_true(alone > 0);
	free(life_seen);
	free(life_event);
	free(life_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_step),
		cmocka_unit_test(test_every_opening_step),
		cmocka_unit_test(test_whole_life),
		cmocka_unit_test(test_predicates),
		cmocka_unit_test(test_two_ends),
		cmocka_unit_test(test_plain_close),
		cmocka_unit_test(test_simultaneous_close),
		cmocka_unit_test(test_without_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
