// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "packgate/session.h"
#include "receive_buffer.h"
#include "send_buffer.h"

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % below;
}

/* --- receive buffer ------------------------------------------------------------------------------
 */

static void test_receive_put(void **state)
{
	struct pg_receive_buffer *buffer = NULL;
	const struct pg_received_packet *packet;
	uint64_t empty;

	assert_int_equal(pg_receive_buffer_new(&buffer), 0);
	empty = pg_receive_buffer_bytes(buffer);
	assert_int_equal(pg_receive_buffer_count(buffer), 0);
	assert_null(pg_receive_buffer_peek(buffer, 5));
	assert_int_equal(pg_receive_buffer_put(buffer, 5, (const uint8_t *)"abc", 3, 100), 0);
	assert_int_equal(pg_receive_buffer_put(buffer, 5, (const uint8_t *)"abc", 3, 100), -EEXIST);
	/* another turn of the window has the same place */
	assert_int_equal(pg_receive_buffer_put(buffer, 5 + 1024, (const uint8_t *)"x", 1, 100),
			 -EEXIST);
	assert_null(pg_receive_buffer_peek(buffer, 5 + 1024));
	assert_int_equal(pg_receive_buffer_put(buffer, 6, (const uint8_t *)"", 0, 101), 0);
	assert_int_equal(pg_receive_buffer_put(buffer, 7, NULL, 0, 102), 0);
	packet = pg_receive_buffer_peek(buffer, 5);
	assert_int_equal(packet->bytes, 3);
	assert_memory_equal(packet->data, "abc", 3);
	assert_false(packet->lost);
	assert_false(pg_receive_buffer_peek(buffer, 6)->lost);
	assert_true(pg_receive_buffer_peek(buffer, 7)->lost);
	assert_int_equal(pg_receive_buffer_count(buffer), 3);
	assert_int_equal(pg_receive_buffer_bytes(buffer), empty + 3 * sizeof(*packet) + 3);
	/* dropping what is not there changes nothing */
	pg_receive_buffer_drop(buffer, 5 + 1024);
	pg_receive_buffer_drop(buffer, 4);
	assert_int_equal(pg_receive_buffer_count(buffer), 3);
	for (uint32_t id = 5; id <= 7; id++)
		pg_receive_buffer_drop(buffer, id);
	assert_int_equal(pg_receive_buffer_count(buffer), 0);
	assert_int_equal(pg_receive_buffer_bytes(buffer), empty);
	pg_receive_buffer_free(buffer);
	pg_receive_buffer_free(NULL);
}

/* Against arrays: what is there, the lowest id, the oldest arrival. */
static void receive_model(uint32_t base)
{
	uint64_t arrived[PG_WINDOW_IDS] = { 0 }, now = 1000; /* 0 = not there */
	struct pg_receive_buffer *buffer = NULL;

	assert_int_equal(pg_receive_buffer_new(&buffer), 0);
	for (uint32_t n = 0; n < 20000; n++) {
		uint32_t i = draw(PG_WINDOW_IDS), count = 0, lowest = 0;
		uint64_t oldest = UINT64_MAX;
		uint8_t byte = i;

		now += draw(3);
		if (draw(100) < (n / 5000 % 2 ? 30 : 70)) {
			assert_int_equal(pg_receive_buffer_put(buffer, base + i, &byte, 1, now),
					 arrived[i] ? -EEXIST : 0);
			if (!arrived[i])
				arrived[i] = now;
		} else {
			pg_receive_buffer_drop(buffer, base + i);
			arrived[i] = 0;
		}
		assert_int_equal(!!pg_receive_buffer_peek(buffer, base + i), !!arrived[i]);
		if (n % 50)
			continue;
		for (uint32_t k = PG_WINDOW_IDS; k--;)
			if (arrived[k]) {
				count++;
				lowest = k;
				if (arrived[k] < oldest)
					oldest = arrived[k];
			}
		assert_int_equal(pg_receive_buffer_count(buffer), count);
		if (!count)
			continue;
		assert_int_equal(pg_receive_buffer_lowest(buffer, base), base + lowest);
		assert_int_equal(pg_receive_buffer_oldest(buffer, 0)->arrived_ms, oldest);
	}
	pg_receive_buffer_free(buffer);
}

static void test_receive_model(void **state)
{
	seed = 11;
	receive_model(1);
	receive_model(1000);
	receive_model(0xfffffc00);
}

