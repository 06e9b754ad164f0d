/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_LINE_H
#define PG_LINE_H

#include <stdbool.h>
#include <stdio.h>

#include "decoded.h"

/*
 * Writes a packet as one line in tcpdump's manner, without time and line's end. absolute: sequence
 * and acknowledgment numbers as they are on the wire (-S). What a packet's bytes hold never reaches
 * the terminal as it is: only numbers, addresses and fixed words.
 */
void pg_line_write(const struct pg_decoded *decoded, bool absolute, FILE *out);

#endif
