// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client_options.h"
#include "commands.h"

#define WORDS_MAX 64

struct cli_globals cli = { .control = CLI_DEFAULT_CONTROL };

#define END                      \
	{                        \
		NULL, NULL, NULL \
	}

static const struct cli_option attach_options[] = {
	{ "confirm", "SECONDS",
	  "detach again after SECONDS unless `packgate confirm` comes first" },
	END,
};

static const struct cli_option detach_options[] = {
	{ "all", NULL, "every interface" },
	{ "instance", "NAME", "the agent's instance, where no agent runs (default: default)" },
	END,
};

static const struct cli_option session_add_options[] = {
	{ "endpoint", "NAME", "the endpoint it belongs to" },
	{ "client-id", "ID", "1 to 65535, decimal or 0x" },
	{ "server-id", "ID", "1 to 65535, decimal or 0x" },
	{ "peer", "ADDRESS", "the client: A.B.C.D:PORT or [v6]:PORT" },
	{ "secret", "HEX64", "its secret; other users see it in ps, prefer --secret-file" },
	{ "secret-file", "PATH", "read the secret's 64 hex digits from a file, - is stdin" },
	{ "aead", "NAME", "chacha20-poly1305 (default) or aes-256-gcm" },
	{ "expires", "SECONDS", "end the session then; default: never" },
	{ "from", "FILE", "add one session per JSON line, all or none; - is stdin" },
	END,
};

static const struct cli_option session_list_options[] = {
	{ "endpoint", "NAME", "only the sessions of this endpoint" },
	END,
};

static const struct cli_option session_close_options[] = {
	{ "code", "WORD", "what the peer is told: normal (default), error or expired" },
	END,
};

static const struct cli_option stream_list_options[] = {
	{ "session", "ID", "only the streams of this session" },
	END,
};

static const struct cli_option listeners_options[] = {
	{ "netns", "NAME", "all, own, or a namespace by name, inode or container id" },
	{ "explain", NULL,
	  "what limits each, what happens to the next SYN and ACK, what to change" },
	{ "port", "PORT", "explain only the listeners on this port" },
	END,
};

static const struct cli_option shield_on_options[] = {
	{ "set-sysctl", NULL, "set the sysctls that are missing, until no shield is left" },
	END,
};

static const struct cli_option shield_auto_options[] = {
	{ "threshold", "PERCENT", "on from so much of the SYN queue's limit (default 50)" },
	{ "set-sysctl", NULL, "set the sysctls that are missing, until no shield is left" },
	END,
};

static const struct cli_option drops_options[] = {
	{ "follow", NULL, "show drops as they happen, until interrupted" },
	END,
};

static const struct cli_option top_options[] = {
	{ "interval", "SECONDS", "between two looks, 1 (default) to 60" },
	{ "sort", "WORD", "listeners by: accept (default) or syn queue, or name" },
	{ "once", NULL, "print one page and end" },
	END,
};

static const struct cli_option keygen_options[] = {
	{ "secret", NULL, "print a random session secret instead" },
	{ "public", "FILE", "print the public key of a private key that exists" },
	END,
};

static const struct cli_option token_mint_options[] = {
	{ "jwt", "ALGORITHM", "HS256, RS256 or ES256" },
	{ "key", "FILE", "the shared secret, or the PEM private key" },
	{ "sub", "USER", "whom the token names" },
	{ "aud", "ENDPOINT", "the endpoint it opens; default: any, where audience is off" },
	{ "expires", "SECONDS", "good for so long; default 300" },
	{ "after", "SECONDS", "not good before so long from now" },
	END,
};

static const struct cli_option token_verify_options[] = {
	{ "jwt", "ALGORITHM", "HS256, RS256 or ES256" },
	{ "key", "FILE", "the shared secret, or the PEM public key" },
	{ "list", "FILE", "look it up in a list of tokens instead" },
	{ "aud", "ENDPOINT", "it must name this endpoint" },
	END,
};

static const struct cli_option connect_options[] = {
	CLIENT_OPTIONS,
	{ "send", "FILE", "send a file instead of stdin" },
	{ "streams", "N", "cut the file in N parts, one a stream, in order of stream ids" },
	{ "packet", "BYTES", "of a packet (default: one frame, of a file 32 frames)" },
	{ "policy", "WORD", "send on a stream: reliable, newest or unordered" },
	{ "messages", NULL, "a line in is a message out, \"ID TEXT\", and the reverse" },
	{ "id", "N", "with --messages: of every line, which then is TEXT alone" },
	{ "tcp", NULL, "HOST:PORT is a TCP entrance: messages without a session" },
	{ "tls", NULL, "the same with TLS" },
	{ "ca", "FILE", "the same, whose certificate is signed by FILE's (PEM)" },
	{ "tls-name", "NAME", "that the certificate must have (default: HOST)" },
	{ "recv", "FILE", "write what comes to FILE (- is stdout) until the session ends" },
	{ "linger", "MS", "silence after stdin's end before closing (default 500)" },
	END,
};

