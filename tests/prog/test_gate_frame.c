// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The gate against PROTOCOL section 1: every rule of validity, in both address families. */
#include "gate_fixture.h"

#define STREAM 9

/* PROTOCOL section 1's table, written down again: what a server takes. */
static const struct opcode_row {
	const char *name;
	uint8_t opcode;
	uint8_t flags[12]; /* the legal flag bytes */
	int flag_count;
	uint16_t min, max; /* payload without guard */
	uint16_t frag_min, frag_max;
} opcodes[] = {
	{ "data", 0x0, { 0x40, 0xc0, 0x60, 0xe0, 0x61, 0xe1 }, 6, 16, 65535, 17, 65535 },
	{ "ack",
	  0x4,
	  { 0x40, 0xc0, 0x42, 0xc2, 0x60, 0xe0, 0x61, 0xe1, 0x62, 0xe2, 0x63, 0xe3 },
	  12,
	  0,
	  0,
	  1,
	  64 },
	{ "ping", 0x5, { 0x00 }, 1, 0, 64, 0, 0 },
	{ "pong", 0x6, { 0x00 }, 1, 0, 64, 0, 0 },
	{ "openstream", 0x7, { 0x80 }, 1, 0, 1, 0, 0 },
	{ "streamopen", 0x8, { 0x80 }, 1, 0, 0, 0, 0 },
	{ "closestream", 0x9, { 0x80 }, 1, 0, 0, 0, 0 },
	{ "shakehand", 0xa, { 0x00 }, 1, 256, 1172, 0, 0 },
	{ "handshake", 0xb, { 0x00 }, 1, 1, 256, 0, 0 },
	{ "goaway", 0xc, { 0x00 }, 1, 1, 1, 0, 0 },
};

static const struct opcode_row *find_opcode(uint8_t opcode)
{
	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++)
		if (opcodes[i].opcode == opcode)
			return &opcodes[i];
	return NULL;
}

static bool flags_legal(const struct opcode_row *row, uint8_t flags)
{
	for (int i = 0; i < row->flag_count; i++)
		if (row->flags[i] == flags)
			return true;
	return false;
}

/* What a frame that passes section 1 meets next, with a READY session and stream. */
static struct verdict valid_verdict(const struct frame_spec *spec, bool guard)
{
	if (spec->opcode == 0xa)
		return DROPS(HANDSHAKE_OFF);
	if (guard && spec->opcode != 0 && spec_header_bytes(spec) + spec->payload > 92)
		return DROPS(GUARD); /* longer than a guard can cover */
	return STEERS;
}

static void set_streams(struct gate *gate)
{
	EACH_PLACE(place)
	gate_set_stream(gate, place, STREAM, place->endpoint, PG_STREAM_READY, PG_POLICY_RELIABLE);
}

/* Builds the frame of the spec and judges it; the guard is due but on a shakehand. */
static int judge_spec(struct gate *gate, const char *name, const struct place *place,
		      const struct frame_spec *spec, bool guard, struct verdict want)
{
	struct frame_ids ids = place->ids;
	struct frame_bytes frame;
	char full[160];

	if (spec->opcode == 0xa) {
		ids.server = 0;
		guard = false;
	}
	build_frame(spec, ids, guard ? place->key : NULL, &frame);
	snprintf(full, sizeof(full), "%s, opcode 0x%x flags 0x%02x payload %u, guard %s, %s", name,
		 spec->opcode, spec->flags, spec->payload, guard ? "on" : "off", place->name);
	return gate_judge_frame(gate, full, &place->datagram, &frame, want);
}

static struct frame_spec full_spec(uint8_t opcode, uint8_t flags, uint16_t payload)
{
	return (struct frame_spec){ .opcode = opcode,
				    .flags = flags,
				    .payload = payload,
				    .stream = STREAM,
				    .pack = 1,
				    .fragment = 1 };
}

/* --- every opcode with every flag byte ---------------------------------------------------------
 */

static struct verdict flags_verdict(uint8_t opcode_byte, uint8_t flags,
				    const struct frame_spec *spec)
{
	const struct opcode_row *row = find_opcode(opcode_byte & 0xf);

	if (flags & 0x1c || opcode_byte & 0xf0)
		return DROPS(RESERVED_BITS);
	if (!row)
		return DROPS(OPCODE);
	if (!flags_legal(row, flags))
		return DROPS(FLAGS);
	return valid_verdict(spec, true);
}

