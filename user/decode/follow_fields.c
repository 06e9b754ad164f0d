// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <inttypes.h>

#include "follow_fields.h"

static const char *const end_names[2] = { "client", "server" };

static void write_events(struct pg_fields *fields, uint32_t events)
{
	pg_field_open(fields, "events", '[');
	for (int event = 0; event < PG_FOLLOW_EVENT_COUNT; event++)
		if (events & PG_FOLLOW_BIT(event))
			pg_field_text(fields, NULL, pg_follow_event_label(event));
	pg_field_close(fields, ']');
}

void pg_follow_note_fields(struct pg_fields *fields, const struct pg_follow_note *note)
{
	pg_field_open(fields, "follow", '{');
	pg_field_number(fields, "connection", note->connection);
	if (note->connection) {
		pg_field_text(fields, "sender", end_names[note->sender]);
		for (int end = 0; end < 2; end++)
			pg_field_text(fields, end_names[end],
				      pg_tcp_state_label(note->states[end]));
		pg_field_number(fields, "seq", note->seq);
		pg_field_number(fields, "next", note->next);
		if (note->has_ack)
			pg_field_number(fields, "ack", note->ack);
		pg_field_number(fields, "acked", note->acked);
		pg_field_number(fields, "in_flight", note->in_flight);
		if (note->window_known)
			pg_field_number(fields, "window_bytes", note->window);
		if (note->duplicates)
			pg_field_number(fields, "duplicates", note->duplicates);
		if (note->missing)
			pg_field_number(fields, "missing", note->missing);
		write_events(fields, note->events);
		pg_field_flag(fields, "ended", note->ended);
	}
	pg_field_close(fields, '}');
}

/* --- reports -----------------------------------------------------------------------------------
 */

static void write_counts(struct pg_fields *fields, const struct pg_follow_way *way)
{
	pg_field_open(fields, "events", '{');
	for (int event = 0; event < PG_FOLLOW_EVENT_COUNT; event++)
		if (way->events[event])
			pg_field_number(fields, pg_follow_event_label(event), way->events[event]);
	pg_field_close(fields, '}');
}

static void write_end(struct pg_fields *fields, const struct pg_follow_report *report, int end)
{
	const struct pg_follow_way *way = &report->ways[end];
	char text[PG_ADDRESS_TEXT];

	pg_field_open(fields, end_names[end], '{');
	pg_field_text(fields, "address", pg_address_print(&report->ends[end].address, text));
	pg_field_number(fields, "port", report->ends[end].port);
	pg_field_text(fields, "state", pg_tcp_state_label(report->states[end]));
	pg_field_number(fields, "segments", way->segments);
	pg_field_number(fields, "bytes", way->bytes);
	pg_field_number(fields, "bytes_again", way->bytes_again);
	pg_field_number(fields, "bytes_missing", way->bytes_missing);
	if (way->mss)
		pg_field_number(fields, "mss", way->mss);
	if (way->window_shift >= 0)
		pg_field_number(fields, "window_shift", way->window_shift);
	pg_field_flag(fields, "sack_permitted", way->sack_permitted);
	pg_field_flag(fields, "timestamps", way->timestamps);
	write_counts(fields, way);
	pg_field_close(fields, '}');
}

static void write_time(struct pg_fields *fields, const char *name, uint64_t time_us)
{
	char text[40];

	snprintf(text, sizeof(text), "%" PRIu64 ".%06" PRIu64, time_us / 1000000,
		 time_us % 1000000);
	fields->writer->value(fields, name, text, false);
}

static void write_duration(struct pg_fields *fields, const char *name, int64_t us)
{
	if (us >= 0)
		pg_field_number(fields, name, us);
}

static bool is_unusual(const struct pg_follow_report *report, enum pg_follow_event event)
{
	return pg_follow_event_unusual(event) &&
	       (report->ways[0].events[event] || report->ways[1].events[event]);
}

static void write_unusual(struct pg_fields *fields, const struct pg_follow_report *report)
{
	pg_field_open(fields, "unusual", '[');
	for (int event = 0; event < PG_FOLLOW_EVENT_COUNT; event++)
		if (is_unusual(report, event))
			pg_field_text(fields, NULL, pg_follow_event_label(event));
	pg_field_close(fields, ']');
}

void pg_follow_report_fields(const struct pg_follow_report *report,
			     const struct pg_fields_writer *writer, FILE *out)
{
	struct pg_fields fields = { .out = out, .writer = writer, .first = true };

	pg_field_open(&fields, NULL, '{');
	pg_field_open(&fields, "connection", '{');
	pg_field_number(&fields, "number", report->connection);
	pg_field_text(&fields, "end", pg_follow_end_label(report->end));
	pg_field_flag(&fields, "final", report->final);
	pg_field_flag(&fields, "whole", report->whole);
	pg_field_flag(&fields, "established", report->established);
	write_time(&fields, "first", report->first_us);
	write_time(&fields, "last", report->last_us);
	write_duration(&fields, "handshake_us", report->handshake_us);
	write_duration(&fields, "server_us", report->server_us);
	write_duration(&fields, "client_us", report->client_us);
	write_end(&fields, report, PG_FOLLOW_CLIENT);
	write_end(&fields, report, PG_FOLLOW_SERVER);
	write_unusual(&fields, report);
	pg_field_close(&fields, '}');
	pg_field_close(&fields, '}');
}

