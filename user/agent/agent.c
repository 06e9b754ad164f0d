// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <net/if.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent_internal.h"
#include "in_force.h"
#include "log.h"

#define CLOCK_LOOKS   5
#define CLOCK_LOOK_NS 20000 /* what is good enough */
#define STALLED_MS    2000  /* a worker that has not turned its loop for so long has stalled */

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

uint64_t pg_agent_now_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

uint64_t pg_agent_unix_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

struct pg_listeners *pg_agent_listeners(struct pg_agent *agent)
{
	return agent->listeners;
}

/* --- start -------------------------------------------------------------------------------------
 */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* Of several looks at both clocks the quickest: between the two this thread may have to wait. */
static void set_clock(struct pg_agent *agent)
{
	uint64_t best = UINT64_MAX, offset = 0;

	for (int i = 0; i < CLOCK_LOOKS && best > CLOCK_LOOK_NS; i++) {
		uint64_t before = clock_ns(CLOCK_MONOTONIC);
		uint64_t real = clock_ns(CLOCK_REALTIME);
		uint64_t took = clock_ns(CLOCK_MONOTONIC) - before;

		if (took >= best)
			continue;
		best = took;
		offset = real - before - took / 2;
	}
	__atomic_store_n(&agent->maps->shared->clock_offset_ns, offset, __ATOMIC_RELAXED);
}

static void publish_limits(struct pg_agent *agent, const struct pg_config *config)
{
	struct pg_shared *shared = agent->maps->shared;

	shared->without_agent = config->without_agent;
	shared->unmatched_rate = config->limits.unmatched_per_source_per_second;
	shared->ack_rate = config->limits.acks_per_session_per_second;
}

static void engine_options(const struct pg_config *config, struct pg_engine_options *options)
{
	*options = (struct pg_engine_options){
		.receive_timeout_ms = config->limits.receive_timeout_ms,
		.acks_per_second = config->limits.acks_per_session_per_second,
		.max_payload = config->limits.max_payload,
	};
	pg_engine_options_default(options);
}

static int open_kernel(struct pg_agent *agent, struct pg_error *error)
{
	const struct pg_config *config = agent->config;
	struct pg_maps_options options = {
		.instance = config->instance,
		.sessions = config->limits.sessions,
		.streams = config->limits.streams,
	};
	int err;

	err = pg_maps_open(&options, &agent->maps, error);
	if (err)
		return err;
	set_clock(agent);
	publish_limits(agent, config);
	err = pg_cookies_start(agent);
	if (err)
		return pg_error_set(error, err, "OpenSSL gives no random bytes");
	err = pg_session_table_new(agent->maps, &agent->table);
	if (err)
		return pg_error_set(error, err, "out of memory for %u sessions",
				    config->limits.sessions);
	return pg_locals_open(agent->maps->locals, &agent->locals, error);
}

static int open_store(struct pg_agent *agent, struct pg_error *error)
{
	struct pg_store_options options = {
		.directory = agent->config->state.directory,
		.key_path = agent->config->state.key,
		.instance = agent->config->instance,
	};

	return pg_store_open(&options, &agent->store, error);
}

static int open_workers(struct pg_agent *agent, struct pg_error *error)
{
	int err = 0;

	engine_options(agent->config, &agent->engine_options);
	for (uint32_t i = 0; i < agent->worker_count && !err; i++) {
		struct pg_worker_options options = {
			.index = i,
			.spin = agent->config->workers.spin,
			.serves_sockets = i == 0,
			.table = agent->table,
			.store = agent->store,
			.refusals = &agent->refusals,
			.engine = &agent->engine_options,
		};

		err = pg_worker_new(&options, &agent->workers[i], error);
	}
	for (uint32_t i = 0; i < agent->worker_count && !err; i++)
		pg_worker_set_peers(agent->workers[i], agent->workers, agent->worker_count);
	return err;
}

static int start_workers(struct pg_agent *agent, struct pg_error *error)
{
	int err = 0;

	for (uint32_t i = 0; i < agent->worker_count && !err; i++)
		err = pg_worker_start(agent->workers[i], error);
	return err;
}

