// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sim/pair.h"

/*
 * How often a frame leaves, and when: never more than nine times (the network of the pair fails
 * whoever does), three retries as soon as a loss is found, then after two timeouts, four, eight,
 * and no failure before the send timeout or the end of the last wait.
 */

#define TRIP_MS	     20 /* the timeout is the lowest then, 100 ms */
#define MESSAGES_MAX 200
#define FULL_PACKETS 3
#define NEVER	     UINT64_MAX

static struct pair_crypto crypto;
static struct pair *p;

static struct {
	uint32_t sent[MESSAGES_MAX], failed[MESSAGES_MAX], failures;
	uint64_t failed_ms;
	uint32_t next; /* the last packet of the session that was delivered or is a gap */
} heard;

/* The frame that the network may lose each time, and when it left. */
static struct {
	uint32_t stream, pack, fragment;
	uint64_t until_ms, begin_ms;
	bool with_others;  /* all that goes to the server is lost */
	bool others_later; /* or kept */
	uint32_t count, left_ms[PAIR_SENT_MAX + 1];
} victim;

static void hear(struct pair *pair, int which, const struct pg_engine_event *event)
{
	switch (event->kind) {
	case PG_APP_SENT:
		heard.sent[event->message]++;
		break;
	case PG_APP_FAILED:
		heard.failed[event->message]++;
		heard.failures++;
		heard.failed_ms = pair->now_ms;
		break;
	case PG_APP_MESSAGE:
		if (!event->stream)
			assert_int_equal(event->message, ++heard.next);
		break;
	case PG_APP_GAP:
		if (!event->stream)
			heard.next += pg_load_be32(event->bytes);
		break;
	default:
		break;
	}
}

static struct pair_datagram later[128];
static uint32_t later_count;

static void keep(int to, const uint8_t *bytes, uint32_t count)
{
	struct pair_datagram *d = &later[later_count++];

	assert_true(later_count <= sizeof(later) / sizeof(later[0]));
	*d = (struct pair_datagram){ .to = to, .bytes = count, .data = malloc(count) };
	assert_non_null(d->data);
	memcpy(d->data, bytes, count);
}

static bool loses_victim(struct pair *pair, int to, const uint8_t *bytes, uint32_t count)
{
	struct pg_frame f;

	if (to != SERVER)
		return false;
	assert_int_equal(pg_frame_check(bytes, bytes + count, count, PG_C2S, true, &f),
			 PG_DROP_NONE);
	if (f.opcode != PG_OP_DATA || f.stream != victim.stream || f.pack != victim.pack ||
	    f.fragment != victim.fragment) {
		if (victim.others_later)
			keep(to, bytes, count);
		return victim.with_others || victim.others_later;
	}
	assert_true(victim.count < PAIR_SENT_MAX);
	victim.left_ms[victim.count++] = pair->now_ms - victim.begin_ms;
	return pair->now_ms < victim.until_ms;
}

static struct pg_engine *client(void)
{
	return &p->end[CLIENT].engine;
}

static void give(uint32_t stream, uint32_t bytes, uint32_t message)
{
	static uint8_t text[200000];

	assert_true(bytes <= sizeof(text) && message < MESSAGES_MAX);
	assert_int_equal(pg_engine_send(client(), stream, text, bytes, message), 0);
}

/* Returns a stream: its packets are acked whatever becomes of those of the session. */
static uint32_t start(uint64_t seed, struct pair_options *options)
{
	uint32_t stream;

	options->guard = true;
	options->aead = PG_AEAD_CHACHA20_POLY1305;
	p = calloc(1, sizeof(*p));
	assert_non_null(p);
	memset(&heard, 0, sizeof(heard));
	memset(&victim, 0, sizeof(victim));
	later_count = 0;
	p->event = hear;
	p->network.mtu = PG_FRAME_MAX;
	p->network.delay_ms = TRIP_MS / 2;
	pair_init(p, seed, &crypto, options);
	assert_int_equal(pg_engine_open_stream(client(), PG_POLICY_RELIABLE, &stream), 0);
	pair_run_to(p, p->now_ms + 100);
	give(stream, 5, 0);
	pair_run_to(p, p->now_ms + 100);
	assert_int_equal(client()->tx.rtt.latest_us, TRIP_MS * 1000);
	return stream;
}

