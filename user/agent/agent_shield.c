// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent_internal.h"
#include "cleanup.h"
#include "log.h"
#include "shield.h"
#include "shield_rows.h"
#include "shield_seed.h"
#include "shield_tc.h"
#include "sysctl.h"
#include "tcpq.h"

#define POLL_MS		  250
#define RMEM_MAX_FALLBACK 212992 /* of the kernel; the file is the first namespace's alone */
/* of an off shield: until then one of its cookies may still come back */
#define COOKIE_LIFE_MS (2ull << PG_SHIELD_SLOT_SHIFT) / 1000000

/* A thread that reads the gate's switches, renews keys and ends what is over. */
struct pg_shield_guard {
	struct pg_agent *agent;
	struct pg_shield_table table;
	struct pg_sysctl_memory memory;
	pthread_t thread;
	bool stopping;
	struct ring_buffer *ring;
	struct pg_tcpq *tcpq; /* opened at the first use, NULL where that fails */
	struct pg_shield_rows rows;
	struct pg_shield_seed *seed; /* likewise */
	bool seed_failed;
	struct pg_shield_event events[PG_SHIELD_EVENTS];
	uint64_t event_count; /* ever; the ring holds the last ones */
};

/* The clock of bpf_ktime_get_coarse_ns(). */
static uint64_t kernel_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static uint64_t unix_ms_of(uint64_t ns)
{
	return ns ? pg_agent_unix_ms() - (kernel_ns() - ns) / 1000000 : 0;
}

static const char *print_place(const struct pg_shield_listener *listener, char text[PG_PEER_TEXT])
{
	struct pg_peer peer = { .address = listener->address, .port = listener->port };

	if (!listener->any)
		return pg_address_print_peer(&peer, text);
	snprintf(text, PG_PEER_TEXT, "port %u", listener->port);
	return text;
}

/* --- switches ----------------------------------------------------------------------------------
 */

static void note_switch(struct pg_shield_guard *guard, const struct pg_shield_switch *entry)
{
	struct pg_shield_event *event = &guard->events[guard->event_count % PG_SHIELD_EVENTS];
	struct pg_shield_listener listener;
	char place[PG_PEER_TEXT];

	if (entry->index >= PG_SHIELDS_MAX ||
	    !pg_shield_get(&guard->table, entry->index, &listener))
		return;
	*event = (struct pg_shield_event){
		.time_ms = unix_ms_of(entry->time_ns),
		.any = listener.any,
		.address = listener.address,
		.port = listener.port,
		.active = entry->active,
		.syn_queue = entry->syn_queue,
		.syn_limit = entry->syn_limit,
	};
	guard->event_count++;
	if (entry->active)
		pg_warning_log("shield: %s: on, the SYN queue holds %u of %u",
			       print_place(&listener, place), entry->syn_queue, entry->syn_limit);
	else
		pg_info_log("shield: %s: off, the flood is over", print_place(&listener, place));
}

static int take(void *context, void *data, size_t bytes)
{
	struct pg_shield_guard *guard = context;

	if (bytes < sizeof(struct pg_shield_switch))
		return 0;
	pg_agent_lock(guard->agent);
	note_switch(guard, data);
	pg_agent_unlock(guard->agent);
	return 0;
}

static bool covers(const struct pg_shield_listener *shield, const struct pg_tcpq_listener *row)
{
	if (row->port != shield->port)
		return false;
	return shield->any || pg_address_is_any(&shield->address) ||
	       pg_address_is_any(&row->address) ||
	       pg_address_equal(&row->address, &shield->address);
}

/* The longest SYN queue under the shield now; what the gate saw last where it cannot be read. */
static uint32_t read_syn_queue(struct pg_shield_guard *guard, uint32_t index)
{
	PG_FREE struct pg_tcpq_listener *rows = NULL;
	struct pg_shield_listener listener;
	uint32_t longest = 0;
	size_t count = 0;

	if (!guard->tcpq)
		pg_tcpq_open(&guard->tcpq, NULL);
	if (!guard->tcpq || pg_tcpq_read(guard->tcpq, &rows, &count, NULL) ||
	    !pg_shield_get(&guard->table, index, &listener))
		return guard->table.states[index].syn_queue;
	for (size_t i = 0; i < count; i++)
		if (covers(&listener, &rows[i]) && rows[i].syn_length > longest)
			longest = rows[i].syn_length;
	return longest;
}

