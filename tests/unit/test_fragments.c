// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fragments.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- putting together ----------------------------------------------------------------------------
 */

/* A fragment is "3", the last one "3!"; what each but the last of a script says is 0. */
static const struct {
	const char *name, *script;
	int result; /* of the last one */
	bool complete;
} put_rows[] = {
	{ "the first", "1", 0, false },
	{ "a lone last one", "1!", 0, true },
	{ "in order", "1 2 3!", 0, true },
	{ "backwards", "3! 2 1", 0, true },
	{ "one is missing", "1 3! 4", -EINVAL, false },
	{ "twice", "1 2 2", -EEXIST, false },
	{ "the last one twice", "2! 2!", -EEXIST, false },
	{ "above the last", "2! 3", -EINVAL, false },
	{ "another last below", "3! 2!", -EINVAL, false },
	{ "another last above", "3! 4!", -EINVAL, false },
	{ "last below one that is there", "5 3!", -EINVAL, false },
	{ "the last one without its mark", "3! 3", -EINVAL, false },
	{ "a mark that was not there before", "3 3!", -EINVAL, false },
	{ "the end of all", "512!", 0, false },
};

static int play(struct pg_assembly *assembly, const char *script)
{
	int result = 0;
	char *end;

	while (*script) {
		uint32_t id = strtoul(script, &end, 10);
		bool last = *end == '!', whole = pg_assembly_completed_by(assembly, id, last);
		uint64_t before = pg_assembly_memory(assembly);
		uint64_t cost = pg_assembly_cost(assembly, id, 1);
		uint8_t byte = id;

		assert_int_equal(result, 0);
		result = pg_assembly_check(assembly, id, last);
		assert_int_equal(pg_assembly_put(assembly, id, last, &byte, 1), result);
		/* what is foretold comes true, what is refused changes nothing */
		assert_int_equal(pg_assembly_memory(assembly) - before, result ? 0 : cost);
		if (!result)
			assert_int_equal(pg_assembly_complete(assembly), whole);
		else
			assert_false(whole);
		script = end + last;
		script += *script == ' ';
	}
	return result;
}

static void test_put(void **state)
{
	for (size_t i = 0; i < COUNT(put_rows); i++) {
		struct pg_assembly *assembly = NULL;

		print_message("%s\n", put_rows[i].name);
		assert_int_equal(pg_assembly_new(&assembly), 0);
		assert_int_equal(play(assembly, put_rows[i].script), put_rows[i].result);
		assert_int_equal(pg_assembly_complete(assembly), put_rows[i].complete);
		pg_assembly_free(assembly);
	}
	pg_assembly_free(NULL);
}

/* 512 fragments of changing sizes, in an order of their own. */
static void test_drain(void **state)
{
	uint8_t *packet = malloc(PG_FRAGMENTS_MAX * 40), *out;
	uint32_t at[PG_FRAGMENTS_MAX + 1] = { 0 }, all;
	struct pg_assembly *assembly = NULL;
	uint64_t empty;

	for (uint32_t i = 0; i < PG_FRAGMENTS_MAX; i++)
		at[i + 1] = at[i] + 1 + i * 7 % 40;
	all = at[PG_FRAGMENTS_MAX];
	for (uint32_t i = 0; i < all; i++)
		packet[i] = i * 31 + (i >> 8);
	assert_int_equal(pg_assembly_new(&assembly), 0);
	empty = pg_assembly_memory(assembly);
	for (uint32_t i = 0; i < PG_FRAGMENTS_MAX; i++) {
		uint32_t k = i * 211 % PG_FRAGMENTS_MAX;

		assert_false(pg_assembly_complete(assembly));
		assert_int_equal(pg_assembly_put(assembly, k + 1, k == PG_FRAGMENTS_MAX - 1,
						 packet + at[k], at[k + 1] - at[k]),
				 0);
	}
	assert_true(pg_assembly_complete(assembly));
	assert_int_equal(pg_assembly_bytes(assembly), all);
	out = malloc(all);
	pg_assembly_drain(assembly, out);
	assert_memory_equal(out, packet, all);
	assert_int_equal(pg_assembly_memory(assembly), empty + 512 * sizeof(void *));
	pg_assembly_free(assembly);
	free(packet);
	free(out);
}

