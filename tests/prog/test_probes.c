// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The programs beside the gate load on this kernel, and find a listener and its queues in its
 * structs. Prints what each costs the verifier.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packgate/tcpq.h"
#include "shield_seed.skel.h"
#include "shield_tc.skel.h"
#include "tcpq.skel.h"

#define BACKLOG 7
#define WAITING 3 /* connections that nobody accepts */
#define RECORDS 64
#define LISTEN	10 /* in pg_states */

static void print_costs(struct bpf_object *object)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object)
	{
		struct bpf_prog_info info = { 0 };
		uint32_t bytes = sizeof(info);

		assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &bytes),
				 0);
		print_message("%s: %u instructions processed\n", bpf_program__name(program),
			      info.verified_insns);
		assert_in_range(info.verified_insns, 1, 1000000);
	}
}

/* A listener on a port of the kernel's choice, and connections that wait in its queue. */
static int listen_somewhere(struct sockaddr_in *ret_address)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, BACKLOG), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
	for (int i = 0; i < WAITING; i++) {
		int client = socket(AF_INET, SOCK_STREAM, 0);

		assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	}
	*ret_address = address;
	return fd;
}

/* Every record that a walk writes; returns their number. */
static size_t walk(struct bpf_program *program, int map, struct pg_tcpq_record *records)
{
	union bpf_iter_link_info info = { .map.map_fd = map };
	LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = &info,
		    .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(program, map ? &options : NULL);
	size_t have = 0, room = RECORDS * sizeof(*records);
	ssize_t got;
	int fd;

	assert_non_null(link);
	fd = bpf_iter_create(bpf_link__fd(link));
	assert_true(fd >= 0);
	while (have < room && (got = read(fd, (char *)records + have, room - have)) > 0)
		have += got;
	close(fd);
	bpf_link__destroy(link);
	assert_int_equal(have % sizeof(*records), 0);
	return have / sizeof(*records);
}

static const struct pg_tcpq_record *record_of(const struct pg_tcpq_record *records, size_t n,
					      const struct sockaddr_in *address)
{
	const struct pg_tcpq_record *found = NULL;

	for (size_t i = 0; i < n; i++) {
		if (records[i].port != ntohs(address->sin_port))
			continue;
		assert_null(found);
		found = &records[i];
	}
	return found;
}

static void check_record(const struct pg_tcpq_record *record, uint8_t marked)
{
	static const uint8_t loopback[16] = { [10] = 0xff, 0xff, 127, 0, 0, 1 };

	assert_non_null(record);
	assert_memory_equal(record->address, loopback, sizeof(loopback));
	assert_int_equal(record->family, AF_INET);
	assert_int_equal(record->accept_length, WAITING);
	assert_int_equal(record->accept_high, WAITING);
	assert_int_equal(record->accept_limit, BACKLOG);
	assert_int_equal(record->syn_length, 0);
	assert_int_equal(record->drops, 0);
	assert_int_equal(record->marked, marked);
	assert_in_range(record->somaxconn, 128, 65536);
	assert_in_range(record->synack_retries, 1, 255);
	assert_true(record->inode && record->netns && record->cookie);
}

static struct tcpq_bpf *open_tcpq(void)
{
	struct tcpq_bpf *tcpq = tcpq_bpf__open();

	assert_non_null(tcpq);
	assert_int_equal(tcpq_bpf__load(tcpq), 0);
	return tcpq;
}

/* By the walk of all sockets, which also marks; then by the marks alone. */
static void listeners_are_read(void **state)
{
	static struct pg_tcpq_record records[RECORDS];
	struct tcpq_bpf *tcpq = open_tcpq();
	int marks = bpf_map__fd(tcpq->maps.pg_listeners);
	struct sockaddr_in address;
	int listener = listen_somewhere(&address);
	size_t n;

	print_costs(tcpq->obj);
	n = walk(tcpq->progs.pg_tcpq, 0, records);
	check_record(record_of(records, n, &address), 0);
	n = walk(tcpq->progs.pg_tcpq_all, marks, records);
	assert_null(record_of(records, n, &address));
	tcpq->bss->pg_marking = true;
	walk(tcpq->progs.pg_tcpq, 0, records);
	n = walk(tcpq->progs.pg_tcpq_all, marks, records);
	check_record(record_of(records, n, &address), 1);
	assert_int_equal(walk(tcpq->progs.pg_tcpq_high, marks, records), 0);
	assert_int_equal(walk(tcpq->progs.pg_tcp_states, 0, records), 0);
	assert_true(tcpq->bss->pg_states[LISTEN] >= 1);
	close(listener);
	n = walk(tcpq->progs.pg_tcpq_all, marks, records);
	assert_null(record_of(records, n, &address));
	tcpq_bpf__destroy(tcpq);
}

/* Who begins to listen is marked at once. */
static void listen_is_seen(void **state)
{
	static struct pg_tcpq_record records[RECORDS];
	struct tcpq_bpf *tcpq = open_tcpq();
	struct bpf_link *seen = bpf_program__attach(tcpq->progs.pg_tcpq_state);
	struct bpf_link *repeated = bpf_program__attach(tcpq->progs.pg_tcpq_synack);
	struct sockaddr_in address;
	int listener;
	size_t n;

	assert_non_null(seen);
	assert_non_null(repeated);
	listener = listen_somewhere(&address);
	n = walk(tcpq->progs.pg_tcpq_all, bpf_map__fd(tcpq->maps.pg_listeners), records);
	check_record(record_of(records, n, &address), 1);
	assert_true(tcpq->bss->pg_changes >= 1);
	close(listener);
	bpf_link__destroy(repeated);
	bpf_link__destroy(seen);
	tcpq_bpf__destroy(tcpq);
}

static void shield_at_tc_loads(void **state)
{
	struct btf *btf = btf__load_vmlinux_btf();
	struct shield_tc_bpf *shield;
	bool supported;

	assert_non_null(btf);
	supported = btf__find_by_name_kind(btf, "bpf_sk_assign_tcp_reqsk", BTF_KIND_FUNC) > 0;
	btf__free(btf);
	if (!supported) {
		print_message("skip shield_at_tc_loads: no bpf_sk_assign_tcp_reqsk before 6.9\n");
		skip();
	}
	shield = shield_tc_bpf__open();
	assert_non_null(shield);
	assert_int_equal(shield_tc_bpf__load(shield), 0);
	print_costs(shield->obj);
	shield_tc_bpf__destroy(shield);
}

static void walk_of_the_shield_loads(void **state)
{
	struct shield_seed_bpf *seed = shield_seed_bpf__open();

	assert_non_null(seed);
	assert_int_equal(shield_seed_bpf__load(seed), 0);
	print_costs(seed->obj);
	shield_seed_bpf__destroy(seed);
}

static int own_namespace(void **state)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(system("ip link set lo up"), 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listeners_are_read),
		cmocka_unit_test(listen_is_seen),
		cmocka_unit_test(shield_at_tc_loads),
		cmocka_unit_test(walk_of_the_shield_loads),
	};

	return cmocka_run_group_tests(tests, own_namespace, NULL);
}
