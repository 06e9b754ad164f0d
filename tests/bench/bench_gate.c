// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What a frame costs in the gate, by verdict, with 100,000 sessions in 131,072 slots, beside an XDP
 * program that only returns XDP_DROP (DESIGN section 9). Every run also checks that the frame met
 * the verdict its row names, as often as it was run.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "packgate/abi.h"
#include "prog/datagram.h"
#include "prog/frame_spec.h"

#include "drop.skel.h"
#include "gate.skel.h"
#include "report.h"
#include "restore.h"
#include "restore.skel.h"
#include "shuffle.h"
#include "shuffle.skel.h"

#define SLOTS		 131072
#define SESSIONS	 100000
#define STREAMS		 16
#define REPEAT		 1000000
#define TARGETS_FLOOR_NS 28
#define FLOOR_REPEAT	 16000000 /* of the dropping program, which is much quicker */
#define ROUNDS		 9
#define GENEROUS	 4000000 /* frames a second: more than a run has */
#define PORT_EXACT	 4000
#define PORT_WILDCARD	 4001
#define PORT_FREE	 4002
#define STREAM_RELIABLE	 1
#define STREAM_NEWEST	 2
#define STREAM_UNORDERED 3
#define HIGHEST		 999 /* of every series; so 1000 is next, and 998 was received */
#define ARRAY_SIZE(a)	 (sizeof(a) / sizeof((a)[0]))

static const uint64_t guard_key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

/* Where frames come from and go to; index + 1 is the endpoint's index. */
static const struct datagram places[] = {
	{ .family = 4,
	  .source = "198.51.100.7",
	  .target = "192.0.2.1",
	  .source_port = 5555,
	  .target_port = PORT_EXACT },
	{ .family = 6,
	  .source = "2001:db8:7::7",
	  .target = "2001:db8::1",
	  .source_port = 5555,
	  .target_port = PORT_EXACT },
	{ .family = 4,
	  .source = "198.51.100.7",
	  .target = "192.0.2.1",
	  .source_port = 5555,
	  .target_port = PORT_WILDCARD },
	{ .family = 6,
	  .source = "2001:db8:7::7",
	  .target = "2001:db8::1",
	  .source_port = 5555,
	  .target_port = PORT_WILDCARD },
};

enum { V4, V6, V4_WILDCARD, V6_WILDCARD };

/* How a frame differs from an honest one. */
enum twist {
	HONEST,
	FORGED,	    /* another guard */
	FOREIGN,    /* ids that no session has */
	SHORT,	    /* 5 bytes */
	RESERVED,   /* a reserved bit */
	OPCODE,	    /* no such opcode */
	FLAGS,	    /* flags its opcode never has */
	LENGTH,	    /* a payload length that lies */
	ZERO_ID,    /* packId 0 */
	TINY,	    /* a payload shorter than its tag and guard */
	NOISE,	    /* ones */
	NOT_UDP,    /* TCP */
	OTHER_PORT, /* nobody's port */
};

struct row {
	const char *key; /* of the ratio in bench.json; rows with one key: the dearest counts */
	const char *label;
	uint8_t place;
	enum twist twist;
	uint8_t opcode;
	uint32_t stream, pack;
	int action;
	enum pg_drop drop;
	uint32_t unmatched_rate, ack_rate;
	double ns; /* the median */
};

#define GOOD		.action = XDP_REDIRECT, .pack = HIGHEST + 1
#define DROPPED(reason) .action = XDP_DROP, .drop = PG_DROP_##reason, .pack = HIGHEST + 1
#define SEEN		HIGHEST - 1

