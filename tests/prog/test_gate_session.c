// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Session, stream, peer and guard: the steps between a valid frame and its packId. */
#include "gate_fixture.h"

#define STREAM	    9
#define STREAM_SLOT 20

/* A guarded frame whose session id is not the place's. */
static int judge_ids(struct gate *gate, const char *name, const struct place *place,
		     struct frame_ids ids, struct verdict want)
{
	struct frame_spec spec = DATA(1);
	struct place other = *place;

	other.ids = ids;
	return gate_judge_spec(gate, name, &other, &spec, want);
}

/* --- session -----------------------------------------------------------------------------------
 */

static void unknown_sessions(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(p)
	{
		struct frame_ids ids = p->ids;
		/* beyond the 10 bits of the mask, so that the slot is the session's own */
		struct frame_ids same_slot = { ids.client, ids.server + 64 };
		struct frame_ids same_slot_client = { ids.client + 16, ids.server };

		wrong += judge_ids(gate, "its own", p, ids, STEERS);
		wrong += judge_ids(gate, "other server id", p,
				   (struct frame_ids){ ids.client, ids.server + 7 },
				   DROPS(NO_SESSION));
		wrong += judge_ids(gate, "other client id", p,
				   (struct frame_ids){ ids.client + 1, ids.server },
				   DROPS(NO_SESSION));
		wrong += judge_ids(gate, "halves swapped", p,
				   (struct frame_ids){ ids.server, ids.client }, DROPS(NO_SESSION));
		assert_int_equal(session_slot(same_slot), session_slot(ids));
		assert_int_equal(session_slot(same_slot_client), session_slot(ids));
		wrong += judge_ids(gate, "same slot, other server id", p, same_slot,
				   DROPS(NO_SESSION));
		wrong += judge_ids(gate, "same slot, other client id", p, same_slot_client,
				   DROPS(NO_SESSION));
	}
	assert_int_equal(wrong, 0);
}

static void session_of_another_endpoint(void **state)
{
	struct gate *gate = *state;

	assert_int_equal(
		judge_ids(gate, "IPv6's session", &places[0], places[1].ids, DROPS(NO_SESSION)) +
			judge_ids(gate, "IPv4's session", &places[1], places[0].ids,
				  DROPS(NO_SESSION)),
		0);
}

static void session_states(void **state)
{
	static const struct {
		const char *name;
		uint8_t state;
		bool taken;
	} rows[] = {
		{ "free", PG_SESSION_FREE, false },   { "init", PG_SESSION_INIT, false },
		{ "open", PG_SESSION_OPEN, true },    { "ready", PG_SESSION_READY, true },
		{ "close", PG_SESSION_CLOSE, false }, { "unheard of", 5, false },
		{ "all ones", 255, false },
	};
	const struct frame_spec frames[] = { DATA(1), PING };
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(p)
	{
		for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(frames); i++) {
			place_session(gate, p)->state = rows[i / 2].state;
			wrong += gate_judge_spec(gate, rows[i / 2].name, p, &frames[i % 2],
						 rows[i / 2].taken ? STEERS : DROPS(SESSION_STATE));
		}
	}
	assert_int_equal(wrong, 0);
}

/* A slot that was freed holds id 0, which no frame can carry. */
static void free_slot(void **state)
{
	struct gate *gate = *state;
	const struct frame_spec spec = DATA(1);
	int wrong = 0;

	EACH_PLACE(p)
	{
		memset(place_session(gate, p), 0, sizeof(struct pg_session));
		wrong += gate_judge_spec(gate, "freed", p, &spec, DROPS(NO_SESSION));
	}
	assert_int_equal(wrong, 0);
}

/* --- stream ------------------------------------------------------------------------------------
 */

struct stream_frame {
	const char *name;
	struct frame_spec spec;
	bool needs_stream, ends_closed;
};

static const struct stream_frame stream_frames[] = {
	{ "data",
	  { .opcode = 0, .flags = 0xc0, .stream = STREAM, .pack = 1, .payload = 16 },
	  true,
	  false },
	{ "ack", { .opcode = 4, .flags = 0xc0, .stream = STREAM, .pack = 1 }, true, false },
	{ "openstream",
	  { .opcode = 7, .flags = 0x80, .stream = STREAM, .payload = 1 },
	  false,
	  false },
	{ "streamopen", { .opcode = 8, .flags = 0x80, .stream = STREAM }, true, false },
	{ "closestream", { .opcode = 9, .flags = 0x80, .stream = STREAM }, true, true },
};

