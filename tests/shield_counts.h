/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TESTS_SHIELD_COUNTS_H
#define PG_TESTS_SHIELD_COUNTS_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>

#include "packgate/shield.h"

/* What all CPUs have counted for a shield; zeros where the map cannot be read. */
static inline struct pg_shield_counts shield_counts(int map, uint32_t index)
{
	int cpus = libbpf_num_possible_cpus();
	struct pg_shield_counts sum = { 0 }, *each = calloc(cpus > 0 ? cpus : 1, sizeof(*each));

	if (each && cpus > 0 && !bpf_map_lookup_elem(map, &index, each)) {
		for (int i = 0; i < cpus; i++) {
#define PG_X(field, ...) sum.field += each[i].field;
			PG_SHIELD_COUNTERS(PG_X)
#undef PG_X
		}
	}
	free(each);
	return sum;
}

#endif
