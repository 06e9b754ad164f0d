// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "shield.h"
#include "shield_rows.h"
#include "sysctl.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define SLOT_NS	      (1ull << PG_SHIELD_SLOT_SHIFT)
#define NOW_NS	      (1000 * SLOT_NS + 5)

/* --- the cookie --------------------------------------------------------------------------------
 */

static const struct pg_shield_flow flows[] = {
	{ .source = { 0, 0x0700a8c0ffff0000 },
	  .target = { 0, 0x0100a8c0ffff0000 },
	  .source_port_be = 0x1234,
	  .target_port_be = 0x5678,
	  .sequence = 0xfffffff0,
	  .family = 4 },
	{ .source = { 1, 2 },
	  .target = { 3, 4 },
	  .source_port_be = 0x1234,
	  .target_port_be = 0x5678,
	  .sequence = 7,
	  .family = 6 },
};

static void fill_env(struct pg_shield_env *env)
{
	memset(env, 0, sizeof(*env));
	assert_int_equal(pg_shield_keys(env, NOW_NS), 0);
}

static uint32_t make_cookie(const struct pg_shield_env *env, const struct pg_shield_flow *flow,
			    uint32_t slot, const struct pg_shield_options *options)
{
	struct pg_siphash prefix;

	pg_shield_prefix(env, flow->target, flow->target_port_be, flow->family, slot, &prefix);
	return pg_shield_cookie(&prefix, flow, slot, options);
}

/* The hash is SipHash-2-4 of these bytes, however it is split. */
static void cookie_is_the_documented_hash(void **state)
{
	struct pg_shield_options options = { 1460, 7, 1 };
	uint32_t slot = pg_shield_slot(NOW_NS);
	struct pg_shield_env env;

	fill_env(&env);
	for (size_t f = 0; f < ARRAY_SIZE(flows); f++) {
		const struct pg_shield_flow *flow = &flows[f];
		uint32_t cookie = make_cookie(&env, flow, slot, &options);
		bool v4 = flow->family == 4;
		uint8_t bytes[64], *at = bytes;

		memcpy(at, flow->target, 16);
		at[16] = flow->family;
		at[17] = 0;
		memcpy(at + 18, &flow->target_port_be, 2);
		memcpy(at + 20, &slot, 4);
		at += 24;
		memcpy(at, v4 ? (const uint8_t *)flow->source + 12 : (const void *)flow->source,
		       v4 ? 4 : 16);
		at += v4 ? 4 : 16;
		memcpy(at, &flow->sequence, 4);
		memcpy(at + 4, &flow->source_port_be, 2);
		at[6] = (uint8_t)cookie;
		at += 7;
		assert_int_equal(cookie >> 8, pg_siphash((const __u64 *)env.keys[slot & 3], bytes,
							 (uint32_t)(at - bytes)) >>
						      40);
	}
}

static void cookie_comes_back(void **state)
{
	struct pg_shield_options kept;
	struct pg_shield_env env;
	uint32_t slot = pg_shield_slot(NOW_NS);

	fill_env(&env);
	for (size_t f = 0; f < ARRAY_SIZE(flows); f++) {
		for (uint32_t scale = 0; scale <= PG_SHIELD_NO_SCALE; scale++) {
			struct pg_shield_options options = { 1460, (uint8_t)scale, scale & 1 };
			uint32_t cookie = make_cookie(&env, &flows[f], slot, &options);

			assert_true(pg_shield_check(&env, &flows[f], cookie, slot, &kept));
			assert_int_equal(kept.scale, scale);
			assert_int_equal(kept.sack, scale & 1);
			assert_int_equal(kept.mss, flows[f].family == 4 ? 1460 : 1440);
			assert_true(pg_shield_check(&env, &flows[f], cookie, slot + 1, &kept));
			assert_false(pg_shield_check(&env, &flows[f], cookie, slot + 2, &kept));
			assert_false(pg_shield_check(&env, &flows[f], cookie, slot + 4, &kept));
			assert_false(pg_shield_check(&env, &flows[f], cookie, slot - 1, &kept));
		}
	}
}

