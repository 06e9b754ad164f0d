/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_LOCAL_BPF_H
#define PG_LOCAL_BPF_H

#include <bpf/bpf_helpers.h>

#include "packgate/abi.h"
#include "packet.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PG_LOCALS_SLOTS);
	__type(key, __u32);
	__type(value, struct pg_local);
} pg_locals SEC(".maps");

/* A wildcard takes only what is addressed to this namespace, never what it routes. */
static __always_inline bool target_is_local(const struct route *route)
{
	__u32 slot = PG_LOCAL_HASH(route->target[0], route->target[1]);

	for (int i = 0; i < PG_LOCALS_PROBES; i++) {
		const struct pg_local *local = bpf_map_lookup_elem(&pg_locals, &slot);

		if (!local || !(local->address[0] | local->address[1]))
			return false;
		if (local->address[0] == route->target[0] && local->address[1] == route->target[1])
			return true;
		slot = (slot + 1) & (PG_LOCALS_SLOTS - 1);
	}
	return false;
}

#endif