static void test_receive_parts(void **state)
{
	struct pg_receive_buffer *buffer = NULL;
	const struct pg_received_packet *packet;
	uint64_t empty, promised;
	uint8_t *whole;

	assert_int_equal(pg_receive_buffer_new(&buffer), 0);
	empty = pg_receive_buffer_bytes(buffer);
	promised = pg_receive_buffer_part_cost(buffer, 5, 3, 2);
	assert_int_equal(pg_receive_buffer_part(buffer, 5, 3, true, (uint8_t *)"ef", 2, 100), 0);
	assert_true(pg_receive_buffer_bytes(buffer) - empty <= promised);
	assert_null(pg_receive_buffer_peek(buffer, 5));
	assert_non_null(pg_receive_buffer_parts(buffer, 5));
	assert_int_equal(pg_receive_buffer_lowest(buffer, 1), 5);
	/* another packet in its place, a whole one too */
	assert_int_equal(pg_receive_buffer_part(buffer, 5 + 1024, 1, false, (uint8_t *)"x", 1, 100),
			 -EEXIST);
	assert_int_equal(pg_receive_buffer_put(buffer, 5, (uint8_t *)"x", 1, 100), -EEXIST);
	assert_int_equal(pg_receive_buffer_put(buffer, 6, (uint8_t *)"x", 1, 101), 0);
	assert_int_equal(pg_receive_buffer_part(buffer, 6, 1, false, (uint8_t *)"x", 1, 100),
			 -EEXIST);
	assert_int_equal(pg_receive_buffer_part(buffer, 5, 4, false, (uint8_t *)"x", 1, 102),
			 -EINVAL);
	assert_int_equal(pg_receive_buffer_part(buffer, 5, 1, false, (uint8_t *)"ab", 2, 102), 0);
	assert_int_equal(pg_receive_buffer_at(buffer, 5)->latest_ms, 102);
	assert_int_equal(pg_receive_buffer_oldest(buffer, 0)->id, 5);
	assert_int_equal(pg_receive_buffer_oldest(buffer, 5)->id, 6);
	assert_int_equal(pg_receive_buffer_part(buffer, 5, 2, false, (uint8_t *)"cd", 2, 103), 0);
	whole = malloc(6);
	pg_receive_buffer_join(buffer, 5, whole);
	packet = pg_receive_buffer_peek(buffer, 5);
	assert_int_equal(packet->bytes, 6);
	assert_memory_equal(packet->data, "abcdef", 6);
	assert_int_equal(pg_receive_buffer_bytes(buffer), empty + 2 * sizeof(*packet) + 7);
	pg_receive_buffer_drop(buffer, 5);
	pg_receive_buffer_drop(buffer, 6);
	assert_int_equal(pg_receive_buffer_bytes(buffer), empty);
	/* what is given up in the middle is freed with the buffer */
	assert_int_equal(pg_receive_buffer_part(buffer, 9, 512, false, (uint8_t *)"x", 1, 104), 0);
	pg_receive_buffer_free(buffer);
}

/* --- send buffer ---------------------------------------------------------------------------------
 */

static void test_send_put(void **state)
{
	struct pg_send_buffer *buffer = NULL;
	struct pg_sent_packet *packet = NULL;

	assert_int_equal(pg_send_buffer_new(10, &buffer), 0);
	assert_true(pg_send_buffer_empty(buffer));
	assert_null(pg_send_buffer_first(buffer));
	assert_null(pg_send_buffer_fresh(buffer));
	assert_null(pg_send_buffer_find(buffer, 10));
	for (uint32_t i = 0; i < PG_WINDOW_IDS; i++) {
		assert_true(pg_send_buffer_allows(buffer));
		assert_int_equal(
			pg_send_buffer_put(buffer, (uint8_t *)"abc", 3, 100, 500 + i, &packet), 0);
		assert_int_equal(packet->id, 10 + i);
		assert_int_equal(packet->state, PG_PACKET_INIT);
	}
	assert_false(pg_send_buffer_allows(buffer));
	assert_int_equal(pg_send_buffer_put(buffer, NULL, 0, 100, 0, &packet), -ENOBUFS);
	assert_int_equal(pg_send_buffer_bytes(buffer), PG_WINDOW_IDS * pg_send_buffer_cost(3, 100));
	/* settled out of order: only the lowest one makes room */
	pg_send_buffer_remove(buffer, pg_send_buffer_find(buffer, 11));
	assert_null(pg_send_buffer_find(buffer, 11));
	assert_false(pg_send_buffer_allows(buffer));
	assert_int_equal(pg_send_buffer_fresh(buffer)->id, 10);
	pg_send_buffer_remove(buffer, pg_send_buffer_first(buffer));
	assert_int_equal(pg_send_buffer_first(buffer)->id, 12);
	assert_int_equal(pg_send_buffer_fresh(buffer)->id, 12);
	assert_true(pg_send_buffer_allows(buffer));
	assert_int_equal(pg_send_buffer_next(buffer), 10 + PG_WINDOW_IDS);
	pg_send_buffer_free(buffer);
	pg_send_buffer_free(NULL);
}

