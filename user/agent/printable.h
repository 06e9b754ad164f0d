/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_PRINTABLE_H
#define PG_PRINTABLE_H

#include <ctype.h>

/*
 * For a text that somebody else chose, as the name of a process: what is not printable ASCII
 * becomes '?', so that neither a terminal nor a reader of UTF-8 gets to feel it.
 */
static inline void pg_make_printable(char *text)
{
	for (; *text; text++)
		if (!isprint((unsigned char)*text))
			*text = '?';
}

#endif