static void every_opcode_and_flag_byte(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	set_streams(gate);
	for (unsigned int i = 0; i < 0x1000; i++) {
		uint8_t flags = i, opcode = i >> 8;
		const struct opcode_row *row = find_opcode(opcode);
		struct frame_spec spec = full_spec(opcode, flags, 16);

		if (row)
			spec.payload = flags & 0x20 ? row->frag_min : row->min;
		wrong += judge_spec(gate, "flags", &places[i & 1], &spec, true,
				    flags_verdict(opcode, flags, &spec));
	}
	assert_int_equal(wrong, 0);
}

static void reserved_bits_of_the_opcode(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(place)
	{
		for (unsigned int high = 0x10; high < 0x100; high += 0x10) {
			struct frame_spec spec = full_spec(high, 0x40, 16);

			wrong += judge_spec(gate, "high nibble", place, &spec, true,
					    DROPS(RESERVED_BITS));
		}
	}
	assert_int_equal(wrong, 0);
}

/* --- payload sizes: just inside and just outside -----------------------------------------------
 */

static int judge_sizes(struct gate *gate, const struct place *place, const struct opcode_row *row,
		       uint8_t flags, bool guard)
{
	struct frame_spec spec = full_spec(row->opcode, flags, 0);
	uint32_t room = 2048 - spec_header_bytes(&spec) - (guard ? 8 : 0);
	uint32_t min = flags & 0x20 ? row->frag_min : row->min;
	uint32_t max = flags & 0x20 ? row->frag_max : row->max;
	int wrong = 0;

	if (max > room)
		max = room;
	spec.payload = min;
	wrong += judge_spec(gate, "smallest", place, &spec, guard, valid_verdict(&spec, guard));
	spec.payload = max;
	wrong += judge_spec(gate, "largest", place, &spec, guard, valid_verdict(&spec, guard));
	spec.payload = max + 1;
	wrong += judge_spec(gate, "too large", place, &spec, guard, DROPS(PAYLOAD_SIZE));
	if (min) {
		spec.payload = min - 1;
		wrong += judge_spec(gate, "too small", place, &spec, guard, DROPS(PAYLOAD_SIZE));
	}
	return wrong;
}

static void payload_sizes(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	set_streams(gate);
	for (int guard = 0; guard < 2; guard++) {
		GATE_EDIT_ENDPOINTS(gate, guard, guard);
		EACH_PLACE(place)
		{
			for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++)
				for (int f = 0; f < opcodes[i].flag_count; f++)
					wrong += judge_sizes(gate, place, &opcodes[i],
							     opcodes[i].flags[f], guard);
		}
	}
	assert_int_equal(wrong, 0);
}

static void jumbo_payload(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	EACH_PLACE(place)
	{
		struct frame_spec spec = full_spec(0, 0x40, 2100);

		wrong += judge_spec(gate, "2128 bytes", place, &spec, true, DROPS(PAYLOAD_SIZE));
	}
	assert_int_equal(wrong, 0);
}

/* --- single faults, and which of two faults is named -------------------------------------------
 */

/* Bytes written over a good frame, and a change of its length. */
struct edit {
	uint16_t at;
	uint8_t bytes[4];
	uint8_t n;
};

