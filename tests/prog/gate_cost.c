// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What a frame costs in the gate, cache-hot, as a ratio to an XDP program that only returns
 * XDP_DROP (DESIGN section 9). Prints a table; asserts nothing, because time is not a test.
 */
#include "gate_fixture.h"
#include "empty.skel.h"

#define REPEAT 1000000
#define ROUNDS 7

static double run_ns(int program, const struct link_frame *frame)
{
	double best = 1e9;

	for (int i = 0; i < ROUNDS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame->bytes,
			    .data_size_in = frame->n, .repeat = REPEAT);

		assert_int_equal(bpf_prog_test_run_opts(program, &options), 0);
		if (options.duration < best)
			best = options.duration;
	}
	return best;
}

static void measure(struct gate *gate, int empty, const char *name, const struct datagram *d,
		    const struct frame_bytes *frame, double target)
{
	struct link_frame link;
	double floor, cost;

	build_datagram(d, frame->bytes, frame->n, &link);
	floor = run_ns(empty, &link);
	cost = run_ns(gate->program, &link);
	printf("%-34s %4.0f ns against %3.0f ns: %.2f (target %.1f)%s\n", name, cost, floor,
	       cost / floor, target, cost / floor > target ? "  MISSED" : "");
}

/* What stands on the port: an exact address, or a wildcard with the target among the locals. */
static void set_wildcard(struct gate *gate, bool wildcard)
{
	GATE_EDIT_ENDPOINTS(gate, wildcard, wildcard);
	EACH_PLACE(place)
	gate_add_local(gate, place->datagram.family, place->datagram.target);
}

static void measure_session(struct gate *gate, int empty, const struct place *place)
{
	struct frame_spec spec = DATA(1000);
	struct frame_bytes frame;
	struct pg_window *window = place_window(gate, place);

	place_session(gate, place)->highest = 999;
	build_frame(&spec, place->ids, place->key, &frame);
	measure(gate, empty, "good, in order", &place->datagram, &frame, 3);
	frame.bytes[frame.n - 1] ^= 1;
	measure(gate, empty, "forged guard", &place->datagram, &frame, 2.4);
	spec = DATA(998);
	build_frame(&spec, place->ids, place->key, &frame);
	measure(gate, empty, "good, out of order", &place->datagram, &frame, 3);
	window->bits[998 >> 6 & 15] |= 1ull << (998 & 63);
	gate->shared->ack_rate = 10;
	measure(gate, empty, "duplicate, dropped", &place->datagram, &frame, 2.4);
	gate->shared->ack_rate = 4000000;
	gate_clear_map(gate->skeleton->maps.pg_acks);
	spec = PING;
	build_frame(&spec, place->ids, place->key, &frame);
	measure(gate, empty, "ping", &place->datagram, &frame, 3);
	GATE_EDIT_ENDPOINTS(gate, guard, 0);
	spec = DATA(1000);
	build_frame(&spec, place->ids, NULL, &frame);
	measure(gate, empty, "good, guard off", &place->datagram, &frame, 3);
	GATE_EDIT_ENDPOINTS(gate, guard, 1);
}

static void measure_foreign(struct gate *gate, int empty, const struct place *place)
{
	struct frame_ids other = { place->ids.client, place->ids.server + 64 };
	struct frame_spec spec = DATA(1000);
	struct frame_bytes frame;

	build_frame(&spec, other, place->key, &frame);
	gate->shared->unmatched_rate = 4000000;
	measure(gate, empty, "unknown session, within the rate", &place->datagram, &frame, 1.4);
	gate->shared->unmatched_rate = 10;
	measure(gate, empty, "unknown session, beyond the rate", &place->datagram, &frame, 1.4);
	frame.bytes[13] = 0x0d;
	measure(gate, empty, "junk, opcode", &place->datagram, &frame, 1.4);
	memset(frame.bytes, 0xff, frame.n);
	measure(gate, empty, "junk, ones", &place->datagram, &frame, 1.4);
	frame.n = 5;
	measure(gate, empty, "junk, 5 bytes", &place->datagram, &frame, 1.4);
}

static void measure_passed(struct gate *gate, int empty, const struct place *place)
{
	struct datagram d = place->datagram;
	struct frame_spec spec = DATA(1);
	struct frame_bytes frame;

	build_frame(&spec, place->ids, place->key, &frame);
	d.target_port++;
	measure(gate, empty, "another port", &d, &frame, 99);
	d.protocol = IPPROTO_TCP;
	measure(gate, empty, "TCP", &d, &frame, 99);
}

int main(void)
{
	struct empty_bpf *skeleton = empty_bpf__open_and_load();
	struct gate gate;
	int empty;

	assert_non_null(skeleton);
	empty = bpf_program__fd(skeleton->progs.empty);
	gate_open(&gate);
	for (int wildcard = 0; wildcard < 2; wildcard++) {
		EACH_PLACE(place)
		{
			gate_reset(&gate);
			set_wildcard(&gate, wildcard);
			printf("%s, %s endpoint\n", place->name, wildcard ? "wildcard" : "exact");
			measure_session(&gate, empty, place);
			measure_foreign(&gate, empty, place);
			measure_passed(&gate, empty, place);
		}
	}
	gate_close(&gate);
	empty_bpf__destroy(skeleton);
	return 0;
}
