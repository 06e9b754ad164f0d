/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TEST_HEX_H
#define PG_TEST_HEX_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* Reads hex digits, which a vector gives, into room bytes; returns how many. */
static inline uint32_t hex_bytes(const char *hex, uint8_t *ret_bytes, size_t room)
{
	size_t n = strlen(hex) / 2, i;
	unsigned int byte;

	assert_true(n <= room);
	for (i = 0; i < n; i++) {
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
		ret_bytes[i] = (uint8_t)byte;
	}
	return (uint32_t)n;
}

#endif