/* An interface that cannot be attached is said and shown, the others go on. */
void pg_agent_attach_all(struct pg_agent *agent)
{
	struct pg_error error;

	pg_agent_lock(agent);
	agent->settled = true;
	for (uint32_t i = 0; i < agent->interface_count; i++)
		if (pg_interface_attach(agent, &agent->interfaces[i], agent->confirm_seconds,
					&error))
			pg_error_log("%s", error.text);
	pg_agent_unlock(agent);
}

/* The entrances' endpoints are those that are configured now. */
static void apply_entrances(struct pg_agent *agent, struct pg_tcp_plan *plan)
{
	const struct pg_entrance_config *entrance;

	for (uint32_t i = 0; (entrance = pg_tcp_plan_entrance(plan, i)); i++)
		pg_tcp_plan_set_endpoint(plan, i, pg_endpoint_find(agent, entrance->endpoint));
	pg_tcp_gateway_apply(agent->tcp, plan);
}

static int open_entrances(struct pg_agent *agent, struct pg_error *error)
{
	struct pg_tcp_plan *plan;
	int err;

	err = pg_tcp_gateway_open(&agent->refusals, &agent->tcp, error);
	if (!err)
		err = pg_tcp_gateway_plan(agent->tcp, agent->config, &plan, error);
	if (err)
		return err;
	pg_tcp_gateway_set_view(agent->tcp, agent->view);
	apply_entrances(agent, plan);
	return 0;
}

/* What the handshake servers are made for, when handshakes come into force first. */
static void fix_half_open(struct pg_agent *agent)
{
	if (!agent->half_open_most && agent->config->handshake.present)
		agent->half_open_most = agent->config->limits.half_open;
}

static int bring_up(struct pg_agent *agent, struct pg_error *error)
{
	struct pg_reload_result ignored = { 0 };
	struct pg_app_handlers handlers;
	int err;

	err = pg_interfaces_plan(agent, error);
	if (!err)
		err = open_store(agent, error);
	if (!err)
		err = open_kernel(agent, error);
	if (!err)
		err = open_workers(agent, error);
	if (!err)
		err = pg_handshake_seed(agent->handshake_seed, error);
	if (!err)
		err = pg_handshake_view_load(agent->config, agent->worker_count,
					     &agent->maps->shared->cookies, agent->handshake_seed,
					     &agent->handshake, error);
	if (!err)
		err = pg_endpoints_apply(agent, agent->config, &ignored, error);
	if (err)
		return err;
	fix_half_open(agent);
	pg_endpoints_clean(agent);
	pg_cookies_tick(agent);
	err = pg_sessions_restore(agent, error);
	if (!err)
		err = start_workers(agent, error);
	if (err)
		return err;
	/* returns when every worker has taken what was posted before */
	pg_agent_publish_view(agent);
	pg_sessions_restored(agent);
	agent->serving = true;
	pg_endpoints_handlers(agent, &handlers);
	err = open_entrances(agent, error);
	if (err)
		return err;
	err = pg_app_server_open(&agent->config->app, &handlers, &agent->refusals, &agent->apps,
				 error);
	if (!err)
		err = pg_followers_open(agent, error);
	if (!err)
		err = pg_listeners_open(PG_TCPQ_ROWS_MAX, &agent->listeners, error);
	if (err)
		return err;
	pg_interfaces_clean(agent);
	return pg_shield_open(agent, error);
}

int pg_agent_open(const struct pg_agent_options *options, struct pg_agent **ret_agent,
		  struct pg_error *error)
{
	struct pg_agent *agent = calloc(1, sizeof(*agent));
	int err;

	if (!agent)
		return pg_error_set(error, -ENOMEM, "out of memory");
	err = pg_inbox_init(&agent->refusals);
	if (err) {
		free(agent);
		return pg_error_set(error, err, "creating an eventfd: %s", strerror(-err));
	}
	pthread_mutex_init(&agent->lock, NULL);
	pthread_rwlock_init(&agent->config_lock, NULL);
	snprintf(agent->config_path, sizeof(agent->config_path), "%s", options->config_path);
	agent->started_ms = pg_agent_unix_ms();
	agent->confirm_seconds = options->confirm_seconds;
	err = pg_config_load(options->config_path, &agent->config, error);
	if (!err)
		agent->routes = agent->config->app;
	if (!err)
		err = bring_up(agent, error);
	if (err) {
		pg_agent_close(agent);
		return err;
	}
	if (agent->adopted || agent->restored || agent->removed)
		pg_info_log("sessions: %lu adopted from the pins, %lu restored from the store, "
			    "%lu removed",
			    (unsigned long)agent->adopted, (unsigned long)agent->restored,
			    (unsigned long)agent->removed);
	*ret_agent = agent;
	return 0;
}