static struct row rows[] = {
	{ "gate_good_over_drop", "good, in order, IPv4", V4, GOOD },
	{ "gate_good_over_drop", "good, in order, IPv6", V6, GOOD },
	{ "gate_good_over_drop", "good, in order, IPv4 wildcard endpoint", V4_WILDCARD, GOOD },
	{ "gate_good_over_drop", "good, in order, IPv6 wildcard endpoint", V6_WILDCARD, GOOD },
	{ "gate_stream_over_drop", "good, in order, stream", V4, .stream = STREAM_RELIABLE, GOOD },
	{ "gate_older_over_drop", "good, out of order", V4, .action = XDP_REDIRECT,
	  .pack = HIGHEST - 2 },
	{ "gate_control_over_drop", "good, ack", V4, .opcode = PG_OP_ACK, GOOD },
	{ "gate_junk_over_drop", "junk, 5 bytes", V4, SHORT, DROPPED(FRAME_SHORT) },
	{ "gate_junk_over_drop", "junk, reserved bit", V4, RESERVED, DROPPED(RESERVED_BITS) },
	{ "gate_junk_over_drop", "junk, ones", V4, NOISE, DROPPED(RESERVED_BITS) },
	{ "gate_junk_over_drop", "junk, opcode", V4, OPCODE, DROPPED(OPCODE) },
	{ "gate_junk_over_drop", "junk, flags", V4, FLAGS, DROPPED(FLAGS) },
	{ "gate_junk_over_drop", "junk, length", V4, LENGTH, DROPPED(LENGTH_MISMATCH) },
	{ "gate_junk_over_drop", "junk, packId 0", V4, ZERO_ID, DROPPED(ID_ZERO) },
	{ "gate_junk_over_drop", "junk, payload size", V4, TINY, DROPPED(PAYLOAD_SIZE) },
	{ "gate_junk_over_drop", "junk, opcode, IPv6", V6, OPCODE, DROPPED(OPCODE) },
	{ "gate_unknown_over_drop", "unknown session, within the rate", V4, FOREIGN,
	  DROPPED(NO_SESSION), .unmatched_rate = GENEROUS },
	{ "gate_unknown_over_drop", "unknown session, beyond the rate", V4, FOREIGN,
	  DROPPED(RATE_LIMITED) },
	{ "gate_forged_over_drop", "forged guard, IPv4", V4, FORGED, DROPPED(GUARD) },
	{ "gate_forged_over_drop", "forged guard, IPv6", V6, FORGED, DROPPED(GUARD) },
	{ "gate_duplicate_over_drop", "duplicate, beyond the rate of acks", V4, .pack = SEEN,
	  .action = XDP_DROP, .drop = PG_DROP_REPLAY_SEEN },
	{ "gate_duplicate_over_drop", "duplicate, unordered stream", V4, .pack = SEEN,
	  .stream = STREAM_UNORDERED, .action = XDP_DROP, .drop = PG_DROP_REPLAY_SEEN },
	{ "gate_duplicate_over_drop", "duplicate, newest stream", V4, .pack = SEEN,
	  .stream = STREAM_NEWEST, .action = XDP_DROP, .drop = PG_DROP_NOT_MONOTONIC },
	{ "gate_other_port_over_drop", "another port", V4, OTHER_PORT, .action = XDP_PASS },
	{ "gate_tcp_over_drop", "TCP", V4, NOT_UDP, .action = XDP_PASS },
};

struct bench {
	struct gate_bpf *gate;
	struct drop_bpf *drop;
	struct shuffle_bpf *shuffle;
	struct restore_bpf *restore;
	struct pg_shared *shared;
	struct pg_session *sessions;
	struct pg_window *windows;
	struct pg_stream_line *stream_lines;
	struct pg_window *stream_windows;
	double setup_ns; /* CPU time of a run but for its repeats */
};

