// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What the shield does without a look-up, in BPF_PROG_TEST_RUN over real sockets: of a flood it
 * answers most SYNs so, but never one of a tuple that has a socket.
 */
#include "shield_fixture.h"
#include "shield_seed.skel.h"

#include <linux/tcp.h>

#define FLOOD	     40 /* SYNs in a row, more than are looked up one by one in a tick */
#define ROUNDS	     50
#define COOKIES_BACK 500
#define FLOODS_MAX   200 /* until one of them was all in one tick */

#define FULL_TARGET "192.0.2.77" /* another local address, whose listener is full */
#define THIRD_PORT  4445
#define FOURTH_PORT 4446

static uint32_t mark_of(const struct datagram *path)
{
	uint64_t source[2], target[2];

	parse_address(path->family, path->source, source);
	parse_address(path->family, path->target, target);
	return pg_shield_tuple(maps.env->tuple_key, (const __u64 *)source, (const __u64 *)target,
			       htons(path->source_port), htons(path->target_port));
}

static bool marked(const struct datagram *path, uint32_t row)
{
	return pg_shield_tuple_marked(maps.tuples, row, mark_of(path));
}

static bool marked_in_both(const struct datagram *path)
{
	return marked(path, 0) && marked(path, 1);
}

static int send_syn(struct gate *gate, const struct datagram *path)
{
	static const uint8_t mss[] = { 2, 4, 5, 0xb4 };
	struct segment syn = { .flags = SYN, .options = mss, .option_bytes = sizeof(mss) };
	struct link_frame frame;

	build_segment(path, &syn, &frame);
	return gate_run_on(gate, &frame, NULL);
}

/* A flood over the path's address, from other ports; ends with its last SYN sent. */
static void flood(struct gate *gate, const struct datagram *path, int action)
{
	struct datagram other = *path;

	for (uint16_t i = 0; i < FLOOD; i++) {
		other.source_port = 10000 + i;
		assert_int_equal(send_syn(gate, &other), action);
	}
}

/* --- sockets at the ends of the paths ----------------------------------------------------------
 */

struct pair {
	int client, server;
};

static socklen_t fill_name(int family, const char *address, uint16_t port,
			   struct sockaddr_storage *ret_name)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_name;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_name;

	memset(ret_name, 0, sizeof(*ret_name));
	if (family == 4) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		assert_int_equal(inet_pton(AF_INET, address, &v4->sin_addr), 1);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	assert_int_equal(inet_pton(AF_INET6, address, &v6->sin6_addr), 1);
	return sizeof(*v6);
}

/* A connection from the path's source to its target, all on this host. */
static struct pair connect_pair(const struct datagram *path, int listener)
{
	struct sockaddr_storage name;
	struct pair pair = { socket(path->family == 4 ? AF_INET : AF_INET6, SOCK_STREAM, 0), -1 };
	int on = 1;
	socklen_t bytes;

