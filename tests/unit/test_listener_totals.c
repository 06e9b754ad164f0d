// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "diag.h"
#include "listener_totals.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct pg_tcpq_listener listener(uint64_t netns, const char *address, uint16_t port,
					uint64_t cookie, uint32_t drops)
{
	struct pg_tcpq_listener row = {
		.netns = netns, .port = port, .cookie = cookie, .drops = drops
	};

	assert_int_equal(pg_address_parse(address, &row.address, NULL), 0);
	return row;
}

/* Takes in a reading; the drops of its series. */
static size_t update(struct pg_listener_totals *totals, const struct pg_tcpq_listener *rows,
		     size_t n, uint64_t ret_drops[8])
{
	struct pg_listener_series *series = NULL;
	size_t i, count = 0;

	assert_int_equal(pg_listener_totals_update(totals, rows, n, &series, &count), 0);
	assert_in_range(count, 0, 8);
	for (i = 0; i < count; i++)
		ret_drops[i] = series[i].drops;
	free(series);
	return count;
}

static void test_group(void **state)
{
	struct pg_listener_totals *totals = NULL;
	struct pg_tcpq_listener rows[3];
	uint64_t drops[8];

	assert_int_equal(pg_listener_totals_new(&totals), 0);
	rows[0] = listener(9, "192.0.2.1", 80, 100, 5);
	rows[1] = listener(9, "192.0.2.1", 80, 101, 7);
	rows[2] = listener(3, "192.0.2.1", 80, 102, 1);
	assert_int_equal(update(totals, rows, 3, drops), 2);
	assert_true(drops[0] == 12 && drops[1] == 1);
	assert_int_equal(update(totals, rows, 3, drops), 2);
	assert_true(drops[0] == 12 && drops[1] == 1);
	/* one of the group closes: the counter stays where it was */
	rows[1].drops = 8;
	assert_int_equal(update(totals, &rows[1], 2, drops), 2);
	assert_true(drops[0] == 13 && drops[1] == 1);
	/* another takes its place */
	rows[0] = listener(9, "192.0.2.1", 80, 103, 2);
	assert_int_equal(update(totals, rows, 3, drops), 2);
	assert_true(drops[0] == 15 && drops[1] == 1);
	pg_listener_totals_free(totals);
}

static void test_wrap_and_end(void **state)
{
	struct pg_listener_totals *totals = NULL;
	struct pg_tcpq_listener row = listener(1, "::", 80, 5, UINT32_MAX);
	uint64_t drops[8];

	assert_int_equal(pg_listener_totals_new(&totals), 0);
	assert_int_equal(update(totals, &row, 1, drops), 1);
	assert_true(drops[0] == UINT32_MAX);
	row.drops = 4;
	assert_int_equal(update(totals, &row, 1, drops), 1);
	assert_true(drops[0] == UINT32_MAX + 5ull);
	assert_int_equal(update(totals, NULL, 0, drops), 0);
	/* forgotten, so it begins anew */
	assert_int_equal(update(totals, &row, 1, drops), 1);
	assert_true(drops[0] == 4);
	pg_listener_totals_free(totals);
}

static void test_sums(void **state)
{
	struct pg_listener_totals *totals = NULL;
	struct pg_listener_series *series = NULL;
	struct pg_tcpq_listener rows[2];
	size_t n = 0;

	rows[0] = listener(1, "0.0.0.0", 80, 5, 0);
	rows[0].accept_limit = UINT32_MAX;
	rows[0].syn_high = 3;
	rows[1] = rows[0];
	rows[1].cookie = 6;
	rows[1].syn_high = 4;
	assert_int_equal(pg_listener_totals_new(&totals), 0);
	assert_int_equal(pg_listener_totals_update(totals, rows, 2, &series, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(series->sockets, 2);
	assert_true(series->accept_limit == UINT32_MAX);
	assert_int_equal(series->syn_high, 7);
	free(series);
	pg_listener_totals_free(totals);
}

/* Whom inet_diag's requests belong to. */
static void test_request_of(void **state)
{
	struct pg_tcpq_listener rows[] = {
		listener(1, "::", 80, 1, 0),	    listener(1, "::", 81, 2, 0),
		listener(1, "0.0.0.0", 80, 3, 0),   listener(1, "192.0.2.1", 80, 4, 0),
		listener(1, "192.0.2.1", 82, 5, 0), listener(1, "2001:db8::1", 80, 6, 0),
	};
	static const struct {
		const char *name, *address;
		uint16_t port;
		uint64_t cookie;
	} cases[] = {
		{ "its very address", "192.0.2.1", 80, 4 },
		{ "the wildcard of its family", "192.0.2.2", 80, 3 },
		{ "an IPv6 wildcard that takes IPv4", "192.0.2.1", 81, 2 },
		{ "an IPv6 address", "2001:db8::1", 80, 6 },
		{ "the IPv6 wildcard", "2001:db8::2", 80, 1 },
		{ "no such port", "192.0.2.1", 83, 0 },
		{ "another's address", "192.0.2.2", 82, 0 },
	};
	const struct pg_tcpq_listener *found;
	struct pg_address address;
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		assert_int_equal(pg_address_parse(cases[i].address, &address, NULL), 0);
		found = pg_diag_listener(rows, COUNT(rows), &address, cases[i].port);
		if ((found ? found->cookie : 0) != cases[i].cookie)
			fail_msg("%s", cases[i].name);
	}
	rows[1].v6only = true;
	assert_int_equal(pg_address_parse("192.0.2.1", &address, NULL), 0);
	assert_null(pg_diag_listener(rows, COUNT(rows), &address, 81));
	assert_null(pg_diag_listener(rows, 0, &address, 81));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_wrap_and_end),
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_request_of),
	};

	return cmocka_run_group_tests_name("listener_totals", tests, NULL, NULL);
}