static void fail(const char *what, int err)
{
	fprintf(stderr, "bench_gate: %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

/* --- the maps, as the agent would fill them ----------------------------------------------------
 */

static void *map_memory(struct bpf_map *map)
{
	size_t bytes = (size_t)((bpf_map__value_size(map) + 7) & ~7u) * bpf_map__max_entries(map);
	void *memory = mmap(NULL, (bytes + 4095) & ~4095ul, PROT_READ | PROT_WRITE, MAP_SHARED,
			    bpf_map__fd(map), 0);

	if (memory == MAP_FAILED)
		fail("mapping an array", errno);
	return memory;
}

static void set(struct bpf_map *map, const void *key, const void *value)
{
	if (bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY))
		fail(bpf_map__name(map), errno);
}

static void parse_address(const struct datagram *d, const char *text, uint64_t ret_address[2])
{
	uint8_t bytes[16] = { [10] = 0xff, [11] = 0xff };

	inet_pton(d->family == 4 ? AF_INET : AF_INET6, text, d->family == 4 ? bytes + 12 : bytes);
	memcpy(ret_address, bytes, sizeof(bytes));
}

static struct frame_ids ids_of(uint32_t index)
{
	return (struct frame_ids){ .client = 0x5550 | (index & 15), .server = 1 + (index >> 4) };
}

static uint32_t id_of(uint32_t index)
{
	struct frame_ids ids = ids_of(index);

	return (uint32_t)ids.client << 16 | ids.server;
}

static void set_endpoint(struct bench *bench, uint32_t place)
{
	const struct datagram *d = &places[place];
	bool wildcard = d->target_port == PORT_WILDCARD, first = d->family == 4;
	struct pg_endpoint endpoint = {
		.port_be = htons(d->target_port),
		.family = d->family,
		.guard = 1,
		.wildcard = wildcard,
		.next = first ? place + 2 : 0,
	};
	struct pg_local local;
	uint32_t index = place + 1, port = d->target_port, slot;

	parse_address(d, d->target, (uint64_t *)local.address);
	if (!wildcard)
		memcpy(endpoint.address, local.address, sizeof(endpoint.address));
	set(bench->gate->maps.pg_endpoints, &index, &endpoint);
	if (first)
		set(bench->gate->maps.pg_ports, &port, &index);
	slot = PG_LOCAL_HASH(local.address[0], local.address[1]);
	set(bench->gate->maps.pg_locals, &slot, &local);
}

static void mark_received(struct pg_window *window, uint32_t pack)
{
	window->bits[pack >> 6 & (PG_WINDOW_WORDS - 1)] |= 1ull << (pack & 63);
}

static void set_session(struct bench *bench, uint32_t index, uint32_t place)
{
	uint32_t slot = PG_SESSION_SLOT(id_of(index), SLOTS - 1);
	struct pg_session session = {
		.id = id_of(index),
		.highest = HIGHEST,
		.endpoint = place + 1,
		.peer_port_be = htons(places[place].source_port),
		.state = PG_SESSION_READY,
		.policy = PG_POLICY_RELIABLE,
		.guard_c2s = { guard_key[0], guard_key[1] },
	};

	parse_address(&places[place], places[place].source, (uint64_t *)session.peer);
	bench->sessions[slot] = session;
	mark_received(&bench->windows[slot], HIGHEST);
	mark_received(&bench->windows[slot], SEEN);
}

/* The session that a row at this place uses; the first ones are everybody's. */
static uint32_t session_at(uint32_t place)
{
	return SESSIONS + place;
}

static void set_stream(struct bench *bench, uint32_t stream, uint8_t policy)
{
	struct pg_stream_key key = {
		.session_slot = PG_SESSION_SLOT(id_of(session_at(V4)), SLOTS - 1),
		.stream = stream,
	};
	struct pg_stream_ref ref = { .slot = stream };

	bench->stream_lines[stream] = (struct pg_stream_line){
		.session_slot = key.session_slot,
		.stream = stream,
		.highest = HIGHEST,
		.state = PG_STREAM_READY,
		.policy = policy,
	};
	mark_received(&bench->stream_windows[stream], HIGHEST);
	mark_received(&bench->stream_windows[stream], SEEN);
	set(bench->gate->maps.pg_streams, &key, &ref);
}

/* An AF_XDP socket need not be bound to stand in the map: that is enough for a redirect. */
static void set_socket(struct bench *bench)
{
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	uint32_t queue = 0;

	if (fd < 0)
		fail("AF_XDP socket", errno);
	set(bench->gate->maps.pg_xsks, &queue, &fd);
}

static void fill_maps(struct bench *bench)
{
	bench->shared = map_memory(bench->gate->maps.pg_shared);
	bench->sessions = map_memory(bench->gate->maps.pg_sessions);
	bench->windows = map_memory(bench->gate->maps.pg_windows);
	bench->stream_lines = map_memory(bench->gate->maps.pg_strm_lines);
	bench->stream_windows = map_memory(bench->gate->maps.pg_strm_windows);
	bench->shared->sample_mask = ~0u;
	for (uint32_t place = 0; place < ARRAY_SIZE(places); place++) {
		set_endpoint(bench, place);
		set_session(bench, session_at(place), place);
	}
	for (uint32_t i = 0; i < SESSIONS; i++)
		set_session(bench, i, V4);
	set_stream(bench, STREAM_RELIABLE, PG_POLICY_RELIABLE);
	set_stream(bench, STREAM_NEWEST, PG_POLICY_NEWEST);
	set_stream(bench, STREAM_UNORDERED, PG_POLICY_UNORDERED);
	set_socket(bench);
}

static void load(struct bench *bench)
{
	int err;

	bench->gate = gate_bpf__open();
	bench->drop = drop_bpf__open_and_load();
	if (!bench->gate || !bench->drop)
		fail("opening the BPF objects", errno);
	bpf_map__set_max_entries(bench->gate->maps.pg_sessions, SLOTS);
	bpf_map__set_max_entries(bench->gate->maps.pg_windows, SLOTS);
	bpf_map__set_max_entries(bench->gate->maps.pg_opened, SLOTS);
	bpf_map__set_max_entries(bench->gate->maps.pg_acks, SLOTS);
	bpf_map__set_max_entries(bench->gate->maps.pg_streams, STREAMS);
	bpf_map__set_max_entries(bench->gate->maps.pg_strm_lines, STREAMS);
	bpf_map__set_max_entries(bench->gate->maps.pg_strm_windows, STREAMS);
	bench->gate->rodata->session_mask = SLOTS - 1;
	bench->gate->rodata->acks_here = true;
	err = gate_bpf__load(bench->gate);
	if (err)
		fail("loading the gate", err);
	fill_maps(bench);
}

/* --- frames ------------------------------------------------------------------------------------
 */

static void twist_frame(enum twist twist, struct frame_bytes *frame)
{
	switch (twist) {
	case FORGED:
		frame->bytes[frame->n - 1] ^= 1;
		break;
	case SHORT:
		frame->n = 5;
		break;
	case RESERVED:
		frame->bytes[12] |= 0x04;
		break;
	case OPCODE:
		frame->bytes[13] = 0x0d;
		break;
	case FLAGS:
		frame->bytes[12] |= 0x01;
		break;
	case LENGTH:
		frame->bytes[15]++;
		break;
	case ZERO_ID:
		memset(frame->bytes + 16, 0, 4);
		break;
	case NOISE:
		memset(frame->bytes, 0xff, frame->n);
		break;
	default:
		break;
	}
}

static void build_row(const struct row *row, struct link_frame *ret_link)
{
	struct frame_spec spec = {
		.opcode = row->opcode,
		.flags = row->stream ? 0xc0 : 0x40,
		.stream = row->stream,
		.pack = row->pack ? row->pack : 1,
		.payload = row->opcode		? 0
			   : row->twist == TINY ? 15
						: 272,
	};
	/* a slot in use, and an id that its holder does not have */
	struct frame_ids ids = ids_of(row->twist == FOREIGN ? 77 : session_at(row->place));
	struct datagram d = places[row->place];
	struct frame_bytes frame;

	if (row->twist == FOREIGN)
		ids.client ^= 0x100;
	build_frame(&spec, ids, guard_key, &frame);
	twist_frame(row->twist, &frame);
	if (row->twist == NOT_UDP)
		d.protocol = IPPROTO_TCP;
	if (row->twist == OTHER_PORT)
		d.target_port = PORT_FREE;
	build_datagram(&d, frame.bytes, frame.n, ret_link);
}

/* --- time --------------------------------------------------------------------------------------
 */

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

/* CPU time of one call; *ret_duration is the kernel's own reading, whole ns a repeat. */
static double run(struct bpf_program *program, const struct link_frame *link, uint32_t repeat,
		  int action, uint32_t *ret_duration)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = link->bytes, .data_size_in = link->n,
		    .repeat = repeat);
	double start = cpu_ns(), end;
	int err = bpf_prog_test_run_opts(bpf_program__fd(program), &options);

	end = cpu_ns();
	if (err)
		fail("test run", err);
	if ((int)options.retval != action) {
		fprintf(stderr, "bench_gate: %s returned %u instead of %d\n",
			bpf_program__name(program), options.retval, action);
		exit(1);
	}
	*ret_duration = options.duration;
	return end - start;
}

