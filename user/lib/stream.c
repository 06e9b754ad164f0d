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

static enum pg_opening_send ask(const enum pg_opening *state, bool client)
{
	if (client || *state == PG_OPENING_FAILED)
		return PG_OPEN_SEND_NOTHING;
	return PG_OPEN_SEND_STREAMOPEN;
}

static enum pg_opening_send answer(enum pg_opening *state, bool client)
{
	if (*state == PG_OPENING_FAILED)
		return PG_OPEN_SEND_NOTHING;
	*state = PG_OPENING_READY;
	return client ? PG_OPEN_SEND_STREAMOPEN : PG_OPEN_SEND_NOTHING;
}

enum pg_opening_send pg_opening_step(enum pg_opening *state, bool client,
				     enum pg_opening_input input)
{
	bool asked = *state == PG_OPENING_ASKED;

	switch (input) {
	case PG_OPEN_ASK:
		return ask(state, client);
	case PG_OPEN_ANSWER:
		return answer(state, client);
	case PG_OPEN_OTHER:
		if (*state != PG_OPENING_FAILED)
			*state = PG_OPENING_READY;
		return PG_OPEN_SEND_NOTHING;
	case PG_OPEN_RETRY:
		return asked ? PG_OPEN_SEND_OPENSTREAM : PG_OPEN_SEND_NOTHING;
	case PG_OPEN_REFUSED:
	case PG_OPEN_GAVE_UP:
		if (asked)
			*state = PG_OPENING_FAILED;
		return PG_OPEN_SEND_NOTHING;
	}
	return PG_OPEN_SEND_NOTHING;
}
