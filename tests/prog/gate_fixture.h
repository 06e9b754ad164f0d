/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TEST_GATE_FIXTURE_H
#define PG_TEST_GATE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datagram.h"
#include "frame_spec.h"
#include "packgate/abi.h"
#include "packgate/guard.h"
#include "packgate/replay_commit.h"
#include "gate.skel.h"

/*
 * The gate in BPF_PROG_TEST_RUN: loads it, puts endpoints, sessions and streams where the agent
 * would, and checks of each frame the action, every counter, and that no session state moved.
 */

#define SLOT_UNDER_TEST 3 /* not 0, so that the arithmetic of the arrays shows */
#define SESSIONS	1024
#define STREAMS		256
#define GUARDED_PORT	4000
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

struct gate {
	struct gate_bpf *skeleton;
	bool fresh; /* the counters are as the last judged frame left them */
	int program, socket;
	struct link_frame out; /* what came out of the last run */
	struct pg_shared *shared;
	struct pg_session *sessions;
	struct pg_window *windows;
	struct pg_opened *opened;
	struct pg_acks_state *acks;
	struct pg_stream_line *stream_lines;
	struct pg_window *stream_windows;
};

/* One address family: the endpoint, the pinned peer and the session there. */
struct place {
	const char *name;
	uint32_t endpoint;
	struct datagram datagram; /* from the pinned peer to the endpoint */
	struct frame_ids ids;
	uint64_t key[2];
};

static const struct place places[] = {
	{ "IPv4",
	  1,
	  { .family = 4,
	    .source = "198.51.100.7",
	    .target = "192.0.2.1",
	    .source_port = 5555,
	    .target_port = GUARDED_PORT },
	  { 0x1234, 0xabcd },
	  { 0x0706050403020100, 0x0f0e0d0c0b0a0908 } },
	{ "IPv6",
	  2,
	  { .family = 6,
	    .source = "2001:db8:7::7",
	    .target = "2001:db8::1",
	    .source_port = 5556,
	    .target_port = GUARDED_PORT },
	  { 0x1235, 0xabce },
	  { 0x1716151413121110, 0x1f1e1d1c1b1a1918 } },
};

#define EACH_PLACE(p) for (const struct place *p = places; p < places + ARRAY_SIZE(places); p++)

/* --- open and close ----------------------------------------------------------------------------
 */

