// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "config.h"

/* The sample of DESIGN section 6. */
static const char design_sample[] =
	"instance: default\n"
	"interfaces: [eth0]\n"
	"endpoints:\n"
	"  - name: game\n"
	"    address: 0.0.0.0          # one address; 0.0.0.0 = every local IPv4\n"
	"    port: 4000\n"
	"    guard: on                 # on | off\n"
	"    policy: window            # window | monotonic\n"
	"    roaming: on               # on | off\n"
	"    enforce: drop             # drop | count\n"
	"    deliver: app              # app | echo | discard\n"
	"    format: raw               # raw | message\n"
	"app:     { socket: /run/packgate/app.sock, group: packgate, mode: \"0660\" }\n"
	"control: { socket: /run/packgate/control.sock, group: packgate, mode: \"0660\" }\n"
	"metrics: { listen: 127.0.0.1:9747 }\n"
	"state:   { directory: /var/lib/packgate }\n"
	"tcp:     { namespaces: [all] }   # [all] | [own] | names\n"
	"limits:  { sessions: 65536, streams: 65536, handshakes_per_second: 1000, "
	"unmatched_per_source_per_second: 100, receive_timeout_ms: 12000, idle_seconds: 60, "
	"max_payload: 1172, half_open: 4096, acks_per_session_per_second: 1000 }\n"
	"handshake: { key: /etc/packgate/server.key, cookie: auto, tokens: none }\n"
	"mode: auto                    # auto | zerocopy | copy | generic | socket\n"
	"allow_generic: off\n"
	"without_agent: drop           # drop | pass\n";

/* Every key with another value than its default. */
static const char other_sample[] =
	"without_agent: pass\n"
	"duplicate_acks: agent\n"
	"allow_generic: on\n"
	"mode: generic\n"
	"workers: { spin: on }\n"
	"handshake:\n"
	"  key: /k\n"
	"  cookie: never\n"
	"  tokens: /etc/packgate/tokens\n"
	"  old_key: /old\n"
	"  aead: aes-256-gcm\n"
	"limits:\n"
	"  sessions: 1048576\n"
	"  streams: 17\n"
	"  handshakes_per_second: 2\n"
	"  unmatched_per_source_per_second: 3\n"
	"  receive_timeout_ms: 1000\n"
	"  idle_seconds: 5\n"
	"  max_payload: 2020\n"
	"  half_open: 6\n"
	"  acks_per_session_per_second: 7\n"
	"  message_bytes: 64\n"
	"  tcp_buffer_bytes: 2147483648\n"
	"tcp: { namespaces: [blue, \"green-1\", 4711] }\n"
	"state: { directory: /srv/pg, key: /srv/key }\n"
	"metrics: { listen: \"[::1]:80\" }\n"
	"control: { socket: /c, group: 0, mode: 0600 }\n"
	"app: { socket: /a, group: games, mode: '0777' }\n"
	"endpoints:\n"
	"- { name: a, port: 1, guard: off, policy: monotonic, roaming: off, enforce: count,\n"
	"    deliver: echo, format: message, address: \"::\" }\n"
	"- { name: b_2-c, port: 65535, deliver: discard, address: 192.0.2.1 }\n"
	"interfaces: [eth0, eth0.100, \"0\"]\n"
	"instance: second\n";

static struct pg_config *parse(const char *text)
{
	struct pg_config *config = NULL;
	struct pg_error error = { "" };

	if (pg_config_parse("good.yaml", text, strlen(text), &config, &error))
		fail_msg("%s", error.text);
	assert_non_null(config);
	return config;
}

static void assert_address(const struct pg_address *address, const char *text)
{
	char printed[PG_ADDRESS_TEXT];

	assert_string_equal(pg_address_print(address, printed), text);
}

/* All but interfaces, endpoints and whether the handshake section is present. */
static void assert_defaults(const struct pg_config *config)
{
	struct pg_limit limit;
	size_t i;

	assert_string_equal(config->instance, "default");
	assert_string_equal(config->app.main.socket, "/run/packgate/app.sock");
	assert_string_equal(config->app.main.group, "packgate");
	assert_int_equal(config->app.main.mode, 0660);
	assert_string_equal(config->control.socket, "/run/packgate/control.sock");
	assert_string_equal(config->control.group, "packgate");
	assert_int_equal(config->control.mode, 0660);
	assert_true(config->metrics.on);
	assert_address(&config->metrics.listen.address, "127.0.0.1");
	assert_int_equal(config->metrics.listen.port, 9747);
	assert_string_equal(config->state.directory, "/var/lib/packgate");
	assert_string_equal(config->state.key, "/var/lib/packgate/machine.key");
	assert_int_equal(config->tcp.namespaces, PG_NAMESPACES_ALL);
	assert_int_equal(config->tcp.name_count, 0);
	assert_false(config->workers.spin);
	assert_string_equal(config->handshake.key, "/etc/packgate/server.key");
	assert_int_equal(config->handshake.cookie, PG_COOKIE_AUTO);
	assert_int_equal(config->handshake.tokens.kind, PG_TOKEN_NONE);
	assert_string_equal(config->handshake.tokens.path, "");
	assert_string_equal(config->handshake.old_key, "");
	assert_int_equal(config->handshake.aead, 0);
	assert_int_equal(config->mode, PG_MODE_AUTO);
	assert_false(config->allow_generic);
	assert_int_equal(config->without_agent, PG_WITHOUT_DROP);
	assert_int_equal(config->duplicate_acks, PG_DUPLICATE_ACKS_AUTO);
	for (i = 0; pg_config_limit(&config->limits, i, &limit); i++)
		assert_int_equal(limit.value, limit.standard);
}

static void assert_default_endpoint(const struct pg_endpoint_config *endpoint)
{
	assert_address(&endpoint->address, "0.0.0.0");
	assert_true(endpoint->guard);
	assert_true(endpoint->roaming);
	assert_int_equal(endpoint->policy, PG_SESSION_POLICY_WINDOW);
	assert_int_equal(endpoint->enforce, PG_ENFORCE_DROP);
	assert_int_equal(endpoint->deliver, PG_DELIVER_APP);
	assert_int_equal(endpoint->format, PG_FORMAT_RAW);
}

static void test_defaults(void **state)
{
	struct pg_config *config = parse("{}");

	assert_defaults(config);
	assert_int_equal(config->interface_count, 0);
	assert_int_equal(config->endpoint_count, 0);
	assert_false(config->handshake.present);
	pg_config_free(config);
}

static void test_endpoint_defaults(void **state)
{
	struct pg_config *config =
		parse("endpoints:\n- port: 9\n  name: a\n- name: b\n  port: 8\n");

	assert_int_equal(config->endpoint_count, 2);
	assert_string_equal(config->endpoints[0].name, "a");
	assert_int_equal(config->endpoints[0].port, 9);
	assert_default_endpoint(&config->endpoints[0]);
	assert_string_equal(config->endpoints[1].name, "b");
	assert_int_equal(config->endpoints[1].port, 8);
	assert_default_endpoint(&config->endpoints[1]);
	pg_config_free(config);
}

static void test_empty_lists(void **state)
{
	struct pg_config *config = parse("interfaces: []\nendpoints: []\n");

	assert_int_equal(config->interface_count, 0);
	assert_int_equal(config->endpoint_count, 0);
	pg_config_free(config);
}

static void assert_sample(const struct pg_config *config)
{
	assert_defaults(config);
	assert_int_equal(config->interface_count, 1);
	assert_string_equal(config->interfaces[0], "eth0");
	assert_int_equal(config->endpoint_count, 1);
	assert_string_equal(config->endpoints[0].name, "game");
	assert_int_equal(config->endpoints[0].port, 4000);
	assert_default_endpoint(&config->endpoints[0]);
}

static void test_design_sample(void **state)
{
	struct pg_config *config = parse(design_sample);

	assert_sample(config);
	assert_true(config->handshake.present);
	pg_config_free(config);
}

