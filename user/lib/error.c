// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdarg.h>
#include <stdio.h>

#include "error.h"

int pg_error_set(struct pg_error *error, int code, const char *format, ...)
{
	va_list args;

	if (!error)
		return code;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return code;
}

int pg_error_prefix(struct pg_error *error, int code, const char *format, ...)
{
	struct pg_error inner;
	va_list args;
	int n;

	if (!error)
		return code;
	inner = *error;
	va_start(args, format);
	n = vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof(error->text))
		snprintf(error->text + n, sizeof(error->text) - n, ": %.*s",
			 (int)(sizeof(inner.text) - n), inner.text);
	return code;
}
