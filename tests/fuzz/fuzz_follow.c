// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "follow.h"
#include "follow_fields.h"

/*
 * Segments of a few connections. The first byte says how many are followed at once (its low bits)
 * and whether reports are taken only at the end (0x80); each further 9 bytes are a segment, see
 * fuzz_segment. Every segment is in exactly one connection's report or counted as not followed, no
 * byte is counted twice, and what is printed is printable.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define FOLLOW_SEGMENT_BYTES 9
#define FOLLOW_PORTS	     4
#define FOLLOW_NUMBERS_MAX   2048

struct follow_run {
	struct pg_follow *follow;
	uint64_t time_us, data_bytes;
	uint64_t segments[FOLLOW_NUMBERS_MAX], bytes[FOLLOW_NUMBERS_MAX]; /* by connection */
	bool reported[FOLLOW_NUMBERS_MAX], final[FOLLOW_NUMBERS_MAX];
};

static void follow_need_at(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

#define follow_need(what) follow_need_at(what, #what)

static uint32_t follow_near(uint32_t base, const uint8_t *at)
{
	return base + (int16_t)(at[0] << 8 | at[1]);
}

static void follow_sack(struct pg_segment *segment, const uint8_t *at, uint8_t count)
{
	segment->options |= count ? PG_TCP_HAS_SACK : 0;
	segment->sack_count = count;
	for (uint8_t i = 0; i < count; i++) {
		segment->sack[i].left = segment->ack + (int8_t)at[8] + i * 16;
		segment->sack[i].right = segment->sack[i].left + (at[8] & 0xf) + 1;
	}
}

/*
 * 0: sender (bit 0), port (1, 2), time since the last (3 to 5), options of a SYN or SACK blocks
 * (6, 7); 1: flags; 2, 4: seq and ack, signed, around the wrap; 6: data bytes; 7: window; 8: SACK.
 */
static struct pg_segment fuzz_segment(struct follow_run *run, const uint8_t *at)
{
	static const uint32_t steps_us[8] = { 0,      100,     5000,	 30000,
					      300000, 2000000, 70000000, 4000000000 };
	struct pg_peer client = { .port = 40000 + (at[0] >> 1) % FOLLOW_PORTS };
	struct pg_peer server = { .port = 80 };
	bool from_server = at[0] & 1;
	struct pg_segment segment = {
		.seq = follow_near(from_server ? 0 : 0xffffffff, at + 2),
		.ack = follow_near(from_server ? 0xffffffff : 0, at + 4),
		.data_bytes = at[6],
		.flags = at[1],
		.window = at[7],
	};

	client.address.bytes[0] = 1;
	segment.source = from_server ? server : client;
	segment.destination = from_server ? client : server;
	run->time_us += steps_us[at[0] >> 3 & 7];
	segment.time_us = run->time_us;
	if (segment.flags & PG_TCP_SYN && at[0] & 0x40)
		segment.options = PG_TCP_HAS_MSS | PG_TCP_HAS_SCALE | PG_TCP_HAS_PERMITTED;
	segment.mss = 1460;
	segment.window_shift = at[8];
	if (!(segment.flags & PG_TCP_SYN))
		follow_sack(&segment, at, at[0] >> 6);
	return segment;
}

static void follow_printed(const char *text, const char *json)
{
	json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, NULL);

	for (; *text; text++)
		follow_need(*text == '\n' || (*text >= 0x20 && *text < 0x7f));
	follow_need(object && !strchr(json, '\n'));
	json_decref(object);
}

static void follow_print_note(const struct pg_follow_note *note)
{
	struct pg_fields fields = { .writer = &pg_fields_json, .first = true };
	char *text = NULL;
	size_t size = 0;
	long json_at;

	fields.out = open_memstream(&text, &size);
	follow_need(fields.out != NULL);
	pg_follow_note_line(note, fields.out);
	fflush(fields.out);
	json_at = ftell(fields.out);
	pg_field_open(&fields, NULL, '{');
	pg_follow_note_fields(&fields, note);
	pg_field_close(&fields, '}');
	fclose(fields.out);
	follow_printed(text, text + json_at);
	free(text);
}

static void follow_print_report(const struct pg_follow_report *report)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	long json_at;

	follow_need(out != NULL);
	pg_follow_report_lines(report, out);
	fflush(out);
	json_at = ftell(out);
	pg_follow_report_fields(report, &pg_fields_json, out);
	fclose(out);
	follow_printed(text, text + json_at);
	free(text);
}

static void follow_take(struct follow_run *run)
{
	struct pg_follow_report report;

	while (pg_follow_take(run->follow, &report)) {
		uint64_t number = report.connection;

		follow_need(number && number < FOLLOW_NUMBERS_MAX);
		follow_need(!run->final[number]);
		run->reported[number] = true;
		follow_need(report.first_us <= report.last_us);
		run->final[number] = report.final;
		run->segments[number] = report.ways[0].segments + report.ways[1].segments;
		run->bytes[number] = report.ways[0].bytes + report.ways[0].bytes_again +
				     report.ways[1].bytes + report.ways[1].bytes_again;
		follow_print_report(&report);
	}
}

static void follow_judge(struct follow_run *run)
{
	uint64_t segments = 0, bytes = 0;
	struct pg_follow_counts counts;

	pg_follow_count(run->follow, &counts);
	for (uint64_t i = 1; i < FOLLOW_NUMBERS_MAX; i++) {
		follow_need(run->reported[i] == (i <= counts.connections));
		segments += run->segments[i];
		bytes += run->bytes[i];
	}
	follow_need(!counts.now);
	follow_need(segments + counts.untracked == counts.segments);
	follow_need(bytes <= run->data_bytes);
}

static void follow_one(struct follow_run *run, const uint8_t *at, uint32_t connections)
{
	struct pg_segment segment = fuzz_segment(run, at);
	struct pg_follow_counts counts;
	struct pg_follow_note note;

	pg_follow_segment(run->follow, &segment, &note);
	pg_follow_count(run->follow, &counts);
	run->data_bytes += segment.data_bytes;
	follow_need(counts.now <= connections);
	follow_need(note.connection <= counts.connections);
	follow_need(pg_tcp_state_label(note.states[0]) && pg_tcp_state_label(note.states[1]));
	follow_need(note.events >> PG_FOLLOW_EVENT_COUNT == 0);
	follow_print_note(&note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct pg_follow_settings settings = PG_FOLLOW_SETTINGS_DEFAULT;
	struct follow_run run = { .time_us = 1 };

	if (!bytes || bytes > FOLLOW_SEGMENT_BYTES * (FOLLOW_NUMBERS_MAX - 2))
		return 0;
	settings.connections = 1 + data[0] % 4;
	follow_need(!pg_follow_new(&settings, &run.follow));
	for (size_t at = 1; at + FOLLOW_SEGMENT_BYTES <= bytes; at += FOLLOW_SEGMENT_BYTES) {
		follow_one(&run, data + at, settings.connections);
		if (!(data[0] & 0x80))
			follow_take(&run);
	}
	pg_follow_finish(run.follow);
	follow_take(&run);
	follow_judge(&run);
	pg_follow_free(run.follow);
	return 0;
}
