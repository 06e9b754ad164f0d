// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Rates, enforce: count, life without an agent, queues, and the sampling of drops. */
#include <sched.h>
#include <net/if.h>
#include <time.h>

#include "gate_fixture.h"

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

static void stranger_frame(const struct place *place, struct frame_bytes *ret_frame)
{
	struct frame_ids ids = { place->ids.client, place->ids.server + 64 };
	struct frame_spec spec = DATA(1);

	build_frame(&spec, ids, place->key, ret_frame);
}

static int judge_stranger(struct gate *gate, const char *name, const struct place *place,
			  const char *source, struct verdict want)
{
	struct datagram d = place->datagram;
	struct frame_bytes frame;

	if (source)
		d.source = source;
	stranger_frame(place, &frame);
	return gate_judge_frame(gate, name, &d, &frame, want);
}

/* --- frames that match no session --------------------------------------------------------------
 */

#define RATE 3 /* a second: the next token comes after 333 ms */

/*
 * One source spends its burst, and others are not touched. Returns -1 where the machine was so
 * slow that a token may have come back in the meantime.
 */
static int spend_burst(struct gate *gate, const struct place *place)
{
	const char *same = place->datagram.family == 4 ? NULL : "2001:db8:7:0:ffff::1";
	const char *other = place->datagram.family == 4 ? "198.51.100.8" : "2001:db8:7:1::7";
	struct frame_spec good = DATA(1);
	uint64_t start;
	int wrong = 0;

	gate_clear_map(gate->skeleton->maps.pg_sources);
	start = now_ms();
	for (int i = 0; i < RATE; i++)
		wrong += judge_stranger(gate, "within", place, NULL, DROPS(NO_SESSION));
	wrong += judge_stranger(gate, "beyond", place, NULL, DROPS(RATE_LIMITED));
	wrong += judge_stranger(gate, "beyond, same source", place, same, DROPS(RATE_LIMITED));
	wrong += judge_stranger(gate, "other source", place, other, DROPS(NO_SESSION));
	wrong += gate_judge_spec(gate, "its session goes on", place, &good, STEERS);
	return now_ms() - start > 300 ? -1 : wrong;
}

static void burst_per_source(void **state)
{
	struct gate *gate = *state;

	gate->shared->unmatched_rate = RATE;
	EACH_PLACE(place)
	{
		int wrong = -1;

		for (int try = 0; try < 10 && wrong < 0; try++)
			wrong = spend_burst(gate, place);
		assert_int_equal(wrong, 0);
	}
}

static void rate_zero(void **state)
{
	struct gate *gate = *state;
	struct frame_spec good = DATA(1);
	int wrong = 0;

	gate->shared->unmatched_rate = 0;
	EACH_PLACE(place)
	{
		wrong += judge_stranger(gate, "none", place, NULL, DROPS(RATE_LIMITED));
		wrong += gate_judge_spec(gate, "its session goes on", place, &good, STEERS);
	}
	assert_int_equal(wrong, 0);
}

static uint64_t drops_of(struct gate *gate, enum pg_drop reason)
{
	static struct gate_state now;

	gate_save_counters(gate, &now);
	return now.counters[PG_DROP_INDEX(SLOT_UNDER_TEST, 0, reason)].packets;
}

/* A spent bucket fills again at its rate: so many frames in so much time, and not many more. */
static void bucket_refills(void **state)
{
	struct gate *gate = *state;
	uint64_t start, end, before, taken;
	struct frame_bytes frame;
	struct link_frame link;

	gate->shared->unmatched_rate = 100;
	stranger_frame(&places[0], &frame);
	build_datagram(&places[0].datagram, frame.bytes, frame.n, &link);
	for (int i = 0; i < 200; i++)
		gate_run_on(gate, &link, NULL);
	start = now_ms(); /* the bucket fills while the counters are read */
	assert_true(drops_of(gate, PG_DROP_RATE_LIMITED) > 0);
	before = drops_of(gate, PG_DROP_NO_SESSION);
	do
		gate_run_on(gate, &link, NULL);
	while (now_ms() < start + 300);
	end = now_ms();
	taken = drops_of(gate, PG_DROP_NO_SESSION) - before;
	/* 10 ms of tick and start-up on either side */
	assert_in_range(taken, 27, 2 + (end - start + 20) / 10);
}

