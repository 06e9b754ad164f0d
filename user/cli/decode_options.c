// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "decode_options.h"

#define SNAP_BYTES 262144

enum long_option {
	OPT_SESSION_PORT = 256,
	OPT_MESSAGE_PORT,
	OPT_GUARD,
	OPT_SECRETS,
	OPT_FOLLOW,
};

static const struct option long_options[] = {
	{ "session-port", required_argument, NULL, OPT_SESSION_PORT },
	{ "message-port", required_argument, NULL, OPT_MESSAGE_PORT },
	{ "guard", required_argument, NULL, OPT_GUARD },
	{ "secrets", required_argument, NULL, OPT_SECRETS },
	{ "follow", no_argument, NULL, OPT_FOLLOW },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

int decode_options_help(void)
{
	puts("usage: packgate decode FILE [OPTION...] [FILTER]\n"
	     "       packgate decode -i INTERFACE [OPTION...] [FILTER]\n\n"
	     "Decodes packets of a pcap or pcapng file, or of an interface until interrupted: one\n"
	     "line a packet as tcpdump writes it; with -v every field below it, with --json one\n"
	     "object a line. FILTER is a pcap filter expression.\n\n"
	     "  -i INTERFACE         capture there; any = on all of them\n"
	     "  -r FILE              read FILE; the same as FILE alone, - is stdin\n"
	     "  -c COUNT             end after COUNT packets\n"
	     "  -v                   print every field\n"
	     "  -S                   sequence numbers as on the wire, not counted from the SYN\n"
	     "  -t -tt -ttt -tttt -ttttt\n"
	     "                       no time; Unix time; since the packet before; with the date;\n"
	     "                       since the first packet\n"
	     "  -l                   hand every line on at once, into a pipe too\n"
	     "  -n                   accepted: names are never looked up\n"
	     "  -p                   do not put the interface into promiscuous mode\n"
	     "  -s BYTES             keep so much of a packet (default 262144)\n"
	     "  --session-port PORT  UDP port of an endpoint, up to 16 times (default 4000);\n"
	     "                       0 = none\n"
	     "  --message-port PORT  read messages in TCP connections and opened packets of PORT, "
	     "up\n"
	     "                       to 16 times\n"
	     "  --guard on|off       whether those endpoints have the guard on (default on)\n"
	     "  --secrets FILE       open sealed frames: lines of CLIENT-ID SERVER-ID HEX [AEAD];\n"
	     "                       - is stdin\n"
	     "  --follow             follow TCP connections: the states of both ends below every\n"
	     "                       packet, a report about each connection when it ends\n\n"
	     "Exit codes: 0 done, 1 failed, 2 wrong usage or filter. See docs/decode.md.");
	return CLI_DONE;
}

static int add_port(struct pg_ports *ports, const char *name, const char *text)
{
	unsigned long long port;

	if (!cli_number(text, 0, 65535, &port))
		return cli_fail(CLI_USAGE, "decode: --%s must be 0 to 65535, not \"%s\"", name,
				text);
	if (!port || pg_ports_has(ports, (uint16_t)port))
		return CLI_DONE;
	if (ports->count == PG_PORTS_MAX)
		return cli_fail(CLI_USAGE, "decode: more than %d times --%s", PG_PORTS_MAX, name);
	ports->port[ports->count++] = (uint16_t)port;
	return CLI_DONE;
}

static int read_number(const char *option, const char *text, unsigned long long max,
		       unsigned long long *ret_number)
{
	if (cli_number(text, 1, max, ret_number))
		return CLI_DONE;
	return cli_fail(CLI_USAGE, "decode: %s must be 1 to %llu, not \"%s\"", option, max, text);
}

static int take_flag(int letter, struct decode_options *options)
{
	switch (letter) {
	case 'l':
		options->line_buffered = true;
		break;
	case 'p':
		options->source.promiscuous = false;
		break;
	case 'S':
		options->absolute = true;
		break;
	case 'v':
		options->verbose = true;
		break;
	case OPT_FOLLOW:
		options->follow = true;
		break;
	case 'h':
		options->help = true;
		break;
	case 't':
		if (options->time_format + 1 < DECODE_TIME_FORMATS)
			options->time_format++;
		else
			return cli_fail(CLI_USAGE, "decode: -t goes up to -ttttt");
		break;
	}
	return CLI_DONE;
}

static int take_value(int letter, const char *text, struct decode_options *options)
{
	unsigned long long number = 0;
	int rc = CLI_DONE;

	switch (letter) {
	case 'c':
		rc = read_number("-c", text, UINT_MAX, &number);
		options->count = number;
		break;
	case 's':
		rc = read_number("-s", text, SNAP_BYTES, &number);
		options->source.snap_bytes = (int)number;
		break;
	case 'i':
		options->source.interface = text;
		break;
	case 'r':
		options->source.file = text;
		break;
	case OPT_SECRETS:
		options->secrets_file = text;
		break;
	case OPT_SESSION_PORT:
		return add_port(&options->session_ports, "session-port", text);
	case OPT_MESSAGE_PORT:
		return add_port(&options->message_ports, "message-port", text);
	case OPT_GUARD:
		if (strcmp(text, "on") && strcmp(text, "off"))
			return cli_fail(CLI_USAGE, "decode: --guard must be on or off, not \"%s\"",
					text);
		options->guard = !strcmp(text, "on");
		break;
	}
	return rc;
}

static int take_option(int letter, char **argv, struct decode_options *options, bool *ports_given)
{
	const char *word = argv[optind - 1];

	if (letter == '?' || letter == ':') {
		if (letter == ':')
			return cli_fail(CLI_USAGE, "decode: %s needs a value", word);
		if (optopt && optopt < 256)
			return cli_fail(CLI_USAGE,
					"decode: unknown option -%c; see packgate decode --help",
					optopt);
		return cli_fail(CLI_USAGE, "decode: unknown option %s; see packgate decode --help",
				word);
	}
	*ports_given |= letter == OPT_SESSION_PORT;
	return optarg ? take_value(letter, optarg, options) : take_flag(letter, options);
}

/* The words left: FILE unless -i or -r was given, then the filter. */
static int take_operands(int argc, char **argv, struct decode_options *options)
{
	size_t used = 0, length;
	int i = 0;

	if (options->source.interface && options->source.file)
		return cli_fail(CLI_USAGE, "decode: -i and -r at once");
	if (!options->source.interface && !options->source.file) {
		if (!argc)
			return cli_fail(CLI_USAGE, "decode: which FILE, or -i INTERFACE?");
		options->source.file = argv[i++];
	}
	for (; i < argc; i++) {
		length = strlen(argv[i]);
		if (used + length + 2 > sizeof(options->filter))
			return cli_fail(CLI_USAGE, "decode: the filter is longer than %d bytes",
					DECODE_FILTER_MAX - 2);
		if (used)
			options->filter[used++] = ' ';
		memcpy(options->filter + used, argv[i], length);
		used += length;
	}
	options->filter[used] = 0;
	options->source.filter = used ? options->filter : NULL;
	return CLI_DONE;
}

int decode_options_parse(int argc, char **argv, struct decode_options *ret_options)
{
	bool ports_given = false;
	int letter, rc = CLI_DONE;

	*ret_options = (struct decode_options){ .guard = true };
	ret_options->source.promiscuous = true;
	ret_options->source.snap_bytes = SNAP_BYTES;
	opterr = 0;
	while (!rc &&
	       (letter = getopt_long(argc, argv, ":c:hi:lnpr:s:Stv", long_options, NULL)) != -1)
		rc = take_option(letter, argv, ret_options, &ports_given);
	if (rc || ret_options->help)
		return rc;
	if (!ports_given)
		ret_options->session_ports =
			(struct pg_ports){ .port = { DECODE_SESSION_PORT }, .count = 1 };
	return take_operands(argc - optind, argv + optind, ret_options);
}
