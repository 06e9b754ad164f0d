/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_TC_H
#define PG_SHIELD_TC_H

#include <stdbool.h>

#include "error.h"
#include "gate.h"

/*
 * The program at TC ingress that takes the gate's own cookies back (bpf/shield_tc.bpf.c). It hangs
 * on a pinned tcx link, so it outlives the agent as the gate does, and is removed with it.
 */

/* Whether this kernel has what the program needs (Linux 6.9); else -EOPNOTSUPP and a sentence. */
int pg_shield_tc_supported(struct pg_error *error);

/*
 * Loads the program over the pinned maps and attaches it behind the tcx programs that are there;
 * a link of ours that is pinned in directory is updated instead. *ret_link is the caller's.
 */
int pg_shield_tc_attach(const struct pg_maps *maps, const char *interface, const char *directory,
			int *ret_link, struct pg_error *error);

/* Whether the link still holds this very interface. */
bool pg_shield_tc_attached(int link, const char *interface);

/* Detaches and unpins; closes the link. */
void pg_shield_tc_detach(const char *directory, int link);

#endif
