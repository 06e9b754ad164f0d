// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent_internal.h"
#include "cleanup.h"
#include "log.h"

#define NAMELESS_MS 500

static const char *const mode_names[] = {
#define PG_X(name, label, help) label,
	PG_GATE_MODES(PG_X)
#undef PG_X
};

const char *pg_gate_mode_name(enum pg_gate_mode mode)
{
	return mode < PG_GATE_MODE_COUNT ? mode_names[mode] : "unknown";
}

/* RX queues of an interface: ethtool's word, for /sys may show another namespace. */
static uint32_t count_queues(const char *interface)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	PG_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_data = (void *)&channels };
	uint32_t queues;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request))
		return 1;
	queues = channels.rx_count + channels.combined_count;
	if (!queues)
		return 1;
	return queues > PG_QUEUES_MAX ? PG_QUEUES_MAX : queues;
}

/* One that is not there yet will hardly have more queues than there are CPUs. */
static uint32_t plan_workers(const struct pg_config *config, const char *name, uint32_t taken)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (config->mode == PG_MODE_SOCKET)
		return 0;
	if (if_nametoindex(name))
		return count_queues(name);
	if (config->workers.spin || cpus < 1 || cpus > PG_QUEUES_MAX ||
	    taken + cpus > PG_WORKERS_MAX)
		return 1;
	return (uint32_t)cpus;
}

int pg_interfaces_plan(struct pg_agent *agent, struct pg_error *error)
{
	const struct pg_config *config = agent->config;
	uint32_t workers = 0;

	for (size_t i = 0; i < config->interface_count; i++) {
		struct interface *interface = &agent->interfaces[i];

		snprintf(interface->name, sizeof(interface->name), "%s", config->interfaces[i]);
		interface->workers = plan_workers(config, interface->name, workers);
		interface->first_worker = workers;
		interface->shield_link = -1;
		workers += interface->workers;
		agent->interface_count++;
	}
	/* somebody serves the kernel's sockets in any case */
	agent->worker_count = workers ? workers : 1;
	if (agent->worker_count > PG_WORKERS_MAX)
		return pg_error_set(error, -ENOSPC,
				    "the interfaces have %u RX queues together, %d "
				    "workers are the most; reduce them with 'ethtool -L'",
				    agent->worker_count, PG_WORKERS_MAX);
	return 0;
}

/* --- the mode ladder ---------------------------------------------------------------------------
 */

static void give_sockets_back(struct pg_agent *agent, struct interface *interface)
{
	for (uint32_t q = 0; q < interface->queues; q++)
		pg_worker_set_xsk(agent->workers[interface->first_worker + q], NULL, 0);
}

/* Opens one AF_XDP socket a queue, all of one kind, and gives each to its worker. */
static int open_sockets(struct pg_agent *agent, struct interface *interface, bool zerocopy,
			struct pg_error *error)
{
	uint32_t ifindex = if_nametoindex(interface->name);
	struct pg_xsk *sockets[PG_QUEUES_MAX] = { NULL };
	int err = 0;

	for (uint32_t q = 0; q < interface->queues && !err; q++) {
		err = pg_xsk_open(interface->name, q, zerocopy, &sockets[q], error);
		if (!err)
			err = pg_gate_set_socket(interface->gate, q, pg_xsk_fd(sockets[q]));
	}
	if (err) {
		for (uint32_t q = 0; q < interface->queues; q++)
			pg_xsk_close(sockets[q]);
		return err;
	}
	for (uint32_t q = 0; q < interface->queues; q++)
		pg_worker_set_xsk(agent->workers[interface->first_worker + q], sockets[q], ifindex);
	return 0;
}

static int try_mode(struct pg_agent *agent, struct interface *interface, enum pg_gate_mode mode,
		    struct pg_error *error)
{
	int err;

	err = open_sockets(agent, interface, mode == PG_GATE_ZEROCOPY, error);
	if (err)
		return err;
	err = pg_gate_attach(interface->gate, mode == PG_GATE_GENERIC, interface->wanted, error);
	if (err) {
		give_sockets_back(agent, interface);
		return err;
	}
	interface->mode = mode;
	return 0;
}