/* ns a repeat, finer than the duration that the kernel cuts to whole ones. */
static double run_ns(struct bench *bench, struct bpf_program *program,
		     const struct link_frame *link, uint32_t repeat, int action)
{
	uint32_t duration;
	double ns = run(program, link, repeat, action, &duration);

	ns = (ns - bench->setup_ns) / repeat;
	/* a run that was disturbed shows by its wall-clock time; the CPU time then is the truth */
	return ns < duration ? ns : ns > duration + 1 ? duration + 1 : ns;
}

static void measure_setup(struct bench *bench, const struct link_frame *link)
{
	double values[ROUNDS];
	uint32_t duration;

	for (int i = 0; i < ROUNDS; i++)
		values[i] = run(bench->drop->progs.drop, link, 1, XDP_DROP, &duration);
	bench->setup_ns = median(values, ROUNDS);
}

static uint64_t drops(const struct bench *bench, enum pg_drop drop)
{
	struct pg_count values[256] = { 0 };
	uint32_t index = PG_DROP_INDEX(0, 0, drop);
	uint64_t total = 0;

	bpf_map_lookup_elem(bpf_map__fd(bench->gate->maps.pg_drops), &index, values);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus() && cpu < 256; cpu++)
		total += values[cpu].packets;
	return total;
}