static void test_send_cuts(void **state)
{
	static const struct {
		uint32_t bytes, cut, frames, last;
	} rows[] = {
		{ 0, 10, 1, 0 },    { 1, 10, 1, 1 },
		{ 10, 10, 1, 10 },  { 11, 10, 2, 1 },
		{ 20, 10, 2, 10 },  { 21, 10, 3, 1 },
		{ 512, 1, 512, 1 }, { 587776, 1148, 512, 1148 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t *data = calloc(1, rows[i].bytes + 1);
		struct pg_send_buffer *buffer = NULL;
		struct pg_sent_packet *packet;
		uint32_t sum = 0;

		data[rows[i].bytes ? rows[i].bytes - 1 : 0] = 0x77;
		assert_int_equal(pg_send_buffer_new(1, &buffer), 0);
		assert_int_equal(
			pg_send_buffer_put(buffer, data, rows[i].bytes, rows[i].cut, 0, &packet),
			0);
		assert_int_equal(packet->frames, rows[i].frames);
		for (uint32_t k = 0; k < packet->frames; k++) {
			assert_ptr_equal(pg_sent_packet_of(&packet->frame[k]), packet);
			sum += pg_sent_packet_frame_bytes(packet, k);
		}
		assert_int_equal(sum, rows[i].bytes);
		assert_int_equal(pg_sent_packet_frame_bytes(packet, packet->frames - 1),
				 rows[i].last);
		if (rows[i].bytes)
			assert_int_equal(packet->data[rows[i].bytes - 1], 0x77);
		pg_send_buffer_free(buffer);
		free(data);
	}
}

/* Against arrays, past the turn of 2^32. */
static void send_model(uint32_t first)
{
	enum { IDS = 20000 };
	static uint8_t out[IDS]; /* 1 = outstanding, 2 = begun */
	struct pg_send_buffer *buffer = NULL;
	struct pg_sent_packet *packet;
	uint32_t low = 0, next = 0;

	memset(out, 0, sizeof(out));
	assert_int_equal(pg_send_buffer_new(first, &buffer), 0);
	while (next < IDS) {
		uint32_t i = low + draw(next - low + 2), fresh = low;

		if (draw(100) < 55) {
			bool allowed = next - low < PG_WINDOW_IDS;

			assert_int_equal(pg_send_buffer_put(buffer, NULL, 0, 9, next + 1, &packet),
					 allowed ? 0 : -ENOBUFS);
			if (allowed)
				out[next++] = 1;
		} else if (draw(100) < 70) {
			bool there = i < next && out[i];

			packet = pg_send_buffer_find(buffer, first + i);
			assert_int_equal(!!packet, there);
			if (there) {
				assert_int_equal(packet->message, i + 1);
				pg_send_buffer_remove(buffer, packet);
				out[i] = 0;
			}
		} else if ((packet = pg_send_buffer_fresh(buffer))) {
			packet->begun = 1;
			out[packet->id - first] = 2;
		}
		while (low < next && !out[low])
			low++;
		assert_int_equal(pg_send_buffer_empty(buffer), low == next);
		for (fresh = low; fresh < next && out[fresh] != 1;)
			fresh++;
		packet = pg_send_buffer_fresh(buffer);
		assert_int_equal(packet ? packet->id : first + next, first + fresh);
	}
	pg_send_buffer_free(buffer);
}

static void test_send_model(void **state)
{
	seed = 12;
	send_model(1);
	send_model(0xffffffff - 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_receive_put),   cmocka_unit_test(test_receive_model),
		cmocka_unit_test(test_receive_parts), cmocka_unit_test(test_send_put),
		cmocka_unit_test(test_send_cuts),     cmocka_unit_test(test_send_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
