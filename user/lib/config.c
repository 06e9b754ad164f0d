// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "config.h"
#include "config_read.h"
#include "config_yaml.h"
#include "packgate/message.h"
#include "read_file.h"

#define NAME_TAIL 96

/* The readers store a word through an unsigned int. */
_Static_assert(sizeof(enum pg_mode) == sizeof(unsigned int), "enums are as wide as unsigned int");

#define PG_X(name, number, word, ...) { word, number },
static const struct pg_word session_policy_words[] = { PG_SESSION_POLICIES(PG_X){ NULL, 0 } };
static const struct pg_word enforce_words[] = { PG_ENFORCES(PG_X){ NULL, 0 } };
static const struct pg_word deliver_words[] = { PG_DELIVERS(PG_X){ NULL, 0 } };
static const struct pg_word format_words[] = { PG_FORMATS(PG_X){ NULL, 0 } };
static const struct pg_word mode_words[] = { PG_MODES(PG_X){ NULL, 0 } };
static const struct pg_word without_agent_words[] = { PG_WITHOUT_AGENTS(PG_X){ NULL, 0 } };
static const struct pg_word duplicate_acks_words[] = { PG_DUPLICATE_ACKS(PG_X){ NULL, 0 } };
static const struct pg_word cookie_words[] = { PG_COOKIES(PG_X){ NULL, 0 } };
static const struct pg_word shield_cookie_words[] = { PG_SHIELD_COOKIES(PG_X){ NULL, 0 } };
static const struct pg_word shield_mode_words[] = { PG_SHIELD_MODES(PG_X){ NULL, 0 } };
#undef PG_X

static const struct pg_word aead_words[] = {
	{ "any", 0 },
#define PG_X(name, number, label) { label, number },
	PG_AEAD_ALGORITHMS(PG_X)
#undef PG_X
		{ NULL, 0 },
};

static const char *word_of(const struct pg_word *words, unsigned int value)
{
	for (; words->word; words++) {
		if (words->value == value)
			return words->word;
	}
	return "unknown";
}

