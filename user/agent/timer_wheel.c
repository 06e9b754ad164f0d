// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>
#include <string.h>

#include "timer_wheel.h"

#define WAIT_MAX_MS 1000

void pg_wheel_init(struct pg_wheel *wheel, uint64_t now_ms)
{
	memset(wheel, 0, sizeof(*wheel));
	wheel->tick = now_ms / PG_WHEEL_TICK_MS;
}

void pg_timer_cancel(struct pg_wheel *wheel, struct pg_timer *timer)
{
	if (!timer->at)
		return;
	*timer->at = timer->next;
	if (timer->next)
		timer->next->at = timer->at;
	timer->at = NULL;
	wheel->count--;
}

void pg_timer_set(struct pg_wheel *wheel, struct pg_timer *timer, uint64_t deadline_ms)
{
	uint64_t tick = deadline_ms / PG_WHEEL_TICK_MS + 1;
	struct pg_timer **slot;

	if (timer->at && timer->deadline_ms == deadline_ms)
		return;
	pg_timer_cancel(wheel, timer);
	timer->deadline_ms = deadline_ms;
	if (deadline_ms == UINT64_MAX)
		return;
	if (tick < wheel->tick)
		tick = wheel->tick;
	slot = &wheel->slots[tick % PG_WHEEL_SLOTS];
	timer->next = *slot;
	if (*slot)
		(*slot)->at = &timer->next;
	timer->at = slot;
	*slot = timer;
	wheel->count++;
}

struct pg_timer *pg_wheel_due(struct pg_wheel *wheel, uint64_t now_ms)
{
	uint64_t last = now_ms / PG_WHEEL_TICK_MS;

	/* after a long pause one turn of the wheel sees every timer */
	if (last > wheel->tick + PG_WHEEL_SLOTS)
		wheel->tick = last - PG_WHEEL_SLOTS;
	for (; wheel->tick <= last; wheel->tick++) {
		struct pg_timer *timer = wheel->slots[wheel->tick % PG_WHEEL_SLOTS];

		for (; timer; timer = timer->next)
			if (timer->deadline_ms <= now_ms) {
				pg_timer_cancel(wheel, timer);
				return timer;
			}
	}
	return NULL;
}

int pg_wheel_wait_ms(const struct pg_wheel *wheel, uint64_t now_ms)
{
	uint64_t tick = wheel->tick;

	if (!wheel->count)
		return -1;
	for (uint32_t i = 0; i < WAIT_MAX_MS / PG_WHEEL_TICK_MS; i++, tick++)
		if (wheel->slots[tick % PG_WHEEL_SLOTS])
			break;
	if (tick * PG_WHEEL_TICK_MS <= now_ms)
		return tick <= now_ms / PG_WHEEL_TICK_MS ? 0 : 1;
	return tick * PG_WHEEL_TICK_MS - now_ms;
}
