// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The rate of unmatched frames a source has in socket mode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "source_rate.h"

#define START 1000000000ull

static void ipv4(uint32_t address, uint64_t ret_source[2])
{
	ret_source[0] = 0;
	ret_source[1] = (uint64_t)address << 32 | 0xffff0000;
}

/* How many of count frames are let through. */
static uint32_t burst(struct pg_source_rate *rate, const uint64_t source[2], uint32_t per_second,
		      uint64_t now_ms, uint32_t count)
{
	uint32_t taken = 0;

	for (uint32_t i = 0; i < count; i++)
		taken += pg_source_rate_take(rate, source, per_second, now_ms);
	return taken;
}

static const struct rate_row {
	const char *name;
	uint32_t per_second;
	uint64_t first_ms, wait_ms;
	uint32_t first, second; /* of 5000 frames at first_ms, and of as many wait_ms later */
} rows[] = {
	{ "nothing is allowed", 0, START, 1000, 0, 0 },
	{ "one a second, too early", 1, START, 999, 1, 0 },
	{ "one a second", 1, START, 1000, 1, 1 },
	{ "a second's worth at once", 100, START, 0, 100, 0 },
	{ "refills", 100, START, 10, 100, 1 },
	{ "a part of a token is kept", 100, START, 15, 100, 1 },
	{ "never above a second's worth", 100, START, 1000000, 100, 100 },
	{ "a long time later", 100, START, 1ull << 40, 100, 100 },
	{ "from the clock's start", 100, 0, 500, 100, 50 },
	{ "more than is asked", 1000000, START, 0, 5000, 5000 },
};

static void bucket_rows(void **state)
{
	int wrong = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pg_source_rate *rate;
		uint32_t first, second;
		uint64_t source[2];

		assert_int_equal(pg_source_rate_new(&rate), 0);
		ipv4(0x0100000a, source);
		first = burst(rate, source, rows[i].per_second, rows[i].first_ms, 5000);
		second = burst(rate, source, rows[i].per_second, rows[i].first_ms + rows[i].wait_ms,
			       5000);
		if (first != rows[i].first || second != rows[i].second) {
			print_error("%s: %u then %u\n", rows[i].name, first, second);
			wrong++;
		}
		pg_source_rate_free(rate);
	}
	assert_int_equal(wrong, 0);
}

/* Small steps of time give the same sum as one large step. */
static void steps_add_up(void **state)
{
	struct pg_source_rate *rate;
	uint32_t taken = 0;
	uint64_t source[2];

	assert_int_equal(pg_source_rate_new(&rate), 0);
	ipv4(0x0100000a, source);
	assert_int_equal(burst(rate, source, 7, START, 100), 7);
	for (uint32_t ms = 1; ms <= 10000; ms++)
		taken += pg_source_rate_take(rate, source, 7, START + ms);
	assert_int_equal(taken, 70);
	pg_source_rate_free(rate);
}

/* Addresses of IPv4 are sources each; of IPv6 those of one /64 are one. */
static void what_a_source_is(void **state)
{
	uint64_t one[2], other[2], net[2] = { 0x1234, 1 }, same[2] = { 0x1234, 0xffff0000 },
				   next[2] = { 0x1235, 1 };
	struct pg_source_rate *rate;

	assert_int_equal(pg_source_rate_new(&rate), 0);
	ipv4(0x0100000a, one);
	ipv4(0x0200000a, other);
	assert_int_equal(burst(rate, one, 5, START, 10), 5);
	assert_int_equal(burst(rate, other, 5, START, 10), 5);
	assert_int_equal(burst(rate, net, 5, START, 10), 5);
	assert_int_equal(burst(rate, same, 5, START, 10), 0);
	assert_int_equal(burst(rate, next, 5, START, 10), 5);
	pg_source_rate_free(rate);
	pg_source_rate_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bucket_rows),
		cmocka_unit_test(steps_add_up),
		cmocka_unit_test(what_a_source_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