static void stop(void)
{
	assert_int_equal(client()->tx.bytes, 0);
	assert_int_equal(client()->tx.congestion.in_flight, 0);
	pair_done(p);
	free(p);
}

/* Begins with a packet of the session of which the network loses that frame until then. */
static void give_victim(uint32_t bytes, uint32_t fragment, uint64_t until_ms)
{
	victim.pack = client()->series.window->next_send;
	victim.fragment = fragment;
	victim.begin_ms = p->now_ms;
	victim.until_ms = until_ms == NEVER ? NEVER : p->now_ms + until_ms;
	p->network.loses = loses_victim;
	give(0, bytes, 1);
}

static void assert_left(const uint32_t *at_ms, uint32_t count)
{
	assert_int_equal(victim.count, count);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(victim.left_ms[i], at_ms[i]);
}

/* --- when ----------------------------------------------------------------------------------------
 */

struct timing {
	const char *name;
	uint32_t bytes, fragment;
	uint32_t send_timeout_ms, rto_min_ms, send_retries; /* 0 = the default */
	uint32_t failed_ms, count;
	const uint32_t *left_ms;
};

static const uint32_t usual_ms[] = { 0, 23, 50, 73, 273, 673, 1473, 3073, 6273 };
static const uint32_t slow_ms[] = { 0, 23, 50, 73, 2073, 6073, 14073, 22073, 30073 };

/* A packet of the stream leaves every 10 ms and is acked after 20. */
static const struct timing timings[] = {
	{ "a packet, to the send timeout", 5, 0, 0, 0, 0, 10000, 9, usual_ms },
	{ "a packet, to the end of its retries", 5, 0, 60000, 0, 0, 12673, 9, usual_ms },
	{ "a fragment in the middle", 3000, 2, 60000, 0, 0, 12673, 9, usual_ms },
	{ "the last fragment", 3000, 3, 0, 0, 0, 10000, 9, usual_ms },
	{ "a longer timeout, to the send timeout", 5, 0, 0, 1000, 0, 10000, 6, slow_ms },
	{ "a longer one, to the end: no wait above 8 s", 5, 0, 60000, 1000, 0, 38073, 9, slow_ms },
	{ "four retries", 5, 0, 0, 0, 4, 673, 5, usual_ms },
	{ "one retry and its timeout", 5, 0, 0, 0, 1, 123, 2, usual_ms },
	{ "no more than eight, whatever is asked for", 5, 0, 60000, 0, 9, 12673, 9, usual_ms },
};

static void run_timing(const struct timing *row)
{
	struct pair_options options = { 0 };
	uint32_t stream;

	print_message("%s\n", row->name);
	options.engine[CLIENT].send_timeout_ms = row->send_timeout_ms;
	options.engine[CLIENT].rto_min_ms = row->rto_min_ms;
	options.engine[CLIENT].send_retries = row->send_retries;
	stream = start(1, &options);
	give_victim(row->bytes, row->fragment, NEVER);
	while (p->now_ms < victim.begin_ms + 60000) {
		give(stream, 5, 0);
		pair_run_to(p, p->now_ms + 10);
		if (victim.count == PAIR_SENT_MAX &&
		    p->now_ms > victim.begin_ms + victim.left_ms[PAIR_SENT_MAX - 1] + 50)
			assert_true(TAILQ_EMPTY(&client()->tx.final));
	}
	assert_left(row->left_ms, row->count);
	assert_int_equal(heard.failed[1], 1);
	assert_int_equal(heard.sent[1], 0);
	assert_int_equal(heard.failed_ms - victim.begin_ms, row->failed_ms);
	pair_run_to(p, p->now_ms + 20000);
	assert_int_equal(victim.count, row->count);
	assert_int_equal(heard.failures, 1);
	stop();
}

