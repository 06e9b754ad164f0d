/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TIMER_WHEEL_H
#define PG_TIMER_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A hashed timer wheel for one thread: setting, moving and cancelling cost the same few
 * instructions however many timers there are. Times are monotonic milliseconds; a timer fires up
 * to PG_WHEEL_TICK_MS late, never early.
 */
#define PG_WHEEL_TICK_MS 8
#define PG_WHEEL_SLOTS	 1024

struct pg_timer {
	struct pg_timer *next, **at; /* at NULL = not set */
	uint64_t deadline_ms;
};

struct pg_wheel {
	struct pg_timer *slots[PG_WHEEL_SLOTS];
	uint64_t tick; /* the next one to look at */
	uint32_t count;
};

void pg_wheel_init(struct pg_wheel *wheel, uint64_t now_ms);
/* Sets or moves; UINT64_MAX cancels. */
void pg_timer_set(struct pg_wheel *wheel, struct pg_timer *timer, uint64_t deadline_ms);
void pg_timer_cancel(struct pg_wheel *wheel, struct pg_timer *timer);
/* Takes one timer that is due out of the wheel, or returns NULL. */
struct pg_timer *pg_wheel_due(struct pg_wheel *wheel, uint64_t now_ms);
/* Milliseconds to sleep before pg_wheel_due may have something; -1 without timers. */
int pg_wheel_wait_ms(const struct pg_wheel *wheel, uint64_t now_ms);

#endif
