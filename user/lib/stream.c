// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "stream.h"

static bool received(enum pg_closing *state)
{
	switch (*state) {
	case PG_CLOSING_NO:
		*state = PG_CLOSING_R1;
		return true;
	case PG_CLOSING_C1:
		*state = PG_CLOSING_C2;
		return true;
	case PG_CLOSING_C2:
		*state = PG_CLOSING_SILENT;
		return false;
	case PG_CLOSING_R1:
		*state = PG_CLOSING_ANSWERING;
		return true;
	case PG_CLOSING_ANSWERING:
		return true;
	case PG_CLOSING_SILENT:
		return false;
	}
	return false;
}

static bool gave_up(enum pg_closing *state)
{
	if (pg_closing_retries(*state))
		*state = PG_CLOSING_SILENT;
	else if (*state == PG_CLOSING_R1)
		*state = PG_CLOSING_ANSWERING;
	return false;
}

bool pg_closing_step(enum pg_closing *state, enum pg_closing_input input)
{
	switch (input) {
	case PG_CLOSE_LOCAL:
		if (*state != PG_CLOSING_NO)
			return false;
		*state = PG_CLOSING_C1;
		return true;
	case PG_CLOSE_RECEIVED:
		return received(state);
	case PG_CLOSE_RETRY:
		return pg_closing_retries(*state);
	case PG_CLOSE_GAVE_UP:
		return gave_up(state);
	}
	return false;
}