/* Only a frame that passes section 1 and meets no session costs its source a token. */
static void what_costs_no_token(void **state)
{
	struct gate *gate = *state;
	struct frame_spec good = DATA(1);
	struct frame_bytes junk = { .n = 5 };
	struct place forger = places[0];
	int wrong = 0;

	forger.key[0]++;
	gate->shared->unmatched_rate = 1;
	for (int i = 0; i < 50; i++) {
		wrong += gate_judge_spec(gate, "good", &places[0], &good, STEERS);
		wrong += gate_judge_spec(gate, "forged", &forger, &good, DROPS(GUARD));
		wrong += gate_judge_frame(gate, "junk", &places[0].datagram, &junk,
					  DROPS(FRAME_SHORT));
	}
	wrong += judge_stranger(gate, "the one token", &places[0], NULL, DROPS(NO_SESSION));
	assert_int_equal(wrong, 0);
}

/* The bucket that the one stranger so far has touched. */
static uint32_t touched_bucket(struct gate *gate, struct pg_bucket *ret_bucket)
{
	int map = bpf_map__fd(gate->skeleton->maps.pg_sources);

	for (uint32_t i = 0; i < PG_SOURCES; i++) {
		assert_int_equal(bpf_map_lookup_elem(map, &i, ret_bucket), 0);
		if (ret_bucket->stamp)
			return i;
	}
	fail_msg("no bucket was touched");
	return 0;
}

/* A stamp just ahead of this CPU's clock is another CPU's work, and no reason for a new burst. */
static void clocks_of_two_cpus(void **state)
{
	struct gate *gate = *state;
	int map = bpf_map__fd(gate->skeleton->maps.pg_sources);
	struct pg_bucket bucket;
	uint32_t index, stamp;

	gate->shared->unmatched_rate = RATE;
	assert_int_equal(judge_stranger(gate, "first", &places[0], NULL, DROPS(NO_SESSION)), 0);
	index = touched_bucket(gate, &bucket);
	/* the search may have taken longer than a stamp can be ahead */
	assert_int_equal(judge_stranger(gate, "again", &places[0], NULL, DROPS(NO_SESSION)), 0);
	assert_int_equal(bpf_map_lookup_elem(map, &index, &bucket), 0);
	stamp = bucket.stamp += 60;
	bucket.tokens = 0;
	assert_int_equal(bpf_map_update_elem(map, &index, &bucket, BPF_ANY), 0);
	assert_int_equal(judge_stranger(gate, "spent", &places[0], NULL, DROPS(RATE_LIMITED)), 0);
	assert_int_equal(bpf_map_lookup_elem(map, &index, &bucket), 0);
	assert_int_equal(bucket.stamp, stamp);
	bucket.stamp -= 1 << 20;
	assert_int_equal(bpf_map_update_elem(map, &index, &bucket, BPF_ANY), 0);
	assert_int_equal(judge_stranger(gate, "rested", &places[0], NULL, DROPS(NO_SESSION)), 0);
}

/* --- duplicates --------------------------------------------------------------------------------
 */

static int spend_acks(struct gate *gate, const struct place *place, uint32_t stream)
{
	struct frame_spec duplicate = stream ? STREAM_DATA(stream, 7) : DATA(7);
	struct frame_spec next = stream ? STREAM_DATA(stream, 8) : DATA(8);
	uint64_t start;
	int wrong = 0;

	gate_clear_map(gate->skeleton->maps.pg_acks);
	start = now_ms();
	for (int i = 0; i < RATE; i++)
		wrong += gate_judge_spec(gate, "acked again", place, &duplicate,
					 STEERS_AS(DUPLICATES));
	wrong += gate_judge_spec(gate, "beyond the rate", place, &duplicate, DROPS(REPLAY_SEEN));
	wrong += gate_judge_spec(gate, "new data", place, &next, STEERS);
	return now_ms() - start > 300 ? -1 : wrong;
}