static inline void *gate_map_memory(struct bpf_map *map)
{
	size_t bytes = (size_t)((bpf_map__value_size(map) + 7) & ~7u) * bpf_map__max_entries(map);
	void *memory = mmap(NULL, (bytes + 4095) & ~4095ul, PROT_READ | PROT_WRITE, MAP_SHARED,
			    bpf_map__fd(map), 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

static inline void gate_size_maps(struct gate_bpf *skeleton)
{
	bpf_map__set_max_entries(skeleton->maps.pg_sessions, SESSIONS);
	bpf_map__set_max_entries(skeleton->maps.pg_windows, SESSIONS);
	bpf_map__set_max_entries(skeleton->maps.pg_opened, SESSIONS);
	bpf_map__set_max_entries(skeleton->maps.pg_acks, SESSIONS);
	bpf_map__set_max_entries(skeleton->maps.pg_streams, STREAMS);
	bpf_map__set_max_entries(skeleton->maps.pg_strm_lines, STREAMS);
	bpf_map__set_max_entries(skeleton->maps.pg_strm_windows, STREAMS);
}

/* An AF_XDP socket need not be bound to stand in the map: that is enough for a redirect. */
static inline void gate_set_socket(struct gate *gate, uint32_t queue, bool present)
{
	int map = bpf_map__fd(gate->skeleton->maps.pg_xsks);

	if (present)
		assert_int_equal(bpf_map_update_elem(map, &queue, &gate->socket, BPF_ANY), 0);
	else
		bpf_map_delete_elem(map, &queue);
}

/* acks_here: the gate acks duplicates itself. */
static inline void gate_open_with(struct gate *gate, bool acks_here)
{
	gate->skeleton = gate_bpf__open();
	assert_non_null(gate->skeleton);
	gate_size_maps(gate->skeleton);
	gate->skeleton->rodata->interface_slot = SLOT_UNDER_TEST;
	gate->skeleton->rodata->session_mask = SESSIONS - 1;
	gate->skeleton->rodata->acks_here = acks_here;
	assert_int_equal(gate_bpf__load(gate->skeleton), 0);
	gate->program = bpf_program__fd(gate->skeleton->progs.pg_gate);
	gate->shared = gate_map_memory(gate->skeleton->maps.pg_shared);
	gate->sessions = gate_map_memory(gate->skeleton->maps.pg_sessions);
	gate->windows = gate_map_memory(gate->skeleton->maps.pg_windows);
	gate->opened = gate_map_memory(gate->skeleton->maps.pg_opened);
	gate->acks = gate_map_memory(gate->skeleton->maps.pg_acks);
	gate->stream_lines = gate_map_memory(gate->skeleton->maps.pg_strm_lines);
	gate->stream_windows = gate_map_memory(gate->skeleton->maps.pg_strm_windows);
	gate->socket = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(gate->socket >= 0);
}

static inline void gate_open(struct gate *gate)
{
	gate_open_with(gate, false);
}

static inline void gate_close(struct gate *gate)
{
	close(gate->socket);
	gate_bpf__destroy(gate->skeleton); /* the mappings go with the process */
}

/* --- endpoints, sessions, streams --------------------------------------------------------------
 */

/* Bytes in network order; IPv4 as ::ffff:a.b.c.d. */
static inline void parse_address(int family, const char *text, uint64_t ret_address[2])
{
	uint8_t bytes[16] = { [10] = 0xff, [11] = 0xff };

	if (family == 4)
		assert_int_equal(inet_pton(AF_INET, text, bytes + 12), 1);
	else
		assert_int_equal(inet_pton(AF_INET6, text, bytes), 1);
	memcpy(ret_address, bytes, sizeof(bytes));
}

static inline void gate_set_port(struct gate *gate, uint16_t port, uint32_t endpoint)
{
	uint32_t key = port;
	int map = bpf_map__fd(gate->skeleton->maps.pg_ports);

	assert_int_equal(bpf_map_update_elem(map, &key, &endpoint, BPF_ANY), 0);
}

static inline void gate_set_endpoint(struct gate *gate, uint32_t index,
				     const struct pg_endpoint *endpoint)
{
	int map = bpf_map__fd(gate->skeleton->maps.pg_endpoints);

	assert_int_equal(bpf_map_update_elem(map, &index, endpoint, BPF_ANY), 0);
}

static inline struct pg_endpoint gate_endpoint(const struct gate *gate, uint32_t index)
{
	struct pg_endpoint endpoint;
	int map = bpf_map__fd(gate->skeleton->maps.pg_endpoints);

	assert_int_equal(bpf_map_lookup_elem(map, &index, &endpoint), 0);
	return endpoint;
}

/* Changes one field of every endpoint of `places`. */
#define GATE_EDIT_ENDPOINTS(gate, field, value)                                          \
	EACH_PLACE(edited_)                                                              \
	{                                                                                \
		struct pg_endpoint endpoint_ = gate_endpoint((gate), edited_->endpoint); \
		endpoint_.field = (value);                                               \
		gate_set_endpoint((gate), edited_->endpoint, &endpoint_);                \
	}

/* Puts an address into the first free slot of its probes, as the agent does. */
static inline void gate_add_local(struct gate *gate, int family, const char *address)
{
	int map = bpf_map__fd(gate->skeleton->maps.pg_locals);
	struct pg_local local, slot_now;
	uint32_t slot, probes = 0;

	parse_address(family, address, (uint64_t *)local.address);
	slot = PG_LOCAL_HASH(local.address[0], local.address[1]);
	for (;; slot = (slot + 1) % PG_LOCALS_SLOTS) {
		assert_int_not_equal(probes++, PG_LOCALS_PROBES);
		assert_int_equal(bpf_map_lookup_elem(map, &slot, &slot_now), 0);
		if (!(slot_now.address[0] | slot_now.address[1]))
			break;
	}
	assert_int_equal(bpf_map_update_elem(map, &slot, &local, BPF_ANY), 0);
}

static inline void gate_clear_map(struct bpf_map *map)
{
	uint32_t entries = bpf_map__max_entries(map), count = entries;
	uint32_t *keys = calloc(entries, sizeof(*keys));
	void *zero = calloc(entries, bpf_map__value_size(map));

	assert_true(zero && keys);
	for (uint32_t i = 0; i < entries; i++)
		keys[i] = i;
	assert_int_equal(bpf_map_update_batch(bpf_map__fd(map), keys, zero, &count, NULL), 0);
	free(zero);
	free(keys);
}

static inline uint32_t session_id(struct frame_ids ids)
{
	return (uint32_t)ids.client << 16 | ids.server;
}

static inline uint32_t session_slot(struct frame_ids ids)
{
	return PG_SESSION_SLOT(session_id(ids), SESSIONS - 1);
}

static inline struct pg_session *place_session(struct gate *gate, const struct place *place)
{
	return &gate->sessions[session_slot(place->ids)];
}

static inline struct pg_window *place_window(struct gate *gate, const struct place *place)
{
	return &gate->windows[session_slot(place->ids)];
}

static inline void gate_set_session(struct gate *gate, const struct place *place)
{
	struct pg_session *session = place_session(gate, place);

	*session = (struct pg_session){
		.id = session_id(place->ids),
		.endpoint = place->endpoint,
		.peer_port_be = htons(place->datagram.source_port),
		.state = PG_SESSION_READY,
		.policy = PG_POLICY_RELIABLE,
		.guard_c2s = { place->key[0], place->key[1] },
		.guard_s2c = { ~place->key[0], ~place->key[1] },
	};
	parse_address(place->datagram.family, place->datagram.source, (uint64_t *)session->peer);
	memset(place_window(gate, place), 0, sizeof(struct pg_window));
}

/* A stream in slot of pg_strm_lines; STREAM_FREE takes it out of the line, not out of the hash. */
static inline void gate_set_stream(struct gate *gate, const struct place *place, uint32_t stream,
				   uint32_t slot, uint8_t state, uint8_t policy)
{
	struct pg_stream_key key = { .session_slot = session_slot(place->ids), .stream = stream };
	struct pg_stream_ref ref = { .slot = slot };
	int map = bpf_map__fd(gate->skeleton->maps.pg_streams);

	gate->stream_lines[slot] = (struct pg_stream_line){
		.session_slot = key.session_slot,
		.stream = stream,
		.state = state,
		.policy = policy,
	};
	memset(&gate->stream_windows[slot], 0, sizeof(struct pg_window));
	assert_int_equal(bpf_map_update_elem(map, &key, &ref, BPF_ANY), 0);
}

static inline void gate_clear_streams(struct gate *gate)
{
	int map = bpf_map__fd(gate->skeleton->maps.pg_streams);
	struct pg_stream_key key;

	while (!bpf_map_get_next_key(map, NULL, &key))
		bpf_map_delete_elem(map, &key);
}

/*
 * The state every test starts from: one guarded endpoint and one READY session in either family,
 * both on one port; a socket on queue 0; rates that nothing reaches; no sampling.
 */
static inline void gate_reset(struct gate *gate)
{
	memset(gate->sessions, 0, SESSIONS * sizeof(*gate->sessions));
	memset(gate->windows, 0, SESSIONS * sizeof(*gate->windows));
	memset(gate->opened, 0, SESSIONS * sizeof(*gate->opened));
	memset(gate->acks, 0, SESSIONS * sizeof(*gate->acks));
	memset(gate->stream_lines, 0, STREAMS * sizeof(*gate->stream_lines));
	memset(gate->stream_windows, 0, STREAMS * sizeof(*gate->stream_windows));
	gate_clear_streams(gate);
	gate_clear_map(gate->skeleton->maps.pg_locals);
	gate_clear_map(gate->skeleton->maps.pg_sources);
	gate_clear_map(gate->skeleton->maps.pg_ports);
	gate_clear_map(gate->skeleton->maps.pg_endpoints);
	gate->shared->unmatched_rate = gate->shared->ack_rate = 1000000;
	gate->shared->without_agent = PG_WITHOUT_DROP;
	gate->shared->sample_mask = ~0u;
	gate->shared->cookie_due = 0;
	gate_set_socket(gate, 0, true);
	gate_set_port(gate, GUARDED_PORT, places[0].endpoint);
	EACH_PLACE(place)
	{
		struct pg_endpoint endpoint = {
			.id = place->endpoint,
			.family = place->datagram.family,
			.port_be = htons(place->datagram.target_port),
			.guard = 1,
			.next = place == places ? places[1].endpoint : 0,
		};

		parse_address(place->datagram.family, place->datagram.target,
			      (uint64_t *)endpoint.address);
		gate_set_endpoint(gate, place->endpoint, &endpoint);
		gate_set_session(gate, place);
	}
}

/* --- what is expected --------------------------------------------------------------------------
 */

/* The exact set of counters one frame may move; counters are enum pg_counter + 1, 0 = none. */
struct verdict {
	int action;
	enum pg_drop drop;
	bool would; /* counted only, passed to the kernel */
	bool steered;
	uint32_t queue;
	int counter, also;
	bool acked; /* answered by the gate itself */
};

#define DROPS(name)	((struct verdict){ .action = XDP_DROP, .drop = PG_DROP_##name })
#define DROPS_FOR(r)	((struct verdict){ .action = XDP_DROP, .drop = (r) })
#define WOULD_DROP(r)	((struct verdict){ .action = XDP_PASS, .drop = (r), .would = true })
#define PASSES		((struct verdict){ .action = XDP_PASS, .counter = PG_COUNT_PASSED + 1 })
#define PASSES_AS(name) ((struct verdict){ .action = XDP_PASS, .counter = PG_COUNT_##name + 1 })
#define STEERS		((struct verdict){ .action = XDP_REDIRECT, .steered = true })
#define ACKS \
	((struct verdict){ .action = XDP_TX, .counter = PG_COUNT_DUPLICATES + 1, .acked = true })
#define STEERS_AS(name)    \
	((struct verdict){ \
		.action = XDP_REDIRECT, .steered = true, .counter = PG_COUNT_##name + 1 })

static inline const char *drop_label(uint32_t reason)
{
	switch (reason) {
#define PG_X(name, number, label, ...) \
	case number:                   \
		return label;
		PG_DROPS(PG_X)
#undef PG_X
	}
	return "?";
}

static inline const char *counter_label(uint32_t counter)
{
	switch (counter) {
#define PG_X(name, number, label, ...) \
	case number:                   \
		return label;
		PG_COUNTERS(PG_X)
#undef PG_X
	}
	return "?";
}

#define AT_DROPS   0
#define AT_COUNTS  PG_DROP_ENTRIES
#define AT_STEERED (AT_COUNTS + PG_COUNT_ENTRIES)
#define COUNTERS   (AT_STEERED + PG_STEERED_ENTRIES)

static inline void counter_name(uint32_t i, char *text, size_t room)
{
	if (i < AT_COUNTS)
		snprintf(text, room, "interface %u %s%s", i / PG_DROP_SLOTS / 2,
			 i / PG_DROP_SLOTS % 2 ? "would " : "", drop_label(i % PG_DROP_SLOTS));
	else if (i < AT_STEERED)
		snprintf(text, room, "interface %u %s", (i - AT_COUNTS) / PG_COUNTER_SLOTS,
			 counter_label((i - AT_COUNTS) % PG_COUNTER_SLOTS));
	else
		snprintf(text, room, "interface %u steered queue %u",
			 (i - AT_STEERED) / PG_QUEUES_MAX, (i - AT_STEERED) % PG_QUEUES_MAX);
}

static inline void read_counters(struct bpf_map *map, struct pg_count *ret_counts)
{
	static struct pg_count values[PG_DROP_ENTRIES * 256];
	static uint32_t keys[PG_DROP_ENTRIES];
	uint32_t n = bpf_map__max_entries(map), next;
	int cpus = libbpf_num_possible_cpus();

	assert_in_range(cpus, 1, 256);
	assert_int_equal(
		bpf_map_lookup_batch(bpf_map__fd(map), NULL, &next, keys, values, &n, NULL), 0);
	assert_int_equal(n, bpf_map__max_entries(map));
	for (uint32_t i = 0; i < n; i++) {
		ret_counts[i] = (struct pg_count){ 0 };
		for (int cpu = 0; cpu < cpus; cpu++) {
			ret_counts[i].packets += values[i * cpus + cpu].packets;
			ret_counts[i].bytes += values[i * cpus + cpu].bytes;
		}
	}
}

/* Everything a frame could move. */
struct gate_state {
	struct pg_count counters[COUNTERS];
	struct pg_session sessions[SESSIONS];
	struct pg_window windows[SESSIONS];
	struct pg_opened opened[SESSIONS];
	struct pg_stream_line stream_lines[STREAMS];
	struct pg_window stream_windows[STREAMS];
};

static inline void gate_save_counters(struct gate *gate, struct gate_state *ret_state)
{
	struct gate_bpf *skeleton = gate->skeleton;

	read_counters(skeleton->maps.pg_drops, ret_state->counters + AT_DROPS);
	read_counters(skeleton->maps.pg_counts, ret_state->counters + AT_COUNTS);
	read_counters(skeleton->maps.pg_steered, ret_state->counters + AT_STEERED);
}

static inline void gate_save(struct gate *gate, struct gate_state *ret_state)
{
	if (!gate->fresh)
		gate_save_counters(gate, ret_state);
	memcpy(ret_state->sessions, gate->sessions, sizeof(ret_state->sessions));
	memcpy(ret_state->windows, gate->windows, sizeof(ret_state->windows));
	memcpy(ret_state->opened, gate->opened, sizeof(ret_state->opened));
	memcpy(ret_state->stream_lines, gate->stream_lines, sizeof(ret_state->stream_lines));
	memcpy(ret_state->stream_windows, gate->stream_windows, sizeof(ret_state->stream_windows));
}

/* Adds to *state what the verdict says one frame of so many bytes counts. */
static inline void count_verdict(struct gate_state *state, const struct verdict *want,
				 uint32_t bytes)
{
	int at[5] = { -1, -1, -1, -1, -1 };

	if (want->drop)
		at[0] = AT_DROPS + PG_DROP_INDEX(SLOT_UNDER_TEST, want->would, want->drop);
	if (want->counter)
		at[1] = AT_COUNTS + PG_COUNT_INDEX(SLOT_UNDER_TEST, want->counter - 1);
	if (want->steered)
		at[2] = AT_STEERED + PG_STEERED_INDEX(SLOT_UNDER_TEST, want->queue);
	if (want->acked)
		at[3] = AT_COUNTS + PG_COUNT_INDEX(SLOT_UNDER_TEST, PG_COUNT_ACKS);
	if (want->also)
		at[4] = AT_COUNTS + PG_COUNT_INDEX(SLOT_UNDER_TEST, want->also - 1);
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		if (at[i] < 0)
			continue;
		state->counters[at[i]].packets++;
		state->counters[at[i]].bytes += bytes;
	}
}

static inline int report_counters(const char *name, const struct gate_state *want,
				  const struct gate_state *is)
{
	int wrong = 0;
	char text[80];

	for (uint32_t i = 0; i < COUNTERS; i++) {
		if (!memcmp(&want->counters[i], &is->counters[i], sizeof(struct pg_count)))
			continue;
		counter_name(i, text, sizeof(text));
		print_error("%s: counter %s: %lld packets and %lld bytes more than expected\n",
			    name, text,
			    (long long)(is->counters[i].packets - want->counters[i].packets),
			    (long long)(is->counters[i].bytes - want->counters[i].bytes));
		wrong++;
	}
	return wrong;
}

static inline int report_arrays(const char *name, const struct gate_state *want,
				const struct gate *gate)
{
	const struct {
		const char *name;
		const void *want, *is;
		size_t bytes;
	} arrays[] = {
		{ "pg_sessions", want->sessions, gate->sessions, sizeof(want->sessions) },
		{ "pg_windows", want->windows, gate->windows, sizeof(want->windows) },
		{ "pg_opened", want->opened, gate->opened, sizeof(want->opened) },
		{ "pg_strm_lines", want->stream_lines, gate->stream_lines,
		  sizeof(want->stream_lines) },
		{ "pg_strm_windows", want->stream_windows, gate->stream_windows,
		  sizeof(want->stream_windows) },
	};
	int wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
		if (!memcmp(arrays[i].want, arrays[i].is, arrays[i].bytes))
			continue;
		print_error("%s: %s was written\n", name, arrays[i].name);
		wrong++;
	}
	return wrong;
}

/* --- running -----------------------------------------------------------------------------------
 */

/* One run; returns the XDP action. The frame must come out as it went in, unless it is an answer.
 */
static inline int gate_run_on(struct gate *gate, const struct link_frame *frame,
			      struct xdp_md *context)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame->bytes, .data_size_in = frame->n,
		    .data_out = gate->out.bytes, .data_size_out = sizeof(gate->out.bytes),
		    .ctx_in = context, .ctx_size_in = context ? sizeof(*context) : 0);

	gate->fresh = false;
	assert_int_equal(bpf_prog_test_run_opts(gate->program, &options), 0);
	gate->out.n = options.data_size_out;
	if (options.retval == XDP_TX)
		return XDP_TX;
	assert_int_equal(gate->out.n, frame->n);
	assert_memory_equal(gate->out.bytes, frame->bytes, frame->n);
	return options.retval;
}

