// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "agent_internal.h"
#include "check_files.h"
#include "cleanup.h"
#include "control.h"
#include "log.h"
#include "metrics.h"

#define DEFAULT_CONFIG "/etc/packgate/packgate.yaml"
#define TICK_MS	       1000
#define CONFIRM_MAX    86400

static const char usage[] =
	"usage: packgated [--config FILE] [--check] [--confirm SECONDS] [--log text|json]\n"
	"\n"
	"The packgate agent: attaches the gate to the configured interfaces, decrypts what it\n"
	"steers and hands it to applications. Stays in the foreground and logs to stderr.\n"
	"\n"
	"  -c, --config FILE    the configuration (default " DEFAULT_CONFIG ")\n"
	"  --check              read the configuration and the keys, tokens and certificates\n"
	"                       it names, say what is wrong with them, and end\n"
	"  --confirm SECONDS    detach what it attaches unless `packgate confirm INTERFACE` comes\n"
	"                       first; until then the gate also ends with the agent\n"
	"  --log FORMAT         text (default) or json, one object a line\n"
	"  --print-metrics-doc  print docs/metrics.md and end\n"
	"  --version            print the version and end\n"
	"  -h, --help           print this and end\n"
	"\n"
	"SIGHUP reads the configuration again; SIGTERM ends, leaving sessions and gates pinned.\n"
	"Exit codes: 0 done, 1 failed, 2 wrong usage.\n";

struct options {
	const char *config;
	uint32_t confirm_seconds;
	bool check;
};

static int read_seconds(const char *text, uint32_t *ret_seconds)
{
	char *end;
	unsigned long seconds = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || seconds < 1 || seconds > CONFIRM_MAX) {
		fprintf(stderr, "packgated: --confirm takes 1 to %d seconds, not '%s'\n",
			CONFIRM_MAX, text);
		return -EINVAL;
	}
	*ret_seconds = (uint32_t)seconds;
	return 0;
}

/* -1 = go on, else the exit code. */
static int read_options(int argc, char **argv, struct options *options)
{
	static const struct option table[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'k' },
		{ "confirm", required_argument, NULL, 's' },
		{ "log", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "print-metrics-doc", no_argument, NULL, 'm' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:h", table, NULL)) != -1) {
		switch (c) {
		case 'c':
			options->config = optarg;
			break;
		case 'k':
			options->check = true;
			break;
		case 's':
			if (read_seconds(optarg, &options->confirm_seconds))
				return 2;
			break;
		case 'l':
			if (strcmp(optarg, "json") && strcmp(optarg, "text")) {
				fprintf(stderr, "packgated: --log takes text or json, not '%s'\n",
					optarg);
				return 2;
			}
			pg_log_json(!strcmp(optarg, "json"));
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts("packgated " PG_VERSION);
			return 0;
		case 'm':
			pg_metrics_write_doc(stdout);
			return 0;
		default: /* getopt has named the word */
			fputs("see packgated --help\n", stderr);
			return 2;
		}
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "packgated: unexpected argument '%s'; see packgated --help\n",
		argv[optind]);
	return 2;
}

static void print_finding(void *context, bool wrong, const char *sentence)
{
	fprintf(stderr, "packgated: %s: %s%s\n", (const char *)context,
		wrong ? "" : "warning: ", sentence);
}

static int check_config(const struct options *options)
{
	struct pg_config *config = NULL;
	struct pg_error error;
	size_t wrong;

	if (pg_config_load(options->config, &config, &error)) {
		fprintf(stderr, "packgated: %s\n", error.text);
		return 1;
	}
	wrong = pg_check_files(config, print_finding, (void *)options->config);
	if (!wrong)
		printf("%s: good; endpoints %zu, interfaces %zu\n", options->config,
		       config->endpoint_count, config->interface_count);
	pg_config_free(config);
	return wrong ? 1 : 0;
}

/* libbpf explains failed loads at length; the first lines are worth keeping. */
static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	char text[512];

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	pg_warning_log("%s", text);
	return 0;
}

static void reload(struct pg_agent *agent)
{
	struct pg_reload_result result;
	struct pg_error error;

	if (pg_agent_reload(agent, &result, &error))
		pg_error_log("reload refused, nothing changed: %s", error.text);
}

/* Returns when a signal asks for the end. */
static void serve(struct pg_agent *agent, int signals)
{
	struct pollfd polled[] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = pg_agent_locals_fd(agent), .events = POLLIN },
	};
	struct signalfd_siginfo info;

	for (;;) {
		poll(polled, 2, TICK_MS);
		pg_agent_tick(agent);
		if (polled[1].revents)
			pg_agent_locals_changed(agent);
		if (!polled[0].revents || read(signals, &info, sizeof(info)) != sizeof(info))
			continue;
		if (info.ssi_signo != SIGHUP)
			return;
		reload(agent);
	}
}

static int run(const struct options *options, int signals, struct pg_error *error)
{
	struct pg_agent_options agent_options = { .config_path = options->config,
						  .confirm_seconds = options->confirm_seconds };
	struct pg_control *control = NULL;
	struct pg_metrics *metrics = NULL;
	struct pg_agent *agent = NULL;
	struct pg_config *config;
	int err;

	err = pg_agent_open(&agent_options, &agent, error);
	if (err)
		return err;
	/* what the listeners are made from; later changes take a restart */
	config = (struct pg_config *)pg_agent_config_get(agent);
	err = pg_control_open(agent, &config->control, &control, error);
	if (!err && pg_control_warning(control)[0])
		pg_warning_log("%s", pg_control_warning(control));
	if (!err && config->metrics.on)
		err = pg_metrics_open(agent, &config->metrics.listen, &metrics, error);
	pg_agent_config_put(agent);
	if (!err) {
		/* last, so that a start that fails leaves no gate behind */
		pg_agent_attach_all(agent);
		pg_info_log("ready");
		serve(agent, signals);
		pg_info_log("stopping; sessions and gates stay pinned");
	}
	pg_metrics_close(metrics);
	pg_control_close(control);
	pg_agent_close(agent);
	return err;
}

int main(int argc, char **argv)
{
	struct options options = { .config = DEFAULT_CONFIG };
	struct pg_error error = { "" };
	PG_CLOSE int signals = -1;
	sigset_t handled;
	int code;

	code = read_options(argc, argv, &options);
	if (code >= 0)
		return code;
	if (options.check)
		return check_config(&options);
	libbpf_set_print(print_libbpf);
	sigemptyset(&handled);
	sigaddset(&handled, SIGTERM);
	sigaddset(&handled, SIGINT);
	sigaddset(&handled, SIGHUP);
	sigprocmask(SIG_BLOCK, &handled, NULL);
	signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &handled, SFD_CLOEXEC);
	if (run(&options, signals, &error)) {
		pg_error_log("%s", error.text);
		return 1;
	}
	return 0;
}
