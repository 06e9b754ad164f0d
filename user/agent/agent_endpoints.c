// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent_internal.h"
#include "cleanup.h"
#include "log.h"
#include "session_fit.h"

#define SOCKET_BUFFER_BYTES (8 << 20)

uint32_t pg_endpoint_find(const struct pg_agent *agent, const char *name)
{
	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++)
		if (agent->endpoints[i].used && !strcmp(agent->endpoints[i].config.name, name))
			return i;
	return 0;
}

uint32_t pg_endpoint_find_id(const struct pg_agent *agent, uint32_t id)
{
	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++)
		if (agent->endpoints[i].used && agent->endpoints[i].id == id)
			return i;
	return 0;
}

/* --- the kernel's socket -----------------------------------------------------------------------
 */

static void socket_options(int fd, bool ipv4)
{
	int one = 1, bytes = SOCKET_BUFFER_BYTES, discover;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	if (ipv4) {
		discover = IP_PMTUDISC_DO;
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof(discover));
		return;
	}
	discover = IPV6_PMTUDISC_DO;
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &discover, sizeof(discover));
}

static int bind_socket(const struct pg_endpoint_config *config, struct pg_error *error)
{
	bool ipv4 = pg_address_is_ipv4(&config->address);
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(config->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(config->port) };
	PG_CLOSE int fd =
		socket(ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pg_peer where = { config->address, config->port };
	char text[PG_PEER_TEXT];
	int err;

	if (fd < 0)
		return pg_error_set(error, -errno, "endpoint %s: creating a UDP socket: %s",
				    config->name, strerror(errno));
	socket_options(fd, ipv4);
	memcpy(&v4.sin_addr, config->address.bytes + 12, 4);
	memcpy(&v6.sin6_addr, config->address.bytes, 16);
	err = ipv4 ? bind(fd, (struct sockaddr *)&v4, sizeof(v4))
		   : bind(fd, (struct sockaddr *)&v6, sizeof(v6));
	if (err)
		return pg_error_set(
			error, -errno, "endpoint %s: binding UDP %s: %s%s", config->name,
			pg_address_print_peer(&where, text), strerror(errno),
			errno == EADDRINUSE ? "; another process has the port ('ss -lunp' names it)"
			: errno == EADDRNOTAVAIL
				? "; the address is not local: add it, or use 0.0.0.0"
				: "");
	return TAKE_FD(fd);
}

/* --- map entries -------------------------------------------------------------------------------
 */

static void fill_entry(const struct endpoint *endpoint, bool handshake, struct pg_endpoint *entry)
{
	const struct pg_endpoint_config *config = &endpoint->config;

	memset(entry, 0, sizeof(*entry));
	entry->id = endpoint->id;
	entry->port_be = htons(config->port);
	entry->family = pg_address_is_ipv4(&config->address) ? 4 : 6;
	entry->wildcard = pg_address_is_any(&config->address);
	if (!entry->wildcard)
		memcpy(entry->address, config->address.bytes, sizeof(entry->address));
	entry->guard = config->guard;
	entry->roaming = config->roaming;
	entry->count_only = config->enforce == PG_ENFORCE_COUNT;
	entry->handshake = handshake;
}

/*
 * Writes the chain of one port, last link first, then its head: exact addresses before wildcards,
 * so that a reader walks the old chain or the new one.
 */
static int write_port(struct pg_agent *agent, uint32_t port)
{
	uint32_t head = 0;

	for (int wildcard = 1; wildcard >= 0; wildcard--)
		for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++) {
			struct endpoint *endpoint = &agent->endpoints[i];
			struct pg_endpoint entry;

			if (!endpoint->used || endpoint->config.port != port)
				continue;
			fill_entry(endpoint, agent->handshake != NULL, &entry);
			if (entry.wildcard != wildcard)
				continue;
			entry.next = head;
			if (bpf_map_update_elem(agent->maps->endpoints, &i, &entry, BPF_ANY))
				return -errno;
			head = i;
		}
	return bpf_map_update_elem(agent->maps->ports, &port, &head, BPF_ANY) ? -errno : 0;
}

static int clear_entry(struct pg_agent *agent, uint32_t index)
{
	struct pg_endpoint entry = { 0 };

	return bpf_map_update_elem(agent->maps->endpoints, &index, &entry, BPF_ANY) ? -errno : 0;
}

/* The index an endpoint id had in pinned maps, so that pinned sessions keep theirs; else a free
 * one. */
static uint32_t pick_index(struct pg_agent *agent, uint32_t id)
{
	struct pg_endpoint entry;
	uint32_t unused = 0;

	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++) {
		if (agent->endpoints[i].used)
			continue;
		if (bpf_map_lookup_elem(agent->maps->endpoints, &i, &entry))
			continue;
		if (entry.id == id)
			return i;
		if (!unused && !entry.id)
			unused = i;
	}
	return unused;
}

