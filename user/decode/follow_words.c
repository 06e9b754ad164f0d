// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>

#include "follow.h"

const char *pg_tcp_state_label(enum pg_tcp_state state)
{
	switch (state) {
#define PG_X(name, number, label) \
	case PG_TCP_##name:       \
		return label;
		PG_TCP_STATES(PG_X)
#undef PG_X
	}
	return NULL;
}

const char *pg_follow_event_label(enum pg_follow_event event)
{
	switch (event) {
#define PG_X(name, bit, label, unusual, help) \
	case PG_FOLLOW_##name:                \
		return label;
		PG_FOLLOW_EVENTS(PG_X)
#undef PG_X
	case PG_FOLLOW_EVENT_COUNT:
		break;
	}
	return NULL;
}

const char *pg_follow_end_label(enum pg_follow_end end)
{
	switch (end) {
#define PG_X(name, number, label, text) \
	case PG_FOLLOW_END_##name:      \
		return label;
		PG_FOLLOW_ENDS(PG_X)
#undef PG_X
	}
	return NULL;
}

const char *pg_follow_end_text(enum pg_follow_end end)
{
	switch (end) {
#define PG_X(name, number, label, text) \
	case PG_FOLLOW_END_##name:      \
		return text;
		PG_FOLLOW_ENDS(PG_X)
#undef PG_X
	}
	return NULL;
}

bool pg_follow_event_unusual(enum pg_follow_event event)
{
	switch (event) {
#define PG_X(name, bit, label, unusual, help) \
	case PG_FOLLOW_##name:                \
		return unusual;
		PG_FOLLOW_EVENTS(PG_X)
#undef PG_X
	case PG_FOLLOW_EVENT_COUNT:
		break;
	}
	return false;
}
