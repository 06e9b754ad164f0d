// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The same bytes through the validator in BPF, in user space, and through a plain reading of
 * PROTOCOL section 1; the guard and the packId rule likewise; then through the whole gate against
 * a model of its steps.
 */
#include "gate_fixture.h"
#include "mutate.h"
#include "reference.h"
#include "validator.h"
#include "validator.skel.h"

#define FRAMES	   1000000
#define WINDOWS	   200000
#define GATE_RUNS  100000
#define GATE_STAGE 1000 /* runs before the gate's state is drawn anew */

static const uint64_t key[2] = { 0x1111222233334444, 0x5555666677778888 };
static const struct frame_ids ids = { 0x1234, 0xabcd };

static void run_batch(int program)
{
	uint8_t packet[14] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet));

	assert_int_equal(bpf_prog_test_run_opts(program, &options), 0);
	assert_int_equal(options.retval, XDP_PASS);
}

/* --- validator and guard -----------------------------------------------------------------------
 */

static void draw_frame(struct noise *noise, struct frame_case *c)
{
	struct frame_bytes frame;

	c->guard = noise_below(noise, 4) != 0;
	c->direction = noise_below(noise, 4) ? PG_C2S : PG_S2C;
	memcpy(c->key, key, sizeof(c->key));
	frame.n = 0;
	memset(frame.bytes, 0x5a, 64);
	noise_frame(noise, ids, c->guard ? key : NULL, &frame);
	c->bytes = frame.n;
	memcpy(c->data, frame.bytes, frame.n);
}

static void print_frame(const struct frame_case *c)
{
	print_error("direction %u guard %u, %u bytes:", c->direction, c->guard, c->bytes);
	for (uint32_t i = 0; i < c->bytes && i < 40; i++)
		print_error(" %02x", c->data[i]);
	print_error("\n");
}

static bool same_header(const struct pg_frame *a, const struct pg_frame *b)
{
	return a->session == b->session && a->stream == b->stream && a->pack == b->pack &&
	       a->fragment == b->fragment && a->bytes == b->bytes &&
	       a->payload_bytes == b->payload_bytes && a->header_bytes == b->header_bytes &&
	       a->flags == b->flags && a->opcode == b->opcode && a->has_guard == b->has_guard;
}

/* Bounds of a guard are those of its frame: the user-space check reads no byte behind them. */
static bool compare_frame(const struct frame_case *c)
{
	struct pg_frame frame = { 0 };
	enum pg_drop user = pg_frame_check(c->data, c->data + c->bytes, c->bytes, c->direction,
					   c->guard, &frame);
	enum pg_drop plain = reference_check(c->data, c->bytes, c->direction == PG_C2S, c->guard);
	bool right;

	if (c->drop != user || c->drop != plain) {
		print_error("BPF %s, user space %s, reference %s\n", drop_label(c->drop),
			    drop_label(user), drop_label(plain));
		return false;
	}
	if (c->drop)
		return true;
	right = frame.has_guard && pg_guard_check((const __u64 *)key, c->data, &frame);
	if (same_header(&frame, &c->frame) && right == c->guard_right)
		return true;
	print_error("valid, guard in BPF %u, in user space %u\n", c->guard_right, right);
	return false;
}

static void report_seen(const uint32_t *seen, uint32_t guards)
{
	for (uint32_t reason = 0; reason <= PG_DROP_PAYLOAD_SIZE; reason++) {
		print_message("%-16s %u\n", reason ? drop_label(reason) : "valid", seen[reason]);
		assert_in_range(seen[reason], FRAMES / 1000, FRAMES);
	}
	print_message("right guards     %u\n", guards);
	assert_in_range(guards, FRAMES / 1000, FRAMES);
}

static void validators_agree(void **state)
{
	struct validator_bpf *skeleton = *state;
	struct frame_case *cases = gate_map_memory(skeleton->maps.frame_cases);
	struct noise noise = noise_start("validators_agree");
	int program = bpf_program__fd(skeleton->progs.check_frames), wrong = 0;
	uint32_t seen[PG_DROP_SLOTS] = { 0 }, guards = 0;

	for (uint32_t done = 0; done < FRAMES; done += FRAME_BATCH) {
		for (uint32_t i = 0; i < FRAME_BATCH; i++)
			draw_frame(&noise, &cases[i]);
		run_batch(program);
		for (uint32_t i = 0; i < FRAME_BATCH; i++) {
			seen[cases[i].drop % PG_DROP_SLOTS]++;
			guards += cases[i].guard_right;
			if (compare_frame(&cases[i]))
				continue;
			print_frame(&cases[i]);
			assert_true(++wrong < 10);
		}
	}
	report_seen(seen, guards);
	assert_int_equal(wrong, 0);
}

/* --- packId rule -------------------------------------------------------------------------------
 */

static uint32_t draw_near(struct noise *noise, uint32_t highest)
{
	static const uint32_t steps[] = {
		0, 1, 63, 64, 65, 1022, 1023, 1024, 1025, 1u << 20, (1u << 20) + 1
	};
	uint32_t step = steps[noise_below(noise, ARRAY_SIZE(steps))];

	switch (noise_below(noise, 4)) {
	case 0:
		return highest + step;
	case 1:
		return highest - step;
	case 2:
		return highest - noise_below(noise, 1100);
	}
	return noise_word(noise);
}

