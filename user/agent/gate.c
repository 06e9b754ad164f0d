// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdio.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "gate.h"
#include "gate.skel.h"

#define BPFFS "/sys/fs/bpf"

struct pg_gate {
	struct pg_maps *maps;
	struct gate_bpf *skeleton;
	char interface[PG_NAME_MAX];
	char directory[160];
	uint32_t slot;
	int link;
};

/* --- maps --------------------------------------------------------------------------------------
 */

static int mount_bpffs(struct pg_error *error)
{
	struct statfs fs;

	if (!statfs(BPFFS, &fs) && fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (mount("bpf", BPFFS, "bpf", 0, "mode=0700"))
		return pg_error_set(error, -errno,
				    "mounting bpffs on " BPFFS ": %s; mount it by hand",
				    strerror(errno));
	return 0;
}

static int make_directory(const char *path, struct pg_error *error)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return pg_error_set(error, -errno, "creating %s: %s", path, strerror(errno));
	return 0;
}

static int map_path(const struct pg_maps *maps, const char *name, char *path, size_t bytes)
{
	return snprintf(path, bytes, "%s/%s", maps->path, name);
}

/* The shared state of pinned maps, or -ENOENT without pins. */
static int read_pinned_state(const struct pg_maps *maps, struct pg_shared *ret_shared)
{
	PG_CLOSE int fd = -1;
	uint32_t zero = 0;
	char path[256];

	map_path(maps, "pg_shared", path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	return bpf_map_lookup_elem(fd, &zero, ret_shared);
}

static void unpin_maps(const struct pg_maps *maps, struct gate_bpf *skeleton)
{
	struct bpf_map *map;
	char path[256];

	bpf_object__for_each_map(map, skeleton->obj)
	{
		map_path(maps, bpf_map__name(map), path, sizeof(path));
		unlink(path);
	}
}

static void size_maps(struct gate_bpf *skeleton, uint32_t sessions, uint32_t streams)
{
	bpf_map__set_max_entries(skeleton->maps.pg_sessions, sessions);
	bpf_map__set_max_entries(skeleton->maps.pg_windows, sessions);
	bpf_map__set_max_entries(skeleton->maps.pg_opened, sessions);
	bpf_map__set_max_entries(skeleton->maps.pg_acks, sessions);
	bpf_map__set_max_entries(skeleton->maps.pg_streams, streams);
	bpf_map__set_max_entries(skeleton->maps.pg_strm_lines, streams);
	bpf_map__set_max_entries(skeleton->maps.pg_strm_windows, streams);
}

/* Of a program's own, or of libbpf (.rodata and the like). */
static bool is_private(const struct bpf_map *map)
{
	static const char *const names[] = { "pg_xsks", "pg_shield_work", "pg_shield_memo" };
	const char *name = bpf_map__name(map);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return strchr(name, '.') != NULL;
}

/* Pins every shared map under the instance; libbpf takes over what is pinned already. */
static void pin_maps(const struct pg_maps *maps, struct gate_bpf *skeleton)
{
	struct bpf_map *map;
	char path[256];

	bpf_object__for_each_map(map, skeleton->obj)
	{
		if (is_private(map))
			continue;
		map_path(maps, bpf_map__name(map), path, sizeof(path));
		bpf_map__set_pin_path(map, path);
	}
}

/* Where libbpf looks for CONFIG_HZ; without it the gate uses the coarse clock. */
static bool kernel_config_readable(void)
{
	struct utsname name;
	char path[128];

	if (!access("/proc/config.gz", R_OK))
		return true;
	if (uname(&name))
		return false;
	snprintf(path, sizeof(path), "/boot/config-%s", name.release);
	return !access(path, R_OK);
}

static struct gate_bpf *open_skeleton(const struct pg_maps *maps, uint32_t sessions,
				      uint32_t streams)
{
	LIBBPF_OPTS(bpf_object_open_opts, unknown_hz, .kconfig = "CONFIG_HZ=0\n");
	struct gate_bpf *skeleton =
		gate_bpf__open_opts(kernel_config_readable() ? NULL : &unknown_hz);

	if (!skeleton)
		return NULL;
	size_maps(skeleton, sessions, streams);
	pin_maps(maps, skeleton);
	skeleton->rodata->session_mask = sessions - 1;
	return skeleton;
}

static int check_pinned(struct pg_maps *maps, const struct pg_maps_options *options,
			struct pg_error *error)
{
	struct pg_shared shared;

	if (read_pinned_state(maps, &shared))
		return 0;
	if (shared.magic != PG_MAGIC || shared.abi != PG_ABI) {
		unpin_maps(maps, maps->base);
		return 0;
	}
	if (shared.sessions != options->sessions || shared.streams != options->streams)
		return pg_error_set(
			error, -EINVAL,
			"the maps pinned in %s have room for %u sessions and %u streams, "
			"the configuration says %u and %u: set limits back, or end the "
			"sessions with 'packgate detach --all --instance %s'",
			maps->path, shared.sessions, shared.streams, options->sessions,
			options->streams, options->instance);
	maps->adopted = true;
	return 0;
}

int pg_maps_share(const struct pg_maps *maps, struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		struct bpf_map *ours =
			bpf_object__find_map_by_name(maps->base->obj, bpf_map__name(map));
		int err;

		if (!ours || is_private(map))
			continue;
		err = bpf_map__reuse_fd(map, bpf_map__fd(ours));
		if (err)
			return err;
	}
	return 0;
}