/* The gate judges at each SYN; when none comes any more, nobody but the agent can. */
static void end_when_silent(struct pg_shield_guard *guard, uint32_t index, uint64_t now_ns)
{
	const struct pg_shield *shield = &guard->table.shields[index];
	struct pg_shield_state *state = &guard->table.states[index];
	uint32_t below = pg_shield_off_below(pg_shield_on_from(shield, state->syn_limit));
	struct pg_shield_switch entry = { .time_ns = now_ns, .index = index };
	bool silent = now_ns - state->syn_ns > PG_SHIELD_SILENCE_NS;

	if (shield->mode != PG_SHIELD_AUTO || !state->active ||
	    !pg_shield_calm(state, now_ns, below))
		return;
	entry.syn_queue = read_syn_queue(guard, index);
	if (entry.syn_queue >= below && !silent)
		return;
	entry.syn_limit = state->syn_limit;
	if (pg_shield_turn(state, now_ns, 0))
		note_switch(guard, &entry);
}

/* --- sysctls -----------------------------------------------------------------------------------
 */

static bool uses(const struct pg_agent *agent, enum pg_shield_way way)
{
	for (uint32_t i = 0; i < agent->interface_count; i++) {
		const struct interface *interface = &agent->interfaces[i];

		if (interface->gate &&
		    agent->maps->shield_env->way[pg_gate_slot(interface->gate)] == way)
			return true;
	}
	return false;
}

static bool any_on(const struct pg_shield_table *table)
{
	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++)
		if (table->shields[i].origin && table->shields[i].mode == PG_SHIELD_ON)
			return true;
	return false;
}

/*
 * The value that is enough for what the interfaces use; -1 = any. An automatic shield needs a queue
 * that fills, so nothing above 1.
 */
static int wanted(const struct pg_agent *agent, enum pg_sysctl sysctl)
{
	bool kernel = uses(agent, PG_SHIELD_WAY_KERNEL);

	if (sysctl == PG_SYSCTL_TIMESTAMPS)
		return kernel ? 2 : -1;
	if (kernel && any_on(&agent->shield->table))
		return 2;
	return kernel || uses(agent, PG_SHIELD_WAY_OWN) ? 1 : -1;
}

static bool suffices(enum pg_sysctl sysctl, int value, int want)
{
	return sysctl == PG_SYSCTL_SYNCOOKIES ? value >= want : want < 0 || value == want;
}

static void advise(const struct pg_agent *agent, enum pg_sysctl sysctl, struct pg_shield_sysctl *to)
{
	const char *why;

	if (suffices(sysctl, to->value, to->wanted))
		return;
	if (sysctl == PG_SYSCTL_TIMESTAMPS)
		why = "cookies carry the MSS alone: no window scaling, SACK or timestamps";
	else if (to->value)
		why = "the kernel makes cookies only once the SYN queue is full";
	else
		why = "the kernel takes no cookie back: the shield cannot work";
	snprintf(to->advice, sizeof(to->advice), "%s; sysctl -w %s=%d, or --set-sysctl", why,
		 to->name, to->wanted);
}

static void report_sysctls(const struct pg_agent *agent, struct pg_shield_sysctl *rows)
{
	for (int i = 0; i < PG_SYSCTL_COUNT; i++) {
		struct pg_shield_sysctl *to = &rows[i];

		to->name = pg_sysctl_name(i);
		to->value = pg_sysctl_read(i);
		to->wanted = wanted(agent, i);
		to->before = agent->shield->memory.values[i].before;
		to->needed = i == PG_SYSCTL_SYNCOOKIES && to->wanted > 0;
		advise(agent, i, to);
	}
}

static int set_sysctls(struct pg_agent *agent, struct pg_error *error)
{
	struct pg_shield_guard *guard = agent->shield;
	int err = 0;

	for (int i = 0; i < PG_SYSCTL_COUNT && !err; i++) {
		int now = pg_sysctl_read(i), want = wanted(agent, i);

		if (suffices(i, now, want))
			continue;
		err = pg_sysctl_set(agent->config->state.directory, &guard->memory, i, want, error);
		if (!err)
			pg_info_log("shield: %s set from %d to %d, until no shield is left",
				    pg_sysctl_name(i), now, want);
	}
	return err;
}