static const struct cli_option perf_options[] = {
	CLIENT_OPTIONS,
	{ "seconds", "N", "time for each phase, 1 to 3600 (default 5)" },
	{ "size", "BYTES", "of a packet, 16 to 65536 (default 256)" },
	{ "streams", "N", "send on N streams instead of the session" },
	END,
};

static const struct cli_option doctor_options[] = {
	{ "config", "FILE", "examine the interfaces and endpoints of this configuration" },
	END,
};

static const struct cli_command commands[] = {
	{ "status", "", 0, 0, "show the agent, its interfaces and sessions", NULL, cmd_status, 0 },
	{ "attach", "INTERFACE", 1, 1, "attach the gate to an interface", attach_options,
	  cmd_attach, 0 },
	{ "confirm", "INTERFACE", 1, 1, "keep a gate that was attached with --confirm", NULL,
	  cmd_confirm, 0 },
	{ "detach", "[INTERFACE]", 0, 1, "detach the gate, with or without a running agent",
	  detach_options, cmd_detach, 0 },
	{ "reload", "", 0, 0, "let the agent read its configuration again", NULL, cmd_reload, 0 },
	{ "endpoint list", "", 0, 0, "list the endpoints", NULL, cmd_endpoint_list, 0 },
	{ "entrance list", "", 0, 0, "list the TCP entrances and what they refused", NULL,
	  cmd_entrance_list, 0 },
	{ "session add", "", 0, 0, "provision a session", session_add_options, cmd_session_add, 0 },
	{ "session list", "", 0, 0, "list the sessions", session_list_options, cmd_session_list,
	  0 },
	{ "session show", "ID", 1, 1, "show one session", NULL, cmd_session_show, 0 },
	{ "session close", "ID", 1, 1, "end a session", session_close_options, cmd_session_close,
	  0 },
	{ "stream list", "", 0, 0, "list the streams", stream_list_options, cmd_stream_list, 0 },
	{ "listeners", "", 0, 0, "show the queues of the TCP listeners", listeners_options,
	  cmd_listeners, 0 },
	{ "shield on", "[ADDRESS:]PORT", 1, 1, "answer every SYN for a listener by a cookie",
	  shield_on_options, cmd_shield_on, 0 },
	{ "shield auto", "[ADDRESS:]PORT", 1, 1, "answer SYNs by cookies while its queue fills up",
	  shield_auto_options, cmd_shield_auto, 0 },
	{ "shield off", "[ADDRESS:]PORT", 1, 1, "leave a listener's SYNs to the kernel", NULL,
	  cmd_shield_off, 0 },
	{ "shield status", "", 0, 0, "show the shields, whose cookies they use, and switches", NULL,
	  cmd_shield_status, 0 },
	{ "drops", "", 0, 0, "show what was refused, by reason", drops_options, cmd_drops, 0 },
	{ "top", "", 0, 0, "watch verdicts, sessions and queues live", top_options, cmd_top, 0 },
	{ "metrics", "", 0, 0, "print the metrics", NULL, cmd_metrics, 0 },
	{ "keygen", "[FILE]", 0, 1, "make a key pair: the private key to FILE, the public one here",
	  keygen_options, cmd_keygen, 0 },
	{ "decode", "FILE [FILTER]", 0, 0, "decode the packets of a file or an interface", NULL, 0,
	  cmd_decode },
	{ "token mint", "", 0, 0, "sign a token for a client", token_mint_options, cmd_token_mint,
	  0 },
	{ "token verify", "[TOKEN]", 0, 1, "judge a token as the agent does; default: from stdin",
	  token_verify_options, cmd_token_verify, 0 },
	{ "connect", "HOST:PORT", 1, 1, "stdin and stdout over a session, as nc does for TCP",
	  connect_options, cmd_connect, 0 },
	{ "perf", "HOST:PORT", 1, 1, "measure throughput, loss and round trips of a session",
	  perf_options, cmd_perf, 0 },
	{ "ping", "HOST:PORT", 0, 0, "measure a server as a client of it", NULL, 0, cmd_ping },
	{ "doctor", "[INTERFACE...]", 0, CLI_OPERANDS_MAX,
	  "examine this machine and say what to do", doctor_options, cmd_doctor, 0 },
	{ "demo", "", 0, 0, "show it all in two network namespaces", NULL, 0, cmd_demo },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

struct words {
	char *argv[WORDS_MAX + 1];
	int argc;
	bool help, version;
};

static void print_globals(void)
{
	puts("\nGlobal options, before or after the verb:\n"
	     "  --control PATH   the agent's control socket (else $PACKGATE_CONTROL, else\n"
	     "                   " CLI_DEFAULT_CONTROL ")\n"
	     "  --json           print the JSON of the control API\n"
	     "  -h, --help       explain packgate, or the verb\n"
	     "  --version        print the version\n\n"
	     "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 agent unreachable.");
}

static int print_help(void)
{
	size_t i;

	puts("packgate steers packgated, the agent behind a packet gate for secure UDP "
	     "sessions.\n\n"
	     "usage: packgate [--control PATH] [--json] VERB ...\n");
	for (i = 0; i < COMMANDS; i++)
		printf("  %-14s %-15s %s\n", commands[i].words, commands[i].operands,
		       commands[i].summary);
	print_globals();
	return CLI_DONE;
}

/* The verbs of a group such as "session", and the global options. */
static int print_group_help(const char *word)
{
	size_t i, length = strlen(word);

	printf("usage: packgate %s VERB ...\n\n", word);
	for (i = 0; i < COMMANDS; i++)
		if (!strncmp(commands[i].words, word, length) && commands[i].words[length] == ' ')
			printf("  %-14s %-15s %s\n", commands[i].words, commands[i].operands,
			       commands[i].summary);
	print_globals();
	return CLI_DONE;
}

static int print_command_help(const struct cli_command *command)
{
	const struct cli_option *option;
	char text[64];

	printf("usage: packgate %s%s%s%s\n\n%s\n", command->words, *command->operands ? " " : "",
	       command->operands, command->options ? " [OPTION...]" : "", command->summary);
	if (command->options)
		puts("");
	for (option = command->options; option && option->name; option++) {
		snprintf(text, sizeof(text), "--%s %s", option->name,
			 option->value ? option->value : "");
		printf("  %-22s %s\n", text, option->help);
	}
	print_globals();
	return CLI_DONE;
}

/* --- finding the verb --------------------------------------------------------------------------
 */

/* Whether the words at argv begin with the command's; how many words those are. */
static int match_words(const char *words, int argc, char **argv)
{
	int taken = 0;

	while (*words) {
		size_t length = strcspn(words, " ");

		if (taken == argc || strlen(argv[taken]) != length ||
		    memcmp(argv[taken], words, length))
			return 0;
		taken++;
		words += length + (words[length] == ' ');
	}
	return taken;
}

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Edits between two short words. */
static size_t distance(const char *a, const char *b)
{
	size_t row[WORDS_MAX], i, j, n = strlen(b);

	if (n >= WORDS_MAX)
		return n;
	for (j = 0; j <= n; j++)
		row[j] = j;
	for (i = 1; a[i - 1]; i++) {
		size_t before = row[0];

		row[0] = i;
		for (j = 1; j <= n; j++) {
			size_t diagonal = before + (a[i - 1] != b[j - 1]);

			before = row[j];
			row[j] = least(row[j] + 1, row[j - 1] + 1, diagonal);
		}
	}
	return row[n];
}

/* `help` as a verb is `--help` at its place. */
static void take_help_verb(struct words *words)
{
	if (!words->argc || strcmp(words->argv[0], "help"))
		return;
	words->help = true;
	words->argc--;
	memmove(words->argv, words->argv + 1, sizeof(words->argv[0]) * (size_t)words->argc);
}

/* The verbs that begin with a first word such as "session"; "" if there are none. */
static void list_group(const char *word, char text[128])
{
	size_t i, used = 0, length = strlen(word);

	text[0] = 0;
	for (i = 0; i < COMMANDS && used < 128; i++)
		if (!strncmp(commands[i].words, word, length) && commands[i].words[length] == ' ')
			used += (size_t)snprintf(text + used, 128 - used, "%s%s", used ? ", " : "",
						 commands[i].words);
}

static bool is_group(const char *word)
{
	char group[128];

	list_group(word, group);
	return *group;
}

static int suggest(int argc, char **argv)
{
	const char *nearest = NULL;
	char given[WORDS_MAX], group[128];
	size_t i, best = 4;

	list_group(argv[0], group);
	snprintf(given, sizeof(given), "%s%s%s", argv[0], argc > 1 ? " " : "",
		 argc > 1 ? argv[1] : "");
	for (i = 0; i < COMMANDS; i++) {
		const char *words = commands[i].words;
		size_t d = distance(strchr(words, ' ') ? given : argv[0], words);

		if (d < best) {
			best = d;
			nearest = words;
		}
	}
	if (*group && argc == 1)
		return cli_fail(CLI_USAGE, "%s needs a verb; there are: %s", argv[0], group);
	if (nearest)
		return cli_fail(CLI_USAGE, "unknown verb \"%s\"; did you mean \"%s\"?",
				*group ? given : argv[0], nearest);
	if (*group)
		return cli_fail(CLI_USAGE, "unknown verb \"%s\"; there are: %s", given, group);
	return cli_fail(CLI_USAGE, "unknown verb \"%s\"; see packgate --help", argv[0]);
}

static const struct cli_command *find_command(int argc, char **argv, int *ret_taken)
{
	size_t i;

	for (i = 0; i < COMMANDS; i++) {
		*ret_taken = match_words(commands[i].words, argc, argv);
		if (*ret_taken)
			return &commands[i];
	}
	return NULL;
}

/* --- the global options ------------------------------------------------------------------------
 */

static bool take_flag(const char *word, struct words *words)
{
	bool *flag = !strcmp(word, "--json")	  ? &cli.json
		     : !strcmp(word, "--help")	  ? &words->help
		     : !strcmp(word, "-h")	  ? &words->help
		     : !strcmp(word, "--version") ? &words->version
						  : NULL;

	if (flag)
		*flag = true;
	return flag != NULL;
}

/* Takes the global options out; after "--" nothing is one. */
static int take_globals(int argc, char **argv, struct words *words)
{
	bool plain = false;
	int i;

	for (i = 1; i < argc; i++) {
		char *word = argv[i];

		plain |= !strcmp(word, "--");
		if (!plain && take_flag(word, words))
			continue;
		if (!plain && !strncmp(word, "--control=", 10)) {
			cli.control = word + 10;
		} else if (!plain && !strcmp(word, "--control")) {
			if (++i == argc)
				return cli_fail(CLI_USAGE, "--control needs PATH");
			cli.control = argv[i];
		} else if (words->argc == WORDS_MAX) {
			return cli_fail(CLI_USAGE, "more than %d words", WORDS_MAX);
		} else {
			words->argv[words->argc++] = word;
		}
	}
	return *cli.control ? CLI_DONE : cli_fail(CLI_USAGE, "--control needs PATH");
}

static int run(const struct cli_command *command, int taken, struct words *words)
{
	static char help[] = "--help";
	struct cli_args args;
	int rc;

	if (command->run_plain) {
		if (words->help) {
			words->argv[taken] = help;
			words->argc = taken + 1;
		}
		return command->run_plain(words->argc - taken + 1, words->argv + taken - 1);
	}
	if (words->help)
		return print_command_help(command);
	rc = cli_args_parse(command, words->argc - taken, words->argv + taken, &args);
	return rc ? rc : command->run(&args);
}

static int run_words(struct words *words)
{
	const struct cli_command *command;
	int taken;

	take_help_verb(words);
	if (words->version) {
		puts("packgate " PG_VERSION);
		return CLI_DONE;
	}
	if (!words->argc && words->help)
		return print_help();
	if (!words->argc)
		return cli_fail(CLI_USAGE, "which verb? See packgate --help");
	command = find_command(words->argc, words->argv, &taken);
	if (!command && words->help && words->argc == 1 && is_group(words->argv[0]))
		return print_group_help(words->argv[0]);
	if (!command)
		return suggest(words->argc, words->argv);
	return run(command, taken, words);
}

/* Whoever read the output has seen enough, as head does: nothing failed. */
static bool reader_left(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

static int finish(int rc)
{
	bool written = !fflush(stdout) && !ferror(stdout);

	if (written || reader_left())
		return rc;
	return cli_fail(rc ? rc : CLI_FAILED, "the output could not be written");
}

int main(int argc, char **argv)
{
	const char *control = getenv("PACKGATE_CONTROL");
	struct words words = { 0 };
	int rc;

	signal(SIGPIPE, SIG_IGN);
	if (control && *control)
		cli.control = control;
	rc = take_globals(argc, argv, &words);
	return finish(rc ? rc : run_words(&words));
}