/* A change of anything that the cookie stands for makes it another. */
static void changed_flow_is_refused(void **state)
{
	struct pg_shield_options options = { 1460, 7, 1 }, kept;
	struct pg_shield_env env, other;
	uint32_t slot = pg_shield_slot(NOW_NS), cookie;

	fill_env(&env);
	fill_env(&other);
	for (size_t f = 0; f < ARRAY_SIZE(flows); f++) {
		struct pg_shield_flow flow = flows[f];

		cookie = make_cookie(&env, &flow, slot, &options);
		assert_false(pg_shield_check(&other, &flow, cookie, slot, &kept));
		for (int bit = 0; bit < 32; bit++)
			assert_false(pg_shield_check(&env, &flow, cookie ^ 1u << bit, slot, &kept));
		flow.sequence++;
		assert_false(pg_shield_check(&env, &flow, cookie, slot, &kept));
		flow = flows[f];
		flow.source_port_be++;
		assert_false(pg_shield_check(&env, &flow, cookie, slot, &kept));
		flow = flows[f];
		flow.target_port_be++;
		assert_false(pg_shield_check(&env, &flow, cookie, slot, &kept));
		flow = flows[f];
		flow.source[1] ^= 1ull << 40;
		assert_false(pg_shield_check(&env, &flow, cookie, slot, &kept));
		flow = flows[f];
		flow.target[1] ^= 1ull << 63;
		assert_false(pg_shield_check(&env, &flow, cookie, slot, &kept));
	}
}

static void mss_is_never_above_the_clients(void **state)
{
	for (uint8_t family = 4; family <= 6; family += 2) {
		uint32_t least = pg_shield_mss(family, 0);

		for (uint32_t mss = 0; mss < 9000; mss++) {
			uint32_t kept = pg_shield_mss(family, pg_shield_mss_index(family, mss));

			assert_true(kept <= mss || kept == least);
		}
	}
}

static void keys_are_renewed(void **state)
{
	struct pg_shield_env env, before;
	uint32_t slot = pg_shield_slot(NOW_NS);

	fill_env(&env);
	before = env;
	assert_int_equal(pg_shield_keys(&env, NOW_NS), 0);
	assert_memory_equal(&env, &before, sizeof(env));
	for (uint32_t step = 1; step <= 8; step++) {
		before = env;
		assert_int_equal(pg_shield_keys(&env, NOW_NS + step * SLOT_NS), 0);
		/* cookies are out under this slot's key and the last one's */
		for (uint32_t back = 0; back < 2; back++)
			assert_memory_equal(env.keys[(slot + step - back) & 3],
					    before.keys[(slot + step - back) & 3],
					    sizeof(env.keys[0]));
		assert_int_equal(env.key_slot[(slot + step + 1) & 3], slot + step + 2);
	}
}

/* --- on and off --------------------------------------------------------------------------------
 */

