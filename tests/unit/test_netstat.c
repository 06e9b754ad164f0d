// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "netstat.h"
#include "packgate/tcpq.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define BIT(field)  (1U << PG_NETSTAT_##field)

struct good_row {
	const char *name;
	const char *text;
	uint32_t present;
	uint64_t values[PG_NETSTAT_FIELDS];
};

static const struct good_row good_rows[] = {
	{ "nothing", "", 0, { 0 } },
	{ "one field",
	  "TcpExt: ListenDrops\nTcpExt: 7\n",
	  BIT(listen_drops),
	  { [PG_NETSTAT_listen_drops] = 7 } },
	{ "zero is present", "TcpExt: ListenDrops\nTcpExt: 0\n", BIT(listen_drops), { 0 } },
	{ "order is free",
	  "TcpExt: TW X ListenDrops ListenOverflows\nTcpExt: 1 2 3 4\n",
	  BIT(tw) | BIT(listen_drops) | BIT(listen_overflows),
	  { [PG_NETSTAT_tw] = 1,
	    [PG_NETSTAT_listen_drops] = 3,
	    [PG_NETSTAT_listen_overflows] = 4 } },
	{ "the largest number",
	  "TcpExt: TW\nTcpExt: 18446744073709551615\n",
	  BIT(tw),
	  { [PG_NETSTAT_tw] = UINT64_MAX } },
	{ "a foreign number may be anything",
	  "Tcp: MaxConn PassiveOpens Odd\nTcp: -1 9 x\n",
	  BIT(passive_opens),
	  { [PG_NETSTAT_passive_opens] = 9 } },
	{ "the name in another table", "IpExt: ListenDrops TW\nIpExt: 3 4\n", 0, { 0 } },
	{ "the table's name is not a prefix",
	  "Tcp: TW\nTcp: 3\nTcpExtra: TW\nTcpExtra: 4\n",
	  0,
	  { 0 } },
	{ "the field's name is not a prefix",
	  "TcpExt: TWRecycled T ListenDrop\nTcpExt: 3 4 5\n",
	  0,
	  { 0 } },
	{ "names are case sensitive", "TcpExt: tw\nTcpExt: 3\n", 0, { 0 } },
	{ "a table without names", "IcmpMsg: \nIcmpMsg: \n", 0, { 0 } },
	{ "spaces are free", "TcpExt:  TW   X \nTcpExt:3   4\n", BIT(tw), { [PG_NETSTAT_tw] = 3 } },
	{ "one table in two pairs",
	  "TcpExt: TW\nTcpExt: 3\nTcpExt: ListenDrops\nTcpExt: 4\n",
	  BIT(tw) | BIT(listen_drops),
	  { [PG_NETSTAT_tw] = 3, [PG_NETSTAT_listen_drops] = 4 } },
};

static void test_good(void **state)
{
	size_t i;

	for (i = 0; i < COUNT(good_rows); i++) {
		const struct good_row *row = &good_rows[i];
		struct pg_netstat netstat = { 0 };

		if (pg_netstat_parse(row->text, strlen(row->text), &netstat))
			fail_msg("%s: refused", row->name);
		if (netstat.present != row->present)
			fail_msg("%s: present %#x", row->name, netstat.present);
		if (memcmp(netstat.values, row->values, sizeof(row->values)))
			fail_msg("%s: other values", row->name);
	}
}

struct bad_row {
	const char *name;
	const char *text;
};

static const struct bad_row bad_rows[] = {
	{ "no end of line", "TcpExt: TW\nTcpExt: 3" },
	{ "names alone", "TcpExt: TW\n" },
	{ "an odd line after a pair", "TcpExt: TW\nTcpExt: 3\nIpExt: X\n" },
	{ "empty line", "\n" },
	{ "empty lines", "\n\n" },
	{ "no colon", "TcpExt TW\nTcpExt 3\n" },
	{ "no colon in the values", "TcpExt: TW\nTcpExt 3\n" },
	{ "another table's values", "TcpExt: TW\nIpExt: 3\n" },
	{ "the values' table is longer", "TcpExt: TW\nTcpExtr: 3\n" },
	{ "the values' table is shorter", "TcpExt: TW\nTcp: 3\n" },
	{ "fewer values", "TcpExt: TW ListenDrops\nTcpExt: 3\n" },
	{ "more values", "TcpExt: TW\nTcpExt: 3 4\n" },
	{ "no values", "TcpExt: TW\nTcpExt:\n" },
	{ "fewer values in a foreign table", "IpExt: A B\nIpExt: 3\n" },
	{ "negative", "TcpExt: TW\nTcpExt: -1\n" },
	{ "signed", "TcpExt: TW\nTcpExt: +1\n" },
	{ "a word", "TcpExt: TW\nTcpExt: x\n" },
	{ "a word after digits", "TcpExt: TW\nTcpExt: 3x\n" },
	{ "hexadecimal", "TcpExt: TW\nTcpExt: 0x3\n" },
	{ "one too large", "TcpExt: TW\nTcpExt: 18446744073709551616\n" },
	{ "much too large", "TcpExt: TW\nTcpExt: 99999999999999999999999\n" },
	{ "twice in a pair", "TcpExt: TW TW\nTcpExt: 3 3\n" },
	{ "twice in two pairs", "TcpExt: TW\nTcpExt: 3\nTcpExt: TW\nTcpExt: 3\n" },
	{ "a tab is no space", "TcpExt:\tTW\nTcpExt: 3 4\n" },
};

