/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_BENCH_REPORT_H
#define PG_BENCH_REPORT_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * What tests/bench/run reads from a bench program: one line a fact, fields apart by tabs.
 *	value KEY NUMBER UNIT LABEL	goes into the table and into bench.json
 *	note TEXT			goes into the table alone
 */
static inline void report_value(const char *key, double value, const char *unit, const char *label)
{
	printf("value\t%s\t%.4f\t%s\t%s\n", key, value, unit, label);
	fflush(stdout);
}

static inline void report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline void report_note(const char *format, ...)
{
	va_list args;

	fputs("note\t", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

static inline int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Sorts values. */
static inline double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare_doubles);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

#endif