	assert_true(pair.client >= 0);
	setsockopt(pair.client, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	bytes = fill_name(path->family, path->source, path->source_port, &name);
	assert_int_equal(bind(pair.client, (struct sockaddr *)&name, bytes), 0);
	bytes = fill_name(path->family, path->target, path->target_port, &name);
	assert_int_equal(connect(pair.client, (struct sockaddr *)&name, bytes), 0);
	pair.server = accept(listener, NULL, NULL);
	assert_true(pair.server >= 0);
	return pair;
}

/* Reset, so that nothing waits. */
static void close_pair(struct pair pair)
{
	struct linger at_once = { .l_onoff = 1 };

	setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(pair.client);
	close(pair.server);
}

static int set_up_addresses(void **state)
{
	static const char *const commands[] = {
		"ip addr add 198.51.100.7/32 dev lo",
		"ip addr add 192.0.2.1/32 dev lo",
		"ip addr add " FULL_TARGET "/32 dev lo",
		"ip addr add 2001:db8:7::7/128 dev lo nodad",
		"ip addr add 2001:db8::1/128 dev lo nodad",
	};

	assert_int_equal(setup(state), 0);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		assert_int_equal(system(commands[i]), 0);
	return 0;
}

/* --- tests -------------------------------------------------------------------------------------
 */

/* What may become a socket is marked in both rows; what cannot is not. */
static void what_passes_is_marked(void **state)
{
	struct gate *gate = *state;

	EACH_PATH(path)
	{
		struct segment ack = { .flags = ACK_FLAG, .sequence = 1 };
		struct link_frame frame;

		maps.env->marking = 1;
		assert_int_equal(send_syn(gate, path), XDP_TX);
		assert_false(marked(path, 0) || marked(path, 1));
		ack.acked = 77;
		build_segment(path, &ack, &frame);
		assert_int_equal(gate_run_on(gate, &frame, NULL), XDP_DROP);
		assert_false(marked(path, 0) || marked(path, 1));
		send_syn(gate, path);
		ack.acked = pg_load_be32(answer_tcp(gate, path) + 4) + 1;
		build_segment(path, &ack, &frame);
		assert_int_equal(gate_run_on(gate, &frame, NULL), XDP_PASS);
		assert_true(marked_in_both(path));
		memset(maps.tuples, 0, sizeof(*maps.tuples));
		maps.shields[1].mode = PG_SHIELD_AUTO;
		assert_int_equal(gate_run_on(gate, &frame, NULL), XDP_PASS);
		assert_false(marked(path, 0) || marked(path, 1));
		assert_int_equal(send_syn(gate, path), XDP_PASS);
		assert_true(marked_in_both(path));
		memset(maps.tuples, 0, sizeof(*maps.tuples));
		maps.env->marking = 0;
		assert_int_equal(send_syn(gate, path), XDP_PASS);
		assert_false(marked(path, 0) || marked(path, 1));
		maps.shields[1].mode = PG_SHIELD_ON;
	}
}

/* Two VLAN tags and a link group address pass: they too may become sockets. */
static void what_is_not_looked_at_is_marked(void **state)
{
	struct gate *gate = *state;

	maps.env->marking = 1;
	EACH_PATH(path)
	{
		struct datagram tagged = *path;

		tagged.vlan_tags = 2;
		assert_int_equal(send_syn(gate, &tagged), XDP_PASS);
		assert_true(marked_in_both(path));
	}
}

/* The walk marks connections of either family, on the shielded port alone, in the row it is told.
 */
static void walk_marks_sockets(void **state)
{
	struct gate *gate = *state;
	struct shield_seed_bpf *seed = shield_seed_bpf__open();
	struct bpf_link *link;
	struct pair pairs[ARRAY_SIZE(paths)];
	char byte;
	int fd;

	assert_non_null(seed);
	bpf_map__reuse_fd(seed->maps.pg_shield_ports,
			  bpf_map__fd(gate->skeleton->maps.pg_shield_ports));
	bpf_map__reuse_fd(seed->maps.pg_shield_env,
			  bpf_map__fd(gate->skeleton->maps.pg_shield_env));
	bpf_map__reuse_fd(seed->maps.pg_shield_marks,
			  bpf_map__fd(gate->skeleton->maps.pg_shield_marks));
	assert_int_equal(shield_seed_bpf__load(seed), 0);
	link = bpf_program__attach_iter(seed->progs.pg_shield_seed, NULL);
	assert_non_null(link);
	maps.env->tuple_key = 0x1234567890abcdef;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		pairs[i] = connect_pair(&paths[i], maps.listener);
	seed->bss->row = 1;
	fd = bpf_iter_create(bpf_link__fd(link));
	assert_true(fd >= 0);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
	EACH_PATH(path)
	{
		struct datagram other = *path;

		assert_false(marked(path, 0));
		assert_true(marked(path, 1));
		other.source_port++;
		assert_false(marked(&other, 1));
	}
	/* the clients' ends are on other ports */
	assert_int_equal(seed->bss->marked, ARRAY_SIZE(paths));
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		close_pair(pairs[i]);
	bpf_link__destroy(link);
	shield_seed_bpf__destroy(seed);
}

/* In the midst of a flood too a SYN of a tuple that has a socket goes to the kernel. */
static void sockets_keep_their_syns(void **state)
{
	struct gate *gate = *state;

	for (int way = PG_SHIELD_WAY_OWN; way <= PG_SHIELD_WAY_KERNEL; way++) {
		maps.env->way[SLOT_UNDER_TEST] = (uint8_t)way;
		write_sysctl("tcp_syncookies", way == PG_SHIELD_WAY_OWN ? 1 : 2);
		EACH_PATH(path)
		{
			struct pair pair = connect_pair(path, maps.listener);

			maps.env->tuples = 2;
			pg_shield_tuple_mark(maps.tuples, 1, mark_of(path));
			for (int i = 0; i < ROUNDS; i++) {
				flood(gate, path, XDP_TX);
				assert_int_equal(send_syn(gate, path), XDP_PASS);
			}
			close_pair(pair);
		}
	}
	write_sysctl("tcp_syncookies", 1);
}

/* Without its mark it is answered: so most of a flood is not looked up. And no row, no such thing.
 */
static void flood_is_not_looked_up(void **state)
{
	struct gate *gate = *state;

	EACH_PATH(path)
	{
		struct pair pair = connect_pair(path, maps.listener);
		int tries = 0;

		maps.env->tuples = 1;
		do
			flood(gate, path, XDP_TX);
		while (send_syn(gate, path) != XDP_TX && ++tries < FLOODS_MAX);
		assert_true(tries < FLOODS_MAX);
		maps.env->tuples = 0;
		for (int i = 0; i < ROUNDS; i++) {
			flood(gate, path, XDP_TX);
			assert_int_equal(send_syn(gate, path), XDP_PASS);
		}
		close_pair(pair);
	}
}

/* A cookie of a flood comes back as well as a first one, the kernel's too. */
static void cookies_of_a_flood_are_good(void **state)
{
	struct gate *gate = *state;

	maps.env->tuples = 1;
	for (int way = PG_SHIELD_WAY_OWN; way <= PG_SHIELD_WAY_KERNEL; way++) {
		maps.env->way[SLOT_UNDER_TEST] = (uint8_t)way;
		write_sysctl("tcp_syncookies", way == PG_SHIELD_WAY_OWN ? 1 : 2);
		EACH_PATH(path)
		{
			struct datagram other = *path;

			for (uint16_t i = 0; i < COOKIES_BACK; i++) {
				struct segment ack = { .flags = ACK_FLAG, .sequence = 1 };
				struct link_frame frame;

				other.source_port = 10000 + i;
				assert_int_equal(send_syn(gate, &other), XDP_TX);
				ack.acked = pg_load_be32(answer_tcp(gate, &other) + 4) + 1;
				build_segment(&other, &ack, &frame);
				assert_int_equal(gate_run_on(gate, &frame, NULL), XDP_PASS);
			}
		}
	}
	write_sysctl("tcp_syncookies", 1);
	assert_int_equal(shield_counts(maps.counts, 1).cookies, 4 * COOKIES_BACK);
	assert_int_equal(shield_counts(maps.counts, 1).accepted, 4 * COOKIES_BACK);
	assert_int_equal(shield_counts(maps.counts, 1).refused, 0);
}

static int listen_at(const char *address, uint16_t port, int backlog, int level, int option,
		     int value)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_storage name;
	socklen_t bytes = fill_name(4, address, port, &name);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, level, option, &value, sizeof(value)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, bytes), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void shield_port(uint32_t index, uint16_t port)
{
	maps.shields[index] = maps.shields[1];
	maps.shields[index].port = port;
	maps.ports->first[port] = (uint8_t)index;
}

