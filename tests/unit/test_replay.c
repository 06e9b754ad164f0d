// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "prog/mutate.h"

/* Every store of a commit is seen before the next one: what a reader on another CPU may meet. */
static void (*observe)(void);

#define __atomic_store_n(where, value, order) \
	do {                                  \
		*(where) = (value);           \
		if (observe)                  \
			observe();            \
	} while (0)

#include "packgate/replay_commit.h"

#undef __atomic_store_n

#define STEPS 1000000

struct window {
	uint32_t highest;
	__u64 bits[PG_WINDOW_WORDS];
};

static enum pg_drop check(const struct window *window, uint32_t pack, uint8_t policy)
{
	return pg_replay_check(window->highest, window->bits, pack, policy);
}

/* --- a set of ids, the plainest model of a window ----------------------------------------------
 */

#define MODEL_IDS 2048

/* The last ids received, by id modulo twice the window: more than the rule can ask for. */
struct model {
	int64_t highest;
	int64_t received[MODEL_IDS];
};

static void model_init(struct model *model)
{
	model->highest = 0;
	for (int i = 0; i < MODEL_IDS; i++)
		model->received[i] = -1;
}

static enum pg_drop model_check(const struct model *model, int64_t pack, uint8_t policy)
{
	if (pack > model->highest + 1048576)
		return PG_DROP_REPLAY_AHEAD;
	if (pack > model->highest)
		return PG_DROP_NONE;
	if (policy == PG_POLICY_NEWEST)
		return PG_DROP_NOT_MONOTONIC;
	if (pack <= model->highest - 1024)
		return PG_DROP_REPLAY_OLD;
	return model->received[pack % MODEL_IDS] == pack ? PG_DROP_REPLAY_SEEN : PG_DROP_NONE;
}

static void model_commit(struct model *model, int64_t pack, bool mark)
{
	if (mark)
		model->received[pack % MODEL_IDS] = pack;
	if (pack > model->highest)
		model->highest = pack;
}

/* An id at one of the distances where a window goes wrong, from either side. */
static uint32_t draw_id(struct noise *noise, uint32_t highest)
{
	static const uint32_t steps[] = { 1,	1,    1,	2,
					  63,	64,   65,	960,
					  1022, 1023, 1024,	1025,
					  2047, 2048, 1u << 20, (1u << 20) + 1 };
	uint32_t step = steps[noise_below(noise, sizeof(steps) / sizeof(steps[0]))];
	int64_t id = (int64_t)highest + step;

	if (noise_below(noise, 2))
		id = (int64_t)highest - (noise_below(noise, 2) ? step : noise_below(noise, 1100));
	return id < 1 ? 1 : id > 0xffffffff ? 0xffffffff : id;
}

static void compare_around(const struct window *window, const struct model *model, uint8_t policy)
{
	for (int64_t id = model->highest - 1030; id <= model->highest + 2; id++)
		if (id >= 1 && id <= 0xffffffff)
			assert_int_equal(check(window, id, policy), model_check(model, id, policy));
}

static void random_walk(struct noise *noise, uint8_t policy, uint32_t start, uint32_t steps)
{
	struct window window = { 0 };
	struct model model;

	model_init(&model);
	window.highest = start;
	model.highest = start;
	for (uint32_t i = 0; i < steps; i++) {
		uint32_t id = draw_id(noise, window.highest);
		bool mark = noise_below(noise, 8) != 0;
		enum pg_drop drop = check(&window, id, policy);

		assert_int_equal(drop, model_check(&model, id, policy));
		if (drop)
			continue;
		if (mark)
			pg_replay_commit(&window.highest, window.bits, id);
		else
			pg_replay_raise(&window.highest, window.bits, id);
		model_commit(&model, id, mark);
		assert_int_equal(window.highest, model.highest);
		if (i % 997 == 0)
			compare_around(&window, &model, policy);
	}
	compare_around(&window, &model, policy);
}

static void walks_like_a_set(void **state)
{
	struct noise noise = noise_start("walks_like_a_set");

	/* from starts all over the 32 bits */
	for (uint32_t done = 0; done < STEPS; done += 2000)
		random_walk(&noise, done / 2000 % PG_POLICY_COUNT, noise_word(&noise), 2000);
}