static const struct fault_row {
	const char *name;
	struct frame_spec spec;
	struct edit edits[3];
	int grow;
	enum pg_drop reason;
} faults[] = {
#define FAULT_DATA                                                   \
	{                                                            \
		.opcode = 0, .flags = 0x40, .pack = 1, .payload = 16 \
	}
#define FAULT_STREAM                                                                   \
	{                                                                              \
		.opcode = 0, .flags = 0xc0, .stream = STREAM, .pack = 1, .payload = 16 \
	}
#define FAULT_FRAG                                                                      \
	{                                                                               \
		.opcode = 0, .flags = 0xe0, .stream = STREAM, .pack = 1, .fragment = 1, \
		.payload = 17                                                           \
	}
	{ "client id 0", FAULT_DATA, { { 0, { 0, 0 }, 2 } }, 0, PG_DROP_ID_ZERO },
	{ "server id 0", FAULT_DATA, { { 2, { 0, 0 }, 2 } }, 0, PG_DROP_ID_ZERO },
	{ "both ids 0", FAULT_DATA, { { 0, { 0 }, 4 } }, 0, PG_DROP_ID_ZERO },
	{ "packId 0", FAULT_DATA, { { 16, { 0 }, 4 } }, 0, PG_DROP_ID_ZERO },
	{ "stream id 0", FAULT_STREAM, { { 16, { 0 }, 4 } }, 0, PG_DROP_ID_ZERO },
	{ "packId 0 on a stream", FAULT_STREAM, { { 20, { 0 }, 4 } }, 0, PG_DROP_ID_ZERO },
	{ "fragId 0", FAULT_FRAG, { { 24, { 0 }, 4 } }, 0, PG_DROP_ID_ZERO },
	{ "fragId 513", FAULT_FRAG, { { 24, { 0, 0, 2, 1 }, 4 } }, 0, PG_DROP_ID_RANGE },
	{ "fragId 2^32-1", FAULT_FRAG, { { 24, { 255, 255, 255, 255 }, 4 } }, 0, PG_DROP_ID_RANGE },
	{ "length one more", FAULT_DATA, { { 14, { 0, 25 }, 2 } }, 0, PG_DROP_LENGTH_MISMATCH },
	{ "length one less", FAULT_DATA, { { 14, { 0, 23 }, 2 } }, 0, PG_DROP_LENGTH_MISMATCH },
	{ "length 0", FAULT_DATA, { { 14, { 0, 0 }, 2 } }, 0, PG_DROP_LENGTH_MISMATCH },
	{ "length 65535", FAULT_DATA, { { 14, { 255, 255 }, 2 } }, 0, PG_DROP_LENGTH_MISMATCH },
	{ "a byte more", FAULT_DATA, { { 0 } }, 1, PG_DROP_LENGTH_MISMATCH },
	{ "a byte less", FAULT_DATA, { { 0 } }, -1, PG_DROP_LENGTH_MISMATCH },
	{ "reserved bit before opcode",
	  FAULT_DATA,
	  { { 12, { 0x50, 0x0f }, 2 } },
	  0,
	  PG_DROP_RESERVED_BITS },
	{ "opcode before flags", FAULT_DATA, { { 12, { 0x01, 0x0f }, 2 } }, 0, PG_DROP_OPCODE },
	{ "flags before length", FAULT_DATA, { { 12, { 0x41 }, 1 } }, 3, PG_DROP_FLAGS },
	{ "flags before id 0",
	  FAULT_DATA,
	  { { 0, { 0 }, 4 }, { 12, { 0x41 }, 1 } },
	  0,
	  PG_DROP_FLAGS },
	{ "length before id 0", FAULT_DATA, { { 0, { 0 }, 4 } }, 1, PG_DROP_LENGTH_MISMATCH },
	{ "id 0 before fragId range",
	  FAULT_FRAG,
	  { { 20, { 0 }, 4 }, { 24, { 0, 0, 2, 1 }, 4 } },
	  0,
	  PG_DROP_ID_ZERO },
	{ "client id 0 before fragId range",
	  FAULT_FRAG,
	  { { 0, { 0, 0 }, 2 }, { 24, { 0, 0, 2, 1 }, 4 } },
	  0,
	  PG_DROP_ID_ZERO },
	{ "fragId range before size",
	  FAULT_FRAG,
	  { { 24, { 0, 0, 2, 1 }, 4 }, { 14, { 0, 0 }, 2 } },
	  -25,
	  PG_DROP_ID_RANGE },
	{ "short before length, 19 of 20", FAULT_DATA, { { 0 } }, -25, PG_DROP_FRAME_SHORT },
	{ "only a header, 20 of 20", FAULT_DATA, { { 0 } }, -24, PG_DROP_LENGTH_MISMATCH },
	{ "short, 27 of 28", FAULT_FRAG, { { 0 } }, -26, PG_DROP_FRAME_SHORT },
	{ "shakehand with a server id",
	  { .opcode = 0xa, .payload = 256 - 8 },
	  { { 0 } },
	  0,
	  PG_DROP_ID_ZERO },
	{ "handshake without a server id",
	  { .opcode = 0xb, .payload = 1 },
	  { { 2, { 0, 0 }, 2 }, { 16, { 1 }, 1 } },
	  0,
	  PG_DROP_ID_ZERO },
};