static double run_row(struct bench *bench, const struct row *row)
{
	struct link_frame link;
	uint64_t before;
	double ns;

	build_row(row, &link);
	bench->shared->unmatched_rate = row->unmatched_rate;
	bench->shared->ack_rate = row->ack_rate;
	before = drops(bench, row->drop);
	ns = run_ns(bench, bench->gate->progs.pg_gate, &link, REPEAT, row->action);
	if (row->drop && drops(bench, row->drop) - before != REPEAT) {
		fprintf(stderr, "bench_gate: %s: not every frame was dropped for that reason\n",
			row->label);
		exit(1);
	}
	return ns;
}

/* --- 100,000 sessions in random order ----------------------------------------------------------
 */

static void shuffle_order(uint32_t *order)
{
	uint64_t state = 0x9e3779b97f4a7c15;

	for (uint32_t i = 0; i < SESSIONS; i++)
		order[i] = i;
	for (uint32_t i = SESSIONS - 1; i; i--) {
		uint32_t other, kept = order[i];

		state = state * 6364136223846793005u + 1442695040888963407u;
		other = (state >> 33) % (i + 1);
		order[i] = order[other];
		order[other] = kept;
	}
}

static void build_visit(uint32_t index, uint32_t pack, struct link_frame *ret_link,
			struct visit *ret_visit)
{
	struct frame_spec spec = { .flags = 0x40, .pack = pack, .payload = 272 };
	struct frame_bytes frame;

