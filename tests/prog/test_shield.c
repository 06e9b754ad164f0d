// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The shield in BPF_PROG_TEST_RUN, over listeners in a network namespace of this process: of each
 * segment the action, every counter, and the answer.
 */
#include "shield_fixture.h"

/* --- tests -------------------------------------------------------------------------------------
 */

/* A SYN gets a cookie that its ACK brings back; another one is refused. */
static void cookie_comes_back(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PATH(path)
	{
		struct segment syn = { .flags = SYN, .sequence = 0xffffffff };
		struct segment ack = { .flags = ACK_FLAG };
		const uint8_t *tcp;

		wrong += judge(gate, "SYN", path, syn, COOKIES);
		tcp = answer_tcp(gate, path);
		assert_int_equal(pg_load_be16(tcp), PORT);
		assert_int_equal(pg_load_be16(tcp + 2), path->source_port);
		assert_int_equal(pg_load_be32(tcp + 8), 0);
		assert_int_equal(tcp[AT_FLAGS_TCP], SYN | ACK_FLAG);
		ack.acked = pg_load_be32(tcp + 4) + 1;
		wrong += judge(gate, "ACK", path, ack, PASSES);
		ack.acked ^= 0x100;
		wrong += judge(gate, "another cookie", path, ack, DROPS(SHIELD_ACK));
		ack.acked ^= 0x100;
		ack.sequence++;
		wrong += judge(gate, "another sequence", path, ack, DROPS(SHIELD_ACK));
		ack.sequence--;
		ack.flags |= SYN;
		ack.acked++;
		wrong += judge(gate, "SYN and ACK", path, ack, DROPS(SHIELD_ACK));
	}
	assert_int_equal(shield_counts(maps.counts, 1).cookies, 2);
	assert_int_equal(shield_counts(maps.counts, 1).accepted, 2);
	assert_int_equal(shield_counts(maps.counts, 1).refused, 6);
	assert_int_equal(wrong, 0);
}

