// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "control_json.h"
#include "control_routes.h"
#include "listeners.h"
#include "owners.h"
#include "tcp_advice.h"
#include "tcp_decision.h"

/* Listeners in one answer, each of about 3 KiB. */
#define EXPLAINED_MAX 1024

#define SET(object, key, value) json_object_set_new(object, key, value)
#define NUMBER(value)		json_integer((json_int_t)(value))

static struct pg_tcp_queues queues_of(const struct pg_tcpq_listener *row)
{
	return (struct pg_tcp_queues){
		.accept_length = row->accept_length,
		.accept_limit = row->accept_limit,
		.syn_length = row->syn_length,
		.syn_young = row->syn_young,
		.defer_accept = row->defer_accept,
		.somaxconn = row->somaxconn,
		.max_syn_backlog = row->max_syn_backlog,
		.syncookies = row->syncookies,
		.abort_on_overflow = row->abort_on_overflow,
		.synack_retries = row->synack_retries,
	};
}

/* --- decisions -------------------------------------------------------------------------------- */

static json_t *counters_json(uint32_t counters)
{
	json_t *names = json_array();
	int i;

	for (i = 0; i < PG_NETSTAT_FIELDS; i++)
		if (counters >> i & 1)
			json_array_append_new(names, json_string(pg_netstat_info[i].kernel));
	return names;
}

static json_t *decision_json(const char *packet, enum pg_tcp_outcome outcome)
{
	const struct pg_tcp_outcome_info *info = &pg_tcp_outcome_info[outcome];

	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "packet", packet, "decision",
			 pg_tcp_verdict_word(info->verdict), "outcome", info->word, "why",
			 info->why, "counters", counters_json(info->counters));
}

static json_t *decisions_json(const struct pg_tcp_decision *decision)
{
	return json_pack("[o, o, o, o]", decision_json("syn", decision->syn),
			 decision_json("syn_known", decision->syn_proven),
			 decision_json("final_ack", decision->ack),
			 decision_json("cookie_ack", decision->cookie_ack));
}

/* --- advice ----------------------------------------------------------------------------------- */

static json_t *change_json(const struct pg_tcp_change *change, const struct pg_netns *netns)
{
	char sysctl[PG_TCP_LINE], listen[PG_TCP_LINE], pod[PG_TCP_LINE], kubelet[PG_TCP_LINE];
	/* where process 1 is, an operator usually is too */
	bool host = !strcmp(netns->name, "init");

	pg_tcp_print_sysctl(change, host ? NULL : netns->path, sysctl);
	pg_tcp_print_listen(change, listen);
	pg_tcp_print_pod(change, pod);
	pg_tcp_print_kubelet(change, kubelet);
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s}", "setting",
			 pg_tcp_setting_word(change->setting), "value", (json_int_t)change->value,
			 "sysctl", host || netns->path[0] ? sysctl : "", "listen", listen, "pod",
			 pod, "kubelet", kubelet);
}

static json_t *advice_json(const struct pg_tcp_queues *queues,
			   const struct pg_tcp_decision *decision, const struct pg_netns *netns)
{
	struct pg_tcp_advice advice[PG_TCP_REASON_COUNT];
	size_t i, j, count = pg_tcp_advise(queues, decision, advice);
	json_t *rows = json_array(), *changes;

	for (i = 0; i < count; i++) {
		const struct pg_tcp_reason_info *info = &pg_tcp_reason_info[advice[i].reason];

		changes = json_array();
		for (j = 0; j < advice[i].change_count; j++)
			json_array_append_new(changes, change_json(&advice[i].changes[j], netns));
		json_array_append_new(rows, json_pack("{s:s, s:b, s:s, s:o}", "reason", info->word,
						      "needed", info->needed, "why", info->why,
						      "changes", changes));
	}
	return rows;
}

/* --- a listener ------------------------------------------------------------------------------- */

