/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_DEMO_REPORT_H
#define PG_CLI_DEMO_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "demo_agent.h"

/* What the demo did, what should have become of it, and what did. */
#define DEMO_ROWS_MAX	  64
#define DEMO_PROBLEMS_MAX 64

struct demo_row {
	const char *kind;
	char what[64];
	char expected[32];
	uint32_t frames;
	uint32_t counted; /* frames that met what was expected */
};

struct demo_report {
	struct demo_row rows[DEMO_ROWS_MAX];
	size_t row_count;
	uint64_t refused[PG_DROP_SLOTS]; /* that should be, by reason */
	uint64_t delivered;		 /* messages that should be */
	uint64_t heartbeats;		 /* that should be answered */
	uint64_t opened;		 /* data frames that should be, for the first time */
	char problems[DEMO_PROBLEMS_MAX][200];
	size_t problem_count;
};

/* Adds a row; counted != frames is a problem by itself. */
void demo_report_row(struct demo_report *report, const char *kind, const char *what,
		     const char *expected, uint32_t frames, uint32_t counted);

/* Adds a line that says which number does not add up. */
void demo_report_problem(struct demo_report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A problem unless both numbers are equal. */
void demo_report_equal(struct demo_report *report, const char *what, uint64_t counted,
		       uint64_t expected);

void demo_report_print_rows(const struct demo_report *report);

/* The table of refusals by reason; each reason that does not add up becomes a problem. */
void demo_report_print_refused(struct demo_report *report, const struct demo_counts *counts);

#endif