static void test_times(void **state)
{
	for (size_t i = 0; i < sizeof(timings) / sizeof(timings[0]); i++)
		run_timing(&timings[i]);
}

/* What arrives at last is a success, the ninth time, too. */
static void test_the_last_arrives(void **state)
{
	struct pair_options options = { 0 };
	uint32_t stream = start(1, &options);

	give_victim(5, 0, 6273);
	while (p->now_ms < victim.begin_ms + 12000) {
		give(stream, 5, 0);
		pair_run_to(p, p->now_ms + 10);
	}
	pair_run_to(p, p->now_ms + 1000);
	assert_int_equal(victim.count, 9);
	assert_int_equal(heard.sent[1], 1);
	assert_int_equal(heard.failures, 0);
	stop();
}

/* --- probes --------------------------------------------------------------------------------------
 */

/* Nothing is acked any more: what was sent nine times stays, another packet is probed. */
static void test_probes_pass_over_the_spent(void **state)
{
	struct pair_options options = { 0 };
	uint64_t begin;
	uint32_t stream;

	options.engine[CLIENT].send_timeout_ms = 60000;
	stream = start(1, &options);
	give_victim(5, 0, NEVER);
	while (p->now_ms < victim.begin_ms + 6273) {
		give(stream, 5, 0);
		pair_run_to(p, p->now_ms + 10);
	}
	assert_int_equal(victim.count, 9);
	p->network.dead = true;
	pair_run_to(p, p->now_ms + 50);
	give(stream, 5, 2);
	begin = p->end[CLIENT].env.counters.resent;
	pair_run_to(p, victim.begin_ms + 12672);
	assert_int_equal(victim.count, 9);
	assert_in_range(p->end[CLIENT].env.counters.resent - begin, 5, 16);
	assert_int_equal(heard.failures, 0);
	pair_run_to(p, victim.begin_ms + 12673);
	assert_int_equal(heard.failed[1], 1);
	assert_int_equal(heard.failures, 1);
	p->network.dead = false;
	pair_run_to(p, p->now_ms + 20000);
	assert_int_equal(heard.sent[2], 1);
	assert_int_equal(heard.failures, 1);
	stop();
}

/*
 * Acks that come late, of what left before the victim's last copy and of a packet that gives no
 * sample: they tell of no loss, and the timer of probes begins anew with each. The victim's retries
 * still wait longer each time.
 */
static void test_late_acks_hurry_no_probe(void **state)
{
	struct pair_options options = { 0 };
	uint32_t stream = start(1, &options), tries;

	give(stream, 150000, 0);
	pair_run_to(p, p->now_ms + 1000);
	give_victim(5, 0, NEVER);
	victim.others_later = true;
	give(stream, 70 * pg_engine_frame_max(client()), 2);
	pair_run_to(p, p->now_ms + 50);
	assert_int_equal(later_count, 70);
	assert_int_equal(victim.count, 1);
	victim.others_later = false;
	victim.with_others = true;
	free(later[0].data);
	for (uint32_t i = 1; i < 10; i++)
		pair_receive(p, &later[i]);
	/* two probes; of a packet that was sent again no ack gives a sample */
	pair_run_to(p, p->now_ms + 400);
	for (uint32_t i = 10; i < 70; i++) {
		pair_run_to(p, p->now_ms + 150);
		pair_receive(p, &later[i]);
	}
	assert_in_range(p->now_ms - victim.begin_ms, 9000, 9999);
	assert_int_equal(heard.failures, 0);
	for (tries = 4; tries < victim.count; tries++)
		assert_true(victim.left_ms[tries] - victim.left_ms[tries - 1] >=
			    200u << (tries - 4));
	assert_in_range(tries, 7, 9);
	pair_run_to(p, p->now_ms + 20000);
	assert_int_equal(heard.failed[1] + heard.failed[2], 2);
	stop();
}