/* The rungs that the configuration allows, best first. */
static size_t rungs(const struct pg_config *config, enum pg_gate_mode *ret_modes)
{
	size_t n = 0;

	if (config->mode == PG_MODE_AUTO || config->mode == PG_MODE_ZEROCOPY)
		ret_modes[n++] = PG_GATE_ZEROCOPY;
	if (config->mode == PG_MODE_AUTO || config->mode == PG_MODE_COPY)
		ret_modes[n++] = PG_GATE_COPY;
	if ((config->mode == PG_MODE_AUTO && config->allow_generic) ||
	    config->mode == PG_MODE_GENERIC)
		ret_modes[n++] = PG_GATE_GENERIC;
	return n;
}

static int climb(struct pg_agent *agent, struct interface *interface, struct pg_error *error)
{
	enum pg_gate_mode modes[PG_GATE_MODE_COUNT];
	size_t count = rungs(agent->config, modes);
	int err = -EOPNOTSUPP;

	for (size_t i = 0; i < count; i++) {
		err = try_mode(agent, interface, modes[i], error);
		if (!err)
			return 0;
		/* another program there is no reason to try a lesser mode */
		if (err == -EBUSY || err == -ENODEV)
			return err;
		snprintf(interface->why, sizeof(interface->why), "%.*s",
			 (int)sizeof(interface->why) - 1, error->text);
		pg_info_log("%s: not %s: %s", interface->name, pg_gate_mode_name(modes[i]),
			    error->text);
	}
	return err;
}

static bool is_veth(const char *name)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { .ifr_data = (void *)&info };
	PG_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return fd >= 0 && !ioctl(fd, SIOCETHTOOL, &request) && !strcmp(info.driver, "veth");
}

/* A veth passes XDP_TX on only where its other end runs XDP too, which cannot be seen from here. */
static bool gate_acks(const struct pg_config *config, const struct interface *interface)
{
	if (config->duplicate_acks == PG_DUPLICATE_ACKS_AUTO)
		return !is_veth(interface->name);
	return config->duplicate_acks == PG_DUPLICATE_ACKS_GATE;
}

static int refuse_missing(struct interface *interface, struct pg_error *error)
{
	interface->mode = PG_GATE_DETACHED;
	snprintf(interface->why, sizeof(interface->why), "there is no such interface%s",
		 interface->wanted ? "; its gate comes with it" : "");
	return pg_error_set(error, -ENODEV,
			    "there is no interface %s in this network namespace ('ip link' names "
			    "them)",
			    interface->name);
}

/* Frames of a queue without a socket would be lost. */
static int take_queues(struct interface *interface, struct pg_error *error)
{
	uint32_t queues = count_queues(interface->name);

	if (queues > interface->workers)
		return pg_error_set(error, -E2BIG,
				    "%s has %u RX queues now, the agent made workers for %u when "
				    "it started: restart it, or 'ethtool -L %s rx %u'",
				    interface->name, queues, interface->workers, interface->name,
				    interface->workers);
	interface->queues = queues;
	return 0;
}

/* What is pinned from before was confirmed then. */
static void begin_confirming(struct interface *interface, uint32_t seconds)
{
	if (pg_gate_kept(interface->gate))
		interface->wanted = true;
	else
		interface->confirm_by_ms = pg_agent_now_ms() + seconds * 1000ull;
}

static bool configured(void *context, const char *name)
{
	const struct pg_agent *agent = context;

	for (uint32_t i = 0; i < agent->interface_count; i++)
		if (!strcmp(agent->interfaces[i].name, name))
			return true;
	return false;
}

static int load_gate(struct pg_agent *agent, struct interface *interface, bool acks_here,
		     struct pg_error *error)
{
	int slot = pg_maps_interface_slot(agent->maps, interface->name, configured, agent, error);

	return slot < 0 ? slot
			: pg_gate_load(agent->maps, interface->name, slot, acks_here,
				       &interface->gate, error);
}

/* A gate that an earlier process left would steer to AF_XDP sockets that nobody has. */
static void serve_by_socket(struct pg_agent *agent, struct interface *interface)
{
	interface->mode = PG_GATE_SOCKET;
	if (pg_maps_forget_interface(agent->maps, interface->name))
		pg_warning_log("%s: the gate of the run before is removed", interface->name);
}

