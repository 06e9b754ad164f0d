// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "congestion.h"
#include "rtt.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DATAGRAM     1000

static const struct pg_rtt_limits limits = { 500, 100, 8000 };

/* --- round trip ----------------------------------------------------------------------------------
 */

static void test_timeouts(void **state)
{
	static const struct {
		const char *name;
		uint64_t samples[6]; /* ms, to the first 0 */
		uint32_t backoff, timeout_ms;
	} rows[] = {
		{ "none", { 0 }, 0, 500 },
		{ "none, doubled", { 0 }, 1, 1000 },
		{ "none, doubled to the end", { 0 }, 4, 8000 },
		{ "none, far beyond the end", { 0 }, 4000000000u, 8000 },
		{ "one: three times", { 200 }, 0, 600 },
		{ "one, small: the least", { 20 }, 0, 100 },
		{ "one, just above the least", { 34 }, 0, 102 },
		{ "the least, doubled", { 20 }, 3, 800 },
		{ "one, huge: the most", { 5000 }, 0, 8000 },
		{ "no sample is endless", { UINT64_MAX }, 0, 8000 },
		/* variation 300 then 225: 200 + 4 * 50 * 3/4 */
		{ "steady", { 200, 200 }, 0, 500 },
		/* smoothed 200 + 80 / 8, variation 4 * (100 * 3/4 + 80 / 4) */
		{ "a late one", { 200, 280 }, 0, 590 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pg_rtt rtt = { 0 };

		print_message("%s\n", rows[i].name);
		for (size_t k = 0; rows[i].samples[k]; k++)
			pg_rtt_sample(&rtt, rows[i].samples[k] > UINT64_MAX / 1000
						    ? UINT64_MAX
						    : rows[i].samples[k] * 1000);
		assert_int_equal(pg_rtt_timeout_ms(&rtt, &limits, rows[i].backoff),
				 rows[i].timeout_ms);
	}
}

static void test_smoothed(void **state)
{
	struct pg_rtt rtt = { 0 };

	assert_false(pg_rtt_known(&rtt));
	assert_int_equal(pg_rtt_smoothed_us(&rtt, &limits), 250000);
	pg_rtt_sample(&rtt, 0); /* below the clock's grain */
	assert_true(pg_rtt_known(&rtt));
	assert_int_equal(rtt.least_us, 1);
	assert_int_equal(pg_rtt_smoothed_us(&rtt, &limits), 1);
	for (int i = 0; i < 100; i++)
		pg_rtt_sample(&rtt, 80);
	assert_in_range(pg_rtt_smoothed_us(&rtt, &limits), 72, 80);
	assert_int_equal(rtt.least_us, 1);
	for (int i = 0; i < 200; i++)
		pg_rtt_sample(&rtt, 3);
	assert_in_range(pg_rtt_smoothed_us(&rtt, &limits), 3, 4);
	assert_int_equal(rtt.latest_us, 3);
}

/* --- window --------------------------------------------------------------------------------------
 */

static uint64_t order;

/* Fills the window and returns how many frames that took. */
static uint32_t fill(struct pg_congestion *c)
{
	uint32_t count = 0;

	for (; pg_congestion_allows(c, DATAGRAM); count++) {
		pg_congestion_sent(c, DATAGRAM, false);
		order++;
	}
	return count;
}

static void start(struct pg_congestion *c)
{
	order = 0;
	pg_congestion_init(c, DATAGRAM);
}

static void test_slow_start(void **state)
{
	struct pg_congestion c;

	start(&c);
	assert_int_equal(fill(&c), 10);
	for (int i = 0; i < 10; i++) {
		pg_congestion_acked(&c, DATAGRAM, i + 1, 1);
		assert_int_equal(fill(&c), 2);
	}
	/* a window of acks doubles it */
	assert_int_equal(c.window, 20 * DATAGRAM);
	for (int i = 0; i < 20; i++)
		pg_congestion_acked(&c, DATAGRAM, i + 11, 1);
	assert_int_equal(c.in_flight, 0);
	/* an application that does not use its window does not widen it */
	for (int i = 0; i < 100; i++) {
		uint64_t window = c.window;

		pg_congestion_sent(&c, DATAGRAM, false);
		pg_congestion_acked(&c, DATAGRAM, ++order, 1);
		assert_int_equal(c.window, window);
	}
}

static void test_one_reduction_a_round_trip(void **state)
{
	struct pg_congestion c;
	uint64_t half;

	start(&c);
	fill(&c);
	pg_congestion_lost(&c, DATAGRAM, 1, 100, order + 1, 0);
	half = c.window;
	assert_int_equal(half, 5 * DATAGRAM);
	pg_congestion_lost(&c, DATAGRAM, 2, 100, order + 1, 0);
	assert_int_equal(c.window, half);
	/* acks of what was sent before say nothing new either */
	pg_congestion_acked(&c, DATAGRAM, 3, 100);
	assert_int_equal(c.window, half);
	assert_int_equal(c.in_flight, 7 * DATAGRAM);
	assert_false(pg_congestion_allows(&c, DATAGRAM));
	/* a loss of something sent afterwards is another one */
	for (int i = 4; i <= 10; i++)
		pg_congestion_acked(&c, DATAGRAM, i, 100);
	fill(&c);
	pg_congestion_lost(&c, DATAGRAM, 11, 200, order + 1, 0);
	assert_int_equal(c.window, half / 2);
	/* never below two datagrams */
	for (int i = 0; i < 10; i++) {
		pg_congestion_sent(&c, DATAGRAM, false);
		order++;
		pg_congestion_lost(&c, DATAGRAM, order, 300, order + 1, 0);
	}
	assert_int_equal(c.window, 2 * DATAGRAM);
}

/* A datagram a window of acks. */
static void test_congestion_avoidance(void **state)
{
	struct pg_congestion c;
	uint64_t before, sum = 0;

	start(&c);
	fill(&c);
	pg_congestion_lost(&c, DATAGRAM, 1, 100, order + 1, 0);
	for (int i = 2; i <= 10; i++)
		pg_congestion_acked(&c, DATAGRAM, i, 100);
	before = c.window;
	while (sum < before) {
		fill(&c);
		pg_congestion_acked(&c, DATAGRAM, order, 200);
		sum += DATAGRAM;
	}
	assert_int_equal(c.window, before + DATAGRAM);
}

static void test_persistent_congestion(void **state)
{
	static const struct {
		const char *name;
		uint64_t lost_us[3], acked_us; /* 0 = none; before the last loss */
		uint64_t persistent_us;
		bool persists;
	} rows[] = {
		{ "long enough", { 1000, 2000, 2500 }, 0, 1500, true },
		{ "not quite", { 1000, 2000, 2499 }, 0, 1500, false },
		{ "not known yet", { 1000, 2000, 9000 }, 0, 0, false },
		{ "one in between arrived", { 1000, 2000, 2500 }, 1500, 1500, false },
		{ "an earlier one arrived", { 1000, 2000, 2500 }, 900, 1500, true },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pg_congestion c;

		print_message("%s\n", rows[i].name);
		start(&c);
		fill(&c);
		for (int k = 0; k < 3; k++) {
			if (k == 2 && rows[i].acked_us)
				pg_congestion_acked(&c, DATAGRAM, 9, rows[i].acked_us);
			pg_congestion_lost(&c, DATAGRAM, k + 1, rows[i].lost_us[k], order + 1,
					   rows[i].persistent_us);
		}
		assert_int_equal(c.window, (rows[i].persists ? 2 : 5) * DATAGRAM);
	}
}

static void test_slow(void **state)
{
	struct pg_congestion c;

	start(&c);
	fill(&c);
	pg_congestion_slow(&c, order + 1);
	assert_int_equal(c.window, 2 * DATAGRAM);
	assert_int_equal(c.slow_start_to, 5 * DATAGRAM);
	assert_false(pg_congestion_allows(&c, DATAGRAM));
	/* again while the window grows back: slow start still goes as far */
	pg_congestion_slow(&c, order + 1);
	assert_int_equal(c.window, 2 * DATAGRAM);
	assert_int_equal(c.slow_start_to, 5 * DATAGRAM);
	for (int i = 1; i <= 10; i++)
		pg_congestion_forget(&c, DATAGRAM);
	assert_int_equal(c.in_flight, 0);
	/* whatever the window, one frame may be on its way */
	c.window = 1;
	assert_true(pg_congestion_allows(&c, DATAGRAM));
}

/* --- pace ----------------------------------------------------------------------------------------
 */

static void test_pace(void **state)
{
	struct pg_congestion c;
	uint64_t now = 5000000, end = now + 10000000, sent = 0, at;

	start(&c);
	c.window = 100 * DATAGRAM; /* at 100 ms a round trip: 1250 bytes a millisecond */
	pg_congestion_pace(&c, 100000, now);
	while (now < end) {
		at = pg_congestion_pace(&c, 100000, now);
		if (at > now) {
			now = at;
			continue;
		}
		pg_congestion_sent(&c, DATAGRAM, true);
		sent += DATAGRAM;
	}
	assert_in_range(sent, 12400000, 12600000);
	/* after a silence no more than a burst leaves at once */
	now += 100000000;
	for (sent = 0; pg_congestion_pace(&c, 100000, now) <= now; sent += DATAGRAM)
		pg_congestion_sent(&c, DATAGRAM, true);
	assert_in_range(sent, 16 * 1250, 18 * 1250 + DATAGRAM);
	/* a clock that steps back neither gives nor takes */
	at = pg_congestion_pace(&c, 100000, now - 50000);
	assert_in_range(at, now - 49999, now - 40000);
}

/* A timer that comes late loses no bandwidth. */
static void test_pace_with_a_coarse_timer(void **state)
{
	struct pg_congestion c;
	uint64_t sent = 0;

	start(&c);
	c.window = 100 * DATAGRAM;
	for (uint64_t now = 8000; now <= 8000000; now += 8000)
		while (pg_congestion_pace(&c, 100000, now) <= now) {
			pg_congestion_sent(&c, DATAGRAM, true);
			sent += DATAGRAM;
		}
	assert_in_range(sent, 9900000, 10100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_smoothed),
		cmocka_unit_test(test_slow_start),
		cmocka_unit_test(test_one_reduction_a_round_trip),
		cmocka_unit_test(test_congestion_avoidance),
		cmocka_unit_test(test_persistent_congestion),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_pace),
		cmocka_unit_test(test_pace_with_a_coarse_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
