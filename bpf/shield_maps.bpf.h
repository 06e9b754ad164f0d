/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_MAPS_BPF_H
#define PG_SHIELD_MAPS_BPF_H

#include "local.bpf.h"
#include "packgate/shield.h"

/* Shared by the gate and by the program at TC ingress, pinned for the instance. */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pg_shield_ports);
} pg_shield_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PG_SHIELDS_MAX);
	__type(key, __u32);
	__type(value, struct pg_shield);
} pg_shields SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PG_SHIELDS_MAX);
	__type(key, __u32);
	__type(value, struct pg_shield_state);
} pg_shield_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pg_shield_env);
} pg_shield_env SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, PG_SHIELD_RING_BYTES);
} pg_shield_log SEC(".maps");

/* Index of the first shield on the port, 0 = none: all that other TCP costs. */
static __always_inline __u32 shield_on_port(__be16 port_be)
{
	__u32 zero = 0;
	const struct pg_shield_ports *ports = bpf_map_lookup_elem(&pg_shield_ports, &zero);

	return ports ? ports->first[host16(port_be)] : 0;
}

static __always_inline bool shield_matches(const struct pg_shield *shield,
					   const struct route *route)
{
	if (!shield->wildcard)
		return shield->address[0] == route->target[0] &&
		       shield->address[1] == route->target[1];
	return (!shield->family || shield->family == route->family) && target_is_local(route);
}

/* The shield over the segment's target, NULL = none; *index goes from the port's first to it. */
static __always_inline const struct pg_shield *find_shield(const struct route *route, __u32 *index)
{
	for (int i = 0; i < PG_SHIELDS_PER_PORT && *index; i++) {
		const struct pg_shield *shield = bpf_map_lookup_elem(&pg_shields, index);

		if (!shield)
			return NULL;
		if (shield_matches(shield, route))
			return shield;
		*index = shield->next;
	}
	return NULL;
}

static __always_inline const struct pg_shield_env *shield_env(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pg_shield_env, &zero);
}

#endif
