/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_PINS_H
#define PG_CLI_PINS_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

/*
 * What an agent leaves in bpffs, for `packgate detach` without an agent:
 * /sys/fs/bpf/packgate/INSTANCE/INTERFACE/ holds link, program and xsks, INSTANCE/ the shared maps.
 */
#define PG_PINS_ROOT	  "/sys/fs/bpf/packgate"
#define PG_PINS_NAMES_MAX 64
#define PG_PINS_NAME_MAX  64

/* Names an instance or interface may have: one path segment without white space. */
bool pg_pins_name_valid(const char *name);

/* The interfaces that have pins. 0, or -ENOENT if the instance has none at all. */
int pg_pins_list(const char *instance, char names[PG_PINS_NAMES_MAX][PG_PINS_NAME_MAX],
		 size_t *ret_count, struct pg_error *error);

/*
 * Removes the pins of an interface; with the last reference the kernel detaches the gate. Refuses
 * (-EPERM) a link that is not an XDP link of the program pg_gate: packgate did not attach it.
 * -ENOENT if there are none.
 */
int pg_pins_remove_interface(const char *instance, const char *interface, struct pg_error *error);

/*
 * Removes the instance's maps and its folder, which hold windows and counters: only where no agent
 * runs and no interface is left (-EBUSY otherwise).
 */
int pg_pins_remove_instance(const char *instance, struct pg_error *error);

#endif
