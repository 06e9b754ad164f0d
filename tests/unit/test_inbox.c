// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "inbox.h"

static bool awake(const struct pg_inbox *inbox)
{
	struct pollfd fd = { .fd = inbox->wake_fd, .events = POLLIN };

	return poll(&fd, 1, 0) == 1;
}

static void sleep_again(const struct pg_inbox *inbox)
{
	uint64_t count;

	assert_int_equal(read(inbox->wake_fd, &count, sizeof(count)), sizeof(count));
	assert_false(awake(inbox));
}

static void post(struct pg_inbox *inbox, enum pg_message_kind kind, uint32_t number)
{
	struct pg_message *message = pg_message_new(kind, &number, sizeof(number));

	assert_non_null(message);
	assert_int_equal(pg_inbox_post(inbox, message), 0);
}

static uint32_t take(struct pg_inbox *inbox)
{
	struct pg_message *message = pg_inbox_take(inbox);
	uint32_t number;

	assert_non_null(message);
	assert_int_equal(message->bytes, sizeof(number));
	memcpy(&number, message->data, sizeof(number));
	free(message);
	return number;
}

static void test_order_and_wake(void **state)
{
	struct pg_inbox inbox;

	assert_int_equal(pg_inbox_init(&inbox), 0);
	assert_null(pg_inbox_take(&inbox));
	assert_false(awake(&inbox));
	post(&inbox, PG_MESSAGE_FRAME, 1);
	assert_true(awake(&inbox));
	sleep_again(&inbox);
	/* not empty: whoever empties it looks again before it sleeps */
	post(&inbox, PG_MESSAGE_VIEW, 2);
	post(&inbox, PG_MESSAGE_APP, 3);
	assert_false(awake(&inbox));
	for (uint32_t i = 1; i <= 3; i++)
		assert_int_equal(take(&inbox), i);
	assert_null(pg_inbox_take(&inbox));
	/* the first one after it was empty wakes again */
	post(&inbox, PG_MESSAGE_FRAME, 4);
	assert_true(awake(&inbox));
	assert_int_equal(take(&inbox), 4);
	/* what is left is freed */
	post(&inbox, PG_MESSAGE_FRAME, 5);
	post(&inbox, PG_MESSAGE_STOP, 6);
	pg_inbox_done(&inbox);
}

static void test_message_new(void **state)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_CLOSE, NULL, 0);

	assert_int_equal(message->kind, PG_MESSAGE_CLOSE);
	assert_int_equal(message->bytes, 0);
	assert_null(message->waiter);
	assert_int_equal(message->close.handle, 0);
	free(message);
	message = pg_message_new(PG_MESSAGE_FRAME, "abc", 3);
	assert_int_equal(message->bytes, 3);
	assert_memory_equal(message->data, "abc", 3);
	free(message);
}

static void test_bound(void **state)
{
	struct pg_message *message;
	struct pg_inbox inbox;

	assert_int_equal(pg_inbox_init(&inbox), 0);
	for (uint32_t i = 0; i < PG_INBOX_FRAMES_MAX; i++)
		post(&inbox, i % 2 ? PG_MESSAGE_FRAME : PG_MESSAGE_APP, i);
	for (int kind = PG_MESSAGE_FRAME; kind <= PG_MESSAGE_STOP; kind++) {
		bool bounded = kind == PG_MESSAGE_FRAME || kind == PG_MESSAGE_APP;

		message = pg_message_new(kind, NULL, 0);
		assert_int_equal(pg_inbox_post(&inbox, message), bounded ? -EAGAIN : 0);
		if (bounded)
			free(message); /* still ours */
	}
	/* one out, one in, whichever of the two it was */
	assert_int_equal(take(&inbox), 0);
	post(&inbox, PG_MESSAGE_FRAME, 1);
	message = pg_message_new(PG_MESSAGE_APP, NULL, 0);
	assert_int_equal(pg_inbox_post(&inbox, message), -EAGAIN);
	free(message);
	pg_inbox_done(&inbox);
}

