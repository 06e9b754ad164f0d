// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <string.h>
#include <sys/random.h>

#include "shield_rows.h"

static void name_whole(struct pg_shield_env *env, uint32_t tuples)
{
	__atomic_store_n(&env->tuples, tuples, __ATOMIC_RELEASE);
}

static void clear(struct pg_shield_rows *rows, struct pg_shield_tuples *tuples, uint64_t now_ms)
{
	memset(tuples->rows[rows->row], 0, sizeof(tuples->rows[rows->row]));
	rows->phase = PG_SHIELD_ROWS_SETTLING;
	rows->due_ms = now_ms + PG_SHIELD_SETTLE_MS;
}

void pg_shield_rows_restart(struct pg_shield_rows *rows, struct pg_shield_env *env)
{
	name_whole(env, 0);
	rows->phase = PG_SHIELD_ROWS_IDLE;
}

static void stop(struct pg_shield_rows *rows, struct pg_shield_env *env)
{
	pg_shield_rows_restart(rows, env);
	__atomic_store_n(&env->marking, 0, __ATOMIC_RELEASE);
}

static void start(struct pg_shield_rows *rows, struct pg_shield_env *env,
		  struct pg_shield_tuples *tuples, uint64_t now_ms)
{
	uint64_t key;

	name_whole(env, 0);
	/* without a fresh one that of before serves: it guards nothing but speed */
	if (getrandom(&key, sizeof(key), GRND_NONBLOCK) == sizeof(key))
		env->tuple_key = key;
	rows->row = 0;
	clear(rows, tuples, now_ms);
	__atomic_store_n(&env->marking, 1, __ATOMIC_RELEASE);
}

bool pg_shield_rows_turn(struct pg_shield_rows *rows, struct pg_shield_env *env,
			 struct pg_shield_tuples *tuples, bool wanted, uint64_t now_ms)
{
	if (!wanted) {
		if (env->marking || env->tuples)
			stop(rows, env);
		return false;
	}
	switch (rows->phase) {
	case PG_SHIELD_ROWS_IDLE:
		start(rows, env, tuples, now_ms);
		return false;
	case PG_SHIELD_ROWS_WHOLE:
		if (now_ms < rows->due_ms)
			return false;
		rows->row ^= 1;
		clear(rows, tuples, now_ms);
		return false;
	case PG_SHIELD_ROWS_SETTLING:
		if (now_ms < rows->due_ms)
			return false;
		rows->phase = PG_SHIELD_ROWS_FILLING;
		return true;
	case PG_SHIELD_ROWS_FILLING:
		break;
	}
	return false;
}

void pg_shield_rows_filled(struct pg_shield_rows *rows, struct pg_shield_env *env, bool good,
			   uint64_t now_ms)
{
	if (rows->phase != PG_SHIELD_ROWS_FILLING)
		return;
	if (good)
		name_whole(env, rows->row + 1);
	rows->phase = PG_SHIELD_ROWS_WHOLE;
	rows->due_ms = now_ms + PG_SHIELD_RENEW_MS;
}