static void draw_window(struct noise *noise, struct window_case *c)
{
	noise_fill(noise, (uint8_t *)c->bits, sizeof(c->bits));
	c->highest = noise_below(noise, 2) ? noise_word(noise) : noise_below(noise, 3000);
	c->pack = draw_near(noise, c->highest);
	c->policy = noise_below(noise, PG_POLICY_COUNT);
}

/* Section 4 once more, in signed 64-bit numbers. */
static enum pg_drop reference_window(const struct window_case *c)
{
	int64_t p = c->pack, h = c->highest;

	if (p > h)
		return p - h <= 1048576 ? PG_DROP_NONE : PG_DROP_REPLAY_AHEAD;
	if (c->policy == PG_POLICY_NEWEST)
		return PG_DROP_NOT_MONOTONIC;
	if (h - p >= 1024)
		return PG_DROP_REPLAY_OLD;
	return c->bits[p % 1024 / 64] & 1ull << p % 64 ? PG_DROP_REPLAY_SEEN : PG_DROP_NONE;
}

static void windows_agree(void **state)
{
	struct validator_bpf *skeleton = *state;
	struct window_case *cases = gate_map_memory(skeleton->maps.window_cases);
	struct noise noise = noise_start("windows_agree");
	int program = bpf_program__fd(skeleton->progs.check_windows);
	uint32_t seen[PG_DROP_SLOTS] = { 0 };

	for (uint32_t done = 0; done < WINDOWS; done += WINDOW_BATCH) {
		for (uint32_t i = 0; i < WINDOW_BATCH; i++)
			draw_window(&noise, &cases[i]);
		run_batch(program);
		for (uint32_t i = 0; i < WINDOW_BATCH; i++) {
			const struct window_case *c = &cases[i];

			assert_int_equal(c->drop,
					 pg_replay_check(c->highest, c->bits, c->pack, c->policy));
			assert_int_equal(c->drop, reference_window(c));
			seen[c->drop]++;
		}
	}
	assert_in_range(seen[PG_DROP_NONE], WINDOWS / 100, WINDOWS);
	for (uint32_t reason = PG_DROP_REPLAY_SEEN; reason <= PG_DROP_NOT_MONOTONIC; reason++)
		assert_in_range(seen[reason], WINDOWS / 100, WINDOWS);
}

/* --- the whole gate against a model ------------------------------------------------------------
 */

struct model {
	struct gate *gate;
	const struct place *place;
	bool guard, roaming, elsewhere;
};

static const struct pg_stream_line *model_stream(const struct model *m, uint32_t stream)
{
	return stream >= 1 && stream <= 4 ? &m->gate->stream_lines[stream] : NULL;
}

static struct verdict model_window(const struct model *m, const struct pg_frame *frame,
				   const struct pg_stream_line *line)
{
	struct pg_session *session = place_session(m->gate, m->place);
	const struct pg_window *window =
		line ? &m->gate->stream_windows[frame->stream] : place_window(m->gate, m->place);
	uint8_t policy = line ? line->policy : session->policy;
	enum pg_drop drop;

	if (frame->opcode != PG_OP_DATA)
		return STEERS;
	if (frame->fragment && policy == PG_POLICY_NEWEST)
		return DROPS(FRAGMENT_UNSUPPORTED);
	drop = pg_replay_check(line ? line->highest : session->highest, window->bits, frame->pack,
			       policy);
	if (drop == PG_DROP_REPLAY_SEEN && policy == PG_POLICY_RELIABLE)
		return STEERS_AS(DUPLICATES);
	return drop ? DROPS_FOR(drop) : m->elsewhere ? STEERS_AS(CANDIDATES) : STEERS;
}

static struct verdict model_session(const struct model *m, const uint8_t *data,
				    const struct pg_frame *frame)
{
	const struct pg_session *session = place_session(m->gate, m->place);
	const struct pg_stream_line *line = NULL;
	bool candidate;

	if (frame->session != session->id)
		return DROPS(NO_SESSION);
	if (session->state != PG_SESSION_OPEN && session->state != PG_SESSION_READY)
		return DROPS(SESSION_STATE);
	if (frame->stream && frame->opcode != PG_OP_OPENSTREAM) {
		line = model_stream(m, frame->stream);
		if (!line || line->state == PG_STREAM_FREE ||
		    (line->state == PG_STREAM_CLOSE && frame->opcode != PG_OP_CLOSESTREAM))
			return DROPS(NO_STREAM);
	}
	candidate = m->roaming && frame->opcode == PG_OP_DATA &&
		    frame->pack > (line ? line->highest : session->highest);
	if (m->elsewhere && !candidate)
		return DROPS(PEER_MISMATCH);
	if (m->guard && !pg_guard_check((const __u64 *)m->place->key, data, frame))
		return m->elsewhere ? DROPS(PEER_MISMATCH) : DROPS(GUARD);
	return model_window(m, frame, line);
}

