// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "app_answers.h"
#include "packgate/bytes.h"

struct bench {
	struct pg_app_answers answers;
	int agent, app;
};

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	int fds[2], room = 8192;

	assert_non_null(b);
	assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), errno);
	assert_return_code(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), errno);
	b->agent = fds[0];
	b->app = fds[1];
	pg_app_answers_init(&b->answers, b->agent);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	pg_app_answers_done(&b->answers);
	close(b->agent);
	if (b->app >= 0)
		close(b->app);
	free(b);
	return 0;
}

/* An answer that tells its number in the header and in the text. */
static void put(struct bench *b, uint32_t number)
{
	struct pg_app_record record = {
		.kind = PG_APP_ERROR,
		.transport = PG_APP_TCP,
		.endpoint = pg_be32(3),
		.session = pg_be64(0x1122334455667788),
		.stream = pg_be32(9),
		.message = pg_be32(number),
		.length = pg_be32(12345),
	};
	char text[32];

	snprintf(text, sizeof(text), "refused %u", number);
	pg_app_answers_put(&b->answers, &record, text);
}

/* Reads the next answer and demands that it is this one; false when nothing waits. */
static bool take(struct bench *b, uint32_t number)
{
	struct pg_app_record record;
	uint8_t datagram[256];
	char text[32];
	ssize_t bytes = recv(b->app, datagram, sizeof(datagram), MSG_DONTWAIT);

	if (bytes < 0 && errno == EAGAIN)
		return false;
	snprintf(text, sizeof(text), "refused %u", number);
	assert_int_equal(bytes, sizeof(record) + strlen(text));
	memcpy(&record, datagram, sizeof(record));
	assert_int_equal(record.kind, PG_APP_ERROR);
	assert_int_equal(record.transport, PG_APP_TCP);
	assert_int_equal(record.flags, 0);
	assert_int_equal(pg_be32(record.endpoint), 3);
	assert_int_equal(pg_be64(record.session), 0x1122334455667788);
	assert_int_equal(pg_be32(record.stream), 9);
	assert_int_equal(pg_be32(record.message), number);
	assert_int_equal(pg_be32(record.length), strlen(text));
	assert_memory_equal(datagram + sizeof(record), text, strlen(text));
	return true;
}

/* Puts answers until one has to wait; returns how many were put. */
static uint32_t fill(struct bench *b)
{
	uint32_t count = 0;

	while (!pg_app_answers_wait(&b->answers)) {
		put(b, count++);
		assert_in_range(count, 1, 10000);
	}
	return count;
}

static void test_at_once(void **state)
{
	struct bench *b = *state;

	put(b, 0);
	assert_false(pg_app_answers_wait(&b->answers));
	assert_true(take(b, 0));
	assert_false(take(b, 1));
}

static void test_kept_in_order(void **state)
{
	struct bench *b = *state;
	uint32_t count = fill(b), taken = 0;

	for (int i = 0; i < 1000; i++)
		put(b, count++);
	while (taken < count) {
		while (take(b, taken))
			taken++;
		if (taken < count)
			assert_true(pg_app_answers_wait(&b->answers));
		pg_app_answers_flush(&b->answers);
	}
	assert_false(pg_app_answers_wait(&b->answers));
	assert_false(take(b, 0));
	put(b, 7);
	assert_true(take(b, 7));
}

/* What came while others wait must not overtake them, however much room there is by then. */
static void test_no_overtaking(void **state)
{
	struct bench *b = *state;
	uint32_t count = fill(b), taken = 0;

	while (take(b, taken))
		taken++;
	put(b, count++);
	assert_false(take(b, taken));
	pg_app_answers_flush(&b->answers);
	while (take(b, taken))
		taken++;
	assert_int_equal(taken, count);
}

static void test_gone(void **state)
{
	struct bench *b = *state;

	fill(b);
	close(b->app);
	b->app = -1;
	pg_app_answers_flush(&b->answers);
	assert_true(b->answers.gone);
	assert_false(pg_app_answers_wait(&b->answers));
	put(b, 1);
	assert_false(pg_app_answers_wait(&b->answers));
}

/* A flush of nothing, and being done with answers that nobody took. */
static void test_edges(void **state)
{
	struct bench *b = *state;

	pg_app_answers_flush(&b->answers);
	assert_false(b->answers.gone);
	fill(b);
	pg_app_answers_done(&b->answers);
	assert_false(pg_app_answers_wait(&b->answers));
}

static void test_refuse(void **state)
{
	struct pg_message *record = pg_message_new(PG_MESSAGE_APP, "body", 4), *refused;
	struct pg_inbox inbox;

	(void)state;
	assert_return_code(pg_inbox_init(&inbox), 0);
	record->app.connection = 77;
	record->app.handle = 88;
	record->app.stream = 5;
	record->app.message = 6;
	record->app.transport = PG_APP_TCP;
	/* refusals are taken beyond the bound of records: there is one for each at most */
	for (uint32_t i = 0; i <= PG_INBOX_FRAMES_MAX; i++)
		assert_return_code(pg_app_refuse(&inbox, record, 9, "no such thing"), 0);
	free(record);
	for (uint32_t i = 0; i <= PG_INBOX_FRAMES_MAX; i++) {
		refused = pg_inbox_take(&inbox);
		assert_non_null(refused);
		assert_int_equal(refused->kind, PG_MESSAGE_REFUSED);
		assert_int_equal(refused->app.connection, 77);
		assert_int_equal(refused->app.handle, 88);
		assert_int_equal(refused->app.stream, 5);
		assert_int_equal(refused->app.message, 6);
		assert_int_equal(refused->app.transport, PG_APP_TCP);
		assert_int_equal(refused->app.endpoint, 9);
		assert_string_equal((const char *)refused->data, "no such thing");
		free(refused);
	}
	assert_null(pg_inbox_take(&inbox));
	pg_inbox_done(&inbox);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kept_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_overtaking, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_edges, set_up, tear_down),
		cmocka_unit_test(test_refuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