/*
 * Sends one frame through the gate and compares the action, every counter of every interface, and
 * all session state byte for byte. Returns how many of them were wrong, after printing them.
 */
static inline int gate_judge_on(struct gate *gate, const char *name, const struct link_frame *frame,
				struct xdp_md *context, struct verdict want)
{
	static struct gate_state before, after;
	int action, wrong;

	gate_save(gate, &before);
	action = gate_run_on(gate, frame, context);
	gate_save_counters(gate, &after);
	count_verdict(&before, &want, frame->n);
	wrong = report_counters(name, &before, &after) + report_arrays(name, &before, gate);
	memcpy(before.counters, after.counters, sizeof(before.counters));
	gate->fresh = true;
	if (action != want.action) {
		print_error("%s: XDP action %d instead of %d\n", name, action, want.action);
		wrong++;
	}
	return wrong;
}

static inline int gate_judge(struct gate *gate, const char *name, const struct link_frame *frame,
			     struct verdict want)
{
	return gate_judge_on(gate, name, frame, NULL, want);
}

/* Wraps a frame into a datagram and judges it. */
static inline int gate_judge_frame(struct gate *gate, const char *name, const struct datagram *d,
				   const struct frame_bytes *frame, struct verdict want)
{
	struct link_frame link;

	build_datagram(d, frame->bytes, frame->n, &link);
	return gate_judge(gate, name, &link, want);
}