static void faulty_frame(const struct fault_row *row, const struct place *place,
			 struct frame_bytes *ret_frame)
{
	build_frame(&row->spec, place->ids, place->key, ret_frame);
	for (size_t i = 0; i < ARRAY_SIZE(row->edits); i++)
		memcpy(ret_frame->bytes + row->edits[i].at, row->edits[i].bytes, row->edits[i].n);
	ret_frame->n += row->grow;
}

static void single_faults(void **state)
{
	struct frame_spec largest = FAULT_FRAG;
	struct gate *gate = *state;
	struct frame_bytes frame;
	char name[128];
	int wrong = 0;

	set_streams(gate);
	largest.fragment = 512;
	EACH_PLACE(place)
	wrong += gate_judge_spec(gate, "fragId 512", place, &largest, STEERS);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		EACH_PLACE(place)
		{
			memset(&frame, 0, sizeof(frame));
			faulty_frame(&faults[i], place, &frame);
			snprintf(name, sizeof(name), "%s, %s", faults[i].name, place->name);
			wrong += gate_judge_frame(gate, name, &place->datagram, &frame,
						  DROPS_FOR(faults[i].reason));
		}
	}
	assert_int_equal(wrong, 0);
}

/* --- truncation at every length ----------------------------------------------------------------
 */

/* A frame cut on the way: before the ports nothing tells that it is ours. */
static int judge_cut_link(struct gate *gate, const struct place *place, const char *name,
			  const struct link_frame *whole, struct verdict want)
{
	uint32_t ports = ETHER_BYTES + (place->datagram.family == 4 ? 20 : 40) + 8;
	struct link_frame cut = *whole;
	char full[160];
	int wrong = 0;

	for (cut.n = ETHER_BYTES; cut.n <= whole->n; cut.n++) {
		struct verdict cut_want = cut.n < ports	     ? PASSES
					  : cut.n < whole->n ? DROPS(IP_HEADER)
							     : want;

		snprintf(full, sizeof(full), "%s, link cut at %u of %u, %s", name, cut.n, whole->n,
			 place->name);
		wrong += gate_judge(gate, full, &cut, cut_want);
	}
	return wrong;
}

/* A datagram that is honest about holding only a part of a frame. */
static int judge_cut_frame(struct gate *gate, const struct place *place, const char *name,
			   const struct frame_bytes *whole, uint32_t header)
{
	struct frame_bytes cut = *whole;
	char full[160];
	int wrong = 0;

	for (cut.n = 0; cut.n < whole->n; cut.n++) {
		snprintf(full, sizeof(full), "%s, frame cut at %u of %u, %s", name, cut.n, whole->n,
			 place->name);
		wrong += gate_judge_frame(gate, full, &place->datagram, &cut,
					  cut.n < header ? DROPS(FRAME_SHORT)
							 : DROPS(LENGTH_MISMATCH));
	}
	return wrong;
}

static int judge_cuts(struct gate *gate, const struct place *place, const struct opcode_row *row,
		      uint8_t flags)
{
	struct frame_spec spec =
		full_spec(row->opcode, flags, flags & 0x20 ? row->frag_min : row->min);
	struct frame_ids ids = place->ids;
	struct frame_bytes frame;
	struct link_frame link;
	bool guard = row->opcode != 0xa;

	if (!guard)
		ids.server = 0;
	build_frame(&spec, ids, guard ? place->key : NULL, &frame);
	build_datagram(&place->datagram, frame.bytes, frame.n, &link);
	return judge_cut_link(gate, place, row->name, &link, valid_verdict(&spec, guard)) +
	       judge_cut_frame(gate, place, row->name, &frame, spec_header_bytes(&spec));
}

static void truncation(void **state)
{
	struct gate *gate = *state;
	int wrong = 0;

	set_streams(gate);
	EACH_PLACE(place)
	{
		for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++)
			for (int f = 0; f < opcodes[i].flag_count; f++)
				wrong += judge_cuts(gate, place, &opcodes[i], opcodes[i].flags[f]);
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gate_test(every_opcode_and_flag_byte),
		gate_test(reserved_bits_of_the_opcode),
		gate_test(payload_sizes),
		gate_test(jumbo_payload),
		gate_test(single_faults),
		gate_test(truncation),
	};

	return cmocka_run_group_tests(tests, gate_group_setup, gate_group_teardown);
}