int pg_interface_attach(struct pg_agent *agent, struct interface *interface,
			uint32_t confirm_seconds, struct pg_error *error)
{
	const struct pg_config *config = agent->config;
	bool acks_here;
	int err;

	interface->wanted = !confirm_seconds;
	if (config->mode == PG_MODE_SOCKET) {
		serve_by_socket(agent, interface);
		pg_info_log("%s: socket mode: validation in the agent", interface->name);
		return 0;
	}
	interface->ifindex = if_nametoindex(interface->name);
	if (!interface->ifindex)
		return refuse_missing(interface, error);
	interface->why[0] = '\0';
	acks_here = gate_acks(config, interface);
	err = take_queues(interface, error);
	if (!err)
		err = load_gate(agent, interface, acks_here, error);
	if (!err)
		err = climb(agent, interface, error);
	if (!err) {
		if (confirm_seconds)
			begin_confirming(interface, confirm_seconds);
		pg_info_log("%s: attached, %s, %u queue%s, duplicates are acked by the %s",
			    interface->name, pg_gate_mode_name(interface->mode), interface->queues,
			    interface->queues == 1 ? "" : "s", acks_here ? "gate" : "agent");
		pg_shield_interface(agent, interface);
		return 0;
	}
	pg_gate_close(interface->gate);
	interface->gate = NULL;
	interface->mode = PG_GATE_DETACHED;
	snprintf(interface->why, sizeof(interface->why), "%.*s", (int)sizeof(interface->why) - 1,
		 error->text);
	if (config->mode != PG_MODE_AUTO || err == -EBUSY || err == -ENODEV)
		return err;
	serve_by_socket(agent, interface);
	pg_warning_log("%s: falls back to socket mode: %s", interface->name, error->text);
	return 0;
}

static void drop_gate(struct pg_agent *agent, struct interface *interface, const char *why)
{
	if (interface->gate) {
		pg_shield_leave(agent, interface);
		pg_gate_detach(interface->gate);
		interface->gate = NULL;
		give_sockets_back(agent, interface);
	}
	interface->mode = PG_GATE_DETACHED;
	interface->confirm_by_ms = 0;
	interface->renamed = false;
	interface->nameless_ms = 0;
	snprintf(interface->why, sizeof(interface->why), "%s", why);
}

void pg_interface_detach(struct pg_agent *agent, struct interface *interface, const char *why)
{
	interface->wanted = false;
	drop_gate(agent, interface, why);
	pg_info_log("%s: detached: %s", interface->name, why);
}

/* --- pins left behind --------------------------------------------------------------------------
 */

static void clean_one(void *context, const char *name)
{
	struct pg_agent *agent = context;
	bool gone = !if_nametoindex(name);

	if (!gone && configured(agent, name))
		return;
	if (pg_maps_forget_interface(agent->maps, name))
		pg_warning_log("%s: its pins are removed: the interface is %s", name,
			       gone ? "gone" : "not configured any more");
}

void pg_interfaces_clean(struct pg_agent *agent)
{
	pg_maps_each_interface(agent->maps, clean_one, agent);
}

void pg_interfaces_close(struct pg_agent *agent)
{
	for (uint32_t i = 0; i < agent->interface_count; i++) {
		if (agent->interfaces[i].confirm_by_ms)
			pg_info_log("%s: its gate was not confirmed and goes",
				    agent->interfaces[i].name);
		pg_gate_close(agent->interfaces[i].gate);
	}
}

/* --- requests ----------------------------------------------------------------------------------
 */

static struct interface *find(struct pg_agent *agent, const char *name, struct pg_error *error)
{
	for (uint32_t i = 0; i < agent->interface_count; i++)
		if (!strcmp(agent->interfaces[i].name, name))
			return &agent->interfaces[i];
	pg_error_set(error, -ENOENT,
		     "'%s' is not among the interfaces of the agent's configuration; to attach "
		     "there add it and restart the agent",
		     name);
	return NULL;
}

int pg_agent_attach(struct pg_agent *agent, const char *name, uint32_t confirm_seconds,
		    struct pg_error *error)
{
	struct interface *interface;
	int err = -ENOENT;

	pg_agent_lock(agent);
	interface = find(agent, name, error);
	if (interface && interface->gate)
		err = pg_error_set(error, -EEXIST, "%s is attached already (%s)", name,
				   pg_gate_mode_name(interface->mode));
	else if (interface)
		err = pg_interface_attach(agent, interface, confirm_seconds, error);
	pg_agent_unlock(agent);
	return err;
}

