// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The shield in BPF_PROG_TEST_RUN, over listeners in a network namespace of this process: of each
 * segment the action, every counter, and the answer.
 */
#include <sched.h>
#include <stdlib.h>

#include "gate_fixture.h"
#include "packgate/shield.h"

#define PORT	     4443
#define OTHER_PORT   4444 /* listens, without a shield */
#define TCP_BYTES    20
#define BACKLOG	     4
#define MTU	     1500
#define SYN	     0x02
#define ACK_FLAG     0x10
#define RST	     0x04
#define FIN	     0x01
#define ADVERTISED   (MTU - 40)
#define AT_FLAGS_TCP 13

struct shield_maps {
	struct pg_shield_ports *ports;
	struct pg_shield *shields;
	struct pg_shield_state *states;
	struct pg_shield_env *env;
};

static struct shield_maps maps;

/* A segment: the bytes of its TCP header behind a datagram builder's IP header. */
struct segment {
	uint8_t flags;
	uint32_t sequence, acked;
	const uint8_t *options;
	uint8_t option_bytes; /* a multiple of 4 */
	uint8_t doff;	      /* in words; 0 = right */
};

static void build_segment(const struct datagram *d, const struct segment *s,
			  struct link_frame *ret_frame)
{
	struct datagram tcp = *d;
	uint8_t bytes[60] = { 0 }, *at;
	uint32_t n = TCP_BYTES + s->option_bytes;

	tcp.protocol = IPPROTO_TCP;
	/* the builder writes 8 bytes of UDP header, in place of ports and sequence number */
	build_datagram(&tcp, bytes, n - 8, ret_frame);
	at = ret_frame->bytes + ret_frame->n - n - d->padding;
	pg_store_be16(at, d->source_port);
	pg_store_be16(at + 2, d->target_port);
	pg_store_be16(at + 4, s->sequence >> 16);
	pg_store_be16(at + 6, (uint16_t)s->sequence);
	pg_store_be16(at + 8, s->acked >> 16);
	pg_store_be16(at + 10, (uint16_t)s->acked);
	at[12] = (uint8_t)((s->doff ? s->doff : n / 4) << 4);
	at[AT_FLAGS_TCP] = s->flags;
	if (s->option_bytes)
		memcpy(at + TCP_BYTES, s->options, s->option_bytes);
}

static const struct datagram paths[] = {
	{ .family = 4,
	  .source = "198.51.100.7",
	  .target = "192.0.2.1",
	  .source_port = 5555,
	  .target_port = PORT },
	{ .family = 6,
	  .source = "2001:db8:7::7",
	  .target = "2001:db8::1",
	  .source_port = 5556,
	  .target_port = PORT },
};

#define EACH_PATH(p) for (const struct datagram *p = paths; p < paths + ARRAY_SIZE(paths); p++)

#define COOKIES ((struct verdict){ .action = XDP_TX, .counter = PG_COUNT_SHIELD_COOKIES + 1 })

/* --- set-up ------------------------------------------------------------------------------------
 */

static void listen_on(uint16_t port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(fd, BACKLOG), 0);
}

static void write_sysctl(const char *name, int value)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "%d", value);
	assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
	static struct gate gate;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(system("ip link set lo up"), 0);
	write_sysctl("tcp_syncookies", 1);
	listen_on(PORT);
	listen_on(OTHER_PORT);
	gate_open(&gate);
	maps.ports = gate_map_memory(gate.skeleton->maps.pg_shield_ports);
	maps.shields = gate_map_memory(gate.skeleton->maps.pg_shields);
	maps.states = gate_map_memory(gate.skeleton->maps.pg_shield_state);
	maps.env = gate_map_memory(gate.skeleton->maps.pg_shield_env);
	*state = &gate;
	return 0;
}

