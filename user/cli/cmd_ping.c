// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include <openssl/crypto.h>

#include "cleanup.h"
#include "commands.h"
#include "output.h"
#include "peer.h"

#define PING_COUNT_MAX 100000
#define PING_SIZE_MIN  8 /* sequence number and 4 random bytes */
#define PING_SIZE_MAX  64
#define LAST_WAIT_MS   1000 /* for pongs after the last ping */
#define SECRET_DIGITS  (2 * PG_SECRET_BYTES)

static const struct cli_option ping_options[] = {
	{ "client-id", "ID", "the session's client id, 1 to 65535, decimal or 0x" },
	{ "server-id", "ID", "the session's server id" },
	{ "secret-file", "PATH",
	  "read the session's secret, 64 hex digits, from a file; - is stdin" },
	{ "secret", "HEX64", "the secret; other users see it in ps, prefer --secret-file" },
	{ "source", "ADDRESS",
	  "send from A.B.C.D:PORT or [v6]:PORT: the peer the session is pinned to" },
	{ "aead", "NAME", "chacha20-poly1305 (default) or aes-256-gcm; pings are not sealed" },
	{ "guard", "WORD", "on (default) or off, as the endpoint says" },
	{ "count", "N", "pings to send, 1 to 100000 (default 5)" },
	{ "interval", "MS",
	  "time between pings, 1 to 60000 ms (default 1000); a server answers 10 a second" },
	{ "size", "BYTES", "payload of a ping, 8 to 64 bytes (default 16)" },
	{ NULL, NULL, NULL },
};

struct ping {
	const char *target;
	struct peer peer;
	int fd;
	uint32_t count, interval_ms, size;
	uint32_t sent, received;
	uint8_t (*payloads)[PING_SIZE_MAX]; /* of each ping sent */
	double *sent_ms;
	double *times_ms; /* of each pong, negative = none yet */
	int refused;	  /* errno that the socket gave last */
	bool ended;	  /* the server said goaway */
};

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
	interrupted = 1;
}

static double clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* --- the command line ----------------------------------------------------------------------- */

static int print_help(void)
{
	const struct cli_option *option;
	char text[64];

	puts("usage: packgate ping HOST:PORT --client-id ID --server-id ID --secret-file PATH "
	     "[OPTION...]\n\n"
	     "Measures a packgate server as a client of it: sends ping frames of a provisioned\n"
	     "session and times the pongs. Needs no privilege. The server answers only the "
	     "address\n"
	     "that the session is pinned to (session add --peer): give that as --source.\n");
	for (option = ping_options; option->name; option++) {
		snprintf(text, sizeof(text), "--%s %s", option->name, option->value);
		printf("  %-22s %s\n", text, option->help);
	}
	puts("\nExit codes: 0 at least one pong came, 1 none came, 2 wrong usage.");
	return CLI_DONE;
}

static int read_number(const struct cli_args *args, const char *name, unsigned long long min,
		       unsigned long long max, uint32_t *number)
{
	const char *text = cli_option(args, name);
	unsigned long long value;

	if (!text && *number)
		return CLI_DONE;
	if (!text)
		return cli_fail(CLI_USAGE, "ping: --%s is missing", name);
	if (!cli_number(text, min, max, &value))
		return cli_fail(CLI_USAGE, "ping: --%s must be %llu to %llu, not \"%s\"", name, min,
				max, text);
	*number = (uint32_t)value;
	return CLI_DONE;
}

static int read_file(const char *path, char *text, size_t room)
{
	PG_CLOSE int opened = -1;
	ssize_t n;

	if (strcmp(path, "-")) {
		opened = open(path, O_RDONLY | O_CLOEXEC);
		if (opened < 0)
			return cli_fail(CLI_FAILED, "ping: open %s: %s", path, strerror(errno));
	}
	n = read(opened < 0 ? STDIN_FILENO : opened, text, room - 1);
	if (n < 0)
		return cli_fail(CLI_FAILED, "ping: read %s: %s", path, strerror(errno));
	text[n] = 0;
	text[strcspn(text, " \t\r\n")] = 0;
	return CLI_DONE;
}