int pg_agent_confirm(struct pg_agent *agent, const char *name, struct pg_error *error)
{
	struct interface *interface;
	int err = -ENOENT;

	pg_agent_lock(agent);
	interface = find(agent, name, error);
	if (interface && !interface->confirm_by_ms)
		err = pg_error_set(error, -EINVAL, "%s: no attach waits for a confirmation", name);
	else if (interface)
		err = pg_gate_keep(interface->gate, error);
	if (!err) {
		interface->confirm_by_ms = 0;
		interface->wanted = true;
	}
	pg_agent_unlock(agent);
	return err;
}

int pg_agent_detach(struct pg_agent *agent, const char *name, struct pg_error *error)
{
	struct interface *interface;
	int err = -ENOENT;

	pg_agent_lock(agent);
	interface = find(agent, name, error);
	if (interface && interface->mode == PG_GATE_DETACHED)
		err = pg_error_set(error, -EINVAL, "%s is not attached", name);
	else if (interface) {
		pg_interface_detach(agent, interface, "as asked");
		err = 0;
	}
	pg_agent_unlock(agent);
	return err;
}

/* --- what happens to interfaces ----------------------------------------------------------------
 */

/* Without a name an interface is about to go; one that stays so is in another namespace. */
static bool about_to_go(struct interface *interface)
{
	uint64_t now = pg_agent_now_ms();

	if (!interface->nameless_ms)
		interface->nameless_ms = now;
	return now - interface->nameless_ms < NAMELESS_MS;
}

/* The gate is on an interface that has another name now. */
static void note_renamed(struct interface *interface, uint32_t ifindex)
{
	char name[IF_NAMESIZE] = "?";

	if (interface->renamed || (!if_indextoname(ifindex, name) && about_to_go(interface)))
		return;
	interface->renamed = true;
	snprintf(interface->why, sizeof(interface->why),
		 "the interface is named %s now and kept the gate: 'packgate detach %s', configure "
		 "%s and restart the agent",
		 name, interface->name, name);
	pg_warning_log("%s: %s", interface->name, interface->why);
}

/* The link does not hold the interface of this name (any more): but held, or none. */
static void lose(struct pg_agent *agent, struct interface *interface, uint32_t held,
		 uint32_t ifindex)
{
	char why[PG_INTERFACE_WHY];

	if (held && !ifindex) {
		note_renamed(interface, held);
		return;
	}
	if (ifindex == interface->ifindex)
		snprintf(why, sizeof(why),
			 "its link was detached by somebody else; 'packgate "
			 "attach %s' brings it back",
			 interface->name);
	else if (interface->wanted)
		strcpy(why, "the interface is gone; its gate comes back with it");
	else
		strcpy(why, "the interface is gone, and the attach was not confirmed");
	drop_gate(agent, interface, why);
	pg_warning_log("%s: %s", interface->name, why);
}

/* Tries once for each time that the interface appears. */
static void bring_back(struct pg_agent *agent, struct interface *interface)
{
	struct pg_error error;

	pg_info_log("%s: the interface is there now", interface->name);
	if (pg_interface_attach(agent, interface, 0, &error))
		pg_error_log("%s", error.text);
}

static void look_at(struct pg_agent *agent, struct interface *interface)
{
	/* of an interface that goes the kernel takes the name first, and then the link */
	uint32_t held = interface->gate ? pg_gate_ifindex(interface->gate) : 0;
	uint32_t ifindex = if_nametoindex(interface->name);

	if (interface->gate && (!ifindex || held != ifindex))
		lose(agent, interface, held, ifindex);
	else {
		if (interface->renamed)
			interface->why[0] = '\0';
		interface->renamed = false;
		interface->nameless_ms = 0;
	}
	if (interface->wanted && !interface->gate && ifindex && ifindex != interface->ifindex)
		bring_back(agent, interface);
}

void pg_interfaces_tick(struct pg_agent *agent)
{
	uint64_t now = pg_agent_now_ms();

	for (uint32_t i = 0; i < agent->interface_count; i++) {
		struct interface *interface = &agent->interfaces[i];

		if (interface->confirm_by_ms && now >= interface->confirm_by_ms)
			pg_interface_detach(agent, interface,
					    "the attach was not confirmed in time");
		if (agent->config->mode != PG_MODE_SOCKET)
			look_at(agent, interface);
	}
}