/* Each layout of options, and what of it the answer has, which is never longer than the SYN. */
static void options_of_a_syn(void **state)
{
	static const uint8_t linux_syn[] = { 2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2,
					     3, 4, 0, 0,    0, 0, 1, 3,	 3, 7 };
	static const uint8_t windows[] = { 2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2 };
	static const uint8_t mss_only[] = { 2, 4, 5, 0xb4 };
	static const uint8_t time_last[] = { 3, 3, 7, 1, 2, 4, 5, 0xb4, 8, 10,
					     1, 2, 3, 4, 0, 0, 0, 0,	0, 0 };
	static const uint8_t cut[] = { 2, 4, 5, 0xb4, 8, 10, 1, 2 };
	static const uint8_t endless[] = { 2, 0, 5, 0xb4 };
	static const uint8_t past[] = { 1, 1, 1, 2 };
	static const uint8_t ended[] = { 0, 0, 0, 0, 4, 2, 0, 0 };
	static const uint8_t scale_alone[] = { 3, 3, 7, 0 };
	static const uint8_t sack_alone[] = { 4, 2, 1, 1 };
	static const uint8_t sack_scale[] = { 4, 2, 3, 3, 7, 0, 0, 0 };
	static const uint8_t mss_scale[] = { 2, 4, 5, 0xb4, 3, 3, 7, 0 };
	static const uint8_t mss_sack[] = { 2, 4, 5, 0xb4, 4, 2, 1, 1 };
	static const uint8_t time_alone[] = { 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 1 };
	static const uint8_t time_scale[] = { 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 3, 3, 7, 0, 0, 0 };
	static const uint8_t time_mss[] = { 2, 4, 5, 0xb4, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 1 };
	static const struct {
		const char *name;
		const uint8_t *options;
		uint8_t bytes, want_bytes;
		bool mss;
	} rows[] = {
		{ "none", NULL, 0, 20, false },
		{ "Linux", linux_syn, sizeof(linux_syn), 40, true },
		{ "Windows", windows, sizeof(windows), 32, true },
		{ "MSS alone", mss_only, sizeof(mss_only), 24, true },
		{ "scale alone", scale_alone, sizeof(scale_alone), 24, false },
		{ "SACK alone", sack_alone, sizeof(sack_alone), 24, false },
		{ "SACK and scale", sack_scale, sizeof(sack_scale), 28, false },
		{ "MSS and scale", mss_scale, sizeof(mss_scale), 28, true },
		{ "MSS and SACK", mss_sack, sizeof(mss_sack), 28, true },
		{ "timestamps alone", time_alone, sizeof(time_alone), 32, false },
		{ "timestamps and scale", time_scale, sizeof(time_scale), 36, false },
		{ "timestamps and MSS", time_mss, sizeof(time_mss), 36, true },
		{ "timestamps last", time_last, sizeof(time_last), 40, true },
		{ "timestamps cut off", cut, sizeof(cut), 24, true },
		{ "a length of 0", endless, sizeof(endless), 20, false },
		{ "a kind at the end", past, sizeof(past), 20, false },
		{ "behind the end", ended, sizeof(ended), 20, false },
	};
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PATH(path)
	{
		uint16_t ours = ADVERTISED - (path->family == 6 ? 20 : 0);

		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct segment syn = { .flags = SYN,
					       .options = rows[i].options,
					       .option_bytes = rows[i].bytes };
			const uint8_t *tcp = answer_tcp(gate, path);

			wrong += judge(gate, rows[i].name, path, syn, COOKIES);
			if (tcp[12] >> 2 == rows[i].want_bytes &&
			    tcp[12] >> 2 <= TCP_BYTES + rows[i].bytes &&
			    gate->out.bytes + gate->out.n == tcp + rows[i].want_bytes &&
			    (!rows[i].mss || (tcp[20] == 2 && pg_load_be16(tcp + 22) == ours)))
				continue;
			print_error("%s: the answer is %d bytes\n", rows[i].name, tcp[12] >> 2);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
}

/* What no answer can be made of, and what is not a shield's. */
static void unfit_and_foreign(void **state)
{
	static const struct {
		const char *name;
		struct segment segment;
		struct datagram change; /* fields that are not 0 replace those of the path */
		struct verdict want;
	} rows[] = {
		{ "FIN with SYN", { .flags = SYN | FIN }, {}, DROPS(SHIELD_SYN) },
		{ "IP options",
		  { .flags = SYN },
		  { .family = 4, .option_bytes = 4 },
		  DROPS(SHIELD_SYN) },
		{ "first fragment",
		  { .flags = SYN },
		  { .family = 4, .fragment = 0x2000 },
		  DROPS(SHIELD_SYN) },
		{ "a later fragment", { .flags = SYN }, { .family = 4, .fragment = 1 }, PASSES },
		{ "a header beyond the segment",
		  { .flags = SYN, .doff = 6 },
		  {},
		  DROPS(SHIELD_SYN) },
		{ "a header of 16 bytes", { .flags = SYN, .doff = 4 }, {}, DROPS(SHIELD_SYN) },
		{ "an IP length too long", { .flags = SYN }, { .ip_delta = 1 }, DROPS(SHIELD_SYN) },
		{ "from multicast",
		  { .flags = SYN },
		  { .family = 4, .source = "224.0.0.1" },
		  DROPS(SHIELD_SYN) },
		{ "from multicast",
		  { .flags = SYN },
		  { .family = 6, .source = "ff02::1" },
		  DROPS(SHIELD_SYN) },
		{ "from loopback",
		  { .flags = SYN },
		  { .family = 4, .source = "127.0.0.1" },
		  DROPS(SHIELD_SYN) },
		{ "from loopback",
		  { .flags = SYN },
		  { .family = 6, .source = "::1" },
		  DROPS(SHIELD_SYN) },
		{ "from IPv4 in IPv6",
		  { .flags = SYN },
		  { .family = 6, .source = "::ffff:198.51.100.7" },
		  DROPS(SHIELD_SYN) },
		{ "near the IPv6 that is bogus",
		  { .flags = SYN },
		  { .family = 6, .source = "0:0:0:0:1::1" },
		  COOKIES },
		{ "from ourselves",
		  { .flags = SYN },
		  { .family = 4, .source = "192.0.2.1" },
		  DROPS(SHIELD_SYN) },
		{ "from ourselves",
		  { .flags = SYN },
		  { .family = 6, .source = "2001:db8::1" },
		  DROPS(SHIELD_SYN) },
		{ "RST", { .flags = RST | ACK_FLAG }, {}, PASSES },
		{ "no flags", { .flags = 0 }, {}, DROPS(SHIELD_ACK) },
		{ "one tag", { .flags = SYN }, { .vlan_tags = 1 }, COOKIES },
		{ "two tags", { .flags = SYN }, { .vlan_tags = 2 }, PASSES },
		{ "two tags, ACK", { .flags = ACK_FLAG }, { .vlan_tags = 2 }, PASSES },
		{ "another port", { .flags = SYN }, { .target_port = OTHER_PORT }, PASSES },
		{ "another port, ACK",
		  { .flags = ACK_FLAG },
		  { .target_port = OTHER_PORT },
		  PASSES },
		{ "not local", { .flags = SYN }, { .family = 4, .target = "192.0.2.2" }, PASSES },
		{ "not local", { .flags = SYN }, { .family = 6, .target = "2001:db8::2" }, PASSES },
	};
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PATH(path)
	{
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			const struct datagram *c = &rows[i].change;
			struct datagram d = *path;

			if (c->family && c->family != path->family)
				continue;
			d.option_bytes = c->option_bytes;
			d.fragment = c->fragment;
			d.ip_delta = c->ip_delta;
			d.vlan_tags = c->vlan_tags;
			d.source = c->source ? c->source : d.source;
			d.target = c->target ? c->target : d.target;
			d.target_port = c->target_port ? c->target_port : d.target_port;
			wrong += judge(gate, rows[i].name, &d, rows[i].segment, rows[i].want);
		}
	}
	assert_int_equal(wrong, 0);
}