/* name, cookies and returned ones in each window, expected to be over after the third */
static void calm_after_three_windows(void **state)
{
	static const struct {
		const char *name;
		uint64_t cookies[3], accepted[3];
		int over;
	} rows[] = {
		{ "nothing comes", { 0, 0, 0 }, { 0, 0, 0 }, 1 },
		{ "all come back", { 1000, 1000, 1000 }, { 1000, 1000, 1000 }, 1 },
		{ "one in 64 stays away", { 6400, 6400, 6400 }, { 6300, 6300, 6300 }, 1 },
		{ "one in 32 stays away", { 6400, 6400, 6400 }, { 6200, 6200, 6200 }, 0 },
		{ "few stay away", { 7, 7, 7 }, { 0, 0, 0 }, 1 },
		{ "as many as a few stay away", { 8, 8, 8 }, { 0, 0, 0 }, 0 },
		{ "a flood in the last window", { 0, 0, 5000 }, { 0, 0, 0 }, 0 },
		{ "a flood in the first window", { 5000, 0, 0 }, { 0, 0, 0 }, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pg_shield_state s = { 0 };
		uint64_t now = NOW_NS;
		int over = 0;

		assert_true(pg_shield_turn(&s, now, 1));
		for (int w = 0; w < 3; w++) {
			s.cookies += rows[i].cookies[w];
			s.accepted += rows[i].accepted[w];
			assert_int_equal(pg_shield_calm(&s, now + PG_SHIELD_WINDOW_NS - 1, 8), 0);
			now += PG_SHIELD_WINDOW_NS;
			over = pg_shield_calm(&s, now, 8);
		}
		if (over != rows[i].over)
			fail_msg("%s: %d", rows[i].name, over);
	}
}

static void a_switch_happens_once(void **state)
{
	struct pg_shield_state s = { .cookies = 5, .accepted = 3, .calm = 2 };

	assert_true(pg_shield_turn(&s, NOW_NS, 1));
	assert_false(pg_shield_turn(&s, NOW_NS, 1));
	assert_int_equal(s.switched_on, 1);
	assert_int_equal(s.calm, 0);
	assert_int_equal(s.window_cookies, 5);
	assert_true(pg_shield_turn(&s, NOW_NS, 0));
	assert_false(pg_shield_turn(&s, NOW_NS, 0));
	assert_int_equal(s.switched_off, 1);
}

/* What a CPU has counted reaches the state once. */
static void told_once(void **state)
{
	struct pg_shield_counts counts = { .cookies = 7, .accepted = 2, .refused = 9 };
	struct pg_shield_state s = { .cookies = 100 };

	pg_shield_tell(&s, &counts);
	pg_shield_tell(&s, &counts);
	assert_int_equal(s.cookies, 107);
	assert_int_equal(s.accepted, 2);
	counts.accepted++;
	pg_shield_tell(&s, &counts);
	assert_int_equal(s.cookies, 107);
	assert_int_equal(s.accepted, 3);
}

static void thresholds(void **state)
{
	struct pg_shield shield = { .threshold = 50 };

	assert_int_equal(pg_shield_on_from(&shield, 129), 64);
	assert_int_equal(pg_shield_on_from(&shield, 1), 1);
	assert_int_equal(pg_shield_on_from(&shield, 0), 1);
	assert_int_equal(pg_shield_on_from(&shield, UINT32_MAX), UINT32_MAX / 2);
	assert_int_equal(pg_shield_off_below(64), 32);
	assert_int_equal(pg_shield_off_below(1), 1);
}

/* --- marks of tuples ---------------------------------------------------------------------------
 */

/* One bit of any part of a tuple makes it another mark; near tuples do not crowd. */
static void marks_are_spread(void **state)
{
	static uint8_t seen[1 << PG_SHIELD_TUPLE_BITS];
	const uint64_t key = 0x0123456789abcdef;
	uint32_t shared = 0;

	for (size_t f = 0; f < ARRAY_SIZE(flows); f++) {
		memset(seen, 0, sizeof(seen));
		for (uint32_t i = 0; i < 65536; i++) {
			struct pg_shield_flow flow = flows[f];

			/* 256 neighbours with 256 ports each */
			flow.source[1] += (uint64_t)(i >> 8) << 56;
			flow.source_port_be = htobe16(40000 + (i & 255));
			shared += seen[pg_shield_tuple(key, flow.source, flow.target,
						       flow.source_port_be, flow.target_port_be)]++;
		}
	}
	/* of 2 x 65,536 drawn from 2^20 about 1 in 32 meets another */
	assert_in_range(shared, 1, 2 * 65536 / 20);
}

static void a_mark_is_one_bit(void **state)
{
	struct pg_shield_tuples *tuples = calloc(1, sizeof(*tuples));
	uint32_t last = (1 << PG_SHIELD_TUPLE_BITS) - 1;

	assert_non_null(tuples);
	pg_shield_tuple_mark(tuples, 1, last);
	pg_shield_tuple_mark(tuples, 1, last);
	assert_true(pg_shield_tuple_marked(tuples, 1, last));
	assert_false(pg_shield_tuple_marked(tuples, 0, last));
	assert_false(pg_shield_tuple_marked(tuples, 1, last - 1));
	assert_false(pg_shield_tuple_marked(tuples, 1, last - 64));
	free(tuples);
}

struct rows_world {
	struct pg_shield_rows rows;
	struct pg_shield_env env;
	struct pg_shield_tuples tuples;
};

static int new_rows(void **state)
{
	*state = calloc(1, sizeof(struct rows_world));
	return *state ? 0 : -1;
}

static int free_rows(void **state)
{
	free(*state);
	return 0;
}

static bool turn_rows(struct rows_world *w, bool wanted, uint64_t now_ms)
{
	return pg_shield_rows_turn(&w->rows, &w->env, &w->tuples, wanted, now_ms);
}

/* Until the first row is whole, at 1000 + PG_SHIELD_SETTLE_MS. */
static void make_whole(struct rows_world *w)
{
	assert_false(turn_rows(w, true, 1000));
	assert_true(w->env.marking && !w->env.tuples);
	assert_false(turn_rows(w, true, 1000 + PG_SHIELD_SETTLE_MS - 1));
	assert_true(turn_rows(w, true, 1000 + PG_SHIELD_SETTLE_MS));
	assert_int_equal(w->rows.row, 0);
	assert_int_equal(w->env.tuples, 0);
	pg_shield_rows_filled(&w->rows, &w->env, true, 1000 + PG_SHIELD_SETTLE_MS);
	assert_int_equal(w->env.tuples, 1);
}

/* A row is named only when what the gate passed has settled and every socket is marked. */
static void rows_take_turns(void **state)
{
	struct rows_world *w = *state;
	uint64_t now = 1000 + PG_SHIELD_SETTLE_MS;

	assert_false(turn_rows(w, false, 0));
	assert_int_equal(w->env.marking, 0);
	make_whole(w);
	for (uint32_t next = 1; next < 5; next++) {
		memset(&w->tuples, 0xff, sizeof(w->tuples));
		assert_false(turn_rows(w, true, now + PG_SHIELD_RENEW_MS - 1));
		assert_int_equal(w->tuples.rows[next & 1][0], UINT64_MAX);
		now += PG_SHIELD_RENEW_MS;
		assert_false(turn_rows(w, true, now));
		assert_int_equal(w->tuples.rows[next & 1][0], 0);
		assert_int_equal(w->tuples.rows[~next & 1][0], UINT64_MAX);
		assert_int_equal(w->env.tuples, 1 + (~next & 1));
		now += PG_SHIELD_SETTLE_MS;
		assert_true(turn_rows(w, true, now));
		assert_int_equal(w->rows.row, next & 1);
		pg_shield_rows_filled(&w->rows, &w->env, true, now);
		assert_int_equal(w->env.tuples, 1 + (next & 1));
	}
}

/* A failed walk leaves the row that is whole in use, for marks go on in both. */
static void failed_walk_changes_nothing(void **state)
{
	struct rows_world *w = *state;
	uint64_t now = 1000 + PG_SHIELD_SETTLE_MS + PG_SHIELD_RENEW_MS;

	make_whole(w);
	assert_false(turn_rows(w, true, now));
	assert_true(turn_rows(w, true, now + PG_SHIELD_SETTLE_MS));
	pg_shield_rows_filled(&w->rows, &w->env, false, now + PG_SHIELD_SETTLE_MS);
	assert_int_equal(w->env.tuples, 1);
}

/* A change in the midst of a walk makes its row worthless. */
static void restart_ends_trust(void **state)
{
	struct rows_world *w = *state;

	make_whole(w);
	pg_shield_rows_restart(&w->rows, &w->env);
	assert_int_equal(w->env.tuples, 0);
	assert_false(turn_rows(w, true, 5000));
	assert_true(turn_rows(w, true, 5000 + PG_SHIELD_SETTLE_MS));
	pg_shield_rows_restart(&w->rows, &w->env);
	pg_shield_rows_filled(&w->rows, &w->env, true, 5000 + PG_SHIELD_SETTLE_MS);
	assert_int_equal(w->env.tuples, 0);
	assert_false(turn_rows(w, false, 9000));
	assert_int_equal(w->env.marking, 0);
}

/* --- the table ---------------------------------------------------------------------------------
 */

struct table {
	struct pg_shield_table table;
	struct pg_shield_ports ports;
	struct pg_shield shields[PG_SHIELDS_MAX];
	struct pg_shield_state states[PG_SHIELDS_MAX];
};

static int new_table(void **state)
{
	struct table *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->table = (struct pg_shield_table){ &t->ports, t->shields, t->states };
	*state = t;
	return 0;
}

static int free_table(void **state)
{
	free(*state);
	return 0;
}

static struct pg_shield_listener listener(const char *address, uint16_t port, int mode)
{
	struct pg_shield_listener l = {
		.any = !address, .port = port, .mode = mode, .threshold = PG_SHIELD_THRESHOLD
	};

	if (address)
		assert_int_equal(pg_address_parse(address, &l.address, NULL), 0);
	return l;
}

static int put(struct table *t, const char *address, uint16_t port, int mode)
{
	struct pg_shield_listener l = listener(address, port, mode);

	return pg_shield_put(&t->table, &l, PG_SHIELD_CONTROL, 1000, NULL);
}

/* Whatever the order they were made in, exact addresses come first and the one for all last. */
static void chain_is_ordered(void **state)
{
	static const char *const orders[][4] = {
		{ NULL, "0.0.0.0", "::", "192.0.2.1" },
		{ "192.0.2.1", "::", "0.0.0.0", NULL },
		{ "::", NULL, "192.0.2.1", "0.0.0.0" },
	};
	struct table *t = *state;

	for (size_t o = 0; o < ARRAY_SIZE(orders); o++) {
		uint16_t port = (uint16_t)(443 + o);
		uint32_t count = 0, last = 0;

		for (int i = 0; i < 4; i++)
			assert_true(put(t, orders[o][i], port, PG_SHIELD_ON) > 0);
		assert_false(t->shields[t->ports.first[port]].wildcard);
		for (uint32_t i = t->ports.first[port]; i; i = t->shields[i].next) {
			last = i;
			count++;
		}
		assert_int_equal(count, 4);
		assert_true(t->shields[last].wildcard && !t->shields[last].family);
		assert_int_equal(put(t, "192.0.2.9", port, PG_SHIELD_ON), -ENOSPC);
	}
}

static void put_finds_its_own(void **state)
{
	static const char *const places[] = { NULL, "0.0.0.0", "::", "192.0.2.1" };
	struct pg_shield_listener back;
	struct table *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		int index = put(t, places[i], 80, PG_SHIELD_AUTO);
		struct pg_shield_listener l = listener(places[i], 80, PG_SHIELD_AUTO);

		assert_int_equal(index, i + 1);
		t->states[index].cookies = 9;
		assert_int_equal(put(t, places[i], 80, PG_SHIELD_ON), index);
		assert_int_equal(t->states[index].cookies, 9);
		assert_int_equal(t->states[index].active, 1);
		assert_true(pg_shield_get(&t->table, (uint32_t)index, &back));
		assert_int_equal(back.any, l.any);
		assert_memory_equal(&back.address, &l.address, sizeof(l.address));
		assert_int_equal(back.mode, PG_SHIELD_ON);
	}
}

