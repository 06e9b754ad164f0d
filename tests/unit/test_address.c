// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "address.h"

struct good_row {
	const char *text;
	const char *canonical; /* NULL = text */
	uint8_t bytes[16];
};

#define V4(a, b, c, d)                                                       \
	{                                                                    \
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, (a), (b), (c), (d) \
	}

static const struct good_row good_addresses[] = {
	{ "192.0.2.7", NULL, V4(192, 0, 2, 7) },
	{ "0.0.0.0", NULL, V4(0, 0, 0, 0) },
	{ "255.255.255.255", NULL, V4(255, 255, 255, 255) },
	{ "::", NULL, { 0 } },
	{ "0:0:0:0:0:0:0:0", "::", { 0 } },
	{ "::1", NULL, { [15] = 1 } },
	{ "2001:DB8:0:0:0:0:0:1", "2001:db8::1", { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } },
	{ "2001:db8::", NULL, { 0x20, 0x01, 0x0d, 0xb8 } },
	{ "2001:db8:0:1::", NULL, { 0x20, 0x01, 0x0d, 0xb8, [7] = 1 } },
	{ "64:ff9b::1.2.3.4",
	  "64:ff9b::102:304",
	  { 0, 0x64, 0xff, 0x9b, [12] = 1, [13] = 2, [14] = 3, [15] = 4 } },
	{ "ff02::1", NULL, { 0xff, 0x02, [15] = 1 } },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	  NULL,
	  { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 } },
};

static void test_good_addresses(void **state)
{
	char text[PG_ADDRESS_TEXT];
	struct pg_address address;
	size_t i;

	for (i = 0; i < sizeof(good_addresses) / sizeof(good_addresses[0]); i++) {
		const struct good_row *row = &good_addresses[i];

		memset(&address, 0xaa, sizeof(address));
		if (pg_address_parse(row->text, &address, NULL))
			fail_msg("%s refused", row->text);
		if (memcmp(address.bytes, row->bytes, 16))
			fail_msg("%s: other bytes", row->text);
		assert_string_equal(pg_address_print(&address, text),
				    row->canonical ? row->canonical : row->text);
	}
}

struct bad_row {
	const char *text;
	const char *fragment;
};

static const struct bad_row bad_addresses[] = {
	{ "", "is not an IPv4 or IPv6 address" },
	{ " ", "is not an IPv4" },
	{ "localhost", "names are not resolved" },
	{ "1.2.3", "is not an IPv4" },
	{ "1", "is not an IPv4" },
	{ "1.2.3.4.5", "is not an IPv4" },
	{ "1.2.3.256", "is not an IPv4" },
	{ "01.2.3.4", "is not an IPv4" },
	{ "1.2.3.04", "is not an IPv4" },
	{ "0x1.2.3.4", "is not an IPv4" },
	{ "1.2.3.4 ", "is not an IPv4" },
	{ " 1.2.3.4", "is not an IPv4" },
	{ "1.2.3.4/24", "is not an IPv4" },
	{ "1.2.3.4:80", "is not an IPv4" },
	{ "1..3.4", "is not an IPv4" },
	{ "-1.2.3.4", "is not an IPv4" },
	{ ":", "is not an IPv4" },
	{ ":::", "is not an IPv4" },
	{ "1::2::3", "is not an IPv4" },
	{ "12345::", "is not an IPv4" },
	{ "1:2:3:4:5:6:7", "is not an IPv4" },
	{ "1:2:3:4:5:6:7:8:9", "is not an IPv4" },
	{ "g::", "is not an IPv4" },
	{ "[::1]", "is not an IPv4" },
	{ "::1/128", "is not an IPv4" },
	{ "fe80::1%eth0", "zones are not supported" },
	{ "::ffff:1.2.3.4", "write it as 1.2.3.4" },
	{ "::ffff:102:304", "write it as 1.2.3.4" },
	{ "::FFFF:0:0", "write it as 0.0.0.0" },
	{ "1111111111111111111111111111111111111111111111111111111111111111111111111111", "111\"" },
};

