// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "client_options.h"
#include "commands.h"
#include "connect_internal.h"

#define LINGER_DEFAULT_MS 500 /* silence after the last of stdin before the session is closed */
#define LATER_MS	  5   /* until an unreliable packet is tried again */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = 1;
}

bool connect_interrupted(void)
{
	return interrupted;
}

int64_t connect_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- the loop ----------------------------------------------------------------------------------
 */

/* Everything is sent and acked, and (unless more is wanted) nothing came for a while. */
static bool finished(const struct connection *connection)
{
	struct pg_client_statistics now = { .size = sizeof(now) };

	if (connection->in >= 0 || connection->keep_receiving)
		return false;
	pg_client_get_statistics(connection->client, &now);
	return !now.unsettled_bytes &&
	       connect_now_ms() - connection->quiet_since >= connection->linger_ms;
}

/* Whether stdin is readable. */
static bool wait(const struct connection *connection)
{
	struct pollfd polled[2] = {
		{ .fd = pg_client_fd(connection->client), .events = POLLIN },
		{ .fd = connect_wants_input(connection) ? connection->in : -1, .events = POLLIN },
	};
	int timeout = pg_client_timeout_ms(connection->client);
	int most = connect_sends_now(connection) ? 0 : connection->later ? LATER_MS : 100;

	if (timeout < 0 || timeout > most)
		timeout = most; /* progress, silence, an interrupt */
	return poll(polled, 2, timeout) > 0 && polled[1].revents;
}

static void loop(struct connection *connection)
{
	while (!connection->closed && !connection->rc && !interrupted && !finished(connection)) {
		connect_pump(connection, wait(connection));
		if (pg_client_process(connection->client) < 0 && !connection->rc)
			connection->rc = cli_fail(CLI_FAILED, "connect: the socket failed");
		connect_take_events(connection);
		connect_show_progress(connection, false);
	}
	connect_show_progress(connection, true);
	if (!connection->closed && !connection->leaves)
		pg_client_close(connection->client, connection->rc ? 1 : 0);
}

/* --- options -----------------------------------------------------------------------------------
 */

static int read_number(const struct cli_args *args, const char *name, unsigned long long max,
		       unsigned long long *number)
{
	const char *text = cli_option(args, name);

	if (text && !cli_number(text, 1, max, number))
		return cli_fail(CLI_USAGE, "connect: --%s must be 1 to %llu, not \"%s\"", name, max,
				text);
	return CLI_DONE;
}

static int read_policy(struct connection *connection, const struct cli_args *args)
{
	static const char *const names[] = { "reliable", "newest", "unordered" };
	const char *text = cli_option(args, "policy");

	connection->policy = CONNECT_POLICY_NONE;
	for (int i = 0; text && i < (int)(sizeof(names) / sizeof(names[0])); i++)
		if (!strcmp(text, names[i]))
			connection->policy = i;
	if (text && connection->policy < 0)
		return cli_fail(CLI_USAGE,
				"connect: --policy must be reliable, newest or unordered, not "
				"\"%s\"",
				text);
	return CLI_DONE;
}

/* Options that do not go together. */
static int check_options(const struct connection *connection, const struct cli_args *args)
{
	bool send = cli_option(args, "send"), streams = cli_option(args, "streams");

	if (streams && !send)
		return cli_fail(CLI_USAGE, "connect: --streams needs --send");
	if (streams && connection->messages)
		return cli_fail(CLI_USAGE, "connect: --streams cuts a file, --messages does not");
	if (streams && connection->policy > PG_CLIENT_RELIABLE)
		return cli_fail(CLI_USAGE, "connect: the streams of a file are reliable");
	if (send && !connection->messages && connection->policy > PG_CLIENT_RELIABLE)
		return cli_fail(CLI_USAGE,
				"connect: a file would arrive with holes: --policy reliable, or "
				"--messages to send its lines");
	if (cli_option(args, "packet") && connection->messages)
		return cli_fail(CLI_USAGE, "connect: with --messages each line is a packet");
	if (cli_option(args, "id") && !connection->messages)
		return cli_fail(CLI_USAGE, "connect: --id needs --messages");
	return CLI_DONE;
}

