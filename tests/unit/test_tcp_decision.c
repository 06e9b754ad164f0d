// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tcp_advice.h"
#include "tcp_decision.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* a row says only what is not usual */
#pragma GCC diagnostic ignored "-Woverride-init"

/* A listener with room everywhere: listen(fd, 8). */
#define QUEUES(...)                                                                            \
	{                                                                                      \
		.accept_limit = 8, .somaxconn = 4096, .max_syn_backlog = 256, .syncookies = 1, \
		__VA_ARGS__                                                                    \
	}

/* --- decisions -------------------------------------------------------------------------------- */

struct decision_row {
	const char *name;
	struct pg_tcp_queues queues;
	enum pg_tcp_outcome syn, syn_proven, ack, cookie_ack;
};

#define ALL(name) PG_TCP_SYN_##name, PG_TCP_SYN_##name

static const struct decision_row decision_rows[] = {
	{ "room", QUEUES(.accept_length = 0), ALL(QUEUED), PG_TCP_ACK_ACCEPTED,
	  PG_TCP_COOKIE_ACCEPTED },
	{ "accept queue at its limit still takes one", QUEUES(.accept_length = 8), ALL(QUEUED),
	  PG_TCP_ACK_ACCEPTED, PG_TCP_COOKIE_ACCEPTED },
	{ "accept queue one over its limit", QUEUES(.accept_length = 9), ALL(DROP_ACCEPT),
	  PG_TCP_ACK_IGNORED, PG_TCP_COOKIE_DROPPED },
	{ "accept queue full, abort", QUEUES(.accept_length = 9, .abort_on_overflow = true),
	  ALL(DROP_ACCEPT), PG_TCP_ACK_RESET, PG_TCP_COOKIE_DROPPED },
	{ "abort alone changes nothing", QUEUES(.abort_on_overflow = true), ALL(QUEUED),
	  PG_TCP_ACK_ACCEPTED, PG_TCP_COOKIE_ACCEPTED },
	{ "young requests change nothing",
	  QUEUES(.accept_length = 9, .syn_length = 5, .syn_young = 5), ALL(DROP_ACCEPT),
	  PG_TCP_ACK_IGNORED, PG_TCP_COOKIE_DROPPED },
	{ "one request below the limit", QUEUES(.syn_length = 8), ALL(QUEUED), PG_TCP_ACK_ACCEPTED,
	  PG_TCP_COOKIE_ACCEPTED },
	{ "SYN queue full, cookies", QUEUES(.syn_length = 9), ALL(COOKIE_FULL), PG_TCP_ACK_ACCEPTED,
	  PG_TCP_COOKIE_ACCEPTED },
	{ "both full, cookies", QUEUES(.syn_length = 9, .accept_length = 9),
	  ALL(DROP_ACCEPT_COOKIE), PG_TCP_ACK_IGNORED, PG_TCP_COOKIE_DROPPED },
	{ "no cookies, room", QUEUES(.syncookies = 0), ALL(QUEUED), PG_TCP_ACK_ACCEPTED,
	  PG_TCP_COOKIE_RESET },
	{ "no cookies, SYN queue full", QUEUES(.syncookies = 0, .syn_length = 9), ALL(DROP_FULL),
	  PG_TCP_ACK_ACCEPTED, PG_TCP_COOKIE_RESET },
	{ "no cookies, accept queue full", QUEUES(.syncookies = 0, .accept_length = 9),
	  ALL(DROP_ACCEPT), PG_TCP_ACK_IGNORED, PG_TCP_COOKIE_RESET },
	{ "no cookies, both full: the SYN queue comes first",
	  QUEUES(.syncookies = 0, .accept_length = 9, .syn_length = 9), ALL(DROP_FULL),
	  PG_TCP_ACK_IGNORED, PG_TCP_COOKIE_RESET },
	{ "no cookies, below the part that is kept",
	  QUEUES(.syncookies = 0, .max_syn_backlog = 8, .syn_length = 6), ALL(QUEUED),
	  PG_TCP_ACK_ACCEPTED, PG_TCP_COOKIE_RESET },
	{ "no cookies, in the part that is kept",
	  QUEUES(.syncookies = 0, .max_syn_backlog = 8, .syn_length = 7), PG_TCP_SYN_DROP_RESERVED,
	  PG_TCP_SYN_QUEUED, PG_TCP_ACK_ACCEPTED, PG_TCP_COOKIE_RESET },
	{ "no cookies, in the part that is kept, accept queue full",
	  QUEUES(.syncookies = 0, .max_syn_backlog = 8, .syn_length = 7, .accept_length = 9),
	  ALL(DROP_ACCEPT), PG_TCP_ACK_IGNORED, PG_TCP_COOKIE_RESET },
	{ "with cookies nothing is kept", QUEUES(.max_syn_backlog = 8, .syn_length = 7),
	  ALL(QUEUED), PG_TCP_ACK_ACCEPTED, PG_TCP_COOKIE_ACCEPTED },
	{ "cookies always", QUEUES(.syncookies = 2), ALL(COOKIE_ALWAYS), PG_TCP_ACK_ACCEPTED,
	  PG_TCP_COOKIE_ACCEPTED },
	{ "cookies always, requests from before",
	  QUEUES(.syncookies = 2, .syn_length = 9, .max_syn_backlog = 1), ALL(COOKIE_ALWAYS),
	  PG_TCP_ACK_ACCEPTED, PG_TCP_COOKIE_ACCEPTED },
	{ "cookies always, accept queue full", QUEUES(.syncookies = 2, .accept_length = 9),
	  ALL(DROP_ACCEPT_COOKIE), PG_TCP_ACK_IGNORED, PG_TCP_COOKIE_DROPPED },
	{ "any other number is as 1", QUEUES(.syncookies = 3, .syn_length = 9), ALL(COOKIE_FULL),
	  PG_TCP_ACK_ACCEPTED, PG_TCP_COOKIE_ACCEPTED },
	{ "deferred", QUEUES(.defer_accept = true), ALL(QUEUED), PG_TCP_ACK_DEFERRED,
	  PG_TCP_COOKIE_ACCEPTED },
	{ "deferred, accept queue full, abort",
	  QUEUES(.defer_accept = true, .accept_length = 9, .abort_on_overflow = true),
	  ALL(DROP_ACCEPT), PG_TCP_ACK_DEFERRED, PG_TCP_COOKIE_DROPPED },
	{ "listen(fd, 0) takes one", QUEUES(.accept_limit = 0), ALL(QUEUED), PG_TCP_ACK_ACCEPTED,
	  PG_TCP_COOKIE_ACCEPTED },
	{ "listen(fd, 0) is full with one of each",
	  QUEUES(.accept_limit = 0, .accept_length = 1, .syn_length = 1), ALL(DROP_ACCEPT_COOKIE),
	  PG_TCP_ACK_IGNORED, PG_TCP_COOKIE_DROPPED },
	{ "the largest limit",
	  QUEUES(.accept_limit = UINT32_MAX, .accept_length = UINT32_MAX, .syn_length = 1),
	  ALL(QUEUED), PG_TCP_ACK_ACCEPTED, PG_TCP_COOKIE_ACCEPTED },
	{ "no SYN backlog, no cookies", QUEUES(.syncookies = 0, .max_syn_backlog = -4),
	  PG_TCP_SYN_DROP_RESERVED, PG_TCP_SYN_QUEUED, PG_TCP_ACK_ACCEPTED, PG_TCP_COOKIE_RESET },
};

