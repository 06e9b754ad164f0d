/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_TUPLES_BPF_H
#define PG_SHIELD_TUPLES_BPF_H

#include "shield_maps.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pg_shield_tuples);
} pg_shield_marks SEC(".maps");

static __always_inline struct pg_shield_tuples *shield_tuples(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pg_shield_marks, &zero);
}

static __always_inline __u32 tuple_of(const struct pg_shield_env *env, const struct route *route)
{
	return pg_shield_tuple(env->tuple_key, route->source, route->target, route->source_port_be,
			       route->target_port_be);
}

/* False only where no socket but the listener can be meant. */
static __always_inline bool may_have_socket(const struct pg_shield_env *env,
					    const struct route *route)
{
	const struct pg_shield_tuples *tuples = shield_tuples();
	__u32 row = env->tuples;

	return !tuples || !row || pg_shield_tuple_marked(tuples, row - 1, tuple_of(env, route));
}

/* A segment that is passed, and may become a socket. */
static __always_inline void mark_tuple(const struct pg_shield_env *env, const struct route *route)
{
	struct pg_shield_tuples *tuples = shield_tuples();
	__u32 mark = tuple_of(env, route);

	if (!tuples || !env->marking)
		return;
	for (__u32 row = 0; row < PG_SHIELD_TUPLE_ROWS; row++)
		pg_shield_tuple_mark(tuples, row, mark);
}

#endif