static bool loses_session(struct pair *pair, int to, const uint8_t *bytes, uint32_t count)
{
	return to == SERVER && bytes[PG_AT_OPCODE] == PG_OP_DATA &&
	       !(bytes[PG_AT_FLAGS] & PG_FLAG_STRE);
}

static uint32_t length(const struct pg_frames *frames)
{
	uint32_t count = 0;

	for (struct pg_sent_frame *f = TAILQ_FIRST(frames); f; f = TAILQ_NEXT(f, turn))
		count++;
	return count;
}

/* More than a probe looks at wait: it finds the one that does not. */
static void test_a_crowd_waits(void **state)
{
	struct pair_options options = { .engine[CLIENT].rto_min_ms = 1000 };
	uint32_t stream = start(1, &options);

	give(stream, 150000, 0); /* opens the window */
	pair_run_to(p, p->now_ms + 1000);
	p->network.loses = loses_session;
	for (int i = 0; i < 100; i++)
		give(0, 5, 0);
	for (int i = 0; i < 100 && length(&client()->tx.lost[3]) < 100; i++) {
		give(stream, 5, 0);
		pair_run_to(p, p->now_ms + 10);
	}
	pair_run_to(p, p->now_ms + 50);
	assert_int_equal(length(&client()->tx.lost[3]), 100);
	p->network.loses = loses_victim;
	victim.stream = stream;
	victim.pack = client()->streams->series.window->next_send;
	victim.with_others = true;
	victim.until_ms = NEVER;
	victim.begin_ms = p->now_ms;
	give(stream, 5, 2);
	pair_run_to(p, p->now_ms + 1000);
	assert_int_equal(victim.count, 2);
	assert_int_equal(victim.left_ms[1], 1000);
	p->network.loses = NULL;
	pair_run_to(p, p->now_ms + 20000);
	assert_int_equal(heard.failures, 0);
	stop();
}

/* --- whose turn it is ----------------------------------------------------------------------------
 */

static uint32_t went[8], went_count;

static bool loses_two(struct pair *pair, int to, const uint8_t *bytes, uint32_t count)
{
	struct pg_frame f;

	if (!loses_session(pair, to, bytes, count))
		return false;
	pg_frame_check(bytes, bytes + count, count, PG_C2S, true, &f);
	if (f.pack != 1 && f.pack != 6)
		return false;
	if (pair->now_ms < victim.until_ms)
		return true;
	assert_true(went_count < 8);
	went[went_count++] = f.pack;
	return false;
}

/* Both were found lost while the socket was full: the one sent three times was begun first. */
static void test_begun_first_goes_first(void **state)
{
	struct pair_options options = { 0 };
	uint32_t stream = start(1, &options);
	uint64_t begin = p->now_ms;

	went_count = 0;
	p->network.loses = loses_two;
	victim.until_ms = begin + 60;
	for (int i = 0; i < 6; i++) {
		give(0, 5, 0);
		pair_run_to(p, begin + 10 * (i + 1) - 5);
	}
	give(stream, 5, 0);
	p->end[CLIENT].blocked_until_ms = begin + 200;
	pair_run_to(p, begin + 90);
	assert_int_equal(length(&client()->tx.lost[0]), 1);
	assert_int_equal(length(&client()->tx.lost[2]), 1);
	pair_run_to(p, begin + 1000);
	assert_int_equal(went_count, 2);
	assert_int_equal(went[0], 1);
	assert_int_equal(went[1], 6);
	stop();
}

/* --- an application that is full -----------------------------------------------------------------
 */

struct fullness {
	const char *name;
	uint32_t full_ms, loss, seeds;
	bool fails;
};