static struct verdict stream_verdict(const struct stream_frame *frame, uint8_t state)
{
	if (!frame->needs_stream)
		return STEERS;
	if (state == PG_STREAM_FREE || (state == PG_STREAM_CLOSE && !frame->ends_closed))
		return DROPS(NO_STREAM);
	return STEERS;
}

static void stream_states(void **state)
{
	static const uint8_t states[] = { PG_STREAM_FREE,  PG_STREAM_INIT,    PG_STREAM_OPEN,
					  PG_STREAM_READY, PG_STREAM_CLOSING, PG_STREAM_CLOSE };
	struct gate *gate = *state;
	int wrong = 0;
	char name[64];

	EACH_PLACE(p)
	{
		for (size_t s = 0; s < ARRAY_SIZE(states); s++) {
			gate_set_stream(gate, p, STREAM, STREAM_SLOT, states[s],
					PG_POLICY_RELIABLE);
			for (size_t i = 0; i < ARRAY_SIZE(stream_frames); i++) {
				snprintf(name, sizeof(name), "%s in state %u",
					 stream_frames[i].name, states[s]);
				wrong += gate_judge_spec(
					gate, name, p, &stream_frames[i].spec,
					stream_verdict(&stream_frames[i], states[s]));
			}
		}
		gate_clear_streams(gate);
	}
	assert_int_equal(wrong, 0);
}

static void no_such_stream(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	/* the id is known, but to the other session */
	gate_set_stream(gate, &places[0], STREAM + 1, STREAM_SLOT, PG_STREAM_READY, 0);
	gate_set_stream(gate, &places[1], STREAM, STREAM_SLOT + 1, PG_STREAM_READY, 0);
	for (size_t i = 0; i < ARRAY_SIZE(stream_frames); i++)
		wrong += gate_judge_spec(gate, stream_frames[i].name, &places[0],
					 &stream_frames[i].spec,
					 stream_verdict(&stream_frames[i], PG_STREAM_FREE));
	assert_int_equal(wrong, 0);
}

static void stream_slot_out_of_range(void **state)
{
	struct gate *gate = *state;
	struct pg_stream_key key = { .session_slot = session_slot(places[0].ids),
				     .stream = STREAM };
	struct pg_stream_ref ref = { .slot = STREAMS };
	const struct frame_spec spec = STREAM_DATA(STREAM, 1);

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(gate->skeleton->maps.pg_streams), &key,
					     &ref, BPF_ANY),
			 0);
	assert_int_equal(
		gate_judge_spec(gate, "behind the array", &places[0], &spec, DROPS(NO_STREAM)), 0);
}

/* --- peer --------------------------------------------------------------------------------------
 */

struct peer_row {
	const char *name;
	const char *source4, *source6; /* NULL = the pinned one */
	uint16_t port;		       /* 0 = the pinned one */
};

static const struct peer_row elsewhere[] = {
	{ "address", "198.51.100.8", "2001:db8:7::8", 0 },
	{ "address, far end", "199.51.100.7", "2002:db8:7::7", 0 },
	{ "port", NULL, NULL, 5557 },
	{ "port with its bytes swapped", NULL, NULL, 0xb315 },
	{ "address and port", "203.0.113.1", "2001:db8:8::1", 1 },
};

static struct place place_from(const struct place *pinned, const struct peer_row *row)
{
	const char *source = pinned->datagram.family == 4 ? row->source4 : row->source6;
	struct place place = *pinned;

	if (source)
		place.datagram.source = source;
	if (row->port)
		place.datagram.source_port = row->port;
	return place;
}

/* Every kind of frame a client sends on a READY session, streams aside. */
static const struct frame_spec control_frames[] = {
	{ .opcode = 4, .flags = 0x40, .pack = 1 },
	{ .opcode = 4, .flags = 0x61, .pack = 1, .fragment = 3, .payload = 1 },
	{ .opcode = 5, .payload = 8 },
	{ .opcode = 5, .payload = 64 },
	{ .opcode = 6, .payload = 8 },
	{ .opcode = 7, .flags = 0x80, .stream = STREAM },
	{ .opcode = 0xb, .payload = 1 },
	{ .opcode = 0xc, .payload = 1 },
};

