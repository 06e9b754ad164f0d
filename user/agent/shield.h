/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_TABLE_H
#define PG_SHIELD_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "error.h"
#include "packgate/shield.h"

/*
 * The shields as they lie in the maps that the gate reads (include/packgate/shield.h). One writer
 * at a time. Index 0 is never used.
 */
struct pg_shield_table {
	struct pg_shield_ports *ports;
	struct pg_shield *shields;	/* PG_SHIELDS_MAX */
	struct pg_shield_state *states; /* likewise */
};

/* The index of the shield with this address and port, 0 = none. */
uint32_t pg_shield_find(const struct pg_shield_table *table,
			const struct pg_shield_listener *listener);

/*
 * Makes or changes a shield; a change keeps its counters. Returns its index, or -ENOSPC with a
 * sentence when the table or the port is full.
 */
int pg_shield_put(const struct pg_shield_table *table, const struct pg_shield_listener *listener,
		  enum pg_shield_origin origin, uint64_t now_ms, struct pg_error *error);

void pg_shield_remove(const struct pg_shield_table *table, uint32_t index);

/* What a row of the table says; false for a free one. */
bool pg_shield_get(const struct pg_shield_table *table, uint32_t index,
		   struct pg_shield_listener *ret_listener);

/* Whether any shield is on or automatic. */
bool pg_shield_any(const struct pg_shield_table *table);

/* The sum over all CPUs of what the gate has counted; zeros where it cannot be read. */
void pg_shield_counts_read(int map, uint32_t index, struct pg_shield_counts *ret_counts);
void pg_shield_counts_clear(int map, uint32_t index);

/*
 * Fills the keys of the slots that begin from now_ns (kernel clock) on: a fresh one for the next
 * slot, and all of them where there are none yet. 0 or a negative errno.
 */
int pg_shield_keys(struct pg_shield_env *env, uint64_t now_ns);

#endif