/* Clears what an earlier process left for endpoints that are no longer configured. */
void pg_endpoints_clean(struct pg_agent *agent)
{
	struct pg_endpoint entry;

	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++) {
		if (agent->endpoints[i].used ||
		    bpf_map_lookup_elem(agent->maps->endpoints, &i, &entry) || !entry.id)
			continue;
		write_port(agent, ntohs(entry.port_be));
		clear_entry(agent, i);
	}
}

/* --- the view ----------------------------------------------------------------------------------
 */

static void fill_view(const struct pg_agent *agent, struct pg_view *view)
{
	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++) {
		const struct endpoint *endpoint = &agent->endpoints[i];
		struct pg_view_endpoint *to = &view->endpoints[i];

		to->socket = -1;
		if (!endpoint->used)
			continue;
		view->count = i + 1;
		to->used = true;
		to->guard = endpoint->config.guard;
		to->roaming = endpoint->config.roaming;
		to->deliver = endpoint->config.deliver;
		to->policy = endpoint->config.policy;
		to->family = pg_address_is_ipv4(&endpoint->config.address) ? 4 : 6;
		to->id = endpoint->id;
		to->port = endpoint->config.port;
		to->address = endpoint->config.address;
		to->socket = endpoint->socket;
		to->format = endpoint->config.format;
		memcpy(to->apps, endpoint->apps, sizeof(to->apps));
		snprintf(to->name, sizeof(to->name), "%s", endpoint->config.name);
	}
}

int pg_agent_publish_view(struct pg_agent *agent)
{
	struct pg_view *view = calloc(1, sizeof(*view));

	if (!view)
		return -ENOMEM;
	view->count = 1;
	view->message_bytes = agent->message_bytes;
	view->route_count = agent->routes.route_count;
	for (uint32_t i = 0; i < view->route_count; i++) {
		view->routes[i].first = agent->routes.routes[i].first;
		view->routes[i].last = agent->routes.routes[i].last;
	}
	fill_view(agent, view);
	view->handshake = agent->handshake;
	for (uint32_t i = 0; i < agent->worker_count; i++)
		pg_worker_set_view(agent->workers[i], view);
	if (agent->tcp)
		pg_tcp_gateway_set_view(agent->tcp, view);
	if (agent->view && agent->view->handshake != view->handshake)
		pg_handshake_view_free(agent->view->handshake);
	free(agent->view);
	agent->view = view;
	return 0;
}

/* --- applying a configuration ------------------------------------------------------------------
 */

static const struct pg_endpoint_config *in_config(const struct pg_config *config, const char *name)
{
	for (size_t i = 0; i < config->endpoint_count; i++)
		if (!strcmp(config->endpoints[i].name, name))
			return &config->endpoints[i];
	return NULL;
}

static bool same_place(const struct pg_endpoint_config *a, const struct pg_endpoint_config *b)
{
	return a->port == b->port && pg_address_equal(&a->address, &b->address);
}

static bool same_rules(const struct pg_endpoint_config *a, const struct pg_endpoint_config *b)
{
	return same_place(a, b) && a->guard == b->guard && a->roaming == b->roaming &&
	       a->policy == b->policy && a->enforce == b->enforce && a->deliver == b->deliver &&
	       a->format == b->format;
}

/* What one configured endpoint is going to be: made before anything is changed. */
struct planned {
	uint32_t index; /* of the endpoint it changes, 0 = new */
	uint32_t id;
	int socket; /* newly bound, -1 = the one there is stays */
};

static int plan_one(struct pg_agent *agent, const struct pg_endpoint_config *config,
		    struct planned *plan, struct pg_error *error)
{
	uint32_t index = pg_endpoint_find(agent, config->name);

	plan->index = index;
	plan->socket = -1;
	if (index && same_place(&agent->endpoints[index].config, config))
		return 0;
	plan->socket = bind_socket(config, error);
	if (plan->socket < 0)
		return plan->socket;
	return index ? 0 : pg_store_endpoint_id(agent->store, config->name, &plan->id, error);
}

static void remove_endpoint(struct pg_agent *agent, uint32_t index)
{
	struct endpoint *endpoint = &agent->endpoints[index];
	uint32_t port = endpoint->config.port;

	pg_sessions_end(agent, index, PG_MISFIT_ENDPOINT);
	endpoint->used = false;
	write_port(agent, port);
	clear_entry(agent, index);
}