static int wrong(const char *row, const char *what, enum pg_tcp_outcome found,
		 enum pg_tcp_outcome wanted)
{
	if (found == wanted)
		return 0;
	print_error("%s: %s: wanted %s, found %s\n", row, what, pg_tcp_outcome_info[wanted].word,
		    pg_tcp_outcome_info[found].word);
	return 1;
}

static void test_decisions(void **state)
{
	int failures = 0;
	size_t i;

	for (i = 0; i < COUNT(decision_rows); i++) {
		const struct decision_row *row = &decision_rows[i];
		struct pg_tcp_decision found;

		pg_tcp_decide(&row->queues, &found);
		failures += wrong(row->name, "SYN", found.syn, row->syn);
		failures += wrong(row->name, "SYN of a known client", found.syn_proven,
				  row->syn_proven);
		failures += wrong(row->name, "ACK", found.ack, row->ack);
		failures += wrong(row->name, "ACK of a cookie", found.cookie_ack, row->cookie_ack);
	}
	assert_int_equal(failures, 0);
}

/* --- limits ----------------------------------------------------------------------------------- */

struct limit_row {
	const char *name;
	struct pg_tcp_queues queues;
	uint64_t accept_room;
	uint32_t syn_room, syn_room_proven;
	enum pg_tcp_limiter accept_limiter, syn_limiter;
	bool accept_full, syn_full;
};

