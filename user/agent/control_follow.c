// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "control_json.h"
#include "control_routes.h"
#include "control_words.h"
#include "event_text.h"

#define BATCH	       32 /* events taken at once */
#define WAIT_MS	       250
#define LINE_MAX_BYTES 640 /* of an event with every text at its longest */

/* One client that follows the drops: events wait here until the client has room for a line. */
struct follow {
	struct pg_agent *agent;
	struct pg_follower *follower;
	struct pg_event events[BATCH];
	int count, next;
	uint64_t lost, lost_told;
	char interfaces[PG_INTERFACES_MAX][PG_NAME_MAX];
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void read_interfaces(struct follow *follow)
{
	struct pg_agent_status status;
	size_t i;

	pg_agent_status(follow->agent, &status);
	for (i = 0; i < status.interface_count; i++)
		if (status.interfaces[i].slot < PG_INTERFACES_MAX)
			memcpy(follow->interfaces[status.interfaces[i].slot],
			       status.interfaces[i].name, PG_NAME_MAX);
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *event_json(const struct follow *follow, const struct pg_event *event)
{
	uint64_t offset = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	char source[PG_PEER_TEXT], destination[PG_PEER_TEXT], data[2 * PG_EVENT_SAMPLE + 1];

	pg_event_peers(event, source, destination);
	pg_event_hex(event, data);
	return json_pack("{s:I, s:s, s:I, s:s, s:I, s:b, s:o, s:o, s:s}", "time_ms",
			 (json_int_t)((event->time_ns + offset) / 1000000), "interface",
			 event->interface_slot < PG_INTERFACES_MAX
				 ? follow->interfaces[event->interface_slot]
				 : "",
			 "queue", (json_int_t)event->queue, "reason", pg_drop_word(event->reason),
			 "bytes", (json_int_t)event->bytes, "would", event->would != 0, "source",
			 text_or_null(source), "destination", text_or_null(destination), "data",
			 data);
}

static size_t write_line(json_t *value, char *bytes, size_t max)
{
	PG_JSON json_t *root = value;
	size_t n = root ? json_dumpb(root, bytes, max - 1, JSON_COMPACT) : 0;

	if (!n || n >= max)
		return 0;
	bytes[n] = '\n';
	return n + 1;
}

static ssize_t read_follow(void *context, char *bytes, size_t max)
{
	struct follow *follow = context;
	size_t used = 0;

	if (follow->next == follow->count) {
		follow->next = 0;
		follow->count = pg_follower_read(follow->follower, follow->events, BATCH, WAIT_MS,
						 &follow->lost);
		if (follow->count < 0)
			return follow->count;
		if (follow->count)
			read_interfaces(follow);
	}
	if (follow->lost != follow->lost_told && max >= LINE_MAX_BYTES) {
		follow->lost_told = follow->lost;
		used = write_line(json_pack("{s:I}", "lost", (json_int_t)follow->lost), bytes, max);
	}
	while (follow->next < follow->count && max - used >= LINE_MAX_BYTES)
		used += write_line(event_json(follow, &follow->events[follow->next++]),
				   bytes + used, max - used);
	return (ssize_t)used;
}

static void free_follow(void *context)
{
	struct follow *follow = context;

	pg_follower_free(follow->follower);
	free(follow);
}

int pg_control_follow(void *agent, const struct pg_http_request *request,
		      struct pg_http_answer *answer, struct pg_error *error)
{
	PG_FREE struct follow *follow = calloc(1, sizeof(*follow));
	int rc;

	if (!follow)
		return pg_error_set(error, -ENOMEM, "follow the drops: out of memory");
	follow->agent = agent;
	rc = pg_agent_follow(agent, &follow->follower, error);
	if (rc)
		return rc;
	read_interfaces(follow);
	answer->content_type = "application/x-ndjson";
	answer->stream.read = read_follow;
	answer->stream.free = free_follow;
	answer->stream.context = TAKE_PTR(follow);
	return 0;
}