static void test_deploy_sample(void **state)
{
	struct pg_config *config = NULL;
	struct pg_error error = { "" };

	if (pg_config_load("deploy/packgate.yaml", &config, &error))
		fail_msg("%s", error.text);
	assert_sample(config);
	assert_false(config->handshake.present);
	pg_config_free(config);
}

static void assert_other_sections(const struct pg_config *config)
{
	assert_string_equal(config->app.main.socket, "/a");
	assert_string_equal(config->app.main.group, "games");
	assert_int_equal(config->app.main.mode, 0777);
	assert_string_equal(config->control.socket, "/c");
	assert_string_equal(config->control.group, "0");
	assert_int_equal(config->control.mode, 0600);
	assert_true(config->metrics.on);
	assert_address(&config->metrics.listen.address, "::1");
	assert_int_equal(config->metrics.listen.port, 80);
	assert_string_equal(config->state.directory, "/srv/pg");
	assert_string_equal(config->state.key, "/srv/key");
	assert_int_equal(config->tcp.namespaces, PG_NAMESPACES_NAMED);
	assert_int_equal(config->tcp.name_count, 3);
	assert_string_equal(config->tcp.names[0], "blue");
	assert_string_equal(config->tcp.names[2], "4711");
	assert_true(config->handshake.present);
	assert_string_equal(config->handshake.key, "/k");
	assert_int_equal(config->handshake.cookie, PG_COOKIE_NEVER);
	assert_int_equal(config->handshake.tokens.kind, PG_TOKEN_LIST);
	assert_string_equal(config->handshake.tokens.path, "/etc/packgate/tokens");
	assert_string_equal(config->handshake.old_key, "/old");
	assert_int_equal(config->handshake.aead, PG_AEAD_AES_256_GCM);
}

static void test_jwt_tokens(void **state)
{
	struct pg_config *config = parse("handshake: { tokens: { jwt: ES256, key: /k } }\n");

	assert_int_equal(config->handshake.tokens.kind, PG_TOKEN_ES256);
	assert_string_equal(config->handshake.tokens.path, "/k");
	assert_true(config->handshake.tokens.audience);
	pg_config_free(config);
	config = parse("handshake: { tokens: { jwt: HS256, key: /k, audience: off } }\n");
	assert_int_equal(config->handshake.tokens.kind, PG_TOKEN_HS256);
	assert_false(config->handshake.tokens.audience);
	pg_config_free(config);
}

static void test_other_values(void **state)
{
	static const uint32_t limits[] = {
		1048576, 17, 2, 3, 1000, 5, 2020, 6, 7, 64, 2147483648u
	};
	struct pg_config *config = parse(other_sample);
	const struct pg_endpoint_config *endpoint = &config->endpoints[0];
	struct pg_limit limit;
	size_t i;

	assert_other_sections(config);
	assert_string_equal(config->instance, "second");
	assert_int_equal(config->interface_count, 3);
	assert_string_equal(config->interfaces[1], "eth0.100");
	assert_string_equal(config->interfaces[2], "0");
	assert_int_equal(config->endpoint_count, 2);
	assert_false(endpoint->guard);
	assert_false(endpoint->roaming);
	assert_int_equal(endpoint->policy, PG_SESSION_POLICY_MONOTONIC);
	assert_int_equal(endpoint->enforce, PG_ENFORCE_COUNT);
	assert_int_equal(endpoint->deliver, PG_DELIVER_ECHO);
	assert_int_equal(endpoint->format, PG_FORMAT_MESSAGE);
	assert_address(&endpoint->address, "::");
	assert_string_equal(endpoint[1].name, "b_2-c");
	assert_int_equal(endpoint[1].port, 65535);
	assert_int_equal(endpoint[1].deliver, PG_DELIVER_DISCARD);
	assert_address(&endpoint[1].address, "192.0.2.1");
	assert_true(config->workers.spin);
	assert_true(config->allow_generic);
	assert_int_equal(config->mode, PG_MODE_GENERIC);
	assert_int_equal(config->without_agent, PG_WITHOUT_PASS);
	assert_int_equal(config->duplicate_acks, PG_DUPLICATE_ACKS_AGENT);
	for (i = 0; pg_config_limit(&config->limits, i, &limit); i++)
		assert_int_equal(limit.value, limits[i]);
	assert_int_equal(i, sizeof(limits) / sizeof(limits[0]));
	pg_config_free(config);
}

/* Texts just inside a rule. */
static const char *const good_texts[] = {
	"---\ninstance: a\n...\n",
	"\xef\xbb\xbfinstance: a\n",
	"instance: a\r\ninterfaces: []\r\n",
	"# \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\ninstance: a",
	"\"instance\": 'a'\n",
	"instance: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
	"interfaces:\n- abcdefghijklmno\n",
	"metrics: {}\n",
	"metrics: { listen: off }\n",
	"metrics: { listen: \"off\" }\n",
	"metrics: { listen: 0.0.0.0:1 }\n",
	"tcp: { namespaces: [own] }\n",
	"tcp: { namespaces: [\"null\"] }\n",
	"limits: { sessions: 16, receive_timeout_ms: 600000, max_payload: 64 }\n",
	"app: { mode: \"0000\" }\n",
	"allow_generic: \"on\"\n",
	"handshake: {}\n",
	"handshake: { tokens: { jwt: RS256, key: /k } }\n",
	"handshake: { tokens: { audience: off, key: /k, jwt: HS256 } }\n",
	"handshake: { cookie: always }\n",
	"endpoints: [{name: a, port: 1}, {name: b, port: 1, address: \"::\"}, {name: c, port: 1, "
	"address: 1.1.1.1}, {name: d, port: 1, address: \"::1\"}, {name: e, port: 2}]\n",
	"app: { socket: "
	"/2345678901234567890123456789012345678901234567890123456789012345678901234567"
	"890123456789012345678901234567 }\n",
};

static void test_good_texts(void **state)
{
	size_t i;

	for (i = 0; i < sizeof(good_texts) / sizeof(good_texts[0]); i++)
		pg_config_free(parse(good_texts[i]));
}

struct bad_row {
	const char *name;
	const char *text;
	unsigned int line;
	const char *fragment;
};

#define EP	 "endpoints:\n- name: a\n  port: 1\n"
#define ROUTES	 "app:\n  routes:\n  - { name: a, ids: 100-199, socket: /a }\n"
#define MESSAGES "endpoints:\n- { name: a, port: 1, format: message }\ntcp_entrances:\n"

