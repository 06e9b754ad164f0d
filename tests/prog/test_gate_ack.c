// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Duplicates that the gate acks itself: when it does, and every byte of what it sends. */
#include <time.h>

#include "gate_fixture.h"

#define CLOCK_MS     1700000000000ull /* what the agent's offset makes of the coarse clock */
#define HOUR_MS	     3600000ll
#define STREAM	     9
#define STREAM_SLOT  4
#define SEEN	     7
#define ACK_PAYLOAD  8
#define TAGGED_LINKS 3 /* no, one and two VLAN tags */

static uint64_t kernel_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

static void set_clock(struct gate *gate)
{
	gate->shared->clock_offset_ns = (CLOCK_MS - kernel_ms()) * 1000000;
}

/* The place's session and its stream have SEEN in their windows. */
static void set_seen(struct gate *gate, const struct place *place)
{
	place_session(gate, place)->highest = SEEN;
	place_window(gate, place)->bits[0] = 1 << SEEN;
	gate_set_stream(gate, place, STREAM, STREAM_SLOT, PG_STREAM_READY, 0);
	gate->stream_lines[STREAM_SLOT].highest = SEEN;
	gate->stream_windows[STREAM_SLOT].bits[0] = 1 << SEEN;
}

/* The duplicate of the place, on its session (stream 0) or stream, as it comes on the link. */
static void build_duplicate(const struct place *place, const struct datagram *d, uint32_t stream,
			    struct link_frame *ret_link)
{
	struct frame_spec spec = stream ? STREAM_DATA(stream, SEEN) : DATA(SEEN);
	struct frame_bytes frame;

	build_frame(&spec, place->ids, place->key, &frame);
	build_datagram(d, frame.bytes, frame.n, ret_link);
}

/* --- the ack, taken apart ----------------------------------------------------------------------
 */

static uint32_t sum_of(const uint8_t *bytes, uint32_t n)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += i & 1 ? bytes[i] : bytes[i] << 8;
	return sum;
}