static int read_secret(const struct cli_args *args, uint8_t secret[PG_SECRET_BYTES])
{
	const char *given = cli_option(args, "secret"), *path = cli_option(args, "secret-file");
	char text[2 * SECRET_DIGITS] = "", explained[PEER_KEY_WHY];
	int rc = CLI_DONE;

	if (!given == !path)
		return cli_fail(CLI_USAGE, "ping: give the secret by --secret-file or by --secret");
	if (path)
		rc = read_file(path, text, sizeof(text));
	if (!rc && !peer_parse_secret(path ? text : given, secret))
		rc = cli_fail(path ? CLI_FAILED : CLI_USAGE,
			      "ping: the secret must be 64 hex digits; this one %s",
			      peer_explain_secret(path ? text : given, explained));
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}

static int read_session(const struct cli_args *args, struct peer_options *options)
{
	const char *aead = cli_option(args, "aead"), *guard = cli_option(args, "guard");
	uint32_t client = 0, server = 0;
	int rc;

	rc = read_number(args, "client-id", 1, 65535, &client);
	if (!rc)
		rc = read_number(args, "server-id", 1, 65535, &server);
	if (rc)
		return rc;
	options->client_id = (uint16_t)client;
	options->server_id = (uint16_t)server;
	options->aead = PG_AEAD_CHACHA20_POLY1305;
	if (aead && pg_aead_algorithm_parse(aead, &options->aead))
		return cli_fail(CLI_USAGE,
				"ping: --aead must be chacha20-poly1305 or aes-256-gcm, not \"%s\"",
				aead);
	if (guard && strcmp(guard, "on") && strcmp(guard, "off"))
		return cli_fail(CLI_USAGE, "ping: --guard must be on or off, not \"%s\"", guard);
	options->guard = !guard || !strcmp(guard, "on");
	return CLI_DONE;
}

static int make_peer(const struct cli_args *args, struct peer *ret_peer)
{
	uint8_t secret[PG_SECRET_BYTES];
	struct peer_options options = { .secret = secret };
	struct pg_error error = { "" };
	int rc;

	rc = read_session(args, &options);
	if (!rc)
		rc = read_secret(args, secret);
	if (!rc && peer_init(ret_peer, &options, &error))
		rc = cli_fail(CLI_FAILED, "ping: %s", error.text);
	OPENSSL_cleanse(secret, sizeof(secret));
	return rc;
}

/* --- the socket ----------------------------------------------------------------------------- */

/* HOST:PORT or [v6]:PORT to addresses; the caller frees. */
static int resolve(const char *text, bool numeric, struct addrinfo **ret_list)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM,
				  .ai_flags = numeric ? AI_NUMERICHOST | AI_NUMERICSERV
						      : AI_NUMERICSERV };
	PG_FREE char *host = strdup(text);
	char *colon = host ? strrchr(host, ':') : NULL;
	const char *name = host;
	unsigned long long port;
	int rc;

	if (!colon || colon == host || !cli_number(colon + 1, 1, 65535, &port))
		return cli_fail(CLI_USAGE, "ping: \"%s\" is not HOST:PORT or [v6]:PORT", text);
	*colon = 0;
	if (host[0] == '[' && colon[-1] == ']') {
		colon[-1] = 0;
		name = host + 1;
	} else if (strchr(host, ':')) {
		return cli_fail(CLI_USAGE, "ping: write an IPv6 address as [v6]:PORT, not \"%s\"",
				text);
	}
	rc = getaddrinfo(name, colon + 1, &hints, ret_list);
	if (rc)
		return cli_fail(numeric ? CLI_USAGE : CLI_FAILED, "ping: %s: %s", text,
				gai_strerror(rc));
	return CLI_DONE;
}