/* --- acks ----------------------------------------------------------------------------------------
 */

static void test_ack_bits(void **state)
{
	static const struct {
		const char *script;
		uint32_t id;
		bool last;
		uint32_t bytes;
		uint8_t bits[3];
	} rows[] = {
		{ "1", 1, false, 1, { 0x80 } },
		{ "2", 2, false, 1, { 0x80 } },
		{ "1 2", 2, false, 1, { 0xc0 } },
		{ "8", 8, false, 1, { 0x80 } },
		{ "1 8", 8, false, 1, { 0x81 } },
		{ "1 9", 9, false, 2, { 0x80, 0x80 } },
		{ "2 9", 9, false, 2, { 0x81, 0x00 } },
		{ "1 3 4 17!", 17, true, 3, { 0x80, 0x06, 0x80 } },
		{ "3!", 3, true, 1, { 0x80 } },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pg_assembly *assembly = NULL;
		uint8_t bits[PG_FRAGMENT_ACK_MAX];
		struct pg_fragment_set set;
		uint32_t bytes, id;
		bool last;

		print_message("%s\n", rows[i].script);
		assert_int_equal(pg_assembly_new(&assembly), 0);
		assert_int_equal(play(assembly, rows[i].script), 0);
		bytes = pg_assembly_ack(assembly, bits, &id, &last);
		assert_int_equal(bytes, rows[i].bytes);
		assert_int_equal(id, rows[i].id);
		assert_int_equal(last, rows[i].last);
		assert_memory_equal(bits, rows[i].bits, bytes);
		assert_int_equal(
			pg_fragment_ack_read(id, last, bits, bytes, last ? id : 512, 512, &set), 0);
		for (uint32_t k = 1; k <= id; k++) {
			bool held = pg_assembly_check(assembly, k, last && k == id) == -EEXIST;

			assert_int_equal(pg_fragment_set_has(&set, k), held);
		}
		pg_assembly_free(assembly);
	}
}

static void test_ack_read(void **state)
{
	static const struct {
		const char *name;
		uint32_t id;
		bool last;
		uint8_t bits[3];
		uint32_t bytes, total, sent;
		int result;
	} rows[] = {
		{ "one of three", 1, false, { 0x80 }, 1, 3, 3, 0 },
		{ "the last", 3, true, { 0xe0 }, 1, 3, 3, 0 },
		{ "all of nine", 9, true, { 0xff, 0x80 }, 2, 9, 9, 0 },
		{ "id 0", 0, false, { 0x80 }, 1, 3, 3, -EINVAL },
		{ "beyond the packet", 4, false, { 0x80 }, 1, 3, 3, -EINVAL },
		{ "the last without FIN", 3, false, { 0xe0 }, 1, 3, 3, -EINVAL },
		{ "FIN below the last", 2, true, { 0xc0 }, 1, 3, 3, -EINVAL },
		{ "too many bytes", 1, false, { 0x80, 0 }, 2, 9, 9, -EINVAL },
		{ "too few bytes", 9, true, { 0xff }, 1, 9, 9, -EINVAL },
		{ "a pad bit", 1, false, { 0xc0 }, 1, 3, 3, -EINVAL },
		{ "the last pad bit", 9, true, { 0x80, 0x81 }, 2, 9, 9, -EINVAL },
		{ "does not have what it names", 2, false, { 0x40 }, 1, 3, 3, -EINVAL },
		{ "a fragment never sent", 3, false, { 0xe0 }, 1, 9, 2, -EINVAL },
		{ "the last one sent", 2, false, { 0xc0 }, 1, 9, 2, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pg_fragment_set set = { { 77 } };

		print_message("%s\n", rows[i].name);
		assert_int_equal(pg_fragment_ack_read(rows[i].id, rows[i].last, rows[i].bits,
						      rows[i].bytes, rows[i].total, rows[i].sent,
						      &set),
				 rows[i].result);
		if (rows[i].result)
			assert_int_equal(set.words[0], 77);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_ack_bits),
		cmocka_unit_test(test_ack_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
