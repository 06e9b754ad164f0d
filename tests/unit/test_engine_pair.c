// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "sim/pair.h"

/* Client and server, datagram by datagram: what is sent again when, fragments, both roles' timers.
 */

static struct pair_crypto crypto;
static struct pair *p;
static char story[2][4096]; /* what each application heard */

static void hear(struct pair *pair, int which, const struct pg_engine_event *event)
{
	static const char letters[] = "hm..ocgsfe"; /* by enum pg_app_kind */
	char *text = story[which];
	size_t n = strlen(text);

	snprintf(text + n, sizeof(story[0]) - n, "%s%s%c%u", n ? " " : "", event->stream ? "S" : "",
		 letters[event->kind],
		 event->kind == PG_APP_MESSAGE ? event->length : event->message);
}

static void start(const struct pair_options *options)
{
	p = calloc(1, sizeof(*p));
	assert_non_null(p);
	p->event = hear;
	p->network.mtu = PG_FRAME_MAX;
	p->network.delay_ms = 10;
	memset(story, 0, sizeof(story));
	pair_init(p, 1, &crypto, options);
}

static void stop(void)
{
	pair_done(p);
	free(p);
}

static void start_plain(void)
{
	struct pair_options options = { .guard = true, .aead = PG_AEAD_CHACHA20_POLY1305 };

	start(&options);
}

static int give(int end, uint32_t stream, uint32_t bytes, uint32_t message)
{
	static uint8_t text[600000];

	return pg_engine_send(&p->end[end].engine, stream, text, bytes, message);
}

static struct pg_engine *client(void)
{
	return &p->end[CLIENT].engine;
}

static struct pg_engine *server(void)
{
	return &p->end[SERVER].engine;
}

/* What is on its way to that end: "d2.3!" data 2, fragment 3, the last; "a" acks; else a number. */
static const char *on_the_way(int to)
{
	static char text[1024];
	size_t n = 0;

	text[0] = 0;
	for (uint32_t i = 0; i < p->heap_count; i++) {
		struct pair_datagram *d = &p->heap[i];
		struct pg_frame f;

		if (d->to != to)
			continue;
		assert_int_equal(pg_frame_check(d->data, d->data + d->bytes, d->bytes,
						to == CLIENT ? PG_S2C : PG_C2S, true, &f),
				 PG_DROP_NONE);
		n += snprintf(text + n, sizeof(text) - n, "%s", n ? " " : "");
		if (f.opcode != PG_OP_DATA && f.opcode != PG_OP_ACK)
			n += snprintf(text + n, sizeof(text) - n, "%u", f.opcode);
		else
			n += snprintf(text + n, sizeof(text) - n, "%c%u",
				      f.opcode == PG_OP_ACK ? 'a' : 'd', f.pack);
		if (f.fragment)
			n += snprintf(text + n, sizeof(text) - n, ".%u%s", f.fragment,
				      f.flags & PG_FLAG_FIN ? "!" : "");
		if (f.opcode == PG_OP_ACK && f.fragment)
			n += snprintf(text + n, sizeof(text) - n, ":%02x", d->data[f.header_bytes]);
	}
	return text;
}

/* Takes datagram number i of those on their way, by the time they were sent; the rest stays. */
static struct pair_datagram pick(uint32_t i)
{
	struct pair_datagram d = p->heap[i];

	assert_true(i < p->heap_count);
	memmove(&p->heap[i], &p->heap[i + 1], (--p->heap_count - i) * sizeof(*p->heap));
	return d;
}

static void lose_all(void)
{
	while (p->heap_count)
		free(p->heap[--p->heap_count].data);
}

/* --- sending again -------------------------------------------------------------------------------
 */