static const struct limit_row limit_rows[] = {
	{ "the backlog limits both", QUEUES(.accept_limit = 100), 101, 101, 101, PG_TCP_BY_BACKLOG,
	  PG_TCP_BY_BACKLOG, false, false },
	{ "somaxconn limits both", QUEUES(.accept_limit = 4096), 4097, 4097, 4097,
	  PG_TCP_BY_SOMAXCONN, PG_TCP_BY_SOMAXCONN, false, false },
	{ "somaxconn was lowered since", QUEUES(.accept_limit = 100, .somaxconn = 99), 101, 101,
	  101, PG_TCP_BY_SOMAXCONN, PG_TCP_BY_SOMAXCONN, false, false },
	{ "max_syn_backlog means nothing with cookies",
	  QUEUES(.accept_limit = 100, .max_syn_backlog = 4), 101, 101, 101, PG_TCP_BY_BACKLOG,
	  PG_TCP_BY_BACKLOG, false, false },
	{ "max_syn_backlog limits without them",
	  QUEUES(.accept_limit = 100, .max_syn_backlog = 40, .syncookies = 0), 101, 31, 101,
	  PG_TCP_BY_BACKLOG, PG_TCP_BY_MAX_SYN_BACKLOG, false, false },
	{ "as much as the backlog is not less",
	  QUEUES(.accept_limit = 30, .max_syn_backlog = 40, .syncookies = 0), 31, 31, 31,
	  PG_TCP_BY_BACKLOG, PG_TCP_BY_BACKLOG, false, false },
	{ "one less than the backlog",
	  QUEUES(.accept_limit = 31, .max_syn_backlog = 40, .syncookies = 0), 32, 31, 32,
	  PG_TCP_BY_BACKLOG, PG_TCP_BY_MAX_SYN_BACKLOG, false, false },
	{ "full in the part that is kept",
	  QUEUES(.accept_limit = 31, .max_syn_backlog = 40, .syncookies = 0, .syn_length = 31), 32,
	  31, 32, PG_TCP_BY_BACKLOG, PG_TCP_BY_MAX_SYN_BACKLOG, false, true },
	{ "unused with cookies always", QUEUES(.syncookies = 2, .syn_length = 9), 9, 0, 0,
	  PG_TCP_BY_BACKLOG, PG_TCP_BY_UNUSED, false, false },
	{ "both full", QUEUES(.accept_length = 9, .syn_length = 9), 9, 9, 9, PG_TCP_BY_BACKLOG,
	  PG_TCP_BY_BACKLOG, true, true },
	{ "the largest limit", QUEUES(.accept_limit = UINT32_MAX), 1ULL << 32, UINT32_MAX,
	  UINT32_MAX, PG_TCP_BY_SOMAXCONN, PG_TCP_BY_SOMAXCONN, false, false },
};

static void test_limits(void **state)
{
	size_t i;

	for (i = 0; i < COUNT(limit_rows); i++) {
		const struct limit_row *row = &limit_rows[i];
		struct pg_tcp_decision found;

		pg_tcp_decide(&row->queues, &found);
		if (found.accept_room != row->accept_room || found.syn_room != row->syn_room ||
		    found.syn_room_proven != row->syn_room_proven ||
		    found.accept_limiter != row->accept_limiter ||
		    found.syn_limiter != row->syn_limiter ||
		    found.accept_full != row->accept_full || found.syn_full != row->syn_full)
			fail_msg("%s: accept %llu by %s, SYN %u and %u by %s, full %d %d",
				 row->name, (unsigned long long)found.accept_room,
				 pg_tcp_limiter_word(found.accept_limiter), found.syn_room,
				 found.syn_room_proven, pg_tcp_limiter_word(found.syn_limiter),
				 found.accept_full, found.syn_full);
	}
}

/* --- SYN-ACKs sent again ---------------------------------------------------------------------- */

