// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* What `packgate top` reads and draws, without an agent and without a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/cli/top_screen.h"

static const char page[] =
	"# HELP packgate_build_info the build\n"
	"packgate_build_info{version=\"0.1.0\",abi=\"1\",aead_backend=\"x\",instance=\"a\"} 1\n"
	"packgate_start_time_seconds 1000\n"
	"packgate_limit{name=\"sessions\"} 100\n"
	"packgate_limit{name=\"streams\"} 7\n"
	"packgate_gate_mode{interface=\"eth0\",mode=\"detached\"} 0\n"
	"packgate_gate_mode{interface=\"eth0\",mode=\"native-copy\"} 1\n"
	"packgate_gate_mode{interface=\"eth1\",mode=\"detached\"} 1\n"
	"packgate_gate_queues{interface=\"eth0\"} 4\n"
	"packgate_gate_drops_total{interface=\"eth0\",reason=\"guard\"} 10\n"
	"packgate_gate_drops_total{interface=\"eth1\",reason=\"guard\"} 5\n"
	"packgate_gate_drops_total{interface=\"eth0\",reason=\"frame_short\"} 1\n"
	"packgate_gate_steered_total{interface=\"eth0\",queue=\"0\"} 1e3\n"
	"packgate_gate_steered_total{interface=\"eth0\",queue=\"1\"} 500\n"
	"packgate_sessions{endpoint=\"a\",state=\"ready\"} 80\n"
	"packgate_sessions{endpoint=\"b\",state=\"ready\"} 10\n"
	"packgate_sessions{endpoint=\"b\",state=\"open\"} 5\n"
	"packgate_tcp_accept_queue_length{netns=\"n\",address=\"::\",port=\"80\"} 3\n"
	"packgate_tcp_accept_queue_length{netns=\"n\",address=\"0.0.0.0\",port=\"81\"} 9\n"
	"packgate_tcp_accept_queue_limit{netns=\"n\",address=\"::\",port=\"80\"} 4\n"
	"packgate_tcp_accept_queue_limit{netns=\"n\",address=\"0.0.0.0\",port=\"81\"} 128\n"
	"packgate_tcp_syn_queue_length{netns=\"n\",address=\"::\",port=\"80\"} 1\n"
	"packgate_tcp_syn_queue_limit{netns=\"n\",address=\"::\",port=\"80\"} 5\n"
	"packgate_tcp_syn_queue_length{netns=\"n\",address=\"0.0.0.0\",port=\"81\"} 128\n"
	"packgate_tcp_syn_queue_limit{netns=\"n\",address=\"0.0.0.0\",port=\"81\"} 129\n"
	"packgate_tcp_syn_queue_young{netns=\"n\",address=\"0.0.0.0\",port=\"81\"} 100\n"
	"# EOF\n";

static struct top_sample now, before;

static void reads_a_page(void **state)
{
	assert_int_equal(top_sample_parse(page, &now), 25);
	assert_string_equal(now.version, "0.1.0");
	assert_string_equal(now.instance, "a");
	assert_true(now.started_s == 1000);
	assert_true(now.sessions_limit == 100);
	assert_int_equal(now.interface_count, 2);
	assert_string_equal(now.interfaces[0].mode, "native-copy");
	assert_int_equal(now.interfaces[0].queues, 4);
	assert_string_equal(now.interfaces[1].mode, "detached");
	assert_true(now.dropped == 16);
	assert_true(now.steered == 1500);
	assert_true(now.sessions == 95);
	assert_true(top_counts_value(&now.reasons, "guard") == 15);
	assert_true(top_counts_value(&now.reasons, "frame_short") == 1);
	assert_true(top_counts_value(&now.reasons, "tag") == 0);
	assert_true(top_counts_value(&now.states, "ready") == 90);
	assert_int_equal(now.listener_count, 2);
	assert_string_equal(now.listeners[0].address, "::");
	assert_true(now.listeners[0].accept == 3 && now.listeners[0].accept_limit == 4);
	assert_true(now.listeners[1].syn == 128 && now.listeners[1].syn_young == 100);
}

static void passes_over_what_it_cannot_read(void **state)
{
	static const char *const lines[] = {
		"",
		"\n\n",
		"packgate_",
		"packgate_gate_drops_total",
		"packgate_gate_drops_total ",
		"packgate_gate_drops_total x",
		"packgate_gate_drops_total{",
		"packgate_gate_drops_total{reason",
		"packgate_gate_drops_total{reason=",
		"packgate_gate_drops_total{reason=\"",
		"packgate_gate_drops_total{reason=\"a",
		"packgate_gate_drops_total{reason=\"a\\",
		"packgate_gate_drops_total{reason=\"a\"",
		"packgate_gate_drops_total{reason=\"a\"}",
		"packgate_gate_drops_total{reason=\"a\"}5",
		"packgate_gate_drops_total{reason=\"a\n\"} 5",
		"packgate_gate_drops_total{a=\"1\",b=\"1\",c=\"1\",d=\"1\",e=\"1\",f=\"1\",g=\"1\","
		"h=\"1\",i=\"1\"} 5",
		"other_gate_drops_total{reason=\"a\"} 5",
		" packgate_gate_drops_total{reason=\"a\"} 5",
		"# packgate_gate_drops_total{reason=\"a\"} 5",
	};
	char joined[300];

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(top_sample_parse(lines[i], &now), 0);
		assert_true(now.dropped == 0);
		snprintf(joined, sizeof(joined), "%s\npackgate_gate_drops_total{reason=\"b\"} 7\n",
			 lines[i]);
		assert_int_equal(top_sample_parse(joined, &now), 1);
		assert_true(top_counts_value(&now.reasons, "b") == 7);
	}
}