static void test_nothing_is_acked(void **state)
{
	static const uint64_t at_ms[] = { 500, 1500, 3500, 7500 };
	uint64_t begin;

	start_plain();
	begin = p->now_ms;
	assert_int_equal(give(CLIENT, 0, 5, 9), 0);
	for (size_t i = 0; i < 4; i++) {
		lose_all();
		pair_run_to(p, begin + at_ms[i] - 1);
		assert_int_equal(p->heap_count, 0);
		pair_run_to(p, begin + at_ms[i]);
		assert_string_equal(on_the_way(SERVER), "d1");
	}
	lose_all();
	pair_run_to(p, begin + 9999);
	assert_string_equal(story[CLIENT], "");
	pair_run_to(p, begin + 10000);
	assert_string_equal(story[CLIENT], "f9");
	assert_int_equal(client()->tx.bytes, 0);
	assert_int_equal(client()->tx.congestion.in_flight, 0);
	assert_int_equal(p->end[CLIENT].env.counters.resent, 4);
	stop();
}

static void test_retries_end(void **state)
{
	struct pair_options options = { .guard = true, .aead = 1 };

	options.engine[CLIENT].send_timeout_ms = 1000000;
	options.engine[CLIENT].rto_first_ms = 100;
	options.engine[CLIENT].rto_max_ms = 200;
	start(&options);
	p->network.dead = true;
	give(CLIENT, 0, 5, 9);
	pair_run_to(p, p->now_ms + 5000);
	assert_string_equal(story[CLIENT], "f9");
	assert_int_equal(p->end[CLIENT].env.counters.resent, 8);
	stop();
}

/* The third later one that arrives, and not before. */
static void test_loss_by_later_acks(void **state)
{
	start_plain();
	for (uint32_t i = 1; i <= 5; i++)
		give(CLIENT, 0, 5, i);
	free(pick(0).data);
	for (int i = 0; i < 4; i++) {
		struct pair_datagram d = pick(0);

		pair_receive(p, &d);
	}
	assert_string_equal(on_the_way(CLIENT), "a2 a3 a4 a5");
	pair_clock(p, p->now_ms + 20);
	for (int i = 0; i < 3; i++) {
		struct pair_datagram d = pick(0);

		assert_string_equal(on_the_way(SERVER), "");
		pair_receive(p, &d);
	}
	assert_string_equal(on_the_way(SERVER), "d1");
	assert_int_equal(client()->tx.congestion.window, 1200 * 5);
	assert_int_equal(client()->tx.rtt.latest_us, 20000);
	/* the ack of the copy gives no sample, and the story is whole */
	pair_run_to(p, p->now_ms + 3000);
	assert_int_equal(client()->tx.rtt.latest_us, 20000);
	assert_string_equal(story[CLIENT], "s2 s3 s4 s5 s1");
	assert_string_equal(story[SERVER], "m5 m5 m5 m5 m5");
	stop();
}

static void test_only_late(void **state)
{
	struct pair_datagram late, copy;

	start_plain();
	for (uint32_t i = 1; i <= 4; i++)
		give(CLIENT, 0, 5, i);
	late = pick(0);
	pair_run_to(p, p->now_ms + 25);
	assert_string_equal(on_the_way(SERVER), "d1");
	copy = pick(0);
	pair_receive(p, &late);
	pair_run_to(p, p->now_ms + 10);
	/* sooner than a round trip after the resend: of the first copy */
	assert_int_equal(p->end[CLIENT].env.counters.spurious, 1);
	assert_int_equal(client()->tx.reordering, 6);
	pair_receive(p, &copy);
	pair_run_to(p, p->now_ms + 100);
	assert_string_equal(story[SERVER], "m5 m5 m5 m5");
	assert_int_equal(p->end[SERVER].env.counters.duplicates_acked, 1);
	stop();
}

static void test_clean_path(void **state)
{
	uint64_t begin;

	start_plain();
	begin = p->now_ms;
	for (uint32_t i = 1; i <= 4; i++)
		assert_int_equal(give(CLIENT, 0, 500000, i), 0);
	while (strcmp(story[CLIENT], "s1 s2 s3 s4") && p->now_ms < begin + 60000)
		pair_run_to(p, p->now_ms + 1);
	/* two megabytes, 20 ms: slow start, and no loss to end it */
	assert_in_range(p->now_ms - begin, 60, 600);
	assert_int_equal(p->end[CLIENT].env.counters.resent, 0);
	assert_string_equal(story[SERVER], "m500000 m500000 m500000 m500000");
	stop();
}