static void walks_from_zero(void **state)
{
	struct noise noise = noise_start("walks_from_zero");

	for (int policy = 0; policy < PG_POLICY_COUNT; policy++)
		random_walk(&noise, policy, 0, 20000);
}

static void walks_into_the_top(void **state)
{
	struct noise noise = noise_start("walks_into_the_top");

	for (uint32_t below = 0; below < 200; below++)
		random_walk(&noise, below % PG_POLICY_COUNT, 0xffffffffu - below * 17, 500);
}

/* --- table -------------------------------------------------------------------------------------
 */

static void rule(void **state)
{
	static const struct {
		const char *name;
		uint32_t highest, seen, pack;
		uint8_t policy;
		enum pg_drop want;
	} rows[] = {
		{ "first", 0, 0, 1, PG_POLICY_RELIABLE, PG_DROP_NONE },
		{ "first, newest", 0, 0, 1, PG_POLICY_NEWEST, PG_DROP_NONE },
		{ "2^20 ahead", 5, 5, 5 + (1 << 20), PG_POLICY_RELIABLE, PG_DROP_NONE },
		{ "beyond", 5, 5, 6 + (1 << 20), PG_POLICY_RELIABLE, PG_DROP_REPLAY_AHEAD },
		{ "beyond, newest", 5, 5, 6 + (1 << 20), PG_POLICY_NEWEST, PG_DROP_REPLAY_AHEAD },
		{ "seen", 5000, 4999, 4999, PG_POLICY_RELIABLE, PG_DROP_REPLAY_SEEN },
		{ "seen, unordered", 5000, 4999, 4999, PG_POLICY_UNORDERED, PG_DROP_REPLAY_SEEN },
		{ "neighbour seen", 5000, 4999, 4998, PG_POLICY_RELIABLE, PG_DROP_NONE },
		{ "window's last", 5000, 5000, 5000 - 1023, PG_POLICY_RELIABLE, PG_DROP_NONE },
		{ "behind it", 5000, 5000, 5000 - 1024, PG_POLICY_RELIABLE, PG_DROP_REPLAY_OLD },
		{ "highest, newest", 5000, 1, 5000, PG_POLICY_NEWEST, PG_DROP_NOT_MONOTONIC },
		{ "older, newest", 5000, 1, 4000, PG_POLICY_NEWEST, PG_DROP_NOT_MONOTONIC },
		{ "last id", 0xfffffffe, 1, 0xffffffff, PG_POLICY_RELIABLE, PG_DROP_NONE },
		{ "no wrap", 0xffffffff, 1, 1, PG_POLICY_RELIABLE, PG_DROP_REPLAY_OLD },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct window window = { .highest = rows[i].highest };

		window.bits[rows[i].seen >> 6 & 15] |= 1ull << (rows[i].seen & 63);
		if (check(&window, rows[i].pack, rows[i].policy) != rows[i].want)
			fail_msg("%s", rows[i].name);
	}
}

/* --- committing --------------------------------------------------------------------------------
 */

/* Every bit set, then one jump: only ids that were really received still count as seen. */
static void jump_clears(uint32_t highest, uint32_t step)
{
	struct window window = { .highest = highest };
	uint32_t pack = highest + step;

	memset(window.bits, 0xff, sizeof(window.bits));
	pg_replay_commit(&window.highest, window.bits, pack);
	assert_int_equal(window.highest, pack);
	for (uint32_t back = 0; back < PG_WINDOW_IDS && back < pack; back++) {
		uint32_t id = pack - back;
		bool seen = id == pack || id <= highest;

		assert_int_equal(check(&window, id, PG_POLICY_RELIABLE),
				 seen ? PG_DROP_REPLAY_SEEN : PG_DROP_NONE);
	}
}

