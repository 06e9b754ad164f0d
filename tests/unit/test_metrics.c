// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "control_words.h"
#include "event_text.h"
#include "metrics.h"
#include "metrics_text.h"

#define TEXT_OF(x) #x
#define TEXT(x)	   TEXT_OF(x)

/* --- a snapshot in which every value is another -------------------------------------------------
 */

struct fixture {
	struct pg_metrics_snapshot snapshot;
	struct pg_xsk_status xsk;
	struct pg_session_count sessions;
	struct pg_netns_sample namespaces[3];
	struct pg_listener_series series[2];
};

static void fill_interfaces(struct pg_metrics_snapshot *snapshot)
{
	struct pg_interface_status *rows = snapshot->status.interfaces;
	unsigned int i;

	snapshot->status.interface_count = 2;
	strcpy(rows[0].name, "eth0");
	rows[0].mode = PG_GATE_COPY;
	rows[0].slot = 3;
	rows[0].queues = 2;
	strcpy(rows[1].name, "we\"ird\\");
	rows[1].mode = PG_GATE_DETACHED;
	rows[1].slot = 0;
	for (i = 0; i < PG_DROP_SLOTS; i++) {
		snapshot->gate.drops[3][i] = (struct pg_count){ 1000 + i, 2000 + i };
		snapshot->gate.would_drop[3][i] = (struct pg_count){ 3000 + i, 4000 + i };
	}
	for (i = 0; i < PG_COUNTER_SLOTS; i++)
		snapshot->gate.counters[3][i].packets = 5000 + i;
	for (i = 0; i < 3; i++)
		snapshot->gate.steered[3][i] = (struct pg_count){ 6000 + i, 7000 + i };
}

/* One namespace without listeners, one with two, one that could not be entered. */
static void fill_tcp(struct fixture *f)
{
	struct pg_listeners_sample *tcp = &f->snapshot.tcp;
	struct pg_listener_series *series = f->series;

	strcpy(f->namespaces[0].netns.name, "empty");
	f->namespaces[0].netns.inode = 7;
	f->namespaces[0].sysctls.somaxconn = PG_NETSTAT_NO_SYSCTL;
	strcpy(f->namespaces[1].netns.name, "own");
	strcpy(f->namespaces[1].netns.container, "c0ffee");
	f->namespaces[1].netns.inode = 5;
	f->namespaces[1].count = 2;
	f->namespaces[1].sockets = (struct pg_netstat_sockets){ 50, 40, 3 };
	f->namespaces[1].syn_received = 9;
	f->namespaces[1].sysctls.somaxconn = 4096;
	f->namespaces[1].netstat.values[PG_NETSTAT_syncookies_failed] = 99;
	f->namespaces[1].netstat.present = ~(1U << PG_NETSTAT_tw);
	strcpy(f->namespaces[2].netns.name, "closed");
	strcpy(f->namespaces[2].why, "it cannot be entered");
	pg_address_parse("::", &series[0].address, NULL);
	series[0].netns = 5;
	series[0].port = 443;
	series[0].accept_length = 11;
	series[0].syn_limit = 15;
	series[0].syn_high = 16;
	series[0].drops = 5000000000;
	series[0].fastopen_limit = 4;
	series[1] = series[0];
	series[1].fastopen_limit = 0;
	pg_address_parse("192.0.2.1", &series[1].address, NULL);
	*tcp = (struct pg_listeners_sample){
		.source = PG_LISTENERS_ITERATOR,
		.namespaces = f->namespaces,
		.namespace_count = 3,
		.namespaces_cut = 6,
		.rows_cut = 8,
		.requests_cut = 5,
		.series = series,
		.series_count = 2,
	};
}

static void fill(struct fixture *f)
{
	struct pg_metrics_snapshot *snapshot = &f->snapshot;

	memset(f, 0, sizeof(*f));
	fill_interfaces(snapshot);
	strcpy(snapshot->status.version, "9.8.7");
	strcpy(snapshot->status.instance, "line\nbreak");
	snapshot->status.started_ms = 1700000000123;
	snapshot->limits.sessions = 4096;
	snapshot->workers.frames_opened = UINT64_MAX;
	snapshot->workers.rejected[PG_DROP_TAG] = 77;
	snapshot->workers.rejected[PG_DROP_GUARD] = 78;
	snapshot->workers.latency_buckets[0] = 5;
	snapshot->workers.latency_buckets[3] = 2;
	snapshot->workers.latency_buckets[PG_LATENCY_BUCKETS - 1] = 1;
	snapshot->workers.latency_sum_ns = 1500000001;
	strcpy(f->xsk.interface, "eth0");
	f->xsk.queue = 1;
	f->xsk.rx_ring_full = 42;
	strcpy(f->sessions.endpoint, "game");
	f->sessions.by_state[PG_SESSION_READY] = 12;
	fill_tcp(f);
	snapshot->xsk = &f->xsk;
	snapshot->sessions = &f->sessions;
	snapshot->xsk_count = snapshot->session_count = 1;
}

