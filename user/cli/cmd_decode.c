// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <openssl/crypto.h>

#include "cleanup.h"
#include "commands.h"
#include "decode_options.h"
#include "fields.h"
#include "follow_fields.h"
#include "line.h"

struct decode {
	struct decode_options options;
	struct pg_secrets *secrets;
	struct pg_dissector *dissector;
	struct pg_follow *follow; /* NULL: connections are not followed */
	struct decode_source *source;
	struct decode_clock clock;
	uint64_t packets;
};

static struct decode_source *interrupted_source;

static void interrupt(int number)
{
	decode_source_stop(interrupted_source);
}

/* --- secrets -----------------------------------------------------------------------------------
 */

static int add_lines(struct pg_secrets *secrets, FILE *file, const char *name)
{
	char line[PG_SECRETS_LINE_MAX];
	struct pg_error error = { "" };
	unsigned int number = 0;
	int rc = 0;

	while (!rc && fgets(line, sizeof(line), file)) {
		number++;
		rc = !strchr(line, '\n') && !feof(file)
			     ? pg_error_set(&error, -EINVAL, "the line is too long")
			     : pg_secrets_add(secrets, line, &error);
	}
	OPENSSL_cleanse(line, sizeof(line));
	if (rc)
		return cli_fail(CLI_FAILED, "decode: %s line %u: %s", name, number, error.text);
	if (ferror(file))
		return cli_fail(CLI_FAILED, "decode: read %s: %s", name, strerror(errno));
	return CLI_DONE;
}

static int read_secrets(struct decode *decode)
{
	const char *name = decode->options.secrets_file;
	bool stdin_given = name && !strcmp(name, "-");
	PG_FCLOSE FILE *file = NULL;
	char buffer[BUFSIZ];
	int rc;

	if (!name)
		return CLI_DONE;
	if (stdin_given && decode->options.source.file && !strcmp(decode->options.source.file, "-"))
		return cli_fail(CLI_USAGE, "decode: packets and secrets both from stdin");
	file = stdin_given ? fdopen(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), "r")
			   : fopen(name, "re");
	if (!file)
		return cli_fail(CLI_FAILED, "decode: open %s: %s", name, strerror(errno));
	if (pg_secrets_new(&decode->secrets))
		return cli_fail(CLI_FAILED, "decode: out of memory");
	setvbuf(file, buffer, _IOFBF, sizeof(buffer));
	rc = add_lines(decode->secrets, file, name);
	fclose(TAKE_PTR(file));
	OPENSSL_cleanse(buffer, sizeof(buffer));
	return rc;
}

/* --- packets -----------------------------------------------------------------------------------
 */

static void print_packet(struct decode *decode, const struct pg_decoded *decoded)
{
	char time[DECODE_TIME_TEXT];

	if (cli.json) {
		pg_fields_write(decoded, &pg_fields_json, stdout);
		putchar('\n');
	} else {
		fputs(decode_time_text(&decode->clock, decoded->time_ns, time), stdout);
		pg_line_write(decoded, decode->options.absolute, stdout);
		putchar('\n');
		if (decode->options.verbose)
			pg_fields_write(decoded, &pg_fields_text, stdout);
		else if (decoded->follow)
			pg_follow_note_line(decoded->follow, stdout);
	}
}

/* Connections that ended. */
static void print_reports(struct decode *decode)
{
	struct pg_follow_report report;

	while (decode->follow && pg_follow_take(decode->follow, &report)) {
		if (cli.json) {
			pg_follow_report_fields(&report, &pg_fields_json, stdout);
			putchar('\n');
		} else {
			pg_follow_report_lines(&report, stdout);
		}
	}
}

static void take_packet(struct decode *decode, const struct pg_capture *capture)
{
	struct pg_decoded decoded;
	struct pg_segment segment;
	struct pg_follow_note note;

	pg_dissect(decode->dissector, capture, &decoded);
	if (decode->follow && pg_segment_of(&decoded, &segment)) {
		pg_follow_segment(decode->follow, &segment, &note);
		decoded.follow = &note;
	}
	print_packet(decode, &decoded);
	print_reports(decode);
	if (decode->options.line_buffered)
		fflush(stdout);
	decode->packets++;
}

static int read_packets(struct decode *decode)
{
	struct pg_error error = { "" };
	struct pg_capture capture;
	int rc = 0;

	while (!decode->options.count || decode->packets < decode->options.count) {
		rc = decode_source_next(decode->source, &capture, &error);
		if (rc < 0)
			break;
		if (rc)
			take_packet(decode, &capture);
		else
			fflush(stdout); /* nothing more for now: show what there is */
		if (ferror(stdout))
			return CLI_DONE; /* main() says so */
	}
	return rc < 0 && rc != -ENODATA ? cli_fail(CLI_FAILED, "decode: %s", error.text) : CLI_DONE;
}