/* The workers stand still: wipe the keys of every session; what is mapped stays as it is. */
static void free_entries(struct pg_agent *agent)
{
	for (uint32_t slot = 0; agent->table && slot < agent->table->slots; slot++) {
		struct pg_entry *entry = atomic_load(&agent->table->entries[slot]);

		if (!entry)
			continue;
		/* one caught between two workers belongs to neither */
		if (!entry->engine.env)
			entry->engine.env = pg_worker_env(agent->workers[0]);
		if (!entry->linger_until_ms)
			pg_engine_done(&entry->engine);
		free(entry);
	}
}

void pg_agent_close(struct pg_agent *agent)
{
	pg_listeners_close(agent->listeners);
	pg_shield_close(agent);
	pg_followers_close(agent);
	for (uint32_t i = 0; i < agent->worker_count; i++)
		pg_worker_stop(agent->workers[i]);
	/* its thread hands views and records to the gateway's */
	pg_app_server_close(agent->apps);
	pg_tcp_gateway_close(agent->tcp);
	agent->tcp = NULL;
	if (agent->serving)
		pg_sessions_save(agent);
	else if (agent->store)
		pg_sessions_leave(agent);
	if (agent->store)
		pg_store_close(agent->store);
	pg_interfaces_close(agent);
	free_entries(agent);
	for (uint32_t i = 0; i < agent->worker_count; i++)
		pg_worker_free(agent->workers[i]);
	pg_inbox_done(&agent->refusals);
	pg_endpoints_close(agent);
	pg_locals_close(agent->locals);
	pg_session_table_free(agent->table);
	if (agent->settled)
		pg_maps_close(agent->maps);
	else
		pg_maps_discard(agent->maps);
	pg_config_free(agent->config);
	free(agent->followers);
	OPENSSL_cleanse(agent->handshake_seed, sizeof(agent->handshake_seed));
	free(agent);
}

/* --- while it runs -----------------------------------------------------------------------------
 */

int pg_agent_locals_fd(struct pg_agent *agent)
{
	return pg_locals_fd(agent->locals);
}

void pg_agent_locals_changed(struct pg_agent *agent)
{
	struct pg_error error;

	if (pg_locals_update(agent->locals, &error))
		pg_error_log("%s", error.text);
}

void pg_agent_tick(struct pg_agent *agent)
{
	pg_agent_lock(agent);
	set_clock(agent);
	pg_cookies_tick(agent);
	pg_interfaces_tick(agent);
	pg_agent_unlock(agent);
}

const struct pg_config *pg_agent_config_get(struct pg_agent *agent)
{
	pthread_rwlock_rdlock(&agent->config_lock);
	return agent->config;
}

void pg_agent_config_put(struct pg_agent *agent)
{
	pthread_rwlock_unlock(&agent->config_lock);
}

int pg_agent_reload(struct pg_agent *agent, struct pg_reload_result *ret_result,
		    struct pg_error *error)
{
	struct pg_handshake_view *handshake = NULL, *old_handshake;
	struct pg_config *config = NULL, *old;
	struct pg_reload_result result = { 0 };
	struct pg_tcp_plan *plan = NULL;
	int err;

	err = pg_config_load(agent->config_path, &config, error);
	if (err)
		return err;
	pg_agent_lock(agent);
	pg_config_keep_in_force(agent->config, agent->half_open_most, config,
				result.restart_needed);
	err = pg_tcp_gateway_plan(agent->tcp, config, &plan, error);
	if (!err)
		err = pg_handshake_view_load(config, agent->worker_count,
					     &agent->maps->shared->cookies, agent->handshake_seed,
					     &handshake, error);
	if (!err) {
		old_handshake = agent->handshake;
		agent->handshake = handshake;
		err = pg_endpoints_apply(agent, config, &result, error);
		if (err && agent->view->handshake != handshake) {
			agent->handshake = old_handshake;
			pg_handshake_view_free(handshake);
		}
	}
	if (err) {
		pg_tcp_plan_free(plan);
	} else {
		apply_entrances(agent, plan);
		publish_limits(agent, config);
		pthread_rwlock_wrlock(&agent->config_lock);
		old = agent->config;
		agent->config = config;
		pthread_rwlock_unlock(&agent->config_lock);
		config = old;
		pg_shield_apply(agent, agent->config);
	}
	if (!err) {
		fix_half_open(agent);
		strcpy(agent->restart_needed, result.restart_needed);
		pg_cookies_tick(agent);
	}
	pg_agent_unlock(agent);
	pg_config_free(config);
	if (err)
		return err;
	pg_info_log("reloaded: %u endpoints added, %u changed, %u removed%s%s", result.added,
		    result.changed, result.removed,
		    result.restart_needed[0] ? "; not in force until the next start: " : "",
		    result.restart_needed);
	*ret_result = result;
	return 0;
}