/* What was found at one address of a wildcard is not said of another. */
static void verdicts_are_of_one_address(void **state)
{
	struct gate *gate = *state;
	struct datagram open = paths[0], full = paths[0], client = paths[0];
	int listeners[2], waiting = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_storage name;
	socklen_t bytes;

	open.target_port = full.target_port = client.target_port = THIRD_PORT;
	full.target = FULL_TARGET;
	gate_add_local(gate, 4, FULL_TARGET);
	shield_port(2, THIRD_PORT);
	maps.env->tuples = 1;
	listeners[0] = listen_at(open.target, THIRD_PORT, BACKLOG, SOL_SOCKET, SO_REUSEADDR, 1);
	listeners[1] = listen_at(full.target, THIRD_PORT, 0, SOL_SOCKET, SO_REUSEADDR, 1);
	bytes = fill_name(4, full.target, THIRD_PORT, &name);
	assert_int_equal(connect(waiting, (struct sockaddr *)&name, bytes), 0);
	for (int i = 0; i < ROUNDS; i++) {
		flood(gate, &open, XDP_TX);
		assert_int_equal(send_syn(gate, &full), XDP_DROP);
		flood(gate, &full, XDP_DROP);
		assert_int_equal(send_syn(gate, &open), XDP_TX);
	}
	assert_int_equal(shield_counts(maps.counts, 2).full, ROUNDS * (FLOOD + 1));
	close(waiting);
	close(listeners[0]);
	close(listeners[1]);
}

/* Where each tuple may have another listener, or the helper would see less, all are looked up. */
static void some_are_always_looked_up(void **state)
{
	static const struct {
		const char *name;
		int level, option, value;
		enum pg_shield_way way;
	} rows[] = {
		{ "SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, 1, PG_SHIELD_WAY_OWN },
		{ "TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, 600, PG_SHIELD_WAY_KERNEL },
	};
	struct gate *gate = *state;
	struct datagram path = paths[0];

	path.target_port = FOURTH_PORT;
	shield_port(2, FOURTH_PORT);
	maps.env->tuples = 1;
	write_sysctl("tcp_syncookies", 2);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int listener = listen_at(path.target, FOURTH_PORT, BACKLOG, rows[i].level,
					 rows[i].option, rows[i].value);
		struct pair pair = connect_pair(&path, listener);

		maps.env->way[SLOT_UNDER_TEST] = rows[i].way;
		for (int round = 0; round < ROUNDS; round++) {
			flood(gate, &path, XDP_TX);
			if (send_syn(gate, &path) != XDP_PASS)
				fail_msg("%s: not looked up", rows[i].name);
		}
		close_pair(pair);
		close(listener);
	}
	write_sysctl("tcp_syncookies", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		shield_test(what_passes_is_marked),
		shield_test(what_is_not_looked_at_is_marked),
		shield_test(walk_marks_sockets),
		shield_test(sockets_keep_their_syns),
		shield_test(flood_is_not_looked_up),
		shield_test(cookies_of_a_flood_are_good),
		shield_test(verdicts_are_of_one_address),
		shield_test(some_are_always_looked_up),
	};

	return cmocka_run_group_tests(tests, set_up_addresses, gate_group_teardown);
}