/* What is still open is reported too. */
static void finish_follow(struct decode *decode)
{
	struct pg_follow_counts counts;

	if (!decode->follow)
		return;
	pg_follow_finish(decode->follow);
	print_reports(decode);
	pg_follow_count(decode->follow, &counts);
	fflush(stdout);
	if (counts.untracked)
		fprintf(stderr,
			"%" PRIu64 " segments were not followed: more connections at once than "
			"there is room for\n",
			counts.untracked);
}

/* What a person must know to read the lines right; on stderr, so that the output stays clean. */
static void print_summary(struct decode *decode)
{
	uint64_t given_up = pg_dissector_datagrams_given_up(decode->dissector);
	uint64_t forgotten = pg_dissector_connections_forgotten(decode->dissector);
	uint32_t received, lost;

	fflush(stdout);
	if (decode_source_counts(decode->source, &received, &lost))
		fprintf(stderr, "%" PRIu64 " packets decoded, %u passed the filter, %u lost\n",
			decode->packets, received, lost);
	if (given_up)
		fprintf(stderr, "%" PRIu64 " fragmented datagrams never became whole\n", given_up);
	if (forgotten)
		fprintf(stderr,
			"%" PRIu64 " connections were forgotten to make room; their relative "
			"numbers began anew\n",
			forgotten);
}

/* --- the verb ----------------------------------------------------------------------------------
 */

static int make_dissector(struct decode *decode)
{
	struct pg_dissect_options options = {
		.session_ports = decode->options.session_ports,
		.message_ports = decode->options.message_ports,
		.guard = decode->options.guard,
		.secrets = decode->secrets,
	};
	struct pg_error error = { "" };

	if (getrandom(options.hash_key, sizeof(options.hash_key), 0) != sizeof(options.hash_key))
		return cli_fail(CLI_FAILED, "decode: the kernel gives no random bytes");
	if (pg_dissector_new(&options, &decode->dissector, &error))
		return cli_fail(CLI_FAILED, "decode: %s", error.text);
	return CLI_DONE;
}

static int make_follow(struct decode *decode)
{
	struct pg_follow_settings settings = PG_FOLLOW_SETTINGS_DEFAULT;

	if (!decode->options.follow)
		return CLI_DONE;
	if (getrandom(settings.key, sizeof(settings.key), 0) != sizeof(settings.key))
		return cli_fail(CLI_FAILED, "decode: the kernel gives no random bytes");
	if (pg_follow_new(&settings, &decode->follow))
		return cli_fail(CLI_FAILED, "decode: out of memory");
	return CLI_DONE;
}

static int open_source(struct decode *decode)
{
	struct pg_error error = { "" };
	int rc = decode_source_open(&decode->options.source, &decode->source, &error);

	if (rc)
		return cli_fail(rc == -EINVAL ? CLI_USAGE : CLI_FAILED, "decode: %s", error.text);
	return CLI_DONE;
}

static int run(struct decode *decode)
{
	struct sigaction on_signal = { .sa_handler = interrupt };
	int rc = read_secrets(decode);

	if (!rc)
		rc = make_dissector(decode);
	if (!rc)
		rc = make_follow(decode);
	if (!rc)
		rc = open_source(decode);
	if (rc)
		return rc;
	interrupted_source = decode->source;
	sigaction(SIGINT, &on_signal, NULL);
	sigaction(SIGTERM, &on_signal, NULL);
	rc = read_packets(decode);
	finish_follow(decode);
	print_summary(decode);
	return rc;
}

static void restore_signals(void)
{
	struct sigaction by_default = { .sa_handler = SIG_DFL };

	sigaction(SIGINT, &by_default, NULL);
	sigaction(SIGTERM, &by_default, NULL);
}

static void decode_done(struct decode *decode)
{
	restore_signals();
	interrupted_source = NULL;
	decode_source_close(decode->source);
	pg_follow_free(decode->follow);
	pg_dissector_free(decode->dissector);
	pg_secrets_free(decode->secrets);
}

int cmd_decode(int argc, char **argv)
{
	PG_CLEANUP(decode_done) struct decode decode = { 0 };
	int rc = decode_options_parse(argc, argv, &decode.options);

	if (rc)
		return rc;
	if (decode.options.help)
		return decode_options_help();
	decode.clock.format = decode.options.time_format;
	return run(&decode);
}