static void duplicates_beyond_the_rate(void **state)
{
	struct gate *gate = *state;

	gate->shared->ack_rate = RATE;
	EACH_PLACE(place)
	{
		place_session(gate, place)->highest = 7;
		place_window(gate, place)->bits[0] = 1 << 7;
		gate_set_stream(gate, place, 9, place->endpoint, PG_STREAM_READY, 0);
		gate->stream_lines[place->endpoint].highest = 7;
		gate->stream_windows[place->endpoint].bits[0] = 1 << 7;
		for (uint32_t stream = 0; stream <= 9; stream += 9) {
			int wrong = -1;

			for (int try = 0; try < 10 && wrong < 0; try++)
				wrong = spend_acks(gate, place, stream);
			assert_int_equal(wrong, 0);
		}
	}
}

/* --- enforce: count, and no agent --------------------------------------------------------------
 */

/* One frame for each step that refuses; returns how many reasons were judged wrongly. */
static int judge_refusals(struct gate *gate, const struct place *place,
			  struct verdict (*refused)(enum pg_drop reason))
{
	struct frame_spec seen = DATA(7), old = DATA(1), far = DATA(9000000),
			  none = STREAM_DATA(5, 1),
			  fragment = { .flags = 0x60, .pack = 1, .fragment = 1, .payload = 17 };
	struct frame_bytes junk = { .n = 3 };
	struct place forger = *place, elsewhere = *place;
	struct datagram lying = place->datagram;
	int wrong = 0;

	forger.key[0]++;
	elsewhere.datagram.source_port++;
	lying.ip_delta = 1;
	gate->shared->ack_rate = 0;
	place_session(gate, place)->highest = 2000;
	memset(place_window(gate, place)->bits, 0xff, sizeof(((struct pg_window *)0)->bits));
	seen.pack = 1999;
	wrong += gate_judge_frame(gate, "junk", &place->datagram, &junk,
				  refused(PG_DROP_FRAME_SHORT));
	wrong += gate_judge_frame(gate, "lying", &lying, &junk, refused(PG_DROP_IP_HEADER));
	wrong += judge_stranger(gate, "stranger", place, NULL, refused(PG_DROP_NO_SESSION));
	wrong += gate_judge_spec(gate, "stream", place, &none, refused(PG_DROP_NO_STREAM));
	wrong += gate_judge_spec(gate, "peer", &elsewhere, &seen, refused(PG_DROP_PEER_MISMATCH));
	wrong += gate_judge_spec(gate, "guard", &forger, &seen, refused(PG_DROP_GUARD));
	wrong += gate_judge_spec(gate, "seen", place, &seen, refused(PG_DROP_REPLAY_SEEN));
	wrong += gate_judge_spec(gate, "old", place, &old, refused(PG_DROP_REPLAY_OLD));
	wrong += gate_judge_spec(gate, "ahead", place, &far, refused(PG_DROP_REPLAY_AHEAD));
	place_session(gate, place)->policy = PG_POLICY_NEWEST;
	wrong += gate_judge_spec(gate, "fragment", place, &fragment,
				 refused(PG_DROP_FRAGMENT_UNSUPPORTED));
	place_session(gate, place)->policy = PG_POLICY_RELIABLE;
	return wrong;
}

static struct verdict dropped(enum pg_drop reason)
{
	return DROPS_FOR(reason);
}

static struct verdict only_counted(enum pg_drop reason)
{
	return WOULD_DROP(reason);
}

static void enforce_count(void **state)
{
	struct gate *gate = *state;
	struct frame_spec good = DATA(2001);
	int wrong = 0;

	EACH_PLACE(place)
	wrong += judge_refusals(gate, place, dropped);
	GATE_EDIT_ENDPOINTS(gate, count_only, 1);
	EACH_PLACE(place)
	{
		wrong += judge_refusals(gate, place, only_counted);
		wrong += gate_judge_spec(gate, "good", place, &good, STEERS);
		gate_set_socket(gate, 0, false);
		wrong += gate_judge_spec(gate, "good, no socket", place, &good,
					 WOULD_DROP(PG_DROP_NO_SOCKET));
		gate_set_socket(gate, 0, true);
	}
	assert_int_equal(wrong, 0);
}