static void removed_is_gone(void **state)
{
	struct table *t = *state;
	int first = put(t, "192.0.2.1", 80, PG_SHIELD_ON), second = put(t, NULL, 80, PG_SHIELD_OFF);
	struct pg_shield_listener back;

	assert_true(pg_shield_any(&t->table));
	pg_shield_remove(&t->table, (uint32_t)first);
	assert_int_equal(t->ports.first[80], second);
	assert_false(pg_shield_any(&t->table));
	assert_false(pg_shield_get(&t->table, (uint32_t)first, &back));
	pg_shield_remove(&t->table, (uint32_t)second);
	assert_int_equal(t->ports.first[80], 0);
}

static void table_has_a_bound(void **state)
{
	struct pg_shield_listener l;
	struct pg_error error = { "" };
	struct table *t = *state;

	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++)
		assert_int_equal(put(t, NULL, (uint16_t)i, PG_SHIELD_ON), i);
	l = listener(NULL, 9999, PG_SHIELD_ON);
	assert_int_equal(pg_shield_put(&t->table, &l, PG_SHIELD_CONTROL, 1, &error), -ENOSPC);
	assert_non_null(strstr(error.text, "255"));
	assert_int_equal(t->ports.first[9999], 0);
}

/* --- what a sysctl was -------------------------------------------------------------------------
 */