static void free_addresses(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

#define ADDRESSES PG_CLEANUP(free_addresses) struct addrinfo

static const struct addrinfo *same_family(const struct addrinfo *list, int family)
{
	while (list && family && list->ai_family != family)
		list = list->ai_next;
	return list;
}

static int open_socket(const char *target, const char *source, int *ret_fd)
{
	ADDRESSES *targets = NULL;
	ADDRESSES *sources = NULL;
	const struct addrinfo *to;
	PG_CLOSE int fd = -1;
	int rc;

	rc = resolve(target, false, &targets);
	if (!rc && source)
		rc = resolve(source, true, &sources);
	if (rc)
		return rc;
	to = same_family(targets, sources ? sources->ai_family : 0);
	if (!to)
		return cli_fail(CLI_USAGE, "ping: --source and %s are of different IP versions",
				target);
	fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return cli_fail(CLI_FAILED, "ping: open a UDP socket: %s", strerror(errno));
	if (sources && bind(fd, sources->ai_addr, sources->ai_addrlen))
		return cli_fail(CLI_FAILED, "ping: send from %s: %s", source, strerror(errno));
	if (connect(fd, to->ai_addr, to->ai_addrlen))
		return cli_fail(CLI_FAILED, "ping: reach %s: %s", target, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return CLI_DONE;
}

/* --- pinging -------------------------------------------------------------------------------- */

static int send_ping(struct ping *ping)
{
	uint8_t *payload = ping->payloads[ping->sent];
	struct peer_frame frame;
	uint32_t i;

	pg_store_be32(payload, ping->sent);
	if (getrandom(payload + 4, 4, 0) != 4)
		return cli_fail(CLI_FAILED, "ping: the kernel gives no random bytes");
	for (i = PING_SIZE_MIN; i < ping->size; i++)
		payload[i] = (uint8_t)i;
	if (peer_control(&ping->peer, PG_OP_PING, 0, 0, payload, ping->size, &frame))
		return cli_fail(CLI_FAILED, "ping: build a ping frame");
	ping->times_ms[ping->sent] = -1;
	ping->sent_ms[ping->sent++] = clock_ms();
	if (send(ping->fd, frame.data, frame.bytes, 0) < 0)
		ping->refused = errno;
	return CLI_DONE;
}

static void take_pong(struct ping *ping, const struct peer_message *message)
{
	uint32_t sequence =
		message->count >= PING_SIZE_MIN ? pg_load_be32(message->bytes) : UINT32_MAX;

	if (sequence >= ping->sent || message->count != ping->size ||
	    memcmp(message->bytes, ping->payloads[sequence], ping->size) ||
	    ping->times_ms[sequence] >= 0)
		return;
	ping->times_ms[sequence] = clock_ms() - ping->sent_ms[sequence];
	ping->received++;
	if (cli.json)
		return;
	printf("pong %u from %s: %u bytes, %.3f ms\n", sequence + 1, ping->target, message->count,
	       ping->times_ms[sequence]);
	fflush(stdout);
}

static void receive(struct ping *ping)
{
	uint8_t datagram[PG_FRAME_MAX + 1];
	struct peer_message message;
	ssize_t bytes;

	while ((bytes = recv(ping->fd, datagram, sizeof(datagram), 0)) >= 0) {
		if (bytes > PG_FRAME_MAX ||
		    peer_open(&ping->peer, datagram, (uint32_t)bytes, &message))
			continue;
		if (message.frame.opcode == PG_OP_PONG)
			take_pong(ping, &message);
		else if (message.frame.opcode == PG_OP_GOAWAY)
			ping->ended = true;
	}
	if (errno != EAGAIN && errno != EINTR)
		ping->refused = errno;
}

/* Takes what comes until a moment, or until every ping is answered. */
static void wait_until(struct ping *ping, double until_ms, bool all_answered)
{
	struct pollfd polled = { .fd = ping->fd, .events = POLLIN };
	double left;

	while (!interrupted && !ping->ended && (left = until_ms - clock_ms()) > 0) {
		if (all_answered && ping->received == ping->sent)
			return;
		if (poll(&polled, 1, (int)left + 1) > 0)
			receive(ping);
	}
}

static int run(struct ping *ping)
{
	double next_ms = clock_ms();
	int rc = CLI_DONE;

	while (!rc && ping->sent < ping->count && !interrupted && !ping->ended) {
		rc = send_ping(ping);
		next_ms += ping->interval_ms;
		if (ping->sent < ping->count)
			wait_until(ping, next_ms, false);
	}
	wait_until(ping, clock_ms() + LAST_WAIT_MS, true);
	return rc;
}

/* --- the summary ---------------------------------------------------------------------------- */

struct summary {
	double min, average, max, p99, loss_percent;
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts a copy: the times stay with their pings. */
static bool summarise(const struct ping *ping, struct summary *summary)
{
	PG_FREE double *sorted = calloc(ping->sent ? ping->sent : 1, sizeof(*sorted));
	uint32_t i, n = 0;

	memset(summary, 0, sizeof(*summary));
	summary->loss_percent = ping->sent ? 100.0 * (ping->sent - ping->received) / ping->sent : 0;
	if (!sorted || !ping->received)
		return sorted != NULL;
	for (i = 0; i < ping->sent; i++) {
		if (ping->times_ms[i] < 0)
			continue;
		sorted[n++] = ping->times_ms[i];
		summary->average += ping->times_ms[i] / ping->received;
	}
	qsort(sorted, n, sizeof(*sorted), compare);
	summary->min = sorted[0];
	summary->max = sorted[n - 1];
	summary->p99 = sorted[(n * 99 + 99) / 100 - 1];
	return true;
}

static void print_json(const struct ping *ping, const struct summary *summary)
{
	json_t *pongs = json_array(), *root;
	uint32_t i;

	for (i = 0; i < ping->sent; i++)
		if (ping->times_ms[i] >= 0)
			json_array_append_new(pongs,
					      json_pack("{s:I, s:f}", "sequence", (json_int_t)i + 1,
							"ms", ping->times_ms[i]));
	root = json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:b, s:o}", "target",
			 ping->target, "sent", (json_int_t)ping->sent, "received",
			 (json_int_t)ping->received, "loss_percent", summary->loss_percent,
			 "min_ms", summary->min, "avg_ms", summary->average, "max_ms", summary->max,
			 "p99_ms", summary->p99, "goaway", ping->ended, "pongs", pongs);
	json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	puts("");
	json_decref(root);
}

static void print_summary(const struct ping *ping, const struct summary *summary)
{
	printf("%u sent, %u received, %.1f%% lost", ping->sent, ping->received,
	       summary->loss_percent);
	if (ping->received)
		printf("; min %.3f, avg %.3f, max %.3f, p99 %.3f ms", summary->min,
		       summary->average, summary->max, summary->p99);
	puts("");
}

static int report(const struct ping *ping)
{
	struct summary summary;

	if (!summarise(ping, &summary))
		return cli_fail(CLI_FAILED, "ping: out of memory");
	if (cli.json)
		print_json(ping, &summary);
	else
		print_summary(ping, &summary);
	if (ping->received)
		return CLI_DONE;
	if (ping->ended)
		return cli_fail(CLI_FAILED, "ping: %s ended the session", ping->target);
	if (ping->refused)
		return cli_fail(CLI_FAILED, "ping: %s: %s; does an agent run there?", ping->target,
				strerror(ping->refused));
	return cli_fail(CLI_FAILED,
			"ping: no pong from %s; check ids, secret, guard and --source against "
			"`packgate session show`, and `packgate drops` on the server",
			ping->target);
}

static void ping_done(struct ping *ping)
{
	peer_done(&ping->peer);
	free(ping->payloads);
	free(ping->sent_ms);
	free(ping->times_ms);
	if (ping->fd >= 0)
		close(ping->fd);
}

static int prepare(const struct cli_args *args, struct ping *ping)
{
	int rc;

	rc = read_number(args, "count", 1, PING_COUNT_MAX, &ping->count);
	if (!rc)
		rc = read_number(args, "interval", 1, 60000, &ping->interval_ms);
	if (!rc)
		rc = read_number(args, "size", PING_SIZE_MIN, PING_SIZE_MAX, &ping->size);
	if (!rc)
		rc = make_peer(args, &ping->peer);
	if (!rc)
		rc = open_socket(ping->target, cli_option(args, "source"), &ping->fd);
	if (rc)
		return rc;
	ping->payloads = calloc(ping->count, sizeof(*ping->payloads));
	ping->sent_ms = calloc(ping->count, sizeof(*ping->sent_ms));
	ping->times_ms = calloc(ping->count, sizeof(*ping->times_ms));
	if (!ping->payloads || !ping->sent_ms || !ping->times_ms)
		return cli_fail(CLI_FAILED, "ping: out of memory");
	return CLI_DONE;
}

int cmd_ping(int argc, char **argv)
{
	PG_CLEANUP(ping_done)
	struct ping ping = {
		.fd = -1,
		.count = 5,
		.interval_ms = 1000,
		.size = 16,
	};
	static const struct cli_command words = { "ping", "HOST:PORT",	1,    1,
						  NULL,	  ping_options, NULL, NULL };
	struct sigaction on_interrupt = { .sa_handler = interrupt };
	struct cli_args args;
	int rc;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return print_help();
	rc = cli_args_parse(&words, argc - 1, argv + 1, &args);
	if (rc)
		return rc;
	ping.target = args.operands[0];
	rc = prepare(&args, &ping);
	if (rc)
		return rc;
	sigaction(SIGINT, &on_interrupt, NULL);
	rc = run(&ping);
	return rc ? rc : report(&ping);
}
