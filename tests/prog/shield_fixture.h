/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_FIXTURE_H
#define PG_SHIELD_FIXTURE_H

/*
 * The gate with a shield over listeners in a network namespace of this process, and the segments
 * to feed it with.
 */
#include <sched.h>
#include <stdlib.h>

#include "gate_fixture.h"
#include "packgate/shield.h"
#include "shield_counts.h"

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
	struct pg_shield_tuples *tuples;
	int counts;
	int listener; /* on PORT */
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

static inline void build_segment(const struct datagram *d, const struct segment *s,
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

/* Of both families. */
static inline int listen_on(uint16_t port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(fd, BACKLOG), 0);
	return fd;
}

static inline void write_sysctl(const char *name, int value)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "%d", value);
	assert_int_equal(fclose(file), 0);
}

static inline int setup(void **state)
{
	static struct gate gate;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(system("ip link set lo up"), 0);
	write_sysctl("tcp_syncookies", 1);
	maps.listener = listen_on(PORT);
	listen_on(OTHER_PORT);
	gate_open(&gate);
	maps.ports = gate_map_memory(gate.skeleton->maps.pg_shield_ports);
	maps.shields = gate_map_memory(gate.skeleton->maps.pg_shields);
	maps.states = gate_map_memory(gate.skeleton->maps.pg_shield_state);
	maps.env = gate_map_memory(gate.skeleton->maps.pg_shield_env);
	maps.tuples = gate_map_memory(gate.skeleton->maps.pg_shield_marks);
	maps.counts = bpf_map__fd(gate.skeleton->maps.pg_shield_count);
	*state = &gate;
	return 0;
}

static inline void clear_counts(void)
{
	struct pg_shield_counts *none = calloc(libbpf_num_possible_cpus(), sizeof(*none));
	uint32_t index = 1;

	assert_non_null(none);
	assert_int_equal(bpf_map_update_elem(maps.counts, &index, none, BPF_ANY), 0);
	free(none);
}

static inline int reset(void **state)
{
	struct gate *gate = *state;

	gate_reset(gate);
	EACH_PATH(path)
	gate_add_local(gate, path->family, path->target);
	memset(maps.states, 0, PG_SHIELDS_MAX * sizeof(*maps.states));
	memset(maps.ports, 0, sizeof(*maps.ports));
	memset(maps.env, 0, sizeof(*maps.env));
	memset(maps.tuples, 0, sizeof(*maps.tuples));
	clear_counts();
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

static inline int judge(struct gate *gate, const char *name, const struct datagram *path,
			struct segment segment, struct verdict want)
{
	struct link_frame frame;
	char full[128];

	snprintf(full, sizeof(full), "%s, IPv%d", name, path->family);
	build_segment(path, &segment, &frame);
	return gate_judge(gate, full, &frame, want);
}

static inline const uint8_t *answer_tcp(const struct gate *gate, const struct datagram *path)
{
	return gate->out.bytes + ETHER_BYTES + path->vlan_tags * VLAN_BYTES +
	       (path->family == 4 ? 20 : 40);
}

#define shield_test(function) cmocka_unit_test_setup(function, reset)

#endif