static void damaged_memory_is_none(void **state)
{
	static const char *const texts[] = { "",
					     "tcp_syncookies",
					     "tcp_syncookies 1",
					     "tcp_syncookies -1 2\n",
					     "tcp_syncookies 1 10\n",
					     "tcp_other 1 2\n",
					     "\n\n\x80\xff 1 2\n" };
	char directory[] = "/tmp/test_shield_XXXXXX", path[64];
	struct pg_sysctl_memory memory;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/sysctl", directory);
	pg_sysctl_memory_load(directory, &memory);
	assert_int_equal(memory.values[PG_SYSCTL_SYNCOOKIES].before, -1);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		FILE *file = fopen(path, "w");

		assert_non_null(file);
		fputs(texts[i], file);
		fclose(file);
		pg_sysctl_memory_load(directory, &memory);
		assert_int_equal(memory.values[PG_SYSCTL_SYNCOOKIES].before, -1);
		assert_int_equal(memory.values[PG_SYSCTL_TIMESTAMPS].before, -1);
	}
	unlink(path);
	rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cookie_is_the_documented_hash),
		cmocka_unit_test(cookie_comes_back),
		cmocka_unit_test(changed_flow_is_refused),
		cmocka_unit_test(mss_is_never_above_the_clients),
		cmocka_unit_test(keys_are_renewed),
		cmocka_unit_test(calm_after_three_windows),
		cmocka_unit_test(a_switch_happens_once),
		cmocka_unit_test(thresholds),
		cmocka_unit_test(told_once),
		cmocka_unit_test(marks_are_spread),
		cmocka_unit_test(a_mark_is_one_bit),
		cmocka_unit_test_setup_teardown(rows_take_turns, new_rows, free_rows),
		cmocka_unit_test_setup_teardown(failed_walk_changes_nothing, new_rows, free_rows),
		cmocka_unit_test_setup_teardown(restart_ends_trust, new_rows, free_rows),
		cmocka_unit_test_setup_teardown(chain_is_ordered, new_table, free_table),
		cmocka_unit_test_setup_teardown(put_finds_its_own, new_table, free_table),
		cmocka_unit_test_setup_teardown(removed_is_gone, new_table, free_table),
		cmocka_unit_test_setup_teardown(table_has_a_bound, new_table, free_table),
		cmocka_unit_test(damaged_memory_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