static void *map_memory(struct bpf_map *map, size_t entry, uint32_t count)
{
	size_t page = sysconf(_SC_PAGESIZE);
	size_t bytes = ((size_t)((entry + 7) & ~(size_t)7) * count + page - 1) & ~(page - 1);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static int map_all(struct pg_maps *maps, const struct pg_maps_options *options,
		   struct pg_error *error)
{
	struct gate_bpf *base = maps->base;
	uint32_t sessions = options->sessions, streams = options->streams;

	maps->shared = map_memory(base->maps.pg_shared, sizeof(*maps->shared), 1);
	maps->sessions = map_memory(base->maps.pg_sessions, sizeof(*maps->sessions), sessions);
	maps->windows = map_memory(base->maps.pg_windows, sizeof(*maps->windows), sessions);
	maps->opened = map_memory(base->maps.pg_opened, sizeof(*maps->opened), sessions);
	maps->acks = map_memory(base->maps.pg_acks, sizeof(*maps->acks), sessions);
	maps->stream_lines =
		map_memory(base->maps.pg_strm_lines, sizeof(*maps->stream_lines), streams);
	maps->stream_windows =
		map_memory(base->maps.pg_strm_windows, sizeof(*maps->stream_windows), streams);
	maps->shield_ports = map_memory(base->maps.pg_shield_ports, sizeof(*maps->shield_ports), 1);
	maps->shields = map_memory(base->maps.pg_shields, sizeof(*maps->shields), PG_SHIELDS_MAX);
	maps->shield_state =
		map_memory(base->maps.pg_shield_state, sizeof(*maps->shield_state), PG_SHIELDS_MAX);
	maps->shield_env = map_memory(base->maps.pg_shield_env, sizeof(*maps->shield_env), 1);
	maps->shield_tuples =
		map_memory(base->maps.pg_shield_marks, sizeof(*maps->shield_tuples), 1);
	if (!maps->shield_ports || !maps->shields || !maps->shield_state || !maps->shield_env ||
	    !maps->shield_tuples || !maps->shared || !maps->sessions || !maps->windows ||
	    !maps->opened || !maps->acks || !maps->stream_lines || !maps->stream_windows)
		return pg_error_set(error, -errno, "mapping the session arrays: %s",
				    strerror(errno));
	maps->session_mask = sessions - 1;
	maps->stream_slots = streams;
	maps->ports = bpf_map__fd(base->maps.pg_ports);
	maps->endpoints = bpf_map__fd(base->maps.pg_endpoints);
	maps->locals = bpf_map__fd(base->maps.pg_locals);
	maps->streams = bpf_map__fd(base->maps.pg_streams);
	maps->drops = bpf_map__fd(base->maps.pg_drops);
	maps->counts = bpf_map__fd(base->maps.pg_counts);
	maps->steered = bpf_map__fd(base->maps.pg_steered);
	maps->events = bpf_map__fd(base->maps.pg_events);
	maps->shield_log = bpf_map__fd(base->maps.pg_shield_log);
	maps->shield_counts = bpf_map__fd(base->maps.pg_shield_count);
	return 0;
}

/* Two agents over the same maps would end each other's sessions. */
static int lock_instance(struct pg_maps *maps, const char *instance, struct pg_error *error)
{
	maps->lock = open(maps->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (maps->lock >= 0 && !flock(maps->lock, LOCK_EX | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		return pg_error_set(error, -EBUSY,
				    "another agent runs instance %s: stop that one, or configure "
				    "another 'instance' for this one",
				    instance);
	return pg_error_set(error, -errno, "locking %s: %s", maps->path, strerror(errno));
}

static int create_maps(struct pg_maps *maps, const struct pg_maps_options *options,
		       struct pg_error *error)
{
	int err;

	snprintf(maps->path, sizeof(maps->path), BPFFS "/packgate/%s", options->instance);
	err = make_directory(BPFFS "/packgate", error);
	if (!err)
		err = make_directory(maps->path, error);
	if (!err)
		err = lock_instance(maps, options->instance, error);
	if (err)
		return err;
	maps->base = open_skeleton(maps, options->sessions, options->streams);
	if (!maps->base)
		return pg_error_set(error, -errno, "opening the BPF object: %s", strerror(errno));
	err = check_pinned(maps, options, error);
	if (err)
		return err;
	bpf_program__set_autoload(maps->base->progs.pg_gate, false);
	err = gate_bpf__load(maps->base);
	if (err)
		return pg_error_set(error, err,
				    "creating the BPF maps in %s: %s; see packgate doctor",
				    maps->path, strerror(-err));
	return map_all(maps, options, error);
}

int pg_maps_open(const struct pg_maps_options *options, struct pg_maps **ret_maps,
		 struct pg_error *error)
{
	struct pg_maps *maps = calloc(1, sizeof(*maps));
	int err;

	if (!maps)
		return pg_error_set(error, -ENOMEM, "out of memory");
	maps->lock = -1;
	err = mount_bpffs(error);
	if (!err)
		err = create_maps(maps, options, error);
	if (err) {
		pg_maps_close(maps);
		return err;
	}
	maps->shared->sessions = options->sessions;
	maps->shared->streams = options->streams;
	maps->shared->abi = PG_ABI;
	maps->shared->magic = PG_MAGIC;
	*ret_maps = maps;
	return 0;
}

void pg_maps_close(struct pg_maps *maps)
{
	if (!maps)
		return;
	/* the mappings go with the process: workers may still hold pointers */
	gate_bpf__destroy(maps->base);
	if (maps->lock >= 0)
		close(maps->lock);
	free(maps);
}

static void note_interface(void *context, const char *name)
{
	*(bool *)context = true;
}

void pg_maps_discard(struct pg_maps *maps)
{
	bool interfaces = false;

	if (maps)
		pg_maps_each_interface(maps, note_interface, &interfaces);
	if (maps && maps->base && !maps->adopted && !interfaces) {
		unpin_maps(maps, maps->base);
		rmdir(maps->path);
		rmdir(BPFFS "/packgate");
	}
	pg_maps_close(maps);
}

/* bpffs takes no dots, and a VLAN interface has one: eth0.100 is pinned as eth0:100. */
static void pin_directory(const struct pg_maps *maps, const char *interface, char path[160])
{
	snprintf(path, 160, "%s/%s", maps->path, interface);
	for (char *c = path + strlen(maps->path) + 1; *c; c++)
		if (*c == '.')
			*c = ':';
}

uint32_t pg_maps_find_slot(const struct pg_maps *maps, const char *interface)
{
	uint32_t slot = 0;

	while (slot < PG_INTERFACES_MAX && strcmp(maps->shared->interfaces[slot], interface))
		slot++;
	return slot;
}

static int zero_counts(int fd, uint32_t first, uint32_t count)
{
	int cpus = libbpf_num_possible_cpus();
	PG_FREE struct pg_count *zeros = cpus > 0 ? calloc(cpus, sizeof(*zeros)) : NULL;

	if (!zeros)
		return cpus < 0 ? cpus : -ENOMEM;
	for (uint32_t i = first; i < first + count; i++)
		if (bpf_map_update_elem(fd, &i, zeros, BPF_ANY))
			return -errno;
	return 0;
}

/* Free, or of a name that nobody keeps; how much better the greater. */
enum { SLOT_KEPT, SLOT_UNUSED, SLOT_GONE, SLOT_FREE };

static int rate_slot(const struct pg_maps *maps, uint32_t slot, pg_keep_name_fn *keep,
		     void *context)
{
	const char *name = maps->shared->interfaces[slot];
	char directory[160];

	if (!*name)
		return SLOT_FREE;
	pin_directory(maps, name, directory);
	if (keep(context, name) || !access(directory, F_OK))
		return SLOT_KEPT;
	return if_nametoindex(name) ? SLOT_UNUSED : SLOT_GONE;
}

/*
 * Nobody reads the slot by a name while it is emptied, and no program counts there. How cookies are
 * made goes as well: the program that takes them back was at the other interface.
 */
static int take_slot(struct pg_maps *maps, uint32_t slot, const char *interface)
{
	int err;

	maps->shared->interfaces[slot][0] = '\0';
	__atomic_store_n(&maps->shield_env->way[slot], PG_SHIELD_WAY_NONE, __ATOMIC_RELEASE);
	err = zero_counts(maps->drops, PG_DROP_INDEX(slot, 0, 0), 2 * PG_DROP_SLOTS);
	if (!err)
		err = zero_counts(maps->counts, PG_COUNT_INDEX(slot, 0), PG_COUNTER_SLOTS);
	if (!err)
		err = zero_counts(maps->steered, PG_STEERED_INDEX(slot, 0), PG_QUEUES_MAX);
	if (!err)
		snprintf(maps->shared->interfaces[slot], PG_NAME_MAX, "%s", interface);
	return err;
}

int pg_maps_interface_slot(struct pg_maps *maps, const char *interface, pg_keep_name_fn *keep,
			   void *context, struct pg_error *error)
{
	uint32_t best = pg_maps_find_slot(maps, interface);
	int rated = SLOT_KEPT, err;

	if (best < PG_INTERFACES_MAX)
		return best;
	for (uint32_t slot = 0; slot < PG_INTERFACES_MAX; slot++) {
		int rate = rate_slot(maps, slot, keep, context);

		if (rate <= rated)
			continue;
		rated = rate;
		best = slot;
	}
	if (rated == SLOT_KEPT)
		return pg_error_set(error, -ENOSPC,
				    "%s: %d interfaces of this instance have counters already, and "
				    "there is no room for more: detach one",
				    interface, PG_INTERFACES_MAX);
	err = take_slot(maps, best, interface);
	return err ? pg_error_set(error, err, "%s: emptying its counters: %s", interface,
				  strerror(-err))
		   : (int)best;
}

int pg_maps_read_counts(int fd, uint32_t entries, struct pg_count *ret_counts)
{
	int cpus = libbpf_num_possible_cpus();
	PG_FREE struct pg_count *values = NULL;

	if (cpus < 0)
		return cpus;
	values = calloc(cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < entries; i++) {
		if (bpf_map_lookup_elem(fd, &i, values))
			return -errno;
		ret_counts[i] = (struct pg_count){ 0 };
		for (int cpu = 0; cpu < cpus; cpu++) {
			ret_counts[i].packets += values[cpu].packets;
			ret_counts[i].bytes += values[cpu].bytes;
		}
	}
	return 0;
}

/* --- pins of interfaces ------------------------------------------------------------------------
 */

static void remove_interface_pins(const char *directory)
{
	static const char *const names[] = { "link", "program", "pg_xsks", "shield_link" };
	char path[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
}

bool pg_maps_forget_interface(struct pg_maps *maps, const char *interface)
{
	char directory[160];
	struct stat st;

	pin_directory(maps, interface, directory);
	if (stat(directory, &st))
		return false;
	remove_interface_pins(directory);
	return true;
}

void pg_maps_each_interface(struct pg_maps *maps, void (*call)(void *context, const char *name),
			    void *context)
{
	DIR *directory = opendir(maps->path);
	struct dirent *entry;

	if (!directory)
		return;
	while ((entry = readdir(directory))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		for (char *c = entry->d_name; *c; c++)
			if (*c == ':')
				*c = '.';
		call(context, entry->d_name);
	}
	closedir(directory);
}

/* --- one interface -----------------------------------------------------------------------------
 */

static void gate_path(const struct pg_gate *gate, const char *name, char *path, size_t bytes)
{
	snprintf(path, bytes, "%s/%s", gate->directory, name);
}

static int load_program(struct pg_gate *gate, bool acks_here, struct pg_error *error)
{
	struct pg_maps *maps = gate->maps;
	char path[256];
	int err;

	gate->skeleton = open_skeleton(maps, maps->session_mask + 1, maps->stream_slots);
	if (!gate->skeleton)
		return pg_error_set(error, -errno, "opening the BPF object: %s", strerror(errno));
	gate_path(gate, "pg_xsks", path, sizeof(path));
	bpf_map__set_pin_path(gate->skeleton->maps.pg_xsks, path);
	gate->skeleton->rodata->interface_slot = gate->slot;
	gate->skeleton->rodata->acks_here = acks_here;
	/* a pinned link is swapped only with a program of the same attach type */
	bpf_program__set_expected_attach_type(gate->skeleton->progs.pg_gate, BPF_XDP);
	err = gate_bpf__load(gate->skeleton);
	if (err)
		return pg_error_set(error, err, "loading the gate for %s: %s; %s", gate->interface,
				    strerror(-err),
				    err == -EPERM || err == -EACCES
					    ? "grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
					    : "see packgate doctor");
	return 0;
}

int pg_gate_load(struct pg_maps *maps, const char *interface, uint32_t slot, bool acks_here,
		 struct pg_gate **ret_gate, struct pg_error *error)
{
	struct pg_gate *gate = calloc(1, sizeof(*gate));
	int err;

	if (!gate)
		return pg_error_set(error, -ENOMEM, "out of memory");
	gate->maps = maps;
	gate->link = -1;
	snprintf(gate->interface, sizeof(gate->interface), "%s", interface);
	pin_directory(maps, interface, gate->directory);
	gate->slot = slot;
	err = make_directory(gate->directory, error);
	if (!err)
		err = load_program(gate, acks_here, error);
	if (err) {
		pg_gate_close(gate);
		return err;
	}
	*ret_gate = gate;
	return 0;
}

int pg_gate_set_socket(struct pg_gate *gate, uint32_t queue, int fd)
{
	int map = bpf_map__fd(gate->skeleton->maps.pg_xsks);

	if (fd < 0)
		return bpf_map_delete_elem(map, &queue) ? -errno : 0;
	return bpf_map_update_elem(map, &queue, &fd, BPF_ANY) ? -errno : 0;
}

/* Names the XDP program that holds the interface. */
static int refuse_occupied(const struct pg_gate *gate, uint32_t ifindex, struct pg_error *error)
{
	struct bpf_prog_info info = { 0 };
	uint32_t bytes = sizeof(info), id = 0;
	PG_CLOSE int fd = -1;

	bpf_xdp_query_id(ifindex, 0, &id);
	fd = id ? bpf_prog_get_fd_by_id(id) : -1;
	if (fd >= 0)
		bpf_obj_get_info_by_fd(fd, &info, &bytes);
	return pg_error_set(
		error, -EBUSY,
		"attaching to %s: the XDP program '%s' (id %u) is attached there and is "
		"not this instance's; detach it first ('ip link set dev %s xdp off', or "
		"the program's own tool), then 'packgate attach %s'",
		gate->interface, info.name[0] ? info.name : "?", id, gate->interface,
		gate->interface);
}

/* Whether a pinned link still holds this very interface. */
static bool link_holds(int fd, uint32_t ifindex)
{
	struct bpf_link_info info = { 0 };
	uint32_t bytes = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &bytes) && info.type == BPF_LINK_TYPE_XDP &&
	       info.xdp.ifindex == ifindex;
}

static int swap_pinned(struct pg_gate *gate, uint32_t ifindex, const char *path)
{
	PG_CLOSE int fd = bpf_obj_get(path);
	int err;

	if (fd < 0)
		return -ENOENT;
	if (!link_holds(fd, ifindex)) {
		unlink(path);
		return -ENOENT;
	}
	err = bpf_link_update(fd, bpf_program__fd(gate->skeleton->progs.pg_gate), NULL);
	if (err)
		return err;
	gate->link = TAKE_FD(fd);
	return 0;
}

/* What the kernel's refusal usually means. */
static const char *attach_hint(int err, bool generic)
{
	if (err == -ERANGE || err == -EINVAL)
		return "; is its MTU above 3506?";
	return err == -EOPNOTSUPP && !generic ? "; its driver has no native XDP" : "";
}

static int attach_new(struct pg_gate *gate, uint32_t ifindex, bool generic, struct pg_error *error)
{
	LIBBPF_OPTS(bpf_link_create_opts, options,
		    .flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	PG_CLOSE int fd = -1;

	fd = bpf_link_create(bpf_program__fd(gate->skeleton->progs.pg_gate), ifindex, BPF_XDP,
			     &options);
	if (fd == -EBUSY || fd == -EEXIST)
		return refuse_occupied(gate, ifindex, error);
	if (fd < 0)
		return pg_error_set(error, fd, "attaching to %s in %s mode: %s%s", gate->interface,
				    generic ? "generic" : "native", strerror(-fd),
				    attach_hint(fd, generic));
	gate->link = TAKE_FD(fd);
	return 0;
}

bool pg_gate_kept(const struct pg_gate *gate)
{
	char path[256];

	gate_path(gate, "link", path, sizeof(path));
	return !access(path, F_OK);
}

int pg_gate_keep(struct pg_gate *gate, struct pg_error *error)
{
	char path[256];

	gate_path(gate, "link", path, sizeof(path));
	if (bpf_obj_pin(gate->link, path) && errno != EEXIST)
		return pg_error_set(error, -errno, "pinning the link in %s: %s", path,
				    strerror(errno));
	return 0;
}

static void pin_program(const struct pg_gate *gate)
{
	char path[256];

	gate_path(gate, "program", path, sizeof(path));
	unlink(path);
	bpf_obj_pin(bpf_program__fd(gate->skeleton->progs.pg_gate), path);
}

int pg_gate_attach(struct pg_gate *gate, bool generic, bool keep, struct pg_error *error)
{
	uint32_t ifindex = if_nametoindex(gate->interface);
	char path[256];
	int err;

	if (!ifindex)
		return pg_error_set(error, -ENODEV,
				    "attaching to %s: there is no such interface here",
				    gate->interface);
	gate_path(gate, "link", path, sizeof(path));
	err = swap_pinned(gate, ifindex, path);
	if (err && err != -ENOENT)
		return pg_error_set(error, err,
				    "swapping the program on %s: %s; 'packgate detach %s' "
				    "and attach again",
				    gate->interface, strerror(-err), gate->interface);
	if (err)
		err = attach_new(gate, ifindex, generic, error);
	if (!err && keep)
		err = pg_gate_keep(gate, error);
	if (!err)
		pin_program(gate);
	return err;
}

uint32_t pg_gate_ifindex(const struct pg_gate *gate)
{
	struct bpf_link_info info = { 0 };
	uint32_t bytes = sizeof(info);

	if (gate->link < 0 || bpf_obj_get_info_by_fd(gate->link, &info, &bytes))
		return 0;
	return info.xdp.ifindex;
}

bool pg_gate_attached(const struct pg_gate *gate)
{
	uint32_t ifindex = if_nametoindex(gate->interface);

	return ifindex && pg_gate_ifindex(gate) == ifindex;
}

uint32_t pg_gate_program_id(const struct pg_gate *gate)
{
	struct bpf_prog_info info = { 0 };
	uint32_t bytes = sizeof(info);

	bpf_obj_get_info_by_fd(bpf_program__fd(gate->skeleton->progs.pg_gate), &info, &bytes);
	return info.id;
}

uint32_t pg_gate_slot(const struct pg_gate *gate)
{
	return gate->slot;
}

const char *pg_gate_directory(const struct pg_gate *gate)
{
	return gate->directory;
}

void pg_gate_detach(struct pg_gate *gate)
{
	if (gate->link >= 0)
		bpf_link_detach(gate->link);
	remove_interface_pins(gate->directory);
	pg_gate_close(gate);
}

void pg_gate_close(struct pg_gate *gate)
{
	if (!gate)
		return;
	if (gate->link >= 0)
		close(gate->link);
	gate_bpf__destroy(gate->skeleton);
	if (gate->directory[0] && !pg_gate_kept(gate))
		remove_interface_pins(gate->directory);
	free(gate);
}