static void without_agent(void **state)
{
	struct gate *gate = *state;
	struct frame_spec good = DATA(8), duplicate = DATA(7);
	int wrong = 0;

	gate_set_socket(gate, 0, false);
	EACH_PLACE(place)
	{
		place_session(gate, place)->highest = 7;
		place_window(gate, place)->bits[0] = 1 << 7;
		gate->shared->without_agent = PG_WITHOUT_DROP;
		wrong += gate_judge_spec(gate, "drop", place, &good, DROPS(NO_SOCKET));
		wrong += gate_judge_spec(gate, "drop", place, &duplicate, DROPS(NO_SOCKET));
		gate->shared->without_agent = PG_WITHOUT_PASS;
		wrong += gate_judge_spec(gate, "pass", place, &good, PASSES_AS(WITHOUT_AGENT));
		wrong += gate_judge_spec(gate, "pass", place, &duplicate, PASSES_AS(WITHOUT_AGENT));
		wrong += judge_refusals(gate, place, dropped); /* pass is not for what is wrong */
		gate->shared->ack_rate = 1000000;
	}
	assert_int_equal(wrong, 0);
}

/* --- sampling ----------------------------------------------------------------------------------
 */

static int copy_event(void *context, void *data, size_t bytes)
{
	assert_int_equal(bytes, sizeof(struct pg_event));
	memcpy(context, data, bytes);
	return 0;
}

static struct ring_buffer *open_ring(struct gate *gate, struct pg_event *event)
{
	struct ring_buffer *ring = ring_buffer__new(bpf_map__fd(gate->skeleton->maps.pg_events),
						    copy_event, event, NULL);

	assert_non_null(ring);
	ring_buffer__consume(ring);
	return ring;
}

static void check_event(const struct pg_event *event, const struct link_frame *link,
			enum pg_drop reason, bool would)
{
	uint8_t zeros[PG_EVENT_SAMPLE] = { 0 };
	uint32_t sampled = link->n < PG_EVENT_SAMPLE ? link->n : PG_EVENT_SAMPLE;

	assert_int_equal(event->reason, reason);
	assert_int_equal(event->would, would);
	assert_int_equal(event->interface_slot, SLOT_UNDER_TEST);
	assert_int_equal(event->queue, 0);
	assert_int_equal(event->bytes, link->n);
	assert_int_equal(event->sampled, sampled);
	assert_true(event->time_ns / 1000000 <= now_ms());
	assert_memory_equal(event->data, link->bytes, sampled);
	assert_memory_equal(event->data + sampled, zeros, PG_EVENT_SAMPLE - sampled);
}

/* A datagram of one payload byte is 43 bytes on the link, one of 22 is the sample exactly. */
static void events_hold_the_first_bytes(void **state)
{
	static const uint32_t payloads[] = { 0, 1, 21, 22, 23, 1400 };
	struct gate *gate = *state;
	struct pg_event event;
	struct ring_buffer *ring = open_ring(gate, &event);

	gate->shared->sample_mask = 0;
	for (size_t i = 0; i < ARRAY_SIZE(payloads) * 2; i++) {
		struct frame_bytes frame = { .n = payloads[i / 2] };
		struct link_frame link;
		enum pg_drop reason = frame.n < 16 ? PG_DROP_FRAME_SHORT : PG_DROP_RESERVED_BITS;

		GATE_EDIT_ENDPOINTS(gate, count_only, i % 2);
		memset(frame.bytes, 0x77, frame.n);
		build_datagram(&places[0].datagram, frame.bytes, frame.n, &link);
		assert_int_equal(gate_judge(gate, "sampled", &link,
					    i % 2 ? WOULD_DROP(reason) : DROPS_FOR(reason)),
				 0);
		assert_int_equal(ring_buffer__consume(ring), 1);
		check_event(&event, &link, reason, i % 2);
	}
	ring_buffer__free(ring);
}

static void sample_masks(void **state)
{
	static const struct {
		uint32_t mask;
		int events;
	} rows[] = { { 0, 64 }, { 1, 32 }, { 7, 8 }, { 63, 1 }, { 0xffffffff, 0 } };
	struct gate *gate = *state;
	struct frame_bytes junk = { .n = 3 };
	struct pg_event event;
	struct ring_buffer *ring = open_ring(gate, &event);
	struct link_frame link;

	build_datagram(&places[0].datagram, junk.bytes, junk.n, &link);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		gate->shared->sample_mask = rows[i].mask;
		for (int n = 0; n < 64; n++)
			gate_run_on(gate, &link, NULL);
		assert_int_equal(ring_buffer__consume(ring), rows[i].events);
	}
	ring_buffer__free(ring);
}