static void restore_sysctls(struct pg_agent *agent)
{
	struct pg_error error = { "" };
	int restored =
		pg_sysctl_restore(agent->config->state.directory, &agent->shield->memory, &error);

	if (restored < 0)
		pg_error_log("shield: %s", error.text);
	else if (restored)
		pg_info_log("shield: %d sysctls put back", restored);
}

static void say_missing(const struct pg_agent *agent)
{
	struct pg_shield_sysctl rows[PG_SHIELD_SYSCTLS] = { 0 };

	report_sysctls(agent, rows);
	for (int i = 0; i < PG_SYSCTL_COUNT; i++)
		if (rows[i].advice[0])
			pg_warning_log("shield: %s is %d: %s", rows[i].name, rows[i].value,
				       rows[i].advice);
}

/* --- whose cookies -----------------------------------------------------------------------------
 */

static uint16_t read_mtu(const char *name)
{
	PG_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFMTU, &request))
		return 1500;
	return request.ifr_mtu > UINT16_MAX ? UINT16_MAX : (uint16_t)request.ifr_mtu;
}

static void set_way(struct pg_agent *agent, struct interface *interface, enum pg_shield_way way)
{
	uint8_t *to = &agent->maps->shield_env->way[pg_gate_slot(interface->gate)];

	__atomic_store_n(to, (uint8_t)way, __ATOMIC_RELEASE);
}

static enum pg_shield_way choose(struct pg_agent *agent, struct interface *interface)
{
	enum pg_shield_cookie cookie = agent->config->shield.cookie;
	struct pg_error error = { "" };

	interface->shield_why[0] = '\0';
	if (cookie == PG_SHIELD_COOKIE_KERNEL) {
		snprintf(interface->shield_why, sizeof(interface->shield_why),
			 "the configuration says shield.cookie: kernel");
		return PG_SHIELD_WAY_KERNEL;
	}
	if (interface->shield_link >= 0 ||
	    !pg_shield_tc_attach(agent->maps, interface->name, pg_gate_directory(interface->gate),
				 &interface->shield_link, &error))
		return PG_SHIELD_WAY_OWN;
	snprintf(interface->shield_why, sizeof(interface->shield_why), "%.*s",
		 (int)sizeof(interface->shield_why) - 1, error.text);
	return cookie == PG_SHIELD_COOKIE_OWN ? PG_SHIELD_WAY_NONE : PG_SHIELD_WAY_KERNEL;
}

static const char *way_name(enum pg_shield_way way)
{
	static const char *const words[] = {
#define PG_X(name, number, word, help) [number] = help,
		PG_SHIELD_WAYS(PG_X)
#undef PG_X
	};

	return words[way];
}

static void drop_program(struct interface *interface)
{
	if (interface->gate)
		pg_shield_tc_detach(pg_gate_directory(interface->gate), interface->shield_link);
	else if (interface->shield_link >= 0)
		close(interface->shield_link);
	interface->shield_link = -1;
}

/* While no shield exists the interface carries no program for it. */
void pg_shield_interface(struct pg_agent *agent, struct interface *interface)
{
	struct pg_shield_env *env = agent->maps->shield_env;
	enum pg_shield_way before, way;

	if (!agent->shield || !interface->gate)
		return;
	env->mtu[pg_gate_slot(interface->gate)] = read_mtu(interface->name);
	before = env->way[pg_gate_slot(interface->gate)];
	if (!pg_shield_any(&agent->shield->table)) {
		set_way(agent, interface, PG_SHIELD_WAY_NONE);
		if (interface->shield_link < 0) /* an earlier agent's */
			pg_shield_tc_detach(pg_gate_directory(interface->gate), -1);
		return;
	}
	/* an own cookie must find its program there, so that comes first and goes last */
	way = choose(agent, interface);
	if (way != before)
		pg_shield_rows_restart(&agent->shield->rows, env);
	set_way(agent, interface, way);
	if (way != PG_SHIELD_WAY_OWN && interface->shield_link >= 0)
		drop_program(interface);
	if (way != before)
		pg_info_log("shield: %s: %s%s%s", interface->name, way_name(way),
			    interface->shield_why[0] ? ": " : "", interface->shield_why);
}

void pg_shield_leave(struct pg_agent *agent, struct interface *interface)
{
	if (!interface->gate)
		return;
	set_way(agent, interface, PG_SHIELD_WAY_NONE);
	drop_program(interface);
}

static void choose_all(struct pg_agent *agent)
{
	for (uint32_t i = 0; i < agent->interface_count; i++)
		pg_shield_interface(agent, &agent->interfaces[i]);
}