static int read_sending(struct connection *connection, const struct cli_args *args,
			size_t *ret_packet)
{
	unsigned long long streams = 0, packet = 0, id = 0;
	int rc;

	connection->messages = cli_option(args, "messages") || connect_tcp_wanted(args);
	rc = read_policy(connection, args);
	if (!rc)
		rc = check_options(connection, args);
	if (!rc)
		rc = read_number(args, "streams", CONNECT_STREAMS_MAX, &streams);
	if (!rc)
		rc = read_number(args, "packet", CONNECT_CHUNK_MAX, &packet);
	if (!rc)
		rc = read_number(args, "id", PG_MESSAGE_VALUE_MAX, &id);
	if (!rc && cli_option(args, "send"))
		rc = connect_open_file(connection, cli_option(args, "send"));
	connection->count = (uint32_t)streams;
	connection->id = (uint32_t)id;
	*ret_packet = packet;
	return rc;
}

static int prepare(struct connection *connection, const struct cli_args *args, size_t *ret_packet)
{
	unsigned long long linger = LINGER_DEFAULT_MS;
	const char *recv = cli_option(args, "recv");
	int rc = read_sending(connection, args, ret_packet);

	connection->leaves = client_options_leave(args);
	if (!rc)
		rc = read_number(args, "linger", 3600000, &linger);
	if (rc)
		return rc;
	connection->linger_ms = (int64_t)linger;
	connection->keep_receiving = recv != NULL;
	if (recv && strcmp(recv, "-"))
		connection->out = fopen(recv, "we");
	if (!connection->out)
		return cli_fail(CLI_FAILED, "connect: create %s: %s", recv, strerror(errno));
	return CLI_DONE;
}

/* --- the verb ----------------------------------------------------------------------------------
 */

static int start(struct connection *connection, const struct cli_args *args)
{
	struct client_credentials credentials;
	struct pg_client_error error = { "" };
	int rc = client_options_read("connect", args, &credentials), err;

	if (rc)
		return rc;
	err = pg_client_connect(&credentials.options, &connection->client, &error);
	client_options_wipe(&credentials);
	if (err == -EINVAL)
		return cli_fail(CLI_USAGE, "connect: %s", error.text);
	return err ? cli_fail(CLI_FAILED, "connect: %s: %s", args->operands[0], error.text)
		   : CLI_DONE;
}

static void connection_done(struct connection **connection)
{
	if (!*connection)
		return;
	pg_client_free((*connection)->client);
	line_reader_done(&(*connection)->lines);
	if ((*connection)->out && (*connection)->out != stdout)
		fclose((*connection)->out);
	free(*connection);
}

static int run(struct connection *connection, const struct cli_args *args)
{
	struct sigaction action = { .sa_handler = on_interrupt };
	size_t packet = 0;
	int rc;

	rc = prepare(connection, args, &packet);
	if (!rc && connect_tcp_wanted(args)) {
		sigaction(SIGINT, &action, NULL);
		sigaction(SIGTERM, &action, NULL);
		return connect_tcp(connection, args);
	}
	if (!rc)
		rc = start(connection, args);
	if (!rc)
		rc = connect_prepare_sending(connection, packet);
	if (rc)
		return rc;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	connection->started = connection->quiet_since = connect_now_ms();
	loop(connection);
	if (connection->file)
		connect_report(connection);
	return connection->rc;
}

int cmd_connect(const struct cli_args *args)
{
	PG_CLEANUP(connection_done) struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		return cli_fail(CLI_FAILED, "connect: out of memory");
	connection->out = stdout;
	connection->in = STDIN_FILENO;
	return run(connection, args);
}