	build_frame(&spec, ids_of(index), guard_key, &frame);
	ret_visit->session_be = htonl(id_of(index));
	memcpy(&ret_visit->guard_le, frame.bytes + frame.n - 8, 8);
	build_datagram(&places[V4], frame.bytes, frame.n, ret_link);
}

static void fill_visits(struct bench *bench, uint32_t pack, struct link_frame *ret_link)
{
	uint32_t *order = calloc(SESSIONS, sizeof(*order));
	struct visit visit = { 0 };

	if (!order)
		fail("shuffling", ENOMEM);
	shuffle_order(order);
	for (uint32_t i = 0; i < SESSIONS; i++) {
		build_visit(order[i], pack, ret_link, &visit);
		set(bench->shuffle->maps.visits, &i, &visit);
	}
	free(order);
}

static void load_shuffle(struct bench *bench)
{
	uint32_t to_gate = SHUFFLE_TO_GATE, to_drop = SHUFFLE_TO_DROP;
	int gate = bpf_program__fd(bench->gate->progs.pg_gate);
	int drop = bpf_program__fd(bench->drop->progs.drop);
	int err;

	bench->shuffle = shuffle_bpf__open();
	if (!bench->shuffle)
		fail("opening the shuffle program", errno);
	bpf_map__set_max_entries(bench->shuffle->maps.visits, SESSIONS);
	bench->shuffle->rodata->visit_count = SESSIONS;
	bench->shuffle->rodata->frame_at = 42;
	bench->shuffle->rodata->guard_at = 42 + 20 + 272;
	err = shuffle_bpf__load(bench->shuffle);
	if (err)
		fail("loading the shuffle program", err);
	set(bench->shuffle->maps.targets, &to_gate, &gate);
	set(bench->shuffle->maps.targets, &to_drop, &drop);
}

/* What the gate costs behind the turning of frames, less what that costs in front of a drop. */
static double measure_random(struct bench *bench, uint32_t pack, double drop_only)
{
	double values[ROUNDS], turning;
	struct link_frame link;

	fill_visits(bench, pack, &link);
	for (int i = 0; i < ROUNDS; i++) {
		turning =
			run_ns(bench, bench->shuffle->progs.shuffle_drop, &link, REPEAT, XDP_DROP);
		values[i] = run_ns(bench, bench->shuffle->progs.shuffle_gate, &link, REPEAT,
				   XDP_REDIRECT) -
			    turning + drop_only;
	}
	return median(values, ROUNDS);
}

/* --- a duplicate, acked ------------------------------------------------------------------------
 */

static void load_restore(struct bench *bench)
{
	uint32_t to_gate = RESTORE_TO_GATE, to_drop = RESTORE_TO_DROP;
	int gate = bpf_program__fd(bench->gate->progs.pg_gate);
	int drop = bpf_program__fd(bench->drop->progs.drop);

	bench->restore = restore_bpf__open_and_load();
	if (!bench->restore)
		fail("loading the restore program", errno);
	set(bench->restore->maps.next, &to_gate, &gate);
	set(bench->restore->maps.next, &to_drop, &drop);
}

/* The ack replaces the frame: what it takes to bring that back is taken off. */
static double measure_acked(struct bench *bench, double drop_only)
{
	struct frame_spec spec = { .flags = 0x40, .pack = SEEN, .payload = 48 };
	struct restored restored = { 0 };
	double values[ROUNDS], restoring;
	struct link_frame link;
	struct frame_bytes frame;
	uint32_t zero = 0;

	build_frame(&spec, ids_of(session_at(V4)), guard_key, &frame);
	build_datagram(&places[V4], frame.bytes, frame.n, &link);
	if (link.n != RESTORED_BYTES)
		fail("the frame to restore", EINVAL);
	memcpy(restored.bytes, link.bytes, link.n);
	set(bench->restore->maps.frame, &zero, &restored);
	bench->shared->ack_rate = GENEROUS;
	for (int i = 0; i < ROUNDS; i++) {
		restoring =
			run_ns(bench, bench->restore->progs.restore_drop, &link, REPEAT, XDP_DROP);
		values[i] =
			run_ns(bench, bench->restore->progs.restore_gate, &link, REPEAT, XDP_TX) -
			restoring + drop_only;
	}
	return median(values, ROUNDS);
}

