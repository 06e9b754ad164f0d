// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "demo_report.h"
#include "output.h"

void demo_report_problem(struct demo_report *report, const char *format, ...)
{
	va_list args;

	if (report->problem_count == DEMO_PROBLEMS_MAX)
		return;
	va_start(args, format);
	vsnprintf(report->problems[report->problem_count++], sizeof(report->problems[0]), format,
		  args);
	va_end(args);
}

void demo_report_equal(struct demo_report *report, const char *what, uint64_t counted,
		       uint64_t expected)
{
	if (counted != expected)
		demo_report_problem(report, "%s: %llu, expected %llu", what,
				    (unsigned long long)counted, (unsigned long long)expected);
}

void demo_report_row(struct demo_report *report, const char *kind, const char *what,
		     const char *expected, uint32_t frames, uint32_t counted)
{
	struct demo_row *row = &report->rows[report->row_count];

	if (counted != frames)
		demo_report_problem(report, "%s (%s): %u of %u frames had the outcome \"%s\"", what,
				    kind, counted, frames, expected);
	if (report->row_count == DEMO_ROWS_MAX)
		return;
	row->kind = kind;
	snprintf(row->what, sizeof(row->what), "%s", what);
	snprintf(row->expected, sizeof(row->expected), "%s", expected);
	row->frames = frames;
	row->counted = counted;
	report->row_count++;
}

void demo_report_print_rows(const struct demo_report *report)
{
	struct table *table = table_new("OK|KIND|WHAT WAS SENT|>SENT|>DID|OUTCOME");
	const struct demo_row *row;

	for (row = report->rows; row < report->rows + report->row_count; row++) {
		table_cell(table, row->counted == row->frames ? "ok" : "WRONG");
		table_cell(table, "%s", row->kind);
		table_cell(table, "%s", row->what);
		table_cell(table, "%u", row->frames);
		table_cell(table, "%u", row->counted);
		table_cell(table, "%s", row->expected);
	}
	table_print(table, "nothing was sent");
}

void demo_report_print_refused(struct demo_report *report, const struct demo_counts *counts)
{
	struct table *table = table_new("REASON|>EXPECTED|>IN GATE|>IN AGENT|OK|MEANING");
	unsigned int i;

	for (i = 0; i < PG_DROP_SLOTS; i++) {
		uint64_t counted = counts->gate[i] + counts->agent[i];
		bool right = counted == report->refused[i];

		if (!counted && !report->refused[i])
			continue;
		table_cell(table, "%s", demo_reason_label(i));
		table_cell(table, "%llu", (unsigned long long)report->refused[i]);
		table_cell(table, "%llu", (unsigned long long)counts->gate[i]);
		table_cell(table, "%llu", (unsigned long long)counts->agent[i]);
		table_cell(table, right ? "ok" : "WRONG");
		table_cell(table, "%s", demo_reason_help(i));
		if (!right)
			demo_report_problem(report, "refused as %s: %llu frames, expected %llu",
					    demo_reason_label(i), (unsigned long long)counted,
					    (unsigned long long)report->refused[i]);
	}
	table_print(table, "nothing was refused");
}