/* The same for a guarded frame of the place's session. */
static inline int gate_judge_spec(struct gate *gate, const char *name, const struct place *place,
				  const struct frame_spec *spec, struct verdict want)
{
	struct frame_bytes frame;
	char full[128];

	build_frame(spec, place->ids, place->key, &frame);
	snprintf(full, sizeof(full), "%s, %s", name, place->name);
	return gate_judge_frame(gate, full, &place->datagram, &frame, want);
}

/* --- cmocka ------------------------------------------------------------------------------------
 */

static inline int gate_group_setup(void **state)
{
	static struct gate gate;

	gate_open(&gate);
	*state = &gate;
	return 0;
}

static inline int gate_group_teardown(void **state)
{
	gate_close(*state);
	return 0;
}

static inline int gate_test_setup(void **state)
{
	gate_reset(*state);
	return 0;
}

#define gate_test(function) cmocka_unit_test_setup(function, gate_test_setup)

/* Ordinary frames of the tables below. */
#define DATA(id) ((struct frame_spec){ .opcode = 0, .flags = 0x40, .pack = (id), .payload = 48 })
#define STREAM_DATA(s, id)    \
	((struct frame_spec){ \
		.opcode = 0, .flags = 0xc0, .stream = (s), .pack = (id), .payload = 48 })
#define PING ((struct frame_spec){ .opcode = 5, .payload = 8 })

#endif