/* --- the report --------------------------------------------------------------------------------
 */

static void measure_rows(struct bench *bench, double *ret_drop_only)
{
	static double values[ARRAY_SIZE(rows)][ROUNDS];
	double drop_only[ROUNDS];
	struct link_frame link;

	build_row(&rows[0], &link);
	measure_setup(bench, &link);
	for (int round = 0; round < ROUNDS; round++) {
		drop_only[round] =
			run_ns(bench, bench->drop->progs.drop, &link, FLOOR_REPEAT, XDP_DROP);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
			values[i][round] = run_row(bench, &rows[i]);
	}
	*ret_drop_only = median(drop_only, ROUNDS);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		rows[i].ns = median(values[i], ROUNDS);
}

static bool dearest(const struct row *row)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].key, row->key) &&
		    (rows[i].ns > row->ns || (rows[i].ns == row->ns && &rows[i] < row)))
			return false;
	return true;
}

static void report_ratio(const char *key, const char *label, double ns, double drop_only,
			 bool counts)
{
	char ns_key[64];

	snprintf(ns_key, sizeof(ns_key), "%.*s_ns", (int)(strlen(key) - strlen("_over_drop")), key);
	if (counts)
		report_value(key, ns / drop_only, "x", label);
	report_value(counts ? ns_key : "-", ns, "ns", label);
}

static void pin(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

int main(void)
{
	struct bench bench = { 0 };
	double drop_only;

	pin();
	load(&bench);
	load_shuffle(&bench);
	load_restore(&bench);
	measure_rows(&bench, &drop_only);
	report_note(
		"gate: BPF_PROG_TEST_RUN, %d repeats a run, median of %d interleaved rounds, CPU "
		"time of the run less its set-up (the kernel's own reading, which it cuts to "
		"whole ns, bounds it)",
		REPEAT, ROUNDS);
	report_note("gate: %d sessions in %d slots; an accepted frame ends in a redirect to a real "
		    "AF_XDP socket in the map",
		    SESSIONS, SLOTS);
	report_note("gate: the targets were set where return XDP_DROP reads %d ns, the harness "
		    "included; here it reads %.1f ns: the further apart, the less the ratios and "
		    "the more the ns tell",
		    TARGETS_FLOOR_NS, drop_only);
	report_value("gate_drop_only_ns", drop_only, "ns", "return XDP_DROP");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		report_ratio(rows[i].key, rows[i].label, rows[i].ns, drop_only, dearest(&rows[i]));
	report_note("gate, duplicate acked: a program in front restores the frame at each repeat; "
		    "what it costs in front of XDP_DROP is taken off");
	report_ratio("gate_duplicate_acked_over_drop", "duplicate, acked by the gate",
		     measure_acked(&bench, drop_only), drop_only, true);
	report_note("gate, random order: a program in front turns the frame into one of the next "
		    "session of a shuffled list and tail-calls the gate; what it costs in front of "
		    "XDP_DROP is taken off");
	report_ratio("gate_random_over_drop", "100,000 sessions in random order",
		     measure_random(&bench, HIGHEST + 1, drop_only), drop_only, true);
	report_ratio("gate_random_older_over_drop", "the same, out of order (reads the window)",
		     measure_random(&bench, HIGHEST - 2, drop_only), drop_only, true);
	restore_bpf__destroy(bench.restore);
	shuffle_bpf__destroy(bench.shuffle);
	drop_bpf__destroy(bench.drop);
	gate_bpf__destroy(bench.gate); /* the mappings go with the process */
	return 0;
}
