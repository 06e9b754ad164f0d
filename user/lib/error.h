/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ERROR_H
#define PG_ERROR_H

/*
 * How a failure travels: a function returns 0 or a negative errno, and, where a person will read
 * the reason, fills a struct pg_error with one sentence: what was attempted, on what, why it
 * failed, what to do. Library code never prints it.
 */
struct pg_error {
	char text[320];
};

/*
 * Writes the sentence (cut at the buffer's end) and returns code, so that a failure reads
 * `return pg_error_set(error, -EINVAL, "...")`. error may be NULL.
 */
int pg_error_set(struct pg_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts a prefix and ": " in front of a sentence that a lower layer wrote. */
int pg_error_prefix(struct pg_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
