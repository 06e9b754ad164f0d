// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "timer_wheel.h"

#define TIMERS	   300
#define OPERATIONS 100000

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % below;
}

static uint64_t draw_deadline(uint64_t now)
{
	static const uint64_t spans[] = { 1, 8, 9, 100, 8192, 8200, 100000, 10000000 };
	uint64_t span = spans[draw(sizeof(spans) / sizeof(spans[0]))];

	if (!draw(20))
		return UINT64_MAX;
	if (!draw(10))
		return now - draw(now < 50 ? now + 1 : 50);
	return now + draw(span + 1);
}

static uint64_t draw_pause(void)
{
	switch (draw(20)) {
	case 0:
		return draw(20000);
	case 1:
		return draw(200);
	default:
		return draw(12);
	}
}

/* Every timer that is due is given out once, none is early, none later than a tick. */
static void collect(struct pg_wheel *wheel, struct pg_timer *timers, uint64_t *deadlines,
		    uint64_t now)
{
	struct pg_timer *due;

	while ((due = pg_wheel_due(wheel, now))) {
		size_t i = due - timers;

		assert_in_range(i, 0, TIMERS - 1);
		assert_true(deadlines[i] != UINT64_MAX);
		assert_true(deadlines[i] <= now);
		deadlines[i] = UINT64_MAX;
		assert_null(due->at);
	}
	for (size_t i = 0; i < TIMERS; i++)
		assert_true(deadlines[i] == UINT64_MAX || deadlines[i] + PG_WHEEL_TICK_MS > now);
}

static void model(uint64_t start)
{
	uint64_t deadlines[TIMERS], now = start;
	struct pg_timer timers[TIMERS];
	struct pg_wheel *wheel = malloc(sizeof(*wheel));

	assert_non_null(wheel);
	memset(timers, 0, sizeof(timers));
	memset(deadlines, 0xff, sizeof(deadlines));
	pg_wheel_init(wheel, now);
	for (uint32_t n = 0; n < OPERATIONS; n++) {
		size_t i = draw(TIMERS);
		uint32_t set = 0;

		switch (draw(8)) {
		case 0:
			pg_timer_cancel(wheel, &timers[i]);
			deadlines[i] = UINT64_MAX;
			break;
		case 1:
			now += draw_pause();
			collect(wheel, timers, deadlines, now);
			break;
		default:
			deadlines[i] = draw_deadline(now);
			/* a deadline in the past is due at the next look a tick later */
			if (deadlines[i] < now)
				deadlines[i] = now;
			pg_timer_set(wheel, &timers[i], deadlines[i]);
		}
		if (n % 64)
			continue;
		for (size_t t = 0; t < TIMERS; t++)
			set += deadlines[t] != UINT64_MAX;
		assert_int_equal(wheel->count, set);
	}
	free(wheel);
}

static void test_against_a_model(void **state)
{
	seed = 1;
	model(0);
	model(123456789);
	seed = 2;
	model(1ull << 40);
}

static void test_past_deadlines(void **state)
{
	struct pg_wheel *wheel = calloc(1, sizeof(*wheel));
	struct pg_timer timer = { 0 };

	pg_wheel_init(wheel, 100000);
	assert_null(pg_wheel_due(wheel, 100000));
	/* long ago: fires at the next tick, and again only when set again */
	for (int i = 0; i < 3; i++) {
		uint64_t now = 100000 + i * 100;

		pg_wheel_due(wheel, now);
		pg_timer_set(wheel, &timer, 5);
		assert_ptr_equal(pg_wheel_due(wheel, now + PG_WHEEL_TICK_MS), &timer);
		assert_null(pg_wheel_due(wheel, now + PG_WHEEL_TICK_MS));
	}
	pg_timer_cancel(wheel, &timer);
	pg_timer_cancel(wheel, &timer);
	assert_int_equal(wheel->count, 0);
	free(wheel);
}

/* A sleep of the length it says never oversleeps a timer by more than a tick, and always moves. */
static void test_wait(void **state)
{
	struct pg_wheel *wheel = calloc(1, sizeof(*wheel));
	struct pg_timer timer = { 0 };

	seed = 3;
	for (int i = 0; i < 2000; i++) {
		uint64_t now = 1000000 + draw(100000), deadline = now + draw(30000);
		uint32_t sleeps = 0;

		pg_wheel_init(wheel, now);
		memset(&timer, 0, sizeof(timer));
		assert_int_equal(pg_wheel_wait_ms(wheel, now), -1);
		assert_null(pg_wheel_due(wheel, now));
		pg_timer_set(wheel, &timer, deadline);
		while (!pg_wheel_due(wheel, now)) {
			int wait = pg_wheel_wait_ms(wheel, now);

			assert_in_range(wait, 1, 1008);
			now += wait;
			assert_true(++sleeps < 60);
		}
		assert_in_range(now, deadline, deadline + PG_WHEEL_TICK_MS);
	}
	free(wheel);
}

static void test_long_pause(void **state)
{
	struct pg_timer timers[2 * PG_WHEEL_SLOTS] = { 0 };
	struct pg_wheel *wheel = calloc(1, sizeof(*wheel));
	uint32_t count = 0;

	pg_wheel_init(wheel, 0);
	for (uint32_t i = 0; i < 2 * PG_WHEEL_SLOTS; i++)
		pg_timer_set(wheel, &timers[i], i * PG_WHEEL_TICK_MS);
	while (pg_wheel_due(wheel, 1ull << 45))
		count++;
	assert_int_equal(count, 2 * PG_WHEEL_SLOTS);
	assert_int_equal(wheel->count, 0);
	free(wheel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_model),
		cmocka_unit_test(test_past_deadlines),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_long_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
