// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tcp_sources.h"

static int set_up(void **state)
{
	struct pg_tcp_sources *sources;

	assert_int_equal(pg_tcp_sources_new(&sources), 0);
	*state = sources;
	return 0;
}

static int tear_down(void **state)
{
	pg_tcp_sources_free(*state);
	return 0;
}

static struct pg_address address_of(const char *text)
{
	struct pg_address address;

	assert_int_equal(pg_address_parse(text, &address, NULL), 0);
	return address;
}

/* Which addresses are one source. */
static const struct {
	const char *name, *first, *second;
	bool same;
} pairs[] = {
	{ "the same IPv4", "192.0.2.1", "192.0.2.1", true },
	{ "IPv4 next to it", "192.0.2.1", "192.0.2.2", false },
	{ "IPv4 that differs in its first bit", "128.0.2.1", "0.0.2.1", false },
	{ "the same IPv6", "2001:db8::1", "2001:db8::1", true },
	{ "the other end of the /64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", true },
	{ "the next /64", "2001:db8::1", "2001:db8:0:1::1", false },
	{ "IPv6 zero and a mapped IPv4", "::", "0.0.0.1", false },
};

static void test_what_is_one_source(void **state)
{
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct pg_address first = address_of(pairs[i].first);
		struct pg_address second = address_of(pairs[i].second);
		int got;

		assert_int_equal(pg_tcp_sources_take(*state, 0, &first, 1), 0);
		got = pg_tcp_sources_take(*state, 0, &second, 1);
		if (got != (pairs[i].same ? -EUSERS : 0))
			fail_msg("%s: %d", pairs[i].name, got);
		pg_tcp_sources_give(*state, 0, &first);
		if (!got)
			pg_tcp_sources_give(*state, 0, &second);
		assert_int_equal(pg_tcp_sources_count(*state), 0);
	}
}

static void test_limit(void **state)
{
	struct pg_address one = address_of("192.0.2.1"), other = address_of("192.0.2.2");

	assert_int_equal(pg_tcp_sources_take(*state, 0, &one, 0), -EUSERS);
	assert_int_equal(pg_tcp_sources_count(*state), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pg_tcp_sources_take(*state, 0, &one, 3), 0);
	assert_int_equal(pg_tcp_sources_take(*state, 0, &one, 3), -EUSERS);
	/* neither another source nor another entrance has anything of it */
	assert_int_equal(pg_tcp_sources_take(*state, 0, &other, 3), 0);
	assert_int_equal(pg_tcp_sources_take(*state, 1, &one, 3), 0);
	assert_int_equal(pg_tcp_sources_count(*state), 3);
	pg_tcp_sources_give(*state, 0, &one);
	assert_int_equal(pg_tcp_sources_take(*state, 0, &one, 3), 0);
	assert_int_equal(pg_tcp_sources_take(*state, 0, &one, 3), -EUSERS);
	/* a reload may lower the limit below what is there, and raise it again */
	assert_int_equal(pg_tcp_sources_take(*state, 0, &one, 1), -EUSERS);
	assert_int_equal(pg_tcp_sources_take(*state, 0, &one, 4), 0);
}

static struct pg_address numbered(uint32_t number)
{
	struct pg_address address = address_of("10.0.0.0");

	address.bytes[13] = number >> 16;
	address.bytes[14] = number >> 8;
	address.bytes[15] = number;
	return address;
}

/* More sources than places at the start, forgotten in another order. */
static void test_many(void **state)
{
	const uint32_t many = 5000;
	struct pg_address address;

	for (uint32_t i = 0; i < 2 * many; i++) {
		address = numbered(i % many);
		assert_int_equal(pg_tcp_sources_take(*state, 7, &address, 2), 0);
	}
	assert_int_equal(pg_tcp_sources_count(*state), many);
	for (uint32_t i = 0; i < many; i++) {
		address = numbered(i);
		assert_int_equal(pg_tcp_sources_take(*state, 7, &address, 2), -EUSERS);
		pg_tcp_sources_give(*state, 7, &address);
	}
	assert_int_equal(pg_tcp_sources_count(*state), many);
	for (uint32_t i = many; i-- > 0;) {
		address = numbered(i * 7 % many);
		pg_tcp_sources_give(*state, 7, &address);
	}
	assert_int_equal(pg_tcp_sources_count(*state), 0);
	/* one too many given changes nothing */
	address = numbered(1);
	pg_tcp_sources_give(*state, 7, &address);
	assert_int_equal(pg_tcp_sources_count(*state), 0);
}

/* Sources that are still there when all ends are freed with it (the sanitizer looks). */
static void test_left(void **state)
{
	struct pg_address address = address_of("2001:db8::1");

	assert_int_equal(pg_tcp_sources_take(*state, 15, &address, 9), 0);
	pg_tcp_sources_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_is_one_source, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_left, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