static int reset(void **state)
{
	struct gate *gate = *state;

	gate_reset(gate);
	EACH_PATH(path)
	gate_add_local(gate, path->family, path->target);
	memset(maps.states, 0, PG_SHIELDS_MAX * sizeof(*maps.states));
	memset(maps.ports, 0, sizeof(*maps.ports));
	memset(maps.env, 0, sizeof(*maps.env));
	for (uint32_t i = 0; i < 8; i++)
		maps.env->keys[i / 2][i % 2] = 0x0123456789abcdef * (i + 1);
	maps.env->mtu[SLOT_UNDER_TEST] = MTU;
	maps.env->way[SLOT_UNDER_TEST] = PG_SHIELD_WAY_OWN;
	maps.shields[1] = (struct pg_shield){
		.port = PORT, .wildcard = 1, .mode = PG_SHIELD_ON, .threshold = 50
	};
	maps.ports->first[PORT] = 1;
	return 0;
}

static int judge(struct gate *gate, const char *name, const struct datagram *path,
		 struct segment segment, struct verdict want)
{
	struct link_frame frame;
	char full[128];

	snprintf(full, sizeof(full), "%s, IPv%d", name, path->family);
	build_segment(path, &segment, &frame);
	return gate_judge(gate, full, &frame, want);
}

static const uint8_t *answer_tcp(const struct gate *gate, const struct datagram *path)
{
	return gate->out.bytes + ETHER_BYTES + path->vlan_tags * VLAN_BYTES +
	       (path->family == 4 ? 20 : 40);
}

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
	assert_int_equal(maps.states[1].cookies, 2);
	assert_int_equal(maps.states[1].accepted, 2);
	assert_int_equal(maps.states[1].refused, 6);
	assert_int_equal(wrong, 0);
}

/* Each layout of options, and what of it the answer has: found in either order of the walk. */
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
	static const struct {
		const char *name;
		const uint8_t *options;
		uint8_t bytes, want_bytes;
	} rows[] = {
		{ "none", NULL, 0, 24 },
		{ "Linux", linux_syn, sizeof(linux_syn), 40 },
		{ "Windows", windows, sizeof(windows), 32 },
		{ "MSS alone", mss_only, sizeof(mss_only), 24 },
		{ "timestamps last", time_last, sizeof(time_last), 40 },
		{ "timestamps cut off", cut, sizeof(cut), 24 },
		{ "a length of 0", endless, sizeof(endless), 24 },
		{ "a kind at the end", past, sizeof(past), 24 },
		{ "behind the end", ended, sizeof(ended), 24 },
	};
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PATH(path)
	{
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct segment syn = { .flags = SYN,
					       .options = rows[i].options,
					       .option_bytes = rows[i].bytes };
			const uint8_t *tcp = answer_tcp(gate, path);

			wrong += judge(gate, rows[i].name, path, syn, COOKIES);
			if (tcp[12] >> 2 != rows[i].want_bytes ||
			    gate->out.bytes + gate->out.n != tcp + rows[i].want_bytes ||
			    pg_load_be16(tcp + 22) != ADVERTISED - (path->family == 6 ? 20 : 0)) {
				print_error("%s: the answer is %d bytes\n", rows[i].name,
					    tcp[12] >> 2);
				wrong++;
			}
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
	assert_int_equal(maps.states[1].cookies + maps.states[1].refused, 0);
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
		maps.states[1].accepted = maps.states[1].cookies;
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
		assert_int_equal(answer_tcp(gate, path)[12] >> 2, 24);
		ack.acked = pg_load_be32(answer_tcp(gate, path) + 4) + 1;
		wrong += judge(gate, "ACK", path, ack, PASSES);
		ack.acked ^= 0x80;
		wrong += judge(gate, "another cookie", path, ack, DROPS(SHIELD_ACK));
	}
	write_sysctl("tcp_syncookies", 1);
	assert_int_equal(wrong, 0);
}

#define shield_test(function) cmocka_unit_test_setup(function, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		shield_test(cookie_comes_back), shield_test(options_of_a_syn),
		shield_test(unfit_and_foreign), shield_test(inactive_passes_all),
		shield_test(automatic),		shield_test(kernel_cookie),
	};

	return cmocka_run_group_tests(tests, setup, gate_group_teardown);
}
