// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The gate against the vectors of an independent implementation. */
#include <jansson.h>

#include "unit/hex.h"
#include "gate_fixture.h"

#define FRAMES	"tests/vectors/frames.json"
#define INVALID "tests/vectors/invalid.json"

static json_t *load(const char *path)
{
	json_error_t error;
	json_t *root = json_load_file(path, 0, &error);

	if (!root)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	return root;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	if (!text)
		fail_msg("a vector without %s", name);
	return text;
}

static void read_frame(const json_t *vector, struct frame_bytes *ret_frame)
{
	ret_frame->n = hex_bytes(text_of(vector, "frame"), ret_frame->bytes, FRAME_ROOM);
}

static enum pg_drop reason_of(const char *label)
{
#define PG_X(name, number, text, ...) \
	if (!strcmp(label, text))     \
		return PG_DROP_##name;
	PG_DROPS(PG_X)
#undef PG_X
	return PG_DROP_NONE;
}

/* --- invalid.json: the first failing reason; what is valid finds no session --------------------
 */

static void invalid_vectors(void **state)
{
	json_t *root = load(INVALID), *cases = json_object_get(root, "cases"), *vector;
	struct gate *gate = *state;
	struct frame_bytes frame;
	char name[160];
	size_t i, judged = 0;
	int wrong = 0;

	json_array_foreach (cases, i, vector) {
		const char *label = text_of(vector, "reason");
		enum pg_drop reason = reason_of(label);

		assert_string_equal(text_of(vector, "at"), "server");
		assert_true(reason || !strcmp(label, "none"));
		read_frame(vector, &frame);
		GATE_EDIT_ENDPOINTS(gate, guard, json_is_true(json_object_get(vector, "guard")));
		EACH_PLACE(place)
		{
			snprintf(name, sizeof(name), "%s, %s", text_of(vector, "name"),
				 place->name);
			wrong += gate_judge_frame(gate, name, &place->datagram, &frame,
						  DROPS_FOR(reason ? reason : PG_DROP_NO_SESSION));
			judged++;
		}
	}
	assert_int_equal(wrong, 0);
	assert_true(judged >= 100);
	json_decref(root);
}

/* --- frames.json: right guards, steered --------------------------------------------------------
 */

/* The guard key that the vectors give for this secret. */
static void guard_key(const json_t *root, const char *ikm, uint64_t ret_key[2])
{
	json_t *keys = json_object_get(root, "keys"), *key;
	uint8_t bytes[16];
	size_t i;

	json_array_foreach (keys, i, key) {
		if (strcmp(text_of(key, "ikm"), ikm) || strcmp(text_of(key, "direction"), "c2s"))
			continue;
		assert_int_equal(hex_bytes(text_of(key, "guard"), bytes, sizeof(bytes)), 16);
		ret_key[0] = pg_load_le64(bytes);
		ret_key[1] = pg_load_le64(bytes + 8);
		return;
	}
	fail_msg("no c2s key for %s", ikm);
}

/* Gives the vector the session, the stream and the highest id that it needs to be accepted. */
static void set_stage(struct gate *gate, const struct place *place, const struct frame_bytes *frame)
{
	uint8_t flags = frame->bytes[12], opcode = frame->bytes[13];
	uint32_t at = flags & 0x80 ? 20 : 16;
	uint32_t highest = opcode == 0 ? pg_load_be32(frame->bytes + at) - 1 : 0;

	gate_set_session(gate, place);
	place_session(gate, place)->highest = highest;
	gate_clear_streams(gate);
	if (!(flags & 0x80) || opcode == 7)
		return;
	gate_set_stream(gate, place, pg_load_be32(frame->bytes + 16), 5, PG_STREAM_READY,
			PG_POLICY_RELIABLE);
	gate->stream_lines[5].highest = highest;
}

static int judge_vector(struct gate *gate, const struct place *place, const char *name,
			struct frame_bytes *frame, bool guard)
{
	char full[160];
	int wrong;

	set_stage(gate, place, frame);
	snprintf(full, sizeof(full), "%s, guard %s, %s", name, guard ? "on" : "off", place->name);
	wrong = gate_judge_frame(gate, full, &place->datagram, frame, STEERS);
	if (!guard)
		return wrong;
	strcat(full, ", last bit flipped");
	frame->bytes[frame->n - 1] ^= 1;
	return wrong + gate_judge_frame(gate, full, &place->datagram, frame, DROPS(GUARD));
}

static void frame_vectors(void **state)
{
	json_t *root = load(FRAMES), *frames = json_object_get(root, "frames"), *vector;
	struct gate *gate = *state;
	size_t i, judged = 0;
	int wrong = 0;

	json_array_foreach (frames, i, vector) {
		bool guard = json_is_true(json_object_get(vector, "guard"));

		if (strcmp(text_of(vector, "direction"), "c2s"))
			continue;
		GATE_EDIT_ENDPOINTS(gate, guard, guard);
		EACH_PLACE(base)
		{
			struct place place = *base;
			struct frame_bytes frame;

			read_frame(vector, &frame);
			place.ids.client = pg_load_be16(frame.bytes);
			place.ids.server = pg_load_be16(frame.bytes + 2);
			guard_key(root, text_of(vector, "ikm"), place.key);
			wrong += judge_vector(gate, &place, text_of(vector, "name"), &frame, guard);
			judged++;
		}
	}
	assert_int_equal(wrong, 0);
	assert_true(judged >= 60);
	json_decref(root);
}

/* What a server sends is not what it takes: refused, and steered never. */
static void server_frames_are_refused(void **state)
{
	json_t *root = load(FRAMES), *frames = json_object_get(root, "frames"), *vector;
	struct gate *gate = *state;
	size_t i, judged = 0;
	int wrong = 0;

	json_array_foreach (frames, i, vector) {
		struct place place = places[0];
		struct frame_bytes frame;

		if (strcmp(text_of(vector, "direction"), "s2c") ||
		    !json_is_true(json_object_get(vector, "guard")))
			continue;
		read_frame(vector, &frame);
		guard_key(root, text_of(vector, "ikm"), place.key);
		set_stage(gate, &place, &frame);
		wrong += gate_judge_frame(gate, text_of(vector, "name"), &place.datagram, &frame,
					  DROPS(GUARD));
		judged++;
	}
	assert_int_equal(wrong, 0);
	assert_true(judged >= 15);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gate_test(invalid_vectors),
		gate_test(frame_vectors),
		gate_test(server_frames_are_refused),
	};

	return cmocka_run_group_tests(tests, gate_group_setup, gate_group_teardown);
}