static void assert_refused(const char *name, const char *text, size_t bytes)
{
	struct pg_netstat netstat, before;
	int err;

	memset(&before, 0x5a, sizeof(before));
	before.present = BIT(embryonic_rsts);
	netstat = before;
	err = pg_netstat_parse(text, bytes, &netstat);
	if (err != -EBADMSG)
		fail_msg("%s: returned %d", name, err);
	if (memcmp(&netstat, &before, sizeof(before)))
		fail_msg("%s: something was written", name);
}

static void test_bad(void **state)
{
	size_t i;

	for (i = 0; i < COUNT(bad_rows); i++)
		assert_refused(bad_rows[i].name, bad_rows[i].text, strlen(bad_rows[i].text));
	assert_refused("NUL", "TcpExt: TW\nTcpExt: 3\0\n", 23);
}

static const char whole[] = "TcpExt: SyncookiesSent ListenOverflows TW\nTcpExt: 10 20 30\n"
			    "IpExt: InOctets\nIpExt: 5\n";

/* No cut yields a wrong number: a pair is there whole or the text is refused. */
static void test_every_cut(void **state)
{
	size_t pair = strchr(strchr(whole, '\n') + 1, '\n') + 1 - whole;
	size_t bytes;

	for (bytes = 0; bytes < sizeof(whole); bytes++) {
		struct pg_netstat netstat = { 0 };
		/* a copy of its own, so that a read past the end is seen */
		char *text = malloc(bytes + !bytes);
		int err;

		memcpy(text, whole, bytes);
		err = pg_netstat_parse(text, bytes, &netstat);
		free(text);
		if (bytes != 0 && bytes != pair && bytes != sizeof(whole) - 1)
			assert_int_equal(err, -EBADMSG);
		else
			assert_int_equal(err, 0);
		if (bytes < pair || err) {
			assert_int_equal(netstat.present, 0);
			continue;
		}
		assert_int_equal(netstat.values[PG_NETSTAT_syncookies_sent], 10);
		assert_int_equal(netstat.values[PG_NETSTAT_listen_overflows], 20);
		assert_int_equal(netstat.values[PG_NETSTAT_tw], 30);
	}
}

/* Any byte anywhere: no crash, and what is taken in is never more than the text names. */
static void test_every_byte(void **state)
{
	char text[sizeof(whole)];
	size_t at;
	int byte;

	for (at = 0; at < sizeof(whole) - 1; at++) {
		for (byte = 0; byte < 256; byte++) {
			struct pg_netstat netstat = { 0 };

			memcpy(text, whole, sizeof(whole));
			text[at] = (char)byte;
			if (pg_netstat_parse(text, sizeof(whole) - 1, &netstat))
				assert_int_equal(netstat.present, 0);
			else
				assert_int_equal(netstat.present &
							 ~(BIT(syncookies_sent) |
							   BIT(listen_overflows) | BIT(tw)),
						 0);
		}
	}
}

static void test_two_files(void **state)
{
	static const char netstat_text[] = "TcpExt: TW\nTcpExt: 3\n";
	static const char snmp_text[] = "Tcp: PassiveOpens\nTcp: 4\n";
	struct pg_netstat netstat = { 0 };

	assert_int_equal(pg_netstat_parse(netstat_text, sizeof(netstat_text) - 1, &netstat), 0);
	assert_int_equal(pg_netstat_parse(snmp_text, sizeof(snmp_text) - 1, &netstat), 0);
	assert_true(pg_netstat_has(&netstat, PG_NETSTAT_tw));
	assert_true(pg_netstat_has(&netstat, PG_NETSTAT_passive_opens));
	assert_false(pg_netstat_has(&netstat, PG_NETSTAT_listen_drops));
	assert_int_equal(netstat.values[PG_NETSTAT_tw], 3);
	assert_int_equal(netstat.values[PG_NETSTAT_passive_opens], 4);
}

