// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stddef.h>

#include "ip.h"

int pg_options_read(const uint8_t *at, uint32_t bytes, struct pg_option *options,
		    uint8_t *ret_count)
{
	uint32_t i = 0, length;
	uint8_t kind;

	*ret_count = 0;
	while (i < bytes && *ret_count < PG_OPTIONS_MAX) {
		kind = at[i];
		length = 1;
		if (kind > 1) {
			if (bytes - i < 2)
				return -ENOSPC;
			length = at[i + 1];
			if (length < 2)
				return -EINVAL;
			if (length > bytes - i)
				return -ENOSPC;
		}
		options[(*ret_count)++] = (struct pg_option){
			.kind = kind,
			.value_bytes = length > 2 ? length - 2 : 0,
			.value = length > 2 ? at + i + 2 : NULL,
			.well_sized = true,
		};
		if (!kind)
			return 0;
		i += length;
	}
	return 0;
}