static void test_slow_resets_the_window(void **state)
{
	struct pair_options options = { .guard = true, .aead = 1 };
	struct pair_datagram first;

	options.engine[SERVER].receive_buffer_bytes = 20000;
	start(&options);
	for (uint32_t i = 1; i <= 4; i++)
		give(CLIENT, 0, 1100, i);
	first = pick(0);
	pair_run_to(p, p->now_ms + 25);
	/* more than half of 20000 bytes: three packets and the place they wait in */
	assert_true(server()->waiting_bytes > 10000);
	assert_int_equal(client()->tx.congestion.window, 2 * 1200);
	assert_true(client()->tx.slow_ms > 0);
	pair_receive(p, &first);
	pair_run_to(p, p->now_ms + 1000);
	assert_string_equal(story[SERVER], "m1100 m1100 m1100 m1100");
	stop();
}

static void test_send_buffer_is_full(void **state)
{
	struct pair_options options = { .guard = true, .aead = 1 };
	uint32_t count = 0, stream;

	options.engine[CLIENT].send_buffer_bytes = 100000;
	start(&options);
	assert_int_equal(give(CLIENT, 0, 100000, 0), -EMSGSIZE);
	while (!give(CLIENT, 0, 9000, 1))
		count++;
	assert_in_range(count, 9, 11);
	assert_int_equal(give(CLIENT, 0, 9000, 1), -ENOBUFS);
	assert_int_equal(pg_engine_sendable(client(), 0, 9000), -ENOBUFS);
	/* of the session, streams included */
	assert_int_equal(pg_engine_open_stream(client(), 0, &stream), 0);
	assert_int_equal(give(CLIENT, stream, 9000, 1), -ENOBUFS);
	pair_run_to(p, p->now_ms + 2000);
	assert_int_equal(client()->tx.bytes, 0);
	assert_int_equal(give(CLIENT, stream, 9000, 1), 0);
	stop();
}

/* The lowest packet always: the peer may have no room for another. The others take turns. */
static void test_what_is_probed(void **state)
{
	static const char *const rows[] = { "d1", "d1 d2", "d1 d3", "d1 d2" };
	uint64_t begin, timeout = 500;

	start_plain();
	begin = p->now_ms;
	for (uint32_t i = 1; i <= 3; i++)
		give(CLIENT, 0, 5, i);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++, timeout *= 2) {
		lose_all();
		pair_run_to(p, begin += timeout);
		assert_string_equal(on_the_way(SERVER), rows[i]);
	}
	stop();
}

/* --- fragments -----------------------------------------------------------------------------------
 */

static void test_fragments(void **state)
{
	struct pair_datagram two;

	start_plain();
	give(CLIENT, 0, 3000, 1);
	give(CLIENT, 0, 7, 2);
	assert_string_equal(on_the_way(SERVER), "d1.1 d1.2 d1.3! d2");
	two = pick(1);
	for (int i = 0; i < 3; i++) {
		struct pair_datagram d = pick(0);

		pair_receive(p, &d);
	}
	/* bits: 1; 3 and 1 of 3 */
	assert_string_equal(on_the_way(CLIENT), "a1.1:80 a1.3!:a0 a2");
	assert_string_equal(story[SERVER], "");
	assert_int_equal(server()->series.highest, 2);
	assert_false(pg_replay_bit(server()->series.window->bits, 1));
	lose_all();
	pair_receive(p, &two);
	assert_string_equal(on_the_way(CLIENT), "a1");
	assert_string_equal(story[SERVER], "m3000 m7");
	assert_int_equal(server()->waiting_bytes, 0);
	/* that one ack settles all of it; copies of a fragment get it again */
	lose_all();
	pair_run_to(p, p->now_ms + 500);
	lose_all();
	pair_run_to(p, p->now_ms + 5000);
	assert_string_equal(story[CLIENT], "s1 s2");
	assert_string_equal(story[SERVER], "m3000 m7");
	stop();
}

