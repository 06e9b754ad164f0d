// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "checksum.h"
#include "packgate/bytes.h"

uint64_t pg_sum(uint64_t sum, const uint8_t *bytes, size_t n)
{
	size_t i;

	for (i = 0; i + 2 <= n; i += 2)
		sum += pg_load_be16(bytes + i);
	if (i < n)
		sum += (uint64_t)bytes[i] << 8;
	return sum;
}

uint16_t pg_sum_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

uint64_t pg_sum_pseudo(const struct pg_decoded_ip *ip, uint8_t protocol, uint32_t length)
{
	size_t address = ip->version == 4 ? 4 : 16;
	uint64_t sum = pg_sum(0, ip->source, address);

	return pg_sum(sum, ip->target, address) + protocol + length;
}

void pg_checksum_judge(const struct pg_span *text, uint32_t at, uint64_t pseudo,
		       struct pg_checksum *ret_checksum)
{
	uint16_t found = pg_load_be16(text->at + at);
	uint64_t sum;

	*ret_checksum = (struct pg_checksum){ .verdict = PG_CHECKSUM_UNCHECKED, .found = found };
	if (text->there < text->length)
		return;
	sum = pg_sum(pseudo, text->at, text->length);
	ret_checksum->expected = (uint16_t)~pg_sum_fold(sum - found);
	if (pg_sum_fold(sum) == 0xffff)
		ret_checksum->verdict = PG_CHECKSUM_GOOD;
	else if (pseudo && found == pg_sum_fold(pseudo))
		ret_checksum->verdict = PG_CHECKSUM_UNFINISHED;
	else
		ret_checksum->verdict = PG_CHECKSUM_BAD;
}
