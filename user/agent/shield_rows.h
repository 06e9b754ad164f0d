/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SHIELD_ROWS_H
#define PG_SHIELD_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "packgate/shield.h"

/*
 * When a row of pg_shield_marks is cleared, filled and named whole (include/packgate/shield.h).
 * While the gate marks, a row is whole once it was cleared, what the gate had passed before has
 * become a socket, and every socket was marked in it.
 */

#define PG_SHIELD_SETTLE_MS 1000  /* from passing a SYN to its socket, and far more */
#define PG_SHIELD_RENEW_MS  60000 /* marks of closed connections are left behind that often */

struct pg_shield_rows {
	enum {
		PG_SHIELD_ROWS_IDLE,
		PG_SHIELD_ROWS_SETTLING, /* row is cleared, and to be filled when due */
		PG_SHIELD_ROWS_FILLING,
		PG_SHIELD_ROWS_WHOLE, /* the next row is cleared when due */
	} phase;
	uint32_t row;
	uint64_t due_ms;
};

/* Something changed that the gate may have missed sockets by: every SYN is looked up again. */
void pg_shield_rows_restart(struct pg_shield_rows *rows, struct pg_shield_env *env);

/*
 * To be called now and then; wanted while cookies are made. True when rows->row is to be filled
 * now, and pg_shield_rows_filled() to be told. now_ms is of any steady clock.
 */
bool pg_shield_rows_turn(struct pg_shield_rows *rows, struct pg_shield_env *env,
			 struct pg_shield_tuples *tuples, bool wanted, uint64_t now_ms);

/* good: every socket was marked. Without effect when there was a restart meanwhile. */
void pg_shield_rows_filled(struct pg_shield_rows *rows, struct pg_shield_env *env, bool good,
			   uint64_t now_ms);

#endif
