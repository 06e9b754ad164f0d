// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "cleanup.h"
#include "demo.h"

#define TIME_LIMIT 20 /* seconds; what remains of 30 is for cleaning up */
#define AWAIT_MS   2000

static const char help[] =
	"usage: packgate demo\n\n"
	"Shows packgate at work on this machine, without touching its network: makes two network\n"
	"namespaces joined by a veth pair, runs packgated in one, and from the other sends honest\n"
	"frames as well as malformed, forged, replayed and foreign ones, messages in packets and\n"
	"on TCP, and more TCP connections than a listener takes. Prints what became of each, "
	"checks\n"
	"every number, and removes all it made. Takes a few seconds, needs root and the `ip` "
	"tool.\n\n"
	"Exit codes: 0 every number adds up, 1 not, 2 wrong usage.";

/* --- being stopped -------------------------------------------------------------------------- */

static volatile sig_atomic_t stopped_by;
static bool agent_gone;

static void stop(int number)
{
	stopped_by = number;
}

const char *demo_stopped(void)
{
	if (agent_gone)
		return "packgated ended in the middle of the demo";
	return stopped_by == SIGALRM ? "the demo took too long" : stopped_by ? "interrupted" : NULL;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = stop };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	alarm(TIME_LIMIT);
}

/* Cleaning up is not interrupted. */
static void ignore_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	alarm(0);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

/* --- waiting -------------------------------------------------------------------------------- */