static struct verdict model_verdict(const struct model *m, const struct frame_bytes *frame)
{
	enum pg_drop drop = reference_check(frame->bytes, frame->n, true, m->guard);
	struct pg_frame header = { 0 };

	if (drop)
		return DROPS_FOR(drop);
	if (frame->bytes[13] == PG_OP_SHAKEHAND)
		return DROPS(HANDSHAKE_OFF);
	assert_int_equal(pg_frame_check(frame->bytes, frame->bytes + frame->n, frame->n, PG_C2S,
					m->guard, &header),
			 0);
	return model_session(m, frame->bytes, &header);
}

static void draw_series(struct noise *noise, uint32_t *highest, struct pg_window *window,
			uint8_t *policy)
{
	*highest = noise_below(noise, 3000);
	*policy = noise_below(noise, PG_POLICY_COUNT);
	noise_fill(noise, (uint8_t *)window->bits, sizeof(window->bits));
}

static void draw_stage(struct noise *noise, struct model *m)
{
	struct gate *gate = m->gate;
	struct pg_session *session;

	m->place = &places[noise_below(noise, 2)];
	m->guard = noise_below(noise, 4) != 0;
	m->roaming = noise_below(noise, 2);
	gate_reset(gate);
	gate->shared->sample_mask = 0;
	gate_set_session(gate, m->place);
	session = place_session(gate, m->place);
	session->state = noise_below(noise, 8) ? PG_SESSION_READY : noise_below(noise, 6);
	draw_series(noise, &session->highest, place_window(gate, m->place), &session->policy);
	for (uint32_t id = 1; id <= 4; id++) {
		gate_set_stream(gate, m->place, id, id, noise_below(noise, PG_STREAM_CLOSE + 1), 0);
		draw_series(noise, &gate->stream_lines[id].highest, &gate->stream_windows[id],
			    &gate->stream_lines[id].policy);
	}
	GATE_EDIT_ENDPOINTS(gate, guard, m->guard);
	GATE_EDIT_ENDPOINTS(gate, roaming, m->roaming);
}

static int store_reason(void *context, void *data, size_t bytes)
{
	*(uint32_t *)context = ((struct pg_event *)data)->reason;
	return 0;
}

/* Which drop it was is read from its sample, which is quicker than all counters. */
static bool run_one(struct noise *noise, struct model *m, struct ring_buffer *ring,
		    const uint32_t *reason, struct gate_state *want)
{
	struct datagram d = m->place->datagram;
	struct frame_bytes frame;
	struct link_frame link;
	struct verdict verdict;
	uint32_t drop = 0;
	int action;

	m->elsewhere = !noise_below(noise, 4);
	d.source_port += m->elsewhere;
	memset(frame.bytes, 0x5a, 64);
	noise_frame(noise, m->place->ids, m->guard ? m->place->key : NULL, &frame);
	verdict = model_verdict(m, &frame);
	build_datagram(&d, frame.bytes, frame.n, &link);
	count_verdict(want, &verdict, link.n);
	action = gate_run_on(m->gate, &link, NULL);
	if (ring_buffer__consume(ring) == 1)
		drop = *reason;
	if (action == verdict.action && drop == verdict.drop)
		return true;
	print_error("gate: action %d %s, model: action %d %s; opcode 0x%x flags 0x%02x, %u bytes\n",
		    action, drop_label(drop), verdict.action, drop_label(verdict.drop),
		    frame.bytes[13], frame.bytes[12], frame.n);
	return false;
}

static void gate_agrees(void **state)
{
	static struct gate_state want, is;
	static struct gate gate;
	struct noise noise = noise_start("gate_agrees");
	struct model model = { .gate = &gate };
	struct ring_buffer *ring;
	uint32_t reason = 0;
	int wrong = 0;

	gate_open(&gate);
	ring = ring_buffer__new(bpf_map__fd(gate.skeleton->maps.pg_events), store_reason, &reason,
				NULL);
	assert_non_null(ring);
	for (int i = 0; i < GATE_RUNS; i++) {
		if (i % GATE_STAGE == 0)
			draw_stage(&noise, &model);
		wrong += !run_one(&noise, &model, ring, &reason, &want);
		assert_true(wrong < 10);
	}
	gate_save_counters(&gate, &is);
	assert_int_equal(wrong + report_counters("the sum of all runs", &want, &is), 0);
	for (uint32_t drop = 1; drop <= PG_DROP_NOT_MONOTONIC; drop++)
		print_message(
			"%-22s %llu\n", drop_label(drop),
			(unsigned long long)is.counters[PG_DROP_INDEX(SLOT_UNDER_TEST, 0, drop)]
				.packets);
	ring_buffer__free(ring);
	gate_close(&gate);
}

static int open_validator(void **state)
{
	*state = validator_bpf__open_and_load();
	return *state ? 0 : -1;
}

static int close_validator(void **state)
{
	validator_bpf__destroy(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(validators_agree),
		cmocka_unit_test(windows_agree),
		cmocka_unit_test(gate_agrees),
	};

	return cmocka_run_group_tests(tests, open_validator, close_validator);
}
