// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "unit/hex.h"
#include "dissect.h"
#include "fields.h"
#include "line.h"
#include "names.h"

#include "decode_rows.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define FRAMES	      "tests/vectors/frames.json"

static struct pg_dissector *new_dissector(const struct pg_secrets *secrets, bool guard)
{
	struct pg_dissect_options options = {
		.session_ports = { { 4000 }, 1 },
		.guard = guard,
		.secrets = secrets,
	};
	struct pg_dissector *dissector = NULL;

	assert_int_equal(pg_dissector_new(&options, &dissector, NULL), 0);
	return dissector;
}

/* The line and the JSON of a packet, checked for what every packet must keep to; caller frees. */
static char *print(const struct pg_decoded *decoded)
{
	char *text = NULL, *line = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	json_t *object;

	pg_fields_write(decoded, &pg_fields_json, out);
	fclose(out);
	object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(object);
	json_decref(object);
	free(text);
	out = open_memstream(&line, &size);
	pg_line_write(decoded, false, out);
	fclose(out);
	for (size_t i = 0; i < size; i++)
		assert_in_range(line[i], 0x20, 0x7e);
	return line;
}

/*
 * Decodes the first `captured` of n bytes, in memory of exactly that size, with a dissector that
 * knows nothing; returns the line.
 */
static char *decode(enum pg_link link, const uint8_t *bytes, uint32_t captured, uint32_t n,
		    struct pg_decoded *ret_decoded)
{
	struct pg_dissector *dissector = new_dissector(NULL, true);
	uint8_t *exact = malloc(captured ? captured : 1);
	struct pg_capture capture = { exact, captured, n, 1700000000000000000, link };
	char *line;

	memcpy(exact, bytes, captured);
	pg_dissect(dissector, &capture, ret_decoded);
	line = print(ret_decoded);
	free(exact);
	pg_dissector_free(dissector);
	return line;
}

static void whole(void **state)
{
	struct pg_decoded decoded;
	uint8_t bytes[2048];

	for (size_t i = 0; i < ARRAY_SIZE(whole_rows); i++) {
		const struct whole_row *row = &whole_rows[i];
		uint32_t n = hex_bytes(row->hex, bytes, sizeof(bytes));
		char *line = decode(row->link, bytes, n, n, &decoded);

		if (strcmp(line, row->line))
			fail_msg("%s: %s", row->name, line);
		assert_int_equal(decoded.faults, 0);
		assert_false(decoded.cut);
		free(line);
	}
}

/* A capture that kept less is no fault of the packet, and shows nothing that is not there. */
static void cut_by_the_capture(void **state)
{
	struct pg_decoded decoded;
	uint8_t bytes[2048];

	for (size_t i = 0; i < ARRAY_SIZE(whole_rows); i++) {
		uint32_t n = hex_bytes(whole_rows[i].hex, bytes, sizeof(bytes));

		for (uint32_t captured = 0; captured < n; captured++) {
			free(decode(whole_rows[i].link, bytes, captured, n, &decoded));
			if (decoded.faults)
				fail_msg("%s, %u of %u bytes: fault %x", whole_rows[i].name,
					 captured, n, decoded.faults);
			assert_true(decoded.captured == captured && decoded.length == n);
			if (decoded.transport == PG_TRANSPORT_TCP && decoded.tcp.whole)
				assert_true(decoded.tcp.data.there <= captured);
			/* a header alone never vouches for data it covers */
			if (decoded.transport == PG_TRANSPORT_UDP && decoded.udp.data.length &&
			    decoded.udp.data.there < decoded.udp.data.length)
				assert_true(decoded.udp.checksum.verdict != PG_CHECKSUM_GOOD);
		}
	}
}

/* A frame that really is shorter lies about itself: a fault, or a layer that was not reached. */
static void every_truncation(void **state)
{
	struct pg_decoded decoded;
	uint8_t bytes[2048];

	for (size_t i = 0; i < ARRAY_SIZE(whole_rows); i++) {
		const struct whole_row *row = &whole_rows[i];
		uint32_t whole_bytes = hex_bytes(row->hex, bytes, sizeof(bytes));

		for (uint32_t n = 0; n < whole_bytes; n++) {
			free(decode(row->link, bytes, n, n, &decoded));
			assert_false(decoded.cut);
			if (decoded.faults || !strcmp(row->name, "padding of the link") ||
			    decoded.network == PG_NETWORK_OTHER)
				continue;
			fail_msg("%s, truncated to %u of %u bytes: no fault", row->name, n,
				 whole_bytes);
		}
	}
}