static const struct bad_row bad_texts[] = {
	/* the text as such */
	{ "empty file", "", 1, "the file is empty" },
	{ "only comments", "# nothing\n\n# here\n", 1, "the file is empty" },
	{ "empty document", "---\n", 1, "must be a mapping of keys, found no value" },
	{ "only a null", "~\n", 1, "must be a mapping of keys, found no value" },
	{ "list at the top", "- a\n- b\n", 1, "must be a mapping of keys, found a list" },
	{ "text at the top", "\n\nhello\n", 3, "must be a mapping of keys, found \"hello\"" },
	{ "two documents", "instance: a\n---\ninstance: b\n", 2, "a second document" },
	{ "directive", "%YAML 1.1\n---\ninstance: a\n", 1, "directives (%) are not supported" },
	{ "directive behind a mark", "\xef\xbb\xbf%TAG !a! b\n", 1, "directives (%) are not" },
	{ "late directive", "instance: a\n...\n%TAG !a! b\n", 3, "directives (%) are not" },
	{ "rubbish behind the end", "instance: a\n...\nfoo\n", 3, "did not find expected" },
	{ "not closed list", "instance: a\ninterfaces: [eth0,\n\n", 3, "not valid YAML" },
	{ "not closed quote", "instance: \"a\n", 1, "found unexpected end of stream" },
	{ "old Mac line ends", "mode: auto\rinstance: A\r", 2, "\"A\" is not a name" },
	{ "DOS line ends", "mode: auto\r\n\r\ninstance: A\r\n", 3, "\"A\" is not a name" },
	{ "tab as indent", "app:\n\tsocket: /a\n", 2,
	  "indented with a tab, YAML takes blanks only" },
	{ "tab behind blanks", "app:\n  group: a\n  \tmode: b\n", 3, "indented with a tab" },
	{ "tab behind a tab elsewhere", "instance:\ta\napp: {\n  group: a\n", 3, "not valid YAML" },
	{ "wrong indent", "app:\n  group: a\n socket: /a\n", 3, "not valid YAML" },
	{ "no colon", "instance: a\nfoo\n", 2, "could not find expected ':'" },
	{ "anchor", "instance: a\ninterfaces: &x [eth0]\n", 2, "anchors (&)" },
	{ "anchored text", "instance: &x a\n", 1, "anchors (&)" },
	{ "anchored map", "\napp: &x { group: a }\n", 2, "anchors (&)" },
	{ "alias", "app: { group: *x }\n", 1, "aliases (*)" },
	{ "alias as key", "\n*x : a\n", 2, "aliases (*)" },
	{ "merge key", "<<: { instance: a }\n", 1, "unknown key \"<<\"" },
	{ "tag", "instance: !!str a\n", 1, "tags (!)" },
	{ "tagged list", "interfaces: !x []\n", 1, "tags (!)" },
	{ "tagged map", "app: !x {}\n", 1, "tags (!)" },
	{ "list as key", "[a]: b\n", 1, "a key must be one word" },
	{ "map as key", "instance: a\n? {a: b}\n: c\n", 2, "a key must be one word" },
	{ "deep", "interfaces: [[[[[[[[[[eth0]]]]]]]]]]\n", 1, "nested too deeply" },
	{ "latin 1", "instance: a\n# caf\xe9\n", 2, "the byte 0xe9 is not valid UTF-8" },
	{ "continuation byte alone", "instance: \x80\n", 1, "0x80 is not valid UTF-8" },
	{ "over-long", "instance: \xc0\xaf\n", 1, "0xc0 is not valid UTF-8" },
	{ "over-long of three", "\n# \xe0\x80\xaf\n", 2, "0xe0 is not valid UTF-8" },
	{ "surrogate", "# \xed\xa0\x80\n", 1, "0xed is not valid UTF-8" },
	{ "above U+10FFFF", "# \xf4\x90\x80\x80\n", 1, "0xf4 is not valid UTF-8" },
	{ "truncated character", "instance: a\n# \xe2\x82", 2, "0xe2 is not valid UTF-8" },
	{ "UTF-16 mark", "\xff\xfei\n", 1, "0xff is not valid UTF-8" },
	{ "escape byte", "instance: a\n# \x1b[0m\n", 2, "U+001B is not allowed" },
	{ "delete", "# \x7f\n", 1, "U+007F is not allowed" },
	{ "C1 control", "# \xc2\x9b\n", 1, "U+009B is not allowed" },
	{ "line separator", "# \xe2\x80\xa8\n", 1, "U+2028 is not allowed" },
	{ "escaped NUL", "instance: \"a\\0b\"\n", 1, "a text holds the character U+0000" },

	/* keys */
	{ "unknown key, near", "\ninstanse: a\n", 2,
	  "unknown key \"instanse\", did you mean \"instance\"?" },
	{ "unknown key, swapped", EP "  gaurd: on\n", 4,
	  "endpoints[0]: unknown key \"gaurd\", did you mean \"guard\"?" },
	{ "unknown key, far", "foo: a\n", 1,
	  "unknown key \"foo\", known are instance, interfaces" },
	{ "unknown key in a section", "limits:\n  session: 16\n", 2,
	  "limits: unknown key \"session\", did you mean \"sessions\"?" },
	{ "unknown limit, far", "limits:\n  bananas: 16\n", 2,
	  "half_open, acks_per_session_per_second, message_bytes" },
	{ "key of another case", "Mode: auto\n", 1, "did you mean \"mode\"?" },
	{ "empty key", "\"\": a\n", 1, "unknown key \"\"" },
	{ "null key", "~: a\n", 1, "unknown key" },
	{ "long key", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: a\n", 1,
	  "aaaa...\", known are" },
	{ "terminal codes in a key", "\"\\e[2J\": a\n", 1, "unknown key \"?[2J\"" },
	{ "same key twice", "mode: auto\ninstance: a\nmode: auto\n", 3,
	  "mode: given a second time, the first is on line 1" },
	{ "same key twice in flow", "app: { mode: \"0660\",\n mode: \"0660\" }\n", 2,
	  "app.mode: given a second time" },
	{ "same section twice", "app: {}\n\napp: {}\n", 3, "app: given a second time" },
	{ "same endpoint key twice", EP "  port: 2\n", 4, "endpoints[0].port: given a second" },
	{ "no name", "endpoints:\n- name: a\n  port: 1\n- port: 2\n", 4,
	  "endpoints[1]: the key \"name\" is missing" },
	{ "no port", "endpoints:\n- name: a\n", 2, "endpoints[0]: the key \"port\" is missing" },

	/* types */
	{ "section is a text", "app: /run/app.sock\n", 1,
	  "app: must be a mapping of keys, found \"/run" },
	{ "section is empty", "instance: a\nlimits:\nmode: auto\n", 2,
	  "limits: must be a mapping of keys, found no value" },
	{ "section is a list", "app: [a]\n", 1, "app: must be a mapping of keys, found a list" },
	{ "instance is a list", "instance: [a]\n", 1, "instance: must be a name, found a list" },
	{ "interfaces is a text", "interfaces: eth0\n", 1,
	  "interfaces: must be a list of interfaces, found \"eth0\"" },
	{ "interfaces is nothing", "interfaces:\n", 1,
	  "must be a list of interfaces, found no value" },
	{ "endpoints is a map", "endpoints: { name: a }\n", 1,
	  "endpoints: must be a list of endpoints, found a mapping" },
	{ "endpoint is a text", "endpoints: [game]\n", 1,
	  "endpoints[0]: must be a mapping of keys" },
	{ "port is a list", "endpoints:\n- name: a\n  port: [1]\n", 3,
	  "endpoints[0].port: a list is not a number, allowed is 1 to 65535" },
	{ "namespaces is a text", "tcp: { namespaces: all }\n", 1, "must be a list of namespaces" },
	{ "guard is a map", EP "  guard: {}\n", 4, "guard: must be on or off, found a mapping" },

	/* words */
	{ "guard true", EP "  guard: true\n", 4,
	  "endpoints[0].guard: must be on or off, found \"true\"" },
	{ "guard yes", EP "  guard: yes\n", 4, "must be on or off, found \"yes\"" },
	{ "guard no", EP "  guard: no\n", 4, "must be on or off, found \"no\"" },
	{ "guard 1", EP "  guard: 1\n", 4, "must be on or off, found \"1\"" },
	{ "guard On", EP "  guard: On\n", 4, "must be on or off, found \"On\"" },
	{ "guard with rubbish", EP "  guard: on off\n", 4, "must be on or off, found \"on off\"" },
	{ "guard without a value", EP "  guard:\n", 4, "must be on or off, found no value" },
	{ "guard null", EP "  guard: null\n", 4, "must be on or off, found no value" },
	{ "roaming false", EP "  roaming: false\n", 4, "roaming: must be on or off" },
	{ "policy", EP "  policy: reliable\n", 4, "policy: must be window or monotonic" },
	{ "enforce", EP "  enforce: \"off\"\n", 4, "enforce: must be drop or count" },
	{ "deliver", EP "  deliver: none\n", 4, "deliver: must be app, echo or discard" },
	{ "format", EP "  format: json\n", 4, "format: must be raw or message" },
	{ "mode", "mode: native\n", 1, "mode: must be auto, zerocopy, copy, generic or socket" },
	{ "allow_generic", "allow_generic: yes\n", 1, "allow_generic: must be on or off" },
	{ "generic not allowed", "instance: a\nmode: generic\n", 2, "needs allow_generic: on" },
	{ "without_agent", "without_agent: count\n", 1, "without_agent: must be drop or pass" },
	{ "duplicate_acks", "duplicate_acks: on\n", 1,
	  "duplicate_acks: must be auto, gate or agent" },
	{ "spin", "workers:\n  spin: true\n", 2, "workers.spin: must be on or off" },
	{ "cookie", "handshake:\n  cookie: on\n", 2,
	  "handshake.cookie: must be auto, always or never" },
	{ "tokens without an algorithm", "handshake:\n  tokens: { key: /k }\n", 2,
	  "handshake.tokens: the key \"jwt\" is missing" },
	{ "tokens without a key", "handshake:\n  tokens: { jwt: ES256 }\n", 2,
	  "handshake.tokens: the key \"key\" is missing" },
	{ "algorithm none", "handshake:\n  tokens: { jwt: none, key: /k }\n", 2,
	  "handshake.tokens.jwt: must be HS256, RS256 or ES256" },
	{ "tokens a list", "handshake:\n  tokens: [a]\n", 2,
	  "handshake.tokens: must be an absolute path, found a list" },
	{ "old key twice", "handshake:\n  key: /a\n  old_key: /a\n", 3, "are the same file" },
	{ "aead", "handshake:\n  aead: aes\n", 2,
	  "handshake.aead: must be any, chacha20-poly1305 or aes-256-gcm" },
	{ "tokens", "handshake:\n  tokens: some\n", 2,
	  "handshake.tokens: \"some\" is not an absolute" },

	/* numbers */
	{ "port 0", "endpoints:\n- name: a\n  port: 0\n", 3,
	  "\"0\" is out of range, allowed is 1 to 65535" },
	{ "port 65536", "endpoints:\n- name: a\n  port: 65536\n", 3, "is out of range" },
	{ "port negative", "endpoints:\n- name: a\n  port: -1\n", 3, "\"-1\" is negative" },
	{ "port with rubbish", "endpoints:\n- name: a\n  port: 4000x\n", 3,
	  "\"4000x\" has something behind the digits" },
	{ "port with a unit", "endpoints:\n- name: a\n  port: 4000 udp\n", 3, "behind the digits" },
	{ "port in hex", "endpoints:\n- name: a\n  port: 0x10\n", 3, "behind the digits" },
	{ "port in octal", "endpoints:\n- name: a\n  port: 010\n", 3, "begins with a zero" },
	{ "port 01", "endpoints:\n- name: a\n  port: 01\n", 3, "begins with a zero" },
	{ "port with plus", "endpoints:\n- name: a\n  port: +1\n", 3, "is not a number" },
	{ "port quoted", "endpoints:\n- name: a\n  port: \"4000\"\n", 3, "is a quoted text" },
	{ "port as a block", "endpoints:\n- name: a\n  port: |\n    4000\n", 3,
	  "is a quoted text" },
	{ "port of digits only", "endpoints:\n- name: a\n  port: 99999999999999999999999999\n", 3,
	  "is out of range" },
	{ "port 2^64 + 1", "endpoints:\n- name: a\n  port: 18446744073709551617\n", 3,
	  "out of range" },
	{ "port without a value", "endpoints:\n- name: a\n  port:\n", 3,
	  "no value is not a number" },
	{ "port float", "endpoints:\n- name: a\n  port: 1.0\n", 3, "behind the digits" },
	{ "port exponent", "endpoints:\n- name: a\n  port: 1e3\n", 3, "behind the digits" },
	{ "minus alone", "endpoints:\n- name: a\n  port: \"-\"\n", 3, "is a quoted text" },
	{ "sessions 1000000", "limits:\n  sessions: 1000000\n", 2,
	  "limits.sessions: 1000000 is not a power of two, the nearest are 524288 and 1048576" },
	{ "sessions 17", "limits:\n  sessions: 17\n", 2, "the nearest are 16 and 32" },
	{ "sessions 1048575", "limits:\n  sessions: 1048575\n", 2, "are 524288 and 1048576" },
	{ "sessions 8", "limits:\n  sessions: 8\n", 2, "allowed is 16 to 1048576 sessions" },
	{ "sessions 2097152", "limits:\n  sessions: 2097152\n", 2,
	  "limits.sessions: \"2097152\" is out" },
	{ "sessions 64k", "limits:\n  sessions: 64k\n", 2, "behind the digits" },
	{ "streams", "limits:\n  streams: 15\n", 2, "limits.streams: \"15\" is out of range" },
	{ "max_payload 63", "limits:\n  max_payload: 63\n", 2, "allowed is 64 to 2020 bytes" },
	{ "max_payload 2021", "limits:\n  max_payload: 2021\n", 2, "allowed is 64 to 2020 bytes" },
	{ "timeout 999", "limits:\n  receive_timeout_ms: 999\n", 2,
	  "allowed is 1000 to 600000 ms" },
	{ "timeout 600001", "limits:\n  receive_timeout_ms: 600001\n", 2, "1000 to 600000 ms" },
	{ "timeout 12s", "limits:\n  receive_timeout_ms: 12s\n", 2, "behind the digits" },
	{ "idle 0", "limits:\n  idle_seconds: 0\n", 2, "allowed is 1 to 65535 s" },
	{ "idle 65536", "limits:\n  idle_seconds: 65536\n", 2, "allowed is 1 to 65535 s" },
	{ "acks 1001", "limits:\n  acks_per_session_per_second: 1001\n", 2,
	  "allowed is 1 to 1000" },
	{ "half_open 0", "limits:\n  half_open: 0\n", 2, "limits.half_open" },
	{ "handshakes 0", "limits:\n  handshakes_per_second: 0\n", 2, "1 to 1000000 handshakes/s" },
	{ "unmatched", "limits:\n  unmatched_per_source_per_second: 4294967296\n", 2,
	  "out of range" },

	/* texts */
	{ "instance with a slash", "instance: a/b\n", 1, "\"a/b\" is not a name, allowed are a-z" },
	{ "instance in capitals", "instance: A\n", 1, "\"A\" is not a name" },
	{ "instance of 32", "instance: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", 1,
	  "is 32 characters long, at most 31" },
	{ "instance empty", "instance: \"\"\n", 1,
	  "instance: must be a name, found an empty text" },
	{ "instance null", "instance: ~\n", 1, "instance: must be a name, found no value" },
	{ "name with a dot", "endpoints:\n- name: a.b\n  port: 1\n", 2,
	  "endpoints[0].name: \"a.b\"" },
	{ "name not ASCII", "endpoints:\n- name: \xc3\xa9\n  port: 1\n", 2, "not printable ASCII" },
	{ "interface of 16", "interfaces:\n- abcdefghijklmnop\n", 2,
	  "interfaces[0]: \"abcdefghijklmnop\" is 16 characters long, at most 15" },
	{ "interface with a slash", "interfaces: [a/b]\n", 1, "is not the name of an interface" },
	{ "interface with a colon", "interfaces: [\"eth0:1\"]\n", 1,
	  "not the name of an interface" },
	{ "interface dots", "interfaces: [..]\n", 1, "is not the name of an interface" },
	{ "interface with a space", "interfaces: [eth0 eth1]\n", 1,
	  "is not the name of an interface" },
	{ "interface empty", "interfaces: [\"\"]\n", 1, "interfaces[0]: must be the name" },
	{ "interface is nothing", "interfaces:\n- eth0\n-\n", 3,
	  "interfaces[1]: must be the name" },
	{ "interface twice", "interfaces:\n- a\n- b\n- a\n", 4,
	  "interfaces[2]: \"a\" is listed twice" },
	{ "relative socket", "app:\n  socket: run/app.sock\n", 2,
	  "app.socket: \"run/app.sock\" is not" },
	{ "socket of 108",
	  "app:\n  socket: "
	  "/23456789012345678901234567890123456789012345678901234567890123456789012345"
	  "67890123456789012345678901234567"
	  "8\n",
	  2, "is 108 characters long, at most 107 are allowed" },
	{ "socket with a line feed", "app:\n  socket: \"/a\\nb\"\n", 2,
	  "\"/a?b\" holds a character" },
	{ "socket empty", "control:\n  socket:\n", 2, "control.socket: must be an absolute path" },
	{ "same sockets", "app:\n  socket: /a\ncontrol:\n  socket: /a\n", 4, "are the same path" },
	{ "app on the default of control", "app:\n  socket: /run/packgate/control.sock\n", 2,
	  "app.socket and control.socket are the same path" },
	{ "group empty", "app:\n  group: \"\"\n", 2, "app.group: must be the name or number" },
	{ "group nothing", "app:\n  group:\n", 2, "app.group: must be the name or number" },
	{ "group with a colon", "app:\n  group: \"a:b\"\n", 2, "is not the name or number" },
	{ "group negative", "app:\n  group: -1\n", 2, "is not the name or number of a group" },
	{ "mode of three digits", "app:\n  mode: 660\n", 2, "four octal digits from 0000 to 0777" },
	{ "mode of Python", "app:\n  mode: 0o660\n", 2, "four octal digits" },
	{ "mode 0680", "app:\n  mode: \"0680\"\n", 2, "app.mode: must be four octal digits" },
	{ "mode with setuid", "app:\n  mode: \"4660\"\n", 2, "found \"4660\"" },
	{ "mode with rubbish", "app:\n  mode: \"0660 \"\n", 2, "found \"0660 \"" },
	{ "mode symbolic", "control:\n  mode: rw-rw----\n", 2, "control.mode: must be" },
	{ "relative directory", "state:\n  directory: lib\n", 2,
	  "state.directory: \"lib\" is not" },
	{ "relative key", "state:\n  key: ./key\n", 2,
	  "state.key: \"./key\" is not an absolute path" },
	{ "relative server key", "handshake:\n  key: key\n", 2, "handshake.key: \"key\" is not" },

	/* addresses */
	{ "address a name", EP "  address: localhost\n", 4,
	  "endpoints[0].address: \"localhost\" is not an IPv4 or IPv6 address" },
	{ "address with a prefix", EP "  address: 10.0.0.0/8\n", 4, "is not an IPv4 or IPv6" },
	{ "address mapped", EP "  address: \"::ffff:1.2.3.4\"\n", 4, "write it as 1.2.3.4" },
	{ "address multicast", EP "  address: 224.0.0.1\n", 4, "is a multicast or broadcast" },
	{ "address multicast 6", EP "  address: ff02::1\n", 4, "is a multicast or broadcast" },
	{ "address star", EP "  address: \"*\"\n", 4, "is not an IPv4 or IPv6 address" },
	{ "listen without a port", "metrics:\n  listen: 127.0.0.1\n", 2,
	  "metrics.listen: must be ADDRESS:PORT, \"[v6]:PORT\" or off" },
	{ "listen port 0", "metrics:\n  listen: 127.0.0.1:0\n", 2, "\"0\" is not a port" },
	{ "listen on a name", "metrics:\n  listen: localhost:9747\n", 2, "names are not resolved" },
	{ "listen only a port", "metrics:\n  listen: \":9747\"\n", 2, "metrics.listen: must be" },
	{ "listen no", "metrics:\n  listen: no\n", 2, "metrics.listen: must be" },
	{ "listen v6 not quoted", "metrics:\n  listen: [::1]:9747\n", 2, "not valid YAML" },

	/* joined rules */
	{ "name twice", EP "- name: a\n  port: 2\n", 4,
	  "endpoints[1]: the name \"a\" is that of endpoints[0] too" },
	{ "same address and port", EP "- name: b\n  port: 1\n", 5,
	  "endpoints[1]: address 0.0.0.0 and port 1 are those of \"a\" too" },
	{ "same address, other spelling",
	  "endpoints:\n- {name: a, port: 1, address: \"::1\"}\n- {name: b, port: 1,\n"
	  "   address: \"0::1\"}\n",
	  3, "address ::1 and port 1 are those of \"a\" too" },
	{ "five on a port",
	  EP "- {name: b, port: 1, address: 1.1.1.1}\n- {name: c, port: 1, address: 1.1.1.2}\n"
	     "- {name: d, port: 1, address: 1.1.1.3}\n- {name: e, port: 1, address: 1.1.1.4}\n",
	  7, "endpoints[4]: port 1 has 4 endpoints already" },
	{ "namespaces empty", "tcp:\n  namespaces: []\n", 2, "tcp.namespaces: the list is empty" },
	{ "all and a name", "tcp:\n  namespaces: [all, blue]\n", 2, "all and own stand alone" },
	{ "a name and own", "tcp:\n  namespaces:\n  - blue\n  - own\n", 4,
	  "tcp.namespaces[1]: all and own stand alone" },
	{ "shield without a port", "shield:\n  listeners:\n  - mode: on\n", 3, "port" },
	{ "shield on port 0", "shield:\n  listeners:\n  - port: 0\n", 3, "port" },
	{ "shield with another mode", "shield:\n  listeners:\n  - port: 1\n    mode: yes\n", 4,
	  "mode" },
	{ "shield threshold 0", "shield:\n  listeners:\n  - port: 1\n    threshold: 0\n", 4,
	  "threshold" },
	{ "shield threshold 101", "shield:\n  listeners:\n  - port: 1\n    threshold: 101\n", 4,
	  "threshold" },
	{ "shield of a group address",
	  "shield:\n  listeners:\n  - port: 1\n    address: 224.0.0.1\n", 4, "multicast" },
	{ "shield cookie", "shield:\n  cookie: mine\n", 2, "shield.cookie" },
	{ "shield set_sysctl", "shield:\n  set_sysctl: 1\n", 2, "shield.set_sysctl" },
	{ "shield key", "shield:\n  port: 1\n", 2, "port" },
	{ "shield twice", "shield:\n  listeners:\n  - port: 1\n  - port: 1\n    mode: on\n", 4,
	  "with the same address" },
	{ "shield twice with an address",
	  "shield:\n  listeners: [{ port: 1, address: \"::\" }, { port: 1, address: \"::\" }]\n", 2,
	  "with the same address" },
	{ "namespace twice", "tcp:\n  namespaces: [a, a]\n", 2, "\"a\" is listed twice" },
	{ "namespace with a slash", "tcp:\n  namespaces: [/proc/1]\n", 2,
	  "not the name of a network" },

	/* routes */
	{ "route without ids", ROUTES "  - { name: b, socket: /b }\n", 4,
	  "app.routes[1]: the key \"ids\" is missing" },
	{ "route without a socket", ROUTES "  - { name: b, ids: 3 }\n", 4,
	  "\"socket\" is missing" },
	{ "route without a name", ROUTES "  - { ids: 3, socket: /b }\n", 4, "\"name\" is missing" },
	{ "route of the heartbeat", ROUTES "  - { name: b, ids: 1-5, socket: /b }\n", 4,
	  "app.routes[1].ids: must be FIRST-LAST with 3 <= FIRST" },
	{ "route of its answer", ROUTES "  - { name: b, ids: 2, socket: /b }\n", 4,
	  "must be FIRST" },
	{ "route backwards", ROUTES "  - { name: b, ids: 9-8, socket: /b }\n", 4, "must be FIRST" },
	{ "route beyond an Id", ROUTES "  - { name: b, ids: 3-2147483648, socket: /b }\n", 4,
	  "must be FIRST" },
	{ "route with a sign", ROUTES "  - { name: b, ids: 3--8, socket: /b }\n", 4,
	  "must be FIRST" },
	{ "route half open", ROUTES "  - { name: b, ids: 3-, socket: /b }\n", 4, "must be FIRST" },
	{ "route in words", ROUTES "  - { name: b, ids: all, socket: /b }\n", 4, "must be FIRST" },
	{ "route as a list", ROUTES "  - { name: b, ids: [3, 8], socket: /b }\n", 4,
	  "must be FIRST-LAST, found a list" },
	{ "routes touch at the start", ROUTES "  - { name: b, ids: 50-100, socket: /b }\n", 4,
	  "app.routes[1]: 50-100 overlaps 100-199 of \"a\"" },
	{ "routes touch at the end", ROUTES "  - { name: b, ids: 199-300, socket: /b }\n", 4,
	  "199-300 overlaps 100-199" },
	{ "route within another", ROUTES "  - { name: b, ids: 150, socket: /b }\n", 4,
	  "150-150 overlaps 100-199" },
	{ "route around another", ROUTES "  - { name: b, ids: 3-1000, socket: /b }\n", 4,
	  "3-1000 overlaps 100-199" },
	{ "route named twice", ROUTES "  - { name: a, ids: 3, socket: /b }\n", 4,
	  "the name \"a\" is that of routes[0] too" },
	{ "route on the socket of a route", ROUTES "  - { name: b, ids: 3, socket: /a }\n", 4,
	  "app.routes[1].socket is the path of another socket" },
	{ "route on the main socket",
	  "app:\n  socket: /m\n  routes:\n"
	  "  - { name: b, ids: 3,\n      socket: /m }\n",
	  5, "app.routes[0].socket is the path of another" },
	{ "route on the control socket",
	  ROUTES "  - { name: b, ids: 3, socket: /run/packgate/control.sock }\n", 4,
	  "app.routes[1].socket is the path of another" },
	{ "eight routes",
	  "app:\n  routes:\n"
	  "  - { name: a, ids: 3, socket: /a }\n  - { name: b, ids: 4, socket: /b }\n"
	  "  - { name: c, ids: 5, socket: /c }\n  - { name: d, ids: 6, socket: /d }\n"
	  "  - { name: e, ids: 7, socket: /e }\n  - { name: f, ids: 8, socket: /f }\n"
	  "  - { name: g, ids: 9, socket: /g }\n  - { name: h, ids: 10, socket: /h }\n",
	  10, "more than 7 routes" },

	/* entrances */
	{ "entrance without a port", MESSAGES "- { name: e, endpoint: a }\n", 4,
	  "tcp_entrances[0]: the key \"port\" is missing" },
	{ "entrance without an endpoint", MESSAGES "- { name: e, port: 1 }\n", 4,
	  "\"endpoint\" is missing" },
	{ "entrance to nowhere", MESSAGES "- { name: e, endpoint: b, port: 1 }\n", 4,
	  "tcp_entrances[0].endpoint: there is no endpoint \"b\"" },
	{ "entrance to raw packets", EP "tcp_entrances:\n- { name: e, endpoint: a, port: 1 }\n", 5,
	  "tcp_entrances[0].endpoint: \"a\" needs format: message" },
	{ "entrance twice",
	  MESSAGES "- { name: e, endpoint: a, port: 1 }\n- { name: e, endpoint: a, port: 2 }\n", 5,
	  "the name \"e\" is that of tcp_entrances[0] too" },
	{ "entrances in one place",
	  MESSAGES "- { name: e, endpoint: a, port: 1 }\n- { name: f, endpoint: a, port: 1 }\n", 5,
	  "address 0.0.0.0 and port 1 are those of \"e\" too" },
	{ "entrance for nobody",
	  MESSAGES "- { name: e, endpoint: a, port: 1, max_connections: 0 }\n", 4,
	  "max_connections" },
	{ "entrance for no source",
	  MESSAGES "- { name: e, endpoint: a, port: 1, max_connections_per_source: 0 }\n", 4,
	  "max_connections_per_source" },
	{ "entrance for a source of too many",
	  MESSAGES "- { name: e, endpoint: a, port: 1, max_connections_per_source: 1048577 }\n", 4,
	  "max_connections_per_source" },
	{ "entrance never idle", MESSAGES "- { name: e, endpoint: a, port: 1, idle_seconds: 0 }\n",
	  4, "idle_seconds" },
	{ "tls without a key",
	  MESSAGES "- { name: e, endpoint: a, port: 1, tls: { certificate: /c } }\n", 4,
	  "tcp_entrances[0].tls: the key \"key\" is missing" },
	{ "tls without a certificate",
	  MESSAGES "- { name: e, endpoint: a, port: 1, tls: { key: /c } }\n", 4,
	  "the key \"certificate\" is missing" },
	{ "tls with a relative path",
	  MESSAGES "- { name: e, endpoint: a, port: 1, tls: { certificate: c, key: /k } }\n", 4,
	  "not an absolute path" },
	{ "message_bytes too many", "limits:\n  message_bytes: 16777217\n", 2, "message_bytes" },
	{ "message_bytes too few", "limits:\n  message_bytes: 63\n", 2, "message_bytes" },
};

