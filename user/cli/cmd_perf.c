// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "client_options.h"
#include "commands.h"
#include "packgate/bytes.h"

#define SECONDS_DEFAULT 5
#define SIZE_DEFAULT	256
#define SIZE_MIN	16 /* phase, and time of sending */
#define SIZE_MAX_BYTES	65536
#define STREAMS_MAX	64
#define ECHO_WAIT_MS	1000 /* no echo so long: the endpoint does not echo */
#define FLUSH_MS	15000
#define SAMPLES_MAX	1000000
#define BURST		64 /* packets given between two looks at the socket */
#define TAG		1

struct perf {
	struct pg_client *client;
	uint32_t streams[STREAMS_MAX], stream_count, turn;
	uint8_t *packet;
	size_t size;
	int seconds;
	uint32_t phase; /* written into packets: an echo of another phase is not counted */
	bool full, closed, echoes, waiting;
	double *samples; /* ms */
	size_t sample_count;
	uint64_t given, acked, failed, echoed, echoed_bytes;
	char why[256];
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = 1;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void take_echo(struct perf *perf, const struct pg_client_event *event)
{
	uint64_t sent;

	if (event->length != perf->size || pg_load_be32(event->bytes) != perf->phase)
		return;
	perf->echoed++;
	perf->echoed_bytes += event->length;
	sent = pg_load_be64(event->bytes + 8);
	if (!perf->waiting || perf->sample_count == SAMPLES_MAX)
		return;
	perf->samples[perf->sample_count++] = (double)(now_ns() - sent) / 1e6;
	perf->waiting = false;
}

static void take_events(struct perf *perf)
{
	struct pg_client_event event;

	while (pg_client_next(perf->client, &event)) {
		switch (event.kind) {
		case PG_CLIENT_MESSAGE:
			take_echo(perf, &event);
			break;
		case PG_CLIENT_SENT:
			perf->acked++;
			break;
		case PG_CLIENT_FAILED:
			perf->failed++;
			break;
		case PG_CLIENT_WRITABLE:
			perf->full = false;
			break;
		case PG_CLIENT_CLOSED:
			perf->closed = true;
			snprintf(perf->why, sizeof(perf->why), "%s", (const char *)event.bytes);
			break;
		}
	}
}

/* One event loop's turn of at most so long. */
static int turn(struct perf *perf, int timeout_ms)
{
	struct pollfd polled = { .fd = pg_client_fd(perf->client), .events = POLLIN };
	int wait = pg_client_timeout_ms(perf->client), err;

	if (wait < 0 || wait > timeout_ms)
		wait = timeout_ms;
	poll(&polled, 1, wait);
	err = pg_client_process(perf->client);
	take_events(perf);
	return err;
}

static int give(struct perf *perf)
{
	uint32_t stream = perf->stream_count ? perf->streams[perf->turn % perf->stream_count] : 0;
	int err;

	pg_store_be32(perf->packet, perf->phase);
	pg_store_be64(perf->packet + 8, now_ns());
	err = pg_client_send(perf->client, stream, perf->packet, perf->size, TAG);
	if (!err) {
		perf->given++;
		perf->turn++;
	}
	return err;
}

/* One packet at a time, until the time is up: round trips without a queue. */
static int measure_round_trips(struct perf *perf)
{
	uint64_t end = now_ns() + (uint64_t)perf->seconds * 1000000000u;
	int err = 0;

	perf->phase = 1;
	while (!err && !interrupted && !perf->closed && now_ns() < end) {
		uint64_t limit = now_ns() + (uint64_t)ECHO_WAIT_MS * 1000000u;

		err = give(perf);
		perf->waiting = !err;
		while (!err && perf->waiting && !perf->closed && !interrupted && now_ns() < limit)
			err = turn(perf, 10);
		if (perf->waiting && !perf->sample_count)
			return err; /* this endpoint does not echo */
		perf->waiting = false;
	}
	perf->echoes = perf->sample_count > 0;
	return err;
}

/* The echoes of what was acked, until none comes for ECHO_WAIT_MS. */
static int await_echoes(struct perf *perf)
{
	uint64_t echoed = perf->echoed, since = now_ns();
	int err = 0;

	while (!err && perf->echoes && perf->echoed < perf->acked && !perf->closed &&
	       !interrupted && now_ns() - since < (uint64_t)ECHO_WAIT_MS * 1000000u) {
		err = turn(perf, 10);
		if (perf->echoed != echoed)
			since = now_ns();
		echoed = perf->echoed;
	}
	return err;
}

/* As much as the window takes. */
static int measure_throughput(struct perf *perf, double *ret_seconds)
{
	uint64_t start = now_ns(), end = start + (uint64_t)perf->seconds * 1000000000u;
	int err = 0;

	perf->phase = 2;
	perf->given = perf->acked = perf->failed = perf->echoed = perf->echoed_bytes = 0;
	while (!err && !interrupted && !perf->closed && now_ns() < end) {
		for (int i = 0; i < BURST && !perf->full && !err; i++) {
			err = give(perf);
			if (err == -ENOBUFS) {
				perf->full = true;
				err = 0;
			}
		}
		if (!err)
			err = turn(perf, perf->full ? 10 : 0);
	}
	*ret_seconds = (double)(now_ns() - start) / 1e9;
	/* not pg_client_flush: events that nobody takes would hold up the echoes, and those us */
	end = now_ns() + (uint64_t)FLUSH_MS * 1000000u;
	while (!err && perf->acked + perf->failed < perf->given && !perf->closed && !interrupted &&
	       now_ns() < end)
		err = turn(perf, 10);
	return err ? err : await_echoes(perf);
}

/* --- the account -------------------------------------------------------------------------------
 */

static int by_value(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return a < b ? -1 : a > b;
}

static double percentile(const struct perf *perf, double share)
{
	size_t at = (size_t)(share * (double)(perf->sample_count - 1) + 0.5);

	return perf->sample_count ? perf->samples[at] : 0;
}

static const struct {
	const char *name;
	double share;
} percentiles[] = { { "min", 0 },    { "p50", 0.5 },	{ "p90", 0.9 },
		    { "p99", 0.99 }, { "p999", 0.999 }, { "max", 1 } };

static json_t *account(const struct perf *perf, double seconds)
{
	struct pg_client_statistics now = { .size = sizeof(now) };
	json_t *rtt = perf->sample_count ? json_object() : json_null();

	pg_client_get_statistics(perf->client, &now);
	for (size_t i = 0; perf->sample_count && i < sizeof(percentiles) / sizeof(percentiles[0]);
	     i++)
		json_object_set_new(rtt, percentiles[i].name,
				    json_real(percentile(perf, percentiles[i].share)));
	return json_pack(
		"{s:f, s:i, s:i, s:I, s:I, s:I, s:f, s:f, s:b, s:I, s:I, s:I, s:f, s:I, "
		"s:o}",
		"seconds", seconds, "packet_bytes", (int)perf->size, "streams",
		(int)perf->stream_count, "packets_sent", (json_int_t)perf->given, "packets_acked",
		(json_int_t)perf->acked, "packets_failed", (json_int_t)perf->failed,
		"packets_per_second", (double)perf->acked / seconds, "bytes_per_second",
		(double)perf->acked * (double)perf->size / seconds, "echoes", perf->echoes,
		"packets_echoed", (json_int_t)perf->echoed, "frames_sent",
		(json_int_t)now.frames_sent, "frames_resent", (json_int_t)now.frames_resent, "loss",
		now.frames_sent + now.frames_resent
			? (double)now.frames_resent / (double)(now.frames_sent + now.frames_resent)
			: 0.0,
		"window_bytes", (json_int_t)now.window_bytes, "rtt_ms", rtt);
}

static void show(const struct perf *perf, double seconds)
{
	struct pg_client_statistics now = { .size = sizeof(now) };

	pg_client_get_statistics(perf->client, &now);
	printf("throughput   %.0f packets/s of %zu bytes, %.2f MB/s, over %.1f s%s\n",
	       (double)perf->acked / seconds, perf->size,
	       (double)perf->acked * (double)perf->size / seconds / 1e6, seconds,
	       perf->stream_count ? " on streams" : "");
	printf("packets      %" PRIu64 " sent, %" PRIu64 " acked, %" PRIu64 " failed\n",
	       perf->given, perf->acked, perf->failed);
	printf("frames       %" PRIu64 " sent, %" PRIu64 " sent again (%.3f %%)\n", now.frames_sent,
	       now.frames_resent,
	       now.frames_sent ? 100.0 * (double)now.frames_resent /
					 (double)(now.frames_sent + now.frames_resent)
			       : 0.0);
	if (!perf->sample_count) {
		puts("round trips  not measured: the endpoint does not echo (deliver: echo)");
		return;
	}
	printf("echoes       %" PRIu64 "\nround trips  %zu, ms:", perf->echoed, perf->sample_count);
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		printf("  %s %.3f", percentiles[i].name, percentile(perf, percentiles[i].share));
	puts("");
}

/* --- the verb ----------------------------------------------------------------------------------
 */

static int read_number(const struct cli_args *args, const char *name, unsigned long long min,
		       unsigned long long max, unsigned long long *number)
{
	const char *text = cli_option(args, name);

	if (text && !cli_number(text, min, max, number))
		return cli_fail(CLI_USAGE, "perf: --%s must be %llu to %llu, not \"%s\"", name, min,
				max, text);
	return CLI_DONE;
}

static int prepare(struct perf *perf, const struct cli_args *args)
{
	unsigned long long seconds = SECONDS_DEFAULT, size = SIZE_DEFAULT, streams = 0;
	int rc = read_number(args, "seconds", 1, 3600, &seconds);

	if (!rc)
		rc = read_number(args, "size", SIZE_MIN, SIZE_MAX_BYTES, &size);
	if (!rc)
		rc = read_number(args, "streams", 1, STREAMS_MAX, &streams);
	if (rc)
		return rc;
	perf->seconds = (int)seconds;
	perf->size = size;
	perf->stream_count = (uint32_t)streams;
	perf->packet = calloc(1, size);
	perf->samples = calloc(SAMPLES_MAX, sizeof(*perf->samples));
	return perf->packet && perf->samples ? CLI_DONE
					     : cli_fail(CLI_FAILED, "perf: out of memory");
}

static int start(struct perf *perf, const struct cli_args *args)
{
	struct client_credentials credentials;
	struct pg_client_error error = { "" };
	int rc = client_options_read("perf", args, &credentials), err;

	if (rc)
		return rc;
	err = pg_client_connect(&credentials.options, &perf->client, &error);
	client_options_wipe(&credentials);
	if (err)
		return cli_fail(err == -EINVAL ? CLI_USAGE : CLI_FAILED, "perf: %s: %s",
				args->operands[0], error.text);
	if (perf->size > pg_client_send_max(perf->client, PG_CLIENT_RELIABLE))
		return cli_fail(CLI_USAGE, "perf: --size: a packet has at most %zu bytes here",
				pg_client_send_max(perf->client, PG_CLIENT_RELIABLE));
	for (uint32_t i = 0; i < perf->stream_count && !err; i++)
		err = pg_client_open_stream(perf->client, PG_CLIENT_RELIABLE, &perf->streams[i]);
	return err ? cli_fail(CLI_FAILED, "perf: opening a stream: %s", strerror(-err)) : CLI_DONE;
}

static int measure(struct perf *perf, const struct cli_args *args)
{
	double seconds = 0;
	json_t *root;
	int err = measure_round_trips(perf);

	if (!err && !perf->closed)
		err = measure_throughput(perf, &seconds);
	if (perf->closed)
		return cli_fail(CLI_FAILED, "perf: %s", perf->why);
	if (err)
		return cli_fail(CLI_FAILED, "perf: %s", strerror(-err));
	qsort(perf->samples, perf->sample_count, sizeof(*perf->samples), by_value);
	if (cli.json) {
		root = account(perf, seconds);
		json_dumpf(root, stdout, JSON_REAL_PRECISION(6));
		puts("");
		json_decref(root);
	} else {
		show(perf, seconds);
	}
	if (!client_options_leave(args))
		pg_client_close(perf->client, 0);
	return CLI_DONE;
}

static void perf_done(struct perf *perf)
{
	pg_client_free(perf->client);
	free(perf->packet);
	free(perf->samples);
}

int cmd_perf(const struct cli_args *args)
{
	PG_CLEANUP(perf_done) struct perf perf = { 0 };
	struct sigaction action = { .sa_handler = on_interrupt };
	int rc = prepare(&perf, args);

	if (!rc)
		rc = start(&perf, args);
	if (rc)
		return rc;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	return measure(&perf, args);
}
