/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_IN_FORCE_H
#define PG_IN_FORCE_H

#include "agent.h"

/*
 * What of a configuration that was read anew can be in force: puts back from the running one what
 * changes at the next start alone, and names those keys. Where all of it can be in force the text
 * is "". half_open_most: half-open sessions that there is room for, 0 = room is yet to be made.
 */
void pg_config_keep_in_force(const struct pg_config *running, uint32_t half_open_most,
			     struct pg_config *read, char ret_keys[PG_KEYS_TEXT]);

#endif
