// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cookie.h"

static struct pg_cookie_secrets secrets;

static const struct pg_cookie_subject somebody = {
	.source = { 0x1122334455667788, 0x99aabbccddeeff00 },
	.target = { 0x0102030405060708, 0x1112131415161718 },
	.source_port_be = 0x3412,
	.target_port_be = 0xa00f,
	.client_id_be = 0x7856,
};

static int setup(void **state)
{
	memset(&secrets, 0, sizeof(secrets));
	return pg_cookie_start(&secrets);
}

/* The 38 bytes of PROTOCOL section 5, put together by hand. */
static void test_layout(void **state)
{
	uint8_t cookie[PG_COOKIE_BYTES], text[38];
	__u64 key[2];

	memcpy(text, somebody.source, 16);
	memcpy(text + 16, somebody.target, 16);
	memcpy(text + 32, &somebody.source_port_be, 2);
	memcpy(text + 34, &somebody.target_port_be, 2);
	memcpy(text + 36, &somebody.client_id_be, 2);
	pg_cookie_renew(&secrets);
	memcpy(key, secrets.key[1], sizeof(key));
	pg_cookie_make(&secrets, &somebody, cookie);
	assert_int_equal(cookie[0], 1);
	for (int i = 1; i < 8; i++)
		assert_int_equal(cookie[i], 0);
	assert_true(pg_load_le64(cookie + 8) == pg_siphash(key, text, sizeof(text)));
	assert_true(pg_cookie_check(&secrets, &somebody, cookie));
}

static void test_every_bit(void **state)
{
	uint8_t cookie[PG_COOKIE_BYTES], zero[PG_COOKIE_BYTES] = { 0 };

	pg_cookie_make(&secrets, &somebody, cookie);
	for (int bit = 0; bit < 8 * PG_COOKIE_BYTES; bit++) {
		cookie[bit / 8] ^= 1 << bit % 8;
		if (pg_cookie_check(&secrets, &somebody, cookie))
			fail_msg("bit %d does not matter", bit);
		cookie[bit / 8] ^= 1 << bit % 8;
	}
	assert_false(pg_cookie_check(&secrets, &somebody, zero));
}

/* Another address, port or client id makes another cookie. */
static void test_every_subject(void **state)
{
	const size_t bytes = offsetof(struct pg_cookie_subject, client_id_be) + 2;
	uint8_t cookie[PG_COOKIE_BYTES];
	struct pg_cookie_subject other;

	pg_cookie_make(&secrets, &somebody, cookie);
	for (size_t i = 0; i < bytes; i++) {
		other = somebody;
		((uint8_t *)&other)[i] ^= 1;
		if (pg_cookie_check(&secrets, &other, cookie))
			fail_msg("byte %zu of the subject does not matter", i);
	}
}

/* This epoch and the last, around the wrap of the epoch's byte. */
static void test_epochs(void **state)
{
	uint8_t cookie[PG_COOKIE_BYTES];

	for (int i = 0; i < 600; i++) {
		pg_cookie_make(&secrets, &somebody, cookie);
		assert_true(pg_cookie_check(&secrets, &somebody, cookie));
		assert_int_equal(pg_cookie_renew(&secrets), 0);
		assert_true(pg_cookie_check(&secrets, &somebody, cookie));
		assert_int_equal(pg_cookie_renew(&secrets), 0);
		assert_false(pg_cookie_check(&secrets, &somebody, cookie));
	}
}

/* A cookie of an epoch that never was is worth nothing, not even at the start. */
static void test_start(void **state)
{
	static const struct pg_cookie_secrets zero;
	uint8_t cookie[PG_COOKIE_BYTES];

	for (int i = 0; i < PG_COOKIE_EPOCHS; i++)
		assert_memory_not_equal(secrets.key[i], zero.key[i], sizeof(zero.key[i]));
	pg_cookie_make(&zero, &somebody, cookie);
	assert_false(pg_cookie_check(&secrets, &somebody, cookie));
	pg_cookie_make(&secrets, &somebody, cookie);
	assert_int_equal(pg_cookie_start(&secrets), 0);
	assert_false(pg_cookie_check(&secrets, &somebody, cookie));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_layout, setup),
		cmocka_unit_test_setup(test_every_bit, setup),
		cmocka_unit_test_setup(test_every_subject, setup),
		cmocka_unit_test_setup(test_epochs, setup),
		cmocka_unit_test_setup(test_start, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