/* Whether a one's complement sum, the checksum included, comes out right. */
static bool sum_is_right(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static void check_ethernet(const struct link_frame *in, const struct link_frame *out, int tags)
{
	assert_memory_equal(out->bytes, in->bytes + 6, 6);
	assert_memory_equal(out->bytes + 6, in->bytes, 6);
	assert_memory_equal(out->bytes + 12, in->bytes + 12, 2 + tags * VLAN_BYTES);
}

static const uint8_t *check_ipv4(const uint8_t *ip, const uint8_t *question, uint32_t udp_bytes)
{
	assert_int_equal(ip[0], 0x45);
	assert_int_equal(ip[1], 0);
	assert_int_equal(pg_load_be16(ip + 2), 20 + udp_bytes);
	assert_int_equal(pg_load_be16(ip + 6), 0x4000);
	assert_int_equal(ip[8], 64);
	assert_int_equal(ip[9], IPPROTO_UDP);
	assert_true(sum_is_right(sum_of(ip, 20)));
	assert_memory_equal(ip + 12, question + 16, 4);
	assert_memory_equal(ip + 16, question + 12, 4);
	assert_true(sum_is_right(sum_of(ip + 12, 8) + IPPROTO_UDP + udp_bytes +
				 sum_of(ip + 20, udp_bytes)));
	return ip + 20;
}

static const uint8_t *check_ipv6(const uint8_t *ip, const uint8_t *question, uint32_t udp_bytes)
{
	assert_int_equal(pg_load_be32(ip), 0x60000000);
	assert_int_equal(pg_load_be16(ip + 4), udp_bytes);
	assert_int_equal(ip[6], IPPROTO_UDP);
	assert_int_equal(ip[7], 64);
	assert_memory_equal(ip + 8, question + 24, 16);
	assert_memory_equal(ip + 24, question + 8, 16);
	assert_true(sum_is_right(sum_of(ip + 8, 32) + IPPROTO_UDP + udp_bytes +
				 sum_of(ip + 40, udp_bytes)));
	return ip + 40;
}

static void check_frame(const struct place *place, const uint8_t *frame, uint32_t stream)
{
	__u64 key[2] = { ~place->key[0], ~place->key[1] };
	uint32_t header = stream ? 24 : 20;
	struct pg_frame parsed = { 0 };
	uint64_t time;

	assert_int_equal(pg_frame_check(frame, frame + header + ACK_PAYLOAD, header + ACK_PAYLOAD,
					PG_S2C, true, &parsed),
			 PG_DROP_NONE);
	assert_int_equal(parsed.opcode, PG_OP_ACK);
	assert_int_equal(parsed.session, session_id(place->ids));
	assert_int_equal(parsed.stream, stream);
	assert_int_equal(parsed.pack, SEEN);
	assert_int_equal(parsed.flags, stream ? 0xc0 : 0x40);
	time = pg_load_be64(frame + 4);
	assert_in_range(time, CLOCK_MS - 2, CLOCK_MS + 60000);
	assert_true(pg_guard_check(key, frame, &parsed));
}

static void check_ack(const struct place *place, const struct link_frame *in,
		      const struct link_frame *out, int tags, uint32_t stream)
{
	uint32_t udp_bytes = 8 + (stream ? 24 : 20) + ACK_PAYLOAD, at = ETHER_BYTES + tags * 4;
	const uint8_t *ip = out->bytes + at, *udp;

	assert_int_equal(out->n, at + (place->datagram.family == 4 ? 20 : 40) + udp_bytes);
	check_ethernet(in, out, tags);
	udp = place->datagram.family == 4 ? check_ipv4(ip, in->bytes + at, udp_bytes)
					  : check_ipv6(ip, in->bytes + at, udp_bytes);
	assert_int_equal(pg_load_be16(udp), place->datagram.target_port);
	assert_int_equal(pg_load_be16(udp + 2), place->datagram.source_port);
	assert_int_equal(pg_load_be16(udp + 4), udp_bytes);
	assert_int_not_equal(pg_load_be16(udp + 6), 0);
	check_frame(place, udp + 8, stream);
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void every_byte_of_the_ack(void **state)
{
	struct gate *gate = *state;
	struct link_frame link;

	set_clock(gate);
	EACH_PLACE(place)
	{
		set_seen(gate, place);
		for (int tags = 0; tags < TAGGED_LINKS; tags++) {
			struct datagram d = place->datagram;

			d.vlan_tags = tags;
			for (uint32_t stream = 0; stream <= STREAM; stream += STREAM) {
				build_duplicate(place, &d, stream, &link);
				assert_int_equal(gate_judge(gate, place->name, &link, ACKS), 0);
				check_ack(place, &link, &gate->out, tags, stream);
			}
		}
	}
}

/* The smallest and the largest frame, and one with bytes of the link behind it. */
static void any_size_is_cut(void **state)
{
	static const uint16_t payloads[] = { 16, 17, 500, 2048 - 20 - 8 };
	struct gate *gate = *state;

	set_clock(gate);
	EACH_PLACE(place)
	{
		set_seen(gate, place);
		for (size_t i = 0; i < ARRAY_SIZE(payloads); i++) {
			struct frame_spec spec = DATA(SEEN);
			struct datagram d = place->datagram;
			struct frame_bytes frame;
			struct link_frame link;

			spec.payload = payloads[i];
			d.padding = i & 1 ? 18 : 0;
			build_frame(&spec, place->ids, place->key, &frame);
			build_datagram(&d, frame.bytes, frame.n, &link);
			assert_int_equal(gate_judge(gate, place->name, &link, ACKS), 0);
			check_ack(place, &link, &gate->out, 0, 0);
		}
	}
}

/*
 * A late fragment of a complete packet is acked as the whole packet is, by the same bytes; one of
 * a packet that is not complete goes to the agent, which knows what it has.
 */
static void fragments_of_a_whole_packet(void **state)
{
	static const struct frame_spec rows[] = {
		{ .flags = 0x60, .pack = SEEN, .fragment = 1, .payload = 17 },
		{ .flags = 0x61, .pack = SEEN, .fragment = 512, .payload = 900 },
		{ .flags = 0xe0, .stream = STREAM, .pack = SEEN, .fragment = 3, .payload = 17 },
		{ .flags = 0xe1, .stream = STREAM, .pack = SEEN, .fragment = 4, .payload = 2004 },
	};
	struct gate *gate = *state;

	set_clock(gate);
	EACH_PLACE(place)
	{
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct frame_spec missing = rows[i];
			struct frame_bytes frame;
			struct link_frame link;

			set_seen(gate, place);
			build_frame(&rows[i], place->ids, place->key, &frame);
			build_datagram(&place->datagram, frame.bytes, frame.n, &link);
			assert_int_equal(gate_judge(gate, place->name, &link, ACKS), 0);
			check_ack(place, &link, &gate->out, 0, rows[i].stream);
			missing.pack = SEEN - 1;
			assert_int_equal(gate_judge_spec(gate, "missing", place, &missing, STEERS),
					 0);
		}
	}
}

/* Many sums, so that carries and the sum of zero have their turn. */
static void checksums_of_many(void **state)
{
	struct gate *gate = *state;
	struct place place = places[0];
	struct link_frame link;

	set_clock(gate);
	for (uint32_t i = 1; i < 3000; i++) {
		place.ids.client = (uint16_t)(i * 7919) | 1;
		place.key[0] = i * 0x9e3779b97f4a7c15ull;
		place.datagram.source_port = (uint16_t)(i * 4099) | 1;
		gate_set_session(gate, &place);
		set_seen(gate, &place);
		build_duplicate(&place, &place.datagram, 0, &link);
		assert_int_equal(gate_run_on(gate, &link, NULL), XDP_TX);
		check_ack(&place, &link, &gate->out, 0, 0);
	}
}

/* With options or extension headers the agent acks. */
static void only_plain_headers(void **state)
{
	struct gate *gate = *state;
	struct link_frame link;

	EACH_PLACE(place)
	{
		struct datagram d = place->datagram;

		set_seen(gate, place);
		if (d.family == 4)
			d.option_bytes = 4;
		else
			d.extensions[0] = (struct extension){ .type = IPPROTO_DSTOPTS, .bytes = 8 };
		build_duplicate(place, &d, 0, &link);
		assert_int_equal(gate_judge(gate, place->name, &link, STEERS_AS(DUPLICATES)), 0);
	}
}

/* Who is not the pinned peer, or has no right guard, gets no ack; nor does a first frame. */
static void only_the_pinned_peer(void **state)
{
	struct gate *gate = *state;
	struct frame_spec seen = DATA(SEEN), next = DATA(SEEN + 1), old = DATA(SEEN);
	int wrong = 0;

	GATE_EDIT_ENDPOINTS(gate, roaming, 1);
	EACH_PLACE(place)
	{
		struct place elsewhere = *place, forger = *place;

		elsewhere.datagram.source_port++;
		forger.key[0]++;
		set_seen(gate, place);
		wrong +=
			gate_judge_spec(gate, "elsewhere", &elsewhere, &seen, DROPS(PEER_MISMATCH));
		wrong += gate_judge_spec(gate, "forged", &forger, &seen, DROPS(GUARD));
		wrong += gate_judge_spec(gate, "new", place, &next, STEERS);
		place_window(gate, place)->bits[0] = 0;
		wrong += gate_judge_spec(gate, "not seen", place, &seen, STEERS);
		place_session(gate, place)->highest = SEEN + 1024;
		wrong += gate_judge_spec(gate, "old", place, &old, DROPS(REPLAY_OLD));
	}
	assert_int_equal(wrong, 0);
}

/* Without the guard nobody could tell who asks: the agent opens the frame first. */
static void not_without_the_guard(void **state)
{
	struct gate *gate = *state;
	struct frame_spec seen = DATA(SEEN);
	struct frame_bytes frame;
	int wrong = 0;

	GATE_EDIT_ENDPOINTS(gate, guard, 0);
	EACH_PLACE(place)
	{
		set_seen(gate, place);
		build_frame(&seen, place->ids, NULL, &frame);
		wrong += gate_judge_frame(gate, place->name, &place->datagram, &frame,
					  STEERS_AS(DUPLICATES));
	}
	assert_int_equal(wrong, 0);
}

/* The other policies ack nothing. */
static void not_in_other_policies(void **state)
{
	struct gate *gate = *state;
	struct frame_spec seen = STREAM_DATA(STREAM, SEEN);
	int wrong = 0;

	EACH_PLACE(place)
	{
		set_seen(gate, place);
		gate->stream_lines[STREAM_SLOT].policy = PG_POLICY_UNORDERED;
		wrong += gate_judge_spec(gate, "unordered", place, &seen, DROPS(REPLAY_SEEN));
		gate->stream_lines[STREAM_SLOT].policy = PG_POLICY_NEWEST;
		wrong += gate_judge_spec(gate, "newest", place, &seen, DROPS(NOT_MONOTONIC));
	}
	assert_int_equal(wrong, 0);
}

static void the_rate_holds(void **state)
{
	struct gate *gate = *state;
	struct frame_spec seen = DATA(SEEN);

	gate->shared->ack_rate = 0;
	EACH_PLACE(place)
	{
		set_seen(gate, place);
		assert_int_equal(gate_judge_spec(gate, "no rate", place, &seen, DROPS(REPLAY_SEEN)),
				 0);
	}
}

/* The time of the ack that the place's duplicate on its session or stream brings now. */
static uint64_t acked_ms(struct gate *gate, const struct place *place, uint32_t stream)
{
	uint32_t at = ETHER_BYTES + (place->datagram.family == 4 ? 20 : 40) + 8;
	struct link_frame link;

	build_duplicate(place, &place->datagram, stream, &link);
	assert_int_equal(gate_judge(gate, place->name, &link, ACKS), 0);
	return pg_load_be64(gate->out.bytes + at + PG_AT_TIMESTAMP);
}

static void step_clock(struct gate *gate, int64_t ms)
{
	gate->shared->clock_offset_ns += ms * 1000000;
}

/*
 * The session's timestamps never decrease: not below what the agent sent on it, not below the
 * gate's own, on whichever series, and though the wall clock steps back. What streams' windows say
 * of it means nothing.
 */
static void time_never_goes_back(void **state)
{
	struct gate *gate = *state;

	EACH_PLACE(place)
	{
		uint64_t last, agents = CLOCK_MS + 3 * HOUR_MS;

		set_clock(gate);
		set_seen(gate, place);
		gate->stream_windows[STREAM_SLOT].sent_time_ms = CLOCK_MS + 9 * HOUR_MS;
		last = acked_ms(gate, place, 0);
		assert_in_range(last, CLOCK_MS - 2, CLOCK_MS + HOUR_MS);
		step_clock(gate, -HOUR_MS);
		assert_int_equal(acked_ms(gate, place, 0), last);
		assert_int_equal(acked_ms(gate, place, STREAM), last);
		step_clock(gate, 2 * HOUR_MS);
		assert_in_range(acked_ms(gate, place, STREAM), CLOCK_MS + HOUR_MS - 2,
				CLOCK_MS + 2 * HOUR_MS);
		place_window(gate, place)->sent_time_ms = agents;
		assert_int_equal(acked_ms(gate, place, 0), agents);
		assert_int_equal(acked_ms(gate, place, STREAM), agents);
		assert_int_equal(gate->acks[session_slot(place->ids)].sent_time_ms, agents);
		/* another session's time is its own */
		memset(&gate->acks[session_slot(place->ids)], 0, sizeof(*gate->acks));
		place_window(gate, place)->sent_time_ms = 0;
		assert_in_range(acked_ms(gate, place, 0), CLOCK_MS + HOUR_MS - 2, agents - 1);
	}
}

static int acking_group_setup(void **state)
{
	static struct gate gate;

	gate_open_with(&gate, true);
	*state = &gate;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gate_test(every_byte_of_the_ack),
		gate_test(any_size_is_cut),
		gate_test(fragments_of_a_whole_packet),
		gate_test(checksums_of_many),
		gate_test(only_plain_headers),
		gate_test(only_the_pinned_peer),
		gate_test(not_without_the_guard),
		gate_test(not_in_other_policies),
		gate_test(the_rate_holds),
		gate_test(time_never_goes_back),
	};

	return cmocka_run_group_tests(tests, acking_group_setup, gate_group_teardown);
}
