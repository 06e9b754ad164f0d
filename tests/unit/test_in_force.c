// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "in_force.h"

static struct pg_config *parse(const char *text)
{
	struct pg_config *config = NULL;
	struct pg_error error;

	if (pg_config_parse("test", text, strlen(text), &config, &error))
		fail_msg("%s: %s", text, error.text);
	return config;
}

static const struct {
	const char *name, *running, *read;
	uint32_t half_open_most;
	const char *keys;
} rows[] = {
	{ "nothing", "interfaces: [a]\n", "interfaces: [a]\n", 0, "" },
	{ "the default, said", "instance: default\n", "mode: auto\n", 0, "" },
	{ "a shorter path", "app: { socket: /run/a }\n", "app: { socket: /r }\n", 0, "app" },
	{ "one interface more", "interfaces: [a]\n", "interfaces: [a, b]\n", 0, "interfaces" },
	{ "another interface", "interfaces: [a]\n", "interfaces: [b]\n", 0, "interfaces" },
	{ "generic", "mode: auto\n", "allow_generic: on\n", 0, "mode" },
	{ "metrics", "metrics: { listen: 127.0.0.1:1 }\n", "metrics: { listen: 127.0.0.1:2 }\n", 0,
	  "metrics" },
	{ "in the order of the list", "mode: socket\n", "instance: b\n", 0, "instance, mode" },
	{ "what a reload changes", "limits: { idle_seconds: 10 }\n", "without_agent: pass\n", 0,
	  "" },
	{ "no room for half-open ones made", "limits: { half_open: 10 }\n",
	  "limits: { half_open: 20 }\n", 0, "" },
	{ "more half-open ones than room", "limits: { half_open: 10 }\n",
	  "limits: { half_open: 20 }\n", 19, "limits.half_open" },
	{ "as many as room", "limits: { half_open: 10 }\n", "limits: { half_open: 20 }\n", 20, "" },
	{ "fewer", "limits: { half_open: 20 }\n", "limits: { half_open: 10 }\n", 20, "" },
};

static void test_named_and_put_back(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pg_config *running = parse(rows[i].running), *read = parse(rows[i].read);
		char keys[PG_KEYS_TEXT], again[PG_KEYS_TEXT];

		pg_config_keep_in_force(running, rows[i].half_open_most, read, keys);
		if (strcmp(keys, rows[i].keys))
			fail_msg("%s: \"%s\", not \"%s\"", rows[i].name, keys, rows[i].keys);
		/* what was put back is in force */
		pg_config_keep_in_force(running, rows[i].half_open_most, read, again);
		if (*again)
			fail_msg("%s: \"%s\" still differs", rows[i].name, again);
		pg_config_free(running);
		pg_config_free(read);
	}
}

static void test_values(void **state)
{
	struct pg_config *running = parse("instance: a\nlimits: { sessions: 16, half_open: 4 }\n");
	struct pg_config *read = parse("instance: b\nlimits: { sessions: 32, half_open: 9, "
				       "idle_seconds: 7 }\n");
	char keys[PG_KEYS_TEXT];

	pg_config_keep_in_force(running, 5, read, keys);
	assert_string_equal(keys, "instance, limits.sessions, limits.half_open");
	assert_string_equal(read->instance, "a");
	assert_int_equal(read->limits.sessions, 16);
	assert_int_equal(read->limits.half_open, 5);
	assert_int_equal(read->limits.idle_seconds, 7);
	pg_config_free(running);
	pg_config_free(read);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_named_and_put_back),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests_name("in_force", tests, NULL, NULL);
}