/* Somebody may have detached the program behind the agent's back: cookies would be lost. */
static void look_after(struct pg_agent *agent)
{
	for (uint32_t i = 0; i < agent->interface_count; i++) {
		struct interface *interface = &agent->interfaces[i];

		if (!interface->gate)
			continue;
		agent->maps->shield_env->mtu[pg_gate_slot(interface->gate)] =
			read_mtu(interface->name);
		if (interface->shield_link < 0 ||
		    pg_shield_tc_attached(interface->shield_link, interface->name))
			continue;
		pg_warning_log("shield: %s: its TC program was detached; it is attached again",
			       interface->name);
		drop_program(interface);
		pg_shield_interface(agent, interface);
	}
}

/* --- shields -----------------------------------------------------------------------------------
 */

/* Programs go when the last cookie can no longer come back. */
static void remove_unused(struct pg_agent *agent)
{
	struct pg_shield_guard *guard = agent->shield;
	uint64_t now = pg_agent_unix_ms();
	bool left = false;

	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++) {
		const struct pg_shield *shield = &guard->table.shields[i];

		if (!shield->origin)
			continue;
		if (shield->mode == PG_SHIELD_OFF && now - shield->off_since_ms > COOKIE_LIFE_MS) {
			if (shield->origin == PG_SHIELD_CONTROL)
				pg_shield_remove(&guard->table, i);
			continue;
		}
		left = true;
	}
	for (uint32_t i = 0; i < agent->interface_count && !left; i++)
		if (agent->interfaces[i].shield_link >= 0)
			drop_program(&agent->interfaces[i]);
}

static bool in_config(const struct pg_config *config, const struct pg_shield_listener *listener)
{
	for (size_t i = 0; i < config->shield.listener_count; i++) {
		const struct pg_shield_listener *row = &config->shield.listeners[i];

		if (row->port == listener->port && row->any == listener->any &&
		    (row->any || pg_address_equal(&row->address, &listener->address)))
			return true;
	}
	return false;
}

static void drop_unconfigured(struct pg_agent *agent, const struct pg_config *config)
{
	struct pg_shield_table *table = &agent->shield->table;
	struct pg_shield_listener listener;

	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++) {
		if (table->shields[i].origin != PG_SHIELD_CONFIG ||
		    !pg_shield_get(table, i, &listener) || in_config(config, &listener))
			continue;
		listener.mode = PG_SHIELD_OFF; /* it goes when its cookies have */
		pg_shield_put(table, &listener, PG_SHIELD_CONTROL, pg_agent_unix_ms(), NULL);
	}
}

static void after_change(struct pg_agent *agent)
{
	pg_shield_rows_restart(&agent->shield->rows, agent->maps->shield_env);
	choose_all(agent);
	if (pg_shield_any(&agent->shield->table))
		say_missing(agent);
	else
		restore_sysctls(agent);
}

/* As pg_shield_put(); a new shield begins to count at 0. */
static int put(struct pg_agent *agent, const struct pg_shield_listener *listener,
	       enum pg_shield_origin origin, struct pg_error *error)
{
	struct pg_shield_table *table = &agent->shield->table;
	bool is_new = !pg_shield_find(table, listener);
	int index = pg_shield_put(table, listener, origin, pg_agent_unix_ms(), error);

	if (index > 0 && is_new)
		pg_shield_counts_clear(agent->maps->shield_counts, (uint32_t)index);
	return index;
}

void pg_shield_apply(struct pg_agent *agent, const struct pg_config *config)
{
	struct pg_error error;

	drop_unconfigured(agent, config);
	for (size_t i = 0; i < config->shield.listener_count; i++)
		if (put(agent, &config->shield.listeners[i], PG_SHIELD_CONFIG, &error) < 0)
			pg_error_log("shield: %s", error.text);
	choose_all(agent);
	if (config->shield.set_sysctl && pg_shield_any(&agent->shield->table) &&
	    set_sysctls(agent, &error))
		pg_error_log("shield: %s", error.text);
	after_change(agent);
}

