// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cleanup.h"
#include "control_json.h"
#include "control_routes.h"
#include "http.h"
#include "listeners.h"
#include "metrics.h"
#include "metrics_text.h"

struct pg_metrics {
	struct pg_http *http;
};

static void snapshot_free(struct pg_metrics_snapshot **snapshot)
{
	if (!*snapshot)
		return;
	free((*snapshot)->xsk);
	free((*snapshot)->sessions);
	pg_listeners_sample_done(&(*snapshot)->tcp);
	free((*snapshot)->shield);
	free(*snapshot);
}

/* A part that cannot be read is left away, and its series end: that is what happened. */
static void take_snapshot(struct pg_agent *agent, bool reset, struct pg_metrics_snapshot *snapshot)
{
	const struct pg_config *config = pg_agent_config_get(agent);
	struct pg_tcp_config tcp = config->tcp;

	snapshot->limits = config->limits;
	pg_agent_config_put(agent);
	pg_agent_status(agent, &snapshot->status);
	pg_agent_worker_counts(agent, &snapshot->workers);
	if (pg_agent_gate_counts(agent, &snapshot->gate))
		snapshot->status.interface_count = 0;
	pg_agent_xsk_status(agent, &snapshot->xsk, &snapshot->xsk_count);
	pg_agent_session_counts(agent, &snapshot->sessions, &snapshot->session_count);
	snapshot->entrance_count = pg_agent_tcp_entrances(agent, snapshot->entrances);
	pg_listeners_scrape(pg_agent_listeners(agent), &tcp, reset, &snapshot->tcp, NULL);
	pg_agent_shield(agent, &snapshot->shield);
}

static const char *const content_types[] = {
	[PG_METRICS_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
	[PG_METRICS_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
};

/*
 * The exposition at this moment. What cannot be read now (listeners without the capability, say) is
 * left away: a scrape never fails half. With reset high-water marks begin anew.
 */
static int answer_metrics(struct pg_agent *agent, bool reset, const struct pg_http_request *request,
			  struct pg_http_answer *answer, struct pg_error *error)
{
	enum pg_metrics_format format = pg_metrics_format(request->accept);
	PG_CLEANUP(snapshot_free)
	struct pg_metrics_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	PG_FREE char *text = NULL;
	size_t bytes = 0;
	FILE *file;

	if (!snapshot)
		return pg_error_set(error, -ENOMEM, "write the metrics: out of memory");
	take_snapshot(agent, reset, snapshot);
	file = open_memstream(&text, &bytes);
	if (!file)
		return pg_error_set(error, -ENOMEM, "write the metrics: out of memory");
	pg_metrics_expose(snapshot, format, file);
	if (fclose(file))
		return pg_error_set(error, -ENOMEM, "write the metrics: out of memory");
	answer->content_type = content_types[format];
	answer->body = TAKE_PTR(text);
	answer->body_bytes = bytes;
	return 0;
}

int pg_control_metrics(void *agent, const struct pg_http_request *request,
		       struct pg_http_answer *answer, struct pg_error *error)
{
	return answer_metrics(agent, false, request, answer, error);
}

static int scrape(void *agent, const struct pg_http_request *request, struct pg_http_answer *answer,
		  struct pg_error *error)
{
	return answer_metrics(agent, true, request, answer, error);
}

static int health(void *agent, const struct pg_http_request *request, struct pg_http_answer *answer,
		  struct pg_error *error)
{
	struct pg_agent_status status;
	json_t *reasons = json_array();
	size_t i;

	pg_agent_status(agent, &status);
	for (i = 0; i < status.interface_count; i++)
		if (status.interfaces[i].mode == PG_GATE_DETACHED)
			json_array_append_new(reasons,
					      json_sprintf("no gate on %s%s%s",
							   status.interfaces[i].name,
							   status.interfaces[i].why[0] ? ": " : "",
							   status.interfaces[i].why));
	if (!status.all_attached && !json_array_size(reasons))
		json_array_append_new(reasons, json_string("an interface has no gate"));
	if (!status.workers_alive)
		json_array_append_new(reasons, json_string("a worker stalls"));
	answer->status = json_array_size(reasons) ? 503 : 200;
	return pg_json_answer(
		answer,
		json_pack("{s:b, s:o}", "healthy", answer->status == 200, "reasons", reasons),
		error);
}

static const struct pg_http_route routes[] = {
	{ "GET", "/metrics", NULL, scrape },
	{ "GET", "/healthz", NULL, health },
};

int pg_metrics_open(struct pg_agent *agent, const struct pg_peer *listen,
		    struct pg_metrics **ret_metrics, struct pg_error *error)
{
	PG_FREE struct pg_metrics *metrics = calloc(1, sizeof(*metrics));
	struct pg_http_options options = {
		.listen = listen,
		.routes = routes,
		.route_count = sizeof(routes) / sizeof(routes[0]),
		.context = agent,
	};
	int rc;

	if (!metrics)
		return pg_error_set(error, -ENOMEM, "open the metrics: out of memory");
	rc = pg_http_open(&options, &metrics->http, error);
	if (rc)
		return pg_error_prefix(error, rc, "open the metrics");
	*ret_metrics = TAKE_PTR(metrics);
	return 0;
}

void pg_metrics_close(struct pg_metrics *metrics)
{
	if (!metrics)
		return;
	pg_http_close(metrics->http);
	free(metrics);
}
