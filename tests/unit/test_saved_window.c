// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "saved_window.h"
#include "store.h"

_Static_assert(PG_SAVED_WINDOW_BYTES <= PG_STORE_WINDOW_BYTES, "the store takes every window");

static struct pg_saved_window used_window(void)
{
	struct pg_saved_window saved;

	memset(&saved, 0xa5, sizeof(saved));
	saved.highest = 4711;
	return saved;
}

static struct pg_saved_window idle_window(void)
{
	return (struct pg_saved_window){
		.window = { .handle = 77, .next_deliver = 1, .next_send = 1, .send_bound = 4097 },
	};
}

static void assert_survives(const struct pg_saved_window *saved, size_t bytes)
{
	uint8_t blob[PG_SAVED_WINDOW_BYTES];
	struct pg_saved_window back;

	assert_int_equal(pg_saved_window_pack(saved, blob), bytes);
	memset(&back, 0xff, sizeof(back));
	assert_int_equal(pg_saved_window_unpack(blob, bytes, &back), 0);
	assert_memory_equal(&back, saved, sizeof(back));
}

static void test_round_trips(void **state)
{
	struct pg_saved_window none = { 0 }, idle = idle_window(), used = used_window();

	assert_survives(&none, 16);
	assert_survives(&idle, 16 + 3 * 8);
	assert_survives(&used, PG_SAVED_WINDOW_BYTES);
}

/* Each word alone is where it was: none is taken for another. */
static void test_each_word(void **state)
{
	for (size_t i = 0; i < PG_SAVED_WINDOW_WORDS; i++) {
		uint64_t words[PG_SAVED_WINDOW_WORDS] = { 0 };
		struct pg_saved_window saved;

		words[i] = 1ull << i;
		memcpy(&saved, words, sizeof(saved));
		assert_survives(&saved, 24);
	}
}

static void assert_refused(const uint8_t *blob, size_t bytes)
{
	struct pg_saved_window back, before;

	memset(&back, 0x5a, sizeof(back));
	before = back;
	assert_int_equal(pg_saved_window_unpack(blob, bytes, &back), -EINVAL);
	assert_memory_equal(&back, &before, sizeof(back));
}

static void test_cut_or_longer(void **state)
{
	struct pg_saved_window idle = idle_window();
	uint8_t blob[PG_SAVED_WINDOW_BYTES + 1] = { 0 };
	size_t whole = pg_saved_window_pack(&idle, blob);

	for (size_t bytes = 0; bytes < sizeof(blob); bytes++)
		if (bytes != whole)
			assert_refused(blob, bytes);
}

static void test_another_build(void **state)
{
	struct pg_saved_window idle = idle_window();
	uint8_t blob[PG_SAVED_WINDOW_BYTES];
	uint64_t layout = sizeof(idle) + 8, beyond = 1ull << PG_SAVED_WINDOW_WORDS;
	size_t whole = pg_saved_window_pack(&idle, blob);

	memcpy(blob, &layout, 8);
	assert_refused(blob, whole);
	/* a word that this build does not have */
	pg_saved_window_pack(&idle, blob);
	memcpy(blob + 8, &beyond, 8);
	assert_refused(blob, 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_each_word),
		cmocka_unit_test(test_cut_or_longer),
		cmocka_unit_test(test_another_build),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
