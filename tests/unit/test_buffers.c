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
		assert_int_equal(pg_receive_buffer_oldest_ms(buffer), oldest);
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

/* --- send buffer ---------------------------------------------------------------------------------
 */

static void test_send_put(void **state)
{
	struct pg_send_buffer *buffer = NULL;
	struct pg_sent_packet packet;
	uint32_t id;

	assert_int_equal(pg_send_buffer_new(10, &buffer), 0);
	assert_true(pg_send_buffer_empty(buffer));
	assert_int_equal(pg_send_buffer_ack(buffer, 10, &packet), -ENOENT);
	assert_int_equal(pg_send_buffer_expire(buffer, UINT64_MAX, &packet, &id), -ENOENT);
	for (uint32_t i = 0; i < PG_WINDOW_IDS; i++) {
		assert_int_equal(pg_send_buffer_reserve(buffer, 10 + i), 0);
		assert_int_equal(pg_send_buffer_put(buffer, 10 + i, 500 + i, 1000 + i), 0);
	}
	assert_false(pg_send_buffer_allows(buffer, 10 + PG_WINDOW_IDS));
	assert_int_equal(pg_send_buffer_reserve(buffer, 10 + PG_WINDOW_IDS), -ENOBUFS);
	assert_int_equal(pg_send_buffer_put(buffer, 10 + PG_WINDOW_IDS, 0, 0), -ENOBUFS);
	assert_int_equal(pg_send_buffer_oldest_ms(buffer), 1000);
	/* an id below, one above, one in the middle, the same again */
	assert_int_equal(pg_send_buffer_ack(buffer, 9, &packet), -ENOENT);
	assert_int_equal(pg_send_buffer_ack(buffer, 10 + PG_WINDOW_IDS, &packet), -ENOENT);
	assert_int_equal(pg_send_buffer_ack(buffer, 12, &packet), 0);
	assert_int_equal(packet.message, 502);
	assert_int_equal(pg_send_buffer_ack(buffer, 12, &packet), -ENOENT);
	assert_int_equal(pg_send_buffer_expire(buffer, 999, &packet, &id), -ENOENT);
	assert_int_equal(pg_send_buffer_expire(buffer, 1000, &packet, &id), 0);
	assert_int_equal(id, 10);
	assert_int_equal(packet.message, 500);
	assert_int_equal(pg_send_buffer_expire(buffer, 1000, &packet, &id), -ENOENT);
	assert_int_equal(pg_send_buffer_expire(buffer, 1003, &packet, &id), 0);
	assert_int_equal(id, 11);
	/* 12 is acked, so 13 is next */
	assert_int_equal(pg_send_buffer_expire(buffer, 1003, &packet, &id), 0);
	assert_int_equal(id, 13);
	assert_int_equal(pg_send_buffer_oldest_ms(buffer), 1004);
	assert_true(pg_send_buffer_allows(buffer, 10 + PG_WINDOW_IDS));
	pg_send_buffer_free(buffer);
	pg_send_buffer_free(NULL);
}

/* Against arrays, past the turn of 2^32. */
static void send_model(uint32_t first)
{
	enum { IDS = 20000 };
	static uint8_t out[IDS]; /* 1 = outstanding */
	struct pg_send_buffer *buffer = NULL;
	struct pg_sent_packet packet;
	uint32_t low = 0, next = 0, id;
	uint64_t now = 0;

	memset(out, 0, sizeof(out));
	assert_int_equal(pg_send_buffer_new(first, &buffer), 0);
	while (next < IDS) {
		uint32_t i = low + draw(next - low + 2);

		now++;
		if (draw(100) < 55) {
			bool allowed = next - low < PG_WINDOW_IDS;

			assert_int_equal(pg_send_buffer_put(buffer, first + next, next + 1, next),
					 allowed ? 0 : -ENOBUFS);
			if (allowed)
				out[next++] = 1;
		} else if (draw(100) < 90) {
			bool there = i < next && out[i];

			assert_int_equal(pg_send_buffer_ack(buffer, first + i, &packet),
					 there ? 0 : -ENOENT);
			if (there) {
				assert_int_equal(packet.message, i + 1);
				out[i] = 0;
			}
		} else if (low < next) {
			assert_int_equal(pg_send_buffer_oldest_ms(buffer), low);
			assert_int_equal(pg_send_buffer_expire(buffer, low, &packet, &id), 0);
			assert_int_equal(id, first + low);
			assert_int_equal(packet.message, low + 1);
			out[low] = 0;
		}
		while (low < next && !out[low])
			low++;
		assert_int_equal(pg_send_buffer_empty(buffer), low == next);
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
		cmocka_unit_test(test_receive_put),
		cmocka_unit_test(test_receive_model),
		cmocka_unit_test(test_send_put),
		cmocka_unit_test(test_send_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