/* --- what it tells -----------------------------------------------------------------------------
 */

static void interface_status(struct pg_maps *maps, const struct interface *interface,
			     struct pg_interface_status *to)
{
	uint64_t now = pg_agent_now_ms();

	snprintf(to->name, sizeof(to->name), "%s", interface->name);
	snprintf(to->why, sizeof(to->why), "%s", interface->why);
	to->mode = interface->mode;
	to->queues = interface->queues;
	to->slot = pg_maps_find_slot(maps, interface->name);
	if (interface->confirm_by_ms > now)
		to->confirm_seconds = (interface->confirm_by_ms - now + 999) / 1000;
	if (!interface->gate)
		return;
	to->program_id = pg_gate_program_id(interface->gate);
	if (!pg_gate_attached(interface->gate)) {
		to->mode = PG_GATE_DETACHED;
		if (!interface->renamed)
			snprintf(to->why, sizeof(to->why), "the link is gone");
	}
}

static bool workers_alive(const struct pg_agent *agent)
{
	uint64_t now = pg_agent_now_ms();

	for (uint32_t i = 0; i < agent->worker_count; i++) {
		uint64_t turn = pg_worker_last_turn_ms(agent->workers[i]);

		if (turn < now && now - turn > STALLED_MS)
			return false;
	}
	return true;
}

void pg_agent_status(struct pg_agent *agent, struct pg_agent_status *ret_status)
{
	memset(ret_status, 0, sizeof(*ret_status));
	pg_agent_lock(agent);
	snprintf(ret_status->instance, sizeof(ret_status->instance), "%s", agent->config->instance);
	snprintf(ret_status->version, sizeof(ret_status->version), "%s", PG_VERSION);
	ret_status->started_ms = agent->started_ms;
	ret_status->sessions = atomic_load(&agent->table->sessions);
	ret_status->streams = atomic_load(&agent->table->streams_used);
	ret_status->sessions_limit = agent->table->slots;
	ret_status->streams_limit = agent->maps->stream_slots;
	ret_status->adopted = agent->adopted;
	ret_status->restored = agent->restored;
	ret_status->removed = agent->removed;
	strcpy(ret_status->restart_needed, agent->restart_needed);
	ret_status->aead_backend = pg_worker_aead(agent->workers[0]);
	ret_status->workers_alive = workers_alive(agent);
	ret_status->all_attached = true;
	ret_status->interface_count = agent->interface_count;
	for (uint32_t i = 0; i < agent->interface_count; i++) {
		interface_status(agent->maps, &agent->interfaces[i], &ret_status->interfaces[i]);
		if (ret_status->interfaces[i].mode == PG_GATE_DETACHED)
			ret_status->all_attached = false;
	}
	pg_agent_unlock(agent);
}

static uint64_t endpoint_sessions(const struct pg_agent *agent, uint32_t index)
{
	uint64_t count = 0;

	for (uint32_t slot = 0; slot < agent->table->slots; slot++) {
		const struct pg_session *line = &agent->maps->sessions[slot];

		count += line->id && line->endpoint == index && line->state != PG_SESSION_CLOSE;
	}
	return count;
}