static void steered_frames_are_not_sampled(void **state)
{
	struct gate *gate = *state;
	struct frame_spec good = DATA(1);
	struct pg_event event;
	struct ring_buffer *ring = open_ring(gate, &event);

	gate->shared->sample_mask = 0;
	assert_int_equal(gate_judge_spec(gate, "good", &places[0], &good, STEERS), 0);
	assert_int_equal(ring_buffer__consume(ring), 0);
	ring_buffer__free(ring);
}

/* A full ring loses samples, counted, and never a drop. */
static void events_lost(void **state)
{
	struct gate *gate = *state;
	struct frame_bytes junk = { .n = 3 };
	struct verdict want = DROPS(FRAME_SHORT);
	struct pg_event event;
	struct ring_buffer *ring = open_ring(gate, &event);
	struct link_frame link;

	gate->shared->sample_mask = 0;
	build_datagram(&places[0].datagram, junk.bytes, junk.n, &link);
	/* a record takes 8 bytes more than the event */
	for (size_t i = 0; i < PG_EVENT_RING_BYTES / (sizeof(event) + 8); i++)
		gate_run_on(gate, &link, NULL);
	want.counter = PG_COUNT_EVENTS_LOST + 1;
	assert_int_equal(gate_judge(gate, "ring full", &link, want), 0);
	assert_true(ring_buffer__consume(ring) > 0);
	assert_int_equal(gate_judge(gate, "ring read", &link, DROPS(FRAME_SHORT)), 0);
	ring_buffer__free(ring);
}

/* --- queues ------------------------------------------------------------------------------------
 */

/* A device with two receive queues, in a namespace that ends with this process; 0 = none. */
static uint32_t two_queues(void)
{
	static const char add[] = "ip link add pgq0 numrxqueues 2 numtxqueues 2 type veth "
				  "peer name pgq1";

	if (unshare(CLONE_NEWNET) || system(add))
		return 0;
	return if_nametoindex("pgq0");
}

static void queues(void **state)
{
	struct xdp_md first = { 0 }, second = { .rx_queue_index = 1 };
	struct gate *gate = *state;
	struct verdict on_second = STEERS;
	struct frame_spec good = DATA(1);
	struct frame_bytes frame;
	struct link_frame link;

	first.ingress_ifindex = second.ingress_ifindex = two_queues();
	if (!first.ingress_ifindex) {
		print_message("skip queues: no veth device can be made here\n");
		skip();
	}
	on_second.queue = 1;
	build_frame(&good, places[0].ids, places[0].key, &frame);
	build_datagram(&places[0].datagram, frame.bytes, frame.n, &link);
	first.data_end = second.data_end = link.n;
	assert_int_equal(gate_judge_on(gate, "queue 0", &link, &first, STEERS), 0);
	assert_int_equal(
		gate_judge_on(gate, "queue 1, no socket", &link, &second, DROPS(NO_SOCKET)), 0);
	gate_set_socket(gate, 1, true);
	assert_int_equal(gate_judge_on(gate, "queue 1", &link, &second, on_second), 0);
	gate_set_socket(gate, 0, false);
	assert_int_equal(gate_judge_on(gate, "queue 0, no socket", &link, &first, DROPS(NO_SOCKET)),
			 0);
	assert_int_equal(gate_judge_on(gate, "queue 1", &link, &second, on_second), 0);
	gate_set_socket(gate, 1, false);
}

/* Counters are of one CPU, and samples of one counter: everything runs on one. */
static int setup_on_one_cpu(void **state)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	return gate_group_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gate_test(burst_per_source),
		gate_test(rate_zero),
		gate_test(bucket_refills),
		gate_test(what_costs_no_token),
		gate_test(clocks_of_two_cpus),
		gate_test(duplicates_beyond_the_rate),
		gate_test(enforce_count),
		gate_test(without_agent),
		gate_test(events_hold_the_first_bytes),
		gate_test(sample_masks),
		gate_test(steered_frames_are_not_sampled),
		gate_test(events_lost),
		gate_test(queues),
	};

	return cmocka_run_group_tests(tests, setup_on_one_cpu, gate_group_teardown);
}