int pg_agent_shield_set(struct pg_agent *agent, const struct pg_shield_listener *listener,
			bool set_sysctl, struct pg_error *error)
{
	struct pg_shield_table *table = &agent->shield->table;
	enum pg_shield_origin origin = PG_SHIELD_CONTROL;
	char place[PG_PEER_TEXT];
	uint32_t index;
	int err = 0;

	pg_agent_lock(agent);
	index = pg_shield_find(table, listener);
	if (index)
		origin = table->shields[index].origin;
	if (!index && listener->mode == PG_SHIELD_OFF)
		err = pg_error_set(error, -ENOENT, "%s has no shield",
				   print_place(listener, place));
	if (!err) {
		err = put(agent, listener, origin, error);
		err = err < 0 ? err : 0;
	}
	if (!err) {
		choose_all(agent);
		if (set_sysctl && listener->mode != PG_SHIELD_OFF)
			err = set_sysctls(agent, error);
		pg_info_log("shield: %s: %s, as asked", print_place(listener, place),
			    pg_shield_mode_name(listener->mode));
		after_change(agent);
	}
	pg_agent_unlock(agent);
	return err;
}

/* --- the thread --------------------------------------------------------------------------------
 */

static bool makes_cookies(const struct pg_shield_guard *guard, uint32_t index)
{
	const struct pg_shield *shield = &guard->table.shields[index];

	return shield->origin &&
	       (shield->mode == PG_SHIELD_ON ||
		(shield->mode == PG_SHIELD_AUTO && guard->table.states[index].active));
}

/* Whether a row of marks is to be filled now: SYNs are looked up one by one without. */
static bool row_is_due(struct pg_agent *agent, uint64_t now_ns)
{
	struct pg_shield_guard *guard = agent->shield;
	bool wanted = false;

	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++)
		wanted |= makes_cookies(guard, i);
	return pg_shield_rows_turn(&guard->rows, agent->maps->shield_env,
				   agent->maps->shield_tuples, wanted, now_ns / 1000000);
}

/* Without the lock: the walk takes its time where there are many sockets. */
static bool fill_row(struct pg_shield_guard *guard)
{
	struct pg_error error = { "" };
	int err = 0;

	if (!guard->seed)
		err = pg_shield_seed_open(guard->agent->maps, &guard->seed, &error);
	if (!err)
		err = pg_shield_seed_fill(guard->seed, guard->rows.row, &error);
	if (err && !guard->seed_failed)
		pg_warning_log("shield: every SYN of a flood is looked up, which costs more: %s",
			       error.text);
	guard->seed_failed = err != 0;
	return !err;
}

/* Whether a row is to be filled. */
static bool turn(struct pg_agent *agent)
{
	struct pg_shield_guard *guard = agent->shield;
	uint64_t now_ns = kernel_ns();

	if (pg_shield_keys(agent->maps->shield_env, now_ns))
		pg_error_log("shield: no random numbers for a new cookie key");
	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++)
		if (guard->table.shields[i].origin)
			end_when_silent(guard, i, now_ns);
	remove_unused(agent);
	look_after(agent);
	return row_is_due(agent, now_ns);
}

static void *loop(void *context)
{
	struct pg_shield_guard *guard = context;
	struct pg_agent *agent = guard->agent;
	bool due, good;

	while (!__atomic_load_n(&guard->stopping, __ATOMIC_ACQUIRE)) {
		ring_buffer__poll(guard->ring, POLL_MS);
		pg_agent_lock(agent);
		due = turn(agent);
		pg_agent_unlock(agent);
		if (!due)
			continue;
		good = fill_row(guard);
		pg_agent_lock(agent);
		pg_shield_rows_filled(&guard->rows, agent->maps->shield_env, good,
				      kernel_ns() / 1000000);
		pg_agent_unlock(agent);
	}
	return NULL;
}

static uint32_t rmem_max(void)
{
	PG_FCLOSE FILE *file = fopen("/proc/sys/net/core/rmem_max", "re");
	unsigned int value = RMEM_MAX_FALLBACK;

	if (file && fscanf(file, "%u", &value) != 1)
		value = RMEM_MAX_FALLBACK;
	return value;
}

static int start_thread(struct pg_shield_guard *guard, struct pg_error *error)
{
	sigset_t every, before;
	int err;

	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	err = pthread_create(&guard->thread, NULL, loop, guard);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err ? pg_error_set(error, -err, "starting the shield's thread: %s", strerror(err))
		   : 0;
}