static const struct retries_row {
	const char *name;
	uint32_t limit, length, young;
	uint8_t sysctl, wanted;
} retries_rows[] = {
	{ "no request", 128, 0, 0, 5, 5 },
	{ "half full, all old", 128, 64, 0, 5, 5 },
	{ "over half full, all old", 128, 65, 0, 5, 2 },
	{ "over half full, all young", 128, 65, 65, 5, 5 },
	{ "over half full, more than half young", 128, 66, 34, 5, 5 },
	{ "over half full, half young", 128, 66, 33, 5, 4 },
	{ "over half full, a quarter young", 128, 68, 17, 5, 3 },
	{ "over half full, an eighth young", 128, 72, 9, 5, 2 },
	{ "a short queue is never half full", 0, 4, 0, 5, 5 },
	{ "a short queue over its half", 0, 5, 0, 5, 2 },
	{ "never less than two", 128, 129, 0, 2, 2 },
	{ "unless told so", 128, 129, 0, 1, 1 },
	{ "not at all", 128, 129, 0, 0, 0 },
	{ "the most", UINT32_MAX, UINT32_MAX, 1, 255, 224 },
};

static void test_retries(void **state)
{
	size_t i;

	for (i = 0; i < COUNT(retries_rows); i++) {
		const struct retries_row *row = &retries_rows[i];
		struct pg_tcp_queues queues = { .accept_limit = row->limit,
						.syn_length = row->length,
						.syn_young = row->young,
						.synack_retries = row->sysctl };
		struct pg_tcp_decision found;

		pg_tcp_decide(&queues, &found);
		if (found.synack_retries != row->wanted)
			fail_msg("%s: wanted %u, found %u", row->name, row->wanted,
				 found.synack_retries);
	}
}

/* --- advice ----------------------------------------------------------------------------------- */

struct advice_row {
	const char *name;
	struct pg_tcp_queues queues;
	const char *text; /* reason: changes; reason: changes */
};

static const struct advice_row advice_rows[] = {
	{ "nothing is full", QUEUES(.accept_length = 0), "raise_accept_queue: backlog=4096" },
	{ "at the default somaxconn", QUEUES(.accept_limit = 4096),
	  "raise_accept_queue: somaxconn=8192 backlog=8192" },
	{ "double, to a power of two", QUEUES(.accept_limit = 5000, .somaxconn = 5000),
	  "raise_accept_queue: somaxconn=16384 backlog=16384" },
	{ "somaxconn has room", QUEUES(.accept_limit = 4096, .somaxconn = 65535),
	  "raise_accept_queue: backlog=8192" },
	{ "accept queue full", QUEUES(.accept_length = 9, .somaxconn = 128),
	  "accept_queue_full: somaxconn=4096 backlog=4096" },
	{ "SYN queue full", QUEUES(.syn_length = 9), "syn_queue_full: backlog=4096" },
	{ "both full are said once", QUEUES(.syn_length = 9, .accept_length = 9),
	  "accept_queue_full: backlog=4096" },
	{ "no cookies, SYN queue full", QUEUES(.syn_length = 9, .syncookies = 0),
	  "syncookies_off: tcp_syncookies=1; syn_queue_full: backlog=4096" },
	{ "no cookies, max_syn_backlog stands in the way",
	  QUEUES(.accept_limit = 100, .max_syn_backlog = 40, .syncookies = 0),
	  "syncookies_off: tcp_syncookies=1; raise_accept_queue: backlog=4096; "
	  "raise_syn_queue: tcp_max_syn_backlog=133" },
	{ "no cookies, full by max_syn_backlog",
	  QUEUES(.accept_limit = 100, .max_syn_backlog = 40, .syncookies = 0, .syn_length = 31),
	  "syncookies_off: tcp_syncookies=1; syn_queue_full: tcp_max_syn_backlog=133; "
	  "raise_accept_queue: backlog=4096" },
	{ "no cookies, both full, by max_syn_backlog",
	  QUEUES(.accept_length = 9, .max_syn_backlog = 4, .syncookies = 0, .syn_length = 4),
	  "accept_queue_full: backlog=4096; syncookies_off: tcp_syncookies=1; "
	  "syn_queue_full: tcp_max_syn_backlog=10" },
	{ "cookies always", QUEUES(.syncookies = 2, .syn_length = 9),
	  "syncookies_always: tcp_syncookies=1; raise_accept_queue: backlog=4096" },
	{ "abort", QUEUES(.abort_on_overflow = true),
	  "abort_on_overflow: tcp_abort_on_overflow=0; raise_accept_queue: backlog=4096" },
	{ "somaxconn was lowered", QUEUES(.accept_limit = 1000, .somaxconn = 500),
	  "somaxconn_lowered: somaxconn=1000" },
	{ "somaxconn was lowered, accept queue full",
	  QUEUES(.accept_limit = 1000, .accept_length = 1001, .somaxconn = 500),
	  "accept_queue_full: somaxconn=4096 backlog=4096" },
	{ "no limit is larger than the largest",
	  QUEUES(.accept_limit = UINT32_MAX, .somaxconn = 1 << 30),
	  "somaxconn_lowered: somaxconn=4294967295" },
};