static void set_limits(json_t *object, const struct pg_tcp_queues *queues,
		       const struct pg_tcp_decision *decision)
{
	SET(object, "accept_queue_length", NUMBER(queues->accept_length));
	SET(object, "accept_queue_limit", NUMBER(queues->accept_limit));
	SET(object, "accept_queue_room", NUMBER(decision->accept_room));
	SET(object, "accept_queue_full", json_boolean(decision->accept_full));
	SET(object, "accept_queue_limiter",
	    json_string(pg_tcp_limiter_word(decision->accept_limiter)));
	SET(object, "syn_queue_length", NUMBER(queues->syn_length));
	SET(object, "syn_queue_young", NUMBER(queues->syn_young));
	SET(object, "syn_queue_room", NUMBER(decision->syn_room));
	SET(object, "syn_queue_room_known", NUMBER(decision->syn_room_proven));
	SET(object, "syn_queue_full", json_boolean(decision->syn_full));
	SET(object, "syn_queue_limiter", json_string(pg_tcp_limiter_word(decision->syn_limiter)));
	SET(object, "synack_retries", NUMBER(decision->synack_retries));
	SET(object, "defer_accept", json_boolean(queues->defer_accept));
}

static void set_sysctls(json_t *object, const struct pg_tcp_queues *queues)
{
	SET(object, "somaxconn", NUMBER(queues->somaxconn));
	SET(object, "tcp_max_syn_backlog", NUMBER(queues->max_syn_backlog));
	SET(object, "tcp_syncookies", NUMBER(queues->syncookies));
	SET(object, "tcp_abort_on_overflow", NUMBER(queues->abort_on_overflow));
	SET(object, "tcp_synack_retries", NUMBER(queues->synack_retries));
}

static json_t *explanation(const struct pg_netns *netns, const struct pg_tcpq_listener *row)
{
	struct pg_tcp_queues queues = queues_of(row);
	struct pg_tcp_decision decision;
	char address[PG_ADDRESS_TEXT];
	json_t *object = json_pack("{s:s, s:s, s:i, s:I, s:i, s:s}", "netns", netns->name,
				   "address", pg_address_print(&row->address, address), "port",
				   row->port, "cookie", (json_int_t)row->cookie, "owner_pid",
				   row->owner_pid, "owner_command", row->owner_comm);

	pg_tcp_decide(&queues, &decision);
	set_limits(object, &queues, &decision);
	set_sysctls(object, &queues);
	SET(object, "decisions", decisions_json(&decision));
	SET(object, "advice", advice_json(&queues, &decision, netns));
	return object;
}

static json_t *explanations(const struct pg_listeners_sample *sample, unsigned long port)
{
	json_t *rows = json_array();
	uint64_t cut = sample->rows_cut;
	size_t i, j;

	for (i = 0; i < sample->namespace_count; i++) {
		const struct pg_netns_sample *namespace = &sample->namespaces[i];

		for (j = 0; j < namespace->count; j++) {
			const struct pg_tcpq_listener *row = &sample->rows[namespace->first + j];

			if (port && row->port != port)
				continue;
			if (json_array_size(rows) == EXPLAINED_MAX)
				cut++;
			else
				json_array_append_new(rows, explanation(&namespace->netns, row));
		}
	}
	return json_pack("{s:s, s:s, s:I, s:o}", "source", pg_listeners_source_word(sample->source),
			 "source_why", sample->source_why, "listeners_cut", (json_int_t)cut,
			 "listeners", rows);
}

/* 0 = any */
static int read_port(const char *text, unsigned long *ret_port, struct pg_error *error)
{
	char *end;

	if (!text) {
		*ret_port = 0;
		return 0;
	}
	*ret_port = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || !*ret_port || *ret_port > UINT16_MAX)
		return pg_error_set(error, -EINVAL, "port must be a number from 1 to 65535");
	return 0;
}

int pg_control_explain(void *agent, const struct pg_http_request *request,
		       struct pg_http_answer *answer, struct pg_error *error)
{
	PG_CLEANUP(pg_listeners_sample_done) struct pg_listeners_sample sample = { 0 };
	struct pg_tcp_config config = pg_agent_config_get(agent)->tcp;
	unsigned long port;
	int err;

	pg_agent_config_put(agent);
	err = read_port(pg_http_query(request, "port"), &port, error);
	if (!err)
		err = pg_listeners_read(pg_agent_listeners(agent), &config,
					pg_http_query(request, "netns"), &sample, error);
	if (!err)
		err = pg_owners_find(sample.rows, sample.row_count);
	if (err)
		return pg_error_prefix(error, err, "explain the TCP listeners");
	return pg_json_answer(answer, explanations(&sample, port), error);
}