#define PG_NAME_FUNCTION(type)                            \
	const char *pg_##type##_name(enum pg_##type type) \
	{                                                 \
		return word_of(type##_words, type);       \
	}

PG_NAME_FUNCTION(session_policy)
PG_NAME_FUNCTION(enforce)
PG_NAME_FUNCTION(deliver)
PG_NAME_FUNCTION(format)
PG_NAME_FUNCTION(mode)
PG_NAME_FUNCTION(without_agent)
PG_NAME_FUNCTION(duplicate_acks)
PG_NAME_FUNCTION(cookie)
PG_NAME_FUNCTION(shield_cookie)
PG_NAME_FUNCTION(shield_mode)

int pg_shield_mode_parse(const char *word)
{
	for (const struct pg_word *row = shield_mode_words; row->word; row++)
		if (!strcmp(row->word, word))
			return (int)row->value;
	return -EINVAL;
}

bool pg_config_limit(const struct pg_limits *limits, size_t index, struct pg_limit *ret_limit)
{
	const struct pg_limit table[] = {
#define PG_X(name, standard, min, max, unit, help) \
	{ #name, unit, help, limits->name, standard, min, max },
		PG_LIMITS(PG_X)
#undef PG_X
	};

	if (index >= sizeof(table) / sizeof(table[0]))
		return false;
	*ret_limit = table[index];
	return true;
}

static int read_address(struct pg_reader *reader, const struct pg_field *field,
			const struct pg_yaml_node *node, void *ret_value)
{
	struct pg_address *address = ret_value;
	struct pg_error error;
	const char *text;
	int rc;

	rc = pg_read_text(reader, node, PG_ADDRESS_TEXT, "an IPv4 or IPv6 address", &text);
	if (rc)
		return rc;
	if (pg_address_parse(text, address, &error))
		return pg_reader_fail(reader, node->line, "%s", error.text);
	if (pg_address_is_group(address))
		return pg_reader_fail(reader, node->line,
				      "%s is a multicast or broadcast address, allowed is one "
				      "address of this host, 0.0.0.0 or \"::\"",
				      pg_reader_show(reader, node));
	return 0;
}

static int read_listen(struct pg_reader *reader, const struct pg_field *field,
		       const struct pg_yaml_node *node, void *ret_value)
{
	static const char *const what = "ADDRESS:PORT, \"[v6]:PORT\" or off";
	struct pg_metrics_config *metrics = ret_value;
	struct pg_error error;
	const char *text;
	int rc;

	rc = pg_read_text(reader, node, PG_PEER_TEXT, what, &text);
	if (rc)
		return rc;
	metrics->on = strcmp(text, "off");
	if (metrics->on && pg_address_parse_peer(text, &metrics->listen, &error))
		return pg_reader_fail(reader, node->line, "must be %s: %s", what, error.text);
	return 0;
}

/* Four octal digits: 660 would be decimal to one reader and octal to another. */
static int read_file_mode(struct pg_reader *reader, const struct pg_field *field,
			  const struct pg_yaml_node *node, void *ret_value)
{
	const char *text = node->text;

	if (node->kind != PG_YAML_SCALAR || strlen(text) != 4 || *text != '0' ||
	    strspn(text, "01234567") != 4)
		return pg_reader_fail(reader, node->line,
				      "must be four octal digits from 0000 to 0777, found %s",
				      pg_reader_show(reader, node));
	*(mode_t *)ret_value = (mode_t)strtoul(text, NULL, 8);
	return 0;
}

static int read_group(struct pg_reader *reader, const struct pg_field *field,
		      const struct pg_yaml_node *node, void *ret_value)
{
	const char *text;
	int rc;

	rc = pg_read_text(reader, node, field->size - 1, "the name or number of a group", &text);
	if (rc)
		return rc;
	if (strpbrk(text, ":, ") || *text == '-')
		return pg_reader_fail(reader, node->line, "%s is not the name or number of a group",
				      pg_reader_show(reader, node));
	strcpy(ret_value, text);
	return 0;
}

/* What `tokens: { jwt: ..., key: ... }` says. */
struct jwt_section {
	unsigned int jwt;
	char key[PG_CONFIG_PATH_MAX];
	bool audience;
};

static const struct pg_word jwt_words[] = {
	{ "HS256", PG_TOKEN_HS256 },
	{ "RS256", PG_TOKEN_RS256 },
	{ "ES256", PG_TOKEN_ES256 },
	{ NULL, 0 },
};

static const struct pg_field jwt_fields[] = {
	PG_FIELD(struct jwt_section, jwt, pg_read_word, .words = jwt_words, .required = true),
	PG_FIELD(struct jwt_section, key, pg_read_path, .required = true),
	PG_FIELD(struct jwt_section, audience, pg_read_switch),
	{ .name = NULL },
};

static int read_jwt(struct pg_reader *reader, const struct pg_yaml_node *node,
		    struct pg_tokens_config *tokens)
{
	static const struct pg_field section = { .fields = jwt_fields };
	struct jwt_section jwt = { .audience = true };
	int rc = pg_read_section(reader, &section, node, &jwt);

	if (rc)
		return rc;
	tokens->kind = jwt.jwt;
	tokens->audience = jwt.audience;
	strcpy(tokens->path, jwt.key);
	return 0;
}

/* none, the path of a list, or a section that says how JWTs are checked. */
static int read_tokens(struct pg_reader *reader, const struct pg_field *field,
		       const struct pg_yaml_node *node, void *ret_value)
{
	static const struct pg_field path = { .size = PG_CONFIG_PATH_MAX };
	struct pg_tokens_config *tokens = ret_value;

	if (node->kind == PG_YAML_MAP)
		return read_jwt(reader, node, tokens);
	if (node->kind == PG_YAML_SCALAR && !strcmp(node->text, "none"))
		return 0;
	tokens->kind = PG_TOKEN_LIST;
	return pg_read_path(reader, &path, node, tokens->path);
}

static int read_handshake(struct pg_reader *reader, const struct pg_field *field,
			  const struct pg_yaml_node *node, void *ret_value)
{
	((struct pg_handshake_config *)ret_value)->present = true;
	return pg_read_section(reader, field, node, ret_value);
}

static int read_sessions(struct pg_reader *reader, const struct pg_field *field,
			 const struct pg_yaml_node *node, void *ret_value)
{
	uint32_t sessions, below;
	int rc;

	rc = pg_read_number(reader, field, node, &sessions);
	if (rc)
		return rc;
	below = 1u << (31 - __builtin_clz(sessions));
	if (sessions != below)
		return pg_reader_fail(reader, node->line,
				      "%u is not a power of two, the nearest are %u and %u",
				      sessions, below, below * 2);
	*(uint32_t *)ret_value = sessions;
	return 0;
}

/* What the kernel takes as the name of a network device or of a file in one folder. */
static bool is_file_name(const char *text)
{
	return !strpbrk(text, "/: ") && strcmp(text, ".") && strcmp(text, "..");
}

static int read_interface(struct pg_reader *reader, const struct pg_yaml_node *node, size_t index,
			  void *context)
{
	struct pg_config *config = context;
	const char *text;
	size_t i;
	int rc;

	rc = pg_read_text(reader, node, PG_NAME_MAX - 1, "the name of an interface", &text);
	if (rc)
		return rc;
	if (!is_file_name(text))
		return pg_reader_fail(reader, node->line, "%s is not the name of an interface",
				      pg_reader_show(reader, node));
	for (i = 0; i < index; i++) {
		if (!strcmp(config->interfaces[i], text))
			return pg_reader_fail(reader, node->line, "%s is listed twice",
					      pg_reader_show(reader, node));
	}
	strcpy(config->interfaces[index], text);
	config->interface_count = index + 1;
	return 0;
}

static int read_interfaces(struct pg_reader *reader, const struct pg_field *field,
			   const struct pg_yaml_node *node, void *ret_value)
{
	return pg_read_list(reader, node, PG_INTERFACES_MAX, "interfaces", read_interface,
			    ret_value);
}

static int read_namespace(struct pg_reader *reader, const struct pg_yaml_node *node, size_t index,
			  void *context)
{
	struct pg_tcp_config *tcp = context;
	bool all, own;
	const char *text;
	size_t i;
	int rc;

	rc = pg_read_text(reader, node, PG_CONFIG_NAMESPACE_MAX - 1, "all, own or a name", &text);
	if (rc)
		return rc;
	all = !strcmp(text, "all");
	own = !strcmp(text, "own");
	if (index && (all || own || tcp->namespaces != PG_NAMESPACES_NAMED))
		return pg_reader_fail(reader, node->line, "all and own stand alone in the list");
	if (!is_file_name(text))
		return pg_reader_fail(reader, node->line,
				      "%s is not the name of a network namespace",
				      pg_reader_show(reader, node));
	tcp->namespaces = all ? PG_NAMESPACES_ALL : own ? PG_NAMESPACES_OWN : PG_NAMESPACES_NAMED;
	if (tcp->namespaces != PG_NAMESPACES_NAMED)
		return 0;
	for (i = 0; i < index; i++) {
		if (!strcmp(tcp->names[i], text))
			return pg_reader_fail(reader, node->line, "%s is listed twice",
					      pg_reader_show(reader, node));
	}
	strcpy(tcp->names[index], text);
	tcp->name_count = index + 1;
	return 0;
}

static int read_namespaces(struct pg_reader *reader, const struct pg_field *field,
			   const struct pg_yaml_node *node, void *ret_value)
{
	if (node->kind == PG_YAML_LIST && !node->first)
		return pg_reader_fail(reader, node->line,
				      "the list is empty, write [all], [own] or names");
	return pg_read_list(reader, node, PG_CONFIG_NAMESPACES_MAX, "namespaces", read_namespace,
			    ret_value);
}

#define ENDPOINT(member, ...) PG_FIELD(struct pg_endpoint_config, member, __VA_ARGS__)

static const struct pg_field endpoint_fields[] = {
	ENDPOINT(name, pg_read_name, .required = true),
	ENDPOINT(address, read_address),
	ENDPOINT(port, pg_read_number, .required = true, .min = 1, .max = UINT16_MAX),
	ENDPOINT(guard, pg_read_switch),
	ENDPOINT(policy, pg_read_word, .words = session_policy_words),
	ENDPOINT(roaming, pg_read_switch),
	ENDPOINT(enforce, pg_read_word, .words = enforce_words),
	ENDPOINT(deliver, pg_read_word, .words = deliver_words),
	ENDPOINT(format, pg_read_word, .words = format_words),
	{ .name = NULL },
};

/* Compares the last endpoint with those before it. */
static int check_endpoint(struct pg_reader *reader, const struct pg_yaml_node *node,
			  const struct pg_config *config)
{
	const struct pg_endpoint_config *last = &config->endpoints[config->endpoint_count - 1];
	const struct pg_endpoint_config *other;
	unsigned int line = pg_yaml_find(node, "port")->line, sharing = 0;
	char address[PG_ADDRESS_TEXT];

	for (other = config->endpoints; other < last; other++) {
		if (!strcmp(other->name, last->name))
			return pg_reader_fail(reader, pg_yaml_find(node, "name")->line,
					      "the name \"%s\" is that of endpoints[%zu] too",
					      last->name, (size_t)(other - config->endpoints));
		if (other->port != last->port)
			continue;
		sharing++;
		if (pg_address_equal(&other->address, &last->address))
			return pg_reader_fail(
				reader, line, "address %s and port %u are those of \"%s\" too",
				pg_address_print(&last->address, address), last->port, other->name);
	}
	if (sharing >= PG_ENDPOINTS_PER_PORT)
		return pg_reader_fail(reader, line, "port %u has %u endpoints already, the most",
				      last->port, sharing);
	return 0;
}

static int read_endpoint(struct pg_reader *reader, const struct pg_yaml_node *node, size_t index,
			 void *context)
{
	static const struct pg_field section = { .fields = endpoint_fields };
	struct pg_config *config = context;
	struct pg_endpoint_config *endpoint = &config->endpoints[index];
	int rc;

	*endpoint = (struct pg_endpoint_config){ .guard = true, .roaming = true };
	pg_address_parse("0.0.0.0", &endpoint->address, NULL);
	rc = pg_read_section(reader, &section, node, endpoint);
	if (rc)
		return rc;
	config->endpoint_count = index + 1;
	return check_endpoint(reader, node, config);
}

static int read_endpoints(struct pg_reader *reader, const struct pg_field *field,
			  const struct pg_yaml_node *node, void *ret_value)
{
	return pg_read_list(reader, node, PG_CONFIG_ENDPOINTS_MAX, "endpoints", read_endpoint,
			    ret_value);
}

/* FIRST-LAST, or one Id. */
static int read_ids(struct pg_reader *reader, const struct pg_field *field,
		    const struct pg_yaml_node *node, void *ret_value)
{
	struct pg_route_config *route = ret_value;
	unsigned long first, last;
	const char *text;
	char *end;
	int rc;

	rc = pg_read_text(reader, node, 21, "FIRST-LAST", &text);
	if (rc)
		return rc;
	first = last = strtoul(text, &end, 10);
	if (*end == '-' && end[1] >= '0' && end[1] <= '9')
		last = strtoul(end + 1, &end, 10);
	if (*text < '0' || *text > '9' || *end || first <= PG_MESSAGE_PONG ||
	    last > PG_MESSAGE_VALUE_MAX || first > last)
		return pg_reader_fail(reader, node->line,
				      "must be FIRST-LAST with 3 <= FIRST <= LAST <= 2147483647, "
				      "or one Id, found %s (1 and 2 are heartbeats)",
				      pg_reader_show(reader, node));
	route->first = first;
	route->last = last;
	return 0;
}

static const struct pg_field route_fields[] = {
	PG_FIELD(struct pg_route_config, name, pg_read_name, .required = true),
	{ .name = "ids",
	  .read = read_ids,
	  .size = sizeof(struct pg_route_config),
	  .required = true },
	{ .name = "socket",
	  .read = pg_read_path,
	  .offset = offsetof(struct pg_route_config, socket.socket),
	  .size = PG_CONFIG_SOCKET_MAX,
	  .required = true },
	{ .name = "group",
	  .read = read_group,
	  .offset = offsetof(struct pg_route_config, socket.group),
	  .size = PG_CONFIG_GROUP_MAX },
	{ .name = "mode",
	  .read = read_file_mode,
	  .offset = offsetof(struct pg_route_config, socket.mode),
	  .size = sizeof(mode_t) },
	{ .name = NULL },
};

/* Compares the last route with those before it. */
static int check_route(struct pg_reader *reader, const struct pg_yaml_node *node,
		       const struct pg_app_config *app)
{
	const struct pg_route_config *last = &app->routes[app->route_count - 1];

	for (const struct pg_route_config *other = app->routes; other < last; other++) {
		if (!strcmp(other->name, last->name))
			return pg_reader_fail(reader, pg_yaml_find(node, "name")->line,
					      "the name \"%s\" is that of routes[%zu] too",
					      last->name, (size_t)(other - app->routes));
		if (other->first <= last->last && last->first <= other->last)
			return pg_reader_fail(reader, pg_yaml_find(node, "ids")->line,
					      "%u-%u overlaps %u-%u of \"%s\": an Id has one route",
					      last->first, last->last, other->first, other->last,
					      other->name);
	}
	return 0;
}

static int read_route(struct pg_reader *reader, const struct pg_yaml_node *node, size_t index,
		      void *context)
{
	static const struct pg_field section = { .fields = route_fields };
	struct pg_app_config *app = context;
	struct pg_route_config *route = &app->routes[index];
	int rc;

	strcpy(route->socket.group, "packgate");
	route->socket.mode = 0660;
	rc = pg_read_section(reader, &section, node, route);
	if (rc)
		return rc;
	app->route_count = index + 1;
	return check_route(reader, node, app);
}

static int read_routes(struct pg_reader *reader, const struct pg_field *field,
		       const struct pg_yaml_node *node, void *ret_value)
{
	return pg_read_list(reader, node, PG_CONFIG_ROUTES_MAX, "routes", read_route, ret_value);
}

#define APP_SOCKET(member, reader)                                        \
	{                                                                 \
		.name = #member, .read = (reader),                        \
		.offset = offsetof(struct pg_app_config, main.member),    \
		.size = sizeof(((struct pg_app_config *)0)->main.member), \
	}

static const struct pg_field app_fields[] = {
	APP_SOCKET(socket, pg_read_path),
	APP_SOCKET(group, read_group),
	APP_SOCKET(mode, read_file_mode),
	{ .name = "routes", .read = read_routes, .size = sizeof(struct pg_app_config) },
	{ .name = NULL },
};

#define ENTRANCE(member, ...) PG_FIELD(struct pg_entrance_config, member, __VA_ARGS__)
#define TLS_PATH(member)                                                    \
	{                                                                   \
		.name = #member, .read = pg_read_path,                      \
		.offset = offsetof(struct pg_entrance_config, tls.member) - \
			  offsetof(struct pg_entrance_config, tls),         \
		.size = PG_CONFIG_PATH_MAX, .required = true,               \
	}

static const struct pg_field tls_fields[] = {
	TLS_PATH(certificate),
	TLS_PATH(key),
	{ .name = NULL },
};

static const struct pg_field entrance_fields[] = {
	ENTRANCE(name, pg_read_name, .required = true),
	ENTRANCE(endpoint, pg_read_name, .required = true),
	ENTRANCE(address, read_address),
	ENTRANCE(port, pg_read_number, .required = true, .min = 1, .max = UINT16_MAX),
	ENTRANCE(max_connections, pg_read_number, .min = 1, .max = 1u << 20),
	ENTRANCE(max_connections_per_source, pg_read_number, .min = 1, .max = 1u << 20),
	ENTRANCE(idle_seconds, pg_read_number, .min = 1, .max = UINT16_MAX),
	ENTRANCE(tls, pg_read_section, .fields = tls_fields),
	{ .name = NULL },
};

/* Compares the last entrance with those before it. */
static int check_entrance(struct pg_reader *reader, const struct pg_yaml_node *node,
			  const struct pg_config *config)
{
	const struct pg_entrance_config *last = &config->entrances[config->entrance_count - 1];
	char address[PG_ADDRESS_TEXT];

	for (const struct pg_entrance_config *other = config->entrances; other < last; other++) {
		if (!strcmp(other->name, last->name))
			return pg_reader_fail(reader, pg_yaml_find(node, "name")->line,
					      "the name \"%s\" is that of tcp_entrances[%zu] too",
					      last->name, (size_t)(other - config->entrances));
		if (other->port == last->port && pg_address_equal(&other->address, &last->address))
			return pg_reader_fail(reader, pg_yaml_find(node, "port")->line,
					      "address %s and port %u are those of \"%s\" too",
					      pg_address_print(&last->address, address), last->port,
					      other->name);
	}
	return 0;
}

static int read_entrance(struct pg_reader *reader, const struct pg_yaml_node *node, size_t index,
			 void *context)
{
	static const struct pg_field section = { .fields = entrance_fields };
	struct pg_config *config = context;
	struct pg_entrance_config *entrance = &config->entrances[index];
	int rc;

	entrance->max_connections = 10000;
	entrance->max_connections_per_source = 256;
	entrance->idle_seconds = 60;
	pg_address_parse("0.0.0.0", &entrance->address, NULL);
	rc = pg_read_section(reader, &section, node, entrance);
	if (rc)
		return rc;
	config->entrance_count = index + 1;
	return check_entrance(reader, node, config);
}

static int read_entrances(struct pg_reader *reader, const struct pg_field *field,
			  const struct pg_yaml_node *node, void *ret_value)
{
	return pg_read_list(reader, node, PG_CONFIG_ENTRANCES_MAX, "entrances", read_entrance,
			    ret_value);
}

static const struct pg_field socket_fields[] = {
	PG_FIELD(struct pg_socket_config, socket, pg_read_path),
	PG_FIELD(struct pg_socket_config, group, read_group),
	PG_FIELD(struct pg_socket_config, mode, read_file_mode),
	{ .name = NULL },
};

static const struct pg_field metrics_fields[] = {
	{ .name = "listen", .read = read_listen, .size = sizeof(struct pg_metrics_config) },
	{ .name = NULL },
};

static const struct pg_field state_fields[] = {
	PG_FIELD(struct pg_state_config, directory, pg_read_path),
	PG_FIELD(struct pg_state_config, key, pg_read_path),
	{ .name = NULL },
};

static const struct pg_field tcp_fields[] = {
	{ .name = "namespaces", .read = read_namespaces, .size = sizeof(struct pg_tcp_config) },
	{ .name = NULL },
};

#define LISTENER(member, ...) PG_FIELD(struct pg_shield_listener, member, __VA_ARGS__)

static const struct pg_field shield_listener_fields[] = {
	LISTENER(address, read_address),
	LISTENER(port, pg_read_number, .required = true, .min = 1, .max = UINT16_MAX),
	LISTENER(mode, pg_read_word, .words = shield_mode_words),
	LISTENER(threshold, pg_read_number, .min = 1, .max = 100, .unit = "percent"),
	{ .name = NULL },
};

/* Compares the last listener with those before it. */
static int check_shield(struct pg_reader *reader, const struct pg_yaml_node *node,
			const struct pg_shield_config *shield)
{
	const struct pg_shield_listener *last = &shield->listeners[shield->listener_count - 1];
	unsigned int line = pg_yaml_find(node, "port")->line, sharing = 0;

	for (const struct pg_shield_listener *other = shield->listeners; other < last; other++) {
		if (other->port != last->port)
			continue;
		sharing++;
		if (other->any == last->any &&
		    (last->any || pg_address_equal(&other->address, &last->address)))
			return pg_reader_fail(reader, line,
					      "port %u is that of listeners[%zu] too, with the "
					      "same address",
					      last->port, (size_t)(other - shield->listeners));
	}
	if (sharing >= PG_SHIELDS_PER_PORT)
		return pg_reader_fail(reader, line, "port %u has %u listeners already, the most",
				      last->port, sharing);
	return 0;
}

static int read_shield_listener(struct pg_reader *reader, const struct pg_yaml_node *node,
				size_t index, void *context)
{
	static const struct pg_field section = { .fields = shield_listener_fields };
	struct pg_shield_config *shield = context;
	struct pg_shield_listener *listener = &shield->listeners[index];
	int rc;

	*listener = (struct pg_shield_listener){ .mode = PG_SHIELD_AUTO,
						 .threshold = PG_SHIELD_THRESHOLD };
	rc = pg_read_section(reader, &section, node, listener);
	if (rc)
		return rc;
	listener->any = !pg_yaml_find(node, "address");
	shield->listener_count = index + 1;
	return check_shield(reader, node, shield);
}

static int read_shield_listeners(struct pg_reader *reader, const struct pg_field *field,
				 const struct pg_yaml_node *node, void *ret_value)
{
	return pg_read_list(reader, node, PG_CONFIG_SHIELDS_MAX, "listeners", read_shield_listener,
			    ret_value);
}

static const struct pg_field shield_fields[] = {
	PG_FIELD(struct pg_shield_config, cookie, pg_read_word, .words = shield_cookie_words),
	PG_FIELD(struct pg_shield_config, set_sysctl, pg_read_switch),
	{ .name = "listeners",
	  .read = read_shield_listeners,
	  .size = sizeof(struct pg_shield_config) },
	{ .name = NULL },
};

static const struct pg_field workers_fields[] = {
	PG_FIELD(struct pg_workers_config, spin, pg_read_switch),
	{ .name = NULL },
};

static const struct pg_field handshake_fields[] = {
	PG_FIELD(struct pg_handshake_config, key, pg_read_path),
	PG_FIELD(struct pg_handshake_config, old_key, pg_read_path),
	PG_FIELD(struct pg_handshake_config, aead, pg_read_word, .words = aead_words),
	PG_FIELD(struct pg_handshake_config, cookie, pg_read_word, .words = cookie_words),
	PG_FIELD(struct pg_handshake_config, tokens, read_tokens),
	{ .name = NULL },
};

static int read_limit(struct pg_reader *reader, const struct pg_field *field,
		      const struct pg_yaml_node *node, void *ret_value)
{
	if (field->offset == offsetof(struct pg_limits, sessions))
		return read_sessions(reader, field, node, ret_value);
	return pg_read_number(reader, field, node, ret_value);
}

static const struct pg_field limits_fields[] = {
#define PG_X(name, standard, least, most, what, ...) \
	PG_FIELD(struct pg_limits, name, read_limit, .min = (least), .max = (most), .unit = (what)),
	PG_LIMITS(PG_X)
#undef PG_X
		{ .name = NULL },
};

#define CONFIG(member, ...) PG_FIELD(struct pg_config, member, __VA_ARGS__)

static const struct pg_field config_fields[] = {
	CONFIG(instance, pg_read_name),
	{ .name = "interfaces", .read = read_interfaces, .size = sizeof(struct pg_config) },
	{ .name = "endpoints", .read = read_endpoints, .size = sizeof(struct pg_config) },
	{ .name = "tcp_entrances", .read = read_entrances, .size = sizeof(struct pg_config) },
	CONFIG(app, pg_read_section, .fields = app_fields),
	CONFIG(control, pg_read_section, .fields = socket_fields),
	CONFIG(metrics, pg_read_section, .fields = metrics_fields),
	CONFIG(state, pg_read_section, .fields = state_fields),
	CONFIG(tcp, pg_read_section, .fields = tcp_fields),
	CONFIG(shield, pg_read_section, .fields = shield_fields),
	CONFIG(limits, pg_read_section, .fields = limits_fields),
	CONFIG(workers, pg_read_section, .fields = workers_fields),
	CONFIG(handshake, read_handshake, .fields = handshake_fields),
	CONFIG(mode, pg_read_word, .words = mode_words),
	CONFIG(allow_generic, pg_read_switch),
	CONFIG(without_agent, pg_read_word, .words = without_agent_words),
	CONFIG(duplicate_acks, pg_read_word, .words = duplicate_acks_words),
	{ .name = NULL },
};

/* Everything that is not zero; endpoints have theirs in read_endpoint. */
static void set_defaults(struct pg_config *config)
{
	strcpy(config->instance, "default");
	strcpy(config->app.main.socket, "/run/packgate/app.sock");
	strcpy(config->app.main.group, "packgate");
	config->app.main.mode = 0660;
	strcpy(config->control.socket, "/run/packgate/control.sock");
	strcpy(config->control.group, "packgate");
	config->control.mode = 0660;
	config->metrics.on = true;
	pg_address_parse_peer("127.0.0.1:9747", &config->metrics.listen, NULL);
	strcpy(config->state.directory, "/var/lib/packgate");
#define PG_X(name, standard, ...) config->limits.name = (standard);
	PG_LIMITS(PG_X)
#undef PG_X
	strcpy(config->handshake.key, "/etc/packgate/server.key");
}

/* The line of a socket's path, or of what stands for it. */
static unsigned int socket_line(const struct pg_yaml_node *root, const char *section)
{
	const struct pg_yaml_node *node = pg_yaml_find(pg_yaml_find(root, section), "socket");

	return node ? node->line : root->line;
}

static const struct pg_yaml_node *item(const struct pg_yaml_node *list, size_t index)
{
	const struct pg_yaml_node *node = list->first;

	while (index--)
		node = node->next;
	return node;
}

/* Every socket has a path of its own. */
static int check_sockets(struct pg_reader *reader, const struct pg_yaml_node *root,
			 const struct pg_config *config)
{
	const struct pg_yaml_node *routes = pg_yaml_find(pg_yaml_find(root, "app"), "routes");
	const struct pg_app_config *app = &config->app;

	if (!strcmp(app->main.socket, config->control.socket))
		return pg_reader_fail(
			reader,
			socket_line(root, pg_yaml_find(pg_yaml_find(root, "control"), "socket")
						  ? "control"
						  : "app"),
			"app.socket and control.socket are the same path");
	for (size_t i = 0; i < app->route_count; i++) {
		const char *path = app->routes[i].socket.socket;
		bool taken =
			!strcmp(path, app->main.socket) || !strcmp(path, config->control.socket);

		for (size_t j = 0; j < i; j++)
			taken |= !strcmp(path, app->routes[j].socket.socket);
		if (taken)
			return pg_reader_fail(
				reader, pg_yaml_find(item(routes, i), "socket")->line,
				"app.routes[%zu].socket is the path of another socket", i);
	}
	return 0;
}

/* An entrance leads to an endpoint that speaks messages. */
static int check_entrances(struct pg_reader *reader, const struct pg_yaml_node *root,
			   const struct pg_config *config)
{
	const struct pg_yaml_node *entrances = pg_yaml_find(root, "tcp_entrances");

	for (size_t i = 0; i < config->entrance_count; i++) {
		const char *name = config->entrances[i].endpoint;
		const struct pg_endpoint_config *endpoint = config->endpoints;
		const struct pg_endpoint_config *end = endpoint + config->endpoint_count;
		unsigned int line = pg_yaml_find(item(entrances, i), "endpoint")->line;

		while (endpoint < end && strcmp(endpoint->name, name))
			endpoint++;
		if (endpoint == end)
			return pg_reader_fail(reader, line,
					      "tcp_entrances[%zu].endpoint: there is no endpoint "
					      "\"%s\"",
					      i, name);
		if (endpoint->format != PG_FORMAT_MESSAGE)
			return pg_reader_fail(reader, line,
					      "tcp_entrances[%zu].endpoint: \"%s\" needs format: "
					      "message, TCP has no packets",
					      i, name);
	}
	return 0;
}

/* Rules that join two sections. */
static int check_config(struct pg_reader *reader, const struct pg_yaml_node *root,
			const struct pg_config *config)
{
	const struct pg_yaml_node *node;
	int rc;

	if (config->mode == PG_MODE_GENERIC && !config->allow_generic)
		return pg_reader_fail(reader, pg_yaml_find(root, "mode")->line,
				      "mode: generic needs allow_generic: on");
	if (*config->handshake.old_key &&
	    !strcmp(config->handshake.key, config->handshake.old_key)) {
		node = pg_yaml_find(pg_yaml_find(root, "handshake"), "old_key");
		return pg_reader_fail(reader, node->line,
				      "handshake.key and handshake.old_key are the same file");
	}
	rc = check_sockets(reader, root, config);
	return rc ? rc : check_entrances(reader, root, config);
}

static int read_config(struct pg_reader *reader, const struct pg_yaml_node *root,
		       struct pg_config *config)
{
	static const struct pg_field section = { .fields = config_fields };
	int rc;

	set_defaults(config);
	rc = pg_read_section(reader, &section, root, config);
	if (!rc)
		rc = check_config(reader, root, config);
	if (!rc && !*config->state.key)
		snprintf(config->state.key, sizeof(config->state.key), "%s/" PG_CONFIG_KEY_FILE,
			 config->state.directory);
	return rc;
}

static void free_config(struct pg_config **config)
{
	pg_config_free(*config);
}

static void free_yaml(struct pg_yaml **yaml)
{
	pg_yaml_free(*yaml);
}

void pg_config_free(struct pg_config *config)
{
	free(config);
}

/* The end of a long path: the line and the reason must find room behind it. */
static const char *name_tail(const char *name)
{
	size_t length = strlen(name);

	return length > NAME_TAIL ? name + length - NAME_TAIL : name;
}

int pg_config_parse(const char *name, const char *text, size_t bytes, struct pg_config **ret_config,
		    struct pg_error *error)
{
	PG_CLEANUP(free_config) struct pg_config *config = NULL;
	PG_CLEANUP(free_yaml) struct pg_yaml *yaml = NULL;
	struct pg_reader reader = { .name = name_tail(name), .error = error };
	int rc;

	if (bytes > PG_CONFIG_BYTES_MAX)
		return pg_error_set(error, -EFBIG, "%s:1: the file is larger than %u bytes",
				    reader.name, PG_CONFIG_BYTES_MAX);
	rc = pg_yaml_parse(reader.name, text, bytes, &yaml, error);
	if (rc)
		return rc;
	config = calloc(1, sizeof(*config));
	if (!config)
		return pg_error_set(error, -ENOMEM, "%s: out of memory", reader.name);
	rc = read_config(&reader, yaml->root, config);
	if (rc)
		return rc;
	*ret_config = TAKE_PTR(config);
	return 0;
}

int pg_config_load(const char *path, struct pg_config **ret_config, struct pg_error *error)
{
	PG_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	PG_FREE char *text = NULL;
	size_t bytes = 0;
	int rc;

	if (fd < 0) {
		rc = -errno;
		return pg_error_set(error, rc, "cannot open the configuration %s: %s", path,
				    strerror(-rc));
	}
	text = malloc(PG_CONFIG_BYTES_MAX + 1);
	if (!text)
		return pg_error_set(error, -ENOMEM, "%s: out of memory", path);
	rc = pg_read_file(fd, text, PG_CONFIG_BYTES_MAX + 1, &bytes);
	if (rc)
		return pg_error_set(error, rc, "cannot read the configuration %s: %s", path,
				    strerror(-rc));
	return pg_config_parse(path, text, bytes, ret_config, error);
}
