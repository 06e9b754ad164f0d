/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_LOG_H
#define PG_LOG_H

#include <stdbool.h>

/* The agent's only voice: one line an event on stderr, plain or as JSON. Thread-safe. */
enum pg_log_level {
	PG_LOG_ERROR,
	PG_LOG_WARNING,
	PG_LOG_INFO,
};

void pg_log_json(bool on);
void pg_log(enum pg_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define pg_error_log(...)   pg_log(PG_LOG_ERROR, __VA_ARGS__)
#define pg_warning_log(...) pg_log(PG_LOG_WARNING, __VA_ARGS__)
#define pg_info_log(...)    pg_log(PG_LOG_INFO, __VA_ARGS__)

#endif