/* Judges data above, at and below the highest id, and every control frame, from elsewhere. */
static int judge_elsewhere(struct gate *gate, const struct place *place, const char *name,
			   struct verdict above)
{
	const struct frame_spec at = DATA(100), below = DATA(99), next = DATA(101);
	int wrong = 0;

	wrong += gate_judge_spec(gate, name, place, &next, above);
	wrong += gate_judge_spec(gate, name, place, &at, DROPS(PEER_MISMATCH));
	wrong += gate_judge_spec(gate, name, place, &below, DROPS(PEER_MISMATCH));
	for (size_t i = 0; i < ARRAY_SIZE(control_frames); i++)
		wrong += gate_judge_spec(gate, name, place, &control_frames[i],
					 DROPS(PEER_MISMATCH));
	return wrong;
}

static void peers(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	for (int roaming = 0; roaming < 2; roaming++) {
		GATE_EDIT_ENDPOINTS(gate, roaming, roaming);
		for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++) {
			EACH_PLACE(p)
			{
				struct place place = place_from(p, &elsewhere[i]);

				place_session(gate, p)->highest = 100;
				wrong += judge_elsewhere(gate, &place, elsewhere[i].name,
							 roaming ? STEERS_AS(CANDIDATES)
								 : DROPS(PEER_MISMATCH));
			}
		}
	}
	assert_int_equal(wrong, 0);
}

/* Without the guard a candidate is steered on its packId alone; AEAD decides. */
static void peers_without_guard(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	GATE_EDIT_ENDPOINTS(gate, guard, 0);
	for (int roaming = 0; roaming < 2; roaming++) {
		GATE_EDIT_ENDPOINTS(gate, roaming, roaming);
		EACH_PLACE(p)
		{
			struct place place = place_from(p, &elsewhere[0]);
			struct frame_spec spec = DATA(1), ping = PING;
			struct frame_bytes frame;

			build_frame(&spec, p->ids, NULL, &frame);
			wrong += gate_judge_frame(gate, "data", &place.datagram, &frame,
						  roaming ? STEERS_AS(CANDIDATES)
							  : DROPS(PEER_MISMATCH));
			build_frame(&ping, p->ids, NULL, &frame);
			wrong += gate_judge_frame(gate, "ping", &place.datagram, &frame,
						  DROPS(PEER_MISMATCH));
			wrong += gate_judge_frame(gate, "ping, pinned", &p->datagram, &frame,
						  STEERS);
		}
	}
	assert_int_equal(wrong, 0);
}

static void candidates(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	GATE_EDIT_ENDPOINTS(gate, roaming, 1);
	EACH_PLACE(p)
	{
		struct place place = place_from(p, &elsewhere[0]), forger = place;
		struct frame_spec spec = DATA(101), far = DATA(100 + (1 << 20) + 1);
		struct frame_spec fragment = {
			.flags = 0x60, .pack = 101, .fragment = 2, .payload = 17
		};

		forger.key[0] ^= 1;
		place_session(gate, p)->highest = 100;
		wrong += gate_judge_spec(gate, "forged", &forger, &spec, DROPS(PEER_MISMATCH));
		wrong += gate_judge_spec(gate, "too far ahead", &place, &far, DROPS(REPLAY_AHEAD));
		wrong +=
			gate_judge_spec(gate, "fragment", &place, &fragment, STEERS_AS(CANDIDATES));
		wrong += gate_judge_spec(gate, "forged fragment", &forger, &fragment,
					 DROPS(PEER_MISMATCH));
		/* the packet's others: the first one raised the highest id and moved no peer */
		fragment.pack = 100;
		wrong += gate_judge_spec(gate, "fragment at the highest", &place, &fragment,
					 DROPS(PEER_MISMATCH));
		wrong += gate_judge_spec(gate, "the same from the peer", p, &fragment, STEERS);
		spec = STREAM_DATA(STREAM, 5);
		wrong += gate_judge_spec(gate, "no stream", &place, &spec, DROPS(NO_STREAM));
		gate_set_stream(gate, p, STREAM, STREAM_SLOT, PG_STREAM_READY, PG_POLICY_RELIABLE);
		gate->stream_lines[STREAM_SLOT].highest = 5;
		wrong += gate_judge_spec(gate, "at the stream's highest", &place, &spec,
					 DROPS(PEER_MISMATCH));
		gate->stream_lines[STREAM_SLOT].highest = 4; /* the session's 100 does not matter */
		wrong += gate_judge_spec(gate, "above the stream's highest", &place, &spec,
					 STEERS_AS(CANDIDATES));
	}
	assert_int_equal(wrong, 0);
}