/* error must begin with bad.yaml:LINE: and hold the fragment. */
static void assert_refused(const struct bad_row *row, const char *text, size_t bytes)
{
	struct pg_config *config = (void *)row;
	struct pg_error error = { "" };
	char start[32];

	if (pg_config_parse("bad.yaml", text, bytes, &config, &error) != -EINVAL)
		fail_msg("%s: not refused with -EINVAL, \"%s\"", row->name, error.text);
	assert_ptr_equal(config, row);
	snprintf(start, sizeof(start), "bad.yaml:%u: ", row->line);
	if (strncmp(error.text, start, strlen(start)) || !strstr(error.text, row->fragment))
		fail_msg("%s: %s", row->name, error.text);
	assert_int_equal(pg_config_parse("bad.yaml", text, bytes, &config, NULL), -EINVAL);
}

static void test_bad_text(void **state)
{
	const struct bad_row *row = *state;

	assert_refused(row, row->text, strlen(row->text));
}

static void test_nul_byte(void **state)
{
	static const struct bad_row row = { "NUL byte", "", 2, "U+0000 is not allowed" };
	static const char text[] = "instance: a\nmode: au\0to\n";

	assert_refused(&row, text, sizeof(text) - 1);
}

/* A text is read to its length, not to a terminator. */
static void test_length(void **state)
{
	char *text = strdup("mode: autoX");
	struct pg_config *config;
	struct pg_error error;

	assert_int_equal(pg_config_parse("a", text, strlen(text) - 1, &config, &error), 0);
	pg_config_free(config);
	free(text);
}