/* Why the sessions of an endpoint do not fit it any more. */
static enum pg_misfit misfit_of(const struct pg_endpoint_config *old,
				const struct pg_endpoint_config *new)
{
	struct pg_view_endpoint now = {
		.used = true,
		.family = pg_address_is_ipv4(&new->address) ? 4 : 6,
		.guard = new->guard,
		.policy = new->policy,
	};

	return pg_session_fit(&now, old->guard, old->policy, &old->address);
}

static int change_endpoint(struct pg_agent *agent, const struct pg_endpoint_config *config,
			   const struct planned *plan, int *ret_old_socket)
{
	struct endpoint *endpoint = &agent->endpoints[plan->index];
	uint32_t old_port = endpoint->config.port;
	enum pg_misfit misfit = misfit_of(&endpoint->config, config);
	int err = 0;

	if (misfit)
		pg_sessions_end(agent, plan->index, misfit);
	if (plan->socket >= 0) {
		*ret_old_socket = endpoint->socket;
		endpoint->socket = plan->socket;
	}
	endpoint->config = *config;
	if (old_port != config->port)
		err = write_port(agent, old_port);
	return err ? err : write_port(agent, config->port);
}

static int add_endpoint(struct pg_agent *agent, const struct pg_endpoint_config *config,
			const struct planned *plan)
{
	uint32_t index = pick_index(agent, plan->id);
	struct endpoint *endpoint = &agent->endpoints[index];

	if (!index)
		return -ENOSPC;
	*endpoint = (struct endpoint){
		.used = true,
		.id = plan->id,
		.socket = plan->socket,
		.config = *config,
	};
	if (!config->guard)
		pg_warning_log("endpoint %s: guard off: control frames are not authenticated; for "
			       "trusted networks only",
			       config->name);
	return write_port(agent, config->port);
}

static int make_plan(struct pg_agent *agent, const struct pg_config *config, struct planned *plans,
		     struct pg_error *error)
{
	int err = 0;
	size_t i;

	for (i = 0; i < config->endpoint_count && !err; i++)
		err = plan_one(agent, &config->endpoints[i], &plans[i], error);
	if (!err)
		return 0;
	for (size_t j = 0; j < i; j++)
		if (plans[j].socket >= 0)
			close(plans[j].socket);
	return err;
}

static void count_change(const struct pg_agent *agent, const struct pg_endpoint_config *config,
			 const struct planned *plan, struct pg_reload_result *result)
{
	if (!plan->index)
		result->added++;
	else if (!same_rules(&agent->endpoints[plan->index].config, config))
		result->changed++;
}

/*
 * A handshake may have opened a session of the old kind until the workers had the new view: with
 * misfits such ones are ended.
 */
static int publish(struct pg_agent *agent, bool misfits)
{
	int err = pg_agent_publish_view(agent);

	return err || !misfits ? err : pg_sessions_end(agent, 0, PG_FIT);
}

static int apply_one(struct pg_agent *agent, const struct pg_endpoint_config *config,
		     const struct planned *plan, bool *misfits, int *ret_old_socket)
{
	*ret_old_socket = -1;
	if (!plan->index)
		return add_endpoint(agent, config, plan);
	if (misfit_of(&agent->endpoints[plan->index].config, config))
		*misfits = true;
	return change_endpoint(agent, config, plan, ret_old_socket);
}

int pg_endpoints_apply(struct pg_agent *agent, const struct pg_config *config,
		       struct pg_reload_result *result, struct pg_error *error)
{
	PG_FREE struct planned *plans = calloc(config->endpoint_count + 1, sizeof(*plans));
	PG_FREE int *old = calloc(PG_ENDPOINTS_MAX + config->endpoint_count, sizeof(*old));
	size_t old_count = 0;
	bool misfits = false;
	int err;

	if (!plans || !old)
		return pg_error_set(error, -ENOMEM, "out of memory");
	err = make_plan(agent, config, plans, error);
	if (err)
		return err;
	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++)
		if (agent->endpoints[i].used &&
		    !in_config(config, agent->endpoints[i].config.name)) {
			old[old_count++] = agent->endpoints[i].socket;
			remove_endpoint(agent, i);
			result->removed++;
		}
	if (result->removed)
		err = publish(agent, true);
	for (size_t i = 0; i < config->endpoint_count && !err; i++) {
		count_change(agent, &config->endpoints[i], &plans[i], result);
		err = apply_one(agent, &config->endpoints[i], &plans[i], &misfits,
				&old[old_count++]);
	}
	agent->message_bytes = config->limits.message_bytes;
	if (!err)
		err = publish(agent, misfits);
	for (size_t i = 0; i < old_count; i++)
		if (old[i] >= 0)
			close(old[i]);
	return err ? pg_error_set(error, err, "writing the endpoint maps: %s", strerror(-err)) : 0;
}

