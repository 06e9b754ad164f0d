// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client_internal.h"

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for the socket or the next timer, at most so long (-1 = any time), and processes. */
static int turn(struct pg_client *client, int64_t most_ms)
{
	struct pollfd polled = { .fd = client->fd, .events = POLLIN };
	int wait = pg_client_timeout_ms(client);

	if (most_ms >= 0 && (wait < 0 || wait > most_ms))
		wait = (int)most_ms;
	if (poll(&polled, 1, wait) < 0 && errno != EINTR)
		return -errno;
	return pg_client_process(client);
}

static int64_t left_ms(int64_t end, int timeout_ms)
{
	int64_t left;

	if (timeout_ms < 0)
		return -1;
	left = end - now_ms();
	return left > 0 ? left : 0;
}

int pg_client_wait(struct pg_client *client, int timeout_ms, struct pg_client_event *ret_event)
{
	int64_t end = now_ms() + (timeout_ms < 0 ? 0 : timeout_ms), left;
	int err;

	for (;;) {
		if (pg_client_next(client, ret_event))
			return 1;
		left = left_ms(end, timeout_ms);
		if (client->state == CLIENT_CLOSED)
			return -ESHUTDOWN;
		err = turn(client, left);
		if (err)
			return err;
		if (!left)
			return pg_client_next(client, ret_event);
	}
}

int pg_client_flush(struct pg_client *client, int timeout_ms)
{
	int64_t end = now_ms() + (timeout_ms < 0 ? 0 : timeout_ms), left;
	int err;

	for (;;) {
		if (client->state == CLIENT_CLOSED)
			return -ESHUTDOWN;
		if (client->state == CLIENT_READY && !client->engine.tx.bytes && !client->out.count)
			return 0;
		left = left_ms(end, timeout_ms);
		if (!left)
			return -ETIMEDOUT;
		err = turn(client, left);
		if (err)
			return err;
	}
}

int pg_client_connect(const struct pg_client_options *options, struct pg_client **ret_client,
		      struct pg_client_error *error)
{
	struct pg_client *client;
	int err = pg_client_new(options, &client, error);

	if (err)
		return err;
	while (!err && client->state == CLIENT_OPENING)
		err = turn(client, -1);
	if (client->state == CLIENT_READY) {
		*ret_client = client; /* with its first event, PG_CLIENT_OPEN, still to be taken */
		return 0;
	}
	if (!err && client->events.first)
		err = client->events.first->event.code;
	if (error && client->events.first)
		snprintf(error->text, sizeof(error->text), "%s",
			 (const char *)client->events.first->bytes);
	pg_client_free(client);
	return err ? err : -ESHUTDOWN;
}