/* Writes a list of count entries behind a head; entry takes two numbers. */
static char *many(const char *head, const char *entry, unsigned int count)
{
	char *text = NULL;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);
	unsigned int i;

	assert_non_null(file);
	fputs(head, file);
	for (i = 0; i < count; i++)
		fprintf(file, entry, i, i + 1);
	assert_int_equal(fclose(file), 0);
	return text;
}

static void test_counts(void **state)
{
	static const struct {
		struct bad_row row;
		const char *head, *entry;
		unsigned int max;
	} rows[] = {
		{ { "endpoints", "", 258, "endpoints: more than 256 endpoints" },
		  "endpoints:\n",
		  "- {name: e%u, port: %u}\n",
		  256 },
		{ { "interfaces", "", 18, "interfaces: more than 16 interfaces" },
		  "interfaces:\n",
		  "- e%u.%u\n",
		  16 },
		{ { "namespaces", "", 67, "tcp.namespaces: more than 64 namespaces" },
		  "tcp:\n  namespaces:\n",
		  "  - n%u.%u\n",
		  64 },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = many(rows[i].head, rows[i].entry, rows[i].max);

		pg_config_free(parse(text));
		free(text);
		text = many(rows[i].head, rows[i].entry, rows[i].max + 1);
		assert_refused(&rows[i].row, text, strlen(text));
		free(text);
	}
}