static void test_incomplete_is_a_gap(void **state)
{
	start_plain();
	give(CLIENT, 0, 3000, 1);
	free(pick(2).data);
	pair_run_to(p, p->now_ms + 100);
	p->network.dead = true;
	lose_all();
	pair_run_to(p, p->now_ms + 9900);
	assert_string_equal(story[CLIENT], "f1");
	assert_true(server()->waiting_bytes > 0);
	pair_run_to(p, p->now_ms + 2100);
	/* nothing came after it, and still its memory is given back */
	assert_string_equal(story[SERVER], "g1");
	assert_int_equal(server()->waiting_bytes, 0);
	p->network.dead = false;
	give(CLIENT, 0, 5, 2);
	pair_run_to(p, p->now_ms + 1000);
	assert_string_equal(story[SERVER], "g1 m5");
	stop();
}

static void test_application_full_for_a_whole_packet(void **state)
{
	start_plain();
	give(CLIENT, 0, 3000, 1);
	for (int i = 0; i < 2; i++) {
		struct pair_datagram d = pick(0);

		pair_receive(p, &d);
	}
	p->end[SERVER].full_until_ms = p->now_ms + 900;
	pair_run_to(p, p->now_ms + 100);
	/* the last fragment is neither committed nor acked */
	assert_int_equal(server()->series.window->next_deliver, 1);
	pair_run_to(p, p->now_ms + 800);
	assert_string_equal(story[CLIENT], "");
	pair_run_to(p, p->now_ms + 3000);
	assert_string_equal(story[SERVER], "m3000");
	assert_string_equal(story[CLIENT], "s1");
	stop();
}

static void test_unordered_fragments(void **state)
{
	struct pair_options options = { .guard = true, .aead = 1, .policy = PG_POLICY_UNORDERED };

	start(&options);
	give(CLIENT, 0, 3000, 1);
	give(CLIENT, 0, 2000, 2);
	free(pick(1).data);
	pair_run_to(p, p->now_ms + 1000);
	assert_string_equal(on_the_way(CLIENT), "");
	assert_string_equal(story[SERVER], "m2000");
	assert_true(server()->waiting_bytes > 0);
	pair_run_to(p, p->now_ms + 1010);
	assert_int_equal(server()->waiting_bytes, 0);
	assert_string_equal(story[CLIENT], "");
	stop();
}

/* --- the client's timers -------------------------------------------------------------------------
 */

static void test_opening(void **state)
{
	uint32_t stream, other;

	start_plain();
	assert_int_equal(pg_engine_open_stream(server(), 0, &stream), -EPERM);
	assert_int_equal(pg_engine_open_stream(client(), 3, &stream), -EINVAL);
	assert_int_equal(pg_engine_open_stream(client(), 0, &stream), 0);
	assert_in_range(stream, 1, 1u << 31);
	/* data waits for the answer */
	assert_int_equal(give(CLIENT, stream, 5, 4), 0);
	assert_string_equal(on_the_way(SERVER), "7");
	pair_run_to(p, p->now_ms + 1000);
	assert_string_equal(story[CLIENT], "So0 Ss4");
	assert_string_equal(story[SERVER], "So0 Sm5");
	assert_int_equal(pg_engine_open_stream(client(), 0, &other), 0);
	assert_int_equal(other, stream + 1);
	/* a close waits for the opening, and for what was sent */
	assert_int_equal(give(CLIENT, other, 5, 5), 0);
	assert_int_equal(pg_engine_close_stream(client(), other), 0);
	assert_int_equal(pg_engine_close_stream(client(), other), -EALREADY);
	assert_int_equal(give(CLIENT, other, 5, 6), -EPIPE);
	pair_run_to(p, p->now_ms + 1000);
	assert_string_equal(story[CLIENT], "So0 Ss4 So0 Ss5 Sc0");
	assert_string_equal(story[SERVER], "So0 Sm5 So0 Sm5 Sc0");
	stop();
}