static void jumps(void **state)
{
	static const uint32_t steps[] = { 1,	2,    62,   63,	  64,	65,   127,
					  128,	959,  960,  961,  1022, 1023, 1024,
					  1025, 1026, 2047, 2048, 2049, 9999, 1 << 20 };
	static const uint32_t starts[] = { 0,	       1,	   62,	      63,   64,
					   65,	       1000,	   1023,      1024, 1025,
					   0x7fffffff, 0x80000000, 0xffefffff };

	for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
		for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
			for (uint32_t shift = 0; shift < 64; shift++)
				if (starts[s] + shift <= 0xffffffffu - steps[i])
					jump_clears(starts[s] + shift, steps[i]);
	}
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		jump_clears(0xffffffffu - steps[i], steps[i]); /* lands on the last id */
}

static void raise_marks_nothing(void **state)
{
	struct window window = { .highest = 100 };

	window.bits[1] = 1ull << (100 - 64);
	pg_replay_raise(&window.highest, window.bits, 150);
	assert_int_equal(window.highest, 150);
	assert_int_equal(check(&window, 150, PG_POLICY_RELIABLE), PG_DROP_NONE);
	assert_int_equal(check(&window, 100, PG_POLICY_RELIABLE), PG_DROP_REPLAY_SEEN);
	pg_replay_raise(&window.highest, window.bits, 149);
	assert_int_equal(window.highest, 150);
	pg_replay_commit(&window.highest, window.bits, 150);
	assert_int_equal(check(&window, 150, PG_POLICY_RELIABLE), PG_DROP_REPLAY_SEEN);
	pg_replay_commit(&window.highest, window.bits, 120);
	assert_int_equal(window.highest, 150);
	assert_int_equal(check(&window, 120, PG_POLICY_RELIABLE), PG_DROP_REPLAY_SEEN);
	assert_int_equal(check(&window, 121, PG_POLICY_RELIABLE), PG_DROP_NONE);
}

static void commit_twice_is_once(void **state)
{
	struct window window = { 0 }, once;

	pg_replay_commit(&window.highest, window.bits, 70);
	once = window;
	pg_replay_commit(&window.highest, window.bits, 70);
	assert_memory_equal(&window, &once, sizeof(window));
}

/* --- the gate reads while the owner writes -----------------------------------------------------
 */

static struct {
	struct window now;   /* what memory holds */
	struct model before; /* what was true when the commit began */
	struct model after;
	uint32_t pack;
	uint32_t looks;
} race;

/* What is new before and after the commit is new to everybody who looks in between. */
static void new_stays_new(void)
{
	uint32_t highest = race.after.highest;

	race.looks++;
	for (uint32_t id = highest > 1100 ? highest - 1100 : 1; id <= highest; id++) {
		if (id == race.pack || model_check(&race.before, id, PG_POLICY_RELIABLE) ||
		    model_check(&race.after, id, PG_POLICY_RELIABLE))
			continue;
		assert_int_equal(check(&race.now, id, PG_POLICY_RELIABLE), PG_DROP_NONE);
	}
	/* the highest id is published last: whoever sees it sees the bit of its packet too */
	if (race.now.highest == race.pack)
		assert_int_equal(check(&race.now, race.pack, PG_POLICY_RELIABLE),
				 PG_DROP_REPLAY_SEEN);
}

static void commit_observed(uint32_t pack)
{
	race.before = race.after;
	model_commit(&race.after, pack, true);
	race.pack = pack;
	observe = new_stays_new;
	pg_replay_commit(&race.now.highest, race.now.bits, pack);
	observe = NULL;
}

static void reader_during_writer(void **state)
{
	struct noise noise = noise_start("reader_during_writer");

	memset(&race, 0, sizeof(race));
	model_init(&race.after);
	for (int i = 0; i < 20000; i++) {
		uint32_t id = draw_id(&noise, race.now.highest);

		if (id > race.now.highest + 5000)
			id = race.now.highest + 1;
		if (!check(&race.now, id, PG_POLICY_RELIABLE))
			commit_observed(id);
	}
	assert_true(race.looks > 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rule),
		cmocka_unit_test(walks_like_a_set),
		cmocka_unit_test(walks_from_zero),
		cmocka_unit_test(walks_into_the_top),
		cmocka_unit_test(jumps),
		cmocka_unit_test(raise_marks_nothing),
		cmocka_unit_test(commit_twice_is_once),
		cmocka_unit_test(reader_during_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