static void post_for(struct pg_inbox *inbox, enum pg_message_kind kind, uint32_t slot,
		     uint32_t number)
{
	struct pg_message *message = pg_message_new(kind, &number, sizeof(number));

	assert_non_null(message);
	if (kind == PG_MESSAGE_APP)
		message->app.slot = slot;
	if (kind == PG_MESSAGE_CLOSE)
		message->close.slot = slot;
	if (kind == PG_MESSAGE_RESERVED)
		message->reserved.slot = slot;
	if (kind == PG_MESSAGE_LIST) {
		message->list.first = slot;
		message->list.last = slot == 6 ? 8 : slot + 1; /* 6: more than one */
	}
	assert_int_equal(pg_inbox_post(inbox, message), 0);
}

static struct pg_message *session_message(uint32_t number)
{
	return pg_message_new(PG_MESSAGE_ADOPT, &number, sizeof(number));
}

/* What waits for a session follows it in order; everything else stays as it was. */
static void hand_over(struct pg_inbox *from, struct pg_inbox *to, uint8_t index)
{
	static const struct {
		enum pg_message_kind kind;
		uint32_t slot;
	} waiting[] = {
		{ PG_MESSAGE_APP, 7 },	 { PG_MESSAGE_FRAME, 7 },    { PG_MESSAGE_APP, 8 },
		{ PG_MESSAGE_CLOSE, 7 }, { PG_MESSAGE_CLOSE, 8 },    { PG_MESSAGE_RESERVED, 7 },
		{ PG_MESSAGE_VIEW, 0 },	 { PG_MESSAGE_RESERVED, 8 }, { PG_MESSAGE_APP, 7 },
		{ PG_MESSAGE_LIST, 7 },	 { PG_MESSAGE_LIST, 6 },     { PG_MESSAGE_LIST, 8 },
	};
	static const uint32_t moved[] = { 90, 100, 0, 3, 5, 8, 9 };
	static const uint32_t left[] = { 1, 2, 4, 6, 7, 10, 11, 12 };
	_Atomic uint8_t owner = 0;

	assert_int_equal(pg_inbox_init(from), 0);
	assert_int_equal(pg_inbox_init(to), 0);
	for (uint32_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++)
		post_for(from, waiting[i].kind, waiting[i].slot, i);
	post(to, PG_MESSAGE_FRAME, 90);
	pg_inbox_hand_over(from, to, session_message(100), 7, &owner, index);
	assert_int_equal(owner, index);
	post(from, PG_MESSAGE_FRAME, 12);
	for (size_t i = 0; i < sizeof(moved) / sizeof(moved[0]); i++)
		assert_int_equal(take(to), moved[i]);
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		assert_int_equal(take(from), left[i]);
	assert_null(pg_inbox_take(from));
	assert_null(pg_inbox_take(to));
	assert_int_equal(from->frames + to->frames, 0);
	assert_int_equal(from->bytes + to->bytes, 0);
	pg_inbox_done(from);
	pg_inbox_done(to);
}

/* Either of the two may lie before the other in memory. */
static void test_hand_over(void **state)
{
	struct pg_inbox pair[2];

	hand_over(&pair[0], &pair[1], 1);
	hand_over(&pair[1], &pair[0], 2);
}

/* The last one moves too, and what is posted afterwards is found; a sleeper wakes. */
static void test_hand_over_all(void **state)
{
	_Atomic uint8_t owner = 0;
	struct pg_inbox from, to;

	assert_int_equal(pg_inbox_init(&from), 0);
	assert_int_equal(pg_inbox_init(&to), 0);
	post_for(&from, PG_MESSAGE_APP, 7, 1);
	pg_inbox_hand_over(&from, &to, session_message(100), 7, &owner, 1);
	assert_true(awake(&to));
	assert_null(pg_inbox_take(&from));
	post(&from, PG_MESSAGE_FRAME, 2);
	assert_int_equal(take(&from), 2);
	post(&to, PG_MESSAGE_FRAME, 3);
	assert_int_equal(take(&to), 100);
	assert_int_equal(take(&to), 1);
	assert_int_equal(take(&to), 3);
	pg_inbox_done(&from);
	pg_inbox_done(&to);
}

static void test_post_owned(void **state)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_APP, NULL, 0);
	_Atomic uint8_t owner = 3;
	struct pg_inbox inbox;

	assert_int_equal(pg_inbox_init(&inbox), 0);
	assert_int_equal(pg_inbox_post_owned(&inbox, message, &owner, 2), -ESTALE);
	assert_false(awake(&inbox));
	assert_int_equal(pg_inbox_post_owned(&inbox, message, &owner, 3), 0);
	assert_true(awake(&inbox));
	assert_ptr_equal(pg_inbox_take(&inbox), message);
	free(message);
	for (uint32_t i = 0; i < PG_INBOX_FRAMES_MAX; i++)
		post(&inbox, PG_MESSAGE_APP, i);
	message = pg_message_new(PG_MESSAGE_APP, NULL, 0);
	assert_int_equal(pg_inbox_post_owned(&inbox, message, &owner, 3), -EAGAIN);
	free(message);
	pg_inbox_done(&inbox);
}

