/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_GATE_H
#define PG_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent.h"
#include "error.h"
#include "packgate/abi.h"
#include "packgate/shield.h"

struct bpf_object;

/*
 * The kernel's objects (DESIGN section 3): one set of maps for the instance, pinned and mapped
 * into memory; per interface a program, its link and its pg_xsks.
 */
struct pg_maps {
	char path[128]; /* <bpffs>/packgate/<instance> */
	struct gate_bpf *base;
	struct pg_shared *shared;
	struct pg_session *sessions; /* session_mask + 1 */
	struct pg_window *windows;
	struct pg_opened *opened;
	struct pg_acks_state *acks;
	struct pg_stream_line *stream_lines; /* stream_slots */
	struct pg_window *stream_windows;
	uint32_t session_mask;
	uint32_t stream_slots;
	int ports, endpoints, locals, streams; /* map fds, owned by base */
	int drops, counts, steered, events;
	struct pg_shield_ports *shield_ports;
	struct pg_shield *shields; /* PG_SHIELDS_MAX, likewise shield_state */
	struct pg_shield_state *shield_state;
	struct pg_shield_env *shield_env;
	struct pg_shield_tuples *shield_tuples;
	int shield_log, shield_counts;
	int lock;     /* on the instance's folder */
	bool adopted; /* the maps were pinned by an earlier process */
};

struct pg_maps_options {
	const char *instance;
	uint32_t sessions; /* a power of two */
	uint32_t streams;
};

/*
 * Opens the pinned maps, or creates and pins them. Pinned maps of another ABI are unpinned and new
 * ones made (the attached program keeps the old ones until it is swapped). Maps of this ABI with
 * another size are refused: -EINVAL with what to do; an instance that another agent runs: -EBUSY.
 */
int pg_maps_open(const struct pg_maps_options *options, struct pg_maps **ret_maps,
		 struct pg_error *error);
void pg_maps_close(struct pg_maps *maps); /* the pins stay */
/* Closes, and unpins the maps unless they were adopted or an interface still has pins. */
void pg_maps_discard(struct pg_maps *maps);

/*
 * Lets another object, opened and not loaded, use the gate's maps: each of a name that both have,
 * but for those that are private to a program. 0 or a negative errno.
 */
int pg_maps_share(const struct pg_maps *maps, struct bpf_object *object);

/*
 * The slot of the counter arrays that belongs to an interface name. Where it has none it gets one
 * that is free, else one of a name that the caller does not keep, best of an interface that is
 * gone: the counters begin at zero then. -ENOSPC if every other name is kept.
 */
typedef bool pg_keep_name_fn(void *context, const char *name);
int pg_maps_interface_slot(struct pg_maps *maps, const char *interface, pg_keep_name_fn *keep,
			   void *context, struct pg_error *error);
/* The same slot, or PG_INTERFACES_MAX where it has none. */
uint32_t pg_maps_find_slot(const struct pg_maps *maps, const char *interface);

/* Frees the pins of an interface that is gone. Returns whether there were any. */
bool pg_maps_forget_interface(struct pg_maps *maps, const char *interface);

/* Calls back with every interface that has pins. */
void pg_maps_each_interface(struct pg_maps *maps, void (*call)(void *context, const char *name),
			    void *context);

/* One loaded program for one interface. */
struct pg_gate;

/*
 * Loads the program over the pinned maps, for a slot of pg_maps_interface_slot; attaches nothing.
 * acks_here: it acks duplicates itself, with XDP_TX.
 */
int pg_gate_load(struct pg_maps *maps, const char *interface, uint32_t slot, bool acks_here,
		 struct pg_gate **ret_gate, struct pg_error *error);

/* Puts a socket into pg_xsks, or takes it out (fd -1). */
int pg_gate_set_socket(struct pg_gate *gate, uint32_t queue, int fd);

/*
 * Attaches in the driver or (generic) behind it; where a pinned link of ours is found, its program
 * is swapped instead. Refuses, naming it, when another XDP program is there. The link is pinned if
 * keep; else it ends with this process, however that ends, until pg_gate_keep.
 */
int pg_gate_attach(struct pg_gate *gate, bool generic, bool keep, struct pg_error *error);
int pg_gate_keep(struct pg_gate *gate, struct pg_error *error);

/* Whether the link is pinned. */
bool pg_gate_kept(const struct pg_gate *gate);

bool pg_gate_attached(const struct pg_gate *gate);
/* Index of the interface that the link holds, whatever its name is now; 0 = none. */
uint32_t pg_gate_ifindex(const struct pg_gate *gate);
uint32_t pg_gate_program_id(const struct pg_gate *gate);
uint32_t pg_gate_slot(const struct pg_gate *gate);
/* Where the interface's objects are pinned. */
const char *pg_gate_directory(const struct pg_gate *gate);

/* Detaches, removes the interface's pins and frees. */
void pg_gate_detach(struct pg_gate *gate);
/* Frees; a pinned link stays attached, without one the interface's other pins go too. */
void pg_gate_close(struct pg_gate *gate);

/* Sums a per-CPU counter array of count entries. */
int pg_maps_read_counts(int fd, uint32_t entries, struct pg_count *ret_counts);

#endif