/* Off, idle, or on an interface without cookies nothing is looked at. */
static void inactive_passes_all(void **state)
{
	struct segment syn = { .flags = SYN }, ack = { .flags = ACK_FLAG };
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PATH(path)
	{
		maps.shields[1].mode = PG_SHIELD_OFF;
		wrong += judge(gate, "off, SYN", path, syn, PASSES);
		wrong += judge(gate, "off, ACK", path, ack, PASSES);
		maps.shields[1].mode = PG_SHIELD_AUTO;
		wrong += judge(gate, "idle, SYN", path, syn, PASSES);
		wrong += judge(gate, "idle, ACK", path, ack, PASSES);
		maps.shields[1].mode = PG_SHIELD_ON;
		maps.env->way[SLOT_UNDER_TEST] = PG_SHIELD_WAY_NONE;
		wrong += judge(gate, "no way, SYN", path, syn, PASSES);
		wrong += judge(gate, "no way, ACK", path, ack, PASSES);
		maps.env->way[SLOT_UNDER_TEST] = PG_SHIELD_WAY_OWN;
	}
	assert_int_equal(shield_counts(maps.counts, 1).cookies, 0);
	assert_int_equal(shield_counts(maps.counts, 1).refused, 0);
	assert_int_equal(maps.states[1].syn_limit, BACKLOG + 1);
	assert_int_equal(wrong, 0);
}

/* An automatic shield that is on: as one that is on; calm windows end it at the next SYN. */
static void automatic(void **state)
{
	struct segment syn = { .flags = SYN }, ack = { .flags = ACK_FLAG };
	struct gate *gate = *state;
	int wrong = 0;

	maps.shields[1].mode = PG_SHIELD_AUTO;
	EACH_PATH(path)
	{
		pg_shield_turn(&maps.states[1], 0, 1);
		maps.states[1].window_ns = ~0ull >> 1; /* no window ends */
		wrong += judge(gate, "SYN", path, syn, COOKIES);
		wrong += judge(gate, "ACK", path, ack, DROPS(SHIELD_ACK));
		maps.states[1].window_ns = 0;
		maps.states[1].accepted = shield_counts(maps.counts, 1).cookies;
		maps.states[1].calm = PG_SHIELD_CALM - 1;
		wrong += judge(gate, "SYN after the flood", path, syn, PASSES);
		assert_int_equal(maps.states[1].active, 0);
	}
	assert_int_equal(maps.states[1].switched_off, 2);
	assert_int_equal(wrong, 0);
}

/* The helper makes cookies only where the kernel does; what only timestamps carry is left away. */
static void kernel_cookie(void **state)
{
	static const uint8_t windows[] = { 2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2 };
	struct segment syn = { .flags = SYN, .options = windows, .option_bytes = sizeof(windows) };
	struct gate *gate = *state;
	int wrong = 0;

	maps.env->way[SLOT_UNDER_TEST] = PG_SHIELD_WAY_KERNEL;
	EACH_PATH(path)
	{
		struct segment ack = { .flags = ACK_FLAG, .sequence = 1 };

		write_sysctl("tcp_syncookies", 1);
		wrong += judge(gate, "the kernel queues", path, syn, PASSES);
		write_sysctl("tcp_syncookies", 2);
		wrong += judge(gate, "SYN", path, syn, COOKIES);
		assert_int_equal(answer_tcp(gate, path)[12] >> 2, 24); /* MSS alone */
		ack.acked = pg_load_be32(answer_tcp(gate, path) + 4) + 1;
		wrong += judge(gate, "ACK", path, ack, PASSES);
		ack.acked ^= 0x80;
		wrong += judge(gate, "another cookie", path, ack, DROPS(SHIELD_ACK));
	}
	write_sysctl("tcp_syncookies", 1);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		shield_test(cookie_comes_back), shield_test(options_of_a_syn),
		shield_test(unfit_and_foreign), shield_test(inactive_passes_all),
		shield_test(automatic),		shield_test(kernel_cookie),
	};

	return cmocka_run_group_tests(tests, setup, gate_group_teardown);
}
