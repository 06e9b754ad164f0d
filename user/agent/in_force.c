// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "in_force.h"

/*
 * Keys whose change a running agent cannot follow, or follows for a part only: X(KEY, first field,
 * last field) of struct pg_config.
 */
#define RESTART_KEYS(X)                                                                      \
	X("instance", instance, instance)                                                    \
	X("interfaces", interface_count, interfaces)                                         \
	X("app", app.main, app.main)                                                         \
	X("app.routes", app.route_count, app.routes)                                         \
	X("control", control, control)                                                       \
	X("metrics", metrics, metrics)                                                       \
	X("state", state, state)                                                             \
	X("limits.sessions", limits.sessions, limits.sessions)                               \
	X("limits.streams", limits.streams, limits.streams)                                  \
	X("limits.receive_timeout_ms", limits.receive_timeout_ms, limits.receive_timeout_ms) \
	X("limits.max_payload", limits.max_payload, limits.max_payload)                      \
	X("limits.acks_per_session_per_second", limits.acks_per_session_per_second,          \
	  limits.acks_per_session_per_second)                                                \
	X("workers", workers, workers)                                                       \
	X("mode", mode, allow_generic)                                                       \
	X("duplicate_acks", duplicate_acks, duplicate_acks)

static void note(char text[PG_KEYS_TEXT], const char *key)
{
	size_t used = strlen(text);

	snprintf(text + used, PG_KEYS_TEXT - used, "%s%s", used ? ", " : "", key);
}

void pg_config_keep_in_force(const struct pg_config *running, uint32_t half_open_most,
			     struct pg_config *read, char ret_keys[PG_KEYS_TEXT])
{
	static const struct {
		const char *name;
		size_t from, to;
	} keys[] = {
#define PG_X(name, first, last)                    \
	{ name, offsetof(struct pg_config, first), \
	  offsetof(struct pg_config, last) + sizeof(((struct pg_config *)0)->last) },
		RESTART_KEYS(PG_X)
#undef PG_X
	};
	const char *from = (const char *)running;
	char *to = (char *)read;

	ret_keys[0] = '\0';
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		size_t at = keys[i].from, bytes = keys[i].to - at;

		if (!memcmp(to + at, from + at, bytes))
			continue;
		memcpy(to + at, from + at, bytes);
		note(ret_keys, keys[i].name);
	}
	if (half_open_most && read->limits.half_open > half_open_most) {
		read->limits.half_open = half_open_most;
		note(ret_keys, "limits.half_open");
	}
}
