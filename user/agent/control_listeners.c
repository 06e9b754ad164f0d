// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>

#include "cleanup.h"
#include "control_json.h"
#include "control_routes.h"
#include "listeners.h"
#include "owners.h"

#define SET(object, key, value) json_object_set_new(object, key, value)
#define NUMBER(value)		json_integer((json_int_t)(value))

static void set_accept_queue(json_t *object, const struct pg_tcpq_listener *row)
{
	SET(object, "accept_queue_length", NUMBER(row->accept_length));
	SET(object, "accept_queue_limit", NUMBER(row->accept_limit));
	SET(object, "accept_queue_high", NUMBER(row->accept_high));
	SET(object, "accept_queue_full", json_boolean(row->accept_full));
	SET(object, "backlog_capped", json_boolean(row->capped));
}

static void set_syn_queue(json_t *object, const struct pg_tcpq_listener *row)
{
	SET(object, "syn_queue_length", NUMBER(row->syn_length));
	SET(object, "syn_queue_young", NUMBER(row->syn_young));
	SET(object, "syn_queue_limit", NUMBER(row->syn_limit));
	SET(object, "syn_queue_high", NUMBER(row->syn_high));
	SET(object, "syn_queue_full", json_boolean(row->syn_full));
}

static void set_socket(json_t *object, const struct pg_tcpq_listener *row)
{
	SET(object, "ipv6", json_boolean(row->ipv6));
	SET(object, "ipv6_only", json_boolean(row->ipv6 && row->v6only));
	SET(object, "interface_index", NUMBER(row->bound_interface));
	SET(object, "cookie", NUMBER(row->cookie));
	SET(object, "inode", NUMBER(row->inode));
	SET(object, "uid", NUMBER(row->uid));
	SET(object, "owner_pid", NUMBER(row->owner_pid));
	SET(object, "owner_command", json_string(row->owner_comm));
	SET(object, "reuseport", json_boolean(row->reuseport));
	SET(object, "reuseport_sockets", NUMBER(row->reuseport_sockets));
	SET(object, "fastopen_queue_length", NUMBER(row->fastopen_length));
	SET(object, "fastopen_queue_limit", NUMBER(row->fastopen_limit));
}

static json_t *listener_json(const struct pg_netns *netns, const struct pg_tcpq_listener *row)
{
	char address[PG_ADDRESS_TEXT];
	json_t *object = json_pack("{s:s, s:s, s:i}", "netns", netns->name, "address",
				   pg_address_print(&row->address, address), "port", row->port);

	set_accept_queue(object, row);
	set_syn_queue(object, row);
	SET(object, "drops", NUMBER(row->drops));
	SET(object, "synack_retransmits", NUMBER(row->synack_retransmits));
	SET(object, "marked", json_boolean(row->marked));
	set_socket(object, row);
	return object;
}

static json_t *sysctl_json(int64_t value)
{
	return value == PG_NETSTAT_NO_SYSCTL ? json_null() : NUMBER(value);
}