void pg_endpoints_close(struct pg_agent *agent)
{
	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++)
		if (agent->endpoints[i].used && agent->endpoints[i].socket >= 0)
			close(agent->endpoints[i].socket);
	pg_handshake_view_free(agent->handshake);
	free(agent->view);
}

/* --- applications ------------------------------------------------------------------------------
 */

static int check_name(const struct pg_agent *agent, uint32_t place, const char *name, char *reply,
		      size_t bytes)
{
	uint32_t index = pg_endpoint_find(agent, name);

	if (!index)
		snprintf(reply, bytes, "hello refused: there is no endpoint '%.40s'", name);
	else if (agent->endpoints[index].config.deliver != PG_DELIVER_APP)
		snprintf(reply, bytes,
			 "hello refused: endpoint '%.40s' does not deliver to an "
			 "application (deliver: %s)",
			 name, pg_deliver_name(agent->endpoints[index].config.deliver));
	else if (place && agent->endpoints[index].config.format != PG_FORMAT_MESSAGE)
		snprintf(reply, bytes,
			 "hello refused: endpoint '%.40s' has no message Ids to route (format: "
			 "raw); connect to the main socket",
			 name);
	else if (agent->endpoints[index].apps[place])
		snprintf(reply, bytes, "hello refused: endpoint '%.40s' has an application already",
			 name);
	else
		return 0;
	return -EINVAL;
}

static int serve(struct pg_agent *agent, const struct pg_app_connection *connection,
		 const char *names, char *reply, size_t bytes, bool commit)
{
	PG_FREE char *copy = strdup(names);
	char *save = NULL, *name;
	size_t at = 0;
	int count = 0;

	if (!copy)
		return -ENOMEM;
	for (name = strtok_r(copy, "\n", &save); name; name = strtok_r(NULL, "\n", &save)) {
		uint32_t index = pg_endpoint_find(agent, name);

		if (!commit && check_name(agent, connection->place, name, reply, bytes))
			return -EINVAL;
		count++;
		if (!commit)
			continue;
		agent->endpoints[index].apps[connection->place] = connection;
		at += snprintf(reply + at, bytes - at, "%s %u\n", name, agent->endpoints[index].id);
	}
	if (!count) {
		snprintf(reply, bytes, "hello refused: name at least one endpoint, one a line");
		return -EINVAL;
	}
	return 0;
}

static int handle_hello(void *context, const struct pg_app_connection *connection,
			const char *names, char *reply, size_t reply_bytes)
{
	struct pg_agent *agent = context;
	int err;

	pg_agent_lock(agent);
	err = serve(agent, connection, names, reply, reply_bytes, false);
	if (!err)
		err = serve(agent, connection, names, reply, reply_bytes, true);
	if (!err)
		pg_agent_publish_view(agent);
	pg_agent_unlock(agent);
	return err;
}

static void handle_gone(void *context, const struct pg_app_connection *connection)
{
	struct pg_agent *agent = context;

	pg_agent_lock(agent);
	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++)
		if (agent->endpoints[i].apps[connection->place] == connection)
			agent->endpoints[i].apps[connection->place] = NULL;
	pg_agent_publish_view(agent);
	pg_agent_unlock(agent);
}

static struct pg_message *record_message(const struct pg_app_connection *connection,
					 const struct pg_app_record_in *record)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_APP, record->bytes, record->length);

	if (!message)
		return NULL;
	message->app.connection = connection->id;
	message->app.handle = record->session;
	message->app.slot = PG_HANDLE_SLOT(record->session);
	message->app.stream = record->stream;
	message->app.message = record->message;
	message->app.kind = record->kind;
	message->app.transport = record->transport;
	return message;
}

static int handle_record(void *context, const struct pg_app_connection *connection,
			 const struct pg_app_record_in *record, const char **ret_why)
{
	struct pg_agent *agent = context;
	uint32_t slot = PG_HANDLE_SLOT(record->session);
	bool tcp = record->transport == PG_APP_TCP;
	struct pg_message *message;
	int err;

	*ret_why = "record refused: there is no such session";
	if (!tcp &&
	    (slot >= agent->table->slots || agent->maps->windows[slot].handle != record->session))
		return -ENOENT;
	message = record_message(connection, record);
	if (!message)
		return -EAGAIN;
	err = tcp ? pg_inbox_post(pg_tcp_gateway_inbox(agent->tcp), message)
		  : pg_agent_post_session(agent, slot, message);
	if (err)
		free(message);
	return err;
}

void pg_endpoints_handlers(struct pg_agent *agent, struct pg_app_handlers *ret_handlers)
{
	*ret_handlers = (struct pg_app_handlers){
		.hello = handle_hello,
		.gone = handle_gone,
		.record = handle_record,
		.context = agent,
	};
}