int pg_shield_open(struct pg_agent *agent, struct pg_error *error)
{
	PG_FREE struct pg_shield_guard *guard = calloc(1, sizeof(*guard));
	struct pg_maps *maps = agent->maps;
	int err;

	if (!guard)
		return pg_error_set(error, -ENOMEM, "out of memory");
	guard->agent = agent;
	guard->table =
		(struct pg_shield_table){ maps->shield_ports, maps->shields, maps->shield_state };
	pg_sysctl_memory_load(agent->config->state.directory, &guard->memory);
	maps->shield_env->window_max = rmem_max();
	err = pg_shield_keys(maps->shield_env, kernel_ns());
	if (err)
		return pg_error_set(error, err, "making the shield's cookie keys: %s",
				    strerror(-err));
	guard->ring = ring_buffer__new(maps->shield_log, take, guard, NULL);
	if (!guard->ring)
		return pg_error_set(error, -errno, "opening the shield's ring of events: %s",
				    strerror(errno));
	agent->shield = guard;
	pg_agent_lock(agent);
	pg_shield_apply(agent, agent->config);
	pg_agent_unlock(agent);
	err = start_thread(guard, error);
	if (err) {
		ring_buffer__free(guard->ring);
		agent->shield = NULL;
		return err;
	}
	TAKE_PTR(guard);
	return 0;
}

void pg_shield_close(struct pg_agent *agent)
{
	struct pg_shield_guard *guard = agent->shield;

	if (!guard)
		return;
	__atomic_store_n(&guard->stopping, true, __ATOMIC_RELEASE);
	pthread_join(guard->thread, NULL);
	ring_buffer__free(guard->ring);
	pg_tcpq_free(guard->tcpq);
	pg_shield_seed_free(guard->seed);
	for (uint32_t i = 0; i < agent->interface_count; i++)
		if (agent->interfaces[i].shield_link >= 0)
			close(agent->interfaces[i].shield_link);
	agent->shield = NULL;
	free(guard);
}

/* --- what it tells -----------------------------------------------------------------------------
 */

static void report_interfaces(const struct pg_agent *agent, struct pg_shield_report *report)
{
	for (uint32_t i = 0; i < agent->interface_count; i++) {
		const struct interface *interface = &agent->interfaces[i];
		struct pg_shield_interface *to = &report->interfaces[report->interface_count++];
		const char *why = interface->shield_why;

		snprintf(to->name, sizeof(to->name), "%s", interface->name);
		if (interface->gate)
			to->way = agent->maps->shield_env->way[pg_gate_slot(interface->gate)];
		else
			why = "no gate is attached";
		if (interface->gate && to->way == PG_SHIELD_WAY_NONE && !*why)
			why = "no shield is on";
		snprintf(to->why, sizeof(to->why), "%s", why);
	}
}

static void report_shields(const struct pg_agent *agent, struct pg_shield_report *report)
{
	const struct pg_shield_table *table = &agent->shield->table;

	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++) {
		struct pg_shield_status *to = &report->shields[report->shield_count];
		const struct pg_shield_state *state = &table->states[i];
		struct pg_shield_counts counts;

		if (!pg_shield_get(table, i, &to->listener))
			continue;
		report->shield_count++;
		to->configured = table->shields[i].origin == PG_SHIELD_CONFIG;
		to->active = to->listener.mode == PG_SHIELD_ON || state->active;
		to->syn_queue = state->syn_queue;
		to->syn_limit = state->syn_limit;
		to->last_switch_ms = unix_ms_of(state->switched_ns);
		to->switched_on = state->switched_on;
		to->switched_off = state->switched_off;
		pg_shield_counts_read(agent->maps->shield_counts, i, &counts);
#define PG_X(field, ...) to->field = counts.field;
		PG_SHIELD_COUNTERS(PG_X)
#undef PG_X
	}
}

int pg_agent_shield(struct pg_agent *agent, struct pg_shield_report **ret_report)
{
	struct pg_shield_report *report = calloc(1, sizeof(*report));
	const struct pg_shield_guard *guard = agent->shield;
	uint64_t from;

	if (!report)
		return -ENOMEM;
	pg_agent_lock(agent);
	report_interfaces(agent, report);
	report_sysctls(agent, report->sysctls);
	report_shields(agent, report);
	from = guard->event_count > PG_SHIELD_EVENTS ? guard->event_count - PG_SHIELD_EVENTS : 0;
	for (uint64_t i = from; i < guard->event_count; i++)
		report->events[report->event_count++] = guard->events[i % PG_SHIELD_EVENTS];
	pg_agent_unlock(agent);
	*ret_report = report;
	return 0;
}