static void test_bad_addresses(void **state)
{
	struct pg_address address, before;
	struct pg_error error;
	size_t i;

	memset(&before, 0xaa, sizeof(before));
	for (i = 0; i < sizeof(bad_addresses) / sizeof(bad_addresses[0]); i++) {
		const struct bad_row *row = &bad_addresses[i];

		address = before;
		error.text[0] = '\0';
		if (pg_address_parse(row->text, &address, &error) != -EINVAL)
			fail_msg("\"%s\" accepted", row->text);
		assert_memory_equal(&address, &before, sizeof(address));
		if (!strstr(error.text, row->fragment))
			fail_msg("\"%s\": %s", row->text, error.text);
		assert_int_equal(pg_address_parse(row->text, &address, NULL), -EINVAL);
	}
}

struct peer_row {
	const char *text;
	const char *canonical; /* NULL = text */
	const char *address;
	uint16_t port;
};

static const struct peer_row good_peers[] = {
	{ "192.0.2.7:5555", NULL, "192.0.2.7", 5555 },
	{ "0.0.0.0:1", NULL, "0.0.0.0", 1 },
	{ "127.0.0.1:65535", NULL, "127.0.0.1", 65535 },
	{ "[::]:9747", NULL, "::", 9747 },
	{ "[2001:DB8::0001]:80", "[2001:db8::1]:80", "2001:db8::1", 80 },
	{ "[1111:2222:3333:4444:5555:6666:7777:8888]:10000", NULL,
	  "1111:2222:3333:4444:5555:6666:7777:8888", 10000 },
};

static void test_good_peers(void **state)
{
	struct pg_address address;
	char text[PG_PEER_TEXT];
	struct pg_peer peer;
	size_t i;

	for (i = 0; i < sizeof(good_peers) / sizeof(good_peers[0]); i++) {
		const struct peer_row *row = &good_peers[i];

		if (pg_address_parse_peer(row->text, &peer, NULL))
			fail_msg("%s refused", row->text);
		assert_int_equal(pg_address_parse(row->address, &address, NULL), 0);
		assert_true(pg_address_equal(&peer.address, &address));
		assert_int_equal(peer.port, row->port);
		assert_string_equal(pg_address_print_peer(&peer, text),
				    row->canonical ? row->canonical : row->text);
	}
}

static const struct bad_row bad_peers[] = {
	{ "", "write A.B.C.D:PORT or [v6]:PORT" },
	{ ":", "is not an IPv4" },
	{ ":80", "is not an IPv4" },
	{ "1.2.3.4", "write A.B.C.D:PORT" },
	{ "1.2.3.4:", "\"\" is not a port, allowed is 1 to 65535" },
	{ "1.2.3.4:0", "\"0\" is not a port" },
	{ "1.2.3.4:080", "is not a port" },
	{ "1.2.3.4:65536", "is not a port" },
	{ "1.2.3.4:99999", "is not a port" },
	{ "1.2.3.4:100000", "is not a port" },
	{ "1.2.3.4:4294967376", "is not a port" },
	{ "1.2.3.4:18446744073709551696", "is not a port" },
	{ "1.2.3.4:-1", "is not a port" },
	{ "1.2.3.4:+80", "is not a port" },
	{ "1.2.3.4: 80", "is not a port" },
	{ "1.2.3.4:80 ", "is not a port" },
	{ "1.2.3.4:http", "is not a port" },
	{ "1.2.3.4:80:90", "write A.B.C.D:PORT" },
	{ "1.2.3.4 :80", "is not an IPv4" },
	{ "example.com:80", "names are not resolved" },
	{ "::1:80", "[v6]:PORT" },
	{ "2001:db8::1", "[v6]:PORT" },
	{ "[::1]", "[v6]:PORT" },
	{ "[::1]80", "[v6]:PORT" },
	{ "[::1", "[v6]:PORT" },
	{ "[::1]:", "is not a port" },
	{ "[::1]:0", "is not a port" },
	{ "[]:80", "is not an IPv4" },
	{ "[[::1]]:80", "write A.B.C.D:PORT" },
	{ "[1.2.3.4]:80", "only IPv6 stands in brackets" },
	{ "[::ffff:1.2.3.4]:80", "write it as 1.2.3.4" },
	{ "[fe80::1%eth0]:80", "zones are not supported" },
	{ "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]:80", "too long" },
};