static char *expose(const struct pg_metrics_snapshot *snapshot)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *file = open_memstream(&text, &bytes);

	pg_metrics_expose(snapshot, PG_METRICS_OPENMETRICS, file);
	fclose(file);
	return text;
}

static bool has_line(const char *text, const char *line)
{
	size_t length = strlen(line);

	for (; (text = strstr(text, line)); text++)
		if (text[length] == '\n')
			return true;
	return false;
}

/* --- values -------------------------------------------------------------------------------------
 */

static void test_values(void **state)
{
	static const char *const lines[] = {
		"packgate_build_info{version=\"9.8.7\",abi=\"" TEXT(
			PG_ABI) "\",aead_backend=\"\","
				"instance=\"line\\nbreak\"} 1",
		"packgate_start_time_seconds 1700000000.123",
		"packgate_workers_alive 0",
		"packgate_limit{name=\"sessions\"} 4096",
		"packgate_gate_mode{interface=\"eth0\",mode=\"native-copy\"} 1",
		"packgate_gate_mode{interface=\"eth0\",mode=\"detached\"} 0",
		"packgate_gate_mode{interface=\"we\\\"ird\\\\\",mode=\"detached\"} 1",
		"packgate_gate_drops_total{interface=\"eth0\",reason=\"frame_short\"} 1001",
		"packgate_gate_drop_bytes_total{interface=\"eth0\",reason=\"no_socket\"} 2024",
		"packgate_gate_would_drop_total{interface=\"eth0\",reason=\"guard\"} 3018",
		"packgate_gate_would_drop_bytes_total{interface=\"eth0\",reason=\"guard\"} 4018",
		"packgate_gate_drops_total{interface=\"we\\\"ird\\\\\",reason=\"guard\"} 0",
		"packgate_gate_steered_total{interface=\"eth0\",queue=\"1\"} 6001",
		"packgate_gate_steered_bytes_total{interface=\"eth0\",queue=\"0\"} 7000",
		"packgate_gate_passed_total{interface=\"eth0\"} 5000",
		"packgate_gate_duplicates_total{interface=\"eth0\"} 5001",
		"packgate_sessions{endpoint=\"game\",state=\"ready\"} 12",
		"packgate_sessions{endpoint=\"game\",state=\"init\"} 0",
		"packgate_frames_opened_total 18446744073709551615",
		"packgate_frames_rejected_total{reason=\"tag\"} 77",
		"packgate_frames_rejected_total{reason=\"guard\"} 78",
		"packgate_frames_rejected_total{reason=\"replay_seen\"} 0",
		"packgate_delivery_latency_seconds_bucket{le=\"1e-06\"} 5",
		"packgate_delivery_latency_seconds_bucket{le=\"4e-06\"} 5",
		"packgate_delivery_latency_seconds_bucket{le=\"8e-06\"} 7",
		"packgate_delivery_latency_seconds_bucket{le=\"0.016384\"} 7",
		"packgate_delivery_latency_seconds_bucket{le=\"+Inf\"} 8",
		"packgate_delivery_latency_seconds_count 8",
		"packgate_delivery_latency_seconds_sum 1.500000001",
		"packgate_xsk_rx_ring_full_total{interface=\"eth0\",queue=\"1\"} 42",
		"packgate_tcp_accept_queue_length{netns=\"own\",address=\"::\",port=\"443\"} 11",
		"packgate_tcp_syn_queue_limit{netns=\"own\",address=\"192.0.2.1\",port=\"443\"} 15",
		"packgate_tcp_syncookies_failed_total{netns=\"own\"} 99",
		"packgate_tcp_listen_overflows_total{netns=\"own\"} 0",
		"packgate_tcp_syn_queue_high{netns=\"own\",address=\"::\",port=\"443\"} 16",
		"packgate_tcp_fastopen_queue_limit{netns=\"own\",address=\"::\",port=\"443\"} 4",
		"packgate_tcp_listener_drops_total{netns=\"own\",address=\"::\",port=\"443\"} "
		"5000000000",
		"packgate_tcp_sockets{netns=\"own\",state=\"listen\"} 2",
		"packgate_tcp_sockets{netns=\"own\",state=\"syn_received\"} 9",
		"packgate_tcp_sockets{netns=\"own\",state=\"established\"} 40",
		"packgate_tcp_sockets{netns=\"own\",state=\"time_wait\"} 3",
		"packgate_tcp_sockets{netns=\"own\",state=\"other\"} 8",
		"packgate_tcp_sockets{netns=\"empty\",state=\"other\"} 0",
		"packgate_tcp_somaxconn{netns=\"own\"} 4096",
		"packgate_tcp_netns_info{netns=\"own\",inode=\"5\",container=\"c0ffee\"} 1",
		"packgate_tcp_netns_unreadable 1",
		"packgate_tcp_netns_cut 6",
		"packgate_tcp_listeners_cut 8",
		"packgate_tcp_requests_cut 5",
		"packgate_tcp_series_cut 0",
		"packgate_tcp_source{source=\"iterator\"} 1",
		"packgate_tcp_source{source=\"tracked\"} 0",
	};
	static const char *const absent[] = {
		"queue=\"2\"",			     /* a queue without a worker */
		"interface=\"eth0\",reason=\"tag\"", /* the gate never decides it */
		"frames_rejected_total{reason=\"opcode\"}",
		"state=\"free\"",
		"netns=\"closed\"",
		"fastopen_queue_limit{netns=\"own\",address=\"192.0.2.1\"",
		"packgate_tcp_somaxconn{netns=\"empty\"}",
		"packgate_tcp_tw_total{netns=\"own\"}",
		"packgate_tcp_listen_overflows_total{netns=\"empty\"}",
	};
	struct fixture *f = malloc(sizeof(*f));
	char *text;
	size_t i;

	fill(f);
	text = expose(&f->snapshot);
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (!has_line(text, lines[i]))
			fail_msg("no line %s", lines[i]);
	for (i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		if (strstr(text, absent[i]))
			fail_msg("%s is there", absent[i]);
	free(text);
	free(f);
}

/* Beyond the bound series are left away, and it is said. */
static void test_many_listeners(void **state)
{
	struct pg_listener_series *series = calloc(PG_METRICS_LISTENERS_MAX + 3, sizeof(*series));
	struct pg_metrics_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	char *text, *at, line[64];
	size_t i, samples = 0;

	for (i = 0; i < PG_METRICS_LISTENERS_MAX + 3; i++)
		series[i].port = (uint16_t)(i + 1);
	snapshot->tcp.series = series;
	snapshot->tcp.series_count = PG_METRICS_LISTENERS_MAX + 3;
	text = expose(snapshot);
	for (at = text; (at = strstr(at, "\npackgate_tcp_syn_queue_limit{")); at++)
		samples++;
	assert_int_equal(samples, PG_METRICS_LISTENERS_MAX);
	assert_true(has_line(text, "packgate_tcp_series_cut 3"));
	free(text);
	/* another namespace at the end is not crowded out */
	for (i = 0; i < 7; i++)
		series[PG_METRICS_LISTENERS_MAX - 4 + i].netns = 9;
	text = expose(snapshot);
	assert_true(has_line(text, "packgate_tcp_series_cut 3"));
	snprintf(line, sizeof(line), "port=\"%d\"} 0", PG_METRICS_LISTENERS_MAX + 3);
	assert_non_null(strstr(text, line));
	snprintf(line, sizeof(line), "port=\"%d\"} 0", PG_METRICS_LISTENERS_MAX - 4);
	assert_null(strstr(text, line));
	free(text);
	free(snapshot);
	free(series);
}

/* --- the format ---------------------------------------------------------------------------------
 */

static bool starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* Every sample stands under the TYPE of its own family, each family once, "# EOF" last. */
static void test_format(void **state)
{
	char family[128] = "", type[32] = "", *families[256], *line, *next, *text;
	struct fixture *f = malloc(sizeof(*f));
	size_t count = 0, i;

	fill(f);
	text = expose(&f->snapshot);
	assert_true(strlen(text) > 6 && !strcmp(text + strlen(text) - 6, "# EOF\n"));
	for (line = text; *line && !starts(line, "# EOF"); line = next) {
		next = strchr(line, '\n');
		*next++ = 0;
		if (starts(line, "# TYPE ")) {
			assert_int_equal(sscanf(line, "# TYPE %127s %31s", family, type), 2);
			for (i = 0; i < count; i++)
				assert_string_not_equal(families[i], family);
			assert_true(count < 256);
			families[count++] = strdup(family);
		} else if (starts(line, "# UNIT ")) {
			assert_true(starts(line + 7, family));
			assert_string_equal(strrchr(family, '_') + 1, strrchr(line, ' ') + 1);
		} else if (starts(line, "# HELP ")) {
			assert_true(starts(line + 7, family));
		} else {
			const char *rest = line + strlen(family);

			if (!starts(line, family))
				fail_msg("%s under %s", line, family);
			if (!strcmp(type, "counter") && !starts(rest, "_total"))
				fail_msg("counter %s", line);
			if (!strcmp(type, "info") && !starts(rest, "_info"))
				fail_msg("info %s", line);
			if (!strcmp(type, "gauge") && *rest != '{' && *rest != ' ')
				fail_msg("gauge %s", line);
		}
	}
	assert_true(starts(line, "# EOF"));
	while (count)
		free(families[--count]);
	free(text);
	free(f);
}

/* Every reason and counter of the lists is in the exposition, at 0 too. */
static void test_lists_are_complete(void **state)
{
	struct fixture *f = malloc(sizeof(*f));
	char line[256], *text;

	fill(f);
	text = expose(&f->snapshot);
#define PG_X(name, number, label, help)                                \
	snprintf(line, sizeof(line),                                   \
		 number < 40 ? "interface=\"eth0\",reason=\"%s\"}"     \
			     : "frames_rejected_total{reason=\"%s\"}", \
		 label);                                               \
	if (!strstr(text, line))                                       \
		fail_msg("no %s", line);                               \
	assert_string_equal(pg_drop_word(number), label);
	PG_DROPS(PG_X)
#undef PG_X
#define PG_X(name, number, label, help) \
	assert_non_null(strstr(text, "packgate_gate_" label "_total{"));
	PG_COUNTERS(PG_X)
#undef PG_X
#define PG_X(name, suffix, help) assert_non_null(strstr(text, "\npackgate_" suffix "_total "));
	PG_WORKER_COUNTERS(PG_X)
#undef PG_X
#define PG_X(name, ...) assert_non_null(strstr(text, "packgate_limit{name=\"" #name "\"}"));
	PG_LIMITS(PG_X)
#undef PG_X
	free(text);
	free(f);
}

/* The document names each metric that is exposed, and each reason. */
static void test_doc(void **state)
{
	struct fixture *f = malloc(sizeof(*f));
	char *text, *doc = NULL, *line, name[128], row[160];
	size_t bytes = 0;
	FILE *file = open_memstream(&doc, &bytes);

	pg_metrics_write_doc(file);
	fclose(file);
	fill(f);
	text = expose(&f->snapshot);
	for (line = text; (line = strstr(line, "# TYPE ")); line++) {
		assert_int_equal(sscanf(line, "# TYPE %127s", name), 1);
		snprintf(row, sizeof(row), "| `%s", name);
		if (!strstr(doc, row))
			fail_msg("%s is not documented", name);
	}
#define PG_X(reason, number, label, help) \
	assert_non_null(strstr(doc, "| `" label "` | " help " |"));
	PG_DROPS(PG_X)
#undef PG_X
	free(doc);
	free(text);
	free(f);
}

static void test_empty_snapshot(void **state)
{
	struct pg_metrics_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	char *text = expose(snapshot);

	assert_null(strstr(text, "packgate_gate_drops_total"));
	assert_true(has_line(text, "packgate_frames_opened_total 0"));
	free(text);
	free(snapshot);
}

static void test_words(void **state)
{
	assert_string_equal(pg_session_state_word(PG_SESSION_READY), "ready");
	assert_string_equal(pg_session_state_word(5), "unknown");
	assert_string_equal(pg_stream_state_word(PG_STREAM_CLOSING), "closing");
	assert_string_equal(pg_stream_state_word(6), "unknown");
	assert_string_equal(pg_policy_word(2), "unordered");
	assert_string_equal(pg_policy_word(3), "unknown");
	assert_string_equal(pg_aead_word(1), "chacha20-poly1305");
	assert_string_equal(pg_aead_word(0), "unknown");
	assert_string_equal(pg_drop_word(0), "unknown");
	assert_string_equal(pg_drop_word(39), "unknown");
	assert_string_equal(pg_drop_word(64), "unknown");
}

/* --- sampled drops ------------------------------------------------------------------------------
 */

#define MACS "\2\2\2\2\2\2\4\4\4\4\4\4"
#define IP4  "\x45\0\0\x30\0\0\0\0\x40\x11\0\0\xc0\0\2\1\xc0\0\2\2"
#define IP6                                                                                      \
	"\x60\0\0\0\0\x10\x11\x40\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\xd\xb8\0\0\0\0\0\0" \
	"\0\0\0\0\0\2"
#define UDP "\x15\xb3\x0f\xa0\0\0\0\0"

static const struct event_row {
	const char *name;
	const char *bytes;
	size_t count;
	const char *source, *destination;
} event_rows[] = {
	{ "ipv4", MACS "\x08\0" IP4 UDP, 14 + 20 + 8, "192.0.2.1:5555", "192.0.2.2:4000" },
	{ "vlan", MACS "\x81\0\0\1\x08\0" IP4 UDP, 18 + 20 + 8, "192.0.2.1:5555",
	  "192.0.2.2:4000" },
	{ "two vlans", MACS "\x88\xa8\0\1\x81\0\0\1\x08\0" IP4 UDP, 22 + 20 + 8, "192.0.2.1:5555",
	  "192.0.2.2:4000" },
	{ "three vlans", MACS "\x81\0\0\1\x81\0\0\1\x81\0\0\1\x08\0" IP4 UDP, 26 + 20 + 8, "", "" },
	{ "ipv6", MACS "\x86\xdd" IP6 UDP, 14 + 40 + 8, "[2001:db8::1]:5555",
	  "[2001:db8::2]:4000" },
	{ "cut before the ports", MACS "\x08\0" IP4 UDP, 14 + 20, "192.0.2.1:0", "192.0.2.2:0" },
	{ "cut in the ports", MACS "\x08\0" IP4 UDP, 14 + 20 + 3, "192.0.2.1:5555", "192.0.2.2:0" },
	{ "cut in the addresses", MACS "\x08\0" IP4 UDP, 14 + 19, "", "" },
	{ "cut in the type", MACS "\x08\0" IP4 UDP, 13, "", "" },
	{ "nothing", "", 0, "", "" },
	{ "arp", MACS "\x08\6" IP4 UDP, 14 + 20 + 8, "", "" },
};

static void test_event_peers(void **state)
{
	char source[PG_PEER_TEXT], destination[PG_PEER_TEXT], hex[2 * PG_EVENT_SAMPLE + 1];
	size_t i;

	for (i = 0; i < sizeof(event_rows) / sizeof(event_rows[0]); i++) {
		const struct event_row *row = &event_rows[i];
		struct pg_event event = { .sampled = (uint16_t)row->count };

		memset(event.data, 0xa5, sizeof(event.data));
		memcpy(event.data, row->bytes, row->count);
		pg_event_peers(&event, source, destination);
		if (strcmp(source, row->source) || strcmp(destination, row->destination))
			fail_msg("%s: %s > %s", row->name, source, destination);
		pg_event_hex(&event, hex);
		assert_int_equal(strlen(hex), 2 * row->count);
	}
}

/* A count that lies is cut to what is there. */
static void test_event_bounds(void **state)
{
	struct pg_event event = { .sampled = UINT16_MAX };
	char source[PG_PEER_TEXT], destination[PG_PEER_TEXT], hex[2 * PG_EVENT_SAMPLE + 1];
	size_t i, j;

	srandom(7);
	for (i = 0; i < 20000; i++) {
		for (j = 0; j < sizeof(event.data); j++)
			event.data[j] = (uint8_t)random();
		event.data[12] = i & 1 ? 0x08 : 0x86;
		event.data[13] = i & 1 ? 0x00 : 0xdd;
		pg_event_peers(&event, source, destination);
		pg_event_hex(&event, hex);
		assert_int_equal(strlen(hex), 2 * PG_EVENT_SAMPLE);
	}
}

/* --- which format ------------------------------------------------------------------------------
 */

static void test_accept(void **state)
{
	static const struct {
		const char *accept;
		enum pg_metrics_format format;
	} rows[] = {
		{ "", PG_METRICS_OPENMETRICS },
		{ "*/*", PG_METRICS_OPENMETRICS },
		{ "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/"
		  "*;q=0.1",
		  PG_METRICS_OPENMETRICS },
		{ "text/plain;version=0.0.4;q=0.5,application/openmetrics-text",
		  PG_METRICS_OPENMETRICS },
		{ "text/plain", PG_METRICS_TEXT },
		{ "text/plain;version=0.0.4;q=1,*/*;q=0.1", PG_METRICS_TEXT },
		{ "text/html", PG_METRICS_OPENMETRICS },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (pg_metrics_format(rows[i].accept) != rows[i].format)
			fail_msg("Accept: %s", rows[i].accept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),	     cmocka_unit_test(test_many_listeners),
		cmocka_unit_test(test_format),	     cmocka_unit_test(test_lists_are_complete),
		cmocka_unit_test(test_doc),	     cmocka_unit_test(test_empty_snapshot),
		cmocka_unit_test(test_words),	     cmocka_unit_test(test_event_peers),
		cmocka_unit_test(test_event_bounds), cmocka_unit_test(test_accept),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