/* --- guard -------------------------------------------------------------------------------------
 */

/* Frames of every opcode and header length whose guard is due. */
static const struct frame_spec guarded_frames[] = {
	{ .opcode = 0, .flags = 0x40, .pack = 1, .payload = 16 },
	{ .opcode = 0, .flags = 0xc0, .stream = STREAM, .pack = 1, .payload = 1000 },
	{ .opcode = 0, .flags = 0x60, .pack = 1, .fragment = 1, .payload = 17 },
	{ .opcode = 0, .flags = 0xe1, .stream = STREAM, .pack = 1, .fragment = 2, .payload = 99 },
	{ .opcode = 4, .flags = 0x40, .pack = 1 },
	{ .opcode = 4, .flags = 0xc2, .stream = STREAM, .pack = 1 },
	{ .opcode = 0, .flags = 0x61, .pack = 1, .fragment = 512, .payload = 2004 },
	{ .opcode = 0, .flags = 0xe0, .stream = STREAM, .pack = 1, .fragment = 512, .payload = 17 },
	{ .opcode = 4, .flags = 0x60, .pack = 1, .fragment = 1, .payload = 1 },
	{ .opcode = 4, .flags = 0x61, .pack = 1, .fragment = 9, .payload = 2 },
	{ .opcode = 4, .flags = 0x63, .pack = 1, .fragment = 31, .payload = 4 },
	{ .opcode = 4, .flags = 0xe0, .stream = STREAM, .pack = 1, .fragment = 500, .payload = 63 },
	{ .opcode = 4, .flags = 0xe2, .stream = STREAM, .pack = 1, .fragment = 512, .payload = 64 },
	{ .opcode = 4, .flags = 0xe1, .stream = STREAM, .pack = 1, .fragment = 512, .payload = 64 },
	{ .opcode = 5 },
	{ .opcode = 5, .payload = 7 },
	{ .opcode = 5, .payload = 8 },
	{ .opcode = 5, .payload = 64 },
	{ .opcode = 6, .payload = 9 },
	{ .opcode = 7, .flags = 0x80, .stream = STREAM },
	{ .opcode = 7, .flags = 0x80, .stream = STREAM, .payload = 1 },
	{ .opcode = 8, .flags = 0x80, .stream = STREAM },
	{ .opcode = 9, .flags = 0x80, .stream = STREAM },
	{ .opcode = 0xb, .payload = 1 },
	{ .opcode = 0xb, .payload = 76 },
	{ .opcode = 0xc, .payload = 1 },
};

static int judge_guards(struct gate *gate, const struct place *p, const struct frame_spec *spec)
{
	struct frame_bytes good, bad;
	char name[96];
	int wrong;

	snprintf(name, sizeof(name), "opcode 0x%x flags 0x%02x payload %u, %s", spec->opcode,
		 spec->flags, spec->payload, p->name);
	build_frame(spec, p->ids, p->key, &good);
	wrong = gate_judge_frame(gate, name, &p->datagram, &good, STEERS);
	for (uint32_t bit = 0; bit < 64; bit++) {
		bad = good;
		bad.bytes[bad.n - 8 + bit / 8] ^= 1 << bit % 8;
		wrong += gate_judge_frame(gate, name, &p->datagram, &bad, DROPS(GUARD));
	}
	/* the payload is under the guard, but not in a data frame */
	bad = good;
	bad.bytes[bad.n - 9] ^= 1;
	if (spec->payload)
		wrong += gate_judge_frame(gate, name, &p->datagram, &bad,
					  spec->opcode ? DROPS(GUARD) : STEERS);
	return wrong;
}

static void every_bit_of_every_guard(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(p)
	{
		gate_set_stream(gate, p, STREAM, STREAM_SLOT + p->endpoint, PG_STREAM_READY,
				PG_POLICY_RELIABLE);
		for (size_t i = 0; i < ARRAY_SIZE(guarded_frames); i++)
			wrong += judge_guards(gate, p, &guarded_frames[i]);
	}
	assert_int_equal(wrong, 0);
}

