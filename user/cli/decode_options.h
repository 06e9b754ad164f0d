/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_DECODE_OPTIONS_H
#define PG_DECODE_OPTIONS_H

#include "decode_source.h"
#include "decode_time.h"
#include "dissect.h"

#define DECODE_SESSION_PORT 4000 /* unless --session-port says otherwise */
#define DECODE_FILTER_MAX   4096 /* bytes of a filter expression */

/* The command line of `packgate decode`. Texts belong to argv. */
struct decode_options {
	struct decode_source_options source;
	struct pg_ports session_ports, message_ports;
	const char *secrets_file; /* NULL: none */
	uint64_t count;		  /* packets to print, 0 = all */
	enum decode_time_format time_format;
	bool guard, verbose, absolute, line_buffered, follow, help;
	char filter[DECODE_FILTER_MAX];
};

/*
 * Reads argv[1..argc). Returns CLI_DONE, or CLI_USAGE after a sentence. source.filter points into
 * ret_options, which is not moved then.
 */
int decode_options_parse(int argc, char **argv, struct decode_options *ret_options);

/* Prints the help of the verb; returns CLI_DONE. */
int decode_options_help(void);

#endif