static void every_truncation(void **state)
{
	for (size_t n = 0; n < sizeof(page); n++) {
		char *cut = strndup(page, n); /* of its own length, for the sanitizer */

		assert_non_null(cut);
		assert_true(top_sample_parse(cut, &now) <= 25);
		free(cut);
	}
}

static void labels_are_unescaped_and_shown_safely(void **state)
{
	top_sample_parse("packgate_tcp_accept_queue_length{netns=\"a\\\"b\\\\c\\nd\x1b[2J\","
			 "address=\"1\",port=\"2\"} 1\n",
			 &now);
	assert_int_equal(now.listener_count, 1);
	assert_string_equal(now.listeners[0].netns, "a\"b\\c d?[2J");
}

static void lists_are_bounded(void **state)
{
	size_t lines = TOP_LISTENERS_MAX + 10, room = lines * 100;
	char *text = malloc(room), *at = text;

	assert_non_null(text);
	for (size_t i = 0; i < lines; i++)
		at += snprintf(at, room - (size_t)(at - text),
			       "packgate_tcp_accept_queue_length{netns=\"n\",address=\"a\",port=\"%"
			       "zu\"} 1\n",
			       i);
	for (int i = 0; i < TOP_COUNTS_MAX + 10; i++)
		at += snprintf(at, room - (size_t)(at - text),
			       "packgate_gate_drops_total{reason=\"r%d\"} 1\n", i);
	for (int i = 0; i < TOP_INTERFACES_MAX + 10; i++)
		at += snprintf(at, room - (size_t)(at - text),
			       "packgate_gate_queues{interface=\"i%d\"} 1\n", i);
	top_sample_parse(text, &now);
	free(text);
	assert_int_equal(now.listener_count, TOP_LISTENERS_MAX);
	assert_int_equal(now.listeners_lost, 10);
	assert_int_equal(now.reasons.count, TOP_COUNTS_MAX);
	assert_int_equal(now.interface_count, TOP_INTERFACES_MAX);
	assert_true(now.dropped == TOP_COUNTS_MAX + 10);
}

static void rates(void **state)
{
	assert_true(top_rate(150, 100, 2) == 25);
	assert_true(top_rate(100, 150, 2) == 0); /* the agent started anew */
	assert_true(top_rate(150, 100, 0) == 0);
	assert_true(top_fill(5, 0) == 0);
	assert_true(top_fill(5, 4) == 1.25);
}

static void orders(void **state)
{
	static const struct {
		enum top_sort sort;
		const char *first;
	} rows[] = {
		{ TOP_SORT_ACCEPT, "80" },
		{ TOP_SORT_SYN, "81" },
		{ TOP_SORT_NAME, "80" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		top_sample_parse(page, &now);
		top_sort_listeners(&now, rows[i].sort);
		assert_string_equal(now.listeners[0].port, rows[i].first);
	}
}

static bool shows(const struct top_screen *screen, const char *text)
{
	for (unsigned int row = 0; row < screen->rows; row++) {
		char line[512];

		snprintf(line, sizeof(line), "%.*s", (int)screen->columns,
			 screen->cells + (size_t)row * screen->columns);
		if (strstr(line, text))
			return true;
	}
	return false;
}

static void draws_a_page(void **state)
{
	struct top_view view = { .interval_s = 1, .now_s = 1000 + 90061, .keys = true };
	struct top_screen screen;

	top_sample_parse(page, &before);
	top_sample_parse(page, &now);
	before.taken_s = 10;
	now.taken_s = 12;
	now.steered += 3000;
	now.dropped += 50;
	now.reasons.rows[0].value += 50;
	assert_int_equal(top_screen_init(&screen, 24, 80), 0);
	top_screen_draw(&screen, &view, &now, &before);
	assert_true(shows(&screen, "up 1d 01:01:01"));
	assert_true(shows(&screen, "eth0 native-copy, 4 queues   eth1 detached, 0 queues"));
	assert_true(shows(&screen, "1.5k/s       4.5k"));
	assert_true(shows(&screen, "  guard                        25/s         65"));
	assert_false(shows(&screen, "frame_short"));
	assert_true(shows(&screen, "95 of 100, ready 90, open 5"));
	assert_true(shows(&screen, "[::]:80"));
	assert_true(shows(&screen, "[########]   128/129"));
	assert_true(shows(&screen, "q quit"));
	view.trouble = "the agent is gone";
	view.paused = true;
	top_screen_draw(&screen, &view, &now, &before);
	assert_true(shows(&screen, "the agent is gone"));
	assert_true(shows(&screen, "PAUSED"));
	top_screen_done(&screen);
}

/* Under the sanitizers: no size may write outside. */
static void any_size(void **state)
{
	struct top_view view = { .interval_s = 1, .trouble = "trouble" };
	struct top_screen screen;

	top_sample_parse(page, &now);
	for (unsigned int rows = 0; rows < 40; rows++)
		for (unsigned int columns = 0; columns < 260; columns += columns < 20 ? 1 : 17) {
			assert_int_equal(top_screen_init(&screen, rows, columns), 0);
			for (int keys = 0; keys < 2; keys++) {
				view.keys = keys;
				top_screen_draw(&screen, &view, &now, &now);
			}
			top_screen_done(&screen);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_page),
		cmocka_unit_test(passes_over_what_it_cannot_read),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(labels_are_unescaped_and_shown_safely),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(rates),
		cmocka_unit_test(orders),
		cmocka_unit_test(draws_a_page),
		cmocka_unit_test(any_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