static const struct fullness fullnesses[] = {
	{ "full for 1 s", 1000, 0, 1, false },
	{ "full for 1 s, losing 2 %", 1000, 2, 40, false },
	{ "full for 3 s", 3000, 0, 1, false },
	{ "full for 3 s, losing 2 %", 3000, 2, 40, false },
	{ "full for 6 s", 6000, 0, 1, false },
	{ "full for longer than the send timeout", 11000, 0, 1, true },
	{ "full for longer than the send timeout, losing 2 %", 11000, 2, 40, true },
};

/*
 * Packets of the session do not fit, those of the stream do: their acks tell at once that what was
 * refused did not arrive.
 */
static void run_full(const struct fullness *row, uint64_t seed)
{
	struct pair_options options = { 0 };
	uint32_t stream = start(seed, &options), message = 0;
	uint64_t begin = p->now_ms;

	p->network.loss = row->loss;
	p->network.delay_ms = 1;
	p->end[SERVER].full_until_ms = begin + row->full_ms;
	p->end[SERVER].room_bytes = 10;
	while (p->now_ms < begin + row->full_ms + 500) {
		for (; message < FULL_PACKETS; message++)
			give(0, 100, message + 1);
		give(stream, 10, 0);
		pair_run_to(p, p->now_ms + 2);
	}
	pair_run_to(p, begin + 60000);
	for (uint32_t i = 1; i <= message; i++) {
		assert_int_equal(heard.failed[i], row->fails);
		assert_int_equal(heard.sent[i], !row->fails);
	}
	assert_int_equal(heard.next, row->fails ? 0 : message);
	stop();
}

static void test_application_full(void **state)
{
	for (size_t i = 0; i < sizeof(fullnesses) / sizeof(fullnesses[0]); i++) {
		print_message("%s\n", fullnesses[i].name);
		for (uint64_t seed = 1; seed <= fullnesses[i].seeds; seed++)
			run_full(&fullnesses[i], seed);
	}
}

/* --- any loss ------------------------------------------------------------------------------------
 */

static uint32_t run_loss(uint32_t loss, uint64_t seed)
{
	struct pair_options options = { 0 };
	uint32_t stream = start(seed, &options), message = 0, most;

	p->network.loss = loss;
	p->network.duplication = seed % 3 * 10;
	p->network.jitter_ms = seed % 2 ? 50 : 0;
	while (message + 1 < 150) {
		give(pair_draw(p, 2) ? stream : 0, pair_draw(p, 8) ? 100 : 8000, message + 1);
		message++;
		pair_run_to(p, p->now_ms + pair_draw(p, 40));
	}
	for (int i = 0; client()->tx.bytes && i < 600; i++)
		pair_run_to(p, p->now_ms + 1000);
	for (uint32_t i = 1; i <= message; i++)
		assert_int_equal(heard.sent[i] + heard.failed[i], 1);
	if (!loss)
		assert_int_equal(heard.failures, 0);
	most = p->most_sent;
	stop();
	return most;
}

static void test_any_loss(void **state)
{
	for (uint32_t loss = 0; loss <= 60; loss += 10) {
		uint32_t most = 0, found;

		for (uint64_t seed = 1; seed <= 12; seed++) {
			found = run_loss(loss, seed);
			most = found > most ? found : most;
		}
		print_message("loss of %u %%: no frame left more than %u times\n", loss, most);
		if (loss >= 40)
			assert_int_equal(most, PAIR_SENT_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_the_last_arrives),
		cmocka_unit_test(test_probes_pass_over_the_spent),
		cmocka_unit_test(test_late_acks_hurry_no_probe),
		cmocka_unit_test(test_a_crowd_waits),
		cmocka_unit_test(test_begun_first_goes_first),
		cmocka_unit_test(test_application_full),
		cmocka_unit_test(test_any_loss),
	};
	int failed;

	pair_crypto_init(&crypto);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	pair_crypto_done(&crypto);
	return failed;
}
