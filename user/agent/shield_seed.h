/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_SEED_H
#define PG_SHIELD_SEED_H

#include "error.h"
#include "gate.h"

/* Marks the sockets that the kernel has, in pg_shield_marks (bpf/shield_seed.bpf.c). */
struct pg_shield_seed;

/* Loads the program over the gate's maps; it needs CAP_PERFMON besides the gate's. */
int pg_shield_seed_open(const struct pg_maps *maps, struct pg_shield_seed **ret_seed,
			struct pg_error *error);
void pg_shield_seed_free(struct pg_shield_seed *seed);

/*
 * Marks in a row every TCP socket of the calling thread's network namespace that is on a port with
 * a shield; about half a microsecond for each socket there is. 0 or a negative errno.
 */
int pg_shield_seed_fill(struct pg_shield_seed *seed, uint32_t row, struct pg_error *error);

#endif