static void flawed(void **state)
{
	struct pg_decoded decoded;
	uint8_t bytes[2048];

	for (size_t i = 0; i < ARRAY_SIZE(flawed_rows); i++) {
		const struct flawed_row *row = &flawed_rows[i];
		uint32_t n = hex_bytes(row->hex, bytes, sizeof(bytes));
		char *line = decode(row->link, bytes, n, n, &decoded);

		if (!decoded.faults || (decoded.faults & (decoded.faults - 1)))
			fail_msg("%s: faults %x", row->name, decoded.faults);
		assert_string_equal(pg_fault_label(__builtin_ctz(decoded.faults)), row->fault);
		/* what is wrong stands in the line */
		assert_non_null(strstr(line, pg_fault_help(__builtin_ctz(decoded.faults))));
		free(line);
	}
}

/* Every fault of the list is made by a row, or by test_decode_state.c (overlaps need a past). */
static void every_fault_has_a_row(void **state)
{
	for (unsigned int fault = 0; fault < PG_FAULT_COUNT; fault++) {
		bool found = fault == PG_FAULT_FRAGMENT_OVERLAP;

		for (size_t i = 0; i < ARRAY_SIZE(flawed_rows); i++)
			found |= !strcmp(flawed_rows[i].fault, pg_fault_label(fault));
		if (!found)
			fail_msg("no row makes %s", pg_fault_label(fault));
	}
}

/* Flipping any bit, and any byte to 0 or 0xff, of any row never breaks a promise. */
static void mutations(void **state)
{
	struct pg_decoded decoded;
	uint8_t bytes[2048];

	for (size_t i = 0; i < ARRAY_SIZE(whole_rows); i++) {
		uint32_t n = hex_bytes(whole_rows[i].hex, bytes, sizeof(bytes));

		for (uint32_t at = 0; at < n * 10; at++) {
			uint8_t was = bytes[at / 10];
			uint8_t kind = at % 10;

			bytes[at / 10] = kind == 8 ? 0 : kind == 9 ? 0xff : was ^ (1 << kind);
			free(decode(whole_rows[i].link, bytes, n, n, &decoded));
			bytes[at / 10] = was;
		}
	}
}

/* --- session frames over the published vectors -------------------------------------------------
 */

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	assert_non_null(text);
	return text;
}

/* A vector in a raw IPv4 packet with UDP, sent to or from port 4000. */
static uint32_t wrap(const json_t *vector, uint8_t *bytes, size_t room)
{
	bool up = !strcmp(text_of(vector, "direction"), "c2s");
	uint32_t n = hex_bytes(text_of(vector, "frame"), bytes + 28, room - 28);

	memcpy(bytes, "\x45\0\0\0\0\1\0\0\x40\x11\0\0\x0a\0\0\1\x0a\0\0\2", 20);
	pg_store_be16(bytes + 2, (uint16_t)(n + 28));
	pg_store_be16(bytes + 20, up ? 5555 : 4000);
	pg_store_be16(bytes + 22, up ? 4000 : 5555);
	pg_store_be16(bytes + 24, (uint16_t)(n + 8));
	pg_store_be16(bytes + 26, 0);
	return n + 28;
}

static struct pg_secrets *secrets_of(const json_t *vector, const uint8_t *frame)
{
	struct pg_secrets *secrets;
	char line[PG_SECRETS_LINE_MAX];

	assert_int_equal(pg_secrets_new(&secrets), 0);
	if (!pg_load_be16(frame) || !pg_load_be16(frame + 2))
		return secrets;
	snprintf(line, sizeof(line), "%u %u %s %s\n", pg_load_be16(frame), pg_load_be16(frame + 2),
		 text_of(vector, "ikm"),
		 json_integer_value(json_object_get(vector, "aead")) == 2 ? "aes-256-gcm" : "");
	assert_int_equal(pg_secrets_add(secrets, line, NULL), 0);
	return secrets;
}