/* --- lines for eyes ----------------------------------------------------------------------------
 */

/* "fast retransmission" */
static void put_words(const char *label, FILE *out)
{
	for (; *label; label++)
		fputc(*label == '_' ? ' ' : *label, out);
}

static void put_event(const struct pg_follow_note *note, enum pg_follow_event event, FILE *out)
{
	put_words(pg_follow_event_label(event), out);
	if (event == PG_FOLLOW_DUPLICATE_ACK)
		fprintf(out, " %u", note->duplicates);
	else if (event == PG_FOLLOW_GAP)
		fprintf(out, " of %u bytes", note->missing);
}

void pg_follow_note_line(const struct pg_follow_note *note, FILE *out)
{
	const char *separator = "; ";

	if (!note->connection) {
		fputs("    not followed: too many connections at once\n", out);
		return;
	}
	fprintf(out, "    #%" PRIu64 " from %s: client %s, server %s; next %u", note->connection,
		end_names[note->sender], pg_tcp_state_label(note->states[0]),
		pg_tcp_state_label(note->states[1]), note->next);
	if (note->acked)
		fprintf(out, ", acks %u", note->acked);
	if (note->in_flight)
		fprintf(out, ", in flight %u", note->in_flight);
	for (int event = 0; event < PG_FOLLOW_EVENT_COUNT; event++) {
		if (!(note->events & PG_FOLLOW_BIT(event)))
			continue;
		fputs(separator, out);
		separator = ", ";
		put_event(note, event, out);
	}
	fputc('\n', out);
}

static void put_seconds(int64_t us, FILE *out)
{
	fprintf(out, "%" PRId64 ".%06" PRId64 " s", us / 1000000, us % 1000000);
}

static void put_ends(const struct pg_follow_report *report, FILE *out)
{
	char client[PG_PEER_TEXT], server[PG_PEER_TEXT];

	fprintf(out, "connection #%" PRIu64 " %s > %s: ", report->connection,
		pg_address_print_peer(&report->ends[0], client),
		pg_address_print_peer(&report->ends[1], server));
	fputs(pg_follow_end_text(report->end), out);
	fprintf(out, "; client %s, server %s\n", pg_tcp_state_label(report->states[0]),
		pg_tcp_state_label(report->states[1]));
}

static void put_times(const struct pg_follow_report *report, FILE *out)
{
	fputs("    ", out);
	if (report->handshake_us >= 0) {
		fputs("handshake ", out);
		put_seconds(report->handshake_us, out);
		if (report->server_us >= 0 && report->client_us >= 0) {
			fputs(" (server ", out);
			put_seconds(report->server_us, out);
			fputs(", client ", out);
			put_seconds(report->client_us, out);
			fputc(')', out);
		}
	} else {
		fputs(report->whole ? "handshake not complete" : "handshake not captured", out);
	}
	fputs(", lasted ", out);
	put_seconds(report->last_us - report->first_us, out);
	fputc('\n', out);
}

static void put_bytes(const struct pg_follow_report *report, FILE *out)
{
	for (int end = 0; end < 2; end++) {
		const struct pg_follow_way *way = &report->ways[end];

		fprintf(out, "%s%s: %" PRIu64 " segments, %" PRIu64 " bytes", end ? "; " : "    ",
			end_names[end], way->segments, way->bytes);
		if (way->bytes_again)
			fprintf(out, ", %" PRIu64 " again", way->bytes_again);
		if (way->bytes_missing)
			fprintf(out, ", %" PRIu64 " missing", way->bytes_missing);
	}
	fputc('\n', out);
}

static void put_unusual(const struct pg_follow_report *report, FILE *out)
{
	const char *separator = "";

	fputs("    unusual: ", out);
	for (int end = 0; end < 2; end++)
		for (int event = 0; event < PG_FOLLOW_EVENT_COUNT; event++) {
			if (!pg_follow_event_unusual(event) || !report->ways[end].events[event])
				continue;
			fprintf(out, "%s%s ", separator, end_names[end]);
			separator = ", ";
			put_words(pg_follow_event_label(event), out);
			fprintf(out, " %u", report->ways[end].events[event]);
		}
	fputs(*separator ? "\n" : "nothing\n", out);
}

void pg_follow_report_lines(const struct pg_follow_report *report, FILE *out)
{
	put_ends(report, out);
	put_times(report, out);
	put_bytes(report, out);
	put_unusual(report, out);
}