static void test_bad_peers(void **state)
{
	struct pg_peer peer, before;
	struct pg_error error;
	size_t i;

	memset(&before, 0xaa, sizeof(before));
	for (i = 0; i < sizeof(bad_peers) / sizeof(bad_peers[0]); i++) {
		const struct bad_row *row = &bad_peers[i];

		peer = before;
		error.text[0] = '\0';
		if (pg_address_parse_peer(row->text, &peer, &error) != -EINVAL)
			fail_msg("\"%s\" accepted", row->text);
		assert_memory_equal(&peer, &before, sizeof(peer));
		if (!strstr(error.text, row->fragment))
			fail_msg("\"%s\": %s", row->text, error.text);
		assert_int_equal(pg_address_parse_peer(row->text, &peer, NULL), -EINVAL);
	}
}

struct kind_row {
	const char *text;
	bool ipv4, any, group;
};

static const struct kind_row kinds[] = {
	{ "0.0.0.0", true, true, false },	   { "::", false, true, false },
	{ "0.0.0.1", true, false, false },	   { "::1", false, false, false },
	{ "::1.2.3.4", false, false, false },	   { "127.0.0.1", true, false, false },
	{ "223.255.255.255", true, false, false }, { "224.0.0.0", true, false, true },
	{ "239.255.255.255", true, false, true },  { "240.0.0.0", true, false, false },
	{ "255.255.255.254", true, false, false }, { "255.255.255.255", true, false, true },
	{ "feff::1", false, false, false },	   { "ff00::", false, false, true },
};

static void test_kinds(void **state)
{
	struct pg_address address;
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct kind_row *row = &kinds[i];

		assert_int_equal(pg_address_parse(row->text, &address, NULL), 0);
		if (pg_address_is_ipv4(&address) != row->ipv4 ||
		    pg_address_is_any(&address) != row->any ||
		    pg_address_is_group(&address) != row->group)
			fail_msg("%s: taken for another kind", row->text);
	}
}

static void test_equal(void **state)
{
	struct pg_address v4_any, v6_any, same;

	assert_int_equal(pg_address_parse("0.0.0.0", &v4_any, NULL), 0);
	assert_int_equal(pg_address_parse("::", &v6_any, NULL), 0);
	assert_int_equal(pg_address_parse("0:0::0", &same, NULL), 0);
	assert_false(pg_address_equal(&v4_any, &v6_any));
	assert_true(pg_address_equal(&v6_any, &same));
}

/* What is printed reads back to the same value, for any bytes. */
static void test_round_trip(void **state)
{
	char text[PG_PEER_TEXT];
	struct pg_peer peer, back;
	size_t i, j;

	srandom(4000);
	for (i = 0; i < 20000; i++) {
		for (j = 0; j < sizeof(peer.address.bytes); j++)
			peer.address.bytes[j] = random() & 1 ? 0 : (uint8_t)random();
		if (random() & 1)
			assert_int_equal(pg_address_parse("0.0.0.0", &peer.address, NULL), 0);
		peer.address.bytes[15] = (uint8_t)random();
		peer.port = (uint16_t)(1 + random() % 65535);
		if (pg_address_parse_peer(pg_address_print_peer(&peer, text), &back, NULL))
			fail_msg("%s refused", text);
		assert_true(pg_address_equal(&peer.address, &back.address));
		assert_int_equal(peer.port, back.port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_addresses), cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_good_peers),     cmocka_unit_test(test_bad_peers),
		cmocka_unit_test(test_kinds),	       cmocka_unit_test(test_equal),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