static void check_opened(const json_t *vector, const struct pg_decoded_frame *frame)
{
	uint8_t plain[2048];
	uint32_t n = hex_bytes(text_of(vector, "plain"), plain, sizeof(plain));

	assert_int_equal(frame->opening, PG_OPENING_OPENED);
	assert_int_equal(frame->plain_bytes, n);
	assert_memory_equal(frame->plain, plain, n);
}

static void check_vector(const json_t *vector)
{
	bool guard = json_is_true(json_object_get(vector, "guard"));
	uint8_t bytes[2200];
	uint32_t n = wrap(vector, bytes, sizeof(bytes));
	struct pg_secrets *secrets = secrets_of(vector, bytes + 28);
	struct pg_dissector *dissector = new_dissector(secrets, guard);
	struct pg_capture capture = { bytes, n, n, 1, PG_LINK_RAW };
	struct pg_decoded decoded;
	bool sealed = json_object_get(vector, "plain");

	pg_dissect(dissector, &capture, &decoded);
	free(print(&decoded));
	assert_true(decoded.frame.present);
	assert_int_equal(decoded.frame.reason, PG_DROP_NONE);
	if (decoded.frame.header.has_guard)
		assert_int_equal(decoded.frame.guard, PG_GUARD_RIGHT);
	if (sealed)
		check_opened(vector, &decoded.frame);
	else
		assert_int_equal(decoded.frame.opening, PG_OPENING_NOT_SEALED);
	/* one changed bit of the last byte: the guard, or the tag, is wrong, and nothing is shown
	 */
	bytes[n - 1] ^= 1;
	pg_dissect(dissector, &capture, &decoded);
	free(print(&decoded));
	if (decoded.frame.header.has_guard)
		assert_int_equal(decoded.frame.guard, PG_GUARD_WRONG);
	else if (sealed)
		assert_int_equal(decoded.frame.opening, PG_OPENING_TAG_WRONG);
	if (decoded.frame.opening == PG_OPENING_TAG_WRONG)
		assert_true(!decoded.frame.plain && !decoded.frame.plain_bytes);
	pg_dissector_free(dissector);
	pg_secrets_free(secrets);
}

static void frame_vectors(void **state)
{
	json_t *root = json_load_file(FRAMES, 0, NULL), *vector;
	size_t i;

	assert_non_null(root);
	assert_true(json_array_size(json_object_get(root, "frames")) >= 78);
	json_array_foreach (json_object_get(root, "frames"), i, vector)
		check_vector(vector);
	json_decref(root);
}

/* Without the secret a frame is judged all the same; cut, it is not judged. */
static void without_secret(void **state)
{
	json_t *root = json_load_file(FRAMES, 0, NULL), *vector;
	struct pg_dissector *dissector = new_dissector(NULL, true);
	struct pg_decoded decoded;
	uint8_t bytes[2200];
	uint32_t n;

	assert_non_null(root);
	vector = json_array_get(json_object_get(root, "frames"), 0);
	n = wrap(vector, bytes, sizeof(bytes));
	for (uint32_t captured = 0; captured <= n; captured++) {
		struct pg_capture capture = { bytes, captured, n, 1, PG_LINK_RAW };

		pg_dissect(dissector, &capture, &decoded);
		assert_int_equal(decoded.frame.present, captured >= 28);
		assert_int_equal(decoded.frame.cut, captured >= 28 && captured < n);
		assert_int_equal(decoded.frame.reason, PG_DROP_NONE);
	}
	assert_int_equal(decoded.frame.opening, PG_OPENING_NO_SECRET);
	assert_int_equal(decoded.frame.guard, PG_GUARD_UNKNOWN);
	pg_dissector_free(dissector);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(cut_by_the_capture),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(flawed),
		cmocka_unit_test(every_fault_has_a_row),
		cmocka_unit_test(mutations),
		cmocka_unit_test(frame_vectors),
		cmocka_unit_test(without_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