/* The keys of the wrong direction, of nobody, and of another session. */
static void wrong_keys(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(p)
	{
		const uint64_t keys[][2] = { { 0, 0 },
					     { p->key[1], p->key[0] },
					     { p->key[0] ^ 1, p->key[1] },
					     { p->key[0], p->key[1] ^ 1ull << 63 },
					     { 77, 78 } };

		place_session(gate, p)->guard_s2c[0] = 77;
		place_session(gate, p)->guard_s2c[1] = 78;
		for (size_t i = 0; i < ARRAY_SIZE(keys) * ARRAY_SIZE(control_frames); i++) {
			struct place forger = *p;
			struct frame_spec data = DATA(1);

			memcpy(forger.key, keys[i % ARRAY_SIZE(keys)], sizeof(forger.key));
			wrong += gate_judge_spec(gate, "wrong key, data", &forger, &data,
						 DROPS(GUARD));
			wrong += gate_judge_spec(gate, "wrong key, control", &forger,
						 &control_frames[i / ARRAY_SIZE(keys)],
						 DROPS(GUARD));
		}
	}
	assert_int_equal(wrong, 0);
}

static void guard_before_packid(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(p)
	{
		struct frame_spec old = DATA(1), far = DATA(5000000);
		struct place forger = *p;

		forger.key[0]++;
		place_session(gate, p)->highest = 3000;
		wrong += gate_judge_spec(gate, "forged and old", &forger, &old, DROPS(GUARD));
		wrong += gate_judge_spec(gate, "forged and ahead", &forger, &far, DROPS(GUARD));
		wrong += gate_judge_spec(gate, "old", p, &old, DROPS(REPLAY_OLD));
		wrong += gate_judge_spec(gate, "ahead", p, &far, DROPS(REPLAY_AHEAD));
	}
	assert_int_equal(wrong, 0);
}

/* --- one flipped bit in the header of a good data frame ----------------------------------------
 */

static struct verdict flipped_verdict(uint32_t at, uint32_t bit)
{
	/* of flags 0x40 and opcode 0, bit by bit from the lowest */
	static const uint8_t flags[8] = { PG_DROP_FLAGS,	 PG_DROP_FLAGS,
					  PG_DROP_RESERVED_BITS, PG_DROP_RESERVED_BITS,
					  PG_DROP_RESERVED_BITS, PG_DROP_LENGTH_MISMATCH,
					  PG_DROP_FLAGS,	 PG_DROP_LENGTH_MISMATCH };
	static const uint8_t opcodes[8] = { PG_DROP_OPCODE,	   PG_DROP_OPCODE,
					    PG_DROP_PAYLOAD_SIZE,  PG_DROP_FLAGS,
					    PG_DROP_RESERVED_BITS, PG_DROP_RESERVED_BITS,
					    PG_DROP_RESERVED_BITS, PG_DROP_RESERVED_BITS };

	if (at < 4)
		return DROPS(NO_SESSION);
	if (at == 12)
		return DROPS_FOR(flags[bit]);
	if (at == 13)
		return DROPS_FOR(opcodes[bit]);
	if (at == 14 || at == 15)
		return DROPS(LENGTH_MISMATCH);
	return DROPS(GUARD);
}

static void one_flipped_header_bit(void **state)
{
	struct gate *gate = *state;
	char name[64];
	int wrong = 0;

	EACH_PLACE(p)
	{
		for (uint32_t bit = 0; bit < 20 * 8; bit++) {
			struct frame_spec spec = DATA(0x01020304);
			struct frame_bytes frame;

			place_session(gate, p)->highest = 0x01020303;
			build_frame(&spec, p->ids, p->key, &frame);
			frame.bytes[bit / 8] ^= 1 << bit % 8;
			snprintf(name, sizeof(name), "byte %u bit %u, %s", bit / 8, bit % 8,
				 p->name);
			wrong += gate_judge_frame(gate, name, &p->datagram, &frame,
						  flipped_verdict(bit / 8, bit % 8));
		}
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gate_test(unknown_sessions),
		gate_test(session_of_another_endpoint),
		gate_test(session_states),
		gate_test(free_slot),
		gate_test(stream_states),
		gate_test(no_such_stream),
		gate_test(stream_slot_out_of_range),
		gate_test(peers),
		gate_test(peers_without_guard),
		gate_test(candidates),
		gate_test(every_bit_of_every_guard),
		gate_test(wrong_keys),
		gate_test(guard_before_packid),
		gate_test(one_flipped_header_bit),
	};

	return cmocka_run_group_tests(tests, gate_group_setup, gate_group_teardown);
}