int pg_agent_endpoints(struct pg_agent *agent, struct pg_endpoint_status **ret_rows,
		       size_t *ret_count)
{
	struct pg_endpoint_status *rows = calloc(PG_ENDPOINTS_MAX, sizeof(*rows));
	size_t count = 0;

	if (!rows)
		return -ENOMEM;
	pg_agent_lock(agent);
	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++) {
		const struct endpoint *endpoint = &agent->endpoints[i];
		struct pg_endpoint_status *row = &rows[count];

		if (!endpoint->used)
			continue;
		snprintf(row->name, sizeof(row->name), "%s", endpoint->config.name);
		row->id = endpoint->id;
		row->application = endpoint->apps[0] != NULL;
		row->config = endpoint->config;
		row->sessions = endpoint_sessions(agent, i);
		count++;
	}
	pg_agent_unlock(agent);
	*ret_rows = rows;
	*ret_count = count;
	return 0;
}

int pg_agent_gate_counts(struct pg_agent *agent, struct pg_gate_counts *ret_counts)
{
	struct pg_count *drops = calloc(PG_DROP_ENTRIES, sizeof(*drops));
	int err = drops ? 0 : -ENOMEM;

	if (!err)
		err = pg_maps_read_counts(agent->maps->drops, PG_DROP_ENTRIES, drops);
	for (int i = 0; i < PG_INTERFACES_MAX && !err; i++) {
		memcpy(ret_counts->drops[i], &drops[PG_DROP_INDEX(i, 0, 0)],
		       sizeof(ret_counts->drops[i]));
		memcpy(ret_counts->would_drop[i], &drops[PG_DROP_INDEX(i, 1, 0)],
		       sizeof(ret_counts->would_drop[i]));
	}
	if (!err)
		err = pg_maps_read_counts(agent->maps->counts, PG_COUNT_ENTRIES,
					  &ret_counts->counters[0][0]);
	if (!err)
		err = pg_maps_read_counts(agent->maps->steered, PG_STEERED_ENTRIES,
					  &ret_counts->steered[0][0]);
	free(drops);
	return err;
}

static void add_counts(const struct pg_worker_counts *from, struct pg_worker_counts *to)
{
	const uint64_t *words = (const uint64_t *)from;
	uint64_t *sums = (uint64_t *)to;

	for (size_t i = 0; i < sizeof(*from) / sizeof(uint64_t); i++)
		sums[i] += words[i];
}

void pg_agent_worker_counts(struct pg_agent *agent, struct pg_worker_counts *ret_counts)
{
	memset(ret_counts, 0, sizeof(*ret_counts));
	for (uint32_t i = 0; i < agent->worker_count; i++)
		add_counts(pg_worker_counts(agent->workers[i]), ret_counts);
	add_counts(pg_tcp_gateway_counts(agent->tcp), ret_counts);
	for (int why = 0; why < PG_MISFIT_SLOTS; why++)
		ret_counts->misfits[why] += agent->misfits[why];
}

size_t pg_agent_tcp_entrances(struct pg_agent *agent, struct pg_tcp_entrance *rows)
{
	size_t count;

	pg_agent_lock(agent);
	count = pg_tcp_gateway_status(agent->tcp, rows);
	pg_agent_unlock(agent);
	return count;
}

int pg_agent_xsk_status(struct pg_agent *agent, struct pg_xsk_status **ret_rows, size_t *ret_count)
{
	struct pg_xsk_status *rows = calloc(PG_WORKERS_MAX, sizeof(*rows));
	size_t count = 0;

	if (!rows)
		return -ENOMEM;
	pg_agent_lock(agent);
	for (uint32_t i = 0; i < agent->interface_count; i++)
		for (uint32_t q = 0; q < agent->interfaces[i].queues; q++) {
			struct pg_worker *worker =
				agent->workers[agent->interfaces[i].first_worker + q];
			struct xdp_statistics from;

			if (pg_worker_xsk_statistics(worker, &from))
				continue;
			rows[count] = (struct pg_xsk_status){
				.queue = q,
				.rx_dropped = from.rx_dropped,
				.rx_invalid_descs = from.rx_invalid_descs,
				.tx_invalid_descs = from.tx_invalid_descs,
				.rx_ring_full = from.rx_ring_full,
				.rx_fill_ring_empty_descs = from.rx_fill_ring_empty_descs,
				.tx_ring_empty_descs = from.tx_ring_empty_descs,
			};
			snprintf(rows[count].interface, sizeof(rows[count].interface), "%s",
				 agent->interfaces[i].name);
			count++;
		}
	pg_agent_unlock(agent);
	*ret_rows = rows;
	*ret_count = count;
	return 0;
}
