/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_H
#define PG_CLI_H

#include <stdbool.h>
#include <stddef.h>

/* What `packgate` exits with (DESIGN section 6). */
enum cli_exit {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3,
};

#define CLI_DEFAULT_CONTROL "/run/packgate/control.sock"

/* The global options; they stand before or after the verb. */
struct cli_globals {
	const char *control; /* --control, PACKGATE_CONTROL, or the default */
	bool json;
};

extern struct cli_globals cli;

struct cli_option {
	const char *name;  /* without the two dashes */
	const char *value; /* what it takes, in capitals; NULL for a flag */
	const char *help;
};

#define CLI_OPTIONS_MAX	 32
#define CLI_OPERANDS_MAX 16

/* The words after the verb, sorted. Texts belong to argv. */
struct cli_args {
	const struct cli_option *options; /* ended by a NULL name */
	const char *values[CLI_OPTIONS_MAX];
	const char *operands[CLI_OPERANDS_MAX];
	size_t operand_count;
};

/* The value of an option, "" for a flag that is set, NULL if it is not given. */
const char *cli_option(const struct cli_args *args, const char *name);

/*
 * A verb. Either run gets sorted words, or run_plain the words as they are (argv[0] is the verb,
 * the global options are taken out; it answers --help itself). Both return an enum cli_exit and
 * have said on stderr why it is not 0.
 */
struct cli_command {
	const char *words; /* "session add" */
	const char *operands;
	size_t operands_min, operands_max;
	const char *summary;
	const struct cli_option *options;
	int (*run)(const struct cli_args *args);
	int (*run_plain)(int argc, char **argv);
};

/*
 * Sorts argv[0..argc) by the command's words, operands and options; its other members may be NULL.
 * An option begins with a dash; "-" alone, and what stands behind "--", are operands. Returns
 * CLI_DONE, or CLI_USAGE after a sentence that names the word and the verb.
 */
int cli_args_parse(const struct cli_command *command, int argc, char **argv,
		   struct cli_args *ret_args);

/* Says "packgate: sentence" on stderr, a ? for every control character in it; returns code. */
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A whole number, decimal or 0x; false if it is none or outside min..max. */
bool cli_number(const char *text, unsigned long long min, unsigned long long max,
		unsigned long long *ret_number);

#endif