static void print_advice(const struct pg_tcp_advice *advice, size_t count, char *text, size_t room)
{
	size_t i, j, used = 0;

	text[0] = '\0';
	for (i = 0; i < count; i++) {
		used += snprintf(text + used, room - used, "%s%s:", i ? "; " : "",
				 pg_tcp_reason_info[advice[i].reason].word);
		for (j = 0; j < advice[i].change_count; j++)
			used += snprintf(text + used, room - used, " %s=%u",
					 pg_tcp_setting_word(advice[i].changes[j].setting),
					 advice[i].changes[j].value);
	}
}

static void test_advice(void **state)
{
	size_t i;

	for (i = 0; i < COUNT(advice_rows); i++) {
		const struct advice_row *row = &advice_rows[i];
		struct pg_tcp_advice advice[PG_TCP_REASON_COUNT];
		struct pg_tcp_decision decision;
		char text[1024];

		pg_tcp_decide(&row->queues, &decision);
		print_advice(advice, pg_tcp_advise(&row->queues, &decision, advice), text,
			     sizeof(text));
		if (strcmp(text, row->text))
			fail_msg("%s: wanted \"%s\", found \"%s\"", row->name, row->text, text);
	}
}

/* Whoever does all that is advised has no need any more, for any queue. */
static void test_advice_helps(void **state)
{
	struct pg_tcp_queues queues;
	struct pg_tcp_advice advice[PG_TCP_REASON_COUNT];
	struct pg_tcp_decision decision;
	uint32_t limit;
	size_t i, j, count;

	for (limit = 0; limit < 3000; limit++) {
		queues = (struct pg_tcp_queues){ .accept_limit = limit, .somaxconn = 4096 };
		queues.max_syn_backlog = limit / 2;
		pg_tcp_decide(&queues, &decision);
		count = pg_tcp_advise(&queues, &decision, advice);
		for (i = 0; i < count; i++)
			for (j = 0; j < advice[i].change_count; j++)
				if (advice[i].changes[j].setting == PG_TCP_SET_MAX_SYN_BACKLOG)
					queues.max_syn_backlog = advice[i].changes[j].value;
		pg_tcp_decide(&queues, &decision);
		if (decision.syn_room != limit + 1)
			fail_msg("backlog %u: %u requests at tcp_max_syn_backlog %d", limit,
				 decision.syn_room, queues.max_syn_backlog);
	}
}

/* --- words ------------------------------------------------------------------------------------ */

struct line_row {
	struct pg_tcp_change change;
	const char *netns;
	const char *sysctl, *listen, *pod, *kubelet;
};