static bool is_metric(const char *name)
{
	size_t length = strlen(name);

	return !strncmp(name, "packgate_tcp_", 13) && length > 19 &&
	       !strcmp(name + length - 6, "_total") &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static void test_list(void **state)
{
	int i, j;

	for (i = 0; i < PG_NETSTAT_FIELDS; i++) {
		assert_true(is_metric(pg_netstat_info[i].metric));
		assert_true(pg_netstat_info[i].help[0]);
		for (j = 0; j < i; j++) {
			assert_string_not_equal(pg_netstat_info[i].metric,
						pg_netstat_info[j].metric);
			assert_string_not_equal(pg_netstat_info[i].kernel,
						pg_netstat_info[j].kernel);
		}
	}
}

/* This kernel has every field of the list. */
static void test_running_kernel(void **state)
{
	struct pg_netstat_sysctls sysctls;
	struct pg_error error = { "" };
	struct pg_netstat netstat;
	struct pg_netstat_sockets sockets;

	if (pg_netstat_read(&netstat, &sockets, &error) || pg_netstat_sysctls(&sysctls, &error))
		fail_msg("%s", error.text);
	assert_int_equal(netstat.present, (1U << PG_NETSTAT_FIELDS) - 1);
	assert_true(sysctls.tcp_max_syn_backlog != PG_NETSTAT_NO_SYSCTL);
	assert_true(sysctls.somaxconn > 0);
	assert_in_range(sysctls.tcp_abort_on_overflow, 0, 1);
}

static const struct socket_row {
	const char *name, *text;
	int err;
	struct pg_netstat_sockets sockets;
} socket_rows[] = {
	{ "nothing", "", 0, { 0 } },
	{ "as the kernel has it",
	  "sockets: used 16\nTCP: inuse 5 orphan 1 tw 7 alloc 9 mem 219\nUDP: inuse 3 mem 1\n",
	  0,
	  { 5, 0, 7 } },
	{ "IPv6", "TCP6: inuse 4\nUDP6: inuse 2\n", 0, { 4, 0, 0 } },
	{ "both are added", "TCP: inuse 5 tw 7\nTCP6: inuse 4\n", 0, { 9, 0, 7 } },
	{ "a line without its end", "TCP: inuse 5", -EBADMSG, { 0 } },
	{ "a name without its value", "TCP: inuse\n", -EBADMSG, { 0 } },
	{ "not a number", "TCP: inuse -5\n", -EBADMSG, { 0 } },
	{ "no table", "inuse 5\n", -EBADMSG, { 0 } },
	{ "good, then bad", "TCP: inuse 5\nTCP6: inuse x\n", -EBADMSG, { 0 } },
};

static void test_sockets(void **state)
{
	size_t i;

	for (i = 0; i < COUNT(socket_rows); i++) {
		const struct socket_row *row = &socket_rows[i];
		struct pg_netstat_sockets sockets = { 0 };
		int err = pg_netstat_parse_sockets(row->text, strlen(row->text), &sockets);

		if (err != row->err || memcmp(&sockets, &row->sockets, sizeof(sockets)))
			fail_msg("%s: %d", row->name, err);
	}
}

struct limit_row {
	const char *name;
	uint32_t accept_limit, syncookies;
	int32_t max_syn_backlog;
	uint32_t limit;
};

static const struct limit_row limit_rows[] = {
	{ "cookies: one above the backlog", 128, 1, 4, 129 },
	{ "cookies always: nothing is queued", 128, 2, 4096, 0 },
	{ "no cookies, the backlog decides", 16, 0, 256, 17 },
	{ "no cookies, max_syn_backlog decides", 64, 0, 40, 31 },
	{ "a quarter is rounded down", 64, 0, 43, 34 },
	{ "a small one has no quarter", 64, 0, 3, 4 },
	{ "both bounds equal", 30, 0, 40, 31 },
	{ "the backlog one below", 29, 0, 40, 30 },
	{ "no backlog", 0, 1, 2048, 1 },
	{ "no backlog, no cookies", 0, 0, 2048, 1 },
	{ "max_syn_backlog 0", 64, 0, 0, 1 },
	{ "max_syn_backlog -1", 64, 0, -1, 1 },
	{ "max_syn_backlog -4", 64, 0, -4, 0 },
	{ "the smallest max_syn_backlog", 64, 0, INT32_MIN, 0 },
	{ "the largest of both", UINT32_MAX, 1, INT32_MAX, UINT32_MAX },
	{ "the largest, no cookies", UINT32_MAX, 0, INT32_MAX, 1610612737 },
};

static void test_syn_limit(void **state)
{
	size_t i;

	for (i = 0; i < COUNT(limit_rows); i++) {
		const struct limit_row *row = &limit_rows[i];
		uint32_t limit =
			pg_tcpq_syn_limit(row->accept_limit, row->syncookies, row->max_syn_backlog);

		if (limit != row->limit)
			fail_msg("%s: %u, not %u", row->name, limit, row->limit);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	  cmocka_unit_test(test_bad),
		cmocka_unit_test(test_every_cut), cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_two_files), cmocka_unit_test(test_list),
		cmocka_unit_test(test_sockets),	  cmocka_unit_test(test_running_kernel),
		cmocka_unit_test(test_syn_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
