// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

int cli_fail(int code, const char *format, ...)
{
	char text[2048], *c;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	fflush(stdout);
	fprintf(stderr, "packgate: %s\n", text);
	return code;
}

bool cli_number(const char *text, unsigned long long min, unsigned long long max,
		unsigned long long *ret_number)
{
	bool hex = !strncmp(text, "0x", 2);
	const char *digits = hex ? text + 2 : text;
	unsigned long long number;

	if (!*digits || strlen(digits) > 16 ||
	    digits[strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789")])
		return false;
	number = strtoull(digits, NULL, hex ? 16 : 10);
	if (number < min || number > max)
		return false;
	*ret_number = number;
	return true;
}

static size_t find_option(const struct cli_option *options, const char *name, size_t length)
{
	size_t i;

	for (i = 0; options && options[i].name; i++)
		if (strlen(options[i].name) == length && !memcmp(options[i].name, name, length))
			return i;
	return CLI_OPTIONS_MAX;
}

const char *cli_option(const struct cli_args *args, const char *name)
{
	size_t i = find_option(args->options, name, strlen(name));

	return i < CLI_OPTIONS_MAX ? args->values[i] : NULL;
}

/* Takes the option at argv[*at] and its value; none has a single dash. */
static int take_option(const char *verb, int argc, char **argv, int *at, struct cli_args *args)
{
	const char *name = argv[*at] + 2, *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);
	size_t i = argv[*at][1] == '-' ? find_option(args->options, name, length) : CLI_OPTIONS_MAX;
	const struct cli_option *option;

	if (i == CLI_OPTIONS_MAX)
		return cli_fail(CLI_USAGE, "%s: unknown option %s; see packgate %s --help", verb,
				argv[*at], verb);
	option = &args->options[i];
	if (args->values[i])
		return cli_fail(CLI_USAGE, "%s: --%s is given twice", verb, option->name);
	if (!option->value) {
		args->values[i] = "";
		return equals ? cli_fail(CLI_USAGE, "%s: --%s takes no value", verb, option->name)
			      : CLI_DONE;
	}
	if (!equals && *at + 1 == argc)
		return cli_fail(CLI_USAGE, "%s: --%s needs %s", verb, option->name, option->value);
	args->values[i] = equals ? equals + 1 : argv[++*at];
	return CLI_DONE;
}

static int count_operands(const struct cli_command *command, const struct cli_args *args)
{
	const char *verb = command->words;

	if (args->operand_count > command->operands_max)
		return cli_fail(CLI_USAGE,
				"%s: \"%s\" is one word too many; see packgate %s --help", verb,
				args->operands[command->operands_max], verb);
	if (args->operand_count < command->operands_min)
		return cli_fail(CLI_USAGE, "%s: %s is missing; see packgate %s --help", verb,
				command->operands, verb);
	return CLI_DONE;
}

int cli_args_parse(const struct cli_command *command, int argc, char **argv,
		   struct cli_args *ret_args)
{
	struct cli_args args = { .options = command->options };
	bool only_operands = false;
	int i, rc;

	for (i = 0; i < argc; i++) {
		if (!only_operands && !strcmp(argv[i], "--")) {
			only_operands = true;
		} else if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
			rc = take_option(command->words, argc, argv, &i, &args);
			if (rc)
				return rc;
		} else if (args.operand_count == CLI_OPERANDS_MAX) {
			return cli_fail(CLI_USAGE, "%s: too many words", command->words);
		} else {
			args.operands[args.operand_count++] = argv[i];
		}
	}
	rc = count_operands(command, &args);
	if (!rc)
		*ret_args = args;
	return rc;
}