static json_t *namespace_json(const struct pg_netns_sample *row)
{
	const struct pg_netns *netns = &row->netns;
	json_t *object = json_pack(
		"{s:s, s:I, s:b, s:s, s:i, s:s, s:b, s:s, s:I, s:I}", "netns", netns->name, "inode",
		(json_int_t)netns->inode, "own", netns->own, "container", netns->container, "pid",
		netns->pid, "command", netns->comm, "readable", !row->why[0], "why", row->why,
		"listeners", (json_int_t)row->count, "listeners_cut", (json_int_t)row->cut);

#define PG_X(field, path) \
	SET(object, #field, row->why[0] ? json_null() : sysctl_json(row->sysctls.field));
	PG_NETSTAT_SYSCTLS(PG_X)
#undef PG_X
#define PG_X(state, help) \
	SET(object, "sockets_" #state, NUMBER(pg_listeners_sockets(row, PG_SOCKETS_##state)));
	PG_LISTENERS_SOCKETS(PG_X)
#undef PG_X
#define PG_X(state, number) \
	SET(object, "states_" #state, row->counted ? NUMBER(row->states[number]) : json_null());
	PG_TCP_STATES(PG_X)
#undef PG_X
	return object;
}

static json_t *counters_json(const struct pg_netns_sample *row)
{
	json_t *object = json_pack("{s:s}", "netns", row->netns.name);
	int i;

	for (i = 0; i < PG_NETSTAT_FIELDS; i++)
		SET(object, pg_netstat_info[i].name,
		    pg_netstat_has(&row->netstat, i) ? NUMBER(row->netstat.values[i])
						     : json_null());
	return object;
}

/* Writes a value and lets it go; the rows of a large machine are never all held as JSON. */
static bool write_row(FILE *file, bool first, json_t *row)
{
	bool good;

	if (!first)
		fputc(',', file);
	good = row && !json_dumpf(row, file, JSON_COMPACT);
	json_decref(row);
	return good;
}

static bool write_namespaces(FILE *file, const struct pg_listeners_sample *sample)
{
	bool good = true;
	size_t i;

	for (i = 0; i < sample->namespace_count; i++)
		good &= write_row(file, !i, namespace_json(&sample->namespaces[i]));
	return good;
}

static bool write_listeners(FILE *file, const struct pg_listeners_sample *sample)
{
	bool good = true;
	size_t i, j, row;

	for (i = 0; i < sample->namespace_count; i++) {
		const struct pg_netns_sample *namespace = &sample->namespaces[i];

		for (j = 0; j < namespace->count; j++) {
			row = namespace->first + j;
			good &= write_row(file, !row,
					  listener_json(&namespace->netns, &sample->rows[row]));
		}
	}
	return good;
}

static bool write_counters(FILE *file, const struct pg_listeners_sample *sample)
{
	bool good = true, first = true;
	size_t i;

	for (i = 0; i < sample->namespace_count; i++) {
		if (sample->namespaces[i].why[0])
			continue;
		good &= write_row(file, first, counters_json(&sample->namespaces[i]));
		first = false;
	}
	return good;
}

static bool write_sample(FILE *file, const struct pg_listeners_sample *sample)
{
	PG_JSON json_t *head = json_pack(
		"{s:s, s:s, s:I, s:I, s:I}", "source", pg_listeners_source_word(sample->source),
		"source_why", sample->source_why, "namespaces_cut",
		(json_int_t)sample->namespaces_cut, "listeners_cut", (json_int_t)sample->rows_cut,
		"requests_cut", (json_int_t)sample->requests_cut);
	bool good;

	fputc('{', file);
	good = head && !json_dumpf(head, file, JSON_COMPACT | JSON_EMBED);
	fputs(",\"namespaces\":[", file);
	good &= write_namespaces(file, sample);
	fputs("],\"listeners\":[", file);
	good &= write_listeners(file, sample);
	fputs("],\"counters\":[", file);
	good &= write_counters(file, sample);
	fputs("]}", file);
	return good;
}

static int answer_sample(struct pg_http_answer *answer, const struct pg_listeners_sample *sample,
			 struct pg_error *error)
{
	PG_FREE char *text = NULL;
	size_t bytes = 0;
	FILE *file = open_memstream(&text, &bytes);
	bool good = file && write_sample(file, sample);

	if (!file || fclose(file) || !good)
		return pg_error_set(error, -ENOMEM, "list the TCP listeners: out of memory");
	answer->body = TAKE_PTR(text);
	answer->body_bytes = bytes;
	return 0;
}

int pg_control_listeners(void *agent, const struct pg_http_request *request,
			 struct pg_http_answer *answer, struct pg_error *error)
{
	PG_CLEANUP(pg_listeners_sample_done) struct pg_listeners_sample sample = { 0 };
	struct pg_tcp_config config = pg_agent_config_get(agent)->tcp;
	int err;

	pg_agent_config_put(agent);
	err = pg_listeners_read(pg_agent_listeners(agent), &config, pg_http_query(request, "netns"),
				&sample, error);
	if (!err)
		err = pg_owners_find(sample.rows, sample.row_count);
	if (err)
		return pg_error_prefix(error, err, "list the TCP listeners");
	return answer_sample(answer, &sample, error);
}