#define PRODUCERS 8
#define EACH	  5000

struct producer {
	struct pg_inbox *inbox;
	uint32_t number;
	pthread_t thread;
};

static void *produce(void *context)
{
	const struct producer *producer = context;

	for (uint32_t i = 0; i < EACH; i++) {
		uint32_t number = producer->number << 16 | i;
		struct pg_message *message = pg_message_new(
			i % 3 ? PG_MESSAGE_FRAME : PG_MESSAGE_LIST, &number, sizeof(number));

		while (pg_inbox_post(producer->inbox, message))
			sched_yield();
	}
	return NULL;
}

/* A consumer that sleeps whenever it finds nothing misses nothing, in the order of each producer.
 */
static void test_many_producers(void **state)
{
	struct producer producers[PRODUCERS];
	uint32_t next[PRODUCERS] = { 0 }, got = 0;
	struct pg_message *message;
	struct pg_inbox inbox;
	uint64_t count;

	assert_int_equal(pg_inbox_init(&inbox), 0);
	for (uint32_t i = 0; i < PRODUCERS; i++) {
		producers[i] = (struct producer){ &inbox, i, 0 };
		assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]),
				 0);
	}
	while (got < PRODUCERS * EACH) {
		struct pollfd fd = { .fd = inbox.wake_fd, .events = POLLIN };

		while ((message = pg_inbox_take(&inbox))) {
			uint32_t number;

			memcpy(&number, message->data, sizeof(number));
			assert_int_equal(number & 0xffff, next[number >> 16]++);
			free(message);
			got++;
		}
		if (got < PRODUCERS * EACH && poll(&fd, 1, 10000) != 1)
			fail_msg("a wake-up was lost after %u messages", got);
		if (read(inbox.wake_fd, &count, sizeof(count)) < 0)
			assert_int_equal(errno, EAGAIN);
	}
	for (uint32_t i = 0; i < PRODUCERS; i++)
		pthread_join(producers[i].thread, NULL);
	assert_null(pg_inbox_take(&inbox));
	pg_inbox_done(&inbox);
}

static void *answer(void *context)
{
	struct pg_inbox *inbox = context;
	struct pg_message *message;
	int result = 0;

	while (true) {
		message = pg_inbox_take(inbox);
		if (!message) {
			sched_yield();
			continue;
		}
		if (message->kind == PG_MESSAGE_STOP) {
			free(message);
			return NULL;
		}
		pg_waiter_done(message->waiter, --result);
		free(message);
	}
}

static void test_waiter(void **state)
{
	struct pg_waiter waiter;
	struct pg_inbox inbox;
	pthread_t thread;

	pg_waiter_init(&waiter);
	assert_int_equal(pg_waiter_wait(&waiter), 0);
	assert_int_equal(pg_inbox_init(&inbox), 0);
	assert_int_equal(pthread_create(&thread, NULL, answer, &inbox), 0);
	for (int round = 0; round < 200; round++) {
		pg_waiter_init(&waiter);
		for (int i = 0; i < 5; i++) {
			struct pg_message *message = pg_message_new(PG_MESSAGE_LIST, NULL, 0);

			message->waiter = &waiter;
			pg_waiter_add(&waiter);
			assert_int_equal(pg_inbox_post(&inbox, message), 0);
		}
		/* the first failure is the one that is told */
		assert_int_equal(pg_waiter_wait(&waiter), -5 * round - 1);
	}
	pg_inbox_post(&inbox, pg_message_new(PG_MESSAGE_STOP, NULL, 0));
	pthread_join(thread, NULL);
	pg_inbox_done(&inbox);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_wake), cmocka_unit_test(test_message_new),
		cmocka_unit_test(test_bound),	       cmocka_unit_test(test_many_producers),
		cmocka_unit_test(test_waiter),	       cmocka_unit_test(test_hand_over),
		cmocka_unit_test(test_hand_over_all),  cmocka_unit_test(test_post_owned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
