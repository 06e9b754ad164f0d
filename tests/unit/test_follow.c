// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "follow.h"

/* rows say what is not 0 */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/*
 * Scenarios: what is captured, and after each segment the states of client and server and what was
 * said of it. Numbers in a step are relative to the row's initial ones, so that every scenario can
 * be run again where they wrap.
 */

#define START_US 1000000000ull
#define WINDOW	 1000	 /* of a step that does not say */
#define ZERO	 0x10000 /* a window of 0 */
#define STEPS	 20

#define CLIENT_ISN 81252687u
#define SERVER_ISN 1249490391u

#define E(name) PG_FOLLOW_BIT(PG_FOLLOW_##name)

struct step {
	uint32_t at_us;
	char from;	   /* c or s */
	const char *flags; /* as tcpdump: S F P R . */
	int64_t seq, ack;  /* relative */
	uint32_t bytes;
	const char *states; /* client/server */
	uint32_t events;
	uint32_t window;
	struct pg_sack_block sack[2]; /* relative; 0-0 is none */
};

struct outcome {
	enum pg_follow_end end;
	uint64_t bytes[2], again[2], missing[2];
	int64_t handshake_us;
};

struct scenario {
	const char *name;
	struct step steps[STEPS];
	struct outcome outcome;
};

#define HANDSHAKE                                                                  \
	{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },                      \
		{ 100, 's', "S.", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED", 0 },        \
	{                                                                          \
		300, 'c', ".", 1, 1, 0, "ESTABLISHED/ESTABLISHED", E(ESTABLISHED), \
	}

#define BOTH "ESTABLISHED/ESTABLISHED"

static const struct scenario scenarios[] = {
	{
		"four packets close, server data",
		{
			HANDSHAKE,
			{ 400, 'c', "P.", 1, 1, 83, BOTH, 0 },
			{ 500, 's', ".", 1, 84, 0, BOTH, 0 },
			{ 600, 's', "P.", 1, 84, 551, BOTH, 0 },
			{ 700, 'c', ".", 84, 552, 0, BOTH, 0 },
			{ 800, 'c', "F.", 84, 552, 0, "FIN-WAIT-1/CLOSE-WAIT", 0 },
			{ 900, 's', ".", 552, 85, 0, "FIN-WAIT-2/CLOSE-WAIT", 0 },
			{ 1000, 's', "F.", 552, 85, 0, "TIME-WAIT/LAST-ACK", 0 },
			{ 1100, 'c', ".", 85, 553, 0, "TIME-WAIT/CLOSED", 0 },
		},
		{ PG_FOLLOW_END_FOUR, { 83, 551 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"three packets close by the server, FIN with data",
		{
			HANDSHAKE,
			{ 400, 's', "FP.", 1, 1, 12, "CLOSE-WAIT/FIN-WAIT-1", 0 },
			{ 500, 'c', "F.", 1, 14, 0, "LAST-ACK/TIME-WAIT", 0 },
			{ 600, 's', ".", 14, 2, 0, "CLOSED/TIME-WAIT", 0 },
		},
		{ PG_FOLLOW_END_THREE, { 0, 12 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"simultaneous open with SYN-ACKs",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 10, 's', "S", 0, 0, 0, "SYN-RECEIVED/SYN-RECEIVED",
			  E(SIMULTANEOUS_OPEN) },
			{ 100, 'c', "S.", 0, 1, 0, "SYN-RECEIVED/ESTABLISHED", 0 },
			{ 110, 's', "S.", 0, 1, 0, BOTH, E(ESTABLISHED) },
			{ 150, 's', "S.", 0, 1, 0, BOTH, E(SPURIOUS_RETRANSMISSION) },
			{ 200, 'c', "P.", 1, 1, 5, BOTH, 0 },
		},
		{ PG_FOLLOW_END_OPEN, { 5, 0 }, { 0, 0 }, { 0, 0 }, 110 },
	},
	{
		"simultaneous open with plain ACKs",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 10, 's', "S", 0, 0, 0, "SYN-RECEIVED/SYN-RECEIVED",
			  E(SIMULTANEOUS_OPEN) },
			{ 100, 'c', ".", 1, 1, 0, "SYN-RECEIVED/ESTABLISHED", 0 },
			{ 110, 's', ".", 1, 1, 0, BOTH, E(ESTABLISHED) },
		},
		{ PG_FOLLOW_END_OPEN, { 0, 0 }, { 0, 0 }, { 0, 0 }, 110 },
	},
	{
		"simultaneous close",
		{
			HANDSHAKE,
			{ 400, 'c', "F.", 1, 1, 0, "FIN-WAIT-1/CLOSE-WAIT", 0 },
			{ 410, 's', "F.", 1, 1, 0, "CLOSING/CLOSING", E(SIMULTANEOUS_CLOSE) },
			{ 500, 'c', ".", 2, 2, 0, "CLOSING/TIME-WAIT", 0 },
			{ 510, 's', ".", 2, 2, 0, "TIME-WAIT/TIME-WAIT", 0 },
		},
		{ PG_FOLLOW_END_SIMULTANEOUS, { 0, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"half-close: the server goes on sending",
		{
			HANDSHAKE,
			{ 400, 'c', "FP.", 1, 1, 4, "FIN-WAIT-1/CLOSE-WAIT", 0 },
			{ 500, 's', ".", 1, 6, 0, "FIN-WAIT-2/CLOSE-WAIT", 0 },
			{ 600, 's', "P.", 1, 6, 100, "FIN-WAIT-2/CLOSE-WAIT", 0 },
			{ 700, 'c', ".", 6, 101, 0, "FIN-WAIT-2/CLOSE-WAIT", 0 },
			{ 800, 's', "F.", 101, 6, 0, "TIME-WAIT/LAST-ACK", 0 },
			{ 900, 'c', ".", 6, 102, 0, "TIME-WAIT/CLOSED", 0 },
		},
		{ PG_FOLLOW_END_FOUR, { 4, 100 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"FIN sent again, in TIME-WAIT too",
		{
			HANDSHAKE,
			{ 400, 'c', "F.", 1, 1, 0, "FIN-WAIT-1/CLOSE-WAIT", 0 },
			{ 200400, 'c', "F.", 1, 1, 0, "FIN-WAIT-1/CLOSE-WAIT", E(RETRANSMISSION) },
			{ 200500, 's', "F.", 1, 2, 0, "TIME-WAIT/LAST-ACK", 0 },
			{ 200600, 'c', ".", 2, 2, 0, "TIME-WAIT/CLOSED", 0 },
			{ 400500, 's', "F.", 1, 2, 0, "TIME-WAIT/CLOSED",
			  E(SPURIOUS_RETRANSMISSION) | E(AFTER_CLOSE) },
			{ 400600, 'c', ".", 2, 2, 0, "TIME-WAIT/CLOSED",
			  E(DUPLICATE_ACK) | E(AFTER_CLOSE) },
		},
		{ PG_FOLLOW_END_THREE, { 0, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"a FIN arrives when nothing before it is missing",
		{
			HANDSHAKE,
			{ 400, 'c', ".", 1, 1, 100, BOTH, 0 },
			{ 410, 'c', "FP.", 201, 1, 50, "FIN-WAIT-1/ESTABLISHED", E(GAP) },
			{ 420, 's', ".", 1, 101, 0, "FIN-WAIT-1/ESTABLISHED", 0 },
			{ 9000, 'c', ".", 101, 1, 100, "FIN-WAIT-1/CLOSE-WAIT", E(RETRANSMISSION) },
			{ 9100, 's', "F.", 1, 252, 0, "TIME-WAIT/LAST-ACK", 0 },
			{ 9200, 'c', ".", 252, 2, 0, "TIME-WAIT/CLOSED", 0 },
		},
		{ PG_FOLLOW_END_THREE, { 250, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"data after its own FIN",
		{
			HANDSHAKE,
			{ 400, 'c', "F.", 1, 1, 0, "FIN-WAIT-1/CLOSE-WAIT", 0 },
			{ 500, 'c', "P.", 2, 1, 9, "FIN-WAIT-1/CLOSE-WAIT", E(AFTER_FIN) },
		},
		{ PG_FOLLOW_END_OPEN, { 0, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"SYN and SYN-ACK sent again",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 1000000, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", E(RETRANSMISSION) },
			{ 1000100, 's', "S.", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED", 0 },
			{ 2000100, 's', "S.", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED",
			  E(RETRANSMISSION) },
			{ 2000300, 'c', ".", 1, 1, 0, BOTH, E(ESTABLISHED) },
		},
		{ PG_FOLLOW_END_OPEN, { 0, 0 }, { 0, 0 }, { 0, 0 }, 2000300 },
	},
	{
		"data in the SYN (fast open)",
		{
			{ 0, 'c', "S", 0, 0, 7, "SYN-SENT/SYN-RECEIVED", E(SYN_DATA) },
			{ 100, 's', "S.", 0, 8, 0, "ESTABLISHED/SYN-RECEIVED", 0 },
			{ 200, 'c', ".", 8, 1, 0, BOTH, E(ESTABLISHED) },
		},
		{ PG_FOLLOW_END_OPEN, { 7, 0 }, { 0, 0 }, { 0, 0 }, 200 },
	},
	{
		"the final ACK is missing, data completes the handshake",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 100, 's', "S.", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED", 0 },
			{ 500, 'c', "P.", 1, 1, 10, BOTH, E(ESTABLISHED) },
		},
		{ PG_FOLLOW_END_OPEN, { 10, 0 }, { 0, 0 }, { 0, 0 }, 500 },
	},
	{
		"only the client's way is captured",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 300, 'c', ".", 1, 1, 0, BOTH, E(ESTABLISHED) },
			{ 400, 'c', "P.", 1, 1, 20, BOTH, 0 },
			{ 600, 'c', ".", 21, 501, 0, BOTH, 0 },
		},
		{ PG_FOLLOW_END_OPEN, { 20, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"the SYN-ACK is captured before the SYN",
		{
			{ 0, 's', "S.", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED", E(MID_STREAM) },
			{ 5, 'c', "S", 0, 0, 0, "ESTABLISHED/SYN-RECEIVED", 0 },
			{ 100, 'c', ".", 1, 1, 0, BOTH, E(ESTABLISHED) },
		},
		{ PG_FOLLOW_END_OPEN, { 0, 0 }, { 0, 0 }, { 0, 0 }, 95 },
	},
	{
		"a SYN-ACK with other numbers",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 100, 's', "S.", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED", 0 },
			{ 200, 's', "S.", 77777, 1, 0, "ESTABLISHED/SYN-RECEIVED", E(BAD_SYN) },
			{ 300, 'c', ".", 1, 1, 0, BOTH, E(ESTABLISHED) },
		},
		{ PG_FOLLOW_END_OPEN, { 0, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"refused",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 100, 's', "R.", 1, 1, 0, "CLOSED/CLOSED", E(REFUSED) },
		},
		{ PG_FOLLOW_END_REFUSED, { 0, 0 }, { 0, 0 }, { 0, 0 }, -1 },
	},
	{
		"a reset that does not answer the SYN",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 100, 's', "R.", 1, 7, 0, "SYN-SENT/SYN-RECEIVED", E(RESET_IGNORED) },
			{ 200, 's', "R", 1, 0, 0, "SYN-SENT/SYN-RECEIVED", E(RESET_IGNORED) },
			{ 300, 's', "S.", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED", 0 },
		},
		{ PG_FOLLOW_END_OPEN, { 0, 0 }, { 0, 0 }, { 0, 0 }, -1 },
	},
	{
		"a half-open connection is found (RFC 9293, figure 10)",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 100, 's', ".", 5000, -900, 0, "SYN-SENT/ESTABLISHED", E(CHALLENGE_ACK) },
			{ 200, 'c', "R", -900, 0, 0, "SYN-SENT/CLOSED", E(RESET) },
			{ 300, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", E(RETRANSMISSION) },
			{ 400, 's', "S.", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED", 0 },
			{ 500, 'c', ".", 1, 1, 0, BOTH, E(ESTABLISHED) },
		},
		{ PG_FOLLOW_END_OPEN, { 0, 0 }, { 0, 0 }, { 0, 0 }, 500 },
	},
	{
		"reset in SYN-RECEIVED, client gave up",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 100, 's', "S.", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED", 0 },
			{ 200, 'c', "R", 1, 0, 0, "CLOSED/LISTEN", E(RESET) },
			{ 300, 's', "S.", 0, 1, 0, "CLOSED/LISTEN",
			  E(RETRANSMISSION) | E(AFTER_CLOSE) },
		},
		{ PG_FOLLOW_END_RESET, { 0, 0 }, { 0, 0 }, { 0, 0 }, -1 },
	},
	{
		"reset by the server in SYN-RECEIVED",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 100, 's', "S.", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED", 0 },
			{ 200, 's', "R", 1, 0, 0, "CLOSED/CLOSED", E(RESET) },
		},
		{ PG_FOLLOW_END_RESET, { 0, 0 }, { 0, 0 }, { 0, 0 }, -1 },
	},
	{
		"reset in a simultaneous open",
		{
			{ 0, 'c', "S", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 10, 's', "S", 0, 0, 0, "SYN-RECEIVED/SYN-RECEIVED",
			  E(SIMULTANEOUS_OPEN) },
			{ 20, 'c', "R.", 1, 1, 0, "CLOSED/CLOSED", E(RESET) },
		},
		{ PG_FOLLOW_END_RESET, { 0, 0 }, { 0, 0 }, { 0, 0 }, -1 },
	},
	{
		"reset in ESTABLISHED",
		{
			HANDSHAKE,
			{ 400, 'c', "P.", 1, 1, 5, BOTH, 0 },
			{ 500, 's', "R.", 1, 6, 0, "CLOSED/CLOSED", E(RESET) },
			{ 600, 's', "R", 1, 0, 0, "CLOSED/CLOSED", E(RESET) | E(AFTER_CLOSE) },
		},
		{ PG_FOLLOW_END_RESET, { 5, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"resets outside what was sent are ignored, the right one is not",
		{
			HANDSHAKE,
			{ 400, 's', "R", 90000, 0, 0, BOTH, E(RESET_IGNORED) },
			{ 410, 's', "R", -1, 0, 0, BOTH, E(RESET_IGNORED) },
			{ 420, 's', "R", 2, 0, 0, BOTH, E(RESET_IGNORED) },
			{ 500, 'c', "R.", 1, 1, 0, "CLOSED/CLOSED", E(RESET) },
		},
		{ PG_FOLLOW_END_RESET, { 0, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"reset in FIN-WAIT-1 and CLOSE-WAIT",
		{
			HANDSHAKE,
			{ 400, 'c', "F.", 1, 1, 0, "FIN-WAIT-1/CLOSE-WAIT", 0 },
			{ 500, 's', "R.", 1, 2, 0, "CLOSED/CLOSED", E(RESET) },
		},
		{ PG_FOLLOW_END_RESET, { 0, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"reset in FIN-WAIT-2: data came for a socket that is gone",
		{
			HANDSHAKE,
			{ 400, 'c', "F.", 1, 1, 0, "FIN-WAIT-1/CLOSE-WAIT", 0 },
			{ 500, 's', ".", 1, 2, 0, "FIN-WAIT-2/CLOSE-WAIT", 0 },
			{ 600, 's', "P.", 1, 2, 40, "FIN-WAIT-2/CLOSE-WAIT", 0 },
			{ 700, 'c', "R", 2, 0, 0, "CLOSED/CLOSED", E(RESET) },
		},
		{ PG_FOLLOW_END_RESET, { 0, 40 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"reset in CLOSING",
		{
			HANDSHAKE,
			{ 400, 'c', "F.", 1, 1, 0, "FIN-WAIT-1/CLOSE-WAIT", 0 },
			{ 410, 's', "F.", 1, 1, 0, "CLOSING/CLOSING", E(SIMULTANEOUS_CLOSE) },
			{ 420, 's', "R", 2, 0, 0, "CLOSED/CLOSED", E(RESET) },
		},
		{ PG_FOLLOW_END_RESET, { 0, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"reset in LAST-ACK",
		{
			HANDSHAKE,
			{ 400, 'c', "F.", 1, 1, 0, "FIN-WAIT-1/CLOSE-WAIT", 0 },
			{ 500, 's', "F.", 1, 2, 0, "TIME-WAIT/LAST-ACK", 0 },
			{ 600, 'c', "R", 2, 0, 0, "CLOSED/CLOSED", E(RESET) },
		},
		{ PG_FOLLOW_END_RESET, { 0, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"reset in TIME-WAIT",
		{
			HANDSHAKE,
			{ 400, 'c', "F.", 1, 1, 0, "FIN-WAIT-1/CLOSE-WAIT", 0 },
			{ 500, 's', "F.", 1, 2, 0, "TIME-WAIT/LAST-ACK", 0 },
			{ 600, 'c', ".", 2, 2, 0, "TIME-WAIT/CLOSED", 0 },
			{ 700, 's', "R", 2, 0, 0, "CLOSED/CLOSED", E(RESET) | E(AFTER_CLOSE) },
		},
		{ PG_FOLLOW_END_THREE, { 0, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"keep-alive probes with and without a byte",
		{
			HANDSHAKE,
			{ 400, 'c', "P.", 1, 1, 5, BOTH, 0 },
			{ 500, 's', ".", 1, 6, 0, BOTH, 0 },
			{ 7200000, 'c', ".", 5, 1, 0, BOTH, E(KEEP_ALIVE) },
			{ 7200100, 's', ".", 1, 6, 0, BOTH, E(KEEP_ALIVE_ACK) },
			{ 9200000, 'c', ".", 5, 1, 1, BOTH, E(KEEP_ALIVE) },
			{ 9200100, 's', ".", 1, 6, 0, BOTH, E(KEEP_ALIVE_ACK) },
			{ 9300000, 'c', "P.", 6, 1, 5, BOTH, 0 },
		},
		{ PG_FOLLOW_END_OPEN, { 10, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"one byte sent again is no keep-alive",
		{
			HANDSHAKE,
			{ 400, 'c', "P.", 1, 1, 1, BOTH, 0 },
			{ 300400, 'c', "P.", 1, 1, 1, BOTH, E(RETRANSMISSION) },
		},
		{ PG_FOLLOW_END_OPEN, { 1, 0 }, { 1, 0 }, { 0, 0 }, 300 },
	},
	{
		"zero window, probes of one byte, one is taken",
		{
			HANDSHAKE,
			{ 400, 'c', "P.", 1, 1, 1000, BOTH, E(WINDOW_FULL) },
			{ 500, 's', ".", 1, 1001, 0, BOTH, E(ZERO_WINDOW), ZERO },
			{ 300000, 'c', ".", 1001, 1, 1, BOTH, E(ZERO_WINDOW_PROBE) },
			{ 300100, 's', ".", 1, 1001, 0, BOTH,
			  E(ZERO_WINDOW) | E(ZERO_WINDOW_PROBE_ACK), ZERO },
			{ 900000, 'c', ".", 1001, 1, 1, BOTH, E(ZERO_WINDOW_PROBE) },
			{ 900100, 's', ".", 1, 1002, 0, BOTH, 0, 500 },
			{ 900200, 'c', "P.", 1002, 1, 50, BOTH, 0 },
			{ 900300, 's', ".", 1, 1052, 0, BOTH, 0, 500 },
		},
		{ PG_FOLLOW_END_OPEN, { 1051, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"zero window, probed without data, and opened",
		{
			HANDSHAKE,
			{ 400, 'c', "P.", 1, 1, 1000, BOTH, E(WINDOW_FULL) },
			{ 500, 's', ".", 1, 1001, 0, BOTH, E(ZERO_WINDOW), ZERO },
			{ 300000, 'c', ".", 1000, 1, 0, BOTH, E(ZERO_WINDOW_PROBE) },
			{ 300100, 's', ".", 1, 1001, 0, BOTH,
			  E(ZERO_WINDOW) | E(ZERO_WINDOW_PROBE_ACK), ZERO },
			{ 400100, 's', ".", 1, 1001, 0, BOTH, E(WINDOW_UPDATE), 700 },
			{ 400200, 'c', "P.", 1001, 1, 10, BOTH, 0 },
		},
		{ PG_FOLLOW_END_OPEN, { 1010, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"reordering: the gap is filled within a round trip",
		{
			HANDSHAKE,
			{ 1000, 'c', ".", 1, 1, 100, BOTH, 0 },
			{ 1010, 'c', ".", 201, 1, 100, BOTH, E(GAP) },
			{ 1020, 'c', ".", 101, 1, 100, BOTH, E(OUT_OF_ORDER) },
			{ 1100, 's', ".", 1, 301, 0, BOTH, 0 },
		},
		{ PG_FOLLOW_END_OPEN, { 300, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
	{
		"retransmission after a timeout, of what was captured and of what was not",
		{
			HANDSHAKE,
			{ 1000, 'c', ".", 1, 1, 100, BOTH, 0 },
			{ 1010, 'c', ".", 201, 1, 100, BOTH, E(GAP) },
			{ 301000, 'c', ".", 1, 1, 100, BOTH, E(RETRANSMISSION) },
			{ 301010, 'c', ".", 101, 1, 100, BOTH, E(RETRANSMISSION) },
			{ 301100, 's', ".", 1, 301, 0, BOTH, 0 },
			{ 401100, 'c', ".", 101, 1, 100, BOTH, E(SPURIOUS_RETRANSMISSION) },
			{ 401200,
			  's',
			  ".",
			  1,
			  301,
			  0,
			  BOTH,
			  E(DUPLICATE_ACK) | E(DUPLICATE_SACK),
			  0,
			  { { 101, 201 } } },
		},
		{ PG_FOLLOW_END_OPEN, { 300, 0 }, { 200, 0 }, { 0, 0 }, 300 },
	},
	{
		"fast retransmission after duplicate acknowledgments with SACK",
		{
			HANDSHAKE,
			{ 1000, 'c', ".", 1, 1, 100, BOTH, 0 },
			{ 1001, 'c', ".", 101, 1, 100, BOTH, 0 },
			{ 1002, 'c', ".", 201, 1, 100, BOTH, 0 },
			{ 1003, 'c', ".", 301, 1, 100, BOTH, 0 },
			{ 1100, 's', ".", 1, 101, 0, BOTH, 0 },
			{ 1101, 's', ".", 1, 101, 0, BOTH, E(DUPLICATE_ACK), 0, { { 201, 301 } } },
			{ 1102, 's', ".", 1, 101, 0, BOTH, E(DUPLICATE_ACK), 0, { { 201, 401 } } },
			{ 1200, 'c', ".", 101, 1, 100, BOTH, E(FAST_RETRANSMISSION) },
			{ 1300, 's', ".", 1, 401, 0, BOTH, 0 },
		},
		{ PG_FOLLOW_END_OPEN, { 400, 0 }, { 100, 0 }, { 0, 0 }, 300 },
	},
	{
		"a duplicate SACK inside the second block",
		{
			HANDSHAKE,
			{ 1000, 'c', ".", 101, 1, 100, BOTH, E(GAP) },
			{ 1100,
			  's',
			  ".",
			  1,
			  1,
			  0,
			  BOTH,
			  E(WINDOW_UPDATE) | E(DUPLICATE_SACK),
			  999,
			  { { 121, 141 }, { 101, 201 } } },
			{ 1200,
			  's',
			  ".",
			  1,
			  1,
			  0,
			  BOTH,
			  E(DUPLICATE_ACK),
			  999,
			  { { 101, 201 }, { 301, 401 } } },
		},
		{ PG_FOLLOW_END_OPEN, { 100, 0 }, { 0, 0 }, { 100, 0 }, 300 },
	},
	{
		"partial overlap below and above",
		{
			HANDSHAKE,
			{ 1000, 'c', ".", 1, 1, 100, BOTH, 0 },
			{ 301000, 'c', ".", 51, 1, 100, BOTH, E(RETRANSMISSION) | E(OVERLAP) },
			{ 301010, 'c', ".", 251, 1, 100, BOTH, E(GAP) },
			{ 601010, 'c', ".", 201, 1, 100, BOTH, E(RETRANSMISSION) | E(OVERLAP) },
			{ 601020, 'c', ".", 161, 1, 20, BOTH, E(RETRANSMISSION) },
		},
		{ PG_FOLLOW_END_OPEN, { 320, 0 }, { 100, 0 }, { 30, 0 }, 300 },
	},
	{
		"acknowledged and never captured",
		{
			HANDSHAKE,
			{ 1000, 's', ".", 1, 501, 0, BOTH, E(ACK_UNSEEN) },
			{ 1100, 'c', ".", 501, 1, 100, BOTH, E(GAP) },
			{ 1200, 's', ".", 1, 601, 0, BOTH, 0 },
			{ 1300, 'c', ".", 701, 1, 100, BOTH, E(GAP) },
			{ 1400, 's', ".", 1, 801, 0, BOTH, 0 },
		},
		{ PG_FOLLOW_END_OPEN, { 200, 0 }, { 0, 0 }, { 600, 0 }, 300 },
	},
	{
		"more gaps than are remembered",
		{
			HANDSHAKE,
			{ 1000, 'c', ".", 11, 1, 10, BOTH, E(GAP) },
			{ 1001, 'c', ".", 31, 1, 10, BOTH, E(GAP) },
			{ 1002, 'c', ".", 51, 1, 10, BOTH, E(GAP) },
			{ 1003, 'c', ".", 71, 1, 10, BOTH, E(GAP) },
			{ 1004, 'c', ".", 91, 1, 10, BOTH, E(GAP) },
			{ 1005, 'c', ".", 111, 1, 10, BOTH, E(GAP) },
			{ 1006, 'c', ".", 131, 1, 10, BOTH, E(GAP) },
			{ 1007, 'c', ".", 151, 1, 10, BOTH, E(GAP) },
			{ 1008, 'c', ".", 171, 1, 10, BOTH, E(GAP) },
			{ 1009, 'c', ".", 25, 1, 2, BOTH, E(OUT_OF_ORDER) },
			{ 1010, 'c', ".", 161, 1, 10, BOTH, E(OUT_OF_ORDER) },
		},
		{ PG_FOLLOW_END_OPEN, { 102, 0 }, { 0, 0 }, { 78, 0 }, 300 },
	},
	{
		"the capture begins in the middle",
		{
			{ 0, 'c', "P.", 1, 1, 100, BOTH, E(MID_STREAM) },
			{ 100, 's', ".", 1, 101, 0, BOTH, 0 },
			{ 300, 's', "F.", 1, 101, 0, "CLOSE-WAIT/FIN-WAIT-1", 0 },
			{ 400, 'c', ".", 101, 2, 0, "CLOSE-WAIT/FIN-WAIT-2", 0 },
			{ 500, 'c', "F.", 101, 2, 0, "LAST-ACK/TIME-WAIT", 0 },
			{ 600, 's', ".", 2, 102, 0, "CLOSED/TIME-WAIT", 0 },
		},
		{ PG_FOLLOW_END_FOUR, { 100, 0 }, { 0, 0 }, { 0, 0 }, -1 },
	},
	{
		"the capture begins between two that changed places",
		{
			{ 0, 'c', "P.", 1, 1, 100, BOTH, E(MID_STREAM) },
			{ 10, 'c', "P.", -49, 1, 50, BOTH, E(OUT_OF_ORDER) },
			{ 300000, 'c', "P.", -49, 1, 50, BOTH, E(RETRANSMISSION) },
			{ 300010, 'c', "P.", -69, 1, 40, BOTH, E(RETRANSMISSION) | E(OVERLAP) },
		},
		{ PG_FOLLOW_END_OPEN, { 170, 0 }, { 70, 0 }, { 0, 0 }, -1 },
	},
	{
		"nothing but a reset",
		{
			{ 0, 's', "R", 1, 0, 0, "CLOSED/CLOSED", E(MID_STREAM) | E(RESET) },
		},
		{ PG_FOLLOW_END_RESET, { 0, 0 }, { 0, 0 }, { 0, 0 }, -1 },
	},
	{
		"congestion is echoed, a SYN only negotiates",
		{
			{ 0, 'c', "SEW", 0, 0, 0, "SYN-SENT/SYN-RECEIVED", 0 },
			{ 100, 's', "S.E", 0, 1, 0, "ESTABLISHED/SYN-RECEIVED", 0 },
			{ 300, 'c', ".", 1, 1, 0, BOTH, E(ESTABLISHED) },
			{ 400, 'c', "P.", 1, 1, 10, BOTH, 0 },
			{ 500, 's', ".E", 1, 11, 0, BOTH, E(CONGESTION) },
		},
		{ PG_FOLLOW_END_OPEN, { 10, 0 }, { 0, 0 }, { 0, 0 }, 300 },
	},
};

/* Client 192.0.2.1:40000, server 198.51.100.2:80. */
static struct pg_peer end_of(bool client)
{
	struct pg_peer peer = { .port = client ? 40000 : 80 };
	const uint8_t addresses[2][4] = { { 198, 51, 100, 2 }, { 192, 0, 2, 1 } };

	peer.address.bytes[10] = peer.address.bytes[11] = 0xff;
	memcpy(peer.address.bytes + 12, addresses[client], 4);
	return peer;
}

static uint16_t flags_of(const char *text)
{
	static const char letters[] = "FSRP.UEWN";
	uint16_t flags = 0;

	for (; *text; text++)
		flags |= 1 << (strchr(letters, *text) - letters);
	return flags;
}

static struct pg_segment segment_of(const struct step *step, const uint32_t isn[2])
{
	bool client = step->from == 'c';
	struct pg_segment segment = {
		.time_us = START_US + step->at_us,
		.source = end_of(client),
		.destination = end_of(!client),
		.seq = isn[!client] + step->seq,
		.ack = isn[client] + step->ack,
		.flags = flags_of(step->flags),
		.data_bytes = step->bytes,
		.window = step->window == ZERO ? 0
			  : step->window       ? step->window
					       : WINDOW,
	};

	for (int i = 0; i < 2 && step->sack[i].right; i++) {
		segment.options = PG_TCP_HAS_SACK;
		segment.sack[segment.sack_count].left = isn[client] + step->sack[i].left;
		segment.sack[segment.sack_count++].right = isn[client] + step->sack[i].right;
	}
	return segment;
}

static struct pg_follow *follow_new(uint32_t connections)
{
	struct pg_follow_settings settings = PG_FOLLOW_SETTINGS_DEFAULT;
	struct pg_follow *follow = NULL;

	settings.connections = connections;
	settings.key[0] = 1;
	assert_int_equal(pg_follow_new(&settings, &follow), 0);
	return follow;
}

static void expect_note(const char *name, int i, const struct step *step,
			const struct pg_follow_note *note)
{
	char states[64];

	snprintf(states, sizeof(states), "%s/%s", pg_tcp_state_label(note->states[0]),
		 pg_tcp_state_label(note->states[1]));
	if (note->connection != 1 || strcmp(states, step->states) || note->events != step->events)
		fail_msg("%s, segment %d: connection %llu, %s, events 0x%x; wanted %s, 0x%x", name,
			 i, (unsigned long long)note->connection, states, note->events,
			 step->states, step->events);
	if (note->sender != (step->from == 's'))
		fail_msg("%s, segment %d: it came from the other end", name, i);
	if (step->events & E(CHALLENGE_ACK))
		return;
	if (note->seq != (uint32_t)step->seq)
		fail_msg("%s, segment %d: relative seq %u", name, i, note->seq);
	if (note->has_ack && note->ack != (uint32_t)step->ack)
		fail_msg("%s, segment %d: relative ack %u", name, i, note->ack);
}

static void expect_outcome(const char *name, const struct outcome *wanted,
			   const struct pg_follow_report *report)
{
	if (report->end != wanted->end)
		fail_msg("%s: ended %s, wanted %s", name, pg_follow_end_label(report->end),
			 pg_follow_end_label(wanted->end));
	if (report->handshake_us != wanted->handshake_us)
		fail_msg("%s: handshake %lld us", name, (long long)report->handshake_us);
	for (int i = 0; i < 2; i++)
		if (report->ways[i].bytes != wanted->bytes[i] ||
		    report->ways[i].bytes_again != wanted->again[i] ||
		    report->ways[i].bytes_missing != wanted->missing[i])
			fail_msg("%s: way %d has %llu bytes, %llu again, %llu missing", name, i,
				 (unsigned long long)report->ways[i].bytes,
				 (unsigned long long)report->ways[i].bytes_again,
				 (unsigned long long)report->ways[i].bytes_missing);
}

static void run_scenario(const struct scenario *row, const uint32_t isn[2])
{
	struct pg_follow *follow = follow_new(16);
	struct pg_follow_report report;
	struct pg_follow_note note;
	bool ended = false;

	for (int i = 0; i < STEPS && row->steps[i].flags; i++) {
		struct pg_segment segment = segment_of(&row->steps[i], isn);

		pg_follow_segment(follow, &segment, &note);
		expect_note(row->name, i, &row->steps[i], &note);
		assert_false(note.ended && ended);
		ended |= note.ended;
	}
	assert_int_equal(ended, row->outcome.end != PG_FOLLOW_END_OPEN);
	pg_follow_finish(follow);
	assert_true(pg_follow_take(follow, &report));
	assert_true(report.final);
	expect_outcome(row->name, &row->outcome, &report);
	assert_false(pg_follow_take(follow, &report));
	pg_follow_free(follow);
}

static void run_all(uint32_t client_isn, uint32_t server_isn)
{
	const uint32_t isn[2] = { client_isn, server_isn };

	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		run_scenario(&scenarios[i], isn);
}

static void test_scenarios(void **state)
{
	run_all(CLIENT_ISN, SERVER_ISN);
}

/* Every scenario again with the wrap at each place that matters. */
static void test_scenarios_wrapped(void **state)
{
	for (uint32_t back = 0; back < 24; back++)
		run_all(0u - back, 0u - back / 2);
	for (uint32_t back = 50; back < 1200; back += 50)
		run_all(0u - back, 0x80000000u - back);
}

/* --- windows, options, times ---------------------------------------------------------------------
 */

static struct pg_follow_note feed(struct pg_follow *follow, struct pg_segment segment)
{
	struct pg_follow_note note;

	pg_follow_segment(follow, &segment, &note);
	return note;
}

static struct pg_segment make(uint32_t at_us, char from, const char *flags, int64_t seq,
			      int64_t ack, uint32_t bytes)
{
	const struct step step = { at_us, from, flags, seq, ack, bytes };
	const uint32_t isn[2] = { CLIENT_ISN, SERVER_ISN };

	return segment_of(&step, isn);
}

static struct pg_follow_note step(struct pg_follow *follow, uint32_t at_us, char from,
				  const char *flags, int64_t seq, int64_t ack, uint32_t bytes)
{
	return feed(follow, make(at_us, from, flags, seq, ack, bytes));
}

static void open_scaled(struct pg_follow *follow, int client_shift, int server_shift)
{
	struct pg_segment syn = make(0, 'c', "S", 0, 0, 0);
	struct pg_segment answer = make(100, 's', "S.", 0, 1, 0);

	syn.options = PG_TCP_HAS_MSS | PG_TCP_HAS_PERMITTED | PG_TCP_HAS_TIMESTAMPS;
	syn.mss = 1460;
	if (client_shift >= 0)
		syn.options |= PG_TCP_HAS_SCALE;
	syn.window_shift = client_shift;
	if (server_shift >= 0)
		answer.options |= PG_TCP_HAS_SCALE;
	answer.window_shift = server_shift;
	assert_int_equal(feed(follow, syn).window, WINDOW);
	assert_int_equal(feed(follow, answer).window, WINDOW);
}

static void test_window_scale(void **state)
{
	static const struct {
		int client, server;
		uint32_t client_window, server_window;
	} rows[] = {
		{ 7, 2, WINDOW << 7, WINDOW << 2 },
		{ -1, 2, WINDOW, WINDOW },
		{ 7, -1, WINDOW, WINDOW },
		{ 0, 0, WINDOW, WINDOW },
		{ 200, 15, WINDOW << 14, WINDOW << 14 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pg_follow *follow = follow_new(4);
		struct pg_follow_note note;

		open_scaled(follow, rows[i].client, rows[i].server);
		note = step(follow, 200, 'c', ".", 1, 1, 0);
		assert_true(note.window_known);
		assert_int_equal(note.window, rows[i].client_window);
		note = step(follow, 300, 's', "P.", 1, 1, 9);
		assert_int_equal(note.window, rows[i].server_window);
		pg_follow_free(follow);
	}
}

static void test_window_unknown(void **state)
{
	struct pg_follow *follow = follow_new(4);
	struct pg_follow_note note = step(follow, 0, 'c', "P.", 1, 1, 9);

	assert_false(note.window_known);
	assert_int_equal(note.window, WINDOW);
	note = step(follow, 10, 's', ".", 1, 10, 0);
	assert_false(note.window_known);
	pg_follow_free(follow);
}

/* Full is judged by the scaled window, but the window of a SYN-ACK is not scaled. */
static void test_window_full(void **state)
{
	struct pg_follow *follow = follow_new(4);

	open_scaled(follow, 7, 1);
	step(follow, 200, 'c', ".", 1, 1, 0);
	assert_int_equal(step(follow, 300, 'c', ".", 1, 1, 999).events, 0);
	assert_int_equal(step(follow, 310, 'c', ".", 1000, 1, 1).events, E(WINDOW_FULL));
	step(follow, 400, 's', ".", 1, 1001, 0);
	assert_int_equal(step(follow, 500, 'c', ".", 1001, 1, 1000).events, 0);
	assert_int_equal(step(follow, 510, 'c', ".", 2001, 1, 1000).events, E(WINDOW_FULL));
	pg_follow_free(follow);
}

static void test_arithmetic(void **state)
{
	struct pg_follow *follow = follow_new(4);
	struct pg_follow_note note = step(follow, 0, 'c', "S", 0, 0, 0);

	assert_int_equal(note.next, 1);
	assert_int_equal(note.in_flight, 1);
	note = step(follow, 100, 's', "S.", 0, 1, 0);
	assert_int_equal(note.acked, 1);
	note = step(follow, 200, 'c', ".", 1, 1, 0);
	assert_int_equal(note.acked, 1);
	assert_int_equal(note.in_flight, 0);
	note = step(follow, 300, 'c', "P.", 1, 1, 83);
	assert_int_equal(note.next, 84);
	assert_int_equal(note.in_flight, 83);
	assert_int_equal(note.acked, 0);
	note = step(follow, 310, 'c', "P.", 84, 1, 17);
	assert_int_equal(note.in_flight, 100);
	note = step(follow, 400, 's', ".", 1, 84, 0);
	assert_int_equal(note.acked, 83);
	note = step(follow, 410, 's', ".", 1, 101, 0);
	assert_int_equal(note.acked, 17);
	/* an old acknowledgment takes nothing back */
	note = step(follow, 420, 's', ".", 1, 84, 0);
	assert_int_equal(note.acked, 0);
	assert_int_equal(note.events, 0);
	note = step(follow, 500, 'c', "F.", 101, 1, 0);
	assert_int_equal(note.next, 102);
	note = step(follow, 600, 's', ".", 1, 102, 0);
	assert_int_equal(note.acked, 1);
	pg_follow_free(follow);
}

static void test_counted_duplicates(void **state)
{
	struct pg_follow *follow = follow_new(4);
	struct pg_follow_note note;

	open_scaled(follow, -1, -1);
	step(follow, 200, 'c', ".", 1, 1, 0);
	step(follow, 300, 'c', ".", 101, 1, 100);
	for (uint32_t i = 1; i < 5; i++) {
		note = step(follow, 300 + i, 's', ".", 1, 1, 0);
		assert_int_equal(note.events, E(DUPLICATE_ACK));
		assert_int_equal(note.duplicates, i);
	}
	note = step(follow, 400, 's', ".", 1, 201, 0);
	assert_int_equal(note.duplicates, 0);
	note = step(follow, 500, 's', ".", 1, 201, 0);
	assert_int_equal(note.duplicates, 1);
	pg_follow_free(follow);
}

/* Four gibibytes one way, nobody acknowledges: numbers far back are not taken for new ones. */
static void test_far(void **state)
{
	struct pg_follow *follow = follow_new(1);
	struct pg_follow_report report;
	const uint32_t bytes = 1u << 24;

	for (uint32_t i = 0; i < 256; i++)
		assert_int_equal(step(follow, i, 'c', ".", 1 + (int64_t)i * bytes, 1, bytes).events,
				 i ? 0 : E(MID_STREAM));
	assert_int_equal(step(follow, 300, 'c', ".", 101, 1, 10).events, E(GAP));
	assert_int_equal(step(follow, 301, 'c', ".", 111 + bytes, 1, bytes).events, E(GAP));
	for (uint32_t i = 2; i < 256; i++)
		assert_int_equal(
			step(follow, 302, 'c', ".", 111 + (int64_t)i * bytes, 1, bytes).events, 0);
	pg_follow_finish(follow);
	assert_true(pg_follow_take(follow, &report));
	assert_int_equal(report.ways[0].bytes, 511ull * bytes + 10);
	assert_int_equal(report.ways[0].bytes_missing, 100ull + bytes);
	assert_int_equal(report.ways[0].bytes_again, 0);
	pg_follow_free(follow);
}

static void test_report(void **state)
{
	struct pg_follow *follow = follow_new(4);
	struct pg_follow_report report;

	open_scaled(follow, 7, -1);
	step(follow, 350, 'c', ".", 1, 1, 0);
	assert_false(pg_follow_take(follow, &report));
	step(follow, 400, 'c', "R.", 1, 1, 0);
	assert_true(pg_follow_take(follow, &report));
	assert_int_equal(report.connection, 1);
	assert_false(report.final);
	assert_true(report.whole && report.established);
	assert_int_equal(report.states[0], PG_TCP_CLOSED);
	assert_int_equal(report.end, PG_FOLLOW_END_RESET);
	assert_int_equal(report.handshake_us, 350);
	assert_int_equal(report.server_us, 100);
	assert_int_equal(report.client_us, 250);
	assert_int_equal(report.first_us, START_US);
	assert_int_equal(report.last_us, START_US + 400);
	assert_int_equal(report.ends[0].port, 40000);
	assert_int_equal(report.ends[1].port, 80);
	assert_int_equal(report.ways[0].segments, 3);
	assert_int_equal(report.ways[0].events[PG_FOLLOW_RESET], 1);
	assert_int_equal(report.ways[1].events[PG_FOLLOW_RESET], 0);
	assert_int_equal(report.ways[0].mss, 1460);
	assert_int_equal(report.ways[0].window_shift, 7);
	assert_true(report.ways[0].sack_permitted && report.ways[0].timestamps);
	assert_int_equal(report.ways[1].mss, 0);
	assert_int_equal(report.ways[1].window_shift, -1);
	assert_false(pg_follow_take(follow, &report));
	/* what comes late is reported when the connection is forgotten, and only then */
	step(follow, 500, 's', "R", 1, 0, 0);
	assert_false(pg_follow_take(follow, &report));
	pg_follow_finish(follow);
	assert_true(pg_follow_take(follow, &report));
	assert_true(report.final);
	assert_int_equal(report.ways[1].events[PG_FOLLOW_RESET], 1);
	assert_int_equal(report.ways[1].events[PG_FOLLOW_AFTER_CLOSE], 1);
	assert_false(pg_follow_take(follow, &report));
	pg_follow_free(follow);
}

/* --- the table -----------------------------------------------------------------------------------
 */

#define SECOND 1000000u

static void close_by_reset(struct pg_follow *follow, uint32_t at_us)
{
	step(follow, at_us, 'c', "S", 0, 0, 0);
	assert_true(step(follow, at_us + 1, 's', "R.", 0, 1, 0).ended);
}

static void test_port_reuse(void **state)
{
	struct pg_follow *follow = follow_new(4);
	struct pg_follow_report report;
	struct pg_follow_note note;

	step(follow, 0, 'c', "S", 0, 0, 0);
	step(follow, 100, 's', "S.", 0, 1, 0);
	step(follow, 200, 'c', ".", 1, 1, 0);
	step(follow, 300, 's', "F.", 1, 1, 0);
	step(follow, 400, 'c', "F.", 1, 2, 0);
	assert_true(step(follow, 500, 's', ".", 2, 2, 0).ended);
	assert_true(pg_follow_take(follow, &report));
	/* TIME-WAIT: a new SYN is a new connection, its numbers begin anew */
	note = step(follow, 900, 'c', "S", 70000, 0, 0);
	assert_int_equal(note.connection, 2);
	assert_int_equal(note.events, E(PORT_REUSE));
	assert_int_equal(note.seq, 0);
	assert_int_equal(note.states[0], PG_TCP_SYN_SENT);
	note = step(follow, 950, 's', "S.", 90000, 70001, 0);
	assert_int_equal(note.connection, 2);
	assert_int_equal(note.ack, 1);
	assert_false(pg_follow_take(follow, &report));
	/* a SYN with other numbers ends one that lives */
	note = step(follow, 1000, 'c', "S", 170000, 0, 0);
	assert_int_equal(note.connection, 3);
	assert_true(pg_follow_take(follow, &report));
	assert_int_equal(report.connection, 2);
	assert_int_equal(report.end, PG_FOLLOW_END_REPLACED);
	assert_true(report.final);
	pg_follow_free(follow);
}

/* After TIME-WAIT is over nothing is left of the connection: its ports are as new. */
static void test_time_wait_ends(void **state)
{
	struct pg_follow *follow = follow_new(4);
	struct pg_follow_counts counts;
	struct pg_follow_note note;

	close_by_reset(follow, 0);
	note = step(follow, 60 * SECOND, 's', ".", 1, 1, 0);
	assert_int_equal(note.connection, 1);
	note = step(follow, 120 * SECOND, 'c', "S", 70000, 0, 0);
	assert_int_equal(note.connection, 2);
	assert_int_equal(note.events, 0);
	pg_follow_count(follow, &counts);
	assert_int_equal(counts.now, 1);
	assert_int_equal(counts.connections, 2);
	pg_follow_free(follow);
}

static void expect_idle(uint32_t seconds, bool established)
{
	struct pg_follow *follow = follow_new(4);
	struct pg_follow_report report;
	struct pg_segment other = make(0, 'c', "S", 0, 0, 0);

	step(follow, 0, 'c', "S", 0, 0, 0);
	if (established) {
		step(follow, 0, 's', "S.", 0, 1, 0);
		step(follow, 0, 'c', ".", 1, 1, 0);
	}
	other.source.port = 5;
	other.time_us = START_US + (uint64_t)seconds * SECOND - 1;
	feed(follow, other);
	assert_false(pg_follow_take(follow, &report));
	other.time_us++;
	feed(follow, other);
	assert_true(pg_follow_take(follow, &report));
	assert_int_equal(report.connection, 1);
	assert_int_equal(report.end, PG_FOLLOW_END_IDLE);
	assert_true(report.final);
	pg_follow_free(follow);
}

static void test_idle(void **state)
{
	struct pg_follow_settings settings = PG_FOLLOW_SETTINGS_DEFAULT;

	expect_idle(settings.opening_s, false);
	expect_idle(settings.idle_s, true);
}

static struct pg_segment numbered_syn(uint32_t at_us, uint16_t port)
{
	struct pg_segment segment = make(at_us, 'c', "S", 0, 0, 0);

	segment.source.port = port;
	return segment;
}

static void test_full(void **state)
{
	struct pg_follow *follow = follow_new(3);
	struct pg_follow_report report;
	struct pg_follow_counts counts;
	struct pg_follow_note note;

	for (uint16_t port = 1; port <= 3; port++)
		assert_int_equal(feed(follow, numbered_syn(port, port)).connection, port);
	note = feed(follow, numbered_syn(4, 4));
	assert_int_equal(note.connection, 0);
	assert_int_equal(note.events, 0);
	assert_int_equal(feed(follow, numbered_syn(5, 2)).connection, 2);
	pg_follow_count(follow, &counts);
	assert_int_equal(counts.untracked, 1);
	assert_int_equal(counts.now, 3);
	assert_int_equal(counts.segments, 5);
	assert_false(pg_follow_take(follow, &report));
	pg_follow_finish(follow);
	for (uint64_t number = 1; number <= 3; number++) {
		assert_true(pg_follow_take(follow, &report));
		assert_int_equal(report.connection, number);
	}
	pg_follow_count(follow, &counts);
	assert_int_equal(counts.now, 0);
	assert_int_equal(feed(follow, numbered_syn(9, 4)).connection, 4);
	pg_follow_free(follow);
}

/* What has ended makes room, and reports that nobody takes are bounded. */
static void test_full_of_ended(void **state)
{
	struct pg_follow *follow = follow_new(2);
	struct pg_follow_report report;
	struct pg_follow_counts counts;
	uint32_t reports = 0;

	for (uint16_t port = 1; port <= 10; port++) {
		struct pg_segment syn = numbered_syn(port, port),
				  reset = make(port, 's', "R.", 0, 1, 0);

		reset.destination.port = port;
		feed(follow, syn);
		feed(follow, reset);
	}
	pg_follow_count(follow, &counts);
	assert_int_equal(counts.connections, 4);
	/* of the others the SYN and the reset were counted */
	assert_int_equal(counts.untracked, 12);
	while (pg_follow_take(follow, &report))
		reports += report.end == PG_FOLLOW_END_REFUSED;
	assert_int_equal(reports, 4);
	assert_int_equal(feed(follow, numbered_syn(99, 99)).connection, 5);
	pg_follow_free(follow);
}

static void test_settings(void **state)
{
	struct pg_follow_settings settings = PG_FOLLOW_SETTINGS_DEFAULT;
	struct pg_follow *follow = NULL;

	settings.connections = 0;
	assert_int_equal(pg_follow_new(&settings, &follow), -EINVAL);
	settings.connections = PG_FOLLOW_CONNECTIONS_MAX + 1;
	assert_int_equal(pg_follow_new(&settings, &follow), -EINVAL);
	assert_null(follow);
	pg_follow_free(NULL);
}

/* Who is the client, when the capture does not show it: the end with the higher port. */
static void test_client_guess(void **state)
{
	static const struct {
		const char *name, *flags;
		uint16_t from, to;
		uint8_t sender;
	} rows[] = {
		{ "higher port", ".", 40000, 80, PG_FOLLOW_CLIENT },
		{ "lower port", ".", 80, 40000, PG_FOLLOW_SERVER },
		{ "same port", ".", 179, 179, PG_FOLLOW_CLIENT },
		{ "SYN from the lower port", "S", 20, 40000, PG_FOLLOW_CLIENT },
		{ "SYN-ACK from the higher port", "S.", 40000, 20, PG_FOLLOW_SERVER },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pg_follow *follow = follow_new(1);
		struct pg_segment segment = make(0, 'c', rows[i].flags, 1, 1, 0);

		segment.source.port = rows[i].from;
		segment.destination.port = rows[i].to;
		if (feed(follow, segment).sender != rows[i].sender)
			fail_msg("%s", rows[i].name);
		pg_follow_free(follow);
	}
}

/* The clock of a capture may jump back; nothing is forgotten for it, no time is negative. */
static void test_clock_backwards(void **state)
{
	struct pg_follow *follow = follow_new(4);
	struct pg_follow_report report;

	step(follow, 5000, 'c', "S", 0, 0, 0);
	step(follow, 1000, 's', "S.", 0, 1, 0);
	step(follow, 0, 'c', ".", 1, 1, 0);
	pg_follow_finish(follow);
	assert_true(pg_follow_take(follow, &report));
	assert_int_equal(report.handshake_us, 0);
	assert_int_equal(report.last_us, START_US + 5000);
	pg_follow_free(follow);
}

static void test_labels(void **state)
{
	for (int event = 0; event < PG_FOLLOW_EVENT_COUNT; event++)
		assert_non_null(pg_follow_event_label(event));
	assert_null(pg_follow_event_label(PG_FOLLOW_EVENT_COUNT));
	assert_true(pg_follow_event_unusual(PG_FOLLOW_RETRANSMISSION));
	assert_false(pg_follow_event_unusual(PG_FOLLOW_KEEP_ALIVE));
	assert_string_equal(pg_tcp_state_label(PG_TCP_FIN_WAIT_2), "FIN-WAIT-2");
	assert_string_equal(pg_follow_end_label(PG_FOLLOW_END_THREE), "three_packets");
	assert_string_equal(pg_follow_end_text(PG_FOLLOW_END_THREE), "closed in three packets");
	assert_null(pg_follow_end_label((enum pg_follow_end)99));
	assert_null(pg_follow_end_text((enum pg_follow_end)99));
	assert_null(pg_tcp_state_label((enum pg_tcp_state)99));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scenarios),
		cmocka_unit_test(test_scenarios_wrapped),
		cmocka_unit_test(test_window_scale),
		cmocka_unit_test(test_window_unknown),
		cmocka_unit_test(test_window_full),
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_counted_duplicates),
		cmocka_unit_test(test_far),
		cmocka_unit_test(test_report),
		cmocka_unit_test(test_port_reuse),
		cmocka_unit_test(test_time_wait_ends),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_full_of_ended),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_client_guess),
		cmocka_unit_test(test_clock_backwards),
		cmocka_unit_test(test_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