static void test_too_many_values(void **state)
{
	static const struct bad_row row = { "values", "", 1, "too many values in the file" };
	char *text = many("interfaces: [", "%u%u,", 20000);

	assert_refused(&row, text, strlen(text));
	free(text);
}

static char *padded(size_t bytes)
{
	static const char head[] = "instance: a\n#";
	char *text = malloc(bytes + 1);

	assert_non_null(text);
	memset(text, 'x', bytes);
	memcpy(text, head, sizeof(head) - 1);
	text[bytes] = '\0';
	return text;
}

static void test_largest_text(void **state)
{
	char *text = padded(PG_CONFIG_BYTES_MAX + 1);
	struct pg_config *config = NULL;
	struct pg_error error;

	assert_int_equal(pg_config_parse("a", text, PG_CONFIG_BYTES_MAX + 1, &config, &error),
			 -EFBIG);
	assert_null(config);
	assert_string_equal(error.text, "a:1: the file is larger than 1048576 bytes");
	assert_int_equal(pg_config_parse("a", text, PG_CONFIG_BYTES_MAX, &config, &error), 0);
	pg_config_free(config);
	free(text);
}

/* The line and the reason survive a name that alone would fill the sentence. */
static void test_long_name(void **state)
{
	struct pg_config *config = NULL;
	struct pg_error error;
	char name[1000];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(pg_config_parse(name, "mode: x", 7, &config, &error), -EINVAL);
	assert_non_null(strstr(error.text, "nnn:1: mode: must be auto, zerocopy"));
	assert_int_equal(pg_config_parse(name, "mode: [", 7, &config, &error), -EINVAL);
	assert_non_null(strstr(error.text, "nnn:1: not valid YAML"));
	assert_null(config);
}

