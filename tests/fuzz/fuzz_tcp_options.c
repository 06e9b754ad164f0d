// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "options_reference.h"

/*
 * The options of a TCP header, as many whole words as there are, in memory of exactly that size;
 * the walk of the shield must find what a plain reading finds, and ends in as many turns as it has.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct pg_option_walk walk;
	struct pg_tcp_options right;
	uint8_t *copy;
	int done;

	bytes = (bytes < PG_OPTION_BYTES_MAX ? bytes : PG_OPTION_BYTES_MAX) & ~(size_t)3;
	copy = malloc(bytes ? bytes : 1);
	if (!copy)
		return 0;
	memcpy(copy, data, bytes);
	done = pg_tcp_options_start(copy, bytes / 4, copy + bytes, &walk);
	for (uint32_t turn = 0; turn < PG_OPTION_BYTES_MAX && !done; turn++)
		done = pg_tcp_option_next(&walk);
	right = options_reference(copy, bytes);
	if (!options_same(&walk.found, &right))
		abort();
	free(copy);
	return 0;
}