static const struct line_row line_rows[] = {
	{ { PG_TCP_SET_BACKLOG, 4096 }, "/run/netns/a", "", "listen(fd, 4096)", "", "" },
	{ { PG_TCP_SET_SOMAXCONN, 8192 },
	  NULL,
	  "sysctl -w net.core.somaxconn=8192",
	  "",
	  "securityContext: { sysctls: [{ name: net.core.somaxconn, value: \"8192\" }] }",
	  "--allowed-unsafe-sysctls=net.core.somaxconn" },
	{ { PG_TCP_SET_MAX_SYN_BACKLOG, 4294967295 },
	  "/proc/17/ns/net",
	  "nsenter --net=/proc/17/ns/net sysctl -w net.ipv4.tcp_max_syn_backlog=4294967295",
	  "",
	  "securityContext: { sysctls: [{ name: net.ipv4.tcp_max_syn_backlog, value: "
	  "\"4294967295\" }] }",
	  "--allowed-unsafe-sysctls=net.ipv4.tcp_max_syn_backlog" },
	{ { PG_TCP_SET_SYNCOOKIES, 1 },
	  NULL,
	  "sysctl -w net.ipv4.tcp_syncookies=1",
	  "",
	  "securityContext: { sysctls: [{ name: net.ipv4.tcp_syncookies, value: \"1\" }] }",
	  "" },
	{ { PG_TCP_SET_ABORT_ON_OVERFLOW, 0 },
	  NULL,
	  "sysctl -w net.ipv4.tcp_abort_on_overflow=0",
	  "",
	  "securityContext: { sysctls: [{ name: net.ipv4.tcp_abort_on_overflow, value: \"0\" }] }",
	  "--allowed-unsafe-sysctls=net.ipv4.tcp_abort_on_overflow" },
};

static void test_lines(void **state)
{
	char line[PG_TCP_LINE];
	size_t i;

	assert_int_equal(COUNT(line_rows), PG_TCP_SETTING_COUNT);
	for (i = 0; i < COUNT(line_rows); i++) {
		const struct line_row *row = &line_rows[i];

		pg_tcp_print_sysctl(&row->change, row->netns, line);
		assert_string_equal(line, row->sysctl);
		pg_tcp_print_listen(&row->change, line);
		assert_string_equal(line, row->listen);
		pg_tcp_print_pod(&row->change, line);
		assert_string_equal(line, row->pod);
		pg_tcp_print_kubelet(&row->change, line);
		assert_string_equal(line, row->kubelet);
	}
}

/* A line is made to be copied into a shell: a name must not end up as a command. */
static void test_paths(void **state)
{
	static const struct {
		const char *path, *line;
	} rows[] = {
		{ "/run/netns/blue-1.2_3@4", "nsenter --net=/run/netns/blue-1.2_3@4 sysctl -w "
					     "net.core.somaxconn=4096" },
		{ "/run/netns/a b", "nsenter --net='/run/netns/a b' sysctl -w "
				    "net.core.somaxconn=4096" },
		{ "/run/netns/$(reboot)", "nsenter --net='/run/netns/$(reboot)' sysctl -w "
					  "net.core.somaxconn=4096" },
		{ "/run/netns/it's", "" },
		{ "/run/netns/\033[31m", "" },
		{ "/run/netns/\xff", "" },
	};
	const struct pg_tcp_change change = { PG_TCP_SET_SOMAXCONN, 4096 };
	char line[PG_TCP_LINE];

	for (size_t i = 0; i < COUNT(rows); i++) {
		pg_tcp_print_sysctl(&change, rows[i].path, line);
		assert_string_equal(line, rows[i].line);
	}
}

/* Every outcome is reached by a row, has a word of its own, and counts as its verdict must. */
static void test_outcomes(void **state)
{
	uint64_t reached = 0;
	size_t i, j;

	for (i = 0; i < COUNT(decision_rows); i++)
		reached |= 1ULL << decision_rows[i].syn | 1ULL << decision_rows[i].syn_proven |
			   1ULL << decision_rows[i].ack | 1ULL << decision_rows[i].cookie_ack;
	assert_int_equal(reached, (1ULL << PG_TCP_OUTCOME_COUNT) - 1);
	for (i = 0; i < PG_TCP_OUTCOME_COUNT; i++) {
		const struct pg_tcp_outcome_info *info = &pg_tcp_outcome_info[i];

		for (j = 0; j < i; j++)
			assert_string_not_equal(info->word, pg_tcp_outcome_info[j].word);
		if (info->verdict == PG_TCP_DROPPED)
			assert_true(info->counters & PG_TCP_BIT(listen_drops));
		if (info->verdict == PG_TCP_ACCEPTED)
			assert_true(info->counters & PG_TCP_BIT(passive_opens));
		assert_non_null(pg_tcp_verdict_word(info->verdict));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decisions),    cmocka_unit_test(test_limits),
		cmocka_unit_test(test_retries),	     cmocka_unit_test(test_advice),
		cmocka_unit_test(test_advice_helps), cmocka_unit_test(test_lines),
		cmocka_unit_test(test_paths),	     cmocka_unit_test(test_outcomes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