void demo_pump(struct demo *demo, int timeout_ms)
{
	struct pollfd polled[DEMO_SESSIONS + 2];
	int i;

	for (i = 0; i < DEMO_SESSIONS; i++)
		polled[i] = (struct pollfd){ demo->client.sessions[i].fd, POLLIN, 0 };
	polled[i] = (struct pollfd){ demo->app.fd, POLLIN, 0 };
	polled[i + 1] = (struct pollfd){ demo->caller.fd, POLLIN, 0 };
	if (poll(polled, DEMO_SESSIONS + 2, timeout_ms) <= 0)
		return;
	for (i = 0; i < DEMO_SESSIONS; i++)
		if (polled[i].revents)
			demo_client_receive(&demo->client.sessions[i]);
	if (polled[i].revents)
		demo_app_receive(&demo->app);
	if (polled[i + 1].revents)
		demo_caller_receive(&demo->caller);
	agent_gone = polled[i].fd >= 0 && demo->app.fd < 0;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void demo_await(struct demo *demo, const uint32_t *counter, uint32_t target)
{
	int64_t end = now_ms() + AWAIT_MS, left;

	while (*counter < target && !demo_stopped() && (left = end - now_ms()) > 0)
		demo_pump(demo, (int)left);
}

/* --- the acts ------------------------------------------------------------------------------- */

static void headline(const char *text)
{
	printf("\n%s\n", text);
	for (; *text; text++)
		putchar('-');
	putchar('\n');
	fflush(stdout);
}

static int set_up(struct demo *demo, struct pg_error *error)
{
	int rc;

	headline("Setting up");
	rc = demo_net_open(&demo->net, error);
	if (rc)
		return rc;
	printf("server     namespace %s, %s on " DEMO_SERVER_IF "\n", demo->net.server,
	       DEMO_SERVER);
	printf("client     namespace %s, %s on " DEMO_CLIENT_IF ", and a stranger, %s\n",
	       demo->net.client, DEMO_CLIENT, DEMO_STRANGER);
	rc = demo_agent_start(&demo->agent, &demo->net, error);
	if (rc)
		return rc;
	printf("agent      packgated, process %d, its gate on " DEMO_SERVER_IF " in mode %s, %u "
	       "queues\n",
	       demo->agent.pid, demo->agent.mode, demo->agent.queues);
	if (demo->agent.why[0])
		printf("           (not a better mode: %s)\n", demo->agent.why);
	printf("endpoints  game, UDP port %d, guard on; lan, UDP port %d, guard off;\n"
	       "           chat, messages on UDP port %d and on TCP port %d\n",
	       DEMO_GAME_PORT, DEMO_LAN_PORT, DEMO_CHAT_PORT, DEMO_CHAT_PORT);
	rc = demo_app_open(&demo->app, demo->agent.app, "game\nlan\nchat", error);
	if (rc)
		return rc;
	demo_await(demo, &demo->app.records[PG_APP_HELLO], 1);
	if (!demo->app.records[PG_APP_HELLO])
		return pg_error_set(error, -EPROTO, "the agent does not answer hello: %s",
				    demo->app.error);
	puts("reader     an application on the application socket, for all endpoints");
	rc = demo_client_open(&demo->client, &demo->net, error);
	if (!rc)
		printf("sessions   %d, provisioned through the control API\n", DEMO_SESSIONS);
	return rc ? rc : demo_tcp_open(&demo->tcp, &demo->net, error);
}

static int play(struct demo *demo, struct pg_error *error)
{
	int rc;

	headline("What the client sent, and what became of it");
	puts("Each frame is delivered or answered, or refused for exactly one reason, by its "
	     "name.\n");
	rc = demo_honest(demo, error);
	if (!rc)
		rc = demo_hostile(demo, error);
	if (!rc)
		rc = demo_honest_again(demo, error);
	if (!rc)
		rc = demo_messages(demo, error);
	if (!rc && demo_stopped())
		rc = pg_error_set(error, -EINTR, "%s", demo_stopped());
	demo_report_print_rows(&demo->report);
	return rc;
}

/* What the reader and the client saw, all in all. */
static void check_sums(struct demo *demo)
{
	struct demo_report *report = &demo->report;
	const uint32_t *records = demo->app.records;
	uint32_t bad = demo->caller.bad;
	int i;

	for (i = 0; i < DEMO_SESSIONS; i++)
		bad += demo->client.sessions[i].bad;
	printf("\nThe application got %u messages of %llu, %u of them wrong, twice or out of "
	       "order, "
	       "and %u gaps;\nit saw %u sessions (one on TCP) and %u streams open. The client got "
	       "%u frames it "
	       "could not open.\n",
	       records[PG_APP_MESSAGE], (unsigned long long)report->delivered, demo->app.wrong,
	       records[PG_APP_GAP], records[PG_APP_SESSION_OPEN], records[PG_APP_STREAM_OPEN], bad);
	demo_report_equal(report, "messages delivered", records[PG_APP_MESSAGE], report->delivered);
	demo_report_equal(report, "messages wrong, twice or out of order", demo->app.wrong, 0);
	demo_report_equal(report, "gaps reported", records[PG_APP_GAP], 0);
	demo_report_equal(report, "sessions and TCP connections opened",
			  records[PG_APP_SESSION_OPEN], DEMO_SESSIONS + 1);
	demo_report_equal(report, "streams opened", records[PG_APP_STREAM_OPEN], 3 * DEMO_HONEST);
	demo_report_equal(report, "frames the client could not open", bad, 0);
	demo_report_equal(report, "errors told to the application", records[PG_APP_ERROR], 0);
}

static int show(struct demo *demo, struct pg_error *error)
{
	struct demo_counts counts;
	int rc;

	check_sums(demo);
	rc = demo_agent_counts(&counts, error);
	if (rc)
		return rc;
	headline("What was refused, by reason");
	demo_report_print_refused(&demo->report, &counts);
	headline("TCP: the queues of the listeners in both namespaces");
	rc = demo_tcp_report(&demo->tcp, &demo->net, &demo->report, error);
	if (rc)
		return rc;
	headline("Metrics");
	printf("http://127.0.0.1:%d/metrics, inside %s\n", DEMO_METRICS_PORT, demo->net.server);
	return demo_metrics(demo, &counts, error);
}

/* --- the end -------------------------------------------------------------------------------- */

static bool clean_up(struct demo *demo)
{
	bool good;

	ignore_signals();
	demo_app_close(&demo->app);
	demo_client_close(&demo->client);
	demo_caller_close(&demo->caller);
	demo_tcp_close(&demo->tcp);
	good = demo_agent_stop(&demo->agent);
	demo_net_close(&demo->net);
	return good;
}

static bool check_clean(const struct demo *demo)
{
	struct pg_error error = { "" };

	if (demo_net_exists(demo->net.server))
		pg_error_set(&error, 0, "namespace %s", demo->net.server);
	else if (demo_net_exists(demo->net.client))
		pg_error_set(&error, 0, "namespace %s", demo->net.client);
	else if (!demo_agent_left(&demo->agent, &error)) {
		puts("Cleaned up: no namespace, process, program, pin or file is left behind.");
		return true;
	}
	cli_fail(CLI_FAILED, "demo: left behind: %s", error.text);
	return false;
}

static bool judge(const struct demo_report *report)
{
	size_t i;

	for (i = 0; i < report->problem_count; i++)
		cli_fail(CLI_FAILED, "demo: %s", report->problems[i]);
	if (report->problem_count)
		return false;
	puts("Every number adds up.");
	return true;
}

/* Why the demo went no further. */
static void explain(const struct demo *demo, const struct pg_error *error)
{
	char words[DEMO_WORDS_MAX];

	cli_fail(CLI_FAILED, "demo: %s", demo_stopped() ? demo_stopped() : error->text);
	if (demo->agent.mode[0])
		cli_fail(CLI_FAILED, "demo: the last words of packgated: %s",
			 demo_agent_last_words(&demo->agent, words));
}

static int run(struct demo *demo)
{
	struct pg_error error = { "" };
	bool good;
	int rc;

	catch_signals();
	rc = set_up(demo, &error);
	if (!rc)
		rc = play(demo, &error);
	if (!rc)
		rc = show(demo, &error);
	puts("");
	if (rc)
		explain(demo, &error);
	good = clean_up(demo);
	if (!rc)
		good = judge(&demo->report) && good;
	good = check_clean(demo) && good;
	return rc || !good ? CLI_FAILED : CLI_DONE;
}

int cmd_demo(int argc, char **argv)
{
	struct demo *demo;
	int rc;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return puts(help) < 0 ? CLI_FAILED : CLI_DONE;
	if (argc > 1)
		return cli_fail(CLI_USAGE,
				"demo: \"%s\" is one word too many; see packgate demo "
				"--help",
				argv[1]);
	if (geteuid())
		return cli_fail(CLI_FAILED, "demo: network namespaces need root; run it with sudo");
	demo = calloc(1, sizeof(*demo));
	if (!demo)
		return cli_fail(CLI_FAILED, "demo: out of memory");
	demo->app.fd = -1;
	demo_client_init(&demo->client);
	demo_caller_init(&demo->caller);
	demo_tcp_init(&demo->tcp);
	puts("packgate demo: an agent, an application, an honest client and some who are not.");
	rc = run(demo);
	free(demo);
	return rc;
}