static void write_file(const char *path, const char *text, size_t bytes)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, bytes, file), bytes);
	assert_int_equal(fclose(file), 0);
}

static void test_load(void **state)
{
	char directory[] = "/tmp/test_config.XXXXXX", path[64];
	struct pg_config *config = NULL;
	struct pg_error error;
	char *large = padded(PG_CONFIG_BYTES_MAX + 1);

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/a.yaml", directory);
	assert_int_equal(pg_config_load(path, &config, &error), -ENOENT);
	assert_non_null(strstr(error.text, path));
	assert_non_null(strstr(error.text, "No such file"));
	assert_int_equal(pg_config_load(directory, &config, &error), -EISDIR);
	assert_non_null(strstr(error.text, "Is a directory"));
	write_file(path, large, PG_CONFIG_BYTES_MAX + 1);
	assert_int_equal(pg_config_load(path, &config, &error), -EFBIG);
	write_file(path, "", 0);
	assert_int_equal(pg_config_load(path, &config, &error), -EINVAL);
	assert_non_null(strstr(error.text, "a.yaml:1: the file is empty"));
	write_file(path, "mode: auto\nmode: x\n", 19);
	assert_int_equal(pg_config_load(path, &config, &error), -EINVAL);
	assert_non_null(strstr(error.text, "a.yaml:2: mode: given a second time"));
	assert_null(config);
	write_file(path, large, PG_CONFIG_BYTES_MAX);
	assert_int_equal(pg_config_load(path, &config, &error), 0);
	assert_string_equal(config->instance, "a");
	pg_config_free(config);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(directory), 0);
	free(large);
}

static void test_names(void **state)
{
	assert_string_equal(pg_session_policy_name(PG_SESSION_POLICY_WINDOW), "window");
	assert_string_equal(pg_session_policy_name(PG_SESSION_POLICY_MONOTONIC), "monotonic");
	assert_int_equal(PG_SESSION_POLICY_WINDOW, 0);
	assert_int_equal(PG_SESSION_POLICY_MONOTONIC, 1);
	assert_string_equal(pg_enforce_name(PG_ENFORCE_COUNT), "count");
	assert_string_equal(pg_deliver_name(PG_DELIVER_DISCARD), "discard");
	assert_string_equal(pg_format_name(PG_FORMAT_MESSAGE), "message");
	assert_string_equal(pg_mode_name(PG_MODE_SOCKET), "socket");
	assert_string_equal(pg_without_agent_name(PG_WITHOUT_PASS), "pass");
	assert_string_equal(pg_duplicate_acks_name(PG_DUPLICATE_ACKS_GATE), "gate");
	assert_string_equal(pg_cookie_name(PG_COOKIE_NEVER), "never");
	assert_string_equal(pg_mode_name((enum pg_mode)99), "unknown");
}

static void test_limits(void **state)
{
	struct pg_limits limits = { .sessions = 1, .acks_per_session_per_second = 9 };
	struct pg_limit limit;
	size_t i;

	for (i = 0; pg_config_limit(&limits, i, &limit); i++) {
		assert_true(limit.min <= limit.standard && limit.standard <= limit.max);
		assert_true(*limit.name && *limit.unit && *limit.help);
	}
	assert_int_equal(i, 11);
	assert_true(pg_config_limit(&limits, 0, &limit));
	assert_string_equal(limit.name, "sessions");
	assert_int_equal(limit.value, 1);
	assert_int_equal(limit.max, 1048576);
	assert_true(pg_config_limit(&limits, 8, &limit));
	assert_string_equal(limit.name, "acks_per_session_per_second");
	assert_int_equal(limit.value, 9);
	assert_false(pg_config_limit(&limits, 11, &limit));
	assert_false(pg_config_limit(&limits, SIZE_MAX, &limit));
}

/* --- mutations ---------------------------------------------------------------------------------
 */

static const char *const pieces[] = {
	"on",
	"off",
	"yes",
	"0",
	"-1",
	"65536",
	"\"",
	"'",
	"[",
	"]",
	"{",
	"}",
	": ",
	"- ",
	"\n",
	"\n  ",
	"\t",
	"#",
	"&a ",
	"*a",
	"!!",
	"---\n",
	"...\n",
	"? ",
	"|\n",
	">\n",
	"%YAML 1.2\n",
	"\xc3",
	"\xe2\x80\xa8",
	"<<: ",
	"~",
	"name: ",
	"port: 1",
	"::",
	"\\",
	", ",
	"@",
	"`",
	"4294967296",
};

static size_t below(size_t bound)
{
	return (size_t)random() % bound;
}

/* Changes text in place, which has room for size bytes; returns its new length. */
static size_t mutate(char *text, size_t bytes, size_t size)
{
	const char *piece = pieces[below(sizeof(pieces) / sizeof(pieces[0]))];
	size_t at = below(bytes + 1), length = strlen(piece), cut;

	switch (below(5)) {
	case 0:
		if (at < bytes)
			text[at] = (char)random();
		return bytes;
	case 1:
		return at;
	case 2:
		cut = below(1 + (bytes - at < 40 ? bytes - at : 40));
		memmove(text + at, text + at + cut, bytes - at - cut);
		return bytes - cut;
	case 3:
		length = below(1 + (bytes - at < 40 ? bytes - at : 40));
		piece = text + at;
		break;
	default:
		break;
	}
	if (bytes + length > size)
		return bytes;
	memmove(text + at + length, text + at, bytes - at);
	memmove(text + at, piece, length);
	return bytes + length;
}

static void assert_within_bounds(const struct pg_config *config)
{
	struct pg_limit limit;
	size_t i;

	assert_true(config->interface_count <= PG_INTERFACES_MAX);
	assert_true(config->endpoint_count <= PG_CONFIG_ENDPOINTS_MAX);
	assert_true(config->tcp.name_count <= PG_CONFIG_NAMESPACES_MAX);
	assert_true(config->app.main.mode <= 0777 && config->control.mode <= 0777);
	assert_true(config->app.main.socket[0] == '/' && config->state.key[0] == '/');
	assert_int_equal(config->limits.sessions & (config->limits.sessions - 1), 0);
	for (i = 0; i < config->endpoint_count; i++)
		assert_true(config->endpoints[i].name[0] && config->endpoints[i].port);
	for (i = 0; pg_config_limit(&config->limits, i, &limit); i++)
		assert_true(limit.value >= limit.min && limit.value <= limit.max);
}

