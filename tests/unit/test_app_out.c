// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "app_out.h"
#include "packgate/bytes.h"

#define RECORD_MOST (PG_APP_DATAGRAM_MAX - PG_APP_HEADER_BYTES)

struct bench {
	struct pg_app_connection connection;
	struct pg_app_out out;
	int app;
	uint8_t bytes[4 * PG_APP_DATAGRAM_MAX];
};

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	int fds[2], room = 200000;

	assert_non_null(b);
	assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), errno);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	b->connection.fd = fds[0];
	b->connection.welcomed = true;
	b->app = fds[1];
	for (size_t i = 0; i < sizeof(b->bytes); i++)
		b->bytes[i] = i * 31 + (i >> 8);
	pg_app_out_init(&b->out, &b->connection);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	pg_app_out_done(&b->out);
	close(b->connection.fd);
	close(b->app);
	free(b);
	return 0;
}

static int put(struct bench *b, uint32_t message, uint32_t length)
{
	struct pg_app_record record = { .kind = PG_APP_MESSAGE, .message = pg_be32(message) };

	return pg_app_out_put(&b->out, &record, b->bytes, length);
}

/* Reads a datagram of whole records; returns its bytes, 0 when there is none. */
static size_t read_datagram(struct bench *b, uint8_t *to)
{
	ssize_t bytes = recv(b->app, to, PG_APP_DATAGRAM_MAX + 1, MSG_DONTWAIT);

	assert_true(bytes <= PG_APP_DATAGRAM_MAX);
	return bytes < 0 ? 0 : bytes;
}

/* Joins the parts of one message that is alone in its datagrams. */
static size_t read_message(struct bench *b, uint32_t message, uint8_t *to, uint32_t *ret_parts)
{
	static uint8_t datagram[PG_APP_DATAGRAM_MAX + 1];
	struct pg_app_record record;
	size_t length = 0, bytes;

	for (*ret_parts = 0;; ++*ret_parts) {
		bytes = read_datagram(b, datagram);
		if (!bytes)
			return length;
		memcpy(&record, datagram, sizeof(record));
		assert_int_equal(pg_be32(record.message), message);
		assert_int_equal(bytes, sizeof(record) + pg_be32(record.length));
		memcpy(to + length, datagram + sizeof(record), pg_be32(record.length));
		length += pg_be32(record.length);
		if (!(pg_be16(record.flags) & PG_APP_MORE)) {
			++*ret_parts;
			return length;
		}
	}
}

struct length_row {
	uint32_t length, parts;
};

static const struct length_row lengths[] = {
	{ 0, 1 },
	{ 1, 1 },
	{ RECORD_MOST - 1, 1 },
	{ RECORD_MOST, 1 },
	{ RECORD_MOST + 1, 2 },
	{ 2 * RECORD_MOST, 2 },
	{ 2 * RECORD_MOST + 1, 3 },
	{ 3 * RECORD_MOST + 77, 4 },
};

static void test_parts(void **state)
{
	static uint8_t joined[4 * PG_APP_DATAGRAM_MAX];
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const struct length_row *row = &lengths[i];
		uint32_t parts, all = 0;
		size_t length = 0;

		assert_true(pg_app_out_ready(&b->out, row->length + 5 * PG_APP_HEADER_BYTES));
		assert_int_equal(put(b, i, row->length), 0);
		while (all < row->parts) {
			pg_app_out_flush(&b->out);
			length += read_message(b, i, joined + length, &parts);
			assert_true(parts > 0);
			all += parts;
		}
		assert_int_equal(all, row->parts);
		assert_int_equal(length, row->length);
		assert_memory_equal(joined, b->bytes, length);
		pg_app_out_flush(&b->out);
		assert_false(b->out.blocked);
		assert_int_equal(b->out.queued, 0);
	}
}

/* An application that does not read: records gather up to a datagram's worth, then none is taken.
 */
static void test_full(void **state)
{
	static uint8_t datagram[PG_APP_DATAGRAM_MAX + 1];
	struct bench *b = *state;
	uint32_t taken = 0, came = 0;
	size_t bytes;

	while (pg_app_out_ready(&b->out, 1000 + PG_APP_HEADER_BYTES)) {
		assert_int_equal(put(b, taken++, 1000), 0);
		assert_true(taken < 2000);
	}
	assert_true(b->out.blocked);
	assert_true(b->out.queued <= PG_APP_DATAGRAM_MAX);
	/* events find the room that is kept for them, until it is used up too */
	while (!put(b, taken, 0))
		taken++;
	assert_true(b->out.queued <= PG_APP_DATAGRAM_MAX);
	assert_int_equal(put(b, taken, 0), -ENOBUFS);
	do {
		pg_app_out_flush(&b->out);
		bytes = read_datagram(b, datagram);
		for (size_t at = 0; at < bytes;) {
			struct pg_app_record record;

			memcpy(&record, datagram + at, sizeof(record));
			assert_int_equal(pg_be32(record.message), came++);
			at += sizeof(record) + pg_be32(record.length);
			assert_true(at <= bytes);
		}
	} while (bytes);
	assert_int_equal(came, taken);
	assert_true(pg_app_out_ready(&b->out, 1000));
}

/* What is longer than a datagram is taken only when nothing waits, and only once. */
static void test_long_when_empty(void **state)
{
	struct bench *b = *state;
	uint32_t needed = 3 * PG_APP_DATAGRAM_MAX;

	while (pg_app_out_ready(&b->out, 1000 + PG_APP_HEADER_BYTES))
		assert_int_equal(put(b, 1, 1000), 0);
	assert_false(pg_app_out_ready(&b->out, needed));
	assert_int_equal(put(b, 2, needed - 200), -ENOBUFS);
}

static void test_waits_for_welcome(void **state)
{
	static uint8_t datagram[PG_APP_DATAGRAM_MAX + 1];
	struct bench *b = *state;

	b->connection.welcomed = false;
	assert_int_equal(put(b, 1, 10), 0);
	pg_app_out_flush(&b->out);
	assert_true(b->out.blocked);
	assert_int_equal(read_datagram(b, datagram), 0);
	b->connection.welcomed = true;
	pg_app_out_flush(&b->out);
	assert_false(b->out.blocked);
	assert_int_equal(read_datagram(b, datagram), PG_APP_HEADER_BYTES + 10);
}

static void test_gone(void **state)
{
	struct bench *b = *state;

	assert_int_equal(put(b, 1, 10), 0);
	close(b->app);
	b->app = dup(b->connection.fd);
	pg_app_out_flush(&b->out);
	assert_true(b->out.dead);
	assert_int_equal(b->out.queued, 0);
	assert_false(pg_app_out_ready(&b->out, 1));
	assert_int_equal(put(b, 2, 10), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_parts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_when_empty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_waits_for_welcome, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gone, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