static void test_opening_unanswered(void **state)
{
	uint64_t begin;
	uint32_t stream;

	start_plain();
	p->network.dead = true;
	begin = p->now_ms;
	assert_int_equal(pg_engine_open_stream(client(), 0, &stream), 0);
	assert_int_equal(give(CLIENT, stream, 5, 4), 0);
	pair_run_to(p, begin + 15499);
	assert_string_equal(story[CLIENT], "");
	/* openstream at 0, 0.5, 1.5, 3.5 and 7.5 s; a ping at 15 s after the last of them */
	assert_int_equal(p->end[CLIENT].frames, 5);
	pair_run_to(p, begin + 15500);
	assert_string_equal(story[CLIENT], "Sf4 Sc0");
	assert_int_equal(client()->stream_count, 0);
	stop();
}

static void test_opening_refused(void **state)
{
	struct pair_options options = { .guard = true, .aead = 1 };
	uint32_t stream;

	options.engine[SERVER].streams_at_once = 1;
	start(&options);
	pg_engine_open_stream(client(), 0, &stream);
	pair_run_to(p, p->now_ms + 100);
	pg_engine_open_stream(client(), 0, &stream);
	give(CLIENT, stream, 5, 4);
	pair_run_to(p, p->now_ms + 100);
	assert_string_equal(story[CLIENT], "So0 Sf4 Sc0");
	assert_string_equal(story[SERVER], "So0");
	assert_int_equal(give(CLIENT, stream, 5, 4), -ENOENT);
	stop();
}

static void test_ping_and_expiry(void **state)
{
	struct pair_options options = { .guard = true, .aead = 1, .expires = true };
	uint64_t begin;

	start(&options);
	begin = p->now_ms;
	pair_run_to(p, begin + 14999);
	assert_int_equal(p->end[CLIENT].frames, 0);
	pair_run_to(p, begin + 15000);
	assert_string_equal(on_the_way(SERVER), "5");
	pair_run_to(p, begin + 300000);
	assert_int_equal(p->end[CLIENT].closed + p->end[SERVER].closed, 0);
	assert_int_equal(p->end[CLIENT].frames, 20);
	assert_int_equal(p->end[SERVER].frames, 19);
	/* silence */
	p->network.dead = true;
	pair_run_to(p, begin + 300000 + 61000);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(p->end[i].closed, 1);
		assert_int_equal(p->end[i].closed_code, PG_GOAWAY_EXPIRED);
	}
	stop();
}

static void test_end_fails_what_is_left(void **state)
{
	uint32_t stream;

	start_plain();
	pg_engine_open_stream(client(), 0, &stream);
	give(CLIENT, 0, 500000, 1);
	give(CLIENT, stream, 5, 2);
	pg_engine_close(client(), PG_GOAWAY_NORMAL);
	assert_string_equal(story[CLIENT], "f1 Sf2");
	assert_int_equal(client()->tx.bytes, 0);
	assert_int_equal(give(CLIENT, 0, 5, 3), -ESHUTDOWN);
	assert_int_equal(pg_engine_open_stream(client(), 0, &stream), -ESHUTDOWN);
	assert_int_equal(client()->deadline_ms, UINT64_MAX);
	pair_run_to(p, p->now_ms + 100);
	assert_int_equal(p->end[SERVER].closed, 1);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_acked),
		cmocka_unit_test(test_retries_end),
		cmocka_unit_test(test_loss_by_later_acks),
		cmocka_unit_test(test_only_late),
		cmocka_unit_test(test_clean_path),
		cmocka_unit_test(test_slow_resets_the_window),
		cmocka_unit_test(test_send_buffer_is_full),
		cmocka_unit_test(test_what_is_probed),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_incomplete_is_a_gap),
		cmocka_unit_test(test_application_full_for_a_whole_packet),
		cmocka_unit_test(test_unordered_fragments),
		cmocka_unit_test(test_opening),
		cmocka_unit_test(test_opening_unanswered),
		cmocka_unit_test(test_opening_refused),
		cmocka_unit_test(test_ping_and_expiry),
		cmocka_unit_test(test_end_fails_what_is_left),
	};
	int failed;

	pair_crypto_init(&crypto);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	pair_crypto_done(&crypto);
	return failed;
}
