// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "log.h"

static bool json;

static const char *const names[] = {
	[PG_LOG_ERROR] = "error",
	[PG_LOG_WARNING] = "warning",
	[PG_LOG_INFO] = "info",
};

void pg_log_json(bool on)
{
	json = on;
}

static void print_json(enum pg_log_level level, const char *text)
{
	struct timespec now;
	json_t *line;
	char *dump;

	clock_gettime(CLOCK_REALTIME, &now);
	line = json_pack("{s:f,s:s,s:s}", "time", now.tv_sec + now.tv_nsec / 1e9, "level",
			 names[level], "message", text);
	dump = line ? json_dumps(line, JSON_COMPACT) : NULL;
	if (dump)
		fprintf(stderr, "%s\n", dump);
	free(dump);
	json_decref(line);
}

void pg_log(enum pg_log_level level, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (json)
		print_json(level, text);
	else
		fprintf(stderr, "packgated: %s: %s\n", names[level], text);
}