static unsigned int count_lines(const char *text, size_t bytes)
{
	unsigned int lines = 1;
	size_t i;

	for (i = 0; i + 1 < bytes; i++)
		lines += text[i] == '\n' || text[i] == '\r';
	return lines;
}

/* 1 if the text was accepted, 0 if refused as promised. */
static unsigned int try_text(const char *text, size_t bytes)
{
	struct pg_config *config = NULL;
	struct pg_error error = { "" };
	char *copy = malloc(bytes + !bytes); /* exact, for the sanitizer */
	unsigned int line = 0;
	int rc, end = 0;

	assert_non_null(copy);
	memcpy(copy, text, bytes);
	rc = pg_config_parse("m.yaml", copy, bytes, &config, &error);
	free(copy);
	if (!rc) {
		assert_within_bounds(config);
		pg_config_free(config);
		return 1;
	}
	assert_int_equal(rc, -EINVAL);
	assert_null(config);
	if (sscanf(error.text, "m.yaml:%u: %n", &line, &end) != 1 || !end || !error.text[end] ||
	    !line || line > count_lines(text, bytes))
		fail_msg("line %u of %u: %s\n%.*s", line, count_lines(text, bytes), error.text,
			 (int)bytes, text);
	return 0;
}

static void test_mutations(void **state)
{
	static const char *const samples[] = { design_sample, other_sample };
	unsigned int i, accepted = 0;
	char text[4096];
	size_t bytes, changes;

	srandom(9747);
	for (i = 0; i < 20000; i++) {
		bytes = strlen(samples[i & 1]);
		memcpy(text, samples[i & 1], bytes);
		for (changes = 1 + below(4); changes; changes--)
			bytes = mutate(text, bytes, sizeof(text));
		accepted += try_text(text, bytes);
	}
	assert_in_range(accepted, 500, 19000);
}

/* Every prefix is refused with a line or is a configuration of its own. */
static void test_prefixes(void **state)
{
	size_t bytes;

	for (bytes = 0; bytes < sizeof(other_sample); bytes++)
		try_text(other_sample, bytes);
	for (bytes = 0; bytes < sizeof(design_sample); bytes++)
		try_text(design_sample, bytes);
}

#define BAD_ROWS (sizeof(bad_texts) / sizeof(bad_texts[0]))

static void test_routes(void **state)
{
	struct pg_config *config = parse(
		"app:\n  routes:\n  - { name: chat, ids: 1000-1999, socket: /c, mode: \"0600\" }\n"
		"  - { name: all, ids: 2000-2147483647, socket: /d, group: chat }\n"
		"  - { name: one, ids: 3, socket: /e }\n");

	assert_int_equal(config->app.route_count, 3);
	assert_string_equal(config->app.routes[0].name, "chat");
	assert_int_equal(config->app.routes[0].first, 1000);
	assert_int_equal(config->app.routes[0].last, 1999);
	assert_string_equal(config->app.routes[0].socket.socket, "/c");
	assert_string_equal(config->app.routes[0].socket.group, "packgate");
	assert_int_equal(config->app.routes[0].socket.mode, 0600);
	assert_int_equal(config->app.routes[1].last, 2147483647);
	assert_string_equal(config->app.routes[1].socket.group, "chat");
	assert_int_equal(config->app.routes[1].socket.mode, 0660);
	assert_int_equal(config->app.routes[2].first, 3);
	assert_int_equal(config->app.routes[2].last, 3);
	pg_config_free(config);
}

static void test_entrances(void **state)
{
	struct pg_config *config = parse(
		MESSAGES
		"- { name: plain, endpoint: a, port: 4000 }\n"
		"- { name: tls, endpoint: a, address: \"::\", port: 4000, max_connections: 7,\n"
		"    max_connections_per_source: 3,\n"
		"    idle_seconds: 9, tls: { certificate: /c.pem, key: /k.pem } }\n");
	const struct pg_entrance_config *row = config->entrances;

	assert_int_equal(config->entrance_count, 2);
	assert_string_equal(row[0].name, "plain");
	assert_string_equal(row[0].endpoint, "a");
	assert_int_equal(row[0].port, 4000);
	assert_true(pg_address_is_ipv4(&row[0].address) && pg_address_is_any(&row[0].address));
	assert_int_equal(row[0].max_connections, 10000);
	assert_int_equal(row[0].max_connections_per_source, 256);
	assert_int_equal(row[0].idle_seconds, 60);
	assert_string_equal(row[0].tls.certificate, "");
	assert_false(pg_address_is_ipv4(&row[1].address));
	assert_int_equal(row[1].max_connections, 7);
	assert_int_equal(row[1].max_connections_per_source, 3);
	assert_int_equal(row[1].idle_seconds, 9);
	assert_string_equal(row[1].tls.certificate, "/c.pem");
	assert_string_equal(row[1].tls.key, "/k.pem");
	pg_config_free(config);
}

static void shield_is_read(void **state)
{
	struct pg_config *config =
		parse("shield:\n"
		      "  cookie: kernel\n"
		      "  set_sysctl: on\n"
		      "  listeners:\n"
		      "  - port: 443\n"
		      "  - { port: 443, address: \"::\", mode: on, threshold: 1 }\n"
		      "  - { port: 443, address: 0.0.0.0, mode: off }\n");
	const struct pg_shield_listener *rows = config->shield.listeners;

	assert_int_equal(config->shield.cookie, PG_SHIELD_COOKIE_KERNEL);
	assert_true(config->shield.set_sysctl);
	assert_int_equal(config->shield.listener_count, 3);
	assert_true(rows[0].any);
	assert_int_equal(rows[0].mode, PG_SHIELD_AUTO);
	assert_int_equal(rows[0].threshold, PG_SHIELD_THRESHOLD);
	assert_false(rows[1].any);
	assert_address(&rows[1].address, "::");
	assert_int_equal(rows[1].mode, PG_SHIELD_ON);
	assert_int_equal(rows[1].threshold, 1);
	assert_address(&rows[2].address, "0.0.0.0");
	assert_int_equal(rows[2].mode, PG_SHIELD_OFF);
	pg_config_free(config);
}

static const struct CMUnitTest plain_tests[] = {
	cmocka_unit_test(test_jwt_tokens),	cmocka_unit_test(shield_is_read),
	cmocka_unit_test(test_routes),		cmocka_unit_test(test_entrances),
	cmocka_unit_test(test_defaults),	cmocka_unit_test(test_endpoint_defaults),
	cmocka_unit_test(test_empty_lists),	cmocka_unit_test(test_design_sample),
	cmocka_unit_test(test_deploy_sample),	cmocka_unit_test(test_other_values),
	cmocka_unit_test(test_good_texts),	cmocka_unit_test(test_nul_byte),
	cmocka_unit_test(test_length),		cmocka_unit_test(test_counts),
	cmocka_unit_test(test_too_many_values), cmocka_unit_test(test_largest_text),
	cmocka_unit_test(test_long_name),	cmocka_unit_test(test_load),
	cmocka_unit_test(test_names),		cmocka_unit_test(test_limits),
	cmocka_unit_test(test_mutations),	cmocka_unit_test(test_prefixes),
};

#define PLAIN_TESTS (sizeof(plain_tests) / sizeof(plain_tests[0]))

int main(void)
{
	struct CMUnitTest tests[PLAIN_TESTS + BAD_ROWS] = { { NULL } };
	size_t i;

	memcpy(tests, plain_tests, sizeof(plain_tests));
	for (i = 0; i < BAD_ROWS; i++) {
		tests[PLAIN_TESTS + i].name = bad_texts[i].name;
		tests[PLAIN_TESTS + i].test_func = test_bad_text;
		tests[PLAIN_TESTS + i].initial_state = (void *)&bad_texts[i];
	}
	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
